#include "gate/worker.h"

#include "gate/gateway.h"
#include "gate/grader_watch.h"
#include "gate/refusal_window.h"
#include "gate/request.h"
#include "proto/signature.h"
#include "proto/url.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#define UPSTREAM_IDLE_NS (55u * 1000000000ull)
#define CONNECTIONS_MAX 9000 /* where the process has no limit of descriptors */
#define SECOND_NS 1000000000u

/* ---- the log ---- */

static void worker_idle(void *argument)
{
	struct gate_worker *worker = argument;
	/* One that goes on may end at once and let its client's next request in. */
	while (worker->unsubmitted_count > 0)
		gate_submit_waiting(worker);
	for (int log = 0; log < CONTROL_LOGS; log++)
		log_producer_turn(&worker->producers[log], true);
	gate_worker_free_retiring(worker);
	worker->loop->idle_wanted = false; /* what was submitted just now has been told, too */
}

/* ---- memory ---- */

#define ARENA_BLOCK 4096
#define ARENA_MAX ((size_t)64 << 20)
#define HELD_MAX ((size_t)64 << 20)
#define TEXTS_KEPT 64
/* With `relaxed`: what is lent, and what is about to be. */
#define TEXT_SLAB (GATE_LENT_MAX + TEXTS_KEPT)
#define SAMPLES_KEPT 1024
/* The stock is no larger than this, or than what is in use. */
#define FRONTS_KEPT 64
/* A buffer in the stock is no larger. */
#define BUFFER_KEPT_MAX 16384

static void free_front(struct gate_front *front)
{
	arena_release(&front->arena);
	buf_release(&front->held);
	free(front);
}

struct gate_front *gate_worker_take_front(struct gate_worker *worker)
{
	struct gate_front *front = worker->fronts;
	if (front) {
		worker->fronts = front->next;
		worker->front_count--;
		worker->fronts_out++;
		return front;
	}
	front = calloc(1, sizeof(*front));
	if (!front)
		return NULL;
	worker->fronts_out++;
	arena_init(&front->arena, ARENA_BLOCK, ARENA_MAX);
	buf_init(&front->held, HELD_MAX);
	return front;
}

void gate_worker_give_front(struct gate_worker *worker, struct gate_front *front)
{
	worker->fronts_out--;
	if (worker->front_count >= FRONTS_KEPT && worker->front_count >= worker->fronts_out) {
		free_front(front);
		return;
	}
	arena_reset(&front->arena);
	if (front->held.capacity > BUFFER_KEPT_MAX)
		buf_release(&front->held);
	buf_clear(&front->held);
	memset((char *)front + offsetof(struct gate_front, request), 0,
	       sizeof(*front) - offsetof(struct gate_front, request));
	front->next = worker->fronts;
	worker->fronts = front;
	worker->front_count++;
}

struct gate_sample *gate_worker_take_sample(struct gate_worker *worker)
{
	struct gate_sample *sample = worker->samples;
	if (!sample)
		return malloc(sizeof(*sample));
	worker->samples = sample->next;
	worker->sample_count--;
	return sample;
}

void gate_worker_give_sample(struct gate_worker *worker, struct gate_sample *sample)
{
	if (worker->sample_count >= SAMPLES_KEPT) {
		free(sample);
		return;
	}
	sample->next = worker->samples;
	worker->samples = sample;
	worker->sample_count++;
}

struct gate_text *gate_worker_take_text(struct gate_worker *worker)
{
	struct gate_text *text = worker->texts;
	if (text) {
		worker->texts = text->next;
		worker->text_count--;
		return text;
	}
	bool in_slab = worker->text_slab && worker->slab_used < TEXT_SLAB;
	text = in_slab ? &worker->text_slab[worker->slab_used++] : malloc(sizeof(*text));
	if (text)
		text->worker = worker;
	return text;
}

static bool is_in_slab(const struct gate_worker *worker, const struct gate_text *text)
{
	const struct gate_text *slab = worker->text_slab;
	return slab && text >= slab && text < slab + TEXT_SLAB;
}

static void stock_text(struct gate_worker *worker, struct gate_text *text)
{
	if (worker->text_count >= TEXTS_KEPT && !is_in_slab(worker, text)) {
		free(text);
		return;
	}
	text->next = worker->texts;
	worker->texts = text;
	worker->text_count++;
}

void gate_worker_give_text(struct gate_worker *worker, struct gate_text *text)
{
	struct gate_request *waiting = worker->text_waiting;
	stock_text(worker, text);
	if (!waiting)
		return;
	worker->text_waiting = waiting->next_text;
	waiting->waits_for_text = false;
	gate_request_run(waiting);
}

void gate_worker_lend_text(struct gate_worker *worker, struct gate_text *text)
{
	text->request = NULL;
	text->previous = NULL;
	text->next = worker->lent;
	if (text->next)
		text->next->previous = text;
	worker->lent = text;
	worker->lent_count++;
}

void gate_worker_lent_durable(struct gate_text *text)
{
	struct gate_worker *worker = text->worker;
	if (text->previous)
		text->previous->next = text->next;
	else
		worker->lent = text->next;
	if (text->next)
		text->next->previous = text->previous;
	worker->lent_count--;
	gate_worker_give_text(worker, text);
	if (!worker->lent)
		gate_worker_request_over(worker);
}

static bool stock_texts(struct gate_worker *worker)
{
	worker->lent_max = GATE_LENT_MAX;
	if (worker->relaxed) /* without it they are made one by one */
		worker->text_slab = malloc(TEXT_SLAB * sizeof(*worker->text_slab));
	struct gate_text *first = gate_worker_take_text(worker);
	if (first)
		stock_text(worker, first);
	return first != NULL;
}

static void free_texts(const struct gate_worker *worker, struct gate_text *texts)
{
	while (texts) {
		struct gate_text *text = texts;
		texts = text->next;
		if (!is_in_slab(worker, text))
			free(text);
	}
}

static void release_memory(struct gate_worker *worker)
{
	free_texts(worker, worker->texts);
	free_texts(worker, worker->lent); /* the log is closed */
	free(worker->text_slab);
	dialect_workspace_release(&worker->workspace);
	while (worker->samples) {
		struct gate_sample *sample = worker->samples;
		worker->samples = sample->next;
		free(sample);
	}
	while (worker->fronts) {
		struct gate_front *front = worker->fronts;
		worker->fronts = front->next;
		free_front(front);
	}
}

/* ---- upstreams ---- */

static char *fixed_fields(const struct config_provider *provider, enum dialect_id dialect,
			  struct bytes authority)
{
	struct buf out = BUF_INIT(65536);
	buf_append_cstr(&out, "host: ");
	buf_append_bytes(&out, authority);
	buf_append_cstr(&out, "\r\ncontent-type: application/json\r\naccept-encoding: identity\r\n"
			      "user-agent: parley/" PARLEY_VERSION "\r\n");
	if (provider->key[0])
		dialect_key_field(dialect, provider->key, &out);
	if (out.failed)
		buf_release(&out);
	return out.data;
}

static enum err_code add_upstream(struct http_pool *pool, const struct config_provider *provider,
				  struct gate_upstream *out, struct err *err)
{
	struct bytes key = bytes_from(provider->key), url = bytes_from(provider->url);
	struct http_origin_options options = {.ca_pem = provider->tls.authorities.text,
					      .certificate = provider->tls.certificate.text,
					      .key = provider->tls.key.text,
					      .connect_timeout_ns = provider->timeouts.connect_ns};
	if (!http_is_field_value(key))
		return ERR_SET(err, ERR_INVALID, "provider %s: the key has a control byte",
			       provider->name);
	out->dialect = provider->dialect;
	out->first_byte_ns = provider->timeouts.first_byte_ns;
	out->stall_ns = provider->timeouts.stall_ns;
	ERR_TRY(http_pool_origin_with(pool, url, &options, &out->origin, err));
	out->fields = fixed_fields(provider, out->dialect, http_origin_authority(out->origin));
	return out->fields ? ERR_OK : ERR_SET(err, ERR_NO_MEMORY, "out of memory");
}

/* The system's certificate authorities, for providers behind TLS that name none. */
static struct http_pool *new_pool(struct gate_worker *worker, const struct config *config)
{
	unsigned clients_max = gateway_clients_max(worker->gateway);
	struct buf authorities = BUF_INIT((size_t)16 << 20);
	struct err ignored = ERR_INIT;
	bool needed = false;
	for (size_t i = 0; i < config->provider_count; i++)
		needed |= strncmp(config->providers[i].url, "https:", 6) == 0;
	if (needed)
		env_read_file(worker->loop->env, TLS_SYSTEM_AUTHORITIES, &authorities, &ignored);
	struct http_pool_options options = {
		.connections_max = clients_max ? clients_max : CONNECTIONS_MAX,
		.idle_max = 1024,
		.idle_timeout_ns = UPSTREAM_IDLE_NS,
		.connect_timeout_ns = config->timeouts.connect_ns,
		.ca_pem = buf_bytes(&authorities),
		.https_proxy = config->https_proxy,
		.no_proxy = config->no_proxy,
		.stats = &worker->upstream_stats,
		.budget = gateway_budget(worker->gateway),
	};
	struct http_pool *pool = http_pool_new(worker->loop, &options);
	buf_release(&authorities);
	/* Without authorities no certificate is good: the call that needs one will say so. */
	if (pool && needed)
		http_pool_prepare_tls(pool, &ignored);
	return pool;
}

static void free_upstreams(struct gate_upstreams *upstreams)
{
	http_pool_free(upstreams->pool);
	for (unsigned i = 0; i < upstreams->count; i++)
		free(upstreams->rows[i].fields);
	free(upstreams);
}

static enum err_code make_upstreams(struct gate_worker *worker, const struct config *config,
				    struct gate_upstreams **out, struct err *err)
{
	size_t size = sizeof(**out) + config->provider_count * sizeof((*out)->rows[0]);
	struct gate_upstreams *upstreams = calloc(1, size);
	enum err_code code = ERR_OK;
	if (upstreams)
		upstreams->pool = new_pool(worker, config);
	if (!upstreams || !upstreams->pool)
		code = ERR_SET(err, ERR_NO_MEMORY, "out of memory");
	for (size_t i = 0; code == ERR_OK && i < config->provider_count; i++) {
		upstreams->count++;
		code = add_upstream(upstreams->pool, &config->providers[i], &upstreams->rows[i],
				    err);
	}
	/* As it was at the start. */
	const struct config *fixed = gateway_config(worker->gateway);
	if (code == ERR_OK && fixed->grader)
		code = grader_origin(fixed, upstreams->pool, &upstreams->grader, err);
	if (code == ERR_OK) {
		upstreams->references = 1;
		*out = upstreams;
	} else if (upstreams) {
		free_upstreams(upstreams);
	}
	return code;
}

struct gate_upstreams *gate_upstreams_hold(struct gate_worker *worker)
{
	worker->upstreams->references++;
	return worker->upstreams;
}

static void sweep(struct gate_worker *worker)
{
	while (worker->given_up) {
		struct gate_upstreams *upstreams = worker->given_up;
		worker->given_up = upstreams->next;
		free_upstreams(upstreams);
	}
}

static void sweep_now(struct env_message *message)
{
	struct gate_worker *worker =
		(struct gate_worker *)((char *)message -
				       offsetof(struct gate_worker, sweep_message));
	worker->sweep_posted = false;
	sweep(worker);
}

void gate_upstreams_drop(struct gate_worker *worker, struct gate_upstreams *upstreams)
{
	if (!upstreams || --upstreams->references > 0)
		return;
	upstreams->next = worker->given_up;
	worker->given_up = upstreams;
	if (worker->sweep_posted)
		return;
	worker->sweep_posted = true;
	worker->sweep_message.run = sweep_now;
	env_post(worker->loop, &worker->sweep_message);
}

/* ---- what a reload changes ---- */

static enum err_code make_tls(const struct config *config, const uint8_t *ticket_key,
			      struct tls_context **out, struct err *err)
{
	const struct config_tls *tls = &config->tls;
	if (!config->has_tls)
		return ERR_OK;
	ERR_TRY(tls_server_context_new(tls->certificate.text, tls->key.text, tls->authorities.text,
				       out, err));
	return tls_server_share_tickets(*out, ticket_key, err);
}

/* The configuration has checked it. */
static enum err_code read_public_url(const struct config *config, struct gate_public_url *out,
				     struct err *err)
{
	struct buf authority = buf_over(out->authority, sizeof(out->authority));
	struct url url;
	if (!config->public_url)
		return ERR_OK;
	ERR_TRY(url_parse(bytes_from(config->public_url), &url, err));
	out->tls = url.tls;
	snprintf(out->prefix, sizeof(out->prefix), "%.*s", BYTES_ARG(url.path));
	if (!signature_authority(url.authority, url.tls ? BYTES("https") : BYTES("http"),
				 &authority))
		return ERR_SET(err, ERR_TOO_LARGE, "public_url is too long");
	return ERR_OK;
}

enum err_code gate_settings_make(struct gate_worker *worker, const struct config *config,
				 const uint8_t *ticket_key, struct gate_settings *out,
				 struct err *err)
{
	*out = (struct gate_settings){.max_body = config->max_body};
	ERR_TRY(read_public_url(config, &out->public_url, err));
	enum err_code code = make_tls(config, ticket_key, &out->tls, err);
	if (code == ERR_OK)
		code = make_upstreams(worker, config, &out->upstreams, err);
	if (code != ERR_OK)
		gate_settings_discard(out);
	return code;
}

void gate_settings_discard(struct gate_settings *settings)
{
	tls_context_free(settings->tls);
	if (settings->upstreams)
		free_upstreams(settings->upstreams);
	*settings = (struct gate_settings){0};
}

void gate_worker_configure(struct gate_worker *worker, struct gate_settings *settings)
{
	struct gate_upstreams *old = worker->upstreams;
	worker->upstreams = settings->upstreams;
	worker->max_body = settings->max_body;
	worker->public_url = settings->public_url;
	http_server_set_tls(worker->server, settings->tls);
	tls_context_free(settings->tls);
	*settings = (struct gate_settings){0};
	gate_upstreams_drop(worker, old);
}

/* ---- making and freeing ---- */

static struct http_server *new_server(struct gate_worker *worker)
{
	const struct config *config = gateway_config(worker->gateway);
	const struct config_timeouts *timeouts = &config->timeouts;
	unsigned clients_max = gateway_clients_max(worker->gateway);
	struct http_server_options options = {
		.argument = worker,
		.head = gate_request_head,
		.progress = gate_request_progress,
		.request = gate_request_arrived,
		.aborted = gate_request_aborted,
		.drained = gate_request_drained,
		.unsent = gate_request_unsent,
		.refused = gate_request_refused_below,
		.body_max = config->max_body,
		.head_timeout_ns = timeouts->head_ns,
		.body_timeout_ns = timeouts->body_ns,
		.body_rate_min = timeouts->body_rate,
		.idle_timeout_ns = timeouts->idle_ns,
		.write_timeout_ns = timeouts->write_ns,
		.connections_max = clients_max ? clients_max : CONNECTIONS_MAX,
		.budget = gateway_budget(worker->gateway),
	};
	return http_server_new(worker->loop, &options);
}

enum err_code gate_worker_init(struct gate_worker *worker, struct gateway *gateway, unsigned number,
			       struct err *err)
{
	struct gate_settings settings;
	worker->gateway = gateway;
	worker->number = number;
	worker->relaxed = !gateway_config(gateway)->strict;
	worker->observe = gateway_config(gateway)->mode == CONFIG_OBSERVE;
	worker->loop = env_loop_new(gateway_admin_loop(gateway)->env, "worker", false);
	worker->refusals = calloc(1, sizeof(*worker->refusals));
	worker->proving = calloc(1, gate_proving_size());
	worker->server = worker->loop ? new_server(worker) : NULL;
	if (!worker->server || !worker->refusals || !worker->proving || !stock_texts(worker))
		return ERR_SET(err, ERR_NO_MEMORY, "out of memory");
	env_random(worker->loop->env, &worker->refusals->seed, sizeof(worker->refusals->seed));
	ERR_TRY(gate_settings_make(worker, gateway_config(gateway), gateway_ticket_key(gateway),
				   &settings, err));
	gate_worker_configure(worker, &settings);
	for (int log = 0; log < CONTROL_LOGS; log++)
		log_producer_init(&worker->producers[log], gateway_log(gateway, log), worker->loop);
	gate_pings_start(worker);
	gate_rooms_start(worker);
	worker->loop->idle = worker_idle;
	worker->loop->idle_argument = worker;
	return ERR_OK;
}

void gate_worker_release(struct gate_worker *worker)
{
	worker->stopping = false;
	worker->told = worker->text_waiting = NULL;
	worker->unsubmitted_count = 0;
	while (worker->first) /* after a failure only */
		gate_request_abandon(worker->first);
	http_server_free(worker->server);
	while (worker->spare) {
		struct gate_request *request = worker->spare;
		worker->spare = request->next;
		free(request);
	}
	release_memory(worker);
	sweep(worker);
	if (worker->upstreams)
		free_upstreams(worker->upstreams);
	free(worker->refusals);
	free(worker->proving);
	world_drop(worker->world);
	env_loop_free(worker->loop);
}

/* ---- stopping ---- */

static void check_stopped(struct gate_worker *worker)
{
	if (!worker->stopping || worker->live_count > 0 || worker->lent || worker->own_calls > 0 ||
	    http_server_connections(worker->server) > 0)
		return;
	worker->stopping = false;
	env_timer_disarm(worker->loop, &worker->grace);
	env_timer_disarm(worker->loop, &worker->ping);
	gateway_worker_stopped(worker);
}

void gate_worker_request_over(struct gate_worker *worker)
{
	check_stopped(worker);
}

static void server_stopped(void *argument)
{
	check_stopped(argument);
}

static void grace_over(struct env_timer *timer)
{
	struct gate_worker *worker =
		(struct gate_worker *)((char *)timer - offsetof(struct gate_worker, grace));
	gate_submit_waiting(worker);
	gate_rooms_close(worker);
	for (struct gate_request *request = worker->first, *next; request; request = next) {
		next = request->next;
		if (request->admitted)
			gate_request_cut(request, RECORD_ENDING_SHUTDOWN, NULL);
	}
	/* Connections that hang without a request are not waited for. */
	http_server_close_all(worker->server);
	if (worker->stopping)
		env_timer_arm(worker->loop, &worker->grace, worker->loop->now_ns + SECOND_NS);
	check_stopped(worker);
}

static void stop_now(struct env_message *message)
{
	struct gate_worker *worker =
		(struct gate_worker *)((char *)message -
				       offsetof(struct gate_worker, stop_message));
	uint64_t grace_ns = gateway_grace_ns(worker->gateway);
	worker->stopping = true;
	worker->grace.fire = grace_over;
	bool armed = env_timer_arm(worker->loop, &worker->grace, worker->loop->now_ns + grace_ns);
	http_server_stop(worker->server, server_stopped, worker);
	if (!armed)
		grace_over(&worker->grace);
}

void gate_worker_stop(struct gate_worker *worker)
{
	worker->stop_message.run = stop_now;
	env_post(worker->loop, &worker->stop_message);
}
