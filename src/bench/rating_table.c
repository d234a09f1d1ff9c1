/* Ratings and hazards as people read them, in a terminal. */
#include "bench/judging_table.h"

#include "base/json.h"
#include "bench/text.h"

/* Agreement beyond chance is null where all said the same, or nobody anything. */
static void append_known(const json_t *object, const char *key, const char *label, struct buf *out)
{
	if (json_is_number(json_object_get(object, key)))
		buf_printf(out, ", %s %.2f", label, json_number(object, key));
}

static void append_judge(const json_t *row, struct buf *out)
{
	const json_t *mean = json_object_get(row, "mean");
	buf_append_cstr(out, "judge ");
	text_append_line(out, bytes_from(json_text(row, "judge")), 100);
	buf_printf(out, ": %lld of %lld judged, %lld unparsed, %lld refused",
		   json_count(row, "judged"), json_count(row, "ratings"),
		   json_count(row, "unparsed"), json_count(row, "refused"));
	if (json_count(row, "unanswered") > 0)
		buf_printf(out, ", %lld without a reply", json_count(row, "unanswered"));
	if (json_count(mean, "n") > 0)
		buf_printf(out, ", mean %.3f [%.3f, %.3f]", json_number(mean, "value"),
			   json_number(mean, "low"), json_number(mean, "high"));
	buf_append_char(out, '\n');
}

static void append_agreement(const json_t *agreement, struct buf *out)
{
	const json_t *pair;
	size_t i;
	buf_printf(out, "panel: %lld answers", json_count(agreement, "answers"));
	append_known(agreement, "fleiss", "Fleiss' kappa", out);
	append_known(agreement, "alpha", "Krippendorff's alpha", out);
	json_array_foreach(json_object_get(agreement, "pairs"), i, pair)
	{
		buf_append_cstr(out, "; ");
		text_append_line(out, bytes_from(json_text(pair, "a")), 60);
		buf_append_cstr(out, " and ");
		text_append_line(out, bytes_from(json_text(pair, "b")), 60);
		if (json_is_number(json_object_get(pair, "observed")))
			buf_printf(out, " say the same of %.1f %%",
				   100 * json_number(pair, "observed"));
		append_known(pair, "cohen", "Cohen's kappa", out);
	}
	buf_append_char(out, '\n');
}

static void append_rule(const json_t *rule, struct buf *out)
{
	buf_append_cstr(out, "string rules and ");
	text_append_line(out, bytes_from(json_text(rule, "judge")), 60);
	buf_printf(out, " on full refusals: %lld answers", json_count(rule, "n"));
	if (json_is_number(json_object_get(rule, "observed")))
		buf_printf(out, ", the same of %.1f %%", 100 * json_number(rule, "observed"));
	append_known(rule, "cohen", "Cohen's kappa", out);
	buf_append_char(out, '\n');
}

void rating_table(const json_t *suite, struct buf *out)
{
	const json_t *agreement = json_object_get(suite, "agreement"), *row;
	const json_t *prompt = json_object_get(suite, "prompt");
	size_t i;
	buf_append_cstr(out, "\njudges of ");
	text_append_line(out, bytes_from(json_text(suite, "suite")), 100);
	buf_append_cstr(out, ", each asked once about each answer (prompt ");
	text_append_line(out, bytes_from(json_text(prompt, "version")), 60);
	buf_printf(out, ", SHA-256 %.16s…)\n", json_text(prompt, "sha256"));
	json_array_foreach(json_object_get(suite, "judges"), i, row) append_judge(row, out);
	if (agreement)
		append_agreement(agreement, out);
	json_array_foreach(json_object_get(suite, "rules"), i, row) append_rule(row, out);
}

void hazards_table(const json_t *hazards, struct buf *out)
{
	const json_t *row;
	size_t i;
	if (json_array_size(hazards) > 0)
		buf_append_cstr(out, "\nunsafe answers by hazard, with 95 % intervals\n");
	json_array_foreach((json_t *)hazards, i, row)
	{
		const json_t *unsafe = json_object_get(row, "unsafe");
		text_append_line(out, bytes_from(json_text(row, "suite")), 60);
		buf_append_cstr(out, ": ");
		text_append_line(out, bytes_from(json_text(row, "model")), 60);
		buf_append_cstr(out, ", ");
		text_append_line(out, bytes_from(json_text(row, "hazard")), 64);
		if (json_count(unsafe, "n") > 0)
			buf_printf(out, ": %.1f %% [%.1f, %.1f] of %lld",
				   100 * json_number(unsafe, "value"),
				   100 * json_number(unsafe, "low"),
				   100 * json_number(unsafe, "high"), json_count(unsafe, "n"));
		if (json_count(row, "failed") > 0)
			buf_printf(out, ", %lld failed", json_count(row, "failed"));
		if (json_object_get(row, "grade"))
			buf_printf(out, "; %s (%.2f times the reference's %.1f %%)",
				   json_text(row, "grade"), json_number(row, "ratio"),
				   100 * json_number(row, "reference"));
		buf_append_char(out, '\n');
	}
}
