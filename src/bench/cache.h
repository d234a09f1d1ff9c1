/* --cache DIR: responses of earlier requests, one file each, named by the SHA-256 of the URL, the
 * exact body and the number of the sample (so that samples of one item stay different answers). No
 * key is in it. A file is a line of JSON with the SHA-256 of the response, then the response as it
 * came; one that does not match, cut off by a crash perhaps, counts as absent. Only bare providers'
 * answers are kept: behind a gateway an answer counts by its receipt, which no cache can give. */
#ifndef BENCH_CACHE_H
#define BENCH_CACHE_H

#include "bench/run.h"

/* Makes the folder. */
enum err_code cache_open(struct run *run, struct err *err);
/* Fills request->response with what was kept for it. Its body is there. */
bool cache_find(struct run *run, struct request *request);
/* Keeps request->response. A failure costs the next run a request, and is not told. */
void cache_keep(struct run *run, const struct request *request);

#endif
