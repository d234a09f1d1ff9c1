#include "gate/statement.h"

#include "policy/day.h"

#include <stdlib.h>
#include <string.h>

struct statement {
	char *org;
	int64_t from_ms, until_ms;
	json_t *open; /* admit id -> {grant, suite}: no outcome yet */
	json_t *totals, *grants, *runs, *suites, *rules, *endings, *acts;
	int64_t requests, explained, tokens, explained_tokens, acts_left_out;
	bool failed;
};

struct statement *statement_new(const char *org, int64_t from_ms, int64_t until_ms)
{
	struct statement *statement = calloc(1, sizeof(*statement));
	if (!statement)
		return NULL;
	*statement = (struct statement){.org = strdup(org),
					.from_ms = from_ms,
					.until_ms = until_ms,
					.open = json_object(),
					.totals = json_object(),
					.grants = json_object(),
					.runs = json_object(),
					.suites = json_object(),
					.rules = json_object(),
					.endings = json_object(),
					.acts = json_array()};
	return statement;
}

void statement_free(struct statement *statement)
{
	if (!statement)
		return;
	json_t *const trees[] = {statement->open,    statement->totals, statement->grants,
				 statement->runs,    statement->suites, statement->rules,
				 statement->endings, statement->acts};
	for (size_t i = 0; i < sizeof(trees) / sizeof(trees[0]); i++)
		json_decref(trees[i]);
	free(statement->org);
	free(statement);
}

/* ---- time ---- */

bool statement_month(const char *text, int64_t *from_ms, int64_t *until_ms)
{
	char day[11] = "0000-00-01";
	uint64_t year, month;
	if (strlen(text) != 7 || text[4] != '-' || !bytes_to_u64(bytes_of(text, 4), 9998, &year) ||
	    !bytes_to_u64(bytes_of(text + 5, 2), 12, &month) || month < 1)
		return false;
	memcpy(day, text, 7);
	if (!world_parse_day(bytes_of(day, 10), from_ms))
		return false;
	month++;
	if (month > 12) {
		month = 1;
		year++;
	}
	for (int i = 3; i >= 0; i--, year /= 10)
		day[i] = (char)('0' + year % 10);
	day[5] = (char)('0' + month / 10);
	day[6] = (char)('0' + month % 10);
	return world_parse_day(bytes_of(day, 10), until_ms);
}

/* RFC 3339 with milliseconds, as records have it. */
int64_t statement_time(struct bytes line)
{
	static const char name[] = "\"time\":\"";
	uint64_t hours, minutes, seconds;
	int64_t day;
	const char *at = memmem(line.data, line.size, name, sizeof(name) - 1);
	if (!at || line.size - (size_t)(at - line.data) < sizeof(name) - 1 + 24)
		return -1;
	at += sizeof(name) - 1;
	if (!world_parse_day(bytes_of(at, 10), &day) ||
	    !bytes_to_u64(bytes_of(at + 11, 2), 23, &hours) ||
	    !bytes_to_u64(bytes_of(at + 14, 2), 59, &minutes) ||
	    !bytes_to_u64(bytes_of(at + 17, 2), 60, &seconds))
		return -1;
	return day + (int64_t)((hours * 60 + minutes) * 60 + seconds) * 1000;
}

/* ---- counting ---- */

static int64_t number_of(const json_t *record, const char *key, int64_t fallback)
{
	const json_t *value = json_object_get(record, key);
	return json_is_integer(value) ? json_integer_value(value) : fallback;
}

static void count(struct statement *statement, json_t *row, const char *key, int64_t by)
{
	if (by && json_object_set_new(row, key, json_integer(number_of(row, key, 0) + by)))
		statement->failed = true;
}

/* The row of this id; NULL where there is no id or no room. */
static json_t *row_of(struct statement *statement, json_t *rows, const char *name, const char *id)
{
	json_t *row = json_object_get(rows, id);
	if (row || !*id)
		return row;
	if (json_object_size(rows) >= STATEMENT_ROWS_MAX)
		return NULL;
	row = json_pack("{s:s}", name, id);
	if (!row || json_object_set_new(rows, id, row)) {
		statement->failed = true;
		return NULL;
	}
	return row;
}

static void add_admit(struct statement *statement, const json_t *record)
{
	const char *suite = json_text(record, "suite"), *grant = json_text(record, "grant");
	json_t *rows[] = {statement->totals, row_of(statement, statement->grants, "grant", grant),
			  row_of(statement, statement->suites, "suite", suite),
			  row_of(statement, statement->runs, "run", json_text(record, "run"))};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (rows[i])
			count(statement, rows[i], "requests", 1);
	/* Bytes of the words, where some of them may be answers. */
	const json_t *detail = json_object_get(record, "detail");
	if (rows[3] && detail) {
		count(statement, rows[3], "registered", number_of(detail, "registered", 0));
		count(statement, rows[3], "free", number_of(detail, "free", 0));
	}
	if (rows[3] && !json_object_get(rows[3], "suite"))
		json_object_set_new(rows[3], "suite", json_string(suite));
	statement->requests++;
	statement->explained += *suite != '\0';
	json_t *kept = json_pack("{s:s, s:s, s:s}", "grant", grant, "suite", suite, "run",
				 json_text(record, "run"));
	if (!kept || json_object_set_new(statement->open, json_text(record, "id"), kept))
		statement->failed = true;
}

static void add_usage(struct statement *statement, json_t *row, const json_t *usage)
{
	static const char *const kinds[] = {"input", "cache_read", "cache_write", "output"};
	for (size_t i = 0; row && i < sizeof(kinds) / sizeof(kinds[0]); i++)
		count(statement, row, kinds[i], number_of(usage, kinds[i], 0));
}

static void add_outcome(struct statement *statement, const json_t *record)
{
	const char *admit = json_text(record, "admit");
	const json_t *kept = json_object_get(statement->open, admit);
	const json_t *usage = json_object_get(record, "usage");
	bool unknown = strcmp(json_text(record, "kind"), "unknown") == 0;
	if (!kept && (unknown || strcmp(json_text(record, "org"), statement->org) != 0))
		return;
	const char *suite = json_text(kept ? kept : record, "suite");
	const char *grant = json_text(kept ? kept : record, "grant");
	int64_t tokens = number_of(usage, "input", 0) + number_of(usage, "cache_read", 0) +
			 number_of(usage, "cache_write", 0) + number_of(usage, "output", 0);
	add_usage(statement, statement->totals, usage);
	add_usage(statement, row_of(statement, statement->grants, "grant", grant), usage);
	add_usage(statement, row_of(statement, statement->suites, "suite", suite), usage);
	if (kept)
		add_usage(statement,
			  row_of(statement, statement->runs, "run", json_text(kept, "run")), usage);
	if (json_is_true(json_object_get(usage, "estimated")))
		count(statement, statement->totals, "estimated", 1);
	count(statement, statement->endings, unknown ? "unknown" : json_text(record, "ending"), 1);
	statement->tokens += tokens;
	statement->explained_tokens += *suite ? tokens : 0;
	json_object_del(statement->open, admit);
}

static void add_refusal(struct statement *statement, const json_t *record)
{
	int64_t by = number_of(record, "count", 1);
	const char *rule = json_text(record, "rule"), *clause = json_text(record, "clause");
	char id[256];
	snprintf(id, sizeof(id), "%s %s", rule, clause);
	json_t *row = row_of(statement, statement->rules, "rule", id);
	json_t *grant = row_of(statement, statement->grants, "grant", json_text(record, "grant"));
	if (row) {
		json_object_set_new(row, "rule", json_string(rule));
		if (*clause)
			json_object_set_new(row, "clause", json_string(clause));
		count(statement, row, "count", by);
	}
	if (grant)
		count(statement, grant, "refused", by);
	count(statement, statement->totals, "refused", by);
}

/* What was done to it or told to it: as the record says it, without who did it. */
static void add_act(struct statement *statement, const json_t *record)
{
	static const char *const members[] = {"act", "id",     "time", "grant", "suite",
					      "run", "reason", "key",  "name",  NULL};
	if (json_array_size(statement->acts) >= STATEMENT_ACTS_MAX) {
		statement->acts_left_out++;
		return;
	}
	json_t *row = json_object();
	for (const char *const *key = members; row && *key; key++) {
		json_t *value = json_object_get(record, *key);
		if (value)
			json_object_set(row, *key, value);
	}
	if (!row || json_array_append_new(statement->acts, row))
		statement->failed = true;
}

void statement_add(struct statement *statement, struct bytes line)
{
	static const struct {
		const char *kind;
		void (*add)(struct statement *statement, const json_t *record);
	} kinds[] = {
		{"admit",   add_admit  },
                {"settle",  add_outcome},
                {"unknown", add_outcome},
		{"refuse",  add_refusal},
                {"act",     add_act    },
                {"run",     add_act    },
		{"suite",   add_act    },
                {"notice",  add_act    },
	};
	int64_t time = statement_time(line);
	json_t *record;
	bool names = memmem(line.data, line.size, statement->org, strlen(statement->org)) != NULL;
	bool unknown = memmem(line.data, line.size, "\"kind\":\"unknown\"", 16) != NULL;
	if ((!names && !unknown) || time < statement->from_ms || time >= statement->until_ms)
		return;
	if (json_parse(line, "record", &record, NULL) != ERR_OK)
		return;
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		if (strcmp(json_text(record, "kind"), kinds[i].kind) == 0 &&
		    (unknown || strcmp(json_text(record, "org"), statement->org) == 0))
			kinds[i].add(statement, record);
	}
	json_decref(record);
}

/* ---- the whole ---- */

/* The values of an object of rows. */
static json_t *list_of(const json_t *rows)
{
	json_t *list = json_array();
	const char *id;
	json_t *row;
	json_object_foreach((json_t *)rows, id, row)
	{
		if (list && json_array_append(list, row)) {
			json_decref(list);
			return NULL;
		}
	}
	return list;
}

static double share(int64_t part, int64_t whole)
{
	return whole > 0 ? (double)part / (double)whole : 0;
}

json_t *statement_body(struct statement *statement)
{
	json_t *body = json_object();
	json_t *explained =
		json_pack("{s:I, s:f, s:I, s:f}", "requests", (json_int_t)statement->explained,
			  "share_of_requests", share(statement->explained, statement->requests),
			  "tokens", (json_int_t)statement->explained_tokens, "share_of_tokens",
			  share(statement->explained_tokens, statement->tokens));
	/* clang-format off */
	const struct {
		const char *name;
		json_t *value;
	} members[] = {
		{"totals", json_incref(statement->totals)},
		{"grants", list_of(statement->grants)},
		{"runs", list_of(statement->runs)},
		{"suites", list_of(statement->suites)},
		{"refusals", list_of(statement->rules)},
		{"endings", json_incref(statement->endings)},
		{"acts", json_incref(statement->acts)},
		{"acts_left_out", json_integer(statement->acts_left_out)},
		{"without_outcome", json_integer((json_int_t)json_object_size(statement->open))},
		{"explained", explained},
	};
	/* clang-format on */
	bool good = body && !statement->failed;
	for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
		if (!members[i].value ||
		    json_object_set_new(body, members[i].name, members[i].value))
			good = false;
	}
	if (good)
		return body;
	json_decref(body);
	return NULL;
}
