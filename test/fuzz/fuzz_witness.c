/* What a witness and its client read from strangers: requests, answers, policies, rotations of
 * keys, and the witness's own file. The keys are those of the seeds. */
#include "fuzz.h"

#include "ledger/cosignature.h"
#include "ledger/key_rotation.h"
#include "ledger/trust_policy.h"
#include "witness/judge.h"
#include "witness/state.h"

static struct ed25519_private *key_of(uint8_t number, uint8_t public_key[static 32])
{
	uint8_t seed[32];
	memset(seed, number, sizeof(seed));
	struct ed25519_private *key = ed25519_from_seed(seed);
	FUZZ_CHECK(key);
	ed25519_public(key, public_key);
	return key;
}

static struct note_key log_key(void)
{
	uint8_t public_key[32];
	struct note_key key;
	ed25519_free(key_of(1, public_key));
	FUZZ_CHECK(note_key_init(&key, "north.example", public_key, NULL) == ERR_OK);
	return key;
}

static struct note_key witness_key(struct ed25519_private **private_key)
{
	uint8_t public_key[32];
	struct note_key key;
	*private_key = key_of(2, public_key);
	FUZZ_CHECK(note_cosigner_init(&key, "south.example/w", public_key, NULL) == ERR_OK);
	return key;
}

/* Only what is malformed is 400; what is taken reads back; nothing is cosigned that does not grow.
 */
static void read_request(struct bytes text)
{
	struct note_key key = log_key();
	struct witness_request request;
	struct err err = ERR_INIT;
	int status = witness_read(&key, 1, text, &request, &err);
	FUZZ_CHECK(status == 200 || status == 400 || status == 403 || status == 404);
	FUZZ_CHECK(status == 200 || err.message[0]);
	if (status == 400)
		return;
	struct buf again = BUF_INIT(1 << 20);
	add_checkpoint_format(&request.add, &again);
	FUZZ_CHECK(bytes_equal(text, buf_bytes(&again)));
	buf_release(&again);
	struct witness_head last = {.size = request.add.old_size, .root = request.head.root};
	int judged = witness_judge(&request, &last, &err);
	FUZZ_CHECK(judged != 200 || request.head.size >= last.size);
	FUZZ_CHECK(judged != 200 || request.head.size != last.size || request.add.count == 0);
	last.size++;
	judged = witness_judge(&request, &last, &err);
	FUZZ_CHECK(judged == 409 || judged == 400);
	judged = witness_judge(&request, NULL, &err);
	FUZZ_CHECK(judged != 200 || (request.add.old_size == 0 && request.add.count == 0));
}

/* Lines that are taken verify on the checkpoint that was asked for. */
static void read_answer(struct bytes text)
{
	static const char body[] =
		"north.example\n7\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n";
	struct ed25519_private *private_key;
	struct note_key key = witness_key(&private_key);
	struct buf lines = BUF_INIT(1 << 20), note = BUF_INIT(1 << 20);
	struct note parsed;
	struct err err = ERR_INIT;
	uint64_t size;
	if (add_checkpoint_take(bytes_from(body), text, &key, &lines, &err) == ERR_OK) {
		buf_printf(&note, "%s\n", body);
		buf_append_bytes(&note, buf_bytes(&lines));
		FUZZ_CHECK(note_parse(buf_bytes(&note), &parsed, &err) == ERR_OK);
		FUZZ_CHECK(cosignature_verify(&parsed, &key, NULL, &err) == ERR_OK);
	} else {
		FUZZ_CHECK(lines.size == 0 && err.message[0]);
	}
	if (add_checkpoint_size(text, &size))
		FUZZ_CHECK(text.size >= 2 && size <= INT64_MAX);
	buf_release(&lines);
	buf_release(&note);
	ed25519_free(private_key);
}

static void read_policy(struct bytes text)
{
	struct trust_policy *policy;
	struct trust_finding finding;
	struct err err = ERR_INIT;
	struct note note = {.text = BYTES("north.example\n"), .count = 0};
	if (trust_policy_parse(text, &policy, &err) != ERR_OK) {
		FUZZ_CHECK(!policy && err.message[0]);
		return;
	}
	FUZZ_CHECK(policy->node_count <= TRUST_NODES_MAX && policy->log_count <= TRUST_LOGS_MAX);
	/* Nobody has signed: that is enough only where nothing is asked for. */
	FUZZ_CHECK(trust_policy_evaluate(policy, &note, &finding, &err) == ERR_OK);
	FUZZ_CHECK(finding.cosigned == 0);
	FUZZ_CHECK(finding.quorum == (policy->quorum == TRUST_NOBODY));
	free(policy);
}

static void read_rotation(struct bytes text)
{
	struct bytes rest = text;
	size_t total = 0;
	for (unsigned i = 0; i < 100 && rest.size > 0; i++) {
		struct key_rotation rotation;
		struct err err = ERR_INIT;
		struct bytes note = key_rotation_next(rest, &rest);
		FUZZ_CHECK(note.size > 0);
		total += note.size;
		if (key_rotation_open(note, &rotation, &err) == ERR_OK)
			FUZZ_CHECK(!strcmp(rotation.from.name, rotation.to.name));
		else
			FUZZ_CHECK(err.message[0]);
	}
	FUZZ_CHECK(rest.size > 0 || total == text.size);
}

static void read_state(struct bytes text)
{
	static const char name[] = "cosigned";
	struct witness_head heads[4];
	struct err err = ERR_INIT;
	size_t count;
	if (witness_state_parse(text, name, heads, 4, &count, &err) == ERR_OK)
		for (size_t i = 1; i < count; i++)
			FUZZ_CHECK(strcmp(heads[i].origin, heads[0].origin) != 0);
	else
		FUZZ_CHECK(bytes_starts_with(bytes_from(err.message), bytes_from(name)));
	FUZZ_CHECK(count <= 4);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const readers[])(struct bytes) = {read_request, read_answer, read_policy,
							read_rotation, read_state};
	struct bytes input = fuzz_input(data, size);
	unsigned choice = fuzz_take(&input) % 5;
	struct bytes copy = fuzz_copy(input);
	readers[choice](copy);
	free((char *)copy.data);
	return 0;
}
