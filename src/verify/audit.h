/* The check of one bundle, in steps that share this state (check_bundle.c runs them in order):
 *
 *   load         plan, suites, keys                          audit.c
 *   receipts     every proof and signature                   receipts.c
 *   attempts     transcripts.jsonl, line by line             attempts.c, vouching.c
 *   scores       scores.jsonl against the transcripts        scores.c
 *   results      aggregates, summary and statement           results.c
 *
 * The work that the plan asks for is laid out as in the harness: a cell for each suite and model
 * that answers, and for pairwise suites one for each comparison by a judge; a slot for each sample
 * (two for a comparison: one for each order). */
#ifndef VERIFY_AUDIT_H
#define VERIFY_AUDIT_H

#include "base/arena.h"
#include "bench/plan.h"
#include "grade/aggregate.h"
#include "grade/bundle.h"
#include "grade/code.h"
#include "grade/conduct.h"
#include "grade/judge.h"
#include "grade/jsonl.h"
#include "grade/program_copy.h"
#include "verify/grants.h"
#include "verify/receipts.h"
#include "verify/signs.h"
#include "verify/report.h"
#include "verify/withheld.h"

#define AUDIT_SLOTS_MAX ((size_t)32 << 20)
#define AUDIT_JSON_MAX ((size_t)64 << 20) /* plan.json, summary.json */
#define AUDIT_NO_VERDICT 255

/* An item, rendered once for what is needed of it again and again. */
struct audit_item {
	uint8_t words[SHA256_SIZE];
	const char *cluster; /* in the arena; NULL: none */
	enum expect expect;
	const char *hazard; /* in the arena; NULL: none */
	double reference;   /* below 0: none */
	unsigned steps;     /* answers that are asked for */
	uint32_t asked;     /* bytes of its texts */
	bool known;
	bool opened;    /* of a withheld suite: its words and grading are known */
	char number[8]; /* of a withheld suite: its place, which stands for its id */
};

struct audit_suite {
	struct suite *suite;    /* NULL: it is withheld */
	const json_t *withheld; /* its entry in withheld.json; NULL: it is shown */
	size_t opened;          /* items of it that were opened */
	const char *version;
	const json_t *settings; /* canonical; borrowed */
	bool judged;            /* it says what judges are asked */
	unsigned steps;         /* answers that an item asks for at most */
	const struct scorer *scorer;
	const char *name;
	unsigned samples;
	size_t items;
	uint8_t root[SHA256_SIZE];
	struct audit_item *facts; /* one for each item */
	/* Of a scorer that is a program of the suite's. */
	struct program_copy program;
	size_t asked_program, asked_again; /* answers that it scored, and scored again here */
};

struct audit_slot {
	uint64_t offset; /* of the answer's line */
	uint32_t length; /* of the answer, in characters */
	double score;    /* found again here */
	uint16_t attempts;
	int8_t refused;  /* enum refused */
	uint8_t verdict; /* of a judge: enum judge_verdict or rating_verdict, or AUDIT_NO_VERDICT */
	bool answered : 1;
	bool graded : 1;   /* `score` was found again */
	bool limited : 1;  /* it hangs on a time limit */
	bool ungraded : 1; /* published without a grade, though there is an answer */
	bool sealed : 1;   /* `score` is the gateway's verdict */
	bool listed : 1;   /* scores.jsonl has it */
	bool unseen : 1;   /* answered, and the answer is withheld */
	bool measured : 1; /* … with the lengths of both answers */
	bool gap : 1;      /* an answer to an earlier step is not vouched for */
	bool word : 1;     /* withheld: what is published of it is the evaluator's word */
	bool pinned : 1;   /* the gateway's record has `score` */
};

struct audit_cell {
	unsigned suite, model, opponent, judge;
	bool judging;
	size_t spread; /* of a control's comparisons: on how many items; 0: every sample */
	bool rating; /* a judging cell in which answers are rated one by one: no opponent, one order
		      */
	size_t count;
	struct audit_slot *slots;
	/* Of conversations: the lines of the answers to all steps but the last, turn_count places
	 * for each slot, 0 where there is none yet (steps.c). */
	uint64_t *turns;
	unsigned turn_count;
	/* Vouching */
	char run[RECEIPT_ID_TEXT]; /* named by the gateway's records; "" while none is known */
	const struct registered *registered;
	unsigned log;
	enum signer signer; /* the weakest of its answers' receipts */
	bool shared_words;  /* items with equal words: the gateway counts them together */
	uint16_t *used;     /* for each item: samples that the gateway counted, at least */
	uint32_t *inputs;   /* for each item: input tokens of its first answer (signs.c); or NULL */
	size_t answered, vouched, failed;
	size_t observed; /* admitted by a gateway in mode observe: recorded, not vouched for */
};

/* What the report tells in the end. */
struct audit_counts {
	size_t turns; /* answers that conversations went on from */
	size_t attempts, answers, failures, replayed, digests, rebuilt, graded, reran, limited;
	size_t programs, ungraded; /* not run again; published without a grade */
	size_t own_programs;       /* answers scored by a program of the suite's own */
	size_t verdicts, receipts, usages, hidden;
	size_t ratings;     /* of `verdicts`: on single answers */
	size_t loose;       /* asked by another harness with fewer settings than the suite's */
	size_t comparisons; /* of models, computed again */
	size_t anchors;     /* ratings by people */
	bool anchors_untold;
	size_t cached; /* responses out of a cache, by the bundle's own account */
	size_t sealed, signed_verdicts, opened; /* verdicts on sealed answers */
	size_t openings[3];                     /* by enum opening_known */
	size_t words; /* answers that are withheld: their scores are the evaluator's word */
	char first_hidden[256];
};

struct audit {
	struct env *env;
	const char *directory;
	const struct verify_options *options;
	struct verify_report *report;
	struct verify_keys reader, own;
	struct note_key *verdict_keys; /* owned; each vouched for by a key of `reader` or `own` */
	size_t verdict_key_count;
	struct bundle bundle;
	struct plan plan;
	uint8_t plan_digest[SHA256_SIZE];
	struct arena arena;
	struct receipts receipts;
	struct withheld withheld;
	struct grants grants;
	struct audit_suite suites[PLAN_SUITES_MAX];
	unsigned suite_count;
	struct audit_cell *cells;
	size_t cell_count, slots;
	struct jsonl transcripts;
	json_t *summary;
	struct run_score *scores; /* rebuilt, in the order of the cells */
	size_t score_count;       /* without those of decoys, which stand behind them */
	size_t decoy_count;
	struct results results;
	struct sandbox_warm *warm; /* of --rerun; NULL: not needed yet */
	int64_t tokens_input[PLAN_MODELS_MAX], tokens_output[PLAN_MODELS_MAX];
	struct audit_counts counts;
	struct signs signs[PLAN_MODELS_MAX];
	struct conduct conduct;
	size_t drawn_named[PLAN_MODELS_MAX]; /* answers drawn for the blind arm, asked by name */
	json_t *conduct_words;               /* of what was found again; NULL: nothing */
};

/* audit.c */
enum err_code audit_load(struct audit *audit, struct err *err);
void audit_release(struct audit *audit);
/* "<bundle>/<name>" in the arena; NULL when memory is out. */
const char *audit_path(struct audit *audit, const char *name);
/* One file of JSON, an object. */
enum err_code audit_read_json(struct audit *audit, const char *name, struct buf *text, json_t **out,
			      struct err *err);
static inline bool audit_has_role(const struct audit *audit, unsigned model, unsigned roles)
{
	return (audit->plan.models[model].roles & roles) != 0;
}
static inline unsigned audit_asked(const struct audit_cell *cell)
{
	return cell->judging ? cell->judge : cell->model;
}
/* Slots that one score comes from: a comparison's two orders. */
static inline size_t audit_orders(const struct audit_cell *cell)
{
	return cell->judging && !cell->rating ? 2 : 1;
}
/* Of a comparison: the slot of the two answers in their own cells; of an answer its own. */
static inline size_t audit_answer_of(const struct audit *audit, const struct audit_cell *cell,
				     size_t slot)
{
	const struct audit_suite *suite = &audit->suites[cell->suite];
	size_t place = slot / audit_orders(cell);
	return cell->spread ? plan_spread_item(place, suite->items, cell->spread) * suite->samples
			    : place;
}
/* The slot of an item's sample in the cell, of a comparison its order 0; false: it has none. */
static inline bool audit_slot_of(const struct audit *audit, const struct audit_cell *cell,
				 size_t item, unsigned sample, size_t *slot)
{
	const struct audit_suite *suite = &audit->suites[cell->suite];
	size_t place = item * suite->samples + sample;
	if (cell->spread &&
	    (sample != 0 || !plan_spread_place(item, suite->items, cell->spread, &place)))
		return false;
	*slot = audit_orders(cell) * place;
	return true;
}
static inline size_t audit_item_of(const struct audit *audit, const struct audit_cell *cell,
				   size_t slot)
{
	return audit_answer_of(audit, cell, slot) / audit->suites[cell->suite].samples;
}
static inline unsigned audit_sample_of(const struct audit *audit, const struct audit_cell *cell,
				       size_t slot)
{
	return (unsigned)(audit_answer_of(audit, cell, slot) % audit->suites[cell->suite].samples);
}
/* By names; judge and opponent NULL for answers. NULL if the plan has no such work. */
struct audit_cell *audit_find_cell(struct audit *audit, const char *suite, const char *model,
				   const char *opponent, const char *judge);
struct audit_cell *audit_answering(struct audit *audit, unsigned suite, unsigned model);
/* What is known of an item, rendered if it was not yet. NULL: err says why. */
const struct audit_item *audit_item(struct audit *audit, unsigned suite, size_t item,
				    struct err *err);
/* The item with this id, or, of a withheld suite, with this place; false if there is none. */
bool audit_find_item(const struct audit_suite *suite, struct bytes id, size_t *index);
const char *audit_item_id(const struct audit_suite *suite, size_t index);
/* As suite_item_render and suite_judge_render, of a withheld suite from what was opened. */
enum err_code audit_render(struct audit *audit, unsigned suite, size_t item, bool judge,
			   struct suite_item *out, struct err *err);
/* Puts "item I (suite S, model M)" in front of an error. Returns its code. */
enum err_code audit_blame(const struct audit *audit, const struct audit_cell *cell, size_t slot,
			  struct err *err);

/* attempts.c: reads transcripts.jsonl to its end. */
enum err_code audit_attempts(struct audit *audit, struct err *err);

/* One attempt, found in the plan. */
struct attempt {
	const char *where; /* "transcripts.jsonl:12" */
	struct run_transcript line;
	struct audit_cell *cell;
	size_t slot;
	bool hidden; /* its texts are withheld: placeholders stand in `line` */
};
/* An answer, or the verdict on one. */
static inline bool attempt_answered(const struct attempt *attempt)
{
	return attempt->line.answer || attempt->line.verdict;
}
/* sealed.c: the keys of verdicts that the bundle brings along. */
enum err_code audit_verdict_keys(struct audit *audit, struct err *err);
/* A verdict on a sealed answer: its shape, its signature, and what it says of the attempt. */
enum err_code audit_sealed(struct audit *audit, const struct attempt *attempt, struct err *err);
/* Whether the gateway's records say the same; *bound as for answers. */
enum err_code audit_sealed_settle(struct audit *audit, const struct attempt *attempt,
				  const struct receipt *settle, bool *bound, struct err *err);
/* Whether the answer was opened exactly if the seeds of both sides chose it. */
enum err_code audit_sealed_opening(struct audit *audit, const struct attempt *attempt,
				   const struct receipt *admit, const struct receipt *settle,
				   struct err *err);
/* vouching.c: an attempt against the gateway's receipts. */
enum err_code audit_vouch(struct audit *audit, const struct attempt *attempt, struct err *err);
/* After the last attempt: runs, suites and plans that were committed to. */
enum err_code audit_commitments(struct audit *audit, struct err *err);
/* judged.c: whether a judge was asked what the plan says; *digest is of the words. */
enum err_code audit_judge_words(struct audit *audit, const struct attempt *attempt,
				uint8_t digest[static SHA256_SIZE], struct err *err);

/* rated.c: the words by which a judge is asked about one answer, a new reference. */
enum err_code audit_rating_words(struct audit *audit, const struct attempt *attempt,
				 const char *answer, json_t **out, struct err *err);
/* Reads the judge's reply again. */
enum err_code audit_rate(struct audit *audit, const struct attempt *attempt, struct err *err);
/* What the slot gives, put into *out. */
void audit_expect_rating(const struct audit *audit, const struct audit_cell *cell, size_t place,
			 struct run_score *out);
/* Takes what is published in place of what is withheld. */
enum err_code audit_rating_word(struct audit *audit, struct audit_cell *cell, size_t place,
				const struct run_score *line, const char *where, struct err *err);

/* steps.c: the step of a conversation that an attempt is due at. */
unsigned audit_step_of(const struct audit_cell *cell, size_t slot);
/* What must have been asked at it; *digest is of the words. */
enum err_code audit_step_words(struct audit *audit, const struct attempt *attempt,
			       uint8_t digest[static SHA256_SIZE], struct err *err);
/* How many bytes of the words asked at it are answers. */
enum err_code audit_step_bytes(struct audit *audit, const struct attempt *attempt, int64_t *out,
			       struct err *err);
/* Takes the answer to it, whose line is at `offset`. True: another step follows. */
bool audit_step_take(const struct attempt *attempt, unsigned steps, uint64_t offset);

/* scores.c */
enum err_code audit_scores(struct audit *audit, struct err *err);
/* results.c */
enum err_code audit_results(struct audit *audit, struct err *err);
/* conduct.c: how providers behaved, of what is not withheld: set up from the plan, an answer, what
 * is published of it, and the notes. */
enum err_code audit_conduct_open(struct audit *audit, struct err *err);
/* Whether the attempt was asked blind exactly if it was to be; `record`: its admit record, or NULL.
 */
enum err_code audit_blind(struct audit *audit, const struct attempt *attempt, const json_t *record,
			  struct err *err);
void audit_conduct_take(struct audit *audit, const struct attempt *attempt, uint64_t asked);
enum err_code audit_conduct(struct audit *audit, struct err *err);
void audit_conduct_note(struct audit *audit);
/* anchoring.c: what people said, and how judges agree with it. */
enum err_code audit_anchors(struct audit *audit, struct err *err);
void audit_anchors_note(struct audit *audit);
/* conclude.c: the headline, what was checked and what was not. */
void audit_conclude(struct audit *audit);

/* check_*.c: what verify_path chooses from. */
enum err_code check_bundle(struct env *env, const char *directory,
			   const struct verify_options *options, struct verify_report *report,
			   struct err *err);
enum err_code check_log(struct env *env, const char *directory,
			const struct verify_options *options, struct verify_report *report,
			struct err *err);
enum err_code check_receipt(struct env *env, const char *path, const struct verify_options *options,
			    struct verify_report *report, struct err *err);

#endif
