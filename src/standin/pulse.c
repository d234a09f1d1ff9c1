#include "standin/pulse.h"

#include <assert.h>

#define EVENT_MAX ((size_t)1 << 20)
#define BEATS_PER_TURN 128 /* then sockets have their turn */

void pulses_stop(struct pulses *pulses)
{
	env_timer_disarm(pulses->loop, &pulses->timer);
}

/* ---- the list, in order of time ---- */

static void unlist(struct pulse *pulse)
{
	struct pulses *pulses = pulse->pulses;
	if (!pulse->listed)
		return;
	if (pulse->previous)
		pulse->previous->next = pulse->next;
	else
		pulses->first = pulse->next;
	if (pulse->next)
		pulse->next->previous = pulse->previous;
	else
		pulses->last = pulse->previous;
	pulse->next = pulse->previous = NULL;
	pulse->listed = false;
}

/* A new stream comes first, and is due no later than what is waiting: the list stays in order. */
static void put_first(struct pulse *pulse)
{
	struct pulses *pulses = pulse->pulses;
	struct pulse *first = pulses->first;
	pulse->due_ns = pulses->loop->now_ns;
	if (first && first->due_ns < pulse->due_ns)
		pulse->due_ns = first->due_ns;
	pulse->previous = NULL;
	pulse->next = first;
	if (first)
		first->previous = pulse;
	else
		pulses->last = pulse;
	pulses->first = pulse;
	pulse->listed = true;
}

/* What was due by now is due again a period later, and nothing is due later than that: its place is
 * the end. */
static void put_last(struct pulse *pulse)
{
	struct pulses *pulses = pulse->pulses;
	assert(!pulses->last || pulses->last->due_ns <= pulse->due_ns);
	pulse->previous = pulses->last;
	pulse->next = NULL;
	if (pulses->last)
		pulses->last->next = pulse;
	else
		pulses->first = pulse;
	pulses->last = pulse;
	pulse->listed = true;
}

static void arm(struct pulses *pulses)
{
	struct env_loop *loop = pulses->loop;
	if (!pulses->first)
		return;
	uint64_t due = pulses->first->due_ns;
	env_timer_arm(loop, &pulses->timer, due > loop->now_ns ? due : loop->now_ns + 1);
}

static void due(struct env_timer *timer)
{
	struct pulses *pulses = (struct pulses *)((char *)timer - offsetof(struct pulses, timer));
	uint64_t now_ns = pulses->loop->now_ns;
	for (int i = 0; i < BEATS_PER_TURN; i++) {
		struct pulse *pulse = pulses->first;
		if (!pulse || pulse->due_ns > now_ns)
			break;
		unlist(pulse);
		pulse->due_ns += pulses->period_ns;
		put_last(pulse);
		pulses->beat(pulse);
	}
	arm(pulses);
}

void pulses_init(struct pulses *pulses, struct env_loop *loop, const struct pulse_options *options,
		 void (*beat)(struct pulse *pulse))
{
	*pulses = (struct pulses){
		.loop = loop, .options = *options, .beat = beat, .timer = {.fire = due}};
	if (options->per_second > 0)
		pulses->period_ns = (uint64_t)(1e9 / options->per_second);
}

/* ---- one stream ---- */

static void fill_text(const struct pulse_options *options, struct buf *text)
{
	static const char words[] = "amber bridge copper drift ember field gravel harbor ";
	if (options->stamp)
		buf_append_cstr(text, PULSE_STAMP "00000000000000000000 ");
	while (text->size < options->text_bytes && !text->failed)
		buf_append_char(text, words[text->size % (sizeof(words) - 1)]);
}

static void write_digits(char out[static PULSE_STAMP_DIGITS], uint64_t value)
{
	for (int i = PULSE_STAMP_DIGITS - 1; i >= 0; i--, value /= 10)
		out[i] = (char)('0' + value % 10);
}

bool pulse_start(struct pulses *pulses, struct pulse *pulse, enum dialect_id dialect,
		 const struct dialect_rendering *rendering)
{
	struct dialect_rendering delta = *rendering;
	struct buf text = BUF_INIT(EVENT_MAX);
	pulse->pulses = pulses;
	pulse->left = pulses->options.events;
	buf_init(&pulse->event, EVENT_MAX);
	fill_text(&pulses->options, &text);
	delta.text = buf_bytes(&text);
	dialect_render_stream_delta(dialect, &delta, &pulse->event);
	bool failed = text.failed || pulse->event.failed;
	buf_release(&text);
	if (failed)
		return false;
	if (pulses->options.stamp) {
		const char *stamp = memmem(pulse->event.data, pulse->event.size, PULSE_STAMP,
					   sizeof(PULSE_STAMP) - 1);
		assert(stamp);
		pulse->stamp_at = (size_t)(stamp - pulse->event.data) + sizeof(PULSE_STAMP) - 1;
	}
	put_first(pulse);
	arm(pulses);
	return true;
}

struct bytes pulse_take(struct pulse *pulse)
{
	assert(pulse->left > 0);
	pulse->left--;
	if (pulse->stamp_at)
		write_digits(pulse->event.data + pulse->stamp_at,
			     env_clock_ns(pulse->pulses->loop->env));
	return buf_bytes(&pulse->event);
}

void pulse_stop(struct pulse *pulse)
{
	if (!pulse->pulses)
		return;
	unlist(pulse);
	buf_release(&pulse->event);
	pulse->pulses = NULL;
}
