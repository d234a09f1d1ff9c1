#include "gate/control_internal.h"
#include "gate/served.h"

#include "base/encode.h"
#include "base/json_scan.h"

#include <stdio.h>
#include <stdlib.h>

#define NAME_SIZE 64

/* ---- acts that a crash left staged ---- */

struct staged {
	struct control *control;
	json_t *logs[CONTROL_LOGS]; /* objects: commit -> true where the record was found */
	json_t *sequence;           /* commits, oldest first */
	json_t *places;             /* commit -> number of its log */
	uint64_t from[CONTROL_LOGS];
	enum control_log scanning;
};

static enum err_code note_staged(void *argument, const char *commit, int log, uint64_t position,
				 struct err *err)
{
	struct staged *staged = argument;
	if (log < 0 || log >= CONTROL_LOGS)
		return ERR_SET(err, ERR_CORRUPT,
			       "a staged act names a log that is not there; restore the database "
			       "from a backup");
	if (position < staged->from[log])
		staged->from[log] = position;
	if (json_object_set_new(staged->logs[log], commit, json_false()) ||
	    json_array_append_new(staged->sequence, json_string(commit)) ||
	    json_object_set_new(staged->places, commit, json_integer(log)))
		return ERR_SET(err, ERR_NO_MEMORY, "no memory to settle staged acts");
	return ERR_OK;
}

static void look_for_commit(void *argument, struct bytes line, bool *stop)
{
	struct staged *staged = argument;
	json_t *record;
	(void)stop;
	if (json_parse(line, "record", &record, NULL) != ERR_OK)
		return;
	json_t *commits = staged->logs[staged->scanning];
	const char *document = json_text(record, "document");
	if (json_object_get(commits, document))
		json_object_set_new(commits, document, json_true());
	json_decref(record);
}

static enum err_code settle(struct staged *staged, struct err *err)
{
	struct control *control = staged->control;
	for (int log = 0; log < CONTROL_LOGS; log++) {
		staged->scanning = (enum control_log)log;
		if (json_object_size(staged->logs[log]))
			ERR_TRY(control->hooks.log_scan(control->hooks.argument,
							(enum control_log)log, staged->from[log],
							look_for_commit, staged, err));
	}
	size_t index;
	json_t *name;
	json_array_foreach(staged->sequence, index, name)
	{
		const char *commit = json_string_value(name);
		int64_t log = control_integer(staged->places, commit, 0);
		bool recorded = json_is_true(json_object_get(staged->logs[log], commit));
		ERR_TRY(recorded ? store_finish(control->store, &commit, 1, err)
				 : store_abandon(control->store, &commit, 1, err));
	}
	return ERR_OK;
}

enum err_code control_settle_staged(struct control *control, struct err *err)
{
	struct staged staged = {
		.control = control, .sequence = json_array(), .places = json_object()};
	bool good = staged.sequence && staged.places;
	for (int log = 0; log < CONTROL_LOGS; log++) {
		staged.from[log] = UINT64_MAX;
		good = good && (staged.logs[log] = json_object()) != NULL;
	}
	enum err_code code = ERR_OK;
	if (!good)
		code = ERR_SET(err, ERR_NO_MEMORY, "no memory to settle staged acts");
	if (code == ERR_OK)
		code = store_each_staged(control->store, note_staged, &staged, err);
	if (code == ERR_OK)
		code = settle(&staged, err);
	for (int log = 0; log < CONTROL_LOGS; log++)
		json_decref(staged.logs[log]);
	json_decref(staged.sequence);
	json_decref(staged.places);
	return code;
}

/* ---- samples and tokens used ---- */

struct use {
	struct control *control;
	json_t *admits; /* id -> admit record, until its settle */
	int64_t day_start_ms;
	uint64_t index;         /* of the next line */
	uint64_t first_today;   /* index of the first record of this day; UINT64_MAX: none yet */
	uint64_t counted;       /* the use of what lies before is known */
	struct json_scan *scan; /* scratch */
	bool failed;
};

static void name_of_day(int log, char out[static NAME_SIZE])
{
	snprintf(out, NAME_SIZE, "log.%d.day", log);
}

static void name_of_position(int log, char out[static NAME_SIZE])
{
	snprintf(out, NAME_SIZE, "log.%d.day_position", log);
}

static int64_t day_of(int64_t wall_ms)
{
	return wall_ms / WORLD_DAY_MS;
}

static enum err_code note_position(struct control *control, int log, uint64_t today,
				   uint64_t position, struct err *err)
{
	char name[NAME_SIZE];
	uint64_t noted;
	name_of_day(log, name);
	ERR_TRY(store_get_number(control->store, name, 0, &noted, err));
	if (noted == today)
		return ERR_OK;
	char place[NAME_SIZE];
	name_of_position(log, place);
	ERR_TRY(store_put_number(control->store, place, position, err));
	return store_put_number(control->store, name, today, err);
}

/* Noted is where the log ended a minute before the day was seen to have changed (at start: the
 * first record of the day), so that nothing after midnight is left out; what lies before it is
 * skipped by its time. */
enum err_code control_note_day(struct control *control, struct err *err)
{
	uint64_t today = (uint64_t)day_of(env_wall_ms(control->env));
	for (int log = 0; log < CONTROL_LOGS; log++) {
		ERR_TRY(note_position(control, log, today, control->tick_positions[log], err));
		control->tick_positions[log] =
			control->hooks.log_position(control->hooks.argument, (enum control_log)log);
	}
	return ERR_OK;
}

/* Where the logs have to be read from: where the kept use ends; of the evaluation log also the
 * noted beginning of the day, or the opening of an open run, where that is earlier. */
static enum err_code first_position(struct control *control, int log, uint64_t *out,
				    struct err *err)
{
	char name[NAME_SIZE];
	name_of_position(log, name);
	ERR_TRY(store_get_number(control->store, name, 0, out, err));
	if (control->use.kept && (log != CONTROL_EVALUATION || control->use.places[log] < *out))
		*out = control->use.places[log];
	if (log != CONTROL_EVALUATION)
		return ERR_OK;
	const char *id;
	json_t *document;
	uint64_t exposed;
	ERR_TRY(control_exposure_position(control, &exposed, err));
	*out = exposed < *out ? exposed : *out;
	json_object_foreach(control->documents[STORE_RUN], id, document)
	{
		uint64_t position =
			(uint64_t)control_integer(control_spec_of(document), "position", 0);
		if (strcmp(control_state_of(document), "open") == 0 && position < *out)
			*out = position;
	}
	return ERR_OK;
}

/* What words a leaf of a sealed suite was admitted with. */
static void restore_words(struct use *use, const json_t *admit)
{
	uint8_t digest[BINDING_DIGEST_SIZE];
	const struct world_suite *suite =
		world_find_suite(use->control->world, bytes_from(json_text(admit, "suite")));
	int64_t leaf = control_integer(admit, "leaf", -1);
	if (suite && suite->suite->sealed && leaf >= 0 && leaf < suite->suite->leaf_count &&
	    hex_decode(bytes_from(json_text(admit, "words")), digest, sizeof(digest)))
		binding_suite_claim(suite->suite, digest, (uint32_t)leaf);
}

static bool find_slot(const struct binding_run *run, const char *model, unsigned *slot)
{
	for (*slot = 0; *slot < run->model_count; ++*slot)
		if (strcmp(run->models[*slot], model) == 0)
			return true;
	return false;
}

/* What the admit record of a conversation or a judge says of the words: gate/served.c wrote it. */
static void restore_words_of(struct binding_run *run, const json_t *detail,
			     struct binding_pick *pick)
{
	size_t index;
	json_t *row;
	const struct shape *shape = run->suite->shape;
	pick->free_bytes = (uint32_t)control_integer(detail, "free", 0);
	pick->registered_bytes = (uint32_t)control_integer(detail, "registered", 0);
	json_array_foreach(json_object_get(detail, "judged"), index, row)
	{
		struct binding_judged judged = {
			.sample = (unsigned)control_integer(row, "sample", -1) + 1};
		uint64_t leaf = (uint64_t)control_integer(row, "leaf", -1);
		if (pick->judged_count == SCRIPT_SLOTS_MAX || leaf >= run->suite->leaf_count ||
		    !find_slot(run, json_text(row, "model"), &judged.slot))
			continue;
		judged.unit =
			shape_unit(shape, (uint32_t)leaf, shape_steps(shape, (uint32_t)leaf) - 1);
		pick->judged[pick->judged_count++] = judged;
	}
	binding_run_count(run, pick);
}

static void restore_answer(struct use *use, const json_t *admit, const json_t *settle,
			   struct served *place)
{
	const json_t *said = json_object_get(json_object_get(settle, "detail"), "said");
	int64_t size = control_integer(said, "size", -1);
	struct script_said out = {.size = (uint32_t)size};
	if (!place || size < 0 || size > (int64_t)SCRIPT_WORDS_MAX ||
	    !hex_decode(bytes_from(json_text(said, "digest")), out.digest, sizeof(out.digest)))
		return;
	gate_served_mask(&use->control->binding_secret, json_text(admit, "id"), out.digest);
	served_keep(place, &out);
}

static void restore_sample(struct use *use, const json_t *admit, const json_t *settle)
{
	const struct world *world = use->control->world;
	const struct world_run *open = world_find_run(world, bytes_from(json_text(admit, "run")));
	const struct world_model *model =
		world_find_model(world, bytes_from(json_text(admit, "model")));
	if (!open || !model)
		return;
	struct binding_run *run = open->run;
	int place = world_grant_model(open->suite->grant, model);
	const json_t *detail = json_object_get(admit, "detail");
	int64_t leaf = control_integer(admit, "leaf", -1);
	int64_t sample = control_integer(admit, "sample", -1);
	int64_t step = control_integer(detail, "step", 0);
	if (place < 0 || leaf < 0 || leaf >= run->suite->leaf_count || sample < 0 ||
	    sample >= BINDING_SAMPLES_MAX || step < 0 ||
	    step >= shape_steps(run->suite->shape, (uint32_t)leaf))
		return;
	struct binding_pick pick = {.leaf = (uint32_t)leaf, .step = (unsigned)step};
	unsigned slot = open->slots[place], number = (unsigned)sample + 1;
	pick.unit = shape_unit(run->suite->shape, pick.leaf, pick.step);
	binding_run_restore(run, slot, pick.unit, number);
	if (json_is_true(json_object_get(admit, "blind")))
		binding_run_restore_blind(run);
	if (!run->suite->shape)
		return;
	restore_words_of(run, detail, &pick);
	restore_answer(use, admit, settle, binding_run_answer(run, slot, pick.unit, number));
}

static void restore_scope(struct limits_cells *cells, int64_t day,
			  const struct limits_amounts *amounts)
{
	if (cells)
		limits_use_add(&cells->use, day, amounts);
}

/* The settle record says whose it was; one of an older build leaves that to its admit record. */
static const char *owner_of(const json_t *admit, const json_t *settle, const char *member)
{
	const char *name = json_text(settle, member);
	return *name ? name : json_text(admit, member);
}

/* What lies outside of suites is interop_test where the grant has that purpose. */
static bool is_interop(const struct world_grant *grant, const json_t *settle)
{
	return (grant->purposes >> PURPOSE_INTEROP_TEST & 1) && !*json_text(settle, "run");
}

static void restore_tokens(struct use *use, const json_t *admit, const json_t *settle, int64_t day)
{
	const struct world *world = use->control->world;
	const json_t *usage = json_object_get(settle, "usage");
	struct limits_tokens tokens = {
		control_integer(usage, "input", 0), control_integer(usage, "cache_read", 0),
		control_integer(usage, "cache_write", 0), control_integer(usage, "output", 0)};
	const struct world_grant *grant =
		world_find_grant(world, bytes_from(owner_of(admit, settle, "grant")));
	const struct world_key *key =
		world_find_key_id(world, bytes_from(owner_of(admit, settle, "key")));
	const struct world_model *model =
		world_find_model(world, bytes_from(owner_of(admit, settle, "model")));
	struct limits_amounts amounts = {
		{1, tokens.input, tokens.cache_read, tokens.cache_write, tokens.output,
		 model ? limits_cost(&model->price, &tokens) : 0}
        };
	if (grant) {
		restore_scope(grant->cells, day, &amounts);
		restore_scope(grant->org->cells, day, &amounts);
		if (grant->org->top)
			restore_scope(grant->org->top->cells, day, &amounts);
		if (is_interop(grant, settle))
			restore_scope(grant->interop_cells, day, &amounts);
		if (strcmp(json_text(settle, "ending"), "finish") == 0 && tokens.output > 0)
			limits_observe_output(grant->cells, tokens.output);
	}
	if (key)
		restore_scope(key->cells, day, &amounts);
	if (model)
		restore_scope(model->cells, day, &amounts);
}

/* RFC 3339 with milliseconds, as records have it: only the day matters. -1: none. */
static int64_t day_of_record(const json_t *record)
{
	const char *time = json_text(record, "time");
	int64_t start;
	return strlen(time) > 10 && world_parse_day(bytes_of(time, 10), &start)
		       ? start / WORLD_DAY_MS
		       : -1;
}

static bool is_today(const struct use *use, const json_t *record)
{
	return day_of_record(record) * WORLD_DAY_MS >= use->day_start_ms;
}

static void note_settle(struct use *use, const json_t *record, uint64_t index)
{
	const char *id = json_text(record, "admit");
	const json_t *admit = json_object_get(use->admits, id);
	int64_t day = day_of_record(record);
	if (index >= use->counted && day >= 0 && json_object_get(record, "usage"))
		restore_tokens(use, admit, record, day);
	if (!admit)
		return;
	if (strcmp(json_text(record, "kind"), "settle") == 0 &&
	    control_integer(record, "status", 0) == 200 &&
	    strcmp(json_text(record, "verdict"), "ungraded") != 0)
		restore_sample(use, admit, record);
	json_object_del(use->admits, id);
}

/* Most records are acts and refusals, of which only the time is of interest, and that only until
 * the day's first was found: these are not made trees of. */
static bool tells_use(struct use *use, struct bytes line)
{
	static const char *const kinds[] = {"admit", "settle", "unknown"};
	struct bytes kind;
	if (use->first_today == UINT64_MAX)
		return true;
	if (json_scan_text(use->scan, line, "record", NULL) != ERR_OK ||
	    !json_value_plain_string(json_scan_find(json_value_at(line), "kind"), &kind))
		return true;
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (bytes_is(kind, kinds[i]))
			return true;
	return false;
}

static void note_use(void *argument, struct bytes line, bool *stop)
{
	struct use *use = argument;
	json_t *record;
	uint64_t index = use->index++;
	if (!tells_use(use, line) || json_parse(line, "record", &record, NULL) != ERR_OK)
		return;
	const char *kind = json_text(record, "kind");
	if (use->first_today == UINT64_MAX && is_today(use, record))
		use->first_today = index;
	if (strcmp(kind, "admit") == 0) {
		restore_words(use, record);
		control_restore_exposure(use->control, record);
	}
	if (strcmp(kind, "admit") == 0)
		use->failed = json_object_set(use->admits, json_text(record, "id"), record) != 0;
	else if (strcmp(kind, "settle") == 0 || strcmp(kind, "unknown") == 0)
		note_settle(use, record, index);
	json_decref(record);
	*stop = use->failed;
}

static enum err_code restore_from(struct use *use, int log, struct err *err)
{
	struct control *control = use->control;
	uint64_t end = control->hooks.log_position(control->hooks.argument, (enum control_log)log);
	ERR_TRY(first_position(control, log, &use->index, err));
	use->first_today = UINT64_MAX;
	use->counted = control->use.kept ? control->use.places[log] : 0;
	if (use->index < end)
		ERR_TRY(control->hooks.log_scan(control->hooks.argument, (enum control_log)log,
						use->index, note_use, use, err));
	control->tick_positions[log] = use->first_today == UINT64_MAX ? end : use->first_today;
	return use->failed ? ERR_SET(err, ERR_NO_MEMORY, "no memory to read the logs") : ERR_OK;
}

enum err_code control_restore_use(struct control *control, struct err *err)
{
	struct use use = {.control = control,
			  .admits = json_object(),
			  .scan = malloc(sizeof(*use.scan)),
			  .day_start_ms = day_of(env_wall_ms(control->env)) * WORLD_DAY_MS};
	enum err_code code = ERR_OK;
	if (!use.admits || !use.scan)
		code = ERR_SET(err, ERR_NO_MEMORY, "no memory to read the logs");
	for (int log = 0; code == ERR_OK && log < CONTROL_LOGS; log++)
		code = restore_from(&use, log, err);
	json_decref(use.admits);
	free(use.scan);
	return code;
}
