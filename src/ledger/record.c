#include "ledger/record.h"

#include "base/encode.h"
#include "base/json.h"

#include <assert.h>

const char *record_kind_text(enum record_kind kind)
{
	switch (kind) {
#define X(name, number, text) \
	case RECORD_##name:   \
		return text;
		RECORD_KIND_TABLE(X)
#undef X
	}
	return NULL;
}

const char *record_ending_text(enum record_ending ending)
{
	static const char *const texts[] = {NULL,
#define X(name, text) text,
					    RECORD_ENDING_TABLE(X)
#undef X
	};
	return (size_t)ending < sizeof(texts) / sizeof(texts[0]) ? texts[ending] : NULL;
}

/* ---- writing into a fixed space; running out is sticky ---- */

struct writer {
	char *out;
	size_t size, capacity;
	bool failed;
};

static char *take(struct writer *writer, size_t size)
{
	if (writer->failed || writer->capacity - writer->size < size) {
		writer->failed = true;
		return NULL;
	}
	char *at = writer->out + writer->size;
	writer->size += size;
	return at;
}

static inline void put(struct writer *writer, const char *text, size_t size)
{
	char *at = take(writer, size);
	if (at && size)
		memcpy(at, text, size);
}

static void put_u64(struct writer *writer, uint64_t value)
{
	char digits[20];
	size_t at = sizeof(digits);
	do {
		digits[--at] = (char)('0' + value % 10);
		value /= 10;
	} while (value > 0);
	put(writer, digits + at, sizeof(digits) - at);
}

static void put_escape(struct writer *writer, unsigned char c)
{
	static const char short_of[0x20] = {
		['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', ['\f'] = 'f', ['\r'] = 'r'};
	static const char hex[] = "0123456789abcdef";
	if (c == '"' || c == '\\') {
		put(writer, (const char[]){'\\', (char)c}, 2);
	} else if (short_of[c]) {
		put(writer, (const char[]){'\\', short_of[c]}, 2);
	} else {
		put(writer, "\\u00", 4);
		put(writer, (const char[]){hex[c >> 4], hex[c & 15]}, 2);
	}
}

/* The bytes of the UTF-8 sequence at the start of `text`; 0 if there is none. */
static size_t sequence_size(struct bytes text)
{
	unsigned char c = (unsigned char)text.data[0];
	size_t size = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : 2;
	return size <= text.size && bytes_is_utf8((struct bytes){text.data, size}) ? size : 0;
}

static void put_rest(struct writer *writer, struct bytes text)
{
	while (text.size > 0 && !writer->failed) {
		size_t size = json_plain_run(text);
		put(writer, text.data, size);
		if (size == 0 && (unsigned char)text.data[0] < 0x80) {
			put_escape(writer, (unsigned char)text.data[0]);
			size = 1;
		} else if (size == 0 && (size = sequence_size(text)) > 0) {
			put(writer, text.data, size);
		} else if (size == 0) {
			put(writer, "\xef\xbf\xbd", 3);
			size = 1;
		}
		text = (struct bytes){text.data + size, text.size - size};
	}
}

static void put_string(struct writer *writer, struct bytes text)
{
	size_t plain = json_plain_run(text);
	put(writer, "\"", 1);
	put(writer, text.data, plain);
	if (plain < text.size)
		put_rest(writer, bytes_of(text.data + plain, text.size - plain));
	put(writer, "\"", 1);
}

/* ---- members ---- */

/* Names are literals: inlined, their lengths are known. */
static inline void name_member(struct writer *writer, const char *name)
{
	size_t size = strlen(name);
	char *at = take(writer, size + 4);
	if (!at)
		return;
	if (writer->size - (size + 4) > 1)
		*at++ = ',';
	else
		writer->size--;
	*at++ = '"';
	memcpy(at, name, size);
	memcpy(at + size, "\":", 2);
}

static inline void member(struct writer *writer, const char *name, struct bytes text)
{
	if (text.size == 0)
		return;
	name_member(writer, name);
	put_string(writer, text);
}

static inline void raw_member(struct writer *writer, const char *name, struct bytes json)
{
	if (json.size == 0)
		return;
	name_member(writer, name);
	put(writer, json.data, json.size);
}

static void put_digest(struct writer *writer, const uint8_t *digest)
{
	char hex[67] = "\"";
	hex_encode(digest, 32, hex + 1);
	hex[65] = '"';
	put(writer, hex, 66);
}

static inline void digest_member(struct writer *writer, const char *name, const uint8_t *digest)
{
	if (!digest)
		return;
	name_member(writer, name);
	put_digest(writer, digest);
}

static inline void number_member(struct writer *writer, const char *name, uint64_t value,
				 bool present)
{
	if (!present)
		return;
	name_member(writer, name);
	put_u64(writer, value);
}

static void score_member(struct writer *writer, double score)
{
	char text[32];
	if (!isfinite(score))
		return;
	name_member(writer, "score");
	put(writer, text, json_number_text(score, text));
}

static void usage_member(struct writer *writer, const struct record_usage *usage)
{
	if (!usage)
		return;
	name_member(writer, "usage");
	put(writer, "{\"cache_read\":", 14);
	put_u64(writer, usage->cache_read);
	put(writer, ",\"cache_write\":", 15);
	put_u64(writer, usage->cache_write);
	if (usage->estimated)
		put(writer, ",\"estimated\":true", 17);
	put(writer, ",\"input\":", 9);
	put_u64(writer, usage->input);
	put(writer, ",\"output\":", 10);
	put_u64(writer, usage->output);
	put(writer, "}", 1);
}

/* ---- time ---- */

static void put_digits(char *out, unsigned value, unsigned count)
{
	while (count-- > 0) {
		out[count] = (char)('0' + value % 10);
		value /= 10;
	}
}

/* Year, month and day from days since 1970-01-01, counting years from March so that the leap day
 * comes last. */
static void civil_date(int64_t days, unsigned *year, unsigned *month, unsigned *day)
{
	int64_t shifted = days + 719468; /* since 0000-03-01 */
	int64_t era = shifted / 146097;
	unsigned of_era = (unsigned)(shifted - era * 146097);
	unsigned year_of_era = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
	unsigned of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
	unsigned from_march = (5 * of_year + 2) / 153;
	*day = of_year - (153 * from_march + 2) / 5 + 1;
	*month = from_march < 10 ? from_march + 3 : from_march - 9;
	*year = year_of_era + (unsigned)(era * 400) + (*month <= 2);
}

void record_time(int64_t unix_ms, char out[static RECORD_TIME_SIZE])
{
	static const char shape[] = "0000-00-00T00:00:00.000Z";
	const int64_t last = INT64_C(253402300799999); /* the end of 9999 */
	unsigned year, month, day;
	int64_t ms = unix_ms < 0 ? 0 : unix_ms > last ? last : unix_ms;
	civil_date(ms / 86400000, &year, &month, &day);
	unsigned of_day = (unsigned)(ms % 86400000);
	memcpy(out, shape, sizeof(shape));
	put_digits(out, year, 4);
	put_digits(out + 5, month, 2);
	put_digits(out + 8, day, 2);
	put_digits(out + 11, of_day / 3600000, 2);
	put_digits(out + 14, of_day / 60000 % 60, 2);
	put_digits(out + 17, of_day / 1000 % 60, 2);
	put_digits(out + 20, of_day % 1000, 3);
}

static void time_member(struct writer *writer, int64_t unix_ms)
{
	char text[RECORD_TIME_SIZE];
	record_time(unix_ms, text);
	member(writer, "time", (struct bytes){text, RECORD_TIME_SIZE - 1});
}

/* Names in the order RFC 8785 wants: sorted by their UTF-16 code units, here plain ASCII. */
size_t record_format(const struct record *record, char *out, size_t capacity)
{
	struct writer writer = {out, 0, capacity < RECORD_SIZE_MAX ? capacity : RECORD_SIZE_MAX,
				false};
	struct writer *to = &writer;
	assert(record->id && record_kind_text(record->kind));
	put(to, "{", 1);
	member(to, "act", record->act);
	member(to, "admit", record->admit);
	digest_member(to, "answer", record->answer);
	member(to, "clause", record->clause);
	number_member(to, "count", record->count, record->count > 0);
	raw_member(to, "detail", record->detail);
	digest_member(to, "document", record->document);
	member(to, "ending", bytes_from(record_ending_text(record->ending)));
	member(to, "grant", record->grant);
	member(to, "id", bytes_from(record->id));
	member(to, "key", record->key);
	member(to, "kind", bytes_from(record_kind_text(record->kind)));
	number_member(to, "leaf", (uint64_t)record->leaf, record->leaf >= 0);
	member(to, "model", record->model);
	member(to, "name", record->name);
	if (record->observed)
		raw_member(to, "observed", BYTES("true"));
	member(to, "org", record->org);
	member(to, "person", record->person);
	digest_member(to, "plan", record->plan);
	member(to, "purpose", record->purpose);
	member(to, "reason", record->reason);
	member(to, "release", record->release);
	digest_member(to, "request", record->request);
	digest_member(to, "response", record->response);
	digest_member(to, "root", record->root);
	member(to, "rule", record->rule);
	member(to, "run", record->run);
	member(to, "safeguards", record->safeguards);
	number_member(to, "sample", (uint64_t)record->sample, record->sample >= 0);
	number_member(to, "samples", record->samples, record->samples > 0);
	score_member(to, record->score);
	member(to, "served", record->served);
	number_member(to, "status", record->status, record->status > 0);
	member(to, "suite", record->suite);
	member(to, "target", record->target);
	member(to, "team", record->team);
	time_member(to, record->time_ms);
	usage_member(to, record->usage);
	member(to, "verdict", record->verdict);
	put(to, "}", 1);
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
