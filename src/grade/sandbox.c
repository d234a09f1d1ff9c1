/* Watching a sandboxed program to its end: what it says is collected up to the limits, and it is
 * ended at the deadline. */
#include "grade/sandbox.h"

#include "grade/sandbox_cpu.h"
#include "grade/sandbox_spawn.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define STATUS_MAX 1024u
#define READ_SIZE ((size_t)16 << 10)
/* A killed sandbox is gone within milliseconds; this is for a machine in deep trouble. */
#define KILL_GRACE_MS 10000u
/* How often the CPU time is looked at. */
#define CPU_PERIOD_MS 50u
#define EXTENSION_MS 1000u
#define EXTENSION_CPU_MS 30u

enum { STREAM_OUTPUT, STREAM_ERRORS, STREAM_VERDICT, STREAM_STATUS, STREAM_COUNT };

struct stream {
	int fd; /* -1: ended */
	struct buf *into;
};

struct watch {
	struct sandbox_process process;
	struct bytes input; /* not written yet */
	struct stream streams[STREAM_COUNT];
	struct buf status;
	int child_pidfd; /* of process 1 inside, -1 unknown or gone */
	pid_t child;     /* its number outside */
	uint64_t cpu_limit_ms, cpu_seen_ms;
	bool ended; /* bubblewrap (or the warm program) has ended, and with it everything inside */
	bool lost;  /* the warm interpreter is */
	int wait_status; /* of a warm program, with what it used */
	uint64_t used_ms, peak_kib;
	bool killed;
	uint64_t start_ms, looked_ms, deadline_ms;
	uint64_t last_ms; /* the deadline is never put off beyond this */
	uint64_t cpu_extended_ms;
	struct sandbox_result *result;
};

void sandbox_result_init(struct sandbox_result *result)
{
	memset(result, 0, sizeof(*result));
}

void sandbox_result_release(struct sandbox_result *result)
{
	buf_release(&result->output);
	buf_release(&result->errors);
	buf_release(&result->verdict);
}

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* ---- what bubblewrap reports: JSON objects with "child-pid" and, at the end, "exit-code" ---- */

static bool status_number(const struct watch *watch, const char *key, long *out)
{
	const char *at = watch->status.size ? strstr(watch->status.data, key) : NULL;

	if (!at)
		return false;
	at += strlen(key);
	at += strspn(at, "\": ");
	char *end;
	*out = strtol(at, &end, 10);
	return end != at;
}

/* Process 1 inside is held by a descriptor: killing it kills all, and lets bubblewrap count what
 * they used. Its number can't have been given away, because bubblewrap waits for it. */
static void watch_find_child(struct watch *watch)
{
	long pid;

	if (watch->child_pidfd >= 0 || watch->process.control >= 0 ||
	    !status_number(watch, "child-pid", &pid) || pid <= 1)
		return;
	watch->child = (pid_t)pid;
	watch->child_pidfd = (int)syscall(SYS_pidfd_open, watch->child, 0);
}

static void watch_kill(struct watch *watch, enum sandbox_ending why)
{
	if (watch->killed)
		return;
	watch->killed = true;
	watch->result->ending = why;
	watch->deadline_ms = now_ms() + KILL_GRACE_MS;
	if ((watch->child_pidfd < 0 ||
	     syscall(SYS_pidfd_send_signal, watch->child_pidfd, SIGKILL, NULL, 0) != 0) &&
	    watch->process.control < 0)
		syscall(SYS_pidfd_send_signal, watch->process.pidfd, SIGKILL, NULL, 0);
}

/* ---- what a warm interpreter reports ---- */

/* A pidfd of the program, which is ended at once if its time was over before it came. */
static void watch_started(struct watch *watch, struct msghdr *message)
{
	struct cmsghdr *head = CMSG_FIRSTHDR(message);

	if (!head || head->cmsg_type != SCM_RIGHTS || head->cmsg_len != CMSG_LEN(sizeof(int)))
		return;
	memcpy(&watch->child_pidfd, CMSG_DATA(head), sizeof(int));
	if (watch->killed)
		syscall(SYS_pidfd_send_signal, watch->child_pidfd, SIGKILL, NULL, 0);
}

static void watch_control(struct watch *watch)
{
	char text[64] = "";
	union {
		struct cmsghdr head;
		char space[CMSG_SPACE(sizeof(int))];
	} attached;
	struct iovec part = {text, sizeof(text) - 1};
	struct msghdr message = {.msg_iov = &part,
				 .msg_iovlen = 1,
				 .msg_control = attached.space,
				 .msg_controllen = sizeof(attached.space)};
	unsigned long long used_us, peak;

	ssize_t size = recvmsg(watch->process.control, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (size < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (size > 0 && text[0] == 'S') {
		watch_started(watch, &message);
	} else {
		watch->ended = true;
		watch->lost = size <= 0 || sscanf(text, "E %d %llu %llu", &watch->wait_status,
						  &used_us, &peak) != 3;
		if (!watch->lost) {
			watch->used_ms = used_us / 1000;
			watch->peak_kib = peak;
		}
	}
}

/* The number of a warm program, as this process sees it. */
static void watch_find_warm(struct watch *watch)
{
	char path[64], text[512], *at;

	if (watch->child > 0)
		return;
	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", watch->child_pidfd);
	int file = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t size = file >= 0 ? read(file, text, sizeof(text) - 1) : -1;
	if (file >= 0)
		close(file);
	text[size > 0 ? size : 0] = '\0';
	at = strstr(text, "Pid:");
	watch->child = at ? (pid_t)strtol(at + 4, NULL, 10) : 0;
}

/* ---- one turn ---- */

static void stream_close(struct stream *stream)
{
	close(stream->fd);
	stream->fd = -1;
}

/* Takes what is there. What passes the limit ends the program. */
static void stream_read(struct watch *watch, struct stream *stream)
{
	char data[READ_SIZE];

	for (;;) {
		ssize_t got = read(stream->fd, data, sizeof(data));

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0 && errno == EAGAIN)
			return;
		if (got <= 0) {
			stream_close(stream);
			return;
		}
		size_t room = stream->into->max - stream->into->size;
		size_t kept = (size_t)got < room ? (size_t)got : room;
		buf_append(stream->into, data, kept);
		if (kept < (size_t)got) {
			stream_close(stream);
			watch_kill(watch, SANDBOX_OUTPUT_LIMIT);
			return;
		}
	}
}

static void input_close(struct watch *watch)
{
	if (watch->process.input >= 0)
		close(watch->process.input);
	watch->process.input = -1;
}

static void input_write(struct watch *watch)
{
	while (watch->input.size) {
		ssize_t sent = send(watch->process.input, watch->input.data, watch->input.size,
				    MSG_NOSIGNAL | MSG_DONTWAIT);
		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0 && errno == EAGAIN)
			return;
		if (sent < 0)
			break; /* it doesn't read any more, which is its affair */
		watch->input.data += sent;
		watch->input.size -= (size_t)sent;
	}
	input_close(watch);
}

static int watch_timeout(const struct watch *watch)
{
	uint64_t now = now_ms();

	if (now >= watch->deadline_ms)
		return 0;
	uint64_t left = watch->deadline_ms - now;
	return (int)(left < CPU_PERIOD_MS ? left : CPU_PERIOD_MS);
}

/* The most seen: once process 1 is gone, nothing is. */
static void watch_cpu(struct watch *watch)
{
	if (watch->process.control >= 0)
		watch_find_warm(watch);
	uint64_t used = watch->child > 0 ? sandbox_cpu_ms(watch->child) : 0;
	if (used > watch->cpu_seen_ms)
		watch->cpu_seen_ms = used;
}

/* The backstop is for programs that sleep. One that works, on a machine that has little time for
 * it, gets another second as long as it has some of that. */
static bool watch_extends(struct watch *watch)
{
	bool works = watch->cpu_seen_ms >= watch->cpu_extended_ms + EXTENSION_CPU_MS;

	if (!works || watch->deadline_ms >= watch->last_ms)
		return false;
	watch->cpu_extended_ms = watch->cpu_seen_ms;
	watch->deadline_ms += EXTENSION_MS;
	return true;
}

static void watch_limits(struct watch *watch)
{
	bool late = now_ms() >= watch->deadline_ms;

	if (watch->child_pidfd >= 0)
		watch_cpu(watch);
	if (late && watch->killed)
		watch->ended = watch->lost = true; /* stuck in the kernel; don't wait with it */
	else if (watch->cpu_seen_ms >= watch->cpu_limit_ms)
		watch_kill(watch, SANDBOX_CPU_LIMIT);
	else if (late && !watch_extends(watch))
		watch_kill(watch, SANDBOX_WALL_LIMIT);
}

/* Index of the two descriptors that stand behind the streams. */
enum { POLL_INPUT = STREAM_COUNT, POLL_PROCESS, POLL_COUNT };

static void watch_turn(struct watch *watch)
{
	struct pollfd polled[POLL_COUNT];

	for (int i = 0; i < STREAM_COUNT; i++)
		polled[i] = (struct pollfd){.fd = watch->streams[i].fd, .events = POLLIN};
	polled[POLL_INPUT] = (struct pollfd){.fd = watch->process.input, .events = POLLOUT};
	bool warm = watch->process.control >= 0;
	polled[POLL_PROCESS] = (struct pollfd){
		.fd = warm ? watch->process.control : watch->process.pidfd, .events = POLLIN};
	int count = poll(polled, POLL_COUNT, watch_timeout(watch));
	if (count < 0)
		return; /* interrupted */
	/* Also while it keeps talking. */
	if (count == 0 || now_ms() - watch->looked_ms >= CPU_PERIOD_MS) {
		watch->looked_ms = now_ms();
		watch_limits(watch);
		if (watch->ended)
			return;
	}
	/* The end is noticed before the last reads, so that these see all that was written. */
	if (polled[POLL_PROCESS].revents && warm)
		watch_control(watch);
	else
		watch->ended = polled[POLL_PROCESS].revents != 0;
	for (int i = 0; i < STREAM_COUNT; i++)
		if (watch->streams[i].fd >= 0 && (polled[i].revents || watch->ended))
			stream_read(watch, &watch->streams[i]);
	if (polled[POLL_INPUT].revents)
		input_write(watch);
	watch_find_child(watch);
}

/* ---- the end ---- */

static uint64_t time_ms(struct timeval time)
{
	return (uint64_t)time.tv_sec * 1000 + (uint64_t)time.tv_usec / 1000;
}

static void watch_reap(struct watch *watch)
{
	struct sandbox_result *result = watch->result;
	struct rusage usage = {0};
	int status;

	if (watch->process.control >= 0) {
		result->cpu_ms = watch->used_ms;
		usage.ru_maxrss = (long)watch->peak_kib;
	} else {
		if (watch->lost || wait4(watch->process.pid, &status, 0, &usage) < 0)
			memset(&usage, 0, sizeof(usage));
		result->cpu_ms = time_ms(usage.ru_utime) + time_ms(usage.ru_stime);
	}
	/* What was killed together with process 1 isn't counted by the kernel. */
	if (watch->killed && result->cpu_ms < watch->cpu_seen_ms)
		result->cpu_ms = watch->cpu_seen_ms;
	result->memory_peak_bytes = (uint64_t)usage.ru_maxrss * 1024;
	result->wall_ms = now_ms() - watch->start_ms;
}

static enum err_code unavailable(const struct watch *watch, struct err *err)
{
	struct bytes said = buf_bytes(&watch->result->errors);
	struct bytes rest, line = bytes_trim(bytes_split(said, '\n', &rest));

	if (line.size == 0)
		line = BYTES("bwrap ended without a word");
	if (line.size > 200)
		line.size = 200;
	return ERR_SET(err, ERR_ENVIRONMENT,
		       "the sandbox cannot start: %.*s; programs are graded only in bubblewrap: "
		       "allow unprivileged user namespaces "
		       "(sysctl kernel.unprivileged_userns_clone=1 user.max_user_namespaces=15000; "
		       "in a container: its seccomp and AppArmor profile)",
		       BYTES_ARG(line));
}

/* Bubblewrap gives 128 + N for a death by signal N, as shells do. */
static void ending_set(struct watch *watch, long exit_code)
{
	struct sandbox_result *result = watch->result;

	if (watch->killed)
		return;
	result->ending = exit_code > 128 ? SANDBOX_SIGNALLED : SANDBOX_EXITED;
	result->exit_status = (int)exit_code;
	result->signal = exit_code > 128 ? (int)exit_code - 128 : 0;
	/* The kernel's own limit struck. */
	if (exit_code != 0 && result->cpu_ms >= watch->cpu_limit_ms)
		result->ending = SANDBOX_CPU_LIMIT;
}

static enum err_code watch_finish(struct watch *watch, struct err *err)
{
	struct sandbox_result *result = watch->result;
	long exit_code = -1;

	watch_reap(watch);
	bool reported =
		watch->process.control >= 0 || status_number(watch, "exit-code", &exit_code);
	if (watch->process.control >= 0)
		exit_code = WIFSIGNALED(watch->wait_status) ? 128 + WTERMSIG(watch->wait_status)
							    : WEXITSTATUS(watch->wait_status);
	if (!reported && !watch->killed)
		return unavailable(watch, err);
	if (result->output.failed || result->errors.failed || result->verdict.failed)
		return ERR_SET(err, ERR_NO_MEMORY, "out of memory for a program's output");
	ending_set(watch, exit_code);
	return ERR_OK;
}

static void watch_start(struct watch *watch, const struct sandbox_program *program,
			struct sandbox_result *result)
{
	const struct sandbox_limits *limits = &program->limits;
	uint64_t wall_ms = limits->wall_ms ? limits->wall_ms : 6000u * limits->cpu_seconds + 2000;

	watch->input = program->input;
	watch->result = result;
	watch->child_pidfd = -1;
	watch->cpu_limit_ms = limits->cpu_seconds * (uint64_t)1000;
	watch->start_ms = watch->looked_ms = now_ms();
	watch->deadline_ms = watch->start_ms + wall_ms;
	watch->last_ms = watch->start_ms + 4 * wall_ms;
	buf_init(&watch->status, STATUS_MAX);
	buf_init(&result->output, limits->output_bytes);
	buf_init(&result->errors, limits->output_bytes);
	buf_init(&result->verdict, limits->verdict_bytes);
	watch->streams[STREAM_OUTPUT] = (struct stream){watch->process.output, &result->output};
	watch->streams[STREAM_ERRORS] = (struct stream){watch->process.errors, &result->errors};
	watch->streams[STREAM_VERDICT] = (struct stream){watch->process.verdict, &result->verdict};
	watch->streams[STREAM_STATUS] = (struct stream){watch->process.status, &watch->status};
}

static void watch_close(struct watch *watch)
{
	for (int i = 0; i < STREAM_COUNT; i++)
		if (watch->streams[i].fd >= 0)
			close(watch->streams[i].fd);
	input_close(watch);
	if (watch->process.control < 0)
		close(watch->process.pidfd);
	if (watch->child_pidfd >= 0)
		close(watch->child_pidfd);
	buf_release(&watch->status);
}

/* Looked at beforehand, because a message of bubblewrap's could also be the program's. */
static enum err_code programs_there(const struct sandbox_program *program, struct err *err)
{
	if (access(SANDBOX_BWRAP, X_OK) != 0)
		return ERR_SET(err, ERR_ENVIRONMENT,
			       "%s is missing: programs are graded only in its sandbox; install "
			       "the package bubblewrap",
			       SANDBOX_BWRAP);
	if (access(program->argv[0], X_OK) != 0)
		return ERR_SET(err, ERR_ENVIRONMENT, "%s is missing: install %s", program->argv[0],
			       strstr(program->argv[0], "python3") ? "the package python3" : "it");
	return ERR_OK;
}

enum err_code sandbox_watch(const struct sandbox_program *program,
			    const struct sandbox_process *process, struct sandbox_result *result,
			    bool *served, struct err *err)
{
	struct watch watch = {.process = *process};

	assert(program->limits.cpu_seconds >= 1 && program->limits.cpu_seconds <= 600);
	assert(program->limits.processes >= 1 && program->limits.processes <= 256);
	watch_start(&watch, program, result);
	sandbox_group_limit(&process->group, &program->limits);
	if (!watch.input.size)
		input_close(&watch);
	while (!watch.ended)
		watch_turn(&watch);
	enum err_code code = watch_finish(&watch, err);
	*served = !watch.lost;
	watch_close(&watch);
	return code;
}

enum err_code sandbox_run(const struct sandbox_program *program, struct sandbox_result *result,
			  struct err *err)
{
	struct sandbox_process process;
	bool served;

	sandbox_result_release(result);
	sandbox_result_init(result);
	ERR_TRY(programs_there(program, err));
	ERR_TRY(sandbox_spawn(program, &process, err));
	enum err_code code = sandbox_watch(program, &process, result, &served, err);
	sandbox_group_close(&process.group);
	return code;
}

enum err_code sandbox_check(struct err *err)
{
	const char *const arguments[] = {"/usr/bin/true", NULL};
	struct sandbox_program program = {.argv = arguments, .limits = SANDBOX_LIMITS_DEFAULT};
	struct sandbox_result result;

	sandbox_result_init(&result);
	enum err_code code = sandbox_run(&program, &result, err);
	if (code == ERR_OK && (result.ending != SANDBOX_EXITED || result.exit_status != 0))
		code = ERR_SET(err, ERR_ENVIRONMENT, "the sandbox does not work: /usr/bin/true: %s",
			       sandbox_ending_text(result.ending));
	sandbox_result_release(&result);
	return code;
}

const char *sandbox_ending_text(enum sandbox_ending ending)
{
	static const char *const texts[] = {"exited", "ended by a signal", "CPU time limit",
					    "wall-clock limit", "output limit"};

	return texts[ending];
}
