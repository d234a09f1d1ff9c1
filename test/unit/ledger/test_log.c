/* A log at work: order, rotation, checkpoints, tiles, receipts, outcomes. */
#include "fixture.h"

#include "base/json.h"
#include "ledger/tile.h"

#include <stdlib.h>
#include <unistd.h>

static int set_up(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));
	fixture_init(fixture);
	*state = fixture;
	return 0;
}

static int tear_down(void **state)
{
	fixture_release(*state);
	free(*state);
	return 0;
}

static void test_a_new_log_has_a_checkpoint(void **state)
{
	struct fixture *fixture = *state;
	struct buf note = BUF_INIT(4096);
	struct checkpoint head;
	fixture_start(fixture);
	fixture_checkpoint(fixture, &note, &head);
	struct merkle_hash empty = merkle_empty();
	assert_int_equal(head.size, 0);
	assert_true(merkle_equal(&head.root, &empty));
	buf_release(&note);
}

static void test_records_come_back(void **state)
{
	struct fixture *fixture = *state;
	struct err *err = &fixture->err;
	struct buf text = BUF_INIT(65536);
	char id[RECORD_ID_SIZE + 1];
	fixture_start(fixture);
	fixture_append(fixture, 200, true);
	for (uint64_t index = 0; index < 400; index++) {
		buf_clear(&text);
		assert_works(log_read_entry(fixture->log, index, &text, err), err);
		json_t *tree;
		assert_works(json_parse(buf_bytes(&text), "record", &tree, err), err);
		log_record_id(fixture->log, index, id);
		assert_string_equal(json_string_value(json_object_get(tree, "id")), id);
		json_decref(tree);
	}
	assert_int_equal(log_read_entry(fixture->log, 400, &text, err), ERR_NOT_FOUND);
	assert_int_equal(log_read_entry(fixture->log, LOG_NO_INDEX, &text, err), ERR_NOT_FOUND);
	struct log_stats stats;
	log_get_stats(fixture->log, &stats);
	assert_true(stats.segments >= 2);
	buf_release(&text);
}

static void test_ids_and_nonces(void **state)
{
	struct fixture *fixture = *state;
	char a[RECORD_ID_SIZE + 1], b[RECORD_ID_SIZE + 1];
	uint8_t nonce_a[LOG_NONCE_SIZE], nonce_b[LOG_NONCE_SIZE];
	uint64_t index;
	fixture_start(fixture);
	log_record_id(fixture->log, 0xabcdef, a);
	log_record_id(fixture->log, 0xabcdf0, b);
	/* As docs/formats/log.md has it. */
	char known[RECORD_ID_SIZE + 1];
	uint8_t nonce[LOG_NONCE_SIZE];
	static const uint8_t known_nonce[LOG_NONCE_SIZE] = {0x75, 0x3c, 0x0d, 0xd7, 0x4c, 0x9c,
							    0x77, 0xad, 0x70, 0x9c, 0x25, 0x6c,
							    0x28, 0x0e, 0xe8, 0x6f};
	log_record_id(fixture->log, 42, known);
	assert_string_equal(known, "00000000002a54c9ad80f03c99a9be45");
	log_nonce(fixture->log, known, nonce);
	assert_memory_equal(nonce, known_nonce, LOG_NONCE_SIZE);
	assert_memory_equal(a, "000000abcdef", 12);
	assert_memory_not_equal(a + 12, b + 12, 20);
	assert_true(record_id_index(bytes_from(a), &index));
	assert_int_equal(index, 0xabcdef);
	log_nonce(fixture->log, a, nonce_a);
	log_nonce(fixture->log, b, nonce_b);
	assert_memory_not_equal(nonce_a, nonce_b, LOG_NONCE_SIZE);
	log_nonce(fixture->log, a, nonce_b);
	assert_memory_equal(nonce_a, nonce_b, LOG_NONCE_SIZE);
}

static void test_receipts_verify(void **state)
{
	struct fixture *fixture = *state;
	struct err *err = &fixture->err;
	struct buf note = BUF_INIT(4096), text = BUF_INIT(65536), proof_text = BUF_INIT(65536);
	struct note_key key;
	struct checkpoint head;
	fixture_start(fixture);
	fixture_append(fixture, 300, true);
	fixture_checkpoint(fixture, &note, &head);
	assert_works(note_key_parse(bytes_from(fixture_vkey(fixture)), &key, err), err);
	for (uint64_t index = 0; index < 600; index += 7) {
		struct proof proof;
		buf_clear(&text);
		buf_clear(&proof_text);
		assert_works(log_read_entry(fixture->log, index, &text, err), err);
		assert_works(log_receipt(fixture->log, index, &proof_text, err), err);
		assert_works(proof_parse(buf_bytes(&proof_text), &proof, err), err);
		assert_works(proof_verify(&proof, &key, buf_bytes(&text), NULL, err), err);
		text.data[0] ^= 1;
		assert_int_equal(proof_verify(&proof, &key, buf_bytes(&text), NULL, err),
				 ERR_MISMATCH);
	}
	buf_clear(&proof_text);
	assert_int_equal(log_receipt(fixture->log, 600, &proof_text, err), ERR_NOT_FOUND);
	/* A record that no checkpoint covers yet: ask again. */
	fixture_append(fixture, 1, false);
	enum err_code code;
	for (unsigned i = 0; i < 2000; i++) {
		code = log_receipt(fixture->log, 600, &proof_text, err);
		if (code != ERR_TIMEOUT)
			break;
		usleep(1000);
	}
	assert_works(code, err);
	buf_release(&note);
	buf_release(&text);
	buf_release(&proof_text);
}

static void test_outcomes_are_found(void **state)
{
	struct fixture *fixture = *state;
	struct err *err = &fixture->err;
	uint64_t admits[64], settles[64], found;
	fixture_start(fixture);
	fixture_append(fixture, 100, true); /* fill up more than a segment */
	for (unsigned i = 0; i < 8; i++) {
		assert_true(log_reserve(fixture->log, 1));
		admits[i] = fixture_submit(fixture, RECORD_ADMIT, LOG_NO_INDEX);
	}
	fixture_wait(fixture);
	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(log_find_settle(fixture->log, admits[i], &found, err),
				 ERR_NOT_FOUND);
	for (unsigned i = 0; i < 8; i++) {
		assert_true(log_reserve(fixture->log, 1));
		settles[i] = fixture_submit(fixture, RECORD_SETTLE, admits[7 - i]);
	}
	fixture_wait(fixture);
	for (unsigned i = 0; i < 8; i++) {
		assert_works(log_find_settle(fixture->log, admits[7 - i], &found, err), err);
		assert_int_equal(found, settles[i]);
	}
	assert_int_equal(log_find_settle(fixture->log, settles[0], &found, err), ERR_NOT_FOUND);
	fixture_stop(fixture);
	/* After a restart the old ones are searched for. */
	fixture_start(fixture);
	assert_works(log_find_settle(fixture->log, 0, &found, err), err);
	assert_int_equal(found, 1);
	assert_works(log_find_settle(fixture->log, admits[7], &found, err), err);
	assert_int_equal(found, settles[0]);
	assert_int_equal(log_find_settle(fixture->log, 1, &found, err), ERR_NOT_FOUND);
}

static void test_unknown_outcomes(void **state)
{
	struct fixture *fixture = *state;
	struct err *err = &fixture->err;
	struct buf text = BUF_INIT(65536);
	struct log_stats stats;
	uint64_t found;
	fixture_start(fixture);
	fixture_append(fixture, 1, false);
	fixture_append(fixture, 120, true);
	fixture_append(fixture, 600, false);
	fixture_stop(fixture);
	fixture_start(fixture);
	log_get_stats(fixture->log, &stats);
	assert_int_equal(stats.records, 1 + 240 + 600 + 601);
	for (uint64_t admit = 0; admit < 841; admit++) {
		bool settled = admit >= 1 && admit < 241;
		if (settled && admit % 2 == 0)
			continue; /* a settle record itself */
		assert_works(log_find_settle(fixture->log, admit, &found, err), err);
		assert_int_equal(found, settled      ? admit + 1
					: admit == 0 ? 841
						     : 841 + 1 + admit - 241);
	}
	assert_works(log_read_entry(fixture->log, 841, &text, err), err);
	json_t *tree;
	assert_works(json_parse(buf_bytes(&text), "record", &tree, err), err);
	assert_string_equal(json_string_value(json_object_get(tree, "kind")), "unknown");
	assert_string_equal(json_string_value(json_object_get(tree, "org")), "o-1234");
	char id[RECORD_ID_SIZE + 1];
	log_record_id(fixture->log, 0, id);
	assert_string_equal(json_string_value(json_object_get(tree, "admit")), id);
	json_decref(tree);
	buf_release(&text);
	/* Once is enough. */
	fixture_stop(fixture);
	fixture_start(fixture);
	log_get_stats(fixture->log, &stats);
	assert_int_equal(stats.records, 1442);
}

/* ---- tiles ---- */

static void expect_tile(struct fixture *fixture, const struct merkle_hash *level_hashes,
			unsigned level, uint64_t number, unsigned width)
{
	struct buf tile = BUF_INIT(8192 + 1);
	assert_works(log_read_tile(fixture->log, level, number, width, &tile, &fixture->err),
		     &fixture->err);
	assert_int_equal(tile.size, width * 32);
	assert_memory_equal(tile.data, level_hashes + number * TILE_WIDTH, width * 32);
	buf_release(&tile);
}

static void expect_all_tiles(struct fixture *fixture, uint64_t size)
{
	struct buf text = BUF_INIT(65536);
	struct merkle_hash *hashes = calloc(size + 1, sizeof(*hashes));
	uint64_t count = size;
	for (uint64_t i = 0; i < size; i++) {
		buf_clear(&text);
		assert_works(log_read_entry(fixture->log, i, &text, &fixture->err), &fixture->err);
		hashes[i] = merkle_leaf(text.data, text.size);
	}
	for (unsigned level = 0; level < 3; level++) {
		for (uint64_t number = 0; number * TILE_WIDTH < count; number++) {
			unsigned width = tile_width_at(size, level, number);
			expect_tile(fixture, hashes, level, number, width);
			expect_tile(fixture, hashes, level, number, 1 + width / 2);
		}
		for (uint64_t i = 0; i < count / TILE_WIDTH; i++)
			hashes[i] = merkle_complete(&hashes[i * TILE_WIDTH], TILE_WIDTH);
		count /= TILE_WIDTH;
	}
	buf_clear(&text);
	assert_int_equal(
		log_read_tile(fixture->log, 0, size / 256, size % 256 + 1, &text, &fixture->err),
		ERR_NOT_FOUND);
	assert_int_equal(log_read_tile(fixture->log, 9, 0, 1, &text, &fixture->err), ERR_NOT_FOUND);
	assert_int_equal(log_read_tile(fixture->log, 0, 0, 257, &text, &fixture->err),
			 ERR_NOT_FOUND);
	free(hashes);
	buf_release(&text);
}

static void test_tiles(void **state)
{
	struct fixture *fixture = *state;
	struct buf note = BUF_INIT(4096);
	struct checkpoint head;
	char path[1024], command[2048];
	fixture_start(fixture);
	fixture_append(fixture, 900, true);
	fixture_checkpoint(fixture, &note, &head);
	expect_all_tiles(fixture, head.size);
	fixture_stop(fixture);
	fixture_path(fixture, "tile/0/003", path);
	assert_int_equal(access(path, R_OK), 0);

	/* Gone, or altered while the log runs and before it starts: made again from the records. */
	fixture_path(fixture, "tile", path);
	snprintf(command, sizeof(command), "rm -rf '%s'", path);
	assert_int_equal(system(command), 0);
	fixture_start(fixture);
	fixture_path(fixture, "tile/0/003", path);
	assert_int_equal(access(path, R_OK), 0);
	expect_all_tiles(fixture, head.size);
	struct merkle_hash nonsense[TILE_WIDTH];
	memset(nonsense, 7, sizeof(nonsense));
	fixture_write(path, nonsense, sizeof(nonsense));
	expect_all_tiles(fixture, head.size);
	fixture_write(path, nonsense, sizeof(nonsense));
	fixture_stop(fixture);
	fixture_start(fixture);
	expect_all_tiles(fixture, head.size);
	buf_release(&note);
}

static void expect_verdict(struct fixture *fixture, enum err_code code, uint64_t tiles)
{
	struct log_check check = {0};
	struct log_check_result result;
	assert_int_equal(log_check_directory(fixture->env, fixture->directory, &check, &result,
					     &fixture->err),
			 code);
	if (code == ERR_OK)
		assert_int_equal(result.tiles, tiles);
}

/* What a loss of power leaves of a tile is no lie; what it never leaves is one. */
static void test_torn_tiles(void **state)
{
	struct fixture *fixture = *state;
	struct buf note = BUF_INIT(4096), tile = BUF_INIT(8193);
	struct checkpoint head;
	char path[1024];
	fixture_start(fixture);
	fixture_append(fixture, 900, true);
	fixture_checkpoint(fixture, &note, &head);
	fixture_stop(fixture);
	fixture_path(fixture, "tile/0/001", path);
	assert_works(env_read_file(fixture->env, path, &tile, &fixture->err), &fixture->err);
	assert_int_equal(tile.size, 8192);
	expect_verdict(fixture, ERR_OK, 7);
	for (size_t kept = 0; kept < 2048; kept += 100) {
		char torn[8192] = {0};
		memcpy(torn, tile.data, kept);
		memcpy(torn + 4096, tile.data + 4096, 512);
		fixture_write(path, torn, sizeof(torn));
		expect_verdict(fixture, ERR_OK, 6);
		torn[kept] ^= 1;
		torn[kept + 1] ^= 1;
		fixture_write(path, torn, sizeof(torn));
		expect_verdict(fixture, ERR_MISMATCH, 0);
	}
	fixture_start(fixture);
	expect_all_tiles(fixture, head.size);
	buf_release(&note);
	buf_release(&tile);
}

/* A start reads no records below a tile that sums up 65,536 of them; such a tile is in its file
 * while the log is busy still, and counts when those below it are lost or torn. */
static void test_upper_tiles(void **state)
{
	struct fixture *fixture = *state;
	char upper[1024], below[1024], torn[1024], command[2048], nonsense[8192];
	fixture->options.relaxed = true;
	fixture->options.segment_size = 1 << 20;
	fixture_start(fixture);
	fixture_append(fixture, 40000, true);
	for (unsigned i = 0; i < 3; i++)
		fixture_append(fixture, 1, true);
	fixture_path(fixture, "tile/1/000", upper);
	fixture_path(fixture, "tile/0", below);
	fixture_path(fixture, "tile/0/256", torn);
	assert_int_equal(access(upper, R_OK), 0);
	fixture_stop(fixture);

	for (unsigned round = 0; round < 2; round++) {
		snprintf(command, sizeof(command), "rm -rf '%s'", below);
		assert_int_equal(system(command), 0);
		if (round == 1) {
			snprintf(command, sizeof(command), "mkdir '%s'", below);
			assert_int_equal(system(command), 0);
			memset(nonsense, 7, sizeof(nonsense));
			fixture_write(torn, nonsense, sizeof(nonsense));
		}
		fixture_start(fixture);
		fixture_path(fixture, "tile/0/000", command);
		assert_int_not_equal(access(command, R_OK), 0);
		assert_int_equal(access(torn, R_OK), 0);
		fixture_stop(fixture);
	}
}

static void test_entry_bundles(void **state)
{
	struct fixture *fixture = *state;
	struct buf note = BUF_INIT(4096), bundle = BUF_INIT(1 << 20), text = BUF_INIT(65536);
	struct checkpoint head;
	fixture_start(fixture);
	fixture_append(fixture, 150, true);
	fixture_checkpoint(fixture, &note, &head);
	assert_works(log_read_entries_tile(fixture->log, 1, 44, &bundle, &fixture->err),
		     &fixture->err);
	size_t at = 0;
	for (uint64_t index = 256; index < 300; index++) {
		buf_clear(&text);
		assert_works(log_read_entry(fixture->log, index, &text, &fixture->err),
			     &fixture->err);
		assert_int_equal((uint8_t)bundle.data[at] << 8 | (uint8_t)bundle.data[at + 1],
				 text.size);
		assert_memory_equal(bundle.data + at + 2, text.data, text.size);
		at += 2 + text.size;
	}
	assert_int_equal(at, bundle.size);
	assert_int_equal(log_read_entries_tile(fixture->log, 1, 45, &bundle, &fixture->err),
			 ERR_NOT_FOUND);
	buf_release(&note);
	buf_release(&bundle);
	buf_release(&text);
}

/* ---- many producers ---- */

#define THREADS 4
#define EACH 3000

struct worker {
	struct fixture *fixture;
	struct env_loop *loop;
	struct log_producer producer;
	struct env_message start;
	struct env_timer retry; /* room comes back without a word */
	unsigned submitted, durable, holding;
	uint64_t last;
	bool ordered;
};

struct worker_item {
	struct log_entry entry;
	struct worker *worker;
	char text[64];
};

static void produce(struct worker *worker);

static void worker_durable(struct log_entry *entry)
{
	struct worker_item *item = (struct worker_item *)entry;
	struct worker *worker = item->worker;
	worker->ordered &= worker->durable == 0 || entry->index > worker->last;
	worker->last = entry->index;
	worker->durable++;
	free(item);
	produce(worker);
	if (worker->durable == EACH)
		env_loop_stop(worker->loop);
}

static void produce(struct worker *worker)
{
	while (worker->submitted < EACH && worker->submitted < worker->durable + 32 &&
	       log_reserve(worker->fixture->log, 1)) {
		struct worker_item *item = calloc(1, sizeof(*item));
		item->worker = worker;
		item->entry = (struct log_entry){.index = log_take_index(worker->fixture->log),
						 .admit_index = LOG_NO_INDEX,
						 .kind = RECORD_REFUSE,
						 .units = 1,
						 .text = item->text,
						 .durable = worker_durable};
		item->entry.size =
			(size_t)snprintf(item->text, sizeof(item->text), "{\"number\":%llu}",
					 (unsigned long long)item->entry.index);
		worker->submitted++;
		log_submit(&worker->producer, &item->entry);
		log_producer_turn(&worker->producer, false);
	}
}

static void worker_idle(void *argument)
{
	struct worker *worker = argument;
	log_producer_turn(&worker->producer, true);
}

static void worker_retry(struct env_timer *timer)
{
	struct worker *worker = (struct worker *)((char *)timer - offsetof(struct worker, retry));
	produce(worker);
	env_timer_arm(worker->loop, timer, worker->loop->now_ns + 1000000);
}

static void worker_start(struct env_message *message)
{
	struct worker *worker = (struct worker *)((char *)message - offsetof(struct worker, start));
	worker_retry(&worker->retry);
}

static enum err_code check_number(void *argument, const struct log_read_entry *entry,
				  struct err *err)
{
	(void)argument;
	char expected[64];
	snprintf(expected, sizeof(expected), "{\"number\":%llu}", (unsigned long long)entry->index);
	return bytes_is(entry->text, expected) ? ERR_OK
					       : ERR_SET(err, ERR_MISMATCH, "record %llu",
							 (unsigned long long)entry->index);
}

static void run_workers(struct fixture *fixture)
{
	static struct worker workers[THREADS];
	memset(workers, 0, sizeof(workers));
	for (unsigned i = 0; i < THREADS; i++) {
		struct worker *worker = &workers[i];
		worker->fixture = fixture;
		worker->ordered = true;
		worker->loop = env_loop_new(fixture->env, "worker", false);
		worker->loop->idle = worker_idle;
		worker->loop->idle_argument = worker;
		log_producer_init(&worker->producer, fixture->log, worker->loop);
		worker->start.run = worker_start;
		worker->retry.fire = worker_retry;
		env_post(worker->loop, &worker->start);
		assert_works(env_loop_start(worker->loop, -1, &fixture->err), &fixture->err);
	}
	for (unsigned i = 0; i < THREADS; i++)
		env_loop_join(workers[i].loop);
	for (unsigned i = 0; i < THREADS; i++) {
		assert_int_equal(workers[i].durable, EACH);
		assert_true(workers[i].ordered);
	}
	fixture_halt(fixture);
	for (unsigned i = 0; i < THREADS; i++) {
		log_producer_close(&workers[i].producer);
		env_timer_disarm(workers[i].loop, &workers[i].retry);
		env_loop_free(workers[i].loop);
	}
	fixture_stop(fixture);
}

static void check_workers(struct fixture *fixture)
{
	struct log_check check = {.each = check_number};
	struct log_check_result result;
	assert_works(log_check_directory(fixture->env, fixture->directory, &check, &result,
					 &fixture->err),
		     &fixture->err);
	assert_int_equal(result.records, THREADS * EACH);
	assert_int_equal(result.covered, THREADS * EACH);
	assert_int_equal(result.torn_bytes, 0);
	assert_int_equal(result.tiles, THREADS * EACH / 256);
}

static void test_many_producers(void **state)
{
	struct fixture *fixture = *state;
	fixture->options.segment_size = 512 << 10;
	fixture_start(fixture);
	run_workers(fixture);
	check_workers(fixture);
}

static void test_many_producers_relaxed(void **state)
{
	struct fixture *fixture = *state;
	fixture->options.segment_size = 512 << 10;
	fixture->options.relaxed = true;
	fixture_start(fixture);
	run_workers(fixture);
	check_workers(fixture);
}

static void never(struct log_entry *entry)
{
	fail_msg("record %llu was acknowledged on a loop that does not run",
		 (unsigned long long)entry->index);
}

/* Records wait for those before them, however long their producer takes. */
static void test_gaps_hold_back(void **state)
{
	struct fixture *fixture = *state;
	struct log_stats stats;
	fixture_start(fixture);
	assert_true(log_reserve(fixture->log, 2));
	uint64_t hole = log_take_index(fixture->log);
	fixture_submit(fixture, RECORD_ADMIT, LOG_NO_INDEX);
	usleep(20000);
	log_get_stats(fixture->log, &stats);
	assert_int_equal(stats.records, hole);
	/* The one before it arrives from elsewhere. */
	struct log_producer other;
	struct log_entry entry = {.index = hole,
				  .admit_index = LOG_NO_INDEX,
				  .kind = RECORD_ACT,
				  .units = 1,
				  .text = "{}",
				  .size = 2,
				  .durable = never};
	struct env_loop *loop = env_loop_new(fixture->env, "other", false);
	log_producer_init(&other, fixture->log, loop);
	log_submit(&other, &entry);
	log_producer_turn(&other, true);
	fixture_wait(fixture);
	log_get_stats(fixture->log, &stats);
	assert_int_equal(stats.records, hole + 2);
	fixture_halt(fixture); /* it posts to that loop */
	log_producer_close(&other);
	env_loop_free(loop);
}

/* One commit of so many records that the next is held back; the loop ends before that is over. */
static void close_while_held_back(struct fixture *fixture)
{
	struct log_producer other;
	fixture_start(fixture);
	struct env_loop *loop = env_loop_new(fixture->env, "other", false);
	log_producer_init(&other, fixture->log, loop);
	for (int i = 0; !log_reserve(fixture->log, 33); i++) {
		assert_true(i < 20000);
		usleep(500);
	}
	struct log_entry entry = {.index = log_take_index(fixture->log),
				  .admit_index = LOG_NO_INDEX,
				  .kind = RECORD_ACT,
				  .units = 1,
				  .text = "{}",
				  .size = 2,
				  .durable = never};
	for (int i = 0; i < 32; i++)
		fixture_submit(fixture, RECORD_ADMIT, LOG_NO_INDEX);
	log_submit(&other, &entry);
	log_producer_turn(&other, true);
	fixture_wait(fixture);
	fixture_halt(fixture);
	log_producer_close(&other);
	env_loop_free(loop);
	log_producer_close(&fixture->producer);
	assert_works(log_close(fixture->log, &fixture->err), &fixture->err);
	fixture->log = NULL;
}

/* Two logs share a loop: the first leaves nothing of it there. */
static void test_a_closed_log_has_no_timers(void **state)
{
	struct fixture *fixture = *state;
	fixture->options.segment_size = 512 << 10;
	fixture->options.relaxed = true;
	for (int i = 0; i < 5; i++) {
		struct env_timer last = {0};
		close_while_held_back(fixture);
		assert_true(env_timer_arm(fixture->log_loop, &last, UINT64_MAX));
		assert_int_equal(last.node.index, 1);
		env_timer_disarm(fixture->log_loop, &last);
		fixture_stop(fixture);
	}
}

static void test_a_checkpoint_comes_by_itself(void **state)
{
	struct fixture *fixture = *state;
	struct log_stats stats;
	fixture_start(fixture);
	fixture_append(fixture, 3, true);
	for (unsigned i = 0; i < 3000; i++) {
		log_get_stats(fixture->log, &stats);
		if (stats.checkpoint == 6)
			return;
		usleep(1000);
	}
	fail_msg("the checkpoint still covers %llu", (unsigned long long)stats.checkpoint);
}

/* ---- reading the directory ---- */

static void test_proving_from_the_directory(void **state)
{
	struct fixture *fixture = *state;
	struct err *err = &fixture->err;
	struct note_key key;
	fixture_start(fixture);
	fixture_append(fixture, 200, true);
	assert_works(note_key_parse(bytes_from(fixture_vkey(fixture)), &key, err), err);
	fixture_stop(fixture);
	for (uint64_t index = 0; index < 400; index += 57) {
		struct buf record = BUF_INIT(65536), text = BUF_INIT(65536);
		struct proof proof;
		assert_works(log_prove_directory(fixture->env, fixture->directory, index, &record,
						 &text, err),
			     err);
		assert_works(proof_parse(buf_bytes(&text), &proof, err), err);
		assert_works(proof_verify(&proof, &key, buf_bytes(&record), NULL, err), err);
		buf_release(&record);
		buf_release(&text);
	}
	struct buf nothing = BUF_INIT(65536);
	assert_int_equal(
		log_prove_directory(fixture->env, fixture->directory, 400, &nothing, &nothing, err),
		ERR_NOT_FOUND);
	buf_release(&nothing);
}

static void test_seeking(void **state)
{
	struct fixture *fixture = *state;
	struct err *err = &fixture->err;
	struct log_reader *reader;
	struct log_read_entry entry;
	bool more;
	fixture_start(fixture);
	fixture_append(fixture, 200, true);
	fixture_stop(fixture);
	assert_works(log_reader_open(fixture->env, fixture->directory, &reader, err), err);
	for (uint64_t index = 399; index > 3; index /= 2) {
		assert_works(log_reader_seek(reader, index, err), err);
		assert_works(log_reader_next(reader, &entry, &more, err), err);
		assert_true(more);
		assert_int_equal(entry.index, index);
	}
	assert_works(log_reader_seek(reader, 400, err), err);
	assert_works(log_reader_next(reader, &entry, &more, err), err);
	assert_false(more);
	assert_int_equal(log_reader_seek(reader, 401, err), ERR_NOT_FOUND);
	log_reader_close(reader);
}

/* A directory in use can be checked again and again. */
static void test_checking_a_log_in_use(void **state)
{
	struct fixture *fixture = *state;
	struct log_check check = {0};
	struct log_check_result result;
	fixture_start(fixture);
	for (unsigned i = 0; i < 20; i++) {
		fixture_append(fixture, 30, true);
		assert_works(log_check_directory(fixture->env, fixture->directory, &check, &result,
						 &fixture->err),
			     &fixture->err);
		assert_int_equal(result.records, 60 * (i + 1));
	}
}

#define WITH_LOG(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_LOG(test_a_new_log_has_a_checkpoint),
		WITH_LOG(test_records_come_back),
		WITH_LOG(test_ids_and_nonces),
		WITH_LOG(test_receipts_verify),
		WITH_LOG(test_outcomes_are_found),
		WITH_LOG(test_unknown_outcomes),
		WITH_LOG(test_tiles),
		WITH_LOG(test_torn_tiles),
		WITH_LOG(test_upper_tiles),
		WITH_LOG(test_entry_bundles),
		WITH_LOG(test_many_producers),
		WITH_LOG(test_many_producers_relaxed),
		WITH_LOG(test_gaps_hold_back),
		WITH_LOG(test_a_closed_log_has_no_timers),
		WITH_LOG(test_a_checkpoint_comes_by_itself),
		WITH_LOG(test_proving_from_the_directory),
		WITH_LOG(test_seeking),
		WITH_LOG(test_checking_a_log_in_use),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
