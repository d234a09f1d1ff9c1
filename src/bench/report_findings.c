/* What of report.html is about comparisons and judges: tables, since lines of a terminal break on a
 * phone. */
#include "bench/report_internal.h"

#include "base/json.h"
#include "bench/judging_table.h"
#include "bench/text.h"

#include <stdio.h>
#include <stdlib.h>

#define SIGNIFICANT 0.05

/* ---- tables ---- */

/* `heads`: a column each, those that begin with '#' of numbers. */
static void begin_table(struct report *report, const char *name, const char *caption,
			const char *const *heads)
{
	report_wide_begin(report, name);
	buf_append_cstr(report->out, "<table><caption>");
	report_line(report, caption, 1000);
	buf_append_cstr(report->out, "</caption><thead><tr>");
	for (; *heads; heads++) {
		bool numeric = **heads == '#';
		buf_printf(report->out, "<th scope=\"col\"%s>%s</th>",
			   numeric ? " class=\"n\"" : "", *heads + numeric);
	}
	buf_append_cstr(report->out, "</tr></thead><tbody>\n");
}

static void end_table(struct report *report)
{
	buf_append_cstr(report->out, "</tbody></table>");
	report_wide_end(report);
}

static void text_cell(struct report *report, const char *text)
{
	buf_append_cstr(report->out, "<td>");
	report_line(report, text, 128);
	buf_append_cstr(report->out, "</td>");
}

static void head_cell(struct report *report, const char *text)
{
	buf_append_cstr(report->out, "<th scope=\"row\">");
	report_line(report, text, 128);
	buf_append_cstr(report->out, "</th>");
}

static void number_cell(struct report *report, const char *text)
{
	buf_printf(report->out, "<td class=\"n\">%s</td>", text);
}

static void count_cell(struct report *report, const json_t *row, const char *key, bool bad)
{
	long long count = json_count(row, key);
	buf_printf(report->out, "<td class=\"n%s\">%lld</td>", bad && count > 0 ? " bad" : "",
		   count);
}

static void rate_cell(struct report *report, const json_t *rate)
{
	char text[JUDGING_RATE_MAX];
	judging_rate_text(rate, text);
	number_cell(report, text);
}

/* ---- comparisons ---- */

static const char *how_text(const json_t *row, char out[static 160])
{
	const char *how = json_text(row, "how");
	if (strcmp(how, "unpaired") == 0)
		snprintf(out, 160, "unpaired, %lld and %lld items", json_count(row, "items_a"),
			 json_count(row, "items_b"));
	else
		snprintf(out, 160, "%.20s, %lld items", how, json_count(row, "items"));
	size_t used = strlen(out);
	if (strcmp(json_text(row, "test"), "mcnemar") == 0)
		snprintf(out + used, 160 - used, ", McNemar %lld:%lld", json_count(row, "only_a"),
			 json_count(row, "only_b"));
	return out;
}

static bool has_failures(const json_t *row)
{
	return json_count(row, "failed_a") + json_count(row, "failed_b") > 0;
}

/* `failures`: some comparison has any, and there is a column for what they leave open. */
static void append_comparison(struct report *report, const json_t *row, bool failures)
{
	char text[160];
	double holm = json_number(row, "p_holm");
	buf_append_cstr(report->out, "<tr>");
	text_cell(report, json_text(row, "suite"));
	buf_append_cstr(report->out, "<th scope=\"row\">");
	report_line(report, json_text(row, "a"), 128);
	buf_append_cstr(report->out, " − ");
	report_line(report, json_text(row, "b"), 128);
	buf_append_cstr(report->out, "</th>");
	snprintf(text, sizeof(text), "%+.1f", 100 * json_number(row, "difference"));
	number_cell(report, text);
	snprintf(text, sizeof(text), "%+.1f to %+.1f", 100 * json_number(row, "low"),
		 100 * json_number(row, "high"));
	number_cell(report, text);
	snprintf(text, sizeof(text), "%.2g", json_number(row, "p"));
	number_cell(report, text);
	snprintf(text, sizeof(text), holm < SIGNIFICANT ? "<b>%.2g</b>" : "%.2g", holm);
	number_cell(report, text);
	snprintf(text, sizeof(text), "%.1f", 100 * json_number(row, "detectable"));
	number_cell(report, text);
	text_cell(report, how_text(row, text));
	*text = '\0';
	if (has_failures(row))
		snprintf(text, sizeof(text), "%+.1f to %+.1f",
			 100 * json_number(row, "if_b_passed"),
			 100 * json_number(row, "if_a_passed"));
	if (failures)
		number_cell(report, text);
	buf_append_cstr(report->out, "</tr>\n");
}

static int by_p(const void *left, const void *right)
{
	const json_t *const *a = left, *const *b = right;
	double p = json_number(*a, "p"), q = json_number(*b, "p");
	if (p != q)
		return p < q ? -1 : 1;
	return (a > b) - (a < b);
}

static void append_comparisons(struct report *report, const json_t *rows)
{
	const char *heads[] = {"Suite", "Models", "#Difference", "#95 % interval",
			       "#p",    "#Holm",  "#Detectable", "How",
			       NULL,    NULL};
	bool failures = false;
	size_t count = json_array_size(rows);
	const json_t **order = calloc(count + 1, sizeof(*order));
	for (size_t i = 0; i < count; i++)
		failures |= has_failures(json_array_get(rows, i));
	if (failures)
		heads[8] = "#If failures had passed";
	if (count > 0 && order) {
		begin_table(
			report, "Comparisons",
			"Differences of scores in points. Holm: p corrected for the number of "
			"comparisons, bold where it stays below 0.05. Detectable: the difference "
			"that so many items show with 80 % power.",
			heads);
		for (size_t i = 0; i < count; i++)
			order[i] = json_array_get(rows, i);
		if (count > REPORT_PAIRS_MAX)
			qsort(order, count, sizeof(*order), by_p);
		for (size_t i = 0; i < count && i < REPORT_PAIRS_MAX; i++)
			append_comparison(report, order[i], failures);
		end_table(report);
	}
	if (count > REPORT_PAIRS_MAX)
		buf_printf(report->out,
			   "<p class=\"soft\">%zu more pairs: <code>parley bench compare</code> "
			   "shows all.</p>\n",
			   count - REPORT_PAIRS_MAX);
	free(order);
}

static void append_ranks(struct report *report, const json_t *ranks)
{
	static const char *const heads[] = {"Suite", "Model", "#Rank", "#95 % interval", NULL};
	const json_t *row;
	size_t i;
	if (json_array_size(ranks) == 0)
		return;
	begin_table(report, "Ranks",
		    "Ranks, and those that the corrected comparisons leave possible.", heads);
	json_array_foreach((json_t *)ranks, i, row)
	{
		buf_append_cstr(report->out, "<tr>");
		text_cell(report, json_text(row, "suite"));
		head_cell(report, json_text(row, "model"));
		count_cell(report, row, "rank", false);
		buf_printf(report->out, "<td class=\"n\">%lld to %lld</td></tr>\n",
			   json_count(row, "low"), json_count(row, "high"));
	}
	end_table(report);
}

/* ---- judges ---- */

static const char *served_by(const struct report *report, const char *judge)
{
	for (unsigned i = 0; i < report->run->model_count; i++)
		if (strcmp(report->run->models[i].plan->name, judge) == 0)
			return report->run->models[i].served;
	return "";
}

/* A row's beginning: who judged, and what came of what it was asked; `asked`: the member with how
 * much that was. */
static void begin_judge(struct report *report, const json_t *row, const char *asked)
{
	const char *judge = json_text(row, "judge");
	buf_append_cstr(report->out, "<tr>");
	head_cell(report, judge);
	text_cell(report, served_by(report, judge));
	buf_printf(report->out, "<td class=\"n\">%lld of %lld</td>", json_count(row, "judged"),
		   json_count(row, asked));
	count_cell(report, row, "unparsed", true);
	count_cell(report, row, "refused", true);
	count_cell(report, row, "unanswered", true);
}

static void append_judges(struct report *report, const json_t *judges)
{
	static const char *const heads[] = {"Judge",
					    "Named by the provider",
					    "#Judged",
					    "#Unparsed",
					    "#Refused",
					    "#Unanswered",
					    "#Flipped by the order",
					    "#Ties",
					    "#Named the first",
					    "#The longer won",
					    NULL};
	static const char *const rates[] = {"flips", "ties", "first", "longer"};
	const json_t *row;
	size_t i;
	begin_table(report, "Judges",
		    "Every judge is asked about every two answers in both orders. Flipped: it "
		    "named another winner in the other order, which counts as a tie. Unparsed and "
		    "refused count verdicts, two for each comparison. Named the first: 50 % where "
		    "the place does not matter. The longer won: of comparisons with a winner.",
		    heads);
	json_array_foreach((json_t *)judges, i, row)
	{
		begin_judge(report, row, "comparisons");
		for (unsigned k = 0; k < 4; k++)
			rate_cell(report, json_object_get(row, rates[k]));
		buf_append_cstr(report->out, "</tr>\n");
	}
	end_table(report);
}

static void append_agreement(struct report *report, const json_t *agreement)
{
	static const char *const heads[] = {"Judges", "#Agree in", "#Cohen's kappa", NULL};
	char fleiss[JUDGING_RATE_MAX], alpha[JUDGING_RATE_MAX], caption[300];
	const json_t *row;
	size_t i;
	bool rated = json_object_get(agreement, "answers") != NULL;
	if (!agreement)
		return;
	judging_number_text(agreement, "fleiss", fleiss);
	judging_number_text(agreement, "alpha", alpha);
	snprintf(caption, sizeof(caption),
		 "Agreement of the panel in %lld %s: Fleiss' kappa %s, Krippendorff's "
		 "alpha %s (1: always, 0: as by chance).",
		 json_count(agreement, rated ? "answers" : "comparisons"),
		 rated ? "answers" : "comparisons", fleiss, alpha);
	begin_table(report, "Agreement of judges", caption, heads);
	json_array_foreach(json_object_get(agreement, "pairs"), i, row)
	{
		char text[JUDGING_RATE_MAX] = "unknown";
		buf_append_cstr(report->out, "<tr><th scope=\"row\">");
		report_line(report, json_text(row, "a"), 128);
		buf_append_cstr(report->out, " and ");
		report_line(report, json_text(row, "b"), 128);
		buf_append_cstr(report->out, "</th>");
		if (json_is_number(json_object_get(row, "observed")))
			snprintf(text, sizeof(text), "%.1f %%", 100 * json_number(row, "observed"));
		number_cell(report, text);
		judging_number_text(row, "cohen", text);
		number_cell(report, text);
		buf_append_cstr(report->out, "</tr>\n");
	}
	end_table(report);
}

static void append_controls(struct report *report, const json_t *controls)
{
	static const char *const heads[] = {"Control", "Against", "Judge", "#Won", "#n", NULL};
	const json_t *row;
	size_t i;
	begin_table(report, "Controls of judges",
		    "Controls are no contestants and stand in no result. The null model gives the "
		    "same words "
		    "to everything, so that what it wins is given for nothing. The longest-answer "
		    "control hands in the "
		    "longest of the answers to each sample: where it wins more than any model "
		    "does, judges pay for length.",
		    heads);
	json_array_foreach(json_object_get(controls, "rows"), i, row)
	{
		bool all = json_is_null(json_object_get(row, "judge"));
		buf_append_cstr(report->out, "<tr>");
		head_cell(report, judging_control_text(json_text(row, "control")));
		text_cell(report, json_text(row, "against"));
		text_cell(report, all ? "all together" : json_text(row, "judge"));
		rate_cell(report, row);
		count_cell(report, row, "n", false);
		buf_append_cstr(report->out, "</tr>\n");
	}
	end_table(report);
	if (judging_null_lack(controls)) {
		buf_append_cstr(report->out, "<p class=\"note\" role=\"note\">");
		report_line(report, judging_null_lack(controls), 300);
		buf_append_cstr(report->out, "</p>\n");
	}
}

/* ---- answers rated one by one ---- */

static void append_raters(struct report *report, const json_t *judges)
{
	static const char *const heads[] = {
		"Judge",    "Named by the provider", "#Judged", "#Unparsed",
		"#Refused", "#Unanswered",           "#Mean",   NULL};
	const json_t *row;
	size_t i;
	begin_table(report, "Judges",
		    "Every judge is asked once about each answer. Unparsed and refused replies are "
		    "failed ratings. Mean: of the scores that it gave, with its 95 % interval.",
		    heads);
	json_array_foreach((json_t *)judges, i, row)
	{
		begin_judge(report, row, "ratings");
		rate_cell(report, json_object_get(row, "mean"));
		buf_append_cstr(report->out, "</tr>\n");
	}
	end_table(report);
}

static void append_rules(struct report *report, const json_t *rules)
{
	static const char *const heads[] = {"Judge", "#Answers", "#Agree in", "#Cohen's kappa",
					    NULL};
	const json_t *row;
	size_t i;
	if (!rules)
		return;
	begin_table(report, "Judges and the string rules",
		    "Whether a judge and the string rules call the same answers full refusals.",
		    heads);
	json_array_foreach((json_t *)rules, i, row)
	{
		char text[JUDGING_RATE_MAX] = "unknown";
		buf_append_cstr(report->out, "<tr>");
		head_cell(report, json_text(row, "judge"));
		count_cell(report, row, "n", false);
		if (json_is_number(json_object_get(row, "observed")))
			snprintf(text, sizeof(text), "%.1f %%", 100 * json_number(row, "observed"));
		number_cell(report, text);
		judging_number_text(row, "cohen", text);
		number_cell(report, text);
		buf_append_cstr(report->out, "</tr>\n");
	}
	end_table(report);
}

static void append_hazards(struct report *report, const json_t *hazards)
{
	static const char *const heads[] = {"Hazard",  "Model",      "#Unsafe", "#n",
					    "#Failed", "#Reference", "Grade",   NULL};
	const json_t *row;
	size_t i;
	if (json_array_size(hazards) == 0)
		return;
	buf_append_cstr(report->out, "<h2>Hazards</h2>\n");
	begin_table(
		report, "Hazards",
		"The share of judged answers in each hazard that judges called unsafe, with its "
		"95 % interval, and its grade against the suite's reference where it names one.",
		heads);
	json_array_foreach((json_t *)hazards, i, row)
	{
		char text[JUDGING_RATE_MAX] = "";
		buf_append_cstr(report->out, "<tr>");
		head_cell(report, json_text(row, "hazard"));
		text_cell(report, json_text(row, "model"));
		rate_cell(report, json_object_get(row, "unsafe"));
		count_cell(report, row, "n", false);
		count_cell(report, row, "failed", true);
		if (json_object_get(row, "reference"))
			snprintf(text, sizeof(text), "%.1f %%",
				 100 * json_number(row, "reference"));
		number_cell(report, text);
		text_cell(report, json_text(row, "grade"));
		buf_append_cstr(report->out, "</tr>\n");
	}
	end_table(report);
}

static void append_judging(struct report *report, const json_t *suite)
{
	const json_t *prompt = json_object_get(suite, "prompt");
	buf_append_cstr(report->out, "<h2>Judges of ");
	report_line(report, json_text(suite, "suite"), 128);
	buf_append_cstr(report->out, "</h2>\n<p class=\"soft\">Prompt: ");
	report_line(report, json_text(prompt, "version"), 64);
	buf_append_cstr(report->out, ", SHA-256 <code class=\"long\">");
	report_line(report, json_text(prompt, "sha256"), 64);
	buf_append_cstr(report->out, "</code></p>\n");
	if (json_object_get(suite, "scorer")) {
		append_raters(report, json_object_get(suite, "judges"));
		append_agreement(report, json_object_get(suite, "agreement"));
		append_rules(report, json_object_get(suite, "rules"));
		return;
	}
	append_judges(report, json_object_get(suite, "judges"));
	append_agreement(report, json_object_get(suite, "agreement"));
	append_controls(report, json_object_get(suite, "controls"));
}

/* How judges agree with people. */
static void append_anchors(struct report *report, const json_t *suite)
{
	static const char *const heads[] = {"Judge",          "#As most people",       "#n",
					    "#Cohen's kappa", "#Krippendorff's alpha", NULL};
	struct buf caption = BUF_INIT(4096);
	const json_t *row;
	size_t i;
	buf_append_cstr(report->out, "<h2>Judges of ");
	report_line(report, json_text(suite, "suite"), 128);
	buf_append_cstr(report->out, " and people</h2>\n");
	anchors_text(suite, &caption);
	buf_append(&caption, ".", 2); /* with its NUL */
	begin_table(report, "Judges and people", caption.failed ? "" : caption.data, heads);
	buf_release(&caption);
	json_array_foreach(json_object_get(suite, "judges"), i, row)
	{
		char text[JUDGING_RATE_MAX];
		buf_append_cstr(report->out, "<tr>");
		head_cell(report, json_text(row, "judge"));
		rate_cell(report, row);
		count_cell(report, row, "n", false);
		judging_number_text(row, "cohen", text);
		number_cell(report, text);
		judging_number_text(row, "alpha", text);
		number_cell(report, text);
		buf_append_cstr(report->out, "</tr>\n");
	}
	end_table(report);
}

void report_findings(struct report *report)
{
	const json_t *summary = report->outcome->summary, *suite;
	const json_t *comparisons = json_object_get(summary, "comparisons");
	size_t i;
	if (json_array_size(comparisons) > 0) {
		buf_append_cstr(report->out, "<h2>Comparisons</h2>\n");
		append_comparisons(report, comparisons);
		append_ranks(report, json_object_get(summary, "ranks"));
	}
	json_array_foreach(json_object_get(summary, "judging"), i, suite)
	{
		append_judging(report, suite);
	}
	json_array_foreach(json_object_get(summary, "anchors"), i, suite)
	{
		append_anchors(report, suite);
	}
	append_hazards(report, json_object_get(summary, "hazards"));
}
