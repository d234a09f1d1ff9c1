#include "gate/request_limits.h"

#include "gate/gateway.h"
#include "gate/use.h"

#define LIMIT_FIELDS_MAX 2048

static struct limits_clock clock_of(const struct gate_request *request)
{
	return (struct limits_clock){request->worker->loop->now_ns, request->worker->loop->wall_ms};
}

static unsigned scopes_of(const struct gate_request *request,
			  struct limits_scope scopes[static LIMITS_SCOPES_MAX])
{
	const struct gate_terms *terms = &request->terms;
	return policy_scopes_under(terms->key, terms->grant, terms->model, terms->purpose, scopes);
}

int64_t gate_limits_most_output(const struct policy_request *facts, const struct verdict *verdict)
{
	return verdict->output_cap * (facts->n > 1 ? facts->n : 1);
}

static int64_t cost_of(const struct world_model *model, struct limits_tokens tokens)
{
	const struct limits_price *price = &model->price;
	return price->known ? limits_cost(price, &tokens) : LIMITS_COST_UNKNOWN;
}

/* Whether a token of the prompt will be written to a cache is not known yet: the dearer price. */
int64_t gate_limits_cost(const struct world_model *model, int64_t input, int64_t output)
{
	const struct limits_price *price = &model->price;
	struct limits_tokens tokens = {.output = output};
	if (price->cache_write > price->input)
		tokens.cache_write = input;
	else
		tokens.input = input;
	return cost_of(model, tokens);
}

struct limits_wants gate_limits_wants(const struct policy_request *facts,
				      const struct verdict *verdict, size_t prompt_bytes)
{
	struct limits_wants wants = {.input = limits_estimate_input(prompt_bytes)};
	int64_t most = gate_limits_most_output(facts, verdict);
	if (facts->endpoint == ENDPOINT_USE_COUNT_TOKENS)
		wants.input = 0;
	else if (facts->stream)
		wants.output = most < LIMITS_OUTPUT_SLICE ? most : LIMITS_OUTPUT_SLICE;
	else
		wants.output = limits_expected_output(verdict->grant->cells, most);
	if (wants.input > 0 || wants.output > 0)
		wants.cost = gate_limits_cost(verdict->model, wants.input, wants.output);
	return wants;
}

bool gate_limits_reserve(struct gate_request *request, struct limits_refusal *refusal)
{
	struct limits_scope scopes[LIMITS_SCOPES_MAX];
	struct limits_clock clock = clock_of(request);
	unsigned count = scopes_of(request, scopes);
	struct limits_wants wants = gate_limits_wants(
		&request->front->facts, &request->front->verdict, request->prompt_bytes);
	return limits_reserve(scopes, count, &clock, wants, &request->reservation, refusal);
}

bool gate_limits_slice(struct gate_request *request, int64_t tokens, struct limits_refusal *refusal)
{
	struct limits_scope scopes[LIMITS_SCOPES_MAX];
	struct limits_clock clock = clock_of(request);
	struct limits_wants wants = {.output = tokens,
				     .cost = gate_limits_cost(request->terms.model, 0, tokens)};
	scopes_of(request, scopes);
	return limits_take_output_slice(&request->reservation, scopes, &clock, wants, refusal);
}

uint32_t gate_limits_read_max(const struct gate_request *request)
{
	static const enum limit of_output[] = {LIMIT_OUTPUT_TPM, LIMIT_TOKENS_PER_DAY,
					       LIMIT_TOKENS_PER_WEEK, LIMIT_USD_PER_MONTH};
	struct limits_scope scopes[LIMITS_SCOPES_MAX];
	if (!request->streams || !request->reservation.open)
		return 0;
	unsigned count = scopes_of(request, scopes);
	for (unsigned i = 0; i < count; i++)
		for (size_t k = 0; k < sizeof(of_output) / sizeof(of_output[0]); k++)
			if (scopes[i].values->max[of_output[k]] != LIMIT_NONE)
				return 3u * LIMITS_OUTPUT_SLICE; /* a token is 3 bytes */
	return 0;
}

void gate_limits_cancel(struct gate_request *request)
{
	struct limits_scope scopes[LIMITS_SCOPES_MAX];
	struct limits_clock clock = clock_of(request);
	if (!request->reservation.open)
		return;
	scopes_of(request, scopes);
	limits_cancel(&request->reservation, scopes, &clock);
}

static struct limits_tokens tokens_of(const struct record_usage *usage)
{
	return (struct limits_tokens){(int64_t)usage->input, (int64_t)usage->cache_read,
				      (int64_t)usage->cache_write, (int64_t)usage->output};
}

static int64_t cost_of_usage(const struct gate_request *request, const struct record_usage *usage)
{
	int64_t cost = cost_of(request->terms.model, tokens_of(usage));
	return cost > 0 ? cost : 0;
}

void gate_limits_settle(struct gate_request *request, const struct record_usage *usage)
{
	struct limits_scope scopes[LIMITS_SCOPES_MAX];
	struct limits_clock clock = clock_of(request);
	struct limits_usage used = {(int64_t)(usage->input + usage->cache_write),
				    (int64_t)usage->output, cost_of_usage(request, usage)};
	if (!request->reservation.open)
		return;
	scopes_of(request, scopes);
	limits_settle(&request->reservation, scopes, &clock, used);
}

void gate_limits_count(const struct gate_request *request, const struct record_usage *usage,
		       uint64_t index)
{
	struct limits_scope scopes[LIMITS_SCOPES_MAX];
	struct limits_amounts amounts = {
		{
                 [LIMITS_REQUESTS] = 1,
                 [LIMITS_INPUT] = (int64_t)usage->input,
                 [LIMITS_CACHE_READ] = (int64_t)usage->cache_read,
                 [LIMITS_CACHE_WRITE] = (int64_t)usage->cache_write,
                 [LIMITS_OUTPUT] = (int64_t)usage->output,
                 [LIMITS_COST] = cost_of_usage(request, usage),
		 }
        };
	unsigned live = gate_use_live(control_use_cut(gateway_control(request->worker->gateway)),
				      request->log, index);
	unsigned count = scopes_of(request, scopes);
	for (unsigned i = 0; i < count; i++)
		limits_use_count(&scopes[i].cells->use, live, &amounts);
}

/* ---- what clients are told ---- */

static struct dialect_limit tightest(const struct limits_scope *scopes, unsigned count,
				     const struct limits_clock *clock, enum limit limit)
{
	struct limits_state state = limits_tightest(scopes, count, clock, limit);
	return (struct dialect_limit){state.max, state.remaining, state.reset_ms};
}

static bool any_limit(const struct limits_scope *scopes, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		if (limits_any(scopes[i].values))
			return true;
	return false;
}

unsigned gate_limit_headers(struct gate_request *request, struct http_header *out, unsigned max)
{
	struct limits_scope scopes[LIMITS_SCOPES_MAX];
	struct limits_clock clock = clock_of(request);
	if (!request->terms.grant || max == 0)
		return 0;
	unsigned count = scopes_of(request, scopes);
	struct arena *arena = gate_request_arena(request);
	char *memory =
		arena && any_limit(scopes, count) ? arena_alloc(arena, LIMIT_FIELDS_MAX) : NULL;
	if (!memory)
		return 0;
	struct buf text = buf_over(memory, LIMIT_FIELDS_MAX);
	struct dialect_limit day = tightest(scopes, count, &clock, LIMIT_TOKENS_PER_DAY),
			     week = tightest(scopes, count, &clock, LIMIT_TOKENS_PER_WEEK);
	bool weekly = week.limit >= 0 && (day.limit < 0 || week.remaining < day.remaining);
	struct dialect_limits limits = {tightest(scopes, count, &clock, LIMIT_RPM),
					tightest(scopes, count, &clock, LIMIT_INPUT_TPM),
					tightest(scopes, count, &clock, LIMIT_OUTPUT_TPM),
					weekly ? week : day};
	dialect_limit_fields(request->dialect, &limits, clock.wall_ms, &text);
	if (text.size == 0 || text.failed)
		return 0;
	arena_trim(arena, memory, text.size);
	out[0] = (struct http_header){NULL, buf_bytes(&text)};
	return 1;
}
