/* The running log: what producers call, and the order of the log loop's work. */
#include "ledger/log_internal.h"

#include "base/encode.h"

#include <assert.h>
#include <stdlib.h>

/* A producer that is busy holds records back for at most so long. */
#define QUIET_NS 20000000u
#define HOLD_NS UINT64_C(1000000)
/* A sync costs the processor as much as several requests. After a commit of so many records the
 * next one waits until it has as many or more: it starts no sooner than this after the last one
 * started, and so no later than HOLD_NS after the oldest record that waits. */
#define BUSY_RECORDS 16
#define GAP_STRICT_NS UINT64_C(800000)
/* Where nobody waits for the disk: after every commit, so that the log's thread does not take the
 * processor from a worker for each record of a quiet gateway. */
#define GAP_RELAXED_NS UINT64_C(2000000)
#define CHECKPOINT_DELAY_NS UINT64_C(100000000)
#define CHECKPOINT_GAP_NS UINT64_C(2000000) /* between two signatures */
/* The file that readers of the disk find lags behind the mark by so much at most. */
#define STORE_GAP_NS UINT64_C(100000000)
#define SPACE_RETRY_NS UINT64_C(1000000000)
/* Zeros written between two commits: so few that none waits long, and more than a commit takes. */
#define PREPARE_STEP (2 * LOG_COMMIT_BYTES)

/* ---- indices, ids, nonces ---- */

uint64_t log_take_index(struct log *log)
{
	return atomic_fetch_add(&log->next_index, 1);
}

uint64_t log_next_index(const struct log *log)
{
	return atomic_load(&log->next_index);
}

void log_record_id(const struct log *log, uint64_t index, char out[static RECORD_ID_SIZE + 1])
{
	uint8_t input[10] = "id", digest[SHA256_SIZE];
	for (unsigned i = 0; i < 8; i++)
		input[2 + i] = (uint8_t)(index >> (56 - 8 * i));
	hmac_of(&log->secret, input, sizeof(input), digest);
	uint8_t id[RECORD_ID_SIZE / 2];
	memcpy(id, input + 4, 6);
	memcpy(id + 6, digest, 10);
	hex_encode(id, sizeof(id), out);
}

void log_nonce(const struct log *log, const char *id, uint8_t out[static LOG_NONCE_SIZE])
{
	uint8_t digest[SHA256_SIZE];
	hmac_of(&log->secret, id, strlen(id), digest);
	memcpy(out, digest, LOG_NONCE_SIZE);
}

/* ---- producers ---- */

void log_wake(struct log *log)
{
	if (!atomic_exchange(&log->waker->posted, true))
		env_post(log->loop, &log->waker->message);
}

static void acknowledge(struct log_producer *producer)
{
	uint64_t durable = atomic_load_explicit(&producer->log->durable, memory_order_acquire);
	while (producer->first && producer->first->index < durable) {
		struct log_entry *entry = producer->first;
		producer->first = entry->next_own;
		entry->durable(entry);
	}
}

static void on_durable(struct env_message *message)
{
	struct log_producer *producer =
		(struct log_producer *)((char *)message - offsetof(struct log_producer, message));
	/* An exchange, not a store: who found it set has made records durable before, and this is
	 * to see them. */
	atomic_exchange(&producer->message_posted, false);
	if (producer->log)
		acknowledge(producer);
}

void log_producer_init(struct log_producer *producer, struct log *log, struct env_loop *loop)
{
	memset(producer, 0, sizeof(*producer));
	producer->log = log;
	producer->loop = loop;
	producer->message.run = on_durable;
}

void log_producer_close(struct log_producer *producer)
{
	producer->log = NULL;
	producer->first = producer->last = NULL;
	producer->unflushed_since_ns = 0;
}

void log_submit(struct log_producer *producer, struct log_entry *entry)
{
	struct log *log = producer->log;
	assert(entry->size >= 1 && entry->size <= RECORD_SIZE_MAX);
	assert(entry->units >= log_units(entry->size) && entry->durable);
	entry->producer = producer;
	entry->next_own = NULL;
	if (producer->first)
		producer->last->next_own = entry;
	else
		producer->first = entry;
	producer->last = entry;
	if (producer->unflushed_since_ns == 0)
		producer->unflushed_since_ns = producer->loop->now_ns | 1;
	producer->loop->idle_wanted = producer->loop->idle != NULL;
	struct log_entry *head = atomic_load_explicit(&log->incoming, memory_order_relaxed);
	do {
		entry->next = head;
	} while (!atomic_compare_exchange_weak(&log->incoming, &head, entry));
}

void log_producer_turn(struct log_producer *producer, bool idle)
{
	if (producer->unflushed_since_ns == 0)
		return;
	if (!idle && producer->loop->now_ns < producer->unflushed_since_ns + HOLD_NS)
		return;
	producer->unflushed_since_ns = 0;
	if (!atomic_load(&producer->log->holding)) /* else it looks again by itself, soon */
		log_wake(producer->log);
}

/* ---- room ---- */

/* What only refusals may use. */
static int64_t refusal_room(const struct log *log)
{
	return log_segment_room(log) / 8;
}

/* Below this, another segment is prepared. */
static int64_t low_room(const struct log *log)
{
	return log_segment_room(log);
}

static bool take_room(struct log *log, unsigned units, int64_t keep)
{
	int64_t bytes = (int64_t)units * LOG_UNIT;
	if (atomic_load(&log->failed))
		return false;
	int64_t before = atomic_fetch_sub(&log->room, bytes);
	bool enough = before - bytes >= keep;
	if (!enough)
		atomic_fetch_add(&log->room, bytes);
	if (before - bytes < low_room(log) && (before >= low_room(log) || !enough) &&
	    !atomic_load(&log->no_space))
		log_wake(log);
	return enough;
}

bool log_reserve(struct log *log, unsigned units)
{
	return take_room(log, units, refusal_room(log));
}

bool log_reserve_refusal(struct log *log, unsigned units)
{
	return take_room(log, units, 0);
}

void log_unreserve(struct log *log, unsigned units)
{
	atomic_fetch_add(&log->room, (int64_t)units * LOG_UNIT);
}

bool log_is_working(const struct log *log)
{
	return !atomic_load(&log->failed) && !atomic_load(&log->no_space);
}

uint64_t log_work_done(const struct log *log)
{
	return atomic_load(&log->progress);
}

/* ---- bringing records into order ---- */

static struct log_entry *merge(struct log_entry *a, struct log_entry *b)
{
	struct log_entry *first = NULL, **at = &first;
	while (a && b) {
		struct log_entry **least = a->index < b->index ? &a : &b;
		*at = *least;
		at = &(*at)->next;
		*least = *at;
	}
	*at = a ? a : b;
	return first;
}

/* From the last submitted to the first: what one worker submits in order is one run. Takes the
 * first run off the list and turns it round. */
static struct log_entry *take_run(struct log_entry **list)
{
	struct log_entry *run = NULL;
	do {
		struct log_entry *entry = *list;
		*list = entry->next;
		entry->next = run;
		run = entry;
	} while (*list && (*list)->index < run->index);
	return run;
}

/* Merge sort from the bottom: runs[i] is empty or made of 2^i runs, so that each is merged log n
 * times. */
static struct log_entry *sort(struct log_entry *list)
{
	struct log_entry *runs[64];
	unsigned used = 0;
	while (list) {
		struct log_entry *run = take_run(&list);
		unsigned i = 0;
		for (; i < used && runs[i]; i++) {
			run = merge(runs[i], run);
			runs[i] = NULL;
		}
		runs[i] = run;
		used += i == used;
	}
	struct log_entry *sorted = NULL;
	for (unsigned i = 0; i < used; i++)
		sorted = merge(runs[i], sorted);
	return sorted;
}

/* In one order with the flags of log_wake and log->holding: they are lowered before this looks, and
 * who finds one of them raised has submitted before. */
void log_gather(struct log *log)
{
	struct log_entry *taken = atomic_exchange(&log->incoming, NULL);
	if (taken)
		log->pending = merge(log->pending, sort(taken));
}

/* ---- work ---- */

static void arm_checkpoint(struct log *log, uint64_t at_ns)
{
	/* Without memory for a timer the checkpoint is made at once. */
	log->checkpoint_armed = env_timer_arm(log->loop, &log->checkpoint_timer, at_ns);
	if (!log->checkpoint_armed)
		log->checkpoint_due = true;
}

static void on_checkpoint_timer(struct env_timer *timer)
{
	struct log *log = (struct log *)((char *)timer - offsetof(struct log, checkpoint_timer));
	log->checkpoint_armed = false;
	log->checkpoint_due = true;
	log_work(log);
}

static void on_space_timer(struct env_timer *timer)
{
	struct log *log = (struct log *)((char *)timer - offsetof(struct log, space_timer));
	log->space_waiting = false;
	log_work(log);
}

static void fail(struct log *log)
{
	if (atomic_exchange(&log->failed, true))
		return;
	err_prefix(&log->err, "the log can no longer be written");
	if (log->options.fatal)
		log->options.fatal(log->options.argument, &log->err);
}

static void run_commit(struct log *log)
{
	log->code = log_commit_write(log, &log->err);
}

static void on_hold_timer(struct env_timer *timer)
{
	struct log *log = (struct log *)((char *)timer - offsetof(struct log, hold_timer));
	atomic_store(&log->holding, false); /* before looking: who saw it set has submitted */
	log->woken = true;
	log_work(log);
}

static void hold_next(struct log *log)
{
	bool relaxed = log->options.relaxed;
	uint64_t gap = relaxed ? GAP_RELAXED_NS : GAP_STRICT_NS;
	if ((relaxed || log->commit.count >= BUSY_RECORDS) &&
	    env_timer_arm(log->loop, &log->hold_timer, log->began_ns + gap))
		atomic_store(&log->holding, true);
}

static void notify_producers(struct log *log)
{
	struct log_producer *producer = log->commit.producers;
	while (producer) {
		/* Read first: once told, the producer may go on by itself. */
		struct log_producer *next = producer->batch_next;
		if (!atomic_exchange(&producer->message_posted, true))
			env_post(producer->loop, &producer->message);
		producer = next;
	}
}

static void done_commit(struct log *log)
{
	if (log->code != ERR_OK) {
		fail(log);
		return;
	}
	if (log->commit.count == 0)
		return;
	log->commit_ns = log->loop->now_ns;
	atomic_fetch_add(&log->progress, 1);
	hold_next(log);
	log_commit_integrate(log);
	atomic_store_explicit(&log->durable, log->next_commit, memory_order_release);
	notify_producers(log);
	if (!log->checkpoint_armed && !log->checkpoint_due)
		arm_checkpoint(log, log->loop->now_ns + CHECKPOINT_DELAY_NS);
}

static void run_tiles(struct log *log)
{
	log_tree_flush(log, 0);
}

static void run_upper_tiles(struct log *log)
{
	log_tree_flush(log, 1);
}

static void done_tiles(struct log *log)
{
	(void)log;
}

static void run_checkpoint(struct log *log)
{
	log->code = log_checkpoint_make(log, &log->err);
}

static void done_checkpoint(struct log *log)
{
	if (log->code == ERR_OK) {
		log_checkpoint_publish(log);
	} else if (log->code == ERR_NO_SPACE || log->code == ERR_NO_MEMORY) {
		arm_checkpoint(log, log->loop->now_ns + CHECKPOINT_DELAY_NS);
	} else {
		fail(log);
	}
}

static void run_store(struct log *log)
{
	log->code = log_checkpoint_store(log, &log->err);
}

/* Without room it is tried again later: what was signed is in the mark. */
static void done_store(struct log *log)
{
	log->stored_ns = log->loop->now_ns;
	if (log->code == ERR_OK)
		log->unstored = false;
	else if (log->code != ERR_NO_SPACE && log->code != ERR_NO_MEMORY)
		fail(log);
}

static void run_prepare(struct log *log)
{
	bool ready;
	log->code = log_prepare(log, PREPARE_STEP, &ready, &log->err);
	if (log->code == ERR_OK && ready)
		atomic_fetch_add(&log->room, log_segment_room(log));
}

/* A segment that cannot be prepared is no failure yet: requests are refused while room is short. */
static void done_prepare(struct log *log)
{
	atomic_store(&log->no_space, log->code != ERR_OK);
	if (log->code == ERR_OK) {
		atomic_fetch_add(&log->progress, 1);
		return;
	}
	log->space_waiting =
		env_timer_arm(log->loop, &log->space_timer, log->loop->now_ns + SPACE_RETRY_NS);
}

static const struct {
	void (*run)(struct log *log);
	void (*done)(struct log *log);
} works[] = {
	[LOG_WORK_COMMIT] = {run_commit,      done_commit    },
	[LOG_WORK_TILES] = {run_tiles,       done_tiles     },
	[LOG_WORK_UPPER_TILES] = {run_upper_tiles, done_tiles     },
	[LOG_WORK_CHECKPOINT] = {run_checkpoint,  done_checkpoint},
	[LOG_WORK_STORE] = {run_store,       done_store     },
	[LOG_WORK_PREPARE] = {run_prepare,     done_prepare   },
};

static bool checkpoint_is_wanted(struct log *log)
{
	if (log->checkpoint_head.size == log->next_commit && !log_has_next_key(log)) {
		log->checkpoint_due = false;
		atomic_store(&log->checkpoint_wanted, false);
		return false;
	}
	if (atomic_exchange(&log->checkpoint_wanted, false))
		log->checkpoint_due = true;
	uint64_t soonest = log->signed_ns + CHECKPOINT_GAP_NS;
	if (log->checkpoint_due && log->loop->now_ns < soonest) {
		log->checkpoint_due = false;
		arm_checkpoint(log, soonest);
	}
	return log->checkpoint_due;
}

static bool store_is_wanted(struct log *log)
{
	if (!log->unstored)
		return false;
	if (log->loop->now_ns >= log->stored_ns + STORE_GAP_NS)
		return true;
	if (!log->checkpoint_armed)
		arm_checkpoint(log, log->stored_ns + STORE_GAP_NS);
	return false;
}

static bool prepare_is_wanted(struct log *log, int64_t below)
{
	return log->spare_count < LOG_SPARES_MAX && !log->space_waiting &&
	       atomic_load(&log->room) < below;
}

/* Making a file costs more than committing the 256 records it sums up, so tiles of the lowest level
 * wait until the log is quiet; the checkpoint that follows the last commit comes later than that
 * and leads here. Those above sum up 65,536 and more, which a start after a crash would read again.
 */
static bool is_quiet(const struct log *log)
{
	return log->loop->now_ns - log->commit_ns >= QUIET_NS;
}

static enum log_work choose_housekeeping(struct log *log)
{
	/* Where a sync takes as long as the gap between checkpoints, one is wanted every time. */
	bool scarce = prepare_is_wanted(log, low_room(log) / 2);
	if (store_is_wanted(log))
		return LOG_WORK_STORE;
	if (log->tree.full_above > 0)
		return LOG_WORK_UPPER_TILES;
	if (scarce && log->last_rest == LOG_WORK_CHECKPOINT)
		return LOG_WORK_PREPARE;
	if (checkpoint_is_wanted(log))
		return LOG_WORK_CHECKPOINT;
	if (scarce)
		return LOG_WORK_PREPARE;
	if (log->tree.full_lowest > 0 && is_quiet(log))
		return LOG_WORK_TILES;
	return prepare_is_wanted(log, low_room(log)) ? LOG_WORK_PREPARE : LOG_WORK_NONE;
}

/* Commits first, but after each of them one piece of the rest, so that neither starves. */
static enum log_work choose_work(struct log *log)
{
	bool holding = atomic_load(&log->holding);
	if (log->woken && !holding) {
		log->woken = false;
		log_gather(log);
	}
	bool ready = !holding && log->pending && log->pending->index == log->next_commit;
	enum log_work rest = LOG_WORK_NONE;
	if ((!ready && !holding) || log->last_work == LOG_WORK_COMMIT)
		rest = choose_housekeeping(log);
	if (rest != LOG_WORK_NONE)
		log->last_rest = rest;
	return rest != LOG_WORK_NONE ? rest : ready ? LOG_WORK_COMMIT : LOG_WORK_NONE;
}

void log_work(struct log *log)
{
	if (log->busy || atomic_load(&log->failed))
		return;
	log->work = choose_work(log);
	log->last_work = log->work;
	if (log->work == LOG_WORK_NONE)
		return;
	if (log->work == LOG_WORK_CHECKPOINT)
		log->checkpoint_due = false;
	log->busy = true;
	log->began_ns = env_clock_ns(log->env);
	log->job_ran = false;
	env_job_start(log->loop, &log->job);
}

static void run_job(struct env_job *job)
{
	struct log *log = (struct log *)((char *)job - offsetof(struct log, job));
	works[log->work].run(log);
	log->job_ran = true;
}

static void done_job(struct env_job *job)
{
	struct log *log = (struct log *)((char *)job - offsetof(struct log, job));
	log->busy = false;
	works[log->work].done(log);
	log_work(log);
}

static void on_wake(struct env_message *message)
{
	struct log_waker *waker =
		(struct log_waker *)((char *)message - offsetof(struct log_waker, message));
	atomic_store(&waker->posted, false);
	if (!waker->log) {
		free(waker);
		return;
	}
	waker->log->woken = true;
	log_work(waker->log);
}

bool log_work_init(struct log *log)
{
	log->job.run = run_job;
	log->job.done = done_job;
	log->checkpoint_timer.fire = on_checkpoint_timer;
	log->space_timer.fire = on_space_timer;
	log->hold_timer.fire = on_hold_timer;
	log->waker = calloc(1, sizeof(*log->waker));
	if (!log->waker)
		return false;
	log->waker->message.run = on_wake;
	log->waker->log = log;
	return true;
}

void log_work_release(struct log *log)
{
	if (!log->waker)
		return;
	log->waker->log = NULL;
	if (!atomic_load(&log->waker->posted))
		free(log->waker);
}

void log_checkpoint_now(struct log *log)
{
	atomic_store(&log->checkpoint_wanted, true);
	log_wake(log);
}

void log_get_stats(struct log *log, struct log_stats *out)
{
	pthread_mutex_lock(&log->lock);
	*out = (struct log_stats){
		.records = log->tree.size,
		.checkpoint = log->checkpoint_head.size,
		.commits = log->commits,
		.checkpoints = log->checkpoints,
		.bytes = log->bytes,
		.segments = log->segment_count,
		.room = atomic_load(&log->room),
		.failed = atomic_load(&log->failed),
		.no_space = atomic_load(&log->no_space),
		.sealed = log->sealed,
		.seal_failures = log->seal_failures,
		.rotten = log->rot_count,
		.scrubbed = log->scrubbed,
		.scrubs = log->scrubs,
		.scrub_ms = log->scrub_ms,
	};
	uint64_t taken = atomic_load(&log->next_index);
	out->waiting = taken > out->records ? taken - out->records : 0;
	pthread_mutex_unlock(&log->lock);
}

/* 32 us to 1 s; 1 to 4,096 records. */
const struct tally_scale log_time_scale = {32, 1, 16, 1e-6};
const struct tally_scale log_batch_scale = {1, 1, 13, 1};

const struct log_timings *log_timings(const struct log *log)
{
	return &log->timings;
}
