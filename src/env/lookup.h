/* What every world does alike with a name to be looked up. */
#ifndef ENV_LOOKUP_H
#define ENV_LOOKUP_H

#include "env/env.h"

/* A numeric host is answered at once, by message; for any other `run` is called in a job, which
 * fills in the addresses or the error. */
void env_lookup_begin(struct env_loop *loop, struct env_lookup *lookup,
		      void (*run)(struct env_job *job));

#endif
