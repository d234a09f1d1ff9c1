/* HTTP calls that the control plane makes by itself: to webhooks and to other gateways. One pool of
 * connections, renewed now and then so that it does not collect the origins of all the world. On
 * the admin loop. */
#ifndef GATE_OUTWARD_H
#define GATE_OUTWARD_H

#include "gate/control_internal.h"
#include "net/http_client.h"

struct outward {
	struct http_pool *pool; /* NULL: none yet */
	unsigned calls;         /* since it was made */
};

/* The origin of the base URL; `authorities` vouch for it instead of the system's where it is not
 * empty. */
enum err_code outward_origin(struct outward *outward, struct control *control, struct bytes url,
			     struct bytes authorities, struct http_origin **out, struct err *err);
/* While no call is under way: a pool that has made many calls is given up. True while calls may be
 * begun. */
bool outward_ready(struct outward *outward, unsigned active);
/* How long to wait before the next try: twice `first_ns` for each failure, up to `most_ns` (which a
 * pause without failures may be above). */
uint64_t outward_backoff(uint64_t first_ns, unsigned failures, uint64_t most_ns);
/* Between three and five quarters of a pause, by chance, so that many do not come together. */
uint64_t outward_spread(struct env *env, uint64_t pause_ns);
void outward_release(struct outward *outward); /* no call may be under way */

#endif
