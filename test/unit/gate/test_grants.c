/* Grants as papers: in force only with the signatures that they need, changed only by the same way,
 * and what was agreed stays in force meanwhile. Notices are staged with what they tell of. */
#include "fake_gateway.h"

#include "base/encode.h"
#include "ledger/paper.h"

#include <sys/wait.h>

static const char *const offer_path = "/admin/v1/grants/south-eval-1/offer";
static const char *const sign_path = "/admin/v1/grants/south-eval-1/countersign";
static const char *const show_path = "/admin/v1/grants/south-eval-1";

static struct fake_gateway gateway;
static struct ed25519_private *org_key;
static char org_text[64];

static int set_up(void **state)
{
	static const uint8_t seed[ED25519_KEY_SIZE] = {7, 7};
	uint8_t public_key[ED25519_KEY_SIZE];
	struct buf text = BUF_INIT(64);
	(void)state;
	fake_start(&gateway);
	org_key = ed25519_from_seed(seed);
	assert_non_null(org_key);
	ed25519_public(org_key, public_key);
	base64_append(&text, public_key, sizeof(public_key));
	snprintf(org_text, sizeof(org_text), "%.*s", BYTES_ARG(buf_bytes(&text)));
	buf_release(&text);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	ed25519_free(org_key);
	fake_stop(&gateway);
	return 0;
}

/* The access file with the organisation's key, a limit and an address for notices ("": none). */
static void apply(const char *rpm, const char *notify, unsigned status)
{
	char *text = strdup(fake_access()), out[4096];
	char *org = strstr(text, "rival: true"), *limit = strstr(text, "rpm: 600");
	assert_true(org && limit && org < limit);
	*org = '\0';
	*limit = '\0';
	snprintf(out, sizeof(out), "%skey: \"%s\", %s%s%s rival: true%srpm: %s%s", text, org_text,
		 *notify ? "notify: \"" : "", notify, *notify ? "\"," : "",
		 org + strlen("rival: true"), rpm, limit + strlen("rpm: 600"));
	fake_apply(&gateway, out, status);
	free(text);
}

static json_t *ask(const char *method, const char *path, const char *body, unsigned status)
{
	json_t *answer = fake_ask(&gateway, NULL, method, path, body);
	if (gateway.status != status)
		fail_msg("%s: %u %s", path, gateway.status, json_dumps(answer, 0));
	return answer;
}

static const struct world_grant *the_grant(void)
{
	const struct world_grant *grant = world_find_grant(gateway.world, BYTES("south-eval-1"));
	assert_non_null(grant);
	return grant;
}

/* The envelope that the gateway hands out now, signed by `key` too; to be freed. */
static char *signed_by(const struct ed25519_private *key)
{
	struct dsse dsse;
	struct buf out = BUF_INIT(1 << 20);
	char *text = json_dumps(ask("GET", offer_path, NULL, 200), 0);
	assert_int_equal(dsse_open(bytes_from(text), "offer", &dsse, NULL), ERR_OK);
	assert_int_equal(dsse_add_signature(&dsse, key, NULL), ERR_OK);
	assert_int_equal(dsse_write(&dsse, &out, NULL), ERR_OK);
	free(text);
	text = bytes_to_cstr(buf_bytes(&out));
	dsse_release(&dsse);
	buf_release(&out);
	return text;
}

static void countersign(unsigned status)
{
	char *text = signed_by(org_key);
	ask("POST", sign_path, text, status);
	free(text);
}

static bool log_has(const char *text)
{
	char *all = fake_log(&gateway, CONTROL_EVALUATION);
	bool found = strstr(all, text) != NULL;
	free(all);
	return found;
}

/* ---- offers ---- */

static void a_grant_without_a_key_on_record_is_one_sided_and_says_so(void **state)
{
	(void)state;
	fake_apply(&gateway, fake_access(), 200);
	assert_int_equal(the_grant()->state, GRANT_ACTIVE);
	ask("GET", show_path, NULL, 200);
	assert_string_equal(fake_text(&gateway, "document.form"), "one-sided");
	char *text = signed_by(org_key);
	ask("POST", sign_path, text, 409);
	assert_non_null(strstr(fake_text(&gateway, "detail"), "one-sided"));
	free(text);
}

static void an_offered_grant_is_in_force_once_the_organisation_has_signed(void **state)
{
	char id[64];
	(void)state;
	apply("600", "", 200);
	assert_int_equal(the_grant()->state, GRANT_OFFERED);
	char *key = fake_key(&gateway, id);
	fake_ask(&gateway, key, "GET", "/parley/v1/suites", NULL);
	assert_int_equal(gateway.status, 403);
	assert_string_equal(fake_text(&gateway, "rule"), "grant.offered");
	countersign(200);
	assert_string_equal(fake_text(&gateway, "state"), "active");
	assert_int_equal(the_grant()->state, GRANT_ACTIVE);
	fake_ask(&gateway, key, "GET", "/parley/v1/self", NULL);
	assert_int_equal(gateway.status, 200);
	assert_string_equal(fake_text(&gateway, "grant.document.form"), "countersigned");
	assert_true(log_has("\"act\":\"grant.countersign\""));
	fake_reopen(&gateway);
	assert_int_equal(the_grant()->state, GRANT_ACTIVE);
	countersign(200); /* a second delivery changes nothing */
	assert_true(json_is_false(json_object_get(gateway.answer, "changed")));
	free(key);
}

static void the_grantee_may_bring_it_back_itself(void **state)
{
	(void)state;
	apply("600", "", 200);
	char *text = signed_by(org_key);
	fake_ask(&gateway, "plk_nobody", "POST", "/parley/v1/grants/south-eval-1/countersign",
		 text);
	assert_int_equal(gateway.status, 200);
	assert_int_equal(the_grant()->state, GRANT_ACTIVE);
	free(text);
}

/* The paper hands over what was agreed: the grant as the file has it, and the terms by address. */
static void the_paper_says_what_is_granted(void **state)
{
	struct paper paper;
	struct buf terms = BUF_INIT(1 << 20);
	char hex[65];
	(void)state;
	apply("600", "", 200);
	json_t *answer = ask("GET", offer_path, NULL, 200);
	char *text = json_dumps(answer, 0);
	assert_int_equal(json_canonical(json_object_get(answer, "terms"), &terms, NULL), ERR_OK);
	assert_int_equal(paper_open(bytes_from(text), "offer", PAPER_GRANT, NULL, &paper, NULL),
			 ERR_OK);
	const json_t *grant = json_object_get(paper.body, "grant");
	assert_int_equal(
		json_integer_value(json_object_get(json_object_get(grant, "limits"), "rpm")), 600);
	assert_string_equal(
		json_string_value(json_object_get(json_object_get(paper.body, "org"), "key")),
		org_text);
	const char *address =
		json_string_value(json_object_get(json_object_get(paper.body, "terms"), "sha256"));
	struct paper clauses;
	assert_int_equal(
		paper_open(buf_bytes(&terms), "terms", PAPER_TERMS, &paper.issuer, &clauses, NULL),
		ERR_OK);
	hex_encode(clauses.digest, sizeof(clauses.digest), hex);
	assert_string_equal(address, hex);
	paper_release(&clauses);
	paper_release(&paper);
	buf_release(&terms);
	free(text);
}

static void what_is_not_signed_as_offered_is_refused(void **state)
{
	static const uint8_t seed[ED25519_KEY_SIZE] = {9};
	struct ed25519_private *stranger = ed25519_from_seed(seed);
	(void)state;
	apply("600", "", 200);
	char *text = signed_by(stranger);
	ask("POST", sign_path, text, 400);
	assert_non_null(strstr(fake_text(&gateway, "detail"), "not signed by the key"));
	free(text);
	text = signed_by(org_key);
	apply("500", "", 200); /* the offer is another one now */
	ask("POST", sign_path, text, 409);
	assert_non_null(strstr(fake_text(&gateway, "detail"), "not the version"));
	char *payload = strstr(text, "\"payload\":\"") + 11 + 80;
	*payload = *payload == 'A' ? 'B' : 'A';
	ask("POST", sign_path, text, 400);
	ask("POST", sign_path, "{}", 400);
	ask("POST", sign_path, "[]", 400);
	assert_int_equal(the_grant()->state, GRANT_OFFERED);
	assert_false(log_has("grant.countersign"));
	free(text);
	ed25519_free(stranger);
}

/* ---- changes of what was agreed ---- */

static void a_change_waits_for_the_signature_and_the_agreed_stays_in_force(void **state)
{
	(void)state;
	apply("600", "", 200);
	countersign(200);
	apply("900", "", 200);
	assert_int_equal(json_integer_value(json_object_get(gateway.answer, "changed")), 1);
	assert_int_equal(the_grant()->state, GRANT_ACTIVE);
	assert_int_equal(the_grant()->limits.max[LIMIT_RPM], 600);
	ask("GET", show_path, NULL, 200);
	assert_string_equal(fake_text(&gateway, "document.form"), "countersigned");
	assert_string_equal(fake_text(&gateway, "offer.form"), "offered");
	apply("900", "", 200); /* the same file again */
	assert_int_equal(json_integer_value(json_object_get(gateway.answer, "changed")), 0);
	fake_reopen(&gateway);
	countersign(200);
	assert_int_equal(the_grant()->limits.max[LIMIT_RPM], 900);
	ask("GET", show_path, NULL, 200);
	assert_null(json_object_get(gateway.answer, "offer"));
}

static void a_change_that_is_taken_back_waits_no_longer(void **state)
{
	(void)state;
	apply("600", "", 200);
	countersign(200);
	apply("900", "", 200);
	char *text = signed_by(org_key);
	apply("600", "", 200);
	ask("GET", show_path, NULL, 200);
	assert_null(json_object_get(gateway.answer, "offer"));
	assert_string_equal(fake_text(&gateway, "document.form"), "countersigned");
	ask("POST", sign_path, text, 409);
	assert_int_equal(the_grant()->limits.max[LIMIT_RPM], 600);
	free(text);
}

/* Signing a new version gives nothing back that was taken. */
static void a_signature_neither_restores_nor_revives(void **state)
{
	(void)state;
	apply("600", "", 200);
	countersign(200);
	apply("900", "", 200);
	ask("POST", "/admin/v1/grants/south-eval-1/suspend", "{}", 200);
	countersign(200);
	assert_int_equal(the_grant()->state, GRANT_SUSPENDED);
	assert_int_equal(the_grant()->limits.max[LIMIT_RPM], 900);
	char *text = signed_by(org_key);
	ask("POST", "/admin/v1/grants/south-eval-1/revoke", "{}", 200);
	ask("POST", sign_path, text, 409);
	assert_int_equal(the_grant()->state, GRANT_REVOKED);
	free(text);
}

static void a_key_left_later_makes_a_paper_to_sign(void **state)
{
	(void)state;
	fake_apply(&gateway, fake_access(), 200);
	char org[256];
	snprintf(org, sizeof(org),
		 "orgs: [ { id: southlab, name: South Lab, rival: true, key: \"%s\" } ]\n",
		 org_text);
	fake_apply(&gateway, org, 200);
	assert_int_equal(the_grant()->state, GRANT_ACTIVE);
	ask("POST", offer_path, "{}", 200);
	assert_int_equal(the_grant()->state, GRANT_ACTIVE); /* one-sided until it has signed */
	countersign(200);
	ask("GET", show_path, NULL, 200);
	assert_string_equal(fake_text(&gateway, "document.form"), "countersigned");
	ask("POST", offer_path, "{}", 200);
	assert_true(json_is_false(json_object_get(gateway.answer, "changed")));
}

/* ---- status ---- */

static void a_status_is_public_only_between_tied_grants(void **state)
{
	static const char *const path = "/parley/v1/grants/south-eval-1/status";
	(void)state;
	fake_apply(&gateway, fake_access(), 200);
	fake_ask(&gateway, "plk_nobody", "GET", path, NULL);
	assert_int_equal(gateway.status, 404);
	char text[4096];
	fake_ask(&gateway, "plk_nobody", "GET", "/parley/v1/keys", NULL);
	char *vkey = strdup(fake_text(&gateway, "grants"));
	snprintf(text, sizeof(text),
		 "%s    reciprocal_of: { gateway: \"http://127.0.0.1:9\", grant: north-eval-1, "
		 "key: \"%s\" }\n",
		 fake_access(), vkey);
	fake_apply(&gateway, text, 200);
	ask("POST", "/admin/v1/grants/south-eval-1/suspend", "{\"reason\":\"a secret\"}", 200);
	json_t *answer = fake_ask(&gateway, "plk_nobody", "GET", path, NULL);
	assert_int_equal(gateway.status, 200);
	struct paper paper;
	struct note_key key;
	char *envelope = json_dumps(answer, 0);
	assert_int_equal(note_key_parse(bytes_from(vkey), &key, NULL), ERR_OK);
	assert_int_equal(
		paper_open(bytes_from(envelope), "status", PAPER_STATUS, &key, &paper, NULL),
		ERR_OK);
	assert_string_equal(json_string_value(json_object_get(paper.body, "state")), "suspended");
	assert_non_null(json_object_get(paper.body, "until"));
	char *payload = json_dumps(paper.body, 0);
	assert_null(strstr(payload, "secret"));
	assert_null(strstr(payload, "southlab"));
	paper_release(&paper);
	free(payload);
	free(envelope);
	free(vkey);
}

/* ---- notices ---- */

static size_t notices(void)
{
	fake_ask(&gateway, NULL, "GET", "/admin/v1/notices", NULL);
	return json_array_size(json_object_get(gateway.answer, "notices"));
}

static void an_organisation_without_an_address_is_named(void **state)
{
	(void)state;
	apply("600", "", 200);
	json_t *untold = json_object_get(gateway.answer, "not_notified");
	assert_string_equal(json_string_value(json_array_get(untold, 0)), "southlab");
	assert_int_equal(notices(), 0);
}

/* kill -9 on either side of the record: the notice is there exactly if the act is. */
static void a_notice_is_there_exactly_if_its_act_is(void **state)
{
	(void)state;
	for (int after = 0; after < 2; after++) {
		apply("600", "http://127.0.0.1:9/hook", 200);
		fake_close(&gateway);
		pid_t child = fork();
		assert_true(child >= 0);
		if (child == 0) {
			fake_reopen(&gateway);
			gateway.crash_after_record = after;
			gateway.crash_before_record = !after;
			fake_ask(&gateway, NULL, "POST", "/admin/v1/grants/south-eval-1/revoke",
				 "");
			_exit(1);
		}
		int status;
		assert_int_equal(waitpid(child, &status, 0), child);
		assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
		fake_reopen(&gateway);
		assert_int_equal(the_grant()->state, after ? GRANT_REVOKED : GRANT_OFFERED);
		assert_int_equal(notices(), after ? 2 : 1);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
		TEST(a_grant_without_a_key_on_record_is_one_sided_and_says_so),
		TEST(an_offered_grant_is_in_force_once_the_organisation_has_signed),
		TEST(the_grantee_may_bring_it_back_itself),
		TEST(the_paper_says_what_is_granted),
		TEST(what_is_not_signed_as_offered_is_refused),
		TEST(a_change_waits_for_the_signature_and_the_agreed_stays_in_force),
		TEST(a_change_that_is_taken_back_waits_no_longer),
		TEST(a_signature_neither_restores_nor_revives),
		TEST(a_key_left_later_makes_a_paper_to_sign),
		TEST(a_status_is_public_only_between_tied_grants),
		TEST(an_organisation_without_an_address_is_named),
		TEST(a_notice_is_there_exactly_if_its_act_is),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
