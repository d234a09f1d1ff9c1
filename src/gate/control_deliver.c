#include "gate/control_deliver.h"

#include "gate/control_notice.h"
#include "gate/notify.h"
#include "gate/outward.h"

#include <stdio.h>
#include <stdlib.h>

#define SECOND_NS UINT64_C(1000000000)
#define ACTIVE_MAX 8
#define ATTEMPT_NS (15 * SECOND_NS)
#define MAIL_NS (60 * SECOND_NS)
#define PAUSE_MAX_S UINT64_C(3600)
#define LIFETIME_MS INT64_C(172800000)
#define BODY_MAX ((size_t)1 << 20)
#define PROBLEM_SIZE 256

/* One organisation's notices, oldest first, and the attempt to send the first of them. */
struct queue {
	struct queue *next;
	struct deliverer *deliverer;
	char *org;
	json_t *ids;         /* of the notices */
	unsigned attempts;   /* at the first one */
	uint64_t next_ns;    /* of the next attempt */
	bool calling;        /* `call` is under way */
	bool active;         /* an attempt, or the record of its outcome, is under way */
	const char *outcome; /* "delivered" or "failed", not recorded yet; NULL: none */
	enum notify_channel channel;
	int status; /* of the last attempt: HTTP, or the exit status */
	char problem[PROBLEM_SIZE];
	struct buf head, body;
	struct http_call call;
	struct env_process process;
	const char *argv[7];
};

struct deliverer {
	struct control *control;
	struct outward outward;
	unsigned active;
	struct queue *queues, **end;
	struct env_timer timer;
	struct env_message message;
	bool posted, armed;
	bool fresh;   /* documents may be there that are in no queue */
	bool stopped; /* nothing more is sent */
};

static void work(struct deliverer *deliverer);

/* ---- queues ---- */

static void free_queue(struct queue *queue)
{
	free(queue->org);
	json_decref(queue->ids);
	buf_release(&queue->head);
	buf_release(&queue->body);
	free(queue);
}

static struct queue *find_queue(struct deliverer *deliverer, const char *org)
{
	struct queue *queue = deliverer->queues;
	while (queue && strcmp(queue->org, org) != 0)
		queue = queue->next;
	return queue;
}

static struct queue *add_queue(struct deliverer *deliverer, const char *org)
{
	struct queue *queue = calloc(1, sizeof(*queue));
	if (!queue)
		return NULL;
	queue->deliverer = deliverer;
	queue->org = bytes_to_cstr(bytes_from(org));
	queue->ids = json_array();
	buf_init(&queue->head, BODY_MAX);
	buf_init(&queue->body, BODY_MAX);
	if (!queue->org || !queue->ids) {
		free_queue(queue);
		return NULL;
	}
	*deliverer->end = queue;
	deliverer->end = &queue->next;
	return queue;
}

/* Notices that are in no queue yet: those that were added since, at the end of the documents. What
 * cannot be queued for want of memory is found again at the next turn. */
static void collect(struct deliverer *deliverer)
{
	struct control *control = deliverer->control;
	const char *id;
	json_t *document;
	if (!deliverer->fresh)
		return;
	json_object_foreach(control->documents[STORE_NOTICE], id, document)
	{
		if (strcmp(control_state_of(document), "pending") != 0 ||
		    json_object_get(document, "queued"))
			continue;
		const char *org = json_text(control_spec_of(document), "org");
		struct queue *queue = find_queue(deliverer, org);
		if (!queue)
			queue = add_queue(deliverer, org);
		if (!queue || json_array_append_new(queue->ids, json_string(id)))
			return;
		/* In memory only: the stored text was made before. */
		json_object_set_new(document, "queued", json_true());
	}
	deliverer->fresh = false;
}

static const char *first_id(const struct queue *queue)
{
	return json_string_value(json_array_get(queue->ids, 0));
}

static void remove_empty(struct deliverer *deliverer)
{
	struct queue **place = &deliverer->queues;
	while (*place) {
		struct queue *queue = *place;
		if (queue->active || json_array_size(queue->ids) > 0) {
			place = &queue->next;
			continue;
		}
		*place = queue->next;
		free_queue(queue);
	}
	deliverer->end = place;
}

/* ---- outcomes ---- */

static void forget(struct control *control, const char *id)
{
	store_erase(control->store, STORE_NOTICE, id, NULL); /* else at the next start */
	json_object_del(control->documents[STORE_NOTICE], id);
}

static json_t *outcome_detail(const struct queue *queue, const json_t *spec)
{
	json_t *detail =
		json_pack("{s:s, s:s, s:s, s:i}", "event", json_text(spec, "event"), "notice",
			  first_id(queue), "via", notify_channel_name(queue->channel), "attempts",
			  (int)queue->attempts);
	if (detail && queue->status && strcmp(queue->outcome, "failed") == 0)
		json_object_set_new(detail, "status", json_integer(queue->status));
	return detail;
}

static enum err_code prepare_outcome(struct control_operation *operation, struct err *err)
{
	struct queue *queue = operation->argument;
	struct control *control = operation->control;
	bool delivered = strcmp(queue->outcome, "delivered") == 0;
	json_t *document = json_object_get(control->documents[STORE_NOTICE], first_id(queue));
	json_t *spec = json_object_get(document, "spec");
	if (!spec)
		return ERR_OK;
	json_t *detail = outcome_detail(queue, spec);
	struct control_telling telling = {.kind = RECORD_NOTICE,
					  .act = delivered ? "notice.deliver" : "notice.fail",
					  .reason = delivered || !*queue->problem ? NULL
										  : queue->problem,
					  .detail = detail};
	operation->quiet = true;
	operation->log = control_log_of_grant(control, json_text(spec, "grant"));
	enum err_code code = detail ? control_change_add(operation, STORE_NOTICE, first_id(queue),
							 spec, queue->outcome, &telling, NULL, err)
				    : ERR_SET(err, ERR_NO_MEMORY, "no memory to record a notice");
	json_decref(detail);
	return code;
}

static void post_work(struct deliverer *deliverer)
{
	if (deliverer->posted)
		return;
	deliverer->posted = true;
	env_post(deliverer->control->loop, &deliverer->message);
}

static void pause_queue(struct queue *queue)
{
	struct control *control = queue->deliverer->control;
	uint64_t seconds = PAUSE_MAX_S;
	if (queue->attempts > 0 && queue->attempts < 12)
		seconds = UINT64_C(1) << (queue->attempts - 1);
	queue->next_ns = control->loop->now_ns + outward_spread(control->env, seconds * SECOND_NS);
}

static void finish_outcome(struct control_operation *operation, enum err_code code,
			   const struct err *err)
{
	struct queue *queue = operation->argument;
	struct deliverer *deliverer = queue->deliverer;
	(void)err;
	queue->active = false;
	deliverer->active--;
	if (code == ERR_OK) {
		forget(operation->control, first_id(queue));
		json_array_remove(queue->ids, 0);
		queue->outcome = NULL;
		queue->attempts = 0;
		queue->next_ns = 0;
		queue->problem[0] = '\0';
	} else {
		pause_queue(queue); /* the record is tried again, not the sending */
	}
	post_work(deliverer);
}

static void record_outcome(struct queue *queue)
{
	struct deliverer *deliverer = queue->deliverer;
	struct control_operation *operation = control_operation_new(deliverer->control, queue);
	queue->active = true;
	if (!operation) {
		queue->active = false;
		deliverer->active--;
		pause_queue(queue);
		return;
	}
	operation->prepare = prepare_outcome;
	operation->finish = finish_outcome;
	control_submit(operation);
}

/* An attempt is over: `problem` is "" where the other side has taken the notice. */
static void attempt_over(struct queue *queue)
{
	struct control *control = queue->deliverer->control;
	const json_t *document = control_document(control, STORE_NOTICE, first_id(queue));
	int64_t age_ms = control->loop->wall_ms -
			 control_integer(document, "changed", control->loop->wall_ms);
	buf_release(&queue->head);
	buf_release(&queue->body);
	if (!*queue->problem)
		queue->outcome = "delivered";
	else if (age_ms >= LIFETIME_MS)
		queue->outcome = "failed";
	if (queue->outcome) {
		record_outcome(queue);
		return;
	}
	queue->active = false;
	queue->deliverer->active--;
	pause_queue(queue);
	post_work(queue->deliverer);
}

/* ---- what is sent ---- */

static enum err_code write_body(struct queue *queue, const json_t *spec, struct err *err)
{
	struct control *control = queue->deliverer->control;
	json_t *body = paper_new(&control->signer, PAPER_NOTICE);
	enum err_code code = body && json_object_update(body, (json_t *)spec) == 0
				     ? ERR_OK
				     : ERR_SET(err, ERR_NO_MEMORY, "no memory to send a notice");
	if (code == ERR_OK)
		code = paper_sign(&control->signer, PAPER_NOTICE, body, &queue->body, NULL, err);
	json_decref(body);
	return code;
}

/* ---- webhooks ---- */

static void call_head(struct http_call *call, const struct http_head *head, struct bytes bytes)
{
	struct queue *queue = call->user;
	(void)bytes;
	queue->status = head->status;
}

static void call_body(struct http_call *call, struct bytes piece)
{
	(void)call;
	(void)piece;
}

static void call_ended(struct http_call *call, const struct err *err)
{
	struct queue *queue = call->user;
	queue->calling = false;
	queue->problem[0] = '\0';
	if (queue->status >= 200 && queue->status < 300)
		; /* taken, however the answer ended */
	else if (err->code != ERR_OK)
		snprintf(queue->problem, sizeof(queue->problem), "%.200s", err->message);
	else
		snprintf(queue->problem, sizeof(queue->problem), "it answered with status %d",
			 queue->status);
	attempt_over(queue);
}

/* Where the request goes within the origin: path and query of the URL. */
static enum err_code find_origin(struct queue *queue, const char *address,
				 struct http_origin **origin, struct bytes *target, struct err *err)
{
	struct deliverer *deliverer = queue->deliverer;
	struct control *control = deliverer->control;
	const char *authority = strstr(address, "://") + 3;
	size_t base = (size_t)(authority - address) + strcspn(authority, "/?");
	*target = bytes_from(address + base);
	return outward_origin(&deliverer->outward, control, bytes_of(address, base),
			      control->config->notices.authorities.text, origin, err);
}

static enum err_code start_call(struct queue *queue, const char *address, struct err *err)
{
	static const struct bytes names[] = {
		{"content-type",  12},
                {"user-agent",    10},
                {"parley-notice", 13}
        };
	const struct bytes values[] = {BYTES("application/json"), BYTES("parley/" PARLEY_VERSION),
				       bytes_from(first_id(queue))};
	struct http_origin *origin;
	struct bytes target;
	ERR_TRY(find_origin(queue, address, &origin, &target, err));
	struct buf path = BUF_INIT(8192);
	buf_append_cstr(&path, target.size && target.data[0] == '/' ? "" : "/");
	buf_append_bytes(&path, target);
	http_write_request_head(&queue->head, "POST", buf_bytes(&path),
				http_origin_authority(origin), names, values, 3,
				(int64_t)queue->body.size);
	bool good = !path.failed && !queue->head.failed;
	buf_release(&path);
	if (!good)
		return ERR_SET(err, ERR_NO_MEMORY, "no memory to send a notice");
	queue->status = 0;
	queue->call = (struct http_call){
		.parts = {{queue->head.data, queue->head.size},
			  {queue->body.data, queue->body.size}},
		.part_count = 2,
		.first_byte_ns = ATTEMPT_NS,
		.idle_ns = ATTEMPT_NS,
		.user = queue,
		.head = call_head,
		.body = call_body,
		.ended = call_ended
        };
	queue->calling = true;
	http_call_start(origin, &queue->call);
	return ERR_OK;
}

/* ---- mail ---- */

static void mail_done(struct env_process *process)
{
	struct queue *queue = (struct queue *)((char *)process - offsetof(struct queue, process));
	queue->status = process->status;
	queue->problem[0] = '\0';
	for (char *at = process->output; *at; at++)
		*at = (unsigned char)*at < ' ' ? ' ' : *at;
	if (process->status < 0)
		snprintf(queue->problem, sizeof(queue->problem), "%s took longer than 60 s",
			 queue->argv[0]);
	else if (process->status > 0)
		snprintf(queue->problem, sizeof(queue->problem), "%.80s: exit status %d: %.100s",
			 queue->argv[0], process->status, process->output);
	attempt_over(queue);
}

/* The subject's one %s. */
static void write_subject(const json_t *spec, struct buf *out)
{
	enum notice_event event;
	const char *grant = json_text(spec, "grant");
	if (!notice_event_find(json_text(spec, "event"), &event))
		return;
	const char *subject = notice_event_subject(event), *place = strstr(subject, "%s");
	buf_append_cstr(out, "Parley: ");
	buf_append(out, subject, place ? (size_t)(place - subject) : strlen(subject));
	buf_append_cstr(out, *grant ? grant : json_text(spec, "org"));
	buf_append_cstr(out, place ? place + 2 : "");
	buf_append_char(out, '\0');
}

static void write_text(const struct control *control, const json_t *spec, struct buf *out)
{
	const char *reason = json_text(spec, "reason"), *appeal = json_text(spec, "appeal");
	buf_printf(out, "%s\n", json_text(spec, "text"));
	if (*reason)
		buf_printf(out, "\nReason given: %s\n", reason);
	if (*appeal)
		buf_printf(out, "\nTo appeal: %s\n", appeal);
	buf_printf(out, "\n%s, %s\nNotice %s; the attached notice.dsse.json is signed.\n",
		   control->config->name, json_text(spec, "time"), json_text(spec, "id"));
}

static enum err_code start_mail(struct queue *queue, const json_t *spec, const char *address,
				struct err *err)
{
	struct control *control = queue->deliverer->control;
	const struct config_notices *config = &control->config->notices;
	struct buf mail = BUF_INIT(2 * BODY_MAX), subject = BUF_INIT(1024), text = BUF_INIT(65536);
	if (!config->sendmail)
		return ERR_SET(err, ERR_UNSUPPORTED,
			       "%s: parley.yaml has no notices.sendmail to send mail with",
			       address);
	write_subject(spec, &subject);
	write_text(control, spec, &text);
	struct notify_mail parts = {.from = config->from,
				    .to = notify_mail_address(address),
				    .subject = subject.data ? subject.data : "",
				    .id = first_id(queue),
				    .time_ms = control->loop->wall_ms,
				    .text = buf_bytes(&text),
				    .attachment = buf_bytes(&queue->body)};
	notify_mail_write(&parts, &mail);
	const char *argv[] = {config->sendmail, "-i", "-f", config->from, "--", parts.to, NULL};
	memcpy(queue->argv, argv, sizeof(argv));
	queue->process = (struct env_process){.argv = queue->argv,
					      .input = buf_bytes(&mail),
					      .deadline_ns = control->loop->now_ns + MAIL_NS,
					      .done = mail_done};
	enum err_code code = mail.failed || subject.failed || text.failed
				     ? ERR_SET(err, ERR_NO_MEMORY, "no memory to write a mail")
				     : env_process_start(control->loop, &queue->process, err);
	buf_release(&mail);
	buf_release(&subject);
	buf_release(&text);
	return code;
}

/* ---- attempts ---- */

static enum err_code try_to_send(struct queue *queue, struct err *err)
{
	struct control *control = queue->deliverer->control;
	const json_t *spec = control_spec(control, STORE_NOTICE, first_id(queue));
	const char *address = json_text(control_spec(control, STORE_ORG, queue->org), "notify");
	if (!*address)
		return ERR_SET(err, ERR_NOT_FOUND, "%s has no address for notices any more",
			       queue->org);
	queue->channel = notify_channel_of(address);
	ERR_TRY(write_body(queue, spec, err));
	return queue->channel == NOTIFY_WEBHOOK ? start_call(queue, address, err)
						: start_mail(queue, spec, address, err);
}

static void start_queue(struct queue *queue)
{
	struct err err = ERR_INIT;
	queue->active = true;
	queue->deliverer->active++;
	if (queue->outcome) {
		record_outcome(queue);
		return;
	}
	queue->attempts++;
	if (try_to_send(queue, &err) == ERR_OK)
		return;
	queue->status = 0;
	snprintf(queue->problem, sizeof(queue->problem), "%.200s", err.message);
	attempt_over(queue);
}

/* Starts what is due and sleeps until the next is. */
static void work(struct deliverer *deliverer)
{
	struct env_loop *loop = deliverer->control->loop;
	uint64_t next_ns = UINT64_MAX;
	if (deliverer->stopped)
		return;
	collect(deliverer);
	remove_empty(deliverer);
	bool ready = outward_ready(&deliverer->outward, deliverer->active);
	for (struct queue *queue = deliverer->queues; queue; queue = queue->next) {
		if (queue->active || json_array_size(queue->ids) == 0)
			continue;
		if (queue->next_ns > loop->now_ns)
			next_ns = queue->next_ns < next_ns ? queue->next_ns : next_ns;
		else if (ready && deliverer->active < ACTIVE_MAX)
			start_queue(queue);
	}
	if (deliverer->armed)
		env_timer_disarm(loop, &deliverer->timer);
	deliverer->armed = next_ns != UINT64_MAX && env_timer_arm(loop, &deliverer->timer, next_ns);
}

static void work_posted(struct env_message *message)
{
	struct deliverer *deliverer =
		(struct deliverer *)((char *)message - offsetof(struct deliverer, message));
	deliverer->posted = false;
	work(deliverer);
}

static void timer_fired(struct env_timer *timer)
{
	struct deliverer *deliverer =
		(struct deliverer *)((char *)timer - offsetof(struct deliverer, timer));
	deliverer->armed = false;
	work(deliverer);
}

/* ---- the whole ---- */

/* Recorded as delivered or failed, and not removed before the crash. */
static void forget_settled(struct control *control)
{
	const char *id;
	json_t *document;
	void *next;
	json_object_foreach_safe(control->documents[STORE_NOTICE], next, id, document)
	{
		if (strcmp(control_state_of(document), "pending") != 0)
			forget(control, id);
	}
}

struct deliverer *deliverer_new(struct control *control)
{
	struct deliverer *deliverer = calloc(1, sizeof(*deliverer));
	if (!deliverer)
		return NULL;
	deliverer->control = control;
	deliverer->end = &deliverer->queues;
	deliverer->message.run = work_posted;
	deliverer->timer.fire = timer_fired;
	forget_settled(control);
	return deliverer;
}

void deliverer_stop(struct deliverer *deliverer)
{
	struct env_loop *loop = deliverer->control->loop;
	deliverer->stopped = true;
	if (deliverer->armed)
		env_timer_disarm(loop, &deliverer->timer);
	deliverer->armed = false;
	for (struct queue *queue = deliverer->queues; queue; queue = queue->next) {
		if (queue->calling)
			http_call_cancel(&queue->call);
		queue->calling = false;
		env_process_cancel(loop, &queue->process);
	}
}

void deliverer_free(struct deliverer *deliverer)
{
	if (!deliverer)
		return;
	deliverer_stop(deliverer);
	while (deliverer->queues) {
		struct queue *queue = deliverer->queues;
		deliverer->queues = queue->next;
		free_queue(queue);
	}
	outward_release(&deliverer->outward);
	free(deliverer);
}

void deliverer_wake(struct deliverer *deliverer)
{
	deliverer->fresh = true;
	if (json_object_size(deliverer->control->documents[STORE_NOTICE]) > 0)
		post_work(deliverer);
}

bool deliverer_view(const struct deliverer *deliverer, json_t *view, const char *id)
{
	for (const struct queue *queue = deliverer->queues; queue; queue = queue->next) {
		const char *first = first_id(queue);
		if (!first || strcmp(first, id) != 0)
			continue;
		return json_object_set_new(view, "attempts", json_integer(queue->attempts)) == 0 &&
		       json_object_set_new(view, "problem", json_string(queue->problem)) == 0;
	}
	return true;
}
