/* A reader of comma-separated values (RFC 4180) with a header row. Lines may end in LF or CRLF, a
 * byte-order mark in front is skipped, and quoted fields may hold commas, quotes and newlines. */
#ifndef SUITE_CSV_H
#define SUITE_CSV_H

#include "base/buf.h"
#include "base/err.h"

#define CSV_FIELDS_MAX 256

struct csv {
	struct bytes rest;
	const char *what; /* names the text in errors; borrowed */
	size_t line;      /* where the next row begins, from 1 */
	size_t row_line;  /* where the last row began */
	size_t columns;   /* of the header */
	char *header;     /* its fields, each ended by NUL */
	struct buf text;  /* the fields of the last row, one after another */
	struct bytes fields[CSV_FIELDS_MAX];
};

/* Reads the header: its names must be different and not empty. `text` must outlive the reader. On
 * failure nothing is to be released. */
enum err_code csv_open(struct csv *csv, struct bytes text, const char *what, struct err *err);
void csv_close(struct csv *csv);

/* The next row, which must have as many fields as the header; *end at the end of the text. The
 * fields are valid until the next call. Empty lines are skipped. */
enum err_code csv_next(struct csv *csv, bool *end, struct err *err);

/* The column with this name, or -1. */
int csv_column(const struct csv *csv, const char *name);

#endif
