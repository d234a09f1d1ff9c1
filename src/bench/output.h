/* A file that is written from front to back in pieces; failures are sticky and told at the end. */
#ifndef BENCH_OUTPUT_H
#define BENCH_OUTPUT_H

#include "env/env.h"

struct output {
	struct env_file *file;
	uint64_t offset;
	struct buf buf; /* append here, then output_step */
	struct err err;
};

/* Makes or empties the file. The output must be closed in any case. */
void output_open(struct output *output, struct env *env, const char *path);
/* Hands what has gathered to the file once it is more than a little. */
void output_step(struct output *output);
/* Writes the rest, syncs and closes. The first failure, if there was one. */
enum err_code output_close(struct output *output, struct err *err);

#endif
