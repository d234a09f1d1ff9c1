#include "grade/judging_internal.h"

#include "base/json.h"
#include "grade/judge.h"
#include "grade/panel.h"
#include "grade/statistics.h"

#include <math.h>
#include <stdlib.h>

#define CONFIDENCE 0.95
#define OUTCOMES 3 /* loss, tie, win of the model */

static enum err_code out_of_memory(struct err *err)
{
	return ERR_SET(err, ERR_NO_MEMORY, "out of memory for the judges' figures");
}

static int compare_rows(const void *left, const void *right)
{
	const struct run_score *a = *(const struct run_score *const *)left;
	const struct run_score *b = *(const struct run_score *const *)right;
	int order = strcmp(a->item, b->item);

	if (!order)
		order = (a->sample > b->sample) - (a->sample < b->sample);
	if (!order)
		order = strcmp(a->model, b->model);
	if (!order)
		order = strcmp(a->opponent, b->opponent);
	return order ? order : strcmp(a->judge, b->judge);
}

static bool same_answers(const struct run_score *a, const struct run_score *b)
{
	return strcmp(a->item, b->item) == 0 && a->sample == b->sample &&
	       strcmp(a->model, b->model) == 0 && strcmp(a->opponent, b->opponent) == 0;
}

/* ---- rates, clustered by item ---- */

/* What is asked of a comparison: NaN where it has no say. */
typedef double question(const struct run_score *score);

static double was_flipped(const struct run_score *score)
{
	return score->failed ? NAN : score->flipped;
}

static double was_tied(const struct run_score *score)
{
	return score->failed ? NAN : score->score == 0.5 && !score->flipped;
}

/* Of the verdicts in both orders that named one, how many named the answer that stood first. */
static double named_first(const struct run_score *score)
{
	double named = 0, first = 0;

	for (int i = 0; i < 2 && score->verdicts[i]; i++) {
		first += strcmp(score->verdicts[i], "A") == 0;
		named += strcmp(score->verdicts[i], "A") == 0 ||
			 strcmp(score->verdicts[i], "B") == 0;
	}
	return named > 0 ? first / named : NAN;
}

static double longer_won(const struct run_score *score)
{
	bool decided = !score->failed && score->score != 0.5;

	if (!decided || score->lengths[0] == score->lengths[1])
		return NAN;
	return (score->score > 0.5) == (score->lengths[0] > score->lengths[1]);
}

json_t *judging_rate(const struct bench *bench, size_t n)
{
	struct estimate estimate;

	if (n == 0)
		return json_pack("{s:i, s:n, s:n, s:n}", "n", 0, "value", "low", "high");
	if (!statistics_clustered(bench->values, bench->clusters, n, &estimate))
		return NULL;
	struct interval interval =
		statistics_fraction_interval(&estimate, bench->values, CONFIDENCE);
	return json_pack("{s:I, s:o, s:o, s:o}", "n", (json_int_t)n, "value",
			 json_figure(estimate.mean), "low", json_figure(interval.low), "high",
			 json_figure(interval.high));
}

/* {n, value, low, high} of a question over the rows of a judge (NULL: of all) but for controls. */
static json_t *rate(struct bench *bench, const char *judge, question *ask)
{
	size_t n = 0, cluster = 0;
	const char *item = NULL;

	for (size_t i = 0; i < bench->count; i++) {
		const struct run_score *row = bench->rows[i];
		double value = ask(row);

		if (isnan(value) || judging_is_control(row) ||
		    (judge && strcmp(row->judge, judge) != 0))
			continue;
		cluster += item && strcmp(item, row->item) != 0;
		item = row->item;
		bench->clusters[n] = cluster;
		bench->values[n++] = value;
	}
	return judging_rate(bench, n);
}

/* ---- judges ---- */

struct tally {
	json_int_t comparisons, judged, unparsed, refused, silent;
};

static void count_verdicts(const struct run_score *row, struct tally *tally)
{
	tally->comparisons++;
	tally->judged += !row->failed;
	tally->silent += row->failed && !row->verdicts[0];
	for (int i = 0; i < 2 && row->verdicts[i]; i++) {
		tally->unparsed += strcmp(row->verdicts[i], "UNPARSED") == 0;
		tally->refused += strcmp(row->verdicts[i], "REFUSED") == 0;
	}
}

static json_t *encode_judge(struct bench *bench, const char *judge)
{
	struct tally tally = {0};

	for (size_t i = 0; i < bench->count; i++)
		if (!judging_is_control(bench->rows[i]) &&
		    strcmp(bench->rows[i]->judge, judge) == 0)
			count_verdicts(bench->rows[i], &tally);
	return json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:o, s:o, s:o, s:o}", "judge", judge,
			 "comparisons", tally.comparisons, "judged", tally.judged, "unparsed",
			 tally.unparsed, "refused", tally.refused, "unanswered", tally.silent,
			 "flips", rate(bench, judge, was_flipped), "ties",
			 rate(bench, judge, was_tied), "first", rate(bench, judge, named_first),
			 "longer", rate(bench, judge, longer_won));
}

/* ---- agreement ---- */

static int rating_of(const struct run_score *row)
{
	return row->failed ? AGREEMENT_NONE : (int)lround(2 * row->score);
}

static size_t judge_index(const struct bench *bench, const char *judge)
{
	size_t i = 0;

	while (i < bench->judge_count && strcmp(bench->judges[i], judge) != 0)
		i++;
	return i;
}

/* One line of ratings for each pair of answers. */
static size_t fill_ratings(struct bench *bench)
{
	size_t lines = 0;
	const struct run_score *last = NULL;

	for (size_t i = 0; i < bench->count; i++) {
		const struct run_score *row = bench->rows[i];

		if (judging_is_control(row))
			continue;
		if (!last || !same_answers(last, row)) {
			for (size_t k = 0; k < bench->judge_count; k++)
				bench->ratings[lines * bench->judge_count + k] = AGREEMENT_NONE;
			lines++;
		}
		last = row;
		bench->ratings[(lines - 1) * bench->judge_count + judge_index(bench, row->judge)] =
			rating_of(row);
	}
	return lines;
}

/* NULL where memory is out. */
static json_t *encode_agreement(struct bench *bench)
{
	const struct panel_ratings panel = {.judges = bench->judges,
					    .judge_count = bench->judge_count,
					    .lines = fill_ratings(bench),
					    .ratings = bench->ratings,
					    .categories = OUTCOMES,
					    .distance = AGREEMENT_NOMINAL};
	return panel_agreement(&panel, "comparisons");
}

/* ---- a suite ---- */

static json_t *encode_suite(struct bench *bench, const char *suite)
{
	json_t *judges = json_array();
	json_t *object = json_object();

	for (size_t i = 0; judges && i < bench->judge_count; i++)
		json_array_append_new(judges, encode_judge(bench, bench->judges[i]));
	char digest[65];

	judge_prompt_digest(digest);
	bool made =
		json_set(object, "suite", json_string(suite)) &&
		json_set(object, "prompt",
			 json_pack("{s:s, s:s}", "version", JUDGE_PROMPT_VERSION, "sha256",
				   digest)) &&
		json_set(object, "judges", judges) &&
		json_set(object, "controls",
			 judging_controls(bench, rate(bench, NULL, longer_won))) &&
		(bench->judge_count < 2 || json_set(object, "agreement", encode_agreement(bench)));
	if (made && json_array_size(json_object_get(object, "judges")) == bench->judge_count)
		return object;
	json_decref(object);
	return NULL;
}

static enum err_code bench_fill(struct bench *bench, const struct run_score *scores, size_t count,
				const char *suite, struct err *err)
{
	bench->count = bench->judge_count = 0;
	for (size_t i = 0; i < count; i++) {
		const struct run_score *score = &scores[i];

		if (!score->judge || !score->opponent || strcmp(score->suite, suite) != 0)
			continue;
		size_t judge = judge_index(bench, score->judge);
		if (judge == JUDGING_JUDGES_MAX)
			return ERR_SET(err, ERR_TOO_LARGE, "suite %.64s has more than %u judges",
				       suite, JUDGING_JUDGES_MAX);
		bench->judges[judge] = score->judge;
		bench->judge_count += judge == bench->judge_count;
		bench->rows[bench->count++] = score;
	}
	if (bench->count)
		qsort(bench->rows, bench->count, sizeof(*bench->rows), compare_rows);
	bench->ratings = calloc(bench->count * bench->judge_count + 1, sizeof(*bench->ratings));
	return bench->ratings ? ERR_OK : out_of_memory(err);
}

static bool is_listed(const json_t *list, const char *suite)
{
	const json_t *row;
	size_t i;

	json_array_foreach((json_t *)list, i, row)
	{
		if (strcmp(json_text(row, "suite"), suite) == 0)
			return true;
	}
	return false;
}

static enum err_code encode_all(struct bench *bench, const struct run_score *scores, size_t count,
				json_t *list, struct err *err)
{
	const char *last = NULL;

	for (size_t i = 0; i < count; i++) {
		const char *suite = scores[i].suite;

		if (!scores[i].opponent || !scores[i].judge || (last && strcmp(last, suite) == 0) ||
		    is_listed(list, suite))
			continue;
		last = suite;
		enum err_code code = bench_fill(bench, scores, count, suite, err);
		if (code == ERR_OK && json_array_append_new(list, encode_suite(bench, suite)) != 0)
			code = out_of_memory(err);
		free(bench->ratings);
		bench->ratings = NULL;
		ERR_TRY(code);
	}
	return ERR_OK;
}

enum err_code judging_encode(const struct run_score *scores, size_t count, json_t **out,
			     struct err *err)
{
	struct bench bench = {.rows = calloc(count + 1, sizeof(*bench.rows)),
			      .values = calloc(count + 1, sizeof(*bench.values)),
			      .clusters = calloc(count + 1, sizeof(*bench.clusters))};
	json_t *list = json_array();
	enum err_code code = bench.rows && bench.values && bench.clusters && list
				     ? encode_all(&bench, scores, count, list, err)
				     : out_of_memory(err);

	free(bench.rows);
	free(bench.values);
	free(bench.clusters);
	if (code != ERR_OK) {
		json_decref(list);
		list = NULL;
	}
	*out = list;
	return code;
}
