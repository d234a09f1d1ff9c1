#include "policy/day.h"

#define LAST_DAY 2932896 /* 9999-12-31 */

/* Days since 1970 of a civil date (H. Hinnant, "chrono-compatible low-level date
 * algorithms"): years start in March, eras have 400 of them. */
static int64_t days_from_civil(int64_t year, int64_t month, int64_t day)
{
	year -= month <= 2;
	int64_t year_of_era = year % 400;
	int64_t day_of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
	int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
	return year / 400 * 146097 + day_of_era - 719468;
}

/* The inverse after C. Neri and L. Schneider, "Euclidean affine functions and their application to
 * calendar algorithms" (2022), figure 12: divisions of 32 bits by constants, since every request
 * asks for its month. */
static void civil_from_days(int64_t days, int *year, int *month, int *day)
{
	uint32_t quarters = 4 * (uint32_t)(days + 719468) + 3;
	uint32_t century = quarters / 146097, day_of_century = quarters % 146097 / 4;
	uint64_t scaled = (uint64_t)2939745 * (4 * day_of_century + 3);
	uint32_t day_of_year = (uint32_t)scaled / 2939745 / 4;
	uint32_t months = 2141 * day_of_year + 197913;
	bool next_year = day_of_year >= 306; /* January or February */
	*day = (int)((months & 0xffff) / 2141 + 1);
	*month = (int)(months >> 16) - (next_year ? 12 : 0);
	*year = (int)(100 * century + (uint32_t)(scaled >> 32)) + next_year;
}

bool world_parse_day(struct bytes text, int64_t *start_ms)
{
	uint64_t year, month, day;
	if (text.size != 10 || text.data[4] != '-' || text.data[7] != '-' ||
	    !bytes_to_u64(bytes_of(text.data, 4), 9999, &year) ||
	    !bytes_to_u64(bytes_of(text.data + 5, 2), 12, &month) ||
	    !bytes_to_u64(bytes_of(text.data + 8, 2), 31, &day) || year < 1970)
		return false;
	int64_t ms = days_from_civil((int64_t)year, (int64_t)month, (int64_t)day) * WORLD_DAY_MS;
	char again[11];
	world_format_day(ms, again);
	if (memcmp(again, text.data, 10) != 0)
		return false; /* 31 February and the like */
	*start_ms = ms;
	return true;
}

static void put_digits(char *out, int value, int digits)
{
	for (int i = digits - 1; i >= 0; i--) {
		out[i] = (char)('0' + value % 10);
		value /= 10;
	}
}

void world_format_day(int64_t ms, char out[static 11])
{
	int64_t days = ms < 0 ? 0 : ms / WORLD_DAY_MS;
	int year, month, day;
	civil_from_days(days > LAST_DAY ? LAST_DAY : days, &year, &month, &day);
	memcpy(out, "0000-00-00", 11);
	put_digits(out, year, 4);
	put_digits(out + 5, month, 2);
	put_digits(out + 8, day, 2);
}

int64_t day_month(int64_t day)
{
	int year, month, of_month;
	day = day < 0 ? 0 : day;
	civil_from_days(day > LAST_DAY ? LAST_DAY : day, &year, &month, &of_month);
	return (int64_t)(year - 1970) * 12 + month - 1;
}

int64_t day_of_month_start(int64_t month)
{
	return days_from_civil(1970 + month / 12, month % 12 + 1, 1);
}
