/* Chat Completions as Mistral and xAI have them. Mistral: another shape of errors, members of its
 * own, streams that tell their usage unasked. xAI: OpenAI's, with a few members more. */
#include "dialect/openai_members.h"

/* ---- Mistral ---- */

/* The provider puts instructions of its own in front of the words. */
static enum err_code bind_safe_prompt(struct words *words, const char *name, const json_t *value)
{
	return json_is_false(value) ? ERR_OK : bind_refused(words, name, value);
}

static enum err_code bind_tool_choice(struct words *words, const char *name, const json_t *value)
{
	const char *word = json_string_value(value);
	if (word && strcmp(word, "any") == 0)
		return words_set(words, words->settings, "tool_choice", json_string("required"));
	return openai_bind_tool_choice(words, name, value);
}

/* The rows in front win over those of the same name behind. */
static const struct member_row mistral_members[] = {
	{NAME("tool_choice"), USE_KNOWN,  bind_tool_choice},
	CHAT_MEMBERS{NAME("random_seed"), USE_KNOWN,  NULL            },
	{NAME("safe_prompt"), USE_KNOWN,  bind_safe_prompt},
	{NAME("prompt_mode"), USE_EFFORT, bind_refused    },
	{NAME("guardrails"),  USE_KNOWN,  bind_refused    },
};

static const char *const mistral_settings[] = {
	"max_output",          "temperature",      "top_p",
	"frequency_penalty",   "presence_penalty", "tool_choice",
	"parallel_tool_calls", "reasoning",        NULL};

static enum err_code mistral_build(const json_t *words, const json_t *settings, json_t *body,
				   bool stream, struct err *err)
{
	json_t *most;
	ERR_TRY(openai_build(words, settings, body, stream, err));
	json_object_del(body, "stream_options");
	most = json_object_get(body, "max_completion_tokens");
	if (!most)
		return ERR_OK;
	ERR_TRY(build_set(body, "max_tokens", json_incref(most), err));
	json_object_del(body, "max_completion_tokens");
	return ERR_OK;
}

static void mistral_error(const struct dialect_error *error, struct buf *out)
{
	buf_append_cstr(out, "{\"object\":\"error\",");
	openai_error_members(error, out);
	buf_append_char(out, '}');
}

static void mistral_error_event(const struct dialect_error *error, struct buf *out)
{
	buf_append_cstr(out, "data: ");
	mistral_error(error, out);
	buf_append_cstr(out, "\n\n");
}

/* Answers are OpenAI's, but that an error is told by its shape. */
static bool is_error(struct json_value root)
{
	struct bytes object;
	return json_value_plain_string(json_scan_find(root, "object"), &object) &&
	       bytes_is(object, "error");
}

static enum dialect_event_kind mistral_event(struct dialect_observer *observer,
					     const struct sse_event *event)
{
	if (is_error(json_value_at(event->data)))
		observer->outcome.failed = true;
	return openai_event(observer, event);
}

static void mistral_body(struct dialect_observer *observer, struct json_value root)
{
	if (is_error(root))
		observer->outcome.failed = true;
	else
		openai_body(observer, root);
}

const struct dialect_ops dialect_mistral = {
	.id = DIALECT_MISTRAL,
	.name = "mistral",
	.credential_name = "authorization: Bearer ",
	.harness_fields = "",
	.members = mistral_members,
	.member_count = sizeof(mistral_members) / sizeof(mistral_members[0]),
	.words_name = "messages",
	.non_text = chat_non_text,
	.settings = mistral_settings,
	.build = mistral_build,
	.event = mistral_event,
	.body = mistral_body,
	.error = mistral_error,
	.error_event = mistral_error_event,
	.limits = openai_limit_fields,
	.models = openai_models,
	.render_answer = mistral_render_answer,
	.render_start = mistral_render_start,
	.render_delta = openai_render_delta,
	.render_end = mistral_render_end,
};

/* ---- xAI ---- */

static const struct member_row xai_members[] = {
	CHAT_MEMBERS OPENAI_MEMBERS{NAME("search_parameters"), USE_KNOWN, bind_refused},
	{NAME("deferred"),          USE_FALSE, bind_refused},
};

static const char *const xai_settings[] = {
	"max_output",       "temperature",         "top_p",     "frequency_penalty",
	"presence_penalty", "logit_bias",          "logprobs",  "top_logprobs",
	"tool_choice",      "parallel_tool_calls", "reasoning", NULL};

const struct dialect_ops dialect_xai = {
	OPENAI_OPS,
	.id = DIALECT_XAI,
	.name = "xai",
	.members = xai_members,
	.member_count = sizeof(xai_members) / sizeof(xai_members[0]),
	.settings = xai_settings,
};
