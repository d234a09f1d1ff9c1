/* Text from models, providers and suites made fit to be shown: nothing in it can move a cursor, end
 * an element or hide. Pure. */
#ifndef BENCH_TEXT_H
#define BENCH_TEXT_H

#include "base/buf.h"

/* One line for a terminal: control characters, bidirectional overrides and bytes that are not UTF-8
 * are written \n, \t, \x1b or \u202e; at most `limit` bytes of text are taken, then "…" follows. */
void text_append_line(struct buf *out, struct bytes text, size_t limit);

/* The same into a fixed array, NUL-terminated, never split inside a character. */
void text_line(char *out, size_t size, struct bytes text);

/* Content of an element or a quoted attribute of HTML; newlines stay, other control characters,
 * bidirectional overrides and broken bytes are shown as above; at most `limit` bytes of text. */
void text_append_html(struct buf *out, struct bytes text, size_t limit);

/* A copy that is valid UTF-8 without NUL (U+FFFD in place of what is not), for JSON strings. */
void text_append_clean(struct buf *out, struct bytes text);

/* 1234567 as "1,234,567". */
void text_append_count(struct buf *out, uint64_t count);
/* Milliseconds as "850 ms", "12.3 s", "4 min 05 s", "2 h 07 min". */
void text_append_duration(struct buf *out, uint64_t milliseconds);
/* USD with as many digits as it takes: "$0.0042", "$12.30". */
void text_append_usd(struct buf *out, double usd);
/* Columns a line takes on a terminal, roughly: characters, wide ones (CJK, emoji) twice. */
size_t text_columns(struct bytes text);

#endif
