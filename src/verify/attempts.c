/* transcripts.jsonl: every attempt belongs to the plan, none is missing in between, the model was
 * asked the item's own words, and the bytes that were kept say what the line says. Answers are
 * graded as they come by. */
#include "verify/audit.h"

#include "base/encode.h"
#include "base/json.h"
#include "bench/text.h"
#include "grade/scorer_program.h"
#include "grade/rating.h"
#include "policy/binding.h"
#include "suite/words.h"

#include <stdio.h>

#define ANSWER_MAX ((size_t)16 << 20)

/* In place of a digest, where the harness could not make the words. */
static const char no_words[] = "0000000000000000000000000000000000000000000000000000000000000000";

/* ---- which work it is ---- */

static enum err_code find_place(struct audit *audit, struct attempt *attempt, struct err *err)
{
	const struct run_transcript *line = &attempt->line;
	size_t item;
	attempt->cell = audit_find_cell(audit, line->suite, line->model, line->judge_opponent,
					line->judge_model);
	if (!attempt->cell)
		return ERR_SET(err, ERR_MISMATCH,
			       "item %.100s: %s: the plan asks nothing of %.64s in suite %.64s",
			       line->item, attempt->where, line->model, line->suite);
	const struct audit_suite *suite = &audit->suites[attempt->cell->suite];
	if (!audit_find_item(suite, bytes_from(line->item), &item))
		return ERR_SET(err, ERR_MISMATCH, "item %.100s: %s: suite %s has no such item",
			       line->item, attempt->where, suite->name);
	if (line->sample >= suite->samples)
		return ERR_SET(err, ERR_MISMATCH,
			       "item %.100s: %s: sample %u of %u that the plan asks for",
			       line->item, attempt->where, line->sample, suite->samples);
	if (!audit_slot_of(audit, attempt->cell, item, line->sample, &attempt->slot))
		return ERR_SET(
			err, ERR_MISMATCH,
			"item %.100s: %s: it is none of the %zu that the control is judged on",
			line->item, attempt->where, attempt->cell->spread);
	if (attempt->cell->rating && line->judge_order != -1)
		return ERR_SET(err, ERR_INVALID, "item %.100s: %s: a rating has no judge_order",
			       line->item, attempt->where);
	if (!attempt->cell->judging || attempt->cell->rating)
		return ERR_OK;
	if (line->judge_order != 0 && line->judge_order != 1)
		return ERR_SET(err, ERR_INVALID, "item %.100s: %s: judge_order must be 0 or 1",
			       line->item, attempt->where);
	attempt->slot += (size_t)line->judge_order;
	return ERR_OK;
}

static enum err_code check_order(const struct attempt *attempt, struct err *err)
{
	struct audit_slot *slot = &attempt->cell->slots[attempt->slot];
	if (slot->answered)
		return ERR_SET(err, ERR_MISMATCH,
			       "%s: it was asked again although an answer was there",
			       attempt->where);
	if (attempt->line.attempt != slot->attempts)
		return ERR_SET(err, ERR_MISMATCH, "%s: attempt %u stands where attempt %u is due",
			       attempt->where, attempt->line.attempt, slot->attempts);
	if (slot->attempts == UINT16_MAX)
		return ERR_SET(err, ERR_TOO_LARGE, "%s: too many attempts", attempt->where);
	slot->attempts++;
	return ERR_OK;
}

/* ---- what was asked ---- */

static enum err_code expected_words(struct audit *audit, const struct attempt *attempt,
				    uint8_t digest[static SHA256_SIZE], struct err *err)
{
	if (attempt->cell->judging)
		return audit_judge_words(audit, attempt, digest, err);
	size_t item = audit_item_of(audit, attempt->cell, attempt->slot);
	const struct audit_item *facts = audit_item(audit, attempt->cell->suite, item, err);
	if (!facts)
		return err->code;
	if (facts->steps > 1)
		return audit_step_words(audit, attempt, digest, err);
	memcpy(digest, facts->words, SHA256_SIZE);
	return ERR_OK;
}

/* Another harness says the suite's settings as gateways bind them: each equal or absent, max output
 * an upper bound. */
static enum err_code check_bound_settings(const json_t *suite, struct bytes text, struct err *err)
{
	struct binding_settings agreed, asked;
	json_t *tree = NULL;
	char why[256];
	enum err_code code = json_parse(text, "the settings", &tree, err);
	if (code == ERR_OK)
		code = binding_settings_from_json(tree, &asked, err);
	if (code == ERR_OK)
		code = binding_settings_from_json(suite, &agreed, err);
	if (code == ERR_OK && !binding_settings_match(&agreed, &asked, why, sizeof(why)))
		code = ERR_SET(err, ERR_MISMATCH,
			       "the request's body has other settings than the suite: %s", why);
	json_decref(tree);
	return code;
}

static enum err_code check_settings(struct audit *audit, const struct audit_cell *cell,
				    struct bytes settings, struct err *err)
{
	const json_t *suite = audit->suites[cell->suite].settings;
	struct buf wanted = BUF_INIT(65536);
	enum err_code code = json_canonical(suite, &wanted, err);
	bool equal = bytes_equal(buf_bytes(&wanted), settings);
	buf_release(&wanted);
	if (code != ERR_OK || equal)
		return code;
	if (audit->plan.proxy) {
		audit->counts.loose++;
		return check_bound_settings(suite, settings, err);
	}
	return ERR_SET(err, ERR_MISMATCH,
		       "the request's body has other settings than the suite: %.*s",
		       (int)(settings.size < 120 ? settings.size : 120),
		       settings.data ? settings.data : "");
}

/* The body that was sent says the same words, and an answer the suite's settings. */
static enum err_code check_body_words(struct audit *audit, const struct attempt *attempt,
				      const char *expected, struct err *err)
{
	const struct audit_cell *cell = attempt->cell;
	enum dialect_id dialect = audit->plan.models[audit_asked(cell)].dialect;
	struct buf words = BUF_INIT(RUN_LINE_MAX), settings = BUF_INIT(65536);
	uint8_t digest[SHA256_SIZE];
	char hex[2 * SHA256_SIZE + 1];
	enum err_code code = dialect_words(dialect, bytes_from(attempt->line.request_body), &words,
					   &settings, err);
	leaf_words_digest(buf_bytes(&words), digest);
	hex_encode(digest, sizeof(digest), hex);
	if (code == ERR_OK && strcmp(hex, expected) != 0)
		code = ERR_SET(err, ERR_MISMATCH,
			       "the request's body has other words than the item");
	if (code == ERR_OK && !cell->judging)
		code = check_settings(audit, cell, buf_bytes(&settings), err);
	buf_release(&words);
	buf_release(&settings);
	return code;
}

static enum err_code check_words(struct audit *audit, const struct attempt *attempt,
				 struct err *err)
{
	const struct run_transcript *line = &attempt->line;
	uint8_t digest[SHA256_SIZE];
	char hex[2 * SHA256_SIZE + 1];
	bool impossible = line->error && line->status == 0 && !line->record &&
			  strcmp(line->words, no_words) == 0;
	bool known;
	ERR_TRY(withheld_texts_known(audit, attempt, &known, err));
	if (impossible || !known)
		return ERR_OK;
	ERR_TRY(expected_words(audit, attempt, digest, err));
	hex_encode(digest, sizeof(digest), hex);
	if (strcmp(line->words, hex) != 0)
		return ERR_SET(
			err, ERR_MISMATCH,
			"%s: it was asked other words than the %s (digest %.16s…, not %.16s…)",
			attempt->where,
			attempt->cell->rating    ? "answer gives"
			: attempt->cell->judging ? "two answers give"
						 : "item has",
			line->words, hex);
	if (line->request_body && check_body_words(audit, attempt, hex, err) != ERR_OK)
		return err_prefix(err, "%s", attempt->where);
	return ERR_OK;
}

/* ---- what came back ---- */

static enum err_code check_response_digest(struct audit *audit, const struct attempt *attempt,
					   struct err *err)
{
	const struct run_transcript *line = &attempt->line;
	struct sha256 hash;
	uint8_t nonce[16], digest[SHA256_SIZE];
	char hex[2 * SHA256_SIZE + 1];
	if (!line->response_body || !line->response_digest)
		return ERR_OK;
	sha256_start(&hash);
	if (line->nonce && hex_decode(bytes_from(line->nonce), nonce, sizeof(nonce)))
		sha256_add(&hash, nonce, sizeof(nonce));
	sha256_add_bytes(&hash, bytes_from(line->response_body));
	sha256_finish(&hash, digest);
	hex_encode(digest, sizeof(digest), hex);
	if (strcmp(hex, line->response_digest) != 0)
		return ERR_SET(err, ERR_MISMATCH,
			       "%s: the response's body has another digest than response_digest",
			       attempt->where);
	audit->counts.digests++;
	return ERR_OK;
}

static enum err_code compare_answer(const struct attempt *attempt,
				    const struct dialect_answer *answer, struct err *err)
{
	const struct run_transcript *line = &attempt->line;
	struct buf clean = BUF_INIT(2 * ANSWER_MAX);
	enum err_code code = ERR_OK;
	text_append_clean(&clean, buf_bytes(&answer->text));
	if (clean.failed)
		code = ERR_SET(err, ERR_NO_MEMORY, "out of memory for an answer");
	else if (!bytes_equal(buf_bytes(&clean), bytes_from(line->answer)))
		code = ERR_SET(err, ERR_MISMATCH,
			       "%s: the answer is not the text of the response's body",
			       attempt->where);
	else if (line->finish &&
		 strcmp(line->finish, dialect_finish_name(answer->outcome.finish)) != 0)
		code = ERR_SET(err, ERR_MISMATCH,
			       "%s: the response's body ended otherwise than \"%.40s\"",
			       attempt->where, line->finish);
	buf_release(&clean);
	return code;
}

static enum err_code check_answer_text(struct audit *audit, const struct attempt *attempt,
				       struct err *err)
{
	const struct run_transcript *line = &attempt->line;
	struct dialect_answer answer;
	if (!line->response_body || !line->answer)
		return ERR_OK;
	dialect_answer_init(&answer, ANSWER_MAX);
	enum dialect_id dialect = audit->plan.models[audit_asked(attempt->cell)].dialect;
	struct bytes body = bytes_from(line->response_body);
	enum err_code code = line->stream ? dialect_answer_read_stream(dialect, body, &answer, err)
					  : dialect_answer_read(dialect, body, &answer, err);
	if (code != ERR_OK)
		err_prefix(err, "%s: the response's body", attempt->where);
	else
		code = compare_answer(attempt, &answer, err);
	dialect_answer_release(&answer);
	audit->counts.rebuilt++;
	return code;
}

/* An attempt has an answer or says why it has none. */
static enum err_code check_shape(struct audit *audit, const struct attempt *attempt,
				 struct err *err)
{
	const struct run_transcript *line = &attempt->line;
	bool replay = audit->plan.models[audit_asked(attempt->cell)].replay != NULL;
	if ((line->answer != NULL) + (line->verdict != NULL) + (line->error != NULL) != 1)
		return ERR_SET(err, ERR_INVALID,
			       "%s: an attempt has either an answer, a verdict or an error",
			       attempt->where);
	uint8_t nonce[16];
	if (line->nonce && !hex_decode(bytes_from(line->nonce), nonce, sizeof(nonce)))
		return ERR_SET(err, ERR_INVALID, "%s: nonce must have 32 hexadecimal digits",
			       attempt->where);
	if (attempt_answered(attempt) && line->status != (replay ? 0 : 200))
		return ERR_SET(err, ERR_MISMATCH, "%s: an answer with status %d", attempt->where,
			       line->status);
	return ERR_OK;
}

/* ---- grading ---- */

static enum err_code grade(struct audit *audit, const struct attempt *attempt, struct err *err)
{
	const struct audit_cell *cell = attempt->cell;
	struct audit_suite *suite = &audit->suites[cell->suite];
	struct audit_slot *slot = &cell->slots[attempt->slot];
	struct suite_item item;
	struct score score;
	if (suite->scorer->pairwise)
		return ERR_OK;
	if (suite->scorer->rated) {
		slot->word = attempt->hidden;
		if (!attempt->hidden)
			slot->refused = (int8_t)rating_rule(suite->scorer,
							    bytes_from(attempt->line.answer));
		return ERR_OK;
	}
	if (attempt->hidden ||
	    (suite->withheld && !suite->facts[audit_item_of(audit, cell, attempt->slot)].opened)) {
		slot->word = true;
		audit->counts.words += !slot->pinned;
		return ERR_OK;
	}
	bool own = suite->scorer->own_program;
	suite->asked_program += own;
	if (own && (!audit->options->rerun || suite->program.files == 0)) {
		audit->counts.own_programs++;
		return ERR_OK;
	}
	if (suite->scorer->blocks && !audit->options->rerun) {
		audit->counts.programs++;
		return ERR_OK;
	}
	if (suite->scorer->blocks && !audit->warm)
		audit->warm = code_warm_new(); /* without it programs are run all the same */
	ERR_TRY(audit_render(audit, cell->suite, audit_item_of(audit, cell, attempt->slot), false,
			     &item, err));
	struct bytes answer = bytes_from(attempt->line.answer);
	enum err_code code =
		own ? scorer_program_grade(suite->program.path, item.scorer, answer, &score, err)
		    : scorer_grade_warm(audit->warm, item.scorer, answer, &score, err);
	suite_item_release(&item);
	ERR_TRY(code);
	slot->graded = true;
	slot->score = score.value;
	slot->refused = (int8_t)score.refused;
	slot->limited = score.time_limited;
	if (own)
		suite->asked_again++;
	else if (suite->scorer->blocks)
		audit->counts.reran++;
	else
		audit->counts.graded++;
	return ERR_OK;
}

/* The attempt is at the step that is due. */
static enum err_code check_step(struct audit *audit, const struct attempt *attempt, unsigned *steps,
				struct err *err)
{
	const struct audit_cell *cell = attempt->cell;
	int due = (int)audit_step_of(cell, attempt->slot);
	*steps = 1;
	if (!cell->judging) {
		const struct audit_item *facts = audit_item(
			audit, cell->suite, audit_item_of(audit, cell, attempt->slot), err);
		if (!facts)
			return err->code;
		*steps = facts->steps;
	}
	if (attempt->line.step == (*steps > 1 ? due : -1))
		return ERR_OK;
	return *steps > 1 ? ERR_SET(err, ERR_MISMATCH, "%s: step %d of the conversation is due",
				    attempt->where, due)
			  : ERR_SET(err, ERR_MISMATCH, "%s: the item is no conversation",
				    attempt->where);
}

/* A conversation is vouched for where each of its answers is. */
static void settle_vouched(const struct attempt *attempt, size_t before, bool more)
{
	struct audit_slot *slot = &attempt->cell->slots[attempt->slot];
	bool vouched = attempt->cell->vouched > before;
	if (more || slot->gap)
		attempt->cell->vouched = before;
	slot->gap |= more && !vouched;
}

static enum err_code take_answer(struct audit *audit, const struct attempt *attempt,
				 uint64_t offset, struct err *err)
{
	struct audit_slot *slot = &attempt->cell->slots[attempt->slot];
	slot->answered = true;
	slot->offset = offset;
	attempt->cell->answered++;
	audit->counts.answers++;
	const struct plan_model *asked = &audit->plan.models[audit_asked(attempt->cell)];
	if (asked->replay && !(asked->roles & PLAN_CONTROL))
		audit->counts.replayed++;
	audit->counts.cached += attempt->line.cached;
	if (attempt->line.verdict)
		return audit_sealed(audit, attempt, err);
	if (!attempt->cell->judging && attempt->line.answer && !attempt->hidden &&
	    audit_has_role(audit, attempt->cell->model, PLAN_CONTROL) &&
	    strcmp(attempt->line.answer, plan_control_answer) != 0)
		return ERR_SET(err, ERR_MISMATCH, "%s: it is not what the control answers",
			       attempt->where);
	slot->unseen = attempt->hidden || !attempt->line.answer;
	if (!slot->unseen)
		slot->length = (uint32_t)words_characters(bytes_from(attempt->line.answer));
	if (!attempt->cell->judging)
		return grade(audit, attempt, err);
	if (attempt->cell->rating)
		return audit_rate(audit, attempt, err);
	if (attempt->hidden) {
		slot->word = true;
		audit->counts.words++;
		return ERR_OK;
	}
	slot->verdict = (uint8_t)judge_parse(bytes_from(attempt->line.answer));
	audit->counts.verdicts++;
	return ERR_OK;
}

/* ---- the file ---- */

/* Whoever wrote the bundle may have told any counts: their sum stays at the largest. */
static void add_tokens(int64_t *sum, int64_t tokens)
{
	if (tokens > 0 && __builtin_add_overflow(*sum, tokens, sum))
		*sum = INT64_MAX;
}

static void count_tokens(struct audit *audit, const struct attempt *attempt)
{
	unsigned model = audit_asked(attempt->cell);
	const struct run_usage *usage = &attempt->line.usage;
	add_tokens(&audit->tokens_input[model], usage->input);
	add_tokens(&audit->tokens_input[model], usage->cache_read);
	add_tokens(&audit->tokens_input[model], usage->cache_write);
	add_tokens(&audit->tokens_output[model], usage->output);
}

static enum err_code observe(struct audit *audit, const struct attempt *attempt, struct err *err)
{
	const struct audit_item *facts;
	size_t item = audit_item_of(audit, attempt->cell, attempt->slot);
	if (attempt->cell->judging || attempt->line.error)
		return ERR_OK;
	facts = audit_item(audit, attempt->cell->suite, item, err);
	if (!facts)
		return err->code;
	audit_conduct_take(audit, attempt, facts->asked);
	return ERR_OK;
}

static enum err_code check_attempt(struct audit *audit, const struct attempt *attempt,
				   uint64_t offset, struct err *err)
{
	size_t vouched = attempt->cell->vouched;
	unsigned steps;
	ERR_TRY(check_shape(audit, attempt, err));
	ERR_TRY(check_order(attempt, err));
	ERR_TRY(check_step(audit, attempt, &steps, err));
	ERR_TRY(check_words(audit, attempt, err));
	ERR_TRY(check_response_digest(audit, attempt, err));
	ERR_TRY(check_answer_text(audit, attempt, err));
	ERR_TRY(audit_vouch(audit, attempt, err));
	count_tokens(audit, attempt);
	ERR_TRY(audit_blind(audit, attempt, NULL, err));
	ERR_TRY(observe(audit, attempt, err));
	if (!attempt_answered(attempt)) {
		audit->counts.failures++;
		return ERR_OK;
	}
	ERR_TRY(signs_take(audit, attempt->cell, audit_item_of(audit, attempt->cell, attempt->slot),
			   &attempt->line, attempt->hidden, err));
	bool more = audit_step_take(attempt, steps, offset);
	settle_vouched(attempt, vouched, more);
	if (!more)
		return take_answer(audit, attempt, offset, err);
	audit->counts.turns++;
	return ERR_OK;
}

static enum err_code take_line(struct audit *audit, const struct jsonl_line *line, struct err *err)
{
	struct attempt attempt = {.where = line->where};
	ERR_TRY(withheld_attempt(audit, line->tree, audit->transcripts.line, &attempt.hidden, err));
	ERR_TRY(run_transcript_decode(line->tree, line->where, &attempt.line, err));
	ERR_TRY(find_place(audit, &attempt, err));
	audit->counts.attempts++;
	if (check_attempt(audit, &attempt, line->offset, err) != ERR_OK)
		return audit_blame(audit, attempt.cell, attempt.slot, err);
	return ERR_OK;
}

/* The gateway counts every sample of an item that it answered: none of them may have been left out.
 */
static enum err_code check_samples(const struct audit *audit, const struct audit_cell *cell,
				   struct err *err)
{
	const struct audit_suite *suite = &audit->suites[cell->suite];
	for (size_t item = 0; item < suite->items && !cell->judging && !cell->shared_words;
	     item++) {
		size_t shown = 0;
		for (unsigned k = 0; k < suite->samples; k++)
			shown += cell->slots[item * suite->samples + k].attempts;
		if (cell->used[item] <= shown)
			continue;
		ERR_SET(err, ERR_MISMATCH,
			"the gateway answered it %u times or more, and %s shows %zu attempts",
			cell->used[item], BUNDLE_TRANSCRIPTS, shown);
		return audit_blame(audit, cell, item * suite->samples, err);
	}
	return ERR_OK;
}

enum err_code audit_attempts(struct audit *audit, struct err *err)
{
	struct jsonl_line line = {0};
	bool more = true;
	const char *path = audit_path(audit, BUNDLE_TRANSCRIPTS);
	if (!path)
		return ERR_SET(err, ERR_NO_MEMORY, "out of memory for the bundle");
	ERR_TRY(jsonl_open(&audit->transcripts, audit->env, path, BUNDLE_TRANSCRIPTS, RUN_LINE_MAX,
			   err));
	while (more) {
		ERR_TRY(jsonl_next(&audit->transcripts, &line, &more, err));
		enum err_code code = more ? take_line(audit, &line, err) : ERR_OK;
		json_decref(line.tree);
		ERR_TRY(code);
	}
	for (size_t i = 0; i < audit->cell_count; i++)
		ERR_TRY(check_samples(audit, &audit->cells[i], err));
	return ERR_OK;
}
