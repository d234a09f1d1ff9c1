/* The two builds of the JSON scanner, with SSE2 and without, side by side: the same verdict at the
 * same byte, the same members, the same values, after every piece of every text, however it is cut
 * and wherever it lies in memory. */
#include "json_scalar.h"

#include "base/encode.h"
#include "base/json.h"
#include "base/prng.h"
#include "base/sanitized.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

struct pair {
	struct json_scan wide, scalar;
};

static void start(struct pair *pair)
{
	json_scan_start(&pair->wide);
	scalar_scan_start(&pair->scalar);
}

/* All that a scan is but its table, and the table's rows as far as they are filled. */
static void check_same(const struct pair *pair, struct bytes text)
{
	const struct json_scan *a = &pair->wide, *b = &pair->scalar;
	bool same = a->refusal == b->refusal && a->refused_at == b->refused_at &&
		    a->size == b->size && a->root == b->root &&
		    a->member_count == b->member_count && a->state == b->state &&
		    a->depth == b->depth && a->progress == b->progress &&
		    a->utf8_left == b->utf8_left && a->in_key == b->in_key &&
		    a->after_high == b->after_high && a->unit == b->unit &&
		    a->in_object == b->in_object;
	for (unsigned i = 0; same && i < a->member_count; i++) {
		const struct json_scan_member *x = &a->members[i], *y = &b->members[i];
		same = x->key == y->key && x->key_size == y->key_size && x->value == y->value &&
		       x->value_size == y->value_size && x->type == y->type &&
		       x->escaped == y->escaped;
	}
	if (!same)
		fail_msg("%.*s: \"%s\" at %u with SSE2, \"%s\" at %u without", BYTES_ARG(text),
			 json_scan_problem(a->refusal), a->refused_at,
			 json_scan_problem(b->refusal), b->refused_at);
}

/* Both read a copy that ends where memory ends and begins `shift` bytes after where it begins. */
static void feed(struct pair *pair, struct bytes text, size_t from, size_t size, size_t shift)
{
	char *memory = malloc(shift + size + !(shift + size));
	assert_non_null(memory);
	if (size > 0) /* an empty text lies nowhere */
		memcpy(memory + shift, text.data + from, size);
	bool wide = json_scan_feed(&pair->wide, memory + shift, size);
	bool scalar = scalar_scan_feed(&pair->scalar, memory + shift, size);
	assert_int_equal(wide, scalar);
	free(memory);
	check_same(pair, text);
}

static bool finish(struct pair *pair, struct bytes text)
{
	bool wide = json_scan_finish(&pair->wide, text);
	assert_int_equal(wide, scalar_scan_finish(&pair->scalar, text));
	check_same(pair, text);
	return wide;
}

static void check_split(struct bytes text, size_t at, size_t shift)
{
	struct pair pair;
	start(&pair);
	feed(&pair, text, 0, at, shift);
	feed(&pair, text, at, text.size - at, shift + 3);
	finish(&pair, text);
}

static void check_pieces(struct bytes text, size_t piece)
{
	struct pair pair;
	start(&pair);
	for (size_t at = 0; at < text.size; at += piece)
		feed(&pair, text, at, text.size - at < piece ? text.size - at : piece, at % 16);
	finish(&pair, text);
}

static void check_every_split(struct bytes text)
{
	for (size_t at = 0; at <= text.size; at++)
		check_split(text, at, at % 16);
	for (size_t piece = 1; piece <= 33; piece++)
		check_pieces(text, piece);
}

/* ---- values ---- */

#define DEPTH_MAX 8

static void check_value(struct json_value a, struct json_value b)
{
	char *decoded = malloc(2 * a.text.size + 1);
	struct bytes plain = {0}, other = {0};
	int64_t integer = 0, again = 0;
	assert_non_null(decoded);
	assert_int_equal(a.type, b.type);
	assert_ptr_equal(a.text.data, b.text.data);
	assert_int_equal(a.text.size, b.text.size);
	size_t size = json_value_decode(a, decoded);
	assert_int_equal(size, scalar_value_decode(b, decoded + a.text.size));
	assert_memory_equal(decoded, decoded + a.text.size, size);
	assert_int_equal(json_value_plain_string(a, &plain), scalar_value_plain_string(b, &other));
	assert_ptr_equal(plain.data, other.data);
	assert_int_equal(json_value_integer(a, INT64_MIN, INT64_MAX, &integer),
			 scalar_value_integer(b, INT64_MIN, INT64_MAX, &again));
	assert_int_equal(integer, again);
	free(decoded);
}

/* Walks over everything that lies below, in both at once. Returns how many values it saw. */
static unsigned walk(struct bytes text)
{
	struct json_walk wide[DEPTH_MAX], scalar[DEPTH_MAX];
	struct json_value a = json_value_at(text), b = scalar_value_at(text);
	unsigned depth = 0, seen = 1;
	check_value(a, b);
	wide[0] = json_walk_start(a);
	scalar[0] = scalar_walk_start(b);
	for (;;) {
		struct json_walk *x = &wide[depth], *y = &scalar[depth];
		bool more = json_walk_next(x);
		assert_int_equal(more, scalar_walk_next(y));
		if (!more && depth-- == 0)
			return seen;
		if (!more)
			continue;
		seen++;
		assert_ptr_equal(x->key.data, y->key.data);
		assert_int_equal(x->key.size, y->key.size);
		check_value(x->value, y->value);
		bool inner = x->value.type >= JSON_SCAN_ARRAY && depth + 1 < DEPTH_MAX;
		if (inner) {
			depth++;
			wide[depth] = json_walk_start(x->value);
			scalar[depth] = scalar_walk_start(y->value);
		}
	}
}

/* ---- generated texts ---- */

#define TEXT_MAX 4096
#define SPLIT (SANITIZED ? 100 : 400) /* texts, at every place */
#define DAMAGED (SANITIZED ? 6000 : 30000)

struct writer {
	struct prng prng;
	char text[TEXT_MAX];
	size_t size;
};

static void put(struct writer *writer, const char *piece)
{
	size_t size = strlen(piece);
	if (writer->size + size > TEXT_MAX)
		return;
	memcpy(writer->text + writer->size, piece, size);
	writer->size += size;
}

/* Long runs, so that what ends one falls on every place of a block of 16 bytes. */
static void put_string(struct writer *writer, bool key)
{
	static const char *const special[] = {"\\\"",
					      "\\\\",
					      "\\n",
					      "\\u00e9",
					      "\xc3\xa9",
					      "\xe2\x82\xac",
					      "\xf0\x9f\x98\x80",
					      "\\ud83d\\ude00",
					      "{",
					      "]",
					      ",",
					      "\x7f"};
	char run[2] = "a";
	put(writer, "\"");
	for (uint64_t left = prng_below(&writer->prng, 50); left > 0; left--) {
		run[0] = (char)('a' + left % 26);
		put(writer, run);
		if (!key && prng_below(&writer->prng, 12) == 0)
			put(writer, special[prng_below(&writer->prng,
						       sizeof(special) / sizeof(special[0]))]);
	}
	put(writer, "\"");
}

static void put_scalar(struct writer *writer)
{
	static const char *const scalars[] = {
		"true", "false", "null", "0", "-0.5e+10", "12345", "9223372036854775807"};
	if (prng_below(&writer->prng, 3))
		put_string(writer, false);
	else
		put(writer,
		    scalars[prng_below(&writer->prng, sizeof(scalars) / sizeof(scalars[0]))]);
}

static void put_space(struct writer *writer)
{
	static const char *const spaces[] = {
		"", "", "", " ", "\n", "\t\r\n", "                   "};
	put(writer, spaces[prng_below(&writer->prng, sizeof(spaces) / sizeof(spaces[0]))]);
}

/* Values of a container with scalars and containers of scalars in it. */
static void put_container(struct writer *writer, bool object, unsigned depth)
{
	uint64_t count = prng_below(&writer->prng, 5);
	put(writer, object ? "{" : "[");
	for (uint64_t i = 0; i < count; i++) {
		put(writer, i ? "," : "");
		put_space(writer);
		if (object) {
			put_string(writer, true);
			put(writer, ":");
			put_space(writer);
		}
		if (depth < 4 && prng_below(&writer->prng, 3) == 0)
			put_container(writer, prng_below(&writer->prng, 2), depth + 1);
		else
			put_scalar(writer);
	}
	put(writer, object ? "}" : "]");
}

static struct bytes generate(struct writer *writer)
{
	writer->size = 0;
	put_container(writer, prng_below(&writer->prng, 4) != 0, 0);
	return bytes_of(writer->text, writer->size);
}

static void damage(struct writer *writer)
{
	static const char bytes[] = "{}[]\",:\\u019.eE+-tfn \n\x01\x1f\x80\xc3\xa9\xed\xf0\xff";
	for (uint64_t count = 1 + prng_below(&writer->prng, 3); count > 0; count--)
		writer->text[prng_below(&writer->prng, writer->size)] =
			bytes[prng_below(&writer->prng, sizeof(bytes))]; /* NUL is one */
}

static void generated_texts_at_every_split(void **state)
{
	struct writer writer = {.prng = {21}};
	unsigned taken = 0;
	(void)state;
	for (unsigned round = 0; round < SPLIT; round++) {
		struct bytes text = generate(&writer);
		if (round % 2)
			damage(&writer);
		check_every_split(text);
		struct pair pair;
		start(&pair);
		feed(&pair, text, 0, text.size, 0);
		if (finish(&pair, text)) {
			taken++;
			walk(text);
		}
	}
	assert_in_range(taken, SPLIT * 3 / 8, SPLIT - SPLIT / 40);
}

static void generated_texts_damaged_in_many_ways(void **state)
{
	struct writer writer = {.prng = {22}};
	(void)state;
	for (unsigned round = 0; round < DAMAGED; round++) {
		struct bytes text = generate(&writer);
		if (round % 4)
			damage(&writer);
		check_split(text, prng_below(&writer.prng, text.size + 1), round % 16);
		walk(text); /* nothing beyond the end is read, whatever it holds */
	}
}

/* Every byte, at every place of the blocks around it. */
static void every_byte_at_every_place(void **state)
{
	char text[64];
	(void)state;
	for (unsigned byte = 0; byte < 256; byte++) {
		for (size_t at = 1; at < 40; at++) {
			memset(text, 'x', sizeof(text));
			text[0] = text[50] = '"';
			text[at] = (char)byte;
			for (size_t shift = 0; shift < 16; shift++)
				check_split(bytes_of(text, 51), 51, shift);
			check_split(bytes_of(text, 51), at, 0);
			check_split(bytes_of(text, 51), at + 1, 0);
			walk(bytes_of(text, 51));
		}
	}
}

/* ---- recorded texts ---- */

/* Every row of a file of ../shared/data/json: the member holds a text in base64. */
static void check_file(const char *name, const char *member, unsigned rows)
{
	char path[512];
	const char *root = getenv("PARLEY_DATA");
	static char line[1 << 20];
	unsigned count = 0;
	snprintf(path, sizeof(path), "%s/json/%s", root ? root : SOURCE_ROOT "/../shared/data",
		 name);
	FILE *file = fopen(path, "r");
	if (!file) {
		print_message("SKIP %s is not there\n", path);
		skip();
	}
	while (fgets(line, sizeof(line), file)) {
		struct buf text = BUF_INIT(1 << 20);
		json_t *row = NULL;
		assert_int_equal(json_parse(bytes_from(line), path, &row, NULL), ERR_OK);
		assert_true(base64_decode(
			bytes_from(json_string_value(json_object_get(row, member))), &text));
		check_every_split(buf_bytes(&text));
		walk(buf_bytes(&text));
		json_decref(row);
		buf_release(&text);
		count++;
	}
	fclose(file);
	assert_true(count >= rows);
}

/* A string so long that it is looked at by many bytes at once, and ended by none or any of what
 * ends a run, at every place. */
static void long_strings_with_one_byte_at_every_place(void **state)
{
	static const char bytes[] = "x\"\\\x1f\x80\xc3\x7f";
	char text[600];
	(void)state;
	for (size_t place = 1; place < sizeof(text) - 1; place++) {
		for (size_t i = 0; i < sizeof(bytes); i++) { /* NUL, too */
			struct pair pair;
			memset(text, 'x', sizeof(text));
			text[0] = text[sizeof(text) - 1] = '"';
			text[place] = bytes[i];
			start(&pair);
			feed(&pair, bytes_of(text, sizeof(text)), 0, sizeof(text), place % 33);
			assert_int_equal(finish(&pair, bytes_of(text, sizeof(text))),
					 bytes[i] == 'x' || bytes[i] == '\x7f');
		}
	}
}

/* What may stand in a run, and what ends one. */
static const struct bytes in_a_run[] = {
	BYTES_INIT("x"),
	BYTES_INIT("!"),
	BYTES_INIT(" "),
	BYTES_INIT("#"),
	BYTES_INIT("\x7f"),
	BYTES_INIT("\""),
	BYTES_INIT("\\"),
	BYTES_INIT("\\n"),
	BYTES_INIT("\\\""),
	BYTES_INIT("\\\\"),
	BYTES_INIT("\\u0041"),
	BYTES_INIT("\\ud83d\\ude00"),
	BYTES_INIT("\\ud83d"),
	BYTES_INIT("\0"),
	BYTES_INIT("\x1f"),
	BYTES_INIT("\x80"),
	BYTES_INIT("\xc3\xa9"),
	BYTES_INIT("\xe2\x82\xac"),
	BYTES_INIT("\xed\xa0\x80"),
	BYTES_INIT("\xf0\x9f\x98\x80"),
	BYTES_INIT("\xff"),
};
#define RUN_MAX 200

/* Runs of ordinary bytes up to `size`, with a piece at `place`. */
static struct bytes make_run(char *text, size_t size, size_t place, struct bytes piece)
{
	memset(text, 'a', size + piece.size);
	memcpy(text + place, piece.data, piece.size);
	return bytes_of(text, size + piece.size);
}

/* Byte by byte, and as Jansson has it. */
static void check_run(struct bytes run, bool name, size_t shift)
{
	char text[RUN_MAX + 64];
	size_t size = 0;
	struct pair pair;
	json_t *tree = NULL;
	memcpy(text, name ? "[{\"" : "[ \"", 3);
	memcpy(text + 3, run.data, run.size);
	size = 3 + run.size;
	memcpy(text + size, name ? "\":1}]" : "\"]", name ? 5 : 2);
	size += name ? 5 : 2;
	struct bytes whole = bytes_of(text, size);
	start(&pair);
	feed(&pair, whole, 0, size, shift);
	bool taken = finish(&pair, whole);
	assert_int_equal(taken, json_parse(whole, "a text", &tree, NULL) == ERR_OK);
	if (taken)
		walk(whole);
	json_decref(tree);
}

/* Runs at every place of the memory around them, which ends where they do. */
static void check_plain(struct bytes run, size_t shift)
{
	size_t plain = 0;
	char *memory = malloc(shift + run.size + !run.size), *copy = malloc(run.size + !run.size);
	assert_true(memory && copy);
	struct bytes there = bytes_of(memory + shift, run.size);
	memcpy(memory + shift, run.data, run.size);
	while (plain < run.size && (unsigned char)run.data[plain] >= 0x20 &&
	       run.data[plain] != '"' && run.data[plain] != '\\' && run.data[plain] > 0)
		plain++;
	assert_int_equal(json_plain_run(there), plain);
	assert_int_equal(json_copy_plain(there, copy), plain == run.size);
	assert_memory_equal(copy, run.data, run.size);
	free(memory);
	free(copy);
}

static void runs_of_every_length(void **state)
{
	char text[RUN_MAX + 16];
	size_t count = 0;
	(void)state;
	for (size_t size = 0; size <= RUN_MAX; size++)
		for (size_t place = 0; place <= size; place++)
			for (size_t i = 0; i < sizeof(in_a_run) / sizeof(in_a_run[0]); i++) {
				struct bytes run = make_run(text, size, place, in_a_run[i]);
				check_run(run, count % 2, count % 67);
				check_plain(run, count++ % 67);
			}
}

static void texts_of_the_json_test_suite(void **state)
{
	(void)state;
	check_file("JSONTestSuite.jsonl", "base64", 193);
}

static void texts_of_rfc_8785(void **state)
{
	(void)state;
	check_file("rfc8785.jsonl", "input_base64", 5);
}

/* ---- that there are two ---- */

static void they_are_two(void **state)
{
	(void)state;
	assert_ptr_not_equal((void *)json_scan_feed, (void *)scalar_scan_feed);
	assert_ptr_not_equal((void *)json_value_at, (void *)scalar_value_at);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(generated_texts_at_every_split),
		cmocka_unit_test(generated_texts_damaged_in_many_ways),
		cmocka_unit_test(every_byte_at_every_place),
		cmocka_unit_test(long_strings_with_one_byte_at_every_place),
		cmocka_unit_test(runs_of_every_length),
		cmocka_unit_test(texts_of_the_json_test_suite),
		cmocka_unit_test(texts_of_rfc_8785),
		cmocka_unit_test(they_are_two),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
