#include "bench/judging_table.h"

#include "base/json.h"
#include "bench/text.h"

#include <stdio.h>
#include <stdlib.h>

#define COLUMNS_MAX 12u
#define CELL_MAX 128
#define DIGEST_SHOWN 16

/* ---- words ---- */

void judging_rate_text(const json_t *rate, char out[static JUDGING_RATE_MAX])
{
	*out = '\0';
	if (json_count(rate, "n") > 0)
		snprintf(out, JUDGING_RATE_MAX, "%.1f %% [%.1f, %.1f]",
			 100 * json_number(rate, "value"), 100 * json_number(rate, "low"),
			 100 * json_number(rate, "high"));
}

void judging_number_text(const json_t *object, const char *key, char out[static JUDGING_RATE_MAX])
{
	if (json_is_number(json_object_get(object, key)))
		snprintf(out, JUDGING_RATE_MAX, "%.2f", json_number(object, key));
	else
		snprintf(out, JUDGING_RATE_MAX, "unknown");
}

const char *judging_control_text(const char *control)
{
	return strcmp(control, "null") == 0      ? "null model"
	       : strcmp(control, "longest") == 0 ? "longest answer"
						 : control;
}

const char *judging_null_lack(const json_t *controls)
{
	const json_t *null = json_object_get(controls, "null");

	if (!null)
		return "no null model: the run was made without controls";
	return json_count(null, "n") > 0
		       ? NULL
		       : "no verdict on the null model: a gateway shows judges answers that it "
			 "served only, and judges that are asked elsewhere gave none";
}

/* ---- columns ---- */

/* A table whose columns are as wide as what stands in them. */
struct columns {
	unsigned count, rows;
	char (*cells)[CELL_MAX]; /* rows x count, the first row the heads; NULL: no memory */
};

static bool columns_open(struct columns *table, const char *const *heads, size_t rows)
{
	*table = (struct columns){0};
	while (heads[table->count] && table->count < COLUMNS_MAX)
		table->count++;
	table->cells = calloc(table->count * (rows + 1), sizeof(*table->cells));
	for (unsigned i = 0; table->cells && i < table->count; i++)
		snprintf(table->cells[i], CELL_MAX, "%s", heads[i]);
	table->rows = table->cells ? 1 : 0;
	return table->cells;
}

static char *column(struct columns *table, unsigned place)
{
	return table->cells[table->rows * table->count + place];
}

static size_t width_of(const char *text)
{
	return text_columns(bytes_from(text));
}

static void columns_close(struct columns *table, struct buf *out)
{
	for (unsigned row = 0; row < table->rows; row++) {
		buf_append_cstr(out, " ");
		for (unsigned i = 0; i < table->count; i++) {
			size_t width = 0, own;
			for (unsigned k = 0; k < table->rows; k++) {
				own = width_of(table->cells[k * table->count + i]);
				width = own > width ? own : width;
			}
			const char *text = table->cells[row * table->count + i];
			buf_printf(out, " %s", text);
			for (own = width_of(text); own <= width && i + 1 < table->count; own++)
				buf_append_char(out, ' ');
		}
		while (out->size > 0 && out->data[out->size - 1] == ' ')
			out->size--;
		buf_append_char(out, '\n');
	}
	free(table->cells);
	*table = (struct columns){0};
}

static void put_name(struct columns *table, unsigned place, const json_t *row, const char *key)
{
	text_line(column(table, place), 64, bytes_from(json_text(row, key)));
}

static void put_count(struct columns *table, unsigned place, const json_t *row, const char *key)
{
	snprintf(column(table, place), CELL_MAX, "%lld", json_count(row, key));
}

static void put_rate(struct columns *table, unsigned place, const json_t *rate)
{
	char text[JUDGING_RATE_MAX];
	judging_rate_text(rate, text);
	snprintf(column(table, place), CELL_MAX, "%s", *text ? text : "-");
}

/* ---- judges ---- */

static void append_judges(const json_t *judges, struct buf *out)
{
	static const char *const heads[] = {"judge",   "judged",      "unparsed",
					    "refused", "unanswered",  "flipped by the order",
					    "ties",    "named first", "longer won",
					    NULL};
	static const char *const counts[] = {"unparsed", "refused", "unanswered"};
	static const char *const rates[] = {"flips", "ties", "first", "longer"};
	struct columns table;
	const json_t *row;
	size_t i;

	if (!columns_open(&table, heads, json_array_size(judges)))
		return;
	json_array_foreach((json_t *)judges, i, row)
	{
		put_name(&table, 0, row, "judge");
		snprintf(column(&table, 1), CELL_MAX, "%lld of %lld", json_count(row, "judged"),
			 json_count(row, "comparisons"));
		for (unsigned k = 0; k < 3; k++)
			put_count(&table, 2 + k, row, counts[k]);
		for (unsigned k = 0; k < 4; k++)
			put_rate(&table, 5 + k, json_object_get(row, rates[k]));
		table.rows++;
	}
	columns_close(&table, out);
}

/* ---- agreement ---- */

/* Agreement beyond chance is null where all said the same, or nobody anything. */
static void append_known(const json_t *object, const char *key, const char *label, struct buf *out)
{
	char text[JUDGING_RATE_MAX];

	judging_number_text(object, key, text);
	buf_printf(out, ", %s %s", label, text);
}

static void append_agreement(const json_t *agreement, struct buf *out)
{
	const json_t *pair;
	size_t i;

	buf_printf(out, "agreement of the panel in %lld comparisons",
		   json_count(agreement, "comparisons"));
	append_known(agreement, "fleiss", "Fleiss' kappa", out);
	append_known(agreement, "alpha", "Krippendorff's alpha", out);
	buf_append_char(out, '\n');
	json_array_foreach(json_object_get(agreement, "pairs"), i, pair)
	{
		buf_append_cstr(out, "  ");
		text_append_line(out, bytes_from(json_text(pair, "a")), 60);
		buf_append_cstr(out, " and ");
		text_append_line(out, bytes_from(json_text(pair, "b")), 60);
		if (json_is_number(json_object_get(pair, "observed")))
			buf_printf(out, " agree in %.1f %%", 100 * json_number(pair, "observed"));
		append_known(pair, "cohen", "Cohen's kappa", out);
		buf_append_char(out, '\n');
	}
}

/* ---- controls ---- */

static void append_controls(const json_t *controls, struct buf *out)
{
	static const char *const heads[] = {"control", "against", "judge", "won", "n", NULL};
	const json_t *rows = json_object_get(controls, "rows"), *row;
	struct columns table;
	size_t i;

	buf_append_cstr(
		out, "controls, no contestants and in no result: the null model says the same "
		     "words to everything,\nthe longest answer is what wins whoever hands in the "
		     "longest one of each sample\n");
	if (!columns_open(&table, heads, json_array_size(rows)))
		return;
	json_array_foreach((json_t *)rows, i, row)
	{
		snprintf(column(&table, 0), CELL_MAX, "%s",
			 judging_control_text(json_text(row, "control")));
		put_name(&table, 1, row, "against");
		put_name(&table, 2, row, "judge");
		if (json_is_null(json_object_get(row, "judge")))
			snprintf(column(&table, 2), CELL_MAX, "(all)");
		put_rate(&table, 3, row);
		put_count(&table, 4, row, "n");
		table.rows++;
	}
	columns_close(&table, out);
	const char *lack = judging_null_lack(controls);
	if (lack)
		buf_printf(out, "  %s\n", lack);
}

static void append_suite(const json_t *suite, struct buf *out)
{
	const json_t *prompt = json_object_get(suite, "prompt");
	const json_t *agreement = json_object_get(suite, "agreement");

	buf_append_cstr(out, "\njudges of ");
	text_append_line(out, bytes_from(json_text(suite, "suite")), 100);
	buf_append_cstr(out, ", each asked in both orders (prompt ");
	text_append_line(out, bytes_from(json_text(prompt, "version")), 60);
	buf_printf(out, ", SHA-256 %.*s…)\n", DIGEST_SHOWN, json_text(prompt, "sha256"));
	append_judges(json_object_get(suite, "judges"), out);
	if (agreement)
		append_agreement(agreement, out);
	append_controls(json_object_get(suite, "controls"), out);
}

void judging_table(const json_t *judging, struct buf *out)
{
	const json_t *suite;
	size_t i;

	json_array_foreach((json_t *)judging, i, suite)
	{
		if (json_object_get(suite, "scorer"))
			rating_table(suite, out);
		else
			append_suite(suite, out);
	}
}

/* ---- people ---- */

void anchors_text(const json_t *suite, struct buf *out)
{
	const json_t *people = json_object_get(suite, "people");
	json_int_t raters = json_count(suite, "raters"), draws = json_count(people, "draws");
	json_int_t unmatched = json_count(people, "unmatched");
	bool verdicts = strcmp(json_text(suite, "of"), "verdicts") == 0;

	buf_printf(out, "%lld %s gave %lld ratings of %lld %s (%s)", (long long)raters,
		   raters == 1 ? "person" : "people", json_count(people, "ratings"),
		   json_count(people, "cases"), verdicts ? "pairs of answers" : "answers",
		   json_is_true(json_object_get(suite, "committed")) ? "committed to before the run"
								     : "added after it began");
	if (raters > 1) {
		if (json_is_number(json_object_get(people, "observed")))
			buf_printf(out, "; two of them agree in %.1f %%",
				   100 * json_number(people, "observed"));
		append_known(people, "fleiss", "Fleiss' kappa", out);
		append_known(people, "alpha", "Krippendorff's alpha", out);
	}
	if (draws > 0)
		buf_printf(out, "; in %lld no verdict has most votes", (long long)draws);
	if (unmatched > 0)
		buf_printf(out, "; %lld have no verdict in the run", (long long)unmatched);
}

void anchors_table(const json_t *anchors, struct buf *out)
{
	static const char *const heads[] = {"judge",         "as most people",       "n",
					    "Cohen's kappa", "Krippendorff's alpha", NULL};
	const json_t *suite, *row;
	struct columns table;
	size_t i, k;

	json_array_foreach((json_t *)anchors, i, suite)
	{
		const json_t *judges = json_object_get(suite, "judges");

		buf_append_cstr(out, "\njudges of ");
		text_append_line(out, bytes_from(json_text(suite, "suite")), 100);
		buf_append_cstr(out, " and people: ");
		anchors_text(suite, out);
		buf_append_char(out, '\n');
		if (!columns_open(&table, heads, json_array_size(judges)))
			return;
		json_array_foreach(judges, k, row)
		{
			put_name(&table, 0, row, "judge");
			put_rate(&table, 1, row);
			put_count(&table, 2, row, "n");
			judging_number_text(row, "cohen", column(&table, 3));
			judging_number_text(row, "alpha", column(&table, 4));
			table.rows++;
		}
		columns_close(&table, out);
	}
}
