/* What is agreed beyond a product grant: the suite of the questions, what a revocation cuts, and
 * what is billed. */
#include "town.h"

#include "base/encode.h"
#include "base/json.h"
#include "gate/control_internal.h"
#include "gate/request_limits.h"
#include "suite/leaf.h"
#include "suite/words.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- the suite ---- */

static json_t *prompt_of(const struct question *question)
{
	json_t *body = json_loads(question->body, 0, NULL);
	json_t *messages = json_object_get(body, "messages");
	json_t *prompt = json_incref(json_object_get(json_array_get(messages, 0), "content"));
	json_decref(body);
	return prompt;
}

void agreement_suite(struct town *town)
{
	uint8_t seed[LEAF_SEED_SIZE] = {0}, salt[LEAF_SALT_SIZE], data[LEAF_DATA_SIZE];
	uint8_t digest[SHA256_SIZE];
	struct leaf_salter salter;
	struct leaf_tree *tree = leaf_tree_new();
	json_t *items = json_array();
	leaf_salter_init(&salter, seed);
	for (size_t i = 0; i < QUESTIONS; i++) {
		json_t *item =
			json_pack("{s:o, s:{s:s, s:{s:s}}}", "prompt", prompt_of(&questions[i]),
				  "grading", "id", "x", "scorer", "kind", "exact");
		struct buf words = BUF_INIT(65536), grading = BUF_INIT(65536);
		words_canonical(json_object_get(item, "prompt"), &words, NULL);
		json_canonical(json_object_get(item, "grading"), &grading, NULL);
		leaf_salt(&salter, i, salt);
		leaf_data(salt, buf_bytes(&words), buf_bytes(&grading), data);
		leaf_tree_add(tree, data);
		buf_release(&words);
		buf_release(&grading);
		json_array_append_new(items, item);
	}
	leaf_tree_root(tree, digest);
	hex_encode(digest, sizeof(digest), town->root);
	leaf_tree_free(tree);
	json_t *body =
		json_pack("{s:s, s:s, s:s, s:s, s:{s:i}, s:i, s:o}", "name", "questions", "version",
			  "1", "purpose", "capability_benchmark", "root", town->root, "settings",
			  "max_output", 1600, "samples", 64, "items", items);
	town->suite = json_dumps(body, JSON_COMPACT);
	json_decref(body);
}

/* ---- revocation ---- */

void agreement_revoked(struct town *town)
{
	town->keys_revoked++;
	town->keys_ended++;
	memcpy(town->revoked_key, town->key, sizeof(town->key));
	town->key[0] = '\0';
	for (unsigned i = 0; gateway_worker(town->gateway, i); i++) {
		const struct gate_request *request = gateway_worker(town->gateway, i)->first;
		for (; request && town->revoked_count < REVOKED_MAX; request = request->next) {
			struct revoked *revoked = &town->revoked[town->revoked_count++];
			memcpy(revoked->id, request->admit_id, sizeof(revoked->id));
			revoked->text_bytes = request->observer.outcome.text_bytes;
		}
	}
}

void agreement_check_cut(struct ask *ask)
{
	const struct town *town = ask->town;
	for (size_t i = 0; i < town->revoked_count; i++)
		if (strcmp(ask->record, town->revoked[i].id) == 0 &&
		    ask->text.size > town->revoked[i].text_bytes)
			town_violates(ask->town,
				      "part of an answer was given out after its key was revoked");
}

/* ---- bills ---- */

struct admission {
	int64_t leaf; /* -1: the record is no admission */
	unsigned outcomes;
};

/* What is finished is billed as the stand-in counted it; what broke off is that or an estimate that
 * says so and does not pass what was asked for; what failed costs nothing. */
static void check_bill(struct town *town, const json_t *settle, int64_t leaf)
{
	const json_t *usage = json_object_get(settle, "usage");
	const char *ending = json_string_value(json_object_get(settle, "ending"));
	int64_t input = json_integer_value(json_object_get(usage, "input"));
	int64_t output = json_integer_value(json_object_get(usage, "output"));
	const struct dialect_usage *said = &town->usages[leaf];
	bool estimated = json_is_true(json_object_get(usage, "estimated"));
	int64_t status = json_integer_value(json_object_get(settle, "status"));
	for (int i = RECORD_ENDING_FINISH; ending && i < ENDINGS; i++)
		town->endings[i] += strcmp(ending, record_ending_text((enum record_ending)i)) == 0;
	town->estimated += estimated;
	bool finished = ending && strcmp(ending, "finish") == 0 && status == 200;
	if (!ending)
		town_violates(town, "a settle record does not say how the answer ended");
	else if (status > 200 && (input || output))
		town_violates(town, "an error was billed");
	else if (finished && estimated)
		town_violates(town, "a finished answer is billed by an estimate");
	else if (status == 200 && !estimated && (input != said->input || output != said->output))
		town_violates(town, "what was billed is not what the stand-in said");
	else if (output > said->output)
		town_violates(town, "an estimate is more than was asked for");
}

static void check_entry(struct town *town, uint64_t index, struct bytes text,
			struct admission *admissions)
{
	json_t *record = json_loadb(text.data, text.size, 0, NULL);
	const char *kind = json_string_value(json_object_get(record, "kind"));
	const json_t *leaf = json_object_get(record, "leaf");
	uint64_t admit;
	if (!kind) {
		town_violates(town, "a record cannot be read");
	} else if (strcmp(kind, "admit") == 0) {
		admissions[index].leaf = json_integer_value(leaf);
		if (!leaf || admissions[index].leaf >= QUESTIONS)
			town_violates(town, "what was admitted is no leaf");
	} else if (strcmp(kind, "settle") == 0 || strcmp(kind, "unknown") == 0) {
		if (!record_admit_index(text, &admit) || admit >= index ||
		    admissions[admit].leaf < 0)
			town_violates(town, "an outcome of what was not admitted");
		else if (++admissions[admit].outcomes > 1)
			town_violates(town, "an admit record has two outcomes");
		else if (strcmp(kind, "settle") == 0)
			check_bill(town, record, admissions[admit].leaf);
	}
	json_decref(record);
}

void agreement_check_bills(struct town *town)
{
	struct log *log = gateway_log(town->gateway, CONTROL_EVALUATION);
	struct log_stats stats;
	struct buf text = BUF_INIT(RECORD_SIZE_MAX);
	log_get_stats(log, &stats);
	struct admission *admissions = calloc(stats.records + 1, sizeof(*admissions));
	for (uint64_t i = 0; i < stats.records && !town->violation; i++) {
		admissions[i].leaf = -1;
		buf_clear(&text);
		if (log_read_entry(log, i, &text, NULL) == ERR_OK)
			check_entry(town, i, buf_bytes(&text), admissions);
		else
			town_violates(town, "a record of the log cannot be read");
	}
	for (uint64_t i = 0; i < stats.records && !town->violation; i++)
		if (admissions[i].leaf >= 0 && admissions[i].outcomes != 1)
			town_violates(town, "an admit record has no outcome");
	free(admissions);
	buf_release(&text);
}

/* ---- use ---- */

static const char *overrun; /* what a settled request has used beyond what it may */

struct used {
	int64_t requests, tokens;
};

static enum err_code add_use(void *argument, uint64_t index, struct bytes text, struct err *err)
{
	(void)index;
	(void)err;
	struct used *used = argument;
	json_t *settle = json_loadb(text.data, text.size, 0, NULL);
	const json_t *usage = json_object_get(settle, "usage");
	if (usage) {
		used->requests++;
		used->tokens += json_integer_value(json_object_get(usage, "input")) +
				json_integer_value(json_object_get(usage, "cache_write")) +
				json_integer_value(json_object_get(usage, "output"));
	}
	json_decref(settle);
	return ERR_OK;
}

/* Of the records before `end`. False: the disk would not say. */
static bool use_of_log(struct town *town, uint64_t end, struct used *used)
{
	struct log *log = gateway_log(town->gateway, CONTROL_EVALUATION);
	struct log_stats stats;
	*used = (struct used){0};
	log_get_stats(log, &stats);
	end = end < stats.records ? end : stats.records;
	return log_read_range(log, 0, end, add_use, used, NULL) == ERR_OK;
}

/* ---- what is kept ---- */

struct kept_use {
	uint64_t place;
	struct used used;
};

static enum err_code read_kept(void *argument, const struct store_document *row, struct err *err)
{
	struct kept_use *kept = argument;
	(void)err;
	json_t *tree = json_loadb(row->document.data, row->document.size, 0, NULL);
	const json_t *week = json_array_get(json_object_get(tree, "sums"), LIMITS_WEEK);
	if (strcmp(row->id, "places") == 0)
		kept->place = (uint64_t)json_integer_value(
			json_array_get(json_object_get(tree, "places"), CONTROL_EVALUATION));
	if (strncmp(row->id, "model/", 6) == 0) {
		kept->used.requests += json_integer_value(json_array_get(week, LIMITS_REQUESTS));
		kept->used.tokens += json_integer_value(json_array_get(week, LIMITS_INPUT)) +
				     json_integer_value(json_array_get(week, LIMITS_CACHE_WRITE)) +
				     json_integer_value(json_array_get(week, LIMITS_OUTPUT));
	}
	json_decref(tree);
	return ERR_OK;
}

void agreement_keep_use(void *argument)
{
	struct town *town = argument;
	struct kept_use kept = {0};
	struct used said;
	if (sim_is_down(town->gateway_node) || !town->gateway)
		return;
	struct control *control = gateway_control(town->gateway);
	if (control_use_turn(control, NULL) != ERR_OK ||
	    store_each(control->store, STORE_USE, read_kept, &kept, NULL) != ERR_OK ||
	    !use_of_log(town, kept.place, &said))
		return;
	town->kept_uses += kept.used.requests > 0;
	if (kept.used.requests != said.requests || kept.used.tokens != said.tokens)
		town_violates(town, "the use that is kept is not that of the log up to its place");
}

/* ---- what is counted ---- */

/* Of the models, which the gateway knows from its configuration, for the simulated disk has no
 * database. All of a run lies within one week. */
void agreement_check_use(struct town *town)
{
	static const char *const models[] = {"m-o", "m-a"};
	struct used said, used = {0};
	struct control *control = gateway_control(town->gateway);
	struct limits_clock clock = {env_clock_ns(town->gateway_node),
				     env_wall_ms(town->gateway_node)};
	struct world *world = control_world(control);
	int64_t budgets = 0;
	for (size_t i = 0; i < 2; i++) {
		const struct world_model *model = world_find_model(world, bytes_from(models[i]));
		struct limits_scope scope = {model->cells, &model->limits, "model"};
		struct limits_amounts sums[LIMITS_PERIODS];
		control_use_sums(control, model->cells, sums);
		used.requests += sums[LIMITS_WEEK].of[LIMITS_REQUESTS];
		used.tokens += limits_use_tokens(&sums[LIMITS_WEEK]);
		budgets += limits_peek(&scope, &clock, LIMIT_TOKENS_PER_WEEK).used;
	}
	if (overrun)
		town_violates(town, overrun);
	if (!use_of_log(town, UINT64_MAX, &said))
		town_violates(town, "a record of the log cannot be read");
	else if (used.requests != said.requests || used.tokens != said.tokens)
		town_violates(town, "the use that is shown is not what the log says");
	else if (budgets != said.tokens)
		town_violates(town, "budgets do not count what the log says");
	world_drop(world);
}

/* ---- mistakes ---- */

/* The linker gives calls of the gateway's own functions to these (--wrap). */
void __real_gate_request_cut(struct gate_request *request, enum record_ending ending,
			     const char *reason);
void __wrap_gate_request_cut(struct gate_request *request, enum record_ending ending,
			     const char *reason);
bool __real_gate_request_tell_revoked(struct gate_request *request, struct bytes event);
bool __wrap_gate_request_tell_revoked(struct gate_request *request, struct bytes event);
void __real_gate_submit_settle(struct gate_request *request, const struct record_usage *usage);
void __wrap_gate_submit_settle(struct gate_request *request, const struct record_usage *usage);

void __real_gate_limits_count(const struct gate_request *request, const struct record_usage *usage,
			      uint64_t index);
void __wrap_gate_limits_count(const struct gate_request *request, const struct record_usage *usage,
			      uint64_t index);
void __real_gate_limits_settle(struct gate_request *request, const struct record_usage *usage);
void __wrap_gate_limits_settle(struct gate_request *request, const struct record_usage *usage);

static enum mistake planted;

void agreement_plant(enum mistake mistake)
{
	planted = mistake;
	overrun = NULL;
}

void __wrap_gate_request_cut(struct gate_request *request, enum record_ending ending,
			     const char *reason)
{
	if (planted != IGNORES_A_REVOCATION || ending != RECORD_ENDING_REVOKED)
		__real_gate_request_cut(request, ending, reason);
}

bool __wrap_gate_request_tell_revoked(struct gate_request *request, struct bytes event)
{
	return planted != IGNORES_A_REVOCATION && __real_gate_request_tell_revoked(request, event);
}

void __wrap_gate_limits_count(const struct gate_request *request, const struct record_usage *usage,
			      uint64_t index)
{
	if (planted != FORGETS_USE || index % 20 != 7)
		__real_gate_limits_count(request, usage, index);
}

/* A stream never passes what it has reserved by more than a slice. */
void __wrap_gate_limits_settle(struct gate_request *request, const struct record_usage *usage)
{
	if (request->reservation.open && request->observing &&
	    (int64_t)usage->output >
		    limits_reserved_output(&request->reservation) + LIMITS_OUTPUT_SLICE)
		overrun = "a stream has passed its reservation by more than a slice";
	__real_gate_limits_settle(request, usage);
}

void __wrap_gate_submit_settle(struct gate_request *request, const struct record_usage *usage)
{
	struct record_usage more = *usage;
	more.output += planted == BILLS_TOO_MUCH && usage->output > 0;
	request->settle_text->usage = more; /* the log borrows it */
	__real_gate_submit_settle(request, &request->settle_text->usage);
}
