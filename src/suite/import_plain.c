/* Plain tables: CSV with a header, and JSON Lines (or one list) of objects. Every column becomes a
 * field of the item; which of them is asked, which is right and how that is told can be said, and
 * is guessed by the usual names otherwise. */
#include "suite/import_internal.h"

#include "base/json.h"

#include <stdio.h>

#define SCORER_DEFAULT "contains"

static const char *const prompt_names[] = {"prompt", "question", "instruction", "problem",
					   "input",  "query",    "text",        NULL};
static const char *const target_names[] = {"target",          "answer", "expected",
					   "expected_output", "ideal",  "label",
					   "reference",       "output", NULL};

/* What the first row says of all. */
struct fields {
	const char *prompt, *target; /* "" : none */
};

/* ---- which fields ---- */

static const char *find_name(const char *said, const char *const *names,
			     bool (*has)(const void *row, const char *name), const void *row)
{
	if (said)
		return has(row, said) ? said : "";
	for (; *names; names++)
		if (has(row, *names))
			return *names;
	return "";
}

static enum err_code find_fields(const struct import *import,
				 bool (*has)(const void *row, const char *name), const void *row,
				 struct fields *out, struct err *err)
{
	const struct suite_import_options *options = import->options;
	out->prompt = find_name(options->prompt_field, prompt_names, has, row);
	out->target = find_name(options->target_field, target_names, has, row);
	if (!*out->prompt && options->prompt_field)
		return ERR_SET(err, ERR_INVALID, "there is no field %s", options->prompt_field);
	if (!*out->prompt)
		return ERR_SET(err, ERR_INVALID,
			       "say which field holds the prompt: --prompt-field NAME");
	if (!*out->target && options->target_field)
		return ERR_SET(err, ERR_INVALID, "there is no field %s", options->target_field);
	return ERR_OK;
}

/* ---- suite.yaml ---- */

/* Without a target, answers can only be compared with each other. */
static enum err_code append_scorer(const struct import *import, const struct fields *fields,
				   struct buf *out, struct err *err)
{
	static const struct {
		const char *kind, *member;
	} kinds[] = {
		{"contains", "target" },
                {"exact",    "target" },
                {"choice",   "target" },
		{"numeric",  "target" },
                {"regex",    "pattern"},
                {"refusal",  "expect" },
	};
	const char *kind = import->options->scorer;
	if (!kind && !*fields->target) {
		buf_append_cstr(out, "kind: writing\nscorer: { kind: pairwise }\n");
		return ERR_OK;
	}
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		if (strcmp(kind ? kind : SCORER_DEFAULT, kinds[i].kind) != 0)
			continue;
		if (!*fields->target)
			return ERR_SET(err, ERR_INVALID,
				       "say which field holds the scorer's %s: --target-field NAME",
				       kinds[i].member);
		buf_printf(out, "kind: %s\nscorer: { kind: %s, %s: ",
			   strcmp(kinds[i].kind, "refusal") == 0 ? "safety" : "qa", kinds[i].kind,
			   kinds[i].member);
		buf_printf(out, "\"{{%s}}\" }\n", fields->target);
		return ERR_OK;
	}
	return ERR_SET(err, ERR_INVALID,
		       "%s cannot be the scorer of a plain file; contains, exact, choice, numeric, "
		       "regex and refusal can",
		       kind);
}

/* That of the file, without what tells its format: suites of one run need names of their own. */
static void append_file_name(struct import *import)
{
	const char *slash = strrchr(import->input, '/');
	const char *file = slash ? slash + 1 : import->input;
	char name[256];
	snprintf(name, sizeof(name), "%.*s", (int)(1 + strcspn(*file ? file + 1 : file, ".")),
		 file);
	import_append_name(&import->yaml, name);
}

static enum err_code append_yaml(struct import *import, const struct fields *fields,
				 struct err *err)
{
	const char *const names[] = {fields->prompt, fields->target};
	for (size_t i = 0; i < 2; i++)
		if (strpbrk(names[i], "{}\"\\\n") || strlen(names[i]) > 128)
			return ERR_SET(
				err, ERR_INVALID,
				"the field's name %.60s cannot stand in a template: rename it",
				names[i]);
	buf_append_cstr(&import->yaml, "name: \"");
	append_file_name(import);
	buf_append_cstr(&import->yaml,
			"\"\nversion: 1\n"
			"# licence: say what the items may be used for\n"
			"settings: { max_tokens: 1024, temperature: 0 }\nsamples: 1\n");
	buf_printf(&import->yaml, "template: \"{{%s}}\"\n", fields->prompt);
	return append_scorer(import, fields, &import->yaml, err);
}

/* Rows without an id are counted. */
static enum err_code add_counted(struct import *import, json_t *item, struct err *err)
{
	char id[24];
	snprintf(id, sizeof(id), "%zu", import->count + 1);
	if (item && !json_object_get(item, "id") &&
	    json_object_set_new(item, "id", json_string(id)) != 0) {
		json_decref(item);
		item = NULL;
	}
	return import_add_item(import, item, err);
}

/* The first row says how all are read. */
static enum err_code begin(struct import *import, bool (*has)(const void *row, const char *name),
			   const void *row, struct err *err)
{
	struct fields fields;
	if (import->yaml.size > 0)
		return ERR_OK;
	ERR_TRY(find_fields(import, has, row, &fields, err));
	snprintf(import->prompt_field, sizeof(import->prompt_field), "%s", fields.prompt);
	return append_yaml(import, &fields, err);
}

/* A row in which nothing is asked is no item. Takes the reference. */
static enum err_code add_asked(struct import *import, json_t *item, size_t row, struct err *err)
{
	const json_t *prompt = json_object_get(item, import->prompt_field);
	if (item && (!prompt || json_is_null(prompt) ||
		     (json_is_string(prompt) && json_string_length(prompt) == 0))) {
		import_leave_out(import, "row %zu has nothing in %s", row, import->prompt_field);
		json_decref(item);
		return ERR_OK;
	}
	return add_counted(import, item, err);
}

/* ---- CSV ---- */

static bool has_column(const void *row, const char *name)
{
	return csv_column(row, name) >= 0;
}

static enum err_code add_csv_row(struct import *import, const struct csv *csv, struct err *err)
{
	const char *name = csv->header;
	if (begin(import, has_column, csv, err) != ERR_OK)
		return err_prefix(err, "%s", import->input);
	json_t *item = json_object();
	for (size_t i = 0; item && i < csv->columns; i++, name += strlen(name) + 1)
		if (json_object_set_new(item, name,
					json_stringn(csv->fields[i].data, csv->fields[i].size)) !=
		    0) {
			json_decref(item);
			item = NULL;
		}
	return add_asked(import, item, csv->row_line, err);
}

static bool detect_csv(struct bytes content, const json_t *first)
{
	static const char *const none[] = {NULL};
	struct bytes rest, head = bytes_split(content, '\n', &rest);
	return !first && memchr(head.data ? head.data : "", ',', head.size) &&
	       import_has_columns(content, none);
}

static enum err_code run_csv(struct import *import, struct err *err)
{
	static const char *const none[] = {NULL};
	return import_table(import, none, add_csv_row, err);
}

/* ---- JSON ---- */

static bool has_member(const void *row, const char *name)
{
	return json_object_get(row, name) != NULL;
}

static enum err_code add_json_row(struct import *import, const json_t *row, struct err *err)
{
	if (!json_is_object(row))
		return ERR_SET(err, ERR_INVALID, "an object is needed");
	ERR_TRY(begin(import, has_member, row, err));
	return add_asked(import, json_copy((json_t *)row), import->count + import->left_out + 1,
			 err);
}

static bool detect_json(struct bytes content, const json_t *first)
{
	(void)content;
	return json_is_object(first);
}

static enum err_code run_json(struct import *import, struct err *err)
{
	return import_rows(import, add_json_row, err);
}

const struct import_format import_csv = {"csv", detect_csv, run_csv};
const struct import_format import_jsonl = {"jsonl", detect_json, run_json};
