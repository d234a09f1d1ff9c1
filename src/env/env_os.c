/* The machine: loops on epoll, timers in a heap, messages through a lock-free stack, jobs on a
 * small pool of threads.
 *
 * Sleeping and waking. A loop that found nothing ready raises `sleeping`, looks at its mailbox once
 * more and then waits; a sender pushes first and then lowers `sleeping`, writing to the eventfd
 * only if it was up. Both orders are sequentially consistent, so that no message is left behind. */
#include "env/env_idle.h"
#include "env/env_os_internal.h"

#include <assert.h>
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#define EVENTS_PER_TURN 128

/* ---- sources ---- */

bool os_source_add(struct os_loop *loop, struct os_source *source, uint32_t events)
{
	struct epoll_event event = {.events = events, .data.ptr = source};
	return epoll_ctl(loop->epoll, EPOLL_CTL_ADD, source->fd, &event) == 0;
}

void os_source_close(struct os_loop *loop, struct os_source *source)
{
	assert(!source->dead);
	close(source->fd); /* leaves the epoll set with it */
	source->dead = true;
	source->next_dead = loop->dead;
	loop->dead = source;
}

void os_source_sweep(struct os_loop *loop)
{
	while (loop->dead) {
		struct os_source *source = loop->dead;
		loop->dead = source->next_dead;
		free(source);
	}
}

/* ---- time and chance ---- */

static uint64_t clock_ns(struct env *env)
{
	struct timespec now;
	(void)env;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static int64_t wall_ms(struct env *env)
{
	struct timespec now;
	(void)env;
	clock_gettime(CLOCK_REALTIME, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void random_bytes(struct env *env, void *out, size_t size)
{
	char *to = out;
	(void)env;
	while (size > 0) {
		ssize_t got = getrandom(to, size, 0);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			abort(); /* no randomness: nothing that follows would be safe */
		to += got;
		size -= (size_t)got;
	}
}

static bool timer_arm(struct env_loop *base, struct env_timer *timer, uint64_t at_ns)
{
	struct os_loop *loop = os_loop_of(base);
	heap_remove(&loop->timers, &timer->node);
	timer->node.key = at_ns;
	return heap_push(&loop->timers, &timer->node);
}

static void timer_disarm(struct env_loop *base, struct env_timer *timer)
{
	heap_remove(&os_loop_of(base)->timers, &timer->node);
}

static void fire_timers(struct os_loop *loop)
{
	struct heap_node *node;
	while ((node = heap_first(&loop->timers)) && node->key <= loop->base.now_ns) {
		struct env_timer *timer = (struct env_timer *)node;
		heap_remove(&loop->timers, node);
		timer->fire(timer);
	}
}

/* ---- messages ---- */

static void post(struct env_loop *to, struct env_message *message)
{
	struct os_loop *loop = os_loop_of(to);
	struct env_message *newest = atomic_load_explicit(&loop->mailbox, memory_order_relaxed);
	do
		atomic_store_explicit(&message->next, newest, memory_order_relaxed);
	while (!atomic_compare_exchange_weak(&loop->mailbox, &newest, message));
	if (atomic_load(&to->sleeping) && atomic_exchange(&to->sleeping, false)) {
		uint64_t one = 1;
		while (write(loop->wake.fd, &one, sizeof(one)) < 0 && errno == EINTR)
			;
	}
}

static bool drain_mailbox(struct os_loop *loop)
{
	if (!atomic_load_explicit(&loop->mailbox, memory_order_relaxed))
		return false;
	struct env_message *newest = atomic_exchange(&loop->mailbox, NULL);
	struct env_message *oldest = NULL;
	while (newest) {
		struct env_message *next =
			atomic_load_explicit(&newest->next, memory_order_relaxed);
		atomic_store_explicit(&newest->next, oldest, memory_order_relaxed);
		oldest = newest;
		newest = next;
	}
	while (oldest) {
		struct env_message *next =
			atomic_load_explicit(&oldest->next, memory_order_relaxed);
		oldest->run(oldest);
		oldest = next;
	}
	return true;
}

static void wake_event(struct os_source *source, uint32_t events)
{
	uint64_t count;
	(void)events;
	if (read(source->fd, &count, sizeof(count)) < 0)
		assert(errno == EAGAIN || errno == EINTR);
}

/* ---- jobs ---- */

static void job_done(struct env_message *message)
{
	struct env_job *job = (struct env_job *)message;
	job->done(job);
}

static void *job_thread(void *argument)
{
	struct os_env *env = argument;
	pthread_mutex_lock(&env->lock);
	for (;;) {
		while (!env->first && !env->stopping)
			pthread_cond_wait(&env->work, &env->lock);
		if (!env->first)
			break;
		struct env_job *job = env->first;
		env->first = job->next;
		if (!env->first)
			env->last = NULL;
		struct os_loop *loop = os_loop_of(job->loop);
		pthread_mutex_unlock(&env->lock);
		job->run(job);
		env_post(&loop->base, &job->message);
		pthread_mutex_lock(&env->lock);
		if (--loop->jobs == 0)
			pthread_cond_broadcast(&env->finished);
	}
	pthread_mutex_unlock(&env->lock);
	return NULL;
}

static void start_job_thread(struct os_env *env)
{
	if (env->threads_running == env->threads_wanted)
		return;
	if (pthread_create(&env->threads[env->threads_running], NULL, job_thread, env) == 0)
		env->threads_running++;
	else
		assert(env->threads_running > 0); /* no thread at all: nothing could ever finish */
}

static void job_start(struct env_loop *base, struct env_job *job)
{
	struct os_loop *loop = os_loop_of(base);
	struct os_env *env = (struct os_env *)base->env;
	job->loop = base;
	job->next = NULL;
	job->message.run = job_done;
	if (loop->may_block) {
		if (loop->inline_last)
			loop->inline_last->next = job;
		else
			loop->inline_first = job;
		loop->inline_last = job;
		return;
	}
	pthread_mutex_lock(&env->lock);
	loop->jobs++;
	start_job_thread(env);
	if (env->last)
		env->last->next = job;
	else
		env->first = job;
	env->last = job;
	pthread_cond_signal(&env->work);
	pthread_mutex_unlock(&env->lock);
}

static bool run_inline_jobs(struct os_loop *loop)
{
	struct env_job *job = loop->inline_first;
	loop->inline_first = loop->inline_last = NULL;
	bool any = job != NULL;
	while (job) {
		struct env_job *next = job->next;
		job->run(job);
		job->done(job);
		job = next;
	}
	return any;
}

/* ---- the loop ---- */

static void read_clocks(struct os_loop *loop)
{
	loop->base.now_ns = clock_ns(loop->base.env);
	loop->base.wall_ms = wall_ms(loop->base.env);
}

static int sleep_ms(struct os_loop *loop)
{
	const struct heap_node *first = heap_first(&loop->timers);
	if (!first)
		return -1;
	if (first->key <= loop->base.now_ns)
		return 0;
	uint64_t wait = (first->key - loop->base.now_ns + 999999) / 1000000;
	return wait > 3600000 ? 3600000 : (int)wait;
}

/* To the nanosecond, where the kernel can. */
static int sleep_precisely(struct os_loop *loop, struct epoll_event *events)
{
	const struct heap_node *first = heap_first(&loop->timers);
	uint64_t now = clock_ns(loop->base.env);
	uint64_t wait = first && first->key > now ? first->key - now : 0;
	struct timespec limit = {(time_t)(wait / 1000000000u), (long)(wait % 1000000000u)};
	int count = epoll_pwait2(loop->epoll, events, EVENTS_PER_TURN, first ? &limit : NULL, NULL);
	if (count < 0 && errno == ENOSYS) /* before Linux 5.11 */
		count = epoll_wait(loop->epoll, events, EVENTS_PER_TURN, sleep_ms(loop));
	return count;
}

static int wait_events(struct os_loop *loop, struct epoll_event *events, bool busy)
{
	int count;
	env_idle_call_if_late(&loop->base);
	if (busy)
		return epoll_wait(loop->epoll, events, EVENTS_PER_TURN, 0);
	if (loop->base.idle_wanted) {
		count = epoll_wait(loop->epoll, events, EVENTS_PER_TURN, 0);
		if (count != 0)
			return count;
		env_idle_call(&loop->base);
	}
	atomic_store(&loop->base.sleeping, true);
	if (atomic_load(&loop->mailbox) || atomic_load(&loop->stopping) || loop->inline_first)
		count = 0;
	else if (loop->base.precise)
		count = sleep_precisely(loop, events);
	else
		count = epoll_wait(loop->epoll, events, EVENTS_PER_TURN, sleep_ms(loop));
	atomic_store(&loop->base.sleeping, false);
	return count;
}

static void turn(struct os_loop *loop)
{
	struct epoll_event events[EVENTS_PER_TURN];
	bool busy = drain_mailbox(loop);
	busy |= run_inline_jobs(loop);
	os_source_sweep(loop);
	int count = wait_events(loop, events, busy);
	read_clocks(loop);
	for (int i = 0; i < count; i++) {
		struct os_source *source = events[i].data.ptr;
		if (!source->dead)
			source->event(source, events[i].events);
	}
	fire_timers(loop);
	os_source_sweep(loop);
}

static void loop_run(struct env_loop *base)
{
	struct os_loop *loop = os_loop_of(base);
	read_clocks(loop);
	while (!atomic_load_explicit(&loop->stopping, memory_order_acquire))
		turn(loop);
	drain_mailbox(loop);
	os_source_sweep(loop);
}

static void *loop_thread(void *argument)
{
	struct os_loop *loop = argument;
	char name[16];
	strncpy(name, loop->base.name, sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	pthread_setname_np(pthread_self(), name);
	if (loop->cpu >= 0) {
		cpu_set_t set;
		CPU_ZERO(&set);
		CPU_SET((size_t)loop->cpu, &set);
		pthread_setaffinity_np(pthread_self(), sizeof(set), &set); /* a wish, not a need */
	}
	loop_run(&loop->base);
	return NULL;
}

static enum err_code loop_start(struct env_loop *base, int cpu, struct err *err)
{
	struct os_loop *loop = os_loop_of(base);
	loop->cpu = cpu;
	errno = pthread_create(&loop->thread, NULL, loop_thread, loop);
	if (errno)
		return ERR_SYS(err, ERR_ENVIRONMENT, "cannot start thread %s", base->name);
	loop->started = true;
	return ERR_OK;
}

static void wake_nothing(struct env_message *message)
{
	free(message);
}

static void loop_stop(struct env_loop *base)
{
	atomic_store(&os_loop_of(base)->stopping, true);
	struct env_message *message = calloc(1, sizeof(*message));
	if (message) {
		message->run = wake_nothing;
		post(base, message);
	} else if (atomic_exchange(&base->sleeping, false)) {
		uint64_t one = 1;
		if (write(os_loop_of(base)->wake.fd, &one, sizeof(one)) < 0)
			return; /* the counter is full: it is awake already */
	}
}

static void loop_join(struct env_loop *base)
{
	struct os_loop *loop = os_loop_of(base);
	if (!loop->started)
		return;
	pthread_join(loop->thread, NULL);
	loop->started = false;
}

static struct env_loop *loop_new(struct env *env, const char *name, bool may_block)
{
	struct os_loop *loop = calloc(1, sizeof(*loop));
	if (!loop)
		return NULL;
	loop->base = (struct env_loop){.ops = env->ops, .env = env, .name = name};
	loop->may_block = may_block;
	loop->cpu = -1;
	loop->epoll = epoll_create1(EPOLL_CLOEXEC);
	loop->wake = (struct os_source){.event = wake_event,
					.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
	if (loop->epoll < 0 || loop->wake.fd < 0 ||
	    !os_source_add(loop, &loop->wake, EPOLLIN | EPOLLET)) {
		close(loop->epoll);
		close(loop->wake.fd);
		free(loop);
		return NULL;
	}
	read_clocks(loop);
	return &loop->base;
}

/* A job that is still running will post to its loop. */
static void wait_for_jobs(struct os_loop *loop)
{
	struct os_env *env = (struct os_env *)loop->base.env;
	pthread_mutex_lock(&env->lock);
	while (loop->jobs > 0)
		pthread_cond_wait(&env->finished, &env->lock);
	pthread_mutex_unlock(&env->lock);
}

static void loop_free(struct env_loop *base)
{
	struct os_loop *loop = os_loop_of(base);
	loop_join(base);
	wait_for_jobs(loop);
	drain_mailbox(loop);
	os_source_sweep(loop);
	while (loop->signals) {
		struct os_signal *signal = loop->signals;
		loop->signals = signal->next;
		close(signal->source.fd);
		free(signal);
	}
	heap_release(&loop->timers);
	close(loop->wake.fd);
	close(loop->epoll);
	free(loop);
}

/* ---- signals ---- */

static void signal_event(struct os_source *source, uint32_t events)
{
	struct os_signal *signal = (struct os_signal *)source;
	struct signalfd_siginfo info;
	(void)events;
	while (read(source->fd, &info, sizeof(info)) == (ssize_t)sizeof(info))
		signal->handler(signal->argument, (int)info.ssi_signo);
}

static enum err_code on_signal(struct env_loop *base, int signal_number,
			       void (*handler)(void *argument, int signal_number), void *argument,
			       struct err *err)
{
	struct os_loop *loop = os_loop_of(base);
	struct os_signal *signal = calloc(1, sizeof(*signal));
	if (!signal)
		return ERR_SET(err, ERR_NO_MEMORY, "out of memory");
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, signal_number);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	signal->handler = handler;
	signal->argument = argument;
	signal->source.event = signal_event;
	signal->source.fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (signal->source.fd < 0 || !os_source_add(loop, &signal->source, EPOLLIN)) {
		ERR_SYS(err, ERR_ENVIRONMENT, "cannot receive signal %d", signal_number);
		if (signal->source.fd >= 0)
			close(signal->source.fd);
		free(signal);
		return ERR_ENVIRONMENT;
	}
	signal->next = loop->signals;
	loop->signals = signal;
	return ERR_OK;
}

/* ---- the world ---- */

const struct env_ops env_os_ops = {
	.loop_new = loop_new,
	.loop_free = loop_free,
	.loop_start = loop_start,
	.loop_run = loop_run,
	.loop_stop = loop_stop,
	.loop_join = loop_join,
	.post = post,
	.job_start = job_start,
	.on_signal = on_signal,
	.clock_ns = clock_ns,
	.wall_ms = wall_ms,
	.random = random_bytes,
	.timer_arm = timer_arm,
	.timer_disarm = timer_disarm,
	.listen = os_listen,
	.listener_address = os_listener_address,
	.listener_pause = os_listener_pause,
	.listener_close = os_listener_close,
	.accept = os_accept,
	.connect = os_connect,
	.receive = os_receive,
	.send = os_send,
	.shutdown = os_shutdown,
	.close = os_close,
	.lookup = os_lookup,
	.process_start = os_process_start,
	.process_cancel = os_process_cancel,
	.process_signal = os_process_signal,
	.file_open = os_file_open,
	.file_read = os_file_read,
	.file_write = os_file_write,
	.file_append = os_file_append,
	.file_sync = os_file_sync,
	.file_size = os_file_size,
	.file_truncate = os_file_truncate,
	.file_lock = os_file_lock,
	.file_close = os_file_close,
	.rename = os_rename,
	.unlink = os_unlink,
	.make_directory = os_make_directory,
	.sync_directory = os_sync_directory,
	.list_directory = os_list_directory,
	.chmod = os_chmod,
};

struct env *env_os_new(unsigned job_threads)
{
	assert(job_threads >= 1 && job_threads <= OS_JOB_THREADS_MAX);
	struct os_env *env = calloc(1, sizeof(*env));
	if (!env)
		return NULL;
	env->base.ops = &env_os_ops;
	env->threads_wanted = job_threads;
	pthread_mutex_init(&env->lock, NULL);
	pthread_cond_init(&env->work, NULL);
	pthread_cond_init(&env->finished, NULL);
	return &env->base;
}

void env_os_free(struct env *base)
{
	struct os_env *env = (struct os_env *)base;
	if (!env)
		return;
	pthread_mutex_lock(&env->lock);
	env->stopping = true;
	pthread_cond_broadcast(&env->work);
	pthread_mutex_unlock(&env->lock);
	for (unsigned i = 0; i < env->threads_running; i++)
		pthread_join(env->threads[i], NULL);
	pthread_mutex_destroy(&env->lock);
	pthread_cond_destroy(&env->work);
	pthread_cond_destroy(&env->finished);
	free(env);
}
