/* `grade`: where sealed answers are judged. */
#include "gate/config_internal.h"

#include <stdio.h>
#include <string.h>

static enum err_code fail(struct reading *reading, const json_t *grade, const char *key,
			  const char *what)
{
	return yaml_fail(reading->tree, grade, key, reading->err, ERR_INVALID, "%s", what);
}

static enum err_code read_path(struct reading *reading, const json_t *grade, const char *text)
{
	char url[sizeof(((struct env_address *)0)->path) + 8];
	const char *path;
	ERR_TRY(config_keep_path(reading, text, &path));
	int size = snprintf(url, sizeof(url), "unix:%s", path);
	if (!*text || size < 0 || (size_t)size >= sizeof(url))
		return fail(reading, grade, "socket", "the path is empty or too long");
	return config_keep(reading, url, &reading->config->grader);
}

/* What answers travel to in clear stays on this machine. */
static enum err_code read_plain(struct reading *reading, const json_t *grade, const char *text)
{
	struct env_address address;
	struct err reason = ERR_INIT;
	char url[120] = "http://";
	if (env_address_parse(bytes_from(text), &address, &reason) != ERR_OK)
		return fail(reading, grade, "socket", reason.message);
	if (!env_address_is_loopback(&address))
		return fail(reading, grade, "socket",
			    "sealed answers would travel in clear: on another machine the grader "
			    "has `url: \"https://HOST:PORT\"` and `tls: { ca, certificate, key }`");
	env_address_format(&address, url + 7, sizeof(url) - 7);
	return config_keep(reading, url, &reading->config->grader);
}

static enum err_code read_socket(struct reading *reading, const json_t *grade)
{
	const char *socket;
	ERR_TRY(yaml_get_string(reading->tree, grade, "socket", &socket, reading->err));
	if (json_object_get(grade, "tls"))
		return fail(reading, grade, "tls", "is for a grader with `url: \"https://…\"`");
	return strncmp(socket, "unix:", 5) == 0 ? read_path(reading, grade, socket + 5)
						: read_plain(reading, grade, socket);
}

/* Both sides show a certificate: whoever else reaches the grader's port could ask it to run
 * programs, and whoever stands in its place would see the answers. */
static enum err_code read_url(struct reading *reading, const json_t *grade)
{
	struct config_provider row = {0};
	ERR_TRY(yaml_get_string(reading->tree, grade, "url", &row.url, reading->err));
	if (strncmp(row.url, "https://", 8) != 0 || strpbrk(row.url + 8, "/?#@") || !row.url[8])
		return fail(reading, grade, "url", "must be https://HOST:PORT");
	ERR_TRY(config_keep(reading, row.url, &reading->config->grader));
	ERR_TRY(config_read_provider_tls(reading, grade, &row));
	reading->config->grader_tls = row.tls;
	if (!row.tls.certificate.path || !row.tls.authorities.path)
		return fail(reading, grade, json_object_get(grade, "tls") ? "tls" : "url",
			    "needs tls: { ca, certificate, key }: the grader's authority and the "
			    "gateway's own certificate, which `parley grade --client-ca` asks for");
	return ERR_OK;
}

enum err_code config_read_grade(struct reading *reading)
{
	static const char *const keys[] = {"socket", "url", "tls", NULL};
	struct config *config = reading->config;
	json_t *grade = json_object_get(reading->root, "grade");
	char url[sizeof(((struct env_address *)0)->path) + 8];
	if (!grade || json_is_null(grade))
		return ERR_OK;
	config->grader_spawned =
		json_is_string(grade) && strcmp(json_string_value(grade), "spawn") == 0;
	if (config->grader_spawned) {
		ERR_TRY(config_data_path(config, "grade.sock", url + 5, sizeof(url) - 5,
					 reading->err));
		memcpy(url, "unix:", 5);
		return config_keep(reading, url, &config->grader);
	}
	if (!json_is_object(grade))
		return fail(reading, reading->root, "grade",
			    "must be spawn, { socket: unix:PATH } or { url: \"https://HOST:PORT\", "
			    "tls: … }");
	ERR_TRY(yaml_only_keys(reading->tree, grade, keys, reading->err));
	if (json_object_get(grade, "url") && json_object_get(grade, "socket"))
		return fail(reading, grade, "url", "is in place of socket: name one of them");
	return json_object_get(grade, "url") ? read_url(reading, grade)
					     : read_socket(reading, grade);
}
