#include "load/requests.h"

#include "base/json.h"
#include "net/http_client.h"

#include <stdlib.h>

#define TEXT_MAX ((size_t)1 << 30)
#define FIELDS_MAX 32

/* ---- heads ---- */

struct fields {
	struct bytes names[FIELDS_MAX], values[FIELDS_MAX];
	size_t count;
};

static enum err_code add_field(struct fields *fields, struct bytes line, struct err *err)
{
	struct bytes value;
	struct bytes name = bytes_split(line, ':', &value);
	value = bytes_trim(value);
	if (!http_is_token(name) || !value.data || !http_is_field_value(value))
		return ERR_SET(err, ERR_INVALID, "\"%.*s\" is no header field (name: value)",
			       BYTES_ARG(line));
	if (fields->count == FIELDS_MAX)
		return ERR_SET(err, ERR_TOO_LARGE, "more than %d header fields", FIELDS_MAX);
	fields->names[fields->count] = name;
	fields->values[fields->count++] = value;
	return ERR_OK;
}

/* `credential` holds finished lines. */
static enum err_code collect_fields(const struct load_options *options, struct bytes credential,
				    struct fields *fields, struct err *err)
{
	ERR_TRY(add_field(fields, BYTES("content-type: application/json"), err));
	ERR_TRY(add_field(fields, BYTES("user-agent: parley-load/" PARLEY_VERSION), err));
	while (credential.size > 0) {
		struct bytes rest, line = bytes_split(credential, '\n', &rest);
		ERR_TRY(add_field(fields, bytes_of(line.data, line.size - 1), err));
		credential = rest;
	}
	for (size_t i = 0; i < options->header_count; i++)
		ERR_TRY(add_field(fields, bytes_from(options->headers[i]), err));
	return ERR_OK;
}

/* ---- bodies ---- */

static void append_prompt(struct buf *out, size_t size)
{
	static const char words[] = "measure the same words again and again ";
	buf_append_char(out, '"');
	for (size_t i = 0; i < size && !out->failed; i++)
		buf_append_char(out, words[i % (sizeof(words) - 1)]);
	buf_append_char(out, '"');
}

/* How each dialect's body stands around the number of tokens and the prompt; DIALECT_NONE's row is
 * that of all others. */
struct body_form {
	bool model; /* a member; else the path names it */
	const char *most, *before, *after;
};

static const struct body_form body_forms[DIALECT_COUNT] = {
	[DIALECT_NONE] = {true,  ",\"max_tokens\":",
			  ",\"messages\":[{\"role\":\"user\",\"content\":",           "}]}"  },
	[DIALECT_OPENAI] = {true,  ",\"max_completion_tokens\":",
                          ",\"messages\":[{\"role\":\"user\",\"content\":",           "}]}"  },
	[DIALECT_RESPONSES] = {true,  ",\"max_output_tokens\":",
                          ",\"input\":[{\"role\":\"user\",\"content\":",              "}]}"  },
	[DIALECT_GEMINI] = {false, "\"generationConfig\":{\"maxOutputTokens\":",
                          "},\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":", "}]}]}"},
};

static void append_body(const struct load_options *options, struct buf *out)
{
	const struct body_form *form = &body_forms[options->dialect];
	if (!form->most)
		form = &body_forms[DIALECT_NONE];
	buf_append_char(out, '{');
	if (form->model) {
		buf_append_cstr(out, "\"model\":");
		json_append_string(out, bytes_from(options->model));
	}
	buf_append_cstr(out, form->most);
	buf_append_integer(out, options->max_tokens);
	if (options->stream && form->model)
		buf_append_cstr(out, ",\"stream\":true");
	buf_append_cstr(out, form->before);
	append_prompt(out, options->prompt_bytes);
	buf_append_cstr(out, form->after);
}

/* ---- together ---- */

static size_t count_lines(struct bytes text)
{
	size_t count = 0;
	for (struct bytes rest = text; rest.size > 0;)
		count += bytes_split(rest, '\n', &rest).size > 0;
	return count;
}

static void append_request(struct bytes authority, struct bytes target, const struct fields *fields,
			   struct bytes body, struct load_requests *out)
{
	struct load_span *item = &out->items[out->count++];
	item->at = out->text.size;
	http_write_request_head(&out->text, "POST", target, authority, fields->names,
				fields->values, fields->count, (int64_t)body.size);
	buf_append_bytes(&out->text, body);
	item->size = out->text.size - item->at;
}

static enum err_code make(const struct load_options *options, struct bytes authority,
			  struct bytes target, const struct fields *fields,
			  struct load_requests *out, struct err *err)
{
	struct buf own = BUF_INIT(TEXT_MAX);
	struct bytes rest = options->bodies;
	if (rest.size == 0) {
		append_body(options, &own);
		rest = buf_bytes(&own);
	}
	size_t lines = count_lines(rest);
	if (lines > 0 && lines <= LOAD_REQUESTS_MAX)
		out->items = calloc(lines, sizeof(*out->items));
	while (out->items && rest.size > 0) {
		struct bytes line = bytes_split(rest, '\n', &rest);
		if (line.size > 0)
			append_request(authority, target, fields, line, out);
	}
	bool failed = own.failed || out->text.failed || !out->items;
	buf_release(&own);
	if (lines == 0 || lines > LOAD_REQUESTS_MAX)
		return ERR_SET(err, ERR_TOO_LARGE, "%zu bodies: 1 to %d may be given", lines,
			       LOAD_REQUESTS_MAX);
	if (failed)
		return ERR_SET(err, ERR_NO_MEMORY, "no memory for the requests");
	return ERR_OK;
}

static void append_target(const struct load_options *options, struct bytes base, struct buf *out)
{
	struct bytes model = bytes_from(options->model);
	if (options->path) {
		buf_append_bytes(out, base);
		buf_append_cstr(out, options->path);
	} else if (buf_reserve(out, base.size + model.size + DIALECT_TARGET_EXTRA)) {
		char *end =
			dialect_write_target(dialect_endpoint_of(options->dialect, options->stream),
					     base, model, out->data);
		out->size = (size_t)(end - out->data);
	}
}

enum err_code load_requests_make(const struct load_options *options, struct bytes authority,
				 struct bytes base_path, struct load_requests *out, struct err *err)
{
	struct buf credential = BUF_INIT(16384), target = BUF_INIT(HTTP_TARGET_MAX);
	struct fields fields = {.count = 0};
	*out = (struct load_requests){.text = BUF_INIT(TEXT_MAX)};
	append_target(options, base_path, &target);
	if (options->key)
		dialect_credential_fields(options->dialect, options->key, &credential);
	enum err_code code = collect_fields(options, buf_bytes(&credential), &fields, err);
	if (code == ERR_OK && (target.failed || credential.failed))
		code = ERR_SET(err, ERR_TOO_LARGE, "the path or the key is too long");
	if (code == ERR_OK)
		code = make(options, authority, buf_bytes(&target), &fields, out, err);
	buf_release(&credential);
	buf_release(&target);
	return code;
}

void load_requests_release(struct load_requests *requests)
{
	buf_release(&requests->text);
	free(requests->items);
	requests->items = NULL;
	requests->count = 0;
}
