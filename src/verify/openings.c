#include "verify/openings.h"

#include "base/encode.h"
#include "base/json.h"
#include "verify/receipts.h"

#include <stdio.h>
#include <stdlib.h>

struct run_openings {
	char run[RECEIPT_ID_TEXT];
	unsigned log;
	bool promised, told, has_key_digest;
	/* Of its beginning: digests, and how many leaves. */
	uint8_t evaluator_digest[SHA256_SIZE], gateway_digest[SHA256_SIZE], key_digest[SHA256_SIZE];
	int64_t leaves;
	/* Of its end. */
	uint8_t evaluator[SHA256_SIZE], key[SHA256_SIZE];
	bool chosen, by_seeds;
	struct openings choice;
};

/* ---- what records say ---- */

static struct run_openings *find(struct opening_book *book, unsigned log, const char *run)
{
	for (size_t i = 0; i < book->run_count; i++)
		if (book->runs[i].log == log && strcmp(book->runs[i].run, run) == 0)
			return &book->runs[i];
	return NULL;
}

static struct run_openings *row_of(struct opening_book *book, unsigned log, const char *run)
{
	struct run_openings *row = find(book, log, run);
	if (row)
		return row;
	if (book->run_count == RECEIPT_RUNS_MAX)
		return NULL;
	struct run_openings *grown = reallocarray(book->runs, book->run_count + 1, sizeof(*grown));
	if (!grown)
		return NULL;
	book->runs = grown;
	row = &grown[book->run_count++];
	*row = (struct run_openings){.log = log};
	snprintf(row->run, sizeof(row->run), "%s", run);
	return row;
}

static enum err_code read_hex(const json_t *object, const char *key, bool *found,
			      uint8_t out[static SHA256_SIZE], struct err *err)
{
	const char *text;
	if (found) {
		ERR_TRY(json_get_string_or(object, key, "openings", NULL, &text, err));
		*found = text != NULL;
		if (!text)
			return ERR_OK;
	} else {
		ERR_TRY(json_get_string(object, key, "openings", &text, err));
	}
	if (!hex_decode(bytes_from(text), out, SHA256_SIZE))
		return ERR_SET(err, ERR_INVALID, "openings: %s: must have 64 hexadecimal digits",
			       key);
	return ERR_OK;
}

static enum err_code read_promise(struct run_openings *row, const json_t *openings, struct err *err)
{
	row->promised = true;
	ERR_TRY(read_hex(openings, "evaluator", NULL, row->evaluator_digest, err));
	ERR_TRY(read_hex(openings, "gateway", NULL, row->gateway_digest, err));
	ERR_TRY(read_hex(openings, "key", &row->has_key_digest, row->key_digest, err));
	return json_get_integer(openings, "leaves", "openings", 0, UINT32_MAX, &row->leaves, err);
}

static enum err_code read_end(struct run_openings *row, const json_t *openings, struct err *err)
{
	row->told = true;
	ERR_TRY(read_hex(openings, "evaluator", NULL, row->evaluator, err));
	return read_hex(openings, "key", NULL, row->key, err);
}

static enum err_code add_seed(struct opening_book *book, const json_t *detail, struct err *err)
{
	uint8_t seed[SHA256_SIZE];
	bool found;
	ERR_TRY(read_hex(detail, "opening_seed", &found, seed, err));
	if (!found)
		return ERR_OK;
	if (book->seed_count == RECEIPT_RUNS_MAX)
		return ERR_SET(err, ERR_TOO_LARGE, "there are more than %u opening seeds",
			       RECEIPT_RUNS_MAX);
	void *grown = reallocarray(book->seeds, book->seed_count + 1, SHA256_SIZE);
	if (!grown)
		return ERR_SET(err, ERR_NO_MEMORY, "out of memory for receipts");
	book->seeds = grown;
	memcpy(book->seeds[book->seed_count++], seed, SHA256_SIZE);
	return ERR_OK;
}

enum err_code opening_book_take(struct opening_book *book, const struct receipt *receipt,
				struct err *err)
{
	const char *act, *run;
	const json_t *detail = json_object_get(receipt->record, "detail");
	const json_t *openings = json_object_get(detail, "openings");
	ERR_TRY(json_get_string_or(receipt->record, "act", "record", "", &act, err));
	ERR_TRY(json_get_string_or(receipt->record, "run", "record", "", &run, err));
	bool opens = strcmp(act, "run.open") == 0, closes = strcmp(act, "run.close") == 0;
	if (closes)
		ERR_TRY(add_seed(book, detail, err));
	if (!openings || (!opens && !closes))
		return ERR_OK;
	if (strlen(run) >= RECEIPT_ID_TEXT)
		return ERR_SET(err, ERR_TOO_LARGE, "record: the name of a run is too long");
	struct run_openings *row = row_of(book, receipt->log, run);
	if (!row)
		return ERR_SET(err, ERR_NO_MEMORY, "out of memory for receipts");
	if (opens ? row->promised : row->told)
		return ERR_SET(err, ERR_MISMATCH, "run %.64s has two records of its %s", run,
			       opens ? "beginning" : "end");
	return opens ? read_promise(row, openings, err) : read_end(row, openings, err);
}

void opening_book_release(struct opening_book *book)
{
	free(book->runs);
	free(book->seeds);
	*book = (struct opening_book){0};
}

/* ---- what was to be opened ---- */

static bool digest_is(const uint8_t *data, const uint8_t digest[static SHA256_SIZE])
{
	uint8_t found[SHA256_SIZE];
	sha256_of(data, SHA256_SIZE, found);
	return memcmp(found, digest, SHA256_SIZE) == 0;
}

/* The key as the seeds make it, where the gateway's was told in any of the receipts. */
static enum err_code check_seeds(const struct opening_book *book, struct run_openings *row,
				 struct err *err)
{
	uint8_t key[SHA256_SIZE];
	for (size_t i = 0; i < book->seed_count && !row->by_seeds; i++) {
		if (!digest_is(book->seeds[i], row->gateway_digest))
			continue;
		openings_key(book->seeds[i], row->evaluator, key);
		if (memcmp(key, row->key, SHA256_SIZE) != 0)
			return ERR_SET(err, ERR_MISMATCH,
				       "run %.64s: what its openings were chosen by is not what "
				       "the seeds of both sides give",
				       row->run);
		row->by_seeds = true;
	}
	return ERR_OK;
}

static enum err_code choose(const struct opening_book *book, struct run_openings *row,
			    const struct opening_ask *ask, struct err *err)
{
	if (!digest_is(row->evaluator, row->evaluator_digest) ||
	    (row->has_key_digest && !digest_is(row->key, row->key_digest)))
		return ERR_SET(err, ERR_MISMATCH,
			       "run %.64s: what its end tells of the openings is not what was "
			       "committed to when it was opened",
			       row->run);
	ERR_TRY(check_seeds(book, row, err));
	if (row->leaves > ask->leaves)
		return ERR_SET(err, ERR_MISMATCH, "run %.64s: %lld openings of %u leaves", row->run,
			       (long long)row->leaves, ask->leaves);
	ERR_TRY(openings_choose(&row->choice, row->key, (uint32_t)row->leaves, ask->leaves,
				ask->samples, err));
	row->chosen = true;
	return ERR_OK;
}

enum err_code opening_book_check(struct opening_book *book, const struct opening_ask *ask,
				 enum opening_known *known, struct err *err)
{
	struct run_openings *row = find(book, ask->log, ask->run);
	*known = OPENING_UNKNOWN;
	if (!row || !row->promised || !row->told || ask->samples == 0)
		return ERR_OK;
	if (!row->chosen)
		ERR_TRY(choose(book, row, ask, err));
	if (!row->has_key_digest && !row->by_seeds)
		return ERR_OK;
	*known = row->by_seeds ? OPENING_BY_SEEDS : OPENING_BY_KEY;
	if (openings_has(&row->choice, ask->leaf, ask->sample + 1) == ask->opened)
		return ERR_OK;
	return ERR_SET(err, ERR_MISMATCH,
		       ask->opened ? "sample %u of leaf %u was opened, and the seeds of both sides "
				     "did not choose it"
				   : "sample %u of leaf %u was not opened, and the seeds of both "
				     "sides chose it",
		       ask->sample, ask->leaf);
}
