/* jansson's trees, made by the scanner: strings are taken as they stand where jansson looks at them
 * byte by byte. */
#include "base/json.h"
#include "base/json_scan.h"

#include <stdlib.h>

static json_t *make(struct json_value value);

/* The characters of a string. What is decoded for them stands in *decoded, to be freed. False when
 * memory is out. */
static bool characters(struct json_value string, char **decoded, struct bytes *out)
{
	*decoded = NULL;
	if (json_value_plain_string(string, out))
		return true;
	*decoded = malloc(string.text.size);
	if (*decoded)
		*out = bytes_of(*decoded, json_value_decode(string, *decoded));
	return *decoded != NULL;
}

static json_t *make_string(struct json_value value)
{
	struct bytes text;
	char *decoded;
	json_t *string = characters(value, &decoded, &text)
				 ? json_stringn_nocheck(text.data, text.size)
				 : NULL;
	free(decoded);
	return string;
}

/* What is no plain integer is read by jansson, which knows which numbers are too large. */
static json_t *make_number(struct json_value value)
{
	int64_t integer;
	if (json_value_integer(value, INT64_MIN, INT64_MAX, &integer))
		return json_integer(integer);
	return json_loadb(value.text.data, value.text.size, JSON_DECODE_ANY, NULL);
}

static json_t *make_array(struct json_value value)
{
	json_t *array = json_array();
	struct json_walk walk = json_walk_start(value);
	while (array && json_walk_next(&walk)) {
		if (json_array_append_new(array, make(walk.value)) != 0) {
			json_decref(array);
			return NULL;
		}
	}
	return array;
}

/* Below the top the scanner lets a name stand twice. jansson's names hold no NUL. */
static bool add_named(json_t *object, struct bytes name, struct json_value value)
{
	return !memchr(name.data, '\0', name.size) &&
	       !json_object_getn(object, name.data, name.size) &&
	       json_object_setn_new_nocheck(object, name.data, name.size, make(value)) == 0;
}

static bool add_member(json_t *object, struct bytes raw, struct json_value value)
{
	const struct json_value quoted = {.type = JSON_SCAN_STRING,
					  .text = bytes_of(raw.data - 1, raw.size + 2)};
	struct bytes name;
	char *decoded;
	bool added = characters(quoted, &decoded, &name) && add_named(object, name, value);
	free(decoded);
	return added;
}

static json_t *make_object(struct json_value value)
{
	json_t *object = json_object();
	struct json_walk walk = json_walk_start(value);
	while (object && json_walk_next(&walk)) {
		if (!add_member(object, walk.key, walk.value)) {
			json_decref(object);
			return NULL;
		}
	}
	return object;
}

static json_t *make_null(struct json_value value)
{
	(void)value;
	return json_null();
}

static json_t *make_boolean(struct json_value value)
{
	return json_boolean(value.type == JSON_SCAN_TRUE);
}

static json_t *make_nothing(struct json_value value)
{
	(void)value;
	return NULL;
}

static json_t *make(struct json_value value)
{
	static json_t *(*const makers[])(struct json_value) = {
		[JSON_SCAN_NOTHING] = make_nothing, [JSON_SCAN_NULL] = make_null,
		[JSON_SCAN_FALSE] = make_boolean,   [JSON_SCAN_TRUE] = make_boolean,
		[JSON_SCAN_NUMBER] = make_number,   [JSON_SCAN_STRING] = make_string,
		[JSON_SCAN_ARRAY] = make_array,     [JSON_SCAN_OBJECT] = make_object,
	};
	return makers[value.type](value);
}

json_t *json_tree(struct bytes text)
{
	struct json_scan scan;
	if (json_scan_text(&scan, text, "the text", NULL) != ERR_OK)
		return NULL;
	return make(json_scan_root(&scan, text));
}
