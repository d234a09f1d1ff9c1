#include "dialect/ops.h"

static const struct dialect_ops *const all_ops[DIALECT_COUNT] = {
	[DIALECT_ANTHROPIC] = &dialect_anthropic, [DIALECT_OPENAI] = &dialect_openai,
	[DIALECT_RESPONSES] = &dialect_responses, [DIALECT_GEMINI] = &dialect_gemini,
	[DIALECT_MISTRAL] = &dialect_mistral,     [DIALECT_XAI] = &dialect_xai,
};

const struct dialect_ops *dialect_ops_of(enum dialect_id dialect)
{
	return dialect < DIALECT_COUNT ? all_ops[dialect] : NULL;
}

enum dialect_id dialect_from_name(struct bytes name)
{
	for (enum dialect_id id = DIALECT_NONE + 1; id < DIALECT_COUNT; id++)
		if (bytes_is(name, all_ops[id]->name))
			return id;
	return DIALECT_NONE;
}

const char *dialect_name(enum dialect_id dialect)
{
	const struct dialect_ops *ops = dialect_ops_of(dialect);
	return ops ? ops->name : "none";
}

#define BIT(id) (1u << (id))

unsigned dialect_served_by(enum dialect_id provider)
{
	static const unsigned served[DIALECT_COUNT] = {
		[DIALECT_ANTHROPIC] = BIT(DIALECT_ANTHROPIC),
		[DIALECT_OPENAI] = BIT(DIALECT_OPENAI) | BIT(DIALECT_RESPONSES),
		[DIALECT_RESPONSES] = BIT(DIALECT_RESPONSES),
		[DIALECT_GEMINI] = BIT(DIALECT_GEMINI),
		[DIALECT_MISTRAL] = BIT(DIALECT_OPENAI) | BIT(DIALECT_MISTRAL),
		[DIALECT_XAI] = BIT(DIALECT_OPENAI) | BIT(DIALECT_XAI),
	};
	return provider < DIALECT_COUNT ? served[provider] : 0;
}

enum dialect_id dialect_variant(enum dialect_id asked, enum dialect_id provider)
{
	bool variant = provider == DIALECT_MISTRAL || provider == DIALECT_XAI;
	return asked == DIALECT_OPENAI && variant ? provider : asked;
}

void dialect_key_field(enum dialect_id dialect, const char *key, struct buf *out)
{
	buf_append_cstr(out, dialect_ops_of(dialect)->credential_name);
	buf_append_cstr(out, key);
	buf_append_cstr(out, "\r\n");
}

void dialect_credential_fields(enum dialect_id dialect, const char *key, struct buf *out)
{
	dialect_key_field(dialect, key, out);
	buf_append_cstr(out, dialect_ops_of(dialect)->harness_fields);
}

/* ---- by the ops table ---- */

void dialect_error_body(enum dialect_id dialect, const struct dialect_error *error, struct buf *out)
{
	dialect_ops_of(dialect)->error(error, out);
}

void dialect_error_event(enum dialect_id dialect, const struct dialect_error *error,
			 struct buf *out)
{
	dialect_ops_of(dialect)->error_event(error, out);
}

void dialect_limit_fields(enum dialect_id dialect, const struct dialect_limits *limits,
			  int64_t wall_ms, struct buf *out)
{
	dialect_ops_of(dialect)->limits(limits, wall_ms, out);
}

void dialect_models(enum dialect_id dialect, const struct bytes *names, size_t count,
		    int64_t created, struct buf *out)
{
	dialect_ops_of(dialect)->models(names, count, created, out);
}

void dialect_count_answer(enum dialect_id dialect, int64_t tokens, struct buf *out)
{
	buf_printf(out, "{\"%s\":%lld}", dialect == DIALECT_GEMINI ? "totalTokens" : "input_tokens",
		   (long long)tokens);
}

void dialect_render_answer(enum dialect_id dialect, const struct dialect_rendering *answer,
			   struct buf *out)
{
	dialect_ops_of(dialect)->render_answer(answer, out);
}

void dialect_render_stream_start(enum dialect_id dialect, struct dialect_rendering *answer,
				 struct buf *out)
{
	dialect_ops_of(dialect)->render_start(answer, out);
}

void dialect_render_stream_delta(enum dialect_id dialect, struct dialect_rendering *answer,
				 struct buf *out)
{
	dialect_ops_of(dialect)->render_delta(answer, out);
}

void dialect_render_stream_end(enum dialect_id dialect, struct dialect_rendering *answer,
			       struct buf *out)
{
	dialect_ops_of(dialect)->render_end(answer, out);
}
