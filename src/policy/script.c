#include "policy/script.h"

#include <string.h>

static enum err_code out_of_memory(struct err *err)
{
	return ERR_SET(err, ERR_NO_MEMORY, "out of memory taking words apart");
}

/* ---- skeletons ----
 *
 * A chain over the digests of what stands around the messages and of each message, so that the same
 * words with other turns taken for answers cost no second look at the texts. */

#define CHAIN_LABEL "parley-skeleton"

static const char *const marker = "{\"parts\":[{\"type\":\"answer\"}],\"role\":\"assistant\"}";
static const char *const frame_marker = "{\"parts\":[{\"type\":\"template\"}],\"role\":\"user\"}";

static enum err_code chain_start(struct sha256 *chain, const json_t *words, struct err *err)
{
	uint8_t digest[SHA256_SIZE];
	json_t *around = json_pack("{s:O*, s:O*, s:O*}", "system", json_object_get(words, "system"),
				   "tools", json_object_get(words, "tools"), "format",
				   json_object_get(words, "format"));
	if (!around)
		return out_of_memory(err);
	enum err_code code = json_canonical_digest(around, digest, err);
	json_decref(around);
	sha256_start(chain);
	sha256_add(chain, CHAIN_LABEL, sizeof(CHAIN_LABEL));
	sha256_add(chain, digest, sizeof(digest));
	return code;
}

static void chain_add_text(struct sha256 *chain, const char *message)
{
	uint8_t digest[SHA256_SIZE];
	sha256_of(message, strlen(message), digest);
	sha256_add(chain, digest, sizeof(digest));
}

static enum err_code chain_add(struct sha256 *chain, const json_t *message, struct err *err)
{
	uint8_t digest[SHA256_SIZE];
	ERR_TRY(json_canonical_digest(message, digest, err));
	sha256_add(chain, digest, sizeof(digest));
	return ERR_OK;
}

static void chain_value(const struct sha256 *chain, uint8_t digest[static SHA256_SIZE])
{
	struct sha256 copy = *chain;
	sha256_finish(&copy, digest);
}

/* ---- items ---- */

static const json_t *messages_of(const json_t *words)
{
	return json_object_get(words, "messages");
}

/* The part of that type, which must be all that its message has; NULL where there is none. */
static enum err_code only_part(const json_t *message, const char *type, const json_t **out,
			       struct err *err)
{
	const json_t *parts = json_object_get(message, "parts");
	*out = NULL;
	for (size_t i = 0; i < json_array_size(parts); i++) {
		const json_t *part = json_array_get(parts, i);
		if (strcmp(json_text(part, "type"), type) != 0)
			continue;
		if (json_array_size(parts) != 1)
			return ERR_SET(err, ERR_INVALID,
				       "a part of type %s is all that its message has", type);
		*out = part;
	}
	return ERR_OK;
}

/* The words up to a message, as they stand. */
static enum err_code prefix_digest(const json_t *words, size_t count,
				   uint8_t digest[static SHA256_SIZE], struct err *err)
{
	json_t *part = json_copy((json_t *)words), *messages = json_array();
	enum err_code code = part && messages ? ERR_OK : out_of_memory(err);
	for (size_t i = 0; code == ERR_OK && i < count; i++)
		if (json_array_append(messages, json_array_get(messages_of(words), i)) != 0)
			code = out_of_memory(err);
	if (code == ERR_OK && json_object_set(part, "messages", messages) != 0)
		code = out_of_memory(err);
	if (code == ERR_OK)
		code = json_canonical_digest(part, digest, err);
	json_decref(messages);
	json_decref(part);
	return code;
}

/* Where an answer is asked for: before a turn that is marked, and at the end. */
static enum err_code add_step(struct script_item *out, const json_t *words, size_t index,
			      const struct sha256 *chain, struct err *err)
{
	const json_t *before = index ? json_array_get(messages_of(words), index - 1) : NULL;
	if (!before || strcmp(json_text(before, "role"), "user") != 0)
		return ERR_SET(err, ERR_INVALID,
			       "message %zu: an answer follows a message of the user", index + 1);
	if (out->steps == SCRIPT_STEPS_MAX)
		return ERR_SET(err, ERR_INVALID, "a conversation has at most %u answers",
			       SCRIPT_STEPS_MAX);
	uint8_t *digest = out->digests[out->steps++];
	if (out->steps == 1)
		return prefix_digest(words, index, digest, err);
	chain_value(chain, digest);
	return ERR_OK;
}

static enum err_code read_conversation(const json_t *words, struct script_item *out,
				       struct err *err)
{
	struct sha256 chain;
	size_t count = json_array_size(messages_of(words));
	out->steps = 0;
	ERR_TRY(chain_start(&chain, words, err));
	for (size_t i = 0; i < count; i++) {
		const json_t *message = json_array_get(messages_of(words), i), *answer;
		bool assistant = strcmp(json_text(message, "role"), "assistant") == 0;
		ERR_TRY(only_part(message, "answer", &answer, err));
		if (answer && (!assistant || json_object_size(answer) != 1))
			return ERR_SET(err, ERR_INVALID,
				       "message %zu: {\"type\":\"answer\"} stands for a turn of "
				       "the assistant",
				       i + 1);
		if (assistant && !answer && out->steps)
			return ERR_SET(err, ERR_INVALID,
				       "message %zu: after the first answer, every turn of the "
				       "assistant is one",
				       i + 1);
		if (answer)
			ERR_TRY(add_step(out, words, i, &chain, err));
		ERR_TRY(chain_add(&chain, message, err));
	}
	return add_step(out, words, count, &chain, err);
}

static enum err_code add_slot(const json_t *piece, struct script_item *out, struct err *err)
{
	const json_t *leaf = json_object_get(piece, "leaf");
	if (!json_is_integer(leaf) || json_object_size(piece) != 1 ||
	    json_integer_value(leaf) < 0 || json_integer_value(leaf) > INT32_MAX)
		return ERR_SET(err, ERR_INVALID, "a slot of a template is {\"leaf\":N}");
	if (out->slot_count == SCRIPT_SLOTS_MAX)
		return ERR_SET(err, ERR_INVALID, "a template has at most %u slots",
			       SCRIPT_SLOTS_MAX);
	out->slot_leaf[out->slot_count++] = (uint32_t)json_integer_value(leaf);
	return ERR_OK;
}

/* Texts and slots in turn; the first is a text, by which a request is found. */
static enum err_code read_template(const json_t *words, const json_t *template,
				   struct script_item *out, struct err *err)
{
	const json_t *pieces = json_object_get(template, "pieces");
	bool after_text = false;
	if (json_object_size(template) != 2 || json_array_size(pieces) < 2)
		return ERR_SET(err, ERR_INVALID,
			       "a template is {\"type\":\"template\",\"pieces\":"
			       "[\"text\",{\"leaf\":N},…]}");
	for (size_t i = 0; i < json_array_size(pieces); i++) {
		const json_t *piece = json_array_get(pieces, i);
		bool text = json_is_string(piece) && json_string_length(piece) > 0;
		if (json_is_object(piece) && i > 0) {
			ERR_TRY(add_slot(piece, out, err));
		} else if (text && !after_text) {
			out->literals[out->slot_count] =
				bytes_of(json_string_value(piece), json_string_length(piece));
		} else {
			return ERR_SET(err, ERR_INVALID,
				       "a template begins with a text, and no two texts follow "
				       "each other");
		}
		after_text = text;
	}
	if (out->slot_count == 0)
		return ERR_SET(err, ERR_INVALID, "a template has a slot");
	for (unsigned i = 1; i < out->slot_count; i++)
		if (out->literals[i].size == 0)
			return ERR_SET(err, ERR_INVALID, "a text stands between two slots");
	struct sha256 chain;
	size_t last = json_array_size(messages_of(words)) - 1;
	ERR_TRY(chain_start(&chain, words, err));
	for (size_t i = 0; i < last; i++)
		ERR_TRY(chain_add(&chain, json_array_get(messages_of(words), i), err));
	chain_add_text(&chain, frame_marker);
	chain_value(&chain, out->frame);
	return ERR_OK;
}

static bool has_part(const json_t *message, const char *type)
{
	const json_t *parts = json_object_get(message, "parts");
	for (size_t i = 0; i < json_array_size(parts); i++)
		if (strcmp(json_text(json_array_get(parts, i), "type"), type) == 0)
			return true;
	return false;
}

enum script_kind script_kind_of(const json_t *words)
{
	size_t count = json_array_size(messages_of(words));
	for (size_t i = 0; i < count; i++) {
		const json_t *message = json_array_get(messages_of(words), i);
		if (has_part(message, "template"))
			return SCRIPT_JUDGE;
		if (has_part(message, "answer"))
			return SCRIPT_CONVERSATION;
	}
	return SCRIPT_EXACT;
}

enum err_code script_item_read(const json_t *words, struct script_item *out, struct err *err)
{
	size_t count = json_array_size(messages_of(words));
	const json_t *template = NULL;
	bool answers = false;
	memset(out, 0, sizeof(*out));
	out->steps = 1;
	for (size_t i = 0; i < count; i++) {
		const json_t *message = json_array_get(messages_of(words), i), *answer;
		ERR_TRY(only_part(message, "answer", &answer, err));
		ERR_TRY(only_part(message, "template", &template, err));
		answers |= answer != NULL;
		if (template && (i + 1 < count || strcmp(json_text(message, "role"), "user") != 0))
			return ERR_SET(err, ERR_INVALID,
				       "a template is the last message, and the user's");
	}
	if ((answers || template) && count > SCRIPT_MESSAGES_MAX)
		return ERR_SET(err, ERR_INVALID, "a conversation has at most %u messages",
			       SCRIPT_MESSAGES_MAX);
	if (answers && template)
		return ERR_SET(err, ERR_INVALID,
			       "an item is a conversation or a judge's template, not both");
	if (answers) {
		out->kind = SCRIPT_CONVERSATION;
		return read_conversation(words, out, err);
	}
	if (template) {
		out->kind = SCRIPT_JUDGE;
		ERR_TRY(read_template(words, template, out, err));
	}
	return json_canonical_digest(words, out->digests[0], err);
}

/* ---- what was said ---- */

static void key_digest(const struct hmac_key *secret, const uint8_t hash[static SHA256_SIZE],
		       uint8_t out[static SCRIPT_DIGEST_SIZE])
{
	uint8_t whole[SHA256_SIZE];
	hmac_of(secret, hash, SHA256_SIZE, whole);
	memcpy(out, whole, SCRIPT_DIGEST_SIZE);
}

void script_said_key(const struct hmac_key *secret, const uint8_t hash[static SHA256_SIZE],
		     size_t size, struct script_said *out)
{
	out->size = (uint32_t)size;
	key_digest(secret, hash, out->digest);
}

bool script_said_of(const struct hmac_key *secret, struct bytes text, const json_t *tool_calls,
		    struct script_said *out)
{
	struct buf calls = BUF_INIT(SCRIPT_WORDS_MAX);
	struct sha256 hash;
	uint8_t digest[SHA256_SIZE];
	/* No text of words has a NUL. */
	if (json_array_size(tool_calls)) {
		buf_append(&calls, "", 1);
		json_canonical(tool_calls, &calls, NULL);
	}
	size_t size = text.size + calls.size;
	bool good = !calls.failed && size <= SCRIPT_WORDS_MAX;
	sha256_start(&hash);
	sha256_add_bytes(&hash, text);
	sha256_add_bytes(&hash, buf_bytes(&calls));
	sha256_finish(&hash, digest);
	buf_release(&calls);
	if (good)
		script_said_key(secret, digest, size, out);
	return good;
}

/* ---- requests ---- */

/* What a turn of the assistant says: its texts joined, its tool calls in order. */
static bool read_turn(const struct hmac_key *secret, const json_t *message, struct script_said *out)
{
	const json_t *parts = json_object_get(message, "parts");
	struct buf text = BUF_INIT(SCRIPT_WORDS_MAX);
	json_t *calls = json_array();
	bool good = calls != NULL;
	for (size_t i = 0; good && i < json_array_size(parts); i++) {
		const json_t *part = json_array_get(parts, i);
		const json_t *said = json_object_get(part, "text");
		if (json_is_string(said))
			buf_append(&text, json_string_value(said), json_string_length(said));
		else
			good = strcmp(json_text(part, "type"), "tool_call") == 0 &&
			       json_array_append_new(
				       calls, json_pack("{s:O, s:O}", "arguments",
							json_object_get(part, "arguments"), "name",
							json_object_get(part, "name"))) == 0;
	}
	good = good && !text.failed && script_said_of(secret, buf_bytes(&text), calls, out);
	buf_release(&text);
	json_decref(calls);
	return good;
}

/* The places of the last turns of the assistant, in their order. */
static unsigned find_turns(const json_t *messages, size_t places[static SCRIPT_STEPS_MAX])
{
	size_t count = json_array_size(messages), from = count;
	unsigned found = 0;
	while (from > 0 && found < SCRIPT_STEPS_MAX)
		found += strcmp(json_text(json_array_get(messages, --from), "role"), "assistant") ==
			 0;
	found = 0;
	for (size_t i = from; i < count; i++)
		if (strcmp(json_text(json_array_get(messages, i), "role"), "assistant") == 0)
			places[found++] = i;
	return found;
}

/* The message's digests one after another; *out (to free) has one more, of what stands around. */
static bool message_digests(const json_t *words, uint8_t (**out)[SHA256_SIZE])
{
	const json_t *messages = messages_of(words);
	size_t count = json_array_size(messages);
	*out = calloc(count + 1, sizeof(**out));
	bool good = *out != NULL;
	for (size_t i = 0; good && i < count; i++)
		good = json_canonical_digest(json_array_get(messages, i), (*out)[i], NULL) ==
		       ERR_OK;
	return good;
}

/* The chain over the first `count` messages, turns from place number `first` on being answers. */
static void skeleton(const struct hmac_key *secret, struct sha256 chain, size_t count,
		     uint8_t (*digests)[SHA256_SIZE], const size_t *turns, unsigned turn_count,
		     unsigned first, uint8_t out[static SCRIPT_DIGEST_SIZE])
{
	uint8_t digest[SHA256_SIZE];
	unsigned turn = first;
	for (size_t i = 0; i < count; i++) {
		if (turn < turn_count && turns[turn] == i) {
			chain_add_text(&chain, marker);
			turn++;
		} else {
			sha256_add(&chain, digests[i], SHA256_SIZE);
		}
	}
	sha256_finish(&chain, digest);
	key_digest(secret, digest, out);
}

static bool read_turns(const struct hmac_key *secret, const json_t *words,
		       const struct sha256 *chain, struct script_request *out)
{
	const json_t *messages = messages_of(words);
	size_t places[SCRIPT_STEPS_MAX], count = json_array_size(messages);
	uint8_t prefix[SHA256_SIZE], (*digests)[SHA256_SIZE] = NULL;
	unsigned turns = find_turns(messages, places);
	bool good = turns == 0 || message_digests(words, &digests);
	for (unsigned i = 0; good && i < turns; i++)
		good = read_turn(secret, json_array_get(messages, places[i]), &out->turns[i]);
	for (unsigned n = 1; good && n <= turns; n++) {
		size_t last = places[turns - 1];
		skeleton(secret, *chain, count, digests, places, turns, turns - n,
			 out->skeletons[n]);
		if (n < turns)
			skeleton(secret, *chain, last, digests, places, turns - 1, turns - 1 - n,
				 out->before[n]);
	}
	if (good && turns) {
		good = prefix_digest(words, places[turns - 1], prefix, NULL) == ERR_OK;
		key_digest(secret, prefix, out->before[0]);
	}
	free(digests);
	out->turn_count = good ? turns : 0;
	return good;
}

/* The frame of what may be a judge's prompt. */
static bool read_text(const struct hmac_key *secret, const json_t *words, struct sha256 chain,
		      struct script_request *out)
{
	const json_t *messages = messages_of(words);
	size_t count = json_array_size(messages);
	const json_t *last = json_array_get(messages, count - 1);
	const json_t *parts = json_object_get(last, "parts");
	const json_t *text = json_object_get(json_array_get(parts, 0), "text");
	uint8_t digest[SHA256_SIZE];
	if (json_array_size(parts) != 1 || !json_is_string(text) ||
	    strcmp(json_text(last, "role"), "user") != 0)
		return true;
	for (size_t i = 0; i + 1 < count; i++)
		if (chain_add(&chain, json_array_get(messages, i), NULL) != ERR_OK)
			return false;
	chain_add_text(&chain, frame_marker);
	sha256_finish(&chain, digest);
	key_digest(secret, digest, out->frame);
	out->text = bytes_of(json_string_value(text), json_string_length(text));
	return true;
}

bool script_request_read(const struct hmac_key *secret, const json_t *words, size_t size,
			 struct script_request *out)
{
	struct sha256 chain;
	size_t count = json_array_size(messages_of(words));
	memset(out, 0, sizeof(*out));
	out->words_size = size;
	if (size > SCRIPT_WORDS_MAX || count == 0 || count > SCRIPT_MESSAGES_MAX ||
	    chain_start(&chain, words, NULL) != ERR_OK)
		return false;
	return read_turns(secret, words, &chain, out) && read_text(secret, words, chain, out) &&
	       (out->turn_count || out->text.data);
}
