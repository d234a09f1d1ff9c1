/* Which endpoint a path is, and what an upstream is asked for it. */
#include "dialect/ops.h"

#define GEMINI_MODELS "/v1beta/models/"
#define GEMINI_MODELS_V1 "/v1/models/"

/* clang-format off */
static const struct dialect_endpoint endpoints[] = {
	{"POST", "/v1/messages",              NULL, "", DIALECT_ANTHROPIC, ENDPOINT_MESSAGES,         false},
	{"POST", "/v1/chat/completions",      NULL, "", DIALECT_OPENAI,    ENDPOINT_CHAT_COMPLETIONS, false},
	{"POST", "/v1/responses",             NULL, "", DIALECT_RESPONSES, ENDPOINT_RESPONSES,        false},
	{"POST", GEMINI_MODELS, ":generateContent", "", DIALECT_GEMINI, ENDPOINT_GENERATE_CONTENT,    false},
	{"POST", GEMINI_MODELS, ":streamGenerateContent", "?alt=sse", DIALECT_GEMINI, ENDPOINT_GENERATE_CONTENT, true},
	{"POST", "/v1/messages/count_tokens", NULL, "", DIALECT_ANTHROPIC, ENDPOINT_COUNT_TOKENS,     false},
	{"POST", GEMINI_MODELS, ":countTokens",     "", DIALECT_GEMINI, ENDPOINT_COUNT_TOKENS,        false},
	/* The same, as its official client asks since its API has a first version. */
	{"POST", GEMINI_MODELS_V1, ":generateContent", "", DIALECT_GEMINI, ENDPOINT_GENERATE_CONTENT,    false},
	{"POST", GEMINI_MODELS_V1, ":streamGenerateContent", "?alt=sse", DIALECT_GEMINI, ENDPOINT_GENERATE_CONTENT, true},
	{"POST", GEMINI_MODELS_V1, ":countTokens",     "", DIALECT_GEMINI, ENDPOINT_COUNT_TOKENS,        false},
	{"GET",  "/v1beta/models",            NULL, "", DIALECT_GEMINI,    ENDPOINT_MODELS,           false},
	/* The last two differ by a header alone. */
	{"GET",  "/v1/models",                NULL, "", DIALECT_OPENAI,    ENDPOINT_MODELS,           false},
	{"GET",  "/v1/models",                NULL, "", DIALECT_ANTHROPIC, ENDPOINT_MODELS,           false},
};
/* clang-format on */

#define ENDPOINT_COUNT (sizeof(endpoints) / sizeof(endpoints[0]))

static bool is_path(const struct dialect_endpoint *row, struct bytes path)
{
	if (!row->verb)
		return bytes_is(path, row->path);
	return path.size > strlen(row->path) + strlen(row->verb) &&
	       bytes_starts_with(path, bytes_from(row->path)) &&
	       bytes_ends_with(path, bytes_from(row->verb));
}

const struct dialect_endpoint *dialect_gemini_list(const struct dialect_endpoint *endpoint)
{
	bool list = endpoint && endpoint->kind == ENDPOINT_MODELS &&
		    endpoint->dialect == DIALECT_OPENAI;
	return list ? dialect_endpoint_find(BYTES("GET"), BYTES("/v1beta/models"), false)
		    : endpoint;
}

const struct dialect_endpoint *dialect_endpoint_find(struct bytes method, struct bytes path,
						     bool anthropic_version)
{
	for (size_t i = 0; i < ENDPOINT_COUNT; i++) {
		const struct dialect_endpoint *row = &endpoints[i];
		if (!is_path(row, path) || !bytes_is(method, row->method))
			continue;
		if (row->kind == ENDPOINT_MODELS && row->dialect == DIALECT_OPENAI)
			return row + (anthropic_version ? 1 : 0);
		return row;
	}
	return NULL;
}

enum dialect_id dialect_guess(struct bytes path, bool anthropic_version)
{
	static const struct {
		struct bytes prefix;
		enum dialect_id dialect;
	} rows[] = {
		{{"/v1/messages", 12},  DIALECT_ANTHROPIC},
		{{"/v1beta", 7},        DIALECT_GEMINI   },
		{{"/v1/responses", 13}, DIALECT_RESPONSES},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (bytes_starts_with(path, rows[i].prefix))
			return rows[i].dialect;
	return anthropic_version ? DIALECT_ANTHROPIC : DIALECT_OPENAI;
}

struct bytes dialect_path_model(const struct dialect_endpoint *endpoint, struct bytes path)
{
	if (!endpoint->verb)
		return bytes_of("", 0);
	size_t before = strlen(endpoint->path), after = strlen(endpoint->verb);
	return bytes_of(path.data + before, path.size - before - after);
}

/* ---- queries ---- */

/* The next "name=value" of a query; false at its end. */
static bool next_parameter(struct bytes *rest, struct bytes *name, struct bytes *value)
{
	while (rest->size) {
		struct bytes pair = bytes_split(*rest, '&', rest);
		*name = bytes_split(pair, '=', value);
		if (pair.size)
			return true;
	}
	return false;
}

bool dialect_query_has_key(struct bytes query)
{
	struct bytes name, value;
	while (next_parameter(&query, &name, &value))
		if (bytes_equal_fold(name, BYTES("key")))
			return true;
	return false;
}

const char *dialect_query_problem(const struct dialect_endpoint *endpoint, struct bytes query)
{
	struct bytes name, value;
	bool sse = false;
	if (dialect_query_has_key(query))
		return "a key does not belong into the query, which stands in logs: send it in a "
		       "header, and revoke it if it was real";
	if (endpoint->dialect != DIALECT_GEMINI)
		return NULL;
	while (next_parameter(&query, &name, &value)) {
		if (endpoint->kind == ENDPOINT_MODELS) /* pages: there is only one */
			continue;
		if (!bytes_is(name, "alt"))
			return "of the query only alt is known here";
		sse = bytes_is(value, "sse");
		if (sse != endpoint->streams)
			return endpoint->streams ? "alt must be sse: a stream comes as events only"
						 : "alt=sse belongs to :streamGenerateContent";
	}
	if (endpoint->streams && !sse)
		return "a stream comes as events only: ask :streamGenerateContent?alt=sse";
	return NULL;
}

/* ---- upstream ---- */

static char *put(char *to, struct bytes text)
{
	return text.size ? mempcpy(to, text.data, text.size) : to;
}

char *dialect_write_target(const struct dialect_endpoint *endpoint, struct bytes base,
			   struct bytes model, char *out)
{
	struct bytes path = bytes_from(endpoint->path);
	const char *end = memchr(path.data + 1, '/', path.size - 1);
	struct bytes version = bytes_of(path.data, (size_t)(end - path.data));
	while (base.size && base.data[base.size - 1] == '/')
		base.size--;
	bool named = bytes_ends_with(base, version) ||
		     (endpoint->verb && (bytes_ends_with(base, BYTES("/v1")) ||
					 bytes_ends_with(base, BYTES("/v1beta"))));
	if (named) { /* the base URL names the version already, for Gemini perhaps another */
		path.data += version.size;
		path.size -= version.size;
	}
	out = put(put(out, base), path);
	if (endpoint->verb)
		out = put(put(out, model), bytes_from(endpoint->verb));
	return put(out, bytes_from(endpoint->query));
}

const struct dialect_endpoint *dialect_endpoint_of(enum dialect_id dialect, bool stream)
{
	bool variant = dialect == DIALECT_MISTRAL || dialect == DIALECT_XAI;
	for (size_t i = 0; i < ENDPOINT_COUNT; i++) {
		const struct dialect_endpoint *row = &endpoints[i];
		if (row->dialect == (variant ? DIALECT_OPENAI : dialect) &&
		    (!row->verb || row->streams == stream))
			return row;
	}
	return NULL;
}
