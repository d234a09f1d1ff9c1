/* The evaluation log's checkpoints cosigned by witnesses (C2SP tlog-witness): each new checkpoint
 * is shown to those of parley.yaml, at most four times a second, and published once enough of them
 * have cosigned it. Nothing waits for it: neither requests nor the log's own checkpoints. On the
 * admin loop. */
#ifndef GATE_COSIGNING_H
#define GATE_COSIGNING_H

#include "gate/gateway_internal.h"

struct cosigning;

/* ERR_OK with *out NULL where no witness is configured. */
enum err_code cosigning_new(struct gateway *gateway, struct cosigning **out, struct err *err);
/* On the admin loop, when it runs. */
void cosigning_start(struct cosigning *cosigning);
/* Calls under way are cancelled; none begins any more. NULL is fine, for both. */
void cosigning_stop(struct cosigning *cosigning);
void cosigning_free(struct cosigning *cosigning);

/* Tells of each witness whose last attempt failed: its name and what is wrong. */
void cosigning_failing(const struct cosigning *cosigning,
		       void (*each)(void *argument, const char *name, const char *problem),
		       void *argument);

/* Series of /metrics. */
void cosigning_write_metrics(const struct cosigning *cosigning, struct buf *out);

/* The tlog-policy by which this log asks to be read: its key, its witnesses, its quorum. */
void cosigning_write_policy(const struct gateway *gateway, struct buf *out);

#endif
