/* A witness: every status of add-checkpoint, what it remembers, and that it cannot be rolled back.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ledger/cosignature.h"
#include "witness/witness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LEAVES 40

struct stage {
	char directory[64];
	struct env *env;
	struct env_loop *loop;
	struct witness_config config;
	struct witness *witness;
	struct ed25519_private *log_private, *other_private;
	struct note_key keys[2]; /* of the log: its own, and one that follows it */
	struct merkle_hash leaves[LEAVES];
	int told;
	char reason[512];
};

static void told(void *argument, const struct witness_event *event)
{
	struct stage *stage = argument;
	stage->told++;
	snprintf(stage->reason, sizeof(stage->reason), "%s", event->reason);
}

static void open_witness(struct stage *stage)
{
	struct env_address bound;
	struct err err = ERR_INIT;
	struct witness_options options = {.env = stage->env,
					  .loop = stage->loop,
					  .config = &stage->config,
					  .told = told,
					  .argument = stage};
	if (witness_open(&options, &stage->witness, &bound, &err) != ERR_OK)
		fail_msg("%s", err.message);
}

static void reopen(struct stage *stage)
{
	witness_close(stage->witness);
	open_witness(stage);
}

static struct ed25519_private *make_key(uint8_t number, uint8_t public_key[static 32])
{
	uint8_t seed[32] = {number};
	struct ed25519_private *key = ed25519_from_seed(seed);
	ed25519_public(key, public_key);
	return key;
}

static int set_up(void **state)
{
	struct stage *stage = calloc(1, sizeof(*stage));
	struct err err = ERR_INIT;
	uint8_t public_key[32];
	snprintf(stage->directory, sizeof(stage->directory), "/tmp/parley-witness-XXXXXX");
	if (!mkdtemp(stage->directory))
		return 1;
	stage->env = env_os_new(1);
	stage->loop = env_loop_new(stage->env, "test", true);
	stage->log_private = make_key(1, public_key);
	note_key_init(&stage->keys[0], "north.example", public_key, &err);
	stage->other_private = make_key(2, public_key);
	note_key_init(&stage->keys[1], "north.example", public_key, &err);
	stage->config.private_key = make_key(3, public_key);
	note_cosigner_init(&stage->config.key, "south.example/w", public_key, &err);
	stage->config.logs = stage->keys;
	stage->config.log_count = 1;
	env_address_parse(BYTES("127.0.0.1:0"), &stage->config.listen, &err);
	snprintf(stage->config.state, sizeof(stage->config.state), "%s/state", stage->directory);
	for (int i = 0; i < LEAVES; i++) {
		char text[16];
		snprintf(text, sizeof(text), "leaf %d", i);
		stage->leaves[i] = merkle_leaf(text, strlen(text));
	}
	open_witness(stage);
	*state = stage;
	return 0;
}

static int tear_down(void **state)
{
	struct stage *stage = *state;
	char command[128];
	witness_close(stage->witness);
	env_loop_free(stage->loop);
	env_os_free(stage->env);
	ed25519_free(stage->log_private);
	ed25519_free(stage->other_private);
	ed25519_free(stage->config.private_key);
	snprintf(command, sizeof(command), "rm -rf %s", stage->directory);
	int status = system(command);
	free(stage);
	return status;
}

/* ---- a log, and what it sends ---- */

static struct merkle_hash span_root(const struct stage *stage, struct merkle_span span)
{
	struct merkle_range range = {0};
	for (uint64_t i = span.begin; i < span.end; i++)
		merkle_append(&range, &stage->leaves[i]);
	return merkle_root(&range);
}

static struct merkle_hash root_of(const struct stage *stage, uint64_t size)
{
	return span_root(stage, (struct merkle_span){0, size});
}

struct sent {
	const char *origin;                  /* NULL: the log's own */
	uint64_t old_size, size, proof_from; /* proof_from 0: old_size */
	const struct note_key *key;          /* NULL: the log's own */
	const struct ed25519_private *private_key;
	bool other_root, no_proof;
	const char *extension;
};

static void sign(const struct stage *stage, const struct sent *sent, struct buf *out)
{
	struct err err = ERR_INIT;
	struct checkpoint head = {.size = sent->size, .root = root_of(stage, sent->size)};
	struct buf body = BUF_INIT(4096);
	snprintf(head.origin, sizeof(head.origin), "%s",
		 sent->origin ? sent->origin : "north.example");
	head.root.bytes[5] ^= sent->other_root;
	checkpoint_format(&head, &body);
	buf_append_cstr(&body, sent->extension ? sent->extension : "");
	assert_int_equal(note_sign(buf_bytes(&body), sent->key ? sent->key : &stage->keys[0],
				   sent->private_key ? sent->private_key : stage->log_private, out,
				   &err),
			 ERR_OK);
	buf_release(&body);
}

static struct buf request(const struct stage *stage, const struct sent *sent)
{
	struct buf note = BUF_INIT(NOTE_SIZE_MAX), out = BUF_INIT(ADD_CHECKPOINT_BODY_MAX);
	struct add_checkpoint add = {.old_size = sent->old_size};
	struct merkle_span spans[MERKLE_PROOF_MAX];
	uint64_t from = sent->proof_from ? sent->proof_from : sent->old_size;
	if (from > 0 && from <= sent->size && !sent->no_proof)
		add.count = merkle_consistency_spans(from, sent->size, spans);
	for (size_t i = 0; i < add.count; i++)
		add.proof[i] = span_root(stage, spans[i]);
	sign(stage, sent, &note);
	add.checkpoint = buf_bytes(&note);
	add_checkpoint_format(&add, &out);
	buf_release(&note);
	return out;
}

static int send_to(struct stage *stage, const struct sent *sent, struct buf *answer,
		   const char **type)
{
	struct buf body = request(stage, sent);
	buf_clear(answer);
	int status = witness_answer(stage->witness, buf_bytes(&body), answer, type);
	buf_release(&body);
	return status;
}

static void expect(struct stage *stage, struct sent sent, int status, const char *text)
{
	struct buf answer = BUF_INIT(NOTE_SIZE_MAX);
	const char *type;
	int got = send_to(stage, &sent, &answer, &type);
	if (got != status || !strstr(answer.data, text))
		fail_msg("%d -> %d: %d %s, not %d %s", (int)sent.old_size, (int)sent.size, got,
			 answer.data, status, text);
	assert_string_equal(type, status == 409 ? "text/x.tlog.size" : "text/plain; charset=utf-8");
	buf_release(&answer);
}

/* ---- the tests ---- */

static void test_grows(void **state)
{
	struct stage *stage = *state;
	struct buf answer = BUF_INIT(NOTE_SIZE_MAX), note = BUF_INIT(NOTE_SIZE_MAX);
	struct note parsed;
	struct err err = ERR_INIT;
	const char *type;
	uint64_t time_s;
	struct sent sent = {.size = 7, .extension = "more of the log's own\n"};
	assert_int_equal(send_to(stage, &sent, &answer, &type), 200);
	/* On the whole body, extension lines too. */
	sign(stage, &sent, &note);
	buf_append_bytes(&note, buf_bytes(&answer));
	assert_int_equal(note_parse(buf_bytes(&note), &parsed, &err), ERR_OK);
	assert_int_equal(cosignature_verify(&parsed, &stage->config.key, &time_s, &err), ERR_OK);
	assert_true(time_s > 1700000000);
	buf_release(&answer);
	buf_release(&note);
	expect(stage, (struct sent){.old_size = 7, .size = 7}, 200, "south.example/w");
	for (uint64_t size = 7; size < LEAVES; size++)
		expect(stage, (struct sent){.old_size = size, .size = size + 1}, 200, "— south");
	assert_int_equal(stage->told, 2 + LEAVES - 7);
}

static void test_statuses(void **state)
{
	struct stage *stage = *state;
	struct sent unknown = {.size = 3, .origin = "west.example"};
	expect(stage, unknown, 404, "does not follow the log \"west.example\"");
	struct sent stranger = {
		.size = 3, .key = &stage->keys[1], .private_key = stage->other_private};
	expect(stage, stranger, 403, "not signed with a key that is followed");
	struct sent forged = {.size = 3, .private_key = stage->other_private};
	expect(stage, forged, 403, "the signature of \"north.example\" is wrong");
	expect(stage, (struct sent){.old_size = 4, .size = 3}, 400, "above the checkpoint's");
	expect(stage, (struct sent){.old_size = 2, .size = 3}, 409, "0\n");
	expect(stage, (struct sent){.size = 10}, 200, "south");
	expect(stage, (struct sent){.old_size = 0, .size = 12}, 409, "10\n");
	expect(stage, (struct sent){.old_size = 9, .size = 12}, 409, "10\n");
	expect(stage, (struct sent){.old_size = 11, .size = 12}, 409, "10\n");
	expect(stage, (struct sent){.old_size = 10, .size = 12, .no_proof = true}, 422, "proof");
	expect(stage, (struct sent){.old_size = 10, .size = 12, .proof_from = 9}, 422, "proof");
	expect(stage, (struct sent){.old_size = 10, .size = 12, .other_root = true}, 422, "proof");
	expect(stage, (struct sent){.old_size = 10, .size = 10, .other_root = true}, 422, "FORK");
	expect(stage, (struct sent){.old_size = 12, .size = 10}, 400, "above");
	/* A shorter tree is never cosigned again. */
	expect(stage, (struct sent){.old_size = 0, .size = 9}, 409, "10\n");
	expect(stage, (struct sent){.old_size = 9, .size = 9}, 409, "10\n");
	expect(stage, (struct sent){.old_size = 10, .size = 12}, 200, "south");
	/* Nothing of nothing. */
	stage->config.log_count = 2;
	struct sent follower = {.old_size = 12,
				.size = 13,
				.key = &stage->keys[1],
				.private_key = stage->other_private};
	expect(stage, follower, 200, "south");
	stage->config.log_count = 1;
}

static void test_empty_tree(void **state)
{
	struct stage *stage = *state;
	expect(stage, (struct sent){.size = 0}, 200, "south");
	expect(stage, (struct sent){.size = 0, .other_root = true}, 422, "FORK");
	expect(stage, (struct sent){.size = 5, .proof_from = 3}, 422, "proof");
	expect(stage, (struct sent){.size = 5}, 200, "south");
}

static void test_malformed(void **state)
{
	struct stage *stage = *state;
	static const char *const bad[] = {
		"",
		"old 0\n",
		"old 0\n\n",
		"old 0\n\nnorth.example\n3\n",
		"old 0\n\nnorth.example\n3\nAAAA\n\n\xe2\x80\x94 north.example AAAAAAAA\n",
		"old x\n\nnorth.example\n"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct buf answer = BUF_INIT(NOTE_SIZE_MAX);
		const char *type;
		assert_int_equal(witness_answer(stage->witness, bytes_from(bad[i]), &answer, &type),
				 400);
		buf_release(&answer);
	}
}

/* The race of the specification: a request that was made before a later one was taken. Both were
 * right when they were sent. */
static void test_rollback_race(void **state)
{
	struct stage *stage = *state;
	expect(stage, (struct sent){.size = 10}, 200, "south");
	struct buf early = request(stage, &(struct sent){.old_size = 10, .size = 12});
	struct buf late = request(stage, &(struct sent){.old_size = 10, .size = 20});
	struct buf answer = BUF_INIT(NOTE_SIZE_MAX);
	const char *type;
	assert_int_equal(witness_answer(stage->witness, buf_bytes(&late), &answer, &type), 200);
	buf_clear(&answer);
	assert_int_equal(witness_answer(stage->witness, buf_bytes(&early), &answer, &type), 409);
	assert_string_equal(answer.data, "20\n");
	buf_release(&early);
	buf_release(&late);
	buf_release(&answer);
}

static void test_remembers(void **state)
{
	struct stage *stage = *state;
	expect(stage, (struct sent){.size = 10}, 200, "south");
	reopen(stage);
	expect(stage, (struct sent){.size = 10}, 409, "10\n");
	expect(stage, (struct sent){.old_size = 10, .size = 10, .other_root = true}, 422, "FORK");
	expect(stage, (struct sent){.old_size = 10, .size = 11}, 200, "south");
	/* One process at a time. */
	struct witness_state *second;
	struct err err = ERR_INIT;
	struct env *env = env_os_new(1);
	assert_int_equal(witness_state_open(env, stage->config.state, &second, &err), ERR_LOCKED);
	env_os_free(env);
}

/* Where the state cannot be kept nothing is cosigned, and nothing is forgotten. */
static void test_state_cannot_be_written(void **state)
{
	struct stage *stage = *state;
	char moved[96];
	expect(stage, (struct sent){.size = 10}, 200, "south");
	snprintf(moved, sizeof(moved), "%s/moved", stage->directory);
	assert_int_equal(rename(stage->config.state, moved), 0);
	expect(stage, (struct sent){.old_size = 10, .size = 11}, 503, "cannot be written");
	assert_int_equal(rename(moved, stage->config.state), 0);
	expect(stage, (struct sent){.old_size = 11, .size = 12}, 409, "10\n");
	expect(stage, (struct sent){.old_size = 10, .size = 11}, 200, "south");
}

static void test_damaged_state(void **state)
{
	struct stage *stage = *state;
	char path[5000];
	struct buf text = BUF_INIT(65536);
	struct err err = ERR_INIT;
	expect(stage, (struct sent){.size = 10}, 200, "south");
	witness_close(stage->witness);
	stage->witness = NULL;
	snprintf(path, sizeof(path), "%s/" WITNESS_STATE_FILE, stage->config.state);
	assert_int_equal(env_read_file(stage->env, path, &text, &err), ERR_OK);
	struct witness_state *opened;
	for (size_t keep = 0; keep < text.size; keep++) {
		size_t count;
		struct witness_head head;
		struct bytes cut = bytes_of(text.data, keep);
		enum err_code code = witness_state_parse(cut, path, &head, 1, &count, &err);
		/* Without any log it is a state too. */
		assert_int_equal(code, keep == strlen("parley witness state 1\n") ||
						       keep == strlen("parley witness state 1")
					       ? ERR_OK
					       : ERR_CORRUPT);
	}
	assert_int_equal(
		env_write_file(stage->env, path, bytes_of(text.data, text.size - 9), 0644, &err),
		ERR_OK);
	assert_int_equal(witness_state_open(stage->env, stage->config.state, &opened, &err),
			 ERR_CORRUPT);
	assert_non_null(strstr(err.message, "cosigned:2: damaged"));
	buf_release(&text);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(test_grows),
		TEST(test_statuses),
		TEST(test_empty_tree),
		TEST(test_malformed),
		TEST(test_rollback_race),
		TEST(test_remembers),
		TEST(test_state_cannot_be_written),
		TEST(test_damaged_state),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
