/* What a suite says beside its prompt: few-shot examples, tags of items, the canary and
 * the field of twins
 * (docs/formats/suite.md). */
#include "suite/suite_internal.h"
#include "suite/template.h"

#include <stdio.h>

/* ---- examples ---- */

struct example_place {
	const struct suite *suite;
	const json_t *items;
	size_t index;
};

static enum err_code need_field(void *argument, struct bytes name, struct err *err)
{
	const struct example_place *place = argument;
	const json_t *example = json_array_get(place->items, place->index);
	return json_object_getn(example, name.data, name.size)
		       ? ERR_OK
		       : yaml_fail_at(place->suite->yaml, place->items, place->index, err,
				      ERR_INVALID, "field \"%.*s\" is missing", (int)name.size,
				      name.data);
}

static enum err_code check_example(const struct suite *suite, const json_t *items, size_t index,
				   struct err *err)
{
	struct example_place place = {suite, items, index};
	if (!json_is_object(json_array_get(items, index)))
		return yaml_fail_at(suite->yaml, items, index, err, ERR_INVALID,
				    "must be an object of fields, as an item has them");
	ERR_TRY(template_scan(suite->template, need_field, &place, err));
	return template_scan(suite->example_answer, need_field, &place, err);
}

static enum err_code read_example_items(struct suite *suite, const json_t *examples,
					struct err *err)
{
	json_t *items;
	ERR_TRY(yaml_get_container(suite->yaml, examples, "items", JSON_ARRAY, false, &items, err));
	if (json_array_size(items) == 0 || json_array_size(items) > SUITE_EXAMPLES_MAX)
		return yaml_fail(suite->yaml, examples, "items", err, ERR_INVALID,
				 "must be a list of 1 to %d examples", SUITE_EXAMPLES_MAX);
	for (size_t i = 0; i < json_array_size(items); i++)
		ERR_TRY(check_example(suite, items, i, err));
	suite->examples = items;
	return ERR_OK;
}

enum err_code suite_read_examples(struct suite *suite, const json_t *root, struct err *err)
{
	static const char *const keys[] = {"answer", "items", NULL};
	const struct yaml_tree *yaml = suite->yaml;
	json_t *examples;
	struct err problem = ERR_INIT;
	ERR_TRY(yaml_get_container(yaml, root, "examples", JSON_OBJECT, true, &examples, err));
	if (!examples)
		return ERR_OK;
	if (!suite->template)
		return yaml_fail(yaml, root, "examples", err, ERR_INVALID,
				 "need a template: with messages or words, write the examples as "
				 "turns");
	ERR_TRY(yaml_only_keys(yaml, examples, keys, err));
	ERR_TRY(yaml_get_string(yaml, examples, "answer", &suite->example_answer, err));
	if (template_scan(suite->example_answer, NULL, NULL, &problem) != ERR_OK)
		return yaml_fail(yaml, examples, "answer", err, problem.code, "%s",
				 problem.message);
	return read_example_items(suite, examples, err);
}

/* ---- tags, canary, twins ---- */

enum err_code suite_read_labels(struct suite *suite, const json_t *root, struct err *err)
{
	ERR_TRY(yaml_get_string_or(suite->yaml, root, "tags", NULL, &suite->tags_field, err));
	ERR_TRY(yaml_get_string_or(suite->yaml, root, "canary", NULL, &suite->canary, err));
	ERR_TRY(yaml_get_string_or(suite->yaml, root, "twins", NULL, &suite->twins_field, err));
	size_t size = suite->canary ? strlen(suite->canary) : SUITE_CANARY_MIN;
	return size >= SUITE_CANARY_MIN && size <= SUITE_CANARY_MAX
		       ? ERR_OK
		       : yaml_fail(suite->yaml, root, "canary", err, ERR_INVALID,
				   "must be a text of %d to %d bytes that stands nowhere else, a "
				   "random UUID in it",
				   SUITE_CANARY_MIN, SUITE_CANARY_MAX);
}

static bool is_tag(const json_t *tag)
{
	size_t size = json_string_length(tag);
	const char *text = json_string_value(tag);
	for (size_t i = 0; i < size; i++)
		if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
			return false;
	return size > 0 && size <= SUITE_TAG_MAX;
}

enum err_code suite_check_tags(const struct suite *suite, const json_t *fields, struct err *err)
{
	const json_t *tags = json_object_get(fields, suite->tags_field), *tag;
	size_t index, count = json_array_size(tags);
	bool valid = json_is_array(tags) && count <= SUITE_TAGS_MAX;
	json_array_foreach((json_t *)tags, index, tag) valid = valid && is_tag(tag);
	return valid ? ERR_OK
		     : ERR_SET(err, ERR_INVALID,
			       "field \"%s\" (the tags) must be a list of at most %d texts of 1 to "
			       "%d bytes without control characters",
			       suite->tags_field, SUITE_TAGS_MAX, SUITE_TAG_MAX);
}

bool suite_names_tags(const struct suite *suite)
{
	return suite->tags_field != NULL;
}

enum err_code suite_has_tag(const struct suite *suite, size_t index, const char *const *tags,
			    unsigned count, bool *has, struct err *err)
{
	json_t *fields, *tag;
	size_t i;
	*has = false;
	if (!suite->tags_field)
		return ERR_OK;
	ERR_TRY(json_parse(suite_item_line(suite, index), suite_id(suite, index), &fields, err));
	json_array_foreach(json_object_get(fields, suite->tags_field), i, tag)
	{
		for (unsigned k = 0; k < count; k++)
			*has |= strcmp(json_string_value(tag), tags[k]) == 0;
	}
	json_decref(fields);
	return ERR_OK;
}

const char *suite_canary(const struct suite *suite)
{
	return suite->canary ? suite->canary : "";
}
