#include "verify/signs.h"

#include "verify/audit.h"

#include <stdio.h>
#include <stdlib.h>

static void take_name(struct signs *signs, const char *served)
{
	if (!served)
		return;
	if (!*signs->served)
		snprintf(signs->served, sizeof(signs->served), "%s", served);
	else if (!*signs->other && strncmp(signs->served, served, sizeof(signs->served) - 1) != 0)
		snprintf(signs->other, sizeof(signs->other), "%s", served);
}

static uint32_t input_of(const struct run_usage *usage)
{
	int64_t sum = (usage->input > 0 ? usage->input : 0) +
		      (usage->cache_read > 0 ? usage->cache_read : 0) +
		      (usage->cache_write > 0 ? usage->cache_write : 0);
	return sum < UINT32_MAX ? (uint32_t)sum : UINT32_MAX;
}

/* The samples of an item have the same words, and so the same input. */
static enum err_code take_input(const struct audit *audit, struct audit_cell *cell, size_t item,
				const struct run_transcript *line, struct signs *signs,
				struct err *err)
{
	const struct audit_suite *suite = &audit->suites[cell->suite];
	uint32_t input = input_of(&line->usage);
	if (cell->judging || cell->turns || suite->samples < 2 || input == 0)
		return ERR_OK;
	if (!cell->inputs)
		cell->inputs = calloc(suite->items ? suite->items : 1, sizeof(*cell->inputs));
	if (!cell->inputs)
		return ERR_SET(err, ERR_NO_MEMORY, "out of memory for token counts");
	signs->repeats += cell->inputs[item] != 0;
	signs->uneven += cell->inputs[item] != 0 && cell->inputs[item] != input;
	if (cell->inputs[item] == 0)
		cell->inputs[item] = input;
	return ERR_OK;
}

enum err_code signs_take(struct audit *audit, struct audit_cell *cell, size_t item,
			 const struct run_transcript *line, bool hidden, struct err *err)
{
	struct signs *signs = &audit->signs[audit_asked(cell)];
	if (audit->plan.models[audit_asked(cell)].replay)
		return ERR_OK;
	signs->answers += !hidden;
	take_name(signs, line->served);
	if (!hidden && line->answer && line->usage.output > 0)
		signs->dense += (size_t)line->usage.output > strlen(line->answer) + 1;
	return take_input(audit, cell, item, line, signs, err);
}

static void tell(struct audit *audit, const char *model, const struct signs *signs)
{
	struct verify_report *report = audit->report;
	if (*signs->other)
		report_note(report, VERIFY_UNCHECKED,
			    "%.64s: answers name more than one model, %.64s and %.64s", model,
			    signs->served, signs->other);
	if (signs->dense > 0)
		report_note(report, VERIFY_UNCHECKED,
			    "%.64s: %zu of %zu answers are billed more output tokens than they "
			    "have bytes: reasoning that is not shown, or tokens that were not "
			    "given",
			    model, signs->dense, signs->answers);
	if (signs->uneven > 0)
		report_note(report, VERIFY_UNCHECKED,
			    "%.64s: %zu of %zu prompts that were asked again were billed another "
			    "number of input tokens",
			    model, signs->uneven, signs->repeats);
}

void signs_note(struct audit *audit)
{
	size_t answers = 0, repeats = 0;
	for (unsigned i = 0; i < audit->plan.model_count; i++) {
		const struct signs *signs = &audit->signs[i];
		answers += signs->answers;
		repeats += signs->repeats;
		tell(audit, audit->plan.models[i].name, signs);
	}
	if (answers > 0)
		report_note(audit->report, VERIFY_UNCHECKED,
			    "whether providers served this run as they serve everybody: looked at "
			    "are the model ids named, tokens against bytes (%zu answers) and the "
			    "input tokens of repeated prompts (%zu), which a provider that favours "
			    "evaluations can keep in order",
			    answers, repeats);
}
