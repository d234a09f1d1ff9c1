/* What the importers share: each turns the content of a file into the content of a suite folder. */
#ifndef SUITE_IMPORT_INTERNAL_H
#define SUITE_IMPORT_INTERNAL_H

#include "suite/import.h"

/* The folder being made. */
struct import {
	const char *input;     /* path, for errors */
	struct bytes content;  /* of the input, unpacked */
	struct buf yaml;       /* suite.yaml */
	struct buf items;      /* items.jsonl */
	struct buf transcript; /* transcript.jsonl; empty: none */
	size_t count;
};

/* One row of the table of formats. */
struct import_format {
	const char *name;
	/* Whether the content looks like this format. `first` is the first JSON value of the file
	 * (the first element where it is a list), NULL where it does not begin with one. */
	bool (*detect)(struct bytes content, const json_t *first);
	enum err_code (*run)(struct import *import, struct err *err);
};

extern const struct import_format import_humaneval, import_mbpp, import_xstest, import_alpaca;

/* Calls `each` for every row of a JSON Lines file or of one JSON list; `line` counts lines or
 * elements from 1. Errors get "INPUT:LINE: " in front. */
enum err_code import_rows(struct import *import,
			  enum err_code (*each)(struct import *import, const json_t *row,
						struct err *err),
			  struct err *err);

/* Appends one line to items.jsonl and drops the reference to `item` (NULL: memory is out). */
enum err_code import_add_item(struct import *import, json_t *item, struct err *err);

/* The member as a text: a string, or a whole number in decimal. ERR_INVALID if it is neither. `out`
 * holds 257 bytes. */
enum err_code import_id(const json_t *row, const char *key, char out[static 257], struct err *err);

/* Whether the object has all these members (NULL-terminated). */
bool import_has(const json_t *row, const char *const *keys);

#endif
