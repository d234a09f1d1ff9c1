/* parley sim: options for the stand-in model API, one loop, signals to stop. */
#include "cmd/cli.h"
#include "cmd/commands.h"
#include "standin/standin.h"

#include <signal.h>
#include <stdlib.h>

struct sim_settings {
	const char *listen, *persona, *key, *chat;
	struct cli_list models;
	bool judge;
	int64_t seed, output_tokens, reasoning_tokens, first_token_ms, tokens_per_second, events,
		event_bytes;
	double error_rate, cut_rate, events_per_second;
	bool stamp;
};

static void stopped(void *argument)
{
	env_loop_stop(argument);
}

struct simulating {
	struct env_loop *loop;
	struct standin *standin;
	bool stopping;
};

static void on_signal(void *argument, int signal_number)
{
	struct simulating *simulating = argument;
	(void)signal_number;
	if (simulating->stopping)
		env_loop_stop(simulating->loop);
	simulating->stopping = true;
	standin_stop(simulating->standin, stopped, simulating->loop);
}

static enum err_code listen_and_run(struct simulating *simulating,
				    const struct env_address *address, struct err *err)
{
	struct env_address bound;
	char text[600];
	ERR_TRY(env_on_signal(simulating->loop, SIGTERM, on_signal, simulating, err));
	ERR_TRY(env_on_signal(simulating->loop, SIGINT, on_signal, simulating, err));
	ERR_TRY(standin_listen(simulating->standin, address, &bound, err));
	env_address_format(&bound, text, sizeof(text));
	printf("simulated model API on http://%s\n", text);
	fflush(stdout);
	env_loop_run(simulating->loop);
	struct standin_counts counts = standin_counts(simulating->standin);
	printf("%llu requests: %llu answered, %llu errors, %llu cut off\n",
	       (unsigned long long)counts.requests, (unsigned long long)counts.answered,
	       (unsigned long long)counts.errors, (unsigned long long)counts.cut);
	return ERR_OK;
}

static enum err_code run(struct env *env, const struct standin_options *options,
			 const struct env_address *address, struct err *err)
{
	struct simulating simulating = {.loop = env_loop_new(env, "sim", false)};
	if (simulating.loop) {
		simulating.loop->precise = options->pulse.per_second > 0;
		simulating.standin = standin_new(simulating.loop, options);
	}
	enum err_code code = simulating.standin ? listen_and_run(&simulating, address, err)
						: ERR_SET(err, ERR_NO_MEMORY, "out of memory");
	standin_free(simulating.standin);
	env_loop_free(simulating.loop);
	return code;
}

static enum err_code start(struct env *env, const struct sim_settings *settings, struct err *err)
{
	struct env_address address;
	struct standin_options options = {
		.mode = settings->judge     ? STANDIN_JUDGE
			: settings->persona ? STANDIN_PERSONA
					    : STANDIN_GENERATOR,
		.models = settings->models.items,
		.model_count = settings->models.count,
		.seed = (uint64_t)settings->seed,
		.output_tokens = (unsigned)settings->output_tokens,
		.reasoning_tokens = (unsigned)settings->reasoning_tokens,
		.first_token_ns = (uint64_t)settings->first_token_ms * 1000000u,
		.tokens_per_second = (unsigned)settings->tokens_per_second,
		.pulse = {.per_second = settings->events_per_second,
			  .events = (uint64_t)settings->events,
			  .text_bytes = (unsigned)settings->event_bytes,
			  .stamp = settings->stamp},
		.error_rate = settings->error_rate,
		.cut_rate = settings->cut_rate,
		.key = settings->key,
		.chat = dialect_from_name(bytes_from(settings->chat)),
	};
	if (env_address_parse(bytes_from(settings->listen), &address, err) != ERR_OK) {
		err->code = ERR_USAGE;
		return err_prefix(err, "--listen");
	}
	if (settings->persona &&
	    transcript_load(env, settings->persona, &options.persona, err) != ERR_OK)
		return err_to_usage(err);
	if (options.persona && transcript_note(options.persona)[0])
		printf("%s\n", transcript_note(options.persona));
	enum err_code code = run(env, &options, &address, err);
	transcript_free(options.persona);
	return code;
}

int cmd_sim(int argc, char **argv)
{
	struct sim_settings settings = {.listen = "127.0.0.1:8090",
					.seed = 1,
					.output_tokens = 64,
					.chat = "openai",
					.events = 20,
					.event_bytes = 64};
	const struct cli_option options[] = {
		{"listen",				     'l', CLI_TEXT, &settings.listen, "ADDR",
		 "where to listen (127.0.0.1:8090)", 0, 0},
		{"persona",				    'p', CLI_TEXT, &settings.persona, "FILE",
		 "answer from this transcript (JSONL)", 0, 0},
		{"judge",				      0, CLI_FLAG, &settings.judge, NULL,
		 "be a judge of pairs and of answers, by fixed rules", 0, 0},
		{"model",					   'm', CLI_LIST, &settings.models, "NAME",
		 "a name for the list of models (repeatable)", 0, 0},
		{"key",					    'k', CLI_TEXT, &settings.key, "KEY", "the credential to insist on", 0, 0},
		{"chat",      0, CLI_TEXT, &settings.chat, "DIALECT",
		 "whose Chat Completions: openai, mistral, xai (openai)", 0, 0},
		{"seed",			   0, CLI_INTEGER, &settings.seed, "N",
		 "of the generator and of failures (1)", 0, 9007199254740992.0},
		{"output-tokens",        0, CLI_INTEGER, &settings.output_tokens, "N",
		 "length of a generated answer (64)", 1, 1000000},
		{"reasoning-tokens",					   0, CLI_INTEGER, &settings.reasoning_tokens, "N",
		 "shown before each answer, with log-probabilities (0: none)", 0, 1000000},
		{"first-token-ms",				      0, CLI_INTEGER, &settings.first_token_ms, "MS",
		 "delay before an answer begins (0)", 0, 600000},
		{"tokens-per-second",                                    0, CLI_INTEGER, &settings.tokens_per_second, "N",
		 "speed of a stream (0: all at once)", 0, 1000000},
		{"events-per-second",					0, CLI_NUMBER, &settings.events_per_second, "RATE",
		 "each stream sends events at this exact rate instead (0: off)", 0, 100000},
		{"events",					   0, CLI_INTEGER, &settings.events, "N", "of such a stream (20)", 1, 1e12},
		{"event-bytes",					    0, CLI_INTEGER, &settings.event_bytes, "N",
		 "of text in each of these events (64)", 1, 65536},
		{"stamp",0, CLI_FLAG, &settings.stamp, NULL,
		 "such events tell the time they were sent (stamp: nanoseconds)", 0, 0},
		{"error-rate",                            0, CLI_NUMBER, &settings.error_rate, "SHARE",
		 "of requests answered 529 or 503 (0)", 0, 1},
		{"cut-rate", 0, CLI_NUMBER, &settings.cut_rate, "SHARE",
		 "of answers cut off in the middle (0)", 0, 1},
		{0					  },
	};
	const struct cli_command command = {"sim",
					    "[--listen ADDR] [--persona FILE | --judge] [options]",
					    "A stand-in model API (Anthropic Messages and "
					    "count_tokens, OpenAI Chat Completions\nand Responses, "
					    "Gemini generateContent and countTokens, Mistral's and "
					    "xAI's variants).\n"
					    "Its answers are simulated and say so in the field "
					    "x-parley-simulated. A token is 4 bytes.",
					    options,
					    0,
					    0};
	struct cli_arguments arguments;
	struct err err = ERR_INIT;
	int status = cli_parse(&command, argc, argv, &arguments);
	if (status >= 0)
		return status;
	enum dialect_id chat = dialect_from_name(bytes_from(settings.chat));
	if (chat != DIALECT_OPENAI && dialect_variant(DIALECT_OPENAI, chat) != chat)
		return cli_usage("sim", "--chat is openai, mistral or xai");
	if (settings.judge && settings.persona)
		return cli_usage("sim", "--persona and --judge exclude each other");
	struct env *env = env_os_new(1);
	if (!env)
		return 3;
	enum err_code code = start(env, &settings, &err);
	env_os_free(env);
	return code == ERR_OK ? 0 : cli_fail(&err);
}
