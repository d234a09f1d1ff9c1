/* Who may send with a key: the networks it may come from, and the secret of the sender's own that
 * it is bound to. Pure: what a request has proved is found out elsewhere and compared here. */
#ifndef POLICY_SENDER_H
#define POLICY_SENDER_H

#include "base/bytes.h"
#include "base/err.h"
#include "base/sha256.h"

/* ---- networks ---- */

#define SENDER_NETWORKS_MAX 64

enum sender_family { SENDER_NO_ADDRESS = 0, SENDER_IPV4 = 4, SENDER_IPV6 = 6 };

struct sender_network {
	uint8_t family; /* enum sender_family, never SENDER_NO_ADDRESS */
	uint8_t bits;
	uint8_t ip[16]; /* network order; the first 4 for IPv4 */
};

/* "10.0.0.0/8", "2001:db8::/32"; an address alone is a network of itself. ERR_INVALID where it is
 * neither, or where bits are set behind the prefix. An IPv4 address in IPv6's clothes
 * (::ffff:0:0/96) is to be written as the IPv4 address it is. */
enum err_code sender_network_parse(struct bytes text, struct sender_network *out, struct err *err);

/* ---- bindings ---- */

#define SENDER_BINDING_TABLE(X)                                                              \
	X(NONE, "none")                                                                      \
	X(SIGNATURE, "signature")     /* RFC 9421, by the key of this RFC 7638 thumbprint */ \
	X(CERTIFICATE, "certificate") /* mTLS, by the certificate of this SHA-256 (RFC 8705) */

enum sender_binding {
#define X(name, text) SENDER_BINDING_##name,
	SENDER_BINDING_TABLE(X)
#undef X
		SENDER_BINDING_COUNT
};

const char *sender_binding_id(enum sender_binding binding);

/* Of a key. Zeroed: from everywhere, by anybody who knows it. */
struct sender_rule {
	const struct sender_network *networks;
	unsigned network_count; /* 0: from everywhere */
	enum sender_binding binding;
	uint8_t thumbprint[SHA256_SIZE];
	uint8_t public_key[32]; /* of SENDER_BINDING_SIGNATURE */
};

/* What a grant demands of its keys. Zeroed: nothing. */
#define SENDER_CONFIRMATIONS_MAX 16
struct sender_demand {
	unsigned kinds; /* bit set of 1 << SENDER_BINDING_…; 0: a key may be bound to nothing */
	/* Those that keys may be bound to; 0: every one. */
	unsigned thumbprint_count;
	const uint8_t (*thumbprints)[SHA256_SIZE];
};

/* "signature", "certificate" or "any" of the two; 0 for any other text. */
unsigned sender_demand_kinds(const char *text);
/* What keys under the demand are bound to, in words. */
const char *sender_demand_text(unsigned kinds);

/* A thumbprint (RFC 7638, RFC 8705) as people have it: 43 digits of base64url, or hexadecimal with
 * or without colons, as `openssl x509 -fingerprint -sha256` prints it. */
bool sender_thumbprint_parse(const char *text, uint8_t out[static SHA256_SIZE]);

/* Of a request. Zeroed: from nowhere, proving nothing. */
struct sender_facts {
	uint8_t family; /* enum sender_family */
	uint8_t ip[16];
	enum sender_binding proved; /* what `thumbprint` is of */
	uint8_t thumbprint[SHA256_SIZE];
	const char *problem; /* why no more is proved; NULL: nothing was tried */
};

/* Facts of a request that meets the rule. */
struct sender_facts sender_facts_for(const struct sender_rule *rule);
bool sender_is_in_networks(const struct sender_rule *rule, const struct sender_facts *facts);
bool sender_is_proved(const struct sender_rule *rule, const struct sender_facts *facts);
/* Whether a key with this rule is bound as the demand has it. */
bool sender_meets(const struct sender_demand *demand, const struct sender_rule *rule);

#endif
