/* Suites: a folder with suite.yaml (settings, prompt template, scorer) and items.jsonl, one item a
 * line (docs/formats/suite.md, DESIGN.md section 7). Items are kept as they stand in the file and
 * rendered one by one, so that a suite of a million items stays compact. A loaded suite is never
 * changed: threads may share it. */
#ifndef SUITE_SUITE_H
#define SUITE_SUITE_H

#include "env/env.h"
#include "policy/script.h"
#include "suite/leaf.h"

#include <jansson.h>

#define SUITE_LINE_MAX ((size_t)4 << 20)  /* bytes of one item */
#define SUITE_ITEMS_MAX ((size_t)2 << 30) /* bytes of items.jsonl */
#define SUITE_ID_MAX 256u                 /* bytes of an item's id */
#define SUITE_SAMPLES_MAX 1000
#define SUITE_DEFAULT_MAX_OUTPUT 1024
#define SUITE_EXAMPLES_MAX 64 /* few-shot examples */
#define SUITE_TAGS_MAX 16     /* of one item */
#define SUITE_TAG_MAX 64      /* bytes */
#define SUITE_CANARY_MIN 16   /* bytes */
#define SUITE_CANARY_MAX 256

enum suite_kind { SUITE_QA, SUITE_CODING, SUITE_WRITING, SUITE_SAFETY };

struct suite;

/* Reads and checks the whole folder: every line is JSON with an id of its own and has every field
 * that the template and the scorer name. Errors read `DIR/suite.yaml:LINE: …` and
 * `DIR/items.jsonl:LINE: …`. The caller owns *out. */
enum err_code suite_load(struct env *env, const char *directory, struct suite **out,
			 struct err *err);
/* The same from memory; `directory` stands in errors only. */
enum err_code suite_parse(struct bytes yaml, struct bytes items, const char *directory,
			  struct suite **out, struct err *err);
void suite_free(struct suite *suite);

const char *suite_name(const struct suite *suite);
const char *suite_version(const struct suite *suite); /* as text, "1" */
const char *suite_licence(const struct suite *suite); /* "" where none is named */
const char *suite_canary(const struct suite *suite);  /* "" where there is none */
enum suite_kind suite_kind(const struct suite *suite);
const char *suite_kind_name(enum suite_kind kind);
int suite_samples(const struct suite *suite);
size_t suite_count(const struct suite *suite);
/* Answers that an item asks for at most: more than one where there are conversations. */
unsigned suite_steps(const struct suite *suite);
/* The scorer as written, with its placeholders; borrowed. */
const json_t *suite_scorer(const struct suite *suite);
const char *suite_scorer_kind(const struct suite *suite);
/* Canonical settings {max_output, temperature, top_p, …}; borrowed. max_output is always there. */
const json_t *suite_settings(const struct suite *suite);
const uint8_t *suite_seed(const struct suite *suite); /* LEAF_SEED_SIZE bytes */

/* The exact bytes of the two files, for bundles; borrowed.
 */
struct bytes suite_yaml_text(const struct suite *suite);
struct bytes suite_items_text(const struct suite *suite);
/* Line `index` of items.jsonl without its newline. */
struct bytes suite_item_line(const struct suite *suite, size_t index);

/* One item, rendered. Owned by the caller: suite_item_release. */
struct suite_item {
	size_t index;
	char *id;
	char *cluster;  /* NULL where the suite names no cluster field and it has no twin */
	json_t *fields; /* the item as it stands in the file */
	json_t *words;  /* canonical words in normal form */
	enum script_kind kind;
	unsigned steps;     /* answers that are asked for: of conversations more than one */
	json_t *scorer;     /* with every placeholder filled in */
	struct buf text;    /* RFC 8785 text of the words */
	struct buf grading; /* RFC 8785 text of {id, scorer, target, cluster} */
};

/* `index` < suite_count. On failure nothing is to be released. */
enum err_code suite_item_render(const struct suite *suite, size_t index, struct suite_item *item,
				struct err *err);
void suite_item_release(struct suite_item *item);
/* The id of item `index`, borrowed. */
const char *suite_id(const struct suite *suite, size_t index);
/* The place of the item with this id; false if there is none. */
bool suite_find(const struct suite *suite, struct bytes id, size_t *index);

/* ---- twins (twins.c) ---- */

/* Pairs of an item and its twin, which asks the same in other words. */
/* Of items with tags: whether one of `tags` is among those of the item. False in suites whose
 * suite.yaml names no field of tags. ERR_NO_MEMORY. */
bool suite_names_tags(const struct suite *suite);
enum err_code suite_has_tag(const struct suite *suite, size_t index, const char *const *tags,
			    unsigned count, bool *has, struct err *err);

size_t suite_twin_count(const struct suite *suite);
/* The item whose twin this one is, and the twin that this one has; false if there is none. */
bool suite_original(const struct suite *suite, size_t twin, size_t *original);
bool suite_twin(const struct suite *suite, size_t original, size_t *twin);

/* ---- judges (judge_item.c) ---- */

/* Whether the suite names what judges are asked: then each item has a second leaf. */
bool suite_is_judged(const struct suite *suite);
const json_t *suite_judge_settings(const struct suite *suite); /* canonical; borrowed */
int64_t suite_judge_verdicts(const struct suite *suite);       /* on one answer, at most */
/* The judge's prompt over item `index`, an item whose words are a template; its leaf follows those
 * of all items: suite_count + index. */
enum err_code suite_judge_render(const struct suite *suite, size_t index, struct suite_item *item,
				 struct err *err);
size_t suite_leaf_count(const struct suite *suite);
/* Any of the leaves: an item, or what judges are asked over one. */
enum err_code suite_leaf_render(const struct suite *suite, size_t leaf, struct suite_item *item,
				struct err *err);

/* The leaves of all items (NULL and ERR_NO_MEMORY or a rendering error otherwise). The caller owns
 * *out. */
enum err_code suite_leaves(const struct suite *suite, struct leaf_tree **out, struct err *err);
enum err_code suite_root(const struct suite *suite, uint8_t root[static SHA256_SIZE],
			 struct err *err);

/* Calls `each` for every item whose words equal those of an earlier one, in order; returns how many
 * there are in *count. */
enum err_code suite_duplicates(const struct suite *suite,
			       void (*each)(void *argument, size_t first, size_t duplicate),
			       void *argument, size_t *count, struct err *err);

/* Whether the suite can be sealed: without a seed of its own the salts are known, and who guesses a
 * prompt can test the guess. ERR_INVALID says what to add. */
enum err_code suite_check_seed(const struct suite *suite, const char *directory, struct err *err);

enum suite_upload {
	SUITE_ITEMS,    /* everything */
	SUITE_SEALED,   /* the number of items instead of items and seed */
	SUITE_GRADINGS, /* sealed, with what the answers are graded by */
};
/* The body of POST /parley/v1/suites, appended (docs/formats/leaves.md). */
enum err_code suite_registration(const struct suite *suite, const char *purpose,
				 enum suite_upload upload, struct buf *out, struct err *err);

#endif
