/* The plan's budget in tokens and money, which is never passed: before a request is sent, the most
 * that it can cost is set aside, and it waits where that is not to be had.
 *
 * The most: as many input tokens as the body has bytes (a token is at least one byte of text, and
 * the body is longer than what it carries), and the settings' max_tokens of output, at the dearest
 * price of each. An attempt that may have been billed and whose usage nobody told (a connection
 * that broke, a time limit, a kill, an answer without a usage or with one that cannot be) is
 * charged all of it. Answers out of files cost nothing.
 *
 * A run without a budget notes the same in its journal and counts none of it: it may be resumed
 * with one, which holds for all that was asked. */
#ifndef BENCH_BUDGET_H
#define BENCH_BUDGET_H

#include "bench/run.h"

/* Notes the request's most and sets it aside; its body is there. False, and nothing is set aside,
 * where the budget might be passed. Always true without a budget. */
bool budget_take(struct run *run, struct request *request);
/* What was set aside is free again; what is billed is counted by answer_count_use. */
void budget_give_back(struct run *run, struct request *request);
/* The attempt may have been billed, nobody knows how much. Nothing without a budget. */
void budget_charge(struct run *run, const struct run_model *model, struct budget_most most);
bool budget_is_set(const struct run *run);
/* The most tokens that an answer of a cell is asked for; 0: nothing is said. */
int64_t budget_output(const struct run *run, const struct cell *cell);

#endif
