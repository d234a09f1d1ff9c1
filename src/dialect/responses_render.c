/* What a stand-in model says through the OpenAI Responses API. */
#include "dialect/ops.h"

static bool is_incomplete(enum dialect_finish finish)
{
	return finish == DIALECT_FINISH_LENGTH || finish == DIALECT_FINISH_REFUSAL;
}

static void append_usage(const struct dialect_rendering *answer, struct buf *out)
{
	const struct dialect_usage *usage = &answer->usage;
	int64_t input = usage->input + usage->cache_read + usage->cache_write;
	render_number(out, "{\"input_tokens\":", input);
	render_number(out, ",\"input_tokens_details\":{\"cached_tokens\":", usage->cache_read);
	render_number(out, "},\"output_tokens\":", usage->output);
	render_number(
		out, ",\"output_tokens_details\":{\"reasoning_tokens\":", answer->reasoning_tokens);
	render_number(out, "},\"total_tokens\":", input + usage->output);
	buf_append_char(out, '}');
}

/* The names of the answer's one item and one part are made from the answer's. */
static void append_item_id(const struct dialect_rendering *answer, struct buf *out)
{
	buf_append_cstr(out, "\"msg_");
	buf_append_cstr(out, answer->id);
	buf_append_char(out, '"');
}

/* Of a model that shows how it thinks: the text as one token. */
static void append_logprobs(const struct dialect_rendering *answer, struct bytes text,
			    struct buf *out)
{
	buf_append_cstr(out, "\"logprobs\":[");
	if (answer->reasoning.size && text.size) {
		buf_append_cstr(out, "{\"token\":");
		json_append_string(out, text);
		buf_append_cstr(out, ",\"logprob\":-0.25,\"bytes\":[],\"top_logprobs\":[]}");
	}
	buf_append_char(out, ']');
}

static void append_part(const struct dialect_rendering *answer, struct bytes text, struct buf *out)
{
	buf_append_cstr(out, "{\"type\":\"output_text\",\"annotations\":[],");
	append_logprobs(answer, text, out);
	buf_append_cstr(out, ",\"text\":");
	json_append_string(out, text);
	buf_append_char(out, '}');
}

/* What it said to itself: an item of its own before the message. */
static void append_reasoning(const struct dialect_rendering *answer, bool whole, struct buf *out)
{
	buf_append_cstr(out, "{\"id\":\"rs_");
	buf_append_cstr(out, answer->id);
	buf_append_cstr(out, "\",\"type\":\"reasoning\",\"summary\":[");
	if (whole) {
		buf_append_cstr(out, "{\"type\":\"summary_text\",\"text\":");
		json_append_string(out, answer->reasoning);
		buf_append_char(out, '}');
	}
	buf_append_cstr(out, "]}");
}

/* The message; without its part where it has just begun. */
static void append_item(const struct dialect_rendering *answer, const struct bytes *text,
			struct buf *out)
{
	buf_append_cstr(out, "{\"id\":");
	append_item_id(answer, out);
	buf_append_cstr(out, ",\"type\":\"message\",\"status\":\"");
	buf_append_cstr(out, !text                           ? "in_progress"
			     : is_incomplete(answer->finish) ? "incomplete"
							     : "completed");
	buf_append_cstr(out, "\",\"role\":\"assistant\",\"content\":[");
	if (text)
		append_part(answer, *text, out);
	buf_append_cstr(out, "]}");
}

static void append_details(enum dialect_finish finish, struct buf *out)
{
	buf_append_cstr(out, ",\"error\":null,\"incomplete_details\":");
	if (finish == DIALECT_FINISH_LENGTH)
		buf_append_cstr(out, "{\"reason\":\"max_output_tokens\"}");
	else if (finish == DIALECT_FINISH_REFUSAL)
		buf_append_cstr(out, "{\"reason\":\"content_filter\"}");
	else
		buf_append_cstr(out, "null");
}

/* The answer's object: whole with a text, else as it is when it begins. */
static void append_response(const struct dialect_rendering *answer, const struct bytes *text,
			    struct buf *out)
{
	buf_append_cstr(out, "{\"id\":");
	json_append_string(out, bytes_from(answer->id));
	render_number(out, ",\"object\":\"response\",\"created_at\":", answer->created);
	buf_append_cstr(out, ",\"status\":\"");
	buf_append_cstr(out, !text                           ? "in_progress"
			     : is_incomplete(answer->finish) ? "incomplete"
							     : "completed");
	buf_append_char(out, '"');
	append_details(text ? answer->finish : DIALECT_FINISH_NONE, out);
	buf_append_cstr(out, ",\"model\":");
	json_append_string(out, answer->model);
	buf_append_cstr(out, ",\"output\":[");
	if (text && answer->reasoning.size) {
		append_reasoning(answer, true, out);
		buf_append_char(out, ',');
	}
	if (text)
		append_item(answer, text, out);
	buf_append_cstr(out, "],\"parallel_tool_calls\":true,\"tool_choice\":\"auto\",\"tools\":[],"
			     "\"usage\":");
	if (text)
		append_usage(answer, out);
	else
		buf_append_cstr(out, "null");
	buf_append_char(out, '}');
}

void responses_render_answer(const struct dialect_rendering *answer, struct buf *out)
{
	append_response(answer, &answer->text, out);
}

/* ---- streams ---- */

static void begin(struct dialect_rendering *answer, const char *type, struct buf *out)
{
	buf_append_cstr(out, "event: ");
	buf_append_cstr(out, type);
	buf_append_cstr(out, "\ndata: {\"type\":\"");
	buf_append_cstr(out, type);
	render_number(out, "\",\"sequence_number\":", (int64_t)answer->sequence++);
}

static void end(struct buf *out)
{
	buf_append_cstr(out, "}\n\n");
}

static void response_event(struct dialect_rendering *answer, const char *type,
			   const struct bytes *text, struct buf *out)
{
	begin(answer, type, out);
	buf_append_cstr(out, ",\"response\":");
	append_response(answer, text, out);
	end(out);
}

static int text_index(const struct dialect_rendering *answer)
{
	return answer->reasoning.size ? 1 : 0;
}

static void begin_summary(struct dialect_rendering *answer, const char *type, struct buf *out)
{
	begin(answer, type, out);
	buf_append_cstr(out, ",\"item_id\":\"rs_");
	buf_append_cstr(out, answer->id);
	buf_append_cstr(out, "\",\"output_index\":0,\"summary_index\":0,");
}

static void reasoning_item_event(struct dialect_rendering *answer, const char *type, bool whole,
				 struct buf *out)
{
	begin(answer, type, out);
	buf_append_cstr(out, ",\"output_index\":0,\"item\":");
	append_reasoning(answer, whole, out);
	end(out);
}

static void reasoning_events(struct dialect_rendering *answer, struct buf *out)
{
	static const char *const texts[][2] = {
		{"response.reasoning_summary_text.delta", "\"delta\":"},
		{"response.reasoning_summary_text.done",  "\"text\":" }
        };
	reasoning_item_event(answer, "response.output_item.added", false, out);
	begin_summary(answer, "response.reasoning_summary_part.added", out);
	buf_append_cstr(out, "\"part\":{\"type\":\"summary_text\",\"text\":\"\"}");
	end(out);
	for (int i = 0; i < 2; i++) {
		begin_summary(answer, texts[i][0], out);
		buf_append_cstr(out, texts[i][1]);
		json_append_string(out, answer->reasoning);
		end(out);
	}
	begin_summary(answer, "response.reasoning_summary_part.done", out);
	buf_append_cstr(out, "\"part\":{\"type\":\"summary_text\",\"text\":");
	json_append_string(out, answer->reasoning);
	buf_append_char(out, '}');
	end(out);
	reasoning_item_event(answer, "response.output_item.done", true, out);
}

static void item_event(struct dialect_rendering *answer, const char *type, const struct bytes *text,
		       struct buf *out)
{
	begin(answer, type, out);
	render_number(out, ",\"output_index\":", text_index(answer));
	buf_append_cstr(out, ",\"item\":");
	append_item(answer, text, out);
	end(out);
}

/* An event about the part, up to where its own member begins. */
static void begin_part(struct dialect_rendering *answer, const char *type, struct buf *out)
{
	begin(answer, type, out);
	buf_append_cstr(out, ",\"item_id\":");
	append_item_id(answer, out);
	render_number(out, ",\"output_index\":", text_index(answer));
	buf_append_cstr(out, ",\"content_index\":0,");
}

void responses_render_start(struct dialect_rendering *answer, struct buf *out)
{
	response_event(answer, "response.created", NULL, out);
	response_event(answer, "response.in_progress", NULL, out);
	if (answer->reasoning.size)
		reasoning_events(answer, out);
	item_event(answer, "response.output_item.added", NULL, out);
	begin_part(answer, "response.content_part.added", out);
	buf_append_cstr(out, "\"part\":");
	append_part(answer, BYTES(""), out);
	end(out);
}

void responses_render_delta(struct dialect_rendering *answer, struct buf *out)
{
	begin_part(answer, "response.output_text.delta", out);
	append_logprobs(answer, answer->text, out);
	buf_append_cstr(out, ",\"delta\":");
	json_append_string(out, answer->text);
	end(out);
}

void responses_render_end(struct dialect_rendering *answer, struct buf *out)
{
	begin_part(answer, "response.output_text.done", out);
	append_logprobs(answer, answer->whole, out);
	buf_append_cstr(out, ",\"text\":");
	json_append_string(out, answer->whole);
	end(out);
	begin_part(answer, "response.content_part.done", out);
	buf_append_cstr(out, "\"part\":");
	append_part(answer, answer->whole, out);
	end(out);
	item_event(answer, "response.output_item.done", &answer->whole, out);
	response_event(answer,
		       is_incomplete(answer->finish) ? "response.incomplete" : "response.completed",
		       &answer->whole, out);
}
