/* A run in progress: what bench.c (beginning and end), ask.c, answer.c, scoring.c, judging.c,
 * voucher.c and the writers of results share. One loop, one thread; only programs under test, syncs
 * and name lookups run beside it.
 *
 * The work is a table of cells: one for every (suite, model) that answers, and for pairwise suites
 * one for every (suite, model, opponent, judge) that compares. A cell's tasks are its items times
 * samples (times two orders for judges). A task is 32 bytes, so that 100,000 of them stay small;
 * its answer is in the journal, at `offset`. */
#ifndef BENCH_RUN_H
#define BENCH_RUN_H

#include "bench/bench.h"
#include "bench/journal.h"
#include "bench/pace.h"
#include "bench/plan.h"
#include "bench/retry.h"
#include "bench/signer.h"
#include "bench/cell_use.h"
#include "base/prng.h"
#include "grade/anchors.h"
#include "grade/code.h"
#include "grade/conduct.h"
#include "grade/judge.h"
#include "grade/program_copy.h"
#include "grade/run_records.h"
#include "grade/sandbox_group.h"
#include "net/http_client.h"
#include "suite/transcript.h"

#define RUN_RESPONSE_MAX ((size_t)2 << 20)    /* bytes of one answer's body */
#define RUN_BODY_KEPT_MAX ((size_t)256 << 10) /* bodies beyond it are kept as digests only */
#define RUN_TASKS_MAX ((size_t)16 << 20)
#define RUN_RECORD_ID_MAX 64
#define RUN_UNGRADED_MAX 512u     /* answers that wait for a grader before asking pauses */
#define RUN_JUDGE_OUTPUT_MAX 1024 /* tokens of a judge, where the suite says nothing of judges */

struct progress;
struct rating;
struct proxy;
struct proxied;

/* ---- suites ---- */

/* What results need of an item, known once it was rendered. */
struct run_item {
	const char *cluster;  /* NULL: none, or not known yet */
	const char *category; /* field "category" or "hazard", for the report; NULL: none */
	const char *hazard;   /* of the scorer `hazard`; else NULL */
	double reference;     /* of it: safe answers of the reference; below 0: not told */
	enum expect expect;
	unsigned steps; /* answers that are asked for */
	uint32_t asked; /* bytes of its texts */
	bool known;
};

struct run_suite {
	struct suite *suite;
	const struct scorer *scorer;
	const char *name;
	bool pairwise;
	bool judged; /* answers have no scores of their own, judges give them */
	size_t items;
	unsigned samples;
	struct run_item *facts;      /* one for every item */
	struct leaf_tree *leaves;    /* of a sealed suite; NULL: not needed */
	struct program_copy program; /* of a scorer that is a program of the suite's */
};

/* ---- tasks and cells ---- */

enum task_state {
	TASK_BLOCKED,  /* a judge's: the answers are not there yet */
	TASK_READY,    /* to be asked */
	TASK_WAITING,  /* to be asked again at its time */
	TASK_ASKING,   /* a request is under way */
	TASK_UNGRADED, /* answered; the score is still to be found */
	TASK_GRADING,
	TASK_ANSWERED, /* done, with an answer (and a score where the scorer gives one) */
	TASK_FAILED,   /* done, without an answer */
};

#define TASK_NO_VERDICT 255

struct task {
	uint64_t offset;       /* of the journal line with the answer, or with the last failure */
	uint64_t score_offset; /* of the journal line with the score */
	/* A comparison's stands in the task of order 0; of an answer that is only compared it is
	 * the length in characters. */
	double score;
	uint16_t attempts;
	uint8_t failures, throttles;
	uint8_t state;   /* enum task_state */
	uint8_t verdict; /* judges: enum judge_verdict or rating_verdict, or TASK_NO_VERDICT */
	int8_t refused;  /* enum refused; of an answer that judges rate: by the string rules */
	bool scored : 1; /* `score` holds (for judges: the comparison was scored) */
	bool failed_score : 1;
	bool time_limited : 1;
	bool asked : 1;       /* while reading the journal: the last attempt has no outcome */
	bool undelivered : 1; /* answered, but whoever asked has not had the whole answer */
};

struct cell {
	unsigned number; /* its place in run->cells: what the journal calls it */
	unsigned suite;
	unsigned model;    /* contestant */
	unsigned opponent; /* judging cells */
	unsigned judge;    /* judging cells */
	bool judging;
	size_t spread; /* of a control's comparisons: on how many items; 0: every sample */
	bool rating; /* a judging cell in which answers are rated one by one: no opponent, one order
		      */
	size_t count;
	struct task *tasks;
	/* Of conversations: where in the journal the answers to all steps but the last are,
	 * turn_count places for each task, 0 where there is none yet. NULL: the suite has none. */
	uint64_t *turns;
	unsigned turn_count;
	size_t ready, cursor;          /* tasks that are TASK_READY; none of them before cursor */
	size_t ungraded, grade_cursor; /* the same for TASK_UNGRADED */
	/* Told by progress and tables; counted when durable. */
	size_t done, failed, scored;
	double score_sum;
	struct cell_use use;
};

/* Tasks that one score comes from: a comparison's two orders. */
static inline size_t cell_orders(const struct cell *cell)
{
	return cell->judging && !cell->rating ? 2 : 1;
}

/* Whom a cell's requests go to. */
static inline unsigned cell_asks(const struct cell *cell)
{
	return cell->judging ? cell->judge : cell->model;
}

/* ---- models ---- */

enum gateway_state {
	GATEWAY_UNKNOWN,
	GATEWAY_ASKING, /* a call of the preparation is under way */
	GATEWAY_NONE,   /* a bare provider: nothing vouches */
	GATEWAY_READY,
};

/* A suite registered with a gateway, and the run opened on it. */
struct gateway_run {
	char suite[128], run[128];
	char seed[2 * SHA256_SIZE + 1];       /* this side's, for what may be opened; "" for none */
	char commitment[2 * SHA256_SIZE + 1]; /* the gateway's to its own; "" where none was told */
	char record[RUN_RECORD_ID_MAX + 1];   /* of the run's registration */
	char suite_record[RUN_RECORD_ID_MAX + 1]; /* of the suite's; "" where none was named */
	bool open, closed;
	bool blind;                          /* so many samples may be asked without naming it */
	char closing[RUN_RECORD_ID_MAX + 1]; /* the record of its end; "" where none was named */
	/* The gateway's register, as its end told it: the place of this run among the
	 * organisation's over this suite on this model (0: not told), and how many of its leaves
	 * the provider met for the first time. */
	int64_t place, of, first, re_exposed;
	/* Bytes of the words asked: registered, and brought in by answers; 0 where the gateway
	 * counts none. */
	int64_t registered_bytes, free_bytes;
};

struct run_ending {
	bool ended;
	bool by_gateway;  /* a refusal with a rule */
	bool unreachable; /* no connection could be made at all */
	int64_t time_ms;
	char reason[512];                       /* one line, printable */
	char rule[64], clause[64], appeal[256]; /* "" where unknown */
};

struct run;
struct request;
struct gateway;

struct run_model {
	struct run *run;
	unsigned number;
	const struct plan_model *plan;
	const char *key;               /* borrowed from the environment; NULL: none */
	struct transcript *transcript; /* replay; else NULL */
	struct http_origin *origin;
	struct buf target;     /* path of a generation */
	struct buf credential; /* fields, each with CR LF */
	struct signer signer;  /* without a key: nothing is signed */
	/* Requests */
	struct request *free;      /* to be used again */
	struct request *in_flight; /* list */
	unsigned in_flight_count;
	struct pace pace;
	struct heap waiting; /* struct waiting_task, by time */
	struct env_timer timer;
	size_t answered, failed_in_a_row;
	struct run_ending ending;
	/* Gateway */
	enum gateway_state gateway_state;
	struct gateway *gateway;          /* NULL until it is asked */
	struct gateway_run *gateway_runs; /* one for every suite */
	char gateway_name[256];
	char vkey[512];
	/* The grant and its signed paper, in the run's arena; NULL: not told. */
	const char *grant_id, *grant;
	const char *policy; /* tlog-policy of its gateway, in the run's arena; NULL: not told */
	bool sealed;        /* its gateway gives verdicts, no answers (V0) */
	double blind_share; /* that the grant agrees to; 0: none */
	char verdict_note[2048]; /* the key that signs them, as the log's key vouches for it */
	char simulated[256];     /* label of a stand-in or of stored answers; "" for none */
	char served[DIALECT_SERVED_MAX];
	/* Use */
	int64_t tokens_input, tokens_output;
	double usd;
};

struct waiting_task {
	struct heap_node node; /* key: when */
	struct cell *cell;
	size_t index;
};

/* ---- requests ---- */

/* The most tokens that a request can be billed for (budget.h). */
struct budget_most {
	uint64_t input, output;
};

struct request {
	struct http_call call; /* first */
	struct run_model *model;
	struct request *next, *previous; /* in flight; next: free or starting */
	struct cell *cell;
	size_t index;
	unsigned step;          /* of a conversation that another harness leads */
	struct suite_item item; /* contestants only */
	bool item_held;
	struct budget_most most; /* set aside for it; 0 without a budget */
	char words[2 * SHA256_SIZE + 1];
	struct buf head, body, response;
	struct env_timer deadline;
	int64_t started_ms;
	uint64_t started_ns;
	bool started;
	/* From the response head */
	int status, should_retry;
	int64_t retry_after_ms;
	bool too_large;
	bool cached;             /* `response` is an earlier one (cache.h) */
	bool streamed;           /* the answer is asked for as a stream */
	struct proxied *proxied; /* whose request it carries; NULL: the run's own */
	uint64_t first_ns;       /* when its body began; 0: it has not */
	char request_id[128], record[RUN_RECORD_ID_MAX + 1], nonce[64], simulated[256];
};

/* ---- the run ---- */

enum run_phase {
	RUN_PREPARING, /* gateways are asked, suites and runs registered */
	RUN_ASKING,
	RUN_CLOSING, /* receipts are fetched, runs closed */
	RUN_OVER,
};

/* A task that counts once the journal is synced up to `end`. */
struct undurable {
	uint64_t end;
	struct cell *cell;
	size_t index;
};

struct run {
	struct env *env;
	struct env_loop *loop;
	const struct bench_options *options;
	struct plan plan;
	struct buf plan_text;
	uint8_t plan_digest[SHA256_SIZE];
	struct arena arena; /* clusters, categories and paths */
	const char *directory;
	struct run_suite *suites;
	struct run_model *models;
	struct cell *cells;
	unsigned suite_count, model_count, cell_count;
	struct conduct conduct;
	size_t cell_tasks; /* of all cells */
	struct journal journal;
	bool journal_open;
	struct http_pool *pool;
	struct prng prng;   /* jitter */
	struct prng mixing; /* of decoys */
	enum run_phase phase;
	struct env_message pump;
	bool pump_posted;
	struct undurable *undurable; /* in the order of `end` */
	size_t undurable_first, undurable_count, undurable_capacity;
	unsigned grading, graders;
	struct sandbox_warm *warm; /* interpreters for programs under test */
	bool warm_off_said;
	bool grouped, grouped_said; /* programs have control groups, with these limits */
	char groups[SANDBOX_GROUP_NOTE_SIZE];
	size_t outcomes; /* tasks that are answered or failed, durable */
	/* What was used, against the budget, and what is set aside for requests under way. */
	uint64_t tokens, reserved_tokens;
	double usd, reserved_usd;
	size_t reservations;
	/* Of what was used: charged for attempts whose usage nobody told. */
	uint64_t charged_tokens;
	double charged_usd;
	bool interrupted, over_budget, resumed;
	struct anchors anchors;    /* none: count 0 */
	struct env_timer patience; /* how long requests under way are waited for after a signal */
	struct err fatal;          /* the journal or memory failed: nothing more is done */
	struct buf scratch;        /* a journal line being read */
	int64_t started_ms, ended_ms;
	uint64_t started_ns;
	struct progress *progress;
	struct proxy *proxy; /* another harness asks; NULL: the run does */
};

/* bench.c: ends the run for a reason that no model can be blamed for. */
void run_fail(struct run *run, const struct err *err);
/* Work may be possible again; looked at in a later turn of the loop. */
void run_wake(struct run *run);
/* Stops asking; what is under way is waited for a short while, or not at all. */
void run_stop(struct run *run, bool at_once);
/* Nothing more is asked of this model. `err` (may be NULL) and the parts say who ended it. */
void run_end_model(struct run_model *model, const char *reason, const struct refusal_parts *parts);
/* Only notes who ended it, unless something is noted already. */
void run_note_ending(struct run_model *model, const char *reason,
		     const struct refusal_parts *parts);

/* cells.c */
enum err_code cells_build(struct run *run, struct err *err);
void cells_release(struct run *run);
/* Of a comparison: the place of the two answers in their own cells; of an answer its own. */
static inline size_t cell_answer(const struct run *run, const struct cell *cell, size_t index)
{
	const struct run_suite *suite = &run->suites[cell->suite];
	size_t place = index / cell_orders(cell);
	return cell->spread ? plan_spread_item(place, suite->items, cell->spread) * suite->samples
			    : place;
}
static inline size_t cell_item(const struct run *run, const struct cell *cell, size_t index)
{
	return cell_answer(run, cell, index) / run->suites[cell->suite].samples;
}
static inline unsigned cell_sample(const struct run *run, const struct cell *cell, size_t index)
{
	return (unsigned)(cell_answer(run, cell, index) % run->suites[cell->suite].samples);
}
/* The comparison (its first order) of the answers at `answer`; false where the cell has none. */
static inline bool cell_comparison(const struct run *run, const struct cell *cell, size_t answer,
				   size_t *first)
{
	const struct run_suite *suite = &run->suites[cell->suite];
	size_t place = answer;
	if (cell->spread &&
	    (answer % suite->samples != 0 ||
	     !plan_spread_place(answer / suite->samples, suite->items, cell->spread, &place)))
		return false;
	*first = 2 * place;
	return true;
}
/* The cell in which a model answers a suite; NULL if it does not. */
struct cell *cells_answering(struct run *run, unsigned suite, unsigned model);
/* Changes a task's state and keeps the cell's counts. */
void cell_set(struct cell *cell, size_t index, enum task_state state);
/* The next task in that state (TASK_READY or TASK_UNGRADED); false if there is none. */
bool cell_next(struct cell *cell, enum task_state state, size_t *index);
/* Cluster, category and expectation of an item. */
void cells_note_item(struct run *run, unsigned suite, const struct suite_item *item);
const struct run_item *cells_item(struct run *run, unsigned suite, size_t item);
/* The task has an outcome that counts when the journal is durable up to its present end. */
void cells_done(struct run *run, struct cell *cell, size_t index);
/* The journal became durable: counts, and opens what depends on it. */
void cells_durable(struct run *run);
/* An attempt of the task, for what is told of how providers behave. */
void cells_observe(struct run *run, const struct cell *cell, size_t index,
		   const struct run_transcript *attempt);
/* The task is asked without naming the gateway's run. */
bool cells_is_blind(const struct run *run, const struct cell *cell, size_t index);
/* Every task has an outcome. */
bool cells_complete(const struct run *run);

/* ask.c */
void ask_pump(struct run *run);
bool ask_is_idle(const struct run *run); /* nothing is under way, nor will be by itself */
void ask_cancel_all(struct run *run, const char *why);
void ask_finish_request(struct request *request); /* back to the model's free list */
void ask_later(struct run *run, struct cell *cell, size_t index, uint64_t delay_ms);
void ask_release(struct run_model *model);
/* A request of the model's, in flight from now on, that ask_finish_request gives back. NULL when
 * memory is out. */
struct request *ask_take_request(struct run_model *model);
/* The request's head: the fields given (and room for RUN_OWN_FIELDS more), what the gateway wants
 * to see of run and leaf, the signature where the key needs it, and `credential` (lines). */
#define RUN_OWN_FIELDS 4
void ask_write_head(struct request *request, struct bytes target, struct bytes *names,
		    struct bytes *values, size_t count, struct bytes credential);
/* The same without run and leaf, for any request to the model: appended to `head`. `asked` has no
 * authority and no time. */
void ask_sign_head(const struct run_model *model, struct buf *head,
		   const struct signer_request *asked, struct bytes credential);
/* Starts the clocks and writes the request into the journal; then it is to be sent. */
void ask_begin(struct request *request);
/* Nothing more is asked: the next request might pass the plan's budget. */
void ask_over_budget(struct run *run);

/* decoys.c: the suite of the plan that counts in no result. */
/* Puts the chosen items, all where the plan takes all, in place of the suite. */
enum err_code decoys_choose(struct run *run, unsigned number, struct suite **suite,
			    struct err *err);
/* Once all suites are there. ERR_INVALID where a provider could tell decoys by their settings. */
enum err_code decoys_check(struct run *run, struct err *err);
/* The decoy that the model is to be asked next; NULL: it is an item's turn. */
struct cell *decoys_next(struct run *run, const struct run_model *model, size_t *index);
/* The gateway does not admit them: the model is not asked any. */
void decoys_leave_out(struct run_model *model, const char *why);

/* steps.c */
/* Steps of the task's conversation that are answered, but for the last. */
unsigned steps_done(const struct cell *cell, size_t index);
/* An answer came, whose line is at `offset`. True: another step follows. */
bool steps_take(struct run *run, struct cell *cell, size_t index, uint64_t offset);
/* Where in the journal the answer to a step is that has one. */
uint64_t steps_offset(const struct cell *cell, size_t index, unsigned step);
/* The digest of a step's words, after the answers to those before it. */
enum err_code steps_digest(struct run *run, const struct cell *cell, size_t index, unsigned step,
			   uint8_t digest[static SHA256_SIZE], struct err *err);
/* Puts the words of the step that is due in place of the item's. */
enum err_code steps_words(struct run *run, struct request *request, struct err *err);

/* answer.c */
void answer_head(struct http_call *call, const struct http_head *head, struct bytes head_bytes);
void answer_body(struct http_call *call, struct bytes piece);
void answer_ended(struct http_call *call, const struct err *err);
/* The request is given up: it counts as failed (`why`) but may be asked again. */
void answer_cut(struct request *request, enum err_code code, const char *why);
/* The response is there already, out of the cache. */
void answer_cached(struct request *request);
void answer_replay(struct request *request, const struct transcript_answer *stored);
/* Adds an attempt's tokens and cost to the model's and the run's. */
void answer_count_use(struct run *run, struct run_model *model,
		      const struct run_transcript *transcript);
/* The task will not be asked again and has no answer. */
void answer_give_up(struct run *run, struct cell *cell, size_t index, const char *why);
/* Counts a failure without any request (a prompt that cannot be built): final. */
void answer_impossible(struct request *request, const struct err *err);

/* scoring.c: from answers to scores, at once or in a job. */
void scoring_answer(struct run *run, struct cell *cell, size_t index, const struct suite_item *item,
		    struct bytes answer);
/* The same from the gateway's verdict on a sealed answer. */
void scoring_verdict(struct run *run, struct cell *cell, size_t index, const char *text);
void scoring_failed(struct run *run, struct cell *cell, size_t index, const char *why);
void scoring_pump(struct run *run);
/* The record of one sample's or comparison's score, from what the task knows. */
void scoring_record(struct run *run, struct cell *cell, size_t index, struct run_score *out);
/* judging.c */
/* The answers of this contestant task are final and durable: judges may look at them. */
void judging_open(struct run *run, unsigned suite, unsigned model, size_t sample_index);
/* The request that asks the judge: fills words and body (and item.words for a replayed judge). */
enum err_code judging_request(struct run *run, struct request *request, struct err *err);
/* A judge's task has its outcome: the comparison is scored when both orders have. */
void judging_settle(struct run *run, struct cell *cell, size_t index);

/* rating.c */
/* The answer is final and durable: judges may rate it. */
void rating_open(struct run *run, unsigned suite, unsigned model, size_t index);
/* What the judge is asked, a new reference. */
enum err_code rating_ask(struct run *run, const struct request *request, json_t **out,
			 struct err *err);
/* The judge's reply: its score is written. */
enum err_code rating_take(struct run *run, struct cell *cell, size_t index, struct bytes reply,
			  struct err *err);
/* Writes the score, once; without a rating it failed, and `why` says what of. */
void rating_settle(struct run *run, struct cell *cell, size_t index, const struct rating *rating,
		   const char *why);
/* A task of an earlier process that has its outcome and lacks its score. */
void rating_resume(struct run *run, struct cell *cell, size_t index);

/* lines.c: the journal's lines */
void lines_ask(struct run *run, const struct request *request);
/* `charged`: what a budget is charged for an attempt whose usage nobody told; NULL: nothing. */
void lines_attempt(struct run *run, struct cell *cell, size_t index,
		   const struct run_transcript *transcript, const char *request_id, bool final,
		   bool throttled, const struct budget_most *charged);
void lines_score(struct run *run, struct cell *cell, size_t index, const struct run_score *score);
void lines_gateway(struct run *run, const struct run_model *model, unsigned suite);
void lines_simulated(struct run *run, const struct run_model *model);
void lines_note(struct run *run, const char *event, const char *text);
/* The embedded `line` of an attempt or score: without parsing; false for other events. */
bool lines_embedded(struct bytes text, const char *event, struct bytes *line);
/* Takes one line of the journal that an earlier process left. */
enum err_code lines_take(void *argument, const json_t *line, uint64_t offset, struct bytes text,
			 struct err *err);
/* After the last of them: marks unknown outcomes and finds what is left to do. */
void lines_taken(struct run *run);
/* The answer's text at a task's offset; a new reference that holds the string. NULL on failure. */
json_t *lines_answer(struct run *run, uint64_t offset, const char **text, struct err *err);

/* voucher.c */
/* Starts the preparation of all models; run_wake when it is over. */
void voucher_prepare(struct run *run);
bool voucher_is_ready(const struct run *run);
/* The field `parley-leaf` of an item of a sealed suite, appended. */
void voucher_leaf(const struct run_model *model, unsigned suite, const struct suite_item *item,
		  struct buf *out);
void voucher_want_receipt(struct run_model *model, const char *record);
/* Whether requests of the cell name the gateway's run: answers, and judges that it binds. */
bool voucher_names_run(const struct run *run, const struct cell *cell);
/* Fetches what is left and closes finished runs. */
void voucher_close(struct run *run);
bool voucher_is_closed(const struct run *run);
/* Receipts that were fetched by this process, and those that could not be had. */
void voucher_receipts(const struct run_model *model, size_t *got, size_t *lost);
void voucher_stop(struct run *run); /* no callback comes after it */

/* part.c: in place of *suite the items with the plan's tags, and their twins; notes in the plan
 * what they are a part of. ERR_INVALID where there is none. */
enum err_code part_choose(struct run *run, unsigned number, struct suite **suite, struct err *err);
/* A suite of the chosen items of another (an array of flags), under its name and version. */
enum err_code part_keep(const struct suite *all, const bool *chosen, const char *directory,
			struct suite **out, struct err *err);

/* anchoring.c: what people said of the answers, from the plan or the options, of a run that goes on
 * from its bundle. Errors name file and line. */
enum err_code anchoring_open(struct run *run, struct err *err);
/* The bundle's copy, where there are any. */
enum err_code anchoring_write(struct run *run, struct err *err);

/* finish.c: summary.json, bundle/ and report.html. Blocks. */
enum err_code finish_write(struct run *run, struct bench_outcome *outcome, struct err *err);

#endif
