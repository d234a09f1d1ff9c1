#include "cmd/admin_body.h"

#include "base/ed25519_public.h"

#define KEY_FILE_MAX 65536

bool admin_is_id(const char *text)
{
	return text[0] &&
	       text[strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
				 "._-")] == '\0';
}

enum err_code admin_add_public_key(json_t *body, const char *file, struct err *err)
{
	uint8_t public_key[ED25519_KEY_SIZE];
	struct buf text = BUF_INIT(KEY_FILE_MAX);
	struct env *env = env_os_new(1);
	enum err_code code = env ? env_read_file(env, file, &text, err)
				 : ERR_SET(err, ERR_NO_MEMORY, "out of memory");
	if (code == ERR_OK)
		code = ed25519_public_parse(buf_bytes(&text), file, public_key, err);
	if (code == ERR_OK &&
	    json_object_set_new(body, "public_key", json_stringn(text.data, text.size)))
		code = ERR_SET(err, ERR_INVALID, "%s is not UTF-8", file);
	if (text.data)
		explicit_bzero(text.data, text.size);
	buf_release(&text);
	env_os_free(env);
	return code;
}

void admin_add_limits(json_t *body, const struct cli_list *list)
{
	json_t *limits = json_object();
	for (size_t i = 0; i < list->count; i++) {
		struct bytes value, name = bytes_split(bytes_from(list->items[i]), '=', &value);
		uint64_t number = 0;
		/* What is no number goes as it is: the gateway says so, and names it. */
		bool good = bytes_to_u64(value, INT64_MAX, &number);
		json_object_setn_new(limits, name.data, name.size,
				     good ? json_integer((json_int_t)number)
					  : json_stringn(value.data ? value.data : "", value.size));
	}
	json_object_set_new(body, "limits", limits);
}
