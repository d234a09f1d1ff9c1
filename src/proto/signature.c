#include "proto/signature.h"

#include "base/encode.h"
#include "proto/structured.h"

#define PARAMS_MAX 4096

/* ---- the message ---- */

void signature_message_of_head(const struct http_head *head, const char *data,
			       struct signature_field fields[static HTTP_FIELDS_MAX],
			       struct signature_message *out)
{
	*out = (struct signature_message){.method = http_bytes(data, head->method),
					  .path = http_bytes(data, head->path),
					  .fields = fields,
					  .field_count = head->field_count};
	/* A '?' with nothing behind it is in the target and not in the query. */
	if (head->target.size > head->path.size)
		out->query = http_bytes(data, head->query);
	for (unsigned i = 0; i < head->field_count; i++)
		fields[i] = (struct signature_field){http_bytes(data, head->fields[i].name),
						     http_bytes(data, head->fields[i].value)};
}

static void append_lower(struct buf *out, struct bytes text)
{
	for (size_t i = 0; i < text.size; i++) {
		char c = text.data[i];
		buf_append_char(out, c >= 'A' && c <= 'Z' ? (char)(c + 32) : c);
	}
}

bool signature_authority(struct bytes host, struct bytes scheme, struct buf *out)
{
	struct bytes port = bytes_is(scheme, "https") ? BYTES(":443") : BYTES(":80");
	if (bytes_ends_with(host, port))
		host.size -= port.size;
	append_lower(out, host);
	return !out->failed;
}

/* ---- Signature-Input ---- */

static const char *read_components(struct structured_reader *reader, struct signature_input *out)
{
	if (!structured_take(reader, '('))
		return "Signature-Input: a member is no list of components";
	while (!structured_take(reader, ')')) {
		struct structured_item item;
		if (out->component_count > 0 && !structured_take(reader, ' '))
			return "Signature-Input: components are parted by one space";
		if (out->component_count == SIGNATURE_COMPONENTS_MAX)
			return "Signature-Input: more than 24 components";
		if (!structured_item(reader, &item) || item.type != STRUCTURED_STRING)
			return "Signature-Input: a component is no string";
		if (!structured_at_end(reader) && *reader->at == ';')
			return "Signature-Input: components with parameters are not taken";
		for (unsigned i = 0; i < out->component_count; i++)
			if (bytes_equal(out->components[i], item.text))
				return "Signature-Input: a component is named twice";
		out->components[out->component_count++] = item.text;
	}
	return NULL;
}

static bool keep_text(struct bytes *out, const struct structured_item *item)
{
	bool first = !out->data;
	*out = item->text;
	return first && item->type == STRUCTURED_STRING;
}

static bool keep_time(int64_t *out, bool *has, const struct structured_item *item)
{
	bool first = !*has;
	*out = item->integer;
	*has = true;
	return first && item->type == STRUCTURED_INTEGER;
}

static bool keep_parameter(struct signature_input *out, struct bytes key,
			   const struct structured_item *item)
{
	if (bytes_is(key, "created"))
		return keep_time(&out->created, &out->has_created, item);
	if (bytes_is(key, "expires"))
		return keep_time(&out->expires, &out->has_expires, item);
	if (bytes_is(key, "keyid"))
		return keep_text(&out->key_id, item);
	if (bytes_is(key, "nonce"))
		return keep_text(&out->nonce, item);
	if (bytes_is(key, "tag"))
		return keep_text(&out->tag, item);
	if (bytes_is(key, "alg"))
		return keep_text(&out->algorithm, item);
	return false;
}

static const char *read_member(struct structured_reader *reader, struct signature_input *out)
{
	struct structured_item item;
	struct bytes key;
	bool over;
	*out = (struct signature_input){0};
	if (!structured_key(reader, &out->label) || !structured_take(reader, '='))
		return "Signature-Input: no dictionary of signatures";
	const char *start = reader->at;
	const char *problem = read_components(reader, out);
	if (problem)
		return problem;
	while (structured_parameter(reader, &key, &item, &over))
		if (!keep_parameter(out, key, &item))
			return "Signature-Input: a parameter is not known here, or given twice, or "
			       "of the wrong type";
	out->params = bytes_of(start, (size_t)(reader->at - start));
	return over ? NULL : "Signature-Input: a parameter cannot be read";
}

const char *signature_input_find(struct bytes field, const char *tag, struct signature_input *out)
{
	struct structured_reader reader = structured_read(field);
	struct signature_input member = {0};
	struct bytes labels[SIGNATURE_MEMBERS_MAX];
	unsigned members = 0, found = 0;
	for (;;) {
		const char *problem = read_member(&reader, &member);
		if (problem)
			return problem;
		if (members == SIGNATURE_MEMBERS_MAX)
			return "Signature-Input: more than 8 signatures";
		for (unsigned i = 0; i < members; i++)
			if (bytes_equal(labels[i], member.label))
				return "Signature-Input: a label stands twice";
		labels[members++] = member.label;
		if (!tag || (member.tag.data && bytes_is(member.tag, tag))) {
			found++;
			*out = member;
		}
		if (structured_at_end(&reader))
			break;
		if (!structured_comma(&reader))
			return "Signature-Input: no dictionary of signatures";
	}
	if (found == 0)
		return "Signature-Input: no signature has the tag asked for";
	return found > 1 ? "Signature-Input: several signatures have the tag" : NULL;
}

bool signature_covers(const struct signature_input *input, const char *component)
{
	for (unsigned i = 0; i < input->component_count; i++)
		if (bytes_is(input->components[i], component))
			return true;
	return false;
}

/* ---- dictionaries of byte sequences ---- */

/* The member's base64; data NULL where there is none. False where the field cannot be read. */
static bool find_bytes(struct bytes field, struct bytes wanted, struct bytes *out)
{
	struct structured_reader reader = structured_read(field);
	struct bytes key, parameter;
	struct structured_item item, value;
	bool over;
	*out = (struct bytes){0};
	for (unsigned members = 0; members < SIGNATURE_MEMBERS_MAX; members++) {
		if (!structured_key(&reader, &key) || !structured_take(&reader, '=') ||
		    !structured_item(&reader, &item) || item.type != STRUCTURED_BYTES)
			return false;
		while (structured_parameter(&reader, &parameter, &value, &over))
			;
		if (!over)
			return false;
		if (bytes_equal(key, wanted)) {
			if (out->data)
				return false;
			*out = item.text;
		}
		if (structured_at_end(&reader))
			return true;
		if (!structured_comma(&reader))
			return false;
	}
	return false;
}

const char *signature_find(struct bytes field, struct bytes label,
			   uint8_t out[static ED25519_SIGNATURE_SIZE])
{
	struct bytes text;
	if (!field.data || !find_bytes(field, label, &text))
		return "Signature: no dictionary of byte sequences";
	if (!text.data)
		return "Signature: nothing stands under the label of Signature-Input";
	return base64_decode_exact(text, out, ED25519_SIGNATURE_SIZE)
		       ? NULL
		       : "Signature: not 64 bytes in base64, as Ed25519 makes them";
}

const char *signature_content_digest(struct bytes field, uint8_t out[static SHA256_SIZE])
{
	struct bytes text;
	if (!field.data)
		return "Content-Digest is missing";
	if (!find_bytes(field, BYTES("sha-256"), &text))
		return "Content-Digest: no dictionary of byte sequences";
	if (!text.data)
		return "Content-Digest: there is no sha-256";
	return base64_decode_exact(text, out, SHA256_SIZE)
		       ? NULL
		       : "Content-Digest: sha-256 is not 32 bytes in base64";
}

/* ---- the signature base ---- */

static void append_authority(const struct signature_message *message, struct buf *out)
{
	buf_append_bytes(out, message->authority);
}

static void append_path(const struct signature_message *message, struct buf *out)
{
	buf_append_bytes(out, message->prefix);
	buf_append_bytes(out, message->path);
}

static void append_method(const struct signature_message *message, struct buf *out)
{
	buf_append_bytes(out, message->method);
}

static void append_scheme(const struct signature_message *message, struct buf *out)
{
	buf_append_bytes(out, message->scheme);
}

static void append_query(const struct signature_message *message, struct buf *out)
{
	buf_append_char(out, '?');
	if (message->query.data)
		buf_append_bytes(out, message->query);
}

static void append_target(const struct signature_message *message, struct buf *out)
{
	append_path(message, out);
	if (message->query.data)
		append_query(message, out);
}

static void append_target_uri(const struct signature_message *message, struct buf *out)
{
	append_scheme(message, out);
	buf_append_cstr(out, "://");
	append_authority(message, out);
	append_target(message, out);
}

/* RFC 9421, section 2.2. */
static const struct {
	const char *name;
	void (*append)(const struct signature_message *message, struct buf *out);
} derived[] = {
	{"@method",         append_method    },
        {"@target-uri",     append_target_uri},
	{"@authority",      append_authority },
        {"@scheme",         append_scheme    },
	{"@request-target", append_target    },
        {"@path",           append_path      },
	{"@query",          append_query     },
};

static const char *append_derived(struct bytes name, const struct signature_message *message,
				  struct buf *out)
{
	for (size_t i = 0; i < sizeof(derived) / sizeof(derived[0]); i++) {
		if (bytes_is(name, derived[i].name)) {
			derived[i].append(message, out);
			return NULL;
		}
	}
	return "the signature covers a derived component that is not known here";
}

/* RFC 9421, section 2.1: all lines of the field. */
static const char *append_field(struct bytes name, const struct signature_message *message,
				struct buf *out)
{
	unsigned count = 0;
	for (size_t i = 0; i < name.size; i++)
		if (name.data[i] >= 'A' && name.data[i] <= 'Z')
			return "the signature names a field not in lower case";
	for (unsigned i = 0; i < message->field_count; i++) {
		if (!bytes_equal_fold(message->fields[i].name, name))
			continue;
		if (count++ > 0)
			buf_append_cstr(out, ", ");
		buf_append_bytes(out, message->fields[i].value);
	}
	return count ? NULL : "the signature covers a field that the request does not have";
}

const char *signature_base(const struct signature_input *input,
			   const struct signature_message *message, struct buf *out)
{
	for (unsigned i = 0; i < input->component_count; i++) {
		struct bytes name = input->components[i];
		buf_append_char(out, '"');
		buf_append_bytes(out, name);
		buf_append_cstr(out, "\": ");
		const char *problem = bytes_starts_with(name, BYTES("@"))
					      ? append_derived(name, message, out)
					      : append_field(name, message, out);
		if (problem)
			return problem;
		buf_append_char(out, '\n');
	}
	buf_append_cstr(out, "\"@signature-params\": ");
	buf_append_bytes(out, input->params);
	return out->failed ? "the signature covers too much" : NULL;
}

/* ---- writing ---- */

static void append_params(const struct signature_signing *signing,
			  const struct signature_message *message, struct buf *out)
{
	buf_append_cstr(out, "(\"@method\" \"@target-uri\"");
	for (unsigned i = 0; i < message->field_count; i++) {
		buf_append_cstr(out, " \"");
		append_lower(out, message->fields[i].name);
		buf_append_char(out, '"');
	}
	buf_printf(out, ");created=%lld;keyid=\"%s\";alg=\"ed25519\";nonce=\"%s\";tag=\"%s\"",
		   (long long)signing->created, signing->key_id, signing->nonce, signing->tag);
}

static void append_content_digest(struct bytes body, struct buf *out)
{
	uint8_t digest[SHA256_SIZE];
	sha256_of(body.data, body.size, digest);
	buf_append_cstr(out, "sha-256=:");
	base64_append(out, digest, sizeof(digest));
	buf_append_char(out, ':');
}

bool signature_sign(const struct signature_signing *signing,
		    const struct signature_message *message, struct buf *out)
{
	struct buf base = BUF_INIT(SIGNATURE_BASE_MAX), params = BUF_INIT(PARAMS_MAX);
	struct buf digest = BUF_INIT(128);
	struct signature_field fields[SIGNATURE_COMPONENTS_MAX];
	struct signature_message whole = *message;
	struct signature_input input;
	uint8_t signature[ED25519_SIGNATURE_SIZE];
	bool good = message->field_count + 3 <= SIGNATURE_COMPONENTS_MAX;
	if (good && message->field_count)
		memcpy(fields, message->fields, message->field_count * sizeof(*fields));
	if (good && signing->has_body) {
		append_content_digest(signing->body, &digest);
		fields[whole.field_count++] =
			(struct signature_field){BYTES("content-digest"), buf_bytes(&digest)};
	}
	whole.fields = fields;
	buf_append_cstr(&params, "sig=");
	if (good)
		append_params(signing, &whole, &params);
	good = good && !params.failed && !digest.failed &&
	       !signature_input_find(buf_bytes(&params), NULL, &input) &&
	       !signature_base(&input, &whole, &base) &&
	       ed25519_sign(signing->key, base.data, base.size, signature);
	if (good) {
		if (signing->has_body)
			buf_printf(out, "content-digest: %.*s\r\n", BYTES_ARG(buf_bytes(&digest)));
		buf_printf(out, "signature-input: %.*s\r\nsignature: sig=:",
			   BYTES_ARG(buf_bytes(&params)));
		base64_append(out, signature, sizeof(signature));
		buf_append_cstr(out, ":\r\n");
	}
	buf_release(&base);
	buf_release(&params);
	buf_release(&digest);
	return good && !out->failed;
}
