/* Runs: samples used and in flight, and what was answered. */
#include "policy/binding.h"

#include <assert.h>
#include <stdlib.h>
#include <stdio.h>

/* ---- runs ---- */

bool binding_run_opens(const struct binding_run *run, uint32_t leaf, unsigned sample)
{
	return openings_has(&run->openings, leaf, sample);
}

enum err_code binding_run_new(const struct binding_run_options *options, struct binding_run **out,
			      struct err *err)
{
	*out = NULL;
	if (!options->id[0] || strlen(options->id) >= BINDING_ID_SIZE ||
	    strlen(options->grant_id) >= BINDING_ID_SIZE)
		return ERR_SET(err, ERR_INVALID, "run: ids have 1 to %d bytes",
			       BINDING_ID_SIZE - 1);
	if (options->samples == 0 || options->samples > BINDING_SAMPLES_MAX)
		return ERR_SET(err, ERR_INVALID, "run %s: samples must be 1 to %d", options->id,
			       BINDING_SAMPLES_MAX);
	struct binding_run *run = calloc(1, sizeof(*run));
	if (!run)
		return ERR_SET(err, ERR_NO_MEMORY, "run %s: out of memory", options->id);
	atomic_init(&run->references, 1);
	memcpy(run->id, options->id, strlen(options->id) + 1);
	memcpy(run->grant_id, options->grant_id, strlen(options->grant_id) + 1);
	run->suite = binding_suite_hold(options->suite);
	run->samples = options->samples;
	memcpy(run->plan_digest, options->plan_digest, SHA256_SIZE);
	run->opened_ms = options->opened_ms;
	run->named = options->named;
	run->blind_max = options->blind_max;
	atomic_init(&run->last_use_ms, options->opened_ms);
	enum err_code code = ERR_OK;
	if (options->openings)
		code = openings_choose(&run->openings, options->opening_key, options->openings,
				       run->suite->leaf_count, run->samples, err);
	if (code == ERR_OK)
		*out = run;
	else
		binding_run_drop(run);
	return code;
}

struct binding_run *binding_run_hold(struct binding_run *run)
{
	atomic_fetch_add(&run->references, 1);
	return run;
}

void binding_run_drop(struct binding_run *run)
{
	if (!run || atomic_fetch_sub(&run->references, 1) != 1)
		return;
	for (unsigned i = 0; i < run->model_count; i++) {
		free(run->models[i]);
		free(run->used[i]);
		free(run->answers[i]);
		exposure_drop(run->exposed[i]);
	}
	binding_suite_drop(run->suite);
	free(run);
}

void binding_run_close(struct binding_run *run)
{
	atomic_store(&run->closed, true);
}

enum err_code binding_run_add_model(struct binding_run *run, const char *model, unsigned *slot,
				    struct err *err)
{
	for (unsigned i = 0; i < run->model_count; i++) {
		if (strcmp(run->models[i], model) == 0) {
			*slot = i;
			return ERR_OK;
		}
	}
	if (run->model_count == BINDING_MODELS_MAX)
		return ERR_SET(err, ERR_TOO_LARGE, "run %s: more than %d models", run->id,
			       BINDING_MODELS_MAX);
	char *name = strdup(model);
	/* Untouched pages of a large suite's counters cost no memory. */
	uint32_t units = run->suite->unit_count;
	_Atomic uint64_t *used = calloc(units, sizeof(*used));
	struct served *answers = NULL;
	if (run->suite->shape)
		answers = calloc((size_t)units * run->samples, sizeof(*answers));
	if (!name || !used || (run->suite->shape && !answers)) {
		free(name);
		free(used);
		free(answers);
		return ERR_SET(err, ERR_NO_MEMORY, "run %s: out of memory", run->id);
	}
	run->models[run->model_count] = name;
	run->used[run->model_count] = used;
	run->answers[run->model_count] = answers;
	*slot = run->model_count++;
	return ERR_OK;
}

bool binding_run_restore(struct binding_run *run, unsigned slot, uint32_t unit, unsigned sample)
{
	if (slot >= run->model_count || unit >= run->suite->unit_count || sample == 0 ||
	    sample > BINDING_SAMPLES_MAX)
		return false;
	atomic_fetch_or(&run->used[slot][unit], (uint64_t)1 << (sample - 1));
	return true;
}

/* ---- the blind share ---- */

static bool is_blind(const struct binding_run *run, const struct binding_pick *pick)
{
	return pick->unnamed && run->named;
}

static bool take_blind(struct binding_run *run, const struct binding_pick *pick)
{
	if (!is_blind(run, pick) || atomic_fetch_add(&run->blind_used, 1) < run->blind_max)
		return true;
	atomic_fetch_sub(&run->blind_used, 1);
	return false;
}

static void give_blind(struct binding_run *run, const struct binding_pick *pick)
{
	if (is_blind(run, pick))
		atomic_fetch_sub(&run->blind_used, 1);
}

void binding_run_restore_blind(struct binding_run *run)
{
	atomic_fetch_add(&run->blind_used, 1);
}

bool binding_run_takes_blind(const struct binding_run *run)
{
	return !run->named || atomic_load(&run->blind_used) < run->blind_max;
}

bool binding_hold_is_blind(const struct binding_hold *hold)
{
	return hold->run && is_blind(hold->run, &hold->pick);
}

unsigned binding_run_used(const struct binding_run *run, unsigned slot, uint32_t unit)
{
	assert(slot < run->model_count && unit < run->suite->unit_count);
	return (unsigned)__builtin_popcountll(atomic_load(&run->used[slot][unit]));
}

unsigned binding_run_samples(const struct binding_run *run, uint32_t leaf)
{
	return shape_judge_of(run->suite->shape, leaf) ? BINDING_SAMPLES_MAX : run->samples;
}

uint64_t binding_run_slot_total(const struct binding_run *run, unsigned slot)
{
	uint64_t total = 0;
	for (uint32_t unit = 0; unit < run->suite->unit_count; unit++)
		total += binding_run_used(run, slot, unit);
	return total;
}

uint64_t binding_run_total(const struct binding_run *run)
{
	uint64_t total = 0;
	for (unsigned slot = 0; slot < run->model_count; slot++)
		total += binding_run_slot_total(run, slot);
	return total;
}

/* ---- answers ---- */

struct served *binding_run_answer(const struct binding_run *run, unsigned slot, uint32_t unit,
				  unsigned sample)
{
	if (slot >= run->model_count || !run->answers[slot] || unit >= run->suite->unit_count ||
	    sample == 0 || sample > run->samples)
		return NULL;
	return &run->answers[slot][(size_t)unit * run->samples + sample - 1];
}

uint64_t binding_run_said(const struct binding_run *run, unsigned slot, uint32_t unit,
			  const struct script_said *said)
{
	uint64_t samples = 0;
	for (unsigned sample = 1; sample <= run->samples; sample++) {
		const struct served *answer = binding_run_answer(run, slot, unit, sample);
		if (answer && served_is(answer, said))
			samples |= (uint64_t)1 << (sample - 1);
	}
	return samples;
}

static void count_bytes(struct binding_run *run, const struct binding_pick *pick)
{
	if (!run->suite->shape)
		return;
	atomic_fetch_add(&run->registered_bytes, pick->registered_bytes);
	atomic_fetch_add(&run->free_bytes, pick->free_bytes);
}

static struct served *judged_answer(const struct binding_run *run, const struct binding_pick *pick,
				    unsigned index)
{
	const struct binding_judged *judged = &pick->judged[index];
	return binding_run_answer(run, judged->slot, judged->unit, judged->sample);
}

void binding_run_count(struct binding_run *run, const struct binding_pick *pick)
{
	for (unsigned i = 0; i < pick->judged_count; i++) {
		struct served *answer = judged_answer(run, pick, i);
		if (answer)
			atomic_fetch_add(&answer->verdicts, 1);
	}
	count_bytes(run, pick);
}

static void give_verdicts(const struct binding_run *run, const struct binding_pick *pick,
			  unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		atomic_fetch_sub(&judged_answer(run, pick, i)->verdicts, 1);
}

/* One more verdict on each answer that is judged; false where one has had all there may be. */
static bool take_verdicts(const struct binding_run *run, const struct binding_pick *pick)
{
	for (unsigned i = 0; i < pick->judged_count; i++) {
		struct served *answer = judged_answer(run, pick, i);
		if (answer &&
		    atomic_fetch_add(&answer->verdicts, 1) < run->suite->judging->verdicts)
			continue;
		give_verdicts(run, pick, answer ? i + 1 : i);
		return false;
	}
	return true;
}

/* ---- samples in flight ---- */

static uint64_t all_samples(unsigned samples)
{
	return samples >= 64 ? UINT64_MAX : ((uint64_t)1 << samples) - 1;
}

struct binding_pick binding_pick_leaf(uint32_t leaf)
{
	return (struct binding_pick){.leaf = leaf, .unit = leaf, .among = UINT64_MAX};
}

bool binding_run_is_free(const struct binding_run *run, unsigned slot,
			 const struct binding_pick *pick)
{
	uint64_t among = pick->among & all_samples(binding_run_samples(run, pick->leaf));
	return (~atomic_load(&run->used[slot][pick->unit]) & among) != 0;
}

/* The bit of the sample taken; 0: none. */
static uint64_t take_bit(struct binding_run *run, unsigned slot, const struct binding_pick *pick)
{
	uint64_t among = pick->among & all_samples(binding_run_samples(run, pick->leaf));
	uint64_t old = atomic_load(&run->used[slot][pick->unit]), bit;
	do {
		uint64_t unused = ~old & among;
		if (!unused || atomic_load(&run->closed))
			return 0;
		bit = unused & -unused;
	} while (!atomic_compare_exchange_weak(&run->used[slot][pick->unit], &old, old | bit));
	return bit;
}

bool binding_take(struct binding_run *run, unsigned slot, const struct binding_pick *pick,
		  int64_t wall_ms, struct binding_hold *hold)
{
	assert(slot < run->model_count && pick->unit < run->suite->unit_count);
	*hold = (struct binding_hold){0};
	/* Counted first: whoever sees the run closed and nothing in flight sees the last of it. */
	atomic_fetch_add(&run->in_flight, 1);
	bool blind = take_blind(run, pick), judged = blind && take_verdicts(run, pick);
	uint64_t bit = judged ? take_bit(run, slot, pick) : 0;
	if (!bit) {
		if (blind)
			give_blind(run, pick);
		if (judged)
			give_verdicts(run, pick, pick->judged_count);
		atomic_fetch_sub(&run->in_flight, 1);
		return false;
	}
	atomic_store(&run->last_use_ms, wall_ms);
	hold->run = binding_run_hold(run);
	hold->pick = *pick;
	hold->slot = slot;
	hold->sample = (unsigned)__builtin_ctzll(bit) + 1;
	hold->noted = run->exposed[slot] != NULL;
	if (hold->noted)
		hold->re_exposed =
			exposure_note(run->exposed[slot], pick->leaf, wall_ms, run->opened_ms);
	return true;
}

static void end_hold(struct binding_hold *hold)
{
	atomic_fetch_sub(&hold->run->in_flight, 1);
	binding_run_drop(hold->run);
	hold->run = NULL;
}

void binding_keep(struct binding_hold *hold)
{
	if (!hold->run)
		return;
	count_bytes(hold->run, &hold->pick);
	end_hold(hold);
}

void binding_release(struct binding_hold *hold)
{
	if (!hold->run)
		return;
	atomic_fetch_and(&hold->run->used[hold->slot][hold->pick.unit],
			 ~((uint64_t)1 << (hold->sample - 1)));
	give_verdicts(hold->run, &hold->pick, hold->pick.judged_count);
	give_blind(hold->run, &hold->pick);
	end_hold(hold);
}

struct served *binding_hold_answer(const struct binding_hold *hold)
{
	if (!hold->run || shape_judge_of(hold->run->suite->shape, hold->pick.leaf))
		return NULL;
	return binding_run_answer(hold->run, hold->slot, hold->pick.unit, hold->sample);
}
