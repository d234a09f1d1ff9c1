/* The flat files of suites' leaves: written before their document, checked at every start, made
 * from what earlier builds kept in the database, and gone where no suite is. */
#include "fake_gateway.h"

#include "base/encode.h"
#include "store/store.h"
#include "suite/leaf.h"
#include "suite/words.h"

#define LEAVES 4
#define FILE_MAX 4096
#define DIGEST "sha256:"

static struct fake_gateway gateway;
static char key_id[64], suite[64], path[192];
static char *key;

static void words_digest(const char *prompt, uint8_t out[static SHA256_SIZE])
{
	struct buf words = BUF_INIT(65536);
	json_t *text = json_string(prompt);
	assert_int_equal(words_canonical(text, &words, NULL), ERR_OK);
	leaf_words_digest(buf_bytes(&words), out);
	json_decref(text);
	buf_release(&words);
}

/* A sealed registration would need no items; this one is open, and names the root that they have.
 */
static json_t *registration(const char *prefix)
{
	uint8_t seed[LEAF_SEED_SIZE] = {0}, root[SHA256_SIZE];
	char hex[2 * SHA256_SIZE + 1];
	struct leaf_salter salter;
	struct leaf_tree *tree = leaf_tree_new();
	json_t *items = json_array();
	leaf_salter_init(&salter, seed);
	for (int i = 0; i < LEAVES; i++) {
		uint8_t salt[LEAF_SALT_SIZE], data[LEAF_DATA_SIZE];
		json_t *prompt = json_sprintf("%s %d", prefix, i);
		struct buf words = BUF_INIT(65536);
		assert_int_equal(words_canonical(prompt, &words, NULL), ERR_OK);
		leaf_salt(&salter, (uint64_t)i, salt);
		leaf_data(salt, buf_bytes(&words), BYTES("{\"id\":\"x\"}"), data);
		assert_true(leaf_tree_add(tree, data));
		buf_release(&words);
		json_array_append_new(
			items, json_pack("{s:o, s:{s:s}}", "prompt", prompt, "grading", "id", "x"));
	}
	leaf_tree_root(tree, root);
	leaf_tree_free(tree);
	hex_encode(root, sizeof(root), hex);
	return json_pack("{s:s, s:s, s:s, s:s, s:{s:i}, s:i, s:o}", "name", prefix, "version", "1",
			 "purpose", "safety_evaluation", "root", hex, "settings", "max_output", 64,
			 "samples", 1, "items", items);
}

static void register_suite(const char *prefix, unsigned status)
{
	fake_ask_json(&gateway, key, "POST", "/parley/v1/suites", registration(prefix));
	assert_int_equal(gateway.status, status);
}

static int set_up(void **state)
{
	(void)state;
	fake_start(&gateway);
	fake_apply(&gateway, fake_access(), 200);
	key = fake_key(&gateway, key_id);
	register_suite("fox", 200);
	snprintf(suite, sizeof(suite), "%s", fake_text(&gateway, "suite"));
	snprintf(path, sizeof(path), "%s/suites/%s", gateway.directory, suite);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	free(key);
	fake_stop(&gateway);
	return 0;
}

/* ---- the file and the database ---- */

static struct bytes read_leaves(char text[static FILE_MAX])
{
	struct buf file = buf_over(text, FILE_MAX);
	assert_int_equal(env_read_file(gateway.env, path, &file, NULL), ERR_OK);
	return buf_bytes(&file);
}

static void write_leaves(struct bytes file)
{
	assert_int_equal(env_write_file(gateway.env, path, file, 0600, NULL), ERR_OK);
}

static enum err_code keep_blob(void *argument, const struct store_document *document,
			       struct err *err)
{
	(void)err;
	buf_append_bytes(argument, document->blob);
	return ERR_OK;
}

static enum err_code keep_document(void *argument, const struct store_document *document,
				   struct err *err)
{
	(void)err;
	buf_append_bytes(argument, document->document);
	return ERR_OK;
}

/* With the control plane closed. */
static void look_into(store_each_function *each, struct buf *out)
{
	char name[96];
	struct store *store;
	snprintf(name, sizeof(name), "%s/parley.db", gateway.directory);
	assert_int_equal(store_open(name, false, &store, NULL), ERR_OK);
	assert_int_equal(store_find(store, STORE_SUITE, suite, each, out, NULL), ERR_OK);
	store_close(store);
}

/* As an earlier build left it: the leaves beside the document. */
static void put_into(struct bytes leaves)
{
	char name[96];
	struct store *store;
	struct buf document = BUF_INIT(65536);
	look_into(keep_document, &document);
	struct store_document row = {STORE_SUITE, suite, buf_bytes(&document), leaves};
	snprintf(name, sizeof(name), "%s/parley.db", gateway.directory);
	assert_int_equal(store_open(name, false, &store, NULL), ERR_OK);
	assert_int_equal(store_put(store, &row, 1, NULL), ERR_OK);
	store_close(store);
	buf_release(&document);
}

static const struct binding_suite *present(void)
{
	const struct world_suite *found = world_find_suite(gateway.world, bytes_from(suite));
	return found ? found->suite : NULL;
}

static void assert_leaves(void)
{
	assert_non_null(present());
	for (uint32_t i = 0; i < LEAVES; i++) {
		uint8_t digest[SHA256_SIZE], keyed[BINDING_DIGEST_SIZE];
		char prompt[32];
		uint32_t leaf;
		snprintf(prompt, sizeof(prompt), "fox %u", i);
		words_digest(prompt, digest);
		binding_digest(world_binding_secret(gateway.world), digest, keyed);
		assert_true(binding_suite_find(present(), keyed, &leaf));
		assert_int_equal(leaf, i);
	}
}

static void refused_at_start(const char *why)
{
	struct err err = ERR_INIT;
	enum err_code code = fake_open(&gateway, &err);
	if (code != ERR_CORRUPT || !strstr(err.message, suite) || !strstr(err.message, why))
		fail_msg("%s was expected, not %d: %s", why, code, err.message);
}

/* ---- tests ---- */

static void leaves_are_in_a_file_of_their_own(void **state)
{
	(void)state;
	char text[FILE_MAX];
	struct buf blob = BUF_INIT(FILE_MAX);
	assert_leaves();
	fake_close(&gateway);
	struct bytes file = read_leaves(text);
	const char *end = memchr(file.data, '\n', file.size);
	assert_non_null(end);
	assert_true(bytes_starts_with(file, BYTES("parley-leaves 1 ")));
	assert_int_equal(file.data + file.size - (end + 1), LEAVES * BINDING_DIGEST_SIZE);
	look_into(keep_blob, &blob);
	assert_true(bytes_starts_with(buf_bytes(&blob), BYTES(DIGEST)));
	assert_int_equal(blob.size, strlen(DIGEST) + 2 * SHA256_SIZE);
	assert_non_null(memmem(file.data, (size_t)(end - file.data), blob.data, blob.size));
	buf_release(&blob);
	fake_reopen(&gateway);
	assert_leaves();
}

static void a_store_with_leaves_in_it_is_converted(void **state)
{
	(void)state;
	char text[FILE_MAX], again[FILE_MAX];
	struct buf blob = BUF_INIT(FILE_MAX);
	fake_close(&gateway);
	struct bytes file = read_leaves(text);
	struct bytes leaves = bytes_of(file.data + file.size - LEAVES * BINDING_DIGEST_SIZE,
				       LEAVES * BINDING_DIGEST_SIZE);
	put_into(leaves);
	assert_int_equal(env_unlink(gateway.env, path, NULL), ERR_OK);
	fake_reopen(&gateway);
	assert_leaves();
	fake_close(&gateway);
	struct bytes made = read_leaves(again);
	assert_true(bytes_equal(made, file));
	look_into(keep_blob, &blob);
	assert_true(bytes_starts_with(buf_bytes(&blob), BYTES(DIGEST)));
	buf_release(&blob);
	/* A crash came before the leaves were taken out of the database: it is done again. */
	put_into(leaves);
	fake_reopen(&gateway);
	assert_leaves();
}

static void what_does_not_fit_stops_the_start(void **state)
{
	(void)state;
	char text[FILE_MAX], changed[FILE_MAX];
	fake_close(&gateway);
	struct bytes file = read_leaves(text);
	size_t header = (size_t)((char *)memchr(file.data, '\n', file.size) + 1 - file.data);
	struct {
		const char *why;
		size_t place; /* of the byte that is another */
		size_t size;
	} rows[] = {
		{"no file of a suite's leaves", 0,                              file.size    },
		{"of a version",                sizeof("parley-leaves ") - 1,   file.size    },
		{"not what the database says",  sizeof("parley-leaves 1 ") - 1, file.size    },
		{"do not have the digest",      header,                         file.size    },
		{"do not have the digest",      file.size - 1,                  file.size    },
		{"fewer or more leaves",        SIZE_MAX,                       file.size - 1},
		{"fewer or more leaves",        SIZE_MAX,                       file.size + 1},
		{"not what the database says",  SIZE_MAX,                       header - 1   },
		{"no file of a suite's leaves", SIZE_MAX,                       0            },
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		memset(changed, 0, sizeof(changed));
		memcpy(changed, file.data, file.size);
		if (rows[i].place != SIZE_MAX)
			changed[rows[i].place] ^= 1;
		write_leaves(bytes_of(changed, rows[i].size));
		refused_at_start(rows[i].why);
	}
	assert_int_equal(env_unlink(gateway.env, path, NULL), ERR_OK);
	refused_at_start("missing");
	write_leaves(file);
	fake_reopen(&gateway);
	assert_leaves();
}

static void files_of_no_suite_are_removed(void **state)
{
	(void)state;
	char orphan[256], temporary[256], note[256];
	snprintf(orphan, sizeof(orphan), "%s/suites/suite_00", gateway.directory);
	snprintf(temporary, sizeof(temporary), "%s.0123456789abcdef.tmp", path);
	snprintf(note, sizeof(note), "%s/suites/a-note-of-the-operator", gateway.directory);
	const char *const names[] = {orphan, temporary, note};
	for (int i = 0; i < 3; i++)
		assert_int_equal(env_write_file(gateway.env, names[i], BYTES("x"), 0600, NULL),
				 ERR_OK);
	fake_reopen(&gateway);
	assert_false(env_file_exists(gateway.env, orphan));
	assert_false(env_file_exists(gateway.env, temporary));
	assert_true(env_file_exists(gateway.env, note));
	assert_leaves();
	env_unlink(gateway.env, note, NULL);
}

static unsigned files;

static void count_file(void *argument, const struct env_directory_entry *entry)
{
	(void)argument;
	(void)entry;
	files++;
}

static unsigned count_files(void)
{
	char directory[96];
	snprintf(directory, sizeof(directory), "%s/suites", gateway.directory);
	files = 0;
	assert_int_equal(env_list_directory(gateway.env, directory, count_file, NULL, NULL),
			 ERR_OK);
	return files;
}

static void a_registration_that_fails_leaves_no_file(void **state)
{
	(void)state;
	assert_int_equal(count_files(), 1);
	gateway.records_to_fail = 1;
	fake_ask_json(&gateway, key, "POST", "/parley/v1/suites", registration("o"));
	assert_true(gateway.status >= 500);
	assert_int_equal(count_files(), 1);
	/* Registering what is there already writes none either. */
	register_suite("fox", 200);
	assert_string_equal(fake_text(&gateway, "suite"), suite);
	assert_int_equal(count_files(), 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(leaves_are_in_a_file_of_their_own),
		TEST(a_store_with_leaves_in_it_is_converted),
		TEST(what_does_not_fit_stops_the_start),
		TEST(files_of_no_suite_are_removed),
		TEST(a_registration_that_fails_leaves_no_file),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
