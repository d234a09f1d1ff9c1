/* The system calls that no graded program needs: those that reach other processes, the kernel's
 * configuration, keys, mounts and namespaces, memory outside of its limits, and every kind of
 * socket but local ones (network namespaces don't cover all families, e.g. vsock). */
#include "grade/sandbox_spawn.h"

#include <errno.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

static const int denied_calls[] = {
	/* other processes */
	SCMP_SYS(ptrace),
	SCMP_SYS(process_vm_readv),
	SCMP_SYS(process_vm_writev),
	SCMP_SYS(process_madvise),
	SCMP_SYS(process_mrelease),
	SCMP_SYS(pidfd_getfd),
	SCMP_SYS(kcmp),
	/* mounts and namespaces */
	SCMP_SYS(mount),
	SCMP_SYS(umount2),
	SCMP_SYS(pivot_root),
	SCMP_SYS(chroot),
	SCMP_SYS(unshare),
	SCMP_SYS(setns),
	SCMP_SYS(fsopen),
	SCMP_SYS(fsconfig),
	SCMP_SYS(fsmount),
	SCMP_SYS(fspick),
	SCMP_SYS(move_mount),
	SCMP_SYS(open_tree),
	SCMP_SYS(mount_setattr),
	SCMP_SYS(open_by_handle_at),
	SCMP_SYS(name_to_handle_at),
	SCMP_SYS(quotactl),
	SCMP_SYS(quotactl_fd),
	SCMP_SYS(fanotify_init),
	/* large or risky parts of the kernel */
	SCMP_SYS(bpf),
	SCMP_SYS(perf_event_open),
	SCMP_SYS(userfaultfd),
	SCMP_SYS(io_uring_setup),
	SCMP_SYS(io_uring_enter),
	SCMP_SYS(io_uring_register),
	SCMP_SYS(io_setup),
	SCMP_SYS(keyctl),
	SCMP_SYS(add_key),
	SCMP_SYS(request_key),
	SCMP_SYS(modify_ldt),
	SCMP_SYS(personality),
	SCMP_SYS(lookup_dcookie),
	SCMP_SYS(uselib),
	SCMP_SYS(vmsplice),
	/* memory that no limit counts */
	SCMP_SYS(memfd_create),
	SCMP_SYS(memfd_secret),
	SCMP_SYS(shmget),
	SCMP_SYS(msgget),
	SCMP_SYS(semget),
	SCMP_SYS(mq_open),
	SCMP_SYS(move_pages),
	SCMP_SYS(migrate_pages),
	SCMP_SYS(mbind),
	SCMP_SYS(set_mempolicy),
	/* the machine */
	SCMP_SYS(reboot),
	SCMP_SYS(kexec_load),
	SCMP_SYS(kexec_file_load),
	SCMP_SYS(init_module),
	SCMP_SYS(finit_module),
	SCMP_SYS(delete_module),
	SCMP_SYS(swapon),
	SCMP_SYS(swapoff),
	SCMP_SYS(acct),
	SCMP_SYS(syslog),
	SCMP_SYS(settimeofday),
	SCMP_SYS(clock_settime),
	SCMP_SYS(adjtimex),
	SCMP_SYS(clock_adjtime),
	SCMP_SYS(sethostname),
	SCMP_SYS(setdomainname),
	SCMP_SYS(iopl),
	SCMP_SYS(ioperm),
	SCMP_SYS(vhangup),
};

#define NAMESPACE_FLAGS                                                                            \
	(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | \
	 CLONE_NEWCGROUP)

static bool deny_calls(scmp_filter_ctx filter)
{
	for (size_t i = 0; i < sizeof(denied_calls) / sizeof(denied_calls[0]); i++) {
		/* Calls that this processor's kernel never had have no number. */
		if (denied_calls[i] >= 0 &&
		    seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), denied_calls[i], 0) != 0)
			return false;
	}
	return true;
}

static bool deny_namespaces(scmp_filter_ctx filter)
{
	for (unsigned bit = 0; bit < 32; bit++) {
		scmp_datum_t flag = (scmp_datum_t)1 << bit;

		if ((NAMESPACE_FLAGS & flag) &&
		    seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(clone), 1,
				     SCMP_A0(SCMP_CMP_MASKED_EQ, flag, flag)) != 0)
			return false;
	}
	/* Its flags lie in memory, out of a filter's sight; the C library falls back to clone. */
	return seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0) == 0;
}

static bool deny_sockets(scmp_filter_ctx filter)
{
	struct scmp_arg_cmp other_family = {.arg = 0, .op = SCMP_CMP_NE, .datum_a = AF_UNIX};

	return seccomp_rule_add(filter, SCMP_ACT_ERRNO(EAFNOSUPPORT), SCMP_SYS(socket), 1,
				other_family) == 0;
}

static enum err_code export_filter(scmp_filter_ctx filter, int *fd, struct err *err)
{
	int file = memfd_create("filter", MFD_CLOEXEC);

	if (file < 0)
		return ERR_SYS(err, ERR_ENVIRONMENT, "cannot make a memory file for the sandbox");
	if (seccomp_export_bpf(filter, file) != 0 || lseek(file, 0, SEEK_SET) != 0) {
		close(file);
		return ERR_SET(err, ERR_ENVIRONMENT, "cannot write the sandbox's seccomp filter");
	}
	*fd = file;
	return ERR_OK;
}

enum err_code sandbox_filter(int *fd, struct err *err)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
	enum err_code code;

	*fd = -1;
	if (!filter)
		return ERR_SET(err, ERR_NO_MEMORY,
			       "out of memory for the sandbox's seccomp filter");
	if (deny_calls(filter) && deny_namespaces(filter) && deny_sockets(filter))
		code = export_filter(filter, fd, err);
	else
		code = ERR_SET(err, ERR_ENVIRONMENT, "cannot build the sandbox's seccomp filter");
	seccomp_release(filter);
	return code;
}
