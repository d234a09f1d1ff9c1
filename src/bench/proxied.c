/* One request of the command's behind `bench proxy`: its coming, its answer and its end. Which item
 * it is stands in proxied_match.c, how it is sent on in proxied_send.c. */
#include "bench/proxy_internal.h"

#include "bench/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define HEAD_MAX 16384u

/* ---- coming and going ---- */

struct proxied *proxied_new(struct proxy *proxy, struct http_exchange *exchange)
{
	struct proxied *proxied = calloc(1, sizeof(*proxied));
	if (!proxied)
		return NULL;
	proxied->proxy = proxy;
	proxied->exchange = exchange;
	exchange->user = proxied;
	buf_init(&proxied->head, HEAD_MAX);
	buf_init(&proxied->body, PROXIED_RESPONSE_MAX);
	buf_init(&proxied->fields, HEAD_MAX);
	buf_init(&proxied->answer, PROXIED_RESPONSE_MAX);
	proxied->next = proxy->open;
	if (proxy->open)
		proxy->open->previous = proxied;
	proxy->open = proxied;
	proxy->open_count++;
	return proxied;
}

/* For the last that is done with it, with which it may be gone, or be the next request's. */
static struct http_exchange *take_exchange(struct proxied *proxied)
{
	struct http_exchange *exchange = proxied->exchange;
	proxied->exchange = NULL;
	if (exchange)
		exchange->user = NULL;
	return exchange;
}

void proxied_free(struct proxied *proxied)
{
	struct proxy *proxy = proxied->proxy;
	if (proxied->previous)
		proxied->previous->next = proxied->next;
	else
		proxy->open = proxied->next;
	if (proxied->next)
		proxied->next->previous = proxied->previous;
	proxy->open_count--;
	take_exchange(proxied);
	buf_release(&proxied->head);
	buf_release(&proxied->body);
	buf_release(&proxied->fields);
	buf_release(&proxied->answer);
	free(proxied);
	run_wake(proxy->run);
}

/* The whole answer; then the request is over. */
void proxied_respond(struct proxied *proxied, int status, struct bytes body)
{
	struct http_header fields = {NULL, buf_bytes(&proxied->fields)};
	if (proxied->exchange)
		http_respond(take_exchange(proxied), status, &fields, 1, body);
	proxied_free(proxied);
}

/* An error of our own in the dialect's shape. */
void proxied_respond_error(struct proxied *proxied, int status, const char *message, bool retry)
{
	struct buf body = BUF_INIT(65536), line = BUF_INIT(8192);
	struct http_header headers[] = {
		{"content-type",   BYTES("application/json")},
                {"x-should-retry", BYTES("false")           }
        };
	text_append_line(&line, bytes_from(message), 2000);
	struct dialect_error error = {.status = status, .message = buf_bytes(&line)};
	dialect_error_body(proxied->dialect, &error, &body);
	if (proxied->exchange)
		http_respond(take_exchange(proxied), status, headers, retry ? 1 : 2,
			     buf_bytes(&body));
	buf_release(&body);
	buf_release(&line);
	proxied_free(proxied);
}

void proxied_refuse(struct proxied *proxied, enum proxy_refusal kind, int status,
		    const char *format, ...)
{
	struct proxy *proxy = proxied->proxy;
	char message[1024], text[1100];
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(message, sizeof(message), format, arguments);
	va_end(arguments);
	proxy->refused[kind]++;
	if (!proxy->first_refusal[0])
		text_line(proxy->first_refusal, sizeof(proxy->first_refusal), bytes_from(message));
	lines_note(proxy->run, "refused", message);
	journal_commit(&proxy->run->journal);
	snprintf(text, sizeof(text), "parley bench proxy: %s", message);
	proxied_respond_error(proxied, status, text, false);
}

/* ---- the answer comes ---- */

/* What belongs to one connection, carries a credential, or is ours to write. */
bool proxied_is_forwarded(struct bytes name)
{
	static const char *const kept_back[] = {"host",
						"connection",
						"keep-alive",
						"proxy-connection",
						"proxy-authorization",
						"proxy-authenticate",
						"content-length",
						"content-encoding",
						"transfer-encoding",
						"te",
						"trailer",
						"upgrade",
						"expect",
						"authorization",
						"x-api-key",
						"x-goog-api-key",
						"accept-encoding",
						"cookie",
						"set-cookie",
						"signature",
						"signature-input",
						"content-digest",
						"date"};
	for (size_t i = 0; i < sizeof(kept_back) / sizeof(kept_back[0]); i++)
		if (bytes_equal_fold(name, bytes_from(kept_back[i])))
			return false;
	return true;
}

static struct bytes exchange_body(const struct proxied *proxied)
{
	return proxied->request ? buf_bytes(&proxied->request->response)
				: buf_bytes(&proxied->answer);
}

static struct http_call *call_of(struct proxied *proxied)
{
	return proxied->request ? &proxied->request->call : &proxied->call;
}

static void pause_call(struct proxied *proxied, bool paused)
{
	if (proxied->paused == paused)
		return;
	proxied->paused = paused;
	http_call_pause(call_of(proxied), paused);
}

/* A stream begins; what has come already goes first. */
void proxied_start_stream(struct proxied *proxied)
{
	struct http_header fields = {NULL, buf_bytes(&proxied->fields)};
	if (!proxied->exchange || proxied->started)
		return;
	http_start(proxied->exchange, proxied->status, &fields, 1, -1);
	proxied->started = true;
	if (exchange_body(proxied).size > 0)
		http_send(proxied->exchange, exchange_body(proxied));
}

bool proxied_is_stream(const struct proxied *proxied)
{
	const char *type =
		proxied->fields.data ? strcasestr(proxied->fields.data, "content-type:") : NULL;
	return proxied->status == 200 && type &&
	       strncasecmp(type + 13, " text/event-stream", 18) == 0;
}

void proxied_head(struct proxied *proxied, const struct http_head *head, struct bytes head_bytes)
{
	proxied->status = head->status;
	buf_clear(&proxied->fields);
	for (unsigned i = 0; i < head->field_count; i++) {
		struct bytes name = http_bytes(head_bytes.data, head->fields[i].name);
		struct bytes value = http_bytes(head_bytes.data, head->fields[i].value);
		if (proxied_is_forwarded(name))
			buf_printf(&proxied->fields, "%.*s: %.*s\r\n", BYTES_ARG(name),
				   BYTES_ARG(value));
	}
	if (proxied_is_stream(proxied))
		proxied_start_stream(proxied);
}

void proxied_piece(struct proxied *proxied, struct bytes piece)
{
	if (!proxied->started || !proxied->exchange)
		return;
	http_send(proxied->exchange, piece);
	if (http_unsent(proxied->exchange) > HTTP_SERVER_UNSENT_HIGH)
		pause_call(proxied, true);
}

void proxied_drained(struct http_exchange *exchange)
{
	struct proxied *proxied = exchange->user;
	if (proxied)
		pause_call(proxied, false);
}

void proxied_failed(struct proxied *proxied, const char *why)
{
	snprintf(proxied->why, sizeof(proxied->why), "%s", why);
}

/* The answer's end, or what stands for it. */
void proxied_finish(struct proxied *proxied, bool whole, struct bytes body)
{
	const struct run *run = proxied->proxy->run;
	if (!proxied->exchange) {
		proxied_free(proxied);
	} else if (proxied->started) {
		if (whole)
			http_finish(take_exchange(proxied));
		else
			http_cut(take_exchange(proxied));
		proxied_free(proxied);
	} else if (whole) {
		proxied_respond(proxied, proxied->status, body);
	} else {
		char message[640];
		snprintf(message, sizeof(message), "parley bench proxy: no answer came: %s",
			 proxied->why);
		proxied_respond_error(proxied, run->interrupted ? 503 : 502, message,
				      !run->interrupted);
	}
}

void proxied_over(struct request *request)
{
	struct proxied *proxied = request->proxied;
	struct run *run = proxied->proxy->run;
	struct task *task = &request->cell->tasks[request->index];
	bool answered = task->state == TASK_ANSWERED || task->state == TASK_UNGRADED ||
			task->state == TASK_GRADING;
	task->undelivered = answered && !proxied->exchange;
	proxied_turns_over(proxied, request);
	/* Nothing is handed on that a kill could take away. */
	if (!journal_write(&run->journal))
		run_fail(run, &run->journal.err);
	journal_commit(&run->journal);
	proxied_finish(proxied, request->status != 0, buf_bytes(&request->response));
}

void proxied_aborted(struct http_exchange *exchange)
{
	struct proxied *proxied = exchange->user;
	if (!proxied)
		return;
	proxied->exchange = NULL;
	pause_call(proxied, false);
	if (proxied->request)
		return;
	http_call_cancel(&proxied->call);
	proxied_free(proxied);
}

void proxied_end_all(struct proxy *proxy)
{
	while (proxy->open) {
		struct proxied *proxied = proxy->open;
		if (proxied->request)
			proxied->request->proxied = NULL;
		else if (proxied->call.user)
			http_call_cancel(&proxied->call);
		if (proxied->exchange && proxied->started)
			http_cut(take_exchange(proxied));
		else if (proxied->exchange) {
			proxied_respond_error(proxied, 503, "parley bench proxy: the run has ended",
					      false);
			continue;
		}
		proxied_free(proxied);
	}
}
