/* A world as large as DESIGN.md section 5's sizes, for test_decide_scale.c and perf/policy: orgs,
 * as many grants, keys, and one suite of many leaves under one of the grants with a run over it. */
#ifndef TEST_SCALE_WORLD_H
#define TEST_SCALE_WORLD_H

#include "policy/decide.h"
#include "policy/world_builder.h"

struct scale {
	unsigned orgs, keys;
	uint32_t leaves;
	struct binding_suite *suite;
	struct binding_run *run;
	struct world *world;
};

/* The numbers are set; makes the rest. False when memory is out. */
bool scale_make_suite(struct scale *scale);
/* On the world before, if there is one, which is given back. */
bool scale_make_world(struct scale *scale);
void scale_release(struct scale *scale);

/* The keyed words of a leaf (or, beyond the last one, of none). */
void scale_words(uint32_t leaf, uint8_t digest[static SHA256_SIZE]);
/* A request by the key for those words; `words` must outlive it. The suite is under grant 0, which
 * key 0 has. */
struct policy_request scale_request(unsigned key, const uint8_t words[static SHA256_SIZE]);

#endif
