/* Receipts: for every record that a gateway named, the record and its proof, asked for while the
 * run goes on and written into the bundle. A gateway answers 425 until a checkpoint covers the
 * record. */
#include "bench/voucher_internal.h"

#include "base/encode.h"
#include "base/json.h"
#include "grade/bundle.h"
#include "ledger/key_rotation.h"
#include "ledger/proof.h"

#include <stdio.h>
#include <stdlib.h>

/* Most records are covered at once, every one within a second. */
#define RECEIPT_DELAY_NS 250000000u
#define RECEIPT_PATIENCE_NS 30000000000u
#define RECEIPT_MAX ((size_t)1 << 20)

/* ---- what is wanted ---- */

static bool reserve(struct gateway *gateway)
{
	if (gateway->first == gateway->count)
		gateway->first = gateway->count = 0;
	if (gateway->count < gateway->capacity)
		return true;
	if (gateway->first > gateway->capacity / 2) {
		memmove(gateway->wanted, gateway->wanted + gateway->first,
			(gateway->count - gateway->first) * sizeof(*gateway->wanted));
		gateway->count -= gateway->first;
		gateway->first = 0;
		return true;
	}
	size_t capacity = gateway->capacity ? 2 * gateway->capacity : 64;
	struct receipt *grown = reallocarray(gateway->wanted, capacity, sizeof(*grown));
	if (!grown)
		return false;
	gateway->wanted = grown;
	gateway->capacity = capacity;
	return true;
}

static void want(struct gateway *gateway, const struct receipt *receipt)
{
	if (!reserve(gateway)) {
		gateway->lost++;
		return;
	}
	gateway->wanted[gateway->count++] = *receipt;
	voucher_fetch(gateway);
}

static bool is_registration(const struct run_model *model, const char *record)
{
	for (unsigned i = 0; i < model->run->suite_count; i++)
		if (strcmp(model->gateway_runs[i].record, record) == 0 ||
		    strcmp(model->gateway_runs[i].suite_record, record) == 0 ||
		    strcmp(model->gateway_runs[i].closing, record) == 0)
			return true;
	return false;
}

static void receipt_path(const struct run *run, const char *record, char *out, size_t size)
{
	snprintf(out, size, "%s/bundle/%s/%s.tlog-proof", run->directory, BUNDLE_RECEIPTS, record);
}

/* Is the receipt there, whole? What was interrupted may have left a file without its text, or with
 * a part of it. */
static bool has_receipt(const struct run *run, const char *path)
{
	struct buf text = BUF_INIT(RECEIPT_MAX);
	struct proof proof;
	struct err unused = ERR_INIT;
	struct note checkpoint;
	bool whole = env_file_exists(run->env, path) &&
		     env_read_file(run->env, path, &text, &unused) == ERR_OK &&
		     proof_parse(buf_bytes(&text), &proof, &unused) == ERR_OK &&
		     proof.extra.size > 0 &&
		     note_parse(proof.checkpoint, &checkpoint, &unused) == ERR_OK;
	buf_release(&text);
	return whole;
}

void voucher_want_receipt(struct run_model *model, const char *record)
{
	struct run *run = model->run;
	char path[4200];
	struct receipt receipt = {.due_ns = run->loop->now_ns + RECEIPT_DELAY_NS,
				  .give_up_ns = run->loop->now_ns + RECEIPT_PATIENCE_NS};
	if (!voucher_is_plain_id(record) || strlen(record) > RUN_RECORD_ID_MAX)
		return;
	receipt_path(run, record, path, sizeof(path));
	if (run->resumed && has_receipt(run, path))
		return;
	if (!model->gateway)
		model->gateway = voucher_new(model);
	snprintf(receipt.record, sizeof(receipt.record), "%s", record);
	receipt.optional = is_registration(model, record);
	if (model->gateway)
		want(model->gateway, &receipt);
}

/* A receipt stands by itself: the record is put into the proof's extra line. No sync for each: they
 * can be fetched again, and the bundle's manifest is written after them. */
static enum err_code write_receipt(struct run *run, const char *record_line, const char *proof_text,
				   struct err *err)
{
	json_t *record = NULL;
	const char *id;
	char path[4200];
	struct proof proof;
	struct buf extra = BUF_INIT(65536), text = BUF_INIT(RECEIPT_MAX);
	struct env_file *file = NULL;
	enum err_code code = json_parse(bytes_from(record_line), "a receipt", &record, err);
	if (code == ERR_OK)
		code = json_get_string(record, "id", "a receipt", &id, err);
	if (code == ERR_OK && !voucher_is_plain_id(id))
		code = ERR_SET(err, ERR_PROTOCOL, "a receipt's record id is malformed");
	if (code == ERR_OK)
		code = proof_parse(bytes_from(proof_text), &proof, err);
	if (code == ERR_OK) {
		base64_append(&extra, record_line, strlen(record_line));
		proof.extra = buf_bytes(&extra);
		proof_format(&proof, &text);
		receipt_path(run, id, path, sizeof(path));
		code = env_file_open(run->env, path, ENV_OPEN_WRITE | ENV_OPEN_CREATE, &file, err);
	}
	if (code == ERR_OK)
		code = env_file_truncate(file, 0, err);
	if (code == ERR_OK)
		code = env_file_write(file, 0, text.data, text.size, err);
	env_file_close(file);
	buf_release(&extra);
	buf_release(&text);
	json_decref(record);
	return code;
}

/* The log's key was handed on: the notes that say so go into the bundle, each once. */
static enum err_code take_rotations(struct run *run, struct bytes notes, struct err *err)
{
	char path[4200];
	struct buf text = BUF_INIT(KEY_ROTATIONS_TEXT_MAX);
	snprintf(path, sizeof(path), "%s/bundle/" KEY_ROTATIONS_FILE, run->directory);
	if (env_file_exists(run->env, path))
		ERR_TRY(env_read_file(run->env, path, &text, err));
	size_t before = text.size;
	while (notes.size > 0) {
		struct bytes note = key_rotation_next(notes, &notes);
		if (!text.size || !memmem(text.data, text.size, note.data, note.size))
			buf_append_bytes(&text, note);
	}
	enum err_code code = text.failed ? ERR_SET(err, ERR_TOO_LARGE, "too many rotations")
			     : text.size > before
				     ? env_write_file(run->env, path, buf_bytes(&text), 0644, err)
				     : ERR_OK;
	buf_release(&text);
	return code;
}

static enum err_code take_receipts(struct run *run, struct bytes response, struct err *err)
{
	json_t *tree, *list;
	ERR_TRY(json_parse(response, "the receipts", &tree, err));
	const char *rotations;
	enum err_code code =
		json_get_string_or(tree, "rotations", "the receipts", "", &rotations, err);
	if (code == ERR_OK)
		code = take_rotations(run, bytes_from(rotations), err);
	if (code == ERR_OK)
		code = json_get_container(tree, "receipts", "the receipts", JSON_ARRAY, false,
					  &list, err);
	for (size_t i = 0; code == ERR_OK && i < json_array_size(list); i++) {
		const char *record, *proof;
		const json_t *entry = json_array_get(list, i);
		code = json_get_string(entry, "record", "a receipt", &record, err);
		if (code == ERR_OK)
			code = json_get_string(entry, "proof", "a receipt", &proof, err);
		if (code == ERR_OK)
			code = write_receipt(run, record, proof, err);
	}
	json_decref(tree);
	return code;
}

static void receipt_answered(struct rest *rest, const struct err *err)
{
	struct fetcher *fetcher = (struct fetcher *)rest;
	struct run_model *model = fetcher->model;
	struct gateway *gateway = model->gateway;
	struct run *run = model->run;
	struct receipt receipt = fetcher->receipt;
	struct err inner = ERR_INIT;
	uint64_t now = run->loop->now_ns;
	int64_t pause = rest->retry_after_ms >= 0 ? rest->retry_after_ms : 1000;
	bool later = err->code != ERR_OK || rest->status == 425 || rest->status == 429 ||
		     rest->status >= 500;
	if (!later && rest->status == 200) {
		if (take_receipts(run, buf_bytes(&rest->response), &inner) == ERR_OK)
			gateway->got++;
		else
			gateway->lost++;
	} else if (!later || now + (uint64_t)pause * 1000000u > receipt.give_up_ns) {
		gateway->lost += !(receipt.optional && rest->status == 404);
		gateway->refused |= rest->status == 401;
	} else {
		receipt.due_ns = now + (uint64_t)pause * 1000000u;
		want(gateway, &receipt);
	}
	voucher_fetch(gateway);
	run_wake(run);
}

static struct fetcher *idle_fetcher(struct gateway *gateway)
{
	for (unsigned i = 0; i < FETCHERS; i++)
		if (!gateway->fetchers[i].rest.busy)
			return &gateway->fetchers[i];
	return NULL;
}

void voucher_fetch(struct gateway *gateway)
{
	struct run_model *model = gateway->model;
	struct fetcher *fetcher;
	if (model->gateway_state != GATEWAY_READY)
		return;
	if (gateway->refused) {
		gateway->lost += gateway->count - gateway->first;
		gateway->first = gateway->count = 0;
	}
	while (gateway->first < gateway->count && (fetcher = idle_fetcher(gateway))) {
		const struct receipt *next = &gateway->wanted[gateway->first];
		char path[128];
		if (next->due_ns > model->run->loop->now_ns) {
			env_timer_arm(model->run->loop, &gateway->timer, next->due_ns);
			return;
		}
		fetcher->receipt = *next;
		gateway->first++;
		snprintf(path, sizeof(path), "/parley/v1/receipts/%s", fetcher->receipt.record);
		fetcher->rest.done = receipt_answered;
		rest_start(&fetcher->rest, model->origin, "GET", path, voucher_credential(model),
			   bytes_of(NULL, 0));
	}
}

bool voucher_receipts_done(const struct gateway *gateway)
{
	for (unsigned i = 0; i < FETCHERS; i++)
		if (gateway->fetchers[i].rest.busy)
			return false;
	return gateway->first == gateway->count;
}

void voucher_receipts(const struct run_model *model, size_t *got, size_t *lost)
{
	const struct gateway *gateway = model->gateway;
	*got = gateway ? gateway->got : 0;
	*lost = gateway ? gateway->lost + gateway->count - gateway->first : 0;
}
