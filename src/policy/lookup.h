/* Two open-addressing tables that grow while a world is built and are only read afterwards. They
 * own their own memory, not the things in them. At most 2^30 things.
 *
 * A table may begin as a share of another: both have the same pages until one of them writes to
 * a page, which is copied then. What is shared stays as it is. Shares may be released by different
 * threads. */
#ifndef POLICY_LOOKUP_H
#define POLICY_LOOKUP_H

#include "base/bytes.h"

struct lookup_page;

/* Slots of one size in pages of LOOKUP_PAGE. */
struct lookup_pages {
	struct lookup_page **pages;
	size_t count;
};

/* Things whose first member is `const char *id`, in the order of adding. Zeroed is empty. */
struct id_table {
	struct lookup_pages items, slots;
	size_t count;  /* of places, of which some may be empty */
	uint32_t mask; /* slots - 1; 0: there are none */
};

void id_table_release(struct id_table *table);
/* False when memory is out: then *to is empty. */
bool id_table_share(struct id_table *to, const struct id_table *from);
void *id_table_find(const struct id_table *table, struct bytes id); /* NULL: there is none */
void *id_table_at(const struct id_table *table, size_t place);      /* NULL: it was removed */
/* The id must not be in it. False when memory is out. */
bool id_table_add(struct id_table *table, void *item);
/* In the place of the one with the same id. False when memory is out. */
bool id_table_replace(struct id_table *table, void *item);
/* Its place stays empty. False when memory is out. */
bool id_table_remove(struct id_table *table, struct bytes id);

/* Things by a digest of 32 bytes, which they hold: the table points at it. The digests are hash
 * values already, so that their first bytes are the hash. */
#define LOOKUP_DIGEST_SIZE 32
struct digest_table {
	struct lookup_pages slots;
	size_t count;
	uint32_t mask;
};

void digest_table_release(struct digest_table *table);
bool digest_table_share(struct digest_table *to, const struct digest_table *from);
void *digest_table_find(const struct digest_table *table,
			const uint8_t digest[static LOOKUP_DIGEST_SIZE]);
bool digest_table_add(struct digest_table *table, const uint8_t digest[static LOOKUP_DIGEST_SIZE],
		      void *item);
/* In the place of the one with the same digest. False when memory is out. */
bool digest_table_replace(struct digest_table *table,
			  const uint8_t digest[static LOOKUP_DIGEST_SIZE], void *item);

#endif
