/* The members of a Chat Completions request, shared by OpenAI's table and those of its variants. */
#ifndef DIALECT_OPENAI_MEMBERS_H
#define DIALECT_OPENAI_MEMBERS_H

#include "dialect/ops.h"

/* The commonest first: the request path looks names up in this order. */
/* clang-format off */
#define CHAT_MEMBERS \
	{NAME("model"), USE_MODEL, NULL}, \
	{NAME("messages"), USE_MESSAGES, openai_bind_messages}, \
	{NAME("max_tokens"), USE_MAX_OUTPUT, bind_max_output}, \
	{NAME("stream"), USE_STREAM, NULL}, \
	{NAME("temperature"), USE_KNOWN, bind_number}, \
	{NAME("top_p"), USE_KNOWN, bind_number}, \
	{NAME("n"), USE_N, openai_bind_n}, \
	{NAME("stop"), USE_KNOWN, NULL}, \
	{NAME("tools"), USE_TOOLS, openai_bind_tools}, \
	{NAME("tool_choice"), USE_KNOWN, openai_bind_tool_choice}, \
	{NAME("parallel_tool_calls"), USE_KNOWN, openai_bind_flag}, \
	{NAME("response_format"), USE_PROMPT, openai_bind_format}, \
	{NAME("frequency_penalty"), USE_KNOWN, bind_number}, \
	{NAME("presence_penalty"), USE_KNOWN, bind_number}, \
	{NAME("reasoning_effort"), USE_EFFORT, openai_bind_effort}, \
	{NAME("metadata"), USE_KNOWN, NULL}, \
	{NAME("service_tier"), USE_KNOWN, NULL}, \
	{NAME("prompt_cache_key"), USE_KNOWN, NULL}, \
	{NAME("prediction"), USE_KNOWN, bind_refused},

/* What Mistral does not have. */
#define OPENAI_MEMBERS \
	{NAME("max_completion_tokens"), USE_MAX_OUTPUT, bind_max_output}, \
	{NAME("stream_options"), USE_STREAM_OPTIONS, NULL}, \
	{NAME("seed"), USE_KNOWN, NULL}, \
	{NAME("user"), USE_KNOWN, NULL}, \
	{NAME("logprobs"), USE_LOGPROBS, openai_bind_flag}, \
	{NAME("top_logprobs"), USE_TOP_LOGPROBS, bind_number}, \
	{NAME("logit_bias"), USE_LOGIT_BIAS, openai_bind_bias}, \
	{NAME("verbosity"), USE_KNOWN, openai_bind_verbosity}, \
	{NAME("store"), USE_KNOWN, NULL}, \
	{NAME("safety_identifier"), USE_KNOWN, NULL}, \
	{NAME("prompt_cache_retention"), USE_KNOWN, NULL}, \
	{NAME("modalities"), USE_KNOWN, openai_bind_modalities}, \
	{NAME("audio"), USE_KNOWN, bind_refused}, \
	{NAME("web_search_options"), USE_KNOWN, bind_refused}, \
	{NAME("functions"), USE_TOOLS, bind_refused}, \
	{NAME("function_call"), USE_KNOWN, bind_refused},

/* What an API has that is OpenAI's but for its members and settings. */
#define OPENAI_OPS \
	.credential_name = "authorization: Bearer ", \
	.harness_fields = "", \
	.words_name = "messages", \
	.asks_usage = true, \
	.non_text = chat_non_text, \
	.build = openai_build, \
	.event = openai_event, \
	.body = openai_body, \
	.error = openai_error, \
	.error_event = openai_error_event, \
	.limits = openai_limit_fields, \
	.models = openai_models, \
	.render_answer = openai_render_answer, \
	.render_start = openai_render_start, \
	.render_delta = openai_render_delta, \
	.render_end = openai_render_end
/* clang-format on */

#endif
