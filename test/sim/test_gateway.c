/* The real gateway in a simulated world: a stand-in behind it, users in front of it, a network and
 * disks that fail as the seed says, and a gateway that is killed or loses power again and again.
 *
 * Safety, after every crash: an answer of which a user has seen a byte has its admit record, one of
 * which a user has seen the end has its settle record; what users got is what the stand-in said, or
 * the beginning of it; who must be refused is refused. Liveness: when the faults have stopped,
 * everybody is served; after quiet nothing is left in flight and every limit is full again. Each
 * seed runs twice and must leave the same trace. And gateways that are wrong on purpose must be
 * caught. */
#include "env/env_sim.h"
#include "gate/admin.h"
#include "gate/gateway.h"
#include "standin/standin.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define CONTAINER(pointer, type, member) ((type *)((char *)(pointer)-offsetof(type, member)))
#define SECOND ((uint64_t)1000000000)
#if defined(__SANITIZE_ADDRESS__)
#define SEEDS 20 /* each takes several times as long */
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SEEDS 20
#endif
#endif
#ifndef SEEDS
#define SEEDS 150
#endif
#define USERS 5
#define ASKS 10 /* of each user */
#define KEPT_MAX 1000
#define FAULTS_END (40 * SECOND)
#define SERVED_BY (400 * SECOND)
#define QUIET (800 * SECOND)

/* What a node that has died would have freed is lost with it. */
void __lsan_disable(void) __attribute__((weak));
void __lsan_enable(void) __attribute__((weak));

enum mistake {
	NO_MISTAKE,
	ACKNOWLEDGES_EARLY,    /* after the write, before the sync */
	SYNCS_NOTHING,         /* says that it has */
	FORGETS_THE_DIRECTORY, /* names are never synced */
	MISTAKES,
};

/* ---- what is asked ---- */

struct question {
	enum dialect_id dialect;
	bool stream;
	const char *body;
};

#define OPENAI(stream, tokens, words)                                              \
	"{\"model\":\"m-o\",\"messages\":[{\"role\":\"user\",\"content\":\"" words \
	"\"}],\"max_tokens\":" tokens stream "}"
#define OPENAI_STREAM ",\"stream\":true,\"stream_options\":{\"include_usage\":true}"
#define ANTHROPIC(stream, tokens, words)                   \
	"{\"model\":\"m-a\",\"max_tokens\":" tokens stream \
	",\"messages\":[{\"role\":\"user\",\"content\":\"" words "\"}]}"
#define ANTHROPIC_STREAM ",\"stream\":true"

static const struct question questions[] = {
	{DIALECT_OPENAI,    false, OPENAI("",                  "8",    "a few words")       },
	{DIALECT_OPENAI,    false, OPENAI("",                  "700",  "many words")        },
	{DIALECT_OPENAI,    true,  OPENAI(OPENAI_STREAM,       "5",    "few, as they come") },
	{DIALECT_OPENAI,    true,  OPENAI(OPENAI_STREAM,       "1600", "many, as they come")},
	{DIALECT_ANTHROPIC, false, ANTHROPIC("",               "60",   "a page")            },
	{DIALECT_ANTHROPIC, true,  ANTHROPIC(ANTHROPIC_STREAM, "9",    "a line")            },
	{DIALECT_ANTHROPIC, true,  ANTHROPIC(ANTHROPIC_STREAM, "1600", "a whole book")      },
};
#define QUESTIONS (sizeof(questions) / sizeof(questions[0]))

/* Who asks how. */
enum manner { PROPERLY, WITH_A_WRONG_KEY, FOR_AN_UNKNOWN_MODEL, MANNERS };

struct town;

/* One request and what came back. */
struct ask {
	struct town *town;
	const struct question *question;
	size_t place; /* of the question */
	enum manner manner;
	struct http_call call;
	struct buf head, body;
	char model_body[256];
	int status;
	char record[RECORD_ID_SIZE + 1];
	bool observing;
	struct dialect_observer observer;
	struct buf text;
	struct err err;
	void (*over)(struct ask *ask);
};

struct user {
	struct ask ask;
	struct town *town;
	struct env_timer timer;
	unsigned left;
	bool asking;
};

struct kept {
	char id[RECORD_ID_SIZE + 1];
	bool settled; /* its end was seen */
};

struct town {
	struct sim_world *sim;
	enum mistake mistake;
	struct env *gateway_node, *upstream_node, *user_node;
	struct env_ops wrong_ops;
	const struct env_ops *right_ops;
	/* The gateway */
	struct config *config;
	struct env_loop *admin_loop;
	struct gateway *gateway;
	struct admin_request act;
	bool initialised, stopped;
	char key[128]; /* "" until it is issued */
	char apply[2048];
	/* The stand-in, and one that never fails, to know what the other says */
	struct env_loop *upstream_loop;
	struct standin *standin, *honest;
	/* Users */
	struct env_loop *user_loop;
	struct http_pool *pool;
	struct http_origin *origin, *honest_origin;
	struct user users[USERS];
	struct ask reference;
	struct buf texts[QUESTIONS]; /* what the stand-in answers */
	size_t known_texts;
	/* What users have seen */
	struct kept kept[KEPT_MAX];
	size_t kept_count;
	unsigned crashes, answered, refused;
	const char *violation;
};

static void note_violation(struct town *town, const char *violation)
{
	if (!town->violation)
		town->violation = violation;
}

/* ---- asking ---- */

static void ask_head(struct http_call *call, const struct http_head *head, struct bytes bytes)
{
	struct ask *ask = call->user;
	struct bytes record = http_known(head, bytes.data, HTTP_FIELD_PARLEY_RECORD);
	struct bytes type = http_known(head, bytes.data, HTTP_FIELD_CONTENT_TYPE);
	ask->status = head->status;
	if (record.size == RECORD_ID_SIZE)
		memcpy(ask->record, record.data, RECORD_ID_SIZE);
	if (head->status == 200 && bytes_starts_with(type, BYTES("text/event-stream"))) {
		ask->observing = true;
		dialect_observer_init(&ask->observer, ask->question->dialect, BYTES(""), false,
				      &ask->text);
	}
}

static void ask_body(struct http_call *call, struct bytes piece)
{
	struct ask *ask = call->user;
	struct dialect_flow flow;
	if (ask->observing)
		dialect_observer_feed(&ask->observer, piece.data, piece.size, &flow);
	else
		buf_append_bytes(&ask->body, piece);
}

/* The text of a plain answer goes where a stream's is. */
static void read_plain(struct ask *ask)
{
	struct dialect_answer answer;
	dialect_answer_init(&answer, (size_t)1 << 20);
	if (dialect_answer_read(ask->question->dialect, buf_bytes(&ask->body), &answer, NULL) ==
	    ERR_OK)
		buf_append_bytes(&ask->text, buf_bytes(&answer.text));
	else
		note_violation(ask->town, "a plain answer that is none");
	dialect_answer_release(&answer);
}

static void keep_record(struct ask *ask, bool settled)
{
	struct town *town = ask->town;
	if (!ask->record[0]) {
		note_violation(town, "an answer without a record's id");
		return;
	}
	if (town->kept_count == KEPT_MAX)
		return;
	struct kept *kept = &town->kept[town->kept_count++];
	memcpy(kept->id, ask->record, sizeof(kept->id));
	kept->settled = settled;
	sim_note(town->sim, kept, sizeof(*kept));
}

static void check_text(struct ask *ask, bool whole)
{
	struct town *town = ask->town;
	const struct buf *said = &town->texts[ask->place];
	bool equal = whole ? ask->text.size == said->size : ask->text.size <= said->size;
	if (!equal || (ask->text.size && memcmp(ask->text.data, said->data, ask->text.size) != 0))
		note_violation(town, whole ? "an answer is not what the stand-in said"
					   : "a part of an answer is not its beginning");
}

static void check_answer(struct ask *ask, bool ended)
{
	static const int expected[MANNERS] = {
		[WITH_A_WRONG_KEY] = 401, [FOR_AN_UNKNOWN_MODEL] = 404};
	struct town *town = ask->town;
	struct dialect_flow flow;
	bool whole = ended;
	if (ask->manner != PROPERLY) {
		if (ended && ask->status != expected[ask->manner] && ask->status != 429)
			note_violation(town, "who must be refused was not");
		town->refused += ended;
		return;
	}
	if (ask->status != 200)
		return;
	if (ask->observing) {
		dialect_observer_end(&ask->observer, &flow);
		whole = ask->observer.outcome.complete;
		if (whole && ask->observer.outcome.failed)
			note_violation(town, "a stream is complete and failed at once");
	} else if (ended) {
		read_plain(ask);
	}
	keep_record(ask, ended || whole);
	if (ask->observing || ended)
		check_text(ask, whole);
	town->answered += whole;
}

static void ask_ended(struct http_call *call, const struct err *err)
{
	struct ask *ask = call->user;
	ask->err = *err;
	ask->over(ask);
}

static void ask_release(struct ask *ask)
{
	if (ask->observing)
		dialect_observer_release(&ask->observer);
	ask->observing = false;
	buf_release(&ask->head);
	buf_release(&ask->body);
	buf_release(&ask->text);
}

/* `over` is called when call->ended was; the outcome is in the call. */
static void ask_start(struct ask *ask, struct town *town, size_t place, enum manner manner,
		      struct http_origin *origin, void (*over)(struct ask *ask))
{
	const struct question *question = &questions[place];
	struct bytes names[1] = {BYTES("authorization")}, values[1];
	char bearer[160];
	const char *body = question->body;
	*ask = (struct ask){
		.town = town, .question = question, .place = place, .manner = manner, .over = over};
	buf_init(&ask->head, 4096);
	buf_init(&ask->body, (size_t)1 << 20);
	buf_init(&ask->text, (size_t)1 << 20);
	snprintf(bearer, sizeof(bearer), "Bearer %s",
		 manner == WITH_A_WRONG_KEY ? "plk_of_somebody_else" : town->key);
	values[0] = bytes_from(bearer);
	if (manner == FOR_AN_UNKNOWN_MODEL) {
		snprintf(ask->model_body, sizeof(ask->model_body), "%s", body);
		memcpy(strstr(ask->model_body, "\"m-"), "\"x-", 3);
		body = ask->model_body;
	}
	http_write_request_head(&ask->head, "POST",
				bytes_from(dialect_endpoint_of(question->dialect, false)->path),
				http_origin_authority(origin), names, values, 1,
				(int64_t)strlen(body));
	ask->call = (struct http_call){
		.parts = {{ask->head.data, ask->head.size}, {(void *)body, strlen(body)}},
		.part_count = 2,
		.first_byte_ns = 20 * SECOND,
		.idle_ns = 20 * SECOND,
		.user = ask,
		.head = ask_head,
		.body = ask_body,
		.ended = ask_ended,
	};
	http_call_start(origin, &ask->call);
}

/* ---- users ---- */

static void user_pauses(struct user *user, uint64_t at_most_ns)
{
	struct town *town = user->town;
	uint64_t pause = 1 + prng_below(sim_workload(town->sim), at_most_ns);
	env_timer_arm(town->user_loop, &user->timer, town->user_loop->now_ns + pause);
}

static void user_answered(struct ask *ask)
{
	struct user *user = CONTAINER(ask, struct user, ask);
	bool ended = ask->err.code == ERR_OK;
	check_answer(ask, ended);
	/* Until the faults stop anything may be asked in vain; afterwards it must be answered. */
	bool good = ended && (ask->status == 200 || ask->manner != PROPERLY);
	if (user->left > 0 && (good || sim_now(ask->town->sim) < FAULTS_END))
		user->left--;
	ask_release(ask);
	user->asking = false;
	user_pauses(user, SECOND);
}

static void user_acts(struct env_timer *timer)
{
	struct user *user = CONTAINER(timer, struct user, timer);
	struct town *town = user->town;
	struct prng *draw = sim_workload(town->sim);
	if (!town->key[0] || user->asking) {
		user_pauses(user, SECOND / 2);
		return;
	}
	if (user->left == 0 && sim_now(town->sim) > FAULTS_END)
		return;
	enum manner manner =
		prng_below(draw, 5) ? PROPERLY : (enum manner)prng_below(draw, MANNERS);
	user->asking = true;
	ask_start(&user->ask, town, prng_below(draw, QUESTIONS), manner, town->origin,
		  user_answered);
}

/* ---- what the stand-in says ---- */

static void reference_over(struct ask *ask);

static void ask_reference(struct town *town)
{
	ask_start(&town->reference, town, town->known_texts, PROPERLY, town->honest_origin,
		  reference_over);
}

static void reference_over(struct ask *ask)
{
	struct town *town = ask->town;
	struct dialect_flow flow;
	if (ask->observing)
		dialect_observer_end(&ask->observer, &flow);
	else
		read_plain(ask);
	buf_append_bytes(&town->texts[town->known_texts++], buf_bytes(&ask->text));
	ask_release(ask);
	if (town->known_texts < QUESTIONS)
		ask_reference(town);
}

static bool texts_are_known(void *argument)
{
	return ((struct town *)argument)->known_texts == QUESTIONS;
}

static void upstream_start(struct town *town)
{
	struct prng *draw = sim_workload(town->sim);
	struct env_address address = sim_node_address(town->upstream_node, 9000);
	struct standin_options options = {
		.mode = STANDIN_GENERATOR, .seed = 7, .output_tokens = 2000, .key = NULL};
	town->upstream_loop = env_loop_new(town->upstream_node, "upstream", false);
	address.port = 9001;
	town->honest = standin_new(town->upstream_loop, &options);
	assert_int_equal(ERR_OK, standin_listen(town->honest, &address, NULL, NULL));
	options.first_token_ns = prng_below(draw, 3) * SECOND / 20;
	options.tokens_per_second = prng_below(draw, 2) ? 2000 : 0;
	options.error_rate = prng_below(draw, 2) ? 0.05 : 0;
	options.cut_rate = prng_below(draw, 2) ? 0.1 : 0;
	options.key = "secret";
	address.port = 9000;
	town->standin = standin_new(town->upstream_loop, &options);
	assert_int_equal(ERR_OK, standin_listen(town->standin, &address, NULL, NULL));
	assert_int_equal(ERR_OK, env_loop_start(town->upstream_loop, -1, NULL));
}

static void users_start(struct town *town)
{
	struct http_pool_options options = {.connections_max = 32,
					    .idle_max = 4,
					    .idle_timeout_ns = 5 * SECOND,
					    .connect_timeout_ns = 3 * SECOND};
	town->user_loop = env_loop_new(town->user_node, "users", false);
	town->pool = http_pool_new(town->user_loop, &options);
	assert_int_equal(ERR_OK, http_pool_origin(town->pool, BYTES("http://10.0.0.1:8080"),
						  &town->origin, NULL));
	assert_int_equal(ERR_OK, http_pool_origin(town->pool, BYTES("http://10.0.0.2:9001"),
						  &town->honest_origin, NULL));
	assert_int_equal(ERR_OK, env_loop_start(town->user_loop, -1, NULL));
	for (size_t i = 0; i < QUESTIONS; i++)
		buf_init(&town->texts[i], (size_t)1 << 20);
	ask_reference(town);
	assert_true(sim_run_until(town->sim, 20 * SECOND, texts_are_known, town));
	for (unsigned i = 0; i < USERS; i++) {
		town->users[i].town = town;
		town->users[i].left = ASKS;
		town->users[i].timer.fire = user_acts;
		user_pauses(&town->users[i], SECOND);
	}
}

/* ---- the gateway ---- */

static const char config_text[] =
	"name: sim.example/parley\n"
	"listen: 10.0.0.1:8080\n"
	"data: /data\n"
	"workers: %u\n"
	"durability: %s\n"
	"providers:\n"
	"  - { name: o, dialect: openai, url: \"http://10.0.0.2:9000\", key: secret }\n"
	"  - { name: a, dialect: anthropic, url: \"http://10.0.0.2:9000\", key: secret }\n"
	"models:\n"
	"  - { name: m-o, provider: o, upstream: m-o, max_output: 4000 }\n"
	"  - { name: m-a, provider: a, upstream: m-a, max_output: 4000 }\n";

static const char access_text[] =
	"orgs: [ { id: team } ]\\n"
	"grants: [ { id: p, org: team, purposes: [ product ], models: [ m-o, m-a ], release: V2,\\n"
	"  limits: { rpm: 600, input_tpm: 100000, output_tpm: 60000, concurrency: 20 },\\n"
	"  valid: { from: 2026-01-01, to: 2099-01-31 } } ]\\n";

static const char *no_variable(const char *name)
{
	(void)name;
	return NULL;
}

static void act_is_done(struct admin_request *request);

static void act(struct town *town, const char *target, struct bytes body)
{
	town->act = (struct admin_request){.method = BYTES("POST"),
					   .target = bytes_from(target),
					   .body = body,
					   .person = "tester",
					   .done = act_is_done,
					   .argument = town};
	admin_handle(gateway_control(town->gateway), &town->act);
}

/* First the grant, then a key for it. */
static void act_is_done(struct admin_request *request)
{
	struct town *town = request->argument;
	struct buf answer = request->answer;
	const char *key = answer.size ? memmem(answer.data, answer.size, "\"plk_", 5) : NULL;
	if (key && request->status == 200)
		snprintf(town->key, sizeof(town->key), "%.*s", (int)strcspn(key + 1, "\""),
			 key + 1);
	bool applied = !key && request->status == 200;
	buf_release(&answer);
	if (applied)
		act(town, "/admin/v1/keys", BYTES("{\"org\":\"team\",\"grant\":\"p\"}"));
}

static void gateway_exits(void *argument)
{
	struct town *town = argument;
	if (!sim_is_down(town->gateway_node))
		sim_crash(town->gateway_node, SIM_KILLED);
}

/* The log has failed: the process must end. */
static void gateway_is_stopped(void *argument, const struct err *err)
{
	struct town *town = argument;
	town->stopped = err == NULL;
	if (!err)
		env_loop_stop(town->admin_loop);
	else
		sim_at(town->sim, sim_now(town->sim), gateway_exits, town);
}

static enum err_code initialise(struct town *town, struct err *err)
{
	if (town->initialised)
		return ERR_OK;
	enum err_code code = config_init(town->gateway_node, "/data", "sim.example/parley", err);
	if (code == ERR_EXISTS) /* a crash has left it half made */
		code = env_file_exists(town->gateway_node, "/data/parley.yaml") ? ERR_OK : code;
	town->initialised = code == ERR_OK;
	return code;
}

static enum err_code gateway_begin(struct town *town, bool serve, struct err *err)
{
	char text[1024];
	struct env *env = town->gateway_node;
	unsigned workers = 1 + (unsigned)(town->crashes % 2);
	snprintf(text, sizeof(text), config_text, workers,
		 town->mistake == ACKNOWLEDGES_EARLY ? "relaxed" : "strict");
	ERR_TRY(config_parse(bytes_from(text), "/parley.yaml", no_variable, &town->config, err));
	town->admin_loop = env_loop_new(env, "admin", true);
	struct gateway_options options = {.env = env,
					  .config = town->config,
					  .main_loop = town->admin_loop,
					  .grace_ns = 5 * SECOND,
					  .segment_size = (uint64_t)1 << 20,
					  .stopped = gateway_is_stopped,
					  .argument = town};
	ERR_TRY(gateway_open(&options, &town->gateway, err));
	if (!serve)
		return ERR_OK;
	ERR_TRY(gateway_start(town->gateway, err));
	ERR_TRY(env_loop_start(town->admin_loop, -1, err));
	int size = snprintf(town->apply, sizeof(town->apply),
			    "{\"file\":\"access.yaml\",\"text\":\"%s\"}", access_text);
	act(town, "/admin/v1/apply", bytes_of(town->apply, (size_t)size));
	return ERR_OK;
}

static void gateway_end(struct town *town)
{
	town->key[0] = '\0';
	gateway_free(town->gateway);
	town->gateway = NULL;
	env_loop_free(town->admin_loop);
	town->admin_loop = NULL;
	config_free(town->config);
	town->config = NULL;
}

/* ---- the oracle ---- */

/* A disk that would not say is asked another time. */
static bool is_lost(enum err_code code)
{
	return code == ERR_NOT_FOUND || code == ERR_CORRUPT;
}

/* False if the record is lost, or is not of this kind or does not name the id. */
static bool has_kind(struct log *log, uint64_t index, const char *kind, struct bytes id)
{
	struct buf text = BUF_INIT(RECORD_SIZE_MAX);
	char wanted[64];
	snprintf(wanted, sizeof(wanted), "\"kind\":\"%s\"", kind);
	enum err_code code = log_read_entry(log, index, &text, NULL);
	bool has = !is_lost(code);
	if (code == ERR_OK)
		has = memmem(text.data, text.size, wanted, strlen(wanted)) &&
		      (!id.size || memmem(text.data, text.size, id.data, id.size));
	buf_release(&text);
	return has;
}

static bool has_settle(struct log *log, uint64_t admit, struct bytes id)
{
	uint64_t settle;
	enum err_code code = log_find_settle(log, admit, &settle, NULL);
	return code == ERR_OK ? has_kind(log, settle, "settle", id) : !is_lost(code);
}

static void check_kept(struct town *town, const struct kept *kept)
{
	struct log *log = gateway_log(town->gateway, CONTROL_USAGE);
	struct bytes id = bytes_of(kept->id, RECORD_ID_SIZE);
	uint64_t index;
	if (!record_id_index(id, &index))
		note_violation(town, "an answer names no record");
	else if (!has_kind(log, index, "admit", id))
		note_violation(town, "an answer was begun whose admit record is not in the log");
	else if (kept->settled && !has_settle(log, index, id))
		note_violation(town, "an answer was ended whose settle record is not in the log");
}

static void check_log(struct town *town)
{
	for (size_t i = 0; i < town->kept_count; i++)
		check_kept(town, &town->kept[i]);
}

/* Every admit record has one outcome. */
static uint64_t count_admits(struct town *town)
{
	struct log *log = gateway_log(town->gateway, CONTROL_USAGE);
	struct log_stats stats;
	uint64_t count = 0, settle;
	log_get_stats(log, &stats);
	for (uint64_t i = 0; i < stats.records; i++) {
		if (!has_kind(log, i, "admit", BYTES("")))
			continue;
		count++;
		if (log_find_settle(log, i, &settle, NULL) != ERR_OK)
			note_violation(town, "an admit record has no outcome");
	}
	return count;
}

static void check_limits(struct town *town)
{
	struct limits_clock clock = {env_clock_ns(town->gateway_node),
				     env_wall_ms(town->gateway_node)};
	struct world *world = control_world(gateway_control(town->gateway));
	const struct world_grant *grant = world_find_grant(world, BYTES("p"));
	struct limits_scope scope = {grant->cells, &grant->limits, "grant"};
	for (int limit = 0; limit < LIMIT_COUNT; limit++) {
		struct limits_state state = limits_peek(&scope, &clock, (enum limit)limit);
		if (state.max != LIMIT_NONE && state.remaining != state.max)
			note_violation(town, "a limit is not full long after all is quiet");
	}
	world_drop(world);
}

static void check_quiet(struct town *town)
{
	for (unsigned i = 0; gateway_worker(town->gateway, i); i++) {
		struct gate_worker *worker = gateway_worker(town->gateway, i);
		if (worker->live_count || worker->own_calls || worker->metrics.in_flight ||
		    worker->metrics.streams)
			note_violation(town, "something is in flight long after all is quiet");
	}
	check_limits(town);
}

/* ---- crashes ---- */

static void restart(void *argument)
{
	struct town *town = argument;
	struct err err = ERR_INIT;
	uint64_t began_ns = sim_now(town->sim);
	if (sim_is_down(town->gateway_node))
		sim_restart(town->gateway_node);
	enum err_code code = initialise(town, &err);
	if (code == ERR_OK)
		code = gateway_begin(town, true, &err);
	if (code == ERR_OK)
		check_log(town);
	else if (began_ns > FAULTS_END)
		note_violation(town, "the gateway does not start although nothing fails any more");
	if (code != ERR_OK) /* the disk fails: it is started again */
		sim_at(town->sim, sim_now(town->sim), gateway_exits, town);
}

static void crashed(void *argument)
{
	struct town *town = argument;
	struct prng *draw = sim_workload(town->sim);
	town->crashes++;
	gateway_end(town);
	sim_at(town->sim, sim_now(town->sim) + prng_below(draw, SECOND) + 1, restart, town);
}

static void crash(void *argument)
{
	struct town *town = argument;
	struct prng *draw = sim_workload(town->sim);
	enum sim_crash_kind kind = prng_below(draw, 4) ? SIM_POWER_LOST : SIM_KILLED;
	if (sim_is_down(town->gateway_node))
		return;
	if (prng_below(draw, 2))
		sim_crash(town->gateway_node, kind);
	else
		sim_crash_after(town->gateway_node, 1 + prng_below(draw, 40), kind);
}

static void calm(void *argument)
{
	struct town *town = argument;
	struct sim_faults none = sim_faults_none();
	sim_set_faults(town->sim, &none);
	sim_crash_after(town->gateway_node, 0, SIM_KILLED);
}

static void plan_crashes(struct town *town)
{
	struct prng *draw = sim_workload(town->sim);
	uint64_t count = prng_below(draw, 6);
	for (uint64_t i = 0; i < count; i++)
		sim_at(town->sim, 2 * SECOND + prng_below(draw, FAULTS_END / 2), crash, town);
	sim_at(town->sim, FAULTS_END, calm, town);
}

/* ---- a whole run ---- */

static bool everybody_was_served(void *argument)
{
	struct town *town = argument;
	for (unsigned i = 0; i < USERS; i++)
		if (town->users[i].left > 0 || town->users[i].asking)
			return town->violation != NULL;
	return town->violation || sim_now(town->sim) > FAULTS_END;
}

static bool gateway_has_stopped(void *argument)
{
	return ((struct town *)argument)->stopped;
}

/* Everybody served, everything quiet, a stop in order or a last loss of power, and what is then in
 * the log. */
static void finish(struct town *town, uint64_t seed)
{
	struct err err = ERR_INIT;
	if (!sim_run_until(town->sim, SERVED_BY, everybody_was_served, town))
		note_violation(town, "users still wait long after the faults have stopped");
	if (town->violation)
		return;
	sim_run(town->sim, SERVED_BY + QUIET);
	check_quiet(town);
	uint64_t asked = standin_counts(town->standin).requests;
	sim_on_crash(town->gateway_node, NULL, NULL);
	if (seed % 2) {
		gateway_stop(town->gateway);
		if (!sim_run_until(town->sim, 2 * (SERVED_BY + QUIET), gateway_has_stopped, town))
			note_violation(town, "the gateway does not stop");
		gateway_end(town);
		struct sim_usage usage = sim_node_usage(town->gateway_node);
		if (usage.loops + usage.streams + usage.listeners + usage.files + usage.timers)
			note_violation(town, "a gateway that has stopped leaves something open");
	} else {
		sim_crash(town->gateway_node, SIM_POWER_LOST);
		gateway_end(town);
		sim_restart(town->gateway_node);
	}
	if (gateway_begin(town, false, &err) != ERR_OK) {
		note_violation(town, "the gateway cannot be opened again");
	} else {
		check_log(town);
		uint64_t admits = count_admits(town);
		if (town->crashes == 0 && asked > admits)
			note_violation(town, "the stand-in was asked more than was admitted");
	}
}

static void town_free(struct town *town)
{
	sim_on_crash(town->gateway_node, NULL, NULL);
	if (!sim_is_down(town->gateway_node))
		sim_crash(town->gateway_node, SIM_KILLED);
	gateway_end(town);
	sim_crash(town->user_node, SIM_KILLED);
	for (unsigned i = 0; i < USERS; i++) {
		if (town->users[i].asking) {
			http_call_cancel(&town->users[i].ask.call);
			ask_release(&town->users[i].ask);
		}
		env_timer_disarm(town->user_loop, &town->users[i].timer);
	}
	http_pool_free(town->pool);
	env_loop_free(town->user_loop);
	sim_crash(town->upstream_node, SIM_KILLED);
	standin_free(town->standin);
	standin_free(town->honest);
	env_loop_free(town->upstream_loop);
	for (size_t i = 0; i < QUESTIONS; i++)
		buf_release(&town->texts[i]);
	sim_world_free(town->sim);
}

struct outcome {
	uint64_t trace;
	const char *violation;
	unsigned crashes, answered, refused;
};

static enum err_code lie(struct env_file *file, struct err *err)
{
	(void)file;
	(void)err;
	return ERR_OK;
}

static enum err_code lie_about_names(struct env *env, const char *path, struct err *err)
{
	(void)env;
	(void)path;
	(void)err;
	return ERR_OK;
}

static void make_mistake(struct town *town)
{
	town->wrong_ops = *town->gateway_node->ops;
	if (town->mistake == SYNCS_NOTHING)
		town->wrong_ops.file_sync = lie;
	if (town->mistake == FORGETS_THE_DIRECTORY)
		town->wrong_ops.sync_directory = lie_about_names;
	town->gateway_node->ops = &town->wrong_ops;
}

static struct outcome simulate(uint64_t seed, enum mistake mistake)
{
	struct town *town = calloc(1, sizeof(*town));
	struct sim_faults none = sim_faults_none(), faults = sim_faults_draw(seed, seed % 3 == 0);
	assert_non_null(town);
	town->mistake = mistake;
	town->sim = sim_world_new(seed, &none);
	town->gateway_node = sim_node_new(town->sim, "gateway");
	town->upstream_node = sim_node_new(town->sim, "upstream");
	town->user_node = sim_node_new(town->sim, "users");
	make_mistake(town);
	upstream_start(town);
	users_start(town);
	sim_on_crash(town->gateway_node, crashed, town);
	plan_crashes(town);
	restart(town);
	sim_set_faults(town->sim, &faults);
	finish(town, seed);
	struct outcome outcome = {sim_trace(town->sim), town->violation, town->crashes,
				  town->answered, town->refused};
	town_free(town);
	free(town);
	return outcome;
}

static struct outcome simulate_quietly(uint64_t seed, enum mistake mistake)
{
	if (__lsan_disable)
		__lsan_disable();
	struct outcome outcome = simulate(seed, mistake);
	if (__lsan_enable)
		__lsan_enable();
	return outcome;
}

static void every_seed_is_safe_and_replays(void **state)
{
	unsigned crashes = 0, answered = 0, refused = 0;
	(void)state;
	for (uint64_t seed = 1; seed <= SEEDS; seed++) {
		struct outcome first = simulate_quietly(seed, NO_MISTAKE);
		if (first.violation)
			fail_msg("seed %llu: %s", (unsigned long long)seed, first.violation);
		struct outcome second = simulate_quietly(seed, NO_MISTAKE);
		if (first.trace != second.trace)
			fail_msg("seed %llu does not replay", (unsigned long long)seed);
		crashes += first.crashes;
		answered += first.answered;
		refused += first.refused;
	}
	print_message("%u crashes, %u answers, %u refusals\n", crashes, answered, refused);
	assert_true(crashes > SEEDS);
	assert_true(answered > 10 * SEEDS);
	assert_true(refused > SEEDS);
}

static void every_mistake_is_found(void **state)
{
	(void)state;
	for (enum mistake mistake = NO_MISTAKE + 1; mistake < MISTAKES; mistake++) {
		uint64_t seed = 1;
		struct outcome outcome = simulate_quietly(seed, mistake);
		while (!outcome.violation && seed < SEEDS)
			outcome = simulate_quietly(++seed, mistake);
		if (!outcome.violation)
			fail_msg("mistake %d was never found", (int)mistake);
		print_message("mistake %d: seed %llu: %s\n", (int)mistake, (unsigned long long)seed,
			      outcome.violation);
	}
}

/* One seed, from the command line. */
static int replay(uint64_t seed, enum mistake mistake)
{
	struct outcome outcome = simulate_quietly(seed, mistake);
	printf("seed %llu: %s; trace %016llx, %u crashes, %u answers, %u refusals\n",
	       (unsigned long long)seed, outcome.violation ? outcome.violation : "good",
	       (unsigned long long)outcome.trace, outcome.crashes, outcome.answered,
	       outcome.refused);
	return outcome.violation != NULL;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_seed_is_safe_and_replays),
		cmocka_unit_test(every_mistake_is_found),
	};
	if (argc > 1)
		return replay(strtoull(argv[1], NULL, 10),
			      argc > 2 ? (enum mistake)atoi(argv[2]) : NO_MISTAKE);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
