/* JSON texts: the scanner against jansson. Their verdicts agree but for what is listed here, and
 * what both take they read alike: members, types, integers and strings. */
#include "fuzz.h"

#include "base/json.h"
#include "base/json_scan.h"

#include <jansson.h>

/* Stricter on purpose; jansson takes these or says something else first. */
static bool refused_by_policy(enum json_scan_refusal refusal)
{
	return refusal == JSON_SCAN_DEPTH ||          /* 64 levels; jansson: 2048 */
	       refusal == JSON_SCAN_KEY_CHARACTERS || /* names at the top are plain ASCII */
	       refusal == JSON_SCAN_KEY_DUPLICATE ||  /* equal but for case */
	       refusal == JSON_SCAN_KEY_LENGTH || refusal == JSON_SCAN_TOO_MANY_MEMBERS;
}

/* More lenient on purpose: numbers are text to the scanner, and a name that stands twice below the
 * top, or holds a NUL, is for whoever acts on that object. */
static bool refused_by_jansson_alone(const json_error_t *error)
{
	enum json_error_code code = json_error_code(error);
	return code == json_error_numeric_overflow || code == json_error_duplicate_key ||
	       code == json_error_null_byte_in_key;
}

static enum json_scan_refusal scan_in_pieces(struct bytes text, unsigned seed,
					     struct json_scan *scan)
{
	json_scan_start(scan);
	for (size_t at = 0; at < text.size;) {
		size_t size = fuzz_piece(&seed, text.size - at);
		struct bytes copy = fuzz_copy(bytes_of(text.data + at, size));
		json_scan_feed(scan, copy.data, size);
		free((char *)copy.data);
		at += size;
	}
	json_scan_finish(scan, text);
	return scan->refusal;
}

static void check_string(struct json_value value, const json_t *expected)
{
	char *decoded = malloc(value.text.size);
	FUZZ_CHECK(decoded && json_is_string(expected));
	size_t size = json_value_decode(value, decoded);
	FUZZ_CHECK(size == json_string_length(expected));
	FUZZ_CHECK(!memcmp(decoded, json_string_value(expected), size));
	free(decoded);
}

static void check_value(struct json_value value, const json_t *expected)
{
	static const json_type types[] = {
		[JSON_SCAN_NULL] = JSON_NULL,     [JSON_SCAN_FALSE] = JSON_FALSE,
		[JSON_SCAN_TRUE] = JSON_TRUE,     [JSON_SCAN_STRING] = JSON_STRING,
		[JSON_SCAN_ARRAY] = JSON_ARRAY,   [JSON_SCAN_OBJECT] = JSON_OBJECT,
		[JSON_SCAN_NUMBER] = JSON_INTEGER};
	int64_t integer;
	FUZZ_CHECK(value.type != JSON_SCAN_NOTHING);
	if (value.type != JSON_SCAN_NUMBER)
		FUZZ_CHECK(json_typeof(expected) == types[value.type]);
	else
		FUZZ_CHECK(json_is_number(expected));
	if (value.type == JSON_SCAN_STRING)
		check_string(value, expected);
	else if (json_value_integer(value, INT64_MIN, INT64_MAX, &integer))
		FUZZ_CHECK(json_is_integer(expected) && json_integer_value(expected) == integer);
	if (value.type == JSON_SCAN_ARRAY) {
		struct json_walk walk = json_walk_start(value);
		size_t count = 0;
		while (json_walk_next(&walk))
			check_value(walk.value, json_array_get(expected, count++));
		FUZZ_CHECK(count == json_array_size(expected));
	}
}

/* The tree that the scanner makes is jansson's. `expected` NULL: it took nothing. */
static void check_tree(struct bytes text, const json_t *expected)
{
	json_t *tree = json_tree(text);
	FUZZ_CHECK(!tree || (expected && json_equal(tree, expected)));
	FUZZ_CHECK(tree || !expected);
	json_decref(tree);
}

static void check_members(const struct json_scan *scan, struct bytes text, const json_t *tree)
{
	struct json_value root = json_value_at(text);
	FUZZ_CHECK(root.type == scan->root);
	if (root.type != JSON_SCAN_OBJECT) {
		check_value(root, tree);
		return;
	}
	struct json_walk walk = json_walk_start(root);
	FUZZ_CHECK(scan->member_count == json_object_size(tree));
	for (unsigned i = 0; i < scan->member_count; i++) {
		const struct json_scan_member *member = &scan->members[i];
		struct bytes name = bytes_of(text.data + member->key, member->key_size);
		struct json_value value = json_scan_value(text, member);
		const json_t *expected = json_object_getn(tree, name.data, name.size);
		FUZZ_CHECK(json_walk_next(&walk) && bytes_equal(walk.key, name));
		FUZZ_CHECK(bytes_equal(walk.value.text, value.text));
		FUZZ_CHECK(json_scan_member(scan, text, name) == member);
		FUZZ_CHECK(expected);
		check_value(value, expected);
		FUZZ_CHECK(member->escaped ==
				   (value.type == JSON_SCAN_STRING &&
				    memchr(value.text.data, '\\', value.text.size) != NULL) ||
			   value.type > JSON_SCAN_STRING);
	}
	FUZZ_CHECK(!json_walk_next(&walk));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct json_scan whole, pieces;
	struct bytes input = fuzz_input(data, size);
	unsigned seed = fuzz_take(&input);
	struct bytes text = fuzz_copy(input);
	json_error_t error;
	struct err err = ERR_INIT;
	bool taken = json_scan_text(&whole, text, "the text", &err) == ERR_OK;
	FUZZ_CHECK(taken == (whole.refusal == JSON_SCAN_OK));
	FUZZ_CHECK(scan_in_pieces(text, seed, &pieces) == whole.refusal);
	FUZZ_CHECK(pieces.refused_at == whole.refused_at);
	FUZZ_CHECK(!taken || !memcmp(pieces.members, whole.members,
				     whole.member_count * sizeof(whole.members[0])));
	/* jansson loses a NUL that it has looked at ahead: base/json.c refuses them by itself. */
	if (text.size && memchr(text.data, '\0', text.size)) {
		FUZZ_CHECK(!taken);
		free((char *)text.data);
		return 0;
	}
	json_t *tree =
		json_loadb(text.data, text.size,
			   JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL, &error);
	if (!refused_by_policy(whole.refusal) && (tree || !refused_by_jansson_alone(&error)))
		FUZZ_CHECK(taken == (tree != NULL));
	check_tree(text, taken ? tree : NULL);
	if (taken && tree)
		check_members(&whole, text, tree);
	json_decref(tree);
	free((char *)text.data);
	return 0;
}
