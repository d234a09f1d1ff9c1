#include "dialect/ops.h"

#define TOKENS_MAX 2147483648
#define MODEL_MAX 256
#define MODEL_WANTED "a string of 1 to 256 of the characters A-Z a-z 0-9 . _ : / @ -"

/* Where the body is edited so that an OpenAI stream tells its usage. */
enum usage_edit {
	USAGE_KEEP,          /* it was asked for, or there is nothing to ask */
	USAGE_NEW_MEMBER,    /* no stream_options: a member for the outermost object */
	USAGE_NEW_OPTION,    /* stream_options has other members */
	USAGE_NEW_OPTIONS,   /* stream_options is {} */
	USAGE_REPLACE_FALSE, /* include_usage is false */
	USAGE_REPLACE_NULL,  /* stream_options is null */
};

static const struct bytes usage_texts[] = {
	[USAGE_NEW_MEMBER] = BYTES_INIT("\"stream_options\":{\"include_usage\":true},"),
	[USAGE_NEW_OPTION] = BYTES_INIT("\"include_usage\":true,"),
	[USAGE_NEW_OPTIONS] = BYTES_INIT("\"include_usage\":true"),
	[USAGE_REPLACE_FALSE] = BYTES_INIT("true"),
	[USAGE_REPLACE_NULL] = BYTES_INIT("{\"include_usage\":true}"),
};

enum err_code reading_wrong(struct reading *in, const char *wanted)
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

/* clang-format off */
static const bool model_bytes[256] = {
	['0' ... '9'] = true, ['A' ... 'Z'] = true, ['a' ... 'z'] = true,
	['.'] = true, ['_'] = true, [':'] = true, ['/'] = true, ['@'] = true, ['-'] = true,
};
/* clang-format on */

static bool is_model(struct bytes model)
{
	bool good = model.size > 0 && model.size <= MODEL_MAX;
	for (size_t i = 0; good && i < model.size; i++)
		good = model_bytes[(unsigned char)model.data[i]];
	return good;
}

static enum err_code read_model(struct reading *in)
{
	struct bytes model;
	if (!json_value_plain_string(in->value, &model) || !is_model(model))
		return reading_wrong(in, MODEL_WANTED);
	in->out->model = model;
	in->out->model_at = (uint32_t)(model.data - in->body.data);
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
		return reading_wrong(in, "an array");
	struct json_walk walk = json_walk_start(in->value);
	if (json_walk_next(&walk))
		in->out->flags |= DIALECT_TOOLS;
	return read_prompt(in);
}

static enum err_code read_stream(struct reading *in)
{
	if (in->value.type == JSON_SCAN_NULL)
		return ERR_OK;
	if (!is_bool(in->value))
		return reading_wrong(in, "true or false");
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
		return reading_wrong(in, "a whole number from 1 to 2147483648");
	return ERR_OK;
}

static enum err_code read_n(struct reading *in)
{
	if (in->value.type == JSON_SCAN_NULL)
		return ERR_OK;
	if (!json_value_integer(in->value, 1, 128, &in->out->n))
		return reading_wrong(in, "a whole number from 1 to 128");
	return ERR_OK;
}

static enum err_code read_logprobs(struct reading *in)
{
	if (in->value.type == JSON_SCAN_NULL)
		return ERR_OK;
	if (!is_bool(in->value))
		return reading_wrong(in, "true or false");
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
		return reading_wrong(in, "a whole number");
	in->out->flags |= DIALECT_LOGPROBS;
	return ERR_OK;
}

static enum err_code read_logit_bias(struct reading *in)
{
	if (in->value.type == JSON_SCAN_NULL)
		return ERR_OK;
	if (in->value.type != JSON_SCAN_OBJECT)
		return reading_wrong(in, "an object");
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
	struct json_value asked = {.type = JSON_SCAN_NOTHING};
	unsigned members = 0;
	if (in->value.type == JSON_SCAN_NULL) {
		edit_usage(in, USAGE_REPLACE_NULL, in->value.text.data, in->value.text.size);
		return ERR_OK;
	}
	if (in->value.type != JSON_SCAN_OBJECT)
		return reading_wrong(in, "an object");
	struct json_walk walk = json_walk_start(in->value);
	for (; json_walk_next(&walk); members++) {
		if (memchr(walk.key.data, '\\', walk.key.size))
			return reading_wrong(in, "an object whose names have no escapes");
		if (!bytes_equal_fold(walk.key, BYTES("include_usage")))
			continue;
		if (!bytes_is(walk.key, "include_usage") || asked.type != JSON_SCAN_NOTHING)
			return reading_wrong(in, "an object with one include_usage in lower case");
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

static enum err_code read_reasoning(struct reading *in)
{
	if (in->value.type == JSON_SCAN_NULL)
		return ERR_OK;
	if (in->value.type != JSON_SCAN_OBJECT)
		return reading_wrong(in, "an object");
	struct reading effort = *in;
	effort.value = json_scan_find(in->value, "effort");
	return read_effort(&effort);
}

static enum err_code read_false(struct reading *in)
{
	if (in->value.type == JSON_SCAN_NULL || in->value.type == JSON_SCAN_FALSE)
		return ERR_OK;
	return reading_wrong(
		in, "false or left out: through this gateway nothing is kept at the provider");
}

static enum err_code read_store(struct reading *in)
{
	if (in->value.type == JSON_SCAN_NULL || in->value.type == JSON_SCAN_FALSE)
		return ERR_OK;
	return reading_wrong(in,
			     "false or left out: through this gateway no client can use what is "
			     "kept at the provider. Left out, the provider keeps the answer for "
			     "30 days by default, in its own account; false keeps nothing");
}

static enum err_code read_kept(struct reading *in)
{
	if (in->value.type == JSON_SCAN_NULL)
		return ERR_OK;
	return ERR_SET(in->err, ERR_INVALID,
		       "%s is not taken: it names something kept at the provider, where all "
		       "clients of this gateway are one; send the words themselves",
		       in->name);
}

static enum err_code read_elsewhere(struct reading *in)
{
	return ERR_SET(in->err, ERR_INVALID, "%s is not taken in the body: the path names it",
		       in->name);
}

static enum err_code (*const readers[USE_COUNT])(struct reading *) = {
	[USE_KNOWN] = read_known,
	[USE_MODEL] = read_model,
	[USE_MESSAGES] = read_messages,
	[USE_PROMPT] = read_prompt,
	[USE_TOOLS] = read_tools,
	[USE_STREAM] = read_stream,
	[USE_MAX_OUTPUT] = read_max_output,
	[USE_N] = read_n,
	[USE_LOGPROBS] = read_logprobs,
	[USE_TOP_LOGPROBS] = read_top_logprobs,
	[USE_LOGIT_BIAS] = read_logit_bias,
	[USE_STREAM_OPTIONS] = read_stream_options,
	[USE_THINKING] = read_thinking,
	[USE_EFFORT] = read_effort,
	[USE_INPUT] = read_responses_input,
	[USE_RESPONSES_TOOLS] = read_responses_tools,
	[USE_INCLUDE] = read_responses_include,
	[USE_REASONING] = read_reasoning,
	[USE_CONTENTS] = read_gemini_contents,
	[USE_GEMINI_SYSTEM] = read_gemini_system,
	[USE_GEMINI_TOOLS] = read_gemini_tools,
	[USE_GENERATION] = read_gemini_generation,
	[USE_GEMINI_THINKING] = read_gemini_thinking,
	[USE_FALSE] = read_false,
	[USE_STORE] = read_store,
	[USE_KEPT] = read_kept,
	[USE_ELSEWHERE] = read_elsewhere,
};

static const struct member_row *find_row(const struct member_row *rows, size_t count,
					 struct bytes name)
{
	for (size_t i = 0; i < count; i++)
		if (bytes_equal(rows[i].name, name))
			return &rows[i];
	return NULL;
}

static char folded(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

/* Equal but for case and for low lines: how the JSON form of Gemini's messages may be spelled. */
static bool equal_but_for_spelling(struct bytes a, struct bytes b)
{
	size_t i = 0, k = 0;
	for (;;) {
		while (i < a.size && a.data[i] == '_')
			i++;
		while (k < b.size && b.data[k] == '_')
			k++;
		if (i == a.size || k == b.size)
			return i == a.size && k == b.size;
		if (folded(a.data[i++]) != folded(b.data[k++]))
			return false;
	}
}

/* A name no row has: refused if another reader might take it for a known one, else noted. */
static enum err_code note_unknown(struct reading *in, const struct member_row *rows, size_t count,
				  bool any_spelling, struct bytes name)
{
	struct dialect_request *out = in->out;
	if (memchr(name.data, '\\', name.size))
		return ERR_SET(in->err, ERR_INVALID, "\"%.*s\" must be written without escapes",
			       BYTES_ARG(name));
	for (size_t i = 0; i < count; i++)
		if (any_spelling ? equal_but_for_spelling(rows[i].name, name)
				 : bytes_equal_fold(rows[i].name, name))
			return ERR_SET(in->err, ERR_INVALID, "\"%.*s\" must be written \"%.*s\"",
				       BYTES_ARG(name), BYTES_ARG(rows[i].name));
	if (out->unknown_count < DIALECT_UNKNOWN_MAX)
		out->unknown[out->unknown_count] = name;
	out->unknown_count++;
	return ERR_OK;
}

enum err_code reading_member(struct reading *in, const struct member_row *rows, size_t count,
			     bool any_spelling, struct bytes name, struct json_value value)
{
	const struct member_row *row = find_row(rows, count, name);
	if (!row)
		return note_unknown(in, rows, count, any_spelling, name);
	in->name = row->name.data;
	in->value = value;
	return readers[row->use](in);
}

static enum err_code read_members(struct reading *in, const struct dialect_ops *ops,
				  const struct json_scan *scan)
{
	for (unsigned i = 0; i < scan->member_count; i++) {
		const struct json_scan_member *member = &scan->members[i];
		ERR_TRY(reading_member(in, ops->members, ops->member_count, ops->any_spelling,
				       bytes_of(in->body.data + member->key, member->key_size),
				       json_scan_value(in->body, member)));
	}
	return ERR_OK;
}

enum err_code dialect_request_read(const struct dialect_route *route, const struct json_scan *scan,
				   struct bytes body, struct dialect_request *out, struct err *err)
{
	const struct dialect_endpoint *endpoint = route->endpoint;
	const struct dialect_ops *ops = dialect_ops_of(route->dialect);
	*out = (struct dialect_request){.dialect = route->dialect,
					.endpoint = endpoint->kind,
					.model = dialect_path_model(endpoint, route->path),
					.stream = endpoint->streams,
					.max_output = -1,
					.n = 1};
	struct reading in = {.out = out, .body = body, .scan = scan, .err = err};
	if (scan->root != JSON_SCAN_OBJECT)
		return ERR_SET(err, ERR_INVALID, "the request body is not a JSON object");
	if (endpoint->verb && !is_model(out->model))
		return ERR_SET(err, ERR_INVALID, "the model in the path must be " MODEL_WANTED);
	out->object_at = (uint32_t)(json_scan_root(scan, body).text.data - body.data) + 1;
	edit_usage(&in, USAGE_NEW_MEMBER, body.data + out->object_at, 0);
	ERR_TRY(read_members(&in, ops, scan));
	if (out->model.size == 0)
		return ERR_SET(err, ERR_INVALID, "model is missing");
	if (!in.has_messages)
		return ERR_SET(err, ERR_INVALID, "%s is missing", ops->words_name);
	if (!ops->asks_usage || !out->stream || (out->flags & DIALECT_USAGE_ASKED))
		out->usage_edit = USAGE_KEEP;
	return ERR_OK;
}

bool dialect_request_non_text(const struct dialect_request *request, const struct json_scan *scan,
			      struct bytes body, struct bytes *type)
{
	return dialect_ops_of(request->dialect)->non_text(scan, body, type);
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
	/* Where the path names the model, the target says the other name. */
	if (request->model_at && upstream_model.size &&
	    !bytes_equal(upstream_model, request->model))
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
