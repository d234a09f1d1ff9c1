#include "grade/run_records.h"

#include "base/json.h"

#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#define COUNT_MAX ((int64_t)1 << 53)

/* ---- plain members by table ---- */

enum field_type {
	FIELD_STRING,   /* const char *; absent where NULL */
	FIELD_UNSIGNED, /* unsigned; always there */
	FIELD_INT,      /* int; absent where -1 */
	FIELD_TIME,     /* int64_t; absent where -1 */
	FIELD_BOOL,     /* absent where false */
};

struct field {
	const char *name;
	enum field_type type;
	size_t offset;
	bool required;
};

#define FIELD(structure, member, kind, needed)                            \
	{                                                                 \
#member, kind, offsetof(struct structure, member), needed \
	}

static const struct field transcript_fields[] = {
	FIELD(run_transcript, suite, FIELD_STRING, true),
	FIELD(run_transcript, item, FIELD_STRING, true),
	FIELD(run_transcript, model, FIELD_STRING, true),
	FIELD(run_transcript, sample, FIELD_UNSIGNED, true),
	FIELD(run_transcript, attempt, FIELD_UNSIGNED, true),
	FIELD(run_transcript, step, FIELD_INT, false),
	FIELD(run_transcript, words, FIELD_STRING, true),
	FIELD(run_transcript, answer, FIELD_STRING, false),
	FIELD(run_transcript, verdict, FIELD_STRING, false),
	FIELD(run_transcript, finish, FIELD_STRING, false),
	FIELD(run_transcript, served, FIELD_STRING, false),
	FIELD(run_transcript, status, FIELD_INT, true),
	FIELD(run_transcript, error, FIELD_STRING, false),
	FIELD(run_transcript, started_ms, FIELD_TIME, true),
	FIELD(run_transcript, first_token_ms, FIELD_TIME, false),
	FIELD(run_transcript, elapsed_ms, FIELD_TIME, true),
	FIELD(run_transcript, record, FIELD_STRING, false),
	FIELD(run_transcript, nonce, FIELD_STRING, false),
	FIELD(run_transcript, request_body, FIELD_STRING, false),
	FIELD(run_transcript, response_body, FIELD_STRING, false),
	FIELD(run_transcript, response_digest, FIELD_STRING, false),
	FIELD(run_transcript, stream, FIELD_BOOL, false),
	FIELD(run_transcript, cached, FIELD_BOOL, false),
	FIELD(run_transcript, blind, FIELD_BOOL, false),
	FIELD(run_transcript, judge_model, FIELD_STRING, false),
	FIELD(run_transcript, judge_opponent, FIELD_STRING, false),
	FIELD(run_transcript, judge_order, FIELD_INT, false),
	{0}};

static const struct field score_fields[] = {FIELD(run_score, suite, FIELD_STRING, true),
					    FIELD(run_score, item, FIELD_STRING, true),
					    FIELD(run_score, model, FIELD_STRING, true),
					    FIELD(run_score, cluster, FIELD_STRING, false),
					    FIELD(run_score, opponent, FIELD_STRING, false),
					    FIELD(run_score, judge, FIELD_STRING, false),
					    FIELD(run_score, scorer, FIELD_STRING, true),
					    FIELD(run_score, hazard, FIELD_STRING, false),
					    FIELD(run_score, sample, FIELD_UNSIGNED, true),
					    FIELD(run_score, failed, FIELD_BOOL, false),
					    FIELD(run_score, time_limited, FIELD_BOOL, false),
					    FIELD(run_score, flipped, FIELD_BOOL, false),
					    FIELD(run_score, explanation, FIELD_STRING, false),
					    {0}};

static const struct field usage_fields[] = {FIELD(run_usage, input, FIELD_TIME, false),
					    FIELD(run_usage, cache_read, FIELD_TIME, false),
					    FIELD(run_usage, cache_write, FIELD_TIME, false),
					    FIELD(run_usage, output, FIELD_TIME, false),
					    FIELD(run_usage, estimated, FIELD_BOOL, false),
					    {0}};

/* A new reference, or NULL where the member is absent; *failed when it can't be made. */
static json_t *field_value(const struct field *field, const char *at, bool *failed)
{
	json_t *value = NULL;
	bool present = true;

	switch (field->type) {
	case FIELD_STRING: {
		const char *text = *(const char *const *)(const void *)at;
		present = text != NULL;
		value = present ? json_string(text) : NULL;
		break;
	}
	case FIELD_UNSIGNED:
		value = json_integer(*(const unsigned *)(const void *)at);
		break;
	case FIELD_INT: {
		int number = *(const int *)(const void *)at;
		present = number != -1;
		value = present ? json_integer(number) : NULL;
		break;
	}
	case FIELD_TIME: {
		int64_t number = *(const int64_t *)(const void *)at;
		present = number != -1;
		value = present ? json_integer(number) : NULL;
		break;
	}
	case FIELD_BOOL:
		present = *(const bool *)(const void *)at;
		value = present ? json_true() : NULL;
		break;
	}
	*failed |= (present || field->required) && !value;
	return value;
}

/* A new object, or NULL. */
static json_t *fields_encode(const struct field *fields, const void *record)
{
	json_t *object = json_object();
	bool failed = !object;

	for (; fields->name && !failed; fields++) {
		json_t *value = field_value(fields, (const char *)record + fields->offset, &failed);

		if (value)
			failed |= json_object_set_new(object, fields->name, value) != 0;
	}
	if (failed) {
		json_decref(object);
		return NULL;
	}
	return object;
}

static enum err_code field_number(const struct field *field, const json_t *object, const char *what,
				  int64_t max, int64_t *out, struct err *err)
{
	if (field->required)
		return json_get_integer(object, field->name, what, 0, max, out, err);
	return json_get_integer_or(object, field->name, what, 0, max, -1, out, err);
}

static enum err_code field_decode(const struct field *field, const json_t *object, const char *what,
				  char *at, struct err *err)
{
	int64_t number;

	switch (field->type) {
	case FIELD_STRING:
		if (field->required)
			return json_get_string(object, field->name, what, (const char **)(void *)at,
					       err);
		return json_get_string_or(object, field->name, what, NULL,
					  (const char **)(void *)at, err);
	case FIELD_UNSIGNED:
		ERR_TRY(field_number(field, object, what, 1 << 30, &number, err));
		*(unsigned *)(void *)at = (unsigned)number;
		return ERR_OK;
	case FIELD_INT:
		ERR_TRY(field_number(field, object, what, 1 << 30, &number, err));
		*(int *)(void *)at = (int)number;
		return ERR_OK;
	case FIELD_TIME:
		return field_number(field, object, what, COUNT_MAX, (int64_t *)(void *)at, err);
	case FIELD_BOOL:
		return json_get_bool_or(object, field->name, what, false, (bool *)(void *)at, err);
	}
	return ERR_OK;
}

static enum err_code fields_decode(const struct field *fields, const json_t *object,
				   const char *what, void *record, struct err *err)
{
	for (; fields->name; fields++)
		ERR_TRY(field_decode(fields, object, what, (char *)record + fields->offset, err));
	return ERR_OK;
}

static bool is_known(const char *key, const struct field *fields, const char *const *others)
{
	for (; fields->name; fields++)
		if (strcmp(fields->name, key) == 0)
			return true;
	for (; *others; others++)
		if (strcmp(*others, key) == 0)
			return true;
	return false;
}

static enum err_code check_members(const json_t *object, const char *what,
				   const struct field *fields, const char *const *others,
				   struct err *err)
{
	const char *key;
	json_t *value;

	if (!json_is_object(object))
		return ERR_SET(err, ERR_INVALID, "%s: must be an object", what);
	json_object_foreach(
		(json_t *)object, key,
		value) if (!is_known(key, fields,
				     others)) return ERR_SET(err, ERR_INVALID,
							     "%s: unknown member '%.60s'", what,
							     key);
	return ERR_OK;
}

/* ---- transcripts ---- */

json_t *run_transcript_encode(const struct run_transcript *transcript)
{
	json_t *object = fields_encode(transcript_fields, transcript);
	json_t *usage = fields_encode(usage_fields, &transcript->usage);

	if (!object || json_object_set_new(object, "usage", usage) != 0) {
		if (!object)
			json_decref(usage);
		json_decref(object);
		return NULL;
	}
	return object;
}

enum err_code run_transcript_decode(const json_t *line, const char *what,
				    struct run_transcript *out, struct err *err)
{
	static const char *const others[] = {"usage", NULL}, *const none[] = {NULL};
	json_t *usage;

	memset(out, 0, sizeof(*out));
	ERR_TRY(check_members(line, what, transcript_fields, others, err));
	ERR_TRY(fields_decode(transcript_fields, line, what, out, err));
	ERR_TRY(json_get_container(line, "usage", what, JSON_OBJECT, false, &usage, err));
	ERR_TRY(check_members(usage, what, usage_fields, none, err));
	return fields_decode(usage_fields, usage, what, &out->usage, err);
}

/* ---- scores ---- */

static const char *const expect_names[] = {NULL, "answer", "refuse"};

static bool set_string(json_t *object, const char *key, const char *value)
{
	return !value || json_object_set_new(object, key, json_string(value)) == 0;
}

static bool score_encode_rest(const struct run_score *score, json_t *object)
{
	bool done = json_object_set_new(object, "score", json_real(score->score)) == 0;

	if (score->refused != REFUSED_UNKNOWN)
		done &= json_object_set_new(object, "refused",
					    json_boolean(score->refused == REFUSED_YES)) == 0;
	if (score->cpu_ms)
		done &= json_object_set_new(object, "cpu_ms", json_integer(score->cpu_ms)) == 0;
	if (run_is_rating(score) && score->rule != REFUSED_UNKNOWN)
		done &= json_object_set_new(object, "rule",
					    json_boolean(score->rule == REFUSED_YES)) == 0;
	if (score->hazard && score->reference >= 0)
		done &= json_object_set_new(object, "reference", json_real(score->reference)) == 0;
	if (score->verdicts[0])
		done &= json_object_set_new(
				object, "verdicts",
				json_pack("[ss*]", score->verdicts[0], score->verdicts[1])) == 0;
	if (score->opponent && run_has_lengths(score))
		done &= json_object_set_new(object, "lengths",
					    json_pack("[II]", (json_int_t)score->lengths[0],
						      (json_int_t)score->lengths[1])) == 0;
	return done && set_string(object, "expect", expect_names[score->expect]);
}

json_t *run_score_encode(const struct run_score *score)
{
	json_t *object = fields_encode(score_fields, score);

	if (object && !score_encode_rest(score, object)) {
		json_decref(object);
		return NULL;
	}
	return object;
}

static enum err_code decode_refused(const json_t *line, const char *key, const char *what,
				    enum refused *out, struct err *err)
{
	bool refused;

	*out = REFUSED_UNKNOWN;
	if (!json_object_get(line, key))
		return ERR_OK;
	ERR_TRY(json_get_bool_or(line, key, what, false, &refused, err));
	*out = refused ? REFUSED_YES : REFUSED_NO;
	return ERR_OK;
}

static enum err_code decode_reference(const json_t *line, const char *what, struct run_score *out,
				      struct err *err)
{
	const json_t *reference = json_object_get(line, "reference");

	out->reference = reference ? json_number_value(reference) : -1;
	if (!reference || (json_is_number(reference) && out->reference >= 0 && out->reference < 1))
		return ERR_OK;
	return ERR_SET(err, ERR_INVALID, "%s: reference: must be a number from 0 to below 1", what);
}

static enum err_code decode_expect(const json_t *line, const char *what, struct run_score *out,
				   struct err *err)
{
	const char *expect;

	ERR_TRY(json_get_string_or(line, "expect", what, NULL, &expect, err));
	out->expect = EXPECT_NONE;
	if (!expect)
		return ERR_OK;
	for (enum expect value = EXPECT_ANSWER; value <= EXPECT_REFUSE; value++) {
		if (strcmp(expect, expect_names[value]) == 0) {
			out->expect = value;
			return ERR_OK;
		}
	}
	return ERR_SET(err, ERR_INVALID, "%s: expect: must be answer or refuse", what);
}

static enum err_code decode_verdicts(const json_t *line, const char *what, struct run_score *out,
				     struct err *err)
{
	json_t *verdicts;

	ERR_TRY(json_get_container(line, "verdicts", what, JSON_ARRAY, true, &verdicts, err));
	if (!verdicts)
		return ERR_OK;
	out->verdicts[0] = json_string_value(json_array_get(verdicts, 0));
	out->verdicts[1] = json_string_value(json_array_get(verdicts, 1));
	size_t count = run_is_rating(out) ? 1 : 2;
	if (json_array_size(verdicts) != count || !out->verdicts[0] || !out->verdicts[count - 1])
		return ERR_SET(err, ERR_INVALID, "%s: verdicts: must be %s", what,
			       count == 1 ? "one text" : "two texts");
	return ERR_OK;
}

static enum err_code decode_lengths(const json_t *line, const char *what, struct run_score *out,
				    struct err *err)
{
	json_t *lengths;

	ERR_TRY(json_get_container(line, "lengths", what, JSON_ARRAY, true, &lengths, err));
	for (size_t i = 0; lengths && i < 2; i++) {
		const json_t *length = json_array_get(lengths, i);

		out->lengths[i] = json_integer_value(length);
		if (!json_is_integer(length) || json_array_size(lengths) != 2 ||
		    out->lengths[i] < 0)
			return ERR_SET(err, ERR_INVALID, "%s: lengths: must be two counts", what);
	}
	return ERR_OK;
}

static enum err_code decode_score(const json_t *line, const char *what, struct run_score *out,
				  struct err *err)
{
	const json_t *score = json_object_get(line, "score");

	out->score = json_number_value(score);
	if (!json_is_number(score) || !(out->score >= 0 && out->score <= 1))
		return ERR_SET(err, ERR_INVALID, "%s: score: must be a number from 0 to 1", what);
	if (out->failed && out->score != 0)
		return ERR_SET(err, ERR_INVALID, "%s: a failed sample scores 0", what);
	return ERR_OK;
}

enum err_code run_score_decode(const json_t *line, const char *what, struct run_score *out,
			       struct err *err)
{
	static const char *const others[] = {"score",  "refused",   "expect",
					     "cpu_ms", "verdicts",  "lengths",
					     "rule",   "reference", NULL};

	memset(out, 0, sizeof(*out));
	ERR_TRY(check_members(line, what, score_fields, others, err));
	ERR_TRY(fields_decode(score_fields, line, what, out, err));
	ERR_TRY(json_get_integer_or(line, "cpu_ms", what, 0, COUNT_MAX, 0, &out->cpu_ms, err));
	ERR_TRY(decode_score(line, what, out, err));
	ERR_TRY(decode_refused(line, "refused", what, &out->refused, err));
	ERR_TRY(decode_refused(line, "rule", what, &out->rule, err));
	ERR_TRY(decode_reference(line, what, out, err));
	ERR_TRY(decode_expect(line, what, out, err));
	ERR_TRY(decode_lengths(line, what, out, err));
	return decode_verdicts(line, what, out, err);
}

/* ---- files ---- */

enum err_code run_line_append(struct buf *out, json_t *line, struct err *err)
{
	if (!line)
		return ERR_SET(err, ERR_NO_MEMORY,
			       "a line of the run cannot be written: out of memory, or a text in "
			       "it is not UTF-8");
	enum err_code code = json_canonical(line, out, err);
	json_decref(line);
	if (code == ERR_OK)
		buf_append_char(out, '\n');
	if (code == ERR_OK && out->failed)
		code = ERR_SET(err, ERR_NO_MEMORY, "out of memory for a line of the run");
	return code;
}

static enum err_code read_line(struct bytes text, const char *where,
			       enum err_code (*each)(void *, const json_t *, const char *,
						     struct err *),
			       void *argument, struct err *err)
{
	json_t *line;

	if (text.size > RUN_LINE_MAX)
		return ERR_SET(err, ERR_TOO_LARGE, "%s: the line has more than %zu bytes", where,
			       RUN_LINE_MAX);
	if (text.size == 0)
		return ERR_SET(err, ERR_INVALID, "%s: the line is empty", where);
	ERR_TRY(json_parse(text, where, &line, err));
	enum err_code code = each(argument, line, where, err);
	json_decref(line);
	return code;
}

enum err_code run_lines_read(struct bytes text, const char *what,
			     enum err_code (*each)(void *argument, const json_t *line,
						   const char *where, struct err *err),
			     void *argument, struct err *err)
{
	uint64_t number = 0;

	if (text.size && text.data[text.size - 1] != '\n')
		return ERR_SET(err, ERR_INVALID, "%s: the last line was cut off", what);
	while (text.size) {
		struct bytes line = bytes_split(text, '\n', &text);
		char where[256];

		snprintf(where, sizeof(where), "%.200s:%llu", what, (unsigned long long)++number);
		ERR_TRY(read_line(line, where, each, argument, err));
	}
	return ERR_OK;
}
