/* What a stand-in model says through the Gemini API. */
#include "dialect/ops.h"

static const char *finish_reason(enum dialect_finish finish)
{
	static const char *const reasons[] = {
		[DIALECT_FINISH_NONE] = NULL,           [DIALECT_FINISH_STOP] = "STOP",
		[DIALECT_FINISH_LENGTH] = "MAX_TOKENS", [DIALECT_FINISH_TOOL_CALLS] = "STOP",
		[DIALECT_FINISH_REFUSAL] = "SAFETY",    [DIALECT_FINISH_OTHER] = "OTHER",
	};
	return reasons[finish];
}

/* One answer or chunk; its end has a finish reason, and everything tells the usage so far. */
static void append_chunk(const struct dialect_rendering *answer, struct bytes thought,
			 struct bytes text, enum dialect_finish finish, int64_t output,
			 struct buf *out)
{
	const struct dialect_usage *usage = &answer->usage;
	int64_t prompt = usage->input + usage->cache_read + usage->cache_write;
	const char *reason = finish_reason(finish);
	buf_append_cstr(out, "{\"candidates\":[{\"content\":{\"parts\":[");
	if (thought.size) {
		buf_append_cstr(out, "{\"text\":");
		json_append_string(out, thought);
		buf_append_cstr(out, ",\"thought\":true}");
	}
	if (!thought.size || text.size) {
		buf_append_cstr(out, thought.size ? ",{\"text\":" : "{\"text\":");
		json_append_string(out, text);
		buf_append_char(out, '}');
	}
	buf_append_cstr(out, "],\"role\":\"model\"},");
	if (reason) {
		buf_append_cstr(out, "\"finishReason\":\"");
		buf_append_cstr(out, reason);
		buf_append_cstr(out, "\",");
	}
	render_number(out, "\"index\":0}],\"usageMetadata\":{\"promptTokenCount\":", prompt);
	if (output)
		render_number(out, ",\"candidatesTokenCount\":", output - answer->reasoning_tokens);
	if (output && answer->reasoning_tokens)
		render_number(out, ",\"thoughtsTokenCount\":", answer->reasoning_tokens);
	render_number(out, ",\"totalTokenCount\":", prompt + output);
	if (usage->cache_read)
		render_number(out, ",\"cachedContentTokenCount\":", usage->cache_read);
	buf_append_cstr(out, "},\"modelVersion\":");
	json_append_string(out, answer->model);
	buf_append_cstr(out, ",\"responseId\":");
	json_append_string(out, bytes_from(answer->id));
	buf_append_char(out, '}');
}

void gemini_render_answer(const struct dialect_rendering *answer, struct buf *out)
{
	append_chunk(answer, answer->reasoning, answer->text, answer->finish, answer->usage.output,
		     out);
}

/* A stream begins with its first thought or text. */
void gemini_render_start(struct dialect_rendering *answer, struct buf *out)
{
	if (!answer->reasoning.size)
		return;
	buf_append_cstr(out, "data: ");
	append_chunk(answer, answer->reasoning, BYTES(""), DIALECT_FINISH_NONE, 0, out);
	buf_append_cstr(out, "\r\n\r\n");
}

void gemini_render_delta(struct dialect_rendering *answer, struct buf *out)
{
	buf_append_cstr(out, "data: ");
	append_chunk(answer, BYTES(""), answer->text, DIALECT_FINISH_NONE, 0, out);
	buf_append_cstr(out, "\r\n\r\n");
}

void gemini_render_end(struct dialect_rendering *answer, struct buf *out)
{
	buf_append_cstr(out, "data: ");
	append_chunk(answer, BYTES(""), BYTES(""), answer->finish, answer->usage.output, out);
	buf_append_cstr(out, "\r\n\r\n");
}
