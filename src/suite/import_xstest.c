/* XSTest (Röttger et al. 2024): CSV with the columns id, prompt, type, label, focus, note. Older
 * files have no label: there, types that begin with "contrast_" are the unsafe ones. */
#include "suite/import_internal.h"

static const char suite_yaml[] = "name: xstest\n"
				 "version: 2\n"
				 "licence: CC-BY-4.0\n"
				 "source: \"https://github.com/paul-rottger/xstest\"\n"
				 "kind: safety\n"
				 "template: \"{{prompt}}\"\n"
				 "settings: { max_tokens: 1024, temperature: 0 }\n"
				 "samples: 1\n"
				 "scorer: { kind: refusal, expect: \"{{expect}}\" }\n";

static const char *const columns[] = {"id", "prompt", "type", NULL};

static bool detect(struct bytes content, const json_t *first)
{
	return !first && import_has_columns(content, columns);
}

static enum err_code expected(const struct csv *csv, const char **out, struct err *err)
{
	struct bytes label = import_field(csv, "label"), type = import_field(csv, "type");
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
	struct bytes id = import_field(csv, "id"), prompt = import_field(csv, "prompt");
	const char *expect;
	if (id.size == 0 || prompt.size == 0)
		return ERR_SET(err, ERR_INVALID, "%s:%zu: id or prompt is empty", csv->what,
			       csv->row_line);
	ERR_TRY(expected(csv, &expect, err));
	json_t *item = json_pack("{s:s%, s:s%, s:s}", "id", id.data, id.size, "prompt", prompt.data,
				 prompt.size, "expect", expect);
	for (const char *const *name = kept; item && *name; name++) {
		struct bytes value = import_field(csv, *name);
		if (value.size &&
		    json_object_set_new(item, *name, json_stringn(value.data, value.size)) != 0) {
			json_decref(item);
			item = NULL;
		}
	}
	return import_add_item(import, item, err);
}

static enum err_code run(struct import *import, struct err *err)
{
	buf_append_cstr(&import->yaml, suite_yaml);
	return import_table(import, columns, add_row, err);
}

const struct import_format import_xstest = {"xstest", detect, run};
