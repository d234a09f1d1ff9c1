#include "ledger/log_care.h"

#include "ledger/log_internal.h"
#include "ledger/seal.h"

#include <stdio.h>
#include <stdlib.h>

#define SECOND UINT64_C(1000000000)
/* Sealing waits so many times as long as it works: a twentieth of the time is its own, so that a
 * busy gateway does not pay for it at once, and a third where this many full segments wait. */
#define SEAL_PAUSE 19
#define SEAL_PAUSE_BEHIND 2
#define SEAL_BEHIND 64
#define SEAL_RETRY_NS (60 * SECOND)
#define SCRUB_RATE_DEFAULT (UINT64_C(4) << 20)
#define SCRUB_FIRST_NS (600 * SECOND)
#define SCRUB_EVERY_NS (24 * 3600 * SECOND)

struct log_care {
	struct log *log;
	struct env_loop *loop;
	struct log_waker *waker;
	struct env_timer timer;
	atomic_bool scrub_wanted;

	struct seal_writer *writer;
	uint64_t sealing;      /* the first record of the segment being sealed */
	uint64_t seal_next_ns; /* not before, after a failure */
	uint64_t seal_after;   /* segments before this one cannot be sealed now */

	bool scrubbing, scanning;
	struct segment_scan scan;
	uint64_t scrub_first; /* the segment being read or the next one */
	uint64_t scrub_next_ns;
};

/* ---- rot ---- */

static struct log_rot *find_rot(struct log *log, uint64_t first)
{
	for (size_t i = 0; i < log->rot_count; i++)
		if (log->rot[i].first == first)
			return &log->rot[i];
	return NULL;
}

/* What is known already is not told again. */
void log_note_rot(struct log *log, uint64_t first, const struct err *err)
{
	bool told = true;
	pthread_mutex_lock(&log->lock);
	if (!find_rot(log, first) && log->rot_count < LOG_ROT_MAX) {
		struct log_rot *rot = &log->rot[log->rot_count++];
		rot->first = first;
		snprintf(rot->problem, sizeof(rot->problem), "%s", err->message);
		told = false;
	}
	pthread_mutex_unlock(&log->lock);
	if (!told && log->options.rot)
		log->options.rot(log->options.argument, err);
}

/* Under the lock. */
static void forget_rot(struct log *log, uint64_t first)
{
	struct log_rot *rot = find_rot(log, first);
	if (rot)
		*rot = log->rot[--log->rot_count];
}

size_t log_get_rot(struct log *log, struct log_rot *out, size_t max)
{
	pthread_mutex_lock(&log->lock);
	size_t count = log->rot_count < max ? log->rot_count : max;
	memcpy(out, log->rot, count * sizeof(*out));
	pthread_mutex_unlock(&log->lock);
	return count;
}

/* ---- sealing ---- */

/* The oldest full segment that is not sealed, and where it ends. */
static bool find_full(struct log_care *care, uint64_t *first, uint64_t *end)
{
	struct log *log = care->log;
	bool found = false;
	pthread_mutex_lock(&log->lock);
	for (size_t i = log->seal_from; i + 1 < log->segment_count && !found; i++) {
		const struct log_segment *segment = &log->segments[i];
		if (segment->sealed && i == log->seal_from)
			log->seal_from++;
		found = !segment->sealed && segment->first >= care->seal_after;
		*first = segment->first;
		*end = segment->end;
	}
	pthread_mutex_unlock(&log->lock);
	return found;
}

static enum err_code seal_begin(struct log_care *care, uint64_t first, uint64_t end,
				struct err *err)
{
	char folder[LOG_PATH_SIZE];
	struct segment_scan scan;
	struct segment_header header;
	struct seal_end seal_end;
	log_folder(care->log, folder);
	enum err_code code = segment_scan_find(&scan, care->log->env, folder, end, &header, err);
	segment_scan_close(&scan);
	ERR_TRY(code);
	seal_end.tree = header.range;
	memcpy(seal_end.link, header.link, LINK_SIZE);
	care->sealing = first;
	return seal_writer_open(care->log->env, folder, first, &seal_end, &care->writer, err);
}

/* Readers that begin from now on read the sealed file; those that have the open one keep it. */
static void seal_end(struct log_care *care)
{
	struct log *log = care->log;
	char path[LOG_PATH_SIZE];
	struct err ignored;
	uint64_t open, sealed;
	uint32_t *sparse = NULL;
	seal_writer_sizes(care->writer, &open, &sealed);
	pthread_mutex_lock(&log->lock);
	for (size_t i = log->seal_from; i < log->segment_count; i++) {
		struct log_segment *segment = &log->segments[i];
		if (segment->first != care->sealing)
			continue;
		segment->sealed = true;
		segment->open = false;
		sparse = segment->sparse;
		segment->sparse = NULL;
		segment->sparse_count = segment->sparse_capacity = 0;
	}
	log->sealed++;
	forget_rot(log, care->sealing); /* at once: nothing is seen both sealed and rotten */
	pthread_mutex_unlock(&log->lock);
	free(sparse);
	log_segment_path(log, care->sealing, path);
	env_unlink(log->env, path, &ignored); /* or at the next start */
}

/* A segment that has rotted waits for its copy, one that cannot be written for room. */
static void seal_failed(struct log_care *care, enum err_code code, const struct err *err)
{
	pthread_mutex_lock(&care->log->lock);
	care->log->seal_failures++;
	pthread_mutex_unlock(&care->log->lock);
	care->seal_next_ns = care->loop->now_ns + SEAL_RETRY_NS;
	if (code == ERR_CORRUPT) {
		log_note_rot(care->log, care->sealing, err);
		care->seal_after = care->sealing + 1; /* go on with those behind it */
		care->seal_next_ns = care->loop->now_ns;
	}
}

/* One piece; false if there is none. */
static bool seal_turn(struct log_care *care)
{
	struct err err = ERR_INIT;
	uint64_t first, end;
	bool done = false;
	enum err_code code = ERR_OK;
	if (!care->writer && !find_full(care, &first, &end))
		return false;
	if (!care->writer)
		code = seal_begin(care, first, end, &err);
	if (code == ERR_OK)
		code = seal_writer_step(care->writer, &done, &err);
	if (done)
		seal_end(care);
	if (code != ERR_OK)
		seal_failed(care, code, &err);
	if (done || code != ERR_OK) {
		seal_writer_free(care->writer);
		care->writer = NULL;
	}
	return true;
}

/* ---- scrubbing ---- */

/* The first sealed segment at or behind `from`. */
static bool find_sealed(struct log *log, uint64_t from, uint64_t *first)
{
	bool found = false;
	pthread_mutex_lock(&log->lock);
	size_t low = 0, high = log->segment_count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (log->segments[middle].first < from)
			low = middle + 1;
		else
			high = middle;
	}
	for (; low < log->segment_count && !found; low++) {
		found = log->segments[low].sealed;
		*first = log->segments[low].first;
	}
	pthread_mutex_unlock(&log->lock);
	return found;
}

/* So that the medium is read and not what memory holds of it. */
static void drop_cache(struct log *log, const char *path)
{
	struct env_file *file;
	struct err ignored;
	if (env_file_open(log->env, path, ENV_OPEN_READ | ENV_OPEN_FRESH, &file, &ignored) ==
	    ERR_OK)
		env_file_close(file);
}

static enum err_code scrub_open(struct log_care *care, struct err *err)
{
	char path[LOG_PATH_SIZE], name[SEAL_NAME_SIZE];
	struct segment_header header;
	seal_name(care->scrub_first, name);
	log_path(care->log, path, "segments/%s", name);
	drop_cache(care->log, path);
	care->scanning = true;
	return segment_scan_open(&care->scan, care->log->env, path, &header, err);
}

static void scrub_close(struct log_care *care)
{
	if (care->scanning)
		segment_scan_close(&care->scan);
	care->scanning = false;
	care->scrub_first++;
}

static void scrub_count(struct log_care *care, uint64_t bytes, bool pass)
{
	struct log *log = care->log;
	pthread_mutex_lock(&log->lock);
	log->scrubbed += bytes;
	log->scrubs += pass;
	if (pass)
		log->scrub_ms = env_wall_ms(log->env);
	pthread_mutex_unlock(&log->lock);
}

/* One block; the bytes of it. Whatever keeps it from being read counts as rot, but for memory. */
static uint64_t scrub_block(struct log_care *care)
{
	struct err err = ERR_INIT;
	struct frame frame;
	bool found = true;
	enum err_code code = care->scanning ? ERR_OK : scrub_open(care, &err);
	uint64_t before = care->scan.offset;
	for (unsigned i = 0; code == ERR_OK && found && i < TILE_WIDTH; i++)
		code = segment_scan_next(&care->scan, &frame, &found, &err);
	uint64_t bytes = code == ERR_OK ? care->scan.offset - before : 0;
	if (code != ERR_OK && code != ERR_NO_MEMORY)
		log_note_rot(care->log, care->scrub_first, &err);
	if (code == ERR_OK && !found) {
		pthread_mutex_lock(&care->log->lock);
		forget_rot(care->log, care->scrub_first);
		pthread_mutex_unlock(&care->log->lock);
	}
	if (code != ERR_OK || !found)
		scrub_close(care);
	return bytes;
}

/* One piece; how long to wait after it. */
static uint64_t scrub_turn(struct log_care *care)
{
	uint64_t rate =
		care->log->options.scrub_rate ? care->log->options.scrub_rate : SCRUB_RATE_DEFAULT;
	uint64_t first;
	if (!care->scanning && !find_sealed(care->log, care->scrub_first, &first)) {
		care->scrubbing = false;
		scrub_count(care, 0, true);
		return 0;
	}
	if (!care->scanning)
		care->scrub_first = first;
	uint64_t bytes = scrub_block(care);
	scrub_count(care, bytes, false);
	return bytes * SECOND / rate;
}

static bool scrub_is_due(struct log_care *care)
{
	if (atomic_exchange(&care->scrub_wanted, false))
		care->scrub_next_ns = care->loop->now_ns;
	if (!care->scrubbing && care->loop->now_ns >= care->scrub_next_ns) {
		care->scrubbing = true;
		care->scrub_first = 0;
		care->seal_after = 0; /* a segment may have been restored */
		care->scrub_next_ns = care->loop->now_ns + SCRUB_EVERY_NS;
	}
	return care->scrubbing;
}

/* ---- the loop ---- */

static uint64_t seal_pause(struct log_care *care)
{
	struct log *log = care->log;
	pthread_mutex_lock(&log->lock);
	bool behind = log->segment_count - log->seal_from > SEAL_BEHIND;
	pthread_mutex_unlock(&log->lock);
	return behind ? SEAL_PAUSE_BEHIND : SEAL_PAUSE;
}

static void turn(struct log_care *care)
{
	uint64_t began = env_clock_ns(care->log->env), wait;
	bool due = scrub_is_due(care);
	if (care->loop->now_ns >= care->seal_next_ns && seal_turn(care))
		wait = seal_pause(care) * (env_clock_ns(care->log->env) - began);
	else if (due)
		wait = scrub_turn(care);
	else
		wait = care->scrub_next_ns - care->loop->now_ns;
	if (!due && wait > SEAL_RETRY_NS && care->seal_next_ns > care->loop->now_ns)
		wait = care->seal_next_ns - care->loop->now_ns;
	env_timer_arm(care->loop, &care->timer, env_clock_ns(care->log->env) + wait);
}

static void on_timer(struct env_timer *timer)
{
	turn((struct log_care *)((char *)timer - offsetof(struct log_care, timer)));
}

static void on_wake(struct env_message *message)
{
	struct log_waker *waker =
		(struct log_waker *)((char *)message - offsetof(struct log_waker, message));
	atomic_store(&waker->posted, false);
	if (!waker->log)
		free(waker);
	else
		turn(waker->log->care);
}

void log_care_wake(struct log_care *care)
{
	if (care && !atomic_exchange(&care->waker->posted, true))
		env_post(care->loop, &care->waker->message);
}

void log_scrub_now(struct log *log)
{
	if (!log->care)
		return;
	atomic_store(&log->care->scrub_wanted, true);
	log_care_wake(log->care);
}

enum err_code log_care_new(struct log *log, struct env_loop *loop, struct log_care **out,
			   struct err *err)
{
	struct log_care *care = calloc(1, sizeof(*care));
	struct log_waker *waker = calloc(1, sizeof(*waker));
	*out = NULL;
	if (!care || !waker) {
		free(care);
		free(waker);
		return ERR_SET(err, ERR_NO_MEMORY, "%s: out of memory", log->directory);
	}
	care->log = waker->log = log;
	care->loop = loop;
	care->waker = waker;
	care->timer.fire = on_timer;
	care->scrub_next_ns = env_clock_ns(log->env) + SCRUB_FIRST_NS;
	waker->message.run = on_wake;
	*out = care;
	return ERR_OK;
}

void log_care_free(struct log_care *care)
{
	if (!care)
		return;
	env_timer_disarm(care->loop, &care->timer);
	seal_writer_free(care->writer);
	if (care->scanning)
		segment_scan_close(&care->scan);
	care->waker->log = NULL;
	if (!atomic_load(&care->waker->posted))
		free(care->waker);
	free(care);
}
