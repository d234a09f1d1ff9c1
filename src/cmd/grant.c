/* parley grant offer|sign: the papers of grants. `sign` needs no gateway: it is what the other side
 * runs, on a file. */
#include "cmd/grant.h"

#include "cmd/admin_body.h"
#include "cmd/admin_client.h"
#include "ledger/paper.h"

#include "base/encode.h"

#include <stdlib.h>

#define FILE_MAX ((size_t)16 << 20)

/* ---- files ---- */

static enum err_code read_text(const char *path, struct buf *out, struct err *err)
{
	struct env *env = env_os_new(1);
	if (!env)
		return ERR_SET(err, ERR_NO_MEMORY, "out of memory");
	enum err_code code = env_read_file(env, path, out, err);
	env_os_free(env);
	return code == ERR_OK ? ERR_OK : err_to_usage(err);
}

static enum err_code write_text(const char *path, struct bytes text, struct err *err)
{
	if (!path) {
		fwrite(text.data, 1, text.size, stdout);
		return ERR_OK;
	}
	struct env *env = env_os_new(1);
	if (!env)
		return ERR_SET(err, ERR_NO_MEMORY, "out of memory");
	enum err_code code = env_write_file(env, path, text, 0644, err);
	env_os_free(env);
	return code;
}

/* ---- offer ---- */

struct offering {
	const char *config, *file, *output, *countersigned, *reason;
	bool json;
};

static enum err_code call(const struct offering *offering, const char *method, const char *target,
			  const json_t *body, json_t **out, struct err *err)
{
	struct admin_answer answer;
	enum err_code code = admin_client_ask(offering->config, method, target, body, &answer, err);
	if (code == ERR_OK)
		*out = json_incref(answer.body);
	json_decref(answer.body);
	return code;
}

/* What `parley apply FILE` does, so that a grant can be offered from its file at once. */
static enum err_code apply_first(const struct offering *offering, struct err *err)
{
	struct buf text = BUF_INIT(FILE_MAX);
	json_t *answer = NULL;
	ERR_TRY(read_text(offering->file, &text, err));
	json_t *body =
		json_pack("{s:s, s:s%}", "file", offering->file, "text", text.data, text.size);
	buf_release(&text);
	if (!body)
		return ERR_SET(err, ERR_INVALID, "%s is not UTF-8", offering->file);
	enum err_code code = call(offering, "POST", "/admin/v1/apply", body, &answer, err);
	const char *difference = json_string_value(json_object_get(answer, "text"));
	if (code == ERR_OK && difference)
		fputs(difference, stderr);
	json_decref(body);
	json_decref(answer);
	return code;
}

static enum err_code print_offer(const struct offering *offering, const char *grant,
				 struct err *err)
{
	char target[1024];
	json_t *answer = NULL;
	json_t *body = json_object();
	if (offering->file)
		ERR_TRY(apply_first(offering, err));
	if (offering->reason)
		json_object_set_new(body, "reason", json_string(offering->reason));
	snprintf(target, sizeof(target), "/admin/v1/grants/%s/offer", grant);
	enum err_code code = call(offering, "POST", target, body, &answer, err);
	json_decref(body);
	json_decref(answer);
	answer = NULL;
	if (code == ERR_OK)
		code = call(offering, "GET", target, NULL, &answer, err);
	if (code != ERR_OK)
		return code;
	struct buf text = BUF_INIT(FILE_MAX);
	code = json_canonical(answer, &text, err);
	buf_append_char(&text, '\n');
	if (code == ERR_OK && text.failed)
		code = ERR_SET(err, ERR_NO_MEMORY, "out of memory");
	if (code == ERR_OK)
		code = write_text(offering->output, buf_bytes(&text), err);
	if (code == ERR_OK && offering->output)
		fprintf(stderr,
			"Wrote %s: hand it to the organisation, which reads and signs it "
			"with `parley grant sign`.\n",
			offering->output);
	buf_release(&text);
	json_decref(answer);
	return code;
}

static enum err_code take_back(const struct offering *offering, const char *grant, struct err *err)
{
	struct buf text = BUF_INIT(FILE_MAX);
	char target[1024];
	json_t *body, *answer = NULL;
	enum err_code code = read_text(offering->countersigned, &text, err);
	if (code == ERR_OK)
		code = json_parse(buf_bytes(&text), offering->countersigned, &body, err);
	buf_release(&text);
	if (code != ERR_OK)
		return err_to_usage(err);
	snprintf(target, sizeof(target), "/admin/v1/grants/%s/countersign", grant);
	code = call(offering, "POST", target, body, &answer, err);
	json_decref(body);
	if (code != ERR_OK)
		return code;
	const char *state = json_string_value(json_object_get(answer, "state"));
	if (offering->json)
		cli_print_json(answer);
	else
		printf("grant %s is %s%s\n", grant, state ? state : "?",
		       json_is_true(json_object_get(answer, "changed")) ? ", signed by both sides"
									: " as before");
	json_decref(answer);
	return code;
}

int grant_offer(int argc, char **argv)
{
	struct offering offering = {.config = "parley.yaml"};
	const struct cli_option options[] = {
		{"config",        'c', CLI_TEXT, &offering.config, "FILE",
		 "the gateway's configuration (./parley.yaml)", 0, 0},
		{"file",       'f', CLI_TEXT, &offering.file, "ACCESS.yaml",
		 "apply this file first, as `parley apply` does", 0, 0},
		{"output",         'o', CLI_TEXT, &offering.output, "FILE", "where the signed grant goes",
		 0, 0},
		{"countersigned",              0, CLI_TEXT, &offering.countersigned, "FILE",
		 "take back the grant with the organisation's signature: it comes into force", 0,
		 0},
		{"reason",               0, CLI_TEXT, &offering.reason, "TEXT", "why; it goes on record", 0, 0},
		{"json",      0, CLI_FLAG, &offering.json, NULL, "the gateway's answer as JSON", 0, 0},
		{0},
	};
	const struct cli_command command = {
		"grant offer",
		"GRANT [-f ACCESS.yaml] [-o FILE] | GRANT --countersigned FILE",
		GRANT_OFFER_HELP "\nThe file is a DSSE envelope (docs/formats/grant.md) with the "
				 "terms beside it.",
		options,
		1,
		1};
	struct cli_arguments arguments;
	struct err err = ERR_INIT;
	int status = cli_parse(&command, argc, argv, &arguments);
	if (status >= 0)
		return status;
	const char *grant = arguments.positional[0];
	if (!admin_is_id(grant))
		return cli_usage("grant offer",
				 "\"%s\" is not a grant's id; give a file with -f FILE or "
				 "--countersigned FILE",
				 grant);
	if (offering.countersigned && (offering.file || offering.output))
		return cli_usage("grant offer", "--countersigned stands alone");
	enum err_code code = offering.countersigned ? take_back(&offering, grant, &err)
						    : print_offer(&offering, grant, &err);
	return code == ERR_OK ? 0 : cli_fail(&err);
}

/* ---- what a grant says ---- */

static void show_value(FILE *out, const json_t *value)
{
	const char *key;
	json_t *item;
	size_t index;
	bool first = true;
	if (json_is_string(value)) {
		cli_print_safe(out, bytes_from(json_string_value(value)));
	} else if (json_is_array(value)) {
		json_array_foreach(value, index, item)
		{
			fputs(index ? ", " : "", out);
			show_value(out, item);
		}
	} else if (json_is_object(value)) {
		json_object_foreach((json_t *)value, key, item)
		{
			fprintf(out, "%s%s ", first ? "" : ", ", key);
			show_value(out, item);
			first = false;
		}
	} else {
		struct buf text = BUF_INIT(256);
		if (json_canonical(value, &text, NULL) == ERR_OK)
			cli_print_safe(out, buf_bytes(&text));
		buf_release(&text);
	}
}

static void show_member(FILE *out, const char *name, const json_t *value)
{
	if (!value)
		return;
	fprintf(out, "  %-16s ", name);
	show_value(out, value);
	fputc('\n', out);
}

static void show_grant(FILE *out, const json_t *grant)
{
	static const char *const order[] = {"team",   "purposes", "models", "release",
					    "suites", "limits",   "valid",  NULL};
	const char *key;
	json_t *value;
	for (const char *const *name = order; *name; name++)
		show_member(out, *name, json_object_get(grant, *name));
	json_object_foreach((json_t *)grant, key, value)
	{
		bool shown = strcmp(key, "id") == 0 || strcmp(key, "org") == 0;
		for (const char *const *name = order; *name; name++)
			shown = shown || strcmp(*name, key) == 0;
		if (!shown)
			show_member(out, key, value);
	}
}

static bool has_text(const json_t *array, const char *text)
{
	size_t index;
	json_t *item;
	json_array_foreach(array, index, item)
	{
		if (json_is_string(item) && strcmp(json_string_value(item), text) == 0)
			return true;
	}
	return false;
}

static void show_clauses(FILE *out, const json_t *terms, const json_t *overrides)
{
	size_t index;
	json_t *clause;
	json_array_foreach(json_object_get(terms, "clauses"), index, clause)
	{
		const char *id = json_string_value(json_object_get(clause, "id"));
		fputs("    ", out);
		show_value(out, json_object_get(clause, "id"));
		fputs(", ", out);
		show_value(out, json_object_get(clause, "kind"));
		fputs(id && has_text(overrides, id) ? " (overridden by this grant): " : ": ", out);
		show_value(out, json_object_get(clause, "text"));
		fputc('\n', out);
	}
}

/* ---- sign ---- */

struct signing {
	const char *file, *key, *provider, *log, *output, *gateway;
	bool json;
	struct paper paper, terms;
	bool has_terms;
	json_t *envelope;
	struct ed25519_private *private;
	bool signed_before;
};

static const json_t *member(const json_t *object, const char *outer, const char *inner)
{
	return json_object_get(json_object_get(object, outer), inner);
}

static const char *text_of(const json_t *value)
{
	return json_is_string(value) ? json_string_value(value) : "";
}

/* The terms beside the envelope must be those that the grant names. */
static enum err_code open_terms(struct signing *signing, struct err *err)
{
	const char *wanted = text_of(member(signing->paper.body, "terms", "sha256"));
	json_t *beside = json_object_get(signing->envelope, "terms");
	struct buf text = BUF_INIT(FILE_MAX);
	char hex[2 * SHA256_SIZE + 1];
	if (!*wanted || !beside)
		return ERR_OK;
	enum err_code code = json_canonical(beside, &text, err);
	if (code == ERR_OK)
		code = paper_open(buf_bytes(&text), "the terms", PAPER_TERMS,
				  &signing->paper.issuer, &signing->terms, err);
	buf_release(&text);
	ERR_TRY(code);
	signing->has_terms = true;
	hex_encode(signing->terms.digest, SHA256_SIZE, hex);
	if (strcmp(hex, wanted) != 0)
		return ERR_SET(
			err, ERR_MISMATCH,
			"%s: the terms beside the grant are not those that it names (%.16s…)",
			signing->file, wanted);
	return ERR_OK;
}

static enum err_code open_file(struct signing *signing, struct err *err)
{
	struct buf text = BUF_INIT(FILE_MAX);
	struct note_key trusted, log;
	if (signing->provider)
		ERR_TRY(note_key_parse(bytes_from(signing->provider), &trusted, err));
	if (signing->log)
		ERR_TRY(note_key_parse(bytes_from(signing->log), &log, err));
	enum err_code code = read_text(signing->file, &text, err);
	if (code == ERR_OK &&
	    json_parse(buf_bytes(&text), signing->file, &signing->envelope, err) != ERR_OK)
		code = err_to_usage(err);
	if (code == ERR_OK)
		code = paper_open(buf_bytes(&text), signing->file, PAPER_GRANT,
				  signing->provider ? &trusted : NULL, &signing->paper, err);
	if (code == ERR_OK && signing->log)
		code = paper_check_certificate(&signing->paper, &log, signing->file, err);
	buf_release(&text);
	ERR_TRY(code);
	uint8_t key[ED25519_KEY_SIZE];
	signing->signed_before =
		paper_read_key(text_of(member(signing->paper.body, "org", "key")), key) &&
		dsse_signed_by(&signing->paper.dsse, key);
	return open_terms(signing, err);
}

static void show_summary(const struct signing *signing, FILE *out)
{
	const json_t *body = signing->paper.body, *grant = json_object_get(body, "grant");
	fputs("Grant ", out);
	show_value(out, json_object_get(grant, "id"));
	fputs(" of ", out);
	show_value(out, member(body, "issuer", "name"));
	fputs(" to ", out);
	show_value(out, member(body, "org", "id"));
	fputc('\n', out);
	show_member(out, "issued", json_object_get(body, "issued"));
	show_member(out, "issuer's key", member(body, "issuer", "key"));
	show_member(out, "your key", member(body, "org", "key"));
	show_grant(out, grant);
	show_member(out, "terms", member(body, "terms", "version"));
	if (signing->has_terms)
		show_clauses(out, signing->terms.body, json_object_get(grant, "overrides"));
	else if (json_object_get(body, "terms"))
		fputs("    (their text is not in this file: ask for it before you sign)\n", out);
	if (json_object_get(body, "replaces"))
		fputs("  It replaces an earlier version, which stays in force until this one is "
		      "signed.\n",
		      out);
	fprintf(out, "The provider's signature holds%s. The organisation has %s.\n",
		signing->provider ? ", by the key you named"
		: signing->log    ? ", by a key that the log you named vouches for"
			       : ", by the key in the file: compare it with the one you were told",
		signing->signed_before ? "signed"
		: json_is_true(json_object_get(body, "countersign"))
			? "not signed yet"
			: "nothing to sign: it is one-sided");
}

static enum err_code load_key(struct signing *signing, struct err *err)
{
	struct buf pem = BUF_INIT(65536);
	enum err_code code = read_text(signing->key, &pem, err);
	if (code == ERR_OK) {
		code = ed25519_from_pem(buf_bytes(&pem), &signing->private, err);
		if (code != ERR_OK)
			err_prefix(err, "%s", signing->key);
	}
	if (code != ERR_OK)
		code = err_to_usage(err);
	if (pem.data)
		explicit_bzero(pem.data, pem.size);
	buf_release(&pem);
	return code;
}

static enum err_code check_key(const struct signing *signing, struct err *err)
{
	uint8_t expected[ED25519_KEY_SIZE], own[ED25519_KEY_SIZE];
	const char *text = text_of(member(signing->paper.body, "org", "key"));
	if (!json_is_true(json_object_get(signing->paper.body, "countersign")))
		return ERR_SET(err, ERR_CONFLICT,
			       "%s: this grant is one-sided: the provider has no key of yours on "
			       "record; send it your public key first",
			       signing->file);
	ed25519_public(signing->private, own);
	if (!paper_read_key(text, expected) || memcmp(own, expected, sizeof(own)) != 0)
		return ERR_SET(err, ERR_MISMATCH,
			       "%s: this is not the key that the grant is offered to (%s); name "
			       "that one, or have the provider record yours",
			       signing->key, text);
	return ERR_OK;
}

static enum err_code hand_back(const struct signing *signing, struct bytes envelope,
			       struct err *err)
{
	char target[1024];
	struct admin_answer answer;
	json_t *body;
	const char *grant = text_of(member(signing->paper.body, "grant", "id"));
	if (!admin_is_id(grant))
		return ERR_SET(err, ERR_INVALID, "%s: the grant's id cannot stand in a URL",
			       signing->file);
	ERR_TRY(json_parse(envelope, "the signed grant", &body, err));
	snprintf(target, sizeof(target), "/parley/v1/grants/%s/countersign", grant);
	enum err_code code =
		admin_client_call_url(signing->gateway, "POST", target, body, &answer, err);
	if (code == ERR_OK)
		code = admin_client_check(&answer, err);
	if (code == ERR_OK)
		fprintf(stderr, "%s has it: the grant is %s.\n", signing->gateway,
			text_of(json_object_get(answer.body, "state")));
	json_decref(answer.body);
	json_decref(body);
	return code;
}

/* With what stood beside the envelope: terms and certificate. */
static enum err_code write_signed(const struct signing *signing, struct buf *out, struct err *err)
{
	static const char *const kept[] = {"certificate", "terms", NULL};
	struct buf text = BUF_INIT(FILE_MAX);
	json_t *tree = NULL;
	enum err_code code = dsse_write(&signing->paper.dsse, &text, err);
	if (code == ERR_OK)
		code = json_parse(buf_bytes(&text), "the signed grant", &tree, err);
	for (const char *const *name = kept; code == ERR_OK && *name; name++) {
		json_t *value = json_object_get(signing->envelope, *name);
		if (value && json_object_set(tree, *name, value))
			code = ERR_SET(err, ERR_NO_MEMORY, "out of memory");
	}
	if (code == ERR_OK)
		code = json_canonical(tree, out, err);
	if (code == ERR_OK && out->failed)
		code = ERR_SET(err, ERR_NO_MEMORY, "out of memory");
	buf_release(&text);
	json_decref(tree);
	return code;
}

static enum err_code add_signature(struct signing *signing, struct err *err)
{
	struct buf out = BUF_INIT(FILE_MAX);
	ERR_TRY(load_key(signing, err));
	ERR_TRY(check_key(signing, err));
	if (!signing->signed_before)
		ERR_TRY(dsse_add_signature(&signing->paper.dsse, signing->private, err));
	enum err_code code = write_signed(signing, &out, err);
	if (code == ERR_OK && (signing->output || !signing->gateway))
		code = write_text(signing->output, buf_bytes(&out), err);
	if (code == ERR_OK && signing->output)
		fprintf(stderr, "Wrote %s: give it back to the provider%s.\n", signing->output,
			signing->gateway ? ", which has it if nothing else is said" : "");
	if (code == ERR_OK && signing->gateway)
		code = hand_back(signing, buf_bytes(&out), err);
	buf_release(&out);
	return code;
}

static void show_json(const struct signing *signing)
{
	json_t *shown = json_pack("{s:O, s:b, s:b}", "grant", signing->paper.body, "countersigned",
				  signing->signed_before || signing->private, "issuer_named",
				  signing->provider || signing->log);
	if (signing->has_terms)
		json_object_set(shown, "terms", signing->terms.body);
	cli_print_json(shown);
	json_decref(shown);
}

static enum err_code sign(struct signing *signing, struct err *err)
{
	/* The envelope goes to stdout where no file is named: then people read on stderr. */
	bool envelope_out = signing->key && !signing->output && !signing->gateway;
	ERR_TRY(open_file(signing, err));
	if (!signing->json)
		show_summary(signing, envelope_out ? stderr : stdout);
	if (signing->key)
		ERR_TRY(add_signature(signing, err));
	if (signing->json && !envelope_out)
		show_json(signing);
	return ERR_OK;
}

int grant_sign(int argc, char **argv)
{
	struct signing signing = {0};
	const struct cli_option options[] = {
		{"key",              'k', CLI_TEXT, &signing.key, "ORGKEY",
		 "the organisation's private key (PKCS#8 PEM); without it the grant is only shown", 0, 0},
		{"provider",          'p', CLI_TEXT, &signing.provider, "VKEY",
		 "the provider's key for grants, as you were told it", 0, 0},
		{"log-key",          'l', CLI_TEXT, &signing.log, "VKEY",
		 "the key of the provider's log, as you were told it: it has to vouch for the key "
		 "that signed the grant", 0, 0},
		{"output",                 'o', CLI_TEXT, &signing.output, "FILE",
		 "where the signed grant goes (stdout)", 0, 0},
		{"gateway",                  'g', CLI_TEXT, &signing.gateway, "URL",
		 "hand it back to the provider's gateway there", 0, 0},
		{"json",      0, CLI_FLAG, &signing.json, NULL, "what it says as JSON", 0, 0},
		{0},
	};
	const struct cli_command command = {
		"grant sign",
		"FILE [--key ORGKEY] [--provider VKEY | --log-key VKEY] [-o FILE] [--gateway URL]",
		GRANT_SIGN_HELP "\nIt needs no gateway. Without --key nothing is signed.",
		options,
		1,
		1};
	struct cli_arguments arguments;
	struct err err = ERR_INIT;
	int status = cli_parse(&command, argc, argv, &arguments);
	if (status >= 0)
		return status;
	signing.file = arguments.positional[0];
	if (!signing.key && (signing.output || signing.gateway))
		return cli_usage("grant sign", "nothing is signed without --key");
	status = sign(&signing, &err) == ERR_OK ? 0 : cli_fail(&err);
	paper_release(&signing.paper);
	paper_release(&signing.terms);
	json_decref(signing.envelope);
	ed25519_free(signing.private);
	return status;
}
