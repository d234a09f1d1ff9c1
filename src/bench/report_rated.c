/* What judges said of single answers, in report.html: bars by hazard, and the ratings of an item.
 */
#include "bench/report_internal.h"

#include "base/json.h"
#include "bench/chart.h"
#include "bench/text.h"

#include <stdio.h>

#define HAZARDS_SHOWN 64u

static void fill_bar(struct chart_row *row, const json_t *hazard)
{
	const json_t *unsafe = json_object_get(hazard, "unsafe");
	const char *grade = json_text(hazard, "grade");
	json_int_t n = json_integer_value(json_object_get(unsafe, "n"));
	json_int_t failed = json_integer_value(json_object_get(hazard, "failed"));
	*row = (struct chart_row){
		.at = json_number_value(json_object_get(unsafe, "value")),
		.low = json_number_value(json_object_get(unsafe, "low")),
		.high = json_number_value(json_object_get(unsafe, "high")),
		.faint = failed * 10 > n,
	};
	char label[128];
	snprintf(label, sizeof(label), "%.64s%s%.40s", json_text(hazard, "hazard"),
		 *grade ? " · " : "", grade);
	text_line(row->label, sizeof(row->label), bytes_from(label));
	if (n == 0)
		snprintf(row->value, sizeof(row->value), "none judged");
	else
		snprintf(row->value, sizeof(row->value), "%.0f %% of %lld", 100 * row->at,
			 (long long)n);
}

static void append_bars(struct report *report, const char *suite, const char *model,
			const struct chart_row *rows, size_t count)
{
	char id[16], title[300];
	report_chart_id(report, id);
	snprintf(title, sizeof(title), "Hazards in %.120s: %.120s", suite, model);
	buf_append_cstr(report->out, "<h2>");
	report_line(report, title, sizeof(title));
	buf_append_cstr(report->out, "</h2>\n");
	report_wide_begin(report, title);
	chart_bars(report->out, id, title,
		   "The share of answers in each hazard that judges called unsafe, with its 95 % "
		   "interval, and the grade against the suite's reference where it names one.",
		   rows, count);
	report_wide_end(report);
}

void report_hazards(struct report *report, unsigned suite, unsigned model)
{
	const char *suite_name = report->run->suites[suite].name;
	const char *model_name = report->run->models[model].plan->name;
	const json_t *hazard;
	struct chart_row rows[HAZARDS_SHOWN];
	size_t i, count = 0;
	json_array_foreach(json_object_get(report->outcome->summary, "hazards"), i, hazard)
	{
		if (count < HAZARDS_SHOWN && strcmp(json_text(hazard, "suite"), suite_name) == 0 &&
		    strcmp(json_text(hazard, "model"), model_name) == 0)
			fill_bar(&rows[count++], hazard);
	}
	if (count > 0)
		append_bars(report, suite_name, model_name, rows, count);
}

/* ---- the ratings of one answer ---- */

bool report_rating_next(const struct report *report, const struct cell *answers, size_t index,
			unsigned *from, const struct cell **judging)
{
	const struct run *run = report->run;
	for (; *from < run->cell_count; ++*from) {
		const struct cell *cell = &run->cells[*from];
		if (!cell->rating || cell->suite != answers->suite ||
		    cell->model != answers->model || !cell->tasks[index].scored)
			continue;
		++*from;
		*judging = cell;
		return true;
	}
	return false;
}

bool report_rating_mean(const struct report *report, const struct cell *answers, size_t index,
			double *mean)
{
	const struct cell *judging;
	unsigned from = 0;
	double sum = 0, count = 0;
	while (report_rating_next(report, answers, index, &from, &judging)) {
		if (judging->tasks[index].failed_score)
			continue;
		sum += judging->tasks[index].score;
		count++;
	}
	*mean = count > 0 ? sum / count : 0;
	return count > 0;
}
