#include "dialect/ops.h"

#include <assert.h>
#include <stdlib.h>

/* An event is passed on whole up to this size; longer ones go on as they come. */
#define HELD_MAX ((size_t)65536)
/* No more than one piece and what was held. */
#define JOINED_MAX ((size_t)256 << 20)
#define DECODED_MAX ((size_t)256 << 20)
/* What may follow a terminal event, whatever it is: no more than can be held. */
#define BEHIND_END_MAX ((uint64_t)HELD_MAX)
/* What a workspace keeps of memory is no larger. */
#define KEPT_MAX ((size_t)16384)

void dialect_observer_init(struct dialect_observer *observer, enum dialect_id dialect,
			   struct bytes nonce, bool strip_usage, struct buf *text)
{
	memset(observer, 0, sizeof(*observer));
	observer->dialect = dialect;
	observer->strip_usage = strip_usage;
	observer->text = text;
	sha256_start(&observer->hash);
	sha256_add_bytes(&observer->hash, nonce);
	sha256_add(&observer->hash, "[\"", 2);
}

/* ---- the workspace ---- */

static void free_reading(struct dialect_reading *reading)
{
	sse_release(&reading->sse);
	buf_release(&reading->held);
	free(reading);
}

void dialect_workspace_release(struct dialect_workspace *workspace)
{
	buf_release(&workspace->given);
	buf_release(&workspace->joined);
	buf_release(&workspace->decoded);
	while (workspace->spares) {
		struct dialect_reading *reading = workspace->spares;
		workspace->spares = reading->next;
		free_reading(reading);
	}
	workspace->spare_count = 0;
	observer_names_release(workspace);
}

void dialect_observer_lend(struct dialect_observer *observer, struct dialect_workspace *workspace)
{
	assert(!observer->owns_workspace);
	observer->workspace = workspace;
}

/* NULL where memory is out. */
static struct dialect_workspace *workspace_of(struct dialect_observer *observer)
{
	if (!observer->workspace) {
		observer->workspace = calloc(1, sizeof(*observer->workspace));
		observer->owns_workspace = observer->workspace != NULL;
	}
	return observer->workspace;
}

/* False where memory is out. */
static bool take_reading(struct dialect_observer *observer)
{
	struct dialect_workspace *workspace = workspace_of(observer);
	struct dialect_reading *reading = workspace ? workspace->spares : NULL;
	if (observer->reading)
		return true;
	if (reading) {
		workspace->spares = reading->next;
		workspace->spare_count--;
	} else {
		reading = workspace ? malloc(sizeof(*reading)) : NULL;
		if (!reading)
			return false;
		sse_init(&reading->sse, DIALECT_EVENT_MAX);
		buf_init(&reading->held, HELD_MAX);
	}
	sse_resume(&reading->sse, &observer->place);
	observer->reading = reading;
	return true;
}

/* What it had in it is needed no more. */
static void give_reading(struct dialect_observer *observer)
{
	struct dialect_workspace *workspace = observer->workspace;
	struct dialect_reading *reading = observer->reading;
	observer->reading = NULL;
	if (!reading)
		return;
	if (workspace->spare_count >= DIALECT_WORKSPACE_SPARES) {
		free_reading(reading);
		return;
	}
	if (reading->sse.data.capacity > KEPT_MAX)
		buf_release(&reading->sse.data);
	if (reading->held.capacity > KEPT_MAX)
		buf_release(&reading->held);
	buf_clear(&reading->sse.data);
	buf_clear(&reading->held);
	reading->next = workspace->spares;
	workspace->spares = reading;
	workspace->spare_count++;
}

void dialect_observer_release(struct dialect_observer *observer)
{
	for (unsigned i = 0; i < observer->call_count; i++)
		buf_release(&observer->calls[i].arguments);
	free(observer->calls);
	observer->calls = NULL;
	observer->call_count = 0;
	dialect_outcome_release(&observer->outcome);
	give_reading(observer);
	if (observer->owns_workspace) {
		dialect_workspace_release(observer->workspace);
		free(observer->workspace);
	}
	observer->workspace = NULL;
	observer->owns_workspace = false;
}

/* What the last call has handed out is given up. */
static void renew(struct dialect_observer *observer)
{
	struct dialect_workspace *workspace = observer->workspace;
	if (!workspace)
		return;
	if (workspace->joined.capacity)
		buf_release(&workspace->joined);
	if (workspace->decoded.capacity > KEPT_MAX)
		buf_release(&workspace->decoded);
}

/* ---- what the dialects report ---- */

/* The decoded text: within the raw value where it has no escapes, else in the workspace. */
static struct bytes decoded(struct dialect_observer *observer, struct json_value value)
{
	struct bytes plain;
	if (json_value_plain_string(value, &plain))
		return plain;
	if (value.type != JSON_SCAN_STRING)
		return bytes_of("", 0);
	struct dialect_workspace *workspace = workspace_of(observer);
	struct buf *out = workspace ? &workspace->decoded : NULL;
	if (out) {
		buf_clear(out);
		out->max = DECODED_MAX;
	}
	if (!out || !buf_reserve(out, value.text.size)) {
		observer->outcome.malformed = true;
		return bytes_of("", 0);
	}
	out->size = json_value_decode(value, out->data);
	return buf_bytes(out);
}

static bool needs_escape(struct bytes text)
{
	for (size_t i = json_plain_run(text); i < text.size; i++) {
		unsigned char c = (unsigned char)text.data[i];
		if (c < 0x20 || c == '"' || c == '\\')
			return true;
	}
	return false;
}

/* Text of the body itself may wait until the body is hashed beside it. */
static void hash_plain(struct dialect_observer *observer, struct bytes text)
{
	bool in_body = !observer->workspace || text.data != observer->workspace->decoded.data;
	if (observer->later && in_body && observer->later->size == 0)
		*observer->later = text;
	else
		sha256_add_bytes(&observer->hash, text);
}

void observer_hash_later(struct dialect_observer *observer)
{
	if (!observer->later || observer->later->size == 0)
		return;
	sha256_add_bytes(&observer->hash, *observer->later);
	*observer->later = bytes_of("", 0);
}

/* The text as it stands inside an RFC 8785 string. */
static void hash_escaped(struct dialect_observer *observer, struct bytes text)
{
	if (!needs_escape(text)) {
		hash_plain(observer, text);
		return;
	}
	struct buf escaped = BUF_INIT((size_t)512 << 20);
	json_append_string(&escaped, text);
	if (escaped.failed)
		observer->outcome.malformed = true;
	else
		sha256_add(&observer->hash, escaped.data + 1, escaped.size - 2);
	buf_release(&escaped);
}

/* `p` is after "\u00", with two digits at least: of a control character that has no shorter form.
 */
static bool is_canonical_control(const char *p)
{
	return p[0] == '0'
		       ? strchr("01234567bef", p[1]) != NULL && p[1] != '\0'
		       : p[0] == '1' && strchr("0123456789abcdef", p[1]) != NULL && p[1] != '\0';
}

/* Whether the inside of a string with escapes is just as RFC 8785 writes its text, as it mostly is;
 * *size is the text's then. */
static bool is_canonical(struct bytes inside, size_t *size)
{
	const char *p = inside.data, *end = p + inside.size;
	*size = inside.size;
	while ((p = memchr(p, '\\', (size_t)(end - p)))) {
		if (end - p >= 6 && memcmp(p, "\\u00", 4) == 0 && is_canonical_control(p + 4)) {
			*size -= 5;
			p += 6;
		} else if (end - p >= 2 && p[1] != '\0' && strchr("\"\\bfnrt", p[1])) {
			*size -= 1;
			p += 2;
		} else {
			return false;
		}
	}
	return true;
}

/* Where nobody collects the text, what stands in the body is hashed as it is. */
static bool hash_as_it_is(struct dialect_observer *observer, struct json_value value)
{
	size_t size;
	if (observer->text || value.type != JSON_SCAN_STRING || value.text.size < 2)
		return false;
	struct bytes inside = bytes_of(value.text.data + 1, value.text.size - 2);
	if (!is_canonical(inside, &size))
		return false;
	observer->outcome.text_bytes += size;
	observer_hash_later(observer);
	hash_plain(observer, inside);
	return true;
}

void observer_text(struct dialect_observer *observer, struct json_value value)
{
	struct bytes text;
	bool plain = json_value_plain_string(value, &text);
	if (!plain && hash_as_it_is(observer, value))
		return;
	if (!plain)
		text = decoded(observer, value);
	if (text.size == 0)
		return;
	observer->outcome.text_bytes += text.size;
	observer_hash_later(observer);
	if (plain) /* what needed an escape would have had one there already */
		hash_plain(observer, text);
	else
		hash_escaped(observer, text);
	if (observer->text)
		buf_append_bytes(observer->text, text);
}

void observer_count(struct dialect_observer *observer, struct json_value value)
{
	if (value.type == JSON_SCAN_STRING)
		observer->outcome.text_bytes += value.text.size - 2;
}

void observer_bytes(struct dialect_observer *observer, size_t size)
{
	observer->outcome.text_bytes += size;
}

struct dialect_call *observer_call_begun(struct dialect_observer *observer, int64_t index)
{
	for (unsigned i = observer->call_count; i-- > 0;)
		if (observer->calls[i].index == index)
			return &observer->calls[i];
	return NULL;
}

struct dialect_call *observer_call(struct dialect_observer *observer, int64_t index)
{
	struct dialect_call *begun = observer_call_begun(observer, index), *grown = NULL;
	if (begun)
		return begun;
	if (observer->call_count < DIALECT_CALLS_MAX)
		grown = realloc(observer->calls, (observer->call_count + 1u) * sizeof(*grown));
	if (!grown) {
		observer->outcome.malformed = true;
		return NULL;
	}
	observer->calls = grown;
	struct dialect_call *call = &grown[observer->call_count++];
	memset(call, 0, sizeof(*call));
	call->index = index;
	buf_init(&call->arguments, DIALECT_ARGUMENTS_MAX);
	return call;
}

void observer_call_name(struct dialect_observer *observer, struct dialect_call *call,
			struct json_value name)
{
	struct bytes text = decoded(observer, name);
	if (text.size == 0)
		return;
	if (text.size > DIALECT_CALL_NAME_MAX) {
		observer->outcome.malformed = true;
		return;
	}
	memcpy(call->name, text.data, text.size);
	call->name[text.size] = '\0';
}

void observer_call_arguments(struct dialect_observer *observer, struct dialect_call *call,
			     struct json_value arguments)
{
	struct bytes text = arguments.text;
	if (arguments.type == JSON_SCAN_STRING)
		text = decoded(observer, arguments);
	observer->outcome.text_bytes += text.size;
	buf_append_bytes(&call->arguments, text);
	if (call->arguments.failed)
		observer->outcome.malformed = true;
}

void observer_served(struct dialect_observer *observer, struct json_value model)
{
	struct bytes text;
	if (!json_value_plain_string(model, &text) || text.size >= DIALECT_SERVED_MAX)
		return;
	dialect_outcome_release(&observer->outcome);
	if (text.size == 0)
		return;
	/* What outlives the observer cannot be in a workspace of its own. */
	observer->outcome.served =
		observer_name(observer->owns_workspace ? NULL : observer->workspace, text);
	if (!observer->outcome.served)
		observer->outcome.malformed = true;
}

bool observer_tokens(struct dialect_usage *usage, struct json_value value, int64_t *out)
{
	bool told = json_value_integer(value, 0, (int64_t)1 << 48, out);
	usage->absurd |= !told && value.type == JSON_SCAN_NUMBER;
	return told;
}

void observer_usage(struct dialect_observer *observer, struct json_value value,
		    const struct bytes names[static OBSERVER_USAGE_NAMES])
{
	struct dialect_usage *usage = &observer->outcome.usage;
	struct json_value member[OBSERVER_USAGE_NAMES];
	int64_t input, output, cached = 0, total = 0;
	if (value.type != JSON_SCAN_OBJECT)
		return;
	json_value_members(value, names, member, OBSERVER_USAGE_NAMES);
	bool input_told = observer_tokens(usage, member[0], &input);
	bool output_told = observer_tokens(usage, member[1], &output);
	/* What an earlier event said is not the end's. */
	if (observer_is_no_count(input_told, member[0]) ||
	    observer_is_no_count(output_told, member[1]))
		usage->known = false;
	if (!input_told || !output_told)
		return;
	observer_tokens(usage, json_scan_find(member[2], "cached_tokens"), &cached);
	observer_tokens(usage, member[3], &total);
	usage->cache_read = cached < input ? cached : input;
	usage->input = input - usage->cache_read;
	usage->output = total - input > output ? total - input : output;
	usage->input_known = usage->known = true;
}

void observer_finish(struct dialect_observer *observer, struct json_value reason,
		     const struct finish_row *rows, size_t count)
{
	struct bytes word;
	if (reason.type != JSON_SCAN_STRING)
		return;
	observer->outcome.finish = DIALECT_FINISH_OTHER;
	if (!json_value_plain_string(reason, &word))
		return;
	for (size_t i = 0; i < count; i++)
		if (bytes_is(word, rows[i].word))
			observer->outcome.finish = rows[i].finish;
}

bool observer_scan(struct dialect_observer *observer, struct bytes data, struct json_scan *scan,
		   struct json_value *root)
{
	if (json_scan_text(scan, data, "an event", NULL) == ERR_OK) {
		*root = json_scan_root(scan, data);
		return true;
	}
	observer->outcome.malformed = true;
	*root = json_value_at(data);
	return false;
}

enum dialect_event_kind observer_named_event(struct dialect_observer *observer,
					     const struct sse_event *event,
					     const struct event_row *rows, size_t count)
{
	struct json_scan scan;
	struct json_value root;
	for (size_t i = 0; i < count; i++) {
		if (!bytes_equal(event->name, rows[i].name))
			continue;
		observer_scan(observer, event->data, &scan, &root);
		return rows[i].read(observer, root);
	}
	return EVENT_ORDINARY;
}

/* ---- flow: which bytes may go on ---- */

struct flowing {
	struct dialect_observer *observer;
	struct dialect_flow *flow;
	const char *data;
	size_t size;
	size_t done;                 /* bytes of this piece that are passed on, stripped or held */
	size_t last_begin, last_end; /* those of the end, and behind it */
};

static void add(struct bytes *parts, unsigned *count, const char *data, size_t size)
{
	if (size)
		parts[(*count)++] = bytes_of(data, size);
}

/* To go on at once. A piece from which several events are stripped has more parts than the flow
 * takes: those from the last place on are joined. */
static void add_now(struct flowing *in, const char *data, size_t size)
{
	struct dialect_flow *flow = in->flow;
	if (size == 0 || flow->now_count < DIALECT_FLOW_NOW_MAX) {
		add(flow->now, &flow->now_count, data, size);
		return;
	}
	struct dialect_workspace *workspace = workspace_of(in->observer);
	if (!workspace) {
		in->observer->lost = true;
		return;
	}
	struct bytes *last = &flow->now[DIALECT_FLOW_NOW_MAX - 1];
	struct buf *joined = &workspace->joined;
	joined->max = JOINED_MAX;
	if (joined->size == 0)
		buf_append_bytes(joined, *last);
	buf_append(joined, data, size);
	*last = buf_bytes(joined);
	if (joined->failed)
		in->observer->lost = true;
}

/* What was held goes out first; it stays valid until the next call. */
static struct bytes hand_out_held(struct dialect_observer *observer)
{
	struct dialect_workspace *workspace = observer->workspace;
	struct buf *held = &observer->reading->held, given = *held;
	*held = workspace->given;
	workspace->given = given;
	held->max = HELD_MAX;
	buf_clear(held);
	return buf_bytes(&workspace->given);
}

static void give_held(struct flowing *in)
{
	if (!in->observer->reading || in->observer->reading->held.size == 0)
		return;
	struct bytes held = hand_out_held(in->observer);
	add_now(in, held.data, held.size);
}

static void give_until(struct flowing *in, size_t end)
{
	if (end <= in->done)
		return;
	give_held(in);
	add_now(in, in->data + in->done, end - in->done);
	in->done = end;
}

/* Where an event begins in this piece; 0 if it began before. */
static size_t place_of(const struct flowing *in, uint64_t offset)
{
	return offset > in->observer->fed ? (size_t)(offset - in->observer->fed) : 0;
}

/* To go on with the end: it is one run of the piece, what was held in front of it. */
static void give_last_until(struct flowing *in, size_t end)
{
	struct dialect_flow *flow = in->flow;
	if (end <= in->done)
		return;
	if (in->observer->reading->held.size) {
		struct bytes held = hand_out_held(in->observer);
		add(flow->last, &flow->last_count, held.data, held.size);
	}
	in->done = in->last_end = end;
}

static bool ends_by_close(const struct dialect_observer *observer)
{
	return dialect_ops_of(observer->dialect)->ends_by_close;
}

static void keep_for_last(struct flowing *in, size_t begin, size_t end)
{
	struct dialect_observer *observer = in->observer;
	if (begin > in->done)
		give_until(in, begin);
	in->last_begin = in->done;
	give_last_until(in, ends_by_close(observer) ? in->size : end);
	observer->reading->end = observer->fed + end;
	in->flow->terminal = observer->ended = true;
}

static void strip(struct flowing *in, size_t begin, size_t end)
{
	struct dialect_observer *observer = in->observer;
	if (observer->passing) /* too late: part of it is gone */
		return;
	if (begin > in->done)
		give_until(in, begin);
	buf_clear(&observer->reading->held);
	in->done = end;
	observer->strip_line_feed = end == in->size && in->data[end - 1] == '\r';
}

static void act(struct flowing *in, enum dialect_event_kind kind, const struct sse_event *event)
{
	struct dialect_observer *observer = in->observer;
	size_t begin = place_of(in, event->begin), end = place_of(in, event->end);
	if (begin > in->done)
		observer->passing = false; /* that was a long comment before it */
	if (kind == EVENT_TERMINAL)
		keep_for_last(in, begin, end);
	else if (kind == EVENT_USAGE_ONLY && observer->strip_usage)
		strip(in, begin, end);
	observer->passing = false;
}

/* ---- unfinished events ---- */

/* The piece ends inside an event, which begins at sse.begin. */
static void treat_tail(struct flowing *in)
{
	struct dialect_observer *observer = in->observer;
	struct dialect_reading *reading = observer->reading;
	size_t begin = place_of(in, reading->sse.begin);
	if (begin > in->done) {
		give_until(in, begin);
		observer->passing = false;
	}
	struct bytes tail = bytes_of(in->data + in->done, in->size - in->done);
	if (observer->passing || tail.size > HELD_MAX - reading->held.size) {
		observer->passing = true;
		give_until(in, in->size);
		return;
	}
	buf_append_bytes(&reading->held, tail);
	in->done = in->size;
	observer->lost |= reading->held.failed;
}

/* A dialect without an event that is the last by its kind: usage may follow what was taken for it.
 */
static void read_after_end(struct dialect_observer *observer, const char *data, size_t size)
{
	const struct dialect_ops *ops = dialect_ops_of(observer->dialect);
	struct sse_event event;
	size_t at = 0, used;
	while (sse_next(&observer->reading->sse, data + at, size - at, &used, &event)) {
		at += used;
		if (event.oversized)
			observer->outcome.malformed = true;
		if (event.has_data)
			ops->event(observer, &event);
	}
}

/* What a stream's end does not forbid to follow: nothing that a client reads, the [DONE] that some
 * send after other ends too, and usage that stands alone. Text, or more than fits, is an answer
 * that goes on, which nobody meters: it overruns. Read apart, so that the answer stays as it is. */
static bool may_follow_end(struct dialect_observer *observer, const struct sse_event *event)
{
	struct dialect_observer apart;
	if (!event->has_data || event_is_done(event))
		return true;
	dialect_observer_init(&apart, observer->dialect, bytes_of("", 0), false, NULL);
	dialect_observer_lend(&apart, observer->workspace);
	apart.outcome.usage = observer->outcome.usage;
	bool usage = dialect_ops_of(observer->dialect)->event(&apart, event) == EVENT_USAGE_ONLY;
	if (usage)
		observer->outcome.usage = apart.outcome.usage;
	observer->overrun = apart.outcome.text_bytes > 0 || apart.call_count > 0;
	dialect_observer_release(&apart);
	return usage && !observer->strip_usage;
}

/* What was read ends behind the terminal event: what cannot be told yet is held. */
static void treat_tail_behind_end(struct flowing *in, size_t size)
{
	struct dialect_observer *observer = in->observer;
	struct dialect_reading *reading = observer->reading;
	bool between = sse_at_boundary(&reading->sse);
	give_last_until(in, between ? size : place_of(in, reading->sse.begin));
	buf_append(&reading->held, in->data + in->done, size - in->done);
	observer->lost |= reading->held.failed;
}

/* From the first event on that may not follow nothing is passed on; it is read all the same. */
static void read_behind_end(struct flowing *in)
{
	struct dialect_observer *observer = in->observer;
	struct sse_event event;
	uint64_t room = observer->reading->end + BEHIND_END_MAX - observer->fed;
	size_t size = in->size < room ? in->size : (size_t)room, at = in->done, used;
	while (at < size && !observer->overrun &&
	       sse_next(&observer->reading->sse, in->data + at, size - at, &used, &event)) {
		at += used;
		bool follows = may_follow_end(observer, &event);
		if (!observer->shut)
			give_last_until(in, follows ? at : place_of(in, event.begin));
		observer->shut |= !follows;
	}
	if (!observer->shut)
		treat_tail_behind_end(in, size);
	observer->overrun |= in->size > room;
	observer->shut |= observer->overrun;
	in->done = in->size;
}

/* Reads the piece's events. False once the terminal one was seen. */
static bool read_events(struct flowing *in)
{
	struct dialect_observer *observer = in->observer;
	const struct dialect_ops *ops = dialect_ops_of(observer->dialect);
	size_t at = in->done, used;
	struct sse_event event;
	while (at < in->size &&
	       sse_next(&observer->reading->sse, in->data + at, in->size - at, &used, &event)) {
		at += used;
		if (event.oversized)
			observer->outcome.malformed = true;
		act(in, event.has_data ? ops->event(observer, &event) : EVENT_ORDINARY, &event);
		if (observer->ended) {
			if (ops->ends_by_close)
				read_after_end(observer, in->data + at, in->size - at);
			return false;
		}
	}
	return true;
}

/* The LF of a CR LF whose CR ended a stripped event. */
static void strip_line_feed(struct flowing *in)
{
	struct dialect_observer *observer = in->observer;
	struct sse_event event;
	size_t used;
	if (!observer->strip_line_feed || in->size == 0)
		return;
	observer->strip_line_feed = false;
	if (in->data[0] != '\n')
		return;
	sse_next(&observer->reading->sse, in->data, 1, &used, &event);
	in->done = 1;
}

void dialect_observer_feed(struct dialect_observer *observer, const char *data, size_t size,
			   struct dialect_flow *flow)
{
	struct flowing in = {.observer = observer,
			     .flow = flow,
			     .data = size ? data : "", /* NULL is no place to count from */
			     .size = size};
	flow->now_count = flow->last_count = 0;
	flow->endless = flow->overrun = false;
	flow->terminal = observer->ended;
	renew(observer);
	if (!take_reading(observer)) {
		observer->lost = flow->endless = true;
		return;
	}
	struct sse *sse = &observer->reading->sse;
	if (observer->ended && ends_by_close(observer)) {
		add(flow->last, &flow->last_count, data, size);
		read_after_end(observer, data, size);
		return;
	}
	strip_line_feed(&in);
	if (!observer->ended && in.done < size && read_events(&in)) {
		if (!sse_at_boundary(sse)) {
			treat_tail(&in);
		} else {
			give_until(&in, size);
			observer->passing = false;
		}
	}
	if (observer->ended && !observer->overrun && !ends_by_close(observer))
		read_behind_end(&in);
	add(flow->last, &flow->last_count, in.data + in.last_begin, in.last_end - in.last_begin);
	observer->fed += size;
	flow->overrun = observer->overrun;
	flow->endless = observer->lost || (!observer->ended && !sse_at_boundary(sse) &&
					   observer->fed - sse->begin > DIALECT_EVENT_BYTES_MAX);
	/* Between two events nothing of one is held. */
	if (!observer->ended && sse_pause(sse, &observer->place))
		give_reading(observer);
}

bool dialect_observer_mid_event(const struct dialect_observer *observer)
{
	return observer->passing;
}

bool dialect_observer_between_events(const struct dialect_observer *observer)
{
	if (observer->passing || observer->ended || observer->strip_line_feed)
		return false;
	/* What is held is the beginning of an event of which nothing was handed out. */
	return observer->reading ? observer->reading->held.size > 0 : !observer->place.after_cr;
}

void dialect_observer_end(struct dialect_observer *observer, struct dialect_flow *flow)
{
	struct flowing in = {.observer = observer, .flow = flow, .data = ""};
	flow->now_count = flow->last_count = 0;
	flow->terminal = observer->ended;
	flow->endless = false;
	flow->overrun = observer->overrun;
	if (!observer->ended) /* half an event behind the end is nothing */
		give_held(&in);
	observer->outcome.complete = observer->ended && !observer->lost;
	observer_close(observer);
}
