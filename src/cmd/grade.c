/* parley grade: options for the grading service, one loop, signals to stop. */
#include "cmd/cli.h"
#include "cmd/commands.h"
#include "cmd/keep_grader.h"
#include "grade/confine.h"
#include "grade/sandbox_group.h"
#include "grade/service.h"
#include "proto/tls.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

#define PEM_MAX ((size_t)16 << 20)

struct grade_settings {
	const char *listen, *user;
	const char *certificate, *key, *client_ca; /* files; NULL: no TLS */
	int64_t jobs, queue;
	bool keep; /* started again when it dies; ends with the process that started it */
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

/* A grader of the gateway's own user does not see what is beside its socket: the gateway's files.
 */
static void set_apart(const struct env_address *address, const struct grade_settings *settings)
{
	char directory[sizeof(address->path)];
	struct err err = ERR_INIT;
	if (!settings->keep || settings->user || geteuid() == 0 || address->family != ENV_UNIX)
		return;
	snprintf(directory, sizeof(directory), "%s", address->path);
	char *slash = strrchr(directory, '/');
	if (!slash || slash == directory)
		return;
	*slash = '\0';
	if (confine_apart(directory, &err) != ERR_OK)
		fprintf(stderr, "parley grade: it can read what its user can: %s\n", err.message);
}

static enum err_code listen_and_run(struct grading *grading, const struct env_address *address,
				    const struct grade_settings *settings, struct err *err)
{
	struct env_address bound;
	char text[600];
	ERR_TRY(env_on_signal(grading->loop, SIGTERM, on_signal, grading, err));
	ERR_TRY(env_on_signal(grading->loop, SIGINT, on_signal, grading, err));
	ERR_TRY(grade_service_listen(grading->service, address, &bound, err));
	set_apart(address, settings);
	ERR_TRY(confine_finish(settings->user, err));
	/* Becoming somebody else would forget it. */
	if (settings->keep)
		prctl(PR_SET_PDEATHSIG, SIGTERM);
	env_address_format(&bound, text, sizeof(text));
	printf("grading on %s%s\n",
	       bound.family == ENV_UNIX ? "unix:"
	       : settings->certificate  ? "https://"
					: "",
	       text);
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

/* Whoever could reach a port in clear would read answers and have programs run. */
static enum err_code check_tls(const struct env_address *address,
			       const struct grade_settings *settings, struct err *err)
{
	int given = !!settings->certificate + !!settings->key + !!settings->client_ca;
	if (given != 0 && given != 3)
		return ERR_SET(err, ERR_USAGE,
			       "--certificate, --key and --client-ca are given together: both "
			       "sides show a certificate");
	if (given == 0 && !env_address_is_loopback(address))
		return ERR_SET(err, ERR_USAGE,
			       "%s is no address of this machine alone, and answers would travel "
			       "there in clear: give --certificate, --key and --client-ca",
			       settings->listen);
	if (settings->keep && address->family != ENV_UNIX)
		return ERR_SET(
			err, ERR_USAGE,
			"--keep is for unix:PATH: what keeps a grader opens no other socket");
	if (given != 0 && address->family == ENV_UNIX)
		return ERR_SET(err, ERR_USAGE, "--certificate is for IP:PORT");
	return ERR_OK;
}

static enum err_code read_pem(struct env *env, const char *path, struct buf *out, struct err *err)
{
	buf_init(out, PEM_MAX);
	return env_read_file(env, path, out, err);
}

/* Every client must show a certificate of the authority's. */
static enum err_code start_tls(struct env *env, const struct grade_settings *settings,
			       struct grade_service *service, struct err *err)
{
	struct buf certificate, key, authorities;
	struct tls_context *context = NULL;
	if (!settings->certificate)
		return ERR_OK;
	enum err_code code = read_pem(env, settings->certificate, &certificate, err);
	enum err_code second = read_pem(env, settings->key, &key, code == ERR_OK ? err : NULL);
	code = code == ERR_OK ? second : code;
	second = read_pem(env, settings->client_ca, &authorities, code == ERR_OK ? err : NULL);
	code = code == ERR_OK ? second : code;
	if (code == ERR_OK)
		code = tls_server_context_new(buf_bytes(&certificate), buf_bytes(&key),
					      buf_bytes(&authorities), &context, err);
	if (code == ERR_OK)
		grade_service_set_tls(service, context);
	tls_context_free(context);
	if (key.data)
		explicit_bzero(key.data, key.capacity);
	buf_release(&certificate);
	buf_release(&key);
	buf_release(&authorities);
	return code;
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
	if (address_of(settings->listen, &address, err) != ERR_OK)
		return err_to_usage(err);
	ERR_TRY(check_tls(&address, settings, err));
	struct grading grading = {.loop = env_loop_new(env, "grade", false)};
	struct grade_service_options options = {.loop = grading.loop,
						.queue_max = (unsigned)settings->queue,
						.connections_max = 1024};
	if (grading.loop)
		grading.service = grade_service_new(&options);
	enum err_code code = grading.service ? start_tls(env, settings, grading.service, err)
					     : ERR_SET(err, ERR_NO_MEMORY, "out of memory");
	if (code == ERR_OK)
		code = listen_and_run(&grading, &address, settings, err);
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
		{"listen",				      'l', CLI_TEXT, &settings.listen, "ADDR",
		 "unix:PATH or IP:PORT (unix:grade.sock)", 0, 0},
		{"user",				     'u', CLI_TEXT, &settings.user, "NAME",
		 "become this user once it listens (for root)", 0, 0},
		{"jobs",				       'j', CLI_INTEGER, &settings.jobs, "N",
		 "gradings at once (one for each processor)", 1, 64},
		{"queue",					    'q', CLI_INTEGER, &settings.queue, "N",
		 "gradings that run or wait; further ones are turned away (256)", 1, 4096},
		{"certificate",					     0, CLI_TEXT, &settings.certificate, "FILE",
		 "PEM chain that it shows on IP:PORT", 0, 0},
		{"key",      0, CLI_TEXT, &settings.key, "FILE", "its private key", 0, 0},
		{"client-ca",			       0, CLI_TEXT, &settings.client_ca, "FILE",
		 "authority of the gateway's certificate: others are turned away", 0, 0},
		{"keep", 0, CLI_FLAG, &settings.keep, NULL,
		 "start it again when it dies; end with the process that started this one", 0, 0},
		{0					   },
	};
	const struct cli_command command = {
		"grade",
		"[--listen unix:PATH | IP:PORT --certificate FILE --key FILE --client-ca FILE] "
		"[options]",
		"Grades answers for a gateway that releases verdicts only (V0), with the harness's "
		"own\n"
		"scorers; programs run in the sandbox. It holds no key of the gateway's, opens no\n"
		"connection and keeps nothing. Run it as a user of its own and name it in the "
		"gateway's\n"
		"parley.yaml, `grade: { socket: \"unix:PATH\" }`; or on another machine with TLS "
		"and\n"
		"certificates on both sides, `grade: { url: \"https://HOST:PORT\", tls: { ca: "
		"FILE,\n"
		"certificate: FILE, key: FILE } }`.",
		options,
		0,
		0};
	struct cli_arguments arguments;
	struct err err = ERR_INIT;
	int status = cli_parse(&command, argc, argv, &arguments);
	if (status >= 0)
		return status;
	confine_begin();
	if (settings.keep) {
		status = keep_grader(&err);
		if (status != KEEP_GRADER_CHILD)
			return err.code == ERR_OK ? status : cli_fail(&err);
	}
	char groups[SANDBOX_GROUP_NOTE_SIZE];
	sandbox_groups_prepare(groups); /* better bounds, where they can be had */
	struct env *env = env_os_new((unsigned)settings.jobs);
	if (!env)
		return 3;
	enum err_code code = run(env, &settings, &err);
	env_os_free(env);
	return code == ERR_OK ? 0 : cli_fail(&err);
}
