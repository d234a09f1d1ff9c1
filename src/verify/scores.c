/* scores.jsonl: one line for every sample that the plan asks for, no more and no less, and each
 * what the transcripts give. The scores that results are computed from are put together anew. */
#include "verify/audit.h"

#include "base/json.h"

#include <stdio.h>
#include <stdlib.h>

/* A line of the file and where it belongs. */
struct scored {
	const char *where;
	struct run_score line;
	struct audit_cell *cell;
	size_t slot; /* of order 0 for a comparison */
};

static enum err_code find_place(struct audit *audit, struct scored *scored, struct err *err)
{
	const struct run_score *line = &scored->line;
	size_t item;
	scored->cell =
		audit_find_cell(audit, line->suite, line->model, line->opponent, line->judge);
	bool scores = scored->cell && (scored->cell->judging ||
				       !scorer_by_judge(audit->suites[scored->cell->suite].scorer));
	if (!scores)
		return ERR_SET(
			err, ERR_MISMATCH,
			"item %.100s: %s: the plan has no such score for %.64s in suite %.64s",
			line->item, scored->where, line->model, line->suite);
	const struct audit_suite *suite = &audit->suites[scored->cell->suite];
	if (!audit_find_item(suite, bytes_from(line->item), &item) ||
	    line->sample >= suite->samples)
		return ERR_SET(err, ERR_MISMATCH,
			       "item %.100s: %s: suite %s has no such item or sample", line->item,
			       scored->where, suite->name);
	if (audit_slot_of(audit, scored->cell, item, line->sample, &scored->slot))
		return ERR_OK;
	return ERR_SET(err, ERR_MISMATCH,
		       "item %.100s: %s: it is none of the %zu that the control is judged on",
		       line->item, scored->where, scored->cell->spread);
}

/* ---- what the transcripts give ---- */

static void expect_comparison(const struct audit_slot *slots, struct run_score *out)
{
	enum judge_verdict first = (enum judge_verdict)slots[0].verdict;
	enum judge_verdict second = (enum judge_verdict)slots[1].verdict;
	out->failed = true;
	if (slots[0].verdict == AUDIT_NO_VERDICT || slots[1].verdict == AUDIT_NO_VERDICT)
		return;
	struct judge_outcome outcome = judge_combine(first, second);
	out->failed = !outcome.judged;
	out->score = outcome.judged ? outcome.score : 0;
	out->flipped = outcome.flipped;
	out->verdicts[0] = judge_verdict_name(first);
	out->verdicts[1] = judge_verdict_name(second);
}

static enum err_code expect_score(struct audit *audit, const struct audit_cell *cell, size_t place,
				  struct run_score *out, struct err *err)
{
	const struct audit_suite *suite = &audit->suites[cell->suite];
	const struct audit_slot *slot = &cell->slots[place];
	size_t item = audit_item_of(audit, cell, place);
	const struct audit_item *facts = audit_item(audit, cell->suite, item, err);
	if (!facts)
		return err->code;
	*out = (struct run_score){
		.suite = suite->name,
		.item = audit_item_id(suite, item),
		.model = audit->plan.models[cell->model].name,
		.cluster = facts->cluster,
		.scorer = suite->scorer->kind,
		.sample = audit_sample_of(audit, cell, place),
		.failed = !slot->answered || slot->ungraded,
		.score = slot->answered && !slot->ungraded ? slot->score : 0,
		.refused = (enum refused)slot->refused,
		.expect = facts->expect,
		.time_limited = slot->limited,
		.rule = REFUSED_UNKNOWN,
		.hazard = facts->hazard,
		.reference = facts->reference,
	};
	if (cell->rating)
		audit_expect_rating(audit, cell, place, out);
	if (!cell->judging || cell->rating)
		return ERR_OK;
	out->opponent = audit->plan.models[cell->opponent].name;
	out->judge = audit->plan.models[cell->judge].name;
	const struct audit_cell *own = audit_answering(audit, cell->suite, cell->model);
	const struct audit_cell *other = audit_answering(audit, cell->suite, cell->opponent);
	size_t answer = audit_answer_of(audit, cell, place);
	const struct audit_slot *answers[2] = {&own->slots[answer], &other->slots[answer]};
	if (slot->measured && answers[0]->answered && answers[1]->answered)
		for (int i = 0; i < 2; i++)
			out->lengths[i] = answers[i]->length;
	expect_comparison(slot, out);
	return ERR_OK;
}

/* ---- comparing ---- */

static bool same_text(const char *a, const char *b)
{
	return a == b || (a && b && strcmp(a, b) == 0);
}

static enum err_code differ(const struct scored *scored, const char *member, struct err *err)
{
	return ERR_SET(err, ERR_MISMATCH,
		       "%s: %s is another than the transcripts and the suite give", scored->where,
		       member);
}

static enum err_code compare_rest(const struct scored *scored, const struct run_score *expected,
				  struct err *err)
{
	const struct run_score *line = &scored->line;
	if (!same_text(line->scorer, expected->scorer))
		return differ(scored, "scorer", err);
	if (!same_text(line->cluster, expected->cluster))
		return differ(scored, "cluster", err);
	if (line->expect != expected->expect)
		return differ(scored, "expect", err);
	if (line->refused != expected->refused)
		return differ(scored, "refused", err);
	if (line->opponent &&
	    (line->lengths[0] != expected->lengths[0] || line->lengths[1] != expected->lengths[1]))
		return differ(scored, "lengths", err);
	if (line->rule != expected->rule)
		return differ(scored, "rule", err);
	if (!same_text(line->hazard, expected->hazard))
		return differ(scored, "hazard", err);
	if (line->hazard && line->reference != expected->reference)
		return differ(scored, "reference", err);
	if (line->flipped != expected->flipped)
		return differ(scored, "flipped", err);
	if (!same_text(line->verdicts[0], expected->verdicts[0]) ||
	    !same_text(line->verdicts[1], expected->verdicts[1]))
		return differ(scored, "verdicts", err);
	return ERR_OK;
}

static enum err_code compare_score(const struct scored *scored, const struct run_score *expected,
				   struct err *err)
{
	const struct run_score *line = &scored->line;
	/* A judge's word comes first: the score follows from it. */
	if (run_is_rating(line) && !same_text(line->verdicts[0], expected->verdicts[0]))
		return ERR_SET(err, ERR_MISMATCH,
			       "%s: the verdict is %s, the judge's reply says %s", scored->where,
			       line->verdicts[0] ? line->verdicts[0] : "missing",
			       expected->verdicts[0] ? expected->verdicts[0] : "nothing");
	if (line->failed != expected->failed)
		return ERR_SET(err, ERR_MISMATCH,
			       "%s: it is published as %s, the transcripts show %s", scored->where,
			       line->failed ? "failed" : "scored",
			       expected->failed ? "no answer" : "an answer");
	if (line->score != expected->score)
		return ERR_SET(err, ERR_MISMATCH, "%s: the score is %g, the answer gives %g",
			       scored->where, line->score, expected->score);
	return compare_rest(scored, expected, err);
}

/* ---- programs under test ---- */

/* Where the time limit decides, another machine may find otherwise: the program ran into it here,
 * or is published as having run into it there. */
static bool hangs_on_time(const struct audit_slot *slot, const struct run_score *line)
{
	return slot->limited || (line->time_limited && line->score == 0);
}

/* Only with --rerun is there something to hold against the published score. */
static enum err_code settle_program(struct audit *audit, struct scored *scored, struct err *err)
{
	struct audit_slot *slot = &scored->cell->slots[scored->slot];
	const struct run_score *line = &scored->line;
	bool own = audit->suites[scored->cell->suite].scorer->own_program;
	if (!own && line->score != 0 && line->score != 1)
		return ERR_SET(err, ERR_MISMATCH, "%s: a program passes or fails; its score is %g",
			       scored->where, line->score);
	slot->ungraded = line->failed;
	audit->counts.ungraded += line->failed;
	if (slot->graded && !line->failed && slot->score != line->score) {
		if (own && !hangs_on_time(slot, line))
			return ERR_SET(err, ERR_MISMATCH,
				       "%s: the score is %g, asked again the suite's program says "
				       "%g",
				       scored->where, line->score, slot->score);
		if (!hangs_on_time(slot, line))
			return ERR_SET(err, ERR_MISMATCH,
				       "%s: the score is %g, run again the program %s",
				       scored->where, line->score,
				       slot->score > 0 ? "passes" : "does not pass");
		audit->counts.limited++;
	}
	slot->score = line->score;
	slot->limited = line->time_limited;
	return ERR_OK;
}

/* ---- withheld answers ---- */

/* What is published of an answer that nobody sees is the evaluator's word, within what the other
 * files leave open: a verdict that is in the gateway's record, and what a refusal was to be. */
static enum err_code settle_word(struct audit *audit, struct scored *scored, struct err *err)
{
	const struct audit_cell *cell = scored->cell;
	struct audit_slot *slot = &cell->slots[scored->slot];
	const struct run_score *line = &scored->line;
	const struct audit_item *facts =
		&audit->suites[cell->suite].facts[audit_item_of(audit, cell, scored->slot)];
	if (slot->pinned && !line->failed && line->score != slot->score)
		return ERR_SET(err, ERR_MISMATCH,
			       "%s: the score is %g, the gateway's record says %g", scored->where,
			       line->score, slot->score);
	if (facts->expect != EXPECT_NONE && line->refused != REFUSED_UNKNOWN && !line->failed &&
	    !slot->pinned &&
	    line->score != ((line->refused == REFUSED_YES) == (facts->expect == EXPECT_REFUSE)))
		return ERR_SET(err, ERR_MISMATCH,
			       "%s: the score is not the one that goes with refused and expect",
			       scored->where);
	slot->score = line->score;
	slot->refused = (int8_t)line->refused;
	slot->limited = line->time_limited;
	slot->ungraded = line->failed;
	return ERR_OK;
}

static enum err_code settle_words(struct audit *audit, struct scored *scored, struct err *err)
{
	struct audit_slot *slots = &scored->cell->slots[scored->slot];
	if (scored->cell->rating)
		return audit_rating_word(audit, scored->cell, scored->slot, &scored->line,
					 scored->where, err);
	if (!scored->cell->judging)
		return slots[0].word ? settle_word(audit, scored, err) : ERR_OK;
	for (size_t order = 0; order < 2; order++) {
		enum judge_verdict verdict;
		const char *name = scored->line.verdicts[order];
		if (slots[order].word && name && judge_verdict_from(name, &verdict))
			slots[order].verdict = (uint8_t)verdict;
	}
	return ERR_OK;
}

/* The lengths of withheld answers are the evaluator's word, the same in every line. */
static void take_lengths(struct audit *audit, const struct scored *scored)
{
	const struct audit_cell *cell = scored->cell;
	if (cell->rating)
		return;
	cell->slots[scored->slot].measured = run_has_lengths(&scored->line);
	for (unsigned i = 0; cell->judging && i < 2; i++) {
		struct audit_cell *from =
			audit_answering(audit, cell->suite, i ? cell->opponent : cell->model);
		struct audit_slot *answer =
			&from->slots[audit_answer_of(audit, cell, scored->slot)];
		if (answer->unseen && answer->length == 0 && scored->line.lengths[i] <= UINT32_MAX)
			answer->length = (uint32_t)scored->line.lengths[i];
	}
}

static enum err_code check_line(struct audit *audit, struct scored *scored, struct err *err)
{
	struct run_score expected = {0};
	struct audit_slot *slot = &scored->cell->slots[scored->slot];
	if (slot->listed)
		return ERR_SET(err, ERR_MISMATCH, "%s: it stands there twice", scored->where);
	slot->listed = true;
	take_lengths(audit, scored);
	ERR_TRY(settle_words(audit, scored, err));
	if (!slot->word && audit->suites[scored->cell->suite].scorer->blocks && slot->answered &&
	    !slot->sealed)
		ERR_TRY(settle_program(audit, scored, err));
	ERR_TRY(expect_score(audit, scored->cell, scored->slot, &expected, err));
	ERR_TRY(compare_score(scored, &expected, err));
	scored->cell->failed += expected.failed;
	return ERR_OK;
}

static enum err_code take_line(struct audit *audit, const struct jsonl_line *line, struct err *err)
{
	struct scored scored = {.where = line->where};
	ERR_TRY(run_score_decode(line->tree, line->where, &scored.line, err));
	ERR_TRY(find_place(audit, &scored, err));
	if (check_line(audit, &scored, err) != ERR_OK)
		return audit_blame(audit, scored.cell, scored.slot, err);
	return ERR_OK;
}

static enum err_code read_lines(struct audit *audit, struct err *err)
{
	struct jsonl lines;
	struct jsonl_line line = {0};
	bool more = true;
	const char *path = audit_path(audit, BUNDLE_SCORES);
	if (!path)
		return ERR_SET(err, ERR_NO_MEMORY, "out of memory for the bundle");
	enum err_code code = jsonl_open(&lines, audit->env, path, BUNDLE_SCORES, RUN_LINE_MAX, err);
	while (code == ERR_OK && more) {
		code = jsonl_next(&lines, &line, &more, err);
		if (code == ERR_OK && more)
			code = take_line(audit, &line, err);
		json_decref(line.tree);
		line.tree = NULL;
	}
	jsonl_close(&lines);
	return code;
}

/* ---- the scores, put together ---- */

static bool makes_scores(const struct audit *audit, const struct audit_cell *cell)
{
	return cell->judging || !scorer_by_judge(audit->suites[cell->suite].scorer);
}

/* Decoys that a gateway does not admit are not asked of its model: none of them, and it is told. */
static bool were_left_out(const struct audit_cell *cell)
{
	for (size_t i = 0; i < cell->count; i++)
		if (cell->slots[i].attempts > 0 || cell->slots[i].listed)
			return false;
	return true;
}

static enum err_code collect_cell(struct audit *audit, struct audit_cell *cell, struct err *err)
{
	size_t step = audit_orders(cell);
	bool decoys = audit->plan.suites[cell->suite].decoys;
	if (decoys && were_left_out(cell)) {
		cell->count = 0;
		audit->conduct.left_out[cell->model] = true;
	}
	for (size_t i = 0; makes_scores(audit, cell) && i < cell->count; i += step) {
		if (!cell->slots[i].listed) {
			ERR_SET(err, ERR_MISMATCH, "%s has no line for it: it was left out",
				BUNDLE_SCORES);
			return audit_blame(audit, cell, i, err);
		}
		size_t place = audit->score_count + audit->decoy_count;
		ERR_TRY(expect_score(audit, cell, i, &audit->scores[place], err));
		audit->score_count += !decoys;
		audit->decoy_count += decoys;
	}
	return ERR_OK;
}

enum err_code audit_scores(struct audit *audit, struct err *err)
{
	ERR_TRY(read_lines(audit, err));
	audit->scores = calloc(audit->slots ? audit->slots : 1, sizeof(*audit->scores));
	if (!audit->scores)
		return ERR_SET(err, ERR_NO_MEMORY, "out of memory for the scores");
	for (size_t i = 0; i < audit->cell_count; i++)
		ERR_TRY(collect_cell(audit, &audit->cells[i], err));
	return ERR_OK;
}
