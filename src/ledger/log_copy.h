/* A copy of a log's first records, of a log in use too: segments, and the checkpoint over exactly
 * them. */
#ifndef LEDGER_LOG_COPY_H
#define LEDGER_LOG_COPY_H

#include "env/env.h"

struct log_copy {
	const char *from, *to; /* directories; `to` is made */
	uint64_t size;         /* records */
	struct bytes checkpoint;
	/* Now and then: so many records are copied. May be NULL. */
	void (*progress)(void *argument, uint64_t records);
	void *argument;
};

/* Sealed segments are copied as they are, records of open ones one by one, each checked. Everything
 * is synced at the end. ERR_CORRUPT names segment and offset. The copy as a whole is for the caller
 * to check (log_check_directory). */
enum err_code log_copy_directory(struct env *env, const struct log_copy *copy, struct err *err);

#endif
