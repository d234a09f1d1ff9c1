#include "bench/chart.h"

#include "bench/text.h"

#include <math.h>
#include <stdio.h>

#define WIDTH 760.0
#define LABELS 290.0 /* columns for the labels */
#define RIGHT 660.0  /* where the axis ends; values stand after it */
#define ROW 26.0
#define TOP 14.0
#define TICKS 5
#define LABEL_BYTES ((size_t)38)
#define DESCRIBED_MAX 64u

static void append_escaped(struct buf *out, const char *text, size_t limit)
{
	struct buf line = BUF_INIT(4096);
	text_append_line(&line, bytes_from(text), limit);
	text_append_html(out, buf_bytes(&line), line.size);
	buf_release(&line);
}

/* Title and description, for those who hear the page: the caller goes on with the figures and calls
 * end_description. */
static void open_svg(struct buf *out, const char *id, const char *title, const char *description,
		     double width, double height)
{
	buf_printf(out,
		   "<svg role=\"img\" viewBox=\"0 0 %.0f %.0f\" aria-labelledby=\"%s-t %s-d\">"
		   "<title id=\"%s-t\">",
		   width, height, id, id, id);
	append_escaped(out, title, 300);
	buf_printf(out, "</title><desc id=\"%s-d\">", id);
	append_escaped(out, description, 2000);
}

static void end_description(struct buf *out)
{
	buf_append_cstr(out, "</desc>\n");
}

static void describe_rows(struct buf *out, const struct chart_row *rows, size_t count)
{
	for (size_t i = 0; i < count && i < DESCRIBED_MAX; i++) {
		buf_append_char(out, ' ');
		append_escaped(out, rows[i].label, LABEL_BYTES);
		buf_append_cstr(out, ": ");
		append_escaped(out, rows[i].value, 64);
		buf_append_char(out, '.');
	}
	end_description(out);
}

static double place(double value, double from, double to)
{
	double share = to > from ? (value - from) / (to - from) : 0.5;
	return LABELS + fmin(1, fmax(0, share)) * (RIGHT - LABELS);
}

static void append_axis(struct buf *out, size_t count, double from, double to, bool percent)
{
	double bottom = TOP + ROW * (double)count + 4;
	for (int i = 0; i <= TICKS; i++) {
		double value = from + (to - from) * i / TICKS, x = place(value, from, to);
		buf_printf(out,
			   "<line class=\"grid\" x1=\"%.1f\" y1=\"%.0f\" x2=\"%.1f\" y2=\"%.1f\"/>",
			   x, TOP - 6, x, bottom);
		buf_printf(out, "<text class=\"tick\" x=\"%.1f\" y=\"%.1f\">", x, bottom + 16);
		buf_printf(out, percent ? "%.0f %%</text>\n" : "%.2g</text>\n",
			   percent ? 100 * value : value);
	}
}

static void append_label(struct buf *out, const struct chart_row *row, double y)
{
	buf_printf(out, "<text class=\"label\" x=\"%.0f\" y=\"%.1f\">", LABELS - 12, y + 4);
	append_escaped(out, row->label, LABEL_BYTES);
	buf_printf(out, "</text><text class=\"value\" x=\"%.0f\" y=\"%.1f\">", RIGHT + 10, y + 4);
	append_escaped(out, row->value, 32);
	buf_append_cstr(out, "</text>");
}

static void append_interval(struct buf *out, const struct chart_row *row, double y, double from,
			    double to)
{
	double low = place(row->low, from, to), high = place(row->high, from, to);
	const char *faint = row->faint ? " faint" : "";
	buf_printf(out,
		   "<line class=\"whisker%s\" x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\"/>",
		   faint, low, y, high, y);
	buf_printf(out,
		   "<line class=\"whisker%s\" x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\"/>",
		   faint, low, y - 4, low, y + 4);
	buf_printf(out,
		   "<line class=\"whisker%s\" x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\"/>",
		   faint, high, y - 4, high, y + 4);
}

static double row_middle(size_t index)
{
	return TOP + ROW * ((double)index + 0.5);
}

void chart_forest(struct buf *out, const char *id, const char *title, const char *description,
		  const struct chart_row *rows, size_t count, double from, double to, bool percent)
{
	open_svg(out, id, title, description, WIDTH, TOP + ROW * (double)count + 30);
	describe_rows(out, rows, count);
	append_axis(out, count, from, to, percent);
	for (size_t i = 0; i < count; i++) {
		double y = row_middle(i);
		append_label(out, &rows[i], y);
		append_interval(out, &rows[i], y, from, to);
		buf_printf(out, "<circle class=\"mark%s\" cx=\"%.1f\" cy=\"%.1f\" r=\"5\"/>\n",
			   rows[i].faint ? " faint" : "", place(rows[i].at, from, to), y);
	}
	buf_append_cstr(out, "</svg>\n");
}

void chart_bars(struct buf *out, const char *id, const char *title, const char *description,
		const struct chart_row *rows, size_t count)
{
	open_svg(out, id, title, description, WIDTH, TOP + ROW * (double)count + 30);
	describe_rows(out, rows, count);
	append_axis(out, count, 0, 1, true);
	for (size_t i = 0; i < count; i++) {
		double y = row_middle(i), end = place(rows[i].at, 0, 1);
		append_label(out, &rows[i], y);
		buf_printf(
			out,
			"<rect class=\"bar\" x=\"%.0f\" y=\"%.1f\" width=\"%.1f\" height=\"14\"/>",
			LABELS, y - 7, end - LABELS);
		append_interval(out, &rows[i], y, 0, 1);
		buf_append_char(out, '\n');
	}
	buf_append_cstr(out, "</svg>\n");
}

/* ---- scatter ---- */

#define PLOT_LEFT 60.0
#define PLOT_RIGHT 720.0
#define PLOT_TOP 16.0
#define PLOT_BOTTOM 300.0

static double across(double x, double max)
{
	double share = max > 0 ? fmin(1, fmax(0, x / max)) : 0;
	return PLOT_LEFT + share * (PLOT_RIGHT - PLOT_LEFT);
}

static double upwards(double share)
{
	return PLOT_BOTTOM - fmin(1, fmax(0, share)) * (PLOT_BOTTOM - PLOT_TOP);
}

static void append_plot(struct buf *out, const struct chart_axis *axis)
{
	for (int i = 0; i <= TICKS; i++) {
		double share = (double)i / TICKS, x = across(share * axis->max, axis->max);
		buf_printf(out,
			   "<line class=\"grid\" x1=\"%.0f\" y1=\"%.1f\" x2=\"%.0f\" y2=\"%.1f\"/>"
			   "<text class=\"label\" x=\"%.0f\" y=\"%.1f\">%.0f %%</text>",
			   PLOT_LEFT, upwards(share), PLOT_RIGHT, upwards(share), PLOT_LEFT - 8,
			   upwards(share) + 4, 100 * share);
		buf_printf(out, "<text class=\"tick\" x=\"%.1f\" y=\"%.0f\">%.*f</text>\n", x,
			   PLOT_BOTTOM + 18, (int)axis->decimals, share * axis->max);
	}
	buf_printf(out, "<text class=\"tick\" x=\"%.0f\" y=\"%.0f\">", (PLOT_LEFT + PLOT_RIGHT) / 2,
		   PLOT_BOTTOM + 38);
	append_escaped(out, axis->name, 100);
	buf_append_cstr(out, "</text>\n");
}

/* Names stand on the side of the point where there is room. */
static void append_point(struct buf *out, const struct chart_row *row, double max)
{
	double x = across(row->x, max), y = upwards(row->at);
	bool left = x > (PLOT_LEFT + PLOT_RIGHT) / 2;
	buf_printf(out,
		   "<line class=\"whisker\" x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\"/>"
		   "<circle class=\"mark\" cx=\"%.1f\" cy=\"%.1f\" r=\"5\"/>"
		   "<text class=\"%s\" x=\"%.1f\" y=\"%.1f\">",
		   x, upwards(row->low), x, upwards(row->high), x, y, left ? "label" : "value",
		   left ? x - 10 : x + 10, y + 4);
	append_escaped(out, row->label, LABEL_BYTES);
	buf_append_cstr(out, "</text>\n");
}

void chart_scatter(struct buf *out, const char *id, const char *title, const char *description,
		   const struct chart_row *rows, size_t count, const struct chart_axis *axis)
{
	open_svg(out, id, title, description, WIDTH, PLOT_BOTTOM + 48);
	describe_rows(out, rows, count);
	append_plot(out, axis);
	for (size_t i = 0; i < count; i++)
		append_point(out, &rows[i], axis->max);
	buf_append_cstr(out, "</svg>\n");
}

/* Shades in steps, so that they can be classes (the policy forbids style attributes). */
static int shade(double share)
{
	return (int)fmin(9, fmax(0, floor(share * 10)));
}

static void append_matrix_cell(struct buf *out, double share, double x, double y, double side)
{
	if (isnan(share)) {
		buf_printf(out,
			   "<rect class=\"never\" x=\"%.0f\" y=\"%.0f\" width=\"%.0f\" "
			   "height=\"30\"/>",
			   x, y, side - 2);
		return;
	}
	buf_printf(out,
		   "<rect class=\"shade%d\" x=\"%.0f\" y=\"%.0f\" width=\"%.0f\" height=\"30\"/>"
		   "<text class=\"cell%s\" x=\"%.1f\" y=\"%.1f\">%.0f %%</text>",
		   shade(share), x, y, side - 2, shade(share) > 6 ? " on" : "", x + side / 2 - 1,
		   y + 20, 100 * share);
}

static void describe_matrix(struct buf *out, const char *const *names, size_t count,
			    const double *shares)
{
	for (size_t i = 0; i < count * count && i < DESCRIBED_MAX; i++) {
		if (isnan(shares[i]))
			continue;
		buf_append_char(out, ' ');
		append_escaped(out, names[i / count], LABEL_BYTES);
		buf_append_cstr(out, " against ");
		append_escaped(out, names[i % count], LABEL_BYTES);
		buf_printf(out, ": %.0f %%.", 100 * shares[i]);
	}
	end_description(out);
}

void chart_matrix(struct buf *out, const char *id, const char *title, const char *description,
		  const char *const *names, size_t count, const double *shares)
{
	double side = fmin(120, (WIDTH - LABELS) / (double)(count ? count : 1));
	open_svg(out, id, title, description, WIDTH, 40 + 32 * (double)count);
	describe_matrix(out, names, count, shares);
	for (size_t j = 0; j < count; j++) {
		buf_printf(out, "<text class=\"tick\" x=\"%.1f\" y=\"20\">",
			   LABELS + side * ((double)j + 0.5));
		append_escaped(out, names[j], (size_t)(side / 7));
		buf_append_cstr(out, "</text>");
	}
	for (size_t i = 0; i < count; i++) {
		double y = 32 + 32 * (double)i;
		buf_printf(out, "<text class=\"label\" x=\"%.0f\" y=\"%.0f\">", LABELS - 12,
			   y + 20);
		append_escaped(out, names[i], LABEL_BYTES);
		buf_append_cstr(out, "</text>");
		for (size_t j = 0; j < count; j++)
			append_matrix_cell(out, shares[i * count + j], LABELS + side * (double)j, y,
					   side);
		buf_append_char(out, '\n');
	}
	buf_append_cstr(out, "</svg>\n");
}
