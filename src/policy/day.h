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

#endif
