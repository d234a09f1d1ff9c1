/* What the parts of the gateway share: gateway.c puts it together, hooks.c serves the control
 * plane, admin_server.c the operator, own.c the holders of keys. */
#ifndef GATE_GATEWAY_INTERNAL_H
#define GATE_GATEWAY_INTERNAL_H

#include "gate/admin.h"
#include "gate/gateway.h"

#include <pthread.h>
#include "gate/grader_watch.h"

#define GATEWAY_TOKEN_SIZE 64 /* hex digits */

struct cosigning;
struct rotation;

/* How often the logs' key can change between two starts. */
#define GATEWAY_RETIRED_MAX 32

struct gateway {
	struct gateway_options options;
	struct env *env;
	const struct config *config;
	struct env_loop *admin_loop, *log_loop;
	struct env_loop *care_loop;  /* where segments of the logs are sealed and read again */
	struct ed25519_private *key; /* of the logs */
	bool own_statement; /* one is counted for the holder of a key; admin loop */
	struct buf verdict_note;     /* the verdict key, signed with the log's; behind note_lock */
	pthread_mutex_t note_lock;   /* workers copy the note, the admin loop replaces it */
	struct ed25519_private *retired[GATEWAY_RETIRED_MAX]; /* logs' keys of before */
	unsigned retired_count;
	struct rotation *rotation; /* of the logs' key, under way; NULL: none */
	uint8_t secret[LOG_SECRET_SIZE];
	uint8_t ticket_key[TLS_TICKET_KEY_SIZE]; /* of the workers' first TLS contexts */
	struct gateway_reload *reload;           /* under way; NULL: none */
	struct log *logs[CONTROL_LOGS];
	char origins[CONTROL_LOGS][512];
	struct log_producer producers[CONTROL_LOGS]; /* of the admin loop */
	struct control *control;
	struct cosigning *cosigning; /* NULL: no witnesses */
	struct nonces *nonces;       /* of signed requests */
	int64_t started_ms;          /* 0: it is the first time */
	struct net_budget budget;    /* of all workers */
	struct gate_worker *workers;
	struct metrics_names provider_names, model_names;
	struct access_log *access_log; /* NULL: off */
	unsigned worker_count, workers_inited, workers_running;
	struct http_server *admin_socket, *admin_tcp;
	bool has_admin_address;
	struct env_address admin_address;
	struct env_address addresses[CONFIG_LISTENERS_MAX];
	char token[GATEWAY_TOKEN_SIZE + 1];
	bool started, stopping, log_started, care_started;
	bool over; /* no act is taken any more */
	struct env_timer stop_timer;
	unsigned admin_calls; /* under way */
	struct env_message fatal_message, farewell;
	struct err fatal;
	struct grader_watch *grader; /* NULL: there is none to ask */
	struct gateway_probe *probe; /* health.c; NULL: nobody has asked yet */
	atomic_bool failed;
};

/* hooks.c */
void gateway_hook_record(void *argument, struct control_record *record);
void gateway_hook_publish(void *argument, struct control_publish *publish);
uint64_t gateway_hook_position(void *argument, enum control_log log);
uint64_t gateway_hook_next(void *argument, enum control_log log);
enum err_code gateway_hook_scan(void *argument, enum control_log log, uint64_t from,
				control_scan_function *each, void *each_argument, struct err *err);

enum err_code gateway_hook_checkpoint(void *argument, enum control_log log, uint64_t size,
				      struct buf *out, struct err *err);
json_t *gateway_hook_log_state(void *argument, enum control_log log, bool scrub);
/* A segment of a log does not read as it should: told to the operator. From any thread. */
void gateway_hook_rot(void *argument, const struct err *err);

/* metrics_http.c: /metrics. */
void gateway_write_metrics(struct gateway *gateway, struct buf *out);
/* On the admin loop: the configuration's providers and models get series of their own. */
void gateway_name_metrics(struct gateway *gateway, const struct config *config);

/* snapshot.c: what `parley top` shows, as JSON; a new reference, NULL when memory is out. */
json_t *gateway_snapshot(struct gateway *gateway);

/* statement_http.c: the signed statement of an organisation's month ("2026-11"). `done` on the
 * admin loop, maybe from inside the call: the answer is borrowed, NULL where `err` says why. */
void gateway_statement(struct gateway *gateway, const char *org, const char *month,
		       void (*done)(void *argument, unsigned status, json_t *answer,
				    const struct err *err),
		       void *argument);

/* health.c: answers /healthz and /readyz, at once or when every loop has told that it turns. */
void gateway_serve_health(struct gateway *gateway, struct http_exchange *exchange);
void gateway_serve_ready(struct gateway *gateway, struct http_exchange *exchange);
/* Its client is gone. */
void gateway_health_forget(struct gateway *gateway, const struct http_exchange *exchange);
void gateway_health_close(struct gateway *gateway);

/* admin_server.c */
enum err_code gateway_admin_open(struct gateway *gateway, struct err *err);
void gateway_admin_close(struct gateway *gateway);

/* log_http.c: the resource of a log behind `path` ("checkpoint", "vkey", "tile/…"): status and
 * body. Entries are given whole where `reader` is NULL, else those of the organisation that records
 * name so ("": none), the others with size 0. Blocking. */
int gateway_log_resource(struct log *log, struct bytes path, const char *reader, struct buf *out,
			 const char **type);
bool gateway_log_is_entries(struct bytes path);

#endif
