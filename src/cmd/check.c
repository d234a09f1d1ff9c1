/* parley grant check: what the running gateway would say to a request, and what it would reserve
 * for it. Nothing is sent to a provider and nothing is used up. */
#include "cmd/admin_client.h"
#include "cmd/commands.h"

#include <stdlib.h>
#include <unistd.h>

#define REQUEST_MAX ((size_t)48 << 20)

/* ---- reading ---- */

static enum err_code read_stdin(struct buf *out, struct err *err)
{
	char block[65536];
	ssize_t got;
	while ((got = read(STDIN_FILENO, block, sizeof(block))) > 0)
		buf_append(out, block, (size_t)got);
	if (got < 0)
		return ERR_SET(err, ERR_ENVIRONMENT, "cannot read the standard input");
	return out->failed ? ERR_SET(err, ERR_TOO_LARGE, "the request has more than %zu bytes",
				     REQUEST_MAX)
			   : ERR_OK;
}

static enum err_code read_request(const char *file, struct buf *out, struct err *err)
{
	if (strcmp(file, "-") == 0)
		return read_stdin(out, err);
	struct env *env = env_os_new(1);
	if (!env)
		return ERR_SET(err, ERR_NO_MEMORY, "no memory to read %s", file);
	enum err_code code = env_read_file(env, file, out, err);
	env_os_free(env);
	return code;
}

/* With --path the file is the body alone, byte for byte; else it is {path, method?, headers?,
 * body?}. */
static enum err_code make_question(const char *path, const char *file, struct bytes text,
				   json_t **out, struct err *err)
{
	if (path) {
		*out = json_pack("{s:s, s:s%}", "path", path, "body", text.data ? text.data : "",
				 text.size);
		return *out ? ERR_OK
			    : ERR_SET(err, ERR_INVALID, "%s: the request is not UTF-8", file);
	}
	ERR_TRY(json_parse(text, file, out, err));
	if (json_is_object(*out) && json_is_string(json_object_get(*out, "path")))
		return ERR_OK;
	return ERR_SET(err, ERR_INVALID,
		       "%s: must be {\"path\": …, \"headers\": {…}, \"body\": …}; for a body alone "
		       "give --path /v1/messages",
		       file);
}

/* ---- showing ---- */

static long long number_of(const json_t *answer, const char *key)
{
	return (long long)json_integer_value(json_object_get(answer, key));
}

static void show_line(const char *label, const char *text)
{
	if (!*text)
		return;
	printf("  %-9s ", label);
	cli_print_safe(stdout, bytes_from(text));
	putchar('\n');
}

static void show_clause(const json_t *answer)
{
	const json_t *clause = json_object_get(answer, "clause");
	if (!clause)
		return;
	printf("  %-9s %s (%s): ", "clause", json_text(clause, "id"), json_text(clause, "kind"));
	cli_print_safe(stdout, bytes_from(json_text(clause, "text")));
	putchar('\n');
}

static void show_refusal(const json_t *answer)
{
	const json_t *wait = json_object_get(answer, "retry_after_ms");
	printf("refused by %s (HTTP %lld): ", json_text(answer, "rule"),
	       number_of(answer, "status"));
	cli_print_safe(stdout, bytes_from(json_text(answer, "message")));
	putchar('\n');
	show_clause(answer);
	show_line("appeal", json_text(answer, "appeal"));
	if (wait)
		printf("  %-9s %.1f s\n", "wait", (double)json_integer_value(wait) / 1000);
	if (json_is_true(json_object_get(answer, "let_through")))
		puts("  the gateway is in mode observe: it lets the request through and logs this");
}

static void show_reserve(const json_t *answer)
{
	const json_t *reserves = json_object_get(answer, "reserves");
	if (!reserves)
		return;
	printf("  %-9s 1 request, %lld input tokens (estimate), %lld output tokens to begin with; "
	       "at most %lld come\n",
	       "reserves", number_of(reserves, "input"), number_of(reserves, "output"),
	       number_of(answer, "output_most"));
	if (json_object_get(reserves, "usd"))
		printf("  %-9s %.6f USD for what is reserved, at most %.6f USD\n", "cost",
		       json_number_value(json_object_get(reserves, "usd")),
		       json_number_value(json_object_get(reserves, "usd_most")));
}

static void show_facts(const json_t *answer)
{
	size_t index;
	json_t *row;
	show_line("grant", json_text(answer, "grant"));
	show_line("org", json_text(answer, "org"));
	show_line("key", json_text(answer, "key"));
	show_line("model", json_text(answer, "model"));
	show_line("purpose", json_text(answer, "purpose"));
	show_line("release", json_text(answer, "release"));
	if (*json_text(answer, "suite"))
		printf("  %-9s leaf %lld of %s (%s)\n", "suite", number_of(answer, "leaf"),
		       json_text(answer, "suite_name"), json_text(answer, "suite"));
	show_line("run", json_is_true(json_object_get(answer, "opens_run"))
				 ? "one over the whole suite would be opened first"
				 : json_text(answer, "run"));
	show_reserve(answer);
	json_array_foreach(json_object_get(answer, "limits"), index, row) printf(
		"  %-9s %s: %lld of %lld %s left\n", index ? "" : "limits", json_text(row, "of"),
		number_of(row, "remaining"), number_of(row, "max"), json_text(row, "unit"));
	json_array_foreach(json_object_get(answer, "supposed"), index, row)
		show_line(index ? "" : "supposing", json_string_value(row));
}

/* 1: it would be refused. */
static int show(const struct admin_answer *answer, bool json)
{
	bool admitted = strcmp(json_text(answer->body, "outcome"), "admitted") == 0;
	if (json) {
		cli_print_json(answer->body);
		return admitted ? 0 : 1;
	}
	if (admitted)
		puts("admitted");
	else
		show_refusal(answer->body);
	show_facts(answer->body);
	return admitted ? 0 : 1;
}

/* ---- the command ---- */

static int ask(const char *config, json_t *question, bool json)
{
	struct err err = ERR_INIT;
	struct admin_answer answer = {0};
	enum err_code code =
		admin_client_ask(config, "POST", "/admin/v1/check", question, &answer, &err);
	int status = code == ERR_OK ? show(&answer, json) : cli_fail(&err);
	json_decref(answer.body);
	return status;
}

int grant_check(int argc, char **argv)
{
	const char *config = "parley.yaml", *key = NULL, *path = NULL;
	bool json = false;
	const struct cli_option options[] = {
		{"config",  'c', CLI_TEXT, &config, "FILE",
		 "the gateway's configuration (./parley.yaml)", 0, 0},
		{"path", 0, CLI_TEXT, &path, "PATH",
		 "the file is the body alone, sent to this path (/v1/messages)", 0, 0},
		{"key",   0, CLI_TEXT, &key, "KEY",
		 "the key's public id; else the first of the grant that is in force", 0, 0},
		{"json",        0, CLI_FLAG, &json, NULL, "the gateway's answer as JSON", 0, 0},
		{0        },
	};
	const struct cli_command command = {
		"grant check",
		"[GRANT] FILE [--path PATH] [--key KEY]",
		GRANT_CHECK_HELP
		"\nFILE (-: standard input) is {\"path\": …, \"headers\": {…}, \"body\": …}, or, "
		"with "
		"--path, the\nbody alone. Whose it is: the key in the headers, else --key, else "
		"GRANT's first. Exit 0\nwhere it would be admitted, 1 where not. Nothing is sent "
		"upstream, used up or logged.",
		options,
		1,
		2};
	struct cli_arguments arguments;
	struct err err = ERR_INIT;
	int status = cli_parse(&command, argc, argv, &arguments);
	if (status >= 0)
		return status;
	const char *grant = arguments.count == 2 ? arguments.positional[0] : NULL;
	const char *file = arguments.positional[arguments.count - 1];
	struct buf text = BUF_INIT(REQUEST_MAX);
	json_t *question = NULL;
	enum err_code code = read_request(file, &text, &err);
	if (code == ERR_OK)
		code = make_question(path, file, buf_bytes(&text), &question, &err);
	if (code == ERR_OK &&
	    ((grant && json_object_set_new(question, "grant", json_string(grant))) ||
	     (key && json_object_set_new(question, "key", json_string(key)))))
		code = ERR_SET(&err, ERR_INVALID, "the grant or the key is not UTF-8");
	status = code == ERR_OK ? ask(config, question, json) : cli_fail_given(&err);
	json_decref(question);
	buf_release(&text);
	return status;
}
