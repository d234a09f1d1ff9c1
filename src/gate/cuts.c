/* A new world on a worker, and what it ends.
 *
 * With thousands of streams the order matters (DESIGN.md section 5): each client is to have its
 * error event within milliseconds, and closing an upstream's connection takes longer than telling a
 * client. So in the turn in which the new world arrives every stream that is under way is marked
 * and its client told, in one write of bytes that were made once; no byte of its answer is relayed
 * any more, and the act may be answered. Closing the calls, settling and what else follows is done
 * in the turns after that, some at a time, so that others' streams are carried on meanwhile. */
#include "gate/gateway.h"
#include "gate/request.h"

#include <stddef.h>

#define EVENTS_KEPT 8
#define EVENT_MAX 65536
#define ENDED_AT_ONCE 32

/* What is told to the holders of one key under one cut, in one dialect. */
struct cut_event {
	const struct control_cut *cut; /* NULL: none yet */
	const struct world_key *key;
	enum dialect_id dialect;
	enum purpose purpose;
	struct buf bytes;
};

struct cuts {
	const struct world *world; /* the new one */
	const struct control_cut *cuts;
	size_t count;
	bool observe; /* only what concerns keys is enforced */
	struct cut_event events[EVENTS_KEPT];
	unsigned next_event; /* the oldest */
};

/* ---- whom it concerns ---- */

/* The new world tells whether it may go on: the block is in force for its grant and purpose. */
static bool is_blocked(const struct world *world, const char *org,
		       const struct gate_answered *whose)
{
	const struct world_grant *grant = world_find_grant(world, bytes_from(whose->grant));
	return grant && policy_blocks_affiliate(grant, whose->purpose) &&
	       strcmp(grant->affiliation->blocked->id, org) == 0;
}

static bool concerns(const struct control_cut *cut, const struct world *world,
		     const struct gate_answered *whose)
{
	switch (cut->kind) {
	case CONTROL_CUT_KEY:
		return strcmp(cut->id, whose->key) == 0;
	case CONTROL_CUT_GRANT:
		return strcmp(cut->id, whose->grant) == 0;
	case CONTROL_CUT_ORG:
		return strcmp(cut->id, whose->org) == 0;
	case CONTROL_CUT_AFFILIATES:
		return is_blocked(world, cut->id, whose);
	}
	return false;
}

static const struct control_cut *find_cut(const struct cuts *cuts,
					  const struct gate_answered *whose)
{
	for (size_t i = 0; i < cuts->count; i++)
		if (concerns(&cuts->cuts[i], cuts->world, whose) &&
		    (!cuts->observe || cuts->cuts[i].kind == CONTROL_CUT_KEY))
			return &cuts->cuts[i];
	return NULL;
}

static const struct control_cut *cut_of(const struct cuts *cuts, const struct gate_request *request)
{
	const struct gate_terms *verdict = &request->terms;
	if (!request->admitted || request->told)
		return NULL;
	struct gate_answered whose = {verdict->key->id, verdict->grant->id, verdict->grant->org->id,
				      verdict->purpose};
	return find_cut(cuts, &whose);
}

/* An answer that is over but for what its client has not read. */
static bool is_cut_answer(const struct http_exchange *exchange, void *argument)
{
	const struct gate_answered *whose = exchange->user;
	return whose && !gateway_is_own_path(exchange) && find_cut(argument, whose);
}

/* ---- what clients are told ---- */

/* The refusal that the same request would meet now, with the rule, the clause and the appeal, and
 * the reason as it was given. Returns its rule; RULE_NONE where only the reason can be told, or
 * nothing. */
static enum rule write_message(const struct gate_request *request, const struct control_cut *cut,
			       struct buf *out)
{
	const struct world_key *key = request->terms.key;
	struct policy_request facts = {.has_key = true,
				       .wall_ms = request->worker->loop->wall_ms,
				       .sender = sender_facts_for(&key->sender)};
	struct verdict verdict;
	memcpy(facts.key_digest, key->digest, sizeof(facts.key_digest));
	policy_authenticate(request->worker->world, &facts, &verdict);
	bool affiliate = cut->kind == CONTROL_CUT_AFFILIATES;
	if (affiliate && verdict.outcome == POLICY_ADMIT)
		policy_refuse_affiliate(&verdict);
	if (verdict.outcome != POLICY_REFUSE) {
		buf_append_cstr(out, cut->reason ? cut->reason : "");
		return RULE_NONE;
	}
	/* An affiliate is told the reason where the links are public, which policy knows. */
	if (!affiliate && cut->reason && cut->reason[0])
		policy_refuse(&verdict, verdict.rule, cut->reason);
	policy_message(&verdict, out);
	return verdict.rule;
}

static void cut_request(struct gate_request *request, const struct control_cut *cut)
{
	struct arena *arena = gate_request_arena(request);
	struct buf text = BUF_INIT(4096);
	write_message(request, cut, &text);
	const char *reason = arena && text.size ? arena_copy(arena, buf_bytes(&text)) : NULL;
	buf_release(&text);
	gate_request_cut(request, RECORD_ENDING_REVOKED, reason);
}

/* What stands in the way of one sender alone is not what others are told. */
static bool is_for_all(enum rule rule)
{
	return rule != RULE_KEY_BINDING && rule != RULE_KEY_NETWORK;
}

/* The bytes stay valid until the next call. Empty where memory is out or there is nothing to tell.
 */
static struct bytes event_of(struct cuts *cuts, const struct gate_request *request,
			     const struct control_cut *cut)
{
	const struct gate_terms *verdict = &request->terms;
	for (unsigned i = 0; i < EVENTS_KEPT; i++) {
		const struct cut_event *event = &cuts->events[i];
		if (event->cut == cut && event->key == verdict->key &&
		    event->dialect == request->dialect && event->purpose == verdict->purpose)
			return buf_bytes(&event->bytes);
	}
	struct cut_event *event = &cuts->events[cuts->next_event++ % EVENTS_KEPT];
	struct buf message = BUF_INIT(4096);
	enum rule rule = write_message(request, cut, &message);
	event->bytes.max = EVENT_MAX;
	event->bytes.failed = false;
	buf_clear(&event->bytes);
	if (message.size && !message.failed)
		gate_revoked_event(request->dialect, message.data, &event->bytes);
	if (event->bytes.failed)
		buf_clear(&event->bytes);
	event->cut = is_for_all(rule) ? cut : NULL;
	event->key = verdict->key;
	event->dialect = request->dialect;
	event->purpose = verdict->purpose;
	buf_release(&message);
	return buf_bytes(&event->bytes);
}

/* ---- the rest, in later turns ---- */

static void end_some(struct env_message *message);

static void post_rest(struct gate_worker *worker)
{
	if (!worker->told || worker->told_posted)
		return;
	worker->told_posted = true;
	worker->told_message.run = end_some;
	env_post(worker->loop, &worker->told_message);
}

static void end_some(struct env_message *message)
{
	struct gate_worker *worker =
		(struct gate_worker *)((char *)message -
				       offsetof(struct gate_worker, told_message));
	worker->told_posted = false;
	for (unsigned i = 0; i < ENDED_AT_ONCE && worker->told; i++) {
		struct gate_request *request = worker->told;
		worker->told = request->next_told;
		gate_request_end_told(request);
	}
	post_rest(worker);
}

void gate_request_end_told(struct gate_request *request)
{
	request->told = false;
	if (request->calling)
		http_call_cancel(&request->call);
	request->calling = false;
	gate_request_run(request);
}

static void end_later(struct gate_worker *worker, struct gate_request *request)
{
	request->next_told = NULL;
	if (worker->told)
		worker->last_told->next_told = request;
	else
		worker->told = request;
	worker->last_told = request;
}

/* ---- the whole ---- */

static void tell_streams(struct gate_worker *worker, struct cuts *cuts)
{
	for (struct gate_request *request = worker->first; request; request = request->next) {
		const struct control_cut *cut =
			request->answer == ANSWER_STREAM ? cut_of(cuts, request) : NULL;
		struct bytes event = cut ? event_of(cuts, request, cut) : bytes_of("", 0);
		if (event.size && gate_request_tell_revoked(request, event))
			end_later(worker, request);
	}
	for (unsigned i = 0; i < EVENTS_KEPT; i++)
		buf_release(&cuts->events[i].bytes);
}

static void cut_others(struct gate_worker *worker, const struct cuts *cuts)
{
	for (struct gate_request *request = worker->first, *next; request; request = next) {
		const struct control_cut *cut = cut_of(cuts, request);
		next = request->next;
		if (cut)
			cut_request(request, cut);
	}
}

void gate_worker_publish(struct gate_worker *worker, struct world *world,
			 const struct control_cut *cuts, size_t cut_count)
{
	struct cuts all = {
		.world = world, .cuts = cuts, .count = cut_count, .observe = worker->observe};
	gate_submit_waiting(worker); /* what was decided in the old world is under way now */
	world_drop(worker->world);
	worker->world = world;
	if (cut_count == 0)
		return;
	tell_streams(worker, &all);
	cut_others(worker, &all);
	http_server_cut_unsent(worker->server, is_cut_answer, &all);
	post_rest(worker);
}
