/* Items whose words hold answers, as a registration brings them: read, stored, and met again by the
 * requests that go on from answers. */
#include "fuzz.h"

#include "base/json.h"
#include "policy/binding.h"
#include "suite/conversation.h"
#include "suite/words.h"

static struct hmac_key secret;

static void check_shape(const struct script_item *item)
{
	struct shape_builder builder;
	struct buf stored = BUF_INIT(65536);
	struct shape *shape;
	uint32_t judge, leaf;
	unsigned step;
	shape_builder_init(&builder);
	FUZZ_CHECK(shape_builder_add(&builder, &secret, item));
	shape_builder_encode(&builder, &stored);
	bool wrong = shape_builder_wrong_slot(&builder, &judge, &leaf);
	FUZZ_CHECK(wrong == (item->kind == SCRIPT_JUDGE)); /* alone, it judges nothing that is there */
	shape_builder_release(&builder);
	enum err_code code = shape_decode(buf_bytes(&stored), 1, &shape, NULL);
	FUZZ_CHECK(code == (wrong ? ERR_CORRUPT : ERR_OK));
	if (shape) {
		FUZZ_CHECK(shape->unit_count == item->steps);
		FUZZ_CHECK(shape_leaf(shape, item->steps - 1, &step) == 0);
		FUZZ_CHECK(step == item->steps - 1);
	}
	shape_free(shape);
	buf_release(&stored);
}

/* The words that are asked are taken for what they are. */
static void check_asked(const struct script_item *item, const json_t *asked, const json_t *answers)
{
	struct script_request request;
	struct script_said said;
	uint8_t keyed[SCRIPT_DIGEST_SIZE];
	size_t step = json_array_size(answers);
	if (!script_request_read(&secret, asked, 100, &request))
		return;
	if (item->kind == SCRIPT_JUDGE) {
		binding_digest(&secret, item->frame, keyed);
		FUZZ_CHECK(!memcmp(request.frame, keyed, sizeof(keyed)));
		return;
	}
	FUZZ_CHECK(request.turn_count >= step);
	if (step == 0)
		return;
	binding_digest(&secret, item->digests[step], keyed);
	FUZZ_CHECK(!memcmp(request.skeletons[step], keyed, sizeof(keyed)));
	const char *last = json_string_value(json_array_get(answers, step - 1));
	FUZZ_CHECK(script_said_of(&secret, bytes_from(last), NULL, &said));
	const struct script_said *turn = &request.turns[request.turn_count - 1];
	FUZZ_CHECK(turn->size == said.size && !memcmp(turn->digest, said.digest, sizeof(said.digest)));
}

static void check_item(const json_t *words, unsigned answered)
{
	struct script_item item;
	struct err err = ERR_INIT;
	json_t *answers = json_array(), *asked = NULL;
	if (script_item_read(words, &item, &err) != ERR_OK) {
		FUZZ_CHECK(err.message[0]);
		json_decref(answers);
		return;
	}
	FUZZ_CHECK(item.steps >= 1 && item.steps <= SCRIPT_STEPS_MAX);
	FUZZ_CHECK(item.kind == script_kind_of(words));
	check_shape(&item);
	unsigned count = item.kind == SCRIPT_JUDGE ? item.slot_count : answered % item.steps;
	for (unsigned i = 0; i < count; i++)
		json_array_append_new(answers, json_string(i % 2 ? "" : "an answer"));
	enum err_code code = ERR_OK;
	if (item.kind == SCRIPT_JUDGE)
		code = conversation_judged(words, answers, &asked, NULL);
	else if (item.kind == SCRIPT_CONVERSATION)
		code = conversation_step(words, answers, &asked, NULL);
	FUZZ_CHECK(code == ERR_OK);
	if (asked)
		check_asked(&item, asked, answers);
	json_decref(asked);
	json_decref(answers);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes input = fuzz_input(data, size);
	unsigned answered = fuzz_take(&input);
	json_t *prompt, *words;
	hmac_key_init(&secret, "a secret", 8);
	if (json_parse(input, "prompt", &prompt, NULL) != ERR_OK)
		return 0;
	if (words_normalise(prompt, &words, NULL) == ERR_OK) {
		check_item(words, answered);
		json_decref(words);
	}
	json_decref(prompt);
	return 0;
}
