#include "verify/harness.h"

#include "base/json.h"
#include "grade/statistics.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define CONFIDENCE 0.95
#define TOLERANCE 1e-6

void harness_init(struct harness *harness, struct verify_report *report, const char *subject)
{
	*harness = (struct harness){.report = report};
	arena_init(&harness->texts, 64 * 1024, HARNESS_TEXTS_MAX);
	report->subject = subject;
	json_decref(report->results);
	report->results = json_array();
}

void harness_release(struct harness *harness)
{
	arena_release(&harness->texts);
}

/* ---- scores ---- */

enum err_code harness_add(struct harness_scores *scores, const struct harness_score *score,
			  struct err *err)
{
	if (scores->count == HARNESS_SCORES_MAX)
		return ERR_SET(err, ERR_UNSUPPORTED, "a log of more than %zu scores",
			       HARNESS_SCORES_MAX);
	if (scores->count == scores->capacity) {
		size_t capacity = scores->capacity ? 2 * scores->capacity : 64;
		struct harness_score *rows = reallocarray(scores->rows, capacity, sizeof(*rows));
		if (!rows)
			return ERR_SET(err, ERR_NO_MEMORY, "out of memory for scores");
		scores->rows = rows;
		scores->capacity = capacity;
	}
	scores->rows[scores->count++] = *score;
	return ERR_OK;
}

void harness_scores_release(struct harness_scores *scores)
{
	free(scores->rows);
	*scores = (struct harness_scores){0};
}

static int compare_by_item(const void *left, const void *right)
{
	const struct harness_score *a = left, *b = right;
	int order = strcmp(a->item, b->item);
	return order ? order : (a->order > b->order) - (a->order < b->order);
}

void harness_sort(struct harness_scores *scores)
{
	if (scores->count > 1)
		qsort(scores->rows, scores->count, sizeof(*scores->rows), compare_by_item);
}

/* Items without a cluster are clusters of their own and stand apart from named ones. */
static int compare_by_cluster(const void *left, const void *right)
{
	const struct harness_score *a = left, *b = right;
	if (!a->cluster != !b->cluster)
		return !a->cluster ? -1 : 1;
	return a->cluster ? strcmp(a->cluster, b->cluster) : strcmp(a->item, b->item);
}

/* ---- what they give ---- */

struct columns {
	double *values;   /* owned */
	size_t *clusters; /* owned */
};

static void columns_release(struct columns *columns)
{
	free(columns->values);
	free(columns->clusters);
}

/* In the order of clusters; the rows are left in that order. */
static enum err_code columns_make(struct harness_scores *scores, struct columns *out,
				  struct err *err)
{
	size_t count = scores->count;
	out->values = calloc(count + 1, sizeof(*out->values));
	out->clusters = calloc(count + 1, sizeof(*out->clusters));
	if (!out->values || !out->clusters) {
		columns_release(out);
		return ERR_SET(err, ERR_NO_MEMORY, "out of memory for scores");
	}
	if (count > 1)
		qsort(scores->rows, count, sizeof(*scores->rows), compare_by_cluster);
	for (size_t i = 0; i < count; i++) {
		bool same =
			i > 0 && compare_by_cluster(&scores->rows[i - 1], &scores->rows[i]) == 0;
		out->values[i] = scores->rows[i].value;
		out->clusters[i] = i == 0 ? 0 : out->clusters[i - 1] + !same;
	}
	return ERR_OK;
}

static enum err_code estimate_of(const struct columns *columns, size_t count, bool clustered,
				 struct estimate *out, struct err *err)
{
	return statistics_clustered(columns->values, clustered ? columns->clusters : NULL, count,
				    out)
		       ? ERR_OK
		       : ERR_SET(err, ERR_NO_MEMORY, "out of memory for an estimate");
}

enum err_code harness_standard_error(struct harness_scores *scores, bool clustered, double *out,
				     struct err *err)
{
	struct columns columns;
	struct estimate estimate;
	ERR_TRY(columns_make(scores, &columns, err));
	enum err_code code = estimate_of(&columns, scores->count, clustered, &estimate, err);
	if (code == ERR_OK)
		*out = estimate.standard_error;
	columns_release(&columns);
	return code;
}

static struct interval interval_of(const struct estimate *estimate, const double *values)
{
	for (size_t i = 0; i < estimate->n; i++)
		if (values[i] < 0 || values[i] > 1)
			return statistics_interval(estimate, CONFIDENCE);
	return statistics_fraction_interval(estimate, values, CONFIDENCE);
}

static json_t *real_or_null(double value)
{
	return isfinite(value) ? json_real(value) : json_null();
}

static enum err_code add_result(struct harness *harness, const struct harness_figure *figure,
				const struct estimate *estimate, struct interval interval,
				struct err *err)
{
	json_t *row = json_object();
	bool made = json_set(row, "suite", json_string(figure->suite)) &&
		    json_set(row, "model", json_string(figure->model)) &&
		    json_set(row, "metric", json_string(figure->metric)) &&
		    json_set(row, "n", json_integer((json_int_t)estimate->n)) &&
		    json_set(row, "failed", json_integer((json_int_t)figure->failed)) &&
		    json_set(row, "value", json_real(estimate->mean)) &&
		    json_set(row, "low", real_or_null(interval.low)) &&
		    json_set(row, "high", real_or_null(interval.high)) &&
		    (isnan(figure->published) ||
		     json_set(row, "published", json_real(figure->published)));
	if (made && json_array_append(harness->report->results, row) == 0) {
		json_decref(row);
		return ERR_OK;
	}
	json_decref(row);
	return ERR_SET(err, ERR_NO_MEMORY, "out of memory for the results");
}

/* ---- what was published ---- */

static bool agrees(const struct harness_figure *figure, double recomputed)
{
	double tolerance =
		figure->tolerance > 0 ? figure->tolerance : TOLERANCE * fmax(1, fabs(recomputed));
	return fabs(figure->published - recomputed) <= tolerance;
}

static void append_name(char *out, size_t size, const struct harness_figure *figure)
{
	snprintf(out, size, "%.200s%s%.200s", figure->suite, *figure->suite ? ", " : "",
		 figure->metric);
}

void harness_contradiction(struct harness *harness, const char *format, ...)
{
	char text[1000];
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	if (harness->wrong++ == 0)
		report_verdict(harness->report, VERIFY_FALSE, "FALSE: %s", text);
	else
		report_note(harness->report, VERIFY_CHECKED, "FALSE, too: %s", text);
}

static void compare(struct harness *harness, const struct harness_figure *figure, size_t samples,
		    double recomputed)
{
	char name[500];
	append_name(name, sizeof(name), figure);
	harness->figures++;
	harness->recomputed++;
	if (agrees(figure, recomputed))
		return;
	if (samples)
		harness_contradiction(harness, "%s: published %.9g, its %zu scores give %.9g", name,
				      figure->published, samples, recomputed);
	else
		harness_contradiction(harness, "%s: published %.9g, the samples give %.9g", name,
				      figure->published, recomputed);
}

void harness_number(struct harness *harness, const struct harness_figure *figure, double recomputed)
{
	compare(harness, figure, 0, recomputed);
}

void harness_unchecked(struct harness *harness, const struct harness_figure *figure,
		       const char *why)
{
	char name[500];
	append_name(name, sizeof(name), figure);
	harness->figures++;
	report_note(harness->report, VERIFY_UNCHECKED, "%s: %s", name, why);
}

enum err_code harness_mean(struct harness *harness, const struct harness_figure *figure,
			   struct harness_scores *scores, struct err *err)
{
	struct columns columns;
	struct estimate estimate;
	if (scores->count == 0) {
		harness_unchecked(harness, figure, "no sample has a score for it");
		return ERR_OK;
	}
	if (harness->report->take)
		harness->report->take(harness->report->taker, figure, scores);
	ERR_TRY(columns_make(scores, &columns, err));
	enum err_code code = estimate_of(&columns, scores->count, true, &estimate, err);
	if (code == ERR_OK)
		code = add_result(harness, figure, &estimate,
				  interval_of(&estimate, columns.values), err);
	if (code == ERR_OK && !isnan(figure->published))
		compare(harness, figure, scores->count, estimate.mean);
	columns_release(&columns);
	return code;
}

void harness_conclude(struct harness *harness)
{
	struct verify_report *report = harness->report;
	report_note(report, VERIFY_CHECKED,
		    "%zu of %zu published figures computed again from %zu samples",
		    harness->recomputed, harness->figures, harness->samples);
	report_note(
		report, VERIFY_UNCHECKED,
		"whether the samples are what the models answered, and all that they answered: a "
		"log of %s carries no proof of either",
		report->subject);
	if (harness->wrong > 1)
		report_note(report, VERIFY_CHECKED, "%zu things do not hold", harness->wrong);
	if (harness->wrong == 0)
		report_verdict(report, VERIFY_SELF_CERTIFIED,
			       "CONSISTENT, SELF-CERTIFIED: a log of %s; %zu of its %zu published "
			       "figures follow from its samples, nobody vouches for them",
			       report->subject, harness->recomputed, harness->figures);
}
