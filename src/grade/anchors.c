#include "grade/anchors.h"

#include "base/json.h"
#include "grade/agreement.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define NAME_MAX_BYTES 512u
#define SAMPLE_MAX 1000000

static const char *const verdicts[] = {"opponent", "tie", "model"}; /* by rating */

/* ---- order ---- */

int anchor_compare(const struct anchor *a, const struct anchor *b)
{
	int order = strcmp(a->item, b->item);

	if (!order)
		order = (a->sample > b->sample) - (a->sample < b->sample);
	if (!order)
		order = strcmp(a->model, b->model);
	return order || !a->opponent ? order : strcmp(a->opponent, b->opponent);
}

/* By what was rated: suites, scores before verdicts, items. */
static int compare_cases(const struct anchor *a, const struct anchor *b)
{
	int order = strcmp(a->suite, b->suite);

	if (!order)
		order = (a->opponent != NULL) - (b->opponent != NULL);
	return order ? order : anchor_compare(a, b);
}

static int compare_anchors(const void *left, const void *right)
{
	const struct anchor *a = left, *b = right;
	int order = compare_cases(a, b);

	return order ? order : strcmp(a->by, b->by);
}

/* Two answers are one case in whichever order they are named. */
static void put_in_order(const char **model, const char **opponent, int *rating)
{
	const char *other = *opponent;

	if (!other || strcmp(*model, other) <= 0)
		return;
	*opponent = *model;
	*model = other;
	if (*rating != AGREEMENT_NONE)
		*rating = 2 - *rating;
}

/* ---- reading ---- */

struct reading {
	struct anchors *anchors;
	const char *suite;
	size_t capacity;
	unsigned long line;
};

static enum err_code out_of_memory(struct err *err)
{
	return ERR_SET(err, ERR_NO_MEMORY, "out of memory for the anchors");
}

static enum err_code keep_name(struct anchors *anchors, const char *text, const char *key,
			       const char *where, const char **out, struct err *err)
{
	if (!*text || strlen(text) > NAME_MAX_BYTES)
		return ERR_SET(err, ERR_INVALID, "%s: \"%s\" has 1 to %u bytes", where, key,
			       NAME_MAX_BYTES);
	*out = arena_copy(&anchors->arena, bytes_from(text));
	return *out ? ERR_OK : out_of_memory(err);
}

static enum err_code find_rater(struct anchors *anchors, const char *name, const char *where,
				unsigned *out, struct err *err)
{
	for (*out = 0; *out < anchors->rater_count; ++*out)
		if (strcmp(anchors->raters[*out], name) == 0)
			return ERR_OK;
	if (anchors->rater_count == ANCHORS_RATERS_MAX)
		return ERR_SET(err, ERR_TOO_LARGE, "%s: more than %u raters", where,
			       ANCHORS_RATERS_MAX);
	return keep_name(anchors, name, "rater", where, &anchors->raters[anchors->rater_count++],
			 err);
}

static enum err_code read_verdict(const json_t *line, const char *where, struct anchor *out,
				  struct err *err)
{
	const char *verdict;

	if (json_object_get(line, "score"))
		return ERR_SET(err, ERR_INVALID,
			       "%s: two answers have a \"verdict\", one answer has a \"score\"",
			       where);
	ERR_TRY(json_get_string(line, "verdict", where, &verdict, err));
	for (int i = 0; i < 3; i++)
		if (strcmp(verdict, verdicts[i]) == 0) {
			out->rating = i;
			return ERR_OK;
		}
	return ERR_SET(err, ERR_INVALID, "%s: verdict \"%.40s\" is none of model, opponent and tie",
		       where, verdict);
}

static enum err_code read_score(const json_t *line, const char *where, struct anchor *out,
				struct err *err)
{
	const json_t *score = json_object_get(line, "score");

	out->score = json_number_value(score);
	if (json_object_get(line, "verdict"))
		return ERR_SET(err, ERR_INVALID, "%s: a \"verdict\" needs an \"opponent\"", where);
	if (!json_is_number(score) || !(out->score >= 0 && out->score <= 1))
		return ERR_SET(err, ERR_INVALID,
			       "%s: say \"verdict\" of two answers, or \"score\", 0 to 1, of one",
			       where);
	out->rating = (int)lround(10 * out->score);
	return ERR_OK;
}

static enum err_code read_line(struct reading *reading, const json_t *line, const char *where,
			       struct anchor *out, struct err *err)
{
	static const char *const keys[] = {"suite",   "item",  "sample", "model", "opponent",
					   "verdict", "score", "rater",  NULL};
	struct anchors *anchors = reading->anchors;
	const char *suite, *item, *model, *opponent, *rater;
	int64_t sample;

	ERR_TRY(json_only_keys(line, keys, where, err));
	ERR_TRY(json_get_string_or(line, "suite", where, reading->suite, &suite, err));
	if (!suite)
		return ERR_SET(err, ERR_INVALID,
			       "%s: say which \"suite\" it is about: the run has several", where);
	ERR_TRY(json_get_string(line, "item", where, &item, err));
	ERR_TRY(json_get_integer_or(line, "sample", where, 0, SAMPLE_MAX, 0, &sample, err));
	ERR_TRY(json_get_string(line, "model", where, &model, err));
	ERR_TRY(json_get_string_or(line, "opponent", where, NULL, &opponent, err));
	ERR_TRY(json_get_string_or(line, "rater", where, "people", &rater, err));
	out->sample = (unsigned)sample;
	ERR_TRY(keep_name(anchors, suite, "suite", where, &out->suite, err));
	ERR_TRY(keep_name(anchors, item, "item", where, &out->item, err));
	ERR_TRY(keep_name(anchors, model, "model", where, &out->model, err));
	if (opponent)
		ERR_TRY(keep_name(anchors, opponent, "opponent", where, &out->opponent, err));
	if (opponent && strcmp(model, opponent) == 0)
		return ERR_SET(err, ERR_INVALID, "%s: model and opponent are the same", where);
	ERR_TRY(find_rater(anchors, rater, where, &out->rater, err));
	out->by = anchors->raters[out->rater];
	ERR_TRY(opponent ? read_verdict(line, where, out, err) : read_score(line, where, out, err));
	put_in_order(&out->model, &out->opponent, &out->rating);
	return ERR_OK;
}

static enum err_code take_line(void *argument, const json_t *line, const char *where,
			       struct err *err)
{
	struct reading *reading = argument;
	struct anchors *anchors = reading->anchors;
	struct anchor anchor = {.line = ++reading->line};

	if (anchors->count == ANCHORS_MAX)
		return ERR_SET(err, ERR_TOO_LARGE, "%s: more than %u anchors", where, ANCHORS_MAX);
	if (!json_is_object(line))
		return ERR_SET(err, ERR_INVALID, "%s: must be an object", where);
	ERR_TRY(read_line(reading, line, where, &anchor, err));
	if (anchors->count == reading->capacity) {
		size_t capacity = reading->capacity ? 2 * reading->capacity : 64;
		struct anchor *grown = reallocarray(anchors->items, capacity, sizeof(*grown));

		if (!grown)
			return out_of_memory(err);
		anchors->items = grown;
		reading->capacity = capacity;
	}
	anchors->items[anchors->count++] = anchor;
	return ERR_OK;
}

enum err_code anchors_read(struct bytes text, const char *what, const char *suite,
			   struct anchors *anchors, struct err *err)
{
	struct reading reading = {.anchors = anchors, .suite = suite};

	*anchors = (struct anchors){0};
	arena_init(&anchors->arena, 16384, 2 * ANCHORS_TEXT_MAX);
	ERR_TRY(run_lines_read(text, what, take_line, &reading, err));
	if (anchors->count == 0)
		return ERR_SET(err, ERR_INVALID, "%s: there is no anchor in it", what);
	qsort(anchors->items, anchors->count, sizeof(*anchors->items), compare_anchors);
	for (size_t i = 1; i < anchors->count; i++) {
		const struct anchor *a = &anchors->items[i - 1], *b = a + 1;
		unsigned long later = a->line > b->line ? a->line : b->line;

		if (compare_anchors(a, b) == 0)
			return ERR_SET(err, ERR_INVALID,
				       "%s:%lu: %.100s has rated this already, in line %lu", what,
				       later, a->by, a->line + b->line - later);
	}
	return ERR_OK;
}

void anchors_release(struct anchors *anchors)
{
	free(anchors->items);
	if (anchors->arena.block_size) /* zeroed: never read */
		arena_release(&anchors->arena);
	*anchors = (struct anchors){0};
}

enum err_code anchors_write(const struct anchors *anchors, struct buf *out, struct err *err)
{
	for (size_t i = 0; i < anchors->count; i++) {
		const struct anchor *anchor = &anchors->items[i];
		json_t *line = json_pack("{s:s, s:s, s:i, s:s, s:s}", "suite", anchor->suite,
					 "item", anchor->item, "sample", (int)anchor->sample,
					 "model", anchor->model, "rater", anchor->by);
		bool made = anchor->opponent
				    ? json_set(line, "opponent", json_string(anchor->opponent)) &&
					      json_set(line, "verdict",
						       json_string(verdicts[anchor->rating]))
				    : json_set(line, "score", json_real(anchor->score));

		if (!made) {
			json_decref(line);
			return out_of_memory(err);
		}
		ERR_TRY(run_line_append(out, line, err));
	}
	return ERR_OK;
}
