/* YAML files (parley.yaml, access.yaml, suite.yaml, plan.yaml) as JSON trees that know their lines,
 * so that an error can say `parley.yaml:12: limits.rpm: must be at least 1`.
 *
 * A strict subset of YAML 1.2: one document, a mapping at its top; plain scalars by the core schema
 * (null, true and false, integers, floats; dates and everything else are strings, quoted and block
 * scalars always are); duplicate keys, keys that are not scalars, anchors, aliases, tags, merge
 * keys, %TAG directives, NUL characters, .inf and .nan are refused. `${NAME}` is text here. */
#ifndef BASE_YAML_H
#define BASE_YAML_H

#include "base/buf.h"
#include "base/err.h"

#include <jansson.h>

#define YAML_TEXT_MAX ((size_t)16 << 20)
#define YAML_DEPTH_MAX 32
#define YAML_NODES_MAX 1000000u

struct yaml_tree;

/* `file` names the text in errors (kept as a copy). ERR_INVALID with file and line on anything that
 * is refused, ERR_TOO_LARGE beyond YAML_TEXT_MAX bytes or YAML_NODES_MAX values. The caller owns
 * *out. */
enum err_code yaml_parse(struct bytes text, const char *file, struct yaml_tree **out,
			 struct err *err);
void yaml_tree_free(struct yaml_tree *tree);

/* The mapping at the top, borrowed. Values may be replaced in it, in place: lines are kept by their
 * container and key. */
json_t *yaml_root(const struct yaml_tree *tree);
const char *yaml_file(const struct yaml_tree *tree);

/* The line (from 1) where a value begins. `node` is a container, string or number of the tree; 0
 * where it is not known (true, false and null are shared: ask yaml_line_of their member). */
int yaml_line(const struct yaml_tree *tree, const json_t *node);
/* The line of a member's key; the object's own line where it has no such key. */
int yaml_line_of(const struct yaml_tree *tree, const json_t *object, const char *key);
/* The line of an element; the array's own line where it has no such element. */
int yaml_line_at(const struct yaml_tree *tree, const json_t *array, size_t index);

/* Set `err` to "FILE:LINE: path.to.key: <problem>" and return `code`. With key NULL the place is
 * the object (any container) itself. Elements are written as in `models[2].price`. */
enum err_code yaml_fail(const struct yaml_tree *tree, const json_t *object, const char *key,
			struct err *err, enum err_code code, const char *format, ...)
	__attribute__((format(printf, 6, 7)));
enum err_code yaml_fail_at(const struct yaml_tree *tree, const json_t *array, size_t index,
			   struct err *err, enum err_code code, const char *format, ...)
	__attribute__((format(printf, 6, 7)));

/* Typed members of an object of the tree, as in base/json.h: ERR_INVALID when the key is missing,
 * of another type or out of range; the *_or forms give the fallback when it is absent. An explicit
 * null counts as absent. Strings and containers are borrowed from the tree. */
enum err_code yaml_get_string(const struct yaml_tree *tree, const json_t *object, const char *key,
			      const char **out, struct err *err);
enum err_code yaml_get_string_or(const struct yaml_tree *tree, const json_t *object,
				 const char *key, const char *fallback, const char **out,
				 struct err *err);
enum err_code yaml_get_integer(const struct yaml_tree *tree, const json_t *object, const char *key,
			       int64_t min, int64_t max, int64_t *out, struct err *err);
enum err_code yaml_get_integer_or(const struct yaml_tree *tree, const json_t *object,
				  const char *key, int64_t min, int64_t max, int64_t fallback,
				  int64_t *out, struct err *err);
/* Integers are numbers too. */
enum err_code yaml_get_number_or(const struct yaml_tree *tree, const json_t *object,
				 const char *key, double min, double max, double fallback,
				 double *out, struct err *err);
enum err_code yaml_get_bool_or(const struct yaml_tree *tree, const json_t *object, const char *key,
			       bool fallback, bool *out, struct err *err);
/* `type` is JSON_ARRAY or JSON_OBJECT; absent gives NULL when `optional`. */
enum err_code yaml_get_container(const struct yaml_tree *tree, const json_t *object,
				 const char *key, json_type type, bool optional, json_t **out,
				 struct err *err);
/* An array whose elements are all strings; absent gives NULL when `optional`. */
enum err_code yaml_get_strings(const struct yaml_tree *tree, const json_t *object, const char *key,
			       bool optional, json_t **out, struct err *err);

/* One of the words of `words` (NULL-terminated): *index is its place. ERR_INVALID lists them. */
enum err_code yaml_get_choice(const struct yaml_tree *tree, const json_t *object, const char *key,
			      const char *const *words, unsigned *index, struct err *err);

/* ERR_INVALID naming the first key, by line, that is not in `allowed` (NULL-terminated). */
enum err_code yaml_only_keys(const struct yaml_tree *tree, const json_t *object,
			     const char *const *allowed, struct err *err);

#endif
