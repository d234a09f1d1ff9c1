/* Controls of judges: what answers win that should win nothing by themselves.
 *
 * The null model answers everything with the same words. The longest-answer control hands in, for
 * every sample, the longest of the answers that were compared there: it costs no verdict, since
 * judges compared that answer anyway, and where the longest is its opponent's own it counts as a
 * tie. Neither stands in any result. */
#include "grade/judging_internal.h"

#include "base/json.h"

#include <math.h>

#define NAMES_MAX 64u /* models of one suite */

/* The models that were compared, controls apart. */
struct field {
	const char *names[NAMES_MAX];
	bool met[NAMES_MAX][NAMES_MAX];
	size_t count;
};

static size_t find_name(const struct field *field, const char *name)
{
	size_t i = 0;

	while (i < field->count && strcmp(field->names[i], name) != 0)
		i++;
	return i;
}

/* NAMES_MAX where there is no room for it. */
static size_t note_name(struct field *field, const char *name)
{
	size_t i = find_name(field, name);

	if (i == field->count && i < NAMES_MAX)
		field->names[field->count++] = name;
	return i;
}

static void find_field(const struct bench *bench, struct field *field)
{
	*field = (struct field){0};
	for (size_t i = 0; i < bench->count; i++) {
		const struct run_score *row = bench->rows[i];

		if (judging_is_control(row))
			continue;
		size_t a = note_name(field, row->model), b = note_name(field, row->opponent);
		if (a < NAMES_MAX && b < NAMES_MAX)
			field->met[a][b] = field->met[b][a] = true;
	}
}

/* A baseline meets everybody, and so does each of several models where there is none; only against
 * such a one is the longest of all answers always compared. */
static bool met_all(const struct field *field, size_t model)
{
	bool all = true;

	for (size_t i = 0; i < field->count; i++)
		all &= i == model || field->met[model][i];
	return all;
}

/* ---- the longest answer ---- */

static bool same_sample(const struct run_score *a, const struct run_score *b)
{
	return strcmp(a->item, b->item) == 0 && a->sample == b->sample;
}

static bool is_asked(const struct run_score *row, const char *judge)
{
	return !judging_is_control(row) && (!judge || strcmp(row->judge, judge) == 0);
}

/* Whose answer is the longest in rows [from, end) of one sample; of equally long ones the first by
 * name. NULL where no lengths are known. */
static const char *longest_of(const struct bench *bench, size_t from, size_t end)
{
	const char *name = NULL;
	int64_t most = 0;

	for (size_t i = from; i < end; i++) {
		const struct run_score *row = bench->rows[i];
		const char *names[2] = {row->model, row->opponent};

		if (judging_is_control(row))
			continue;
		for (int k = 0; k < 2; k++)
			if (row->lengths[k] > most ||
			    (row->lengths[k] == most && name && strcmp(names[k], name) < 0)) {
				most = row->lengths[k];
				name = names[k];
			}
	}
	return name;
}

/* What `holder` won in a comparison with `against`; NAN where it is none of these two. */
static double won(const struct run_score *row, const char *holder, const char *against)
{
	bool first = strcmp(row->model, holder) == 0, other = strcmp(row->opponent, holder) == 0;
	const char *rest = first ? row->opponent : row->model;

	if (row->failed)
		return NAN;
	if (strcmp(holder, against) == 0)
		return first || other ? 0.5 : NAN;
	if ((!first && !other) || strcmp(rest, against) != 0)
		return NAN;
	return first ? row->score : 1 - row->score;
}

/* What the control won of a sample in the eyes of a judge (NULL: the mean of all). */
static double sample_won(const struct bench *bench, size_t from, size_t end, const char *judge,
			 const char *against)
{
	const char *holder = longest_of(bench, from, end);
	double sum = 0, n = 0;

	for (size_t i = from; holder && i < end; i++) {
		double value = is_asked(bench->rows[i], judge)
				       ? won(bench->rows[i], holder, against)
				       : NAN;

		if (isnan(value))
			continue;
		sum += value;
		n++;
	}
	return n > 0 ? sum / n : NAN;
}

static json_t *longest_rate(struct bench *bench, const char *judge, const char *against)
{
	size_t n = 0, cluster = 0, end;

	for (size_t from = 0; from < bench->count; from = end) {
		for (end = from;
		     end < bench->count && same_sample(bench->rows[from], bench->rows[end]);)
			end++;
		double value = sample_won(bench, from, end, judge, against);
		if (!isnan(value)) {
			bench->clusters[n] = cluster;
			bench->values[n++] = value;
		}
		cluster += end < bench->count &&
			   strcmp(bench->rows[from]->item, bench->rows[end]->item) != 0;
	}
	return judging_rate(bench, n);
}

/* ---- the null model ---- */

static double null_won(const struct run_score *row)
{
	if (row->failed)
		return NAN;
	return run_is_control(row->model) ? row->score : 1 - row->score;
}

/* In the eyes of a judge (NULL: of all) against whom it met (NULL: whoever it was). */
static json_t *null_rate(struct bench *bench, const char *judge, const char **against)
{
	size_t n = 0, cluster = 0;
	const char *item = NULL;

	for (size_t i = 0; i < bench->count; i++) {
		const struct run_score *row = bench->rows[i];

		if (!judging_is_control(row) || (judge && strcmp(row->judge, judge) != 0))
			continue;
		*against = run_is_control(row->model) ? row->opponent : row->model;
		if (isnan(null_won(row)))
			continue;
		cluster += item && strcmp(item, row->item) != 0;
		item = row->item;
		bench->clusters[n] = cluster;
		bench->values[n++] = null_won(row);
	}
	return judging_rate(bench, n);
}

/* ---- all of them ---- */

/* Takes the rate over. */
static bool add_row(json_t *rows, const char *control, const char *judge, const char *against,
		    json_t *rate)
{
	bool made = rate && json_set(rate, "control", json_string(control)) &&
		    json_set(rate, "judge", judge ? json_string(judge) : json_null()) &&
		    json_set(rate, "against", json_string(against)) &&
		    json_array_append(rows, rate) == 0;

	json_decref(rate);
	return made;
}

/* The rows of a judge, or of all together. */
static bool add_rows(struct bench *bench, const struct field *field, const char *judge,
		     json_t *rows)
{
	const char *against = NULL;
	json_t *null = null_rate(bench, judge, &against);

	if (!null)
		return false;
	if (!against)
		json_decref(null);
	else if (!add_row(rows, "null", judge, against, null))
		return false;
	for (size_t i = 0; i < field->count; i++)
		if (met_all(field, i) && !add_row(rows, "longest", judge, field->names[i],
						  longest_rate(bench, judge, field->names[i])))
			return false;
	return true;
}

json_t *judging_controls(struct bench *bench, json_t *longest)
{
	struct field field;
	const char *against = NULL;
	json_t *controls = json_object(), *rows = json_array(), *null;
	bool made = json_set(controls, "longest", longest);

	find_field(bench, &field);
	for (size_t i = 0; made && i < bench->judge_count; i++)
		made = add_rows(bench, &field, bench->judges[i], rows);
	if (made && bench->judge_count > 1)
		made = add_rows(bench, &field, NULL, rows);
	null = made ? null_rate(bench, NULL, &against) : NULL;
	made = made && null;
	if (made && against)
		made = json_set(controls, "null", null);
	else
		json_decref(null);
	made = json_set(controls, "rows", rows) && made;
	if (made)
		return controls;
	json_decref(controls);
	return NULL;
}
