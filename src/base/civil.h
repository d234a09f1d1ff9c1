/* Time as a date in UTC, without the C library's, which takes a lock. Pure. */
#ifndef BASE_CIVIL_H
#define BASE_CIVIL_H

#include <stdint.h>

#define CIVIL_TEXT_SIZE sizeof("0000-00-00T00:00:00.000Z")

/* By days since 1970-01-01, at most CIVIL_LAST_DAY (9999-12-31). */
#define CIVIL_LAST_DAY 2932896
struct civil_date {
	uint32_t year, month, day; /* months and days from 1 */
};
struct civil_date civil_date(uint32_t days);

/* RFC 3339 with milliseconds of Unix time in milliseconds; before 1970 and after 9999 the first and
 * the last moment of what can be told. */
void civil_text(int64_t unix_ms, char out[static CIVIL_TEXT_SIZE]);

#endif
