#include "policy/sender.h"

#include "base/encode.h"

#include <arpa/inet.h>
#include <stdio.h>

#define TEXT_MAX 64

static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

/* ---- networks ---- */

static bool read_address(const char *text, struct sender_network *out)
{
	if (inet_pton(AF_INET, text, out->ip) == 1) {
		out->family = SENDER_IPV4;
		return true;
	}
	out->family = SENDER_IPV6;
	return inet_pton(AF_INET6, text, out->ip) == 1;
}

static bool same_bits(const uint8_t *a, const uint8_t *b, unsigned bits)
{
	unsigned bytes = bits / 8, rest = bits % 8;
	if (memcmp(a, b, bytes) != 0)
		return false;
	return rest == 0 || (a[bytes] ^ b[bytes]) >> (8 - rest) == 0;
}

static bool is_clear_behind(const struct sender_network *network, unsigned all)
{
	for (unsigned bit = network->bits; bit < all; bit++)
		if (network->ip[bit / 8] >> (7 - bit % 8) & 1)
			return false;
	return true;
}

enum err_code sender_network_parse(struct bytes text, struct sender_network *out, struct err *err)
{
	char address[TEXT_MAX];
	struct bytes prefix;
	struct bytes host = bytes_split(text, '/', &prefix);
	uint64_t bits;
	*out = (struct sender_network){0};
	if (host.size > 0 && host.size < sizeof(address)) {
		memcpy(address, host.data, host.size);
		address[host.size] = '\0';
	}
	if (host.size == 0 || host.size >= sizeof(address) || !read_address(address, out))
		return ERR_SET(err, ERR_INVALID,
			       "%.*s is no network; write 10.0.0.0/8, 2001:db8::/32 or an address",
			       (int)(text.size < TEXT_MAX ? text.size : TEXT_MAX),
			       text.data ? text.data : "");
	unsigned all = out->family == SENDER_IPV4 ? 32 : 128;
	bits = all;
	if (prefix.data && !bytes_to_u64(prefix, all, &bits))
		return ERR_SET(err, ERR_INVALID, "%.*s: the prefix is a number from 0 to %u",
			       BYTES_ARG(text), all);
	out->bits = (uint8_t)bits;
	if (out->family == SENDER_IPV6 && memcmp(out->ip, mapped, sizeof(mapped)) == 0)
		return ERR_SET(err, ERR_INVALID, "%.*s: write the IPv4 address as such",
			       BYTES_ARG(text));
	if (!is_clear_behind(out, all))
		return ERR_SET(err, ERR_INVALID,
			       "%.*s has bits behind its prefix: write the network's first address",
			       BYTES_ARG(text));
	return ERR_OK;
}

/* ---- bindings ---- */

const char *sender_binding_id(enum sender_binding binding)
{
	static const char *const ids[SENDER_BINDING_COUNT] = {
#define X(name, text) [SENDER_BINDING_##name] = text,
		SENDER_BINDING_TABLE(X)
#undef X
	};
	return ids[binding];
}

struct sender_facts sender_facts_for(const struct sender_rule *rule)
{
	struct sender_facts facts = {.proved = rule->binding};
	memcpy(facts.thumbprint, rule->thumbprint, SHA256_SIZE);
	if (rule->network_count > 0) {
		facts.family = rule->networks[0].family;
		memcpy(facts.ip, rule->networks[0].ip, sizeof(facts.ip));
	}
	return facts;
}

bool sender_is_in_networks(const struct sender_rule *rule, const struct sender_facts *facts)
{
	uint8_t family = facts->family;
	const uint8_t *ip = facts->ip;
	if (rule->network_count == 0)
		return true;
	/* A socket for both families gives IPv4 addresses in IPv6's clothes. */
	if (family == SENDER_IPV6 && memcmp(ip, mapped, sizeof(mapped)) == 0) {
		family = SENDER_IPV4;
		ip += sizeof(mapped);
	}
	for (unsigned i = 0; i < rule->network_count; i++)
		if (rule->networks[i].family == family &&
		    same_bits(rule->networks[i].ip, ip, rule->networks[i].bits))
			return true;
	return false;
}

bool sender_is_proved(const struct sender_rule *rule, const struct sender_facts *facts)
{
	if (rule->binding == SENDER_BINDING_NONE)
		return true;
	return facts->proved == rule->binding &&
	       bytes_equal_constant_time(facts->thumbprint, rule->thumbprint, SHA256_SIZE);
}

/* ---- what a grant demands ---- */

#define KIND(name) (1u << SENDER_BINDING_##name)

static const struct {
	const char *id, *text;
	unsigned kinds;
} demands[] = {
	{"signature",   "a signing key",                  KIND(SIGNATURE)                    },
	{"certificate", "a client certificate",           KIND(CERTIFICATE)                  },
	{"any",         "a signing key or a certificate", KIND(SIGNATURE) | KIND(CERTIFICATE)},
};

unsigned sender_demand_kinds(const char *text)
{
	for (size_t i = 0; i < sizeof(demands) / sizeof(demands[0]); i++)
		if (strcmp(demands[i].id, text) == 0)
			return demands[i].kinds;
	return 0;
}

const char *sender_demand_text(unsigned kinds)
{
	for (size_t i = 0; i < sizeof(demands) / sizeof(demands[0]); i++)
		if (demands[i].kinds == kinds)
			return demands[i].text;
	return "nothing";
}

bool sender_thumbprint_parse(const char *text, uint8_t out[static SHA256_SIZE])
{
	char hex[2 * SHA256_SIZE];
	size_t size = 0;
	if (base64url_decode_exact(bytes_from(text), out, SHA256_SIZE))
		return true;
	for (; *text; text++) {
		if (*text == ':')
			continue;
		if (size == sizeof(hex))
			return false;
		hex[size++] = *text;
	}
	return hex_decode(bytes_of(hex, size), out, SHA256_SIZE);
}

bool sender_meets(const struct sender_demand *demand, const struct sender_rule *rule)
{
	if (demand->kinds == 0)
		return true;
	if (!(demand->kinds >> rule->binding & 1))
		return false;
	for (unsigned i = 0; i < demand->thumbprint_count; i++)
		if (memcmp(demand->thumbprints[i], rule->thumbprint, SHA256_SIZE) == 0)
			return true;
	return demand->thumbprint_count == 0;
}
