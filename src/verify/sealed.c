/* Verdicts on sealed answers: there is no answer to grade again, so the gateway's signed word is
 * held against its records and against what is published. */
#include "grade/sealed.h"

#include "base/encode.h"
#include "base/json.h"
#include "dialect/dialect.h"
#include "verify/audit.h"

#include <stdio.h>
#include <stdlib.h>

#define KEYS_TEXT_MAX ((size_t)1 << 20)
#define KEYS_MAX 256u
#define ANSWER_MAX ((size_t)64 << 20)

/* ---- keys ---- */

static bool certified(const struct verify_keys *keys, struct bytes note, struct note_key *out)
{
	struct err ignored = ERR_INIT;
	for (size_t i = 0; i < keys->log_count; i++)
		if (sealed_key_read(note, &keys->logs[i], out, &ignored) == ERR_OK)
			return true;
	return false;
}

static enum err_code add_key(struct audit *audit, struct bytes note, struct err *err)
{
	struct note_key key;
	if (!certified(&audit->reader, note, &key) && !certified(&audit->own, note, &key))
		return ERR_SET(err, ERR_MISMATCH,
			       BUNDLE_VERDICT_KEYS
			       ": a note is signed by no log whose key is known");
	if (audit->verdict_key_count == KEYS_MAX)
		return ERR_SET(err, ERR_TOO_LARGE, BUNDLE_VERDICT_KEYS ": more than %u keys",
			       KEYS_MAX);
	struct note_key *grown =
		reallocarray(audit->verdict_keys, audit->verdict_key_count + 1, sizeof(*grown));
	if (!grown)
		return ERR_SET(err, ERR_NO_MEMORY, "out of memory for keys");
	audit->verdict_keys = grown;
	grown[audit->verdict_key_count++] = key;
	return ERR_OK;
}

/* Notes one after another; each begins with its title. */
static enum err_code add_keys(struct audit *audit, struct bytes text, struct err *err)
{
	static const char title[] = VERDICT_NOTE_TITLE "\n";
	while (text.size) {
		const char *next = text.size > 1 ? memmem(text.data + 1, text.size - 1, title,
							  sizeof(title) - 1)
						 : NULL;
		size_t size = next ? (size_t)(next - text.data) : text.size;
		ERR_TRY(add_key(audit, bytes_of(text.data, size), err));
		text = bytes_of(text.data + size, text.size - size);
	}
	return ERR_OK;
}

enum err_code audit_verdict_keys(struct audit *audit, struct err *err)
{
	const char *path = audit_path(audit, BUNDLE_VERDICT_KEYS);
	struct buf text = BUF_INIT(KEYS_TEXT_MAX);
	if (!path)
		return ERR_SET(err, ERR_NO_MEMORY, "out of memory for the bundle");
	if (!env_file_exists(audit->env, path))
		return ERR_OK;
	enum err_code code = env_read_file(audit->env, path, &text, err);
	if (code == ERR_OK)
		code = add_keys(audit, buf_bytes(&text), err);
	buf_release(&text);
	return code;
}

/* ---- a verdict ---- */

/* The answer that was let out is the one whose digest the verdict has. */
static enum err_code check_opened(const struct attempt *attempt,
				  const struct sealed_verdict *verdict, struct err *err)
{
	const json_t *opened = json_object_get(verdict->tree, "opened");
	const json_t *text = json_object_get(opened, "text");
	const char *finish = json_string_value(json_object_get(opened, "finish"));
	const char *nonce_text = json_string_value(json_object_get(opened, "nonce"));
	json_t *canonical =
		json_pack("[O?, O?, s?]", text, json_object_get(opened, "tool_calls"), finish);
	struct buf out = BUF_INIT(ANSWER_MAX);
	struct sha256 hash;
	uint8_t nonce[16], digest[SHA256_SIZE];
	char hex[2 * SHA256_SIZE + 1] = "";
	if (canonical && nonce_text && hex_decode(bytes_from(nonce_text), nonce, sizeof(nonce)) &&
	    json_canonical(canonical, &out, NULL) == ERR_OK && !out.failed) {
		sha256_start(&hash);
		sha256_add(&hash, nonce, sizeof(nonce));
		sha256_add_bytes(&hash, buf_bytes(&out));
		sha256_finish(&hash, digest);
		hex_encode(digest, sizeof(digest), hex);
	}
	json_decref(canonical);
	buf_release(&out);
	if (strcmp(hex, verdict->answer) == 0)
		return ERR_OK;
	return ERR_SET(err, ERR_MISMATCH,
		       "%s: the answer that was opened is not the one whose digest the verdict has",
		       attempt->where);
}

static enum err_code check_signature(struct audit *audit, const struct attempt *attempt,
				     const struct sealed_verdict *verdict, struct err *err)
{
	for (size_t i = 0; i < audit->verdict_key_count; i++) {
		if (!sealed_verdict_signed_by(verdict, audit->verdict_keys[i].public_key))
			continue;
		audit->counts.signed_verdicts++;
		return ERR_OK;
	}
	if (audit->verdict_key_count == 0)
		return ERR_OK;
	return ERR_SET(err, ERR_MISMATCH, "%s: no verdict key has signed the verdict as it stands",
		       attempt->where);
}

static enum err_code check_place(struct audit *audit, const struct attempt *attempt,
				 const struct sealed_verdict *verdict, struct err *err)
{
	const struct run_transcript *line = &attempt->line;
	if (!line->record || strcmp(verdict->record, line->record) != 0)
		return ERR_SET(err, ERR_MISMATCH, "%s: the verdict is of another record",
			       attempt->where);
	if (strcmp(verdict->model, audit->plan.models[audit_asked(attempt->cell)].name) != 0)
		return ERR_SET(err, ERR_MISMATCH, "%s: the verdict is of model %.64s",
			       attempt->where, verdict->model);
	return ERR_OK;
}

enum err_code audit_sealed(struct audit *audit, const struct attempt *attempt, struct err *err)
{
	struct audit_slot *slot = &attempt->cell->slots[attempt->slot];
	struct sealed_verdict verdict;
	struct score score;
	size_t item = audit_item_of(audit, attempt->cell, attempt->slot);
	const struct audit_item *facts = audit_item(audit, attempt->cell->suite, item, err);
	if (!facts)
		return err->code;
	if (attempt->cell->judging || scorer_by_judge(audit->suites[attempt->cell->suite].scorer))
		return ERR_SET(err, ERR_MISMATCH, "%s: there is no verdict on one of two answers",
			       attempt->where);
	enum err_code code = sealed_verdict_read(bytes_from(attempt->line.verdict), attempt->where,
						 &verdict, err);
	if (code == ERR_OK)
		code = check_place(audit, attempt, &verdict, err);
	if (code == ERR_OK)
		code = check_signature(audit, attempt, &verdict, err);
	if (code == ERR_OK && verdict.opened)
		code = check_opened(attempt, &verdict, err);
	if (code == ERR_OK) {
		sealed_verdict_score(&verdict, facts->expect, &score);
		slot->score = score.value;
		slot->refused = (int8_t)score.refused;
		slot->sealed = slot->graded = true;
		audit->counts.sealed++;
		audit->counts.opened += verdict.opened;
	}
	sealed_verdict_release(&verdict);
	return code;
}

/* ---- against the records ---- */

static enum err_code differs(const struct attempt *attempt, const struct receipt *settle,
			     const char *what, struct err *err)
{
	return ERR_SET(err, ERR_MISMATCH,
		       "%s: the verdict's %s is not the one in the gateway's record %.32s",
		       attempt->where, what, settle->id);
}

static bool same(const struct receipt *settle, const char *key, const char *text)
{
	const char *recorded = json_string_value(json_object_get(settle->record, key));
	return recorded && strcmp(recorded, text) == 0;
}

static enum err_code compare(const struct attempt *attempt, const struct receipt *settle,
			     const struct sealed_verdict *verdict, struct err *err)
{
	if (!same(settle, "verdict", verdict->verdict) ||
	    json_number_value(json_object_get(settle->record, "score")) != verdict->score)
		return differs(attempt, settle, "score", err);
	if (!same(settle, "answer", verdict->answer))
		return differs(attempt, settle, "answer", err);
	if (json_is_true(json_object_get(settle->record, "opened")) != verdict->opened)
		return differs(attempt, settle, "opening", err);
	if (!same(settle, "run", verdict->run))
		return differs(attempt, settle, "run", err);
	return ERR_OK;
}

enum err_code audit_sealed_settle(struct audit *audit, const struct attempt *attempt,
				  const struct receipt *settle, bool *bound, struct err *err)
{
	struct sealed_verdict verdict;
	(void)audit;
	enum err_code code = sealed_verdict_read(bytes_from(attempt->line.verdict), attempt->where,
						 &verdict, err);
	if (code == ERR_OK)
		code = compare(attempt, settle, &verdict, err);
	*bound = code == ERR_OK;
	sealed_verdict_release(&verdict);
	return code;
}

enum err_code audit_sealed_opening(struct audit *audit, const struct attempt *attempt,
				   const struct receipt *admit, const struct receipt *settle,
				   struct err *err)
{
	const struct audit_cell *cell = attempt->cell;
	const struct registered *run = cell->registered;
	enum opening_known known;
	int64_t leaf, sample;
	ERR_TRY(json_get_integer_or(admit->record, "leaf", admit->id, 0, UINT32_MAX, -1, &leaf,
				    err));
	ERR_TRY(json_get_integer_or(admit->record, "sample", admit->id, 0, UINT16_MAX, -1, &sample,
				    err));
	struct opening_ask ask = {
		.run = cell->run,
		.log = admit->log,
		.leaves = (uint32_t)audit->suites[cell->suite].items,
		.leaf = (uint32_t)leaf,
		.samples = run && run->samples > 0 && run->samples <= UINT16_MAX
				   ? (unsigned)run->samples
				   : 0,
		.sample = (unsigned)sample,
		.opened = json_is_true(json_object_get(settle->record, "opened")),
	};
	if (leaf < 0 || sample < 0)
		ask.samples = 0;
	if (opening_book_check(&audit->receipts.openings, &ask, &known, err) != ERR_OK)
		return err_prefix(err, "%s: record %.32s", attempt->where, settle->id);
	audit->counts.openings[known]++;
	return ERR_OK;
}
