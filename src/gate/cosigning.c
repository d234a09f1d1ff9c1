#include "gate/cosigning.h"

#include "gate/outward.h"
#include "ledger/add_checkpoint.h"

#include <stdio.h>
#include <stdlib.h>

#define SECOND_NS UINT64_C(1000000000)
#define TURN_NS (SECOND_NS / 4)
#define ATTEMPT_NS (5 * SECOND_NS)
#define PAUSE_MAX_NS (60 * SECOND_NS)
#define ANSWER_MAX ((size_t)NOTE_SIZE_MAX)
/* A witness that tells another size each time it is asked is not asked for ever. */
#define TRIES_MAX 3

/* One witness, and what is asked of it in the present round. */
struct cosigner {
	struct cosigning *cosigning;
	const struct config_witness *config;
	uint64_t size;     /* what it cosigned last, as far as we know */
	uint64_t cosigned; /* what it cosigned last for us */
	uint64_t next_ns;  /* not before */
	unsigned failures; /* in a row */
	unsigned tries;    /* in this round */
	bool calling, signed_this;
	int status;
	struct buf head, body, answer;
	struct http_call call;
	uint64_t answered, failed; /* rounds, since start */
	char problem[256];         /* of the last failure; "" */
};

struct cosigning {
	struct gateway *gateway;
	struct log *log;
	struct outward outward;
	struct cosigner *cosigners;
	unsigned count, active;
	struct env_timer timer;
	bool armed, stopped, open; /* open: a round is under way */
	/* The round's checkpoint, and it with the cosignatures so far. */
	struct checkpoint head;
	struct buf note, cosigned;
	uint64_t as_of_ns;
	unsigned cosignatures;
};

static void take_turn(struct cosigning *cosigning);

/* ---- outcomes ---- */

static void tell(struct cosigner *cosigner, const char *what)
{
	struct gateway *gateway = cosigner->cosigning->gateway;
	char text[700];
	if (!gateway->options.notify)
		return;
	snprintf(text, sizeof(text), "witness %s %s", cosigner->config->key.name, what);
	gateway->options.notify(gateway->options.argument, text);
}

static void succeeded(struct cosigner *cosigner)
{
	if (cosigner->failures > 0)
		tell(cosigner, "cosigns again");
	cosigner->failures = 0;
	cosigner->problem[0] = '\0';
	cosigner->next_ns = 0;
	cosigner->answered++;
}

/* Twice as long each time, up to a minute, and a quarter to either side by chance. */
static void failed(struct cosigner *cosigner, const struct err *err)
{
	struct cosigning *cosigning = cosigner->cosigning;
	struct gateway *gateway = cosigning->gateway;
	char text[400];
	snprintf(text, sizeof(text), "does not cosign: %.300s", err->message);
	/* Once for each thing that is wrong, not once for each attempt. */
	if (strncmp(cosigner->problem, err->message, 250) != 0)
		tell(cosigner, text);
	snprintf(cosigner->problem, sizeof(cosigner->problem), "%.250s", err->message);
	cosigner->next_ns =
		gateway->admin_loop->now_ns +
		outward_spread(gateway->env,
			       outward_backoff(SECOND_NS, cosigner->failures, PAUSE_MAX_NS));
	cosigner->failures++;
	cosigner->failed++;
}

/* Enough of them: readers may have it. A cosignature that comes later is added to it. */
static void publish(struct cosigning *cosigning)
{
	struct err err = ERR_INIT;
	if (cosigning->cosignatures < cosigning->gateway->config->log.quorum)
		return;
	/* Where the file cannot be written readers have it all the same. */
	if (log_set_cosigned(cosigning->log, buf_bytes(&cosigning->cosigned), cosigning->as_of_ns,
			     &err) != ERR_OK &&
	    cosigning->gateway->options.notify)
		cosigning->gateway->options.notify(cosigning->gateway->options.argument,
						   err.message);
}

/* ---- answers ---- */

static struct bytes body_of(const struct cosigning *cosigning)
{
	struct note note;
	if (note_parse(buf_bytes(&cosigning->note), &note, NULL) != ERR_OK)
		return bytes_of(NULL, 0);
	return note.text;
}

static enum err_code take_cosignature(struct cosigner *cosigner, struct err *err)
{
	struct cosigning *cosigning = cosigner->cosigning;
	ERR_TRY(add_checkpoint_take(body_of(cosigning), buf_bytes(&cosigner->answer),
				    &cosigner->config->key, &cosigning->cosigned, err));
	cosigner->size = cosigner->cosigned = cosigning->head.size;
	cosigner->signed_this = true;
	cosigning->cosignatures++;
	return ERR_OK;
}

static enum err_code start_call(struct cosigner *cosigner, struct err *err);

/* It cosigned another size last: once more from there, unless we have less than that. */
static enum err_code take_size(struct cosigner *cosigner, bool *again, struct err *err)
{
	const struct checkpoint *head = &cosigner->cosigning->head;
	uint64_t size;
	if (!add_checkpoint_size(buf_bytes(&cosigner->answer), &size))
		return ERR_SET(err, ERR_PROTOCOL, "it answered 409 without a size");
	if (size > head->size)
		return ERR_SET(err, ERR_MISMATCH,
			       "it has cosigned %llu records of this log, which has only %llu: "
			       "this is an old copy of the log, or another gateway writes one of "
			       "the same name and key",
			       (unsigned long long)size, (unsigned long long)head->size);
	if (size == cosigner->size || cosigner->tries >= TRIES_MAX)
		return ERR_SET(err, ERR_PROTOCOL, "it asks for size %llu again and again",
			       (unsigned long long)size);
	cosigner->size = size;
	*again = true;
	return ERR_OK;
}

static enum err_code take_answer(struct cosigner *cosigner, bool *again, struct err *err)
{
	if (cosigner->answer.failed)
		return ERR_SET(err, ERR_TOO_LARGE, "its answer is too long");
	switch (cosigner->status) {
	case 200:
		return take_cosignature(cosigner, err);
	case 409:
		return take_size(cosigner, again, err);
	case 404:
		return ERR_SET(err, ERR_UPSTREAM,
			       "it does not follow this log: give its operator "
			       "the key at /log/vkey");
	case 403:
		return ERR_SET(err, ERR_UPSTREAM,
			       "it follows this log with another key: give its "
			       "operator the key at /log/vkey");
	case 422:
		return ERR_SET(err, ERR_MISMATCH,
			       "FORK: it has cosigned another tree of %llu records under this name "
			       "and key",
			       (unsigned long long)cosigner->size);
	default:
		return ERR_SET(err, ERR_UPSTREAM, "it answered with status %d", cosigner->status);
	}
}

static void call_ended(struct http_call *call, const struct err *ended)
{
	struct cosigner *cosigner = call->user;
	struct cosigning *cosigning = cosigner->cosigning;
	struct err err = *ended;
	bool again = false;
	enum err_code code = err.code;
	cosigner->calling = false;
	cosigning->active--;
	if (code == ERR_OK)
		code = take_answer(cosigner, &again, &err);
	if (code == ERR_OK && again) {
		code = start_call(cosigner, &err);
		if (code == ERR_OK)
			return;
	}
	if (code == ERR_OK) {
		succeeded(cosigner);
		publish(cosigning);
	} else {
		failed(cosigner, &err);
	}
	if (cosigning->active == 0)
		cosigning->open = false;
}

static void call_head(struct http_call *call, const struct http_head *head, struct bytes bytes)
{
	struct cosigner *cosigner = call->user;
	(void)bytes;
	cosigner->status = head->status;
}

static void call_body(struct http_call *call, struct bytes piece)
{
	struct cosigner *cosigner = call->user;
	buf_append_bytes(&cosigner->answer, piece);
}

/* ---- asking ---- */

static enum err_code write_body(struct cosigner *cosigner, struct err *err)
{
	struct cosigning *cosigning = cosigner->cosigning;
	struct add_checkpoint request = {.old_size = cosigner->size,
					 .checkpoint = buf_bytes(&cosigning->note)};
	ERR_TRY(log_consistency_proof(cosigning->log, request.old_size, cosigning->head.size,
				      request.proof, &request.count, err));
	buf_clear(&cosigner->body);
	add_checkpoint_format(&request, &cosigner->body);
	return cosigner->body.failed ? ERR_SET(err, ERR_NO_MEMORY, "no memory to ask") : ERR_OK;
}

static enum err_code write_head(struct cosigner *cosigner, const struct http_origin *origin,
				struct err *err)
{
	const struct bytes names[] = {BYTES("user-agent"), BYTES("content-type")};
	const struct bytes values[] = {BYTES("parley/" PARLEY_VERSION),
				       BYTES("text/plain; charset=utf-8")};
	struct buf path = BUF_INIT(4096);
	buf_append_bytes(&path, http_origin_base_path(origin));
	buf_append_cstr(&path, ADD_CHECKPOINT_PATH);
	buf_clear(&cosigner->head);
	http_write_request_head(&cosigner->head, "POST", buf_bytes(&path),
				http_origin_authority(origin), names, values, 2,
				(int64_t)cosigner->body.size);
	bool good = !path.failed && !cosigner->head.failed;
	buf_release(&path);
	return good ? ERR_OK : ERR_SET(err, ERR_NO_MEMORY, "no memory to ask");
}

static enum err_code start_call(struct cosigner *cosigner, struct err *err)
{
	struct cosigning *cosigning = cosigner->cosigning;
	struct gateway *gateway = cosigning->gateway;
	struct http_origin *origin;
	ERR_TRY(outward_origin(&cosigning->outward, gateway->control,
			       bytes_from(cosigner->config->url),
			       gateway->config->log.authorities.text, &origin, err));
	ERR_TRY(write_body(cosigner, err));
	ERR_TRY(write_head(cosigner, origin, err));
	buf_clear(&cosigner->answer);
	cosigner->status = 0;
	cosigner->tries++;
	cosigner->call = (struct http_call){
		.parts = {{cosigner->head.data, cosigner->head.size},
			  {cosigner->body.data, cosigner->body.size}},
		.part_count = 2,
		.first_byte_ns = ATTEMPT_NS,
		.idle_ns = ATTEMPT_NS,
		.user = cosigner,
		.head = call_head,
		.body = call_body,
		.ended = call_ended
        };
	cosigner->calling = true;
	cosigning->active++;
	http_call_start(origin, &cosigner->call);
	return ERR_OK;
}

static bool is_due(const struct cosigner *cosigner)
{
	return cosigner->next_ns <= cosigner->cosigning->gateway->admin_loop->now_ns;
}

/* Whether anybody can be asked who has not cosigned this checkpoint. */
static bool has_work(const struct cosigning *cosigning, bool fresh)
{
	for (unsigned i = 0; i < cosigning->count; i++)
		if (is_due(&cosigning->cosigners[i]) &&
		    (fresh || !cosigning->cosigners[i].signed_this))
			return true;
	return false;
}

/* A cosignature of an earlier round on the same checkpoint stays on it. */
static bool take_checkpoint(struct cosigning *cosigning)
{
	struct buf note = BUF_INIT(NOTE_SIZE_MAX);
	struct checkpoint head;
	bool good = log_latest_checkpoint(cosigning->log, &head, &note, NULL) == ERR_OK;
	bool same = good && bytes_equal(buf_bytes(&note), buf_bytes(&cosigning->note));
	good = good && has_work(cosigning, !same);
	if (good && !same) {
		buf_clear(&cosigning->cosigned);
		buf_append_bytes(&cosigning->cosigned, buf_bytes(&note));
		cosigning->cosignatures = 0;
		for (unsigned i = 0; i < cosigning->count; i++)
			cosigning->cosigners[i].signed_this = false;
		buf_release(&cosigning->note);
		cosigning->note = note;
		cosigning->head = head;
		cosigning->as_of_ns = env_clock_ns(cosigning->gateway->env);
		return !cosigning->cosigned.failed;
	}
	buf_release(&note);
	return good;
}

static void begin_round(struct cosigning *cosigning)
{
	cosigning->open = true;
	cosigning->active++; /* an answer does not end the round before all are asked */
	for (unsigned i = 0; i < cosigning->count; i++) {
		struct cosigner *cosigner = &cosigning->cosigners[i];
		struct err err = ERR_INIT;
		if (cosigner->signed_this)
			continue;
		if (!is_due(cosigner))
			continue;
		cosigner->tries = 0;
		if (start_call(cosigner, &err) != ERR_OK)
			failed(cosigner, &err);
	}
	if (--cosigning->active == 0)
		cosigning->open = false;
}

static void take_turn(struct cosigning *cosigning)
{
	struct env_loop *loop = cosigning->gateway->admin_loop;
	if (cosigning->stopped)
		return;
	if (!cosigning->open && outward_ready(&cosigning->outward, cosigning->active) &&
	    take_checkpoint(cosigning))
		begin_round(cosigning);
	cosigning->armed = env_timer_arm(loop, &cosigning->timer, loop->now_ns + TURN_NS);
}

static void timer_fired(struct env_timer *timer)
{
	struct cosigning *cosigning =
		(struct cosigning *)((char *)timer - offsetof(struct cosigning, timer));
	cosigning->armed = false;
	take_turn(cosigning);
}

/* ---- the whole ---- */

enum err_code cosigning_new(struct gateway *gateway, struct cosigning **out, struct err *err)
{
	const struct config_log *config = &gateway->config->log;
	*out = NULL;
	if (config->witness_count == 0)
		return ERR_OK;
	struct cosigning *cosigning = calloc(1, sizeof(*cosigning));
	struct cosigner *cosigners = calloc(config->witness_count, sizeof(*cosigners));
	if (!cosigning || !cosigners) {
		free(cosigning);
		free(cosigners);
		return ERR_SET(err, ERR_NO_MEMORY, "out of memory");
	}
	cosigning->gateway = gateway;
	cosigning->log = gateway->logs[CONTROL_EVALUATION];
	cosigning->cosigners = cosigners;
	cosigning->count = config->witness_count;
	cosigning->timer.fire = timer_fired;
	buf_init(&cosigning->note, NOTE_SIZE_MAX);
	buf_init(&cosigning->cosigned, NOTE_SIZE_MAX);
	for (unsigned i = 0; i < cosigning->count; i++) {
		cosigners[i].cosigning = cosigning;
		cosigners[i].config = &config->witnesses[i];
		buf_init(&cosigners[i].head, 8192);
		buf_init(&cosigners[i].body, ADD_CHECKPOINT_BODY_MAX);
		buf_init(&cosigners[i].answer, ANSWER_MAX);
	}
	*out = cosigning;
	return ERR_OK;
}

void cosigning_start(struct cosigning *cosigning)
{
	if (!cosigning)
		return;
	log_expect_cosigned(cosigning->log);
	take_turn(cosigning);
}

void cosigning_stop(struct cosigning *cosigning)
{
	if (!cosigning || cosigning->stopped)
		return;
	cosigning->stopped = true;
	if (cosigning->armed)
		env_timer_disarm(cosigning->gateway->admin_loop, &cosigning->timer);
	for (unsigned i = 0; i < cosigning->count; i++)
		if (cosigning->cosigners[i].calling)
			http_call_cancel(&cosigning->cosigners[i].call);
	cosigning->active = 0;
}

void cosigning_free(struct cosigning *cosigning)
{
	if (!cosigning)
		return;
	cosigning_stop(cosigning);
	outward_release(&cosigning->outward);
	for (unsigned i = 0; i < cosigning->count; i++) {
		buf_release(&cosigning->cosigners[i].head);
		buf_release(&cosigning->cosigners[i].body);
		buf_release(&cosigning->cosigners[i].answer);
	}
	buf_release(&cosigning->note);
	buf_release(&cosigning->cosigned);
	free(cosigning->cosigners);
	free(cosigning);
}

/* ---- what it tells ---- */

void cosigning_failing(const struct cosigning *cosigning,
		       void (*each)(void *argument, const char *name, const char *problem),
		       void *argument)
{
	for (unsigned i = 0; cosigning && i < cosigning->count; i++)
		if (cosigning->cosigners[i].failures > 0)
			each(argument, cosigning->cosigners[i].config->key.name,
			     cosigning->cosigners[i].problem);
}

static uint64_t cosigned_size(const struct cosigner *cosigner)
{
	return cosigner->cosigned;
}

static uint64_t answered_count(const struct cosigner *cosigner)
{
	return cosigner->answered;
}

static uint64_t failed_count(const struct cosigner *cosigner)
{
	return cosigner->failed;
}

static uint64_t is_failing(const struct cosigner *cosigner)
{
	return cosigner->failures > 0;
}

void cosigning_write_metrics(const struct cosigning *cosigning, struct buf *out)
{
	static const struct {
		const char *name, *kind, *help;
		uint64_t (*value)(const struct cosigner *);
	} series[] = {
		{"parley_witness_cosigned_records",   "gauge",
		 "Records of the evaluation log under the last checkpoint this witness cosigned.", cosigned_size },
		{"parley_witness_cosignatures_total", "counter",
		 "Checkpoints that this witness cosigned.",                                        answered_count},
		{"parley_witness_failures_total",     "counter",
		 "Checkpoints for which this witness gave no cosignature.",                        failed_count  },
		{"parley_witness_failing",            "gauge",
		 "1 while the last attempt with this witness failed.",                             is_failing    },
	};
	if (!cosigning)
		return;
	metrics_write_header(out, "parley_log_cosigned_records", "gauge",
			     "Records under the last checkpoint that enough witnesses cosigned.");
	metrics_write_sample(out, "parley_log_cosigned_records", "log=\"evaluation\"",
			     (int64_t)log_cosigned_size(cosigning->log));
	for (size_t i = 0; i < sizeof(series) / sizeof(series[0]); i++) {
		metrics_write_header(out, series[i].name, series[i].kind, series[i].help);
		for (unsigned k = 0; k < cosigning->count; k++) {
			const struct cosigner *cosigner = &cosigning->cosigners[k];
			char labels[NOTE_NAME_MAX + 32];
			snprintf(labels, sizeof(labels), "witness=\"%s\"",
				 cosigner->config->key.name);
			metrics_write_sample(out, series[i].name, labels,
					     (int64_t)series[i].value(cosigner));
		}
	}
}

void cosigning_write_policy(const struct gateway *gateway, struct buf *out)
{
	const struct config_log *config = &gateway->config->log;
	buf_printf(out,
		   "# Whom to trust for the evaluation log of %s, by its own word "
		   "(c2sp.org/tlog-policy)\nlog ",
		   gateway->config->name);
	log_append_vkey(gateway->logs[CONTROL_EVALUATION], out);
	if (gateway->config->public_url)
		buf_printf(out, " %s/log", gateway->config->public_url);
	buf_append_char(out, '\n');
	for (unsigned i = 0; i < config->witness_count; i++) {
		buf_printf(out, "witness w%u ", i + 1);
		note_key_format(&config->witnesses[i].key, out);
		buf_printf(out, " %s\n", config->witnesses[i].url);
	}
	if (config->witness_count == 0) {
		buf_append_cstr(out, "quorum none\n");
		return;
	}
	buf_printf(out, "group witnesses %u", config->quorum);
	for (unsigned i = 0; i < config->witness_count; i++)
		buf_printf(out, " w%u", i + 1);
	buf_append_cstr(out, "\nquorum witnesses\n");
}
