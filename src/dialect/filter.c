#include "dialect/filter.h"

#include "dialect/filter_tables.h"
#include "dialect/ops.h"

#include <stdlib.h>

#define PRUNED_MAX ((size_t)256 << 20)

/* What one text is pruned with. */
struct pruning {
	struct buf *out;
	int64_t index;    /* for PRUNE_INDEX */
	uint64_t dropped; /* for PRUNE_SEQUENCE */
	bool removed;     /* something was left out */
};

/* ---- pruning ---- */

static void prune(struct pruning *in, const struct prune_node *node, struct json_value value);

/* Of a value that stands for itself. */
static bool is_plain(struct json_value value)
{
	return value.type != JSON_SCAN_OBJECT && value.type != JSON_SCAN_ARRAY;
}

static bool is_listed(const char *const *types, struct json_value type)
{
	struct bytes word;
	if (!json_value_plain_string(type, &word))
		return false;
	for (; *types; types++)
		if (bytes_is(word, *types))
			return true;
	return false;
}

static bool is_kept(const struct prune_node *node, struct json_value element)
{
	if (node->types && !is_listed(node->types, json_scan_find(element, "type")))
		return false;
	return !node->unless || json_scan_find(element, node->unless).type != JSON_SCAN_TRUE;
}

static const struct prune_node *member_node(const struct prune_node *node, struct bytes key)
{
	for (const struct prune_member *row = node->members; row->name; row++)
		if (bytes_is(key, row->name))
			return row->node;
	return NULL;
}

static void prune_object(struct pruning *in, const struct prune_node *node, struct json_value value)
{
	struct json_walk walk = json_walk_start(value);
	bool first = true;
	buf_append_char(in->out, '{');
	while (json_walk_next(&walk)) {
		const struct prune_node *inner = member_node(node, walk.key);
		if (!inner) {
			in->removed = true;
			continue;
		}
		buf_append_cstr(in->out, first ? "\"" : ",\"");
		buf_append_bytes(in->out, walk.key);
		buf_append_cstr(in->out, "\":");
		prune(in, inner, walk.value);
		first = false;
	}
	buf_append_char(in->out, '}');
}

static void prune_array(struct pruning *in, const struct prune_node *node, struct json_value value)
{
	struct json_walk walk = json_walk_start(value);
	bool first = true;
	buf_append_char(in->out, '[');
	while (json_walk_next(&walk)) {
		if (!is_kept(node, walk.value)) {
			in->removed = true;
			continue;
		}
		if (!first)
			buf_append_char(in->out, ',');
		prune(in, node->element, walk.value);
		first = false;
	}
	buf_append_char(in->out, ']');
}

static void prune_sequence(struct pruning *in, struct json_value value)
{
	int64_t number, lower = (int64_t)in->dropped;
	if (json_value_integer(value, 0, INT64_MAX, &number))
		buf_append_integer(in->out, number > lower ? number - lower : 0);
	else
		buf_append_cstr(in->out, "null");
}

/* Depth is that of the tables. */
static void prune(struct pruning *in, const struct prune_node *node, struct json_value value)
{
	switch (node->kind) {
	case PRUNE_PASS:
		buf_append_bytes(in->out, value.text);
		return;
	case PRUNE_OBJECT:
		if (value.type == JSON_SCAN_OBJECT) {
			prune_object(in, node, value);
			return;
		}
		break;
	case PRUNE_ARRAY:
		if (value.type == JSON_SCAN_ARRAY) {
			prune_array(in, node, value);
			return;
		}
		break;
	case PRUNE_EMPTY:
		in->removed |= value.text.size > 2;
		buf_append_cstr(in->out, "[]");
		return;
	case PRUNE_INDEX:
		buf_append_integer(in->out, in->index);
		return;
	case PRUNE_SEQUENCE:
		prune_sequence(in, value);
		return;
	case PRUNE_TEXT:
		break;
	}
	if (is_plain(value)) {
		buf_append_bytes(in->out, value.text);
	} else {
		in->removed = true;
		buf_append_cstr(in->out, "null");
	}
}

bool dialect_filter_body(enum dialect_id dialect, struct bytes body, struct buf *out)
{
	const struct prune_table *table = prune_table_of(dialect);
	struct pruning in = {.out = out};
	struct json_scan scan;
	if (!table || json_scan_text(&scan, body, "the answer", NULL) != ERR_OK)
		return false;
	struct json_value root = json_value_at(body);
	if (root.type != JSON_SCAN_OBJECT)
		return false;
	prune(&in, table->body, root);
	return !out->failed;
}

/* ---- streams ---- */

void dialect_filter_init(struct dialect_filter *filter, enum dialect_id dialect)
{
	*filter = (struct dialect_filter){.dialect = dialect};
	sse_init(&filter->sse, DIALECT_EVENT_MAX);
	buf_init(&filter->pruned, PRUNED_MAX);
}

void dialect_filter_release(struct dialect_filter *filter)
{
	sse_release(&filter->sse);
	buf_release(&filter->pruned);
	free(filter->numbers);
	filter->numbers = NULL;
}

/* One line of data: JSON has line breaks between its tokens only. */
static void write_event(const struct sse_event *event, struct bytes data, struct buf *out)
{
	if (event->name.size) {
		buf_append_cstr(out, "event: ");
		buf_append_bytes(out, event->name);
		buf_append_char(out, '\n');
	}
	buf_append_cstr(out, "data: ");
	size_t begin = out->size;
	buf_append_bytes(out, data);
	for (size_t i = begin; i < out->size; i++)
		if (out->data[i] == '\n' || out->data[i] == '\r')
			out->data[i] = ' ';
	buf_append_cstr(out, "\n\n");
}

/* The block's new number; false where it is left out. */
static bool renumber(struct dialect_filter *filter, const struct prune_event *row,
		     struct json_value root, int64_t *number)
{
	int64_t old;
	*number = 0;
	if (!row->index)
		return true;
	if (!json_value_integer(json_scan_find(root, row->index), 0, INT32_MAX, &old))
		return false;
	if (old >= DIALECT_FILTER_BLOCKS_MAX) {
		filter->failed = true;
		return false;
	}
	if (!filter->numbers)
		filter->numbers = calloc(DIALECT_FILTER_BLOCKS_MAX, sizeof(*filter->numbers));
	if (!filter->numbers) {
		filter->failed = true;
		return false;
	}
	bool kept = !row->type || is_listed(row->types, json_scan_find(root, row->type));
	if (row->opens)
		filter->numbers[old] = kept ? ++filter->next : 0;
	*number = filter->numbers[old] - 1;
	return kept && *number >= 0;
}

static void named_event(struct dialect_filter *filter, const struct prune_table *table,
			const struct sse_event *event, struct json_value root, struct buf *out)
{
	const struct prune_event *row = table->events;
	const struct prune_event *end = row + table->event_count;
	struct pruning in = {.out = &filter->pruned, .dropped = filter->dropped};
	struct bytes name = event->name;
	if (filter->dialect == DIALECT_RESPONSES)
		name = responses_event_name(event);
	while (row < end && !bytes_is(name, row->name))
		row++;
	if (row == end || !renumber(filter, row, root, &in.index)) {
		filter->dropped++;
		return;
	}
	prune(&in, row->node, root);
	write_event(event, buf_bytes(&filter->pruned), out);
}

/* Whether a value holds anything. */
static bool is_empty(struct json_value value)
{
	struct json_walk walk = json_walk_start(value);
	if (value.type == JSON_SCAN_OBJECT || value.type == JSON_SCAN_ARRAY)
		return !json_walk_next(&walk);
	return value.type == JSON_SCAN_NOTHING || value.type == JSON_SCAN_NULL ||
	       (value.type == JSON_SCAN_STRING && value.text.size == 2);
}

/* Whether any member but the role says something. */
static bool says_nothing(struct json_value piece)
{
	struct json_walk walk = json_walk_start(piece);
	while (json_walk_next(&walk))
		if (!bytes_is(walk.key, "role") && !is_empty(walk.value))
			return false;
	return true;
}

/* A chunk that held nothing but what was taken out of it. */
static bool is_hollow(const struct dialect_filter *filter, const struct prune_table *table,
		      struct json_value pruned)
{
	struct json_walk walk = json_walk_start(json_scan_find(pruned, table->choices));
	if (table->usage && !is_empty(json_scan_find(pruned, table->usage)))
		return false;
	bool any = false;
	while (json_walk_next(&walk)) {
		struct json_value piece = json_scan_find(walk.value, table->piece);
		any = true;
		if (table->role_first && !filter->began && !is_empty(json_scan_find(piece, "role")))
			return false;
		if (!is_empty(json_scan_find(walk.value, table->end)) || !says_nothing(piece))
			return false;
	}
	return any;
}

static void unnamed_event(struct dialect_filter *filter, const struct prune_table *table,
			  const struct sse_event *event, struct json_value root, struct buf *out)
{
	struct pruning in = {.out = &filter->pruned};
	prune(&in, table->body, root);
	if (filter->pruned.failed ||
	    (in.removed && is_hollow(filter, table, json_value_at(buf_bytes(&filter->pruned)))))
		return;
	filter->began = true;
	write_event(event, buf_bytes(&filter->pruned), out);
}

static void take_event(struct dialect_filter *filter, const struct sse_event *event,
		       struct buf *out)
{
	const struct prune_table *table = prune_table_of(filter->dialect);
	struct json_scan scan;
	if (!event->has_data && !event->oversized)
		return;
	/* Where events have names, some send it after the last one all the same. */
	if (event_is_done(event)) {
		write_event(event, BYTES("[DONE]"), out);
		return;
	}
	struct json_value root = json_value_at(event->data);
	if (event->oversized || json_scan_text(&scan, event->data, "an event", NULL) != ERR_OK ||
	    root.type != JSON_SCAN_OBJECT) {
		filter->failed = true;
		return;
	}
	buf_clear(&filter->pruned);
	if (table->events)
		named_event(filter, table, event, root, out);
	else
		unnamed_event(filter, table, event, root, out);
	filter->failed |= filter->pruned.failed;
}

bool dialect_filter_feed(struct dialect_filter *filter, struct bytes piece, struct buf *out)
{
	struct sse_event event;
	size_t at = 0, used;
	while (!filter->failed &&
	       sse_next(&filter->sse, piece.data + at, piece.size - at, &used, &event)) {
		at += used;
		take_event(filter, &event, out);
	}
	filter->failed |= out->failed;
	return !filter->failed;
}
