#include "suite/recording.h"

#include "base/encode.h"
#include "base/json.h"
#include "suite/suite.h"
#include "suite/words.h"

#include <stdio.h>
#include <stdlib.h>

#define ITEMS_TEXT_MAX SUITE_ITEMS_MAX
#define SETTINGS_MAX 64u
#define SLOTS_FIRST 256u

/* One key (of words, or of words and a model) and how often it came. */
struct entry {
	uint8_t key[SHA256_SIZE];
	size_t number; /* of the item, from 1; 0: a free place */
	unsigned count;
};

struct table {
	struct entry *slots; /* open addressing */
	size_t mask, used;
};

struct recording {
	struct table items, askings;
	struct buf lines; /* items.jsonl */
	json_t *settings; /* canonical: what all requests of items agree on */
	int64_t max_output;
	unsigned samples;
	size_t left_out;
	char first_left[256];
};

/* ---- tables ---- */

static struct entry *find(const struct table *table, const uint8_t key[static SHA256_SIZE])
{
	size_t at;
	memcpy(&at, key, sizeof(at));
	for (at &= table->mask; table->slots[at].number; at = (at + 1) & table->mask)
		if (memcmp(table->slots[at].key, key, SHA256_SIZE) == 0)
			break;
	return &table->slots[at];
}

static bool start_table(struct table *table)
{
	table->slots = calloc(SLOTS_FIRST, sizeof(*table->slots));
	table->mask = SLOTS_FIRST - 1;
	return table->slots != NULL;
}

/* Room for one more at less than half full. */
static bool reserve(struct table *table)
{
	struct table grown = {.mask = 2 * table->mask + 1, .used = table->used};
	if (2 * (table->used + 1) <= table->mask)
		return true;
	grown.slots = calloc(grown.mask + 1, sizeof(*grown.slots));
	if (!grown.slots)
		return false;
	for (size_t i = 0; i <= table->mask; i++)
		if (table->slots[i].number)
			*find(&grown, table->slots[i].key) = table->slots[i];
	free(table->slots);
	*table = grown;
	return true;
}

struct recording *recording_new(void)
{
	struct recording *recording = calloc(1, sizeof(*recording));
	if (!recording)
		return NULL;
	buf_init(&recording->lines, ITEMS_TEXT_MAX);
	recording->settings = json_object();
	if (start_table(&recording->items) && start_table(&recording->askings) &&
	    recording->settings)
		return recording;
	recording_free(recording);
	return NULL;
}

void recording_free(struct recording *recording)
{
	if (!recording)
		return;
	free(recording->items.slots);
	free(recording->askings.slots);
	buf_release(&recording->lines);
	json_decref(recording->settings);
	free(recording);
}

/* ---- settings ---- */

/* The settings that suite.yaml can say (docs/formats/suite.md), by their canonical names. */
static bool is_sayable(const char *name)
{
	static const char *const names[] = {"temperature", "top_p", "top_k", "frequency_penalty",
					    "presence_penalty"};
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strcmp(names[i], name) == 0)
			return true;
	return false;
}

/* What stands against the request's settings, or false. */
static bool contradicts(const struct recording *recording, const json_t *settings, char *why,
			size_t size)
{
	const char *name;
	json_t *value;
	json_object_foreach((json_t *)settings, name, value)
	{
		const json_t *agreed = json_object_get(recording->settings, name);
		if (strcmp(name, "max_output") == 0)
			continue;
		if (!is_sayable(name)) {
			snprintf(why, size, "a suite cannot set %.60s", name);
			return true;
		}
		if (agreed && !json_equal(agreed, value) &&
		    json_number_value(agreed) != json_number_value(value)) {
			snprintf(why, size, "%.60s %g, where requests before it had %g", name,
				 json_number_value(value), json_number_value(agreed));
			return true;
		}
	}
	return false;
}

static void agree(struct recording *recording, const json_t *settings)
{
	const char *name;
	json_t *value;
	int64_t output = json_integer_value(json_object_get(settings, "max_output"));
	if (output > recording->max_output)
		recording->max_output = output;
	json_object_foreach((json_t *)settings, name, value)
	{
		if (strcmp(name, "max_output") != 0 && !json_object_get(recording->settings, name))
			json_object_set(recording->settings, name, value);
	}
}

/* ---- requests ---- */

void recording_leave_out(struct recording *recording, const char *why)
{
	if (recording->left_out++ == 0)
		snprintf(recording->first_left, sizeof(recording->first_left), "%s", why);
}

/* A suite's item with these words asks the same words. */
static enum err_code check_words(struct bytes words, struct err *err)
{
	struct buf again = BUF_INIT(WORDS_MAX);
	json_t *tree;
	ERR_TRY(json_parse(words, "the words", &tree, err));
	enum err_code code = words_canonical(tree, &again, err);
	if (code == ERR_OK && !bytes_equal(buf_bytes(&again), words))
		code = ERR_SET(err, ERR_UNSUPPORTED, "a suite's item cannot say these words");
	json_decref(tree);
	buf_release(&again);
	return code;
}

static enum err_code add_item(struct recording *recording, struct entry *entry, struct bytes words,
			      const uint8_t key[static SHA256_SIZE], struct err *err)
{
	size_t number = recording->items.used + 1, before = recording->lines.size;
	if (number > LEAF_COUNT_MAX || words.size + 64 > SUITE_LINE_MAX)
		return ERR_SET(err, ERR_TOO_LARGE, "the suite or its item would be too large");
	buf_printf(&recording->lines, "{\"id\":\"%zu\",\"words\":", number);
	buf_append_bytes(&recording->lines, words);
	buf_append_cstr(&recording->lines, "}\n");
	if (recording->lines.failed || recording->lines.size <= before)
		return ERR_SET(err, ERR_NO_MEMORY, "out of memory for the recorded items");
	*entry = (struct entry){.number = number};
	memcpy(entry->key, key, SHA256_SIZE);
	recording->items.used++;
	return ERR_OK;
}

enum err_code recording_add(struct recording *recording, struct bytes words, struct bytes settings,
			    size_t *number, struct err *err)
{
	uint8_t key[SHA256_SIZE];
	char why[256];
	json_t *tree;
	*number = 0;
	if (!reserve(&recording->items))
		return ERR_SET(err, ERR_NO_MEMORY, "out of memory for the recorded items");
	ERR_TRY(json_parse(settings, "the settings", &tree, err));
	sha256_of(words.data, words.size, key);
	struct entry *entry = find(&recording->items, key);
	enum err_code code = ERR_OK;
	struct err unsayable = ERR_INIT;
	if (contradicts(recording, tree, why, sizeof(why))) {
		recording_leave_out(recording, why);
	} else if (!entry->number && check_words(words, &unsayable) != ERR_OK) {
		recording_leave_out(recording, unsayable.message);
	} else {
		if (!entry->number)
			code = add_item(recording, entry, words, key, err);
		if (code == ERR_OK) {
			agree(recording, tree);
			*number = entry->number;
		}
	}
	json_decref(tree);
	return code;
}

void recording_count(struct recording *recording, size_t number, const char *model)
{
	uint8_t key[SHA256_SIZE];
	struct sha256 hash;
	if (number == 0 || !reserve(&recording->askings))
		return;
	sha256_start(&hash);
	sha256_add(&hash, &number, sizeof(number));
	sha256_add_bytes(&hash, bytes_from(model));
	sha256_finish(&hash, key);
	struct entry *entry = find(&recording->askings, key);
	if (!entry->number) {
		memcpy(entry->key, key, SHA256_SIZE);
		entry->number = number;
		recording->askings.used++;
	}
	if (++entry->count > recording->samples && entry->count <= SUITE_SAMPLES_MAX)
		recording->samples = entry->count;
}

struct recording_counts recording_counts(const struct recording *recording)
{
	struct recording_counts counts = {.items = recording->items.used,
					  .samples = recording->samples ? recording->samples : 1,
					  .left_out = recording->left_out};
	snprintf(counts.first_left, sizeof(counts.first_left), "%s", recording->first_left);
	return counts;
}

/* ---- the folder ---- */

enum err_code recording_folder(struct env *env, const char *text, char *out, size_t size,
			       struct err *err)
{
	char file[4200];
	bool named = !strchr(text, '/') && env_file_exists(env, "suites/.");
	int length = snprintf(out, size, "%s%s", named ? "suites/" : "", text);
	if (!*text || length < 0 || (size_t)length >= size)
		return ERR_SET(err, ERR_USAGE, "--record: the folder's name is empty or too long");
	snprintf(file, sizeof(file), "%s/suite.yaml", out);
	if (env_file_exists(env, file))
		return ERR_SET(err, ERR_EXISTS,
			       "%s holds a suite already, which is not overwritten: record into "
			       "another folder",
			       out);
	return ERR_OK;
}

/* The folder's name as far as it can be a suite's (docs/formats/suite.md). */
static void suite_name_of(const char *folder, char out[static 65])
{
	struct bytes path = bytes_from(folder);
	size_t used = 0;
	while (path.size > 0 && path.data[path.size - 1] == '/')
		path.size--;
	const char *slash = path.size ? memrchr(path.data, '/', path.size) : NULL;
	size_t start = slash ? (size_t)(slash + 1 - path.data) : 0;
	for (size_t i = start; i < path.size && used < 64; i++) {
		char c = path.data[i];
		bool letter =
			(c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
		if (letter || (used > 0 && (c == '.' || c == '_' || c == '-')))
			out[used++] = c;
	}
	out[used] = '\0';
	if (used == 0)
		snprintf(out, 65, "recorded");
}

static enum err_code write_yaml(const struct recording *recording, struct env *env,
				const char *folder, bool sealed, struct buf *out, struct err *err)
{
	char name[65];
	json_t *settings = json_deep_copy(recording->settings);
	suite_name_of(folder, name);
	if (!settings)
		return ERR_SET(err, ERR_NO_MEMORY, "out of memory");
	if (recording->max_output > 0)
		json_object_set_new(settings, "max_tokens",
				    json_integer((json_int_t)recording->max_output));
	buf_append_cstr(out,
			"# Recorded by parley bench proxy --record from what a command asked.\n"
			"# Requests do not tell what a right answer is: this scorer passes every "
			"answer with any\n"
			"# text in it. Name a real one, for example { kind: contains, target: "
			"\"{{answer}}\" } with\n"
			"# an \"answer\" in each line of items.jsonl; and the kind and the "
			"licence.\n");
	buf_printf(out, "name: %s\nversion: 1\nkind: qa\nwords: words\nsettings: ", name);
	enum err_code code = json_canonical(settings, out, err);
	json_decref(settings);
	ERR_TRY(code);
	buf_printf(out, "\nsamples: %u\nscorer: { kind: regex, pattern: \"\\\\S\" }\n",
		   recording_counts(recording).samples);
	if (sealed) {
		uint8_t seed[LEAF_SEED_SIZE];
		char hex[2 * sizeof(seed) + 1];
		env_random(env, seed, sizeof(seed));
		hex_encode(seed, sizeof(seed), hex);
		buf_printf(out, "seed: \"%s\"\n", hex);
	}
	return out->failed ? ERR_SET(err, ERR_NO_MEMORY, "out of memory") : ERR_OK;
}

static enum err_code write_file(struct env *env, const char *folder, const char *name,
				struct bytes content, struct err *err)
{
	char path[4200];
	snprintf(path, sizeof(path), "%s/%s", folder, name);
	return env_write_file(env, path, content, 0644, err);
}

enum err_code recording_write(const struct recording *recording, struct env *env,
			      const char *folder, bool sealed, struct err *err)
{
	struct buf yaml = BUF_INIT(65536);
	struct suite *suite = NULL;
	if (recording->items.used == 0)
		return ERR_SET(err, ERR_NOT_FOUND, "nothing was recorded, and %s was not made",
			       folder);
	enum err_code code = write_yaml(recording, env, folder, sealed, &yaml, err);
	if (code == ERR_OK)
		code = env_make_directories(env, folder, err);
	if (code == ERR_OK)
		code = write_file(env, folder, "items.jsonl", buf_bytes(&recording->lines), err);
	if (code == ERR_OK)
		code = write_file(env, folder, "suite.yaml", buf_bytes(&yaml), err);
	if (code == ERR_OK)
		code = suite_load(env, folder, &suite, err);
	suite_free(suite);
	buf_release(&yaml);
	return code;
}
