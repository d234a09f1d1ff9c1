/* What a bundle says of how providers behaved, computed again from its scores and transcripts. */
#include "verify/audit.h"

#include "base/json.h"
#include "grade/compare.h"

#define MEMBER "conduct"

enum err_code audit_conduct_open(struct audit *audit, struct err *err)
{
	struct conduct *conduct = &audit->conduct;
	plan_conduct(&audit->plan, conduct);
	conduct->suite_count = audit->suite_count;
	for (unsigned i = 0; i < audit->suite_count; i++)
		conduct->suites[i] =
			(struct conduct_suite){.name = audit->suites[i].name,
					       .suite = audit->suites[i].suite,
					       .pairwise = audit->suites[i].scorer->pairwise,
					       .decoys = audit->plan.suites[i].decoys,
					       .samples = audit->suites[i].samples};
	return conduct_draw_blind(conduct, audit->plan.id)
		       ? ERR_OK
		       : ERR_SET(err, ERR_NO_MEMORY, "out of memory for the bundle");
}

/* Whether some of what the figures follow from is not shown. */
static bool is_withheld(const struct audit *audit)
{
	return json_array_size(json_object_get(audit->withheld.tree, "suites")) > 0;
}

void audit_conduct_take(struct audit *audit, const struct attempt *attempt, uint64_t asked)
{
	if (is_withheld(audit))
		return;
	conduct_take(&audit->conduct, attempt->cell->suite, attempt->cell->model,
		     audit_item_of(audit, attempt->cell, attempt->slot), asked, &attempt->line);
}

/* Blind are the samples that the plan's id drew, and no others; where a record tells, it says so.
 */
enum err_code audit_blind(struct audit *audit, const struct attempt *attempt, const json_t *record,
			  struct err *err)
{
	const struct audit_cell *cell = attempt->cell;
	size_t item = audit_item_of(audit, cell, attempt->slot);
	bool drawn =
		!cell->judging && conduct_is_blind(&audit->conduct, cell->suite, item,
						   audit_sample_of(audit, cell, attempt->slot));
	if (attempt->line.blind && !drawn && !audit->suites[cell->suite].withheld)
		return ERR_SET(err, ERR_MISMATCH,
			       "%s: it was asked blind, and the plan does not draw it",
			       attempt->where);
	if (!record && drawn && !attempt->line.blind && attempt_answered(attempt))
		audit->drawn_named[cell->model]++;
	if (!record || json_is_true(json_object_get(record, "blind")) == attempt->line.blind)
		return ERR_OK;
	return ERR_SET(err, ERR_MISMATCH, "%s: by the gateway's record it was%s asked blind",
		       attempt->where, attempt->line.blind ? " not" : "");
}

static enum err_code compare(const json_t *made, const json_t *published, struct err *err)
{
	char where[200] = "";
	json_t *nothing = json_object();
	bool agrees =
		nothing && published_agrees(made ? made : nothing, published, where, sizeof(where));
	json_decref(nothing);
	return agrees ? ERR_OK
		      : ERR_SET(err, ERR_MISMATCH,
				"%s: " MEMBER "%s%s is not what the transcripts and scores give",
				BUNDLE_SUMMARY, *where && *where != '[' ? "." : "", where);
}

enum err_code audit_conduct(struct audit *audit, struct err *err)
{
	const json_t *published = json_object_get(audit->summary, MEMBER);
	json_t *made;
	for (unsigned i = 0; i < audit->plan.model_count; i++)
		if (audit->conduct.blind[i] && audit->drawn_named[i] > 0)
			return ERR_SET(
				err, ERR_MISMATCH,
				"%s: %zu samples of %.64s that are drawn for the blind arm were "
				"not asked blind, and others were",
				BUNDLE_TRANSCRIPTS, audit->drawn_named[i],
				audit->plan.models[i].name);
	if (!published || is_withheld(audit))
		return ERR_OK;
	ERR_TRY(conduct_make(&audit->conduct, audit->scores,
			     audit->score_count + audit->decoy_count, &made, err));
	enum err_code code = compare(made, published, err);
	if (code == ERR_OK && made && conduct_is_told(made))
		audit->conduct_words = conduct_words(made);
	json_decref(made);
	return code;
}

static void note_list(struct audit *audit, const char *key, enum verify_section section,
		      const char *label)
{
	const json_t *sentence;
	size_t i;
	json_array_foreach(json_object_get(audit->conduct_words, key), i, sentence) report_note(
		audit->report, section, "providers%s: %.900s", label, json_string_value(sentence));
}

void audit_conduct_note(struct audit *audit)
{
	if (is_withheld(audit) && json_object_get(audit->summary, MEMBER))
		report_note(audit->report, VERIFY_UNCHECKED,
			    "how providers behaved, by the evaluator's account: what it follows "
			    "from is withheld in part");
	note_list(audit, "done", VERIFY_CHECKED, ", computed again");
	note_list(audit, "found", VERIFY_CHECKED, "");
	note_list(audit, "not_shown", VERIFY_UNCHECKED, "");
}
