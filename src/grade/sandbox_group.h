/* Control groups (cgroup v2) around sandboxed programs, where the kernel lets this process make
 * some: memory and processes of a program's whole tree bounded together, what it keeps in /tmp
 * counted, and at most one core. Resource limits, which hold for each process apart, are set in any
 * case: without groups everything works as before.
 *
 * A group can be had where this process's own group is delegated to it (systemd's Delegate=yes) and
 * holds no other process, or is the root of the hierarchy. No process may then stand beside the
 * programs' groups, so sandbox_groups_prepare moves this one into a group below, parley.own; from
 * that name every later call knows that it was done. */
#ifndef GRADE_SANDBOX_GROUP_H
#define GRADE_SANDBOX_GROUP_H

#include "grade/sandbox.h"

#define SANDBOX_GROUP_NOTE_SIZE 256

struct sandbox_group {
	int base, directory; /* of all groups and of this one; -1: there is none */
	char name[40];
};
#define SANDBOX_GROUP_NONE                  \
	{                                   \
		.base = -1, .directory = -1 \
	}

/* Before programs are run: whether they will have groups with limits. `why`: which limits, or what
 * is in the way. Calling it again is harmless. */
bool sandbox_groups_prepare(char why[static SANDBOX_GROUP_NOTE_SIZE]);
/* The same with the controllers that are wanted, of which one has to be there; NULL-ended. */
bool sandbox_groups_prepare_with(const char *const *wanted,
				 char why[static SANDBOX_GROUP_NOTE_SIZE]);

/* A new group, or none. Close it in any case. */
void sandbox_group_open(struct sandbox_group *group);
/* Bounds what is in it from now on; more at once than `limits` allow is left for what watches the
 * program there. */
void sandbox_group_limit(const struct sandbox_group *group, const struct sandbox_limits *limits);
/* Writing "0" to it moves the writer in. The caller closes it; -1: there is no group. */
int sandbox_group_door(const struct sandbox_group *group);
/* Ends what is left in it and removes it. */
void sandbox_group_close(struct sandbox_group *group);

#endif
