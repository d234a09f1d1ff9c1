/* What the command behind `bench proxy` finds in its environment: where to ask, and a made-up key
 * instead of the real ones, which stay with us. */
#include "bench/proxy_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

extern char **environ;

#define VARIABLES_MAX 4096u
#define LOCAL_HOSTS "127.0.0.1,localhost"

/* A NULL text takes the variable away: it would lead past the port. */
struct variable {
	const char *name, *text;
};

/* What official SDKs and harnesses read (docs/evaluator-guide.md has the list for users). */
static const struct variable usual[] = {
	{"PARLEY_PROXY_URL",            "{url}"   },
	{"PARLEY_PROXY_KEY",            "{key}"   },
	{"ANTHROPIC_BASE_URL",          "{url}"   },
	{"ANTHROPIC_API_KEY",           "{key}"   },
	{"ANTHROPIC_AUTH_TOKEN",        NULL      },
	{"OPENAI_BASE_URL",             "{url}/v1"},
	{"OPENAI_API_BASE_URL",         "{url}/v1"},
	{"OPENAI_API_BASE",             "{url}/v1"},
	{"OPENAI_API_HOST",             NULL      },
	{"OPENAI_API_KEY",              "{key}"   },
	{"GOOGLE_GEMINI_BASE_URL",      "{url}"   },
	{"GOOGLE_API_BASE_URL",         "{url}"   },
	{"GOOGLE_BASE_URL",             "{url}"   },
	{"GOOGLE_API_HOST",             NULL      },
	{"PALM_API_HOST",               NULL      },
	{"GEMINI_API_KEY",              "{key}"   },
	{"GOOGLE_API_KEY",              "{key}"   },
	{"GOOGLE_GENAI_USE_VERTEXAI",   NULL      },
	{"GOOGLE_GENAI_USE_ENTERPRISE", NULL      },
	{"MISTRAL_API_BASE_URL",        "{url}/v1"},
	{"MISTRAL_BASE_URL",            "{url}"   },
	{"MISTRAL_API_HOST",            NULL      },
	{"MISTRAL_API_KEY",             "{key}"   },
	{"XAI_API_BASE_URL",            "{url}/v1"},
	{"GROK_BASE_URL",               "{url}/v1"},
	{"XAI_API_KEY",                 "{key}"   },
	{"GROK_API_KEY",                "{key}"   },
};

struct environment {
	const struct proxy *proxy;
	struct arena *arena;
	const char **list;
	size_t count;
};

static bool is_named(const char *entry, struct bytes name)
{
	return strncmp(entry, name.data, name.size) == 0 && entry[name.size] == '=';
}

static void drop(struct environment *environment, struct bytes name)
{
	size_t kept = 0;
	for (size_t i = 0; i < environment->count; i++)
		if (!is_named(environment->list[i], name))
			environment->list[kept++] = environment->list[i];
	environment->count = kept;
}

static bool put(struct environment *environment, struct bytes name, struct bytes text)
{
	char *entry =
		arena_printf(environment->arena, "%.*s=%.*s", BYTES_ARG(name), BYTES_ARG(text));
	drop(environment, name);
	if (!entry || environment->count == VARIABLES_MAX)
		return false;
	environment->list[environment->count++] = entry;
	return true;
}

/* {url} and {key} in place. */
static bool put_filled(struct environment *environment, struct bytes name, struct bytes text)
{
	const struct proxy *proxy = environment->proxy;
	struct buf filled = BUF_INIT(65536);
	while (text.size > 0) {
		if (bytes_starts_with(text, BYTES("{url}")))
			buf_append_cstr(&filled, proxy->url);
		else if (bytes_starts_with(text, BYTES("{key}")))
			buf_append_cstr(&filled, proxy->key);
		else {
			buf_append_char(&filled, text.data[0]);
			text = bytes_of(text.data + 1, text.size - 1);
			continue;
		}
		text = bytes_of(text.data + 5, text.size - 5);
	}
	bool good = !filled.failed && put(environment, name, buf_bytes(&filled));
	buf_release(&filled);
	return good;
}

/* A proxy of the machine's is not asked the way to our own port. */
static bool keep_local(struct environment *environment, const char *name)
{
	const char *before = getenv(name);
	const char *text = arena_printf(environment->arena, "%s%s" LOCAL_HOSTS,
					before ? before : "", before && *before ? "," : "");
	return text && put(environment, bytes_from(name), bytes_from(text));
}

static bool start(struct environment *environment)
{
	environment->list = arena_alloc(environment->arena, (VARIABLES_MAX + 1) * sizeof(char *));
	for (char **at = environ; environment->list && at && *at; at++) {
		if (environment->count == VARIABLES_MAX)
			return false;
		environment->list[environment->count++] = *at;
	}
	return environment->list != NULL;
}

/* The keys that the run itself uses. */
static void drop_keys(struct environment *environment)
{
	const struct plan *plan = &environment->proxy->run->plan;
	for (unsigned i = 0; i < plan->model_count; i++)
		if (plan->models[i].key_env)
			drop(environment, bytes_from(plan->models[i].key_env));
}

static enum err_code put_named(struct environment *environment, const char *text, struct err *err)
{
	struct bytes rest, name = bytes_split(bytes_from(text), '=', &rest);
	return put_filled(environment, name, rest)
		       ? ERR_OK
		       : ERR_SET(err, ERR_TOO_LARGE, "--env %.*s: too long, or too many variables",
				 BYTES_ARG(name));
}

enum err_code command_environment(const struct proxy *proxy, struct arena *arena,
				  const char *const **out, struct err *err)
{
	struct environment environment = {.proxy = proxy, .arena = arena};
	bool good = start(&environment);
	if (good)
		drop_keys(&environment);
	for (size_t i = 0; good && i < sizeof(usual) / sizeof(usual[0]); i++) {
		struct bytes name = bytes_from(usual[i].name);
		if (usual[i].text)
			good = put_filled(&environment, name, bytes_from(usual[i].text));
		else
			drop(&environment, name);
	}
	good = good && keep_local(&environment, "NO_PROXY") && keep_local(&environment, "no_proxy");
	if (!good)
		return ERR_SET(err, ERR_TOO_LARGE, "the environment is too large");
	for (const char *const *at = proxy->options->variables; at && *at; at++)
		ERR_TRY(put_named(&environment, *at, err));
	environment.list[environment.count] = NULL;
	*out = environment.list;
	return ERR_OK;
}

/* ---- the program ---- */

enum err_code command_find(const char *name, char **out, struct err *err)
{
	const char *path = getenv("PATH");
	struct bytes rest = bytes_from(path && *path ? path : "/usr/bin:/bin");
	*out = NULL;
	if (strchr(name, '/')) {
		if (access(name, X_OK) != 0)
			return ERR_SYS(err, ERR_USAGE, "the command %s cannot be run", name);
		*out = bytes_to_cstr(bytes_from(name));
		return *out ? ERR_OK : ERR_SET(err, ERR_NO_MEMORY, "out of memory");
	}
	while (rest.data) {
		struct bytes folder = bytes_split(rest, ':', &rest);
		char candidate[4096];
		int size = snprintf(candidate, sizeof(candidate), "%.*s/%s",
				    folder.size ? (int)folder.size : 1,
				    folder.size ? folder.data : ".", name);
		if (size < 0 || (size_t)size >= sizeof(candidate) || access(candidate, X_OK) != 0)
			continue;
		*out = bytes_to_cstr(bytes_from(candidate));
		return *out ? ERR_OK : ERR_SET(err, ERR_NO_MEMORY, "out of memory");
	}
	return ERR_SET(err, ERR_USAGE,
		       "there is no program \"%s\" in PATH: what follows -- is a command with its "
		       "arguments, as on a command line of its own",
		       name);
}
