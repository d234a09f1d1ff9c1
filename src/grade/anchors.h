/* Human anchors: what people said of the answers of a run, to hold its judges against
 * (docs/formats/bundle.md). Pure.
 *
 * A file of JSON lines: {suite?, item, sample?, model, opponent, verdict, rater?} says which of two
 * answers is better ("model", "opponent" or "tie"), {suite?, item, sample?, model, score, rater?}
 * what an answer is worth, 0 to 1. */
#ifndef GRADE_ANCHORS_H
#define GRADE_ANCHORS_H

#include "base/arena.h"
#include "grade/run_records.h"

#define ANCHORS_MAX 200000u
#define ANCHORS_RATERS_MAX 64u
#define ANCHORS_TEXT_MAX ((size_t)64 << 20)

struct anchor {
	const char *suite, *item, *model, *opponent; /* opponent NULL: a score */
	const char *by;                              /* the rater's name */
	unsigned sample, rater;
	int rating; /* of verdicts 0 lost, 1 tie, 2 won; of scores tenths; AGREEMENT_NONE: none */
	double score;
	unsigned long line;
};

/* The order of what was rated, within anchors of one suite and kind: 0 for the same answers. */
int anchor_compare(const struct anchor *a, const struct anchor *b);

struct anchors {
	struct arena arena;
	struct anchor *items; /* owned; sorted by what was rated, then by rater */
	size_t count;
	const char *raters[ANCHORS_RATERS_MAX];
	unsigned rater_count;
};

/* `suite`: what lines without one are about; NULL: they have to say it. ERR_INVALID names file and
 * line: what cannot be read, and who says the same thing twice. `anchors` is overwritten; release
 * it in any case. */
enum err_code anchors_read(struct bytes text, const char *what, const char *suite,
			   struct anchors *anchors, struct err *err);

/* `anchors` may be zeroed, or released already. */
void anchors_release(struct anchors *anchors);

/* The same as text: a line each, in their order, every member said. */
enum err_code anchors_write(const struct anchors *anchors, struct buf *out, struct err *err);

/* How far the judges of a run (and scorers, where scores were given) agree with people, and people
 * with each other: a list with an object for each suite that has anchors, a new reference.
 * `committed`: the anchors were fixed before the run. */
enum err_code anchors_encode(const struct anchors *anchors, const struct run_score *scores,
			     size_t count, bool committed, json_t **out, struct err *err);

#endif
