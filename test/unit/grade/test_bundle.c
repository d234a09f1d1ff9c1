#include "grade/bundle.h"

#include "base/encode.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- DSSE ---- */

/* The example of the DSSE protocol document: type and body of the PAE. */
static void pae_of_the_specification(void **state)
{
	(void)state;
	struct buf out = BUF_INIT(1000);

	dsse_pae(&out, BYTES("http://example.com/HelloWorld"), BYTES("hello world"));
	assert_true(bytes_is(buf_bytes(&out),
			     "DSSEv1 29 http://example.com/HelloWorld 11 hello world"));
	buf_clear(&out);
	dsse_pae(&out, BYTES(""), BYTES(""));
	assert_true(bytes_is(buf_bytes(&out), "DSSEv1 0  0 "));
	buf_release(&out);
}

static struct ed25519_private *key_of(uint8_t first, uint8_t public_key[static ED25519_KEY_SIZE])
{
	uint8_t seed[ED25519_KEY_SIZE] = {first};
	struct ed25519_private *key = ed25519_from_seed(seed);

	assert_non_null(key);
	ed25519_public(key, public_key);
	return key;
}

static void envelopes(void **state)
{
	(void)state;
	uint8_t ours[ED25519_KEY_SIZE], theirs[ED25519_KEY_SIZE];
	struct ed25519_private *key = key_of(1, ours), *other = key_of(2, theirs);
	struct buf text = BUF_INIT(10000);
	struct err err = ERR_INIT;
	struct dsse dsse;

	assert_int_equal(dsse_wrap(BYTES("{\"x\":1}"), DSSE_IN_TOTO, key, &text, &err), ERR_OK);
	assert_int_equal(dsse_open(buf_bytes(&text), "e", &dsse, &err), ERR_OK);
	assert_true(bytes_is(buf_bytes(&dsse.payload), "{\"x\":1}"));
	assert_true(dsse_signed_by(&dsse, ours));
	assert_false(dsse_signed_by(&dsse, theirs));
	dsse.payload.data[5] = '2';
	assert_false(dsse_signed_by(&dsse, ours));
	dsse.payload.data[5] = '1';
	dsse.type[0] = 'A';
	assert_false(dsse_signed_by(&dsse, ours));
	dsse_release(&dsse);

	buf_clear(&text);
	assert_int_equal(dsse_wrap(BYTES("x"), DSSE_IN_TOTO, NULL, &text, &err), ERR_OK);
	assert_int_equal(dsse_open(buf_bytes(&text), "e", &dsse, &err), ERR_OK);
	assert_int_equal(dsse.count, 0);
	assert_false(dsse_signed_by(&dsse, ours));
	dsse_release(&dsse);
	buf_release(&text);
	ed25519_free(key);
	ed25519_free(other);
}

static void malformed_envelopes(void **state)
{
	(void)state;
	static const char *const texts[] = {
		"",
		"[]",
		"{}",
		"{\"payload\":\"*\",\"payloadType\":\"t\",\"signatures\":[]}",
		"{\"payload\":\"\",\"payloadType\":\"t\"}",
		"{\"payload\":\"\",\"payloadType\":\"t\",\"signatures\":[1]}",
		"{\"payload\":\"\",\"payloadType\":\"t\",\"signatures\":[{\"sig\":\"AA==\"}]}"};
	struct err err = ERR_INIT;
	struct dsse dsse;

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		assert_int_equal(dsse_open(bytes_from(texts[i]), "e", &dsse, &err), ERR_INVALID);
		dsse_release(&dsse);
	}
}

/* ---- bundles ---- */

struct fixture {
	struct env *env;
	char directory[64];
	json_t *summary;
	struct bundle_statement statement;
};

static void path_of(const struct fixture *fixture, const char *name, char out[static 256])
{
	snprintf(out, 256, "%s/%s", fixture->directory, name);
}

static void put(const struct fixture *fixture, const char *name, const char *content)
{
	char path[256];
	path_of(fixture, name, path);
	FILE *file = fopen(path, "wb");
	assert_non_null(file);
	fputs(content, file);
	fclose(file);
}

static void put_all(const struct fixture *fixture)
{
	char path[256];

	path_of(fixture, "suite", path);
	mkdir(path, 0700);
	path_of(fixture, "suite/foxes", path);
	mkdir(path, 0700);
	put(fixture, "plan.json", "{}\n");
	put(fixture, "summary.json", "{\"results\":[]}\n");
	put(fixture, "suite/foxes/items.jsonl", "{\"id\":\"1\"}\n");
	put(fixture, "scores.jsonl", "");
}

static int setup(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));

	assert_non_null(fixture);
	fixture->env = env_os_new(1);
	assert_non_null(fixture->env);
	snprintf(fixture->directory, sizeof(fixture->directory), "/tmp/parley-bundle-XXXXXX");
	assert_non_null(mkdtemp(fixture->directory));
	fixture->summary = json_pack("{s[{ss}]}", "results", "metric", "accuracy");
	fixture->statement =
		(struct bundle_statement){.result = "PASSED", .summary = fixture->summary};
	put_all(fixture);
	*state = fixture;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *fixture = *state;
	char command[128];

	snprintf(command, sizeof(command), "rm -rf '%s'", fixture->directory);
	assert_int_equal(system(command), 0);
	env_os_free(fixture->env);
	json_decref(fixture->summary);
	free(fixture);
	return 0;
}

static void seal(struct fixture *fixture, const struct ed25519_private *key)
{
	struct err err = ERR_INIT;

	if (bundle_seal(fixture->env, fixture->directory, &fixture->statement, key, &err) != ERR_OK)
		fail_msg("%s", err.message);
}

/* Opening must fail with this code and a message that names the file. */
static void refused(struct fixture *fixture, enum err_code code, const char *name)
{
	struct bundle bundle;
	struct err err = ERR_INIT;

	assert_int_equal(bundle_open(fixture->env, fixture->directory, &bundle, &err), code);
	if (!strstr(err.message, name))
		fail_msg("'%s' does not name %s", err.message, name);
	bundle_release(&bundle);
}

static void accepted(struct fixture *fixture)
{
	struct bundle bundle;
	struct err err = ERR_INIT;

	if (bundle_open(fixture->env, fixture->directory, &bundle, &err) != ERR_OK)
		fail_msg("%s", err.message);
	assert_int_equal(bundle.files, 4);
	bundle_release(&bundle);
}

static void a_bundle_opens(void **state)
{
	struct fixture *fixture = *state;
	uint8_t public_key[ED25519_KEY_SIZE];
	struct ed25519_private *key = key_of(1, public_key);
	struct bundle bundle;
	struct err err = ERR_INIT;

	seal(fixture, key);
	assert_int_equal(bundle_open(fixture->env, fixture->directory, &bundle, &err), ERR_OK);
	assert_int_equal(bundle.files, 4);
	assert_true(dsse_signed_by(&bundle.envelope, public_key));
	const json_t *predicate = json_object_get(bundle.statement, "predicate");
	assert_string_equal(json_string_value(json_object_get(predicate, "result")), "PASSED");
	const json_t *configuration = json_object_get(predicate, "configuration");
	assert_string_equal(
		json_string_value(json_object_get(json_array_get(configuration, 0), "name")),
		"plan.json");
	assert_int_equal(
		json_array_size(json_object_get(json_object_get(predicate, "parley"), "results")),
		1);
	bundle_release(&bundle);
	seal(fixture, NULL); /* again, over the old one, unsigned */
	assert_int_equal(bundle_open(fixture->env, fixture->directory, &bundle, &err), ERR_OK);
	assert_int_equal(bundle.envelope.count, 0);
	bundle_release(&bundle);
	ed25519_free(key);
}

static void every_change_is_named(void **state)
{
	struct fixture *fixture = *state;
	char path[256];

	refused(fixture, ERR_NOT_FOUND, "manifest.json");
	seal(fixture, NULL);
	accepted(fixture);

	put(fixture, "suite/foxes/items.jsonl", "{\"id\":\"2\"}\n");
	refused(fixture, ERR_MISMATCH, "suite/foxes/items.jsonl: the file was altered");
	put_all(fixture);
	accepted(fixture);

	put(fixture, "plan.json", "{}");
	refused(fixture, ERR_MISMATCH, "plan.json: the file was altered");
	put_all(fixture);

	path_of(fixture, "scores.jsonl", path);
	unlink(path);
	refused(fixture, ERR_MISMATCH, "scores.jsonl: the file is missing");
	put_all(fixture);

	static const char *const strangers[] = {"a", "suite/x", "z", "suite/foxes/manifest.json"};
	for (size_t i = 0; i < 4; i++) {
		put(fixture, strangers[i], "");
		refused(fixture, ERR_MISMATCH, strangers[i]);
		path_of(fixture, strangers[i], path);
		unlink(path);
	}
	accepted(fixture);
}

static void manifest_and_statement_hold_together(void **state)
{
	struct fixture *fixture = *state;
	char path[256], saved[256];

	seal(fixture, NULL);
	path_of(fixture, "statement.dsse.json", path);
	path_of(fixture, "saved", saved);
	assert_int_equal(rename(path, saved), 0);
	refused(fixture, ERR_NOT_FOUND, "statement.dsse.json");
	assert_int_equal(unlink(saved), 0);

	/* A statement about yesterday's files. */
	seal(fixture, NULL);
	char command[700];
	snprintf(command, sizeof(command), "cp '%s' '%s.kept'", path, fixture->directory);
	assert_int_equal(system(command), 0);
	put(fixture, "plan.json", "{\"changed\":1}");
	seal(fixture, NULL);
	snprintf(command, sizeof(command), "mv '%s.kept' '%s'", fixture->directory, path);
	assert_int_equal(system(command), 0);
	refused(fixture, ERR_MISMATCH, "statement.dsse.json: it is about another manifest");

	seal(fixture, NULL);
	put(fixture, "manifest.json", "{\"format\":\"parley-bundle-9\",\"count\":0,\"files\":[]}");
	refused(fixture, ERR_UNSUPPORTED, "parley-bundle-9");
	put(fixture, "manifest.json", "{");
	refused(fixture, ERR_INVALID, "manifest.json");
	put(fixture, "manifest.json", "[]");
	refused(fixture, ERR_INVALID, "manifest.json");
}

static void large_files_are_read_in_pieces(void **state)
{
	struct fixture *fixture = *state;
	uint8_t digest[SHA256_SIZE];
	struct bundle bundle;
	struct err err = ERR_INIT;
	char hex[65], path[256];
	size_t size = ((size_t)64 << 10) * 3; /* a multiple of the piece */
	char *content = malloc(size);

	assert_non_null(content);
	memset(content, 'x', size);
	path_of(fixture, "large", path);
	FILE *file = fopen(path, "wb");
	assert_non_null(file);
	assert_int_equal(fwrite(content, 1, size, file), size);
	fclose(file);
	seal(fixture, NULL);
	assert_int_equal(bundle_open(fixture->env, fixture->directory, &bundle, &err), ERR_OK);
	sha256_of(content, size, digest);
	hex_encode(digest, sizeof(digest), hex);
	const json_t *entry = json_array_get(json_object_get(bundle.manifest, "files"), 0);
	assert_string_equal(json_string_value(json_object_get(entry, "path")), "large");
	assert_string_equal(json_string_value(json_object_get(entry, "sha256")), hex);
	bundle_release(&bundle);
	free(content);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pae_of_the_specification),
		cmocka_unit_test(envelopes),
		cmocka_unit_test(malformed_envelopes),
		cmocka_unit_test_setup_teardown(a_bundle_opens, setup, teardown),
		cmocka_unit_test_setup_teardown(every_change_is_named, setup, teardown),
		cmocka_unit_test_setup_teardown(manifest_and_statement_hold_together, setup,
						teardown),
		cmocka_unit_test_setup_teardown(large_files_are_read_in_pieces, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
