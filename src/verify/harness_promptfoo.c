/* Output of promptfoo (`promptfoo eval -o output.json`), results of version 3: the passes,
 * failures, errors and scores of each prompt and provider, from the rows of single tests. */
#include "verify/harness.h"

#include "base/json.h"
#include "bench/text.h"

#include <math.h>
#include <stdio.h>

#define SUBJECT "promptfoo"
#define RESULTS_VERSION 3
#define FAILURE_ERROR 2 /* failureReason: the provider or an assertion could not be run */

struct tally {
	json_int_t passes, failures, errors;
	double score;
};

static bool is_error(const json_t *row)
{
	const json_t *reason = json_object_get(row, "failureReason");
	const json_t *error = json_object_get(row, "error");
	if (json_is_integer(reason))
		return json_integer_value(reason) == FAILURE_ERROR;
	return !json_is_true(json_object_get(row, "success")) && json_is_string(error) &&
	       !json_object_get(row, "gradingResult");
}

/* The pass of a row and that of its own grading cannot differ. */
static void check_row(struct harness *harness, const json_t *row, size_t index)
{
	const json_t *grading = json_object_get(row, "gradingResult");
	const json_t *passed = json_object_get(grading, "pass");
	bool success = json_is_true(json_object_get(row, "success"));
	if (json_is_boolean(passed) && json_is_true(passed) != success && !is_error(row))
		harness_contradiction(
			harness, "results[%zu]: success is %s, its grading's pass is %s", index,
			success ? "true" : "false", success ? "false" : "true");
}

static void count_row(struct tally *tally, const json_t *row)
{
	bool success = json_is_true(json_object_get(row, "success"));
	tally->passes += success;
	tally->errors += !success && is_error(row);
	tally->failures += !success && !is_error(row);
	tally->score += json_number_value(json_object_get(row, "score"));
}

static void check_count(struct harness *harness, const char *suite, const char *name,
			const json_t *published, double counted)
{
	struct harness_figure figure = {suite, "", name, json_number_value(published), 0, 0};
	if (json_is_number(published))
		harness_number(harness, &figure, counted);
}

/* The tests of one prompt with one provider. */
static enum err_code collect(struct harness *harness, const json_t *rows, size_t prompt,
			     struct tally *tally, struct harness_scores *scores, struct err *err)
{
	for (size_t i = 0; i < json_array_size(rows); i++) {
		const json_t *row = json_array_get(rows, i);
		const json_t *index = json_object_get(row, "promptIdx");
		if (!json_is_integer(index) || (size_t)json_integer_value(index) != prompt)
			continue;
		count_row(tally, row);
		struct harness_score score = {
			.item = arena_printf(
				&harness->texts, "%lld",
				(long long)json_integer_value(json_object_get(row, "testIdx"))),
			.value = json_is_true(json_object_get(row, "success")),
			.order = (int64_t)i};
		if (!score.item)
			return ERR_SET(err, ERR_NO_MEMORY, "out of memory for tests");
		ERR_TRY(harness_add(scores, &score, err));
	}
	return ERR_OK;
}

static enum err_code check_prompt(struct harness *harness, const json_t *prompt, size_t index,
				  const json_t *rows, struct err *err)
{
	const json_t *metrics = json_object_get(prompt, "metrics");
	struct tally tally = {0};
	struct harness_scores scores = {0};
	char label[84], suite[120];
	text_line(label, sizeof(label), bytes_from(json_text(prompt, "label")));
	snprintf(suite, sizeof(suite), "prompt %zu (%s)", index, label);
	enum err_code code = collect(harness, rows, index, &tally, &scores, err);
	struct harness_figure rate = {suite, json_text(prompt, "provider"), "pass_rate", NAN,
				      0,     (size_t)tally.errors};
	if (code == ERR_OK && scores.count)
		code = harness_mean(harness, &rate, &scores, err);
	harness_scores_release(&scores);
	check_count(harness, suite, "testPassCount", json_object_get(metrics, "testPassCount"),
		    (double)tally.passes);
	check_count(harness, suite, "testFailCount", json_object_get(metrics, "testFailCount"),
		    (double)tally.failures);
	check_count(harness, suite, "testErrorCount", json_object_get(metrics, "testErrorCount"),
		    (double)tally.errors);
	check_count(harness, suite, "score", json_object_get(metrics, "score"), tally.score);
	return code;
}

static enum err_code check_output(struct harness *harness, const json_t *results, struct err *err)
{
	const json_t *rows = json_object_get(results, "results");
	const json_t *prompts = json_object_get(results, "prompts");
	const json_t *stats = json_object_get(results, "stats");
	struct tally all = {0};
	harness->samples = json_array_size(rows);
	report_note(harness->report, VERIFY_CHECKED, "made %.40s", json_text(results, "timestamp"));
	for (size_t i = 0; i < json_array_size(rows); i++) {
		check_row(harness, json_array_get(rows, i), i);
		count_row(&all, json_array_get(rows, i));
	}
	check_count(harness, "", "stats.successes", json_object_get(stats, "successes"),
		    (double)all.passes);
	check_count(harness, "", "stats.failures", json_object_get(stats, "failures"),
		    (double)all.failures);
	check_count(harness, "", "stats.errors", json_object_get(stats, "errors"),
		    (double)all.errors);
	for (size_t i = 0; i < json_array_size(prompts); i++)
		ERR_TRY(check_prompt(harness, json_array_get(prompts, i), i, rows, err));
	harness_conclude(harness);
	return ERR_OK;
}

enum err_code harness_promptfoo(const json_t *output, struct verify_report *report, bool *known,
				struct err *err)
{
	struct harness harness;
	const json_t *results = json_object_get(output, "results");
	json_int_t version = json_integer_value(json_object_get(results, "version"));
	*known = json_object_get(output, "evalId") && json_is_object(results) &&
		 json_is_integer(json_object_get(results, "version"));
	if (!*known)
		return ERR_OK;
	if (version != RESULTS_VERSION || !json_is_array(json_object_get(results, "results")))
		return ERR_SET(err, ERR_UNSUPPORTED,
			       "promptfoo results of version %lld; only %d is read here",
			       (long long)version, RESULTS_VERSION);
	harness_init(&harness, report, SUBJECT);
	enum err_code code = check_output(&harness, results, err);
	harness_release(&harness);
	return code == ERR_OK ? ERR_OK : report_failure(report, err);
}
