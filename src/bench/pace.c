#include "bench/pace.h"

#define SHRINK (2.0 / 3.0)

void pace_init(struct pace *pace, unsigned most)
{
	*pace = (struct pace){.most = most < 1 ? 1 : most};
	pace->window = pace->most < PACE_START ? pace->most : PACE_START;
}

void pace_answered(struct pace *pace)
{
	pace->window += pace->careful ? 1 / pace->window : 1;
	if (pace->window > pace->most)
		pace->window = pace->most;
}

void pace_pushed_back(struct pace *pace, uint64_t now_ns, uint64_t hold_ns)
{
	if (now_ns + hold_ns > pace->hold_until_ns && hold_ns > 0)
		pace->hold_until_ns = now_ns + hold_ns;
	if (pace->shrunk_ns && now_ns - pace->shrunk_ns < PACE_PAUSE_NS)
		return;
	pace->careful = true;
	pace->shrunk_ns = now_ns;
	pace->window *= SHRINK;
	if (pace->window < 1)
		pace->window = 1;
}

unsigned pace_allows(const struct pace *pace)
{
	return pace->window < 1 ? 1 : (unsigned)pace->window;
}
