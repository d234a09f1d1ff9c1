/* What of an answer is its final answer: trees of members, one for each API. For dialect/filter*.c.
 */
#ifndef DIALECT_FILTER_TABLES_H
#define DIALECT_FILTER_TABLES_H

#include "dialect/dialect.h"

enum prune_kind {
	PRUNE_PASS,     /* as it is */
	PRUNE_OBJECT,   /* the listed members; nothing else */
	PRUNE_ARRAY,    /* its elements, by `element`; where it is no array, as PRUNE_TEXT */
	PRUNE_TEXT,     /* a string, number, boolean or null; else null */
	PRUNE_EMPTY,    /* [] instead */
	PRUNE_INDEX,    /* the number of a block, counted anew */
	PRUNE_SEQUENCE, /* the number of an event, counted anew */
};

struct prune_node;

struct prune_member {
	const char *name;
	const struct prune_node *node;
};

struct prune_node {
	enum prune_kind kind;
	const struct prune_member *members; /* of an object; ends with a NULL name */
	const struct prune_node *element;   /* of an array */
	/* Elements of an array: their `type` must be one of these (NULL: any), and the member named
	 * `unless` not be true. */
	const char *const *types;
	const char *unless;
};

/* An event of a stream by its name. */
struct prune_event {
	const char *name;
	const struct prune_node *node;
	const char *index; /* path of its block's number; NULL: it belongs to none */
	bool opens;        /* is the first of its block */
	const char *type;  /* path of a type that must be one of `types`; NULL: any */
	const char *const *types;
};

struct prune_table {
	const struct prune_node *body;
	const struct prune_event *events; /* NULL: events have no names and the shape of `body` */
	size_t event_count;
	/* Without names: path of what an event is about. Where something was taken out of it and
	 * nothing is left, the event is left out, unless it ends the answer (`end`, of the first
	 * choice) or tells usage. */
	const char *choices, *piece, *end, *usage;
	bool role_first; /* the first chunk tells the role, and is always passed on */
};

/* NULL for DIALECT_NONE. */
const struct prune_table *prune_table_of(enum dialect_id dialect);

#endif
