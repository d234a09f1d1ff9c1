/* Loops of the simulation. A loop that has something to do gets a turn within turn_max_ns, at a
 * draw: that decides which of several ready loops runs first. Within a turn the order of what is
 * ready is a draw too, except that messages keep theirs. What a turn spends in disk calls keeps the
 * loop busy afterwards, so that no loop's clock goes back. */
#include "env/env_idle.h"
#include "env/env_sim_internal.h"

#include <assert.h>
#include <stdlib.h>

static bool has_work(const struct sim_loop *loop)
{
	const struct heap_node *timer = heap_first(&loop->timers);
	const struct sim_signal_handler *handler;
	TAILQ_FOREACH(handler, &loop->signals, link)
	{
		if (handler->pending)
			return true;
	}
	return loop->first || loop->job_first || loop->source_count > 0 || loop->stopping ||
	       (timer && timer->key <= loop->base.now_ns);
}

void sim_wake(struct sim_loop *loop)
{
	struct sim_world *world = loop->node->world;
	atomic_store_explicit(&loop->base.sleeping, false, memory_order_relaxed);
	if (!loop->started || loop->finished || loop->dead || loop->node->paused ||
	    sim_is_scheduled(&loop->turn))
		return;
	uint64_t from = sim_local_now(world);
	if (from < loop->busy_until_ns)
		from = loop->busy_until_ns;
	sim_schedule(world, &loop->turn,
		     from + sim_between(&world->schedule, 1, world->faults.turn_max_ns));
}

void sim_loops_resume(struct sim_node *node)
{
	struct sim_loop *loop;
	TAILQ_FOREACH(loop, &node->loops, link)
	{
		sim_wake(loop);
	}
}

/* ---- timers ---- */

static void alarm_rings(struct sim_event *event)
{
	sim_wake((struct sim_loop *)((char *)event - offsetof(struct sim_loop, alarm)));
}

static void set_alarm(struct sim_loop *loop)
{
	const struct heap_node *first = heap_first(&loop->timers);
	struct sim_world *world = loop->node->world;
	if (!first)
		sim_cancel(world, &loop->alarm);
	else if (!sim_is_scheduled(&loop->alarm) || loop->alarm.node.key != first->key)
		sim_schedule(world, &loop->alarm, first->key);
}

bool sim_timer_arm(struct env_loop *base, struct env_timer *timer, uint64_t at_ns)
{
	struct sim_loop *loop = sim_loop_of(base);
	if (loop->dead || loop->node->frozen)
		return true;
	heap_remove(&loop->timers, &timer->node);
	timer->node.key = at_ns;
	bool pushed = heap_push(&loop->timers, &timer->node);
	set_alarm(loop);
	return pushed;
}

void sim_timer_disarm(struct env_loop *base, struct env_timer *timer)
{
	struct sim_loop *loop = sim_loop_of(base);
	if (loop->dead)
		return;
	heap_remove(&loop->timers, &timer->node);
	set_alarm(loop);
}

static void fire_timers(struct sim_loop *loop)
{
	struct heap_node *node;
	/* Only those due when the turn began: one that arms itself for now waits for the next turn.
	 */
	uint64_t last_order = loop->timers.next_order;
	while ((node = heap_first(&loop->timers)) && node->key <= loop->base.now_ns &&
	       node->order < last_order && !sim_is_gone(loop->node)) {
		struct env_timer *timer = (struct env_timer *)node;
		heap_remove(&loop->timers, node);
		timer->fire(timer);
	}
}

/* ---- messages and jobs ---- */

void sim_post(struct env_loop *to, struct env_message *message)
{
	struct sim_loop *loop = sim_loop_of(to);
	if (loop->dead || sim_is_gone(loop->node))
		return;
	atomic_store_explicit(&message->next, NULL, memory_order_relaxed);
	if (loop->last)
		atomic_store_explicit(&loop->last->next, message, memory_order_relaxed);
	else
		loop->first = message;
	loop->last = message;
	sim_wake(loop);
}

static void run_messages(struct sim_loop *loop)
{
	struct env_message *message = loop->first;
	loop->first = loop->last = NULL;
	while (message && !sim_is_gone(loop->node)) {
		struct env_message *next =
			atomic_load_explicit(&message->next, memory_order_relaxed);
		message->run(message);
		message = next;
	}
}

static void job_done(struct env_message *message)
{
	struct env_job *job = (struct env_job *)message;
	job->done(job);
}

/* The first time the job runs; the second, as long afterwards as it took, its loop hears of it. */
static void task_event(struct sim_event *event)
{
	struct sim_task *task = (struct sim_task *)event;
	struct sim_node *node = task->node;
	struct sim_world *world = node->world;
	uint64_t step = sim_between(&world->schedule, 1, world->faults.turn_max_ns);
	if (node->paused) {
		sim_schedule(world, event, world->now_ns + 1000000 + step);
		return;
	}
	if (!task->has_run) {
		task->has_run = true;
		task->job->run(task->job);
		if (node->down)
			return; /* it has crashed and the task is gone */
		sim_schedule(world, event, sim_local_now(world) + step);
		return;
	}
	struct env_job *job = task->job;
	TAILQ_REMOVE(&node->tasks, task, link);
	free(task);
	sim_post(job->loop, &job->message);
}

static void start_task(struct sim_node *node, struct env_job *job)
{
	struct sim_world *world = node->world;
	struct sim_task *task = sim_allocate(sizeof(*task));
	sim_event_init(world, &task->event, SIM_KIND_JOB, task_event);
	task->node = node;
	task->job = job;
	TAILQ_INSERT_TAIL(&node->tasks, task, link);
	sim_schedule(world, &task->event,
		     sim_local_now(world) +
			     sim_between(&world->schedule, 1, world->faults.turn_max_ns));
}

void sim_job_start(struct env_loop *base, struct env_job *job)
{
	struct sim_loop *loop = sim_loop_of(base);
	job->loop = base;
	job->next = NULL;
	job->message.run = job_done;
	if (loop->dead || sim_is_gone(loop->node))
		return;
	if (!loop->may_block) {
		start_task(loop->node, job);
		return;
	}
	if (loop->job_last)
		loop->job_last->next = job;
	else
		loop->job_first = job;
	loop->job_last = job;
	sim_wake(loop);
}

static void run_own_jobs(struct sim_loop *loop)
{
	struct env_job *job = loop->job_first;
	loop->job_first = loop->job_last = NULL;
	while (job && !sim_is_gone(loop->node)) {
		struct env_job *next = job->next;
		job->run(job);
		if (!sim_is_gone(loop->node))
			job->done(job);
		job = next;
	}
}

/* ---- streams and listeners ---- */

void sim_source_queue(struct sim_loop *loop, struct sim_source *source)
{
	if (source->queued || loop->dead)
		return;
	source->queued = true;
	TAILQ_INSERT_TAIL(&loop->sources, source, link);
	loop->source_count++;
	sim_wake(loop);
}

void sim_source_remove(struct sim_loop *loop, struct sim_source *source)
{
	if (!source->queued)
		return;
	source->queued = false;
	TAILQ_REMOVE(&loop->sources, source, link);
	loop->source_count--;
}

static void dispatch_sources(struct sim_loop *loop)
{
	struct prng *schedule = &loop->node->world->schedule;
	unsigned rounds = loop->source_count;
	while (rounds-- > 0 && loop->source_count > 0 && !sim_is_gone(loop->node)) {
		struct sim_source *source = TAILQ_FIRST(&loop->sources);
		uint64_t skip = prng_below(schedule, loop->source_count);
		while (skip-- > 0)
			source = TAILQ_NEXT(source, link);
		sim_source_remove(loop, source);
		source->dispatch(source);
	}
}

/* ---- signals ---- */

enum err_code sim_on_signal(struct env_loop *base, int signal_number,
			    void (*handler)(void *argument, int signal_number), void *argument,
			    struct err *err)
{
	struct sim_loop *loop = sim_loop_of(base);
	(void)err;
	struct sim_signal_handler *entry = sim_allocate(sizeof(*entry));
	entry->signal_number = signal_number;
	entry->handler = handler;
	entry->argument = argument;
	TAILQ_INSERT_TAIL(&loop->signals, entry, link);
	return ERR_OK;
}

void sim_signal(struct env *env, int signal_number)
{
	struct sim_loop *loop;
	TAILQ_FOREACH(loop, &sim_node_of(env)->loops, link)
	{
		struct sim_signal_handler *entry;
		TAILQ_FOREACH(entry, &loop->signals, link)
		{
			if (entry->signal_number != signal_number || loop->dead)
				continue;
			entry->pending = true;
			sim_wake(loop);
		}
	}
}

static void handle_signals(struct sim_loop *loop)
{
	struct sim_signal_handler *entry;
	TAILQ_FOREACH(entry, &loop->signals, link)
	{
		if (!entry->pending || sim_is_gone(loop->node))
			continue;
		entry->pending = false;
		entry->handler(entry->argument, entry->signal_number);
	}
}

/* ---- turns ---- */

static void run_phases(struct sim_loop *loop)
{
	void (*phases[])(struct sim_loop *) = {run_messages, run_own_jobs, dispatch_sources,
					       fire_timers, handle_signals};
	for (unsigned left = sizeof(phases) / sizeof(phases[0]); left > 0; left--) {
		uint64_t pick = prng_below(&loop->node->world->schedule, left);
		void (*phase)(struct sim_loop *) = phases[pick];
		phases[pick] = phases[left - 1];
		if (!sim_is_gone(loop->node))
			phase(loop);
	}
}

static void finish(struct sim_loop *loop)
{
	run_messages(loop);
	loop->finished = true;
	sim_cancel(loop->node->world, &loop->alarm);
}

/* Nothing is ready: the program hears of it, and the loop sleeps if that brought nothing new. */
static void fall_asleep(struct sim_loop *loop)
{
	env_idle_call(&loop->base);
	if (sim_is_gone(loop->node))
		return;
	if (has_work(loop))
		sim_wake(loop);
	else
		atomic_store_explicit(&loop->base.sleeping, true, memory_order_relaxed);
}

static void read_clocks(struct sim_loop *loop)
{
	loop->base.now_ns = sim_local_now(loop->node->world);
	loop->base.wall_ms = sim_wall_ms(&loop->node->base);
}

static bool is_held_up(struct sim_loop *loop)
{
	struct sim_world *world = loop->node->world;
	if (!sim_chance(world, world->faults.pause))
		return false;
	loop->busy_until_ns =
		world->now_ns + sim_between(&world->chance, 0, world->faults.pause_max_ns);
	sim_wake(loop);
	return true;
}

static void jump_wall_clock(struct sim_node *node)
{
	struct sim_world *world = node->world;
	if (!sim_chance(world, world->faults.wall_jump))
		return;
	uint64_t range = (uint64_t)world->faults.wall_jump_max_ms;
	node->wall_offset_ms += (int64_t)sim_between(&world->chance, 0, 2 * range) - (int64_t)range;
}

static void turn(struct sim_event *event)
{
	struct sim_loop *loop =
		(struct sim_loop *)((char *)event - offsetof(struct sim_loop, turn));
	struct sim_world *world = loop->node->world;
	if (loop->running || loop->finished || loop->dead || loop->node->paused)
		return; /* it looks again when it comes back, or when it is resumed */
	if (is_held_up(loop))
		return;
	jump_wall_clock(loop->node);
	read_clocks(loop);
	loop->running = true;
	run_phases(loop);
	if (!sim_is_gone(loop->node)) {
		if (loop->stopping)
			finish(loop);
		else if (has_work(loop))
			env_idle_call_if_late(&loop->base);
		else
			fall_asleep(loop);
	}
	loop->running = false;
	loop->busy_until_ns = sim_local_now(world);
	if (!loop->dead && !loop->finished) {
		set_alarm(loop);
		if (has_work(loop))
			sim_wake(loop);
	}
}

/* ---- life of a loop ---- */

struct env_loop *sim_loop_new(struct env *env, const char *name, bool may_block)
{
	struct sim_node *node = sim_node_of(env);
	if (sim_is_gone(node))
		return NULL;
	struct sim_loop *loop = sim_allocate(sizeof(*loop));
	loop->base = (struct env_loop){.ops = env->ops, .env = env, .name = name};
	loop->node = node;
	loop->may_block = may_block;
	sim_event_init(node->world, &loop->turn, SIM_KIND_TURN, turn);
	sim_event_init(node->world, &loop->alarm, SIM_KIND_ALARM, alarm_rings);
	TAILQ_INIT(&loop->sources);
	TAILQ_INIT(&loop->signals);
	TAILQ_INSERT_TAIL(&node->loops, loop, link);
	read_clocks(loop);
	return &loop->base;
}

static void release_loop(struct sim_loop *loop)
{
	struct sim_world *world = loop->node->world;
	struct sim_signal_handler *entry;
	sim_cancel(world, &loop->turn);
	sim_cancel(world, &loop->alarm);
	while ((entry = TAILQ_FIRST(&loop->signals))) {
		TAILQ_REMOVE(&loop->signals, entry, link);
		free(entry);
	}
	heap_release(&loop->timers);
	TAILQ_REMOVE(&loop->node->loops, loop, link);
	free(loop);
}

void sim_loop_free(struct env_loop *base)
{
	struct sim_loop *loop = sim_loop_of(base);
	if (loop->dead)
		return;
	assert(!loop->running && (!loop->started || loop->finished || loop->node->frozen));
	run_messages(loop);
	release_loop(loop);
}

enum err_code sim_loop_start(struct env_loop *base, int cpu, struct err *err)
{
	struct sim_loop *loop = sim_loop_of(base);
	(void)cpu;
	if (loop->dead || sim_is_gone(loop->node))
		return ERR_SET(err, ERR_ENVIRONMENT, "cannot start thread %s", base->name);
	assert(!loop->started);
	loop->started = true;
	set_alarm(loop);
	sim_wake(loop);
	return ERR_OK;
}

/* Runs the world, within a callback perhaps, until the loop has stopped. */
static void run_until_finished(struct sim_loop *loop)
{
	struct sim_world *world = loop->node->world;
	uint64_t before = sim_local_now(world);
	while (!loop->finished && !loop->dead) {
		if (!sim_step(world, world->limit_ns)) {
			world->gave_up = true;
			break;
		}
	}
	world->spent_ns = before > world->now_ns ? before - world->now_ns : 0;
}

void sim_loop_run(struct env_loop *base)
{
	struct sim_loop *loop = sim_loop_of(base);
	assert(!loop->running);
	if (!loop->started && sim_loop_start(base, -1, NULL) != ERR_OK)
		return;
	run_until_finished(loop);
}

void sim_loop_join(struct env_loop *base)
{
	struct sim_loop *loop = sim_loop_of(base);
	if (loop->started)
		run_until_finished(loop);
}

void sim_loop_stop(struct env_loop *base)
{
	struct sim_loop *loop = sim_loop_of(base);
	if (loop->dead || sim_is_gone(loop->node))
		return;
	loop->stopping = true;
	sim_wake(loop);
}

/* The program's timers are taken out, so that it may free them. */
void sim_loops_kill(struct sim_node *node)
{
	struct sim_task *task;
	struct sim_loop *loop;
	while ((task = TAILQ_FIRST(&node->tasks))) {
		TAILQ_REMOVE(&node->tasks, task, link);
		sim_cancel(node->world, &task->event);
		free(task);
	}
	TAILQ_FOREACH(loop, &node->loops, link)
	{
		struct heap_node *timer;
		while ((timer = heap_first(&loop->timers)))
			heap_remove(&loop->timers, timer);
		loop->first = loop->last = NULL;
		loop->job_first = loop->job_last = NULL;
		loop->dead = true;
		sim_cancel(node->world, &loop->turn);
		sim_cancel(node->world, &loop->alarm);
	}
}

void sim_loops_release(struct sim_node *node)
{
	struct sim_loop *loop;
	while ((loop = TAILQ_FIRST(&node->loops))) {
		assert(!loop->running);
		release_loop(loop);
	}
}

struct sim_usage sim_node_usage(struct env *env)
{
	struct sim_node *node = sim_node_of(env);
	struct sim_usage usage = {0};
	if (node->down)
		return usage;
	struct sim_loop *loop;
	struct sim_task *task;
	TAILQ_FOREACH(loop, &node->loops, link)
	{
		usage.loops++;
		usage.timers += (unsigned)loop->timers.count;
	}
	TAILQ_FOREACH(task, &node->tasks, link)
	{
		usage.jobs++;
	}
	sim_network_usage(node, &usage);
	sim_disk_usage(node, &usage);
	return usage;
}
