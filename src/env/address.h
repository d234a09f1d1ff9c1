/* Where a stream goes to or comes from: IPv4, IPv6 or a Unix socket. */
#ifndef ENV_ADDRESS_H
#define ENV_ADDRESS_H

#include "base/bytes.h"
#include "base/err.h"

enum env_family { ENV_IPV4 = 4, ENV_IPV6 = 6, ENV_UNIX = 1 };

struct env_address {
	enum env_family family;
	uint8_t ip[16]; /* network order; the first 4 for IPv4 */
	uint16_t port;
	char path[512]; /* of a Unix socket; may be longer than the kernel's 107 bytes */
};

/* The same of who has connected, without a path. */
struct env_peer {
	enum env_family family;
	uint8_t ip[16];
	uint16_t port;
};
struct env_peer env_peer_of(const struct env_address *address);

/* "127.0.0.1:8080", "[::1]:8080"; numeric only. ERR_INVALID names the text. */
enum err_code env_address_parse(struct bytes text, struct env_address *out, struct err *err);
/* The same form back; a Unix socket gives its path. */
void env_address_format(const struct env_address *address, char *out, size_t size);
void env_address_unix(struct env_address *out, const char *path);
/* 127.0.0.0/8, ::1 or a Unix socket. */
bool env_address_is_loopback(const struct env_address *address);
/* 0.0.0.0 or ::, which take all addresses of their kind. */
bool env_address_is_wildcard(const struct env_address *address);

#endif
