#include "grade/confine.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <seccomp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
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

enum err_code confine_finish(const char *user, struct err *err)
{
	if (user)
		ERR_TRY(become(user, err));
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0)
		return ERR_SET(err, ERR_ENVIRONMENT, "the kernel keeps privileges: %s",
			       strerror(errno));
	return allow_local_sockets(err);
}
