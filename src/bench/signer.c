#include "bench/signer.h"

#include "base/encode.h"
#include "env/key_file.h"

#define NONCE_SIZE 18

enum err_code signer_open(struct signer *signer, struct env *env, const char *file, bool tls,
			  struct err *err)
{
	uint8_t public_key[ED25519_KEY_SIZE], thumbprint[SHA256_SIZE];
	*signer = (struct signer){.env = env, .tls = tls};
	ERR_TRY(key_file_read(env, file, &signer->key, err));
	ed25519_public(signer->key, public_key);
	ed25519_thumbprint(public_key, thumbprint);
	ed25519_thumbprint_text(thumbprint, signer->key_id);
	return ERR_OK;
}

void signer_close(struct signer *signer)
{
	ed25519_free(signer->key);
	signer->key = NULL;
}

static bool write_signature(const struct signer *signer, const struct signer_request *request,
			    struct buf *out)
{
	struct signature_field fields[SIGNATURE_COMPONENTS_MAX];
	uint8_t random[NONCE_SIZE];
	char nonce[2 * NONCE_SIZE + 1];
	struct buf authority = BUF_INIT(HTTP_TARGET_MAX);
	struct signature_message message = {.method = bytes_from(request->method),
					    .scheme = signer->tls ? BYTES("https") : BYTES("http"),
					    .fields = fields};
	message.path = bytes_split(request->target, '?', &message.query);
	for (size_t i = 0; i < request->field_count; i++)
		if (bytes_starts_with(request->names[i], BYTES("parley-")) &&
		    message.field_count + 3 < SIGNATURE_COMPONENTS_MAX)
			fields[message.field_count++] =
				(struct signature_field){request->names[i], request->values[i]};
	env_random(signer->env, random, sizeof(random));
	hex_encode(random, sizeof(random), nonce);
	struct signature_signing signing = {.key = signer->key,
					    .key_id = signer->key_id,
					    .tag = "parley",
					    .nonce = nonce,
					    .created = request->wall_ms / 1000,
					    .has_body = request->has_body,
					    .body = request->body};
	bool good = signature_authority(request->authority, message.scheme, &authority);
	message.authority = buf_bytes(&authority);
	good = good && signature_sign(&signing, &message, out);
	buf_release(&authority);
	return good;
}

void signer_sign(const struct signer *signer, const struct signer_request *request,
		 struct buf *head)
{
	if (!signer->key || head->failed || head->size < 2)
		return;
	head->size -= 2;
	if (!write_signature(signer, request, head))
		head->failed = true;
	buf_append_cstr(head, "\r\n");
}
