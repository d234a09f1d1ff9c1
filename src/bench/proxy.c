/* The beginning and the end of a run whose requests another harness makes: port, command, signals,
 * and what is told of them. */
#include "bench/proxy_internal.h"

#include "base/encode.h"
#include "base/json.h"
#include "bench/progress.h"
#include "bench/text.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#define BODY_MAX ((size_t)40 << 20)
#define CONNECTIONS_MAX 4096u
#define HEAD_TIMEOUT_NS 60000000000u
#define BODY_TIMEOUT_NS 600000000000u
#define IDLE_TIMEOUT_NS 600000000000u

/* ---- beginning ---- */

static enum err_code index_suites(struct proxy *proxy, struct err *err)
{
	const struct run *run = proxy->run;
	proxy->index = words_index_new();
	if (!proxy->index)
		return ERR_SET(err, ERR_NO_MEMORY, "out of memory");
	for (unsigned i = 0; i < run->suite_count; i++)
		ERR_TRY(words_index_add(proxy->index, i, run->suites[i].suite, err));
	words_index_sort(proxy->index);
	return proxied_turns_open(proxy, err);
}

static enum err_code set_command(struct proxy *proxy, struct err *err)
{
	const char *const *command = proxy->options->command;
	size_t count = 0;
	while (command[count])
		count++;
	if (count == 0)
		return ERR_SET(err, ERR_USAGE, "no command: add -- COMMAND and its arguments");
	ERR_TRY(command_find(command[0], &proxy->program, err));
	proxy->arguments = calloc(count + 1, sizeof(*proxy->arguments));
	if (!proxy->arguments)
		return ERR_SET(err, ERR_NO_MEMORY, "out of memory");
	memcpy(proxy->arguments, command, count * sizeof(*command));
	proxy->arguments[0] = proxy->program;
	return ERR_OK;
}

/* What an earlier command was answered has not reached this one: it is given out once more. */
static void offer_answers(struct run *run)
{
	for (unsigned i = 0; i < run->cell_count; i++) {
		const struct cell *cell = &run->cells[i];
		for (size_t k = 0; proxy_asks(run, cell) && k < cell->count; k++)
			cell->tasks[k].undelivered = cell->tasks[k].state == TASK_ANSWERED ||
						     cell->tasks[k].state == TASK_UNGRADED;
	}
}

static enum err_code check_cells(const struct run *run, struct err *err)
{
	for (unsigned i = 0; i < run->cell_count; i++)
		if (proxy_asks(run, &run->cells[i]))
			return ERR_OK;
	return ERR_SET(
		err, ERR_USAGE,
		"the command would have nobody to ask: add --model NAME=DIALECT@URL#VARIABLE");
}

static enum err_code take_port(struct proxy *proxy, struct err *err)
{
	struct env_address address =
				   {
					   .family = ENV_IPV4, .ip = {127, 0, 0, 1}
        },
			   bound;
	char text[64];
	struct http_server_options options = {
		.argument = proxy,
		.request = proxied_arrived,
		.aborted = proxied_aborted,
		.drained = proxied_drained,
		.body_max = BODY_MAX,
		.head_timeout_ns = HEAD_TIMEOUT_NS,
		.body_timeout_ns = BODY_TIMEOUT_NS,
		.idle_timeout_ns = IDLE_TIMEOUT_NS,
		.write_timeout_ns = BODY_TIMEOUT_NS,
		.connections_max = CONNECTIONS_MAX,
	};
	address.port = (uint16_t)proxy->options->port;
	proxy->server = http_server_new(proxy->run->loop, &options);
	if (!proxy->server)
		return ERR_SET(err, ERR_NO_MEMORY, "out of memory");
	if (http_server_listen(proxy->server, &address, &bound, err) != ERR_OK)
		return err_prefix(err, "the port for the command");
	env_address_format(&bound, text, sizeof(text));
	snprintf(proxy->url, sizeof(proxy->url), "http://%s", text);
	return ERR_OK;
}

enum err_code proxy_open(struct run *run, struct err *err)
{
	uint8_t random[16];
	char hex[2 * sizeof(random) + 1];
	if (!run->options->proxy)
		return ERR_OK;
	struct proxy *proxy = calloc(1, sizeof(*proxy));
	if (!proxy)
		return ERR_SET(err, ERR_NO_MEMORY, "out of memory");
	run->proxy = proxy;
	proxy->run = run;
	proxy->options = run->options->proxy;
	env_random(run->env, random, sizeof(random));
	hex_encode(random, sizeof(random), hex);
	snprintf(proxy->key, sizeof(proxy->key), "parley-proxy-%s", hex);
	proxy->scan = calloc(1, sizeof(*proxy->scan));
	if (!proxy->scan)
		return ERR_SET(err, ERR_NO_MEMORY, "out of memory");
	ERR_TRY(set_command(proxy, err));
	if (proxy->options->record) {
		proxy->recording = recording_new();
		return proxy->recording ? take_port(proxy, err)
					: ERR_SET(err, ERR_NO_MEMORY, "out of memory");
	}
	ERR_TRY(check_cells(run, err));
	if (run->resumed)
		offer_answers(run);
	ERR_TRY(index_suites(proxy, err));
	return take_port(proxy, err);
}

/* ---- the command ---- */

static void command_ended(struct env_process *process)
{
	struct proxy *proxy = (struct proxy *)((char *)process - offsetof(struct proxy, process));
	char text[128];
	proxy->ended = true;
	if (process->signal)
		snprintf(text, sizeof(text), "killed by signal %d", process->signal);
	else
		snprintf(text, sizeof(text), "status %d", process->status);
	lines_note(proxy->run, "command", text);
	run_wake(proxy->run);
}

static enum err_code start_command(struct proxy *proxy, struct err *err)
{
	struct run *run = proxy->run;
	struct arena arena;
	const char *const *environment;
	arena_init(&arena, 65536, (size_t)16 << 20);
	enum err_code code = command_environment(proxy, &arena, &environment, err);
	if (code == ERR_OK) {
		proxy->process = (struct env_process){
			.argv = proxy->arguments,
			.attached = true,
			.environment = environment,
			.same_group = !proxy->options->apart,
			.output_to_error = proxy->options->output_to_error,
			.done = command_ended,
		};
		code = env_process_start(run->loop, &proxy->process, err);
	}
	arena_release(&arena);
	return code;
}

/* Under V0 whoever asks has verdicts, and must know it. */
static void check_release(struct run *run)
{
	for (unsigned i = 0; i < run->model_count; i++) {
		struct run_model *model = &run->models[i];
		if (model->sealed && !run->proxy->options->verdicts && !model->plan->replay)
			run_end_model(
				model,
				"the grant releases verdicts only (V0), and a harness expects "
				"answers: with --verdicts the command is given the gateway's "
				"verdicts in their place",
				NULL);
	}
}

static bool is_open(const struct run *run)
{
	for (unsigned i = 0; i < run->model_count; i++)
		if ((run->models[i].plan->roles & PLAN_CONTESTANT) && run->models[i].ending.ended)
			return false;
	return run->fatal.code == ERR_OK && !run->interrupted;
}

void proxy_start(struct run *run)
{
	struct proxy *proxy = run->proxy;
	struct err err = ERR_INIT;
	if (!proxy)
		return;
	check_release(run);
	if (!is_open(run)) {
		proxy->ended = true;
		return;
	}
	progress_say(run, "Asking through %s: %s", proxy->url, proxy->options->command[0]);
	if (start_command(proxy, &err) == ERR_OK) {
		proxy->started = true;
		return;
	}
	text_line(proxy->failure, sizeof(proxy->failure), bytes_from(err.message));
	proxy->ended = true;
	run_fail(run, &err);
}

/* ---- the end ---- */

static const char *why_failed(struct run *run, const struct task *task, json_t **line)
{
	struct bytes text;
	struct err err = ERR_INIT;
	const char *why = NULL;
	*line = NULL;
	if (journal_write(&run->journal) &&
	    journal_read(&run->journal, task->offset, &run->scratch, &err) == ERR_OK &&
	    lines_embedded(buf_bytes(&run->scratch), "failure", &text) &&
	    json_parse(text, "a line of the journal", line, &err) == ERR_OK)
		why = json_string_value(json_object_get(*line, "error"));
	return why ? why : "the command did not go on with the conversation";
}

/* What was asked and never answered; what was not asked is missing. */
void proxy_settle(struct run *run)
{
	struct proxy *proxy = run->proxy;
	if (!proxy || proxy->settled || !proxy->ended || proxy->open_count > 0)
		return;
	proxy->settled = true;
	for (unsigned i = 0; i < run->cell_count && !run->interrupted; i++) {
		struct cell *cell = &run->cells[i];
		for (size_t k = 0; proxy_asks(run, cell) && k < cell->count; k++) {
			json_t *line;
			if (cell->tasks[k].state != TASK_READY || cell->tasks[k].attempts == 0)
				continue;
			const char *why = why_failed(run, &cell->tasks[k], &line);
			answer_give_up(run, cell, k, why);
			json_decref(line);
		}
	}
	journal_commit(&run->journal);
}

bool proxy_is_over(const struct run *run)
{
	const struct proxy *proxy = run->proxy;
	return !proxy || (proxy->ended && proxy->open_count == 0 && proxy->settled);
}

bool proxy_waits(const struct run *run)
{
	return run->proxy && !run->proxy->hurry;
}

/* A terminal's Ctrl-C reaches the command without us; whoever signals us alone means it too. */
void proxy_interrupt(struct run *run, int number)
{
	struct proxy *proxy = run->proxy;
	if (!proxy)
		return;
	proxy->hurry |= run->interrupted;
	if (proxy->started && !proxy->ended && (proxy->options->apart || number != SIGINT))
		env_process_signal(run->loop, &proxy->process, number);
}

void proxy_kill(struct run *run)
{
	struct proxy *proxy = run->proxy;
	if (proxy && proxy->started && !proxy->ended)
		env_process_signal(run->loop, &proxy->process, SIGKILL);
}

void proxy_free(struct run *run)
{
	struct proxy *proxy = run->proxy;
	if (!proxy)
		return;
	if (proxy->started && !proxy->ended)
		env_process_cancel(run->loop, &proxy->process);
	if (proxy->server) {
		proxied_end_all(proxy);
		http_server_free(proxy->server);
	}
	words_index_free(proxy->index);
	proxied_turns_release(proxy);
	recording_free(proxy->recording);
	free(proxy->scan);
	free(proxy->program);
	free(proxy->arguments);
	free(proxy);
	run->proxy = NULL;
}

/* ---- what is told ---- */

static uint64_t refusals(const struct proxy *proxy)
{
	uint64_t total = 0;
	for (unsigned i = 0; i < PROXY_REFUSALS; i++)
		total += proxy->refused[i];
	return total;
}

static void describe_command(const struct proxy *proxy, char *out, size_t size)
{
	if (!proxy->started)
		snprintf(out, size, "the command was not started");
	else if (!proxy->ended)
		snprintf(out, size, "the command goes on");
	else if (proxy->process.signal)
		snprintf(out, size, "the command was killed by signal %d", proxy->process.signal);
	else
		snprintf(out, size, "the command ended with status %d", proxy->process.status);
}

static bool command_failed(const struct proxy *proxy)
{
	return !proxy->started || proxy->process.status != 0;
}

static enum err_code asked_nothing(const struct proxy *proxy, const char *command, struct err *err)
{
	return ERR_SET(
		err, ERR_INVALID,
		"%s and made no request: does it ask where ANTHROPIC_BASE_URL, "
		"OPENAI_BASE_URL and the like say (here %s), or an address of its own? --env "
		"NAME={url} sets other variables, --port a fixed port",
		command, proxy->url);
}

enum err_code proxy_verdict(const struct run *run, const struct bench_outcome *outcome,
			    struct err *err)
{
	const struct proxy *proxy = run->proxy;
	char command[128];
	describe_command(proxy, command, sizeof(command));
	if (run->interrupted)
		return ERR_SET(err, ERR_INTERRUPTED,
			       "%s; %zu of %zu samples have no outcome: go on with `parley bench "
			       "proxy --resume -o %s -- COMMAND`",
			       outcome->ending, outcome->missing, outcome->samples, run->directory);
	for (unsigned i = 0; i < run->model_count && !proxy->started; i++)
		if (run->models[i].ending.ended)
			return ERR_SET(err,
				       run->models[i].ending.unreachable ? ERR_NETWORK : ERR_DENIED,
				       "%s, since %s: %.300s", command, run->models[i].plan->name,
				       run->models[i].ending.reason);
	if (proxy->requests == 0)
		return asked_nothing(proxy, command, err);
	if (!outcome->complete)
		return ERR_SET(err, ERR_DENIED, "%s; %zu of %zu samples have no outcome%s%.200s",
			       command, outcome->missing, outcome->samples,
			       *proxy->first_refusal ? "; the first request that was refused: "
						     : "",
			       proxy->first_refusal);
	if (command_failed(proxy))
		return ERR_SET(err, ERR_DENIED, "%s; every sample has an outcome", command);
	return ERR_OK;
}

enum err_code proxy_recorded(const struct run *run, struct bench_recorded *recorded,
			     struct err *err)
{
	const struct proxy *proxy = run->proxy;
	struct recording_counts counts = recording_counts(proxy->recording);
	char command[128];
	describe_command(proxy, command, sizeof(command));
	if (run->fatal.code != ERR_OK) {
		*err = run->fatal;
		return err->code;
	}
	if (proxy->requests == 0)
		return asked_nothing(proxy, command, err);
	ERR_TRY(recording_write(proxy->recording, run->env, recorded->folder, run->plan.sealed,
				err));
	recorded->items = counts.items;
	recorded->samples = counts.samples;
	recorded->left_out = counts.left_out;
	snprintf(recorded->first_left, sizeof(recorded->first_left), "%s", counts.first_left);
	recorded->proxy = proxy_encode(run);
	if (run->interrupted)
		return ERR_SET(err, ERR_INTERRUPTED, "ended by a signal; %s has what was asked",
			       recorded->folder);
	if (run->model_count > 0 && command_failed(proxy))
		return ERR_SET(err, ERR_DENIED, "%s; %s has what it asked", command,
			       recorded->folder);
	return ERR_OK;
}

/* clang-format off */
static const char *const refusal_ids[] = {
#define X(name, id, text) id,
	PROXY_REFUSAL_TABLE(X)
#undef X
};
static const char *const refusal_texts[] = {
#define X(name, id, text) text,
	PROXY_REFUSAL_TABLE(X)
#undef X
};
/* clang-format on */

void proxy_table(const struct run *run, struct buf *out)
{
	const struct proxy *proxy = run->proxy;
	char command[128];
	if (!proxy)
		return;
	describe_command(proxy, command, sizeof(command));
	command[0] = 'T';
	buf_printf(out, "%s. %llu requests, %llu sent on as items", command,
		   (unsigned long long)proxy->requests, (unsigned long long)proxy->bound);
	if (proxy->delivered_again)
		buf_printf(out, ", %llu answered from what was there",
			   (unsigned long long)proxy->delivered_again);
	if (proxy->passed)
		buf_printf(out, ", %llu passed on that are no items",
			   (unsigned long long)proxy->passed);
	if (refusals(proxy))
		buf_printf(out, ", %llu refused", (unsigned long long)refusals(proxy));
	buf_append_cstr(out, "\n");
	for (unsigned i = 0; i < PROXY_REFUSALS; i++)
		if (proxy->refused[i])
			buf_printf(out, "  %llu %s\n", (unsigned long long)proxy->refused[i],
				   refusal_texts[i]);
	if (*proxy->first_refusal) {
		buf_append_cstr(out, "  the first: ");
		text_append_line(out, bytes_from(proxy->first_refusal), 400);
		buf_append_char(out, '\n');
	}
}

json_t *proxy_encode(const struct run *run)
{
	const struct proxy *proxy = run->proxy;
	if (!proxy)
		return NULL;
	json_t *refused = json_object(), *object;
	for (unsigned i = 0; i < PROXY_REFUSALS; i++)
		if (proxy->refused[i])
			json_object_set_new(refused, refusal_ids[i],
					    json_integer((json_int_t)proxy->refused[i]));
	object = json_pack("{s:I, s:I, s:I, s:I, s:o}", "requests", (json_int_t)proxy->requests,
			   "items", (json_int_t)proxy->bound, "passed_on",
			   (json_int_t)proxy->passed, "delivered_again",
			   (json_int_t)proxy->delivered_again, "refused", refused);
	if (*proxy->first_refusal)
		json_object_set_new(object, "first_refusal", json_string(proxy->first_refusal));
	if (proxy->started && proxy->process.signal)
		json_object_set_new(object, "signal", json_integer(proxy->process.signal));
	else if (proxy->started)
		json_object_set_new(object, "status", json_integer(proxy->process.status));
	return object;
}
