/* JSON trees (configuration, admin, bundles, the words of a bound request) of jansson, strict, and
 * RFC 8785. The request path uses json_scan.h. */
#ifndef BASE_JSON_H
#define BASE_JSON_H

#include "base/buf.h"
#include "base/err.h"

#include <jansson.h>

/* Parses one whole document: duplicate keys, trailing bytes and NUL bytes are refused; any value
 * may stand at the top. `what` names the text in errors ("line 3, column 7 of <what>: …"). The
 * caller owns *out (json_decref). */
enum err_code json_parse(struct bytes text, const char *what, json_t **out, struct err *err);

/* The same tree of a text that the scanner of json_scan.h takes, in a fraction of the time. NULL
 * where either would refuse it, and when memory is out: json_parse says why. */
json_t *json_tree(struct bytes text);

/* RFC 8785 (JSON Canonicalization Scheme) text of `value`, appended. Fails with ERR_INVALID on a
 * number that is not finite or whose text would be an integer beyond 2^53, ERR_NO_MEMORY when the
 * buffer fails. */
enum err_code json_canonical(const json_t *value, struct buf *out, struct err *err);

/* SHA-256 of the canonical text. */
enum err_code json_canonical_digest(const json_t *value, uint8_t digest[static 32],
				    struct err *err);

/* How many of the first bytes are printable ASCII that a JSON string holds as they are. */
size_t json_plain_run(struct bytes text);
/* Copies all of it; false if a JSON string does not hold it as it is. */
bool json_copy_plain(struct bytes text, char *out);

/* The string as RFC 8785 writes it, with quotes. */
void json_append_string(struct buf *out, struct bytes text);

/* ECMAScript's Number::toString (RFC 8785, section 3.2.2.3) of a finite double. `out` holds 32
 * bytes; the length is returned. */
size_t json_number_text(double value, char out[static 32]);

/* Typed members of an object. `json_get_*` return ERR_INVALID naming `what` and the key when the
 * key is missing or of another type; the *_or forms give the fallback when it is absent (and still
 * fail on a wrong type). Strings are borrowed from the tree. */
enum err_code json_get_string(const json_t *object, const char *key, const char *what,
			      const char **out, struct err *err);
enum err_code json_get_string_or(const json_t *object, const char *key, const char *what,
				 const char *fallback, const char **out, struct err *err);
enum err_code json_get_integer(const json_t *object, const char *key, const char *what, int64_t min,
			       int64_t max, int64_t *out, struct err *err);
enum err_code json_get_integer_or(const json_t *object, const char *key, const char *what,
				  int64_t min, int64_t max, int64_t fallback, int64_t *out,
				  struct err *err);
enum err_code json_get_bool_or(const json_t *object, const char *key, const char *what,
			       bool fallback, bool *out, struct err *err);
/* `type` is JSON_ARRAY or JSON_OBJECT; borrowed; absent gives NULL when `optional`. */
enum err_code json_get_container(const json_t *object, const char *key, const char *what,
				 json_type type, bool optional, json_t **out, struct err *err);

/* The text of a member, borrowed; "" where it is absent or no text. */
static inline const char *json_text(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));
	return text ? text : "";
}

/* The number of a member, or its integer; 0 where it is absent or of another type. */
static inline double json_number(const json_t *object, const char *key)
{
	return json_number_value(json_object_get(object, key));
}
static inline long long json_count(const json_t *object, const char *key)
{
	return (long long)json_integer_value(json_object_get(object, key));
}

/* A computed figure as a new value of twelve digits, so that who computes it again in another order
 * finds the same; null where it is not finite. NULL when memory is out. */
json_t *json_figure(double value);

/* Sets a member and takes the value over. False where the value is NULL (it could not be made) or
 * memory is out. */
static inline bool json_set(json_t *object, const char *key, json_t *value)
{
	return json_object_set_new(object, key, value) == 0;
}
/* The same for a text; one that is NULL or empty is left out. */
static inline bool json_set_text(json_t *object, const char *key, const char *text)
{
	return !text || !*text || json_set(object, key, json_string(text));
}

/* ERR_INVALID naming the first key that is not in `allowed` (NULL-terminated). */
enum err_code json_only_keys(const json_t *object, const char *const *allowed, const char *what,
			     struct err *err);

#endif
