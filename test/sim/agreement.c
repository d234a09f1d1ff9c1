/* What is agreed beyond a product grant: the suite of the questions, what a revocation cuts, and
 * what is billed. */
#include "town.h"

#include "base/encode.h"
#include "base/json.h"
#include "gate/request.h"
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

/* ---- mistakes ---- */

/* The linker gives calls of the gateway's own functions to these (--wrap). */
void __real_gate_request_cut(struct gate_request *request, enum record_ending ending,
			     const char *reason);
void __wrap_gate_request_cut(struct gate_request *request, enum record_ending ending,
			     const char *reason);
void __real_gate_submit_settle(struct gate_request *request, const struct record_usage *usage);
void __wrap_gate_submit_settle(struct gate_request *request, const struct record_usage *usage);

static enum mistake planted;

void agreement_plant(enum mistake mistake)
{
	planted = mistake;
}

void __wrap_gate_request_cut(struct gate_request *request, enum record_ending ending,
			     const char *reason)
{
	if (planted != IGNORES_A_REVOCATION || ending != RECORD_ENDING_REVOKED)
		__real_gate_request_cut(request, ending, reason);
}

void __wrap_gate_submit_settle(struct gate_request *request, const struct record_usage *usage)
{
	struct record_usage more = *usage;
	more.output += planted == BILLS_TOO_MUCH && usage->output > 0;
	request->usage = more; /* the log borrows it */
	__real_gate_submit_settle(request, &request->usage);
}
