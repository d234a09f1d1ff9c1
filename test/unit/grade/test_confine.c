/* What a process can still do once it is confined to reading. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "base/sanitized.h"
#include "grade/confine.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static bool refused(long result)
{
	return result == -1 && errno == EPERM;
}

static bool can_read(void)
{
	char byte;
	int file = open("/proc/self/status", O_RDONLY);
	bool read_one = file >= 0 && read(file, &byte, 1) == 1;
	close(file);
	return read_one;
}

static bool can_allocate(void)
{
	char *memory = malloc((size_t)8 << 20);
	if (memory)
		memset(memory, 1, (size_t)8 << 20);
	free(memory);
	return memory != NULL;
}

static bool can_tell(void)
{
	return write(STDERR_FILENO, "", 0) == 0;
}

static bool cannot_write_files(void)
{
	return refused(open("/dev/null", O_WRONLY)) && refused(open("/dev/null", O_RDWR)) &&
	       refused(open("/tmp/parley-confine", O_RDONLY | O_CREAT, 0600)) &&
	       refused(unlink("/tmp/parley-confine")) &&
	       refused(mkdir("/tmp/parley-confine", 0700)) &&
	       refused(rename("/tmp/parley-confine", "/tmp/parley-confined"));
}

/* A descriptor that was open for writing before. */
static int kept = -1;

static bool cannot_write_elsewhere(void)
{
	return refused(write(kept, "x", 1));
}

static bool cannot_connect(void)
{
	return refused(socket(AF_INET, SOCK_STREAM, 0)) && refused(socket(AF_UNIX, SOCK_STREAM, 0));
}

static bool cannot_start(void)
{
	char name[] = "true", *const arguments[] = {name, NULL};
	return refused(execv("/bin/true", arguments)) && refused(fork());
}

static bool cannot_signal(void)
{
	return refused(kill(getppid(), 0));
}

static bool cannot_make_code(void)
{
	void *memory = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return memory != MAP_FAILED && refused(mprotect(memory, 4096, PROT_READ | PROT_EXEC)) &&
	       mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) ==
		       MAP_FAILED;
}

static const struct {
	const char *what;
	bool (*holds)(void);
} promises[] = {
	{"it reads files",                      can_read              },
	{"it has memory",                       can_allocate          },
	{"it writes to stderr",                 can_tell              },
	{"it writes, makes and moves no files", cannot_write_files    },
	{"it writes to no other descriptor",    cannot_write_elsewhere},
	{"it opens no sockets",                 cannot_connect        },
	{"it starts nothing",                   cannot_start          },
	{"it signals nobody",                   cannot_signal         },
	{"it makes no code",                    cannot_make_code      },
};
#define PROMISES (sizeof(promises) / sizeof(promises[0]))

/* The number of the first broken promise, or PROMISES. */
static int confined(void)
{
	struct err err = ERR_INIT;
	int index = 0;
	if (confine_to_reading(&err) != ERR_OK)
		return 255;
	while (index < (int)PROMISES && promises[index].holds())
		index++;
	return index;
}

static void test_reading_is_all(void **state)
{
	int status;
	(void)state;
	if (SANITIZED)
		skip();
	kept = open("/dev/null", O_WRONLY);
	pid_t child = fork();
	if (child == 0)
		_exit(confined());
	assert_int_equal(waitpid(child, &status, 0), child);
	close(kept);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) != (int)PROMISES)
		fail_msg("broken: %s", WEXITSTATUS(status) < (int)PROMISES
					       ? promises[WEXITSTATUS(status)].what
					       : "it is confined at all");
}

static void test_abort_still_ends_it(void **state)
{
	struct err err = ERR_INIT;
	int status;
	(void)state;
	pid_t child = fork();
	if (child == 0) {
		if (confine_to_reading(&err) == ERR_OK)
			abort();
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_reading_is_all),
		cmocka_unit_test(test_abort_still_ends_it),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
