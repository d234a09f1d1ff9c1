/* What log_open does to a directory of segments; for the log*.c files alone. */
#ifndef LEDGER_LOG_RECOVER_H
#define LEDGER_LOG_RECOVER_H

#include "ledger/log_internal.h"

/* Reads checkpoint and segments, checks them, cuts off a torn tail, and leaves the log ready for
 * the next record; makes the first segment of a new log. */
enum err_code log_recover(struct log *log, struct err *err);
/* Appends an `unknown` record for every admit record without an outcome. */
enum err_code log_recover_outcomes(struct log *log, struct err *err);

#endif
