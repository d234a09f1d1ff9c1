/* Bradley-Terry strengths from pairwise results, ties as half a win. Because half wins make it a
 * quasi-likelihood, the covariance is the sandwich H^-1 G H^-1, with G summed over clusters (the
 * prompts). Pure. */
#ifndef GRADE_BRADLEY_TERRY_H
#define GRADE_BRADLEY_TERRY_H

#include "base/err.h"

#include <stddef.h>

#define BRADLEY_TERRY_PLAYERS_MAX 512u

struct comparison {
	unsigned a, b;  /* players, different, below `players` */
	double score;   /* of a: 1 win, 0.5 tie, 0 loss */
	size_t cluster; /* any number below `count` */
};

struct strength {
	double value;          /* natural-log strength: P(i beats j) = 1 / (1 + exp(v_j - v_i)) */
	double standard_error; /* 0 for the reference */
	double low, high;      /* 95 % */
	bool bounded; /* false: it won or lost everything against the rest; value is a limit of
		       * the search, not an estimate */
};

#define BRADLEY_TERRY_MEAN_ZERO (-1)

/* `reference` is the player whose strength is 0, or BRADLEY_TERRY_MEAN_ZERO. ERR_INVALID when the
 * comparisons don't connect all players, or there is none; ERR_NO_MEMORY. A player (or group) that
 * only won or only lost is held finite by a prior of 1e-4 comparisons against the mean and marked
 * unbounded. */
enum err_code bradley_terry_fit(const struct comparison *comparisons, size_t count,
				unsigned players, int reference, struct strength *out,
				struct err *err);

#endif
