/* access.yaml (DESIGN.md section 4): organisations, links, terms, published suites and grants, as
 * documents in a normal form. Whatever this build cannot enforce is refused by file and line, never
 * half enforced. */
#ifndef GATE_ACCESS_H
#define GATE_ACCESS_H

#include "base/err.h"
#include "base/json.h"
#include "gate/config.h"

#define ACCESS_TEXT_MAX ((size_t)16 << 20)

/* What the file is checked against besides itself. All borrowed; the trees may be NULL. */
struct access_context {
	const struct config *config; /* the models that grants may name */
	const json_t *orgs;          /* object: ids that are there already */
	const json_t *terms;         /* the clauses in force, where the file brings no terms */
};

/* Documents by id, each an object in normal form: absent members left out, defaults filled in, sets
 * sorted, so that equal meaning is equal JSON. An object is empty where the file has none of its
 * kind. */
struct access {
	json_t *orgs;
	json_t *links; /* by "from kind to" */
	json_t *terms; /* NULL where the file has none */
	json_t *public_suites;
	json_t *grants;
};

/* ERR_INVALID and ERR_UNSUPPORTED read "FILE:LINE: key: …". On ERR_OK the caller owns *out. */
enum err_code access_parse(struct bytes text, const char *file,
			   const struct access_context *context, struct access *out,
			   struct err *err);
void access_release(struct access *access);

#endif
