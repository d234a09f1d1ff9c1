#include "grade/service.h"

#include "base/json.h"
#include "grade/code.h"
#include "grade/scorer.h"
#include "net/http_server.h"

#include <stdlib.h>

#define SECOND_NS 1000000000ull
#define REPLY_MAX ((size_t)4096)

struct grade_service {
	struct grade_service_options options;
	struct http_server *server;
	struct sandbox_warm *warm;
	unsigned waiting; /* gradings that run or wait */
	struct grade_service_counts counts;
};

/* One grading: a job, which the client may have left. */
struct grading {
	struct env_job job;
	struct grade_service *service;
	struct http_exchange *exchange; /* NULL: the client is gone */
	json_t *ask;
	struct score score;
	enum err_code code;
	struct err err;
};

/* ---- what goes over the wire ---- */

void grade_ask_write(struct bytes scorer, struct bytes answer, struct buf *out)
{
	buf_append_cstr(out, "{\"answer\":");
	json_append_string(out, answer);
	buf_append_cstr(out, ",\"scorer\":");
	buf_append_bytes(out, scorer);
	buf_append_char(out, '}');
}

static void reply_write(const struct score *score, struct buf *out)
{
	char number[32];
	size_t size = json_number_text(score->value, number);
	buf_printf(out, "{\"refused\":%d,\"score\":%.*s,\"time_limited\":%s}", (int)score->refused,
		   (int)size, number, score->time_limited ? "true" : "false");
}

enum err_code grade_reply_read(struct bytes body, struct score *score, struct err *err)
{
	static const char *const keys[] = {"refused", "score", "time_limited", NULL};
	json_t *tree = NULL;
	int64_t refused;
	*score = (struct score){.refused = REFUSED_UNKNOWN};
	ERR_TRY(json_parse(body, "the grader's reply", &tree, err));
	const json_t *value = json_object_get(tree, "score");
	enum err_code code = json_only_keys(tree, keys, "the grader's reply", err);
	if (code == ERR_OK)
		code = json_get_integer(tree, "refused", "the grader's reply", -1, 1, &refused,
					err);
	if (code == ERR_OK)
		code = json_get_bool_or(tree, "time_limited", "the grader's reply", false,
					&score->time_limited, err);
	score->value = json_number_value(value);
	if (code == ERR_OK && (!json_is_number(value) || !(score->value >= 0 && score->value <= 1)))
		code = ERR_SET(err, ERR_INVALID,
			       "the grader's reply: score: must be a number from 0 to 1");
	if (code == ERR_OK)
		score->refused = (enum refused)refused;
	json_decref(tree);
	return code;
}

/* ---- answering ---- */

static void respond(struct http_exchange *exchange, int status, struct bytes body)
{
	struct http_header type = {"content-type", BYTES("application/json")};
	exchange->user = NULL;
	http_respond(exchange, status, &type, 1, body);
}

static void respond_error(struct http_exchange *exchange, int status, const char *message)
{
	struct buf body = BUF_INIT(REPLY_MAX);
	buf_append_cstr(&body, "{\"error\":");
	json_append_string(&body, bytes_from(message));
	buf_append_char(&body, '}');
	respond(exchange, status, buf_bytes(&body));
	buf_release(&body);
}

/* ---- gradings ---- */

static void grading_run(struct env_job *job)
{
	struct grading *grading = (struct grading *)job;
	const json_t *answer = json_object_get(grading->ask, "answer");
	grading->code =
		scorer_grade_warm(grading->service->warm, json_object_get(grading->ask, "scorer"),
				  bytes_of(json_string_value(answer), json_string_length(answer)),
				  &grading->score, &grading->err);
}

static void grading_free(struct grading *grading)
{
	json_decref(grading->ask);
	free(grading);
}

static void grading_done(struct env_job *job)
{
	struct grading *grading = (struct grading *)job;
	struct grade_service *service = grading->service;
	struct buf body = BUF_INIT(REPLY_MAX);
	service->waiting--;
	service->counts.graded += grading->code == ERR_OK;
	service->counts.failed += grading->code != ERR_OK;
	if (grading->exchange && grading->code == ERR_OK) {
		reply_write(&grading->score, &body);
		respond(grading->exchange, 200, buf_bytes(&body));
	} else if (grading->exchange) {
		/* A spec that is wrong stays wrong; whatever else failed may work another time. */
		respond_error(grading->exchange, grading->code == ERR_INVALID ? 422 : 500,
			      grading->err.message);
	}
	buf_release(&body);
	grading_free(grading);
}

static void grade(struct grade_service *service, struct http_exchange *exchange)
{
	static const char *const keys[] = {"answer", "scorer", NULL};
	struct err err = ERR_INIT;
	const char *answer;
	struct grading *grading = calloc(1, sizeof(*grading));
	if (!grading) {
		respond_error(exchange, 503, "out of memory");
		return;
	}
	enum err_code code = json_parse(exchange->body, "the request", &grading->ask, &err);
	if (code == ERR_OK)
		code = json_only_keys(grading->ask, keys, "the request", &err);
	if (code == ERR_OK)
		code = json_get_string(grading->ask, "answer", "the request", &answer, &err);
	if (code != ERR_OK) {
		respond_error(exchange, 400, err.message);
		grading_free(grading);
		return;
	}
	service->waiting++;
	grading->service = service;
	grading->exchange = exchange;
	exchange->user = grading;
	grading->job.run = grading_run;
	grading->job.done = grading_done;
	env_job_start(service->options.loop, &grading->job);
}

/* ---- the server's handlers ---- */

static void arrived(struct http_exchange *exchange)
{
	struct grade_service *service = exchange->server_user;
	const char *data = exchange->head_bytes.data;
	struct bytes path = http_bytes(data, exchange->head->path);
	struct bytes method = http_bytes(data, exchange->head->method);
	bool ready = bytes_is(path, "/ready") && bytes_is(method, "GET");
	exchange->user = NULL;
	if (!ready && !(bytes_is(path, "/grade") && bytes_is(method, "POST"))) {
		respond_error(exchange, 404, "GET /ready and POST /grade are served here");
	} else if (service->waiting >= service->options.queue_max) {
		service->counts.turned_away++;
		respond_error(exchange, 503, "the queue is full");
	} else if (ready) {
		respond(exchange, 200, BYTES("{\"ready\":true}"));
	} else {
		grade(service, exchange);
	}
}

static void aborted(struct http_exchange *exchange)
{
	struct grading *grading = exchange->user;
	if (grading)
		grading->exchange = NULL;
}

/* ---- making and freeing ---- */

struct grade_service *grade_service_new(const struct grade_service_options *options)
{
	struct grade_service *service = calloc(1, sizeof(*service));
	if (!service)
		return NULL;
	struct http_server_options server = {
		.argument = service,
		.request = arrived,
		.aborted = aborted,
		.body_max = GRADE_SERVICE_BODY_MAX,
		.head_timeout_ns = 10 * SECOND_NS,
		.body_timeout_ns = 30 * SECOND_NS,
		.idle_timeout_ns = 120 * SECOND_NS,
		.write_timeout_ns = 30 * SECOND_NS,
		.connections_max = options->connections_max,
	};
	service->options = *options;
	service->warm = code_warm_new();
	service->server = service->warm ? http_server_new(options->loop, &server) : NULL;
	if (service->server)
		return service;
	sandbox_warm_free(service->warm);
	free(service);
	return NULL;
}

enum err_code grade_service_listen(struct grade_service *service, const struct env_address *address,
				   struct env_address *bound, struct err *err)
{
	return http_server_listen(service->server, address, bound, err);
}

void grade_service_stop(struct grade_service *service, void (*done)(void *argument), void *argument)
{
	http_server_stop(service->server, done, argument);
}

void grade_service_set_tls(struct grade_service *service, struct tls_context *context)
{
	http_server_set_tls(service->server, context);
}

void grade_service_free(struct grade_service *service)
{
	if (!service)
		return;
	http_server_free(service->server);
	sandbox_warm_free(service->warm);
	free(service);
}

struct grade_service_counts grade_service_counts(const struct grade_service *service)
{
	return service->counts;
}
