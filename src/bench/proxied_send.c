/* What the command asks, sent on byte for byte: as an item of the run, or, where it is none, beside
 * it. */
#include "bench/budget.h"
#include "bench/proxy_internal.h"

#include "base/encode.h"
#include "bench/text.h"

#define FIELDS_SENT_MAX (HTTP_FIELDS_MAX - 12)
#define PASSED_FIRST_BYTE_NS 600000000000u
#define PASSED_IDLE_NS 120000000000u

/* ---- fields ---- */

static bool is_parleys(struct bytes name)
{
	return name.size >= 7 && bytes_equal_fold(bytes_of(name.data, 7), BYTES("parley-"));
}

static size_t request_fields(const struct http_exchange *exchange, struct bytes *names,
			     struct bytes *values)
{
	const struct http_head *head = exchange->head;
	const char *data = exchange->head_bytes.data;
	size_t count = 0;
	for (unsigned i = 0; i < head->field_count && count < FIELDS_SENT_MAX; i++) {
		struct bytes name = http_bytes(data, head->fields[i].name);
		if (!proxied_is_forwarded(name) || is_parleys(name))
			continue;
		names[count] = name;
		values[count++] = http_bytes(data, head->fields[i].value);
	}
	return count;
}

static void credential(const struct proxied *proxied, const struct run_model *model,
		       struct buf *out)
{
	if (model->key)
		dialect_key_field(model->plan->dialect, model->key, out);
	if (model->plan->dialect == DIALECT_ANTHROPIC &&
	    !http_has(proxied->exchange->head, HTTP_FIELD_ANTHROPIC_VERSION))
		buf_append_cstr(out, "anthropic-version: 2023-06-01\r\n");
}

static bool write_target(const struct dialect_endpoint *endpoint, const struct run_model *model,
			 struct buf *out)
{
	struct bytes name = bytes_from(model->plan->name);
	struct bytes base = http_origin_base_path(model->origin);
	if (!buf_reserve(out, base.size + name.size + DIALECT_TARGET_EXTRA))
		return false;
	out->size = (size_t)(dialect_write_target(endpoint, base, name, out->data) - out->data);
	return true;
}

/* ---- sent on as an item ---- */

static bool build_request(struct proxied *proxied, const struct dialect_endpoint *endpoint,
			  struct request *request)
{
	struct http_exchange *exchange = proxied->exchange;
	struct bytes names[FIELDS_SENT_MAX + RUN_OWN_FIELDS];
	struct bytes values[FIELDS_SENT_MAX + RUN_OWN_FIELDS];
	struct buf target = BUF_INIT(HTTP_TARGET_MAX), lines = BUF_INIT(8192);
	size_t count = request_fields(exchange, names, values);
	bool good = write_target(endpoint, request->model, &target);
	credential(proxied, request->model, &lines);
	buf_append_bytes(&request->body, exchange->body);
	ask_write_head(request, buf_bytes(&target), names, values, count, buf_bytes(&lines));
	good = good && !lines.failed && !request->head.failed && !request->body.failed;
	buf_release(&target);
	buf_release(&lines);
	return good;
}

/* The request as the run keeps it; NULL with `err` set. */
static struct request *take_request(struct proxied *proxied, struct run_model *model,
				    struct cell *cell, size_t index, struct err *err)
{
	struct run *run = proxied->proxy->run;
	struct request *request = ask_take_request(model);
	if (!request) {
		ERR_SET(err, ERR_NO_MEMORY, "out of memory");
		return NULL;
	}
	request->cell = cell;
	request->index = index;
	request->step = steps_done(cell, index);
	request->started = false;
	request->response.max = PROXIED_RESPONSE_MAX;
	if (suite_item_render(run->suites[cell->suite].suite, cell_item(run, cell, index),
			      &request->item, err) != ERR_OK) {
		ask_finish_request(request);
		return NULL;
	}
	request->item_held = true;
	cells_note_item(run, cell->suite, &request->item);
	return request;
}

void proxied_send_on(struct proxied *proxied, const struct dialect_endpoint *endpoint,
		     struct run_model *model, struct cell *cell, size_t index,
		     const uint8_t digest[static SHA256_SIZE], bool streamed)
{
	struct proxy *proxy = proxied->proxy;
	struct run *run = proxy->run;
	struct err err = ERR_INIT;
	struct request *request = take_request(proxied, model, cell, index, &err);
	if (!request) {
		proxied_respond_error(proxied, 503, err.message, true);
		return;
	}
	hex_encode(digest, SHA256_SIZE, request->words);
	if (!build_request(proxied, endpoint, request)) {
		ask_finish_request(request);
		proxied_refuse(proxied, PROXY_REFUSED_BODY, 413, "the request is too large");
		return;
	}
	if (!budget_take(run, request)) {
		bool under_way = run->reservations > 0;
		ask_finish_request(request);
		if (!under_way)
			ask_over_budget(run);
		proxied_respond_error(proxied, under_way ? 503 : 403,
				      under_way ? "this request might pass the plan's budget while "
						  "others are under way"
						: "the plan's budget has no room for this request",
				      under_way);
		return;
	}
	request->streamed = streamed;
	request->proxied = proxied;
	proxied->request = request;
	proxy->bound++;
	cell_set(cell, index, TASK_ASKING);
	ask_begin(request);
	if (!journal_write(&run->journal))
		run_fail(run, &run->journal.err);
	request->started = true;
	http_call_start(model->origin, &request->call);
}

/* ---- passed on though it is no item ---- */

static void passed_head(struct http_call *call, const struct http_head *head,
			struct bytes head_bytes)
{
	proxied_head(call->user, head, head_bytes);
}

static void passed_piece(struct http_call *call, struct bytes piece)
{
	struct proxied *proxied = call->user;
	if (proxied->started)
		proxied_piece(proxied, piece);
	else
		buf_append_bytes(&proxied->answer, piece);
}

static void passed_ended(struct http_call *call, const struct err *err)
{
	struct proxied *proxied = call->user;
	bool whole = err->code == ERR_OK && !proxied->answer.failed;
	if (proxied->recorded && whole && proxied->status == 200)
		recording_count(proxied->proxy->recording, proxied->recorded, proxied->model);
	text_line(proxied->why, sizeof(proxied->why),
		  bytes_from(whole       ? ""
			     : err->code ? err->message
					 : "the answer is too large"));
	proxied_finish(proxied, whole, buf_bytes(&proxied->answer));
}

void proxied_pass_on(struct proxied *proxied, const struct dialect_endpoint *endpoint,
		     struct run_model *model)
{
	struct http_exchange *exchange = proxied->exchange;
	struct bytes names[FIELDS_SENT_MAX], values[FIELDS_SENT_MAX];
	struct buf target = BUF_INIT(HTTP_TARGET_MAX), lines = BUF_INIT(8192);
	size_t count = request_fields(exchange, names, values);
	bool has_body = strcmp(endpoint->method, "POST") == 0;
	bool good = write_target(endpoint, model, &target);
	credential(proxied, model, &lines);
	buf_append_bytes(&proxied->body, exchange->body);
	ask_sign_head(model, &proxied->head,
		      &(struct signer_request){.method = endpoint->method,
					       .target = buf_bytes(&target),
					       .names = names,
					       .values = values,
					       .field_count = count,
					       .has_body = has_body,
					       .body = buf_bytes(&proxied->body)},
		      buf_bytes(&lines));
	good = good && !lines.failed && !proxied->head.failed && !proxied->body.failed;
	buf_release(&target);
	buf_release(&lines);
	if (!good) {
		proxied_refuse(proxied, PROXY_REFUSED_BODY, 413, "the request is too large");
		return;
	}
	proxied->proxy->passed++;
	proxied->model = model->plan->name;
	proxied->call = (struct http_call){
		.parts = {{proxied->head.data, proxied->head.size},
			  {proxied->body.data, proxied->body.size}},
		.part_count = proxied->body.size > 0 ? 2 : 1,
		.first_byte_ns = PASSED_FIRST_BYTE_NS,
		.idle_ns = PASSED_IDLE_NS,
		.user = proxied,
		.head = passed_head,
		.body = passed_piece,
		.ended = passed_ended,
	};
	http_call_start(model->origin, &proxied->call);
}
