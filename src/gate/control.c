#include "gate/control_deliver.h"
#include "gate/control_links.h"
#include "gate/control_notice.h"
#include "gate/control_reciprocal.h"
#include "gate/control_signers.h"

#include "watch/watch.h"

#include <assert.h>
#include <stddef.h>
#include <stdlib.h>

#define TICK_NS UINT64_C(60000000000)
#define RECORDS_AT_ONCE 256 /* records of one act on their way to the log */

static void run_next(struct env_message *message);

/* ---- operations ---- */

struct control_operation *control_operation_new(struct control *control, void *argument)
{
	struct control_operation *operation = calloc(1, sizeof(*operation));
	if (!operation)
		return NULL;
	operation->control = control;
	operation->argument = argument;
	operation->log = CONTROL_EVALUATION;
	return operation;
}

void control_operation_free(struct control_operation *operation)
{
	if (!operation)
		return;
	for (size_t i = 0; i < operation->change_count; i++)
		control_change_free(operation->changes[i]);
	free(operation->changes);
	free(operation->cuts);
	json_decref(operation->answer);
	json_decref(operation->untold);
	binding_suite_drop(operation->suite);
	binding_run_drop(operation->run);
	world_drop(operation->world);
	world_drop(operation->trial);
	free(operation);
}

static void post_next(struct control *control)
{
	if (!control->first || control->next_posted)
		return;
	control->next_posted = true;
	env_post(control->loop, &control->next_message);
}

void control_submit(struct control_operation *operation)
{
	struct control *control = operation->control;
	bool idle = !control->first;
	if (idle)
		control->first = operation;
	else
		control->last->next = operation;
	control->last = operation;
	if (idle)
		post_next(control);
}

static void complete(struct control_operation *operation, enum err_code code)
{
	struct control *control = operation->control;
	assert(control->first == operation);
	control->first = operation->next;
	if (!control->first)
		control->last = NULL;
	control_grading_closed(control, operation);
	control_leaves_settled(operation);
	operation->finish(operation, code, &operation->err);
	if (operation->notified > 0)
		deliverer_wake(control->deliverer);
	for (size_t i = 0; i < operation->change_count; i++) {
		if (operation->changes[i]->kind == STORE_GRANT) {
			reciprocator_wake(control->reciprocator);
			break;
		}
	}
	control_operation_free(operation);
	post_next(control);
}

/* ---- staging ---- */

static enum err_code stage(struct control_operation *operation, struct err *err)
{
	struct control *control = operation->control;
	size_t count = operation->change_count;
	struct store_change *rows = calloc(count, sizeof(*rows));
	if (!rows)
		return ERR_SET(err, ERR_NO_MEMORY, "no memory to stage an act");
	for (size_t i = 0; i < count; i++) {
		const struct control_change *change = operation->changes[i];
		rows[i] = (struct store_change){
			.to = {.kind = change->kind,
			       .id = change->id,
			       .document = buf_bytes(&change->text),
			       .blob = buf_bytes(&change->blob)},
			.commit = change->commit,
		};
	}
	uint64_t position = control->hooks.log_position(control->hooks.argument, operation->log);
	enum err_code code =
		store_stage(control->store, (int)operation->log, position, rows, count, err);
	free(rows);
	return code;
}

/* The commits of the changes that became durable (or of those that did not). */
static size_t commits_of(const struct control_operation *operation, bool durable,
			 const char **commits)
{
	size_t count = 0;
	for (size_t i = 0; i < operation->change_count; i++) {
		if (operation->changes[i]->durable == durable)
			commits[count++] = operation->changes[i]->commit;
	}
	return count;
}

/* What cannot be moved in now stays staged; no further act is staged before it is in, because at a
 * restart the older change would be put over the newer one. */
static void remember_unfinished(struct control *control, const char *const *commits, size_t count)
{
	for (size_t i = 0; i < count; i++)
		json_array_append_new(control->unfinished, json_string(commits[i]));
}

static enum err_code finish_unfinished(struct control *control, struct err *err)
{
	while (json_array_size(control->unfinished)) {
		const char *commit = json_string_value(json_array_get(control->unfinished, 0));
		ERR_TRY(store_finish(control->store, &commit, 1, err));
		json_array_remove(control->unfinished, 0);
	}
	return ERR_OK;
}

static void move_in(struct control_operation *operation)
{
	struct control *control = operation->control;
	const char **commits = calloc(operation->change_count + 1, sizeof(*commits));
	if (!commits) {
		for (size_t i = 0; i < operation->change_count; i++) {
			const char *commit = operation->changes[i]->commit;
			if (operation->changes[i]->durable)
				remember_unfinished(control, &commit, 1);
		}
		return;
	}
	size_t count = commits_of(operation, true, commits);
	if (count && store_finish(control->store, commits, count, NULL) != ERR_OK)
		remember_unfinished(control, commits, count);
	/* What was not recorded and cannot be removed now is settled at the next start. */
	count = commits_of(operation, false, commits);
	if (count)
		store_abandon(control->store, commits, count, NULL);
	free(commits);
}

/* ---- the way of an act ---- */

void control_undo_changes(struct control_operation *operation)
{
	for (size_t i = operation->change_count; i-- > 0;)
		control_change_undo(operation->control, operation->changes[i]);
	world_drop(operation->world);
	operation->world = NULL;
}

enum err_code control_try_changes(struct control_operation *operation, struct err *err)
{
	size_t installed = 0;
	enum err_code code = ERR_OK;
	while (code == ERR_OK && installed < operation->change_count) {
		code = control_change_install(operation->control, operation->changes[installed],
					      err);
		installed += code == ERR_OK;
	}
	if (code == ERR_OK && !operation->quiet)
		code = control_build_world(operation->control, operation, &operation->world, err);
	while (code != ERR_OK && installed-- > 0)
		control_change_undo(operation->control, operation->changes[installed]);
	return code;
}

static void published(struct control_publish *publish)
{
	struct control_operation *operation = publish->argument;
	complete(operation, operation->code);
}

static void publish(struct control_operation *operation)
{
	struct control *control = operation->control;
	world_drop(control->world);
	control->world = operation->world;
	operation->world = NULL;
	operation->publish = (struct control_publish){
		.world = world_hold(control->world),
		.config = control->config,
		.cuts = operation->cuts,
		.cut_count = operation->cut_count,
		.done = published,
		.argument = operation,
	};
	control->hooks.publish(control->hooks.argument, &operation->publish);
}

/* Some records could not be appended: takes back what they would have committed. */
static enum err_code keep_durable(struct control_operation *operation, size_t durable)
{
	for (size_t i = operation->change_count; i-- > 0;) {
		if (!operation->changes[i]->durable)
			control_change_undo(operation->control, operation->changes[i]);
	}
	world_drop(operation->world);
	operation->world = NULL;
	if (!durable || operation->quiet)
		return operation->code;
	return control_build_world(operation->control, operation, &operation->world,
				   &operation->err);
}

static void recorded(struct control_operation *operation)
{
	size_t durable = 0;
	for (size_t i = 0; i < operation->change_count; i++) {
		struct control_change *change = operation->changes[i];
		if (change->leader)
			change->durable = change->leader->durable;
		durable += change->durable;
	}
	enum err_code code = ERR_OK;
	if (durable < operation->change_count) {
		ERR_SET(&operation->err, operation->code,
			"%zu of %zu records could not be written: %s%s",
			operation->change_count - durable, operation->change_count,
			err_text(operation->code),
			durable ? "; the others are in force, do it again for the rest" : "");
		code = keep_durable(operation, durable);
	}
	if (code == ERR_OK && !operation->quiet)
		publish(operation);
	move_in(operation);
	if (code != ERR_OK || operation->quiet)
		complete(operation, code);
}

static void append_records(struct control_operation *operation);

static void record_done(struct control_record *record, enum err_code code)
{
	struct control_change *change = record->argument;
	struct control_operation *operation = change->operation;
	assert(operation->waiting > 0);
	change->durable = code == ERR_OK;
	if (code != ERR_OK)
		operation->code = code;
	operation->waiting--;
	append_records(operation);
	if (operation->waiting == 0)
		recorded(operation);
}

/* So many at a time as the log makes room for beside its requests. After one that could not be
 * appended no more are: what stands before it in the file may be what those behind refer to. */
static void append_records(struct control_operation *operation)
{
	struct control *control = operation->control;
	while (operation->waiting < RECORDS_AT_ONCE && operation->code == ERR_OK &&
	       operation->appended < operation->change_count) {
		struct control_change *change = operation->changes[operation->appended++];
		if (change->leader)
			continue;
		operation->waiting++;
		change->record->done = record_done;
		control->hooks.record(control->hooks.argument, change->record);
	}
}

static enum err_code prepare(struct control_operation *operation, bool *acts)
{
	struct err *err = &operation->err;
	ERR_TRY(operation->prepare(operation, err));
	*acts = operation->change_count > 0 || operation->republish;
	if (!*acts)
		return ERR_OK;
	ERR_TRY(finish_unfinished(operation->control, err));
	ERR_TRY(control_try_changes(operation, err));
	if (operation->change_count == 0)
		return ERR_OK;
	enum err_code code = control_keep_pseudonyms(operation->control, err);
	if (code == ERR_OK)
		code = control_leaves_stage(operation, err);
	if (code == ERR_OK)
		code = stage(operation, err);
	if (code != ERR_OK)
		control_undo_changes(operation);
	return code;
}

static void run_next(struct env_message *message)
{
	struct control *control =
		(struct control *)((char *)message - offsetof(struct control, next_message));
	control->next_posted = false;
	struct control_operation *operation = control->first;
	if (!operation)
		return;
	bool acts = false;
	enum err_code code = prepare(operation, &acts);
	if (code != ERR_OK || !acts)
		complete(operation, code);
	else if (operation->change_count == 0)
		publish(operation);
	else
		append_records(operation);
}

/* ---- the clock ---- */

static enum err_code prepare_idle(struct control_operation *operation, struct err *err)
{
	struct control *control = operation->control;
	struct control_act_request request = {.person = "gateway", .reason = "idle for 24 h"};
	ERR_TRY(control_signers_due(operation, err));
	if (operation->change_count > 0)
		return ERR_OK;
	ERR_TRY(control_links_due(operation, err));
	if (operation->change_count > 0)
		return ERR_OK;
	int64_t now = control->loop->wall_ms;
	const char *id;
	json_t *document;
	ERR_TRY(control_notice_expiring(operation, err));
	if (operation->change_count > 0)
		return ERR_OK;
	json_object_foreach(control->documents[STORE_RUN], id, document)
	{
		if (!json_is_true(json_object_get(control_spec_of(document), "automatic")))
			continue;
		const struct world_run *run = world_find_run(control->world, bytes_from(id));
		if (run && atomic_load(&run->run->in_flight) == 0 &&
		    now - atomic_load(&run->run->last_use_ms) >= CONTROL_IDLE_MS)
			return control_prepare_transition(operation, "run.close", id, &request,
							  err);
	}
	ERR_TRY(control_keep_exposures(control, err));
	ERR_TRY(control_note_day(control, err));
	ERR_TRY(control_use_turn(control, err));
	return control_watch_due(operation, err);
}

/* An operation does one thing that is due: where there was one, there may be another. */
static void finish_idle(struct control_operation *operation, enum err_code code,
			const struct err *err);

static void submit_idle(struct control *control)
{
	struct control_operation *operation = control_operation_new(control, NULL);
	if (!operation)
		return;
	operation->prepare = prepare_idle;
	operation->finish = finish_idle;
	control_submit(operation);
}

static void finish_idle(struct control_operation *operation, enum err_code code,
			const struct err *err)
{
	(void)err;
	if (code == ERR_OK && operation->change_count > 0)
		submit_idle(operation->control);
}

/* In a minute, or when the day is over: what is used is counted by days. */
static uint64_t next_tick(const struct control *control)
{
	int64_t left_ms = WORLD_DAY_MS - control->loop->wall_ms % WORLD_DAY_MS;
	uint64_t left_ns = (uint64_t)left_ms * 1000000u;
	return control->loop->now_ns + (left_ns < TICK_NS ? left_ns : TICK_NS);
}

static void tick(struct env_timer *timer)
{
	struct control *control =
		(struct control *)((char *)timer - offsetof(struct control, idle_timer));
	if (!control->awake) {
		control->awake = true;
		deliverer_wake(control->deliverer);
		reciprocator_wake(control->reciprocator);
	}
	control_watch_roll(control);
	submit_idle(control);
	control->timer_armed = env_timer_arm(control->loop, timer, next_tick(control));
}

/* ---- opening ---- */

static enum err_code keep_document(void *argument, const struct store_document *document,
				   struct err *err)
{
	struct control *control = argument;
	json_t *tree;
	if (document->kind == STORE_KEY) /* checked when the world is built */
		tree = json_stringn_nocheck(document->document.data, document->document.size);
	else
		ERR_TRY(json_parse(document->document, document->id, &tree, err));
	if (json_object_set_new(control->documents[document->kind], document->id, tree))
		return ERR_SET(err, ERR_NO_MEMORY, "no memory to read the stored %s",
			       store_kind_name(document->kind));
	return ERR_OK;
}

static enum err_code read_documents(struct control *control, enum store_kind kind, struct err *err)
{
	enum err_code code = store_each(control->store, kind, keep_document, control, err);
	if (code == ERR_INVALID)
		return ERR_SET(err, ERR_CORRUPT,
			       "a stored document of %s is damaged; restore the database from a "
			       "backup",
			       store_kind_name(kind));
	return code;
}

static enum err_code build_first(struct control *control, struct err *err)
{
	for (int kind = 0; kind < STORE_KINDS; kind++) {
		if (kind != STORE_USE && kind != STORE_EXPOSURE)
			ERR_TRY(read_documents(control, (enum store_kind)kind, err));
	}
	ERR_TRY(control_leaves_open(control, err));
	ERR_TRY(control_grading_load(control, err));
	return control_build_world(control, NULL, &control->world, err);
}

static enum err_code open_store(struct control *control, const char *path, struct err *err)
{
	bool fresh = true;
	for (int log = 0; log < CONTROL_LOGS; log++)
		fresh = fresh && control->hooks.log_position(control->hooks.argument,
							     (enum control_log)log) == 0;
	if (path && !fresh && !env_file_exists(control->env, path))
		return ERR_SET(
			err, ERR_CORRUPT,
			"%s: the database is missing, though there is a log of acts; restore "
			"it from a backup",
			path);
	return store_open(path, fresh, &control->store, err);
}

static struct control *control_new(const struct control_options *options)
{
	struct control *control = calloc(1, sizeof(*control));
	if (!control)
		return NULL;
	control->env = options->env;
	control->loop = options->loop;
	control->config = options->config;
	control->keeps_files = options->store_path != NULL;
	control->hooks = options->hooks;
	control->next_message.run = run_next;
	control->idle_timer.fire = tick;
	memcpy(control->secret, options->secret, sizeof(control->secret));
	uint64_t seed;
	memcpy(&seed, options->secret, sizeof(seed));
	control->watch = watch_new(seed);
	hmac_key_init(&control->binding_secret, options->secret, sizeof(control->secret));
	control->unfinished = json_array();
	control->fresh = json_array();
	bool good = control->watch && control->unfinished && control->fresh;
	for (int kind = 0; kind < STORE_KINDS; kind++)
		good = good && (control->documents[kind] = json_object()) != NULL;
	if (!good) {
		control_close(control);
		return NULL;
	}
	return control;
}

enum err_code control_open(const struct control_options *options, struct control **out,
			   struct err *err)
{
	struct control *control = control_new(options);
	if (!control)
		return ERR_SET(err, ERR_NO_MEMORY, "no memory for the control plane");
	enum err_code code = open_store(control, options->store_path, err);
	if (code == ERR_OK)
		code = control_settle_staged(control, err);
	if (code == ERR_OK)
		code = build_first(control, err);
	if (code == ERR_OK)
		code = control_signers_open(control, options, err);
	if (code == ERR_OK)
		code = control_watch_open(control, err);
	if (code == ERR_OK)
		code = control_keep_pseudonyms(control, err);
	if (code == ERR_OK)
		code = control_use_read(control, err);
	if (code == ERR_OK)
		code = control_restore_use(control, err);
	if (code == ERR_OK)
		code = control_use_start(control, err);
	if (code == ERR_OK)
		code = control_keep_exposures(control, err);
	if (code == ERR_OK)
		code = control_note_day(control, err);
	if (code != ERR_OK) {
		control_close(control);
		return code;
	}
	control->deliverer = deliverer_new(control);
	control->reciprocator = reciprocator_new(control);
	if (!control->deliverer || !control->reciprocator) {
		control_close(control);
		return ERR_SET(err, ERR_NO_MEMORY, "no memory for the control plane");
	}
	/* At once: something may have come due while nothing ran. Nothing is posted before: what
	 * opens after this may fail, and all of it is freed then. */
	control->timer_armed =
		env_timer_arm(control->loop, &control->idle_timer, env_clock_ns(control->env));
	*out = control;
	return ERR_OK;
}

void control_close(struct control *control)
{
	if (!control)
		return;
	while (control->first) { /* after a failure only: nobody is told any more */
		struct control_operation *operation = control->first;
		control->first = operation->next;
		control_operation_free(operation);
	}
	if (control->timer_armed)
		env_timer_disarm(control->loop, &control->idle_timer);
	deliverer_free(control->deliverer);
	reciprocator_free(control->reciprocator);
	world_drop(control->world);
	control_grading_release(control);
	control_exposures_free(control);
	for (int kind = 0; kind < STORE_KINDS; kind++)
		json_decref(control->documents[kind]);
	control_signers_close(control);
	watch_free(control->watch);
	json_decref(control->unfinished);
	json_decref(control->fresh);
	store_close(control->store);
	explicit_bzero(control->secret, sizeof(control->secret));
	explicit_bzero(&control->binding_secret, sizeof(control->binding_secret));
	free(control);
}

const struct gate_use_cut *control_use_cut(const struct control *control)
{
	return &control->use.cut;
}

bool control_busy(const struct control *control)
{
	return control->first != NULL || control->what_ifs > 0;
}

void control_end_reading(struct control *control)
{
	control->what_if_cancelled = true;
}

void control_stop(struct control *control)
{
	deliverer_stop(control->deliverer);
	reciprocator_stop(control->reciprocator);
}

struct world *control_world(struct control *control)
{
	return world_hold(control->world);
}

/* ---- reconfiguration ---- */

static enum err_code prepare_reconfigure(struct control_operation *operation, struct err *err)
{
	(void)err;
	struct control_reconfigure *call = operation->argument;
	call->unused = operation->control->config;
	operation->control->config = call->config;
	operation->republish = true;
	return ERR_OK;
}

static void finish_reconfigure(struct control_operation *operation, enum err_code code,
			       const struct err *err)
{
	struct control_reconfigure *call = operation->argument;
	if (code != ERR_OK) {
		operation->control->config = call->unused;
		call->unused = call->config;
	}
	call->done(call, code, err);
}

void control_reconfigure(struct control *control, struct control_reconfigure *call)
{
	struct control_operation *operation = control_operation_new(control, call);
	if (!operation) {
		struct err err = ERR_INIT;
		call->unused = call->config;
		call->done(call, ERR_SET(&err, ERR_NO_MEMORY, "no memory to reload"), &err);
		return;
	}
	operation->prepare = prepare_reconfigure;
	operation->finish = finish_reconfigure;
	control_submit(operation);
}
