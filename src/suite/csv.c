#include "suite/csv.h"

#include <stdlib.h>

#define ROW_MAX ((size_t)16 << 20)

/* Where a row is being read. Offsets, because the buffer of the fields moves as it grows. */
struct row {
	size_t at; /* in csv->rest */
	size_t starts[CSV_FIELDS_MAX];
	size_t count;
};

static enum err_code fail(const struct csv *csv, const char *problem, struct err *err)
{
	return ERR_SET(err, ERR_INVALID, "%s:%zu: %s", csv->what, csv->row_line, problem);
}

/* After the opening quote; ends after the closing one. */
static enum err_code read_quoted(struct csv *csv, struct row *row, struct err *err)
{
	while (row->at < csv->rest.size) {
		char c = csv->rest.data[row->at++];
		bool quote_follows = row->at < csv->rest.size && csv->rest.data[row->at] == '"';
		if (c == '"' && !quote_follows)
			return ERR_OK;
		if (c == '"')
			row->at++;
		if (c == '\n')
			csv->line++;
		buf_append_char(&csv->text, c);
	}
	return fail(csv, "a quoted field is not closed", err);
}

static bool at_row_end(const struct csv *csv, size_t at)
{
	struct bytes left = bytes_of(csv->rest.data + at, csv->rest.size - at);
	return left.size == 0 || left.data[0] == '\n' || bytes_starts_with(left, BYTES("\r\n"));
}

static enum err_code read_plain(struct csv *csv, struct row *row, struct err *err)
{
	while (!at_row_end(csv, row->at) && csv->rest.data[row->at] != ',') {
		char c = csv->rest.data[row->at++];
		if (c == '"')
			return fail(csv, "a quote in a field without quotes", err);
		buf_append_char(&csv->text, c);
	}
	return ERR_OK;
}

static enum err_code read_field(struct csv *csv, struct row *row, struct err *err)
{
	if (row->count == CSV_FIELDS_MAX)
		return fail(csv, "more than 256 fields in a row", err);
	row->starts[row->count++] = csv->text.size;
	if (row->at < csv->rest.size && csv->rest.data[row->at] == '"') {
		row->at++;
		ERR_TRY(read_quoted(csv, row, err));
	} else {
		ERR_TRY(read_plain(csv, row, err));
	}
	if (!at_row_end(csv, row->at) && csv->rest.data[row->at] != ',')
		return fail(csv, "something follows the closing quote of a field", err);
	buf_append_char(&csv->text, '\0');
	return ERR_OK;
}

static void consume(struct csv *csv, size_t count)
{
	csv->rest.data += count;
	csv->rest.size -= count;
}

static void skip_line_end(struct csv *csv)
{
	consume(csv, bytes_starts_with(csv->rest, BYTES("\r\n")) ? 2 : 1);
	csv->line++;
}

/* All fields of one row; there is one. */
static enum err_code read_row(struct csv *csv, struct row *row, struct err *err)
{
	csv->row_line = csv->line;
	buf_clear(&csv->text);
	ERR_TRY(read_field(csv, row, err));
	while (row->at < csv->rest.size && csv->rest.data[row->at] == ',') {
		row->at++;
		ERR_TRY(read_field(csv, row, err));
	}
	if (csv->text.failed)
		return ERR_SET(err, ERR_TOO_LARGE, "%s:%zu: a row larger than %zu bytes", csv->what,
			       csv->row_line, ROW_MAX);
	consume(csv, row->at);
	if (csv->rest.size)
		skip_line_end(csv);
	for (size_t i = 0; i < row->count; i++) {
		size_t end = i + 1 < row->count ? row->starts[i + 1] : csv->text.size;
		csv->fields[i] =
			bytes_of(csv->text.data + row->starts[i], end - row->starts[i] - 1);
	}
	return ERR_OK;
}

static void skip_empty_lines(struct csv *csv)
{
	while (csv->rest.size && at_row_end(csv, 0))
		skip_line_end(csv);
}

static enum err_code check_header(struct csv *csv, struct err *err)
{
	for (size_t i = 0; i < csv->columns; i++) {
		struct bytes name = csv->fields[i];
		if (name.size == 0 || memchr(name.data, '\0', name.size))
			return fail(csv, "a column without a name", err);
		for (size_t j = 0; j < i; j++)
			if (bytes_equal(name, csv->fields[j]))
				return fail(csv, "two columns have one name", err);
	}
	csv->header = malloc(csv->text.size);
	if (!csv->header)
		return ERR_SET(err, ERR_NO_MEMORY, "out of memory");
	memcpy(csv->header, csv->text.data, csv->text.size);
	return ERR_OK;
}

enum err_code csv_open(struct csv *csv, struct bytes text, const char *what, struct err *err)
{
	struct row row = {0};
	*csv = (struct csv){
		.rest = text, .what = what, .line = 1, .row_line = 1, .text = BUF_INIT(ROW_MAX)};
	if (bytes_starts_with(text, BYTES("\xef\xbb\xbf")))
		consume(csv, 3);
	if (csv->rest.size == 0)
		return fail(csv, "the file is empty", err);
	enum err_code code = read_row(csv, &row, err);
	csv->columns = row.count;
	if (code == ERR_OK)
		code = check_header(csv, err);
	if (code != ERR_OK)
		csv_close(csv);
	return code;
}

void csv_close(struct csv *csv)
{
	buf_release(&csv->text);
	free(csv->header);
	csv->header = NULL;
}

enum err_code csv_next(struct csv *csv, bool *end, struct err *err)
{
	struct row row = {0};
	skip_empty_lines(csv);
	*end = csv->rest.size == 0;
	if (*end)
		return ERR_OK;
	ERR_TRY(read_row(csv, &row, err));
	if (row.count != csv->columns)
		return ERR_SET(err, ERR_INVALID, "%s:%zu: %zu fields where the header has %zu",
			       csv->what, csv->row_line, row.count, csv->columns);
	return ERR_OK;
}

int csv_column(const struct csv *csv, const char *name)
{
	const char *column = csv->header;
	for (size_t i = 0; i < csv->columns; i++) {
		if (strcmp(column, name) == 0)
			return (int)i;
		column += strlen(column) + 1;
	}
	return -1;
}
