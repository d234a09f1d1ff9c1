/* The frame of Parley's pages for readers: one file that opens offline, without scripts, under a
 * strict content security policy; light and dark, narrow, printed. Pure. */
#ifndef BENCH_PAGE_H
#define BENCH_PAGE_H

#include "base/buf.h"

/* The style of reports. */
extern const char page_style[];

/* Everything up to the start of <main>. The style is allowed by its hash, nothing else may load or
 * run. `title` is plain text. */
void page_begin(struct buf *out, const char *title, const char *style);
void page_end(struct buf *out);

#endif
