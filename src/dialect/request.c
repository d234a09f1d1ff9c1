#include "dialect/ops.h"

#define TOKENS_MAX 2147483648
#define MODEL_MAX 256

/* Where the body is edited so that an OpenAI stream tells its usage. */
enum usage_edit {
	USAGE_KEEP,          /* it was asked for, or there is nothing to ask */
	USAGE_NEW_MEMBER,    /* no stream_options: a member for the outermost object */
	USAGE_NEW_OPTION,    /* stream_options has other members */
	USAGE_NEW_OPTIONS,   /* stream_options is {} */
	USAGE_REPLACE_FALSE, /* include_usage is false */
	USAGE_REPLACE_NULL,  /* stream_options is null */
};

#define TEXT(literal)                        \
	{                                    \
		literal, sizeof(literal) - 1 \
	}
static const struct bytes usage_texts[] = {
	[USAGE_NEW_MEMBER] = TEXT("\"stream_options\":{\"include_usage\":true},"),
	[USAGE_NEW_OPTION] = TEXT("\"include_usage\":true,"),
	[USAGE_NEW_OPTIONS] = TEXT("\"include_usage\":true"),
	[USAGE_REPLACE_FALSE] = TEXT("true"),
	[USAGE_REPLACE_NULL] = TEXT("{\"include_usage\":true}"),
};
#undef TEXT

/* A body being read: the member at hand and what was found so far. */
struct reading {
	struct dialect_request *out;
	struct bytes body;
	const char *name; /* of the member, from the table */
	struct json_value value;
	bool has_messages;
	const char *max_output_name;
	struct err *err;
};

static enum err_code wrong(struct reading *in, const char *wanted)
{
	return ERR_SET(in->err, ERR_INVALID, "%s must be %s", in->name, wanted);
}

static bool is_bool(struct json_value value)
{
	return value.type == JSON_SCAN_TRUE || value.type == JSON_SCAN_FALSE;
}

static enum err_code read_known(struct reading *in)
{
	(void)in;
	return ERR_OK;
}

static bool is_model_byte(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
	       (c != '\0' && strchr("._:/@-", c));
}

static enum err_code read_model(struct reading *in)
{
	struct bytes model;
	bool good = json_value_plain_string(in->value, &model) && model.size > 0 &&
		    model.size <= MODEL_MAX;
	for (size_t i = 0; good && i < model.size; i++)
		good = is_model_byte(model.data[i]);
	if (!good)
		return wrong(in, "a string of 1 to 256 of the characters A-Z a-z 0-9 . _ : / @ -");
	in->out->model = model;
	in->out->model_at = (uint32_t)(model.data - in->body.data);
	return ERR_OK;
}

static enum err_code read_messages(struct reading *in)
{
	if (in->value.type != JSON_SCAN_ARRAY)
		return wrong(in, "an array");
	in->has_messages = true;
	in->out->prompt_bytes += in->value.text.size;
	return ERR_OK;
}

static enum err_code read_prompt(struct reading *in)
{
	in->out->prompt_bytes += in->value.text.size;
	return ERR_OK;
}

static enum err_code read_tools(struct reading *in)
{
	if (in->value.type == JSON_SCAN_NULL)
		return ERR_OK;
	if (in->value.type != JSON_SCAN_ARRAY)
		return wrong(in, "an array");
	struct json_walk walk = json_walk_start(in->value);
	if (json_walk_next(&walk))
		in->out->flags |= DIALECT_TOOLS;
	return read_prompt(in);
}

static enum err_code read_stream(struct reading *in)
{
	if (!is_bool(in->value))
		return wrong(in, "true or false");
	in->out->stream = in->value.type == JSON_SCAN_TRUE;
	return ERR_OK;
}

static enum err_code read_max_output(struct reading *in)
{
	if (in->value.type == JSON_SCAN_NULL)
		return ERR_OK;
	if (in->max_output_name)
		return ERR_SET(in->err, ERR_INVALID, "%s and %s are both given; give one",
			       in->max_output_name, in->name);
	in->max_output_name = in->name;
	if (!json_value_integer(in->value, 1, TOKENS_MAX, &in->out->max_output))
		return wrong(in, "a whole number from 1 to 2147483648");
	return ERR_OK;
}

static enum err_code read_n(struct reading *in)
{
	if (in->value.type == JSON_SCAN_NULL)
		return ERR_OK;
	if (!json_value_integer(in->value, 1, 128, &in->out->n))
		return wrong(in, "a whole number from 1 to 128");
	return ERR_OK;
}

static enum err_code read_logprobs(struct reading *in)
{
	if (in->value.type == JSON_SCAN_NULL)
		return ERR_OK;
	if (!is_bool(in->value))
		return wrong(in, "true or false");
	if (in->value.type == JSON_SCAN_TRUE)
		in->out->flags |= DIALECT_LOGPROBS;
	return ERR_OK;
}

static enum err_code read_top_logprobs(struct reading *in)
{
	int64_t count;
	if (in->value.type == JSON_SCAN_NULL)
		return ERR_OK;
	if (!json_value_integer(in->value, 0, 1000, &count))
		return wrong(in, "a whole number");
	in->out->flags |= DIALECT_LOGPROBS;
	return ERR_OK;
}

static enum err_code read_logit_bias(struct reading *in)
{
	if (in->value.type == JSON_SCAN_NULL)
		return ERR_OK;
	if (in->value.type != JSON_SCAN_OBJECT)
		return wrong(in, "an object");
	struct json_walk walk = json_walk_start(in->value);
	if (json_walk_next(&walk))
		in->out->flags |= DIALECT_LOGIT_BIAS;
	return ERR_OK;
}

static void edit_usage(struct reading *in, enum usage_edit edit, const char *at, size_t size)
{
	in->out->usage_edit = (uint8_t)edit;
	in->out->usage_at = (uint32_t)(at - in->body.data);
	in->out->usage_size = (uint32_t)size;
}

/* An object that is acted on: names that could be read as include_usage by someone are refused. */
static enum err_code read_stream_options(struct reading *in)
{
	struct json_value asked = {JSON_SCAN_NOTHING, bytes_of(NULL, 0)};
	unsigned members = 0;
	if (in->value.type == JSON_SCAN_NULL) {
		edit_usage(in, USAGE_REPLACE_NULL, in->value.text.data, in->value.text.size);
		return ERR_OK;
	}
	if (in->value.type != JSON_SCAN_OBJECT)
		return wrong(in, "an object");
	struct json_walk walk = json_walk_start(in->value);
	for (; json_walk_next(&walk); members++) {
		if (memchr(walk.key.data, '\\', walk.key.size))
			return wrong(in, "an object whose names have no escapes");
		if (!bytes_equal_fold(walk.key, BYTES("include_usage")))
			continue;
		if (!bytes_is(walk.key, "include_usage") || asked.type != JSON_SCAN_NOTHING)
			return wrong(in, "an object with one include_usage in lower case");
		if (!is_bool(walk.value))
			return ERR_SET(in->err, ERR_INVALID,
				       "stream_options.include_usage must be true or false");
		asked = walk.value;
	}
	if (asked.type == JSON_SCAN_TRUE)
		in->out->flags |= DIALECT_USAGE_ASKED;
	else if (asked.type == JSON_SCAN_FALSE)
		edit_usage(in, USAGE_REPLACE_FALSE, asked.text.data, asked.text.size);
	else
		edit_usage(in, members ? USAGE_NEW_OPTION : USAGE_NEW_OPTIONS,
			   in->value.text.data + 1, 0);
	return ERR_OK;
}

static enum err_code read_thinking(struct reading *in)
{
	struct bytes type;
	if (in->value.type == JSON_SCAN_OBJECT &&
	    json_value_plain_string(json_scan_find(in->value, "type"), &type) &&
	    !bytes_is(type, "disabled"))
		in->out->flags |= DIALECT_REASONING;
	return ERR_OK;
}

static enum err_code read_effort(struct reading *in)
{
	struct bytes effort;
	if (json_value_plain_string(in->value, &effort) && !bytes_is(effort, "none"))
		in->out->flags |= DIALECT_REASONING;
	return ERR_OK;
}

static enum err_code (*const readers[USE_COUNT])(struct reading *) = {
	[USE_KNOWN] = read_known,           [USE_MODEL] = read_model,
	[USE_MESSAGES] = read_messages,     [USE_PROMPT] = read_prompt,
	[USE_TOOLS] = read_tools,           [USE_STREAM] = read_stream,
	[USE_MAX_OUTPUT] = read_max_output, [USE_N] = read_n,
	[USE_LOGPROBS] = read_logprobs,     [USE_TOP_LOGPROBS] = read_top_logprobs,
	[USE_LOGIT_BIAS] = read_logit_bias, [USE_STREAM_OPTIONS] = read_stream_options,
	[USE_THINKING] = read_thinking,     [USE_EFFORT] = read_effort,
};

static const struct member_row *find_row(const struct dialect_ops *ops, struct bytes name)
{
	for (size_t i = 0; i < ops->member_count; i++)
		if (bytes_equal(ops->members[i].name, name))
			return &ops->members[i];
	return NULL;
}

/* A name no row has: refused if another reader might take it for a known one, else noted. */
static enum err_code note_unknown(const struct dialect_ops *ops, struct bytes name,
				  struct dialect_request *out, struct err *err)
{
	for (size_t i = 0; i < ops->member_count; i++)
		if (bytes_equal_fold(ops->members[i].name, name))
			return ERR_SET(err, ERR_INVALID, "\"%.*s\" must be written \"%.*s\"",
				       BYTES_ARG(name), BYTES_ARG(ops->members[i].name));
	if (out->unknown_count < DIALECT_UNKNOWN_MAX)
		out->unknown[out->unknown_count] = name;
	out->unknown_count++;
	return ERR_OK;
}

static enum err_code read_member(struct reading *in, const struct dialect_ops *ops,
				 const struct json_scan_member *member)
{
	struct bytes name = bytes_of(in->body.data + member->key, member->key_size);
	const struct member_row *row = find_row(ops, name);
	if (!row)
		return note_unknown(ops, name, in->out, in->err);
	in->name = row->name.data;
	in->value = json_scan_value(in->body, member);
	return readers[row->use](in);
}

enum err_code dialect_request_read(const struct dialect_endpoint *endpoint,
				   const struct json_scan *scan, struct bytes body,
				   struct dialect_request *out, struct err *err)
{
	const struct dialect_ops *ops = dialect_ops_of(endpoint->dialect);
	*out = (struct dialect_request){
		.dialect = endpoint->dialect, .endpoint = endpoint->kind, .max_output = -1, .n = 1};
	struct reading in = {.out = out, .body = body, .err = err};
	if (scan->root != JSON_SCAN_OBJECT)
		return ERR_SET(err, ERR_INVALID, "the request body is not a JSON object");
	out->object_at =
		(uint32_t)((const char *)memchr(body.data, '{', body.size) - body.data) + 1;
	edit_usage(&in, USAGE_NEW_MEMBER, body.data + out->object_at, 0);
	for (unsigned i = 0; i < scan->member_count; i++)
		ERR_TRY(read_member(&in, ops, &scan->members[i]));
	if (out->model.size == 0)
		return ERR_SET(err, ERR_INVALID, "model is missing");
	if (!in.has_messages)
		return ERR_SET(err, ERR_INVALID, "messages is missing");
	if (out->dialect != DIALECT_OPENAI || !out->stream || (out->flags & DIALECT_USAGE_ASKED))
		out->usage_edit = USAGE_KEEP;
	return ERR_OK;
}

/* ---- parts that are not text ---- */

static bool type_is_text(struct bytes type)
{
	static const char *const texts[] = {"text", "tool_use", "tool_result", "refusal"};
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		if (bytes_is(type, texts[i]))
			return true;
	return false;
}

static bool content_non_text(struct json_value content, struct bytes *type, unsigned depth)
{
	struct json_walk walk = json_walk_start(content);
	if (content.type != JSON_SCAN_ARRAY)
		return false;
	while (json_walk_next(&walk)) {
		static const char *const names[] = {"type", "content"};
		struct json_value members[2];
		json_value_members(walk.value, names, members, 2);
		*type = bytes_of("", 0);
		if (!json_value_plain_string(members[0], type) || !type_is_text(*type))
			return true;
		if (depth > 0 && content_non_text(members[1], type, depth - 1))
			return true;
	}
	return false;
}

bool dialect_request_non_text(const struct dialect_request *request, const struct json_scan *scan,
			      struct bytes body, struct bytes *type)
{
	const struct json_scan_member *messages = json_scan_member(scan, body, BYTES("messages"));
	const struct json_scan_member *system = json_scan_member(scan, body, BYTES("system"));
	(void)request;
	if (system && content_non_text(json_scan_value(body, system), type, 0))
		return true;
	if (!messages)
		return false;
	struct json_walk walk = json_walk_start(json_scan_value(body, messages));
	while (json_walk_next(&walk))
		if (content_non_text(json_scan_find(walk.value, "content"), type, 1))
			return true;
	return false;
}

/* ---- splicing ---- */

struct splice {
	uint32_t at, size;   /* bytes taken out */
	struct bytes insert; /* bytes put in */
};

static void add_part(struct dialect_rewrite *out, const char *data, size_t size)
{
	if (size == 0)
		return;
	out->parts[out->count++] = bytes_of(data, size);
	out->size += size;
}

static void apply(struct bytes body, const struct splice *splices, unsigned count,
		  struct dialect_rewrite *out)
{
	size_t at = 0;
	for (unsigned i = 0; i < count; i++) {
		add_part(out, body.data + at, splices[i].at - at);
		add_part(out, splices[i].insert.data, splices[i].insert.size);
		at = splices[i].at + splices[i].size;
	}
	add_part(out, body.data + at, body.size - at);
}

void dialect_rewrite(const struct dialect_request *request, struct bytes body,
		     struct bytes upstream_model, bool want_usage, struct dialect_rewrite *out)
{
	struct splice splices[2];
	unsigned count = 0;
	*out = (struct dialect_rewrite){0};
	if (upstream_model.size && !bytes_equal(upstream_model, request->model))
		splices[count++] = (struct splice){request->model_at, (uint32_t)request->model.size,
						   upstream_model};
	if (want_usage && request->usage_edit != USAGE_KEEP) {
		splices[count++] = (struct splice){request->usage_at, request->usage_size,
						   usage_texts[request->usage_edit]};
		out->usage_added = true;
	}
	if (count == 2 && splices[1].at < splices[0].at) {
		struct splice first = splices[1];
		splices[1] = splices[0];
		splices[0] = first;
	}
	apply(body, splices, count, out);
}
