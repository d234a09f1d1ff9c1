/* The signature of a C function under test: `long total(const int *values, size_t count)`. */
#ifndef GRADE_CODE_SIGNATURE_H
#define GRADE_CODE_SIGNATURE_H

#include "base/buf.h"
#include "base/err.h"

#include <jansson.h>

#define C_PARAMETERS_MAX 16u

enum c_class { C_VOID, C_BOOL, C_CHARACTER, C_SIGNED, C_UNSIGNED, C_REAL };

/* No pointer: a scalar. `char *`: a string. Another pointer: an array. `char **`: an array of
 * strings. */
struct c_type {
	enum c_class class;
	char base[32]; /* without const: "unsigned long" */
	unsigned stars;
	bool constant; /* what it points to is not to be changed */
};

struct c_signature {
	struct c_type result;
	struct c_type parameters[C_PARAMETERS_MAX];
	unsigned count;
};

/* ERR_INVALID "<what>: signature: …". The function must be called `name`. */
enum err_code c_signature_read(const char *text, const char *name, const char *what,
			       struct c_signature *out, struct err *err);

bool c_type_is_text(const struct c_type *type);
/* An array or string that the function may write to: it is part of the value. */
bool c_type_is_changed(const struct c_type *type);

/* Whether a JSON value can be passed; ERR_INVALID "<what>: …". */
enum err_code c_value_check(const struct c_type *type, const json_t *value, const char *what,
			    struct err *err);

#endif
