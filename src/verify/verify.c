/* What stands at a path, and who checks it. */
#include "verify/verify.h"

#include "grade/bundle.h"
#include "verify/audit.h"
#include "verify/harness.h"
#include "verify/paper_file.h"

#include <stdio.h>

#define PATH_SIZE 4096
#define SNIFF_SIZE 256

struct look {
	bool bundle, log;
};

static void look_at(void *argument, const struct env_directory_entry *entry)
{
	struct look *look = argument;
	look->bundle |= strcmp(entry->name, BUNDLE_MANIFEST) == 0 ||
			strcmp(entry->name, BUNDLE_STATEMENT) == 0;
	look->log |= entry->is_directory && strcmp(entry->name, "segments") == 0;
}

/* ---- options ---- */

enum subject { SUBJECT_BUNDLE = 1, SUBJECT_LOG = 2, SUBJECT_RECEIPT = 4, SUBJECT_OTHER = 8 };

/* An option that would change nothing is not taken for a check that was made. Keys and policies may
 * be given for anything: without a signature by them nothing is vouched for. */
static enum err_code check_options(const struct verify_options *options, enum subject subject,
				   const char *what, struct err *err)
{
	const struct {
		const char *name, *meant_for;
		bool given;
		enum subject subject;
	} rows[] = {
		{"--record", "a .tlog-proof",      options->record != NULL, SUBJECT_RECEIPT},
		{"--salts",  "a published bundle", options->salts != NULL,  SUBJECT_BUNDLE },
		{"--rerun",  "a bundle",           options->rerun,          SUBJECT_BUNDLE },
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (rows[i].given && rows[i].subject != subject)
			return ERR_SET(err, ERR_USAGE,
				       "%s means nothing for %s (it is for %s): leave it out",
				       rows[i].name, what, rows[i].meant_for);
	return ERR_OK;
}

static enum err_code bundle(struct env *env, const char *path, const struct verify_options *options,
			    struct verify_report *report, struct err *err)
{
	ERR_TRY(check_options(options, SUBJECT_BUNDLE, "a bundle", err));
	return check_bundle(env, path, options, report, err);
}

/* ---- what it is ---- */

static enum err_code unknown(const char *path, struct err *err)
{
	return ERR_SET(err, ERR_USAGE,
		       "%s is no bundle (no %s), no log's directory (no segments; a gateway's logs "
		       "are in log/evaluation and log/usage of its data directory) and has no "
		       "results_*.json of lm-eval",
		       path, BUNDLE_MANIFEST);
}

static enum err_code check_directory(struct env *env, const char *path, const struct look *look,
				     const struct verify_options *options,
				     struct verify_report *report, struct err *err)
{
	char inner[PATH_SIZE];
	struct look inside = {0};
	if (look->bundle)
		return bundle(env, path, options, report, err);
	if (look->log) {
		ERR_TRY(check_options(options, SUBJECT_LOG, "a log's directory", err));
		return check_log(env, path, options, report, err);
	}
	snprintf(inner, sizeof(inner), "%s/bundle", path);
	if (strlen(path) + 8 < sizeof(inner) &&
	    env_list_directory(env, inner, look_at, &inside, NULL) == ERR_OK && inside.bundle)
		return bundle(env, inner, options, report, err);
	bool known;
	ERR_TRY(check_harness_directory(env, path, report, &known, err));
	return known ? check_options(options, SUBJECT_OTHER, "another harness's log", err)
		     : unknown(path, err);
}

/* Receipts have the name, or begin with the first line, of a proof, or are JSON with `receipts`. */
static bool is_receipt(struct env *env, const char *path)
{
	char start[SNIFF_SIZE + 1];
	size_t got = 0;
	struct env_file *file;
	if (env_file_open(env, path, ENV_OPEN_READ, &file, NULL) != ERR_OK)
		return false;
	if (env_file_read(file, 0, start, SNIFF_SIZE, &got, NULL) != ERR_OK)
		got = 0;
	env_file_close(file);
	struct bytes text = bytes_of(start, got);
	return bytes_ends_with(bytes_from(path), BYTES(".tlog-proof")) ||
	       bytes_starts_with(text, BYTES("c2sp.org/")) ||
	       (bytes_starts_with(text, BYTES("{")) && bytes_find(text, BYTES("\"receipts\"")));
}

enum err_code verify_path(struct env *env, const char *path, const struct verify_options *options,
			  struct verify_report *report, struct err *err)
{
	struct look look = {0};
	*report = (struct verify_report){
		.subject = "nothing", .take = options->take, .taker = options->taker};
	if (env_list_directory(env, path, look_at, &look, NULL) == ERR_OK)
		return check_directory(env, path, &look, options, report, err);
	if (!env_file_exists(env, path))
		return ERR_SET(err, ERR_USAGE, "%s: there is no such file or directory", path);
	if (is_receipt(env, path)) {
		ERR_TRY(check_options(options, SUBJECT_RECEIPT, "a receipt", err));
		return check_receipt(env, path, options, report, err);
	}
	if (is_paper(env, path)) {
		ERR_TRY(check_options(options, SUBJECT_OTHER, "a signed paper", err));
		return check_paper(env, path, options, report, err);
	}
	ERR_TRY(check_harness_file(env, path, report, err)); /* it tells what is known */
	return check_options(options, SUBJECT_OTHER, "another harness's log", err);
}
