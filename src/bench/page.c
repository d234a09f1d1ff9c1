#include "bench/page.h"

#include "base/encode.h"
#include "base/sha256.h"
#include "bench/text.h"

const char page_style[] =
	":root{color-scheme:light dark;--ink:#1a1c20;--soft:#5b6270;--line:#d9dde5;--paper:#fff;"
	"--card:#f5f6f9;--blue:#2459c7;--red:#b3261e;--green:#1d6b38;--amber:#8a5a00;--amber-paper:"
	"#fff3d6}"
	"@media(prefers-color-scheme:dark){:root{--ink:#e8eaf0;--soft:#a3abba;--line:#363b46;"
	"--paper:#14161b;--card:#1d2027;--blue:#8ab0ff;--red:#ff8a80;--green:#7ddc9a;--amber:#"
	"ffd37a;"
	"--amber-paper:#3a2d0c}}"
	"*{box-sizing:border-box}body{margin:0 auto;padding:1rem;max-width:60rem;color:var(--ink);"
	"background:var(--paper);font:16px/1.5 system-ui,sans-serif}"
	"h1{font-size:1.5rem;margin:.5rem 0}h2{font-size:1.15rem;margin:2rem 0 "
	".5rem}h3{font-size:1rem;margin:1rem 0 .3rem}"
	"p{margin:.4rem 0}.note{background:var(--amber-paper);color:var(--amber);padding:.6rem "
	".8rem;"
	"border-radius:.4rem;font-weight:600}.note.bad{background:var(--card);color:var(--red)}"
	".good{background:var(--card);color:var(--green);padding:.6rem .8rem;border-radius:.4rem;"
	"font-weight:600}li{margin:.2rem "
	"0;overflow-wrap:anywhere}.soft{color:var(--soft)}.bad{color:var(--red)}"
	".wide{overflow-x:auto;position:relative}table{border-collapse:collapse;width:100%;font-"
	"size:.92rem}"
	"caption{text-align:left;color:var(--soft);padding:.2rem 0;max-width:min(58rem,calc(100vw "
	"- "
	"2rem))}th[scope=row],td:first-child{min-width:7rem}"
	"th,td{padding:.3rem .6rem;border-bottom:1px solid var(--line);text-align:left;"
	"vertical-align:top}td.n,th.n{text-align:right;font-variant-numeric:tabular-nums;"
	"white-space:nowrap}svg{width:100%;height:auto;min-width:34rem;background:var(--card);"
	"border-radius:.4rem;padding:.3rem}svg text{fill:var(--ink);font:13px system-ui,sans-serif}"
	".label{text-anchor:end}.tick{text-anchor:middle;fill:var(--soft)}.cell{text-anchor:middle}"
	".grid{stroke:var(--line)}.whisker{stroke:var(--blue);stroke-width:1.6}"
	".mark{fill:var(--blue)}.bar{fill:var(--blue);opacity:.35}.faint{opacity:.55}"
	".never{fill:var(--line);opacity:.4}.cell.on{fill:var(--paper)}"
	".shade0,.shade1,.shade2,.shade3,.shade4,.shade5,.shade6,.shade7,.shade8,.shade9"
	"{fill:var(--blue)}.shade0{opacity:.08}.shade1{opacity:.16}.shade2{opacity:.24}"
	".shade3{opacity:.32}.shade4{opacity:.4}.shade5{opacity:.5}.shade6{opacity:.6}"
	".shade7{opacity:.75}.shade8{opacity:.87}"
	"pre{white-space:pre-wrap;overflow-wrap:anywhere;background:var(--card);padding:.6rem;"
	"border-radius:.4rem;max-height:24rem;overflow:auto;margin:.3rem 0}"
	"summary{cursor:pointer}code.long{overflow-wrap:anywhere}"
	".only-said{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%);"
	"white-space:nowrap}"
	".filter{display:flex;flex-wrap:wrap;gap:.4rem 1rem;align-items:center;margin:.5rem 0}"
	".filter[hidden]{display:none}.filter label{display:flex;gap:.4rem;align-items:center}"
	".filter input,.filter select,.filter button{font:inherit;color:inherit;max-width:100%;"
	"padding:.2rem .4rem;background:var(--card);border:1px solid "
	"var(--soft);border-radius:.3rem}"
	":focus-visible{outline:3px solid var(--blue);outline-offset:2px}"
	"@media print{pre{max-height:none}.filter{display:none}.wide{overflow:visible}"
	"svg{min-width:0;break-inside:avoid}tr{break-inside:avoid}}";

static void append_source(struct buf *out, const char *kind, const char *text)
{
	uint8_t digest[SHA256_SIZE];
	sha256_of(text, strlen(text), digest);
	buf_printf(out, "%s-src 'sha256-", kind);
	base64_append(out, digest, sizeof(digest));
	buf_append_cstr(out, "'; ");
}

void page_begin_scripted(struct buf *out, const char *title, const char *style, const char *script)
{
	buf_append_cstr(
		out, "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
		     "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; ");
	append_source(out, "style", style);
	if (script)
		append_source(out, "script", script);
	buf_append_cstr(out,
			"base-uri 'none'; form-action 'none'\">\n"
			"<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
			"<meta name=\"referrer\" content=\"no-referrer\">\n<title>");
	text_append_html(out, bytes_from(title), strlen(title));
	buf_append_cstr(out, "</title>\n<style>");
	buf_append_cstr(out, style);
	buf_append_cstr(out, "</style></head><body>\n<main>\n");
}

void page_begin(struct buf *out, const char *title, const char *style)
{
	page_begin_scripted(out, title, style, NULL);
}

void page_script(struct buf *out, const char *script)
{
	buf_append_cstr(out, "<script>");
	buf_append_cstr(out, script);
	buf_append_cstr(out, "</script>\n");
}

void page_end(struct buf *out)
{
	buf_append_cstr(out, "</main>\n</body></html>\n");
}
