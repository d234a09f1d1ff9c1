/* What a run is to do: from plan.yaml, from the command line, or from the plan.json that an earlier
 * run wrote. A plan names keys by environment variable only; no key ever stands in it. */
#ifndef BENCH_PLAN_H
#define BENCH_PLAN_H

#include "base/arena.h"
#include "base/sha256.h"
#include "bench/bench.h"
#include "dialect/dialect.h"
#include "grade/conduct.h"
#include "suite/suite.h"

#define PLAN_MODELS_MAX 64u
#define PLAN_SUITES_MAX 64u
#define PLAN_TAGS_MAX 16u
#define PLAN_CONCURRENCY_DEFAULT 8u
#define PLAN_CONCURRENCY_PROXY 256u /* another harness decides how many it asks at once */
#define PLAN_CONCURRENCY_MAX 5000u
#define PLAN_TIMEOUT_DEFAULT 600u
#define PLAN_TIMEOUT_MAX 86400u
#define PLAN_FORMAT "parley-plan-1"

/* USD per million tokens; all 0 where the plan gives none. */
struct plan_price {
	double input, output, cache_read, cache_write;
};

enum plan_role { PLAN_CONTESTANT = 1, PLAN_JUDGE = 2, PLAN_BASELINE = 4, PLAN_CONTROL = 8 };

/* On how many items of a suite judges see a control: plan_spread_item says which. */
#define PLAN_CONTROL_ITEMS_DEFAULT 20u
#define PLAN_CONTROL_ITEMS_ALL UINT32_MAX

struct plan_model {
	const char *name; /* asked for by this name, and shown under it */
	enum dialect_id dialect;
	const char *url;     /* base; NULL with replay */
	const char *key_env; /* NULL: no key is sent */
	/* File of the private key (PKCS#8 PEM) that requests are signed with; NULL: none are. */
	const char *signing_key;
	const char *replay; /* file of a transcript; NULL: asked over the network */
	struct plan_price price;
	unsigned roles; /* of enum plan_role */
	unsigned items; /* of a control: judged on the first sample of so many items of a suite */
};

struct plan_suite {
	const char *directory;
	/* Known once the suite was loaded (plan_add_suite): what the plan commits to. */
	const char *name, *version;
	uint8_t root[SHA256_SIZE];
	bool loaded;
	/* Of a part of a suite, the items with the plan's tags: root and items of the whole, else
	 * 0. */
	uint8_t whole[SHA256_SIZE];
	size_t whole_items;
	bool decoys;   /* of the suite behind all others: items that count in no result */
	unsigned take; /* how many of its items are decoys; 0: all (known before the run only) */
	/* Of a scorer that is a program of the suite's: what it and its folder were
	 * (grade/program_copy.h). */
	bool has_program;
	uint8_t program[SHA256_SIZE];
};

struct plan {
	struct arena arena; /* every text */
	struct plan_suite suites[PLAN_SUITES_MAX];
	unsigned suite_count;
	struct plan_model models[PLAN_MODELS_MAX];
	unsigned model_count;
	unsigned concurrency; /* requests at once for each model */
	unsigned samples;     /* answers for each item; 0: what the suite says */
	unsigned timeout_seconds;
	uint64_t budget_tokens;                     /* 0: none */
	double budget_usd;                          /* 0: none */
	struct conduct_same same[CONDUCT_SAME_MAX]; /* models that are said to be one */
	unsigned same_count;
	double blind; /* share of samples asked without naming the gateway's run; 0: none */
	bool self_judging;
	/* Items with one of these tags are asked, and no others; 0: all. */
	const char *tags[PLAN_TAGS_MAX];
	unsigned tag_count;
	unsigned control_items; /* where suites are pairwise: of the null model; 0: there is none */
	/* What people said of the answers, to hold judges against: the file, and the SHA-256 (hex)
	 * of what the bundle has of it; NULL and "": none was given before the run. */
	const char *anchors;
	char anchors_digest[2 * SHA256_SIZE + 1];
	bool sealed; /* gateways are given roots of suites and not their items */
	bool proxy;  /* another harness asks the contestants, behind `bench proxy` */
	char id[33]; /* 16 random bytes in hex: two runs of one plan commit to different digests */
};

/* In any case to be released afterwards. */
void plan_init(struct plan *plan);
void plan_release(struct plan *plan);

/* From options->plan, or from options->suites and its companions, with the overriding options on
 * top. Suites are looked for but not loaded. ERR_INVALID (with file and line for a plan file) or
 * ERR_USAGE says what is wrong and what to write instead. */
enum err_code plan_read(struct plan *plan, struct env *env, const struct bench_options *options,
			struct err *err);

/* plan.yaml's text; `file` names it in errors. Suites are looked for in `suite_paths`. */
enum err_code plan_parse(struct plan *plan, struct env *env, struct bytes text, const char *file,
			 const char *const *suite_paths, struct err *err);

/* NAME=DIALECT@URL#ENV, the same with #KEY_FILE behind it, or NAME=replay@FILE or, for judges and
 * the baseline, the name of a model that is there already. A second model of one name is ERR_USAGE.
 */
enum err_code plan_add_model(struct plan *plan, const char *text, enum plan_role role,
			     struct err *err);

/* What cannot be known before the suites are loaded: whether any of them is scored by judges, and
 * in pairs. ERR_INVALID names what is missing: a judge, an opponent; or a contestant judging
 * itself. */
enum err_code plan_check(const struct plan *plan, bool judged, bool pairwise, struct err *err);

/* The null model: answers everything with the same words, and is compared with the baseline, else
 * with the first contestant, so that it is seen what a judge gives for nothing. It is no contestant
 * and costs its judges' verdicts only, on plan->control_items items. */
#define PLAN_CONTROL_NAME "control:null"
extern const char plan_control_answer[];
enum err_code plan_add_control(struct plan *plan, struct err *err);
/* "none", "all" or a number of items. ERR_USAGE says what may be written. */
enum err_code plan_read_controls(const char *text, unsigned *items, struct err *err);

/* Of how many of `items` items a control is judged, and which is the k-th of them: they are spread
 * evenly, so that no form or topic that stands together in a suite is all that judges see. */
static inline size_t plan_spread_count(const struct plan_model *control, size_t items)
{
	return control->items < items ? control->items : items;
}
static inline size_t plan_spread_item(size_t k, size_t items, size_t spread)
{
	return k * items / spread;
}
/* Back: false where the item is none of them. */
static inline bool plan_spread_place(size_t item, size_t items, size_t spread, size_t *k)
{
	*k = (item * spread + items - 1) / items;
	return *k < spread && plan_spread_item(*k, items, spread) == item;
}

/* A=B: two models of the plan that are said to be one, whose times and lengths are to be compared.
 * ERR_USAGE for a name that is not there. */
enum err_code plan_add_same(struct plan *plan, const char *text, struct err *err);
/* ERR_USAGE where the answers of such a model are stored: nothing could be compared. */
enum err_code plan_check_same(const struct plan *plan, struct err *err);
/* Its models, and which are said to be one; names are borrowed. */
void plan_conduct(const struct plan *plan, struct conduct *conduct);

/* The key of a model from its variable: *key is borrowed from the environment, NULL where the model
 * needs none. ERR_INVALID names a variable that is not set or empty. */
enum err_code plan_key(const struct plan_model *model, const char **key, struct err *err);

/* RFC 8785 text and back. Every suite must be loaded; on reading, a suite's directory is
 * `suite_root`/NAME. */
enum err_code plan_encode(const struct plan *plan, struct buf *out, struct err *err);
enum err_code plan_decode(struct plan *plan, struct bytes text, const char *what,
			  const char *suite_root, struct err *err);

#endif
