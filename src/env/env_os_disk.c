/* Files of the machine, blocking. Short writes and EINTR are carried on with here, so that callers
 * see all or an error. */
#include "env/env_os_internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define APPEND_WAIT_MS 1000

struct os_file {
	struct env_file base;
	int fd;
	bool sync_failed;
	char path[];
};

static enum err_code code_of(int error)
{
	switch (error) {
	case ENOENT:
		return ERR_NOT_FOUND;
	case EEXIST:
		return ERR_EXISTS;
	case ENOSPC:
	case EDQUOT:
		return ERR_NO_SPACE;
	case ENOMEM:
		return ERR_NO_MEMORY;
	case EWOULDBLOCK:
		return ERR_LOCKED;
	default:
		return ERR_ENVIRONMENT;
	}
}

static struct os_file *os_file_of(struct env_file *file)
{
	return (struct os_file *)file;
}

enum err_code os_file_open(struct env *env, const char *path, unsigned flags, struct env_file **out,
			   struct err *err)
{
	int mode = O_CLOEXEC | (flags & ENV_OPEN_WRITE ? O_RDWR : O_RDONLY);
	if (flags & ENV_OPEN_CREATE)
		mode |= O_CREAT;
	if (flags & ENV_OPEN_EXCLUSIVE)
		mode |= O_EXCL;
	if (flags & ENV_OPEN_APPEND)
		mode = (mode & ~O_ACCMODE) | O_WRONLY | O_APPEND | O_NONBLOCK;
	*out = NULL;
	size_t length = strlen(path) + 1;
	struct os_file *file = calloc(1, sizeof(*file) + length);
	if (!file)
		return ERR_SET(err, ERR_NO_MEMORY, "out of memory");
	memcpy(file->path, path, length);
	file->base.ops = env->ops;
	do
		file->fd = flags & ENV_OPEN_APPEND && strcmp(path, "-") == 0
				   ? fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 0)
				   : open(path, mode, 0600);
	while (file->fd < 0 && errno == EINTR);
	if (file->fd < 0) {
		enum err_code code = ERR_SYS(err, code_of(errno), "cannot open %s", path);
		free(file);
		return code;
	}
	if (flags & ENV_OPEN_FRESH)
		(void)posix_fadvise(file->fd, 0, 0, POSIX_FADV_DONTNEED);
	*out = &file->base;
	return ERR_OK;
}

enum err_code os_file_read(struct env_file *base, uint64_t offset, void *out, size_t size,
			   size_t *got, struct err *err)
{
	struct os_file *file = os_file_of(base);
	*got = 0;
	while (*got < size) {
		ssize_t count =
			pread(file->fd, (char *)out + *got, size - *got, (off_t)(offset + *got));
		if (count < 0 && errno == EINTR)
			continue;
		if (count < 0)
			return ERR_SYS(err, code_of(errno), "cannot read %s at offset %llu",
				       file->path, (unsigned long long)(offset + *got));
		if (count == 0)
			break;
		*got += (size_t)count;
	}
	return ERR_OK;
}

enum err_code os_file_write(struct env_file *base, uint64_t offset, const void *data, size_t size,
			    struct err *err)
{
	struct os_file *file = os_file_of(base);
	size_t done = 0;
	while (done < size) {
		ssize_t count = pwrite(file->fd, (const char *)data + done, size - done,
				       (off_t)(offset + done));
		if (count < 0 && errno == EINTR)
			continue;
		if (count <= 0) {
			int error = count == 0 ? ENOSPC : errno;
			return err_set(err, code_of(error), error, __FILE__, __LINE__,
				       "cannot write %s at offset %llu", file->path,
				       (unsigned long long)(offset + done));
		}
		done += (size_t)count;
	}
	return ERR_OK;
}

/* What can be written now without blocking for long: a pipe that says it is writable takes PIPE_BUF
 * bytes at once. */
static size_t append_step(const struct os_file *file, size_t size)
{
	struct stat status;
	if (fstat(file->fd, &status) == 0 && S_ISREG(status.st_mode))
		return size;
	struct pollfd wait = {.fd = file->fd, .events = POLLOUT};
	if (poll(&wait, 1, APPEND_WAIT_MS) == 0)
		return 0;
	return size < PIPE_BUF ? size : PIPE_BUF;
}

enum err_code os_file_append(struct env_file *base, const void *data, size_t size, struct err *err)
{
	struct os_file *file = os_file_of(base);
	size_t done = 0;
	while (done < size) {
		size_t step = append_step(file, size - done);
		if (step == 0)
			return ERR_SET(err, ERR_TIMEOUT, "cannot write %s: nobody reads from it",
				       file->path);
		ssize_t count = write(file->fd, (const char *)data + done, step);
		if (count < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (count < 0)
			return ERR_SYS(err, code_of(errno), "cannot write %s", file->path);
		done += (size_t)count;
	}
	return ERR_OK;
}

enum err_code os_file_sync(struct env_file *base, struct err *err)
{
	struct os_file *file = os_file_of(base);
	if (file->sync_failed)
		return ERR_SET(err, ERR_ENVIRONMENT, "a sync of %s has failed before", file->path);
	if (fdatasync(file->fd) == 0)
		return ERR_OK;
	file->sync_failed = true;
	return ERR_SYS(err, code_of(errno), "cannot sync %s", file->path);
}

enum err_code os_file_size(struct env_file *base, uint64_t *out, struct err *err)
{
	struct os_file *file = os_file_of(base);
	struct stat status;
	if (fstat(file->fd, &status) != 0)
		return ERR_SYS(err, code_of(errno), "cannot read the size of %s", file->path);
	*out = (uint64_t)status.st_size;
	return ERR_OK;
}

enum err_code os_file_truncate(struct env_file *base, uint64_t size, struct err *err)
{
	struct os_file *file = os_file_of(base);
	if (ftruncate(file->fd, (off_t)size) != 0)
		return ERR_SYS(err, code_of(errno), "cannot set the size of %s", file->path);
	return ERR_OK;
}

enum err_code os_file_lock(struct env_file *base, struct err *err)
{
	struct os_file *file = os_file_of(base);
	if (flock(file->fd, LOCK_EX | LOCK_NB) != 0)
		return ERR_SYS(err, code_of(errno), "cannot lock %s", file->path);
	return ERR_OK;
}

void os_file_close(struct env_file *base)
{
	struct os_file *file = os_file_of(base);
	close(file->fd);
	free(file);
}

enum err_code os_rename(struct env *env, const char *from, const char *to, struct err *err)
{
	(void)env;
	if (rename(from, to) != 0)
		return ERR_SYS(err, code_of(errno), "cannot rename %s to %s", from, to);
	return ERR_OK;
}

enum err_code os_unlink(struct env *env, const char *path, struct err *err)
{
	(void)env;
	if (unlink(path) != 0 && errno != ENOENT)
		return ERR_SYS(err, code_of(errno), "cannot remove %s", path);
	return ERR_OK;
}

enum err_code os_make_directory(struct env *env, const char *path, struct err *err)
{
	struct stat status;
	(void)env;
	if (mkdir(path, 0700) == 0)
		return ERR_OK;
	int error = errno;
	if (error == EEXIST && stat(path, &status) == 0 && S_ISDIR(status.st_mode))
		return ERR_OK;
	return err_set(err, code_of(error), error, __FILE__, __LINE__, "cannot make directory %s",
		       path);
}

enum err_code os_sync_directory(struct env *env, const char *path, struct err *err)
{
	(void)env;
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return ERR_SYS(err, code_of(errno), "cannot open directory %s", path);
	int result = fsync(fd);
	int error = errno;
	close(fd);
	if (result != 0)
		return err_set(err, code_of(error), error, __FILE__, __LINE__,
			       "cannot sync directory %s", path);
	return ERR_OK;
}

enum err_code os_list_directory(struct env *env, const char *path,
				void (*each)(void *, const struct env_directory_entry *),
				void *argument, struct err *err)
{
	struct dirent **entries;
	(void)env;
	int count = scandir(path, &entries, NULL, alphasort);
	if (count < 0)
		return ERR_SYS(err, code_of(errno), "cannot list directory %s", path);
	for (int i = 0; i < count; i++) {
		const char *name = entries[i]->d_name;
		if (strcmp(name, ".") != 0 && strcmp(name, "..") != 0)
			each(argument,
			     &(struct env_directory_entry){name, entries[i]->d_type == DT_DIR});
		free(entries[i]);
	}
	free(entries);
	return ERR_OK;
}

enum err_code os_chmod(struct env *env, const char *path, unsigned mode, struct err *err)
{
	(void)env;
	if (chmod(path, mode) != 0)
		return ERR_SYS(err, code_of(errno), "cannot set the mode of %s", path);
	return ERR_OK;
}
