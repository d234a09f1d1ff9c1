/* What a request used: by the provider's word as far as that can be true, else by an estimate. */
#ifndef GATE_USAGE_H
#define GATE_USAGE_H

#include "gate/request.h"

/* Output tokens that the stream under way has made, as far as it was seen. */
int64_t gate_usage_seen(const struct gate_request *request);

/* At its end. More than the request can have taken is no count: it is estimated as if nothing had
 * been said, counted among the metrics, and told to the operator. */
struct record_usage gate_usage(struct gate_request *request);

#endif
