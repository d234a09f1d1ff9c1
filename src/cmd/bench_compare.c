/* parley bench compare and parley bench power: what runs show, and what a run would have to be to
 * show it. */
#include "cmd/bench_compare.h"

#include "bench/comparison_table.h"
#include "cmd/cli.h"
#include "grade/confine.h"
#include "grade/statistics.h"
#include "suite/suite.h"
#include "verify/comparing.h"

#include <math.h>
#include <stdlib.h>

#define TABLE_MAX ((size_t)256 << 20)

/* ---- compare ---- */

static void print_runs(const json_t *found)
{
	const json_t *row, *name;
	size_t i, k;
	json_array_foreach(json_object_get(found, "runs"), i, row)
	{
		cli_print_safe(stdout, bytes_from(json_text(row, "path")));
		printf(" (%s, %lld scores):", json_text(row, "kind"),
		       (long long)json_integer_value(json_object_get(row, "scores")));
		json_array_foreach(json_object_get(row, "models"), k, name)
		{
			putchar(' ');
			cli_print_safe(stdout, bytes_from(json_string_value(name)));
		}
		putchar('\n');
	}
}

static int print_comparison(const json_t *found)
{
	struct buf table = BUF_INIT(TABLE_MAX);
	const json_t *text;
	size_t i;
	print_runs(found);
	comparison_table(json_object_get(found, "comparisons"), json_object_get(found, "ranks"),
			 SIZE_MAX, &table);
	bool failed = table.failed;
	fwrite(table.data, 1, table.size, stdout);
	buf_release(&table);
	json_array_foreach(json_object_get(found, "notes"), i, text)
	{
		cli_print_safe(stdout, bytes_from(json_string_value(text)));
		putchar('\n');
	}
	printf("Taken as it stands there: whether it holds is what parley verify says.\n");
	return failed ? 3 : 0;
}

int run_bench_compare(int argc, char **argv)
{
	bool json = false;
	const struct cli_option options[] = {
		{"json",    0, CLI_FLAG, &json, NULL, "the comparisons as JSON", 0, 0},
                {0}
        };
	const struct cli_command command = {"bench compare",
					    "DIR… [--json]",
					    "Holds the models of runs against each other, suite by "
					    "suite: every pair, with the\n"
					    "difference, its 95 % interval, an exact McNemar test "
					    "where items pass or fail (else\n"
					    "t), Holm's correction over all pairs, and the "
					    "smallest difference that so many items\n"
					    "could have shown. Paired where both have the items, "
					    "unpaired otherwise, and said.\n"
					    "DIR is the directory of a run, a bundle, or another "
					    "harness's log (Inspect, lm-eval,\n"
					    "promptfoo, AlpacaEval).",
					    options,
					    1,
					    COMPARING_RUNS_MAX};
	struct cli_arguments arguments;
	int status = cli_parse(&command, argc, argv, &arguments);
	if (status >= 0)
		return status;
	struct err err = ERR_INIT;
	json_t *found = NULL;
	struct env *env = env_os_new(1);
	if (!env)
		return 3;
	/* Whoever wrote what is compared may want more of the reader than a look. */
	enum err_code code = confine_to_reading(&err);
	if (code == ERR_OK)
		code = comparing_run(env, arguments.positional, arguments.count, &found, &err);
	status = 0;
	if (code != ERR_OK)
		status = cli_fail_given(&err);
	else if (json)
		cli_print_json(found);
	else
		status = print_comparison(found);
	json_decref(found);
	env_os_free(env);
	return status;
}

/* ---- power ---- */

/* Miller (2024), section 5: item means spread evenly over 0 to 1, independent between models. */
#define ASSUMED_OMEGA2 (1.0 / 9)
#define ASSUMED_SIGMA2 (1.0 / 6)

struct question {
	double difference, power, alpha;
	int64_t items, samples, pairs;
	const char *from, *suite;
	bool json;
};

/* What a pair of models would need: its variances. */
struct basis {
	const char *suite, *a, *b; /* "" where assumed */
	double omega2, sigma2_a, sigma2_b;
	size_t items;        /* of the run or suite; 0: unknown */
	bool assumed_within; /* one sample an item: what more would give is not known */
};

static json_t *number_or_null(double value)
{
	return isfinite(value) ? json_real(value) : json_null();
}

static json_t *answer(const struct question *question, const struct basis *basis)
{
	static const int counts[] = {1, 2, 4, 8};
	struct power power = {.alpha = question->alpha / (double)question->pairs,
			      .power = question->power,
			      .omega2 = basis->omega2,
			      .sigma2_a = basis->sigma2_a,
			      .sigma2_b = basis->sigma2_b,
			      .samples_a = (double)question->samples,
			      .samples_b = (double)question->samples};
	double items = question->items ? (double)question->items : (double)basis->items;
	json_t *row = json_pack("{s:s, s:s, s:s, s:f, s:f, s:f, s:I}", "suite", basis->suite, "a",
				basis->a, "b", basis->b, "omega2", basis->omega2, "sigma2_a",
				basis->sigma2_a, "sigma2_b", basis->sigma2_b, "samples",
				(json_int_t)question->samples);
	json_t *needed = json_array();
	if (items > 0) {
		json_set(row, "items", json_integer((json_int_t)items));
		json_set(row, "detectable",
			 number_or_null(statistics_detectable_difference(&power, items)));
	}
	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]) && question->difference > 0;
	     i++) {
		if (basis->assumed_within && counts[i] > 1)
			break;
		power.samples_a = power.samples_b = counts[i];
		double n = ceil(statistics_items_needed(&power, question->difference));
		json_array_append_new(
			needed, json_pack("{s:i, s:o}", "samples", counts[i], "items",
					  n < 1e15 ? json_integer((json_int_t)n) : json_null()));
	}
	json_set(row, "needed", needed);
	return row;
}

/* Every pair of a run: what was seen there. With one sample an item the two parts of the variance
 * cannot be told apart: all of it counts as between items. */
static enum err_code ask_run(struct env *env, const struct question *question, json_t *rows,
			     struct err *err)
{
	json_t *pairs, *pair;
	size_t i;
	ERR_TRY(comparing_variances(env, question->from, &pairs, err));
	json_array_foreach(pairs, i, pair)
	{
		double samples = json_number_value(json_object_get(pair, "samples"));
		double variance = json_number_value(json_object_get(pair, "variance"));
		struct basis basis = {
			.suite = json_text(pair, "suite"),
			.a = json_text(pair, "a"),
			.b = json_text(pair, "b"),
			.sigma2_a = json_number_value(json_object_get(pair, "within_a")),
			.sigma2_b = json_number_value(json_object_get(pair, "within_b")),
			.items = (size_t)json_integer_value(json_object_get(pair, "items")),
			.assumed_within = samples < 2,
		};
		if (question->suite && strcmp(question->suite, basis.suite) != 0)
			continue;
		basis.omega2 =
			samples < 2
				? variance
				: fmax(0, variance - (basis.sigma2_a + basis.sigma2_b) / samples);
		json_array_append_new(rows, answer(question, &basis));
	}
	json_decref(pairs);
	if (json_array_size(rows) == 0)
		return ERR_SET(err, ERR_USAGE, "%s has no two models to compare in suite %s",
			       question->from, question->suite ? question->suite : "any");
	return ERR_OK;
}

static enum err_code ask_suite(struct env *env, const struct question *question, json_t *rows,
			       struct err *err)
{
	struct basis basis = {.suite = "",
			      .a = "",
			      .b = "",
			      .omega2 = ASSUMED_OMEGA2,
			      .sigma2_a = ASSUMED_SIGMA2,
			      .sigma2_b = ASSUMED_SIGMA2};
	struct suite *suite = NULL;
	char path[4200];
	if (question->suite) {
		snprintf(path, sizeof(path), "%s%s", strchr(question->suite, '/') ? "" : "suites/",
			 question->suite);
		ERR_TRY(suite_load(env, path, &suite, err));
		basis.suite = suite_name(suite);
		basis.items = suite_count(suite);
	}
	json_array_append_new(rows, answer(question, &basis));
	suite_free(suite);
	return ERR_OK;
}

static void print_needed(const struct question *question, const json_t *row)
{
	const json_t *needed;
	size_t i;
	const char *suite = json_text(row, "suite"), *a = json_text(row, "a");
	if (*suite || *a) {
		cli_print_safe(stdout, bytes_from(suite));
		if (*a) {
			printf(": ");
			cli_print_safe(stdout, bytes_from(a));
			printf(" - ");
			cli_print_safe(stdout, bytes_from(json_text(row, "b")));
		}
		putchar('\n');
	}
	json_array_foreach(json_object_get(row, "needed"), i, needed)
	{
		int samples = (int)json_integer_value(json_object_get(needed, "samples"));
		printf("  %d sample%s of each item: %lld items show a difference of %.3g points\n",
		       samples, samples == 1 ? "" : "s",
		       (long long)json_integer_value(json_object_get(needed, "items")),
		       100 * question->difference);
	}
	if (json_object_get(row, "detectable"))
		printf("  %lld items, %lld sample%s each: no difference below %.3g points shows\n",
		       (long long)json_integer_value(json_object_get(row, "items")),
		       (long long)question->samples, question->samples == 1 ? "" : "s",
		       100 * json_number_value(json_object_get(row, "detectable")));
}

static int print_power(const struct question *question, const json_t *rows)
{
	const json_t *row;
	size_t i;
	printf("With %.0f %% power at %.3g significance%s, models answering the same items:\n",
	       100 * question->power, question->alpha,
	       question->pairs > 1 ? ", divided by the comparisons" : "");
	json_array_foreach(rows, i, row) print_needed(question, row);
	if (!question->from)
		printf("Assumed: items spread evenly from never to always passed (variances 1/9 "
		       "and "
		       "1/6);\n--from DIR takes them from a run, which mostly needs fewer.\n");
	return 0;
}

static int power_run(const struct question *question)
{
	struct err err = ERR_INIT;
	json_t *rows = json_array();
	struct env *env = env_os_new(1);
	if (!env || !rows)
		return 3;
	enum err_code code = question->from ? ask_run(env, question, rows, &err)
					    : ask_suite(env, question, rows, &err);
	int status = 0;
	if (code != ERR_OK) {
		status = cli_fail_given(&err);
	} else if (question->json) {
		json_t *whole =
			json_pack("{s:f, s:f, s:f, s:I, s:b, s:O}", "difference",
				  question->difference, "power", question->power, "alpha",
				  question->alpha, "comparisons", (json_int_t)question->pairs,
				  "assumed", (int)!question->from, "answers", rows);
		cli_print_json(whole);
		json_decref(whole);
	} else {
		status = print_power(question, rows);
	}
	json_decref(rows);
	env_os_free(env);
	return status;
}

int run_bench_power(int argc, char **argv)
{
	struct question question = {.power = 0.8, .alpha = 0.05, .samples = 1, .pairs = 1};
	const struct cli_option options[] = {
		{"difference",					  'd', CLI_NUMBER, &question.difference, "D",
		 "the true difference to be seen, 0.03 for three points", 1e-6, 1},
		{"from",					   0, CLI_TEXT, &question.from, "DIR",
		 "a run like the one to come: its variances are taken", 0, 0},
		{"suite",						  's', CLI_TEXT, &question.suite, "NAME|DIR",
		 "how many items there are (with --from: only its suite of this name)", 0, 0},
		{"items",						 0, CLI_INTEGER, &question.items, "N", "what would so many items show?", 1,
		 1e9},
		{"samples",						     0, CLI_INTEGER, &question.samples, "N", "answers for each item (1)", 1,
		 1000},
		{"power",          0, CLI_NUMBER, &question.power, "P", "chance to see it (0.8)", 0.01,
		 0.999},
		{"alpha",				       0, CLI_NUMBER, &question.alpha, "P",
		 "chance to see what is not there (0.05)", 1e-9, 0.5},
		{"comparisons", 0, CLI_INTEGER, &question.pairs, "N",
		 "how many pairs are compared: alpha is divided by it (1)", 1, 100000},
		{"json",						    0, CLI_FLAG, &question.json, NULL, "the answer as JSON", 0, 0},
		{0					      },
	};
	const struct cli_command command = {
		"bench power",
		"--difference D [--from DIR] [--suite NAME|DIR] | --items N",
		"Says, before anything is spent, how many items it takes to see a difference "
		"between\n"
		"two models, and what a suite can show at all (Miller, 2024, equation 9). Without\n"
		"--from the spread of items is assumed; a run of the same kind gives better "
		"numbers.",
		options,
		0,
		0};
	struct cli_arguments arguments;
	int status = cli_parse(&command, argc, argv, &arguments);
	if (status >= 0)
		return status;
	if (question.difference <= 0 && question.items == 0 && !question.suite && !question.from)
		return cli_usage("bench power", "say what is to be seen: --difference 0.03 (three "
						"points), or --items N");
	if (question.items && question.suite && !question.from)
		return cli_usage("bench power", "--items N and --suite S both say how many items "
						"there are: choose one");
	return power_run(&question);
}
