/* What keys are used like: for each key and hour the number of requests, of distinct networks and
 * client stacks (sketches of 1,024 registers, standard error 3 %) and the most at once, kept for
 * seven days and compared with the key's own past. Digests only, keyed by a seed of this process:
 * no address, no user-agent, no prompt is kept.
 *
 * Counting is done by the workers, without a lock; all else on the admin loop. Nothing follows from
 * a finding but that somebody is shown it.
 *
 * Bounds: WATCH_KEYS_MAX keys that are being used have state (4.7 KB each); further ones are not
 * watched, which watch_left_out tells. */
#ifndef WATCH_WATCH_H
#define WATCH_WATCH_H

#include "base/err.h"
#include "base/json.h"
#include "table/signals.h"

#define WATCH_KEYS_MAX 16384u
#define WATCH_HOURS 168 /* kept */
/* Whoever has less of a past is not judged. */
#define WATCH_PAST_MIN 24 /* hours with requests */
/* Far above: more than so many times the largest of its own past hours. */
#define WATCH_FACTOR 3

enum watch_signal {
#define X(name, id, floor, what) WATCH_##name,
	SIGNAL_TABLE(X)
#undef X
		WATCH_SIGNALS
};

const char *watch_signal_id(enum watch_signal signal);

struct watch;
struct watch_key;

/* `seed` keys the digests. NULL when memory is out. */
struct watch *watch_new(uint64_t seed);
void watch_free(struct watch *watch); /* NULL is fine; no worker may use a key of it any more */

/* The key by its public id, made where it is not there. Lives as long as `watch`. NULL when memory
 * is out. */
struct watch_key *watch_key_of(struct watch *watch, const char *id);
/* Keys that were used and have no state, for there was no room. */
uint64_t watch_left_out(const struct watch *watch);

/* ---- workers; a NULL key is fine ---- */

/* A request was admitted: `network` is the start of its peer's address, `stack` a digest of its
 * client fields. The first one of a key allocates, later ones never. */
void watch_begin(struct watch_key *key, struct bytes network, uint64_t stack);
/* It is over. */
void watch_end(struct watch_key *key);

/* ---- the admin loop ---- */

/* Hours are Unix hours. Closes what is open of earlier ones; calls `each` for every key of which an
 * hour was closed. */
void watch_roll(struct watch *watch, int64_t hour,
		void (*each)(void *argument, struct watch_key *key), void *argument);
const char *watch_key_id(const struct watch_key *key);

/* The hours kept, oldest first: {"hours": [[hour, requests, networks, stacks, concurrency], …]}.
 * NULL when memory is out. */
json_t *watch_save(const struct watch_key *key);
/* Of a key that has no state yet. ERR_CORRUPT where it is nothing that watch_save has written. */
enum err_code watch_restore(struct watch_key *key, const json_t *saved, struct err *err);

struct watch_finding {
	enum watch_signal signal;
	int64_t hour;
	uint32_t value;
	uint32_t past_most, past_median;
	unsigned past_hours; /* with requests */
};
/* What of the hour that is open is far above the key's past; returns how many. */
unsigned watch_judge(const struct watch_key *key, struct watch_finding out[static WATCH_SIGNALS]);

#endif
