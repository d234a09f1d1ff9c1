/* A bundle: the directory that carries a published result with everything needed to check it
 * (docs/formats/bundle.md, DESIGN.md section 8).
 *
 * Any file may stand in it; the names below are those that tools look for. manifest.json lists
 * every file but itself and the statement; statement.dsse.json is an in-toto Statement v1
 * (predicate test-result v0.1) about the manifest. */
#ifndef GRADE_BUNDLE_H
#define GRADE_BUNDLE_H

#include "base/sha256.h"
#include "env/env.h"
#include "ledger/dsse.h"

#define BUNDLE_MANIFEST "manifest.json"
#define BUNDLE_STATEMENT "statement.dsse.json"
#define BUNDLE_PLAN "plan.json"
#define BUNDLE_TRANSCRIPTS "transcripts.jsonl"
#define BUNDLE_SCORES "scores.jsonl"
#define BUNDLE_SUMMARY "summary.json"
#define BUNDLE_POLICY "policy" /* names and verifier keys (vkeys) of logs, one a line */
/* Notes by which the logs' keys vouch for those that signed verdicts on sealed answers. */
#define BUNDLE_VERDICT_KEYS "verdict-keys"
#define BUNDLE_ANCHORS "anchors.jsonl" /* what people said of the answers (grade/anchors.h) */
#define BUNDLE_RECEIPTS "receipts" /* directory of ID.tlog-proof */
#define BUNDLE_SUITES "suite"      /* directory of NAME/suite.yaml and NAME/items.jsonl */

#define BUNDLE_FORMAT "parley-bundle-1"
/* With withheld.json: parts of it are commitments (grade/published.h). */
#define BUNDLE_FORMAT_PUBLISHED "parley-published-1"
#define BUNDLE_GRANTS "grants" /* directory of ID.json: what was agreed, signed */
#define BUNDLE_FILES_MAX 2000000u
#define BUNDLE_PATH_MAX 512u /* bytes of a path inside the bundle */
#define BUNDLE_DEPTH_MAX 8u  /* directories above a file */

/* What the statement says besides the manifest's digest. */
struct bundle_statement {
	const char *result;    /* "PASSED": every sample has an outcome; "WARNED": some failed;
				* "FAILED": the run was cut off */
	const json_t *summary; /* borrowed; its `results` go into the predicate; may be NULL */
	bool published;        /* the manifest says BUNDLE_FORMAT_PUBLISHED */
};

/* Makes `directory`, filled already by the caller, a bundle: digests every file under it, writes
 * manifest.json and then statement.dsse.json (signed if `key` is not NULL), durably. Both are
 * replaced if they are there. */
enum err_code bundle_seal(struct env *env, const char *directory,
			  const struct bundle_statement *statement,
			  const struct ed25519_private *key, struct err *err);

struct bundle {
	json_t *manifest;  /* owned */
	json_t *statement; /* owned: the in-toto statement */
	struct dsse envelope;
	size_t files;   /* listed, and found equal */
	bool published; /* by the manifest's format */
};

/* Checks every file against the manifest and the manifest against the statement. ERR_MISMATCH
 * naming the file when one is unlisted, missing or altered, or the statement is about another
 * manifest; ERR_INVALID when the manifest or statement can't be read; ERR_NOT_FOUND if there is
 * none. The signatures are the caller's to judge (dsse_signed_by). `bundle` is overwritten; release
 * it in any case. */
enum err_code bundle_open(struct env *env, const char *directory, struct bundle *bundle,
			  struct err *err);
/* The same for `run`, the directory of a run, whose bundle is in it, or a bundle itself:
 * `directory` (of `size` bytes) is which. ERR_USAGE where there is neither. */
enum err_code bundle_find(struct env *env, const char *run, char *directory, size_t size,
			  struct bundle *bundle, struct err *err);
void bundle_release(struct bundle *bundle);

#endif
