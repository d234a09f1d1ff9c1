/* What the report says of the grants that a run was under. */
#include "verify/audit.h"

#include "base/json.h"
#include "policy/day.h"

#include <stdio.h>

static void days_of(const struct held_grant *grant, char first[static 11], char last[static 11])
{
	world_format_day(grant->count ? grant->requests[0].admitted_ms : 0, first);
	world_format_day(grant->count ? grant->requests[grant->count - 1].admitted_ms : 0, last);
}

/* {id, inside, requests, input, output, cached, at_once, from, to, limits?} */
static json_t *describe(const struct held_grant *grant)
{
	char first[11], last[11];
	days_of(grant, first, last);
	return json_pack("{s:s, s:o, s:I, s:I, s:I, s:I, s:I, s:s, s:s, s:O*, s:O*}", "id",
			 grant->id, "inside", grant->spec ? json_true() : json_null(), "requests",
			 (json_int_t)grant->count, "input", (json_int_t)grant->input, "output",
			 (json_int_t)grant->output, "cached", (json_int_t)grant->cached, "at_once",
			 (json_int_t)grant->at_once, "from", first, "to", last, "limits",
			 json_object_get(grant->spec, "limits"), "valid",
			 json_object_get(grant->spec, "valid"));
}

static void append_limits(struct buf *out, const json_t *limits)
{
	static const char *const checked[] = {"rpm", "input_tpm", "output_tpm", "tokens_per_day",
					      "tokens_per_week"};
	for (size_t i = 0; i < sizeof(checked) / sizeof(checked[0]); i++) {
		const json_t *limit = json_object_get(limits, checked[i]);
		if (limit)
			buf_printf(out, "%s%s %lld", out->size ? ", " : "; ", checked[i],
				   (long long)json_integer_value(limit));
	}
}

static void note_signer(struct audit *audit, const struct held_grant *grant)
{
	static const char *const whose[] = {
		[SIGNER_NONE] = "; whose key that is no log says",
		[SIGNER_BUNDLE] = "; a log whose key only the bundle names vouches for its key",
		[SIGNER_READER] = "; the log whose key you gave vouches for its key",
	};
	report_note(audit->report, grant->signer == SIGNER_NONE ? VERIFY_UNCHECKED : VERIFY_CHECKED,
		    "grant %.64s is signed by %.200s%s", grant->id, grant->issuer,
		    whose[grant->signer]);
}

static void note_use(struct audit *audit, const struct held_grant *grant)
{
	char first[11], last[11];
	struct buf limits = BUF_INIT(4096);
	days_of(grant, first, last);
	if (grant->spec)
		append_limits(&limits, json_object_get(grant->spec, "limits"));
	report_note(
		audit->report, grant->spec ? VERIFY_CHECKED : VERIFY_UNCHECKED,
		"%s grant %.64s%s: %zu requests, %lld tokens in and %lld out (%lld from a cache), "
		"from %s to %s%.400s",
		grant->spec ? "inside" : "whether it stayed inside", grant->id,
		grant->spec       ? " (dates, models, purposes, release, leaves and samples)"
		: grant->withheld ? ", whose limits are withheld"
				  : ", which the bundle does not hold",
		grant->count, (long long)grant->input, (long long)grant->output,
		(long long)grant->cached, first, last,
		limits.size && !limits.failed ? limits.data : "");
	buf_release(&limits);
}

static double cost_of(const struct audit *audit)
{
	double usd = 0;
	for (unsigned i = 0; i < audit->plan.model_count; i++)
		usd += ((double)audit->tokens_input[i] * audit->plan.models[i].price.input +
			(double)audit->tokens_output[i] * audit->plan.models[i].price.output) /
		       1e6;
	return usd;
}

static void note_unjudged(struct audit *audit, const struct held_grant *grant)
{
	const json_t *limits = json_object_get(grant->spec, "limits");
	const json_t *usd = json_object_get(limits, "usd_per_month");
	const json_t *slots = json_object_get(limits, "concurrency");
	if (usd)
		report_note(audit->report, VERIFY_UNCHECKED,
			    "usd_per_month %g of grant %.64s: the gateway's prices are not in the "
			    "bundle; by those of the plan all of it cost at most %.4f USD",
			    json_number_value(usd), grant->id, cost_of(audit));
	if (slots)
		report_note(audit->report, VERIFY_UNCHECKED,
			    "concurrency %lld of grant %.64s is not judged: by the times of its "
			    "records at most %zu were under way at once",
			    (long long)json_integer_value(slots), grant->id, grant->at_once);
	if (grant->estimated > 0)
		report_note(audit->report, VERIFY_UNCHECKED,
			    "%zu token counts under grant %.64s are the gateway's estimates",
			    grant->estimated, grant->id);
}

bool grants_inside(const struct grants *grants)
{
	bool inside = grants->count > 0;
	for (size_t i = 0; i < grants->count; i++)
		inside &= grants->items[i].spec && grants->items[i].signer == SIGNER_READER;
	return inside;
}

void grants_note(struct audit *audit)
{
	json_t *list = json_array();
	for (size_t i = 0; i < audit->grants.count; i++) {
		const struct held_grant *grant = &audit->grants.items[i];
		json_array_append_new(list, describe(grant));
		note_use(audit, grant);
		if (!grant->spec)
			continue;
		note_signer(audit, grant);
		note_unjudged(audit, grant);
	}
	if (json_array_size(list) > 0)
		audit->report->grants = json_incref(list);
	json_decref(list);
	if (audit->receipts.count > 0)
		report_note(audit->report, VERIFY_UNCHECKED,
			    "what else was used under the grant, by other runs");
}
