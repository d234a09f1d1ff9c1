/* A bundle, from its manifest to its headline. */
#include "verify/audit.h"

#include <stdlib.h>

#define ARENA_BLOCK ((size_t)16 << 10)
#define ARENA_MAX ((size_t)1 << 30)

/* A reader who gives the evaluator's key wants the statement signed with it. */
static enum err_code check_signature(struct audit *audit, struct err *err)
{
	const struct dsse *envelope = &audit->bundle.envelope;
	for (size_t i = 0; i < audit->reader.evaluator_count; i++)
		if (dsse_signed_by(envelope, audit->reader.evaluators[i])) {
			report_note(
				audit->report, VERIFY_TRUSTED,
				"the evaluator, whose key you gave and who signed the statement");
			return ERR_OK;
		}
	if (audit->reader.evaluator_count > 0)
		return ERR_SET(err, ERR_MISMATCH,
			       "%s: it is not signed with the evaluator's key that you gave",
			       BUNDLE_STATEMENT);
	if (envelope->count == 0)
		report_note(audit->report, VERIFY_UNCHECKED, "the statement is not signed");
	else
		report_note(audit->report, VERIFY_UNCHECKED,
			    "the statement is signed with a key that you did not give (%.16s…)",
			    envelope->signatures[0].keyid);
	return ERR_OK;
}

static enum err_code run_checks(struct audit *audit, struct err *err)
{
	ERR_TRY(bundle_open(audit->env, audit->directory, &audit->bundle, err));
	ERR_TRY(check_signature(audit, err));
	ERR_TRY(audit_load(audit, err));
	ERR_TRY(receipts_open(&audit->receipts, audit->env, audit->directory,
			      json_object_get(audit->bundle.manifest, "files"), &audit->reader,
			      &audit->own, err));
	ERR_TRY(audit_attempts(audit, err));
	ERR_TRY(audit_commitments(audit, err));
	ERR_TRY(grants_check(audit, err));
	ERR_TRY(audit_scores(audit, err));
	ERR_TRY(audit_results(audit, err));
	return withheld_finish(audit, err);
}

enum err_code check_bundle(struct env *env, const char *directory,
			   const struct verify_options *options, struct verify_report *report,
			   struct err *err)
{
	struct audit *audit = calloc(1, sizeof(*audit));
	if (!audit)
		return ERR_SET(err, ERR_NO_MEMORY, "out of memory for the bundle");
	report->subject = "bundle";
	audit->env = env;
	audit->directory = directory;
	audit->options = options;
	audit->report = report;
	plan_init(&audit->plan);
	arena_init(&audit->arena, ARENA_BLOCK, ARENA_MAX);
	enum err_code code =
		verify_keys_read(env, options->keys, options->key_count, &audit->reader, err);
	if (code == ERR_OK && options->policy)
		code = verify_keys_policy(env, options->policy, &audit->reader, err);
	if (code == ERR_OK) {
		code = run_checks(audit, err);
		if (code == ERR_OK)
			audit_conclude(audit);
		else
			code = report_failure(report, err);
	}
	audit_release(audit);
	free(audit);
	return code;
}
