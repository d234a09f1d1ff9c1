#include "verify/witnesses.h"

#include <stdio.h>

enum err_code witnesses_look(const struct verify_keys *reader, const struct verify_keys *own,
			     const struct note *note, struct trust_finding *out, struct err *err)
{
	const struct trust_policy *policy = reader->policy ? reader->policy
					    : own          ? own->policy
							   : NULL;
	*out = (struct trust_finding){.quorum = true};
	return policy ? trust_policy_evaluate(policy, note, out, err) : ERR_OK;
}

void witnesses_join(struct trust_finding *all, const struct trust_finding *one)
{
	all->quorum &= one->quorum;
	all->cosigned = 0;
	for (unsigned i = 0; i < TRUST_NODES_MAX; i++) {
		all->by[i] &= one->by[i];
		all->cosigned += all->by[i];
	}
}

static void append(char *out, size_t size, const char *text)
{
	size_t used = strlen(out);
	snprintf(out + used, size - used, "%s", text);
}

void witnesses_phrase(const struct verify_keys *reader, const struct trust_finding *finding,
		      char *out, size_t size)
{
	static const char *const numbers[] = {"no", "one", "two", "three"};
	const struct trust_policy *policy = reader->policy;
	out[0] = '\0';
	if (!policy || !finding->quorum)
		return;
	if (finding->cosigned == 0) {
		/* Of one checkpoint these, of another one those. */
		append(out, size, policy->quorum == TRUST_NOBODY ? "" : " and its witnesses");
		return;
	}
	if (finding->cosigned < 4)
		snprintf(out, size, " and %s witness%s (", numbers[finding->cosigned],
			 finding->cosigned > 1 ? "es" : "");
	else
		snprintf(out, size, " and %u witnesses (", finding->cosigned);
	bool first = true;
	for (unsigned i = 0; i < policy->node_count; i++) {
		if (!finding->by[i])
			continue;
		append(out, size, first ? "" : ", ");
		append(out, size, policy->nodes[i].key.name);
		first = false;
	}
	append(out, size, ")");
}

bool witnesses_lack(const struct verify_keys *reader, const struct trust_finding *finding,
		    const char *origin, char *why, size_t size)
{
	if (!reader->policy || finding->quorum)
		return false;
	snprintf(why, size,
		 "%u of the %u witnesses of your policy cosigned the checkpoint of %.200s, fewer "
		 "than its quorum asks for",
		 finding->cosigned, finding->witnesses, origin);
	return true;
}

void witnesses_note(const struct verify_keys *reader, const struct trust_finding *finding,
		    struct verify_report *report)
{
	const struct trust_policy *policy = reader->policy;
	for (unsigned i = 0; policy && i < policy->node_count; i++)
		if (finding->by[i])
			report_note(report, VERIFY_TRUSTED,
				    "the witness %s of your policy: that it saw this log only grow",
				    policy->nodes[i].key.name);
	if (reader->rotated > 0)
		report_note(report, VERIFY_TRUSTED,
			    "%zu keys of logs that others, which you gave, handed on to them",
			    reader->rotated);
}
