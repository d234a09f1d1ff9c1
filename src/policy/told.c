#include "policy/told.h"

/* Bounds of the configuration and of requests are at most 2^31: no product here passes 2^63. */

int64_t told_input_max(const struct told_bounds *bounds)
{
	return TOLD_READINGS * (bounds->context > 0 ? bounds->context : TOLD_CONTEXT);
}

int64_t told_output_max(const struct told_bounds *bounds)
{
	int64_t most = bounds->asked > bounds->max_output ? bounds->asked : bounds->max_output;
	int64_t answer = TOLD_OUTPUTS * most;
	/* An answer stands in the window, unless the configuration gives less than the answer. */
	if (bounds->context >= most && bounds->context < answer)
		answer = bounds->context;
	return answer * bounds->answers;
}
