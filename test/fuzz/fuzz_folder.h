/* A folder of a target's own, in memory where there is such a place: files are synced, which takes
 * long on a disk. It goes with the process; what a signal left of others goes at the next start. */
#ifndef TEST_FUZZ_FUZZ_FOLDER_H
#define TEST_FUZZ_FUZZ_FOLDER_H

#include "fuzz.h"

#include <dirent.h>
#include <errno.h>
#include <ftw.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FUZZ_FOLDER_SIZE 64
#define FUZZ_FOLDER_NAME "parley-fuzz-"

static char fuzz_folder_path[FUZZ_FOLDER_SIZE];

static inline int fuzz_remove_one(const char *path, const struct stat *status, int kind,
				  struct FTW *walk)
{
	(void)status;
	(void)kind;
	(void)walk;
	return remove(path);
}

static inline void fuzz_remove_tree(const char *path)
{
	nftw(path, fuzz_remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static inline void fuzz_remove_folder(void)
{
	fuzz_remove_tree(fuzz_folder_path);
}

/* "parley-fuzz-TARGET-PID" of a process that is no more, or that nobody has waited for: such a one
 * has a number still, and no program. */
static inline bool fuzz_is_left(const char *name)
{
	const char *number = strrchr(name, '-');
	char program[64], nothing;
	if (strncmp(name, FUZZ_FOLDER_NAME, strlen(FUZZ_FOLDER_NAME)) != 0 || !number[1] ||
	    strspn(number + 1, "0123456789") != strlen(number + 1) || strlen(number) > 20)
		return false;
	snprintf(program, sizeof(program), "/proc/%s/exe", number + 1);
	return readlink(program, &nothing, 1) < 0 && errno == ENOENT;
}

static inline void fuzz_remove_left(const char *base)
{
	char path[512];
	DIR *directory = opendir(base);
	if (!directory)
		return;
	for (struct dirent *entry; (entry = readdir(directory));) {
		snprintf(path, sizeof(path), "%s/%s", base, entry->d_name);
		if (fuzz_is_left(entry->d_name))
			fuzz_remove_tree(path);
	}
	closedir(directory);
}

/* Once; the folder is there and empty. */
static inline const char *fuzz_folder(const char *target)
{
	const char *base = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
	fuzz_remove_left(base);
	snprintf(fuzz_folder_path, sizeof(fuzz_folder_path), "%s/" FUZZ_FOLDER_NAME "%s-%d", base,
		 target, (int)getpid());
	fuzz_remove_folder();
	FUZZ_CHECK(mkdir(fuzz_folder_path, 0700) == 0 && atexit(fuzz_remove_folder) == 0);
	return fuzz_folder_path;
}

#endif
