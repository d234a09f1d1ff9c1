/* What a request proves of its sender (docs/formats/request-signature.md): the client certificate
 * of its connection, or an RFC 9421 signature by the key that its credential is bound to. Only for
 * keys that are bound; the others cost a look. */
#include "gate/request.h"

#include "base/ed25519_public.h"
#include "gate/gateway.h"
#include "gate/nonces.h"
#include "proto/signature.h"

#define TAG "parley"
#define NONCE_MIN 16
#define NONCE_MAX 128
#define SECOND_MS 1000

struct proving {
	struct gate_worker *worker;
	struct http_exchange *exchange;
	const struct world_key *key;
	struct sender_facts *facts;
	struct signature_field fields[HTTP_FIELDS_MAX];
	struct signature_message message;
	struct signature_input input;
	char authority[HTTP_TARGET_MAX];
	char base[SIGNATURE_BASE_MAX];
};

/* A field that stands once; data NULL where it is absent. False where it stands twice. */
static bool field_once(const struct proving *proving, const char *name, struct bytes *out)
{
	struct bytes wanted = bytes_from(name);
	*out = (struct bytes){0};
	for (unsigned i = 0; i < proving->message.field_count; i++) {
		if (!bytes_equal_fold(proving->message.fields[i].name, wanted))
			continue;
		if (out->data)
			return false;
		*out = proving->message.fields[i].value;
	}
	return true;
}

/* ---- what is asked of a signature ---- */

static const char *check_time(const struct proving *proving)
{
	const struct signature_input *input = &proving->input;
	int64_t now_ms = proving->exchange->loop->wall_ms, now = now_ms / SECOND_MS;
	if (!input->has_created || input->created < 0)
		return "the signature does not say when it was created";
	if (input->created < now - NONCES_WINDOW_S)
		return "the signature was created more than 60 s ago: sign each request anew";
	if (input->created > now + NONCES_WINDOW_S)
		return "the signature was created more than 60 s in the future: see to the clock";
	if (input->has_expires && input->expires < now)
		return "the signature has expired";
	if (input->created * SECOND_MS <= gateway_started_ms(proving->worker->gateway))
		return "the signature was created before the gateway started: sign again";
	return NULL;
}

static const char *check_names(const struct proving *proving)
{
	const struct signature_input *input = &proving->input;
	char thumbprint[ED25519_THUMBPRINT_SIZE + 1];
	ed25519_thumbprint_text(proving->key->sender.thumbprint, thumbprint);
	if (input->algorithm.data && !bytes_is(input->algorithm, "ed25519"))
		return "the signature's alg is not ed25519";
	if (!input->key_id.data || !bytes_is(input->key_id, thumbprint))
		return "keyid is not the thumbprint of the key that it is bound to";
	if (!input->nonce.data || input->nonce.size < NONCE_MIN || input->nonce.size > NONCE_MAX)
		return "the signature needs a nonce of 16 to 128 characters";
	return NULL;
}

static bool has_body(const struct proving *proving)
{
	return proving->exchange->head->body != HTTP_BODY_NONE;
}

static const char *check_coverage(const struct proving *proving)
{
	/* What steers the gateway beside the body. */
	static const struct {
		enum http_field_id field;
		const char *name, *problem;
	} steering[] = {
		{HTTP_FIELD_PARLEY_RUN,     "parley-run",     "the signature does not cover parley-run" },
		{HTTP_FIELD_PARLEY_LEAF,    "parley-leaf",    "the signature does not cover parley-leaf"},
		{HTTP_FIELD_PARLEY_ACCEPT,  "parley-accept",
		 "the signature does not cover parley-accept"                                           },
		{HTTP_FIELD_PARLEY_PURPOSE, "parley-purpose",
		 "the signature does not cover parley-purpose"                                          },
	};
	const struct signature_input *input = &proving->input;
	if (!signature_covers(input, "@method"))
		return "the signature does not cover @method";
	if (!signature_covers(input, "@target-uri"))
		return "the signature does not cover @target-uri";
	if (has_body(proving) && !signature_covers(input, "content-digest"))
		return "the signature does not cover content-digest";
	for (size_t i = 0; i < sizeof(steering) / sizeof(steering[0]); i++)
		if (http_has(proving->exchange->head, steering[i].field) &&
		    !signature_covers(input, steering[i].name))
			return steering[i].problem;
	return NULL;
}

/* ---- the signature ---- */

/* @target-uri is the URL as clients know it: by the configuration's public_url, else by the
 * listener and the Host field. */
static const char *make_message(struct proving *proving)
{
	struct http_exchange *exchange = proving->exchange;
	const char *data = exchange->head_bytes.data;
	struct buf authority = buf_over(proving->authority, sizeof(proving->authority));
	struct signature_message *message = &proving->message;
	const struct gate_public_url *url = &proving->worker->public_url;
	signature_message_of_head(exchange->head, data, proving->fields, message);
	message->scheme = http_tls(exchange) ? BYTES("https") : BYTES("http");
	if (url->authority[0]) {
		message->scheme = url->tls ? BYTES("https") : BYTES("http");
		message->authority = bytes_from(url->authority);
		message->prefix = bytes_from(url->prefix);
		return NULL;
	}
	if (!signature_authority(http_known(exchange->head, data, HTTP_FIELD_HOST),
				 message->scheme, &authority))
		return "the Host field is too long";
	message->authority = buf_bytes(&authority);
	return NULL;
}

static const char *check_signature(struct proving *proving)
{
	struct buf base = buf_over(proving->base, sizeof(proving->base));
	uint8_t signature[ED25519_SIGNATURE_SIZE];
	struct bytes field;
	if (!field_once(proving, "signature", &field))
		return "there are two Signature fields";
	const char *problem = signature_find(field, proving->input.label, signature);
	if (!problem)
		problem = signature_base(&proving->input, &proving->message, &base);
	if (problem)
		return problem;
	return ed25519_verify(proving->key->sender.public_key, base.data, base.size, signature)
		       ? NULL
		       : "the signature is not the bound key's over this request";
}

static const char *check_head(struct proving *proving)
{
	struct bytes field;
	const char *problem = make_message(proving);
	if (problem)
		return problem;
	if (!field_once(proving, "signature-input", &field))
		return "there are two Signature-Input fields";
	if (!field.data)
		return "the request is not signed (Signature-Input, Signature)";
	problem = signature_input_find(field, TAG, &proving->input);
	if (!problem)
		problem = check_names(proving);
	if (!problem)
		problem = check_time(proving);
	if (!problem)
		problem = check_coverage(proving);
	return problem ? problem : check_signature(proving);
}

/* ---- the body, and once only ---- */

static const char *check_body(const struct proving *proving)
{
	uint8_t told[SHA256_SIZE], digest[SHA256_SIZE];
	struct bytes field, body = proving->exchange->body;
	if (!field_once(proving, "content-digest", &field))
		return "there are two Content-Digest fields";
	if (!field.data && !has_body(proving))
		return NULL;
	const char *problem = signature_content_digest(field, told);
	if (problem)
		return problem;
	sha256_of(body.data, body.size, digest);
	return memcmp(told, digest, sizeof(told)) == 0 ? NULL
						       : "Content-Digest is not that of the body";
}

static const char *take_nonce(const struct proving *proving, bool *full)
{
	switch (nonces_take(gateway_nonces(proving->worker->gateway),
			    proving->key->sender.thumbprint, proving->input.nonce,
			    proving->input.created)) {
	case NONCES_FRESH:
		return NULL;
	case NONCES_SEEN:
		return "the signature's nonce was used before: sign each request anew";
	case NONCES_PAST:
		return "the gateway's clock was put back: sign again in two minutes";
	case NONCES_FULL:
		*full = true;
		return "the gateway has seen as many signed requests as it can remember";
	}
	return "";
}

static bool prove_signature(struct proving *proving, enum gate_proof extent)
{
	bool full = false;
	const char *problem = check_head(proving);
	if (!problem && extent == GATE_PROOF_WHOLE)
		problem = check_body(proving);
	if (!problem && extent == GATE_PROOF_WHOLE)
		problem = take_nonce(proving, &full);
	proving->facts->problem = problem;
	if (problem)
		return !full;
	proving->facts->proved = SENDER_BINDING_SIGNATURE;
	memcpy(proving->facts->thumbprint, proving->key->sender.thumbprint, SHA256_SIZE);
	return true;
}

static void prove_certificate(const struct http_exchange *exchange, struct sender_facts *facts)
{
	const struct tls *tls = http_tls(exchange);
	if (tls && tls_peer_thumbprint(tls, facts->thumbprint))
		facts->proved = SENDER_BINDING_CERTIFICATE;
	else
		facts->problem = "no client certificate was shown on this connection";
}

bool gate_prove_sender(struct gate_worker *worker, struct http_exchange *exchange,
		       struct policy_request *facts, enum gate_proof extent)
{
	const struct world_key *key =
		facts->has_key ? world_find_key(worker->world, facts->key_digest) : NULL;
	struct sender_facts *sender = &facts->sender;
	sender->proved = SENDER_BINDING_NONE;
	sender->problem = NULL;
	if (!key || key->sender.binding == SENDER_BINDING_NONE)
		return true;
	if (key->sender.binding == SENDER_BINDING_CERTIFICATE) {
		prove_certificate(exchange, sender);
		return true;
	}
	/* Kept apart from the stack: it has the whole signature base. */
	struct proving *proving = worker->proving;
	proving->worker = worker;
	proving->exchange = exchange;
	proving->key = key;
	proving->facts = sender;
	return prove_signature(proving, extent);
}

size_t gate_proving_size(void)
{
	return sizeof(struct proving);
}
