/* One function for each subcommand: argv is what follows its name; the exit status is returned. */
#ifndef CMD_COMMANDS_H
#define CMD_COMMANDS_H

#include "table/commands.h"

#define X(name, help) int cmd_##name(int argc, char **argv);
COMMAND_TABLE(X)
#undef X

/* A verb that the running gateway carries out ("suite approve"), from operate.c's table. */
int operate_verb(const char *command, int argc, char **argv);

/* check.c */
#define GRANT_CHECK_HELP "Tells whether a request would be admitted, and what it would reserve."
int grant_check(int argc, char **argv);

#endif
