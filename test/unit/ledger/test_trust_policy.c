/* tlog-policy files: what is read, what is refused, and which cosignatures are enough. */
#include "check.h"

#include "ledger/checkpoint.h"
#include "ledger/cosignature.h"
#include "ledger/trust_policy.h"

#include <stdlib.h>
#include <string.h>

#define WITNESSES 4

struct people {
	struct ed25519_private *private_keys[WITNESSES];
	struct note_key keys[WITNESSES];
	struct buf vkeys[WITNESSES], log;
};

static int make_people(void **state)
{
	static struct people people;
	uint8_t seed[32] = {0}, public_key[32];
	for (int i = 0; i < WITNESSES; i++) {
		char name[32];
		seed[0] = (uint8_t)(i + 1);
		people.private_keys[i] = ed25519_from_seed(seed);
		ed25519_public(people.private_keys[i], public_key);
		snprintf(name, sizeof(name), "w%d.example", i);
		if (note_cosigner_init(&people.keys[i], name, public_key, NULL) != ERR_OK)
			return 1;
		buf_init(&people.vkeys[i], 1024);
		note_key_format(&people.keys[i], &people.vkeys[i]);
	}
	struct note_key log;
	if (note_key_init(&log, "north.example", public_key, NULL) != ERR_OK)
		return 1;
	buf_init(&people.log, 1024);
	note_key_format(&log, &people.log);
	*state = &people;
	return 0;
}

static int free_people(void **state)
{
	struct people *people = *state;
	for (int i = 0; i < WITNESSES; i++) {
		ed25519_free(people->private_keys[i]);
		buf_release(&people->vkeys[i]);
	}
	buf_release(&people->log);
	return 0;
}

/* A policy with the keys put in for @0 to @3 and @L. */
static struct buf write_policy(const struct people *people, const char *template)
{
	struct buf out = BUF_INIT(TRUST_TEXT_MAX);
	for (const char *at = template; *at; at++) {
		if (at[0] == '@' && at[1] == 'L')
			buf_append_bytes(&out, buf_bytes(&people->log));
		else if (at[0] == '@')
			buf_append_bytes(&out, buf_bytes(&people->vkeys[at[1] - '0']));
		else
			buf_append_char(&out, *at);
		at += at[0] == '@';
	}
	return out;
}

static struct trust_policy *read_policy(const struct people *people, const char *template)
{
	struct trust_policy *policy;
	struct err err = ERR_INIT;
	struct buf text = write_policy(people, template);
	assert_works(trust_policy_parse(buf_bytes(&text), &policy, &err), &err);
	buf_release(&text);
	return policy;
}

/* A checkpoint with cosignatures of those whose bit is set. */
static struct buf cosign(const struct people *people, unsigned who)
{
	static const char body[] =
		"north.example\n1\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n";
	struct buf out = BUF_INIT(NOTE_SIZE_MAX);
	struct err err = ERR_INIT;
	buf_printf(&out, "%s\n\xe2\x80\x94 stranger AAAAAAAA\n", body);
	for (int i = 0; i < WITNESSES; i++)
		if (who >> i & 1)
			assert_works(cosignature_sign(bytes_from(body), &people->keys[i],
						      people->private_keys[i], 1790000000u + i,
						      &out, &err),
				     &err);
	return out;
}

static struct trust_finding evaluate(const struct people *people, const struct trust_policy *policy,
				     unsigned who)
{
	struct trust_finding finding;
	struct note note;
	struct err err = ERR_INIT;
	struct buf text = cosign(people, who);
	assert_works(note_parse(buf_bytes(&text), &note, &err), &err);
	assert_works(trust_policy_evaluate(policy, &note, &finding, &err), &err);
	buf_release(&text);
	return finding;
}

/* Every set of witnesses against what the policy's words say. */
static void test_quorums(void **state)
{
	static const char groups[] = "# whom we trust\n"
				     "log @L https://north.example/log\n\n"
				     "  witness A @0 https://w0.example/\n"
				     "\twitness\tB @1\n"
				     "witness C @2\n"
				     "witness D @3\n";
	static const char *const rows[] = {
		"quorum none\n",
		"quorum C\n",
		"group g any A B\nquorum g\n",
		"group g all A B D\nquorum g\n",
		"group g 2 A B C\nquorum g\n",
		"group g 2 A B C\ngroup h all g D\nquorum h\n",
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char template[1024];
		snprintf(template, sizeof(template), "%s%s", groups, rows[i]);
		struct trust_policy *policy = read_policy(*state, template);
		assert_int_equal(policy->log_count, 1);
		for (unsigned who = 0; who < 16; who++) {
			bool a = who & 1, b = who & 2, c = who & 4, d = who & 8;
			const bool expected[] = {
				true, c, a || b, a && b && d, a + b + c >= 2, a + b + c >= 2 && d};
			struct trust_finding finding = evaluate(*state, policy, who);
			if (finding.quorum != expected[i])
				fail_msg("%s with %u", rows[i], who);
			assert_int_equal(finding.cosigned, a + b + c + d);
			assert_int_equal(finding.witnesses, 4);
			assert_int_equal(finding.by[1], b);
			if (b)
				assert_int_equal(finding.time_s[1], 1790000001);
		}
		free(policy);
	}
}

/* A witness that is known and signed wrongly spoils the checkpoint, quorum or not. */
static void test_wrong_cosignature(void **state)
{
	struct people *people = *state;
	struct trust_policy *policy =
		read_policy(people, "witness A @0\nwitness B @1\ngroup g any A B\nquorum g\n");
	struct buf text = cosign(people, 3);
	struct trust_finding finding;
	struct note note;
	struct err err = ERR_INIT;
	text.data[text.size - 6] = text.data[text.size - 6] == 'A' ? 'B' : 'A';
	assert_works(note_parse(buf_bytes(&text), &note, &err), &err);
	assert_int_equal(trust_policy_evaluate(policy, &note, &finding, &err), ERR_MISMATCH);
	buf_release(&text);
	free(policy);
}

static void test_refused(void **state)
{
	static const struct {
		const char *template, *message;
	} rows[] = {
		{"",						       "there is no line \"quorum"                        },
		{"log @L\n",					       "there is no line \"quorum"                        },
		{"quorum none\nquorum none\n",                             "line 2: a second quorum"                          },
		{"quorum A\nwitness A @0\n",                               "line 1: no line above defines \"A\""              },
		{"witness A @0\nwitness A @1\nquorum A\n",                 "line 2: the name is taken"                        },
		{"witness none @0\nquorum none\n",                         "the name is taken"                                },
		{"witness A @0\nwitness B @0\nquorum A\n",                 "key stands here twice"                            },
		{"log @L\nlog @L\nquorum none\n",                          "key stands here twice"                            },
		{"witness A @L\nquorum A\n",
		 "line 1: the verifier key of \"north.example\" is not"                                                       },
		{"log @0\nquorum none\n",                                  "line 1: the verifier key of \"w0.example\" is not"},
		{"witness A\nquorum A\n",                                  "not a verifier key"                               },
		{"witness\nquorum none\n",                                 "1 to 255 bytes"                                   },
		{"witness A @0 url more\nquorum A\n",                      "too much: \"more\""                               },
		{"quorum none more\n",                                     "too much: \"more\""                               },
		{"group g any\nquorum g\n",                                "no members"                                       },
		{"witness A @0\ngroup g 2 A\nquorum g\n",                  "fewer members than \"2\""                         },
		{"witness A @0\ngroup g 0 A\nquorum g\n",                  "from 1 on: \"0\""                                 },
		{"witness A @0\ngroup g 01 A\nquorum g\n",                 "from 1 on: \"01\""                                },
		{"witness A @0\ngroup g some A\nquorum g\n",               "from 1 on: \"some\""                              },
		{"witness A @0\ngroup g any A A\nquorum g\n",              "member of a group already"                        },
		{"witness A @0\ngroup g any A\ngroup h any A\nquorum g\n", "of a group already"                               },
		{"group g any g\nquorum g\n",                              "no line above defines \"g\""                      },
		{"witness A @0\ngroup g any none\nquorum g\n",             "no line above defines \"none\""                   },
		{"wittness A @0\nquorum A\n",                              "line 1: neither log, witness, group nor quorum"   },
		{"quorum none\r\n",					"control character"                                },
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct trust_policy *policy;
		struct err err = ERR_INIT;
		struct buf text = write_policy(*state, rows[i].template);
		enum err_code code = trust_policy_parse(buf_bytes(&text), &policy, &err);
		if (code == ERR_OK || !strstr(err.message, rows[i].message))
			fail_msg("%s: \"%s\", not \"%s\"", rows[i].template, err.message,
				 rows[i].message);
		assert_null(policy);
		buf_release(&text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_quorums),
		cmocka_unit_test(test_wrong_cosignature),
		cmocka_unit_test(test_refused),
	};
	return cmocka_run_group_tests(tests, make_people, free_people);
}
