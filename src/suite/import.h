/* Other projects' data sets made into suite folders. */
#ifndef SUITE_IMPORT_H
#define SUITE_IMPORT_H

#include "env/env.h"

#include <jansson.h>

/* NULL: found out from the content. The fields and the scorer are of plain files (CSV, JSON Lines)
 * only. */
struct suite_import_options {
	const char *format;
	const char *prompt_field, *target_field;
	const char *scorer; /* its kind */
};

struct suite_imported {
	const char *format; /* name in the table of formats; static */
	size_t items;
	bool transcript; /* transcript.jsonl was written beside the suite: the file held answers */
	size_t left_out; /* what can be no item of a suite */
	char first_left[200]; /* why the first of them cannot; "" where there is none */
};

/* Reads `input` (gzip is unpacked) and writes suite.yaml and items.jsonl into `directory`, which is
 * made if it is missing and must hold no suite.yaml (ERR_EXISTS). ERR_INVALID lists the formats
 * where none fits. `options` and `imported` may be NULL. */
enum err_code suite_import(struct env *env, const struct suite_import_options *options,
			   const char *input, const char *directory,
			   struct suite_imported *imported, struct err *err);

/* The name of a format; NULL from the last one on. */
const char *suite_import_format(size_t index);

/* AlpacaEval annotations: win rate = mean of (preference - 1), with its standard error (sample
 * standard deviation / sqrt n). A preference of 0 is a tie (1.5), null is left out and counted. */
struct alpaca_win_rate {
	size_t n, left_out;
	double win_rate;       /* 0 to 1 */
	double standard_error; /* 0 to 1; 0 where n < 2 */
};

enum err_code alpaca_win_rate(const json_t *annotations, struct alpaca_win_rate *out,
			      struct err *err);

#endif
