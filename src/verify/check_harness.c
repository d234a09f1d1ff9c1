/* Which harness wrote what stands at a path. */
#include "verify/harness.h"

#include "base/json.h"
#include "suite/input.h"
#include "suite/python_json.h"

#include <stdio.h>
#include <stdlib.h>

#define PATH_SIZE 4200
#define RESULTS_PREFIX "results_"

static enum err_code unknown_file(const char *path, struct err *err)
{
	return ERR_SET(err, ERR_USAGE,
		       "%s is no receipt and no log that is known here: Inspect (.eval, .json), "
		       "lm-eval (results_*.json), promptfoo (output .json), AlpacaEval "
		       "(annotations .json), modelbench (journal .jsonl, .jsonl.zst)",
		       path);
}

static bool looks_like_json(struct bytes text)
{
	size_t at = 0;
	while (at < text.size && strchr(" \t\r\n", text.data[at]) && text.data[at])
		at++;
	return at < text.size && (text.data[at] == '{' || text.data[at] == '[');
}

static enum err_code check_tree(struct env *env, const char *path, const json_t *tree,
				struct verify_report *report, struct err *err)
{
	bool known = false;
	ERR_TRY(harness_inspect(tree, report, &known, err));
	if (!known)
		ERR_TRY(harness_promptfoo(tree, report, &known, err));
	if (!known)
		ERR_TRY(harness_lm_eval(env, path, tree, report, &known, err));
	if (!known)
		ERR_TRY(harness_alpaca(env, path, tree, report, &known, err));
	return known ? ERR_OK : unknown_file(path, err);
}

enum err_code check_harness_file(struct env *env, const char *path, struct verify_report *report,
				 struct err *err)
{
	struct buf text = BUF_INIT(HARNESS_FILE_MAX);
	json_t *tree = NULL;
	enum err_code code = input_read_all(env, path, &text, err);
	if (code == ERR_TOO_LARGE)
		code = ERR_SET(
			err, ERR_UNSUPPORTED,
			"%s is larger than %zu MiB; an Inspect log can be converted to .eval "
			"(inspect log convert), which is read sample by sample",
			path, HARNESS_FILE_MAX >> 20);
	if (code == ERR_OK && bytes_starts_with(buf_bytes(&text), BYTES("PK"))) {
		buf_release(&text);
		return harness_inspect_archive(env, path, report, err);
	}
	if (code == ERR_OK && harness_modelbench_is(buf_bytes(&text))) {
		code = harness_modelbench(buf_bytes(&text), path, report, err);
		buf_release(&text);
		return code;
	}
	if (code == ERR_OK)
		code = looks_like_json(buf_bytes(&text))
			       ? python_json(buf_bytes(&text), path, &tree, err)
			       : unknown_file(path, err);
	buf_release(&text);
	if (code == ERR_OK)
		code = check_tree(env, path, tree, report, err);
	json_decref(tree);
	return code;
}

/* ---- a directory of lm-eval ---- */

struct newest {
	char name[256];
};

static void look_at(void *argument, const struct env_directory_entry *entry)
{
	struct newest *newest = argument;
	struct bytes name = bytes_from(entry->name);
	/* The date is in the name, so that the last in its order is the newest. */
	if (!entry->is_directory && bytes_starts_with(name, BYTES(RESULTS_PREFIX)) &&
	    bytes_ends_with(name, BYTES(".json")) && strcmp(entry->name, newest->name) > 0)
		snprintf(newest->name, sizeof(newest->name), "%s", entry->name);
}

enum err_code check_harness_directory(struct env *env, const char *path,
				      struct verify_report *report, bool *known, struct err *err)
{
	struct newest newest = {""};
	char file[PATH_SIZE];
	*known = false;
	ERR_TRY(env_list_directory(env, path, look_at, &newest, err));
	if (!newest.name[0])
		return ERR_OK;
	*known = true;
	snprintf(file, sizeof(file), "%s/%s", path, newest.name);
	report_note(report, VERIFY_CHECKED, "the newest results in %s: %s", path, newest.name);
	return check_harness_file(env, file, report, err);
}
