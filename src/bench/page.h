/* The frame of Parley's pages for readers: one file that opens offline, under a strict
 * content security policy; light and dark, narrow, printed. Pure. */
#ifndef BENCH_PAGE_H
#define BENCH_PAGE_H

#include "base/buf.h"

/* The style of reports. */
extern const char page_style[];

/* Everything up to the start of <main>. The style is allowed by its hash, nothing else may load or
 * run. `title` is plain text. */
void page_begin(struct buf *out, const char *title, const char *style);
/* The same with one script, allowed by its hash, that page_script puts in where it is to run. */
void page_begin_scripted(struct buf *out, const char *title, const char *style, const char *script);
void page_script(struct buf *out, const char *script);
void page_end(struct buf *out);

#endif
