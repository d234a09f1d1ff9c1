/* From the scores to what was published: every figure and interval, the counts, the bounds and the
 * statement that carries them. */
#include "verify/audit.h"

#include "base/encode.h"
#include "base/json.h"
#include "grade/findings.h"

#include <math.h>

#define TOLERANCE 1e-9
#define SUMMARY_FORMAT "parley-summary-1"

/* ---- figures and intervals ---- */

static bool is_about(const json_t *published, const struct result *result)
{
	const char *suite = json_string_value(json_object_get(published, "suite"));
	const char *model = json_string_value(json_object_get(published, "model"));
	const char *metric = json_string_value(json_object_get(published, "metric"));
	return suite && model && metric && strcmp(suite, result->suite) == 0 &&
	       strcmp(model, result->model) == 0 && strcmp(metric, result->metric) == 0;
}

/* The published results in the order of ours; a new reference. The order means nothing. */
static json_t *put_in_order(const struct results *results, const json_t *published)
{
	json_t *list = json_array(), *entry;
	size_t i;
	for (size_t k = 0; list && k < results->count; k++) {
		json_array_foreach((json_t *)published, i,
				   entry) if (is_about(entry, &results->items[k]))
		{
			json_array_append(list, entry);
			break;
		}
	}
	return list;
}

static enum err_code name_missing(const struct results *results, const json_t *published,
				  struct err *err)
{
	const json_t *entry;
	size_t i;
	for (size_t k = 0; k < results->count; k++) {
		bool found = false;
		json_array_foreach((json_t *)published, i, entry) found |=
			is_about(entry, &results->items[k]);
		if (!found)
			return ERR_SET(err, ERR_MISMATCH,
				       "%s: %s of %.64s in suite %.64s is not published",
				       BUNDLE_SUMMARY, results->items[k].metric,
				       results->items[k].model, results->items[k].suite);
	}
	return ERR_SET(err, ERR_MISMATCH, "%s: %zu results are published, the scores give %zu",
		       BUNDLE_SUMMARY, json_array_size(published), results->count);
}

static enum err_code check_results(struct audit *audit, struct err *err)
{
	json_t *published;
	ERR_TRY(json_get_container(audit->summary, "results", BUNDLE_SUMMARY, JSON_ARRAY, false,
				   &published, err));
	json_t *ordered = put_in_order(&audit->results, published);
	if (!ordered)
		return ERR_SET(err, ERR_NO_MEMORY, "out of memory for the results");
	enum err_code code;
	if (json_array_size(ordered) != audit->results.count ||
	    json_array_size(published) != audit->results.count)
		code = name_missing(&audit->results, published, err);
	else if ((code = results_compare(&audit->results, ordered, err)) != ERR_OK)
		err_prefix(err, "%s", BUNDLE_SUMMARY);
	json_decref(ordered);
	return code;
}

/* ---- bounds ---- */

static const struct result *find_result(const struct results *results, const json_t *entry)
{
	for (size_t i = 0; i < results->count; i++)
		if (is_about(entry, &results->items[i]))
			return &results->items[i];
	return NULL;
}

static bool near(const json_t *entry, const char *key, double expected)
{
	const json_t *number = json_object_get(entry, key);
	return json_is_number(number) &&
	       fabs(json_number_value(number) - expected) <= TOLERANCE * fmax(1, fabs(expected));
}

static enum err_code check_bounds(struct audit *audit, struct err *err)
{
	json_t *bounds, *entry;
	size_t i;
	ERR_TRY(json_get_container(audit->summary, "bounds", BUNDLE_SUMMARY, JSON_ARRAY, true,
				   &bounds, err));
	json_array_foreach(bounds, i, entry)
	{
		const struct result *result = find_result(&audit->results, entry);
		if (!result || !near(entry, "if_failed", result->value) ||
		    !near(entry, "if_passed", result_if_failed_had_passed(result)))
			return ERR_SET(err, ERR_MISMATCH,
				       "%s: bounds[%zu] are not those that the scores give",
				       BUNDLE_SUMMARY, i);
	}
	return ERR_OK;
}

/* Comparisons, ranks, and how the judges measured. */
static enum err_code check_findings(struct audit *audit, struct err *err)
{
	json_t *found;
	ERR_TRY(findings_make(audit->scores, audit->score_count, &found, err));
	for (unsigned i = 0; i < audit->suite_count; i++)
		if (audit->suites[i].scorer->pairwise && audit->suites[i].judged)
			findings_own_prompt(found, audit->suites[i].name,
					    audit->plan.suites[i].root);
	enum err_code code = findings_compare(found, audit->summary, err);
	if (code != ERR_OK)
		err_prefix(err, "%s", BUNDLE_SUMMARY);
	audit->counts.comparisons = json_array_size(json_object_get(found, "comparisons"));
	json_decref(found);
	return code;
}

/* ---- counts ---- */

struct tally {
	int64_t total, answered;
};

/* Answers without a grade count as missing, as in the harness. */
static struct tally count_samples(const struct audit *audit)
{
	struct tally tally = {0};
	for (size_t i = 0; i < audit->cell_count; i++) {
		const struct audit_cell *cell = &audit->cells[i];
		bool counts = !cell->judging && !audit_has_role(audit, cell->model, PLAN_CONTROL);
		for (size_t k = 0; counts && k < cell->count; k++) {
			tally.total++;
			tally.answered += cell->slots[k].answered && !cell->slots[k].ungraded;
		}
	}
	return tally;
}

static enum err_code check_count(const json_t *counts, const char *key, int64_t expected,
				 struct err *err)
{
	int64_t published;
	ERR_TRY(json_get_integer(counts, key, BUNDLE_SUMMARY, 0, INT64_MAX, &published, err));
	if (published == expected)
		return ERR_OK;
	return ERR_SET(err, ERR_MISMATCH, "%s: samples.%s is %lld, the transcripts show %lld",
		       BUNDLE_SUMMARY, key, (long long)published, (long long)expected);
}

static enum err_code check_counts(struct audit *audit, struct err *err)
{
	json_t *counts;
	struct tally tally = count_samples(audit);
	ERR_TRY(json_get_container(audit->summary, "samples", BUNDLE_SUMMARY, JSON_OBJECT, true,
				   &counts, err));
	if (!counts)
		return ERR_OK;
	ERR_TRY(check_count(counts, "total", tally.total, err));
	return check_count(counts, "answered", tally.answered, err);
}

static enum err_code check_plan(struct audit *audit, struct err *err)
{
	const char *published;
	char hex[2 * SHA256_SIZE + 1];
	hex_encode(audit->plan_digest, SHA256_SIZE, hex);
	ERR_TRY(json_get_string_or(audit->summary, "plan", BUNDLE_SUMMARY, hex, &published, err));
	if (strcmp(published, hex) == 0)
		return ERR_OK;
	return ERR_SET(err, ERR_MISMATCH, "%s: it is about another plan than %s", BUNDLE_SUMMARY,
		       BUNDLE_PLAN);
}

/* ---- what was used ---- */

static enum err_code check_tokens(const json_t *entry, const char *key, int64_t expected,
				  const char *model, struct err *err)
{
	int64_t published;
	ERR_TRY(json_get_integer_or(entry, key, BUNDLE_SUMMARY, 0, INT64_MAX, expected, &published,
				    err));
	if (published == expected)
		return ERR_OK;
	return ERR_SET(err, ERR_MISMATCH, "%s: %s of %.64s is %lld, the transcripts give %lld",
		       BUNDLE_SUMMARY, key, model, (long long)published, (long long)expected);
}

static enum err_code check_use(struct audit *audit, struct err *err)
{
	json_t *models, *entry;
	size_t i;
	ERR_TRY(json_get_container(audit->summary, "models", BUNDLE_SUMMARY, JSON_ARRAY, true,
				   &models, err));
	json_array_foreach(models, i, entry)
	{
		const char *name = json_string_value(json_object_get(entry, "name"));
		for (unsigned k = 0; name && k < audit->plan.model_count; k++) {
			if (strcmp(audit->plan.models[k].name, name) != 0)
				continue;
			ERR_TRY(check_tokens(entry, "input_tokens", audit->tokens_input[k], name,
					     err));
			ERR_TRY(check_tokens(entry, "output_tokens", audit->tokens_output[k], name,
					     err));
		}
	}
	return ERR_OK;
}

/* ---- the statement ---- */

static enum err_code check_statement(struct audit *audit, struct err *err)
{
	const json_t *predicate = json_object_get(audit->bundle.statement, "predicate");
	const json_t *signed_results =
		json_object_get(json_object_get(predicate, "parley"), "results");
	const char *result = json_string_value(json_object_get(predicate, "result"));
	struct tally tally = count_samples(audit);
	if (signed_results &&
	    !json_equal(signed_results, json_object_get(audit->summary, "results")))
		return ERR_SET(err, ERR_MISMATCH, "%s: it states other results than %s",
			       BUNDLE_STATEMENT, BUNDLE_SUMMARY);
	if (result && strcmp(result, "PASSED") == 0 && tally.answered < tally.total)
		return ERR_SET(err, ERR_MISMATCH,
			       "%s: it says PASSED, and %lld of %lld samples have no answer",
			       BUNDLE_STATEMENT, (long long)(tally.total - tally.answered),
			       (long long)tally.total);
	return ERR_OK;
}

/* ---- all of it ---- */

/* As published, and where samples failed the bound had they all passed. */
static json_t *describe_results(const struct results *results)
{
	json_t *list = results_encode(results);
	for (size_t i = 0; list && i < results->count; i++) {
		const struct result *result = &results->items[i];
		if (result->failed == 0 || !result_counts_failed(result))
			continue;
		if (json_object_set_new(json_array_get(list, i), "if_passed",
					json_real(result_if_failed_had_passed(result))) != 0) {
			json_decref(list);
			return NULL;
		}
	}
	return list;
}

static const char *baseline_name(const struct audit *audit)
{
	for (unsigned i = 0; i < audit->plan.model_count; i++)
		if (audit_has_role(audit, i, PLAN_BASELINE))
			return audit->plan.models[i].name;
	return NULL;
}

static enum err_code check_format(struct audit *audit, struct err *err)
{
	const char *format;
	ERR_TRY(json_get_string_or(audit->summary, "format", BUNDLE_SUMMARY, SUMMARY_FORMAT,
				   &format, err));
	if (strcmp(format, SUMMARY_FORMAT) == 0)
		return ERR_OK;
	return ERR_SET(err, ERR_UNSUPPORTED, "%s: format \"%.40s\" is not %s", BUNDLE_SUMMARY,
		       format, SUMMARY_FORMAT);
}

enum err_code audit_results(struct audit *audit, struct err *err)
{
	struct aggregate_options options = {.reference = baseline_name(audit)};
	struct buf text;
	enum err_code code = audit_read_json(audit, BUNDLE_SUMMARY, &text, &audit->summary, err);
	buf_release(&text);
	ERR_TRY(code);
	ERR_TRY(check_format(audit, err));
	ERR_TRY(withheld_summary(audit, err));
	ERR_TRY(aggregate(audit->scores, audit->score_count, &options, &audit->results, err));
	ERR_TRY(check_results(audit, err));
	ERR_TRY(check_bounds(audit, err));
	ERR_TRY(check_findings(audit, err));
	ERR_TRY(audit_conduct(audit, err));
	ERR_TRY(audit_anchors(audit, err));
	ERR_TRY(check_plan(audit, err));
	ERR_TRY(check_counts(audit, err));
	ERR_TRY(check_use(audit, err));
	ERR_TRY(check_statement(audit, err));
	audit->report->results = describe_results(&audit->results);
	return audit->report->results
		       ? ERR_OK
		       : ERR_SET(err, ERR_NO_MEMORY, "out of memory for the results");
}
