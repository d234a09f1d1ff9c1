/* `parley log files`: what the logs of a running gateway are made of, and what has rotted. */
#include "cmd/admin_client.h"
#include "cmd/log_files.h"
#include "ledger/record.h"

#include <inttypes.h>
#include <string.h>

static int64_t number(const json_t *log, const char *name)
{
	return json_integer_value(json_object_get(log, name));
}

static void print_log(const json_t *log)
{
	const json_t *rot = json_object_get(log, "rot"), *row;
	char time[RECORD_TIME_SIZE];
	size_t i;
	int64_t scrub_ms = number(log, "scrub_ms");
	printf("%s: %" PRId64 " records, checkpoint over %" PRId64 "; %" PRId64
	       " segments, %" PRId64 " of them sealed\n",
	       json_string_value(json_object_get(log, "origin")), number(log, "records"),
	       number(log, "checkpoint"), number(log, "segments"), number(log, "sealed"));
	if (scrub_ms > 0) {
		record_time(scrub_ms, time);
		printf("  sealed segments last read again: %s\n", time);
	}
	json_array_foreach(rot, i, row)
	{
		const char *problem = json_string_value(json_object_get(row, "problem"));
		printf("  ROT: ");
		cli_print_safe(stdout, bytes_from(problem));
		putchar('\n');
	}
}

/* 1 where something has rotted. */
static int print_logs(json_t *body, bool json)
{
	static const char *const names[] = {"evaluation", "usage"};
	size_t rot = 0;
	for (int i = 0; i < 2; i++) {
		const json_t *log = json_object_get(body, names[i]);
		rot += json_array_size(json_object_get(log, "rot"));
		if (!json)
			print_log(log);
	}
	if (json)
		cli_print_json(body);
	return rot ? 1 : 0;
}

int log_files(int argc, char **argv)
{
	const char *file = "parley.yaml";
	bool scrub = false, json = false;
	const struct cli_option options[] = {
		{"config",  'c', CLI_TEXT, &file, "FILE",
		 "the gateway's configuration (./parley.yaml)", 0, 0},
		{"scrub", 0, CLI_FLAG, &scrub, NULL, "begin to read all sealed segments again", 0,
		 0},
		{"json",   0, CLI_FLAG, &json, NULL, "as JSON", 0, 0},
		{0       },
	};
	const struct cli_command command = {
		"log files",
		"[--scrub] [-c parley.yaml] [--json]",
		"What the logs of the running gateway are made of. Segments that do not read as "
		"they should\n"
		"are named; exit status 1 then. A file that was put back from a copy is found "
		"right "
		"by the\n"
		"next reading: once a day, or with --scrub.",
		options,
		0,
		0};
	struct cli_arguments arguments;
	struct admin_answer answer;
	struct err err = ERR_INIT;
	int status = cli_parse(&command, argc, argv, &arguments);
	if (status >= 0)
		return status;
	if (admin_client_ask(file, scrub ? "POST" : "GET",
			     scrub ? "/admin/v1/logs/scrub" : "/admin/v1/logs", NULL, &answer,
			     &err) != ERR_OK)
		return cli_fail(&err);
	status = print_logs(answer.body, json);
	json_decref(answer.body);
	return status;
}
