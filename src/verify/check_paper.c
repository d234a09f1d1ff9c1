/* Papers of a gateway's: grants, terms, statuses, notices and statements (docs/formats/grant.md),
 * as an envelope or as the file that `parley statement --json` writes. */
#include "verify/audit.h"
#include "verify/paper_file.h"

#include "base/encode.h"
#include "base/json.h"
#include "ledger/paper.h"

#define FILE_MAX (2 * PAPER_SIZE_MAX)

struct checking {
	const struct verify_keys *reader;
	struct verify_report *report;
	json_t *envelope; /* borrowed */
	struct paper paper;
	enum paper_kind kind;
	struct err *err;
};

/* ---- whose it is ---- */

/* A key for papers that the reader gave itself. */
static const struct note_key *find_issuer(const struct checking *checking)
{
	const struct verify_keys *reader = checking->reader;
	for (size_t i = 0; i < reader->log_count; i++)
		if (memcmp(reader->logs[i].public_key, checking->paper.issuer.public_key,
			   ED25519_KEY_SIZE) == 0)
			return &reader->logs[i];
	return NULL;
}

/* The first of the reader's keys of the log that the paper calls its issuer's; it has to hold. */
static enum err_code find_log(const struct checking *checking, const struct note_key **out)
{
	const char *name = json_text(json_object_get(checking->paper.body, "issuer"), "name");
	struct err first = ERR_INIT;
	size_t at = 0;
	*out = NULL;
	const struct note_key *key;
	while ((key = verify_keys_next(checking->reader, name, &at)) != NULL) {
		struct err err = ERR_INIT;
		enum err_code code =
			paper_check_certificate(&checking->paper, key, "the paper", &err);
		if (code == ERR_OK) {
			*out = key;
			return ERR_OK;
		}
		if (first.code == ERR_OK)
			first = err;
	}
	if (first.code == ERR_OK)
		return ERR_OK;
	*checking->err = first;
	return first.code;
}

static enum err_code conclude(const struct checking *checking, const char *what)
{
	struct verify_report *report = checking->report;
	const struct note_key *issuer = find_issuer(checking), *log = NULL;
	if (!issuer)
		ERR_TRY(find_log(checking, &log));
	if (!issuer && !log) {
		report_verdict(
			report, VERIFY_SELF_CERTIFIED,
			"CONSISTENT, SELF-CERTIFIED: by an issuer that calls itself %s; give "
			"its log's key, or its key for papers, from a source that you trust, "
			"with --key",
			checking->paper.issuer.name);
		report_note(report, VERIFY_UNCHECKED, "whose key %s is",
			    checking->paper.issuer.name);
		return ERR_OK;
	}
	report_verdict(report, VERIFY_VOUCHED, "VOUCHED by %s; %s", (issuer ? issuer : log)->name,
		       what);
	if (log)
		report_note(report, VERIFY_CHECKED,
			    "the log %s vouches for the key %s that signed it", log->name,
			    checking->paper.issuer.name);
	report_note(report, VERIFY_TRUSTED, "%s, whose key you gave",
		    (issuer ? issuer : log)->name);
	return ERR_OK;
}

/* ---- a grant's other parts ---- */

static enum err_code check_org(const struct checking *checking)
{
	const json_t *body = checking->paper.body, *org = json_object_get(body, "org");
	uint8_t key[ED25519_KEY_SIZE];
	if (!json_is_true(json_object_get(body, "countersign"))) {
		report_note(checking->report, VERIFY_CHECKED,
			    "it is one-sided: %s has no key on record", json_text(org, "id"));
		return ERR_OK;
	}
	if (!paper_read_key(json_text(org, "key"), key))
		return ERR_SET(checking->err, ERR_INVALID, "org.key is no key");
	if (dsse_signed_by(&checking->paper.dsse, key))
		report_note(checking->report, VERIFY_CHECKED, "%s has signed it",
			    json_text(org, "id"));
	else if (checking->paper.dsse.count > 1)
		return ERR_SET(checking->err, ERR_MISMATCH,
			       "its second signature is not by the key of %s that it names",
			       json_text(org, "id"));
	else
		report_note(checking->report, VERIFY_UNCHECKED,
			    "%s has not signed this copy: it is an offer", json_text(org, "id"));
	return ERR_OK;
}

static enum err_code check_terms(const struct checking *checking)
{
	const json_t *beside = json_object_get(checking->envelope, "terms");
	const char *wanted = json_text(json_object_get(checking->paper.body, "terms"), "sha256");
	struct buf text = BUF_INIT(FILE_MAX);
	struct paper terms;
	char hex[2 * SHA256_SIZE + 1];
	if (!*wanted)
		return ERR_OK;
	if (!beside) {
		report_note(checking->report, VERIFY_UNCHECKED,
			    "the terms that it names are not in the file");
		return ERR_OK;
	}
	enum err_code code = json_canonical(beside, &text, checking->err);
	if (code == ERR_OK)
		code = paper_open(buf_bytes(&text), "the terms", PAPER_TERMS, NULL, &terms,
				  checking->err);
	buf_release(&text);
	ERR_TRY(code);
	hex_encode(terms.digest, SHA256_SIZE, hex);
	paper_release(&terms);
	if (strcmp(hex, wanted) != 0)
		return ERR_SET(checking->err, ERR_MISMATCH,
			       "the terms beside the grant are not those that it names");
	report_note(checking->report, VERIFY_CHECKED,
		    "the terms beside it are those that it names");
	return ERR_OK;
}

static enum err_code check_grant(const struct checking *checking)
{
	ERR_TRY(check_org(checking));
	return check_terms(checking);
}

/* ---- the whole ---- */

static const struct {
	const char *what;  /* printed with the paper's subject */
	const char *outer; /* member that holds the subject's object, or NULL */
	const char *inner;
	enum err_code (*check)(const struct checking *checking);
} papers[PAPER_KINDS] = {
	[PAPER_TERMS] = {"terms",           NULL,    "version", NULL       },
	[PAPER_GRANT] = {"grant",           "grant", "id",      check_grant},
	[PAPER_STATUS] = {"status of grant", NULL,    "grant",   NULL       },
	[PAPER_NOTICE] = {"notice",          NULL,    "id",      NULL       },
	[PAPER_STATEMENT] = {"statement of",    NULL,    "month",   NULL       },
};

static enum err_code check(struct checking *checking)
{
	char what[200];
	struct verify_report *report = checking->report;
	const json_t *body = checking->paper.body;
	const json_t *place = papers[checking->kind].outer
				      ? json_object_get(body, papers[checking->kind].outer)
				      : body;
	snprintf(what, sizeof(what), "%s %.150s", papers[checking->kind].what,
		 json_text(place, papers[checking->kind].inner));
	report_note(report, VERIFY_CHECKED, "the signature of %s over the %s holds",
		    checking->paper.issuer.name, what);
	if (papers[checking->kind].check)
		ERR_TRY(papers[checking->kind].check(checking));
	return conclude(checking, what);
}

static enum err_code check_envelope(struct checking *checking)
{
	struct buf text = BUF_INIT(FILE_MAX);
	const char *type = json_text(checking->envelope, "payloadType");
	while (checking->kind < PAPER_KINDS && strcmp(paper_type(checking->kind), type) != 0)
		checking->kind++;
	if (checking->kind == PAPER_KINDS)
		return ERR_SET(checking->err, ERR_UNSUPPORTED,
			       "no paper has the payloadType %.100s", type);
	enum err_code code = json_canonical(checking->envelope, &text, checking->err);
	if (code == ERR_OK)
		code = paper_open(buf_bytes(&text), "the paper", checking->kind, NULL,
				  &checking->paper, checking->err);
	buf_release(&text);
	ERR_TRY(code);
	code = check(checking);
	paper_release(&checking->paper);
	return code;
}

bool is_paper(struct env *env, const char *path)
{
	struct buf text = BUF_INIT(FILE_MAX);
	bool is = env_read_file(env, path, &text, NULL) == ERR_OK && text.size > 0 &&
		  text.data[0] == '{' && memmem(text.data, text.size, "\"payloadType\"", 13) &&
		  memmem(text.data, text.size, "application/vnd.parley.", 23);
	buf_release(&text);
	return is;
}

enum err_code check_paper(struct env *env, const char *path, const struct verify_options *options,
			  struct verify_report *report, struct err *err)
{
	struct verify_keys reader;
	struct buf text = BUF_INIT(FILE_MAX);
	json_t *tree = NULL;
	report->subject = "paper";
	enum err_code code = verify_keys_read(env, options->keys, options->key_count, &reader, err);
	if (code == ERR_OK)
		code = env_read_file(env, path, &text, err);
	if (code == ERR_OK) {
		code = json_parse(buf_bytes(&text), path, &tree, err);
		json_t *inner = json_object_get(tree, "envelope");
		struct checking checking = {.reader = &reader,
					    .report = report,
					    .envelope = inner ? inner : tree,
					    .err = err};
		if (code == ERR_OK)
			code = check_envelope(&checking);
		if (code != ERR_OK)
			code = report_failure(report, err);
	}
	json_decref(tree);
	buf_release(&text);
	verify_keys_release(&reader);
	return code;
}
