#include "net/channel.h"

#include <string.h>

/* Most bytes that are encrypted ahead of the stream. */
#define SEALED_MAX ((size_t)64 << 10)
#define TLS_PIECE 16384

void channel_init(struct channel *channel, struct env_stream *stream, struct tls *tls)
{
	*channel = (struct channel){.stream = stream, .tls = tls};
}

void channel_start_tls(struct channel *channel, struct tls *tls)
{
	channel->tls = tls;
}

static bool flush(struct channel *channel);

static void say_end(struct channel *channel)
{
	if (!channel->tls || !channel->stream || !channel->stream->connected)
		return;
	tls_close(channel->tls);
	flush(channel);
}

void channel_shutdown(struct channel *channel)
{
	say_end(channel);
	env_shutdown(channel->stream);
}

void channel_close(struct channel *channel, bool reset)
{
	if (!reset)
		say_end(channel);
	env_close(channel->stream, reset);
	channel->stream = NULL;
	tls_free(channel->tls);
	channel->tls = NULL;
}

static ssize_t broken(struct channel *channel)
{
	channel->problem = tls_error(channel->tls);
	return ENV_RESET;
}

/* Hands ciphertext to the stream. False when the stream broke. */
static bool flush(struct channel *channel)
{
	while (channel->stream->writable && channel->stream->connected) {
		struct bytes out = tls_output(channel->tls);
		if (out.size == 0)
			return true;
		struct iovec part = {(void *)out.data, out.size};
		ssize_t sent = env_send(channel->stream, &part, 1);
		if (sent == ENV_RESET)
			return false;
		if (sent <= 0)
			return true;
		tls_output_sent(channel->tls, (size_t)sent);
	}
	return true;
}

static ssize_t receive_sealed(struct channel *channel, void *data, size_t size)
{
	char sealed[TLS_PIECE];
	for (;;) {
		ssize_t got = tls_read(channel->tls, data, size);
		channel->unread = got > 0;
		if (!flush(channel))
			return ENV_RESET;
		if (got == TLS_FAILED)
			return broken(channel);
		if (size == 0 && tls_established(channel->tls)) {
			channel->unread = true; /* what came behind the handshake is in there */
			return ENV_AGAIN;
		}
		if (got != TLS_AGAIN)
			return got;
		if (!channel->stream->readable)
			return ENV_AGAIN;
		got = env_receive(channel->stream, sealed, sizeof(sealed));
		if (got == ENV_AGAIN)
			return ENV_AGAIN;
		if (got <= 0) {
			channel->problem = "closed without close_notify";
			return ENV_RESET;
		}
		if (!tls_feed(channel->tls, sealed, (size_t)got))
			return broken(channel);
	}
}

ssize_t channel_receive(struct channel *channel, void *data, size_t size)
{
	if (!channel->tls)
		return env_receive(channel->stream, data, size);
	return receive_sealed(channel, data, size);
}

/* Encrypts up to SEALED_MAX bytes from offset `skip` of the parts on: the count, or TLS_FAILED. */
static ssize_t seal(struct channel *channel, const struct iovec *parts, int count, size_t skip)
{
	size_t room = SEALED_MAX;
	for (int i = 0; i < count && room > 0; i++) {
		if (parts[i].iov_len <= skip) {
			skip -= parts[i].iov_len;
			continue;
		}
		size_t size = parts[i].iov_len - skip < room ? parts[i].iov_len - skip : room;
		ssize_t taken = tls_write(channel->tls, (char *)parts[i].iov_base + skip, size);
		if (taken == TLS_FAILED)
			return TLS_FAILED;
		if (taken <= 0)
			break;
		room -= (size_t)taken;
		skip = 0;
		if ((size_t)taken < size)
			break;
	}
	return (ssize_t)(SEALED_MAX - room);
}

/* As env_send promises: less than all is taken only when the stream is not writable any more. A
 * reset is told only where nothing of what was given went out: the flush of a piece that was sealed
 * here ends with the first send that does not take all. */
ssize_t channel_send(struct channel *channel, const struct iovec *parts, int count)
{
	if (!channel->tls)
		return env_send(channel->stream, parts, count);
	size_t total = 0;
	if (!tls_established(channel->tls) || tls_output(channel->tls).size > 0)
		return ENV_AGAIN;
	while (tls_output(channel->tls).size == 0) {
		ssize_t sealed = seal(channel, parts, count, total);
		if (sealed == TLS_FAILED)
			return total ? (ssize_t)total : broken(channel);
		if (sealed == 0)
			break;
		if (!flush(channel))
			return total ? (ssize_t)total : ENV_RESET;
		total += (size_t)sealed;
	}
	return total > 0 ? (ssize_t)total : ENV_AGAIN;
}

size_t channel_unsent(const struct channel *channel)
{
	return channel->tls ? tls_output(channel->tls).size : 0;
}

size_t channel_memory(const struct channel *channel)
{
	return channel->tls ? tls_output_memory(channel->tls) : 0;
}

bool channel_readable(const struct channel *channel)
{
	return channel->stream->readable || channel->unread;
}

bool channel_progress(struct channel *channel)
{
	if (!channel->tls || !channel->stream->connected)
		return true;
	if (!flush(channel))
		return false;
	if (tls_established(channel->tls))
		return true;
	char none;
	return receive_sealed(channel, &none, 0) != ENV_RESET;
}

bool channel_established(const struct channel *channel)
{
	return channel->stream->connected && (!channel->tls || tls_established(channel->tls));
}
