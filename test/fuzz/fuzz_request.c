/* Bodies of requests by every endpoint: what the gateway reads of one is what the upstream will
 * read, so the rewritten body must say the same as the client's in jansson's reading too. */
#include "fuzz.h"

#include "dialect/dialect.h"

#include <jansson.h>

/* Every way in, the variants of Chat Completions too. */
static const struct {
	const char *path;
	enum dialect_id provider;
	bool names_model;
} ways[] = {
	{"/v1/messages",				 DIALECT_ANTHROPIC, false},
	{"/v1/messages/count_tokens",                    DIALECT_ANTHROPIC, false},
	{"/v1/chat/completions",                         DIALECT_OPENAI,    false},
	{"/v1/chat/completions",                         DIALECT_MISTRAL,   false},
	{"/v1/chat/completions",                         DIALECT_XAI,       false},
	{"/v1/responses",				DIALECT_OPENAI,    false},
	{"/v1beta/models/north-g:generateContent",       DIALECT_GEMINI,    true },
	{"/v1beta/models/north-g:streamGenerateContent", DIALECT_GEMINI,    true },
	{"/v1beta/models/north-g:countTokens",           DIALECT_GEMINI,    true },
};

static struct bytes join(const struct dialect_rewrite *rewrite)
{
	struct buf joined = BUF_INIT(1 << 24);
	size_t size = 0;
	for (unsigned i = 0; i < rewrite->count; i++) {
		buf_append_bytes(&joined, rewrite->parts[i]);
		size += rewrite->parts[i].size;
	}
	FUZZ_CHECK(!joined.failed && size == rewrite->size);
	return buf_bytes(&joined);
}

/* The same but for the model's name and the usage that is asked for. */
static void check_rewritten(struct bytes before, struct bytes after, const char *model,
			    bool usage_added)
{
	json_error_t error;
	size_t flags = JSON_ALLOW_NUL | JSON_DECODE_ANY;
	json_t *was = json_loadb(before.data, before.size, flags, &error);
	if (!was) { /* numbers beyond jansson's range are no concern of the gateway */
		FUZZ_CHECK(json_error_code(&error) == json_error_numeric_overflow);
		return;
	}
	json_t *is = json_loadb(after.data, after.size, flags | JSON_REJECT_DUPLICATES, &error);
	if (!is && json_error_code(&error) == json_error_duplicate_key) /* one below the top */
		is = json_loadb(after.data, after.size, flags, &error);
	FUZZ_CHECK(is);
	if (model)
		FUZZ_CHECK(!strcmp(json_string_value(json_object_get(is, "model")), model));
	if (usage_added) {
		json_t *options = json_object_get(is, "stream_options");
		FUZZ_CHECK(json_is_true(json_object_get(options, "include_usage")));
		json_object_del(options, "include_usage");
		json_object_del(json_object_get(was, "stream_options"), "include_usage");
		if (json_object_size(options) == 0)
			json_object_del(is, "stream_options");
		if (json_object_size(json_object_get(was, "stream_options")) == 0)
			json_object_del(was, "stream_options");
	}
	if (model) {
		json_object_del(is, "model");
		json_object_del(was, "model");
	}
	FUZZ_CHECK(json_equal(was, is));
	json_decref(was);
	json_decref(is);
}

static void check_request(const struct dialect_request *request, const struct json_scan *scan,
			  struct bytes body, bool path_names_model)
{
	struct dialect_rewrite rewrite;
	struct bytes type;
	FUZZ_CHECK(request->model.size > 0 && request->model.size <= 256);
	FUZZ_CHECK(request->n >= 1 && request->prompt_bytes <= body.size);
	dialect_request_non_text(request, scan, body, &type);
	dialect_rewrite(request, body, BYTES("another/model-1"), true, &rewrite);
	struct bytes joined = join(&rewrite);
	check_rewritten(body, joined, path_names_model ? NULL : "another/model-1",
			rewrite.usage_added);
	free((char *)joined.data);
	dialect_rewrite(request, body, bytes_of(NULL, 0), false, &rewrite);
	joined = join(&rewrite);
	FUZZ_CHECK(bytes_equal(joined, body) && !rewrite.usage_added);
	free((char *)joined.data);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct json_scan scan;
	struct dialect_request request;
	struct err err = ERR_INIT;
	struct bytes input = fuzz_input(data, size);
	unsigned choice = fuzz_take(&input) % (sizeof(ways) / sizeof(ways[0]));
	struct dialect_route route = {.path = bytes_from(ways[choice].path)};
	route.endpoint = dialect_endpoint_find(BYTES("POST"), route.path, false);
	FUZZ_CHECK(route.endpoint);
	route.dialect = dialect_variant(route.endpoint->dialect, ways[choice].provider);
	struct bytes body = fuzz_copy(input);
	if (json_scan_text(&scan, body, "the body", &err) == ERR_OK) {
		if (dialect_request_read(&route, &scan, body, &request, &err) == ERR_OK)
			check_request(&request, &scan, body, ways[choice].names_model);
		else
			FUZZ_CHECK(err.message[0]);
	}
	free((char *)body.data);
	return 0;
}
