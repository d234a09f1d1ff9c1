/* The exposure ledger and the register of runs. Cells are written by the workers as requests go
 * out; here they are found, stored (each minute, with the position of the log up to which that is
 * the whole truth) and read from the log again after a crash. The register tells of a run, for each
 * model it asked, the how manyeth it was over its suite and what the provider had seen before. */
#include "gate/control_internal.h"

#include "base/encode.h"

#include <stdio.h>
#include <stdlib.h>

#define POSITION_NAME "exposure.position"
#define EXPOSURE_ID_SIZE (2 * SHA256_SIZE + 1 + EXPOSURE_PROVIDER_SIZE)
#define REGISTER_MODELS_MAX 50 /* a record has no room for more */

/* ---- cells ---- */

static void write_id(const struct exposure *exposure, char out[static EXPOSURE_ID_SIZE])
{
	hex_encode(exposure->root, SHA256_SIZE, out);
	snprintf(out + 2 * SHA256_SIZE, EXPOSURE_ID_SIZE - 2 * SHA256_SIZE, ":%s",
		 exposure->provider);
}

static enum err_code take_blob(void *argument, const struct store_document *document,
			       struct err *err)
{
	struct exposure *exposure = argument;
	size_t size = (size_t)exposure->leaf_count * sizeof(int64_t);
	if (document->blob.size != size)
		return ERR_SET(err, ERR_CORRUPT,
			       "the stored exposure of a suite to %s is damaged; restore the "
			       "database from a backup",
			       exposure->provider);
	for (uint32_t leaf = 0; leaf < exposure->leaf_count; leaf++) {
		int64_t first_ms;
		memcpy(&first_ms, document->blob.data + leaf * sizeof(first_ms), sizeof(first_ms));
		atomic_store(&exposure->first_ms[leaf], first_ms);
	}
	return ERR_OK;
}

static enum err_code find_exposure(struct control *control, const struct binding_suite *suite,
				   const char *provider, struct exposure **out, struct err *err)
{
	char id[EXPOSURE_ID_SIZE];
	for (*out = control->exposures; *out; *out = (*out)->next)
		if ((*out)->leaf_count == suite->leaf_count &&
		    memcmp((*out)->root, suite->root, SHA256_SIZE) == 0 &&
		    strcmp((*out)->provider, provider) == 0)
			return ERR_OK;
	struct exposure *made = exposure_new(suite->root, provider, suite->leaf_count);
	if (!made)
		return ERR_SET(err, ERR_NO_MEMORY, "no memory for what provider %s has seen",
			       provider);
	write_id(made, id);
	enum err_code code = store_find(control->store, STORE_EXPOSURE, id, take_blob, made, err);
	if (code != ERR_OK && code != ERR_NOT_FOUND) {
		exposure_drop(made);
		return code;
	}
	made->next = control->exposures;
	control->exposures = made;
	*out = made;
	return ERR_OK;
}

static const char *provider_of(const struct control *control, const char *model)
{
	const struct config *config = control->config;
	for (size_t i = 0; i < config->model_count; i++)
		if (strcmp(config->models[i].name, model) == 0)
			return config->providers[config->models[i].provider].name;
	return NULL;
}

enum err_code control_expose_run(struct control *control, struct binding_run *run, struct err *err)
{
	for (unsigned slot = 0; slot < run->model_count; slot++) {
		const char *provider = provider_of(control, run->models[slot]);
		struct exposure *exposure;
		if (run->exposed[slot] || !provider)
			continue;
		ERR_TRY(find_exposure(control, run->suite, provider, &exposure, err));
		run->exposed[slot] = exposure_hold(exposure);
	}
	return ERR_OK;
}

void control_exposures_free(struct control *control)
{
	while (control->exposures) {
		struct exposure *exposure = control->exposures;
		control->exposures = exposure->next;
		exposure_drop(exposure);
	}
}

/* ---- keeping them ---- */

static enum err_code keep(struct control *control, struct exposure *exposure, struct err *err)
{
	char id[EXPOSURE_ID_SIZE], text[64];
	size_t size = (size_t)exposure->leaf_count * sizeof(int64_t);
	char *blob = malloc(size);
	if (!blob)
		return ERR_SET(err, ERR_NO_MEMORY, "no memory to store what a provider has seen");
	atomic_store(&exposure->changed, false);
	for (uint32_t leaf = 0; leaf < exposure->leaf_count; leaf++) {
		int64_t first_ms = atomic_load(&exposure->first_ms[leaf]);
		memcpy(blob + leaf * sizeof(first_ms), &first_ms, sizeof(first_ms));
	}
	write_id(exposure, id);
	snprintf(text, sizeof(text), "{\"leaves\":%u}", exposure->leaf_count);
	struct store_document document = {.kind = STORE_EXPOSURE,
					  .id = id,
					  .document = bytes_from(text),
					  .blob = bytes_of(blob, size)};
	enum err_code code = store_put(control->store, &document, 1, err);
	if (code != ERR_OK)
		atomic_store(&exposure->changed, true);
	free(blob);
	return code;
}

/* What is in the log before the position was noted in a cell before it was: nothing is missed. */
enum err_code control_keep_exposures(struct control *control, struct err *err)
{
	uint64_t noted,
		position = control->hooks.log_position(control->hooks.argument, CONTROL_EVALUATION);
	bool changed = false;
	for (const struct exposure *at = control->exposures; at && !changed; at = at->next)
		changed = atomic_load(&at->changed);
	ERR_TRY(store_get_number(control->store, POSITION_NAME, 0, &noted, err));
	if (!changed && position == noted)
		return ERR_OK;
	for (struct exposure *at = control->exposures; at; at = at->next)
		if (atomic_load(&at->changed))
			ERR_TRY(keep(control, at, err));
	return store_put_number(control->store, POSITION_NAME, position, err);
}

enum err_code control_exposure_position(struct control *control, uint64_t *out, struct err *err)
{
	return store_get_number(control->store, POSITION_NAME, 0, out, err);
}

/* RFC 3339 with milliseconds, as records have it. */
static bool parse_time(const char *text, int64_t *out)
{
	uint64_t hours, minutes, seconds, rest;
	if (strlen(text) != RECORD_TIME_SIZE - 1 || !world_parse_day(bytes_of(text, 10), out) ||
	    !bytes_to_u64(bytes_of(text + 11, 2), 23, &hours) ||
	    !bytes_to_u64(bytes_of(text + 14, 2), 59, &minutes) ||
	    !bytes_to_u64(bytes_of(text + 17, 2), 60, &seconds) ||
	    !bytes_to_u64(bytes_of(text + 20, 3), 999, &rest))
		return false;
	*out += (int64_t)(((hours * 60 + minutes) * 60 + seconds) * 1000 + rest);
	return true;
}

void control_restore_exposure(struct control *control, const json_t *admit)
{
	const struct world_suite *suite =
		world_find_suite(control->world, bytes_from(json_text(admit, "suite")));
	const char *provider = provider_of(control, json_text(admit, "model"));
	int64_t leaf = control_integer(admit, "leaf", -1), time;
	struct exposure *exposure;
	if (suite && provider && leaf >= 0 && leaf <= UINT32_MAX &&
	    json_object_get(admit, "exposure") && parse_time(json_text(admit, "time"), &time) &&
	    find_exposure(control, suite->suite, provider, &exposure, NULL) == ERR_OK)
		exposure_restore(exposure, (uint32_t)leaf, time);
}

/* ---- the register ---- */

/* Whether a run asked a model: as its end says, or as it stands. */
static bool has_asked(const struct control *control, const char *id, const json_t *spec,
		      const char *model)
{
	size_t index;
	json_t *row;
	json_array_foreach(json_object_get(spec, "register"), index, row)
	{
		if (strcmp(json_text(row, "model"), model) == 0)
			return true;
	}
	const struct world_run *run = world_find_run(control->world, bytes_from(id));
	for (unsigned slot = 0; run && slot < run->run->model_count; slot++)
		if (strcmp(run->run->models[slot], model) == 0)
			return binding_run_slot_total(run->run, slot) > 0;
	return false;
}

static bool same_group(const struct control *control, const char *a, const char *b)
{
	const struct world_grant *one = world_find_grant(control->world, bytes_from(a));
	const struct world_grant *other = world_find_grant(control->world, bytes_from(b));
	return one && other && one->org->group == other->org->group;
}

/* The runs of the organisation, and of those that control ties it to, over the suite's root on the
 * model: how many there are, and the place of this one among them. */
static void count_runs(const struct control *control, const struct binding_run *run,
		       const char *model, json_int_t *place, json_int_t *count)
{
	const json_t *suite = control_spec(control, STORE_SUITE, run->suite->id);
	const char *id;
	json_t *document;
	*place = *count = 1;
	json_object_foreach(control->documents[STORE_RUN], id, document)
	{
		const json_t *spec = control_spec_of(document);
		const json_t *other = control_spec(control, STORE_SUITE, json_text(spec, "suite"));
		int64_t opened_ms = control_integer(spec, "opened_ms", 0);
		if (strcmp(id, run->id) == 0 ||
		    strcmp(json_text(suite, "root"), json_text(other, "root")) != 0 ||
		    !same_group(control, run->grant_id, json_text(spec, "grant")) ||
		    !has_asked(control, id, spec, model))
			continue;
		++*count;
		*place += opened_ms < run->opened_ms ||
			  (opened_ms == run->opened_ms && strcmp(id, run->id) < 0);
	}
}

static json_t *register_row(const struct control *control, const struct binding_run *run,
			    unsigned slot)
{
	json_int_t place, count, first = 0, again = 0;
	uint64_t answers = binding_run_slot_total(run, slot);
	const struct exposure *exposure = run->exposed[slot];
	count_runs(control, run, run->models[slot], &place, &count);
	for (uint32_t leaf = 0; exposure && leaf < run->suite->leaf_count; leaf++) {
		if (binding_run_used(run, slot, shape_unit(run->suite->shape, leaf, 0)) == 0)
			continue;
		bool before = exposure_before(exposure, leaf, run->opened_ms);
		again += before;
		first += !before;
	}
	return json_pack("{s:s, s:s*, s:I, s:I, s:I, s:I, s:I}", "model", run->models[slot],
			 "provider", exposure ? exposure->provider : NULL, "run", place, "of",
			 count, "answers", (json_int_t)answers, "first", first, "re_exposed",
			 again);
}

json_t *control_register_of(const struct control *control, const char *id)
{
	const struct world_run *run = world_find_run(control->world, bytes_from(id));
	json_t *rows = json_array();
	for (unsigned slot = 0; run && rows && slot < run->run->model_count; slot++) {
		if (binding_run_slot_total(run->run, slot) == 0 ||
		    json_array_size(rows) == REGISTER_MODELS_MAX)
			continue;
		if (json_array_append_new(rows, register_row(control, run->run, slot))) {
			json_decref(rows);
			return NULL;
		}
	}
	return rows;
}

json_t *control_words_of(const struct control *control, const char *id)
{
	const struct world_run *open = world_find_run(control->world, bytes_from(id));
	if (!open || !open->run->suite->shape)
		return NULL;
	return json_pack("{s:I, s:I}", "free", (json_int_t)atomic_load(&open->run->free_bytes),
			 "registered", (json_int_t)atomic_load(&open->run->registered_bytes));
}
