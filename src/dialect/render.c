/* What a stand-in model says, in each dialect. */
#include "dialect/ops.h"

#define SIGNATURE "c2ltdWxhdGVk" /* "simulated" */

static void append_string(struct buf *out, const char *text)
{
	json_append_string(out, bytes_from(text));
}

/* printf costs more than the rest of a small answer. */
static void append_number(struct buf *out, int64_t number)
{
	char digits[20];
	unsigned count = 0;
	uint64_t left = number > 0 ? (uint64_t)number : 0;
	do {
		digits[sizeof(digits) - ++count] = (char)('0' + left % 10);
		left /= 10;
	} while (left);
	buf_append(out, digits + sizeof(digits) - count, count);
}

void render_number(struct buf *out, const char *before, int64_t number)
{
	buf_append_cstr(out, before);
	append_number(out, number);
}

/* ---- Anthropic ---- */

static const char *anthropic_stop_reason(enum dialect_finish finish)
{
	static const char *const reasons[] = {
		[DIALECT_FINISH_NONE] = NULL,           [DIALECT_FINISH_STOP] = "end_turn",
		[DIALECT_FINISH_LENGTH] = "max_tokens", [DIALECT_FINISH_TOOL_CALLS] = "tool_use",
		[DIALECT_FINISH_REFUSAL] = "refusal",   [DIALECT_FINISH_OTHER] = "pause_turn",
	};
	return reasons[finish];
}

static void anthropic_usage(const struct dialect_usage *usage, int64_t output, struct buf *out)
{
	render_number(out, "{\"input_tokens\":", usage->input);
	render_number(out, ",\"cache_creation_input_tokens\":", usage->cache_write);
	render_number(out, ",\"cache_read_input_tokens\":", usage->cache_read);
	render_number(out, ",\"output_tokens\":", output);
	buf_append_char(out, '}');
}

static void anthropic_stop(enum dialect_finish finish, struct buf *out)
{
	const char *reason = anthropic_stop_reason(finish);
	buf_append_cstr(out, "\"stop_reason\":");
	if (reason)
		append_string(out, reason);
	else
		buf_append_cstr(out, "null");
	buf_append_cstr(out, ",\"stop_sequence\":null");
}

static void anthropic_head(const struct dialect_rendering *answer, struct buf *out)
{
	buf_append_cstr(out, "{\"id\":");
	append_string(out, answer->id);
	buf_append_cstr(out, ",\"type\":\"message\",\"role\":\"assistant\",\"model\":");
	json_append_string(out, answer->model);
	buf_append_cstr(out, ",\"content\":[");
}

/* Reasoning is a block of its own before the text's. */
static int anthropic_text_index(const struct dialect_rendering *answer)
{
	return answer->reasoning.size ? 1 : 0;
}

static void anthropic_thinking(const struct dialect_rendering *answer, struct buf *out)
{
	buf_append_cstr(out,
			"event: content_block_start\n"
			"data: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":"
			"{\"type\":\"thinking\",\"thinking\":\"\",\"signature\":\"\"}}\n\n"
			"event: content_block_delta\n"
			"data: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":"
			"{\"type\":\"thinking_delta\",\"thinking\":");
	json_append_string(out, answer->reasoning);
	buf_append_cstr(out, "}}\n\nevent: content_block_delta\n"
			     "data: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":"
			     "{\"type\":\"signature_delta\",\"signature\":\"" SIGNATURE "\"}}\n\n"
			     "event: content_block_stop\n"
			     "data: {\"type\":\"content_block_stop\",\"index\":0}\n\n");
}

void anthropic_render_answer(const struct dialect_rendering *answer, struct buf *out)
{
	anthropic_head(answer, out);
	if (answer->reasoning.size) {
		buf_append_cstr(out, "{\"type\":\"thinking\",\"thinking\":");
		json_append_string(out, answer->reasoning);
		buf_append_cstr(out, ",\"signature\":\"" SIGNATURE "\"},");
	}
	buf_append_cstr(out, "{\"type\":\"text\",\"text\":");
	json_append_string(out, answer->text);
	buf_append_cstr(out, "}],");
	anthropic_stop(answer->finish, out);
	buf_append_cstr(out, ",\"usage\":");
	anthropic_usage(&answer->usage, answer->usage.output, out);
	buf_append_char(out, '}');
}

void anthropic_render_start(struct dialect_rendering *answer, struct buf *out)
{
	buf_append_cstr(out, "event: message_start\n"
			     "data: {\"type\":\"message_start\",\"message\":");
	anthropic_head(answer, out);
	buf_append_cstr(out, "],");
	anthropic_stop(DIALECT_FINISH_NONE, out);
	buf_append_cstr(out, ",\"usage\":");
	anthropic_usage(&answer->usage, 1, out);
	buf_append_cstr(out, "}}\n\n");
	if (answer->reasoning.size)
		anthropic_thinking(answer, out);
	buf_append_cstr(out, "event: content_block_start\n");
	render_number(out, "data: {\"type\":\"content_block_start\",\"index\":",
		      anthropic_text_index(answer));
	buf_append_cstr(out, ",\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n");
}

void anthropic_render_delta(struct dialect_rendering *answer, struct buf *out)
{
	buf_append_cstr(out, "event: content_block_delta\n");
	render_number(out, "data: {\"type\":\"content_block_delta\",\"index\":",
		      anthropic_text_index(answer));
	buf_append_cstr(out, ",\"delta\":{\"type\":\"text_delta\",\"text\":");
	json_append_string(out, answer->text);
	buf_append_cstr(out, "}}\n\n");
}

void anthropic_render_end(struct dialect_rendering *answer, struct buf *out)
{
	buf_append_cstr(out, "event: content_block_stop\n");
	render_number(out, "data: {\"type\":\"content_block_stop\",\"index\":",
		      anthropic_text_index(answer));
	buf_append_cstr(out, "}\n\nevent: message_delta\n"
			     "data: {\"type\":\"message_delta\",\"delta\":{");
	anthropic_stop(answer->finish, out);
	buf_append_cstr(out, "},\"usage\":");
	anthropic_usage(&answer->usage, answer->usage.output, out);
	buf_append_cstr(out, "}\n\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n");
}

/* ---- OpenAI ---- */

static const char *openai_finish_reason(enum dialect_finish finish)
{
	static const char *const reasons[] = {
		[DIALECT_FINISH_NONE] = "stop",
		[DIALECT_FINISH_STOP] = "stop",
		[DIALECT_FINISH_LENGTH] = "length",
		[DIALECT_FINISH_TOOL_CALLS] = "tool_calls",
		[DIALECT_FINISH_REFUSAL] = "content_filter",
		[DIALECT_FINISH_OTHER] = "stop",
	};
	return reasons[finish];
}

static void openai_usage(const struct dialect_rendering *answer, struct buf *out)
{
	const struct dialect_usage *usage = &answer->usage;
	int64_t prompt = usage->input + usage->cache_read + usage->cache_write;
	render_number(out, "{\"prompt_tokens\":", prompt);
	render_number(out, ",\"completion_tokens\":", usage->output);
	render_number(out, ",\"total_tokens\":", prompt + usage->output);
	render_number(out, ",\"prompt_tokens_details\":{\"cached_tokens\":", usage->cache_read);
	render_number(out, "},\"completion_tokens_details\":{\"reasoning_tokens\":",
		      answer->reasoning_tokens);
	buf_append_cstr(out, "}}");
}

/* Of a model that shows how it thinks: its text as one token. */
static void openai_logprobs(const struct dialect_rendering *answer, struct buf *out)
{
	buf_append_cstr(out, "\"logprobs\":");
	if (!answer->reasoning.size || !answer->text.size) {
		buf_append_cstr(out, "null");
		return;
	}
	buf_append_cstr(out, "{\"content\":[{\"token\":");
	json_append_string(out, answer->text);
	buf_append_cstr(out, ",\"logprob\":-0.25,\"bytes\":null,\"top_logprobs\":[]}]}");
}

static void openai_reasoning(const struct dialect_rendering *answer, struct buf *out)
{
	if (!answer->reasoning.size)
		return;
	buf_append_cstr(out, ",\"reasoning_content\":");
	json_append_string(out, answer->reasoning);
}

static void openai_head(const struct dialect_rendering *answer, const char *object, struct buf *out)
{
	buf_append_cstr(out, "{\"id\":");
	append_string(out, answer->id);
	buf_append_cstr(out, ",\"object\":\"");
	buf_append_cstr(out, object);
	render_number(out, "\",\"created\":", answer->created);
	buf_append_cstr(out, ",\"model\":");
	json_append_string(out, answer->model);
	buf_append_cstr(out, ",\"choices\":[");
}

void openai_render_answer(const struct dialect_rendering *answer, struct buf *out)
{
	openai_head(answer, "chat.completion", out);
	buf_append_cstr(out, "{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":");
	json_append_string(out, answer->text);
	openai_reasoning(answer, out);
	buf_append_cstr(out, ",\"refusal\":null},");
	openai_logprobs(answer, out);
	buf_append_cstr(out, ",\"finish_reason\":");
	append_string(out, openai_finish_reason(answer->finish));
	buf_append_cstr(out, "}],\"usage\":");
	openai_usage(answer, out);
	buf_append_char(out, '}');
}

/* One chunk around what stands inside `delta`. */
static void chunk_begin(const struct dialect_rendering *answer, struct buf *out)
{
	buf_append_cstr(out, "data: ");
	openai_head(answer, "chat.completion.chunk", out);
}

static void chunk_end(const struct dialect_rendering *answer, struct buf *out)
{
	buf_append_cstr(out, answer->include_usage ? "],\"usage\":null}\n\n" : "]}\n\n");
}

void openai_render_start(struct dialect_rendering *answer, struct buf *out)
{
	chunk_begin(answer, out);
	buf_append_cstr(out, "{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"");
	openai_reasoning(answer, out);
	buf_append_cstr(out, "},\"logprobs\":null,\"finish_reason\":null}");
	chunk_end(answer, out);
}

void openai_render_delta(struct dialect_rendering *answer, struct buf *out)
{
	chunk_begin(answer, out);
	buf_append_cstr(out, "{\"index\":0,\"delta\":{\"content\":");
	json_append_string(out, answer->text);
	buf_append_cstr(out, "},");
	openai_logprobs(answer, out);
	buf_append_cstr(out, ",\"finish_reason\":null}");
	chunk_end(answer, out);
}

/* The chunk that ends the text, without its end. */
static void last_chunk(const struct dialect_rendering *answer, struct buf *out)
{
	chunk_begin(answer, out);
	buf_append_cstr(out, "{\"index\":0,\"delta\":{},\"logprobs\":null,\"finish_reason\":");
	append_string(out, openai_finish_reason(answer->finish));
	buf_append_char(out, '}');
}

void openai_render_end(struct dialect_rendering *answer, struct buf *out)
{
	last_chunk(answer, out);
	chunk_end(answer, out);
	if (answer->include_usage) {
		chunk_begin(answer, out);
		buf_append_cstr(out, "],\"usage\":");
		openai_usage(answer, out);
		buf_append_cstr(out, "}\n\n");
	}
	buf_append_cstr(out, "data: [DONE]\n\n");
}

/* ---- Mistral: what differs ---- */

static void mistral_thinking(const struct dialect_rendering *answer, struct buf *out)
{
	buf_append_cstr(out, "{\"type\":\"thinking\",\"thinking\":[{\"type\":\"text\",\"text\":");
	json_append_string(out, answer->reasoning);
	buf_append_cstr(out, "}]}");
}

void mistral_render_answer(const struct dialect_rendering *answer, struct buf *out)
{
	if (!answer->reasoning.size) {
		openai_render_answer(answer, out);
		return;
	}
	openai_head(answer, "chat.completion", out);
	buf_append_cstr(out, "{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":[");
	mistral_thinking(answer, out);
	buf_append_cstr(out, ",{\"type\":\"text\",\"text\":");
	json_append_string(out, answer->text);
	buf_append_cstr(out, "}]},\"finish_reason\":");
	append_string(out, openai_finish_reason(answer->finish));
	buf_append_cstr(out, "}],\"usage\":");
	openai_usage(answer, out);
	buf_append_char(out, '}');
}

void mistral_render_start(struct dialect_rendering *answer, struct buf *out)
{
	if (!answer->reasoning.size) {
		openai_render_start(answer, out);
		return;
	}
	chunk_begin(answer, out);
	buf_append_cstr(out, "{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":[");
	mistral_thinking(answer, out);
	buf_append_cstr(out, "]},\"finish_reason\":null}");
	chunk_end(answer, out);
}

void mistral_render_end(struct dialect_rendering *answer, struct buf *out)
{
	last_chunk(answer, out);
	buf_append_cstr(out, "],\"usage\":");
	openai_usage(answer, out);
	buf_append_cstr(out, "}\n\ndata: [DONE]\n\n");
}
