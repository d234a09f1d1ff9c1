/* Server-sent events (WHATWG HTML, "Interpreting an event stream"), read from pieces split
 * anywhere. It observes: the caller passes the bytes on by itself. Lines end with LF, CR LF or CR;
 * a byte order mark may stand at the start; comments and unknown fields are skipped; an event cut
 * off by the end of the stream is dropped. */
#ifndef PROTO_SSE_H
#define PROTO_SSE_H

#include "base/buf.h"

#define SSE_NAME_MAX 40 /* longer names are cut off: no dialect has any */

struct sse_event {
	struct bytes name; /* of the `event` field; empty if there was none */
	struct bytes data; /* data lines joined with LF */
	bool oversized;    /* more than the maximum: data is empty */
	bool has_data;     /* at least one data line (without one browsers ignore the event) */
	/* Offsets in the stream: from the first line that is no comment, after the previous event,
	 * to the end of the empty line. With CR LF split between two pieces the LF comes after
	 * `end`. */
	uint64_t begin, end;
};

struct sse {
	struct buf data; /* data of an event that is not in one piece */
	/* Private. */
	char field[8]; /* the first bytes of a field name */
	uint8_t name_size;
	uint8_t field_size; /* counts on beyond the array, up to 255 */
	uint8_t state;
	uint8_t mark;  /* bytes of a byte order mark that were seen; 3: no longer looked for */
	bool after_cr; /* a line ended with CR: an LF now belongs to it */
	bool any;      /* the event has at least one line, comments before it not counted */
	bool has_data, oversized, skip_space, delivered;
	uint64_t offset, begin;
	char name[SSE_NAME_MAX];
};

/* Where a stream stands between two events: all that has to be kept of it there, so that thousands
 * of quiet streams need no struct sse. Zeroed: at the beginning. */
struct sse_place {
	uint64_t offset;
	bool begun;    /* a byte order mark is no longer looked for */
	bool after_cr; /* an LF belongs to the line end before it */
};
/* False while it stands within an event (or a byte order mark): it must be kept whole. What the
 * last sse_next handed out is given up; `data` keeps its memory. */
bool sse_pause(struct sse *sse, struct sse_place *place);
/* Goes on from there; `data` is empty and may have memory, its `max` is kept. */
void sse_resume(struct sse *sse, const struct sse_place *place);

/* `max` bounds the data of one event. No memory is taken before an event is split over pieces or
 * has several data lines. */
void sse_init(struct sse *sse, size_t max);
void sse_release(struct sse *sse);

/* Reads until the end of the next event: true and *event (its pointers valid until the next call,
 * and no longer than `data`), or false when all of `data` is used without one. *used says how many
 * bytes were read; call it again with the rest. */
bool sse_next(struct sse *sse, const char *data, size_t size, size_t *used,
	      struct sse_event *event);

/* Whether the stream stands between two events: a comment there is over with its line. */
bool sse_at_boundary(const struct sse *sse);

#endif
