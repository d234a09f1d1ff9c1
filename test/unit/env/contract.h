/* The tests of env.h's contract run against the machine and against simulated worlds: what both
 * promise is written down once. */
#ifndef TEST_UNIT_ENV_CONTRACT_H
#define TEST_UNIT_ENV_CONTRACT_H

#include "env/env.h"
#include "env/env_sim.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#define CONTAINER(pointer, type, member) ((type *)((char *)(pointer)-offsetof(type, member)))
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define MILLISECOND ((uint64_t)1000000)

/* One world that the tests run in. */
struct contract_world {
	const char *name;
	bool machine;
	uint64_t seed;
	struct sim_faults faults;
};

struct contract {
	const struct contract_world *world;
	struct sim_world *sim; /* NULL on the machine */
	struct env *env;
	char directory[64]; /* empty, for the test's files */
};

/* Runs the loop until something stops it; fails the test if that takes ten seconds. */
void contract_run(struct contract *contract, struct env_loop *loop);
/* "<directory>/<name>" in a static ring of a few buffers. */
const char *contract_path(struct contract *contract, const char *name);
void contract_raise(struct contract *contract, int signal_number);

extern const struct CMUnitTest contract_loop_tests[];
extern const size_t contract_loop_count;
extern const struct CMUnitTest contract_network_tests[];
extern const size_t contract_network_count;
extern const struct CMUnitTest contract_disk_tests[];
extern const size_t contract_disk_count;

#endif
