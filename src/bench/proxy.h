/* `parley bench proxy`: the requests of a run come from another harness, a command that runs behind
 * a port of 127.0.0.1. What it sends is recognised by its words (parley-canon-1) as an item of the
 * run's suites and sent on byte for byte, with the fields that the gateway wants to see beside;
 * what comes back is passed on as it comes, kept, graded and recorded like an answer to the run's
 * own request.
 *
 * proxy.c has the beginning and the end (port, command, signals), proxied*.c what becomes of one
 * request, words_index.c finds items, command_environment.c tells the command where to ask. All
 * functions but proxy_open do nothing, or say so, where the run asks by itself (run->proxy is
 * NULL). */
#ifndef BENCH_PROXY_H
#define BENCH_PROXY_H

#include "bench/run.h"

/* Bodies of the command's requests and their answers are kept whole up to this size. */
#define PROXIED_BODY_KEPT_MAX ((size_t)4 << 20)

/* ---- the run's side ---- */

/* Looks for the command's program, reads every item's words and takes the port. ERR_USAGE where
 * there is no such program, ERR_ENVIRONMENT where the port is not to be had. Nothing is asked or
 * started yet. */
enum err_code proxy_open(struct run *run, struct err *err);
/* Preparation is over: the command is started, unless its requests could have no answer. */
void proxy_start(struct run *run);
/* Once the command has ended: what it asked in vain has failed. */
void proxy_settle(struct run *run);
/* The command has ended, and nothing of its is under way. True where there is none. */
bool proxy_is_over(const struct run *run);
/* A signal: the command is told. */
void proxy_interrupt(struct run *run, int number);
/* It has had its time. */
void proxy_kill(struct run *run);
/* An interrupted run still waits for its receipts. */
bool proxy_waits(const struct run *run);
void proxy_free(struct run *run);

/* Whether the command's requests are this cell's answers. */
static inline bool proxy_asks(const struct run *run, const struct cell *cell)
{
	return run->proxy && !cell->judging && !run->models[cell->model].plan->replay &&
	       (run->models[cell->model].plan->roles & PLAN_CONTESTANT);
}

/* How such a run ended, as bench_run's result. */
enum err_code proxy_verdict(const struct run *run, const struct bench_outcome *outcome,
			    struct err *err);
/* With --record, once the command has ended: the suite is written. */
enum err_code proxy_recorded(const struct run *run, struct bench_recorded *recorded,
			     struct err *err);
/* Lines for people about the command and its requests; NULL as an object for the summary where the
 * run asks by itself. */
void proxy_table(const struct run *run, struct buf *out);
json_t *proxy_encode(const struct run *run);

/* ---- one request: called by answer.c and ask.c ---- */

void proxied_head(struct proxied *proxied, const struct http_head *head, struct bytes head_bytes);
void proxied_piece(struct proxied *proxied, struct bytes piece);
/* No answer came of it; ask_finish_request follows. */
void proxied_failed(struct proxied *proxied, const char *why);
/* The attempt is in the journal: the answer's end goes out. */
void proxied_over(struct request *request);

#endif
