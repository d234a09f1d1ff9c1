/* `parley bench export`: a run's bundle in other tools' formats (docs/evaluator-guide.md).
 *
 *     inspect   one .eval archive (Inspect, log version 2) of one suite and one model
 *     lm-eval   a folder with results_DATE.json and samples_SUITE_DATE.jsonl of one model
 *     csv       a row for each sample and comparison
 *     in-toto   the bundle's statement, in a DSSE envelope signed with the key given */
#ifndef BENCH_EXPORT_H
#define BENCH_EXPORT_H

#include "env/env.h"

struct export_options {
	const char *run;           /* a run's folder or its bundle */
	const char *format;        /* as above */
	const char *output;        /* a file; with lm-eval a folder */
	const char *suite, *model; /* which, where the format holds one; NULL: the only one */
	const char *key;           /* in-toto: PEM file; NULL: as the bundle is signed */
};

struct export_outcome {
	size_t samples;
};

/* The bundle is held against its manifest first. ERR_USAGE for an unknown format, a suite or model
 * that has to be chosen or is not there, or a suite judged in pairs where the format has no place
 * for it; ERR_MISMATCH for a bundle that was altered. A file that is there and not empty is
 * never written over: ERR_EXISTS. */
enum err_code bench_export(struct env *env, const struct export_options *options,
			   struct export_outcome *outcome, struct err *err);

#endif
