#include "base/civil.h"

#include "base/encode.h"

#include <string.h>

#define DAY_MS 86400000

/* Numbers below 100, each a lane of decimal_pairs. */
static uint64_t lanes(unsigned a, unsigned b, unsigned c, unsigned d)
{
	return a | b << 16 | (uint64_t)c << 32 | (uint64_t)d << 48;
}

/* Years are counted from March so that the leap day comes last (Neri and Schneider, "Euclidean
 * affine functions and their application to calendar algorithms", 2022, figure 12): divisions of 32
 * bits by constants, since every request asks for its month. */
struct civil_date civil_date(uint32_t days)
{
	uint32_t quarters = 4 * (days + 719468) + 3; /* of days since 0000-03-01 */
	uint32_t century = quarters / 146097;
	uint32_t of_century = quarters % 146097 | 3;
	uint64_t years = UINT64_C(2939745) * of_century; /* in units of 2^-32 */
	uint32_t of_year = (uint32_t)years / 2939745 / 4;
	uint32_t months = 2141 * of_year + 197913; /* in units of 2^-16 */
	bool next = of_year >= 306;                /* January or February */
	return (struct civil_date){.year = 100 * century + (uint32_t)(years >> 32) + next,
				   .month = (months >> 16) - (next ? 12 : 0),
				   .day = (months & 0xffff) / 2141 + 1};
}

void civil_text(int64_t unix_ms, char out[static CIVIL_TEXT_SIZE])
{
	static const char shape[] = "0000-00-00T00:00:00.000Z";
	const int64_t last = INT64_C(253402300799999); /* the end of 9999 */
	uint64_t ms = unix_ms < 0 ? 0 : (uint64_t)(unix_ms > last ? last : unix_ms);
	uint32_t days = (uint32_t)(ms / DAY_MS), of_day = (uint32_t)(ms % DAY_MS);
	uint32_t second = of_day / 1000, minute = second / 60, milli = of_day % 1000;
	struct civil_date civil = civil_date(days);
	char date[8], time[8];
	uint64_t digits =
		decimal_pairs(lanes(civil.year / 100, civil.year % 100, civil.month, civil.day));
	memcpy(date, &digits, 8);
	digits = decimal_pairs(lanes(minute / 60, minute % 60, second % 60, milli / 10));
	memcpy(time, &digits, 8);
	memcpy(out, shape, sizeof(shape));
	memcpy(out, date, 4);
	memcpy(out + 5, date + 4, 2);
	memcpy(out + 8, date + 6, 2);
	memcpy(out + 11, time, 2);
	memcpy(out + 14, time + 2, 2);
	memcpy(out + 17, time + 4, 2);
	memcpy(out + 20, time + 6, 2);
	out[22] = (char)('0' + milli % 10);
}
