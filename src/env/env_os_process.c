/* Programs run apart from the gateway, without its environment, or attached to the user's terminal:
 * a pidfd tells the loop when one has ended. */
#include "env/env_os_internal.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

/* Outlives the caller's struct where that is cancelled. */
struct os_process {
	struct os_source source; /* the pidfd */
	struct env_timer timer;
	struct os_loop *loop;
	struct env_process *process; /* NULL: cancelled */
	pid_t pid;
	int output; /* -1: not kept */
	bool own_group;
};

static void read_output(int fd, char out[static ENV_PROCESS_OUTPUT])
{
	ssize_t got = fd >= 0 ? pread(fd, out, ENV_PROCESS_OUTPUT - 1, 0) : 0;
	out[got > 0 ? got : 0] = '\0';
}

static void close_output(const struct os_process *own)
{
	if (own->output >= 0)
		close(own->output);
}

/* To what it has started too, where it has a group of its own. */
static void send_signal(const struct os_process *own, int number)
{
	kill(own->own_group ? -own->pid : own->pid, number);
}

static void process_ended(struct os_source *source, uint32_t events)
{
	struct os_process *own = (struct os_process *)source;
	struct env_process *process = own->process;
	int status = 0;
	(void)events;
	pid_t reaped = waitpid(own->pid, &status, WNOHANG);
	if (reaped == 0)
		return;
	env_timer_disarm(&own->loop->base, &own->timer);
	if (process) {
		process->status = reaped > 0 && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
		process->signal = reaped > 0 && WIFSIGNALED(status) ? WTERMSIG(status) : 0;
		read_output(own->output, process->output);
		process->handle = NULL;
	}
	close_output(own);
	os_source_close(own->loop, source);
	if (process)
		process->done(process);
}

static void out_of_time(struct env_timer *timer)
{
	struct os_process *own =
		(struct os_process *)((char *)timer - offsetof(struct os_process, timer));
	send_signal(own, SIGKILL); /* process_ended follows */
}

static int memory_file(struct bytes content)
{
	int fd = memfd_create("parley", MFD_CLOEXEC);
	size_t done = 0;
	while (fd >= 0 && done < content.size) {
		ssize_t wrote = pwrite(fd, content.data + done, content.size - done, (off_t)done);
		if (wrote < 0 && errno == EINTR)
			continue;
		if (wrote <= 0) {
			close(fd);
			return -1;
		}
		done += (size_t)wrote;
	}
	return fd;
}

static int spawn_with(const struct env_process *process, const posix_spawn_file_actions_t *actions,
		      const char *const *environment, pid_t *pid)
{
	posix_spawnattr_t attributes;
	sigset_t none, all;
	short flags = POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF;
	sigemptyset(&none);
	sigfillset(&all);
	if (posix_spawnattr_init(&attributes))
		return ENOMEM;
	if (!process->same_group)
		flags |= POSIX_SPAWN_SETPGROUP;
	posix_spawnattr_setsigmask(&attributes, &none);
	posix_spawnattr_setsigdefault(&attributes, &all);
	posix_spawnattr_setpgroup(&attributes, 0);
	posix_spawnattr_setflags(&attributes, flags);
	int result = posix_spawn(pid, process->argv[0], actions, &attributes,
				 (char *const *)process->argv, (char *const *)environment);
	posix_spawnattr_destroy(&attributes);
	return result;
}

static int spawn(const struct env_process *process, int input, int output, pid_t *pid)
{
	static const char *const bare[] = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8",
					   NULL};
	posix_spawn_file_actions_t actions;
	if (posix_spawn_file_actions_init(&actions))
		return ENOMEM;
	int result = posix_spawn_file_actions_adddup2(&actions, input, 0);
	if (!result)
		result = posix_spawn_file_actions_adddup2(&actions, output, 1);
	if (!result)
		result = posix_spawn_file_actions_adddup2(&actions, output, 2);
	if (!result)
		result = posix_spawn_file_actions_addclosefrom_np(&actions, 3);
	if (!result)
		result = spawn_with(process, &actions, bare, pid);
	posix_spawn_file_actions_destroy(&actions);
	return result;
}

static int spawn_attached(const struct env_process *process, pid_t *pid)
{
	posix_spawn_file_actions_t actions;
	int result = 0;
	if (posix_spawn_file_actions_init(&actions))
		return ENOMEM;
	/* Ours are closed by themselves; what the user's shell has opened for it stays. */
	if (process->output_to_error)
		result = posix_spawn_file_actions_adddup2(&actions, 2, 1);
	if (!result)
		result = spawn_with(process, &actions, process->environment, pid);
	posix_spawn_file_actions_destroy(&actions);
	return result;
}

static enum err_code watch(struct os_process *own, struct env_loop *loop,
			   const struct env_process *process, struct err *err)
{
	own->source = (struct os_source){.event = process_ended, .fd = pidfd_open(own->pid, 0)};
	own->timer.fire = out_of_time;
	if (own->source.fd >= 0 && os_source_add(own->loop, &own->source, EPOLLIN) &&
	    (!process->deadline_ns || env_timer_arm(loop, &own->timer, process->deadline_ns)))
		return ERR_OK;
	send_signal(own, SIGKILL);
	waitpid(own->pid, NULL, 0);
	if (own->source.fd >= 0)
		close(own->source.fd);
	return ERR_SET(err, ERR_ENVIRONMENT, "%s: cannot be watched", process->argv[0]);
}

/* What a program that is run apart reads and writes. */
static int start_apart(struct os_process *own, const struct env_process *process)
{
	static const struct bytes nothing;
	int input = memory_file(process->input);
	own->output = memory_file(nothing);
	int failure = input >= 0 && own->output >= 0 ? spawn(process, input, own->output, &own->pid)
						     : ENOMEM;
	if (input >= 0)
		close(input);
	return failure;
}

enum err_code os_process_start(struct env_loop *loop, struct env_process *process, struct err *err)
{
	struct os_process *own = calloc(1, sizeof(*own));
	process->handle = NULL;
	process->output[0] = '\0';
	process->signal = 0;
	if (!own)
		return ERR_SET(err, ERR_NO_MEMORY, "%s: out of memory", process->argv[0]);
	own->output = -1;
	own->own_group = !process->same_group;
	int failure =
		process->attached ? spawn_attached(process, &own->pid) : start_apart(own, process);
	enum err_code code = ERR_OK;
	if (failure)
		code = ERR_SET(err, ERR_ENVIRONMENT, "%s: %s", process->argv[0],
			       strerrordesc_np(failure));
	if (code == ERR_OK) {
		own->loop = os_loop_of(loop);
		own->process = process;
		code = watch(own, loop, process, err);
	}
	if (code == ERR_OK) {
		process->handle = own;
		return ERR_OK;
	}
	close_output(own);
	free(own);
	return code;
}

void os_process_signal(struct env_process *process, int signal_number)
{
	const struct os_process *own = process->handle;
	if (own)
		send_signal(own, signal_number);
}

void os_process_cancel(struct env_process *process)
{
	struct os_process *own = process->handle;
	if (!own)
		return;
	process->handle = NULL;
	env_timer_disarm(&own->loop->base, &own->timer);
	send_signal(own, SIGKILL);
	waitpid(own->pid, NULL, 0); /* at once: it cannot stop that signal */
	close_output(own);
	os_source_close(own->loop, &own->source);
}
