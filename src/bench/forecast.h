/* What a run will take, before anything is spent: requests, tokens, money and time, each with a
 * band. Nobody is asked. */
#ifndef BENCH_FORECAST_H
#define BENCH_FORECAST_H

#include "bench/run.h"

/* A number that is not known: `mid` is what to expect, and most runs end between the others. */
struct band {
	double low, mid, high;
};

struct forecast {
	size_t requests;
	struct band input, output, usd, seconds; /* tokens; usd of the models that have a price */
	bool priced;   /* false: a model that costs something has no price in the plan */
	bool measured; /* answers are taken to be as long as in an earlier run */
	struct forecast_model {
		size_t requests;
		struct band input, output, usd, seconds;
	} models[PLAN_MODELS_MAX];
};

/* The run's suites are loaded and its cells built. Input: a token is 3 to 5 bytes, from a sample of
 * the items. Output: what answers took in the bundle in `from` (NULL: none), else a share of the
 * suite's max_tokens, at most all of it. Time: the answers' own pace, by the plan's concurrency.
 * Attempts that fail are not counted. ERR_NOT_FOUND and the like where `from` cannot be read. */
enum err_code forecast_make(struct run *run, const char *from, struct forecast *out,
			    struct err *err);

/* {requests, input_tokens, output_tokens, usd, seconds, models, measured, budget}: a new
 * reference; NULL: memory is out. `budget` is "none", "fits", "may be reached" or "will be
 * reached". */
json_t *forecast_encode(const struct run *run, const struct forecast *forecast);
/* "none", … as above. */
const char *forecast_budget(const struct run *run, const struct forecast *forecast);
/* One line without newline: "1,200 requests, 310,000 tokens (210,000 to 640,000), $1.20 (…), …". */
void forecast_line(const struct run *run, const struct forecast *forecast, struct buf *out);

#endif
