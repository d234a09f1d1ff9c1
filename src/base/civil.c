#include "base/civil.h"

#include <string.h>

static void put_two(char *out, unsigned value)
{
	out[0] = (char)('0' + value / 10);
	out[1] = (char)('0' + value % 10);
}

/* Year, month and day from days since 1970-01-01, counting years from March so that the leap day
 * comes last. */
static void civil_date(int64_t days, unsigned *year, unsigned *month, unsigned *day)
{
	int64_t shifted = days + 719468; /* since 0000-03-01 */
	int64_t era = shifted / 146097;
	unsigned of_era = (unsigned)(shifted - era * 146097);
	unsigned year_of_era = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
	unsigned of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
	unsigned from_march = (5 * of_year + 2) / 153;
	*day = of_year - (153 * from_march + 2) / 5 + 1;
	*month = from_march < 10 ? from_march + 3 : from_march - 9;
	*year = year_of_era + (unsigned)(era * 400) + (*month <= 2);
}

void civil_text(int64_t unix_ms, char out[static CIVIL_TEXT_SIZE])
{
	static const char shape[] = "0000-00-00T00:00:00.000Z";
	const int64_t last = INT64_C(253402300799999); /* the end of 9999 */
	unsigned year, month, day;
	int64_t ms = unix_ms < 0 ? 0 : unix_ms > last ? last : unix_ms;
	civil_date(ms / 86400000, &year, &month, &day);
	unsigned of_day = (unsigned)(ms % 86400000);
	memcpy(out, shape, sizeof(shape));
	put_two(out, year / 100);
	put_two(out + 2, year % 100);
	put_two(out + 5, month);
	put_two(out + 8, day);
	put_two(out + 11, of_day / 3600000);
	put_two(out + 14, of_day / 60000 % 60);
	put_two(out + 17, of_day / 1000 % 60);
	put_two(out + 20, of_day % 1000 / 10);
	out[22] = (char)('0' + of_day % 10);
}
