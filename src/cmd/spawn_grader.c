#include "cmd/spawn_grader.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pwd.h>
#include <spawn.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define WAIT_MS 20
#define WAITS 500

/* Whom root's grader becomes: a user made for it, or nobody. */
static const char *grader_user(void)
{
	if (geteuid() != 0)
		return NULL;
	return getpwnam("parley-grade") ? "parley-grade" : "nobody";
}

/* No key of the configuration's is in it. */
static char *environment[] = {(char *)"PATH=/usr/bin:/bin", NULL};

static enum err_code start(const char *socket, pid_t *child, struct err *err)
{
	const char *user = grader_user();
	const char *arguments[] = {"parley", "grade",  "--listen",
				   socket,   "--keep", user ? "--user" : NULL,
				   user,     NULL};
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	int failed = posix_spawn_file_actions_init(&actions);
	if (failed)
		return ERR_SET(err, ERR_NO_MEMORY, "out of memory");
	failed = posix_spawnattr_init(&attributes);
	if (failed) {
		posix_spawn_file_actions_destroy(&actions);
		return ERR_SET(err, ERR_NO_MEMORY, "out of memory");
	}
	/* In a group of its own: Ctrl-C ends the gateway, and the grader once requests are over. */
	failed = posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
	if (!failed)
		failed = posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
	if (!failed)
		failed = posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
	if (!failed)
		failed = posix_spawn(child, "/proc/self/exe", &actions, &attributes,
				     (char **)arguments, environment);
	posix_spawnattr_destroy(&attributes);
	posix_spawn_file_actions_destroy(&actions);
	return failed ? ERR_SET(err, ERR_ENVIRONMENT, "parley grade cannot be started: %s",
				strerror(failed))
		      : ERR_OK;
}

static bool takes_connections(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	if (strlen(path) >= sizeof(address.sun_path))
		return access(path, F_OK) == 0; /* too long to ask by; it is there */
	strcpy(address.sun_path, path);
	int descriptor = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool good = descriptor >= 0 &&
		    connect(descriptor, (const struct sockaddr *)&address, sizeof(address)) == 0;
	if (descriptor >= 0)
		close(descriptor);
	return good;
}

enum err_code spawn_grader(const char *socket, struct err *err)
{
	const char *path = socket + strlen("unix:");
	pid_t child;
	unlink(path); /* of an earlier one, which ended with its gateway */
	ERR_TRY(start(socket, &child, err));
	for (int i = 0; i < WAITS; i++) {
		if (takes_connections(path))
			return ERR_OK;
		if (waitpid(child, NULL, WNOHANG) == child)
			return ERR_SET(err, ERR_ENVIRONMENT,
				       "parley grade ended at once; it has said why above");
		poll(NULL, 0, WAIT_MS);
	}
	return ERR_SET(err, ERR_TIMEOUT, "parley grade does not listen on %s", path);
}
