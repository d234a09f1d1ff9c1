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
	assert_true(out[0].bounded);

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

static void shut_out_is_marked(void **state)
{
	(void)state;
	struct comparison rows[30];
	struct strength out[2];
	struct err err = ERR_INIT;

	for (size_t i = 0; i < 30; i++)
		rows[i] = (struct comparison){0, 1, 1, i};
	assert_int_equal(bradley_terry_fit(rows, 30, 2, 1, out, &err), ERR_OK);
	assert_false(out[0].bounded);
	assert_true(isfinite(out[0].value) && out[0].value > 5);
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
	free(rows);
	json_decref(rankings);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(two_players),
		cmocka_unit_test(clusters_widen_the_interval),
		cmocka_unit_test(ties_are_half_wins),
		cmocka_unit_test(shut_out_is_marked),
		cmocka_unit_test(what_cannot_be_fitted),
		cmocka_unit_test(experts_rankings),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
