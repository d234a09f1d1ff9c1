/* What a log survives, and what it refuses: cuts, flipped bits, failing writes and syncs, a full
 * disk, old copies, other keys, a second process. */
#include "fixture.h"

#include "base/sanitized.h"
#include <dirent.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* Opening takes a start's writes and syncs each time: bits are passed over there (not by a reader),
 * and more of all under sanitizers, where each takes ten times as long. Odd steps meet every bit of
 * a byte in turn. */
#define CUT_STEP (SANITIZED ? 7 : 1)
#define BIT_STEP (SANITIZED ? 61 : 7)
#define CHECK_STEP (SANITIZED ? 13 : 1)

static int set_up(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));
	fixture_init(fixture);
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

#define FIRST_SEGMENT "segments/000000000000.seg"

/* Where each record of the first segment starts; the last entry is the end. */
struct layout {
	uint64_t offsets[64];
	unsigned count;
};

static void read_layout(struct fixture *fixture, struct layout *layout)
{
	struct log_reader *reader;
	struct log_read_entry entry;
	bool more = true;
	char path[1024];
	struct buf segment = BUF_INIT(1 << 20);
	fixture_path(fixture, FIRST_SEGMENT, path);
	fixture_read(path, &segment);
	layout->count = 0;
	assert_works(log_reader_open(fixture->env, fixture->directory, &reader, &fixture->err),
		     &fixture->err);
	for (;;) {
		assert_works(log_reader_next(reader, &entry, &more, &fixture->err), &fixture->err);
		if (!more)
			break;
		layout->offsets[layout->count++] = entry.offset;
		layout->offsets[layout->count] =
			entry.offset + 32 + bytes_load_number(segment.data + entry.offset + 14, 2);
	}
	log_reader_close(reader);
	buf_release(&segment);
}

/* A small log as it lies on the disk: all of it in one segment. */
struct kept {
	struct buf segment, checkpoint;
};

static void keep(struct fixture *fixture, struct kept *kept)
{
	char path[1024];
	buf_init(&kept->segment, 1 << 20);
	buf_init(&kept->checkpoint, 4096);
	fixture_path(fixture, FIRST_SEGMENT, path);
	fixture_read(path, &kept->segment);
	fixture_path(fixture, "checkpoint", path);
	fixture_read(path, &kept->checkpoint);
}

static void restore(struct fixture *fixture, const struct kept *kept)
{
	char path[1024];
	fixture_path(fixture, FIRST_SEGMENT, path);
	fixture_write(path, kept->segment.data, kept->segment.size);
	fixture_path(fixture, "checkpoint", path);
	fixture_write(path, kept->checkpoint.data, kept->checkpoint.size);
}

static void forget(struct kept *kept)
{
	buf_release(&kept->segment);
	buf_release(&kept->checkpoint);
}

/* A log of six settled requests whose checkpoint covers the first `covered` records. */
static void make_small_log(struct fixture *fixture, unsigned covered, struct kept *kept)
{
	struct buf note = BUF_INIT(4096);
	struct checkpoint head;
	fixture_start(fixture);
	fixture_append(fixture, covered / 2, true);
	fixture_checkpoint(fixture, &note, &head);
	fixture_append(fixture, 6 - covered / 2, true);
	fixture_stop(fixture);
	keep(fixture, kept);
	buf_release(&kept->checkpoint);
	kept->checkpoint = note;
	restore(fixture, kept);
}

static uint64_t size_of_log(struct fixture *fixture)
{
	struct log_stats stats;
	log_get_stats(fixture->log, &stats);
	return stats.records;
}

/* The last segment cut at every byte: all records before the cut are there, and an `unknown` for an
 * admit that lost its settle; a cut into what a checkpoint covers is refused. */
static void test_cut_at_every_byte(void **state)
{
	struct fixture *fixture = *state;
	struct kept kept;
	char path[1024];
	struct layout layout;
	make_small_log(fixture, 4, &kept);
	read_layout(fixture, &layout);
	assert_int_equal(layout.count, 12);
	for (uint64_t cut = 0; cut <= layout.offsets[12] + 3; cut += cut < 4090 ? 409 : CUT_STEP) {
		unsigned whole = 0;
		while (whole < 12 && layout.offsets[whole + 1] <= cut)
			whole++;
		restore(fixture, &kept);
		fixture_path(fixture, FIRST_SEGMENT, path);
		assert_int_equal(truncate(path, (off_t)cut), 0);
		enum err_code code = fixture_open(fixture);
		if (whole < 4) {
			assert_int_equal(code, ERR_CORRUPT);
			assert_non_null(strstr(fixture->err.message, FIRST_SEGMENT));
			assert_non_null(strstr(fixture->err.message, "offset"));
			continue;
		}
		assert_works(code, &fixture->err);
		assert_int_equal(size_of_log(fixture), whole + whole % 2);
		fixture_stop(fixture);
	}
	forget(&kept);
}

/* Whatever is flipped, the log refuses and stays as it is, or (in the last record, which no
 * checkpoint covers) loses that record alone. */
static void test_every_bit_flipped(void **state)
{
	struct fixture *fixture = *state;
	struct kept kept;
	char path[1024];
	struct layout layout;
	struct buf after = BUF_INIT(1 << 20);
	make_small_log(fixture, 4, &kept);
	read_layout(fixture, &layout);
	fixture_path(fixture, FIRST_SEGMENT, path);
	for (uint64_t bit = 0; bit < layout.offsets[12] * 8;
	     bit += bit < 4096 * 8 ? 1021 : BIT_STEP) {
		struct buf *bytes = &kept.segment;
		bytes->data[bit / 8] ^= (char)(1 << bit % 8);
		restore(fixture, &kept);
		enum err_code code = fixture_open(fixture);
		if (bit < layout.offsets[11] * 8) {
			if (code != ERR_CORRUPT)
				fail_msg("bit %llu: %s", (unsigned long long)bit, err_name(code));
			assert_non_null(strstr(fixture->err.message, FIRST_SEGMENT));
			buf_clear(&after);
			fixture_read(path, &after);
			assert_int_equal(after.size, bytes->size);
			assert_memory_equal(after.data, bytes->data, bytes->size);
		} else {
			assert_works(code, &fixture->err);
			assert_int_equal(size_of_log(fixture), 12); /* 11, and an unknown */
			fixture_stop(fixture);
		}
		bytes->data[bit / 8] ^= (char)(1 << bit % 8);
	}
	buf_release(&after);
	forget(&kept);
}

/* The same for a reader of the directory: it finds every bit. */
static void test_checking_finds_every_bit(void **state)
{
	struct fixture *fixture = *state;
	struct kept kept;
	char path[1024];
	struct layout layout;
	struct log_check check = {0};
	struct log_check_result result;
	make_small_log(fixture, 12, &kept);
	read_layout(fixture, &layout);
	fixture_path(fixture, FIRST_SEGMENT, path);
	assert_works(log_check_directory(fixture->env, fixture->directory, &check, &result,
					 &fixture->err),
		     &fixture->err);
	for (uint64_t bit = 4096 * 8; bit < layout.offsets[12] * 8; bit += CHECK_STEP) {
		kept.segment.data[bit / 8] ^= (char)(1 << bit % 8);
		fixture_write(path, kept.segment.data, kept.segment.size);
		enum err_code code = log_check_directory(fixture->env, fixture->directory, &check,
							 &result, &fixture->err);
		assert_int_equal(code, ERR_CORRUPT);
		assert_non_null(strstr(fixture->err.message, "offset"));
		kept.segment.data[bit / 8] ^= (char)(1 << bit % 8);
	}
	forget(&kept);
}

static void test_damage_in_an_older_segment(void **state)
{
	struct fixture *fixture = *state;
	struct buf text = BUF_INIT(65536);
	char path[1024];
	fixture->options.check_all = true;
	fixture_start(fixture);
	fixture_append(fixture, 500, true);
	fixture_stop(fixture);
	fixture_path(fixture, FIRST_SEGMENT, path);
	FILE *file = fopen(path, "r+");
	fseek(file, 20000, SEEK_SET);
	fputc('!', file);
	fclose(file);
	assert_int_equal(fixture_open(fixture), ERR_CORRUPT);
	assert_non_null(strstr(fixture->err.message, FIRST_SEGMENT));
	/* Without the full check it starts, and the damage is found when it is read. */
	fixture->options.check_all = false;
	fixture_start(fixture);
	enum err_code code = ERR_OK;
	for (uint64_t index = 0; index < 100 && code == ERR_OK; index++) {
		buf_clear(&text);
		code = log_read_entry(fixture->log, index, &text, &fixture->err);
	}
	assert_int_equal(code, ERR_CORRUPT);
	assert_non_null(strstr(fixture->err.message, FIRST_SEGMENT));
	buf_release(&text);
}

static void test_a_missing_segment(void **state)
{
	struct fixture *fixture = *state;
	char path[1024];
	struct log_check check = {0};
	struct log_check_result result;
	fixture_start(fixture);
	fixture_append(fixture, 500, true);
	fixture_stop(fixture);
	fixture_path(fixture, FIRST_SEGMENT, path);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(fixture_open(fixture), ERR_CORRUPT);
	assert_int_equal(log_check_directory(fixture->env, fixture->directory, &check, &result,
					     &fixture->err),
			 ERR_CORRUPT);
}

static void test_an_old_copy_is_refused(void **state)
{
	struct fixture *fixture = *state;
	struct buf note = BUF_INIT(4096);
	struct checkpoint head;
	struct kept kept;
	make_small_log(fixture, 4, &kept);
	fixture_start(fixture);
	fixture_append(fixture, 1, true);
	fixture_checkpoint(fixture, &note, &head);
	fixture_stop(fixture);
	fixture->options.known_checkpoint = note.data;
	assert_works(fixture_open(fixture), &fixture->err);
	fixture_stop(fixture);

	/* Older than what was seen elsewhere. */
	restore(fixture, &kept);
	assert_int_equal(fixture_open(fixture), ERR_CORRUPT);
	assert_non_null(strstr(fixture->err.message, "old copy"));

	/* As long, with other records. */
	fixture->options.known_checkpoint = NULL;
	fixture_start(fixture);
	fixture_append(fixture, 1, false);
	fixture_append(fixture, 3, true);
	fixture_stop(fixture);
	fixture->options.known_checkpoint = note.data;
	assert_int_equal(fixture_open(fixture), ERR_CORRUPT);
	assert_non_null(strstr(fixture->err.message, "fork"));
	fixture->options.known_checkpoint = NULL;
	buf_release(&note);
	forget(&kept);
}

static void test_another_key_or_name_is_refused(void **state)
{
	struct fixture *fixture = *state;
	uint8_t seed[32] = {43};
	struct ed25519_private *other = ed25519_from_seed(seed);
	fixture_start(fixture);
	fixture_append(fixture, 2, true);
	fixture_stop(fixture);
	fixture->options.key = other;
	assert_int_equal(fixture_open(fixture), ERR_MISMATCH);
	fixture->options.key = fixture->key;
	fixture->options.origin = "elsewhere.example";
	assert_int_equal(fixture_open(fixture), ERR_MISMATCH);
	char path[1024];
	fixture_path(fixture, "checkpoint", path);
	unlink(path);
	assert_int_equal(fixture_open(fixture), ERR_MISMATCH);
	fixture->options.origin = "no names with spaces";
	assert_int_equal(fixture_open(fixture), ERR_INVALID);
	fixture->options.origin = FIXTURE_ORIGIN;
	assert_works(fixture_open(fixture), &fixture->err);
	ed25519_free(other);
}

static void test_a_second_process_is_locked_out(void **state)
{
	struct fixture *fixture = *state;
	struct fixture second = *fixture;
	fixture_start(fixture);
	fixture_append(fixture, 1, true);
	assert_int_equal(fixture_open(&second), ERR_LOCKED);
	fixture_append(fixture, 1, true);
	assert_int_equal(size_of_log(fixture), 4);
}

/* ---- writes and syncs that fail ---- */

static void submit_until_fatal(struct fixture *fixture)
{
	assert_true(log_reserve(fixture->log, 2));
	fixture_submit(fixture, RECORD_ADMIT, LOG_NO_INDEX);
	fixture_submit(fixture, RECORD_ADMIT, LOG_NO_INDEX);
	fixture_wait(fixture);
}

static void expect_end(struct fixture *fixture)
{
	assert_int_equal(fixture->fatal, 1);
	assert_int_equal(fixture->waiting, 2); /* nothing was acknowledged */
	assert_false(log_reserve(fixture->log, 1));
	assert_false(log_reserve_refusal(fixture->log, 1));
	/* The borrowed entries are the caller's again when the log is gone. */
	fixture_halt(fixture);
	struct log_entry *entry = fixture->producer.first;
	log_producer_close(&fixture->producer);
	assert_int_not_equal(log_close(fixture->log, &fixture->err), ERR_OK);
	fixture->log = NULL;
	while (entry) {
		struct log_entry *next = entry->next_own;
		free(entry);
		entry = next;
	}
	env_loop_free(fixture->loop);
	env_loop_free(fixture->log_loop);
	fixture->loop = fixture->log_loop = NULL;
	fixture->waiting = fixture->fatal = 0;
	fixture_no_faults();
}

static void expect_restart(struct fixture *fixture)
{
	struct log_check check = {0};
	struct log_check_result result;
	fixture_start(fixture);
	fixture_append(fixture, 2, true);
	fixture_stop(fixture);
	assert_works(log_check_directory(fixture->env, fixture->directory, &check, &result,
					 &fixture->err),
		     &fixture->err);
	assert_true(result.records >= 6);
	assert_int_equal(result.covered, result.records);
}

static void test_nothing_is_acknowledged_after_a_failed_sync(void **state)
{
	struct fixture *fixture = *state;
	fixture_start(fixture);
	fixture_append(fixture, 1, true);
	fixture_no_faults();
	fixture_faults.fail_sync_at = 1;
	submit_until_fatal(fixture);
	expect_end(fixture);
	expect_restart(fixture);
}

static void test_nothing_is_acknowledged_after_a_failed_write(void **state)
{
	struct fixture *fixture = *state;
	fixture_start(fixture);
	fixture_append(fixture, 1, true);
	fixture_no_faults();
	fixture_faults.fail_write_at = 1;
	submit_until_fatal(fixture);
	expect_end(fixture);
	expect_restart(fixture);
}

/* Every write and sync of opening a log fails in turn: it is an error, and the next open works. */
static void test_opening_with_failing_files(void **state)
{
	struct fixture *fixture = *state;
	fixture_start(fixture);
	fixture_append(fixture, 100, true);
	fixture_append(fixture, 2, false);
	fixture_stop(fixture);
	for (unsigned kind = 0; kind < 2; kind++) {
		for (unsigned at = 1;; at++) {
			fixture_no_faults();
			_Atomic unsigned *fault =
				kind ? &fixture_faults.fail_sync_at : &fixture_faults.fail_write_at;
			*fault = at;
			enum err_code code = fixture_open(fixture);
			unsigned calls = kind ? fixture_faults.syncs : fixture_faults.writes;
			fixture_no_faults();
			if (code == ERR_OK) {
				fixture_stop(fixture);
				if (calls < at)
					break;
			}
		}
	}
	expect_restart(fixture);
}

/* ---- a full disk ---- */

static void test_a_full_disk_refuses_and_comes_back(void **state)
{
	struct fixture *fixture = *state;
	struct log_stats stats;
	struct log_check check = {0};
	struct log_check_result result;
	unsigned admitted = 0;
	fixture_start(fixture);
	fixture_append(fixture, 1, true);
	fixture_faults.limited = true;
	fixture_faults.space = 0;
	while (log_reserve(fixture->log, 2)) {
		uint64_t admit = fixture_submit(fixture, RECORD_ADMIT, LOG_NO_INDEX);
		fixture_submit(fixture, RECORD_SETTLE, admit);
		fixture_wait(fixture);
		assert_true(++admitted < 10000);
	}
	assert_true(admitted > 10);
	/* The refusal itself can be recorded. */
	assert_true(log_reserve_refusal(fixture->log, 1));
	uint64_t refusal = fixture_submit(fixture, RECORD_REFUSE, LOG_NO_INDEX);
	fixture_wait(fixture);
	assert_int_equal(size_of_log(fixture), refusal + 1);
	for (unsigned i = 0; i < 2000; i++) {
		log_get_stats(fixture->log, &stats);
		if (stats.no_space)
			break;
		usleep(1000);
	}
	assert_true(stats.no_space);
	assert_false(stats.failed);
	assert_int_equal(fixture->fatal, 0);

	/* Space returns: no restart, no gap. */
	fixture_faults.limited = false;
	unsigned tries = 0;
	while (!log_reserve(fixture->log, 2)) {
		assert_true(++tries < 5000);
		usleep(1000);
	}
	log_unreserve(fixture->log, 2);
	fixture_append(fixture, 100, true);
	fixture_stop(fixture);
	assert_works(log_check_directory(fixture->env, fixture->directory, &check, &result,
					 &fixture->err),
		     &fixture->err);
	assert_int_equal(result.records, 2 + 2 * admitted + 1 + 200);
}

/* Segments that are prepared, or being prepared. */
static int64_t count_spares(struct fixture *fixture)
{
	char path[1024];
	int64_t count = 0;
	fixture_path(fixture, "segments", path);
	DIR *directory = opendir(path);
	assert_non_null(directory);
	for (struct dirent *entry; (entry = readdir(directory));)
		count += strncmp(entry->d_name, "spare.", 6) == 0;
	closedir(directory);
	return count;
}

/* However much is reserved and used, room is neither lost nor made: when nothing is reserved it is
 * that of the spares and of the rest of the present segment, which may have used more than its
 * share by one record. */
static void test_room_is_conserved(void **state)
{
	struct fixture *fixture = *state;
	struct log_stats stats;
	fixture_start(fixture);
	fixture_append(fixture, 500, true);
	fixture_stop(fixture);
	fixture_start(fixture);
	fixture_append(fixture, 500, true);
	for (unsigned i = 0; i < 2000; i++) {
		log_get_stats(fixture->log, &stats);
		int64_t segment = (64 << 10) - 4096 - 32 - RECORD_SIZE_MAX;
		int64_t spares = count_spares(fixture);
		if (stats.room >= spares * segment - RECORD_SIZE_MAX &&
		    stats.room <= (spares + 1) * segment && stats.room >= segment)
			return;
		usleep(1000);
	}
	fail_msg("room is %lld", (long long)stats.room);
}

/* ---- killed ---- */

/* A child appends and reports every acknowledged count through a pipe until it is killed. */
static void child(struct fixture *fixture, int out)
{
	fixture_start(fixture);
	for (uint64_t count = size_of_log(fixture);;) {
		unsigned more = 1 + (unsigned)(count % 7);
		fixture_append(fixture, more, true);
		count += 2 * more;
		if (write(out, &count, sizeof(count)) != sizeof(count))
			_exit(1);
	}
}

static void test_killed_again_and_again(void **state)
{
	struct fixture *fixture = *state;
	uint64_t acknowledged = 0;
	fixture_start(fixture);
	fixture_stop(fixture);
	for (unsigned round = 0; round < 30; round++) {
		int ends[2];
		assert_int_equal(pipe(ends), 0);
		pid_t pid = fork();
		if (pid == 0) {
			close(ends[0]);
			child(fixture, ends[1]);
		}
		close(ends[1]);
		usleep(2000 + 977 * round);
		kill(pid, SIGKILL);
		assert_int_equal(waitpid(pid, NULL, 0), pid);
		uint64_t count;
		while (read(ends[0], &count, sizeof(count)) == sizeof(count))
			acknowledged = count;
		close(ends[0]);
		assert_works(fixture_open(fixture), &fixture->err);
		assert_true(size_of_log(fixture) >= acknowledged);
		fixture_stop(fixture);
	}
	struct log_check check = {0};
	struct log_check_result result;
	assert_works(log_check_directory(fixture->env, fixture->directory, &check, &result,
					 &fixture->err),
		     &fixture->err);
	assert_int_equal(result.covered, result.records);
}

/* A spare that had its header but not yet its name; a name without a record. */
static void test_killed_while_rotating(void **state)
{
	struct fixture *fixture = *state;
	char path[1024];
	struct buf bytes = BUF_INIT(1 << 20);
	fixture_start(fixture);
	fixture_append(fixture, 300, true);
	fixture_stop(fixture);
	fixture_path(fixture, FIRST_SEGMENT, path);
	fixture_read(path, &bytes);
	fixture_path(fixture, "segments/spare.9", path);
	fixture_write(path, bytes.data, 65536);
	fixture_start(fixture);
	assert_int_equal(size_of_log(fixture), 600);
	assert_int_not_equal(access(path, F_OK), 0);
	fixture_append(fixture, 300, true);
	assert_int_equal(size_of_log(fixture), 1200);
	buf_release(&bytes);
}

/* ---- marks ---- */

static void copy_tree(struct fixture *fixture, const char *from, const char *to)
{
	char command[6000], source[1024], target[1024];
	fixture_path(fixture, from, source);
	fixture_path(fixture, to, target);
	snprintf(
		command, sizeof(command),
		"rm -rf '%s/segments' '%s/checkpoint' && cp -r '%s/segments' '%s/checkpoint' '%s/'",
		target, target, source, source, target);
	assert_int_equal(system(command), 0);
}

/* The log's folder put back from an older copy, the mark not: nothing is signed, whatever the copy
 * says of itself. */
static void test_an_older_copy_beside_its_mark(void **state)
{
	struct fixture *fixture = *state;
	char mark[1024], older[1024];
	fixture_path(fixture, "signed.mark", mark);
	fixture_path(fixture, "older", older);
	assert_int_equal(mkdir(older, 0700), 0);
	fixture->options.mark = mark;
	fixture_start(fixture);
	fixture_append(fixture, 5, true);
	fixture_stop(fixture);
	copy_tree(fixture, ".", "older");
	fixture_start(fixture);
	fixture_append(fixture, 1, true);
	fixture_stop(fixture);
	copy_tree(fixture, "older", ".");
	assert_int_equal(fixture_open(fixture), ERR_CORRUPT);
	assert_non_null(strstr(fixture->err.message, "signed.mark"));
	assert_non_null(strstr(fixture->err.message, "covers 12 records"));
	assert_non_null(strstr(fixture->err.message, "only 10"));
	/* Without the mark it would go on, and fork. */
	fixture->options.mark = NULL;
	fixture_start(fixture);
	fixture_append(fixture, 4, false); /* other records than those that are lost */
	fixture_stop(fixture);
	fixture->options.mark = mark;
	assert_int_equal(fixture_open(fixture), ERR_CORRUPT);
	assert_non_null(strstr(fixture->err.message, "fork"));
}

/* A log of before there were marks gets one; one of two torn slots is enough; none is told. */
static void test_a_mark_survives_a_torn_slot(void **state)
{
	struct fixture *fixture = *state;
	char path[1024];
	struct buf mark = BUF_INIT(1 << 20);
	fixture_start(fixture);
	fixture_append(fixture, 3, true);
	fixture_stop(fixture);
	fixture_path(fixture, "signed.mark", path);
	fixture->options.mark = path;
	fixture_start(fixture);
	fixture_append(fixture, 3, true);
	fixture_stop(fixture);
	fixture_read(path, &mark);
	size_t slot = mark.size / 2;
	for (unsigned i = 0; i < 2; i++) {
		mark.data[i * slot + 40] ^= 1;
		fixture_write(path, mark.data, mark.size);
		assert_works(fixture_open(fixture), &fixture->err);
		fixture_stop(fixture);
		mark.data[i * slot + 40] ^= 1;
	}
	mark.data[40] ^= 1;
	mark.data[slot + 40] ^= 1;
	fixture_write(path, mark.data, mark.size);
	assert_int_equal(fixture_open(fixture), ERR_CORRUPT);
	assert_non_null(strstr(fixture->err.message, "signed.mark"));
	buf_release(&mark);
}

/* The first mark of all was being written when the power went: nobody has seen what it would have
 * said. One that was whole and is not any more is another thing. */
static void test_the_first_mark_torn(void **state)
{
	struct fixture *fixture = *state;
	char path[1024], command[2100];
	struct buf mark = BUF_INIT(1 << 20);
	fixture_path(fixture, "signed.mark", path);
	fixture->options.mark = path;
	fixture_start(fixture);
	fixture_append(fixture, 1, true);
	fixture_stop(fixture);
	fixture_read(path, &mark);
	size_t half = mark.size / 2;
	char *first = mark.data + half;
	memset(mark.data, 0, half);
	size_t whole = 32 + bytes_load_number(first + 24, 8);
	char *kept = malloc(whole);
	assert_non_null(kept);
	memcpy(kept, first, whole);
	snprintf(command, sizeof(command), "rm -rf '%s/segments' '%s/checkpoint' '%s/tile'",
		 fixture->directory, fixture->directory, fixture->directory);
	for (size_t cut = 0; cut <= whole; cut += cut + 7 < whole ? 7 : 1) {
		memset(first, 0, half);
		memcpy(first, kept, cut);
		assert_int_equal(system(command), 0);
		fixture_write(path, mark.data, mark.size);
		assert_works(fixture_open(fixture), &fixture->err);
		fixture_stop(fixture);
	}
	memcpy(first, kept, whole);
	first[100] ^= 1;
	fixture_write(path, mark.data, mark.size);
	assert_int_equal(fixture_open(fixture), ERR_CORRUPT);
	assert_non_null(strstr(fixture->err.message, "neither copy"));
	free(kept);
	buf_release(&mark);
}

static void test_a_mark_of_another_log(void **state)
{
	struct fixture *fixture = *state;
	char path[1024];
	fixture_path(fixture, "signed.mark", path);
	fixture->options.mark = path;
	fixture_start(fixture);
	fixture_append(fixture, 3, true);
	fixture_stop(fixture);
	char command[2100];
	snprintf(command, sizeof(command), "rm -rf '%s/segments' '%s/checkpoint'",
		 fixture->directory, fixture->directory);
	assert_int_equal(system(command), 0);
	fixture->options.origin = "south.example/parley";
	assert_int_equal(fixture_open(fixture), ERR_MISMATCH);
	assert_non_null(strstr(fixture->err.message, "south.example/parley"));
	/* And an empty log beside its own mark is a lost one. */
	fixture->options.origin = FIXTURE_ORIGIN;
	assert_int_equal(fixture_open(fixture), ERR_CORRUPT);
	assert_non_null(strstr(fixture->err.message, "only 0"));
}

#define WITH_LOG(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_LOG(test_cut_at_every_byte),
		WITH_LOG(test_every_bit_flipped),
		WITH_LOG(test_checking_finds_every_bit),
		WITH_LOG(test_damage_in_an_older_segment),
		WITH_LOG(test_a_missing_segment),
		WITH_LOG(test_an_old_copy_is_refused),
		WITH_LOG(test_another_key_or_name_is_refused),
		WITH_LOG(test_a_second_process_is_locked_out),
		WITH_LOG(test_nothing_is_acknowledged_after_a_failed_sync),
		WITH_LOG(test_nothing_is_acknowledged_after_a_failed_write),
		WITH_LOG(test_opening_with_failing_files),
		WITH_LOG(test_a_full_disk_refuses_and_comes_back),
		WITH_LOG(test_room_is_conserved),
		WITH_LOG(test_killed_again_and_again),
		WITH_LOG(test_killed_while_rotating),
		WITH_LOG(test_an_older_copy_beside_its_mark),
		WITH_LOG(test_a_mark_survives_a_torn_slot),
		WITH_LOG(test_the_first_mark_torn),
		WITH_LOG(test_a_mark_of_another_log),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
