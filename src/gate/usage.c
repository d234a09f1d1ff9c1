#include "gate/usage.h"

#include "gate/gateway.h"
#include "gate/verdict.h"
#include "policy/told.h"

#include <inttypes.h>

static struct told_bounds bounds_of(const struct gate_request *request)
{
	const struct world_model *model = request->terms.model;
	return (struct told_bounds){.context = model->context,
				    .max_output = model->max_output,
				    .asked = request->terms.asked_output,
				    .answers = request->terms.answers};
}

/* No provider makes more tokens than it may. */
static int64_t estimate(const struct gate_request *request)
{
	int64_t seen = dialect_text_estimate(&request->observer.outcome);
	return seen < request->most_output ? seen : request->most_output;
}

int64_t gate_usage_seen(const struct gate_request *request)
{
	int64_t seen = dialect_output_estimate(&request->observer.outcome);
	struct told_bounds bounds;
	if (seen <= request->most_output)
		return seen;
	bounds = bounds_of(request);
	return seen <= told_output_max(&bounds) ? seen : estimate(request);
}

static void tell(struct gate_request *request, const struct dialect_usage *said)
{
	struct gate_worker *worker = request->worker;
	metrics_add(&worker->metrics.implausible, 1);
	if (!gate_worker_may_tell(worker, &worker->implausible_ns))
		return;
	gateway_tell(worker->gateway,
		     "provider %s told a usage that record %s of model %s cannot have%s: input "
		     "%" PRId64 ", cache_read %" PRId64 ", cache_write %" PRId64 ", output %" PRId64
		     "; it is estimated instead (parley_usage_implausible_total counts these)",
		     request->terms.model->provider->id, request->admit_id,
		     request->terms.model->id,
		     said->absurd ? " (a number that is no count of tokens is left out here)" : "",
		     said->input, said->cache_read, said->cache_write, said->output);
}

/* What of it can be true; the rest as if it had not been said. */
static struct dialect_usage believed(struct gate_request *request, bool *implausible)
{
	const struct told_bounds bounds = bounds_of(request);
	struct dialect_usage usage = request->observer.outcome.usage;
	*implausible = usage.absurd;
	if (usage.input + usage.cache_read + usage.cache_write > told_input_max(&bounds)) {
		usage.input = usage.cache_read = usage.cache_write = 0;
		usage.input_known = false;
		*implausible = true;
	}
	if (usage.output > told_output_max(&bounds)) {
		usage.output = 0;
		usage.known = false;
		*implausible = true;
	}
	return usage;
}

struct record_usage gate_usage(struct gate_request *request)
{
	bool generates = request->use == ENDPOINT_USE_GENERATE;
	/* With another status below 300 it may have answered all the same. */
	bool reached = (request->status >= 200 && request->status < 300) ||
		       (request->status == 0 && !request->call.unprocessed);
	bool implausible;
	if (!generates || !reached)
		return (struct record_usage){0};
	struct dialect_usage said = believed(request, &implausible);
	struct record_usage usage = {(uint64_t)said.input, (uint64_t)said.cache_read,
				     (uint64_t)said.cache_write, (uint64_t)said.output,
				     implausible || !said.input_known || !said.known};
	if (implausible)
		tell(request, &request->observer.outcome.usage);
	if (!said.input_known)
		usage.input = (uint64_t)limits_estimate_input(request->prompt_bytes);
	/* A stream that was cut tells its input at the start and its output only at the end. */
	if (!said.known && estimate(request) > said.output)
		usage.output = (uint64_t)estimate(request);
	if (request->sealed)
		gate_round_usage(&usage);
	return usage;
}
