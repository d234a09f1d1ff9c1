/* Values inside a text that json_scan.c has accepted. Whatever the text holds, nothing beyond its
 * end is read. */
#include "base/json_scan.h"

#include "base/encode.h"
#include "base/utf16.h"

#if defined(__SSE2__) && !defined(JSON_SCAN_SCALAR)
#include <emmintrin.h>
#endif

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static const char *skip_space(const char *p, const char *end)
{
	while (p < end && (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t'))
		p++;
	return p;
}

/* The first quote or backslash at or after `p`, or `end`. */
static const char *string_run(const char *p, const char *end)
{
#if defined(__SSE2__) && !defined(JSON_SCAN_SCALAR)
	const __m128i quote = _mm_set1_epi8('"'), backslash = _mm_set1_epi8('\\');
	while (end - p >= 16) {
		__m128i block = _mm_loadu_si128((const __m128i *)(const void *)p);
		unsigned mask = (unsigned)_mm_movemask_epi8(_mm_or_si128(
			_mm_cmpeq_epi8(block, quote), _mm_cmpeq_epi8(block, backslash)));
		if (mask)
			return p + __builtin_ctz(mask);
		p += 16;
	}
#endif
	while (p < end && *p != '"' && *p != '\\')
		p++;
	return p;
}

/* `p` is after the opening quote; returns the byte after the closing one. */
static const char *skip_string(const char *p, const char *end)
{
	while ((p = string_run(p, end)) < end) {
		if (*p == '"')
			return p + 1;
		if (end - p < 2)
			break;
		p += 2;
	}
	return end;
}

/* The first quote, bracket or brace at or after `p`, or `end`. */
static const char *structure_run(const char *p, const char *end)
{
#if defined(__SSE2__) && !defined(JSON_SCAN_SCALAR)
	const __m128i quote = _mm_set1_epi8('"'), bit = _mm_set1_epi8(0x20);
	const __m128i open = _mm_set1_epi8('{'), close = _mm_set1_epi8('}');
	while (end - p >= 16) {
		__m128i block = _mm_loadu_si128((const __m128i *)(const void *)p);
		__m128i brace = _mm_or_si128(block, bit); /* a bracket and this bit are a brace */
		__m128i found =
			_mm_or_si128(_mm_cmpeq_epi8(brace, open), _mm_cmpeq_epi8(brace, close));
		unsigned mask = (unsigned)_mm_movemask_epi8(
			_mm_or_si128(found, _mm_cmpeq_epi8(block, quote)));
		if (mask)
			return p + __builtin_ctz(mask);
		p += 16;
	}
#endif
	while (p < end && *p != '"' && (*p | 0x20) != '{' && (*p | 0x20) != '}')
		p++;
	return p;
}

static const char *skip_container(const char *p, const char *end)
{
	unsigned depth = 0;
	while ((p = structure_run(p, end)) < end) {
		char c = *p++;
		if (c == '"') {
			p = skip_string(p, end);
		} else if (c == '{' || c == '[') {
			depth++;
		} else if (c == '}' || c == ']') {
			if (--depth == 0)
				return p;
		}
	}
	return end;
}

static const char *skip_scalar(const char *p, const char *end)
{
	while (p < end && *p != ',' && *p != '}' && *p != ']' && *p != ' ' && *p != '\n' &&
	       *p != '\r' && *p != '\t')
		p++;
	return p;
}

static enum json_scan_type type_of(char first)
{
	switch (first) {
	case '"':
		return JSON_SCAN_STRING;
	case '{':
		return JSON_SCAN_OBJECT;
	case '[':
		return JSON_SCAN_ARRAY;
	case 't':
		return JSON_SCAN_TRUE;
	case 'f':
		return JSON_SCAN_FALSE;
	case 'n':
		return JSON_SCAN_NULL;
	default:
		return first == '-' || is_digit(first) ? JSON_SCAN_NUMBER : JSON_SCAN_NOTHING;
	}
}

struct json_value json_value_at(struct bytes text)
{
	struct json_value value = {JSON_SCAN_NOTHING, bytes_of(text.data, 0), NULL};
	if (text.size == 0)
		return value;
	const char *end = text.data + text.size;
	const char *p = skip_space(text.data, end);
	value.text.data = p;
	if (p == end)
		return value;
	value.type = type_of(*p);
	const char *after = p;
	if (value.type == JSON_SCAN_STRING)
		after = skip_string(p + 1, end);
	else if (value.type == JSON_SCAN_OBJECT || value.type == JSON_SCAN_ARRAY)
		after = skip_container(p, end);
	else if (value.type != JSON_SCAN_NOTHING)
		after = skip_scalar(p, end);
	value.text.size = (size_t)(after - p);
	return value;
}

struct json_value json_scan_root(const struct json_scan *scan, struct bytes text)
{
	return json_scan_value(text, &scan->members[JSON_SCAN_ROOT_AT]);
}

struct json_walk json_walk_start(struct json_value value)
{
	const struct json_scan_member *place = value.place;
	struct json_walk walk = {.object = value.type == JSON_SCAN_OBJECT};
	if (place && place->first) {
		walk.rest.data = value.text.data - place->value;
		walk.next = place + place->first;
		walk.last = place + place->end;
	} else if (walk.object || value.type == JSON_SCAN_ARRAY) {
		walk.rest = bytes_of(value.text.data + 1, value.text.size - 1);
	}
	return walk;
}

static void advance(struct bytes *text, const char *to)
{
	text->size -= (size_t)(to - text->data);
	text->data = to;
}

static bool walk_key(struct json_walk *walk)
{
	const char *end = walk->rest.data + walk->rest.size;
	const char *p = skip_space(walk->rest.data, end);
	if (p == end || *p != '"')
		return false;
	const char *after = skip_string(p + 1, end);
	if (after - p < 2)
		return false;
	walk->key = bytes_of(p + 1, (size_t)(after - p) - 2);
	p = skip_space(after, end);
	if (p == end || *p != ':')
		return false;
	advance(&walk->rest, p + 1);
	return true;
}

static bool next_noted(struct json_walk *walk)
{
	const struct json_scan_member *member = walk->next;
	if (member == walk->last)
		return false;
	walk->key = bytes_of(walk->rest.data + member->key, member->key_size);
	walk->value = json_scan_value(walk->rest, member);
	walk->next = member + member->next;
	return true;
}

bool json_walk_next(struct json_walk *walk)
{
	if (walk->next)
		return next_noted(walk);
	if (walk->rest.size == 0)
		return false;
	const char *end = walk->rest.data + walk->rest.size;
	const char *p = skip_space(walk->rest.data, end);
	if (p < end && *p == ',')
		p++;
	advance(&walk->rest, p);
	if (walk->object && !walk_key(walk)) {
		walk->rest.size = 0;
		return false;
	}
	walk->value = json_value_at(walk->rest);
	if (walk->value.type == JSON_SCAN_NOTHING || walk->value.text.size == 0) {
		walk->rest.size = 0;
		return false;
	}
	advance(&walk->rest, walk->value.text.data + walk->value.text.size);
	return true;
}

struct json_value json_scan_find(struct json_value value, const char *path)
{
	struct bytes rest = bytes_from(path);
	while (rest.size) {
		struct bytes name = bytes_split(rest, '.', &rest);
		struct json_value found = {JSON_SCAN_NOTHING, bytes_of(NULL, 0), NULL};
		struct json_walk walk = json_walk_start(value);
		while (walk.object && json_walk_next(&walk))
			if (bytes_equal(walk.key, name))
				found = walk.value;
		value = found;
	}
	return value;
}

/* Mostly the size decides, or the first byte. */
static inline bool same_name(struct bytes a, struct bytes b)
{
	return a.size == b.size &&
	       (a.size == 0 || (*a.data == *b.data && memcmp(a.data, b.data, a.size) == 0));
}

/* By the table: only what is asked for is looked at. */
static void noted_members(struct json_walk walk, const struct bytes *names, struct json_value *out,
			  unsigned count)
{
	const struct json_scan_member *member = walk.next;
	for (; member != walk.last; member += member->next)
		for (unsigned i = 0; i < count; i++)
			if (same_name(bytes_of(walk.rest.data + member->key, member->key_size),
				      names[i]))
				out[i] = json_scan_value(walk.rest, member);
}

void json_value_members(struct json_value object, const struct bytes *names, struct json_value *out,
			unsigned count)
{
	struct json_walk walk = json_walk_start(object);
	for (unsigned i = 0; i < count; i++)
		out[i] = (struct json_value){JSON_SCAN_NOTHING, bytes_of(NULL, 0), NULL};
	if (walk.object && walk.next) {
		noted_members(walk, names, out, count);
		return;
	}
	while (walk.object && json_walk_next(&walk))
		for (unsigned i = 0; i < count; i++)
			if (same_name(walk.key, names[i]))
				out[i] = walk.value;
}

bool json_value_integer(struct json_value value, int64_t min, int64_t max, int64_t *out)
{
	struct bytes text = value.text;
	if (value.type != JSON_SCAN_NUMBER)
		return false;
	bool negative = text.size && text.data[0] == '-';
	if (negative)
		text = bytes_of(text.data + 1, text.size - 1);
	uint64_t magnitude;
	if (!bytes_to_u64(text, INT64_MAX, &magnitude) || (negative && magnitude == 0))
		return false;
	int64_t number = negative ? -(int64_t)magnitude : (int64_t)magnitude;
	if (number < min || number > max)
		return false;
	*out = number;
	return true;
}

bool json_value_plain_string(struct json_value value, struct bytes *out)
{
	if (value.type != JSON_SCAN_STRING || value.text.size < 2)
		return false;
	struct bytes inside = bytes_of(value.text.data + 1, value.text.size - 2);
	if (value.place ? value.place->escaped : memchr(inside.data, '\\', inside.size) != NULL)
		return false;
	*out = inside;
	return true;
}

/* ---- decoding strings ---- */

static char *put_utf8(char *to, uint32_t c)
{
	if (c < 0x80) {
		*to++ = (char)c;
	} else if (c < 0x800) {
		*to++ = (char)(0xc0 | c >> 6);
		*to++ = (char)(0x80 | (c & 0x3f));
	} else if (c < 0x10000) {
		*to++ = (char)(0xe0 | c >> 12);
		*to++ = (char)(0x80 | (c >> 6 & 0x3f));
		*to++ = (char)(0x80 | (c & 0x3f));
	} else {
		*to++ = (char)(0xf0 | c >> 18);
		*to++ = (char)(0x80 | (c >> 12 & 0x3f));
		*to++ = (char)(0x80 | (c >> 6 & 0x3f));
		*to++ = (char)(0x80 | (c & 0x3f));
	}
	return to;
}

/* Four digits at `p`; U+FFFD stands for what no accepted text holds. */
static uint32_t read_unit(const char *p, const char *end)
{
	uint32_t unit = 0;
	if (end - p < 4)
		return 0xfffd;
	for (int i = 0; i < 4; i++) {
		int digit = hex_digit_value(p[i]);
		if (digit < 0)
			return 0xfffd;
		unit = unit << 4 | (uint32_t)digit;
	}
	return unit;
}

/* `p` is after "\u"; returns where reading goes on. */
static const char *decode_unicode(const char *p, const char *end, char **to)
{
	uint32_t unit = read_unit(p, end);
	p += end - p < 4 ? end - p : 4;
	if (utf16_is_high(unit) && end - p >= 6 && p[0] == '\\' && p[1] == 'u') {
		uint32_t low = read_unit(p + 2, end);
		if (utf16_is_low(low)) {
			*to = put_utf8(*to, 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00));
			return p + 6;
		}
	}
	*to = put_utf8(*to, utf16_is_high(unit) || utf16_is_low(unit) ? 0xfffd : unit);
	return p;
}

size_t json_value_decode(struct json_value value, char *out)
{
	static const char escapes[][2] = {
		{'b', '\b'},
                {'f', '\f'},
                {'n', '\n'},
                {'r', '\r'},
                {'t', '\t'}
        };
	if (value.type != JSON_SCAN_STRING || value.text.size < 2)
		return 0;
	const char *p = value.text.data + 1, *end = value.text.data + value.text.size - 1;
	char *to = out;
	while (p < end) {
		const char *stop = memchr(p, '\\', (size_t)(end - p));
		size_t run = (size_t)((stop ? stop : end) - p);
		memcpy(to, p, run);
		to += run;
		p += run;
		if (!stop || end - p < 2)
			break;
		char c = p[1];
		p += 2;
		if (c == 'u') {
			p = decode_unicode(p, end, &to);
			continue;
		}
		for (size_t i = 0; i < sizeof(escapes) / sizeof(escapes[0]); i++)
			if (escapes[i][0] == c)
				c = escapes[i][1];
		*to++ = c;
	}
	return (size_t)(to - out);
}
