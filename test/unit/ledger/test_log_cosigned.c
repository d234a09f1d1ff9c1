/* A running log's cosigned checkpoints, and its key handed on: what readers are given meanwhile. */
#include "check.h"

#include "fixture.h"
#include "ledger/key_rotation.h"
#include "ledger/proof.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char line[] = "\xe2\x80\x94 south.example/w c291dGhlcm4gc2lnbmF0dXJl\n";

static int set_up(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));
	fixture_no_faults();
	fixture_init(fixture);
	fixture_start(fixture);
	*state = fixture;
	return 0;
}

static int tear_down(void **state)
{
	fixture_release(*state);
	free(*state);
	return 0;
}

/* The newest checkpoint, cosigned. */
static void cosign(struct fixture *fixture, uint64_t as_of_ns)
{
	struct checkpoint head;
	struct buf note = BUF_INIT(NOTE_SIZE_MAX);
	assert_works(log_latest_checkpoint(fixture->log, &head, &note, &fixture->err),
		     &fixture->err);
	buf_append_cstr(&note, line);
	assert_works(log_set_cosigned(fixture->log, buf_bytes(&note), as_of_ns, &fixture->err),
		     &fixture->err);
	buf_release(&note);
}

/* What is served as checkpoint: its size, and whether it is cosigned. */
static uint64_t served(struct fixture *fixture, bool *cosigned)
{
	struct buf text = BUF_INIT(NOTE_SIZE_MAX);
	struct checkpoint head;
	struct note note;
	assert_works(log_read_checkpoint(fixture->log, &text, &fixture->err), &fixture->err);
	assert_works(note_parse(buf_bytes(&text), &note, &fixture->err), &fixture->err);
	assert_works(checkpoint_parse(note.text, &head, &fixture->err), &fixture->err);
	*cosigned = note.count == 2;
	buf_release(&text);
	return head.size;
}

static enum err_code receipt(struct fixture *fixture, uint64_t index, bool *cosigned)
{
	struct buf text = BUF_INIT(65536);
	enum err_code code = log_receipt(fixture->log, index, &text, &fixture->err);
	*cosigned = code == ERR_OK && strstr(text.data, "south.example/w");
	buf_release(&text);
	return code;
}

static void test_readers_and_receipts(void **state)
{
	struct fixture *fixture = *state;
	struct buf note = BUF_INIT(NOTE_SIZE_MAX);
	struct checkpoint head;
	bool cosigned;
	fixture_append(fixture, 10, false);
	fixture_checkpoint(fixture, &note, &head);
	/* Nobody is expected to cosign: nothing waits. */
	assert_int_equal(receipt(fixture, 3, &cosigned), ERR_OK);
	assert_false(cosigned);
	log_expect_cosigned(fixture->log);
	assert_int_equal(receipt(fixture, 3, &cosigned), ERR_TIMEOUT);
	assert_non_null(strstr(fixture->err.message, "no cosigned checkpoint covers record 3 yet"));
	cosign(fixture, env_clock_ns(fixture->env));
	assert_int_equal(log_cosigned_size(fixture->log), 10);
	assert_int_equal(receipt(fixture, 3, &cosigned), ERR_OK);
	assert_true(cosigned);
	assert_int_equal(served(fixture, &cosigned), 10);
	assert_true(cosigned);
	/* Records after it: their receipts wait again, those before have theirs. */
	fixture_append(fixture, 5, false);
	fixture_checkpoint(fixture, &note, &head);
	assert_int_equal(receipt(fixture, 12, &cosigned), ERR_TIMEOUT);
	assert_int_equal(receipt(fixture, 9, &cosigned), ERR_OK);
	assert_true(cosigned);
	cosign(fixture, env_clock_ns(fixture->env));
	assert_int_equal(receipt(fixture, 12, &cosigned), ERR_OK);
	assert_true(cosigned);
	buf_release(&note);
}

/* A cosigned checkpoint that was asked for long ago keeps nobody from the newest one. */
static void test_stale_ones_step_back(void **state)
{
	struct fixture *fixture = *state;
	struct buf note = BUF_INIT(NOTE_SIZE_MAX);
	struct checkpoint head;
	bool cosigned;
	uint64_t now = env_clock_ns(fixture->env);
	log_expect_cosigned(fixture->log);
	fixture_append(fixture, 10, false);
	fixture_checkpoint(fixture, &note, &head);
	struct buf old = BUF_INIT(NOTE_SIZE_MAX);
	assert_works(log_latest_checkpoint(fixture->log, &head, &old, &fixture->err),
		     &fixture->err);
	buf_append_cstr(&old, line);
	fixture_append(fixture, 5, false);
	for (uint64_t i = 0; i < 5000 && head.size < 15; i++) {
		log_checkpoint_now(fixture->log);
		usleep(1000);
		buf_clear(&note);
		log_latest_checkpoint(fixture->log, &head, &note, NULL);
	}
	assert_int_equal(head.size, 15);
	/* It came late, by a minute: the newest is served, and receipts do not wait. */
	assert_works(log_set_cosigned(fixture->log, buf_bytes(&old), now - UINT64_C(60000000000),
				      &fixture->err),
		     &fixture->err);
	assert_int_equal(served(fixture, &cosigned), 15);
	assert_false(cosigned);
	assert_int_equal(receipt(fixture, 12, &cosigned), ERR_OK);
	assert_false(cosigned);
	/* Those that it covers have it all the same. */
	assert_int_equal(receipt(fixture, 4, &cosigned), ERR_OK);
	assert_true(cosigned);
	/* An older one does not take a newer one's place, and another log's none. */
	cosign(fixture, env_clock_ns(fixture->env));
	assert_int_equal(log_set_cosigned(fixture->log, buf_bytes(&old), now, &fixture->err),
			 ERR_CONFLICT);
	assert_int_equal(
		log_set_cosigned(fixture->log, BYTES("north.example\n1\nx\n"), now, &fixture->err),
		ERR_INVALID);
	assert_int_equal(log_cosigned_size(fixture->log), 15);
	buf_release(&old);
	buf_release(&note);
}

/* Kept over a restart, and left out where it is of another tree. */
static void test_restart(void **state)
{
	struct fixture *fixture = *state;
	struct buf note = BUF_INIT(NOTE_SIZE_MAX);
	struct checkpoint head;
	char path[600];
	fixture_append(fixture, 10, false);
	fixture_checkpoint(fixture, &note, &head);
	cosign(fixture, env_clock_ns(fixture->env));
	fixture_stop(fixture);
	fixture_start(fixture);
	assert_int_equal(log_cosigned_size(fixture->log), 10);
	fixture_stop(fixture);
	/* Signed by the log, of a tree that this one is not. */
	struct note_key key;
	uint8_t public_key[ED25519_KEY_SIZE];
	ed25519_public(fixture->key, public_key);
	assert_works(note_key_init(&key, fixture->options.origin, public_key, &fixture->err),
		     &fixture->err);
	head.root.bytes[4] ^= 1;
	buf_clear(&note);
	assert_works(checkpoint_sign(&head, &key, fixture->key, &note, &fixture->err),
		     &fixture->err);
	snprintf(path, sizeof(path), "%s/checkpoint.cosigned", fixture->directory);
	assert_works(env_write_file(fixture->env, path, buf_bytes(&note), 0644, &fixture->err),
		     &fixture->err);
	fixture_start(fixture);
	assert_int_equal(log_cosigned_size(fixture->log), 0);
	buf_release(&note);
}

static void test_consistency_proofs(void **state)
{
	struct fixture *fixture = *state;
	struct buf note = BUF_INIT(NOTE_SIZE_MAX);
	struct merkle_hash proof[MERKLE_PROOF_MAX];
	struct checkpoint small, large;
	size_t count = 9;
	fixture_append(fixture, 300, false);
	fixture_checkpoint(fixture, &note, &small);
	fixture_append(fixture, 313, false);
	fixture_checkpoint(fixture, &note, &large);
	assert_works(log_consistency_proof(fixture->log, small.size, large.size, proof, &count,
					   &fixture->err),
		     &fixture->err);
	assert_true(merkle_verify_consistency(small.size, large.size, proof, count, &small.root,
					      &large.root));
	assert_works(
		log_consistency_proof(fixture->log, 0, large.size, proof, &count, &fixture->err),
		&fixture->err);
	assert_int_equal(count, 0);
	assert_int_equal(log_consistency_proof(fixture->log, large.size, small.size, proof, &count,
					       &fixture->err),
			 ERR_INVALID);
	assert_int_equal(log_consistency_proof(fixture->log, 1, large.size + 1, proof, &count,
					       &fixture->err),
			 ERR_INVALID);
	buf_release(&note);
}

/* ---- another key ---- */

static struct ed25519_private *rotate(struct fixture *fixture, bool keep)
{
	uint8_t seed[32] = {77}, public_key[32];
	struct buf note = BUF_INIT(NOTE_SIZE_MAX);
	struct key_rotation rotation = {.size = log_next_index(fixture->log)};
	struct ed25519_private *next = ed25519_from_seed(seed);
	ed25519_public(fixture->key, public_key);
	note_key_init(&rotation.from, fixture->options.origin, public_key, NULL);
	ed25519_public(next, public_key);
	note_key_init(&rotation.to, fixture->options.origin, public_key, NULL);
	assert_works(key_rotation_sign(&rotation, fixture->key, next, &note, &fixture->err),
		     &fixture->err);
	for (int twice = 0; keep && twice < 2; twice++)
		assert_works(log_keep_rotation(fixture->log, buf_bytes(&note), &fixture->err),
			     &fixture->err);
	if (keep) {
		struct buf kept = BUF_INIT(NOTE_SIZE_MAX);
		assert_works(log_read_rotations(fixture->log, &kept, &fixture->err), &fixture->err);
		assert_true(bytes_equal(buf_bytes(&kept), buf_bytes(&note)));
		buf_release(&kept);
	}
	buf_release(&note);
	return next;
}

static void test_another_key(void **state)
{
	struct fixture *fixture = *state;
	struct buf note = BUF_INIT(NOTE_SIZE_MAX);
	struct checkpoint head;
	struct note_key key;
	struct ed25519_private *old = fixture->key;
	fixture_append(fixture, 10, false);
	fixture_checkpoint(fixture, &note, &head);
	cosign(fixture, env_clock_ns(fixture->env));
	struct ed25519_private *next = rotate(fixture, true);
	assert_works(log_set_key(fixture->log, next, &fixture->err), &fixture->err);
	/* Told at once; signed with soon, though no record came. */
	assert_works(note_key_parse(bytes_from(fixture_vkey(fixture)), &key, &fixture->err),
		     &fixture->err);
	enum err_code code = ERR_NOT_FOUND;
	for (unsigned i = 0; i < 5000 && code != ERR_OK; i++) {
		usleep(1000);
		buf_clear(&note);
		log_latest_checkpoint(fixture->log, &head, &note, NULL);
		code = checkpoint_open(buf_bytes(&note), &key, &head, &fixture->err);
	}
	assert_int_equal(code, ERR_OK);
	assert_int_equal(head.size, 10);
	/* What was cosigned was the old key's. */
	assert_int_equal(log_cosigned_size(fixture->log), 0);
	fixture_append(fixture, 5, false);
	fixture_checkpoint(fixture, &note, &head);
	fixture_stop(fixture);
	/* The old key opens it no more, the new one does. */
	assert_int_equal(fixture_open(fixture), ERR_MISMATCH);
	fixture->options.key = fixture->key = next;
	fixture_start(fixture);
	fixture_stop(fixture);
	ed25519_free(old);
	buf_release(&note);
}

/* A crash after the notes and before a checkpoint: the stored one is the old key's. */
static void test_checkpoint_of_the_key_before(void **state)
{
	struct fixture *fixture = *state;
	struct buf note = BUF_INIT(NOTE_SIZE_MAX);
	struct checkpoint head;
	struct ed25519_private *old = fixture->key;
	fixture_append(fixture, 5, true);
	fixture_checkpoint(fixture, &note, &head);
	struct ed25519_private *next = rotate(fixture, true);
	fixture_stop(fixture);
	fixture->options.key = fixture->key = next;
	fixture_start(fixture);
	fixture_checkpoint(fixture, &note, &head);
	assert_int_equal(head.size, 10);
	fixture_stop(fixture);
	ed25519_free(old);
	buf_release(&note);
}

/* Without the note the new key is a stranger's. */
static void test_without_the_note(void **state)
{
	struct fixture *fixture = *state;
	struct ed25519_private *old = fixture->key;
	fixture_append(fixture, 10, false);
	struct ed25519_private *next = rotate(fixture, false);
	fixture_stop(fixture);
	fixture->options.key = next;
	assert_int_equal(fixture_open(fixture), ERR_MISMATCH);
	assert_non_null(strstr(fixture->err.message, "the log is signed with the key "));
	assert_non_null(strstr(fixture->err.message, "if its key was handed on to yours since"));
	fixture->options.key = old;
	fixture_start(fixture);
	fixture_stop(fixture);
	ed25519_free(next);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(test_readers_and_receipts),
		TEST(test_stale_ones_step_back),
		TEST(test_restart),
		TEST(test_consistency_proofs),
		TEST(test_another_key),
		TEST(test_checkpoint_of_the_key_before),
		TEST(test_without_the_note),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
