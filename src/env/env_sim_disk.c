/* Files of the simulation. A write is seen at once and noted; a sync makes what was noted durable.
 * A sync that fails decides there and then, at a draw, what of it reached the medium, and the rest
 * never will, although programs go on seeing it: as on Linux, where the pages count as clean
 * afterwards. */
#include "env/env_sim_disk_internal.h"

#include "base/crc32c.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#define SECTOR 512

/* ---- calls and errors ---- */

static enum err_code code_of(int error)
{
	switch (error) {
	case ENOENT:
		return ERR_NOT_FOUND;
	case EEXIST:
		return ERR_EXISTS;
	case ENOSPC:
		return ERR_NO_SPACE;
	case EWOULDBLOCK:
		return ERR_LOCKED;
	default:
		return ERR_ENVIRONMENT;
	}
}

enum err_code sim_disk_fail(int error, const char *what, const char *path, struct err *err)
{
	return err_set(err, code_of(error), error, __FILE__, __LINE__, "cannot %s %s", what, path);
}

static bool dies_now(struct sim_node *node)
{
	struct sim_disk *disk = &node->disk;
	if (disk->crash_countdown == 0 || --disk->crash_countdown > 0)
		return false;
	node->frozen = true;
	return true;
}

enum err_code sim_disk_call(struct sim_node *node, const char *what, const char *path,
			    uint32_t fault_rate, struct err *err)
{
	struct sim_world *world = node->world;
	if (sim_is_gone(node) || dies_now(node))
		return sim_disk_fail(EIO, what, path, err);
	node->disk.operations++;
	world->spent_ns +=
		sim_between(&world->disk, world->faults.disk_min_ns, world->faults.disk_max_ns);
	sim_trace_add(world, SIM_KIND_DISK, node->number, crc32c(0, what, strlen(what)),
		      crc32c(0, path, strlen(path)));
	return sim_chance(world, fault_rate) ? sim_disk_fail(EIO, what, path, err) : ERR_OK;
}

/* ---- contents ---- */

static void image_resize(struct sim_image *image, size_t size)
{
	if (size > image->capacity) {
		size_t wanted = size + size / 2 + 64;
		char *grown = realloc(image->data, wanted);
		if (!grown)
			abort();
		image->data = grown;
		image->capacity = wanted;
	}
	if (size > image->size)
		memset(image->data + image->size, 0, size - image->size);
	image->size = size;
}

static void image_write(struct sim_image *image, uint64_t offset, const void *data, size_t size)
{
	if (offset + size > image->size)
		image_resize(image, (size_t)offset + size);
	if (size)
		memcpy(image->data + offset, data, size);
}

static void image_apply(struct sim_image *image, const struct sim_write *write)
{
	if (write->truncate)
		image_resize(image, (size_t)write->offset);
	else
		image_write(image, write->offset, write->data, write->size);
}

/* Only the sectors a coin decides on. */
static void apply_sectors(struct prng *disk, struct sim_image *image, const struct sim_write *write)
{
	size_t done = 0;
	while (done < write->size) {
		size_t part = SECTOR - (size_t)((write->offset + done) % SECTOR);
		if (part > write->size - done)
			part = write->size - done;
		if (prng_below(disk, 2))
			image_write(image, write->offset + done, write->data + done, part);
		done += part;
	}
}

/* What becomes of a write that was never synced: kept, dropped, cut short, some of its sectors, or
 * its place in the file without its bytes. */
static void apply_at_a_draw(struct prng *disk, struct sim_image *image,
			    const struct sim_write *write)
{
	uint64_t fate = prng_below(disk, write->truncate ? 2 : 8);
	if (fate == 0)
		return;
	if (fate <= 3)
		image_apply(image, write);
	else if (fate == 4)
		image_write(image, write->offset, write->data,
			    (size_t)prng_below(disk, write->size + 1));
	else if (fate == 5)
		apply_sectors(disk, image, write);
	else if (fate == 6 && write->offset + write->size > image->size)
		image_resize(image, (size_t)write->offset + write->size);
}

enum fate { FATE_KEPT, FATE_LOST, FATE_DRAWN };

static void settle_writes(struct sim_node *node, struct sim_inode *inode, enum fate fate)
{
	struct sim_write *write;
	while ((write = TAILQ_FIRST(&inode->writes))) {
		TAILQ_REMOVE(&inode->writes, write, link);
		if (fate == FATE_KEPT)
			image_apply(&inode->durable, write);
		else if (fate == FATE_DRAWN)
			apply_at_a_draw(&node->world->disk, &inode->durable, write);
		free(write);
	}
}

static void note_write(struct sim_node *node, struct sim_inode *inode, uint64_t offset,
		       const void *data, size_t size, bool truncate)
{
	struct sim_write *write = sim_allocate(sizeof(*write) + size);
	size_t before = inode->now.size;
	write->offset = offset;
	write->truncate = truncate;
	write->size = size;
	if (size)
		memcpy(write->data, data, size);
	TAILQ_INSERT_TAIL(&inode->writes, write, link);
	image_apply(&inode->now, write);
	node->disk.used = node->disk.used - before + inode->now.size;
}

/* ---- opening ---- */

static struct sim_file *file_of(struct env_file *base)
{
	return (struct sim_file *)base;
}

static int find_or_make(struct sim_node *node, const char *path, unsigned flags,
			struct sim_inode **out)
{
	struct sim_place place;
	int error = sim_path_find(node, path, &place);
	if (error)
		return error;
	if (place.inode && (flags & ENV_OPEN_CREATE) && (flags & ENV_OPEN_EXCLUSIVE))
		return EEXIST;
	if (place.inode && place.inode->directory && (flags & (ENV_OPEN_WRITE | ENV_OPEN_CREATE)))
		return EISDIR;
	if (!place.inode && !(flags & ENV_OPEN_CREATE))
		return ENOENT;
	if (!place.inode) {
		place.inode = sim_inode_new(node, false, 0600);
		sim_entries_set(&place.directory->entries, place.name, place.inode);
		sim_change_note(node, place.inode, NULL, "", place.directory, place.name);
	}
	*out = place.inode;
	return 0;
}

enum err_code sim_file_open(struct env *env, const char *path, unsigned flags,
			    struct env_file **out, struct err *err)
{
	struct sim_node *node = sim_node_of(env);
	struct sim_inode *inode = NULL;
	*out = NULL;
	ERR_TRY(sim_disk_call(node, "open", path, node->world->faults.open_error, err));
	int error = find_or_make(node, path, flags, &inode);
	if (error)
		return sim_disk_fail(error, "open", path, err);
	size_t length = strlen(path) + 1;
	struct sim_file *file = sim_allocate(sizeof(*file) + length);
	memcpy(file->path, path, length);
	file->base.ops = env->ops;
	file->node = node;
	file->inode = inode;
	file->failures_seen = inode->failures;
	file->writable = (flags & (ENV_OPEN_WRITE | ENV_OPEN_APPEND)) != 0;
	inode->handles++;
	TAILQ_INSERT_TAIL(&node->disk.files, file, link);
	*out = &file->base;
	return ERR_OK;
}

static void file_release(struct sim_file *file)
{
	TAILQ_REMOVE(&file->node->disk.files, file, link);
	free(file);
}

void sim_file_close(struct env_file *base)
{
	struct sim_file *file = file_of(base);
	struct sim_node *node = file->node;
	if (file->dead || sim_is_gone(node))
		return;
	if (file->inode->locked_by == file)
		file->inode->locked_by = NULL;
	file->inode->handles--;
	file_release(file);
	sim_names_collect(node, false);
}

/* ---- reading and writing ---- */

static enum err_code file_call(struct sim_file *file, const char *what, uint32_t rate,
			       struct err *err)
{
	if (file->dead)
		return sim_disk_fail(EIO, what, file->path, err);
	return sim_disk_call(file->node, what, file->path, rate, err);
}

enum err_code sim_file_read(struct env_file *base, uint64_t offset, void *out, size_t size,
			    size_t *got, struct err *err)
{
	struct sim_file *file = file_of(base);
	*got = 0;
	ERR_TRY(file_call(file, "read", file->node->world->faults.read_error, err));
	if (file->inode->directory)
		return sim_disk_fail(EISDIR, "read", file->path, err);
	const struct sim_image *image = &file->inode->now;
	if (offset >= image->size || size == 0)
		return ERR_OK;
	*got = image->size - (size_t)offset < size ? image->size - (size_t)offset : size;
	memcpy(out, image->data + offset, *got);
	return ERR_OK;
}

/* The part of a write that the file gets before the call fails with ENOSPC. */
static size_t room_for(const struct sim_file *file, uint64_t offset, size_t size)
{
	const struct sim_disk *disk = &file->node->disk;
	uint64_t end = offset + size;
	uint64_t seen = file->inode->now.size;
	uint64_t free_bytes = disk->limit > disk->used ? disk->limit - disk->used : 0;
	if (end <= seen || end - seen <= free_bytes)
		return size;
	uint64_t last = seen + free_bytes;
	return last > offset ? (size_t)(last - offset) : 0;
}

static void write_part(struct sim_file *file, uint64_t offset, const void *data, size_t size)
{
	if (size > 0)
		note_write(file->node, file->inode, offset, data, size, false);
}

enum err_code sim_file_write(struct env_file *base, uint64_t offset, const void *data, size_t size,
			     struct err *err)
{
	struct sim_file *file = file_of(base);
	struct sim_world *world = file->node->world;
	bool was_gone = file->dead || sim_is_gone(file->node);
	enum err_code code = file_call(file, "write", world->faults.write_error, err);
	if (was_gone)
		return code;
	if (!file->writable)
		return sim_disk_fail(EBADF, "write", file->path, err);
	size_t room = room_for(file, offset, size);
	size_t part = (size_t)sim_between(&world->disk, 0, room);
	if (code == ERR_OK && room == size && !sim_chance(world, world->faults.full)) {
		sim_trace_add(world, SIM_KIND_DISK, file->inode->id, offset, crc32c(0, data, size));
		write_part(file, offset, data, size);
		return ERR_OK;
	}
	if (code != ERR_OK) {
		write_part(file, offset, data, part);
		return code;
	}
	write_part(file, offset, data, room < size ? room : part);
	return sim_disk_fail(ENOSPC, "write", file->path, err);
}

enum err_code sim_file_append(struct env_file *base, const void *data, size_t size, struct err *err)
{
	struct sim_file *file = file_of(base);
	return sim_file_write(base, file->dead ? 0 : file->inode->now.size, data, size, err);
}

enum err_code sim_file_truncate(struct env_file *base, uint64_t size, struct err *err)
{
	struct sim_file *file = file_of(base);
	ERR_TRY(file_call(file, "set the size of", file->node->world->faults.write_error, err));
	if (!file->writable)
		return sim_disk_fail(EINVAL, "set the size of", file->path, err);
	note_write(file->node, file->inode, size, NULL, 0, true);
	return ERR_OK;
}

enum err_code sim_file_size(struct env_file *base, uint64_t *out, struct err *err)
{
	struct sim_file *file = file_of(base);
	ERR_TRY(file_call(file, "read the size of", 0, err));
	*out = file->inode->now.size;
	return ERR_OK;
}

/* ---- syncing and locking ---- */

enum err_code sim_file_sync(struct env_file *base, struct err *err)
{
	struct sim_file *file = file_of(base);
	struct sim_inode *inode = file->inode;
	uint32_t rate = file->node->world->faults.sync_error;
	if (!file->dead && file->sync_failed)
		return ERR_SET(err, ERR_ENVIRONMENT, "a sync of %s has failed before", file->path);
	enum err_code code = file_call(file, "sync", rate, err);
	if (file->dead || sim_is_gone(file->node))
		return code;
	if (code != ERR_OK) {
		inode->failures++;
		settle_writes(file->node, inode, FATE_DRAWN);
	}
	if (inode->failures != file->failures_seen) {
		file->sync_failed = true;
		return sim_disk_fail(EIO, "sync", file->path, err);
	}
	settle_writes(file->node, inode, FATE_KEPT);
	return ERR_OK;
}

enum err_code sim_file_lock(struct env_file *base, struct err *err)
{
	struct sim_file *file = file_of(base);
	ERR_TRY(file_call(file, "lock", 0, err));
	if (file->inode->locked_by && file->inode->locked_by != file)
		return sim_disk_fail(EWOULDBLOCK, "lock", file->path, err);
	file->inode->locked_by = file;
	return ERR_OK;
}

/* ---- the disk as a whole ---- */

void sim_disk_init(struct sim_node *node)
{
	struct sim_disk *disk = &node->disk;
	TAILQ_INIT(&disk->inodes);
	TAILQ_INIT(&disk->changes);
	TAILQ_INIT(&disk->files);
	disk->limit = SIM_NEVER;
	disk->collect_at = 256;
	disk->root = sim_inode_new(node, true, 0755);
}

/* One crash in four loses nothing, one in four everything that can be lost. */
static enum fate draw_fate(struct prng *disk)
{
	uint64_t draw = prng_below(disk, 4);
	return draw == 0 ? FATE_KEPT : draw == 1 ? FATE_LOST : FATE_DRAWN;
}

static void lose_power(struct sim_node *node)
{
	struct sim_disk *disk = &node->disk;
	enum fate fate = draw_fate(&node->world->disk);
	struct sim_inode *inode;
	disk->used = 0;
	TAILQ_FOREACH(inode, &disk->inodes, link)
	{
		settle_writes(node, inode, fate);
		inode->now.size = 0;
		image_write(&inode->now, 0, inode->durable.data, inode->durable.size);
		disk->used += inode->now.size;
	}
	sim_names_lose(node);
}

void sim_disk_kill(struct sim_node *node, enum sim_crash_kind kind)
{
	struct sim_file *file;
	struct sim_inode *inode;
	TAILQ_FOREACH(file, &node->disk.files, link)
	{
		file->dead = true;
	}
	TAILQ_FOREACH(inode, &node->disk.inodes, link)
	{
		inode->handles = 0;
		inode->locked_by = NULL;
	}
	if (kind == SIM_POWER_LOST)
		lose_power(node);
	sim_names_collect(node, true);
}

void sim_disk_release_handles(struct sim_node *node)
{
	struct sim_file *file;
	while ((file = TAILQ_FIRST(&node->disk.files)))
		file_release(file);
}

void sim_inode_free(struct sim_node *node, struct sim_inode *inode)
{
	settle_writes(node, inode, FATE_LOST);
	node->disk.used -= inode->now.size;
	node->disk.inode_count--;
	TAILQ_REMOVE(&node->disk.inodes, inode, link);
	free(inode->now.data);
	free(inode->durable.data);
	sim_entries_release(&inode->entries);
	sim_entries_release(&inode->durable_entries);
	free(inode);
}

void sim_disk_release(struct sim_node *node)
{
	struct sim_inode *inode;
	sim_disk_release_handles(node);
	sim_names_release(node);
	while ((inode = TAILQ_FIRST(&node->disk.inodes)))
		sim_inode_free(node, inode);
}

void sim_disk_usage(struct sim_node *node, struct sim_usage *usage)
{
	struct sim_file *file;
	TAILQ_FOREACH(file, &node->disk.files, link)
	{
		usage->files++;
	}
}

void sim_disk_limit(struct env *env, uint64_t bytes)
{
	sim_node_of(env)->disk.limit = bytes;
}

uint64_t sim_disk_operations(struct env *env)
{
	return sim_node_of(env)->disk.operations;
}

bool sim_disk_rot(struct env *env, const char *path, uint64_t offset, uint8_t mask)
{
	struct sim_place place;
	if (sim_path_find(sim_node_of(env), path, &place) != 0 || !place.inode)
		return false;
	struct sim_image *now = &place.inode->now, *durable = &place.inode->durable;
	if (offset >= now->size)
		return false;
	now->data[offset] = (char)(now->data[offset] ^ mask);
	if (offset < durable->size)
		durable->data[offset] = (char)(durable->data[offset] ^ mask);
	return true;
}

unsigned sim_disk_mode(struct env *env, const char *path)
{
	struct sim_place place;
	if (sim_path_find(sim_node_of(env), path, &place) != 0 || !place.inode)
		return 0;
	return place.inode->mode;
}
