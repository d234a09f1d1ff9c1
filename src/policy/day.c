#include "policy/day.h"

#include "base/civil.h"

/* Days since 1970 of a civil date, the inverse of civil_date (H. Hinnant, "chrono-compatible
 * low-level date algorithms"): years start in March, eras have 400 of them. */
static int64_t days_from_civil(int64_t year, int64_t month, int64_t day)
{
	year -= month <= 2;
	int64_t year_of_era = year % 400;
	int64_t day_of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
	int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
	return year / 400 * 146097 + day_of_era - 719468;
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

void world_format_day(int64_t ms, char out[static 11])
{
	char text[CIVIL_TEXT_SIZE];
	civil_text(ms, text);
	memcpy(out, text, 10);
	out[10] = '\0';
}

int64_t day_month(int64_t day)
{
	struct civil_date date =
		civil_date(day < 0 ? 0 : (uint32_t)(day > CIVIL_LAST_DAY ? CIVIL_LAST_DAY : day));
	return ((int64_t)date.year - 1970) * 12 + date.month - 1;
}

int64_t day_of_month_start(int64_t month)
{
	return days_from_civil(1970 + month / 12, month % 12 + 1, 1);
}
