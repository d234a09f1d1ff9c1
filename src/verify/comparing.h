/* `parley bench compare`: the models of any runs against each other. A run is a bundle (or the
 * directory of a run that holds one), or the log of another harness that `verify` reads. Numbers
 * are taken as they stand there; whether they hold is for `verify` to say. */
#ifndef VERIFY_COMPARING_H
#define VERIFY_COMPARING_H

#include "env/env.h"

#include <jansson.h>

#define COMPARING_RUNS_MAX 64u
#define COMPARING_SCORES_MAX ((size_t)8 << 20)

/* {runs: [{path, kind, models: [...], scores}], notes: [...], comparisons, ranks}: a new reference
 * in *out (docs/formats/bundle.md). A model that stands in several runs is called `NAME @ PATH`.
 * Items are the same where their ids are, under equal roots of a suite; under others where their
 * words are. ERR_USAGE for a path that is no run, and for runs in which no two models have a suite
 * in common. */
enum err_code comparing_run(struct env *env, const char *const *paths, size_t count, json_t **out,
			    struct err *err);

/* What decides how many items it takes, from one run: the comparisons there, with the variances
 * that they rest on. {suite, a, b, items, variance, within_a, within_b, samples}, a new reference.
 */
enum err_code comparing_variances(struct env *env, const char *path, json_t **out, struct err *err);

#endif
