#include "cmd/keep_grader.h"

#include "grade/confine.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PAUSE_FIRST_MS 100
#define PAUSE_MAX_MS 10000
#define STARTED_MS 5000
#define STEADY_MS 60000

struct keeper {
	sigset_t signals;
	pid_t child; /* 0: none */
	int status;  /* of the child that ended last */
	bool stopping;
};

static long long now_ms(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

static void reap(struct keeper *keeper)
{
	int status;
	pid_t pid;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (pid != keeper->child)
			continue;
		keeper->child = 0;
		keeper->status = status;
	}
}

/* Until the child has ended or, where there is none, until the time is over. */
static void wait_for(struct keeper *keeper, long long until_ms)
{
	while (keeper->child || (!keeper->stopping && now_ms() < until_ms)) {
		long long left = keeper->child ? 1000 : until_ms - now_ms();
		struct timespec limit = {left / 1000, left % 1000 * 1000000};
		int number = left > 0 ? sigtimedwait(&keeper->signals, NULL, &limit) : -1;
		if ((number == SIGTERM || number == SIGINT) && !keeper->stopping) {
			keeper->stopping = true;
			if (keeper->child)
				kill(keeper->child, SIGTERM);
		}
		reap(keeper);
	}
}

static void say(const struct keeper *keeper, long long pause_ms)
{
	bool killed = WIFSIGNALED(keeper->status);
	fprintf(stderr, "parley grade: the grader ended (%s %d); it is started again in %lld ms\n",
		killed ? "signal" : "exit",
		killed ? WTERMSIG(keeper->status) : WEXITSTATUS(keeper->status), pause_ms);
}

static int fail_to_fork(struct err *err)
{
	ERR_SET(err, ERR_ENVIRONMENT, "no grader can be started: %s", strerror(errno));
	return 3;
}

/* KEEP_GRADER_CHILD in the child; in the parent 0, with keeper->child, or 3. */
static int start(struct keeper *keeper, const sigset_t *before, struct err *err)
{
	keeper->child = fork();
	if (keeper->child < 0)
		return fail_to_fork(err);
	if (keeper->child > 0)
		return 0;
	sigprocmask(SIG_SETMASK, before, NULL);
	return KEEP_GRADER_CHILD;
}

static int keep(struct keeper *keeper, const sigset_t *before, struct err *err)
{
	long long pause_ms = PAUSE_FIRST_MS;
	for (bool first = true; !keeper->stopping; first = false) {
		long long started_ms = now_ms();
		int status = start(keeper, before, err);
		if (status != 0)
			return status;
		wait_for(keeper, 0);
		long long lived_ms = now_ms() - started_ms;
		if (keeper->stopping)
			break;
		if (first && WIFEXITED(keeper->status) && lived_ms < STARTED_MS)
			return WEXITSTATUS(keeper->status) ? WEXITSTATUS(keeper->status) : 3;
		if (lived_ms >= STEADY_MS)
			pause_ms = PAUSE_FIRST_MS;
		say(keeper, pause_ms);
		wait_for(keeper, now_ms() + pause_ms);
		pause_ms = pause_ms * 2 < PAUSE_MAX_MS ? pause_ms * 2 : PAUSE_MAX_MS;
	}
	return 0;
}

int keep_grader(struct err *err)
{
	struct keeper keeper = {0};
	sigset_t before;
	pid_t parent = getppid();
	if (confine_keeper(err) != ERR_OK)
		return 3;
	sigemptyset(&keeper.signals);
	sigaddset(&keeper.signals, SIGCHLD);
	sigaddset(&keeper.signals, SIGTERM);
	sigaddset(&keeper.signals, SIGINT);
	sigprocmask(SIG_BLOCK, &keeper.signals, &before);
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() != parent) /* it went in between */
		return 0;
	return keep(&keeper, &before, err);
}
