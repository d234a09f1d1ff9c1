/* What `parley top` shows: two snapshots of a gateway (GET /admin/v1/top) in, lines of text out. */
#ifndef CMD_TOP_VIEW_H
#define CMD_TOP_VIEW_H

#include "base/buf.h"
#include "base/json.h"

struct top_view {
	const json_t *now, *before; /* before NULL: rates are not known yet */
	unsigned columns, rows;     /* 0: as much as there is */
	bool colour;
	const char *problem; /* why `now` is not fresh; NULL: it is */
};

/* Appends the lines, each ended by LF and no longer than `columns`, at most `rows` of them. Plain
 * ASCII but for SGR sequences where `colour` is set. */
void top_view_write(const struct top_view *view, struct buf *out);
/* `now` with a member `rates` added, in it and in each grant: per second. */
void top_add_rates(json_t *now, const json_t *before);

#endif
