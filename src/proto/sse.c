#include "proto/sse.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

enum state {
	LINE_START,
	FIELD_NAME,
	DATA_VALUE,
	NAME_VALUE, /* of the `event` field */
	SKIP,       /* a comment or a field without meaning here */
};

/* Buffers above this size are given back after an event, so that a quiet stream holds little. */
#define KEEP_BYTES 16384

void sse_init(struct sse *sse, size_t max)
{
	memset(sse, 0, sizeof(*sse));
	buf_init(&sse->data, max);
}

void sse_release(struct sse *sse)
{
	buf_release(&sse->data);
}

bool sse_pause(struct sse *sse, struct sse_place *place)
{
	if (!sse_at_boundary(sse) || (sse->mark != 0 && sse->mark != 3))
		return false;
	*place = (struct sse_place){sse->offset, sse->mark == 3, sse->after_cr};
	buf_clear(&sse->data);
	return true;
}

void sse_resume(struct sse *sse, const struct sse_place *place)
{
	sse->name_size = sse->field_size = 0;
	sse->state = LINE_START;
	sse->mark = place->begun ? 3 : 0;
	sse->after_cr = place->after_cr;
	sse->any = sse->has_data = sse->oversized = sse->skip_space = sse->delivered = false;
	sse->offset = sse->begin = place->offset;
}

bool sse_at_boundary(const struct sse *sse)
{
	return !sse->any && sse->state == LINE_START;
}

#if defined(__SSE2__)
/* Which of 16 bytes are CR or LF. */
static unsigned line_ends(const char *p)
{
	__m128i block = _mm_loadu_si128((const __m128i *)(const void *)p);
	return (unsigned)_mm_movemask_epi8(
		_mm_or_si128(_mm_cmpeq_epi8(block, _mm_set1_epi8('\r')),
			     _mm_cmpeq_epi8(block, _mm_set1_epi8('\n'))));
}
#endif

/* The first CR or LF at or after `p`, or `end`. */
static const char *line_run(const char *p, const char *end)
{
#if defined(__SSE2__)
	const char *start = p;
	for (; end - p >= 32; p += 32) {
		unsigned mask = line_ends(p) | line_ends(p + 16) << 16;
		if (mask)
			return p + __builtin_ctz(mask);
	}
	if (end - p >= 16) {
		unsigned mask = line_ends(p);
		if (mask)
			return p + __builtin_ctz(mask);
		p += 16;
	}
	if (end - start >= 16 && p < end) { /* the rest, with some of what was seen */
		unsigned mask = line_ends(end - 16) >> (16 - (end - p));
		return mask ? p + __builtin_ctz(mask) : end;
	}
#endif
	while (p < end && *p != '\r' && *p != '\n')
		p++;
	return p;
}

/* A piece being read. `whole` is the data of an event that has all of it in this piece so far. */
struct reader {
	struct sse *sse;
	const char *data, *p, *end;
	struct bytes whole;
};

static uint64_t position(const struct reader *in)
{
	return in->sse->offset + (uint64_t)(in->p - in->data);
}

static void oversize(struct reader *in)
{
	in->sse->oversized = true;
	in->whole = bytes_of(NULL, 0);
	buf_clear(&in->sse->data);
}

static void append_data(struct reader *in, const char *data, size_t size)
{
	struct sse *sse = in->sse;
	if (sse->oversized || size == 0)
		return;
	buf_append(&sse->data, data, size);
	if (sse->data.failed)
		oversize(in);
}

/* Copies what was only pointed to. */
static void spill(struct reader *in)
{
	struct bytes whole = in->whole;
	in->whole = bytes_of(NULL, 0);
	append_data(in, whole.data, whole.size);
}

static void begin_data_line(struct reader *in)
{
	if (in->sse->has_data) {
		spill(in);
		append_data(in, "\n", 1);
	}
	in->sse->has_data = true;
}

static void add_data(struct reader *in, const char *from, const char *to)
{
	struct sse *sse = in->sse;
	size_t size = (size_t)(to - from);
	if (sse->oversized || size == 0)
		return;
	if (in->whole.data || sse->data.size) {
		spill(in);
		append_data(in, from, size);
	} else if (size > sse->data.max) {
		oversize(in);
	} else {
		in->whole = bytes_of(from, size);
	}
}

static void add_name(struct sse *sse, const char *from, const char *to)
{
	size_t room = sizeof(sse->name) - sse->name_size;
	size_t size = (size_t)(to - from) < room ? (size_t)(to - from) : room;
	memcpy(sse->name + sse->name_size, from, size);
	sse->name_size = (uint8_t)(sse->name_size + size);
}

static bool field_is(const struct sse *sse, const char *name)
{
	return sse->field_size <= sizeof(sse->field) &&
	       bytes_is(bytes_of(sse->field, sse->field_size), name);
}

/* The field name is complete, by a colon or by the end of its line. */
static void begin_value(struct reader *in)
{
	struct sse *sse = in->sse;
	sse->skip_space = true;
	sse->state = SKIP;
	if (field_is(sse, "data")) {
		begin_data_line(in);
		sse->state = DATA_VALUE;
	} else if (field_is(sse, "event")) {
		sse->name_size = 0;
		sse->state = NAME_VALUE;
	}
}

static void read_field_name(struct reader *in)
{
	struct sse *sse = in->sse;
	for (; in->p < in->end && *in->p != '\r' && *in->p != '\n'; in->p++) {
		if (*in->p == ':') {
			in->p++;
			begin_value(in);
			return;
		}
		if (sse->field_size < sizeof(sse->field))
			sse->field[sse->field_size] = *in->p;
		if (sse->field_size < UINT8_MAX)
			sse->field_size++;
	}
}

static void read_value(struct reader *in)
{
	struct sse *sse = in->sse;
	if (sse->skip_space && *in->p == ' ')
		in->p++;
	sse->skip_space = false;
	const char *stop = line_run(in->p, in->end);
	if (sse->state == DATA_VALUE)
		add_data(in, in->p, stop);
	else if (sse->state == NAME_VALUE)
		add_name(sse, in->p, stop);
	in->p = stop;
}

/* At a CR or LF: takes the line's end, with the LF after a CR where it is here already. */
static void take_line_end(struct reader *in)
{
	bool cr = *in->p++ == '\r';
	in->sse->after_cr = false;
	if (!cr)
		return;
	if (in->p == in->end)
		in->sse->after_cr = true;
	else if (*in->p == '\n')
		in->p++;
}

/* At the end of a line. True if it was the empty line that ends an event. */
static bool end_line(struct reader *in)
{
	struct sse *sse = in->sse;
	if (sse->state == LINE_START) {
		take_line_end(in);
		bool event = sse->any;
		if (!event)
			sse->begin = position(in);
		return event;
	}
	if (sse->state == FIELD_NAME)
		begin_value(in);
	bool comment = sse->state == SKIP && sse->field_size == 0;
	take_line_end(in);
	sse->state = LINE_START;
	if (comment && !sse->any)
		sse->begin = position(in); /* no part of the event that may follow */
	else
		sse->any = true;
	return false;
}

static void deliver(struct reader *in, struct sse_event *event)
{
	struct sse *sse = in->sse;
	struct bytes data = in->whole.data ? in->whole : buf_bytes(&sse->data);
	*event = (struct sse_event){
		.name = bytes_of(sse->name, sse->name_size),
		.data = sse->oversized ? bytes_of(NULL, 0) : data,
		.oversized = sse->oversized,
		.has_data = sse->has_data,
		.begin = sse->begin,
		.end = position(in),
	};
	sse->delivered = true;
	sse->any = false;
	sse->begin = event->end;
}

/* What was handed out by the last call is given up. */
static void forget_event(struct sse *sse)
{
	if (sse->data.capacity > KEEP_BYTES)
		buf_release(&sse->data);
	buf_clear(&sse->data);
	sse->name_size = 0;
	sse->has_data = sse->oversized = sse->delivered = false;
}

/* A byte order mark at the very start is skipped; a part of one makes a line without meaning. */
static void skip_mark(struct reader *in)
{
	struct sse *sse = in->sse;
	while (sse->mark < 3 && in->p < in->end) {
		if (*in->p != "\xef\xbb\xbf"[sse->mark]) {
			if (sse->mark) {
				sse->state = SKIP;
				sse->any = true;
			}
			sse->mark = 3;
			return;
		}
		in->p++;
		if (++sse->mark == 3)
			sse->begin = position(in);
	}
}

/* The LF of a CR LF that was split. */
static void skip_line_feed(struct reader *in)
{
	struct sse *sse = in->sse;
	if (!sse->after_cr || in->p == in->end)
		return;
	sse->after_cr = false;
	if (*in->p != '\n')
		return;
	bool between = sse_at_boundary(sse);
	in->p++;
	if (between)
		sse->begin = position(in);
}

/* A field that is here whole, with its colon, needs no reading byte by byte. */
static bool take_known_field(struct reader *in)
{
	struct sse *sse = in->sse;
	size_t size = (size_t)(in->end - in->p);
	if (size >= 5 && memcmp(in->p, "data:", 5) == 0) {
		in->p += 5;
		begin_data_line(in);
		sse->state = DATA_VALUE;
	} else if (size >= 6 && memcmp(in->p, "event:", 6) == 0) {
		in->p += 6;
		sse->name_size = 0;
		sse->state = NAME_VALUE;
	} else {
		return false;
	}
	sse->skip_space = sse->any = true;
	return true;
}

static bool read_until_event(struct reader *in)
{
	struct sse *sse = in->sse;
	while (in->p < in->end) {
		if (*in->p == '\r' || *in->p == '\n') {
			if (end_line(in))
				return true;
			continue;
		}
		if (sse->state == LINE_START && take_known_field(in)) {
			if (in->p < in->end)
				read_value(in);
			continue;
		}
		if (sse->state == LINE_START) {
			sse->state = FIELD_NAME;
			sse->field_size = 0;
		}
		if (sse->state == FIELD_NAME)
			read_field_name(in);
		else
			read_value(in);
	}
	return false;
}

bool sse_next(struct sse *sse, const char *data, size_t size, size_t *used, struct sse_event *event)
{
	struct reader in = {
		sse, data, data, data + size, {NULL, 0}
        };
	if (sse->delivered)
		forget_event(sse);
	if (sse->mark < 3)
		skip_mark(&in);
	skip_line_feed(&in);
	bool found = read_until_event(&in);
	if (found)
		deliver(&in, event);
	else
		spill(&in);
	*used = (size_t)(in.p - data);
	sse->offset += *used;
	return found;
}
