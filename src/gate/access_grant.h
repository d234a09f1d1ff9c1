/* What access.c and access_grant.c share: the state of one reading, and how members are copied from
 * the YAML tree into a document. Private to these two files. */
#ifndef GATE_ACCESS_GRANT_H
#define GATE_ACCESS_GRANT_H

#include "base/yaml.h"
#include "gate/access.h"

struct access_reading {
	const struct yaml_tree *tree;
	const struct access_context *context;
	struct access *out;
	struct err *err;
};

enum err_code access_no_memory(struct access_reading *reading);

/* Takes over `value` (NULL: out of memory). */
enum err_code access_set(struct access_reading *reading, json_t *document, const char *key,
			 json_t *value);

/* An identifier, borrowed from the tree. */
enum err_code access_get_id(struct access_reading *reading, const json_t *row, const char *key,
			    const char **out);

/* Copy one member, if it is there, into the document. */
enum err_code access_copy_text(struct access_reading *reading, const json_t *row, const char *key,
			       bool required, json_t *document);
enum err_code access_copy_integer(struct access_reading *reading, const json_t *row,
				  const char *key, int64_t min, int64_t max, json_t *document);
/* *start_ms is left alone where the day is absent. */
enum err_code access_copy_date(struct access_reading *reading, const json_t *row, const char *key,
			       bool required, json_t *document, int64_t *start_ms);

/* A list of distinct strings, sorted, as a new array; NULL where it is absent and optional. */
enum err_code access_get_set(struct access_reading *reading, const json_t *row, const char *key,
			     bool optional, json_t **out);

/* The member `limits` of an org or a grant, if it is there; money needs prices of the document's
 * `models`, where it names any. */
enum err_code access_read_limits(struct access_reading *reading, const json_t *row,
				 json_t *document);

bool access_org_known(const struct access_reading *reading, const char *id);

/* One row of `grants`. */
enum err_code access_read_grant(struct access_reading *reading, const json_t *row, json_t *document,
				const char **id);

#endif
