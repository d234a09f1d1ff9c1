#include "gate/control_internal.h"

#include "base/encode.h"

#include <stdio.h>

#define HOUR_MS INT64_C(3600000)
#define OPEN_RUNS_MAX 1000u
#define DETAIL_SIZE 160
#define UNNAMED (-1)
#define BLIND_MAX ((int64_t)BINDING_LEAVES_MAX * BINDING_SAMPLES_MAX)

/* A run about to be opened. */
struct opening {
	struct control_operation *operation;
	const struct world_suite *suite;
	const char *key; /* public id of the key that asked; "" for none */
	int64_t samples;
	uint8_t plan[SHA256_SIZE];
	const char *seed; /* the evaluator's, for openings; NULL: none */
	int64_t blind; /* samples that may be asked without naming the run; UNNAMED: nobody has to
			*/
	bool automatic;
	char id[CONTROL_ID_SIZE];
};

static enum err_code refuse(struct control_operation *operation, enum rule rule, struct err *err,
			    const char *detail)
{
	operation->rule = rule;
	return ERR_SET(err, ERR_DENIED, "%s: %s", rule_text(rule), detail);
}

static enum err_code check_cooldown(const struct opening *opening, struct err *err)
{
	struct control *control = opening->operation->control;
	const struct world_suite *suite = opening->suite;
	const json_t *suites =
		json_object_get(control_spec(control, STORE_GRANT, suite->grant->id), "suites");
	int64_t hours = control_integer(suites, "cooldown_hours", 0);
	int64_t left = suite->suite->registered_ms + hours * HOUR_MS - control->loop->wall_ms;
	char detail[DETAIL_SIZE];
	if (left <= 0)
		return ERR_OK;
	snprintf(detail, sizeof(detail),
		 "suite %s cools down for %lld more minutes after its registration", suite->id,
		 (long long)(left / 60000 + 1));
	return refuse(opening->operation, RULE_SUITE_RUN, err, detail);
}

/* A blind arm is agreed in the grant, or there is none. */
static enum err_code check_blind(const struct opening *opening, struct err *err)
{
	struct control_operation *operation = opening->operation;
	const struct binding_suite *suite = opening->suite->suite;
	const json_t *grant =
		control_spec(operation->control, STORE_GRANT, opening->suite->grant->id);
	const json_t *share = json_object_get(grant, "blind_share_max");
	double samples = (double)suite->leaf_count * (double)opening->samples;
	char detail[DETAIL_SIZE];
	if (opening->blind <= 0)
		return ERR_OK;
	if (!json_is_number(share))
		return refuse(operation, RULE_SUITE_RUN, err,
			      "the grant agrees to no blind arm (blind_share_max)");
	if (suite->sealed)
		return refuse(operation, RULE_SUITE_RUN, err,
			      "requests of a sealed suite have to show their leaf: no blind arm");
	if ((double)opening->blind <= samples * json_number_value(share) + 1e-9)
		return ERR_OK;
	snprintf(detail, sizeof(detail),
		 "a blind arm of %lld of %.0f samples; the grant agrees to a share of %g",
		 (long long)opening->blind, samples, json_number_value(share));
	return refuse(operation, RULE_SUITE_RUN, err, detail);
}

static enum err_code check_opening(const struct opening *opening, struct err *err)
{
	const struct world_grant *grant = opening->suite->grant;
	char detail[DETAIL_SIZE];
	if (!(grant->classes & 1u << opening->suite->class)) {
		snprintf(detail, sizeof(detail), "suite %s is %s", opening->suite->id,
			 suite_class_id(opening->suite->class));
		return refuse(opening->operation, RULE_SUITE_CLASS, err, detail);
	}
	if (opening->samples > grant->samples_per_leaf) {
		snprintf(detail, sizeof(detail), "%lld samples of a leaf, of %u",
			 (long long)opening->samples, grant->samples_per_leaf);
		return refuse(opening->operation, RULE_SUITE_BUDGET, err, detail);
	}
	if (grant->release == RELEASE_V0 &&
	    !control_grading_find(opening->operation->control, opening->suite->id))
		return refuse(opening->operation, RULE_SUITE_SCORERS, err,
			      "none are kept here; register the suite again");
	ERR_TRY(check_blind(opening, err));
	const struct binding_suite *kept = opening->suite->suite;
	if (kept->shape && (uint64_t)kept->unit_count * (uint64_t)opening->samples > ANSWERS_MAX) {
		snprintf(detail, sizeof(detail),
			 "%u answers with %lld samples each would be kept for what goes on from "
			 "them, of %u",
			 kept->unit_count, (long long)opening->samples, ANSWERS_MAX);
		return refuse(opening->operation, RULE_SUITE_BUDGET, err, detail);
	}
	if (grant->run_count >= OPEN_RUNS_MAX)
		return refuse(opening->operation, RULE_SUITE_BUDGET, err,
			      "too many runs are open; close some");
	return check_cooldown(opening, err);
}

static json_t *run_spec(const struct opening *opening)
{
	struct control *control = opening->operation->control;
	const struct world_grant *grant = opening->suite->grant;
	char plan[2 * SHA256_SIZE + 1];
	hex_encode(opening->plan, SHA256_SIZE, plan);
	uint64_t position =
		control->hooks.log_position(control->hooks.argument, opening->operation->log);
	json_t *spec = json_pack(
		"{s:s, s:s, s:s, s:s, s:s, s:I, s:s, s:I, s:I, s:b}", "id", opening->id, "suite",
		opening->suite->id, "grant", grant->id, "org", grant->org->id, "purpose",
		purpose_id(opening->suite->suite->purpose), "samples", (json_int_t)opening->samples,
		"plan_digest", plan, "opened_ms", (json_int_t)control->loop->wall_ms, "position",
		(json_int_t)position, "automatic", opening->automatic);
	if (spec &&
	    ((*opening->key && json_object_set_new(spec, "key", json_string(opening->key))) ||
	     (opening->blind != UNNAMED &&
	      json_object_set_new(spec, "blind", json_integer(opening->blind))) ||
	     (opening->seed &&
	      json_object_set_new(spec, "opening_seed", json_string(opening->seed))))) {
		json_decref(spec);
		return NULL;
	}
	return spec;
}

/* What the record of the opening and its answer say beside: how what may be opened is chosen, and
 * the blind share. NULL: nothing, or memory is out. */
static json_t *promise_of(const struct opening *opening, const json_t *spec)
{
	json_t *promise = control_grading_promise(opening->operation->control, spec);
	if (opening->blind == UNNAMED)
		return promise;
	if (!promise)
		promise = json_object();
	if (promise && json_object_set_new(promise, "blind", json_integer(opening->blind)) == 0)
		return promise;
	json_decref(promise);
	return NULL;
}

static enum err_code open_run(struct opening *opening, struct err *err)
{
	struct control_operation *operation = opening->operation;
	struct binding_run_options options = {
		.id = opening->id,
		.grant_id = opening->suite->grant->id,
		.suite = opening->suite->suite,
		.samples = (unsigned)opening->samples,
		.opened_ms = operation->control->loop->wall_ms,
		.named = opening->blind != UNNAMED,
		.blind_max = opening->blind != UNNAMED ? opening->blind : 0,
	};
	memcpy(options.plan_digest, opening->plan, SHA256_SIZE);
	ERR_TRY(check_opening(opening, err));
	json_t *spec = run_spec(opening);
	uint8_t key[SHA256_SIZE];
	options.opening_key = key;
	/* The count is the run's for good, whatever the grant says later. */
	bool sealed =
		spec && control_grading_openings(operation->control, spec, key, &options.openings);
	enum err_code opened = ERR_OK;
	if (sealed && json_object_set_new(spec, "openings", json_integer(options.openings)))
		opened = ERR_SET(err, ERR_NO_MEMORY, "no memory to open a run");
	if (opened == ERR_OK)
		opened = binding_run_new(&options, &operation->run, err);
	explicit_bzero(key, sizeof(key));
	if (opened != ERR_OK) {
		json_decref(spec);
		return opened;
	}
	json_t *promise = spec ? promise_of(opening, spec) : NULL;
	struct control_telling telling = {.kind = RECORD_RUN, .act = "run.open", .detail = promise};
	operation->answer = json_pack("{s:s, s:s, s:I, s:I}", "run", opening->id, "suite",
				      opening->suite->id, "samples", (json_int_t)opening->samples,
				      "leaves", (json_int_t)opening->suite->suite->leaf_count);
	enum err_code code = ERR_OK;
	if (!spec || !operation->answer || (!promise && opening->blind != UNNAMED) ||
	    (promise && json_object_update(operation->answer, promise)))
		code = ERR_SET(err, ERR_NO_MEMORY, "no memory to open a run");
	if (code == ERR_OK)
		code = control_change_add(operation, STORE_RUN, opening->id, spec, "open", &telling,
					  NULL, err);
	json_decref(spec);
	json_decref(promise);
	return code;
}

static enum err_code find_suite(struct opening *opening, const char *grant, const char *suite,
				struct err *err)
{
	opening->suite = world_find_suite(opening->operation->control->world, bytes_from(suite));
	if (!opening->suite || strcmp(opening->suite->grant->id, grant) != 0)
		return ERR_SET(err, ERR_NOT_FOUND, "there is no suite %s under grant %s", suite,
			       grant);
	return ERR_OK;
}

static enum err_code read_plan(const json_t *body, uint8_t plan[static SHA256_SIZE],
			       struct err *err)
{
	const char *text;
	ERR_TRY(json_get_string_or(body, "plan_digest", "run", NULL, &text, err));
	if (text && !hex_decode(bytes_from(text), plan, SHA256_SIZE))
		return ERR_SET(err, ERR_INVALID,
			       "run: plan_digest: must have 64 hexadecimal digits");
	return ERR_OK;
}

/* The evaluator's part of the choice of what may be opened. */
static enum err_code read_seed(const json_t *body, const char **out, struct err *err)
{
	uint8_t seed[GRADING_SEED_SIZE];
	ERR_TRY(json_get_string_or(body, "opening_seed", "run", NULL, out, err));
	if (*out && !hex_decode(bytes_from(*out), seed, sizeof(seed)))
		return ERR_SET(err, ERR_INVALID,
			       "run: opening_seed: must have 64 hexadecimal digits");
	return ERR_OK;
}

enum err_code control_prepare_run(struct control_operation *operation, const char *grant,
				  const char *key, const json_t *body, struct err *err)
{
	static const char *const keys[] = {"suite",        "samples", "plan_digest",
					   "opening_seed", "blind",   NULL};
	struct opening opening = {.operation = operation, .key = key};
	const char *suite;
	operation->log = control_log_of_grant(operation->control, grant);
	control_random_id(operation->control, "run_", opening.id);
	ERR_TRY(json_only_keys(body, keys, "run", err));
	ERR_TRY(json_get_string(body, "suite", "run", &suite, err));
	ERR_TRY(find_suite(&opening, grant, suite, err));
	ERR_TRY(json_get_integer_or(body, "samples", "run", 1, BINDING_SAMPLES_MAX,
				    opening.suite->suite->samples, &opening.samples, err));
	ERR_TRY(json_get_integer_or(body, "blind", "run", 0, BLIND_MAX, UNNAMED, &opening.blind,
				    err));
	ERR_TRY(read_plan(body, opening.plan, err));
	ERR_TRY(read_seed(body, &opening.seed, err));
	return open_run(&opening, err);
}

/* ---- runs that requests open by themselves ---- */

static enum err_code prepare_automatic(struct control_operation *operation, struct err *err)
{
	const struct control_open_run *call = operation->argument;
	struct opening opening = {
		.operation = operation, .key = "", .blind = UNNAMED, .automatic = true};
	operation->log = control_log_of_grant(operation->control, call->grant);
	control_random_id(operation->control, "run_", opening.id);
	ERR_TRY(find_suite(&opening, call->grant, call->suite, err));
	if (opening.suite->runs) /* another request was faster */
		return ERR_OK;
	unsigned most = opening.suite->grant->samples_per_leaf;
	opening.samples =
		opening.suite->suite->samples < most ? opening.suite->suite->samples : most;
	return open_run(&opening, err);
}

static void finish_automatic(struct control_operation *operation, enum err_code code,
			     const struct err *err)
{
	struct control_open_run *call = operation->argument;
	call->rule = operation->rule;
	call->done(call, code, err);
}

void control_open_run(struct control *control, struct control_open_run *call)
{
	struct control_operation *operation = control_operation_new(control, call);
	if (!operation) {
		struct err err = ERR_INIT;
		call->rule = RULE_NONE;
		call->done(call, ERR_SET(&err, ERR_NO_MEMORY, "no memory to open a run"), &err);
		return;
	}
	operation->prepare = prepare_automatic;
	operation->finish = finish_automatic;
	control_submit(operation);
}
