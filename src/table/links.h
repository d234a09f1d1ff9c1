/* Kinds and statuses of the links between organisations (DESIGN.md section 2). Names are a
 * contract: they may be added to, never changed. */
#ifndef TABLE_LINKS_H
#define TABLE_LINKS_H

/* clang-format off */
/* How a confirmed link makes its `from` hold its `to`:
 *   SHARE  adds its share to what one holder has
 *   WHOLE  is control by itself
 *   DEAL   is no control yet, but an affiliation: a block may follow it
 *   NONE   is neither
 * `holder`: whose new grants an unconfirmed link stops, and who is told: its `to` (0) or its `from`
 * (1). */
#define LINK_KIND_TABLE(X) \
	/* name        id             means  holder verb */ \
	X(OWNS,        "owns",        SHARE, 0,     "owns") \
	X(CONTROLS,    "controls",    WHOLE, 0,     "controls") \
	X(ACQUIRING,   "acquiring",   DEAL,  0,     "is acquiring") \
	X(RESELLER_OF, "reseller_of", NONE,  1,     "is a reseller of")

#define LINK_STATUS_TABLE(X) \
	X(CONFIRMED, "confirmed") \
	X(ASSERTED,  "asserted") \
	X(RUMOURED,  "rumoured")
/* clang-format on */

enum link_kind {
#define X(name, id, means, holder, verb) LINK_##name,
	LINK_KIND_TABLE(X)
#undef X
		LINK_KIND_COUNT
};

enum link_status {
#define X(name, id) LINK_##name,
	LINK_STATUS_TABLE(X)
#undef X
		LINK_STATUS_COUNT
};

#endif
