#include "grade/sandbox_warm.h"

#include "grade/sandbox_spawn.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define WORKERS_MAX 64u
/* Until an interpreter says that it is ready; on a loaded machine a start takes a while. */
#define START_MS 60000
#define REQUEST_MAX 160u

struct worker {
	struct sandbox_process process; /* bubblewrap; `control` is the interpreter's socket */
	bool running, busy;
};

struct sandbox_warm {
	const char *const *argv;
	pthread_mutex_t lock; /* of all below; never held while something is waited for */
	struct worker workers[WORKERS_MAX];
	bool off;
	char why[SANDBOX_WARM_NOTE_SIZE];
};

struct sandbox_warm *sandbox_warm_new(const char *const *argv)
{
	struct sandbox_warm *warm = calloc(1, sizeof(*warm));

	if (!warm)
		return NULL;
	warm->argv = argv;
	pthread_mutex_init(&warm->lock, NULL);
	return warm;
}

/* The interpreter ends when its socket closes, and with it its whole sandbox. One that is stuck in
 * the kernel is not waited for. */
static void worker_end(struct worker *worker, bool stuck)
{
	close(worker->process.control);
	if (stuck)
		syscall(SYS_pidfd_send_signal, worker->process.pidfd, SIGKILL, NULL, 0);
	close(worker->process.errors);
	waitpid(worker->process.pid, NULL, 0);
	close(worker->process.pidfd);
	sandbox_group_close(&worker->process.group);
	worker->running = false;
}

void sandbox_warm_free(struct sandbox_warm *warm)
{
	if (!warm)
		return;
	for (unsigned i = 0; i < WORKERS_MAX; i++)
		if (warm->workers[i].running)
			worker_end(&warm->workers[i], false);
	pthread_mutex_destroy(&warm->lock);
	free(warm);
}

bool sandbox_warm_is_off(struct sandbox_warm *warm, char why[static SANDBOX_WARM_NOTE_SIZE])
{
	pthread_mutex_lock(&warm->lock);
	bool off = warm->off;
	memcpy(why, warm->why, SANDBOX_WARM_NOTE_SIZE);
	pthread_mutex_unlock(&warm->lock);
	return off;
}

/* ---- starting ---- */

static void turn_off(struct sandbox_warm *warm, const char *why)
{
	pthread_mutex_lock(&warm->lock);
	warm->off = true;
	snprintf(warm->why, sizeof(warm->why), "%.250s", why);
	pthread_mutex_unlock(&warm->lock);
}

/* "R", or "F" and what is forbidden, or nothing at all. */
static bool worker_is_ready(struct worker *worker, char why[static SANDBOX_WARM_NOTE_SIZE])
{
	struct pollfd polled = {.fd = worker->process.control, .events = POLLIN};
	char said[SANDBOX_WARM_NOTE_SIZE] = "";
	int ready;

	do
		ready = poll(&polled, 1, START_MS);
	while (ready < 0 && errno == EINTR);
	ssize_t size = ready > 0 ? recv(worker->process.control, said, sizeof(said) - 1, 0) : -1;
	if (size > 0 && said[0] == 'R')
		return true;
	if (size > 1) {
		snprintf(why, SANDBOX_WARM_NOTE_SIZE, "%.200s", said + 1);
		return false;
	}
	size = read(worker->process.errors, said, sizeof(said) - 1);
	said[size > 0 ? size : 0] = '\0';
	snprintf(why, SANDBOX_WARM_NOTE_SIZE, "it did not start%s%.*s", size > 0 ? ": " : "",
		 (int)(strcspn(said, "\n") % 200), said);
	return false;
}

static bool worker_start(struct sandbox_warm *warm, struct worker *worker)
{
	char why[SANDBOX_WARM_NOTE_SIZE];
	struct err err = ERR_INIT;

	if (sandbox_spawn_warm(warm->argv, &worker->process, &err) != ERR_OK) {
		turn_off(warm, err.message);
		return false;
	}
	worker->running = true;
	if (worker_is_ready(worker, why))
		return true;
	worker_end(worker, true);
	turn_off(warm, why);
	return false;
}

/* An interpreter for the caller alone; NULL where there is none to be had. */
static struct worker *worker_take(struct sandbox_warm *warm)
{
	struct worker *taken = NULL;

	pthread_mutex_lock(&warm->lock);
	for (unsigned i = 0; i < WORKERS_MAX && !warm->off; i++) {
		struct worker *worker = &warm->workers[i];

		if (!worker->busy && (!taken || (worker->running && !taken->running)))
			taken = worker;
	}
	if (taken)
		taken->busy = true;
	pthread_mutex_unlock(&warm->lock);
	if (!taken || taken->running || worker_start(warm, taken))
		return taken;
	pthread_mutex_lock(&warm->lock);
	taken->busy = false;
	pthread_mutex_unlock(&warm->lock);
	return NULL;
}

static void worker_give_back(struct sandbox_warm *warm, struct worker *worker, bool usable)
{
	if (!usable)
		worker_end(worker, true);
	pthread_mutex_lock(&warm->lock);
	worker->busy = false;
	pthread_mutex_unlock(&warm->lock);
}

/* ---- a program ---- */

static bool send_request(int control, const struct sandbox_limits *limits,
			 const int descriptors[static 4])
{
	char text[REQUEST_MAX];
	union {
		struct cmsghdr head;
		char space[CMSG_SPACE(4 * sizeof(int))];
	} attached = {0};
	/* As sandbox_run's: the exact CPU limit is enforced from outside. */
	unsigned cpu_seconds = limits->cpu_seconds + limits->cpu_seconds / 2 + 1;
	int size = snprintf(text, sizeof(text), "%u %llu %llu %u %llu", cpu_seconds,
			    (unsigned long long)limits->memory_bytes,
			    (unsigned long long)limits->file_bytes, limits->processes,
			    (unsigned long long)limits->file_bytes * 4);
	struct iovec part = {text, (size_t)size};
	struct msghdr message = {.msg_iov = &part,
				 .msg_iovlen = 1,
				 .msg_control = attached.space,
				 .msg_controllen = sizeof(attached.space)};

	attached.head.cmsg_level = SOL_SOCKET;
	attached.head.cmsg_type = SCM_RIGHTS;
	attached.head.cmsg_len = CMSG_LEN(4 * sizeof(int));
	memcpy(CMSG_DATA(&attached.head), descriptors, 4 * sizeof(int));
	return sendmsg(control, &message, MSG_NOSIGNAL) == size;
}

static enum err_code worker_run(struct worker *worker, const struct sandbox_program *program,
				struct sandbox_result *result, bool *served, struct err *err)
{
	struct sandbox_process process = worker->process;
	int theirs[4];

	*served = false;
	ERR_TRY(sandbox_channels(&process, theirs, err));
	bool sent = send_request(process.control, &program->limits, theirs);
	for (int i = 0; i < 4; i++)
		close(theirs[i]);
	if (sent)
		return sandbox_watch(program, &process, result, served, err);
	close(process.input);
	close(process.output);
	close(process.errors);
	close(process.verdict);
	return ERR_OK;
}

enum err_code sandbox_warm_run(struct sandbox_warm *warm, const struct sandbox_program *program,
			       struct sandbox_result *result, struct err *err)
{
	struct worker *worker = worker_take(warm);
	bool served = false;

	if (!worker)
		return sandbox_run(program, result, err);
	sandbox_result_release(result);
	sandbox_result_init(result);
	enum err_code code = worker_run(worker, program, result, &served, err);
	worker_give_back(warm, worker, served);
	/* The interpreter was lost, by no program's doing: the slow way decides. */
	return code == ERR_OK && !served ? sandbox_run(program, result, err) : code;
}
