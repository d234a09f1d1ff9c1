/* What every test of the ledger starts with. */
#ifndef TEST_LEDGER_CHECK_H
#define TEST_LEDGER_CHECK_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/err.h"

#include <stdio.h>

/* The call must work; its error is shown otherwise. */
#define assert_works(call, err)                                                          \
	do {                                                                             \
		enum err_code works_ = (call);                                           \
		if (works_ != ERR_OK)                                                    \
			fail_msg("%s: %s: %s", #call, err_name(works_), (err)->message); \
	} while (0)

#endif
