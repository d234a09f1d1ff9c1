#include "dialect/filter_tables.h"

/* clang-format off */
#define OBJECT(rows) {.kind = PRUNE_OBJECT, .members = (rows)}
#define END {NULL, NULL}

static const struct prune_node pass = {.kind = PRUNE_PASS};
static const struct prune_node text = {.kind = PRUNE_TEXT};
static const struct prune_node empty = {.kind = PRUNE_EMPTY};
static const struct prune_node index_node = {.kind = PRUNE_INDEX};
static const struct prune_node sequence = {.kind = PRUNE_SEQUENCE};

/* ---- Anthropic Messages ---- */

static const char *const block_types[] = {"text", "tool_use", NULL};
static const char *const delta_types[] = {"text_delta", "input_json_delta", "citations_delta", NULL};

static const struct prune_member block_members[] = {
	{"type", &text}, {"text", &text}, {"citations", &pass}, {"id", &text}, {"name", &text},
	{"input", &pass}, END};
static const struct prune_node block = OBJECT(block_members);
static const struct prune_node blocks = {.kind = PRUNE_ARRAY, .element = &block, .types = block_types};

static const struct prune_member message_members[] = {
	{"id", &text}, {"type", &text}, {"role", &text}, {"model", &text}, {"content", &blocks},
	{"stop_reason", &text}, {"stop_sequence", &text}, {"usage", &pass}, {"container", &pass},
	{"error", &pass}, {"request_id", &text}, END};
static const struct prune_node message = OBJECT(message_members);

static const struct prune_member start_members[] = {{"type", &text}, {"message", &message}, END};
static const struct prune_node start = OBJECT(start_members);
static const struct prune_member block_start_members[] = {
	{"type", &text}, {"index", &index_node}, {"content_block", &block}, END};
static const struct prune_node block_start = OBJECT(block_start_members);
static const struct prune_member delta_members[] = {
	{"type", &text}, {"text", &text}, {"partial_json", &text}, {"citation", &pass}, END};
static const struct prune_node delta = OBJECT(delta_members);
static const struct prune_member block_delta_members[] = {
	{"type", &text}, {"index", &index_node}, {"delta", &delta}, END};
static const struct prune_node block_delta = OBJECT(block_delta_members);
static const struct prune_member block_stop_members[] = {{"type", &text}, {"index", &index_node}, END};
static const struct prune_node block_stop = OBJECT(block_stop_members);
static const struct prune_member stop_members[] = {
	{"stop_reason", &text}, {"stop_sequence", &text}, {"container", &pass}, END};
static const struct prune_node stop = OBJECT(stop_members);
static const struct prune_member message_delta_members[] = {
	{"type", &text}, {"delta", &stop}, {"usage", &pass}, END};
static const struct prune_node message_delta = OBJECT(message_delta_members);
static const struct prune_member only_type_members[] = {{"type", &text}, END};
static const struct prune_node only_type = OBJECT(only_type_members);

static const struct prune_event anthropic_events[] = {
	{"content_block_delta", &block_delta, "index", false, "delta.type", delta_types},
	{"content_block_start", &block_start, "index", true, "content_block.type", block_types},
	{"content_block_stop", &block_stop, "index", false, NULL, NULL},
	{"message_start", &start, NULL, false, NULL, NULL},
	{"message_delta", &message_delta, NULL, false, NULL, NULL},
	{"message_stop", &only_type, NULL, false, NULL, NULL},
	{"ping", &only_type, NULL, false, NULL, NULL},
	{"error", &pass, NULL, false, NULL, NULL},
};

/* ---- Chat Completions: OpenAI's, Mistral's, xAI's ---- */

static const char *const text_types[] = {"text", NULL};
static const struct prune_member part_members[] = {{"type", &text}, {"text", &text}, END};
static const struct prune_node part = OBJECT(part_members);
static const struct prune_node content = {.kind = PRUNE_ARRAY, .element = &part, .types = text_types};

static const struct prune_member choice_message_members[] = {
	{"role", &text}, {"content", &content}, {"refusal", &text}, {"tool_calls", &pass},
	{"function_call", &pass}, {"annotations", &pass}, {"prefix", &text}, END};
static const struct prune_node choice_message = OBJECT(choice_message_members);
static const struct prune_member choice_members[] = {
	{"index", &text}, {"message", &choice_message}, {"delta", &choice_message},
	{"finish_reason", &text}, END};
static const struct prune_node choice = OBJECT(choice_members);
static const struct prune_node choices = {.kind = PRUNE_ARRAY, .element = &choice};
static const struct prune_member completion_members[] = {
	{"id", &text}, {"object", &text}, {"created", &text}, {"model", &text}, {"choices", &choices},
	{"usage", &pass}, {"service_tier", &text}, {"system_fingerprint", &text}, {"error", &pass},
	{"message", &text}, {"type", &text}, {"param", &text}, {"code", &text}, END};
static const struct prune_node completion = OBJECT(completion_members);

/* ---- OpenAI Responses ---- */

static const char *const item_types[] = {"message", "function_call", NULL};
static const char *const output_types[] = {"output_text", "refusal", NULL};

static const struct prune_member output_members[] = {
	{"type", &text}, {"text", &text}, {"refusal", &text}, {"annotations", &pass},
	{"logprobs", &empty}, END};
static const struct prune_node output = OBJECT(output_members);
static const struct prune_node outputs = {.kind = PRUNE_ARRAY, .element = &output, .types = output_types};
static const struct prune_member item_members[] = {
	{"id", &text}, {"type", &text}, {"status", &text}, {"role", &text}, {"content", &outputs},
	{"call_id", &text}, {"name", &text}, {"arguments", &text}, END};
static const struct prune_node item = OBJECT(item_members);
static const struct prune_node items = {.kind = PRUNE_ARRAY, .element = &item, .types = item_types};

static const struct prune_member response_members[] = {
	{"id", &text}, {"object", &text}, {"created_at", &text}, {"completed_at", &text},
	{"status", &text}, {"background", &text}, {"error", &pass}, {"incomplete_details", &pass},
	{"instructions", &pass}, {"max_output_tokens", &text}, {"max_tool_calls", &text},
	{"model", &text}, {"output", &items}, {"parallel_tool_calls", &text},
	{"previous_response_id", &text}, {"prompt_cache_key", &text},
	{"prompt_cache_retention", &text}, {"reasoning", &pass}, {"safety_identifier", &text},
	{"service_tier", &text}, {"store", &text}, {"temperature", &text}, {"text", &pass},
	{"tool_choice", &pass}, {"tools", &pass}, {"top_logprobs", &text}, {"top_p", &text},
	{"truncation", &text}, {"usage", &pass}, {"user", &text}, {"metadata", &pass}, END};
static const struct prune_node response = OBJECT(response_members);

static const struct prune_member state_members[] = {
	{"type", &text}, {"sequence_number", &sequence}, {"response", &response}, END};
static const struct prune_node state = OBJECT(state_members);
static const struct prune_member item_event_members[] = {
	{"type", &text}, {"sequence_number", &sequence}, {"output_index", &index_node}, {"item", &item}, END};
static const struct prune_node item_event = OBJECT(item_event_members);
static const struct prune_member piece_members[] = {
	{"type", &text}, {"sequence_number", &sequence}, {"item_id", &text},
	{"output_index", &index_node}, {"content_index", &text}, {"part", &output}, {"delta", &text},
	{"text", &text}, {"refusal", &text}, {"arguments", &text}, {"name", &text},
	{"annotation", &pass}, {"annotation_index", &text}, {"logprobs", &empty}, END};
static const struct prune_node piece = OBJECT(piece_members);

#define STATE(name) {"response." name, &state, NULL, false, NULL, NULL}
#define PIECE(name) {"response." name, &piece, "output_index", false, NULL, NULL}

static const struct prune_event responses_events[] = {
	PIECE("output_text.delta"),
	PIECE("function_call_arguments.delta"),
	PIECE("refusal.delta"),
	PIECE("output_text.done"),
	PIECE("function_call_arguments.done"),
	PIECE("refusal.done"),
	PIECE("output_text.annotation.added"),
	{"response.content_part.added", &piece, "output_index", false, "part.type", output_types},
	{"response.content_part.done", &piece, "output_index", false, "part.type", output_types},
	{"response.output_item.added", &item_event, "output_index", true, "item.type", item_types},
	{"response.output_item.done", &item_event, "output_index", false, "item.type", item_types},
	STATE("created"),
	STATE("queued"),
	STATE("in_progress"),
	STATE("completed"),
	STATE("incomplete"),
	STATE("failed"),
	{"error", &pass, NULL, false, NULL, NULL},
};

/* ---- Gemini ---- */

static const struct prune_member gemini_part_members[] = {
	{"text", &text}, {"functionCall", &pass}, END};
static const struct prune_node gemini_part = OBJECT(gemini_part_members);
static const struct prune_node gemini_parts = {
	.kind = PRUNE_ARRAY, .element = &gemini_part, .unless = "thought"};
static const struct prune_member gemini_content_members[] = {
	{"role", &text}, {"parts", &gemini_parts}, END};
static const struct prune_node gemini_content = OBJECT(gemini_content_members);
static const struct prune_member candidate_members[] = {
	{"index", &text}, {"content", &gemini_content}, {"finishReason", &text},
	{"finishMessage", &text}, {"safetyRatings", &pass}, {"citationMetadata", &pass},
	{"tokenCount", &text}, END};
static const struct prune_node candidate = OBJECT(candidate_members);
static const struct prune_node candidates = {.kind = PRUNE_ARRAY, .element = &candidate};
static const struct prune_member generated_members[] = {
	{"candidates", &candidates}, {"usageMetadata", &pass}, {"modelVersion", &text},
	{"promptFeedback", &pass}, {"responseId", &text}, {"createTime", &text}, {"error", &pass}, END};
static const struct prune_node generated = OBJECT(generated_members);
/* clang-format on */

static const struct prune_table anthropic_table = {.body = &message,
						   .events = anthropic_events,
						   .event_count = sizeof(anthropic_events) /
								  sizeof(anthropic_events[0])};
static const struct prune_table chat_table = {.body = &completion,
					      .choices = "choices",
					      .piece = "delta",
					      .end = "finish_reason",
					      .usage = "usage",
					      .role_first = true};
static const struct prune_table responses_table = {.body = &response,
						   .events = responses_events,
						   .event_count = sizeof(responses_events) /
								  sizeof(responses_events[0])};
static const struct prune_table gemini_table = {
	.body = &generated, .choices = "candidates", .piece = "content", .end = "finishReason"};

const struct prune_table *prune_table_of(enum dialect_id dialect)
{
	static const struct prune_table *const tables[DIALECT_COUNT] = {
		[DIALECT_ANTHROPIC] = &anthropic_table, [DIALECT_OPENAI] = &chat_table,
		[DIALECT_RESPONSES] = &responses_table, [DIALECT_GEMINI] = &gemini_table,
		[DIALECT_MISTRAL] = &chat_table,        [DIALECT_XAI] = &chat_table};
	return tables[dialect];
}
