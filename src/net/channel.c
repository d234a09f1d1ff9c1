#include "net/channel.h"

#include <string.h>

/* Most bytes that are encrypted ahead of the stream. */
#define SEALED_MAX ((size_t)256 << 10)
#define TLS_PIECE 16384

void channel_init(struct channel *channel, struct env_stream *stream, struct tls *tls)
{
	*channel = (struct channel){.stream = stream, .tls = tls};
}

void channel_close(struct channel *channel, bool reset)
{
	env_close(channel->stream, reset);
	channel->stream = NULL;
	tls_free(channel->tls);
	channel->tls = NULL;
}

static ssize_t broken(struct channel *channel)
{
	ERR_SET(&channel->err, ERR_NETWORK, "TLS: %s", tls_error(channel->tls));
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
		if (got != TLS_AGAIN)
			return got;
		if (!channel->stream->readable)
			return ENV_AGAIN;
		got = env_receive(channel->stream, sealed, sizeof(sealed));
		if (got == ENV_AGAIN)
			return ENV_AGAIN;
		if (got <= 0) {
			ERR_SET(&channel->err, ERR_NETWORK, "TLS: closed without close_notify");
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

ssize_t channel_send(struct channel *channel, const struct iovec *parts, int count)
{
	if (!channel->tls)
		return env_send(channel->stream, parts, count);
	ssize_t total = 0;
	if (!tls_established(channel->tls) || tls_output(channel->tls).size > 0)
		return ENV_AGAIN;
	for (int i = 0; i < count; i++) {
		if (parts[i].iov_len == 0)
			continue;
		/* Bounded: whoever sends more than this waits until the stream has taken it. */
		size_t room = SEALED_MAX - (size_t)total;
		size_t size = parts[i].iov_len < room ? parts[i].iov_len : room;
		if (size == 0)
			break;
		ssize_t taken = tls_write(channel->tls, parts[i].iov_base, size);
		if (taken == TLS_FAILED)
			return broken(channel);
		if (taken <= 0)
			break;
		total += taken;
		if ((size_t)taken < parts[i].iov_len)
			break;
	}
	if (!flush(channel))
		return ENV_RESET;
	return total > 0 ? total : ENV_AGAIN;
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
