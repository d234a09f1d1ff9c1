/* withheld.json and the lines of a file of salts. */
#include "fuzz.h"

#include "base/json.h"
#include "grade/published.h"

static void open_line(const json_t *tree)
{
	struct opening opening;
	struct err err = ERR_INIT;
	uint8_t once[SHA256_SIZE], again[SHA256_SIZE];
	if (opening_read(tree, "line", &opening, &err) != ERR_OK) {
		FUZZ_CHECK(err.message[0]);
		return;
	}
	commitment_make(opening.salt, opening.label, opening.value, once);
	opening.salt[0] ^= 1;
	commitment_make(opening.salt, opening.label, opening.value, again);
	FUZZ_CHECK(memcmp(once, again, sizeof(once)) != 0);
}

/* What was taken out of a line and what is left make the line again. */
static void split_line(const json_t *tree)
{
	json_t *left = json_deep_copy(tree), *whole = json_deep_copy(tree);
	json_t *taken = left && json_is_object(left) ? published_attempt(left) : NULL;
	if (taken) {
		json_object_del(left, "outcome");
		json_object_del(whole, "outcome");
		FUZZ_CHECK(!json_object_get(left, "words") && !json_object_get(left, "answer"));
		json_object_update(left, taken);
		FUZZ_CHECK(json_equal(left, whole));
	}
	json_decref(taken);
	json_decref(left);
	json_decref(whole);
}

/* Nothing is left to be withheld of what is published. */
static void strip(const json_t *tree, json_t *(*published)(const json_t *, bool *))
{
	bool first, second;
	json_t *once = published(tree, &first);
	json_t *twice = once ? published(once, &second) : NULL;
	if (twice)
		FUZZ_CHECK(json_equal(once, twice));
	json_decref(once);
	json_decref(twice);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes text = fuzz_copy(fuzz_input(data, size));
	json_t *tree = NULL;
	struct err err = ERR_INIT;
	if (json_parse(text, "input", &tree, &err) == ERR_OK) {
		if (published_check(tree, &err) != ERR_OK)
			FUZZ_CHECK(err.message[0]);
		open_line(tree);
		split_line(tree);
		if (json_is_object(tree)) {
			strip(tree, published_plan);
			strip(tree, published_summary);
		}
	}
	json_decref(tree);
	free((char *)text.data);
	return 0;
}
