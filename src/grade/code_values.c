#include "grade/code_values.h"

#include "base/json.h"
#include "grade/code.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

#define NUMBER_MAX 320u
#define FLOAT_TOLERANCE 1e-9

/* ---- out ---- */

static void append_text(struct buf *out, const char *data, size_t size)
{
	buf_printf(out, "s%zu:", size);
	buf_append(out, data, size);
}

static void append_number(struct buf *out, const json_t *value)
{
	char text[32];

	if (json_is_integer(value)) {
		buf_printf(out, "i%lld;", (long long)json_integer_value(value));
		return;
	}
	size_t size = json_number_text(json_real_value(value), text);
	buf_printf(out, "f%.*s;", (int)size, text);
}

/* The depth is bounded by the JSON parser's own limit. */
void code_value_append(struct buf *out, const json_t *value)
{
	const char *key;
	json_t *item;
	size_t index;

	switch (json_typeof(value)) {
	case JSON_NULL:
		buf_append_char(out, 'N');
		break;
	case JSON_TRUE:
		buf_append_char(out, 'T');
		break;
	case JSON_FALSE:
		buf_append_char(out, 'F');
		break;
	case JSON_INTEGER:
	case JSON_REAL:
		append_number(out, value);
		break;
	case JSON_STRING:
		append_text(out, json_string_value(value), json_string_length(value));
		break;
	case JSON_ARRAY:
		buf_printf(out, "l%zu:", json_array_size(value));
		json_array_foreach((json_t *)value, index, item) code_value_append(out, item);
		break;
	case JSON_OBJECT:
		buf_printf(out, "d%zu:", json_object_size(value));
		json_object_foreach((json_t *)value, key, item)
		{
			append_text(out, key, strlen(key));
			code_value_append(out, item);
		}
		break;
	}
}

/* ---- in ---- */

static json_t *take_value(struct bytes *text, unsigned depth);

/* Digits up to `end`; false if there are none, too many, or the number passes `max`. */
static bool take_size(struct bytes *text, size_t max, size_t *out)
{
	struct bytes rest, digits = bytes_split(*text, ':', &rest);
	uint64_t size;

	if (!rest.data || !bytes_to_u64(digits, max, &size))
		return false;
	*text = rest;
	*out = (size_t)size;
	return true;
}

/* The number up to the semicolon, NUL-terminated; false if it is too long to be one. */
static bool take_number(struct bytes *text, char out[static NUMBER_MAX])
{
	const char *end = memchr(text->data, ';', text->size);
	size_t size = end ? (size_t)(end - text->data) : 0;

	if (size == 0 || size >= NUMBER_MAX)
		return false;
	memcpy(out, text->data, size);
	out[size] = '\0';
	text->data += size + 1;
	text->size -= size + 1;
	return true;
}

static json_t *take_real(struct bytes *text)
{
	char number[NUMBER_MAX], *end;

	if (!take_number(text, number))
		return NULL;
	double value = strtod(number, &end);
	return *end || !isfinite(value) ? NULL : json_real(value);
}

static json_t *take_integer(struct bytes *text)
{
	char number[NUMBER_MAX], *end;

	if (!take_number(text, number))
		return NULL;
	errno = 0;
	long long value = strtoll(number, &end, 10);
	if (*end)
		return NULL;
	if (errno == 0)
		return json_integer(value);
	double real = strtod(number, &end);
	return isfinite(real) ? json_real(real) : NULL;
}

static json_t *take_string(struct bytes *text)
{
	size_t size;

	if (!take_size(text, text->size, &size) || size > text->size)
		return NULL;
	json_t *value = json_stringn(text->data, size); /* NULL if it isn't UTF-8 */
	text->data += size;
	text->size -= size;
	return value;
}

static json_t *take_array(struct bytes *text, unsigned depth)
{
	json_t *array;
	size_t count;

	if (!take_size(text, text->size, &count) || !(array = json_array()))
		return NULL;
	for (size_t i = 0; i < count; i++) {
		if (json_array_append_new(array, take_value(text, depth - 1)) != 0) {
			json_decref(array);
			return NULL;
		}
	}
	return array;
}

/* As Python's json writes keys: numbers by their text, true, false and null by their names. */
static bool key_text(const json_t *key, struct buf *out)
{
	char number[32];

	switch (json_typeof(key)) {
	case JSON_STRING:
		buf_append(out, json_string_value(key), json_string_length(key));
		break;
	case JSON_INTEGER:
		buf_printf(out, "%lld", (long long)json_integer_value(key));
		break;
	case JSON_REAL:
		buf_append(out, number, json_number_text(json_real_value(key), number));
		break;
	case JSON_TRUE:
	case JSON_FALSE:
		buf_append_cstr(out, json_is_true(key) ? "true" : "false");
		break;
	case JSON_NULL:
		buf_append_cstr(out, "null");
		break;
	default:
		return false;
	}
	return !out->failed && !memchr(out->data ? out->data : "", '\0', out->size);
}

static bool take_member(struct bytes *text, json_t *object, unsigned depth)
{
	struct buf name = BUF_INIT((size_t)1 << 20);
	json_t *key = take_value(text, depth - 1);
	bool taken = false;

	buf_append_cstr(&name, ""); /* a string even when nothing follows */
	if (key && key_text(key, &name))
		taken = json_object_set_new(object, name.data, take_value(text, depth - 1)) == 0;
	json_decref(key);
	buf_release(&name);
	return taken;
}

static json_t *take_object(struct bytes *text, unsigned depth)
{
	json_t *object;
	size_t count;

	if (!take_size(text, text->size, &count) || !(object = json_object()))
		return NULL;
	for (size_t i = 0; i < count; i++) {
		if (!take_member(text, object, depth)) {
			json_decref(object);
			return NULL;
		}
	}
	return object;
}

static json_t *take_value(struct bytes *text, unsigned depth)
{
	if (depth == 0 || text->size == 0)
		return NULL;
	char tag = *text->data;
	text->data++;
	text->size--;
	switch (tag) {
	case 'N':
		return json_null();
	case 'T':
		return json_true();
	case 'F':
		return json_false();
	case 'i':
		return take_integer(text);
	case 'f':
		return take_real(text);
	case 's':
		return take_string(text);
	case 'l':
	case 't':
		return take_array(text, depth);
	case 'd':
		return take_object(text, depth);
	default:
		return NULL;
	}
}

json_t *code_value_take(struct bytes *text)
{
	return take_value(text, CODE_VALUES_DEPTH);
}

/* ---- comparing ---- */

static bool numbers_equal(const json_t *expected, const json_t *got, double tolerance)
{
	bool integers = json_is_integer(expected) && json_is_integer(got);

	if (integers && tolerance == 0)
		return json_integer_value(expected) == json_integer_value(got);
	double a = json_number_value(expected), b = json_number_value(got);
	if (tolerance == 0)
		tolerance = FLOAT_TOLERANCE;
	return fabs(a - b) <= tolerance || fabs(a - b) <= tolerance * fabs(a);
}

static bool arrays_equal(const json_t *expected, const json_t *got, double tolerance)
{
	if (json_array_size(expected) != json_array_size(got))
		return false;
	for (size_t i = 0; i < json_array_size(expected); i++)
		if (!code_value_equal(json_array_get(expected, i), json_array_get(got, i),
				      tolerance))
			return false;
	return true;
}

static bool objects_equal(const json_t *expected, const json_t *got, double tolerance)
{
	const char *key;
	json_t *value;

	if (json_object_size(expected) != json_object_size(got))
		return false;
	json_object_foreach((json_t *)expected, key, value)
	{
		const json_t *other = json_object_get(got, key);

		if (!other || !code_value_equal(value, other, tolerance))
			return false;
	}
	return true;
}

/* The depth is bounded by the parsers of both sides. */
bool code_value_equal(const json_t *expected, const json_t *got, double tolerance)
{
	if (json_is_number(expected) && json_is_number(got))
		return numbers_equal(expected, got, tolerance);
	if (json_typeof(expected) != json_typeof(got))
		return false;
	if (json_is_array(expected))
		return arrays_equal(expected, got, tolerance);
	if (json_is_object(expected))
		return objects_equal(expected, got, tolerance);
	return json_equal(expected, got);
}
