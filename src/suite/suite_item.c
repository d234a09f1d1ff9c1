#include "suite/suite_internal.h"

#include "base/encode.h"
#include "base/json.h"
#include "suite/template.h"
#include "suite/words.h"

#include <stdlib.h>

#define CLUSTER_MAX ((size_t)4096)

static enum err_code out_of_memory(struct err *err)
{
	return ERR_SET(err, ERR_NO_MEMORY, "out of memory rendering an item");
}

/* ---- words ---- */

/* A rendered text as {type: text, text: …}: a new reference. */
static enum err_code render_part(const char *template, const json_t *fields, json_t **out,
				 struct err *err)
{
	struct buf text = BUF_INIT(WORDS_MAX);
	*out = NULL;
	enum err_code code = template_render(template, fields, &text, err);
	if (code == ERR_OK && text.size && memchr(text.data, '\0', text.size))
		code = ERR_SET(err, ERR_INVALID, "the prompt has a NUL character");
	if (code == ERR_OK) {
		*out = json_pack("{s:s, s:o}", "type", "text", "text",
				 json_stringn(text.data ? text.data : "", text.size));
		code = *out ? ERR_OK : out_of_memory(err);
	}
	buf_release(&text);
	return code;
}

static bool is_empty_text(const json_t *part)
{
	return json_string_length(json_object_get(part, "text")) == 0;
}

/* Appends the part to words.system. An empty text is left out. */
static enum err_code add_system(json_t *words, const char *template, const json_t *fields,
				struct err *err)
{
	json_t *part, *system = json_object_get(words, "system");
	ERR_TRY(render_part(template, fields, &part, err));
	if (is_empty_text(part)) {
		json_decref(part);
		return ERR_OK;
	}
	if (!system) {
		system = json_array();
		if (json_object_set_new(words, "system", system) != 0)
			system = NULL;
	}
	return json_array_append_new(system, part) == 0 ? ERR_OK : out_of_memory(err);
}

static enum err_code add_message(json_t *words, const char *role, const char *template,
				 const json_t *fields, struct err *err)
{
	json_t *part;
	ERR_TRY(render_part(template, fields, &part, err));
	if (is_empty_text(part)) {
		json_decref(part);
		return ERR_SET(err, ERR_INVALID, "the text of the %s message is empty", role);
	}
	json_t *message = json_pack("{s:s, s:[o]}", "role", role, "parts", part);
	return json_array_append_new(json_object_get(words, "messages"), message) == 0
		       ? ERR_OK
		       : out_of_memory(err);
}

static enum err_code add_answer(json_t *words, struct err *err)
{
	json_t *message =
		json_pack("{s:s, s:[{s:s}]}", "role", "assistant", "parts", "type", "answer");
	return json_array_append_new(json_object_get(words, "messages"), message) == 0
		       ? ERR_OK
		       : out_of_memory(err);
}

static enum err_code add_messages(const struct suite *suite, const json_t *fields, json_t *words,
				  struct err *err)
{
	for (size_t i = 0; i < json_array_size(suite->messages); i++) {
		const json_t *message = json_array_get(suite->messages, i);
		const char *role = json_string_value(json_object_get(message, "role"));
		const char *text = json_string_value(json_object_get(message, "text"));
		if (!text)
			ERR_TRY(add_answer(words, err));
		else if (strcmp(role, "system") == 0)
			ERR_TRY(add_system(words, text, fields, err));
		else
			ERR_TRY(add_message(words, role, text, fields, err));
	}
	return ERR_OK;
}

/* Few-shot: each example as an item would be asked, and what is to be answered to it. */
static enum err_code add_examples(const struct suite *suite, json_t *words, struct err *err)
{
	for (size_t i = 0; i < json_array_size(suite->examples); i++) {
		const json_t *example = json_array_get(suite->examples, i);
		ERR_TRY(add_message(words, "user", suite->template, example, err));
		ERR_TRY(add_message(words, "assistant", suite->example_answer, example, err));
	}
	return ERR_OK;
}

static enum err_code fill_words(const struct suite *suite, const json_t *fields, json_t *words,
				struct err *err)
{
	if (suite->system)
		ERR_TRY(add_system(words, suite->system, fields, err));
	ERR_TRY(add_examples(suite, words, err));
	if (suite->template)
		return add_message(words, "user", suite->template, fields, err);
	return add_messages(suite, fields, words, err);
}

static enum err_code render_words(const struct suite *suite, const json_t *fields, json_t **out,
				  struct err *err)
{
	if (suite->words_field)
		return words_normalise(json_object_get(fields, suite->words_field), out, err);
	json_t *words = json_pack("{s:[]}", "messages");
	if (!words)
		return out_of_memory(err);
	enum err_code code = fill_words(suite, fields, words, err);
	if (code == ERR_OK)
		*out = words;
	else
		json_decref(words);
	return code;
}

/* ---- items ---- */

/* A string as it is, anything else as canonical JSON: a copy. */
static enum err_code render_cluster(const struct suite *suite, const json_t *fields, char **out,
				    struct err *err)
{
	struct buf text = BUF_INIT(CLUSTER_MAX);
	const json_t *value = json_object_get(fields, suite->cluster_field);
	enum err_code code = ERR_OK;
	if (json_is_string(value))
		buf_append(&text, json_string_value(value), json_string_length(value));
	else
		code = json_canonical(value, &text, err);
	if (code == ERR_OK && (text.failed || text.size == 0 || memchr(text.data, '\0', text.size)))
		code = ERR_SET(err, ERR_INVALID,
			       "field \"%s\" (the cluster) must have 1 to %zu bytes",
			       suite->cluster_field, CLUSTER_MAX);
	if (code == ERR_OK) {
		*out = bytes_to_cstr(buf_bytes(&text));
		code = *out ? ERR_OK : out_of_memory(err);
	}
	buf_release(&text);
	return code;
}

/* What shares a source: what the suite says; else an item and its twin, called after the item. */
static enum err_code find_cluster(const struct suite *suite, struct suite_item *item,
				  struct err *err)
{
	size_t first, twin;
	if (suite->cluster_field)
		return render_cluster(suite, item->fields, &item->cluster, err);
	if (suite_twin(suite, item->index, &twin))
		first = item->index;
	else if (!suite_original(suite, item->index, &first))
		return ERR_OK;
	item->cluster = strdup(suite_id(suite, first));
	return item->cluster ? ERR_OK : out_of_memory(err);
}

static enum err_code read_kind(struct suite_item *item, struct err *err)
{
	struct script_item script = {.steps = 1};
	item->kind = script_kind_of(item->words);
	if (item->kind != SCRIPT_EXACT)
		ERR_TRY(script_item_read(item->words, &script, err));
	item->steps = script.steps;
	return ERR_OK;
}

static enum err_code render(const struct suite *suite, struct suite_item *item, struct err *err)
{
	char id[SUITE_ID_MAX + 1];
	ERR_TRY(json_parse(suite_item_line(suite, item->index), "the item", &item->fields, err));
	ERR_TRY(suite_item_id(item->fields, id, err));
	item->id = strdup(id);
	if (!item->id)
		return out_of_memory(err);
	ERR_TRY(find_cluster(suite, item, err));
	ERR_TRY(render_words(suite, item->fields, &item->words, err));
	ERR_TRY(read_kind(item, err));
	ERR_TRY(template_render_json(suite->scorer, item->fields, &item->scorer, err));
	ERR_TRY(json_canonical(item->words, &item->text, err));
	return leaf_grading(item->id, item->scorer, item->cluster, &item->grading, err);
}

enum err_code suite_item_render(const struct suite *suite, size_t index, struct suite_item *item,
				struct err *err)
{
	*item = (struct suite_item){
		.index = index, .text = BUF_INIT(WORDS_MAX), .grading = BUF_INIT(WORDS_MAX)};
	enum err_code code = render(suite, item, err);
	if (code == ERR_OK)
		return ERR_OK;
	err_prefix(err, "item %s", suite_id(suite, index));
	suite_item_prefix(suite, index, err);
	suite_item_release(item);
	return code;
}

void suite_item_release(struct suite_item *item)
{
	free(item->id);
	free(item->cluster);
	json_decref(item->fields);
	json_decref(item->words);
	json_decref(item->scorer);
	buf_release(&item->text);
	buf_release(&item->grading);
	*item = (struct suite_item){0};
}

/* ---- leaves ---- */

static enum err_code add_leaf(const struct suite *suite, size_t index,
			      const struct leaf_salter *salter, struct leaf_tree *tree,
			      struct err *err)
{
	struct suite_item item;
	uint8_t salt[LEAF_SALT_SIZE], data[LEAF_DATA_SIZE];
	ERR_TRY(suite_leaf_render(suite, index, &item, err));
	leaf_salt(salter, index, salt);
	leaf_data(salt, buf_bytes(&item.text), buf_bytes(&item.grading), data);
	suite_item_release(&item);
	return leaf_tree_add(tree, data) ? ERR_OK : out_of_memory(err);
}

enum err_code suite_leaves(const struct suite *suite, struct leaf_tree **out, struct err *err)
{
	struct leaf_salter salter;
	struct leaf_tree *tree = leaf_tree_new();
	*out = NULL;
	if (!tree)
		return out_of_memory(err);
	leaf_salter_init(&salter, suite->seed);
	for (size_t i = 0; i < suite_leaf_count(suite); i++) {
		enum err_code code = add_leaf(suite, i, &salter, tree, err);
		if (code != ERR_OK) {
			leaf_tree_free(tree);
			return code;
		}
	}
	*out = tree;
	return ERR_OK;
}

enum err_code suite_root(const struct suite *suite, uint8_t root[static SHA256_SIZE],
			 struct err *err)
{
	struct leaf_tree *tree;
	ERR_TRY(suite_leaves(suite, &tree, err));
	leaf_tree_root(tree, root);
	leaf_tree_free(tree);
	return ERR_OK;
}

/* ---- duplicates ---- */

struct seen {
	uint8_t digest[SHA256_SIZE];
	uint32_t index;
	uint32_t first; /* the first item with these words */
};

static int compare_digests(const void *a, const void *b)
{
	const struct seen *x = a, *y = b;
	int order = memcmp(x->digest, y->digest, SHA256_SIZE);
	return order ? order : (x->index > y->index) - (x->index < y->index);
}

static int compare_indexes(const void *a, const void *b)
{
	const struct seen *x = a, *y = b;
	return (x->index > y->index) - (x->index < y->index);
}

static enum err_code digest_items(const struct suite *suite, struct seen *seen, struct err *err)
{
	for (size_t i = 0; i < suite->count; i++) {
		struct suite_item item;
		ERR_TRY(suite_item_render(suite, i, &item, err));
		leaf_words_digest(buf_bytes(&item.text), seen[i].digest);
		seen[i].index = (uint32_t)i;
		suite_item_release(&item);
	}
	return ERR_OK;
}

enum err_code suite_duplicates(const struct suite *suite,
			       void (*each)(void *argument, size_t first, size_t duplicate),
			       void *argument, size_t *count, struct err *err)
{
	*count = 0;
	struct seen *seen = calloc(suite->count + 1, sizeof(*seen));
	if (!seen)
		return out_of_memory(err);
	enum err_code code = digest_items(suite, seen, err);
	if (code == ERR_OK) {
		qsort(seen, suite->count, sizeof(*seen), compare_digests);
		for (size_t i = 0; i < suite->count; i++)
			seen[i].first =
				i && memcmp(seen[i].digest, seen[i - 1].digest, SHA256_SIZE) == 0
					? seen[i - 1].first
					: seen[i].index;
		qsort(seen, suite->count, sizeof(*seen), compare_indexes);
	}
	for (size_t i = 0; code == ERR_OK && i < suite->count; i++) {
		if (seen[i].first == i)
			continue;
		++*count;
		if (each)
			each(argument, seen[i].first, i);
	}
	free(seen);
	return code;
}

/* ---- registration ---- */

static void append_hex(struct buf *out, const char *key, const uint8_t *data, size_t size)
{
	char text[2 * SHA256_SIZE + 1];
	hex_encode(data, size, text);
	buf_printf(out, ",\"%s\":\"%s\"", key, text);
}

/* What an item uploads: prompt and grading, or the grading alone. */
static void append_item(const struct suite_item *item, enum suite_upload upload, struct buf *out)
{
	if (upload == SUITE_GRADINGS) {
		buf_append_bytes(out, buf_bytes(&item->grading));
		return;
	}
	buf_append_cstr(out, "{\"prompt\":");
	buf_append_bytes(out, buf_bytes(&item->text));
	buf_append_cstr(out, ",\"grading\":");
	buf_append_bytes(out, buf_bytes(&item->grading));
	buf_append_char(out, '}');
}

static enum err_code append_items(const struct suite *suite, enum suite_upload upload,
				  struct buf *out, struct err *err)
{
	if (upload != SUITE_ITEMS)
		buf_printf(out, ",\"leaves\":%zu", suite->count);
	if (upload == SUITE_SEALED)
		return ERR_OK;
	buf_append_cstr(out, upload == SUITE_ITEMS ? ",\"items\":[" : ",\"gradings\":[");
	for (size_t i = 0; i < suite_leaf_count(suite); i++) {
		struct suite_item item;
		ERR_TRY(suite_leaf_render(suite, i, &item, err));
		if (i)
			buf_append_char(out, ',');
		append_item(&item, upload, out);
		suite_item_release(&item);
	}
	buf_append_char(out, ']');
	return ERR_OK;
}

/* A gateway that does not know the turns cannot tell which of them an answer belongs between. */
static enum err_code check_sealed(const struct suite *suite, struct err *err)
{
	for (size_t i = 0; i < suite_leaf_count(suite); i++) {
		struct suite_item item;
		ERR_TRY(suite_leaf_render(suite, i, &item, err));
		enum script_kind kind = item.kind;
		suite_item_release(&item);
		if (kind != SCRIPT_EXACT)
			return ERR_SET(err, ERR_INVALID,
				       "suite %s: item %s is a %s: the gateway has to know its "
				       "words, so that such suites cannot be sealed; register it "
				       "openly (without --sealed)",
				       suite->name, suite_id(suite, i % suite->count),
				       kind == SCRIPT_JUDGE ? "judge's template" : "conversation");
	}
	return ERR_OK;
}

enum err_code suite_check_seed(const struct suite *suite, const char *directory, struct err *err)
{
	static const uint8_t zeros[LEAF_SEED_SIZE];
	if (memcmp(suite->seed, zeros, LEAF_SEED_SIZE) != 0)
		return ERR_OK;
	return ERR_SET(
		err, ERR_INVALID,
		"%s/suite.yaml: a sealed suite needs a seed that nobody can guess: add seed: "
		"\"…\" with 64 random hexadecimal digits (openssl rand -hex 32)",
		directory);
}

enum err_code suite_registration(const struct suite *suite, const char *purpose,
				 enum suite_upload upload, struct buf *out, struct err *err)
{
	static const uint8_t zeros[LEAF_SEED_SIZE];
	uint8_t root[SHA256_SIZE];
	if (upload != SUITE_ITEMS)
		ERR_TRY(check_sealed(suite, err));
	ERR_TRY(suite_root(suite, root, err));
	buf_append_cstr(out, "{\"name\":");
	json_append_string(out, bytes_from(suite->name));
	buf_append_cstr(out, ",\"version\":");
	json_append_string(out, bytes_from(suite->version));
	buf_append_cstr(out, ",\"purpose\":");
	json_append_string(out, bytes_from(purpose));
	append_hex(out, "root", root, sizeof(root));
	buf_append_cstr(out, ",\"settings\":");
	ERR_TRY(json_canonical(suite->settings, out, err));
	if (upload == SUITE_ITEMS && memcmp(suite->seed, zeros, LEAF_SEED_SIZE) != 0)
		append_hex(out, "seed", suite->seed, LEAF_SEED_SIZE);
	ERR_TRY(append_items(suite, upload, out, err));
	if (suite_is_judged(suite)) {
		buf_printf(out, ",\"judge\":{\"verdicts\":%lld,\"settings\":",
			   (long long)suite_judge_verdicts(suite));
		ERR_TRY(json_canonical(suite_judge_settings(suite), out, err));
		buf_append_char(out, '}');
	}
	buf_append_char(out, '}');
	return out->failed
		       ? ERR_SET(err, ERR_TOO_LARGE, "the suite is larger than %zu bytes", out->max)
		       : ERR_OK;
}
