/* Segments, sealed and open, as a verifier finds them in somebody's log directory. Checksums and
 * digests are put right on the way, or nothing behind them would ever be looked at.
 *
 * The first byte: 0 the rest is a file; 1 a frame; 2 a packed text; else a sealed file, of which
 * the next 80 bytes are those from 16 on, the 64 after them those from 2,176 on, and the rest what
 * stands behind the header; and its bits tell what is put right. */
#include "fuzz_folder.h"

#include "base/crc32c.h"
#include "base/sha256.h"
#include "ledger/packing.h"
#include "ledger/seal.h"

#include <sys/mman.h>
#include <unistd.h>

#define RECORDS 2000 /* as many as are looked at */
#define NO_HEADER_CRC 4
#define NO_DIGEST 8
#define NO_BLOCK_CRC 16
#define NO_FILE_SIZE 32

/* ---- sealed files ---- */

static void check_frame(const struct frame *frame, uint64_t index)
{
	FUZZ_CHECK(frame->index == index);
	FUZZ_CHECK(frame->text.size >= 1 && frame->text.size <= RECORD_SIZE_MAX);
	FUZZ_CHECK(record_kind_text(frame->kind));
	struct merkle_hash leaf = merkle_leaf(frame->text.data, frame->text.size);
	FUZZ_CHECK(frame->leaf && merkle_equal(&leaf, frame->leaf));
}

/* What comes out one by one comes out when it is asked for alone. */
static void seek(struct segment_scan *scan, uint64_t index)
{
	struct frame frame;
	struct err err = ERR_INIT;
	bool found = false;
	FUZZ_CHECK(segment_scan_seek(scan, index, &err) == ERR_OK);
	FUZZ_CHECK(segment_scan_next(scan, &frame, &found, &err) == ERR_OK && found);
	check_frame(&frame, index);
}

/* All that was read leads to the tree that the seal tells of, unless it tells of more. */
static void read_sealed(struct segment_scan *scan, const struct segment_header *header)
{
	struct frame frame;
	struct err err = ERR_INIT;
	struct merkle_range tree = header->range, sealed;
	const struct seal_header *seal = seal_reader_header(scan->seal);
	bool found = true;
	uint64_t index = header->first_index;
	enum err_code code = ERR_OK;
	seal_reader_tree(scan->seal, &sealed);
	FUZZ_CHECK(sealed.size == header->first_index + seal->records);
	while (index - header->first_index < RECORDS) {
		code = segment_scan_next(scan, &frame, &found, &err);
		if (code != ERR_OK || !found)
			break;
		check_frame(&frame, index++);
		merkle_append(&tree, frame.leaf);
	}
	if (code != ERR_OK) {
		FUZZ_CHECK(code == ERR_CORRUPT && err.message[0]);
	} else if (!found) {
		FUZZ_CHECK(index == sealed.size);
		struct merkle_hash have = merkle_root(&tree), want = merkle_root(&sealed);
		FUZZ_CHECK(merkle_equal(&have, &want));
	}
	if (index > header->first_index)
		seek(scan, header->first_index + (index - header->first_index) / 2);
	FUZZ_CHECK(segment_scan_seek(scan, sealed.size, &err) == ERR_NOT_FOUND);
}

/* ---- open ones ---- */

static void read_open(struct segment_scan *scan)
{
	struct frame frame;
	struct err err = ERR_INIT;
	enum segment_tail tail;
	bool found = true;
	uint64_t end, index = 0;
	while (segment_scan_next(scan, &frame, &found, &err) == ERR_OK && found)
		index = frame.index + 1;
	FUZZ_CHECK(scan->offset <= scan->file_size);
	FUZZ_CHECK(segment_scan_tail(scan, index, &tail, &end, &err) == ERR_OK);
	FUZZ_CHECK(end >= scan->offset && (tail != SEGMENT_CLEAN || end == scan->offset));
}

static void scan_file(struct env *env, const uint8_t *data, size_t size, bool sealed)
{
	char path[96], name[96];
	struct segment_scan scan;
	struct segment_header header;
	struct err err = ERR_INIT;
	int file = memfd_create("segment", 0);
	FUZZ_CHECK(file >= 0 && write(file, data, size) == (ssize_t)size);
	/* What a file is follows from its name. */
	snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
	snprintf(name, sizeof(name), "%s/000000000000.%s", fuzz_folder_path,
		 sealed ? "seal" : "seg");
	unlink(name);
	FUZZ_CHECK(symlink(path, name) == 0);
	if (segment_scan_open(&scan, env, name, &header, &err) != ERR_OK)
		FUZZ_CHECK(err.message[0]);
	else if (scan.seal)
		read_sealed(&scan, &header);
	else
		read_open(&scan);
	segment_scan_close(&scan);
	unlink(name);
	close(file);
}

/* ---- putting right ---- */

static void mend_blocks(uint8_t *file, size_t size, uint64_t table, uint64_t blocks)
{
	uint64_t offset = SEGMENT_HEADER_SIZE + table;
	for (uint64_t i = 0; i < blocks; i++) {
		uint8_t *entry = file + SEGMENT_HEADER_SIZE + i * SEAL_ENTRY_SIZE;
		uint64_t packed = bytes_load_number(entry, 4);
		if (offset > size || packed > size - offset)
			return;
		bytes_store_number(entry + 8, crc32c(0, file + offset, packed), 4);
		offset += packed;
	}
}

static void mend(uint8_t *file, size_t size, unsigned choice)
{
	uint64_t blocks = bytes_load_number(file + 2184, 8);
	uint64_t table = bytes_load_number(file + 2192, 8);
	memcpy(file, "PARLEYSL\1\0\0\0", 12);
	if (!(choice & NO_FILE_SIZE))
		bytes_store_number(file + 2200, size, 8);
	if (table <= size - SEGMENT_HEADER_SIZE && blocks <= table / SEAL_ENTRY_SIZE) {
		if (!(choice & NO_BLOCK_CRC))
			mend_blocks(file, size, table, blocks);
		if (!(choice & NO_DIGEST))
			sha256_of(file + SEGMENT_HEADER_SIZE, table, file + 2208);
	}
	if (!(choice & NO_HEADER_CRC))
		bytes_store_number(file + 12, crc32c(0, file + 16, SEGMENT_HEADER_SIZE - 16), 4);
}

static void read_mended(struct env *env, struct bytes input, unsigned choice)
{
	if (input.size < 144)
		return;
	size_t size = SEGMENT_HEADER_SIZE + input.size - 144;
	uint8_t *file = calloc(1, size);
	FUZZ_CHECK(file);
	memcpy(file + 16, input.data, 80);
	memcpy(file + 2176, input.data + 80, 64);
	memcpy(file + SEGMENT_HEADER_SIZE, input.data + 144, input.size - 144);
	mend(file, size, choice);
	scan_file(env, file, size, true);
	free(file);
}

/* ---- frames and packed texts ---- */

/* Written again, it reads as the same. */
static void read_again(const struct frame *frame)
{
	static char room[PACKING_ROOM];
	struct frame again;
	uint8_t *bytes = malloc(frame_size(frame->text.size));
	FUZZ_CHECK(bytes);
	for (unsigned version = 1; version <= SEGMENT_VERSION; version++) {
		size_t size = frame_write(frame, version, bytes);
		FUZZ_CHECK(size <= frame_size(frame->text.size));
		FUZZ_CHECK(frame_parse(bytes, size, room, &again) && again.stored == size);
		FUZZ_CHECK(bytes_equal(again.text, frame->text) && again.index == frame->index);
	}
	free(bytes);
}

static void read_frame(struct bytes input)
{
	static char room[PACKING_ROOM];
	struct frame frame;
	struct bytes copy = fuzz_copy(input);
	uint8_t *bytes = (uint8_t *)copy.data;
	if (copy.size > FRAME_HEADER_SIZE) {
		memcpy(bytes, "PR", 2);
		bytes_store_number(bytes + 14, copy.size - FRAME_HEADER_SIZE, 2);
		uint32_t crc = crc32c(0, bytes, 4);
		bytes_store_number(bytes + 4, crc32c(crc, bytes + 8, copy.size - 8), 4);
	}
	if (frame_parse(bytes, copy.size, room, &frame))
		read_again(&frame);
	free(bytes);
}

static void unpack(struct bytes input)
{
	static char room[PACKING_ROOM];
	struct bytes copy = fuzz_copy(input);
	struct bytes text = bytes_of(room, packing_unpack(copy, room));
	FUZZ_CHECK(text.size <= RECORD_SIZE_MAX);
	if (text.size > 0)
		read_again(&(struct frame){.kind = RECORD_ADMIT, .text = text});
	free((void *)copy.data);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct env *env;
	struct bytes input = fuzz_input(data, size);
	unsigned choice = fuzz_take(&input);
	if (!env) {
		fuzz_folder("segment");
		env = env_os_new(1);
		FUZZ_CHECK(env);
	}
	if (choice == 0)
		scan_file(env, (const uint8_t *)input.data, input.size, input.size % 2);
	else if (choice == 1)
		read_frame(input);
	else if (choice == 2)
		unpack(input);
	else
		read_mended(env, input, choice);
	return 0;
}
