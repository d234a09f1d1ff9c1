/* Human anchors: the bundle's own copy, against the plan and against what the summary says of how
 * judges agree with people. */
#include "verify/audit.h"

#include "base/encode.h"
#include "base/json.h"
#include "grade/anchors.h"
#include "grade/findings.h"

static enum err_code read_anchors(struct audit *audit, const char *path, struct anchors *anchors,
				  struct err *err)
{
	struct buf text = BUF_INIT(ANCHORS_TEXT_MAX);
	uint8_t digest[SHA256_SIZE];
	char hex[2 * SHA256_SIZE + 1];
	const char *planned = audit->plan.anchors_digest;
	enum err_code code = env_read_file(audit->env, path, &text, err);
	if (code == ERR_OK)
		code = anchors_read(buf_bytes(&text), BUNDLE_ANCHORS, NULL, anchors, err);
	sha256_of(text.data, text.size, digest);
	hex_encode(digest, sizeof(digest), hex);
	/* Where items are withheld their places stand for them, in anchors too. */
	if (code == ERR_OK && *planned && !audit->withheld.tree && strcmp(hex, planned) != 0)
		code = ERR_SET(err, ERR_MISMATCH,
			       BUNDLE_ANCHORS ": they are others than those that " BUNDLE_PLAN
					      " commits to");
	buf_release(&text);
	return code;
}

static enum err_code compare_figures(struct audit *audit, const struct anchors *anchors,
				     struct err *err)
{
	json_t *made, *found;
	ERR_TRY(anchors_encode(anchors, audit->scores, audit->score_count,
			       *audit->plan.anchors_digest != '\0', &made, err));
	found = json_pack("{s:o}", "anchors", made);
	if (!found)
		return ERR_SET(err, ERR_NO_MEMORY, "out of memory for the anchors");
	enum err_code code = findings_compare(found, audit->summary, err);
	if (code != ERR_OK)
		err_prefix(err, "%s", BUNDLE_SUMMARY);
	json_decref(found);
	return code;
}

enum err_code audit_anchors(struct audit *audit, struct err *err)
{
	struct anchors anchors = {0};
	const char *path = audit_path(audit, BUNDLE_ANCHORS);
	bool told = json_object_get(audit->summary, "anchors");
	if (!path)
		return ERR_SET(err, ERR_NO_MEMORY, "out of memory for the bundle");
	if (!env_file_exists(audit->env, path)) {
		if (!told && !*audit->plan.anchors_digest)
			return ERR_OK;
		return ERR_SET(err, ERR_MISMATCH, "%s: it is missing, and %s %s", BUNDLE_ANCHORS,
			       told ? BUNDLE_SUMMARY : BUNDLE_PLAN,
			       told ? "says how judges agree with it" : "commits to it");
	}
	enum err_code code = read_anchors(audit, path, &anchors, err);
	if (code == ERR_OK)
		code = compare_figures(audit, &anchors, err);
	audit->counts.anchors = code == ERR_OK ? anchors.count : 0;
	audit->counts.anchors_untold = code == ERR_OK && !told;
	anchors_release(&anchors);
	return code;
}

void audit_anchors_note(struct audit *audit)
{
	if (audit->counts.anchors == 0)
		return;
	if (audit->counts.anchors_untold) {
		report_note(audit->report, VERIFY_UNCHECKED,
			    "%zu human ratings are in the bundle, and the summary says nothing of "
			    "how judges agree with them",
			    audit->counts.anchors);
		return;
	}
	report_note(audit->report, VERIFY_CHECKED,
		    "how judges and scorers agree with %zu ratings by people (%s)",
		    audit->counts.anchors,
		    *audit->plan.anchors_digest ? "committed to before the run"
						: "added after the run began");
	report_note(audit->report, VERIFY_UNCHECKED,
		    "who the people were whose %zu ratings stand in " BUNDLE_ANCHORS
		    ", and what they saw: that is the evaluator's word",
		    audit->counts.anchors);
}
