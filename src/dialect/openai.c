/* The OpenAI Chat Completions API: members of a request, events and answers, errors, lists. */
#include "dialect/openai_members.h"

static const struct member_row members[] = {CHAT_MEMBERS OPENAI_MEMBERS};

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

static void read_usage(struct dialect_observer *observer, struct json_value value)
{
	static const struct bytes names[OBSERVER_USAGE_NAMES] = {
		NAME("prompt_tokens"), NAME("completion_tokens"), NAME("prompt_tokens_details"),
		NAME("total_tokens")};
	observer_usage(observer, value, names);
}

/* The number of a call of the older form, of which an answer has one at most. */
#define FUNCTION_CALL (-1)

static void read_function(struct dialect_observer *observer, struct json_value function,
			  int64_t index)
{
	static const struct bytes names[] = {NAME("name"), NAME("arguments")};
	struct json_value member[2];
	struct dialect_call *call = observer_call(observer, index);
	if (!call)
		return;
	json_value_members(function, names, member, 2);
	observer_call_name(observer, call, member[0]);
	if (member[1].type == JSON_SCAN_STRING)
		observer_call_arguments(observer, call, member[1]);
}

static void read_call(struct dialect_observer *observer, struct json_value value, int64_t position)
{
	static const struct bytes names[] = {NAME("index"), NAME("function")};
	struct json_value member[2];
	int64_t index = position;
	json_value_members(value, names, member, 2);
	if (member[0].type == JSON_SCAN_NUMBER &&
	    !json_value_integer(member[0], 0, INT32_MAX, &index))
		observer->outcome.malformed = true;
	read_function(observer, member[1], index);
}

/* A content is a text, or a list of parts of which some are reasoning (Mistral). */
static void read_content(struct dialect_observer *observer, struct json_value content)
{
	static const struct bytes names[] = {NAME("type"), NAME("text"), NAME("thinking")};
	struct json_walk walk = json_walk_start(content);
	if (content.type != JSON_SCAN_ARRAY) {
		observer_text(observer, content);
		return;
	}
	while (json_walk_next(&walk)) {
		struct json_value member[3];
		struct bytes type;
		json_value_members(walk.value, names, member, 3);
		if (json_value_plain_string(member[0], &type) && bytes_is(type, "text"))
			observer_text(observer, member[1]);
		else if (member[2].type != JSON_SCAN_NOTHING)
			observer_bytes(observer, member[2].text.size);
	}
}

/* A message, or a piece of one. Only the first answer of several makes the canonical answer; the
 * others count. */
static void read_message(struct dialect_observer *observer, struct json_value message, bool first)
{
	static const struct bytes names[] = {NAME("content"),    NAME("refusal"),
					     NAME("tool_calls"), NAME("reasoning_content"),
					     NAME("reasoning"),  NAME("function_call")};
	struct json_value member[6];
	int64_t position = 0;
	json_value_members(message, names, member, 6);
	observer_count(observer, member[3]);
	observer_count(observer, member[4]);
	struct json_walk walk = json_walk_start(member[2]);
	if (!first) {
		observer_count(observer, member[0]);
		while (json_walk_next(&walk))
			observer_count(observer, json_scan_find(walk.value, "function.arguments"));
		observer_count(observer, json_scan_find(member[5], "arguments"));
		return;
	}
	read_content(observer, member[0]);
	if (member[1].type == JSON_SCAN_STRING && member[1].text.size > 2) {
		observer->declined = true;
		observer_text(observer, member[1]);
	}
	while (json_walk_next(&walk))
		read_call(observer, walk.value, position++);
	if (member[5].type == JSON_SCAN_OBJECT)
		read_function(observer, member[5], FUNCTION_CALL);
}

/* `key` is "message" or "delta". False if there is no choice. */
static bool read_choices(struct dialect_observer *observer, struct json_value choices,
			 struct bytes key)
{
	const struct bytes names[] = {NAME("index"), key, NAME("finish_reason")};
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

void openai_body(struct dialect_observer *observer, struct json_value root)
{
	static const struct bytes names[] = {NAME("model"), NAME("choices"), NAME("usage")};
	struct json_value member[3];
	json_value_members(root, names, member, 3);
	observer_served(observer, member[0]);
	if (!read_choices(observer, member[1], BYTES("message")))
		observer->outcome.malformed = true;
	read_usage(observer, member[2]);
}

static enum dialect_event_kind read_chunk(struct dialect_observer *observer, struct json_value root)
{
	static const struct bytes names[] = {NAME("choices"), NAME("usage"), NAME("model"),
					     NAME("error")};
	struct json_value member[4];
	json_value_members(root, names, member, 4);
	if (member[3].type == JSON_SCAN_OBJECT || member[3].type == JSON_SCAN_STRING)
		observer->outcome.failed = true;
	if (!observer->outcome.served)
		observer_served(observer, member[2]);
	bool usage = member[1].type == JSON_SCAN_OBJECT;
	read_usage(observer, member[1]);
	uint64_t before = observer->outcome.text_bytes;
	bool choices = read_choices(observer, member[0], BYTES("delta"));
	if (observer->outcome.text_bytes > before)
		observer->outcome.deltas++;
	/* An error is the client's to see, whatever stands beside it. */
	return usage && !choices && !observer->outcome.failed ? EVENT_USAGE_ONLY : EVENT_ORDINARY;
}

enum dialect_event_kind openai_event(struct dialect_observer *observer,
				     const struct sse_event *event)
{
	struct json_scan scan;
	struct json_value root;
	if (event_is_done(event))
		return EVENT_TERMINAL;
	if (bytes_is(event->name, "error"))
		observer->outcome.failed = true;
	if (!observer_scan(observer, event->data, &scan, &root))
		return EVENT_ORDINARY;
	return read_chunk(observer, root);
}

/* ---- errors ---- */

void openai_error_members(const struct dialect_error *error, struct buf *out)
{
	const struct status_names *names = dialect_status_names(error->status);
	const char *code = error->code ? error->code : names->openai_code;
	buf_append_cstr(out, "\"message\":");
	json_append_string(out, error->message);
	buf_append_cstr(out, ",\"type\":\"");
	buf_append_cstr(out, names->openai_type);
	buf_append_cstr(out, "\",\"param\":null,\"code\":");
	if (code)
		json_append_string(out, bytes_from(code));
	else
		buf_append_cstr(out, "null");
}

void openai_error(const struct dialect_error *error, struct buf *out)
{
	buf_append_cstr(out, "{\"error\":{");
	openai_error_members(error, out);
	buf_append_cstr(out, "}}");
}

void openai_error_event(const struct dialect_error *error, struct buf *out)
{
	buf_append_cstr(out, "data: ");
	openai_error(error, out);
	buf_append_cstr(out, "\n\n");
}

/* ---- lists ---- */

void openai_models(const struct bytes *names, size_t count, int64_t created, struct buf *out)
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
	OPENAI_OPS,
	.id = DIALECT_OPENAI,
	.name = "openai",
	.members = members,
	.member_count = sizeof(members) / sizeof(members[0]),
	.settings = settings,
};
