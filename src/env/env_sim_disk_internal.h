/* The disk of a simulated node: inodes with what programs see now and what the medium holds. */
#ifndef ENV_ENV_SIM_DISK_INTERNAL_H
#define ENV_ENV_SIM_DISK_INTERNAL_H

#include "env/env_sim_internal.h"

struct sim_image {
	char *data;
	size_t size, capacity;
};

/* Written or truncated (size 0: to `offset`), and not synced since. */
struct sim_write {
	TAILQ_ENTRY(sim_write) link;
	uint64_t offset;
	bool truncate;
	size_t size;
	char data[];
};

struct sim_entry {
	char *name;
	struct sim_inode *inode;
};

/* Sorted by name. */
struct sim_entries {
	struct sim_entry *items;
	size_t count, capacity;
};

struct sim_inode {
	TAILQ_ENTRY(sim_inode) link;
	uint64_t id;
	bool directory, marked;
	unsigned mode, handles;
	unsigned failures; /* syncs that failed; every handle open then will hear of it */
	struct sim_file *locked_by;
	/* A file */
	struct sim_image now, durable;
	TAILQ_HEAD(, sim_write) writes; /* oldest first */
	/* A directory */
	struct sim_entries entries, durable_entries;
};

/* A change of names that is not durable yet: `inode` leaves (from, from_name) and appears at
 * (to, to_name); either may be missing. */
struct sim_change {
	TAILQ_ENTRY(sim_change) link;
	struct sim_inode *inode, *from, *to;
	char from_name[256], to_name[256];
};

struct sim_file {
	struct env_file base;
	struct sim_node *node;
	struct sim_inode *inode;
	unsigned failures_seen;
	bool writable, sync_failed;
	bool dead;
	TAILQ_ENTRY(sim_file) link;
	char path[];
};

/* Where a path leads: `inode` is NULL where nothing is there. The root has no directory. */
struct sim_place {
	struct sim_inode *directory, *inode;
	char name[256];
};

/* Every disk call begins here: takes its time, counts, draws the fault with this rate, and may be
 * the one the node dies in. `what` names the call in the error. */
enum err_code sim_disk_call(struct sim_node *node, const char *what, const char *path,
			    uint32_t fault_rate, struct err *err);
/* "cannot <what> <path>: <text of the error number>" */
enum err_code sim_disk_fail(int error, const char *what, const char *path, struct err *err);

struct sim_inode *sim_inode_new(struct sim_node *node, bool directory, unsigned mode);
/* 0 or an error number. */
int sim_path_find(struct sim_node *node, const char *path, struct sim_place *place);
void sim_entries_release(struct sim_entries *entries);
void sim_entries_set(struct sim_entries *entries, const char *name, struct sim_inode *inode);
void sim_change_note(struct sim_node *node, struct sim_inode *inode, struct sim_inode *from,
		     const char *from_name, struct sim_inode *to, const char *to_name);
/* Frees the inodes that nothing leads to any more, if there may be many. */
void sim_names_collect(struct sim_node *node, bool now);
/* At a power loss: changes of names are kept or lost, and what is durable becomes what is seen. */
void sim_names_lose(struct sim_node *node);
void sim_names_release(struct sim_node *node);
void sim_inode_free(struct sim_node *node, struct sim_inode *inode);

#endif
