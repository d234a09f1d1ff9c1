/* Sockets of the machine: non-blocking, edge-triggered, registered once for both directions.
 *
 * A receive that gives fewer bytes than asked for has drained the socket: the kernel announces what
 * comes later with a new edge, so no further call is spent to be told EAGAIN. After the peer's FIN
 * the stream stays readable until the end of file itself was received. */
#include "env/env_os_internal.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG 4096
#define ACCEPT_RETRY_NS 100000000u
/* A peer that acknowledges nothing for so long is gone, though nobody said so (RFC 5482). */
#define PEER_TIMEOUT_MS 120000
/* What the kernel takes of an answer beyond what is on its way: a reader that is slow costs no
 * more. */
#define UNSENT_BYTES 131072

struct os_stream {
	struct os_source source;
	struct env_stream base;
};

_Static_assert(sizeof(struct os_stream) <= 56, "two for every stream");

struct env_listener {
	struct os_source source;
	struct os_loop *loop;
	void (*ready)(struct env_listener *listener, void *argument);
	void *argument;
	struct env_address address;
	struct env_timer retry; /* after running out of descriptors */
	bool paused;
	bool starved;
};

static struct os_stream *stream_of(struct env_stream *base)
{
	return (struct os_stream *)((char *)base - offsetof(struct os_stream, base));
}

/* ---- addresses ---- */

union socket_address {
	struct sockaddr any;
	struct sockaddr_in ipv4;
	struct sockaddr_in6 ipv6;
	struct sockaddr_un local;
	struct sockaddr_storage storage;
};

/* A Unix path longer than the kernel takes is reached through a descriptor of its directory, which
 * the caller closes (*directory, -1 where there is none). Returns the length, 0 on failure. */
static socklen_t unix_address(const char *path, union socket_address *out, int *directory)
{
	const char *slash = strrchr(path, '/');
	char parent[sizeof(((struct env_address *)0)->path)] = ".";
	out->local.sun_family = AF_UNIX;
	if (slash)
		snprintf(parent, sizeof(parent), "%.*s", slash == path ? 1 : (int)(slash - path),
			 path);
	*directory = open(parent, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (*directory < 0)
		return 0;
	int length = snprintf(out->local.sun_path, sizeof(out->local.sun_path),
			      "/proc/self/fd/%d/%s", *directory, slash ? slash + 1 : path);
	if (length < 0 || (size_t)length >= sizeof(out->local.sun_path)) {
		errno = ENAMETOOLONG;
		return 0;
	}
	return (socklen_t)sizeof(out->local);
}

static socklen_t to_socket(const struct env_address *address, union socket_address *out,
			   int *directory)
{
	memset(out, 0, sizeof(*out));
	*directory = -1;
	switch (address->family) {
	case ENV_IPV4:
		out->ipv4.sin_family = AF_INET;
		out->ipv4.sin_port = htons(address->port);
		memcpy(&out->ipv4.sin_addr, address->ip, 4);
		return sizeof(out->ipv4);
	case ENV_IPV6:
		out->ipv6.sin6_family = AF_INET6;
		out->ipv6.sin6_port = htons(address->port);
		memcpy(&out->ipv6.sin6_addr, address->ip, 16);
		return sizeof(out->ipv6);
	case ENV_UNIX:
		return unix_address(address->path, out, directory);
	}
	return 0;
}

static void from_socket(const union socket_address *from, struct env_address *out)
{
	memset(out, 0, sizeof(*out));
	if (from->any.sa_family == AF_INET) {
		out->family = ENV_IPV4;
		out->port = ntohs(from->ipv4.sin_port);
		memcpy(out->ip, &from->ipv4.sin_addr, 4);
	} else if (from->any.sa_family == AF_INET6) {
		out->family = ENV_IPV6;
		out->port = ntohs(from->ipv6.sin6_port);
		memcpy(out->ip, &from->ipv6.sin6_addr, 16);
	} else {
		out->family = ENV_UNIX;
	}
}

/* ---- streams ---- */

static void finish_connect(struct os_stream *stream)
{
	int error = 0;
	socklen_t size = sizeof(error);
	if (getsockopt(stream->source.fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 && error == 0)
		stream->base.connected = true;
	else
		stream->base.hangup = stream->source.refused = true;
	stream->base.readable = stream->base.writable = true;
}

static void stream_event(struct os_source *source, uint32_t events)
{
	struct os_stream *stream = (struct os_stream *)source;
	bool news = false;
	if (!stream->base.connected) {
		if (!(events & (EPOLLOUT | EPOLLERR | EPOLLHUP)))
			return;
		finish_connect(stream);
		/* The same edge may tell that the peer has finished already: no other one will. */
		if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
			stream->base.hangup = true;
		stream->base.ready(&stream->base);
		return;
	}
	if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) {
		news = !stream->base.hangup;
		stream->base.hangup = true;
		stream->base.readable = true;
	}
	if (events & EPOLLIN) {
		stream->base.readable = true;
		news = true;
	}
	if ((events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) && !stream->base.writable) {
		stream->base.writable = true;
		news = true;
	}
	if (news)
		stream->base.ready(&stream->base);
}

static struct env_stream *adopt(struct os_loop *loop, int fd, bool connected)
{
	struct os_stream *stream = calloc(1, sizeof(*stream));
	if (!stream) {
		close(fd);
		return NULL;
	}
	stream->source = (struct os_source){.event = stream_event, .fd = fd};
	stream->base = (struct env_stream){.loop = &loop->base,
					   .connected = connected,
					   .readable = connected,
					   .writable = connected};
	if (!os_source_add(loop, &stream->source, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET)) {
		close(fd);
		free(stream);
		return NULL;
	}
	return &stream->base;
}

static void send_at_once(int fd)
{
	int on = 1;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)); /* fails on Unix sockets: fine */
}

struct env_stream *os_connect(struct env_loop *base, const struct env_address *address,
			      struct err *err)
{
	union socket_address to;
	int directory;
	char text[sizeof(address->path)];
	env_address_format(address, text, sizeof(text));
	socklen_t length = to_socket(address, &to, &directory);
	int fd = length ? socket(to.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)
			: -1;
	if (fd >= 0)
		send_at_once(fd);
	int result = fd < 0 ? -1 : connect(fd, &to.any, length);
	int error = errno;
	if (directory >= 0)
		close(directory);
	if (fd < 0 || (result != 0 && error != EINPROGRESS)) {
		if (fd >= 0)
			close(fd);
		err_set(err, ERR_NETWORK, error, __FILE__, __LINE__, "cannot connect to %s", text);
		return NULL;
	}
	/* Even one that succeeded at once is reported by the event that follows registration. */
	struct env_stream *stream = adopt(os_loop_of(base), fd, false);
	if (!stream)
		ERR_SET(err, ERR_NO_MEMORY, "out of memory");
	return stream;
}

/* Receiving and sending ask the kernel themselves: the C library's functions are cancellation
 * points and pay for it on every call, and no thread here is ever cancelled. */
ssize_t os_receive(struct env_stream *base, void *data, size_t size)
{
	ssize_t got;
	if (stream_of(base)->source.refused) {
		base->readable = false;
		return ENV_RESET;
	}
	do
		got = syscall(SYS_recvfrom, stream_of(base)->source.fd, data, size, 0, NULL, NULL);
	while (got < 0 && errno == EINTR);
	if (got < 0 && errno == EAGAIN) {
		base->readable = false;
		return ENV_AGAIN;
	}
	if (got < 0) {
		base->readable = false;
		return ENV_RESET;
	}
	if (got == 0 || ((size_t)got < size && !base->hangup))
		base->readable = false;
	return got;
}

/* Parts of no more are sent as one: a list of parts costs the kernel 0.4 us more than copying them
 * costs (perf/RESULTS.md). */
#define GATHER_MAX ((size_t)4096)

static void gather(const struct iovec *parts, int count, char *out)
{
	for (int i = 0; i < count; i++)
		if (parts[i].iov_len > 0)
			out = mempcpy(out, parts[i].iov_base, parts[i].iov_len);
}

static ssize_t send_once(int fd, const struct iovec *parts, int count, size_t total)
{
	char gathered[GATHER_MAX];
	const struct msghdr message = {.msg_iov = (struct iovec *)parts,
				       .msg_iovlen = (size_t)count};
	const void *data = gathered;
	if (count > 1 && total > GATHER_MAX)
		return syscall(SYS_sendmsg, fd, &message, MSG_NOSIGNAL);
	if (count == 1)
		data = parts[0].iov_base;
	else
		gather(parts, count, gathered);
	return syscall(SYS_sendto, fd, data, total, MSG_NOSIGNAL, NULL, 0);
}

ssize_t os_send(struct env_stream *base, const struct iovec *parts, int count)
{
	size_t total = 0;
	ssize_t sent;
	if (stream_of(base)->source.refused) {
		base->writable = false;
		return ENV_RESET;
	}
	for (int i = 0; i < count; i++)
		total += parts[i].iov_len;
	do
		sent = send_once(stream_of(base)->source.fd, parts, count, total);
	while (sent < 0 && errno == EINTR);
	if (sent < 0) {
		base->writable = false;
		return errno == EAGAIN ? ENV_AGAIN : ENV_RESET;
	}
	if ((size_t)sent < total)
		base->writable = false;
	return sent;
}

void os_shutdown(struct env_stream *base)
{
	shutdown(stream_of(base)->source.fd, SHUT_WR);
}

void os_close(struct env_stream *base, bool reset)
{
	struct os_stream *stream = stream_of(base);
	if (reset) {
		struct linger now = {.l_onoff = 1, .l_linger = 0};
		setsockopt(stream->source.fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	}
	os_source_close(os_loop_of(base->loop), &stream->source);
}

/* ---- listeners ---- */

static void listener_event(struct os_source *source, uint32_t events)
{
	struct env_listener *listener = (struct env_listener *)source;
	(void)events;
	listener->ready(listener, listener->argument);
}

static bool same_address(const struct env_address *a, const struct env_address *b)
{
	return a->family == b->family && a->port == b->port && memcmp(a->ip, b->ip, 16) == 0;
}

/* An address that this process listens on and that matches; false: there is none. */
static bool find_listening(struct os_env *env, const struct env_address *address,
			   bool (*matches)(const struct env_address *, const struct env_address *),
			   struct env_address *out)
{
	bool found = false;
	pthread_mutex_lock(&env->lock);
	for (unsigned i = 0; i < env->listening_count && !found; i++) {
		found = matches(&env->listening[i], address);
		*out = env->listening[i];
	}
	pthread_mutex_unlock(&env->lock);
	return found;
}

static bool listens_already(struct os_env *env, const struct env_address *address)
{
	struct env_address same;
	return find_listening(env, address, same_address, &same);
}

static void note_listening(struct os_env *env, const struct env_address *address)
{
	if (address->family == ENV_UNIX || listens_already(env, address))
		return;
	pthread_mutex_lock(&env->lock);
	if (env->listening_count < OS_ADDRESSES_MAX)
		env->listening[env->listening_count++] = *address;
	pthread_mutex_unlock(&env->lock);
}

/* SO_REUSEPORT would let another process of the same user share the address unnoticed: the first
 * listener of this process proves with an ordinary bind that nobody else has it. */
static bool address_is_free(const union socket_address *to, socklen_t length)
{
	int on = 1;
	int fd = socket(to->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return false;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	bool free_now = bind(fd, &to->any, length) == 0 && listen(fd, 1) == 0;
	int error = errno;
	close(fd);
	errno = error;
	return free_now;
}

/* What is accepted has these options of its listener: a call for each connection is saved. */
static void set_up_accepted(int fd)
{
	int peer_ms = PEER_TIMEOUT_MS, unsent = UNSENT_BYTES;
	send_at_once(fd);
	setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &peer_ms, sizeof(peer_ms));
	setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &unsent, sizeof(unsent));
}

static int bind_socket(const union socket_address *to, socklen_t length, bool local)
{
	int on = 1;
	int fd = socket(to->any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -1;
	if (local) {
		unlink(to->local.sun_path); /* left by a process that was killed */
	} else {
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
		setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
		set_up_accepted(fd);
	}
	if (bind(fd, &to->any, length) == 0 && (!local || chmod(to->local.sun_path, 0600) == 0) &&
	    listen(fd, BACKLOG) == 0)
		return fd;
	int error = errno;
	close(fd);
	errno = error;
	return -1;
}

static void retry_accept(struct env_timer *timer)
{
	struct env_listener *listener =
		(struct env_listener *)((char *)timer - offsetof(struct env_listener, retry));
	listener->starved = false;
	os_listener_pause(listener, listener->paused);
}

static struct env_listener *new_listener(struct os_loop *loop, int fd)
{
	struct env_listener *listener = calloc(1, sizeof(*listener));
	union socket_address bound;
	socklen_t size = sizeof(bound);
	if (!listener)
		return NULL;
	listener->source = (struct os_source){.event = listener_event, .fd = fd};
	listener->loop = loop;
	listener->retry.fire = retry_accept;
	if (getsockname(fd, &bound.any, &size) == 0)
		from_socket(&bound, &listener->address);
	if (os_source_add(loop, &listener->source, EPOLLIN))
		return listener;
	free(listener);
	return NULL;
}

/* Whether an IPv6 wildcard takes connections of IPv4 too (ipv6(7), IPV6_V6ONLY). */
static bool takes_both(void)
{
	int only = 1;
	socklen_t size = sizeof(only);
	int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 && getsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only, &size) != 0)
		only = 1;
	if (fd >= 0)
		close(fd);
	return !only;
}

/* Whether listening on both is not to be had: one is a wildcard that takes the other in. */
static bool overlap(const struct env_address *a, const struct env_address *b)
{
	if (a->port != b->port)
		return false;
	if (a->family == b->family)
		return env_address_is_wildcard(a) || env_address_is_wildcard(b);
	return env_address_is_wildcard(a->family == ENV_IPV6 ? a : b) && takes_both();
}

static enum err_code listen_failed(struct os_env *env, const struct env_address *address, int error,
				   struct err *err)
{
	struct env_address other;
	char text[sizeof(address->path)], taken[sizeof(address->path)];
	env_address_format(address, text, sizeof(text));
	if (error != EADDRINUSE || address->family == ENV_UNIX)
		return err_set(err, ERR_ENVIRONMENT, error, __FILE__, __LINE__,
			       "cannot listen on %s", text);
	if (!find_listening(env, address, overlap, &other))
		return ERR_SET(
			err, ERR_ENVIRONMENT,
			"cannot listen on %s: Address already in use: another process "
			"listens on it, or on a wildcard address that takes it in; stop that "
			"one or choose another port",
			text);
	env_address_format(&other, taken, sizeof(taken));
	if (other.family != address->family)
		return ERR_SET(
			err, ERR_ENVIRONMENT,
			"cannot listen on %s beside %s: Address already in use: on this "
			"system [::] takes IPv4 too (net.ipv6.bindv6only is 0); leave one of "
			"the two out, or give them different ports",
			text, taken);
	return ERR_SET(err, ERR_ENVIRONMENT,
		       "cannot listen on %s beside %s: Address already in use: one takes the other "
		       "in; leave one of the two out, or give them different ports",
		       text, taken);
}

enum err_code os_listen(struct env_loop *base, const struct env_address *address,
			void (*ready)(struct env_listener *, void *), void *argument,
			struct env_listener **out, struct err *err)
{
	struct os_env *env = (struct os_env *)base->env;
	union socket_address to;
	int directory;
	bool local = address->family == ENV_UNIX;
	*out = NULL;
	socklen_t length = to_socket(address, &to, &directory);
	bool may = length && (local || address->port == 0 || listens_already(env, address) ||
			      address_is_free(&to, length));
	int fd = may ? bind_socket(&to, length, local) : -1;
	int error = errno;
	if (directory >= 0)
		close(directory);
	if (fd < 0)
		return listen_failed(env, address, error, err);
	struct env_listener *listener = new_listener(os_loop_of(base), fd);
	if (!listener) {
		close(fd);
		return ERR_SET(err, ERR_NO_MEMORY, "out of memory");
	}
	if (local)
		env_address_unix(&listener->address, address->path);
	listener->ready = ready;
	listener->argument = argument;
	note_listening(env, &listener->address);
	*out = listener;
	return ERR_OK;
}

void os_listener_address(struct env_listener *listener, struct env_address *out)
{
	*out = listener->address;
}

void os_listener_pause(struct env_listener *listener, bool paused)
{
	listener->paused = paused;
	struct epoll_event event = {.events = paused || listener->starved ? 0 : EPOLLIN,
				    .data.ptr = &listener->source};
	epoll_ctl(listener->loop->epoll, EPOLL_CTL_MOD, listener->source.fd, &event);
}

void os_listener_close(struct env_listener *listener)
{
	if (!listener)
		return;
	env_timer_disarm(&listener->loop->base, &listener->retry);
	os_source_close(listener->loop, &listener->source);
}

/* Out of descriptors or memory: the connection waits in the backlog and is tried again later,
 * because a level-triggered listener would spin otherwise. */
static void starve(struct env_listener *listener)
{
	struct env_loop *loop = &listener->loop->base;
	if (!env_timer_arm(loop, &listener->retry, loop->now_ns + ACCEPT_RETRY_NS))
		return;
	listener->starved = true;
	os_listener_pause(listener, listener->paused);
}

struct env_stream *os_accept(struct env_listener *listener, struct env_address *peer)
{
	union socket_address from = {0};
	socklen_t size = sizeof(from);
	int fd;
	do
		fd = accept4(listener->source.fd, &from.any, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
	while (fd < 0 && (errno == EINTR || errno == ECONNABORTED));
	if (fd < 0) {
		if (errno != EAGAIN)
			starve(listener);
		return NULL;
	}
	if (peer)
		from_socket(&from, peer);
	return adopt(listener->loop, fd, true);
}
