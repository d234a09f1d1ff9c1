/* What a bundle says was to be done: plan, suites and the table of work. */
#include "verify/audit.h"

#include "base/json.h"
#include "grade/rating.h"
#include "ledger/key_rotation.h"
#include "suite/words.h"

#include <stdio.h>
#include <stdlib.h>

static enum err_code no_memory(struct err *err)
{
	return ERR_SET(err, ERR_NO_MEMORY, "out of memory for the bundle");
}

const char *audit_path(struct audit *audit, const char *name)
{
	return arena_printf(&audit->arena, "%s/%s", audit->directory, name);
}

enum err_code audit_read_json(struct audit *audit, const char *name, struct buf *text, json_t **out,
			      struct err *err)
{
	const char *path = audit_path(audit, name);
	if (!path)
		return no_memory(err);
	buf_init(text, AUDIT_JSON_MAX);
	enum err_code code = env_read_file(audit->env, path, text, err);
	if (code == ERR_OK)
		code = json_parse(buf_bytes(text), name, out, err);
	if (code == ERR_OK && !json_is_object(*out)) {
		json_decref(*out);
		*out = NULL;
		code = ERR_SET(err, ERR_INVALID, "%s: must be an object", name);
	}
	return code;
}

/* ---- plan and suites ---- */

static enum err_code load_plan(struct audit *audit, struct err *err)
{
	struct buf text;
	json_t *tree = NULL;
	const char *suites = audit_path(audit, BUNDLE_SUITES);
	enum err_code code = audit_read_json(audit, BUNDLE_PLAN, &text, &tree, err);
	json_decref(tree);
	if (code == ERR_OK && !suites)
		code = no_memory(err);
	if (code == ERR_OK)
		code = plan_decode(&audit->plan, buf_bytes(&text), BUNDLE_PLAN, suites, err);
	sha256_of(text.data, text.size, audit->plan_digest);
	if (code == ERR_OK)
		code = withheld_plan(audit, buf_bytes(&text), err);
	buf_release(&text);
	return code;
}

static enum err_code check_names(const struct plan *plan, struct err *err)
{
	for (unsigned i = 0; i < plan->model_count; i++)
		for (unsigned k = 0; k < i; k++)
			if (strcmp(plan->models[i].name, plan->models[k].name) == 0)
				return ERR_SET(err, ERR_INVALID, "%s: two models are named %.100s",
					       BUNDLE_PLAN, plan->models[i].name);
	for (unsigned i = 0; i < plan->suite_count; i++)
		for (unsigned k = 0; k < i; k++)
			if (strcmp(plan->suites[i].name, plan->suites[k].name) == 0)
				return ERR_SET(err, ERR_INVALID, "%s: two suites are named %.100s",
					       BUNDLE_PLAN, plan->suites[i].name);
	return ERR_OK;
}

/* The files that the program was given, as far as the bundle has them, are those that the plan
 * committed to; and only then is it run again. */
static enum err_code check_program(struct audit *audit, unsigned number, struct err *err)
{
	const struct plan_suite *planned = &audit->plan.suites[number];
	struct program_copy *program = &audit->suites[number].program;
	if (!audit->suites[number].scorer->own_program || !planned->has_program)
		return ERR_OK;
	ERR_TRY(audit->options->rerun
			? program_copy_make(audit->env, planned->directory, program, err)
			: program_copy_digest(audit->env, planned->directory, program, err));
	if (program->files == 0 || memcmp(program->digest, planned->program, SHA256_SIZE) == 0)
		return ERR_OK;
	return ERR_SET(
		err, ERR_MISMATCH,
		BUNDLE_SUITES
		"/%.64s: its scorer is a program, and its files give another digest than the "
		"one in " BUNDLE_PLAN " (the program or a file beside it was altered)",
		planned->name);
}

/* Of a part of a suite, chosen by tags: each item, or its twin, has one of them. */
static enum err_code check_part(const struct audit *audit, const struct audit_suite *suite,
				const struct plan_suite *planned, struct err *err)
{
	const struct plan *plan = &audit->plan;
	bool part = planned->whole_items > 0;
	if (part != (plan->tag_count > 0 && !planned->decoys) ||
	    (part && suite->items > planned->whole_items))
		return ERR_SET(err, ERR_MISMATCH,
			       BUNDLE_PLAN
			       ": suite %.64s is a part by tags, and the plan has no tags, "
			       "or not these items",
			       planned->name);
	for (size_t i = 0; part && i < suite->items; i++) {
		size_t other;
		bool has, other_has = false;
		ERR_TRY(suite_has_tag(suite->suite, i, plan->tags, plan->tag_count, &has, err));
		if (!has && (suite_twin(suite->suite, i, &other) ||
			     suite_original(suite->suite, i, &other)))
			ERR_TRY(suite_has_tag(suite->suite, other, plan->tags, plan->tag_count,
					      &other_has, err));
		if (!has && !other_has)
			return ERR_SET(err, ERR_MISMATCH,
				       "item %.100s (suite %.64s): it has none of the plan's tags",
				       suite_id(suite->suite, i), planned->name);
	}
	return ERR_OK;
}

/* The directory is the path given to `parley verify`: out of place in what a reader is told. */
static enum err_code load_suite(struct audit *audit, unsigned number, struct err *err)
{
	const struct plan_suite *planned = &audit->plan.suites[number];
	struct audit_suite *suite = &audit->suites[number];
	const json_t *entry = withheld_entry(audit, planned->name);
	if (entry)
		return withheld_suite(audit, number, entry, err);
	enum err_code code = suite_load(audit->env, planned->directory, &suite->suite, err);
	if (code != ERR_OK)
		return code;
	audit->suite_count = number + 1;
	suite->name = suite_name(suite->suite);
	suite->version = suite_version(suite->suite);
	suite->settings = suite_settings(suite->suite);
	suite->judged = suite_is_judged(suite->suite);
	suite->steps = suite_steps(suite->suite);
	suite->scorer = scorer_find(suite_scorer_kind(suite->suite));
	suite->items = suite_count(suite->suite);
	suite->samples =
		audit->plan.samples ? audit->plan.samples : (unsigned)suite_samples(suite->suite);
	if (!suite->scorer || strcmp(suite->name, planned->name) != 0 ||
	    strcmp(suite->version, planned->version) != 0)
		return ERR_SET(err, ERR_MISMATCH,
			       BUNDLE_SUITES "/%.64s: it is another suite than the plan's",
			       planned->name);
	ERR_TRY(check_part(audit, suite, planned, err));
	suite->facts = calloc(suite->items ? suite->items : 1, sizeof(*suite->facts));
	if (!suite->facts)
		return no_memory(err);
	ERR_TRY(suite_root(suite->suite, suite->root, err));
	if (memcmp(suite->root, planned->root, SHA256_SIZE) != 0)
		return ERR_SET(err, ERR_MISMATCH,
			       BUNDLE_SUITES
			       "/%.64s: its items give another root than the one in " BUNDLE_PLAN
			       " (an item was added, dropped or altered)",
			       suite->name);
	return check_program(audit, number, err);
}

/* Keys that were handed on, for the reader's keys and for the bundle's own. */
static enum err_code follow_rotations(struct audit *audit, struct err *err)
{
	const char *path = audit_path(audit, KEY_ROTATIONS_FILE);
	if (!path)
		return no_memory(err);
	ERR_TRY(verify_keys_follow_file(audit->env, path, KEY_ROTATIONS_FILE, &audit->reader, err));
	return verify_keys_follow_file(audit->env, path, KEY_ROTATIONS_FILE, &audit->own, err);
}

static enum err_code load_own_keys(struct audit *audit, struct err *err)
{
	const char *path = audit_path(audit, BUNDLE_POLICY);
	struct buf text = BUF_INIT(VERIFY_KEY_FILE_MAX);
	if (!path)
		return no_memory(err);
	enum err_code code = ERR_OK;
	if (!env_file_exists(audit->env, path))
		return follow_rotations(audit, err);
	code = env_read_file(audit->env, path, &text, err);
	if (code == ERR_OK)
		code = verify_keys_own(buf_bytes(&text), BUNDLE_POLICY, &audit->own, err);
	buf_release(&text);
	if (code == ERR_OK)
		code = follow_rotations(audit, err);
	return code == ERR_OK ? audit_verdict_keys(audit, err) : code;
}

/* ---- the table of work; the rules are those of DESIGN.md section 7 ---- */

static bool answers(const struct audit *audit, unsigned suite, unsigned model)
{
	unsigned roles = PLAN_CONTESTANT;
	if (audit->suites[suite].scorer->pairwise)
		roles |= PLAN_BASELINE | PLAN_CONTROL;
	return audit_has_role(audit, model, roles);
}

/* The null model meets this one, where there is no baseline. */
static unsigned first_contestant(const struct audit *audit)
{
	unsigned i = 0;
	while (i < audit->plan.model_count && !audit_has_role(audit, i, PLAN_CONTESTANT))
		i++;
	return i;
}

/* With a baseline every contestant and control meets it; without one every pair of contestants
 * meets once, and a control the first of them. */
static bool meets(const struct audit *audit, unsigned model, unsigned opponent)
{
	bool baseline = false;
	for (unsigned i = 0; i < audit->plan.model_count; i++)
		baseline |= audit_has_role(audit, i, PLAN_BASELINE);
	if (model == opponent || !audit_has_role(audit, model, PLAN_CONTESTANT | PLAN_CONTROL))
		return false;
	if (baseline)
		return audit_has_role(audit, opponent, PLAN_BASELINE) &&
		       !audit_has_role(audit, model, PLAN_BASELINE);
	if (audit_has_role(audit, model, PLAN_CONTROL))
		return opponent == first_contestant(audit);
	return audit_has_role(audit, opponent, PLAN_CONTESTANT) && model < opponent;
}

static enum err_code add_cell(struct audit *audit, const struct audit_cell *template,
			      struct err *err)
{
	const struct audit_suite *suite = &audit->suites[template->suite];
	size_t answers = template->spread ? template->spread : suite->items * suite->samples;
	size_t count = answers * audit_orders(template);
	if (count > AUDIT_SLOTS_MAX - audit->slots)
		return ERR_SET(err, ERR_TOO_LARGE, "%s: it asks for more than %zu answers",
			       BUNDLE_PLAN, AUDIT_SLOTS_MAX);
	struct audit_cell *grown =
		reallocarray(audit->cells, audit->cell_count + 1, sizeof(*grown));
	if (!grown)
		return no_memory(err);
	audit->cells = grown;
	struct audit_cell *cell = &grown[audit->cell_count++];
	*cell = *template;
	cell->count = count;
	cell->signer = SIGNER_READER;
	cell->slots = calloc(count ? count : 1, sizeof(*cell->slots));
	cell->used = calloc(suite->items ? suite->items : 1, sizeof(*cell->used));
	cell->turn_count = cell->judging ? 0 : suite->steps - 1;
	if (cell->turn_count)
		cell->turns = calloc(count ? count : 1, cell->turn_count * sizeof(*cell->turns));
	if (!cell->slots || !cell->used || (cell->turn_count && !cell->turns))
		return no_memory(err);
	for (size_t i = 0; i < count; i++) {
		cell->slots[i].verdict = AUDIT_NO_VERDICT;
		cell->slots[i].refused = REFUSED_UNKNOWN;
	}
	audit->slots += count;
	return ERR_OK;
}

static enum err_code add_judges(struct audit *audit, unsigned suite, unsigned model,
				unsigned opponent, struct err *err)
{
	const struct plan_model *planned = &audit->plan.models[model];
	size_t spread = planned->roles & PLAN_CONTROL
				? plan_spread_count(planned, audit->suites[suite].items)
				: 0;
	for (unsigned judge = 0; judge < audit->plan.model_count; judge++) {
		struct audit_cell cell = {.suite = suite,
					  .spread = spread,
					  .model = model,
					  .opponent = opponent,
					  .judge = judge,
					  .judging = true};
		if (audit_has_role(audit, judge, PLAN_JUDGE))
			ERR_TRY(add_cell(audit, &cell, err));
	}
	return ERR_OK;
}

static enum err_code add_raters(struct audit *audit, unsigned suite, unsigned model,
				struct err *err)
{
	for (unsigned judge = 0; judge < audit->plan.model_count; judge++) {
		struct audit_cell cell = {.suite = suite,
					  .model = model,
					  .opponent = model,
					  .judge = judge,
					  .judging = true,
					  .rating = true};
		if (audit_has_role(audit, judge, PLAN_JUDGE))
			ERR_TRY(add_cell(audit, &cell, err));
	}
	return ERR_OK;
}

static enum err_code lay_out(struct audit *audit, unsigned suite, struct err *err)
{
	unsigned models = audit->plan.model_count;
	for (unsigned model = 0; model < models; model++) {
		struct audit_cell cell = {.suite = suite, .model = model};
		if (answers(audit, suite, model))
			ERR_TRY(add_cell(audit, &cell, err));
	}
	for (unsigned model = 0; audit->suites[suite].scorer->rated && model < models; model++)
		if (answers(audit, suite, model))
			ERR_TRY(add_raters(audit, suite, model, err));
	if (!audit->suites[suite].scorer->pairwise)
		return ERR_OK;
	for (unsigned model = 0; model < models; model++)
		for (unsigned opponent = 0; opponent < models; opponent++)
			if (meets(audit, model, opponent))
				ERR_TRY(add_judges(audit, suite, model, opponent, err));
	return ERR_OK;
}

enum err_code audit_load(struct audit *audit, struct err *err)
{
	ERR_TRY(withheld_load(audit, err));
	ERR_TRY(load_plan(audit, err));
	ERR_TRY(check_names(&audit->plan, err));
	for (unsigned i = 0; i < audit->plan.suite_count; i++)
		ERR_TRY(load_suite(audit, i, err));
	for (unsigned i = 0; i < audit->suite_count; i++)
		ERR_TRY(lay_out(audit, i, err));
	ERR_TRY(audit_conduct_open(audit, err));
	ERR_TRY(load_own_keys(audit, err));
	return grants_load(audit, err);
}

void audit_release(struct audit *audit)
{
	sandbox_warm_free(audit->warm);
	for (unsigned i = 0; i < PLAN_SUITES_MAX; i++) {
		suite_free(audit->suites[i].suite);
		free(audit->suites[i].facts);
		program_copy_remove(audit->env, &audit->suites[i].program);
	}
	for (size_t i = 0; i < audit->cell_count; i++) {
		free(audit->cells[i].slots);
		free(audit->cells[i].used);
		free(audit->cells[i].turns);
		free(audit->cells[i].inputs);
	}
	free(audit->cells);
	free(audit->scores);
	free(audit->verdict_keys);
	json_decref(audit->summary);
	json_decref(audit->conduct_words);
	conduct_release(&audit->conduct);
	results_release(&audit->results);
	jsonl_close(&audit->transcripts);
	receipts_release(&audit->receipts);
	withheld_release(&audit->withheld);
	grants_release(&audit->grants);
	bundle_release(&audit->bundle);
	verify_keys_release(&audit->own);
	verify_keys_release(&audit->reader);
	plan_release(&audit->plan);
	arena_release(&audit->arena);
}

/* ---- looking up ---- */

static bool find_model(const struct audit *audit, const char *name, unsigned *out)
{
	for (*out = 0; *out < audit->plan.model_count; ++*out)
		if (strcmp(audit->plan.models[*out].name, name) == 0)
			return true;
	return false;
}

static bool find_suite(const struct audit *audit, const char *name, unsigned *out)
{
	for (*out = 0; *out < audit->suite_count; ++*out)
		if (strcmp(audit->suites[*out].name, name) == 0)
			return true;
	return false;
}

struct audit_cell *audit_find_cell(struct audit *audit, const char *suite, const char *model,
				   const char *opponent, const char *judge)
{
	struct audit_cell wanted = {.judging = opponent || judge};
	if (!find_suite(audit, suite, &wanted.suite) || !find_model(audit, model, &wanted.model))
		return NULL;
	if (wanted.judging &&
	    (!judge || !find_model(audit, opponent ? opponent : model, &wanted.opponent) ||
	     !find_model(audit, judge, &wanted.judge)))
		return NULL;
	wanted.rating = judge && !opponent;
	for (size_t i = 0; i < audit->cell_count; i++) {
		struct audit_cell *cell = &audit->cells[i];
		if (cell->suite == wanted.suite && cell->model == wanted.model &&
		    cell->judging == wanted.judging && cell->rating == wanted.rating &&
		    cell->opponent == wanted.opponent && cell->judge == wanted.judge)
			return cell;
	}
	return NULL;
}

struct audit_cell *audit_answering(struct audit *audit, unsigned suite, unsigned model)
{
	for (size_t i = 0; i < audit->cell_count; i++) {
		struct audit_cell *cell = &audit->cells[i];
		if (!cell->judging && cell->suite == suite && cell->model == model)
			return cell;
	}
	return NULL;
}

bool audit_find_item(const struct audit_suite *suite, struct bytes id, size_t *index)
{
	uint64_t number;
	if (suite->suite)
		return suite_find(suite->suite, id, index);
	if (!bytes_to_u64(id, PUBLISHED_ITEMS_MAX, &number) || number >= suite->items ||
	    !bytes_is(id, suite->facts[number].number))
		return false;
	*index = (size_t)number;
	return true;
}

const char *audit_item_id(const struct audit_suite *suite, size_t index)
{
	return suite->suite ? suite_id(suite->suite, index) : suite->facts[index].number;
}

enum err_code audit_render(struct audit *audit, unsigned suite, size_t item, bool judge,
			   struct suite_item *out, struct err *err)
{
	const struct suite *shown = audit->suites[suite].suite;
	if (!shown)
		return withheld_item(audit, suite, item, judge, out, err);
	return judge ? suite_judge_render(shown, item, out, err)
		     : suite_item_render(shown, item, out, err);
}

static enum expect read_expect(const json_t *scorer)
{
	const char *text = json_string_value(json_object_get(scorer, "expect"));
	if (text && strcmp(text, "refuse") == 0)
		return EXPECT_REFUSE;
	return text && strcmp(text, "answer") == 0 ? EXPECT_ANSWER : EXPECT_NONE;
}

static bool note_hazard(struct audit *audit, unsigned suite, const struct suite_item *item,
			struct audit_item *facts)
{
	const char *hazard = rating_hazard(item->scorer);
	if (strcmp(audit->suites[suite].scorer->kind, "hazard") != 0 || !hazard)
		return true;
	facts->hazard = arena_copy(&audit->arena, bytes_from(hazard));
	facts->reference = rating_reference(item->scorer);
	return facts->hazard != NULL;
}

const struct audit_item *audit_item(struct audit *audit, unsigned suite, size_t item,
				    struct err *err)
{
	struct audit_item *facts = &audit->suites[suite].facts[item];
	struct suite_item rendered;
	if (facts->known)
		return facts;
	if (audit_render(audit, suite, item, false, &rendered, err) != ERR_OK)
		return NULL;
	leaf_words_digest(buf_bytes(&rendered.text), facts->words);
	facts->expect = read_expect(rendered.scorer);
	facts->steps = rendered.steps;
	facts->asked = (uint32_t)words_text_size(rendered.words);
	facts->reference = -1;
	bool kept = note_hazard(audit, suite, &rendered, facts);
	if (rendered.cluster)
		facts->cluster = arena_copy(&audit->arena, bytes_from(rendered.cluster));
	facts->known = kept && (!rendered.cluster || facts->cluster);
	suite_item_release(&rendered);
	if (!facts->known)
		no_memory(err);
	return facts->known ? facts : NULL;
}

enum err_code audit_blame(const struct audit *audit, const struct audit_cell *cell, size_t slot,
			  struct err *err)
{
	const struct audit_suite *suite = &audit->suites[cell->suite];
	const char *id = audit_item_id(suite, audit_item_of(audit, cell, slot));
	unsigned sample = audit_sample_of(audit, cell, slot);
	char number[32] = "";
	if (suite->samples > 1)
		snprintf(number, sizeof(number), ", sample %u", sample);
	if (cell->rating)
		return err_prefix(err, "item %.100s%s (suite %.64s, model %.64s, judge %.64s)", id,
				  number, suite->name, audit->plan.models[cell->model].name,
				  audit->plan.models[cell->judge].name);
	if (cell->judging)
		return err_prefix(err, "item %.100s%s (suite %.64s, %.64s against %.64s)", id,
				  number, suite->name, audit->plan.models[cell->model].name,
				  audit->plan.models[cell->opponent].name);
	return err_prefix(err, "item %.100s%s (suite %.64s, model %.64s)", id, number, suite->name,
			  audit->plan.models[cell->model].name);
}
