#include "base/json.h"
#include "base/encode.h"
#include "base/sha256.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#define DEPTH_MAX 256
#define EXACT_MAX (INT64_C(1) << 53) /* a double holds every whole number up to it */

enum err_code json_parse(struct bytes text, const char *what, json_t **out, struct err *err)
{
	json_error_t error;
	/* Jansson overlooks one behind a number at the top. */
	const char *nul = text.size ? memchr(text.data, '\0', text.size) : NULL;
	*out = NULL;
	if (nul)
		return ERR_SET(err, ERR_INVALID, "%s: NUL byte at offset %zu", what,
			       (size_t)(nul - text.data));
	*out = json_loadb(text.data ? text.data : "", text.size,
			  JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL, &error);
	if (*out)
		return ERR_OK;
	return ERR_SET(err, ERR_INVALID, "line %d, column %d of %s: %s", error.line, error.column,
		       what, error.text);
}

/* Eight bytes at a time (Lamport, "Multiple byte processing with full-word instructions", 1975): a
 * byte is marked if it is below 0x20, a quote, a backslash, or has its high bit set. */
static inline uint64_t mark_special(uint64_t word)
{
	const uint64_t ones = 0x0101010101010101u, high = 0x8080808080808080u;
	uint64_t quote = word ^ ones * '"';
	uint64_t backslash = word ^ ones * '\\';
	uint64_t control = word - ones * 0x20;
	return (control | (quote - ones) | (backslash - ones) | word) & high;
}

/* Whether any of eight to sixteen bytes is special; some are looked at twice. */
static inline bool short_has_special(struct bytes text)
{
	uint64_t first, last;
	memcpy(&first, text.data, 8);
	memcpy(&last, text.data + text.size - 8, 8);
	return mark_special(first) | mark_special(last);
}

#ifdef __SSE2__
/* One bit for each of sixteen bytes that is; the sign takes those beyond ASCII for less than 0x20.
 */
static inline unsigned special_in(const char *text)
{
	__m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)text);
	__m128i quote = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('"'));
	__m128i backslash = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\\'));
	__m128i control = _mm_cmplt_epi8(bytes, _mm_set1_epi8(0x20));
	return (unsigned)_mm_movemask_epi8(_mm_or_si128(control, _mm_or_si128(quote, backslash)));
}
#endif

/* Byte by byte only where something is special, or where the text is shorter than eight: the last
 * bytes of a longer one may have been looked at already. */
size_t json_plain_run(struct bytes text)
{
	size_t run = 0;
#ifdef __SSE2__
	for (; run + 16 <= text.size; run += 16) {
		unsigned marks = special_in(text.data + run);
		if (marks)
			return run + (unsigned)__builtin_ctz(marks);
	}
	if (text.size >= 16 && run < text.size) {
		unsigned marks = special_in(text.data + text.size - 16) >> (16 - (text.size - run));
		return marks ? run + (unsigned)__builtin_ctz(marks) : text.size;
	}
#endif
	if (text.size >= 8 && text.size <= 16 && !short_has_special(text))
		return text.size;
	for (; run < text.size; run++) {
		unsigned char c = (unsigned char)text.data[run];
		if (c < 0x20 || c >= 0x80 || c == '"' || c == '\\')
			break;
	}
	return run;
}

static uint64_t copy_word(const char *text, char *out)
{
	uint64_t word;
	memcpy(&word, text, 8);
	memcpy(out, &word, 8);
	return mark_special(word);
}

/* Fewer than eight bytes: both ends, which together are all. */
static uint64_t copy_short(const char *text, size_t size, char *out)
{
	uint32_t first, last;
	uint64_t marks = 0;
	if (size < 4) {
		for (size_t i = 0; i < size; i++)
			marks |= mark_special(UINT64_C(0x2020202020202000) |
					      (unsigned char)(out[i] = text[i]));
		return marks;
	}
	memcpy(&first, text, 4);
	memcpy(&last, text + size - 4, 4);
	memcpy(out, &first, 4);
	memcpy(out + size - 4, &last, 4);
	return mark_special(first | (uint64_t)last << 32);
}

/* The last bytes of many are copied together, whether or not some have been already. */
bool json_copy_plain(struct bytes text, char *out)
{
	size_t size = text.size, at = 0;
	uint64_t marks = 0;
	if (size < 8)
		return copy_short(text.data, size, out) == 0;
#ifdef __SSE2__
	if (size >= 16) {
		unsigned special = 0;
		for (; at + 16 < size; at += 16) {
			special |= special_in(text.data + at);
			memcpy(out + at, text.data + at, 16);
		}
		special |= special_in(text.data + size - 16);
		memcpy(out + size - 16, text.data + size - 16, 16);
		return special == 0;
	}
#endif
	for (; at + 8 < size; at += 8)
		marks |= copy_word(text.data + at, out + at);
	return (marks | copy_word(text.data + size - 8, out + size - 8)) == 0;
}

void json_append_string(struct buf *out, struct bytes text)
{
	static const char *const short_forms[32] = {
		['\b'] = "\\b", ['\t'] = "\\t", ['\n'] = "\\n", ['\f'] = "\\f", ['\r'] = "\\r"};
	buf_append_char(out, '"');
	size_t from = 0;
	for (size_t i = json_plain_run(text); i < text.size; i++) {
		unsigned char c = (unsigned char)text.data[i];
		if (c >= 0x20 && c != '"' && c != '\\')
			continue;
		buf_append(out, text.data + from, i - from);
		from = i + 1;
		if (c == '"' || c == '\\') {
			buf_append_char(out, '\\');
			buf_append_char(out, (char)c);
		} else if (short_forms[c]) {
			buf_append_cstr(out, short_forms[c]);
		} else {
			buf_printf(out, "\\u%04x", c);
		}
	}
	buf_append(out, text.data + from, text.size - from);
	buf_append_char(out, '"');
}

/* The shortest decimal digits that read back as `value`, and the exponent of the first digit. */
static int shortest_digits(double value, char digits[static 20], int *exponent)
{
	char text[40];
	for (int precision = 0; precision < 17; precision++) {
		snprintf(text, sizeof(text), "%.*e", precision, value);
		if (strtod(text, NULL) == value)
			break;
	}
	int count = 0;
	const char *p = text;
	for (; *p && *p != 'e'; p++)
		if (*p != '.')
			digits[count++] = *p;
	*exponent = atoi(p + 1);
	while (count > 1 && digits[count - 1] == '0')
		count--;
	digits[count] = '\0';
	return count;
}

size_t json_number_text(double value, char out[static 32])
{
	char digits[20];
	int exponent;
	if (value == 0) {
		memcpy(out, "0", 2);
		return 1;
	}
	char *to = out;
	if (value < 0)
		*to++ = '-';
	double magnitude = fabs(value);
	if (magnitude < EXACT_MAX && magnitude == (double)(uint64_t)magnitude) {
		size_t size = decimal_text((uint64_t)magnitude, to);
		to[size] = '\0';
		return (size_t)(to - out) + size;
	}
	int count = shortest_digits(magnitude, digits, &exponent);
	int n = exponent + 1; /* ECMAScript's n: the value is 0.d1d2… times 10^n */
	size_t room = 32 - (size_t)(to - out);
	int length;
	if (count <= n && n <= 21) {
		length = snprintf(to, room, "%s%.*s", digits, n - count, "00000000000000000000");
	} else if (0 < n && n <= 21) {
		length = snprintf(to, room, "%.*s.%s", n, digits, digits + n);
	} else if (-6 < n && n <= 0) {
		length = snprintf(to, room, "0.%.*s%s", -n, "000000", digits);
	} else {
		length = snprintf(to, room, "%c%s%s%s%d", digits[0], count > 1 ? "." : "",
				  digits + 1, n > 0 ? "e+" : "e", n - 1);
	}
	return (size_t)(to - out) + (size_t)length;
}

/* The UTF-16 code units of a valid UTF-8 text decide the order of keys (RFC 8785, 3.2.3). Only
 * characters beyond U+FFFF sort differently from their bytes: as surrogates, below U+E000-U+FFFF.
 */
static int compare_utf16(const char *a, const char *b)
{
	const unsigned char *x = (const unsigned char *)a;
	const unsigned char *y = (const unsigned char *)b;
	while (*x && *x == *y) {
		x++;
		y++;
	}
	bool x_astral = *x >= 0xf0, y_astral = *y >= 0xf0;
	if (x_astral != y_astral) {
		unsigned char other = x_astral ? *y : *x;
		if (other >= 0xee) /* U+E000 and above */
			return x_astral ? -1 : 1;
	}
	return *x < *y ? -1 : *x > *y;
}

static int compare_keys(const void *a, const void *b)
{
	return compare_utf16(*(const char *const *)a, *(const char *const *)b);
}

static enum err_code canonical_value(const json_t *value, struct buf *out, int depth,
				     struct err *err);

static enum err_code canonical_object(const json_t *value, struct buf *out, int depth,
				      struct err *err)
{
	size_t count = json_object_size(value);
	const char **keys = malloc((count + 1) * sizeof(*keys));
	if (!keys)
		return ERR_SET(err, ERR_NO_MEMORY, "out of memory");
	size_t i = 0;
	const char *key;
	json_t *member;
	json_object_foreach((json_t *)value, key, member) keys[i++] = key;
	qsort(keys, count, sizeof(*keys), compare_keys);
	enum err_code code = ERR_OK;
	buf_append_char(out, '{');
	for (i = 0; i < count && code == ERR_OK; i++) {
		if (i)
			buf_append_char(out, ',');
		json_append_string(out, bytes_from(keys[i]));
		buf_append_char(out, ':');
		code = canonical_value(json_object_get(value, keys[i]), out, depth + 1, err);
	}
	buf_append_char(out, '}');
	free(keys);
	return code;
}

static enum err_code canonical_array(const json_t *value, struct buf *out, int depth,
				     struct err *err)
{
	buf_append_char(out, '[');
	for (size_t i = 0; i < json_array_size(value); i++) {
		if (i)
			buf_append_char(out, ',');
		ERR_TRY(canonical_value(json_array_get(value, i), out, depth + 1, err));
	}
	buf_append_char(out, ']');
	return ERR_OK;
}

/* Whether a number's text is that of an integer which not every reader keeps (RFC 8785, 3.1): it
 * could not be read again here. From 1e21 on it has an exponent. */
static bool is_lossy_integer(const json_t *value, double number)
{
	if (json_is_integer(value))
		return json_integer_value(value) > EXACT_MAX ||
		       json_integer_value(value) < -EXACT_MAX;
	return fabs(number) > EXACT_MAX && fabs(number) < 1e21;
}

static enum err_code canonical_number(const json_t *value, struct buf *out, struct err *err)
{
	double number = json_number_value(value);
	char text[32];
	if (!isfinite(number))
		return ERR_SET(err, ERR_INVALID, "a number that is not finite has no JSON form");
	size_t size = json_number_text(number, text);
	if (is_lossy_integer(value, number) && json_is_integer(value))
		return ERR_SET(err, ERR_INVALID,
			       "integer %lld is beyond 2^53 (RFC 8785 needs a string)",
			       (long long)json_integer_value(value));
	if (is_lossy_integer(value, number))
		return ERR_SET(err, ERR_INVALID,
			       "number %s is beyond 2^53 (RFC 8785 needs a string)", text);
	buf_append(out, text, size);
	return ERR_OK;
}

static enum err_code canonical_value(const json_t *value, struct buf *out, int depth,
				     struct err *err)
{
	if (depth > DEPTH_MAX)
		return ERR_SET(err, ERR_INVALID, "JSON nested deeper than %d", DEPTH_MAX);
	switch (json_typeof(value)) {
	case JSON_OBJECT:
		return canonical_object(value, out, depth, err);
	case JSON_ARRAY:
		return canonical_array(value, out, depth, err);
	case JSON_STRING:
		json_append_string(out,
				   bytes_of(json_string_value(value), json_string_length(value)));
		return ERR_OK;
	case JSON_INTEGER:
	case JSON_REAL:
		return canonical_number(value, out, err);
	case JSON_TRUE:
		buf_append_cstr(out, "true");
		return ERR_OK;
	case JSON_FALSE:
		buf_append_cstr(out, "false");
		return ERR_OK;
	case JSON_NULL:
		buf_append_cstr(out, "null");
		return ERR_OK;
	}
	return ERR_SET(err, ERR_INVALID, "unknown JSON type");
}

enum err_code json_canonical(const json_t *value, struct buf *out, struct err *err)
{
	ERR_TRY(canonical_value(value, out, 0, err));
	return out->failed
		       ? ERR_SET(err, ERR_NO_MEMORY, "JSON text is larger than %zu bytes", out->max)
		       : ERR_OK;
}

enum err_code json_canonical_digest(const json_t *value, uint8_t digest[static 32], struct err *err)
{
	struct buf text = BUF_INIT((size_t)1 << 30);
	enum err_code code = json_canonical(value, &text, err);
	if (code == ERR_OK)
		sha256_of(text.data, text.size, digest);
	buf_release(&text);
	return code;
}

static enum err_code missing(const char *key, const char *what, const char *type, struct err *err)
{
	return ERR_SET(err, ERR_INVALID, "%s: \"%s\" is missing (%s)", what, key, type);
}

static enum err_code wrong_type(const char *key, const char *what, const char *type,
				struct err *err)
{
	return ERR_SET(err, ERR_INVALID, "%s: \"%s\" is not %s", what, key, type);
}

enum err_code json_get_string_or(const json_t *object, const char *key, const char *what,
				 const char *fallback, const char **out, struct err *err)
{
	const json_t *value = json_object_get(object, key);
	*out = fallback;
	if (!value)
		return ERR_OK;
	if (!json_is_string(value) || strlen(json_string_value(value)) != json_string_length(value))
		return wrong_type(key, what, "a string without NUL", err);
	*out = json_string_value(value);
	return ERR_OK;
}

enum err_code json_get_string(const json_t *object, const char *key, const char *what,
			      const char **out, struct err *err)
{
	if (!json_object_get(object, key))
		return missing(key, what, "a string", err);
	return json_get_string_or(object, key, what, NULL, out, err);
}

enum err_code json_get_integer_or(const json_t *object, const char *key, const char *what,
				  int64_t min, int64_t max, int64_t fallback, int64_t *out,
				  struct err *err)
{
	const json_t *value = json_object_get(object, key);
	*out = fallback;
	if (!value)
		return ERR_OK;
	if (!json_is_integer(value))
		return wrong_type(key, what, "an integer", err);
	int64_t number = json_integer_value(value);
	if (number < min || number > max)
		return ERR_SET(err, ERR_INVALID, "%s: \"%s\" is %lld, outside %lld to %lld", what,
			       key, (long long)number, (long long)min, (long long)max);
	*out = number;
	return ERR_OK;
}

enum err_code json_get_integer(const json_t *object, const char *key, const char *what, int64_t min,
			       int64_t max, int64_t *out, struct err *err)
{
	if (!json_object_get(object, key))
		return missing(key, what, "an integer", err);
	return json_get_integer_or(object, key, what, min, max, 0, out, err);
}

enum err_code json_get_bool_or(const json_t *object, const char *key, const char *what,
			       bool fallback, bool *out, struct err *err)
{
	const json_t *value = json_object_get(object, key);
	*out = fallback;
	if (!value)
		return ERR_OK;
	if (!json_is_boolean(value))
		return wrong_type(key, what, "true or false", err);
	*out = json_is_true(value);
	return ERR_OK;
}

enum err_code json_get_container(const json_t *object, const char *key, const char *what,
				 json_type type, bool optional, json_t **out, struct err *err)
{
	const char *name = type == JSON_ARRAY ? "a list" : "an object";
	*out = json_object_get(object, key);
	if (!*out)
		return optional ? ERR_OK : missing(key, what, name, err);
	return json_typeof(*out) == type ? ERR_OK : wrong_type(key, what, name, err);
}

json_t *json_figure(double value)
{
	char text[40];
	if (!isfinite(value))
		return json_null();
	snprintf(text, sizeof(text), "%.12g", value);
	return json_real(strtod(text, NULL));
}

enum err_code json_only_keys(const json_t *object, const char *const *allowed, const char *what,
			     struct err *err)
{
	const char *key;
	json_t *value;
	json_object_foreach((json_t *)object, key, value)
	{
		const char *const *known = allowed;
		while (*known && strcmp(*known, key) != 0)
			known++;
		if (!*known)
			return ERR_SET(err, ERR_INVALID, "%s: unknown key \"%s\"", what, key);
	}
	return ERR_OK;
}
