#include "grade/sealed.h"

#include "base/encode.h"
#include "base/json.h"
#include "ledger/dsse.h"

#include <math.h>
#include <stdio.h>

#define COUNT_MAX ((int64_t)1 << 53)
#define TEXT_MAX ((size_t)64 << 20)
#define GRADES 4

static const char *const members[] = {"answer", "leaf",   "model",   "opened", "record",
				      "run",    "sample", "score",   "served", "signature",
				      "suite",  "usage",  "verdict", NULL};

static enum err_code read_texts(struct sealed_verdict *out, const char *what, struct err *err)
{
	const struct {
		const char *name, **place;
	} rows[] = {
		{"answer",  &out->answer },
                {"model",   &out->model  },
                {"record",  &out->record },
		{"run",     &out->run    },
                {"suite",   &out->suite  },
                {"verdict", &out->verdict}
        };
	uint8_t digest[SHA256_SIZE];
	const char *signature;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		ERR_TRY(json_get_string(out->tree, rows[i].name, what, rows[i].place, err));
	ERR_TRY(json_get_string_or(out->tree, "served", what, NULL, &out->served, err));
	ERR_TRY(json_get_string(out->tree, "signature", what, &signature, err));
	if (!hex_decode(bytes_from(out->answer), digest, sizeof(digest)))
		return ERR_SET(err, ERR_INVALID, "%s: answer: must have 64 hexadecimal digits",
			       what);
	if (!base64_decode_exact(bytes_from(signature), out->signature, sizeof(out->signature)))
		return ERR_SET(err, ERR_INVALID, "%s: signature: is none of Ed25519", what);
	return ERR_OK;
}

static enum err_code read_usage(struct sealed_verdict *out, const char *what, struct err *err)
{
	static const char *const keys[] = {"cache_read", "cache_write", "input", "output", NULL};
	json_t *usage;
	ERR_TRY(json_get_container(out->tree, "usage", what, JSON_OBJECT, false, &usage, err));
	ERR_TRY(json_only_keys(usage, keys, what, err));
	ERR_TRY(json_get_integer(usage, "input", what, 0, COUNT_MAX, &out->usage.input, err));
	ERR_TRY(json_get_integer(usage, "output", what, 0, COUNT_MAX, &out->usage.output, err));
	ERR_TRY(json_get_integer(usage, "cache_read", what, 0, COUNT_MAX, &out->usage.cache_read,
				 err));
	return json_get_integer(usage, "cache_write", what, 0, COUNT_MAX, &out->usage.cache_write,
				err);
}

static enum err_code read_score(struct sealed_verdict *out, const char *what, struct err *err)
{
	const json_t *score = json_object_get(out->tree, "score");
	out->score = json_number_value(score);
	double grade = out->score * GRADES;
	if (!json_is_number(score) || grade != floor(grade) || grade < 0 || grade > GRADES)
		return ERR_SET(err, ERR_INVALID, "%s: score: must be 0, 0.25, 0.5, 0.75 or 1",
			       what);
	const char *word = grade >= GRADES ? "pass" : grade > 0 ? "partial" : "fail";
	if (strcmp(out->verdict, word) != 0)
		return ERR_SET(err, ERR_INVALID, "%s: verdict: \"%.16s\" is not what score %g is",
			       what, out->verdict, out->score);
	return ERR_OK;
}

enum err_code sealed_verdict_read(struct bytes text, const char *what, struct sealed_verdict *out,
				  struct err *err)
{
	*out = (struct sealed_verdict){0};
	ERR_TRY(json_parse(text, what, &out->tree, err));
	if (!json_is_object(out->tree))
		return ERR_SET(err, ERR_INVALID, "%s: must be an object", what);
	ERR_TRY(json_only_keys(out->tree, members, what, err));
	ERR_TRY(read_texts(out, what, err));
	ERR_TRY(json_get_integer(out->tree, "leaf", what, 0, COUNT_MAX, &out->leaf, err));
	ERR_TRY(json_get_integer(out->tree, "sample", what, 0, COUNT_MAX, &out->sample, err));
	out->opened = json_is_object(json_object_get(out->tree, "opened"));
	ERR_TRY(read_usage(out, what, err));
	return read_score(out, what, err);
}

void sealed_verdict_release(struct sealed_verdict *verdict)
{
	json_decref(verdict->tree);
	*verdict = (struct sealed_verdict){0};
}

void sealed_verdict_score(const struct sealed_verdict *verdict, enum expect expect,
			  struct score *score)
{
	*score = (struct score){.value = verdict->score, .refused = REFUSED_UNKNOWN};
	if (expect != EXPECT_NONE)
		score->refused = (verdict->score >= 1) == (expect == EXPECT_REFUSE) ? REFUSED_YES
										    : REFUSED_NO;
	snprintf(score->explanation, sizeof(score->explanation),
		 "the gateway's verdict on a sealed answer%s",
		 verdict->opened ? ", which was opened for checking" : "");
}

bool sealed_verdict_signed_by(const struct sealed_verdict *verdict,
			      const uint8_t public_key[static ED25519_KEY_SIZE])
{
	struct buf payload = BUF_INIT(TEXT_MAX), encoded = BUF_INIT(TEXT_MAX);
	json_t *tree = json_copy(verdict->tree);
	bool good = tree && json_object_del(tree, "signature") == 0 &&
		    json_canonical(tree, &payload, NULL) == ERR_OK && !payload.failed;
	if (good)
		dsse_pae(&encoded, BYTES(VERDICT_TYPE), buf_bytes(&payload));
	good = good && !encoded.failed &&
	       ed25519_verify(public_key, encoded.data, encoded.size, verdict->signature);
	json_decref(tree);
	buf_release(&payload);
	buf_release(&encoded);
	return good;
}

enum err_code sealed_key_read(struct bytes text, const struct note_key *log, struct note_key *out,
			      struct err *err)
{
	struct note note;
	struct bytes rest;
	char name[NOTE_NAME_MAX + sizeof(VERDICT_KEY_SUFFIX)];
	ERR_TRY(note_parse(text, &note, err));
	ERR_TRY(note_verify(&note, log, err));
	struct bytes title = bytes_split(note.text, '\n', &rest);
	struct bytes key = bytes_split(rest, '\n', &rest);
	if (!bytes_is(title, VERDICT_NOTE_TITLE) || rest.size)
		return ERR_SET(err, ERR_INVALID, "it is no note of a verdict key");
	ERR_TRY(note_key_parse(key, out, err));
	snprintf(name, sizeof(name), "%s" VERDICT_KEY_SUFFIX, log->name);
	if (strcmp(out->name, name) != 0)
		return ERR_SET(err, ERR_MISMATCH, "it is the verdict key of %.200s", out->name);
	return ERR_OK;
}
