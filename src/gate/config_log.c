/* `log` of parley.yaml: who may read entries, and the witnesses that cosign checkpoints. */
#include "gate/config_internal.h"

#include <string.h>

/* A key of a witness, with a name that can stand in a label of /metrics. */
static enum err_code read_key(struct reading *reading, const json_t *row,
			      struct config_witness *out)
{
	const char *text;
	struct err reason = ERR_INIT;
	ERR_TRY(yaml_get_string(reading->tree, row, "key", &text, reading->err));
	if (note_cosigner_parse(bytes_from(text), &out->key, &reason) != ERR_OK)
		return yaml_fail(reading->tree, row, "key", reading->err, ERR_INVALID,
				 "%s (a witness tells its key: parley witness --vkey)",
				 reason.message);
	if (strpbrk(out->key.name, "\"\\"))
		return yaml_fail(reading->tree, row, "key", reading->err, ERR_INVALID,
				 "has a name with \" or \\ in it");
	return ERR_OK;
}

static enum err_code read_witness(struct reading *reading, const json_t *list, size_t index,
				  struct config_witness *out)
{
	static const char *const keys[] = {"key", "url", NULL};
	const json_t *row = json_array_get(list, index);
	const char *url;
	if (!json_is_object(row))
		return yaml_fail_at(reading->tree, list, index, reading->err, ERR_INVALID,
				    "must be a mapping: { key: …, url: … }");
	ERR_TRY(yaml_only_keys(reading->tree, row, keys, reading->err));
	ERR_TRY(read_key(reading, row, out));
	ERR_TRY(yaml_get_string(reading->tree, row, "url", &url, reading->err));
	if (!config_is_base_url(url))
		return yaml_fail(reading->tree, row, "url", reading->err, ERR_INVALID,
				 "must be like https://witness.example, without user, query or "
				 "fragment; /add-checkpoint follows it");
	ERR_TRY(config_keep(reading, url, &out->url));
	for (size_t i = 0; i < index; i++)
		if (memcmp(reading->config->log.witnesses[i].key.public_key, out->key.public_key,
			   ED25519_KEY_SIZE) == 0)
			return yaml_fail(reading->tree, row, "key", reading->err, ERR_INVALID,
					 "stands there twice: a witness counts once");
	return ERR_OK;
}

static enum err_code read_witnesses(struct reading *reading, const json_t *log)
{
	struct config_log *out = &reading->config->log;
	json_t *list;
	int64_t quorum;
	ERR_TRY(yaml_get_container(reading->tree, log, "witnesses", JSON_ARRAY, true, &list,
				   reading->err));
	size_t count = json_array_size(list);
	if (count > CONFIG_WITNESSES_MAX)
		return yaml_fail(reading->tree, log, "witnesses", reading->err, ERR_INVALID,
				 "names at most %u", CONFIG_WITNESSES_MAX);
	if (count > 0) {
		out->witnesses =
			arena_alloc_zero(&reading->config->arena, count * sizeof(*out->witnesses));
		if (!out->witnesses)
			return config_no_memory(reading->err);
	}
	for (size_t i = 0; i < count; i++)
		ERR_TRY(read_witness(reading, list, i, &out->witnesses[i]));
	out->witness_count = (unsigned)count;
	if (count == 0 && json_object_get(log, "quorum"))
		return yaml_fail(reading->tree, log, "quorum", reading->err, ERR_INVALID,
				 "is of witnesses, and none is named");
	ERR_TRY(yaml_get_integer_or(reading->tree, log, "quorum", 1, count ? (int64_t)count : 1, 1,
				    &quorum, reading->err));
	out->quorum = (unsigned)quorum;
	return ERR_OK;
}

static enum err_code read_marks(struct reading *reading, const json_t *log)
{
	const char *path;
	if (!json_object_get(log, "marks"))
		return ERR_OK;
	ERR_TRY(yaml_get_string(reading->tree, log, "marks", &path, reading->err));
	return config_keep_path(reading, path, &reading->config->log.marks);
}

static bool same_text(const char *a, const char *b)
{
	return a == b || (a && b && strcmp(a, b) == 0);
}

enum err_code config_read_log(struct reading *reading)
{
	static const char *const keys[] = {"entries", "witnesses", "quorum", "ca", "marks", NULL};
	static const char *const words[] = {"members", "public", NULL};
	json_t *log;
	unsigned place = 0;
	ERR_TRY(yaml_get_container(reading->tree, reading->root, "log", JSON_OBJECT, true, &log,
				   reading->err));
	if (!log)
		return ERR_OK;
	ERR_TRY(yaml_only_keys(reading->tree, log, keys, reading->err));
	if (json_object_get(log, "entries"))
		ERR_TRY(yaml_get_choice(reading->tree, log, "entries", words, &place,
					reading->err));
	reading->config->log.entries_public = place == 1;
	ERR_TRY(read_marks(reading, log));
	ERR_TRY(read_witnesses(reading, log));
	return config_read_authorities(reading, log, &reading->config->log.authorities);
}

bool config_same_log(const struct config_log *a, const struct config_log *b)
{
	struct bytes one = a->authorities.text, other = b->authorities.text;
	if (!same_text(a->marks, b->marks) || a->entries_public != b->entries_public ||
	    a->quorum != b->quorum || a->witness_count != b->witness_count ||
	    !bytes_equal(one, other))
		return false;
	for (unsigned i = 0; i < a->witness_count; i++)
		if (strcmp(a->witnesses[i].url, b->witnesses[i].url) != 0 ||
		    memcmp(&a->witnesses[i].key, &b->witnesses[i].key,
			   sizeof(a->witnesses[i].key)) != 0)
			return false;
	return true;
}
