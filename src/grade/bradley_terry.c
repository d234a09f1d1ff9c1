#include "grade/bradley_terry.h"

#include "grade/statistics.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define STEPS_MAX 200
#define PRECISION 1e-10
#define PRIOR_WEIGHT 1e-4 /* comparisons against 0: fixes the origin */

struct fit {
	const struct comparison *comparisons;
	size_t count;
	unsigned players;
	bool *scored;     /* players x players: row has won or tied against column */
	bool separated;   /* `scored` is not strongly connected */
	double *strength; /* players */
	double *gradient; /* players */
	double *hessian;  /* players x players: of the negative log-likelihood */
	double *inverse;  /* players x players */
	double *meat;     /* players x players: sum over clusters of score vectors' squares */
};

static double probability(const struct fit *fit, unsigned a, unsigned b)
{
	return 1 / (1 + exp(fit->strength[b] - fit->strength[a]));
}

static double *cell(double *matrix, unsigned size, unsigned row, unsigned column)
{
	return &matrix[(size_t)row * size + column];
}

/* ---- are all players connected? ---- */

static unsigned root_of(unsigned *parent, unsigned player)
{
	while (parent[player] != player)
		player = parent[player] = parent[parent[player]];
	return player;
}

static enum err_code check_connected(const struct comparison *comparisons, size_t count,
				     unsigned players, struct err *err)
{
	unsigned parent[BRADLEY_TERRY_PLAYERS_MAX];

	for (unsigned i = 0; i < players; i++)
		parent[i] = i;
	for (size_t i = 0; i < count; i++) {
		assert(comparisons[i].a < players && comparisons[i].b < players);
		assert(comparisons[i].a != comparisons[i].b && comparisons[i].cluster < count);
		parent[root_of(parent, comparisons[i].a)] = root_of(parent, comparisons[i].b);
	}
	for (unsigned i = 1; i < players; i++)
		if (root_of(parent, i) != root_of(parent, 0))
			return ERR_SET(
				err, ERR_INVALID,
				"the comparisons do not connect all models: no common scale");
	return ERR_OK;
}

/* ---- does the maximum likelihood estimate exist? ---- */

static bool has_scored(const struct fit *fit, unsigned player, unsigned against)
{
	return fit->scored[(size_t)player * fit->players + against];
}

static void note_scores(struct fit *fit)
{
	for (size_t i = 0; i < fit->count; i++) {
		const struct comparison *comparison = &fit->comparisons[i];
		size_t a = comparison->a, b = comparison->b;

		if (comparison->score > 0)
			fit->scored[a * fit->players + b] = true;
		if (comparison->score < 1)
			fit->scored[b * fit->players + a] = true;
	}
}

/* Does a path of scores lead from player 0 to every player, or, backwards, from every player to
 * player 0? Breadth first. */
static bool reaches_all(const struct fit *fit, bool backwards)
{
	bool seen[BRADLEY_TERRY_PLAYERS_MAX] = {true};
	unsigned queue[BRADLEY_TERRY_PLAYERS_MAX] = {0}, queued = 1;

	for (unsigned at = 0; at < queued; at++)
		for (unsigned next = 0; next < fit->players; next++)
			if (!seen[next] && (backwards ? has_scored(fit, next, queue[at])
						      : has_scored(fit, queue[at], next))) {
				seen[next] = true;
				queue[queued++] = next;
			}
	return queued == fit->players;
}

/* Ford's condition: all players lie in one strongly connected component. */
static bool is_separated(const struct fit *fit)
{
	return !reaches_all(fit, false) || !reaches_all(fit, true);
}

/* ---- Newton's method ---- */

/* The prior, half a win and half a loss of weight PRIOR_WEIGHT against 0 for each player, also
 * fixes the origin: without it the Hessian has the null vector (1, …, 1). */
static void add_prior(struct fit *fit)
{
	for (unsigned i = 0; i < fit->players; i++) {
		double p = 1 / (1 + exp(-fit->strength[i]));

		fit->gradient[i] += PRIOR_WEIGHT * (0.5 - p);
		*cell(fit->hessian, fit->players, i, i) += PRIOR_WEIGHT * p * (1 - p);
	}
}

static void add_comparison(struct fit *fit, unsigned a, unsigned b, double score)
{
	double p = probability(fit, a, b), weight = p * (1 - p);

	fit->gradient[a] += score - p;
	fit->gradient[b] -= score - p;
	*cell(fit->hessian, fit->players, a, a) += weight;
	*cell(fit->hessian, fit->players, b, b) += weight;
	*cell(fit->hessian, fit->players, a, b) -= weight;
	*cell(fit->hessian, fit->players, b, a) -= weight;
}

static void add_comparisons(struct fit *fit)
{
	for (size_t i = 0; i < fit->count; i++)
		add_comparison(fit, fit->comparisons[i].a, fit->comparisons[i].b,
			       fit->comparisons[i].score);
}

/* A tie for each pair that met. */
static void add_pseudo_ties(struct fit *fit)
{
	for (unsigned a = 0; a < fit->players; a++)
		for (unsigned b = a + 1; b < fit->players; b++)
			if (has_scored(fit, a, b) || has_scored(fit, b, a))
				add_comparison(fit, a, b, 0.5);
}

/* Cholesky: the lower triangle of the Hessian becomes its factor. False if it isn't positive. */
static bool factorise(double *matrix, unsigned size)
{
	for (unsigned j = 0; j < size; j++) {
		for (unsigned i = j; i < size; i++) {
			double sum = *cell(matrix, size, i, j);

			for (unsigned k = 0; k < j; k++)
				sum -= *cell(matrix, size, i, k) * *cell(matrix, size, j, k);
			if (i == j && !(sum > 0))
				return false;
			*cell(matrix, size, i, j) =
				i == j ? sqrt(sum) : sum / *cell(matrix, size, j, j);
		}
	}
	return true;
}

/* Solves factor * factor^T * x = vector in place. */
static void solve(double *factor, unsigned size, double *vector)
{
	for (unsigned i = 0; i < size; i++) {
		for (unsigned k = 0; k < i; k++)
			vector[i] -= *cell(factor, size, i, k) * vector[k];
		vector[i] /= *cell(factor, size, i, i);
	}
	for (unsigned i = size; i-- > 0;) {
		for (unsigned k = i + 1; k < size; k++)
			vector[i] -= *cell(factor, size, k, i) * vector[k];
		vector[i] /= *cell(factor, size, i, i);
	}
}

static void evaluate(struct fit *fit)
{
	size_t players = fit->players;

	memset(fit->gradient, 0, players * sizeof(double));
	memset(fit->hessian, 0, players * players * sizeof(double));
	add_prior(fit);
	add_comparisons(fit);
	if (fit->separated)
		add_pseudo_ties(fit);
}

/* Only the prior resists a shift of all players together, so weakly that rounding shows: a shift is
 * no move, and the origin is chosen afterwards. */
static double largest_move(const double *step, unsigned players)
{
	double shift = statistics_mean(step, players), largest = 0;

	for (unsigned i = 0; i < players; i++)
		largest = fmax(largest, fabs(step[i] - shift));
	return largest;
}

/* Steps are cut to 1, where the likelihood is close to its quadratic: Newton alone overshoots on
 * near shut-outs. */
static enum err_code climb(struct fit *fit, struct err *err)
{
	for (int step = 0; step < STEPS_MAX; step++) {
		evaluate(fit);
		if (!factorise(fit->hessian, fit->players))
			break;
		solve(fit->hessian, fit->players, fit->gradient);
		double largest = largest_move(fit->gradient, fit->players);
		double scale = largest > 1 ? 1 / largest : 1;
		for (unsigned i = 0; i < fit->players; i++)
			fit->strength[i] += scale * fit->gradient[i];
		if (largest < PRECISION)
			return ERR_OK;
	}
	return ERR_SET(err, ERR_INVALID, "the Bradley-Terry fit does not converge");
}

/* ---- the covariance ---- */

struct residual {
	size_t cluster;
	unsigned a, b;
	double value;
};

static int residual_compare(const void *left, const void *right)
{
	const struct residual *x = left, *y = right;

	return (x->cluster > y->cluster) - (x->cluster < y->cluster);
}

static void add_outer(struct fit *fit, const double *score)
{
	for (unsigned i = 0; i < fit->players; i++)
		for (unsigned j = 0; score[i] != 0 && j < fit->players; j++)
			*cell(fit->meat, fit->players, i, j) += score[i] * score[j];
}

/* G = C / (C - 1) * sum over clusters of (sum of scores)(sum of scores)^T. Borrows the gradient as
 * the current cluster's score vector. Returns the number of clusters. */
static size_t sum_clusters(struct fit *fit, struct residual *residuals)
{
	size_t clusters = 0, start = 0;

	memset(fit->meat, 0, (size_t)fit->players * fit->players * sizeof(double));
	while (start < fit->count) {
		size_t at = start;

		memset(fit->gradient, 0, fit->players * sizeof(double));
		for (; at < fit->count && residuals[at].cluster == residuals[start].cluster; at++) {
			fit->gradient[residuals[at].a] += residuals[at].value;
			fit->gradient[residuals[at].b] -= residuals[at].value;
		}
		add_outer(fit, fit->gradient);
		clusters++;
		start = at;
	}
	return clusters;
}

static enum err_code cluster_scores(struct fit *fit, size_t *clusters, struct err *err)
{
	struct residual *residuals = malloc(fit->count * sizeof(*residuals));

	if (!residuals)
		return ERR_SET(err, ERR_NO_MEMORY, "out of memory for a Bradley-Terry fit");
	for (size_t i = 0; i < fit->count; i++) {
		const struct comparison *comparison = &fit->comparisons[i];

		residuals[i] = (struct residual){
			comparison->cluster, comparison->a, comparison->b,
			comparison->score - probability(fit, comparison->a, comparison->b)};
	}
	qsort(residuals, fit->count, sizeof(*residuals), residual_compare);
	*clusters = sum_clusters(fit, residuals);
	free(residuals);
	return ERR_OK;
}

static void invert(struct fit *fit)
{
	unsigned players = fit->players;

	for (unsigned column = 0; column < players; column++) {
		double *vector = &fit->inverse[(size_t)column * players];

		memset(vector, 0, players * sizeof(double));
		vector[column] = 1;
		solve(fit->hessian, players, vector);
	}
}

static double quadratic_form(const double *matrix, unsigned size, const double *vector)
{
	double sum = 0;

	for (unsigned i = 0; i < size; i++)
		for (unsigned j = 0; j < size; j++)
			sum += vector[i] * matrix[(size_t)i * size + j] * vector[j];
	return sum;
}

/* Var(contrast . strength) = c^T H^-1 G H^-1 c, or c^T H^-1 c if separated. The huge common shift
 * in H^-1 (only the prior fixes the origin) falls out because every contrast sums to zero, and so
 * do the scores in G. */
static double contrast_variance(const struct fit *fit, const double *contrast, double *scratch)
{
	unsigned players = fit->players;

	if (fit->separated)
		return quadratic_form(fit->inverse, players, contrast);
	for (unsigned i = 0; i < players; i++) {
		scratch[i] = 0;
		for (unsigned j = 0; j < players; j++)
			scratch[i] += fit->inverse[(size_t)i * players + j] * contrast[j];
	}
	return quadratic_form(fit->meat, players, scratch);
}

static void contrast_set(const struct fit *fit, unsigned player, int reference, double *contrast)
{
	for (unsigned i = 0; i < fit->players; i++)
		contrast[i] = reference < 0 ? -1.0 / fit->players : 0;
	contrast[player] += 1;
	if (reference >= 0)
		contrast[reference] -= 1;
}

static double origin_of(const struct fit *fit, int reference)
{
	return reference < 0 ? statistics_mean(fit->strength, fit->players)
			     : fit->strength[reference];
}

static void report(const struct fit *fit, size_t clusters, int reference, struct strength *out,
		   double *contrast, double *scratch)
{
	double z = statistics_normal_quantile(0.975), origin = origin_of(fit, reference);
	double correction =
		!fit->separated && clusters > 1 ? (double)clusters / ((double)clusters - 1) : 1;

	for (unsigned i = 0; i < fit->players; i++) {
		contrast_set(fit, i, reference, contrast);
		double variance = contrast_variance(fit, contrast, scratch) * correction;
		double error = (int)i == reference ? 0 : sqrt(fmax(0, variance));
		double value = (int)i == reference ? 0 : fit->strength[i] - origin;
		out[i] = (struct strength){value, error, value - z * error, value + z * error,
					   fit->separated};
	}
}

static enum err_code fit_and_report(struct fit *fit, int reference, struct strength *out,
				    double *contrast, double *scratch, struct err *err)
{
	size_t clusters = 0;

	note_scores(fit);
	fit->separated = is_separated(fit);
	ERR_TRY(climb(fit, err));
	evaluate(fit);
	if (!factorise(fit->hessian, fit->players))
		return ERR_SET(err, ERR_INVALID, "the Bradley-Terry fit is degenerate");
	invert(fit);
	if (!fit->separated)
		ERR_TRY(cluster_scores(fit, &clusters, err));
	report(fit, clusters, reference, out, contrast, scratch);
	return ERR_OK;
}

enum err_code bradley_terry_fit(const struct comparison *comparisons, size_t count,
				unsigned players, int reference, struct strength *out,
				struct err *err)
{
	if (count == 0 || players < 2 || players > BRADLEY_TERRY_PLAYERS_MAX)
		return ERR_SET(err, ERR_INVALID, "%zu comparisons of %u models: nothing to fit",
			       count, players);
	assert(reference == BRADLEY_TERRY_MEAN_ZERO || (unsigned)reference < players);
	ERR_TRY(check_connected(comparisons, count, players, err));
	size_t matrix = (size_t)players * players;
	double *memory = calloc(3 * matrix + 4 * (size_t)players, sizeof(double));
	bool *scored = calloc(matrix, sizeof(*scored));
	if (!memory || !scored) {
		free(memory);
		free(scored);
		return ERR_SET(err, ERR_NO_MEMORY, "out of memory for a Bradley-Terry fit");
	}
	struct fit fit = {.comparisons = comparisons,
			  .count = count,
			  .players = players,
			  .scored = scored,
			  .hessian = memory,
			  .inverse = memory + matrix,
			  .meat = memory + 2 * matrix,
			  .strength = memory + 3 * matrix,
			  .gradient = memory + 3 * matrix + players};
	enum err_code code = fit_and_report(&fit, reference, out, fit.gradient + players,
					    fit.gradient + 2 * (size_t)players, err);
	free(scored);
	free(memory);
	return code;
}
