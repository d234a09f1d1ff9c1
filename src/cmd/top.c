/* parley top: a live view of the running gateway in a terminal, or one picture of it. */
#include "cmd/admin_client.h"
#include "cmd/commands.h"
#include "cmd/top_view.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#define SCREEN_MAX ((size_t)1 << 20)

struct top {
	const char *config;
	double interval;
	bool once, json;
	json_t *now, *before;
	struct err err; /* of the last call, if it failed */
	int signals;    /* a signalfd: nothing runs inside a handler */
	struct termios saved;
	bool raw;
	struct buf screen;
};

/* ---- snapshots ---- */

/* On failure the last picture stays, and `err` says why. */
static enum err_code fetch(struct top *top)
{
	struct admin_answer answer;
	top->err = (struct err)ERR_INIT;
	enum err_code code =
		admin_client_ask(top->config, "GET", "/admin/v1/top", NULL, &answer, &top->err);
	if (code != ERR_OK)
		return code;
	json_decref(top->before);
	top->before = top->now;
	top->now = answer.body;
	top_add_rates(top->now, top->before);
	return ERR_OK;
}

static void pause_for(double seconds)
{
	struct timespec left = {(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)};
	while (nanosleep(&left, &left) != 0 && errno == EINTR)
		;
}

/* ---- without a terminal ---- */

static void print_now(struct top *top)
{
	struct top_view view = {.now = top->now, .before = top->before};
	buf_clear(&top->screen);
	if (top->json) {
		char *line = json_dumps(top->now, JSON_COMPACT | JSON_SORT_KEYS);
		puts(line ? line : "{}");
		free(line);
	} else {
		top_view_write(&view, &top->screen);
		fwrite(top->screen.data, 1, top->screen.size, stdout);
	}
	fflush(stdout);
}

/* Rates need two pictures; with --json it goes on, a line for each interval. */
static int print(struct top *top)
{
	if (fetch(top) != ERR_OK)
		return cli_fail(&top->err);
	do {
		pause_for(top->interval);
		if (fetch(top) != ERR_OK)
			return cli_fail(&top->err);
		print_now(top);
	} while (!top->once && top->json && !ferror(stdout));
	return 0;
}

/* ---- in a terminal ---- */

static void write_all(const char *data, size_t size)
{
	while (size > 0) {
		ssize_t count = write(STDOUT_FILENO, data, size);
		if (count < 0 && errno != EINTR)
			return;
		data += count > 0 ? count : 0;
		size -= count > 0 ? (size_t)count : 0;
	}
}

static void enter(struct top *top)
{
	static const char start[] = "\033[?1049h\033[?25l"; /* the other screen, no cursor */
	struct termios raw = top->saved;
	raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
	raw.c_cc[VMIN] = 0;
	raw.c_cc[VTIME] = 0;
	tcsetattr(STDIN_FILENO, TCSAFLUSH, &raw);
	write_all(start, sizeof(start) - 1);
	top->raw = true;
}

static void leave(struct top *top)
{
	static const char end[] = "\033[0m\033[?25h\033[?1049l";
	if (!top->raw)
		return;
	write_all(end, sizeof(end) - 1);
	tcsetattr(STDIN_FILENO, TCSAFLUSH, &top->saved);
	top->raw = false;
}

static void draw(struct top *top)
{
	const char *no_colour = getenv("NO_COLOR");
	struct winsize size = {.ws_col = 80, .ws_row = 24};
	struct top_view view = {.now = top->now,
				.before = top->before,
				.colour = !no_colour || !*no_colour,
				.problem = top->err.code != ERR_OK ? top->err.message : NULL};
	ioctl(STDOUT_FILENO, TIOCGWINSZ, &size);
	view.columns = size.ws_col ? size.ws_col : 80;
	view.rows = size.ws_row > 1 ? size.ws_row - 1u : 23;
	struct buf lines = BUF_INIT(SCREEN_MAX);
	top_view_write(&view, &lines);
	buf_clear(&top->screen);
	buf_append_cstr(&top->screen, "\033[H");
	/* Each line is cleared to its end, the rest of the screen below: nothing flickers. */
	struct bytes rest = buf_bytes(&lines);
	while (rest.size > 0) {
		const char *end = memchr(rest.data, '\n', rest.size);
		size_t line = end ? (size_t)(end - rest.data) : rest.size;
		buf_append(&top->screen, rest.data, line);
		buf_append_cstr(&top->screen, "\033[K\n");
		line += end != NULL;
		rest = bytes_of(rest.data + line, rest.size - line);
	}
	buf_printf(&top->screen, "\033[J%.*s", (int)view.columns, "q quits");
	write_all(top->screen.data, top->screen.size);
	buf_release(&lines);
}

/* False: it is over. */
static bool take_signal(struct top *top)
{
	struct signalfd_siginfo info;
	if (read(top->signals, &info, sizeof(info)) != (ssize_t)sizeof(info))
		return true;
	if (info.ssi_signo == SIGTSTP) {
		leave(top);
		raise(SIGSTOP);
		enter(top);
	}
	return info.ssi_signo == SIGWINCH || info.ssi_signo == SIGTSTP;
}

/* False: it is over. */
static bool take_keys(void)
{
	char keys[64];
	ssize_t count = read(STDIN_FILENO, keys, sizeof(keys));
	if (count <= 0)
		return false;
	return !memchr(keys, 'q', (size_t)count) && !memchr(keys, 'Q', (size_t)count);
}

static uint64_t clock_ms(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void watch(struct top *top)
{
	uint64_t next = 0;
	for (;;) {
		uint64_t now = clock_ms();
		if (now >= next) {
			fetch(top);
			next = now + (uint64_t)(top->interval * 1000);
		}
		draw(top);
		struct pollfd wait[2] = {
			{.fd = STDIN_FILENO, .events = POLLIN},
			{.fd = top->signals, .events = POLLIN}
                };
		now = clock_ms();
		if (poll(wait, 2, next > now ? (int)(next - now) : 0) < 0 && errno != EINTR)
			return;
		if ((wait[1].revents && !take_signal(top)) || (wait[0].revents && !take_keys()))
			return;
	}
}

static int run_in_terminal(struct top *top)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGWINCH);
	sigaddset(&set, SIGTSTP);
	if (fetch(top) != ERR_OK)
		return cli_fail(&top->err);
	if (sigprocmask(SIG_BLOCK, &set, NULL) != 0 ||
	    (top->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK)) < 0) {
		struct err err = ERR_INIT;
		ERR_SET(&err, ERR_ENVIRONMENT, "signals cannot be watched");
		return cli_fail(&err);
	}
	enter(top);
	watch(top);
	leave(top);
	close(top->signals);
	return 0;
}

int cmd_top(int argc, char **argv)
{
	struct top top = {.config = "parley.yaml", .interval = 1, .screen = BUF_INIT(SCREEN_MAX)};
	const struct cli_option options[] = {
		{"config",  'c', CLI_TEXT, &top.config, "FILE",
		 "the gateway's configuration (./parley.yaml)", 0, 0},
		{"interval", 'i', CLI_NUMBER, &top.interval, "S",
		 "seconds between two pictures (1)", 0.1, 3600},
		{"once",   0, CLI_FLAG, &top.once, NULL, "one picture, after one interval", 0, 0},
		{"json",        0, CLI_FLAG, &top.json, NULL, "pictures as JSON, one in a line", 0, 0},
		{0        },
	};
	const struct cli_command command = {
		"top",
		"[-c parley.yaml] [--once] [--json] [--interval S]",
		"Rates, streams, refusals by rule, the log, providers, and each grant with what it "
		"uses of\nits limits, the busiest first. q quits. Without a terminal it prints one "
		"picture.",
		options,
		0,
		0};
	struct cli_arguments arguments;
	int status = cli_parse(&command, argc, argv, &arguments);
	if (status >= 0)
		return status;
	bool terminal = cli_is_terminal() && isatty(STDIN_FILENO) &&
			tcgetattr(STDIN_FILENO, &top.saved) == 0;
	status = terminal && !top.once && !top.json ? run_in_terminal(&top) : print(&top);
	json_decref(top.now);
	json_decref(top.before);
	buf_release(&top.screen);
	return status;
}
