/* What suites are graded by under grants that release verdicts only (V0): uploaded with the items,
 * or alone where the suite is sealed (each is held against its leaf when a request shows it), kept
 * in memory and in DATA/sealed/SUITE (0600) until the last run over the suite closes, then erased.
 * The log has digests of them only. */
#include "gate/control_internal.h"

#include "base/encode.h"
#include "grade/scorer.h"

#include <stdio.h>
#include <stdlib.h>

#define DIRECTORY "sealed"
#define PATH_SIZE 1280
#define SCORER_MAX ((size_t)4 << 20)

struct control_grading {
	struct control_grading *next;
	char suite[CONTROL_ID_SIZE];
	struct grading_book *book;
	bool used; /* a run was opened on it: it goes when none is open any more */
};

static enum err_code no_memory(struct err *err)
{
	return ERR_SET(err, ERR_NO_MEMORY, "no memory for the scorers of a suite");
}

/* Nothing is written where the store is in memory, as in tests. */
static enum err_code path_of(const struct control *control, const char *suite, char *out,
			     struct err *err)
{
	char name[CONTROL_ID_SIZE + sizeof(DIRECTORY) + 1];
	snprintf(name, sizeof(name), DIRECTORY "%s%s", *suite ? "/" : "", suite);
	return config_data_path(control->config, name, out, PATH_SIZE, err);
}

static struct control_grading *find(const struct control *control, const char *suite)
{
	struct control_grading *row = control->gradings;
	while (row && strcmp(row->suite, suite) != 0)
		row = row->next;
	return row;
}

static bool has_open_run(const struct control *control, const char *suite);

/* Between the end of the last run and the erasure it is gone already. */
struct grading_book *control_grading_find(const struct control *control, const char *suite)
{
	const struct control_grading *row = find(control, suite);
	return row && (!row->used || has_open_run(control, suite)) ? row->book : NULL;
}

/* Takes over the reference. */
static enum err_code enter(struct control *control, const char *suite, struct grading_book *book,
			   struct err *err)
{
	struct control_grading *row = find(control, suite);
	if (row) {
		grading_book_drop(row->book);
		row->book = book;
		row->used = false;
		return ERR_OK;
	}
	row = calloc(1, sizeof(*row));
	if (!row || strlen(suite) >= sizeof(row->suite)) {
		free(row);
		grading_book_drop(book);
		return no_memory(err);
	}
	strcpy(row->suite, suite);
	row->book = book;
	row->next = control->gradings;
	control->gradings = row;
	return ERR_OK;
}

static void leave(struct control *control, const char *suite)
{
	struct control_grading **place = &control->gradings;
	while (*place && strcmp((*place)->suite, suite) != 0)
		place = &(*place)->next;
	struct control_grading *row = *place;
	if (!row)
		return;
	*place = row->next;
	grading_book_drop(row->book);
	free(row);
}

static bool has_open_run(const struct control *control, const char *suite)
{
	const char *id;
	json_t *document;
	json_object_foreach(control->documents[STORE_RUN], id, document)
	{
		if (strcmp(control_state_of(document), "open") == 0 &&
		    strcmp(json_text(control_spec_of(document), "suite"), suite) == 0)
			return true;
	}
	return false;
}

/* ---- from a registration ---- */

/* The scorer with its target put back, as the graders take it. */
static enum err_code scorer_text(const json_t *grading, const char *list, size_t index,
				 struct buf *out, struct err *err)
{
	char what[48];
	const struct scorer *scorer;
	const json_t *target = json_object_get(grading, "target");
	json_t *spec = json_copy(json_object_get(grading, "scorer"));
	snprintf(what, sizeof(what), "%s[%zu]: scorer", list, index);
	if (!spec)
		return ERR_SET(err, ERR_INVALID, "%s: is missing", what);
	enum err_code code = ERR_OK;
	if (target && json_object_set(spec, "target", (json_t *)target))
		code = no_memory(err);
	if (code == ERR_OK)
		code = scorer_of(spec, what, &scorer, err);
	if (code == ERR_OK && scorer_by_judge(scorer))
		code = ERR_SET(err, ERR_INVALID,
			       "%s: %s asks a judge, and no answer may leave here", what,
			       scorer->kind);
	if (code == ERR_OK && scorer->own_program)
		code = ERR_SET(err, ERR_INVALID,
			       "%s: %s runs a program of the evaluator's, which a gateway never "
			       "does: have the answers released, or use another scorer",
			       what, scorer->kind);
	size_t before = out->size;
	if (code == ERR_OK)
		code = json_canonical(spec, out, err);
	if (code == ERR_OK && (out->failed || out->size - before > SCORER_MAX))
		code = ERR_SET(err, ERR_TOO_LARGE, "%s: is too large", what);
	json_decref(spec);
	return code;
}

/* What a leaf commits to besides its words: {id, scorer, target, cluster}. */
static enum err_code grading_text(const json_t *grading, size_t index, struct buf *out,
				  struct err *err)
{
	static const char *const keys[] = {"id", "scorer", "target", "cluster", NULL};
	char what[48];
	snprintf(what, sizeof(what), "gradings[%zu]", index);
	if (!json_is_object(grading))
		return ERR_SET(err, ERR_INVALID, "%s: must be {id, scorer, target, cluster}", what);
	ERR_TRY(json_only_keys(grading, keys, what, err));
	buf_append_char(out, '\t');
	return json_canonical(grading, out, err);
}

static enum err_code leaf_line(const json_t *list, size_t index, bool sealed, struct buf *out,
			       struct err *err)
{
	const json_t *row = json_array_get(list, index);
	if (sealed) {
		ERR_TRY(scorer_text(row, "gradings", index, out, err));
		ERR_TRY(grading_text(row, index, out, err));
	} else {
		ERR_TRY(scorer_text(json_object_get(row, "grading"), "items", index, out, err));
	}
	buf_append_char(out, '\n');
	return ERR_OK;
}

enum err_code control_grading_make(struct control *control, const json_t *list, bool sealed,
				   struct grading_book **out, struct err *err)
{
	uint8_t seed[GRADING_SEED_SIZE];
	struct buf lines = BUF_INIT(GRADING_TEXT_MAX);
	enum err_code code = ERR_OK;
	size_t count = json_array_size(list);
	env_random(control->env, seed, sizeof(seed));
	for (size_t i = 0; code == ERR_OK && i < count; i++)
		code = leaf_line(list, i, sealed, &lines, err);
	if (code == ERR_OK && lines.failed)
		code = no_memory(err);
	if (code == ERR_OK)
		code = grading_book_new(buf_bytes(&lines), (uint32_t)count, seed, out, err);
	explicit_bzero(seed, sizeof(seed));
	if (lines.data)
		explicit_bzero(lines.data, lines.size);
	buf_release(&lines);
	return code;
}

/* The file: the seed in hex, then a line for each leaf. */
static enum err_code write_book(const struct control *control, const char *suite,
				const struct grading_book *book, struct err *err)
{
	char path[PATH_SIZE], seed[2 * GRADING_SEED_SIZE + 1];
	if (!control->keeps_files)
		return ERR_OK;
	ERR_TRY(path_of(control, "", path, err));
	ERR_TRY(env_make_directories(control->env, path, err));
	ERR_TRY(path_of(control, suite, path, err));
	struct buf text = BUF_INIT(GRADING_TEXT_MAX + 1024);
	hex_encode(book->seed, sizeof(book->seed), seed);
	buf_printf(&text, "%s\n", seed);
	buf_append(&text, book->text, book->size);
	enum err_code code =
		text.failed ? no_memory(err)
			    : env_write_file(control->env, path, buf_bytes(&text), 0600, err);
	if (text.data)
		explicit_bzero(text.data, text.size);
	buf_release(&text);
	return code;
}

enum err_code control_grading_keep(struct control *control, const char *suite,
				   struct grading_book *book, struct err *err)
{
	/* Open runs rest on the book that is here; and whoever was told the commitment to its seed
	 * may be about to open one. */
	const struct grading_book *kept = control_grading_find(control, suite);
	bool same =
		kept && kept->size == book->size && memcmp(kept->text, book->text, book->size) == 0;
	if (same || (kept && has_open_run(control, suite))) {
		grading_book_drop(book);
		return same ? ERR_OK
			    : ERR_SET(err, ERR_CONFLICT,
				      "suite: gradings: runs of %s are open on other ones; close "
				      "them first",
				      suite);
	}
	enum err_code code = write_book(control, suite, book, err);
	if (code == ERR_OK)
		return enter(control, suite, book, err);
	grading_book_drop(book);
	return code;
}

/* ---- erasing ---- */

static void erase(struct control *control, const char *suite)
{
	char path[PATH_SIZE];
	struct err ignored = ERR_INIT;
	leave(control, suite);
	/* A file that cannot be removed now is removed at the next start. */
	if (control->keeps_files && path_of(control, suite, path, &ignored) == ERR_OK)
		env_unlink(control->env, path, &ignored);
}

bool control_grading_ends(const struct control *control, const char *suite, const char *run)
{
	const char *id;
	json_t *document;
	if (!control_grading_find(control, suite))
		return false;
	json_object_foreach(control->documents[STORE_RUN], id, document)
	{
		if (strcmp(id, run) != 0 && strcmp(control_state_of(document), "open") == 0 &&
		    strcmp(json_text(control_spec_of(document), "suite"), suite) == 0)
			return false;
	}
	return true;
}

void control_grading_closed(struct control *control, const struct control_operation *operation)
{
	for (size_t i = 0; i < operation->change_count; i++) {
		const struct control_change *change = operation->changes[i];
		const char *suite = json_text(control_spec_of(change->document), "suite");
		struct control_grading *row = find(control, suite);
		if (change->kind != STORE_RUN || !change->durable || !row)
			continue;
		row->used = true;
		if (!has_open_run(control, suite))
			erase(control, suite);
	}
}

/* ---- what may be opened ---- */

static void evaluator_seed(const json_t *run, uint8_t out[static GRADING_SEED_SIZE])
{
	memset(out, 0, GRADING_SEED_SIZE);
	hex_decode(bytes_from(json_text(run, "opening_seed")), out, GRADING_SEED_SIZE);
}

/* How many leaves of a run may be opened; -1: its answers are not sealed. What was agreed when it
 * was opened stands in its document. */
static int64_t openings_of(const struct control *control, const json_t *run,
			   const struct grading_book *book)
{
	const json_t *grant = control_spec(control, STORE_GRANT, json_text(run, "grant"));
	int64_t agreed = control_integer(run, "openings", -1);
	if (agreed >= 0)
		return agreed;
	if (strcmp(json_text(grant, "release"), release_id(RELEASE_V0)) != 0)
		return -1;
	int64_t percent = control_integer(grant, "openings", CONTROL_OPENINGS_DEFAULT);
	return (int64_t)book->count * percent / 100;
}

bool control_grading_openings(const struct control *control, const json_t *run,
			      uint8_t key[static SHA256_SIZE], uint32_t *count)
{
	const struct grading_book *book = control_grading_find(control, json_text(run, "suite"));
	uint8_t theirs[GRADING_SEED_SIZE];
	*count = 0;
	int64_t agreed = book ? openings_of(control, run, book) : -1;
	if (agreed < 0)
		return false;
	evaluator_seed(run, theirs);
	openings_key(book->seed, theirs, key);
	*count = (uint32_t)agreed;
	return true;
}

static json_t *digest_text(const uint8_t *data, size_t size)
{
	uint8_t digest[SHA256_SIZE];
	char hex[2 * SHA256_SIZE + 1];
	sha256_of(data, size, digest);
	hex_encode(digest, sizeof(digest), hex);
	return json_string(hex);
}

json_t *control_grading_promise(const struct control *control, const json_t *run)
{
	uint8_t key[SHA256_SIZE], theirs[GRADING_SEED_SIZE];
	uint32_t count;
	if (!control_grading_openings(control, run, key, &count))
		return NULL;
	evaluator_seed(run, theirs);
	json_t *promise =
		json_pack("{s:{s:o, s:o, s:o, s:I}}", "openings", "evaluator",
			  digest_text(theirs, sizeof(theirs)), "gateway",
			  control_grading_commitment(control, json_text(run, "suite")), "key",
			  digest_text(key, sizeof(key)), "leaves", (json_int_t)count);
	explicit_bzero(key, sizeof(key));
	return promise;
}

json_t *control_grading_commitment(const struct control *control, const char *suite)
{
	const struct grading_book *book = control_grading_find(control, suite);
	return book ? digest_text(book->seed, sizeof(book->seed)) : NULL;
}

bool control_grading_reveal(const struct control *control, const json_t *run, bool last,
			    json_t *out)
{
	const struct grading_book *book = control_grading_find(control, json_text(run, "suite"));
	uint8_t key[SHA256_SIZE], theirs[GRADING_SEED_SIZE];
	char key_text[2 * SHA256_SIZE + 1], ours_text[2 * GRADING_SEED_SIZE + 1];
	char theirs_text[2 * GRADING_SEED_SIZE + 1];
	uint32_t count;
	if (!control_grading_openings(control, run, key, &count))
		return true;
	evaluator_seed(run, theirs);
	hex_encode(key, sizeof(key), key_text);
	hex_encode(theirs, sizeof(theirs), theirs_text);
	hex_encode(book->seed, sizeof(book->seed), ours_text);
	json_t *openings = json_pack("{s:s, s:s}", "evaluator", theirs_text, "key", key_text);
	bool good = openings && json_object_set_new(out, "openings", openings) == 0;
	if (good && last)
		good = json_object_set_new(out, "opening_seed", json_string(ours_text)) == 0;
	return good;
}

/* ---- start and end ---- */

static enum err_code read_book(struct control *control, const char *path, const json_t *spec,
			       struct grading_book **out, struct err *err)
{
	uint8_t seed[GRADING_SEED_SIZE];
	struct buf text = BUF_INIT(GRADING_TEXT_MAX + 1024);
	struct bytes lines;
	enum err_code code = env_read_file(control->env, path, &text, err);
	struct bytes first = bytes_split(buf_bytes(&text), '\n', &lines);
	if (code == ERR_OK && !hex_decode(first, seed, sizeof(seed)))
		code = ERR_SET(err, ERR_CORRUPT, "%s: is damaged", path);
	if (code == ERR_OK)
		code = grading_book_new(lines, (uint32_t)control_integer(spec, "leaves", 0), seed,
					out, err);
	explicit_bzero(seed, sizeof(seed));
	if (text.data)
		explicit_bzero(text.data, text.size);
	buf_release(&text);
	return code;
}

struct reading {
	struct control *control;
	json_t *names; /* of files */
};

static void note_file(void *argument, const struct env_directory_entry *entry)
{
	struct reading *reading = argument;
	json_array_append_new(reading->names, json_string(entry->name));
}

/* What belongs to no suite, or cannot be read, is removed: its suite is registered again by its
 * next run. Neither is what an ended run left over: a crash came between closing and erasing. */
static void take_file(struct control *control, const char *suite)
{
	char path[PATH_SIZE];
	struct err ignored = ERR_INIT;
	struct grading_book *book = NULL;
	const json_t *spec = control_spec(control, STORE_SUITE, suite);
	bool wanted = spec && has_open_run(control, suite);
	if (path_of(control, suite, path, &ignored) != ERR_OK)
		return;
	if (wanted && read_book(control, path, spec, &book, &ignored) == ERR_OK &&
	    enter(control, suite, book, &ignored) == ERR_OK)
		find(control, suite)->used = true;
	else
		env_unlink(control->env, path, &ignored);
}

enum err_code control_grading_load(struct control *control, struct err *err)
{
	char path[PATH_SIZE];
	struct reading reading = {control, json_array()};
	size_t index;
	json_t *name;
	if (!control->keeps_files || !reading.names) {
		json_decref(reading.names);
		return ERR_OK;
	}
	enum err_code code = path_of(control, "", path, err);
	if (code == ERR_OK && env_file_exists(control->env, path))
		code = env_list_directory(control->env, path, note_file, &reading, err);
	json_array_foreach(reading.names, index, name) take_file(control, json_string_value(name));
	json_decref(reading.names);
	return code;
}

void control_grading_release(struct control *control)
{
	while (control->gradings)
		leave(control, control->gradings->suite);
}
