/* parley org|grant|key and apply: each verb is a row (method, path, what it may be told), carried
 * out by the running gateway. */
#include "cmd/admin_body.h"
#include "cmd/admin_client.h"
#include "cmd/commands.h"
#include "cmd/grant.h"
#include "ledger/record.h"

#include <stdlib.h>

#define COLUMNS_MAX 8

/* Options besides --config and --json. */
enum extra {
	EXTRA_REASON = 1,
	EXTRA_ISSUE = 2,
	EXTRA_SENDER = 4,
	EXTRA_ROTATE = 8,
	EXTRA_BIND = 16,
	EXTRA_LIMIT = 32,
	EXTRA_PENDING = 64,
	EXTRA_USAGE = 128
};

enum show { SHOW_LIST, SHOW_OBJECT, SHOW_ACT, SHOW_KEY };

struct verb {
	const char *command;       /* "grant revoke" */
	const char *method, *path; /* %s: the id */
	const char *usage, *help;
	enum show show;
	const char *list; /* member of the answer; SHOW_LIST */
	const char *columns[COLUMNS_MAX];
	bool has_id;
	unsigned options; /* of enum extra; `true` is a reason alone */
};

struct telling {
	const char *config, *reason, *org, *grant, *team, *expires, *overlap;
	const char *public_key, *certificate;
	struct cli_list networks, limits;
	bool json, now, none, pending, usage;
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
	if (json_is_array(value)) {
		size_t used = 0, index;
		json_t *item;
		scratch[0] = '\0';
		json_array_foreach(value, index, item)
		{
			const char *text = json_string_value(item);
			if (used < size)
				used += (size_t)snprintf(scratch + used, size - used, "%s%s",
							 index ? "," : "", text ? text : "?");
		}
		return scratch;
	}
	if (json_is_object(value)) /* a binding */
		return cell(value, "kind", scratch, size);
	return json_is_true(value) ? "yes" : json_is_false(value) ? "no" : "";
}

static void print_rows(const json_t *rows, const char *const columns[COLUMNS_MAX])
{
	int widths[COLUMNS_MAX] = {0};
	char scratch[256];
	for (int c = 0; c < COLUMNS_MAX && columns[c]; c++) {
		widths[c] = (int)strlen(columns[c]);
		for (size_t i = 0; i < json_array_size(rows); i++) {
			int width = (int)strlen(cell(json_array_get(rows, i), columns[c], scratch,
						     sizeof(scratch)));
			widths[c] = width > widths[c] ? width : widths[c];
		}
	}
	for (int c = 0; c < COLUMNS_MAX && columns[c]; c++)
		printf("%-*s  ", widths[c], columns[c]);
	putchar('\n');
	for (size_t i = 0; i < json_array_size(rows); i++) {
		for (int c = 0; c < COLUMNS_MAX && columns[c]; c++)
			printf("%-*s  ", widths[c],
			       cell(json_array_get(rows, i), columns[c], scratch, sizeof(scratch)));
		putchar('\n');
	}
}

static void show_list(const struct verb *verb, const json_t *body)
{
	print_rows(json_object_get(body, verb->list), verb->columns);
}

/* What was used by day, week and month, then of each limit. */
static void show_usage(const json_t *body)
{
	static const struct verb use = {
		.list = "use",
		.columns = {"period", "requests", "input", "cache_read", "cache_write", "output",
			    "tokens", "usd"}
        };
	static const struct verb limits = {
		.list = "limits",
		.columns = {"limit", "of", "max", "used", "reserved", "left", "full_again"}
        };
	if (json_object_get(body, "use")) {
		show_list(&use, body);
		putchar('\n');
	} else {
		puts("The key has no limits of its own: what it uses is counted with its grant.\n");
	}
	show_list(&limits, body);
	const json_t *words = json_object_get(body, "words");
	if (words)
		printf("\nOf the words that open runs have asked, %lld bytes were registered, and "
		       "%lld were answers.\n",
		       (long long)json_integer_value(json_object_get(words, "registered")),
		       (long long)json_integer_value(json_object_get(words, "free")));
}

static void show_overlap(const char *replaces, const json_t *body)
{
	char time[RECORD_TIME_SIZE];
	record_time(json_integer_value(json_object_get(body, "replaced_expires_ms")), time);
	fprintf(stderr, "It replaces %s, which goes on until %s.\n", replaces, time);
}

static void show(const struct verb *verb, const struct telling *telling,
		 const struct admin_answer *answer)
{
	const char *key = json_string_value(json_object_get(answer->body, "key"));
	if (telling->json) {
		cli_print_json(answer->body);
	} else if (telling->usage) {
		show_usage(answer->body);
	} else if (verb->show == SHOW_LIST) {
		show_list(verb, answer->body);
	} else if (verb->show == SHOW_OBJECT) {
		cli_print_json(answer->body);
	} else if (verb->show == SHOW_KEY && key) {
		const char *replaces = json_string_value(json_object_get(answer->body, "replaces"));
		fprintf(stderr, "Key %s, shown this once; the gateway keeps only its hash.\n",
			json_string_value(json_object_get(answer->body, "id")));
		if (replaces)
			show_overlap(replaces, answer->body);
		printf("%s\n", key);
	} else {
		const char *record = json_string_value(json_object_get(answer->body, "record"));
		const char *state = json_string_value(json_object_get(answer->body, "state"));
		if (json_is_false(json_object_get(answer->body, "changed"))) {
			printf("nothing to do%s%s\n", state ? ": it is " : "", state ? state : "");
			return;
		}
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
		{"reason",                 telling->reason     },
		{"org",                    telling->org        },
		{"grant",                  telling->grant      },
		{"team",                   telling->team       },
		{"expires",                telling->expires    },
		{"overlap",                telling->overlap    },
		{"certificate_thumbprint", telling->certificate},
	};
	for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++)
		if (members[i].value)
			json_object_set_new(body, members[i].name, json_string(members[i].value));
	if (telling->none)
		json_object_set_new(body, "none", json_true());
	for (size_t i = 0; i < telling->networks.count; i++) {
		if (i == 0)
			json_object_set_new(body, "networks", json_array());
		json_array_append_new(json_object_get(body, "networks"),
				      json_string(telling->networks.items[i]));
	}
	if (verb->options & EXTRA_LIMIT)
		admin_add_limits(body, &telling->limits);
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
	if (telling->usage)
		strncat(target, "/usage", sizeof(target) - strlen(target) - 1);
	json_t *body = get ? NULL : body_of(verb, telling);
	enum err_code code = ERR_OK;
	if (telling->public_key)
		code = admin_add_public_key(body, telling->public_key, &err);
	if (code != ERR_OK) {
		json_decref(body);
		return cli_fail(&err);
	}
	code = admin_client_ask(telling->config, verb->method, target, body, &answer, &err);
	json_decref(body);
	if (code == ERR_OK)
		show(verb, telling, &answer);
	json_decref(answer.body);
	return code == ERR_OK ? 0 : cli_fail(&err);
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
	/* clang-format off */
	const struct {
		unsigned of; /* enum extra */
		struct cli_option option;
	} extras[] = {
		{EXTRA_REASON, {"reason", 0, CLI_TEXT, &telling.reason, "TEXT", "why; it goes on record",
		 0, 0}},
		{EXTRA_ISSUE, {"org", 0, CLI_TEXT, &telling.org, "O", "whose key it is", 0, 0}},
		{EXTRA_ISSUE, {"grant", 0, CLI_TEXT, &telling.grant, "G", "under which grant", 0, 0}},
		{EXTRA_ISSUE, {"team", 0, CLI_TEXT, &telling.team, "T", "of which team", 0, 0}},
		{EXTRA_ISSUE | EXTRA_ROTATE, {"expires", 0, CLI_TEXT, &telling.expires, "T",
		 "last UTC day (YYYY-MM-DD), a time, or 30d, 12h from now", 0, 0}},
		{EXTRA_ROTATE, {"overlap", 0, CLI_TEXT, &telling.overlap, "SPAN",
		 "how long the old key goes on: 24h (default), 7d, 0h", 0, 0}},
		{EXTRA_SENDER | EXTRA_ROTATE, {"public-key", 0, CLI_TEXT, &telling.public_key, "FILE",
		 "requests must be signed with this Ed25519 key (PEM, JWK or base64)", 0, 0}},
		{EXTRA_SENDER | EXTRA_ROTATE, {"certificate-thumbprint", 0, CLI_TEXT, &telling.certificate,
		 "SHA256", "the client certificate that must be shown", 0, 0}},
		{EXTRA_SENDER, {"network", 0, CLI_LIST, &telling.networks, "CIDR",
		 "where it may come from; may be repeated", 0, 0}},
		{EXTRA_BIND, {"none", 0, CLI_FLAG, &telling.none, NULL, "lift the binding", 0, 0}},
		{EXTRA_PENDING, {"pending", 0, CLI_FLAG, &telling.pending, NULL,
		 "only those that nobody has approved or rejected", 0, 0}},
		{EXTRA_USAGE, {"usage", 0, CLI_FLAG, &telling.usage, NULL,
		 "what was used today, this week and this month (UTC), and of each limit", 0, 0}},
		{EXTRA_LIMIT, {"limit", 0, CLI_LIST, &telling.limits, "NAME=N",
		 "a limit of this key alone (rpm=60); none at all lifts them", 0, 0}},
	};
	/* clang-format on */
	struct cli_option options[2 + sizeof(extras) / sizeof(extras[0]) + 1] = {config, json};
	size_t option_count = 2;
	for (size_t i = 0; i < sizeof(extras) / sizeof(extras[0]); i++)
		if (verb->options & extras[i].of)
			options[option_count++] = extras[i].option;
	struct cli_command command = {verb->command, verb->usage,  verb->help,
				      options,       verb->has_id, verb->has_id};
	struct cli_arguments arguments;
	int status = cli_parse(&command, argc, argv, &arguments);
	if (status >= 0)
		return status;
	if (verb->has_id && !admin_is_id(arguments.positional[0]))
		return cli_usage(verb->command, "\"%s\" is not an id", arguments.positional[0]);
	if ((verb->options & EXTRA_ISSUE) && (!telling.org || !telling.grant))
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
	{"org show", "GET", "/admin/v1/orgs/%s", "ORG", "One organisation with its links, teams and who controls it, as JSON.",
	 SHOW_OBJECT, NULL, {0}, true, false},
	{"org unblock", "POST", "/admin/v1/orgs/%s/unblock", "ORG [--reason TEXT]",
	 "Lifts a block, and that of its affiliates with it.", SHOW_ACT, NULL, {0}, true, true},
	{"grant list", "GET", "/admin/v1/grants", "", "Every grant.",
	 SHOW_LIST, "grants", {"id", "org", "team", "state", "from", "to", "release"}, false, false},
	{"grant show", "GET", "/admin/v1/grants/%s", "GRANT [--usage]", "One grant and its use, as JSON; with --usage, tables of its use.",
	 SHOW_OBJECT, NULL, {0}, true, EXTRA_USAGE},
	{"grant suspend", "POST", "/admin/v1/grants/%s/suspend", "GRANT [--reason TEXT]",
	 "Stops a grant until it is restored; " LIVE_ENDS, SHOW_ACT, NULL, {0}, true, true},
	{"grant restore", "POST", "/admin/v1/grants/%s/restore", "GRANT [--reason TEXT]",
	 "Lifts a suspension.", SHOW_ACT, NULL, {0}, true, true},
	{"grant revoke", "POST", "/admin/v1/grants/%s/revoke", "GRANT [--reason TEXT]",
	 "Ends a grant for ever; " LIVE_ENDS, SHOW_ACT, NULL, {0}, true, true},
	{"key issue", "POST", "/admin/v1/keys",
	 "--org O --grant G [--team T] [--expires T] [--network CIDR]… [--public-key FILE]",
	 "Issues a key and prints it alone on stdout, this once.", SHOW_KEY, NULL, {0}, false,
	 EXTRA_REASON | EXTRA_ISSUE | EXTRA_SENDER},
	{"key list", "GET", "/admin/v1/keys", "", "Every key, by its public id.",
	 SHOW_LIST, "keys",
	 {"id", "org", "grant", "team", "state", "expires", "binding", "networks"}, false, false},
	{"key show", "GET", "/admin/v1/keys/%s", "KEY [--usage]", "One key by its public id, as JSON; with --usage, tables of its use.",
	 SHOW_OBJECT, NULL, {0}, true, EXTRA_USAGE},
	{"key rotate", "POST", "/admin/v1/keys/%s/rotate", "KEY [--overlap 24h] [--expires T]",
	 "Issues another key like it and prints that alone on stdout, this once; the old\none goes on "
	 "until the overlap is over.", SHOW_KEY, NULL, {0}, true,
	 EXTRA_REASON | EXTRA_ROTATE},
	{"key bind", "POST", "/admin/v1/keys/%s/bind",
	 "KEY (--public-key FILE | --certificate-thumbprint SHA256 | --none) [--network CIDR]…",
	 "Admits requests of a key only where its sender proves himself: by signatures, a client\n"
	 "certificate, or the network they come from. Answers under way go on.", SHOW_ACT, NULL, {0},
	 true, EXTRA_REASON | EXTRA_SENDER | EXTRA_BIND},
	{"key limit", "POST", "/admin/v1/keys/%s/limit", "KEY --limit NAME=N…",
	 "Sets the limits of one key, within those of its grant.", SHOW_ACT, NULL, {0}, true,
	 EXTRA_REASON | EXTRA_LIMIT},
	{"key revoke", "POST", "/admin/v1/keys/%s/revoke", "KEY [--reason TEXT]",
	 "Ends a key for ever; " LIVE_ENDS, SHOW_ACT, NULL, {0}, true, true},
	{"suite list", "GET", "/admin/v1/suites", "[--pending]",
	 "Every suite registered with the gateway, or those that wait for approval. With\n"
	 "--gateway URL#ENV: those of a key's grant, over HTTP.",
	 SHOW_LIST, "suites", {"id", "grant", "name", "version", "class", "leaves"}, false,
	 EXTRA_PENDING},
	{"suite show", "GET", "/admin/v1/suites/%s", "SUITE", "One registered suite, as JSON. With --gateway URL#ENV: over HTTP, with a key.",
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

#define MORE_MAX 8
#define VERBS_COUNT (sizeof(verbs) / sizeof(verbs[0]))

/* The verb's own name within `group` ("revoke" of "grant revoke"), or NULL if it is another
 * group's. */
static const char *name_in(const struct verb *verb, const char *group)
{
	size_t size = strlen(group);
	bool inside = strncmp(verb->command, group, size) == 0 && verb->command[size] == ' ';
	return inside ? verb->command + size + 1 : NULL;
}

/* Verbs with a function of their own stand in `more`, or NULL. */
static int run_group(const char *group, const struct cli_verb *more, int argc, char **argv)
{
	struct cli_verb listed[VERBS_COUNT + MORE_MAX + 1] = {0};
	size_t count = 0;
	for (const struct cli_verb *verb = more; verb && verb->name; verb++) {
		if (argc > 0 && strcmp(verb->name, argv[0]) == 0)
			return verb->run(argc - 1, argv + 1);
		listed[count++] = *verb;
	}
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

void operate_print_list(const char *command, const json_t *rows)
{
	for (size_t i = 0; i < VERBS_COUNT; i++)
		if (strcmp(verbs[i].command, command) == 0)
			print_rows(rows, verbs[i].columns);
}

int cmd_grant(int argc, char **argv)
{
	static const struct cli_verb more[] = {
		{"check",           grant_check, GRANT_CHECK_HELP},
		{"offer", grant_offer, GRANT_OFFER_HELP},
		{"sign",           grant_sign, GRANT_SIGN_HELP},
		{0}
        };
	return run_group("grant", more, argc, argv);
}

int cmd_key(int argc, char **argv)
{
	return run_group("key", NULL, argc, argv);
}

/* ---- apply ---- */

static int apply_text(const char *config, const char *file, struct bytes text, bool dry_run,
		      const char *what_if, bool json)
{
	struct err err = ERR_INIT;
	struct admin_answer answer;
	json_t *body = json_pack("{s:s, s:s%, s:b}", "file", file, "text", text.data, text.size,
				 "dry_run", dry_run);
	if (!body) {
		fprintf(stderr, "parley: %s is not UTF-8\n", file);
		return 1;
	}
	if (what_if && json_object_set_new(body, "what_if", json_string(what_if))) {
		json_decref(body);
		return cli_usage("apply", "--what-if must be a span like 7d");
	}
	enum err_code code =
		admin_client_ask(config, "POST", "/admin/v1/apply", body, &answer, &err);
	json_decref(body);
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
	const char *config = "parley.yaml", *what_if = NULL;
	bool dry_run = false, json = false;
	const struct cli_option options[] = {
		{"config",  'c', CLI_TEXT, &config, "FILE",
		 "the gateway's configuration (./parley.yaml)", 0, 0},
		{"dry-run", 'n', CLI_FLAG, &dry_run, NULL, "print the difference, change nothing",
		 0, 0},
		{"what-if",   0, CLI_TEXT, &what_if, "SPAN",
		 "change nothing; tell which requests of the last 7d, 12h the file would refuse", 0,
		 0},
		{"json",        0, CLI_FLAG, &json, NULL, "the difference as JSON", 0, 0},
		{0        },
	};
	const struct cli_command command = {"apply",
					    "ACCESS.yaml [--dry-run | --what-if 7d]",
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
				    what_if, json);
	else
		status = cli_fail_given(&err);
	buf_release(&text);
	env_os_free(env);
	return status;
}
