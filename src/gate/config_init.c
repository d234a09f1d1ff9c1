#include "gate/config.h"

#include "base/ed25519.h"

#include <stdio.h>
#include <stdlib.h>

#define PATH_MAX_BYTES 4096
#define TEXT_MAX ((size_t)64 << 10)

/* clang-format off */
static const char *const config_text =
	"# The gateway. Every key is explained in the operator guide; unknown keys are errors.\n"
	"name: \"%s\"\n"
	"listen: 127.0.0.1:8080          # model traffic; a list is allowed\n"
	"admin: 127.0.0.1:8081           # /metrics, /healthz, /readyz and the admin API\n"
	"data: .                         # logs, database, keys and socket, beside this file\n"
	"workers: 0                      # 0: one for each core\n"
	"\n"
	"# The model APIs behind this gateway. Keys come from the environment.\n"
	"providers: []\n"
	"#  - { name: north, dialect: anthropic, url: \"https://api.north.example\", key: \"${NORTH_API_KEY}\" }\n"
	"\n"
	"# The models that grants may name; prices are USD per million tokens.\n"
	"models: []\n"
	"#  - { name: north-1, provider: north, upstream: north-1-20261001, max_output: 8192, context: 200000, price: { input: 3.00, output: 15.00, cache_read: 0.30, cache_write: 3.75 } }\n"
	"\n"
	"log: { entries: members }       # who may read entries of the evaluation log: members or public\n"
	"max_body: 33554432\n"
	"durability: strict              # or relaxed\n";

static const char *const access_text =
	"# Who may test what, and how: `parley apply access.yaml` makes it so and prints the difference.\n"
	"# Nothing is admitted that is not granted here.\n"
	"orgs: []\n"
	"#  - { id: southlab, name: South Lab, rival: true, contact: \"evals@southlab.example\" }\n"
	"\n"
	"terms:\n"
	"  version: \"1\"\n"
	"  clauses:\n"
	"    - { id: D.4a, kind: prohibition, text: \"No use to build a competing product or train a competing model.\", enforced_by: [ suite.unbound ] }\n"
	"\n"
	"grants: []\n"
	"#  - id: south-eval-1\n"
	"#    org: southlab\n"
	"#    purposes: [ capability_benchmark, safety_evaluation ]\n"
	"#    models: [ north-1 ]\n"
	"#    suites: { classes: [ public, reviewed ], max_leaves: 5000, samples_per_leaf: 5 }\n"
	"#    release: V2\n"
	"#    limits: { rpm: 600, input_tpm: 400000, output_tpm: 80000, concurrency: 64, tokens_per_day: 20000000 }\n"
	"#    valid: { from: 2026-11-01, to: 2027-01-15 }\n"
	"#    overrides: [ D.4a ]\n"
	"#    notice_hours: 72\n"
	"#    appeal: \"mailto:access@example.org\"\n";
/* clang-format on */

enum { FILE_CONFIG, FILE_ACCESS, FILE_KEY, FILE_GRANT_KEY, FILES };
static const char *const file_names[FILES] = {"parley.yaml", "access.yaml", "signing.key",
					      "grant.key"};

static enum err_code path_of(const char *directory, const char *name, char *out, struct err *err)
{
	int length = snprintf(out, PATH_MAX_BYTES, "%s/%s", directory, name);
	if (length < 0 || length >= PATH_MAX_BYTES)
		return ERR_SET(err, ERR_TOO_LARGE, "%s/%s: the path is too long", directory, name);
	return ERR_OK;
}

static enum err_code check_free(struct env *env, const char *directory, struct err *err)
{
	char path[PATH_MAX_BYTES];
	for (int i = 0; i < FILES; i++) {
		ERR_TRY(path_of(directory, file_names[i], path, err));
		if (env_file_exists(env, path))
			return ERR_SET(err, ERR_EXISTS,
				       "%s is there already; nothing was changed; name another "
				       "directory",
				       path);
	}
	return ERR_OK;
}

static bool make_key(struct env *env, struct buf *out)
{
	uint8_t seed[ED25519_KEY_SIZE];
	env_random(env, seed, sizeof(seed));
	struct ed25519_private *key = ed25519_from_seed(seed);
	explicit_bzero(seed, sizeof(seed));
	bool good = key && ed25519_to_pem(key, out, NULL) == ERR_OK && !out->failed;
	ed25519_free(key);
	return good;
}

static enum err_code write_files(struct env *env, const char *directory, struct buf texts[],
				 struct err *err)
{
	static const unsigned modes[FILES] = {0644, 0644, 0600, 0600};
	char path[PATH_MAX_BYTES];
	/* The configuration comes last: while it is missing, the rest does no harm. */
	for (int i = FILES - 1; i >= 0; i--) {
		ERR_TRY(path_of(directory, file_names[i], path, err));
		ERR_TRY(env_write_file(env, path, buf_bytes(&texts[i]), modes[i], err));
	}
	return ERR_OK;
}

static const char *no_variable(const char *name)
{
	(void)name;
	return NULL;
}

/* The file must be readable by the reader it is meant for: that also checks the name. */
static enum err_code check_text(struct bytes text, const char *name, struct err *err)
{
	struct config *config;
	struct err reason = ERR_INIT;
	if (config_parse(text, "parley.yaml", no_variable, &config, &reason) != ERR_OK)
		return ERR_SET(err, ERR_USAGE, "--name %s cannot be used: %s", name,
			       reason.message);
	config_free(config);
	return ERR_OK;
}

enum err_code config_init(struct env *env, const char *directory, const char *name, struct err *err)
{
	if (!name)
		name = "localhost/parley";
	struct buf texts[FILES];
	for (int i = 0; i < FILES; i++)
		buf_init(&texts[i], TEXT_MAX);
	buf_printf(&texts[FILE_CONFIG], config_text, name);
	buf_append_cstr(&texts[FILE_ACCESS], access_text);
	enum err_code code = ERR_OK;
	if (!make_key(env, &texts[FILE_KEY]) || !make_key(env, &texts[FILE_GRANT_KEY]) ||
	    texts[FILE_CONFIG].failed || texts[FILE_ACCESS].failed)
		code = ERR_SET(err, ERR_NO_MEMORY, "no memory to make the files of a gateway");
	if (code == ERR_OK)
		code = check_text(buf_bytes(&texts[FILE_CONFIG]), name, err);
	if (code == ERR_OK)
		code = check_free(env, directory, err);
	if (code == ERR_OK)
		code = env_make_directories(env, directory, err);
	if (code == ERR_OK)
		code = write_files(env, directory, texts, err);
	for (int i = 0; i < FILES; i++) {
		if (i >= FILE_KEY && texts[i].data)
			explicit_bzero(texts[i].data, texts[i].size);
		buf_release(&texts[i]);
	}
	return code;
}

enum err_code config_make_key(struct env *env, const char *path, struct err *err)
{
	struct buf text = BUF_INIT(TEXT_MAX);
	enum err_code code = ERR_OK;
	if (!make_key(env, &text))
		code = ERR_SET(err, ERR_NO_MEMORY, "no memory to make %s", path);
	else
		code = env_write_file(env, path, buf_bytes(&text), 0600, err);
	if (text.data)
		explicit_bzero(text.data, text.size);
	buf_release(&text);
	return code;
}
