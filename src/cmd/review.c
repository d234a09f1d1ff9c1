/* parley review: cases of a key's use that is far above its own past. The gateway opens them; a
 * person decides. */
#include "cmd/admin_body.h"
#include "cmd/admin_client.h"
#include "cmd/commands.h"

#define LOOKS_MAX 256

static long long number_of(const json_t *object, const char *key)
{
	return (long long)json_integer_value(json_object_get(object, key));
}

static struct cli_option config_option(const char **config)
{
	return (struct cli_option){"config", 'c',    CLI_TEXT,
				   config,   "FILE", "the gateway's configuration (./parley.yaml)",
				   0,        0};
}

static struct cli_option json_option(bool *json)
{
	return (struct cli_option){"json", 0, CLI_FLAG, json, NULL, "the gateway's answer as JSON",
				   0,      0};
}

/* ---- list ---- */

/* The gateway looks by itself once a minute; whoever asks need not wait for that. */
static enum err_code look(const char *config, struct err *err)
{
	bool more = true;
	for (int i = 0; more && i < LOOKS_MAX; i++) {
		struct admin_answer answer;
		ERR_TRY(admin_client_ask(config, "POST", "/admin/v1/cases/look", NULL, &answer,
					 err));
		more = json_is_true(json_object_get(answer.body, "opened"));
		json_decref(answer.body);
	}
	return ERR_OK;
}

static void print_list(const json_t *cases)
{
	size_t index;
	json_t *row;
	if (json_array_size(cases) == 0)
		puts("no cases: no key is used far above its own past");
	json_array_foreach(cases, index, row)
	{
		const json_t *evidence = json_object_get(row, "evidence"), *finding;
		size_t i;
		printf("%s  %-9s  %s  key %s of %s, grant %s\n", json_text(row, "id"),
		       json_text(row, "state"), json_text(row, "opened"), json_text(row, "key"),
		       json_text(row, "org"), json_text(row, "grant"));
		json_array_foreach(evidence, i, finding)
			printf("    %s %lld, before at most %lld\n", json_text(finding, "signal"),
			       number_of(finding, "value"), number_of(finding, "past_most"));
	}
}

static int run_list(int argc, char **argv)
{
	const char *config = "parley.yaml";
	bool json = false;
	const struct cli_option options[] = {config_option(&config), json_option(&json), {0}};
	const struct cli_command command = {"review list", "", "Every case, decided ones too.",
					    options,       0,  0};
	struct cli_arguments arguments;
	struct admin_answer answer;
	struct err err = ERR_INIT;
	int status = cli_parse(&command, argc, argv, &arguments);
	if (status >= 0)
		return status;
	enum err_code code = look(config, &err);
	if (code == ERR_OK)
		code = admin_client_ask(config, "GET", "/admin/v1/cases", NULL, &answer, &err);
	if (code != ERR_OK)
		return cli_fail(&err);
	if (json)
		cli_print_json(answer.body);
	else
		print_list(json_object_get(answer.body, "cases"));
	json_decref(answer.body);
	return 0;
}

/* ---- show ---- */

static void print_finding(const json_t *finding)
{
	const json_t *benign = json_object_get(finding, "benign"), *row;
	size_t index;
	printf("\n%s: %lld %s, from %s\n", json_text(finding, "signal"),
	       number_of(finding, "value"), json_text(finding, "meaning"),
	       json_text(finding, "hour"));
	printf("  its own past: at most %lld, median %lld, in %lld hours of the last 7 days with "
	       "requests\n",
	       number_of(finding, "past_most"), number_of(finding, "past_median"),
	       number_of(finding, "past_hours"));
	printf("  hypothesis: %s\n  harmless explanations:\n", json_text(finding, "hypothesis"));
	json_array_foreach(benign, index, row)
		printf("    - %s\n      told by: %s\n", json_text(row, "explanation"),
		       json_text(row, "told_by"));
}

static void print_case(const json_t *view)
{
	const json_t *evidence = json_object_get(view, "evidence"), *finding;
	size_t index;
	printf("%s is %s, opened %s\nkey %s of %s, grant %s\n", json_text(view, "id"),
	       json_text(view, "state"), json_text(view, "opened"), json_text(view, "key"),
	       json_text(view, "org"), json_text(view, "grant"));
	if (*json_text(view, "person"))
		printf("by %s%s%s\n", json_text(view, "person"),
		       *json_text(view, "reason") ? ": " : "", json_text(view, "reason"));
	json_array_foreach(evidence, index, finding) print_finding(finding);
	puts("\nNumbers like these are wrong about most holders: few keys are shared, and many are "
	     "used anew.\nNothing has been done to the key. Ask first; a key that is bound to its "
	     "holder needs no guessing.\n  parley review decide CASE --ask | --bind FILE | "
	     "--throttle NAME=N | --dismiss --reason TEXT");
}

static int run_show(int argc, char **argv)
{
	const char *config = "parley.yaml";
	bool json = false;
	const struct cli_option options[] = {config_option(&config), json_option(&json), {0}};
	const struct cli_command command = {
		"review show",
		"CASE",
		"The evidence of a case, compared with the key's own past, and what harmless\n"
		"explanations there are.",
		options,
		1,
		1};
	struct cli_arguments arguments;
	struct admin_answer answer;
	struct err err = ERR_INIT;
	char target[512];
	int status = cli_parse(&command, argc, argv, &arguments);
	if (status >= 0)
		return status;
	snprintf(target, sizeof(target), "/admin/v1/cases/%s", arguments.positional[0]);
	if (admin_client_ask(config, "GET", target, NULL, &answer, &err) != ERR_OK)
		return cli_fail(&err);
	if (json)
		cli_print_json(answer.body);
	else
		print_case(answer.body);
	json_decref(answer.body);
	return 0;
}

/* ---- decide ---- */

struct deciding {
	const char *config, *reason, *bind;
	struct cli_list throttle;
	bool ask, dismiss, json;
};

static int send_decision(const struct deciding *deciding, const char *id)
{
	const char *decision = deciding->ask              ? "ask"
			       : deciding->bind           ? "bind"
			       : deciding->throttle.count ? "throttle"
							  : "dismiss";
	json_t *body = json_pack("{s:s, s:s}", "decision", decision, "reason", deciding->reason);
	struct admin_answer answer;
	struct err err = ERR_INIT;
	char target[512];
	enum err_code code = body ? ERR_OK : ERR_SET(&err, ERR_INVALID, "the reason is not UTF-8");
	if (code == ERR_OK && deciding->bind)
		code = admin_add_public_key(body, deciding->bind, &err);
	if (code == ERR_OK && deciding->throttle.count)
		admin_add_limits(body, &deciding->throttle);
	snprintf(target, sizeof(target), "/admin/v1/cases/%s/decide", id);
	if (code == ERR_OK)
		code = admin_client_ask(deciding->config, "POST", target, body, &answer, &err);
	json_decref(body);
	if (code != ERR_OK)
		return cli_fail(&err);
	if (deciding->json)
		cli_print_json(answer.body);
	else
		printf("%s is %s, record %s%s\n", id, json_text(answer.body, "state"),
		       json_text(answer.body, "record"),
		       json_object_get(answer.body, "not_notified")
			       ? "; the organisation left no address for notices: ask it yourself"
			       : "");
	json_decref(answer.body);
	return 0;
}

static int run_decide(int argc, char **argv)
{
	struct deciding deciding = {.config = "parley.yaml"};
	const struct cli_option options[] = {
		config_option(&deciding.config),
		json_option(&deciding.json),
		{"ask",     0, CLI_FLAG, &deciding.ask, NULL,
				  "ask the organisation what it is; nothing else changes", 0, 0},
		{"bind", 0, CLI_TEXT, &deciding.bind, "FILE",
				  "from now on requests must be signed with this public key of the holder's", 0, 0},
		{"throttle",     0, CLI_LIST, &deciding.throttle, "NAME=N",
				  "limits of the key alone (rpm=60); may be repeated", 0, 0},
		{"dismiss",        0, CLI_FLAG, &deciding.dismiss, NULL, "there is nothing to it", 0, 0},
		{"reason",         0, CLI_TEXT, &deciding.reason, "TEXT", "why; it goes on record", 0, 0},
		{0       }
        };
	const struct cli_command command = {
		"review decide",
		"CASE (--ask | --bind FILE | --throttle NAME=N… | --dismiss) --reason TEXT",
		"What a person makes of a case. Each is an act in the log, with person and "
		"reason;\n"
		"ask comes first, then binding the key, then throttling it.",
		options,
		1,
		1};
	struct cli_arguments arguments;
	int status = cli_parse(&command, argc, argv, &arguments);
	if (status >= 0)
		return status;
	int chosen = deciding.ask + (deciding.bind != NULL) + (deciding.throttle.count > 0) +
		     deciding.dismiss;
	if (chosen != 1)
		return cli_usage("review decide",
				 "choose one of --ask, --bind, --throttle and --dismiss");
	if (!deciding.reason || !*deciding.reason)
		return cli_usage("review decide", "--reason is needed: it goes on record");
	return send_decision(&deciding, arguments.positional[0]);
}

int cmd_review(int argc, char **argv)
{
	static const struct cli_verb verbs[] = {
		{"list",   run_list,   "Every case, decided ones too."            },
		{"show",   run_show,   "The evidence, with harmless explanations."},
		{"decide", run_decide, "Ask, bind, throttle or dismiss."          },
		{NULL,     NULL,       NULL				       }
        };
	return cli_dispatch("review", verbs, argc, argv);
}
