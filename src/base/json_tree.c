/* jansson's trees, made by the scanner: strings are taken as they stand where jansson looks at them
 * byte by byte. */
#include "base/json.h"
#include "base/json_scan.h"

#include <stdlib.h>

static json_t *make(struct json_value value);

static json_t *make_string(struct json_value value)
{
	struct bytes plain;
	if (json_value_plain_string(value, &plain))
		return json_stringn_nocheck(plain.data, plain.size);
	char *decoded = malloc(value.text.size);
	if (!decoded)
		return NULL;
	json_t *string = json_stringn_nocheck(decoded, json_value_decode(value, decoded));
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
	if (raw.size == 0 || !memchr(raw.data, '\\', raw.size))
		return add_named(object, raw, value);
	struct json_value quoted = {
		JSON_SCAN_STRING, {raw.data - 1, raw.size + 2},
                 NULL
        };
	char *name = malloc(quoted.text.size);
	bool added =
		name && add_named(object, bytes_of(name, json_value_decode(quoted, name)), value);
	free(name);
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
