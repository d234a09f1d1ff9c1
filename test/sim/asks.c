/* What users ask, and what may come back. */
#include "town.h"

#include <stdio.h>
#include <stdlib.h>

#define OPENAI(stream, tokens, words)                                              \
	"{\"model\":\"m-o\",\"messages\":[{\"role\":\"user\",\"content\":\"" words \
	"\"}],\"max_tokens\":" tokens stream "}"
#define OPENAI_STREAM ",\"stream\":true,\"stream_options\":{\"include_usage\":true}"
#define ANTHROPIC(stream, tokens, words)                   \
	"{\"model\":\"m-a\",\"max_tokens\":" tokens stream \
	",\"messages\":[{\"role\":\"user\",\"content\":\"" words "\"}]}"
#define ANTHROPIC_STREAM ",\"stream\":true"

const struct question questions[QUESTIONS] = {
	{DIALECT_OPENAI,    false, OPENAI("",                  "8",    "a few words")       },
	{DIALECT_OPENAI,    false, OPENAI("",                  "700",  "many words")        },
	{DIALECT_OPENAI,    true,  OPENAI(OPENAI_STREAM,       "5",    "few, as they come") },
	{DIALECT_OPENAI,    true,  OPENAI(OPENAI_STREAM,       "1600", "many, as they come")},
	{DIALECT_ANTHROPIC, false, ANTHROPIC("",               "60",   "a page")            },
	{DIALECT_ANTHROPIC, true,  ANTHROPIC(ANTHROPIC_STREAM, "9",    "a line")            },
	{DIALECT_ANTHROPIC, true,  ANTHROPIC(ANTHROPIC_STREAM, "1600", "a whole book")      },
};
void town_violates(struct town *town, const char *violation)
{
	if (!town->violation)
		town->violation = violation;
}

/* ---- asking ---- */

static void ask_head(struct http_call *call, const struct http_head *head, struct bytes bytes)
{
	struct ask *ask = call->user;
	struct bytes record = http_known(head, bytes.data, HTTP_FIELD_PARLEY_RECORD);
	struct bytes type = http_known(head, bytes.data, HTTP_FIELD_CONTENT_TYPE);
	ask->status = head->status;
	if (record.size == RECORD_ID_SIZE)
		memcpy(ask->record, record.data, RECORD_ID_SIZE);
	if (head->status == 200 && bytes_starts_with(type, BYTES("text/event-stream"))) {
		ask->observing = true;
		dialect_observer_init(&ask->observer, ask->question->dialect, BYTES(""), false,
				      &ask->text);
	}
}

static void ask_body(struct http_call *call, struct bytes piece)
{
	struct ask *ask = call->user;
	struct dialect_flow flow;
	if (ask->observing)
		dialect_observer_feed(&ask->observer, piece.data, piece.size, &flow);
	else
		buf_append_bytes(&ask->body, piece);
}

/* The text of a plain answer goes where a stream's is. */
void ask_read_plain(struct ask *ask)
{
	struct dialect_answer answer;
	dialect_answer_init(&answer, (size_t)1 << 20);
	if (dialect_answer_read(ask->question->dialect, buf_bytes(&ask->body), &answer, NULL) ==
	    ERR_OK) {
		buf_append_bytes(&ask->text, buf_bytes(&answer.text));
		ask->usage = answer.outcome.usage;
	} else
		town_violates(ask->town, "a plain answer that is none");
	dialect_answer_release(&answer);
}

static void keep_record(struct ask *ask, bool settled)
{
	struct town *town = ask->town;
	if (!ask->record[0]) {
		town_violates(town, "an answer without a record's id");
		return;
	}
	if (town->kept_count == KEPT_MAX)
		return;
	struct kept *kept = &town->kept[town->kept_count++];
	memcpy(kept->id, ask->record, sizeof(kept->id));
	kept->settled = settled;
	sim_note(town->sim, kept, sizeof(*kept));
}

static void check_text(struct ask *ask, bool whole)
{
	struct town *town = ask->town;
	const struct buf *said = &town->texts[ask->place];
	bool equal = whole ? ask->text.size == said->size : ask->text.size <= said->size;
	if (!equal || (ask->text.size && memcmp(ask->text.data, said->data, ask->text.size) != 0))
		town_violates(town, whole ? "an answer is not what the stand-in said"
					  : "a part of an answer is not its beginning");
}

/* What may come instead: limits, a log that fails, a key that was revoked meanwhile (before the
 * command that does so has returned, too) or that a gateway started again does not know. */
static bool is_other_refusal(const struct ask *ask)
{
	if (ask->manner == WITH_OTHER_WORDS && ask->status == 503)
		return true;
	return ask->status == 429 ||
	       (ask->status == 401 && (ask->keys_ended != ask->town->keys_ended ||
				       ask->town->errand == REVOKING));
}

void ask_check(struct ask *ask, bool ended)
{
	static const int expected[MANNERS] = {[WITH_A_WRONG_KEY] = 401,
					      [FOR_AN_UNKNOWN_MODEL] = 404,
					      [WITH_A_REVOKED_KEY] = 401,
					      [WITH_OTHER_WORDS] = 403};
	struct town *town = ask->town;
	struct dialect_flow flow;
	bool whole = ended;
	if (ask->manner != PROPERLY) {
		if (ended && ask->status != expected[ask->manner] && !is_other_refusal(ask))
			town_violates(town, "who must be refused was not");
		town->refused += ended;
		return;
	}
	if (ask->status != 200)
		return;
	if (ask->observing) {
		dialect_observer_end(&ask->observer, &flow);
		whole = ask->observer.outcome.complete;
		if (whole && ask->observer.outcome.failed)
			town_violates(town, "a stream is complete and failed at once");
	} else if (ended) {
		ask_read_plain(ask);
	}
	keep_record(ask, ended || whole);
	if (ask->observing || ended)
		check_text(ask, whole);
	agreement_check_cut(ask);
	town->answered += whole;
}

static void ask_ended(struct http_call *call, const struct err *err)
{
	struct ask *ask = call->user;
	ask->err = *err;
	ask->over(ask);
}

void ask_release(struct ask *ask)
{
	if (ask->observing)
		dialect_observer_release(&ask->observer);
	ask->observing = false;
	buf_release(&ask->head);
	buf_release(&ask->body);
	buf_release(&ask->text);
}

/* `over` is called when call->ended was; the outcome is in the call. */
void ask_start(struct ask *ask, struct town *town, size_t place, enum manner manner,
	       struct http_origin *origin, void (*over)(struct ask *ask))
{
	const struct question *question = &questions[place];
	struct bytes names[1] = {BYTES("authorization")}, values[1];
	char bearer[160];
	const char *body = question->body;
	const char *key = manner == WITH_A_WRONG_KEY     ? "plk_of_somebody_else"
			  : manner == WITH_A_REVOKED_KEY ? town->revoked_key
							 : town->key;
	*ask = (struct ask){.town = town,
			    .question = question,
			    .place = place,
			    .manner = manner,
			    .over = over,
			    .keys_ended = town->keys_ended};
	buf_init(&ask->head, 4096);
	buf_init(&ask->body, (size_t)1 << 20);
	buf_init(&ask->text, (size_t)1 << 20);
	snprintf(bearer, sizeof(bearer), "Bearer %s", key);
	values[0] = bytes_from(bearer);
	if (manner == FOR_AN_UNKNOWN_MODEL) {
		snprintf(ask->model_body, sizeof(ask->model_body), "%s", body);
		memcpy(strstr(ask->model_body, "\"m-"), "\"x-", 3);
		body = ask->model_body;
	}
	if (manner == WITH_OTHER_WORDS) {
		snprintf(ask->model_body, sizeof(ask->model_body), "%s", body);
		strstr(ask->model_body, "\"content\":\"")[11] = 'Z';
		body = ask->model_body;
	}
	http_write_request_head(
		&ask->head, "POST", bytes_from(dialect_endpoint_of(question->dialect, false)->path),
		http_origin_authority(origin), names, values, 1, (int64_t)strlen(body));
	ask->call = (struct http_call){
		.parts = {{ask->head.data, ask->head.size}, {(void *)body, strlen(body)}},
		.part_count = 2,
		.first_byte_ns = 20 * SECOND,
		.idle_ns = 20 * SECOND,
		.user = ask,
		.head = ask_head,
		.body = ask_body,
		.ended = ask_ended,
	};
	http_call_start(origin, &ask->call);
}
