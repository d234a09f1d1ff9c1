/* What the tests of bundles share: a world for each test, and what its report says. */
#ifndef TEST_VERIFY_BUNDLE_CASE_H
#define TEST_VERIFY_BUNDLE_CASE_H

#include "fixture.h"

static inline int setup(void **state)
{
	struct world *world = calloc(1, sizeof(*world));
	assert_non_null(world);
	world_init(world);
	*state = world;
	return 0;
}

static inline int teardown(void **state)
{
	world_release(*state);
	free(*state);
	return 0;
}

static inline void publish(struct world *world)
{
	world_record(world);
	world_publish(world);
}

static inline bool has_note(const struct world *world, enum verify_section section,
			    const char *words)
{
	for (size_t i = 0; i < world->report.count; i++)
		if (world->report.notes[i].section == section &&
		    strstr(world->report.notes[i].text, words))
			return true;
	return false;
}

static inline void assert_headline(const struct world *world, const char *words)
{
	if (!strstr(world->report.headline, words))
		fail_msg("expected \"%s\" in: %s", words, world->report.headline);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

#endif
