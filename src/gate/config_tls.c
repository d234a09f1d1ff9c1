/* `tls` of the listener and of a provider, and a provider's `timeouts`. Certificates are read and
 * tried when the configuration is read, so that a wrong one is told with its line, at the start and
 * at a reload, and never found out by the first connection. */
#include "gate/config_internal.h"

#include "proto/tls.h"

#include <string.h>

#define PEM_MAX ((size_t)16 << 20)
#define SECONDS_MIN 0.05
#define SECONDS_MAX 86400.0

static enum err_code read_pem(struct reading *reading, const json_t *tls, const char *key,
			      struct config_pem *out)
{
	const char *path;
	struct err reason = ERR_INIT;
	if (!json_object_get(tls, key))
		return ERR_OK;
	ERR_TRY(yaml_get_string(reading->tree, tls, key, &path, reading->err));
	if (!*path)
		return yaml_fail(reading->tree, tls, key, reading->err, ERR_INVALID,
				 "must name a PEM file");
	ERR_TRY(config_keep_path(reading, path, &out->path));
	if (!reading->env)
		return ERR_OK;
	struct buf text = BUF_INIT(PEM_MAX);
	enum err_code code = env_read_file(reading->env, out->path, &text, &reason);
	if (code != ERR_OK)
		yaml_fail(reading->tree, tls, key, reading->err, ERR_INVALID, "cannot be read: %s",
			  reason.message);
	char *copy = code == ERR_OK ? arena_copy(&reading->config->arena, buf_bytes(&text)) : NULL;
	out->text = (struct bytes){copy, copy ? text.size : 0};
	if (text.data)
		explicit_bzero(text.data, text.size);
	buf_release(&text);
	if (code != ERR_OK)
		return code;
	return copy ? ERR_OK : config_no_memory(reading->err);
}

/* A certificate without its key is of no use, nor a key alone. */
static enum err_code check_pair(struct reading *reading, const json_t *tls,
				const struct config_tls *out)
{
	bool certificate = out->certificate.path, key = out->key.path;
	if (certificate == key)
		return ERR_OK;
	return yaml_fail(reading->tree, tls, certificate ? "certificate" : "key", reading->err,
			 ERR_INVALID, "needs %s beside it", certificate ? "key" : "certificate");
}

static enum err_code try_out(struct reading *reading, const json_t *tls, enum err_code code,
			     struct tls_context *context, const struct err *reason)
{
	tls_context_free(context);
	if (code == ERR_OK)
		return ERR_OK;
	return yaml_fail(reading->tree, tls, NULL, reading->err, code, "%s", reason->message);
}

enum err_code config_read_listener_tls(struct reading *reading)
{
	static const char *const keys[] = {"certificate", "key", "client_ca", NULL};
	struct config_tls *out = &reading->config->tls;
	struct tls_context *context = NULL;
	struct err reason = ERR_INIT;
	json_t *tls;
	ERR_TRY(yaml_get_container(reading->tree, reading->root, "tls", JSON_OBJECT, true, &tls,
				   reading->err));
	if (!tls)
		return ERR_OK;
	ERR_TRY(yaml_only_keys(reading->tree, tls, keys, reading->err));
	ERR_TRY(read_pem(reading, tls, "certificate", &out->certificate));
	ERR_TRY(read_pem(reading, tls, "key", &out->key));
	ERR_TRY(read_pem(reading, tls, "client_ca", &out->authorities));
	if (!out->certificate.path || !out->key.path)
		return yaml_fail(reading->tree, tls, NULL, reading->err, ERR_INVALID,
				 "needs certificate and key, the names of PEM files");
	reading->config->has_tls = true;
	if (!reading->env)
		return ERR_OK;
	enum err_code code = tls_server_context_new(out->certificate.text, out->key.text,
						    out->authorities.text, &context, &reason);
	return try_out(reading, tls, code, context, &reason);
}

enum err_code config_read_provider_tls(struct reading *reading, const json_t *row,
				       struct config_provider *out)
{
	static const char *const keys[] = {"ca", "certificate", "key", NULL};
	struct tls_context *context = NULL;
	struct err reason = ERR_INIT;
	struct buf authorities = BUF_INIT(PEM_MAX);
	json_t *tls;
	ERR_TRY(yaml_get_container(reading->tree, row, "tls", JSON_OBJECT, true, &tls,
				   reading->err));
	if (!tls)
		return ERR_OK;
	ERR_TRY(yaml_only_keys(reading->tree, tls, keys, reading->err));
	if (strncmp(out->url, "https://", 8) != 0)
		return yaml_fail(reading->tree, row, "tls", reading->err, ERR_INVALID,
				 "is for a provider whose url begins with https://");
	ERR_TRY(read_pem(reading, tls, "ca", &out->tls.authorities));
	ERR_TRY(read_pem(reading, tls, "certificate", &out->tls.certificate));
	ERR_TRY(read_pem(reading, tls, "key", &out->tls.key));
	ERR_TRY(check_pair(reading, tls, &out->tls));
	if (!reading->env)
		return ERR_OK;
	struct bytes trusted = out->tls.authorities.text;
	if (!out->tls.authorities.path &&
	    env_read_file(reading->env, TLS_SYSTEM_AUTHORITIES, &authorities, &reason) == ERR_OK)
		trusted = buf_bytes(&authorities);
	enum err_code code = tls_client_context_new(trusted, out->tls.certificate.text,
						    out->tls.key.text, &context, &reason);
	buf_release(&authorities);
	return try_out(reading, tls, code, context, &reason);
}

enum err_code config_read_authorities(struct reading *reading, const json_t *row,
				      struct config_pem *out)
{
	static const struct bytes none;
	struct tls_context *context = NULL;
	struct err reason = ERR_INIT;
	ERR_TRY(read_pem(reading, row, "ca", out));
	if (!out->text.size)
		return ERR_OK;
	enum err_code code = tls_client_context_new(out->text, none, none, &context, &reason);
	return try_out(reading, row, code, context, &reason);
}

enum err_code config_read_timeouts(struct reading *reading, const json_t *row,
				   struct config_provider_timeouts *out)
{
	const struct config_timeouts *all = &reading->config->timeouts;
	const struct {
		const char *key;
		uint64_t fallback_ns, *out;
	} fields[] = {
		{"connect",    all->connect_ns,    &out->connect_ns   },
		{"first_byte", all->first_byte_ns, &out->first_byte_ns},
		{"stall",      all->stall_ns,      &out->stall_ns     },
	};
	static const char *const keys[] = {"connect", "first_byte", "stall", NULL};
	json_t *timeouts;
	ERR_TRY(yaml_get_container(reading->tree, row, "timeouts", JSON_OBJECT, true, &timeouts,
				   reading->err));
	if (timeouts)
		ERR_TRY(yaml_only_keys(reading->tree, timeouts, keys, reading->err));
	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		double seconds = 0;
		*fields[i].out = fields[i].fallback_ns;
		if (!timeouts || !json_object_get(timeouts, fields[i].key))
			continue;
		ERR_TRY(yaml_get_number_or(reading->tree, timeouts, fields[i].key, SECONDS_MIN,
					   SECONDS_MAX, SECONDS_MIN, &seconds, reading->err));
		*fields[i].out = (uint64_t)(seconds * 1e9);
	}
	return ERR_OK;
}

void config_forget_tls(struct config_tls *tls)
{
	if (tls->key.text.size)
		explicit_bzero((char *)tls->key.text.data, tls->key.text.size);
}
