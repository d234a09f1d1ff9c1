#include "grade/sandbox_spawn.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/fsuid.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define UNPRIVILEGED_ID 65534
#define ARGUMENTS_MAX 96
#define PROGRAM_ARGUMENTS_MAX 32
#define PATH_SIZE 256u
#define SUITE_FOLDER "/suite"
#define CHILD_STACK_SIZE ((size_t)64 << 10)

/* Descriptors as bubblewrap finds them. */
enum { FD_FILTER = 4, FD_STATUS = 5, FD_COUNT = 6 };

#define TEXT(x) TEXT_(x)
#define TEXT_(x) #x

/* What the child needs, made ready before it starts: between clone and exec it shares the parent's
 * memory, may only make system calls, and must not touch what other threads may hold locked. */
struct launch {
	const char *arguments[ARGUMENTS_MAX];
	unsigned count;
	char limits[6][40];
	char elsewhere[PATH_SIZE]; /* where a program that isn't Debian's is seen */
	char scratch_size[24];
	int source[FD_COUNT]; /* which of our descriptors becomes number i */
	bool drop_root;
	int door;           /* of its control group; -1: it has none */
	int error;          /* errno of the child, 0 if it became bubblewrap */
	const char *failed; /* what it was doing */
};

static const char *const environment[] = {
	"PATH=/usr/bin:/bin",
	"HOME=/tmp",
	"TMPDIR=/tmp",
	"LANG=C.UTF-8",
	"PYTHONHASHSEED=0", /* the order of sets is the same on every run */
	NULL,
};

static const char *const isolation[] = {
	SANDBOX_BWRAP, "--unshare-user", "--unshare-pid", "--unshare-net", "--unshare-ipc",
	"--unshare-uts", "--unshare-cgroup-try", "--uid", TEXT(UNPRIVILEGED_ID), "--gid",
	TEXT(UNPRIVILEGED_ID), "--hostname", "sandbox", "--new-session", "--as-pid-1", "--cap-drop",
	"ALL",
	/* What it sees. No /proc: nothing in it is needed, and it would show other processes. */
	"--ro-bind", "/usr", "/usr", "--symlink", "usr/bin", "/bin", "--symlink", "usr/lib", "/lib",
	"--symlink", "usr/lib64", "/lib64", "--dev", "/dev", "--remount-ro", "/dev"};

static void argument_add(struct launch *launch, const char *text)
{
	assert(launch->count < ARGUMENTS_MAX - 1);
	launch->arguments[launch->count++] = text;
	launch->arguments[launch->count] = NULL;
}

/* prlimit sets the limits inside: there RLIMIT_NPROC counts this user namespace only. */
static void argument_add_limits(struct launch *launch, const struct sandbox_limits *limits)
{
	/* The exact limit is enforced from outside (sandbox_cpu.h). */
	unsigned cpu_seconds = limits->cpu_seconds + limits->cpu_seconds / 2 + 1;

	argument_add(launch, "/usr/bin/prlimit");
	snprintf(launch->limits[0], sizeof(launch->limits[0]), "--cpu=%u:%u", cpu_seconds,
		 cpu_seconds);
	snprintf(launch->limits[1], sizeof(launch->limits[1]), "--as=%llu",
		 (unsigned long long)(limits->memory_bytes + limits->reserved_bytes));
	snprintf(launch->limits[2], sizeof(launch->limits[2]), "--fsize=%llu",
		 (unsigned long long)limits->file_bytes);
	snprintf(launch->limits[3], sizeof(launch->limits[3]), "--nproc=%u", limits->processes);
	snprintf(launch->limits[4], sizeof(launch->limits[4]), "--nofile=%u", 128u);
	for (unsigned i = 0; i < 5; i++)
		argument_add(launch, launch->limits[i]);
	if (limits->reserved_bytes) {
		snprintf(launch->limits[5], sizeof(launch->limits[5]), "--data=%llu",
			 (unsigned long long)limits->memory_bytes);
		argument_add(launch, launch->limits[5]);
	}
	argument_add(launch, "--core=0");
	argument_add(launch, "--");
}

/* Debian's programs are seen where they are. */
static bool is_elsewhere(const char *program)
{
	return strncmp(program, "/usr/", 5) != 0 || strncmp(program, "/usr/local/", 11) == 0;
}

static void argument_add_program(struct launch *launch, const char *program)
{
	const char *name = strrchr(program, '/') + 1;

	snprintf(launch->elsewhere, sizeof(launch->elsewhere), "/opt/%s", name);
	argument_add(launch, "--ro-bind");
	argument_add(launch, program);
	argument_add(launch, launch->elsewhere);
}

static void launch_view(struct launch *launch, const char *program, const char *folder,
			uint64_t scratch_bytes)
{
	for (size_t i = 0; i < sizeof(isolation) / sizeof(isolation[0]); i++)
		argument_add(launch, isolation[i]);
	if (access("/usr/local", F_OK) == 0) {
		argument_add(launch, "--tmpfs"); /* not Debian's: may hold anything */
		argument_add(launch, "/usr/local");
		argument_add(launch, "--remount-ro");
		argument_add(launch, "/usr/local");
	}
	snprintf(launch->scratch_size, sizeof(launch->scratch_size), "%llu",
		 (unsigned long long)scratch_bytes);
	argument_add(launch, "--size");
	argument_add(launch, launch->scratch_size);
	argument_add(launch, "--tmpfs");
	argument_add(launch, "/tmp");
	if (folder) {
		argument_add(launch, "--ro-bind");
		argument_add(launch, folder);
		argument_add(launch, SUITE_FOLDER);
	}
	argument_add(launch, "--chdir");
	argument_add(launch, folder ? SUITE_FOLDER : "/tmp");
	if (is_elsewhere(program))
		argument_add_program(launch, program);
	argument_add(launch, "--remount-ro");
	argument_add(launch, "/");
}

static void launch_program(struct launch *launch, const char *const *argv)
{
	for (unsigned i = 0; argv[i]; i++) {
		assert(i < PROGRAM_ARGUMENTS_MAX);
		argument_add(launch, i == 0 && launch->elsewhere[0] ? launch->elsewhere : argv[i]);
	}
}

static void launch_arguments(struct launch *launch, const struct sandbox_program *program)
{
	launch_view(launch, program->argv[0], program->folder, program->limits.file_bytes * 4);
	argument_add(launch, "--die-with-parent");
	argument_add(launch, "--json-status-fd");
	argument_add(launch, TEXT(5));
	argument_add(launch, "--seccomp");
	argument_add(launch, TEXT(4));
	argument_add(launch, "--");
	argument_add_limits(launch, &program->limits);
	launch_program(launch, program->argv);
}

/* Not to die with its parent: that would be the thread that happened to start it. It ends when its
 * socket closes. */
static void launch_arguments_warm(struct launch *launch, const char *const *argv)
{
	launch_view(launch, argv[0], NULL, 4096);
	argument_add(launch, "--cap-add");
	argument_add(launch, "CAP_SYS_ADMIN");
	argument_add(launch, "--");
	launch_program(launch, argv);
}

/* ---- the child ---- */

static void child_fail(struct launch *launch, const char *what)
{
	launch->failed = what;
	launch->error = errno ? errno : EINVAL;
	syscall(SYS_exit, 127);
	__builtin_unreachable();
}

static void child_reset_signals(void)
{
	struct sigaction standard = {.sa_handler = SIG_DFL};
	sigset_t none;

	for (int number = 1; number < NSIG; number++)
		sigaction(number, &standard, NULL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

/* Moves the descriptors to 0 … FD_COUNT - 1 and closes all others. They are first copied above that
 * range, so that none is overwritten before it was moved. */
static void child_place_descriptors(struct launch *launch)
{
	int moved[FD_COUNT];

	for (int i = 0; i < FD_COUNT; i++) {
		moved[i] = fcntl(launch->source[i], F_DUPFD_CLOEXEC, FD_COUNT);
		if (moved[i] < 0)
			child_fail(launch, "cannot place descriptors for the sandbox");
	}
	for (int i = 0; i < FD_COUNT; i++)
		if (dup2(moved[i], i) < 0)
			child_fail(launch, "cannot place descriptors for the sandbox");
	if (syscall(SYS_close_range, (unsigned)FD_COUNT, ~0u, 0u) != 0)
		child_fail(launch, "cannot close descriptors for the sandbox");
}

enum err_code sandbox_let_in(const char *folder, struct err *err)
{
	if (geteuid() != 0)
		return ERR_OK; /* programs of an ordinary user run as that user */
	/* Who owns a folder may give it a group of his own without CAP_CHOWN, which a confined
	 * grader does not have; of this thread alone. */
	int before = setfsgid(UNPRIVILEGED_ID);
	bool done = chown(folder, (uid_t)-1, UNPRIVILEGED_ID) == 0 && chmod(folder, 0750) == 0;
	if (!done)
		ERR_SYS(err, ERR_ENVIRONMENT, "cannot open %s to the sandbox", folder);
	setfsgid((gid_t)before);
	return done ? ERR_OK : ERR_ENVIRONMENT;
}

/* Raw calls: the C library's would change the ids of every thread of the parent. */
static void child_drop_root(struct launch *launch)
{
	if (syscall(SYS_setgroups, 0, NULL) != 0 ||
	    syscall(SYS_setresgid, UNPRIVILEGED_ID, UNPRIVILEGED_ID, UNPRIVILEGED_ID) != 0 ||
	    syscall(SYS_setresuid, UNPRIVILEGED_ID, UNPRIVILEGED_ID, UNPRIVILEGED_ID) != 0)
		child_fail(launch, "root cannot become uid 65534 for the sandbox: run parley as an "
				   "ordinary user, or where that uid is mapped");
}

__attribute__((no_sanitize("address", "undefined"))) static int child_main(void *argument)
{
	struct launch *launch = argument;

	/* Before it loses what lets it. Where it stays outside, the resource limits hold. */
	if (launch->door >= 0 && write(launch->door, "0", 1) != 1)
		errno = 0;
	child_place_descriptors(launch);
	if (syscall(SYS_setsid) < 0 || chdir("/") != 0)
		child_fail(launch, "cannot prepare the sandbox");
	if (launch->drop_root)
		child_drop_root(launch);
	child_reset_signals();
	execve(SANDBOX_BWRAP, (char *const *)launch->arguments, (char *const *)environment);
	child_fail(launch, "cannot start " SANDBOX_BWRAP);
	return 127;
}

/* As posix_spawn does it: the child borrows the parent's memory until exec, the calling thread
 * waits, and nothing of a large process is copied. */
static enum err_code clone_child(struct launch *launch, pid_t *pid, int *pidfd, struct err *err)
{
	void *stack = mmap(NULL, CHILD_STACK_SIZE, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
	sigset_t all, before;

	if (stack == MAP_FAILED)
		return ERR_SYS(err, ERR_NO_MEMORY, "cannot start the sandbox");
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	*pid = clone(child_main, (char *)stack + CHILD_STACK_SIZE,
		     CLONE_VM | CLONE_VFORK | CLONE_PIDFD | SIGCHLD, launch, pidfd);
	int error = *pid < 0 ? errno : launch->error;
	const char *failed = *pid < 0 ? "cannot start the sandbox" : launch->failed;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	munmap(stack, CHILD_STACK_SIZE);
	if (error == 0)
		return ERR_OK;
	if (*pid > 0) {
		waitpid(*pid, NULL, 0);
		close(*pidfd);
	}
	errno = error;
	return ERR_SYS(err, ERR_ENVIRONMENT, "%s", failed);
}

/* ---- descriptors ---- */

/* Both ends of everything; -1 where none is open. */
struct channels {
	int ours[FD_COUNT], theirs[FD_COUNT];
};

static void channels_close(int fds[FD_COUNT])
{
	for (int i = 0; i < FD_COUNT; i++)
		if (fds[i] >= 0)
			close(fds[i]);
}

static bool channel_pipe(struct channels *channels, int number)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) != 0)
		return false;
	channels->ours[number] = ends[0];
	channels->theirs[number] = ends[1];
	return fcntl(ends[0], F_SETFL, O_NONBLOCK) == 0;
}

/* stdin is a socket, so that writing to a program that has gone raises no signal. */
static bool channel_socket(struct channels *channels, int number, int type)
{
	int ends[2];

	if (socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, ends) != 0)
		return false;
	channels->ours[number] = ends[0];
	channels->theirs[number] = ends[1];
	return type == SOCK_SEQPACKET || fcntl(ends[0], F_SETFL, O_NONBLOCK) == 0;
}

static void channels_init(struct channels *channels)
{
	for (int i = 0; i < FD_COUNT; i++)
		channels->ours[i] = channels->theirs[i] = -1;
}

static bool channels_open(struct channels *channels, int input_type, struct err *err)
{
	if (channel_socket(channels, STDIN_FILENO, input_type) &&
	    channel_pipe(channels, STDOUT_FILENO) && channel_pipe(channels, STDERR_FILENO) &&
	    channel_pipe(channels, SANDBOX_VERDICT_FD))
		return true;
	ERR_SYS(err, ERR_ENVIRONMENT, "cannot make pipes for the sandbox");
	return false;
}

static void process_channels(struct sandbox_process *process, const struct channels *channels)
{
	process->input = channels->ours[STDIN_FILENO];
	process->output = channels->ours[STDOUT_FILENO];
	process->errors = channels->ours[STDERR_FILENO];
	process->verdict = channels->ours[SANDBOX_VERDICT_FD];
	process->status = channels->ours[FD_STATUS];
}

enum err_code sandbox_channels(struct sandbox_process *process, int theirs[static 4],
			       struct err *err)
{
	struct channels channels;

	channels_init(&channels);
	if (!channels_open(&channels, SOCK_STREAM, err)) {
		channels_close(channels.ours);
		channels_close(channels.theirs);
		return ERR_ENVIRONMENT;
	}
	process_channels(process, &channels);
	memcpy(theirs, channels.theirs, 4 * sizeof(theirs[0]));
	return ERR_OK;
}

/* Makes the channels, starts bubblewrap, closes its ends. */
static enum err_code launch_start(struct launch *launch, int input_type,
				  struct sandbox_process *process, struct err *err)
{
	struct channels channels;
	enum err_code code = ERR_OK;

	channels_init(&channels);
	process->group = (struct sandbox_group)SANDBOX_GROUP_NONE;
	launch->drop_root = geteuid() == 0;
	if (!channels_open(&channels, input_type, err))
		code = ERR_ENVIRONMENT;
	else if (!channel_pipe(&channels, FD_STATUS))
		code = ERR_SYS(err, ERR_ENVIRONMENT, "cannot make pipes for the sandbox");
	else
		code = sandbox_filter(&channels.theirs[FD_FILTER], err);
	if (code == ERR_OK) {
		memcpy(launch->source, channels.theirs, sizeof(launch->source));
		sandbox_group_open(&process->group);
		launch->door = sandbox_group_door(&process->group);
		code = clone_child(launch, &process->pid, &process->pidfd, err);
		if (launch->door >= 0)
			close(launch->door);
	}
	channels_close(channels.theirs);
	if (code != ERR_OK) {
		channels_close(channels.ours);
		sandbox_group_close(&process->group);
		return code;
	}
	process->control = -1;
	process_channels(process, &channels);
	return ERR_OK;
}

enum err_code sandbox_spawn(const struct sandbox_program *program, struct sandbox_process *process,
			    struct err *err)
{
	struct launch launch = {0};

	launch_arguments(&launch, program);
	return launch_start(&launch, SOCK_STREAM, process, err);
}

enum err_code sandbox_spawn_warm(const char *const *argv, struct sandbox_process *process,
				 struct err *err)
{
	struct launch launch = {0};

	launch_arguments_warm(&launch, argv);
	ERR_TRY(launch_start(&launch, SOCK_SEQPACKET, process, err));
	process->control = process->input;
	process->input = -1;
	close(process->output);
	close(process->verdict);
	close(process->status);
	process->output = process->verdict = process->status = -1;
	return ERR_OK;
}
