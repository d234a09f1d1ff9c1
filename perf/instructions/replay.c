/* The real gateway in the simulated world of env/env_sim.h, fed with recorded bytes: no kernel, no
 * clock, the same instructions each time. A client that sends one request after another and an
 * upstream that answers with the same bytes each time stand around it and understand next to
 * nothing, so that what is counted under callgrind (measure.py) is the gateway.
 *
 *     replay BYTES-OF-PROMPT EVENTS REQUESTS      EVENTS 0: plain answers */
#include "env/env_sim.h"
#include "gate/admin.h"
#include "gate/gateway.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#define SECOND ((uint64_t)1000000000)
#define EVENT_GAP_NS 1000000u
#define TEXT_MAX ((size_t)4 << 20)

#define EVENT(name, data) "event: " name "\ndata: {\"type\":\"" name "\"," data "}\n\n"
#define USAGE(output)                                                        \
	"\"usage\":{\"input_tokens\":300,\"cache_creation_input_tokens\":0," \
	"\"cache_read_input_tokens\":0,\"output_tokens\":" output "}"

static const char first_events[] =
	EVENT("message_start",
	      "\"message\":{\"id\":\"msg_1\",\"type\":\"message\",\"role\":\"assistant\","
	      "\"model\":\"m\",\"content\":[],\"stop_reason\":null,\"stop_sequence\":null," USAGE(
		      "1") "}")
		EVENT("content_block_start",
		      "\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}");
static const char delta_event[] =
	EVENT("content_block_delta",
	      "\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":"
	      "\"sixty-four bytes of text in each event, as a model would say it. \"}");
static const char last_events[] = EVENT("content_block_stop", "\"index\":0")
	EVENT("message_delta",
	      "\"delta\":{\"stop_reason\":\"end_turn\","
	      "\"stop_sequence\":null}," USAGE(
		      "64")) "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";
static const char plain_body[] =
	"{\"id\":\"msg_1\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"m\",\"content\":"
	"[{\"type\":\"text\",\"text\":\"a plain answer of some two hundred and fifty bytes, which "
	"is what sixty-four tokens come to, more or less, in a language of the kind that is mostly "
	"spoken here; it says the same each time it is asked, and nobody minds, since nobody reads "
	"it.\"}],\"stop_reason\":\"end_turn\",\"stop_sequence\":null," USAGE("64") "}";

struct replay {
	struct sim_world *sim;
	struct env *gateway_node;
	struct config *config;
	struct env_loop *admin_loop, *upstream_loop, *client_loop;
	struct gateway *gateway;
	struct admin_request act;
	char key[128];
	unsigned events, left;
	/* The upstream: what it answers, and what it has sent of it (one connection). */
	struct env_stream *upstream;
	struct env_timer next_event;
	unsigned events_left;
	size_t asked; /* bytes of the present request so far */
	/* The client */
	struct env_stream *client;
	struct buf request, answer;
	bool done;
};

static void send_all(struct env_stream *stream, const char *data, size_t size)
{
	struct iovec part = {(void *)data, size};
	ssize_t sent = env_send(stream, &part, 1);
	assert(sent == (ssize_t)size); /* the simulated window is larger */
}

static void send_chunk(struct env_stream *stream, const char *data, size_t size)
{
	char chunk[1024];
	int length = snprintf(chunk, sizeof(chunk), "%zx\r\n%.*s\r\n", size, (int)size, data);
	send_all(stream, chunk, (size_t)length);
}

/* ---- the upstream ---- */

static void send_event(struct env_timer *timer)
{
	struct replay *replay =
		(struct replay *)((char *)timer - offsetof(struct replay, next_event));
	if (replay->events_left-- > 0) {
		send_chunk(replay->upstream, delta_event, sizeof(delta_event) - 1);
		env_timer_arm(replay->upstream_loop, timer,
			      replay->upstream_loop->now_ns + EVENT_GAP_NS);
		return;
	}
	send_chunk(replay->upstream, last_events, sizeof(last_events) - 1);
	send_all(replay->upstream, "0\r\n\r\n", 5);
}

static void answer_it(struct replay *replay)
{
	char text[2048];
	if (replay->events == 0) {
		int size = snprintf(text, sizeof(text),
				    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
				    "content-length: %zu\r\n\r\n%s",
				    sizeof(plain_body) - 1, plain_body);
		send_all(replay->upstream, text, (size_t)size);
		return;
	}
	int size = snprintf(text, sizeof(text),
			    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
			    "transfer-encoding: chunked\r\n\r\n");
	send_all(replay->upstream, text, (size_t)size);
	send_chunk(replay->upstream, first_events, sizeof(first_events) - 1);
	replay->events_left = replay->events;
	replay->next_event.fire = send_event;
	env_timer_arm(replay->upstream_loop, &replay->next_event,
		      replay->upstream_loop->now_ns + EVENT_GAP_NS);
}

/* A request ends with the body's last bytes, which nothing else has. */
static void upstream_ready(struct env_stream *stream)
{
	struct replay *replay = stream->argument;
	static char scratch[1 << 17];
	ssize_t got;
	while ((got = env_receive(stream, scratch, sizeof(scratch))) > 0)
		if (got >= 4 && memcmp(scratch + got - 4, "\"}]}", 4) == 0)
			answer_it(replay);
	if (got == ENV_EOF || got == ENV_RESET)
		env_close(stream, false);
}

static void upstream_connected(struct env_listener *listener, void *argument)
{
	struct replay *replay = argument;
	struct env_address peer;
	struct env_stream *stream;
	while ((stream = env_accept(replay->upstream_loop, listener, &peer))) {
		replay->upstream = stream;
		stream->ready = upstream_ready;
		stream->argument = replay;
	}
}

/* ---- the client ---- */

static bool answer_is_whole(const struct replay *replay)
{
	struct bytes answer = buf_bytes(&replay->answer);
	return replay->events ? bytes_ends_with(answer, BYTES("0\r\n\r\n"))
			      : bytes_ends_with(answer, BYTES(USAGE("64") "}"));
}

static void client_ready(struct env_stream *stream)
{
	struct replay *replay = stream->argument;
	static char scratch[1 << 16];
	ssize_t got;
	if (replay->answer.size == 0 && stream->connected && replay->left > 0 && !replay->asked) {
		replay->asked = 1;
		send_all(stream, replay->request.data, replay->request.size);
	}
	while ((got = env_receive(stream, scratch, sizeof(scratch))) > 0) {
		buf_append(&replay->answer, scratch, (size_t)got);
		if (!answer_is_whole(replay))
			continue;
		if (!bytes_starts_with(buf_bytes(&replay->answer), BYTES("HTTP/1.1 200")))
			break;
		buf_clear(&replay->answer);
		replay->done = --replay->left == 0;
		if (!replay->done)
			send_all(stream, replay->request.data, replay->request.size);
	}
	if (got != ENV_AGAIN || replay->answer.failed) {
		fprintf(stderr, "replay: %.*s\n", BYTES_ARG(buf_bytes(&replay->answer)));
		exit(1);
	}
}

static void make_request(struct replay *replay, size_t size)
{
	struct buf body = BUF_INIT(TEXT_MAX);
	buf_printf(&body,
		   "{\"model\":\"m\",\"max_tokens\":%u%s,\"messages\":[{\"role\":\"user\","
		   "\"content\":\"",
		   64 + replay->events * 32, replay->events ? ",\"stream\":true" : "");
	for (size_t i = 0; i < size; i++)
		buf_append_char(&body, "measure the same words again and again "[i % 39]);
	buf_append_cstr(&body, "\"}]}");
	buf_init(&replay->request, TEXT_MAX);
	buf_printf(&replay->request,
		   "POST /v1/messages HTTP/1.1\r\nhost: 10.0.0.1:8080\r\nx-api-key: %s\r\n"
		   "anthropic-version: 2023-06-01\r\ncontent-type: application/json\r\n"
		   "accept: application/json\r\nuser-agent: replay\r\ncontent-length: %zu\r\n\r\n",
		   replay->key, body.size);
	buf_append_bytes(&replay->request, buf_bytes(&body));
	buf_release(&body);
}

/* ---- the gateway ---- */

static const char config_text[] =
	"name: replay.example/parley\n"
	"listen: 10.0.0.1:8080\n"
	"data: /data\n"
	"workers: 1\n"
	"providers: [ { name: a, dialect: anthropic, url: \"http://10.0.0.2:9000\", key: k } ]\n"
	"models: [ { name: m, provider: a, max_output: 100000 } ]\n";
static const char apply_body[] =
	"{\"file\":\"access.yaml\",\"text\":\"orgs: [ { id: team } ]\\n"
	"grants: [ { id: p, org: team, purposes: [ product ], models: [ m ], release: V2,\\n"
	"  limits: { rpm: 1000000000, input_tpm: 1000000000000, output_tpm: 1000000000000, "
	"concurrency: 20, tokens_per_day: 1000000000000 },\\n"
	"  valid: { from: 2026-01-01, to: 2099-01-31 } } ]\\n\"}";

static const char *no_variable(const char *name)
{
	(void)name;
	return NULL;
}

static void act_is_done(struct admin_request *request);

static void act(struct replay *replay, const char *target, struct bytes body)
{
	replay->act = (struct admin_request){.method = BYTES("POST"),
					     .target = bytes_from(target),
					     .body = body,
					     .person = "replay",
					     .done = act_is_done,
					     .argument = replay};
	admin_handle(gateway_control(replay->gateway), &replay->act);
}

/* First the grant, then a key for it. */
static void act_is_done(struct admin_request *request)
{
	struct replay *replay = request->argument;
	struct buf answer = request->answer;
	const char *key = answer.size ? memmem(answer.data, answer.size, "\"plk_", 5) : NULL;
	if (request->status != 200) {
		fprintf(stderr, "replay: %.*s\n", BYTES_ARG(buf_bytes(&answer)));
		exit(1);
	}
	if (key)
		snprintf(replay->key, sizeof(replay->key), "%.*s", (int)strcspn(key + 1, "\""),
			 key + 1);
	buf_release(&answer);
	if (!key)
		act(replay, "/admin/v1/keys", BYTES("{\"org\":\"team\",\"grant\":\"p\"}"));
}

static void stopped(void *argument, const struct err *err)
{
	(void)argument;
	fprintf(stderr, "replay: the gateway stopped: %s\n", err ? err->message : "in order");
	exit(1);
}

static enum err_code gateway_begin(struct replay *replay, struct err *err)
{
	struct env *env = replay->gateway_node;
	ERR_TRY(config_init(env, "/data", "replay.example/parley", err));
	ERR_TRY(config_parse(bytes_from(config_text), "/parley.yaml", no_variable, &replay->config,
			     err));
	replay->admin_loop = env_loop_new(env, "admin", true);
	struct gateway_options options = {.env = env,
					  .config = replay->config,
					  .main_loop = replay->admin_loop,
					  .stopped = stopped,
					  .argument = replay};
	ERR_TRY(gateway_open(&options, &replay->gateway, err));
	ERR_TRY(gateway_start(replay->gateway, err));
	ERR_TRY(env_loop_start(replay->admin_loop, -1, err));
	act(replay, "/admin/v1/apply", bytes_of(apply_body, sizeof(apply_body) - 1));
	return ERR_OK;
}

/* ---- together ---- */

static bool has_key(void *argument)
{
	return ((struct replay *)argument)->key[0] != '\0';
}

static bool is_done(void *argument)
{
	return ((struct replay *)argument)->done;
}

static enum err_code begin(struct replay *replay, struct err *err)
{
	struct sim_faults none = sim_faults_none();
	none.window = 1 << 20;
	replay->sim = sim_world_new(1, &none);
	replay->gateway_node = sim_node_new(replay->sim, "gateway");
	struct env *upstream = sim_node_new(replay->sim, "upstream");
	struct env *client = sim_node_new(replay->sim, "client");
	struct env_address address = sim_node_address(upstream, 9000);
	struct env_listener *listener;
	replay->upstream_loop = env_loop_new(upstream, "upstream", false);
	replay->client_loop = env_loop_new(client, "client", false);
	ERR_TRY(env_listen(replay->upstream_loop, &address, upstream_connected, replay, &listener,
			   err));
	ERR_TRY(env_loop_start(replay->upstream_loop, -1, err));
	ERR_TRY(env_loop_start(replay->client_loop, -1, err));
	return gateway_begin(replay, err);
}

int main(int argc, char **argv)
{
	struct replay replay = {.left = 0};
	struct err err = ERR_INIT;
	if (argc != 4) {
		fprintf(stderr, "usage: replay BYTES-OF-PROMPT EVENTS REQUESTS\n");
		return 2;
	}
	replay.events = (unsigned)strtoul(argv[2], NULL, 10);
	replay.left = (unsigned)strtoul(argv[3], NULL, 10);
	if (begin(&replay, &err) != ERR_OK ||
	    !sim_run_until(replay.sim, 100 * SECOND, has_key, &replay)) {
		fprintf(stderr, "replay: %s\n", err.message);
		return 1;
	}
	buf_init(&replay.answer, TEXT_MAX);
	make_request(&replay, strtoul(argv[1], NULL, 10));
	struct env_address address = sim_node_address(replay.gateway_node, 8080);
	replay.client = env_connect(replay.client_loop, &address, &err);
	if (!replay.client)
		return 1;
	replay.client->ready = client_ready;
	replay.client->argument = &replay;
	if (!sim_run_until(replay.sim, 100000 * SECOND, is_done, &replay)) {
		fprintf(stderr, "replay: it got stuck: %.*s\n",
			BYTES_ARG(buf_bytes(&replay.answer)));
		return 1;
	}
	printf("%llx\n", (unsigned long long)sim_trace(replay.sim));
	return 0; /* the world ends with the process: its end is not to be measured */
}
