/* Human anchors of a run: read and checked before anything is spent, copied into the bundle, and
 * committed to by the plan where they were there before the run. */
#include "bench/run.h"

#include "base/encode.h"
#include "grade/bundle.h"

static const struct run_suite *find_suite(const struct run *run, const char *name)
{
	for (unsigned i = 0; i < run->suite_count; i++)
		if (strcmp(run->suites[i].name, name) == 0)
			return &run->suites[i];
	return NULL;
}

static bool is_asked(const struct run *run, const char *name)
{
	for (unsigned i = 0; i < run->plan.model_count; i++)
		if (strcmp(run->plan.models[i].name, name) == 0)
			return (run->plan.models[i].roles & (PLAN_CONTESTANT | PLAN_BASELINE)) != 0;
	return false;
}

static enum err_code check_anchor(const struct run *run, const struct anchor *anchor,
				  const char *file, struct err *err)
{
	const struct run_suite *suite = find_suite(run, anchor->suite);
	size_t index;
	const char *names[] = {anchor->model, anchor->opponent};
	if (!suite)
		return ERR_SET(err, ERR_INVALID, "%s:%lu: the run has no suite \"%.100s\"", file,
			       anchor->line, anchor->suite);
	if (!suite_find(suite->suite, bytes_from(anchor->item), &index))
		return ERR_SET(err, ERR_INVALID, "%s:%lu: suite %s has no item \"%.100s\"", file,
			       anchor->line, suite->name, anchor->item);
	if (anchor->sample >= suite->samples)
		return ERR_SET(err, ERR_INVALID, "%s:%lu: sample %u: the run has %u of each item",
			       file, anchor->line, anchor->sample, suite->samples);
	for (unsigned i = 0; i < 2; i++)
		if (names[i] && !is_asked(run, names[i]))
			return ERR_SET(err, ERR_INVALID,
				       "%s:%lu: the run tests no model \"%.100s\"", file,
				       anchor->line, names[i]);
	if (suite->pairwise != (anchor->opponent != NULL))
		return ERR_SET(err, ERR_INVALID,
			       suite->pairwise
				       ? "%s:%lu: answers of suite %s are compared: name the "
					 "\"opponent\", and a \"verdict\""
				       : "%s:%lu: answers of suite %s are not compared: give a "
					 "\"score\", and no \"opponent\"",
			       file, anchor->line, suite->name);
	return ERR_OK;
}

static enum err_code read_file(struct run *run, const char *file, struct err *err)
{
	struct buf text = BUF_INIT(ANCHORS_TEXT_MAX);
	const char *only = run->suite_count == 1 ? run->suites[0].name : NULL;
	enum err_code code = env_read_file(run->env, file, &text, err);
	if (code == ERR_OK)
		code = anchors_read(buf_bytes(&text), file, only, &run->anchors, err);
	for (size_t i = 0; code == ERR_OK && i < run->anchors.count; i++)
		code = check_anchor(run, &run->anchors.items[i], file, err);
	buf_release(&text);
	return code;
}

static enum err_code digest_of(const struct run *run, char out[static 2 * SHA256_SIZE + 1],
			       struct err *err)
{
	struct buf text = BUF_INIT(ANCHORS_TEXT_MAX);
	uint8_t digest[SHA256_SIZE];
	enum err_code code = anchors_write(&run->anchors, &text, err);
	if (code == ERR_OK)
		sha256_of(text.data, text.size, digest);
	if (code == ERR_OK)
		hex_encode(digest, sizeof(digest), out);
	buf_release(&text);
	return code;
}

static const char *copy_path(struct run *run)
{
	return arena_printf(&run->arena, "%s/bundle/" BUNDLE_ANCHORS, run->directory);
}

/* A run that goes on has the anchors it began with, or, where it began without, those given now or
 * at an earlier time. */
static enum err_code reopen(struct run *run, struct err *err)
{
	const char *planned = run->plan.anchors_digest, *copy = copy_path(run);
	const char *file = run->options->anchors;
	char digest[2 * SHA256_SIZE + 1];
	if (!copy)
		return ERR_SET(err, ERR_NO_MEMORY, "out of memory");
	if (!file && !*planned && !env_file_exists(run->env, copy))
		return ERR_OK;
	ERR_TRY(read_file(run, file ? file : copy, err));
	ERR_TRY(digest_of(run, digest, err));
	if (*planned && strcmp(digest, planned) != 0)
		return ERR_SET(err, ERR_MISMATCH,
			       "%s: the run was begun with other anchors; they cannot be changed "
			       "any more",
			       file ? file : copy);
	return ERR_OK;
}

enum err_code anchoring_open(struct run *run, struct err *err)
{
	if (run->resumed)
		return reopen(run, err);
	if (!run->plan.anchors)
		return ERR_OK;
	ERR_TRY(read_file(run, run->plan.anchors, err));
	return digest_of(run, run->plan.anchors_digest, err);
}

enum err_code anchoring_write(struct run *run, struct err *err)
{
	struct buf text = BUF_INIT(ANCHORS_TEXT_MAX);
	const char *path = copy_path(run);
	enum err_code code = ERR_OK;
	if (run->anchors.count == 0)
		return ERR_OK;
	code = path ? anchors_write(&run->anchors, &text, err)
		    : ERR_SET(err, ERR_NO_MEMORY, "out of memory");
	if (code == ERR_OK)
		code = env_write_file(run->env, path, buf_bytes(&text), 0644, err);
	buf_release(&text);
	return code;
}
