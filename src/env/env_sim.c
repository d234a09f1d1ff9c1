/* The simulated world: its heap of events, its generators, its trace, its nodes and their crashes.
 *
 * Each kind of choice has a generator of its own, so that a program that draws one number more from
 * one of them does not change everything else in the world. */
#include "env/env_sim_internal.h"

#include "base/crc32c.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#define START_NS 1000000000u
/* 2026-11-05T12:00:00Z, the middle of a week: jumps of some hours, each way, do not leave it. */
#define START_WALL_MS 1793880000000

struct sim_control {
	struct sim_event event;
	struct sim_world *world;
	void (*run)(void *argument);
	void *argument;
	TAILQ_ENTRY(sim_control) link;
};

void *sim_allocate(size_t size)
{
	void *memory = calloc(1, size);
	if (!memory)
		abort();
	return memory;
}

/* ---- chance ---- */

uint64_t sim_between(struct prng *prng, uint64_t min, uint64_t max)
{
	return max > min ? min + prng_below(prng, max - min + 1) : min;
}

bool sim_chance(struct sim_world *world, uint32_t rate)
{
	return rate > 0 && prng_below(&world->chance, SIM_CERTAIN) < rate;
}

static struct prng generator(uint64_t seed, uint64_t which)
{
	struct prng prng = {seed};
	prng.state = prng_next(&prng) ^ (which * 0xd1342543de82ef95u);
	prng_next(&prng);
	return prng;
}

struct sim_faults sim_faults_none(void)
{
	return (struct sim_faults){
		.delay_min_ns = 20000,
		.delay_max_ns = 2000000,
		.stall_max_ns = 100000000,
		.window = 65536,
		.disk_min_ns = 5000,
		.disk_max_ns = 3000000,
		.turn_max_ns = 20000,
		.pause_max_ns = 200000000,
		.wall_jump_max_ms = 3600000,
	};
}

/* Off in half of the worlds, rare in a quarter, frequent in the rest. */
static uint32_t draw_rate(struct prng *prng, uint32_t rare, uint32_t frequent)
{
	uint64_t kind = prng_below(prng, 4);
	return kind < 2 ? 0 : kind == 2 ? rare : frequent;
}

struct sim_faults sim_faults_draw(uint64_t seed, bool with_disk_errors)
{
	static const uint32_t windows[] = {1, 100, 4096, 65536, 65536, 1 << 20};
	struct prng prng = generator(seed, 100);
	struct sim_faults faults = sim_faults_none();
	faults.delay_max_ns = (uint64_t)20000 << prng_below(&prng, 12);
	faults.window = windows[prng_below(&prng, sizeof(windows) / sizeof(windows[0]))];
	faults.stall = draw_rate(&prng, 1000, 50000);
	faults.cut = draw_rate(&prng, 50000, 500000);
	faults.one_byte = draw_rate(&prng, 10000, 300000);
	faults.refuse = draw_rate(&prng, 10000, 200000);
	faults.reset = draw_rate(&prng, 500, 20000);
	faults.half_open = draw_rate(&prng, 200, 5000);
	faults.lookup_failure = draw_rate(&prng, 10000, 300000);
	faults.disk_max_ns = (uint64_t)5000 << prng_below(&prng, 13);
	faults.turn_max_ns = (uint64_t)100 << prng_below(&prng, 14);
	faults.pause = draw_rate(&prng, 500, 10000);
	faults.wall_jump = draw_rate(&prng, 100, 5000);
	if (!with_disk_errors)
		return faults;
	faults.read_error = draw_rate(&prng, 100, 5000);
	faults.write_error = draw_rate(&prng, 100, 5000);
	faults.sync_error = draw_rate(&prng, 100, 5000);
	faults.open_error = draw_rate(&prng, 100, 5000);
	faults.full = draw_rate(&prng, 100, 5000);
	return faults;
}

/* ---- the trace ---- */

static uint64_t mix(uint64_t trace, uint64_t value)
{
	struct prng prng = {trace ^ (value * 0xff51afd7ed558ccdu)};
	return prng_next(&prng);
}

void sim_trace_add(struct sim_world *world, enum sim_kind kind, uint64_t a, uint64_t b, uint64_t c)
{
	uint64_t trace = mix(world->trace, world->now_ns);
	trace = mix(trace, (uint64_t)kind);
	trace = mix(trace, a);
	trace = mix(trace, b);
	world->trace = mix(trace, c);
}

uint64_t sim_trace(const struct sim_world *world)
{
	return world->trace;
}

void sim_note(struct sim_world *world, const void *data, size_t size)
{
	sim_trace_add(world, SIM_KIND_NOTE, size, crc32c(0, data, size), 0);
}

uint64_t sim_event_count(const struct sim_world *world)
{
	return world->event_count;
}

/* ---- events ---- */

void sim_event_init(struct sim_world *world, struct sim_event *event, enum sim_kind kind,
		    void (*run)(struct sim_event *event))
{
	*event = (struct sim_event){.run = run, .kind = kind, .id = world->next_id++};
}

void sim_schedule(struct sim_world *world, struct sim_event *event, uint64_t at_ns)
{
	heap_remove(&world->events, &event->node);
	event->node.key = at_ns > world->now_ns ? at_ns : world->now_ns;
	bool pushed = heap_push(&world->events, &event->node);
	assert(pushed); /* more than 2^20 events: the program under test runs away */
}

void sim_cancel(struct sim_world *world, struct sim_event *event)
{
	heap_remove(&world->events, &event->node);
}

static void crash_dying_nodes(struct sim_world *world)
{
	for (unsigned i = 0; i < world->node_count; i++)
		if (world->nodes[i]->frozen)
			sim_crash(&world->nodes[i]->base, world->nodes[i]->disk.crash_kind);
}

bool sim_step(struct sim_world *world, uint64_t until_ns)
{
	struct heap_node *first = heap_first(&world->events);
	if (!first || first->key > until_ns)
		return false;
	struct sim_event *event = (struct sim_event *)first;
	heap_remove(&world->events, first);
	world->now_ns = first->key;
	world->spent_ns = 0;
	world->event_count++;
	sim_trace_add(world, event->kind, event->id, 0, 0);
	event->run(event);
	world->spent_ns = 0;
	crash_dying_nodes(world);
	return true;
}

void sim_run(struct sim_world *world, uint64_t until_ns)
{
	while (sim_step(world, until_ns))
		;
	if (until_ns > world->now_ns && until_ns != SIM_NEVER)
		world->now_ns = until_ns;
}

bool sim_run_until_idle(struct sim_world *world, uint64_t until_ns)
{
	while (sim_step(world, until_ns))
		;
	return heap_first(&world->events) == NULL;
}

bool sim_run_until(struct sim_world *world, uint64_t until_ns, bool (*done)(void *argument),
		   void *argument)
{
	while (!done(argument))
		if (!sim_step(world, until_ns))
			return false;
	return true;
}

static void run_control(struct sim_event *event)
{
	struct sim_control *control = (struct sim_control *)event;
	void (*run)(void *argument) = control->run;
	void *argument = control->argument;
	TAILQ_REMOVE(&control->world->controls, control, link);
	free(control);
	run(argument);
}

void sim_at(struct sim_world *world, uint64_t at_ns, void (*run)(void *argument), void *argument)
{
	struct sim_control *control = sim_allocate(sizeof(*control));
	sim_event_init(world, &control->event, SIM_KIND_CONTROL, run_control);
	control->world = world;
	control->run = run;
	control->argument = argument;
	TAILQ_INSERT_TAIL(&world->controls, control, link);
	sim_schedule(world, &control->event, at_ns);
}

/* ---- the world ---- */

static void check_faults(const struct sim_faults *faults)
{
	assert(faults->window > 0 && faults->turn_max_ns > 0);
	assert(faults->delay_max_ns >= faults->delay_min_ns);
	assert(faults->disk_max_ns >= faults->disk_min_ns);
}

struct sim_world *sim_world_new(uint64_t seed, const struct sim_faults *faults)
{
	struct sim_world *world = sim_allocate(sizeof(*world));
	check_faults(faults);
	world->faults = *faults;
	world->seed = seed;
	world->now_ns = START_NS;
	world->limit_ns = SIM_NEVER;
	world->network = generator(seed, 1);
	world->disk = generator(seed, 2);
	world->chance = generator(seed, 3);
	world->schedule = generator(seed, 4);
	world->workload = generator(seed, 5);
	TAILQ_INIT(&world->controls);
	TAILQ_INIT(&world->connections);
	return world;
}

static void node_free(struct sim_node *node)
{
	sim_network_release(node);
	sim_loops_release(node);
	sim_disk_release(node);
	free(node);
}

void sim_world_free(struct sim_world *world)
{
	if (!world)
		return;
	sim_connections_release(world);
	for (unsigned i = 0; i < world->node_count; i++)
		node_free(world->nodes[i]);
	struct sim_control *control;
	while ((control = TAILQ_FIRST(&world->controls))) {
		TAILQ_REMOVE(&world->controls, control, link);
		free(control);
	}
	heap_release(&world->events);
	free(world);
}

void sim_set_faults(struct sim_world *world, const struct sim_faults *faults)
{
	check_faults(faults);
	world->faults = *faults;
}

uint64_t sim_now(struct sim_world *world)
{
	return sim_local_now(world);
}

struct prng *sim_workload(struct sim_world *world)
{
	return &world->workload;
}

void sim_limit(struct sim_world *world, uint64_t until_ns)
{
	world->limit_ns = until_ns;
	world->gave_up = false;
}

bool sim_gave_up(const struct sim_world *world)
{
	return world->gave_up;
}

/* ---- what a node sees of time and chance ---- */

static uint64_t clock_ns(struct env *env)
{
	return sim_local_now(sim_node_of(env)->world);
}

int64_t sim_wall_ms(struct env *env)
{
	struct sim_node *node = sim_node_of(env);
	uint64_t passed = sim_local_now(node->world) - START_NS;
	return START_WALL_MS + (int64_t)(passed / 1000000) + node->wall_offset_ms;
}

static void random_bytes(struct env *env, void *out, size_t size)
{
	struct sim_node *node = sim_node_of(env);
	char *to = out;
	while (size > 0) {
		uint64_t word = prng_next(&node->entropy);
		size_t part = size < sizeof(word) ? size : sizeof(word);
		memcpy(to, &word, part);
		to += part;
		size -= part;
	}
}

/* No other program lives in a simulated world. */
static enum err_code sim_process_start(struct env_loop *loop, struct env_process *process,
				       struct err *err)
{
	(void)loop;
	process->handle = NULL;
	return ERR_SET(err, ERR_UNSUPPORTED, "%s: there are no programs in a simulated world",
		       process->argv[0]);
}

static void sim_process_cancel(struct env_process *process)
{
	(void)process;
}

static void sim_process_signal(struct env_process *process, int signal_number)
{
	(void)process;
	(void)signal_number;
}

static const struct env_ops sim_ops = {
	.loop_new = sim_loop_new,
	.loop_free = sim_loop_free,
	.loop_start = sim_loop_start,
	.loop_run = sim_loop_run,
	.loop_stop = sim_loop_stop,
	.loop_join = sim_loop_join,
	.post = sim_post,
	.job_start = sim_job_start,
	.on_signal = sim_on_signal,
	.clock_ns = clock_ns,
	.wall_ms = sim_wall_ms,
	.random = random_bytes,
	.timer_arm = sim_timer_arm,
	.timer_disarm = sim_timer_disarm,
	.listen = sim_listen,
	.listener_address = sim_listener_address,
	.listener_pause = sim_listener_pause,
	.listener_close = sim_listener_close,
	.accept = sim_accept,
	.connect = sim_connect,
	.receive = sim_receive,
	.send = sim_send,
	.shutdown = sim_shutdown,
	.close = sim_close,
	.lookup = sim_lookup,
	.process_start = sim_process_start,
	.process_cancel = sim_process_cancel,
	.process_signal = sim_process_signal,
	.file_open = sim_file_open,
	.file_read = sim_file_read,
	.file_write = sim_file_write,
	.file_append = sim_file_append,
	.file_sync = sim_file_sync,
	.file_size = sim_file_size,
	.file_truncate = sim_file_truncate,
	.file_lock = sim_file_lock,
	.file_close = sim_file_close,
	.rename = sim_rename,
	.unlink = sim_unlink,
	.make_directory = sim_make_directory,
	.sync_directory = sim_sync_directory,
	.list_directory = sim_list_directory,
	.chmod = sim_chmod,
};

/* ---- nodes ---- */

struct env *sim_node_new(struct sim_world *world, const char *name)
{
	assert(world->node_count < SIM_NODES_MAX);
	struct sim_node *node = sim_allocate(sizeof(*node));
	node->base.ops = &sim_ops;
	node->world = world;
	snprintf(node->name, sizeof(node->name), "%s", name);
	world->nodes[world->node_count++] = node;
	node->number = world->node_count;
	node->entropy = generator(world->seed, 1000 + node->number);
	node->next_port = 32768;
	TAILQ_INIT(&node->loops);
	TAILQ_INIT(&node->tasks);
	TAILQ_INIT(&node->listeners);
	TAILQ_INIT(&node->streams);
	sim_disk_init(node);
	return &node->base;
}

struct sim_world *sim_world_of(struct env *node)
{
	return sim_node_of(node)->world;
}

struct env_address sim_node_address(struct env *node, uint16_t port)
{
	struct env_address address = {.family = ENV_IPV4, .ip = {10}, .port = port};
	address.ip[3] = (uint8_t)sim_node_of(node)->number;
	return address;
}

static struct sim_name *find_name(struct sim_world *world, const char *host)
{
	for (unsigned i = 0; i < world->name_count; i++)
		if (strcmp(world->names[i].host, host) == 0)
			return &world->names[i];
	return NULL;
}

void sim_name_add(struct sim_world *world, const char *host, const struct env_address *address)
{
	struct sim_name *name = find_name(world, host);
	if (!name) {
		assert(world->name_count < SIM_NAMES_MAX);
		name = &world->names[world->name_count++];
		snprintf(name->host, sizeof(name->host), "%s", host);
	}
	assert(name->count < sizeof(name->addresses) / sizeof(name->addresses[0]));
	name->addresses[name->count++] = *address;
}

void sim_name_move(struct sim_world *world, const char *host, const struct env_address *address)
{
	struct sim_name *name = find_name(world, host);
	assert(name);
	name->addresses[0] = *address;
	name->count = 1;
}

void sim_partition(struct sim_world *world, struct env *a, struct env *b, bool cut)
{
	struct sim_node *x = sim_node_of(a), *y = sim_node_of(b);
	assert(x->world == world && y->world == world);
	x->cut_off[y->number] = y->cut_off[x->number] = cut;
}

void sim_pause(struct env *env, bool paused)
{
	struct sim_node *node = sim_node_of(env);
	node->paused = paused;
	if (!paused)
		sim_loops_resume(node);
}

void sim_wall_jump(struct env *env, int64_t by_ms)
{
	sim_node_of(env)->wall_offset_ms += by_ms;
}

/* ---- crashes ---- */

void sim_crash(struct env *env, enum sim_crash_kind kind)
{
	struct sim_node *node = sim_node_of(env);
	if (node->down)
		return;
	sim_trace_add(node->world, SIM_KIND_CRASH, node->number, kind, 0);
	node->frozen = false;
	node->down = true;
	node->disk.crash_countdown = 0;
	sim_network_kill(node, kind);
	sim_loops_kill(node);
	sim_disk_kill(node, kind);
	if (node->crashed)
		node->crashed(node->crashed_argument);
}

void sim_crash_after(struct env *env, uint64_t operations, enum sim_crash_kind kind)
{
	struct sim_disk *disk = &sim_node_of(env)->disk;
	disk->crash_countdown = operations;
	disk->crash_kind = kind;
}

void sim_on_crash(struct env *env, void (*run)(void *argument), void *argument)
{
	sim_node_of(env)->crashed = run;
	sim_node_of(env)->crashed_argument = argument;
}

void sim_restart(struct env *env)
{
	struct sim_node *node = sim_node_of(env);
	assert(node->down);
	sim_trace_add(node->world, SIM_KIND_RESTART, node->number, 0, 0);
	sim_network_release(node);
	sim_loops_release(node);
	sim_disk_release_handles(node);
	node->down = false;
	node->paused = false;
}

bool sim_is_down(struct env *env)
{
	return sim_is_gone(sim_node_of(env));
}
