#include "suite/suite_internal.h"

#include "base/encode.h"
#include "base/json.h"
#include "suite/template.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

#define PATH_SIZE 4096
#define NAME_SIZE_MAX 64
#define IDS_MAX ((size_t)LEAF_COUNT_MAX * (SUITE_ID_MAX + 1))

static const char *const kind_names[] = {"qa", "coding", "writing", "safety", NULL};

static enum err_code out_of_memory(const struct suite *suite, struct err *err)
{
	return ERR_SET(err, ERR_NO_MEMORY, "out of memory reading %s", suite->directory);
}

/* ---- suite.yaml ---- */

static enum err_code read_name(struct suite *suite, const json_t *root, struct err *err)
{
	ERR_TRY(yaml_get_string(suite->yaml, root, "name", &suite->name, err));
	struct bytes name = bytes_from(suite->name);
	bool valid =
		name.size > 0 && name.size <= NAME_SIZE_MAX && isalnum((unsigned char)name.data[0]);
	for (size_t i = 0; i < name.size && valid; i++)
		valid = isalnum((unsigned char)name.data[i]) || strchr("._-", name.data[i]);
	return valid ? ERR_OK
		     : yaml_fail(suite->yaml, root, "name", err, ERR_INVALID,
				 "must be 1 to %d letters, digits, dots, dashes and underscores, "
				 "a letter or digit first",
				 NAME_SIZE_MAX);
}

/* A whole number or a text. */
static enum err_code read_version(struct suite *suite, const json_t *root, struct err *err)
{
	const json_t *version = json_object_get(root, "version");
	const char *text = json_string_value(version);
	int length = 0;
	if (json_is_integer(version))
		length = snprintf(suite->version, sizeof(suite->version), "%lld",
				  (long long)json_integer_value(version));
	else if (text)
		length = snprintf(suite->version, sizeof(suite->version), "%s", text);
	return length > 0 && (size_t)length < sizeof(suite->version)
		       ? ERR_OK
		       : yaml_fail(suite->yaml, root, "version", err, ERR_INVALID,
				   "must be a whole number or a text of at most %zu bytes",
				   sizeof(suite->version) - 1);
}

static enum err_code note_field(void *argument, struct bytes name, struct err *err)
{
	struct suite *suite = argument;
	return json_object_setn_new(suite->needed, name.data, name.size, json_true()) == 0
		       ? ERR_OK
		       : out_of_memory(suite, err);
}

/* Notes the fields that a template text names. */
static enum err_code scan_text(struct suite *suite, const json_t *object, const char *key,
			       const char *text, struct err *err)
{
	struct err problem = ERR_INIT;
	if (text && template_scan(text, note_field, suite, &problem) != ERR_OK)
		return yaml_fail(suite->yaml, object, key, err, problem.code, "%s",
				 problem.message);
	return ERR_OK;
}

/* `answer: true`: here stands what the model answered to what is before it. */
static enum err_code read_answer(const struct suite *suite, const json_t *message, size_t index,
				 unsigned role, struct err *err)
{
	const char *before = json_string_value(
		json_object_get(json_array_get(suite->messages, index - 1), "role"));
	if (!json_is_true(json_object_get(message, "answer")) || json_object_get(message, "text"))
		return yaml_fail(suite->yaml, message, "answer", err, ERR_INVALID,
				 "must be true, without a text beside it");
	if (role != 2 || index == 0 || !before || strcmp(before, "user") != 0)
		return yaml_fail(suite->yaml, message, "answer", err, ERR_INVALID,
				 "an answer is a turn of the assistant after one of the user");
	return ERR_OK;
}

static enum err_code read_message(struct suite *suite, size_t index, bool *conversation,
				  struct err *err)
{
	static const char *const keys[] = {"role", "text", "answer", NULL};
	static const char *const roles[] = {"system", "user", "assistant", NULL};
	const json_t *message = json_array_get(suite->messages, index);
	const char *text = NULL;
	unsigned role;
	if (!json_is_object(message))
		return yaml_fail_at(suite->yaml, suite->messages, index, err, ERR_INVALID,
				    "must be { role: …, text: … }");
	ERR_TRY(yaml_only_keys(suite->yaml, message, keys, err));
	ERR_TRY(yaml_get_choice(suite->yaml, message, "role", roles, &role, err));
	if (json_object_get(message, "answer"))
		ERR_TRY(read_answer(suite, message, index, role, err));
	else
		ERR_TRY(yaml_get_string(suite->yaml, message, "text", &text, err));
	if (role == 0 && *conversation)
		return yaml_fail(suite->yaml, message, "role", err, ERR_INVALID,
				 "system messages come before all others");
	*conversation = *conversation || role != 0;
	return scan_text(suite, message, "text", text, err);
}

static enum err_code read_messages(struct suite *suite, const json_t *root, json_t *messages,
				   struct err *err)
{
	bool conversation = false;
	suite->messages = messages;
	for (size_t i = 0; i < json_array_size(messages); i++)
		ERR_TRY(read_message(suite, i, &conversation, err));
	const json_t *last = json_array_get(messages, json_array_size(messages) - 1);
	if (!conversation || strcmp(json_string_value(json_object_get(last, "role")), "user") != 0)
		return yaml_fail(suite->yaml, root, "messages", err, ERR_INVALID,
				 "must end with a message of the user");
	return ERR_OK;
}

/* Exactly one of `template`, `messages` and `words`. */
static enum err_code read_prompt(struct suite *suite, const json_t *root, struct err *err)
{
	const struct yaml_tree *yaml = suite->yaml;
	json_t *messages;
	ERR_TRY(yaml_get_string_or(yaml, root, "template", NULL, &suite->template, err));
	ERR_TRY(yaml_get_string_or(yaml, root, "system", NULL, &suite->system, err));
	ERR_TRY(yaml_get_string_or(yaml, root, "words", NULL, &suite->words_field, err));
	ERR_TRY(yaml_get_container(yaml, root, "messages", JSON_ARRAY, true, &messages, err));
	if (!!suite->template + !!suite->words_field + !!messages != 1)
		return yaml_fail(yaml, root, NULL, err, ERR_INVALID,
				 "needs one of template, messages and words (a field's name)");
	if (suite->system && suite->words_field)
		return yaml_fail(yaml, root, "system", err, ERR_INVALID,
				 "cannot stand beside words: they have their own");
	if (messages)
		ERR_TRY(read_messages(suite, root, messages, err));
	if (suite->words_field)
		ERR_TRY(note_field(suite, bytes_from(suite->words_field), err));
	ERR_TRY(scan_text(suite, root, "system", suite->system, err));
	return scan_text(suite, root, "template", suite->template, err);
}

struct setting {
	const char *key, *canonical;
	bool whole;
	double min, max;
};

static const struct setting settings_table[] = {
	{"max_tokens",        "max_output",        true,  1,  1000000},
	{"temperature",       "temperature",       false, 0,  2      },
	{"top_p",             "top_p",             false, 0,  1      },
	{"top_k",             "top_k",             true,  1,  1000   },
	{"frequency_penalty", "frequency_penalty", false, -2, 2      },
	{"presence_penalty",  "presence_penalty",  false, -2, 2      },
};
#define SETTINGS_COUNT (sizeof(settings_table) / sizeof(settings_table[0]))

static enum err_code read_setting(struct suite *suite, const json_t *settings,
				  const struct setting *setting, struct err *err)
{
	double number;
	const json_t *value = json_object_get(settings, setting->key);
	if (!value)
		return ERR_OK;
	if (setting->whole && !json_is_integer(value))
		return yaml_fail(suite->yaml, settings, setting->key, err, ERR_INVALID,
				 "must be a whole number");
	if (!json_is_number(value))
		return yaml_fail(suite->yaml, settings, setting->key, err, ERR_INVALID,
				 "must be a number");
	ERR_TRY(yaml_get_number_or(suite->yaml, settings, setting->key, setting->min, setting->max,
				   0, &number, err));
	return json_object_set_new(suite->settings, setting->canonical,
				   json_copy((json_t *)value)) == 0
		       ? ERR_OK
		       : out_of_memory(suite, err);
}

static enum err_code read_settings(struct suite *suite, const json_t *root, struct err *err)
{
	const char *keys[SETTINGS_COUNT + 1] = {0};
	json_t *settings;
	suite->settings = json_pack("{s:i}", "max_output", SUITE_DEFAULT_MAX_OUTPUT);
	if (!suite->settings)
		return out_of_memory(suite, err);
	ERR_TRY(yaml_get_container(suite->yaml, root, "settings", JSON_OBJECT, true, &settings,
				   err));
	for (size_t i = 0; i < SETTINGS_COUNT; i++) {
		keys[i] = settings_table[i].key;
		if (settings)
			ERR_TRY(read_setting(suite, settings, &settings_table[i], err));
	}
	return settings ? yaml_only_keys(suite->yaml, settings, keys, err) : ERR_OK;
}

static enum err_code read_scorer(struct suite *suite, const json_t *root, struct err *err)
{
	json_t *scorer;
	const char *kind;
	struct err problem = ERR_INIT;
	ERR_TRY(yaml_get_container(suite->yaml, root, "scorer", JSON_OBJECT, false, &scorer, err));
	ERR_TRY(yaml_get_string(suite->yaml, scorer, "kind", &kind, err));
	if (strstr(kind, "{{"))
		return yaml_fail(suite->yaml, scorer, "kind", err, ERR_INVALID,
				 "must be the same for every item");
	suite->scorer = scorer;
	if (template_scan_json(scorer, note_field, suite, &problem) != ERR_OK)
		return yaml_fail(suite->yaml, root, "scorer", err, problem.code, "%s",
				 problem.message);
	return ERR_OK;
}

static enum err_code read_seed(struct suite *suite, const json_t *root, struct err *err)
{
	const char *seed;
	ERR_TRY(yaml_get_string_or(suite->yaml, root, "seed", NULL, &seed, err));
	if (seed && !hex_decode(bytes_from(seed), suite->seed, LEAF_SEED_SIZE))
		return yaml_fail(suite->yaml, root, "seed", err, ERR_INVALID,
				 "must be %d hexadecimal digits in quotes", 2 * LEAF_SEED_SIZE);
	return ERR_OK;
}

static enum err_code read_document(struct suite *suite, struct err *err)
{
	static const char *const keys[] = {
		"name",     "version", "licence",  "description", "source",  "kind",   "template",
		"messages", "words",   "system",   "settings",    "samples", "scorer", "seed",
		"cluster",  "judge",   "examples", "tags",        "canary",  "twins",  NULL};
	const struct yaml_tree *yaml = suite->yaml;
	const json_t *root = yaml_root(yaml);
	const char *ignored;
	unsigned kind;
	ERR_TRY(yaml_only_keys(yaml, root, keys, err));
	ERR_TRY(read_name(suite, root, err));
	ERR_TRY(read_version(suite, root, err));
	ERR_TRY(yaml_get_string_or(yaml, root, "licence", "", &suite->licence, err));
	ERR_TRY(yaml_get_string_or(yaml, root, "description", "", &ignored, err));
	ERR_TRY(yaml_get_string_or(yaml, root, "source", "", &ignored, err));
	ERR_TRY(yaml_get_choice(yaml, root, "kind", kind_names, &kind, err));
	suite->kind = (enum suite_kind)kind;
	ERR_TRY(read_prompt(suite, root, err));
	ERR_TRY(suite_read_examples(suite, root, err));
	ERR_TRY(suite_read_labels(suite, root, err));
	ERR_TRY(read_settings(suite, root, err));
	ERR_TRY(yaml_get_integer_or(yaml, root, "samples", 1, SUITE_SAMPLES_MAX, 1, &suite->samples,
				    err));
	ERR_TRY(read_scorer(suite, root, err));
	ERR_TRY(suite_read_judge(suite, root, err));
	ERR_TRY(read_seed(suite, root, err));
	ERR_TRY(yaml_get_string_or(yaml, root, "cluster", NULL, &suite->cluster_field, err));
	if (suite->tags_field)
		ERR_TRY(note_field(suite, bytes_from(suite->tags_field), err));
	return suite->cluster_field ? note_field(suite, bytes_from(suite->cluster_field), err)
				    : ERR_OK;
}

/* ---- items.jsonl ---- */

enum err_code suite_item_prefix(const struct suite *suite, size_t index, struct err *err)
{
	return err_prefix(err, "%s/items.jsonl:%zu", suite->directory, index + 1);
}

enum err_code suite_item_id(const json_t *fields, char id[static SUITE_ID_MAX + 1], struct err *err)
{
	const json_t *value = json_object_get(fields, "id");
	int length = 0;
	if (json_is_integer(value))
		length = snprintf(id, SUITE_ID_MAX + 1, "%lld",
				  (long long)json_integer_value(value));
	else if (json_is_string(value) &&
		 strlen(json_string_value(value)) == json_string_length(value))
		length = snprintf(id, SUITE_ID_MAX + 1, "%s", json_string_value(value));
	if (length <= 0 || (size_t)length > SUITE_ID_MAX)
		return ERR_SET(err, ERR_INVALID,
			       "\"id\" must be a text of 1 to %u bytes or a whole number",
			       SUITE_ID_MAX);
	for (int i = 0; i < length; i++)
		if ((unsigned char)id[i] < 0x20 || id[i] == 0x7f)
			return ERR_SET(err, ERR_INVALID, "\"id\" has a control character");
	return ERR_OK;
}

static const char *id_at(const struct suite *suite, size_t index)
{
	return suite->ids.data + suite->lines[index].id_offset;
}

static size_t hash_id(struct bytes id)
{
	uint64_t hash = bytes_hash(BYTES_HASH_START, id);
	return (size_t)(hash ^ (hash >> 32));
}

/* The slot of this id, or the free slot where it belongs. */
static uint32_t *id_slot(const struct suite *suite, struct bytes id)
{
	size_t slot = hash_id(id) & suite->by_id_mask;
	while (suite->by_id[slot] && !bytes_is(id, id_at(suite, suite->by_id[slot] - 1)))
		slot = (slot + 1) & suite->by_id_mask;
	return &suite->by_id[slot];
}

static bool grow_ids(struct suite *suite)
{
	size_t size = suite->by_id ? (suite->by_id_mask + 1) * 2 : 64;
	uint32_t *table = calloc(size, sizeof(*table));
	if (!table)
		return false;
	free(suite->by_id);
	suite->by_id = table;
	suite->by_id_mask = size - 1;
	for (size_t i = 0; i < suite->count; i++)
		*id_slot(suite, bytes_from(id_at(suite, i))) = (uint32_t)i + 1;
	return true;
}

static bool reserve_line(struct suite *suite)
{
	if (suite->count == suite->capacity) {
		size_t capacity = suite->capacity ? suite->capacity * 2 : 64;
		struct suite_line *lines = realloc(suite->lines, capacity * sizeof(*lines));
		if (!lines)
			return false;
		suite->lines = lines;
		suite->capacity = capacity;
	}
	return (suite->by_id && suite->count * 2 < suite->by_id_mask) || grow_ids(suite);
}

static enum err_code check_fields(const struct suite *suite, const json_t *fields, const char *id,
				  struct err *err)
{
	const char *name;
	json_t *ignored;
	json_object_foreach(suite->needed, name, ignored)
	{
		if (!json_object_get(fields, name))
			return ERR_SET(err, ERR_INVALID,
				       "item %s: field \"%s\" is missing (suite.yaml names it)", id,
				       name);
	}
	struct err problem = ERR_INIT;
	if (suite->tags_field && suite_check_tags(suite, fields, &problem) != ERR_OK)
		return ERR_SET(err, problem.code, "item %s: %s", id, problem.message);
	return ERR_OK;
}

/* As they are written: rendering finds what is wrong. */
static void note_steps(struct suite *suite, const json_t *messages)
{
	unsigned steps = 1;
	for (size_t i = 0; i < json_array_size(messages) && steps < SCRIPT_STEPS_MAX; i++) {
		const json_t *message = json_array_get(messages, i);
		const json_t *part = json_array_get(json_object_get(message, "parts"), 0);
		const char *type = json_string_value(json_object_get(part, "type"));
		steps += json_is_true(json_object_get(message, "answer")) ||
			 (type && strcmp(type, "answer") == 0);
	}
	if (steps > suite->steps)
		suite->steps = steps;
}

static enum err_code add_item(struct suite *suite, struct bytes line, const json_t *fields,
			      struct err *err)
{
	char id[SUITE_ID_MAX + 1];
	if (!json_is_object(fields))
		return ERR_SET(err, ERR_INVALID, "the line is not a JSON object");
	ERR_TRY(suite_item_id(fields, id, err));
	ERR_TRY(check_fields(suite, fields, id, err));
	if (!reserve_line(suite))
		return out_of_memory(suite, err);
	uint32_t *slot = id_slot(suite, bytes_from(id));
	if (*slot)
		return ERR_SET(err, ERR_INVALID, "item %s stands in line %u already", id, *slot);
	struct suite_line *place = &suite->lines[suite->count];
	place->offset = (uint32_t)(line.data - suite->items_text.data);
	place->size = (uint32_t)line.size;
	place->id_offset = (uint32_t)suite->ids.size;
	buf_append(&suite->ids, id, strlen(id) + 1);
	if (suite->ids.failed)
		return out_of_memory(suite, err);
	*slot = (uint32_t)++suite->count;
	if (suite->words_field)
		note_steps(suite, json_object_get(json_object_get(fields, suite->words_field),
						  "messages"));
	return ERR_OK;
}

static enum err_code read_item(struct suite *suite, struct bytes line, struct err *err)
{
	json_t *fields;
	if (line.size == 0)
		return ERR_SET(err, ERR_INVALID, "the line is empty");
	if (line.size > SUITE_LINE_MAX)
		return ERR_SET(err, ERR_TOO_LARGE, "the line is longer than %zu bytes",
			       SUITE_LINE_MAX);
	if (suite->count == LEAF_COUNT_MAX)
		return ERR_SET(err, ERR_TOO_LARGE, "more than %u items", LEAF_COUNT_MAX);
	ERR_TRY(json_parse(line, "the item", &fields, err));
	enum err_code code = add_item(suite, line, fields, err);
	json_decref(fields);
	return code;
}

static enum err_code read_items(struct suite *suite, struct err *err)
{
	struct bytes rest = buf_bytes(&suite->items_text);
	while (rest.size > 0) {
		struct bytes line = bytes_split(rest, '\n', &rest);
		if (bytes_ends_with(line, BYTES("\r")))
			line.size--;
		enum err_code code = read_item(suite, line, err);
		if (code != ERR_OK) {
			suite_item_prefix(suite, suite->count, err);
			return code;
		}
	}
	return suite->count
		       ? ERR_OK
		       : ERR_SET(err, ERR_INVALID, "%s/items.jsonl: no items", suite->directory);
}

/* ---- the whole ---- */

static enum err_code read_suite(struct suite *suite, struct err *err)
{
	char file[PATH_SIZE];
	snprintf(file, sizeof(file), "%s/suite.yaml", suite->directory);
	ERR_TRY(yaml_parse(buf_bytes(&suite->yaml_text), file, &suite->yaml, err));
	ERR_TRY(read_document(suite, err));
	note_steps(suite, suite->messages);
	ERR_TRY(read_items(suite, err));
	return suite_read_twins(suite, err);
}

static struct suite *suite_new(const char *directory)
{
	struct suite *suite = calloc(1, sizeof(*suite));
	if (!suite)
		return NULL;
	buf_init(&suite->yaml_text, YAML_TEXT_MAX);
	buf_init(&suite->items_text, SUITE_ITEMS_MAX);
	buf_init(&suite->ids, IDS_MAX);
	suite->directory = strdup(directory);
	suite->needed = json_object();
	size_t size = suite->directory ? strlen(suite->directory) : 0;
	while (size > 1 && suite->directory[size - 1] == '/')
		suite->directory[--size] = '\0';
	if (suite->directory && suite->needed)
		return suite;
	suite_free(suite);
	return NULL;
}

enum err_code suite_parse(struct bytes yaml, struct bytes items, const char *directory,
			  struct suite **out, struct err *err)
{
	*out = NULL;
	struct suite *suite = suite_new(directory);
	if (!suite)
		return ERR_SET(err, ERR_NO_MEMORY, "out of memory");
	buf_append_bytes(&suite->yaml_text, yaml);
	buf_append_bytes(&suite->items_text, items);
	enum err_code code = suite->yaml_text.failed || suite->items_text.failed
				     ? ERR_SET(err, ERR_TOO_LARGE, "%s: files too large", directory)
				     : read_suite(suite, err);
	if (code == ERR_OK)
		*out = suite;
	else
		suite_free(suite);
	return code;
}

static enum err_code read_files(struct env *env, struct suite *suite, struct err *err)
{
	char path[PATH_SIZE];
	if (strlen(suite->directory) > PATH_SIZE - 32)
		return ERR_SET(err, ERR_INVALID, "the path of the suite is too long");
	snprintf(path, sizeof(path), "%s/suite.yaml", suite->directory);
	ERR_TRY(env_read_file(env, path, &suite->yaml_text, err));
	snprintf(path, sizeof(path), "%s/items.jsonl", suite->directory);
	ERR_TRY(env_read_file(env, path, &suite->items_text, err));
	return read_suite(suite, err);
}

enum err_code suite_load(struct env *env, const char *directory, struct suite **out,
			 struct err *err)
{
	*out = NULL;
	struct suite *suite = suite_new(directory);
	if (!suite)
		return ERR_SET(err, ERR_NO_MEMORY, "out of memory");
	enum err_code code = read_files(env, suite, err);
	if (code == ERR_OK)
		*out = suite;
	else
		suite_free(suite);
	return code;
}

void suite_free(struct suite *suite)
{
	if (!suite)
		return;
	json_decref(suite->needed);
	json_decref(suite->settings);
	json_decref(suite->judge_settings);
	yaml_tree_free(suite->yaml);
	buf_release(&suite->yaml_text);
	buf_release(&suite->items_text);
	buf_release(&suite->ids);
	free(suite->lines);
	free(suite->by_id);
	free(suite->twins);
	free(suite->directory);
	free(suite);
}

const char *suite_name(const struct suite *suite)
{
	return suite->name;
}

const char *suite_version(const struct suite *suite)
{
	return suite->version;
}

const char *suite_licence(const struct suite *suite)
{
	return suite->licence;
}

enum suite_kind suite_kind(const struct suite *suite)
{
	return suite->kind;
}

const char *suite_kind_name(enum suite_kind kind)
{
	return kind_names[kind];
}

int suite_samples(const struct suite *suite)
{
	return (int)suite->samples;
}

unsigned suite_steps(const struct suite *suite)
{
	return suite->steps;
}

size_t suite_count(const struct suite *suite)
{
	return suite->count;
}

const json_t *suite_scorer(const struct suite *suite)
{
	return suite->scorer;
}

const char *suite_scorer_kind(const struct suite *suite)
{
	return json_string_value(json_object_get(suite->scorer, "kind"));
}

const json_t *suite_settings(const struct suite *suite)
{
	return suite->settings;
}

const uint8_t *suite_seed(const struct suite *suite)
{
	return suite->seed;
}

struct bytes suite_yaml_text(const struct suite *suite)
{
	return buf_bytes(&suite->yaml_text);
}

struct bytes suite_items_text(const struct suite *suite)
{
	return buf_bytes(&suite->items_text);
}

struct bytes suite_item_line(const struct suite *suite, size_t index)
{
	const struct suite_line *line = &suite->lines[index];
	return bytes_of(suite->items_text.data + line->offset, line->size);
}

const char *suite_id(const struct suite *suite, size_t index)
{
	return id_at(suite, index);
}

bool suite_find(const struct suite *suite, struct bytes id, size_t *index)
{
	uint32_t slot = *id_slot(suite, id);
	*index = slot ? slot - 1 : 0;
	return slot != 0;
}
