/* What proxy.c (command and port) and proxied.c (requests) share. */
#ifndef BENCH_PROXY_INTERNAL_H
#define BENCH_PROXY_INTERNAL_H

#include "bench/proxy.h"
#include "bench/words_index.h"
#include "net/http_server.h"
#include "suite/recording.h"

#define PROXY_KEY_SIZE 48 /* of the made-up key, with its NUL */

/* What was not sent on as an item, by kind: name in the summary, text for people. */
/* clang-format off */
#define PROXY_REFUSAL_TABLE(X) \
	X(KEY,       "key",       "without the key that the command was given") \
	X(ENDPOINT,  "endpoint",  "at an endpoint that is none") \
	X(BODY,      "body",      "that cannot be read or bound to an item") \
	X(MODEL,     "model",     "for a model that the run does not name") \
	X(UNBOUND,   "unbound",   "with words that are no item's") \
	X(SETTINGS,  "settings",  "with other settings than the suite's") \
	X(SAMPLES,   "samples",   "for an item whose samples are all answered or under way") \
	X(OVER,      "over",      "after the run was ended") \
	X(RECORDED,  "recorded",  "as nobody is asked while recording without --model")
/* clang-format on */
enum proxy_refusal {
#define X(name, id, text) PROXY_REFUSED_##name,
	PROXY_REFUSAL_TABLE(X)
#undef X
		PROXY_REFUSALS
};

struct proxy {
	struct run *run;
	const struct bench_proxy *options;
	struct http_server *server;
	char url[80];             /* "http://127.0.0.1:PORT" */
	char key[PROXY_KEY_SIZE]; /* what the command is given in place of a real key */
	struct words_index *index;
	/* Of cells with conversations: how many answers of each task the command has had. */
	uint8_t **heard;
	unsigned heard_cells;
	struct recording *recording; /* of what the command asks; NULL: it is a run */
	struct json_scan *scan;
	/* The command */
	char *program; /* its absolute path; owned */
	const char **arguments;
	struct env_process process;
	bool started, ended, settled;
	bool hurry;        /* a second signal: nothing is waited for */
	char failure[256]; /* why it could not be started; "" if it could */
	/* Its requests */
	struct proxied *open; /* list of those that are not over */
	unsigned open_count;
	uint64_t requests;        /* in all */
	uint64_t bound;           /* sent on as an item */
	uint64_t passed;          /* sent on, though no item */
	uint64_t delivered_again; /* answered from what an earlier request was answered */
	uint64_t refused[PROXY_REFUSALS];
	char first_refusal[512]; /* its message */
};

/* One request of the command's. */
struct proxied {
	struct proxy *proxy;
	struct proxied *next, *previous;
	struct http_exchange *exchange; /* NULL once the client is gone */
	enum dialect_id dialect;        /* in which it is answered */
	struct request *request;        /* of an item; NULL: passed on */
	size_t recorded;                /* as which item; 0: as none */
	const char *model;              /* the name of the model it was passed on to */
	/* What is passed on although it is no item: a call of its own. */
	struct http_call call;
	struct buf head, body;
	/* The answer: fields as finished lines, the body until it can go out. */
	int status;
	struct buf fields, answer;
	bool started; /* head sent: a stream goes on as it comes */
	bool paused;
	char why[512]; /* nothing came of it */
};

#define PROXIED_RESPONSE_MAX ((size_t)32 << 20)

/* The handlers of the server: proxied_match.c, proxied.c. */
void proxied_arrived(struct http_exchange *exchange);
void proxied_aborted(struct http_exchange *exchange);
void proxied_drained(struct http_exchange *exchange);

/* proxied.c. NULL when memory is out. */
struct proxied *proxied_new(struct proxy *proxy, struct http_exchange *exchange);
void proxied_free(struct proxied *proxied);
/* The whole answer with `fields`; an error of our own in the dialect's shape; the same for what is
 * not sent on, counted and noted. The request is over after each of them. */
void proxied_respond(struct proxied *proxied, int status, struct bytes body);
void proxied_respond_error(struct proxied *proxied, int status, const char *message, bool retry);
void proxied_refuse(struct proxied *proxied, enum proxy_refusal kind, int status,
		    const char *format, ...) __attribute__((format(printf, 4, 5)));
/* Whether a field of a request or an answer goes on to the other side. */
bool proxied_is_forwarded(struct bytes name);
/* Whether the answer's head begins a stream of events. */
bool proxied_is_stream(const struct proxied *proxied);
/* Its head goes out, and what has come of it. */
void proxied_start_stream(struct proxied *proxied);
/* The answer's end, or what stands for it where it is not whole; the request is over. */
void proxied_finish(struct proxied *proxied, bool whole, struct bytes body);
/* Answers what is under way with an error, and frees it. */
void proxied_end_all(struct proxy *proxy);

/* proxied_turns.c: conversations, step by step. */
/* After the journal was read: the steps that are known by then. */
enum err_code proxied_turns_open(struct proxy *proxy, struct err *err);
void proxied_turns_release(struct proxy *proxy);
/* Which step of the task is due, or was asked last where all are answered; and how many have an
 * answer. Of what is no conversation: 0, and 0 or 1. */
unsigned proxied_turns_answered(const struct cell *cell, size_t index);
/* The request's outcome is known: its answer was heard, or not, and the next step can be asked. */
void proxied_turns_over(struct proxied *proxied, struct request *request);
static inline uint8_t *proxied_turns_heard(const struct proxy *proxy, const struct cell *cell,
					   size_t index)
{
	uint8_t *heard = cell->number < proxy->heard_cells ? proxy->heard[cell->number] : NULL;
	return heard ? heard + index : NULL;
}

/* proxied_send.c. As a sample of an item of that cell … */
void proxied_send_on(struct proxied *proxied, const struct dialect_endpoint *endpoint,
		     struct run_model *model, struct cell *cell, size_t index,
		     const uint8_t digest[static SHA256_SIZE], bool streamed);
/* … or beside the run. */
void proxied_pass_on(struct proxied *proxied, const struct dialect_endpoint *endpoint,
		     struct run_model *model);

/* command_environment.c: the environment of the command: ours without the keys of the run's models,
 * with what SDKs read (docs/evaluator-guide.md). NULL-ended, in `arena`; NULL when memory is out.
 * ERR_USAGE for a NAME=TEXT of --env that is none. */
enum err_code command_environment(const struct proxy *proxy, struct arena *arena,
				  const char *const **out, struct err *err);
/* The program that `name` means: itself where it has a slash, else the first of that name in PATH.
 * The caller frees it. ERR_USAGE says where it was looked for. */
enum err_code command_find(const char *name, char **out, struct err *err);

#endif
