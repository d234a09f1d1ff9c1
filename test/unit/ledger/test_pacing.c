/* How often a log signs when somebody asks all the time: as often as may be, and no oftener; and
 * how much of the disk that takes. In the simulated world, where time is counted and not measured.
 */
#include "check.h"

#include "env/env_sim.h"
#include "ledger/log.h"

#include <stdlib.h>

#define MILLISECOND UINT64_C(1000000)
#define TICK_NS (MILLISECOND / 5)
#define SECONDS 2
#define GAP_NS (2 * MILLISECOND)
#define RECORDS_MAX 20000
#define MARK "/data/log.mark"
#define DIRECTORY "/data/log"

static struct world {
	struct sim_world *sim;
	struct env *node;
	struct env_ops ops;
	const struct env_ops *real;
	struct env_file *mark;
	uint64_t signed_ns; /* the last mark was written then */
	unsigned marks, files, early;

	struct env_loop *log_loop, *loop;
	struct log *log;
	struct log_producer producer;
	struct env_timer timer;
	struct log_entry entries[RECORDS_MAX];
	unsigned submitted;
} * world;

static enum err_code open_it(struct env *env, const char *path, unsigned flags,
			     struct env_file **out, struct err *err)
{
	enum err_code code = world->real->file_open(env, path, flags, out, err);
	if (code == ERR_OK && strcmp(path, MARK) == 0)
		world->mark = *out;
	return code;
}

/* A mark is written as soon as its checkpoint is signed. */
static enum err_code write_it(struct env_file *file, uint64_t offset, const void *data, size_t size,
			      struct err *err)
{
	if (world->submitted > 0 && file == world->mark) {
		uint64_t now = env_clock_ns(world->node);
		world->early += world->marks > 0 && now < world->signed_ns + GAP_NS;
		world->signed_ns = now;
		world->marks++;
	}
	return world->real->file_write(file, offset, data, size, err);
}

static enum err_code rename_it(struct env *env, const char *from, const char *to, struct err *err)
{
	world->files += world->submitted > 0 && strcmp(to, DIRECTORY "/checkpoint") == 0;
	return world->real->rename(env, from, to, err);
}

static void on_durable(struct log_entry *entry)
{
	(void)entry;
}

static void tick(struct env_timer *timer)
{
	struct log_entry *entry = &world->entries[world->submitted++];
	assert_true(world->submitted < RECORDS_MAX && log_reserve(world->log, 1));
	*entry = (struct log_entry){.index = log_take_index(world->log),
				    .admit_index = LOG_NO_INDEX,
				    .kind = RECORD_ACT,
				    .units = 1,
				    .text = "{\"act\":\"a test\"}",
				    .size = 16,
				    .durable = on_durable};
	log_submit(&world->producer, entry);
	log_producer_turn(&world->producer, true);
	log_checkpoint_now(world->log);
	env_timer_arm(world->loop, timer, world->loop->now_ns + TICK_NS);
}

static void test_asked_all_the_time(void **state)
{
	struct sim_faults calm = sim_faults_none();
	struct err err = ERR_INIT;
	uint8_t seed[32] = {3};
	(void)state;
	calm.disk_max_ns = MILLISECOND / 5;
	world = calloc(1, sizeof(*world));
	assert_non_null(world);
	world->sim = sim_world_new(1, &calm);
	world->node = sim_node_new(world->sim, "log");
	world->real = world->node->ops;
	world->ops = *world->real;
	world->ops.file_open = open_it;
	world->ops.file_write = write_it;
	world->ops.rename = rename_it;
	world->node->ops = &world->ops;
	world->timer.fire = tick;
	struct ed25519_private *key = ed25519_from_seed(seed);
	struct log_options options = {.directory = DIRECTORY,
				      .origin = "sim.example/parley",
				      .key = key,
				      .secret = "a secret of thirty-two bytes....",
				      .mark = MARK};
	world->log_loop = env_loop_new(world->node, "log", true);
	world->loop = env_loop_new(world->node, "producer", false);
	assert_works(log_open(world->node, world->log_loop, &options, &world->log, &err), &err);
	log_producer_init(&world->producer, world->log, world->loop);
	assert_works(env_loop_start(world->log_loop, -1, &err), &err);
	assert_works(env_loop_start(world->loop, -1, &err), &err);
	uint64_t began = sim_now(world->sim);
	env_timer_arm(world->loop, &world->timer, began + 1);
	sim_run(world->sim, began + SECONDS * 1000 * MILLISECOND);
	print_message("%u records, %u checkpoints, of which %u in a file\n", world->submitted,
		      world->marks, world->files);
	assert_int_equal(world->early, 0);
	/* The next one waits for a commit at most. */
	assert_true(world->marks > SECONDS * 1000 / 4);
	assert_true(world->files >= SECONDS * 9 && world->files <= SECONDS * 10 + 1);

	env_loop_stop(world->loop);
	env_loop_stop(world->log_loop);
	env_loop_join(world->loop);
	env_loop_join(world->log_loop);
	log_producer_close(&world->producer);
	assert_works(log_close(world->log, &err), &err);
	env_loop_free(world->loop);
	env_loop_free(world->log_loop);
	sim_world_free(world->sim);
	ed25519_free(key);
	free(world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_asked_all_the_time)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
