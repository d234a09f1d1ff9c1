/* The stand-in behind a simulated network, asked one question after another. */
#include "base/json.h"
#include "dialect/dialect.h"
#include "env/env_sim.h"
#include "net/http_client.h"
#include "standin/standin.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define SECOND ((uint64_t)1000000000)

struct stage {
	struct sim_world *sim;
	struct env_loop *loop;
	struct standin *standin;
	struct http_pool *pool;
	struct http_origin *origin;
	/* The last answer */
	struct http_call call;
	bool ended;
	struct err err;
	int status;
	bool simulated;
	struct buf body, text;
	struct dialect_outcome outcome;
};

static void stage_open(struct stage *stage, const struct standin_options *options)
{
	struct sim_faults none = sim_faults_none();
	struct http_pool_options pool = {.connections_max = 4,
					 .idle_max = 4,
					 .idle_timeout_ns = SECOND,
					 .connect_timeout_ns = SECOND};
	memset(stage, 0, sizeof(*stage));
	stage->sim = sim_world_new(1, &none);
	struct env *node = sim_node_new(stage->sim, "node");
	struct env_address address = sim_node_address(node, 80);
	stage->loop = env_loop_new(node, "loop", false);
	stage->standin = standin_new(stage->loop, options);
	assert_int_equal(ERR_OK, standin_listen(stage->standin, &address, NULL, NULL));
	stage->pool = http_pool_new(stage->loop, &pool);
	assert_int_equal(ERR_OK, http_pool_origin(stage->pool, BYTES("http://10.0.0.1:80"),
						  &stage->origin, NULL));
	assert_int_equal(ERR_OK, env_loop_start(stage->loop, -1, NULL));
	buf_init(&stage->body, 1 << 22);
	buf_init(&stage->text, 1 << 22);
}

static bool is_stopped(void *argument)
{
	(void)argument;
	return false;
}

static void stage_close(struct stage *stage)
{
	http_pool_free(stage->pool);
	standin_free(stage->standin);
	env_loop_stop(stage->loop);
	sim_run_until(stage->sim, sim_now(stage->sim) + SECOND, is_stopped, NULL);
	env_loop_free(stage->loop);
	sim_world_free(stage->sim);
	buf_release(&stage->body);
	buf_release(&stage->text);
	dialect_outcome_release(&stage->outcome);
}

static void on_head(struct http_call *call, const struct http_head *head, struct bytes bytes)
{
	struct stage *stage = call->user;
	stage->status = head->status;
	stage->simulated = http_field_value(head, bytes.data, "x-parley-simulated").size > 0;
}

static void on_body(struct http_call *call, struct bytes piece)
{
	buf_append_bytes(&((struct stage *)call->user)->body, piece);
}

static void on_ended(struct http_call *call, const struct err *err)
{
	struct stage *stage = call->user;
	stage->err = *err;
	stage->ended = true;
}

static bool has_ended(void *argument)
{
	return ((struct stage *)argument)->ended;
}

static void read_stream(struct stage *stage, enum dialect_id dialect)
{
	struct dialect_observer observer;
	struct dialect_flow flow;
	dialect_observer_init(&observer, dialect, BYTES(""), false, &stage->text);
	dialect_observer_feed(&observer, stage->body.data, stage->body.size, &flow);
	dialect_observer_end(&observer, &flow);
	stage->outcome = dialect_outcome_copy(&observer.outcome);
	dialect_observer_release(&observer);
}

static void ask_with(struct stage *stage, const char *path, const char *key, const char *body)
{
	struct buf head = BUF_INIT(4096);
	struct bytes name = BYTES("x-api-key"), value = bytes_from(key);
	http_write_request_head(&head, "POST", bytes_from(path), BYTES("x"), &name, &value, 1,
				(int64_t)strlen(body));
	stage->ended = stage->simulated = false;
	stage->status = 0;
	buf_clear(&stage->body);
	buf_clear(&stage->text);
	dialect_outcome_release(&stage->outcome);
	memset(&stage->outcome, 0, sizeof(stage->outcome));
	stage->call = (struct http_call){
		.parts = {{head.data, head.size}, {(void *)body, strlen(body)}},
		.part_count = 2,
		.user = stage,
		.head = on_head,
		.body = on_body,
		.ended = on_ended
        };
	http_call_start(stage->origin, &stage->call);
	assert_true(
		sim_run_until(stage->sim, sim_now(stage->sim) + 600 * SECOND, has_ended, stage));
	buf_release(&head);
	enum dialect_id dialect = strstr(path, "chat") ? DIALECT_OPENAI : DIALECT_ANTHROPIC;
	if (stage->status == 200 && strstr(body, "\"stream\":true"))
		read_stream(stage, dialect);
	else if (stage->status == 200 && stage->err.code == ERR_OK)
		dialect_observe_body(dialect, buf_bytes(&stage->body), BYTES(""), &stage->outcome,
				     &stage->text, NULL, NULL, NULL);
}

static void ask(struct stage *stage, const char *path, const char *body)
{
	ask_with(stage, path, "none", body);
}

#define MESSAGES "/v1/messages"
#define CHAT "/v1/chat/completions"
#define WORDS "\"messages\":[{\"role\":\"user\",\"content\":\"hello\"}]"
/* The members that hold words: the list above without its name. */
#define WORDS_SIZE (sizeof("[{\"role\":\"user\",\"content\":\"hello\"}]") - 1)

static struct standin_options generator(void)
{
	return (struct standin_options){.mode = STANDIN_GENERATOR, .seed = 11, .output_tokens = 50};
}

static void usage_is_exact_in_both_dialects_plain_and_streamed(void **state)
{
	static const struct {
		const char *path, *body;
	} asked[] = {
		{MESSAGES, "{\"model\":\"m\",\"max_tokens\":500," WORDS "}"                },
		{MESSAGES, "{\"model\":\"m\",\"max_tokens\":500,\"stream\":true," WORDS "}"},
		{CHAT,     "{\"model\":\"m\"," WORDS "}"                                   },
		{CHAT,     "{\"model\":\"m\",\"stream\":true,\"stream_options\":{\"include_usage\":"
		       "true}," WORDS "}"                            },
	};
	struct standin_options options = generator();
	struct stage stage;
	(void)state;
	stage_open(&stage, &options);
	for (size_t i = 0; i < 4; i++) {
		ask(&stage, asked[i].path, asked[i].body);
		assert_int_equal(200, stage.status);
		assert_true(stage.simulated && stage.outcome.complete);
		assert_true(stage.outcome.usage.known && stage.outcome.usage.input_known);
		assert_int_equal((WORDS_SIZE + 3) / 4, stage.outcome.usage.input);
		assert_int_equal(50, stage.outcome.usage.output);
		assert_int_equal(200, stage.text.size);
		assert_int_equal(DIALECT_FINISH_STOP, stage.outcome.finish);
	}
	struct standin_counts counts = standin_counts(stage.standin);
	assert_true(counts.requests == 4 && counts.answered == 4 && !counts.errors && !counts.cut);
	stage_close(&stage);
}

static void what_is_asked_at_most_is_given_at_most(void **state)
{
	struct standin_options options = generator();
	struct stage stage;
	(void)state;
	stage_open(&stage, &options);
	ask(&stage, MESSAGES, "{\"model\":\"m\",\"max_tokens\":7," WORDS "}");
	assert_int_equal(7, stage.outcome.usage.output);
	assert_int_equal(28, stage.text.size);
	assert_int_equal(DIALECT_FINISH_LENGTH, stage.outcome.finish);
	stage_close(&stage);
}

static void one_seed_gives_one_answer(void **state)
{
	static const char body[] = "{\"model\":\"m\",\"max_tokens\":40," WORDS "}";
	static const char other[] =
		"{\"model\":\"m\",\"max_tokens\":40,\"messages\":"
		"[{\"role\":\"user\",\"content\":\"something else, and longer\"}]}";
	char first[256] = "";
	(void)state;
	for (unsigned round = 0; round < 3; round++) {
		struct standin_options options = generator();
		struct stage stage;
		options.seed = round < 2 ? 11 : 12;
		stage_open(&stage, &options);
		if (round == 1) /* whatever was asked before */
			ask(&stage, MESSAGES, other);
		ask(&stage, MESSAGES, body);
		if (round == 0)
			snprintf(first, sizeof(first), "%s", stage.text.data);
		else if (round == 1)
			assert_string_equal(first, stage.text.data);
		else
			assert_string_not_equal(first, stage.text.data);
		stage_close(&stage);
	}
}

static void a_marked_system_prompt_is_written_to_the_cache_once(void **state)
{
	static const char body[] = "{\"model\":\"m\",\"max_tokens\":5,\"system\":[{\"type\":"
				   "\"text\",\"text\":\"be brief\","
				   "\"cache_control\":{\"type\":\"ephemeral\"}}]," WORDS "}";
	struct standin_options options = generator();
	struct stage stage;
	(void)state;
	stage_open(&stage, &options);
	ask(&stage, MESSAGES, body);
	struct dialect_usage first = stage.outcome.usage;
	assert_true(first.cache_write > 0 && first.cache_read == 0 && first.input > 0);
	ask(&stage, MESSAGES, body);
	struct dialect_usage second = stage.outcome.usage;
	assert_int_equal(first.cache_write, second.cache_read);
	assert_int_equal(0, second.cache_write);
	assert_int_equal(first.input, second.input);
	stage_close(&stage);
}

/* 'a' answered, 'e' error, 'c' cut. */
static void pattern(uint64_t seed, char out[static 101])
{
	struct standin_options options = generator();
	struct stage stage;
	options.seed = seed;
	options.error_rate = options.cut_rate = 0.3;
	stage_open(&stage, &options);
	for (unsigned i = 0; i < 100; i++) {
		ask(&stage, CHAT, "{\"model\":\"m\",\"max_tokens\":9," WORDS "}");
		out[i] = stage.err.code != ERR_OK ? 'c' : stage.status == 200 ? 'a' : 'e';
		assert_true(stage.status == 200 || stage.status == 503 || out[i] == 'c');
	}
	out[100] = '\0';
	struct standin_counts counts = standin_counts(stage.standin);
	assert_int_equal(100, counts.requests);
	assert_int_equal(100, counts.answered + counts.errors + counts.cut);
	assert_true(counts.errors > 10 && counts.errors < 60 && counts.cut > 5 && counts.cut < 50);
	stage_close(&stage);
}

static void failures_follow_the_seed(void **state)
{
	char one[101], again[101], other[101];
	(void)state;
	pattern(3, one);
	pattern(3, again);
	pattern(4, other);
	assert_string_equal(one, again);
	assert_string_not_equal(one, other);
}

static void a_stream_is_cut_in_the_middle(void **state)
{
	struct standin_options options = generator();
	struct stage stage;
	(void)state;
	options.cut_rate = 1;
	options.tokens_per_second = 100;
	stage_open(&stage, &options);
	ask(&stage, MESSAGES, "{\"model\":\"m\",\"max_tokens\":500,\"stream\":true," WORDS "}");
	assert_int_equal(200, stage.status);
	assert_int_equal(ERR_UPSTREAM, stage.err.code);
	assert_false(stage.outcome.complete);
	assert_true(stage.text.size > 0 && stage.text.size <= 100);
	stage_close(&stage);
}

static void a_stream_takes_its_time(void **state)
{
	struct standin_options options = generator();
	struct stage stage;
	(void)state;
	options.first_token_ns = SECOND;
	options.tokens_per_second = 10;
	stage_open(&stage, &options);
	uint64_t start = sim_now(stage.sim);
	ask(&stage, CHAT, "{\"model\":\"m\",\"stream\":true," WORDS "}");
	uint64_t took = sim_now(stage.sim) - start;
	assert_true(stage.outcome.complete);
	assert_int_equal(200, stage.text.size);
	assert_true(took > 5 * SECOND && took < 7 * SECOND);
	stage_close(&stage);
}

/* Each event tells when it was sent, and the rate is exact however long the turns take. */
static void a_stream_sends_events_at_an_exact_rate(void **state)
{
	enum { EVENTS = 40 };
	struct standin_options options = generator();
	struct stage stage;
	uint64_t first = 0;
	const char *at;
	int count = 0;
	(void)state;
	options.pulse = (struct pulse_options){
		.per_second = 50, .events = EVENTS, .text_bytes = 60, .stamp = true};
	stage_open(&stage, &options);
	ask(&stage, MESSAGES, "{\"model\":\"m\",\"max_tokens\":500,\"stream\":true," WORDS "}");
	assert_true(stage.outcome.complete);
	assert_int_equal(EVENTS * 60, stage.text.size);
	assert_int_equal(EVENTS * 60 / 4, stage.outcome.usage.output);
	for (at = stage.text.data; (at = strstr(at, PULSE_STAMP)); count++) {
		at += sizeof(PULSE_STAMP) - 1;
		uint64_t stamp = strtoull(at, NULL, 10);
		assert_int_equal(' ', at[PULSE_STAMP_DIGITS]);
		if (count == 0)
			first = stamp;
		uint64_t due = first + (uint64_t)count * (SECOND / 50);
		assert_true(stamp + SECOND / 1000 > due && stamp < due + SECOND / 1000);
	}
	assert_int_equal(EVENTS, count);
	ask(&stage, MESSAGES, "{\"model\":\"m\",\"max_tokens\":5," WORDS "}"); /* plain: as ever */
	assert_int_equal(5, stage.outcome.usage.output);
	stage_close(&stage);
}

static void keys_paths_and_bodies_are_checked(void **state)
{
	struct standin_options options = generator();
	struct stage stage;
	(void)state;
	options.key = "right";
	stage_open(&stage, &options);
	ask_with(&stage, MESSAGES, "wrong", "{\"model\":\"m\",\"max_tokens\":5," WORDS "}");
	assert_int_equal(401, stage.status);
	ask_with(&stage, "/v1/files", "right", "{}");
	assert_int_equal(404, stage.status);
	ask_with(&stage, MESSAGES, "right", "{\"model\":");
	assert_int_equal(400, stage.status);
	assert_int_equal(0, standin_counts(stage.standin).requests);
	ask_with(&stage, MESSAGES, "right", "{\"model\":\"m\",\"max_tokens\":5," WORDS "}");
	assert_int_equal(200, stage.status);
	ask_with(&stage, MESSAGES "/count_tokens", "right", "{\"model\":\"m\"," WORDS "}");
	assert_int_equal(200, stage.status);
	char expected[64];
	snprintf(expected, sizeof(expected), "\"input_tokens\":%d", (int)(WORDS_SIZE + 3) / 4);
	assert_non_null(strstr(stage.body.data, expected));
	assert_int_equal(1, standin_counts(stage.standin).requests);
	stage_close(&stage);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(usage_is_exact_in_both_dialects_plain_and_streamed),
		cmocka_unit_test(what_is_asked_at_most_is_given_at_most),
		cmocka_unit_test(one_seed_gives_one_answer),
		cmocka_unit_test(a_marked_system_prompt_is_written_to_the_cache_once),
		cmocka_unit_test(failures_follow_the_seed),
		cmocka_unit_test(a_stream_is_cut_in_the_middle),
		cmocka_unit_test(a_stream_takes_its_time),
		cmocka_unit_test(a_stream_sends_events_at_an_exact_rate),
		cmocka_unit_test(keys_paths_and_bodies_are_checked),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
