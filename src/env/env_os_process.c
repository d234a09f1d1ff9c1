/* Programs run apart from the gateway, without its environment: a pidfd tells the loop when one has
 * ended. */
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
	int output;
};

static void free_process(struct os_source *source)
{
	free(source);
}

static void read_output(int fd, char out[static ENV_PROCESS_OUTPUT])
{
	ssize_t got = pread(fd, out, ENV_PROCESS_OUTPUT - 1, 0);
	out[got > 0 ? got : 0] = '\0';
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
		read_output(own->output, process->output);
		process->handle = NULL;
	}
	close(own->output);
	os_source_close(own->loop, source);
	if (process)
		process->done(process);
}

static void out_of_time(struct env_timer *timer)
{
	struct os_process *own =
		(struct os_process *)((char *)timer - offsetof(struct os_process, timer));
	kill(-own->pid, SIGKILL); /* with what it has started; process_ended follows */
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

static int spawn(const struct env_process *process, int input, int output, pid_t *pid)
{
	char path[] = "PATH=/usr/sbin:/usr/bin:/sbin:/bin", language[] = "LANG=C.UTF-8";
	char *const environment[] = {path, language, NULL};
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	sigset_t none, all;
	sigemptyset(&none);
	sigfillset(&all);
	if (posix_spawn_file_actions_init(&actions))
		return ENOMEM;
	if (posix_spawnattr_init(&attributes)) {
		posix_spawn_file_actions_destroy(&actions);
		return ENOMEM;
	}
	int result = posix_spawn_file_actions_adddup2(&actions, input, 0);
	if (!result)
		result = posix_spawn_file_actions_adddup2(&actions, output, 1);
	if (!result)
		result = posix_spawn_file_actions_adddup2(&actions, output, 2);
	if (!result)
		result = posix_spawn_file_actions_addclosefrom_np(&actions, 3);
	posix_spawnattr_setsigmask(&attributes, &none);
	posix_spawnattr_setsigdefault(&attributes, &all);
	posix_spawnattr_setpgroup(&attributes, 0);
	posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF |
						      POSIX_SPAWN_SETPGROUP);
	if (!result)
		result = posix_spawn(pid, process->argv[0], &actions, &attributes,
				     (char *const *)process->argv, environment);
	posix_spawnattr_destroy(&attributes);
	posix_spawn_file_actions_destroy(&actions);
	return result;
}

static enum err_code watch(struct os_process *own, struct env_loop *loop,
			   const struct env_process *process, struct err *err)
{
	own->source = (struct os_source){
		.event = process_ended, .free = free_process, .fd = pidfd_open(own->pid, 0)};
	own->timer.fire = out_of_time;
	if (own->source.fd >= 0 && os_source_add(own->loop, &own->source, EPOLLIN) &&
	    env_timer_arm(loop, &own->timer, process->deadline_ns))
		return ERR_OK;
	kill(-own->pid, SIGKILL);
	waitpid(own->pid, NULL, 0);
	if (own->source.fd >= 0)
		close(own->source.fd);
	return ERR_SET(err, ERR_ENVIRONMENT, "%s: cannot be watched", process->argv[0]);
}

enum err_code os_process_start(struct env_loop *loop, struct env_process *process, struct err *err)
{
	static const struct bytes nothing;
	struct os_process *own = calloc(1, sizeof(*own));
	int input = memory_file(process->input), output = memory_file(nothing);
	int failure = own && input >= 0 && output >= 0 ? 0 : ENOMEM;
	process->handle = NULL;
	process->output[0] = '\0';
	if (!failure)
		failure = spawn(process, input, output, &own->pid);
	if (input >= 0)
		close(input);
	enum err_code code = ERR_OK;
	if (failure)
		code = ERR_SET(err, ERR_ENVIRONMENT, "%s: %s", process->argv[0],
			       strerrordesc_np(failure));
	if (code == ERR_OK) {
		own->loop = os_loop_of(loop);
		own->process = process;
		own->output = output;
		code = watch(own, loop, process, err);
	}
	if (code == ERR_OK) {
		process->handle = own;
		return ERR_OK;
	}
	if (output >= 0)
		close(output);
	free(own);
	return code;
}

void os_process_cancel(struct env_process *process)
{
	struct os_process *own = process->handle;
	if (!own)
		return;
	process->handle = NULL;
	env_timer_disarm(&own->loop->base, &own->timer);
	kill(-own->pid, SIGKILL);
	waitpid(own->pid, NULL, 0); /* at once: it cannot stop that signal */
	close(own->output);
	os_source_close(own->loop, &own->source);
}
