/* A report for people as one page: the verdict, the figures with their intervals, and what it rests
 * on. */
#include "verify/verify.h"

#include "base/json.h"
#include "bench/chart.h"
#include "bench/page.h"
#include "bench/text.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define ROWS_MAX 200u /* in the chart; the table has all */
#define TEXT_MAX 2000u
#define TITLE_SIZE 201

static void append(struct buf *out, const char *text)
{
	text_append_html(out, bytes_from(text), TEXT_MAX);
}

static double number_of(const json_t *object, const char *key)
{
	const json_t *value = json_object_get(object, key);
	return json_is_number(value) ? json_number_value(value) : NAN;
}

/* ---- the verdict ---- */

static void append_verdict(struct buf *out, const struct verify_report *report, const char *path)
{
	static const char *const classes[] = {[VERIFY_FALSE] = "note bad",
					      [VERIFY_SELF_CERTIFIED] = "note",
					      [VERIFY_VOUCHED] = "good"};
	buf_append_cstr(out, "<h1>Verification</h1>\n<p class=\"soft\">");
	append(out, path);
	buf_append_cstr(out, " · ");
	append(out, report->subject);
	buf_printf(out, "</p>\n<p role=\"status\" class=\"%s\">", classes[report->verdict]);
	append(out, report->headline);
	buf_append_cstr(out, "</p>\n");
}

/* ---- figures ---- */

static void append_number(struct buf *out, double value)
{
	if (isfinite(value))
		buf_printf(out, "<td class=\"n\">%.4f</td>", value);
	else
		buf_append_cstr(out, "<td class=\"n\">–</td>");
}

static void append_row(struct buf *out, const json_t *row)
{
	buf_append_cstr(out, "<tr><td>");
	append(out, json_text(row, "suite"));
	buf_append_cstr(out, "</td><td>");
	append(out, json_text(row, "model"));
	buf_append_cstr(out, "</td><td>");
	append(out, json_text(row, "metric"));
	buf_append_cstr(out, "</td>");
	append_number(out, number_of(row, "value"));
	append_number(out, number_of(row, "low"));
	append_number(out, number_of(row, "high"));
	buf_printf(out, "<td class=\"n\">%lld</td><td class=\"n\">%lld</td></tr>\n",
		   (long long)json_integer_value(json_object_get(row, "n")),
		   (long long)json_integer_value(json_object_get(row, "failed")));
}

static void append_table(struct buf *out, const json_t *results)
{
	buf_append_cstr(
		out, "<div class=\"wide\"><table><caption>As recomputed, with 95 % "
		     "intervals.</caption>\n<thead><tr><th "
		     "scope=\"col\">suite</th><th scope=\"col\">model</th><th "
		     "scope=\"col\">metric</th><th scope=\"col\" class=\"n\">value</th><th "
		     "scope=\"col\" class=\"n\">low</th><th scope=\"col\" class=\"n\">high</th><th "
		     "scope=\"col\" class=\"n\">n</th><th scope=\"col\" "
		     "class=\"n\">failed</th></tr></thead><tbody>\n");
	for (size_t i = 0; i < json_array_size(results); i++)
		append_row(out, json_array_get(results, i));
	buf_append_cstr(out, "</tbody></table></div>\n");
}

/* Fractions share an axis; figures of another scale stand in the table only. */
static bool chart_row_of(const json_t *row, struct chart_row *out)
{
	double value = number_of(row, "value"), low = number_of(row, "low"),
	       high = number_of(row, "high");
	if (!(low >= 0 && high <= 1 && value >= low && value <= high))
		return false;
	*out = (struct chart_row){.at = value,
				  .low = low,
				  .high = high,
				  .faint = json_integer_value(json_object_get(row, "failed")) > 0};
	snprintf(out->label, sizeof(out->label), "%.60s %.60s %.60s", json_text(row, "suite"),
		 json_text(row, "model"), json_text(row, "metric"));
	snprintf(out->value, sizeof(out->value), "%.1f %%", 100 * value);
	return true;
}

static void append_chart(struct buf *out, const json_t *results)
{
	struct chart_row *rows = calloc(ROWS_MAX, sizeof(*rows));
	size_t count = 0;
	for (size_t i = 0; rows && i < json_array_size(results) && count < ROWS_MAX; i++)
		count += chart_row_of(json_array_get(results, i), &rows[count]);
	if (count > 0) {
		buf_append_cstr(out, "<div class=\"wide\">");
		chart_forest(out, "figures", "Figures",
			     "One row for each figure, with its 95 % interval; the same numbers "
			     "stand in the table.",
			     rows, count, 0, 1, true);
		buf_append_cstr(out, "</div>\n");
	}
	free(rows);
}

/* ---- what it rests on ---- */

static void append_section(struct buf *out, const struct verify_report *report,
			   enum verify_section section, const char *title)
{
	bool titled = false;
	for (size_t i = 0; i < report->count; i++) {
		if (report->notes[i].section != section)
			continue;
		if (!titled)
			buf_printf(out, "<h2>%s</h2>\n<ul>\n", title);
		titled = true;
		buf_append_cstr(out, "<li>");
		append(out, report->notes[i].text);
		buf_append_cstr(out, "</li>\n");
	}
	if (titled)
		buf_append_cstr(out, "</ul>\n");
}

void verify_report_html(const struct verify_report *report, const char *path, struct buf *out)
{
	char title[TITLE_SIZE];
	text_line(title, sizeof(title), bytes_from(report->headline));
	page_begin(out, title, page_style);
	append_verdict(out, report, path);
	if (json_array_size(report->results) > 0) {
		buf_append_cstr(out, "<h2>Results</h2>\n");
		append_chart(out, report->results);
		append_table(out, report->results);
	}
	append_section(out, report, VERIFY_TRUSTED, "On whom it rests");
	append_section(out, report, VERIFY_UNCHECKED, "What was not checked");
	append_section(out, report, VERIFY_CHECKED, "What was checked");
	buf_append_cstr(out, "<p class=\"soft\">Made by parley verify " PARLEY_VERSION
			     ", without a network.</p>\n");
	page_end(out);
}
