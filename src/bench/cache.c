#include "bench/cache.h"

#include "base/encode.h"

#include <stdio.h>

#define CACHE_FORMAT "parley-cache-1"
#define PATH_SIZE 4400u

enum err_code cache_open(struct run *run, struct err *err)
{
	const char *folder = run->options->cache;
	if (!folder)
		return ERR_OK;
	if (strlen(folder) > 4096)
		return ERR_SET(err, ERR_USAGE, "the path of --cache is too long");
	if (run->proxy || run->options->proxy)
		return ERR_SET(err, ERR_USAGE,
			       "--cache is for runs that ask by themselves, not for bench proxy");
	return env_make_directories(run->env, folder, err);
}

static bool is_used(const struct run *run, const struct request *request)
{
	return run->options->cache && request->model->gateway_state == GATEWAY_NONE &&
	       request->model->plan->url;
}

static void path_of(const struct run *run, const struct request *request, char *out)
{
	struct sha256 hash;
	uint8_t digest[SHA256_SIZE];
	char name[2 * SHA256_SIZE + 1], sample[32];
	snprintf(sample, sizeof(sample), "%u", cell_sample(run, request->cell, request->index));
	sha256_start(&hash);
	sha256_add(&hash, CACHE_FORMAT, sizeof(CACHE_FORMAT));
	sha256_add(&hash, request->model->plan->url, strlen(request->model->plan->url) + 1);
	sha256_add_bytes(&hash, buf_bytes(&request->model->target));
	sha256_add(&hash, "", 1);
	sha256_add(&hash, sample, strlen(sample) + 1);
	sha256_add_bytes(&hash, buf_bytes(&request->body));
	sha256_finish(&hash, digest);
	hex_encode(digest, sizeof(digest), name);
	snprintf(out, PATH_SIZE, "%s/%s", run->options->cache, name);
}

static void write_label(struct bytes response, struct buf *out)
{
	uint8_t digest[SHA256_SIZE];
	char hex[2 * SHA256_SIZE + 1];
	sha256_of(response.data, response.size, digest);
	hex_encode(digest, sizeof(digest), hex);
	buf_printf(out, "{\"format\":\"%s\",\"response\":\"%s\"}\n", CACHE_FORMAT, hex);
}

bool cache_find(struct run *run, struct request *request)
{
	char path[PATH_SIZE];
	struct buf file = BUF_INIT(RUN_RESPONSE_MAX + 1024), label = BUF_INIT(1024);
	struct err err = ERR_INIT;
	bool found = false;
	if (!is_used(run, request))
		return false;
	path_of(run, request, path);
	if (env_file_exists(run->env, path) &&
	    env_read_file(run->env, path, &file, &err) == ERR_OK) {
		const char *end = memchr(file.data, '\n', file.size);
		size_t head = end ? (size_t)(end - file.data) + 1 : file.size;
		struct bytes response = bytes_of(file.data + head, file.size - head);
		write_label(response, &label);
		found = !label.failed && bytes_equal(buf_bytes(&label), bytes_of(file.data, head));
		buf_clear(&request->response);
		if (found)
			buf_append_bytes(&request->response, response);
	}
	buf_release(&file);
	buf_release(&label);
	return found && !request->response.failed;
}

void cache_keep(struct run *run, const struct request *request)
{
	char path[PATH_SIZE], part[PATH_SIZE + 8];
	struct buf label = BUF_INIT(1024);
	struct bytes response = buf_bytes(&request->response);
	struct env_file *file = NULL;
	struct err err = ERR_INIT;
	if (!is_used(run, request))
		return;
	path_of(run, request, path);
	snprintf(part, sizeof(part), "%s.part", path);
	write_label(response, &label);
	enum err_code code = label.failed
				     ? ERR_NO_MEMORY
				     : env_file_open(run->env, part,
						     ENV_OPEN_WRITE | ENV_OPEN_CREATE, &file, &err);
	if (code == ERR_OK)
		code = env_file_truncate(file, 0, &err);
	if (code == ERR_OK)
		code = env_file_write(file, 0, label.data, label.size, &err);
	if (code == ERR_OK)
		code = env_file_write(file, label.size, response.data, response.size, &err);
	env_file_close(file);
	if (code == ERR_OK)
		env_rename(run->env, part, path, &err);
	buf_release(&label);
}
