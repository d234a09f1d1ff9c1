/* Conversations that another harness leads: the words of a step hold the answers to those before
 * it, so that they can be recognised as soon as these have come, and only for the sample that they
 * are of. A command that begins again is given the answers that are there, step by step. */
#include "bench/proxy_internal.h"

#include "bench/progress.h"

#include <stdlib.h>

unsigned proxied_turns_answered(const struct cell *cell, size_t index)
{
	unsigned state = cell->tasks[index].state;
	bool whole = state == TASK_ANSWERED || state == TASK_UNGRADED || state == TASK_GRADING;
	return steps_done(cell, index) + whole;
}

static enum err_code add_turn(struct proxy *proxy, const struct cell *cell, size_t index,
			      unsigned step, struct err *err)
{
	struct words_turn turn = {.index = index, .cell = cell->number, .step = step};
	ERR_TRY(steps_digest(proxy->run, cell, index, step, turn.digest, err));
	return words_index_add_turn(proxy->index, &turn)
		       ? ERR_OK
		       : ERR_SET(err, ERR_NO_MEMORY, "out of memory for a conversation's turns");
}

enum err_code proxied_turns_open(struct proxy *proxy, struct err *err)
{
	struct run *run = proxy->run;
	proxy->heard = calloc(run->cell_count ? run->cell_count : 1, sizeof(*proxy->heard));
	if (!proxy->heard)
		return ERR_SET(err, ERR_NO_MEMORY, "out of memory");
	proxy->heard_cells = run->cell_count;
	for (unsigned i = 0; i < run->cell_count; i++) {
		const struct cell *cell = &run->cells[i];
		if (!cell->turns || !proxy_asks(run, cell))
			continue;
		proxy->heard[i] = calloc(cell->count ? cell->count : 1, 1);
		if (!proxy->heard[i])
			return ERR_SET(err, ERR_NO_MEMORY, "out of memory");
		for (size_t k = 0; k < cell->count; k++)
			for (unsigned step = 1; step <= steps_done(cell, k); step++)
				ERR_TRY(add_turn(proxy, cell, k, step, err));
	}
	return ERR_OK;
}

void proxied_turns_release(struct proxy *proxy)
{
	for (unsigned i = 0; i < proxy->heard_cells; i++)
		free(proxy->heard[i]);
	free(proxy->heard);
}

void proxied_turns_over(struct proxied *proxied, struct request *request)
{
	struct proxy *proxy = proxied->proxy;
	const struct cell *cell = request->cell;
	uint8_t *heard = proxied_turns_heard(proxy, cell, request->index);
	unsigned answered = proxied_turns_answered(cell, request->index);
	struct err err = ERR_INIT;
	if (!heard || answered <= request->step)
		return; /* it failed: the same words may be asked again */
	if (proxied->exchange)
		*heard = (uint8_t)answered;
	if (steps_done(cell, request->index) == answered &&
	    add_turn(proxy, cell, request->index, answered, &err) != ERR_OK)
		run_fail(proxy->run, &err);
}
