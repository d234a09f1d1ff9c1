/* Frames and headers, and what an interrupted write leaves behind. */
#include "check.h"

#include "base/encode.h"
#include "base/sanitized.h"
#include "ledger/packing.h"
#include "ledger/segment.h"

#include <stdlib.h>
#include <unistd.h>

static void test_header(void **state)
{
	(void)state;
	uint8_t bytes[SEGMENT_HEADER_SIZE];
	struct segment_header header = {
		.first_index = 300, .oldest_open = 17, .origin = {9 },
                        .link = { 1, 2}
        };
	struct segment_header again;
	struct merkle_hash leaf = merkle_leaf("x", 1);
	for (unsigned i = 0; i < 300; i++)
		merkle_append(&header.range, &leaf);
	segment_header_write(&header, bytes);
	assert_true(segment_header_parse(bytes, &again));
	assert_int_equal(again.first_index, 300);
	assert_int_equal(again.oldest_open, 17);
	struct merkle_hash root = merkle_root(&header.range),
			   root_again = merkle_root(&again.range);
	assert_true(merkle_equal(&root, &root_again));
	for (size_t bit = 0; bit < sizeof(bytes) * 8; bit++) {
		bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_false(segment_header_parse(bytes, &again));
		bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
}

static void test_frame(void **state)
{
	(void)state;
	uint8_t bytes[FRAME_HEADER_SIZE + 120];
	char room[PACKING_ROOM];
	struct frame again;
	struct frame frame = {
		.index = 0x123456789abc,
		.kind = RECORD_SETTLE,
		.unsynced = 70000,
		.link = {5, 6},
		.text = BYTES(
			"{\"admit\":\"00ff0000000102030405060708090a01\",\"kind\":\"settle\"}")
        };
	size_t size = frame_write(&frame, 2, bytes);
	assert_int_equal(size, FRAME_HEADER_SIZE + frame.text.size - 15);
	assert_true(frame_parse(bytes, sizeof(bytes), room, &again));
	assert_int_equal(again.index, frame.index);
	assert_int_equal(again.kind, RECORD_SETTLE);
	assert_int_equal(again.unsynced, 70000);
	assert_true(bytes_equal(again.text, frame.text));
	assert_int_equal(again.stored, size);
	for (size_t cut = 0; cut < size; cut++)
		assert_false(frame_parse(bytes, cut, room, &again));
	for (size_t bit = 0; bit < size * 8; bit++) {
		bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_false(frame_parse(bytes, sizeof(bytes), room, &again));
		bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
}

/* Record 2 of docs/formats/log.md. */
static void test_known_frame(void **state)
{
	(void)state;
	static const char text[] =
		"{\"admit\":\"00000000000102030405060708090a01\",\"ending\":\"finish\","
		"\"id\":\"00000000000203040506070809000b02\",\"kind\":\"settle\",\"org\":\"o-"
		"1234\","
		"\"response\":\"abababababababababababababababababababababababababababababababab\","
		"\"served\":\"north-1-20261001\",\"status\":200,"
		"\"time\":\"2026-11-01T12:00:02.500Z\",\"usage\":{\"cache_read\":0,"
		"\"cache_write\":0,\"input\":120,\"output\":34}}";
	uint8_t bytes[1024];
	char hex[2 * FRAME_HEADER_SIZE + 1], room[PACKING_ROOM];
	struct frame again;
	struct frame frame = {
		.index = 2, .kind = RECORD_SETTLE, .unsynced = 1, .text = bytes_from(text)};
	hex_decode(BYTES("619f8935f22ea3501081172c"), frame.link, LINK_SIZE);
	/* As it was before texts were packed, and as it is. */
	assert_int_equal(frame_write(&frame, 1, bytes), frame_size(frame.text.size));
	hex_encode(bytes, FRAME_HEADER_SIZE, hex);
	assert_string_equal(hex,
			    "50520102fc8aec510200000000005f0101000000619f8935f22ea3501081172c");
	assert_true(frame_parse(bytes, sizeof(bytes), room, &again));
	assert_true(bytes_equal(again.text, frame.text));
	assert_int_equal(frame_write(&frame, 2, bytes), frame_size(frame.text.size) - 61);
	hex_encode(bytes, FRAME_HEADER_SIZE, hex);
	assert_string_equal(hex,
			    "505202025f6a46c6020000000000220101000000619f8935f22ea3501081172c");
	assert_true(frame_parse(bytes, sizeof(bytes), room, &again));
	assert_true(bytes_equal(again.text, frame.text));
}

static void test_names(void **state)
{
	(void)state;
	char name[SEGMENT_NAME_SIZE];
	uint64_t first;
	segment_name(0xabc, name);
	assert_string_equal(name, "000000000abc.seg");
	assert_true(segment_name_parse(name, &first));
	assert_int_equal(first, 0xabc);
	assert_false(segment_name_parse("000000000ABC.seg", &first));
	assert_false(segment_name_parse("000000000abc.sog", &first));
	assert_false(segment_name_parse("00000000abc.seg", &first));
	assert_false(segment_name_parse("00000000 abc.seg", &first));
	assert_false(segment_name_parse("spare.1", &first));
}

/* ---- tails ---- */

#define FILE_SIZE 16384

struct tail_file {
	struct env *env;
	char path[64];
	uint8_t bytes[FILE_SIZE];
	uint64_t offsets[40]; /* of the records, and of the end */
	unsigned count;
};

/* Records 0 to count - 1; those from `synced` on are of one write. */
static void write_records(struct tail_file *file, unsigned count, unsigned synced)
{
	static char text[400];
	struct segment_header header = {0};
	memset(text, 't', sizeof(text));
	memset(file->bytes, 0, sizeof(file->bytes));
	segment_header_write(&header, file->bytes);
	uint64_t offset = SEGMENT_HEADER_SIZE;
	for (unsigned i = 0; i < count; i++) {
		struct frame frame = {.index = i,
				      .kind = RECORD_ADMIT,
				      .unsynced = i > synced ? i - synced : 0,
				      .text = bytes_of(text, 300 + i)};
		file->offsets[i] = offset;
		offset += frame_write(&frame, SEGMENT_VERSION, file->bytes + offset);
	}
	file->offsets[count] = offset;
	file->count = count;
}

static enum segment_tail tail_of(struct tail_file *file, uint64_t *index)
{
	struct err err = ERR_INIT;
	struct segment_scan scan;
	struct segment_header header;
	struct frame frame;
	enum segment_tail tail;
	uint64_t end;
	bool found = true;
	FILE *out = fopen(file->path, "w");
	assert_int_equal(fwrite(file->bytes, 1, FILE_SIZE, out), FILE_SIZE);
	fclose(out);
	assert_works(segment_scan_open(&scan, file->env, file->path, &header, &err), &err);
	*index = 0;
	for (;;) {
		assert_works(segment_scan_next(&scan, &frame, &found, &err), &err);
		if (!found)
			break;
		assert_int_equal(frame.index, (*index)++);
	}
	assert_works(segment_scan_tail(&scan, *index, &tail, &end, &err), &err);
	segment_scan_close(&scan);
	return tail;
}

static int set_up(void **state)
{
	struct tail_file *file = calloc(1, sizeof(*file));
	strcpy(file->path, "/tmp/parley-test-segment-XXXXXX");
	close(mkstemp(file->path));
	file->env = env_os_new(1);
	*state = file;
	return 0;
}

static int tear_down(void **state)
{
	struct tail_file *file = *state;
	unlink(file->path);
	env_os_free(file->env);
	free(file);
	return 0;
}

static void test_a_clean_tail(void **state)
{
	struct tail_file *file = *state;
	uint64_t index;
	write_records(file, 12, 12);
	assert_int_equal(tail_of(file, &index), SEGMENT_CLEAN);
	assert_int_equal(index, 12);
}

static void test_a_write_cut_short(void **state)
{
	struct tail_file *file = *state;
	uint64_t index;
	for (uint64_t cut = 1; cut < 341; cut += 13) {
		write_records(file, 12, 4);
		uint64_t from = file->offsets[8] + cut;
		memset(file->bytes + from, 0, FILE_SIZE - from);
		assert_int_equal(tail_of(file, &index), SEGMENT_TORN);
		assert_int_equal(index, 8);
	}
}

/* Sectors of the last write that never reached the disk, with later ones there. */
static void test_a_write_out_of_order(void **state)
{
	struct tail_file *file = *state;
	uint64_t index;
	for (uint64_t sector = SEGMENT_HEADER_SIZE; sector < SEGMENT_HEADER_SIZE + 3072;
	     sector += 512) {
		write_records(file, 20, 0);
		memset(file->bytes + sector, 0, 512);
		assert_int_equal(tail_of(file, &index), SEGMENT_TORN);
		assert_true(file->offsets[index] < sector + 512);
	}
}

/* The same hole in what an earlier write had made durable. */
static void test_a_hole_in_durable_records(void **state)
{
	struct tail_file *file = *state;
	uint64_t index;
	for (uint64_t sector = SEGMENT_HEADER_SIZE; sector < SEGMENT_HEADER_SIZE + 3072;
	     sector += 512) {
		write_records(file, 20, 15);
		memset(file->bytes + sector, 0, 512);
		assert_int_equal(tail_of(file, &index), SEGMENT_DAMAGED);
	}
}

/* No interrupted write flips a bit: with a valid record behind it, it is damage. */
static void test_every_flipped_bit(void **state)
{
	struct tail_file *file = *state;
	uint64_t index;
	for (unsigned synced = 0; synced <= 3; synced += 3) {
		write_records(file, 3, synced);
		uint64_t last = file->offsets[2], end = file->offsets[3];
		for (uint64_t bit = SEGMENT_HEADER_SIZE * 8; bit < end * 8;
		     bit += SANITIZED ? 41 : 5) {
			file->bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
			assert_int_equal(tail_of(file, &index),
					 bit < last * 8 ? SEGMENT_DAMAGED : SEGMENT_TORN);
			file->bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
		}
	}
}

#define WITH_FILE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_header),        cmocka_unit_test(test_frame),
		cmocka_unit_test(test_known_frame),   cmocka_unit_test(test_names),
		WITH_FILE(test_a_clean_tail),         WITH_FILE(test_a_write_cut_short),
		WITH_FILE(test_a_write_out_of_order), WITH_FILE(test_a_hole_in_durable_records),
		WITH_FILE(test_every_flipped_bit),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
