/* A win rate as it would be had both answers been equally long: logit P(win) = a + b tanh(d / s),
 * where d is the difference of the lengths in characters and s its standard deviation; the
 * controlled rate is what is left at d = 0. Pure.
 *
 * After Dubois et al. 2024, "Length-Controlled AlpacaEval". Departures: no difficulty of each
 * instruction (theirs is fitted to the answers of many models, which a run does not have), one
 * model at a time, and in place of a cross-validated L1 penalty a ridge of one half on b alone,
 * which keeps b finite where length tells the winner in all cases. The interval is the sandwich's,
 * clustered (theirs is none that holds: it is the spread of fitted probabilities). */
#ifndef GRADE_LENGTH_CONTROL_H
#define GRADE_LENGTH_CONTROL_H

#include "grade/statistics.h"

struct length_controlled {
	bool known; /* false: fewer than two comparisons, all won or all lost, or no convergence */
	double rate, intercept, slope, standard_error; /* of the intercept */
	struct interval interval;                      /* 95 %, of the rate */
};

/* `difference`: own length - other length, `score` 0 to 1, clusters below `count` or NULL;
 * `ridge` >= 0 is the penalty ridge / 2 * b^2. False when memory is out. */
bool length_control(const double *difference, const double *score, const size_t *cluster,
		    size_t count, double ridge, struct length_controlled *out);

/* The same with the covariate given, as it stands: for checking. */
bool length_control_fit(const double *covariate, const double *score, const size_t *cluster,
			size_t count, double ridge, struct length_controlled *out);

#define LENGTH_CONTROL_RIDGE 0.5

#endif
