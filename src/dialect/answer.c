/* Canonical answers: [text, tool_calls, finish], and answers for the harness. */
#include "dialect/ops.h"

static const char *const finish_names[] = {
#define X(name, text) [DIALECT_FINISH_##name] = text,
	DIALECT_FINISH_TABLE(X)
#undef X
};

const char *dialect_finish_name(enum dialect_finish finish)
{
	return finish_names[finish];
}

int64_t dialect_text_estimate(const struct dialect_outcome *outcome)
{
	return (int64_t)((outcome->text_bytes + 2) / 3);
}

int64_t dialect_output_estimate(const struct dialect_outcome *outcome)
{
	int64_t counted = dialect_text_estimate(outcome);
	if (outcome->usage.known || outcome->usage.output > counted)
		return outcome->usage.output;
	return counted;
}

/* ---- the canonical answer ---- */

static json_t *call_value(const struct dialect_call *call)
{
	const char *text = call->arguments.data ? call->arguments.data : "";
	return json_pack("{s:o, s:s}", "arguments", words_arguments(text, call->arguments.size),
			 "name", call->name);
}

/* The calls as a tree; false when memory is out or a name is no text. */
static bool list_calls(const struct dialect_observer *observer, json_t *out)
{
	for (unsigned i = 0; i < observer->call_count; i++)
		if (json_array_append_new(out, call_value(&observer->calls[i])) != 0)
			return false;
	return true;
}

/* Everything after the text's closing quote. */
static bool append_rest(const json_t *calls, enum dialect_finish finish, struct buf *out)
{
	buf_append_char(out, ',');
	if (!calls)
		buf_append_cstr(out, "[]");
	else if (json_canonical(calls, out, NULL) != ERR_OK)
		return false;
	buf_append_char(out, ',');
	json_append_string(out, bytes_from(dialect_finish_name(finish)));
	buf_append_char(out, ']');
	return !out->failed;
}

void dialect_canonical_answer(struct bytes text, const json_t *tool_calls,
			      enum dialect_finish finish, struct buf *out)
{
	buf_append_char(out, '[');
	json_append_string(out, text);
	if (!append_rest(tool_calls, finish, out))
		out->failed = true;
}

void observer_close(struct dialect_observer *observer)
{
	struct dialect_outcome *outcome = &observer->outcome;
	if (observer->closed)
		return;
	observer->closed = true;
	if (observer->declined && outcome->finish == DIALECT_FINISH_STOP)
		outcome->finish = DIALECT_FINISH_REFUSAL;
	char without_calls[64]; /* holds every finish */
	bool plain = observer->call_count == 0;
	struct buf rest = BUF_INIT((size_t)256 << 20);
	if (plain)
		rest = buf_over(without_calls, sizeof(without_calls));
	json_t *calls = plain ? NULL : json_array();
	buf_append_char(&rest, '"');
	outcome->digest_known = !outcome->malformed &&
				(plain || (calls && list_calls(observer, calls))) &&
				append_rest(calls, outcome->finish, &rest);
	if (outcome->digest_known) {
		sha256_add(&observer->hash, rest.data, rest.size);
		sha256_finish(&observer->hash, outcome->answer);
	}
	json_decref(calls);
	if (!plain)
		buf_release(&rest);
}

/* ---- plain answers ---- */

static void observe_body(struct dialect_observer *observer, struct bytes body, struct sha256 *whole)
{
	struct json_scan scan;
	struct bytes later = bytes_of("", 0);
	observer->later = &later;
	if (json_scan_text(&scan, body, "the answer", NULL) != ERR_OK ||
	    scan.root != JSON_SCAN_OBJECT) {
		observer->outcome.malformed = observer->outcome.unreadable = true;
	} else {
		const struct json_scan_member *error =
			json_scan_member(&scan, body, BYTES("error"));
		if (error && (error->type == JSON_SCAN_OBJECT || error->type == JSON_SCAN_STRING))
			observer->outcome.failed = true;
		else
			dialect_ops_of(observer->dialect)
				->body(observer, json_scan_root(&scan, body));
	}
	observer->outcome.complete = !observer->outcome.malformed && !observer->outcome.failed;
	if (whole) {
		sha256_add_two(&observer->hash, later, whole, body);
		later = bytes_of("", 0);
	}
	observer_hash_later(observer);
	observer->later = NULL;
	observer_close(observer);
}

void dialect_observe_body(enum dialect_id dialect, struct bytes body, struct bytes nonce,
			  struct dialect_outcome *out, struct buf *text, json_t *tool_calls,
			  struct sha256 *whole, struct dialect_workspace *workspace)
{
	struct dialect_observer observer;
	dialect_observer_init(&observer, dialect, nonce, false, text);
	dialect_observer_lend(&observer, workspace);
	observe_body(&observer, body, whole);
	if (tool_calls && !list_calls(&observer, tool_calls))
		observer.outcome.malformed = true;
	*out = dialect_outcome_copy(&observer.outcome);
	dialect_observer_release(&observer);
}

/* ---- for the harness ---- */

void dialect_answer_init(struct dialect_answer *answer, size_t text_max)
{
	memset(answer, 0, sizeof(*answer));
	buf_init(&answer->text, text_max);
}

void dialect_answer_release(struct dialect_answer *answer)
{
	buf_release(&answer->text);
	dialect_outcome_release(&answer->outcome);
	json_decref(answer->tool_calls);
	answer->tool_calls = NULL;
}

/* An array without elements counts as no tool calls. */
static void keep_calls(struct dialect_answer *out, json_t *calls)
{
	json_decref(out->tool_calls);
	out->tool_calls = NULL;
	if (json_array_size(calls))
		out->tool_calls = calls;
	else
		json_decref(calls);
}

static enum err_code check_outcome(const struct dialect_answer *answer, struct err *err)
{
	const struct dialect_outcome *outcome = &answer->outcome;
	if (outcome->failed)
		return ERR_SET(err, ERR_PROTOCOL, "the provider ended the answer with an error");
	if (outcome->malformed)
		return ERR_SET(err, ERR_PROTOCOL, "the answer is not one of its dialect");
	if (!outcome->complete)
		return ERR_SET(err, ERR_PROTOCOL, "the answer was cut off before its end");
	if (answer->text.failed)
		return ERR_SET(err, ERR_TOO_LARGE, "the answer's text is longer than %zu bytes",
			       answer->text.max);
	return ERR_OK;
}

enum err_code dialect_answer_read(enum dialect_id dialect, struct bytes body,
				  struct dialect_answer *out, struct err *err)
{
	json_t *calls = json_array();
	dialect_outcome_release(&out->outcome);
	dialect_observe_body(dialect, body, bytes_of("", 0), &out->outcome, &out->text, calls, NULL,
			     NULL);
	keep_calls(out, calls);
	return check_outcome(out, err);
}

enum err_code dialect_answer_finish(struct dialect_observer *observer, struct dialect_answer *out,
				    struct err *err)
{
	json_t *calls = json_array();
	if (!calls || !list_calls(observer, calls))
		observer->outcome.malformed = true;
	keep_calls(out, calls);
	dialect_outcome_release(&out->outcome);
	out->outcome = dialect_outcome_copy(&observer->outcome);
	return check_outcome(out, err);
}

enum err_code dialect_answer_read_stream(enum dialect_id dialect, struct bytes body,
					 struct dialect_answer *out, struct err *err)
{
	struct dialect_observer observer;
	struct dialect_flow flow;
	dialect_observer_init(&observer, dialect, bytes_of(NULL, 0), false, &out->text);
	if (body.size > 0)
		dialect_observer_feed(&observer, body.data, body.size, &flow);
	dialect_observer_end(&observer, &flow);
	enum err_code code = dialect_answer_finish(&observer, out, err);
	dialect_observer_release(&observer);
	return code;
}
