#include "ledger/record.h"

#include "base/civil.h"
#include "base/encode.h"
#include "base/json.h"
#include "base/json_writer.h"

#include <assert.h>

static const struct bytes kind_texts[] = {
#define X(name, number, text) [RECORD_##name] = BYTES_INIT(text),
	RECORD_KIND_TABLE(X)
#undef X
};

static const struct bytes ending_texts[] = {
#define X(name, text) [RECORD_ENDING_##name] = BYTES_INIT(text),
	RECORD_ENDING_TABLE(X)
#undef X
};

const char *record_kind_text(enum record_kind kind)
{
	return (size_t)kind < sizeof(kind_texts) / sizeof(kind_texts[0]) ? kind_texts[kind].data
									 : NULL;
}

const char *record_ending_text(enum record_ending ending)
{
	return (size_t)ending < sizeof(ending_texts) / sizeof(ending_texts[0])
		       ? ending_texts[ending].data
		       : NULL;
}

static inline void hex_member(struct json_writer *writer, const char *name, const uint8_t *value,
			      size_t size)
{
	char *at = value ? json_write_plain(writer, name, 2 * size) : NULL;
	if (at)
		hex_digits_of(value, size, at);
}

static inline void digest_member(struct json_writer *writer, const char *name,
				 const uint8_t *digest)
{
	hex_member(writer, name, digest, 32);
}

static inline void id_member(struct json_writer *writer, const char *id)
{
	char *at = json_write_plain(writer, "id", RECORD_ID_SIZE);
	if (at)
		memcpy(at, id, RECORD_ID_SIZE);
}

/* A text of this file. */
static inline void plain_member(struct json_writer *writer, const char *name, struct bytes text)
{
	char *at = text.size ? json_write_plain(writer, name, text.size) : NULL;
	if (at)
		memcpy(at, text.data, text.size);
}

static inline void number_member(struct json_writer *writer, const char *name, uint64_t value,
				 bool present)
{
	if (!present)
		return;
	json_write_name(writer, name);
	json_write_u64(writer, value);
}

static void score_member(struct json_writer *writer, double score)
{
	char text[32];
	if (!isfinite(score))
		return;
	json_write_name(writer, "score");
	json_write(writer, text, json_number_text(score, text));
}

static void usage_member(struct json_writer *writer, const struct record_usage *usage)
{
	if (!usage)
		return;
	json_write_name(writer, "usage");
	json_write(writer, "{\"cache_read\":", 14);
	json_write_u64(writer, usage->cache_read);
	json_write(writer, ",\"cache_write\":", 15);
	json_write_u64(writer, usage->cache_write);
	if (usage->estimated)
		json_write(writer, ",\"estimated\":true", 17);
	json_write(writer, ",\"input\":", 9);
	json_write_u64(writer, usage->input);
	json_write(writer, ",\"output\":", 10);
	json_write_u64(writer, usage->output);
	json_write(writer, "}", 1);
}

/* ---- time ---- */

void record_time(int64_t unix_ms, char out[static RECORD_TIME_SIZE])
{
	civil_text(unix_ms, out);
}

static void time_member(struct json_writer *writer, int64_t unix_ms)
{
	char text[RECORD_TIME_SIZE];
	char *at = json_write_plain(writer, "time", RECORD_TIME_SIZE - 1);
	record_time(unix_ms, text);
	if (at)
		memcpy(at, text, RECORD_TIME_SIZE - 1);
}

/* Names in the order RFC 8785 wants: sorted by their UTF-16 code units, here plain ASCII. */
size_t record_format(const struct record *record, char *out, size_t capacity)
{
	struct json_writer writer = {
		out, 0, capacity < RECORD_SIZE_MAX ? capacity : RECORD_SIZE_MAX, false};
	struct json_writer *to = &writer;
	assert(record->id && record_kind_text(record->kind));
	assert((size_t)record->ending < sizeof(ending_texts) / sizeof(ending_texts[0]));
	json_write(to, "{", 1);
	json_write_member(to, "act", record->act);
	json_write_member(to, "admit", record->admit);
	digest_member(to, "answer", record->answer);
	if (record->blind)
		json_write_raw(to, "blind", BYTES("true"));
	json_write_member(to, "clause", record->clause);
	number_member(to, "count", record->count, record->count > 0);
	json_write_raw(to, "detail", record->detail);
	digest_member(to, "document", record->document);
	plain_member(to, "ending", ending_texts[record->ending]);
	json_write_member(to, "exposure", record->exposure);
	json_write_member(to, "grant", record->grant);
	id_member(to, record->id);
	json_write_member(to, "key", record->key);
	plain_member(to, "kind", kind_texts[record->kind]);
	number_member(to, "leaf", (uint64_t)record->leaf, record->leaf >= 0);
	json_write_member(to, "model", record->model);
	json_write_member(to, "name", record->name);
	if (record->observed)
		json_write_raw(to, "observed", BYTES("true"));
	if (record->opened)
		json_write_raw(to, "opened", BYTES("true"));
	json_write_member(to, "org", record->org);
	json_write_member(to, "person", record->person);
	digest_member(to, "plan", record->plan);
	json_write_member(to, "purpose", record->purpose);
	json_write_member(to, "reason", record->reason);
	json_write_member(to, "release", record->release);
	digest_member(to, "request", record->request);
	digest_member(to, "response", record->response);
	digest_member(to, "root", record->root);
	json_write_member(to, "rule", record->rule);
	json_write_member(to, "run", record->run);
	json_write_member(to, "safeguards", record->safeguards);
	number_member(to, "sample", (uint64_t)record->sample, record->sample >= 0);
	number_member(to, "samples", record->samples, record->samples > 0);
	score_member(to, record->score);
	json_write_member(to, "served", record->served);
	number_member(to, "status", record->status, record->status > 0);
	json_write_member(to, "suite", record->suite);
	json_write_member(to, "target", record->target);
	json_write_member(to, "team", record->team);
	time_member(to, record->time_ms);
	if (record->truncated)
		json_write_raw(to, "truncated", BYTES("\"possible\""));
	digest_member(to, "upstream", record->upstream);
	usage_member(to, record->usage);
	json_write_member(to, "verdict", record->verdict);
	hex_member(to, "words", record->words, 16);
	json_write(to, "}", 1);
	return writer.failed ? 0 : writer.size;
}

bool record_id_index(struct bytes id, uint64_t *index)
{
	uint8_t bytes[RECORD_ID_SIZE / 2];
	if (id.size != RECORD_ID_SIZE || !hex_decode(id, bytes, sizeof(bytes)))
		return false;
	*index = 0;
	for (size_t i = 0; i < 6; i++)
		*index = *index << 8 | bytes[i];
	return true;
}

bool record_admit_index(struct bytes text, uint64_t *index)
{
	struct bytes start = BYTES("{\"admit\":\"");
	return bytes_starts_with(text, start) && text.size >= start.size + RECORD_ID_SIZE &&
	       record_id_index((struct bytes){text.data + start.size, RECORD_ID_SIZE}, index);
}
