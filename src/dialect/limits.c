/* Rate-limit header fields as each provider writes them. */
#include "dialect/ops.h"

#include "base/civil.h"
#include "base/encode.h"

/* To the second. */
void dialect_time_text(int64_t seconds, char out[static DIALECT_TIME_SIZE])
{
	char text[CIVIL_TEXT_SIZE];
	const int64_t most = INT64_MAX / 1000;
	civil_text(seconds > most ? INT64_MAX : seconds < 0 ? 0 : seconds * 1000, text);
	memcpy(out, text, DIALECT_TIME_SIZE - 2);
	memcpy(out + DIALECT_TIME_SIZE - 2, "Z", 2);
}

/* Of two limits the one with the smaller part left; an unlimited one never wins. */
static const struct dialect_limit *tighter(const struct dialect_limit *a,
					   const struct dialect_limit *b)
{
	if (a->limit < 0 || b->limit < 0)
		return a->limit < 0 ? b : a;
	double left_a = (double)a->remaining / ((double)a->limit + 1);
	double left_b = (double)b->remaining / ((double)b->limit + 1);
	return left_b < left_a ? b : a;
}

/* Of all tokens: the budget where it has less left than the rates. */
static const struct dialect_limit *tightest(const struct dialect_limits *limits)
{
	const struct dialect_limit *rate = tighter(&limits->input, &limits->output);
	const struct dialect_limit *budget = &limits->budget;
	bool less = budget->limit >= 0 && (rate->limit < 0 || budget->remaining < rate->remaining);
	return less ? budget : rate;
}

static int64_t remaining(const struct dialect_limit *limit)
{
	return limit->remaining > 0 ? limit->remaining : 0;
}

static char *put_number(char *to, int64_t value)
{
	return to + decimal_text((uint64_t)value, to);
}

static void append_name(struct buf *out, const char *before, const char *name, const char *after)
{
	buf_append_cstr(out, before);
	buf_append_cstr(out, name);
	buf_append_cstr(out, after);
	buf_append(out, ": ", 2);
}

static void append_field(struct buf *out, const char *before, const char *name, const char *after,
			 int64_t value)
{
	append_name(out, before, name, after);
	buf_append_integer(out, value);
	buf_append(out, "\r\n", 2);
}

/* Most limits are full again within the same second: its text is made once. */
struct reset_text {
	int64_t second;
	char text[DIALECT_TIME_SIZE];
};

/* What stands before each figure of a limit, the end of the line before it included. */
struct anthropic_names {
	struct bytes limit, remaining, reset;
};

#define NAMES(name)                                                                 \
	{                                                                           \
		BYTES_INIT("anthropic-ratelimit-" name "-limit: "),                 \
			BYTES_INIT("\r\nanthropic-ratelimit-" name "-remaining: "), \
			BYTES_INIT("\r\nanthropic-ratelimit-" name "-reset: ")      \
	}
static const struct anthropic_names requests_names = NAMES("requests"),
				    input_names = NAMES("input-tokens"),
				    output_names = NAMES("output-tokens"),
				    tokens_names = NAMES("tokens");
#undef NAMES

/* On every answer's path: without printf, and in one piece. */
static void anthropic_limit(const struct anthropic_names *names, const struct dialect_limit *limit,
			    int64_t wall_ms, struct reset_text *reset, struct buf *out)
{
	char text[256], *to = text;
	int64_t second = (wall_ms + limit->reset_ms + 999) / 1000;
	if (limit->limit < 0)
		return;
	if (second != reset->second) {
		reset->second = second;
		dialect_time_text(second, reset->text);
	}
	to = put_number(mempcpy(to, names->limit.data, names->limit.size), limit->limit);
	to = mempcpy(to, names->remaining.data, names->remaining.size);
	to = put_number(to, remaining(limit));
	to = mempcpy(to, names->reset.data, names->reset.size);
	to = mempcpy(to, reset->text, DIALECT_TIME_SIZE - 1);
	to = mempcpy(to, "\r\n", 2);
	buf_append(out, text, (size_t)(to - text));
}

void anthropic_limit_fields(const struct dialect_limits *limits, int64_t wall_ms, struct buf *out)
{
	struct reset_text reset = {.second = -1};
	anthropic_limit(&requests_names, &limits->requests, wall_ms, &reset, out);
	anthropic_limit(&input_names, &limits->input, wall_ms, &reset, out);
	anthropic_limit(&output_names, &limits->output, wall_ms, &reset, out);
	anthropic_limit(&tokens_names, tightest(limits), wall_ms, &reset, out);
}

/* As OpenAI writes a duration: "0s", "20ms", "8.64s", "6m0s", "1h0m3s". */
static void append_duration(int64_t ms, struct buf *out)
{
	if (ms < 1000) {
		buf_printf(out, ms > 0 ? "%lldms" : "0s", (long long)ms);
		return;
	}
	int64_t minutes = ms / 60000, hours = minutes / 60, milliseconds = ms % 60000;
	if (hours)
		buf_printf(out, "%lldh", (long long)hours);
	if (minutes)
		buf_printf(out, "%lldm", (long long)(minutes % 60));
	buf_printf(out, "%lld", (long long)(milliseconds / 1000));
	int64_t fraction = milliseconds % 1000;
	if (fraction) {
		int digits = 3;
		for (; fraction % 10 == 0; fraction /= 10)
			digits--;
		buf_printf(out, ".%0*lld", digits, (long long)fraction);
	}
	buf_append_char(out, 's');
}

static void openai_limit(const char *name, const struct dialect_limit *limit, struct buf *out)
{
	if (limit->limit < 0)
		return;
	append_field(out, "x-ratelimit-limit-", name, "", limit->limit);
	append_field(out, "x-ratelimit-remaining-", name, "", remaining(limit));
	append_name(out, "x-ratelimit-reset-", name, "");
	append_duration(limit->reset_ms, out);
	buf_append_cstr(out, "\r\n");
}

void openai_limit_fields(const struct dialect_limits *limits, int64_t wall_ms, struct buf *out)
{
	(void)wall_ms;
	openai_limit("requests", &limits->requests, out);
	openai_limit("tokens", tightest(limits), out);
}
