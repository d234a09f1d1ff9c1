/* The Gemini API: members of a request, chunks and answers, errors, lists. The model and whether
 * the answer is a stream stand in the path; a stream is over when its connection's answer is, so
 * that the chunk with a finish reason counts as its end. */
#include "dialect/ops.h"

/* ---- requests ---- */

static enum err_code bind_generation(struct words *words, const char *name, const json_t *value);
static enum err_code bind_candidates(struct words *words, const char *name, const json_t *value);
static enum err_code bind_renamed(struct words *words, const char *name, const json_t *value);
static enum err_code bind_modalities(struct words *words, const char *name, const json_t *value);

static const struct member_row members[] = {
	{NAME("contents"),               USE_CONTENTS,      gemini_bind_contents   },
	{NAME("generationConfig"),       USE_GENERATION,    bind_generation        },
	{NAME("systemInstruction"),      USE_GEMINI_SYSTEM, gemini_bind_system     },
	{NAME("tools"),                  USE_GEMINI_TOOLS,  gemini_bind_tools      },
	{NAME("toolConfig"),             USE_KNOWN,         gemini_bind_tool_config},
	{NAME("safetySettings"),         USE_KNOWN,         bind_refused           },
	{NAME("labels"),                 USE_KNOWN,         NULL                   },
	{NAME("serviceTier"),            USE_KNOWN,         NULL                   },
	{NAME("cachedContent"),          USE_KEPT,          bind_refused           },
	{NAME("store"),                  USE_FALSE,         bind_refused           },
	{NAME("model"),                  USE_ELSEWHERE,     bind_refused           },
	{NAME("generateContentRequest"), USE_ELSEWHERE,     bind_refused           },
};

/* Members of generationConfig. */
static const struct member_row generation[] = {
	{NAME("maxOutputTokens"),    USE_MAX_OUTPUT,      bind_max_output     },
	{NAME("temperature"),        USE_KNOWN,           bind_number         },
	{NAME("topP"),               USE_KNOWN,           bind_renamed        },
	{NAME("topK"),               USE_KNOWN,           bind_renamed        },
	{NAME("candidateCount"),     USE_N,               bind_candidates     },
	{NAME("stopSequences"),      USE_KNOWN,           NULL                },
	{NAME("seed"),               USE_KNOWN,           NULL                },
	{NAME("presencePenalty"),    USE_KNOWN,           bind_renamed        },
	{NAME("frequencyPenalty"),   USE_KNOWN,           bind_renamed        },
	{NAME("responseMimeType"),   USE_KNOWN,           NULL                }, /* gemini_bind_format */
	{NAME("responseSchema"),     USE_PROMPT,          NULL                },
	{NAME("responseJsonSchema"), USE_PROMPT,          NULL                },
	{NAME("responseLogprobs"),   USE_LOGPROBS,        bind_renamed        },
	{NAME("logprobs"),           USE_TOP_LOGPROBS,    bind_renamed        },
	{NAME("thinkingConfig"),     USE_GEMINI_THINKING, gemini_bind_thinking},
	{NAME("responseModalities"), USE_KNOWN,           bind_modalities     },
	{NAME("speechConfig"),       USE_KNOWN,           bind_refused        },
	{NAME("imageConfig"),        USE_KNOWN,           bind_refused        },
	{NAME("mediaResolution"),    USE_KNOWN,           bind_refused        },
	{NAME("audioTimestamp"),     USE_KNOWN,           bind_refused        },
};

static const struct member_row thinking[] = {
	{NAME("thinkingBudget"),  USE_KNOWN, NULL},
	{NAME("thinkingLevel"),   USE_KNOWN, NULL},
	{NAME("includeThoughts"), USE_KNOWN, NULL},
};

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))

/* Each member of an object that is acted on, none of them twice. */
static enum err_code read_object(struct reading *in, const struct member_row *rows, size_t count)
{
	struct json_value object = in->value;
	uint64_t seen = 0;
	if (object.type == JSON_SCAN_NULL)
		return ERR_OK;
	if (object.type != JSON_SCAN_OBJECT)
		return reading_wrong(in, "an object");
	struct json_walk walk = json_walk_start(object);
	while (json_walk_next(&walk)) {
		for (size_t i = 0; i < count; i++) {
			if (!bytes_equal(rows[i].name, walk.key))
				continue;
			if (seen >> i & 1)
				return ERR_SET(in->err, ERR_INVALID, "%s is given twice",
					       rows[i].name.data);
			seen |= (uint64_t)1 << i;
		}
		ERR_TRY(reading_member(in, rows, count, true, walk.key, walk.value));
	}
	return ERR_OK;
}

enum err_code read_gemini_generation(struct reading *in)
{
	return read_object(in, generation, COUNT(generation));
}

enum err_code read_gemini_thinking(struct reading *in)
{
	int64_t budget;
	struct json_value config = in->value;
	ERR_TRY(read_object(in, thinking, COUNT(thinking)));
	if (config.type == JSON_SCAN_OBJECT &&
	    !(json_value_integer(json_scan_find(config, "thinkingBudget"), 0, 0, &budget)))
		in->out->flags |= DIALECT_REASONING;
	return ERR_OK;
}

/* ---- settings under a suite ---- */

static const char *canonical_name(const char *name)
{
	static const char *const names[][2] = {
		{"topP",             "top_p"            },
		{"topK",             "top_k"            },
		{"presencePenalty",  "presence_penalty" },
		{"frequencyPenalty", "frequency_penalty"},
		{"logprobs",         "top_logprobs"     },
		{"responseLogprobs", "logprobs"         },
	};
	for (size_t i = 0; i < COUNT(names); i++)
		if (strcmp(names[i][0], name) == 0)
			return names[i][1];
	return name;
}

static enum err_code bind_renamed(struct words *words, const char *name, const json_t *value)
{
	if (strcmp(name, "responseLogprobs") == 0)
		return openai_bind_flag(words, canonical_name(name), value);
	return bind_number(words, canonical_name(name), value);
}

static enum err_code bind_candidates(struct words *words, const char *name, const json_t *value)
{
	return openai_bind_n(words, name, value);
}

static enum err_code bind_modalities(struct words *words, const char *name, const json_t *value)
{
	const char *only = json_string_value(json_array_get(value, 0));
	if (json_array_size(value) == 1 && only && strcmp(only, "TEXT") == 0)
		return ERR_OK;
	return ERR_SET(words->err, ERR_INVALID, "%s must be [\"TEXT\"]", name);
}

static enum err_code bind_generation(struct words *words, const char *name, const json_t *value)
{
	if (!json_is_object(value))
		return ERR_SET(words->err, ERR_INVALID, "%s must be an object", name);
	ERR_TRY(words_bind_members(words, generation, COUNT(generation), value,
				   "generationConfig."));
	return gemini_bind_format(words, value);
}

static const char *const settings[] = {
	"max_output",        "temperature",      "top_p",    "top_k",
	"frequency_penalty", "presence_penalty", "logprobs", "top_logprobs",
	"tool_choice",       "reasoning",        NULL};

/* ---- answers ---- */

static const struct finish_row finishes[] = {
	{"STOP",               DIALECT_FINISH_STOP   },
        {"MAX_TOKENS",         DIALECT_FINISH_LENGTH },
	{"SAFETY",             DIALECT_FINISH_REFUSAL},
        {"RECITATION",         DIALECT_FINISH_REFUSAL},
	{"BLOCKLIST",          DIALECT_FINISH_REFUSAL},
        {"PROHIBITED_CONTENT", DIALECT_FINISH_REFUSAL},
	{"SPII",               DIALECT_FINISH_REFUSAL},
        {"IMAGE_SAFETY",       DIALECT_FINISH_REFUSAL},
};

/* The prompt's count has the cached tokens in it, which are told apart here; reasoning is counted
 * beside the answer. Counts are cumulative; `final` with the answer's end. */
static void read_usage(struct dialect_observer *observer, struct json_value value, bool final)
{
	static const struct bytes names[] = {
		NAME("promptTokenCount"), NAME("toolUsePromptTokenCount"),
		NAME("candidatesTokenCount"), NAME("thoughtsTokenCount"),
		NAME("cachedContentTokenCount")};
	struct dialect_usage *usage = &observer->outcome.usage;
	struct json_value member[5];
	int64_t counts[5] = {0}; /* what is 0 may be left out */
	bool counted = true;
	if (value.type != JSON_SCAN_OBJECT)
		return;
	json_value_members(value, names, member, 5);
	for (unsigned i = 1; i < 5; i++)
		counted &= !observer_is_no_count(observer_tokens(usage, member[i], &counts[i]),
						 member[i]);
	if (observer_tokens(usage, member[0], &counts[0])) {
		int64_t prompt = counts[0] + counts[1];
		usage->cache_read = counts[4] < prompt ? counts[4] : prompt;
		usage->input = prompt - usage->cache_read;
		usage->input_known = true;
	}
	usage->output = counts[2] + counts[3];
	/* Of text that was made, none is not said by leaving it out. */
	if (usage->output == 0 && member[2].type != JSON_SCAN_NUMBER)
		counted &= observer->outcome.text_bytes == 0;
	usage->known = final && counted && !usage->absurd;
}

static void read_call(struct dialect_observer *observer, struct json_value value)
{
	static const struct bytes names[] = {NAME("name"), NAME("args")};
	struct json_value member[2];
	json_value_members(value, names, member, 2);
	/* A call comes whole; its number is its place. */
	struct dialect_call *call = observer_call(observer, observer->call_count);
	if (!call)
		return;
	observer_call_name(observer, call, member[0]);
	if (member[1].type == JSON_SCAN_OBJECT)
		observer_call_arguments(observer, call, member[1]);
}

static void read_part(struct dialect_observer *observer, struct json_value part, bool first)
{
	static const struct bytes names[] = {NAME("text"), NAME("thought"), NAME("functionCall")};
	struct json_value member[3];
	json_value_members(part, names, member, 3);
	if (!first || member[1].type == JSON_SCAN_TRUE)
		observer_count(observer, member[0]);
	else
		observer_text(observer, member[0]);
	if (first && member[2].type == JSON_SCAN_OBJECT)
		read_call(observer, member[2]);
}

/* The candidates of an answer or chunk; whether each of them is at its end. Only the first of
 * several makes the canonical answer; the others count. */
static bool read_candidates(struct dialect_observer *observer, struct json_value candidates)
{
	static const struct bytes names[] = {NAME("index"), NAME("content"), NAME("finishReason")};
	struct json_walk walk = json_walk_start(candidates);
	bool any = false, over = true;
	while (json_walk_next(&walk)) {
		struct json_value member[3];
		int64_t index = 0;
		json_value_members(walk.value, names, member, 3);
		json_value_integer(member[0], 0, INT32_MAX, &index);
		struct json_walk parts = json_walk_start(json_scan_find(member[1], "parts"));
		while (json_walk_next(&parts))
			read_part(observer, parts.value, index == 0);
		if (index == 0)
			observer_finish(observer, member[2], finishes, COUNT(finishes));
		over = over && member[2].type == JSON_SCAN_STRING;
		any = true;
	}
	return any && over;
}

/* A chunk of a stream or a whole answer; whether it is the end. */
static bool read_answer(struct dialect_observer *observer, struct json_value root)
{
	static const struct bytes names[] = {NAME("candidates"), NAME("usageMetadata"),
					     NAME("modelVersion"), NAME("promptFeedback"),
					     NAME("error")};
	struct json_value member[5];
	json_value_members(root, names, member, 5);
	if (member[4].type == JSON_SCAN_OBJECT)
		observer->outcome.failed = true;
	if (!observer->outcome.served)
		observer_served(observer, member[2]);
	uint64_t before = observer->outcome.text_bytes;
	bool over = read_candidates(observer, member[0]);
	/* What came with an earlier finish reason counts no text that comes after it. */
	if (observer->outcome.text_bytes > before)
		observer->outcome.usage.known = false;
	if (json_scan_find(member[3], "blockReason").type == JSON_SCAN_STRING) {
		observer->outcome.finish = DIALECT_FINISH_REFUSAL;
		over = true;
	}
	if (over && observer->outcome.finish == DIALECT_FINISH_STOP && observer->call_count)
		observer->outcome.finish = DIALECT_FINISH_TOOL_CALLS;
	read_usage(observer, member[1], over || observer->ended);
	return over;
}

static void body(struct dialect_observer *observer, struct json_value root)
{
	if (!read_answer(observer, root))
		observer->outcome.malformed = true;
}

static enum dialect_event_kind event(struct dialect_observer *observer,
				     const struct sse_event *event)
{
	struct json_scan scan;
	struct json_value root;
	if (!observer_scan(observer, event->data, &scan, &root))
		return EVENT_ORDINARY;
	uint64_t before = observer->outcome.text_bytes;
	bool over = read_answer(observer, root);
	if (observer->outcome.text_bytes > before)
		observer->outcome.deltas++;
	return over ? EVENT_TERMINAL : EVENT_ORDINARY;
}

/* ---- errors ---- */

static void error_object(const struct dialect_error *error, struct buf *out)
{
	render_number(out, "{\"error\":{\"code\":", error->status);
	buf_append_cstr(out, ",\"message\":");
	json_append_string(out, error->message);
	buf_append_cstr(out, ",\"status\":\"");
	buf_append_cstr(out, dialect_status_names(error->status)->gemini_status);
	buf_append_char(out, '"');
	if (error->retry_after_ms > 0) {
		render_number(
			out,
			",\"details\":[{\"@type\":\"type.googleapis.com/google.rpc.RetryInfo\","
			"\"retryDelay\":\"",
			(error->retry_after_ms + 999) / 1000);
		buf_append_cstr(out, "s\"}]");
	}
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
	(void)created;
	buf_append_cstr(out, "{\"models\":[");
	for (size_t i = 0; i < count; i++) {
		buf_append_cstr(out, i ? ",{\"name\":\"models/" : "{\"name\":\"models/");
		buf_append_bytes(out, names[i]); /* it has no character to escape */
		buf_append_cstr(out, "\",\"displayName\":");
		json_append_string(out, names[i]);
		buf_append_cstr(out, ",\"supportedGenerationMethods\":[\"generateContent\","
				     "\"countTokens\"]}");
	}
	buf_append_cstr(out, "]}");
}

const struct dialect_ops dialect_gemini = {
	.id = DIALECT_GEMINI,
	.name = "gemini",
	.credential_name = "x-goog-api-key: ",
	.harness_fields = "",
	.members = members,
	.member_count = COUNT(members),
	.words_name = "contents",
	.any_spelling = true,
	.ends_by_close = true,
	.non_text = gemini_non_text,
	.settings = settings,
	.build = gemini_build,
	.event = event,
	.body = body,
	.error = error_object,
	.error_event = error_event,
	.limits = openai_limit_fields,
	.models = models,
	.render_answer = gemini_render_answer,
	.render_start = gemini_render_start,
	.render_delta = gemini_render_delta,
	.render_end = gemini_render_end,
};
