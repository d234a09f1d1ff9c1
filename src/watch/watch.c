#include "watch/watch.h"

#include "base/prng.h"

#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>

#define REGISTERS 1024u
#define REGISTER_BITS 10
#define TABLE_FIRST 1024u
#define ALPHA 0.7213474965 /* 1 / (2 ln 2), times below */

struct sketch {
	_Atomic uint8_t registers[REGISTERS];
};

struct hour {
	int64_t hour;
	uint32_t requests;
	uint32_t values[WATCH_SIGNALS];
};

/* Of a key that is used. */
struct state {
	struct sketch networks, stacks;
	_Atomic uint32_t requests, peak;
	int64_t hour; /* that is open; 0: none. The admin loop's. */
	struct hour past[WATCH_HOURS];
	unsigned past_count, past_next;
};

struct watch_key {
	char *id;
	struct watch *watch;
	_Atomic int32_t in_flight;
	_Atomic(struct state *) state;
	struct watch_key *next; /* in its bucket */
};

struct watch {
	uint64_t seed;
	struct watch_key **buckets;
	uint32_t mask;
	size_t count;
	_Atomic uint32_t states;
	_Atomic uint64_t left_out;
};

const char *watch_signal_id(enum watch_signal signal)
{
	static const char *const ids[WATCH_SIGNALS] = {
#define X(name, id, floor, what) [WATCH_##name] = id,
		SIGNAL_TABLE(X)
#undef X
	};
	return ids[signal];
}

/* ---- keys ---- */

struct watch *watch_new(uint64_t seed)
{
	struct watch *watch = calloc(1, sizeof(*watch));
	if (!watch)
		return NULL;
	watch->seed = seed;
	watch->mask = TABLE_FIRST - 1;
	watch->buckets = calloc(TABLE_FIRST, sizeof(struct watch_key *));
	if (watch->buckets)
		return watch;
	free(watch);
	return NULL;
}

void watch_free(struct watch *watch)
{
	if (!watch)
		return;
	for (uint32_t i = 0; i <= watch->mask; i++) {
		while (watch->buckets[i]) {
			struct watch_key *key = watch->buckets[i];
			watch->buckets[i] = key->next;
			free(atomic_load(&key->state));
			free(key->id);
			free(key);
		}
	}
	free(watch->buckets);
	free(watch);
}

static uint64_t digest_of(struct bytes text, uint64_t seed)
{
	struct prng mix = {seed};
	mix.state ^= bytes_hash(BYTES_HASH_START, text);
	return prng_next(&mix);
}

static struct watch_key **bucket_of(struct watch *watch, const char *id)
{
	return &watch->buckets[digest_of(bytes_from(id), watch->seed) & watch->mask];
}

/* Twice the buckets; where memory is out, the chains grow longer. */
static void grow(struct watch *watch)
{
	struct watch_key **old = watch->buckets;
	uint32_t size = watch->mask + 1;
	struct watch_key **buckets = calloc(2 * (size_t)size, sizeof(struct watch_key *));
	if (!buckets)
		return;
	watch->buckets = buckets;
	watch->mask = 2 * size - 1;
	for (uint32_t i = 0; i < size; i++) {
		while (old[i]) {
			struct watch_key *key = old[i];
			old[i] = key->next;
			struct watch_key **bucket = bucket_of(watch, key->id);
			key->next = *bucket;
			*bucket = key;
		}
	}
	free(old);
}

struct watch_key *watch_key_of(struct watch *watch, const char *id)
{
	for (struct watch_key *key = *bucket_of(watch, id); key; key = key->next)
		if (strcmp(key->id, id) == 0)
			return key;
	struct watch_key *key = calloc(1, sizeof(*key));
	char *copy = bytes_to_cstr(bytes_from(id));
	if (!key || !copy) {
		free(copy);
		free(key);
		return NULL;
	}
	if (watch->count > watch->mask)
		grow(watch);
	struct watch_key **bucket = bucket_of(watch, id);
	*key = (struct watch_key){.id = copy, .watch = watch, .next = *bucket};
	*bucket = key;
	watch->count++;
	return key;
}

const char *watch_key_id(const struct watch_key *key)
{
	return key->id;
}

uint64_t watch_left_out(const struct watch *watch)
{
	return atomic_load(&watch->left_out);
}

/* ---- sketches (HyperLogLog; Flajolet and others 2007) ---- */

static void sketch_add(struct sketch *sketch, uint64_t digest)
{
	_Atomic uint8_t *place = &sketch->registers[digest >> (64 - REGISTER_BITS)];
	uint64_t rest = digest << REGISTER_BITS | UINT64_C(1) << (REGISTER_BITS - 1);
	uint8_t rank = (uint8_t)(__builtin_clzll(rest) + 1);
	uint8_t there = atomic_load_explicit(place, memory_order_relaxed);
	while (there < rank &&
	       !atomic_compare_exchange_weak_explicit(place, &there, rank, memory_order_relaxed,
						      memory_order_relaxed))
		;
}

/* With linear counting below 2.5 times the registers, where it is the better estimate. */
static uint32_t sketch_count(const struct sketch *sketch)
{
	double sum = 0, m = REGISTERS;
	unsigned zeros = 0;
	for (unsigned i = 0; i < REGISTERS; i++) {
		uint8_t rank = atomic_load_explicit(&sketch->registers[i], memory_order_relaxed);
		sum += ldexp(1, -rank);
		zeros += rank == 0;
	}
	double estimate = ALPHA / (1 + 1.079 / m) * m * m / sum;
	if (estimate <= 2.5 * m && zeros > 0)
		estimate = m * log(m / zeros);
	return (uint32_t)(estimate + 0.5);
}

static void sketch_clear(struct sketch *sketch)
{
	for (unsigned i = 0; i < REGISTERS; i++)
		atomic_store_explicit(&sketch->registers[i], 0, memory_order_relaxed);
}

/* ---- workers ---- */

static struct state *make_state(struct watch_key *key)
{
	struct watch *watch = key->watch;
	struct state *fresh = NULL, *there = NULL;
	if (atomic_fetch_add(&watch->states, 1) < WATCH_KEYS_MAX)
		fresh = calloc(1, sizeof(*fresh));
	if (!fresh) {
		atomic_fetch_sub(&watch->states, 1);
		atomic_fetch_add(&watch->left_out, 1);
		return NULL;
	}
	if (atomic_compare_exchange_strong(&key->state, &there, fresh))
		return fresh;
	atomic_fetch_sub(&watch->states, 1);
	free(fresh); /* another worker was faster */
	return there;
}

void watch_begin(struct watch_key *key, struct bytes network, uint64_t stack)
{
	if (!key)
		return;
	uint32_t now =
		(uint32_t)atomic_fetch_add_explicit(&key->in_flight, 1, memory_order_relaxed) + 1;
	struct state *state = atomic_load_explicit(&key->state, memory_order_acquire);
	if (!state && !(state = make_state(key)))
		return;
	struct prng mix = {key->watch->seed ^ stack};
	atomic_fetch_add_explicit(&state->requests, 1, memory_order_relaxed);
	uint32_t peak = atomic_load_explicit(&state->peak, memory_order_relaxed);
	while (peak < now &&
	       !atomic_compare_exchange_weak_explicit(&state->peak, &peak, now,
						      memory_order_relaxed, memory_order_relaxed))
		;
	sketch_add(&state->networks, digest_of(network, key->watch->seed));
	sketch_add(&state->stacks, prng_next(&mix));
}

void watch_end(struct watch_key *key)
{
	if (key)
		atomic_fetch_sub_explicit(&key->in_flight, 1, memory_order_relaxed);
}

/* ---- hours ---- */

static void keep_hour(struct state *state, const struct hour *hour)
{
	state->past[state->past_next] = *hour;
	state->past_next = (state->past_next + 1) % WATCH_HOURS;
	if (state->past_count < WATCH_HOURS)
		state->past_count++;
}

static struct hour open_hour(const struct state *state)
{
	struct hour hour = {.hour = state->hour, .requests = atomic_load(&state->requests)};
	hour.values[WATCH_NETWORKS] = sketch_count(&state->networks);
	hour.values[WATCH_STACKS] = sketch_count(&state->stacks);
	hour.values[WATCH_CONCURRENCY] = atomic_load(&state->peak);
	return hour;
}

/* What was admitted since the last look belongs to the hour that was open then. */
static bool roll_key(struct state *state, int64_t hour)
{
	struct hour closed = open_hour(state);
	bool kept = state->hour != 0 && hour > state->hour && closed.requests > 0;
	if (state->hour == 0 || hour < state->hour || hour - state->hour > WATCH_HOURS) {
		state->hour = hour; /* new, or the clock was put elsewhere */
		return false;
	}
	if (hour == state->hour)
		return false;
	if (kept)
		keep_hour(state, &closed);
	sketch_clear(&state->networks);
	sketch_clear(&state->stacks);
	atomic_store(&state->requests, 0);
	atomic_store(&state->peak, 0);
	state->hour = hour;
	return kept;
}

void watch_roll(struct watch *watch, int64_t hour,
		void (*each)(void *argument, struct watch_key *key), void *argument)
{
	for (uint32_t i = 0; i <= watch->mask; i++) {
		for (struct watch_key *key = watch->buckets[i]; key; key = key->next) {
			struct state *state = atomic_load(&key->state);
			if (state && roll_key(state, hour))
				each(argument, key);
		}
	}
}

json_t *watch_save(const struct watch_key *key)
{
	const struct state *state = atomic_load(&((struct watch_key *)key)->state);
	json_t *hours = json_array();
	bool good = hours != NULL;
	for (unsigned i = 0; good && state && i < state->past_count; i++) {
		unsigned place =
			(state->past_next + WATCH_HOURS - state->past_count + i) % WATCH_HOURS;
		const struct hour *hour = &state->past[place];
		json_t *row =
			json_pack("[I, I]", (json_int_t)hour->hour, (json_int_t)hour->requests);
		for (int signal = 0; row && signal < WATCH_SIGNALS; signal++)
			json_array_append_new(row, json_integer(hour->values[signal]));
		good = json_array_append_new(hours, row) == 0;
	}
	json_t *saved = good ? json_pack("{s:O}", "hours", hours) : NULL;
	json_decref(hours);
	return saved;
}

static bool number_at(const json_t *row, size_t index, int64_t most, int64_t *out)
{
	const json_t *value = json_array_get(row, index);
	*out = json_integer_value(value);
	return json_is_integer(value) && *out >= 0 && *out <= most;
}

static bool read_hour(const json_t *row, struct hour *out)
{
	int64_t requests, value;
	if (json_array_size(row) != 2 + WATCH_SIGNALS ||
	    !number_at(row, 0, INT64_C(1) << 40, &out->hour) ||
	    !number_at(row, 1, UINT32_MAX, &requests))
		return false;
	out->requests = (uint32_t)requests;
	for (int signal = 0; signal < WATCH_SIGNALS; signal++) {
		if (!number_at(row, 2 + (size_t)signal, UINT32_MAX, &value))
			return false;
		out->values[signal] = (uint32_t)value;
	}
	return true;
}

enum err_code watch_restore(struct watch_key *key, const json_t *saved, struct err *err)
{
	const json_t *hours = json_object_get(saved, "hours"), *row;
	struct state *state = make_state(key);
	size_t index;
	if (!state)
		return ERR_OK; /* there are more than can be watched */
	json_array_foreach(hours, index, row)
	{
		struct hour hour;
		if (!read_hour(row, &hour))
			return ERR_SET(err, ERR_CORRUPT,
				       "what was noted of key %s is damaged; restore the database "
				       "from a backup",
				       key->id);
		keep_hour(state, &hour);
	}
	return ERR_OK;
}

/* ---- judging ---- */

static int compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
	return x < y ? -1 : x > y;
}

/* Of the hours within the last seven days. */
static void look_back(const struct state *state, enum watch_signal signal,
		      struct watch_finding *out)
{
	uint32_t values[WATCH_HOURS];
	unsigned count = 0;
	for (unsigned i = 0; i < state->past_count; i++)
		if (state->past[i].hour < state->hour &&
		    state->past[i].hour + WATCH_HOURS >= state->hour)
			values[count++] = state->past[i].values[signal];
	out->past_hours = count;
	if (count == 0)
		return;
	qsort(values, count, sizeof(values[0]), compare);
	out->past_most = values[count - 1];
	out->past_median = values[count / 2];
}

unsigned watch_judge(const struct watch_key *key, struct watch_finding out[static WATCH_SIGNALS])
{
	static const uint32_t floors[WATCH_SIGNALS] = {
#define X(name, id, floor, what) [WATCH_##name] = floor,
		SIGNAL_TABLE(X)
#undef X
	};
	const struct state *state = atomic_load(&((struct watch_key *)key)->state);
	unsigned count = 0;
	if (!state || state->hour == 0)
		return 0;
	struct hour hour = open_hour(state);
	for (enum watch_signal signal = 0; signal < WATCH_SIGNALS; signal++) {
		struct watch_finding finding = {
			.signal = signal, .hour = hour.hour, .value = hour.values[signal]};
		look_back(state, signal, &finding);
		if (finding.past_hours >= WATCH_PAST_MIN && finding.value >= floors[signal] &&
		    finding.value > WATCH_FACTOR * finding.past_most)
			out[count++] = finding;
	}
	return count;
}
