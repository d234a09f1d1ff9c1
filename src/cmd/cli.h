/* What the subcommands share: options from a table, help, errors and exit status (DESIGN.md section
 * 3: 0 done, 1 the check or run failed, 2 wrong use, 3 the environment failed). */
#ifndef CMD_CLI_H
#define CMD_CLI_H

#include "base/err.h"
#include "base/json.h"
#include "env/env.h"

#include <stdio.h>

enum cli_type {
	CLI_FLAG,    /* bool * */
	CLI_TEXT,    /* const char ** */
	CLI_LIST,    /* struct cli_list *: may be given several times */
	CLI_INTEGER, /* int64_t * */
	CLI_NUMBER,  /* double * */
};

#define CLI_LIST_MAX 256
struct cli_list {
	const char *items[CLI_LIST_MAX];
	size_t count;
};

struct cli_option {
	const char *name; /* "listen", given as --listen; NULL ends the table */
	char letter;      /* 'c' for -c; 0: none */
	enum cli_type type;
	void *target;
	const char *argument; /* how help names the value: "ADDR" */
	const char *help;
	double min, max; /* of CLI_INTEGER and CLI_NUMBER */
};

struct cli_command {
	const char *name;  /* "key issue" */
	const char *usage; /* after the name: "--org O --grant G" */
	const char *help;  /* one or more lines */
	const struct cli_option *options;
	size_t positional_min, positional_max;
};

/* What cli_parse leaves over. */
struct cli_arguments {
	const char *positional[CLI_LIST_MAX];
	size_t count;
	const char *const *rest; /* after "--"; NULL without one, and of cli_parse */
	size_t rest_count;
};

/* Parses everything after the command's name. Returns -1 to go on, or the status to exit with: 0
 * after
 * --help, 2 after wrong use (told on stderr with what to do). */
int cli_parse(const struct cli_command *command, int argc, char **argv, struct cli_arguments *out);
/* The same of a command that takes another command behind "--": out->rest. In others only
 * positional arguments stand there. */
int cli_parse_with_rest(const struct cli_command *command, int argc, char **argv,
			struct cli_arguments *out);

/* A group of verbs ("key": issue, list, revoke). */
struct cli_verb {
	const char *name; /* NULL ends the table */
	int (*run)(int argc, char **argv);
	const char *help;
};
/* Runs the verb named by argv[0]; help and errors as above. */
int cli_dispatch(const char *group, const struct cli_verb *verbs, int argc, char **argv);

/* What a group answers where argv[0] is none of its verbs: the list of them (first sentences of
 * their help), status 0 if help was asked for, else 2. */
int cli_overview(const char *group, const struct cli_verb *verbs, int argc, char **argv);

/* "parley: <message>" on stderr; the error's exit status. */
int cli_fail(const struct err *err);
/* The same of an error that tells of what the command was given, before it did anything else:
 * err_to_usage first. */
int cli_fail_given(struct err *err);
/* The same for wrong use: status 2 and a pointer to --help. */
int cli_usage(const char *command, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Pretty JSON with a newline on stdout. */
void cli_print_json(const json_t *value);
/* Text from elsewhere, with control characters shown as \xNN. */
void cli_print_safe(FILE *out, struct bytes text);
/* Whether stdout is a terminal. */
bool cli_is_terminal(void);

#endif
