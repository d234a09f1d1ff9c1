/* The requests of a load, finished before it starts: head and body of each in one piece. */
#ifndef LOAD_REQUESTS_H
#define LOAD_REQUESTS_H

#include "load/load.h"

#define LOAD_REQUESTS_MAX 65536

struct load_requests {
	struct buf text;
	struct load_span {
		size_t at, size;
	} * items; /* owned */
	size_t count;
};

/* `authority` and `base_path` as the origin has them. One request with a prompt of
 * options->prompt_bytes, or one for each line of options->bodies. ERR_INVALID names what is wrong
 * with a header; ERR_TOO_LARGE beyond the maximum. load_requests_release in any case. */
enum err_code load_requests_make(const struct load_options *options, struct bytes authority,
				 struct bytes base_path, struct load_requests *out,
				 struct err *err);
void load_requests_release(struct load_requests *requests);

static inline struct bytes load_requests_get(const struct load_requests *requests, uint64_t number)
{
	const struct load_span *item = &requests->items[number % requests->count];
	return bytes_of(requests->text.data + item->at, item->size);
}

#endif
