/* access.yaml: equal meaning is an equal document, and what cannot be enforced is refused by line.
 */
#include "fake_gateway.h"

#include "gate/access.h"

static struct config *config;

static const char *no_variable(const char *name)
{
	(void)name;
	return NULL;
}

static int set_up(void **state)
{
	(void)state;
	return config_parse(
		       BYTES("name: n\nlisten: 127.0.0.1:1\n"
			     "providers: [ { name: p, dialect: openai, url: \"http://a\" } ]\n"
			     "models: [ { name: m1, provider: p }, { name: m2, provider: p } ]\n"),
		       "parley.yaml", no_variable, &config, NULL) != ERR_OK;
}

static int tear_down(void **state)
{
	(void)state;
	config_free(config);
	return 0;
}

static enum err_code parse(const char *text, struct access *out, struct err *err)
{
	json_t *orgs = json_pack("{s:{s:s}, s:{s:s, s:b}}", "known", "id", "known", "rival", "id",
				 "rival", "rival", 1);
	json_t *terms = json_pack("{s:s, s:[{s:s}]}", "version", "1", "clauses", "id", "OLD.1");
	struct access_context context = {.config = config, .orgs = orgs, .terms = terms};
	enum err_code code = access_parse(bytes_from(text), "access.yaml", &context, out, err);
	json_decref(orgs);
	json_decref(terms);
	return code;
}

#define GRANT_OF(org, purposes, more, days) \
	"grants:\n"                         \
	"  - id: g\n"                       \
	"    org: " org "\n"                \
	"    purposes: [ " purposes " ]\n"  \
	"    models: [ m1 ]\n"              \
	"    release: V2\n"                 \
	"    valid: { from: 2026-01-01, to: " days " }\n" more
#define SUITES "    suites: { classes: [ public ] }\n"
#define EVALUATION(more) GRANT_OF("known", "safety_evaluation", SUITES more, "2026-03-31")
#define PRODUCT(more) GRANT_OF("known", "product", more, "2030-01-01")

static void equal_meaning_is_an_equal_document(void **state)
{
	(void)state;
	struct access first, second;
	const char *one =
		"orgs: [ { id: a, rival: false } ]\n"
		"grants: [ { id: g, org: a, purposes: [ capability_benchmark, safety_evaluation ], "
		"models: [ m2, m1 ], suites: { classes: [ reviewed, public ] }, release: V2, "
		"limits: { rpm: 5 }, valid: { from: 2026-01-01, to: 2026-01-31 } } ]\n";
	const char *other = "grants:\n"
			    "- valid: { to: 2026-01-31, from: 2026-01-01 }\n"
			    "  suites: { classes: [ public, reviewed ], max_leaves: 5000, "
			    "samples_per_leaf: 1 }\n"
			    "  release: V2\n"
			    "  id: g\n"
			    "  org: a\n"
			    "  limits: { rpm: 5 }\n"
			    "  models: [ m1, m2 ]\n"
			    "  purposes: [ safety_evaluation, capability_benchmark ]\n"
			    "orgs: [ { id: a } ]\n";
	assert_int_equal(parse(one, &first, NULL), ERR_OK);
	assert_int_equal(parse(other, &second, NULL), ERR_OK);
	assert_true(json_equal(first.orgs, second.orgs));
	assert_true(json_equal(first.grants, second.grants));
	assert_null(first.terms);
	access_release(&first);
	access_release(&second);
}

static void everything_that_is_supported_is_read(void **state)
{
	(void)state;
	struct access access;
	struct err err = ERR_INIT;
	const char *text =
		"orgs: [ { id: south, name: South, rival: true, contact: \"a@b\", notify: \"c@d\" "
		"}, "
		"{ id: surf } ]\n"
		"links: [ { from: south, kind: owns, to: surf, share: 51, status: confirmed, "
		"evidence: \"press\", since: 2026-01-01, until: 2026-02-01, public: true } ]\n"
		"terms: { version: \"2\", clauses: [ { id: D.4a, kind: prohibition, text: t, "
		"enforced_by: [ suite.unbound, key.unknown ] } ] }\n"
		"public_suites: [ { name: h, root: "
		"\"00112233445566778899AABBCCDDEEFF00112233445566778899aabbccddeeff\" } "
		"]\n" GRANT_OF(
			"south", "interop_test, safety_evaluation",
			"    suites: { classes: [ public ], max_leaves: 3, samples_per_leaf: 64, "
			"new_leaves_per_week: 0, cooldown_hours: 24 }\n"
			"    limits: { rpm: 1, input_tpm: 1000000000000, output_tpm: 3, "
			"concurrency: 4, "
			"tokens_per_day: 5 }\n"
			"    team: evals\n    overrides: [ D.4a ]\n    notice_hours: 72\n"
			"    appeal: \"mailto:x\"\n    publication: free\n    safeguards: "
			"standard\n"
			"    retention_days: 30\n    blind_share_max: 0.2\n    reciprocal_of: { "
			"gateway: \"https://south.example\", grant: g2, "
			"key: "
			"\"south.example/parley/"
			"grants+6d79e01c+AQABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f\" }\n",
			"2026-03-31");
	if (parse(text, &access, &err) != ERR_OK)
		fail_msg("%s", err.message);
	assert_non_null(json_object_get(access.links, "south owns surf"));
	assert_non_null(json_object_get(
		access.public_suites,
		"00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"));
	const json_t *grant = json_object_get(access.grants, "g");
	const json_t *limits = json_object_get(grant, "limits");
	assert_int_equal(json_integer_value(json_object_get(limits, "input_tpm")), 1000000000000);
	access_release(&access);
}

static void faults_are_named_by_line(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		enum err_code code;
		const char *message;
	} rows[] = {
		{"orgs: [ { name: a } ]\n",						ERR_INVALID,                               "access.yaml:1: orgs[0].id"},
		{"orgs: [ { id: \"a b\" } ]\n",                                            ERR_INVALID,                               "access.yaml:1: orgs[0].id"},
		{"orgs: [ { id: .a } ]\n",						 ERR_INVALID,                               "orgs[0].id"},
		{"orgs:\n- { id: a }\n- { id: a }\n",                                      ERR_INVALID,                               "access.yaml:3: orgs[1]"},
		{"orgs: [ { id: a, key: k } ]\n",                                          ERR_INVALID,                               "orgs[0].key"},
		{"orgs: [ a ]\n",							  ERR_INVALID,                               "orgs[0]"},
		{"org: []\n",							      ERR_INVALID,                               "access.yaml:1: org"},
		{"links: [ { from: known, kind: owns, to: nobody, status: rumoured } ]\n",
		 ERR_INVALID,													 "links[0].to"},
		{"links: [ { from: known, kind: likes, to: known, status: rumoured } ]\n",
		 ERR_INVALID,													 "links[0].kind"},
		{"links: [ { from: known, kind: owns, to: rival } ]\n",                    ERR_INVALID,
		 "links[0].status"},
		{"links: [ { from: known, kind: owns, to: rival, status: confirmed, share: 101 } "
		 "]\n",						   ERR_INVALID,			       "links[0].share"},
		{"terms: { clauses: [] }\n",					       ERR_INVALID,                               "terms.version"},
		{"terms: { version: \"1\", clauses: [ { id: a, kind: x, text: t } ] }\n",
		 ERR_INVALID,													 "terms.clauses[0].kind"},
		{"terms: { version: \"1\", clauses: [ { id: a, kind: duty, text: t, enforced_by: [ "
		 "no.rule ] } ] }\n",				     ERR_INVALID,			       "terms.clauses[0].enforced_by: there is no rule no.rule"},
		{"public_suites: [ { name: a, root: zz } ]\n",                             ERR_INVALID,
		 "public_suites[0].root"},
		{GRANT_OF("nobody",							"product",                                 "","2026-01-02"), ERR_INVALID, "access.yaml:3: "},
		{GRANT_OF("known",							     "",										     "","2026-01-02"), ERR_INVALID, "access.yaml:4: "},
		{GRANT_OF("known",          "fun","","2026-01-02"), ERR_INVALID, "no purpose fun"},
		{GRANT_OF("known",						       "product, product",												"","2026-01-02"), ERR_INVALID, "twice"},
		{GRANT_OF("known",								      "product, safety_evaluation",																      "",										      "2026-01-02"), ERR_INVALID,
		 "combined"},
		{GRANT_OF("known",									"incident_research",												  "","2026-01-31"), ERR_INVALID,
		 "at most 30"},
		{GRANT_OF("known",							   "incident_research, safety_evaluation",											 SUITES,  "2026-01-02"),
		 ERR_INVALID, "incident_research may not be combined"},
		{GRANT_OF("known",							 "incident_research", SUITES,"2026-01-02"), ERR_INVALID,
		 "suites"},
		{GRANT_OF("rival",							     "product",													  "","2026-01-02"), ERR_INVALID, "rival"},
		{GRANT_OF("known","safety_evaluation",SUITES,"2026-04-01"), ERR_INVALID,
		 "at most 90"},
		{GRANT_OF("known",							     "safety_evaluation",												      SUITES,"2025-12-31"), ERR_INVALID,
		 "before from"},
		{GRANT_OF("known",								  "safety_evaluation",      SUITES,"2026-02-30"), ERR_INVALID,
		 "grants[0].valid.to"},
		{GRANT_OF("known",									"safety_evaluation",												  "","2026-01-02"), ERR_INVALID, "suites"},
		{PRODUCT(SUITES),							   ERR_INVALID,											 "suites"},
		{PRODUCT("    typo: 1\n"),							 ERR_INVALID,                             "access.yaml:8: grants[0].typo"},
		{PRODUCT("    limits: { rpm: 0 }\n"),							     ERR_INVALID,											       "limits.rpm"},
		{PRODUCT("    limits: { rpm: 1000000000001 }\n"),									ERR_INVALID,																							"limits.rpm"														   },
		{PRODUCT("    limits: { rpm: 1.5 }\n"),							     ERR_INVALID,												      "limits.rpm"},
		{PRODUCT("    limits: { speed: 1 }\n"),								  ERR_INVALID,"limits.speed"},
		{PRODUCT("    overrides: [ D.4a ]\n"),							 ERR_INVALID,        "no clause D.4a"},
		{PRODUCT("    notice_hours: -1\n"),							     ERR_INVALID,											      "notice_hours"},
		{GRANT_OF("known",   "safety_evaluation","    suites: { classes: [ private ] }\n",
                 "2026-01-02"),
		 ERR_INVALID, "private"},
		{GRANT_OF("known",     "safety_evaluation","    suites: { classes: [] }\n",
                 "2026-01-02"),
		 ERR_INVALID, "classes"},
		{GRANT_OF("known", "safety_evaluation",
                 "    suites: { classes: [ public ], samples_per_leaf: 65 }\n","2026-01-02"),
		 ERR_INVALID, "samples_per_leaf"},
		{"grants: [ { id: g, org: known, purposes: [ product ], models: [ m9 ], release: "
		 "V2, "
		 "valid: { from: 2026-01-01, to: 2026-01-02 } } ]\n",ERR_INVALID,"there is no model m9 in parley.yaml"},
		{"grants: [ { id: g, org: known, purposes: [ product ], models: [ m1 ], release: "
		 "V9, "
		 "valid: { from: 2026-01-01, to: 2026-01-02 } } ]\n",ERR_INVALID,			       "grants[0].release"},
		{"grants: 1\n",ERR_INVALID,											    "access.yaml:1: grants"									      },
		{"{",ERR_INVALID,								     "access.yaml:"},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct access access;
		struct err err = ERR_INIT;
		enum err_code code = parse(rows[i].text, &access, &err);
		if (code != rows[i].code || !strstr(err.message, rows[i].message))
			fail_msg("row %zu: %s: %s", i, err_name(code), err.message);
		assert_null(access.orgs);
	}
}

static void the_bounds_themselves_are_allowed(void **state)
{
	(void)state;
	struct access access;
	static const char *const texts[] = {
		EVALUATION(""), /* 90 days */
		PRODUCT("    overrides: [ OLD.1 ]\n"),
		PRODUCT("    limits: { rpm: 1 }\n"),
		GRANT_OF("rival", "safety_evaluation", SUITES, "2026-01-01"),
		GRANT_OF("known", "interop_test", "", "2026-01-01"),
		"orgs: []\n",
	};
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct err err = ERR_INIT;
		if (parse(texts[i], &access, &err) != ERR_OK)
			fail_msg("row %zu: %s", i, err.message);
		access_release(&access);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(equal_meaning_is_an_equal_document),
		cmocka_unit_test(everything_that_is_supported_is_read),
		cmocka_unit_test(faults_are_named_by_line),
		cmocka_unit_test(the_bounds_themselves_are_allowed),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
