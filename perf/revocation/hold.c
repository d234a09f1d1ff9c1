/* Holds many streams open, in one thread, and tells what became of each: for measure.py.
 *
 *   hold PORT COUNT REQUEST…     each REQUEST is a file with the bytes of one request; stream
 * number n sends request n modulo their number
 *
 * "running" is printed once every stream has had an event; then one line a stream as they are all
 * over, or as standard input ends: request, status, events, last stamp (CLOCK_MONOTONIC, from the
 * stand-in), arrival of the last bytes before the error, arrival of the error (both CLOCK_MONOTONIC
 * nanoseconds as read here; 0: none), events after the error, how it was over (0: it runs, 1: the
 * body ended, 2: reset). */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define TAIL 256 /* of what came before, so that nothing is missed between two reads */
#define REQUESTS_MAX 8
#define WINDOW 128 /* streams that are opened and have had nothing yet */

struct stream {
	int fd;
	unsigned request, status, over;
	uint64_t events, last_stamp, last_ns, error_ns, after_error;
	size_t tail_size;
	char tail[TAIL];
};

static uint64_t now_ns(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static _Noreturn void fail(const char *what)
{
	perror(what);
	exit(1);
}

static size_t read_request(const char *path, char **out)
{
	struct stat status;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &status) != 0)
		fail(path);
	*out = malloc((size_t)status.st_size);
	if (!*out || read(fd, *out, (size_t)status.st_size) != status.st_size)
		fail(path);
	close(fd);
	return (size_t)status.st_size;
}

static const char *find_error(const char *text, size_t size)
{
	static const char *const marks[] = {"permission_error", "grant_revoked",
					    "PERMISSION_DENIED"};
	for (size_t i = 0; i < sizeof(marks) / sizeof(marks[0]); i++) {
		const char *found = memmem(text, size, marks[i], strlen(marks[i]));
		if (found)
			return found;
	}
	return NULL;
}

/* Counts the stamps in the text that end after `known`. */
static void count_events(struct stream *stream, const char *text, size_t size, size_t known,
			 const char *error, bool had_error)
{
	static const char mark[] = "stamp:";
	const char *at = text, *end = text + size;
	while ((at = memmem(at, (size_t)(end - at), mark, sizeof(mark) - 1))) {
		at += sizeof(mark) - 1;
		if (end - at < 20)
			break;
		if ((size_t)(at + 20 - text) <= known)
			continue;
		if (had_error || (error && at > error)) {
			stream->after_error++;
		} else {
			char digits[21] = {0};
			memcpy(digits, at, 20);
			stream->last_stamp = strtoull(digits, NULL, 10);
			stream->events++;
		}
	}
}

static void take(struct stream *stream, const char *data, size_t size, uint64_t now)
{
	static char text[TAIL + 65536];
	size_t known = stream->tail_size, whole = known + size;
	memcpy(text, stream->tail, known);
	memcpy(text + known, data, size);
	bool had_error = stream->error_ns != 0;
	if (!stream->status && whole > 12)
		stream->status = (unsigned)atoi(text + 9);
	const char *error = had_error ? NULL : find_error(text, whole);
	count_events(stream, text, whole, known, error, had_error);
	if (error)
		stream->error_ns = now;
	else if (!had_error)
		stream->last_ns = now;
	stream->tail_size = whole < TAIL ? whole : TAIL;
	memcpy(stream->tail, text + whole - stream->tail_size, stream->tail_size);
	if (stream->tail_size >= 7 &&
	    memcmp(stream->tail + stream->tail_size - 7, "\r\n0\r\n\r\n", 7) == 0)
		stream->over = 1;
}

static void receive(struct stream *stream)
{
	static char data[65536];
	ssize_t size = recv(stream->fd, data, sizeof(data), MSG_DONTWAIT);
	if (size > 0)
		take(stream, data, (size_t)size, now_ns());
	else if (size == 0 || errno != EAGAIN)
		stream->over = 2;
	if (stream->over)
		close(stream->fd);
}

static void open_stream(struct stream *stream, int port, const char *request, size_t size,
			int epoll)
{
	struct sockaddr_in to = {.sin_family = AF_INET,
				 .sin_port = htons((uint16_t)port),
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = stream};
	stream->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (stream->fd < 0 || connect(stream->fd, (struct sockaddr *)&to, sizeof(to)) != 0 ||
	    send(stream->fd, request, size, MSG_NOSIGNAL) != (ssize_t)size ||
	    epoll_ctl(epoll, EPOLL_CTL_ADD, stream->fd, &event) != 0)
		fail("stream");
}

static void turn(int epoll, int timeout, bool *input)
{
	struct epoll_event events[512];
	int ready = epoll_wait(epoll, events, 512, timeout);
	for (int i = 0; i < ready; i++) {
		if (events[i].data.ptr)
			receive(events[i].data.ptr);
		else
			*input = false;
	}
}

static size_t count_of(const struct stream *streams, size_t count, bool over)
{
	size_t found = 0;
	for (size_t i = 0; i < count; i++)
		found += over ? streams[i].over != 0 : streams[i].over || streams[i].events > 0;
	return found;
}

int main(int argc, char **argv)
{
	char *requests[REQUESTS_MAX];
	size_t sizes[REQUESTS_MAX], kinds = (size_t)argc - 3;
	struct rlimit limit;
	if (argc < 4 || kinds > REQUESTS_MAX)
		return 2;
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
	size_t count = (size_t)atol(argv[2]);
	struct stream *streams = calloc(count, sizeof(*streams));
	struct epoll_event standard_input = {.events = EPOLLIN | EPOLLHUP};
	int epoll = epoll_create1(EPOLL_CLOEXEC);
	bool input = true;
	if (!streams || epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, 0, &standard_input) != 0)
		fail("start");
	for (size_t i = 0; i < kinds; i++)
		sizes[i] = read_request(argv[3 + i], &requests[i]);
	for (size_t i = 0; i < count; i++) {
		streams[i].request = (unsigned)(i % kinds);
		open_stream(&streams[i], atoi(argv[1]), requests[i % kinds], sizes[i % kinds],
			    epoll);
		/* No more than a listener's backlog at once. */
		while (input && i % 16 == 0 && i - count_of(streams, i, false) > WINDOW)
			turn(epoll, 10, &input);
	}
	while (input && count_of(streams, count, false) < count)
		turn(epoll, 100, &input);
	puts("running");
	fflush(stdout);
	while (input && count_of(streams, count, true) < count)
		turn(epoll, 100, &input);
	for (size_t i = 0; i < count; i++)
		printf("%u %u %lu %lu %lu %lu %lu %u\n", streams[i].request, streams[i].status,
		       (unsigned long)streams[i].events, (unsigned long)streams[i].last_stamp,
		       (unsigned long)streams[i].last_ns, (unsigned long)streams[i].error_ns,
		       (unsigned long)streams[i].after_error, streams[i].over);
	return 0;
}
