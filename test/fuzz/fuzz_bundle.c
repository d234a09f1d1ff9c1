/* A whole bundle, as its reader has it from somebody: the input is its files, each with its path on
 * a line behind the byte 0x1f. What commits to other parts would never be right by chance, so that
 * it is put in where a file says @root@ (of the first suite), @plan@ (the digest of plan.json),
 * @words0@ to @words9@ (of that suite's items); then the bundle is sealed. */
#include "fuzz_folder.h"

#include "base/encode.h"
#include "base/json.h"
#include "grade/bundle.h"
#include "suite/suite.h"
#include "verify/verify.h"

#define MARK '\x1f'
#define FILES_MAX 24u
#define PATH_SIZE 700
#define ITEMS 10u

/* ---- folders ---- */

/* A name of the input's that stays inside the folder. */
static bool is_harmless(struct bytes path)
{
	if (path.size == 0 || path.size > 100 || path.data[0] == '/')
		return false;
	for (size_t i = 0; i < path.size; i++) {
		char c = path.data[i];
		bool name =
			(c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
		bool inner = i > 0 && i + 1 < path.size && path.data[i - 1] != '/' &&
			     path.data[i - 1] != '.';
		if (!name && !((c == '/' || c == '.') && inner))
			return false;
	}
	return true;
}

static void put_file(struct env *env, const char *folder, struct bytes path, struct bytes content)
{
	char whole[PATH_SIZE], *slash;
	snprintf(whole, sizeof(whole), "%s/%.*s", folder, BYTES_ARG(path));
	slash = strrchr(whole, '/');
	*slash = '\0';
	bool made = env_make_directories(env, whole, NULL) == ERR_OK;
	*slash = '/';
	FILE *file = made ? fopen(whole, "w") : NULL;
	if (!file)
		return; /* a file stands where a folder should */
	fwrite(content.data ? content.data : "", 1, content.size, file);
	fclose(file);
}

/* ---- what commits to other parts ---- */

struct commitments {
	char root[65], plan[65], words[ITEMS][65];
};

static void digest_words(const struct suite *suite, struct commitments *out)
{
	for (size_t i = 0; i < ITEMS && i < suite_count(suite); i++) {
		struct suite_item item;
		struct buf text = BUF_INIT(1 << 20);
		uint8_t digest[SHA256_SIZE];
		if (suite_item_render(suite, i, &item, NULL) != ERR_OK)
			continue;
		FUZZ_CHECK(json_canonical(item.words, &text, NULL) == ERR_OK);
		sha256_of(text.data, text.size, digest);
		hex_encode(digest, sizeof(digest), out->words[i]);
		suite_item_release(&item);
		buf_release(&text);
	}
}

static void commit_to_suite(struct bytes yaml, struct bytes items, struct commitments *out)
{
	struct suite *suite = NULL;
	uint8_t root[SHA256_SIZE];
	if (suite_parse(yaml, items, "suite", &suite, NULL) == ERR_OK) {
		if (suite_root(suite, root, NULL) == ERR_OK)
			hex_encode(root, sizeof(root), out->root);
		digest_words(suite, out);
	}
	suite_free(suite);
}

static struct bytes value_of(const struct commitments *commitments, struct bytes name)
{
	if (bytes_is(name, "root"))
		return bytes_from(commitments->root);
	if (bytes_is(name, "plan"))
		return bytes_from(commitments->plan);
	if (name.size == 6 && bytes_starts_with(name, BYTES("words")) && name.data[5] >= '0' &&
	    name.data[5] <= '9')
		return bytes_from(commitments->words[name.data[5] - '0']);
	return bytes_of(NULL, 0);
}

static void fill_in(struct bytes text, const struct commitments *commitments, struct buf *out)
{
	while (text.size > 0) {
		struct bytes rest, name, after, plain = bytes_split(text, '@', &rest);
		buf_append_bytes(out, plain);
		if (!rest.data)
			return;
		name = bytes_split(rest, '@', &after);
		struct bytes value = value_of(commitments, name);
		if (value.data)
			buf_append_bytes(out, value);
		else
			buf_append_char(out, '@');
		text = value.data ? after : rest;
	}
}

/* ---- the bundle ---- */

struct part {
	struct bytes path, content;
};

static unsigned divide(struct bytes input, struct part parts[static FILES_MAX])
{
	unsigned count = 0;
	bytes_split(input, MARK, &input);
	while (input.size > 0 && count < FILES_MAX) {
		struct bytes content, part = bytes_split(input, MARK, &input);
		struct bytes path = bytes_split(part, '\n', &content);
		if (is_harmless(path))
			parts[count++] = (struct part){path, content};
	}
	return count;
}

static struct bytes find_part(const struct part *parts, unsigned count, const char *ending)
{
	for (unsigned i = 0; i < count; i++)
		if (bytes_ends_with(parts[i].path, bytes_from(ending)))
			return parts[i].content;
	return BYTES("");
}

static void seal(struct env *env, const char *folder, struct bytes summary, bool published)
{
	json_t *tree = NULL;
	struct err err = ERR_INIT;
	if (json_parse(summary, "summary", &tree, NULL) != ERR_OK)
		tree = NULL;
	struct bundle_statement statement = {
		.result = "PASSED", .summary = tree, .published = published};
	if (bundle_seal(env, folder, &statement, NULL, &err) != ERR_OK)
		FUZZ_CHECK(err.message[0]);
	json_decref(tree);
}

static void make(struct env *env, const char *folder, const struct part *parts, unsigned count)
{
	struct commitments commitments = {0};
	struct buf text = BUF_INIT(1 << 20), summary = BUF_INIT(1 << 20);
	uint8_t digest[SHA256_SIZE];
	commit_to_suite(find_part(parts, count, "suite.yaml"),
			find_part(parts, count, "items.jsonl"), &commitments);
	fill_in(find_part(parts, count, "plan.json"), &commitments, &text);
	sha256_of(text.data ? text.data : "", text.size, digest);
	hex_encode(digest, sizeof(digest), commitments.plan);
	for (unsigned i = 0; i < count; i++) {
		buf_clear(&text);
		fill_in(parts[i].content, &commitments, &text);
		put_file(env, folder, parts[i].path, buf_bytes(&text));
		if (bytes_is(parts[i].path, BUNDLE_SUMMARY)) {
			buf_clear(&summary);
			buf_append_bytes(&summary, buf_bytes(&text));
		}
	}
	seal(env, folder, buf_bytes(&summary), find_part(parts, count, "withheld.json").size > 0);
	buf_release(&summary);
	buf_release(&text);
}

/* Nobody's key is given: the best there can be is that it does not contradict itself. */
static void check(struct env *env, const char *folder)
{
	struct verify_options options = {0};
	struct verify_report report = {0};
	struct err err = ERR_INIT;
	struct buf text = BUF_INIT(1 << 20);
	if (verify_path(env, folder, &options, &report, &err) == ERR_OK) {
		FUZZ_CHECK(report.headline[0] && report.verdict != VERIFY_VOUCHED);
		verify_report_text(&report, &text);
		buf_clear(&text);
		verify_report_html(&report, folder, &text);
		json_decref(verify_report_json(&report));
	} else {
		FUZZ_CHECK(err.message[0]);
	}
	buf_release(&text);
	verify_report_release(&report);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct env *env;
	static const char *folder;
	struct part parts[FILES_MAX];
	if (!env) {
		folder = fuzz_folder("bundle");
		env = env_os_new(1);
		FUZZ_CHECK(env);
	}
	fuzz_remove_tree(folder);
	FUZZ_CHECK(env_make_directories(env, folder, NULL) == ERR_OK);
	struct bytes copy = fuzz_copy(fuzz_input(data, size));
	make(env, folder, parts, divide(copy, parts));
	check(env, folder);
	free((char *)copy.data);
	return 0;
}
