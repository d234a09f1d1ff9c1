/* A second, slow and obvious implementation of the decision, written from DESIGN.md section 5 over
 * plain documents, and what the tests of test_decide_model.c need beside it: random documents and
 * questions, ways to restrict them, and the same documents as a world.
 *
 * To extend it by something that decides (a field of an org, a new check, a new kind of suite):
 *
 *   1. a member in the plain document or question below;
 *   2. its draw in decide_model_random.c (seldom, so that the rest is still reached), and where it
 *      prohibits or permits a row of `restrictions` there;
 *   3. its place in the world in decide_model_world.c;
 *   4. its paragraph in decide_model_answer.c, from the words of DESIGN.md and not from decide.c.
 *
 * Then the tests compare it, restrict it and shuffle it by themselves. A rule that a decision can
 * end on now leaves `unreached` in test_decide_model.c: the random worlds must reach it. */
#ifndef TEST_DECIDE_MODEL_H
#define TEST_DECIDE_MODEL_H

#include "base/prng.h"
#include "policy/decide.h"
#include "policy/world_builder.h"

enum {
	ORGS = 2,
	GRANTS = 3,
	KEYS = 4,
	MODELS = 3,
	SUITES = 4,
	RUNS = 5,
	CLAUSES = 3,
	WORDS = 4,      /* different prompts that suites are made of */
	LEAVES_MAX = 5, /* of a suite; words may stand in it twice */
	SAMPLES_MAX = 2,
};

/* ---- documents; times are days ---- */

struct plain_org {
	bool blocked, rival;
	int rpm; /* LIMIT_NONE or a small number; 0 admits nothing */
};

struct plain_grant {
	unsigned org;
	unsigned purposes, classes; /* bit sets of 1 << PURPOSE_…, 1 << SUITE_CLASS_… */
	unsigned models, overrides; /* bit sets of 1 << number */
	enum grant_state state;
	enum release release;
	int from, until; /* from <= day < until */
	int rpm, output_tpm;
	unsigned demanded; /* bit set of 1 << SENDER_BINDING_…; 0: keys may be bound to nothing */
	bool other_senders; /* it names whose, and nobody's keys are */
};

struct plain_key {
	unsigned grant;
	bool revoked;
	bool staff;  /* of those that the grant names for what is beyond V2 */
	int expires; /* day < expires */
	int rpm;
	bool inside; /* only from 10.0.0.0/8 */
	enum sender_binding binding;
};

struct plain_suite {
	bool there;
	unsigned grant;
	int registered; /* the lower, the older; all differ */
	unsigned leaves;
	unsigned words[LEAVES_MAX]; /* of each leaf: 0 to WORDS - 1 */
	enum purpose purpose;
	enum suite_class class; /* reviewed or private */
	bool scorers;           /* are kept for verdicts */
	bool public_root;       /* its root stands among the public ones */
	int max_output;         /* -1: not stated */
	int temperature;        /* -1: not stated, else 0 or 1 */
};

struct plain_run {
	bool there;
	unsigned suite, samples;
	unsigned used[MODELS][LEAVES_MAX]; /* samples of each leaf */
};

struct plain_clause {
	uint64_t rules;
};

struct documents {
	struct plain_org orgs[ORGS];
	struct plain_grant grants[GRANTS];
	struct plain_key keys[KEYS];
	struct plain_suite suites[SUITES];
	struct plain_run runs[RUNS];
	struct plain_clause clauses[CLAUSES];
	int model_max_output[MODELS];
};

/* Which dialect each model is asked in. */
extern const unsigned model_dialects[MODELS];

/* ---- questions and answers ---- */

struct question {
	unsigned key;   /* KEYS: an unknown one; KEYS + 1: none */
	unsigned model; /* MODELS: an unknown one */
	unsigned run;   /* RUNS: names none; RUNS + 1: names an unknown one */
	unsigned words; /* WORDS: words of no suite */
	unsigned dialect;
	enum endpoint_use endpoint;
	int day, max_output, n; /* max_output -1: not said */
	int temperature;        /* -1: not said */
	bool logprobs, logit_bias, unknown, non_text, wants_verdict, stream;
	bool outside; /* comes from elsewhere than 10.0.0.0/8 */
	enum sender_binding proved;
	bool other_proof; /* it is somebody else's */
};

#define NOT_THERE (-1)

/* What the gateway has to answer. `outcome` and `rule` always count, `clause` where refused, the
 * rest where admitted or where a run has to be opened. */
struct answer {
	enum policy_outcome outcome;
	enum rule rule;
	int clause; /* number, or NOT_THERE */
	enum purpose purpose;
	enum release release;
	int cap;              /* output tokens; NOT_THERE where no model is asked */
	int suite, leaf, run; /* numbers, or NOT_THERE */
};

struct answer answer(const struct documents *documents, const struct question *question);

/* ---- chance ---- */

void random_documents(struct prng *prng, struct documents *documents);
struct question random_question(struct prng *prng);

/* One prohibition more or one permission less. False: these documents have nothing of that kind to
 * take away, and are unchanged. */
struct restriction {
	const char *name;
	bool (*apply)(struct prng *prng, struct documents *documents);
};
extern const struct restriction restrictions[];
extern const size_t restriction_count;

/* ---- the same as a world ---- */

/* `shuffle`: NULL, or the generator that orders all things of a kind. Public ids of things are
 * their kind's letter and their number ("g1"), which model_number reads back. */
struct world *make_world(const struct documents *documents, struct prng *shuffle);
/* NOT_THERE where `id` is NULL. */
int model_number(const char *id);

/* Decides the question in the world. */
void model_decide(const struct world *world, const struct question *question,
		  struct verdict *verdict);
/* The same by the head alone. */
void model_authenticate(const struct world *world, const struct question *question,
			struct verdict *verdict);
/* The verdict in the model's words, where it is one of `answer`'s. */
struct answer model_answer(const struct verdict *verdict);

#endif
