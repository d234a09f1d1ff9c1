#include "suite/transcript.h"

#include "base/json.h"
#include "folder.h"

#include <pthread.h>
#include <zlib.h>

static void digest_of(const char *text, uint8_t digest[SHA256_SIZE])
{
	json_t *prompt = json_string(text), *words;
	assert_int_equal(words_normalise(prompt, &words, NULL), ERR_OK);
	assert_int_equal(words_match_digest(words, digest, NULL), ERR_OK);
	json_decref(prompt);
	json_decref(words);
}

static struct transcript *load(const struct folder *folder, const char *name)
{
	struct err err = ERR_INIT;
	struct transcript *transcript;
	char path[256];
	if (transcript_load(folder->env, folder_path(folder, name, path), &transcript, &err) !=
	    ERR_OK)
		fail_msg("%s", err.message);
	return transcript;
}

static void assert_answer(const struct transcript *transcript, const char *prompt, uint64_t k,
			  const char *expected)
{
	uint8_t digest[SHA256_SIZE];
	struct transcript_answer answer;
	digest_of(prompt, digest);
	assert_true(transcript_answer(transcript, digest, k, &answer));
	assert_true(bytes_is(answer.text, expected));
}

static const char small[] = "{\"note\":\"recorded\",\"made\":1}\n"
			    "{\"prompt\":\"one\",\"answers\":[\"a\",\"b\",\"c\"],\"usage\":{"
			    "\"input\":5,\"output\":7}}\n"
			    "{\"prompt\":{\"messages\":[{\"role\":\"user\",\"text\":\"two\"}],"
			    "\"tools\":[{\"name\":\"t\"}]},"
			    "\"answers\":[\"\"]}\r\n"
			    "{\"answers\":[\"d\"],\"prompt\":\"one\"}";

static void test_answers_in_turn(void **state)
{
	const struct folder *folder = *state;
	uint8_t digest[SHA256_SIZE];
	struct transcript_answer answer;
	folder_write_text(folder, "t.jsonl", small);
	struct transcript *transcript = load(folder, "t.jsonl");
	assert_string_equal(transcript_note(transcript), "recorded");
	assert_int_equal(transcript_prompts(transcript), 2);
	digest_of("one", digest);
	assert_int_equal(transcript_count(transcript, digest), 4);
	static const char *const expected[] = {"a", "b", "c", "d"};
	for (unsigned k = 0; k < 9; k++) {
		assert_answer(transcript, "one", k, expected[k % 4]);
		assert_true(transcript_next(transcript, digest, &answer));
		assert_true(bytes_is(answer.text, expected[k % 4]));
		assert_int_equal(answer.input, k % 4 == 3 ? -1 : 5);
		assert_int_equal(answer.output, k % 4 == 3 ? -1 : 7);
		assert_int_equal(answer.cache_read, 0);
	}
	assert_answer(transcript, "two", 3, "");
	digest_of("three", digest);
	assert_false(transcript_answer(transcript, digest, 0, &answer));
	assert_false(transcript_next(transcript, digest, &answer));
	assert_int_equal(transcript_count(transcript, digest), 0);
	transcript_free(transcript);
}

static void refuse(const struct folder *folder, const char *text, enum err_code code,
		   const char *message)
{
	struct err err = ERR_INIT;
	struct transcript *transcript;
	char path[256], expected[1024];
	folder_write_text(folder, "bad.jsonl", text);
	folder_path(folder, "bad.jsonl", path);
	snprintf(expected, sizeof(expected), "%s%s", path, message);
	assert_int_equal(transcript_load(folder->env, path, &transcript, &err), code);
	assert_null(transcript);
	assert_string_equal(err.message, expected);
}

#define GOOD "{\"prompt\":\"p\",\"answers\":[\"a\"]}\n"

static void test_refused(void **state)
{
	const struct folder *folder = *state;
	refuse(folder, "", ERR_INVALID, ": no prompts");
	refuse(folder, "{\"note\":\"only\"}\n", ERR_INVALID, ": no prompts");
	refuse(folder, GOOD "{\"note\":\"late\"}\n", ERR_INVALID,
	       ":2: the line: unknown key \"note\"");
	refuse(folder, GOOD "[]\n", ERR_INVALID, ":2: the line is not a JSON object");
	refuse(folder, GOOD "{\"answers\":[\"a\"]}", ERR_INVALID, ":2: \"prompt\" is missing");
	refuse(folder, GOOD "{\"prompt\":\"q\"}", ERR_INVALID,
	       ":2: the line: \"answers\" is missing (a list)");
	refuse(folder, GOOD "{\"prompt\":\"q\",\"answers\":[]}", ERR_INVALID,
	       ":2: \"answers\" is empty");
	refuse(folder, GOOD "{\"prompt\":\"q\",\"answers\":[5]}", ERR_INVALID,
	       ":2: an answer is not a text");
	refuse(folder, GOOD "{\"prompt\":5,\"answers\":[\"a\"]}", ERR_INVALID,
	       ":2: a prompt is a text or an object with \"messages\"");
	refuse(folder, GOOD "{\"prompt\":\"q\",\"answers\":[\"a\"],\"usage\":{\"input\":-1}}",
	       ERR_INVALID, ":2: usage: \"input\" is -1, outside 0 to 1000000000000");
}

static void write_gzip(const struct folder *folder, const char *name, const char *text, size_t cut)
{
	char path[256];
	gzFile file = gzopen(folder_path(folder, name, path), "wb");
	assert_non_null(file);
	assert_int_equal(gzwrite(file, text, (unsigned)strlen(text)), strlen(text));
	assert_int_equal(gzclose(file), Z_OK);
	if (cut) {
		FILE *size = fopen(path, "rb");
		fseek(size, 0, SEEK_END);
		long end = ftell(size);
		fclose(size);
		assert_int_equal(truncate(path, end - (long)cut), 0);
	}
}

static void test_gzip(void **state)
{
	const struct folder *folder = *state;
	struct err err = ERR_INIT;
	struct transcript *transcript;
	char path[256];
	write_gzip(folder, "t.jsonl.gz", small, 0);
	transcript = load(folder, "t.jsonl.gz");
	assert_answer(transcript, "one", 1, "b");
	transcript_free(transcript);
	write_gzip(folder, "cut.jsonl.gz", small, 4);
	assert_int_equal(transcript_load(folder->env, folder_path(folder, "cut.jsonl.gz", path),
					 &transcript, &err),
			 ERR_CORRUPT);
	assert_non_null(strstr(err.message, "damaged gzip: it ends too early"));
}

/* Lines across the reader's steps, an answer larger than a step, and many prompts. */
static void test_large(void **state)
{
	const struct folder *folder = *state;
	struct buf text = BUF_INIT((size_t)64 << 20);
	char *big = malloc(1000001);
	memset(big, 'x', 1000000);
	big[1000000] = '\0';
	buf_printf(&text, "{\"prompt\":\"big\",\"answers\":[\"%s\"]}\n", big);
	for (int i = 0; i < 20000; i++)
		buf_printf(&text, "{\"prompt\":\"p%d\",\"answers\":[\"answer %d\"]}\n", i, i);
	folder_write(folder, "large.jsonl", text.data, text.size);
	struct transcript *transcript = load(folder, "large.jsonl");
	assert_int_equal(transcript_prompts(transcript), 20001);
	assert_answer(transcript, "big", 0, big);
	for (int i = 0; i < 20000; i += 501) {
		char prompt[16], answer[32];
		snprintf(prompt, sizeof(prompt), "p%d", i);
		snprintf(answer, sizeof(answer), "answer %d", i);
		assert_answer(transcript, prompt, 0, answer);
	}
	transcript_free(transcript);
	buf_release(&text);
	free(big);
}

struct asker {
	struct transcript *transcript;
	uint8_t digest[SHA256_SIZE];
	unsigned counts[4];
};

static void *ask(void *argument)
{
	struct asker *asker = argument;
	for (unsigned i = 0; i < 4000; i++) {
		struct transcript_answer answer;
		transcript_next(asker->transcript, asker->digest, &answer);
		asker->counts[answer.text.data[0] - 'a']++;
	}
	return NULL;
}

/* Threads share the turn: together every answer is given equally often. */
static void test_threads(void **state)
{
	const struct folder *folder = *state;
	pthread_t threads[4];
	struct asker askers[4];
	folder_write_text(folder, "t.jsonl", small);
	struct transcript *transcript = load(folder, "t.jsonl");
	for (unsigned i = 0; i < 4; i++) {
		askers[i] = (struct asker){.transcript = transcript};
		digest_of("one", askers[i].digest);
		assert_int_equal(pthread_create(&threads[i], NULL, ask, &askers[i]), 0);
	}
	unsigned totals[4] = {0};
	for (unsigned i = 0; i < 4; i++) {
		pthread_join(threads[i], NULL);
		for (unsigned k = 0; k < 4; k++)
			totals[k] += askers[i].counts[k];
	}
	for (unsigned k = 0; k < 4; k++)
		assert_int_equal(totals[k], 4000);
	transcript_free(transcript);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_answers_in_turn, folder_setup,
						folder_teardown),
		cmocka_unit_test_setup_teardown(test_refused, folder_setup, folder_teardown),
		cmocka_unit_test_setup_teardown(test_gzip, folder_setup, folder_teardown),
		cmocka_unit_test_setup_teardown(test_large, folder_setup, folder_teardown),
		cmocka_unit_test_setup_teardown(test_threads, folder_setup, folder_teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
