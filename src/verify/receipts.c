#include "verify/receipts.h"

#include "base/encode.h"
#include "base/json.h"
#include "base/sha256.h"
#include "grade/bundle.h"
#include "verify/witnesses.h"

#include <stdio.h>
#include <stdlib.h>

#define SUFFIX ".tlog-proof"
#define ID_BYTES (RECORD_ID_SIZE / 2)
#define HEADS 256u
#define PATH_MAX_BYTES 4400u

/* An admit record (key: its id), or an outcome (key: the id of its admit record). */
struct receipt_ref {
	uint8_t key[ID_BYTES], id[ID_BYTES];
	bool used;
};

/* A checkpoint whose signature was verified already. */
struct known_head {
	uint8_t digest[SHA256_SIZE];
	struct checkpoint head;
	uint8_t key[4]; /* id of the key that signed */
	enum signer signer;
	struct trust_finding finding;
	bool known;
};

/* ---- signatures ---- */

/* Opens known->head with one of the keys that have the log's name. *named: there is such a key;
 * *found: one of them signed. */
static enum err_code open_with(const struct verify_keys *keys, struct bytes note_text,
			       struct known_head *known, bool *named, bool *found, struct err *err)
{
	const struct note_key *key;
	size_t at = 0;
	*named = *found = false;
	while (keys && (key = verify_keys_next(keys, known->head.origin, &at))) {
		struct err inner = ERR_INIT;
		struct checkpoint head;
		*named = true;
		enum err_code code = checkpoint_open(note_text, key, &head, &inner);
		if (code == ERR_NOT_FOUND)
			continue;
		if (code != ERR_OK) {
			*err = inner;
			return code;
		}
		known->head = head;
		memcpy(known->key, key->id, sizeof(known->key));
		*found = true;
		return ERR_OK;
	}
	return ERR_OK;
}

/* A log that the reader has a key of must be signed with it, whatever else the bundle says. */
static enum err_code open_head(const struct verify_keys *reader, const struct verify_keys *own,
			       struct bytes note_text, struct known_head *known, struct err *err)
{
	struct note note;
	char why[600];
	bool named, found;
	ERR_TRY(note_parse(note_text, &note, err));
	ERR_TRY(checkpoint_parse(note.text, &known->head, err));
	memcpy(known->key, note.signatures[0].id, sizeof(known->key));
	ERR_TRY(witnesses_look(reader, own, &note, &known->finding, err));
	known->signer = SIGNER_READER;
	ERR_TRY(open_with(reader, note_text, known, &named, &found, err));
	if (found)
		return ERR_OK;
	if (named)
		verify_keys_differ(reader, &note, known->head.origin, "that you gave for it", why,
				   sizeof(why));
	if (named)
		return ERR_SET(err, ERR_MISMATCH, "the checkpoint of %s is %s", known->head.origin,
			       why);
	known->signer = SIGNER_BUNDLE;
	ERR_TRY(open_with(own, note_text, known, &named, &found, err));
	if (named && !found)
		return ERR_SET(err, ERR_MISMATCH,
			       "the checkpoint of %s is not signed with the key in %s",
			       known->head.origin, BUNDLE_POLICY);
	if (!found)
		known->signer = SIGNER_NONE;
	return ERR_OK;
}

static enum err_code check_inclusion(const struct proof *proof, struct bytes record,
				     const struct checkpoint *head, struct err *err)
{
	struct merkle_hash leaf = merkle_leaf(record.data, record.size);
	if (merkle_verify_inclusion(&leaf, proof->index, head->size, proof->hashes, proof->count,
				    &head->root))
		return ERR_OK;
	return ERR_SET(err, ERR_MISMATCH, "the record is not entry %llu of the log %s of size %llu",
		       (unsigned long long)proof->index, head->origin,
		       (unsigned long long)head->size);
}

enum err_code receipt_check(const struct verify_keys *reader, const struct verify_keys *own,
			    struct bytes proof_text, struct bytes record, struct checkpoint *head,
			    enum signer *signer, struct trust_finding *finding, struct err *err)
{
	struct proof proof;
	struct known_head known = {0};
	ERR_TRY(proof_parse(proof_text, &proof, err));
	ERR_TRY(open_head(reader, own, proof.checkpoint, &known, err));
	*head = known.head;
	*signer = known.signer;
	*finding = known.finding;
	return check_inclusion(&proof, record, head, err);
}

/* open_head, remembering what was found: many receipts share a checkpoint. */
static enum err_code known_head(struct receipts *receipts, struct bytes note_text,
				const struct known_head **out, struct err *err)
{
	uint8_t digest[SHA256_SIZE];
	sha256_of(note_text.data, note_text.size, digest);
	struct known_head *place = &receipts->heads[digest[0] % HEADS];
	*out = place;
	if (place->known && memcmp(place->digest, digest, SHA256_SIZE) == 0)
		return ERR_OK;
	place->known = false;
	ERR_TRY(open_head(receipts->reader, receipts->own, note_text, place, err));
	memcpy(place->digest, digest, SHA256_SIZE);
	place->known = true;
	return ERR_OK;
}

/* ---- one receipt ---- */

static enum err_code log_number(struct receipts *receipts, const struct known_head *known,
				unsigned *out, struct err *err)
{
	for (*out = 0; *out < receipts->log_count; ++*out) {
		const struct receipt_log *log = &receipts->logs[*out];
		if (strcmp(log->origin, known->head.origin) == 0 &&
		    memcmp(log->key, known->key, sizeof(log->key)) == 0)
			return ERR_OK;
	}
	if (receipts->log_count == RECEIPT_LOGS_MAX)
		return ERR_SET(err, ERR_TOO_LARGE, "the receipts are of more than %u logs",
			       RECEIPT_LOGS_MAX);
	struct receipt_log *log = &receipts->logs[receipts->log_count++];
	memcpy(log->origin, known->head.origin, sizeof(log->origin));
	memcpy(log->key, known->key, sizeof(log->key));
	log->signer = known->signer;
	log->finding = known->finding;
	return ERR_OK;
}

/* The record says of itself who it is, and so does the proof. */
static enum err_code read_record(struct bytes text, const struct proof *proof, const char *id,
				 struct receipt *out, struct err *err)
{
	uint64_t index;
	ERR_TRY(json_parse(text, "record", &out->record, err));
	ERR_TRY(json_get_string(out->record, "id", "record", &out->id, err));
	ERR_TRY(json_get_string(out->record, "kind", "record", &out->kind, err));
	if (strcmp(out->id, id) != 0)
		return ERR_SET(err, ERR_MISMATCH, "it holds the record %.40s", out->id);
	if (!record_id_index(bytes_from(id), &index) || index != proof->index)
		return ERR_SET(err, ERR_MISMATCH,
			       "the record's id does not stand for entry %llu of a log",
			       (unsigned long long)proof->index);
	out->index = index;
	return ERR_OK;
}

static enum err_code verify_text(struct receipts *receipts, struct bytes text, const char *id,
				 struct buf *record, struct receipt *out, struct err *err)
{
	struct proof proof;
	const struct known_head *known;
	ERR_TRY(proof_parse(text, &proof, err));
	if (!base64_decode(proof.extra, record) || record->size == 0)
		return ERR_SET(err, ERR_INVALID, "its extra line holds no record");
	ERR_TRY(known_head(receipts, proof.checkpoint, &known, err));
	ERR_TRY(check_inclusion(&proof, buf_bytes(record), &known->head, err));
	ERR_TRY(read_record(buf_bytes(record), &proof, id, out, err));
	ERR_TRY(log_number(receipts, known, &out->log, err));
	out->signer = known->signer;
	struct receipt_log *log = &receipts->logs[out->log];
	if (known->head.size > log->size)
		log->size = known->head.size;
	witnesses_join(&log->finding, &known->finding);
	struct merkle_hash leaf = merkle_leaf(record->data, record->size);
	return spans_add(&receipts->spans, out->log, &proof, &leaf, &known->head, err);
}

static enum err_code load(struct receipts *receipts, const char *id, struct receipt *out,
			  struct err *err)
{
	char path[PATH_MAX_BYTES];
	struct buf text = BUF_INIT(RECEIPT_TEXT_MAX), record = BUF_INIT(RECEIPT_TEXT_MAX);
	*out = (struct receipt){0};
	snprintf(path, sizeof(path), "%s/" BUNDLE_RECEIPTS "/%s" SUFFIX, receipts->directory, id);
	enum err_code code = env_read_file(receipts->env, path, &text, err);
	if (code == ERR_OK)
		code = verify_text(receipts, buf_bytes(&text), id, &record, out, err);
	if (code != ERR_OK) {
		receipt_release(out);
		err_prefix(err, BUNDLE_RECEIPTS "/%.64s" SUFFIX, id);
	}
	buf_release(&text);
	buf_release(&record);
	return code;
}

void receipt_release(struct receipt *receipt)
{
	json_decref(receipt->record);
	*receipt = (struct receipt){0};
}

/* ---- the index ---- */

static bool refs_add(struct receipt_ref **refs, size_t *count, size_t *capacity,
		     const struct receipt_ref *ref)
{
	if (*count == *capacity) {
		size_t more = *capacity ? 2 * *capacity : 256;
		struct receipt_ref *grown = reallocarray(*refs, more, sizeof(*grown));
		if (!grown)
			return false;
		*refs = grown;
		*capacity = more;
	}
	(*refs)[(*count)++] = *ref;
	return true;
}

static enum err_code take_admit(struct receipts *receipts, const struct receipt *receipt,
				struct err *err)
{
	struct receipt_ref ref = {0};
	hex_decode(bytes_from(receipt->id), ref.id, ID_BYTES);
	memcpy(ref.key, ref.id, ID_BYTES);
	if (refs_add(&receipts->admits, &receipts->admit_count, &receipts->admit_capacity, &ref))
		return ERR_OK;
	return ERR_SET(err, ERR_NO_MEMORY, "out of memory for receipts");
}

static enum err_code take_outcome(struct receipts *receipts, const struct receipt *receipt,
				  struct err *err)
{
	struct receipt_ref ref = {0};
	const char *admit;
	ERR_TRY(json_get_string(receipt->record, "admit", receipt->id, &admit, err));
	if (strlen(admit) != RECORD_ID_SIZE || !hex_decode(bytes_from(admit), ref.key, ID_BYTES))
		return ERR_SET(err, ERR_INVALID, "%s: admit is no record id", receipt->id);
	hex_decode(bytes_from(receipt->id), ref.id, ID_BYTES);
	if (refs_add(&receipts->outcomes, &receipts->outcome_count, &receipts->outcome_capacity,
		     &ref))
		return ERR_OK;
	return ERR_SET(err, ERR_NO_MEMORY, "out of memory for receipts");
}

static enum err_code take_digest(const json_t *record, const char *key, uint8_t out[static 32],
				 bool *found, struct err *err)
{
	const char *text;
	ERR_TRY(json_get_string_or(record, key, "record", NULL, &text, err));
	*found = text != NULL;
	if (text && !hex_decode(bytes_from(text), out, 32))
		return ERR_SET(err, ERR_INVALID, "record: %s is no digest", key);
	return ERR_OK;
}

static enum err_code read_registered(const struct receipt *receipt, struct registered *out,
				     struct err *err)
{
	const char *run, *suite, *name;
	const json_t *record = receipt->record;
	const json_t *settings = json_object_get(record, "detail");
	*out = (struct registered){.is_suite = strcmp(receipt->kind, "suite") == 0,
				   .index = receipt->index,
				   .log = receipt->log,
				   .signer = receipt->signer};
	ERR_TRY(json_get_string_or(record, "run", "record", "", &run, err));
	ERR_TRY(json_get_string_or(record, "suite", "record", "", &suite, err));
	ERR_TRY(json_get_string_or(record, "name", "record", "", &name, err));
	ERR_TRY(json_get_integer_or(record, "samples", "record", 0, INT64_MAX, 0, &out->samples,
				    err));
	ERR_TRY(take_digest(record, "plan", out->plan, &out->has_plan, err));
	ERR_TRY(take_digest(record, "root", out->root, &out->has_root, err));
	out->has_settings = out->is_suite && settings;
	if (out->has_settings)
		ERR_TRY(json_canonical_digest(settings, out->settings, err));
	if (strlen(run) >= RECEIPT_ID_TEXT || strlen(suite) >= RECEIPT_ID_TEXT ||
	    strlen(name) >= sizeof(out->name))
		return ERR_SET(err, ERR_TOO_LARGE,
			       "record: the name of a run or suite is too long");
	snprintf(out->id, sizeof(out->id), "%s", out->is_suite ? suite : run);
	snprintf(out->suite, sizeof(out->suite), "%s", suite);
	snprintf(out->name, sizeof(out->name), "%s", out->is_suite ? name : "");
	snprintf(out->record, sizeof(out->record), "%s", receipt->id);
	return ERR_OK;
}

static enum err_code read_closing(const json_t *row, struct closing *out, struct err *err)
{
	const char *model;
	ERR_TRY(json_get_string(row, "model", "register", &model, err));
	ERR_TRY(json_get_integer(row, "run", "register", 1, INT64_MAX, &out->place, err));
	ERR_TRY(json_get_integer(row, "of", "register", out->place, INT64_MAX, &out->of, err));
	ERR_TRY(json_get_integer(row, "first", "register", 0, INT64_MAX, &out->first, err));
	ERR_TRY(json_get_integer(row, "re_exposed", "register", 0, INT64_MAX, &out->re_exposed,
				 err));
	if (strlen(model) >= sizeof(out->model))
		return ERR_SET(err, ERR_TOO_LARGE, "register: the name of a model is too long");
	snprintf(out->model, sizeof(out->model), "%s", model);
	return ERR_OK;
}

static enum err_code take_closing(struct receipts *receipts, const struct receipt *receipt,
				  struct err *err)
{
	const json_t *rows =
		json_object_get(json_object_get(receipt->record, "detail"), "register");
	const json_t *words = json_object_get(json_object_get(receipt->record, "detail"), "words");
	struct closing closing = {.log = receipt->log};
	const char *run;
	closing.free_bytes = json_integer_value(json_object_get(words, "free"));
	closing.registered_bytes = json_integer_value(json_object_get(words, "registered"));
	ERR_TRY(json_get_string(receipt->record, "run", "record", &run, err));
	if (strlen(run) >= sizeof(closing.run))
		return ERR_SET(err, ERR_TOO_LARGE, "record: the name of a run is too long");
	snprintf(closing.run, sizeof(closing.run), "%s", run);
	for (size_t i = 0; i < json_array_size(rows); i++) {
		ERR_TRY(read_closing(json_array_get(rows, i), &closing, err));
		if (receipts->closing_count == RECEIPT_RUNS_MAX)
			return ERR_SET(err, ERR_TOO_LARGE, "there are more than %u ends of runs",
				       RECEIPT_RUNS_MAX);
		struct closing *grown = reallocarray(receipts->closings,
						     receipts->closing_count + 1, sizeof(*grown));
		if (!grown)
			return ERR_SET(err, ERR_NO_MEMORY, "out of memory for receipts");
		receipts->closings = grown;
		grown[receipts->closing_count++] = closing;
	}
	return ERR_OK;
}

static enum err_code take_registered(struct receipts *receipts, const struct receipt *receipt,
				     struct err *err)
{
	struct registered fact;
	const char *act;
	ERR_TRY(json_get_string_or(receipt->record, "act", "record", "", &act, err));
	ERR_TRY(opening_book_take(&receipts->openings, receipt, err));
	if (strcmp(act, "run.close") == 0)
		return take_closing(receipts, receipt, err);
	if (strcmp(act, "run.open") != 0 && strcmp(act, "suite.register") != 0)
		return ERR_OK;
	ERR_TRY(read_registered(receipt, &fact, err));
	if (receipts->registered_count == RECEIPT_RUNS_MAX)
		return ERR_SET(err, ERR_TOO_LARGE, "there are more than %u runs and suites",
			       RECEIPT_RUNS_MAX);
	struct registered *grown =
		reallocarray(receipts->registered, receipts->registered_count + 1, sizeof(*grown));
	if (!grown)
		return ERR_SET(err, ERR_NO_MEMORY, "out of memory for receipts");
	receipts->registered = grown;
	grown[receipts->registered_count++] = fact;
	return ERR_OK;
}

static const struct {
	const char *kind;
	enum err_code (*take)(struct receipts *, const struct receipt *, struct err *);
} kinds[] = {
	{"admit",   take_admit     },
        {"settle",  take_outcome   },
        {"unknown", take_outcome   },
	{"run",     take_registered},
        {"suite",   take_registered},
};

static enum err_code take_file(struct receipts *receipts, struct bytes name, struct err *err)
{
	char id[RECORD_ID_SIZE + 1];
	struct receipt receipt;
	if (name.size != RECORD_ID_SIZE + sizeof(SUFFIX) - 1 ||
	    !bytes_ends_with(name, BYTES(SUFFIX)))
		return ERR_SET(err, ERR_INVALID,
			       BUNDLE_RECEIPTS "/%.*s: the name is not that of a receipt",
			       (int)(name.size < 80 ? name.size : 80), name.data);
	memcpy(id, name.data, RECORD_ID_SIZE);
	id[RECORD_ID_SIZE] = '\0';
	ERR_TRY(load(receipts, id, &receipt, err));
	enum err_code code = ERR_OK;
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (strcmp(receipt.kind, kinds[i].kind) == 0)
			code = kinds[i].take(receipts, &receipt, err);
	if (code != ERR_OK)
		err_prefix(err, BUNDLE_RECEIPTS "/%.*s", BYTES_ARG(name));
	receipts->logs[receipt.log].receipts++;
	receipts->count++;
	receipt_release(&receipt);
	return code;
}

static int compare(const void *left, const void *right)
{
	return memcmp(((const struct receipt_ref *)left)->key,
		      ((const struct receipt_ref *)right)->key, ID_BYTES);
}

static enum err_code sort(struct receipts *receipts, struct err *err)
{
	if (receipts->admit_count)
		qsort(receipts->admits, receipts->admit_count, sizeof(*receipts->admits), compare);
	if (receipts->outcome_count)
		qsort(receipts->outcomes, receipts->outcome_count, sizeof(*receipts->outcomes),
		      compare);
	for (size_t i = 1; i < receipts->outcome_count; i++) {
		char admit[RECORD_ID_SIZE + 1];
		if (compare(&receipts->outcomes[i - 1], &receipts->outcomes[i]) != 0)
			continue;
		hex_encode(receipts->outcomes[i].key, ID_BYTES, admit);
		return ERR_SET(err, ERR_MISMATCH, BUNDLE_RECEIPTS ": record %s has two outcomes",
			       admit);
	}
	return ERR_OK;
}

enum err_code receipts_open(struct receipts *receipts, struct env *env, const char *directory,
			    const json_t *files, const struct verify_keys *reader,
			    const struct verify_keys *own, struct err *err)
{
	const json_t *entry;
	size_t i;
	*receipts =
		(struct receipts){.env = env, .directory = directory, .reader = reader, .own = own};
	receipts->heads = calloc(HEADS, sizeof(*receipts->heads));
	if (!receipts->heads)
		return ERR_SET(err, ERR_NO_MEMORY, "out of memory for receipts");
	json_array_foreach((json_t *)files, i, entry)
	{
		struct bytes path = bytes_from(json_string_value(json_object_get(entry, "path")));
		struct bytes folder = BYTES(BUNDLE_RECEIPTS "/");
		if (bytes_starts_with(path, folder))
			ERR_TRY(take_file(
				receipts,
				bytes_of(path.data + folder.size, path.size - folder.size), err));
	}
	return sort(receipts, err);
}

void receipts_release(struct receipts *receipts)
{
	free(receipts->admits);
	free(receipts->outcomes);
	free(receipts->registered);
	free(receipts->closings);
	opening_book_release(&receipts->openings);
	free(receipts->heads);
	spans_release(&receipts->spans);
	*receipts = (struct receipts){0};
}

/* ---- looking up ---- */

static struct receipt_ref *find(struct receipt_ref *refs, size_t count, const char *id)
{
	struct receipt_ref key = {0};
	if (count == 0 || strlen(id) != RECORD_ID_SIZE ||
	    !hex_decode(bytes_from(id), key.key, ID_BYTES))
		return NULL;
	return bsearch(&key, refs, count, sizeof(*refs), compare);
}

static enum err_code load_ref(struct receipts *receipts, const struct receipt_ref *ref,
			      struct receipt *out, bool *found, struct err *err)
{
	char id[RECORD_ID_SIZE + 1];
	*out = (struct receipt){0};
	*found = ref != NULL;
	if (!ref)
		return ERR_OK;
	hex_encode(ref->id, ID_BYTES, id);
	return load(receipts, id, out, err);
}

enum err_code receipts_admit(struct receipts *receipts, const char *id, struct receipt *out,
			     bool *found, struct err *err)
{
	return load_ref(receipts, find(receipts->admits, receipts->admit_count, id), out, found,
			err);
}

bool receipts_use(struct receipts *receipts, const char *id)
{
	struct receipt_ref *ref = find(receipts->admits, receipts->admit_count, id);
	if (!ref || ref->used)
		return false;
	ref->used = true;
	return true;
}

enum err_code receipts_outcome(struct receipts *receipts, const char *admit, struct receipt *out,
			       bool *found, struct err *err)
{
	return load_ref(receipts, find(receipts->outcomes, receipts->outcome_count, admit), out,
			found, err);
}

bool receipts_unused(const struct receipts *receipts, char id[static RECORD_ID_SIZE + 1])
{
	for (size_t i = 0; i < receipts->admit_count; i++) {
		if (receipts->admits[i].used)
			continue;
		hex_encode(receipts->admits[i].id, ID_BYTES, id);
		return true;
	}
	return false;
}

enum err_code receipts_check_outcomes(const struct receipts *receipts, struct err *err)
{
	for (size_t i = 0; i < receipts->outcome_count; i++) {
		const struct receipt_ref *outcome = &receipts->outcomes[i];
		char id[RECORD_ID_SIZE + 1];
		if (receipts->admit_count > 0 &&
		    bsearch(outcome, receipts->admits, receipts->admit_count,
			    sizeof(*receipts->admits), compare))
			continue;
		hex_encode(outcome->id, ID_BYTES, id);
		return ERR_SET(err, ERR_MISMATCH,
			       BUNDLE_RECEIPTS "/%s" SUFFIX
					       ": the receipt of its admission is missing",
			       id);
	}
	return ERR_OK;
}

const struct registered *receipts_registered(const struct receipts *receipts, bool is_suite,
					     unsigned log, const char *id)
{
	for (size_t i = 0; i < receipts->registered_count; i++) {
		const struct registered *fact = &receipts->registered[i];
		if (fact->is_suite == is_suite && fact->log == log && strcmp(fact->id, id) == 0)
			return fact;
	}
	return NULL;
}

const struct closing *receipts_closing(const struct receipts *receipts, unsigned log,
				       const char *run, const char *model)
{
	for (size_t i = 0; i < receipts->closing_count; i++) {
		const struct closing *closing = &receipts->closings[i];
		if (closing->log == log && strcmp(closing->run, run) == 0 &&
		    strcmp(closing->model, model) == 0)
			return closing;
	}
	return NULL;
}
