/* Every call that changes files, made while a log appends, commits, goes over to new segments and
 * writes marks, checkpoints and tiles, fails in turn: once with an I/O error, once with a full disk
 * and once after a part of a write; and the disk is full from that call on for a while. What was
 * acknowledged is there afterwards, also when the power goes, and the log opens again. The same for
 * a relaxed log, and for the calls that keep what witnesses have cosigned.
 *
 * This is in the simulated world, where the same calls come in the same order every time and a
 * failed sync loses what it did not write. Short writes that are carried on with are of the
 * machine: the last test. */
#include "check.h"

#include "base/crc32c.h"
#include "base/sanitized.h"
#include "env/env_sim.h"
#include "ledger/log.h"
#include "ledger/log_read.h"
#include "ledger/segment.h"
#include <stdlib.h>

/* Where each run takes ten times as long; an odd step, for ends and kinds differ by the number. */
#define STEP (SANITIZED ? 11 : 1)
#define SECOND UINT64_C(1000000000)
#define RECORDS 320
#define MORE 24
#define BURST 10
#define CHECKPOINT_EVERY 60
#define TICK_NS UINT64_C(5000000)
#define TEXT_SIZE 420
#define OPEN_FILES 64
#define DIRECTORY "/data/log"
#define SEGMENTS DIRECTORY "/segments"
#define MARK "/data/marks/log.mark"

/* What a node that has died would have freed is lost with it. */
void __lsan_disable(void) __attribute__((weak));
void __lsan_enable(void) __attribute__((weak));

enum sort { STRICT, RELAXED, WITH_COSIGNATURES };
enum kind { IO_ERROR, NO_SPACE, PART_WRITTEN, FULL, FULL_AND_LOST, KINDS };

/* What a call is about, and what its failure must lead to. */
enum about { OTHER, SEGMENT, NAMING, SPARE, KEPT_MARK, CHECKPOINT, TILE, COSIGNED, ABOUTS };
static const char *const about_names[ABOUTS] = {"other", "segment",    "naming", "spare",
						"mark",  "checkpoint", "tile",   "cosigned"};
static const char cosignature[] = "\xe2\x80\x94 south.example/w c291dGhlcm4gc2lnbmF0dXJl\n";

struct open_file {
	struct env_file *file;
	enum about about;
	char path[128];
};

struct item {
	struct log_entry entry;
	struct item *next;
	char text[TEXT_SIZE];
};

/* One world at a time; env calls have no argument of the test's own. */
static struct world {
	struct sim_world *sim;
	struct env *node;
	struct env_ops ops;
	const struct env_ops *real;
	struct open_file files[OPEN_FILES];

	enum kind kind;
	bool armed;        /* calls are counted */
	unsigned calls;    /* since then */
	unsigned fail_at;  /* this call */
	bool full;         /* from then on */
	enum about failed; /* what it was about */
	bool failed_sync, injected;
	bool making;             /* a directory: only tiles need further ones while a log runs */
	uint64_t failed_records; /* how many were durable then */

	bool relaxed;
	bool cosigns;   /* each checkpoint; only the calls for that are counted and fail */
	bool cosigning; /* just now */
	struct ed25519_private *key;
	struct env_loop *log_loop, *loop;
	struct log *log;
	struct log_producer producer;
	struct env_timer timer;
	struct item *items;
	uint32_t acknowledged[RECORDS + 2 * MORE]; /* by index: CRC of the text; 0: not */
	unsigned submitted, wanted;
	bool fatal;
	uint64_t end;  /* behind the last acknowledged record */
	uint64_t seen; /* the largest checkpoint that a reader was given */
	uint64_t cosigned;
} * world;

static unsigned covered[ABOUTS][KINDS], refusals;

/* ---- the disk ---- */

static enum about about_path(const char *path)
{
	if (world->cosigning)
		return COSIGNED;
	if (strncmp(path, SEGMENTS "/spare.", strlen(SEGMENTS "/spare.")) == 0)
		return SPARE;
	if (strcmp(path, SEGMENTS) == 0)
		return NAMING;
	if (strncmp(path, SEGMENTS "/", strlen(SEGMENTS "/")) == 0)
		return SEGMENT;
	if (strcmp(path, MARK) == 0)
		return KEPT_MARK;
	if (strncmp(path, DIRECTORY "/tile", strlen(DIRECTORY "/tile")) == 0)
		return TILE;
	if (strcmp(path, DIRECTORY) == 0 ||
	    strncmp(path, DIRECTORY "/checkpoint", strlen(DIRECTORY "/checkpoint")) == 0)
		return CHECKPOINT;
	return OTHER;
}

static struct open_file *find_file(const struct env_file *file)
{
	for (unsigned i = 0; i < OPEN_FILES; i++)
		if (world->files[i].file == file)
			return &world->files[i];
	fail_msg("more files are open than the test knows of");
	return NULL;
}

/* Whether this call fails, which the caller then sees to. */
static bool fails(enum about about, bool is_sync, bool is_write, bool grows)
{
	struct log_stats stats = {0};
	if (!world->armed || sim_is_down(world->node))
		return false;
	if (world->cosigns && about != COSIGNED)
		return world->full && grows;
	if (++world->calls != world->fail_at)
		return world->full && grows;
	if (world->kind == PART_WRITTEN && !is_write)
		return false;
	if (world->kind >= FULL)
		world->full = true;
	if (world->kind >= FULL && !grows)
		return false;
	if (world->log)
		log_get_stats(world->log, &stats);
	world->failed = about;
	world->failed_sync = is_sync;
	world->failed_records = stats.records;
	world->injected = true;
	covered[about][world->kind]++;
	return true;
}

static enum err_code failure(struct err *err)
{
	bool space = world->kind != IO_ERROR && world->kind != PART_WRITTEN;
	return ERR_SET(err, space ? ERR_NO_SPACE : ERR_ENVIRONMENT, "an injected %s",
		       space ? "full disk" : "error");
}

static enum err_code open_it(struct env *env, const char *path, unsigned flags,
			     struct env_file **out, struct err *err)
{
	*out = NULL;
	if ((flags & ENV_OPEN_CREATE) && fails(about_path(path), false, false, true))
		return failure(err);
	enum err_code code = world->real->file_open(env, path, flags, out, err);
	if (code != ERR_OK)
		return code;
	struct open_file *place = find_file(NULL);
	place->file = *out;
	place->about = about_path(path);
	snprintf(place->path, sizeof(place->path), "%s", path);
	return ERR_OK;
}

static void close_it(struct env_file *file)
{
	find_file(file)->file = NULL;
	world->real->file_close(file);
}

/* A spare's header is the first step of its becoming a segment. */
static enum err_code write_it(struct env_file *file, uint64_t offset, const void *data, size_t size,
			      struct err *err)
{
	struct open_file *place = find_file(file);
	if (place->about == SPARE && size == SEGMENT_HEADER_SIZE)
		place->about = NAMING;
	/* What was written before takes no room; a mark does where files are never overwritten. */
	bool grows = place->about != SEGMENT && place->about != NAMING;
	if (!fails(place->about, false, true, grows))
		return world->real->file_write(file, offset, data, size, err);
	if (world->kind != IO_ERROR)
		world->real->file_write(file, offset, data,
					world->fail_at % 2 ? size / 2 : size / 60, err);
	return failure(err);
}

/* What a sync that fails has not written is lost, though it is still read. */
static enum err_code sync_it(struct env_file *file, struct err *err)
{
	struct sim_faults faults = sim_faults_none();
	if (!fails(find_file(file)->about, true, false, false))
		return world->real->file_sync(file, err);
	faults.sync_error = SIM_CERTAIN;
	sim_set_faults(world->sim, &faults);
	assert_int_not_equal(world->real->file_sync(file, err), ERR_OK);
	faults.sync_error = 0;
	sim_set_faults(world->sim, &faults);
	return failure(err);
}

static enum err_code truncate_it(struct env_file *file, uint64_t size, struct err *err)
{
	return fails(find_file(file)->about, false, false, false)
		       ? failure(err)
		       : world->real->file_truncate(file, size, err);
}

static enum err_code rename_it(struct env *env, const char *from, const char *to, struct err *err)
{
	enum about about = about_path(to) == SEGMENT ? NAMING : about_path(to);
	if (fails(about, false, false, false))
		return failure(err);
	enum err_code code = world->real->rename(env, from, to, err);
	for (unsigned i = 0; code == ERR_OK && i < OPEN_FILES; i++)
		if (world->files[i].file && strcmp(world->files[i].path, from) == 0)
			world->files[i].about = about_path(to);
	return code;
}

static enum err_code unlink_it(struct env *env, const char *path, struct err *err)
{
	return fails(about_path(path), false, false, false) ? failure(err)
							    : world->real->unlink(env, path, err);
}

static enum err_code make_it(struct env *env, const char *path, struct err *err)
{
	world->making = true;
	return fails(TILE, false, false, true) ? failure(err)
					       : world->real->make_directory(env, path, err);
}

static enum err_code sync_names(struct env *env, const char *path, struct err *err)
{
	enum about about = world->making ? TILE : about_path(path);
	world->making = false;
	return fails(about, true, false, false) ? failure(err)
						: world->real->sync_directory(env, path, err);
}

static enum err_code set_mode(struct env *env, const char *path, unsigned mode, struct err *err)
{
	return fails(about_path(path), false, false, false)
		       ? failure(err)
		       : world->real->chmod(env, path, mode, err);
}

/* ---- appending ---- */

static void on_durable(struct log_entry *entry)
{
	struct item *item = (struct item *)entry;
	assert_int_equal(entry->index, world->end);
	world->acknowledged[entry->index] = crc32c(0, item->text, entry->size) | 1;
	world->end = entry->index + 1;
}

static void submit(void)
{
	struct item *item = calloc(1, sizeof(*item));
	assert_non_null(item);
	uint64_t index = log_take_index(world->log);
	assert_true(index < RECORDS + 2 * MORE);
	size_t size = TEXT_SIZE - 2 - (size_t)(index * 37 % 200);
	int start = snprintf(item->text, sizeof(item->text), "{\"act\":\"%llu/%u\",\"reason\":\"",
			     (unsigned long long)index, world->fail_at);
	memset(item->text + start, 'a' + (int)(index % 26), size - (size_t)start);
	memcpy(item->text + size, "\"}", 2);
	item->next = world->items;
	world->items = item;
	item->entry = (struct log_entry){.index = index,
					 .admit_index = LOG_NO_INDEX,
					 .kind = RECORD_ACT,
					 .units = 1,
					 .text = item->text,
					 .size = size + 2,
					 .durable = on_durable};
	log_submit(&world->producer, &item->entry);
	world->submitted++;
}

/* Readers have it, whether the file can be written or not. */
static void cosign(void)
{
	struct checkpoint head;
	struct buf note = BUF_INIT(NOTE_SIZE_MAX);
	struct err err = ERR_INIT;
	assert_works(log_latest_checkpoint(world->log, &head, &note, &err), &err);
	buf_append_cstr(&note, cosignature);
	bool failed_before = world->injected;
	world->cosigning = true;
	enum err_code code =
		log_set_cosigned(world->log, buf_bytes(&note), sim_now(world->sim), &err);
	world->cosigning = false;
	buf_release(&note);
	if (code != ERR_OK && failed_before && !world->full)
		fail_msg("a cosigned checkpoint cannot be kept any more: %s", err.message);
	assert_int_equal(log_cosigned_size(world->log), head.size);
	world->cosigned = head.size;
}

static void look_at_checkpoint(void)
{
	struct log_stats stats;
	log_get_stats(world->log, &stats);
	assert_true(stats.checkpoint >= world->seen);
	world->seen = stats.checkpoint;
	if (world->cosigns && world->seen > world->cosigned)
		cosign();
}

static void tick(struct env_timer *timer)
{
	unsigned before = world->submitted;
	for (unsigned i = 0; i < BURST && world->submitted < world->wanted; i++) {
		bool reserved = log_reserve(world->log, 1);
		if (world->fatal)
			assert_false(reserved || log_reserve_refusal(world->log, 1));
		refusals += !reserved && world->full;
		if (!reserved)
			break;
		submit();
	}
	log_producer_turn(&world->producer, true);
	look_at_checkpoint();
	if (world->submitted / CHECKPOINT_EVERY != before / CHECKPOINT_EVERY)
		log_checkpoint_now(world->log);
	env_timer_arm(world->loop, timer, world->loop->now_ns + TICK_NS);
}

static void on_fatal(void *argument, const struct err *err)
{
	(void)argument;
	(void)err;
	assert_false(world->fatal);
	world->fatal = true;
}

/* ---- a life of the process ---- */

static void begin_life(unsigned records)
{
	struct err err = ERR_INIT;
	struct log_options options = {.directory = DIRECTORY,
				      .origin = "sim.example/parley",
				      .key = world->key,
				      .secret = "a secret of thirty-two bytes....",
				      .segment_size = LOG_SEGMENT_SIZE_MIN,
				      .mark = MARK,
				      .relaxed = world->relaxed,
				      .fatal = on_fatal};
	assert_works(env_make_directories(world->node, "/data/marks", &err), &err);
	world->log_loop = env_loop_new(world->node, "log", true);
	world->loop = env_loop_new(world->node, "producer", false);
	assert_works(log_open(world->node, world->log_loop, &options, &world->log, &err), &err);
	log_producer_init(&world->producer, world->log, world->loop);
	assert_works(env_loop_start(world->log_loop, -1, &err), &err);
	assert_works(env_loop_start(world->loop, -1, &err), &err);
	world->fatal = false;
	world->submitted = 0;
	world->wanted = records;
	assert_true(env_timer_arm(world->loop, &world->timer, sim_now(world->sim) + 1));
}

static void release_life(void)
{
	struct err err = ERR_INIT;
	env_timer_disarm(world->loop, &world->timer);
	log_producer_close(&world->producer);
	enum err_code code = log_close(world->log, &err);
	if (!sim_is_down(world->node) && (code == ERR_OK) == world->fatal)
		fail_msg("closing after %s: %s", world->fatal ? "a failure" : "all was well",
			 code == ERR_OK ? "no error" : err.message);
	world->log = NULL;
	env_loop_free(world->loop);
	env_loop_free(world->log_loop);
	while (world->items) {
		struct item *next = world->items->next;
		free(world->items);
		world->items = next;
	}
}

static void stop_life(void)
{
	env_loop_stop(world->loop);
	env_loop_stop(world->log_loop);
	env_loop_join(world->loop);
	env_loop_join(world->log_loop);
	release_life();
}

static void crash_life(enum sim_crash_kind kind)
{
	sim_crash(world->node, kind);
	release_life();
	memset(world->files, 0, sizeof(world->files));
	sim_restart(world->node);
}

static bool is_done(void *argument)
{
	struct log_stats stats;
	(void)argument;
	log_get_stats(world->log, &stats);
	return world->fatal || (world->submitted == world->wanted && stats.waiting == 0 &&
				world->end == stats.records && stats.checkpoint == stats.records);
}

/* ---- what must hold ---- */

static enum err_code check_record(void *argument, const struct log_read_entry *entry,
				  struct err *err)
{
	const uint32_t *acknowledged = argument;
	uint32_t crc = crc32c(0, entry->text.data, entry->text.size) | 1;
	(void)err;
	assert_true(entry->index < RECORDS + 2 * MORE);
	if (acknowledged[entry->index])
		assert_int_equal(acknowledged[entry->index], crc);
	return ERR_OK;
}

/* As a verifier reads it. Records of a relaxed log may go with the power where no checkpoint covers
 * them. */
static void check_log(bool power_lost)
{
	struct log_check check = {.each = check_record, .argument = world->acknowledged};
	struct log_check_result result;
	struct err err = ERR_INIT;
	assert_works(log_check_directory(world->node, DIRECTORY, &check, &result, &err), &err);
	uint64_t end = world->relaxed && power_lost ? world->seen : world->end;
	assert_true(result.records >= end && result.records >= world->seen);
	assert_int_equal(result.covered, result.records);
	world->end = result.records;
	memset(world->acknowledged + result.records, 0,
	       sizeof(world->acknowledged) - result.records * sizeof(*world->acknowledged));
}

/* What is left of cosigned checkpoints was whole, and given to readers. */
static void check_cosigned(void)
{
	assert_true(log_cosigned_size(world->log) <= world->cosigned);
	if (world->cosigned > 0 && !world->injected)
		assert_int_equal(log_cosigned_size(world->log), world->cosigned);
	world->cosigned = log_cosigned_size(world->log);
}

/* A failed write or sync of records ends the log, whatever the error, and so does one of what is
 * signed, unless only room was short; spares and tiles can be made anew. */
static void check_outcome(void)
{
	bool space = world->kind == NO_SPACE || world->kind >= FULL;
	bool ends = world->failed == SEGMENT || world->failed == NAMING ||
		    ((world->failed == CHECKPOINT || world->failed == KEPT_MARK) &&
		     (!space || (world->failed_sync && world->failed == KEPT_MARK)));
	assert_int_not_equal(world->failed, OTHER);
	if (ends != world->fatal)
		fail_msg("a failed %s of %s %s the log",
			 world->failed_sync ? "sync" : "write, size or name",
			 about_names[world->failed], world->fatal ? "ended" : "did not end");
	if (ends)
		assert_true(world->end <= world->failed_records);
	else if (world->kind != FULL_AND_LOST)
		assert_true(world->end >= RECORDS);
}

/* From the first record on, with this call failing. False when there was no such call. */
static bool append(enum kind kind, unsigned fail_at, enum sort sort)
{
	struct world this = {.kind = kind,
			     .fail_at = fail_at,
			     .relaxed = sort == RELAXED,
			     .cosigns = sort == WITH_COSIGNATURES};
	struct sim_faults none = sim_faults_none();
	uint8_t seed[32] = {7};
	world = &this;
	this.sim = sim_world_new(1, &none);
	this.node = sim_node_new(this.sim, "log");
	this.key = ed25519_from_seed(seed);
	this.timer.fire = tick;
	this.real = this.node->ops;
	this.ops = *this.real;
	this.ops.file_open = open_it;
	this.ops.file_close = close_it;
	this.ops.file_write = write_it;
	this.ops.file_sync = sync_it;
	this.ops.file_truncate = truncate_it;
	this.ops.rename = rename_it;
	this.ops.unlink = unlink_it;
	this.ops.make_directory = make_it;
	this.ops.sync_directory = sync_names;
	this.ops.chmod = set_mode;
	this.node->ops = &this.ops;

	begin_life(RECORDS);
	this.armed = true;
	/* A full disk: refused, and everything comes in once there is room. */
	uint64_t until = sim_now(this.sim) + 2 * SECOND;
	bool done = sim_run_until(this.sim, until, is_done, NULL);
	if (this.full && kind == FULL && !this.fatal) {
		this.full = false;
		done = sim_run_until(this.sim, until + 10 * SECOND, is_done, NULL);
	}
	assert_true(done || this.full);
	/* Tiles are written when it is quiet; after a failure nothing comes. */
	sim_run(this.sim, sim_now(this.sim) + SECOND / 4);
	this.armed = false;
	bool reached = this.calls >= fail_at;
	if (this.injected)
		check_outcome();
	bool lost = kind == FULL_AND_LOST || fail_at % 3 == 0;
	if (lost)
		crash_life(SIM_POWER_LOST);
	else if (fail_at % 3 == 1)
		crash_life(SIM_KILLED);
	else
		stop_life();

	this.full = false;
	begin_life(MORE);
	check_cosigned();
	check_log(lost);
	assert_true(sim_run_until(this.sim, SIM_NEVER, is_done, NULL));
	assert_false(this.fatal);
	stop_life();
	check_log(false);
	sim_world_free(this.sim);
	ed25519_free(this.key);
	return reached;
}

static void fail_each(enum kind kind, enum sort sort)
{
	unsigned at = 1;
	if (__lsan_disable)
		__lsan_disable();
	while (append(kind, at, sort)) {
		at += STEP;
		assert_true(at < 5000);
	}
	if (__lsan_enable)
		__lsan_enable();
	print_message("%u calls\n", at - 1);
}

static void test_an_error_at_each_call(void **state)
{
	(void)state;
	fail_each(IO_ERROR, STRICT);
}

static void test_no_space_at_each_call(void **state)
{
	(void)state;
	fail_each(NO_SPACE, STRICT);
}

static void test_each_write_breaks_off(void **state)
{
	(void)state;
	fail_each(PART_WRITTEN, STRICT);
}

static void test_full_from_each_call_on(void **state)
{
	(void)state;
	fail_each(FULL, STRICT);
	assert_true(refusals > 0);
}

static void test_the_power_goes_while_full(void **state)
{
	(void)state;
	fail_each(FULL_AND_LOST, STRICT);
}

static void test_relaxed(void **state)
{
	(void)state;
	for (enum kind kind = 0; kind < KINDS; kind++)
		fail_each(kind, RELAXED);
}

static void test_cosigned(void **state)
{
	(void)state;
	for (enum kind kind = 0; kind < KINDS; kind++)
		fail_each(kind, WITH_COSIGNATURES);
}

/* The calls above were of every sort, or they prove less than they say. */
static void test_all_sorts_were_met(void **state)
{
	(void)state;
	for (enum about about = SEGMENT; about < ABOUTS; about++) {
		const unsigned *counts = covered[about];
		bool grows = about >= SPARE;
		print_message("%s:", about_names[about]);
		for (enum kind kind = 0; kind < KINDS; kind++)
			print_message(" %u", counts[kind]);
		print_message("\n");
		if (STEP > 1)
			continue;
		assert_true(counts[IO_ERROR] > 0 && counts[NO_SPACE] > 0 &&
			    counts[PART_WRITTEN] > 0);
		assert_true((counts[FULL] > 0) == grows && (counts[FULL_AND_LOST] > 0) == grows);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_an_error_at_each_call),
		cmocka_unit_test(test_no_space_at_each_call),
		cmocka_unit_test(test_each_write_breaks_off),
		cmocka_unit_test(test_full_from_each_call_on),
		cmocka_unit_test(test_the_power_goes_while_full),
		cmocka_unit_test(test_relaxed),
		cmocka_unit_test(test_cosigned),
		cmocka_unit_test(test_all_sorts_were_met),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
