/* What is counted about a request, and told of it, when it is refused, settled and over. On the
 * worker's loop; takes no lock and allocates nothing, but for a line to the operator. */
#ifndef GATE_ACCOUNT_H
#define GATE_ACCOUNT_H

#include "gate/request.h"

/* Its admit record is on its way. */
void gate_account_admitted(struct gate_request *request);
/* It is refused by verdict.rule: counted before it is told, so that who was told finds it counted.
 */
void gate_account_refused(struct gate_request *request);
/* The refusal has been sent. */
void gate_account_told(struct gate_request *request);
/* Mode observe: `rule` would have refused it, or cut it. */
void gate_account_observed(struct gate_request *request, enum rule rule);
/* Its ending and usage are known. */
void gate_account_settled(struct gate_request *request, const struct record_usage *usage);
/* Why the provider's answer did not come, for the operator: neither the client nor the log is told
 * what a certificate, a proxy or an address is about. At most one line a minute for each provider
 * and worker. */
void gate_account_upstream_failed(struct gate_request *request, const char *problem);
/* Its settle record is in the log: it is in flight no more. */
void gate_account_recorded(struct gate_request *request);
/* The last byte of an admitted request's answer was given to its connection, or the client is gone.
 */
void gate_account_finished(struct gate_request *request);

/* Over without a decision: the list of models was given, or its client left while it waited. */
void gate_account_listed(struct gate_request *request);
void gate_account_left(struct gate_request *request);

/* access_line.c: a line of the access log, which is on. `outcome`: admitted, refused, listed, left.
 */
void gate_account_line(struct gate_request *request, const char *outcome);

#endif
