#include "grade/confine.h"

#include "base/sanitized.h"

#include <asm/termbits.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <sched.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

void confine_begin(void)
{
	close_range(3, ~0u, 0);
	clearenv();
}

static enum err_code become(const char *name, struct err *err)
{
	const struct passwd *user = getpwnam(name);
	if (!user)
		return ERR_SET(err, ERR_INVALID, "there is no user %s on this machine", name);
	if (setgroups(0, NULL) != 0 || setresgid(user->pw_gid, user->pw_gid, user->pw_gid) != 0 ||
	    setresuid(user->pw_uid, user->pw_uid, user->pw_uid) != 0)
		return ERR_SET(err, ERR_ENVIRONMENT,
			       "cannot become %s: %s; only root can, or start it as that user",
			       name, strerror(errno));
	return ERR_OK;
}

static int deny(scmp_filter_ctx filter, enum scmp_compare how, int domain)
{
	return seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(socket), 1,
				SCMP_A0(how, (scmp_datum_t)domain, 0));
}

/* Local sockets, and netlink, by which bubblewrap brings up the loopback of a namespace. */
static enum err_code allow_local_sockets(struct err *err)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
	int failed = filter ? deny(filter, SCMP_CMP_LT, AF_UNIX) : -ENOMEM;
	for (int domain = AF_UNIX + 1; !failed && domain < AF_NETLINK; domain++)
		failed = deny(filter, SCMP_CMP_EQ, domain);
	if (!failed)
		failed = deny(filter, SCMP_CMP_GT, AF_NETLINK);
	if (!failed)
		failed = seccomp_load(filter);
	seccomp_release(filter);
	return failed ? ERR_SET(err, ERR_ENVIRONMENT, "seccomp refuses a filter of sockets: %s",
				strerror(-failed))
		      : ERR_OK;
}

static enum err_code no_new_privileges(struct err *err)
{
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0)
		return ERR_SET(err, ERR_ENVIRONMENT, "the kernel keeps privileges: %s",
			       strerror(errno));
	return ERR_OK;
}

static enum err_code keep_capabilities(uint32_t kept, struct err *err)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3] = {{0}};
	sets[0].effective = sets[0].permitted = kept;
	if (syscall(SYS_capset, &header, sets) == 0)
		return ERR_OK;
	return ERR_SET(err, ERR_ENVIRONMENT, "the kernel keeps capabilities: %s", strerror(errno));
}

enum err_code confine_keeper(struct err *err)
{
	const uint32_t kept =
		1u << CAP_DAC_OVERRIDE | 1u << CAP_KILL | 1u << CAP_SETGID | 1u << CAP_SETUID;
	ERR_TRY(no_new_privileges(err));
	if (geteuid() == 0)
		ERR_TRY(keep_capabilities(kept, err));
	return allow_local_sockets(err);
}

static bool write_text(const char *path, const char *text)
{
	int descriptor = open(path, O_WRONLY | O_CLOEXEC);
	size_t size = strlen(text);
	bool good = descriptor >= 0 && write(descriptor, text, size) == (ssize_t)size;
	if (descriptor >= 0)
		close(descriptor);
	return good;
}

/* Who it is outside it is inside. */
static bool map_ids(uid_t user, gid_t group)
{
	char users[64], groups[64];
	snprintf(users, sizeof(users), "%u %u 1", user, user);
	snprintf(groups, sizeof(groups), "%u %u 1", group, group);
	return write_text("/proc/self/setgroups", "deny") &&
	       write_text("/proc/self/uid_map", users) && write_text("/proc/self/gid_map", groups);
}

static bool cover(const char *directory)
{
	return mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
	       mount("none", directory, "tmpfs", MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC,
		     "size=4k,mode=555") == 0;
}

enum err_code confine_apart(const char *directory, struct err *err)
{
	uid_t user = geteuid();
	gid_t group = getegid();
	/* What is not dumpable may not write its own maps. */
	if (prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) != 0 || unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0 ||
	    !map_ids(user, group) || !cover(directory))
		return ERR_SET(err, ERR_ENVIRONMENT, "the kernel sets no process apart: %s",
			       strerror(errno));
	return keep_capabilities(0, err);
}

enum err_code confine_finish(const char *user, struct err *err)
{
	if (user)
		ERR_TRY(become(user, err));
	if (chdir("/") != 0)
		return ERR_SET(err, ERR_ENVIRONMENT, "cannot leave the directory: %s",
			       strerror(errno));
	ERR_TRY(no_new_privileges(err));
	return allow_local_sockets(err);
}

/* ---- reading only ---- */

/* Calls that are harmless whatever their arguments: reading, memory, time, the end. */
static const int harmless[] = {
	SCMP_SYS(read),          SCMP_SYS(pread64),      SCMP_SYS(readv),
	SCMP_SYS(close),         SCMP_SYS(lseek),        SCMP_SYS(fstat),
	SCMP_SYS(newfstatat),    SCMP_SYS(statx),        SCMP_SYS(getdents64),
	SCMP_SYS(access),        SCMP_SYS(faccessat),    SCMP_SYS(faccessat2),
	SCMP_SYS(munmap),        SCMP_SYS(mremap),       SCMP_SYS(brk),
	SCMP_SYS(madvise),       SCMP_SYS(futex),        SCMP_SYS(sysinfo),
	SCMP_SYS(clock_gettime), SCMP_SYS(clock_getres), SCMP_SYS(gettimeofday),
	SCMP_SYS(getrandom),     SCMP_SYS(getpid),       SCMP_SYS(gettid),
	SCMP_SYS(sched_yield),   SCMP_SYS(rt_sigaction), SCMP_SYS(rt_sigprocmask),
	SCMP_SYS(rt_sigreturn),  SCMP_SYS(sigaltstack),  SCMP_SYS(restart_syscall),
	SCMP_SYS(exit),          SCMP_SYS(exit_group),
};

/* Calls that are allowed where (argument & mask) == value. */
static const struct {
	int call;
	unsigned argument;
	uint64_t mask, value;
} bounded[] = {
	{SCMP_SYS(openat),   2, O_ACCMODE | O_CREAT | O_TRUNC | O_APPEND, O_RDONLY     },
	{SCMP_SYS(mmap),     2, PROT_EXEC,                                0            },
	{SCMP_SYS(mprotect), 2, PROT_EXEC,                                0            },
	{SCMP_SYS(write),    0, ~(uint64_t)0,                             STDOUT_FILENO},
	{SCMP_SYS(write),    0, ~(uint64_t)0,                             STDERR_FILENO},
	{SCMP_SYS(writev),   0, ~(uint64_t)0,                             STDOUT_FILENO},
	{SCMP_SYS(writev),   0, ~(uint64_t)0,                             STDERR_FILENO},
	{SCMP_SYS(ioctl),    1, ~(uint64_t)0,                             TCGETS       },
	{SCMP_SYS(fcntl),    1, ~(uint64_t)0,                             F_GETFL      },
};

static int allow_reading(scmp_filter_ctx filter)
{
	int failed = 0;
	for (size_t i = 0; !failed && i < sizeof(harmless) / sizeof(harmless[0]); i++)
		failed = seccomp_rule_add(filter, SCMP_ACT_ALLOW, harmless[i], 0);
	for (size_t i = 0; !failed && i < sizeof(bounded) / sizeof(bounded[0]); i++)
		failed = seccomp_rule_add(filter, SCMP_ACT_ALLOW, bounded[i].call, 1,
					  SCMP_CMP(bounded[i].argument, SCMP_CMP_MASKED_EQ,
						   bounded[i].mask, bounded[i].value));
	/* What abort() does: a signal to this process itself. */
	if (!failed)
		failed = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1,
					  SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)getpid(), 0));
	return failed;
}

enum err_code confine_to_reading(struct err *err)
{
	if (SANITIZED)
		return ERR_OK;
	ERR_TRY(no_new_privileges(err));
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
	int failed = filter ? allow_reading(filter) : -ENOMEM;
	if (!failed)
		failed = seccomp_load(filter);
	seccomp_release(filter);
	return failed ? ERR_SET(err, ERR_ENVIRONMENT,
				"the kernel's seccomp refuses to confine the process: %s",
				strerror(-failed))
		      : ERR_OK;
}
