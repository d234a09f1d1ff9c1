/* Another harness's log: its published figures, computed again from the samples that it holds, with
 * proper intervals beside them. One file for each harness reads the log; what they share is here.
 * Nothing stands behind such a log but its publisher: it can be found to contradict itself, never
 * to be vouched for. */
#ifndef VERIFY_HARNESS_H
#define VERIFY_HARNESS_H

#include "base/arena.h"
#include "verify/report.h"

#define HARNESS_FILE_MAX ((size_t)512 << 20)
#define HARNESS_SCORES_MAX ((size_t)16 << 20)
#define HARNESS_TEXTS_MAX ((size_t)1 << 30)

struct harness {
	struct verify_report *report;
	struct arena texts; /* of scores */
	size_t figures;     /* that were published */
	size_t recomputed;  /* of them, whether they hold or not */
	size_t wrong;
	size_t samples;
};

/* `report` gets its subject. Release in any case. */
void harness_init(struct harness *harness, struct verify_report *report, const char *subject);
void harness_release(struct harness *harness);

/* One score. Texts are borrowed (from the arena, or the tree). */
struct harness_score {
	const char *item;    /* what was asked: scores of one item are not independent */
	const char *cluster; /* what items share; NULL: nothing */
	double value;
	int64_t order; /* among those of one item */
};

struct harness_scores {
	struct harness_score *rows; /* owned */
	size_t count, capacity;
};

/* ERR_NO_MEMORY, ERR_TOO_LARGE. */
enum err_code harness_add(struct harness_scores *scores, const struct harness_score *score,
			  struct err *err);
void harness_scores_release(struct harness_scores *scores);
/* By item, then order. */
void harness_sort(struct harness_scores *scores);

/* What was published of some scores. */
struct harness_figure {
	const char *suite, *model,
		*metric;  /* for the report; suite and metric name it in messages */
	double published; /* NaN: nothing, there is only what we compute */
	double tolerance; /* 0: 1e-6, relative where it is above 1 */
	size_t failed;    /* samples that ended without a score, for the report */
};

/* Compares the mean of `scores` with figure->published and adds a result: mean, 95 % interval
 * (clustered by cluster, else by item). Scores of no sample are unchecked. */
enum err_code harness_mean(struct harness *harness, const struct harness_figure *figure,
			   struct harness_scores *scores, struct err *err);
/* Compares a number that is no result of its own: a standard error, a count. */
void harness_number(struct harness *harness, const struct harness_figure *figure,
		    double recomputed);
/* A figure that cannot be computed again, and why. */
void harness_unchecked(struct harness *harness, const struct harness_figure *figure,
		       const char *why);
/* Something in the log contradicts something else in it. */
void harness_contradiction(struct harness *harness, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* The sample standard deviation over the root of n, clustered or not; NaN for less than two. Both
 * this and harness_mean leave the rows in another order.
 * ERR_NO_MEMORY. */
enum err_code harness_standard_error(struct harness_scores *scores, bool clustered, double *out,
				     struct err *err);

/* Verdict and closing notes: FALSE with the first contradiction, else self-certified. */
void harness_conclude(struct harness *harness);

/* ---- the harnesses ---- */

/* An Inspect log packed as `.eval` (a ZIP archive). */
enum err_code harness_inspect_archive(struct env *env, const char *path,
				      struct verify_report *report, struct err *err);
/* Trees that python_json made of a file, where their keys say that they are such a log; *known
 * false where they are not, and then nothing was done. */
enum err_code harness_inspect(const json_t *log, struct verify_report *report, bool *known,
			      struct err *err);
enum err_code harness_promptfoo(const json_t *output, struct verify_report *report, bool *known,
				struct err *err);
/* A run journal of modelbench, JSON lines: whether a file's text is one, and what it says. */
bool harness_modelbench_is(struct bytes text);
enum err_code harness_modelbench(struct bytes text, const char *path, struct verify_report *report,
				 struct err *err);
/* `path` is the file's: a leaderboard.csv beside it is compared with. */
enum err_code harness_alpaca(struct env *env, const char *path, const json_t *annotations,
			     struct verify_report *report, bool *known, struct err *err);
/* `path` is the file's: the samples_*.jsonl of its date are beside it. */
enum err_code harness_lm_eval(struct env *env, const char *path, const json_t *results,
			      struct verify_report *report, bool *known, struct err *err);

/* Any of these, by what stands in the file; ERR_USAGE where it is none. */
enum err_code check_harness_file(struct env *env, const char *path, struct verify_report *report,
				 struct err *err);
/* The newest results_*.json in a directory of lm-eval; *known false where there is none. */
enum err_code check_harness_directory(struct env *env, const char *path,
				      struct verify_report *report, bool *known, struct err *err);

#endif
