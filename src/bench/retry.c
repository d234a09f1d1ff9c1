#include "bench/retry.h"

#include <time.h>

/* Statuses for which another try may help (what the official SDKs retry, and 425). */
static bool is_transient(int status)
{
	return status == 408 || status == 409 || status == 425 || status == 429 || status >= 500;
}

bool retry_is_overload(int status)
{
	return status == 503 || status == 529;
}

/* Statuses that no other request of the same model and key can escape. */
static bool is_final_for_all(int status)
{
	return status == 401 || status == 402 || status == 404;
}

/* Rules of gateways that end a run, by their beginning; everything else about a request refuses
 * this request only. */
static bool rule_ends(struct bytes rule)
{
	static const struct bytes beginnings[] = {
		{"key.",           4 },
                {"org.",           4 },
                {"grant.",         6 },
		{"model.",         6 },
                {"purpose.",       8 },
                {"endpoint.",      9 },
		{"suite.run",      9 },
                {"suite.class",    11},
                {"suite.settings", 14},
		{"suite.budget",   12},
                {"release.",       8 }
        };
	for (size_t i = 0; i < sizeof(beginnings) / sizeof(beginnings[0]); i++)
		if (bytes_starts_with(rule, beginnings[i]))
			return true;
	return false;
}

/* Money or quota is used up: waiting a little does not help. */
static bool code_ends(struct bytes code)
{
	return bytes_is(code, "insufficient_quota") || bytes_is(code, "billing_error") ||
	       bytes_is(code, "enforced_spend_limit_reached");
}

static enum retry_verdict decide_status(const struct retry_facts *facts)
{
	if (facts->rule.size > 0 && rule_ends(facts->rule))
		return RETRY_END;
	if (is_final_for_all(facts->status) || code_ends(facts->code))
		return RETRY_END;
	if (facts->retry_after_ms > (int64_t)RETRY_WAIT_MAX_MS)
		return RETRY_END;
	if (facts->should_retry == 0)
		return facts->status == 429 ? RETRY_END : RETRY_NEVER;
	if (facts->status == 429)
		return RETRY_THROTTLED;
	if (is_transient(facts->status) || facts->should_retry == 1)
		return RETRY_LATER;
	return RETRY_NEVER;
}

enum retry_verdict retry_decide(const struct retry_facts *facts)
{
	if (facts->status >= 300)
		return decide_status(facts);
	/* A 200 that is no answer, or no answer at all: once more may help, unless the failure is
	 * ours. */
	bool ours = facts->transport == ERR_NO_MEMORY || facts->transport == ERR_INVALID ||
		    facts->transport == ERR_TOO_LARGE;
	return ours ? RETRY_NEVER : RETRY_LATER;
}

uint64_t retry_delay_ms(unsigned failures, int64_t retry_after_ms, double jitter)
{
	if (retry_after_ms >= 0)
		return (uint64_t)retry_after_ms + (uint64_t)(100.0 * jitter);
	unsigned doublings = failures > 1 ? failures - 1 : 0;
	uint64_t delay = doublings < 16 ? (uint64_t)RETRY_BASE_MS << doublings : RETRY_CEILING_MS;
	if (delay > RETRY_CEILING_MS)
		delay = RETRY_CEILING_MS;
	return delay - (uint64_t)((double)delay * 0.25 * jitter);
}

static bool read_date(struct bytes text, int64_t *unix_seconds)
{
	char copy[40];
	struct tm parts = {0};
	if (text.size >= sizeof(copy))
		return false;
	memcpy(copy, text.data, text.size);
	copy[text.size] = '\0';
	const char *end = strptime(copy, "%a, %d %b %Y %H:%M:%S GMT", &parts);
	if (!end || *end)
		return false;
	*unix_seconds = (int64_t)timegm(&parts);
	return true;
}

int64_t retry_after_read(struct bytes milliseconds, struct bytes seconds, int64_t wall_ms)
{
	const uint64_t most = 1000000000;
	uint64_t number;
	int64_t date;
	if (bytes_to_u64(milliseconds, most, &number))
		return (int64_t)number;
	if (bytes_to_u64(seconds, most, &number))
		return (int64_t)number * 1000;
	/* Some providers write a fraction of a second. */
	struct bytes fraction, whole = bytes_split(seconds, '.', &fraction);
	if (fraction.data && bytes_to_u64(whole, most, &number))
		return (int64_t)number * 1000 + 1000;
	if (seconds.size == 0 || !read_date(seconds, &date))
		return -1;
	return date * 1000 > wall_ms ? date * 1000 - wall_ms : 0;
}

/* What stands after `label` up to ';' or the end. */
static struct bytes part_after(struct bytes text, struct bytes label)
{
	while (text.size > 0) {
		struct bytes rest, part = bytes_trim(bytes_split(text, ';', &rest));
		if (bytes_starts_with(part, label))
			return bytes_trim(bytes_of(part.data + label.size, part.size - label.size));
		text = rest;
	}
	return bytes_of(NULL, 0);
}

bool refusal_parts_read(struct bytes message, struct refusal_parts *out)
{
	static const struct bytes opening = {"(rule ", 6};
	*out = (struct refusal_parts){0};
	if (message.size < opening.size || message.data[message.size - 1] != ')')
		return false;
	size_t at = message.size - opening.size;
	while (at > 0 && memcmp(message.data + at, opening.data, opening.size) != 0)
		at--;
	if (memcmp(message.data + at, opening.data, opening.size) != 0)
		return false;
	struct bytes inside = bytes_of(message.data + at + 1, message.size - at - 2);
	out->rule = part_after(inside, BYTES("rule "));
	out->clause = part_after(inside, BYTES("clause "));
	out->appeal = part_after(inside, BYTES("appeal "));
	return out->rule.size > 0;
}
