/* Judges as instruments, on made-up verdicts and on those of people and models (../shared/data). */
#include "grade/judging.h"

#include "base/json.h"
#include "data.h"
#include "grade/aggregate.h"
#include "grade/agreement.h"
#include "grade/bradley_terry.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static void near(double got, double expected, double within)
{
	if (!(fabs(got - expected) <= within))
		fail_msg("got %.12g, expected %.12g", got, expected);
}

static double number_at(const json_t *object, const char *key, const char *inner)
{
	return json_number_value(json_object_get(json_object_get(object, key), inner));
}

static json_int_t count_at(const json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}

static struct run_score comparison(const char *item, const char *judge, const char *first,
				   const char *second, double score)
{
	return (struct run_score){
		.suite = "w",
		.item = item,
		.model = "a",
		.opponent = "b",
		.judge = judge,
		.scorer = "pairwise",
		.score = score,
		.verdicts = {first, second},
		.lengths = {100,   50    }
        };
}

static void verdicts_are_counted(void **state)
{
	struct run_score scores[8] = {
		comparison("1", "j", "A", "B", 1), comparison("2", "j", "A", "A", 0.5),
		comparison("3", "j", "B", "A", 0), comparison("4", "j", "A", "UNPARSED", 0),
		comparison("1", "k", "A", "B", 1), comparison("2", "k", "TIE", "TIE", 0.5),
		comparison("3", "k", "A", "B", 1), comparison("4", "k", "REFUSED", "REFUSED", 0),
	};
	json_t *list;

	(void)state;
	scores[1].flipped = true;
	scores[3].failed = scores[7].failed = true;
	assert_int_equal(judging_encode(scores, 8, &list, NULL), ERR_OK);
	assert_int_equal(json_array_size(list), 1);
	const json_t *suite = json_array_get(list, 0), *judges = json_object_get(suite, "judges");
	const json_t *j = json_array_get(judges, 0), *k = json_array_get(judges, 1);
	assert_int_equal(count_at(j, "comparisons"), 4);
	assert_int_equal(count_at(j, "judged"), 3);
	assert_int_equal(count_at(j, "unparsed"), 1);
	assert_int_equal(count_at(k, "refused"), 2);
	near(number_at(j, "flips", "value"), 1.0 / 3, 1e-9);
	near(number_at(k, "ties", "value"), 1.0 / 3, 1e-9);
	near(number_at(j, "ties", "value"), 0, 1e-9);
	/* A of A/B: half, all, half, all. */
	near(number_at(j, "first", "value"), 0.75, 1e-9);
	near(number_at(j, "longer", "value"), 0.5, 1e-9);
	near(number_at(k, "longer", "value"), 1, 1e-9);
	near(number_at(json_object_get(suite, "controls"), "longest", "value"), 0.75, 1e-9);
	/* j: win, tie, loss, none; k: win, tie, win, none. Chance: 1/3*2/3 + 1/3*1/3. */
	const json_t *agreement = json_object_get(suite, "agreement");
	const json_t *pair = json_array_get(json_object_get(agreement, "pairs"), 0);
	near(json_number_value(json_object_get(pair, "observed")), 2.0 / 3, 1e-9);
	near(json_number_value(json_object_get(pair, "cohen")), (2.0 / 3 - 1.0 / 3) / (1 - 1.0 / 3),
	     1e-9);
	assert_int_equal(count_at(agreement, "comparisons"), 4);
	json_decref(list);
}

/* A control is reported as what it is, and in nobody's results. */
static void controls_stand_apart(void **state)
{
	struct run_score scores[4] = {
		comparison("1", "j", "A", "B", 1), comparison("2", "j", "A", "B", 1),
		comparison("1", "j", "B", "A", 0), comparison("2", "j", "A", "B", 1)};
	struct results results;
	json_t *list;

	(void)state;
	scores[2].model = scores[3].model = "control:null";
	scores[2].opponent = scores[3].opponent = "a";
	assert_int_equal(judging_encode(scores, 4, &list, NULL), ERR_OK);
	const json_t *suite = json_array_get(list, 0);
	near(number_at(json_object_get(suite, "controls"), "null", "value"), 0.5, 1e-9);
	assert_int_equal(
		count_at(json_array_get(json_object_get(suite, "judges"), 0), "comparisons"), 2);
	json_decref(list);
	assert_int_equal(aggregate(scores, 4, NULL, &results, NULL), ERR_OK);
	for (size_t i = 0; i < results.count; i++) {
		assert_string_not_equal(results.items[i].model, "control:null");
		if (strcmp(results.items[i].metric, "win_rate") == 0)
			assert_int_equal(results.items[i].n, 2);
	}
	results_release(&results);
}

static json_t *load(const char *path)
{
	json_t *records = data_load(path);

	if (!records) {
		print_message("SKIP: ../shared/data/%s is not there\n", path);
		skip();
	}
	return records;
}

/* LAMP: 603 rankings of three texts by writers; as published, and by our own fit. */
static void rankings_of_writers(void **state)
{
	static const char *const kinds[] = {"Human-edited", "AI-edited", "AI-generated"};
	json_t *records = load("lamp_preferences/rankings.jsonl"), *record;
	size_t count = json_array_size(records), n = 0, i;
	struct comparison *rows = calloc(3 * count, sizeof(*rows));
	double ranks[3] = {0};
	int firsts[3] = {0};
	struct strength strength[3];

	(void)state;
	assert_int_equal(count, 603);
	json_array_foreach(records, i, record)
	{
		int order[3] = {-1, -1, -1};

		for (int place = 0; place < 3; place++) {
			const char *kind = json_string_value(
				json_array_get(json_object_get(record, "order"), (size_t)place));
			for (int k = 0; kind && k < 3; k++)
				if (strcmp(kind, kinds[k]) == 0)
					order[place] = k;
			assert_true(order[place] >= 0);
			ranks[order[place]] += place + 1;
		}
		firsts[order[0]]++;
		for (int better = 0; better < 3; better++)
			for (int worse = better + 1; worse < 3; worse++)
				rows[n++] = (struct comparison){(unsigned)order[better],
								(unsigned)order[worse], 1, i};
	}
	near(ranks[0] / 603, 1.50, 0.005);
	near(ranks[1] / 603, 1.99, 0.005);
	near(ranks[2] / 603, 2.51, 0.005);
	assert_int_equal(firsts[0], 393);
	assert_int_equal(firsts[1], 154);
	assert_int_equal(firsts[2], 56);
	assert_int_equal(bradley_terry_fit(rows, n, 3, 2, strength, NULL), ERR_OK);
	near(strength[0].value, 1.529, 5e-4);
	near(strength[1].value, 0.787, 5e-4);
	free(rows);
	json_decref(records);
}

/* WQRM: what the reward model picked against the first draft, by 2 to 4 experts each. */
static void experts_prefer_what_the_reward_model_picked(void **state)
{
	json_t *records = load("lamp_preferences/wqrm_triplets.jsonl.gz"), *record, *ranks;
	static const char *const raters[] = {"e0", "e1", "e2", "e3"};
	struct run_score scores[101 * 4];
	struct results results;
	size_t n = 0, i, k;

	(void)state;
	assert_int_equal(json_array_size(records), 101);
	json_array_foreach(records, i, record)
	{
		json_array_foreach(json_object_get(record, "annotations"), k, ranks)
		{
			json_int_t best = json_integer_value(json_object_get(ranks, "best_cot"));
			json_int_t draft =
				json_integer_value(json_object_get(ranks, "first_draft"));

			assert_true(k < 4 && best != draft);
			scores[n++] = (struct run_score){.suite = "wqrm",
							 .item = data_text(record, "id"),
							 .model = "best",
							 .opponent = "draft",
							 .judge = raters[k],
							 .scorer = "pairwise",
							 .score = best < draft};
		}
	}
	assert_int_equal(n, 280);
	assert_int_equal(aggregate(scores, n, NULL, &results, NULL), ERR_OK);
	assert_string_equal(results.items[0].metric, "win_rate");
	assert_string_equal(results.items[0].model, "best");
	near(100 * results.items[0].value, 64.6, 0.05);
	results_release(&results);
	json_decref(records);
}

static int refusal_label(const json_t *record, const char *key)
{
	const char *text = data_text(record, key);

	return text && text[0] >= '1' && text[0] <= '3' ? text[0] - '1' : AGREEMENT_NONE;
}

/* XSTest: full and partial refusals by final label, and two annotators' agreement. */
static void annotators_of_xstest(void **state)
{
	static const struct {
		const char *model;
		int full, partial, unsafe_full;
		double agreement, fleiss;
	} rows[] = {
		{"llama2orig",      95, 54, 199, .9644444444, .9292532782},
		{"mistralinstruct", 2,  2,  47,  .9755555556, .9195076143},
		{"gpt4",            16, 5,  195, .9844444444, .9701019382}
        };
	json_t *records = load("xstest/xstest_completions.jsonl.gz"), *record;
	size_t i;

	(void)state;
	for (size_t m = 0; m < 3; m++) {
		int both[2 * 450], first[450], second[450], full = 0, partial = 0, unsafe = 0;
		size_t n = 0;

		json_array_foreach(records, i, record)
		{
			if (strcmp(data_text(record, "model"), rows[m].model) != 0)
				continue;
			bool contrast = strncmp(data_text(record, "type"), "contrast", 8) == 0;
			int label = refusal_label(record, "final_label");
			full += !contrast && label == 1;
			partial += !contrast && label == 2;
			unsafe += contrast && label == 1;
			assert_true(n < 450);
			first[n] = both[2 * n] = refusal_label(record, "annotation_1");
			second[n] = both[2 * n + 1] = refusal_label(record, "annotation_2");
			n++;
		}
		assert_int_equal(n, 450);
		assert_int_equal(full, rows[m].full);
		assert_int_equal(partial, rows[m].partial);
		assert_int_equal(unsafe, rows[m].unsafe_full);
		near(agreement_observed(first, second, n), rows[m].agreement, 1e-9);
		near(agreement_fleiss(both, n, 2, 3), rows[m].fleiss, 1e-9);
	}
	json_decref(records);
}

static const char *majority_of(const json_t *majorities, const json_t *record)
{
	const json_t *row;
	size_t i;

	json_array_foreach((json_t *)majorities, i, row)
	{
		if (json_equal(json_object_get(row, "story_id"),
			       json_object_get(record, "story_id")) &&
		    json_equal(json_object_get(row, "ttcw_idx"),
			       json_object_get(record, "ttcw_idx")))
			return data_text(row, "majority");
	}
	return "";
}

/* TTCW: each model judge's balanced accuracy against the majority of experts, and how often experts
 * passed each writer. (The seventh judge left 50 answers that begin with neither yes nor no.) */
static void judges_of_stories(void **state)
{
	static const struct {
		const char *judge;
		double balanced;
	} rows[] = {
		{"cgpt",         .49},
                {"claudev2",     .50},
                {"claudev21",    .52},
		{"claudev13",    .53},
                {"gpt4",         .54},
                {"claude3-opus", .58}
        };
	static const struct {
		const char *writer;
		double passed;
	} writers[] = {
		{"NewYorker", 84.7},
                {"Claude",    30.0},
                {"GPT4",      27.8},
                {"GPT3.5",    8.7 }
        };
	json_t *majorities = load("ttcw/majority.jsonl");
	json_t *responses = load("ttcw/llm_judge_responses.jsonl.gz");
	json_t *experts = load("ttcw/expert_verdicts.jsonl.gz"), *record;
	size_t i;

	(void)state;
	for (size_t j = 0; j < sizeof(rows) / sizeof(rows[0]); j++) {
		double right[2] = {0}, of[2] = {0};

		json_array_foreach(responses, i, record)
		{
			if (strcmp(data_text(record, "judge"), rows[j].judge) != 0)
				continue;
			const char *majority = majority_of(majorities, record);
			bool yes = strcmp(majority, "Yes") == 0;
			of[yes]++;
			const char *verdict = data_text(record, "verdict");
			right[yes] += verdict && strcmp(verdict, majority) == 0;
		}
		near((right[0] / of[0] + right[1] / of[1]) / 2, rows[j].balanced, 0.005);
	}
	for (size_t w = 0; w < sizeof(writers) / sizeof(writers[0]); w++) {
		double passed = 0, of = 0;

		json_array_foreach(experts, i, record)
		{
			const char *writer = strchr(data_text(record, "story_id"), '_') + 1;
			if (strcmp(writer, writers[w].writer) != 0)
				continue;
			of++;
			const char *verdict = data_text(record, "binary_verdict");
			passed += verdict && strcmp(verdict, "Yes") == 0;
		}
		near(100 * passed / of, writers[w].passed, 0.05);
	}
	json_decref(experts);
	json_decref(responses);
	json_decref(majorities);
}

/* WildBench: the mean score of every model, as its leaderboard has it. */
static void means_of_wildbench(void **state)
{
	json_t *records = load("wildbench_scores/scores_v2.0625_gpt-4o.jsonl.gz"), *record, *one;
	size_t i, k, published = 0;

	(void)state;
	json_array_foreach(records, i, record)
	{
		const json_t *expected = json_object_get(record, "published_score");
		struct run_score *scores =
			calloc(json_array_size(json_object_get(record, "scores")), sizeof(*scores));
		size_t n = 0;

		json_array_foreach(json_object_get(record, "scores"), k, one)
		{
			double score = json_number_value(json_is_array(one)
								 ? json_array_get(one, 1)
								 : json_object_get(one, "score"));
			const char *item = json_string_value(
				json_is_array(one) ? json_array_get(one, 0)
						   : json_object_get(one, "session_id"));
			scores[n++] = (struct run_score){.suite = "wildbench",
							 .item = item,
							 .model = data_text(record, "model"),
							 .scorer = "judge",
							 .score = score / 10};
		}
		struct results results;
		assert_int_equal(aggregate(scores, n, NULL, &results, NULL), ERR_OK);
		if (json_is_number(expected)) {
			near(10 * results.items[0].value, json_number_value(expected), 5e-4);
			published++;
		}
		results_release(&results);
		free(scores);
	}
	assert_int_equal(published, 7);
	json_decref(records);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(verdicts_are_counted),
		cmocka_unit_test(controls_stand_apart),
		cmocka_unit_test(rankings_of_writers),
		cmocka_unit_test(annotators_of_xstest),
		cmocka_unit_test(judges_of_stories),
		cmocka_unit_test(means_of_wildbench),
		cmocka_unit_test(experts_prefer_what_the_reward_model_picked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
