/* One model request on its way through the gateway, as a table of named steps:
 *
 *   read -> decide -> reserve -> admit -> forward -> relay -> settle -> finish -> retire
 *
 * A request lives from the moment its body is complete until its last record is durable, which may
 * be after its client has gone. It is carried by one worker from beginning to end. */
#ifndef GATE_REQUEST_H
#define GATE_REQUEST_H

#include "dialect/dialect.h"
#include "gate/worker.h"

enum gate_next {
	GATE_NEXT, /* go on with the following step */
	GATE_WAIT, /* come back to this step when something has happened */
	GATE_DONE, /* the request is over and freed */
};

struct gate_step {
	const char *name; /* in traces and errors */
	enum gate_next (*run)(struct gate_request *request);
};

/* How far the answer is. */
enum gate_answer {
	ANSWER_NONE,   /* nothing has come from the upstream */
	ANSWER_PLAIN,  /* a body being collected */
	ANSWER_STREAM, /* a stream of events being passed on */
	ANSWER_OVER,   /* complete, failed or cut: see `ending` */
};

/* What a request needs until its answer is under way, and again at its end: a stream gives it back
 * in between, so that many can be held. From the worker's stock. */
struct gate_front {
	struct gate_front *next;      /* in the stock */
	struct arena arena;           /* empty in the stock, as is `held` */
	struct buf held;              /* a plain body; or stream bytes that wait for their record */
	struct gate_request *request; /* from here on zeroed in the stock */
	size_t waiting; /* of a stream's: so many for the admit record, the rest, which is its end,
			 * for the settle record */
	struct gate_request *room_next, *room_previous; /* while it waits for room (room.c) */
	uint64_t room_since_ns;                         /* 0: it need not decide again for it */
	bool room_waits, room_refused;
	struct policy_request facts;
	struct dialect_request body;
	struct verdict verdict;
	struct json_scan *scan; /* of a body that was read as it came; NULL: not begun */
	uint8_t words_digest[SHA256_SIZE];
	struct binding_settings *settings; /* in the arena; NULL: none */
	struct leaf_claim *claim;          /* the same */
	int64_t retry_after_ms;      /* with a refusal by a limit; -1: waiting does not help */
	struct run_opening *opening; /* while it waits for a run */
	struct log_entry admit;      /* or of a refusal */
	char *admit_text;            /* in the arena */
	uint8_t nonce[LOG_NONCE_SIZE];
	char nonce_text[2 * LOG_NONCE_SIZE + 1];
	struct iovec parts[HTTP_CALL_PARTS_MAX];
	struct http_header *upstream_headers; /* of the answer, passed on; in the arena */
	unsigned upstream_header_count;
};

/* What lasts of a verdict, and of what was asked for. */
struct gate_terms {
	const struct world_key *key;
	const struct world_grant *grant;
	const struct world_model *model;
	const struct world_suite *suite;
	const struct world_run *run;
	const struct world_clause *clause, *observed_clause;
	uint32_t leaf;
	uint32_t asked_output;  /* tokens an answer; 0: nothing was said */
	uint8_t answers;        /* 1 to 128 */
	uint8_t rule, observed; /* enum rule */
	uint8_t purpose;        /* enum purpose */
	uint8_t release;        /* enum release */
	bool unbound;
};

/* What lives as long as the request: with thousands of streams this decides what one takes. */
struct gate_request {
	struct gate_request *next, *previous; /* the worker's list */
	struct gate_worker *worker;
	const struct gate_step *step;
	struct http_exchange *exchange; /* NULL once the client is gone */

	/* What every piece of a stream looks at stands together: with thousands of streams nothing
	 * of one is in the processor's cache when its next event comes. */
	uint8_t answer; /* enum gate_answer */
	bool running;
	bool calling;    /* the call has neither ended nor been cancelled */
	bool started;    /* the head of a stream has been sent */
	bool error_sent; /* a stream was ended with an error event */
	bool withheld;   /* revoked while the end waited for its record: it is never sent */
	bool told;       /* revoked, and what else is to be ended waits for its turn (cuts.c) */
	bool observing, usage_added;
	bool has_response;
	bool unheld;        /* the end of a stream found no memory, or is too long */
	bool slices_waived; /* mode observe: the stream goes on without */
	bool head_only;     /* refused before its body was read */
	bool streams;       /* as it asks */
	bool answered;      /* a whole answer or error was given to the connection */
	bool waits_for_grader, waits_for_run, run_opened;
	bool admitted; /* an admit record was submitted: a settle record must follow */
	bool waits_for_text;
	bool admit_submitted; /* until then its record waits for another's (records.c) */
	bool admit_durable, settle_submitted, settle_durable;
	bool retiring;      /* its memory waits for nothing but the end of this turn */
	bool admit_written; /* the log reads its text no more; durable is what need not be waited
			       for */
	uint8_t dialect;    /* enum dialect_id */
	uint8_t use;        /* enum endpoint_use */
	uint8_t log;        /* enum control_log */
	uint8_t ending;     /* enum record_ending */
	uint64_t slice_deadline_ns; /* of waiting for a slice or for memory; 0: for neither */
	uint64_t sent;              /* bytes of the answer's body */
	uint64_t passed_ns;         /* when the client was last sent a part of it */
	struct sha256 response_hash;

	struct gate_front *front;         /* NULL: a stream is under way that needs none */
	struct world *world;              /* one reference; what the verdict points into */
	struct gate_upstreams *upstreams; /* one reference; they fit the world */

	/* The request */
	const struct dialect_endpoint *endpoint;
	struct gate_terms terms;
	size_t prompt_bytes;
	int64_t most_output; /* tokens that its answers may have together, once it is admitted */
	uint64_t started_ns;
	/* For the account of it (account.h) */
	uint64_t first_byte_ns; /* of a streamed answer, to the client; 0: none yet */
	uint64_t received;      /* bytes of the request's body */

	/* Admission */
	struct gate_final *final;   /* final.c; NULL: the answer goes out as it comes */
	struct gate_sealed *sealed; /* verdict.c; NULL: the answer is not sealed */
	struct gate_served *served; /* served.c; NULL: nothing goes on from the answer */
	struct gate_sample *sample; /* NULL: it uses none */
	uint64_t admit_index;
	struct gate_text *settle_text;  /* once it settles */
	struct gate_request *next_text; /* while it waits for one; or retires */
	struct gate_request *next_told; /* while `told` */

	/* Upstream and answer */
	struct http_call call;
	const char *cut_reason; /* with ENDING_REVOKED or SHUTDOWN: rule-like text for the client */
	size_t charged;         /* to the gateway's memory, for what is held */
	/* Waiting for a slice of output, or for memory for a plain answer. */
	struct env_timer slice_timer;

	/* What is shorter than a word */
	enum err_code failure; /* what went wrong upstream; ERR_OK: nothing */
	int status;            /* of the upstream, or of our own refusal; 0: none yet */
	int client_status;     /* HTTP, as the client was sent it; 0: nothing */
	uint16_t reserved_units, admit_units; /* of the log; 0: nothing is reserved */
	uint8_t peer_family;                  /* enum env_family */
	uint8_t peer_network[6];              /* the start of its address */
	char admit_id[RECORD_ID_SIZE + 1];

	/* From here on nothing is zeroed for the next request: each is filled before it is read. */
	struct limits_reservation reservation; /* but for its beginning */
	/* Of a stream, and in `outcome` (which is zeroed) what is known of any answer. */
	struct dialect_observer observer;
};

_Static_assert(sizeof(struct gate_request) <= 1128, "one for every stream");

#define GATE_REQUEST_ZEROED                           \
	(offsetof(struct gate_request, reservation) + \
	 offsetof(struct limits_reservation, input_mark))

/* Handlers of the worker's HTTP server. */
void gate_request_head(struct http_exchange *exchange, size_t *body_max);
void gate_request_progress(struct http_exchange *exchange);
void gate_request_arrived(struct http_exchange *exchange);
void gate_request_aborted(struct http_exchange *exchange);
void gate_request_drained(struct http_exchange *exchange);
void gate_request_unsent(struct http_exchange *exchange);
void gate_request_refused_below(struct http_exchange *exchange, int status, const char *reason);

/* Whose answer it was, left in the exchange (`user`) for as long as some of it has not gone out. */
struct gate_answered {
	const char *key, *grant, *org;
	enum purpose purpose;
};

/* The gateway is taken apart with the request under way: it ends without a record, and recovery
 * will write `unknown` for it. */
void gate_request_abandon(struct gate_request *request);

/* Goes on with the present step; called when something it waits for has happened. */
void gate_request_run(struct gate_request *request);

/* Ends an admitted request from outside: its key, grant or org was revoked (RECORD_ENDING_REVOKED),
 * or the gateway shuts down. */
void gate_request_cut(struct gate_request *request, enum record_ending ending, const char *reason);
/* The same for a stream that is under way, in two parts, because clients are to know within
 * milliseconds and there may be thousands. First its client is sent `event`, made beforehand by
 * gate_revoked_event, and nothing of the answer is relayed any more; false, and nothing done, where
 * no stream is under way: then it is to be cut. Later the rest is ended. */
bool gate_request_tell_revoked(struct gate_request *request, struct bytes event);
void gate_request_end_told(struct gate_request *request);
/* The native error event for `reason`, behind two line feeds that end an event under way. */
void gate_revoked_event(enum dialect_id dialect, const char *reason, struct buf *out);
/* The admit or settle record is durable. */
void gate_request_admit_durable(struct log_entry *entry);
void gate_request_settle_durable(struct log_entry *entry);
/* A request that waits for a run: decides again in the worker's present world. */
void gate_request_run_opened(struct gate_request *request, enum err_code code,
			     const struct err *err);

/* room.c: room in the log for the request's records. Where it waits, the decision is made again
 * (gate_request_run) when there is room, kept for it, or when there will be none. */
enum gate_place {
	GATE_PLACE_TAKEN,
	GATE_PLACE_WAITS,
	GATE_PLACE_NONE, /* the log is full, broken or stuck: it must be refused */
};
enum gate_place gate_room_take(struct gate_request *request);
/* It waits no more. */
void gate_room_leave(struct gate_request *request);
/* What an admission that is not made would have needed. */
void gate_room_return(struct gate_request *request);
void gate_rooms_start(struct gate_worker *worker);
/* Whoever waits is refused. */
void gate_rooms_close(struct gate_worker *worker);

/* relay.c: the steps that talk to the upstream. */
enum gate_next gate_step_forward(struct gate_request *request);
enum gate_next gate_step_relay(struct gate_request *request);
enum gate_next gate_step_finish(struct gate_request *request);

/* ping.c: streams that are quiet for as long as the configuration says are sent a comment. */
void gate_pings_start(struct gate_worker *worker);
/* relay.c: `: ping`, where a stream is under way, stands between two events, and its client has
 * taken all it was sent. Part of the body, for its digest too. */
void gate_send_ping(struct gate_request *request);

/* records.c: what the log is told. An admit record may wait for those of other requests, because
 * bodies are hashed faster side by side (sha256_many): until there are as many as are wanted, the
 * worker idles, or gate_worker_turn finds that it has waited long enough. The request goes on once
 * its record is submitted (`admit_submitted`). False where memory is out. */
bool gate_submit_admit(struct gate_request *request);
void gate_submit_settle(struct gate_request *request, const struct record_usage *usage);
/* Whether the request's refusal was put on record; it is freed when the record is durable. */
bool gate_submit_refusal(struct gate_request *request);

/* refuse.c: what a refused client is told. */
void gate_send_refusal(struct gate_request *request);
/* An error of the gateway's own making in the caller's dialect, as a plain answer. */
void gate_send_error(struct gate_request *request, int status, const char *code,
		     struct bytes message, bool retry);

/* ---- what parley grant check reads as a request does (admin_check.c) ---- */

enum endpoint_use gate_endpoint_use(enum endpoint_kind kind);
/* What the body says, without its words. */
void gate_body_facts(const struct dialect_request *body, struct policy_request *facts);

/* The credential as SHA-256; false if there is none (facts->has_key is set accordingly). */
bool gate_read_credential(const struct http_exchange *exchange, struct policy_request *facts);
/* Where it comes from. */
void gate_read_peer(const struct http_exchange *exchange, struct policy_request *facts);
/* sender.c: what it proves of its sender, for a key that is bound, in the worker's present world.
 * With the whole request its body is compared too, and its nonce is used up: once for each. False
 * where nonces cannot be remembered any more: it must be refused (facts->sender.problem). */
enum gate_proof { GATE_PROOF_HEAD, GATE_PROOF_WHOLE };
bool gate_prove_sender(struct gate_worker *worker, struct http_exchange *exchange,
		       struct policy_request *facts, enum gate_proof extent);
/* Whether there is none because two fields hold different ones. */
bool gate_credentials_differ(const struct http_exchange *exchange);
/* request_limits.c: "rate limit" fields of the tightest scope; at most `max` headers, text in the
 * arena. */
unsigned gate_limit_headers(struct gate_request *request, struct http_header *out, unsigned max);

/* Memory for what the client is told at the end; NULL where there is nobody to tell. */
struct arena *gate_request_arena(struct gate_request *request);

/* To the worker's stock of free requests. */
void gate_request_free(struct gate_request *request);

#endif
