#include "load/load.h"

#include "load/requests.h"
#include "load/schedule.h"
#include "net/http_client.h"
#include "standin/pulse.h"

#include <stdlib.h>

#define SECOND_NS 1000000000ull
#define REST_NS (SECOND_NS / 20) /* after a failure, so that a dead target is not hammered */
#define STARTS_PER_TURN 256
#define CONNECTIONS_MAX 19000

/* One request at a time; as many of them as may be under way. */
struct slot {
	struct http_call call;
	struct load *load;
	struct slot *next; /* among the free or the resting ones */
	uint64_t intended_ns, started_ns;
	struct sse sse;
	int status;
	bool running, terminal, failed_event;
	bool seen; /* a request of it was answered, or failed */
};

struct load {
	struct load_options options;
	struct env_loop *loop;
	struct http_pool *pool;
	struct http_origin *origin;
	struct load_requests requests;
	struct slot *slots, *free, *resting;
	unsigned begun;   /* slots that were used at least once */
	unsigned running; /* slots with a call */
	unsigned seen;    /* slots of which something was heard */
	uint64_t sent;    /* requests started so far */
	struct schedule schedule;
	uint64_t next_ns;      /* open loop: the next intended start */
	uint64_t start_ns;     /* of all */
	uint64_t measure_ns;   /* of the measurement */
	uint64_t end_ns;       /* of the measurement */
	uint64_t counted;      /* requests that count, of options.requests */
	struct env_timer pace; /* the next start */
	struct env_timer rest; /* slots rest until then */
	struct env_timer turn; /* the next phase */
	enum load_phase phase;
	void (*on_phase)(void *argument, enum load_phase phase);
	void *argument;
	struct load_result result;
};

static void go_on(struct load *load);
static void enter(struct load *load, enum load_phase phase);

static uint64_t clock_now(const struct load *load)
{
	return env_clock_ns(load->loop->env);
}

static bool is_open(const struct load *load)
{
	return load->options.rate > 0;
}

/* ---- what counts ---- */

static bool counts(const struct load *load, const struct slot *slot)
{
	if (!is_open(load))
		return load->phase == LOAD_MEASURE;
	return load->phase >= LOAD_MEASURE && slot->intended_ns >= load->measure_ns &&
	       slot->intended_ns < load->end_ns;
}

static void count_failure(struct load *load, enum load_error error, const char *text)
{
	load->result.failed++;
	load->result.errors[error]++;
	if (!load->result.sample[0] && text)
		snprintf(load->result.sample, sizeof(load->result.sample), "%s", text);
}

static enum load_error error_of(enum err_code code)
{
	static const struct {
		enum err_code code;
		enum load_error error;
	} rows[] = {
		{ERR_NETWORK,  LOAD_ERROR_CONNECT },
		{ERR_TIMEOUT,  LOAD_ERROR_TIMEOUT },
		{ERR_UPSTREAM, LOAD_ERROR_RESET   },
		{ERR_PROTOCOL, LOAD_ERROR_PROTOCOL},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (rows[i].code == code)
			return rows[i].error;
	return LOAD_ERROR_OTHER;
}

/* True when the request ended well. */
static bool judge(struct load *load, const struct slot *slot, const struct err *err)
{
	if (slot->status > 0 && slot->status < LOAD_STATUS_MAX)
		load->result.statuses[slot->status]++;
	if (err->code != ERR_OK)
		count_failure(load, error_of(err->code), err->message);
	else if (slot->status != 200)
		count_failure(load, LOAD_ERROR_STATUS, NULL);
	else if (slot->failed_event)
		count_failure(load, LOAD_ERROR_EVENT, NULL);
	else if (load->options.stream && !slot->terminal)
		count_failure(load, LOAD_ERROR_UNENDED, NULL);
	else
		return true;
	return false;
}

static void count_end(struct load *load, const struct slot *slot, const struct err *err)
{
	uint64_t now = clock_now(load);
	load->counted++;
	if (!judge(load, slot, err))
		return;
	load->result.ended++;
	histogram_record(&load->result.latency, now - slot->intended_ns);
}

/* ---- answers ---- */

static void see(struct slot *slot)
{
	slot->load->seen += !slot->seen;
	slot->seen = true;
}

static void on_head(struct http_call *call, const struct http_head *head, struct bytes head_bytes)
{
	struct slot *slot = call->user;
	struct load *load = slot->load;
	(void)head_bytes;
	slot->status = head->status;
	see(slot);
	if (head->status == 200 && counts(load, slot))
		histogram_record(&load->result.head, clock_now(load) - slot->intended_ns);
}

/* The time an event says it was sent, 0 where it has none. */
static uint64_t stamp_of(struct bytes data)
{
	uint64_t stamp;
	const char *at = memmem(data.data, data.size, PULSE_STAMP, sizeof(PULSE_STAMP) - 1);
	if (!at)
		return 0;
	at += sizeof(PULSE_STAMP) - 1;
	if (data.data + data.size - at < PULSE_STAMP_DIGITS ||
	    !bytes_to_u64(bytes_of(at, PULSE_STAMP_DIGITS), UINT64_MAX, &stamp))
		return 0;
	return stamp;
}

static void take_event(struct slot *slot, const struct sse_event *event, uint64_t now)
{
	struct load *load = slot->load;
	uint64_t stamp = stamp_of(event->data);
	if (bytes_is(event->name, "message_stop") || bytes_is(event->data, "[DONE]"))
		slot->terminal = true;
	if (bytes_is(event->name, "error") || bytes_starts_with(event->data, BYTES("{\"error\"")))
		slot->failed_event = true;
	if (load->phase != LOAD_MEASURE)
		return;
	load->result.events += event->has_data;
	if (!stamp)
		return;
	load->result.stamped++;
	histogram_record(&load->result.delay, now > stamp ? now - stamp : 0);
}

static void keep_sample(struct load *load, int status, struct bytes piece)
{
	int size = piece.size < 250 ? (int)piece.size : 250;
	if (!load->result.sample[0])
		snprintf(load->result.sample, sizeof(load->result.sample), "%d: %.*s", status, size,
			 piece.data);
}

static void on_body(struct http_call *call, struct bytes piece)
{
	struct slot *slot = call->user;
	struct load *load = slot->load;
	struct sse_event event;
	if (load->phase == LOAD_MEASURE)
		load->result.bytes += piece.size;
	if (slot->status != 200)
		keep_sample(load, slot->status, piece);
	if (!load->options.stream || slot->status != 200)
		return;
	uint64_t now = clock_now(load);
	size_t used;
	while (sse_next(&slot->sse, piece.data, piece.size, &used, &event)) {
		take_event(slot, &event, now);
		piece = bytes_of(piece.data + used, piece.size - used);
	}
}

/* ---- requests ---- */

static void start_slot(struct load *load, struct slot *slot, uint64_t intended_ns)
{
	struct bytes request = load_requests_get(&load->requests, load->sent++);
	slot->intended_ns = intended_ns;
	slot->status = 0;
	slot->terminal = slot->failed_event = false;
	slot->running = true;
	load->running++;
	sse_release(&slot->sse);
	sse_init(&slot->sse, DIALECT_EVENT_MAX);
	slot->call.parts[0] = (struct iovec){(void *)request.data, request.size};
	slot->call.part_count = 1;
	if (is_open(load) && counts(load, slot))
		histogram_record(&load->result.late, clock_now(load) - intended_ns);
	http_call_start(load->origin, &slot->call);
}

static void put(struct slot **list, struct slot *slot)
{
	slot->next = *list;
	*list = slot;
}

static struct slot *take(struct slot **list)
{
	struct slot *slot = *list;
	if (slot)
		*list = slot->next;
	return slot;
}

static void on_ended(struct http_call *call, const struct err *err)
{
	struct slot *slot = call->user;
	struct load *load = slot->load;
	slot->running = false;
	load->running--;
	see(slot);
	if (counts(load, slot))
		count_end(load, slot, err);
	bool bad = err->code != ERR_OK || slot->status != 200;
	if (load->options.requests && !is_open(load) && load->phase == LOAD_MEASURE &&
	    load->counted >= load->options.requests) {
		put(&load->free, slot);
		enter(load, LOAD_DRAIN);
	} else if (load->phase >= LOAD_DRAIN && !is_open(load)) {
		put(&load->free, slot);
	} else if (is_open(load)) {
		put(&load->free, slot);
		go_on(load);
	} else if (bad) {
		put(&load->resting, slot);
		if (!load->resting->next)
			env_timer_arm(load->loop, &load->rest, load->loop->now_ns + REST_NS);
	} else {
		start_slot(load, slot, clock_now(load));
	}
}

static void rested(struct env_timer *timer)
{
	struct load *load = (struct load *)((char *)timer - offsetof(struct load, rest));
	struct slot *waiting = load->resting;
	load->resting = NULL;
	for (struct slot *slot; (slot = take(&waiting));)
		start_slot(load, slot, clock_now(load));
}

/* ---- pace ---- */

/* Closed loop: when the connection of this number is opened. */
static uint64_t ramp_time(const struct load *load, unsigned number)
{
	return load->start_ns + load->options.ramp_ns / load->options.connections * number;
}

static void open_more(struct load *load)
{
	uint64_t now = load->loop->now_ns;
	for (int i = 0; i < STARTS_PER_TURN && load->begun < load->options.connections; i++) {
		uint64_t due = ramp_time(load, load->begun);
		if (due > now) {
			env_timer_arm(load->loop, &load->pace, due);
			return;
		}
		start_slot(load, &load->slots[load->begun++], clock_now(load));
	}
	if (load->begun < load->options.connections)
		env_timer_arm(load->loop, &load->pace, now + 1);
}

/* Whether another request is meant to start, now or later. */
static bool schedule_goes_on(const struct load *load)
{
	return load->phase < LOAD_MEASURE || load->next_ns < load->end_ns;
}

static void start_due(struct load *load)
{
	uint64_t now = clock_now(load);
	while (load->free && schedule_goes_on(load) && load->next_ns <= now) {
		uint64_t intended = load->next_ns;
		load->next_ns = load->start_ns + schedule_next(&load->schedule);
		start_slot(load, take(&load->free), intended);
	}
	if (load->free && schedule_goes_on(load))
		env_timer_arm(load->loop, &load->pace, load->next_ns);
	else if (load->phase == LOAD_DRAIN && load->running == 0 && !schedule_goes_on(load))
		enter(load, LOAD_DONE);
}

/* Starts what is due, and sees to it that it is called again in time. */
static void go_on(struct load *load)
{
	if (load->phase == LOAD_DONE)
		return;
	if (is_open(load))
		start_due(load);
	else if (load->phase < LOAD_DRAIN)
		open_more(load);
}

static void paced(struct env_timer *timer)
{
	go_on((struct load *)((char *)timer - offsetof(struct load, pace)));
}

/* ---- phases ---- */

/* What is still under way counts as late, what was never started too (open loop). */
static void count_rest(struct load *load)
{
	for (unsigned i = 0; i < load->options.connections; i++)
		if (load->slots[i].running && counts(load, &load->slots[i]))
			count_failure(load, LOAD_ERROR_LATE, NULL);
	for (; load->next_ns < load->end_ns;
	     load->next_ns = load->start_ns + schedule_next(&load->schedule))
		if (load->next_ns >= load->measure_ns)
			count_failure(load, LOAD_ERROR_UNSTARTED, NULL);
}

static void cancel_all(struct load *load)
{
	for (unsigned i = 0; i < load->options.connections; i++) {
		struct slot *slot = &load->slots[i];
		if (!slot->running)
			continue;
		slot->running = false;
		http_call_cancel(&slot->call);
	}
	load->running = 0;
}

static void begin_measure(struct load *load)
{
	uint64_t now = clock_now(load);
	load->measure_ns = now;
	load->end_ns = now + load->options.measure_ns;
	/* So many starts of the schedule, and no more. */
	if (is_open(load) && load->options.requests) {
		struct schedule ahead = load->schedule;
		uint64_t at = load->next_ns;
		for (uint64_t left = load->options.requests; left > 0;
		     at = load->start_ns + schedule_next(&ahead))
			left -= at >= now;
		if (at < load->end_ns)
			load->end_ns = at;
	}
	env_timer_arm(load->loop, &load->turn, load->end_ns);
}

/* The measurement is over, by time, by number or by wish. */
static void end_measure(struct load *load)
{
	uint64_t now = clock_now(load);
	if (load->end_ns > now || !is_open(load))
		load->end_ns = now;
	load->result.measured_ns = load->end_ns - load->measure_ns;
	load->result.open = load->running;
	if (is_open(load)) {
		env_timer_arm(load->loop, &load->turn, now + load->options.drain_ns);
		go_on(load);
	} else {
		env_timer_arm(load->loop, &load->turn, load->loop->now_ns + 1);
	}
}

static void finish(struct load *load)
{
	env_timer_disarm(load->loop, &load->pace);
	env_timer_disarm(load->loop, &load->rest);
	env_timer_disarm(load->loop, &load->turn);
	if (is_open(load) && load->result.measured_ns > 0)
		count_rest(load);
	cancel_all(load);
}

static void enter(struct load *load, enum load_phase phase)
{
	uint64_t now = load->loop->now_ns;
	load->phase = phase;
	if (phase < LOAD_DONE)
		load->on_phase(load->argument, phase);
	if (phase == LOAD_RAMP)
		env_timer_arm(load->loop, &load->turn, now + load->options.ramp_ns);
	else if (phase == LOAD_WARMUP)
		env_timer_arm(load->loop, &load->turn, now + load->options.warmup_ns);
	else if (phase == LOAD_MEASURE)
		begin_measure(load);
	else if (phase == LOAD_DRAIN)
		end_measure(load);
	else
		finish(load);
	if (phase == LOAD_DONE)
		load->on_phase(load->argument, phase);
}

/* Streams that are held open are all there before the warm-up, however long that takes. */
static bool still_opening(const struct load *load)
{
	uint64_t latest = load->start_ns + load->options.ramp_ns + load->options.timeout_ns;
	return load->phase == LOAD_RAMP && load->options.stream && !is_open(load) &&
	       load->seen < load->options.connections && load->loop->now_ns < latest;
}

static void turn_phase(struct env_timer *timer)
{
	struct load *load = (struct load *)((char *)timer - offsetof(struct load, turn));
	if (still_opening(load))
		env_timer_arm(load->loop, &load->turn, load->loop->now_ns + SECOND_NS / 50);
	else if (load->phase < LOAD_DONE)
		enter(load, load->phase + 1);
}

/* ---- making, starting, stopping ---- */

static enum err_code check(const struct load_options *options, struct err *err)
{
	if (options->connections < 1 || options->connections > CONNECTIONS_MAX)
		return ERR_SET(err, ERR_INVALID, "1 to %d connections, not %u", CONNECTIONS_MAX,
			       options->connections);
	if (options->measure_ns == 0)
		return ERR_SET(err, ERR_INVALID, "the measurement must take some time");
	return ERR_OK;
}

static enum err_code open_target(struct load *load, struct err *err)
{
	struct http_pool_options pool = {
		.connections_max = load->options.connections,
		.idle_max = load->options.connections,
		.idle_timeout_ns = 3600 * SECOND_NS,
		.connect_timeout_ns = load->options.timeout_ns,
		.ca_pem = load->options.ca_pem,
	};
	load->pool = http_pool_new(load->loop, &pool);
	if (!load->pool)
		return ERR_SET(err, ERR_NO_MEMORY, "out of memory");
	ERR_TRY(http_pool_origin(load->pool, bytes_from(load->options.url), &load->origin, err));
	return load_requests_make(&load->options, http_origin_authority(load->origin),
				  http_origin_base_path(load->origin), &load->requests, err);
}

static bool make_slots(struct load *load)
{
	unsigned count = load->options.connections;
	load->slots = calloc(count, sizeof(*load->slots));
	if (!load->slots)
		return false;
	for (unsigned i = count; i-- > 0;) {
		struct slot *slot = &load->slots[i];
		slot->load = load;
		sse_init(&slot->sse, DIALECT_EVENT_MAX);
		slot->call = (struct http_call){.user = slot,
						.head = on_head,
						.body = on_body,
						.ended = on_ended,
						.first_byte_ns = load->options.timeout_ns,
						.idle_ns = load->options.timeout_ns};
		if (is_open(load))
			put(&load->free, slot);
	}
	return true;
}

enum err_code load_new(struct env_loop *loop, const struct load_options *options, struct load **out,
		       struct err *err)
{
	*out = NULL;
	ERR_TRY(check(options, err));
	struct load *load = calloc(1, sizeof(*load));
	if (!load)
		return ERR_SET(err, ERR_NO_MEMORY, "out of memory");
	load->options = *options;
	load->loop = loop;
	load->pace.fire = paced;
	load->rest.fire = rested;
	load->turn.fire = turn_phase;
	enum err_code code = open_target(load, err);
	if (code == ERR_OK && !make_slots(load))
		code = ERR_SET(err, ERR_NO_MEMORY, "out of memory");
	if (code == ERR_OK)
		*out = load;
	else
		load_free(load);
	return code;
}

void load_start(struct load *load, void (*phase)(void *argument, enum load_phase phase),
		void *argument)
{
	load->on_phase = phase;
	load->argument = argument;
	load->start_ns = clock_now(load);
	if (is_open(load)) {
		schedule_init(&load->schedule, load->options.rate, load->options.poisson,
			      load->options.seed);
		load->next_ns = load->start_ns + schedule_next(&load->schedule);
	}
	enter(load, LOAD_RAMP);
	go_on(load);
}

void load_stop(struct load *load)
{
	if (load->phase < LOAD_MEASURE)
		load->result.measured_ns = 0;
	else if (load->phase == LOAD_MEASURE)
		enter(load, LOAD_DRAIN);
	if (load->phase != LOAD_DONE)
		enter(load, LOAD_DONE);
}

const struct load_result *load_result(const struct load *load)
{
	return &load->result;
}

void load_free(struct load *load)
{
	if (!load)
		return;
	env_timer_disarm(load->loop, &load->pace);
	env_timer_disarm(load->loop, &load->rest);
	env_timer_disarm(load->loop, &load->turn);
	if (load->slots)
		cancel_all(load);
	for (unsigned i = 0; load->slots && i < load->options.connections; i++)
		sse_release(&load->slots[i].sse);
	http_pool_free(load->pool);
	load_requests_release(&load->requests);
	free(load->slots);
	free(load);
}
