/* Limits of one request: what it reserves, takes more of, gives back and is billed, in the scopes
 * that its verdict names. On the worker's loop. */
#ifndef GATE_REQUEST_LIMITS_H
#define GATE_REQUEST_LIMITS_H

#include "gate/request.h"

/* Reserves what the request will take at first. False: `refusal` tells why; nothing was taken. */
bool gate_limits_reserve(struct gate_request *request, struct limits_refusal *refusal);
/* `tokens` more of output for a stream. */
bool gate_limits_slice(struct gate_request *request, int64_t tokens,
		       struct limits_refusal *refusal);
/* Bytes of a stream that may be taken at once, so that no more than a slice of output comes before
 * it is looked at whether there is another; 0: any number, where nothing limits output. */
uint32_t gate_limits_read_max(const struct gate_request *request);
/* Refused after it had reserved. Does nothing where nothing is reserved. */
void gate_limits_cancel(struct gate_request *request);
/* What it used in the end. */
void gate_limits_settle(struct gate_request *request, const struct record_usage *usage);
/* Counts its use; `index` is its settle record's. */
void gate_limits_count(const struct gate_request *request, const struct record_usage *usage,
		       uint64_t index);

/* ---- what parley grant check asks for, too (admin_check.c) ---- */

/* The most output tokens that the answers to an admitted request may have together. */
int64_t gate_limits_most_output(const struct policy_request *facts, const struct verdict *verdict);

/* What an admitted request reserves first. */
struct limits_wants gate_limits_wants(const struct policy_request *facts,
				      const struct verdict *verdict, size_t prompt_bytes);
/* Of so many tokens of the model: nanodollars, or LIMITS_COST_UNKNOWN. */
int64_t gate_limits_cost(const struct world_model *model, int64_t input, int64_t output);

#endif
