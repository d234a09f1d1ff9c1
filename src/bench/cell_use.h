/* What a cell's attempts used, how long they took and how they failed, in constant memory: for the
 * live view and the charts of report.html. Pure. */
#ifndef BENCH_CELL_USE_H
#define BENCH_CELL_USE_H

#include "bench/plan.h"
#include "grade/run_records.h"

/* Powers of two: bin 0 holds 0, bin i values from 2^(i - 1) to 2^i - 1, the last all above. */
#define CELL_USE_BINS 24u

enum cell_error {
	CELL_ERROR_CONNECTION, /* no answer came */
	CELL_ERROR_THROTTLED,  /* HTTP 429 */
	CELL_ERROR_REFUSED,    /* other statuses below 500 */
	CELL_ERROR_SERVER,     /* statuses from 500 on */
	CELL_ERROR_UNREADABLE, /* HTTP 200, and no answer in it */
	CELL_ERRORS,
};

struct cell_use {
	int64_t input, output; /* tokens */
	double usd;
	uint32_t errors[CELL_ERRORS];
	uint32_t answers;
	uint32_t elapsed_ms[CELL_USE_BINS], output_tokens[CELL_USE_BINS]; /* of answers */
};

/* Adds an attempt, whether it gave an answer or failed. */
void cell_use_take(struct cell_use *use, const struct plan_price *price,
		   const struct run_transcript *attempt);

/* "no connection", "429", "refused", "server error", "unreadable". */
const char *cell_error_name(enum cell_error error);

/* The least value of a bin. */
uint64_t cell_use_bin_start(unsigned bin);

#endif
