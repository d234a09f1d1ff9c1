/* `parley bench run` and `parley bench resume`: asks models the items of suites, grades the answers
 * and writes everything that is needed to check the numbers into one directory:
 *
 *     DIR/plan.json      what was to be done (no keys); its digest is committed before the first
 * request DIR/journal.jsonl  everything that happened, in order, synced (journal.h)
 *     DIR/summary.json   the results (DESIGN.md section 7)
 *     DIR/report.html    the same for people
 *     DIR/bundle/        what `parley verify` reads (grade/bundle.h)
 *
 * The caller (src/cmd/bench.c) reads the command line, makes the env with `graders` + 2 job threads
 * (one for the journal's syncs, one for names), raises the descriptor limit to concurrency + 64 or
 * more, and prints what comes through `screen`. */
#ifndef BENCH_BENCH_H
#define BENCH_BENCH_H

#include "env/env.h"

#include <jansson.h>

/* Where progress and the final table go; text is UTF-8 and free of control characters but newlines
 * and, with `terminal`, the escape sequences of the live view. */
struct bench_screen {
	void (*write)(void *argument, struct bytes text); /* NULL: nothing is shown (--json) */
	void *argument;
	bool terminal;          /* a TTY: live view; else plain lines every few seconds */
	bool silent;            /* nothing while it runs: only what is said, and the table */
	unsigned columns, rows; /* of the terminal; 0: 80 and 24 */
};

/* `parley bench proxy`: another harness asks, and the run goes on behind a local port. Its requests
 * for items of the suites are sent on as they are, with what the gateway wants to see added;
 * judges, and models that answer from a transcript, are asked by the run itself. */
struct bench_proxy {
	const char *const *command; /* the program and its arguments, NULL-ended */
	const char *const
		*variables; /* --env NAME=TEXT, with {url} and {key}; NULL-ended or NULL */
	unsigned port;      /* --port: 127.0.0.1:PORT; 0: a free one */
	bool any_key;       /* --any-key: whatever key the command sends is taken for its own */
	bool pass_others;   /* --pass-others: what is no item goes to the model too, uncounted */
	bool verdicts;      /* --verdicts: under release V0 the command is given verdicts */
	bool apart; /* the command has a process group of its own: no terminal is its input */
	bool output_to_error; /* what the command prints goes to the standard error */
	/* --record NAME_OR_DIR: no run, but a suite of what the command asks (suite/recording.h).
	 * The models, if any, are asked; NULL: a run. */
	const char *record;
};

struct bench_options {
	/* What to run. Either a plan file … */
	const char *plan; /* plan.yaml; NULL: the lists below */
	/* … or the command line's lists. A suite is a folder, or a name looked up in suite_paths.
	 */
	const char *const *suites; /* --suite, repeated; NULL-terminated */
	const char *const *models; /* --model NAME=DIALECT@URL#ENV or NAME=replay@FILE */
	const char *const *judges; /* --judge, the same form or the name of a --model */
	const char *baseline; /* --baseline, the same form or the name of a --model; NULL: none */
	const char *const *same; /* --same A=B: models said to be one; NULL-terminated or NULL */
	const char *decoys;      /* --decoys, a suite as above; NULL: none */
	unsigned decoy_count;    /* --decoy-count: so many of its items; 0: all */
	double blind;            /* --blind: a share of samples; 0: the plan's */
	/* With either: 0 keeps the plan's or the suite's value. */
	unsigned concurrency;     /* --concurrency: requests at once for each model, 1 to 5,000 */
	unsigned samples;         /* --samples: answers for each item */
	unsigned timeout_seconds; /* --timeout: for one request, default 600 */
	unsigned graders;       /* programs graded at once; 0: 2. Best: the number of processors */
	uint64_t budget_tokens; /* --budget-tokens: never passed (budget.h) */
	double budget_usd;      /* --budget-usd: the same in money; needs prices in the plan */
	/* --cache DIR: bare providers' responses, kept and used again; NULL: none */
	const char *cache;
	bool self_judging;       /* --allow-self-judging */
	const char *const *tags; /* --tag: items with one of them only; NULL-terminated or NULL */
	const char *anchors;     /* --anchors: what people said of the answers (grade/anchors.h) */
	const char *controls;    /* none, all or a number of items; NULL: as the plan says */
	bool sealed;             /* --sealed */

	const char *const *suite_paths; /* folders that hold suites by name; NULL: { "suites" } */
	const char *output;             /* -o DIR; must hold no run yet */
	const char *key;         /* --key FILE.pem: signs the bundle's statement; NULL: unsigned */
	const char *authorities; /* --ca FILE: PEM certificates to trust; NULL: the system's */
	/* --client-cert, --client-key: shown to every https URL; NULL: none. Both or neither. */
	const char *client_certificate, *client_key;
	bool signals;                    /* SIGINT and SIGTERM end the run in order */
	const struct bench_proxy *proxy; /* NULL: the run asks by itself */
	struct bench_screen screen;
};

/* How a run ended. */
struct bench_outcome {
	size_t samples;   /* that were to be answered (comparisons of judges not counted) */
	size_t answered;  /* have an answer */
	size_t failed;    /* were asked as often as it can help and have none */
	size_t missing;   /* were not asked: the run ended before them */
	bool complete;    /* every sample and comparison has an outcome */
	char ending[512]; /* one line: "complete", or who ended it and why */
	json_t *summary;  /* owned by the caller (json_decref); what summary.json holds */
};

/* ERR_OK when every sample has an outcome (failures too). ERR_INTERRUPTED after a signal,
 * ERR_DENIED when a provider, gateway or budget ended it: the directory is complete for what was
 * done and can be resumed; the message says how. ERR_INVALID and ERR_USAGE for plans, suites and
 * keys that are wrong, ERR_EXISTS when `output` holds a run; ERR_NETWORK when no model could be
 * reached; ERR_ENVIRONMENT and ERR_NO_SPACE when the directory cannot be written. `outcome` is
 * overwritten; its summary is NULL where nothing was written. */
enum err_code bench_run(struct env *env, const struct bench_options *options,
			struct bench_outcome *outcome, struct err *err);

/* Goes on with the run in options->output: what has an outcome is not asked again; a request that
 * was under way when it was cut off has an unknown outcome: it is asked again, and its first
 * attempt is marked. Of the options only concurrency, timeout_seconds, graders, budgets, key,
 * authorities, signals and screen are used. A run that is complete is only written out again. */
enum err_code bench_resume(struct env *env, const struct bench_options *options,
			   struct bench_outcome *outcome, struct err *err);

/* What the run would take: {requests, input_tokens, output_tokens, usd, seconds, models, measured,
 * budget} (forecast.h) as a new reference, and the same in one line. `from`: the directory of an
 * earlier run whose answers tell how long they are; NULL: none. Nobody is asked, no key is needed,
 * nothing is written. Errors as of bench_run. */
enum err_code bench_estimate(struct env *env, const struct bench_options *options, const char *from,
			     struct buf *line, json_t **out, struct err *err);

/* What `bench proxy --record` has made. */
struct bench_recorded {
	char folder[4096];
	size_t items, left_out;
	unsigned samples;
	char first_left[256]; /* why the first request that was left out is no item */
	json_t *proxy;        /* owned by the caller: what became of the requests */
};

/* Runs options->proxy->command and makes a suite of its requests. Without models nobody is asked:
 * each request is recorded and refused in its dialect, and the command's exit status is only told.
 * ERR_EXISTS for a folder that holds a suite (before anything is started), ERR_NOT_FOUND where
 * nothing was recorded; with models ERR_DENIED where the command fails, once the suite is written;
 * ERR_INTERRUPTED after a signal, likewise. */
enum err_code bench_record(struct env *env, const struct bench_options *options,
			   struct bench_recorded *recorded, struct err *err);

#endif
