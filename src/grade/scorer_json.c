/* The scorer `json`: the answer is a JSON document, alone or in its last fenced block, and one
 * value in it (RFC 6901; the whole of it without a field) must equal the target. */
#include "grade/scorer_internal.h"

#include "base/json.h"
#include "grade/code.h"

#define POINTER_MAX 1024u

enum err_code scorer_json_check(const json_t *spec, const char *what, struct err *err)
{
	static const char *const keys[] = {"kind", "field", "target", "tolerance", NULL};
	const json_t *tolerance = json_object_get(spec, "tolerance");
	const char *field;

	ERR_TRY(json_only_keys(spec, keys, what, err));
	ERR_TRY(json_get_string_or(spec, "field", what, "", &field, err));
	if ((*field && *field != '/') || strlen(field) >= POINTER_MAX)
		return ERR_SET(err, ERR_INVALID,
			       "%s: field: must be a JSON pointer such as /answer/0, not '%.100s'",
			       what, field);
	if (!json_object_get(spec, "target"))
		return ERR_SET(err, ERR_INVALID, "%s: target: is missing", what);
	if (tolerance && !(json_is_number(tolerance) && json_number_value(tolerance) >= 0))
		return ERR_SET(err, ERR_INVALID, "%s: tolerance: must be a number, 0 or more",
			       what);
	return ERR_OK;
}

/* Where the last three backticks before `end` stand; `end` if there are none. */
static size_t last_fence(struct bytes text, size_t end)
{
	for (size_t at = end; at >= 3; at--)
		if (memcmp(text.data + at - 3, "```", 3) == 0)
			return at - 3;
	return end;
}

struct bytes scorer_last_block(struct bytes text)
{
	size_t close = last_fence(text, text.size);
	size_t open = close < text.size ? last_fence(text, close) : close;
	struct bytes rest = {0};

	if (open == close)
		return rest;
	bytes_split(bytes_of(text.data + open, close - open), '\n', &rest);
	return rest;
}

/* One step of a pointer: a member, or a number of a list. */
static const json_t *step(const json_t *value, struct bytes token)
{
	char name[POINTER_MAX];
	size_t size = 0;
	uint64_t index;

	for (size_t i = 0; i < token.size; i++) {
		bool escaped = token.data[i] == '~' && i + 1 < token.size;

		i += escaped;
		name[size++] = !escaped ? token.data[i] : token.data[i] == '1' ? '/' : '~';
	}
	name[size] = '\0';
	if (json_is_array(value))
		return bytes_to_u64(bytes_of(name, size), UINT32_MAX, &index)
			       ? json_array_get(value, (size_t)index)
			       : NULL;
	return json_object_get(value, name);
}

static const json_t *find(const json_t *value, const char *field)
{
	struct bytes rest = bytes_from(field);

	if (!rest.size)
		return value;
	rest = bytes_of(rest.data + 1, rest.size - 1);
	do
		value = step(value, bytes_split(rest, '/', &rest));
	while (value && rest.data);
	return value;
}

enum err_code scorer_json_grade(const json_t *spec, struct bytes answer, struct score *score,
				struct err *err)
{
	const char *field = json_string_value(json_object_get(spec, "field"));
	double tolerance = json_number_value(json_object_get(spec, "tolerance"));
	struct bytes text = scorer_trim(answer);
	struct err none = ERR_INIT;
	json_t *tree = NULL;

	(void)err;
	if (json_parse(text, "the answer", &tree, &none) != ERR_OK)
		json_parse(scorer_trim(scorer_last_block(text)), "the answer", &tree, &none);
	const json_t *value = tree ? find(tree, field ? field : "") : NULL;
	score->value = value && code_value_equal(json_object_get(spec, "target"), value, tolerance);
	score_explain(score, !tree              ? "no JSON"
			     : !value           ? "the field is missing"
			     : score->value > 0 ? "equal"
						: "another value");
	json_decref(tree);
	return ERR_OK;
}
