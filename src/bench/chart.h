/* Charts as SVG for report.html: text in the page's own font, colours by class, a title and a
 * description for screen readers; what they show also stands in a table. Pure. */
#ifndef BENCH_CHART_H
#define BENCH_CHART_H

#include "base/buf.h"

#include <stdbool.h>

struct chart_row {
	char label[192]; /* any text; escaped here */
	char value[64];  /* as written beside the mark */
	double at, low, high;
	double x;   /* of chart_scatter alone */
	bool faint; /* few or failed samples */
};

/* A forest plot: one row with a mark and its interval for each, between `from` and `to`. `percent`
 * labels the axis 0 % to 100 %. */
void chart_forest(struct buf *out, const char *id, const char *title, const char *description,
		  const struct chart_row *rows, size_t count, double from, double to, bool percent);

/* Bars from 0 to 1 with intervals. */
void chart_bars(struct buf *out, const char *id, const char *title, const char *description,
		const struct chart_row *rows, size_t count);

/* A point for each row: `x` (0 to x_max) across, `at` with its interval (0 to 1) upwards, the label
 * beside it. */
struct chart_axis {
	const char *name; /* of x, with its unit */
	double max;
	unsigned decimals;
};
void chart_scatter(struct buf *out, const char *id, const char *title, const char *description,
		   const struct chart_row *rows, size_t count, const struct chart_axis *axis);

/* A square of win rates: cell (i, j) is the share that i won against j, NaN where they never met.
 */
void chart_matrix(struct buf *out, const char *id, const char *title, const char *description,
		  const char *const *names, size_t count, const double *shares);

#endif
