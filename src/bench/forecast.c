#include "bench/forecast.h"

#include "base/json.h"
#include "bench/text.h"
#include "grade/bundle.h"
#include "grade/jsonl.h"
#include "suite/words.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define SAMPLED_ITEMS 256u
#define QUESTION_MAX ((size_t)16 << 20)
#define OVERHEAD_TOKENS 8.0 /* of roles and delimiters */
#define JUDGE_PROMPT_BYTES 900.0
#define JUDGE_OUTPUT_CAP 1024.0

static const struct band bytes_a_token = {5, 4, 3};
static const struct band tokens_a_second = {150, 60, 20};
static const struct band first_token_seconds = {0.2, 0.8, 3};

/* What share of max_tokens answers take, by kind of suite, where no run tells. */
static const struct band shares[] = {
	[SUITE_QA] = {0.02, 0.2, 1},
	[SUITE_CODING] = {0.05, 0.3, 1},
	[SUITE_WRITING] = {0.2,  0.7, 1},
	[SUITE_SAFETY] = {0.05, 0.3, 1},
};
static const struct band judge_output = {3, 150, JUDGE_OUTPUT_CAP};

/* Means of an earlier run. */
struct seen {
	double output, count;
};

struct work {
	struct run *run;
	struct forecast *out;
	double *prompt_bytes; /* of each suite: words of an item */
	struct seen *answers; /* of each suite */
	struct seen judges;
};

static void add(struct band *sum, struct band band, double times)
{
	sum->low += times * band.low;
	sum->mid += times * band.mid;
	sum->high += times * band.high;
}

/* ---- what is known ---- */

/* The mean of items taken at even distances. */
static enum err_code measure_prompts(struct run *run, unsigned number, double *bytes,
				     struct err *err)
{
	const struct run_suite *suite = &run->suites[number];
	size_t step = suite->items / SAMPLED_ITEMS + 1, taken = 0;
	double sum = 0;
	struct buf text = BUF_INIT(QUESTION_MAX);
	enum err_code code = ERR_OK;
	for (size_t i = 0; code == ERR_OK && i < suite->items; i += step) {
		struct suite_item item;
		code = suite_item_render(suite->suite, i, &item, err);
		if (code != ERR_OK)
			break;
		buf_clear(&text);
		words_question(item.words, &text);
		sum += (double)text.size;
		taken++;
		suite_item_release(&item);
	}
	*bytes = taken ? sum / (double)taken : 0;
	buf_release(&text);
	return code;
}

static void take_attempt(struct work *work, const json_t *line)
{
	const json_t *output = json_object_get(json_object_get(line, "usage"), "output");
	const char *suite = json_text(line, "suite");
	struct seen *seen = json_object_get(line, "judge_order") ? &work->judges : NULL;
	if (!json_is_integer(output) || !json_object_get(line, "answer"))
		return;
	for (unsigned i = 0; !seen && i < work->run->suite_count; i++)
		if (strcmp(work->run->suites[i].name, suite) == 0)
			seen = &work->answers[i];
	if (seen) {
		seen->output += (double)json_integer_value(output);
		seen->count++;
	}
}

static enum err_code read_earlier(struct work *work, const char *from, struct err *err)
{
	struct run *run = work->run;
	struct jsonl lines;
	struct jsonl_line line = {0};
	bool more = true;
	const char *path = arena_printf(&run->arena, "%s/bundle/" BUNDLE_TRANSCRIPTS, from);
	if (path && !env_file_exists(run->env, path))
		path = arena_printf(&run->arena, "%s/" BUNDLE_TRANSCRIPTS, from);
	if (!path)
		return ERR_SET(err, ERR_NO_MEMORY, "out of memory");
	enum err_code code = jsonl_open(&lines, run->env, path, path, RUN_LINE_MAX, err);
	while (code == ERR_OK && more) {
		code = jsonl_next(&lines, &line, &more, err);
		if (code == ERR_OK && more)
			take_attempt(work, line.tree);
		json_decref(line.tree);
		line.tree = NULL;
	}
	jsonl_close(&lines);
	return code;
}

/* ---- what follows ---- */

static struct band within(struct band band, double cap)
{
	return (struct band){fmin(band.low, cap), fmin(band.mid, cap), fmin(band.high, cap)};
}

/* Between half and twice the mean of an earlier run. */
static struct band around(const struct seen *seen)
{
	double mean = seen->output / seen->count;
	return (struct band){mean / 2, mean, 2 * mean};
}

static struct band answer_output(const struct work *work, unsigned number)
{
	const struct run_suite *suite = &work->run->suites[number];
	double cap = json_number_value(json_object_get(suite_settings(suite->suite), "max_output"));
	struct band share = shares[suite_kind(suite->suite)];
	if (work->answers[number].count > 0)
		return within(around(&work->answers[number]), cap);
	return (struct band){cap * share.low, cap * share.mid, cap * share.high};
}

static struct band cell_output(const struct work *work, const struct cell *cell)
{
	if (!cell->judging)
		return answer_output(work, cell->suite);
	return work->judges.count > 0 ? within(around(&work->judges), JUDGE_OUTPUT_CAP)
				      : judge_output;
}

static struct band of_bytes(double bytes)
{
	return (struct band){OVERHEAD_TOKENS + bytes / bytes_a_token.low,
			     OVERHEAD_TOKENS + bytes / bytes_a_token.mid,
			     OVERHEAD_TOKENS + bytes / bytes_a_token.high};
}

/* A judge reads the question and two answers; a conversation's later turns hold the earlier
 * answers. */
static struct band cell_input(const struct work *work, const struct cell *cell)
{
	double bytes = work->prompt_bytes[cell->suite] + (cell->judging ? JUDGE_PROMPT_BYTES : 0);
	struct band input = of_bytes(bytes);
	if (cell->judging)
		add(&input, answer_output(work, cell->suite), cell->rating ? 1 : 2);
	else
		add(&input, cell_output(work, cell), cell->turn_count / 2.0);
	return input;
}

static double cost(const struct plan_price *price, double input, double output)
{
	return (input * price->input + output * price->output) / 1e6;
}

static void add_cell(const struct work *work, const struct cell *cell)
{
	const struct plan_model *plan = work->run->models
						? work->run->models[cell_asks(cell)].plan
						: &work->run->plan.models[cell_asks(cell)];
	struct forecast_model *model = &work->out->models[cell_asks(cell)];
	struct band input = cell_input(work, cell), output = cell_output(work, cell);
	double requests = (double)cell->count * (cell->turn_count + 1);
	double at_once = fmin((double)work->run->plan.concurrency, (double)cell->count);
	if (plan->replay || cell->count == 0)
		return;
	model->requests += (size_t)requests;
	add(&model->input, input, requests);
	add(&model->output, output, requests);
	struct band usd = {cost(&plan->price, input.low, output.low),
			   cost(&plan->price, input.mid, output.mid),
			   cost(&plan->price, input.high, output.high)};
	add(&model->usd, usd, requests);
	struct band seconds = {first_token_seconds.low + output.low / tokens_a_second.low,
			       first_token_seconds.mid + output.mid / tokens_a_second.mid,
			       first_token_seconds.high + output.high / tokens_a_second.high};
	add(&model->seconds, seconds, requests / at_once);
}

/* Models are asked side by side; judges wait for the answers. */
static struct band join_time(const struct work *work)
{
	struct band answers = {0}, judges = {0};
	for (unsigned i = 0; i < work->run->plan.model_count; i++) {
		bool judge = work->run->plan.models[i].roles == PLAN_JUDGE;
		struct band *longest = judge ? &judges : &answers;
		struct band own = work->out->models[i].seconds;
		*longest = (struct band){fmax(longest->low, own.low), fmax(longest->mid, own.mid),
					 fmax(longest->high, own.high)};
	}
	/* A judge that keeps up is done soon after the last answer, one that does not is not. */
	return (struct band){fmax(answers.low, judges.low), fmax(answers.mid, judges.mid),
			     answers.high + judges.high};
}

static void add_up(const struct work *work)
{
	struct forecast *out = work->out;
	out->priced = true;
	for (unsigned i = 0; i < work->run->cell_count; i++)
		add_cell(work, &work->run->cells[i]);
	for (unsigned i = 0; i < work->run->plan.model_count; i++) {
		const struct forecast_model *model = &out->models[i];
		const struct plan_price *price = &work->run->plan.models[i].price;
		out->requests += model->requests;
		add(&out->input, model->input, 1);
		add(&out->output, model->output, 1);
		add(&out->usd, model->usd, 1);
		out->priced &= model->requests == 0 || price->input > 0 || price->output > 0;
	}
	out->seconds = join_time(work);
}

enum err_code forecast_make(struct run *run, const char *from, struct forecast *out,
			    struct err *err)
{
	struct work work = {.run = run,
			    .out = out,
			    .prompt_bytes = calloc(run->suite_count + 1, sizeof(double)),
			    .answers = calloc(run->suite_count + 1, sizeof(struct seen))};
	enum err_code code = ERR_OK;
	*out = (struct forecast){.measured = from != NULL};
	if (!work.prompt_bytes || !work.answers)
		code = ERR_SET(err, ERR_NO_MEMORY, "out of memory for the estimate");
	for (unsigned i = 0; code == ERR_OK && i < run->suite_count; i++)
		code = measure_prompts(run, i, &work.prompt_bytes[i], err);
	if (code == ERR_OK && from)
		code = read_earlier(&work, from, err);
	if (code == ERR_OK)
		add_up(&work);
	free(work.prompt_bytes);
	free(work.answers);
	return code;
}

/* ---- told ---- */

const char *forecast_budget(const struct run *run, const struct forecast *forecast)
{
	const struct plan *plan = &run->plan;
	double tokens = (double)plan->budget_tokens, usd = plan->budget_usd;
	bool limited = tokens > 0 || usd > 0;
	bool surely = (tokens > 0 && forecast->input.low + forecast->output.low > tokens) ||
		      (usd > 0 && forecast->usd.low > usd);
	bool maybe = (tokens > 0 && forecast->input.high + forecast->output.high > tokens) ||
		     (usd > 0 && forecast->usd.high > usd);
	return !limited ? "none" : surely ? "will be reached" : maybe ? "may be reached" : "fits";
}

static json_t *encode_band(struct band band, bool whole)
{
	if (!whole)
		return json_pack("{s:f, s:f, s:f}", "low", band.low, "mid", band.mid, "high",
				 band.high);
	return json_pack("{s:I, s:I, s:I}", "low", (json_int_t)ceil(band.low), "mid",
			 (json_int_t)ceil(band.mid), "high", (json_int_t)ceil(band.high));
}

static json_t *encode_model(const struct plan_model *plan, const struct forecast_model *model)
{
	bool priced = plan->price.input > 0 || plan->price.output > 0;
	return json_pack("{s:s, s:I, s:o, s:o, s:o, s:o}", "name", plan->name, "requests",
			 (json_int_t)model->requests, "input_tokens",
			 encode_band(model->input, true), "output_tokens",
			 encode_band(model->output, true), "usd",
			 priced ? encode_band(model->usd, false) : json_null(), "seconds",
			 encode_band(model->seconds, false));
}

json_t *forecast_encode(const struct run *run, const struct forecast *forecast)
{
	json_t *models = json_array();
	for (unsigned i = 0; models && i < run->plan.model_count; i++)
		json_array_append_new(models,
				      encode_model(&run->plan.models[i], &forecast->models[i]));
	return json_pack(
		"{s:I, s:o, s:o, s:o, s:o, s:o, s:b, s:s}", "requests",
		(json_int_t)forecast->requests, "input_tokens", encode_band(forecast->input, true),
		"output_tokens", encode_band(forecast->output, true), "usd",
		forecast->priced ? encode_band(forecast->usd, false) : json_null(), "seconds",
		encode_band(forecast->seconds, false), "models", models, "measured",
		(int)forecast->measured, "budget", forecast_budget(run, forecast));
}

static void append_tokens(struct buf *out, double tokens)
{
	text_append_count(out, (uint64_t)ceil(tokens));
}

void forecast_line(const struct run *run, const struct forecast *forecast, struct buf *out)
{
	const char *budget = forecast_budget(run, forecast);
	text_append_count(out, forecast->requests);
	buf_append_cstr(out, " requests, ");
	append_tokens(out, forecast->input.mid + forecast->output.mid);
	buf_append_cstr(out, " tokens (");
	append_tokens(out, forecast->input.low + forecast->output.low);
	buf_append_cstr(out, " to ");
	append_tokens(out, forecast->input.high + forecast->output.high);
	buf_append_cstr(out, "), ");
	if (forecast->priced) {
		text_append_usd(out, forecast->usd.mid);
		buf_append_cstr(out, " (");
		text_append_usd(out, forecast->usd.low);
		buf_append_cstr(out, " to ");
		text_append_usd(out, forecast->usd.high);
		buf_append_cstr(out, "), ");
	} else {
		buf_append_cstr(out, "cost not known (no price in the plan), ");
	}
	text_append_duration(out, (uint64_t)(1000 * forecast->seconds.mid));
	buf_append_cstr(out, " (");
	text_append_duration(out, (uint64_t)(1000 * forecast->seconds.low));
	buf_append_cstr(out, " to ");
	text_append_duration(out, (uint64_t)(1000 * forecast->seconds.high));
	buf_append_cstr(out, ")");
	if (strcmp(budget, "none") != 0)
		buf_printf(out, "; the budget %s", budget);
}
