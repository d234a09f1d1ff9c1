/* UTC days, as dates of grants name them. */
#ifndef POLICY_DAY_H
#define POLICY_DAY_H

#include "base/bytes.h"

#define WORLD_DAY_MS ((int64_t)86400000)

/* Milliseconds since 1970 at which the UTC day YYYY-MM-DD starts; false if it is no such date
 * (years 1970 to 9999). Adding WORLD_DAY_MS to the last day gives `until_ms` of a grant. */
bool world_parse_day(struct bytes text, int64_t *start_ms);

/* "YYYY-MM-DD" of the UTC day, NUL-terminated; days outside of 1970 to 9999 become the nearest. */
void world_format_day(int64_t ms, char out[static 11]);

/* The calendar month of the day that is so many days after 1970-01-01 (0: January 1970), and the
 * first day of a month. Days from 0 to 9999-12-31; others count as the nearest. */
int64_t day_month(int64_t day);
int64_t day_of_month_start(int64_t month);

#endif
