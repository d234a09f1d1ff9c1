/* `parley backup DIR`: a copy of the running gateway. */
#include "cmd/admin_client.h"
#include "cmd/commands.h"
#include "gate/backup.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

/* The variables are the gateway's: nothing of them is needed here. */
static const char *any_variable(const char *name)
{
	const char *value = getenv(name);
	return value ? value : "unset";
}

static void show_progress(void *argument, const char *what, uint64_t done, uint64_t of)
{
	(void)of;
	if (*(const bool *)argument)
		fprintf(stderr, "\r\033[K%" PRIu64 " %s", done, what);
}

/* The gateway needs the path from wherever it runs. */
static enum err_code absolute(const char *path, char out[static PATH_MAX], struct err *err)
{
	char here[PATH_MAX];
	if (*path == '/')
		snprintf(out, PATH_MAX, "%s", path);
	else if (!getcwd(here, sizeof(here)) ||
		 snprintf(out, PATH_MAX, "%s/%s", here, path) >= PATH_MAX)
		return ERR_SET(err, ERR_INVALID, "%.200s: the path cannot be made absolute", path);
	return ERR_OK;
}

static enum err_code ask_cut(const char *file, const char *directory, json_t **cut, struct err *err)
{
	struct admin_answer answer;
	json_t *body = json_pack("{s:s}", "directory", directory);
	enum err_code code = admin_client_ask(file, "POST", "/admin/v1/backup", body, &answer, err);
	json_decref(body);
	*cut = answer.body;
	return code;
}

static int64_t size_of(const struct backup *backup, const char *log)
{
	return json_integer_value(json_object_get(json_object_get(backup->cut, log), "size"));
}

/* How to start on it: by the configuration that was copied, if it lay beside the data. */
static void print_start(const struct backup *backup)
{
	char path[PATH_MAX + 16];
	snprintf(path, sizeof(path), "%s/parley.yaml", backup->directory);
	if (access(path, F_OK) == 0)
		printf("to start on it, when the gateway is gone for good: parley serve -c %s "
		       "--restored\n",
		       path);
	else
		printf("its configuration (%s) lies elsewhere and is not in it: copy it too; to "
		       "start, "
		       "with data: %s in it, parley serve --restored\n",
		       backup->config->file, backup->directory);
}

static void print(const struct backup *backup, bool json)
{
	if (json) {
		json_t *object = json_pack("{s:s, s:I, s:I, s:I}", "directory", backup->directory,
					   "evaluation", (json_int_t)size_of(backup, "evaluation"),
					   "usage", (json_int_t)size_of(backup, "usage"), "files",
					   (json_int_t)backup->files);
		cli_print_json(object);
		json_decref(object);
		return;
	}
	printf("%s: documents, %" PRIu64 " records (%" PRId64 " evaluation, %" PRId64
	       " usage) checked against their checkpoints, %" PRIu64 " files with all keys\n"
	       "check again: parley verify %s/log/evaluation\n",
	       backup->directory, backup->records, size_of(backup, "evaluation"),
	       size_of(backup, "usage"), backup->files, backup->directory);
	print_start(backup);
}

static enum err_code run(struct env *env, const char *file, const char *path, bool json,
			 struct err *err)
{
	char directory[PATH_MAX];
	struct config *config = NULL;
	json_t *cut = NULL;
	bool terminal = !json && isatty(STDERR_FILENO);
	ERR_TRY(absolute(path, directory, err));
	if (config_load_text(env, file, any_variable, &config, err) != ERR_OK)
		return err_to_usage(err);
	enum err_code code = backup_begin(env, config, directory, err);
	if (code == ERR_OK)
		code = ask_cut(file, directory, &cut, err);
	struct backup backup = {.config = config,
				.directory = directory,
				.cut = cut,
				.progress = show_progress,
				.argument = &terminal};
	if (code == ERR_OK)
		code = backup_copy(env, &backup, err);
	if (terminal)
		fprintf(stderr, "\r\033[K");
	if (code == ERR_OK)
		print(&backup, json);
	json_decref(cut);
	config_free(config);
	return code;
}

int cmd_backup(int argc, char **argv)
{
	const char *file = "parley.yaml";
	bool json = false;
	const struct cli_option options[] = {
		{"config",  'c', CLI_TEXT, &file, "FILE",
		 "the gateway's configuration (./parley.yaml)", 0, 0},
		{"json", 0, CLI_FLAG, &json, NULL, "what was copied, as JSON", 0, 0},
		{0  },
	};
	const struct cli_command command = {
		"backup",
		"DIR [-c parley.yaml] [--json]",
		"Copies the running gateway into DIR, which is made: documents, both logs up to a "
		"signed\n"
		"checkpoint, keys and secrets, and the configuration where it lies beside the "
		"data. "
		"The logs\n"
		"are checked as they are copied. Keep it as safe as the gateway: it has every "
		"key.\n"
		"No gateway starts on a backup without --restored.",
		options,
		1,
		1};
	struct cli_arguments arguments;
	struct err err = ERR_INIT;
	int status = cli_parse(&command, argc, argv, &arguments);
	if (status >= 0)
		return status;
	struct env *env = env_os_new(1);
	if (!env)
		return 3;
	enum err_code code = run(env, file, arguments.positional[0], json, &err);
	env_os_free(env);
	return code == ERR_OK ? 0 : cli_fail(&err);
}
