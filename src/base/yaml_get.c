#include "base/yaml.h"

/* The member, or NULL when it is absent or an explicit null. */
static json_t *member(const json_t *object, const char *key)
{
	json_t *value = json_object_get(object, key);
	return json_is_null(value) ? NULL : value;
}

static enum err_code missing(const struct yaml_tree *tree, const json_t *object, const char *key,
			     const char *type, struct err *err)
{
	return yaml_fail(tree, object, key, err, ERR_INVALID, "missing (%s)", type);
}

static enum err_code wrong_type(const struct yaml_tree *tree, const json_t *object, const char *key,
				const char *type, struct err *err)
{
	return yaml_fail(tree, object, key, err, ERR_INVALID, "must be %s", type);
}

enum err_code yaml_get_string_or(const struct yaml_tree *tree, const json_t *object,
				 const char *key, const char *fallback, const char **out,
				 struct err *err)
{
	const json_t *value = member(object, key);
	*out = value ? json_string_value(value) : fallback;
	if (value && !json_is_string(value))
		return wrong_type(tree, object, key, "a text (put it in quotes)", err);
	return ERR_OK;
}

enum err_code yaml_get_string(const struct yaml_tree *tree, const json_t *object, const char *key,
			      const char **out, struct err *err)
{
	*out = NULL;
	if (!member(object, key))
		return missing(tree, object, key, "a text", err);
	return yaml_get_string_or(tree, object, key, NULL, out, err);
}

enum err_code yaml_get_integer_or(const struct yaml_tree *tree, const json_t *object,
				  const char *key, int64_t min, int64_t max, int64_t fallback,
				  int64_t *out, struct err *err)
{
	const json_t *value = member(object, key);
	*out = fallback;
	if (!value)
		return ERR_OK;
	if (!json_is_integer(value))
		return wrong_type(tree, object, key, "a whole number", err);
	int64_t number = json_integer_value(value);
	if (number < min || number > max)
		return yaml_fail(tree, object, key, err, ERR_INVALID,
				 "%lld is outside %lld to %lld", (long long)number, (long long)min,
				 (long long)max);
	*out = number;
	return ERR_OK;
}

enum err_code yaml_get_integer(const struct yaml_tree *tree, const json_t *object, const char *key,
			       int64_t min, int64_t max, int64_t *out, struct err *err)
{
	*out = 0;
	if (!member(object, key))
		return missing(tree, object, key, "a whole number", err);
	return yaml_get_integer_or(tree, object, key, min, max, 0, out, err);
}

enum err_code yaml_get_number_or(const struct yaml_tree *tree, const json_t *object,
				 const char *key, double min, double max, double fallback,
				 double *out, struct err *err)
{
	const json_t *value = member(object, key);
	*out = fallback;
	if (!value)
		return ERR_OK;
	if (!json_is_number(value))
		return wrong_type(tree, object, key, "a number", err);
	double number = json_number_value(value);
	if (number < min || number > max)
		return yaml_fail(tree, object, key, err, ERR_INVALID, "%g is outside %g to %g",
				 number, min, max);
	*out = number;
	return ERR_OK;
}

enum err_code yaml_get_bool_or(const struct yaml_tree *tree, const json_t *object, const char *key,
			       bool fallback, bool *out, struct err *err)
{
	const json_t *value = member(object, key);
	*out = fallback;
	if (!value)
		return ERR_OK;
	if (!json_is_boolean(value))
		return wrong_type(tree, object, key, "true or false", err);
	*out = json_is_true(value);
	return ERR_OK;
}

enum err_code yaml_get_container(const struct yaml_tree *tree, const json_t *object,
				 const char *key, json_type type, bool optional, json_t **out,
				 struct err *err)
{
	const char *name = type == JSON_ARRAY ? "a list" : "a mapping";
	*out = member(object, key);
	if (!*out)
		return optional ? ERR_OK : missing(tree, object, key, name, err);
	if (json_typeof(*out) != type) {
		*out = NULL;
		return wrong_type(tree, object, key, name, err);
	}
	return ERR_OK;
}

enum err_code yaml_get_strings(const struct yaml_tree *tree, const json_t *object, const char *key,
			       bool optional, json_t **out, struct err *err)
{
	ERR_TRY(yaml_get_container(tree, object, key, JSON_ARRAY, optional, out, err));
	for (size_t i = 0; i < json_array_size(*out); i++) {
		if (json_is_string(json_array_get(*out, i)))
			continue;
		yaml_fail_at(tree, *out, i, err, ERR_INVALID, "must be a text (put it in quotes)");
		*out = NULL;
		return ERR_INVALID;
	}
	return ERR_OK;
}

enum err_code yaml_get_choice(const struct yaml_tree *tree, const json_t *object, const char *key,
			      const char *const *words, unsigned *index, struct err *err)
{
	const char *text;
	struct buf list = BUF_INIT(256);
	*index = 0;
	ERR_TRY(yaml_get_string(tree, object, key, &text, err));
	for (unsigned i = 0; words[i]; i++) {
		if (strcmp(words[i], text) == 0) {
			*index = i;
			buf_release(&list);
			return ERR_OK;
		}
		buf_printf(&list, "%s%s", i ? ", " : "", words[i]);
	}
	yaml_fail(tree, object, key, err, ERR_INVALID, "%s is not one of %s", text,
		  list.data ? list.data : "the known words");
	buf_release(&list);
	return ERR_INVALID;
}

enum err_code yaml_only_keys(const struct yaml_tree *tree, const json_t *object,
			     const char *const *allowed, struct err *err)
{
	const char *key, *first = NULL;
	json_t *value;
	json_object_foreach((json_t *)object, key, value)
	{
		const char *const *known = allowed;
		while (*known && strcmp(*known, key) != 0)
			known++;
		if (!*known &&
		    (!first || yaml_line_of(tree, object, key) < yaml_line_of(tree, object, first)))
			first = key;
	}
	return first ? yaml_fail(tree, object, first, err, ERR_INVALID, "unknown key") : ERR_OK;
}
