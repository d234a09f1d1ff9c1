/* What a run used, by the gateway's records, against the grant that the bundle carries
 * (grants/ID.json: the signed paper of docs/formats/grant.md). */
#ifndef VERIFY_GRANTS_H
#define VERIFY_GRANTS_H

#include "verify/receipts.h"

struct audit;

struct grant_request {
	int64_t admitted_ms, ended_ms;
	int64_t input, output; /* as limits count them: without what was read from a cache */
};

struct held_grant {
	char id[RECEIPT_ID_TEXT];
	char origin[NOTE_NAME_MAX + 1]; /* of its gateway's log; "": it is withheld */
	json_t *spec; /* owned: what is granted; NULL: the bundle does not hold it, or withholds it
		       */
	bool withheld;
	char issuer[NOTE_NAME_MAX + 1];
	enum signer signer;             /* of the log that vouches for the issuer's key */
	struct grant_request *requests; /* owned */
	size_t count, capacity;
	int64_t input, cached, output, largest_input, largest_output;
	size_t at_once;   /* requests under way together, at most */
	size_t estimated; /* counts that the provider did not tell */
};

#define GRANTS_MAX 64u

struct grants {
	struct held_grant *items; /* owned */
	size_t count;
};

/* Reads the grants that the bundle has, or that were opened. ERR_MISMATCH for one that is not
 * signed as it says, or that the log's key does not vouch for. */
enum err_code grants_load(struct audit *audit, struct err *err);
void grants_release(struct grants *grants);

/* Takes an admitted request into account; `outcome` may be NULL. ERR_MISMATCH where its grant does
 * not allow it: dates, model, purpose, release, leaf or sample. */
enum err_code grants_take(struct audit *audit, const struct receipt *admit,
			  const struct receipt *outcome, struct err *err);
/* After the last: ERR_MISMATCH where a limit was passed. */
enum err_code grants_check(struct audit *audit, struct err *err);
/* Whether the gateway's own paper says that all of the run was inside its grants. */
bool grants_inside(const struct grants *grants);
/* Says so in the report, and in its `grants`. */
void grants_note(struct audit *audit);

#endif
