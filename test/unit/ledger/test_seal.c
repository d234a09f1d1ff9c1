/* Sealed segments: that nothing is lost or changed by sealing, that nothing damaged comes out of
 * one, and what a crash, a failing disk or rot leaves. */
#include "fixture.h"

#include "base/sanitized.h"
#include "base/sha256.h"
#include "ledger/packing.h"
#include "ledger/seal.h"

#include <dirent.h>
#include <stdlib.h>
#include <unistd.h>

#define REQUESTS 800
#define SEGMENT_SIZE (64u << 10)  /* two or three blocks */
#define STEPS (SANITIZED ? 8 : 1) /* coarser ones, where each takes ten times as long */
#define FIRST_OPEN "segments/000000000000.seg"
#define FIRST_SEALED "segments/000000000000.seal"

static int set_up(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));
	fixture_init(fixture);
	fixture->options.segment_size = SEGMENT_SIZE;
	*state = fixture;
	return 0;
}

static int tear_down(void **state)
{
	fixture_no_faults();
	fixture_release(*state);
	free(*state);
	return 0;
}

/* ---- what a log holds ---- */

static enum err_code add_entry(void *argument, const struct log_read_entry *entry, struct err *err)
{
	(void)err;
	sha256_add(argument, entry->text.data, entry->text.size);
	sha256_add(argument, entry->leaf.bytes, MERKLE_HASH_SIZE);
	return ERR_OK;
}

/* Checks the whole directory; a digest of every record and leaf. */
static enum err_code digest_log(struct fixture *fixture, uint8_t out[static SHA256_SIZE])
{
	struct sha256 digest;
	struct log_check_result result;
	struct log_check check = {.each = add_entry, .argument = &digest};
	sha256_start(&digest);
	enum err_code code = log_check_directory(fixture->env, fixture->directory, &check, &result,
						 &fixture->err);
	sha256_finish(&digest, out);
	return code;
}

struct files {
	unsigned open, sealed, other;
};

static struct files count_files(struct fixture *fixture)
{
	char path[1024];
	struct files files = {0};
	uint64_t first;
	fixture_path(fixture, "segments", path);
	DIR *directory = opendir(path);
	assert_non_null(directory);
	for (struct dirent *entry; (entry = readdir(directory));) {
		if (segment_name_parse(entry->d_name, &first))
			files.open++;
		else if (seal_name_parse(entry->d_name, &first))
			files.sealed++;
		else if (entry->d_name[0] != '.' && strncmp(entry->d_name, "spare.", 6) != 0)
			files.other++;
	}
	closedir(directory);
	return files;
}

static void wait_sealed(struct fixture *fixture)
{
	struct log_stats stats;
	for (unsigned i = 0; i < 20000; i++) {
		log_get_stats(fixture->log, &stats);
		if (stats.sealed + 1 == stats.segments)
			return;
		usleep(1000);
	}
	fail_msg("%llu of %llu segments are sealed", (unsigned long long)stats.sealed,
		 (unsigned long long)stats.segments);
}

static void wait_scrubbed(struct fixture *fixture)
{
	struct log_stats before, stats;
	log_get_stats(fixture->log, &before);
	log_scrub_now(fixture->log);
	for (unsigned i = 0; i < 20000; i++) {
		log_get_stats(fixture->log, &stats);
		if (stats.scrubs > before.scrubs)
			return;
		usleep(1000);
	}
	fail_msg("no scrub has ended");
}

/* A log of several open segments, closed. */
static void make_log(struct fixture *fixture, uint8_t digest[static SHA256_SIZE])
{
	fixture_start(fixture);
	fixture_append(fixture, REQUESTS, true);
	fixture_stop(fixture);
	assert_int_equal(digest_log(fixture, digest), ERR_OK);
	assert_true(count_files(fixture).open > 3);
}

static void seal_log(struct fixture *fixture)
{
	fixture->seals = true;
	fixture_start(fixture);
	wait_sealed(fixture);
	fixture_stop(fixture);
	fixture->seals = false;
}

/* ---- sealing ---- */

static void test_nothing_changes_by_sealing(void **state)
{
	struct fixture *fixture = *state;
	uint8_t before[SHA256_SIZE], after[SHA256_SIZE];
	make_log(fixture, before);
	unsigned segments = count_files(fixture).open;
	seal_log(fixture);
	struct files files = count_files(fixture);
	assert_int_equal(files.open, 1);
	assert_int_equal(files.sealed, segments - 1);
	assert_int_equal(files.other, 0);
	assert_works(digest_log(fixture, after), &fixture->err);
	assert_memory_equal(before, after, sizeof(before));
}

/* What a running log serves is the same before and after. */
static void test_served_as_before(void **state)
{
	struct fixture *fixture = *state;
	struct buf tile[2], text[2], proof = BUF_INIT(65536);
	struct log_stats stats;
	uint64_t settle;
	fixture->seals = true;
	fixture_start(fixture);
	fixture_append(fixture, REQUESTS, true);
	struct buf note = BUF_INIT(NOTE_SIZE_MAX);
	struct checkpoint head;
	fixture_checkpoint(fixture, &note, &head);
	for (int round = 0; round < 2; round++) {
		buf_init(&tile[round], 1 << 20);
		buf_init(&text[round], 1 << 20);
		for (unsigned i = 0; i < 2 * REQUESTS / TILE_WIDTH; i++)
			assert_works(log_read_entries_tile(fixture->log, i, TILE_WIDTH,
							   &tile[round], &fixture->err),
				     &fixture->err);
		for (unsigned i = 0; i < 2 * REQUESTS; i += 37)
			assert_works(log_read_entry(fixture->log, i, &text[round], &fixture->err),
				     &fixture->err);
		wait_sealed(fixture);
	}
	log_get_stats(fixture->log, &stats);
	assert_true(stats.sealed > 2);
	assert_true(bytes_equal(buf_bytes(&tile[0]), buf_bytes(&tile[1])));
	assert_true(bytes_equal(buf_bytes(&text[0]), buf_bytes(&text[1])));
	assert_works(log_receipt(fixture->log, 5, &proof, &fixture->err), &fixture->err);
	assert_works(log_find_settle(fixture->log, 4, &settle, &fixture->err), &fixture->err);
	assert_int_equal(settle, 5);
	fixture_stop(fixture);
	/* And in a process that begins with sealed segments. */
	fixture_start(fixture);
	assert_works(log_find_settle(fixture->log, 4, &settle, &fixture->err), &fixture->err);
	assert_int_equal(settle, 5);
	buf_clear(&text[0]);
	for (unsigned i = 0; i < 2 * REQUESTS; i += 37)
		assert_works(log_read_entry(fixture->log, i, &text[0], &fixture->err),
			     &fixture->err);
	assert_true(bytes_equal(buf_bytes(&text[0]), buf_bytes(&text[1])));
	for (int round = 0; round < 2; round++) {
		buf_release(&tile[round]);
		buf_release(&text[round]);
	}
	buf_release(&proof);
	buf_release(&note);
}

/* ---- damage ---- */

static enum err_code read_sealed(struct fixture *fixture)
{
	char path[1024];
	struct segment_scan scan;
	struct segment_header header;
	struct frame frame;
	bool found = true;
	fixture_path(fixture, FIRST_SEALED, path);
	enum err_code code = segment_scan_open(&scan, fixture->env, path, &header, &fixture->err);
	while (code == ERR_OK && found)
		code = segment_scan_next(&scan, &frame, &found, &fixture->err);
	segment_scan_close(&scan);
	return code;
}

static void check_damage(struct fixture *fixture)
{
	assert_int_equal(read_sealed(fixture), ERR_CORRUPT);
	assert_non_null(strstr(fixture->err.message, FIRST_SEALED));
	assert_non_null(strstr(fixture->err.message, "offset"));
}

/* Every byte of header and table, and some of the blocks, with one bit of it flipped; and the file
 * cut short. */
static void test_flips_and_cuts_are_found(void **state)
{
	struct fixture *fixture = *state;
	uint8_t digest[SHA256_SIZE];
	char path[1024];
	struct buf kept = BUF_INIT(1 << 20);
	make_log(fixture, digest);
	seal_log(fixture);
	fixture_path(fixture, FIRST_SEALED, path);
	fixture_read(path, &kept);
	assert_int_equal(read_sealed(fixture), ERR_OK);
	for (size_t at = 0; at < kept.size; at += at < 4300 ? STEPS | 1 : 41 * STEPS | 1) {
		kept.data[at] ^= (char)(1 << at % 8);
		fixture_write(path, kept.data, kept.size);
		check_damage(fixture);
		kept.data[at] ^= (char)(1 << at % 8);
	}
	for (size_t size = 0; size < kept.size; size += STEPS * (size < 4300 ? 97 : 501)) {
		fixture_write(path, kept.data, size);
		check_damage(fixture);
	}
	fixture_write(path, kept.data, kept.size);
	assert_int_equal(read_sealed(fixture), ERR_OK);
	buf_release(&kept);
}

/* A seal that is whole in itself but of other records does not fit its neighbours. */
static void test_a_seal_of_other_records_is_refused(void **state)
{
	struct fixture *fixture = *state;
	uint8_t digest[SHA256_SIZE];
	char path[1024];
	struct buf kept = BUF_INIT(1 << 20);
	struct fixture other;
	make_log(fixture, digest);
	seal_log(fixture);
	fixture_init(&other);
	other.options.segment_size = SEGMENT_SIZE;
	other.options.secret[0] ^= 1; /* other ids, so other records */
	make_log(&other, digest);
	seal_log(&other);
	fixture_path(&other, FIRST_SEALED, path);
	fixture_read(path, &kept);
	fixture_path(fixture, FIRST_SEALED, path);
	fixture_write(path, kept.data, kept.size);
	assert_int_equal(read_sealed(fixture), ERR_OK);
	assert_int_equal(fixture_open(fixture), ERR_CORRUPT);
	assert_non_null(strstr(fixture->err.message, FIRST_SEALED));
	assert_int_not_equal(digest_log(fixture, digest), ERR_OK);
	buf_release(&kept);
	fixture_release(&other);
}

static void flip(struct fixture *fixture, const char *name, long from_end)
{
	char path[1024];
	struct buf text = BUF_INIT(1 << 20);
	fixture_path(fixture, name, path);
	fixture_read(path, &text);
	text.data[(long)text.size - from_end] ^= 4;
	fixture_write(path, text.data, text.size);
	buf_release(&text);
}

/* At the start the seal alone is looked at; what has rotted behind it is never served, is told, and
 * is right again when it was restored. */
static void test_rot_behind_the_seal(void **state)
{
	struct fixture *fixture = *state;
	uint8_t digest[SHA256_SIZE];
	struct log_rot rot[4];
	struct buf text = BUF_INIT(1 << 20);
	make_log(fixture, digest);
	seal_log(fixture);
	flip(fixture, FIRST_SEALED, 100);
	fixture->seals = true;
	fixture_start(fixture);
	assert_int_equal(log_get_rot(fixture->log, rot, 4), 0);
	wait_scrubbed(fixture);
	assert_int_equal(log_get_rot(fixture->log, rot, 4), 1);
	assert_int_equal(rot[0].first, 0);
	assert_non_null(strstr(rot[0].problem, FIRST_SEALED));
	assert_int_equal(fixture->rots, 1);
	assert_non_null(strstr(fixture->rot_err.message, "offset"));
	assert_int_equal(log_read_entries_tile(fixture->log, 0, TILE_WIDTH, &text, &fixture->err),
			 ERR_OK); /* another block of it */
	enum err_code code = ERR_OK;
	for (unsigned i = 0; i < 2 * REQUESTS && code == ERR_OK; i++)
		code = log_read_entry(fixture->log, i, &text, &fixture->err);
	assert_int_equal(code, ERR_CORRUPT);
	assert_non_null(strstr(fixture->err.message, FIRST_SEALED));
	assert_int_equal(fixture->rots, 1);
	/* New records do not care. */
	fixture_append(fixture, 3, true);
	flip(fixture, FIRST_SEALED, 100);
	wait_scrubbed(fixture);
	assert_int_equal(log_get_rot(fixture->log, rot, 4), 0);
	assert_works(digest_log(fixture, digest), &fixture->err);
	buf_release(&text);
}

/* A damaged record of a full segment is found when that is sealed: the file stays as it is, and the
 * segments behind it are sealed. */
static void test_rot_before_the_seal(void **state)
{
	struct fixture *fixture = *state;
	uint8_t digest[SHA256_SIZE];
	struct log_rot rot[4];
	struct log_stats stats;
	make_log(fixture, digest);
	unsigned segments = count_files(fixture).open;
	char path[1024];
	struct buf text = BUF_INIT(1 << 20);
	fixture_path(fixture, FIRST_OPEN, path);
	fixture_read(path, &text);
	text.data[20000] ^= 1;
	fixture_write(path, text.data, text.size);
	fixture->seals = true;
	fixture_start(fixture);
	for (unsigned i = 0; i < 20000; i++) {
		log_get_stats(fixture->log, &stats);
		if (stats.sealed == segments - 2)
			break;
		usleep(1000);
	}
	assert_int_equal(stats.sealed, segments - 2);
	assert_int_equal(log_get_rot(fixture->log, rot, 4), 1);
	assert_non_null(strstr(rot[0].problem, FIRST_OPEN));
	text.data[20000] ^= 1;
	fixture_write(path, text.data, text.size);
	log_scrub_now(fixture->log);
	wait_sealed(fixture);
	assert_int_equal(log_get_rot(fixture->log, rot, 4), 0);
	fixture_stop(fixture);
	assert_int_equal(count_files(fixture).open, 1);
	buf_release(&text);
}

/* The header of the segment behind the first. */
static void read_second(struct fixture *fixture, struct segment_header *out)
{
	char folder[1024], path[2048];
	uint64_t first, second = UINT64_MAX;
	struct buf text = BUF_INIT(1 << 20);
	fixture_path(fixture, "segments", folder);
	DIR *directory = opendir(folder);
	assert_non_null(directory);
	for (struct dirent *entry; (entry = readdir(directory));)
		if (segment_name_parse(entry->d_name, &first) && first > 0 && first < second)
			second = first;
	closedir(directory);
	char name[SEGMENT_NAME_SIZE];
	segment_name(second, name);
	snprintf(path, sizeof(path), "%s/%s", folder, name);
	fixture_read(path, &text);
	assert_true(segment_header_parse((uint8_t *)text.data, out));
	buf_release(&text);
}

/* Where the frame of a record begins. */
static size_t find_record(const struct buf *segment, uint64_t index, struct frame *frame)
{
	static char room[PACKING_ROOM];
	size_t at = SEGMENT_HEADER_SIZE;
	for (;; at += frame->stored) {
		assert_true(frame_parse((uint8_t *)segment->data + at, segment->size - at, room,
					frame));
		if (frame->index == index)
			return at;
	}
}

/* The hashes of a block are made together and its links looked at afterwards: it is told which
 * record does not follow from the one before it. */
static void test_a_record_that_does_not_follow(void **state)
{
	static const uint64_t places[] = {0, 1, 77, TILE_WIDTH - 1, TILE_WIDTH};
	struct fixture *fixture = *state;
	uint8_t digest[SHA256_SIZE];
	make_log(fixture, digest);
	char path[1024], problem[64];
	struct buf text = BUF_INIT(1 << 20);
	struct seal_writer *writer;
	struct seal_end end;
	struct segment_header next;
	fixture_path(fixture, FIRST_OPEN, path);
	fixture_read(path, &text);
	read_second(fixture, &next);
	end.tree = next.range;
	memcpy(end.link, next.link, LINK_SIZE);
	assert_true(end.tree.size > TILE_WIDTH);
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		struct frame frame;
		bool done = false;
		size_t at = find_record(&text, places[i], &frame);
		frame.link[LINK_SIZE - 1] ^= 1;
		assert_int_equal(frame.stored,
				 frame_write(&frame, SEGMENT_VERSION, (uint8_t *)text.data + at));
		fixture_write(path, text.data, text.size);
		fixture_path(fixture, "segments", path);
		assert_works(seal_writer_open(fixture->env, path, 0, &end, &writer, &fixture->err),
			     &fixture->err);
		enum err_code code = ERR_OK;
		while (code == ERR_OK && !done)
			code = seal_writer_step(writer, &done, &fixture->err);
		assert_int_equal(code, ERR_CORRUPT);
		snprintf(problem, sizeof(problem), "offset %zu: record %u is", at,
			 (unsigned)places[i]);
		assert_non_null(strstr(fixture->err.message, problem));
		seal_writer_free(writer);
		fixture_path(fixture, FIRST_OPEN, path);
		frame.link[LINK_SIZE - 1] ^= 1;
		frame_write(&frame, SEGMENT_VERSION, (uint8_t *)text.data + at);
	}
	fixture_write(path, text.data, text.size);
	buf_release(&text);
}

/* ---- crashes and failing disks ---- */

static void keep(struct fixture *fixture, const char *name, struct buf *out)
{
	char path[1024];
	buf_init(out, 1 << 20);
	fixture_path(fixture, name, path);
	fixture_read(path, out);
}

static void put(struct fixture *fixture, const char *name, const struct buf *content)
{
	char path[1024];
	fixture_path(fixture, name, path);
	fixture_write(path, content->data, content->size);
}

/* Both files are there: the sealed one counts if it is whole, else the open one. */
static void test_both_files_at_the_start(void **state)
{
	struct fixture *fixture = *state;
	uint8_t before[SHA256_SIZE], after[SHA256_SIZE];
	struct buf open, half = BUF_INIT(64);
	make_log(fixture, before);
	keep(fixture, FIRST_OPEN, &open);
	seal_log(fixture);
	put(fixture, FIRST_OPEN, &open);
	buf_append_cstr(&half, "half a segm");
	put(fixture, "segments/" SEAL_TEMPORARY, &half);
	assert_works(digest_log(fixture, after), &fixture->err);
	assert_memory_equal(before, after, sizeof(before));
	fixture_start(fixture);
	fixture_stop(fixture);
	assert_int_equal(count_files(fixture).open, 1);
	assert_int_equal(count_files(fixture).other, 0);
	put(fixture, FIRST_OPEN, &open);
	put(fixture, FIRST_SEALED, &half);
	seal_log(fixture);
	assert_int_equal(count_files(fixture).open, 1);
	assert_works(digest_log(fixture, after), &fixture->err);
	assert_memory_equal(before, after, sizeof(before));
	buf_release(&open);
	buf_release(&half);
}

/* The n-th write (or sync) fails while segments are sealed, for every n: the log is what it was,
 * and is sealed once the disk works again. */
static void fail_each(struct fixture *fixture, _Atomic unsigned *which)
{
	uint8_t before[SHA256_SIZE], after[SHA256_SIZE];
	struct log_stats stats;
	bool failed = true;
	make_log(fixture, before);
	for (unsigned n = 1; failed; n++) {
		fixture->seals = true;
		fixture_start(fixture);
		/* The open of the log has its own writes, which other tests fail. */
		fixture_no_faults();
		*which = n;
		log_scrub_now(fixture->log);
		for (unsigned i = 0; i < 20000; i++) {
			log_get_stats(fixture->log, &stats);
			if (stats.sealed + 1 == stats.segments || stats.seal_failures > 0)
				break;
			usleep(500);
		}
		failed = stats.sealed + 1 < stats.segments;
		fixture_halt(fixture);
		fixture_no_faults();
		fixture_stop(fixture);
		fixture->seals = false;
		assert_works(digest_log(fixture, after), &fixture->err);
		assert_memory_equal(before, after, sizeof(before));
		assert_int_equal(count_files(fixture).other, 0);
		assert_true(n < 200);
	}
	assert_int_equal(count_files(fixture).open, 1);
}

static void test_every_write_fails_in_turn(void **state)
{
	fail_each(*state, &fixture_faults.fail_write_at);
}

static void test_every_sync_fails_in_turn(void **state)
{
	fail_each(*state, &fixture_faults.fail_sync_at);
}

/* ---- pure parts ---- */

static void test_subtrees(void **state)
{
	(void)state;
	uint8_t levels[SEAL_SUBTREES_MAX];
	for (uint64_t begin = 512; begin < 768; begin++) {
		for (uint64_t end = begin + 1; end <= 768; end++) {
			unsigned count = seal_subtrees(begin, end, levels);
			uint64_t at = begin;
			for (unsigned i = 0; i < count; i++) {
				assert_int_equal(at % (UINT64_C(1) << levels[i]), 0);
				at += UINT64_C(1) << levels[i];
			}
			assert_int_equal(at, end);
		}
	}
	assert_int_equal(seal_subtrees(512, 768, levels), 1);
	assert_int_equal(levels[0], 8);
	assert_int_equal(seal_block_end(300, 1000, 0), 512);
	assert_int_equal(seal_block_end(300, 1000, 3), 1280);
	assert_int_equal(seal_block_end(300, 1000, 4), 1300);
}

static void test_names(void **state)
{
	(void)state;
	char name[SEAL_NAME_SIZE];
	uint64_t first;
	seal_name(0xabc, name);
	assert_string_equal(name, "000000000abc.seal");
	assert_true(seal_name_parse(name, &first));
	assert_int_equal(first, 0xabc);
	assert_false(seal_name_parse("000000000ABC.seal", &first));
	assert_false(seal_name_parse("000000000abc.sealx", &first));
	assert_false(seal_name_parse("000000000abc.seg", &first));
}

#define WITH_LOG(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_subtrees),
		cmocka_unit_test(test_names),
		WITH_LOG(test_nothing_changes_by_sealing),
		WITH_LOG(test_served_as_before),
		WITH_LOG(test_flips_and_cuts_are_found),
		WITH_LOG(test_a_seal_of_other_records_is_refused),
		WITH_LOG(test_rot_behind_the_seal),
		WITH_LOG(test_rot_before_the_seal),
		WITH_LOG(test_a_record_that_does_not_follow),
		WITH_LOG(test_both_files_at_the_start),
		WITH_LOG(test_every_write_fails_in_turn),
		WITH_LOG(test_every_sync_fails_in_turn),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
