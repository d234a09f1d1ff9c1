/* A byte stream with or without TLS, so that HTTP code does not know the difference. Without TLS
 * every call goes straight through to the stream. */
#ifndef NET_CHANNEL_H
#define NET_CHANNEL_H

#include "env/env.h"
#include "proto/tls.h"

struct channel {
	struct env_stream *stream; /* owned */
	struct tls *tls;           /* owned; NULL: plain */
	bool unread;               /* there may be decrypted bytes that nobody has received */
	const char *problem; /* why a TLS channel broke, until it is closed; NULL: it did not */
};

/* Takes over both. */
void channel_init(struct channel *channel, struct env_stream *stream, struct tls *tls);
/* What follows on a plain stream is TLS; takes it over. */
void channel_start_tls(struct channel *channel, struct tls *tls);
/* Closes the stream and frees the rest; a second call does nothing. Without `reset` the peer is
 * told that this is the end in order, as far as the stream takes it at once. */
void channel_close(struct channel *channel, bool reset);
/* No more will be sent; receiving goes on. */
void channel_shutdown(struct channel *channel);
static inline bool channel_is_open(const struct channel *channel)
{
	return channel->stream != NULL;
}

/* Same results as env_receive and env_send. ENV_RESET on a TLS error, told in channel->problem. A
 * TLS stream that ends without close_notify is ENV_RESET, never ENV_EOF (RFC 8446, section 6.1). */
ssize_t channel_receive(struct channel *channel, void *data, size_t size);
ssize_t channel_send(struct channel *channel, const struct iovec *parts, int count);
/* Bytes taken by channel_send that the stream has not taken yet: at most HTTP's high mark. They go
 * with channel_progress. */
size_t channel_unsent(const struct channel *channel);
/* Memory that this takes until then. */
size_t channel_memory(const struct channel *channel);
/* Whether a receive may give something. */
bool channel_readable(const struct channel *channel);
/* To be called when the stream became ready, before anything else: moves the handshake and pending
 * ciphertext on. False when the channel broke. */
bool channel_progress(struct channel *channel);
/* Connected, and the handshake is over. */
bool channel_established(const struct channel *channel);

#endif
