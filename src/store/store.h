/* The gateway's documents: organisations, grants, keys, suites, runs. One interface; SQLite behind
 * it (one connection, rollback journal, synchronous=FULL, exclusive lock), used by the admin thread
 * only.
 *
 * Changes go in two steps, because the record in the log is the commit of an act (DESIGN.md section
 * 6): store_stage writes them durably beside the documents; when the record is durable,
 * store_finish moves them in. What a crash leaves staged is settled at the next start by looking
 * for the record. */
#ifndef STORE_STORE_H
#define STORE_STORE_H

#include "base/bytes.h"
#include "base/err.h"

struct store;

/* The numbers are stored with staged changes: add at the end. */
/* clang-format off */
#define STORE_KIND_TABLE(X) \
	/* name          table */ \
	X(ORG,           orgs) \
	X(LINK,          links) \
	X(TERMS,         terms) \
	X(PUBLIC_SUITE,  public_suites) \
	X(GRANT,         grants) \
	X(KEY,           keys) \
	X(SUITE,         suites) \
	X(RUN,           runs) \
	X(PSEUDONYM,     pseudonyms) \
	X(NOTICE,        notices) \
	X(USE,           uses) \
	X(EXPOSURE,      exposures) \
	X(CASE,          cases) \
	X(WATCH,         watch) \
	X(SIGNER,        signers)
/* clang-format on */

enum store_kind {
#define X(name, table) STORE_##name,
	STORE_KIND_TABLE(X)
#undef X
		STORE_KINDS
};

/* "orgs", "grants", … */
const char *store_kind_name(enum store_kind kind);

/* Opens the database at `path`, or one in memory where `path` is NULL. `create`: make it where
 * there is none (or an empty file); otherwise that is ERR_CORRUPT, so that a lost database is never
 * taken for an empty policy. ERR_LOCKED: another process has it. ERR_CORRUPT: damaged, not
 * Parley's, or of a later version. ERR_NO_SPACE and ERR_ENVIRONMENT as they come. */
enum err_code store_open(const char *path, bool create, struct store **out, struct err *err);
void store_close(struct store *store); /* NULL is fine */

/* One document. `document` is JSON text; `blob` may be empty (the leaf digests of a suite). */
struct store_document {
	enum store_kind kind;
	const char *id;
	struct bytes document;
	struct bytes blob;
};

/* A change and the commit that it waits for. */
struct store_change {
	struct store_document to;
	const char *commit; /* the text by which the record in the log is known; shared by changes
			     * that one record commits */
};

/* Calls `each` for every document of the kind in the order of their first appearance; the texts are
 * borrowed for the call. Stops at the first failure of `each` and returns it. */
typedef enum err_code store_each_function(void *argument, const struct store_document *document,
					  struct err *err);
enum err_code store_each(struct store *store, enum store_kind kind, store_each_function *each,
			 void *argument, struct err *err);

/* The one document with this id, if it is there. */
enum err_code store_find(struct store *store, enum store_kind kind, const char *id,
			 store_each_function *each, void *argument, struct err *err);

/* Durably notes changes that are about to be recorded in log number `log`; no record of them can
 * stand before `position`. Changes nothing else. All or nothing. */
enum err_code store_stage(struct store *store, int log, uint64_t position,
			  const struct store_change *changes, size_t count, struct err *err);

/* Durably moves the staged changes of these commits into the documents. */
enum err_code store_finish(struct store *store, const char *const *commits, size_t count,
			   struct err *err);

/* Durably forgets the staged changes of these commits. */
enum err_code store_abandon(struct store *store, const char *const *commits, size_t count,
			    struct err *err);

/* Each staged commit once, oldest first. */
typedef enum err_code store_staged_function(void *argument, const char *commit, int log,
					    uint64_t position, struct err *err);
enum err_code store_each_staged(struct store *store, store_staged_function *each, void *argument,
				struct err *err);

/* Durably writes documents at once, for those that no act stands behind: pseudonyms, and the use of
 * runs. All or nothing. */
enum err_code store_put(struct store *store, const struct store_document *documents, size_t count,
			struct err *err);

/* Durably removes one document (the erasure of a pseudonym), also from the journal, where its page
 * was kept while that was changed. A missing one is no error. */
enum err_code store_erase(struct store *store, enum store_kind kind, const char *id,
			  struct err *err);

/* Copies all of it, as it stands now, into a new database at `path`, durably. ERR_EXISTS if a file
 * is there. */
enum err_code store_copy(struct store *store, const char *path, struct err *err);

/* Named whole numbers kept durably ("log.0.applied"); `fallback` where there is none. */
enum err_code store_get_number(struct store *store, const char *name, uint64_t fallback,
			       uint64_t *out, struct err *err);
enum err_code store_put_number(struct store *store, const char *name, uint64_t value,
			       struct err *err);

#endif
