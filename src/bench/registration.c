#include "bench/registration.h"

#include "base/json.h"
#include "bench/rest.h"
#include "bench/text.h"
#include "proto/url.h"

#include <stdio.h>
#include <stdlib.h>

#define PEM_MAX ((size_t)16 << 20)
#define CONNECT_TIMEOUT_NS 10000000000u
#define SUITES_PATH "/parley/v1/suites"

/* ---- what is said ---- */

void registration_read_purposes(const json_t *self, struct registration_purposes *out)
{
	const json_t *grant = json_object_get(self, "grant");
	const json_t *list = json_object_get(json_is_object(grant) ? grant : self, "purposes");
	*out = (struct registration_purposes){0};
	for (size_t i = 0; i < json_array_size(list); i++) {
		struct bytes purpose = bytes_from(json_string_value(json_array_get(list, i)));
		out->capability |= bytes_is(purpose, "capability_benchmark");
		out->safety |= bytes_is(purpose, "safety_evaluation");
	}
}

const char *registration_purpose(const struct registration_purposes *purposes, enum suite_kind kind)
{
	bool safety = kind == SUITE_SAFETY;
	if (safety ? !purposes->safety : !purposes->capability)
		safety = !safety;
	return safety ? "safety_evaluation" : "capability_benchmark";
}

enum err_code registration_usable(const json_t *response, struct err *err)
{
	const char *text = json_string_value(json_object_get(response, "note"));
	char note[400];
	if (!json_is_false(json_object_get(response, "usable")))
		return ERR_OK;
	text_line(note, sizeof(note), bytes_from(text ? text : "its class is not granted"));
	return ERR_SET(err, ERR_DENIED, "%s", note);
}

/* ---- one call ---- */

struct calling {
	struct rest rest; /* first */
	struct err err;
	struct signer signer;
	struct http_pool *pool;
	struct http_origin *origin;
	struct buf authorities, certificate, key, credential;
};

static void answered(struct rest *rest, const struct err *err)
{
	((struct calling *)rest)->err = *err;
	env_loop_stop(rest->loop);
}

static enum err_code read_optional(struct env *env, const char *path, struct buf *out,
				   struct err *err)
{
	return path ? env_read_file(env, path, out, err) : ERR_OK;
}

static enum err_code open_calling(struct calling *calling, struct env *env,
				  const struct gateway_account *account, struct err *err)
{
	struct url url;
	ERR_TRY(url_parse(bytes_from(account->url), &url, err));
	ERR_TRY(read_optional(env, account->authorities, &calling->authorities, err));
	ERR_TRY(read_optional(env, account->client_certificate, &calling->certificate, err));
	ERR_TRY(read_optional(env, account->client_key, &calling->key, err));
	if (account->signing_key)
		ERR_TRY(signer_open(&calling->signer, env, account->signing_key, url.tls, err));
	struct http_pool_options options = {.connections_max = 1,
					    .idle_max = 1,
					    .connect_timeout_ns = CONNECT_TIMEOUT_NS,
					    .ca_pem = buf_bytes(&calling->authorities),
					    .https_proxy = getenv("HTTPS_PROXY"),
					    .no_proxy = getenv("NO_PROXY")};
	struct http_origin_options own = {.certificate = buf_bytes(&calling->certificate),
					  .key = buf_bytes(&calling->key)};
	calling->pool = http_pool_new(calling->rest.loop, &options);
	if (!calling->pool)
		return ERR_SET(err, ERR_NO_MEMORY, "out of memory");
	buf_printf(&calling->credential, "authorization: Bearer %s\r\n", account->key);
	calling->rest.signer = &calling->signer;
	calling->rest.done = answered;
	return http_pool_origin_with(calling->pool, bytes_from(account->url), &own,
				     &calling->origin, err);
}

static void close_calling(struct calling *calling)
{
	struct buf *secrets[] = {&calling->key, &calling->credential};
	rest_release(&calling->rest);
	http_pool_free(calling->pool);
	signer_close(&calling->signer);
	for (size_t i = 0; i < sizeof(secrets) / sizeof(secrets[0]); i++) {
		if (secrets[i]->data)
			explicit_bzero(secrets[i]->data, secrets[i]->size);
		buf_release(secrets[i]);
	}
	buf_release(&calling->authorities);
	buf_release(&calling->certificate);
}

static enum err_code take_answer(const struct calling *calling, const char *url, json_t **out,
				 struct err *err)
{
	const struct rest *rest = &calling->rest;
	char why[400];
	if (calling->err.code != ERR_OK) {
		*err = calling->err;
		return err->code;
	}
	rest_describe(rest, why, sizeof(why));
	if (rest->status >= 400 && !rest->problem)
		return ERR_SET(err, ERR_DENIED, "%s is no Parley gateway, or an older one: %s", url,
			       why);
	if (rest->status >= 400)
		return ERR_SET(err, ERR_DENIED, "%s", why);
	return json_parse(buf_bytes(&rest->response), "the gateway's answer", out, err);
}

enum err_code registration_call(struct env *env, const struct gateway_account *account,
				const char *method, const char *path, struct bytes body,
				json_t **out, struct err *err)
{
	struct env_loop *loop = env_loop_new(env, "client", false);
	struct calling calling = {.authorities = BUF_INIT(PEM_MAX),
				  .certificate = BUF_INIT(PEM_MAX),
				  .key = BUF_INIT(PEM_MAX),
				  .credential = BUF_INIT(8192)};
	*out = NULL;
	if (!loop)
		return ERR_SET(err, ERR_ENVIRONMENT, "cannot make an event loop");
	rest_init(&calling.rest, loop);
	enum err_code code = open_calling(&calling, env, account, err);
	if (code == ERR_OK) {
		rest_start(&calling.rest, calling.origin, method, path,
			   buf_bytes(&calling.credential), body);
		env_loop_run(loop);
		code = take_answer(&calling, account->url, out, err);
	}
	close_calling(&calling);
	env_loop_free(loop);
	return code;
}

/* ---- registering ---- */

static enum err_code write_registration(const struct suite *suite, const json_t *self, bool sealed,
					struct buf *out, struct err *err)
{
	struct registration_purposes purposes;
	const char *release =
		json_string_value(json_object_get(json_object_get(self, "grant"), "release"));
	bool verdicts = release && strcmp(release, "V0") == 0;
	registration_read_purposes(self, &purposes);
	if (!purposes.capability && !purposes.safety)
		return ERR_SET(err, ERR_DENIED,
			       "the grant of this key has no evaluation purpose: its requests are "
			       "bound to no suite, and none is registered under it");
	return suite_registration(suite, registration_purpose(&purposes, suite_kind(suite)),
				  !sealed    ? SUITE_ITEMS
				  : verdicts ? SUITE_GRADINGS
					     : SUITE_SEALED,
				  out, err);
}

enum err_code registration_register(struct env *env, const struct gateway_account *account,
				    const struct suite *suite, bool sealed, json_t **out,
				    struct err *err)
{
	struct buf body = BUF_INIT(REGISTRATION_MAX);
	json_t *self;
	*out = NULL;
	ERR_TRY(registration_call(env, account, "GET", REGISTRATION_SELF_PATH, bytes_of(NULL, 0),
				  &self, err));
	enum err_code code = write_registration(suite, self, sealed, &body, err);
	json_decref(self);
	if (code == ERR_OK)
		code = registration_call(env, account, "POST", SUITES_PATH, buf_bytes(&body), out,
					 err);
	buf_release(&body);
	return code;
}
