/* AlpacaEval (Li et al. 2023): outputs (one JSON list of instruction, output, generator, …) become
 * a writing suite with a transcript of the outputs; annotations give the published win rate. */
#include "suite/import_internal.h"

#include "base/json.h"
#include "suite/transcript.h"

#include <math.h>
#include <stdio.h>

static const char suite_yaml[] = "name: alpaca-eval\n"
				 "version: 1\n"
				 "licence: CC-BY-NC-4.0\n"
				 "source: \"https://github.com/tatsu-lab/alpaca_eval\"\n"
				 "kind: writing\n"
				 "template: \"{{instruction}}\"\n"
				 "settings: { max_tokens: 2048 }\n"
				 "samples: 1\n"
				 "scorer: { kind: pairwise }\n";

static bool detect(struct bytes content, const json_t *first)
{
	static const char *const members[] = {"instruction", "output", "generator", NULL};
	(void)content;
	return import_has(first, members);
}

static enum err_code add_note(struct import *import, const char *generator, struct err *err)
{
	json_t *note = json_pack("{s:s++}", "note", "AlpacaEval outputs of ", generator,
				 " (recorded answers)");
	if (!note)
		return ERR_SET(err, ERR_NO_MEMORY, "out of memory");
	enum err_code code = json_canonical(note, &import->transcript, err);
	json_decref(note);
	buf_append_char(&import->transcript, '\n');
	return code;
}

static enum err_code add_answer(struct import *import, const json_t *row, struct err *err)
{
	json_t *answers = json_pack("[O]", json_object_get(row, "output"));
	enum err_code code = transcript_append_line(
		&import->transcript, json_object_get(row, "instruction"), answers, err);
	json_decref(answers);
	return code;
}

static enum err_code add_row(struct import *import, const json_t *row, struct err *err)
{
	const char *instruction, *output, *generator, *dataset;
	ERR_TRY(json_get_string(row, "instruction", "the output", &instruction, err));
	ERR_TRY(json_get_string(row, "output", "the output", &output, err));
	ERR_TRY(json_get_string(row, "generator", "the output", &generator, err));
	ERR_TRY(json_get_string_or(row, "dataset", "the output", NULL, &dataset, err));
	if (import->count == 0)
		ERR_TRY(add_note(import, generator, err));
	char id[24];
	snprintf(id, sizeof(id), "%zu", import->count + 1);
	ERR_TRY(import_add_item(import,
				json_pack("{s:s, s:s, s:s*}", "id", id, "instruction", instruction,
					  "dataset", dataset),
				err));
	return add_answer(import, row, err);
}

static enum err_code run(struct import *import, struct err *err)
{
	buf_append_cstr(&import->yaml, suite_yaml);
	return import_rows(import, add_row, err);
}

const struct import_format import_alpaca = {"alpaca", detect, run};

/* The preference as a share of the win in [0, 1]; *counts is false for null. */
static enum err_code preference(const json_t *annotation, size_t index, double *share, bool *counts,
				struct err *err)
{
	const json_t *value = json_object_get(annotation, "preference");
	*counts = value && !json_is_null(value);
	if (value && !*counts)
		return ERR_OK;
	double number = json_number_value(value);
	if (json_is_number(value) && number == 0)
		number = 1.5;
	if (!json_is_number(value) || !(number >= 1 && number <= 2))
		return ERR_SET(err, ERR_INVALID,
			       "annotation %zu: \"preference\" must be 0 or a number from 1 to 2",
			       index + 1);
	*share = number - 1;
	return ERR_OK;
}

enum err_code alpaca_win_rate(const json_t *annotations, struct alpaca_win_rate *out,
			      struct err *err)
{
	double mean = 0, squares = 0; /* Welford's running mean and sum of squared deviations */
	*out = (struct alpaca_win_rate){0};
	if (!json_is_array(annotations))
		return ERR_SET(err, ERR_INVALID, "annotations must be one JSON list");
	for (size_t i = 0; i < json_array_size(annotations); i++) {
		double share = 0;
		bool counts;
		ERR_TRY(preference(json_array_get(annotations, i), i, &share, &counts, err));
		out->left_out += !counts;
		if (!counts)
			continue;
		double step = share - mean;
		mean += step / (double)++out->n;
		squares += step * (share - mean);
	}
	if (out->n == 0)
		return ERR_SET(err, ERR_INVALID, "no annotation has a preference");
	out->win_rate = mean;
	if (out->n > 1)
		out->standard_error = sqrt(squares / (double)(out->n - 1) / (double)out->n);
	return ERR_OK;
}
