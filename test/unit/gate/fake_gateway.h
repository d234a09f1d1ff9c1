/* A gateway reduced to its control plane, for tests: two logs that are text files in a directory of
 * its own, workers that take over every world at once, and failures on demand. */
#ifndef TEST_UNIT_GATE_FAKE_GATEWAY_H
#define TEST_UNIT_GATE_FAKE_GATEWAY_H

#include "base/ed25519.h"
#include "base/json.h"
#include "gate/admin.h"
#include "policy/world_builder.h"

#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

struct fake_gateway {
	struct env *env;
	struct env_loop *loop; /* a thread of its own, for as long as the control plane is open */
	sem_t done;
	struct config *config;
	struct control *control;
	char directory[64];
	_Atomic uint64_t positions[CONTROL_LOGS];
	struct world *world; /* as the workers have it */
	unsigned published;
	char cuts[256];           /* of the last publication: "key:id grant:id …" */
	unsigned records_to_fail; /* the next so many are refused for lack of room */
	bool crash_before_record, crash_after_record;
	/* The last answer. */
	unsigned status;
	json_t *answer;
};

void fake_start(struct fake_gateway *gateway); /* directory, loop, control plane */
void fake_stop(struct fake_gateway *gateway);  /* and removes the directory */
void fake_close(struct fake_gateway *gateway); /* the control plane alone */
enum err_code fake_open(struct fake_gateway *gateway, struct err *err);
void fake_reopen(struct fake_gateway *gateway);

/* Asks and waits; the answer is borrowed until the next. `secret` NULL asks the admin API. */
json_t *fake_ask(struct fake_gateway *gateway, const char *secret, const char *method,
		 const char *target, const char *body);
json_t *fake_ask_json(struct fake_gateway *gateway, const char *secret, const char *method,
		      const char *target, json_t *body);
/* apply of a text; asserts the status. */
json_t *fake_apply(struct fake_gateway *gateway, const char *text, unsigned status);
/* access.yaml with org southlab, terms, and the grant south-eval-1 that is valid now. */
const char *fake_access(void);
/* Issues a key under south-eval-1; the id in `id`, the secret returned (to be freed). */
char *fake_key(struct fake_gateway *gateway, char id[static 64]);
/* A member of the last answer by a path like "a.b"; NULL if it is not there. */
const char *fake_text(const struct fake_gateway *gateway, const char *path);
/* Calls `run` on the loop and waits for fake_done. */
void fake_call(struct fake_gateway *gateway, void (*run)(void *argument), void *argument);
void fake_done(struct fake_gateway *gateway);
/* The whole text of a log (to be freed). */
char *fake_log(const struct fake_gateway *gateway, enum control_log log);

#endif
