#include "witness/witness.h"

#include "ledger/cosignature.h"
#include "net/http_server.h"

#include <stdlib.h>

#define SECOND_NS UINT64_C(1000000000)
#define CONNECTIONS_MAX 256

static const char plain[] = "text/plain; charset=utf-8";

struct witness {
	struct witness_options options;
	struct witness_state *state;
	struct http_server *server;
	struct witness_request request; /* the one at hand */
};

/* ---- one request ---- */

static void tell(struct witness *witness, int status, const struct err *err)
{
	const struct witness_request *request = &witness->request;
	struct witness_event event = {.status = status,
				      .origin = request->head.origin,
				      .old_size = request->add.old_size,
				      .size = request->head.size,
				      .reason = status == 200 ? "" : err->message};
	if (witness->options.told)
		witness->options.told(witness->options.argument, &event);
}

static int refuse(int status, const struct witness_head *last, const struct err *err,
		  struct buf *out, const char **type)
{
	if (status == 409) {
		*type = ADD_CHECKPOINT_SIZE_TYPE;
		buf_printf(out, "%llu\n", (unsigned long long)(last ? last->size : 0));
	} else {
		buf_printf(out, "%s\n", err->message);
	}
	return status;
}

/* The time of the cosignature is taken before the new head is durable, so that it is never later
 * than what it says. */
static int cosign(struct witness *witness, struct buf *out, struct err *err)
{
	const struct witness_request *request = &witness->request;
	const struct witness_config *config = witness->options.config;
	uint64_t now_s = (uint64_t)(env_wall_ms(witness->options.env) / 1000);
	if (witness_state_update(witness->state, &request->head, err) != ERR_OK) {
		err_prefix(err, "the state cannot be written");
		return 503;
	}
	enum err_code code = cosignature_sign(request->note.text, &config->key, config->private_key,
					      now_s, out, err);
	return code == ERR_OK ? 200 : 503;
}

int witness_answer(struct witness *witness, struct bytes body, struct buf *out, const char **type)
{
	struct err err = ERR_INIT;
	const struct witness_config *config = witness->options.config;
	const struct witness_head *last = NULL;
	*type = plain;
	memset(&witness->request, 0, sizeof(witness->request));
	int status = witness_read(config->logs, config->log_count, body, &witness->request, &err);
	if (status == 200) {
		last = witness_state_find(witness->state, witness->request.head.origin);
		status = witness_judge(&witness->request, last, &err);
	}
	if (status == 200)
		status = cosign(witness, out, &err);
	if (status != 200)
		refuse(status, last, &err, out, type);
	tell(witness, status, &err);
	return status;
}

/* ---- the server ---- */

static void respond(struct http_exchange *exchange, int status, const char *type, struct bytes body)
{
	const struct http_header headers[] = {
		{"content-type",  bytes_from(type) },
		{"cache-control", BYTES("no-store")},
		{"allow",	  BYTES("POST")    }, /* RFC 9110, section 15.5.6 */
	};
	http_respond(exchange, status, headers, status == 405 ? 3 : 2, body);
}

static void request_arrived(struct http_exchange *exchange)
{
	struct witness *witness = exchange->server_user;
	const char *data = exchange->head_bytes.data;
	struct buf out = BUF_INIT(NOTE_SIZE_MAX);
	const char *type = plain;
	if (!bytes_is(http_bytes(data, exchange->head->path), ADD_CHECKPOINT_PATH)) {
		respond(exchange, 404, plain, BYTES("a witness has /add-checkpoint alone\n"));
		return;
	}
	if (!bytes_is(http_bytes(data, exchange->head->method), "POST")) {
		respond(exchange, 405, plain, BYTES("checkpoints are added by POST\n"));
		return;
	}
	int status = witness_answer(witness, exchange->body, &out, &type);
	if (out.failed)
		respond(exchange, 503, plain, BYTES("out of memory\n"));
	else
		respond(exchange, status, type, buf_bytes(&out));
	buf_release(&out);
}

static void request_aborted(struct http_exchange *exchange)
{
	(void)exchange; /* it was answered in the same turn */
}

static enum err_code start_tls(struct witness *witness, struct err *err)
{
	const struct witness_config *config = witness->options.config;
	static const struct bytes none;
	struct tls_context *context = NULL;
	if (config->certificate.size == 0)
		return ERR_OK;
	ERR_TRY(tls_server_context_new(buf_bytes(&config->certificate),
				       buf_bytes(&config->certificate_key), none, &context, err));
	http_server_set_tls(witness->server, context);
	tls_context_free(context);
	return ERR_OK;
}

static enum err_code serve(struct witness *witness, struct env_address *bound, struct err *err)
{
	const struct witness_options *options = &witness->options;
	struct http_server_options server = {
		.argument = witness,
		.request = request_arrived,
		.aborted = request_aborted,
		.body_max = ADD_CHECKPOINT_BODY_MAX,
		.head_timeout_ns = 10 * SECOND_NS,
		.body_timeout_ns = 10 * SECOND_NS,
		.idle_timeout_ns = 300 * SECOND_NS,
		.write_timeout_ns = 30 * SECOND_NS,
		.connections_max = CONNECTIONS_MAX,
	};
	ERR_TRY(witness_state_open(options->env, options->config->state, &witness->state, err));
	witness->server = http_server_new(options->loop, &server);
	if (!witness->server)
		return ERR_SET(err, ERR_NO_MEMORY, "out of memory");
	ERR_TRY(start_tls(witness, err));
	return http_server_listen(witness->server, &options->config->listen, bound, err);
}

enum err_code witness_open(const struct witness_options *options, struct witness **out,
			   struct env_address *bound, struct err *err)
{
	*out = NULL;
	struct witness *witness = calloc(1, sizeof(*witness));
	if (!witness)
		return ERR_SET(err, ERR_NO_MEMORY, "out of memory");
	witness->options = *options;
	enum err_code code = serve(witness, bound, err);
	if (code != ERR_OK) {
		witness_close(witness);
		return code;
	}
	*out = witness;
	return ERR_OK;
}

void witness_stop(struct witness *witness, void (*done)(void *argument), void *argument)
{
	http_server_stop(witness->server, done, argument);
}

void witness_close(struct witness *witness)
{
	if (!witness)
		return;
	http_server_free(witness->server);
	witness_state_close(witness->state);
	free(witness);
}
