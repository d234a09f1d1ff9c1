#include "env/address.h"

#include <arpa/inet.h>
#include <stdio.h>

static enum err_code invalid(struct bytes text, const char *why, struct err *err)
{
	int shown = text.size < 100 ? (int)text.size : 100;
	return ERR_SET(err, ERR_INVALID,
		       "\"%.*s\" is no address: %s (like 127.0.0.1:8080 or [::1]:8080)", shown,
		       text.data ? text.data : "", why);
}

/* Splits "host:port" or "[host]:port"; false if it has neither shape. */
static bool split_port(struct bytes text, struct bytes *host, struct bytes *port, bool *bracketed)
{
	*bracketed = text.size > 0 && text.data[0] == '[';
	const char *colon = text.size ? memrchr(text.data, ':', text.size) : NULL;
	if (!colon)
		return false;
	*host = bytes_of(text.data, (size_t)(colon - text.data));
	*port = bytes_of(colon + 1, text.size - host->size - 1);
	if (!*bracketed)
		return !memchr(host->data, ':', host->size);
	if (host->size < 2 || host->data[host->size - 1] != ']')
		return false;
	*host = bytes_of(host->data + 1, host->size - 2);
	return true;
}

struct env_peer env_peer_of(const struct env_address *address)
{
	struct env_peer peer = {.family = address->family, .port = address->port};
	memcpy(peer.ip, address->ip, sizeof(peer.ip));
	return peer;
}

enum err_code env_address_parse(struct bytes text, struct env_address *out, struct err *err)
{
	struct bytes host, port;
	bool bracketed;
	char numeric[INET6_ADDRSTRLEN];
	uint64_t number;

	memset(out, 0, sizeof(*out));
	if (!split_port(text, &host, &port, &bracketed))
		return invalid(text, "it has no port", err);
	if (!bytes_to_u64(port, UINT16_MAX, &number))
		return invalid(text, "the port is no number from 0 to 65535", err);
	if (host.size >= sizeof(numeric) || memchr(host.data, '\0', host.size))
		return invalid(text, "the host is not numeric", err);
	memcpy(numeric, host.data, host.size);
	numeric[host.size] = '\0';
	if (inet_pton(bracketed ? AF_INET6 : AF_INET, numeric, out->ip) != 1) {
		memset(out, 0, sizeof(*out));
		return invalid(text, "the host is not numeric", err);
	}
	out->family = bracketed ? ENV_IPV6 : ENV_IPV4;
	out->port = (uint16_t)number;
	return ERR_OK;
}

void env_address_format(const struct env_address *address, char *out, size_t size)
{
	char host[INET6_ADDRSTRLEN];
	switch (address->family) {
	case ENV_IPV4:
		inet_ntop(AF_INET, address->ip, host, sizeof(host));
		snprintf(out, size, "%s:%u", host, address->port);
		return;
	case ENV_IPV6:
		inet_ntop(AF_INET6, address->ip, host, sizeof(host));
		snprintf(out, size, "[%s]:%u", host, address->port);
		return;
	case ENV_UNIX:
		snprintf(out, size, "%s", address->path);
		return;
	}
	if (size)
		out[0] = '\0';
}

void env_address_unix(struct env_address *out, const char *path)
{
	memset(out, 0, sizeof(*out));
	out->family = ENV_UNIX;
	snprintf(out->path, sizeof(out->path), "%s", path);
}

bool env_address_is_loopback(const struct env_address *address)
{
	static const uint8_t loopback6[16] = {[15] = 1};
	switch (address->family) {
	case ENV_IPV4:
		return address->ip[0] == 127;
	case ENV_IPV6:
		return memcmp(address->ip, loopback6, sizeof(loopback6)) == 0;
	case ENV_UNIX:
		return true;
	}
	return false;
}

bool env_address_is_wildcard(const struct env_address *address)
{
	static const uint8_t nothing[sizeof(address->ip)];
	return address->family != ENV_UNIX && memcmp(address->ip, nothing, sizeof(nothing)) == 0;
}
