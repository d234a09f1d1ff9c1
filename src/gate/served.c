#include "gate/served.h"

#include "base/encode.h"

#include <stdio.h>
#include <stdlib.h>

struct gate_served {
	struct dialect_answer answer;
	struct script_said said;
	bool known;
};

/* ---- requests ---- */

void gate_read_script(struct gate_request *request, struct bytes words)
{
	struct gate_front *front = request->front;
	const struct hmac_key *secret = world_binding_secret(request->world);
	struct script_request *script;
	json_t *tree;
	if (!policy_needs_script(request->front->verdict.grant) || words.size > SCRIPT_WORDS_MAX)
		return;
	script = arena_alloc(&front->arena, sizeof(*script));
	if (!script || json_parse(words, "words", &tree, NULL) != ERR_OK)
		return;
	if (script_request_read(secret, tree, words.size, script)) {
		char *text = arena_alloc(&front->arena, script->text.size + 1);
		if (text && script->text.size)
			memcpy(text, script->text.data, script->text.size);
		if (script->text.data)
			script->text.data = text;
		front->facts.script = script;
	}
	json_decref(tree);
}

/* ---- answers ---- */

bool gate_served_start(struct gate_request *request)
{
	if (request->sealed || request->use != ENDPOINT_USE_GENERATE || !request->sample ||
	    !binding_hold_answer(&request->sample->hold))
		return true;
	request->served = calloc(1, sizeof(*request->served));
	if (!request->served)
		return false;
	dialect_answer_init(&request->served->answer, SCRIPT_WORDS_MAX);
	return true;
}

struct buf *gate_served_text(struct gate_request *request)
{
	return request->served ? &request->served->answer.text : NULL;
}

json_t *gate_served_calls(struct gate_request *request)
{
	struct gate_served *served = request->served;
	if (served && !served->answer.tool_calls)
		served->answer.tool_calls = json_array();
	return served ? served->answer.tool_calls : NULL;
}

void gate_served_seen(struct gate_request *request)
{
	struct gate_served *served = request->served;
	const struct hmac_key *secret = world_binding_secret(request->world);
	if (!served)
		return;
	/* An answer that is no whole one is none that anything could go on from. */
	if (request->observing &&
	    dialect_answer_finish(&request->observer, &served->answer, NULL) != ERR_OK)
		return;
	served->known = request->ending == RECORD_ENDING_FINISH && request->status == 200 &&
			!served->answer.text.failed &&
			script_said_of(secret, buf_bytes(&served->answer.text),
				       served->answer.tool_calls, &served->said);
	dialect_answer_release(&served->answer);
}

void gate_served_keep(struct gate_request *request)
{
	if (!request->sample)
		return;
	struct served *place = binding_hold_answer(&request->sample->hold);
	if (request->served && request->served->known && place)
		served_keep(place, &request->served->said);
}

void gate_served_release(struct gate_request *request)
{
	if (!request->served)
		return;
	dialect_answer_release(&request->served->answer);
	free(request->served);
	request->served = NULL;
}

/* ---- the log ---- */

/* Names of models hold no character that JSON would write otherwise. */
static void append_judged(struct buf *out, const struct binding_run *run,
			  const struct binding_pick *pick)
{
	buf_append_cstr(out, ",\"judged\":[");
	for (unsigned i = 0; i < pick->judged_count; i++) {
		const struct binding_judged *judged = &pick->judged[i];
		unsigned step;
		uint32_t leaf = shape_leaf(run->suite->shape, judged->unit, &step);
		buf_printf(out, "%s{\"leaf\":%u,\"model\":\"%s\",\"sample\":%u}", i ? "," : "",
			   leaf, run->models[judged->slot], judged->sample - 1);
	}
	buf_append_char(out, ']');
}

struct bytes gate_served_admit_detail(const struct gate_request *request, char *out)
{
	const struct binding_hold *hold = request->sample ? &request->sample->hold : NULL;
	struct buf text = buf_over(out, GATE_DETAIL_MAX);
	if (!hold || !hold->run->suite->shape)
		return bytes_of("", 0);
	const struct binding_pick *pick = &hold->pick;
	buf_printf(&text, "{\"free\":%u", pick->free_bytes);
	if (pick->judged_count)
		append_judged(&text, hold->run, pick);
	buf_printf(&text, ",\"registered\":%u", pick->registered_bytes);
	if (pick->step)
		buf_printf(&text, ",\"step\":%u", pick->step);
	buf_append_char(&text, '}');
	return text.failed ? bytes_of("", 0) : buf_bytes(&text);
}

void gate_served_mask(const struct hmac_key *secret, const char *admit_id,
		      uint8_t digest[static SCRIPT_DIGEST_SIZE])
{
	char text[RECORD_ID_SIZE + 8];
	uint8_t mask[SHA256_SIZE];
	int size = snprintf(text, sizeof(text), "said %s", admit_id);
	hmac_of(secret, text, (size_t)size, mask);
	for (int i = 0; i < SCRIPT_DIGEST_SIZE; i++)
		digest[i] ^= mask[i];
}

struct bytes gate_served_settle_detail(const struct gate_request *request, char *out)
{
	const struct gate_served *served = request->served;
	char hex[2 * SCRIPT_DIGEST_SIZE + 1];
	uint8_t digest[SCRIPT_DIGEST_SIZE];
	if (!served || !served->known)
		return bytes_of("", 0);
	memcpy(digest, served->said.digest, sizeof(digest));
	gate_served_mask(world_binding_secret(request->world), request->admit_id, digest);
	hex_encode(digest, sizeof(digest), hex);
	int size = snprintf(out, GATE_DETAIL_MAX, "{\"said\":{\"digest\":\"%s\",\"size\":%u}}", hex,
			    served->said.size);
	return bytes_of(out, (size_t)size);
}
