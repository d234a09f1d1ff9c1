/* `parley log`: a log's directory read without its gateway. */
#include "base/encode.h"
#include "cmd/admin_client.h"
#include "cmd/cli.h"
#include "cmd/commands.h"
#include "cmd/log_files.h"
#include "ledger/cosignature.h"
#include "ledger/key_rotation.h"
#include "ledger/log_read.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>

#define SHOWN_DEFAULT 20
#define INDEX_MAX 9007199254740991.0

/* ---- show ---- */

struct show {
	int64_t from, count;
	bool json;
};

static void show_entry(const struct log_read_entry *entry, bool json)
{
	if (!json)
		printf("%" PRIu64 " ", entry->index);
	cli_print_safe(stdout, entry->text);
	putchar('\n');
}

/* Records stand as they are, one a line; with --json without the index in front. `from` becomes the
 * index behind the last one shown. */
static enum err_code show_records(struct log_reader *reader, struct show *show, struct err *err)
{
	struct log_read_entry entry;
	bool more = true;
	ERR_TRY(log_reader_seek(reader, (uint64_t)show->from, err));
	for (int64_t shown = 0; shown < show->count; shown++) {
		ERR_TRY(log_reader_next(reader, &entry, &more, err));
		if (!more)
			break;
		show_entry(&entry, show->json);
		show->from = (int64_t)entry.index + 1;
	}
	return ERR_OK;
}

static enum err_code run_show(struct env *env, const char *directory, struct show *show,
			      struct err *err)
{
	struct log_reader *reader = NULL;
	ERR_TRY(log_reader_open(env, directory, &reader, err));
	enum err_code code = show_records(reader, show, err);
	log_reader_close(reader);
	return code;
}

/* ---- tail ---- */

#define TAIL_DEFAULT 10
#define TAIL_PAUSE_MS 500 /* a look reads the last segment: 16 MB at most, usually */

/* Where the last `count` records begin, or the first one of fewer. */
static enum err_code find_tail(struct env *env, const char *directory, int64_t count, int64_t *from,
			       struct err *err)
{
	struct log_reader *reader = NULL;
	uint64_t size;
	ERR_TRY(log_reader_open(env, directory, &reader, err));
	enum err_code code = log_reader_size(reader, &size, err);
	if (code == ERR_OK)
		*from = (int64_t)size > count ? (int64_t)size - count : 0;
	log_reader_close(reader);
	return code;
}

/* The last records, then those that come: the directory is looked at anew each time, for there may
 * be further segments. True in *gone when nobody reads any more. */
static enum err_code run_tail(struct env *env, const char *directory, struct show *show,
			      bool follow, bool *gone, struct err *err)
{
	ERR_TRY(find_tail(env, directory, show->count, &show->from, err));
	show->count = INT64_MAX;
	for (;;) {
		ERR_TRY(run_show(env, directory, show, err));
		if (fflush(stdout) != 0 || ferror(stdout)) {
			*gone = errno == EPIPE;
			return ERR_OK;
		}
		if (!follow)
			return ERR_OK;
		poll(NULL, 0, TAIL_PAUSE_MS);
	}
}

/* ---- what the verbs share ---- */

static int finish(struct env *env, enum err_code code, struct err *err)
{
	env_os_free(env);
	errno = 0;
	if ((fflush(stdout) != 0 || ferror(stdout)) && errno != EPIPE) {
		fprintf(stderr, "parley: the output cannot be written\n");
		return 3;
	}
	return code == ERR_OK ? 0 : cli_fail_given(err);
}

static int log_show(int argc, char **argv)
{
	struct show show = {.count = SHOWN_DEFAULT};
	const struct cli_option options[] = {
		{"from",       0, CLI_INTEGER, &show.from, "N", "the first record, from 0", 0, INDEX_MAX},
		{"count", 0, CLI_INTEGER, &show.count, "N", "how many; default 20", 1, INDEX_MAX},
		{"json",         0, CLI_FLAG, &show.json, NULL, "the records alone, one a line", 0, 0},
		{0          },
	};
	const struct cli_command command = {"log show",
					    "DIR [--from N] [--count N] [--json]",
					    "Shows the records of a log's directory, each with its "
					    "index. Also of a log in use.",
					    options,
					    1,
					    1};
	struct cli_arguments arguments;
	struct err err = ERR_INIT;
	int status = cli_parse(&command, argc, argv, &arguments);
	if (status >= 0)
		return status;
	struct env *env = env_os_new(1);
	if (!env)
		return 3;
	return finish(env, run_show(env, arguments.positional[0], &show, &err), &err);
}

static int log_tail(int argc, char **argv)
{
	struct show show = {.count = TAIL_DEFAULT};
	bool follow = false, gone = false;
	const struct cli_option options[] = {
		{"count",      0, CLI_INTEGER, &show.count, "N", "how many; default 10", 0, INDEX_MAX},
		{"follow", 'f', CLI_FLAG, &follow, NULL, "go on with those that come, until Ctrl-C",
		 0, 0},
		{"json",         0, CLI_FLAG, &show.json, NULL, "the records alone, one a line", 0, 0},
		{0          },
	};
	const struct cli_command command = {
		"log tail",
		"DIR [--count N] [--follow] [--json]",
		"Shows the last records of a log's directory, each with its "
		"index. Also of a log in use.",
		options,
		1,
		1};
	struct cli_arguments arguments;
	struct err err = ERR_INIT;
	int status = cli_parse(&command, argc, argv, &arguments);
	if (status >= 0)
		return status;
	struct env *env = env_os_new(1);
	if (!env)
		return 3;
	enum err_code code = run_tail(env, arguments.positional[0], &show, follow, &gone, &err);
	if (!gone)
		return finish(env, code, &err);
	env_os_free(env);
	return 0;
}

/* ---- prove ---- */

struct prove {
	bool json, bare;
};

/* With its record in the extra line the proof is a receipt that stands by itself. */
static enum err_code embed(struct bytes record, const struct buf *bare, struct buf *out,
			   struct err *err)
{
	struct proof proof;
	struct buf extra = BUF_INIT(2 * RECORD_SIZE_MAX);
	ERR_TRY(proof_parse(buf_bytes(bare), &proof, err));
	base64_append(&extra, record.data, record.size);
	proof.extra = buf_bytes(&extra);
	proof_format(&proof, out);
	bool failed = extra.failed || out->failed;
	buf_release(&extra);
	return failed ? ERR_SET(err, ERR_NO_MEMORY, "out of memory for the proof") : ERR_OK;
}

/* With the notes by which the log's key was handed on, if it was. */
static enum err_code print_pair(struct env *env, const char *directory, const struct buf *record,
				const struct buf *proof, struct err *err)
{
	struct buf notes = BUF_INIT(KEY_ROTATIONS_TEXT_MAX);
	char path[4096];
	snprintf(path, sizeof(path), "%s/" KEY_ROTATIONS_FILE, directory);
	enum err_code code =
		env_file_exists(env, path) ? env_read_file(env, path, &notes, err) : ERR_OK;
	if (code == ERR_OK) {
		json_t *object =
			json_pack("{s:[{s:s%, s:s%}], s:o*}", "receipts", "record", record->data,
				  record->size, "proof", proof->data, proof->size, "rotations",
				  notes.size ? json_stringn(notes.data, notes.size) : NULL);
		if (object)
			cli_print_json(object);
		else
			code = ERR_SET(err, ERR_NO_MEMORY, "out of memory for the proof");
		json_decref(object);
	}
	buf_release(&notes);
	return code;
}

/* A record's id names its index; that the record there has this id is checked. */
static enum err_code check_id(const char *name, const struct buf *record, struct err *err)
{
	json_t *tree;
	uint64_t index;
	if (!record_id_index(bytes_from(name), &index))
		return ERR_OK;
	ERR_TRY(json_parse(buf_bytes(record), "record", &tree, err));
	const char *id = json_string_value(json_object_get(tree, "id"));
	bool same = id && strcmp(id, name) == 0;
	json_decref(tree);
	return same ? ERR_OK
		    : ERR_SET(err, ERR_NOT_FOUND,
			      "this log has no record %s: its record %" PRIu64 " is another", name,
			      index);
}

static enum err_code run_prove(struct env *env, const char *directory, const char *name,
			       uint64_t index, const struct prove *prove, struct err *err)
{
	struct buf record = BUF_INIT(RECORD_SIZE_MAX), proof = BUF_INIT((size_t)1 << 20);
	struct buf receipt = BUF_INIT((size_t)2 << 20);
	enum err_code code = log_prove_directory(env, directory, index, &record, &proof, err);
	if (code == ERR_OK)
		code = check_id(name, &record, err);
	if (code == ERR_OK && !prove->bare)
		code = embed(buf_bytes(&record), &proof, &receipt, err);
	if (code == ERR_OK && prove->json)
		code = print_pair(env, directory, &record, &proof, err);
	else if (code == ERR_OK && prove->bare)
		fwrite(proof.data, 1, proof.size, stdout);
	else if (code == ERR_OK)
		fwrite(receipt.data, 1, receipt.size, stdout);
	buf_release(&record);
	buf_release(&proof);
	buf_release(&receipt);
	return code;
}

static int log_prove(int argc, char **argv)
{
	struct prove prove = {0};
	const struct cli_option options[] = {
		{"bare",    0, CLI_FLAG, &prove.bare, NULL,
		 "leave the record out of the proof's extra line", 0, 0},
		{"json", 0, CLI_FLAG, &prove.json, NULL,
		 "as a gateway serves it: {receipts: […], rotations?}", 0, 0},
		{0    },
	};
	const struct cli_command command = {
		"log prove",
		"DIR INDEX|ID [--bare] [--json]",
		"Prints the receipt of a record: a proof (C2SP tlog-proof) against the log's "
		"signed\n"
		"checkpoint, with the record in it. `parley verify` checks it.",
		options,
		2,
		2};
	struct cli_arguments arguments;
	struct err err = ERR_INIT;
	uint64_t index;
	int status = cli_parse(&command, argc, argv, &arguments);
	if (status >= 0)
		return status;
	const char *name = arguments.positional[1];
	if (!record_id_index(bytes_from(name), &index) &&
	    !bytes_to_u64(bytes_from(name), INT64_MAX, &index))
		return cli_usage("log prove", "\"%s\" is neither an index nor a record id", name);
	struct env *env = env_os_new(1);
	if (!env)
		return 3;
	return finish(env, run_prove(env, arguments.positional[0], name, index, &prove, &err),
		      &err);
}

/* ---- checkpoint ---- */

/* The newest one, or the newest that witnesses have cosigned: where both are of one size that is
 * the same checkpoint with more signatures. */
static enum err_code read_checkpoint(struct env *env, const char *directory, bool cosigned,
				     struct buf *text, struct note *note, struct checkpoint *head,
				     struct err *err)
{
	struct buf other = BUF_INIT(NOTE_SIZE_MAX);
	struct note other_note;
	struct checkpoint other_head;
	enum err_code code = log_read_newest_checkpoint(env, directory, text, head, err);
	if (code == ERR_OK)
		code = note_parse(buf_bytes(text), note, err);
	enum err_code found =
		code == ERR_OK ? log_read_cosigned_checkpoint(env, directory, &other, NULL) : code;
	bool usable = found == ERR_OK &&
		      note_parse(buf_bytes(&other), &other_note, NULL) == ERR_OK &&
		      checkpoint_parse(other_note.text, &other_head, NULL) == ERR_OK;
	if (code == ERR_OK && cosigned && !usable)
		code = ERR_SET(err, ERR_NOT_FOUND, "%s: no witness has cosigned a checkpoint",
			       directory);
	if (code == ERR_OK && usable && (cosigned || other_head.size == head->size)) {
		buf_release(text);
		*text = other;
		*note = other_note;
		*head = other_head;
		return ERR_OK;
	}
	buf_release(&other);
	return code;
}

/* Signature lines that have a cosignature's size: name, key id and time, by their own word. */
static json_t *list_cosignatures(const struct note *note)
{
	json_t *list = json_array();
	for (unsigned i = 0; i < note->count; i++) {
		uint8_t bytes[4 + COSIGNATURE_SIZE];
		char id[9], time_text[RECORD_TIME_SIZE];
		uint64_t time_s = 0;
		if (!base64_decode_exact(note->signatures[i].base64, bytes, sizeof(bytes)))
			continue;
		for (unsigned k = 0; k < 8; k++)
			time_s = time_s << 8 | bytes[4 + k];
		if (time_s > (uint64_t)253402300799)
			continue;
		hex_encode(bytes, 4, id);
		record_time((int64_t)time_s * 1000, time_text);
		json_array_append_new(list, json_pack("{s:s%, s:s, s:s}", "name",
						      note->signatures[i].name.data,
						      note->signatures[i].name.size, "id", id,
						      "time", time_text));
	}
	return list;
}

static enum err_code run_checkpoint(struct env *env, const char *directory, bool cosigned,
				    bool json, struct err *err)
{
	struct buf text = BUF_INIT(NOTE_SIZE_MAX);
	struct note note;
	struct checkpoint head;
	char root[2 * MERKLE_HASH_SIZE + 1];
	enum err_code code = read_checkpoint(env, directory, cosigned, &text, &note, &head, err);
	if (code == ERR_OK && json) {
		hex_encode(head.root.bytes, MERKLE_HASH_SIZE, root);
		json_t *object =
			json_pack("{s:s, s:I, s:s, s:s%, s:o}", "origin", head.origin, "size",
				  (json_int_t)head.size, "root", root, "note", text.data, text.size,
				  "cosignatures", list_cosignatures(&note));
		cli_print_json(object);
		json_decref(object);
	} else if (code == ERR_OK) {
		fwrite(text.data, 1, text.size, stdout);
	}
	buf_release(&text);
	return code;
}

static int log_checkpoint(int argc, char **argv)
{
	bool json = false, cosigned = false;
	const struct cli_option options[] = {
		{"cosigned", 0, CLI_FLAG, &cosigned, NULL,
		 "the newest one that witnesses have cosigned, though there may be a later one", 0,
		 0},
		{"json",  0, CLI_FLAG, &json, NULL, "its parts as JSON", 0, 0},
		{0     },
	};
	const struct cli_command command = {
		"log checkpoint",
		"DIR [--cosigned] [--json]",
		"Prints the signed checkpoint of a log's directory, with "
		"the cosignatures of witnesses.",
		options,
		1,
		1};
	struct cli_arguments arguments;
	struct err err = ERR_INIT;
	int status = cli_parse(&command, argc, argv, &arguments);
	if (status >= 0)
		return status;
	struct env *env = env_os_new(1);
	if (!env)
		return 3;
	return finish(env, run_checkpoint(env, arguments.positional[0], cosigned, json, &err),
		      &err);
}

/* ---- rotate-key ---- */

static void show_rotation(const json_t *body)
{
	printf("The log's key is now\n%s\nThe record %s and the note at /log/key-rotations hand "
	       "the "
	       "old key on to it: who trusts the\nold one can follow. Tell witnesses the new "
	       "one; until they follow it they cosign nothing.\n",
	       json_string_value(json_object_get(body, "vkey")),
	       json_string_value(json_object_get(body, "record")));
}

static int log_rotate_key(int argc, char **argv)
{
	const char *config = "parley.yaml", *reason = NULL;
	bool json = false;
	const struct cli_option options[] = {
		{"config",  'c', CLI_TEXT, &config, "FILE",
		 "the gateway's configuration (./parley.yaml)", 0, 0},
		{"reason", 0, CLI_TEXT, &reason, "TEXT", "why; it is on record", 0, 0},
		{"json",   0, CLI_FLAG, &json, NULL, "{vkey, record, rotation}", 0, 0},
		{0       },
	};
	const struct cli_command command = {
		"log rotate-key",
		"--reason TEXT [-c parley.yaml] [--json]",
		"Hands the running gateway's log key on to a new one: an act on record, signed by "
		"both.\nThe next checkpoints are signed with the new key, which is in signing.key "
		"then; the old\none is gone from the disk.",
		options,
		0,
		0};
	struct cli_arguments arguments;
	struct admin_answer answer;
	struct err err = ERR_INIT;
	int status = cli_parse(&command, argc, argv, &arguments);
	if (status >= 0)
		return status;
	if (!reason || !*reason)
		return cli_usage("log rotate-key", "say why: --reason TEXT");
	json_t *body = json_pack("{s:s}", "reason", reason);
	if (!body)
		return cli_usage("log rotate-key", "--reason is not UTF-8");
	enum err_code code =
		admin_client_ask(config, "POST", "/admin/v1/log/rotate-key", body, &answer, &err);
	json_decref(body);
	if (code == ERR_OK && json)
		cli_print_json(answer.body);
	else if (code == ERR_OK)
		show_rotation(answer.body);
	json_decref(answer.body);
	return code == ERR_OK ? 0 : cli_fail(&err);
}

int cmd_log(int argc, char **argv)
{
	static const struct cli_verb verbs[] = {
		{"tail",       log_tail,       "show the last records, and those that come"                },
		{"show",       log_show,       "show records"                                              },
		{"prove",      log_prove,      "print the receipt of a record"                             },
		{"checkpoint", log_checkpoint, "print the signed checkpoint"                               },
		{"rotate-key", log_rotate_key, "hand the log's key on to a new one"                        },
		{"files",      log_files,      "the files of a running gateway's logs, and what has rotted"},
		{NULL,         NULL,           NULL							},
	};
	return cli_dispatch("log", verbs, argc, argv);
}
