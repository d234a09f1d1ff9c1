/* Bradley-Terry strengths from pairwise results, ties as half a win. Because half wins make it a
 * quasi-likelihood, the covariance is the sandwich H^-1 G H^-1, with G summed over clusters (the
 * prompts). Pure.
 *
 * The maximum likelihood estimate exists only if, however the players are split into two groups,
 * some player of each group has scored against one of the other: the directed graph "has scored
 * against", where a tie counts both ways, is strongly connected (Ford 1957, "Solution of a ranking
 * problem from binary comparisons", American Mathematical Monthly 64(8), 28-33). Otherwise (a
 * player or group never lost, or never won, against the rest) the fit is `separated`, and in that
 * case only:
 *   - every pair of players that met gets one more comparison, a tie. This is the half added to
 *     each cell of Agresti, "Categorical Data Analysis", and for two players exactly the bias
 *     reduction of Firth 1993, "Bias reduction of maximum likelihood estimates", Biometrika
 *     80(1), 27-38. Strengths are finite; 34 wins of 34 give log(34.5 / 0.5) = 4.23.
 *   - the covariance is the model's, H^-1, with these ties counted: residuals close to zero would
 *     make the sandwich collapse. It takes comparisons as independent: clusters do not count. */
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
	bool separated;        /* no maximum likelihood estimate exists (above); of the whole fit,
				* so the same for all players */
};

#define BRADLEY_TERRY_MEAN_ZERO (-1)

/* `reference` is the player whose strength is 0, or BRADLEY_TERRY_MEAN_ZERO. ERR_INVALID when the
 * comparisons don't connect all players, or there is none; ERR_NO_MEMORY. */
enum err_code bradley_terry_fit(const struct comparison *comparisons, size_t count,
				unsigned players, int reference, struct strength *out,
				struct err *err);

#endif
