#include "witness/config.h"

#include "base/yaml.h"

#include <stdio.h>
#include <stdlib.h>

#define PEM_MAX ((size_t)1 << 20)
#define TEXT_MAX ((size_t)1 << 20)
#define PATH_SIZE 4096

struct reading {
	struct env *env;
	const char *path; /* of the file */
	struct yaml_tree *tree;
	struct witness_config *config;
	struct err *err;
};

static enum err_code resolve(const struct reading *reading, const json_t *object, const char *key,
			     const char *name, char out[static PATH_SIZE])
{
	const char *slash = name[0] == '/' ? NULL : strrchr(reading->path, '/');
	int prefix = slash ? (int)(slash - reading->path) + 1 : 0;
	int length = snprintf(out, PATH_SIZE, "%.*s%s", prefix, reading->path, name);
	if (!*name || length < 0 || length >= PATH_SIZE)
		return yaml_fail(reading->tree, object, key, reading->err, ERR_INVALID,
				 "is no usable path");
	return ERR_OK;
}

static enum err_code read_pem(struct reading *reading, const json_t *object, const char *key,
			      struct buf *out)
{
	const char *name;
	char path[PATH_SIZE];
	struct err reason = ERR_INIT;
	ERR_TRY(yaml_get_string(reading->tree, object, key, &name, reading->err));
	ERR_TRY(resolve(reading, object, key, name, path));
	if (env_read_file(reading->env, path, out, &reason) == ERR_OK)
		return ERR_OK;
	return yaml_fail(reading->tree, object, key, reading->err, ERR_INVALID,
			 "cannot be read: %s", reason.message);
}

static enum err_code read_key(struct reading *reading, const json_t *root)
{
	struct buf pem = BUF_INIT(PEM_MAX);
	struct err reason = ERR_INIT;
	const char *name;
	uint8_t public_key[ED25519_KEY_SIZE];
	enum err_code code = read_pem(reading, root, "key", &pem);
	if (code == ERR_OK &&
	    ed25519_from_pem(buf_bytes(&pem), &reading->config->private_key, &reason) != ERR_OK)
		code = yaml_fail(reading->tree, root, "key", reading->err, ERR_INVALID,
				 "%s (make one with: parley keygen -o FILE)", reason.message);
	if (pem.data)
		explicit_bzero(pem.data, pem.size);
	buf_release(&pem);
	ERR_TRY(code);
	ed25519_public(reading->config->private_key, public_key);
	ERR_TRY(yaml_get_string(reading->tree, root, "name", &name, reading->err));
	if (note_cosigner_init(&reading->config->key, name, public_key, &reason) != ERR_OK)
		return yaml_fail(reading->tree, root, "name", reading->err, ERR_INVALID, "%s",
				 reason.message);
	return ERR_OK;
}

static enum err_code read_logs(struct reading *reading, const json_t *root)
{
	struct witness_config *config = reading->config;
	struct err reason = ERR_INIT;
	json_t *logs;
	ERR_TRY(yaml_get_strings(reading->tree, root, "logs", false, &logs, reading->err));
	size_t count = json_array_size(logs);
	if (count == 0 || count > WITNESS_KEYS_MAX)
		return yaml_fail(reading->tree, root, "logs", reading->err, ERR_INVALID,
				 "names 1 to %u logs by their verifier keys", WITNESS_KEYS_MAX);
	config->logs = calloc(count, sizeof(*config->logs));
	if (!config->logs)
		return ERR_SET(reading->err, ERR_NO_MEMORY, "out of memory");
	for (; config->log_count < count; config->log_count++) {
		const char *text = json_string_value(json_array_get(logs, config->log_count));
		struct note_key *key = &config->logs[config->log_count];
		if (note_key_parse(bytes_from(text), key, &reason) != ERR_OK)
			return yaml_fail_at(reading->tree, logs, config->log_count, reading->err,
					    ERR_INVALID, "%s", reason.message);
		if (memcmp(key->public_key, config->key.public_key, ED25519_KEY_SIZE) == 0)
			return yaml_fail_at(reading->tree, logs, config->log_count, reading->err,
					    ERR_INVALID,
					    "is signed with the witness's own key: a witness needs "
					    "a key of its own");
	}
	return ERR_OK;
}

static enum err_code read_tls(struct reading *reading, const json_t *root)
{
	static const char *const keys[] = {"certificate", "key", NULL};
	json_t *tls;
	ERR_TRY(yaml_get_container(reading->tree, root, "tls", JSON_OBJECT, true, &tls,
				   reading->err));
	if (!tls)
		return ERR_OK;
	ERR_TRY(yaml_only_keys(reading->tree, tls, keys, reading->err));
	ERR_TRY(read_pem(reading, tls, "certificate", &reading->config->certificate));
	return read_pem(reading, tls, "key", &reading->config->certificate_key);
}

static enum err_code read_root(struct reading *reading)
{
	static const char *const keys[] = {"name", "listen", "key", "state", "logs", "tls", NULL};
	const json_t *root = yaml_root(reading->tree);
	struct err reason = ERR_INIT;
	const char *listen, *state;
	ERR_TRY(yaml_only_keys(reading->tree, root, keys, reading->err));
	ERR_TRY(read_key(reading, root));
	ERR_TRY(yaml_get_string_or(reading->tree, root, "listen", "127.0.0.1:8085", &listen,
				   reading->err));
	if (env_address_parse(bytes_from(listen), &reading->config->listen, &reason) != ERR_OK)
		return yaml_fail(reading->tree, root, "listen", reading->err, ERR_INVALID, "%s",
				 reason.message);
	ERR_TRY(yaml_get_string_or(reading->tree, root, "state", "state", &state, reading->err));
	ERR_TRY(resolve(reading, root, "state", state, reading->config->state));
	ERR_TRY(read_logs(reading, root));
	return read_tls(reading, root);
}

enum err_code witness_config_load(struct env *env, const char *path, struct witness_config *out,
				  struct err *err)
{
	struct buf text = BUF_INIT(TEXT_MAX);
	struct reading reading = {.env = env, .path = path, .config = out, .err = err};
	*out = (struct witness_config){0};
	buf_init(&out->certificate, PEM_MAX);
	buf_init(&out->certificate_key, PEM_MAX);
	enum err_code code = env_read_file(env, path, &text, err);
	if (code == ERR_NOT_FOUND)
		ERR_SET(err, code,
			"%s: there is no such file; `parley witness --help` tells what stands in "
			"it, and `-c FILE` names another",
			path);
	if (code == ERR_OK)
		code = yaml_parse(buf_bytes(&text), path, &reading.tree, err);
	if (code == ERR_OK)
		code = read_root(&reading);
	yaml_tree_free(reading.tree);
	buf_release(&text);
	return code;
}

void witness_config_release(struct witness_config *config)
{
	ed25519_free(config->private_key);
	free(config->logs);
	if (config->certificate_key.data)
		explicit_bzero(config->certificate_key.data, config->certificate_key.size);
	buf_release(&config->certificate);
	buf_release(&config->certificate_key);
	*config = (struct witness_config){0};
}
