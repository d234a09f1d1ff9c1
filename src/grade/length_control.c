#include "grade/length_control.h"

#include <math.h>
#include <stdlib.h>

#define STEPS_MAX 100
#define PRECISION 1e-10

struct fit {
	const double *x, *y;
	size_t count;
	double ridge, a, b;
	double h00, h01, h11; /* of the negative log-likelihood, with the penalty */
};

static double logistic(double x)
{
	return 1 / (1 + exp(-x));
}

/* One Newton step, cut to length 2; returns its size, or NaN where the Hessian is singular. */
static double step(struct fit *fit)
{
	double ga = 0, gb = -fit->ridge * fit->b;

	fit->h00 = fit->h01 = 0;
	fit->h11 = fit->ridge;
	for (size_t i = 0; i < fit->count; i++) {
		double p = logistic(fit->a + fit->b * fit->x[i]), weight = p * (1 - p);

		ga += fit->y[i] - p;
		gb += (fit->y[i] - p) * fit->x[i];
		fit->h00 += weight;
		fit->h01 += weight * fit->x[i];
		fit->h11 += weight * fit->x[i] * fit->x[i];
	}
	double determinant = fit->h00 * fit->h11 - fit->h01 * fit->h01;
	if (!(determinant > 1e-300))
		return NAN;
	double da = (fit->h11 * ga - fit->h01 * gb) / determinant;
	double db = (fit->h00 * gb - fit->h01 * ga) / determinant;
	double size = fmax(fabs(da), fabs(db)), scale = size > 2 ? 2 / size : 1;
	fit->a += scale * da;
	fit->b += scale * db;
	return size;
}

/* Var(a) = (H^-1 G H^-1)_00 with G summed over clusters, times C / (C - 1). False: no memory. */
static bool variance(const struct fit *fit, const size_t *cluster, double *out)
{
	double(*scores)[2] = calloc(fit->count, sizeof(*scores));
	bool *seen = calloc(fit->count, sizeof(*seen));
	double determinant = fit->h00 * fit->h11 - fit->h01 * fit->h01, sum = 0;
	size_t clusters = 0;

	if (!scores || !seen) {
		free(scores);
		free(seen);
		return false;
	}
	for (size_t i = 0; i < fit->count; i++) {
		size_t at = cluster ? cluster[i] : i;
		double rest = fit->y[i] - logistic(fit->a + fit->b * fit->x[i]);

		clusters += !seen[at];
		seen[at] = true;
		scores[at][0] += rest;
		scores[at][1] += rest * fit->x[i];
	}
	for (size_t i = 0; i < fit->count; i++) {
		double influence =
			(fit->h11 * scores[i][0] - fit->h01 * scores[i][1]) / determinant;

		sum += influence * influence;
	}
	*out = clusters > 1 ? sum * (double)clusters / ((double)clusters - 1) : NAN;
	free(scores);
	free(seen);
	return true;
}

bool length_control_fit(const double *covariate, const double *score, const size_t *cluster,
			size_t count, double ridge, struct length_controlled *out)
{
	struct fit fit = {.x = covariate, .y = score, .count = count, .ridge = ridge};
	double sum = 0, size = 1, squared;

	*out = (struct length_controlled){0};
	for (size_t i = 0; i < count; i++)
		sum += score[i];
	if (count < 2 || sum <= 0 || sum >= (double)count)
		return true;
	for (int i = 0; i < STEPS_MAX && size > PRECISION; i++)
		size = step(&fit);
	if (!(size <= PRECISION))
		return true;
	step(&fit); /* the Hessian at the end */
	if (!variance(&fit, cluster, &squared))
		return false;
	if (isnan(squared))
		return true;
	double error = sqrt(squared), z = statistics_normal_quantile(0.975);
	*out = (struct length_controlled){
		.known = true,
		.rate = logistic(fit.a),
		.intercept = fit.a,
		.slope = fit.b,
		.standard_error = error,
		.interval = {logistic(fit.a - z * error), logistic(fit.a + z * error)}
        };
	return true;
}

bool length_control(const double *difference, const double *score, const size_t *cluster,
		    size_t count, double ridge, struct length_controlled *out)
{
	double *covariate = calloc(count ? count : 1, sizeof(*covariate));
	struct estimate spread = statistics_estimate(difference, count);
	double deviation = spread.standard_error * sqrt((double)count);

	if (!covariate)
		return false;
	for (size_t i = 0; i < count; i++)
		covariate[i] = deviation > 0 ? tanh(difference[i] / deviation) : 0;
	bool done = length_control_fit(covariate, score, cluster, count, deviation > 0 ? ridge : 1,
				       out);
	free(covariate);
	return done;
}
