/* parley serve: configuration in, signals to stop, and one line about where it listens. */
#include "cmd/cli.h"
#include "cmd/commands.h"
#include "cmd/spawn_grader.h"
#include "gate/control.h"
#include "gate/gateway.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define JOB_THREADS 4
/* With room for fewer clients than this the operator is told at the start. */
#define CLIENTS_WANTED 4096

struct serving {
	struct env *env;
	struct env_loop *loop;
	struct gateway *gateway;
	const char *file;
	const struct config *first; /* of the start: the gateway goes on looking into it */
	struct config *current;     /* in force; may be the first */
	struct gateway_reload reload;
	struct buf restart; /* keys that differ and need one */
	bool stopping, reloading, again;
};

static const char *variable(const char *name)
{
	return getenv(name);
}

static void stopped(void *argument, const struct err *err)
{
	struct serving *serving = argument;
	if (err) {
		/* The log can take no more records. Nothing that was not durable has been
		 * acknowledged; ending at once keeps it so. */
		fprintf(stderr, "parley serve: the log has failed, stopping: %s\n", err->message);
		_exit(3);
	}
	env_loop_stop(serving->loop);
}

static void warn(void *argument, const struct err *err)
{
	(void)argument;
	fprintf(stderr,
		"parley serve: %s; lines of the access log are lost until it can be written "
		"(SIGHUP "
		"opens it anew)\n",
		err->message);
}

static void notify(void *argument, const char *text)
{
	(void)argument;
	fprintf(stderr, "parley serve: %s\n", text);
}

static void on_stop_signal(void *argument, int signal_number)
{
	struct serving *serving = argument;
	if (serving->stopping) {
		fprintf(stderr, "parley serve: second signal, ending at once\n");
		_exit(1);
	}
	serving->stopping = true;
	fprintf(stderr, "parley serve: %s, letting requests finish\n",
		signal_number == SIGTERM ? "SIGTERM" : "SIGINT");
	gateway_stop(serving->gateway);
}

static void start_reload(struct serving *serving);

static void warn_if_exposed(const char *path)
{
	struct stat status;
	if (path && stat(path, &status) == 0 && status.st_mode & (S_IROTH | S_IWOTH))
		fprintf(stderr,
			"parley serve: every user of this machine can open %s (mode %04o): "
			"chmod 600 %s, and replace it if somebody may have read it\n",
			path, status.st_mode & 07777, path);
}

/* Files that nobody else may have: of the data folder, and the private keys that the configuration
 * names. Told, not refused: where secrets are mounted their modes are not always the operator's. */
static void warn_exposed(const struct config *config)
{
	static const char *const names[] = {"signing.key", "grant.key", "verdict.key", "log.secret",
					    "admin.token"};
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		char path[1024];
		struct err ignored;
		if (config_data_path(config, names[i], path, sizeof(path), &ignored) == ERR_OK)
			warn_if_exposed(path);
	}
	warn_if_exposed(config->tls.key.path);
	warn_if_exposed(config->grader_tls.key.path);
	for (size_t i = 0; i < config->provider_count; i++)
		warn_if_exposed(config->providers[i].tls.key.path);
}

static void reloaded(struct gateway_reload *reload, enum err_code code, const struct err *err)
{
	struct serving *serving = reload->argument;
	if (code != ERR_OK)
		fprintf(stderr,
			"parley serve: not reloaded, the old configuration stays in force: %s\n",
			err->message);
	else if (serving->restart.size)
		fprintf(stderr,
			"parley serve: reloaded %s; these keys keep their old values until a "
			"restart: %.*s\n",
			serving->file, BYTES_ARG(buf_bytes(&serving->restart)));
	else
		fprintf(stderr, "parley serve: reloaded %s\n", serving->file);
	if (code == ERR_OK) {
		serving->current = (struct config *)reload->config;
		warn_exposed(serving->current);
	}
	if (reload->unused != serving->first)
		config_free((struct config *)reload->unused);
	serving->reloading = false;
	if (serving->again)
		start_reload(serving);
}

/* The soft limit of descriptors is raised to the hard one, which is the administrator's. */
static uint64_t raise_descriptors(void)
{
	struct rlimit limit;
	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		return 0;
	if (limit.rlim_cur < limit.rlim_max) {
		struct rlimit most = {limit.rlim_max, limit.rlim_max};
		if (setrlimit(RLIMIT_NOFILE, &most) == 0)
			limit = most;
	}
	return limit.rlim_cur == RLIM_INFINITY ? 0 : (uint64_t)limit.rlim_cur;
}

static void start_reload(struct serving *serving)
{
	struct config *fresh = NULL;
	struct err err = ERR_INIT;
	serving->again = false;
	if (config_load(serving->env, serving->file, variable, &fresh, &err) != ERR_OK) {
		fprintf(stderr,
			"parley serve: not reloaded, the old configuration stays in force: %s\n",
			err.message);
		return;
	}
	buf_clear(&serving->restart);
	config_keep_fixed(fresh, serving->first, &serving->restart);
	serving->reloading = true;
	serving->reload =
		(struct gateway_reload){.config = fresh, .done = reloaded, .argument = serving};
	gateway_reload(serving->gateway, &serving->reload);
}

static void on_reload_signal(void *argument, int signal_number)
{
	struct serving *serving = argument;
	(void)signal_number;
	if (serving->gateway)
		gateway_reopen_access_log(serving->gateway);
	if (serving->reloading)
		serving->again = true;
	else if (!serving->stopping && serving->gateway)
		start_reload(serving);
}

static void announce(const struct gateway *gateway, const struct config *config)
{
	struct env_address addresses[CONFIG_LISTENERS_MAX], admin;
	char text[600];
	size_t count = gateway_addresses(gateway, addresses, CONFIG_LISTENERS_MAX);
	for (size_t i = 0; i < count; i++) {
		env_address_format(&addresses[i], text, sizeof(text));
		printf("listening on %s://%s\n", config->has_tls ? "https" : "http", text);
	}
	if (gateway_admin_address(gateway, &admin)) {
		env_address_format(&admin, text, sizeof(text));
		printf("admin on http://%s\n", text);
	}
	unsigned clients = gateway_clients_max(gateway);
	if (clients && clients < CLIENTS_WANTED)
		printf("at most %u clients at once: raise the limit of open files (ulimit -n) for "
		       "more\n",
		       clients);
	fflush(stdout);
}

static void warn_observe(const struct config *config)
{
	if (config->mode == CONFIG_OBSERVE)
		fprintf(stderr,
			"parley serve: mode observe: requests that policy forbids are let through "
			"and put on record; nothing this gateway admits is vouched for. Set "
			"`mode: enforce` in %s to refuse them.\n",
			config->file);
}

static enum err_code handle_signals(struct serving *serving, struct err *err)
{
	ERR_TRY(env_on_signal(serving->loop, SIGTERM, on_stop_signal, serving, err));
	ERR_TRY(env_on_signal(serving->loop, SIGINT, on_stop_signal, serving, err));
	return env_on_signal(serving->loop, SIGHUP, on_reload_signal, serving, err);
}

/* What the command line says beside the configuration. */
struct serve_command {
	unsigned replace; /* keys, by their bits */
	const char *reason;
	bool restored;
};

static enum err_code run(struct env *env, const char *file, struct config *config,
			 const struct serve_command *chosen, struct err *err)
{
	struct serving serving = {.env = env,
				  .loop = env_loop_new(env, "admin", true),
				  .file = file,
				  .first = config,
				  .current = config,
				  .restart = BUF_INIT(4096)};
	struct gateway_options options = {.env = env,
					  .config = config,
					  .main_loop = serving.loop,
					  .store_path = "parley.db",
					  .restored = chosen->restored,
					  .descriptors = raise_descriptors(),
					  .replace_keys = chosen->replace,
					  .replace_reason = chosen->reason,
					  .stopped = stopped,
					  .warn = warn,
					  .notify = notify,
					  .argument = &serving};
	if (!serving.loop)
		return ERR_SET(err, ERR_NO_MEMORY, "out of memory");
	ERR_TRY(handle_signals(&serving, err));
	enum err_code code = gateway_open(&options, &serving.gateway, err);
	if (code == ERR_OK)
		code = gateway_start(serving.gateway, err);
	if (code == ERR_OK) {
		warn_observe(config);
		warn_exposed(config);
		announce(serving.gateway, config);
		env_loop_run(serving.loop);
	}
	gateway_free(serving.gateway);
	env_loop_free(serving.loop);
	if (serving.reloading) /* it was not over when the gateway stopped */
		config_free((struct config *)serving.reload.config);
	if (serving.current != config)
		config_free(serving.current);
	buf_release(&serving.restart);
	return code;
}

int cmd_serve(int argc, char **argv)
{
	const char *file = "parley.yaml";
	struct serve_command chosen = {0};
	struct cli_list replaced = {0};
	const struct cli_option options[] = {
		{"config",  'c', CLI_TEXT, &file, "FILE", "configuration (./parley.yaml)", 0, 0},
		{"replace-key", 0, CLI_LIST, &replaced, "grants|verdicts",
		 "record the key in grant.key or verdict.key (made if it is missing) in place of "
		 "the "
		 "one on record", 0, 0},
		{"reason",   0, CLI_TEXT, &chosen.reason, "TEXT",
		 "why it is replaced; it goes on record", 0, 0},
		{"restored",        0, CLI_FLAG, &chosen.restored, NULL,
		 "start on a backup: the gateway it was made of is gone for good", 0, 0},
		{0        },
	};
	const struct cli_command command = {
		"serve",
		"[-c parley.yaml] [--replace-key grants|verdicts --reason TEXT] [--restored]",
		"Runs the gateway until SIGTERM or SIGINT: new requests are refused, those under "
		"way\n"
		"finish or are ended after 10 seconds, every one with its record. SIGHUP reads "
		"the\n"
		"configuration again; an invalid one leaves the old one in force.",
		options,
		0,
		0};
	struct cli_arguments arguments;
	struct err err = ERR_INIT;
	struct config *config = NULL;
	int status = cli_parse(&command, argc, argv, &arguments);
	if (status >= 0)
		return status;
	for (size_t i = 0; i < replaced.count; i++) {
		enum control_signer which = control_signer_find(replaced.items[i]);
		if (which == CONTROL_SIGNERS)
			return cli_usage("serve",
					 "--replace-key knows grants and verdicts, not \"%s\"",
					 replaced.items[i]);
		chosen.replace |= 1u << which;
	}
	if (chosen.reason && !chosen.replace)
		return cli_usage("serve", "--reason says why a key is replaced: --replace-key");
	if (chosen.replace && !chosen.reason)
		return cli_usage("serve", "say why the key is replaced: --reason TEXT");
	struct env *env = env_os_new(JOB_THREADS);
	if (!env)
		return 3;
	enum err_code code = config_load(env, file, variable, &config, &err);
	if (code != ERR_OK)
		err_to_usage(&err);
	if (code == ERR_OK && config->grader_spawned)
		code = spawn_grader(config->grader, &err);
	if (code == ERR_OK)
		code = run(env, file, config, &chosen, &err);
	config_free(config);
	env_os_free(env);
	return code == ERR_OK ? 0 : cli_fail(&err);
}
