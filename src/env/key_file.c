#include "env/key_file.h"

#define KEY_FILE_MAX 65536

enum err_code key_file_read(struct env *env, const char *path, struct ed25519_private **out,
			    struct err *err)
{
	struct buf pem = BUF_INIT(KEY_FILE_MAX);
	*out = NULL;
	enum err_code code = env_read_file(env, path, &pem, err);
	if (code == ERR_OK && (code = ed25519_from_pem(buf_bytes(&pem), out, err)) != ERR_OK)
		err_prefix(err, "%s", path);
	if (pem.data)
		explicit_bzero(pem.data, pem.size);
	buf_release(&pem);
	return code;
}
