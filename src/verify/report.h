/* Filling a report. Whatever is put in may hold hostile text: it is made printable here. */
#ifndef VERIFY_REPORT_H
#define VERIFY_REPORT_H

#include "verify/verify.h"

/* Adds a line; where memory is out or there are too many, it is left out. */
void report_note(struct verify_report *report, enum verify_section section, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Verdict and headline. */
void report_verdict(struct verify_report *report, enum verify_verdict verdict, const char *format,
		    ...) __attribute__((format(printf, 3, 4)));

/* What an error of a check means: the verdict FALSE and ERR_OK where the material is at fault, or
 * the error itself where the check could not be made. */
enum err_code report_failure(struct verify_report *report, const struct err *err);

#endif
