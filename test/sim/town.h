/* The simulated world of the gateway's tests: a stand-in upstream, the gateway with its operator,
 * and users who keep what they saw of their answers. */
#ifndef TEST_SIM_TOWN_H
#define TEST_SIM_TOWN_H

#include "env/env_sim.h"
#include "gate/admin.h"
#include "gate/gateway.h"
#include "standin/standin.h"

#define CONTAINER(pointer, type, member) ((type *)((char *)(pointer)-offsetof(type, member)))
#define SECOND ((uint64_t)1000000000)
#define USERS 5
#define ASKS 10 /* of each user */
#define KEPT_MAX 1000
#define QUESTIONS 7
#define FAULTS_END (40 * SECOND)
#define SERVED_BY (400 * SECOND)
#define QUIET (800 * SECOND)

enum mistake {
	NO_MISTAKE,
	ACKNOWLEDGES_EARLY,    /* after the write, before the sync */
	SYNCS_NOTHING,         /* says that it has */
	FORGETS_THE_DIRECTORY, /* names are never synced */
	/* Under an agreement: */
	IGNORES_A_REVOCATION, /* what is under way goes on */
	FORGETS_USE,          /* of one request in twenty */
	BILLS_TOO_MUCH,       /* one token of each answer */
	MISTAKES,
};

struct question {
	enum dialect_id dialect;
	bool stream;
	const char *body;
};

extern const struct question questions[QUESTIONS];

/* Who asks how. */
enum manner {
	PROPERLY,
	WITH_A_WRONG_KEY,
	FOR_AN_UNKNOWN_MODEL,
	/* Under an agreement only: */
	WITH_A_REVOKED_KEY,
	WITH_OTHER_WORDS, /* than any leaf has */
	MANNERS,
};
#define PRODUCT_MANNERS WITH_A_REVOKED_KEY

/* What the operator is doing. */
enum errand { NO_ERRAND, APPLYING, ISSUING, REGISTERING, REVOKING };

/* A request that was under way when the command that revoked its key returned, and how much of its
 * answer had come until then. */
struct revoked {
	char id[RECORD_ID_SIZE + 1];
	uint64_t text_bytes;
};
#define REVOKED_MAX 64
#define ENDINGS (RECORD_ENDING_SHUTDOWN + 1)

struct town;

/* One request and what came back. */
struct ask {
	struct town *town;
	const struct question *question;
	size_t place; /* of the question */
	enum manner manner;
	struct http_call call;
	struct buf head, body;
	char model_body[256];
	int status;
	char record[RECORD_ID_SIZE + 1];
	bool observing;
	struct dialect_observer observer;
	struct buf text;
	struct dialect_usage usage; /* once it is over */
	unsigned keys_ended;        /* when it began */
	struct err err;
	void (*over)(struct ask *ask);
};

struct user {
	struct ask ask;
	struct town *town;
	struct env_timer timer, leave;
	unsigned left;
	bool asking;
};

struct kept {
	char id[RECORD_ID_SIZE + 1];
	bool settled; /* its end was seen */
};

struct town {
	struct sim_world *sim;
	enum mistake mistake;
	struct env *gateway_node, *upstream_node, *user_node;
	struct env_ops wrong_ops;
	const struct env_ops *right_ops;
	/* The gateway */
	struct config *config;
	struct env_loop *admin_loop;
	struct gateway *gateway;
	struct admin_request act;
	bool initialised, stopped;
	bool relaxed;          /* durability */
	uint64_t segment_size; /* of its logs; 0: 1 MiB */
	const char *log_text;  /* the member `log` of its configuration, or NULL */
	char key[128];         /* "" until it is issued */
	char apply[2048];
	/* Under an agreement: an evaluation grant with a registered suite of the questions, keys
	 * that are revoked while answers are under way, users who go away. */
	bool agreed;
	bool tight; /* so little output a minute that streams are ended for it */
	enum errand errand;
	char fresh_key[128], revoked_key[128], key_id[64], target[128];
	uint8_t key_digest[SHA256_SIZE];
	char *suite, root[2 * SHA256_SIZE + 1]; /* what is registered */
	struct revoked revoked[REVOKED_MAX];
	size_t revoked_count;
	unsigned keys_ended; /* revoked, or unknown since a crash */
	unsigned keys_revoked, left_early;
	unsigned endings[ENDINGS]; /* how many were settled so */
	unsigned estimated, kept_uses;
	/* The stand-in, and one that never fails, to know what the other says */
	struct env_loop *upstream_loop;
	struct standin *standin, *honest;
	/* Users */
	struct env_loop *user_loop;
	struct http_pool *pool;
	struct http_origin *origin, *honest_origin;
	struct user users[USERS];
	struct ask reference;
	struct buf texts[QUESTIONS];            /* what the stand-in answers */
	struct dialect_usage usages[QUESTIONS]; /* and what it counts */
	size_t known_texts;
	/* What users have seen */
	struct kept kept[KEPT_MAX];
	size_t kept_count;
	unsigned crashes, answered, refused;
	const char *violation;
};

/* The first violation of a run is the one it tells. */
void town_violates(struct town *town, const char *violation);

/* ---- asks.c ---- */

/* `over` is called when call->ended was; the outcome is in the call. */
void ask_start(struct ask *ask, struct town *town, size_t place, enum manner manner,
	       struct http_origin *origin, void (*over)(struct ask *ask));
/* The text of a plain answer goes where a stream's is. */
void ask_read_plain(struct ask *ask);
/* What came back is what may come back; what was seen is kept for the oracle. `ended`: the call has
 * not failed. */
void ask_check(struct ask *ask, bool ended);
void ask_release(struct ask *ask);

/* ---- people.c ---- */

void town_upstream_start(struct town *town);
/* Learns what the stand-in says, and begins to ask. */
void town_users_start(struct town *town);

/* ---- operator.c ---- */

/* Makes the data directory, once. */
enum err_code town_initialise(struct town *town, struct err *err);
/* Opens the gateway and, to `serve`, starts it, applies access.yaml and issues a key. */
enum err_code town_gateway_begin(struct town *town, bool serve, struct err *err);
void town_gateway_end(struct town *town);
/* The process of this town's gateway ends. */
void town_gateway_exits(void *argument);

/* Revokes the key that is in use, where there is one, and issues another. */
void town_revoke(void *argument);

/* ---- agreement.c ---- */

/* The suite of the questions, as the body of its registration. */
void agreement_suite(struct town *town);
/* The command that revoked a key has returned. */
void agreement_revoked(struct town *town);
/* Nobody was given more of an answer than had come when its key was revoked. */
void agreement_check_cut(struct ask *ask);
/* Each admission has one outcome, and what is billed is what the stand-in said. */
void agreement_check_bills(struct town *town);
/* What is counted as used of the grant is what the log says. */
void agreement_check_use(struct town *town);
/* Has the use kept, and compares it with the log up to the place it was kept for. */
void agreement_keep_use(void *argument);
/* What the planted mistakes of the gateway are asked by; for one run at a time. */
void agreement_plant(enum mistake mistake);

/* ---- oracle.c ---- */

/* What users have seen is in the log. */
void oracle_check_log(struct town *town);
/* Every admit record has one outcome. */
uint64_t oracle_count_admits(struct town *town);
/* Nothing is in flight and every limit is full. */
void oracle_check_quiet(struct town *town);

#endif
