/* Time as a date in UTC, without the C library's, which takes a lock. Pure. */
#ifndef BASE_CIVIL_H
#define BASE_CIVIL_H

#include <stdint.h>

#define CIVIL_TEXT_SIZE sizeof("0000-00-00T00:00:00.000Z")

/* RFC 3339 with milliseconds of Unix time in milliseconds; before 1970 and after 9999 the first and
 * the last moment of what can be told. */
void civil_text(int64_t unix_ms, char out[static CIVIL_TEXT_SIZE]);

#endif
