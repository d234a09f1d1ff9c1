/* JSON as Python's json writes it: NaN, Infinity and -Infinity may stand where a value does. */
#ifndef SUITE_PYTHON_JSON_H
#define SUITE_PYTHON_JSON_H

#include "base/buf.h"
#include "base/err.h"

#include <jansson.h>

/* json_parse (base/json.h), with null in place of each of the three. */
enum err_code python_json(struct bytes text, const char *what, json_t **out, struct err *err);

#endif
