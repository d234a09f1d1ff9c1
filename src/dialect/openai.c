/* The OpenAI Chat Completions API: members of a request, events and answers, errors, lists. */
#include "dialect/ops.h"

#define NAME(text)                     \
	{                              \
		text, sizeof(text) - 1 \
	}

/* The commonest first: the request path looks names up in this order. */
static const struct member_row members[] = {
	{NAME("model"),                  USE_MODEL,          NULL                   },
	{NAME("messages"),               USE_MESSAGES,       openai_bind_messages   },
	{NAME("max_tokens"),             USE_MAX_OUTPUT,     bind_max_output        },
	{NAME("max_completion_tokens"),  USE_MAX_OUTPUT,     bind_max_output        },
	{NAME("stream"),                 USE_STREAM,         NULL                   },
	{NAME("stream_options"),         USE_STREAM_OPTIONS, NULL                   },
	{NAME("temperature"),            USE_KNOWN,          bind_number            },
	{NAME("top_p"),                  USE_KNOWN,          bind_number            },
	{NAME("n"),		      USE_N,              openai_bind_n          },
	{NAME("stop"),                   USE_KNOWN,          NULL                   },
	{NAME("seed"),                   USE_KNOWN,          NULL                   },
	{NAME("user"),                   USE_KNOWN,          NULL                   },
	{NAME("tools"),                  USE_TOOLS,          openai_bind_tools      },
	{NAME("tool_choice"),            USE_KNOWN,          openai_bind_tool_choice},
	{NAME("parallel_tool_calls"),    USE_KNOWN,          openai_bind_flag       },
	{NAME("response_format"),        USE_PROMPT,         openai_bind_format     },
	{NAME("frequency_penalty"),      USE_KNOWN,          bind_number            },
	{NAME("presence_penalty"),       USE_KNOWN,          bind_number            },
	{NAME("logprobs"),               USE_LOGPROBS,       openai_bind_flag       },
	{NAME("top_logprobs"),           USE_TOP_LOGPROBS,   bind_number            },
	{NAME("logit_bias"),             USE_LOGIT_BIAS,     openai_bind_bias       },
	{NAME("reasoning_effort"),       USE_EFFORT,         openai_bind_effort     },
	{NAME("verbosity"),              USE_KNOWN,          openai_bind_verbosity  },
	{NAME("metadata"),               USE_KNOWN,          NULL                   },
	{NAME("store"),                  USE_KNOWN,          NULL                   },
	{NAME("service_tier"),           USE_KNOWN,          NULL                   },
	{NAME("safety_identifier"),      USE_KNOWN,          NULL                   },
	{NAME("prompt_cache_key"),       USE_KNOWN,          NULL                   },
	{NAME("prompt_cache_retention"), USE_KNOWN,          NULL                   },
	{NAME("modalities"),             USE_KNOWN,          openai_bind_modalities },
	{NAME("audio"),                  USE_KNOWN,          bind_refused           },
	{NAME("prediction"),             USE_KNOWN,          bind_refused           },
	{NAME("web_search_options"),     USE_KNOWN,          bind_refused           },
	{NAME("functions"),              USE_TOOLS,          bind_refused           },
	{NAME("function_call"),          USE_KNOWN,          bind_refused           },
};

static const char *const settings[] = {"max_output",
				       "temperature",
				       "top_p",
				       "frequency_penalty",
				       "presence_penalty",
				       "logit_bias",
				       "logprobs",
				       "top_logprobs",
				       "tool_choice",
				       "parallel_tool_calls",
				       "reasoning",
				       "verbosity",
				       NULL};

/* ---- answers ---- */

static const struct finish_row finishes[] = {
	{"stop",           DIALECT_FINISH_STOP      },
	{"length",         DIALECT_FINISH_LENGTH    },
	{"tool_calls",     DIALECT_FINISH_TOOL_CALLS},
	{"function_call",  DIALECT_FINISH_TOOL_CALLS},
	{"content_filter", DIALECT_FINISH_REFUSAL   },
};

/* prompt_tokens has the cached ones in it, which are told apart here. */
static bool read_usage(struct dialect_observer *observer, struct json_value value)
{
	static const char *const names[] = {"prompt_tokens", "completion_tokens",
					    "prompt_tokens_details"};
	struct dialect_usage *usage = &observer->outcome.usage;
	struct json_value member[3];
	int64_t prompt, completion, cached = 0;
	if (value.type != JSON_SCAN_OBJECT)
		return false;
	json_value_members(value, names, member, 3);
	if (!observer_tokens(member[0], &prompt) || !observer_tokens(member[1], &completion))
		return false;
	observer_tokens(json_scan_find(member[2], "cached_tokens"), &cached);
	usage->cache_read = cached < prompt ? cached : prompt;
	usage->input = prompt - usage->cache_read;
	usage->output = completion;
	usage->input_known = usage->known = true;
	return true;
}

static void read_call(struct dialect_observer *observer, struct json_value value, int64_t position)
{
	static const char *const names[] = {"index", "function"};
	static const char *const inner[] = {"name", "arguments"};
	struct json_value member[2], function[2];
	int64_t index = position;
	json_value_members(value, names, member, 2);
	json_value_members(member[1], inner, function, 2);
	if (member[0].type == JSON_SCAN_NUMBER &&
	    !json_value_integer(member[0], 0, INT32_MAX, &index))
		observer->outcome.malformed = true;
	struct dialect_call *call = observer_call(observer, index);
	if (!call)
		return;
	observer_call_name(observer, call, function[0]);
	if (function[1].type == JSON_SCAN_STRING)
		observer_call_arguments(observer, call, function[1]);
}

/* A message, or a piece of one. Only the first answer of several makes the canonical answer; the
 * others count. */
static void read_message(struct dialect_observer *observer, struct json_value message, bool first)
{
	static const char *const names[] = {"content", "refusal", "tool_calls", "reasoning_content",
					    "reasoning"};
	struct json_value member[5];
	int64_t position = 0;
	json_value_members(message, names, member, 5);
	observer_count(observer, member[3]);
	observer_count(observer, member[4]);
	if (!first) {
		observer_count(observer, member[0]);
		return;
	}
	observer_text(observer, member[0]);
	if (member[1].type == JSON_SCAN_STRING && member[1].text.size > 2) {
		observer->declined = true;
		observer_text(observer, member[1]);
	}
	struct json_walk walk = json_walk_start(member[2]);
	while (json_walk_next(&walk))
		read_call(observer, walk.value, position++);
}

/* `key` is "message" or "delta". False if there is no choice. */
static bool read_choices(struct dialect_observer *observer, struct json_value choices,
			 const char *key)
{
	const char *const names[] = {"index", key, "finish_reason"};
	struct json_value member[3];
	bool any = false;
	struct json_walk walk = json_walk_start(choices);
	while (json_walk_next(&walk)) {
		int64_t index = 0;
		json_value_members(walk.value, names, member, 3);
		json_value_integer(member[0], 0, INT32_MAX, &index);
		read_message(observer, member[1], index == 0);
		if (index == 0)
			observer_finish(observer, member[2], finishes,
					sizeof(finishes) / sizeof(finishes[0]));
		any = true;
	}
	return any;
}

static void body(struct dialect_observer *observer, struct json_value root)
{
	static const char *const names[] = {"model", "choices", "usage"};
	struct json_value member[3];
	json_value_members(root, names, member, 3);
	observer_served(observer, member[0]);
	if (!read_choices(observer, member[1], "message"))
		observer->outcome.malformed = true;
	read_usage(observer, member[2]);
}

static enum dialect_event_kind read_chunk(struct dialect_observer *observer, struct json_value root)
{
	static const char *const names[] = {"choices", "usage", "model", "error"};
	struct json_value member[4];
	json_value_members(root, names, member, 4);
	if (member[3].type == JSON_SCAN_OBJECT || member[3].type == JSON_SCAN_STRING)
		observer->outcome.failed = true;
	if (observer->outcome.served[0] == '\0')
		observer_served(observer, member[2]);
	bool usage = read_usage(observer, member[1]);
	uint64_t before = observer->outcome.text_bytes;
	bool choices = read_choices(observer, member[0], "delta");
	if (observer->outcome.text_bytes > before)
		observer->outcome.deltas++;
	return usage && !choices && member[0].type == JSON_SCAN_ARRAY ? EVENT_USAGE_ONLY
								      : EVENT_ORDINARY;
}

static enum dialect_event_kind event(struct dialect_observer *observer,
				     const struct sse_event *event)
{
	struct json_scan scan;
	if (bytes_is(bytes_trim(event->data), "[DONE]"))
		return EVENT_TERMINAL;
	if (bytes_is(event->name, "error"))
		observer->outcome.failed = true;
	if (json_scan_text(&scan, event->data, "an event", NULL) != ERR_OK) {
		observer->outcome.malformed = true;
		return EVENT_ORDINARY;
	}
	return read_chunk(observer, json_value_at(event->data));
}

/* ---- errors ---- */

static void error_object(const struct dialect_error *error, struct buf *out)
{
	const struct status_names *names = dialect_status_names(error->status);
	const char *code = error->code ? error->code : names->openai_code;
	buf_append_cstr(out, "{\"error\":{\"message\":");
	json_append_string(out, error->message);
	buf_append_cstr(out, ",\"type\":\"");
	buf_append_cstr(out, names->openai_type);
	buf_append_cstr(out, "\",\"param\":null,\"code\":");
	if (code)
		json_append_string(out, bytes_from(code));
	else
		buf_append_cstr(out, "null");
	buf_append_cstr(out, "}}");
}

static void error_event(const struct dialect_error *error, struct buf *out)
{
	buf_append_cstr(out, "data: ");
	error_object(error, out);
	buf_append_cstr(out, "\n\n");
}

/* ---- lists ---- */

static void models(const struct bytes *names, size_t count, int64_t created, struct buf *out)
{
	buf_append_cstr(out, "{\"object\":\"list\",\"data\":[");
	for (size_t i = 0; i < count; i++) {
		buf_append_cstr(out, i ? ",{\"id\":" : "{\"id\":");
		json_append_string(out, names[i]);
		buf_printf(out, ",\"object\":\"model\",\"created\":%lld,\"owned_by\":\"parley\"}",
			   (long long)created);
	}
	buf_append_cstr(out, "]}");
}

const struct dialect_ops dialect_openai = {
	.id = DIALECT_OPENAI,
	.name = "openai",
	.path = "/v1/chat/completions",
	.credential_name = "authorization: Bearer ",
	.credential_end = "\r\n",
	.members = members,
	.member_count = sizeof(members) / sizeof(members[0]),
	.settings = settings,
	.build = openai_build,
	.event = event,
	.body = body,
	.error = error_object,
	.error_event = error_event,
	.limits = openai_limit_fields,
	.models = models,
	.render_answer = openai_render_answer,
	.render_start = openai_render_start,
	.render_delta = openai_render_delta,
	.render_end = openai_render_end,
};
