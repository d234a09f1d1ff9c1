/* What the report says of a published bundle. */
#include "verify/audit.h"

#include "base/json.h"

static void note_suite(struct audit *audit, const struct audit_suite *suite)
{
	struct verify_report *report = audit->report;
	bool leaves = json_object_get(suite->withheld, "leaves");
	size_t hidden = suite->items - suite->opened;
	if (leaves)
		report_note(report, VERIFY_CHECKED,
			    "suite %.64s: its root from the hashes of %zu leaves, as in the plan",
			    suite->name, suite->items);
	if (suite->opened > 0)
		report_note(report, VERIFY_CHECKED,
			    "suite %.64s: %zu of %zu items were opened, each in the root that was "
			    "committed to",
			    suite->name, suite->opened, suite->items);
	if (hidden > 0)
		report_note(report, VERIFY_UNCHECKED,
			    "suite %.64s: %zu of %zu items are withheld: what was asked, what was "
			    "answered and how it was graded (who has the salts checks it with "
			    "--salts)",
			    suite->name, hidden, suite->items);
	if (hidden > 0 && !leaves)
		report_note(report, VERIFY_UNCHECKED,
			    "suite %.64s: that its root is of these %zu items: it has no seed, so "
			    "that the hashes of its leaves are withheld too",
			    suite->name, suite->items);
}

static void note_rest(struct audit *audit)
{
	const struct withheld *withheld = &audit->withheld;
	struct verify_report *report = audit->report;
	if (json_object_get(withheld->tree, "plan") && !withheld->plan_opened)
		report_note(
			report, VERIFY_UNCHECKED,
			"the plan's prices and budgets are withheld: that %s is the rest of the "
			"plan that was committed to is the publisher's word",
			BUNDLE_PLAN);
	if (json_object_get(withheld->tree, "summary") && !withheld->summary_opened)
		report_note(report, VERIFY_UNCHECKED,
			    "what the run cost, and reasons and addresses in words, are withheld "
			    "from %s",
			    BUNDLE_SUMMARY);
	if (withheld->twins > 0)
		report_note(
			report, VERIFY_UNCHECKED,
			"%zu requests are of another item's leaf in the gateway's records: that "
			"both have the same words is withheld",
			withheld->twins);
	if (audit->counts.words > 0)
		report_note(report, VERIFY_UNCHECKED,
			    "%zu scores of withheld answers: they are the evaluator's word",
			    audit->counts.words);
	if (withheld->opened > 0)
		report_note(
			report, VERIFY_CHECKED,
			"%zu commitments were opened: each is of the text and place in the file "
			"of salts",
			withheld->opened);
}

void withheld_note(struct audit *audit)
{
	if (!audit->withheld.tree)
		return;
	for (unsigned i = 0; i < audit->suite_count; i++)
		if (audit->suites[i].withheld)
			note_suite(audit, &audit->suites[i]);
	note_rest(audit);
}
