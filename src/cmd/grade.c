/* parley grade: options for the grading service, one loop, signals to stop. */
#include "cmd/cli.h"
#include "cmd/commands.h"
#include "grade/confine.h"
#include "grade/service.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

struct grade_settings {
	const char *listen, *user;
	int64_t jobs, queue;
	bool with_parent; /* ends with the process that started it */
};

struct grading {
	struct env_loop *loop;
	struct grade_service *service;
	bool stopping;
};

static void stopped(void *argument)
{
	env_loop_stop(argument);
}

static void on_signal(void *argument, int signal_number)
{
	struct grading *grading = argument;
	(void)signal_number;
	if (grading->stopping)
		env_loop_stop(grading->loop);
	grading->stopping = true;
	grade_service_stop(grading->service, stopped, grading->loop);
}

static enum err_code listen_and_run(struct grading *grading, const struct env_address *address,
				    const struct grade_settings *settings, struct err *err)
{
	struct env_address bound;
	char text[600];
	ERR_TRY(env_on_signal(grading->loop, SIGTERM, on_signal, grading, err));
	ERR_TRY(env_on_signal(grading->loop, SIGINT, on_signal, grading, err));
	ERR_TRY(grade_service_listen(grading->service, address, &bound, err));
	ERR_TRY(confine_finish(settings->user, err));
	/* Becoming somebody else would forget it. */
	if (settings->with_parent)
		prctl(PR_SET_PDEATHSIG, SIGTERM);
	env_address_format(&bound, text, sizeof(text));
	printf("grading on %s%s\n", bound.family == ENV_UNIX ? "unix:" : "", text);
	if (geteuid() == 0)
		fprintf(stderr, "parley grade: runs as root: name a user of its own with --user\n");
	fflush(stdout);
	env_loop_run(grading->loop);
	struct grade_service_counts counts = grade_service_counts(grading->service);
	printf("%llu answers graded, %llu could not be, %llu turned away\n",
	       (unsigned long long)counts.graded, (unsigned long long)counts.failed,
	       (unsigned long long)counts.turned_away);
	return ERR_OK;
}

static enum err_code address_of(const char *text, struct env_address *out, struct err *err)
{
	if (strncmp(text, "unix:", 5) != 0)
		return env_address_parse(bytes_from(text), out, err);
	if (!text[5] || strlen(text + 5) >= sizeof(out->path))
		return ERR_SET(err, ERR_INVALID, "%s: must be unix:PATH", text);
	env_address_unix(out, text + 5);
	return ERR_OK;
}

static enum err_code run(struct env *env, const struct grade_settings *settings, struct err *err)
{
	struct env_address address;
	ERR_TRY(address_of(settings->listen, &address, err));
	struct grading grading = {.loop = env_loop_new(env, "grade", false)};
	struct grade_service_options options = {.loop = grading.loop,
						.queue_max = (unsigned)settings->queue,
						.connections_max = 1024};
	if (grading.loop)
		grading.service = grade_service_new(&options);
	enum err_code code = grading.service ? listen_and_run(&grading, &address, settings, err)
					     : ERR_SET(err, ERR_NO_MEMORY, "out of memory");
	grade_service_free(grading.service);
	env_loop_free(grading.loop);
	return code;
}

static int64_t processors(void)
{
	long count = sysconf(_SC_NPROCESSORS_ONLN);
	return count < 1 ? 1 : count > 64 ? 64 : count;
}

int cmd_grade(int argc, char **argv)
{
	struct grade_settings settings = {
		.listen = "unix:grade.sock", .jobs = processors(), .queue = 256};
	const struct cli_option options[] = {
		{"listen",  'l', CLI_TEXT, &settings.listen, "ADDR",
		 "unix:PATH or IP:PORT (unix:grade.sock)", 0, 0},
		{"user", 'u', CLI_TEXT, &settings.user, "NAME",
		 "become this user once it listens (for root)", 0, 0},
		{"jobs",   'j', CLI_INTEGER, &settings.jobs, "N",
		 "gradings at once (one for each processor)", 1, 64},
		{"queue",        'q', CLI_INTEGER, &settings.queue, "N",
		 "gradings that run or wait; further ones are turned away (256)", 1, 4096},
		{"with-parent",         0, CLI_FLAG, &settings.with_parent, NULL,
		 "end when the process that started it does", 0, 0},
		{0     },
	};
	const struct cli_command command = {
		"grade",
		"[--listen unix:PATH | IP:PORT] [--user NAME] [options]",
		"Grades answers for a gateway that releases verdicts only (V0), with the harness's "
		"own\n"
		"scorers; programs run in the sandbox. It holds no key, reads no file, opens no\n"
		"connection and keeps nothing. Run it as a user of its own, or on another machine "
		"behind\n"
		"a tunnel, and name it in the gateway's parley.yaml: `grade: { socket: ADDR }`.",
		options,
		0,
		0};
	struct cli_arguments arguments;
	struct err err = ERR_INIT;
	int status = cli_parse(&command, argc, argv, &arguments);
	if (status >= 0)
		return status;
	confine_begin();
	struct env *env = env_os_new((unsigned)settings.jobs);
	if (!env)
		return 3;
	enum err_code code = run(env, &settings, &err);
	env_os_free(env);
	return code == ERR_OK ? 0 : cli_fail(&err);
}
