/* What the importers share: each turns the content of a file into the content of a suite folder. */
#ifndef SUITE_IMPORT_INTERNAL_H
#define SUITE_IMPORT_INTERNAL_H

#include "suite/csv.h"
#include "suite/import.h"

/* The folder being made. */
struct import {
	struct env *env;
	const struct suite_import_options *options; /* not NULL */
	const char *input;                          /* path, also for errors */
	struct bytes content;                       /* of the input, unpacked */
	struct buf yaml;                            /* suite.yaml */
	struct buf items;                           /* items.jsonl */
	struct buf transcript;                      /* transcript.jsonl; empty: none */
	size_t count;
	json_t *ids; /* of the items so far, as members; owned */
	size_t left_out;
	char first_left[200];
	char prompt_field[132]; /* of plain files: what is asked */
};

/* One row of the table of formats. */
struct import_format {
	const char *name;
	/* Whether the content looks like this format. `first` is the first JSON value of the file
	 * (the first element where it is a list), NULL where it does not begin with one. */
	bool (*detect)(struct bytes content, const json_t *first);
	enum err_code (*run)(struct import *import, struct err *err);
};

extern const struct import_format import_humaneval, import_evalplus, import_mbpp, import_xstest,
	import_ailuminate, import_truthfulqa, import_alpaca, import_mt_bench, import_arena_hard,
	import_inspect, import_lm_eval, import_promptfoo, import_helm, import_modelbench,
	import_csv, import_jsonl;

/* Calls `each` for every row of a JSON Lines file or of one JSON list; `line` counts lines or
 * elements from 1. Errors get "INPUT:LINE: " in front. */
enum err_code import_rows(struct import *import,
			  enum err_code (*each)(struct import *import, const json_t *row,
						struct err *err),
			  struct err *err);

/* Calls `each` for every row of a CSV file that has the `needed` columns (NULL-terminated). */
enum err_code import_table(struct import *import, const char *const *needed,
			   enum err_code (*each)(struct import *import, const struct csv *csv,
						 struct err *err),
			   struct err *err);
/* Whether the content begins with the header of a CSV file that has these columns. */
bool import_has_columns(struct bytes content, const char *const *columns);
/* The field of this column; empty where there is no such column. */
struct bytes import_field(const struct csv *csv, const char *name);

/* What can be no item: counted, and the first reason told. */
void import_leave_out(struct import *import, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* A prompt that was asked as it stands, with what a right answer is and what was answered. */
struct import_example {
	const char *id;        /* a second one with the same id only adds its answers */
	const json_t *prompt;  /* a text or words (words.h) */
	const json_t *target;  /* a text or a list of texts; NULL: not known */
	const json_t *answers; /* texts; NULL: none */
	const json_t *extra;   /* further fields of the item; NULL: none */
};

/* One item with the fields `prompt` and `target`, and a line of the transcript. What words.h does
 * not take is left out. */
enum err_code import_add_example(struct import *import, const struct import_example *example,
				 struct err *err);
/* Words from a chat as most harnesses store it: [{role, content: text or parts {type: text,
 * text}}], as far as its first `count` messages. NULL where a message is something else than text
 * of system, user or assistant. A new reference. */
json_t *import_chat(const json_t *messages, size_t count);
/* What a suite may be called, of a name or path: letters, digits, '.', '_' and '-' of its last
 * part, a letter or digit first; "imported" where nothing is left. */
void import_append_name(struct buf *out, const char *name);
/* suite.yaml of such examples: `words: prompt` and the scorer, a YAML mapping. `name` is cut down
 * to what a suite may be called. */
void import_examples_yaml(struct import *import, const char *name, const char *source,
			  const char *scorer);
/* A note in front of the transcript, if that is empty. */
enum err_code import_note(struct import *import, const char *note, struct err *err);

/* Appends one line to items.jsonl and drops the reference to `item` (NULL: memory is out). */
enum err_code import_add_item(struct import *import, json_t *item, struct err *err);

/* The member as a text: a string, or a whole number in decimal. ERR_INVALID if it is neither. `out`
 * holds 257 bytes. */
enum err_code import_id(const json_t *row, const char *key, char out[static 257], struct err *err);

/* Whether the object has all these members (NULL-terminated). */
bool import_has(const json_t *row, const char *const *keys);

#endif
