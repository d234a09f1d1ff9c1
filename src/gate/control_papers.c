#include "gate/control_grants.h"
#include "gate/control_signers.h"

#include "base/encode.h"

#define STATUS_LIFETIME_MS 600000
#define HEX_SIZE (2 * SHA256_SIZE + 1)

static enum err_code no_memory(struct err *err)
{
	return ERR_SET(err, ERR_NO_MEMORY, "no memory for the papers of a grant");
}

const json_t *control_grant_paper(const json_t *document)
{
	return json_object_get(document, "paper");
}

const json_t *control_grant_pending(const json_t *document)
{
	return json_object_get(document, "offer");
}

const json_t *control_grant_latest(const json_t *document)
{
	const json_t *offer = control_grant_pending(document);
	return offer ? control_spec_of(offer) : control_spec_of(document);
}

const json_t *control_grant_agreed(const json_t *document)
{
	bool agreed = document && strcmp(control_state_of(document), "offered") != 0;
	return agreed ? control_spec_of(document) : NULL;
}

/* ---- terms ---- */

enum err_code control_terms_paper(struct control *control, const json_t *terms,
				  struct buf *envelope, uint8_t digest[static SHA256_SIZE],
				  struct err *err)
{
	json_t *body = paper_new(&control->signer, PAPER_TERMS);
	enum err_code code =
		body && json_object_update(body, (json_t *)terms) == 0 ? ERR_OK : no_memory(err);
	if (code == ERR_OK && envelope)
		code = paper_sign(&control->signer, PAPER_TERMS, body, envelope, digest, err);
	else if (code == ERR_OK)
		code = json_canonical_digest(body, digest, err);
	json_decref(body);
	return code;
}

enum err_code control_terms_keep(struct control_operation *operation, json_t *terms,
				 struct err *err)
{
	uint8_t digest[SHA256_SIZE];
	char id[HEX_SIZE];
	ERR_TRY(control_terms_paper(operation->control, terms, NULL, digest, err));
	hex_encode(digest, sizeof(digest), id);
	return control_change_ride(operation, STORE_TERMS, id, terms, "kept", err);
}

/* ---- the blob: {"paper": envelope, "offer": envelope} ---- */

static enum err_code keep_blob(void *argument, const struct store_document *document,
			       struct err *err)
{
	struct buf *blob = argument;
	buf_append_bytes(blob, document->blob);
	return blob->failed ? no_memory(err) : ERR_OK;
}

/* A new object, empty where the grant has no papers. */
enum err_code control_papers_read(struct control *control, const char *id, json_t **out,
				  struct err *err)
{
	struct buf blob = BUF_INIT(CONTROL_PAPERS_MAX);
	*out = NULL;
	enum err_code code = store_find(control->store, STORE_GRANT, id, keep_blob, &blob, err);
	if (code == ERR_OK && blob.size == 0)
		*out = json_object();
	else if (code == ERR_OK)
		code = json_parse(buf_bytes(&blob), "the papers of a grant", out, err);
	buf_release(&blob);
	if (code == ERR_INVALID)
		return ERR_SET(err, ERR_CORRUPT,
			       "the stored papers of grant %s are damaged; restore the database "
			       "from a backup",
			       id);
	return code == ERR_OK && !*out ? no_memory(err) : code;
}

enum err_code control_papers_write(const json_t *papers, struct buf *out, struct err *err)
{
	ERR_TRY(json_canonical(papers, out, err));
	return out->failed ? no_memory(err) : ERR_OK;
}

enum err_code control_papers_set(json_t *papers, const char *name, struct bytes envelope,
				 struct err *err)
{
	json_t *tree;
	ERR_TRY(json_parse(envelope, "an envelope", &tree, err));
	return json_object_set_new(papers, name, tree) ? no_memory(err) : ERR_OK;
}

/* ---- handing out ---- */

/* The terms that a paper names: as they were kept, or those in force. */
static enum err_code terms_envelope(struct control *control, const json_t *note, json_t **out,
				    struct err *err)
{
	const char *digest = json_text(json_object_get(note, "terms"), "sha256");
	const json_t *terms = control_spec(control, STORE_TERMS, digest);
	struct buf text = BUF_INIT(CONTROL_PAPERS_MAX);
	uint8_t made[SHA256_SIZE];
	char hex[HEX_SIZE];
	*out = NULL;
	if (!*digest || !terms)
		return ERR_OK;
	enum err_code code = control_terms_paper(control, terms, &text, made, err);
	if (code == ERR_OK)
		hex_encode(made, sizeof(made), hex);
	/* They name their issuer's key: under another one since, these are other bytes. */
	if (code == ERR_OK && strcmp(hex, digest) == 0)
		code = json_parse(buf_bytes(&text), "terms", out, err);
	buf_release(&text);
	return code;
}

/* Of the key that signed it, which may have been replaced since. */
static enum err_code add_certificate(struct control *control, const json_t *note, json_t *envelope,
				     struct err *err)
{
	struct buf text = BUF_INIT(NOTE_SIZE_MAX);
	enum err_code code =
		control_signers_vouch(control, json_text(note, "provider"), &text, err);
	if (code == ERR_OK && text.size)
		code = json_set(envelope, "certificate", json_stringn(text.data, text.size))
			       ? ERR_OK
			       : no_memory(err);
	buf_release(&text);
	return code;
}

enum err_code control_grant_envelope(struct control *control, const char *id, bool agreed,
				     json_t **out, struct err *err)
{
	const json_t *document = control_document(control, STORE_GRANT, id);
	json_t *papers, *terms;
	*out = NULL;
	if (!document)
		return ERR_SET(err, ERR_NOT_FOUND, "there is no grant %s", id);
	const json_t *pending = agreed ? NULL : control_grant_pending(document);
	const json_t *note = pending ? pending : control_grant_paper(document);
	if (agreed && !control_grant_agreed(document))
		return ERR_SET(
			err, ERR_CONFLICT,
			"grant %s is offered, and nothing is agreed before you have signed it", id);
	if (!note)
		return ERR_SET(err, ERR_CONFLICT,
			       "grant %s was never signed; `parley grant offer %s` signs it", id,
			       id);
	ERR_TRY(control_papers_read(control, id, &papers, err));
	json_t *envelope = json_object_get(papers, pending ? "offer" : "paper");
	enum err_code code = envelope ? terms_envelope(control, note, &terms, err)
				      : ERR_SET(err, ERR_CORRUPT,
						"the paper of grant %s is missing; restore the "
						"database from a backup",
						id);
	if (code == ERR_OK && terms && json_object_set_new(envelope, "terms", terms))
		code = no_memory(err);
	if (code == ERR_OK)
		code = add_certificate(control, note, envelope, err);
	if (code == ERR_OK)
		*out = json_incref(envelope);
	json_decref(papers);
	return code;
}

/* ---- status ---- */

static const char *status_state(struct control *control, const char *id, const json_t *document)
{
	const struct world_grant *grant = world_find_grant(control->world, bytes_from(id));
	if (grant && grant->org->blocked)
		return grant_state_id(GRANT_SUSPENDED);
	if (grant && grant->state == GRANT_ACTIVE && control->loop->wall_ms >= grant->until_ms)
		return grant_state_id(GRANT_EXPIRED);
	return control_state_of(document);
}

static json_t *status_body(struct control *control, const char *id, const json_t *document)
{
	const json_t *spec = control_spec_of(document);
	const json_t *other = json_object_get(spec, "reciprocal_of");
	char time[RECORD_TIME_SIZE], until[RECORD_TIME_SIZE];
	record_time(control->loop->wall_ms, time);
	record_time(control->loop->wall_ms + STATUS_LIFETIME_MS, until);
	json_t *body = paper_new(&control->signer, PAPER_STATUS);
	bool good = body && json_set(body, "grant", json_string(id)) &&
		    json_set(body, "state", json_string(status_state(control, id, document))) &&
		    json_object_set(body, "valid", json_object_get(spec, "valid")) == 0 &&
		    json_set(body, "reciprocal_of", json_string(json_text(other, "grant"))) &&
		    json_set(body, "reciprocal_key", json_string(json_text(other, "key"))) &&
		    json_set(body, "time", json_string(time)) &&
		    json_set(body, "until", json_string(until));
	if (good)
		return body;
	json_decref(body);
	return NULL;
}

enum err_code control_grant_status(struct control *control, const char *id, json_t **out,
				   struct err *err)
{
	const json_t *document = control_document(control, STORE_GRANT, id);
	*out = NULL;
	/* Only what two gateways have tied together is told to strangers. */
	if (!json_is_object(json_object_get(control_spec_of(document), "reciprocal_of")))
		return ERR_SET(err, ERR_NOT_FOUND, "there is no grant %s with a public status", id);
	struct buf text = BUF_INIT(CONTROL_PAPERS_MAX);
	json_t *body = status_body(control, id, document);
	enum err_code code =
		body ? paper_sign(&control->signer, PAPER_STATUS, body, &text, NULL, err)
		     : no_memory(err);
	if (code == ERR_OK)
		code = json_parse(buf_bytes(&text), "a status", out, err);
	json_decref(body);
	buf_release(&text);
	return code;
}

/* ---- showing ---- */

static json_t *view_note(struct control *control, const json_t *note, const char *org)
{
	static const char *const members[] = {"sha256", "issued", "terms", NULL};
	json_t *view = json_object(), *signatures = json_array();
	bool countersign = json_is_true(json_object_get(note, "countersign"));
	const char *signer = json_text(note, "org");
	bool good = view && signatures;
	for (const char *const *key = members; good && *key; key++) {
		json_t *value = json_object_get(note, *key);
		good = !value || json_object_set(view, *key, value) == 0;
	}
	good = good && json_array_append_new(signatures,
					     json_pack("{s:s, s:s}", "by", control->config->name,
						       "keyid", json_text(note, "provider"))) == 0;
	if (good && *signer)
		good = json_array_append_new(signatures, json_pack("{s:s, s:s}", "by", org, "keyid",
								   signer)) == 0;
	const char *form = !countersign ? "one-sided" : *signer ? "countersigned" : "offered";
	good = good && json_set(view, "form", json_string(form)) &&
	       json_object_set(view, "signatures", signatures) == 0;
	json_decref(signatures);
	if (good)
		return view;
	json_decref(view);
	return NULL;
}

bool control_grant_view(struct control *control, json_t *view, const char *id)
{
	const json_t *document = control_document(control, STORE_GRANT, id);
	const json_t *paper = control_grant_paper(document);
	const json_t *pending = control_grant_pending(document);
	const char *org = json_text(control_spec_of(document), "org");
	if (paper && !json_set(view, "document", view_note(control, paper, org)))
		return false;
	if (!paper && !json_set(view, "document", json_pack("{s:s}", "form", "unsigned")))
		return false;
	if (!pending)
		return true;
	json_t *waiting = view_note(control, pending, org);
	bool good = waiting &&
		    json_object_set(waiting, "grant", json_object_get(pending, "spec")) == 0 &&
		    json_object_set(view, "offer", waiting) == 0;
	json_decref(waiting);
	return good;
}
