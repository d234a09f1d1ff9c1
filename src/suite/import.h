/* Other projects' data sets made into suite folders. */
#ifndef SUITE_IMPORT_H
#define SUITE_IMPORT_H

#include "env/env.h"

#include <jansson.h>

struct suite_imported {
	const char *format; /* name in the table of formats; static */
	size_t items;
	bool transcript; /* transcript.jsonl was written beside the suite: the file held answers */
};

/* Reads `input` (gzip is unpacked) and writes suite.yaml and items.jsonl into `directory`, which is
 * made if it is missing and must hold no suite.yaml (ERR_EXISTS). `format` NULL: found out from the
 * content; ERR_INVALID lists the formats where none fits. `imported` may be NULL. */
enum err_code suite_import(struct env *env, const char *format, const char *input,
			   const char *directory, struct suite_imported *imported, struct err *err);

/* The names of the formats, NULL-terminated; static. */
const char *const *suite_import_formats(void);

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
