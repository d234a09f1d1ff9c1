#include "suite/import_internal.h"

#include "base/json.h"
#include "suite/input.h"
#include "suite/python_json.h"

#include <stdarg.h>
#include <stdio.h>

#define CONTENT_MAX ((size_t)512 << 20)
#define FILE_MAX ((size_t)1 << 30)
#define PATH_SIZE 4096

/* The plain ones come last: they fit nearly everything. */
static const struct import_format *const formats[] = {
	&import_evalplus,   &import_humaneval,  &import_mbpp,    &import_xstest,
	&import_ailuminate, &import_truthfulqa, &import_alpaca,  &import_mt_bench,
	&import_arena_hard, &import_inspect,    &import_lm_eval, &import_promptfoo,
	&import_helm,       &import_modelbench, &import_csv,     &import_jsonl};
#define FORMATS_COUNT (sizeof(formats) / sizeof(formats[0]))

const char *suite_import_format(size_t index)
{
	return index < FORMATS_COUNT ? formats[index]->name : NULL;
}

bool import_has(const json_t *row, const char *const *keys)
{
	for (; *keys; keys++)
		if (!json_object_get(row, *keys))
			return false;
	return true;
}

enum err_code import_add_item(struct import *import, json_t *item, struct err *err)
{
	if (!item)
		return ERR_SET(err, ERR_NO_MEMORY, "out of memory");
	enum err_code code = json_canonical(item, &import->items, err);
	json_decref(item);
	buf_append_char(&import->items, '\n');
	import->count++;
	return code;
}

enum err_code import_id(const json_t *row, const char *key, char out[static 257], struct err *err)
{
	const json_t *value = json_object_get(row, key);
	int length = 0;
	if (json_is_integer(value))
		length = snprintf(out, 257, "%lld", (long long)json_integer_value(value));
	else if (json_is_string(value))
		length = snprintf(out, 257, "%s", json_string_value(value));
	return length > 0 && length < 257
		       ? ERR_OK
		       : ERR_SET(err, ERR_INVALID,
				 "\"%s\" must be a text of 1 to 256 bytes or a whole number", key);
}

void import_leave_out(struct import *import, const char *format, ...)
{
	va_list arguments;
	if (import->left_out++)
		return;
	va_start(arguments, format);
	vsnprintf(import->first_left, sizeof(import->first_left), format, arguments);
	va_end(arguments);
}

/* ---- rows ---- */

static struct bytes trim_start(struct bytes text)
{
	if (bytes_starts_with(text, BYTES("\xef\xbb\xbf")))
		text = bytes_of(text.data + 3, text.size - 3);
	while (text.size && strchr(" \t\r\n", text.data[0]))
		text = bytes_of(text.data + 1, text.size - 1);
	return text;
}

static enum err_code list_rows(struct import *import, struct bytes content,
			       enum err_code (*each)(struct import *import, const json_t *row,
						     struct err *err),
			       struct err *err)
{
	json_t *list;
	enum err_code code = python_json(content, import->input, &list, err);
	for (size_t i = 0; code == ERR_OK && i < json_array_size(list); i++) {
		code = each(import, json_array_get(list, i), err);
		if (code != ERR_OK)
			err_prefix(err, "%s: element %zu", import->input, i + 1);
	}
	json_decref(list);
	return code;
}

static enum err_code line_row(struct import *import, struct bytes line,
			      enum err_code (*each)(struct import *import, const json_t *row,
						    struct err *err),
			      struct err *err)
{
	json_t *row;
	ERR_TRY(python_json(line, "the line", &row, err));
	enum err_code code = each(import, row, err);
	json_decref(row);
	return code;
}

enum err_code import_rows(struct import *import,
			  enum err_code (*each)(struct import *import, const json_t *row,
						struct err *err),
			  struct err *err)
{
	struct bytes rest = trim_start(import->content);
	if (bytes_starts_with(rest, BYTES("[")))
		return list_rows(import, rest, each, err);
	rest = import->content;
	for (size_t number = 1; rest.size > 0; number++) {
		struct bytes line = trim_start(bytes_split(rest, '\n', &rest));
		if (line.size == 0)
			continue;
		enum err_code code = line_row(import, line, each, err);
		if (code != ERR_OK) {
			err_prefix(err, "%s:%zu", import->input, number);
			return code;
		}
	}
	return ERR_OK;
}

/* ---- tables ---- */

#define HEADER_MAX 4096

struct bytes import_field(const struct csv *csv, const char *name)
{
	int column = csv_column(csv, name);
	return column < 0 ? BYTES("") : csv->fields[column];
}

static bool has_columns(const struct csv *csv, const char *const *columns)
{
	for (; *columns; columns++)
		if (csv_column(csv, *columns) < 0)
			return false;
	return true;
}

bool import_has_columns(struct bytes content, const char *const *columns)
{
	struct err ignored = ERR_INIT;
	struct csv csv;
	struct bytes rest, head = bytes_split(content, '\n', &rest);
	if (head.size == 0 || head.size > HEADER_MAX || !bytes_is_utf8(head) ||
	    csv_open(&csv, head, "", &ignored) != ERR_OK)
		return false;
	bool fits = has_columns(&csv, columns);
	csv_close(&csv);
	return fits;
}

static enum err_code table_rows(struct import *import, struct csv *csv,
				enum err_code (*each)(struct import *import, const struct csv *csv,
						      struct err *err),
				struct err *err)
{
	bool end;
	for (;;) {
		ERR_TRY(csv_next(csv, &end, err));
		if (end)
			return ERR_OK;
		if (!bytes_is_utf8(buf_bytes(&csv->text)))
			return ERR_SET(err, ERR_INVALID, "%s:%zu: not UTF-8", csv->what,
				       csv->row_line);
		ERR_TRY(each(import, csv, err));
	}
}

enum err_code import_table(struct import *import, const char *const *needed,
			   enum err_code (*each)(struct import *import, const struct csv *csv,
						 struct err *err),
			   struct err *err)
{
	struct csv csv;
	struct buf names = BUF_INIT(1024);
	ERR_TRY(csv_open(&csv, import->content, import->input, err));
	for (const char *const *name = needed; *name; name++)
		buf_printf(&names, "%s%s", name == needed ? "" : name[1] ? ", " : " and ", *name);
	enum err_code code = has_columns(&csv, needed)
				     ? table_rows(import, &csv, each, err)
				     : ERR_SET(err, ERR_INVALID, "%s:1: the columns %s are needed",
					       import->input, names.data ? names.data : "named");
	buf_release(&names);
	csv_close(&csv);
	return code;
}

/* ---- the format ---- */

/* The value that stands first, in one document or on a line of its own; NULL: none. */
static json_t *first_value(struct bytes text)
{
	struct err ignored = ERR_INIT;
	json_error_t error;
	struct bytes rest, line = bytes_split(text, '\n', &rest);
	json_t *first = json_loadb(text.data, text.size, JSON_DISABLE_EOF_CHECK, &error);
	bool opens = text.data[0] == '{' || text.data[0] == '[';
	/* jansson stops at what only Python writes. */
	if (!first && opens && python_json(text, "", &first, &ignored) != ERR_OK &&
	    python_json(line, "", &first, &ignored) != ERR_OK)
		return NULL;
	return first;
}

/* The first JSON value, or the first element of a list: a new reference or NULL. */
static json_t *first_row(struct bytes content)
{
	struct bytes text = trim_start(content);
	json_t *first = text.size ? first_value(text) : NULL;
	if (!json_is_array(first))
		return first;
	json_t *element = json_incref(json_array_get(first, 0));
	json_decref(first);
	return element;
}

static void append_names(struct buf *list)
{
	for (size_t i = 0; i < FORMATS_COUNT; i++)
		buf_printf(list, "%s%s", i ? ", " : "", formats[i]->name);
}

static enum err_code find_format(const struct import *import, const struct import_format **out,
				 struct err *err)
{
	const char *name = import->options->format;
	struct buf names = BUF_INIT(1024);
	json_t *first = name ? NULL : first_row(import->content);
	*out = NULL;
	for (size_t i = 0; i < FORMATS_COUNT && !*out; i++)
		if (name ? strcmp(name, formats[i]->name) == 0
			 : formats[i]->detect(import->content, first))
			*out = formats[i];
	json_decref(first);
	if (*out)
		return ERR_OK;
	append_names(&names);
	if (name)
		ERR_SET(err, ERR_INVALID, "no format is called %s; there are %s", name,
			names.data ? names.data : "others");
	else
		ERR_SET(err, ERR_INVALID, "%s: none of the formats %s; --format names one",
			import->input, names.data ? names.data : "known");
	buf_release(&names);
	return ERR_INVALID;
}

/* ---- the folder ---- */

static enum err_code write_one(struct env *env, const char *directory, const char *name,
			       const struct buf *content, struct err *err)
{
	char path[PATH_SIZE];
	if ((size_t)snprintf(path, sizeof(path), "%s/%s", directory, name) >= sizeof(path))
		return ERR_SET(err, ERR_INVALID, "the path %.60s… is too long", directory);
	if (content->failed)
		return ERR_SET(err, ERR_TOO_LARGE, "%s would be larger than %zu bytes", path,
			       content->max);
	return content->size ? env_write_file(env, path, buf_bytes(content), 0644, err) : ERR_OK;
}

/* suite.yaml comes last: a folder with it is whole. */
static enum err_code write_folder(struct env *env, const struct import *import,
				  const char *directory, struct err *err)
{
	char path[PATH_SIZE];
	ERR_TRY(env_make_directories(env, directory, err));
	if ((size_t)snprintf(path, sizeof(path), "%s/suite.yaml", directory) >= sizeof(path))
		return ERR_SET(err, ERR_INVALID, "the path %.60s… is too long", directory);
	if (env_file_exists(env, path))
		return ERR_SET(err, ERR_EXISTS, "%s is there already: choose another folder", path);
	ERR_TRY(write_one(env, directory, "transcript.jsonl", &import->transcript, err));
	ERR_TRY(write_one(env, directory, "items.jsonl", &import->items, err));
	return write_one(env, directory, "suite.yaml", &import->yaml, err);
}

static enum err_code run(struct import *import, const char *directory,
			 struct suite_imported *imported, struct err *err)
{
	const struct import_format *format;
	ERR_TRY(find_format(import, &format, err));
	ERR_TRY(format->run(import, err));
	if (import->count == 0 && import->left_out)
		return ERR_SET(err, ERR_INVALID,
			       "%s: no items: %zu were left out, the first because %s",
			       import->input, import->left_out, import->first_left);
	if (import->count == 0)
		return ERR_SET(err, ERR_INVALID, "%s: no items", import->input);
	ERR_TRY(write_folder(import->env, import, directory, err));
	if (!imported)
		return ERR_OK;
	*imported = (struct suite_imported){.format = format->name,
					    .items = import->count,
					    .transcript = import->transcript.size > 0,
					    .left_out = import->left_out};
	snprintf(imported->first_left, sizeof(imported->first_left), "%s", import->first_left);
	return ERR_OK;
}

enum err_code suite_import(struct env *env, const struct suite_import_options *options,
			   const char *input, const char *directory,
			   struct suite_imported *imported, struct err *err)
{
	static const struct suite_import_options none = {0};
	struct buf content = BUF_INIT(CONTENT_MAX);
	struct import import = {.env = env,
				.options = options ? options : &none,
				.input = input,
				.yaml = BUF_INIT(FILE_MAX),
				.items = BUF_INIT(FILE_MAX),
				.transcript = BUF_INIT(FILE_MAX),
				.ids = json_object()};
	enum err_code code = import.ids ? input_read_all(env, input, &content, err)
					: ERR_SET(err, ERR_NO_MEMORY, "out of memory");
	import.content = buf_bytes(&content);
	if (code == ERR_OK)
		code = run(&import, directory, imported, err);
	json_decref(import.ids);
	buf_release(&content);
	buf_release(&import.yaml);
	buf_release(&import.items);
	buf_release(&import.transcript);
	return code;
}
