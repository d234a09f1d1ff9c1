#include "grade/scorer_program.h"

#include "base/json.h"
#include "grade/sandbox.h"
#include "grade/scorer_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define COMMAND_MAX 16u /* the program and its arguments */
#define INPUT_MAX ((size_t)48 << 20)
#define TIMEOUT_DEFAULT 10
#define TIMEOUT_MAX 600
#define MEMORY_DEFAULT 1024
#define MEMORY_MIN 32
#define MEMORY_MAX 16384
#define PROCESSES 64u
#define SHOWN_MAX 150 /* bytes of what the program said, in an explanation */

/* The sandbox's own variables are taken away. */
static const char *const clean[] = {"/usr/bin/env", "-i", "PATH=/usr/bin:/bin", "LANG=C.UTF-8",
				    "HOME=/nonexistent"};
#define CLEAN_COUNT (sizeof(clean) / sizeof(clean[0]))

/* Members that are the scorer's own: all others go to the program. */
static const char *const own_members[] = {"kind", "command", "timeout_seconds", "memory_mb"};

/* ---- the scorer's members ---- */

/* "./name", down from the folder and never up. */
static bool is_inside(const char *path)
{
	size_t size = strlen(path);

	return strncmp(path, "./", 2) == 0 && size > 2 && !strstr(path, "/../") &&
	       strcmp(path + size - 3, "/..") != 0 && path[size - 1] != '/';
}

static enum err_code check_command(const json_t *spec, const char *what, struct err *err)
{
	json_t *command, *part;
	size_t index;

	ERR_TRY(json_get_container(spec, "command", what, JSON_ARRAY, false, &command, err));
	if (json_array_size(command) == 0 || json_array_size(command) > COMMAND_MAX)
		return ERR_SET(err, ERR_INVALID,
			       "%s: command: must be a list of 1 to %u texts, the program first",
			       what, COMMAND_MAX);
	json_array_foreach(command, index, part)
	{
		if (!json_is_string(part) ||
		    strlen(json_string_value(part)) != json_string_length(part))
			return ERR_SET(err, ERR_INVALID, "%s: command[%zu]: must be a text", what,
				       index);
	}
	if (!is_inside(json_string_value(json_array_get(command, 0))))
		return ERR_SET(err, ERR_INVALID,
			       "%s: command: '%.100s' must be a program in the suite's folder, "
			       "written ./NAME",
			       what, json_string_value(json_array_get(command, 0)));
	return ERR_OK;
}

enum err_code scorer_program_check(const json_t *spec, const char *what, struct err *err)
{
	int64_t ignored;

	ERR_TRY(check_command(spec, what, err));
	ERR_TRY(json_get_integer_or(spec, "timeout_seconds", what, 1, TIMEOUT_MAX, TIMEOUT_DEFAULT,
				    &ignored, err));
	ERR_TRY(json_get_integer_or(spec, "memory_mb", what, MEMORY_MIN, MEMORY_MAX, MEMORY_DEFAULT,
				    &ignored, err));
	if (json_object_get(spec, "answer"))
		return ERR_SET(err, ERR_INVALID,
			       "%s: answer: is what the program is given; name "
			       "the member otherwise",
			       what);
	return ERR_OK;
}

enum err_code scorer_program_refuse(const json_t *spec, struct bytes answer, struct score *score,
				    struct err *err)
{
	(void)spec, (void)answer, (void)score;
	return ERR_SET(err, ERR_INVALID,
		       "scorer: program runs a program out of the suite's folder: only `parley "
		       "bench` runs one, where that folder is");
}

/* ---- the folder ---- */

static enum err_code find_folder(const char *folder, char **out, struct err *err)
{
	*out = realpath(folder, NULL);
	return *out ? ERR_OK : ERR_SYS(err, ERR_ENVIRONMENT, "the suite's folder %s", folder);
}

static enum err_code find_program(const char *folder, const char *program, struct err *err)
{
	char path[4096];
	struct stat facts;

	if ((size_t)snprintf(path, sizeof(path), "%s/%s", folder, program + 2) >= sizeof(path))
		return ERR_SET(err, ERR_INVALID, "the path of the suite's %s is too long", program);
	if (stat(path, &facts) != 0)
		return ERR_SYS(err, ERR_ENVIRONMENT, "the suite's program %s", path);
	if (!S_ISREG(facts.st_mode) || access(path, X_OK) != 0)
		return ERR_SET(
			err, ERR_ENVIRONMENT,
			"the suite's program %s cannot be executed: chmod +x it, and let its "
			"first line name its interpreter",
			path);
	return ERR_OK;
}

static const char *program_of(const json_t *spec)
{
	return json_string_value(json_array_get(json_object_get(spec, "command"), 0));
}

enum err_code scorer_program_ready(const char *folder, const json_t *spec, struct err *err)
{
	char *path;

	ERR_TRY(scorer_program_check(spec, "scorer", err));
	ERR_TRY(find_folder(folder, &path, err));
	enum err_code code = find_program(path, program_of(spec), err);
	free(path);
	return code;
}

/* ---- what it is told ---- */

static enum err_code write_question(const json_t *spec, struct bytes answer, struct buf *out,
				    struct err *err)
{
	json_t *question = json_copy((json_t *)spec);
	enum err_code code = ERR_OK;

	for (size_t i = 0; question && i < sizeof(own_members) / sizeof(own_members[0]); i++)
		json_object_del(question, own_members[i]);
	if (!question || !json_set(question, "answer",
				   json_stringn(answer.size ? answer.data : "", answer.size)))
		code = ERR_SET(err, ERR_NO_MEMORY, "out of memory for a scorer's question");
	if (code == ERR_OK)
		code = json_canonical(question, out, err);
	buf_append_char(out, '\n');
	if (code == ERR_OK && out->failed)
		code = ERR_SET(err, ERR_NO_MEMORY, "out of memory for a scorer's question");
	json_decref(question);
	return code;
}

/* ---- what it says ---- */

static void fail(struct score *score, const char *why, struct bytes said)
{
	score->failed = true;
	score->value = 0;
	said = scorer_trim(said);
	size_t shown = said.size < SHOWN_MAX ? said.size : SHOWN_MAX;
	if (!bytes_is_utf8(said))
		shown = 0;
	score_explain(score, "the suite's program %s%s%.*s", why, shown ? ": " : "", (int)shown,
		      shown ? said.data : "");
}

/* The last line of what it wrote to stderr. */
static struct bytes last_words(const struct sandbox_result *run)
{
	struct bytes said = scorer_trim(buf_bytes(&run->errors)), line = {0};

	while (said.size)
		line = bytes_split(said, '\n', &said);
	return line;
}

static void read_reply(struct bytes said, struct score *score)
{
	static const char *const keys[] = {"explanation", "score", NULL};
	struct err err = ERR_INIT;
	json_t *reply = NULL;
	const char *explanation = "";
	struct bytes rest, line = bytes_split(said, '\n', &rest);

	if (scorer_trim(said).size == 0) {
		fail(score, "said nothing", (struct bytes){0});
		return;
	}
	if (scorer_trim(rest).size) {
		fail(score, "said more than one line", said);
		return;
	}
	bool read = json_parse(line, "its line", &reply, &err) == ERR_OK && json_is_object(reply) &&
		    json_only_keys(reply, keys, "its line", &err) == ERR_OK &&
		    json_get_string_or(reply, "explanation", "its line", "", &explanation, &err) ==
			    ERR_OK;
	const json_t *value = json_object_get(reply, "score");
	double number = json_number_value(value);
	if (!read)
		fail(score, "did not say {\"score\": 0 to 1, \"explanation\"?: text}", line);
	else if (!json_is_number(value) || !(number >= 0 && number <= 1))
		fail(score, "gave no score from 0 to 1", line);
	else {
		score->value = number;
		score_explain(score, "%s", explanation);
	}
	json_decref(reply);
}

static void read_run(const struct sandbox_result *run, struct score *score)
{
	char why[64];

	score->cpu_ms = run->cpu_ms;
	if (run->ending != SANDBOX_EXITED) {
		score->time_limited =
			run->ending == SANDBOX_CPU_LIMIT || run->ending == SANDBOX_WALL_LIMIT;
		snprintf(why, sizeof(why), "met its end (%s)", sandbox_ending_text(run->ending));
		fail(score, why, last_words(run));
	} else if (run->exit_status != 0) {
		snprintf(why, sizeof(why), "ended with status %d", run->exit_status);
		fail(score, why, last_words(run));
	} else {
		read_reply(buf_bytes(&run->output), score);
	}
}

static enum err_code run_program(const char *folder, const json_t *spec, struct bytes question,
				 struct score *score, struct err *err)
{
	const json_t *command = json_object_get(spec, "command"), *part;
	const char *argv[CLEAN_COUNT + COMMAND_MAX + 1] = {NULL};
	struct sandbox_program program = {.argv = argv,
					  .folder = folder,
					  .input = question,
					  .limits = SANDBOX_LIMITS_DEFAULT};
	struct sandbox_result run;
	int64_t timeout, memory;
	size_t index;

	memcpy(argv, clean, sizeof(clean));
	json_array_foreach((json_t *)command, index, part) argv[CLEAN_COUNT + index] =
		json_string_value(part);
	ERR_TRY(json_get_integer_or(spec, "timeout_seconds", "scorer", 1, TIMEOUT_MAX,
				    TIMEOUT_DEFAULT, &timeout, err));
	ERR_TRY(json_get_integer_or(spec, "memory_mb", "scorer", MEMORY_MIN, MEMORY_MAX,
				    MEMORY_DEFAULT, &memory, err));
	program.limits.cpu_seconds = (unsigned)timeout;
	program.limits.memory_bytes = (uint64_t)memory << 20;
	program.limits.processes = PROCESSES;
	program.limits.verdict_bytes = 1; /* nothing reads it */
	sandbox_result_init(&run);
	enum err_code code = sandbox_run(&program, &run, err);
	if (code == ERR_OK)
		read_run(&run, score);
	else
		err_prefix(
			err,
			"the suite's program in %s (uid 65534 has to be able to read that folder "
			"where root runs parley)",
			folder);
	sandbox_result_release(&run);
	return code;
}

enum err_code scorer_program_grade(const char *folder, const json_t *spec, struct bytes answer,
				   struct score *score, struct err *err)
{
	struct buf question = BUF_INIT(INPUT_MAX);
	char *path = NULL;

	*score = (struct score){.refused = REFUSED_UNKNOWN};
	ERR_TRY(scorer_program_check(spec, "scorer", err));
	if (!bytes_is_utf8(answer)) {
		score->failed = true;
		score_explain(score, "the answer is no text");
		return ERR_OK;
	}
	enum err_code code = find_folder(folder, &path, err);
	if (code == ERR_OK)
		code = find_program(path, program_of(spec), err);
	if (code == ERR_OK)
		code = write_question(spec, answer, &question, err);
	if (code == ERR_OK)
		code = run_program(path, spec, buf_bytes(&question), score, err);
	buf_release(&question);
	free(path);
	return code;
}
