/* HTTP message signatures (RFC 9421) with Ed25519, and the digest of a body (RFC 9530), in bytes.
 * What a signature must cover and how old it may be is the caller's to say. Derived components are
 * those of requests; of fields, the value as it stands (no parameters: sf, bs, key, req, tr).
 *
 * Functions that return text return NULL where all is well, else what is wrong, for the sender. */
#ifndef PROTO_SIGNATURE_H
#define PROTO_SIGNATURE_H

#include "base/buf.h"
#include "base/ed25519.h"
#include "base/sha256.h"
#include "proto/http1.h"

#define SIGNATURE_COMPONENTS_MAX 24
#define SIGNATURE_MEMBERS_MAX 8 /* signatures in one field */
#define SIGNATURE_BASE_MAX ((size_t)64 << 10)

/* ---- the message ---- */

struct signature_field {
	struct bytes name; /* in any case */
	struct bytes value;
};

struct signature_message {
	struct bytes method;
	struct bytes scheme; /* "http", "https" */
	/* As the client knows it: lower case, without the scheme's own port, and before the
	 * request target whatever path a proxy took off. */
	struct bytes authority, prefix;
	struct bytes path, query; /* query: data NULL where there is no '?' */
	const struct signature_field *fields;
	unsigned field_count;
};

/* Method, path, query and fields of a request's head; the fields go to `fields`. */
void signature_message_of_head(const struct http_head *head, const char *data,
			       struct signature_field fields[static HTTP_FIELDS_MAX],
			       struct signature_message *out);
/* Host in lower case without the scheme's own port, in `out`; false where it does not fit. */
bool signature_authority(struct bytes host, struct bytes scheme, struct buf *out);

/* ---- reading ---- */

struct signature_input {
	struct bytes label;
	struct bytes params; /* the value of @signature-params, as it was sent */
	struct bytes components[SIGNATURE_COMPONENTS_MAX];
	unsigned component_count;
	bool has_created, has_expires;
	int64_t created, expires;                   /* Unix seconds */
	struct bytes key_id, nonce, tag, algorithm; /* data NULL where absent */
};

/* The one member with this tag (NULL: the only member). */
const char *signature_input_find(struct bytes field, const char *tag, struct signature_input *out);
bool signature_covers(const struct signature_input *input, const char *component);
/* The member of Signature with this label. */
const char *signature_find(struct bytes field, struct bytes label,
			   uint8_t out[static ED25519_SIGNATURE_SIZE]);
/* RFC 9421, section 2.5. */
const char *signature_base(const struct signature_input *input,
			   const struct signature_message *message, struct buf *out);
/* The sha-256 of a Content-Digest field; other algorithms beside it are passed over. */
const char *signature_content_digest(struct bytes field, uint8_t out[static SHA256_SIZE]);

/* ---- writing ---- */

/* Appends the field lines Content-Digest (where there is a body), Signature-Input and Signature,
 * each with CR LF, of a request with these components: @method, @target-uri, content-digest and
 * every field of the message. `nonce` has no quote or backslash. False when memory is out. */
struct signature_signing {
	const struct ed25519_private *key;
	const char *key_id, *tag, *nonce;
	int64_t created;
	bool has_body;
	struct bytes body;
};
bool signature_sign(const struct signature_signing *signing,
		    const struct signature_message *message, struct buf *out);

#endif
