/* A run's beginning and end: the plan is fixed and committed to, the work is done on one loop, the
 * results are written. */
#include "bench/run.h"

#include "base/encode.h"
#include "bench/cache.h"
#include "bench/forecast.h"
#include "bench/progress.h"
#include "bench/proxy.h"
#include "env/key_file.h"
#include "grade/bundle.h"
#include "grade/sandbox.h"
#include "grade/scorer_program.h"
#include "proto/url.h"
#include "suite/recording.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#define PLAN_TEXT_MAX ((size_t)1 << 20)
#define PEM_MAX ((size_t)256 << 10)
#define GRADERS_DEFAULT 2u
#define GRADERS_MAX 60u
#define PATIENCE_NS 5000000000u
#define IDLE_CONNECTION_NS 30000000000u
#define CONNECT_TIMEOUT_NS 10000000000u

/* ---- steering ---- */

void run_fail(struct run *run, const struct err *err)
{
	if (run->fatal.code == ERR_OK)
		run->fatal = *err;
	run_wake(run);
}

void run_note_ending(struct run_model *model, const char *reason, const struct refusal_parts *parts)
{
	struct run_ending *ending = &model->ending;
	if (ending->ended)
		return;
	ending->ended = true;
	ending->time_ms = model->run->loop->wall_ms;
	snprintf(ending->reason, sizeof(ending->reason), "%s", reason);
	if (parts) {
		ending->by_gateway = true;
		snprintf(ending->rule, sizeof(ending->rule), "%.*s", BYTES_ARG(parts->rule));
		snprintf(ending->clause, sizeof(ending->clause), "%.*s", BYTES_ARG(parts->clause));
		snprintf(ending->appeal, sizeof(ending->appeal), "%.*s", BYTES_ARG(parts->appeal));
	}
}

void run_end_model(struct run_model *model, const char *reason, const struct refusal_parts *parts)
{
	char text[768];
	if (model->ending.ended)
		return;
	run_note_ending(model, reason, parts);
	snprintf(text, sizeof(text), "%s: %s", model->plan->name, reason);
	lines_note(model->run, "ended", text);
	progress_say(model->run, "Nothing more is asked of %s", text);
	run_wake(model->run);
}

static void over(struct run *run)
{
	run->phase = RUN_OVER;
	journal_detach(&run->journal);
	env_loop_stop(run->loop);
}

/* What may happen next. The loop ends when nothing is under way and nothing can be. */
static void steer(struct run *run)
{
	bool fatal = run->fatal.code != ERR_OK;
	if (run->phase == RUN_PREPARING && (voucher_is_ready(run) || fatal || run->interrupted)) {
		run->phase = RUN_ASKING;
		proxy_start(run);
	}
	if (run->phase == RUN_ASKING) {
		if (fatal)
			ask_cancel_all(run, "cancelled: the run failed");
		proxy_settle(run);
		scoring_pump(run);
		ask_pump(run);
		bool left = false;
		for (unsigned i = 0; i < run->cell_count && !run->interrupted; i++)
			left |= run->cells[i].ungraded > 0;
		bool idle = ask_is_idle(run) && proxy_is_over(run) && run->grading == 0;
		if (fatal ? run->grading == 0
			  : idle && !left && run->undurable_first == run->undurable_count) {
			run->phase = RUN_CLOSING;
			if (!fatal)
				voucher_close(run);
		}
	}
	bool closed = fatal || (run->interrupted && !proxy_waits(run)) || voucher_is_closed(run);
	if (run->phase == RUN_CLOSING && closed && !journal_is_busy(&run->journal))
		over(run);
}

static void pump(struct env_message *message)
{
	struct run *run = (struct run *)((char *)message - offsetof(struct run, pump));
	run->pump_posted = false;
	steer(run);
}

void run_wake(struct run *run)
{
	if (run->pump_posted || run->phase == RUN_OVER || !run->loop)
		return;
	run->pump_posted = true;
	run->pump.run = pump;
	env_post(run->loop, &run->pump);
}

static void journal_durable(void *argument)
{
	struct run *run = argument;
	if (run->journal.err.code != ERR_OK)
		run_fail(run, &run->journal.err);
	cells_durable(run);
	run_wake(run);
}

static void patience_over(struct env_timer *timer)
{
	struct run *run = (struct run *)((char *)timer - offsetof(struct run, patience));
	ask_cancel_all(run, "cancelled: the evaluator ended the run");
	proxy_kill(run);
	run_wake(run);
}

void run_stop(struct run *run, bool at_once)
{
	if (!run->interrupted) {
		run->interrupted = true;
		lines_note(run, "interrupted", "by a signal");
		progress_say(run, "Interrupted: waiting a few seconds for what is under way");
	}
	run->patience.fire = patience_over;
	if (at_once)
		patience_over(&run->patience);
	else
		env_timer_arm(run->loop, &run->patience, run->loop->now_ns + PATIENCE_NS);
	run_wake(run);
}

static void on_signal(void *argument, int number)
{
	struct run *run = argument;
	proxy_interrupt(run, number);
	run_stop(run, run->interrupted);
}

/* ---- suites and models ---- */

static enum err_code check_scorer(struct run *run, struct run_suite *suite, const char *directory,
				  struct err *err)
{
	const char *kind = suite_scorer_kind(suite->suite);
	suite->scorer = scorer_find(kind);
	if (!suite->scorer)
		return ERR_SET(err, ERR_INVALID, "%s/suite.yaml: there is no scorer \"%s\"",
			       directory, kind);
	suite->pairwise = suite->scorer->pairwise;
	suite->judged = scorer_by_judge(suite->scorer);
	if (!suite->scorer->blocks)
		return ERR_OK;
	run->grouped = sandbox_groups_prepare(run->groups);
	enum err_code code = sandbox_check(err);
	return code == ERR_OK ? ERR_OK : err_prefix(err, "suite %s runs programs", suite->name);
}

/* A specification that no scorer takes is found before anything is spent. */
static enum err_code check_items(struct run *run, unsigned number, struct err *err)
{
	const struct run_suite *suite = &run->suites[number];
	for (size_t i = 0; i < suite->items; i++) {
		struct suite_item item;
		const struct scorer *scorer;
		ERR_TRY(suite_item_render(suite->suite, i, &item, err));
		enum err_code code = scorer_of(item.scorer, item.id, &scorer, err);
		if (code == ERR_OK && scorer->ready)
			code = scorer->ready(item.scorer, err);
		if (code == ERR_OK && scorer->own_program)
			code = scorer_program_ready(run->plan.suites[number].directory, item.scorer,
						    err);
		cells_note_item(run, number, &item);
		suite_item_release(&item);
		if (code != ERR_OK)
			return err_prefix(err, "%s/items.jsonl:%zu",
					  run->plan.suites[number].directory, i + 1);
	}
	return ERR_OK;
}

static enum err_code seal(struct run_suite *suite, const char *directory, struct err *err)
{
	ERR_TRY(suite_check_seed(suite->suite, directory, err));
	if (suite_steps(suite->suite) > 1)
		return ERR_SET(err, ERR_INVALID,
			       "%s: its items are conversations, whose turns the gateway has to "
			       "know: such a suite cannot be sealed; leave --sealed out",
			       directory);
	return suite_leaves(suite->suite, &suite->leaves, err);
}

/* What the program and its folder are now is what the run is scored by, to its end. */
static enum err_code take_program(struct run *run, unsigned number, struct err *err)
{
	struct plan_suite *planned = &run->plan.suites[number];
	struct run_suite *suite = &run->suites[number];
	if (!suite->scorer->own_program)
		return ERR_OK;
	ERR_TRY(program_copy_make(run->env, planned->directory, &suite->program, err));
	if (planned->has_program &&
	    memcmp(planned->program, suite->program.digest, SHA256_SIZE) != 0)
		return ERR_SET(
			err, ERR_MISMATCH,
			"%s: the scorer's program, or a file beside it, was changed since the "
			"run began: its digest is another one",
			planned->directory);
	planned->has_program = true;
	memcpy(planned->program, suite->program.digest, SHA256_SIZE);
	return ERR_OK;
}

static enum err_code load_suite(struct run *run, unsigned number, struct err *err)
{
	struct plan_suite *planned = &run->plan.suites[number];
	struct run_suite *suite = &run->suites[number];
	uint8_t root[SHA256_SIZE];
	ERR_TRY(suite_load(run->env, planned->directory, &suite->suite, err));
	if (run->plan.tag_count > 0 && !planned->decoys && !planned->loaded)
		ERR_TRY(part_choose(run, number, &suite->suite, err));
	if (planned->decoys && !planned->loaded)
		ERR_TRY(decoys_choose(run, number, &suite->suite, err));
	ERR_TRY(suite_root(suite->suite, root, err));
	suite->name = suite_name(suite->suite);
	suite->items = suite_count(suite->suite);
	suite->samples =
		run->plan.samples ? run->plan.samples : (unsigned)suite_samples(suite->suite);
	suite->facts = calloc(suite->items ? suite->items : 1, sizeof(*suite->facts));
	if (!suite->facts)
		return ERR_SET(err, ERR_NO_MEMORY, "out of memory");
	if (planned->loaded && memcmp(planned->root, root, SHA256_SIZE) != 0)
		return ERR_SET(err, ERR_MISMATCH,
			       "%s was changed since the run began: its root is another one",
			       planned->directory);
	for (unsigned i = 0; i < number; i++)
		if (strcmp(run->suites[i].name, suite->name) == 0)
			return ERR_SET(err, ERR_INVALID, "two suites are named \"%s\"",
				       suite->name);
	if (strchr(suite->name, '/') || suite->name[0] == '.')
		return ERR_SET(err, ERR_INVALID,
			       "%s/suite.yaml: the name \"%s\" cannot be a folder's",
			       planned->directory, suite->name);
	memcpy(planned->root, root, SHA256_SIZE);
	planned->name = suite->name;
	planned->version = suite_version(suite->suite);
	planned->loaded = true;
	if (run->plan.sealed)
		ERR_TRY(seal(suite, planned->directory, err));
	ERR_TRY(check_scorer(run, suite, planned->directory, err));
	ERR_TRY(take_program(run, number, err));
	return run->resumed ? ERR_OK : check_items(run, number, err);
}

/* Judges that a plan names may be for other suites of it; on the command line they are for these.
 * No controls is what such a run has anyway. */
static enum err_code check_unjudged(const struct bench_options *options, struct err *err)
{
	bool controls = options->controls && strcmp(options->controls, "none") != 0;
	const char *name = options->judges && *options->judges ? "--judge"
			   : options->baseline                 ? "--baseline"
			   : controls                          ? "--controls"
							       : NULL;
	return name ? ERR_SET(err, ERR_USAGE,
			      "%s does nothing here: no suite of this run is compared or rated by "
			      "judges; leave it out",
			      name)
		    : ERR_OK;
}

static enum err_code load_suites(struct run *run, struct err *err)
{
	bool pairwise = false, judged = false;
	run->suite_count = run->plan.suite_count;
	run->suites = calloc(run->suite_count, sizeof(*run->suites));
	if (!run->suites)
		return ERR_SET(err, ERR_NO_MEMORY, "out of memory");
	for (unsigned i = 0; i < run->suite_count; i++) {
		ERR_TRY(load_suite(run, i, err));
		pairwise |= run->suites[i].pairwise;
		judged |= run->suites[i].judged;
	}
	ERR_TRY(decoys_check(run, err));
	ERR_TRY(plan_check(&run->plan, judged, pairwise, err));
	if (!judged)
		ERR_TRY(check_unjudged(run->options, err));
	return pairwise && run->plan.control_items && !run->resumed
		       ? plan_add_control(&run->plan, err)
		       : ERR_OK;
}

/* Where the model is asked: at the end of its URL's path. */
static enum err_code set_target(struct run_model *model, struct bytes base, struct err *err)
{
	struct bytes name = bytes_from(model->plan->name);
	const struct dialect_endpoint *endpoint = dialect_endpoint_of(model->plan->dialect, false);
	if (!buf_reserve(&model->target, base.size + name.size + DIALECT_TARGET_EXTRA))
		return ERR_SET(err, ERR_TOO_LARGE, "the URL of model %s is too long",
			       model->plan->name);
	char *end = dialect_write_target(endpoint, base, name, model->target.data);
	model->target.size = (size_t)(end - model->target.data);
	return ERR_OK;
}

/* A run's folder, or its bundle. */
static bool is_run(struct env *env, const char *path)
{
	char file[4096];
	struct env_file *plan;
	snprintf(file, sizeof(file), "%.4000s/plan.json", path);
	if (env_file_open(env, file, ENV_OPEN_READ, &plan, NULL) != ERR_OK)
		return false;
	env_file_close(plan);
	return true;
}

static enum err_code load_answers(struct run *run, struct run_model *model, struct err *err)
{
	const char *path = model->plan->replay;
	if (is_run(run->env, path))
		return transcript_load_run(run->env, path, model->plan->name, &model->transcript,
					   err);
	enum err_code code = transcript_load(run->env, path, &model->transcript, err);
	if (code != ERR_OK && err->sys == EISDIR)
		return ERR_SET(err, ERR_NOT_FOUND,
			       "%s holds no run to replay: there is no %s/plan.json", path, path);
	return code;
}

static enum err_code open_model(struct run *run, unsigned number, struct err *err)
{
	struct run_model *model = &run->models[number];
	const struct plan_model *plan = &run->plan.models[number];
	*model = (struct run_model){.run = run, .number = number, .plan = plan};
	pace_init(&model->pace, run->plan.concurrency);
	buf_init(&model->target, HTTP_TARGET_MAX);
	buf_init(&model->credential, 8192);
	model->gateway_runs =
		calloc(run->suite_count ? run->suite_count : 1, sizeof(*model->gateway_runs));
	if (!model->gateway_runs)
		return ERR_SET(err, ERR_NO_MEMORY, "out of memory");
	if (plan->roles & PLAN_CONTROL)
		return ERR_OK;
	if (plan->replay) {
		ERR_TRY(load_answers(run, model, err));
		snprintf(model->simulated, sizeof(model->simulated), "stored answers%s%s",
			 *transcript_note(model->transcript) ? ": " : "",
			 transcript_note(model->transcript));
		return ERR_OK;
	}
	struct url url;
	ERR_TRY(plan_key(plan, &model->key, err));
	ERR_TRY(url_parse(bytes_from(plan->url), &url, err));
	ERR_TRY(set_target(model, url.path, err));
	if (plan->signing_key)
		ERR_TRY(signer_open(&model->signer, run->env, plan->signing_key, url.tls, err));
	if (model->key)
		dialect_credential_fields(plan->dialect, model->key, &model->credential);
	else if (plan->dialect == DIALECT_ANTHROPIC)
		buf_append_cstr(&model->credential, "anthropic-version: 2023-06-01\r\n");
	return model->target.failed || model->credential.failed
		       ? ERR_SET(err, ERR_TOO_LARGE, "the URL or key of model %s is too long",
				 plan->name)
		       : ERR_OK;
}

static enum err_code open_models(struct run *run, struct err *err)
{
	run->model_count = run->plan.model_count;
	run->models = calloc(run->model_count ? run->model_count : 1, sizeof(*run->models));
	if (!run->models)
		return ERR_SET(err, ERR_NO_MEMORY, "out of memory");
	for (unsigned i = 0; i < run->model_count; i++)
		ERR_TRY(open_model(run, i, err));
	return ERR_OK;
}

static const char *of_environment(const char *upper, const char *lower)
{
	const char *value = getenv(upper);
	return value && *value ? value : getenv(lower);
}

static enum err_code open_origins(struct run *run, struct err *err)
{
	const struct bench_options *options = run->options;
	struct buf certificate = BUF_INIT(PEM_MAX), key = BUF_INIT(PEM_MAX);
	enum err_code code = ERR_OK;
	if (!options->client_certificate != !options->client_key)
		return ERR_SET(err, ERR_USAGE,
			       "--client-cert and --client-key belong together: a certificate is "
			       "shown with the key that proves it");
	if (options->client_certificate) {
		code = env_read_file(run->env, options->client_certificate, &certificate, err);
		if (code == ERR_OK)
			code = env_read_file(run->env, options->client_key, &key, err);
	}
	for (unsigned i = 0; code == ERR_OK && i < run->model_count; i++) {
		struct run_model *model = &run->models[i];
		bool tls = model->plan->url && strncmp(model->plan->url, "https:", 6) == 0;
		struct http_origin_options own = {0};
		if (tls && options->client_certificate)
			own = (struct http_origin_options){.certificate = buf_bytes(&certificate),
							   .key = buf_bytes(&key)};
		if (!model->plan->replay)
			code = http_pool_origin_with(run->pool, bytes_from(model->plan->url), &own,
						     &model->origin, err);
	}
	if (key.data)
		explicit_bzero(key.data, key.size);
	buf_release(&key);
	buf_release(&certificate);
	return code;
}

static enum err_code open_pool(struct run *run, struct err *err)
{
	struct buf authorities = BUF_INIT((size_t)16 << 20);
	unsigned connections = run->plan.concurrency * run->model_count + 16;
	enum err_code code = ERR_OK;
	if (run->options->authorities)
		code = env_read_file(run->env, run->options->authorities, &authorities, err);
	if (code != ERR_OK) {
		buf_release(&authorities);
		return code;
	}
	struct http_pool_options options = {
		.connections_max = connections,
		.idle_max = connections,
		.idle_timeout_ns = IDLE_CONNECTION_NS,
		.connect_timeout_ns = CONNECT_TIMEOUT_NS,
		.ca_pem = buf_bytes(&authorities),
		.https_proxy = of_environment("HTTPS_PROXY", "https_proxy"),
		.no_proxy = of_environment("NO_PROXY", "no_proxy"),
	};
	run->pool = http_pool_new(run->loop, &options);
	buf_release(&authorities);
	if (!run->pool)
		return ERR_SET(err, ERR_NO_MEMORY, "out of memory");
	return open_origins(run, err);
}

/* ---- the directory ---- */

static const char *path_in(struct run *run, const char *name)
{
	return arena_printf(&run->arena, "%s/%s", run->directory, name);
}

static enum err_code write_text(struct run *run, const char *name, struct bytes text,
				struct err *err)
{
	const char *path = path_in(run, name);
	if (!path)
		return ERR_SET(err, ERR_NO_MEMORY, "out of memory");
	return env_write_file(run->env, path, text, 0644, err);
}

static enum err_code make_folder(struct run *run, const char *name, struct err *err)
{
	const char *path = path_in(run, name);
	if (!path)
		return ERR_SET(err, ERR_NO_MEMORY, "out of memory");
	return env_make_directories(run->env, path, err);
}

/* The suites as they are now go into the bundle, and `resume` reads them from there. */
static enum err_code copy_suites(struct run *run, struct err *err)
{
	for (unsigned i = 0; i < run->suite_count; i++) {
		const struct run_suite *suite = &run->suites[i];
		const char *folder =
			arena_printf(&run->arena, "bundle/%s/%s", BUNDLE_SUITES, suite->name);
		ERR_TRY(make_folder(run, folder, err));
		ERR_TRY(write_text(run, arena_printf(&run->arena, "%s/suite.yaml", folder),
				   suite_yaml_text(suite->suite), err));
		ERR_TRY(write_text(run, arena_printf(&run->arena, "%s/items.jsonl", folder),
				   suite_items_text(suite->suite), err));
		const char *path = path_in(run, folder);
		if (path && suite->program.path)
			ERR_TRY(program_copy_into(run->env, &suite->program, path, err));
	}
	return ERR_OK;
}

static enum err_code make_directory(struct run *run, struct err *err)
{
	const char *journal = path_in(run, "journal.jsonl");
	ERR_TRY(env_make_directories(run->env, run->directory, err));
	if (env_file_exists(run->env, journal))
		return ERR_SET(
			err, ERR_EXISTS,
			"%s holds a run already: go on with it by `parley bench %s%s`, or choose "
			"another folder",
			run->directory, run->proxy ? "proxy --resume -o " : "resume ",
			run->directory);
	ERR_TRY(make_folder(run, "bundle/" BUNDLE_RECEIPTS, err));
	ERR_TRY(copy_suites(run, err));
	ERR_TRY(anchoring_write(run, err));
	ERR_TRY(plan_encode(&run->plan, &run->plan_text, err));
	sha256_of(run->plan_text.data, run->plan_text.size, run->plan_digest);
	ERR_TRY(write_text(run, "plan.json", buf_bytes(&run->plan_text), err));
	ERR_TRY(write_text(run, "bundle/" BUNDLE_PLAN, buf_bytes(&run->plan_text), err));
	ERR_TRY(journal_create(&run->journal, run->env, journal, run->plan_digest, run->started_ms,
			       err));
	run->journal_open = true;
	return env_sync_directory(run->env, run->directory, err);
}

/* ---- beginning and end ---- */

static enum err_code run_open(struct run *run, struct env *env, const struct bench_options *options,
			      struct err *err)
{
	uint64_t seed;
	*run = (struct run){.env = env, .options = options, .directory = options->output};
	plan_init(&run->plan);
	arena_init(&run->arena, 16384, (size_t)256 << 20);
	buf_init(&run->plan_text, PLAN_TEXT_MAX);
	buf_init(&run->scratch, JOURNAL_LINE_MAX);
	bool records = options->proxy && options->proxy->record;
	if (!records && (!options->output || !*options->output))
		return ERR_SET(err, ERR_USAGE, "no folder for the results: add -o DIR");
	env_random(env, &seed, sizeof(seed));
	run->prng.state = seed;
	run->started_ms = env_wall_ms(env);
	run->started_ns = env_clock_ns(env);
	run->graders = options->graders ? options->graders : GRADERS_DEFAULT;
	if (run->graders > GRADERS_MAX)
		run->graders = GRADERS_MAX;
	run->warm = code_warm_new();
	if (!run->warm)
		return ERR_SET(err, ERR_NO_MEMORY, "out of memory");
	run->loop = env_loop_new(env, "bench", false);
	return run->loop ? ERR_OK : ERR_SET(err, ERR_ENVIRONMENT, "cannot make an event loop");
}

static void release_models(struct run *run)
{
	for (unsigned i = 0; run->models && i < run->model_count; i++) {
		struct run_model *model = &run->models[i];
		if (!model->run)
			continue;
		ask_release(model);
		transcript_free(model->transcript);
		buf_release(&model->target);
		buf_release(&model->credential);
		signer_close(&model->signer);
		free(model->gateway_runs);
	}
	free(run->models);
}

static void run_release(struct run *run)
{
	voucher_stop(run);
	proxy_free(run);
	release_models(run);
	progress_free(run->progress);
	http_pool_free(run->pool);
	if (run->loop) {
		env_timer_disarm(run->loop, &run->patience);
		env_loop_free(run->loop);
	}
	sandbox_warm_free(run->warm);
	if (run->journal_open)
		journal_close(&run->journal);
	cells_release(run);
	for (unsigned i = 0; run->suites && i < run->suite_count; i++) {
		suite_free(run->suites[i].suite);
		free(run->suites[i].facts);
		leaf_tree_free(run->suites[i].leaves);
		program_copy_remove(run->env, &run->suites[i].program);
	}
	free(run->suites);
	buf_release(&run->plan_text);
	buf_release(&run->scratch);
	anchors_release(&run->anchors);
	arena_release(&run->arena);
	plan_release(&run->plan);
}

static enum err_code attach_signals(struct run *run, struct err *err)
{
	if (!run->options->signals)
		return ERR_OK;
	ERR_TRY(env_on_signal(run->loop, SIGINT, on_signal, run, err));
	return env_on_signal(run->loop, SIGTERM, on_signal, run, err);
}

/* Told before the first request; nothing hangs on it. */
static void say_forecast(struct run *run)
{
	struct buf line = BUF_INIT(4096);
	struct forecast forecast;
	if (run->options->screen.write && !run->proxy &&
	    forecast_make(run, NULL, &forecast, NULL) == ERR_OK && forecast.requests > 0) {
		forecast_line(run, &forecast, &line);
		progress_say(run, "Estimate: %.*s", (int)line.size, line.data);
	}
	buf_release(&line);
}

/* Runs the loop until everything is done that can be. */
static enum err_code work(struct run *run, struct err *err)
{
	ERR_TRY(attach_signals(run, err));
	journal_attach(&run->journal, run->loop, journal_durable, run);
	run->progress = progress_new(run);
	if (run->resumed)
		lines_taken(run);
	if (!run->resumed)
		say_forecast(run);
	progress_start(run->progress);
	cells_durable(run);
	journal_commit(&run->journal);
	voucher_prepare(run);
	run_wake(run);
	env_loop_run(run->loop);
	progress_stop(run->progress);
	run->ended_ms = env_wall_ms(run->env);
	return ERR_OK;
}

static bool nobody_reached(const struct run *run, const struct bench_outcome *outcome)
{
	bool unreachable = outcome->answered == 0;
	for (unsigned i = 0; i < run->model_count; i++)
		unreachable &= !run->models[i].ending.ended || run->models[i].ending.unreachable;
	return unreachable && !run->over_budget;
}

static enum err_code verdict(const struct run *run, const struct bench_outcome *outcome,
			     struct err *err)
{
	const char *directory = run->directory;
	if (run->fatal.code != ERR_OK) {
		*err = run->fatal;
		return err_prefix(err, "the run stopped; go on with `parley bench %s%s`",
				  run->proxy ? "proxy --resume -o " : "resume ", directory);
	}
	if (run->proxy)
		return proxy_verdict(run, outcome, err);
	if (outcome->complete)
		return ERR_OK;
	enum err_code code = run->interrupted               ? ERR_INTERRUPTED
			     : nobody_reached(run, outcome) ? ERR_NETWORK
							    : ERR_DENIED;
	if (outcome->missing == 0)
		return ERR_SET(err, code,
			       "%s; every sample has its answer, but not every judge's verdict is "
			       "there: go on with `parley bench resume %s`",
			       outcome->ending, directory);
	return ERR_SET(err, code,
		       "%s; %zu of %zu samples have no outcome: go on with `parley bench "
		       "resume %s`",
		       outcome->ending, outcome->missing, outcome->samples, directory);
}

static enum err_code conclude(struct run *run, struct bench_outcome *outcome, struct err *err)
{
	struct err inner = ERR_INIT;
	if (run->fatal.code == ERR_OK && journal_sync_now(&run->journal, &inner) != ERR_OK)
		run->fatal = inner;
	if (run->fatal.code == ERR_OK)
		ERR_TRY(finish_write(run, outcome, err));
	return verdict(run, outcome, err);
}

/* The table of work of a plan that is new. With `asks` its models are opened to be asked; else
 * their keys and files are not looked at. */
static enum err_code lay_out(struct run *run, bool asks, struct err *err)
{
	ERR_TRY(plan_read(&run->plan, run->env, run->options, err));
	ERR_TRY(load_suites(run, err));
	if (asks)
		ERR_TRY(open_models(run, err));
	run->model_count = run->plan.model_count;
	return cells_build(run, err);
}

/* The key signs at the end; that it cannot is told before anything is spent. */
static enum err_code check_key(const struct run *run, struct err *err)
{
	struct ed25519_private *key = NULL;
	if (run->options->key)
		ERR_TRY(key_file_read(run->env, run->options->key, &key, err));
	ed25519_free(key);
	return ERR_OK;
}

static enum err_code start(struct run *run, struct err *err)
{
	ERR_TRY(lay_out(run, true, err));
	ERR_TRY(check_key(run, err));
	ERR_TRY(anchoring_open(run, err));
	ERR_TRY(cache_open(run, err));
	ERR_TRY(open_pool(run, err));
	ERR_TRY(proxy_open(run, err));
	return make_directory(run, err);
}

enum err_code bench_run(struct env *env, const struct bench_options *options,
			struct bench_outcome *outcome, struct err *err)
{
	struct run run;
	*outcome = (struct bench_outcome){0};
	enum err_code code = run_open(&run, env, options, err);
	if (code == ERR_OK && (code = start(&run, err)) != ERR_OK)
		code = err_to_usage(err);
	if (code == ERR_OK)
		code = work(&run, err);
	if (code == ERR_OK)
		code = conclude(&run, outcome, err);
	run_release(&run);
	return code;
}

/* ---- before anything is spent ---- */

enum err_code bench_estimate(struct env *env, const struct bench_options *options, const char *from,
			     struct buf *line, json_t **out, struct err *err)
{
	struct run run;
	struct forecast forecast;
	*out = NULL;
	enum err_code code = run_open(&run, env, options, err);
	if (code == ERR_OK)
		code = lay_out(&run, false, err);
	if (code == ERR_OK)
		code = forecast_make(&run, from, &forecast, err);
	if (code != ERR_OK)
		code = err_to_usage(err);
	if (code == ERR_OK) {
		forecast_line(&run, &forecast, line);
		*out = forecast_encode(&run, &forecast);
		code = *out ? ERR_OK : ERR_SET(err, ERR_NO_MEMORY, "out of memory");
	}
	run.model_count = 0; /* none was opened */
	run_release(&run);
	return code;
}

/* ---- a suite of what is asked ---- */

static enum err_code start_recording(struct run *run, struct err *err)
{
	ERR_TRY(plan_read(&run->plan, run->env, run->options, err));
	ERR_TRY(open_models(run, err));
	for (unsigned i = 0; i < run->model_count; i++)
		run->models[i].gateway_state = GATEWAY_NONE;
	ERR_TRY(open_pool(run, err));
	return proxy_open(run, err);
}

static enum err_code record(struct run *run, struct err *err)
{
	ERR_TRY(attach_signals(run, err));
	run_wake(run);
	env_loop_run(run->loop);
	return ERR_OK;
}

enum err_code bench_record(struct env *env, const struct bench_options *options,
			   struct bench_recorded *recorded, struct err *err)
{
	struct run run;
	*recorded = (struct bench_recorded){0};
	ERR_TRY(recording_folder(env, options->proxy->record, recorded->folder,
				 sizeof(recorded->folder), err));
	enum err_code code = run_open(&run, env, options, err);
	if (code == ERR_OK && (code = start_recording(&run, err)) != ERR_OK)
		code = err_to_usage(err);
	if (code == ERR_OK)
		code = record(&run, err);
	if (code == ERR_OK)
		code = proxy_recorded(&run, recorded, err);
	run_release(&run);
	return code;
}

/* ---- again ---- */

static enum err_code read_plan(struct run *run, struct err *err)
{
	const struct bench_options *options = run->options;
	const char *path = path_in(run, "plan.json");
	const char *suites = path_in(run, "bundle/" BUNDLE_SUITES);
	if (!env_file_exists(run->env, path))
		return ERR_SET(err, ERR_NOT_FOUND, "%s holds no run: there is no plan.json",
			       run->directory);
	ERR_TRY(env_read_file(run->env, path, &run->plan_text, err));
	sha256_of(run->plan_text.data, run->plan_text.size, run->plan_digest);
	ERR_TRY(plan_decode(&run->plan, buf_bytes(&run->plan_text), path, suites, err));
	if (run->plan.proxy && !options->proxy)
		return ERR_SET(err, ERR_USAGE,
			       "%s is a run of another harness: go on with `parley bench proxy "
			       "--resume -o %s -- COMMAND`",
			       run->directory, run->directory);
	if (!run->plan.proxy && options->proxy)
		return ERR_SET(err, ERR_USAGE,
			       "%s is no run of `bench proxy`: go on with `parley bench resume %s`",
			       run->directory, run->directory);
	if (options->concurrency > PLAN_CONCURRENCY_MAX ||
	    options->timeout_seconds > PLAN_TIMEOUT_MAX)
		return ERR_SET(err, ERR_USAGE, "concurrency is at most %u, timeout %u s",
			       PLAN_CONCURRENCY_MAX, PLAN_TIMEOUT_MAX);
	if (options->concurrency)
		run->plan.concurrency = options->concurrency;
	if (options->timeout_seconds)
		run->plan.timeout_seconds = options->timeout_seconds;
	if (options->budget_tokens)
		run->plan.budget_tokens = options->budget_tokens;
	if (options->budget_usd > 0)
		run->plan.budget_usd = options->budget_usd;
	return ERR_OK;
}

static enum err_code reopen(struct run *run, struct err *err)
{
	uint64_t torn;
	run->resumed = true;
	ERR_TRY(read_plan(run, err));
	ERR_TRY(load_suites(run, err));
	ERR_TRY(open_models(run, err));
	ERR_TRY(cells_build(run, err));
	ERR_TRY(check_key(run, err));
	ERR_TRY(anchoring_open(run, err));
	ERR_TRY(cache_open(run, err));
	ERR_TRY(open_pool(run, err));
	ERR_TRY(journal_open(&run->journal, run->env, path_in(run, "journal.jsonl"),
			     run->plan_digest, lines_take, run, &torn, err));
	run->journal_open = true;
	ERR_TRY(anchoring_write(run, err));
	lines_note(run, "resume", torn ? "a torn line was cut off" : "");
	return proxy_open(run, err);
}

enum err_code bench_resume(struct env *env, const struct bench_options *options,
			   struct bench_outcome *outcome, struct err *err)
{
	struct run run;
	*outcome = (struct bench_outcome){0};
	enum err_code code = run_open(&run, env, options, err);
	if (code == ERR_OK && (code = reopen(&run, err)) != ERR_OK)
		code = err_to_usage(err);
	if (code == ERR_OK)
		code = work(&run, err);
	if (code == ERR_OK)
		code = conclude(&run, outcome, err);
	run_release(&run);
	return code;
}
