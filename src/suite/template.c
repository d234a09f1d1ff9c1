#include "suite/template.h"

#include "base/json.h"

#define DEPTH_MAX 64
#define NAME_MAX_SIZE 128
#define TEXT_MAX ((size_t)64 << 20)

/* The next piece of a template: literal text, then (unless the text ends) a placeholder. */
struct piece {
	struct bytes literal;
	struct bytes name; /* NULL data: none */
	struct bytes rest;
};

static enum err_code next_piece(struct bytes text, struct piece *piece, struct err *err)
{
	const char *open = bytes_find(text, BYTES("{{"));
	*piece = (struct piece){.literal = text};
	if (!open)
		return ERR_OK;
	size_t at = (size_t)(open - text.data);
	struct bytes after = bytes_of(open + 2, text.size - at - 2);
	const char *close = bytes_find(after, BYTES("}}"));
	if (!close)
		return ERR_SET(err, ERR_INVALID, "{{ without }}");
	size_t inside = (size_t)(close - after.data);
	struct bytes name = bytes_trim(bytes_of(after.data, inside));
	if (name.size == 0 || name.size > NAME_MAX_SIZE || memchr(name.data, '{', name.size) ||
	    memchr(name.data, '}', name.size))
		return ERR_SET(err, ERR_INVALID, "{{%.*s}} names no field",
			       (int)(inside < 64 ? inside : 64), after.data);
	piece->literal.size = at;
	piece->name = name;
	piece->rest = bytes_of(close + 2, after.size - inside - 2);
	return ERR_OK;
}

enum err_code template_scan(const char *text,
			    enum err_code (*each)(void *argument, struct bytes name,
						  struct err *err),
			    void *argument, struct err *err)
{
	struct piece piece = {.rest = bytes_from(text)};
	do {
		ERR_TRY(next_piece(piece.rest, &piece, err));
		if (piece.name.data && each)
			ERR_TRY(each(argument, piece.name, err));
	} while (piece.name.data);
	return ERR_OK;
}

static enum err_code scan_value(const json_t *value,
				enum err_code (*each)(void *argument, struct bytes name,
						      struct err *err),
				void *argument, int depth, struct err *err)
{
	const char *key;
	json_t *member;
	if (depth > DEPTH_MAX)
		return ERR_SET(err, ERR_INVALID, "nested deeper than %d", DEPTH_MAX);
	if (json_is_string(value))
		return template_scan(json_string_value(value), each, argument, err);
	for (size_t i = 0; i < json_array_size(value); i++)
		ERR_TRY(scan_value(json_array_get(value, i), each, argument, depth + 1, err));
	json_object_foreach((json_t *)value, key, member)
		ERR_TRY(scan_value(member, each, argument, depth + 1, err));
	return ERR_OK;
}

enum err_code template_scan_json(const json_t *value,
				 enum err_code (*each)(void *argument, struct bytes name,
						       struct err *err),
				 void *argument, struct err *err)
{
	return scan_value(value, each, argument, 0, err);
}

static enum err_code find_field(const json_t *fields, struct bytes name, json_t **out,
				struct err *err)
{
	char key[NAME_MAX_SIZE + 1];
	memcpy(key, name.data, name.size);
	key[name.size] = '\0';
	*out = json_object_get(fields, key);
	return *out ? ERR_OK : ERR_SET(err, ERR_INVALID, "field \"%s\" is missing", key);
}

static enum err_code append_field(const json_t *fields, struct bytes name, struct buf *out,
				  struct err *err)
{
	json_t *value;
	ERR_TRY(find_field(fields, name, &value, err));
	if (!json_is_string(value))
		return json_canonical(value, out, err);
	buf_append(out, json_string_value(value), json_string_length(value));
	return ERR_OK;
}

enum err_code template_render(const char *text, const json_t *fields, struct buf *out,
			      struct err *err)
{
	struct piece piece = {.rest = bytes_from(text)};
	do {
		ERR_TRY(next_piece(piece.rest, &piece, err));
		buf_append_bytes(out, piece.literal);
		if (piece.name.data)
			ERR_TRY(append_field(fields, piece.name, out, err));
	} while (piece.name.data);
	return out->failed ? ERR_SET(err, ERR_TOO_LARGE, "rendered text larger than %zu bytes",
				     out->max)
			   : ERR_OK;
}

static enum err_code render_string(const json_t *value, const json_t *fields, json_t **out,
				   struct err *err)
{
	const char *text = json_string_value(value);
	struct piece piece;
	json_t *field;
	ERR_TRY(next_piece(bytes_from(text), &piece, err));
	if (piece.name.data && piece.literal.size == 0 && piece.rest.size == 0) {
		ERR_TRY(find_field(fields, piece.name, &field, err));
		*out = json_deep_copy(field);
		return ERR_OK;
	}
	struct buf rendered = BUF_INIT(TEXT_MAX);
	enum err_code code = template_render(text, fields, &rendered, err);
	if (code == ERR_OK)
		*out = json_stringn(rendered.data ? rendered.data : "", rendered.size);
	buf_release(&rendered);
	return code;
}

static enum err_code render_value(const json_t *value, const json_t *fields, int depth,
				  json_t **out, struct err *err);

static enum err_code render_object(const json_t *value, const json_t *fields, int depth,
				   json_t *object, struct err *err)
{
	const char *key;
	json_t *member, *rendered;
	json_object_foreach((json_t *)value, key, member)
	{
		ERR_TRY(render_value(member, fields, depth + 1, &rendered, err));
		if (json_object_set_new(object, key, rendered) != 0)
			return ERR_SET(err, ERR_NO_MEMORY, "out of memory");
	}
	return ERR_OK;
}

static enum err_code render_array(const json_t *value, const json_t *fields, int depth,
				  json_t *array, struct err *err)
{
	json_t *rendered;
	for (size_t i = 0; i < json_array_size(value); i++) {
		ERR_TRY(render_value(json_array_get(value, i), fields, depth + 1, &rendered, err));
		if (json_array_append_new(array, rendered) != 0)
			return ERR_SET(err, ERR_NO_MEMORY, "out of memory");
	}
	return ERR_OK;
}

static enum err_code render_value(const json_t *value, const json_t *fields, int depth,
				  json_t **out, struct err *err)
{
	enum err_code code = ERR_OK;
	*out = NULL;
	if (depth > DEPTH_MAX)
		return ERR_SET(err, ERR_INVALID, "nested deeper than %d", DEPTH_MAX);
	if (json_is_string(value)) {
		code = render_string(value, fields, out, err);
	} else if (json_is_object(value)) {
		*out = json_object();
		code = render_object(value, fields, depth, *out, err);
	} else if (json_is_array(value)) {
		*out = json_array();
		code = render_array(value, fields, depth, *out, err);
	} else {
		*out = json_copy((json_t *)value);
	}
	if (code == ERR_OK && *out)
		return ERR_OK;
	json_decref(*out);
	*out = NULL;
	return code != ERR_OK ? code : ERR_SET(err, ERR_NO_MEMORY, "out of memory");
}

enum err_code template_render_json(const json_t *value, const json_t *fields, json_t **out,
				   struct err *err)
{
	return render_value(value, fields, 0, out, err);
}
