/* The logs' signing key handed on to a new one: `parley log rotate-key`.
 *
 * The new key and the two notes that hand on (one for each log, signed by both keys) are written
 * beside first; the act record, which holds the notes, is the commit; then the notes go into the
 * logs' directories, the new key takes the old one's file, and the next checkpoints are signed with
 * it. A start that finds the new key beside looks for the record: with it, the rest is done;
 * without it, the new key is given up. */
#include "gate/rotate.h"

#include "env/key_file.h"
#include "ledger/key_rotation.h"

#include <stdio.h>
#include <stdlib.h>

#define KEY_FILE "signing.key"
#define NEXT_FILE "signing.key.next"
#define NOTES_FILE "rotation.pending"
#define ACT "log.rotate_key"
#define PATH_SIZE 1024

struct rotation {
	struct gateway *gateway;
	struct ed25519_private *key; /* the new one */
	struct buf notes[CONTROL_LOGS];
	struct buf detail;
	struct control_record record;
	char text[RECORD_SIZE_MAX];
	char person[128], reason[1100];
	gateway_rotated *done;
	void *argument;
};

static const char *const note_names[CONTROL_LOGS] = {
	[CONTROL_EVALUATION] = "evaluation", [CONTROL_USAGE] = "usage"};

static void free_rotation(struct rotation *rotation)
{
	if (!rotation)
		return;
	ed25519_free(rotation->key);
	for (int log = 0; log < CONTROL_LOGS; log++)
		buf_release(&rotation->notes[log]);
	buf_release(&rotation->detail);
	free(rotation);
}

static struct rotation *new_rotation(struct gateway *gateway)
{
	struct rotation *rotation = calloc(1, sizeof(*rotation));
	if (!rotation)
		return NULL;
	rotation->gateway = gateway;
	for (int log = 0; log < CONTROL_LOGS; log++)
		buf_init(&rotation->notes[log], NOTE_SIZE_MAX);
	buf_init(&rotation->detail, RECORD_SIZE_MAX);
	return rotation;
}

static enum err_code path_of(const struct gateway *gateway, const char *name,
			     char out[static PATH_SIZE], struct err *err)
{
	return config_data_path(gateway->config, name, out, PATH_SIZE, err);
}

static enum err_code forget(struct gateway *gateway, const char *name, struct err *err)
{
	char path[PATH_SIZE];
	ERR_TRY(path_of(gateway, name, path, err));
	return env_unlink(gateway->env, path, err);
}

static enum err_code read_key(struct gateway *gateway, struct ed25519_private **out,
			      struct err *err)
{
	char path[PATH_SIZE];
	ERR_TRY(path_of(gateway, NEXT_FILE, path, err));
	return key_file_read(gateway->env, path, out, err);
}

/* ---- before the record ---- */

static enum err_code write_note(struct rotation *rotation, enum control_log which, struct err *err)
{
	struct gateway *gateway = rotation->gateway;
	struct key_rotation handed = {.size = log_next_index(gateway->logs[which])};
	uint8_t from[ED25519_KEY_SIZE], to[ED25519_KEY_SIZE];
	ed25519_public(gateway->key, from);
	ed25519_public(rotation->key, to);
	ERR_TRY(note_key_init(&handed.from, gateway->origins[which], from, err));
	ERR_TRY(note_key_init(&handed.to, gateway->origins[which], to, err));
	return key_rotation_sign(&handed, gateway->key, rotation->key, &rotation->notes[which],
				 err);
}

/* {"evaluation": note, "usage": note} */
static enum err_code write_detail(struct rotation *rotation, struct err *err)
{
	json_t *object = json_object();
	bool good = object != NULL;
	for (int log = 0; log < CONTROL_LOGS; log++)
		good = good && json_object_set_new(object, note_names[log],
						   json_stringn(rotation->notes[log].data,
								rotation->notes[log].size)) == 0;
	enum err_code code = good ? json_canonical(object, &rotation->detail, err)
				  : ERR_SET(err, ERR_NO_MEMORY, "out of memory");
	json_decref(object);
	return code == ERR_OK && rotation->detail.failed
		       ? ERR_SET(err, ERR_NO_MEMORY, "out of memory")
		       : code;
}

static enum err_code prepare(struct rotation *rotation, struct err *err)
{
	struct gateway *gateway = rotation->gateway;
	char path[PATH_SIZE];
	ERR_TRY(forget(gateway, NEXT_FILE, err));
	ERR_TRY(path_of(gateway, NEXT_FILE, path, err));
	ERR_TRY(config_make_key(gateway->env, path, err));
	ERR_TRY(read_key(gateway, &rotation->key, err));
	for (int log = 0; log < CONTROL_LOGS; log++)
		ERR_TRY(write_note(rotation, (enum control_log)log, err));
	ERR_TRY(write_detail(rotation, err));
	ERR_TRY(path_of(gateway, NOTES_FILE, path, err));
	return env_write_file(gateway->env, path, buf_bytes(&rotation->detail), 0600, err);
}

/* ---- after it ---- */

static enum err_code certify(struct gateway *gateway, struct err *err)
{
	struct buf note = BUF_INIT(NOTE_SIZE_MAX);
	/* At start the control plane is not there yet, and begins with the new key. */
	if (!gateway->control)
		return ERR_OK;
	ERR_TRY(control_set_log_key(gateway->control, gateway->key, err));
	ERR_TRY(control_certify(gateway->control, CONTROL_SIGN_VERDICTS, &note, err));
	pthread_mutex_lock(&gateway->note_lock);
	struct buf old = gateway->verdict_note;
	gateway->verdict_note = note;
	pthread_mutex_unlock(&gateway->note_lock);
	buf_release(&old);
	return ERR_OK;
}

/* Each step may have been done before. */
static enum err_code complete(struct rotation *rotation, struct err *err)
{
	struct gateway *gateway = rotation->gateway;
	char from[PATH_SIZE], to[PATH_SIZE];
	for (int log = 0; log < CONTROL_LOGS; log++)
		ERR_TRY(log_keep_rotation(gateway->logs[log], buf_bytes(&rotation->notes[log]),
					  err));
	ERR_TRY(path_of(gateway, NEXT_FILE, from, err));
	ERR_TRY(path_of(gateway, KEY_FILE, to, err));
	ERR_TRY(env_rename(gateway->env, from, to, err));
	ERR_TRY(env_sync_directory(gateway->env, gateway->config->data, err));
	/* The logs may still be signing with the old one: it is kept until they are closed. */
	gateway->retired[gateway->retired_count++] = gateway->key;
	gateway->key = rotation->key;
	rotation->key = NULL;
	for (int log = 0; log < CONTROL_LOGS; log++)
		ERR_TRY(log_set_key(gateway->logs[log], gateway->key, err));
	ERR_TRY(certify(gateway, err));
	return forget(gateway, NOTES_FILE, err);
}

static json_t *tell(const struct rotation *rotation)
{
	struct buf vkey = BUF_INIT(1024);
	log_append_vkey(rotation->gateway->logs[CONTROL_EVALUATION], &vkey);
	json_t *answer = json_pack("{s:s%, s:s, s:s}", "vkey", vkey.data, vkey.size, "record",
				   rotation->record.id, "rotation",
				   rotation->notes[CONTROL_EVALUATION].data);
	buf_release(&vkey);
	return answer;
}

static void end(struct rotation *rotation, enum err_code code, const struct err *err)
{
	json_t *answer = code == ERR_OK ? tell(rotation) : NULL;
	rotation->gateway->rotation = NULL;
	rotation->done(rotation->argument, code == ERR_OK ? 200 : (unsigned)err_http_status(code),
		       answer, err);
	json_decref(answer);
	free_rotation(rotation);
}

static void recorded(struct control_record *record, enum err_code code)
{
	struct rotation *rotation = record->argument;
	struct err err = ERR_INIT;
	if (code != ERR_OK) {
		forget(rotation->gateway, NEXT_FILE, NULL);
		forget(rotation->gateway, NOTES_FILE, NULL);
		ERR_SET(&err, code, "the log has no room for the record of it");
	} else {
		code = complete(rotation, &err);
		if (code != ERR_OK)
			err_prefix(&err, "the key is handed on, by the record; the next start of "
					 "the gateway finishes it");
	}
	end(rotation, code, &err);
}

static void record_it(struct rotation *rotation)
{
	struct record act = RECORD_INIT;
	act.kind = RECORD_ACT;
	act.act = BYTES(ACT);
	act.person = bytes_from(rotation->person);
	act.reason = bytes_from(rotation->reason);
	act.detail = buf_bytes(&rotation->detail);
	rotation->record = (struct control_record){.log = CONTROL_EVALUATION,
						   .record = act,
						   .done = recorded,
						   .argument = rotation,
						   .text = rotation->text,
						   .capacity = sizeof(rotation->text)};
	gateway_hook_record(rotation->gateway, &rotation->record);
}

static enum err_code check(const struct gateway *gateway, const char *reason, struct err *err)
{
	if (gateway->rotation || gateway->stopping || gateway->over)
		return ERR_SET(err, ERR_CONFLICT, "%s",
			       gateway->rotation ? "the key is being handed on already"
						 : "the gateway is stopping");
	if (!*reason || strlen(reason) > 1000 || !bytes_is_utf8(bytes_from(reason)))
		return ERR_SET(err, ERR_USAGE,
			       "say why the key changes, in 1 to 1000 bytes: --reason TEXT");
	if (gateway->retired_count == GATEWAY_RETIRED_MAX)
		return ERR_SET(
			err, ERR_CONFLICT,
			"the key was handed on %d times since the start; restart the gateway "
			"first",
			GATEWAY_RETIRED_MAX);
	return ERR_OK;
}

void gateway_rotate_key(struct gateway *gateway, const char *person, const char *reason,
			gateway_rotated *done, void *argument)
{
	struct err err = ERR_INIT;
	struct rotation *rotation = NULL;
	enum err_code code = check(gateway, reason, &err);
	if (code == ERR_OK) {
		rotation = new_rotation(gateway);
		code = rotation ? prepare(rotation, &err)
				: ERR_SET(&err, ERR_NO_MEMORY, "out of memory");
	}
	if (code != ERR_OK) {
		done(argument, (unsigned)err_http_status(code), NULL, &err);
		free_rotation(rotation);
		return;
	}
	snprintf(rotation->person, sizeof(rotation->person), "%s", person);
	snprintf(rotation->reason, sizeof(rotation->reason), "%s", reason);
	rotation->done = done;
	rotation->argument = argument;
	gateway->rotation = rotation;
	record_it(rotation);
}

/* ---- at start ---- */

struct search {
	const struct rotation *rotation;
	bool found;
};

static void look_for(void *argument, struct bytes line, bool *stop)
{
	struct search *search = argument;
	json_t *record = NULL;
	if (!memmem(line.data, line.size, ACT, strlen(ACT)) ||
	    json_parse(line, "record", &record, NULL) != ERR_OK)
		return;
	const char *act = json_string_value(json_object_get(record, "act"));
	const char *note = json_string_value(
		json_object_get(json_object_get(record, "detail"), note_names[CONTROL_EVALUATION]));
	*stop = act && strcmp(act, ACT) == 0 && note &&
		bytes_is(buf_bytes(&search->rotation->notes[CONTROL_EVALUATION]), note);
	search->found |= *stop;
	json_decref(record);
}

static enum err_code read_notes(struct rotation *rotation, struct err *err)
{
	char path[PATH_SIZE];
	json_t *object = NULL;
	ERR_TRY(path_of(rotation->gateway, NOTES_FILE, path, err));
	ERR_TRY(env_read_file(rotation->gateway->env, path, &rotation->detail, err));
	ERR_TRY(json_parse(buf_bytes(&rotation->detail), NOTES_FILE, &object, err));
	for (int log = 0; log < CONTROL_LOGS; log++)
		buf_append_cstr(&rotation->notes[log], json_text(object, note_names[log]));
	json_decref(object);
	return ERR_OK;
}

static enum err_code settle(struct rotation *rotation, struct err *err)
{
	struct gateway *gateway = rotation->gateway;
	struct search search = {.rotation = rotation};
	struct key_rotation handed;
	/* The notes are written after the key and before the record. */
	if (read_notes(rotation, NULL) == ERR_OK &&
	    key_rotation_open(buf_bytes(&rotation->notes[CONTROL_EVALUATION]), &handed, NULL) ==
		    ERR_OK)
		ERR_TRY(gateway_hook_scan(gateway, CONTROL_EVALUATION, handed.size, look_for,
					  &search, err));
	if (search.found) {
		ERR_TRY(read_key(gateway, &rotation->key, err));
		return complete(rotation, err);
	}
	ERR_TRY(forget(gateway, NEXT_FILE, err));
	return forget(gateway, NOTES_FILE, err);
}

enum err_code gateway_settle_rotation(struct gateway *gateway, struct err *err)
{
	char path[PATH_SIZE];
	ERR_TRY(path_of(gateway, NEXT_FILE, path, err));
	if (!env_file_exists(gateway->env, path))
		return forget(gateway, NOTES_FILE, err);
	struct rotation *rotation = new_rotation(gateway);
	if (!rotation)
		return ERR_SET(err, ERR_NO_MEMORY, "out of memory");
	enum err_code code = settle(rotation, err);
	free_rotation(rotation);
	return code == ERR_OK ? ERR_OK : err_prefix(err, "handing on the logs' key");
}
