#include "policy/tables.h"

#include "table/limits.h"

struct rule_row {
	const char *id, *text;
	int http;
	uint8_t retry;
};

/* clang-format off */
static const struct rule_row rules[RULE_COUNT] = {
	[RULE_NONE] = {"", "", 200, false},
#define X(name, id, http, retry, text) [RULE_##name] = {id, text, http, retry},
	RULE_TABLE(X)
#undef X
};

struct purpose_row {
	const char *id;
	struct purpose_bounds bounds;
};

static const struct purpose_row purposes[PURPOSE_COUNT] = {
#define X(name, id, binds, highest, days, rpm, output, day, built)                                 \
	[PURPOSE_##name] = {id, {binds, (enum release)(highest), days, rpm, output, day, built}},
	PURPOSE_TABLE(X)
#undef X
};

struct release_row {
	const char *id;
	bool built;
};

static const struct release_row releases[RELEASE_COUNT] = {
#define X(name, built) [RELEASE_##name] = {#name, built},
	RELEASE_TABLE(X)
#undef X
};

static const char *const classes[SUITE_CLASS_COUNT] = {
#define X(name, id) [SUITE_CLASS_##name] = id,
	SUITE_CLASS_TABLE(X)
#undef X
};

static const char *const states[GRANT_STATE_COUNT] = {
#define X(name, id, rule) [GRANT_##name] = id,
	GRANT_STATE_TABLE(X)
#undef X
};
/* clang-format on */

const char *rule_id(enum rule rule)
{
	return rules[rule].id;
}

const char *rule_text(enum rule rule)
{
	return rules[rule].text;
}

int rule_http_status(enum rule rule)
{
	return rules[rule].http;
}

bool rule_retryable(enum rule rule)
{
	return rules[rule].retry != 0;
}

bool rule_waits_long(enum rule rule)
{
	return rules[rule].retry == 2;
}

bool rule_find(struct bytes id, enum rule *out)
{
	for (enum rule rule = RULE_NONE + 1; rule < RULE_COUNT; rule++) {
		if (bytes_is(id, rules[rule].id)) {
			*out = rule;
			return true;
		}
	}
	return false;
}

const char *purpose_id(enum purpose purpose)
{
	return purposes[purpose].id;
}

bool purpose_find(struct bytes id, enum purpose *out)
{
	for (enum purpose purpose = 0; purpose < PURPOSE_COUNT; purpose++) {
		if (bytes_is(id, purposes[purpose].id)) {
			*out = purpose;
			return true;
		}
	}
	return false;
}

bool purpose_binds(enum purpose purpose)
{
	return purposes[purpose].bounds.binds;
}

struct purpose_bounds purpose_bounds(enum purpose purpose)
{
	return purposes[purpose].bounds;
}

const char *release_id(enum release release)
{
	return releases[release].id;
}

bool release_find(struct bytes id, enum release *out)
{
	for (enum release release = 0; release < RELEASE_COUNT; release++) {
		if (bytes_is(id, releases[release].id)) {
			*out = release;
			return true;
		}
	}
	return false;
}

bool release_built(enum release release)
{
	return releases[release].built;
}

static bool find_name(const char *const *names, unsigned count, struct bytes id, unsigned *out)
{
	for (unsigned i = 0; i < count; i++) {
		if (bytes_is(id, names[i])) {
			*out = i;
			return true;
		}
	}
	return false;
}

const char *suite_class_id(enum suite_class class)
{
	return classes[class];
}

bool suite_class_find(struct bytes id, enum suite_class *out)
{
	unsigned place;
	if (!find_name(classes, SUITE_CLASS_COUNT, id, &place))
		return false;
	*out = (enum suite_class)place;
	return true;
}

const char *grant_state_id(enum grant_state state)
{
	return states[state];
}

bool grant_state_find(struct bytes id, enum grant_state *out)
{
	unsigned place;
	if (!find_name(states, GRANT_STATE_COUNT, id, &place))
		return false;
	*out = (enum grant_state)place;
	return true;
}
