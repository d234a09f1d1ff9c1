/* An attempt against what the gateway recorded: that this request was admitted under this run and
 * item, that this answer is the one that was given, and what it used. Where the record says
 * otherwise the bundle is false; where it says nothing the answer is not vouched for. */
#include "verify/audit.h"

#include "base/encode.h"
#include "base/json.h"

#include <stdio.h>

#define NONCE_SIZE 16
#define ANSWER_MAX ((size_t)40 << 20)

/* SHA-256(nonce || body) as the records hold it. False where the nonce is missing. */
static bool salted_digest(const struct attempt *attempt, struct bytes body,
			  char out[static 2 * SHA256_SIZE + 1])
{
	struct sha256 hash;
	uint8_t nonce[NONCE_SIZE], digest[SHA256_SIZE];
	const char *text = attempt->line.nonce;
	if (!text || !hex_decode(bytes_from(text), nonce, sizeof(nonce)) ||
	    strlen(text) != 2 * sizeof(nonce))
		return false;
	sha256_start(&hash);
	sha256_add(&hash, nonce, sizeof(nonce));
	sha256_add_bytes(&hash, body);
	sha256_finish(&hash, digest);
	hex_encode(digest, sizeof(digest), out);
	return true;
}

static const char *text_of(const struct receipt *receipt, const char *key)
{
	return json_string_value(json_object_get(receipt->record, key));
}

/* The record's digest under `key` against a body; *checked tells whether both were there. */
static enum err_code check_digest(const struct attempt *attempt, const struct receipt *receipt,
				  const char *key, const char *body, bool *checked, struct err *err)
{
	char digest[2 * SHA256_SIZE + 1];
	const char *recorded = text_of(receipt, key);
	*checked = recorded && body && salted_digest(attempt, bytes_from(body), digest);
	if (!*checked || strcmp(recorded, digest) == 0)
		return ERR_OK;
	return ERR_SET(err, ERR_MISMATCH,
		       "%s: the body of the %s is not the one in the gateway's record %.32s",
		       attempt->where, key, receipt->id);
}

/* ---- admission ---- */

static enum err_code check_text(const struct attempt *attempt, const struct receipt *receipt,
				const char *key, const char *expected, struct err *err)
{
	const char *recorded = text_of(receipt, key);
	if (!recorded || !expected || strcmp(recorded, expected) == 0)
		return ERR_OK;
	return ERR_SET(err, ERR_MISMATCH,
		       "%s: the gateway's record %.32s has %s \"%.64s\", not \"%.64s\"",
		       attempt->where, receipt->id, key, recorded, expected);
}

static enum err_code read_count(const struct receipt *receipt, const char *key, int64_t max,
				int64_t *out, struct err *err)
{
	return json_get_integer_or(receipt->record, key, receipt->id, 0, max, -1, out, err);
}

/* The gateway matched the words to a leaf: the item's own, or an earlier one with the same words.
 */
static enum err_code check_leaf(struct audit *audit, const struct attempt *attempt, int64_t leaf,
				struct err *err)
{
	struct audit_cell *cell = attempt->cell;
	size_t item = audit_item_of(audit, cell, attempt->slot);
	if (leaf < 0 || (size_t)leaf == item)
		return ERR_OK;
	const struct audit_suite *suite = &audit->suites[cell->suite];
	if (suite->withheld && (size_t)leaf < suite->items &&
	    (!suite->facts[leaf].opened || !suite->facts[item].opened)) {
		cell->shared_words = true;
		audit->withheld.twins++;
		return ERR_OK;
	}
	if ((size_t)leaf < suite->items) {
		const struct audit_item *own = audit_item(audit, cell->suite, item, err);
		const struct audit_item *other = audit_item(audit, cell->suite, (size_t)leaf, err);
		if (!own || !other)
			return err->code;
		if (memcmp(own->words, other->words, SHA256_SIZE) == 0) {
			cell->shared_words = true;
			return ERR_OK;
		}
	}
	return ERR_SET(err, ERR_MISMATCH,
		       "%s: the gateway's record %.100s is of leaf %lld, and the item is leaf %zu",
		       attempt->where, attempt->line.record, (long long)leaf, item);
}

/* The record says nothing of the first. */
static enum err_code check_step(struct audit *audit, const struct attempt *attempt,
				const struct receipt *admit, struct err *err)
{
	const json_t *detail = json_object_get(admit->record, "detail");
	const json_t *told = json_object_get(detail, "free");
	json_int_t step = json_integer_value(json_object_get(detail, "step"));
	int64_t bytes = 0;
	bool known;
	ERR_TRY(withheld_texts_known(audit, attempt, &known, err));
	if (told && known)
		ERR_TRY(audit_step_bytes(audit, attempt, &bytes, err));
	if (known && json_integer_value(told) != bytes)
		return ERR_SET(err, ERR_MISMATCH,
			       "%s: the gateway's record %.32s has %lld bytes of answers in the "
			       "words, and the answers before it have %lld",
			       attempt->where, admit->id, (long long)json_integer_value(told),
			       (long long)bytes);
	if (step == (attempt->line.step > 0 ? attempt->line.step : 0))
		return ERR_OK;
	return ERR_SET(err, ERR_MISMATCH,
		       "%s: the gateway's record %.32s is of step %lld of the conversation",
		       attempt->where, admit->id, (long long)step);
}

static enum err_code check_sample(struct audit *audit, const struct attempt *attempt,
				  const struct receipt *admit, struct err *err)
{
	struct audit_cell *cell = attempt->cell;
	int64_t leaf, sample;
	ERR_TRY(read_count(admit, "leaf", LEAF_COUNT_MAX, &leaf, err));
	ERR_TRY(read_count(admit, "sample", UINT16_MAX - 1, &sample, err));
	ERR_TRY(check_leaf(audit, attempt, leaf, err));
	ERR_TRY(check_step(audit, attempt, admit, err));
	ERR_TRY(audit_blind(audit, attempt, admit->record, err));
	size_t item = audit_item_of(audit, cell, attempt->slot);
	if (attempt_answered(attempt) && sample >= cell->used[item])
		cell->used[item] = (uint16_t)(sample + 1);
	return ERR_OK;
}

/* All answers of a suite by a model are of one run, opened before them. */
static enum err_code check_run(struct audit *audit, const struct attempt *attempt,
			       const struct receipt *admit, struct err *err)
{
	struct audit_cell *cell = attempt->cell;
	const char *run = text_of(admit, "run");
	if (!run)
		return ERR_OK;
	if (!cell->run[0]) {
		if (strlen(run) >= sizeof(cell->run))
			return ERR_SET(err, ERR_TOO_LARGE, "%s: the id of its run is too long",
				       attempt->where);
		snprintf(cell->run, sizeof(cell->run), "%s", run);
		cell->log = admit->log;
		cell->registered = receipts_registered(&audit->receipts, false, admit->log, run);
	}
	if (strcmp(cell->run, run) != 0 || cell->log != admit->log)
		return ERR_SET(err, ERR_MISMATCH,
			       "%s: the gateway's record %.32s is of run %.64s, those before it of "
			       "run %.64s",
			       attempt->where, admit->id, run, cell->run);
	if (!cell->registered)
		return ERR_OK;
	if (admit->index < cell->registered->index)
		return ERR_SET(
			err, ERR_MISMATCH,
			"%s: it was admitted (record %llu) before its run was opened (record "
			"%llu)",
			attempt->where, (unsigned long long)admit->index,
			(unsigned long long)cell->registered->index);
	return check_text(attempt, admit, "suite", cell->registered->suite, err);
}

/* What the record says the judge was shown: the answers of the two models to the item. */
static bool names_model(const json_t *judged, const char *model, size_t item)
{
	size_t index;
	json_t *row;
	json_array_foreach(judged, index, row)
	{
		const char *name = json_string_value(json_object_get(row, "model"));
		if (name && strcmp(name, model) == 0 &&
		    json_integer_value(json_object_get(row, "leaf")) == (json_int_t)item)
			return true;
	}
	return false;
}

/* A judge that the gateway binds: its leaf is the item's second one. Where the run is not bound
 * (the judge was asked elsewhere) the record says nothing. */
static enum err_code check_judge(struct audit *audit, const struct attempt *attempt,
				 const struct receipt *admit, struct err *err)
{
	const struct audit_cell *cell = attempt->cell;
	const struct audit_suite *suite = &audit->suites[cell->suite];
	size_t item = audit_item_of(audit, cell, attempt->slot);
	const json_t *judged = json_object_get(json_object_get(admit->record, "detail"), "judged");
	int64_t leaf;
	ERR_TRY(read_count(admit, "leaf", LEAF_COUNT_MAX, &leaf, err));
	if (leaf < 0)
		return ERR_OK;
	if ((size_t)leaf != suite->items + item)
		return ERR_SET(err, ERR_MISMATCH,
			       "%s: the gateway's record %.32s is of leaf %lld, and the item's "
			       "judge is leaf %zu",
			       attempt->where, admit->id, (long long)leaf, suite->items + item);
	/* Two models may have given one answer: then the record names either. */
	if (json_array_size(judged) == 2 &&
	    (names_model(judged, audit->plan.models[cell->model].name, item) ||
	     names_model(judged, audit->plan.models[cell->opponent].name, item)))
		return ERR_OK;
	return ERR_SET(err, ERR_MISMATCH,
		       "%s: the gateway's record %.32s is of a verdict on other answers",
		       attempt->where, admit->id);
}

static enum err_code check_admit(struct audit *audit, const struct attempt *attempt,
				 const struct receipt *admit, struct err *err)
{
	const struct audit_cell *cell = attempt->cell;
	bool checked;
	ERR_TRY(check_text(attempt, admit, "model", audit->plan.models[audit_asked(cell)].name,
			   err));
	ERR_TRY(check_digest(attempt, admit, "request", attempt->line.request_body, &checked, err));
	audit->counts.digests += checked;
	if (cell->judging && !audit->suites[cell->suite].judged)
		return ERR_OK;
	if (cell->judging) {
		ERR_TRY(check_judge(audit, attempt, admit, err));
		return check_run(audit, attempt, admit, err);
	}
	ERR_TRY(check_sample(audit, attempt, admit, err));
	return check_run(audit, attempt, admit, err);
}

/* ---- outcome ---- */

static enum dialect_finish finish_of(const char *name)
{
	enum dialect_finish finish = DIALECT_FINISH_OTHER;
	while (finish > DIALECT_FINISH_NONE && name &&
	       strcmp(dialect_finish_name(finish), name) != 0)
		finish--;
	return finish;
}

/* Without the body: the record's digest of the canonical answer, made again from text and finish.
 */
static enum err_code check_canonical(const struct attempt *attempt, const struct receipt *settle,
				     bool *checked, struct err *err)
{
	struct buf canonical = BUF_INIT(ANSWER_MAX);
	char digest[2 * SHA256_SIZE + 1];
	const char *recorded = text_of(settle, "answer");
	dialect_canonical_answer(bytes_from(attempt->line.answer), NULL,
				 finish_of(attempt->line.finish), &canonical);
	*checked = recorded && !canonical.failed &&
		   salted_digest(attempt, buf_bytes(&canonical), digest);
	buf_release(&canonical);
	if (!*checked || strcmp(recorded, digest) == 0)
		return ERR_OK;
	return ERR_SET(err, ERR_MISMATCH,
		       "%s: the answer is not the one in the gateway's record %.32s",
		       attempt->where, settle->id);
}

static enum err_code check_usage(struct audit *audit, const struct attempt *attempt,
				 const struct receipt *settle, struct err *err)
{
	static const char *const keys[] = {"input", "cache_read", "cache_write", "output"};
	const struct run_usage *usage = &attempt->line.usage;
	const int64_t shown[] = {usage->input, usage->cache_read, usage->cache_write,
				 usage->output};
	const json_t *recorded = json_object_get(settle->record, "usage");
	if (!recorded || json_is_true(json_object_get(recorded, "estimated")) || usage->estimated)
		return ERR_OK;
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		int64_t tokens;
		ERR_TRY(json_get_integer_or(recorded, keys[i], settle->id, 0, INT64_MAX, 0, &tokens,
					    err));
		if (shown[i] >= 0 && shown[i] != tokens)
			return ERR_SET(
				err, ERR_MISMATCH,
				"%s: usage.%s is %lld, in the gateway's record %.32s it is %lld",
				attempt->where, keys[i], (long long)shown[i], settle->id,
				(long long)tokens);
	}
	audit->counts.usages++;
	return ERR_OK;
}

/* The answer is withheld: what stands for it is its digest, or the score that the record has. */
static void check_hidden(const struct attempt *attempt, const struct receipt *settle, bool *bound)
{
	struct audit_slot *slot = &attempt->cell->slots[attempt->slot];
	const json_t *score = json_object_get(settle->record, "score");
	*bound = score || (attempt->line.response_digest && text_of(settle, "response"));
	slot->pinned = json_is_number(score);
	if (slot->pinned)
		slot->score = json_number_value(score);
}

/* *bound: the answer is tied to the record by a digest. */
static enum err_code check_settle(struct audit *audit, const struct attempt *attempt,
				  const struct receipt *settle, bool *bound, struct err *err)
{
	const struct run_transcript *line = &attempt->line;
	bool canonical = false;
	int64_t status;
	ERR_TRY(read_count(settle, "status", 999, &status, err));
	if (status >= 0 && status != line->status)
		return ERR_SET(err, ERR_MISMATCH,
			       "%s: status %d, in the gateway's record %.32s it is %lld",
			       attempt->where, line->status, settle->id, (long long)status);
	ERR_TRY(check_text(attempt, settle, "served", line->served, err));
	if (line->verdict) {
		ERR_TRY(audit_sealed_settle(audit, attempt, settle, bound, err));
		audit->counts.digests += *bound;
		return check_usage(audit, attempt, settle, err);
	}
	ERR_TRY(check_text(attempt, settle, "response", line->response_digest, err));
	ERR_TRY(check_digest(attempt, settle, "response", line->response_body, bound, err));
	if (attempt->hidden)
		check_hidden(attempt, settle, bound);
	else if (!*bound)
		ERR_TRY(check_canonical(attempt, settle, &canonical, err));
	*bound |= canonical;
	audit->counts.digests += *bound;
	return check_usage(audit, attempt, settle, err);
}

/* The gateway saw a whole answer go out, and the transcript shows none. That can be true (the
 * harness was cut off), and can be used to hide an answer: it is told, not judged. */
static void note_hidden(struct audit *audit, const struct attempt *attempt,
			const struct receipt *settle)
{
	const char *ending = text_of(settle, "ending");
	if (json_integer_value(json_object_get(settle->record, "status")) != 200 || !ending ||
	    strcmp(ending, "finish") != 0)
		return;
	if (audit->counts.hidden++ == 0)
		snprintf(audit->counts.first_hidden, sizeof(audit->counts.first_hidden),
			 "item %.100s, %s", attempt->line.item, attempt->where);
}

static enum err_code check_outcome(struct audit *audit, const struct attempt *attempt,
				   const struct receipt *admit, const struct receipt *outcome,
				   struct err *err)
{
	struct audit_cell *cell = attempt->cell;
	bool bound = false;
	if (outcome->log != admit->log || outcome->index <= admit->index)
		return ERR_SET(
			err, ERR_MISMATCH,
			"%s: the outcome %.32s does not follow the admission %.32s in one log",
			attempt->where, outcome->id, admit->id);
	if (strcmp(outcome->kind, "settle") != 0)
		return ERR_OK;
	if (!attempt_answered(attempt)) {
		note_hidden(audit, attempt, outcome);
		return ERR_OK;
	}
	ERR_TRY(check_settle(audit, attempt, outcome, &bound, err));
	if (attempt->line.verdict || (attempt->hidden && text_of(outcome, "verdict")))
		ERR_TRY(audit_sealed_opening(audit, attempt, admit, outcome, err));
	if (!bound)
		return ERR_OK;
	/* A gateway that only observes keeps nothing out: it cannot say that this was all. */
	if (json_is_true(json_object_get(admit->record, "observed"))) {
		cell->observed++;
		return ERR_OK;
	}
	cell->vouched++;
	if (admit->signer < cell->signer)
		cell->signer = admit->signer;
	if (outcome->signer < cell->signer)
		cell->signer = outcome->signer;
	return ERR_OK;
}

static enum err_code vouch(struct audit *audit, const struct attempt *attempt,
			   const struct receipt *admit, struct err *err)
{
	struct receipt outcome;
	bool found;
	if (!receipts_use(&audit->receipts, admit->id))
		return ERR_SET(err, ERR_MISMATCH,
			       "%s: another attempt names the gateway's record %.32s already",
			       attempt->where, admit->id);
	ERR_TRY(check_admit(audit, attempt, admit, err));
	ERR_TRY(receipts_outcome(&audit->receipts, admit->id, &outcome, &found, err));
	enum err_code code = found ? check_outcome(audit, attempt, admit, &outcome, err) : ERR_OK;
	if (code == ERR_OK)
		code = grants_take(audit, admit, found ? &outcome : NULL, err);
	receipt_release(&outcome);
	return code;
}

enum err_code audit_vouch(struct audit *audit, const struct attempt *attempt, struct err *err)
{
	struct receipt admit;
	bool found;
	if (!attempt->line.record)
		return ERR_OK;
	ERR_TRY(receipts_admit(&audit->receipts, attempt->line.record, &admit, &found, err));
	enum err_code code = found ? vouch(audit, attempt, &admit, err) : ERR_OK;
	receipt_release(&admit);
	return code;
}

/* ---- what was committed to ---- */

/* The suite as it was registered: items, settings, name and version. */
static enum err_code check_registration(const struct audit_suite *suite,
					const struct registered *listed, struct err *err)
{
	uint8_t settings[SHA256_SIZE];
	char name[128];
	ERR_TRY(json_canonical_digest(suite->settings, settings, err));
	snprintf(name, sizeof(name), "%s %s", suite->name, suite->version);
	if (listed->has_root && memcmp(listed->root, suite->root, SHA256_SIZE) != 0)
		return ERR_SET(
			err, ERR_MISMATCH,
			BUNDLE_SUITES
			"/%.64s: its items are not those that were registered (one was added, "
			"dropped or altered)",
			suite->name);
	if (listed->has_settings && memcmp(listed->settings, settings, SHA256_SIZE) != 0)
		return ERR_SET(err, ERR_MISMATCH,
			       BUNDLE_SUITES
			       "/%.64s: its settings are not those that were registered",
			       suite->name);
	if (listed->name[0] && strcmp(listed->name, name) != 0)
		return ERR_SET(err, ERR_MISMATCH,
			       BUNDLE_SUITES "/%.64s: it was registered as %.64s, not as %.64s",
			       suite->name, listed->name, name);
	return ERR_OK;
}

static enum err_code check_commitment(const struct audit *audit, const struct audit_cell *cell,
				      struct err *err)
{
	const struct registered *run = cell->registered;
	const struct audit_suite *suite = &audit->suites[cell->suite];
	const struct registered *listed =
		receipts_registered(&audit->receipts, true, run->log, run->suite);
	const char *model = audit->plan.models[cell->model].name;
	if (run->has_plan && memcmp(run->plan, audit->plan_digest, SHA256_SIZE) != 0)
		return ERR_SET(err, ERR_MISMATCH,
			       BUNDLE_PLAN
			       ": it is not the plan that was committed to before the run %.64s of "
			       "%.64s",
			       run->id, model);
	if (run->samples > 0 && run->samples != suite->samples)
		return ERR_SET(err, ERR_MISMATCH,
			       "run %.64s of %.64s was opened for %lld samples of each item, the "
			       "bundle has %u",
			       run->id, model, (long long)run->samples, suite->samples);
	if (run->has_root && memcmp(run->root, suite->root, SHA256_SIZE) != 0)
		return ERR_SET(err, ERR_MISMATCH,
			       BUNDLE_SUITES "/%.64s: it is not the suite of run %.64s of %.64s",
			       suite->name, run->id, model);
	if (!listed)
		return ERR_OK;
	if (listed->index >= run->index)
		return ERR_SET(err, ERR_MISMATCH,
			       "run %.64s of %.64s was opened before its suite was registered",
			       run->id, model);
	return check_registration(suite, listed, err);
}

/* Which item the gateway was asked for, as far as its record tells. */
static enum err_code blame_record(struct audit *audit, const struct receipt *admit, struct err *err)
{
	const char *run = text_of(admit, "run"), *model = text_of(admit, "model");
	const json_t *leaf = json_object_get(admit->record, "leaf");
	for (size_t i = 0; run && model && leaf && i < audit->cell_count; i++) {
		const struct audit_cell *cell = &audit->cells[i];
		const struct audit_suite *suite = &audit->suites[cell->suite];
		size_t item = (size_t)json_integer_value(leaf);
		if (!cell->judging && cell->log == admit->log && strcmp(cell->run, run) == 0 &&
		    strcmp(audit->plan.models[cell->model].name, model) == 0 && item < suite->items)
			return audit_blame(audit, cell, item * suite->samples, err);
	}
	return err->code;
}

/* Whatever was admitted is shown. */
static enum err_code check_unused(struct audit *audit, struct err *err)
{
	char id[RECORD_ID_SIZE + 1];
	struct receipt admit;
	bool found;
	if (!receipts_unused(&audit->receipts, id))
		return receipts_check_outcomes(&audit->receipts, err);
	ERR_TRY(receipts_admit(&audit->receipts, id, &admit, &found, err));
	ERR_SET(err, ERR_MISMATCH,
		BUNDLE_RECEIPTS "/%s.tlog-proof: no attempt in " BUNDLE_TRANSCRIPTS
				" names this admitted request: it was left out",
		id);
	enum err_code code = found ? blame_record(audit, &admit, err) : err->code;
	receipt_release(&admit);
	return code;
}

enum err_code audit_commitments(struct audit *audit, struct err *err)
{
	for (size_t i = 0; i < audit->cell_count; i++)
		if (audit->cells[i].registered)
			ERR_TRY(check_commitment(audit, &audit->cells[i], err));
	return check_unused(audit, err);
}
