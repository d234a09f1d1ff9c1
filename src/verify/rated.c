/* Ratings: what a judge must have been asked about one answer, and what its stored reply gives,
 * read again with the item's own specification. */
#include "verify/audit.h"

#include "grade/rating.h"

static enum err_code render(struct audit *audit, const struct attempt *attempt,
			    struct suite_item *item, struct err *err)
{
	return audit_render(audit, attempt->cell->suite,
			    audit_item_of(audit, attempt->cell, attempt->slot), false, item, err);
}

enum err_code audit_rating_words(struct audit *audit, const struct attempt *attempt,
				 const char *answer, json_t **out, struct err *err)
{
	struct suite_item item;
	ERR_TRY(render(audit, attempt, &item, err));
	enum err_code code = rating_words(item.scorer, item.words, bytes_from(answer), out, err);
	suite_item_release(&item);
	return code == ERR_OK ? ERR_OK : err_prefix(err, "%s", attempt->where);
}

enum err_code audit_rate(struct audit *audit, const struct attempt *attempt, struct err *err)
{
	struct audit_slot *slot = &attempt->cell->slots[attempt->slot];
	const struct audit_suite *suite = &audit->suites[attempt->cell->suite];
	struct suite_item item;
	struct rating rating;
	size_t number = audit_item_of(audit, attempt->cell, attempt->slot);
	/* Without the item nobody can say what the reply is worth. */
	if (attempt->hidden || (suite->withheld && !suite->facts[number].opened)) {
		slot->word = true;
		audit->counts.words++;
		return ERR_OK;
	}
	ERR_TRY(render(audit, attempt, &item, err));
	rating_read(item.scorer, bytes_from(attempt->line.answer), &rating);
	suite_item_release(&item);
	slot->verdict = (uint8_t)rating.verdict;
	slot->score = rating.score;
	slot->refused = (int8_t)rating.refused;
	audit->counts.verdicts++;
	audit->counts.ratings++;
	return ERR_OK;
}

void audit_expect_rating(const struct audit *audit, const struct audit_cell *cell, size_t place,
			 struct run_score *out)
{
	const struct audit_slot *slot = &cell->slots[place];
	const struct audit_cell *from =
		audit_answering((struct audit *)audit, cell->suite, cell->model);
	out->judge = audit->plan.models[cell->judge].name;
	out->rule = (enum refused)from->slots[place].refused;
	out->failed = true;
	out->score = 0;
	out->refused = REFUSED_UNKNOWN;
	if (slot->verdict == AUDIT_NO_VERDICT)
		return;
	enum rating_verdict verdict = (enum rating_verdict)slot->verdict;
	out->verdicts[0] = rating_verdict_name(verdict);
	out->failed = !rating_is_judged(verdict);
	if (out->failed)
		return;
	out->score = slot->score;
	out->refused = (enum refused)slot->refused;
}

/* Of what is withheld the published line is the evaluator's word, as far as its parts go together.
 */
static enum err_code take_word(const struct audit_suite *suite, const struct run_score *line,
			       enum rating_verdict verdict, struct audit_slot *slot,
			       struct err *err)
{
	double score = rating_verdict_score(verdict, line->expect == EXPECT_REFUSE);
	bool graded = verdict == RATING_GRADED;
	if (!rating_verdict_is_of(verdict, suite->scorer->kind))
		return ERR_SET(err, ERR_MISMATCH, "the verdict is none of a judge of %s",
			       suite->scorer->kind);
	if (!graded && line->score != score)
		return ERR_SET(err, ERR_MISMATCH, "the score is %g, the verdict gives %g",
			       line->score, score);
	if (graded && line->refused == REFUSED_YES && line->score != 0)
		return ERR_SET(err, ERR_MISMATCH, "the score is %g, a refusal gives 0",
			       line->score);
	slot->verdict = (uint8_t)verdict;
	slot->score = line->score;
	slot->refused = (int8_t)line->refused;
	return ERR_OK;
}

enum err_code audit_rating_word(struct audit *audit, struct audit_cell *cell, size_t place,
				const struct run_score *line, const char *where, struct err *err)
{
	struct audit_slot *answer = &audit_answering(audit, cell->suite, cell->model)->slots[place];
	struct audit_slot *slot = &cell->slots[place];
	enum rating_verdict verdict;
	if (answer->word && answer->refused == REFUSED_UNKNOWN)
		answer->refused = (int8_t)line->rule;
	if (!slot->word || !line->verdicts[0] || !rating_verdict_from(line->verdicts[0], &verdict))
		return ERR_OK;
	if (take_word(&audit->suites[cell->suite], line, verdict, slot, err) != ERR_OK)
		return err_prefix(err, "%s", where);
	return ERR_OK;
}
