/* Two open-addressing tables that grow while a world is built and are only read afterwards. They
 * own their own memory, not the things in them. At most 2^30 things. */
#ifndef POLICY_LOOKUP_H
#define POLICY_LOOKUP_H

#include "base/bytes.h"

/* Things whose first member is `const char *id`, in the order of adding. Zeroed is empty. */
struct id_table {
	void **items;
	size_t count, capacity;
	struct id_slot *slots;
	uint32_t mask; /* slots - 1 */
};

void id_table_release(struct id_table *table);
void *id_table_find(const struct id_table *table, struct bytes id); /* NULL: there is none */
/* The id must not be in it. False when memory is out. */
bool id_table_add(struct id_table *table, void *item);

/* Things by a digest of 32 bytes, which they hold: the table points at it. The digests are hash
 * values already, so that their first bytes are the hash. */
#define LOOKUP_DIGEST_SIZE 32
struct digest_table {
	struct digest_slot *slots;
	size_t count;
	uint32_t mask;
};

void digest_table_release(struct digest_table *table);
void *digest_table_find(const struct digest_table *table,
			const uint8_t digest[static LOOKUP_DIGEST_SIZE]);
bool digest_table_add(struct digest_table *table, const uint8_t digest[static LOOKUP_DIGEST_SIZE],
		      void *item);

#endif
