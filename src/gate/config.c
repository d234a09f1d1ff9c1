#include "gate/config_internal.h"

#include "proto/url.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define ARENA_BLOCK 4096
#define ARENA_MAX ((size_t)16 << 20)
#define VARIABLE_NAME_MAX 128
#define SUBSTITUTED_MAX ((size_t)1 << 20)
#define NAME_MAX_BYTES 128
#define PRICE_MAX 1e6

enum err_code config_no_memory(struct err *err)
{
	return ERR_SET(err, ERR_NO_MEMORY, "no memory to read the configuration");
}

enum err_code config_keep(struct reading *reading, const char *text, const char **out)
{
	*out = arena_copy(&reading->config->arena, bytes_from(text));
	return *out ? ERR_OK : config_no_memory(reading->err);
}

enum err_code config_keep_path(struct reading *reading, const char *path, const char **out)
{
	const char *file = reading->config->file;
	const char *slash = strrchr(file, '/');
	if (*path == '/' || !slash)
		return config_keep(reading, path, out);
	*out = arena_printf(&reading->config->arena, "%.*s%s", (int)(slash - file + 1), file, path);
	return *out ? ERR_OK : config_no_memory(reading->err);
}

/* ---- ${NAME} ---- */

static bool is_name_byte(char c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
	       c == '_';
}

/* Replaces the variables of one text. `problem` is filled, and false returned, on a broken or
 * missing one. */
static bool substitute(const char *text, config_variable_function *variable, struct buf *out,
		       char *problem, size_t problem_size)
{
	for (const char *at = text; *at;) {
		if (strncmp(at, "$${", 3) == 0) {
			buf_append_cstr(out, "${");
			at += 3;
			continue;
		}
		if (strncmp(at, "${", 2) != 0) {
			buf_append_char(out, *at++);
			continue;
		}
		char name[VARIABLE_NAME_MAX];
		size_t size = 0;
		for (at += 2; is_name_byte(*at) && size < sizeof(name) - 1; at++)
			name[size++] = *at;
		name[size] = '\0';
		if (size == 0 || *at != '}') {
			snprintf(problem, problem_size,
				 "write ${NAME} for an environment variable, $${ for the text ${");
			return false;
		}
		at++;
		const char *value = variable(name);
		if (!value) {
			snprintf(problem, problem_size,
				 "the environment variable %s is not set; export it before "
				 "starting",
				 name);
			return false;
		}
		buf_append_cstr(out, value);
	}
	return true;
}

/* The replacement of a string value that has variables in it; *out stays NULL where it has none. */
static enum err_code substituted(struct reading *reading, const json_t *value, json_t **out,
				 char *problem, size_t problem_size)
{
	*out = NULL;
	const char *text = json_string_value(value);
	if (!strstr(text, "${"))
		return ERR_OK;
	struct buf result = BUF_INIT(SUBSTITUTED_MAX);
	bool good = substitute(text, reading->variable, &result, problem, problem_size);
	if (good && !result.failed)
		*out = json_stringn(result.data ? result.data : "", result.size);
	buf_release(&result);
	if (good && !*out)
		snprintf(problem, problem_size, "a variable's value is too long or no UTF-8");
	return *out ? ERR_OK : ERR_INVALID;
}

/* Depth is bounded by the YAML parser (YAML_DEPTH_MAX). */
static enum err_code substitute_tree(struct reading *reading, json_t *node)
{
	char problem[256];
	json_t *value, *replacement;
	if (json_is_object(node)) {
		const char *key;
		json_object_foreach(node, key, value)
		{
			if (!json_is_string(value)) {
				ERR_TRY(substitute_tree(reading, value));
				continue;
			}
			if (substituted(reading, value, &replacement, problem, sizeof(problem)))
				return yaml_fail(reading->tree, node, key, reading->err,
						 ERR_INVALID, "%s", problem);
			if (replacement && json_object_set_new(node, key, replacement))
				return config_no_memory(reading->err);
		}
	}
	size_t index;
	json_array_foreach(node, index, value)
	{
		if (!json_is_string(value)) {
			ERR_TRY(substitute_tree(reading, value));
			continue;
		}
		if (substituted(reading, value, &replacement, problem, sizeof(problem)))
			return yaml_fail_at(reading->tree, node, index, reading->err, ERR_INVALID,
					    "%s", problem);
		if (replacement && json_array_set_new(node, index, replacement))
			return config_no_memory(reading->err);
	}
	return ERR_OK;
}

/* ---- single keys ---- */

static enum err_code read_name(struct reading *reading)
{
	const char *name;
	ERR_TRY(yaml_get_string(reading->tree, reading->root, "name", &name, reading->err));
	size_t size = strlen(name);
	bool good = size > 0 && size <= NAME_MAX_BYTES;
	for (const char *at = name; *at; at++)
		good = good && *at > ' ' && *at < 0x7f && *at != '+';
	if (!good || strstr(name, "://"))
		return yaml_fail(reading->tree, reading->root, "name", reading->err, ERR_INVALID,
				 "must be a log origin like northlab.example/parley: 1 to %d "
				 "printable ASCII characters without spaces, + or ://",
				 NAME_MAX_BYTES);
	return config_keep(reading, name, &reading->config->name);
}

static enum err_code read_address(struct reading *reading, const json_t *value, const char *key,
				  struct env_address *out)
{
	struct err reason = ERR_INIT;
	if (!json_is_string(value))
		return yaml_fail(reading->tree, reading->root, key, reading->err, ERR_INVALID,
				 "must be an address like 127.0.0.1:8080 or [::1]:8080");
	if (env_address_parse(bytes_from(json_string_value(value)), out, &reason) != ERR_OK)
		return yaml_fail(reading->tree, reading->root, key, reading->err, ERR_INVALID, "%s",
				 reason.message);
	return ERR_OK;
}

static bool same_addresses(const struct env_address *a, size_t a_count, const struct env_address *b,
			   size_t b_count)
{
	bool same = a_count == b_count;
	for (size_t i = 0; same && i < a_count; i++)
		same = a[i].family == b[i].family && a[i].port == b[i].port &&
		       memcmp(a[i].ip, b[i].ip, sizeof(a[i].ip)) == 0 &&
		       strcmp(a[i].path, b[i].path) == 0;
	return same;
}

/* Whether one of the first `count` of `listen` is this address. The workers share theirs, so that
 * the system would share it with a second listener too, and give each of them some connections. */
static bool is_taken(const struct config *config, size_t count, const struct env_address *address)
{
	for (size_t i = 0; i < count; i++)
		if (address->port && same_addresses(&config->listen[i], 1, address, 1))
			return true;
	return false;
}

static enum err_code read_listen(struct reading *reading)
{
	struct config *config = reading->config;
	json_t *listen = json_object_get(reading->root, "listen");
	size_t count = json_is_array(listen) ? json_array_size(listen) : 1;
	if (!listen || json_is_null(listen) || count == 0 || count > CONFIG_LISTENERS_MAX)
		return yaml_fail(reading->tree, reading->root, "listen", reading->err, ERR_INVALID,
				 "must be an address like 127.0.0.1:8080, or a list of 1 to %d",
				 CONFIG_LISTENERS_MAX);
	config->listen = arena_alloc_zero(&config->arena, count * sizeof(*config->listen));
	if (!config->listen)
		return config_no_memory(reading->err);
	for (size_t i = 0; i < count; i++) {
		ERR_TRY(read_address(reading,
				     json_is_array(listen) ? json_array_get(listen, i) : listen,
				     "listen", &config->listen[i]));
		if (is_taken(config, i, &config->listen[i]))
			return yaml_fail(reading->tree, reading->root, "listen", reading->err,
					 ERR_INVALID, "names an address twice");
	}
	config->listen_count = count;
	return ERR_OK;
}

static enum err_code read_admin(struct reading *reading)
{
	json_t *admin = json_object_get(reading->root, "admin");
	if (!admin || json_is_null(admin))
		return ERR_OK;
	struct config *config = reading->config;
	config->has_admin = true;
	ERR_TRY(read_address(reading, admin, "admin", &config->admin));
	if (is_taken(config, config->listen_count, &config->admin))
		return yaml_fail(reading->tree, reading->root, "admin", reading->err, ERR_INVALID,
				 "must be an address of its own: `listen` names this one");
	return ERR_OK;
}

static enum err_code read_data(struct reading *reading)
{
	const char *data;
	ERR_TRY(yaml_get_string_or(reading->tree, reading->root, "data", ".", &data, reading->err));
	if (!*data)
		return yaml_fail(reading->tree, reading->root, "data", reading->err, ERR_INVALID,
				 "must name a directory");
	return config_keep_path(reading, data, &reading->config->data);
}

/* Bounds of struct gate_public_url. */
#define PUBLIC_URL_MAX 255

static enum err_code read_public_url(struct reading *reading)
{
	struct err problem = ERR_INIT;
	const char *text;
	struct url url;
	if (!json_object_get(reading->root, "public_url"))
		return ERR_OK;
	ERR_TRY(yaml_get_string(reading->tree, reading->root, "public_url", &text, reading->err));
	struct bytes bytes = bytes_from(text);
	if (bytes_ends_with(bytes, BYTES("/")))
		bytes.size--;
	if (bytes.size > PUBLIC_URL_MAX || url_parse(bytes, &url, &problem) != ERR_OK ||
	    url.query.size > 0)
		return yaml_fail(reading->tree, reading->root, "public_url", reading->err,
				 ERR_INVALID,
				 "must be the URL by which clients reach the model listener, like "
				 "https://eval.northlab.example, of at most 255 bytes");
	char copy[PUBLIC_URL_MAX + 1];
	snprintf(copy, sizeof(copy), "%.*s", BYTES_ARG(bytes));
	return config_keep(reading, copy, &reading->config->public_url);
}

/* Relative to the file, as `data` is. */
static enum err_code read_access_log(struct reading *reading)
{
	const char *path;
	struct config *config = reading->config;
	if (!json_object_get(reading->root, "access_log"))
		return ERR_OK;
	ERR_TRY(yaml_get_string(reading->tree, reading->root, "access_log", &path, reading->err));
	if (!*path)
		return yaml_fail(reading->tree, reading->root, "access_log", reading->err,
				 ERR_INVALID, "must name a file, or - for the standard output");
	if (strcmp(path, "-") == 0)
		return config_keep(reading, path, &config->access_log);
	return config_keep_path(reading, path, &config->access_log);
}

static enum err_code read_workers(struct reading *reading)
{
	int64_t workers;
	ERR_TRY(yaml_get_integer_or(reading->tree, reading->root, "workers", 0, CONFIG_WORKERS_MAX,
				    0, &workers, reading->err));
	reading->config->workers = (unsigned)workers;
	return ERR_OK;
}

static enum err_code read_bounds(struct reading *reading)
{
	return config_read_bounds(reading->tree, reading->root, reading->config, reading->err);
}

/* A key with a closed set of words, of which this build can do the first `supported`. */
static enum err_code read_word(struct reading *reading, const char *key, const char *const *words,
			       unsigned supported, unsigned *out)
{
	*out = 0;
	json_t *value = json_object_get(reading->root, key);
	if (!value || json_is_null(value))
		return ERR_OK;
	ERR_TRY(yaml_get_choice(reading->tree, reading->root, key, words, out, reading->err));
	if (*out >= supported)
		return yaml_fail(reading->tree, reading->root, key, reading->err, ERR_UNSUPPORTED,
				 "%s is not supported by this build; use %s", words[*out],
				 words[0]);
	return ERR_OK;
}

static enum err_code read_words(struct reading *reading)
{
	static const char *const modes[] = {"enforce", "observe", NULL};
	static const char *const stores[] = {"sqlite", "postgresql", NULL};
	static const char *const counters[] = {"local", "redis", NULL};
	static const char *const durabilities[] = {"strict", "relaxed", NULL};
	unsigned place;
	ERR_TRY(read_word(reading, "mode", modes, 2, &place));
	reading->config->mode = (enum config_mode)place;
	ERR_TRY(read_word(reading, "store", stores, 1, &place));
	ERR_TRY(read_word(reading, "counters", counters, 1, &place));
	ERR_TRY(read_word(reading, "durability", durabilities, 2, &place));
	reading->config->strict = place == 0;
	return ERR_OK;
}

/* ---- providers ---- */

/* Scheme, host and perhaps a port and a path prefix; the pool that connects parses it in full. */
bool config_is_base_url(const char *url)
{
	const char *host = strncmp(url, "https://", 8) == 0  ? url + 8
			   : strncmp(url, "http://", 7) == 0 ? url + 7
							     : NULL;
	if (!host || !*host || *host == '/' || *host == ':')
		return false;
	for (const char *at = host; *at; at++) {
		if (*at <= ' ' || *at >= 0x7f || strchr("@?#\\\"<>", *at))
			return false;
	}
	return true;
}

static enum err_code read_dialect(struct reading *reading, const json_t *row, enum dialect_id *out)
{
	static const char *const words[] = {"anthropic", "openai", "gemini",
					    "mistral",   "xai",    NULL};
	unsigned place;
	ERR_TRY(yaml_get_choice(reading->tree, row, "dialect", words, &place, reading->err));
	*out = dialect_from_name(bytes_from(words[place]));
	return ERR_OK;
}

static enum err_code read_identifier(struct reading *reading, const json_t *row, const char *key,
				     const char **out)
{
	const char *text;
	ERR_TRY(yaml_get_string(reading->tree, row, key, &text, reading->err));
	size_t size = strlen(text);
	bool good = size > 0 && size <= NAME_MAX_BYTES;
	for (const char *at = text; *at; at++)
		good = good && *at > ' ' && *at < 0x7f && *at != '"' && *at != '\\';
	if (!good)
		return yaml_fail(reading->tree, row, key, reading->err, ERR_INVALID,
				 "must be 1 to %d printable ASCII characters without spaces, \" "
				 "and \\",
				 NAME_MAX_BYTES);
	return config_keep(reading, text, out);
}

static enum err_code read_provider(struct reading *reading, const json_t *row,
				   struct config_provider *out)
{
	static const char *const keys[] = {"name", "dialect",  "url", "key",
					   "tls",  "timeouts", NULL};
	const char *text;
	ERR_TRY(yaml_only_keys(reading->tree, row, keys, reading->err));
	ERR_TRY(read_identifier(reading, row, "name", &out->name));
	ERR_TRY(read_dialect(reading, row, &out->dialect));
	ERR_TRY(yaml_get_string(reading->tree, row, "url", &text, reading->err));
	if (!config_is_base_url(text))
		return yaml_fail(
			reading->tree, row, "url", reading->err, ERR_INVALID,
			"must be like https://api.example or http://127.0.0.1:9000/prefix, "
			"without user, query or fragment");
	ERR_TRY(config_keep(reading, text, &out->url));
	ERR_TRY(yaml_get_string_or(reading->tree, row, "key", "", &text, reading->err));
	for (const char *at = text; *at; at++) {
		if (*at < ' ' || *at >= 0x7f)
			return yaml_fail(reading->tree, row, "key", reading->err, ERR_INVALID,
					 "has characters that cannot stand in a header");
	}
	ERR_TRY(config_keep(reading, text, &out->key));
	ERR_TRY(config_read_timeouts(reading, row, &out->timeouts));
	return config_read_provider_tls(reading, row, out);
}

/* The array `key` of mappings, at most `max`; *out is NULL where it is absent. */
static enum err_code read_rows(struct reading *reading, const char *key, size_t max, json_t **out)
{
	ERR_TRY(yaml_get_container(reading->tree, reading->root, key, JSON_ARRAY, true, out,
				   reading->err));
	if (json_array_size(*out) > max)
		return yaml_fail(reading->tree, reading->root, key, reading->err, ERR_TOO_LARGE,
				 "has %zu rows; at most %zu are allowed", json_array_size(*out),
				 max);
	size_t index;
	json_t *row;
	json_array_foreach(*out, index, row)
	{
		if (!json_is_object(row))
			return yaml_fail_at(reading->tree, *out, index, reading->err, ERR_INVALID,
					    "must be a mapping");
	}
	return ERR_OK;
}

static const struct config_provider *find_provider(const struct config *config, const char *name)
{
	for (size_t i = 0; i < config->provider_count; i++) {
		if (strcmp(config->providers[i].name, name) == 0)
			return &config->providers[i];
	}
	return NULL;
}

static enum err_code read_providers(struct reading *reading)
{
	struct config *config = reading->config;
	json_t *rows, *row;
	size_t index;
	ERR_TRY(read_rows(reading, "providers", CONFIG_PROVIDERS_MAX, &rows));
	if (json_array_size(rows) == 0)
		return ERR_OK;
	config->providers = arena_alloc_zero(&config->arena,
					     json_array_size(rows) * sizeof(*config->providers));
	if (!config->providers)
		return config_no_memory(reading->err);
	json_array_foreach(rows, index, row)
	{
		struct config_provider *provider = &config->providers[index];
		ERR_TRY(read_provider(reading, row, provider));
		if (find_provider(config, provider->name))
			return yaml_fail(reading->tree, row, "name", reading->err, ERR_INVALID,
					 "there is another provider %s", provider->name);
		config->provider_count = index + 1;
	}
	return ERR_OK;
}

/* ---- models ---- */

static enum err_code read_price_part(struct reading *reading, const json_t *price, const char *key,
				     double fallback, int64_t *out)
{
	double value;
	ERR_TRY(yaml_get_number_or(reading->tree, price, key, 0, PRICE_MAX, fallback, &value,
				   reading->err));
	if (value < 0)
		return yaml_fail(reading->tree, price, key, reading->err, ERR_INVALID,
				 "is missing: give the price in USD per million tokens");
	*out = llround(value * 1e6);
	return ERR_OK;
}

static enum err_code read_price(struct reading *reading, const json_t *row,
				struct config_model *out)
{
	static const char *const keys[] = {"input", "output", "cache_read", "cache_write", NULL};
	json_t *price;
	ERR_TRY(yaml_get_container(reading->tree, row, "price", JSON_OBJECT, true, &price,
				   reading->err));
	if (!price)
		return ERR_OK;
	ERR_TRY(yaml_only_keys(reading->tree, price, keys, reading->err));
	out->has_price = true;
	ERR_TRY(read_price_part(reading, price, "input", -1, &out->price.input));
	ERR_TRY(read_price_part(reading, price, "output", -1, &out->price.output));
	double input = (double)out->price.input / 1e6;
	ERR_TRY(read_price_part(reading, price, "cache_read", input, &out->price.cache_read));
	return read_price_part(reading, price, "cache_write", input, &out->price.cache_write);
}

/* Of all requests for the model together. */
static enum err_code read_model_limits(struct reading *reading, const json_t *row,
				       struct config_model *out)
{
	json_t *limits, *value;
	const char *name;
	out->limits = limits_unlimited;
	ERR_TRY(yaml_get_container(reading->tree, row, "limits", JSON_OBJECT, true, &limits,
				   reading->err));
	json_object_foreach(limits, name, value)
	{
		enum limit limit = limits_find(bytes_from(name));
		if (limit == LIMIT_COUNT)
			return yaml_fail(reading->tree, limits, name, reading->err, ERR_INVALID,
					 "there is no such limit");
		if (limit == LIMIT_USD_PER_MONTH && !out->has_price)
			return yaml_fail(reading->tree, limits, name, reading->err, ERR_INVALID,
					 "cannot be counted without a price");
		ERR_TRY(yaml_get_integer_or(reading->tree, limits, name, 1, LIMIT_MAX, 0,
					    &out->limits.max[limit], reading->err));
	}
	return ERR_OK;
}

static enum err_code read_model_provider(struct reading *reading, const json_t *row,
					 struct config_model *out)
{
	const char *name;
	ERR_TRY(yaml_get_string(reading->tree, row, "provider", &name, reading->err));
	const struct config_provider *provider = find_provider(reading->config, name);
	if (!provider)
		return yaml_fail(reading->tree, row, "provider", reading->err, ERR_INVALID,
				 "there is no provider %s under providers", name);
	out->provider = (unsigned)(provider - reading->config->providers);
	return ERR_OK;
}

static enum err_code read_model(struct reading *reading, const json_t *row,
				struct config_model *out)
{
	static const char *const keys[] = {"name",    "provider", "upstream", "max_output",
					   "context", "price",    "limits",   NULL};
	const int64_t most = 1000000000;
	ERR_TRY(yaml_only_keys(reading->tree, row, keys, reading->err));
	ERR_TRY(read_identifier(reading, row, "name", &out->name));
	ERR_TRY(read_model_provider(reading, row, out));
	out->upstream = out->name;
	if (json_object_get(row, "upstream"))
		ERR_TRY(read_identifier(reading, row, "upstream", &out->upstream));
	if (reading->config->providers[out->provider].dialect == DIALECT_GEMINI &&
	    strpbrk(out->upstream, "?#%"))
		return yaml_fail(reading->tree, row, "upstream", reading->err, ERR_INVALID,
				 "stands in the path of a Gemini request: ?, # and %% are not "
				 "possible");
	ERR_TRY(yaml_get_integer_or(reading->tree, row, "max_output", 1, most,
				    CONFIG_DEFAULT_MAX_OUTPUT, &out->max_output, reading->err));
	ERR_TRY(yaml_get_integer_or(reading->tree, row, "context", 1, most, 0, &out->context,
				    reading->err));
	ERR_TRY(read_price(reading, row, out));
	return read_model_limits(reading, row, out);
}

static enum err_code read_models(struct reading *reading)
{
	struct config *config = reading->config;
	json_t *rows, *row, *names = json_object();
	size_t index;
	enum err_code code = names ? read_rows(reading, "models", CONFIG_MODELS_MAX, &rows)
				   : config_no_memory(reading->err);
	if (code == ERR_OK && json_array_size(rows) > 0) {
		config->models = arena_alloc_zero(&config->arena,
						  json_array_size(rows) * sizeof(*config->models));
		if (!config->models)
			code = config_no_memory(reading->err);
	}
	for (index = 0; code == ERR_OK && index < json_array_size(rows); index++) {
		row = json_array_get(rows, index);
		struct config_model *model = &config->models[index];
		code = read_model(reading, row, model);
		if (code == ERR_OK && json_object_get(names, model->name))
			code = yaml_fail(reading->tree, row, "name", reading->err, ERR_INVALID,
					 "there is another model %s", model->name);
		if (code == ERR_OK && json_object_set_new(names, model->name, json_true()))
			code = config_no_memory(reading->err);
		config->model_count = index + 1;
	}
	json_decref(names);
	return code;
}

/* ---- the whole ---- */

/* Both spellings are in use; the one in capitals goes first. */
static enum err_code keep_variable(struct reading *reading, const char *upper, const char *lower,
				   const char **out)
{
	const char *value = reading->variable(upper);
	if (!value || !*value)
		value = reading->variable(lower);
	return value && *value ? config_keep(reading, value, out) : ERR_OK;
}

static enum err_code read_proxy(struct reading *reading)
{
	struct config *config = reading->config;
	if (!reading->env)
		return ERR_OK;
	ERR_TRY(keep_variable(reading, "HTTPS_PROXY", "https_proxy", &config->https_proxy));
	return keep_variable(reading, "NO_PROXY", "no_proxy", &config->no_proxy);
}

static enum err_code read_all(struct reading *reading)
{
	static const char *const keys[] = {
		"name",     "listen",     "tls",          "admin",      "data",
		"workers",  "mode",       "providers",    "models",     "log",
		"max_body", "store",      "counters",     "durability", "memory_max",
		"timeouts", "access_log", "ping_seconds", "grade",      "control_threshold",
		"notices",  "reciprocal", "public_url",   NULL};
	static enum err_code (*const steps[])(struct reading * reading) = {read_name,
									   read_listen,
									   read_admin,
									   read_data,
									   read_workers,
									   read_bounds,
									   read_words,
									   config_read_log,
									   config_read_listener_tls,
									   read_providers,
									   read_models,
									   read_access_log,
									   read_public_url,
									   read_proxy,
									   config_read_grade,
									   config_read_notices,
									   config_read_reciprocal};
	ERR_TRY(yaml_only_keys(reading->tree, reading->root, keys, reading->err));
	ERR_TRY(substitute_tree(reading, reading->root));
	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++)
		ERR_TRY(steps[i](reading));
	return ERR_OK;
}

static enum err_code parse(struct bytes text, const char *file, config_variable_function *variable,
			   struct env *env, struct config **out, struct err *err)
{
	struct yaml_tree *tree;
	ERR_TRY(yaml_parse(text, file, &tree, err));
	struct config *config = calloc(1, sizeof(*config));
	enum err_code code = config ? ERR_OK : config_no_memory(err);
	if (code == ERR_OK) {
		arena_init(&config->arena, ARENA_BLOCK, ARENA_MAX);
		struct reading reading = {.tree = tree,
					  .root = yaml_root(tree),
					  .config = config,
					  .variable = variable,
					  .env = env,
					  .err = err};
		code = config_keep(&reading, file, &config->file);
		if (code == ERR_OK)
			code = read_all(&reading);
	}
	yaml_tree_free(tree);
	if (code == ERR_OK)
		*out = config;
	else
		config_free(config);
	return code;
}

enum err_code config_parse(struct bytes text, const char *file, config_variable_function *variable,
			   struct config **out, struct err *err)
{
	return parse(text, file, variable, NULL, out, err);
}

static enum err_code load(struct env *env, const char *file, config_variable_function *variable,
			  bool with_files, struct config **out, struct err *err)
{
	struct buf text = BUF_INIT(CONFIG_TEXT_MAX);
	enum err_code code = env_read_file(env, file, &text, err);
	if (code == ERR_NOT_FOUND)
		code = ERR_SET(err, ERR_NOT_FOUND,
			       "%s: there is no such file; `parley init DIR` makes one, and "
			       "`-c FILE` names another",
			       file);
	if (code == ERR_OK)
		code = parse(buf_bytes(&text), file, variable, with_files ? env : NULL, out, err);
	buf_release(&text);
	return code;
}

enum err_code config_load(struct env *env, const char *file, config_variable_function *variable,
			  struct config **out, struct err *err)
{
	return load(env, file, variable, true, out, err);
}

enum err_code config_load_text(struct env *env, const char *file,
			       config_variable_function *variable, struct config **out,
			       struct err *err)
{
	return load(env, file, variable, false, out, err);
}

static void tell(struct buf *told, bool differs, const char *key)
{
	if (differs)
		buf_printf(told, "%s%s", told->size ? ", " : "", key);
}

static const char *text_of(const char *text)
{
	return text ? text : "";
}

static bool same_pem(const struct config_pem *a, const struct config_pem *b)
{
	return bytes_equal(a->text, b->text);
}

/* Those towards providers are taken over. */
static bool same_client_timeouts(const struct config_timeouts *a, const struct config_timeouts *b)
{
	return a->head_ns == b->head_ns && a->body_ns == b->body_ns && a->idle_ns == b->idle_ns &&
	       a->write_ns == b->write_ns && a->body_rate == b->body_rate;
}

static void keep_client_timeouts(struct config_timeouts *fresh,
				 const struct config_timeouts *running)
{
	fresh->head_ns = running->head_ns;
	fresh->body_ns = running->body_ns;
	fresh->idle_ns = running->idle_ns;
	fresh->write_ns = running->write_ns;
	fresh->body_rate = running->body_rate;
}

void config_keep_fixed(struct config *fresh, const struct config *running, struct buf *told)
{
	tell(told, strcmp(fresh->name, running->name) != 0, "name");
	tell(told,
	     !same_addresses(fresh->listen, fresh->listen_count, running->listen,
			     running->listen_count),
	     "listen");
	tell(told,
	     !same_addresses(&fresh->admin, fresh->has_admin, &running->admin, running->has_admin),
	     "admin");
	tell(told, strcmp(fresh->data, running->data) != 0, "data");
	tell(told, fresh->workers != running->workers, "workers");
	tell(told, fresh->memory_max != running->memory_max, "memory_max");
	/* Bodies must fit into the memory that was set aside for them at the start. */
	tell(told, fresh->max_body > running->memory_max / 4, "max_body");
	tell(told, !same_client_timeouts(&fresh->timeouts, &running->timeouts), "timeouts");
	tell(told, fresh->mode != running->mode, "mode");
	tell(told, strcmp(text_of(fresh->access_log), text_of(running->access_log)) != 0,
	     "access_log");
	tell(told, !config_same_log(&fresh->log, &running->log), "log");
	tell(told,
	     strcmp(text_of(fresh->grader), text_of(running->grader)) != 0 ||
		     !same_pem(&fresh->grader_tls.authorities, &running->grader_tls.authorities) ||
		     !same_pem(&fresh->grader_tls.certificate, &running->grader_tls.certificate),
	     "grade");
	tell(told, fresh->strict != running->strict, "durability");
	fresh->name = running->name;
	fresh->listen = running->listen;
	fresh->listen_count = running->listen_count;
	fresh->has_admin = running->has_admin;
	fresh->admin = running->admin;
	fresh->data = running->data;
	fresh->workers = running->workers;
	fresh->memory_max = running->memory_max;
	if (fresh->max_body > running->memory_max / 4)
		fresh->max_body = running->max_body;
	keep_client_timeouts(&fresh->timeouts, &running->timeouts);
	fresh->mode = running->mode;
	fresh->grader = running->grader;
	fresh->grader_spawned = running->grader_spawned;
	fresh->access_log = running->access_log;
	fresh->log = running->log;
	fresh->strict = running->strict;
}

void config_free(struct config *config)
{
	if (!config)
		return;
	for (size_t i = 0; i < config->provider_count; i++) {
		const char *key = config->providers[i].key;
		if (key)
			explicit_bzero((char *)key, strlen(key));
		config_forget_tls(&config->providers[i].tls);
	}
	config_forget_tls(&config->tls);
	config_forget_tls(&config->grader_tls);
	if (config->https_proxy)
		explicit_bzero((char *)config->https_proxy, strlen(config->https_proxy));
	arena_release(&config->arena);
	free(config);
}

enum err_code config_data_path(const struct config *config, const char *name, char *out,
			       size_t size, struct err *err)
{
	int length = snprintf(out, size, "%s/%s", config->data, name);
	if (length < 0 || (size_t)length >= size)
		return ERR_SET(err, ERR_TOO_LARGE, "%s/%s: the path is too long", config->data,
			       name);
	return ERR_OK;
}
