/* parley org|grant|key and apply: each verb is a row (method, path, what it may be told), carried
 * out by the running gateway. */
#include "cmd/admin_client.h"
#include "cmd/commands.h"

#include <stdlib.h>

enum show { SHOW_LIST, SHOW_OBJECT, SHOW_ACT, SHOW_KEY };

struct verb {
	const char *command;       /* "grant revoke" */
	const char *method, *path; /* %s: the id */
	const char *usage, *help;
	enum show show;
	const char *list; /* member of the answer; SHOW_LIST */
	const char *columns[6];
	bool has_id, has_reason;
};

struct telling {
	const char *config, *reason, *org, *grant, *team, *expires;
	bool json, now, pending;
};

/* ---- showing ---- */

static const char *cell(const json_t *row, const char *column, char *scratch, size_t size)
{
	const json_t *value = json_object_get(row, column);
	if (json_is_string(value))
		return json_string_value(value);
	if (json_is_integer(value)) {
		snprintf(scratch, size, "%lld", (long long)json_integer_value(value));
		return scratch;
	}
	return json_is_true(value) ? "yes" : json_is_false(value) ? "no" : "";
}

static void show_list(const struct verb *verb, const json_t *body)
{
	const json_t *rows = json_object_get(body, verb->list);
	int widths[6] = {0};
	char scratch[32];
	for (int c = 0; c < 6 && verb->columns[c]; c++) {
		widths[c] = (int)strlen(verb->columns[c]);
		for (size_t i = 0; i < json_array_size(rows); i++) {
			int width = (int)strlen(cell(json_array_get(rows, i), verb->columns[c],
						     scratch, sizeof(scratch)));
			widths[c] = width > widths[c] ? width : widths[c];
		}
	}
	for (int c = 0; c < 6 && verb->columns[c]; c++)
		printf("%-*s  ", widths[c], verb->columns[c]);
	putchar('\n');
	for (size_t i = 0; i < json_array_size(rows); i++) {
		for (int c = 0; c < 6 && verb->columns[c]; c++)
			printf("%-*s  ", widths[c],
			       cell(json_array_get(rows, i), verb->columns[c], scratch,
				    sizeof(scratch)));
		putchar('\n');
	}
}

static void show(const struct verb *verb, const struct telling *telling,
		 const struct admin_answer *answer)
{
	const char *key = json_string_value(json_object_get(answer->body, "key"));
	if (telling->json) {
		cli_print_json(answer->body);
	} else if (verb->show == SHOW_LIST) {
		show_list(verb, answer->body);
	} else if (verb->show == SHOW_OBJECT) {
		cli_print_json(answer->body);
	} else if (verb->show == SHOW_KEY && key) {
		fprintf(stderr, "Key %s, shown this once; the gateway keeps only its hash.\n",
			json_string_value(json_object_get(answer->body, "id")));
		printf("%s\n", key);
	} else {
		const char *record = json_string_value(json_object_get(answer->body, "record"));
		printf("done in %.1f ms%s%s\n", (double)answer->elapsed_us / 1000,
		       record ? ", record " : "", record ? record : "");
	}
}

/* ---- calling ---- */

static json_t *body_of(const struct verb *verb, const struct telling *telling)
{
	json_t *body = json_object();
	const struct {
		const char *name, *value;
	} members[] = {
		{"reason",  telling->reason },
		{"org",     telling->org    },
		{"grant",   telling->grant  },
		{"team",    telling->team   },
		{"expires", telling->expires}
        };
	for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++)
		if (members[i].value)
			json_object_set_new(body, members[i].name, json_string(members[i].value));
	(void)verb;
	return body;
}

/* The verb's path, with the id where it has its `%s`. */
static void write_target(const struct verb *verb, const char *id, char *out, size_t size)
{
	const char *place = strstr(verb->path, "%s");
	if (place)
		snprintf(out, size, "%.*s%s%s", (int)(place - verb->path), verb->path, id,
			 place + 2);
	else
		snprintf(out, size, "%s", verb->path);
}

static int call_and_show(const struct verb *verb, const struct telling *telling, const char *id)
{
	struct err err = ERR_INIT;
	struct admin_answer answer;
	char target[1024];
	bool get = strcmp(verb->method, "GET") == 0;
	write_target(verb, id, target, sizeof(target));
	if (telling->pending)
		strncat(target, "?pending", sizeof(target) - strlen(target) - 1);
	json_t *body = get ? NULL : body_of(verb, telling);
	enum err_code code =
		admin_client_call(telling->config, verb->method, target, body, &answer, &err);
	json_decref(body);
	if (code == ERR_OK)
		code = admin_client_check(&answer, &err);
	if (code == ERR_OK)
		show(verb, telling, &answer);
	json_decref(answer.body);
	return code == ERR_OK ? 0 : cli_fail(&err);
}

/* Suites are what waits for approval: their list can be narrowed to those. */
static bool is_suites(const struct verb *verb)
{
	return verb->show == SHOW_LIST && strcmp(verb->list, "suites") == 0;
}

/* Ids go into a path: what would need an escape is no id. */
static bool is_id(const char *text)
{
	for (const char *c = text; *c; c++)
		if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-",
			    *c))
			return false;
	return text[0] != '\0';
}

static int run_verb(const struct verb *verb, int argc, char **argv)
{
	struct telling telling = {.config = "parley.yaml"};
	const struct cli_option config = {"config", 'c',
					  CLI_TEXT, &telling.config,
					  "FILE",   "the gateway's configuration (./parley.yaml)",
					  0,        0};
	const struct cli_option json = {
		"json", 0, CLI_FLAG, &telling.json, NULL, "the gateway's answer as JSON", 0, 0};
	const struct cli_option reason = {
		"reason", 0, CLI_TEXT, &telling.reason, "TEXT", "why; it goes on record", 0, 0};
	const struct cli_option issue[] = {
		config,
		json,
		{"org",     0, CLI_TEXT, &telling.org, "O", "whose key it is", 0, 0},
		{"grant", 0, CLI_TEXT, &telling.grant, "G", "under which grant", 0, 0},
		{"team",      0, CLI_TEXT, &telling.team, "T", "of which team", 0, 0},
		{"expires",        0, CLI_TEXT, &telling.expires, "T", "last UTC day, YYYY-MM-DD", 0, 0},
		{0        }
        };
	const struct cli_option plain[] = {config, json, {0}};
	const struct cli_option act[] = {config, json, reason, {0}};
	const struct cli_option pending[] = {
		config,
		json,
		{"pending", 0, CLI_FLAG, &telling.pending, NULL,
		  "only those that nobody has approved or rejected", 0, 0},
		{0}
        };
	const struct cli_option *options = verb->show == SHOW_KEY ? issue
					   : verb->has_reason     ? act
					   : is_suites(verb)      ? pending
								  : plain;
	struct cli_command command = {verb->command, verb->usage,  verb->help,
				      options,       verb->has_id, verb->has_id};
	struct cli_arguments arguments;
	int status = cli_parse(&command, argc, argv, &arguments);
	if (status >= 0)
		return status;
	if (verb->has_id && !is_id(arguments.positional[0]))
		return cli_usage(verb->command, "\"%s\" is not an id", arguments.positional[0]);
	if (verb->show == SHOW_KEY && (!telling.org || !telling.grant))
		return cli_usage(verb->command, "--org and --grant are needed");
	return call_and_show(verb, &telling, verb->has_id ? arguments.positional[0] : NULL);
}

/* ---- the verbs ---- */

#define LIVE_ENDS \
	"live answers end. Returns when the record is durable and no worker\nrelays another byte."

/* clang-format off */
static const struct verb verbs[] = {
	{"org list", "GET", "/admin/v1/orgs", "", "Every organisation.",
	 SHOW_LIST, "orgs", {"id", "name", "blocked", "rival"}, false, false},
	{"org show", "GET", "/admin/v1/orgs/%s", "ORG", "One organisation, as JSON.",
	 SHOW_OBJECT, NULL, {0}, true, false},
	{"org block", "POST", "/admin/v1/orgs/%s/block", "ORG [--reason TEXT]",
	 "Admits nothing more of it; " LIVE_ENDS, SHOW_ACT, NULL, {0}, true, true},
	{"org unblock", "POST", "/admin/v1/orgs/%s/unblock", "ORG [--reason TEXT]",
	 "Lifts a block.", SHOW_ACT, NULL, {0}, true, true},
	{"grant list", "GET", "/admin/v1/grants", "", "Every grant.",
	 SHOW_LIST, "grants", {"id", "org", "state", "from", "to", "release"}, false, false},
	{"grant show", "GET", "/admin/v1/grants/%s", "GRANT", "One grant and its use, as JSON.",
	 SHOW_OBJECT, NULL, {0}, true, false},
	{"grant suspend", "POST", "/admin/v1/grants/%s/suspend", "GRANT [--reason TEXT]",
	 "Stops a grant until it is restored; " LIVE_ENDS, SHOW_ACT, NULL, {0}, true, true},
	{"grant restore", "POST", "/admin/v1/grants/%s/restore", "GRANT [--reason TEXT]",
	 "Lifts a suspension.", SHOW_ACT, NULL, {0}, true, true},
	{"grant revoke", "POST", "/admin/v1/grants/%s/revoke", "GRANT [--reason TEXT]",
	 "Ends a grant for ever; " LIVE_ENDS, SHOW_ACT, NULL, {0}, true, true},
	{"key issue", "POST", "/admin/v1/keys", "--org O --grant G [--team T] [--expires T]",
	 "Issues a key and prints it alone on stdout, this once.", SHOW_KEY, NULL, {0}, false, false},
	{"key list", "GET", "/admin/v1/keys", "", "Every key, by its public id.",
	 SHOW_LIST, "keys", {"id", "org", "grant", "team", "state"}, false, false},
	{"key revoke", "POST", "/admin/v1/keys/%s/revoke", "KEY [--reason TEXT]",
	 "Ends a key for ever; " LIVE_ENDS, SHOW_ACT, NULL, {0}, true, true},
	{"suite list", "GET", "/admin/v1/suites", "[--pending]",
	 "Every suite registered with the gateway, or those that wait for approval.",
	 SHOW_LIST, "suites", {"id", "grant", "name", "version", "class", "leaves"}, false, false},
	{"suite show", "GET", "/admin/v1/suites/%s", "SUITE", "One registered suite, as JSON.",
	 SHOW_OBJECT, NULL, {0}, true, false},
	{"suite approve", "POST", "/admin/v1/suites/%s/approve", "SUITE [--reason TEXT]",
	 "Makes a private suite reviewed: grants that name the class may run it from now on.",
	 SHOW_ACT, NULL, {0}, true, true},
	{"suite reject", "POST", "/admin/v1/suites/%s/reject", "SUITE [--reason TEXT]",
	 "Refuses a suite, or takes an approval back, and closes its open runs; answers under way end\n"
	 "as they would have. It stays private (V0 only) until it is approved.",
	 SHOW_ACT, NULL, {0}, true, true},
};
/* clang-format on */

#define VERBS_COUNT (sizeof(verbs) / sizeof(verbs[0]))

/* The verb's own name within `group` ("revoke" of "grant revoke"), or NULL if it is another
 * group's. */
static const char *name_in(const struct verb *verb, const char *group)
{
	size_t size = strlen(group);
	bool inside = strncmp(verb->command, group, size) == 0 && verb->command[size] == ' ';
	return inside ? verb->command + size + 1 : NULL;
}

static int run_group(const char *group, int argc, char **argv)
{
	struct cli_verb listed[VERBS_COUNT + 1] = {0};
	size_t count = 0;
	for (size_t i = 0; i < VERBS_COUNT; i++) {
		const char *name = name_in(&verbs[i], group);
		if (name && argc > 0 && strcmp(name, argv[0]) == 0)
			return run_verb(&verbs[i], argc - 1, argv + 1);
		if (name)
			listed[count++] = (struct cli_verb){name, NULL, verbs[i].help};
	}
	return cli_overview(group, listed, argc, argv);
}

int operate_verb(const char *command, int argc, char **argv)
{
	for (size_t i = 0; i < VERBS_COUNT; i++)
		if (strcmp(verbs[i].command, command) == 0)
			return run_verb(&verbs[i], argc, argv);
	return cli_usage(command, "there is no such command");
}

int cmd_org(int argc, char **argv)
{
	return run_group("org", argc, argv);
}

int cmd_grant(int argc, char **argv)
{
	return run_group("grant", argc, argv);
}

int cmd_key(int argc, char **argv)
{
	return run_group("key", argc, argv);
}

/* ---- apply ---- */

static int apply_text(const char *config, const char *file, struct bytes text, bool dry_run,
		      bool json)
{
	struct err err = ERR_INIT;
	struct admin_answer answer;
	json_t *body = json_pack("{s:s, s:s%, s:b}", "file", file, "text", text.data, text.size,
				 "dry_run", dry_run);
	if (!body) {
		fprintf(stderr, "parley: %s is not UTF-8\n", file);
		return 1;
	}
	enum err_code code =
		admin_client_call(config, "POST", "/admin/v1/apply", body, &answer, &err);
	json_decref(body);
	if (code == ERR_OK)
		code = admin_client_check(&answer, &err);
	const char *difference = json_string_value(json_object_get(answer.body, "text"));
	if (code == ERR_OK && json)
		cli_print_json(answer.body);
	else if (code == ERR_OK && difference && difference[0])
		fputs(difference, stdout);
	else if (code == ERR_OK)
		puts("nothing to do: everything is as the file says");
	json_decref(answer.body);
	return code == ERR_OK ? 0 : cli_fail(&err);
}

int cmd_apply(int argc, char **argv)
{
	const char *config = "parley.yaml";
	bool dry_run = false, json = false;
	const struct cli_option options[] = {
		{"config",  'c', CLI_TEXT, &config, "FILE",
		 "the gateway's configuration (./parley.yaml)", 0, 0},
		{"dry-run", 'n', CLI_FLAG, &dry_run, NULL, "print the difference, change nothing",
		 0, 0},
		{"json",   0, CLI_FLAG, &json, NULL, "the difference as JSON", 0, 0},
		{0       },
	};
	const struct cli_command command = {"apply",
					    "ACCESS.yaml [--dry-run]",
					    "Makes organisations, links, terms and grants as the "
					    "file says and prints the difference.\n"
					    "Applying the same file again changes nothing. It "
					    "never deletes, unblocks, restores or\n"
					    "revives; what this build cannot enforce is refused.",
					    options,
					    1,
					    1};
	struct cli_arguments arguments;
	struct err err = ERR_INIT;
	int status = cli_parse(&command, argc, argv, &arguments);
	if (status >= 0)
		return status;
	struct env *env = env_os_new(1);
	struct buf text = BUF_INIT((size_t)16 << 20);
	if (!env)
		return 3;
	if (env_read_file(env, arguments.positional[0], &text, &err) == ERR_OK)
		status = apply_text(config, arguments.positional[0], buf_bytes(&text), dry_run,
				    json);
	else
		status = cli_fail(&err);
	buf_release(&text);
	env_os_free(env);
	return status;
}
