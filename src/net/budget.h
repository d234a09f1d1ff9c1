/* What the servers of several loops may take together: connections and memory. All of it is
 * counted with relaxed atomics; nobody waits for anybody. */
#ifndef NET_BUDGET_H
#define NET_BUDGET_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

/* Buffers up to this size are not counted: there is at most one for each direction of a connection,
 * and connections are bounded themselves. Only what is larger costs an atomic operation. */
#define NET_SMALL_BUFFER 16384u

struct net_budget {
	unsigned clients_max; /* connections accepted; 0: no bound */
	size_t memory_max;    /* bytes; 0: no bound */
	atomic_uint clients;
	atomic_size_t memory; /* of bodies and answers */
	atomic_size_t unread; /* of these, answers that their clients have not taken yet */
	atomic_ulong pauses;  /* how often accept was paused for want of a place */
};

/* Takes a place for one connection; false when there is none. `budget` may be NULL. */
static inline bool net_budget_enter(struct net_budget *budget)
{
	if (!budget)
		return true;
	unsigned before = atomic_fetch_add_explicit(&budget->clients, 1, memory_order_relaxed);
	if (!budget->clients_max || before < budget->clients_max)
		return true;
	atomic_fetch_sub_explicit(&budget->clients, 1, memory_order_relaxed);
	return false;
}

static inline void net_budget_leave(struct net_budget *budget)
{
	if (budget)
		atomic_fetch_sub_explicit(&budget->clients, 1, memory_order_relaxed);
}

/* `*charged`, kept by the owner of some buffers, follows the bytes they take now. `sum` is one of
 * the budget's, or NULL. */
static inline void net_budget_follow(atomic_size_t *sum, size_t *charged, size_t now)
{
	if (now == *charged)
		return;
	if (sum) /* wraps where it shrinks, as unsigned sums do */
		atomic_fetch_add_explicit(sum, now - *charged, memory_order_relaxed);
	*charged = now;
}

static inline void net_budget_charge(struct net_budget *budget, size_t *charged, size_t now)
{
	net_budget_follow(budget ? &budget->memory : NULL, charged, now);
}

/* What of a buffer's capacity counts. */
static inline size_t net_budget_bytes(size_t capacity)
{
	return capacity > NET_SMALL_BUFFER ? capacity : 0;
}

static inline bool net_budget_is_full(struct net_budget *budget)
{
	return budget && budget->memory_max &&
	       atomic_load_explicit(&budget->memory, memory_order_relaxed) > budget->memory_max;
}

/* Whether it is slow readers that keep the memory. Where it is not, somebody must be let past the
 * bound, or answers that are half collected would wait for each other. */
static inline bool net_budget_is_unread(struct net_budget *budget)
{
	return atomic_load_explicit(&budget->unread, memory_order_relaxed) > budget->memory_max / 2;
}

/* Whether a body of `size` bytes may begin. A quarter is left for answers, so that what has been
 * admitted can be finished. */
static inline bool net_budget_has_room(struct net_budget *budget, size_t size)
{
	if (!budget || !budget->memory_max)
		return true;
	size_t used = atomic_load_explicit(&budget->memory, memory_order_relaxed);
	size_t most = budget->memory_max - budget->memory_max / 4;
	return used <= most && net_budget_bytes(size) <= most - used;
}

#endif
