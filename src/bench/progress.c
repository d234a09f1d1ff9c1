#include "bench/progress.h"

#include "bench/text.h"
#include "grade/statistics.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define LIVE_NS 200000000u
#define LINES_NS 5000000000u
#define RATE_NS 10000000000u
#define BAR_COLUMNS 12u
#define VIEW_MAX ((size_t)256 << 10)
#define COLUMNS_DEFAULT 80u
#define ROWS_DEFAULT 24u

/* How fast something went in the last seconds. */
struct rate {
	uint64_t since_ns;
	size_t done;
	double per_second; /* 0: not known yet */
};

struct progress {
	struct run *run;
	struct env_timer timer;
	struct buf view;
	unsigned drawn; /* lines of the live view on the screen */
	bool live;
	struct rate rate;   /* of the whole run, for the estimate of what is left */
	struct rate *rates; /* one for each cell */
};

static const struct bench_screen *screen_of(const struct run *run)
{
	return &run->options->screen;
}

static void show(const struct run *run, struct bytes text)
{
	const struct bench_screen *screen = screen_of(run);
	if (screen->write && text.size > 0)
		screen->write(screen->argument, text);
}

/* ---- one cell ---- */

static void append_interval(struct buf *out, const struct cell *cell)
{
	if (cell->scored == 0)
		return;
	struct interval interval = statistics_wilson(cell->score_sum, (double)cell->scored, 0.95);
	double mean = cell->score_sum / (double)cell->scored;
	buf_printf(out, "  %5.1f %% [%.1f, %.1f]", 100 * mean, 100 * interval.low,
		   100 * interval.high);
}

static void append_bar(struct buf *out, size_t done, size_t count)
{
	unsigned full = count ? (unsigned)(done * BAR_COLUMNS / count) : BAR_COLUMNS;
	for (unsigned i = 0; i < BAR_COLUMNS; i++)
		buf_append_cstr(out, i < full ? "█" : "░");
	buf_append_char(out, ' ');
}

static void append_name(struct buf *out, const struct run *run, const struct cell *cell)
{
	struct buf name = BUF_INIT(1024);
	text_append_line(&name, bytes_from(run->suites[cell->suite].name), 40);
	buf_append_cstr(&name, "  ");
	text_append_line(&name, bytes_from(run->models[cell->model].plan->name), 40);
	if (cell->judging && !cell->rating) {
		buf_append_cstr(&name, " : ");
		text_append_line(&name, bytes_from(run->models[cell->opponent].plan->name), 40);
	}
	if (cell->judging) {
		buf_append_cstr(&name, ", judge ");
		text_append_line(&name, bytes_from(run->models[cell->judge].plan->name), 40);
	}
	buf_append_bytes(out, buf_bytes(&name));
	for (size_t i = text_columns(buf_bytes(&name)); i < 30; i++)
		buf_append_char(out, ' ');
	buf_release(&name);
}

/* ", 3 throttled (429), 1 no connection". */
static void append_errors(struct buf *out, const uint32_t errors[CELL_ERRORS])
{
	for (unsigned i = 0; i < CELL_ERRORS; i++)
		if (errors[i] > 0)
			buf_printf(out, ", %u × %s", errors[i],
				   cell_error_name((enum cell_error)i));
}

static void append_cell(struct buf *out, const struct run *run, const struct cell *cell, bool bar)
{
	append_name(out, run, cell);
	buf_append_cstr(out, "  ");
	if (bar)
		append_bar(out, cell->done, cell->count);
	buf_printf(out, "%5zu/%zu", cell->done, cell->count);
	append_interval(out, cell);
	if (cell->failed > 0)
		buf_printf(out, "  %zu failed", cell->failed);
	if (cell->ungraded > 0)
		buf_printf(out, "  %zu to grade", cell->ungraded);
}

/* What the cell used and what went wrong, on a line of its own below it; nothing while there is
 * nothing to tell. */
static void append_use(struct progress *progress, unsigned number, struct buf *out)
{
	const struct cell *cell = &progress->run->cells[number];
	const struct cell_use *use = &cell->use;
	double rate = progress->rates[number].per_second;
	size_t before = out->size;
	if (rate > 0 && cell->done < cell->count) {
		buf_printf(out, ", %.1f/s, left about ", rate);
		text_append_duration(out,
				     (uint64_t)((double)(cell->count - cell->done) * 1000 / rate));
	}
	if (use->input + use->output > 0) {
		buf_append_cstr(out, ", ");
		text_append_count(out, (uint64_t)(use->input + use->output));
		buf_append_cstr(out, " tokens");
	}
	if (use->usd > 0) {
		buf_append_cstr(out, ", ");
		text_append_usd(out, use->usd);
	}
	append_errors(out, use->errors);
	if (out->size == before || out->failed)
		return;
	memcpy(out->data + before, "  ", 2); /* in place of the first comma */
	buf_append_char(out, '\n');
}

/* ---- the whole ---- */

static void measure(struct rate *rate, size_t done, uint64_t now)
{
	uint64_t passed = now - rate->since_ns;
	if (passed < RATE_NS / 10)
		return;
	double recent = (double)(done - rate->done) * 1e9 / (double)passed;
	double weight = fmin(1, (double)passed / (double)RATE_NS);
	rate->per_second =
		rate->per_second > 0 ? rate->per_second * (1 - weight) + recent * weight : recent;
	rate->since_ns = now;
	rate->done = done;
}

static void measure_all(struct progress *progress)
{
	const struct run *run = progress->run;
	measure(&progress->rate, run->outcomes, run->loop->now_ns);
	for (unsigned i = 0; i < run->cell_count; i++)
		measure(&progress->rates[i], run->cells[i].done, run->loop->now_ns);
}

static void append_summary(struct progress *progress, struct buf *out)
{
	const struct run *run = progress->run;
	unsigned in_flight = 0;
	size_t failed = 0;
	uint32_t errors[CELL_ERRORS] = {0};
	uint64_t now = run->loop->now_ns;
	double rate = progress->rate.per_second;
	for (unsigned i = 0; i < run->model_count; i++)
		in_flight += run->models[i].in_flight_count;
	for (unsigned i = 0; i < run->cell_count; i++)
		failed += run->cells[i].failed;
	for (unsigned i = 0; i < run->cell_count; i++)
		for (unsigned k = 0; k < CELL_ERRORS; k++)
			errors[k] += run->cells[i].use.errors[k];
	buf_printf(out, "%zu/%zu done, %u in flight, %zu failed", run->outcomes, run->cell_tasks,
		   in_flight, failed);
	if (rate > 0)
		buf_printf(out, ", %.1f/s", rate);
	if (run->tokens > 0) {
		buf_append_cstr(out, ", ");
		text_append_count(out, run->tokens);
		buf_append_cstr(out, " tokens");
	}
	if (run->usd > 0) {
		buf_append_cstr(out, ", ");
		text_append_usd(out, run->usd);
	}
	buf_append_cstr(out, ", ");
	text_append_duration(out, (now - run->started_ns) / 1000000u);
	if (rate > 0 && run->outcomes < run->cell_tasks) {
		buf_append_cstr(out, ", left about ");
		text_append_duration(
			out, (uint64_t)((double)(run->cell_tasks - run->outcomes) * 1000 / rate));
	}
	append_errors(out, errors);
}

static void append_waiting(const struct run_model *model, struct buf *out)
{
	uint64_t now = model->run->loop->now_ns;
	if (model->ending.ended || model->pace.hold_until_ns <= now)
		return;
	buf_append_cstr(out, "  ");
	text_append_line(out, bytes_from(model->plan->name), 40);
	buf_append_cstr(out, " is throttled, going on in ");
	text_append_duration(out, (model->pace.hold_until_ns - now) / 1000000u);
	buf_append_char(out, '\n');
}

/* ---- live ---- */

/* Lines longer than the terminal would wrap and break the redraw: they are cut. */
static void append_cut(struct buf *out, struct bytes text, unsigned columns)
{
	while (text.size > 0) {
		struct bytes rest, line = bytes_split(text, '\n', &rest);
		while (line.size > 0 && text_columns(line) > columns) {
			line.size--;
			while (line.size > 0 &&
			       ((unsigned char)line.data[line.size] & 0xc0) == 0x80)
				line.size--;
		}
		buf_append_bytes(out, line);
		buf_append_cstr(out, "\x1b[K\n");
		text = rest;
	}
}

static unsigned count_lines(struct bytes text)
{
	unsigned lines = 0;
	for (size_t i = 0; i < text.size; i++)
		lines += text.data[i] == '\n';
	return lines;
}

/* Two lines for each cell; where the terminal is too low for that, one for each that is not done,
 * as many as there is room for. */
static void append_cells(struct progress *progress, struct buf *out)
{
	const struct run *run = progress->run;
	unsigned rows = screen_of(run)->rows ? screen_of(run)->rows : ROWS_DEFAULT;
	unsigned room = rows > run->model_count + 3 ? rows - run->model_count - 3 : 1;
	bool all = 2 * run->cell_count <= room;
	unsigned shown = 0;
	for (unsigned i = 0; i < run->cell_count; i++) {
		const struct cell *cell = &run->cells[i];
		if (!all && (cell->done == cell->count || shown == room))
			continue;
		append_cell(out, run, cell, true);
		buf_append_char(out, '\n');
		if (all)
			append_use(progress, i, out);
		shown++;
	}
	if (shown < run->cell_count)
		buf_printf(out, "(%u more of %u, done or without room here)\n",
			   run->cell_count - shown, run->cell_count);
}

static void draw_live(struct progress *progress)
{
	struct run *run = progress->run;
	struct buf text = BUF_INIT(VIEW_MAX);
	unsigned columns = screen_of(run)->columns ? screen_of(run)->columns : COLUMNS_DEFAULT;
	append_cells(progress, &text);
	for (unsigned i = 0; i < run->model_count; i++)
		append_waiting(&run->models[i], &text);
	append_summary(progress, &text);
	buf_append_char(&text, '\n');
	buf_clear(&progress->view);
	if (progress->drawn > 0)
		buf_printf(&progress->view, "\x1b[%uA\r", progress->drawn);
	append_cut(&progress->view, buf_bytes(&text), columns);
	buf_append_cstr(&progress->view, "\x1b[J");
	progress->drawn = count_lines(buf_bytes(&text));
	if (!progress->view.failed)
		show(run, buf_bytes(&progress->view));
	buf_release(&text);
}

static void erase_live(struct progress *progress)
{
	char erase[32];
	if (!progress || progress->drawn == 0)
		return;
	int size = snprintf(erase, sizeof(erase), "\x1b[%uA\r\x1b[J", progress->drawn);
	progress->drawn = 0;
	show(progress->run, bytes_of(erase, (size_t)size));
}

static void draw_line(struct progress *progress)
{
	buf_clear(&progress->view);
	append_summary(progress, &progress->view);
	buf_append_char(&progress->view, '\n');
	show(progress->run, buf_bytes(&progress->view));
}

static void draw(struct progress *progress)
{
	struct env_loop *loop = progress->run->loop;
	bool live = screen_of(progress->run)->terminal;
	measure_all(progress);
	if (live)
		draw_live(progress);
	else
		draw_line(progress);
	env_timer_arm(loop, &progress->timer, loop->now_ns + (live ? LIVE_NS : LINES_NS));
}

static void timer_fired(struct env_timer *timer)
{
	draw((struct progress *)((char *)timer - offsetof(struct progress, timer)));
}

/* ---- the module ---- */

struct progress *progress_new(struct run *run)
{
	struct progress *progress = screen_of(run)->write ? calloc(1, sizeof(*progress)) : NULL;
	if (!progress)
		return NULL;
	progress->rates = calloc(run->cell_count ? run->cell_count : 1, sizeof(*progress->rates));
	if (!progress->rates) {
		free(progress);
		return NULL;
	}
	progress->run = run;
	progress->timer.fire = timer_fired;
	buf_init(&progress->view, VIEW_MAX);
	return progress;
}

void progress_free(struct progress *progress)
{
	if (!progress)
		return;
	env_timer_disarm(progress->run->loop, &progress->timer);
	buf_release(&progress->view);
	free(progress->rates);
	free(progress);
}

void progress_start(struct progress *progress)
{
	if (!progress)
		return;
	struct env_loop *loop = progress->run->loop;
	progress->rate = (struct rate){loop->now_ns, progress->run->outcomes, 0};
	for (unsigned i = 0; i < progress->run->cell_count; i++)
		progress->rates[i] = (struct rate){loop->now_ns, progress->run->cells[i].done, 0};
	progress->live = true;
	if (screen_of(progress->run)->silent)
		return;
	if (screen_of(progress->run)->terminal)
		draw(progress);
	else
		env_timer_arm(loop, &progress->timer, loop->now_ns + LINES_NS);
}

void progress_stop(struct progress *progress)
{
	if (!progress || !progress->live)
		return;
	env_timer_disarm(progress->run->loop, &progress->timer);
	erase_live(progress);
	progress->live = false;
}

void progress_say(struct run *run, const char *format, ...)
{
	struct buf text = BUF_INIT(8192), line = BUF_INIT(65536);
	va_list arguments;
	va_start(arguments, format);
	buf_vprintf(&text, format, arguments);
	va_end(arguments);
	text_append_line(&line, buf_bytes(&text), 4096);
	buf_append_char(&line, '\n');
	erase_live(run->progress);
	show(run, buf_bytes(&line));
	buf_release(&text);
	buf_release(&line);
}

/* ---- the table ---- */

void progress_value(const struct result *result, double value, char out[static 24])
{
	bool strength = strcmp(result->metric, "bt_strength") == 0;
	snprintf(out, 24, strength ? "%+.3f" : "%.1f %%", strength ? value : 100 * value);
}

static void pad(struct buf *out, const char *text, size_t width)
{
	struct buf line = BUF_INIT(4096);
	text_append_line(&line, bytes_from(text), 60);
	buf_append_bytes(out, buf_bytes(&line));
	for (size_t i = text_columns(buf_bytes(&line)); i < width; i++)
		buf_append_char(out, ' ');
	buf_append_cstr(out, "  ");
	buf_release(&line);
}

static size_t widest(size_t width, const char *text)
{
	size_t columns = text_columns(bytes_from(text));
	columns = columns > 60 ? 60 : columns;
	return columns > width ? columns : width;
}

static void append_result(struct buf *out, const struct result *result, const size_t widths[3])
{
	char value[24], low[24], high[24], interval[64];
	progress_value(result, result->value, value);
	progress_value(result, result->low, low);
	progress_value(result, result->high, high);
	snprintf(interval, sizeof(interval), "[%s, %s]", low, high);
	pad(out, result->suite, widths[0]);
	pad(out, result->model, widths[1]);
	pad(out, result->metric, widths[2]);
	buf_printf(out, "%9s  %-20s %6zu %6zu\n", value, interval, result->n, result->failed);
}

static void append_costs(const struct run *run, struct buf *out)
{
	for (unsigned i = 0; i < run->model_count; i++) {
		const struct run_model *model = &run->models[i];
		if (model->tokens_input + model->tokens_output == 0)
			continue;
		pad(out, model->plan->name, 0);
		text_append_count(out, (uint64_t)model->tokens_input);
		buf_append_cstr(out, " input and ");
		text_append_count(out, (uint64_t)model->tokens_output);
		buf_append_cstr(out, " output tokens");
		if (model->usd > 0) {
			buf_append_cstr(out, ", ");
			text_append_usd(out, model->usd);
		}
		buf_append_char(out, '\n');
	}
}

static void append_simulated(const struct run *run, struct buf *out)
{
	for (unsigned i = 0; i < run->model_count; i++) {
		const struct run_model *model = &run->models[i];
		if (!*model->simulated)
			continue;
		buf_append_cstr(out, "NOT A REAL MODEL: ");
		pad(out, model->plan->name, 0);
		text_append_line(out, bytes_from(model->simulated), 200);
		buf_append_char(out, '\n');
	}
}

void progress_table(struct run *run, const struct results *results, struct buf *out)
{
	size_t widths[3] = {5, 5, 6};
	for (size_t i = 0; i < results->count; i++) {
		widths[0] = widest(widths[0], results->items[i].suite);
		widths[1] = widest(widths[1], results->items[i].model);
		widths[2] = widest(widths[2], results->items[i].metric);
	}
	append_simulated(run, out);
	pad(out, "suite", widths[0]);
	pad(out, "model", widths[1]);
	pad(out, "metric", widths[2]);
	buf_printf(out, "%9s  %-20s %6s %6s\n", "value", "95 % interval", "n", "failed");
	for (size_t i = 0; i < results->count; i++)
		append_result(out, &results->items[i], widths);
	append_costs(run, out);
}
