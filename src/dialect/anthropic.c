/* The Anthropic Messages API: members of a request, events and answers, errors, lists. */
#include "dialect/ops.h"

/* The commonest first: the request path looks names up in this order. */
static const struct member_row members[] = {
	{NAME("model"),              USE_MODEL,      NULL                        },
	{NAME("max_tokens"),         USE_MAX_OUTPUT, bind_max_output             },
	{NAME("messages"),           USE_MESSAGES,   anthropic_bind_messages     },
	{NAME("system"),             USE_PROMPT,     anthropic_bind_system       },
	{NAME("stream"),             USE_STREAM,     NULL                        },
	{NAME("temperature"),        USE_KNOWN,      bind_number                 },
	{NAME("tools"),              USE_TOOLS,      anthropic_bind_tools        },
	{NAME("tool_choice"),        USE_KNOWN,      anthropic_bind_tool_choice  },
	{NAME("metadata"),           USE_KNOWN,      NULL                        },
	{NAME("stop_sequences"),     USE_KNOWN,      NULL                        },
	{NAME("top_p"),              USE_KNOWN,      bind_number                 },
	{NAME("top_k"),              USE_KNOWN,      bind_number                 },
	{NAME("thinking"),           USE_THINKING,   anthropic_bind_thinking     },
	{NAME("output_config"),      USE_KNOWN,      anthropic_bind_output_config},
	{NAME("output_format"),      USE_KNOWN,      anthropic_bind_output_format},
	{NAME("cache_control"),      USE_KNOWN,      NULL                        },
	{NAME("service_tier"),       USE_KNOWN,      NULL                        },
	{NAME("container"),          USE_KEPT,       bind_refused                },
	{NAME("context_management"), USE_KNOWN,      bind_refused                },
	{NAME("inference_geo"),      USE_KNOWN,      bind_refused                },
	{NAME("mcp_servers"),        USE_KNOWN,      bind_refused                },
};

static const char *const settings[] = {"max_output",  "temperature",         "top_p",     "top_k",
				       "tool_choice", "parallel_tool_calls", "reasoning", NULL};

/* ---- answers ---- */

static const struct finish_row finishes[] = {
	{"end_turn",		      DIALECT_FINISH_STOP      },
	{"stop_sequence",                 DIALECT_FINISH_STOP      },
	{"max_tokens",                    DIALECT_FINISH_LENGTH    },
	{"model_context_window_exceeded", DIALECT_FINISH_LENGTH    },
	{"tool_use",		      DIALECT_FINISH_TOOL_CALLS},
	{"refusal",		       DIALECT_FINISH_REFUSAL   },
};

static void read_finish(struct dialect_observer *observer, struct json_value reason)
{
	observer_finish(observer, reason, finishes, sizeof(finishes) / sizeof(finishes[0]));
}

/* Counts are cumulative: each one given replaces the one before. `final`: the output is not just
 * what the beginning of a stream says. */
static void read_usage(struct dialect_observer *observer, struct json_value value, bool final)
{
	static const struct bytes names[] = {NAME("input_tokens"), NAME("cache_read_input_tokens"),
					     NAME("cache_creation_input_tokens"),
					     NAME("output_tokens")};
	struct dialect_usage *usage = &observer->outcome.usage;
	struct json_value counts[4];
	if (value.type != JSON_SCAN_OBJECT)
		return;
	json_value_members(value, names, counts, 4);
	if (observer_tokens(usage, counts[0], &usage->input))
		usage->input_known = true;
	observer_tokens(usage, counts[1], &usage->cache_read);
	observer_tokens(usage, counts[2], &usage->cache_write);
	bool told = observer_tokens(usage, counts[3], &usage->output);
	if (told)
		usage->known |= final;
	else if (observer_is_no_count(told, counts[3]))
		usage->known = false; /* what an earlier event said is not the end's */
}

static void read_block(struct dialect_observer *observer, struct json_value block, int64_t index)
{
	static const struct bytes names[] = {NAME("type"), NAME("text"), NAME("name"),
					     NAME("input"), NAME("thinking")};
	struct json_value member[5];
	struct bytes type = bytes_of("", 0);
	json_value_members(block, names, member, 5);
	json_value_plain_string(member[0], &type);
	observer_count(observer, member[4]);
	if (bytes_is(type, "text"))
		observer_text(observer, member[1]);
	if (!bytes_is(type, "tool_use"))
		return;
	struct dialect_call *call = observer_call(observer, index);
	if (!call)
		return;
	observer_call_name(observer, call, member[2]);
	/* At the start of a stream's block the input is {} and the pieces follow. */
	if (member[3].type == JSON_SCAN_OBJECT) {
		struct json_walk walk = json_walk_start(member[3]);
		if (json_walk_next(&walk))
			observer_call_arguments(observer, call, member[3]);
	}
}

static void body(struct dialect_observer *observer, struct json_value root)
{
	static const struct bytes names[] = {NAME("model"), NAME("content"), NAME("stop_reason"),
					     NAME("usage")};
	struct json_value member[4];
	int64_t index = 0;
	json_value_members(root, names, member, 4);
	observer_served(observer, member[0]);
	if (member[1].type != JSON_SCAN_ARRAY)
		observer->outcome.malformed = true;
	struct json_walk walk = json_walk_start(member[1]);
	while (json_walk_next(&walk))
		read_block(observer, walk.value, index++);
	read_finish(observer, member[2]);
	read_usage(observer, member[3], true);
}

static enum dialect_event_kind message_start(struct dialect_observer *observer,
					     struct json_value root)
{
	static const struct bytes names[] = {NAME("model"), NAME("usage")};
	struct json_value member[2];
	json_value_members(json_scan_find(root, "message"), names, member, 2);
	observer_served(observer, member[0]);
	read_usage(observer, member[1], false);
	return EVENT_ORDINARY;
}

static bool block_index(struct dialect_observer *observer, struct json_value value, int64_t *index)
{
	if (json_value_integer(value, 0, INT32_MAX, index))
		return true;
	observer->outcome.malformed = true;
	return false;
}

static enum dialect_event_kind block_start(struct dialect_observer *observer,
					   struct json_value root)
{
	static const struct bytes names[] = {NAME("index"), NAME("content_block")};
	struct json_value member[2];
	int64_t index;
	json_value_members(root, names, member, 2);
	if (block_index(observer, member[0], &index))
		read_block(observer, member[1], index);
	return EVENT_ORDINARY;
}

static enum dialect_event_kind block_delta(struct dialect_observer *observer,
					   struct json_value root)
{
	static const struct bytes names[] = {NAME("index"), NAME("delta")};
	static const struct bytes kinds[] = {NAME("text"), NAME("partial_json"), NAME("thinking")};
	struct json_value member[2], piece[3];
	int64_t index;
	json_value_members(root, names, member, 2);
	json_value_members(member[1], kinds, piece, 3);
	observer->outcome.deltas++;
	observer_text(observer, piece[0]);
	observer_count(observer, piece[2]);
	if (piece[1].type == JSON_SCAN_STRING && block_index(observer, member[0], &index)) {
		/* None has begun where the provider runs the tool by itself. */
		struct dialect_call *call = observer_call_begun(observer, index);
		if (call)
			observer_call_arguments(observer, call, piece[1]);
		else
			observer_count(observer, piece[1]);
	}
	return EVENT_ORDINARY;
}

static enum dialect_event_kind message_delta(struct dialect_observer *observer,
					     struct json_value root)
{
	read_finish(observer, json_scan_find(root, "delta.stop_reason"));
	read_usage(observer, json_scan_find(root, "usage"), true);
	return EVENT_ORDINARY;
}

static enum dialect_event_kind message_stop(struct dialect_observer *observer,
					    struct json_value root)
{
	(void)observer;
	(void)root;
	return EVENT_TERMINAL;
}

static enum dialect_event_kind error_seen(struct dialect_observer *observer, struct json_value root)
{
	(void)root;
	observer->outcome.failed = true;
	return EVENT_ORDINARY;
}

static const struct event_row events[] = {
	{NAME("content_block_delta"), block_delta  },
        {NAME("content_block_start"), block_start  },
	{NAME("message_start"),       message_start},
        {NAME("message_delta"),       message_delta},
	{NAME("message_stop"),        message_stop },
        {NAME("error"),               error_seen   },
};

static enum dialect_event_kind event(struct dialect_observer *observer,
				     const struct sse_event *event)
{
	return observer_named_event(observer, event, events, sizeof(events) / sizeof(events[0]));
}

/* ---- errors ---- */

static void error_object(const struct dialect_error *error, struct buf *out)
{
	const struct status_names *names = dialect_status_names(error->status);
	buf_append_cstr(out, "{\"type\":\"error\",\"error\":{\"type\":\"");
	buf_append_cstr(out, names->anthropic_type);
	buf_append_cstr(out, "\",\"message\":");
	json_append_string(out, error->message);
	buf_append_char(out, '}');
	if (error->request_id.size) {
		buf_append_cstr(out, ",\"request_id\":");
		json_append_string(out, error->request_id);
	}
	buf_append_char(out, '}');
}

static void error_event(const struct dialect_error *error, struct buf *out)
{
	buf_append_cstr(out, "event: error\ndata: ");
	error_object(error, out);
	buf_append_cstr(out, "\n\n");
}

/* ---- lists ---- */

static void append_time(int64_t seconds, struct buf *out)
{
	char text[DIALECT_TIME_SIZE];
	dialect_time_text(seconds, text);
	buf_append_cstr(out, text);
}

static void models(const struct bytes *names, size_t count, int64_t created, struct buf *out)
{
	buf_append_cstr(out, "{\"data\":[");
	for (size_t i = 0; i < count; i++) {
		buf_append_cstr(out,
				i ? ",{\"type\":\"model\",\"id\":" : "{\"type\":\"model\",\"id\":");
		json_append_string(out, names[i]);
		buf_append_cstr(out, ",\"display_name\":");
		json_append_string(out, names[i]);
		buf_append_cstr(out, ",\"created_at\":\"");
		append_time(created, out);
		buf_append_cstr(out, "\"}");
	}
	buf_append_cstr(out, "],\"has_more\":false,\"first_id\":");
	if (count == 0) {
		buf_append_cstr(out, "null,\"last_id\":null}");
		return;
	}
	json_append_string(out, names[0]);
	buf_append_cstr(out, ",\"last_id\":");
	json_append_string(out, names[count - 1]);
	buf_append_char(out, '}');
}

const struct dialect_ops dialect_anthropic = {
	.id = DIALECT_ANTHROPIC,
	.name = "anthropic",
	.credential_name = "x-api-key: ",
	.harness_fields = "anthropic-version: 2023-06-01\r\n",
	.members = members,
	.member_count = sizeof(members) / sizeof(members[0]),
	.words_name = "messages",
	.non_text = chat_non_text,
	.settings = settings,
	.build = anthropic_build,
	.event = event,
	.body = body,
	.error = error_object,
	.error_event = error_event,
	.limits = anthropic_limit_fields,
	.models = models,
	.render_answer = anthropic_render_answer,
	.render_start = anthropic_render_start,
	.render_delta = anthropic_render_delta,
	.render_end = anthropic_render_end,
};
