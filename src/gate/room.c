/* Room in the log for an admitted request's records. Where there is none for the moment, because
 * the disk is slower than what is asked for, the request waits for it, and its client with it: a
 * connection is not read while its request is under way. Whoever came first goes on first. Only
 * where the log is full or broken, or has come to a stop, is the request refused, before it costs
 * anything.
 *
 * What happened meanwhile (a revocation, another world) is found by deciding again. */
#include "gate/request.h"

#include "gate/account.h"

/* Room asked for: an admit and a settle record, each at most this many units. */
#define UNITS_PER_RECORD 4
#define UNITS (2 * UNITS_PER_RECORD)
/* Room comes back whenever another thread commits, prepares a segment or needs less than it had: it
 * is looked for so often while somebody waits. */
#define LOOK_NS UINT64_C(2000000)
/* A log that has done nothing for so long is stuck; and nobody waits longer than this in all. */
#define STUCK_NS UINT64_C(10000000000)
#define WAIT_MAX_NS UINT64_C(60000000000)

static struct gate_room *room_of(struct gate_request *request)
{
	return &request->worker->rooms[request->log];
}

static struct log *log_of(struct gate_worker *worker, const struct gate_room *room)
{
	return worker->producers[room - worker->rooms].log;
}

/* With `relaxed` nothing else holds up who asks again as soon as he is answered. */
static bool may_lend(const struct gate_worker *worker)
{
	return worker->lent_count < worker->lent_max;
}

static bool take(struct gate_worker *worker, const struct gate_room *room)
{
	return may_lend(worker) && log_reserve(log_of(worker, room), UNITS);
}

/* What is lent to one log keeps requests of both waiting, and comes back as that one works. */
static uint64_t work_done(struct gate_worker *worker, const struct gate_room *room)
{
	uint64_t done = 0;
	for (int log = 0; log < CONTROL_LOGS; log++)
		if (room == &worker->rooms[log] || !may_lend(worker))
			done += log_work_done(log_of(worker, &worker->rooms[log]));
	return done;
}

static bool look_again(struct gate_worker *worker)
{
	return worker->room_armed ||
	       (worker->room_armed = env_timer_arm(worker->loop, &worker->room_timer,
						   worker->loop->now_ns + LOOK_NS));
}

static void enter(struct gate_room *room, struct gate_request *request)
{
	struct gate_front *front = request->front;
	front->room_waits = true;
	front->room_since_ns = request->worker->loop->now_ns;
	front->room_next = NULL;
	front->room_previous = room->last;
	if (room->last)
		room->last->front->room_next = request;
	else
		room->first = request;
	room->last = request;
	metrics_add(&request->worker->metrics.log_waits, 1);
	metrics_add(&request->worker->metrics.log_waiting, 1);
}

void gate_room_leave(struct gate_request *request)
{
	struct gate_room *room = room_of(request);
	struct gate_front *front = request->front;
	front->room_waits = false;
	if (front->room_previous)
		front->room_previous->front->room_next = front->room_next;
	else
		room->first = front->room_next;
	if (front->room_next)
		front->room_next->front->room_previous = front->room_previous;
	else
		room->last = front->room_previous;
	metrics_add(&request->worker->metrics.log_waiting, -1);
}

void gate_room_return(struct gate_request *request)
{
	if (request->reserved_units && !request->admitted)
		log_unreserve(request->worker->producers[request->log].log,
			      request->reserved_units);
	if (!request->admitted)
		request->reserved_units = 0;
}

enum gate_place gate_room_take(struct gate_request *request)
{
	struct gate_worker *worker = request->worker;
	enum control_log log =
		request->terms.purpose == PURPOSE_PRODUCT ? CONTROL_USAGE : CONTROL_EVALUATION;
	if (request->reserved_units && request->log == log)
		return GATE_PLACE_TAKEN; /* it has waited for it */
	gate_room_return(request);
	request->log = (uint8_t)log;
	struct gate_room *room = room_of(request);
	if (!room->first && take(worker, room)) {
		request->reserved_units = UNITS;
		return GATE_PLACE_TAKEN;
	}
	if (request->front->room_refused || !log_is_working(log_of(worker, room)) ||
	    !look_again(worker))
		return GATE_PLACE_NONE;
	if (!room->first) {
		room->progress = work_done(worker, room);
		room->progress_ns = worker->loop->now_ns;
	}
	enter(room, request);
	return GATE_PLACE_WAITS;
}

/* The first goes on: with room, or to be refused. */
static void release_first(struct gate_room *room, unsigned units)
{
	struct gate_request *request = room->first;
	gate_room_leave(request);
	request->reserved_units = (uint16_t)units;
	request->front->room_refused = units == 0;
	gate_request_run(request);
}

static bool is_stuck(struct gate_worker *worker, struct gate_room *room, struct log *log)
{
	uint64_t progress = work_done(worker, room);
	if (progress != room->progress) {
		room->progress = progress;
		room->progress_ns = worker->loop->now_ns;
	}
	return !log_is_working(log) || worker->loop->now_ns - room->progress_ns >= STUCK_NS;
}

static void look(struct gate_worker *worker, struct gate_room *room)
{
	struct log *log = log_of(worker, room);
	uint64_t now_ns = worker->loop->now_ns;
	while (room->first && take(worker, room))
		release_first(room, UNITS);
	bool stuck = room->first && is_stuck(worker, room, log);
	while (room->first && (stuck || now_ns - room->first->front->room_since_ns >= WAIT_MAX_NS))
		release_first(room, 0);
}

static void look_now(struct env_timer *timer)
{
	struct gate_worker *worker =
		(struct gate_worker *)((char *)timer - offsetof(struct gate_worker, room_timer));
	worker->room_armed = false;
	/* Each is the first in its turn: both take from what may be lent. */
	worker->room_turn = (uint8_t)((worker->room_turn + 1u) % CONTROL_LOGS);
	for (unsigned i = 0; i < CONTROL_LOGS; i++)
		look(worker, &worker->rooms[(worker->room_turn + i) % CONTROL_LOGS]);
	bool waiting =
		worker->rooms[CONTROL_EVALUATION].first || worker->rooms[CONTROL_USAGE].first;
	if (waiting && !look_again(worker))
		gate_rooms_close(worker);
}

void gate_rooms_start(struct gate_worker *worker)
{
	worker->room_timer.fire = look_now;
}

void gate_rooms_close(struct gate_worker *worker)
{
	for (int log = 0; log < CONTROL_LOGS; log++)
		while (worker->rooms[log].first)
			release_first(&worker->rooms[log], 0);
}
