#include "bench/comparison_table.h"

#include "base/json.h"
#include "bench/text.h"
#include "grade/conduct.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define SIGNIFICANT 0.05
#define NAME_WIDTH 44

static void append_padded(struct buf *out, const char *text, size_t width)
{
	size_t start = out->size;

	text_append_line(out, bytes_from(text), width);
	for (size_t i = text_columns(bytes_of(out->data + start, out->size - start));
	     !out->failed && i < width; i++)
		buf_append_char(out, ' ');
	buf_append_cstr(out, "  ");
}

static void append_how(const json_t *row, struct buf *out)
{
	const char *how = json_text(row, "how");

	if (strcmp(how, "unpaired") == 0)
		buf_printf(out, "unpaired, %lld and %lld items", json_count(row, "items_a"),
			   json_count(row, "items_b"));
	else
		buf_printf(out, "%s, %lld items", how, json_count(row, "items"));
	if (strcmp(json_text(row, "test"), "mcnemar") == 0)
		buf_printf(out, ", McNemar %lld:%lld", json_count(row, "only_a"),
			   json_count(row, "only_b"));
	if (json_count(row, "failed_a") + json_count(row, "failed_b") > 0)
		buf_printf(out, ", had failures passed %+.1f to %+.1f",
			   100 * json_number(row, "if_b_passed"),
			   100 * json_number(row, "if_a_passed"));
}

static void append_row(const json_t *row, struct buf *out)
{
	char names[300];
	double adjusted = json_number(row, "p_holm");

	snprintf(names, sizeof(names), "%.100s: %.80s - %.80s", json_text(row, "suite"),
		 json_text(row, "a"), json_text(row, "b"));
	append_padded(out, names, NAME_WIDTH);
	buf_printf(out, "%+7.1f  [%+.1f, %+.1f]  p %.2g, Holm %.2g%s  detectable %.1f  ",
		   100 * json_number(row, "difference"), 100 * json_number(row, "low"),
		   100 * json_number(row, "high"), json_number(row, "p"), adjusted,
		   adjusted < SIGNIFICANT ? " *" : "", 100 * json_number(row, "detectable"));
	append_how(row, out);
	buf_append_char(out, '\n');
}

struct placed {
	const json_t *row;
	size_t place;
};

static int by_p(const void *left, const void *right)
{
	const struct placed *a = left, *b = right;
	double p = json_number(a->row, "p"), q = json_number(b->row, "p");

	if (p != q)
		return p < q ? -1 : 1;
	return (a->place > b->place) - (a->place < b->place);
}

static void append_rows(const json_t *rows, size_t limit, struct buf *out)
{
	size_t count = json_array_size(rows);
	struct placed *order = calloc(count, sizeof(*order));

	for (size_t i = 0; order && i < count; i++)
		order[i] = (struct placed){json_array_get(rows, i), i};
	if (order && count > limit)
		qsort(order, count, sizeof(*order), by_p);
	for (size_t i = 0; order && i < count && i < limit; i++)
		append_row(order[i].row, out);
	if (count > limit)
		buf_printf(out, "… and %zu more pairs (parley bench compare shows all)\n",
			   count - limit);
	free(order);
}

static void append_ranks(const json_t *ranks, struct buf *out)
{
	const json_t *row;
	size_t i;

	json_array_foreach((json_t *)ranks, i, row)
	{
		char names[300];

		snprintf(names, sizeof(names), "%.100s: %.80s", json_text(row, "suite"),
			 json_text(row, "model"));
		append_padded(out, names, NAME_WIDTH);
		buf_printf(out, "rank %lld  [%lld, %lld]\n", json_count(row, "rank"),
			   json_count(row, "low"), json_count(row, "high"));
	}
}

void comparison_table(const json_t *rows, const json_t *ranks, size_t limit, struct buf *out)
{
	if (json_array_size(rows) == 0)
		return;
	buf_append_cstr(out, "\ndifferences in points, with 95 % intervals; * holds after Holm's "
			     "correction; detectable: what so many items show with 80 % power\n");
	append_rows(rows, limit, out);
	append_ranks(ranks, out);
}

/* ---- providers ---- */

static void append_sentences(const json_t *words, const char *key, const char *label,
			     struct buf *out)
{
	const json_t *sentence;
	size_t i;

	json_array_foreach(json_object_get(words, key), i, sentence)
	{
		buf_printf(out, "%s: ", label);
		text_append_line(out, bytes_from(json_string_value(sentence)), 1000);
		buf_append_char(out, '\n');
	}
}

void conduct_table(const json_t *summary, bool brief, struct buf *out)
{
	const json_t *conduct = json_object_get(summary, "conduct");
	const json_t *words = json_object_get(summary, "conduct_words");

	if (!conduct || (brief && !conduct_is_told(conduct)))
		return;
	buf_append_cstr(out, "\nhow the providers behaved, as far as a client can see\n");
	append_sentences(words, "done", "done", out);
	append_sentences(words, "found", "found", out);
	append_sentences(words, "not_shown", "not shown", out);
}
