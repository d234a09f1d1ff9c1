#include "grade/compare.h"

#include "base/json.h"
#include "grade/findings.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define ROOM 4000

struct table {
	struct run_score rows[ROOM];
	char items[ROOM][16];
	size_t count;
	struct comparisons found;
};

static struct run_score *add(struct table *table, const char *model, int item, double score)
{
	struct run_score *row = &table->rows[table->count];

	assert_true(table->count < ROOM);
	snprintf(table->items[table->count], sizeof(table->items[0]), "%d", item);
	*row = (struct run_score){.suite = "s",
				  .item = table->items[table->count++],
				  .model = model,
				  .scorer = "exact",
				  .score = score};
	return row;
}

static const struct compared *compare(struct table *table)
{
	comparisons_release(&table->found);
	assert_int_equal(compare_scores(table->rows, table->count, &table->found, NULL), ERR_OK);
	return table->found.items;
}

static void near(double got, double expected)
{
	if (!(fabs(got - expected) <= 1e-9))
		fail_msg("got %.12g, expected %.12g", got, expected);
}

static int setup(void **state)
{
	*state = calloc(1, sizeof(struct table));
	return *state ? 0 : -1;
}

static int teardown(void **state)
{
	struct table *table = *state;

	comparisons_release(&table->found);
	free(table);
	return 0;
}

/* Twenty items of 0 and 1: a passes 0-14, b 5-16: discordant 5 and 2. */
static void same_items_are_paired(void **state)
{
	struct table *table = *state;

	for (int i = 0; i < 20; i++) {
		add(table, "a", 19 - i, 19 - i < 15);
		add(table, "b", i, i >= 5 && i < 17);
	}
	const struct compared *pair = compare(table);
	assert_int_equal(table->found.count, 1);
	assert_int_equal(pair->way, COMPARE_PAIRED);
	assert_int_equal(pair->items, 20);
	near(pair->difference, 3.0 / 20);
	assert_true(pair->mcnemar);
	assert_int_equal(pair->only_a, 5);
	assert_int_equal(pair->only_b, 2);
	near(pair->p, statistics_mcnemar(5, 2));
	near(pair->adjusted, pair->p);
	/* sd of d: sum d^2 = 7, mean .15 */
	double error = sqrt((7 - 20 * .15 * .15) / 19 / 20);
	near(pair->interval.low, statistics_tango(5, 2, 20, 0.95).low);
	near(pair->interval.high, statistics_tango(5, 2, 20, 0.95).high);
	near(pair->detectable,
	     error * (statistics_normal_quantile(0.975) + statistics_normal_quantile(0.8)));
}

/* Few items, and far apart: no interval leaves what a difference of fractions can be. */
static void no_interval_leaves_its_range(void **state)
{
	struct table *table = *state;

	for (int i = 0; i < 4; i++) {
		add(table, "a", i, i < 4);
		add(table, "b", i, 0);
		add(table, "c", 100 + i, i < 3);
		add(table, "d", i, i == 3 ? 0.5 : 0);
	}
	const struct compared *pairs = compare(table);
	assert_int_equal(table->found.count, 6);
	for (size_t i = 0; i < 6; i++) {
		assert_true(pairs[i].interval.low >= -1 && pairs[i].interval.high <= 1);
		assert_true(pairs[i].interval.low <= pairs[i].difference &&
			    pairs[i].difference <= pairs[i].interval.high);
	}
	/* a and b: all four discordant, Wilson's interval of 4 in 4, doubled, less one. */
	assert_true(pairs[0].mcnemar);
	near(pairs[0].interval.low, 2 * statistics_wilson(4, 4, 0.95).low - 1);
	near(pairs[0].interval.high, 1);
	/* a and c share no item: t, and cut. */
	assert_int_equal(pairs[1].way, COMPARE_UNPAIRED);
	near(pairs[1].interval.high, 1);
}

/* Failures count 0; had b's alone passed, the difference is smaller, had a's, larger. */
static void failures_widen_the_bounds(void **state)
{
	struct table *table = *state;

	for (int i = 0; i < 10; i++) {
		add(table, "a", i, 1)->failed = i < 2;
		add(table, "b", i, 1)->failed = i >= 7;
	}
	const struct compared *pair = compare(table);
	near(pair->value_a, 0.8);
	near(pair->value_b, 0.7);
	near(pair->bounds.low, 0.1 - 0.3);
	near(pair->bounds.high, 0.1 + 0.2);
	assert_int_equal(pair->failed_a, 2);
}

static void other_items_are_not_paired(void **state)
{
	struct table *table = *state;

	for (int i = 0; i < 10; i++) {
		add(table, "a", i, i % 2);
		add(table, "b", 100 + i, i % 5 == 0);
	}
	const struct compared *pair = compare(table);
	assert_int_equal(pair->way, COMPARE_UNPAIRED);
	assert_int_equal(pair->items, 0);
	assert_false(pair->mcnemar);
	double va = .25 / 9, vb = .16 / 9;
	near(pair->difference, 0.3);
	double freedom = (va + vb) * (va + vb) / (va * va / 9 + vb * vb / 9);
	near(pair->interval.low, 0.3 - statistics_t_quantile(0.975, freedom) * sqrt(va + vb));
}

/* Samples are averaged, clusters shared: no McNemar, fewer clusters. */
static void samples_and_clusters(void **state)
{
	static const char *const clusters[] = {"x", "y", "z"};
	struct table *table = *state;

	for (int i = 0; i < 9; i++)
		for (int k = 0; k < 2; k++) {
			add(table, "a", i, k)->cluster = clusters[i % 3];
			add(table, "b", i, i % 2)->cluster = clusters[i % 3];
		}
	const struct compared *pair = compare(table);
	assert_int_equal(pair->items, 9);
	assert_int_equal(pair->clusters, 3);
	assert_int_equal(pair->samples_a, 18);
	assert_false(pair->mcnemar);
	near(pair->value_a, 0.5);
	near(pair->within_a, 0.5);
	near(pair->within_b, 0);
}

/* Models that never differed: an interval all the same. */
static void no_difference_is_not_certainty(void **state)
{
	struct table *table = *state;

	for (int i = 0; i < 50; i++) {
		add(table, "a", i, i % 2);
		add(table, "b", i, i % 2);
	}
	const struct compared *pair = compare(table);
	near(pair->difference, 0);
	near(pair->p, 1);
	near(pair->interval.high, statistics_wilson(0, 50, 0.95).high);
	assert_true(pair->interval.low < 0 && pair->detectable > 0);
}

static void judge(struct table *table, int item, const char *model, const char *opponent,
		  double score)
{
	struct run_score *row = add(table, model, item, score);

	row->opponent = opponent;
	row->scorer = "pairwise";
	row->judge = "j";
}

/* Against each other, or by way of a baseline that both met; a control counts for nothing. */
static void writers_are_compared_by_whom_they_met(void **state)
{
	struct table *table = *state;

	for (int i = 0; i < 12; i++) {
		judge(table, i, "a", "base", i % 4 != 0);
		judge(table, i, "b", "base", i % 4 == 0);
		judge(table, i, "control:empty", "base", 0);
	}
	const struct compared *pairs = compare(table);
	assert_int_equal(table->found.count, 3);
	assert_int_equal(pairs[0].way, COMPARE_DIRECT); /* a and base */
	near(pairs[0].difference, 0.75 - 0.25);
	assert_string_equal(pairs[1].b, "b"); /* by way of base */
	assert_int_equal(pairs[1].way, COMPARE_PAIRED);
	near(pairs[1].difference, 0.5);
	assert_string_equal(pairs[2].a, "base");
	near(pairs[2].difference, 0.75 - 0.25);
}

/* Holm over all three, and the ranks that are left. */
static void ranks_have_intervals(void **state)
{
	struct table *table = *state;

	for (int i = 0; i < 40; i++) {
		add(table, "good", i, i < 36);
		add(table, "fair", i, i < 34);
		add(table, "poor", i, i < 10);
	}
	const struct compared *pairs = compare(table);
	assert_int_equal(table->found.rank_count, 3);
	const struct ranked_model *good = table->found.ranks, *fair = good + 1, *poor = good + 2;
	assert_int_equal(good->rank, 1);
	assert_int_equal(good->high, 2);
	assert_int_equal(fair->rank, 2);
	assert_int_equal(fair->low, 1);
	assert_int_equal(fair->high, 2);
	assert_int_equal(poor->rank, 3);
	assert_int_equal(poor->low, 3);
	double smallest = fmin(pairs[0].p, fmin(pairs[1].p, pairs[2].p));
	near(pairs[1].p, smallest);
	near(pairs[1].adjusted, 3 * smallest);
}

static void a_changed_number_is_named(void **state)
{
	struct table *table = *state;
	json_t *found;
	struct err err = ERR_INIT;

	for (int i = 0; i < 10; i++) {
		add(table, "a", i, i % 2);
		add(table, "b", i, i % 3 == 0);
	}
	assert_int_equal(findings_make(table->rows, table->count, &found, NULL), ERR_OK);
	json_t *summary = json_deep_copy(found);
	assert_int_equal(findings_compare(found, summary, &err), ERR_OK);
	json_t *pair = json_array_get(json_object_get(summary, "comparisons"), 0);
	json_object_set_new(pair, "p_holm", json_real(0.001));
	assert_int_equal(findings_compare(found, summary, &err), ERR_MISMATCH);
	assert_non_null(strstr(err.message, "comparisons[0].p_holm"));
	json_object_set_new(pair, "extra", json_true());
	assert_int_equal(findings_compare(found, summary, &err), ERR_MISMATCH);
	json_array_clear(json_object_get(summary, "comparisons"));
	assert_int_equal(findings_compare(found, summary, &err), ERR_MISMATCH);
	/* What is not published is no lie. */
	json_object_del(summary, "comparisons");
	assert_int_equal(findings_compare(found, summary, &err), ERR_OK);
	json_decref(summary);
	json_decref(found);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(same_items_are_paired),
		CASE(no_interval_leaves_its_range),
		CASE(failures_widen_the_bounds),
		CASE(other_items_are_not_paired),
		CASE(samples_and_clusters),
		CASE(no_difference_is_not_certainty),
		CASE(writers_are_compared_by_whom_they_met),
		CASE(ranks_have_intervals),
		CASE(a_changed_number_is_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
