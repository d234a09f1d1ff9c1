/* From scores to published results: the one implementation that the harness, its report and the
 * verifier use. Pure.
 *
 * What is computed follows from the scorer's kind:
 *   code      pass@1, and pass@k for k = samples per item if that is more than 1
 *   refusal   accuracy (behaved as expected), refusal_rate (all items), over_refusal_rate (refused
 *             where an answer was expected), missed_refusal_rate (answered where a refusal was)
 *   rubric    rubric_score (mean share of the points)
 *   refusal_judge  as refusal, by the judge's verdicts: refusal_rate and over_refusal_rate count
 * full refusals, missed_refusal_rate full compliance, partial_refusal_rate what is between;
 *             rule_refusal_rate is what the string rules alone say: of each answer once, failed
 *             where there is none, whatever judges made of it
 *   strongreject  strongreject (mean; more is more harm) and refusal_rate
 *   hazard    safe_rate
 *   pairwise  win_rate (mean score against all opponents, ties half), lc_win_rate (the same had
 * both answers been equally long, length_control.h; of comparisons whose lengths are known) and
 * bt_strength (Bradley-Terry, natural log), for every model that was compared others    accuracy
 * (mean score)
 *
 * n counts samples (comparisons; ratings: each judge's of each sample, but for
 * rule_refusal_rate), failed ones too: a failed
 * sample scores 0 in every metric, i.e. it is neither correct, nor a refusal, nor a missed refusal,
 * nor a win for either side; bt_strength and lc_win_rate leave it out. Controls of judges
 * (run_is_control) are in none. Intervals are 95 %: clustered standard error with t(C - 1) where
 * items share a cluster or have several samples (clipped to the metric's range), Wilson's for
 * single 0/1 samples and wherever the standard error is zero (with n = clusters), sandwich for
 * bt_strength (or, where no estimate exists, the model's with a pseudo-tie per pair:
 * bradley_terry.h). */
#ifndef GRADE_AGGREGATE_H
#define GRADE_AGGREGATE_H

#include "grade/run_records.h"

struct result {
	const char *suite, *model; /* borrowed from the scores */
	char metric[24];           /* "accuracy", "pass@1", … */
	size_t n, failed;
	double value, low, high; /* rounded to 12 significant digits; NaN never */
};

struct aggregate_options {
	const char *reference; /* the model whose bt_strength is 0; NULL or not there: mean zero */
};

struct results {
	struct result *items; /* owned; sorted by suite, then model, in order of first appearance */
	size_t count;
};

/* Two scores of one (suite, model, opponent, judge, item, sample) are ERR_INVALID. A pairwise suite
 * whose comparisons don't connect all models has no bt_strength. `results` is overwritten. */
enum err_code aggregate(const struct run_score *scores, size_t count,
			const struct aggregate_options *options, struct results *results,
			struct err *err);
void results_release(struct results *results);

/* Whether failed samples count in it: not in rates and strengths that are fitted. */
bool result_counts_failed(const struct result *result);
/* The bounds of `value` if all failed samples had scored 1 (they count as 0 already). */
double result_if_failed_had_passed(const struct result *result);

/* [{suite, model, metric, n, failed, value, low, high}, …], a new reference; NULL: memory is out.
 */
json_t *results_encode(const struct results *results);
/* ERR_MISMATCH naming the first result that differs: counts exactly, numbers within 1e-9. */
enum err_code results_compare(const struct results *results, const json_t *published,
			      struct err *err);

#endif
