/* The gateway as a whole: configuration, logs, control plane, workers and admin loop, put together,
 * run, and taken apart again in order. */
#ifndef GATE_GATEWAY_H
#define GATE_GATEWAY_H

#include "gate/config.h"
#include "gate/worker.h"

struct gateway;
struct run_opening;

/* Descriptors that are not for clients and their calls: logs, store, listeners, admin. */
#define GATEWAY_DESCRIPTORS_KEPT 500

struct gateway_options {
	struct env *env;
	const struct config *config; /* borrowed until the gateway is freed, also after reloads */
	struct env_loop *main_loop;  /* becomes the admin loop (made with may_block) */
	const char *store_path;      /* NULL: in memory, for simulations */
	uint64_t grace_ns;           /* how long requests may go on after gateway_stop; 0: 10 s */
	uint64_t segment_size;       /* of the logs, bytes; 0: 16 MiB */
	bool restored;               /* the data directory may be a backup (gate/backup.h) */
	uint64_t descriptors;        /* the process may have; 0: no bound */
	unsigned replace_keys;       /* as in struct control_options, with their reason */
	const char *replace_reason;
	/* On the admin loop, when all is closed and gateway_free may be called. `err` is NULL after
	 * gateway_stop, or what made it stop by itself. */
	void (*stopped)(void *argument, const struct err *err);
	/* On the admin loop: the access log cannot be written. May be NULL. */
	void (*warn)(void *argument, const struct err *err);
	/* On the admin loop: something the operator should know. May be NULL. */
	void (*notify)(void *argument, const char *text);
	void *argument;
};

/* Locks and recovers the data directory, opens the store, listens. Nothing is served before
 * gateway_start. */
enum err_code gateway_open(const struct gateway_options *options, struct gateway **out,
			   struct err *err);
/* Starts the workers and the log loop; the main loop is the caller's to run. */
enum err_code gateway_start(struct gateway *gateway, struct err *err);
/* On the main loop: no new requests; `stopped` follows when those under way have ended, or were
 * ended after the grace period. A second call does nothing. */
void gateway_stop(struct gateway *gateway);
void gateway_free(struct gateway *gateway);
/* How many clients may be connected at once; 0: no bound. */
unsigned gateway_clients_max(const struct gateway *gateway);
/* From any thread: what the operator should know, to options.notify on the main loop. Without
 * memory it is not told. */
void gateway_tell(struct gateway *gateway, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
/* On the main loop: the access log, if there is one, goes on in a new file of its name. */
void gateway_reopen_access_log(struct gateway *gateway);

/* Another configuration, for what can be changed while it runs: TLS of the model listener,
 * providers, models, max_body (config_keep_fixed has put the running values into the rest).
 * Requests under way end as they began, new ones go by the new world. */
struct gateway_reload {
	const struct config *config; /* borrowed until it comes back as `unused` */
	/* In `done`: the configuration that is needed no longer, the one before or, on failure, the
	 * new one. The one of the start must be kept all the same. */
	const struct config *unused;
	/* On the main loop; may be called from inside gateway_reload. */
	void (*done)(struct gateway_reload *reload, enum err_code code, const struct err *err);
	void *argument;
	/* private */
	struct gateway *gateway;
	struct control_reconfigure call;
	struct gate_settings *settings; /* for each worker */
	struct control_record record;
	char detail[128], text[1024];
	uint8_t ticket_key[TLS_TICKET_KEY_SIZE];
};
/* On the main loop; one at a time. It is an act: nothing changes before its record is durable. */
void gateway_reload(struct gateway *gateway, struct gateway_reload *reload);
/* Where it listens, with real ports; at most `max` addresses, the count is returned. */
size_t gateway_addresses(const struct gateway *gateway, struct env_address *out, size_t max);
/* False where it has no admin listener. */
bool gateway_admin_address(const struct gateway *gateway, struct env_address *out);

/* ---- for the workers ---- */

/* As it was at the start: for what a reload does not change. */
const struct config *gateway_config(const struct gateway *gateway);
/* Of signed requests; shared by all workers. */
struct nonces *gateway_nonces(const struct gateway *gateway);
/* Unix milliseconds; 0 where nothing can have been asked of it before it started. */
int64_t gateway_started_ms(const struct gateway *gateway);
const uint8_t *gateway_ticket_key(const struct gateway *gateway);
/* Asks the control plane for a run of request->verdict.suite; gate_request_run_opened follows on
 * the worker's loop. False when memory is out. */
bool gateway_open_run(struct gate_request *request);
/* The request of this opening is no more. */
void gateway_forget_opening(struct run_opening *opening);
/* The last request of a worker that stops is over. */
void gate_worker_request_over(struct gate_worker *worker);
uint64_t gateway_grace_ns(const struct gateway *gateway);
/* Connections and memory of all workers together. */
struct net_budget *gateway_budget(struct gateway *gateway);
/* From any thread: by the verdict key. False when memory is out. */
bool gateway_sign_verdict(const struct gateway *gateway, struct bytes text,
			  uint8_t signature[static ED25519_SIGNATURE_SIZE]);
/* On the worker's loop, at its end. */
void gateway_worker_stopped(struct gate_worker *worker);
struct gate_worker *gateway_worker(struct gateway *gateway, unsigned number);
struct log *gateway_log(struct gateway *gateway, enum control_log log);
struct control *gateway_control(struct gateway *gateway);
struct env_loop *gateway_admin_loop(struct gateway *gateway);
/* Providers and models that have series of their own. */
const struct metrics_names *gateway_provider_names(const struct gateway *gateway);
const struct metrics_names *gateway_model_names(const struct gateway *gateway);

/* own.c: /parley/v1/… and /log/… on the model listener. */
bool gateway_is_own_path(const struct http_exchange *exchange);
void gateway_own_arrived(struct gate_worker *worker, struct http_exchange *exchange);
void gateway_own_aborted(struct http_exchange *exchange);
/* Answers with a problem (RFC 9457) at once; `rule` may be NULL. */
void gateway_own_refuse(struct http_exchange *exchange, int status, const char *title,
			const char *rule);

#endif
