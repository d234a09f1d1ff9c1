/* What the writers of formats share. */
#ifndef BENCH_EXPORT_INTERNAL_H
#define BENCH_EXPORT_INTERNAL_H

#include "bench/export.h"
#include "bench/plan.h"
#include "grade/jsonl.h"
#include "grade/run_records.h"
#include "suite/suite.h"

#define EXPORT_PATH_MAX 4800u

struct export
{
	struct env *env;
	const struct export_options *options;
	struct export_outcome *outcome;
	char bundle[4200];
	struct plan plan;
	json_t *summary;                       /* owned */
	struct suite *suites[PLAN_SUITES_MAX]; /* owned; in the plan's order */
	/* Where the last attempt of each sample stands: by suite and model, for each item its
	 * samples; offset + 1, 0 where there is none. Owned. */
	uint64_t *attempts[PLAN_SUITES_MAX][PLAN_MODELS_MAX];
	struct jsonl transcripts;
	int64_t started_ms, ended_ms;
};

/* One sample, as a format needs it. */
struct export_row {
	struct run_score score;
	struct run_transcript attempt; /* the last one; all NULL and -1 where there was none */
	const struct suite *suite;
	size_t index; /* of the item */
	/* private */
	json_t *score_tree, *attempt_tree;
};

/* Calls `each` for every sample of `suite` and `model` (NULL: all), in the order of scores.jsonl;
 * comparisons only with `pairs`. */
enum err_code export_each(struct export *export, const char *suite, const char *model, bool pairs,
			  enum err_code (*each)(void *argument, const struct export_row *row,
						struct err *err),
			  void *argument, struct err *err);
/* Refuses a suite or model that is asked for and not in the run. */
enum err_code export_check_names(const struct export *export, struct err *err);
/* The suite and model that are asked for, or the only ones. */
enum err_code export_choose_model(const struct export *export, const char **model, struct err *err);
enum err_code export_choose_suite(const struct export *export, const char **suite, struct err *err);
bool export_is_judged(const struct suite *suite);
const struct suite *export_suite(const struct export *export, const char *name);
/* ERR_EXISTS where a file with something in it is there already; of a folder its writer tells. */
enum err_code export_check_free(const struct export *export, const char *path, struct err *err);
/* Why a sample has no answer, or "". */
const char *export_failure(const struct export_row *row);
/* "2026-11-26T22:30:00.123+00:00". */
void export_time(int64_t unix_ms, char out[static 40]);

/* Values of a figure, and the items' clusters where any item has one. */
struct export_values {
	bool by_item; /* set by the caller: the samples of an item are one value, their mean */
	double *values;
	size_t *clusters, count, capacity;
	size_t item, samples; /* the last one */
	json_t *names;        /* owned: cluster -> number */
	bool clustered;
};
enum err_code export_values_add(struct export_values *values, const struct export_row *row,
				struct err *err);
/* Mean and standard error: over clusters where there are any, else of independent values. */
void export_values_estimate(const struct export_values *values, double *mean, double *error);
void export_values_release(struct export_values *values);

enum err_code export_inspect(struct export *export, struct err *err);
enum err_code export_lm_eval(struct export *export, struct err *err);
enum err_code export_csv(struct export *export, struct err *err);

#endif
