/* parley statement: what both sides hold of a month, as text, JSON or one page of HTML. */
#include "bench/page.h"
#include "bench/text.h"
#include "cmd/admin_body.h"
#include "cmd/admin_client.h"
#include "cmd/commands.h"
#include "cmd/remote.h"

#include <stdlib.h>

#define PAGE_MAX ((size_t)64 << 20)
#define CELL_MAX 512

struct telling {
	const char *config, *org, *month, *output;
	struct remote remote; /* of an organisation that asks with its key */
	bool json, html;
};

/* A table of the page and of the text: rows under `member`, their cells by name. */
struct table {
	const char *member, *title;
	struct {
		const char *key, *head;
		bool number;
	} columns[8];
};

/* clang-format off */
static const struct table tables[] = {
	{"granted", "Grants", {{"id", "grant", 0}, {"team", "team", 0}, {"state", "state", 0}, {"purposes", "purposes", 0},
		{"release", "release", 0}, {"valid", "valid", 0}, {"sha256", "document", 0}}},
	{"grants", "Use by grant", {{"grant", "grant", 0}, {"requests", "requests", 1},
		{"input", "input tokens", 1}, {"cache_read", "cache read", 1},
		{"cache_write", "cache write", 1}, {"output", "output tokens", 1}, {"refused", "refused", 1}}},
	{"suites", "Use by suite", {{"suite", "suite", 0}, {"requests", "requests", 1},
		{"input", "input tokens", 1}, {"output", "output tokens", 1}}},
	{"runs", "Runs", {{"run", "run", 0}, {"suite", "suite", 0}, {"requests", "requests", 1},
		{"input", "input tokens", 1}, {"output", "output tokens", 1},
		{"registered", "registered bytes", 1}, {"free", "bytes of answers", 1}}},
	{"refusals", "Refusals", {{"rule", "rule", 0}, {"clause", "clause", 0}, {"count", "count", 1}}},
	{"acts", "Acts and notices", {{"time", "time", 0}, {"act", "act", 0}, {"grant", "grant", 0},
		{"suite", "suite", 0}, {"reason", "reason given", 0}}},
	{"logs", "Counted from", {{"origin", "log", 0}, {"from", "from record", 1}, {"to", "to before", 1}}},
};
/* clang-format on */
#define TABLES (sizeof(tables) / sizeof(tables[0]))

/* ---- cells ---- */

static void append_cell(struct buf *out, const json_t *value)
{
	const char *key;
	json_t *item;
	size_t index;
	bool first = true;
	if (json_is_string(value)) {
		text_append_line(out, bytes_from(json_string_value(value)), CELL_MAX);
	} else if (json_is_integer(value)) {
		text_append_count(out, (uint64_t)json_integer_value(value));
	} else if (json_is_array(value)) {
		json_array_foreach(value, index, item)
		{
			buf_append_cstr(out, index ? ", " : "");
			append_cell(out, item);
		}
	} else if (json_is_object(value)) {
		json_object_foreach((json_t *)value, key, item)
		{
			buf_printf(out, "%s%s ", first ? "" : " ", key);
			append_cell(out, item);
			first = false;
		}
	}
}

static const json_t *at(const json_t *object, const char *outer, const char *inner)
{
	return json_object_get(json_object_get(object, outer), inner);
}

static const char *text_at(const json_t *object, const char *outer, const char *inner)
{
	const char *text = json_string_value(inner ? at(object, outer, inner)
						   : json_object_get(object, outer));
	return text ? text : "";
}

/* The sentences above the tables, one to a line. */
static void append_summary(struct buf *out, const json_t *body)
{
	const json_t *totals = json_object_get(body, "totals");
	double requests = 100 * json_number_value(at(body, "explained", "share_of_requests"));
	double tokens = 100 * json_number_value(at(body, "explained", "share_of_tokens"));
	static const struct {
		const char *key, *words;
	} parts[] = {
		{"requests",    "requests admitted"},
		{"refused",     "refused"          },
		{"input",       "input tokens"     },
		{"cache_read",  "read from caches" },
		{"cache_write", "written to caches"},
		{"output",      "output tokens"    }
        };
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		json_int_t value = json_integer_value(json_object_get(totals, parts[i].key));
		buf_append_cstr(out, i ? ", " : "");
		text_append_count(out, (uint64_t)value);
		buf_printf(out, " %s", parts[i].words);
	}
	if (json_integer_value(json_object_get(totals, "requests")) > 0)
		buf_printf(out,
			   ".\nExplained by registered suites: %.1f%% of requests, %.1f%% of "
			   "tokens.\n",
			   requests, tokens);
	else
		buf_append_cstr(out, ".\n"); /* nothing to explain */
	json_int_t open = json_integer_value(json_object_get(body, "without_outcome"));
	if (open) {
		text_append_count(out, (uint64_t)open);
		buf_append_cstr(out, " requests have no outcome in this month.\n");
	}
	if (!json_is_true(json_object_get(body, "complete")))
		buf_append_cstr(out, "The month is not over: this is what was recorded so far.\n");
}

static void append_parties(struct buf *out, const json_t *body)
{
	text_append_line(out, bytes_from(text_at(body, "issuer", "name")), CELL_MAX);
	buf_append_cstr(out, " and ");
	text_append_line(out, bytes_from(text_at(body, "org", "name")), CELL_MAX);
	buf_printf(out, " (%s), %s", text_at(body, "org", "id"), text_at(body, "month", NULL));
}

/* ---- text ---- */

static void text_table(struct buf *out, const struct table *table, const json_t *rows)
{
	size_t widths[8] = {0}, index;
	json_t *row;
	for (int pass = 0; pass < 2; pass++) {
		json_array_foreach(rows, index, row)
		{
			for (int c = 0; c < 8 && table->columns[c].key; c++) {
				struct buf cell = BUF_INIT(8192);
				append_cell(&cell, json_object_get(row, table->columns[c].key));
				size_t width = text_columns(buf_bytes(&cell));
				size_t head = strlen(table->columns[c].head);
				if (!pass)
					widths[c] = width > widths[c] ? width : widths[c];
				if (!pass)
					widths[c] = head > widths[c] ? head : widths[c];
				size_t fill = widths[c] > width ? widths[c] - width : 0;
				if (pass && table->columns[c].number)
					buf_printf(out, "%*s", (int)fill, "");
				if (pass)
					buf_append_bytes(out, buf_bytes(&cell));
				if (pass && !table->columns[c].number)
					buf_printf(out, "%*s", (int)fill, "");
				if (pass)
					buf_append_cstr(out, "  ");
				buf_release(&cell);
			}
			if (pass)
				buf_append_char(out, '\n');
		}
		for (int c = 0; !pass && c < 8 && table->columns[c].key; c++)
			buf_printf(out, table->columns[c].number ? "%*s  " : "%-*s  ",
				   (int)widths[c], table->columns[c].head);
		if (!pass)
			buf_append_char(out, '\n');
	}
}

static void write_text(struct buf *out, const json_t *body)
{
	buf_append_cstr(out, "Statement of ");
	append_parties(out, body);
	buf_append_cstr(out, "\n\n");
	append_summary(out, body);
	for (size_t i = 0; i < TABLES; i++) {
		const json_t *rows = json_object_get(body, tables[i].member);
		if (json_array_size(rows) == 0)
			continue;
		buf_printf(out, "\n%s\n", tables[i].title);
		text_table(out, &tables[i], rows);
	}
	buf_printf(out, "\nMade %s, signed with the key %s\n", text_at(body, "made", NULL),
		   text_at(body, "issuer", "key"));
}

/* ---- HTML ---- */

static const char style[] =
	":root{color-scheme:light dark;--ink:#1a1c20;--soft:#5b6270;--line:#d9dde5;--paper:#fff}"
	"@media(prefers-color-scheme:dark){:root{--ink:#e8eaf0;--soft:#a3abba;--line:#363b46;"
	"--paper:#14161b}}"
	"*{box-sizing:border-box}body{margin:0 auto;padding:1rem;max-width:60rem;color:var(--ink);"
	"background:var(--paper);font:15px/1.45 system-ui,sans-serif}"
	"h1{font-size:1.4rem;margin:.5rem 0}h2{font-size:1.05rem;margin:1.4rem 0 .3rem}"
	"p{margin:.3rem 0}.soft{color:var(--soft);overflow-wrap:anywhere}.wide{overflow-x:auto}"
	"table{border-collapse:collapse;width:100%;font-size:.9rem}"
	"th,td{padding:.25rem .5rem;border-bottom:1px solid var(--line);text-align:left;"
	"vertical-align:top}thead th{white-space:nowrap}"
	"tbody th{font-weight:inherit}td,tbody th{overflow-wrap:anywhere;min-width:5.5rem}"
	"td.n,th.n{text-align:right;"
	"font-variant-numeric:tabular-nums;white-space:nowrap}"
	"pre{white-space:pre-wrap;overflow-wrap:anywhere;font-size:.75rem;color:var(--soft)}"
	".wide:focus-visible{outline:2px solid currentcolor}"
	"@media print{:root{color-scheme:light;--ink:#000;--soft:#444;--line:#bbb;--paper:#fff}"
	"body{font-size:10px;max-width:none;padding:0}td,tbody th{min-width:0}"
	".wide{overflow:visible}tr{break-inside:avoid}h2{break-after:avoid}details{display:none}}";

static void html_bytes(struct buf *out, struct buf *text)
{
	text_append_html(out, buf_bytes(text), text->size);
	buf_release(text);
}

static void html_table(struct buf *out, const struct table *table, const json_t *rows)
{
	size_t index;
	json_t *row;
	/* Named by its heading, and reached by the keyboard where it is wider than the page. */
	buf_printf(out,
		   "<h2 id=\"%s\">%s</h2>\n<div class=\"wide\" role=\"region\" tabindex=\"0\" "
		   "aria-labelledby=\"%s\"><table aria-labelledby=\"%s\"><thead><tr>",
		   table->member, table->title, table->member, table->member);
	for (int c = 0; c < 8 && table->columns[c].key; c++)
		buf_printf(out, "<th scope=\"col\"%s>%s</th>",
			   table->columns[c].number ? " class=\"n\"" : "", table->columns[c].head);
	buf_append_cstr(out, "</tr></thead><tbody>\n");
	json_array_foreach(rows, index, row)
	{
		buf_append_cstr(out, "<tr>");
		for (int c = 0; c < 8 && table->columns[c].key; c++) {
			struct buf cell = BUF_INIT(8192);
			append_cell(&cell, json_object_get(row, table->columns[c].key));
			buf_append_cstr(out, c == 0                     ? "<th scope=\"row\">"
					     : table->columns[c].number ? "<td class=\"n\">"
									: "<td>");
			html_bytes(out, &cell);
			buf_append_cstr(out, c == 0 ? "</th>" : "</td>");
		}
		buf_append_cstr(out, "</tr>\n");
	}
	buf_append_cstr(out, "</tbody></table></div>\n");
}

static void html_head(struct buf *out, const json_t *body)
{
	struct buf title = BUF_INIT(8192);
	buf_append_cstr(&title, "Statement, ");
	text_append_line(&title, bytes_from(text_at(body, "org", "name")), CELL_MAX);
	buf_printf(&title, ", %s", text_at(body, "month", NULL));
	page_begin(out, title.failed ? "Statement" : title.data, style);
	buf_release(&title);
	buf_append_cstr(out, "<h1>Statement</h1>\n<p>");
}

static void write_html(struct buf *out, const json_t *body, const json_t *envelope)
{
	struct buf text = BUF_INIT(65536), summary = BUF_INIT(65536),
		   signed_text = BUF_INIT(PAGE_MAX);
	html_head(out, body);
	append_parties(&text, body);
	html_bytes(out, &text);
	buf_append_cstr(out, "</p>\n");
	append_summary(&summary, body);
	struct bytes rest = buf_bytes(&summary);
	while (rest.size) {
		struct bytes line = bytes_split(rest, '\n', &rest);
		buf_append_cstr(out, "<p>");
		text_append_html(out, line, line.size);
		buf_append_cstr(out, "</p>\n");
	}
	buf_release(&summary);
	for (size_t i = 0; i < TABLES; i++) {
		const json_t *rows = json_object_get(body, tables[i].member);
		if (json_array_size(rows) > 0)
			html_table(out, &tables[i], rows);
	}
	buf_printf(&text, "Made %s, signed with the key %s", text_at(body, "made", NULL),
		   text_at(body, "issuer", "key"));
	buf_append_cstr(out, "<p class=\"soft\">");
	html_bytes(out, &text);
	buf_append_cstr(out, "</p>\n<details><summary>The signed statement (DSSE)</summary><pre>");
	json_canonical(envelope, &signed_text, NULL);
	html_bytes(out, &signed_text);
	buf_append_cstr(out, "</pre></details>\n");
	page_end(out);
}

/* ---- the command ---- */

static enum err_code give(const struct telling *telling, const json_t *answer, struct err *err)
{
	const json_t *body = json_object_get(answer, "statement");
	struct buf out = BUF_INIT(PAGE_MAX);
	if (telling->json) {
		char *text = json_dumps(answer, JSON_INDENT(2) | JSON_SORT_KEYS);
		buf_append_cstr(&out, text ? text : "");
		buf_append_char(&out, '\n');
		free(text);
	} else if (telling->html) {
		write_html(&out, body, json_object_get(answer, "envelope"));
	} else {
		write_text(&out, body);
	}
	enum err_code code = ERR_OK;
	struct env *env = telling->output ? env_os_new(1) : NULL;
	if (out.failed || (telling->output && !env))
		code = ERR_SET(err, ERR_NO_MEMORY, "out of memory");
	else if (telling->output)
		code = env_write_file(env, telling->output, buf_bytes(&out), 0600, err);
	else
		fwrite(out.data, 1, out.size, stdout);
	if (env)
		env_os_free(env);
	buf_release(&out);
	return code;
}

/* Of the organisation that the key is of. */
static int ask_remote(const struct telling *telling)
{
	struct err err = ERR_INIT;
	json_t *answer;
	char path[64];
	snprintf(path, sizeof(path), "/parley/v1/statement?month=%.20s", telling->month);
	enum err_code code = remote_get(&telling->remote, path, &answer, &err);
	if (code == ERR_OK)
		code = give(telling, answer, &err);
	json_decref(answer);
	return code == ERR_OK ? 0 : cli_fail(&err);
}

static int ask(const struct telling *telling)
{
	struct err err = ERR_INIT;
	struct admin_answer answer;
	char target[512];
	snprintf(target, sizeof(target), "/admin/v1/statement?org=%.200s&month=%.20s", telling->org,
		 telling->month);
	enum err_code code = admin_client_ask(telling->config, "GET", target, NULL, &answer, &err);
	if (code == ERR_OK)
		code = give(telling, answer.body, &err);
	json_decref(answer.body);
	return code == ERR_OK ? 0 : cli_fail(&err);
}

int cmd_statement(int argc, char **argv)
{
	struct telling telling = {.config = "parley.yaml"};
	const struct cli_option options[] = {
		{"config",      'c', CLI_TEXT, &telling.config, "FILE",
		 "the gateway's configuration (./parley.yaml)", 0, 0},
		{"org",     0, CLI_TEXT, &telling.org, "O", "of which organisation", 0, 0},
		REMOTE_OPTIONS(telling.remote),
		{"month",       0, CLI_TEXT, &telling.month, "M", "of which month (UTC): 2026-11", 0, 0},
		{"output",            'o', CLI_TEXT, &telling.output, "FILE", "where it goes (stdout)", 0, 0},
		{"html",             0, CLI_FLAG, &telling.html, NULL, "one page of HTML", 0, 0},
		{"json",        0, CLI_FLAG, &telling.json, NULL,
		 "the statement and its signed envelope as JSON", 0, 0},
		{0},
	};
	const struct cli_command command = {
		"statement",
		"(--org O | --gateway URL#ENV) --month M [--html | --json] [-o FILE]",
		"What both sides hold of a month: runs, suites, tokens, refusals by clause and the "
		"share that\nregistered suites explain; counted from the logs, signed by the "
		"gateway. The operator\nnames an organisation; the organisation asks with its key "
		"over HTTP. `parley verify`\nchecks what --json wrote.",
		options,
		0,
		0};
	struct cli_arguments arguments;
	int status = cli_parse(&command, argc, argv, &arguments);
	if (status >= 0)
		return status;
	if (!telling.org == !telling.remote.gateway || !telling.month)
		return cli_usage(
			"statement",
			"--month is needed, and --org or --gateway: whose statement it is");
	if ((telling.org && !admin_is_id(telling.org)) || !admin_is_id(telling.month))
		return cli_usage("statement", "\"%s\" is no organisation's id or no month",
				 telling.org && !admin_is_id(telling.org) ? telling.org
									  : telling.month);
	if (telling.html && telling.json)
		return cli_usage("statement", "--html or --json, not both");
	if (telling.org)
		return ask(&telling);
	status = remote_open("statement", &telling.remote);
	return status >= 0 ? status : ask_remote(&telling);
}
