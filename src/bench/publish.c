#include "bench/publish_internal.h"

#include "base/encode.h"
#include "base/json.h"
#include "env/key_file.h"
#include "grade/jsonl.h"
#include "grade/run_records.h"
#include "ledger/key_rotation.h"

#include <stdio.h>
#include <stdlib.h>

#define JSON_MAX ((size_t)64 << 20)
#define FILE_MAX ((size_t)256 << 20)

enum err_code publish_no_memory(struct err *err)
{
	return ERR_SET(err, ERR_NO_MEMORY, "out of memory for the published bundle");
}

struct publish_suite *publish_find(struct publish *publish, const char *name)
{
	for (unsigned i = 0; i < publish->suite_count; i++)
		if (strcmp(publish->suites[i].name, name) == 0)
			return &publish->suites[i];
	return NULL;
}

enum err_code publish_commit(struct publish *publish, const char *label, struct bytes value,
			     json_t *extra, char out[static 2 * SHA256_SIZE + 1], struct err *err)
{
	uint8_t salt[PUBLISHED_SALT_SIZE], commitment[SHA256_SIZE];
	char hex[2 * PUBLISHED_SALT_SIZE + 1];
	json_t *line = extra ? extra : json_object();
	env_random(publish->env, salt, sizeof(salt));
	commitment_make(salt, bytes_from(label), value, commitment);
	hex_encode(salt, sizeof(salt), hex);
	hex_encode(commitment, sizeof(commitment), out);
	bool set = line && json_set(line, "label", json_string(label)) &&
		   json_set(line, "salt", json_string(hex)) &&
		   json_set(line, "value", json_stringn(value.data ? value.data : "", value.size));
	if (!set) {
		json_decref(line);
		return publish_no_memory(err);
	}
	enum err_code code = run_line_append(&publish->salts.buf, line, err);
	output_step(&publish->salts);
	return code;
}

/* ---- files ---- */

static void source_path(const struct publish *publish, const char *name,
			char out[static PUBLISH_PATH_MAX])
{
	snprintf(out, PUBLISH_PATH_MAX, "%.4000s/%.512s", publish->source, name);
}

static enum err_code read_source(struct publish *publish, const char *name, struct buf *out,
				 struct err *err)
{
	char path[PUBLISH_PATH_MAX];
	source_path(publish, name, path);
	return env_read_file(publish->env, path, out, err);
}

/* Not synced: what counts is the manifest, which is. */
static enum err_code write_output(struct publish *publish, const char *name, struct bytes text,
				  struct err *err)
{
	char path[PUBLISH_PATH_MAX];
	struct env_file *file;
	snprintf(path, sizeof(path), "%.4000s/%.512s", publish->options->output, name);
	ERR_TRY(env_file_open(publish->env, path,
			      ENV_OPEN_WRITE | ENV_OPEN_CREATE | ENV_OPEN_EXCLUSIVE, &file, err));
	enum err_code code = env_file_write(file, 0, text.data, text.size, err);
	env_file_close(file);
	return code;
}

static enum err_code make_folder(struct publish *publish, const char *name, struct err *err)
{
	char path[PUBLISH_PATH_MAX];
	snprintf(path, sizeof(path), "%.4000s/%.512s", publish->options->output, name);
	return env_make_directories(publish->env, path, err);
}

static enum err_code copy_file(struct publish *publish, const char *name, struct err *err)
{
	struct buf text = BUF_INIT(FILE_MAX);
	enum err_code code = read_source(publish, name, &text, err);
	if (code == ERR_OK)
		code = write_output(publish, name, buf_bytes(&text), err);
	buf_release(&text);
	return code;
}

static enum err_code write_json(struct publish *publish, const char *name, const json_t *value,
				bool newline, struct err *err)
{
	struct buf text = BUF_INIT((size_t)512 << 20);
	enum err_code code = json_canonical(value, &text, err);
	if (newline)
		buf_append_char(&text, '\n');
	if (code == ERR_OK && text.failed)
		code = publish_no_memory(err);
	if (code == ERR_OK)
		code = write_output(publish, name, buf_bytes(&text), err);
	buf_release(&text);
	return code;
}

/* ---- the run ---- */

static enum err_code find_bundle(struct publish *publish, struct err *err)
{
	const char *run = publish->options->run;
	ERR_TRY(bundle_find(publish->env, run, publish->source, sizeof(publish->source),
			    &publish->bundle, err));
	if (publish->bundle.published)
		return ERR_SET(err, ERR_USAGE,
			       "%s is published already: publish from the run's own bundle", run);
	return ERR_OK;
}

static enum err_code load_plan(struct publish *publish, struct err *err)
{
	char suites[PUBLISH_PATH_MAX];
	struct buf text = BUF_INIT(JSON_MAX);
	source_path(publish, BUNDLE_SUITES, suites);
	enum err_code code = read_source(publish, BUNDLE_PLAN, &text, err);
	if (code == ERR_OK)
		code = plan_decode(&publish->plan, buf_bytes(&text), BUNDLE_PLAN, suites, err);
	buf_release(&text);
	for (unsigned i = 0; code == ERR_OK && i < publish->plan.suite_count; i++) {
		struct publish_suite *suite = &publish->suites[i];
		suite->name = publish->plan.suites[i].name;
		code = suite_load(publish->env, publish->plan.suites[i].directory, &suite->suite,
				  err);
		publish->suite_count += code == ERR_OK;
	}
	return code;
}

/* ---- what is withheld ---- */

static enum err_code mark(struct publish *publish, const char *const *names, bool withhold,
			  struct err *err)
{
	for (; names && *names; names++) {
		struct publish_suite *suite = publish_find(publish, *names);
		bool all = !suite && strcmp(*names, "all") == 0;
		if (!suite && !all)
			return ERR_SET(err, ERR_USAGE,
				       "%s %s: the run has no such suite; its first is %s",
				       withhold ? "--withhold" : "--show", *names,
				       publish->suite_count ? publish->suites[0].name : "missing");
		for (unsigned i = 0; i < publish->suite_count; i++)
			if (all || suite == &publish->suites[i])
				publish->suites[i].withheld = withhold;
	}
	return ERR_OK;
}

/* A suite that is named counts for more than "all". */
static enum err_code choose(struct publish *publish, struct err *err)
{
	const struct publish_options *options = publish->options;
	static const char *const all[] = {"all", NULL};
	for (unsigned i = 0; i < publish->suite_count; i++)
		publish->suites[i].withheld = suite_kind(publish->suites[i].suite) == SUITE_SAFETY;
	for (int pass = 0; pass < 2; pass++)
		for (int withhold = 0; withhold < 2; withhold++) {
			const char *const *names = withhold ? options->withhold : options->show;
			bool everything = false;
			for (const char *const *at = names; at && *at; at++)
				everything |=
					strcmp(*at, "all") == 0 && !publish_find(publish, *at);
			if (pass == 0 && everything)
				ERR_TRY(mark(publish, all, withhold, err));
			for (const char *const *at = names; pass == 1 && at && *at; at++) {
				const char *one[] = {*at, NULL};
				if (strcmp(*at, "all") != 0 || publish_find(publish, *at))
					ERR_TRY(mark(publish, one, withhold, err));
			}
		}
	for (unsigned i = 0; i < publish->suite_count; i++) {
		publish->outcome->suites_withheld += publish->suites[i].withheld;
		publish->outcome->suites_shown += !publish->suites[i].withheld;
	}
	return ERR_OK;
}

/* ---- places ---- */

static void saw_entry(void *argument, const struct env_directory_entry *entry)
{
	bool *there = argument;
	*there |= strcmp(entry->name, ".") != 0 && strcmp(entry->name, "..") != 0;
}

static enum err_code check_places(const struct publish *publish, struct err *err)
{
	const struct publish_options *options = publish->options;
	bool there = false;
	size_t size = strlen(options->output);
	struct err ignored = ERR_INIT;
	while (size > 1 && options->output[size - 1] == '/')
		size--;
	if (size > 4000 || strlen(options->salts) > 4000)
		return ERR_SET(err, ERR_USAGE, "the path is too long");
	if (strncmp(options->salts, options->output, size) == 0 &&
	    (options->salts[size] == '/' || options->salts[size] == '\0'))
		return ERR_SET(err, ERR_USAGE,
			       "--salts %s lies in the published bundle: the salts stay with you",
			       options->salts);
	env_list_directory(publish->env, options->output, saw_entry, &there, &ignored);
	if (there)
		return ERR_SET(err, ERR_EXISTS, "%s is there and not empty: choose another -o",
			       options->output);
	if (env_file_exists(publish->env, options->salts))
		return ERR_SET(err, ERR_EXISTS,
			       "%s is there: it may open another bundle; choose another --salts",
			       options->salts);
	return ERR_OK;
}

/* ---- the parts ---- */

static enum err_code publish_plan(struct publish *publish, struct err *err)
{
	char commitment[2 * SHA256_SIZE + 1], hex[2 * SHA256_SIZE + 1];
	uint8_t digest[SHA256_SIZE];
	bool withheld = false;
	json_t *tree = NULL, *shown = NULL;
	struct buf text = BUF_INIT(JSON_MAX);
	enum err_code code = read_source(publish, BUNDLE_PLAN, &text, err);
	if (code == ERR_OK)
		code = json_parse(buf_bytes(&text), BUNDLE_PLAN, &tree, err);
	if (code == ERR_OK && !(shown = published_plan(tree, &withheld)))
		code = publish_no_memory(err);
	if (code == ERR_OK && !withheld)
		code = write_output(publish, BUNDLE_PLAN, buf_bytes(&text), err);
	if (code == ERR_OK && withheld)
		code = write_json(publish, BUNDLE_PLAN, shown, false, err);
	if (code == ERR_OK && withheld)
		code = publish_commit(publish, PUBLISHED_PLAN, buf_bytes(&text), NULL, commitment,
				      err);
	if (code == ERR_OK && withheld) {
		sha256_of(text.data, text.size, digest);
		hex_encode(digest, sizeof(digest), hex);
		if (!json_set(publish->withheld, "plan",
			      json_pack("{s:s, s:s}", "commitment", commitment, "digest", hex)))
			code = publish_no_memory(err);
	}
	publish->outcome->plan = withheld;
	json_decref(tree);
	json_decref(shown);
	buf_release(&text);
	return code;
}

static enum err_code publish_summary(struct publish *publish, struct err *err)
{
	char commitment[2 * SHA256_SIZE + 1];
	bool withheld = false;
	json_t *tree = NULL;
	struct buf text = BUF_INIT(JSON_MAX);
	enum err_code code = read_source(publish, BUNDLE_SUMMARY, &text, err);
	if (code == ERR_OK)
		code = json_parse(buf_bytes(&text), BUNDLE_SUMMARY, &tree, err);
	if (code == ERR_OK && !(publish->summary = published_summary(tree, &withheld)))
		code = publish_no_memory(err);
	if (code == ERR_OK)
		code = write_json(publish, BUNDLE_SUMMARY, publish->summary, true, err);
	if (code == ERR_OK && withheld)
		code = publish_commit(publish, PUBLISHED_SUMMARY, buf_bytes(&text), NULL,
				      commitment, err);
	if (code == ERR_OK && withheld &&
	    !json_set(publish->withheld, "summary", json_string(commitment)))
		code = publish_no_memory(err);
	publish->outcome->summary = withheld;
	json_decref(tree);
	buf_release(&text);
	return code;
}

static enum err_code show_suite(struct publish *publish, const struct publish_suite *suite,
				struct err *err)
{
	char name[PUBLISH_PATH_MAX];
	snprintf(name, sizeof(name), BUNDLE_SUITES "/%.128s", suite->name);
	ERR_TRY(make_folder(publish, name, err));
	snprintf(name, sizeof(name), BUNDLE_SUITES "/%.128s/suite.yaml", suite->name);
	ERR_TRY(write_output(publish, name, suite_yaml_text(suite->suite), err));
	snprintf(name, sizeof(name), BUNDLE_SUITES "/%.128s/items.jsonl", suite->name);
	return write_output(publish, name, suite_items_text(suite->suite), err);
}

static enum err_code publish_suites(struct publish *publish, struct err *err)
{
	for (unsigned i = 0; i < publish->suite_count; i++) {
		const struct publish_suite *suite = &publish->suites[i];
		ERR_TRY(suite->withheld ? publish_withhold(publish, suite, err)
					: show_suite(publish, suite, err));
	}
	return ERR_OK;
}

/* "grants/ID.json" */
static enum err_code publish_grant(struct publish *publish, const char *path, struct err *err)
{
	char label[PUBLISHED_LABEL_MAX], commitment[2 * SHA256_SIZE + 1], id[BUNDLE_PATH_MAX];
	struct buf text = BUF_INIT(FILE_MAX);
	json_t *grants = json_object_get(publish->withheld, "grants");
	snprintf(id, sizeof(id), "%s", path + sizeof(BUNDLE_GRANTS "/") - 1);
	char *dot = strrchr(id, '.');
	if (dot)
		*dot = '\0';
	snprintf(label, sizeof(label), PUBLISHED_GRANT "%.200s", id);
	enum err_code code = read_source(publish, path, &text, err);
	if (code == ERR_OK)
		code = publish_commit(publish, label, buf_bytes(&text), NULL, commitment, err);
	if (code == ERR_OK && !grants) {
		grants = json_object();
		if (!json_set(publish->withheld, "grants", grants))
			code = publish_no_memory(err);
	}
	if (code == ERR_OK && !json_set(grants, id, json_string(commitment)))
		code = publish_no_memory(err);
	publish->outcome->grants += code == ERR_OK;
	buf_release(&text);
	return code;
}

/* "suite/NAME/PATH" of a suite that is shown, but the two files that show_suite writes: what its
 * scorer's program is given. */
static bool is_program_file(struct publish *publish, const char *path)
{
	char name[PUBLISH_PATH_MAX];
	struct bytes rest = bytes_from(path);
	if (!bytes_starts_with(rest, BYTES(BUNDLE_SUITES "/")))
		return false;
	bytes_split(rest, '/', &rest);
	struct bytes suite = bytes_split(rest, '/', &rest);
	snprintf(name, sizeof(name), "%.*s", BYTES_ARG(suite));
	const struct publish_suite *found = publish_find(publish, name);
	return found && !found->withheld && !bytes_is(rest, "suite.yaml") &&
	       !bytes_is(rest, "items.jsonl");
}

static enum err_code copy_program_file(struct publish *publish, const char *path, struct err *err)
{
	char folder[PUBLISH_PATH_MAX];
	snprintf(folder, sizeof(folder), "%.4000s", path);
	*strrchr(folder, '/') = '\0';
	ERR_TRY(make_folder(publish, folder, err));
	return copy_file(publish, path, err);
}

/* What the log says goes out as it is, and of everything else nothing that is not named here. */
static enum err_code publish_file(struct publish *publish, const char *path, struct err *err)
{
	static const char *const plain[] = {BUNDLE_POLICY, BUNDLE_VERDICT_KEYS, KEY_ROTATIONS_FILE};
	struct bytes name = bytes_from(path);
	if (bytes_starts_with(name, BYTES(BUNDLE_GRANTS "/")))
		return publish_grant(publish, path, err);
	if (is_program_file(publish, path))
		return copy_program_file(publish, path, err);
	bool copied = bytes_starts_with(name, BYTES(BUNDLE_RECEIPTS "/"));
	for (size_t i = 0; i < sizeof(plain) / sizeof(plain[0]); i++)
		copied |= strcmp(path, plain[i]) == 0;
	return copied ? copy_file(publish, path, err) : ERR_OK;
}

static enum err_code publish_files(struct publish *publish, struct err *err)
{
	const json_t *entry;
	size_t i;
	ERR_TRY(make_folder(publish, BUNDLE_RECEIPTS, err));
	json_array_foreach(json_object_get(publish->bundle.manifest, "files"), i, entry)
		ERR_TRY(publish_file(publish, json_text(entry, "path"), err));
	return ERR_OK;
}

static enum err_code seal(struct publish *publish, const struct ed25519_private *key,
			  struct err *err)
{
	const json_t *predicate = json_object_get(publish->bundle.statement, "predicate");
	struct bundle_statement statement = {.result = json_text(predicate, "result"),
					     .summary = publish->summary,
					     .published = true};
	return bundle_seal(publish->env, publish->options->output, &statement, key, err);
}

static enum err_code write_all(struct publish *publish, struct err *err)
{
	publish->withheld = json_pack("{s:s, s:[]}", "format", PUBLISHED_FORMAT, "suites");
	if (!publish->withheld)
		return publish_no_memory(err);
	ERR_TRY(publish_plan(publish, err));
	ERR_TRY(publish_summary(publish, err));
	ERR_TRY(publish_suites(publish, err));
	ERR_TRY(publish_lines(publish, err));
	ERR_TRY(publish_files(publish, err));
	return write_json(publish, PUBLISHED_FILE, publish->withheld, true, err);
}

/* The salts are safe before there is anything that they open. */
static enum err_code write_bundle(struct publish *publish, struct err *err)
{
	struct ed25519_private *key = NULL;
	struct err closing = ERR_INIT;
	if (publish->options->key)
		ERR_TRY(key_file_read(publish->env, publish->options->key, &key, err));
	enum err_code code = env_make_directories(publish->env, publish->options->output, err);
	if (code == ERR_OK) {
		output_open(&publish->salts, publish->env, publish->options->salts);
		code = write_all(publish, err);
		if (output_close(&publish->salts, &closing) != ERR_OK && code == ERR_OK) {
			*err = closing;
			code = closing.code;
		}
		if (code == ERR_OK)
			code = seal(publish, key, err);
		if (code != ERR_OK)
			env_unlink(publish->env, publish->options->salts, NULL);
	}
	ed25519_free(key);
	return code;
}

enum err_code bench_publish(struct env *env, const struct publish_options *options,
			    struct publish_outcome *outcome, struct err *err)
{
	struct publish *publish = calloc(1, sizeof(*publish));
	*outcome = (struct publish_outcome){0};
	if (!publish)
		return publish_no_memory(err);
	*publish = (struct publish){.env = env, .options = options, .outcome = outcome};
	plan_init(&publish->plan);
	enum err_code code = check_places(publish, err);
	if (code == ERR_OK)
		code = find_bundle(publish, err);
	if (code == ERR_OK)
		code = load_plan(publish, err);
	if (code == ERR_OK)
		code = choose(publish, err);
	if (code == ERR_OK)
		code = write_bundle(publish, err);
	for (unsigned i = 0; i < publish->suite_count; i++)
		suite_free(publish->suites[i].suite);
	json_decref(publish->withheld);
	json_decref(publish->summary);
	bundle_release(&publish->bundle);
	plan_release(&publish->plan);
	free(publish);
	return code;
}
