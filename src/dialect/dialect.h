/* The provider APIs ("dialects") as the rest of Parley sees them: which endpoint a path is, what a
 * request asks for, the canonical words of a prompt, usage and digests of answers, errors and
 * headers in the caller's own shape. One file per provider fills an ops table (dialect/ops.h);
 * nothing here reads a clock, a socket or a file. Definitions of the canonical forms:
 * docs/formats/canonical-words.md. */
#ifndef DIALECT_DIALECT_H
#define DIALECT_DIALECT_H

#include "base/buf.h"
#include "base/err.h"
#include "base/json_scan.h"
#include "base/sha256.h"
#include "proto/sse.h"

#include <jansson.h>

enum dialect_id {
	DIALECT_NONE,
	DIALECT_ANTHROPIC, /* Messages */
	DIALECT_OPENAI,    /* Chat Completions */
	DIALECT_RESPONSES, /* OpenAI Responses */
	DIALECT_GEMINI,
	DIALECT_MISTRAL, /* Chat Completions as Mistral and xAI have them */
	DIALECT_XAI,
	DIALECT_COUNT
};

/* "anthropic", "openai", "responses", "gemini", "mistral", "xai"; DIALECT_NONE for any other name,
 * "none" for DIALECT_NONE. */
enum dialect_id dialect_from_name(struct bytes name);
const char *dialect_name(enum dialect_id dialect);
/* The dialects that a provider of this one serves, as a set of bits 1 << id: OpenAI's serve
 * Responses too, Mistral's and xAI's are asked through Chat Completions. */
unsigned dialect_served_by(enum dialect_id provider);
/* What a request through an endpoint of dialect `asked` speaks once its provider is known: a
 * variant of it (Mistral's, xAI's) or itself. */
enum dialect_id dialect_variant(enum dialect_id asked, enum dialect_id provider);

/* ---- endpoints ---- */

enum endpoint_kind {
	ENDPOINT_NONE,
	ENDPOINT_MESSAGES,         /* POST /v1/messages */
	ENDPOINT_COUNT_TOKENS,     /* POST /v1/messages/count_tokens */
	ENDPOINT_CHAT_COMPLETIONS, /* POST /v1/chat/completions */
	ENDPOINT_RESPONSES,        /* POST /v1/responses */
	ENDPOINT_GENERATE_CONTENT, /* POST /v1beta/models/{m}:generateContent, …:stream…,
				      /v1/models/… */
	ENDPOINT_MODELS,           /* GET /v1/models, /v1beta/models */
};

struct dialect_endpoint {
	const char *method, *path;
	const char *verb;  /* after the model that the path names (":generateContent"), or NULL */
	const char *query; /* that the upstream is asked with ("?alt=sse") */
	enum dialect_id dialect; /* whose errors and shapes to use */
	enum endpoint_kind kind;
	bool streams; /* the path says that the answer is a stream */
};

/* `path` without the query. /v1/models speaks Anthropic's dialect to a client that sent
 * `anthropic-version`, else OpenAI's. NULL for anything that is not in the table (a known path with
 * another method too). */
const struct dialect_endpoint *dialect_endpoint_find(struct bytes method, struct bytes path,
						     bool anthropic_version);
/* The endpoint of a request with `x-goog-api-key`: /v1/models is Gemini's list then. */
const struct dialect_endpoint *dialect_gemini_list(const struct dialect_endpoint *endpoint);
/* In which dialect to refuse a request whose endpoint is unknown: by its path or that header. */
enum dialect_id dialect_guess(struct bytes path, bool anthropic_version);
/* The model that the path of such an endpoint names (Gemini); empty where the body does. */
struct bytes dialect_path_model(const struct dialect_endpoint *endpoint, struct bytes path);
/* What is wrong with a query, as a sentence for the client, or NULL. It may hold no credential.
 * Only Gemini's endpoints read theirs: streams are asked for with alt=sse, and nothing else is
 * known. Never quotes the query. */
const char *dialect_query_problem(const struct dialect_endpoint *endpoint, struct bytes query);
/* Whether a query holds a credential (`key=`). It is never read: it has been in logs already. */
bool dialect_query_has_key(struct bytes query);
/* Writes the target of `endpoint` at an upstream whose base path is `base` ("" or "/prefix"):
 * "/prefix/v1/messages", "/v1beta/models/M:streamGenerateContent?alt=sse"; `model` counts where the
 * path names it. A version that the base path ends with is not said twice. Returns the end, which
 * is not terminated; `out` has room for base, model and DIALECT_TARGET_EXTRA bytes. */
#define DIALECT_TARGET_EXTRA 64
char *dialect_write_target(const struct dialect_endpoint *endpoint, struct bytes base,
			   struct bytes model, char *out);
/* Where a generation is asked for, plain or as a stream. */
const struct dialect_endpoint *dialect_endpoint_of(enum dialect_id dialect, bool stream);

/* ---- requests: facts from the body, without a tree ---- */

enum dialect_flag {
	DIALECT_LOGPROBS = 1,    /* asks for log-probabilities */
	DIALECT_LOGIT_BIAS = 2,  /* a non-empty logit_bias */
	DIALECT_TOOLS = 4,       /* a non-empty tools list */
	DIALECT_USAGE_ASKED = 8, /* OpenAI: stream_options.include_usage is true */
	DIALECT_REASONING = 16,  /* thinking or reasoning is switched on */
};

#define DIALECT_UNKNOWN_MAX 8

struct dialect_request {
	enum dialect_id dialect;
	enum endpoint_kind endpoint;
	struct bytes model; /* in the body, without quotes */
	bool stream;
	int64_t max_output;  /* tokens, -1: not given */
	int64_t n;           /* answers asked for, 1 where not given */
	unsigned flags;      /* of enum dialect_flag */
	size_t prompt_bytes; /* size of the members that hold words (system, messages, tools) */
	/* Names of members that this dialect does not know, in the body; the count goes on past the
	 * table. */
	struct bytes unknown[DIALECT_UNKNOWN_MAX];
	unsigned unknown_count;
	/* Private: where dialect_rewrite edits. */
	uint32_t model_at;
	uint32_t object_at; /* after the outermost '{' */
	uint32_t usage_at, usage_size;
	uint8_t usage_edit;
};

/* Where a request came in. */
struct dialect_route {
	const struct dialect_endpoint *endpoint;
	enum dialect_id dialect; /* the endpoint's, or a variant of it */
	struct bytes path;       /* names the model with Gemini; `out` points into it then */
};

/* Reads the facts of a body that `scan` has accepted (json_scan_finish) for a generation or
 * count_tokens endpoint. ERR_INVALID with a message that names the key: not an object, a key that
 * is a known one but for case, a wrong type, a number out of range, no model or one with characters
 * beyond [A-Za-z0-9._:/@-] or above 256 bytes, no messages, both max_tokens and
 * max_completion_tokens, a key twice inside an object that is acted on; with Responses and Gemini
 * what names something kept at the provider (an earlier response, a conversation, a file, a
 * cache). `out` points into `body`.
 */
enum err_code dialect_request_read(const struct dialect_route *route, const struct json_scan *scan,
				   struct bytes body, struct dialect_request *out, struct err *err);

/* Whether a message or the system prompt of that body has a part that is not text, a tool call or a
 * tool result; *type is then its type as written. Walks over the messages: use it only where the
 * answer matters. */
bool dialect_request_non_text(const struct dialect_request *request, const struct json_scan *scan,
			      struct bytes body, struct bytes *type);

/* The body for the upstream in pieces of the client's own: another model name (empty or equal:
 * kept), and for OpenAI streams `stream_options.include_usage` where the client has not asked for
 * it
 * (`want_usage`). */
struct dialect_rewrite {
	struct bytes parts[6];
	unsigned count;
	size_t size;      /* of all parts */
	bool usage_added; /* strip the extra chunk again */
};
/* `upstream_model` has the characters a model may have. The parts point into `body`,
 * `upstream_model` and static text. */
void dialect_rewrite(const struct dialect_request *request, struct bytes body,
		     struct bytes upstream_model, bool want_usage, struct dialect_rewrite *out);

/* ---- canonical words (cold path: a tree) ---- */

/* Appends the canonical words (`parley-canon-1`) of a request body to `words`, and its settings
 * (RFC 8785 JSON of {max_output, temperature, …}, "{}" for none) to `settings` (may be NULL).
 * ERR_INVALID names what does not bind: an unknown member, a part that is not text, n > 1, or a
 * malformed message. The gateway binds on the SHA-256 of `words`. */
enum err_code dialect_words(enum dialect_id dialect, struct bytes body, struct buf *words,
			    struct buf *settings, struct err *err);

/* The other way: a request body for `words` and `settings` (either may come from a suite; settings
 * may be NULL), appended to `out`. OpenAI streams ask for their usage. Anthropic needs a
 * max_output: 1024 where the settings have none. ERR_INVALID where the dialect cannot say it. */
enum err_code dialect_build_request(enum dialect_id dialect, const json_t *words,
				    const json_t *settings, const char *model, bool stream,
				    struct buf *out, struct err *err);
/* The same from their texts. */
enum err_code dialect_build_request_text(enum dialect_id dialect, struct bytes words,
					 struct bytes settings, const char *model, bool stream,
					 struct buf *out, struct err *err);
/* "x-api-key: K\r\n", "authorization: Bearer K\r\n", "x-goog-api-key: K\r\n": what carries a
 * credential to a provider. Appended. */
void dialect_key_field(enum dialect_id dialect, const char *key, struct buf *out);
/* The same with what else a request of the harness needs: "anthropic-version: 2023-06-01\r\n". */
void dialect_credential_fields(enum dialect_id dialect, const char *key, struct buf *out);

/* ---- answers ---- */

struct dialect_usage {
	int64_t input;       /* uncached input tokens */
	int64_t cache_read;  /* input tokens read from a cache */
	int64_t cache_write; /* input tokens written to a cache */
	int64_t output;      /* with reasoning */
	bool input_known;    /* the provider has told the input; else those are 0 */
	bool known;  /* the provider has told the output, in the end; else it is what came first */
	bool absurd; /* a number that is no count was left out: a fraction, below 0, above 2^48 */
};

/* How an answer ended: id, name in the canonical answer. */
/* clang-format off */
#define DIALECT_FINISH_TABLE(X) \
	X(NONE,       "none")       /* it has not ended */ \
	X(STOP,       "stop") \
	X(LENGTH,     "length") \
	X(TOOL_CALLS, "tool_calls") \
	X(REFUSAL,    "refusal")    /* the model or a filter declined */ \
	X(OTHER,      "other")
/* clang-format on */
enum dialect_finish {
#define X(name, text) DIALECT_FINISH_##name,
	DIALECT_FINISH_TABLE(X)
#undef X
};
const char *dialect_finish_name(enum dialect_finish finish);

#define DIALECT_SERVED_MAX 128
#define DIALECT_EVENT_MAX ((size_t)1 << 20) /* data of one event of a stream */
/* What one event may take in all, comments and unknown fields included. */
#define DIALECT_EVENT_BYTES_MAX ((uint64_t)16 << 20)

/* What is known of an answer, from a plain body or a stream. It holds a reference. */
struct dialect_name;
struct dialect_outcome {
	struct dialect_usage usage;
	enum dialect_finish finish;
	bool complete;     /* the dialect's end was seen */
	bool failed;       /* an error body, or an error event after a 200 */
	bool malformed;    /* not what the dialect says: usage and digest may be missing */
	bool unreadable;   /* a plain answer that is no JSON object: none at all */
	bool digest_known; /* `answer` holds */
	uint8_t answer[SHA256_SIZE]; /* SHA-256(nonce || canonical answer) */
	uint64_t text_bytes; /* of text, reasoning and tool arguments so far: output is about a
				third */
	uint64_t deltas;     /* events that carried any of them */
	struct dialect_name *served; /* the model the provider names, NULL if none */
};

/* The model that the provider names, shorter than DIALECT_SERVED_MAX; "" if none. It is valid as
 * long as the outcome holds it. */
const char *dialect_served(const struct dialect_outcome *outcome);
/* A copy that holds a reference of its own. What came of a workspace must be released before it,
 * and on its thread. */
struct dialect_outcome dialect_outcome_copy(const struct dialect_outcome *outcome);
/* Gives the reference back; the rest of it stays. A second call does nothing. */
void dialect_outcome_release(struct dialect_outcome *outcome);

/* Output tokens so far by the bytes of text, reasoning and calls: ceil(text_bytes / 3). */
int64_t dialect_text_estimate(const struct dialect_outcome *outcome);
/* The same, but for what the provider said: in the end, or first where that is more. */
int64_t dialect_output_estimate(const struct dialect_outcome *outcome);

/* Memory that an observer needs while it is called and not in between, so that all those of a
 * thread can share one. Zeroed: empty. */
#define DIALECT_WORKSPACE_SPARES 16
struct dialect_reading;
struct dialect_workspace {
	struct buf given;   /* what was held and has been handed out by the last call */
	struct buf joined;  /* parts of the last call that the flow has no place for */
	struct buf decoded; /* a decoded string */
	struct dialect_reading *spares;
	struct dialect_name *names, *spare_names;
	unsigned spare_count, spare_name_count;
};
void dialect_workspace_release(struct dialect_workspace *workspace);

/* Observes a complete plain answer (a 200's body). `text` (appended to) and `tool_calls` (an array
 * to append {"arguments", "name"} to) may be NULL. `whole`, if not NULL, has the body added to it,
 * beside the answer's own hash, which saves time. `workspace` may be NULL. `out` is to be released
 * by dialect_outcome_release. */
void dialect_observe_body(enum dialect_id dialect, struct bytes body, struct bytes nonce,
			  struct dialect_outcome *out, struct buf *text, json_t *tool_calls,
			  struct sha256 *whole, struct dialect_workspace *workspace);

/* A stream is observed while it is passed on. Events go on whole: what a client could not act on
 * yet is held until the rest of its event is there (up to 64 KiB; longer events go on as they
 * come), so that nothing has to be taken back when the stream is ended in between, or the event is
 * usage that the client has not asked for. A comment line goes on at once, but for one between the
 * lines of an event: to pass that on alone would change the order of what the provider sent. */
struct dialect_observer {
	/* Private but for `outcome`, which is the end: long, and mostly not looked at. */
	enum dialect_id dialect;
	bool strip_usage;     /* the client has not asked for the usage chunk */
	bool strip_line_feed; /* the LF of a split CR LF belongs to what was stripped */
	bool ended;           /* the terminal event was seen */
	bool shut;            /* nothing behind it is passed on any more */
	bool overrun;         /* the answer goes on behind it */
	bool passing;         /* the beginning of the present event was passed on already */
	bool declined;        /* text of a refusal was seen */
	bool closed;          /* the digest is fixed */
	bool owns_workspace;
	bool lost; /* memory was out: not all that was held could be handed out */
	uint16_t call_count;
	struct dialect_call *calls;          /* tool calls so far */
	uint64_t fed;                        /* bytes before the present piece */
	struct sse_place place;              /* between two events */
	struct dialect_reading *reading;     /* within one; NULL: between two */
	struct dialect_workspace *workspace; /* NULL: none yet */
	struct buf *text;                    /* where the caller collects text, or NULL */
	struct bytes *later; /* of a plain body: text to be added to the hash; NULL: at once */
	struct sha256 hash;
	struct dialect_outcome outcome;
};

/* What the caller does with a piece: `now` goes on at once; `last` (the dialect's terminal event
 * and what may follow it) only when the end may be shown. What may follow: blank lines, comments, a
 * [DONE], usage that stands alone; from anything else on nothing is passed on. Gemini, which tells
 * an end by the connection's alone, has all after a finish reason in `last`, read like the rest.
 * Pointers are into the piece or the workspace,
 * valid until the next call of an observer that has it. Pieces may be empty in sum; none of them is
 * of size 0. */
#define DIALECT_FLOW_NOW_MAX 3
struct dialect_flow {
	struct bytes now[DIALECT_FLOW_NOW_MAX];
	unsigned now_count;
	struct bytes last[2];
	unsigned last_count;
	/* An event has passed DIALECT_EVENT_BYTES_MAX and not ended, or memory is out. */
	bool endless;
	bool terminal; /* the terminal event is complete, in this or an earlier piece */
	/* Text, calls or more than 64 KiB have come after it, and are not in `last`. */
	bool overrun;
};

/* `nonce` goes in front of the canonical answer in the digest (may be empty). `text`, if not NULL,
 * receives the answer's text as it comes. Until it is lent a workspace it makes its own. */
void dialect_observer_init(struct dialect_observer *observer, enum dialect_id dialect,
			   struct bytes nonce, bool strip_usage, struct buf *text);
void dialect_observer_lend(struct dialect_observer *observer, struct dialect_workspace *workspace);
void dialect_observer_release(struct dialect_observer *observer);

/* The next piece of the body, of any size. */
void dialect_observer_feed(struct dialect_observer *observer, const char *data, size_t size,
			   struct dialect_flow *flow);

/* Whether a part of an unfinished event was handed out (one above 64 KiB): an event of one's own
 * must then be preceded by an empty line. */
bool dialect_observer_mid_event(const struct dialect_observer *observer);

/* Whether what was handed out so far ends with a whole event and its line end, so that a comment
 * may follow. */
bool dialect_observer_between_events(const struct dialect_observer *observer);

/* The body has ended (or was cut off): fixes the outcome's digest; `flow->now` has what was still
 * held back. */
void dialect_observer_end(struct dialect_observer *observer, struct dialect_flow *flow);

/* Answers for the harness. */
struct dialect_answer {
	struct buf text;
	json_t *tool_calls; /* owned: array of {"arguments", "name"}, or NULL */
	struct dialect_outcome outcome;
};
void dialect_answer_init(struct dialect_answer *answer, size_t text_max);
void dialect_answer_release(struct dialect_answer *answer);
/* From a plain body. ERR_PROTOCOL if it is not an answer. */
enum err_code dialect_answer_read(enum dialect_id dialect, struct bytes body,
				  struct dialect_answer *out, struct err *err);
/* From a stream's whole body. ERR_PROTOCOL if it was cut off, failed or is malformed. */
enum err_code dialect_answer_read_stream(enum dialect_id dialect, struct bytes body,
					 struct dialect_answer *out, struct err *err);
/* From a stream whose observer collected its text into `out->text`; call after
 * dialect_observer_end. ERR_PROTOCOL if the stream was cut off, failed or malformed. */
enum err_code dialect_answer_finish(struct dialect_observer *observer, struct dialect_answer *out,
				    struct err *err);

/* An error a provider answered with, from its body (or error event's data). */
struct dialect_failure {
	char type[64], code[64], message[512]; /* "" where absent */
};
bool dialect_failure_read(enum dialect_id dialect, struct bytes body, struct dialect_failure *out);

/* The canonical answer itself, for those who check a digest: RFC 8785 JSON of
 * [text, tool_calls, finish]. Appended. */
void dialect_canonical_answer(struct bytes text, const json_t *tool_calls,
			      enum dialect_finish finish, struct buf *out);

/* ---- what the gateway says by itself ---- */

struct dialect_error {
	int status; /* HTTP status; decides Anthropic's type, OpenAI's type and code, Gemini's
		       status */
	const char *
		code; /* OpenAI's code where not the status' usual one ("grant_revoked"), or NULL */
	struct bytes message;    /* UTF-8 */
	struct bytes request_id; /* Anthropic's request_id; empty: none */
	int64_t retry_after_ms;  /* Gemini's RetryInfo; 0: none */
};

/* Appends the JSON body of an error. */
void dialect_error_body(enum dialect_id dialect, const struct dialect_error *error,
			struct buf *out);
/* Appends the error event that ends a stream after a 200, with its empty line. */
void dialect_error_event(enum dialect_id dialect, const struct dialect_error *error,
			 struct buf *out);

/* One limit as the rate-limit headers tell it; limit < 0: not limited, no header. */
struct dialect_limit {
	int64_t limit, remaining;
	int64_t reset_ms; /* until it is full again */
};
struct dialect_limits {
	struct dialect_limit requests, input, output;
	struct dialect_limit budget; /* tokens of the day or week */
};
/* Appends "name: value\r\n" fields: anthropic-ratelimit-* (requests, input-tokens, output-tokens
 * and tokens, the tightest of those and the budget; reset in RFC 3339) or, with all other dialects,
 * x-ratelimit-* (requests, tokens; reset as "6m0s"). `wall_ms` is now, Unix time. */
void dialect_limit_fields(enum dialect_id dialect, const struct dialect_limits *limits,
			  int64_t wall_ms, struct buf *out);

/* Appends the answer of count_tokens (Anthropic, Gemini). */
void dialect_count_answer(enum dialect_id dialect, int64_t tokens, struct buf *out);
/* Appends a list of models in the dialect's shape. `created` is Unix seconds. */
void dialect_models(enum dialect_id dialect, const struct bytes *names, size_t count,
		    int64_t created, struct buf *out);

/* ---- what a stand-in model says ---- */

struct dialect_rendering {
	const char *id;     /* of the answer: "msg_…", "chatcmpl-…" */
	struct bytes model; /* as asked */
	struct bytes text;  /* whole text, or of this delta; UTF-8 */
	/* What it says to itself before, as the provider shows it (thinking, reasoning, thoughts),
	 * and how many tokens of usage.output that was. Where there is some, Chat Completions and
	 * Responses have log-probabilities too. Empty: none. */
	struct bytes reasoning;
	int64_t reasoning_tokens;
	struct dialect_usage usage;
	enum dialect_finish finish;
	int64_t created;    /* Unix seconds */
	bool include_usage; /* OpenAI streams */
	/* Of a stream's end, for Responses, whose last events repeat the answer. */
	struct bytes whole;
	uint64_t sequence; /* of a stream's events so far; kept by the functions below */
};
/* A complete plain answer's body. */
void dialect_render_answer(enum dialect_id dialect, const struct dialect_rendering *answer,
			   struct buf *out);
/* The events of a stream: once at the start (usage.input, cache_* and for Anthropic a first
 * output count), one per piece of text, once at the end (finish and whole usage). */
void dialect_render_stream_start(enum dialect_id dialect, struct dialect_rendering *answer,
				 struct buf *out);
void dialect_render_stream_delta(enum dialect_id dialect, struct dialect_rendering *answer,
				 struct buf *out);
void dialect_render_stream_end(enum dialect_id dialect, struct dialect_rendering *answer,
			       struct buf *out);

#endif
