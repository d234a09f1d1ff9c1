/* parley org: the verbs that say more than an id and a reason; the others are operate.c's. */
#include "cmd/admin_body.h"
#include "cmd/admin_client.h"
#include "cmd/commands.h"

/* Options that every verb here has, and what is told with them. */
struct telling {
	const char *config, *reason;
	bool json;
};

#define COMMON_OPTIONS(telling)                                                                     \
	{"config", 'c',                                                                             \
	 CLI_TEXT, &(telling).config,                                                               \
	 "FILE",   "the gateway's configuration (./parley.yaml)",                                   \
	 0,        0},                                                                              \
		{"reason", 0, CLI_TEXT, &(telling).reason, "TEXT", "why; it goes on record", 0, 0}, \
	{                                                                                           \
		"json", 0, CLI_FLAG, &(telling).json, NULL, "the gateway's answer as JSON", 0, 0    \
	}

/* Members whose values are texts; NULL ones are left out. */
static bool set_text(json_t *body, const char *key, const char *text)
{
	return !text || json_object_set_new(body, key, json_string(text)) == 0;
}

static void print_names(const char *what, const json_t *names)
{
	size_t index;
	json_t *name;
	if (json_array_size(names) == 0)
		return;
	printf("%s:", what);
	json_array_foreach(names, index, name)
		printf("%s %s", index ? "," : "", json_string_value(name));
	putchar('\n');
}

static void print_done(const struct admin_answer *answer)
{
	const char *record = json_string_value(json_object_get(answer->body, "record"));
	const json_t *told = json_object_get(answer->body, "notified");
	if (json_is_false(json_object_get(answer->body, "changed")))
		puts("nothing to do: it is so already");
	else
		printf("done in %.1f ms%s%s\n", (double)answer->elapsed_us / 1000,
		       record ? ", record " : "", record ? record : "");
	if (json_is_integer(told))
		printf("notices on their way: %lld\n", (long long)json_integer_value(told));
	print_names("not told, for want of an address (notify)",
		    json_object_get(answer->body, "not_notified"));
}

/* Takes over `body`. */
static int call(const struct telling *telling, const char *target, json_t *body,
		void (*print)(const struct admin_answer *answer))
{
	struct err err = ERR_INIT;
	struct admin_answer answer = {0};
	enum err_code code = ERR_OK;
	if (!body || !set_text(body, "reason", telling->reason))
		code = ERR_SET(&err, ERR_INVALID, "what was given is not UTF-8");
	if (code == ERR_OK)
		code = admin_client_ask(telling->config, "POST", target, body, &answer, &err);
	if (code == ERR_OK && telling->json)
		cli_print_json(answer.body);
	else if (code == ERR_OK)
		print(&answer);
	json_decref(answer.body);
	json_decref(body);
	return code == ERR_OK ? 0 : cli_fail(&err);
}

/* ---- links ---- */

static json_t *link_body(const struct cli_arguments *arguments)
{
	return json_pack("{s:s, s:s, s:s}", "from", arguments->positional[0], "kind",
			 arguments->positional[1], "to", arguments->positional[2]);
}

static void print_link(const struct admin_answer *answer)
{
	const json_t *body = answer->body;
	printf("%s: %s, %s\n", json_string_value(json_object_get(body, "link")),
	       json_string_value(json_object_get(body, "status")),
	       json_string_value(json_object_get(body, "state")));
	print_done(answer);
}

#define NO_SHARE (-1.0)

static int run_link(int argc, char **argv)
{
	struct telling telling = {.config = "parley.yaml"};
	const char *status = "asserted", *evidence = NULL, *since = NULL, *until = NULL;
	double share = NO_SHARE;
	bool is_public = false;
	const struct cli_option options[] = {
		COMMON_OPTIONS(telling),
		{"status",  0, CLI_TEXT, &status, "S", "confirmed, asserted (default) or rumoured",
			   0, 0},
		{"share", 0, CLI_NUMBER, &share, "PERCENT", "of owns: how much it owns", 0, 100},
		{"evidence",      0, CLI_TEXT, &evidence, "TEXT", "what it is known from", 0, 0},
		{"since",         0, CLI_TEXT, &since, "DAY", "first UTC day, YYYY-MM-DD", 0, 0},
		{"until",         0, CLI_TEXT, &until, "DAY", "last UTC day, YYYY-MM-DD", 0, 0},
		{"public",        0, CLI_FLAG, &is_public, NULL, "refusals and notices may tell of it", 0,
			   0},
		{0  },
	};
	const struct cli_command command = {
		"org link",
		"FROM KIND TO [--status S] [--share PERCENT] [--evidence TEXT] [--public]",
		"Notes a link between two organisations, or changes it. KIND: owns, controls,\n"
		"acquiring, reseller_of. Only confirmed links decide anything; an unconfirmed one "
		"cuts\nnobody: it stops new grants, is told to the organisation, and lapses after "
		"30 days.",
		options,
		3,
		3};
	struct cli_arguments arguments;
	int result = cli_parse(&command, argc, argv, &arguments);
	if (result >= 0)
		return result;
	json_t *body = link_body(&arguments);
	bool good = body && set_text(body, "status", status) &&
		    set_text(body, "evidence", evidence) && set_text(body, "since", since) &&
		    set_text(body, "until", until);
	if (good && share > NO_SHARE)
		good = json_object_set_new(body, "share", json_real(share)) == 0;
	if (good && is_public)
		good = json_object_set_new(body, "public", json_true()) == 0;
	if (!good) {
		json_decref(body);
		body = NULL;
	}
	return call(&telling, "/admin/v1/links", body, print_link);
}

static int run_unlink(int argc, char **argv)
{
	struct telling telling = {.config = "parley.yaml"};
	const struct cli_option options[] = {COMMON_OPTIONS(telling), {0}};
	const struct cli_command command = {
		"org unlink",
		"FROM KIND TO [--reason TEXT]",
		"Takes a link back, and with it whatever it stopped or blocked.",
		options,
		3,
		3};
	struct cli_arguments arguments;
	int result = cli_parse(&command, argc, argv, &arguments);
	if (result >= 0)
		return result;
	return call(&telling, "/admin/v1/links/remove", link_body(&arguments), print_link);
}

/* ---- blocks ---- */

static void print_block(const struct admin_answer *answer)
{
	const json_t *rows = json_object_get(answer->body, "affiliates");
	const char *until = json_string_value(json_object_get(answer->body, "until"));
	size_t index;
	json_t *row;
	print_done(answer);
	json_array_foreach(rows, index, row)
	{
		const char *at = json_string_value(json_object_get(row, "at"));
		bool spared = json_is_true(json_object_get(row, "spared"));
		printf("  %s, grant %s: %s%s%s\n", json_string_value(json_object_get(row, "org")),
		       json_string_value(json_object_get(row, "grant")),
		       at ? "blocked from "
			  : "goes on, it is for safety_evaluation (--grant names it)",
		       at ? at : "", at && spared ? ", but for safety_evaluation" : "");
	}
	if (until)
		printf("affiliates are free again on %.10s unless the block is renewed\n", until);
}

static int run_block(int argc, char **argv)
{
	struct telling telling = {.config = "parley.yaml"};
	bool affiliates = false, now = false;
	struct cli_list grants = {0};
	const struct cli_option options[] = {
		COMMON_OPTIONS(telling),
		{"affiliates", 0, CLI_FLAG, &affiliates, NULL,
			   "also all that it controls or is acquiring, by confirmed links", 0, 0},
		{"now",    0, CLI_FLAG, &now, NULL, "without notice to them: emergencies", 0, 0},
		{"grant",        0, CLI_LIST, &grants, "G",
			   "a safety_evaluation grant of theirs not to be spared; may be repeated", 0, 0},
		{0          },
	};
	const struct cli_command command = {
		"org block",
		"ORG [--reason TEXT] [--affiliates [--now] [--grant G]...]",
		"Admits nothing more of it; live answers end. Returns when the record is durable "
		"and no worker\nrelays another byte. Affiliates have the notice that their grants "
		"agree (72 h where they\nagree none) and are free again after 30 days; the same "
		"command renews. `org unblock` undoes\nall of it.",
		options,
		1,
		1};
	struct cli_arguments arguments;
	char target[512];
	int result = cli_parse(&command, argc, argv, &arguments);
	if (result >= 0)
		return result;
	const char *org = arguments.positional[0];
	if (!admin_is_id(org))
		return cli_usage("org block", "\"%s\" is not an id", org);
	if (!affiliates && (now || grants.count))
		return cli_usage("org block",
				 "--now and --grant go with --affiliates: an org "
				 "blocked by name is blocked at once, with all its grants");
	json_t *body = json_object();
	if (body && affiliates)
		json_object_set_new(body, "affiliates", json_true());
	if (body && now)
		json_object_set_new(body, "now", json_true());
	for (size_t i = 0; body && i < grants.count; i++) {
		if (i == 0)
			json_object_set_new(body, "grants", json_array());
		json_array_append_new(json_object_get(body, "grants"),
				      json_string(grants.items[i]));
	}
	snprintf(target, sizeof(target), "/admin/v1/orgs/%s/block", org);
	return call(&telling, target, body, print_block);
}

/* ---- the others ---- */

static int run_list(int argc, char **argv)
{
	return operate_verb("org list", argc, argv);
}

static int run_show(int argc, char **argv)
{
	return operate_verb("org show", argc, argv);
}

static int run_unblock(int argc, char **argv)
{
	return operate_verb("org unblock", argc, argv);
}

int cmd_org(int argc, char **argv)
{
	static const struct cli_verb verbs[] = {
		{"list",								      run_list, "Every organisation."},
		{"show",						      run_show,
		 "One organisation with its links, teams and who controls it, as JSON."},
		{"block",								      run_block,
		 "Admits nothing more of it, and with --affiliates of all that it controls."},
		{"unblock",      run_unblock, "Lifts a block, and that of its affiliates with it."},
		{"link",								     run_link, "Notes a link between two organisations, or changes it."},
		{"unlink", run_unlink, "Takes a link back."},
		{0								  }
        };
	return cli_dispatch("org", verbs, argc, argv);
}
