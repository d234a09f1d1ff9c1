/* A log's directory: records, chain, tree, tiles and checkpoint (ledger/log_read.h), and what the
 * records say of each other: every id stands for its place, every outcome for an admission before
 * it. */
#include "verify/audit.h"

#include "base/json.h"
#include "ledger/key_rotation.h"
#include "ledger/log_read.h"
#include "verify/witnesses.h"

#include <stdio.h>
#include <stdlib.h>

#define KINDS 16
#define VKEY_FILE "vkey"
#define OPEN_MAX ((uint64_t)1 << 34) /* records: their bits take 2 GiB */

struct walk {
	uint64_t kinds[KINDS];
	uint8_t *admitted; /* a bit for each record: an admission without an outcome */
	uint64_t bits;
	uint64_t open;
	uint64_t observed, forbidden; /* admitted in mode observe; of these, against a rule */
};

/* ---- each record ---- */

static bool grow_bits(struct walk *walk, uint64_t index)
{
	if (index < walk->bits)
		return true;
	uint64_t bits = walk->bits ? 2 * walk->bits : 1 << 16;
	uint8_t *grown =
		index < OPEN_MAX && bits > index ? realloc(walk->admitted, bits / 8) : NULL;
	if (!grown)
		return false;
	memset(grown + walk->bits / 8, 0, (size_t)(bits - walk->bits) / 8);
	walk->admitted = grown;
	walk->bits = bits;
	return true;
}

static bool is_open(const struct walk *walk, uint64_t index)
{
	return index < walk->bits && (walk->admitted[index / 8] >> (index % 8) & 1);
}

static void flip(struct walk *walk, uint64_t index)
{
	walk->admitted[index / 8] ^= (uint8_t)(1u << (index % 8));
}

static enum err_code damaged(const struct log_read_entry *entry, const char *problem,
			     struct err *err)
{
	return ERR_SET(err, ERR_CORRUPT, "%s, offset %llu: record %llu %s", entry->segment,
		       (unsigned long long)entry->offset, (unsigned long long)entry->index,
		       problem);
}

/* A member's start, found by a letter of its name that no hexadecimal digit is: most of a record is
 * digits, and is passed over quickly. */
struct member {
	const char *text;
	size_t size, letter;
};

static const char *find_member(struct bytes text, struct member member)
{
	const char *end = text.data + text.size;
	const char *at = text.size < member.size ? end : text.data + member.letter;
	while (at < end && (at = memchr(at, member.text[member.letter], (size_t)(end - at)))) {
		const char *start = at - member.letter;
		if ((size_t)(end - start) >= member.size &&
		    memcmp(start, member.text, member.size) == 0)
			return start;
		at++;
	}
	return NULL;
}

/* The id without a parse: in RFC 8785 text a quote inside a string is escaped, and only `detail`,
 * which such records do not have, nests members. */
static struct bytes quick_id(struct bytes text)
{
	static const struct member id = {"\"id\":\"", 6, 1};
	const char *at = find_member(text, id);
	if (!at)
		return bytes_of(NULL, 0);
	at += id.size;
	size_t left = (size_t)(text.data + text.size - at);
	return bytes_of(at, left < RECORD_ID_SIZE ? left : RECORD_ID_SIZE);
}

/* The text alone tells: see quick_id. */
static void count_observed(struct walk *walk, struct bytes text)
{
	static const struct member observed = {",\"observed\":true,", 17, 7};
	static const struct member rule = {",\"rule\":\"", 9, 3};
	if (!find_member(text, observed))
		return;
	walk->observed++;
	walk->forbidden += find_member(text, rule) != NULL;
}

static bool is_frequent(enum record_kind kind)
{
	return kind == RECORD_ADMIT || kind == RECORD_SETTLE || kind == RECORD_REFUSE ||
	       kind == RECORD_UNKNOWN;
}

static enum err_code check_id(const struct log_read_entry *entry, struct err *err)
{
	uint64_t index = 0;
	json_t *tree = NULL;
	struct bytes id;
	if (is_frequent(entry->kind)) {
		id = quick_id(entry->text);
	} else {
		if (json_parse(entry->text, "record", &tree, err) != ERR_OK)
			return damaged(entry, "is not JSON", err);
		id = bytes_from(json_string_value(json_object_get(tree, "id")));
	}
	bool right = record_id_index(id, &index) && index == entry->index;
	json_decref(tree);
	return right ? ERR_OK : damaged(entry, "has an id of another place", err);
}

static enum err_code check_entry(void *argument, const struct log_read_entry *entry,
				 struct err *err)
{
	struct walk *walk = argument;
	uint64_t admit;
	ERR_TRY(check_id(entry, err));
	if ((unsigned)entry->kind < KINDS)
		walk->kinds[entry->kind]++;
	if (!grow_bits(walk, entry->index))
		return ERR_SET(err, ERR_NO_MEMORY, "out of memory for the log");
	if (entry->kind == RECORD_ADMIT) {
		flip(walk, entry->index);
		walk->open++;
		count_observed(walk, entry->text);
	} else if (entry->kind == RECORD_SETTLE || entry->kind == RECORD_UNKNOWN) {
		if (!record_admit_index(entry->text, &admit) || !is_open(walk, admit))
			return damaged(entry, "is the outcome of no open admission before it", err);
		flip(walk, admit);
		walk->open--;
	}
	return ERR_OK;
}

/* ---- whose log it is ---- */

static enum err_code read_own_key(struct env *env, const char *directory, struct verify_keys *own,
				  struct err *err)
{
	char path[4096];
	snprintf(path, sizeof(path), "%s/%s", directory, VKEY_FILE);
	struct buf text = BUF_INIT(VERIFY_KEY_FILE_MAX);
	if (!env_file_exists(env, path))
		return ERR_OK;
	enum err_code code = env_read_file(env, path, &text, err);
	if (code == ERR_OK)
		code = verify_keys_parse(buf_bytes(&text), VKEY_FILE, own, err);
	buf_release(&text);
	return code;
}

/* The key that signed the newest checkpoint: of the reader's, else the one that lies beside. */
static enum err_code choose_key(const struct verify_keys *keys, const char *whose,
				struct bytes text, const struct checkpoint *head,
				const struct note_key **out, struct err *err)
{
	struct checkpoint opened;
	struct note note;
	const struct note_key *key;
	char why[600];
	size_t at = 0;
	bool named = false;
	*out = NULL;
	while ((key = verify_keys_next(keys, head->origin, &at))) {
		named = true;
		enum err_code code = checkpoint_open(text, key, &opened, err);
		if (code == ERR_OK)
			*out = key;
		if (code != ERR_NOT_FOUND)
			return code == ERR_OK ? code : err_prefix(err, "checkpoint");
	}
	if (!named)
		return ERR_OK;
	ERR_TRY(note_parse(text, &note, err));
	verify_keys_differ(keys, &note, head->origin, whose, why, sizeof(why));
	return ERR_SET(err, ERR_MISMATCH, "checkpoint: it is %s", why);
}

/* ---- witnesses ---- */

struct witnessed {
	struct trust_finding finding;
	uint64_t size; /* of the checkpoint that they cosigned */
	char phrase[600], why[600];
};

/* What they say of the newest checkpoint that the log keeps with cosignatures; that its root is the
 * tree's at that size log_check_directory checks. */
static enum err_code look_at_witnesses(struct env *env, const char *directory,
				       const struct verify_keys *reader, const char *origin,
				       struct witnessed *out, struct err *err)
{
	struct buf text = BUF_INIT(NOTE_SIZE_MAX);
	struct note note;
	struct checkpoint head = {0};
	if (!reader->policy)
		return ERR_OK;
	enum err_code code = log_read_cosigned_checkpoint(env, directory, &text, err);
	if (code == ERR_NOT_FOUND) {
		buf_clear(&text);
		code = log_read_stored_checkpoint(env, directory, &text, err);
	}
	if (code == ERR_OK)
		code = note_parse(buf_bytes(&text), &note, err);
	if (code == ERR_OK)
		code = checkpoint_parse(note.text, &head, err);
	if (code == ERR_OK)
		code = witnesses_look(reader, NULL, &note, &out->finding, err);
	buf_release(&text);
	ERR_TRY(code);
	out->size = head.size;
	witnesses_phrase(reader, &out->finding, out->phrase, sizeof(out->phrase));
	witnesses_lack(reader, &out->finding, origin, out->why, sizeof(out->why));
	return ERR_OK;
}

/* ---- the report ---- */

static void note_kinds(const struct walk *walk, struct verify_report *report)
{
	char line[400] = "";
	size_t used = 0;
	for (unsigned kind = 0; kind < KINDS; kind++) {
		const char *name = record_kind_text((enum record_kind)kind);
		if (!name || walk->kinds[kind] == 0)
			continue;
		used += (size_t)snprintf(line + used, sizeof(line) - used, "%s%llu %s",
					 used ? ", " : "", (unsigned long long)walk->kinds[kind],
					 name);
	}
	report_note(report, VERIFY_CHECKED, "ids and outcomes: %s", *line ? line : "no records");
	if (walk->observed > 0)
		report_note(report, VERIFY_UNCHECKED,
			    "%llu requests were admitted in mode observe, %llu of them against a "
			    "rule: nothing was kept out, and no run among them is vouched for",
			    (unsigned long long)walk->observed,
			    (unsigned long long)walk->forbidden);
	if (walk->open > 0)
		report_note(report, VERIFY_UNCHECKED, "%llu admitted requests have no outcome yet",
			    (unsigned long long)walk->open);
}

static void note_log(const struct log_check_result *result, struct verify_report *report)
{
	report_note(report, VERIFY_CHECKED,
		    "%llu records: checksums, places and chain, and the tree over them",
		    (unsigned long long)result->records);
	report_note(report, VERIFY_CHECKED, "%llu hash tiles and %llu checkpoints against the tree",
		    (unsigned long long)result->tiles, (unsigned long long)result->checkpoints);
	if (result->covered < result->records)
		report_note(report, VERIFY_UNCHECKED,
			    "%llu records at the end are not covered by the newest checkpoint",
			    (unsigned long long)(result->records - result->covered));
	if (result->torn_bytes > 0)
		report_note(report, VERIFY_UNCHECKED,
			    "%llu bytes at the end are the rest of an interrupted write",
			    (unsigned long long)result->torn_bytes);
}

static void conclude(const struct log_check_result *result, bool signed_by, bool vouched,
		     const struct witnessed *witnessed, struct verify_report *report)
{
	const char *origin = result->newest.origin;
	unsigned long long covered = (unsigned long long)result->covered;
	if (vouched && *witnessed->why)
		report_verdict(report, VERIFY_SELF_CERTIFIED, "CONSISTENT, SELF-CERTIFIED: %s",
			       witnessed->why);
	else if (vouched)
		report_verdict(report, VERIFY_VOUCHED, "VOUCHED by %s%s; %llu records", origin,
			       witnessed->phrase, covered);
	else if (!*origin)
		report_verdict(report, VERIFY_SELF_CERTIFIED,
			       "CONSISTENT, SELF-CERTIFIED: %llu records, no checkpoint is there",
			       (unsigned long long)result->records);
	else
		report_verdict(
			report, VERIFY_SELF_CERTIFIED,
			"CONSISTENT, SELF-CERTIFIED: %llu records of a log that calls itself %s; "
			"give its key, from a source that you trust, with --key",
			covered, origin);
	if (vouched)
		report_note(report, VERIFY_TRUSTED, "%s, whose key you gave", origin);
	else if (*origin && !signed_by)
		report_note(report, VERIFY_UNCHECKED,
			    "the checkpoint's signature: no key for %s was given or lies beside",
			    origin);
}

static enum err_code run_check(struct env *env, const char *directory, struct verify_keys *reader,
			       struct verify_keys *own, struct walk *walk,
			       struct verify_report *report, struct err *err)
{
	struct buf text = BUF_INIT(NOTE_SIZE_MAX);
	struct checkpoint head = {0};
	struct log_check check = {.each = check_entry, .argument = walk};
	struct log_check_result result = {0};
	const struct note_key *key = NULL;
	bool vouched = false;
	struct witnessed witnessed = {0};
	char path[4096];
	snprintf(path, sizeof(path), "%s/" KEY_ROTATIONS_FILE, directory);
	/* In a log in use the notes come before the checkpoint that needs them. */
	enum err_code code = log_read_newest_checkpoint(env, directory, &text, &head, err);
	bool none = code == ERR_NOT_FOUND; /* a log without any checkpoint yet */
	if (code == ERR_OK || none)
		code = verify_keys_follow_file(env, path, KEY_ROTATIONS_FILE, reader, err);
	if (code == ERR_OK && !none) {
		code = choose_key(reader, "that you gave for it", buf_bytes(&text), &head, &key,
				  err);
		vouched = key != NULL;
	}
	if (code == ERR_OK && !none && !key)
		code = read_own_key(env, directory, own, err);
	if (code == ERR_OK && !none && !key)
		code = verify_keys_follow_file(env, path, KEY_ROTATIONS_FILE, own, err);
	if (code == ERR_OK && !none && !key)
		code = choose_key(own, "in the file " VKEY_FILE " beside it", buf_bytes(&text),
				  &head, &key, err);
	check.key = key;
	check.newest = buf_bytes(&text);
	if (code == ERR_OK)
		code = log_check_directory(env, directory, &check, &result, err);
	buf_release(&text);
	if (code == ERR_OK && vouched)
		code = look_at_witnesses(env, directory, reader, head.origin, &witnessed, err);
	ERR_TRY(code);
	note_log(&result, report);
	note_kinds(walk, report);
	conclude(&result, key != NULL, vouched, &witnessed, report);
	if (vouched)
		witnesses_note(reader, &witnessed.finding, report);
	if (vouched && reader->policy && witnessed.size < result.covered)
		report_note(report, VERIFY_UNCHECKED,
			    "%llu records at the end came after the last checkpoint that witnesses "
			    "cosigned",
			    (unsigned long long)(result.covered - witnessed.size));
	return ERR_OK;
}

enum err_code check_log(struct env *env, const char *directory,
			const struct verify_options *options, struct verify_report *report,
			struct err *err)
{
	struct verify_keys reader, own = {0};
	struct walk walk = {0};
	report->subject = "log";
	enum err_code code = verify_keys_read(env, options->keys, options->key_count, &reader, err);
	if (code == ERR_OK && options->policy)
		code = verify_keys_policy(env, options->policy, &reader, err);
	if (code == ERR_OK) {
		code = run_check(env, directory, &reader, &own, &walk, report, err);
		if (code != ERR_OK)
			code = report_failure(report, err);
	}
	verify_keys_release(&reader);
	verify_keys_release(&own);
	free(walk.admitted);
	return code;
}
