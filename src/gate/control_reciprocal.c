#include "gate/control_reciprocal.h"

#include "gate/outward.h"

#include <stdio.h>
#include <stdlib.h>

#define SECOND_NS UINT64_C(1000000000)
#define ACTIVE_MAX 8
#define ATTEMPT_NS (15 * SECOND_NS)
#define PAUSE_MAX_NS (900 * SECOND_NS)
#define ANSWER_MAX 65536
#define SKEW_MS INT64_C(300000)      /* between two gateways' clocks */
#define LIFETIME_MS INT64_C(3600000) /* no status is believed for longer */
#define PROBLEM_SIZE 256

/* The other side of one of our grants. */
struct partner {
	struct partner *next;
	struct reciprocator *reciprocator;
	char *id;    /* of our grant */
	json_t *tie; /* {gateway, grant, key} */
	bool kept;   /* while the list is brought up to date */
	bool calling;
	unsigned failures; /* one after another */
	uint64_t next_ns;
	int status;
	struct buf head, answer;
	struct http_call call;
	/* What it said last, verified; state GRANT_STATE_COUNT: nothing yet. */
	enum grant_state state;
	bool mutual;
	int64_t as_of_ms, until_ms;
	char problem[PROBLEM_SIZE]; /* of the last attempt; "": none */
};

struct reciprocator {
	struct control *control;
	struct outward outward;
	struct partner *partners;
	unsigned active;
	struct env_timer timer;
	struct env_message message;
	bool posted, armed, stopped;
	bool fresh; /* grants may have changed since the list was made */
};

/* ---- the list ---- */

static void free_partner(struct partner *partner)
{
	free(partner->id);
	json_decref(partner->tie);
	buf_release(&partner->head);
	buf_release(&partner->answer);
	free(partner);
}

static struct partner *find_partner(const struct reciprocator *reciprocator, const char *id)
{
	struct partner *partner = reciprocator->partners;
	while (partner && strcmp(partner->id, id) != 0)
		partner = partner->next;
	return partner;
}

static bool add_partner(struct reciprocator *reciprocator, const char *id, json_t *tie)
{
	struct partner *partner = calloc(1, sizeof(*partner));
	if (!partner)
		return false;
	*partner = (struct partner){.reciprocator = reciprocator,
				    .id = bytes_to_cstr(bytes_from(id)),
				    .tie = json_incref(tie),
				    .kept = true,
				    .head = BUF_INIT(8192),
				    .answer = BUF_INIT(ANSWER_MAX),
				    .state = GRANT_STATE_COUNT,
				    .next = reciprocator->partners};
	if (!partner->id) {
		free_partner(partner);
		return false;
	}
	reciprocator->partners = partner;
	return true;
}

static void keep_partner(struct reciprocator *reciprocator, const char *id, json_t *tie)
{
	struct partner *partner = find_partner(reciprocator, id);
	if (partner && json_equal(partner->tie, tie))
		partner->kept = true;
	else if (!add_partner(reciprocator, id, tie))
		reciprocator->fresh = true; /* once more at the next turn */
}

static void drop_partner(struct partner *partner)
{
	if (partner->calling) {
		http_call_cancel(&partner->call);
		partner->reciprocator->active--;
	}
	free_partner(partner);
}

/* Partners of grants that are there no longer, or are tied to another one, go. */
static void update_list(struct reciprocator *reciprocator)
{
	const char *id;
	json_t *document;
	if (!reciprocator->fresh)
		return;
	reciprocator->fresh = false;
	for (struct partner *partner = reciprocator->partners; partner; partner = partner->next)
		partner->kept = false;
	json_object_foreach(reciprocator->control->documents[STORE_GRANT], id, document)
	{
		json_t *tie = json_object_get(control_spec_of(document), "reciprocal_of");
		if (json_is_object(tie) && strcmp(control_state_of(document), "revoked") != 0)
			keep_partner(reciprocator, id, tie);
	}
	struct partner **place = &reciprocator->partners;
	while (*place) {
		struct partner *partner = *place;
		if (partner->kept) {
			place = &partner->next;
			continue;
		}
		*place = partner->next;
		drop_partner(partner);
	}
}

/* ---- what it says ---- */

/* "2026-11-01T12:00:00.123Z" */
static bool read_time(const char *text, int64_t *out)
{
	uint64_t hours, minutes, seconds;
	if (strlen(text) != RECORD_TIME_SIZE - 1 || text[10] != 'T' || text[23] != 'Z' ||
	    !world_parse_day(bytes_of(text, 10), out) ||
	    !bytes_to_u64(bytes_of(text + 11, 2), 23, &hours) ||
	    !bytes_to_u64(bytes_of(text + 14, 2), 59, &minutes) ||
	    !bytes_to_u64(bytes_of(text + 17, 2), 59, &seconds))
		return false;
	*out += (int64_t)((hours * 60 + minutes) * 60 + seconds) * 1000;
	return true;
}

/* Whether the other side names our grant and our key. */
static bool is_mutual(const struct partner *partner, const json_t *body)
{
	const struct paper_signer *signer = &partner->reciprocator->control->signer;
	uint8_t key[ED25519_KEY_SIZE];
	return strcmp(json_text(body, "reciprocal_of"), partner->id) == 0 &&
	       paper_read_key(json_text(body, "reciprocal_key"), key) &&
	       memcmp(key, signer->verifier.public_key, sizeof(key)) == 0;
}

static enum err_code read_body(struct partner *partner, const json_t *body, struct err *err)
{
	int64_t now = partner->reciprocator->control->loop->wall_ms, time, until;
	enum grant_state state;
	if (strcmp(json_text(body, "grant"), json_text(partner->tie, "grant")) != 0)
		return ERR_SET(err, ERR_MISMATCH, "its status is of another grant");
	if (!grant_state_find(bytes_from(json_text(body, "state")), &state) ||
	    !read_time(json_text(body, "time"), &time) ||
	    !read_time(json_text(body, "until"), &until))
		return ERR_SET(err, ERR_INVALID, "its status cannot be read");
	if (time > now + SKEW_MS || until + SKEW_MS < now)
		return ERR_SET(err, ERR_MISMATCH,
			       "its status is not of now (%s); are both clocks right?",
			       json_text(body, "time"));
	if (time < partner->as_of_ms)
		return ERR_SET(err, ERR_MISMATCH, "its status is older than the one before");
	partner->state = state;
	partner->mutual = is_mutual(partner, body);
	partner->as_of_ms = time;
	partner->until_ms = until < time + LIFETIME_MS ? until : time + LIFETIME_MS;
	return ERR_OK;
}

static enum err_code read_answer(struct partner *partner, struct err *err)
{
	struct note_key key;
	struct paper paper;
	if (partner->status != 200)
		return ERR_SET(err, ERR_UPSTREAM, "it answered with status %d", partner->status);
	ERR_TRY(note_key_parse(bytes_from(json_text(partner->tie, "key")), &key, err));
	ERR_TRY(paper_open(buf_bytes(&partner->answer), "its status", PAPER_STATUS, &key, &paper,
			   err));
	enum err_code code = read_body(partner, paper.body, err);
	paper_release(&paper);
	return code;
}

/* ---- asking ---- */

static void post_work(struct reciprocator *reciprocator)
{
	if (reciprocator->posted)
		return;
	reciprocator->posted = true;
	env_post(reciprocator->control->loop, &reciprocator->message);
}

/* The poll's interval, doubled for each failure, and a quarter to either side by chance. */
static void set_next(struct partner *partner)
{
	struct control *control = partner->reciprocator->control;
	uint64_t pause = outward_backoff(control->config->reciprocal.poll_ns, partner->failures,
					 PAUSE_MAX_NS);
	partner->next_ns = control->loop->now_ns + outward_spread(control->env, pause);
}

static void attempt_over(struct partner *partner, enum err_code code, const struct err *err)
{
	partner->problem[0] = '\0';
	if (code == ERR_OK) {
		partner->failures = 0;
	} else {
		partner->failures++;
		snprintf(partner->problem, sizeof(partner->problem), "%.200s", err->message);
	}
	buf_release(&partner->head);
	buf_release(&partner->answer);
	set_next(partner);
	post_work(partner->reciprocator);
}

static void call_head(struct http_call *call, const struct http_head *head, struct bytes bytes)
{
	struct partner *partner = call->user;
	(void)bytes;
	partner->status = head->status;
}

static void call_body(struct http_call *call, struct bytes piece)
{
	struct partner *partner = call->user;
	buf_append_bytes(&partner->answer, piece);
}

static void call_ended(struct http_call *call, const struct err *ended)
{
	struct partner *partner = call->user;
	struct err err = *ended;
	enum err_code code = err.code;
	partner->calling = false;
	partner->reciprocator->active--;
	if (code == ERR_OK && partner->answer.failed)
		code = ERR_SET(&err, ERR_TOO_LARGE, "its answer is too long");
	if (code == ERR_OK)
		code = read_answer(partner, &err);
	attempt_over(partner, code, &err);
}

static enum err_code start_call(struct partner *partner, struct err *err)
{
	static const struct bytes name = {"user-agent", 10};
	const struct bytes value = BYTES("parley/" PARLEY_VERSION);
	struct reciprocator *reciprocator = partner->reciprocator;
	struct control *control = reciprocator->control;
	struct http_origin *origin;
	struct buf path = BUF_INIT(4096);
	ERR_TRY(outward_origin(&reciprocator->outward, control,
			       bytes_from(json_text(partner->tie, "gateway")),
			       control->config->reciprocal.authorities.text, &origin, err));
	buf_append_bytes(&path, http_origin_base_path(origin));
	buf_printf(&path, "/parley/v1/grants/%s/status", json_text(partner->tie, "grant"));
	http_write_request_head(&partner->head, "GET", buf_bytes(&path),
				http_origin_authority(origin), &name, &value, 1, -1);
	bool good = !path.failed && !partner->head.failed;
	buf_release(&path);
	if (!good)
		return ERR_SET(err, ERR_NO_MEMORY, "no memory to ask for a status");
	partner->status = 0;
	partner->call = (struct http_call){.parts = {{partner->head.data, partner->head.size}},
					   .part_count = 1,
					   .first_byte_ns = ATTEMPT_NS,
					   .idle_ns = ATTEMPT_NS,
					   .user = partner,
					   .head = call_head,
					   .body = call_body,
					   .ended = call_ended};
	partner->calling = true;
	reciprocator->active++;
	http_call_start(origin, &partner->call);
	return ERR_OK;
}

/* Asks whoever is due and sleeps until the next is. */
static void work(struct reciprocator *reciprocator)
{
	struct env_loop *loop = reciprocator->control->loop;
	uint64_t next_ns = UINT64_MAX;
	if (reciprocator->stopped)
		return;
	update_list(reciprocator);
	bool ready = outward_ready(&reciprocator->outward, reciprocator->active);
	for (struct partner *partner = reciprocator->partners; partner; partner = partner->next) {
		struct err err = ERR_INIT;
		if (partner->calling)
			continue;
		if (partner->next_ns > loop->now_ns) {
			next_ns = partner->next_ns < next_ns ? partner->next_ns : next_ns;
		} else if (ready && reciprocator->active < ACTIVE_MAX) {
			enum err_code code = start_call(partner, &err);
			if (code != ERR_OK)
				attempt_over(partner, code, &err);
		}
	}
	if (reciprocator->armed)
		env_timer_disarm(loop, &reciprocator->timer);
	reciprocator->armed =
		next_ns != UINT64_MAX && env_timer_arm(loop, &reciprocator->timer, next_ns);
}

static void work_posted(struct env_message *message)
{
	struct reciprocator *reciprocator =
		(struct reciprocator *)((char *)message - offsetof(struct reciprocator, message));
	reciprocator->posted = false;
	work(reciprocator);
}

static void timer_fired(struct env_timer *timer)
{
	struct reciprocator *reciprocator =
		(struct reciprocator *)((char *)timer - offsetof(struct reciprocator, timer));
	reciprocator->armed = false;
	work(reciprocator);
}

/* ---- the whole ---- */

struct reciprocator *reciprocator_new(struct control *control)
{
	struct reciprocator *reciprocator = calloc(1, sizeof(*reciprocator));
	if (!reciprocator)
		return NULL;
	reciprocator->control = control;
	reciprocator->message.run = work_posted;
	reciprocator->timer.fire = timer_fired;
	return reciprocator;
}

void reciprocator_stop(struct reciprocator *reciprocator)
{
	reciprocator->stopped = true;
	if (reciprocator->armed)
		env_timer_disarm(reciprocator->control->loop, &reciprocator->timer);
	reciprocator->armed = false;
	for (struct partner *partner = reciprocator->partners; partner; partner = partner->next) {
		if (partner->calling)
			http_call_cancel(&partner->call);
		partner->calling = false;
	}
	reciprocator->active = 0;
}

void reciprocator_free(struct reciprocator *reciprocator)
{
	if (!reciprocator)
		return;
	reciprocator_stop(reciprocator);
	while (reciprocator->partners) {
		struct partner *partner = reciprocator->partners;
		reciprocator->partners = partner->next;
		drop_partner(partner);
	}
	outward_release(&reciprocator->outward);
	free(reciprocator);
}

void reciprocator_wake(struct reciprocator *reciprocator)
{
	reciprocator->fresh = true;
	post_work(reciprocator);
}

bool reciprocator_view(const struct reciprocator *reciprocator, json_t *view, const char *id)
{
	const struct partner *partner = find_partner(reciprocator, id);
	char time[RECORD_TIME_SIZE];
	if (!partner)
		return true;
	bool known = partner->state != GRANT_STATE_COUNT;
	bool stale = !known || partner->until_ms < reciprocator->control->loop->wall_ms;
	/* What it said last is believed until that says itself; from then on it is history. */
	json_t *shown =
		json_pack("{s:s, s:s, s:s, s:b}", "gateway", json_text(partner->tie, "gateway"),
			  "grant", json_text(partner->tie, "grant"), "state",
			  stale ? "unknown" : grant_state_id(partner->state), "stale", stale);
	bool good = shown != NULL;
	if (good && known) {
		int64_t age_ms = reciprocator->control->loop->wall_ms - partner->as_of_ms;
		record_time(partner->as_of_ms, time);
		good = json_set(shown, "as_of", json_string(time)) &&
		       json_set(shown, "age_s", json_integer(age_ms > 0 ? age_ms / 1000 : 0)) &&
		       json_set(shown, "mutual", json_boolean(partner->mutual));
	}
	if (good && known && stale)
		good = json_set(shown, "last_state", json_string(grant_state_id(partner->state)));
	if (good && *partner->problem)
		good = json_object_set_new(shown, "problem", json_string(partner->problem)) == 0;
	good = good && json_object_set(view, "reciprocal", shown) == 0;
	json_decref(shown);
	return good;
}
