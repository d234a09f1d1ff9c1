/* A provider for tests: a small HTTP server on a thread of its own that answers in Anthropic's
 * dialect and misbehaves as the prompt asks. A prompt holds a marker "[[KIND NAME]]"; requests are
 * counted by marker. With `gateway` set it also answers Parley's own endpoints. */
#ifndef TEST_BENCH_PROVIDER_H
#define TEST_BENCH_PROVIDER_H

#include "bench/bench.h"
#include "net/http_server.h"

#include <pthread.h>

#define PROVIDER_MARKERS_MAX 512

struct provider_count {
	char marker[64];
	unsigned requests, answered;
};

struct provider {
	struct env *env;
	struct env_loop *loop;
	struct http_server *server;
	struct env_timer stop_timer;
	struct env_message stop;
	char url[96];
	pthread_mutex_t lock;
	struct provider_count counts[PROVIDER_MARKERS_MAX];
	unsigned count, requests;
	/* What it does; set before the run. */
	bool gateway;
	bool unusable;         /* the gateway registers the suite but grants no use of it */
	unsigned revoke_after; /* requests; then 403 by rule grant.revoked; 0: never */
	unsigned signal_after; /* requests; then SIGINT to this process; 0: never */
	/* What the gateway saw. */
	unsigned selves, suites, runs, closed, receipts, early, without_run;
	char plan_digest[128];
	unsigned requests_before_run; /* model requests that came before a run was opened */
};

void provider_start(struct provider *provider, struct env *env);
void provider_stop(struct provider *provider);
/* Requests with this marker so far. */
unsigned provider_asked(struct provider *provider, const char *marker);
unsigned provider_answered(struct provider *provider, const char *marker);
void provider_forget(struct provider *provider);

/* A folder for one test, removed by folder_remove. */
void folder_make(char out[static 256]);
void folder_remove(const char *folder);
void folder_write(const char *folder, const char *name, const char *text);
/* The whole file as text; the caller frees it. NULL if it is not there. */
char *folder_read(const char *folder, const char *name);

#endif
