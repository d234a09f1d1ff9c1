#include "gate/gateway_internal.h"

#include "gate/cosigning.h"
#include "gate/backup.h"
#include "gate/nonces.h"
#include "gate/rotate.h"

#include "base/encode.h"
#include "env/key_file.h"
#include "ledger/note.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sched.h>

#define GRACE_NS_DEFAULT (10u * 1000000000ull)
#define RETRY_NS 10000000u
#define PSEUDONYM_SIZE 16

/* ---- secrets ---- */

static enum err_code load_key(struct gateway *gateway, const char *name,
			      struct ed25519_private **out, struct err *err)
{
	char path[1024];
	ERR_TRY(config_data_path(gateway->config, name, path, sizeof(path), err));
	enum err_code code = key_file_read(gateway->env, path, out, err);
	const char *data = gateway->config->data;
	if (code == ERR_NOT_FOUND && !env_file_exists(gateway->env, data))
		return ERR_SET(err, ERR_USAGE,
			       "%s: data: there is no folder %s; `parley init` makes one for a new "
			       "gateway",
			       gateway->config->file, data);
	if (code == ERR_NOT_FOUND)
		return ERR_SET(
			err, ERR_USAGE,
			"%s: there is no such file; `parley init` makes one for a new gateway, "
			"and one that has a log needs its own back from a backup",
			path);
	return code == ERR_OK ? ERR_OK : err_to_usage(err);
}

/* A file of `size` random bytes in hex, made at the first start; `mend` says what to do about one
 * that is damaged. */
static enum err_code load_secret(struct gateway *gateway, const char *name, const char *mend,
				 uint8_t *out, size_t size, struct err *err)
{
	char path[1024], text[129];
	struct buf file = BUF_INIT(256);
	assert(size * 2 < sizeof(text));
	ERR_TRY(config_data_path(gateway->config, name, path, sizeof(path), err));
	if (!env_file_exists(gateway->env, path)) {
		env_random(gateway->env, out, size);
		hex_encode(out, size, text);
		return env_write_file(gateway->env, path, bytes_from(text), 0600, err);
	}
	enum err_code code = env_read_file(gateway->env, path, &file, err);
	if (code == ERR_OK && !hex_decode(buf_bytes(&file), out, size))
		code = ERR_SET(err, ERR_CORRUPT, "%s does not hold %zu hexadecimal digits; %s",
			       path, size * 2, mend);
	buf_release(&file);
	return code;
}

bool gateway_sign_verdict(const struct gateway *gateway, struct bytes text,
			  uint8_t signature[static ED25519_SIGNATURE_SIZE])
{
	return ed25519_sign(control_signing_key(gateway->control, CONTROL_SIGN_VERDICTS), text.data,
			    text.size, signature);
}

static enum err_code load_secrets(struct gateway *gateway, struct err *err)
{
	uint8_t token[GATEWAY_TOKEN_SIZE / 2];
	ERR_TRY(load_key(gateway, "signing.key", &gateway->key, err));
	ERR_TRY(load_secret(gateway, "log.secret",
			    "restore it from a backup (receipts and nonces depend on it)",
			    gateway->secret, sizeof(gateway->secret), err));
	ERR_TRY(load_secret(gateway, "admin.token", "remove it, and the next start makes another",
			    token, sizeof(token), err));
	hex_encode(token, sizeof(token), gateway->token);
	return ERR_OK;
}

/* ---- logs ---- */

static void report_fatal(struct env_message *message)
{
	struct gateway *gateway =
		(struct gateway *)((char *)message - offsetof(struct gateway, fatal_message));
	gateway->options.stopped(gateway->options.argument, &gateway->fatal);
}

/* On the log loop. Whatever waits for a record now waits for ever: nothing is acknowledged. */
static void log_failed(void *argument, const struct err *err)
{
	struct gateway *gateway = argument;
	if (atomic_exchange(&gateway->failed, true))
		return;
	gateway->fatal = *err;
	gateway->fatal_message.run = report_fatal;
	env_post(gateway->admin_loop, &gateway->fatal_message);
}

/* Where the log's last checkpoint is kept a second time. A folder that the operator has named is
 * not made: it may be on a disk that is not there now. */
static enum err_code place_mark(struct gateway *gateway, enum control_log which, char *out,
				size_t size, struct err *err)
{
	static const char *const names[CONTROL_LOGS] = {"evaluation", "usage"};
	char folder[1024];
	const char *named = gateway->config->log.marks;
	ERR_TRY(config_data_path(gateway->config, "marks", folder, sizeof(folder), err));
	if (!named)
		ERR_TRY(env_make_directories(gateway->env, folder, err));
	int length = snprintf(out, size, "%s/%s.mark", named ? named : folder, names[which]);
	if (length < 0 || (size_t)length >= size)
		return ERR_SET(err, ERR_TOO_LARGE, "log.marks: the path is too long");
	if (named && !env_file_exists(gateway->env, named))
		return ERR_SET(
			err, ERR_USAGE,
			"log.marks: there is no folder %s; mount the disk that holds it, or make "
			"it before the first start",
			named);
	return ERR_OK;
}

static enum err_code open_log(struct gateway *gateway, enum control_log which, struct err *err)
{
	static const char *const names[CONTROL_LOGS] = {"log/evaluation", "log/usage"};
	static const char *const suffixes[CONTROL_LOGS] = {"", "/usage"};
	char directory[1024], mark[1200];
	struct log_options options = {.directory = directory,
				      .key = gateway->key,
				      .segment_size = gateway->options.segment_size,
				      .relaxed = !gateway->config->strict,
				      .fatal = log_failed,
				      .care_loop = gateway->care_loop,
				      .rot = gateway_hook_rot,
				      .argument = gateway};
	ERR_TRY(config_data_path(gateway->config, names[which], directory, sizeof(directory), err));
	snprintf(gateway->origins[which], sizeof(gateway->origins[which]), "%s%s",
		 gateway->config->name, suffixes[which]);
	options.origin = gateway->origins[which];
	options.mark = mark;
	ERR_TRY(place_mark(gateway, which, mark, sizeof(mark), err));
	/* Of its own for each log, so that an id tells which of them it is from. */
	struct hmac_key master;
	hmac_key_init(&master, gateway->secret, sizeof(gateway->secret));
	hmac_of(&master, options.origin, strlen(options.origin), options.secret);
	ERR_TRY(env_make_directories(gateway->env, directory, err));
	ERR_TRY(log_open(gateway->env, gateway->log_loop, &options, &gateway->logs[which], err));
	log_producer_init(&gateway->producers[which], gateway->logs[which], gateway->admin_loop);
	return ERR_OK;
}

static void admin_idle(void *argument)
{
	struct gateway *gateway = argument;
	for (int log = 0; log < CONTROL_LOGS; log++)
		if (gateway->logs[log])
			log_producer_turn(&gateway->producers[log], true);
}

/* ---- control plane ---- */

static enum err_code open_control(struct gateway *gateway, struct err *err)
{
	char path[1024];
	struct control_options options = {
		.env = gateway->env,
		.loop = gateway->admin_loop,
		.config = gateway->config,
		.store_path = NULL,
		.secret = gateway->secret,
		.log_key = gateway->key,
		.replace_keys = gateway->options.replace_keys,
		.replace_reason = gateway->options.replace_reason,
		.hooks = {.argument = gateway,
			  .record = gateway_hook_record,
			  .publish = gateway_hook_publish,
			  .log_position = gateway_hook_position,
			  .log_next = gateway_hook_next,
			  .log_checkpoint = gateway_hook_checkpoint,
			  .log_state = gateway_hook_log_state,
			  .log_scan = gateway_hook_scan},
	};
	if (gateway->options.store_path)
		ERR_TRY(config_data_path(gateway->config, gateway->options.store_path, path,
					 sizeof(path), err));
	if (gateway->options.store_path)
		options.store_path = path;
	ERR_TRY(control_open(&options, &gateway->control, err));
	buf_init(&gateway->verdict_note, NOTE_SIZE_MAX);
	return control_certify(gateway->control, CONTROL_SIGN_VERDICTS, &gateway->verdict_note,
			       err);
}

/* ---- workers ---- */

static unsigned wanted_workers(const struct gateway *gateway)
{
	cpu_set_t set;
	if (gateway->config->workers)
		return gateway->config->workers;
	if (sched_getaffinity(0, sizeof(set), &set) != 0)
		return 1;
	int count = CPU_COUNT(&set);
	return count > 0 ? (unsigned)count : 1;
}

static enum err_code listen_all(struct gateway *gateway, struct err *err)
{
	for (size_t i = 0; i < gateway->config->listen_count; i++) {
		gateway->addresses[i] = gateway->config->listen[i];
		/* The first worker may be given a free port; the others join it there. */
		for (unsigned w = 0; w < gateway->worker_count; w++)
			ERR_TRY(http_server_listen(gateway->workers[w].server,
						   &gateway->addresses[i], &gateway->addresses[i],
						   err));
	}
	return ERR_OK;
}

static enum err_code open_access_log(struct gateway *gateway, struct err *err)
{
	struct access_log_options options = {.env = gateway->env,
					     .path = gateway->config->access_log,
					     .loop = gateway->admin_loop,
					     .warn = gateway->options.warn,
					     .argument = gateway->options.argument};
	if (!options.path)
		return ERR_OK;
	if (access_log_open(&options, &gateway->access_log, err) != ERR_OK)
		return err_to_usage(err);
	for (unsigned i = 0; i < gateway->worker_count; i++)
		ERR_TRY(access_log_attach(gateway->access_log, &gateway->workers[i].access,
					  gateway->workers[i].loop, err));
	return ERR_OK;
}

void gateway_reopen_access_log(struct gateway *gateway)
{
	access_log_reopen(gateway->access_log);
}

static enum err_code open_workers(struct gateway *gateway, struct err *err)
{
	gateway->worker_count = wanted_workers(gateway);
	gateway->workers = calloc(gateway->worker_count, sizeof(*gateway->workers));
	if (!gateway->workers)
		return ERR_SET(err, ERR_NO_MEMORY, "out of memory");
	for (unsigned i = 0; i < gateway->worker_count; i++) {
		gateway->workers_inited++;
		/* What cannot be made of the configuration is in it, or in HTTPS_PROXY. */
		if (gate_worker_init(&gateway->workers[i], gateway, i, err) != ERR_OK)
			return err_to_usage(err);
		gateway->workers[i].world = control_world(gateway->control);
	}
	ERR_TRY(open_access_log(gateway, err));
	return listen_all(gateway, err);
}

/* ---- opening ---- */

static enum err_code open_nonces(struct gateway *gateway, struct err *err)
{
	static const char name[] = "nonces of signed requests";
	uint8_t secret[SHA256_SIZE];
	struct hmac_key master;
	hmac_key_init(&master, gateway->secret, sizeof(gateway->secret));
	hmac_of(&master, name, sizeof(name) - 1, secret);
	gateway->nonces = nonces_new(secret, NONCES_SLOTS);
	for (int log = 0; log < CONTROL_LOGS; log++)
		if (gateway_hook_position(gateway, (enum control_log)log) > 0)
			gateway->started_ms = env_wall_ms(gateway->env);
	return gateway->nonces ? ERR_OK : ERR_SET(err, ERR_NO_MEMORY, "out of memory");
}

static enum err_code open_parts(struct gateway *gateway, struct err *err)
{
	enum err_code code =
		backup_check_start(gateway->env, gateway->config, gateway->options.restored, err);
	if (code != ERR_OK) /* `data` may name a file */
		return err->sys == ENOTDIR ? err_to_usage(err) : code;
	ERR_TRY(load_secrets(gateway, err));
	gateway_name_metrics(gateway, gateway->config);
	gateway->log_loop = env_loop_new(gateway->env, "log", true);
	if (gateway->log_loop)
		gateway->log_loop->precise = true; /* commits are less than a millisecond apart */
	gateway->care_loop = env_loop_new(gateway->env, "care", true);
	if (!gateway->log_loop || !gateway->care_loop)
		return ERR_SET(err, ERR_NO_MEMORY, "out of memory");
	for (int log = 0; log < CONTROL_LOGS; log++)
		ERR_TRY(open_log(gateway, log, err));
	ERR_TRY(gateway_settle_rotation(gateway, err));
	ERR_TRY(open_nonces(gateway, err));
	gateway->admin_loop->idle = admin_idle;
	gateway->admin_loop->idle_argument = gateway;
	ERR_TRY(open_control(gateway, err));
	ERR_TRY(cosigning_new(gateway, &gateway->cosigning, err));
	ERR_TRY(open_workers(gateway, err));
	return gateway_admin_open(gateway, err);
}

/* A client takes at most two descriptors: its own and its call's. */
static enum err_code set_budget(struct gateway *gateway, struct err *err)
{
	uint64_t descriptors = gateway->options.descriptors;
	gateway->budget.memory_max = gateway->config->memory_max;
	if (!descriptors)
		return ERR_OK;
	if (descriptors < GATEWAY_DESCRIPTORS_KEPT + 2)
		return ERR_SET(err, ERR_ENVIRONMENT,
			       "the limit of %llu open files leaves none for clients; raise it to "
			       "at least %d (ulimit -n, or LimitNOFILE of the unit)",
			       (unsigned long long)descriptors, GATEWAY_DESCRIPTORS_KEPT + 2);
	uint64_t clients = (descriptors - GATEWAY_DESCRIPTORS_KEPT) / 2;
	gateway->budget.clients_max = clients < UINT_MAX ? (unsigned)clients : UINT_MAX;
	return ERR_OK;
}

enum err_code gateway_open(const struct gateway_options *options, struct gateway **out,
			   struct err *err)
{
	struct gateway *gateway = calloc(1, sizeof(*gateway));
	*out = NULL;
	if (!gateway)
		return ERR_SET(err, ERR_NO_MEMORY, "out of memory");
	gateway->options = *options;
	gateway->env = options->env;
	gateway->config = options->config;
	gateway->admin_loop = options->main_loop;
	pthread_mutex_init(&gateway->note_lock, NULL);
	env_random(gateway->env, gateway->ticket_key, sizeof(gateway->ticket_key));
	enum err_code code = set_budget(gateway, err);
	if (code == ERR_OK)
		code = open_parts(gateway, err);
	if (code != ERR_OK) {
		gateway_free(gateway);
		return code;
	}
	*out = gateway;
	return ERR_OK;
}

enum err_code gateway_start(struct gateway *gateway, struct err *err)
{
	gateway->started = true;
	ERR_TRY(env_loop_start(gateway->log_loop, -1, err));
	gateway->log_started = true;
	ERR_TRY(env_loop_start(gateway->care_loop, -1, err));
	gateway->care_started = true;
	if (gateway->access_log)
		ERR_TRY(access_log_start(gateway->access_log, err));
	for (unsigned i = 0; i < gateway->worker_count; i++) {
		ERR_TRY(env_loop_start(gateway->workers[i].loop,
				       gateway->config->workers ? -1 : (int)i, err));
		gateway->workers_running++;
	}
	cosigning_start(gateway->cosigning);
	return ERR_OK;
}

/* ---- stopping ---- */

static void join_loops(struct gateway *gateway)
{
	for (unsigned i = 0; i < gateway->workers_inited; i++) {
		if (!gateway->workers[i].loop)
			continue;
		env_loop_stop(gateway->workers[i].loop);
		env_loop_join(gateway->workers[i].loop);
	}
	if (gateway->log_loop && gateway->log_started) {
		env_loop_stop(gateway->log_loop);
		env_loop_join(gateway->log_loop);
		gateway->log_started = false;
	}
	if (gateway->care_loop && gateway->care_started) {
		env_loop_stop(gateway->care_loop);
		env_loop_join(gateway->care_loop);
		gateway->care_started = false;
	}
}

/* What the log loop has told the admin loop so far has arrived before this does: afterwards nobody
 * sends to the gateway any more, and its memory may go. */
static void farewell_at_admin(struct env_message *message)
{
	struct gateway *gateway =
		(struct gateway *)((char *)message - offsetof(struct gateway, farewell));
	gateway->options.stopped(gateway->options.argument, NULL);
}

static void farewell_at_log(struct env_message *message)
{
	struct gateway *gateway =
		(struct gateway *)((char *)message - offsetof(struct gateway, farewell));
	gateway->farewell.run = farewell_at_admin;
	env_post(gateway->admin_loop, &gateway->farewell);
}

static void finish_stop(struct env_timer *timer)
{
	struct gateway *gateway =
		(struct gateway *)((char *)timer - offsetof(struct gateway, stop_timer));
	control_end_reading(gateway->control);
	if (control_busy(gateway->control) || gateway->admin_calls > 0 || gateway->reload ||
	    gateway->rotation) {
		env_timer_arm(gateway->admin_loop, timer, gateway->admin_loop->now_ns + RETRY_NS);
		return;
	}
	gateway->over = true;
	gateway->farewell.run = farewell_at_log;
	env_post(gateway->log_loop, &gateway->farewell);
}

static void worker_is_stopped(struct env_message *message)
{
	struct gate_worker *worker =
		(struct gate_worker *)((char *)message -
				       offsetof(struct gate_worker, stopped_message));
	struct gateway *gateway = worker->gateway;
	if (--gateway->workers_running > 0)
		return;
	gateway->stop_timer.fire = finish_stop;
	finish_stop(&gateway->stop_timer);
}

void gateway_worker_stopped(struct gate_worker *worker)
{
	worker->stopped_message.run = worker_is_stopped;
	env_post(worker->gateway->admin_loop, &worker->stopped_message);
}

void gateway_stop(struct gateway *gateway)
{
	if (gateway->stopping)
		return;
	gateway->stopping = true;
	control_stop(gateway->control);
	cosigning_stop(gateway->cosigning);
	for (unsigned i = 0; i < gateway->worker_count; i++)
		gate_worker_stop(&gateway->workers[i]);
}

static void close_producers(struct gateway *gateway)
{
	for (int log = 0; log < CONTROL_LOGS; log++) {
		log_producer_close(&gateway->producers[log]);
		for (unsigned i = 0; i < gateway->workers_inited; i++)
			log_producer_close(&gateway->workers[i].producers[log]);
	}
}

void gateway_free(struct gateway *gateway)
{
	if (!gateway)
		return;
	struct err ignored = ERR_INIT;
	gateway_admin_close(gateway);
	join_loops(gateway);
	access_log_finish(gateway->access_log);
	close_producers(gateway);
	/* The logs first: they know of entries in the workers' requests. */
	for (int log = 0; log < CONTROL_LOGS; log++)
		if (gateway->logs[log])
			log_close(gateway->logs[log], &ignored);
	for (unsigned i = 0; i < gateway->workers_inited; i++)
		gate_worker_release(&gateway->workers[i]);
	access_log_free(gateway->access_log);
	free(gateway->workers);
	nonces_free(gateway->nonces);
	cosigning_free(gateway->cosigning);
	if (gateway->control)
		control_close(gateway->control);
	env_loop_free(gateway->log_loop);
	env_loop_free(gateway->care_loop);
	gateway->admin_loop->idle = NULL;
	ed25519_free(gateway->key);
	for (unsigned i = 0; i < gateway->retired_count; i++)
		ed25519_free(gateway->retired[i]);
	buf_release(&gateway->verdict_note);
	pthread_mutex_destroy(&gateway->note_lock);
	explicit_bzero(gateway->secret, sizeof(gateway->secret));
	explicit_bzero(gateway->ticket_key, sizeof(gateway->ticket_key));
	free(gateway);
}

/* ---- reloading ---- */

static void discard_settings(struct gateway_reload *reload, unsigned count)
{
	for (unsigned i = 0; reload->settings && i < count; i++)
		gate_settings_discard(&reload->settings[i]);
	free(reload->settings);
	reload->settings = NULL;
	explicit_bzero(reload->ticket_key, sizeof(reload->ticket_key));
}

/* Everything that can fail is made before anything is changed. */
static enum err_code prepare_reload(struct gateway *gateway, struct gateway_reload *reload,
				    struct err *err)
{
	if (gateway->reload || gateway->stopping)
		return ERR_SET(err, ERR_CONFLICT, "%s",
			       gateway->stopping ? "the gateway is stopping"
						 : "another reload is under way");
	/* Another key each time: who was let in by the old authorities must show his certificate
	 * again. */
	env_random(gateway->env, reload->ticket_key, sizeof(reload->ticket_key));
	reload->settings = calloc(gateway->worker_count, sizeof(*reload->settings));
	if (!reload->settings)
		return ERR_SET(err, ERR_NO_MEMORY, "out of memory");
	for (unsigned i = 0; i < gateway->worker_count; i++)
		ERR_TRY(gate_settings_make(&gateway->workers[i], reload->config, reload->ticket_key,
					   &reload->settings[i], err));
	return ERR_OK;
}

static void end_reload(struct gateway_reload *reload, enum err_code code, const struct err *err)
{
	struct gateway *gateway = reload->gateway;
	if (gateway->reload == reload)
		gateway->reload = NULL;
	discard_settings(reload, gateway->worker_count);
	reload->done(reload, code, err);
}

static void reconfigured(struct control_reconfigure *call, enum err_code code,
			 const struct err *err)
{
	struct gateway_reload *reload = call->argument;
	reload->unused = call->unused;
	end_reload(reload, code, err); /* the settings are empty where the workers have them */
}

static void reload_recorded(struct control_record *record, enum err_code code)
{
	struct gateway_reload *reload = record->argument;
	struct gateway *gateway = reload->gateway;
	struct err err = ERR_INIT;
	if (code != ERR_OK) {
		ERR_SET(&err, code, "the log has no room for the record of it");
		end_reload(reload, code, &err);
		return;
	}
	gateway_name_metrics(gateway, reload->config);
	reload->call = (struct control_reconfigure){
		.config = reload->config, .done = reconfigured, .argument = reload};
	control_reconfigure(gateway->control, &reload->call);
}

static void record_reload(struct gateway *gateway, struct gateway_reload *reload)
{
	const struct config *config = reload->config;
	struct record act = RECORD_INIT;
	int size = snprintf(reload->detail, sizeof(reload->detail),
			    "{\"max_body\":%zu,\"models\":%zu,\"providers\":%zu,\"tls\":%s}",
			    config->max_body, config->model_count, config->provider_count,
			    config->has_tls ? "true" : "false");
	act.kind = RECORD_ACT;
	act.act = BYTES("configuration.reload");
	act.person = BYTES("SIGHUP");
	act.detail = bytes_of(reload->detail, (size_t)size);
	reload->record = (struct control_record){.log = CONTROL_EVALUATION,
						 .record = act,
						 .done = reload_recorded,
						 .argument = reload,
						 .text = reload->text,
						 .capacity = sizeof(reload->text)};
	gateway_hook_record(gateway, &reload->record);
}

void gateway_reload(struct gateway *gateway, struct gateway_reload *reload)
{
	struct err err = ERR_INIT;
	reload->gateway = gateway;
	reload->unused = reload->config;
	reload->settings = NULL;
	enum err_code code = prepare_reload(gateway, reload, &err);
	if (code != ERR_OK) {
		end_reload(reload, code, &err);
		return;
	}
	gateway->reload = reload;
	record_reload(gateway, reload);
}

/* ---- what workers ask ---- */

struct nonces *gateway_nonces(const struct gateway *gateway)
{
	return gateway->nonces;
}

int64_t gateway_started_ms(const struct gateway *gateway)
{
	return gateway->started_ms;
}

const uint8_t *gateway_ticket_key(const struct gateway *gateway)
{
	return gateway->ticket_key;
}

const struct config *gateway_config(const struct gateway *gateway)
{
	return gateway->config;
}

uint64_t gateway_grace_ns(const struct gateway *gateway)
{
	return gateway->options.grace_ns ? gateway->options.grace_ns : GRACE_NS_DEFAULT;
}

struct net_budget *gateway_budget(struct gateway *gateway)
{
	return &gateway->budget;
}

unsigned gateway_clients_max(const struct gateway *gateway)
{
	return gateway->budget.clients_max;
}

struct gate_worker *gateway_worker(struct gateway *gateway, unsigned number)
{
	return number < gateway->worker_count ? &gateway->workers[number] : NULL;
}

struct log *gateway_log(struct gateway *gateway, enum control_log log)
{
	return gateway->logs[log];
}

struct control *gateway_control(struct gateway *gateway)
{
	return gateway->control;
}

struct env_loop *gateway_admin_loop(struct gateway *gateway)
{
	return gateway->admin_loop;
}

size_t gateway_addresses(const struct gateway *gateway, struct env_address *out, size_t max)
{
	size_t count = gateway->config->listen_count < max ? gateway->config->listen_count : max;
	memcpy(out, gateway->addresses, count * sizeof(*out));
	return count;
}

bool gateway_admin_address(const struct gateway *gateway, struct env_address *out)
{
	*out = gateway->admin_address;
	return gateway->has_admin_address;
}
