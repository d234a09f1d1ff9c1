#include "standin/standin.h"

#include "dialect/dialect.h"

#include <stdio.h>
#include <stdlib.h>

#define BODY_MAX ((size_t)64 << 20)
#define TEXT_MAX ((size_t)16 << 20)
#define CORPUS_SIZE 65536
#define BYTES_PER_TOKEN 4
#define CACHE_PLACES 4096
#define SECOND_NS 1000000000ull
#define CONNECTIONS_MAX 9500
#define SEND_HIGH ((size_t)256 << 10)

struct standin {
	struct standin_options options;
	struct env_loop *loop;
	struct http_server *server;
	struct json_scan scan;
	struct prng prng;
	char corpus[CORPUS_SIZE];      /* what generated answers are cut from */
	uint64_t cached[CACHE_PLACES]; /* digests of system prompts seen */
	struct standin_counts counts;
	struct pulses pulses;
	struct buf out;
};

/* An answer under way. */
struct reply {
	struct standin *standin;
	struct http_exchange *exchange; /* NULL once the client is gone */
	struct env_timer timer;
	enum dialect_id dialect;
	bool stream, cut, head_sent;
	char *model;
	struct buf text, reasoning;
	size_t sent;   /* bytes of the text that were streamed */
	size_t cut_at; /* where it is cut off */
	uint64_t started_ns;
	char id[40];
	struct dialect_rendering rendering;
	struct pulse pulse;
};

/* Harness and report show the value beside every figure. */
static const char *const simulated_field = "x-parley-simulated";
#define SIMULATED_LABEL BYTES("simulated: parley sim, no real model")

static int64_t tokens_of(size_t bytes)
{
	return (int64_t)((bytes + BYTES_PER_TOKEN - 1) / BYTES_PER_TOKEN);
}

/* ---- what is said ---- */

static void fill_corpus(struct standin *standin)
{
	static const char *const words[] = {
		"amber",  "bridge",  "copper", "drift",   "ember",  "field",  "gravel",  "harbor",
		"island", "juniper", "kettle", "lantern", "meadow", "north",  "orchard", "pebble",
		"quiet",  "river",   "signal", "timber",  "under",  "valley", "window",  "yellow"};
	struct prng prng = {standin->options.seed};
	size_t at = 0;
	while (at < CORPUS_SIZE) {
		const char *word = words[prng_below(&prng, sizeof(words) / sizeof(words[0]))];
		for (; *word && at < CORPUS_SIZE; word++)
			standin->corpus[at++] = *word;
		if (at < CORPUS_SIZE)
			standin->corpus[at++] = ' ';
	}
}

static uint64_t hash_of(struct bytes text)
{
	uint64_t hash = 14695981039346656037u;
	for (size_t i = 0; i < text.size; i += 7) /* a sample is enough to vary answers */
		hash = (hash ^ (uint8_t)text.data[i]) * 1099511628211u;
	return hash;
}

/* The same body gives the same answer, whatever else was asked. */
static void generate(struct standin *standin, struct bytes body,
		     const struct dialect_request *facts, struct buf *out)
{
	size_t tokens = standin->options.output_tokens;
	if (facts->max_output >= 0) {
		size_t most = (size_t)facts->max_output, half = most / 2;
		size_t reasoning = standin->options.reasoning_tokens;
		most -= reasoning < half ? reasoning : half;
		tokens = tokens < most ? tokens : most;
	}
	struct prng prng = {standin->options.seed ^ hash_of(body)};
	size_t left = tokens * BYTES_PER_TOKEN;
	while (left > 0 && !out->failed) {
		size_t from = (size_t)prng_below(&prng, CORPUS_SIZE / 2);
		size_t piece = left < CORPUS_SIZE / 2 ? left : CORPUS_SIZE / 2;
		buf_append(out, standin->corpus + from, piece);
		left -= piece;
	}
}

/* What stands before an answer, where the persona has nothing of its own. */
static void reason(struct standin *standin, struct bytes body, const struct dialect_request *facts,
		   size_t answer, struct buf *out)
{
	struct prng prng = {standin->options.seed ^ ~hash_of(body)};
	size_t tokens = standin->options.reasoning_tokens, most = tokens;
	if (facts->max_output >= 0)
		most = (size_t)facts->max_output > answer ? (size_t)facts->max_output - answer : 0;
	size_t size = (tokens < most ? tokens : most) * BYTES_PER_TOKEN;
	if (size > 0)
		buf_append_cstr(out, "Simulated reasoning: ");
	while (out->size < size && !out->failed)
		buf_append(out, standin->corpus + prng_below(&prng, CORPUS_SIZE / 2),
			   CORPUS_SIZE / 2);
	out->size = out->failed ? 0 : size;
}

/* The text of the last message of canonical words. */
static bool last_text(struct bytes words, struct buf *out)
{
	json_t *tree = json_loadb(words.data, words.size, 0, NULL);
	const json_t *messages = json_object_get(tree, "messages");
	const json_t *last = json_array_get(messages, json_array_size(messages) - 1);
	const json_t *part = json_array_get(json_object_get(last, "parts"), 0);
	const json_t *text = json_object_get(part, "text");
	if (text)
		buf_append(out, json_string_value(text), json_string_length(text));
	json_decref(tree);
	return text != NULL;
}

/* What the persona or the judge says; NULL, or why there is no answer. */
static const char *recall(struct standin *standin, struct reply *reply, struct bytes body,
			  struct dialect_usage *usage)
{
	struct buf words = BUF_INIT(WORDS_MAX), prompt = BUF_INIT(WORDS_MAX);
	uint8_t digest[SHA256_SIZE];
	struct transcript_answer answer;
	const char *problem = NULL;
	if (dialect_words(reply->dialect, body, &words, NULL, NULL) != ERR_OK) {
		problem = "the stand-in answers plain text prompts only";
	} else if (standin->options.mode == STANDIN_JUDGE) {
		if (!last_text(buf_bytes(&words), &prompt) ||
		    !standin_judge(buf_bytes(&prompt), &reply->text))
			problem =
				"the stand-in judge answers the judge prompts of parley bench only";
	} else if (words_text_match_digest(buf_bytes(&words), digest, NULL) != ERR_OK ||
		   !transcript_next(standin->options.persona, digest, &answer)) {
		problem = "the persona has no answer to this prompt";
	} else {
		buf_append_bytes(&reply->text, answer.text);
		buf_append_bytes(&reply->reasoning, answer.reasoning);
		if (answer.input >= 0)
			usage->input = answer.input;
		usage->output = answer.output;
		usage->cache_read = answer.cache_read;
		usage->cache_write = answer.cache_write;
	}
	buf_release(&words);
	buf_release(&prompt);
	return problem;
}

/* ---- usage ---- */

static void count_cache(struct standin *standin, struct bytes body, struct dialect_usage *usage)
{
	const struct json_scan_member *member =
		json_scan_member(&standin->scan, body, BYTES("system"));
	if (!member || !memmem(body.data + member->value, member->value_size, "cache_control", 13))
		return;
	struct bytes system = {body.data + member->value, member->value_size};
	uint64_t hash = hash_of(system) | 1;
	uint64_t *place = &standin->cached[hash % CACHE_PLACES];
	int64_t tokens = tokens_of(system.size);
	if (tokens > usage->input)
		tokens = usage->input;
	usage->input -= tokens;
	if (*place == hash)
		usage->cache_read = tokens;
	else
		usage->cache_write = tokens;
	*place = hash;
}

/* ---- sending ---- */

static void free_reply(struct reply *reply)
{
	env_timer_disarm(reply->standin->loop, &reply->timer);
	pulse_stop(&reply->pulse);
	buf_release(&reply->text);
	buf_release(&reply->reasoning);
	free(reply->model);
	free(reply);
}

static void respond_json(struct http_exchange *exchange, int status, struct bytes body)
{
	struct http_header headers[2] = {
		{"content-type",  BYTES("application/json")},
                {simulated_field, SIMULATED_LABEL          }
        };
	http_respond(exchange, status, headers, 2, body);
}

static void respond_error(struct standin *standin, struct http_exchange *exchange,
			  enum dialect_id dialect, int status, const char *message)
{
	struct dialect_error error = {.status = status, .message = bytes_from(message)};
	buf_clear(&standin->out);
	dialect_error_body(dialect, &error, &standin->out);
	respond_json(exchange, status, buf_bytes(&standin->out));
}

static void cut_off(struct reply *reply)
{
	reply->standin->counts.cut++;
	http_cut(reply->exchange);
	free_reply(reply);
}

static void send_plain(struct reply *reply)
{
	struct standin *standin = reply->standin;
	struct http_exchange *exchange = reply->exchange;
	buf_clear(&standin->out);
	dialect_render_answer(reply->dialect, &reply->rendering, &standin->out);
	if (reply->cut) {
		struct http_header type = {"content-type", BYTES("application/json")};
		http_start(exchange, 200, &type, 1, (int64_t)standin->out.size);
		http_send(exchange, bytes_of(standin->out.data, standin->out.size / 2));
		cut_off(reply);
		return;
	}
	standin->counts.answered++;
	respond_json(exchange, 200, buf_bytes(&standin->out));
	free_reply(reply);
}

static void start_stream(struct reply *reply)
{
	struct http_header headers[3] = {
		{"content-type",  BYTES("text/event-stream")},
		{"cache-control", BYTES("no-cache")         },
		{simulated_field, SIMULATED_LABEL           }
        };
	reply->head_sent = true;
	reply->started_ns = reply->standin->loop->now_ns;
	http_start(reply->exchange, 200, headers, 3, -1);
	dialect_render_stream_start(reply->dialect, &reply->rendering, &reply->standin->out);
}

/* A piece never ends inside a UTF-8 sequence. */
static size_t whole_characters(struct bytes text, size_t size)
{
	while (size < text.size && ((unsigned char)text.data[size] & 0xc0) == 0x80)
		size++;
	return size;
}

/* How many bytes of the text should have been sent by now. */
static size_t due_now(const struct reply *reply)
{
	unsigned rate = reply->standin->options.tokens_per_second;
	uint64_t elapsed = reply->standin->loop->now_ns - reply->started_ns;
	if (rate == 0)
		return reply->text.size;
	uint64_t tokens = 1 + elapsed * rate / SECOND_NS;
	uint64_t bytes = tokens * BYTES_PER_TOKEN;
	return bytes < reply->text.size ? (size_t)bytes : reply->text.size;
}

static void append_deltas(struct reply *reply, size_t until)
{
	struct bytes text = buf_bytes(&reply->text);
	until = whole_characters(text, until);
	while (reply->sent < until) {
		size_t size = whole_characters(text, reply->sent + BYTES_PER_TOKEN < until
							     ? reply->sent + BYTES_PER_TOKEN
							     : until);
		reply->rendering.text = bytes_of(text.data + reply->sent, size - reply->sent);
		dialect_render_stream_delta(reply->dialect, &reply->rendering,
					    &reply->standin->out);
		reply->sent = size;
	}
}

static void send_stream(struct reply *reply)
{
	struct standin *standin = reply->standin;
	buf_clear(&standin->out);
	if (!reply->head_sent)
		start_stream(reply);
	size_t due = due_now(reply);
	bool cut = reply->cut && due >= reply->cut_at;
	append_deltas(reply, cut ? reply->cut_at : due);
	bool done = !cut && reply->sent >= reply->text.size;
	if (done)
		dialect_render_stream_end(reply->dialect, &reply->rendering, &standin->out);
	http_send(reply->exchange, buf_bytes(&standin->out));
	if (cut) {
		cut_off(reply);
	} else if (done) {
		standin->counts.answered++;
		http_finish(reply->exchange);
		free_reply(reply);
	} else {
		uint64_t step = SECOND_NS / standin->options.tokens_per_second;
		if (!env_timer_arm(standin->loop, &reply->timer, standin->loop->now_ns + step))
			cut_off(reply);
	}
}

/* ---- streams at an exact rate ---- */

static bool pulsing(const struct reply *reply)
{
	return reply->stream && reply->standin->options.pulse.per_second > 0;
}

static void start_pulse(struct reply *reply)
{
	struct standin *standin = reply->standin;
	buf_clear(&standin->out);
	start_stream(reply);
	http_send(reply->exchange, buf_bytes(&standin->out));
	if (!pulse_start(&standin->pulses, &reply->pulse, reply->dialect, &reply->rendering))
		cut_off(reply);
}

static void beat(struct pulse *pulse)
{
	struct reply *reply = (struct reply *)((char *)pulse - offsetof(struct reply, pulse));
	struct standin *standin = reply->standin;
	if (http_unsent(reply->exchange) > SEND_HIGH) /* a slow reader misses a beat */
		return;
	http_send(reply->exchange, pulse_take(pulse));
	if (pulse->left > 0)
		return;
	buf_clear(&standin->out);
	dialect_render_stream_end(reply->dialect, &reply->rendering, &standin->out);
	http_send(reply->exchange, buf_bytes(&standin->out));
	standin->counts.answered++;
	http_finish(reply->exchange);
	free_reply(reply);
}

static void go_on(struct env_timer *timer)
{
	struct reply *reply = (struct reply *)((char *)timer - offsetof(struct reply, timer));
	if (!reply->stream)
		send_plain(reply);
	else if (pulsing(reply))
		start_pulse(reply);
	else if (http_unsent(reply->exchange) > SEND_HIGH) /* a slow reader: wait for it */
		env_timer_arm(reply->standin->loop, timer,
			      reply->standin->loop->now_ns + SECOND_NS / 100);
	else
		send_stream(reply);
}

/* ---- requests ---- */

static struct reply *new_reply(struct standin *standin, struct http_exchange *exchange,
			       const struct dialect_request *facts)
{
	struct reply *reply = calloc(1, sizeof(*reply));
	if (!reply)
		return NULL;
	reply->standin = standin;
	reply->exchange = exchange;
	reply->dialect = facts->dialect;
	reply->stream = facts->stream;
	reply->timer.fire = go_on;
	reply->model = bytes_to_cstr(facts->model);
	buf_init(&reply->text, TEXT_MAX);
	buf_init(&reply->reasoning, TEXT_MAX);
	exchange->user = reply;
	if (reply->model)
		return reply;
	free_reply(reply);
	return NULL;
}

static void compose(struct reply *reply, const struct dialect_request *facts,
		    struct dialect_usage usage)
{
	struct standin *standin = reply->standin;
	usage.known = true;
	int64_t reasoning = tokens_of(reply->reasoning.size);
	if (usage.output < 0)
		usage.output = tokens_of(reply->text.size) + reasoning;
	static const char *const prefixes[DIALECT_COUNT] = {
		[DIALECT_NONE] = "",
		[DIALECT_ANTHROPIC] = "msg_",
		[DIALECT_OPENAI] = "chatcmpl-",
		[DIALECT_RESPONSES] = "resp_",
		[DIALECT_GEMINI] = "",
		[DIALECT_MISTRAL] = "cmpl-",
		[DIALECT_XAI] = "chatcmpl-",
	};
	snprintf(reply->id, sizeof(reply->id), "%s%016llx", prefixes[reply->dialect],
		 (unsigned long long)prng_next(&standin->prng));
	bool full = facts->max_output >= 0 && usage.output >= facts->max_output &&
		    standin->options.mode == STANDIN_GENERATOR;
	reply->rendering = (struct dialect_rendering){
		.id = reply->id,
		.model = bytes_from(reply->model),
		.text = buf_bytes(&reply->text),
		.whole = buf_bytes(&reply->text),
		.reasoning = buf_bytes(&reply->reasoning),
		.reasoning_tokens = reasoning < usage.output ? reasoning : usage.output,
		.usage = usage,
		.finish = full ? DIALECT_FINISH_LENGTH : DIALECT_FINISH_STOP,
		.created = standin->loop->wall_ms / 1000,
		.include_usage = facts->flags & DIALECT_USAGE_ASKED,
	};
	reply->cut = prng_unit(&standin->prng) < standin->options.cut_rate;
	reply->cut_at = reply->text.size / 2;
}

static void answer(struct standin *standin, struct http_exchange *exchange,
		   const struct dialect_request *facts)
{
	struct dialect_usage usage = {.input = tokens_of(facts->prompt_bytes), .output = -1};
	struct reply *reply = new_reply(standin, exchange, facts);
	const char *problem = reply ? NULL : "out of memory";
	count_cache(standin, exchange->body, &usage);
	if (reply && pulsing(reply))
		usage.output = (int64_t)(standin->options.pulse.events *
					 standin->options.pulse.text_bytes / BYTES_PER_TOKEN);
	else if (reply && standin->options.mode == STANDIN_GENERATOR)
		generate(standin, exchange->body, facts, &reply->text);
	else if (reply)
		problem = recall(standin, reply, exchange->body, &usage);
	if (problem) {
		int status = reply ? 400 : 503;
		exchange->user = NULL;
		if (reply)
			free_reply(reply);
		standin->counts.errors++;
		respond_error(standin, exchange, facts->dialect, status, problem);
		return;
	}
	if (!reply->reasoning.size && !pulsing(reply))
		reason(standin, exchange->body, facts, (size_t)tokens_of(reply->text.size),
		       &reply->reasoning);
	compose(reply, facts, usage);
	uint64_t wait = standin->options.first_token_ns;
	if (wait == 0 || !env_timer_arm(standin->loop, &reply->timer, standin->loop->now_ns + wait))
		go_on(&reply->timer);
}

static bool wrong_key(const struct standin *standin, const struct http_exchange *exchange)
{
	struct bytes key;
	if (!standin->options.key)
		return false;
	return !http_credential(exchange->head, exchange->head_bytes.data, &key) ||
	       !bytes_is(key, standin->options.key);
}

static void list_models(struct standin *standin, struct http_exchange *exchange,
			enum dialect_id dialect)
{
	struct bytes names[64];
	size_t count = standin->options.model_count < 64 ? standin->options.model_count : 64;
	for (size_t i = 0; i < count; i++)
		names[i] = bytes_from(standin->options.models[i]);
	buf_clear(&standin->out);
	dialect_models(dialect, names, count, 0, &standin->out);
	respond_json(exchange, 200, buf_bytes(&standin->out));
}

static void generate_or_count(struct standin *standin, struct http_exchange *exchange,
			      const struct dialect_route *route)
{
	struct dialect_request facts;
	struct err err = ERR_INIT;
	if (json_scan_text(&standin->scan, exchange->body, "the body", &err) != ERR_OK ||
	    dialect_request_read(route, &standin->scan, exchange->body, &facts, &err) != ERR_OK) {
		respond_error(standin, exchange, route->dialect, 400, err.message);
		return;
	}
	if (route->endpoint->kind == ENDPOINT_COUNT_TOKENS) {
		buf_clear(&standin->out);
		dialect_count_answer(route->dialect, tokens_of(facts.prompt_bytes), &standin->out);
		respond_json(exchange, 200, buf_bytes(&standin->out));
		return;
	}
	standin->counts.requests++;
	if (standin->options.error_rate > 0 &&
	    prng_unit(&standin->prng) < standin->options.error_rate) {
		standin->counts.errors++;
		respond_error(standin, exchange, route->dialect,
			      route->dialect == DIALECT_ANTHROPIC ? 529 : 503,
			      "the stand-in was told to fail now and then");
		return;
	}
	answer(standin, exchange, &facts);
}

static void request_arrived(struct http_exchange *exchange)
{
	struct standin *standin = exchange->server_user;
	const char *data = exchange->head_bytes.data;
	struct bytes path = http_bytes(data, exchange->head->path);
	bool versioned = http_has(exchange->head, HTTP_FIELD_ANTHROPIC_VERSION);
	const struct dialect_endpoint *endpoint =
		dialect_endpoint_find(http_bytes(data, exchange->head->method), path, versioned);
	if (http_has(exchange->head, HTTP_FIELD_GOOGLE_API_KEY))
		endpoint = dialect_gemini_list(endpoint);
	enum dialect_id dialect = endpoint ? endpoint->dialect : dialect_guess(path, versioned);
	const char *problem =
		endpoint ? dialect_query_problem(endpoint, http_bytes(data, exchange->head->query))
			 : NULL;
	dialect = dialect_variant(dialect, standin->options.chat);
	exchange->user = NULL;
	if (!endpoint)
		respond_error(standin, exchange, dialect, 404, "no such endpoint");
	else if (wrong_key(standin, exchange))
		respond_error(standin, exchange, dialect, 401, "wrong key");
	else if (problem)
		respond_error(standin, exchange, dialect, 400, problem);
	else if (endpoint->kind == ENDPOINT_MODELS)
		list_models(standin, exchange, dialect);
	else
		generate_or_count(standin, exchange,
				  &(struct dialect_route){endpoint, dialect, path});
}

static void request_aborted(struct http_exchange *exchange)
{
	if (exchange->user)
		free_reply(exchange->user);
}

/* ---- making and freeing ---- */

struct standin *standin_new(struct env_loop *loop, const struct standin_options *options)
{
	struct standin *standin = calloc(1, sizeof(*standin));
	if (!standin)
		return NULL;
	struct http_server_options server = {
		.argument = standin,
		.request = request_arrived,
		.aborted = request_aborted,
		.body_max = BODY_MAX,
		.head_timeout_ns = 30 * SECOND_NS,
		.body_timeout_ns = 60 * SECOND_NS,
		.idle_timeout_ns = 300 * SECOND_NS,
		.write_timeout_ns = 120 * SECOND_NS,
		.connections_max = CONNECTIONS_MAX,
	};
	standin->options = *options;
	standin->loop = loop;
	standin->prng.state = options->seed;
	buf_init(&standin->out, TEXT_MAX * 8);
	fill_corpus(standin);
	pulses_init(&standin->pulses, loop, &options->pulse, beat);
	standin->server = http_server_new(loop, &server);
	if (standin->server)
		return standin;
	free(standin);
	return NULL;
}

enum err_code standin_listen(struct standin *standin, const struct env_address *address,
			     struct env_address *bound, struct err *err)
{
	return http_server_listen(standin->server, address, bound, err);
}

void standin_stop(struct standin *standin, void (*done)(void *argument), void *argument)
{
	http_server_stop(standin->server, done, argument);
}

void standin_free(struct standin *standin)
{
	if (!standin)
		return;
	http_server_free(standin->server);
	pulses_stop(&standin->pulses);
	buf_release(&standin->out);
	free(standin);
}

struct standin_counts standin_counts(const struct standin *standin)
{
	return standin->counts;
}
