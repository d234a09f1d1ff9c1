/* Receipts that stand alone: a .tlog-proof with its record beside it or inside, or the JSON that a
 * gateway serves, {receipts: [{record, proof}]}. */
#include "verify/audit.h"

#include "base/encode.h"
#include "base/json.h"
#include "verify/witnesses.h"

#define FILE_MAX ((size_t)4 << 20)

struct standing {
	size_t receipts;
	enum signer signer; /* the weakest */
	struct trust_finding finding;
	char origin[NOTE_NAME_MAX + 1];
};

static enum err_code read_id(struct bytes record, const struct proof *proof, json_t **tree,
			     const char **id, const char **kind, struct err *err)
{
	uint64_t index;
	ERR_TRY(json_parse(record, "record", tree, err));
	ERR_TRY(json_get_string(*tree, "id", "record", id, err));
	ERR_TRY(json_get_string(*tree, "kind", "record", kind, err));
	if (!record_id_index(bytes_from(*id), &index) || index != proof->index)
		return ERR_SET(err, ERR_MISMATCH, "record %.40s is not entry %llu by its id", *id,
			       (unsigned long long)proof->index);
	return ERR_OK;
}

static void tell(struct verify_report *report, const json_t *record, const struct checkpoint *head,
		 uint64_t index)
{
	const char *id = json_string_value(json_object_get(record, "id"));
	const char *kind = json_string_value(json_object_get(record, "kind"));
	const char *time = json_string_value(json_object_get(record, "time"));
	if (json_is_true(json_object_get(record, "observed")))
		report_note(
			report, VERIFY_UNCHECKED,
			"record %.40s is of a gateway in mode observe: it kept out nothing that "
			"its grants forbid",
			id);
	report_note(report, VERIFY_CHECKED,
		    "record %.40s (%.20s%s%.40s) is entry %llu of the log %s of size %llu", id,
		    kind, time ? ", " : "", time ? time : "", (unsigned long long)index,
		    head->origin, (unsigned long long)head->size);
}

static enum err_code check_one(const struct verify_keys *reader, struct bytes proof_text,
			       struct bytes record, struct standing *standing,
			       struct verify_report *report, struct err *err)
{
	struct proof proof;
	struct checkpoint head;
	enum signer signer;
	struct trust_finding finding;
	const char *id, *kind;
	json_t *tree = NULL;
	ERR_TRY(proof_parse(proof_text, &proof, err));
	ERR_TRY(receipt_check(reader, NULL, proof_text, record, &head, &signer, &finding, err));
	if (standing->receipts > 0 && strcmp(standing->origin, head.origin) != 0)
		return ERR_SET(err, ERR_MISMATCH, "the receipts are of two logs, %.100s and %.100s",
			       standing->origin, head.origin);
	enum err_code code = read_id(record, &proof, &tree, &id, &kind, err);
	if (code == ERR_OK) {
		tell(report, tree, &head, proof.index);
		memcpy(standing->origin, head.origin, sizeof(standing->origin));
		standing->signer =
			standing->receipts && standing->signer < signer ? standing->signer : signer;
		if (standing->receipts == 0)
			standing->finding = finding;
		witnesses_join(&standing->finding, &finding);
		standing->receipts++;
	}
	json_decref(tree);
	return code;
}

/* ---- a .tlog-proof ---- */

/* The record of --record without the newline that an editor may have put behind it, else the one in
 * the proof's extra line. */
static enum err_code find_record(struct env *env, const char *path, struct bytes proof_text,
				 struct buf *out, struct err *err)
{
	struct proof proof;
	if (path) {
		ERR_TRY(env_read_file(env, path, out, err));
		if (out->size > 0 && out->data[out->size - 1] == '\n')
			out->data[--out->size] = '\0';
		return ERR_OK;
	}
	ERR_TRY(proof_parse(proof_text, &proof, err));
	if (proof.extra.size == 0)
		return ERR_SET(err, ERR_USAGE,
			       "the proof does not hold its record: give it with --record FILE");
	if (!base64_decode(proof.extra, out))
		return ERR_SET(err, ERR_INVALID, "the proof's extra line holds no record");
	return ERR_OK;
}

static enum err_code check_proof(struct env *env, const struct verify_keys *reader,
				 const struct verify_options *options, struct bytes text,
				 struct standing *standing, struct verify_report *report,
				 struct err *err)
{
	struct buf record = BUF_INIT(FILE_MAX);
	enum err_code code = find_record(env, options->record, text, &record, err);
	if (code == ERR_OK)
		code = check_one(reader, text, buf_bytes(&record), standing, report, err);
	buf_release(&record);
	return code;
}

/* ---- the JSON of a gateway ---- */

static enum err_code check_pair(const struct verify_keys *reader, const json_t *entry,
				struct standing *standing, struct verify_report *report,
				struct err *err)
{
	const char *record, *proof;
	ERR_TRY(json_get_string(entry, "record", "a receipt", &record, err));
	ERR_TRY(json_get_string(entry, "proof", "a receipt", &proof, err));
	return check_one(reader, bytes_from(proof), bytes_from(record), standing, report, err);
}

static enum err_code check_json(struct verify_keys *reader, struct bytes text,
				struct standing *standing, struct verify_report *report,
				struct err *err)
{
	json_t *tree, *list;
	ERR_TRY(json_parse(text, "receipts", &tree, err));
	const char *rotations;
	enum err_code code = json_get_string_or(tree, "rotations", "receipts", "", &rotations, err);
	if (code == ERR_OK)
		code = verify_keys_follow(bytes_from(rotations), "rotations", reader, err);
	if (code == ERR_OK)
		code = json_get_container(tree, "receipts", "receipts", JSON_ARRAY, false, &list,
					  err);
	for (size_t i = 0; code == ERR_OK && i < json_array_size(list); i++) {
		code = check_pair(reader, json_array_get(list, i), standing, report, err);
		if (code != ERR_OK)
			err_prefix(err, "receipts[%zu]", i);
	}
	if (code == ERR_OK && json_array_size(list) == 0)
		code = ERR_SET(err, ERR_INVALID, "receipts: there is none");
	json_decref(tree);
	return code;
}

/* ---- both ---- */

static void conclude(const struct standing *standing, const struct verify_keys *reader,
		     struct verify_report *report)
{
	char witnesses[600], why[600];
	const char *origin = standing->origin;
	if (standing->signer == SIGNER_READER &&
	    witnesses_lack(reader, &standing->finding, origin, why, sizeof(why))) {
		report_verdict(report, VERIFY_SELF_CERTIFIED, "CONSISTENT, SELF-CERTIFIED: %s",
			       why);
		report_note(report, VERIFY_TRUSTED, "%s, whose key you gave", origin);
		return;
	}
	if (standing->signer == SIGNER_READER) {
		witnesses_phrase(reader, &standing->finding, witnesses, sizeof(witnesses));
		report_verdict(report, VERIFY_VOUCHED, "VOUCHED by %s%s; %zu record%s", origin,
			       witnesses, standing->receipts, standing->receipts == 1 ? "" : "s");
		report_note(report, VERIFY_TRUSTED, "%s, whose key you gave", origin);
		witnesses_note(reader, &standing->finding, report);
		return;
	}
	report_verdict(
		report, VERIFY_SELF_CERTIFIED,
		"CONSISTENT, SELF-CERTIFIED: by a log that calls itself %s; give its key, from "
		"a source that you trust, with --key",
		origin);
	report_note(report, VERIFY_UNCHECKED, "the checkpoint's signature: no key for %s was given",
		    origin);
}

enum err_code check_receipt(struct env *env, const char *path, const struct verify_options *options,
			    struct verify_report *report, struct err *err)
{
	struct verify_keys reader;
	struct standing standing = {0};
	struct buf text = BUF_INIT(FILE_MAX);
	report->subject = "receipt";
	enum err_code code = verify_keys_read(env, options->keys, options->key_count, &reader, err);
	if (code == ERR_OK && options->policy)
		code = verify_keys_policy(env, options->policy, &reader, err);
	if (code == ERR_OK)
		code = env_read_file(env, path, &text, err);
	if (code == ERR_OK) {
		bool json = text.size > 0 && text.data[0] == '{';
		code = json ? check_json(&reader, buf_bytes(&text), &standing, report, err)
			    : check_proof(env, &reader, options, buf_bytes(&text), &standing,
					  report, err);
		if (code == ERR_OK)
			conclude(&standing, &reader, report);
		else
			code = report_failure(report, err);
	}
	buf_release(&text);
	verify_keys_release(&reader);
	return code;
}
