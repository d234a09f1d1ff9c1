/* Words that hold answers (DESIGN.md section 5, kinds `scripted` and `judge`;
 * docs/formats/leaves.md):
 *
 * - a conversation marks assistant turns as the answer that was served: a message of the assistant
 *   with the one part {"type":"answer"}. Each of them, and the end, is a step that is asked;
 * - a judge's prompt ends with a user's message of the one part {"type":"template","pieces":[…]}:
 *   texts, and slots {"leaf":N} for an answer to that leaf.
 *
 * What is compared are digests: of the words with turns taken for answers ("skeleton"), of each
 * text of a template, and of what was said. Pure. */
#ifndef POLICY_SCRIPT_H
#define POLICY_SCRIPT_H

#include "base/err.h"
#include "base/json.h"
#include "base/sha256.h"

#define SCRIPT_DIGEST_SIZE 16
#define SCRIPT_STEPS_MAX 32u /* answers of one conversation */
#define SCRIPT_SLOTS_MAX 4u  /* of a template */
/* Longer words are compared as they stand only, and hold no answers. */
#define SCRIPT_WORDS_MAX ((size_t)1 << 20)
#define SCRIPT_MESSAGES_MAX 256u

enum script_kind { SCRIPT_EXACT, SCRIPT_CONVERSATION, SCRIPT_JUDGE };

/* Words of an item, taken apart. Texts are borrowed from the tree. */
struct script_item {
	enum script_kind kind;
	unsigned steps; /* that are asked: 1 but for conversations */
	uint8_t digests[SCRIPT_STEPS_MAX][SHA256_SIZE]; /* of each step's words */
	unsigned slot_count;
	uint32_t slot_leaf[SCRIPT_SLOTS_MAX];
	struct bytes literals[SCRIPT_SLOTS_MAX + 1]; /* before, between and after the slots */
	uint8_t frame[SHA256_SIZE];                  /* of what stands around the template */
};

/* What kind of item the words make, at a glance: script_item_read may find it wrong. */
enum script_kind script_kind_of(const json_t *words);

/* `words` in normal form. ERR_INVALID says what of markers and templates is wrong. */
enum err_code script_item_read(const json_t *words, struct script_item *out, struct err *err);

/* What somebody said, under the gateway's key. */
struct script_said {
	uint32_t size; /* bytes: of the text, and of the tool calls' RFC 8785 text where there are
			  any */
	uint8_t digest[SCRIPT_DIGEST_SIZE];
};

/* `tool_calls`: array of {"arguments", "name"}; NULL or empty: none. False when memory is out or
 * there is more than SCRIPT_WORDS_MAX. */
bool script_said_of(const struct hmac_key *secret, struct bytes text, const json_t *tool_calls,
		    struct script_said *out);
/* Of a text whose SHA-256 is known already. */
void script_said_key(const struct hmac_key *secret, const uint8_t hash[static SHA256_SIZE],
		     size_t size, struct script_said *out);

/* Words of a request, taken apart. */
struct script_request {
	size_t words_size;
	/* The last turns of the assistant, in their order. */
	unsigned turn_count;
	struct script_said turns[SCRIPT_STEPS_MAX];
	/* [n]: of the words with the last n turns taken for answers, 1 <= n <= turn_count. */
	uint8_t skeletons[SCRIPT_STEPS_MAX + 1][SCRIPT_DIGEST_SIZE];
	/* [n]: of the words before the last turn, with n turns before it taken for answers. */
	uint8_t before[SCRIPT_STEPS_MAX][SCRIPT_DIGEST_SIZE];
	/* The one text of the last message, where that is all of it, and what stands around. */
	struct bytes text; /* NULL: none; borrowed from the tree */
	uint8_t frame[SCRIPT_DIGEST_SIZE];
};

/* `words` as a dialect makes them, `size` bytes of text. False where there is nothing in them that
 * could be an answer, there is more than SCRIPT_WORDS_MAX or SCRIPT_MESSAGES_MAX, or memory is out.
 */
bool script_request_read(const struct hmac_key *secret, const json_t *words, size_t size,
			 struct script_request *out);

#endif
