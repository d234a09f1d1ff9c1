/* Times and lengths of answers, compared between what should not differ. */
#include "grade/conduct_internal.h"

#include "base/json.h"
#include "grade/rank_tests.h"

#include <math.h>
#include <stdlib.h>

#define VALUES_MIN 5 /* on each side: fewer are not compared */

const char *conduct_measure_name(enum conduct_measure measure)
{
	static const char *const names[] = {"first_token_ms", "elapsed_ms", "output_tokens",
					    "tokens_per_second"};
	return names[measure];
}

static enum err_code out_of_memory(struct err *err)
{
	return ERR_SET(err, ERR_NO_MEMORY, "out of memory for the times of answers");
}

/* Of one model and suite: each item's mean of one measure, NaN where none is known. */
struct means {
	double *values; /* owned */
	size_t items;
};

enum arm { ARM_BOTH, ARM_NAMED, ARM_BLIND };

static bool in_arm(const struct conduct_time *time, enum arm arm)
{
	return arm == ARM_BOTH || time->blind == (arm == ARM_BLIND);
}

static bool means_of(const struct conduct *conduct, unsigned suite, unsigned model, enum arm arm,
		     enum conduct_measure measure, struct means *out)
{
	size_t items = suite_count(conduct->suites[suite].suite);
	double *sums = calloc(2 * items + 1, sizeof(*sums)), *counts = sums + items;

	*out = (struct means){.values = sums, .items = items};
	for (size_t i = 0; sums && i < conduct->time_count; i++) {
		const struct conduct_time *time = &conduct->times[i];
		if (time->suite != suite || time->model != model || !in_arm(time, arm) ||
		    isnan(time->values[measure]))
			continue;
		sums[time->item] += (double)time->values[measure];
		counts[time->item]++;
	}
	for (size_t i = 0; sums && i < items; i++)
		sums[i] = sums[i] / counts[i];
	return sums != NULL;
}

/* Two columns of the same length, values side by side belonging together. */
struct columns {
	double *a, *b;         /* owned */
	size_t count, count_b; /* of pairs, or of a; of b where there are no pairs */
};

static bool columns_make(size_t room, struct columns *out)
{
	*out = (struct columns){.a = calloc(room + 1, sizeof(double)),
				.b = calloc(room + 1, sizeof(double))};
	return out->a && out->b;
}

static void columns_add(struct columns *columns, double a, double b)
{
	if (isnan(a) || isnan(b))
		return;
	columns->a[columns->count] = a;
	columns->b[columns->count++] = b;
}

static void columns_release(struct columns *columns)
{
	free(columns->a);
	free(columns->b);
}

/* What a row is about; texts are borrowed. */
struct subject {
	const char *what, *suite, *a, *b; /* twins: a is the model, b NULL */
	enum conduct_measure measure;
};

static json_t *row_of(const struct subject *subject, const char *test, double p)
{
	json_t *row = json_pack("{s:s, s:s, s:s, s:s, s:o}", "what", subject->what, "suite",
				subject->suite, "measure", conduct_measure_name(subject->measure),
				"test", test, "p", json_figure(p));
	bool named = subject->b ? json_set(row, "a", json_string(subject->a)) &&
					  json_set(row, "b", json_string(subject->b))
				: json_set(row, "model", json_string(subject->a));

	if (named)
		return row;
	json_decref(row);
	return NULL;
}

/* A test of ranks, of pairs or of two samples, and the distance of the two distributions. */
static bool add_rows(const struct subject *subject, struct columns *columns, bool pairs,
		     json_t *rows)
{
	struct rank_test ranks, distance;
	size_t m = columns->count, n = pairs ? m : columns->count_b;

	if (m < VALUES_MIN || n < VALUES_MIN)
		return true;
	bool tested = pairs ? rank_test_paired(columns->a, columns->b, m, &ranks)
			    : rank_test_unpaired(columns->a, m, columns->b, n, &ranks);
	if (!tested || !rank_test_distance(columns->a, m, columns->b, n, &distance))
		return false;
	json_t *both[2] = {row_of(subject, pairs ? "wilcoxon" : "mann-whitney", ranks.p),
			   row_of(subject, "kolmogorov-smirnov", distance.p)};
	double medians[2] = {rank_median(columns->a, m), rank_median(columns->b, n)};
	bool done = true;
	for (int i = 0; i < 2; i++)
		done &= json_set(both[i], "n_a", json_integer((json_int_t)m)) &&
			json_set(both[i], "n_b", json_integer((json_int_t)n)) &&
			json_set(both[i], "median_a", json_figure(medians[0])) &&
			json_set(both[i], "median_b", json_figure(medians[1])) &&
			json_set(both[i], "statistic",
				 json_figure(i ? distance.statistic : ranks.statistic));
	for (int i = 0; i < 2; i++)
		done &= json_array_append_new(rows, both[i]) == 0;
	return done;
}

static bool compare_twins(const struct conduct *conduct, unsigned suite, unsigned model,
			  enum conduct_measure measure, json_t *rows)
{
	const struct suite *items = conduct->suites[suite].suite;
	struct subject subject = {.what = "twins",
				  .suite = conduct->suites[suite].name,
				  .a = conduct->models[model].name,
				  .measure = measure};
	struct means means;
	struct columns columns;
	size_t twin;
	bool done = means_of(conduct, suite, model, ARM_BOTH, measure, &means);

	done &= columns_make(means.items, &columns);
	for (size_t i = 0; done && i < means.items; i++)
		if (suite_twin(items, i, &twin))
			columns_add(&columns, means.values[i], means.values[twin]);
	done = done && add_rows(&subject, &columns, true, rows);
	columns_release(&columns);
	free(means.values);
	return done;
}

/* Two samples of means that belong to nothing in common. */
static bool compare_apart(const struct subject *subject, const struct means *a,
			  const struct means *b, json_t *rows)
{
	struct columns columns;
	bool done = columns_make(a->items + b->items, &columns);

	for (size_t i = 0; done && i < a->items; i++)
		if (!isnan(a->values[i]))
			columns.a[columns.count++] = a->values[i];
	for (size_t i = 0; done && i < b->items; i++)
		if (!isnan(b->values[i]))
			columns.b[columns.count_b++] = b->values[i];
	done = done && add_rows(subject, &columns, false, rows);
	columns_release(&columns);
	return done;
}

/* What is asked differs: only what should not hang on it is compared. */
static bool compare_decoys(const struct conduct *conduct, unsigned suite, unsigned decoys,
			   unsigned model, enum conduct_measure measure, json_t *rows)
{
	struct subject subject = {.what = "decoys",
				  .suite = conduct->suites[suite].name,
				  .a = conduct->models[model].name,
				  .measure = measure};
	struct means own = {0}, others = {0};
	bool done = means_of(conduct, suite, model, ARM_BOTH, measure, &own) &&
		    means_of(conduct, decoys, model, ARM_BOTH, measure, &others) &&
		    compare_apart(&subject, &own, &others, rows);

	free(own.values);
	free(others.values);
	return done;
}

static bool compare_blind(const struct conduct *conduct, unsigned suite, unsigned model,
			  enum conduct_measure measure, json_t *rows)
{
	struct subject subject = {.what = "blind",
				  .suite = conduct->suites[suite].name,
				  .a = conduct->models[model].name,
				  .measure = measure};
	struct means named = {0}, blind = {0};
	bool done = means_of(conduct, suite, model, ARM_NAMED, measure, &named) &&
		    means_of(conduct, suite, model, ARM_BLIND, measure, &blind) &&
		    compare_apart(&subject, &named, &blind, rows);

	free(named.values);
	free(blind.values);
	return done;
}

static bool compare_same(const struct conduct *conduct, unsigned suite,
			 const struct conduct_same *same, enum conduct_measure measure,
			 json_t *rows)
{
	struct subject subject = {.what = "same",
				  .suite = conduct->suites[suite].name,
				  .a = conduct->models[same->a].name,
				  .b = conduct->models[same->b].name,
				  .measure = measure};
	struct means a = {0}, b = {0};
	struct columns columns = {0};
	bool done = means_of(conduct, suite, same->a, ARM_BOTH, measure, &a) &&
		    means_of(conduct, suite, same->b, ARM_BOTH, measure, &b) &&
		    columns_make(a.items, &columns);

	for (size_t i = 0; done && i < a.items; i++)
		columns_add(&columns, a.values[i], b.values[i]);
	done = done && add_rows(&subject, &columns, true, rows);
	columns_release(&columns);
	free(a.values);
	free(b.values);
	return done;
}

static bool hangs_not_on_words(enum conduct_measure measure)
{
	return measure == CONDUCT_FIRST_TOKEN || measure == CONDUCT_SPEED;
}

enum err_code conduct_times(const struct conduct *conduct, json_t *rows, struct err *err)
{
	bool done = true;

	for (unsigned suite = 0; done && suite < conduct->suite_count; suite++) {
		const struct suite *items = conduct->suites[suite].suite;
		unsigned decoys;
		if (!items)
			continue;
		bool beside = conduct_beside_decoys(conduct, suite, &decoys);
		for (unsigned m = 0; m < CONDUCT_MEASURES; m++) {
			for (unsigned i = 0; suite_twin_count(items) && i < conduct->model_count;
			     i++)
				done = done && compare_twins(conduct, suite, i, m, rows);
			for (unsigned i = 0;
			     beside && hangs_not_on_words(m) && i < conduct->model_count; i++)
				done = done && compare_decoys(conduct, suite, decoys, i, m, rows);
			for (unsigned i = 0;
			     conduct->suites[suite].blind && i < conduct->model_count; i++)
				done = done && (!conduct->blind[i] ||
						compare_blind(conduct, suite, i, m, rows));
			for (unsigned i = 0; i < conduct->same_count; i++)
				done = done &&
				       compare_same(conduct, suite, &conduct->same[i], m, rows);
		}
	}
	return done ? ERR_OK : out_of_memory(err);
}

static bool has_row(const json_t *times, const char *a, const char *b)
{
	const json_t *row;
	size_t i;

	json_array_foreach((json_t *)times, i, row)
	{
		if (strcmp(json_text(row, "what"), "same") == 0 &&
		    strcmp(json_text(row, "a"), a) == 0 && strcmp(json_text(row, "b"), b) == 0)
			return true;
	}
	return false;
}

bool conduct_name_not_compared(const struct conduct *conduct, const json_t *times, json_t *pairs)
{
	bool done = true;

	for (unsigned i = 0; i < conduct->same_count; i++) {
		const char *a = conduct->models[conduct->same[i].a].name;
		const char *b = conduct->models[conduct->same[i].b].name;
		if (!has_row(times, a, b))
			done &= json_array_append_new(pairs,
						      json_pack("{s:s, s:s}", "a", a, "b", b)) == 0;
	}
	return done;
}
