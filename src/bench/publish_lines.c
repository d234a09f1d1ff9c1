/* The lines of attempts and scores: those of withheld suites without texts, each with a commitment
 * to what was taken out. */
#include "bench/publish_internal.h"

#include "base/json.h"
#include "grade/jsonl.h"
#include "grade/run_records.h"

#include <stdio.h>

typedef enum err_code take_line(struct publish *publish, const struct publish_suite *suite,
				json_t *line, uint64_t number, struct err *err);

/* Ids of items may tell of them: their places stand for them. */
static enum err_code number_item(const struct publish_suite *suite, json_t *line, size_t *index,
				 struct err *err)
{
	char number[24];
	const char *id = json_text(line, "item");
	if (!suite_find(suite->suite, bytes_from(id), index))
		return ERR_SET(err, ERR_MISMATCH, "suite %s has no item %.100s", suite->name, id);
	snprintf(number, sizeof(number), "%zu", *index);
	return json_set(line, "item", json_string(number)) ? ERR_OK : publish_no_memory(err);
}

static enum err_code take_attempt(struct publish *publish, const struct publish_suite *suite,
				  json_t *line, uint64_t number, struct err *err)
{
	char label[PUBLISHED_LABEL_MAX], commitment[2 * SHA256_SIZE + 1];
	struct buf text = BUF_INIT(PUBLISHED_VALUE_MAX);
	size_t index;
	ERR_TRY(number_item(suite, line, &index, err));
	json_t *taken = published_attempt(line);
	if (!taken)
		return publish_no_memory(err);
	snprintf(label, sizeof(label), "attempt/%s/%zu/%llu", suite->name, index,
		 (unsigned long long)number);
	enum err_code code = json_canonical(taken, &text, err);
	if (code == ERR_OK)
		code = publish_commit(publish, label, buf_bytes(&text), NULL, commitment, err);
	if (code == ERR_OK && !json_set(line, "withheld", json_string(commitment)))
		code = publish_no_memory(err);
	publish->outcome->attempts += code == ERR_OK;
	json_decref(taken);
	buf_release(&text);
	return code;
}

static const json_t *entry_of(const struct publish *publish, const char *name)
{
	const json_t *entry;
	size_t i;
	json_array_foreach(json_object_get(publish->withheld, "suites"), i, entry)
	{
		if (strcmp(json_text(entry, "name"), name) == 0)
			return entry;
	}
	return NULL;
}

static enum err_code take_score(struct publish *publish, const struct publish_suite *suite,
				json_t *line, uint64_t number, struct err *err)
{
	size_t index;
	(void)number;
	ERR_TRY(number_item(suite, line, &index, err));
	published_score(line);
	const json_t *items = json_object_get(entry_of(publish, suite->name), "items");
	json_t *cluster = json_object_get(json_array_get(items, index), "cluster");
	if (cluster && json_object_get(line, "cluster") &&
	    json_object_set(line, "cluster", cluster) != 0)
		return publish_no_memory(err);
	return ERR_OK;
}

static enum err_code copy_lines(struct publish *publish, struct jsonl *lines, take_line *take,
				struct output *output, struct err *err)
{
	struct jsonl_line line = {0};
	for (;;) {
		bool more;
		ERR_TRY(jsonl_next(lines, &line, &more, err));
		if (!more)
			return ERR_OK;
		const struct publish_suite *suite =
			publish_find(publish, json_text(line.tree, "suite"));
		enum err_code code = ERR_OK;
		if (suite && suite->withheld)
			code = take(publish, suite, line.tree, lines->line, err);
		if (code != ERR_OK) {
			json_decref(line.tree);
			return err_prefix(err, "%s", line.where);
		}
		ERR_TRY(run_line_append(&output->buf, line.tree, err));
		output_step(output);
		output_step(&publish->salts);
	}
}

static enum err_code rewrite(struct publish *publish, const char *name, take_line *take,
			     struct err *err)
{
	char from[PUBLISH_PATH_MAX], to[PUBLISH_PATH_MAX];
	struct jsonl lines;
	struct output output;
	struct err closing = ERR_INIT;
	snprintf(from, sizeof(from), "%.4000s/%s", publish->source, name);
	snprintf(to, sizeof(to), "%.4000s/%s", publish->options->output, name);
	enum err_code code = jsonl_open(&lines, publish->env, from, name, RUN_LINE_MAX, err);
	if (code == ERR_OK) {
		output_open(&output, publish->env, to);
		code = copy_lines(publish, &lines, take, &output, err);
		if (output_close(&output, &closing) != ERR_OK && code == ERR_OK) {
			*err = closing;
			code = closing.code;
		}
	}
	jsonl_close(&lines);
	return code;
}

static enum err_code take_anchor(struct publish *publish, const struct publish_suite *suite,
				 json_t *line, uint64_t number, struct err *err)
{
	size_t index;
	(void)publish;
	(void)number;
	return number_item(suite, line, &index, err);
}

static bool has_anchors(const struct publish *publish)
{
	char path[PUBLISH_PATH_MAX];
	snprintf(path, sizeof(path), "%.4000s/%s", publish->source, BUNDLE_ANCHORS);
	return env_file_exists(publish->env, path);
}

enum err_code publish_lines(struct publish *publish, struct err *err)
{
	ERR_TRY(rewrite(publish, BUNDLE_TRANSCRIPTS, take_attempt, err));
	if (has_anchors(publish))
		ERR_TRY(rewrite(publish, BUNDLE_ANCHORS, take_anchor, err));
	return rewrite(publish, BUNDLE_SCORES, take_score, err);
}
