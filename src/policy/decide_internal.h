/* What decide.c (the order of decisions) and matching.c (suite binding) share. */
#ifndef POLICY_DECIDE_INTERNAL_H
#define POLICY_DECIDE_INTERNAL_H

#include "policy/decide.h"

struct decision {
	const struct world *world;
	const struct policy_request *request;
	struct verdict *verdict;
};

/* Always false, so that a check can end on it. */
bool decision_refuse(struct decision *decision, enum rule rule, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* The grant's purposes that bind to suites, as bits. */
unsigned decision_purposes(const struct world_grant *grant);
/* Whether the request uses up a sample: not where tokens are counted only, nor one of the log. */
bool decision_samples(const struct decision *decision);
void decision_set_purpose(struct verdict *verdict, const struct policy_request *request,
			  enum purpose purpose);

/* matching.c: admitted as a leaf of a suite, or refused; true also where a run has to be opened
 * first. */
bool matching_check(struct decision *decision);

/* matching_script.c: what of a suite a request's words are that hold answers. */
struct matching_script {
	bool matches;
	struct binding_pick
		pick;   /* where it matches; else, with `near`, leaf and step it is near to */
	char near[128]; /* "" where nothing is */
};
/* `run` counts the samples and has the answers; NULL: none is open. */
void matching_read_script(const struct decision *decision, const struct binding_suite *suite,
			  const struct binding_run *run, unsigned slot,
			  struct matching_script *out);

#endif
