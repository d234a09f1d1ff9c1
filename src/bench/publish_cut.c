/* A file of salts cut to what one auditor may open. */
#include "bench/publish_internal.h"

#include "base/json.h"
#include "grade/jsonl.h"
#include "grade/run_records.h"

#include <stdio.h>
#include <stdlib.h>

#define ITEMS_MAX 10000u

struct cutting {
	const struct publish_cut *cut;
	size_t wanted;
	bool *found; /* for each of cut->items */
	size_t count;
};

/* "item/SUITE/INDEX" or "attempt/SUITE/INDEX/LINE": whether it is of SUITE/#INDEX. */
static bool is_of(struct bytes label, struct bytes suite, struct bytes index)
{
	struct bytes rest, kind = bytes_split(label, '/', &rest);
	struct bytes more, name = bytes_split(rest, '/', &more);
	struct bytes line, number = bytes_split(more, '/', &line);
	return (bytes_is(kind, "item") || bytes_is(kind, "attempt")) && bytes_equal(name, suite) &&
	       bytes_equal(number, index);
}

static enum err_code split_wanted(const char *wanted, struct bytes *suite, struct bytes *index,
				  struct err *err)
{
	*suite = bytes_split(bytes_from(wanted), '/', index);
	bool good = index->data && index->size > 0 && suite->size > 0;
	for (size_t i = 0; good && i < index->size; i++)
		good = index->data[i] >= '0' && index->data[i] <= '9';
	return good ? ERR_OK
		    : ERR_SET(err, ERR_USAGE,
			      "--item %s: write SUITE/NUMBER, with the item's place in the suite, "
			      "from 0, as the published lines have it",
			      wanted);
}

static enum err_code take(struct cutting *cutting, json_t *line, const char *where,
			  struct output *output, struct err *err)
{
	struct opening opening;
	struct bytes suite, index;
	bool wanted = false;
	ERR_TRY(opening_read(line, where, &opening, err));
	for (size_t i = 0; i < cutting->wanted; i++) {
		ERR_TRY(split_wanted(cutting->cut->items[i], &suite, &index, err));
		bool is = is_of(opening.label, suite, index);
		cutting->found[i] |= is;
		wanted |= is;
	}
	if (!wanted)
		return ERR_OK;
	cutting->count++;
	return run_line_append(&output->buf, json_incref(line), err);
}

static enum err_code copy(struct cutting *cutting, struct jsonl *lines, struct output *output,
			  struct err *err)
{
	struct jsonl_line line = {0};
	for (;;) {
		bool more;
		ERR_TRY(jsonl_next(lines, &line, &more, err));
		if (!more)
			break;
		enum err_code code = take(cutting, line.tree, line.where, output, err);
		json_decref(line.tree);
		ERR_TRY(code);
		output_step(output);
	}
	for (size_t i = 0; i < cutting->wanted; i++)
		if (!cutting->found[i])
			return ERR_SET(err, ERR_USAGE, "--item %s: %s opens no such item",
				       cutting->cut->items[i], cutting->cut->salts);
	return ERR_OK;
}

static enum err_code write_cut(struct env *env, struct cutting *cutting, struct jsonl *lines,
			       struct err *err)
{
	struct output output;
	struct err closing = ERR_INIT;
	output_open(&output, env, cutting->cut->output);
	enum err_code code = copy(cutting, lines, &output, err);
	if (output_close(&output, &closing) != ERR_OK && code == ERR_OK) {
		*err = closing;
		code = closing.code;
	}
	if (code != ERR_OK)
		env_unlink(env, cutting->cut->output, NULL);
	return code;
}

enum err_code bench_cut_salts(struct env *env, const struct publish_cut *cut, size_t *count,
			      struct err *err)
{
	struct cutting cutting = {.cut = cut};
	struct bytes suite, index;
	struct jsonl lines;
	while (cut->items[cutting.wanted])
		ERR_TRY(split_wanted(cut->items[cutting.wanted++], &suite, &index, err));
	if (cutting.wanted > ITEMS_MAX)
		return ERR_SET(err, ERR_USAGE, "more than %u items", ITEMS_MAX);
	if (env_file_exists(env, cut->output))
		return ERR_SET(err, ERR_EXISTS, "%s is there: choose another -o", cut->output);
	cutting.found = calloc(cutting.wanted + 1, sizeof(*cutting.found));
	if (!cutting.found)
		return publish_no_memory(err);
	enum err_code code =
		jsonl_open(&lines, env, cut->salts, cut->salts, PUBLISHED_LINE_MAX, err);
	if (code == ERR_OK)
		code = write_cut(env, &cutting, &lines, err);
	jsonl_close(&lines);
	free(cutting.found);
	*count = cutting.count;
	return code;
}
