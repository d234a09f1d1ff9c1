#include "gate/control_signers.h"

#include "base/encode.h"
#include "env/key_file.h"
#include "gate/control_grants.h"
#include "grade/verdict_note.h"

#include <stdio.h>

#define DOCUMENT "gateway"
#define EARLIER_MAX 64

static const struct {
	const char *name, *file, *suffix, *title;
} signers[CONTROL_SIGNERS] = {
	[CONTROL_SIGN_GRANTS] = {"grants",   "grant.key",   PAPER_KEY_SUFFIX,   PAPER_NOTE_TITLE},
	[CONTROL_SIGN_VERDICTS] = {"verdicts", "verdict.key", VERDICT_KEY_SUFFIX,
                                 VERDICT_NOTE_TITLE                                             },
};

enum control_signer control_signer_find(const char *name)
{
	enum control_signer which = 0;
	while (which < CONTROL_SIGNERS && strcmp(signers[which].name, name) != 0)
		which++;
	return which;
}

/* ---- what is on record ---- */

static const json_t *recorded(const struct control *control)
{
	return control_spec(control, STORE_SIGNER, DOCUMENT);
}

static const char *recorded_key(const struct control *control, enum control_signer which)
{
	return json_text(recorded(control), signers[which].name);
}

/* Whether the recorded key is the one at hand, whatever the gateway was called then. */
static bool is_recorded(const struct control *control, enum control_signer which)
{
	struct note_key key;
	const uint8_t *own = control->signers[which].key.public_key;
	return note_key_parse(bytes_from(recorded_key(control, which)), &key, NULL) == ERR_OK &&
	       memcmp(key.public_key, own, ED25519_KEY_SIZE) == 0;
}

/* ---- reading ---- */

static enum err_code name_key(struct control *control, enum control_signer which, struct err *err)
{
	struct control_signing *signing = &control->signers[which];
	char name[NOTE_NAME_MAX + 1];
	uint8_t public_key[ED25519_KEY_SIZE];
	struct buf text = BUF_INIT(sizeof(signing->vkey) - 1);
	if (snprintf(name, sizeof(name), "%s%s", control->config->name, signers[which].suffix) >=
	    (int)sizeof(name))
		return ERR_SET(err, ERR_TOO_LARGE, "name: %s is too long to name a key",
			       control->config->name);
	ed25519_public(signing->private, public_key);
	ERR_TRY(note_key_init(&signing->key, name, public_key, err));
	note_key_format(&signing->key, &text);
	if (!text.failed)
		snprintf(signing->vkey, sizeof(signing->vkey), "%.*s", BYTES_ARG(buf_bytes(&text)));
	bool good = !text.failed;
	buf_release(&text);
	return good ? ERR_OK : ERR_SET(err, ERR_NO_MEMORY, "no memory for a verifier key");
}

static enum err_code refuse_missing(const struct control *control, enum control_signer which,
				    const char *path, struct err *err)
{
	return ERR_SET(err, ERR_CORRUPT,
		       "%s is missing, and its key is on record (%s): restore it from a backup, or "
		       "have another one made and recorded in its place with `parley serve "
		       "--replace-key %s --reason TEXT`",
		       path, recorded_key(control, which), signers[which].name);
}

static enum err_code refuse_other(const struct control *control, enum control_signer which,
				  const char *path, struct err *err)
{
	return ERR_SET(err, ERR_MISMATCH,
		       "%s holds %s, and %s is on record: put the recorded key back from a backup, "
		       "or record this one in its place with `parley serve --replace-key %s "
		       "--reason TEXT`",
		       path, control->signers[which].vkey, recorded_key(control, which),
		       signers[which].name);
}

static enum err_code open_key(struct control *control, enum control_signer which, bool replace,
			      struct err *err)
{
	char path[1024];
	struct control_signing *signing = &control->signers[which];
	bool known = *recorded_key(control, which);
	ERR_TRY(config_data_path(control->config, signers[which].file, path, sizeof(path), err));
	if (replace && !known)
		return ERR_SET(err, ERR_CONFLICT,
			       "--replace-key %s: no key for %s is on record yet; start without it",
			       signers[which].name, signers[which].name);
	if (!env_file_exists(control->env, path)) {
		if (known && !replace)
			return refuse_missing(control, which, path, err);
		ERR_TRY(config_make_key(control->env, path, err));
	}
	ERR_TRY(key_file_read(control->env, path, &signing->private, err));
	ERR_TRY(name_key(control, which, err));
	bool same = is_recorded(control, which);
	if (known && !same && !replace)
		return refuse_other(control, which, path, err);
	if (same && replace)
		return ERR_SET(err, ERR_CONFLICT,
			       "--replace-key %s: %s is the key on record already; to replace it "
			       "move the file away (keep it) and start again, to go on as before "
			       "start without the option",
			       signers[which].name, path);
	return ERR_OK;
}

enum err_code control_signers_open(struct control *control, const struct control_options *options,
				   struct err *err)
{
	control->log_key = options->log_key;
	control->replace_reason = options->replace_reason;
	for (enum control_signer which = 0; which < CONTROL_SIGNERS; which++)
		ERR_TRY(open_key(control, which, options->replace_keys >> which & 1, err));
	ERR_TRY(paper_signer_init(&control->signer, options->config->name,
				  control->signers[CONTROL_SIGN_GRANTS].private, err));
	buf_init(&control->paper_note, NOTE_SIZE_MAX);
	ERR_TRY(control_certify(control, CONTROL_SIGN_GRANTS, &control->paper_note, err));
	buf_append_char(&control->paper_note, '\0');
	control->signer.certificate = control->log_key ? control->paper_note.data : NULL;
	return control->paper_note.failed ? ERR_SET(err, ERR_NO_MEMORY, "no memory for a note")
					  : ERR_OK;
}

enum err_code control_set_log_key(struct control *control, const struct ed25519_private *key,
				  struct err *err)
{
	struct buf note = BUF_INIT(NOTE_SIZE_MAX);
	const struct ed25519_private *before = control->log_key;
	control->log_key = key;
	enum err_code code = control_certify(control, CONTROL_SIGN_GRANTS, &note, err);
	buf_append_char(&note, '\0');
	if (code == ERR_OK && note.failed)
		code = ERR_SET(err, ERR_NO_MEMORY, "no memory for a note");
	if (code != ERR_OK) {
		control->log_key = before;
		buf_release(&note);
		return code;
	}
	buf_release(&control->paper_note);
	control->paper_note = note;
	control->signer.certificate = control->paper_note.data;
	return ERR_OK;
}

void control_signers_close(struct control *control)
{
	for (enum control_signer which = 0; which < CONTROL_SIGNERS; which++)
		ed25519_free(control->signers[which].private);
	buf_release(&control->paper_note);
}

const struct ed25519_private *control_signing_key(const struct control *control,
						  enum control_signer which)
{
	return control->signers[which].private;
}

/* ---- recording ---- */

static bool is_due(const struct control *control, enum control_signer which)
{
	return strcmp(recorded_key(control, which), control->signers[which].vkey) != 0;
}

/* The key that was on record joins the earlier ones, of which the oldest is forgotten at last. */
static bool note_earlier(const struct control *control, json_t *spec, enum control_signer which)
{
	json_t *earlier = json_object_get(spec, "earlier");
	if (!*recorded_key(control, which))
		return true;
	if (json_array_size(earlier) >= EARLIER_MAX)
		json_array_remove(earlier, 0);
	return json_array_append_new(earlier, json_string(recorded_key(control, which))) == 0;
}

static json_t *spec_now(const struct control *control, bool *replaced)
{
	json_t *spec = json_pack("{s:s, s:o}", "id", DOCUMENT, "earlier",
				 json_deep_copy(json_object_get(recorded(control), "earlier")));
	if (!spec && (spec = json_pack("{s:s}", "id", DOCUMENT)) &&
	    json_object_set_new(spec, "earlier", json_array())) {
		json_decref(spec);
		return NULL;
	}
	bool good = spec != NULL;
	for (enum control_signer which = 0; good && which < CONTROL_SIGNERS; which++) {
		good = json_set(spec, signers[which].name,
				json_string(control->signers[which].vkey));
		if (!good || !is_due(control, which))
			continue;
		*replaced = *replaced ||
			    (*recorded_key(control, which) && !is_recorded(control, which));
		good = note_earlier(control, spec, which);
	}
	if (good)
		return spec;
	json_decref(spec);
	return NULL;
}

enum err_code control_signers_due(struct control_operation *operation, struct err *err)
{
	struct control *control = operation->control;
	bool due = false, replaced = false;
	/* A world in memory has forgotten everything at the next start. */
	for (enum control_signer which = 0; control->keeps_files && which < CONTROL_SIGNERS;
	     which++)
		due = due || is_due(control, which);
	if (!due)
		return ERR_OK;
	json_t *spec = spec_now(control, &replaced);
	json_t *detail =
		json_pack("{s:s, s:s}", "grants", control->signers[CONTROL_SIGN_GRANTS].vkey,
			  "verdicts", control->signers[CONTROL_SIGN_VERDICTS].vkey);
	struct control_telling telling = {.kind = RECORD_ACT,
					  .act = replaced ? "keys.replace" : "keys.record",
					  .person = replaced ? "operator" : "gateway",
					  .reason = replaced ? control->replace_reason : NULL,
					  .detail = detail};
	operation->quiet = true; /* no decision rests on it */
	enum err_code code = spec && detail
				     ? control_change_add(operation, STORE_SIGNER, DOCUMENT, spec,
							  "active", &telling, NULL, err)
				     : ERR_SET(err, ERR_NO_MEMORY, "no memory to record the keys");
	json_decref(spec);
	json_decref(detail);
	/* Terms have their address by the key that issues them. */
	json_t *terms = (json_t *)control_spec(control, STORE_TERMS, CONTROL_TERMS_ID);
	if (code == ERR_OK && replaced && terms)
		code = control_terms_keep(operation, terms, err);
	return code;
}

/* ---- vouching ---- */

static enum err_code vouch(const struct control *control, const char *title, const char *vkey,
			   struct buf *out, struct err *err)
{
	struct note_key ours;
	uint8_t public_key[ED25519_KEY_SIZE];
	struct buf text = BUF_INIT(4096);
	if (!control->log_key)
		return ERR_OK;
	ed25519_public(control->log_key, public_key);
	ERR_TRY(note_key_init(&ours, control->config->name, public_key, err));
	buf_printf(&text, "%s\n%s\n", title, vkey);
	enum err_code code =
		text.failed ? ERR_SET(err, ERR_NO_MEMORY, "out of memory")
			    : note_sign(buf_bytes(&text), &ours, control->log_key, out, err);
	buf_release(&text);
	return code;
}

enum err_code control_certify(const struct control *control, enum control_signer which,
			      struct buf *out, struct err *err)
{
	return vouch(control, signers[which].title, control->signers[which].vkey, out, err);
}

static bool has_keyid(const char *vkey, const char *keyid)
{
	struct note_key key;
	char text[65];
	if (note_key_parse(bytes_from(vkey), &key, NULL) != ERR_OK)
		return false;
	dsse_keyid(key.public_key, text);
	return strcmp(text, keyid) == 0;
}

enum err_code control_signers_vouch(const struct control *control, const char *keyid,
				    struct buf *out, struct err *err)
{
	size_t index;
	json_t *vkey;
	if (strcmp(control->signer.keyid, keyid) == 0)
		return control_certify(control, CONTROL_SIGN_GRANTS, out, err);
	json_array_foreach(json_object_get(recorded(control), "earlier"), index, vkey)
	{
		const char *text = json_string_value(vkey);
		/* A key for verdicts has signed no paper. */
		if (text && has_keyid(text, keyid))
			return vouch(control, PAPER_NOTE_TITLE, text, out, err);
	}
	return ERR_OK;
}
