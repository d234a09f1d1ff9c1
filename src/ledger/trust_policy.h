/* Whom a reader trusts to vouch for a checkpoint (C2SP tlog-policy): logs, witnesses, groups of
 * them and the quorum. Pure. */
#ifndef LEDGER_TRUST_POLICY_H
#define LEDGER_TRUST_POLICY_H

#include "ledger/note.h"

#define TRUST_LOGS_MAX 64u
#define TRUST_NODES_MAX 128u /* witnesses and groups */
#define TRUST_TEXT_MAX ((size_t)256 << 10)
#define TRUST_NOBODY UINT32_MAX

struct trust_log {
	struct note_key key;
};

/* A witness, or a group of what was defined before it. */
struct trust_node {
	char name[NOTE_NAME_MAX + 1];
	bool is_group;
	struct note_key key; /* of a witness: NOTE_COSIGNATURE */
	unsigned threshold;  /* of a group: so many of its members */
	unsigned members;    /* of a group */
	uint32_t parent;     /* the group it is a member of, or TRUST_NOBODY */
};

struct trust_policy {
	struct trust_log logs[TRUST_LOGS_MAX];
	unsigned log_count;
	struct trust_node nodes[TRUST_NODES_MAX]; /* in the order of definition */
	unsigned node_count;
	uint32_t quorum; /* a node, or TRUST_NOBODY: no cosignature is asked for */
};

/* ERR_INVALID with the number of the line, ERR_UNSUPPORTED for keys of another kind, ERR_TOO_LARGE
 * beyond the limits above, ERR_NO_MEMORY. The caller frees *out with free(). */
enum err_code trust_policy_parse(struct bytes text, struct trust_policy **out, struct err *err);

/* What the witnesses of a policy say of one checkpoint. */
struct trust_finding {
	unsigned cosigned;                /* witnesses that did */
	unsigned witnesses;               /* that there are */
	bool quorum;                      /* enough of them */
	bool by[TRUST_NODES_MAX];         /* for each node: a witness that did */
	uint64_t time_s[TRUST_NODES_MAX]; /* when */
};
/* ERR_MISMATCH where a witness's cosignature is there and wrong. */
enum err_code trust_policy_evaluate(const struct trust_policy *policy, const struct note *note,
				    struct trust_finding *out, struct err *err);

#endif
