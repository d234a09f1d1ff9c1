#include "witness/state.h"

#include "base/encode.h"

#include <stdio.h>
#include <stdlib.h>

#define PATH_SIZE 4096
#define TEXT_MAX ((size_t)4 << 20)

static const char first_line[] = "parley witness state 1";

struct witness_state {
	struct env *env;
	char path[PATH_SIZE];
	struct env_file *lock;
	struct witness_head heads[WITNESS_LOGS_MAX];
	size_t count;
};

/* ---- the file: the first line, then of each log the three lines of its checkpoint ---- */

static void write_head(const struct witness_head *head, struct buf *out)
{
	struct checkpoint body = {.size = head->size, .root = head->root};
	memcpy(body.origin, head->origin, sizeof(body.origin));
	checkpoint_format(&body, out);
}

/* The next three lines. */
static struct bytes take_body(struct bytes *rest)
{
	struct bytes start = *rest;
	for (int line = 0; line < 3; line++)
		(void)bytes_split(*rest, '\n', rest);
	return bytes_of(start.data, start.size - rest->size);
}

static bool is_known(const struct witness_head *heads, size_t count, const char *origin)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(heads[i].origin, origin) == 0)
			return true;
	return false;
}

enum err_code witness_state_parse(struct bytes text, const char *file, struct witness_head *out,
				  size_t max, size_t *count, struct err *err)
{
	struct bytes rest;
	struct checkpoint head;
	*count = 0;
	if (!bytes_is(bytes_split(text, '\n', &rest), first_line))
		return ERR_SET(err, ERR_CORRUPT, "%s:1: it does not begin with \"%s\"", file,
			       first_line);
	for (unsigned line = 2; rest.size > 0; line += 3) {
		struct bytes body = take_body(&rest);
		struct err reason = ERR_INIT;
		if (checkpoint_parse(body, &head, &reason) != ERR_OK)
			return ERR_SET(err, ERR_CORRUPT, "%s:%u: damaged (%.200s)", file, line,
				       reason.message);
		if (*count == max || is_known(out, *count, head.origin))
			return ERR_SET(err, ERR_CORRUPT, "%s:%u: %s", file, line,
				       *count == max ? "there are too many logs"
						     : "the log stands there twice");
		struct witness_head *next = &out[(*count)++];
		memcpy(next->origin, head.origin, sizeof(next->origin));
		next->size = head.size;
		next->root = head.root;
	}
	return ERR_OK;
}

static enum err_code save(const struct witness_state *state, struct err *err)
{
	struct buf text = BUF_INIT(TEXT_MAX);
	buf_printf(&text, "%s\n", first_line);
	for (size_t i = 0; i < state->count; i++)
		write_head(&state->heads[i], &text);
	enum err_code code =
		text.failed ? ERR_SET(err, ERR_NO_MEMORY, "out of memory")
			    : env_write_file(state->env, state->path, buf_bytes(&text), 0644, err);
	buf_release(&text);
	return code;
}

/* ---- opening ---- */

static enum err_code lock(struct witness_state *state, const char *directory, struct err *err)
{
	char path[PATH_SIZE];
	ERR_TRY(env_make_directories(state->env, directory, err));
	snprintf(path, sizeof(path), "%s/lock", directory);
	ERR_TRY(env_file_open(state->env, path, ENV_OPEN_WRITE | ENV_OPEN_CREATE, &state->lock,
			      err));
	enum err_code code = env_file_lock(state->lock, err);
	if (code == ERR_LOCKED)
		ERR_SET(err, ERR_LOCKED, "%s: another witness uses this state; stop it first",
			directory);
	return code;
}

static enum err_code load(struct witness_state *state, struct err *err)
{
	struct buf text = BUF_INIT(TEXT_MAX);
	if (!env_file_exists(state->env, state->path))
		return save(state, err);
	enum err_code code = env_read_file(state->env, state->path, &text, err);
	if (code == ERR_OK)
		code = witness_state_parse(buf_bytes(&text), state->path, state->heads,
					   WITNESS_LOGS_MAX, &state->count, err);
	buf_release(&text);
	return code;
}

enum err_code witness_state_open(struct env *env, const char *directory, struct witness_state **out,
				 struct err *err)
{
	*out = NULL;
	if (strlen(directory) > PATH_SIZE - 64)
		return ERR_SET(err, ERR_TOO_LARGE, "the path of the state is too long");
	struct witness_state *state = calloc(1, sizeof(*state));
	if (!state)
		return ERR_SET(err, ERR_NO_MEMORY, "out of memory");
	state->env = env;
	snprintf(state->path, sizeof(state->path), "%s/" WITNESS_STATE_FILE, directory);
	enum err_code code = lock(state, directory, err);
	if (code == ERR_OK)
		code = load(state, err);
	if (code != ERR_OK) {
		witness_state_close(state);
		return code;
	}
	*out = state;
	return ERR_OK;
}

void witness_state_close(struct witness_state *state)
{
	if (!state)
		return;
	env_file_close(state->lock);
	free(state);
}

/* ---- use ---- */

static struct witness_head *find(struct witness_state *state, const char *origin)
{
	for (size_t i = 0; i < state->count; i++)
		if (strcmp(state->heads[i].origin, origin) == 0)
			return &state->heads[i];
	return NULL;
}

const struct witness_head *witness_state_find(const struct witness_state *state, const char *origin)
{
	return find((struct witness_state *)state, origin);
}

enum err_code witness_state_update(struct witness_state *state, const struct checkpoint *head,
				   struct err *err)
{
	struct witness_head *place = find(state, head->origin);
	bool added = !place;
	if (added && state->count == WITNESS_LOGS_MAX)
		return ERR_SET(err, ERR_TOO_LARGE, "the state holds %u logs already",
			       WITNESS_LOGS_MAX);
	if (added)
		place = &state->heads[state->count++];
	struct witness_head before = *place;
	memcpy(place->origin, head->origin, sizeof(place->origin));
	place->size = head->size;
	place->root = head->root;
	enum err_code code = save(state, err);
	if (code == ERR_OK)
		return ERR_OK;
	*place = before;
	state->count -= added;
	return code;
}
