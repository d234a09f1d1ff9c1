/* `parley bench report DIR --publish -o OUT`: a bundle for everybody, made of the bundle of a run.
 * What its suites ask and what was answered, and the grant's price, limits and contacts, are
 * withheld as salted commitments; the salts and texts go into a file of the publisher's own
 * (docs/formats/published.md). */
#ifndef BENCH_PUBLISH_H
#define BENCH_PUBLISH_H

#include "env/env.h"

struct publish_options {
	const char *run;    /* directory of a run, or its bundle */
	const char *output; /* of the published bundle; must not be there, or be empty */
	const char *salts;  /* where salts and texts go; must not be there, nor in `output` */
	const char *key;    /* FILE.pem: signs the statement; NULL: nobody does */
	/* Names of suites, or "all"; NULL-ended or NULL. Of neither list: safety suites are
	 * withheld, others shown. */
	const char *const *withhold, *const *show;
};

struct publish_outcome {
	size_t suites_withheld, suites_shown, items, attempts;
	bool plan, summary;
	size_t grants;
	char seedless[1024]; /* withheld suites without a seed: their roots can be guessed at; or ""
			      */
};

/* Checks the run's bundle first. ERR_USAGE for suites that the run does not have and for places
 * that do not fit, ERR_EXISTS, ERR_MISMATCH where the run's bundle is not whole. */
enum err_code bench_publish(struct env *env, const struct publish_options *options,
			    struct publish_outcome *outcome, struct err *err);

struct publish_cut {
	const char *salts;        /* the whole file */
	const char *const *items; /* SUITE/ID or SUITE/#INDEX; NULL-ended */
	const char *output;       /* must not be there */
};
/* The lines of a file of salts that open some items and all that was answered to them. *count tells
 * how many; ERR_NOT_FOUND naming an item that the file does not have. */
enum err_code bench_cut_salts(struct env *env, const struct publish_cut *cut, size_t *count,
			      struct err *err);

#endif
