/* Annotations of AlpacaEval: a judge's preference in [1, 2] between two outputs for each
 * instruction (1.5, or 0 in older files, is a tie). The win rate of the second is computed, and
 * compared with the leaderboard.csv beside, which `alpaca_eval evaluate` writes there. */
#include "verify/harness.h"

#include "base/json.h"
#include "bench/text.h"
#include "suite/csv.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define SUBJECT "AlpacaEval"
#define LEADERBOARD "leaderboard.csv"
#define LEADERBOARD_MAX ((size_t)16 << 20)
#define PATH_SIZE 4200

/* The annotations of one pair of generators. */
struct contest {
	const char *model, *baseline; /* borrowed */
	double wins, losses, draws;
	size_t unreadable; /* without a preference */
	struct harness_scores scores;
};

static bool is_annotation(const json_t *row)
{
	return json_is_object(row) && json_object_get(row, "preference") &&
	       json_is_string(json_object_get(row, "instruction")) &&
	       json_is_string(json_object_get(row, "generator_2"));
}

/* 1 to 2; 0 stands for a tie. */
static bool read_preference(const json_t *row, double *out)
{
	const json_t *value = json_object_get(row, "preference");
	*out = json_number_value(value);
	if (json_is_number(value) && *out == 0)
		*out = 1.5;
	return json_is_number(value) && *out >= 1 && *out <= 2;
}

static enum err_code add_row(struct contest *contest, const json_t *row, size_t index,
			     struct err *err)
{
	double preference;
	if (!is_annotation(row))
		return ERR_SET(err, ERR_INVALID, "[%zu] is no annotation", index);
	if (strcmp(json_text(row, "generator_2"), contest->model) != 0)
		return ERR_SET(err, ERR_UNSUPPORTED,
			       "[%zu] is about %.64s and the first about %.64s: one file a model",
			       index, json_text(row, "generator_2"), contest->model);
	if (json_is_null(json_object_get(row, "preference"))) {
		contest->unreadable++;
		return ERR_OK;
	}
	if (!read_preference(row, &preference))
		return ERR_SET(err, ERR_INVALID, "[%zu]: the preference is not between 1 and 2",
			       index);
	contest->wins += preference > 1.5;
	contest->losses += preference < 1.5;
	contest->draws += preference == 1.5;
	struct harness_score score = {.item = json_text(row, "instruction"),
				      .value = preference - 1,
				      .order = (int64_t)index};
	return harness_add(&contest->scores, &score, err);
}

/* ---- the leaderboard ---- */

/* A number as it is printed there: rounded to its decimals. */
static bool read_field(const struct csv *csv, const char *column, double *value, double *tolerance)
{
	char text[64], *end;
	int index = csv_column(csv, column);
	if (index < 0 || csv->fields[index].size == 0 || csv->fields[index].size >= sizeof(text))
		return false;
	snprintf(text, sizeof(text), "%.*s", BYTES_ARG(csv->fields[index]));
	const char *point = strchr(text, '.');
	*value = strtod(text, &end);
	*tolerance = 0.5 * pow(10, -(point ? (double)strlen(point + 1) : 0)) + 1e-9;
	return *end == '\0' && isfinite(*value);
}

static void compare_field(struct harness *harness, const struct contest *contest,
			  const struct csv *csv, const char *column, double recomputed)
{
	struct harness_figure figure = {LEADERBOARD, contest->model, column, NAN, 0, 0};
	if (read_field(csv, column, &figure.published, &figure.tolerance))
		harness_number(harness, &figure, recomputed);
}

static enum err_code compare_row(struct harness *harness, struct contest *contest,
				 const struct csv *csv, struct err *err)
{
	double error, total = contest->wins + contest->losses + contest->draws, sum = 0;
	ERR_TRY(harness_standard_error(&contest->scores, false, &error, err));
	for (size_t i = 0; i < contest->scores.count; i++)
		sum += contest->scores.rows[i].value;
	compare_field(harness, contest, csv, "win_rate", 100 * sum / total);
	compare_field(harness, contest, csv, "standard_error", 100 * error);
	compare_field(harness, contest, csv, "n_wins", contest->wins);
	compare_field(harness, contest, csv, "n_wins_base", contest->losses);
	compare_field(harness, contest, csv, "n_draws", contest->draws);
	compare_field(harness, contest, csv, "n_total", total);
	compare_field(harness, contest, csv, "discrete_win_rate",
		      100 * (contest->wins + contest->draws / 2) / total);
	struct harness_figure controlled = {
		LEADERBOARD, contest->model, "length_controlled_winrate", NAN, 0, 0};
	double unused;
	if (read_field(csv, controlled.metric, &controlled.published, &unused))
		harness_unchecked(harness, &controlled,
				  "its regression needs the annotations of other models");
	return ERR_OK;
}

/* The first column has no name in AlpacaEval's own files. */
static enum err_code find_row(struct harness *harness, struct contest *contest, struct bytes text,
			      struct err *err)
{
	struct csv csv;
	struct buf named = BUF_INIT(LEADERBOARD_MAX + 8);
	bool end = false, found = false;
	if (bytes_starts_with(text, BYTES(",")))
		buf_append_cstr(&named, "name");
	buf_append_bytes(&named, text);
	if (named.failed)
		return ERR_SET(err, ERR_NO_MEMORY, "out of memory for " LEADERBOARD);
	enum err_code code = csv_open(&csv, buf_bytes(&named), LEADERBOARD, err);
	if (code == ERR_OK) {
		while (!found && (code = csv_next(&csv, &end, err)) == ERR_OK && !end)
			found = bytes_is(csv.fields[0], contest->model);
		if (code == ERR_OK && found)
			code = compare_row(harness, contest, &csv, err);
		csv_close(&csv);
	}
	buf_release(&named);
	if (code == ERR_OK && !found)
		report_note(harness->report, VERIFY_UNCHECKED, LEADERBOARD " has no row for %.100s",
			    contest->model);
	return code;
}

static enum err_code compare_leaderboard(struct harness *harness, struct env *env, const char *path,
					 struct contest *contest, struct err *err)
{
	char beside[PATH_SIZE];
	struct buf text = BUF_INIT(LEADERBOARD_MAX);
	const char *slash = strrchr(path, '/');
	snprintf(beside, sizeof(beside), "%.*s" LEADERBOARD, slash ? (int)(slash - path + 1) : 0,
		 path);
	if (!env_file_exists(env, beside)) {
		report_note(harness->report, VERIFY_UNCHECKED,
			    "there is no " LEADERBOARD " beside it: no published figure to compare "
			    "with");
		return ERR_OK;
	}
	enum err_code code = env_read_file(env, beside, &text, err);
	if (code == ERR_OK)
		code = find_row(harness, contest, buf_bytes(&text), err);
	buf_release(&text);
	return code;
}

/* ---- the annotations ---- */

static enum err_code check_annotations(struct harness *harness, struct env *env, const char *path,
				       const json_t *list, struct contest *contest, struct err *err)
{
	for (size_t i = 0; i < json_array_size(list); i++)
		ERR_TRY(add_row(contest, json_array_get(list, i), i, err));
	harness->samples = contest->scores.count;
	report_note(harness->report, VERIFY_CHECKED,
		    "%.100s against %.100s, %zu preferences of %.100s", contest->model,
		    contest->baseline, contest->scores.count,
		    json_text(json_array_get(list, 0), "annotator"));
	if (contest->unreadable)
		report_note(harness->report, VERIFY_CHECKED,
			    "%zu annotations have no preference (the judge's reply could not be "
			    "read); AlpacaEval leaves them out",
			    contest->unreadable);
	char baseline[154], suite[200];
	text_line(baseline, sizeof(baseline), bytes_from(contest->baseline));
	snprintf(suite, sizeof(suite), "against %s", baseline);
	struct harness_figure rate = {suite, contest->model,     "win_rate", NAN,
				      0,     contest->unreadable};
	ERR_TRY(compare_leaderboard(harness, env, path, contest, err));
	if (contest->scores.count)
		ERR_TRY(harness_mean(harness, &rate, &contest->scores, err));
	harness_conclude(harness);
	return ERR_OK;
}

enum err_code harness_alpaca(struct env *env, const char *path, const json_t *annotations,
			     struct verify_report *report, bool *known, struct err *err)
{
	struct harness harness;
	const json_t *first = json_array_get(annotations, 0);
	*known = is_annotation(first);
	if (!*known)
		return ERR_OK;
	struct contest contest = {.model = json_text(first, "generator_2"),
				  .baseline = json_text(first, "generator_1")};
	harness_init(&harness, report, SUBJECT);
	enum err_code code = check_annotations(&harness, env, path, annotations, &contest, err);
	harness_scores_release(&contest.scores);
	harness_release(&harness);
	return code == ERR_OK ? ERR_OK : report_failure(report, err);
}
