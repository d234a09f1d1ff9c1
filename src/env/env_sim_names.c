/* Names of the simulated disk: a tree of directories. A change of names is seen at once and noted;
 * the sync of a directory it touches makes it durable. Until then a power loss may undo it, each
 * change for itself, or all after some point. */
#include "env/env_sim_disk_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define NAME_SIZE 256
#define DEPTH_MAX 64

/* ---- entries ---- */

/* The place of the name, or where it belongs. */
static size_t entries_find(const struct sim_entries *entries, const char *name, bool *found)
{
	size_t low = 0, high = entries->count;
	while (low < high) {
		size_t middle = (low + high) / 2;
		int order = strcmp(entries->items[middle].name, name);
		if (order == 0) {
			*found = true;
			return middle;
		}
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	*found = false;
	return low;
}

static struct sim_inode *entries_get(const struct sim_entries *entries, const char *name)
{
	bool found;
	size_t at = entries_find(entries, name, &found);
	return found ? entries->items[at].inode : NULL;
}

static void entries_insert(struct sim_entries *entries, size_t at, const char *name,
			   struct sim_inode *inode)
{
	if (entries->count == entries->capacity) {
		size_t wanted = entries->capacity ? 2 * entries->capacity : 8;
		struct sim_entry *grown =
			realloc(entries->items, wanted * sizeof(struct sim_entry));
		if (!grown)
			abort();
		entries->items = grown;
		entries->capacity = wanted;
	}
	char *copy = strdup(name);
	if (!copy)
		abort();
	memmove(entries->items + at + 1, entries->items + at,
		(entries->count - at) * sizeof(struct sim_entry));
	entries->items[at] = (struct sim_entry){copy, inode};
	entries->count++;
}

void sim_entries_set(struct sim_entries *entries, const char *name, struct sim_inode *inode)
{
	bool found;
	size_t at = entries_find(entries, name, &found);
	if (found)
		entries->items[at].inode = inode;
	else
		entries_insert(entries, at, name, inode);
}

static void entries_remove(struct sim_entries *entries, const char *name)
{
	bool found;
	size_t at = entries_find(entries, name, &found);
	if (!found)
		return;
	free(entries->items[at].name);
	entries->count--;
	memmove(entries->items + at, entries->items + at + 1,
		(entries->count - at) * sizeof(struct sim_entry));
}

void sim_entries_release(struct sim_entries *entries)
{
	for (size_t i = 0; i < entries->count; i++)
		free(entries->items[i].name);
	free(entries->items);
	*entries = (struct sim_entries){0};
}

/* ---- paths ---- */

/* Takes the path apart: "." and empty parts fall away, ".." takes the part before it with it. */
static int split_path(const char *path, struct bytes parts[DEPTH_MAX], size_t *count)
{
	struct bytes rest = bytes_from(path);
	*count = 0;
	if (rest.size == 0)
		return ENOENT;
	while (rest.data) {
		struct bytes part = bytes_split(rest, '/', &rest);
		if (part.size == 0 || bytes_is(part, "."))
			continue;
		if (bytes_is(part, "..")) {
			*count -= *count > 0;
			continue;
		}
		if (part.size >= NAME_SIZE || *count == DEPTH_MAX)
			return ENAMETOOLONG;
		parts[(*count)++] = part;
	}
	return 0;
}

int sim_path_find(struct sim_node *node, const char *path, struct sim_place *place)
{
	struct bytes parts[DEPTH_MAX];
	size_t count;
	int error = split_path(path, parts, &count);
	*place = (struct sim_place){.inode = node->disk.root};
	for (size_t i = 0; i < count && !error; i++) {
		if (!place->inode)
			return ENOENT;
		if (!place->inode->directory)
			return ENOTDIR;
		place->directory = place->inode;
		snprintf(place->name, sizeof(place->name), "%.*s", BYTES_ARG(parts[i]));
		place->inode = entries_get(&place->directory->entries, place->name);
	}
	return error;
}

/* Whether `path` lies in the directory `above`, or is it. */
static bool lies_within(const char *path, const char *above)
{
	struct bytes parts[DEPTH_MAX], start[DEPTH_MAX];
	size_t count, start_count;
	if (split_path(path, parts, &count) || split_path(above, start, &start_count) ||
	    start_count > count)
		return false;
	for (size_t i = 0; i < start_count; i++)
		if (!bytes_equal(parts[i], start[i]))
			return false;
	return true;
}

/* ---- changes and their durability ---- */

struct sim_inode *sim_inode_new(struct sim_node *node, bool directory, unsigned mode)
{
	struct sim_inode *inode = sim_allocate(sizeof(*inode));
	inode->id = node->disk.next_id++;
	inode->directory = directory;
	inode->mode = mode;
	TAILQ_INIT(&inode->writes);
	TAILQ_INSERT_TAIL(&node->disk.inodes, inode, link);
	node->disk.inode_count++;
	return inode;
}

void sim_change_note(struct sim_node *node, struct sim_inode *inode, struct sim_inode *from,
		     const char *from_name, struct sim_inode *to, const char *to_name)
{
	struct sim_change *change = sim_allocate(sizeof(*change));
	change->inode = inode;
	change->from = from;
	change->to = to;
	snprintf(change->from_name, sizeof(change->from_name), "%s", from_name);
	snprintf(change->to_name, sizeof(change->to_name), "%s", to_name);
	TAILQ_INSERT_TAIL(&node->disk.changes, change, link);
}

static void change_end(struct sim_node *node, struct sim_change *change, bool kept)
{
	if (kept && change->from &&
	    entries_get(&change->from->durable_entries, change->from_name) == change->inode)
		entries_remove(&change->from->durable_entries, change->from_name);
	if (kept && change->to)
		sim_entries_set(&change->to->durable_entries, change->to_name, change->inode);
	TAILQ_REMOVE(&node->disk.changes, change, link);
	free(change);
}

static void make_durable(struct sim_node *node, const struct sim_inode *directory)
{
	struct sim_change *change = TAILQ_FIRST(&node->disk.changes);
	while (change) {
		struct sim_change *next = TAILQ_NEXT(change, link);
		if (change->from == directory || change->to == directory)
			change_end(node, change, true);
		change = next;
	}
}

/* A journal loses all changes after a point; other file systems any of them. */
static void settle_changes(struct sim_node *node)
{
	struct prng *disk = &node->world->disk;
	bool journal = prng_below(disk, 2) == 0;
	bool keeping = prng_below(disk, 4) != 0;
	struct sim_change *change;
	while ((change = TAILQ_FIRST(&node->disk.changes))) {
		bool lucky = prng_below(disk, 4) != 0;
		if (journal)
			keeping &= lucky;
		change_end(node, change, journal ? keeping : lucky);
	}
}

static void copy_entries(struct sim_entries *to, const struct sim_entries *from)
{
	sim_entries_release(to);
	for (size_t i = 0; i < from->count; i++)
		entries_insert(to, i, from->items[i].name, from->items[i].inode);
}

void sim_names_lose(struct sim_node *node)
{
	struct sim_inode *inode;
	settle_changes(node);
	TAILQ_FOREACH(inode, &node->disk.inodes, link)
	{
		copy_entries(&inode->entries, &inode->durable_entries);
	}
}

/* ---- inodes that nothing leads to ---- */

static void mark_entries(const struct sim_entries *entries, bool *more)
{
	for (size_t i = 0; i < entries->count; i++) {
		if (!entries->items[i].inode->marked) {
			entries->items[i].inode->marked = true;
			*more = true;
		}
	}
}

static void mark_roots(struct sim_node *node)
{
	struct sim_inode *inode;
	struct sim_change *change;
	TAILQ_FOREACH(inode, &node->disk.inodes, link)
	{
		inode->marked = inode == node->disk.root || inode->handles > 0;
	}
	TAILQ_FOREACH(change, &node->disk.changes, link)
	{
		change->inode->marked = true;
		if (change->from)
			change->from->marked = true;
		if (change->to)
			change->to->marked = true;
	}
}

void sim_names_collect(struct sim_node *node, bool now)
{
	struct sim_disk *disk = &node->disk;
	struct sim_inode *inode, *next;
	bool more = true;
	if (!now && disk->inode_count < disk->collect_at)
		return;
	mark_roots(node);
	while (more) { /* at most once for every level of the tree */
		more = false;
		TAILQ_FOREACH(inode, &disk->inodes, link)
		{
			if (inode->marked) {
				mark_entries(&inode->entries, &more);
				mark_entries(&inode->durable_entries, &more);
			}
		}
	}
	for (inode = TAILQ_FIRST(&disk->inodes); inode; inode = next) {
		next = TAILQ_NEXT(inode, link);
		if (!inode->marked)
			sim_inode_free(node, inode);
	}
	disk->collect_at = 2 * disk->inode_count + 256;
}

void sim_names_release(struct sim_node *node)
{
	struct sim_change *change;
	while ((change = TAILQ_FIRST(&node->disk.changes)))
		change_end(node, change, false);
}

/* ---- the calls ---- */

static int unlink_path(struct sim_node *node, const char *path)
{
	struct sim_place place;
	int error = sim_path_find(node, path, &place);
	if (error || !place.inode)
		return error;
	if (place.inode->directory)
		return EISDIR;
	entries_remove(&place.directory->entries, place.name);
	sim_change_note(node, place.inode, place.directory, place.name, NULL, "");
	return 0;
}

enum err_code sim_unlink(struct env *env, const char *path, struct err *err)
{
	struct sim_node *node = sim_node_of(env);
	ERR_TRY(sim_disk_call(node, "remove", path, 0, err));
	int error = unlink_path(node, path);
	if (error && error != ENOENT)
		return sim_disk_fail(error, "remove", path, err);
	sim_names_collect(node, false);
	return ERR_OK;
}

static int may_replace(const struct sim_inode *moved, const struct sim_inode *there)
{
	if (!there)
		return 0;
	if (there->directory && !moved->directory)
		return EISDIR;
	if (!there->directory && moved->directory)
		return ENOTDIR;
	return there->entries.count > 0 ? ENOTEMPTY : 0;
}

static int rename_path(struct sim_node *node, const char *from, const char *to)
{
	struct sim_place source, target;
	int error = sim_path_find(node, from, &source);
	if (!error)
		error = sim_path_find(node, to, &target);
	if (error)
		return error;
	if (!source.inode)
		return ENOENT;
	if (!source.directory || !target.directory)
		return EBUSY; /* the root */
	if (source.inode == target.inode)
		return 0;
	if (source.inode->directory && lies_within(to, from))
		return EINVAL;
	error = may_replace(source.inode, target.inode);
	if (error)
		return error;
	entries_remove(&source.directory->entries, source.name);
	sim_entries_set(&target.directory->entries, target.name, source.inode);
	sim_change_note(node, source.inode, source.directory, source.name, target.directory,
			target.name);
	return 0;
}

enum err_code sim_rename(struct env *env, const char *from, const char *to, struct err *err)
{
	struct sim_node *node = sim_node_of(env);
	ERR_TRY(sim_disk_call(node, "rename", from, node->world->faults.write_error, err));
	int error = rename_path(node, from, to);
	if (error) {
		enum err_code code = sim_disk_fail(error, "rename", from, NULL);
		return err_set(err, code, error, __FILE__, __LINE__, "cannot rename %s to %s", from,
			       to);
	}
	sim_names_collect(node, false);
	return ERR_OK;
}

enum err_code sim_make_directory(struct env *env, const char *path, struct err *err)
{
	struct sim_node *node = sim_node_of(env);
	struct sim_place place;
	ERR_TRY(sim_disk_call(node, "make directory", path, node->world->faults.open_error, err));
	int error = sim_path_find(node, path, &place);
	if (error)
		return sim_disk_fail(error, "make directory", path, err);
	if (place.inode)
		return place.inode->directory ? ERR_OK
					      : sim_disk_fail(EEXIST, "make directory", path, err);
	struct sim_inode *inode = sim_inode_new(node, true, 0700);
	sim_entries_set(&place.directory->entries, place.name, inode);
	sim_change_note(node, inode, NULL, "", place.directory, place.name);
	return ERR_OK;
}

/* The directory itself, or an error number. */
static int find_directory(struct sim_node *node, const char *path, struct sim_inode **out)
{
	struct sim_place place;
	int error = sim_path_find(node, path, &place);
	if (!error && !place.inode)
		error = ENOENT;
	if (!error && !place.inode->directory)
		error = ENOTDIR;
	*out = error ? NULL : place.inode;
	return error;
}

enum err_code sim_sync_directory(struct env *env, const char *path, struct err *err)
{
	struct sim_node *node = sim_node_of(env);
	struct sim_inode *directory;
	ERR_TRY(sim_disk_call(node, "sync directory", path, node->world->faults.sync_error, err));
	int error = find_directory(node, path, &directory);
	if (error)
		return sim_disk_fail(error, "open directory", path, err);
	make_durable(node, directory);
	return ERR_OK;
}

enum err_code sim_list_directory(struct env *env, const char *path,
				 void (*each)(void *, const struct env_directory_entry *),
				 void *argument, struct err *err)
{
	struct sim_node *node = sim_node_of(env);
	struct sim_inode *directory;
	struct sim_entries seen = {0};
	ERR_TRY(sim_disk_call(node, "list directory", path, node->world->faults.read_error, err));
	int error = find_directory(node, path, &directory);
	if (error)
		return sim_disk_fail(error, "list directory", path, err);
	copy_entries(&seen, &directory->entries); /* `each` may change the directory */
	for (size_t i = 0; i < seen.count; i++) {
		struct env_directory_entry entry = {seen.items[i].name,
						    seen.items[i].inode->directory};
		each(argument, &entry);
	}
	sim_entries_release(&seen);
	return ERR_OK;
}

enum err_code sim_chmod(struct env *env, const char *path, unsigned mode, struct err *err)
{
	struct sim_node *node = sim_node_of(env);
	struct sim_place place;
	ERR_TRY(sim_disk_call(node, "set the mode of", path, 0, err));
	int error = sim_path_find(node, path, &place);
	if (!error && !place.inode)
		error = ENOENT;
	if (error)
		return sim_disk_fail(error, "set the mode of", path, err);
	place.inode->mode = mode & 07777;
	return ERR_OK;
}
