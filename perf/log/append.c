/* The log alone, without a gateway:
 *
 *   append DIR RECORDS PRODUCERS FLIGHT [open] [RATE]
 *   append DIR start
 *   append DIR seal
 *
 * The first appends admit and settle records and dies as if by kill -9; `open`: segments are not
 * sealed. `start` opens the log as after that crash, tells how long it took, and dies again; `seal`
 * does the same and waits until every full segment is sealed.
 *
 * Each producer is a thread that keeps FLIGHT records on their way. With RATE so many a second are
 * offered instead, whatever has become of those before, and at most FLIGHT are on their way: a
 * record that finds no place is late, and its time counts from when it was due.
 *
 * A reader asks for checkpoints all the time, and sees of one record in 64 how long it took from
 * its submission until a checkpoint covered it. One line of JSON. */
#include "base/prng.h"
#include "ledger/log.h"

#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define PRODUCERS_MAX 16
#define SAMPLE 64
#define SAMPLES_MAX (1u << 20)
#define PATH_SIZE 4096

struct run;

struct item {
	struct log_entry entry;
	struct producer *producer;
	struct item *next; /* of the idle ones */
	uint64_t due_ns;   /* of an open loop: when it was to be submitted */
	char text[700];
};

struct producer {
	struct run *run;
	struct env_loop *loop;
	struct log_producer log;
	struct env_message begin;
	struct prng prng;
	uint64_t left;
	unsigned flight;
	struct env_timer retry, due;
	double rate; /* records a second; 0: as fast as they become durable */
	uint64_t started_ns, offered;
	struct item *idle, *idle_last; /* of an open loop: those that have nothing on their way */
	unsigned waiting;              /* items without room */
	struct item **items;
};

struct run {
	struct log *log;
	struct producer producers[PRODUCERS_MAX];
	unsigned count;
	_Atomic uint64_t durable, sampled;
	uint64_t *sample_index, *sample_ns;
	double *latency;
};

static uint64_t now_ns(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static double cpu_s(void)
{
	struct timespec now;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* As the gateway writes them under purpose product: two of three bytes are digests. */
static size_t write_text(struct item *item, const char *id, const char *admit)
{
	uint8_t digests[3][32];
	struct record_usage usage = {.input = 58, .output = 20};
	struct record record = RECORD_INIT;
	for (unsigned i = 0; i < sizeof(digests); i += 8) {
		uint64_t draw = prng_next(&item->producer->prng);
		memcpy((uint8_t *)digests + i, &draw, 8);
	}
	record.kind = admit ? RECORD_SETTLE : RECORD_ADMIT;
	record.id = id;
	record.time_ms = 1793534400123 + (int64_t)(item->entry.index / 20);
	record.grant = BYTES("prod");
	record.org = BYTES("org_32476c124932fe211d8e");
	record.key = BYTES("key_263f75d2d58dc9687f20");
	record.model = BYTES("north-1");
	if (admit) {
		record.admit = bytes_from(admit);
		record.answer = digests[0];
		record.response = digests[1];
		record.ending = RECORD_ENDING_FINISH;
		record.served = BYTES("north-1-20261001");
		record.status = 200;
		record.usage = &usage;
	} else {
		record.request = digests[2];
		record.purpose = BYTES("product");
		record.release = BYTES("V2");
	}
	return record_format(&record, item->text, sizeof(item->text));
}

static void submit(struct item *item);

/* In turn, so that no admit record waits long for its settle record. */
static void put_idle(struct producer *producer, struct item *item)
{
	item->next = NULL;
	if (producer->idle)
		producer->idle_last->next = item;
	else
		producer->idle = item;
	producer->idle_last = item;
}

static void durable(struct log_entry *entry)
{
	struct item *item = (struct item *)entry;
	struct producer *producer = item->producer;
	atomic_fetch_add(&producer->run->durable, 1);
	if (producer->rate > 0) {
		put_idle(producer, item);
	} else if (producer->left > 0) {
		producer->left--;
		submit(item);
	}
}

static void submit(struct item *item)
{
	struct producer *producer = item->producer;
	struct run *run = producer->run;
	char id[RECORD_ID_SIZE + 1], admit[RECORD_ID_SIZE + 1];
	bool settles = item->entry.kind == RECORD_ADMIT;
	if (!log_reserve(run->log, 1)) {
		producer->items[producer->waiting++] = item;
		env_timer_arm(producer->loop, &producer->retry, producer->loop->now_ns + 200000);
		return;
	}
	uint64_t admit_index = settles ? item->entry.index : LOG_NO_INDEX, index;
	if (settles)
		log_record_id(run->log, admit_index, admit);
	index = log_take_index(run->log);
	log_record_id(run->log, index, id);
	item->entry = (struct log_entry){.index = index,
					 .admit_index = admit_index,
					 .kind = settles ? RECORD_SETTLE : RECORD_ADMIT,
					 .units = 1,
					 .text = item->text,
					 .durable = durable};
	item->entry.size = write_text(item, id, settles ? admit : NULL);
	if (index % SAMPLE == 0 && index / SAMPLE < SAMPLES_MAX)
		run->sample_ns[index / SAMPLE] = item->due_ns ? item->due_ns : now_ns();
	log_submit(&producer->log, &item->entry);
}

static void retry(struct env_timer *timer)
{
	struct producer *producer =
		(struct producer *)((char *)timer - offsetof(struct producer, retry));
	unsigned count = producer->waiting;
	producer->waiting = 0;
	for (unsigned i = 0; i < count; i++)
		submit(producer->items[i]);
}

/* An open loop: whatever is due by now. An item is idle after its admit record as after its settle
 * record, so that the next thing it does is the other. */
static void due(struct env_timer *timer)
{
	struct producer *producer =
		(struct producer *)((char *)timer - offsetof(struct producer, due));
	uint64_t now = now_ns();
	double passed = (double)(now - producer->started_ns) / 1e9;
	uint64_t wanted = (uint64_t)(passed * producer->rate);
	while (producer->offered < wanted && producer->left > 0 && producer->idle) {
		struct item *item = producer->idle;
		producer->idle = item->next;
		item->due_ns = producer->started_ns +
			       (uint64_t)((double)producer->offered * 1e9 / producer->rate);
		producer->offered++;
		producer->left--;
		submit(item);
	}
	log_producer_turn(&producer->log, true);
	if (producer->left > 0)
		env_timer_arm(producer->loop, &producer->due, producer->loop->now_ns + 200000);
}

static void begin(struct env_message *message)
{
	struct producer *producer =
		(struct producer *)((char *)message - offsetof(struct producer, begin));
	for (unsigned i = 0; i < producer->flight && producer->left > 0; i++) {
		struct item *item = calloc(1, sizeof(*item));
		item->producer = producer;
		item->entry.kind = RECORD_SETTLE; /* so that it begins with an admit */
		if (producer->rate > 0) {
			put_idle(producer, item);
			continue;
		}
		producer->left--;
		submit(item);
	}
	producer->started_ns = now_ns();
	if (producer->rate > 0)
		due(&producer->due);
	log_producer_turn(&producer->log, true);
}

static void idle(void *argument)
{
	struct producer *producer = argument;
	log_producer_turn(&producer->log, true);
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

/* Until all is durable and provable: the latencies, and how many. */
static size_t watch(struct run *run, uint64_t records)
{
	struct log_stats stats;
	size_t seen = 0;
	do {
		log_checkpoint_now(run->log);
		usleep(200);
		log_get_stats(run->log, &stats);
		uint64_t now = now_ns();
		for (; seen * SAMPLE < stats.checkpoint && seen < SAMPLES_MAX; seen++)
			run->latency[seen] = (double)(now - run->sample_ns[seen]) / 1e6;
	} while (stats.checkpoint < records);
	return seen;
}

/* With a mark beside the log, as the gateway keeps it. */
static struct log_options options_of(const char *directory, char mark[static PATH_SIZE],
				     struct ed25519_private *key, struct env_loop *care)
{
	snprintf(mark, PATH_SIZE, "%s.mark", directory);
	return (struct log_options){.directory = directory,
				    .origin = "perf.example/parley",
				    .mark = mark,
				    .key = key,
				    .secret = "a secret of thirty-two bytes....",
				    .care_loop = care};
}

static void fail(const struct err *err)
{
	fprintf(stderr, "%s\n", err->message);
	exit(3);
}

static int append(struct env *env, char **argv, struct env_loop *care, double rate,
		  struct ed25519_private *key)
{
	struct run run = {0};
	struct err err = ERR_INIT;
	char mark[PATH_SIZE];
	uint64_t records = strtoull(argv[2], NULL, 10);
	struct env_loop *log_loop = env_loop_new(env, "log", true);
	struct log_options options = options_of(argv[1], mark, key, care);
	run.count = (unsigned)atoi(argv[3]);
	run.sample_ns = calloc(SAMPLES_MAX, sizeof(*run.sample_ns));
	run.latency = calloc(SAMPLES_MAX, sizeof(*run.latency));
	log_loop->precise = true;
	if (run.count < 1 || run.count > PRODUCERS_MAX || records % (2 * run.count) != 0)
		return 2;
	if (log_open(env, log_loop, &options, &run.log, &err) != ERR_OK ||
	    env_loop_start(log_loop, -1, &err) != ERR_OK ||
	    (care && env_loop_start(care, -1, &err) != ERR_OK))
		fail(&err);
	double cpu = cpu_s();
	uint64_t began = now_ns();
	for (unsigned i = 0; i < run.count; i++) {
		struct producer *producer = &run.producers[i];
		*producer = (struct producer){.run = &run,
					      .loop = env_loop_new(env, "producer", false),
					      .prng = {.state = i + 1},
					      .left = records / run.count,
					      .flight = (unsigned)atoi(argv[4]),
					      .begin = {.run = begin},
					      .retry = {.fire = retry},
					      .due = {.fire = due},
					      .rate = rate / run.count};
		producer->loop->precise = rate > 0;
		producer->items = calloc(producer->flight, sizeof(struct item *));
		producer->loop->idle = idle;
		producer->loop->idle_argument = producer;
		log_producer_init(&producer->log, run.log, producer->loop);
		if (env_loop_start(producer->loop, -1, &err) != ERR_OK)
			fail(&err);
		env_post(producer->loop, &producer->begin);
	}
	size_t seen = watch(&run, records);
	double seconds = (double)(now_ns() - began) / 1e9;
	struct log_stats stats;
	log_get_stats(run.log, &stats);
	qsort(run.latency, seen, sizeof(*run.latency), compare);
	printf("{\"records\": %llu, \"seconds\": %.2f, \"per_second\": %.0f, "
	       "\"cpu_us_per_record\": "
	       "%.2f, \"commits\": %llu, \"checkpoints\": %llu, \"to_checkpoint_ms\": {\"p50\": "
	       "%.2f, \"p99\": %.2f, \"max\": %.2f}}\n",
	       (unsigned long long)records, seconds, (double)records / seconds,
	       (cpu_s() - cpu) * 1e6 / (double)records, (unsigned long long)stats.commits,
	       (unsigned long long)stats.checkpoints, run.latency[seen / 2],
	       run.latency[seen * 99 / 100], run.latency[seen - 1]);
	fflush(stdout);
	_exit(0); /* as a crash */
}

static int seal(struct env *env, const char *directory, struct env_loop *care, bool wait,
		struct ed25519_private *key)
{
	struct err err = ERR_INIT;
	struct log *log;
	char mark[PATH_SIZE];
	struct log_stats stats;
	struct env_loop *log_loop = env_loop_new(env, "log", true);
	struct log_options options = options_of(directory, mark, key, care);
	uint64_t began = now_ns();
	if (log_open(env, log_loop, &options, &log, &err) != ERR_OK)
		fail(&err);
	double opened = (double)(now_ns() - began) / 1e9, cpu = cpu_s();
	began = now_ns();
	if (env_loop_start(log_loop, -1, &err) != ERR_OK ||
	    env_loop_start(care, -1, &err) != ERR_OK)
		fail(&err);
	do {
		usleep(20000);
		log_get_stats(log, &stats);
	} while (wait && stats.sealed + 1 < stats.segments && stats.rotten == 0);
	printf("{\"records\": %llu, \"open_seconds\": %.3f, \"segments\": %llu, \"seal_seconds\": "
	       "%.2f, \"seal_cpu_seconds\": %.2f}\n",
	       (unsigned long long)stats.records, opened, (unsigned long long)stats.segments,
	       (double)(now_ns() - began) / 1e9, cpu_s() - cpu);
	fflush(stdout);
	_exit(stats.rotten > 0);
}

int main(int argc, char **argv)
{
	uint8_t seed[32] = {1};
	struct env *env = env_os_new(2);
	struct ed25519_private *key = ed25519_from_seed(seed);
	struct env_loop *care = env_loop_new(env, "care", true);
	bool wait = argc == 3 && strcmp(argv[2], "seal") == 0;
	if (wait || (argc == 3 && strcmp(argv[2], "start") == 0))
		return seal(env, argv[1], care, wait, key);
	bool open = argc > 5 && strcmp(argv[5], "open") == 0;
	if (argc >= 5 && argc <= 6 + open)
		return append(env, argv, open ? NULL : care,
			      argc > 5 + open ? atof(argv[5 + open]) : 0, key);
	fprintf(stderr, "usage: append DIR RECORDS PRODUCERS FLIGHT [open] [RATE] | append DIR "
			"start|seal\n");
	return 2;
}
