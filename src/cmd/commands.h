/* One function for each subcommand: argv is what follows its name; the exit status is returned. */
#ifndef CMD_COMMANDS_H
#define CMD_COMMANDS_H

#include "table/commands.h"

#include <jansson.h>
#include <stdbool.h>

#define X(name, help) int cmd_##name(int argc, char **argv);
COMMAND_TABLE(X)
#undef X

/* A verb that the running gateway carries out ("suite approve"), from operate.c's table. */
int operate_verb(const char *command, int argc, char **argv);
/* The rows that such a verb lists, had elsewhere, with its columns. */
void operate_print_list(const char *command, const json_t *rows);

/* Suites of a gateway that may be far away, with a key (suite_remote.c). */
int suite_register(int argc, char **argv);
int suite_check_folder(int argc, char **argv);
int suite_list_remote(int argc, char **argv);
int suite_show_remote(int argc, char **argv);
/* Whether the arguments name a gateway by --gateway. */
bool suite_is_remote(int argc, char **argv);

/* bench_report.c */
int bench_report(int argc, char **argv);
/* bench_export.c */
int bench_export_command(int argc, char **argv);

/* check.c */
#define GRANT_CHECK_HELP "Tells whether a request would be admitted, and what it would reserve."
int grant_check(int argc, char **argv);

#endif
