/* What can be wrong with a suite that reads well: items that say the same, answers that stand in
 * the prompt, pairs that are none, no licence, no canary (docs/formats/suite.md, "Checks"). What
 * needs a scorer is grade/suite_check.h. */
#ifndef SUITE_CHECK_H
#define SUITE_CHECK_H

#include "suite/suite.h"

/* Names of the checks, as in findings and in --skip. */
#define SUITE_CHECKS(X)                                                                     \
	X(LICENCE, "licence", "suite.yaml names no licence")                                \
	X(CANARY, "canary", "no canary, or it is not in items.jsonl, or it is in a prompt") \
	X(DUPLICATE, "duplicate", "an item has the words of another")                       \
	X(NEAR, "near-duplicate", "an item has nearly the words of another")                \
	X(LEAK, "leak", "the prompt holds the target, the reference or the example's item") \
	X(PAIR, "pair", "the item's pair is missing, itself, or expects the same")          \
	X(TWIN, "twin", "the item's twin expects something else")                           \
	X(SCORER, "scorer", "the item's scorer is not valid")                               \
	X(REFERENCE, "reference", "the reference is not scored 1")                          \
	X(WRONG, "wrong", "one of the wrong answers is scored 1, or there are fewer than 3")

enum suite_check {
#define X(name, text, help) SUITE_CHECK_##name,
	SUITE_CHECKS(X)
#undef X
		SUITE_CHECK_COUNT
};

const char *suite_check_name(enum suite_check check);

#define SUITE_FINDING_MAX 512
struct suite_finding {
	enum suite_check check;
	const char *file; /* "suite.yaml" or "items.jsonl" */
	size_t line;      /* from 1 */
	char message[SUITE_FINDING_MAX];
};

/* Where findings go, and which checks are left out (bits 1 << enum suite_check). */
struct suite_findings {
	unsigned skip;
	size_t count;
	void (*found)(void *argument, const struct suite_finding *finding);
	void *argument;
};

/* Counts the finding and hands it on, unless its check is left out. */
void suite_found(struct suite_findings *findings, enum suite_check check, const char *file,
		 size_t line, const char *format, ...) __attribute__((format(printf, 5, 6)));
bool suite_checks(const struct suite_findings *findings, enum suite_check check);

/* Everything that needs no scorer; findings come by check, and within one by line. Errors: an item
 * that cannot be rendered, memory. */
enum err_code suite_check(const struct suite *suite, struct suite_findings *findings,
			  struct err *err);

/* check_near.c: items whose own texts (the fields that the prompt names) are nearly another's.
 * Texts are compared by their runs of three words, without case and punctuation: near are those
 * that share 3 of 5 of all runs that either has. Items that are each other's `pair` may. */
enum err_code suite_check_near(const struct suite *suite, struct suite_findings *findings,
			       struct err *err);

/* Appends the texts that an item itself brings into its prompt, each on a line of its own. */
enum err_code suite_own_text(const struct suite *suite, const struct suite_item *item,
			     struct buf *out, struct err *err);
/* Appends lower-cased words, one space between them; everything that is no letter or digit of
 * ASCII and no byte beyond it separates. */
void suite_normal_words(struct bytes text, struct buf *out);

#endif
