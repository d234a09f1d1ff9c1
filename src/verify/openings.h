/* Which sealed answers were to be opened: what the records of a run's beginning and end say of it,
 * and whether exactly those were (docs/formats/verdict.md). */
#ifndef VERIFY_OPENINGS_H
#define VERIFY_OPENINGS_H

#include "policy/openings.h"

struct receipt;
struct run_openings;

struct opening_book {
	struct run_openings *runs;     /* owned */
	uint8_t (*seeds)[SHA256_SIZE]; /* owned; gateways' own, told at the end of a last run */
	size_t run_count, seed_count;
};

/* From a record `run.open` or `run.close`; others say nothing. ERR_INVALID, ERR_MISMATCH (two
 * records of one run that differ) or ERR_NO_MEMORY. */
enum err_code opening_book_take(struct opening_book *book, const struct receipt *receipt,
				struct err *err);
void opening_book_release(struct opening_book *book);

/* One verdict: of which leaf and sample (both from 0) of a suite of `leaves`, `samples` of each. */
struct opening_ask {
	const char *run;
	unsigned log;
	uint32_t leaves, leaf;
	unsigned samples, sample;
	bool opened;
};
enum opening_known {
	OPENING_UNKNOWN, /* no receipt shows what the run's were chosen by */
	OPENING_BY_KEY,  /* as chosen; that the key is of the gateway's committed seed is not shown
			  */
	OPENING_BY_SEEDS,
};
/* ERR_MISMATCH where the answer was opened and not chosen, or chosen and not opened, or where what
 * the run's end tells is not what its beginning committed to. */
enum err_code opening_book_check(struct opening_book *book, const struct opening_ask *ask,
				 enum opening_known *known, struct err *err);

#endif
