#include "store/store.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* "PRLY" in the database header, so that no other program's file is taken for ours. */
#define APPLICATION_ID 0x50524c59
#define SCHEMA_VERSION 1
/* The database grows by this much at once, and its journal keeps the room it has had: so that a
 * grant or a key can be revoked where others have filled the disk. */
#define CHUNK_SIZE (256 << 10)
/* What the next act takes of the journal, and more; kept also where the journal was lost. */
#define JOURNAL_ROOM 65536

/* clang-format off */
#define STATEMENT_TABLE(X) \
	X(BEGIN,       "BEGIN IMMEDIATE") \
	X(COMMIT,      "COMMIT") \
	X(ROLLBACK,    "ROLLBACK") \
	X(STAGE,       "INSERT INTO staged (log, position, commit_id, kind, id, document, blob) " \
	               "VALUES (?, ?, ?, ?, ?, ?, ?)") \
	X(STAGED,      "SELECT kind, id, document, blob FROM staged WHERE commit_id = ? " \
	               "ORDER BY sequence") \
	X(UNSTAGE,     "DELETE FROM staged WHERE commit_id = ?") \
	X(EACH_STAGED, "SELECT commit_id, log, position FROM staged GROUP BY commit_id " \
	               "ORDER BY min(sequence)") \
	X(GET_NUMBER,  "SELECT value FROM numbers WHERE name = ?") \
	X(PUT_NUMBER,  "INSERT INTO numbers (name, value) VALUES (?, ?) " \
	               "ON CONFLICT (name) DO UPDATE SET value = excluded.value")

static const char *const schema =
	"CREATE TABLE staged (sequence INTEGER PRIMARY KEY AUTOINCREMENT, log INTEGER NOT NULL, "
	"position INTEGER NOT NULL, commit_id TEXT NOT NULL, kind INTEGER NOT NULL, "
	"id TEXT NOT NULL, document TEXT NOT NULL, blob BLOB);"
	"CREATE INDEX staged_commit ON staged (commit_id);"
	"CREATE TABLE numbers (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;";

/* A kind that a later build adds gets its table when that build first opens the database. */
static const char *const kind_schema =
#define X(name, table) \
	"CREATE TABLE IF NOT EXISTS " #table " (sequence INTEGER PRIMARY KEY, " \
	"id TEXT NOT NULL UNIQUE, document TEXT NOT NULL, blob BLOB);"
	STORE_KIND_TABLE(X)
#undef X
	;

static const char *const put_texts[] = {
#define X(name, table) \
	"INSERT INTO " #table " (id, document, blob) VALUES (?, ?, ?) ON CONFLICT (id) " \
	"DO UPDATE SET document = excluded.document, blob = coalesce(excluded.blob, blob)",
	STORE_KIND_TABLE(X)
#undef X
};

static const char *const each_texts[] = {
#define X(name, table) "SELECT id, document, blob FROM " #table " ORDER BY sequence",
	STORE_KIND_TABLE(X)
#undef X
};

static const char *const find_texts[] = {
#define X(name, table) "SELECT id, document, blob FROM " #table " WHERE id = ?",
	STORE_KIND_TABLE(X)
#undef X
};

static const char *const erase_texts[] = {
#define X(name, table) "DELETE FROM " #table " WHERE id = ?",
	STORE_KIND_TABLE(X)
#undef X
};

static const char *const kind_names[] = {
#define X(name, table) #table,
	STORE_KIND_TABLE(X)
#undef X
};
/* clang-format on */

enum statement {
#define X(name, text) STATEMENT_##name,
	STATEMENT_TABLE(X)
#undef X
		STATEMENTS
};

static const char *const statement_texts[] = {
#define X(name, text) text,
	STATEMENT_TABLE(X)
#undef X
};

struct store {
	sqlite3 *database;
	char *path; /* for messages */
	sqlite3_stmt *statements[STATEMENTS];
	sqlite3_stmt *puts[STORE_KINDS];
	sqlite3_stmt *eaches[STORE_KINDS];
	sqlite3_stmt *finds[STORE_KINDS];
	sqlite3_stmt *erases[STORE_KINDS];
};

const char *store_kind_name(enum store_kind kind)
{
	assert(kind < STORE_KINDS);
	return kind_names[kind];
}

/* ---- errors ---- */

static const struct {
	int sqlite;
	enum err_code code;
	const char *advice;
} failure_rows[] = {
	{SQLITE_BUSY,     ERR_LOCKED,      "another process has the database open; stop it first"},
	{SQLITE_LOCKED,   ERR_LOCKED,      "another process has the database open; stop it first"},
	{SQLITE_CORRUPT,  ERR_CORRUPT,     "the database is damaged; restore it from a backup"   },
	{SQLITE_NOTADB,   ERR_CORRUPT,     "this is no database; restore it from a backup"       },
	{SQLITE_FULL,     ERR_NO_SPACE,    "the disk is full; make room"                         },
	{SQLITE_NOMEM,    ERR_NO_MEMORY,   "out of memory"                                       },
	{SQLITE_CANTOPEN, ERR_ENVIRONMENT, "check that the data directory exists and is writable"},
	{SQLITE_READONLY, ERR_ENVIRONMENT, "check the permissions of the data directory"         },
	{SQLITE_TOOBIG,   ERR_TOO_LARGE,   "the document is too large"                           },
};

static enum err_code fail(const struct store *store, const char *doing, struct err *err)
{
	int result = sqlite3_errcode(store->database) & 0xff;
	enum err_code code = ERR_ENVIRONMENT;
	const char *advice = "check the disk";
	for (size_t i = 0; i < sizeof(failure_rows) / sizeof(failure_rows[0]); i++) {
		if (failure_rows[i].sqlite == result) {
			code = failure_rows[i].code;
			advice = failure_rows[i].advice;
		}
	}
	return ERR_SET(err, code, "%s: %s: %s; %s", store->path, doing,
		       sqlite3_errmsg(store->database), advice);
}

/* ---- statements ---- */

static enum err_code prepare(struct store *store, const char *text, sqlite3_stmt **out,
			     struct err *err)
{
	if (sqlite3_prepare_v3(store->database, text, -1, SQLITE_PREPARE_PERSISTENT, out, NULL) !=
	    SQLITE_OK)
		return fail(store, "cannot prepare a statement", err);
	return ERR_OK;
}

static enum err_code prepare_all(struct store *store, struct err *err)
{
	for (int i = 0; i < STATEMENTS; i++)
		ERR_TRY(prepare(store, statement_texts[i], &store->statements[i], err));
	for (int i = 0; i < STORE_KINDS; i++) {
		ERR_TRY(prepare(store, put_texts[i], &store->puts[i], err));
		ERR_TRY(prepare(store, each_texts[i], &store->eaches[i], err));
		ERR_TRY(prepare(store, find_texts[i], &store->finds[i], err));
		ERR_TRY(prepare(store, erase_texts[i], &store->erases[i], err));
	}
	return ERR_OK;
}

static void finalize_all(struct store *store)
{
	for (int i = 0; i < STATEMENTS; i++)
		sqlite3_finalize(store->statements[i]);
	for (int i = 0; i < STORE_KINDS; i++) {
		sqlite3_finalize(store->puts[i]);
		sqlite3_finalize(store->eaches[i]);
		sqlite3_finalize(store->finds[i]);
		sqlite3_finalize(store->erases[i]);
	}
}

/* Binding fails only for lack of memory or a text beyond the limit, and then the step fails too:
 * a missing value breaks a NOT NULL constraint. */
static void bind_text(sqlite3_stmt *statement, int place, struct bytes text)
{
	sqlite3_bind_text64(statement, place, text.data ? text.data : "", text.size, SQLITE_STATIC,
			    SQLITE_UTF8);
}

static void bind_blob(sqlite3_stmt *statement, int place, struct bytes blob)
{
	if (blob.size)
		sqlite3_bind_blob64(statement, place, blob.data, blob.size, SQLITE_STATIC);
	else
		sqlite3_bind_null(statement, place);
}

static struct bytes column_text(sqlite3_stmt *statement, int column)
{
	const void *text = sqlite3_column_text(statement, column);
	return bytes_of(text, (size_t)sqlite3_column_bytes(statement, column));
}

static struct bytes column_blob(sqlite3_stmt *statement, int column)
{
	const void *data = sqlite3_column_blob(statement, column);
	return bytes_of(data, (size_t)sqlite3_column_bytes(statement, column));
}

/* Runs a statement that gives no rows. */
static enum err_code run(struct store *store, sqlite3_stmt *statement, const char *doing,
			 struct err *err)
{
	enum err_code code = ERR_OK;
	if (sqlite3_step(statement) != SQLITE_DONE)
		code = fail(store, doing, err);
	sqlite3_reset(statement);
	sqlite3_clear_bindings(statement);
	return code;
}

static enum err_code begin(struct store *store, struct err *err)
{
	return run(store, store->statements[STATEMENT_BEGIN], "cannot begin", err);
}

/* Commits where `code` is ERR_OK, rolls back otherwise; gives the first failure. */
static enum err_code end(struct store *store, enum err_code code, struct err *err)
{
	if (code == ERR_OK)
		code = run(store, store->statements[STATEMENT_COMMIT], "cannot commit", err);
	if (code != ERR_OK && !sqlite3_get_autocommit(store->database))
		run(store, store->statements[STATEMENT_ROLLBACK], "cannot roll back", NULL);
	return code;
}

/* ---- opening ---- */

static enum err_code execute(struct store *store, const char *text, const char *doing,
			     struct err *err)
{
	if (sqlite3_exec(store->database, text, NULL, NULL, NULL) != SQLITE_OK)
		return fail(store, doing, err);
	return ERR_OK;
}

static enum err_code read_pragma(struct store *store, const char *text, int64_t *out,
				 struct err *err)
{
	sqlite3_stmt *statement;
	ERR_TRY(prepare(store, text, &statement, err));
	enum err_code code = ERR_OK;
	if (sqlite3_step(statement) == SQLITE_ROW)
		*out = sqlite3_column_int64(statement, 0);
	else
		code = fail(store, "cannot read the header", err);
	sqlite3_finalize(statement);
	return code;
}

static enum err_code check_pages(struct store *store, struct err *err)
{
	sqlite3_stmt *statement;
	ERR_TRY(prepare(store, "PRAGMA quick_check(1)", &statement, err));
	enum err_code code = ERR_OK;
	if (sqlite3_step(statement) != SQLITE_ROW)
		code = fail(store, "cannot check the pages", err);
	else if (!bytes_is(column_text(statement, 0), "ok"))
		code = ERR_SET(err, ERR_CORRUPT, "%s: %s; restore it from a backup", store->path,
			       (const char *)sqlite3_column_text(statement, 0));
	sqlite3_finalize(statement);
	return code;
}

static enum err_code make_schema(struct store *store, struct err *err)
{
	char text[128];
	snprintf(text, sizeof(text), "PRAGMA application_id = %d; PRAGMA user_version = %d;",
		 APPLICATION_ID, SCHEMA_VERSION);
	ERR_TRY(execute(store, "BEGIN IMMEDIATE", "cannot begin", err));
	enum err_code code = execute(store, schema, "cannot make the tables", err);
	if (code == ERR_OK)
		code = execute(store, kind_schema, "cannot make the tables", err);
	if (code == ERR_OK)
		code = execute(store, text, "cannot write the header", err);
	if (code == ERR_OK)
		code = execute(store, "COMMIT", "cannot commit the tables", err);
	if (code != ERR_OK)
		sqlite3_exec(store->database, "ROLLBACK", NULL, NULL, NULL);
	return code;
}

static enum err_code check_header(struct store *store, bool create, struct err *err)
{
	int64_t application, version, tables;
	ERR_TRY(read_pragma(store, "PRAGMA application_id", &application, err));
	ERR_TRY(read_pragma(store, "PRAGMA user_version", &version, err));
	ERR_TRY(read_pragma(store, "SELECT count(*) FROM sqlite_schema", &tables, err));
	if (application == 0 && version == 0 && tables == 0) {
		if (!create)
			return ERR_SET(err, ERR_CORRUPT,
				       "%s: the database is empty, though there is a log of acts; "
				       "restore it from a backup",
				       store->path);
		return make_schema(store, err);
	}
	if (application != APPLICATION_ID)
		return ERR_SET(err, ERR_CORRUPT, "%s: not a database of Parley", store->path);
	if (version != SCHEMA_VERSION)
		return ERR_SET(err, ERR_CORRUPT,
			       "%s: has schema version %lld, this build knows %d; use the build "
			       "that wrote it",
			       store->path, (long long)version, SCHEMA_VERSION);
	ERR_TRY(check_pages(store, err));
	return execute(store, kind_schema, "cannot make the tables", err);
}

static bool journal_has_room(const struct store *store)
{
	char path[PATH_MAX];
	struct stat status;
	int length = snprintf(path, sizeof(path), "%s-journal", store->path);
	return length > 0 && (size_t)length < sizeof(path) && stat(path, &status) == 0 &&
	       status.st_size >= JOURNAL_ROOM;
}

/* After a restore there is no journal, and perhaps no room for one when something is revoked. Only
 * pages that were there before go through it, and those that are erased do; so these are two
 * transactions. Where there is no room now it goes without. */
static void reserve_journal(struct store *store)
{
	char text[128];
	snprintf(text, sizeof(text),
		 "CREATE TABLE IF NOT EXISTS reserve AS SELECT zeroblob(%d) AS bytes; "
		 "DROP TABLE reserve;",
		 JOURNAL_ROOM);
	sqlite3_exec(store->database, text, NULL, NULL, NULL);
}

/* ---- what was erased ---- */

/* The first bytes of a journal that is needed: a transaction is under way, or was when the machine
 * stopped (SQLite's file format, "The Rollback Journal"). */
static bool journal_is_needed(int fd)
{
	static const unsigned char magic[] = {0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7};
	unsigned char head[sizeof(magic)] = {0};
	return pread(fd, head, sizeof(head), 0) < 0 || memcmp(head, magic, sizeof(magic)) == 0;
}

static bool write_zeros(int fd)
{
	static const char zeros[65536];
	struct stat status;
	if (fstat(fd, &status) != 0)
		return false;
	for (off_t at = 0; at < status.st_size;) {
		off_t left = status.st_size - at;
		size_t size = left < (off_t)sizeof(zeros) ? (size_t)left : sizeof(zeros);
		ssize_t written = pwrite(fd, zeros, size, at);
		if (written < 0 && errno != EINTR)
			return false;
		at += written > 0 ? written : 0;
	}
	return fdatasync(fd) == 0;
}

/* The journal keeps its room, and with it the pages as they were before they were changed: what
 * secure_delete overwrites in the database would stand there on. Not within a transaction. */
static enum err_code wipe_journal(struct store *store, struct err *err)
{
	const char *file = sqlite3_db_filename(store->database, "main");
	if (!file || !*file) /* in memory */
		return ERR_OK;
	const char *path = sqlite3_filename_journal(file);
	int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 && errno == ENOENT)
		return ERR_OK;
	bool wiped = fd >= 0 && !journal_is_needed(fd) && write_zeros(fd);
	enum err_code code = ERR_OK;
	if (!wiped)
		code = ERR_SYS(err, ERR_ENVIRONMENT,
			       "%s: what was erased cannot be overwritten there", path);
	if (fd >= 0)
		close(fd);
	return code;
}

static enum err_code set_up(struct store *store, bool create, struct err *err)
{
	static const char *const pragmas = "PRAGMA locking_mode = EXCLUSIVE;"
					   /* What the journal has taken of the disk it keeps: see
					    * CHUNK_SIZE. */
					   "PRAGMA journal_mode = PERSIST;"
					   "PRAGMA journal_size_limit = 1048576;"
					   "PRAGMA secure_delete = ON;"
					   "PRAGMA synchronous = FULL;"
					   "PRAGMA trusted_schema = OFF;"
					   "PRAGMA cell_size_check = ON;"
					   /* The exclusive lock is taken here, not at the first
					    * write. */
					   "BEGIN EXCLUSIVE; COMMIT;";
	int chunk = CHUNK_SIZE;
	ERR_TRY(execute(store, pragmas, "cannot open", err));
	wipe_journal(store, NULL); /* of an erasure that was cut off by a stop */
	sqlite3_file_control(store->database, "main", SQLITE_FCNTL_CHUNK_SIZE, &chunk);
	ERR_TRY(check_header(store, create, err));
	if (!journal_has_room(store))
		reserve_journal(store);
	return prepare_all(store, err);
}

enum err_code store_open(const char *path, bool create, struct store **out, struct err *err)
{
	struct store *store = calloc(1, sizeof(*store));
	char *name = bytes_to_cstr(bytes_from(path ? path : "database in memory"));
	if (!store || !name) {
		free(store);
		free(name);
		return ERR_SET(err, ERR_NO_MEMORY, "no memory to open the database");
	}
	store->path = name;
	int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
	if (create || !path)
		flags |= SQLITE_OPEN_CREATE;
	enum err_code code;
	if (sqlite3_open_v2(path ? path : ":memory:", &store->database, flags, NULL) != SQLITE_OK)
		code = store->database
			       ? fail(store, "cannot open the database", err)
			       : ERR_SET(err, ERR_NO_MEMORY, "no memory to open the database");
	else
		code = set_up(store, create || !path, err);
	if (code != ERR_OK) {
		store_close(store);
		return code;
	}
	*out = store;
	return ERR_OK;
}

void store_close(struct store *store)
{
	if (!store)
		return;
	finalize_all(store);
	sqlite3_close(store->database);
	free(store->path);
	free(store);
}

/* ---- documents ---- */

static enum err_code put(struct store *store, const struct store_document *document,
			 struct err *err)
{
	assert(document->kind < STORE_KINDS);
	sqlite3_stmt *statement = store->puts[document->kind];
	bind_text(statement, 1, bytes_from(document->id));
	bind_text(statement, 2, document->document);
	bind_blob(statement, 3, document->blob);
	return run(store, statement, "cannot write a document", err);
}

enum err_code store_put(struct store *store, const struct store_document *documents, size_t count,
			struct err *err)
{
	ERR_TRY(begin(store, err));
	enum err_code code = ERR_OK;
	for (size_t i = 0; i < count && code == ERR_OK; i++)
		code = put(store, &documents[i], err);
	return end(store, code, err);
}

enum err_code store_erase(struct store *store, enum store_kind kind, const char *id,
			  struct err *err)
{
	assert(kind < STORE_KINDS);
	bind_text(store->erases[kind], 1, bytes_from(id));
	ERR_TRY(run(store, store->erases[kind], "cannot remove a document", err));
	return wipe_journal(store, err);
}

/* Steps through a statement of three columns. */
static enum err_code each_row(struct store *store, sqlite3_stmt *statement, enum store_kind kind,
			      store_each_function *each, void *argument, struct err *err)
{
	enum err_code code = ERR_OK;
	int step;
	while ((step = sqlite3_step(statement)) == SQLITE_ROW && code == ERR_OK) {
		struct store_document document = {
			.kind = kind,
			.id = (const char *)sqlite3_column_text(statement, 0),
			.document = column_text(statement, 1),
			.blob = column_blob(statement, 2),
		};
		if (!document.id || !document.document.data)
			code = ERR_SET(err, ERR_NO_MEMORY, "no memory to read %s",
				       kind_names[kind]);
		else
			code = each(argument, &document, err);
	}
	if (code == ERR_OK && step != SQLITE_DONE)
		code = fail(store, "cannot read documents", err);
	sqlite3_reset(statement);
	sqlite3_clear_bindings(statement);
	return code;
}

enum err_code store_each(struct store *store, enum store_kind kind, store_each_function *each,
			 void *argument, struct err *err)
{
	assert(kind < STORE_KINDS);
	return each_row(store, store->eaches[kind], kind, each, argument, err);
}

enum err_code store_find(struct store *store, enum store_kind kind, const char *id,
			 store_each_function *each, void *argument, struct err *err)
{
	assert(kind < STORE_KINDS);
	bind_text(store->finds[kind], 1, bytes_from(id));
	return each_row(store, store->finds[kind], kind, each, argument, err);
}

/* ---- staged changes ---- */

static enum err_code stage(struct store *store, int log, uint64_t position,
			   const struct store_change *change, struct err *err)
{
	sqlite3_stmt *statement = store->statements[STATEMENT_STAGE];
	sqlite3_bind_int(statement, 1, log);
	sqlite3_bind_int64(statement, 2, (sqlite3_int64)position);
	bind_text(statement, 3, bytes_from(change->commit));
	sqlite3_bind_int(statement, 4, (int)change->to.kind);
	bind_text(statement, 5, bytes_from(change->to.id));
	bind_text(statement, 6, change->to.document);
	bind_blob(statement, 7, change->to.blob);
	return run(store, statement, "cannot stage a change", err);
}

enum err_code store_stage(struct store *store, int log, uint64_t position,
			  const struct store_change *changes, size_t count, struct err *err)
{
	ERR_TRY(begin(store, err));
	enum err_code code = ERR_OK;
	for (size_t i = 0; i < count && code == ERR_OK; i++)
		code = stage(store, log, position, &changes[i], err);
	return end(store, code, err);
}

static enum err_code unstage(struct store *store, const char *commit, struct err *err)
{
	sqlite3_stmt *statement = store->statements[STATEMENT_UNSTAGE];
	bind_text(statement, 1, bytes_from(commit));
	return run(store, statement, "cannot remove staged changes", err);
}

static enum err_code move_in(struct store *store, const char *commit, struct err *err)
{
	sqlite3_stmt *statement = store->statements[STATEMENT_STAGED];
	bind_text(statement, 1, bytes_from(commit));
	enum err_code code = ERR_OK;
	int step;
	while (code == ERR_OK && (step = sqlite3_step(statement)) == SQLITE_ROW) {
		int kind = sqlite3_column_int(statement, 0);
		struct store_document document = {
			.kind = (enum store_kind)kind,
			.id = (const char *)sqlite3_column_text(statement, 1),
			.document = column_text(statement, 2),
			.blob = column_blob(statement, 3),
		};
		if (kind < 0 || kind >= STORE_KINDS || !document.id)
			code = ERR_SET(err, ERR_CORRUPT, "%s: a staged change is damaged",
				       store->path);
		else
			code = put(store, &document, err);
	}
	if (code == ERR_OK && step != SQLITE_DONE)
		code = fail(store, "cannot read staged changes", err);
	sqlite3_reset(statement);
	sqlite3_clear_bindings(statement);
	return code == ERR_OK ? unstage(store, commit, err) : code;
}

enum err_code store_finish(struct store *store, const char *const *commits, size_t count,
			   struct err *err)
{
	ERR_TRY(begin(store, err));
	enum err_code code = ERR_OK;
	for (size_t i = 0; i < count && code == ERR_OK; i++)
		code = move_in(store, commits[i], err);
	return end(store, code, err);
}

enum err_code store_abandon(struct store *store, const char *const *commits, size_t count,
			    struct err *err)
{
	ERR_TRY(begin(store, err));
	enum err_code code = ERR_OK;
	for (size_t i = 0; i < count && code == ERR_OK; i++)
		code = unstage(store, commits[i], err);
	return end(store, code, err);
}

enum err_code store_each_staged(struct store *store, store_staged_function *each, void *argument,
				struct err *err)
{
	sqlite3_stmt *statement = store->statements[STATEMENT_EACH_STAGED];
	enum err_code code = ERR_OK;
	int step;
	while ((step = sqlite3_step(statement)) == SQLITE_ROW && code == ERR_OK) {
		const char *commit = (const char *)sqlite3_column_text(statement, 0);
		if (!commit)
			code = ERR_SET(err, ERR_NO_MEMORY, "no memory to read staged changes");
		else
			code = each(argument, commit, sqlite3_column_int(statement, 1),
				    (uint64_t)sqlite3_column_int64(statement, 2), err);
	}
	if (code == ERR_OK && step != SQLITE_DONE)
		code = fail(store, "cannot read staged changes", err);
	sqlite3_reset(statement);
	return code;
}

/* ---- numbers ---- */

enum err_code store_get_number(struct store *store, const char *name, uint64_t fallback,
			       uint64_t *out, struct err *err)
{
	sqlite3_stmt *statement = store->statements[STATEMENT_GET_NUMBER];
	bind_text(statement, 1, bytes_from(name));
	int step = sqlite3_step(statement);
	enum err_code code = ERR_OK;
	*out = fallback;
	if (step == SQLITE_ROW)
		*out = (uint64_t)sqlite3_column_int64(statement, 0);
	else if (step != SQLITE_DONE)
		code = fail(store, "cannot read a number", err);
	sqlite3_reset(statement);
	sqlite3_clear_bindings(statement);
	return code;
}

enum err_code store_put_number(struct store *store, const char *name, uint64_t value,
			       struct err *err)
{
	sqlite3_stmt *statement = store->statements[STATEMENT_PUT_NUMBER];
	bind_text(statement, 1, bytes_from(name));
	sqlite3_bind_int64(statement, 2, (sqlite3_int64)value);
	return run(store, statement, "cannot write a number", err);
}

/* ---- copies ---- */

static enum err_code copy_pages(struct store *store, struct store *copy, struct err *err)
{
	sqlite3_backup *backup =
		sqlite3_backup_init(copy->database, "main", store->database, "main");
	if (!backup)
		return fail(copy, "cannot begin a copy", err);
	sqlite3_backup_step(backup, -1);
	if (sqlite3_backup_finish(backup) != SQLITE_OK)
		return fail(copy, "cannot write a copy", err);
	return ERR_OK;
}

enum err_code store_copy(struct store *store, const char *path, struct err *err)
{
	struct store copy = {.path = (char *)path};
	if (access(path, F_OK) == 0)
		return ERR_SET(err, ERR_EXISTS, "%s is there already", path);
	enum err_code code = ERR_OK;
	if (sqlite3_open_v2(path, &copy.database, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE,
			    NULL) != SQLITE_OK)
		code = copy.database ? fail(&copy, "cannot open", err)
				     : ERR_SET(err, ERR_NO_MEMORY, "out of memory");
	if (code == ERR_OK)
		code = copy_pages(store, &copy, err);
	sqlite3_close(copy.database);
	if (code == ERR_OK && chmod(path, 0600) != 0)
		code = ERR_SYS(err, ERR_ENVIRONMENT, "cannot set the mode of %s", path);
	return code;
}
