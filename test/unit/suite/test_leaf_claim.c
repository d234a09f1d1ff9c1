/* The field `parley-leaf`: policy's own reading and verification of it, held against the tree that
 * makes the proofs. */
#include "policy/leaf_claim.h"

#include "base/encode.h"
#include "base/prng.h"
#include "base/sanitized.h"
#include "suite/leaf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#define COUNT_MAX 66u
#define ROUNDS (SANITIZED ? 3000 : 20000)

struct grove {
	struct leaf_tree *tree;
	struct leaf_salter salter;
	uint8_t root[SHA256_SIZE];
};

static struct bytes words_of(size_t index, char text[static 32])
{
	snprintf(text, 32, "words %zu", index);
	return bytes_from(text);
}

static void grow(struct grove *grove, size_t count)
{
	static const uint8_t seed[LEAF_SEED_SIZE] = {7};
	uint8_t salt[LEAF_SALT_SIZE], data[LEAF_DATA_SIZE];
	char text[32];
	grove->tree = leaf_tree_new();
	leaf_salter_init(&grove->salter, seed);
	for (size_t i = 0; i < count; i++) {
		leaf_salt(&grove->salter, i, salt);
		leaf_data(salt, words_of(i, text), BYTES("grading"), data);
		assert_true(leaf_tree_add(grove->tree, data));
	}
	leaf_tree_root(grove->tree, grove->root);
}

static void write_field(const struct grove *grove, size_t index, struct buf *out)
{
	struct merkle_hash proof[MERKLE_PROOF_MAX];
	uint8_t salt[LEAF_SALT_SIZE], grading[SHA256_SIZE];
	leaf_salt(&grove->salter, index, salt);
	leaf_half(salt, BYTES("grading"), grading);
	size_t count = leaf_tree_prove(grove->tree, index, proof);
	buf_clear(out);
	buf_printf(out, "suite_1;%zu;", index);
	base64_append(out, salt, sizeof(salt));
	buf_append_char(out, ';');
	base64_append(out, grading, sizeof(grading));
	buf_append_char(out, ';');
	base64_append(out, proof, count * sizeof(*proof));
}

static bool holds(struct bytes field, const char *words, size_t count, const uint8_t *root)
{
	struct leaf_claim claim;
	if (leaf_claim_parse(field, &claim))
		return false;
	leaf_claim_set_words(&claim, bytes_from(words));
	return leaf_claim_verify(&claim, count, root);
}

static void every_leaf_of_every_small_tree(void **state)
{
	(void)state;
	struct buf field = BUF_INIT(4096);
	char text[32], other[32];
	for (size_t count = 1; count <= COUNT_MAX; count++) {
		struct grove grove;
		grow(&grove, count);
		for (size_t i = 0; i < count; i++) {
			write_field(&grove, i, &field);
			words_of(i, text);
			words_of(i + 1, other);
			assert_true(holds(buf_bytes(&field), text, count, grove.root));
			assert_false(holds(buf_bytes(&field), other, count, grove.root));
			assert_false(holds(buf_bytes(&field), text, count * 2 + 1, grove.root));
			grove.root[31] ^= 1;
			assert_false(holds(buf_bytes(&field), text, count, grove.root));
			grove.root[31] ^= 1;
		}
		leaf_tree_free(grove.tree);
	}
	buf_release(&field);
}

/* Whatever is changed, both implementations say the same. */
static void the_same_verdict_as_the_tree(void **state)
{
	(void)state;
	struct prng prng = {.state = 11};
	struct buf field = BUF_INIT(4096);
	unsigned good = 0;
	for (int round = 0; round < ROUNDS; round++) {
		struct grove grove;
		struct leaf_claim claim;
		struct merkle_hash proof[LEAF_CLAIM_PROOF_MAX];
		uint8_t data[LEAF_DATA_SIZE];
		char text[32];
		size_t count = 1 + prng_below(&prng, 20), claimed = count;
		size_t index = prng_below(&prng, count);
		grow(&grove, count);
		write_field(&grove, index, &field);
		assert_null(leaf_claim_parse(buf_bytes(&field), &claim));
		leaf_claim_set_words(&claim, words_of(index, text));
		switch (prng_below(&prng, 5)) {
		case 0:
			claim.index = prng_below(&prng, 24);
			break;
		case 1:
			claimed = 1 + prng_below(&prng, 24);
			break;
		case 2:
			claim.proof_count = (unsigned)prng_below(&prng, 7);
			break;
		case 3:
			claim.proof[prng_below(&prng, 5)][prng_below(&prng, 32)] ^= 4;
			break;
		default:
			break;
		}
		memcpy(data, claim.words, SHA256_SIZE);
		memcpy(data + SHA256_SIZE, claim.grading, SHA256_SIZE);
		memcpy(proof, claim.proof, sizeof(claim.proof));
		bool expected = leaf_verify(data, claim.index, claimed, proof, claim.proof_count,
					    grove.root);
		assert_int_equal(leaf_claim_verify(&claim, claimed, grove.root), expected);
		good += expected;
		leaf_tree_free(grove.tree);
	}
	assert_true(good > ROUNDS / 5 && good < ROUNDS * 4 / 5);
	buf_release(&field);
}

static void fields_with_faults(void **state)
{
	(void)state;
	static const char salt[] = "AAAAAAAAAAAAAAAAAAAAAA==";
	static const char hash[] = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
	char field[512];
	struct leaf_claim claim;
	snprintf(field, sizeof(field), "suite_1; 3 ;%s;%s;", salt, hash);
	assert_null(leaf_claim_parse(bytes_from(field), &claim));
	assert_int_equal(claim.index, 3);
	assert_int_equal(claim.proof_count, 0);
	snprintf(field, sizeof(field), "suite_1;3;%s;%s;%s", salt, hash, hash);
	assert_null(leaf_claim_parse(bytes_from(field), &claim));
	assert_int_equal(claim.proof_count, 1);
	static const struct {
		const char *shape, *word;
	} rows[] = {
		{"suite_1;3",          "must be"},
                {";3;%s;%s;",          "id"     },
		{"suite_1;-3;%s;%s;",  "index"  },
                {"suite_1;x;%s;%s;",   "index"  },
		{"suite_1;3;A%s;%s;",  "salt"   },
                {"suite_1;3;%s;%s=;",  "grading"},
		{"suite_1;3;%s;%s;AA", "proof"  },
                {"suite_1;3;%s;%s;;",  "proof"  },
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
		snprintf(field, sizeof(field), rows[i].shape, salt, hash);
#pragma GCC diagnostic pop
		const char *problem = leaf_claim_parse(bytes_from(field), &claim);
		assert_non_null(problem);
		assert_non_null(strstr(problem, rows[i].word));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_leaf_of_every_small_tree),
		cmocka_unit_test(the_same_verdict_as_the_tree),
		cmocka_unit_test(fields_with_faults),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
