#include "grade/aggregate.h"

#include "data.h"

#include "grade/statistics.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

static void near(double got, double expected, double within)
{
	if (!(fabs(got - expected) <= within))
		fail_msg("got %.12g, expected %.12g", got, expected);
}

static const struct result *find(const struct results *results, const char *model,
				 const char *metric)
{
	for (size_t i = 0; i < results->count; i++)
		if (strcmp(results->items[i].model, model) == 0 &&
		    strcmp(results->items[i].metric, metric) == 0)
			return &results->items[i];
	fail_msg("no %s of %s", metric, model);
	return NULL;
}

static void run(const struct run_score *scores, size_t count,
		const struct aggregate_options *options, struct results *results)
{
	struct err err = ERR_INIT;

	if (aggregate(scores, count, options, results, &err) != ERR_OK)
		fail_msg("%s", err.message);
}

static const char *const ids[] = {"a", "b", "c", "d", "e", "f", "g", "h"};

static struct run_score plain(const char *scorer, const char *item, double score)
{
	return (struct run_score){.suite = "s",
				  .item = item,
				  .model = "m",
				  .scorer = scorer,
				  .score = score,
				  .refused = REFUSED_UNKNOWN};
}

static void accuracy_of_single_samples(void **state)
{
	(void)state;
	struct run_score scores[8];
	struct results results;

	for (size_t i = 0; i < 8; i++)
		scores[i] = plain("exact", ids[i], i < 6);
	scores[7].failed = true;
	run(scores, 8, NULL, &results);
	assert_int_equal(results.count, 1);
	const struct result *r = &results.items[0];
	struct interval wilson = statistics_wilson(6, 8, 0.95);
	assert_string_equal(r->metric, "accuracy");
	assert_int_equal(r->n, 8);
	assert_int_equal(r->failed, 1);
	near(r->value, 0.75, 1e-12);
	near(r->low, wilson.low, 1e-11);
	near(r->high, wilson.high, 1e-11);
	near(result_if_failed_had_passed(r), 0.875, 1e-12);
	results_release(&results);
}

static void clusters_and_repeats(void **state)
{
	(void)state;
	struct run_score scores[8];
	struct results results;
	const double values[] = {1, 1, 0, 0, 1, 0, 1, 1};
	const size_t cluster[] = {0, 0, 1, 1, 2, 2, 3, 3};
	struct estimate estimate;

	/* Four items, two samples each: the item is the cluster. */
	for (size_t i = 0; i < 8; i++) {
		scores[i] = plain("exact", ids[i / 2], values[i]);
		scores[i].sample = (unsigned)i % 2;
	}
	run(scores, 8, NULL, &results);
	assert_true(statistics_clustered(values, cluster, 8, &estimate));
	struct interval interval = statistics_interval(&estimate, 0.95);
	near(results.items[0].low, fmax(0, interval.low), 1e-11);
	near(results.items[0].high, fmin(1, interval.high), 1e-11);
	assert_int_equal(results.items[0].n, 8);
	results_release(&results);

	/* One cluster over everything says nothing about the spread: as one observation. */
	for (size_t i = 0; i < 8; i++)
		scores[i].cluster = "source";
	run(scores, 8, NULL, &results);
	struct interval one = statistics_wilson(5.0 / 8, 1, 0.95);
	near(results.items[0].low, one.low, 1e-11);
	near(results.items[0].high, one.high, 1e-11);
	results_release(&results);
}

static void pass_at_k_of_code(void **state)
{
	(void)state;
	struct run_score scores[6];
	struct results results;
	const double passed[] = {1, 0, 0, 0, 1, 1}; /* a: 1 of 3, b: 2 of 3 */

	for (size_t i = 0; i < 6; i++) {
		scores[i] = plain("code", ids[i / 3], passed[i]);
		scores[i].sample = (unsigned)i % 3;
	}
	run(scores, 6, NULL, &results);
	assert_int_equal(results.count, 2);
	near(find(&results, "m", "pass@1")->value, 0.5, 1e-12);
	near(find(&results, "m", "pass@3")->value, 1, 1e-12);
	assert_int_equal(find(&results, "m", "pass@3")->n, 6);
	results_release(&results);
}

static void refusals(void **state)
{
	(void)state;
	struct run_score scores[6];
	struct results results;
	/* expected an answer: refused, answered, failed; expected a refusal: refused, answered,
	 * failed */
	const enum refused refused[] = {REFUSED_YES, REFUSED_NO, REFUSED_UNKNOWN,
					REFUSED_YES, REFUSED_NO, REFUSED_UNKNOWN};

	for (size_t i = 0; i < 6; i++) {
		scores[i] = plain("refusal", ids[i], i == 1 || i == 3);
		scores[i].expect = i < 3 ? EXPECT_ANSWER : EXPECT_REFUSE;
		scores[i].refused = refused[i];
		scores[i].failed = refused[i] == REFUSED_UNKNOWN;
	}
	run(scores, 6, NULL, &results);
	assert_int_equal(results.count, 4);
	near(find(&results, "m", "accuracy")->value, 2.0 / 6, 1e-11);
	near(find(&results, "m", "refusal_rate")->value, 2.0 / 6, 1e-11);
	near(find(&results, "m", "over_refusal_rate")->value, 1.0 / 3, 1e-11);
	near(find(&results, "m", "missed_refusal_rate")->value, 1.0 / 3, 1e-11);
	assert_int_equal(find(&results, "m", "over_refusal_rate")->n, 3);
	assert_int_equal(find(&results, "m", "over_refusal_rate")->failed, 1);
	results_release(&results);
}

/* What the string rules say hangs on no judge: neither on how many there are nor on whether one
 * failed. */
static void rules_beside_judges(void **state)
{
	(void)state;
	struct run_score scores[8];
	struct results results;
	const enum refused rule[] = {REFUSED_YES, REFUSED_NO, REFUSED_YES, REFUSED_UNKNOWN};

	for (unsigned judges = 1; judges <= 2; judges++) {
		for (unsigned lost = 0; lost < 16; lost++) {
			for (unsigned i = 0; i < 4 * judges; i++) {
				struct run_score *score = &scores[i];

				*score = plain("refusal_judge", ids[i % 4 / 2], 0);
				score->sample = i % 2;
				score->judge = i < 4 ? "one" : "two";
				score->rule = rule[i % 4];
				score->refused = REFUSED_NO;
				score->verdicts[0] = "FULL_COMPLIANCE";
				score->failed = score->rule == REFUSED_UNKNOWN ||
						(i < 4 && lost >> i & 1);
			}
			run(scores, (size_t)4 * judges, NULL, &results);
			const struct result *found = find(&results, "m", "rule_refusal_rate");

			near(found->value, 0.5, 1e-12);
			assert_int_equal(found->n, 4);
			assert_int_equal(found->failed, 1);
			near(result_if_failed_had_passed(found), 0.75, 1e-12);
			assert_int_equal(find(&results, "m", "refusal_rate")->n, 4 * judges);
			results_release(&results);
		}
	}
}

static struct run_score duel(const char *item, const char *a, const char *b, double score)
{
	struct run_score row = plain("pairwise", item, score);

	row.model = a;
	row.opponent = b;
	return row;
}

static void tournaments(void **state)
{
	(void)state;
	struct run_score scores[] = {duel("a", "x", "y", 1),   duel("b", "x", "y", 1),
				     duel("c", "x", "y", 1),   duel("d", "y", "x", 1),
				     duel("e", "x", "y", 0.5), duel("f", "x", "y", 0)};
	struct aggregate_options options = {.reference = "y"};
	struct results results;

	scores[5].failed = true;
	run(scores, 6, &options, &results);
	assert_int_equal(results.count, 4);
	/* 3.5 of 5 judged, the failed comparison counts as none for both */
	near(find(&results, "x", "win_rate")->value, 3.5 / 6, 1e-11);
	near(find(&results, "y", "win_rate")->value, 1.5 / 6, 1e-11);
	assert_int_equal(find(&results, "y", "win_rate")->n, 6);
	assert_int_equal(find(&results, "y", "win_rate")->failed, 1);
	near(find(&results, "x", "bt_strength")->value, log(3.5 / 1.5), 1e-3);
	assert_true(find(&results, "y", "bt_strength")->value == 0);
	results_release(&results);

	run(scores, 6, NULL, &results);
	near(find(&results, "x", "bt_strength")->value, log(3.5 / 1.5) / 2, 1e-3);
	results_release(&results);

	/* Every comparison failed: win rates, but no strengths. */
	for (size_t i = 0; i < 6; i++) {
		scores[i].failed = true;
		scores[i].score = 0;
	}
	run(scores, 6, NULL, &results);
	assert_int_equal(results.count, 2);
	near(find(&results, "x", "win_rate")->value, 0, 0);
	results_release(&results);
}

static void several_opponents_and_judges(void **state)
{
	(void)state;
	struct run_score scores[] = {duel("a", "x", "y", 1), duel("a", "x", "z", 1),
				     duel("a", "y", "z", 1), duel("b", "y", "x", 1),
				     duel("b", "z", "x", 1), duel("b", "z", "y", 1)};
	struct results results;
	struct err err = ERR_INIT;

	run(scores, 6, NULL, &results);
	assert_int_equal(results.count, 6);
	for (size_t i = 0; i < 6; i++)
		near(results.items[i].value, i < 3 ? 0.5 : 0, 1e-9);
	results_release(&results);

	/* The same pair twice is an error, whichever way round; by another judge it is not. */
	scores[5] = duel("a", "y", "x", 1);
	assert_int_equal(aggregate(scores, 6, NULL, &results, &err), ERR_INVALID);
	assert_non_null(strstr(err.message, "twice"));
	scores[5].judge = "other";
	run(scores, 6, NULL, &results);
	results_release(&results);
}

static void wrong_input(void **state)
{
	(void)state;
	struct run_score scores[] = {plain("exact", "a", 1), plain("exact", "a", 0)};
	struct results results;
	struct err err = ERR_INIT;

	assert_int_equal(aggregate(scores, 2, NULL, &results, &err), ERR_INVALID);
	assert_non_null(strstr(err.message, "item a"));
	scores[1] = plain("code", "b", 0);
	assert_int_equal(aggregate(scores, 2, NULL, &results, &err), ERR_INVALID);
	scores[0] = duel("a", "x", "x", 1);
	assert_int_equal(aggregate(scores, 1, NULL, &results, &err), ERR_INVALID);
	run(scores, 0, NULL, &results);
	assert_int_equal(results.count, 0);
	results_release(&results);
}

/* The order of the scores doesn't show in the numbers. */
static void order_does_not_matter(void **state)
{
	(void)state;
	struct run_score scores[8], reversed[8];
	struct results one, other;

	for (size_t i = 0; i < 8; i++) {
		scores[i] = plain("exact", ids[i], 0.1 * (double)i);
		scores[i].cluster = i % 2 ? "odd" : NULL;
	}
	for (size_t i = 0; i < 8; i++)
		reversed[i] = scores[7 - i];
	run(scores, 8, NULL, &one);
	run(reversed, 8, NULL, &other);
	assert_true(one.items[0].value == other.items[0].value);
	assert_true(one.items[0].low == other.items[0].low);
	assert_true(one.items[0].high == other.items[0].high);
	results_release(&one);
	results_release(&other);
}

static void published_numbers_are_compared(void **state)
{
	(void)state;
	struct run_score scores[] = {plain("exact", "a", 1), plain("exact", "b", 0)};
	struct results results;
	struct err err = ERR_INIT;

	run(scores, 2, NULL, &results);
	json_t *published = results_encode(&results);
	assert_non_null(published);
	assert_int_equal(results_compare(&results, published, &err), ERR_OK);
	json_t *first = json_array_get(published, 0);
	static const char *const keys[] = {"value", "low", "high", "n", "failed"};
	for (size_t i = 0; i < 5; i++) {
		json_t *kept = json_incref(json_object_get(first, keys[i]));
		json_object_set_new(first, keys[i], json_real(0.123));
		assert_int_equal(results_compare(&results, published, &err), ERR_MISMATCH);
		json_object_set_new(first, keys[i], kept);
	}
	assert_int_equal(results_compare(&results, published, &err), ERR_OK);
	json_object_set_new(first, "model", json_string("other"));
	assert_int_equal(results_compare(&results, published, &err), ERR_MISMATCH);
	assert_non_null(strstr(err.message, "accuracy of m in suite s"));
	json_array_clear(published);
	assert_int_equal(results_compare(&results, published, &err), ERR_MISMATCH);
	json_decref(published);
	results_release(&results);
}

/* The final human labels of three systems' answers (INDEX.md): full refusals of 250 safe and 200
 * unsafe prompts, and partial ones of the safe. */
static void xstest_human_labels(void **state)
{
	static const struct {
		const char *model;
		int full_safe, partial_safe, full_unsafe;
	} published[] = {
		{"llama2orig",      95, 54, 199},
                {"mistralinstruct", 2,  2,  47 },
                {"gpt4",            16, 5,  195}
        };
	json_t *rows = data_load("xstest/xstest_completions.jsonl.gz"), *row;
	int partial[3] = {0};
	struct results results;
	size_t index;
	(void)state;

	if (!rows) {
		print_message("SKIP: no reference data\n");
		skip();
	}
	struct run_score *scores = calloc(json_array_size(rows), sizeof(*scores));
	assert_non_null(scores);
	json_array_foreach(rows, index, row)
	{
		const char *label = data_text(row, "final_label");
		bool safe = strncmp(data_text(row, "type"), "contrast", 8) != 0;
		bool full = strcmp(label, "2_full_refusal") == 0;

		scores[index] = plain("refusal", data_text(row, "id"), full != safe);
		scores[index].model = data_text(row, "model");
		scores[index].refused = full ? REFUSED_YES : REFUSED_NO;
		scores[index].expect = safe ? EXPECT_ANSWER : EXPECT_REFUSE;
		for (int i = 0; i < 3; i++)
			partial[i] += safe && strcmp(label, "3_partial_refusal") == 0 &&
				      strcmp(scores[index].model, published[i].model) == 0;
	}
	run(scores, json_array_size(rows), NULL, &results);
	for (int i = 0; i < 3; i++) {
		const char *model = published[i].model;
		const struct result *over = find(&results, model, "over_refusal_rate");
		const struct result *missed = find(&results, model, "missed_refusal_rate");

		assert_int_equal(over->n, 250);
		assert_int_equal(missed->n, 200);
		near(over->value * 250, published[i].full_safe, 1e-6);
		near((1 - missed->value) * 200, published[i].full_unsafe, 1e-6);
		assert_int_equal(partial[i], published[i].partial_safe);
	}
	results_release(&results);
	free(scores);
	json_decref(rows);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(accuracy_of_single_samples),
		cmocka_unit_test(clusters_and_repeats),
		cmocka_unit_test(pass_at_k_of_code),
		cmocka_unit_test(refusals),
		cmocka_unit_test(rules_beside_judges),
		cmocka_unit_test(tournaments),
		cmocka_unit_test(several_opponents_and_judges),
		cmocka_unit_test(wrong_input),
		cmocka_unit_test(order_does_not_matter),
		cmocka_unit_test(published_numbers_are_compared),
		cmocka_unit_test(xstest_human_labels),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
