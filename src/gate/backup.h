/* A copy of a running gateway: its documents and both logs up to a place that fits them, its keys
 * and secrets, its configuration where that lies in the data directory. The gateway gives the
 * documents and signs for the place (backup_cut); the rest is read by whoever asked (backup_copy).
 *
 * A backup says of itself that it is one, in backup.json, and no gateway starts on it by accident:
 * two that sign under one name fork its logs. */
#ifndef GATE_BACKUP_H
#define GATE_BACKUP_H

#include "gate/control.h"

#define BACKUP_FILE "backup.json"

/* On the admin loop, between two acts. body: {directory}, absolute, where parley.db is written. The
 * answer tells size and checkpoint of each log: what is on record of acts before these is in the
 * documents, and nothing else. */
enum err_code backup_cut(struct control *control, const json_t *body, json_t **answer,
			 struct err *err);

struct backup {
	const struct config *config; /* of the gateway */
	const char *directory;       /* absolute; there and empty but for backup_begin's file */
	const json_t *cut;           /* the answer of backup_cut */
	/* Now and then; `what` is a log's name or that of a file. May be NULL. */
	void (*progress)(void *argument, const char *what, uint64_t done, uint64_t of);
	void *argument;
	uint64_t records, files; /* copied */
};
/* Makes the directory (0700) or takes one that is empty, and marks it as an unfinished backup. */
enum err_code backup_begin(struct env *env, const struct config *config, const char *directory,
			   struct err *err);
/* Copies and checks everything: the tree over the copied records against the cut's checkpoints. */
enum err_code backup_copy(struct env *env, struct backup *backup, struct err *err);

/* At a gateway's start: a data directory that is a backup is refused (ERR_CONFLICT, and why) unless
 * `restored`; then it is none from now on. An unfinished backup is refused in any case. */
enum err_code backup_check_start(struct env *env, const struct config *config, bool restored,
				 struct err *err);

#endif
