#include "grade/bradley_terry.h"

#include "data.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void near(double got, double expected, double within)
{
	if (!(fabs(got - expected) <= within))
		fail_msg("got %.12g, expected %.12g", got, expected);
}

/* For two players the strength is the log odds, and its error the familiar one. */
static void two_players(void **state)
{
	(void)state;
	struct comparison comparisons[100];
	struct strength out[2];
	struct err err = ERR_INIT;

	for (size_t i = 0; i < 100; i++)
		comparisons[i] = (struct comparison){0, 1, i < 75 ? 1 : 0, i};
	assert_int_equal(bradley_terry_fit(comparisons, 100, 2, 1, out, &err), ERR_OK);
	near(out[0].value, log(3), 1e-4);
	near(out[0].standard_error, 1 / sqrt(100 * .75 * .25) * sqrt(100.0 / 99), 1e-5);
	near(out[0].high - out[0].low, 2 * 1.959963985 * out[0].standard_error, 1e-9);
	assert_true(out[1].value == 0 && out[1].standard_error == 0);
	assert_false(out[0].separated);

	/* Mean zero splits the difference. */
	assert_int_equal(bradley_terry_fit(comparisons, 100, 2, BRADLEY_TERRY_MEAN_ZERO, out, &err),
			 ERR_OK);
	near(out[0].value, log(3) / 2, 1e-4);
	near(out[1].value, -log(3) / 2, 1e-4);
}

/* Ten equal rows of one prompt are one observation. */
static void clusters_widen_the_interval(void **state)
{
	(void)state;
	struct comparison rows[200];
	struct strength apart[2], together[2];
	struct err err = ERR_INIT;

	for (size_t i = 0; i < 200; i++)
		rows[i] = (struct comparison){0, 1, (i / 10) % 3 ? 1 : 0, i};
	assert_int_equal(bradley_terry_fit(rows, 200, 2, 1, apart, &err), ERR_OK);
	for (size_t i = 0; i < 200; i++)
		rows[i].cluster = i / 10;
	assert_int_equal(bradley_terry_fit(rows, 200, 2, 1, together, &err), ERR_OK);
	near(together[0].value, apart[0].value, 1e-9);
	near(together[0].standard_error / apart[0].standard_error,
	     sqrt(10) * sqrt(20.0 / 19 / (200.0 / 199)), 1e-6);
}

static void ties_are_half_wins(void **state)
{
	(void)state;
	const struct comparison ties[] = {
		{0, 1, .5, 0},
                {1, 2, .5, 1},
                {2, 0, .5, 2}
        };
	struct strength out[3];
	struct err err = ERR_INIT;

	assert_int_equal(bradley_terry_fit(ties, 3, 3, 0, out, &err), ERR_OK);
	for (int i = 0; i < 3; i++)
		near(out[i].value, 0, 1e-9);
}

/* `wins` times a beat b, each in a cluster of its own. Returns the new count. */
static size_t add_wins(struct comparison *rows, size_t count, unsigned a, unsigned b, size_t wins)
{
	for (size_t i = 0; i < wins; i++, count++)
		rows[count] = (struct comparison){a, b, 1, count};
	return count;
}

/* With the pseudo-tie 34.5 of 35: the log odds, with the binomial information 35 p (1 - p). */
static void all_wins_have_a_wide_interval(void **state)
{
	(void)state;
	struct comparison rows[34];
	struct strength out[2];
	struct err err = ERR_INIT;
	size_t count = add_wins(rows, 0, 0, 1, 34);

	assert_int_equal(bradley_terry_fit(rows, count, 2, 1, out, &err), ERR_OK);
	assert_true(out[0].separated && out[1].separated);
	near(out[0].value, log(34.5 / 0.5), 1e-3);
	near(out[0].standard_error, 1 / sqrt(34.5 * 0.5 / 35), 1e-3);
	near(out[0].low, 1.44, 0.01);
	near(out[0].high, 7.03, 0.01);
	assert_true(out[1].value == 0 && out[1].standard_error == 0);

	/* The same from the other side, and how rows are clustered does not narrow it. */
	double error = out[0].standard_error;
	for (size_t i = 0; i < count; i++)
		rows[i].cluster = 0;
	assert_int_equal(bradley_terry_fit(rows, count, 2, 0, out, &err), ERR_OK);
	near(out[1].value, -log(34.5 / 0.5), 1e-3);
	near(out[1].standard_error, error, 1e-9);
}

/* Two equal players beat a third always. Variances are resistances of the network whose
 * conductances are the pairs' information. */
static void dominated_group(void **state)
{
	(void)state;
	struct comparison rows[30];
	struct strength out[3];
	struct err err = ERR_INIT;
	size_t count = add_wins(rows, 0, 0, 1, 5);
	double even = 11 * 0.25, one_sided = 10.5 * 0.5 / 11;

	count = add_wins(rows, count, 1, 0, 5);
	count = add_wins(rows, count, 0, 2, 10);
	count = add_wins(rows, count, 1, 2, 10);
	assert_int_equal(bradley_terry_fit(rows, count, 3, 2, out, &err), ERR_OK);
	for (int i = 0; i < 3; i++)
		assert_true(out[i].separated);
	near(out[0].value, log(21), 1e-3);
	near(out[1].value, log(21), 1e-3);
	near(out[0].standard_error, 1 / sqrt(one_sided + 1 / (1 / even + 1 / one_sided)), 1e-3);

	/* The same from the winners' side: between them the interval stays narrow. */
	assert_int_equal(bradley_terry_fit(rows, count, 3, 1, out, &err), ERR_OK);
	near(out[0].value, 0, 1e-9);
	near(out[0].standard_error, 1 / sqrt(even + one_sided / 2), 1e-3);
	near(out[2].value, -log(21), 1e-3);
}

/* The pseudo-ties are for pairs that met only: a chain's strengths and variances add up. */
static void pairs_that_never_met_get_no_tie(void **state)
{
	(void)state;
	struct comparison rows[20];
	struct strength out[3];
	struct err err = ERR_INIT;
	size_t count = add_wins(rows, 0, 0, 1, 10);

	count = add_wins(rows, count, 1, 2, 10);
	assert_int_equal(bradley_terry_fit(rows, count, 3, 2, out, &err), ERR_OK);
	assert_true(out[0].separated);
	near(out[0].value, 2 * log(21), 2e-3);
	near(out[1].value, log(21), 2e-3);
	near(out[0].standard_error, sqrt(2 / (10.5 * 0.5 / 11)), 2e-3);
}

/* One tie, or a circle of wins, and the estimate exists: nothing is added. */
static void ties_and_circles_connect(void **state)
{
	(void)state;
	struct comparison rows[32];
	struct strength out[3];
	struct err err = ERR_INIT;
	size_t count = add_wins(rows, 0, 0, 1, 30);

	rows[count++] = (struct comparison){1, 0, 0.5, 30};
	assert_int_equal(bradley_terry_fit(rows, count, 2, 1, out, &err), ERR_OK);
	assert_false(out[0].separated || out[1].separated);
	near(out[0].value, log(30.5 / 0.5), 1e-3);

	count = add_wins(rows, 0, 0, 1, 4);
	count = add_wins(rows, count, 1, 2, 4);
	assert_int_equal(bradley_terry_fit(rows, count, 3, 2, out, &err), ERR_OK);
	assert_true(out[0].separated);
	count = add_wins(rows, count, 2, 0, 4);
	assert_int_equal(bradley_terry_fit(rows, count, 3, 2, out, &err), ERR_OK);
	for (int i = 0; i < 3; i++) {
		assert_false(out[i].separated);
		near(out[i].value, 0, 1e-9);
	}
}

static void what_cannot_be_fitted(void **state)
{
	(void)state;
	const struct comparison split[] = {
		{0, 1, 1, 0},
                {2, 3, 1, 1}
        };
	struct strength out[4];
	struct err err = ERR_INIT;

	assert_int_equal(bradley_terry_fit(split, 2, 4, 0, out, &err), ERR_INVALID);
	assert_non_null(strstr(err.message, "connect"));
	assert_int_equal(bradley_terry_fit(split, 0, 4, 0, out, &err), ERR_INVALID);
}

/* 603 rankings by professional writers, three pairs each; published: 1.529, 0.787, 0. */
static void experts_rankings(void **state)
{
	(void)state;
	static const char *const kinds[] = {"Human-edited", "AI-edited", "AI-generated"};
	json_t *rankings = data_load("lamp_preferences/rankings.jsonl"), *ranking;
	struct err err = ERR_INIT;
	struct strength out[3];
	size_t index, count = 0;

	if (!rankings) {
		print_message("SKIP: no reference data\n");
		skip();
	}
	struct comparison *rows = calloc(3 * json_array_size(rankings), sizeof(*rows));
	assert_non_null(rows);
	json_array_foreach(rankings, index, ranking)
	{
		const json_t *order = json_object_get(ranking, "order");
		unsigned place[3] = {9, 9, 9};

		for (unsigned at = 0; at < 3; at++)
			for (unsigned kind = 0; kind < 3; kind++)
				if (strcmp(json_string_value(json_array_get(order, at)),
					   kinds[kind]) == 0)
					place[kind] = at;
		for (unsigned a = 0; a < 3; a++)
			for (unsigned b = a + 1; b < 3; b++)
				rows[count++] =
					(struct comparison){a, b, place[a] < place[b], index / 3};
	}
	assert_int_equal(json_array_size(rankings), 603);
	assert_int_equal(bradley_terry_fit(rows, count, 3, 2, out, &err), ERR_OK);
	near(out[0].value, 1.529, 5e-4);
	near(out[1].value, 0.787, 5e-4);
	assert_true(out[2].value == 0);
	assert_false(out[0].separated);
	free(rows);
	json_decref(rankings);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(two_players),
		cmocka_unit_test(clusters_widen_the_interval),
		cmocka_unit_test(ties_are_half_wins),
		cmocka_unit_test(all_wins_have_a_wide_interval),
		cmocka_unit_test(dominated_group),
		cmocka_unit_test(pairs_that_never_met_get_no_tie),
		cmocka_unit_test(ties_and_circles_connect),
		cmocka_unit_test(what_cannot_be_fitted),
		cmocka_unit_test(experts_rankings),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
