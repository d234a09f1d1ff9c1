#include "suite/python_json.h"

#include "base/json.h"

static const struct {
	const char *text;
} constants[] = {{"-Infinity"}, {"Infinity"}, {"NaN"}};

/* How many bytes of a constant stand at `text`; 0: none. */
static size_t constant_at(struct bytes text)
{
	for (size_t i = 0; i < sizeof(constants) / sizeof(constants[0]); i++)
		if (bytes_starts_with(text, bytes_from(constants[i].text)))
			return strlen(constants[i].text);
	return 0;
}

/* Copies up to the end of a string that begins at `at`. */
static size_t copy_string(struct bytes text, size_t at, struct buf *out)
{
	size_t start = at++;
	while (at < text.size && text.data[at] != '"')
		at += text.data[at] == '\\' ? 2 : 1;
	at = at < text.size ? at + 1 : text.size;
	buf_append(out, text.data + start, at - start);
	return at;
}

static void replace_constants(struct bytes text, struct buf *out)
{
	for (size_t at = 0; at < text.size && !out->failed;) {
		char byte = text.data[at];
		size_t size = byte == 'N' || byte == 'I' || byte == '-'
				      ? constant_at(bytes_of(text.data + at, text.size - at))
				      : 0;
		if (byte == '"') {
			at = copy_string(text, at, out);
		} else if (size) {
			buf_append_cstr(out, "null");
			at += size;
		} else {
			buf_append_char(out, byte);
			at++;
		}
	}
}

enum err_code python_json(struct bytes text, const char *what, json_t **out, struct err *err)
{
	struct buf plain = BUF_INIT(2 * text.size);
	bool python = bytes_find(text, BYTES("NaN")) || bytes_find(text, BYTES("Infinity"));
	if (!python)
		return json_parse(text, what, out, err);
	replace_constants(text, &plain);
	enum err_code code = plain.failed
				     ? ERR_SET(err, ERR_NO_MEMORY, "out of memory for %s", what)
				     : json_parse(buf_bytes(&plain), what, out, err);
	buf_release(&plain);
	return code;
}
