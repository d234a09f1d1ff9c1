/* What one file per provider fills in, and what those files share. For dialect/ alone. */
#ifndef DIALECT_OPS_H
#define DIALECT_OPS_H

#include "base/json.h"
#include "dialect/dialect.h"

/* Names of members, in tables. */
#define NAME(text) BYTES_INIT(text)

/* ---- requests ---- */

/* What the request path reads of a member; most are only known. */
enum request_use {
	USE_KNOWN,
	USE_MODEL,
	USE_MESSAGES,
	USE_PROMPT, /* words beside the messages */
	USE_TOOLS,
	USE_STREAM,
	USE_MAX_OUTPUT,
	USE_N,
	USE_LOGPROBS,
	USE_TOP_LOGPROBS,
	USE_LOGIT_BIAS,
	USE_STREAM_OPTIONS,
	USE_THINKING,
	USE_EFFORT,
	USE_INPUT,           /* Responses: a text or a list of items */
	USE_RESPONSES_TOOLS, /* tools, of which some read what is kept at the provider */
	USE_INCLUDE,         /* Responses: what the answer shall hold besides */
	USE_REASONING,       /* Responses: an object with `effort` */
	USE_CONTENTS,        /* Gemini: a list of contents */
	USE_GEMINI_SYSTEM,
	USE_GEMINI_TOOLS,
	USE_GENERATION, /* Gemini: an object of settings */
	USE_GEMINI_THINKING,
	USE_FALSE,     /* true would keep something at the provider */
	USE_STORE,     /* the same, of Responses, which keeps by default */
	USE_KEPT,      /* names something that is kept at the provider: refused */
	USE_ELSEWHERE, /* the model, which Gemini's path names: refused */
	USE_COUNT
};

/* Words and settings under construction. */
struct words {
	json_t *system;   /* array of parts */
	json_t *messages; /* array */
	json_t *tools;    /* array, or NULL */
	json_t *format;   /* object, or NULL */
	json_t *settings; /* object */
	json_t *call_ids; /* array of strings: the id of the k-th tool call */
	struct err *err;
};

/* One top-level member of a dialect's requests. `bind` puts it into words or settings; NULL: it
 * does not bind. It never sees null. */
struct member_row {
	struct bytes name;
	enum request_use use;
	enum err_code (*bind)(struct words *words, const char *name, const json_t *value);
};

struct dialect_ops {
	enum dialect_id id;
	const char *name;
	const char *credential_name; /* before the key */
	const char *harness_fields;  /* that a request of the harness needs besides */
	const struct member_row *members;
	size_t member_count;
	const char *words_name; /* of the member that holds the messages */
	bool any_spelling;  /* its JSON takes snake_case for camelCase: one spelling is allowed */
	bool asks_usage;    /* its streams tell their usage only if asked */
	bool ends_by_close; /* its terminal event need not be the last one */
	/* Whether words have a part that is not text, a tool call or a tool result; *type is as in
	 * dialect_request_non_text. */
	bool (*non_text)(const struct json_scan *scan, struct bytes body, struct bytes *type);
	const char *const *settings; /* those of a suite that it can say, NULL-terminated */
	enum err_code (*build)(const json_t *words, const json_t *settings, json_t *body,
			       bool stream, struct err *err);
	/* Reads one event of a stream into the observer; what the gateway does with it. */
	enum dialect_event_kind (*event)(struct dialect_observer *observer,
					 const struct sse_event *event);
	/* Reads a plain answer. */
	void (*body)(struct dialect_observer *observer, struct json_value root);
	void (*error)(const struct dialect_error *error, struct buf *out);
	void (*error_event)(const struct dialect_error *error, struct buf *out);
	void (*limits)(const struct dialect_limits *limits, int64_t wall_ms, struct buf *out);
	void (*models)(const struct bytes *names, size_t count, int64_t created, struct buf *out);
	void (*render_answer)(const struct dialect_rendering *answer, struct buf *out);
	void (*render_start)(struct dialect_rendering *answer, struct buf *out);
	void (*render_delta)(struct dialect_rendering *answer, struct buf *out);
	void (*render_end)(struct dialect_rendering *answer, struct buf *out);
};

/* What an observer needs of its stream within an event. From the workspace's stock. */
struct dialect_reading {
	struct dialect_reading *next; /* in the stock */
	struct sse sse;
	struct buf held; /* the beginning of an unfinished event */
	uint64_t end;    /* offset of the terminal event's end, once it was seen */
};

enum dialect_event_kind { EVENT_ORDINARY, EVENT_USAGE_ONLY, EVENT_TERMINAL };

/* The end of OpenAI's streams, which others' have too, behind their own. */
static inline bool event_is_done(const struct sse_event *event)
{
	return bytes_is(bytes_trim(event->data), "[DONE]");
}

extern const struct dialect_ops dialect_anthropic, dialect_openai, dialect_responses,
	dialect_gemini, dialect_mistral, dialect_xai;

/* NULL for DIALECT_NONE. */
const struct dialect_ops *dialect_ops_of(enum dialect_id dialect);

/* ---- request.c: reading a body ---- */

/* A body being read: the member at hand and what was found so far. */
struct reading {
	struct dialect_request *out;
	struct bytes body;
	const struct json_scan *scan; /* of the whole body */
	const char *name;             /* of the member, from the table */
	struct json_value value;
	bool has_messages;
	const char *max_output_name;
	struct err *err;
};
enum err_code reading_wrong(struct reading *in, const char *wanted);
/* Reads one member of `rows`, at the top or in an object that the dialect acts on. Names that could
 * be taken for a known one are refused, unknown ones noted. */
enum err_code reading_member(struct reading *in, const struct member_row *rows, size_t count,
			     bool any_spelling, struct bytes name, struct json_value value);

/* references.c: readers of Responses' and Gemini's words, which refuse what is kept upstream. */
enum err_code read_messages(struct reading *in);
enum err_code read_responses_input(struct reading *in);
enum err_code read_responses_tools(struct reading *in);
enum err_code read_responses_include(struct reading *in);
enum err_code read_gemini_contents(struct reading *in);
enum err_code read_gemini_system(struct reading *in);
enum err_code read_gemini_tools(struct reading *in);
bool chat_non_text(const struct json_scan *scan, struct bytes body, struct bytes *type);
bool responses_non_text(const struct json_scan *scan, struct bytes body, struct bytes *type);
bool gemini_non_text(const struct json_scan *scan, struct bytes body, struct bytes *type);

/* gemini.c: the members of generationConfig and of its thinkingConfig. */
enum err_code read_gemini_generation(struct reading *in);
enum err_code read_gemini_thinking(struct reading *in);

/* ---- words.c: shared by the dialects' binders ---- */

/* A text part of the string `text`, whose reference is taken over (NULL: out of memory). NULL when
 * memory is out. */
json_t *words_text_part(json_t *text);
/* Appends a text part of what `part` has as `text`. */
enum err_code words_text(struct words *words, const json_t *part, const char *where, json_t *parts);
/* Appends, taking over the reference of `value` (which may be NULL: out of memory). */
enum err_code words_append(struct words *words, json_t *array, json_t *value);
enum err_code words_set(struct words *words, json_t *object, const char *key, json_t *value);
/* Calls `bind` for each message of the list `value` with its place ("messages[2]"); ERR_INVALID
 * naming `name` if it is no list. Stops at the first failure. */
enum err_code words_each_message(struct words *words, const char *name, const json_t *value,
				 enum err_code (*bind)(struct words *words, const json_t *message,
						       const char *where));
/* A string member that must be there, or ERR_INVALID with `where`. */
enum err_code words_string(struct words *words, const json_t *object, const char *key,
			   const char *where, const char **out);
/* ERR_INVALID unless every member of `object` is in `allowed` (NULL-terminated) or null. */
enum err_code words_only(struct words *words, const json_t *object, const char *where,
			 const char *const *allowed);
/* Appends the parts of a content that may hold text only: a string, null, or an array of text
 * parts. Empty strings give no part. */
enum err_code words_text_parts(struct words *words, const json_t *content, const char *where,
			       json_t *parts);
/* The ordinal number of a tool call's id: a new one, or one that must exist. */
enum err_code words_new_call(struct words *words, const char *id, const char *where,
			     json_t **number);
enum err_code words_old_call(struct words *words, const char *id, const char *where,
			     json_t **number);
/* A tool call's arguments as a value: the parsed text, {} for an empty one, the text itself if it
 * is not JSON. NULL when memory is out. */
json_t *words_arguments(const char *text, size_t size);
/* A tool in the common shape; `parameters` may be NULL. */
enum err_code words_add_tool(struct words *words, const json_t *tool, const char *parameters_key,
			     const char *where);
/* "json_schema" format; `name` and `description` may be NULL. */
enum err_code words_set_schema(struct words *words, const json_t *schema, const char *name,
			       const char *description, bool strict);
/* Binders that several members share. */
enum err_code bind_number(struct words *words, const char *name, const json_t *value);
enum err_code bind_max_output(struct words *words, const char *name, const json_t *value);
enum err_code bind_refused(struct words *words, const char *name, const json_t *value);
enum err_code bind_nothing(struct words *words, const char *name, const json_t *value);
enum err_code words_set_reasoning(struct words *words, const char *key, json_t *value);

#define WORDS_WHERE_MAX 96
#define WORDS_CALLS_MAX 1024
#define WORDS_DEFAULT_FORMAT_NAME "answer"

/* anthropic_words.c, openai_words.c */
enum err_code anthropic_bind_system(struct words *words, const char *name, const json_t *value);
enum err_code anthropic_bind_messages(struct words *words, const char *name, const json_t *value);
enum err_code anthropic_bind_tools(struct words *words, const char *name, const json_t *value);
enum err_code anthropic_bind_tool_choice(struct words *words, const char *name,
					 const json_t *value);
enum err_code anthropic_bind_thinking(struct words *words, const char *name, const json_t *value);
enum err_code anthropic_bind_output_format(struct words *words, const char *name,
					   const json_t *value);
enum err_code anthropic_bind_output_config(struct words *words, const char *name,
					   const json_t *value);
enum err_code anthropic_build(const json_t *words, const json_t *settings, json_t *body,
			      bool stream, struct err *err);
enum err_code openai_bind_messages(struct words *words, const char *name, const json_t *value);
enum err_code openai_bind_tools(struct words *words, const char *name, const json_t *value);
enum err_code openai_bind_tool_choice(struct words *words, const char *name, const json_t *value);
enum err_code openai_bind_format(struct words *words, const char *name, const json_t *value);
enum err_code openai_bind_n(struct words *words, const char *name, const json_t *value);
enum err_code openai_bind_modalities(struct words *words, const char *name, const json_t *value);
enum err_code openai_bind_effort(struct words *words, const char *name, const json_t *value);
enum err_code openai_bind_verbosity(struct words *words, const char *name, const json_t *value);
enum err_code openai_bind_flag(struct words *words, const char *name, const json_t *value);
enum err_code openai_bind_bias(struct words *words, const char *name, const json_t *value);
enum err_code openai_build(const json_t *words, const json_t *settings, json_t *body, bool stream,
			   struct err *err);
/* "json_object" or a "json_schema" object {name, description, schema, strict}. */
enum err_code openai_bind_schema(struct words *words, const char *name, const json_t *schema);
enum err_code words_set_json_object(struct words *words);
/* Where results stand that follow each other: the parts of the user message whose last part is a
 * tool result, made if need be. NULL when memory is out. */
json_t *words_results_message(struct words *words);
enum err_code responses_bind_input(struct words *words, const char *name, const json_t *value);
enum err_code responses_bind_instructions(struct words *words, const char *name,
					  const json_t *value);
enum err_code responses_bind_tools(struct words *words, const char *name, const json_t *value);
enum err_code responses_bind_tool_choice(struct words *words, const char *name,
					 const json_t *value);
enum err_code responses_bind_text(struct words *words, const char *name, const json_t *value);
enum err_code responses_bind_reasoning(struct words *words, const char *name, const json_t *value);
enum err_code responses_bind_include(struct words *words, const char *name, const json_t *value);
enum err_code responses_bind_truncation(struct words *words, const char *name, const json_t *value);
enum err_code responses_bind_false(struct words *words, const char *name, const json_t *value);
enum err_code responses_build(const json_t *words, const json_t *settings, json_t *body,
			      bool stream, struct err *err);
enum err_code gemini_bind_contents(struct words *words, const char *name, const json_t *value);
enum err_code gemini_bind_system(struct words *words, const char *name, const json_t *value);
enum err_code gemini_bind_tools(struct words *words, const char *name, const json_t *value);
enum err_code gemini_bind_tool_config(struct words *words, const char *name, const json_t *value);
enum err_code gemini_bind_thinking(struct words *words, const char *name, const json_t *value);
/* From the whole of generationConfig: the type of the answer and its schema. */
enum err_code gemini_bind_format(struct words *words, const json_t *config);
enum err_code gemini_build(const json_t *words, const json_t *settings, json_t *body, bool stream,
			   struct err *err);
/* Binds the members of an object in the order of the table; unknown ones are refused with
 * `where` ("generationConfig.", "") in front of their name. */
enum err_code words_bind_members(struct words *words, const struct member_row *rows, size_t count,
				 const json_t *object, const char *where);

/* ---- build.c: shared by the dialects' builders ---- */

/* A new string when `parts` is one text part or none ("" then), else an array of text parts. NULL
 * when memory is out or a part is not text. */
json_t *build_text_content(const json_t *parts);
/* "call_K" of a part's number. NULL when memory is out. */
json_t *build_call_id(const json_t *part);
/* Sets, taking over the reference; ERR_NO_MEMORY when value is NULL. */
enum err_code build_set(json_t *object, const char *key, json_t *value, struct err *err);
enum err_code build_append(json_t *array, json_t *value, struct err *err);
/* Copies settings[from] to body[to] where it is there. */
enum err_code build_copy(const json_t *settings, const char *from, json_t *body, const char *to,
			 struct err *err);

/* The words' calls by number: the name of call K, or NULL. */
const char *build_call_name(const json_t *words, json_int_t number);
/* A tool call's arguments as text, to free(). NULL when memory is out. */
char *build_arguments_text(const json_t *part);

/* ---- openai.c: what its variants and Responses share ---- */

enum dialect_event_kind openai_event(struct dialect_observer *observer,
				     const struct sse_event *event);
void openai_body(struct dialect_observer *observer, struct json_value root);
void openai_error(const struct dialect_error *error, struct buf *out);
void openai_error_event(const struct dialect_error *error, struct buf *out);
/* The members of an error: "message":…,"type":…,"param":null,"code":… */
void openai_error_members(const struct dialect_error *error, struct buf *out);
void openai_models(const struct bytes *names, size_t count, int64_t created, struct buf *out);

/* ---- observer.c: what the readers of answers report ---- */

#define DIALECT_CALLS_MAX 128
#define DIALECT_CALL_NAME_MAX 128
#define DIALECT_ARGUMENTS_MAX ((size_t)1 << 20)

struct dialect_call {
	int64_t index; /* the provider's own number */
	char name[DIALECT_CALL_NAME_MAX + 1];
	struct buf arguments;
};

/* A string value is text of the answer, or only counts (reasoning). */
void observer_text(struct dialect_observer *observer, struct json_value text);
void observer_count(struct dialect_observer *observer, struct json_value text);
/* So many bytes that only count. */
void observer_bytes(struct dialect_observer *observer, size_t size);
/* Whether a count is there, of which observer_tokens has told that it is none. */
static inline bool observer_is_no_count(bool told, struct json_value value)
{
	return !told && value.type != JSON_SCAN_NOTHING && value.type != JSON_SCAN_NULL;
}
/* The call with that number, NULL where there is none yet. */
struct dialect_call *observer_call_begun(struct dialect_observer *observer, int64_t index);
/* The same, made if need be; NULL when there are too many or memory is out (the
 * observer is malformed then). */
struct dialect_call *observer_call(struct dialect_observer *observer, int64_t index);
void observer_call_name(struct dialect_observer *observer, struct dialect_call *call,
			struct json_value name);
/* A string value with a piece of the arguments' text, or any other value as the whole of them. */
void observer_call_arguments(struct dialect_observer *observer, struct dialect_call *call,
			     struct json_value arguments);
void observer_served(struct dialect_observer *observer, struct json_value model);
/* name.c: a reference to the name `text` (shorter than DIALECT_SERVED_MAX), shared within the
 * workspace (NULL: with nobody). NULL where memory is out. */
struct dialect_name *observer_name(struct dialect_workspace *workspace, struct bytes text);
/* No outcome holds any of them. */
void observer_names_release(struct dialect_workspace *workspace);
/* A count of tokens; false where it is not one. */
bool observer_tokens(struct dialect_usage *usage, struct json_value value, int64_t *out);
/* OpenAI's usage by its members' names: input, with the cached ones in it, which are told apart
 * here; output; the details of the input; the total. What is in the total alone is output too: xAI
 * leaves its reasoning out of completion_tokens, though it makes it and bills it. */
#define OBSERVER_USAGE_NAMES 4
void observer_usage(struct dialect_observer *observer, struct json_value value,
		    const struct bytes names[static OBSERVER_USAGE_NAMES]);

/* Checks an event's data; false where it is not JSON as it should be (the observer is malformed
 * then). `root` is its outermost value, whose members `scan`, the caller's, has noted: it must stay
 * as long as they are read. */
bool observer_scan(struct dialect_observer *observer, struct bytes data, struct json_scan *scan,
		   struct json_value *root);

/* Where an API names its events: the row of that name reads the event's data, which is checked
 * first; an event without a row is ordinary. */
struct event_row {
	struct bytes name;
	enum dialect_event_kind (*read)(struct dialect_observer *observer, struct json_value root);
};
enum dialect_event_kind observer_named_event(struct dialect_observer *observer,
					     const struct sse_event *event,
					     const struct event_row *rows, size_t count);
/* The name of an event of Responses; where it has none of its own, by its data's `type`. */
struct bytes responses_event_name(const struct sse_event *event);

/* Text of a plain body that waits to be hashed is. */
void observer_hash_later(struct dialect_observer *observer);

/* Fixes the digest of the canonical answer; once. */
void observer_close(struct dialect_observer *observer);

/* A row of a table from the provider's word to the canonical one. */
struct finish_row {
	const char *word;
	enum dialect_finish finish;
};
void observer_finish(struct dialect_observer *observer, struct json_value reason,
		     const struct finish_row *rows, size_t count);

/* ---- errors.c ---- */

/* How each dialect names a status; a near one for those not in the table. */
struct status_names {
	int status;
	const char *anthropic_type, *openai_type, *openai_code; /* code may be NULL */
	const char *gemini_status;
};
const struct status_names *dialect_status_names(int status);

/* ---- limits.c ---- */

#define DIALECT_TIME_SIZE 21
/* "2026-11-01T00:00:00Z" of Unix seconds. */
void dialect_time_text(int64_t seconds, char out[static DIALECT_TIME_SIZE]);

void anthropic_limit_fields(const struct dialect_limits *limits, int64_t wall_ms, struct buf *out);
void openai_limit_fields(const struct dialect_limits *limits, int64_t wall_ms, struct buf *out);

/* ---- render.c ---- */

void anthropic_render_answer(const struct dialect_rendering *answer, struct buf *out);
void anthropic_render_start(struct dialect_rendering *answer, struct buf *out);
void anthropic_render_delta(struct dialect_rendering *answer, struct buf *out);
void anthropic_render_end(struct dialect_rendering *answer, struct buf *out);
void openai_render_answer(const struct dialect_rendering *answer, struct buf *out);
void openai_render_start(struct dialect_rendering *answer, struct buf *out);
void openai_render_delta(struct dialect_rendering *answer, struct buf *out);
void openai_render_end(struct dialect_rendering *answer, struct buf *out);
/* The usage stands in the chunk that ends the text. */
void mistral_render_end(struct dialect_rendering *answer, struct buf *out);
void mistral_render_answer(const struct dialect_rendering *answer, struct buf *out);
void mistral_render_start(struct dialect_rendering *answer, struct buf *out);
void responses_render_answer(const struct dialect_rendering *answer, struct buf *out);
void responses_render_start(struct dialect_rendering *answer, struct buf *out);
void responses_render_delta(struct dialect_rendering *answer, struct buf *out);
void responses_render_end(struct dialect_rendering *answer, struct buf *out);
void gemini_render_answer(const struct dialect_rendering *answer, struct buf *out);
void gemini_render_start(struct dialect_rendering *answer, struct buf *out);
void gemini_render_delta(struct dialect_rendering *answer, struct buf *out);
void gemini_render_end(struct dialect_rendering *answer, struct buf *out);
void render_number(struct buf *out, const char *before, int64_t number);

#endif
