#include "bench/cell_use.h"

const char *cell_error_name(enum cell_error error)
{
	static const char *const names[] = {
		[CELL_ERROR_CONNECTION] = "no connection",
		[CELL_ERROR_THROTTLED] = "throttled (429)",
		[CELL_ERROR_REFUSED] = "refused",
		[CELL_ERROR_SERVER] = "server error",
		[CELL_ERROR_UNREADABLE] = "unreadable",
	};
	return names[error];
}

static enum cell_error kind_of(int status)
{
	if (status < 200)
		return CELL_ERROR_CONNECTION;
	if (status < 300)
		return CELL_ERROR_UNREADABLE;
	if (status == 429)
		return CELL_ERROR_THROTTLED;
	return status < 500 ? CELL_ERROR_REFUSED : CELL_ERROR_SERVER;
}

uint64_t cell_use_bin_start(unsigned bin)
{
	return bin == 0 ? 0 : UINT64_C(1) << (bin - 1);
}

static unsigned bin_of(int64_t value)
{
	unsigned bin = 0;
	while (bin + 1 < CELL_USE_BINS && value >= (int64_t)cell_use_bin_start(bin + 1))
		bin++;
	return bin;
}

static int64_t known(int64_t tokens)
{
	return tokens > 0 ? tokens : 0;
}

void cell_use_take(struct cell_use *use, const struct plan_price *price,
		   const struct run_transcript *attempt)
{
	const struct run_usage *usage = &attempt->usage;
	int64_t input = known(usage->input), output = known(usage->output);
	int64_t cache_read = known(usage->cache_read), cache_write = known(usage->cache_write);
	use->input += input + cache_read + cache_write;
	use->output += output;
	use->usd += ((double)input * price->input + (double)cache_read * price->cache_read +
		     (double)cache_write * price->cache_write + (double)output * price->output) /
		    1e6;
	if (attempt->error) {
		use->errors[kind_of(attempt->status)]++;
		return;
	}
	use->answers++;
	use->elapsed_ms[bin_of(known(attempt->elapsed_ms))]++;
	use->output_tokens[bin_of(output)]++;
}
