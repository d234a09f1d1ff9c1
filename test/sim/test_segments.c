/* The real log on a disk that loses, tears and reorders what was not synced: records are appended,
 * segments fill up and are sealed, and the power goes again and again, at any disk call.
 *
 * Safety: after every crash the log opens, what was acknowledged is in it, byte for byte, and so is
 * the tree of the newest checkpoint that anybody has seen. Liveness: when the faults stop, all
 * records get in and every full segment is sealed, with nothing left behind. Some seeds run
 * twice and must leave the same trace; disks that lie about syncs must be caught: that is a proof
 * of the test, and sanitizers add nothing to it. */
#include "seeds.h"

#include "base/sanitized.h"
#include "env/env_sim.h"

#include "base/crc32c.h"
#include "ledger/log.h"
#include "ledger/log_read.h"
#include "ledger/seal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define SEEDS (SANITIZED ? 20 : 300)
#define REPLAYS (SANITIZED ? 3 : 10) /* seeds that run twice */

#define SECOND ((uint64_t)1000000000)
#define RECORDS 900
#define BURST 24
#define TEXT_MAX 420
#define FAULTS_END (40 * SECOND)
#define END (4000 * SECOND)
#define DIRECTORY "/data/log"
#define MARK "/data/log.mark"

enum mistake { NO_MISTAKE, SYNCS_NO_FILE, SYNCS_NO_DIRECTORY, MISTAKES };

struct item {
	struct log_entry entry;
	struct world *world;
	struct item *next;
	char text[TEXT_MAX + 1];
};

struct world {
	struct sim_world *sim;
	struct env *node;
	struct env_ops ops;
	const struct env_ops *real;
	enum mistake mistake;
	struct ed25519_private *key;
	struct env_loop *log_loop, *care_loop, *loop;
	struct log *log;
	struct log_producer producer;
	struct env_timer timer;
	struct item *items;                 /* submitted in this life */
	uint32_t acknowledged[4 * RECORDS]; /* by index: CRC of the text; 0: not */
	unsigned count;
	struct checkpoint seen; /* the newest that a reader was given */
	unsigned crashes;
	const char *violation;
};

static void violates(struct world *world, const char *what)
{
	if (!world->violation)
		world->violation = what;
}

/* ---- appending ---- */

static void durable(struct log_entry *entry)
{
	struct item *item = (struct item *)entry;
	struct world *world = item->world;
	if (entry->index >= 4 * RECORDS) {
		violates(world, "indices run away");
		return;
	}
	world->acknowledged[entry->index] = crc32c(0, item->text, entry->size) | 1;
	world->count++;
	sim_note(world->sim, &entry->index, sizeof(entry->index));
}

static void submit(struct world *world)
{
	struct prng *draw = sim_workload(world->sim);
	struct item *item = calloc(1, sizeof(*item));
	assert_non_null(item);
	uint64_t index = log_take_index(world->log);
	int size = snprintf(item->text, sizeof(item->text), "{\"act\":\"%llu\",\"reason\":\"",
			    (unsigned long long)prng_below(draw, UINT64_MAX));
	size_t more = (size_t)prng_below(draw, TEXT_MAX - 2 - (size_t)size);
	for (size_t i = 0; i < more; i++)
		item->text[(size_t)size + i] = (char)('a' + prng_below(draw, 26));
	memcpy(item->text + (size_t)size + more, "\"}", 2);
	item->world = world;
	item->next = world->items;
	world->items = item;
	item->entry = (struct log_entry){.index = index,
					 .admit_index = LOG_NO_INDEX,
					 .kind = RECORD_ACT,
					 .units = 1,
					 .text = item->text,
					 .size = (size_t)size + more + 2,
					 .durable = durable};
	log_submit(&world->producer, &item->entry);
}

static void look_at_checkpoint(struct world *world)
{
	struct buf text = BUF_INIT(NOTE_SIZE_MAX);
	struct note note;
	struct checkpoint head;
	if (log_read_checkpoint(world->log, &text, NULL) == ERR_OK &&
	    note_parse(buf_bytes(&text), &note, NULL) == ERR_OK &&
	    checkpoint_parse(note.text, &head, NULL) == ERR_OK && head.size >= world->seen.size)
		world->seen = head;
	buf_release(&text);
}

static void tick(struct env_timer *timer)
{
	struct world *world = (struct world *)((char *)timer - offsetof(struct world, timer));
	struct prng *draw = sim_workload(world->sim);
	unsigned burst = 1 + (unsigned)prng_below(draw, BURST);
	for (unsigned i = 0; i < burst && world->count + i < RECORDS; i++) {
		if (!log_reserve(world->log, 1))
			break;
		submit(world);
	}
	log_producer_turn(&world->producer, true);
	look_at_checkpoint(world);
	env_timer_arm(world->loop, timer, world->loop->now_ns + prng_below(draw, SECOND / 5));
}

/* ---- one life of the process ---- */

static void stop_life(struct world *world)
{
	struct err ignored = ERR_INIT;
	if (world->loop)
		env_timer_disarm(world->loop, &world->timer);
	log_producer_close(&world->producer);
	log_close(world->log, &ignored);
	world->log = NULL;
	env_loop_free(world->loop);
	env_loop_free(world->log_loop);
	env_loop_free(world->care_loop);
	world->loop = world->log_loop = world->care_loop = NULL;
	while (world->items) {
		struct item *item = world->items;
		world->items = item->next;
		free(item);
	}
}

static enum err_code check_record(void *argument, const struct log_read_entry *entry,
				  struct err *err)
{
	struct world *world = argument;
	uint32_t crc = crc32c(0, entry->text.data, entry->text.size) | 1;
	(void)err;
	if (entry->index < 4 * RECORDS && world->acknowledged[entry->index] &&
	    world->acknowledged[entry->index] != crc)
		violates(world, "a record is another than the one that was acknowledged");
	return ERR_OK;
}

/* The whole directory, read as a verifier does. */
static void check_log(struct world *world)
{
	struct log_check check = {.each = check_record, .argument = world};
	struct log_check_result result;
	struct err err = ERR_INIT;
	enum err_code code = log_check_directory(world->node, DIRECTORY, &check, &result, &err);
	if (code == ERR_CORRUPT || code == ERR_MISMATCH)
		violates(world, "the log does not verify");
	for (uint64_t i = result.records; code == ERR_OK && i < 4 * RECORDS; i++)
		if (world->acknowledged[i])
			violates(world, "a record that was acknowledged is gone");
	if (code == ERR_OK && world->seen.size > result.records)
		violates(world, "the log is shorter than a checkpoint that was seen");
}

static void end_process(void *argument)
{
	struct world *world = argument;
	if (!sim_is_down(world->node))
		sim_crash(world->node, SIM_KILLED);
}

static void fatal(void *argument, const struct err *err)
{
	struct world *world = argument;
	(void)err;
	sim_at(world->sim, sim_now(world->sim), end_process, world);
}

static enum err_code begin_life(struct world *world, struct err *err)
{
	struct log_options options = {.directory = DIRECTORY,
				      .origin = "sim.example/parley",
				      .key = world->key,
				      .secret = "a secret of thirty-two bytes....",
				      .segment_size = LOG_SEGMENT_SIZE_MIN,
				      .mark = MARK,
				      .scrub_rate = (uint64_t)1 << 30,
				      .fatal = fatal,
				      .argument = world};
	ERR_TRY(env_make_directories(world->node, "/data", err));
	world->log_loop = env_loop_new(world->node, "log", true);
	options.care_loop = world->care_loop = env_loop_new(world->node, "care", true);
	world->loop = env_loop_new(world->node, "producer", false);
	if (!world->log_loop || !world->care_loop || !world->loop)
		return ERR_NO_MEMORY; /* the node has died meanwhile */
	ERR_TRY(log_open(world->node, world->log_loop, &options, &world->log, err));
	log_producer_init(&world->producer, world->log, world->loop);
	ERR_TRY(env_loop_start(world->log_loop, -1, err));
	ERR_TRY(env_loop_start(world->care_loop, -1, err));
	ERR_TRY(env_loop_start(world->loop, -1, err));
	return env_timer_arm(world->loop, &world->timer, sim_now(world->sim) + 1) ? ERR_OK
										  : ERR_NO_MEMORY;
}

static void plan_crash(struct world *world)
{
	struct prng *draw = sim_workload(world->sim);
	if (sim_now(world->sim) >= FAULTS_END || prng_below(draw, 8) == 0)
		return;
	enum sim_crash_kind kind = prng_below(draw, 4) ? SIM_POWER_LOST : SIM_KILLED;
	sim_crash_after(world->node, 1 + prng_below(draw, 150), kind);
}

static void begin(void *argument)
{
	struct world *world = argument;
	struct err err = ERR_INIT;
	bool calm = sim_now(world->sim) > FAULTS_END;
	if (sim_is_down(world->node))
		sim_restart(world->node);
	plan_crash(world);
	enum err_code code = begin_life(world, &err);
	if (code == ERR_OK && !sim_is_down(world->node))
		check_log(world);
	else if (calm || (code == ERR_CORRUPT && !sim_is_down(world->node)))
		violates(world, "the log does not open again");
	if (code != ERR_OK)
		sim_at(world->sim, sim_now(world->sim), end_process, world);
}

static void crashed(void *argument)
{
	struct world *world = argument;
	world->crashes++;
	stop_life(world);
	sim_at(world->sim, sim_now(world->sim) + SECOND / 10, begin, world);
}

static void calm(void *argument)
{
	struct world *world = argument;
	struct sim_faults none = sim_faults_none();
	sim_set_faults(world->sim, &none);
	sim_crash_after(world->node, 0, SIM_KILLED);
}

/* ---- a whole run ---- */

static enum err_code no_file_sync(struct env_file *file, struct err *err)
{
	(void)file;
	(void)err;
	return ERR_OK;
}

static enum err_code no_directory_sync(struct env *env, const char *path, struct err *err)
{
	(void)env;
	(void)path;
	(void)err;
	return ERR_OK;
}

static void make_mistake(struct world *world)
{
	world->ops = *world->node->ops;
	if (world->mistake == SYNCS_NO_FILE)
		world->ops.file_sync = no_file_sync;
	if (world->mistake == SYNCS_NO_DIRECTORY)
		world->ops.sync_directory = no_directory_sync;
	if (world->mistake != NO_MISTAKE)
		world->node->ops = &world->ops;
}

static bool everything_is_in(void *argument)
{
	struct world *world = argument;
	struct log_stats stats;
	if (world->violation)
		return true;
	if (!world->log || world->count < RECORDS || sim_now(world->sim) <= FAULTS_END)
		return false;
	log_get_stats(world->log, &stats);
	return stats.sealed + 1 == stats.segments && stats.checkpoint == stats.records;
}

static void count_leftover(void *argument, const struct env_directory_entry *entry)
{
	uint64_t first;
	unsigned *counts = argument;
	counts[0] += segment_name_parse(entry->name, &first);
	counts[1] += seal_name_parse(entry->name, &first);
	counts[2] += strcmp(entry->name, SEAL_TEMPORARY) == 0;
}

static unsigned check_end(struct world *world)
{
	unsigned counts[3] = {0};
	if (!world->violation && !everything_is_in(world))
		violates(world, "records wait, or segments are not sealed, long after the faults");
	if (!world->violation)
		env_list_directory(world->node, DIRECTORY "/segments", count_leftover, counts,
				   NULL);
	if (!world->violation && (counts[0] != 1 || counts[2] != 0))
		violates(world, "files are left behind");
	if (!world->violation)
		check_log(world);
	return counts[1];
}

struct outcome {
	uint64_t trace;
	const char *violation;
	unsigned crashes, sealed;
};

static struct outcome simulate_loudly(uint64_t seed, enum mistake mistake)
{
	struct world *world = calloc(1, sizeof(*world));
	struct sim_faults none = sim_faults_none(), faults = sim_faults_draw(seed, seed % 3 == 0);
	uint8_t key[32] = {7};
	assert_non_null(world);
	world->mistake = mistake;
	world->key = ed25519_from_seed(key);
	world->sim = sim_world_new(seed, &none);
	world->node = sim_node_new(world->sim, "log");
	world->timer.fire = tick;
	make_mistake(world);
	sim_on_crash(world->node, crashed, world);
	sim_at(world->sim, FAULTS_END, calm, world);
	sim_set_faults(world->sim, &faults);
	begin(world);
	sim_run_until(world->sim, END, everything_is_in, world);
	unsigned sealed = check_end(world);
	struct outcome outcome = {sim_trace(world->sim), world->violation, world->crashes, sealed};
	sim_on_crash(world->node, NULL, NULL);
	if (!sim_is_down(world->node))
		sim_crash(world->node, SIM_KILLED);
	stop_life(world);
	sim_world_free(world->sim);
	ed25519_free(world->key);
	free(world);
	return outcome;
}

static struct outcome simulate(uint64_t seed, enum mistake mistake)
{
	seeds_lose();
	struct outcome outcome = simulate_loudly(seed, mistake);
	seeds_lost();
	return outcome;
}

static void every_seed_is_safe(void **state)
{
	(void)state;
	uint64_t seeds = seeds_knob("PARLEY_SIM_SEEDS", SEEDS);
	unsigned crashes = 0, sealed = 0;
	for (uint64_t seed = 1; seed <= seeds; seed++) {
		struct outcome outcome = simulate(seed, NO_MISTAKE);
		if (outcome.violation)
			fail_msg("seed %llu: %s", (unsigned long long)seed, outcome.violation);
		crashes += outcome.crashes;
		sealed += outcome.sealed;
	}
	print_message("%llu seeds, %u crashes, %u segments sealed\n", (unsigned long long)seeds,
		      crashes, sealed);
	assert_true(crashes > seeds);
	assert_true(sealed > 2 * seeds);
}

static void seeds_replay(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= REPLAYS; seed++)
		assert_true(simulate(seed, NO_MISTAKE).trace == simulate(seed, NO_MISTAKE).trace);
}

static void every_mistake_is_found(void **state)
{
	(void)state;
	if (SANITIZED)
		skip();
	for (enum mistake mistake = NO_MISTAKE + 1; mistake < MISTAKES; mistake++) {
		uint64_t seed = 1;
		struct outcome outcome = simulate(seed, mistake);
		while (!outcome.violation && seed < 200)
			outcome = simulate(++seed, mistake);
		if (!outcome.violation)
			fail_msg("mistake %d was never found", (int)mistake);
		print_message("mistake %d: seed %llu: %s\n", (int)mistake, (unsigned long long)seed,
			      outcome.violation);
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_seed_is_safe),
		cmocka_unit_test(seeds_replay),
		cmocka_unit_test(every_mistake_is_found),
	};
	if (argc > 1) { /* one seed */
		struct outcome outcome =
			simulate(strtoull(argv[1], NULL, 10),
				 argc > 2 ? (enum mistake)atoi(argv[2]) : NO_MISTAKE);
		printf("%s; %u crashes, %u sealed\n",
		       outcome.violation ? outcome.violation : "good", outcome.crashes,
		       outcome.sealed);
		return outcome.violation != NULL;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
