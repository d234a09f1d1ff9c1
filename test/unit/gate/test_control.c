/* The control plane: acts take effect when and only when their record is durable, in the order in
 * which they were asked for, and nothing brings back what was ended. */
#include "fake_gateway.h"

#include <sys/wait.h>

static struct fake_gateway gateway;

static int set_up(void **state)
{
	(void)state;
	fake_start(&gateway);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	fake_stop(&gateway);
	return 0;
}

static const struct world_grant *the_grant(void)
{
	const struct world_grant *grant = world_find_grant(gateway.world, BYTES("south-eval-1"));
	assert_non_null(grant);
	return grant;
}

static void act(const char *target, const char *body, unsigned status)
{
	json_t *answer = fake_ask(&gateway, NULL, "POST", target, body);
	if (gateway.status != status)
		fail_msg("%s: %u %s", target, gateway.status, json_dumps(answer, 0));
}

static bool log_has(enum control_log log, const char *text)
{
	char *all = fake_log(&gateway, log);
	bool found = strstr(all, text) != NULL;
	free(all);
	return found;
}

/* ---- apply ---- */

static void apply_makes_a_world_and_says_what_changed(void **state)
{
	(void)state;
	json_t *answer = fake_apply(&gateway, fake_access(), 200);
	assert_int_equal(json_integer_value(json_object_get(answer, "added")), 3);
	assert_non_null(strstr(fake_text(&gateway, "text"), "+ grant south-eval-1\n"));
	const struct world_grant *grant = the_grant();
	assert_string_equal(grant->org->id, "southlab");
	assert_true(grant->org->rival);
	assert_int_equal(strncmp(grant->org->pseudonym, "org_", 4), 0);
	assert_int_equal(grant->state, GRANT_ACTIVE);
	assert_int_equal(grant->until_ms - grant->from_ms, 62 * WORLD_DAY_MS);
	assert_int_equal(grant->limits.max[LIMIT_RPM], 600);
	assert_int_equal(grant->limits.max[LIMIT_OUTPUT_TPM], LIMIT_NONE);
	assert_int_equal(grant->max_leaves, 10);
	assert_string_equal(world_terms_version(gateway.world), "2026-11");
	assert_true(log_has(CONTROL_EVALUATION, "\"act\":\"grant.apply\""));
	/* The log names the org by its pseudonym only. */
	assert_false(log_has(CONTROL_EVALUATION, "southlab"));
}

static void applying_again_changes_nothing(void **state)
{
	(void)state;
	fake_apply(&gateway, fake_access(), 200);
	unsigned published = gateway.published;
	uint64_t records = gateway.positions[CONTROL_EVALUATION];
	json_t *answer = fake_apply(&gateway, fake_access(), 200);
	assert_int_equal(json_integer_value(json_object_get(answer, "unchanged")), 3);
	assert_string_equal(fake_text(&gateway, "text"), "0 added, 0 changed, 3 unchanged\n");
	assert_int_equal(gateway.published, published);
	assert_int_equal(gateway.positions[CONTROL_EVALUATION], records);
	fake_reopen(&gateway);
	answer = fake_apply(&gateway, fake_access(), 200);
	assert_int_equal(json_integer_value(json_object_get(answer, "unchanged")), 3);
}

/* The text with one piece replaced (to be freed). */
static char *with(const char *text, const char *from, const char *to)
{
	const char *at = strstr(text, from);
	struct buf out = BUF_INIT(65536);
	assert_non_null(at);
	buf_append(&out, text, (size_t)(at - text));
	buf_append_cstr(&out, to);
	buf_append_cstr(&out, at + strlen(from));
	assert_false(out.failed);
	return out.data;
}

static void a_changed_member_is_named(void **state)
{
	(void)state;
	fake_apply(&gateway, fake_access(), 200);
	char *text = with(fake_access(), "rpm: 600", "rpm: 300, concurrency: 4");
	json_t *dry = fake_ask_json(&gateway, NULL, "POST", "/admin/v1/apply",
				    json_pack("{s:s, s:b}", "text", text, "dry_run", true));
	assert_int_equal(gateway.status, 200);
	assert_int_equal(json_integer_value(json_object_get(dry, "changed")), 1);
	assert_int_equal(the_grant()->limits.max[LIMIT_RPM], 600);
	fake_apply(&gateway, text, 200);
	assert_non_null(strstr(fake_text(&gateway, "text"), "~ grant south-eval-1\n"));
	assert_non_null(strstr(fake_text(&gateway, "text"), "    limits.rpm: 600 -> 300\n"));
	assert_non_null(
		strstr(fake_text(&gateway, "text"), "    limits.concurrency: (none) -> 4\n"));
	assert_int_equal(the_grant()->limits.max[LIMIT_RPM], 300);
	free(text);
}

static void apply_never_deletes(void **state)
{
	(void)state;
	fake_apply(&gateway, fake_access(), 200);
	fake_apply(&gateway, "orgs: []\ngrants: []\n", 200);
	assert_int_equal(the_grant()->state, GRANT_ACTIVE);
}

static void apply_never_unblocks_restores_or_revives(void **state)
{
	(void)state;
	fake_apply(&gateway, fake_access(), 200);
	act("/admin/v1/orgs/southlab/block", "{\"reason\":\"sanctions\"}", 200);
	act("/admin/v1/grants/south-eval-1/suspend", "{\"reason\":\"doubt\"}", 200);
	char *changed = with(fake_access(), "South Lab", "South Laboratory");
	char *faster = with(changed, "rpm: 600", "rpm: 900");
	fake_apply(&gateway, faster, 200);
	assert_true(the_grant()->org->blocked);
	assert_string_equal(the_grant()->org->name, "South Laboratory");
	assert_string_equal(the_grant()->org->block_reason, "sanctions");
	assert_int_equal(the_grant()->state, GRANT_SUSPENDED);
	assert_int_equal(the_grant()->limits.max[LIMIT_RPM], 900);
	act("/admin/v1/grants/south-eval-1/revoke", "{\"reason\":\"over\"}", 200);
	fake_apply(&gateway, faster, 200);
	assert_int_equal(the_grant()->state, GRANT_REVOKED);
	fake_apply(&gateway, fake_access(), 409);
	assert_non_null(strstr(fake_text(&gateway, "detail"), "new id"));
	free(changed);
	free(faster);
}

static void an_expired_grant_is_not_revived(void **state)
{
	(void)state;
	const char *old =
		"orgs: [ { id: south } ]\n"
		"grants: [ { id: g, org: south, purposes: [ product ], models: [ north-1 ], "
		"release: V2, valid: { from: 2020-01-01, to: 2020-01-31 } } ]\n";
	fake_apply(&gateway, old, 200);
	char *longer = with(old, "2020-01-31", "2099-01-31");
	fake_apply(&gateway, longer, 409);
	assert_non_null(strstr(fake_text(&gateway, "detail"), "expired"));
	fake_ask(&gateway, NULL, "GET", "/admin/v1/grants/g", NULL);
	assert_string_equal(fake_text(&gateway, "state"), "expired");
	free(longer);
}

static void a_file_with_a_fault_changes_nothing(void **state)
{
	(void)state;
	char *text = with(fake_access(), "release: V2", "release: V9");
	fake_apply(&gateway, text, 400);
	assert_non_null(strstr(fake_text(&gateway, "detail"), "access.yaml:9: "));
	assert_null(world_find_org(gateway.world, BYTES("southlab")));
	assert_int_equal(gateway.positions[CONTROL_EVALUATION], 1); /* of the keys */
	free(text);
}

static void terms_cannot_lose_a_clause_that_a_grant_overrides(void **state)
{
	(void)state;
	fake_apply(&gateway, fake_access(), 200);
	fake_apply(&gateway, "terms: { version: \"2\", clauses: [] }\n", 404);
	assert_string_equal(world_terms_version(gateway.world), "2026-11");
	fake_reopen(&gateway);
	assert_string_equal(world_terms_version(gateway.world), "2026-11");
}

/* ---- states ---- */

static void states_follow_the_acts(void **state)
{
	(void)state;
	fake_apply(&gateway, fake_access(), 200);
	const char *suspend = "/admin/v1/grants/south-eval-1/suspend";
	const char *restore = "/admin/v1/grants/south-eval-1/restore";
	const char *revoke = "/admin/v1/grants/south-eval-1/revoke";
	fake_ask(&gateway, NULL, "GET", "/admin/v1/orgs/southlab", NULL);
	assert_true(json_is_false(json_object_get(gateway.answer, "blocked")));
	act(restore, "{}", 200); /* active already: nothing to do */
	assert_false(json_is_true(json_object_get(gateway.answer, "changed")));
	act(suspend, "{\"reason\":\"a doubt\"}", 200);
	assert_string_equal(gateway.cuts, "grant:south-eval-1(a doubt)");
	assert_string_equal(fake_text(&gateway, "state"), "suspended");
	assert_non_null(fake_text(&gateway, "record"));
	assert_int_equal(the_grant()->state, GRANT_SUSPENDED);
	act(restore, "{}", 200);
	assert_string_equal(gateway.cuts, "");
	assert_int_equal(the_grant()->state, GRANT_ACTIVE);
	act(revoke, "{\"reason\":\"the end\"}", 200);
	act(revoke, "{\"reason\":\"again\"}", 200);
	act(restore, "{}", 409);
	act(suspend, "{\"reason\":\"x\"}", 409);
	assert_int_equal(the_grant()->state, GRANT_REVOKED);
	assert_true(log_has(CONTROL_EVALUATION, "\"reason\":\"the end\""));
	assert_true(log_has(CONTROL_EVALUATION, "\"person\":\"root\""));
}

static void acts_that_cannot_be_done_leave_no_record(void **state)
{
	(void)state;
	fake_apply(&gateway, fake_access(), 200);
	uint64_t before = gateway.positions[CONTROL_EVALUATION];
	char *reason = calloc(1, 3000);
	assert_non_null(reason);
	memset(reason, 'x', 2000);
	fake_ask_json(&gateway, NULL, "POST", "/admin/v1/grants/south-eval-1/revoke",
		      json_pack("{s:s}", "reason", reason));
	free(reason);
	assert_int_equal(gateway.status, 413);
	act("/admin/v1/grants/none/revoke", "", 404);
	act("/admin/v1/grants/south-eval-1/revoke", "{\"reason\":1}", 400);
	act("/admin/v1/orgs/nobody/block", "{\"reason\":\"x\"}", 404);
	act("/admin/v1/orgs/southlab/block", "{\"reason\":\"x\",\"affiliates\":true}", 409);
	act("/admin/v1/orgs/southlab/block", "{\"reason\":\"x\",\"typo\":1}", 400);
	assert_int_equal(gateway.positions[CONTROL_EVALUATION], before);
}

/* ---- keys ---- */

static void a_key_is_known_by_its_digest_only(void **state)
{
	(void)state;
	char id[64];
	uint8_t digest[SHA256_SIZE];
	fake_apply(&gateway, fake_access(), 200);
	char *secret = fake_key(&gateway, id);
	assert_int_equal(strncmp(secret, "plk_", 4), 0);
	assert_int_equal(strlen(secret), 47);
	sha256_of(secret, strlen(secret), digest);
	const struct world_key *key = world_find_key(gateway.world, digest);
	assert_non_null(key);
	assert_string_equal(key->id, id);
	assert_false(log_has(CONTROL_EVALUATION, secret));
	char command[256];
	snprintf(command, sizeof(command), "grep -q %s %s/parley.db", secret, gateway.directory);
	assert_int_not_equal(system(command), 0);
	fake_ask(&gateway, NULL, "GET", "/admin/v1/keys?grant=south-eval-1", NULL);
	json_t *row = json_array_get(json_object_get(gateway.answer, "keys"), 0);
	assert_string_equal(json_string_value(json_object_get(row, "id")), id);
	assert_null(json_object_get(row, "digest"));
	free(secret);
}

static void a_revoked_key_stays_revoked(void **state)
{
	(void)state;
	char id[64], target[128];
	fake_apply(&gateway, fake_access(), 200);
	char *secret = fake_key(&gateway, id);
	fake_ask(&gateway, secret, "GET", "/parley/v1/self", NULL);
	assert_int_equal(gateway.status, 200);
	assert_string_equal(fake_text(&gateway, "grant.id"), "south-eval-1");
	snprintf(target, sizeof(target), "/admin/v1/keys/%s/revoke", id);
	act(target, "{\"reason\":\"leaked\"}", 200);
	fake_reopen(&gateway);
	fake_ask(&gateway, secret, "GET", "/parley/v1/self", NULL);
	assert_int_equal(gateway.status, 401);
	assert_string_equal(fake_text(&gateway, "rule"), "key.revoked");
	free(secret);
}

static void keys_need_a_grant_that_fits(void **state)
{
	(void)state;
	static const struct {
		const char *body;
		unsigned status;
	} rows[] = {
		{"{\"org\":\"nobody\",\"grant\":\"south-eval-1\"}",                              404},
		{"{\"org\":\"southlab\",\"grant\":\"none\"}",                                    404},
		{"{\"org\":\"other\",\"grant\":\"south-eval-1\"}",                               409},
		{"{\"org\":\"southlab\"}",						       400},
		{"{\"org\":\"southlab\",\"grant\":\"south-eval-1\",\"expires\":\"soon\"}",       400},
		{"{\"org\":\"southlab\",\"grant\":\"south-eval-1\",\"expires\":\"2020-01-01\"}",
		 400										},
		{"{\"org\":\"southlab\",\"grant\":\"south-eval-1\",\"expires\":\"30d\"}",        200},
		{"{\"org\":\"southlab\",\"grant\":\"south-eval-1\",\"expires\":"
		 "\"2099-12-31T12:00:00Z\"}",				   200},
		{"[]",									   400},
		{"{",									    400},
	};
	fake_apply(&gateway, fake_access(), 200);
	fake_apply(&gateway, "orgs: [ { id: other } ]\n", 200);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		act("/admin/v1/keys", rows[i].body, rows[i].status);
}

static void acts_of_a_product_grant_go_to_the_usage_log(void **state)
{
	(void)state;
	fake_apply(&gateway,
		   "orgs: [ { id: team } ]\n"
		   "grants: [ { id: p, org: team, purposes: [ product ], models: [ north-1 ], "
		   "release: V2, valid: { from: 2020-01-01, to: 2099-01-31 } } ]\n",
		   200);
	act("/admin/v1/keys", "{\"org\":\"team\",\"grant\":\"p\"}", 200);
	act("/admin/v1/grants/p/revoke", "{\"reason\":\"x\"}", 200);
	assert_true(log_has(CONTROL_USAGE, "\"act\":\"key.issue\""));
	assert_true(log_has(CONTROL_USAGE, "\"act\":\"grant.revoke\""));
	assert_false(log_has(CONTROL_EVALUATION, "key.issue"));
}

/* ---- failures and crashes ---- */

static void an_act_without_a_record_did_not_happen(void **state)
{
	(void)state;
	fake_apply(&gateway, fake_access(), 200);
	gateway.records_to_fail = 1;
	act("/admin/v1/grants/south-eval-1/revoke", "{\"reason\":\"x\"}", 503);
	assert_int_equal(the_grant()->state, GRANT_ACTIVE);
	fake_ask(&gateway, NULL, "GET", "/admin/v1/grants/south-eval-1", NULL);
	assert_string_equal(fake_text(&gateway, "state"), "active");
	fake_reopen(&gateway);
	assert_int_equal(the_grant()->state, GRANT_ACTIVE);
	act("/admin/v1/grants/south-eval-1/revoke", "{\"reason\":\"x\"}", 200);
	assert_int_equal(the_grant()->state, GRANT_REVOKED);
}

/* Does one act in a process of its own that dies at the given place. */
static void crash(bool before, const char *target, const char *body)
{
	fake_close(&gateway);
	pid_t child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		struct fake_gateway own = gateway;
		own.env = env_os_new(1);
		if (fake_open(&own, NULL) != ERR_OK)
			_exit(2);
		own.crash_before_record = before;
		own.crash_after_record = !before;
		fake_ask(&own, NULL, "POST", target, body);
		_exit(1);
	}
	int status;
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	fake_reopen(&gateway);
}

static void a_crash_before_the_record_undoes_the_act(void **state)
{
	(void)state;
	fake_apply(&gateway, fake_access(), 200);
	crash(true, "/admin/v1/grants/south-eval-1/revoke", "{\"reason\":\"x\"}");
	assert_int_equal(the_grant()->state, GRANT_ACTIVE);
	fake_reopen(&gateway);
	assert_int_equal(the_grant()->state, GRANT_ACTIVE);
}

static void a_crash_after_the_record_keeps_the_act(void **state)
{
	(void)state;
	fake_apply(&gateway, fake_access(), 200);
	crash(false, "/admin/v1/grants/south-eval-1/revoke", "{\"reason\":\"x\"}");
	assert_int_equal(the_grant()->state, GRANT_REVOKED);
	fake_reopen(&gateway);
	assert_int_equal(the_grant()->state, GRANT_REVOKED);
}

/* One record in, the next not: what has a record is in force. */
static void a_crash_in_the_middle_of_apply_keeps_a_prefix(void **state)
{
	(void)state;
	json_t *body = json_pack("{s:s}", "text", fake_access());
	char *text = json_dumps(body, 0);
	crash(false, "/admin/v1/apply", text);
	assert_non_null(world_find_org(gateway.world, BYTES("southlab")));
	assert_null(world_find_grant(gateway.world, BYTES("south-eval-1")));
	json_t *answer = fake_apply(&gateway, fake_access(), 200);
	assert_int_equal(json_integer_value(json_object_get(answer, "unchanged")), 1);
	assert_int_equal(json_integer_value(json_object_get(answer, "added")), 2);
	json_decref(body);
	free(text);
}

static void a_missing_database_beside_a_log_is_refused(void **state)
{
	(void)state;
	char path[96];
	struct err err = ERR_INIT;
	fake_apply(&gateway, fake_access(), 200);
	fake_close(&gateway);
	snprintf(path, sizeof(path), "%s/parley.db", gateway.directory);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(fake_open(&gateway, &err), ERR_CORRUPT);
	assert_non_null(strstr(err.message, "parley.db"));
	assert_null(gateway.control);
}

static void pseudonyms_last(void **state)
{
	(void)state;
	fake_apply(&gateway, fake_access(), 200);
	char *pseudonym = strdup(the_grant()->org->pseudonym);
	fake_reopen(&gateway);
	assert_string_equal(the_grant()->org->pseudonym, pseudonym);
	free(pseudonym);
}

/* ---- routes ---- */

static void what_is_not_a_route_is_refused(void **state)
{
	(void)state;
	static const char *const targets[] = {
		"/admin/v1",
		"/admin/v1/orgs/",
		"/admin/v1/orgs/a/b/c",
		"/",
		"",
		"/admin/v1/orgs/nobody",
		"/admin/v2/orgs",
		"/admin/v1/orgs?",
		"/parley/v1/self",
	};
	for (size_t i = 0; i < sizeof(targets) / sizeof(targets[0]); i++) {
		fake_ask(&gateway, NULL, "GET", targets[i], NULL);
		unsigned status = strcmp(targets[i], "/admin/v1/orgs?") == 0 ? 200 : 404;
		assert_int_equal(gateway.status, status);
	}
	fake_ask(&gateway, NULL, "DELETE", "/admin/v1/orgs", NULL);
	assert_int_equal(gateway.status, 404);
	fake_ask(&gateway, NULL, "GET", "/admin/v1/status", NULL);
	assert_int_equal(gateway.status, 200);
	assert_string_equal(fake_text(&gateway, "name"), "northlab.example/parley");
	fake_ask(&gateway, "plk_unknown", "GET", "/parley/v1/self", NULL);
	assert_int_equal(gateway.status, 401);
	assert_string_equal(fake_text(&gateway, "rule"), "key.unknown");
}

static void reconfigured(struct control_reconfigure *call, enum err_code code,
			 const struct err *err)
{
	(void)err;
	assert_int_equal(code, ERR_OK);
	config_free((struct config *)call->unused);
	fake_done(&gateway);
}

static void reconfigure(void *argument)
{
	control_reconfigure(gateway.control, argument);
}

static const char *no_variable(const char *name)
{
	(void)name;
	return NULL;
}

static void a_new_configuration_changes_the_models(void **state)
{
	(void)state;
	struct control_reconfigure call = {.done = reconfigured};
	struct config *config;
	fake_apply(&gateway, fake_access(), 200);
	assert_int_equal(config_parse(BYTES("name: n\nlisten: 127.0.0.1:1\n"), "parley.yaml",
				      no_variable, &config, NULL),
			 ERR_OK);
	call.config = config;
	gateway.config = config;
	fake_call(&gateway, reconfigure, &call);
	assert_null(world_find_model(gateway.world, BYTES("north-1")));
	assert_int_equal(the_grant()->model_count, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(apply_makes_a_world_and_says_what_changed),
		TEST(applying_again_changes_nothing),
		TEST(a_changed_member_is_named),
		TEST(apply_never_deletes),
		TEST(apply_never_unblocks_restores_or_revives),
		TEST(an_expired_grant_is_not_revived),
		TEST(a_file_with_a_fault_changes_nothing),
		TEST(terms_cannot_lose_a_clause_that_a_grant_overrides),
		TEST(states_follow_the_acts),
		TEST(acts_that_cannot_be_done_leave_no_record),
		TEST(a_key_is_known_by_its_digest_only),
		TEST(a_revoked_key_stays_revoked),
		TEST(keys_need_a_grant_that_fits),
		TEST(acts_of_a_product_grant_go_to_the_usage_log),
		TEST(an_act_without_a_record_did_not_happen),
		TEST(a_crash_before_the_record_undoes_the_act),
		TEST(a_crash_after_the_record_keeps_the_act),
		TEST(a_crash_in_the_middle_of_apply_keeps_a_prefix),
		TEST(a_missing_database_beside_a_log_is_refused),
		TEST(pseudonyms_last),
		TEST(what_is_not_a_route_is_refused),
		TEST(a_new_configuration_changes_the_models),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
