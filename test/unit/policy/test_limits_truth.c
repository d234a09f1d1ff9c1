/* 10^5 requests that end in every way, in any order, streamed and plain, in five scopes at once,
 * against a stand-in that knows what each of them used: what is counted is what was used, a stream
 * never passes what it has reserved by more than a slice, whatever was used beyond is waited off
 * before more is admitted, and after quiet every counter is back. */
#include "base/prng.h"
#include "policy/limits.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#define SECOND ((uint64_t)1000000000)
#define DAY_MS ((int64_t)86400000)
#define REQUESTS 100000
#define OPEN 48
#define SLICE_WAIT_NS (2 * SECOND)

/* Key, grant, org, its group, model: of each so many. */
enum { KEYS = 4, GRANTS = 3, ORGS = 2, GROUPS = 1, MODELS = 2 };
#define SCOPES (KEYS + GRANTS + ORGS + GROUPS + MODELS)
#define SCOPES_OF_ONE 5

enum ending {
	FINISH,
	CLIENT_GONE,
	UPSTREAM_RESET,
	ERROR_AFTER_200,
	REVOKED,
	TIMEOUT,
	SHUTDOWN,
	UNREACHED,
	CANCELLED,
	LIMIT,
	ENDINGS
};

/* What the stand-in knows of a scope. */
struct truth {
	int64_t input, output; /* since the counters were last full */
	int64_t day, week;     /* tokens */
	int64_t month;         /* nanodollars */
};

struct request {
	struct limits_reservation reservation;
	struct limits_scope scopes[SCOPES_OF_ONE];
	size_t places[SCOPES_OF_ONE];
	const struct limits_price *price;
	bool open, streamed;
	int64_t input, cached, output; /* what it will have used if it finishes */
	int64_t cap;                   /* most output it may have */
	int64_t seen;                  /* bytes of text so far */
	int64_t bytes_of_token;
	uint64_t waits_until_ns; /* 0: for no slice */
};

struct town {
	struct prng prng;
	struct limits_table *table;
	struct limits_clock clock;
	uint64_t full_ns; /* when all counters were full */
	struct limits_cells *cells[SCOPES];
	struct limits_values values[SCOPES];
	struct truth truth[SCOPES];
	struct request requests[OPEN];
	unsigned made, admitted, refused, endings[ENDINGS];
	uint64_t overdrawn; /* requests that used more than they had reserved */
};

static const struct limits_price prices[MODELS] = {
	{3000000, 15000000, 300000, 3750000, true},
	{50001,   400003,   5001,   50001,   true},
};

static int64_t below(struct town *town, int64_t bound)
{
	return (int64_t)prng_below(&town->prng, (uint64_t)bound);
}

static void make_scopes(struct town *town)
{
	static const struct limits_values all[] = {
		{{900, 300000, 90000, 24, 60000000, 200000000, 90000}},
		{{LIMIT_NONE, 200000, 60000, 16, 40000000, LIMIT_NONE, 60000}},
		{{1200, LIMIT_NONE, 120000, LIMIT_NONE, LIMIT_NONE, 300000000, LIMIT_NONE}},
	};
	for (size_t i = 0; i < SCOPES; i++) {
		char id[16];
		snprintf(id, sizeof(id), "%zu", i);
		town->cells[i] = limits_table_cells(town->table, "scope", id);
		town->values[i] = all[i % 3];
	}
}

static void choose_scopes(struct town *town, struct request *request)
{
	size_t key = (size_t)below(town, KEYS), model = (size_t)below(town, MODELS);
	size_t grant = key % GRANTS, org = grant % ORGS;
	const size_t places[SCOPES_OF_ONE] = {key, KEYS + grant, KEYS + GRANTS + org,
					      KEYS + GRANTS + ORGS,
					      KEYS + GRANTS + ORGS + GROUPS + model};
	for (size_t i = 0; i < SCOPES_OF_ONE; i++) {
		request->places[i] = places[i];
		request->scopes[i] = (struct limits_scope){town->cells[places[i]],
							   &town->values[places[i]], "scope"};
	}
	request->price = &prices[model];
}

/* The estimate is off by anything from a third to three times. */
static void begin(struct town *town, struct request *request)
{
	struct limits_refusal refusal;
	*request = (struct request){.streamed = below(town, 2),
				    .cap = 1 + below(town, 6000),
				    .bytes_of_token = 1 + below(town, 6)};
	choose_scopes(town, request);
	int64_t bytes = 1 + below(town, 4000);
	request->input = bytes / (1 + below(town, 9));
	request->cached = below(town, 3) ? 0 : below(town, 5000);
	request->output = below(town, request->cap + 1);
	struct limits_wants wants = {.input = limits_estimate_input((uint64_t)bytes)};
	wants.output =
		request->streamed
			? (request->cap < LIMITS_OUTPUT_SLICE ? request->cap : LIMITS_OUTPUT_SLICE)
			: limits_expected_output(request->scopes[1].cells, request->cap);
	wants.cost = limits_cost(request->price, &(struct limits_tokens){.cache_write = wants.input,
									 .output = wants.output});
	town->made++;
	request->open = limits_reserve(request->scopes, SCOPES_OF_ONE, &town->clock, wants,
				       &request->reservation, &refusal);
	town->admitted += request->open;
	town->refused += !request->open;
	if (!request->open && refusal.retry_after_ms > 0)
		assert_true(refusal.retry_after_ms <= 31 * DAY_MS);
}

static int64_t seen_tokens(const struct request *request)
{
	int64_t tokens = (request->seen + 2) / 3;
	return tokens < request->cap ? tokens : request->cap;
}

/* The truth of each ending: what a provider counts in the end, or what was seen of it. */
static struct limits_tokens used_of(const struct request *request, enum ending ending)
{
	struct limits_tokens used = {.input = request->input, .cache_read = request->cached};
	if (ending == UNREACHED || ending == CANCELLED)
		return (struct limits_tokens){0};
	used.output = ending == FINISH ? request->output : seen_tokens(request);
	return used;
}

static void end(struct town *town, struct request *request, enum ending ending)
{
	struct limits_tokens used = used_of(request, ending);
	int64_t cost = limits_cost(request->price, &used);
	int64_t reserved = limits_reserved_output(&request->reservation);
	if (request->streamed && ending != FINISH)
		assert_true(used.output <= reserved + LIMITS_OUTPUT_SLICE);
	town->overdrawn += used.output > reserved || used.input > request->reservation.input;
	if (ending == CANCELLED)
		assert_true(limits_cancel(&request->reservation, request->scopes, &town->clock));
	else
		assert_true(limits_settle(&request->reservation, request->scopes, &town->clock,
					  (struct limits_usage){used.input, used.output, cost}));
	assert_false(limits_settle(&request->reservation, request->scopes, &town->clock,
				   (struct limits_usage){1, 1, 1}));
	if (ending == FINISH && used.output > 0)
		limits_observe_output(request->scopes[1].cells, used.output);
	for (size_t i = 0; i < SCOPES_OF_ONE; i++) {
		struct truth *truth = &town->truth[request->places[i]];
		truth->input += used.input;
		truth->output += used.output;
		truth->day += used.input + used.output;
		truth->week += used.input + used.output;
		truth->month += cost;
	}
	town->endings[ending]++;
	request->open = false;
}

/* As the gateway does: what has come is passed on, then it must be covered. */
static bool take_slices(struct town *town, struct request *request)
{
	struct limits_refusal refusal;
	for (;;) {
		int64_t reserved = limits_reserved_output(&request->reservation);
		if (reserved > seen_tokens(request) || reserved >= request->cap)
			return true;
		int64_t rest = request->cap - reserved;
		struct limits_wants wants = {
			.output = rest < LIMITS_OUTPUT_SLICE ? rest : LIMITS_OUTPUT_SLICE};
		wants.cost = limits_cost(request->price,
					 &(struct limits_tokens){.output = wants.output});
		if (!limits_take_output_slice(&request->reservation, request->scopes, &town->clock,
					      wants, &refusal))
			return false;
	}
}

static void go_on(struct town *town, struct request *request)
{
	if (!request->streamed) {
		end(town, request, below(town, 3) ? FINISH : (enum ending)below(town, LIMIT));
		return;
	}
	if (!request->waits_until_ns) { /* at most a slice of bytes is read at once */
		int64_t left = request->output * request->bytes_of_token - request->seen;
		int64_t piece = 1 + below(town, 3 * LIMITS_OUTPUT_SLICE);
		request->seen += piece < left ? piece : left;
	}
	if (take_slices(town, request)) {
		request->waits_until_ns = 0;
		if (request->seen >= request->output * request->bytes_of_token)
			end(town, request, FINISH);
		else if (below(town, 12) == 0)
			end(town, request, (enum ending)(1 + below(town, UNREACHED - 1)));
	} else if (!request->waits_until_ns) {
		request->waits_until_ns = town->clock.now_ns + SLICE_WAIT_NS;
	} else if (town->clock.now_ns >= request->waits_until_ns) {
		end(town, request, LIMIT);
	}
}

static void advance(struct town *town, uint64_t ns)
{
	/* Whole milliseconds, so that both clocks go alike. */
	ns = ns / 1000000 * 1000000;
	town->clock.now_ns += ns;
	town->clock.wall_ms += (int64_t)(ns / 1000000);
}

/* The rate gave no more than it has refilled since it was full, debts and all. */
static void check_rate(const struct town *town, size_t place, enum limit limit, int64_t used)
{
	struct limits_scope scope = {town->cells[place], &town->values[place], "scope"};
	struct limits_state state = limits_peek(&scope, &town->clock, limit);
	if (state.max == LIMIT_NONE)
		return;
	double seconds =
		(double)(town->clock.now_ns - town->full_ns) / 1e9 + (double)state.reset_ms / 1e3;
	assert_true((double)used <= (double)state.max * seconds / 60 + 1);
}

static int64_t used_of_budget(const struct town *town, size_t place, enum limit limit)
{
	struct limits_scope scope = {town->cells[place], &town->values[place], "scope"};
	return limits_peek(&scope, &town->clock, limit).used;
}

/* Everybody is served or sent away; what is counted then is the truth, and refills. */
static void check_quiet(struct town *town)
{
	for (size_t i = 0; i < OPEN; i++)
		if (town->requests[i].open)
			end(town, &town->requests[i], SHUTDOWN);
	uint64_t longest_ms = 0;
	for (size_t i = 0; i < SCOPES; i++) {
		struct truth *truth = &town->truth[i];
		check_rate(town, i, LIMIT_INPUT_TPM, truth->input);
		check_rate(town, i, LIMIT_OUTPUT_TPM, truth->output);
		truth->input = truth->output = 0;
		assert_int_equal(atomic_load(&town->cells[i]->in_flight), 0);
		assert_int_equal(used_of_budget(town, i, LIMIT_TOKENS_PER_DAY), truth->day);
		assert_int_equal(used_of_budget(town, i, LIMIT_TOKENS_PER_WEEK), truth->week);
		int64_t cost = used_of_budget(town, i, LIMIT_USD_PER_MONTH) * 1000;
		/* Less than a millionth is carried on, over the end of a month too. */
		assert_in_range(truth->month - cost + 1000, 1, 1999);
		struct limits_scope scope = {town->cells[i], &town->values[i], "scope"};
		for (enum limit limit = LIMIT_RPM; limit <= LIMIT_OUTPUT_TPM; limit++) {
			struct limits_state state = limits_peek(&scope, &town->clock, limit);
			if ((uint64_t)state.reset_ms > longest_ms)
				longest_ms = (uint64_t)state.reset_ms;
		}
	}
	advance(town, (longest_ms + 1) * 1000000);
	town->full_ns = town->clock.now_ns;
	for (size_t i = 0; i < SCOPES; i++) {
		struct limits_scope scope = {town->cells[i], &town->values[i], "scope"};
		for (enum limit limit = LIMIT_RPM; limit <= LIMIT_CONCURRENCY; limit++) {
			struct limits_state state = limits_peek(&scope, &town->clock, limit);
			assert_true(state.max == LIMIT_NONE || state.remaining == state.max);
		}
	}
}

/* To 06:00 of the next day: what is counted by day starts anew, and so on. */
static void next_day(struct town *town)
{
	int64_t day = town->clock.wall_ms / DAY_MS, next = day + 1;
	int64_t ahead_ms = next * DAY_MS + DAY_MS / 4 - town->clock.wall_ms;
	town->clock.now_ns += (uint64_t)ahead_ms * 1000000;
	town->clock.wall_ms += ahead_ms;
	town->full_ns = town->clock.now_ns;
	for (size_t i = 0; i < SCOPES; i++) {
		struct truth *truth = &town->truth[i];
		truth->day = 0;
		if (limits_period_of(LIMITS_WEEK, next) != limits_period_of(LIMITS_WEEK, day))
			truth->week = 0;
		if (limits_period_of(LIMITS_MONTH, next) != limits_period_of(LIMITS_MONTH, day))
			truth->month = 0;
	}
}

static void what_is_counted_is_what_was_used(void **state)
{
	(void)state;
	struct town *town = calloc(1, sizeof(*town));
	assert_non_null(town);
	town->prng.state = 20261126;
	town->table = limits_table_new();
	town->clock = (struct limits_clock){5000 * SECOND, 20782 * DAY_MS + DAY_MS / 4};
	town->full_ns = town->clock.now_ns;
	make_scopes(town);
	for (unsigned step = 1; town->admitted < REQUESTS; step++) {
		struct request *request = &town->requests[below(town, OPEN)];
		if (request->open)
			go_on(town, request);
		else
			begin(town, request);
		advance(town, (uint64_t)below(town, (int64_t)SECOND / 4));
		if (step % 20000 == 0) {
			check_quiet(town);
			next_day(town);
		}
	}
	check_quiet(town);
	print_message("%u made, %u admitted, %u refused, %llu used more than was reserved\n",
		      town->made, town->admitted, town->refused,
		      (unsigned long long)town->overdrawn);
	for (unsigned i = 0; i < ENDINGS; i++)
		assert_true(town->endings[i] > 100);
	assert_true(town->refused > 1000 && town->overdrawn > 1000);
	limits_table_drop(town->table);
	free(town);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_counted_is_what_was_used),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
