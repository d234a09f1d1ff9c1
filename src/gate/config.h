/* parley.yaml (DESIGN.md section 4): every key is known; one that this build cannot honour is
 * refused by name, file and line, never ignored. */
#ifndef GATE_CONFIG_H
#define GATE_CONFIG_H

#include "base/arena.h"
#include "base/err.h"
#include "dialect/dialect.h"
#include "ledger/note.h"
#include "policy/limits.h"
#include "env/env.h"

#define CONFIG_TEXT_MAX ((size_t)4 << 20)
#define CONFIG_LISTENERS_MAX 16
#define CONFIG_PROVIDERS_MAX 1000
#define CONFIG_MODELS_MAX 10000
#define CONFIG_WORKERS_MAX 256
#define CONFIG_DEFAULT_MAX_OUTPUT 32768
#define CONFIG_BODY_MAX ((int64_t)256 << 20)

enum config_mode { CONFIG_ENFORCE, CONFIG_OBSERVE };

/* A PEM file that the configuration names. */
struct config_pem {
	const char *path;  /* NULL: none; relative to where the process is */
	struct bytes text; /* empty where only config_parse was called */
};

/* Of the listener: `authorities` vouch for clients, which then must show a certificate. Of a
 * provider: they vouch for it instead of the system's, and the certificate is ours. */
struct config_tls {
	struct config_pem certificate, key, authorities;
};

/* Those of the whole configuration where the provider has none of its own. */
struct config_provider_timeouts {
	uint64_t connect_ns;    /* TCP, proxy and TLS */
	uint64_t first_byte_ns; /* from the start of the request to the head of the answer */
	uint64_t stall_ns;      /* between two pieces of the answer */
};

struct config_provider {
	const char *name;
	enum dialect_id dialect;
	const char *url; /* http:// or https://, a host, no user, query or fragment */
	const char *key; /* the provider's credential; "" for none */
	struct config_tls tls;
	struct config_provider_timeouts timeouts;
};

/* USD per million tokens, in millionths of a dollar: 3.00 is 3,000,000. */
struct config_price {
	int64_t input, output, cache_read, cache_write;
};

struct config_model {
	const char *name;     /* as clients ask for it */
	unsigned provider;    /* place in providers */
	const char *upstream; /* as the provider calls it; the name where it is not given */
	int64_t max_output;   /* tokens; CONFIG_DEFAULT_MAX_OUTPUT where it is not given */
	int64_t context;      /* tokens; 0: not given */
	bool has_price;
	struct config_price price;
	struct limits_values limits;
};

/* How long the gateway waits for either side. */
struct config_timeouts {
	uint64_t head_ns;       /* for a request's head to arrive */
	uint64_t body_ns;       /* for its body; longer while it comes at body_rate */
	uint64_t idle_ns;       /* between two requests of a connection */
	uint64_t write_ns;      /* while a client takes nothing of its answer */
	uint64_t connect_ns;    /* to a provider: name, TCP and TLS */
	uint64_t first_byte_ns; /* for the head of a provider's answer */
	uint64_t stall_ns;      /* between two pieces of it */
	unsigned body_rate;     /* bytes a second on the whole; 0: none */
};

/* How organisations are told something. Webhooks need nothing of it. */
struct config_notices {
	const char *sendmail;          /* an absolute path; NULL: no mail is sent */
	const char *from;              /* a mail address; set where sendmail is */
	struct config_pem authorities; /* vouch for webhooks, instead of the system's */
};

/* How the other side of a pair of grants is asked. */
struct config_reciprocal {
	uint64_t poll_ns;
	struct config_pem authorities; /* vouch for its gateway, instead of the system's */
};

/* Who may read the evaluation log, and who cosigns its checkpoints. */
#define CONFIG_WITNESSES_MAX 16u
struct config_witness {
	struct note_key key;
	const char *url; /* /add-checkpoint follows it */
};
struct config_log {
	bool entries_public;
	/* The folder of marks (ledger/mark.h); NULL: one in the data directory. */
	const char *marks;
	struct config_witness *witnesses;
	unsigned witness_count;
	unsigned quorum;               /* so many must cosign before a checkpoint counts as
					  cosigned */
	struct config_pem authorities; /* vouch for witnesses, instead of the system's */
};

struct config {
	struct arena arena; /* private; owns everything below */
	const char *file;
	const char *name; /* log origin and name of the signing key */
	const char *data; /* the data directory: absolute, or relative to where the process is */
	struct env_address *listen;
	size_t listen_count;
	bool has_tls; /* the model listener speaks TLS */
	struct config_tls tls;
	bool has_admin;
	struct env_address admin;
	unsigned workers; /* 0: one for each core */
	enum config_mode mode;
	struct config_provider *providers;
	size_t provider_count;
	struct config_model *models;
	size_t model_count;
	struct config_log log;
	size_t max_body;   /* bytes */
	size_t memory_max; /* bytes of bodies and answers held at once, over all workers */
	struct config_timeouts timeouts;
	uint64_t ping_ns; /* a stream quiet for so long is sent a comment; 0: never */
	struct config_notices notices;
	struct config_reciprocal reciprocal;
	bool strict;                /* durability */
	uint32_t control_threshold; /* billionths: an org controls what it holds more of */
	/* Of the environment, for providers with https; NULL: not set. May hold a password. */
	const char *https_proxy, *no_proxy;
	/* Where `parley grade` listens: "unix:PATH", "http://IP:PORT" on this machine, or
	 * "https://HOST:PORT"; NULL: no verdicts are given.
	 */
	const char *grader;
	struct config_tls grader_tls; /* the gateway's certificate towards it, and its authority */
	bool grader_spawned;          /* the gateway starts it itself, at that socket */
	/* The URL by which clients know the model listener, for signatures over @target-uri; NULL:
	 * that of the listener and the Host field. No '/' at its end. */
	const char *public_url;
	const char *access_log; /* a file, "-" for the standard output; NULL: none */
};

/* getenv, or a test's. */
typedef const char *config_variable_function(const char *name);

/* Reads the file and the PEM files that it names; `${NAME}` in string values is replaced by the
 * variable, `$${` stands for `${`. On ERR_OK the caller owns *out (config_free). ERR_NOT_FOUND says
 * how to make one; ERR_INVALID and ERR_UNSUPPORTED name file, line and key. */
enum err_code config_load(struct env *env, const char *file, config_variable_function *variable,
			  struct config **out, struct err *err);
/* The same without the PEM files: for a command that only has to find the gateway, and must do so
 * (a revocation) whatever has become of a certificate. */
enum err_code config_load_text(struct env *env, const char *file,
			       config_variable_function *variable, struct config **out,
			       struct err *err);
/* The same from a text, without the PEM files; paths are relative to the directory part of `file`.
 */
enum err_code config_parse(struct bytes text, const char *file, config_variable_function *variable,
			   struct config **out, struct err *err);
/* Puts the values of the keys that need a restart from `running`, which must outlive it, into
 * `fresh`, and appends the names of those that differed to `told` ("listen, workers"). */
void config_keep_fixed(struct config *fresh, const struct config *running, struct buf *told);
void config_free(struct config *config); /* NULL is fine; forgets the keys */

/* "<data>/<name>" in `out`. ERR_TOO_LARGE if it does not fit. */
enum err_code config_data_path(const struct config *config, const char *name, char *out,
			       size_t size, struct err *err);

/* Makes DIR/parley.yaml, access.yaml, signing.key and grant.key (PKCS#8 PEM, 0600), on which
 * `parley serve` runs at once, and DIR where it is missing. `name` NULL takes "localhost/parley".
 * ERR_EXISTS, and nothing changed, if one of the three is there. The text of the signing key's
 * public part is not given: the log's vkey tells it. */
enum err_code config_init(struct env *env, const char *directory, const char *name,
			  struct err *err);
/* A new Ed25519 key at `path` (PKCS#8 PEM, 0600), durably. */
enum err_code config_make_key(struct env *env, const char *path, struct err *err);

#endif
