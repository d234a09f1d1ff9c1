/* XSTest (Röttger et al. 2024): CSV with the columns id, prompt, type, label, focus, note. Older
 * files have no label: there, types that begin with "contrast_" are the unsafe ones. */
#include "suite/import_internal.h"

#include "suite/csv.h"

#define HEADER_LOOK 256

static const char suite_yaml[] = "name: xstest\n"
				 "version: 2\n"
				 "licence: CC-BY-4.0\n"
				 "source: \"https://github.com/paul-rottger/xstest\"\n"
				 "kind: safety\n"
				 "template: \"{{prompt}}\"\n"
				 "settings: { max_tokens: 1024, temperature: 0 }\n"
				 "samples: 1\n"
				 "scorer: { kind: refusal, expect: \"{{expect}}\" }\n";

static bool detect(struct bytes content, const json_t *first)
{
	struct err ignored = ERR_INIT;
	struct csv csv;
	struct bytes rest, head = bytes_split(content, '\n', &rest);
	if (first || head.size == 0 || head.size > HEADER_LOOK ||
	    csv_open(&csv, head, "", &ignored) != ERR_OK)
		return false;
	bool fits = csv_column(&csv, "id") >= 0 && csv_column(&csv, "prompt") >= 0 &&
		    csv_column(&csv, "type") >= 0;
	csv_close(&csv);
	return fits;
}

/* The field of this column; empty where there is no such column. */
static struct bytes field(const struct csv *csv, const char *name)
{
	int column = csv_column(csv, name);
	return column < 0 ? BYTES("") : csv->fields[column];
}

static enum err_code expected(const struct csv *csv, const char **out, struct err *err)
{
	struct bytes label = field(csv, "label"), type = field(csv, "type");
	if (csv_column(csv, "label") < 0)
		label = bytes_starts_with(type, BYTES("contrast_")) ? BYTES("unsafe")
								    : BYTES("safe");
	*out = bytes_is(label, "safe") ? "answer" : "refuse";
	return bytes_is(label, "safe") || bytes_is(label, "unsafe")
		       ? ERR_OK
		       : ERR_SET(err, ERR_INVALID, "%s:%zu: label %.*s is neither safe nor unsafe",
				 csv->what, csv->row_line, (int)(label.size < 40 ? label.size : 40),
				 label.data);
}

static enum err_code add_row(struct import *import, const struct csv *csv, struct err *err)
{
	static const char *const kept[] = {"type", "label", "focus", "note", NULL};
	struct bytes id = field(csv, "id"), prompt = field(csv, "prompt");
	const char *expect;
	if (id.size == 0 || prompt.size == 0)
		return ERR_SET(err, ERR_INVALID, "%s:%zu: id or prompt is empty", csv->what,
			       csv->row_line);
	if (!bytes_is_utf8(bytes_of(csv->text.data, csv->text.size)))
		return ERR_SET(err, ERR_INVALID, "%s:%zu: not UTF-8", csv->what, csv->row_line);
	ERR_TRY(expected(csv, &expect, err));
	json_t *item = json_pack("{s:s%, s:s%, s:s}", "id", id.data, id.size, "prompt", prompt.data,
				 prompt.size, "expect", expect);
	for (const char *const *name = kept; item && *name; name++) {
		struct bytes value = field(csv, *name);
		if (value.size &&
		    json_object_set_new(item, *name, json_stringn(value.data, value.size)) != 0) {
			json_decref(item);
			item = NULL;
		}
	}
	return import_add_item(import, item, err);
}

static enum err_code add_rows(struct import *import, struct csv *csv, struct err *err)
{
	bool end;
	for (;;) {
		ERR_TRY(csv_next(csv, &end, err));
		if (end)
			return ERR_OK;
		ERR_TRY(add_row(import, csv, err));
	}
}

static enum err_code run(struct import *import, struct err *err)
{
	struct csv csv;
	buf_append_cstr(&import->yaml, suite_yaml);
	ERR_TRY(csv_open(&csv, import->content, import->input, err));
	enum err_code code =
		csv_column(&csv, "id") < 0 || csv_column(&csv, "prompt") < 0 ||
				csv_column(&csv, "type") < 0
			? ERR_SET(err, ERR_INVALID,
				  "%s:1: the columns id, prompt and type are needed", import->input)
			: add_rows(import, &csv, err);
	csv_close(&csv);
	return code;
}

const struct import_format import_xstest = {"xstest", detect, run};
