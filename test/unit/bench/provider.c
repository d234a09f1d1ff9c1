#include "provider.h"

#include "base/encode.h"
#include "base/json.h"
#include "base/ed25519.h"
#include "dialect/dialect.h"
#include "ledger/merkle.h"
#include "ledger/proof.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>

#define SECOND 1000000000u

/* ---- counting ---- */

static struct provider_count *find(struct provider *provider, const char *marker)
{
	for (unsigned i = 0; i < provider->count; i++)
		if (strcmp(provider->counts[i].marker, marker) == 0)
			return &provider->counts[i];
	if (provider->count == PROVIDER_MARKERS_MAX)
		return NULL;
	struct provider_count *entry = &provider->counts[provider->count++];
	*entry = (struct provider_count){0};
	snprintf(entry->marker, sizeof(entry->marker), "%s", marker);
	return entry;
}

unsigned provider_asked(struct provider *provider, const char *marker)
{
	pthread_mutex_lock(&provider->lock);
	const struct provider_count *entry = find(provider, marker);
	unsigned requests = entry ? entry->requests : 0;
	pthread_mutex_unlock(&provider->lock);
	return requests;
}

unsigned provider_answered(struct provider *provider, const char *marker)
{
	pthread_mutex_lock(&provider->lock);
	const struct provider_count *entry = find(provider, marker);
	unsigned answered = entry ? entry->answered : 0;
	pthread_mutex_unlock(&provider->lock);
	return answered;
}

void provider_forget(struct provider *provider)
{
	pthread_mutex_lock(&provider->lock);
	provider->count = provider->requests = 0;
	pthread_mutex_unlock(&provider->lock);
}

/* ---- answers ---- */

static void respond(struct http_exchange *exchange, int status, const char *header,
		    const char *value, struct bytes body)
{
	struct http_header headers[3] = {
		{"content-type", BYTES("application/json")},
                {"request-id",   BYTES("req_test")        }
        };
	size_t count = 2;
	if (header)
		headers[count++] = (struct http_header){header, bytes_from(value)};
	http_respond(exchange, status, headers, count, body);
}

static void respond_error(struct http_exchange *exchange, int status, const char *header,
			  const char *value, const char *message)
{
	struct buf body = BUF_INIT(4096);
	struct dialect_error error = {.status = status, .message = bytes_from(message)};
	dialect_error_body(DIALECT_ANTHROPIC, &error, &body);
	respond(exchange, status, header, value, buf_bytes(&body));
	buf_release(&body);
}

static void respond_text(struct provider *provider, struct http_exchange *exchange,
			 struct provider_count *entry, const char *text)
{
	struct buf body = BUF_INIT(65536);
	struct dialect_rendering answer = {
		.id = "msg_1",
		.model = BYTES("stand-in"),
		.text = bytes_from(text),
		.usage = {.input = 10, .output = 5, .known = true},
		.finish = DIALECT_FINISH_STOP,
	};
	char record[32];
	dialect_render_answer(DIALECT_ANTHROPIC, &answer, &body);
	entry->answered++;
	snprintf(record, sizeof(record), "rec%u", provider->requests);
	struct http_header headers[4] = {
		{"content-type",  BYTES("application/json")                },
		{"request-id",    BYTES("req_test")                        },
		{"parley-record", bytes_from(record)                       },
		{"parley-nonce",  BYTES("00112233445566778899aabbccddeeff")},
	};
	http_respond(exchange, 200, headers, provider->gateway ? 4 : 2, buf_bytes(&body));
	buf_release(&body);
}

/* The judge prefers whichever answer says "fox". */
static const char *judge(const char *body)
{
	const char *a = strstr(body, "<answer_a>"), *b = strstr(body, "<answer_b>");
	const char *fox = strstr(body, "quick fox");
	if (!fox)
		return "Neither.\nTIE";
	return fox > a && fox < b ? "A" : "B";
}

static void answer(struct provider *provider, struct http_exchange *exchange,
		   struct provider_count *entry, const char *body)
{
	char kind[32] = "";
	unsigned n = entry->requests;
	sscanf(entry->marker, "%31s", kind);
	if (strcmp(kind, "throttle") == 0 && n == 1)
		respond_error(exchange, 429, "retry-after-ms", "40", "slow down");
	else if (strcmp(kind, "flaky") == 0 && n == 1)
		respond_error(exchange, 500, "retry-after-ms", "5", "oops");
	else if (strcmp(kind, "flaky") == 0 && n == 2)
		http_cut(exchange);
	else if (strcmp(kind, "garbage") == 0 && n == 1)
		respond(exchange, 200, NULL, NULL, BYTES("{\"type\":\"mess"));
	else if (strcmp(kind, "poison") == 0)
		respond_error(exchange, 400, NULL, NULL, "the prompt is poisoned \x1b[2J");
	else if (strcmp(kind, "broken") == 0)
		respond_error(exchange, 529, "retry-after-ms", "5", "overloaded");
	else if (strcmp(kind, "final") == 0)
		respond_error(exchange, 500, "x-should-retry", "false", "do not try again");
	else if (strcmp(kind, "key") == 0)
		respond_error(exchange, 401, NULL, NULL, "invalid x-api-key");
	else if (strcmp(kind, "silent") == 0)
		return; /* never answered */
	else if (strcmp(kind, "control") == 0)
		respond_text(provider, exchange, entry,
			     "fox \x1b]0;owned\x07<script>alert(1)</script>");
	else if (strcmp(kind, "judge") == 0)
		respond_text(provider, exchange, entry, judge(body));
	else if (strcmp(kind, "wrong") == 0 || strstr(body, "\"model\":\"loser\""))
		respond_text(provider, exchange, entry, "a lazy dog");
	else
		respond_text(provider, exchange, entry, "The quick fox.");
}

static void read_marker(const char *body, char out[static 64])
{
	const char *from = strstr(body, "[["), *to = from ? strstr(from, "]]") : NULL;
	size_t size = to ? (size_t)(to - from - 2) : 0;
	if (strstr(body, "<answer_a>")) {
		snprintf(out, 64, "judge");
		return;
	}
	if (size == 0 || size >= 64)
		size = 0;
	memcpy(out, from ? from + 2 : "", size);
	out[size] = '\0';
}

static void take_model_request(struct provider *provider, struct http_exchange *exchange,
			       const char *body)
{
	char marker[64];
	read_marker(body, marker);
	struct bytes run =
		http_known(exchange->head, exchange->head_bytes.data, HTTP_FIELD_PARLEY_RUN);
	if (provider->gateway && run.size == 0)
		provider->without_run++;
	if (provider->gateway && provider->runs == 0)
		provider->requests_before_run++;
	provider->requests++;
	struct provider_count *entry = find(provider, marker);
	assert_non_null(entry);
	entry->requests++;
	if (provider->signal_after && provider->requests == provider->signal_after)
		kill(getpid(), SIGINT);
	if (provider->revoke_after && provider->requests > provider->revoke_after)
		respond_error(exchange, 403, "x-should-retry", "false",
			      "this grant was revoked (rule grant.revoked; clause D.4a; appeal "
			      "mailto:access@northlab.example)");
	else
		answer(provider, exchange, entry, body);
}

/* ---- the gateway's own endpoints ---- */

static void respond_receipt(struct provider *provider, struct http_exchange *exchange,
			    struct bytes id)
{
	struct buf record = BUF_INIT(4096), proof_text = BUF_INIT(65536), body = BUF_INIT(65536);
	struct merkle_hash leaf, root;
	char checkpoint[512];
	buf_printf(&record, "{\"id\":\"%.*s\",\"kind\":\"admit\"}", BYTES_ARG(id));
	leaf = merkle_leaf(record.data, record.size);
	root = leaf;
	struct buf encoded = BUF_INIT(256);
	base64_append(&encoded, root.bytes, sizeof(root.bytes));
	snprintf(checkpoint, sizeof(checkpoint),
		 "test.example/log\n1\n%s\n\n— test.example/log AAAAAAAA\n", encoded.data);
	struct proof proof = {.index = 0, .checkpoint = bytes_from(checkpoint)};
	proof_format(&proof, &proof_text);
	buf_append_cstr(&body, "{\"receipts\":[{\"record\":");
	json_append_string(&body, buf_bytes(&record));
	buf_append_cstr(&body, ",\"proof\":");
	json_append_string(&body, buf_bytes(&proof_text));
	buf_append_cstr(&body, "}]}");
	provider->receipts++;
	respond(exchange, 200, NULL, NULL, buf_bytes(&body));
	buf_release(&record);
	buf_release(&proof_text);
	buf_release(&encoded);
	buf_release(&body);
}

static void respond_vkey(struct http_exchange *exchange)
{
	static const uint8_t public_key[ED25519_KEY_SIZE] = {1, 2, 3};
	struct note_key key;
	struct buf text = BUF_INIT(1024);
	note_key_init(&key, "test.example/log", public_key, NULL);
	note_key_format(&key, &text);
	buf_append_char(&text, '\n');
	respond(exchange, 200, NULL, NULL, buf_bytes(&text));
	buf_release(&text);
}

static void take_run(struct provider *provider, struct http_exchange *exchange, const char *body)
{
	char answer_text[128];
	const char *digest = strstr(body, "\"plan_digest\":\"");
	provider->runs++;
	if (digest)
		snprintf(provider->plan_digest, 65, "%s", digest + 15);
	snprintf(answer_text, sizeof(answer_text), "{\"run\":\"run_%u\",\"record\":\"run%u\"}",
		 provider->runs, provider->runs);
	respond(exchange, 201, NULL, NULL, bytes_from(answer_text));
}

static void take_gateway_request(struct provider *provider, struct http_exchange *exchange,
				 struct bytes path, const char *body)
{
	static const struct bytes receipts = {"/parley/v1/receipts/", 20};
	if (bytes_is(path, "/parley/v1/self")) {
		provider->selves++;
		respond(exchange, 200, NULL, NULL,
			BYTES("{\"grant\":{\"purposes\":[\"capability_benchmark\"]}}"));
	} else if (bytes_is(path, "/log/vkey")) {
		respond_vkey(exchange);
	} else if (bytes_is(path, "/parley/v1/suites")) {
		provider->suites++;
		respond(exchange, 201, NULL, NULL,
			provider->unusable ? BYTES("{\"suite\":\"s1\",\"usable\":false,\"note\":"
						   "\"not public\"}")
					   : BYTES("{\"suite\":\"s1\",\"usable\":true}"));
	} else if (bytes_is(path, "/parley/v1/runs")) {
		take_run(provider, exchange, body);
	} else if (bytes_ends_with(path, BYTES("/close"))) {
		provider->closed++;
		respond(exchange, 200, NULL, NULL, BYTES("{}"));
	} else if (bytes_starts_with(path, receipts) && provider->early == 0) {
		provider->early++;
		respond(exchange, 425, "retry-after", "0", BYTES("{}"));
	} else if (bytes_starts_with(path, receipts)) {
		respond_receipt(provider, exchange,
				bytes_of(path.data + receipts.size, path.size - receipts.size));
	} else {
		respond(exchange, 404, NULL, NULL, BYTES("{}"));
	}
}

static void take_request(struct http_exchange *exchange)
{
	struct provider *provider = exchange->server_user;
	struct bytes path = http_bytes(exchange->head_bytes.data, exchange->head->path);
	char *body = bytes_to_cstr(exchange->body);
	pthread_mutex_lock(&provider->lock);
	if (bytes_is(path, "/v1/messages"))
		take_model_request(provider, exchange, body);
	else if (provider->gateway)
		take_gateway_request(provider, exchange, path, body);
	else
		respond_error(exchange, 404, NULL, NULL, "not found");
	pthread_mutex_unlock(&provider->lock);
	free(body);
}

static void aborted(struct http_exchange *exchange)
{
	(void)exchange;
}

/* ---- starting and stopping ---- */

void provider_start(struct provider *provider, struct env *env)
{
	struct env_address address, bound;
	char text[64];
	*provider = (struct provider){.env = env};
	pthread_mutex_init(&provider->lock, NULL);
	struct http_server_options options = {
		.argument = provider,
		.request = take_request,
		.aborted = aborted,
		.body_max = (size_t)8 << 20,
		.head_timeout_ns = 10ull * SECOND,
		.body_timeout_ns = 10ull * SECOND,
		.idle_timeout_ns = 60ull * SECOND,
		.write_timeout_ns = 10ull * SECOND,
		.connections_max = 6000,
	};
	provider->loop = env_loop_new(env, "provider", false);
	provider->server = http_server_new(provider->loop, &options);
	assert_int_equal(env_address_parse(BYTES("127.0.0.1:0"), &address, NULL), ERR_OK);
	assert_int_equal(http_server_listen(provider->server, &address, &bound, NULL), ERR_OK);
	env_address_format(&bound, text, sizeof(text));
	snprintf(provider->url, sizeof(provider->url), "http://%s", text);
	assert_int_equal(env_loop_start(provider->loop, -1, NULL), ERR_OK);
}

static void stop_now(struct env_message *message)
{
	struct provider *provider =
		(struct provider *)((char *)message - offsetof(struct provider, stop));
	http_server_free(provider->server);
	env_loop_stop(provider->loop);
}

void provider_stop(struct provider *provider)
{
	provider->stop.run = stop_now;
	env_post(provider->loop, &provider->stop);
	env_loop_join(provider->loop);
	env_loop_free(provider->loop);
	pthread_mutex_destroy(&provider->lock);
}

/* ---- folders ---- */

void folder_make(char out[static 256])
{
	const char *base = getenv("TMPDIR");
	snprintf(out, 256, "%s/parley-bench-XXXXXX", base ? base : "/tmp");
	assert_non_null(mkdtemp(out));
}

void folder_remove(const char *folder)
{
	char command[512];
	snprintf(command, sizeof(command), "rm -rf '%s'", folder);
	assert_int_equal(system(command), 0);
}

void folder_write(const char *folder, const char *name, const char *text)
{
	char path[600];
	snprintf(path, sizeof(path), "%s/%s", folder, name);
	FILE *file = fopen(path, "w");
	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
}

char *folder_read(const char *folder, const char *name)
{
	char path[600];
	snprintf(path, sizeof(path), "%s/%s", folder, name);
	FILE *file = fopen(path, "r");
	if (!file)
		return NULL;
	assert_int_equal(fseek(file, 0, SEEK_END), 0);
	long size = ftell(file);
	assert_true(size >= 0);
	rewind(file);
	char *text = malloc((size_t)size + 1);
	assert_non_null(text);
	assert_int_equal(fread(text, 1, (size_t)size, file), (size_t)size);
	text[size] = '\0';
	fclose(file);
	return text;
}
