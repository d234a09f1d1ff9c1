/* CSV (RFC 4180): a row for each sample and comparison. */
#include "bench/export_internal.h"

#include "bench/output.h"

#include <stdio.h>

/* What a spreadsheet would take for a formula gets an apostrophe in front; the answer's own bytes
 * are in the bundle. */
static bool is_formula(const char *text)
{
	return *text && strchr("=+-@\t\r", *text) != NULL;
}

static void cell(struct buf *out, const char *text)
{
	if (out->size > 0 && out->data[out->size - 1] != '\n')
		buf_append_char(out, ',');
	buf_append_char(out, '"');
	if (text && is_formula(text))
		buf_append_char(out, '\'');
	for (; text && *text; text++) {
		if (*text == '"')
			buf_append_char(out, '"');
		buf_append_char(out, *text);
	}
	buf_append_char(out, '"');
}

static void number(struct buf *out, int64_t value)
{
	buf_append_char(out, ',');
	if (value >= 0)
		buf_printf(out, "%lld", (long long)value);
}

static enum err_code write_row(void *argument, const struct export_row *row, struct err *err)
{
	struct output *output = argument;
	struct buf *out = &output->buf;
	const struct run_score *score = &row->score;
	const struct run_transcript *attempt = &row->attempt;
	(void)err;
	output_step(output); /* a row begins where the buffer is empty or behind a newline */
	cell(out, score->suite);
	cell(out, score->item);
	cell(out, score->model);
	number(out, score->sample);
	cell(out, score->opponent);
	cell(out, score->judge);
	cell(out, score->scorer);
	buf_printf(out, ",%.17g,%s,%s", score->score, score->failed ? "true" : "false",
		   score->refused == REFUSED_UNKNOWN ? ""
		   : score->refused == REFUSED_YES   ? "true"
						     : "false");
	cell(out, score->cluster);
	cell(out, attempt->finish);
	cell(out, attempt->served);
	number(out, attempt->usage.input);
	number(out, attempt->usage.output);
	number(out, attempt->elapsed_ms);
	cell(out, attempt->record);
	cell(out, attempt->words);
	cell(out, *export_failure(row) ? export_failure(row) : score->explanation);
	cell(out, attempt->answer);
	buf_append_cstr(out, "\r\n");
	return ERR_OK;
}

enum err_code export_csv(struct export *export, struct err *err)
{
	struct output output;
	struct err closing = ERR_INIT;
	ERR_TRY(export_check_names(export, err));
	output_open(&output, export->env, export->options->output);
	buf_append_cstr(&output.buf,
			"suite,item,model,sample,opponent,judge,scorer,score,failed,refused,"
			"cluster,finish,served,input_tokens,output_tokens,elapsed_ms,record,words,"
			"explanation,answer\r\n");
	enum err_code code = export_each(export, export->options->suite, export->options->model,
					 true, write_row, &output, err);
	if (output_close(&output, &closing) != ERR_OK && code == ERR_OK) {
		*err = closing;
		code = closing.code;
	}
	return code;
}
