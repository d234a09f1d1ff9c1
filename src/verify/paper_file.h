/* Papers of a gateway's own (grants, statements, …) as `parley verify` checks them. */
#ifndef VERIFY_PAPER_FILE_H
#define VERIFY_PAPER_FILE_H

#include "verify/verify.h"

/* Whether the file looks like the envelope of a paper. */
bool is_paper(struct env *env, const char *path);
/* Fills the report. Errors as verify_path says. */
enum err_code check_paper(struct env *env, const char *path, const struct verify_options *options,
			  struct verify_report *report, struct err *err);

#endif
