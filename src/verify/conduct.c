/* What a bundle says of how providers behaved, computed again from its scores and transcripts. */
#include "verify/audit.h"

#include "base/json.h"
#include "grade/compare.h"

#define MEMBER "conduct"

void audit_conduct_open(struct audit *audit)
{
	struct conduct *conduct = &audit->conduct;
	plan_conduct(&audit->plan, conduct);
	conduct->suite_count = audit->suite_count;
	for (unsigned i = 0; i < audit->suite_count; i++)
		conduct->suites[i] =
			(struct conduct_suite){.name = audit->suites[i].name,
					       .suite = audit->suites[i].suite,
					       .pairwise = audit->suites[i].scorer->pairwise,
					       .decoys = audit->plan.suites[i].decoys};
}

void audit_conduct_take(struct audit *audit, const struct attempt *attempt, uint64_t asked)
{
	if (audit->withheld.tree)
		return;
	conduct_take(&audit->conduct, attempt->cell->suite, attempt->cell->model,
		     audit_item_of(audit, attempt->cell, attempt->slot), asked, &attempt->line);
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
	if (!published || audit->withheld.tree)
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
	if (audit->withheld.tree && json_object_get(audit->summary, MEMBER))
		report_note(audit->report, VERIFY_UNCHECKED,
			    "how providers behaved, by the evaluator's account: what it follows "
			    "from is withheld in part");
	note_list(audit, "done", VERIFY_CHECKED, ", computed again");
	note_list(audit, "found", VERIFY_CHECKED, "");
	note_list(audit, "not_shown", VERIFY_UNCHECKED, "");
}
