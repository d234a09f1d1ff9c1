/* parley witness: options, one loop, signals to stop; the rest is witness/. */
#include "cmd/cli.h"
#include "cmd/commands.h"
#include "witness/witness.h"

#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>

struct witnessing {
	struct env *env;
	struct env_loop *loop;
	struct witness *witness;
	bool json, stopping;
};

static void stopped(void *argument)
{
	env_loop_stop(argument);
}

static void on_signal(void *argument, int signal_number)
{
	struct witnessing *witnessing = argument;
	(void)signal_number;
	if (witnessing->stopping)
		env_loop_stop(witnessing->loop);
	witnessing->stopping = true;
	witness_stop(witnessing->witness, stopped, witnessing->loop);
}

/* ---- what it tells ---- */

static void tell_time(struct env *env, char out[static 32])
{
	time_t now = (time_t)(env_wall_ms(env) / 1000);
	struct tm parts;
	gmtime_r(&now, &parts);
	strftime(out, 32, "%Y-%m-%dT%H:%M:%SZ", &parts);
}

static void told_json(const char *time_text, const struct witness_event *event)
{
	json_t *object = json_pack("{s:s, s:i, s:s, s:I, s:I, s:s}", "time", time_text, "status",
				   event->status, "origin", event->origin, "old",
				   (json_int_t)event->old_size, "size", (json_int_t)event->size,
				   "reason", event->reason);
	char *text = object ? json_dumps(object, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
	if (text)
		printf("%s\n", text);
	free(text);
	json_decref(object);
}

static void told(void *argument, const struct witness_event *event)
{
	struct witnessing *witnessing = argument;
	char time_text[32];
	tell_time(witnessing->env, time_text);
	if (witnessing->json) {
		told_json(time_text, event);
	} else {
		printf("%s %d ", time_text, event->status);
		cli_print_safe(stdout, bytes_from(*event->origin ? event->origin : "-"));
		printf(" %" PRIu64 " -> %" PRIu64 "%s", event->old_size, event->size,
		       *event->reason ? ": " : "");
		cli_print_safe(stdout, bytes_from(event->reason));
		putchar('\n');
	}
	fflush(stdout);
}

static void print_vkey(const struct witness_config *config)
{
	struct buf text = BUF_INIT(1024);
	note_key_format(&config->key, &text);
	printf("%.*s\n", BYTES_ARG(buf_bytes(&text)));
	buf_release(&text);
}

static void greet(const struct witness_config *config, const struct env_address *bound, bool json)
{
	char where[600];
	const char *scheme = config->certificate.size ? "https" : "http";
	env_address_format(bound, where, sizeof(where));
	if (json) {
		struct buf vkey = BUF_INIT(1024);
		note_key_format(&config->key, &vkey);
		printf("{\"listening\":\"%s://%s\",\"logs\":%zu,\"vkey\":\"%.*s\"}\n", scheme,
		       where, config->log_count, BYTES_ARG(buf_bytes(&vkey)));
		buf_release(&vkey);
	} else {
		printf("witness %s on %s://%s, following %zu log key%s; its verifier key:\n",
		       config->key.name, scheme, where, config->log_count,
		       config->log_count == 1 ? "" : "s");
		print_vkey(config);
	}
	fflush(stdout);
}

/* ---- running ---- */

static enum err_code open_and_run(struct witnessing *witnessing,
				  const struct witness_config *config, struct err *err)
{
	struct env_address bound;
	struct witness_options options = {.env = witnessing->env,
					  .loop = witnessing->loop,
					  .config = config,
					  .told = told,
					  .argument = witnessing};
	ERR_TRY(env_on_signal(witnessing->loop, SIGTERM, on_signal, witnessing, err));
	ERR_TRY(env_on_signal(witnessing->loop, SIGINT, on_signal, witnessing, err));
	ERR_TRY(witness_open(&options, &witnessing->witness, &bound, err));
	greet(config, &bound, witnessing->json);
	env_loop_run(witnessing->loop);
	return ERR_OK;
}

static enum err_code run(struct env *env, const struct witness_config *config, bool json,
			 struct err *err)
{
	struct witnessing witnessing = {
		.env = env, .loop = env_loop_new(env, "witness", true), .json = json};
	enum err_code code = witnessing.loop ? open_and_run(&witnessing, config, err)
					     : ERR_SET(err, ERR_NO_MEMORY, "out of memory");
	witness_close(witnessing.witness);
	env_loop_free(witnessing.loop);
	return code;
}

int cmd_witness(int argc, char **argv)
{
	const char *path = "witness.yaml";
	bool json = false, vkey = false;
	const struct cli_option options[] = {
		{"config",  'c', CLI_TEXT, &path, "FILE", "its configuration (./witness.yaml)", 0,
		 0},
		{"vkey", 0, CLI_FLAG, &vkey, NULL, "print its verifier key and end", 0, 0},
		{"json",   0, CLI_FLAG, &json, NULL, "a JSON object for each line it prints", 0, 0},
		{0       },
	};
	const struct cli_command command = {
		"witness",
		"[-c witness.yaml] [--vkey] [--json]",
		"Cosigns checkpoints of the logs it follows (C2SP tlog-witness), each only after "
		"it\n"
		"was shown that the log has grown and nothing else. witness.yaml:\n"
		"  name: southlab.example/witness   # of its key\n"
		"  key: witness.key                 # parley keygen -o witness.key; of nothing "
		"else\n"
		"  listen: 127.0.0.1:8085\n"
		"  state: state                     # a directory: what was cosigned last\n"
		"  logs: [ \"northlab.example/parley+…\" ]   # verifier keys, as /log/vkey tells "
		"them\n"
		"  tls: { certificate: cert.pem, key: key.pem }   # optional",
		options,
		0,
		0};
	struct cli_arguments arguments;
	struct witness_config config;
	struct err err = ERR_INIT;
	int status = cli_parse(&command, argc, argv, &arguments);
	if (status >= 0)
		return status;
	struct env *env = env_os_new(1);
	if (!env)
		return 3;
	enum err_code code = witness_config_load(env, path, &config, &err);
	if (code != ERR_OK)
		err_to_usage(&err);
	else if (vkey)
		print_vkey(&config);
	else
		code = run(env, &config, json, &err);
	witness_config_release(&config);
	env_os_free(env);
	return code == ERR_OK ? 0 : cli_fail(&err);
}
