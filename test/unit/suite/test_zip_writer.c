/* Archives written entry by entry, read back by our own reader: entries whole, in pieces and
 * repeated, and how much memory pieces take. */
#include "suite/zip.h"
#include "suite/zip_writer.h"

#include "base/prng.h"
#include "folder.h"

#define PIECE 50000u
#define PIECES 200u /* 10 MB that do not pack */

static void fill(struct prng *prng, char *piece)
{
	for (size_t i = 0; i < PIECE; i++)
		piece[i] = (char)prng_next(prng);
}

static void assert_entry(struct zip *zip, const char *name, const char *content)
{
	struct err err = ERR_INIT;
	struct buf text = BUF_INIT(1 << 20);
	const struct zip_entry *entry = zip_find(zip, bytes_from(name));
	assert_non_null(entry);
	if (zip_read(zip, entry, &text, &err) != ERR_OK)
		fail_msg("%s: %s", name, err.message);
	assert_int_equal(text.size, strlen(content));
	if (text.size)
		assert_memory_equal(text.data, content, text.size);
	buf_release(&text);
}

static void assert_large(struct zip *zip, const char *name)
{
	struct err err = ERR_INIT;
	struct prng prng;
	struct buf text = BUF_INIT((size_t)64 << 20);
	char piece[PIECE];
	if (zip_read(zip, zip_find(zip, bytes_from(name)), &text, &err) != ERR_OK)
		fail_msg("%s: %s", name, err.message);
	assert_int_equal(text.size, (size_t)PIECES * PIECE);
	prng = (struct prng){7};
	for (unsigned i = 0; i < PIECES; i++) {
		fill(&prng, piece);
		assert_memory_equal(text.data + (size_t)i * PIECE, piece, PIECE);
	}
	buf_release(&text);
}

static void test_pieces(void **state)
{
	struct folder *folder = *state;
	struct zip_writer writer;
	struct err err = ERR_INIT;
	struct prng prng;
	struct zip *zip;
	char path[256], piece[PIECE];
	size_t most = 0;
	folder_path(folder, "t.zip", path);
	zip_writer_open(&writer, folder->env, path);
	zip_writer_add(&writer, BYTES("first"), BYTES("whole"));
	zip_writer_begin(&writer, BYTES("empty"));
	zip_writer_end(&writer);
	zip_writer_begin(&writer, BYTES("large"));
	prng = (struct prng){7};
	for (unsigned i = 0; i < PIECES; i++) {
		fill(&prng, piece);
		zip_writer_piece(&writer, bytes_of(piece, PIECE));
		most = writer.packed.capacity > most ? writer.packed.capacity : most;
	}
	zip_writer_end(&writer);
	zip_writer_repeat(&writer, BYTES("large again"));
	zip_writer_add(&writer, BYTES("last"), (struct bytes){0});
	if (zip_writer_close(&writer, &err) != ERR_OK)
		fail_msg("%s", err.message);
	assert_true(most < (1 << 20)); /* of 10 MB */

	if (zip_open(folder->env, path, &zip, &err) != ERR_OK)
		fail_msg("%s", err.message);
	assert_int_equal(zip_count(zip), 5);
	assert_entry(zip, "first", "whole");
	assert_entry(zip, "empty", "");
	assert_entry(zip, "last", "");
	assert_large(zip, "large");
	assert_large(zip, "large again");
	zip_close(zip);
}

/* The first failure is the one that is told, and nothing crashes on the way there. */
static void test_failure(void **state)
{
	struct folder *folder = *state;
	struct zip_writer writer;
	struct err err = ERR_INIT;
	char path[256];
	folder_path(folder, "no/such/folder.zip", path);
	zip_writer_open(&writer, folder->env, path);
	zip_writer_begin(&writer, BYTES("a"));
	zip_writer_piece(&writer, BYTES("b"));
	zip_writer_end(&writer);
	zip_writer_repeat(&writer, BYTES("c"));
	zip_writer_add(&writer, BYTES("d"), BYTES("e"));
	assert_int_not_equal(zip_writer_close(&writer, &err), ERR_OK);
	assert_non_null(strstr(err.message, "no/such/folder.zip"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_pieces, folder_setup, folder_teardown),
		cmocka_unit_test_setup_teardown(test_failure, folder_setup, folder_teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
