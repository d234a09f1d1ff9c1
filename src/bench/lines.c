/* The journal's lines: composing them, and taking them back when a run is resumed. An attempt and a
 * score carry their line of transcripts.jsonl or scores.jsonl verbatim as the last member, so that
 * those files are cut out of the journal without parsing it. */
#include "bench/run.h"

#include "base/json.h"
#include "bench/budget.h"
#include "grade/rating.h"
#include "suite/words.h"

#include <stdlib.h>

static struct buf *begin(struct run *run, const char *event)
{
	struct buf *out = journal_begin(&run->journal);
	buf_printf(out, "{\"event\":\"%s\"", event);
	return out;
}

static void member(struct buf *out, const char *key, const char *text)
{
	buf_printf(out, ",\"%s\":", key);
	json_append_string(out, bytes_from(text));
}

static void end(struct run *run)
{
	buf_append_char(journal_begin(&run->journal), '}');
	journal_end(&run->journal);
}

/* Puts the encoded line in, without its newline. A line that cannot be encoded ends the run: what
 * cannot be recorded must not be counted. */
static void embed(struct run *run, json_t *line)
{
	struct buf *out = journal_begin(&run->journal);
	struct err err = ERR_INIT;
	buf_append_cstr(out, ",\"line\":");
	if (run_line_append(out, line, &err) != ERR_OK) {
		run_fail(run, &err);
		return;
	}
	if (!out->failed)
		out->data[--out->size] = '\0';
}

static void place(struct buf *out, const struct cell *cell, size_t index)
{
	buf_printf(out, ",\"cell\":%u,\"index\":%zu", cell->number, index);
}

static void tokens(struct buf *out, const char *key, const struct budget_most *most)
{
	buf_printf(out, ",\"%s\":[%llu,%llu]", key, (unsigned long long)most->input,
		   (unsigned long long)most->output);
}

void lines_ask(struct run *run, const struct request *request)
{
	struct buf *out = begin(run, "ask");
	place(out, request->cell, request->index);
	buf_printf(out, ",\"attempt\":%u,\"time\":%lld",
		   request->cell->tasks[request->index].attempts, (long long)request->started_ms);
	member(out, "words", request->words);
	if (request->most.input > 0)
		tokens(out, "most", &request->most);
	end(run);
}

void lines_attempt(struct run *run, struct cell *cell, size_t index,
		   const struct run_transcript *transcript, const char *request_id, bool final,
		   bool throttled, const struct budget_most *charged)
{
	cell->tasks[index].offset = journal_offset(&run->journal);
	struct buf *out = begin(run, transcript->error ? "failure" : "answer");
	place(out, cell, index);
	buf_append_cstr(out, final ? ",\"final\":true" : ",\"final\":false");
	if (throttled)
		buf_append_cstr(out, ",\"throttled\":true");
	if (charged)
		tokens(out, "charged", charged);
	if (request_id && *request_id)
		member(out, "request_id", request_id);
	embed(run, run_transcript_encode(transcript));
	end(run);
	cell_use_take(&cell->use, &run->models[cell_asks(cell)].plan->price, transcript);
	cells_observe(run, cell, index, transcript);
}

void lines_score(struct run *run, struct cell *cell, size_t index, const struct run_score *score)
{
	cell->tasks[index].score_offset = journal_offset(&run->journal);
	struct buf *out = begin(run, "score");
	place(out, cell, index);
	embed(run, run_score_encode(score));
	end(run);
}

void lines_gateway(struct run *run, const struct run_model *model, unsigned suite)
{
	const struct gateway_run *registered = &model->gateway_runs[suite];
	struct buf *out = begin(run, "gateway");
	buf_printf(out, ",\"model\":%u,\"number\":%u", model->number, suite);
	member(out, "name", model->gateway_name);
	member(out, "vkey", model->vkey);
	if (model->policy)
		member(out, "policy", model->policy);
	if (model->sealed)
		member(out, "verdict_key", model->verdict_note);
	if (*registered->seed)
		member(out, "opening_seed", registered->seed);
	if (registered->blind)
		buf_append_cstr(out, ",\"blind\":true");
	member(out, "suite", registered->suite);
	member(out, "run", registered->run);
	member(out, "record", registered->record);
	member(out, "suite_record", registered->suite_record);
	member(out, "closing", registered->closing);
	buf_printf(out, ",\"place\":%lld,\"of\":%lld,\"first\":%lld,\"re_exposed\":%lld",
		   (long long)registered->place, (long long)registered->of,
		   (long long)registered->first, (long long)registered->re_exposed);
	if (registered->registered_bytes)
		buf_printf(out, ",\"words_registered\":%lld,\"words_free\":%lld",
			   (long long)registered->registered_bytes,
			   (long long)registered->free_bytes);
	buf_append_cstr(out, registered->closed ? ",\"closed\":true" : ",\"closed\":false");
	end(run);
}

void lines_simulated(struct run *run, const struct run_model *model)
{
	struct buf *out = begin(run, "simulated");
	buf_printf(out, ",\"model\":%u", model->number);
	member(out, "label", model->simulated);
	end(run);
}

void lines_note(struct run *run, const char *event, const char *text)
{
	if (!run->journal_open)
		return; /* nothing is run, but recorded */
	struct buf *out = begin(run, event);
	member(out, "text", text);
	buf_printf(out, ",\"time\":%lld", (long long)env_wall_ms(run->env));
	end(run);
}

bool lines_embedded(struct bytes text, const char *event, struct bytes *line)
{
	static const char marker[] = ",\"line\":";
	char opening[64];
	int size = snprintf(opening, sizeof(opening), "{\"event\":\"%s\",", event);
	if (!bytes_starts_with(text, bytes_of(opening, (size_t)size)) || text.size < 2)
		return false;
	const char *at = memmem(text.data, text.size, marker, sizeof(marker) - 1);
	if (!at)
		return false;
	at += sizeof(marker) - 1;
	*line = bytes_of(at, (size_t)(text.data + text.size - 1 - at));
	return true;
}

/* ---- taking back ---- */

static enum err_code find_task(struct run *run, const json_t *line, struct cell **cell,
			       size_t *index, struct err *err)
{
	int64_t number, place_of_task;
	ERR_TRY(json_get_integer(line, "cell", "journal", 0, (int64_t)run->cell_count - 1, &number,
				 err));
	*cell = &run->cells[number];
	ERR_TRY(json_get_integer(line, "index", "journal", 0, (int64_t)(*cell)->count - 1,
				 &place_of_task, err));
	*index = (size_t)place_of_task;
	return ERR_OK;
}

static enum err_code take_ask(struct run *run, const json_t *line, uint64_t offset, struct err *err)
{
	struct cell *cell;
	size_t index;
	int64_t attempt;
	ERR_TRY(find_task(run, line, &cell, &index, err));
	ERR_TRY(json_get_integer(line, "attempt", "journal", 0, UINT16_MAX, &attempt, err));
	cell->tasks[index].attempts = (uint16_t)attempt;
	cell->tasks[index].asked = true;
	cell->tasks[index].offset = offset;
	return ERR_OK;
}

static void take_failure(struct task *task, bool final, bool throttled)
{
	if (throttled)
		task->throttles++;
	else
		task->failures++;
	task->state = final ? TASK_FAILED : TASK_READY;
}

/* An answer: for contestants it waits for its score line, for judges the verdict is read again. */
static void take_answer(struct run *run, struct cell *cell, size_t index,
			const struct run_transcript *transcript)
{
	struct task *task = &cell->tasks[index];
	if (cell->rating) {
		task->state = TASK_ANSWERED;
	} else if (cell->judging) {
		task->verdict = (uint8_t)judge_parse(bytes_from(transcript->answer));
		task->state = TASK_ANSWERED;
	} else if (run->suites[cell->suite].pairwise) {
		task->score = (double)words_characters(bytes_from(transcript->answer));
		task->state = TASK_ANSWERED;
	} else if (run->suites[cell->suite].judged) {
		task->refused = (int8_t)rating_rule(run->suites[cell->suite].scorer,
						    bytes_from(transcript->answer));
		task->state = TASK_ANSWERED;
	} else {
		task->state = TASK_UNGRADED;
	}
}

/* [input, output] of the journal; nothing where it is absent. */
static struct budget_most read_most(const json_t *pair)
{
	return (struct budget_most){
		.input = (uint64_t)json_integer_value(json_array_get(pair, 0)),
		.output = (uint64_t)json_integer_value(json_array_get(pair, 1)),
	};
}

static void take_charge(struct run *run, const struct run_model *model, const json_t *charged)
{
	if (charged)
		budget_charge(run, model, read_most(charged));
}

static enum err_code take_attempt(struct run *run, const json_t *line, uint64_t offset,
				  struct err *err)
{
	struct cell *cell;
	size_t index;
	bool final, throttled;
	struct run_transcript transcript;
	ERR_TRY(find_task(run, line, &cell, &index, err));
	ERR_TRY(json_get_bool_or(line, "final", "journal", false, &final, err));
	ERR_TRY(json_get_bool_or(line, "throttled", "journal", false, &throttled, err));
	ERR_TRY(run_transcript_decode(json_object_get(line, "line"), "journal", &transcript, err));
	struct task *task = &cell->tasks[index];
	struct run_model *model = &run->models[cell_asks(cell)];
	task->asked = false;
	task->offset = offset;
	task->attempts = (uint16_t)(transcript.attempt + 1);
	answer_count_use(run, model, &transcript);
	take_charge(run, model, json_object_get(line, "charged"));
	cell_use_take(&cell->use, &model->plan->price, &transcript);
	cells_observe(run, cell, index, &transcript);
	if (transcript.error)
		take_failure(task, final, throttled);
	else if (!cell->judging && steps_take(run, cell, index, offset))
		task->state = TASK_READY;
	else
		take_answer(run, cell, index, &transcript);
	model->answered += !transcript.error;
	if (transcript.served)
		snprintf(model->served, sizeof(model->served), "%s", transcript.served);
	if (transcript.record)
		voucher_want_receipt(model, transcript.record);
	return ERR_OK;
}

static enum err_code take_score(struct run *run, const json_t *line, uint64_t offset,
				struct err *err)
{
	struct cell *cell;
	size_t index;
	struct run_score score;
	ERR_TRY(find_task(run, line, &cell, &index, err));
	ERR_TRY(run_score_decode(json_object_get(line, "line"), "journal", &score, err));
	struct task *task = &cell->tasks[index];
	task->score_offset = offset;
	task->score = score.score;
	task->refused = (int8_t)score.refused;
	task->time_limited = score.time_limited;
	task->failed_score = score.failed;
	task->scored = true;
	if (cell->rating && score.verdicts[0]) {
		enum rating_verdict verdict;
		if (!rating_verdict_from(score.verdicts[0], &verdict))
			return ERR_SET(err, ERR_CORRUPT, "the verdict %.40s is none",
				       score.verdicts[0]);
		task->verdict = (uint8_t)verdict;
	}
	if (task->state == TASK_UNGRADED)
		task->state = TASK_ANSWERED;
	return ERR_OK;
}

static enum err_code take_gateway(struct run *run, const json_t *line, struct err *err)
{
	static const char what[] = "journal";
	int64_t model_number, suite;
	const char *name, *vkey, *suite_id, *id, *record, *suite_record, *note, *seed, *closing;
	const char *policy;
	ERR_TRY(json_get_integer(line, "model", what, 0, (int64_t)run->model_count - 1,
				 &model_number, err));
	ERR_TRY(json_get_integer(line, "number", what, 0, (int64_t)run->suite_count - 1, &suite,
				 err));
	ERR_TRY(json_get_string(line, "name", what, &name, err));
	ERR_TRY(json_get_string(line, "vkey", what, &vkey, err));
	ERR_TRY(json_get_string(line, "suite", what, &suite_id, err));
	ERR_TRY(json_get_string(line, "run", what, &id, err));
	ERR_TRY(json_get_string(line, "record", what, &record, err));
	ERR_TRY(json_get_string(line, "suite_record", what, &suite_record, err));
	ERR_TRY(json_get_string_or(line, "policy", what, NULL, &policy, err));
	ERR_TRY(json_get_string_or(line, "verdict_key", what, "", &note, err));
	ERR_TRY(json_get_string_or(line, "opening_seed", what, "", &seed, err));
	ERR_TRY(json_get_string_or(line, "closing", what, "", &closing, err));
	struct run_model *model = &run->models[model_number];
	struct gateway_run *registered = &model->gateway_runs[suite];
	snprintf(model->verdict_note, sizeof(model->verdict_note), "%s", note);
	snprintf(registered->seed, sizeof(registered->seed), "%s", seed);
	model->sealed = *note != '\0';
	snprintf(model->gateway_name, sizeof(model->gateway_name), "%s", name);
	snprintf(model->vkey, sizeof(model->vkey), "%s", vkey);
	if (policy)
		model->policy = arena_copy(&run->arena, bytes_from(policy));
	snprintf(registered->suite, sizeof(registered->suite), "%s", suite_id);
	snprintf(registered->run, sizeof(registered->run), "%s", id);
	snprintf(registered->record, sizeof(registered->record), "%s", record);
	snprintf(registered->suite_record, sizeof(registered->suite_record), "%s", suite_record);
	snprintf(registered->closing, sizeof(registered->closing), "%s", closing);
	registered->place = json_integer_value(json_object_get(line, "place"));
	registered->of = json_integer_value(json_object_get(line, "of"));
	registered->first = json_integer_value(json_object_get(line, "first"));
	registered->re_exposed = json_integer_value(json_object_get(line, "re_exposed"));
	registered->registered_bytes =
		json_integer_value(json_object_get(line, "words_registered"));
	registered->free_bytes = json_integer_value(json_object_get(line, "words_free"));
	registered->open = true;
	registered->blind = json_is_true(json_object_get(line, "blind"));
	voucher_want_receipt(model, registered->record);
	if (*registered->closing)
		voucher_want_receipt(model, registered->closing);
	if (*registered->suite_record)
		voucher_want_receipt(model, registered->suite_record);
	return json_get_bool_or(line, "closed", what, false, &registered->closed, err);
}

static enum err_code take_simulated(struct run *run, const json_t *line, struct err *err)
{
	int64_t number;
	const char *label;
	ERR_TRY(json_get_integer(line, "model", "journal", 0, (int64_t)run->model_count - 1,
				 &number, err));
	ERR_TRY(json_get_string(line, "label", "journal", &label, err));
	struct run_model *model = &run->models[number];
	snprintf(model->simulated, sizeof(model->simulated), "%s", label);
	return ERR_OK;
}

enum err_code lines_take(void *argument, const json_t *line, uint64_t offset, struct bytes text,
			 struct err *err)
{
	struct run *run = argument;
	const char *event;
	(void)text;
	ERR_TRY(json_get_string(line, "event", "journal", &event, err));
	enum err_code code = ERR_OK;
	if (strcmp(event, "ask") == 0)
		code = take_ask(run, line, offset, err);
	else if (strcmp(event, "answer") == 0 || strcmp(event, "failure") == 0)
		code = take_attempt(run, line, offset, err);
	else if (strcmp(event, "score") == 0)
		code = take_score(run, line, offset, err);
	else if (strcmp(event, "gateway") == 0)
		code = take_gateway(run, line, err);
	else if (strcmp(event, "simulated") == 0)
		code = take_simulated(run, line, err);
	if (code != ERR_OK)
		err_prefix(err, "%s, offset %llu", run->journal.path, (unsigned long long)offset);
	return code;
}

static void write_unknown(struct run *run, struct cell *cell, size_t index, const json_t *asked)
{
	struct task *task = &cell->tasks[index];
	const struct run_suite *suite = &run->suites[cell->suite];
	struct run_transcript transcript = {
		.suite = suite->name,
		.item = suite_id(suite->suite, cell_item(run, cell, index)),
		.model = run->models[cell->model].plan->name,
		.sample = cell_sample(run, cell, index),
		.attempt = task->attempts,
		.words = json_string_value(json_object_get(asked, "words")),
		.usage = {-1, -1, -1, -1, false},
		.error = "unknown outcome: the harness was cut off after it had sent the request",
		.started_ms = json_integer_value(json_object_get(asked, "time")),
		.first_token_ms = -1,
		.judge_order = -1,
		.step = -1,
	};
	if (!cell->judging && cells_item(run, cell->suite, cell_item(run, cell, index))->steps > 1)
		transcript.step = (int)steps_done(cell, index);
	if (cell->judging)
		transcript.judge_model = run->models[cell->judge].plan->name;
	if (cell->judging && !cell->rating) {
		transcript.judge_opponent = run->models[cell->opponent].plan->name;
		transcript.judge_order = (int)(index & 1);
	}
	const json_t *most = json_object_get(asked, "most");
	struct budget_most charged = read_most(most);
	take_charge(run, &run->models[cell_asks(cell)], most);
	lines_attempt(run, cell, index, &transcript, NULL, false, true, most ? &charged : NULL);
}

/* The request was sent and nobody knows what became of it: the attempt is marked, and the sample is
 * asked again. */
static void mark_unknown(struct run *run, struct cell *cell, size_t index)
{
	struct task *task = &cell->tasks[index];
	struct err err = ERR_INIT;
	json_t *asked = NULL;
	if (journal_read(&run->journal, task->offset, &run->scratch, &err) != ERR_OK ||
	    json_parse(buf_bytes(&run->scratch), "a line of the journal", &asked, &err) != ERR_OK) {
		run_fail(run, &err);
		return;
	}
	write_unknown(run, cell, index, asked);
	json_decref(asked);
	task->asked = false;
	task->attempts++;
	task->state = TASK_READY;
}

static void count_cell(struct run *run, struct cell *cell)
{
	cell->ready = cell->ungraded = cell->cursor = cell->grade_cursor = 0;
	for (size_t i = 0; i < cell->count; i++) {
		struct task *task = &cell->tasks[i];
		if (task->asked)
			mark_unknown(run, cell, i);
		if (!cell->judging && task->state == TASK_FAILED && !task->scored)
			scoring_failed(run, cell, i, "no answer");
		cell->ready += task->state == TASK_READY;
		cell->ungraded += task->state == TASK_UNGRADED;
		if (task->state == TASK_ANSWERED || task->state == TASK_FAILED)
			cells_done(run, cell, i);
	}
}

static void settle(struct run *run, struct cell *cell, size_t index)
{
	if (cell->rating)
		rating_resume(run, cell, index);
	else
		judging_settle(run, cell, index);
}

void lines_taken(struct run *run)
{
	for (unsigned i = 0; i < run->cell_count; i++)
		if (!run->cells[i].judging)
			count_cell(run, &run->cells[i]);
	for (unsigned i = 0; i < run->cell_count; i++)
		if (run->cells[i].judging)
			count_cell(run, &run->cells[i]);
	for (unsigned i = 0; i < run->cell_count; i++)
		for (size_t k = 0; run->cells[i].judging && k < run->cells[i].count;
		     k += cell_orders(&run->cells[i]))
			settle(run, &run->cells[i], k);
}

json_t *lines_answer(struct run *run, uint64_t offset, const char **text, struct err *err)
{
	struct bytes line;
	json_t *tree = NULL;
	*text = NULL;
	if (journal_read(&run->journal, offset, &run->scratch, err) != ERR_OK)
		return NULL;
	if (!lines_embedded(buf_bytes(&run->scratch), "answer", &line)) {
		ERR_SET(err, ERR_CORRUPT, "%s: no answer at offset %llu", run->journal.path,
			(unsigned long long)offset);
		return NULL;
	}
	if (json_parse(line, "a line of the journal", &tree, err) != ERR_OK)
		return NULL;
	*text = json_string_value(json_object_get(tree, "answer"));
	if (!*text) /* sealed: whoever asks looks for the verdict */
		*text = "";
	return tree;
}
