#include "gate/control_grants.h"
#include "gate/control_links.h"

#include "base/encode.h"
#include "gate/control_notice.h"

#include <stdio.h>

#define HEX_SIZE (2 * SHA256_SIZE + 1)

static enum err_code no_memory(struct err *err)
{
	return ERR_SET(err, ERR_NO_MEMORY, "no memory for the papers of a grant");
}

/* An evaluation grant to an organisation that left a key is not in force before it has signed. */
static bool needs_signature(const json_t *spec, const json_t *org)
{
	const char *purpose =
		json_string_value(json_array_get(json_object_get(spec, "purposes"), 0));
	bool product = purpose && strcmp(purpose, purpose_id(PURPOSE_PRODUCT)) == 0;
	return !product && *json_text(org, "key");
}

/* ---- signing ---- */

/* What the outer form says of a paper, and its envelope. */
struct signed_grant {
	json_t *note; /* {sha256, provider, countersign, issued, terms?} */
	struct buf envelope;
};

static void release_signed(struct signed_grant *grant)
{
	json_decref(grant->note);
	buf_release(&grant->envelope);
}

static json_t *org_of_paper(const json_t *org)
{
	static const char *const members[] = {"id", "name", "key", NULL};
	json_t *out = json_object();
	for (const char *const *key = members; out && *key; key++) {
		json_t *value = json_object_get(org, *key);
		if (value)
			json_object_set(out, *key, value);
	}
	return out;
}

static json_t *terms_of_paper(struct control *control, const json_t *terms)
{
	uint8_t digest[SHA256_SIZE];
	char hex[HEX_SIZE];
	if (control_terms_paper(control, terms, NULL, digest, NULL) != ERR_OK)
		return NULL;
	hex_encode(digest, sizeof(digest), hex);
	return json_pack("{s:s, s:s}", "version", json_text(terms, "version"), "sha256", hex);
}

static json_t *grant_body(struct control *control, json_t *spec,
			  const struct control_grant_basis *basis, const json_t *before,
			  const char *issued, bool countersign)
{
	json_t *body = paper_new(&control->signer, PAPER_GRANT);
	bool good = body && json_object_set(body, "grant", spec) == 0 &&
		    json_set(body, "issued", json_string(issued)) &&
		    json_set(body, "org", org_of_paper(basis->org)) &&
		    json_set(body, "countersign", json_boolean(countersign));
	if (good && basis->terms)
		good = json_set(body, "terms", terms_of_paper(control, basis->terms));
	if (good && before)
		good = json_set(body, "replaces", json_string(json_text(before, "sha256")));
	if (good)
		return body;
	json_decref(body);
	return NULL;
}

static enum err_code sign_grant(struct control *control, json_t *spec,
				const struct control_grant_basis *basis, const json_t *before,
				struct signed_grant *out, struct err *err)
{
	uint8_t digest[SHA256_SIZE];
	char hex[HEX_SIZE], issued[RECORD_TIME_SIZE];
	bool countersign = needs_signature(spec, basis->org);
	*out = (struct signed_grant){.envelope = BUF_INIT(CONTROL_PAPERS_MAX)};
	record_time(control->loop->wall_ms, issued);
	json_t *body = grant_body(control, spec, basis, before, issued, countersign);
	enum err_code code =
		body ? paper_sign(&control->signer, PAPER_GRANT, body, &out->envelope, digest, err)
		     : no_memory(err);
	if (code == ERR_OK) {
		hex_encode(digest, sizeof(digest), hex);
		out->note = json_pack("{s:s, s:s, s:b, s:s}", "sha256", hex, "provider",
				      control->signer.keyid, "countersign", countersign, "issued",
				      issued);
		json_t *terms = json_object_get(body, "terms");
		if (!out->note || (terms && json_object_set(out->note, "terms", terms)))
			code = no_memory(err);
	}
	json_decref(body);
	return code;
}

/* ---- offering ---- */

struct offering {
	struct control_operation *operation;
	const char *id;
	json_t *spec;
	const struct control_grant_basis *basis;
	struct control_telling telling;
	const json_t *document; /* in force; NULL: none */
	json_t *papers, *outer;
	struct err *err;
};

static bool was_agreed(const json_t *document)
{
	return document && strcmp(control_state_of(document), "offered") != 0;
}

static enum err_code add_change(struct offering *offering, json_t *spec, const char *state)
{
	struct buf blob = BUF_INIT(CONTROL_PAPERS_MAX);
	offering->telling.before = was_agreed(offering->document) ? offering->document : NULL;
	offering->telling.outer = offering->outer;
	enum err_code code = control_papers_write(offering->papers, &blob, offering->err);
	if (code == ERR_OK)
		code = control_change_add(offering->operation, STORE_GRANT, offering->id, spec,
					  state, &offering->telling, &blob, offering->err);
	buf_release(&blob);
	return code;
}

static enum err_code tell_offer(struct offering *offering)
{
	char text[512];
	snprintf(text, sizeof(text),
		 "%s offers grant %s%s. It comes into force when you have signed it: read it with "
		 "`parley grant sign FILE`, sign it with --key, and give the file back.",
		 offering->operation->control->config->name, offering->id,
		 was_agreed(offering->document) ? " in a changed version" : "");
	struct control_notice notice = {.event = NOTICE_GRANT_OFFERED,
					.org = json_text(offering->spec, "org"),
					.org_spec = offering->basis->org,
					.grant = offering->id,
					.text = text};
	return control_notice(offering->operation, &notice, offering->err);
}

/* The version in force was written again: what waited is withdrawn. */
static enum err_code withdraw(struct offering *offering)
{
	json_object_del(offering->papers, "offer");
	if (!json_set(offering->outer, "offer", json_null()))
		return no_memory(offering->err);
	return add_change(offering, offering->spec, control_state_of(offering->document));
}

static enum err_code offer_change(struct offering *offering, struct signed_grant *grant)
{
	json_t *spec = json_object_get(offering->document, "spec");
	if (json_object_set(grant->note, "spec", offering->spec) ||
	    json_object_set(offering->outer, "offer", grant->note))
		return no_memory(offering->err);
	ERR_TRY(control_papers_set(offering->papers, "offer", buf_bytes(&grant->envelope),
				   offering->err));
	ERR_TRY(add_change(offering, spec, control_state_of(offering->document)));
	return tell_offer(offering);
}

static enum err_code put_paper(struct offering *offering, struct signed_grant *grant,
			       bool countersign)
{
	const char *state = countersign                      ? "offered"
			    : was_agreed(offering->document) ? control_state_of(offering->document)
							     : "active";
	json_object_del(offering->papers, "offer");
	if (!json_set(offering->outer, "offer", json_null()) ||
	    json_object_set(offering->outer, "paper", grant->note))
		return no_memory(offering->err);
	ERR_TRY(control_papers_set(offering->papers, "paper", buf_bytes(&grant->envelope),
				   offering->err));
	ERR_TRY(add_change(offering, offering->spec, state));
	return countersign ? tell_offer(offering) : ERR_OK;
}

static enum err_code offer(struct offering *offering)
{
	struct control *control = offering->operation->control;
	const json_t *paper = control_grant_paper(offering->document);
	bool countersign = needs_signature(offering->spec, offering->basis->org);
	if (was_agreed(offering->document) && paper &&
	    json_is_true(json_object_get(paper, "countersign")) == countersign &&
	    json_equal(control_spec_of(offering->document), offering->spec))
		return withdraw(offering);
	struct signed_grant grant;
	enum err_code code =
		sign_grant(control, offering->spec, offering->basis,
			   was_agreed(offering->document) ? paper : NULL, &grant, offering->err);
	if (code == ERR_OK)
		code = countersign && was_agreed(offering->document)
			       ? offer_change(offering, &grant)
			       : put_paper(offering, &grant, countersign);
	release_signed(&grant);
	return code;
}

enum err_code control_grant_offer(struct control_operation *operation, const char *id, json_t *spec,
				  const struct control_grant_basis *basis,
				  const struct control_telling *telling, struct err *err)
{
	struct offering offering = {.operation = operation,
				    .id = id,
				    .spec = spec,
				    .basis = basis,
				    .telling = *telling,
				    .document =
					    control_document(operation->control, STORE_GRANT, id),
				    .outer = json_object(),
				    .err = err};
	enum err_code code = offering.outer ? ERR_OK : no_memory(err);
	if (code == ERR_OK && offering.document)
		code = control_papers_read(operation->control, id, &offering.papers, err);
	else if (code == ERR_OK && !(offering.papers = json_object()))
		code = no_memory(err);
	if (code == ERR_OK)
		code = offer(&offering);
	json_decref(offering.papers);
	json_decref(offering.outer);
	return code;
}

static enum err_code answer_grant(struct control_operation *operation, const char *id,
				  const char *state, bool changed, struct err *err)
{
	operation->answer =
		json_pack("{s:s, s:s, s:b}", "grant", id, "state", state, "changed", changed);
	return operation->answer ? ERR_OK : no_memory(err);
}

static enum err_code find_grant(const struct control *control, const char *id, const json_t **out,
				struct err *err)
{
	*out = control_document(control, STORE_GRANT, id);
	if (!*out)
		return ERR_SET(err, ERR_NOT_FOUND, "there is no grant %s", id);
	if (strcmp(control_state_of(*out), "revoked") == 0)
		return ERR_SET(err, ERR_CONFLICT,
			       "grant %s is revoked, which is final; a new one needs a new id", id);
	return ERR_OK;
}

enum err_code control_prepare_offer(struct control_operation *operation, const char *id,
				    const struct control_act_request *request, struct err *err)
{
	struct control *control = operation->control;
	const json_t *document;
	ERR_TRY(find_grant(control, id, &document, err));
	json_t *spec = (json_t *)control_grant_latest(document);
	struct control_grant_basis basis = {
		.org = control_spec(control, STORE_ORG, json_text(spec, "org")),
		.terms = control_spec(control, STORE_TERMS, CONTROL_TERMS_ID)};
	const json_t *paper = control_grant_pending(document) ? control_grant_pending(document)
							      : control_grant_paper(document);
	/* One that waits is signed again where its key was replaced since; what was agreed stands.
	 */
	bool waits = control_grant_pending(document) || !was_agreed(document);
	bool stale = waits && strcmp(json_text(paper, "provider"), control->signer.keyid) != 0;
	if (paper && !stale &&
	    json_is_true(json_object_get(paper, "countersign")) == needs_signature(spec, basis.org))
		return answer_grant(operation, id, control_state_of(document), false, err);
	struct control_telling telling = {.kind = RECORD_ACT,
					  .act = "grant.offer",
					  .person = request->person,
					  .reason = request->reason};
	operation->log = control_log_of_grant(control, id);
	ERR_TRY(control_grant_offer(operation, id, spec, &basis, &telling, err));
	const struct control_change *change = operation->changes[0];
	return answer_grant(operation, id, control_state_of(change->document), true, err);
}

/* ---- countersigning ---- */

struct countersigning {
	struct control_operation *operation;
	const char *id;
	const json_t *document;
	const json_t *wanted; /* the note of the paper that was signed */
	json_t *spec;         /* which it puts in force */
	struct paper paper;
	int provider, org; /* places of the two signatures */
	struct err *err;
};

/* Which version the file is: the one that waits, or the one in force (a second delivery). */
static enum err_code find_version(struct countersigning *signing)
{
	char hex[HEX_SIZE];
	const json_t *offer = control_grant_pending(signing->document),
		     *paper = control_grant_paper(signing->document);
	hex_encode(signing->paper.digest, SHA256_SIZE, hex);
	if (offer && strcmp(json_text(offer, "sha256"), hex) == 0) {
		signing->wanted = offer;
		signing->spec = json_object_get(offer, "spec");
		return ERR_OK;
	}
	if (paper && strcmp(json_text(paper, "sha256"), hex) == 0) {
		signing->wanted = paper;
		signing->spec = json_object_get(signing->document, "spec");
		return ERR_OK;
	}
	return ERR_SET(signing->err, ERR_CONFLICT,
		       "this is not the version of grant %s that is offered now; hand out a fresh "
		       "one with `parley grant offer %s`",
		       signing->id, signing->id);
}

static enum err_code check_signatures(struct countersigning *signing)
{
	struct control *control = signing->operation->control;
	const char *org = json_text(signing->spec, "org");
	const char *text = json_text(control_spec(control, STORE_ORG, org), "key");
	uint8_t key[ED25519_KEY_SIZE];
	char keyid[65];
	if (!*text || !paper_read_key(text, key))
		return ERR_SET(signing->err, ERR_CONFLICT,
			       "%s has no key on record, so its signature cannot be checked and "
			       "grant %s stays one-sided; add its key to orgs in access.yaml",
			       org, signing->id);
	signing->provider =
		dsse_find_signature(&signing->paper.dsse, control->signer.verifier.public_key);
	signing->org = dsse_find_signature(&signing->paper.dsse, key);
	dsse_keyid(key, keyid);
	if (signing->org < 0)
		return ERR_SET(signing->err, ERR_MISMATCH,
			       "grant %s is not signed by the key of %s that is on record (keyid "
			       "%.16s…)",
			       signing->id, org, keyid);
	return ERR_OK;
}

static enum err_code check_dates(struct countersigning *signing)
{
	const char *to = json_text(json_object_get(signing->spec, "valid"), "to");
	int64_t last = 0;
	world_parse_day(bytes_from(to), &last);
	if (last + WORLD_DAY_MS > signing->operation->control->loop->wall_ms)
		return ERR_OK;
	return ERR_SET(signing->err, ERR_CONFLICT, "grant %s ended on %s; it needs a new offer",
		       signing->id, to);
}

/* A tie that was noted since the offer stops what is new, as it does for `apply`. Who the other
 * side is may not be public, and anybody with the organisation's signature is told this. */
static enum err_code check_links(struct countersigning *signing)
{
	const struct control *control = signing->operation->control;
	const json_t *from = control_grant_agreed(signing->document);
	json_t *stopped = control_links_stopped(control);
	if (!stopped)
		return no_memory(signing->err);
	enum err_code code = control_check_grant_links(control, stopped, "countersigning", from,
						       signing->spec, NULL);
	json_decref(stopped);
	if (code != ERR_CONFLICT)
		return code;
	return ERR_SET(signing->err, ERR_CONFLICT,
		       "grant %s does not come into force now: since it was offered a tie of %s to "
		       "another organisation was noted and is not confirmed, and until that is "
		       "settled or lapses nothing new is agreed (`parley org show %s`)",
		       signing->id, json_text(signing->spec, "org"),
		       json_text(signing->spec, "org"));
}

/* The envelope with the two signatures that count; whatever else was in the file is not kept. */
static enum err_code agreed_envelope(struct countersigning *signing, const char *keyid,
				     struct buf *out)
{
	struct dsse *dsse = &signing->paper.dsse;
	struct dsse_signature both[2] = {dsse->signatures[signing->provider],
					 dsse->signatures[signing->org]};
	const char *own = signing->operation->control->signer.keyid;
	snprintf(both[0].keyid, sizeof(both[0].keyid), "%s", own);
	snprintf(both[1].keyid, sizeof(both[1].keyid), "%s", keyid);
	memcpy(dsse->signatures, both, sizeof(both));
	dsse->count = 2;
	return dsse_write(dsse, out, signing->err);
}

static enum err_code agreed_papers(struct countersigning *signing, const char *keyid,
				   struct buf *blob)
{
	struct buf envelope = BUF_INIT(CONTROL_PAPERS_MAX);
	json_t *papers = json_object();
	enum err_code code =
		papers ? agreed_envelope(signing, keyid, &envelope) : no_memory(signing->err);
	if (code == ERR_OK)
		code = control_papers_set(papers, "paper", buf_bytes(&envelope), signing->err);
	if (code == ERR_OK)
		code = control_papers_write(papers, blob, signing->err);
	json_decref(papers);
	buf_release(&envelope);
	return code;
}

static json_t *agreed_outer(const struct countersigning *signing, const char *keyid)
{
	json_t *note = json_copy((json_t *)signing->wanted), *outer = json_object();
	bool good = note && outer && json_set(note, "org", json_string(keyid)) &&
		    json_set(outer, "offer", json_null());
	if (good)
		json_object_del(note, "spec");
	good = good && json_object_set(outer, "paper", note) == 0;
	json_decref(note);
	if (good)
		return outer;
	json_decref(outer);
	return NULL;
}

static enum err_code put_agreed(struct countersigning *signing,
				const struct control_act_request *request)
{
	struct control_operation *operation = signing->operation;
	const char *org = json_text(signing->spec, "org");
	const char *text = json_text(control_spec(operation->control, STORE_ORG, org), "key");
	bool again = was_agreed(signing->document);
	const char *state = again ? control_state_of(signing->document) : "active";
	uint8_t key[ED25519_KEY_SIZE] = {0};
	char keyid[65];
	paper_read_key(text, key);
	dsse_keyid(key, keyid);
	struct buf blob = BUF_INIT(CONTROL_PAPERS_MAX);
	json_t *outer = agreed_outer(signing, keyid);
	struct control_telling telling = {.kind = RECORD_ACT,
					  .act = "grant.countersign",
					  .person = request->person,
					  .reason = request->reason,
					  .before = again ? signing->document : NULL,
					  .outer = outer};
	enum err_code code = outer ? agreed_papers(signing, keyid, &blob) : no_memory(signing->err);
	if (code == ERR_OK)
		code = control_change_add(operation, STORE_GRANT, signing->id, signing->spec, state,
					  &telling, &blob, signing->err);
	if (code == ERR_OK)
		code = answer_grant(operation, signing->id, state, true, signing->err);
	json_decref(outer);
	buf_release(&blob);
	return code;
}

static enum err_code tell_agreed(struct countersigning *signing)
{
	char text[512];
	const json_t *valid = json_object_get(signing->spec, "valid");
	snprintf(text, sizeof(text), "Grant %s is signed by both sides and in force from %s to %s.",
		 signing->id, json_text(valid, "from"), json_text(valid, "to"));
	struct control_notice notice = {.event = NOTICE_GRANT_ACTIVE,
					.org = json_text(signing->spec, "org"),
					.grant = signing->id,
					.text = text};
	return control_notice(signing->operation, &notice, signing->err);
}

static enum err_code countersign(struct countersigning *signing,
				 const struct control_act_request *request)
{
	ERR_TRY(find_version(signing));
	ERR_TRY(check_signatures(signing));
	if (*json_text(signing->wanted, "org"))
		return answer_grant(signing->operation, signing->id,
				    control_state_of(signing->document), false, signing->err);
	ERR_TRY(check_dates(signing));
	ERR_TRY(check_links(signing));
	signing->operation->log = control_log_of_grant(signing->operation->control, signing->id);
	ERR_TRY(put_agreed(signing, request));
	return tell_agreed(signing);
}

enum err_code control_prepare_countersign(struct control_operation *operation, const char *id,
					  const json_t *body,
					  const struct control_act_request *request,
					  struct err *err)
{
	struct countersigning signing = {.operation = operation, .id = id, .err = err};
	struct buf text = BUF_INIT(CONTROL_PAPERS_MAX);
	ERR_TRY(find_grant(operation->control, id, &signing.document, err));
	enum err_code code = json_canonical(body, &text, err);
	if (code == ERR_OK)
		code = paper_open(buf_bytes(&text), "the signed grant", PAPER_GRANT,
				  &operation->control->signer.verifier, &signing.paper, err);
	buf_release(&text);
	ERR_TRY(code);
	code = countersign(&signing, request);
	paper_release(&signing.paper);
	return code;
}
