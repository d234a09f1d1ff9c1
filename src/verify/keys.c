#include "verify/keys.h"

#include "base/encode.h"
#include <stdio.h>
#include <stdlib.h>

static bool add_log(struct verify_keys *keys, const struct note_key *key)
{
	struct note_key *logs = reallocarray(keys->logs, keys->log_count + 1, sizeof(*logs));
	if (!logs)
		return false;
	keys->logs = logs;
	logs[keys->log_count++] = *key;
	return true;
}

static bool add_evaluator(struct verify_keys *keys, const uint8_t key[static ED25519_KEY_SIZE])
{
	uint8_t(*list)[ED25519_KEY_SIZE] =
		reallocarray(keys->evaluators, keys->evaluator_count + 1, sizeof(*list));
	if (!list)
		return false;
	keys->evaluators = list;
	memcpy(list[keys->evaluator_count++], key, ED25519_KEY_SIZE);
	return true;
}

/* ERR_INVALID if the word is no key of either kind. */
static enum err_code add_key(struct verify_keys *keys, struct bytes word, struct err *err)
{
	struct note_key key;
	uint8_t public_key[ED25519_KEY_SIZE];
	if (keys->log_count + keys->evaluator_count >= VERIFY_KEYS_MAX)
		return ERR_SET(err, ERR_TOO_LARGE, "there are more than %u keys", VERIFY_KEYS_MAX);
	bool added;
	if (note_key_parse(word, &key, err) == ERR_OK)
		added = add_log(keys, &key);
	else if (base64_decode_exact(word, public_key, sizeof(public_key)))
		added = add_evaluator(keys, public_key);
	else if (note_cosigner_parse(word, &key, NULL) == ERR_OK)
		return ERR_SET(err, ERR_INVALID,
			       "%s is the key of a witness: name it in a policy (--policy)",
			       key.name);
	else
		return ERR_SET(
			err, ERR_INVALID,
			"\"%.*s\" is neither a verifier key (name+id+base64) nor a public key "
			"(base64 of 32 bytes)",
			(int)(word.size < 100 ? word.size : 100), word.data);
	return added ? ERR_OK : ERR_SET(err, ERR_NO_MEMORY, "out of memory for keys");
}

static struct bytes last_word(struct bytes line)
{
	size_t start = line.size;
	while (start > 0 && line.data[start - 1] != ' ' && line.data[start - 1] != '\t')
		start--;
	return bytes_of(line.data + start, line.size - start);
}

static struct bytes trim_line(struct bytes line)
{
	if (line.size > 0 && line.data[line.size - 1] == '\r')
		line.size--;
	return bytes_trim(line);
}

enum err_code verify_keys_parse(struct bytes text, const char *what, struct verify_keys *keys,
				struct err *err)
{
	unsigned number = 0;
	while (text.size > 0) {
		struct bytes line = trim_line(bytes_split(text, '\n', &text));
		number++;
		if (line.size == 0 || line.data[0] == '#')
			continue;
		if (add_key(keys, last_word(line), err) != ERR_OK)
			return err_prefix(err, "%s:%u", what, number);
	}
	return ERR_OK;
}

/* Where the first line stands that begins a note of a rotation, behind the keys; else the end. */
static size_t notes_start(struct bytes text)
{
	static const char title[] = "\n" KEY_ROTATION_TITLE "\n";
	if (bytes_starts_with(text, BYTES(KEY_ROTATION_TITLE "\n")))
		return 0;
	const char *at = bytes_find(text, bytes_from(title));
	return at ? (size_t)(at - text.data) + 1 : text.size;
}

static enum err_code read_file(struct env *env, const char *path, struct verify_keys *keys,
			       struct err *err)
{
	struct buf text = BUF_INIT(VERIFY_KEY_FILE_MAX);
	enum err_code code = env_read_file(env, path, &text, err);
	size_t keys_end = notes_start(buf_bytes(&text));
	if (code == ERR_OK && bytes_find(buf_bytes(&text), BYTES("PRIVATE KEY-----")))
		code = ERR_SET(err, ERR_INVALID,
			       "%s is a private key: keep it, and give the public one (a log's is "
			       "what /log/vkey serves; `parley keygen` prints an evaluator's)",
			       path);
	if (code == ERR_OK)
		code = verify_keys_parse(bytes_of(text.data, keys_end), path, keys, err);
	if (code == ERR_OK && keys_end < text.size)
		buf_append(&keys->notes, text.data + keys_end, text.size - keys_end);
	buf_release(&text);
	if (keys->notes.failed)
		return ERR_SET(err, ERR_TOO_LARGE, "%s: too many notes of rotations", path);
	return code;
}

/* The notes that the reader gave, once more when keys came. */
static enum err_code follow_given(struct verify_keys *keys, struct err *err)
{
	return verify_keys_follow(buf_bytes(&keys->notes), "notes of rotations", keys, err);
}

enum err_code verify_keys_read(struct env *env, const char *const *texts, size_t count,
			       struct verify_keys *keys, struct err *err)
{
	*keys = (struct verify_keys){.notes = BUF_INIT(KEY_ROTATIONS_TEXT_MAX)};
	for (size_t i = 0; i <= count; i++) {
		enum err_code code;
		if (i == count)
			code = follow_given(keys, err);
		else if (env_file_exists(env, texts[i]))
			code = read_file(env, texts[i], keys, err);
		else
			code = add_key(keys, bytes_trim(bytes_from(texts[i])), err);
		if (code == ERR_NO_MEMORY || code == ERR_ENVIRONMENT)
			return code;
		if (code != ERR_OK) {
			err_prefix(err, "--key");
			if (err)
				err->code = ERR_USAGE;
			return ERR_USAGE;
		}
	}
	return ERR_OK;
}

/* ---- policies ---- */

static enum err_code take_policy(struct bytes text, struct verify_keys *keys, struct err *err)
{
	ERR_TRY(trust_policy_parse(text, &keys->policy, err));
	for (unsigned i = 0; i < keys->policy->log_count; i++)
		if (!add_log(keys, &keys->policy->logs[i].key))
			return ERR_SET(err, ERR_NO_MEMORY, "out of memory for keys");
	return follow_given(keys, err);
}

enum err_code verify_keys_policy(struct env *env, const char *path, struct verify_keys *keys,
				 struct err *err)
{
	struct buf text = BUF_INIT(TRUST_TEXT_MAX);
	enum err_code code = env_read_file(env, path, &text, err);
	if (code == ERR_OK)
		code = take_policy(buf_bytes(&text), keys, err);
	buf_release(&text);
	if (code == ERR_OK || code == ERR_NO_MEMORY || code == ERR_ENVIRONMENT)
		return code;
	err_prefix(err, "--policy %s", path);
	if (err)
		err->code = ERR_USAGE;
	return ERR_USAGE;
}

/* The one line that a tlog-policy must have. */
static bool is_policy(struct bytes text)
{
	while (text.size > 0)
		if (bytes_starts_with(bytes_trim(bytes_split(text, '\n', &text)), BYTES("quorum ")))
			return true;
	return false;
}

enum err_code verify_keys_own(struct bytes text, const char *what, struct verify_keys *keys,
			      struct err *err)
{
	if (!is_policy(text))
		return verify_keys_parse(text, what, keys, err);
	enum err_code code = take_policy(text, keys, err);
	return code == ERR_OK ? ERR_OK : err_prefix(err, "%s", what);
}

/* ---- rotations ---- */

static bool knows(const struct verify_keys *keys, const struct note_key *key)
{
	for (size_t i = 0; i < keys->log_count; i++)
		if (memcmp(&keys->logs[i], key, sizeof(*key)) == 0)
			return true;
	return false;
}

static bool same_key(const struct note_key *a, const struct note_key *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

/* Kept for words that explain, whether or not it leads to a key. */
static bool keep_rotation(struct verify_keys *keys, const struct key_rotation *rotation)
{
	for (size_t i = 0; i < keys->handed_count; i++)
		if (same_key(&keys->handed[i].from, &rotation->from) &&
		    same_key(&keys->handed[i].to, &rotation->to))
			return true;
	if (keys->handed_count >= VERIFY_KEYS_MAX)
		return true;
	struct key_rotation *grown =
		reallocarray(keys->handed, keys->handed_count + 1, sizeof(*grown));
	if (!grown)
		return false;
	keys->handed = grown;
	grown[keys->handed_count++] = *rotation;
	return true;
}

/* In whatever order they stand: once more as long as something was added. */
enum err_code verify_keys_follow(struct bytes notes, const char *what, struct verify_keys *keys,
				 struct err *err)
{
	bool added = true;
	for (unsigned round = 0; added && round < KEY_ROTATIONS_MAX; round++) {
		struct bytes rest = notes;
		added = false;
		for (unsigned count = 0; rest.size > 0; count++) {
			struct key_rotation rotation;
			if (count == KEY_ROTATIONS_MAX)
				return ERR_SET(err, ERR_TOO_LARGE, "%s: more than %u rotations",
					       what, KEY_ROTATIONS_MAX);
			if (key_rotation_open(key_rotation_next(rest, &rest), &rotation, err) !=
			    ERR_OK)
				return err_prefix(err, "%s", what);
			if (!keep_rotation(keys, &rotation))
				return ERR_SET(err, ERR_NO_MEMORY, "out of memory for keys");
			if (!knows(keys, &rotation.from) || knows(keys, &rotation.to))
				continue;
			if (!add_log(keys, &rotation.to))
				return ERR_SET(err, ERR_NO_MEMORY, "out of memory for keys");
			keys->rotated++;
			added = true;
		}
	}
	return ERR_OK;
}

enum err_code verify_keys_follow_file(struct env *env, const char *path, const char *what,
				      struct verify_keys *keys, struct err *err)
{
	struct buf text = BUF_INIT(KEY_ROTATIONS_TEXT_MAX);
	if (!env_file_exists(env, path))
		return ERR_OK;
	enum err_code code = env_read_file(env, path, &text, err);
	if (code == ERR_OK)
		code = verify_keys_follow(buf_bytes(&text), what, keys, err);
	buf_release(&text);
	return code;
}

/* ---- a key that is another ---- */

/* The line that a log has signed with: by its name, of an Ed25519 signature's size. NULL: none. */
static const struct note_signature *log_signature(const struct note *note, const char *origin)
{
	for (unsigned i = 0; i < note->count; i++) {
		uint8_t bytes[4 + ED25519_SIGNATURE_SIZE];
		if (bytes_is(note->signatures[i].name, origin) &&
		    base64_decode_exact(note->signatures[i].base64, bytes, sizeof(bytes)))
			return &note->signatures[i];
	}
	return NULL;
}

/* Whether the key with this id was handed on, and on, to one that is known. */
static bool leads_to_known(const struct verify_keys *keys, const char *origin, const uint8_t id[4])
{
	const uint8_t *at = id;
	for (size_t step = 0; step <= keys->handed_count; step++) {
		const struct key_rotation *next = NULL;
		for (size_t i = 0; i < keys->handed_count && !next; i++)
			if (memcmp(keys->handed[i].from.id, at, 4) == 0 &&
			    strcmp(keys->handed[i].from.name, origin) == 0)
				next = &keys->handed[i];
		if (!next)
			return false;
		if (knows(keys, &next->to))
			return true;
		at = next->to.id;
	}
	return false;
}

static void list_ids(const struct verify_keys *keys, const char *origin, char *out, size_t size)
{
	const struct note_key *key;
	size_t at = 0, used = 0;
	char hex[9];
	out[0] = '\0';
	while ((key = verify_keys_next(keys, origin, &at)) && used + 16 < size) {
		hex_encode(key->id, sizeof(key->id), hex);
		used += (size_t)snprintf(out + used, size - used, "%s%s", used ? ", " : "", hex);
	}
}

void verify_keys_differ(const struct verify_keys *keys, const struct note *note, const char *origin,
			const char *whose, char *out, size_t size)
{
	const struct note_signature *signature = log_signature(note, origin);
	char ids[128], hex[9] = "";
	list_ids(keys, origin, ids, sizeof(ids));
	if (signature)
		hex_encode(signature->id, sizeof(signature->id), hex);
	if (!signature)
		snprintf(out, size, "not signed with the key %s (%s), nor by its log at all", whose,
			 ids);
	else if (leads_to_known(keys, origin, signature->id))
		snprintf(out, size,
			 "not signed with the key %s (%s) but with the one before it (%s), which "
			 "was handed on later: a key vouches for those after it, not for those "
			 "before; give the older one with --key too",
			 whose, ids, hex);
	else
		snprintf(
			out, size,
			"not signed with the key %s (%s) but with another (%s): somebody else made "
			"this log, or it is of before or after a rotation of its key; then give "
			"the other one too, or the log's notes on it (a file of what "
			"/log/key-rotations serves), with --key",
			whose, ids, hex);
}

void verify_keys_release(struct verify_keys *keys)
{
	free(keys->policy);
	free(keys->handed);
	buf_release(&keys->notes);
	free(keys->logs);
	free(keys->evaluators);
	*keys = (struct verify_keys){0};
}

const struct note_key *verify_keys_next(const struct verify_keys *keys, const char *name,
					size_t *at)
{
	while (*at < keys->log_count) {
		const struct note_key *key = &keys->logs[(*at)++];
		if (strcmp(key->name, name) == 0)
			return key;
	}
	return NULL;
}
