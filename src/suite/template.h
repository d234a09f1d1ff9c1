/* Templates with {{field}} placeholders, filled from an item's fields. There is no other syntax and
 * no escape: literal double braces come from a field. */
#ifndef SUITE_TEMPLATE_H
#define SUITE_TEMPLATE_H

#include "base/buf.h"
#include "base/err.h"

#include <jansson.h>

/* ERR_INVALID unless every "{{" has its "}}" and a name of 1 to 128 bytes without braces. Calls
 * `each` (which may be NULL) for every name; it may stop the walk with an error. */
enum err_code template_scan(const char *text,
			    enum err_code (*each)(void *argument, struct bytes name,
						  struct err *err),
			    void *argument, struct err *err);
/* The same over every string in a JSON value (at most 64 levels). */
enum err_code template_scan_json(const json_t *value,
				 enum err_code (*each)(void *argument, struct bytes name,
						       struct err *err),
				 void *argument, struct err *err);

/* Appends the text with every placeholder replaced: strings as they are, everything else as
 * canonical JSON. ERR_INVALID names a field that is missing. */
enum err_code template_render(const char *text, const json_t *fields, struct buf *out,
			      struct err *err);

/* A copy of `value` with every string in it rendered; a string that is one placeholder and nothing
 * else becomes the field's value with its type. The caller owns *out. */
enum err_code template_render_json(const json_t *value, const json_t *fields, json_t **out,
				   struct err *err);

#endif
