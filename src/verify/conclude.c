/* When nothing is wrong: who vouches, what was checked, what was not, and on whom it rests. */
#include "verify/audit.h"
#include "verify/witnesses.h"

#include "base/encode.h"

#include <stdio.h>

#define NAMES_MAX 400u

/* ---- contestants ---- */

static bool is_contestant(const struct audit *audit, const struct audit_cell *cell)
{
	return !cell->judging && audit_has_role(audit, cell->model, PLAN_CONTESTANT);
}

static const struct registered *registered_suite(const struct audit *audit,
						 const struct audit_cell *cell)
{
	if (!cell->registered)
		return NULL;
	if (cell->registered->has_root)
		return cell->registered;
	return receipts_registered(&audit->receipts, true, cell->registered->log,
				   cell->registered->suite);
}

/* Why the gateway does not vouch for this cell's answers; NULL where it does, under whatever key.
 */
static const char *what_lacks(const struct audit *audit, const struct audit_cell *cell)
{
	const struct registered *suite = registered_suite(audit, cell);
	if (cell->observed > 0)
		return "the gateway was in mode observe: it recorded the requests and kept none "
		       "out that its grants forbid";
	if (cell->vouched < cell->answered)
		return "not every answer has a receipt of admission and outcome";
	if (cell->answered == 0)
		return NULL;
	if (!cell->registered || !cell->registered->has_plan)
		return "there is no receipt of the run's opening, so that the items could have "
		       "been "
		       "chosen afterwards";
	if (!suite || !suite->has_root)
		return "there is no receipt of the suite's registration, so that its items could "
		       "have "
		       "been chosen afterwards";
	return NULL;
}

static enum signer weakest(const struct audit *audit, const struct audit_cell *cell)
{
	const struct registered *suite = registered_suite(audit, cell);
	enum signer signer = cell->signer;
	if (cell->registered && cell->registered->signer < signer)
		signer = cell->registered->signer;
	if (suite && suite->signer < signer)
		signer = suite->signer;
	return signer;
}

struct standing {
	size_t samples, answered, vouched;
	const char *lack; /* the first reason against "vouched" */
	bool own_key;     /* all that lacks is a key of the reader's */
};

static struct standing take_stock(struct audit *audit)
{
	struct standing standing = {0};
	bool unsigned_by_reader = false;
	for (size_t i = 0; i < audit->cell_count; i++) {
		const struct audit_cell *cell = &audit->cells[i];
		if (!is_contestant(audit, cell))
			continue;
		const char *lack = what_lacks(audit, cell);
		standing.samples += cell->count;
		standing.answered += cell->answered;
		standing.vouched += cell->vouched;
		unsigned_by_reader |= cell->vouched > 0 && weakest(audit, cell) != SIGNER_READER;
		if (!lack)
			continue;
		report_note(audit->report, VERIFY_UNCHECKED,
			    "suite %.64s, model %.64s: %s (%zu of %zu)",
			    audit->suites[cell->suite].name, audit->plan.models[cell->model].name,
			    lack, cell->vouched, cell->answered);
		standing.lack = standing.lack ? standing.lack : lack;
	}
	standing.own_key = !standing.lack && unsigned_by_reader;
	return standing;
}

/* ---- names ---- */

static void append_name(char *out, size_t size, const char *name)
{
	size_t used = strlen(out);
	snprintf(out + used, size - used, "%s%s", used ? " and " : "", name);
}

/* Logs whose receipts verify with such a key. */
static void name_logs(const struct audit *audit, enum signer signer, char *out, size_t size)
{
	const struct receipt_log *logs = audit->receipts.logs;
	out[0] = '\0';
	for (unsigned i = 0; i < audit->receipts.log_count; i++) {
		bool named = logs[i].signer != signer;
		for (unsigned k = 0; k < i; k++)
			named |= logs[k].signer == signer &&
				 strcmp(logs[k].origin, logs[i].origin) == 0;
		if (!named)
			append_name(out, size, logs[i].origin);
	}
}

/* Judges and baselines for whom no gateway speaks. */
static void name_unvouched(const struct audit *audit, bool judges, char *out, size_t size)
{
	bool named[PLAN_MODELS_MAX] = {false};
	out[0] = '\0';
	for (size_t i = 0; i < audit->cell_count; i++) {
		const struct audit_cell *cell = &audit->cells[i];
		unsigned model = audit_asked(cell);
		bool vouched = cell->vouched == cell->answered && cell->signer == SIGNER_READER;
		bool control = !judges && audit_has_role(audit, cell->model, PLAN_CONTROL);
		if (cell->judging != judges || is_contestant(audit, cell) || control || vouched ||
		    named[model] || cell->answered == 0)
			continue;
		named[model] = true;
		append_name(out, size, audit->plan.models[model].name);
	}
}

/* ---- the headline ---- */

static bool was_cut_off(const struct audit *audit)
{
	return json_is_false(json_object_get(audit->summary, "complete"));
}

static void append_exception(struct buf *out, const char *what, const char *whose)
{
	buf_printf(out, "%s%s%s", out->size ? " and " : "; ", what, whose);
}

/* What the gateways say nothing about, though results rest on it. */
static void append_exceptions(const struct audit *audit, struct buf *out)
{
	char names[NAMES_MAX];
	name_unvouched(audit, true, names, sizeof(names));
	if (*names)
		append_exception(out, "the verdicts of ", names);
	name_unvouched(audit, false, names, sizeof(names));
	if (*names)
		append_exception(out, "the answers of ", names);
	snprintf(names, sizeof(names), "%zu programs", audit->counts.programs);
	if (audit->counts.programs > 0)
		append_exception(out, "the scores of ", names);
	snprintf(names, sizeof(names), "%zu answers by a program of the suite's own",
		 audit->counts.own_programs);
	if (audit->counts.own_programs > 0)
		append_exception(out, "the scores of ", names);
	snprintf(names, sizeof(names), "%zu withheld answers", audit->counts.words);
	if (audit->counts.words > 0)
		append_exception(out, "the scores of ", names);
	if (out->size > 0)
		buf_append_cstr(out, " are the evaluator's word");
}

/* What the witnesses say of every checkpoint that the reader's keys vouch for. */
static bool join_findings(const struct audit *audit, struct trust_finding *out)
{
	bool found = false;
	for (unsigned i = 0; i < audit->receipts.log_count; i++) {
		const struct receipt_log *log = &audit->receipts.logs[i];
		if (log->signer != SIGNER_READER)
			continue;
		if (!found)
			*out = log->finding;
		witnesses_join(out, &log->finding);
		found = true;
	}
	return found;
}

/* Nobody vouches where the reader's own policy is not met. */
static bool lacks_witnesses(struct audit *audit, char *why, size_t size)
{
	for (unsigned i = 0; i < audit->receipts.log_count; i++) {
		const struct receipt_log *log = &audit->receipts.logs[i];
		if (log->signer == SIGNER_READER &&
		    witnesses_lack(&audit->reader, &log->finding, log->origin, why, size))
			return true;
	}
	return false;
}

static void conclude_vouched(struct audit *audit, const struct standing *standing)
{
	char logs[NAMES_MAX], witnesses[NAMES_MAX] = "";
	struct trust_finding finding;
	struct buf exceptions = BUF_INIT(4096);
	name_logs(audit, SIGNER_READER, logs, sizeof(logs));
	if (join_findings(audit, &finding))
		witnesses_phrase(&audit->reader, &finding, witnesses, sizeof(witnesses));
	append_exceptions(audit, &exceptions);
	report_verdict(audit->report, VERIFY_VOUCHED, "VOUCHED by %s%s; %zu of %zu answers%s%s%s",
		       logs, witnesses, standing->vouched, standing->samples,
		       was_cut_off(audit) ? " of a run that was cut off" : "",
		       grants_inside(&audit->grants) ? "; inside its grant" : "",
		       exceptions.size && !exceptions.failed ? exceptions.data : "");
	buf_release(&exceptions);
}

static void conclude_self_certified(struct audit *audit, const struct standing *standing)
{
	char logs[NAMES_MAX];
	if (audit->receipts.count == 0) {
		report_verdict(audit->report, VERIFY_SELF_CERTIFIED,
			       "CONSISTENT, SELF-CERTIFIED: no gateway vouches for the answers");
	} else if (standing->own_key) {
		name_logs(audit, SIGNER_BUNDLE, logs, sizeof(logs));
		report_verdict(
			audit->report, VERIFY_SELF_CERTIFIED,
			"CONSISTENT, SELF-CERTIFIED: by a log that calls itself %s; give its "
			"key, from a source that you trust, with --key",
			*logs ? logs : "something without a key");
	} else {
		report_verdict(audit->report, VERIFY_SELF_CERTIFIED,
			       "CONSISTENT, SELF-CERTIFIED: %s",
			       standing->lack ? standing->lack : "there is no answer");
	}
}

/* ---- notes ---- */

static bool has_control(const struct audit *audit)
{
	bool any = false;
	for (unsigned i = 0; i < audit->plan.model_count; i++)
		any |= audit_has_role(audit, i, PLAN_CONTROL);
	return any;
}

static void note_checked(struct audit *audit)
{
	const struct audit_counts *counts = &audit->counts;
	struct verify_report *report = audit->report;
	report_note(report, VERIFY_CHECKED,
		    "%zu files against the manifest, and the manifest against the statement",
		    audit->bundle.files);
	for (unsigned i = 0; i < audit->suite_count; i++)
		if (!audit->suites[i].withheld)
			report_note(report, VERIFY_CHECKED,
				    "suite %.64s: its root from %zu items, as in the plan",
				    audit->suites[i].name, audit->suites[i].items);
	report_note(
		report, VERIFY_CHECKED,
		"%zu attempts (%zu answers, %zu failures): all that the plan asks for, none left "
		"out in between%s",
		counts->attempts, counts->answers, counts->failures,
		audit->withheld.tree ? "; where nothing is withheld, with the item's own words"
				     : ", each with the item's own words");
	if (counts->rebuilt > 0)
		report_note(report, VERIFY_CHECKED,
			    "%zu answers against the exact bytes of their responses",
			    counts->rebuilt);
	if (counts->graded > 0)
		report_note(report, VERIFY_CHECKED, "%zu answers graded again", counts->graded);
	if (counts->turns > 0)
		report_note(report, VERIFY_CHECKED,
			    "%zu answers that conversations went on from: each next turn was asked "
			    "with them and with nothing else",
			    counts->turns);
	if (counts->sealed > 0)
		report_note(report, VERIFY_CHECKED,
			    "%zu verdicts on sealed answers in place of grading: %zu against the "
			    "verdict key's signature, %zu against answers that were opened",
			    counts->sealed, counts->signed_verdicts, counts->opened);
	if (counts->openings[OPENING_BY_SEEDS] + counts->openings[OPENING_BY_KEY] > 0)
		report_note(report, VERIFY_CHECKED,
			    "%zu sealed answers: opened exactly where the seeds of both sides "
			    "chose it",
			    counts->openings[OPENING_BY_SEEDS] + counts->openings[OPENING_BY_KEY]);
	if (counts->reran > 0)
		report_note(report, VERIFY_CHECKED, "%zu programs run again in the sandbox",
			    counts->reran);
	if (counts->verdicts > 0)
		report_note(report, VERIFY_CHECKED,
			    "%zu verdicts read again from the judges' replies, and what the judges "
			    "were asked",
			    counts->verdicts);
	report_note(report, VERIFY_CHECKED,
		    "%zu scores, and %zu figures with their intervals from them",
		    audit->score_count, audit->results.count);
	if (counts->ratings > 0)
		report_note(report, VERIFY_CHECKED,
			    "how the judges of single answers measured: replies that could not be "
			    "read or were refusals, agreement with each other and with the string "
			    "rules; hazards and their grades");
	if (counts->verdicts > counts->ratings)
		report_note(report, VERIFY_CHECKED,
			    "how the judges measured: flips, verdicts that could not be read or "
			    "refused, first and longer answers, agreement, controls%s",
			    !has_control(audit)    ? "; no null model took part"
			    : audit->withheld.tree ? ""
						   : " (the null model said the same to all)");
	if (counts->comparisons > 0)
		report_note(report, VERIFY_CHECKED,
			    "%zu comparisons of models, corrected for their number (Holm), and the "
			    "ranks they leave",
			    counts->comparisons);
}

/* How many runs there were of which this is one, by the gateway's signed register. */
static void note_register(struct audit *audit, const struct audit_cell *cell)
{
	const char *model = audit->plan.models[cell->model].name;
	const struct closing *closing =
		receipts_closing(&audit->receipts, cell->registered->log, cell->run, model);
	if (closing)
		report_note(audit->report, VERIFY_CHECKED,
			    "run %lld of %lld of %.64s on %.64s by the gateway's register; %lld of "
			    "its items the provider met for the first time (first), %lld not "
			    "(re-exposed)",
			    (long long)closing->place, (long long)closing->of,
			    audit->suites[cell->suite].name, model, (long long)closing->first,
			    (long long)closing->re_exposed);
	if (closing && closing->registered_bytes > 0)
		report_note(audit->report, VERIFY_CHECKED,
			    "of the words of run %.64s %lld bytes were registered and %lld were "
			    "answers that it had been given, by its end",
			    cell->run, (long long)closing->registered_bytes,
			    (long long)closing->free_bytes);
	if (!closing)
		report_note(
			audit->report, VERIFY_UNCHECKED,
			"how many runs of %.64s on %.64s there were: no receipt shows the end of "
			"run %.64s",
			audit->suites[cell->suite].name, model, cell->run);
}

static void note_receipts(struct audit *audit)
{
	static const char *const whose[] = {"no known key", "the bundle's own key",
					    "the key that you gave"};
	const struct receipts *receipts = &audit->receipts;
	for (unsigned i = 0; i < receipts->log_count; i++) {
		const struct receipt_log *log = &receipts->logs[i];
		report_note(
			audit->report, VERIFY_CHECKED,
			"%zu receipts of the log %s, of size %llu or more: proofs, one history, "
			"signed with %s",
			log->receipts, log->origin, (unsigned long long)log->size,
			whose[log->signer]);
	}
	for (unsigned i = 0; !audit->reader.policy && i < receipts->log_count; i++) {
		const struct receipt_log *log = &receipts->logs[i];
		if (log->finding.witnesses > 0)
			report_note(audit->report, VERIFY_UNCHECKED,
				    "whether witnesses that you trust cosigned the checkpoints of "
				    "%s: %u of the %u witnesses that the bundle itself names did, "
				    "each of them; say whom you trust with --policy",
				    log->origin, log->finding.cosigned, log->finding.witnesses);
	}
	if (audit->counts.digests > 0)
		report_note(audit->report, VERIFY_CHECKED,
			    "%zu digests of requests, responses and answers, and %zu token counts "
			    "against the gateway's records",
			    audit->counts.digests, audit->counts.usages);
	for (size_t i = 0; i < audit->cell_count; i++) {
		const struct audit_cell *cell = &audit->cells[i];
		const struct registered *suite = registered_suite(audit, cell);
		if (!cell->registered || !cell->registered->has_plan || !suite || !suite->has_root)
			continue;
		report_note(audit->report, VERIFY_CHECKED,
			    "run %.64s: plan and items of %.64s were in the log before the first "
			    "request to %.64s",
			    cell->run, audit->suites[cell->suite].name,
			    audit->plan.models[cell->model].name);
		note_register(audit, cell);
	}
}

static void note_proxy(struct audit *audit)
{
	if (!audit->plan.proxy)
		return;
	report_note(
		audit->report, VERIFY_CHECKED,
		"the requests are another harness's, behind parley bench proxy: their words are "
		"the items', their settings at most the suite's (%zu set fewer of them)",
		audit->counts.loose);
}

static size_t count_failed(const struct audit *audit)
{
	size_t failed = 0;
	for (size_t i = 0; i < audit->cell_count; i++)
		for (size_t k = 0; !audit->cells[i].judging && k < audit->cells[i].count; k++)
			failed += !audit->cells[i].slots[k].answered;
	return failed;
}

static void note_parts(struct audit *audit)
{
	char tags[300] = "", root[2 * SHA256_SIZE + 1];
	for (unsigned i = 0; i < audit->plan.tag_count; i++) {
		size_t used = strlen(tags);
		snprintf(tags + used, sizeof(tags) - used, "%s%.64s", used ? ", " : "",
			 audit->plan.tags[i]);
	}
	for (unsigned i = 0; i < audit->suite_count; i++) {
		const struct plan_suite *planned = &audit->plan.suites[i];
		if (planned->whole_items == 0)
			continue;
		hex_encode(planned->whole, SHA256_SIZE, root);
		report_note(
			audit->report, VERIFY_UNCHECKED,
			"suite %.64s: the run was over a part, %zu items tagged %s; that these "
			"are all such items of the %zu with root %.16s… is the evaluator's word",
			planned->name, audit->suites[i].items, tags, planned->whole_items, root);
	}
}

static void note_cached(struct audit *audit)
{
	if (audit->counts.cached > 0)
		report_note(audit->report, VERIFY_UNCHECKED,
			    "%zu answers are responses to earlier requests, out of a cache: this "
			    "run did not ask for them",
			    audit->counts.cached);
}

static void note_simulated(struct audit *audit)
{
	const json_t *models = json_object_get(audit->summary, "models"), *entry;
	size_t i;
	json_array_foreach((json_t *)models, i, entry)
	{
		const char *label = json_string_value(json_object_get(entry, "simulated"));
		const char *name = json_string_value(json_object_get(entry, "name"));
		if (label && name)
			report_note(
				audit->report, VERIFY_UNCHECKED,
				"%.64s is a simulated model, by the bundle's own account: %.200s",
				name, label);
	}
}

static void note_openings(struct audit *audit)
{
	const struct audit_counts *counts = &audit->counts;
	if (counts->openings[OPENING_UNKNOWN] > 0)
		report_note(audit->report, VERIFY_UNCHECKED,
			    "whether the right ones of %zu sealed answers were opened: no receipt "
			    "shows the beginning and the end of their run",
			    counts->openings[OPENING_UNKNOWN]);
	if (counts->openings[OPENING_BY_KEY] > 0)
		report_note(audit->report, VERIFY_UNCHECKED,
			    "that the gateway's own seed chose openings: another run over the "
			    "suite was open, and the seed is told when the last one closes");
}

static void note_ending(struct audit *audit)
{
	const char *ending = json_string_value(json_object_get(audit->summary, "ending"));
	if (was_cut_off(audit))
		report_note(audit->report, VERIFY_UNCHECKED,
			    "the run was cut off, by its own account: %.300s",
			    ending ? ending : "");
}

/* Of programs that suites bring to score with: what binds them, and whether they ran again. */
static void note_own_programs(const struct audit *audit)
{
	for (unsigned i = 0; i < audit->suite_count; i++) {
		const struct audit_suite *suite = &audit->suites[i];
		const struct plan_suite *planned = &audit->plan.suites[i];
		char hex[2 * SHA256_SIZE + 1] = "";
		hex_encode(planned->program, SHA256_SIZE, hex);
		if (suite->asked_program == 0)
			continue;
		if (!planned->has_program)
			report_note(
				audit->report, VERIFY_UNCHECKED,
				"suite %s: %zu answers were scored by a program of its own that "
				"nothing here names: their scores are the evaluator's word",
				suite->name, suite->asked_program);
		else if (suite->program.files == 0)
			report_note(audit->report, VERIFY_UNCHECKED,
				    "suite %s: %zu answers were scored by a program of its own, "
				    "SHA-256 %s in the plan, which is not in the bundle: their "
				    "scores are the evaluator's word",
				    suite->name, suite->asked_program, hex);
		else if (suite->asked_again == 0)
			report_note(audit->report, VERIFY_UNCHECKED,
				    "suite %s: %zu answers were scored by a program of its own, "
				    "SHA-256 %s as in the plan, which was not run again: their "
				    "scores are the evaluator's word (--rerun runs it)",
				    suite->name, suite->asked_program, hex);
		else
			report_note(audit->report, VERIFY_CHECKED,
				    "suite %s: %zu answers scored again by a program of its own, "
				    "SHA-256 %s as in the plan, in the sandbox",
				    suite->name, suite->asked_again, hex);
	}
}

static void note_unchecked(struct audit *audit)
{
	const struct audit_counts *counts = &audit->counts;
	struct verify_report *report = audit->report;
	size_t failed = count_failed(audit);
	if (counts->programs > 0)
		report_note(
			report, VERIFY_UNCHECKED,
			"%zu programs were not run again: their scores are the evaluator's word "
			"(--rerun runs them)",
			counts->programs);
	note_own_programs(audit);
	if (counts->ungraded > 0)
		report_note(report, VERIFY_UNCHECKED,
			    "%zu answers could not be graded, by the evaluator's word: they count "
			    "as failed",
			    counts->ungraded);
	if (counts->limited > 0)
		report_note(report, VERIFY_UNCHECKED,
			    "%zu programs depend on the time limit: run again they ended otherwise",
			    counts->limited);
	if (failed > 0)
		report_note(report, VERIFY_UNCHECKED,
			    "%zu samples without an answer count as failed: that there was none is "
			    "the evaluator's word",
			    failed);
	if (counts->hidden > 0)
		report_note(report, VERIFY_UNCHECKED,
			    "%zu attempts are shown as failed, and the gateway recorded a whole "
			    "answer; the first is %s",
			    counts->hidden, counts->first_hidden);
	if (counts->replayed > 0)
		report_note(report, VERIFY_UNCHECKED,
			    "%zu answers come from a stored transcript, not from a model",
			    counts->replayed);
	grants_note(audit);
	note_openings(audit);
	withheld_note(audit);
	note_ending(audit);
	note_parts(audit);
	note_cached(audit);
	signs_note(audit);
	audit_conduct_note(audit);
	audit_anchors_note(audit);
	note_simulated(audit);
}

static void note_trusted(struct audit *audit)
{
	char logs[NAMES_MAX];
	struct verify_report *report = audit->report;
	name_logs(audit, SIGNER_READER, logs, sizeof(logs));
	if (*logs)
		report_note(
			report, VERIFY_TRUSTED,
			"%s: that it recorded what passed through it, and served the model that "
			"it names",
			logs);
	struct trust_finding finding;
	if (join_findings(audit, &finding))
		witnesses_note(&audit->reader, &finding, report);
	name_logs(audit, SIGNER_BUNDLE, logs, sizeof(logs));
	if (*logs)
		report_note(report, VERIFY_TRUSTED, "the bundle itself: for the key of %s", logs);
	name_logs(audit, SIGNER_NONE, logs, sizeof(logs));
	if (*logs)
		report_note(report, VERIFY_UNCHECKED, "the signature of %s: its key is not known",
			    logs);
}

void audit_conclude(struct audit *audit)
{
	note_checked(audit);
	note_receipts(audit);
	note_proxy(audit);
	struct standing standing = take_stock(audit);
	char why[600];
	if (!standing.lack && !standing.own_key && lacks_witnesses(audit, why, sizeof(why)))
		standing.lack = why;
	if (!standing.lack && !standing.own_key && standing.vouched > 0)
		conclude_vouched(audit, &standing);
	else
		conclude_self_certified(audit, &standing);
	note_unchecked(audit);
	note_trusted(audit);
}
