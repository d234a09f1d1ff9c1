/* The OpenAI Responses API: members of a request, events and answers, errors. What it can keep at
 * the provider (earlier responses, conversations, files, stored prompts) is refused: DESIGN.md
 * section 5 calls it a side door. */
#include "dialect/openai_members.h"

/* `instructions` before `input`: in this order they make the system prompt. */
static const struct member_row members[] = {
	{NAME("model"),                  USE_MODEL,           NULL                       },
	{NAME("instructions"),           USE_PROMPT,          responses_bind_instructions},
	{NAME("input"),                  USE_INPUT,           responses_bind_input       },
	{NAME("max_output_tokens"),      USE_MAX_OUTPUT,      bind_max_output            },
	{NAME("stream"),                 USE_STREAM,          NULL                       },
	{NAME("temperature"),            USE_KNOWN,           bind_number                },
	{NAME("top_p"),                  USE_KNOWN,           bind_number                },
	{NAME("store"),                  USE_STORE,           responses_bind_false       },
	{NAME("tools"),                  USE_RESPONSES_TOOLS, responses_bind_tools       },
	{NAME("tool_choice"),            USE_KNOWN,           responses_bind_tool_choice },
	{NAME("parallel_tool_calls"),    USE_KNOWN,           openai_bind_flag           },
	{NAME("text"),                   USE_PROMPT,          responses_bind_text        },
	{NAME("reasoning"),              USE_REASONING,       responses_bind_reasoning   },
	{NAME("include"),                USE_INCLUDE,         responses_bind_include     },
	{NAME("top_logprobs"),           USE_TOP_LOGPROBS,    bind_number                },
	{NAME("truncation"),             USE_KNOWN,           responses_bind_truncation  },
	{NAME("metadata"),               USE_KNOWN,           NULL                       },
	{NAME("user"),                   USE_KNOWN,           NULL                       },
	{NAME("service_tier"),           USE_KNOWN,           NULL                       },
	{NAME("safety_identifier"),      USE_KNOWN,           NULL                       },
	{NAME("prompt_cache_key"),       USE_KNOWN,           NULL                       },
	{NAME("prompt_cache_retention"), USE_KNOWN,           NULL                       },
	{NAME("stream_options"),         USE_KNOWN,           NULL                       },
	{NAME("max_tool_calls"),         USE_KNOWN,           bind_refused               },
	{NAME("context_management"),     USE_KNOWN,           bind_refused               },
	{NAME("background"),             USE_FALSE,           responses_bind_false       },
	{NAME("previous_response_id"),   USE_KEPT,            bind_refused               },
	{NAME("conversation"),           USE_KEPT,            bind_refused               },
	{NAME("prompt"),                 USE_KEPT,            bind_refused               },
};

static const char *const settings[] = {
	"max_output",  "temperature",         "top_p",     "logprobs",  "top_logprobs",
	"tool_choice", "parallel_tool_calls", "reasoning", "verbosity", NULL};

/* ---- answers ---- */

static void read_usage(struct dialect_observer *observer, struct json_value value)
{
	static const struct bytes names[OBSERVER_USAGE_NAMES] = {
		NAME("input_tokens"), NAME("output_tokens"), NAME("input_tokens_details"),
		NAME("total_tokens")};
	observer_usage(observer, value, names);
}

static void read_refusal(struct dialect_observer *observer, struct json_value text)
{
	if (text.type != JSON_SCAN_STRING || text.text.size <= 2)
		return;
	observer->declined = true;
	observer_text(observer, text);
}

static void read_content(struct dialect_observer *observer, struct json_value content)
{
	static const struct bytes names[] = {NAME("type"), NAME("text"), NAME("refusal")};
	struct json_walk walk = json_walk_start(content);
	while (json_walk_next(&walk)) {
		struct json_value member[3];
		struct bytes type = bytes_of("", 0);
		json_value_members(walk.value, names, member, 3);
		json_value_plain_string(member[0], &type);
		if (bytes_is(type, "output_text"))
			observer_text(observer, member[1]);
		else if (bytes_is(type, "refusal"))
			read_refusal(observer, member[2]);
		else
			observer_count(observer, member[1]);
	}
}

static struct dialect_call *read_call(struct dialect_observer *observer, struct json_value item,
				      int64_t index)
{
	struct dialect_call *call = observer_call(observer, index);
	if (call)
		observer_call_name(observer, call, json_scan_find(item, "name"));
	return call;
}

/* A finished item of the answer. */
static void read_item(struct dialect_observer *observer, struct json_value item, int64_t index)
{
	static const struct bytes names[] = {NAME("type"), NAME("content"), NAME("arguments"),
					     NAME("summary")};
	struct json_value member[4];
	struct bytes type = bytes_of("", 0);
	json_value_members(item, names, member, 4);
	json_value_plain_string(member[0], &type);
	if (bytes_is(type, "message")) {
		read_content(observer, member[1]);
	} else if (bytes_is(type, "function_call")) {
		struct dialect_call *call = read_call(observer, item, index);
		if (call && call->arguments.size == 0 && member[2].type == JSON_SCAN_STRING)
			observer_call_arguments(observer, call, member[2]);
	} else {
		observer_bytes(observer, member[1].text.size + member[3].text.size);
	}
}

/* How the answer ended: by its status, and where it is incomplete the reason. */
static void read_finish(struct dialect_observer *observer, struct json_value status,
			struct json_value details)
{
	static const struct finish_row reasons[] = {
		{"max_output_tokens", DIALECT_FINISH_LENGTH },
		{"content_filter",    DIALECT_FINISH_REFUSAL},
	};
	struct bytes word = bytes_of("", 0);
	json_value_plain_string(status, &word);
	observer->outcome.finish = DIALECT_FINISH_OTHER;
	if (bytes_is(word, "completed"))
		observer->outcome.finish =
			observer->call_count ? DIALECT_FINISH_TOOL_CALLS : DIALECT_FINISH_STOP;
	else if (bytes_is(word, "incomplete"))
		observer_finish(observer, json_scan_find(details, "reason"), reasons, 2);
	else
		observer->outcome.failed |= bytes_is(word, "failed");
}

static void body(struct dialect_observer *observer, struct json_value root)
{
	static const struct bytes names[] = {NAME("model"), NAME("output"), NAME("status"),
					     NAME("incomplete_details"), NAME("usage")};
	struct json_value member[5];
	int64_t index = 0;
	json_value_members(root, names, member, 5);
	observer_served(observer, member[0]);
	if (member[1].type != JSON_SCAN_ARRAY)
		observer->outcome.malformed = true;
	struct json_walk walk = json_walk_start(member[1]);
	while (json_walk_next(&walk))
		read_item(observer, walk.value, index++);
	read_finish(observer, member[2], member[3]);
	read_usage(observer, member[4]);
}

/* ---- streams ---- */

static enum dialect_event_kind created(struct dialect_observer *observer, struct json_value root)
{
	observer_served(observer, json_scan_find(root, "response.model"));
	return EVENT_ORDINARY;
}

static enum dialect_event_kind text_delta(struct dialect_observer *observer, struct json_value root)
{
	observer->outcome.deltas++;
	observer_text(observer, json_scan_find(root, "delta"));
	return EVENT_ORDINARY;
}

static enum dialect_event_kind refusal_delta(struct dialect_observer *observer,
					     struct json_value root)
{
	observer->outcome.deltas++;
	read_refusal(observer, json_scan_find(root, "delta"));
	return EVENT_ORDINARY;
}

static enum dialect_event_kind counted_delta(struct dialect_observer *observer,
					     struct json_value root)
{
	observer->outcome.deltas++;
	observer_count(observer, json_scan_find(root, "delta"));
	return EVENT_ORDINARY;
}

/* The item's number in the answer; false (malformed) without one. */
static bool output_index(struct dialect_observer *observer, struct json_value value, int64_t *index)
{
	if (json_value_integer(value, 0, INT32_MAX, index))
		return true;
	observer->outcome.malformed = true;
	return false;
}

static enum dialect_event_kind arguments_delta(struct dialect_observer *observer,
					       struct json_value root)
{
	static const struct bytes names[] = {NAME("output_index"), NAME("delta")};
	struct json_value member[2];
	int64_t index;
	json_value_members(root, names, member, 2);
	observer->outcome.deltas++;
	if (member[1].type != JSON_SCAN_STRING || !output_index(observer, member[0], &index))
		return EVENT_ORDINARY;
	struct dialect_call *call = observer_call(observer, index);
	if (call)
		observer_call_arguments(observer, call, member[1]);
	return EVENT_ORDINARY;
}

/* Of messages the text has come in pieces; a call's name stands here, at its end all of it. */
static enum dialect_event_kind item_seen(struct dialect_observer *observer, struct json_value root)
{
	static const struct bytes names[] = {NAME("output_index"), NAME("item")};
	struct json_value member[2];
	struct bytes type;
	int64_t index;
	json_value_members(root, names, member, 2);
	if (!json_value_plain_string(json_scan_find(member[1], "type"), &type) ||
	    !bytes_is(type, "function_call") || !output_index(observer, member[0], &index))
		return EVENT_ORDINARY;
	read_item(observer, member[1], index);
	return EVENT_ORDINARY;
}

static void finished(struct dialect_observer *observer, struct json_value root)
{
	static const struct bytes names[] = {NAME("model"), NAME("status"),
					     NAME("incomplete_details"), NAME("usage")};
	struct json_value member[4];
	json_value_members(json_scan_find(root, "response"), names, member, 4);
	observer_served(observer, member[0]);
	read_finish(observer, member[1], member[2]);
	read_usage(observer, member[3]);
}

static enum dialect_event_kind completed(struct dialect_observer *observer, struct json_value root)
{
	finished(observer, root);
	return EVENT_TERMINAL;
}

static enum dialect_event_kind failed(struct dialect_observer *observer, struct json_value root)
{
	finished(observer, root);
	observer->outcome.failed = true;
	return EVENT_ORDINARY;
}

static const struct event_row events[] = {
	{NAME("response.output_text.delta"),             text_delta     },
	{NAME("response.function_call_arguments.delta"), arguments_delta},
	{NAME("response.output_item.added"),             item_seen      },
	{NAME("response.output_item.done"),              item_seen      },
	{NAME("response.created"),                       created        },
	{NAME("response.completed"),                     completed      },
	{NAME("response.incomplete"),                    completed      },
	{NAME("response.failed"),                        failed         },
	{NAME("response.refusal.delta"),                 refusal_delta  },
	{NAME("response.reasoning_text.delta"),          counted_delta  },
	{NAME("response.reasoning_summary_text.delta"),  counted_delta  },
	{NAME("error"),				  failed         },
};

/* The official clients go by the type alone, and some providers give no other name, or one of their
 * own. */
struct bytes responses_event_name(const struct sse_event *event)
{
	struct bytes name = event->name;
	if (!bytes_starts_with(name, BYTES("response.")) && !bytes_is(name, "error"))
		json_value_plain_string(json_scan_find(json_value_at(event->data), "type"), &name);
	return name;
}

static enum dialect_event_kind event(struct dialect_observer *observer,
				     const struct sse_event *event)
{
	struct sse_event named = *event;
	named.name = responses_event_name(event);
	return observer_named_event(observer, &named, events, sizeof(events) / sizeof(events[0]));
}

/* ---- errors ---- */

/* The API's own event has code and message at its top; the official client raises what stands under
 * `error`. */
static void error_event(const struct dialect_error *error, struct buf *out)
{
	const char *code =
		error->code ? error->code : dialect_status_names(error->status)->openai_code;
	buf_append_cstr(out, "event: error\ndata: {\"type\":\"error\",\"code\":");
	if (code)
		json_append_string(out, bytes_from(code));
	else
		buf_append_cstr(out, "null");
	buf_append_cstr(out, ",\"message\":");
	json_append_string(out, error->message);
	buf_append_cstr(out, ",\"param\":null,\"error\":{");
	openai_error_members(error, out);
	buf_append_cstr(out, "}}\n\n");
}

const struct dialect_ops dialect_responses = {
	.id = DIALECT_RESPONSES,
	.name = "responses",
	.credential_name = "authorization: Bearer ",
	.harness_fields = "",
	.members = members,
	.member_count = sizeof(members) / sizeof(members[0]),
	.words_name = "input",
	.non_text = responses_non_text,
	.settings = settings,
	.build = responses_build,
	.event = event,
	.body = body,
	.error = openai_error,
	.error_event = error_event,
	.limits = openai_limit_fields,
	.models = openai_models,
	.render_answer = responses_render_answer,
	.render_start = responses_render_start,
	.render_delta = responses_render_delta,
	.render_end = responses_render_end,
};
