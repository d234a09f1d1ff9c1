/* The disk of a simulated node: what a crash keeps, tears and loses, and how calls fail. */
#include "env/env_sim.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define CONTAINER(pointer, type, member) ((type *)((char *)(pointer)-offsetof(type, member)))
#define SECOND ((uint64_t)1000000000)
#define WRITE (ENV_OPEN_WRITE | ENV_OPEN_CREATE)

static struct sim_world *world_with(uint64_t seed, const struct sim_faults *faults)
{
	return sim_world_new(seed, faults);
}

static struct sim_world *quiet_world(uint64_t seed)
{
	struct sim_faults faults = sim_faults_none();
	return world_with(seed, &faults);
}

static struct env_file *open_file(struct env *env, const char *path, unsigned flags)
{
	struct env_file *file = NULL;
	struct err err = ERR_INIT;
	if (env_file_open(env, path, flags, &file, &err) != ERR_OK)
		fail_msg("%s", err.message);
	return file;
}

/* The whole file as a string, "-" if it is missing. */
static const char *content_of(struct env *env, const char *path)
{
	static char text[4096];
	struct buf content = BUF_INIT(sizeof(text) - 1);
	enum err_code code = env_read_file(env, path, &content, NULL);
	if (code == ERR_NOT_FOUND)
		snprintf(text, sizeof(text), "-");
	else
		snprintf(text, sizeof(text), "%.*s", (int)content.size, content.data);
	buf_release(&content);
	return text;
}

static void what_was_synced_survives_every_power_loss(void **state)
{
	bool kept = false, lost = false, torn = false;
	(void)state;
	for (uint64_t seed = 1; seed <= 200; seed++) {
		struct sim_world *world = quiet_world(seed);
		struct env *node = sim_node_new(world, "node");
		struct env_file *file = open_file(node, "/a", WRITE);
		assert_int_equal(ERR_OK, env_file_write(file, 0, "synced.", 7, NULL));
		assert_int_equal(ERR_OK, env_file_sync(file, NULL));
		assert_int_equal(ERR_OK, env_sync_directory(node, "/", NULL));
		assert_int_equal(ERR_OK, env_file_write(file, 7, "loose", 5, NULL));
		sim_crash(node, SIM_POWER_LOST);
		sim_restart(node);
		const char *text = content_of(node, "/a");
		assert_memory_equal("synced.", text, 7);
		kept |= strcmp(text, "synced.loose") == 0;
		lost |= strcmp(text, "synced.") == 0;
		torn |= strcmp(text, "synced.lo") == 0;
		sim_world_free(world);
	}
	assert_true(kept && lost && torn);
}

static void a_kill_loses_nothing_that_was_written(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 20; seed++) {
		struct sim_world *world = quiet_world(seed);
		struct env *node = sim_node_new(world, "node");
		struct env_file *file = open_file(node, "/a", WRITE);
		assert_int_equal(ERR_OK, env_file_lock(file, NULL));
		assert_int_equal(ERR_OK, env_file_write(file, 0, "text", 4, NULL));
		sim_crash(node, SIM_KILLED);
		sim_restart(node);
		assert_string_equal("text", content_of(node, "/a"));
		file = open_file(node, "/a", ENV_OPEN_WRITE);
		assert_int_equal(ERR_OK, env_file_lock(file, NULL)); /* the dead hold no locks */
		env_file_close(file);
		sim_world_free(world);
	}
}

static void a_name_needs_a_sync_of_its_directory(void **state)
{
	unsigned missing = 0, old = 0;
	(void)state;
	for (uint64_t seed = 1; seed <= 200; seed++) {
		struct sim_world *world = quiet_world(seed);
		struct env *node = sim_node_new(world, "node");
		struct env_file *file = open_file(node, "/new", WRITE);
		assert_int_equal(ERR_OK, env_file_write(file, 0, "x", 1, NULL));
		assert_int_equal(ERR_OK, env_file_sync(file, NULL));
		assert_int_equal(ERR_OK, env_write_file(node, "/b", BYTES("old"), 0600, NULL));
		/* The last sync of "/" has made /new durable too: rename it without one. */
		assert_int_equal(ERR_OK, env_rename(node, "/new", "/b", NULL));
		struct env_file *fresh = open_file(node, "/fresh", WRITE);
		assert_int_equal(ERR_OK, env_file_sync(fresh, NULL));
		sim_crash(node, SIM_POWER_LOST);
		sim_restart(node);
		const char *text = content_of(node, "/b");
		assert_true(strcmp(text, "x") == 0 || strcmp(text, "old") == 0);
		old += strcmp(text, "old") == 0;
		if (strcmp(text, "old") == 0)
			assert_string_equal("x", content_of(node, "/new"));
		else
			assert_string_equal("-", content_of(node, "/new"));
		missing += strcmp(content_of(node, "/fresh"), "-") == 0;
		sim_world_free(world);
	}
	assert_in_range(old, 20, 180);
	assert_in_range(missing, 20, 180);
}

/* The promise of env_write_file, broken at each of its disk calls in turn. */
static void replacing_a_file_is_atomic_at_every_crash_point(void **state)
{
	unsigned finished = 0;
	(void)state;
	for (uint64_t point = 1; point <= 12; point++) {
		for (uint64_t seed = 1; seed <= 40; seed++) {
			struct sim_world *world = quiet_world(seed);
			struct env *node = sim_node_new(world, "node");
			assert_int_equal(ERR_OK,
					 env_write_file(node, "/a", BYTES("old"), 0600, NULL));
			sim_crash_after(node, point, SIM_POWER_LOST);
			enum err_code code = env_write_file(node, "/a", BYTES("newer"), 0600, NULL);
			sim_crash(node, SIM_POWER_LOST);
			sim_restart(node);
			const char *text = content_of(node, "/a");
			if (code == ERR_OK)
				assert_string_equal("newer", text);
			else
				assert_true(strcmp(text, "old") == 0 || strcmp(text, "newer") == 0);
			finished += code == ERR_OK;
			sim_world_free(world);
		}
	}
	assert_true(finished > 40); /* the later points lie behind the call */
	assert_true(finished < 11 * 40);
}

static void a_sync_that_failed_has_failed_for_ever(void **state)
{
	bool lost = false, kept = false;
	(void)state;
	for (uint64_t seed = 1; seed <= 60; seed++) {
		struct sim_faults faults = sim_faults_none();
		struct sim_world *world = world_with(seed, &faults);
		struct env *node = sim_node_new(world, "node");
		struct err err = ERR_INIT;
		struct env_file *file = open_file(node, "/a", WRITE);
		struct env_file *other = open_file(node, "/a", WRITE);
		assert_int_equal(ERR_OK, env_sync_directory(node, "/", NULL));
		assert_int_equal(ERR_OK, env_file_write(file, 0, "text", 4, NULL));
		faults.sync_error = SIM_CERTAIN;
		sim_set_faults(world, &faults);
		assert_int_equal(ERR_ENVIRONMENT, env_file_sync(file, &err));
		assert_non_null(strstr(err.message, "/a"));
		faults.sync_error = 0;
		sim_set_faults(world, &faults);
		assert_int_equal(ERR_ENVIRONMENT, env_file_sync(file, NULL));
		assert_int_equal(ERR_ENVIRONMENT, env_file_sync(other, NULL));
		/* One opened later is told nothing, and the bytes look fine until the power goes.
		 */
		struct env_file *third = open_file(node, "/a", WRITE);
		assert_int_equal(ERR_OK, env_file_sync(third, NULL));
		assert_string_equal("text", content_of(node, "/a"));
		sim_crash(node, SIM_POWER_LOST);
		sim_restart(node);
		bool whole = strcmp(content_of(node, "/a"), "text") == 0;
		lost |= !whole;
		kept |= whole;
		sim_world_free(world);
	}
	assert_true(lost && kept);
}

static void a_full_disk_takes_a_part_and_says_so(void **state)
{
	struct sim_world *world = quiet_world(10);
	struct env *node = sim_node_new(world, "node");
	struct env_file *file = open_file(node, "/a", WRITE);
	struct err err = ERR_INIT;
	uint64_t size;
	(void)state;
	sim_disk_limit(node, 10);
	assert_int_equal(ERR_OK, env_file_write(file, 0, "12345678", 8, &err));
	assert_int_equal(ERR_NO_SPACE, env_file_write(file, 8, "90ab", 4, &err));
	assert_non_null(strstr(err.message, "/a"));
	assert_int_equal(ERR_OK, env_file_size(file, &size, NULL));
	assert_int_equal(10, size);
	assert_int_equal(ERR_OK, env_file_write(file, 0, "abcdefgh", 8, &err)); /* nothing new */
	assert_int_equal(ERR_OK, env_file_truncate(file, 2, &err));
	assert_int_equal(ERR_OK, env_file_write(file, 2, "cdefgh", 6, &err));
	sim_disk_limit(node, SIM_NEVER);
	assert_int_equal(ERR_OK, env_file_write(file, 8, "90ab", 4, &err));
	env_file_close(file);
	assert_string_equal("abcdefgh90ab", content_of(node, "/a"));
	sim_world_free(world);
}

static void a_rotten_sector_changes_one_byte(void **state)
{
	struct sim_world *world = quiet_world(11);
	struct env *node = sim_node_new(world, "node");
	(void)state;
	assert_int_equal(ERR_OK, env_write_file(node, "/a", BYTES("abc"), 0600, NULL));
	assert_true(sim_disk_rot(node, "/a", 1, 1));
	assert_string_equal("acc", content_of(node, "/a"));
	sim_crash(node, SIM_POWER_LOST);
	sim_restart(node);
	assert_string_equal("acc", content_of(node, "/a"));
	assert_false(sim_disk_rot(node, "/a", 3, 1));
	assert_false(sim_disk_rot(node, "/b", 0, 1));
	sim_world_free(world);
}

static void each_disk_fault_is_reported(void **state)
{
	struct sim_faults faults = sim_faults_none();
	struct sim_world *world = world_with(12, &faults);
	struct env *node = sim_node_new(world, "node");
	struct env_file *file = open_file(node, "/a", WRITE), *other;
	char byte;
	size_t got;
	(void)state;
	faults.read_error = faults.write_error = faults.open_error = SIM_CERTAIN;
	sim_set_faults(world, &faults);
	assert_int_equal(ERR_ENVIRONMENT, env_file_read(file, 0, &byte, 1, &got, NULL));
	assert_int_equal(ERR_ENVIRONMENT, env_file_write(file, 0, "x", 1, NULL));
	assert_int_equal(ERR_ENVIRONMENT, env_file_open(node, "/b", WRITE, &other, NULL));
	assert_int_equal(ERR_ENVIRONMENT, env_rename(node, "/a", "/b", NULL));
	faults = sim_faults_none();
	faults.full = SIM_CERTAIN;
	sim_set_faults(world, &faults);
	assert_int_equal(ERR_NO_SPACE, env_file_write(file, 0, "x", 1, NULL));
	env_file_close(file);
	sim_world_free(world);
}

static void replaced_files_do_not_pile_up(void **state)
{
	struct sim_world *world = quiet_world(13);
	struct env *node = sim_node_new(world, "node");
	(void)state;
	/* Each file lies on the simulated disk until the collector has taken it. */
	for (int i = 0; i < 5000; i++)
		assert_int_equal(ERR_OK,
				 env_write_file(node, "/a", BYTES("0123456789"), 0600, NULL));
	struct env_file *file = open_file(node, "/b", WRITE);
	char data[4096] = {0};
	sim_disk_limit(node, 4096 + 600 * 10);
	assert_int_equal(ERR_OK, env_file_write(file, 0, data, sizeof(data), NULL));
	env_file_close(file);
	sim_world_free(world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_synced_survives_every_power_loss),
		cmocka_unit_test(a_kill_loses_nothing_that_was_written),
		cmocka_unit_test(a_name_needs_a_sync_of_its_directory),
		cmocka_unit_test(replacing_a_file_is_atomic_at_every_crash_point),
		cmocka_unit_test(a_sync_that_failed_has_failed_for_ever),
		cmocka_unit_test(a_full_disk_takes_a_part_and_says_so),
		cmocka_unit_test(a_rotten_sector_changes_one_byte),
		cmocka_unit_test(each_disk_fault_is_reported),
		cmocka_unit_test(replaced_files_do_not_pile_up),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
