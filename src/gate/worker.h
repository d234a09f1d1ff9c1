/* A worker: one loop with its listener, its pool of upstream connections and the requests it is
 * carrying. Workers share the logs, the limit cells and the published world, and nothing else. */
#ifndef GATE_WORKER_H
#define GATE_WORKER_H

#include "base/arena.h"
#include "base/json_scan.h"
#include "base/sha256.h"
#include "dialect/dialect.h"
#include "gate/access_log.h"
#include "gate/control.h"
#include "gate/metrics.h"
#include "ledger/log.h"
#include "net/http_client.h"
#include "net/http_server.h"
#include "policy/decide.h"

struct gateway;
struct gate_front;
struct gate_request;
struct proving;
struct refusal_window;

/* So many different failures of a provider are told in a minute. */
#define UPSTREAM_TOLD 8

/* What a worker knows about a provider: where it is and the part of the head that never changes. */
struct gate_upstream {
	struct http_origin *origin;
	enum dialect_id dialect;
	char *fields; /* Host, credential and fixed fields, each line with CR LF; owned */
	uint64_t first_byte_ns, stall_ns;
	struct {
		uint64_t kind;    /* a hash of what it was */
		uint64_t told_ns; /* when the operator was last told of it; 0: never */
	} told[UPSTREAM_TOLD];
};

/* The providers as one configuration has them, and the connections to them. A reload makes another
 * set; requests keep the one that fits the world they were decided in. */
struct gate_upstreams {
	unsigned references;         /* of the worker and its requests */
	struct gate_upstreams *next; /* given up, to be freed outside of the pool's callbacks */
	struct http_pool *pool;
	struct http_origin *grader; /* where sealed answers are judged; NULL: nowhere */
	unsigned count;
	struct gate_upstream rows[]; /* by world_provider.index */
};

/* What a worker has from the part of the configuration that a reload may change. Made on the admin
 * loop, then the worker's. */
struct gate_public_url {
	bool tls;
	char authority[256]; /* lower case, without the scheme's own port; "": not configured */
	char prefix[256];    /* path without '/' at its end */
};

struct gate_settings {
	struct gate_upstreams *upstreams;
	struct tls_context *tls; /* of the model listener; NULL: plain */
	size_t max_body;
	struct gate_public_url public_url;
};

/* `relaxed`: so many records of a worker may be on their way to the disk before new requests wait
 * for them. */
#define GATE_LENT_MAX 4096

/* A settle record has bounded members only. */
#define GATE_SETTLE_TEXT_MAX 2048

/* The sample of a suite that a request uses up. */
struct gate_sample {
	struct gate_sample *next;
	struct binding_hold hold;
};

/* Memory for a record that the log reads for longer than its request may have to live. */
struct gate_text {
	struct gate_text *next, *previous; /* in the stock (next alone), or among those lent */
	struct gate_worker *worker;
	struct gate_request *request; /* NULL: it is lent to the log, and nobody waits for it */
	struct log_entry entry;
	struct record_usage usage;
	char text[GATE_SETTLE_TEXT_MAX];
};

/* Requests that wait for room in a log (room.c), in their order. */
struct gate_room {
	struct gate_request *first, *last;
	uint64_t progress, progress_ns; /* of the log, when it was last seen, and since when */
};

struct gate_worker {
	struct gateway *gateway;
	struct env_loop *loop;
	unsigned number;
	struct http_server *server;
	struct gate_upstreams *upstreams; /* one reference; fits `world` */
	struct gate_upstreams *given_up;
	struct http_pool_stats upstream_stats; /* of all pools it has had */
	struct env_message sweep_message;
	bool sweep_posted;
	size_t max_body;
	struct gate_public_url public_url;
	struct proving *proving; /* scratch of sender.c */
	struct log_producer producers[CONTROL_LOGS];
	struct world *world; /* one reference */
	/* Requests admitted and not finished, and those that wait for a run to be opened. */
	struct gate_request *first;
	/* A plain answer that may be collected although memory is used up; NULL: none does. */
	struct gate_request *passes;
	struct gate_request *spare; /* kept for reuse, linked by next */
	unsigned spare_count, live_count;
	/* Admitted, and their records not submitted yet (records.c), since the first came. */
	struct gate_request *unsubmitted[SHA256_TASKS];
	unsigned unsubmitted_count;
	size_t unsubmitted_bytes; /* of their bodies */
	uint64_t unsubmitted_since_ns;
	/* Memory for settle records: at least one is always here or in use, so that a request can
	 * wait for one where there is no more memory. */
	struct gate_text *texts;
	unsigned text_count;
	/* `relaxed`: made at once for as many as may be lent, touched as they are needed. */
	struct gate_text *text_slab;
	unsigned slab_used;
	struct gate_request *text_waiting;
	struct gate_room rooms[CONTROL_LOGS];
	struct env_timer room_timer; /* while somebody waits in one of them */
	bool room_armed;
	uint8_t room_turn; /* whose waiters are looked at first */
	/* `relaxed`: texts of records whose requests need not wait for the log; and such requests,
	 * over but for those who have called them, linked by next_text. */
	struct gate_text *lent;
	unsigned lent_count, lent_max; /* with so many lent, new requests wait (room.c) */
	struct gate_request *retiring;
	unsigned retiring_count;
	struct env_message retire_message;
	bool retire_posted;
	/* Revoked streams whose clients have been told, and whose calls are still to be closed
	 * (cuts.c), linked by next_told; NULL: none. */
	struct gate_request *told, *last_told;
	struct env_message told_message;
	bool told_posted;
	/* Memory for the beginnings of requests. */
	struct gate_front *fronts;
	struct gate_sample *samples;
	unsigned front_count, fronts_out, sample_count;
	unsigned own_calls;    /* on Parley's own paths, under way */
	struct json_scan scan; /* scratch: too large for each request */
	struct dialect_workspace workspace;
	struct metrics metrics;
	struct access_log_writer access;
	/* Refusals before authentication: one record a second for each rule and source network. */
	struct refusal_window *refusals;
	uint64_t implausible_ns; /* when a usage that cannot be was last told of; 0: never */
	bool observe; /* `mode: observe`: what only policy forbids goes through, and is told */
	bool relaxed; /* answers do not wait for their records */
	bool stopping;
	struct env_timer grace;
	struct env_timer ping; /* looks for streams that have been quiet */
	struct env_message stop_message, stopped_message;
};

/* `ticket_key` is the same for all workers (tls_server_share_tickets). On failure *out is empty. */
enum err_code gate_settings_make(struct gate_worker *worker, const struct config *config,
				 const uint8_t *ticket_key, struct gate_settings *out,
				 struct err *err);
/* Of settings that no worker was given. */
void gate_settings_discard(struct gate_settings *settings);
/* On the worker's loop, or before it runs: takes them over. Together with a new world only. */
void gate_worker_configure(struct gate_worker *worker, struct gate_settings *settings);

struct gate_upstreams *gate_upstreams_hold(struct gate_worker *worker);
/* The last reference closes the connections, a turn later. NULL is fine. */
void gate_upstreams_drop(struct gate_worker *worker, struct gate_upstreams *upstreams);

size_t gate_proving_size(void); /* sender.c: of worker->proving */

/* Before the loops run. */
enum err_code gate_worker_init(struct gate_worker *worker, struct gateway *gateway, unsigned number,
			       struct err *err);
/* After the loop was joined. */
void gate_worker_release(struct gate_worker *worker);

/* On the worker's loop: takes over the reference to `world` and ends what `cuts` name (cuts.c).
 * When it returns no byte of their answers is relayed any more and the clients of their streams
 * have been told; what else there is to end is ended in the turns that follow. */
void gate_worker_publish(struct gate_worker *worker, struct world *world,
			 const struct control_cut *cuts, size_t cut_count);

/* For the beginning of a request; NULL where memory is out. */
struct gate_front *gate_worker_take_front(struct gate_worker *worker);
/* Everything in it becomes invalid. */
void gate_worker_give_front(struct gate_worker *worker, struct gate_front *front);
struct gate_sample *gate_worker_take_sample(struct gate_worker *worker);
void gate_worker_give_sample(struct gate_worker *worker, struct gate_sample *sample);
/* A text for a settle record: NULL where there is none now, and one will come back. */
struct gate_text *gate_worker_take_text(struct gate_worker *worker);
/* The first request that waits for a text goes on with it. */
void gate_worker_give_text(struct gate_worker *worker, struct gate_text *text);
/* Parts a submitted text from its request: it comes back by itself when its record is durable
 * (gate_worker_lent_durable). */
void gate_worker_lend_text(struct gate_worker *worker, struct gate_text *text);
void gate_worker_lent_durable(struct gate_text *text);

/* How long an admit record may wait for others while the worker is busy. */
#define GATE_UNSUBMITTED_NS 500000u
/* So many bytes of bodies wait for no more: hashing them is work of one turn, a millisecond. */
#define GATE_UNSUBMITTED_BYTES ((size_t)2 << 20)
/* request.c: a request that is over is freed a little later, where nobody deals with it. */
void gate_worker_retire(struct gate_worker *worker, struct gate_request *request);
void gate_worker_free_retiring(struct gate_worker *worker);
/* Submits the admit records that wait (records.c), and their requests go on. */
void gate_submit_waiting(struct gate_worker *worker);

/* Whether the operator is told of something again, of which he was last told at *told_ns (0:
 * never), and then notes that he is: what goes wrong goes wrong again and again, and each worker
 * tells of it once a minute. Counters have it all. */
static inline bool gate_worker_may_tell(const struct gate_worker *worker, uint64_t *told_ns)
{
	const uint64_t pause_ns = 60 * UINT64_C(1000000000);
	uint64_t now_ns = worker->loop->now_ns;
	if (*told_ns && now_ns - *told_ns < pause_ns)
		return false;
	*told_ns = now_ns;
	return true;
}

/* Now and then while the loop is busy: records that have waited long enough go to the log. */
static inline void gate_worker_turn(struct gate_worker *worker)
{
	if (worker->unsubmitted_count > 0 &&
	    worker->loop->now_ns - worker->unsubmitted_since_ns >= GATE_UNSUBMITTED_NS)
		gate_submit_waiting(worker);
	for (int log = 0; log < CONTROL_LOGS; log++)
		log_producer_turn(&worker->producers[log], false);
}

/* From any thread: no new connections; what is under way may finish until the grace period is over;
 * then gateway_worker_stopped is called. */
void gate_worker_stop(struct gate_worker *worker);

#endif
