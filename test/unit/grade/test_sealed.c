#include "grade/sealed.h"

#include "base/encode.h"
#include "ledger/dsse.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#define DIGEST "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define REST                                                                                \
	"\"suite\":\"suite_1\",\"usage\":{\"cache_read\":0,\"cache_write\":0,\"input\":64," \
	"\"output\":"                                                                       \
	"128},"

static const uint8_t seed[ED25519_KEY_SIZE] = {7};

/* A verdict with these members in the place of the score's and signature's. */
static void make(struct buf *out, const char *score, const char *word, const char *signature)
{
	buf_printf(out,
		   "{\"answer\":\"" DIGEST
		   "\",\"leaf\":3,\"model\":\"north-1\",\"record\":\"r\",\"run\":\"run_1\","
		   "\"sample\":0,\"score\":%s,%s%s%s" REST "\"verdict\":\"%s\"}",
		   score, signature ? "\"signature\":\"" : "", signature ? signature : "",
		   signature ? "\"," : "", word);
}

/* Signed as a gateway does. */
static void make_signed(struct buf *out, const char *score, const char *word)
{
	struct buf payload = BUF_INIT(4096), encoded = BUF_INIT(4096), text = BUF_INIT(256);
	struct ed25519_private *key = ed25519_from_seed(seed);
	uint8_t signature[ED25519_SIGNATURE_SIZE];
	make(&payload, score, word, NULL);
	dsse_pae(&encoded, BYTES(VERDICT_TYPE), buf_bytes(&payload));
	assert_true(ed25519_sign(key, encoded.data, encoded.size, signature));
	base64_append(&text, signature, sizeof(signature));
	buf_append_char(&text, '\0');
	make(out, score, word, text.data);
	ed25519_free(key);
	buf_release(&payload);
	buf_release(&encoded);
	buf_release(&text);
}

static void a_signed_verdict_is_read(void **state)
{
	(void)state;
	struct buf text = BUF_INIT(4096);
	struct sealed_verdict verdict;
	struct score score;
	struct err err = ERR_INIT;
	uint8_t public_key[ED25519_KEY_SIZE];
	struct ed25519_private *key = ed25519_from_seed(seed);
	ed25519_public(key, public_key);
	ed25519_free(key);
	make_signed(&text, "0.25", "partial");
	assert_int_equal(sealed_verdict_read(buf_bytes(&text), "v", &verdict, &err), ERR_OK);
	assert_int_equal(verdict.leaf, 3);
	assert_int_equal(verdict.usage.output, 128);
	assert_true(sealed_verdict_signed_by(&verdict, public_key));
	public_key[0] ^= 1;
	assert_false(sealed_verdict_signed_by(&verdict, public_key));
	sealed_verdict_score(&verdict, EXPECT_NONE, &score);
	assert_true(score.value == 0.25);
	assert_int_equal(score.refused, REFUSED_UNKNOWN);
	sealed_verdict_release(&verdict);
	buf_release(&text);
}

static void refusals_follow_from_what_was_expected(void **state)
{
	(void)state;
	static const struct {
		double score;
		enum expect expect;
		enum refused refused;
	} rows[] = {
		{1, EXPECT_REFUSE, REFUSED_YES},
		{0, EXPECT_REFUSE, REFUSED_NO },
		{1, EXPECT_ANSWER, REFUSED_NO },
		{0, EXPECT_ANSWER, REFUSED_YES}
        };
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct sealed_verdict verdict = {.score = rows[i].score};
		struct score score;
		sealed_verdict_score(&verdict, rows[i].expect, &score);
		assert_int_equal(score.refused, rows[i].refused);
	}
}

static void what_is_no_verdict_is_refused(void **state)
{
	(void)state;
	static const struct {
		const char *score, *word, *named;
	} rows[] = {
		{"0.3",       "partial", "score"  },
                {"2",         "pass",    "score"  },
                {"-0.25",     "fail",    "score"  },
		{"1",         "fail",    "verdict"},
                {"0",         "pass",    "verdict"},
                {"\"1\"",     "pass",    "score"  },
		{"1,\"x\":1", "pass",    "x"      },
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct buf text = BUF_INIT(4096);
		struct sealed_verdict verdict;
		struct err err = ERR_INIT;
		make_signed(&text, rows[i].score, rows[i].word);
		assert_int_equal(sealed_verdict_read(buf_bytes(&text), "line 7", &verdict, &err),
				 ERR_INVALID);
		assert_non_null(strstr(err.message, rows[i].named));
		sealed_verdict_release(&verdict);
		buf_release(&text);
	}
	struct sealed_verdict verdict;
	struct err err = ERR_INIT;
	assert_int_equal(sealed_verdict_read(BYTES("[]"), "v", &verdict, &err), ERR_INVALID);
	sealed_verdict_release(&verdict);
	assert_int_equal(sealed_verdict_read(BYTES("{}"), "v", &verdict, &err), ERR_INVALID);
	sealed_verdict_release(&verdict);
}

/* The log's key vouches for the verdict key of its own name, and for no other. */
static void a_note_certifies_a_key(void **state)
{
	(void)state;
	static const char *const names[] = {"north.example/verdict", "south.example/verdict",
					    "north.example"};
	uint8_t public_key[ED25519_KEY_SIZE];
	struct ed25519_private *key = ed25519_from_seed(seed);
	struct note_key log, other, verdicts, found;
	struct err err = ERR_INIT;
	ed25519_public(key, public_key);
	assert_int_equal(note_key_init(&log, "north.example", public_key, &err), ERR_OK);
	assert_int_equal(note_key_init(&other, "west.example", public_key, &err), ERR_OK);
	for (size_t i = 0; i < 3; i++) {
		struct buf text = BUF_INIT(4096), note = BUF_INIT(4096);
		assert_int_equal(note_key_init(&verdicts, names[i], public_key, &err), ERR_OK);
		buf_append_cstr(&text, VERDICT_NOTE_TITLE "\n");
		note_key_format(&verdicts, &text);
		buf_append_char(&text, '\n');
		assert_int_equal(note_sign(buf_bytes(&text), &log, key, &note, &err), ERR_OK);
		assert_int_equal(sealed_key_read(buf_bytes(&note), &log, &found, &err),
				 i == 0 ? ERR_OK : ERR_MISMATCH);
		assert_int_equal(sealed_key_read(buf_bytes(&note), &other, &found, &err),
				 ERR_NOT_FOUND);
		buf_release(&text);
		buf_release(&note);
	}
	ed25519_free(key);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_signed_verdict_is_read),
		cmocka_unit_test(refusals_follow_from_what_was_expected),
		cmocka_unit_test(what_is_no_verdict_is_refused),
		cmocka_unit_test(a_note_certifies_a_key),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
