#include "gate/access_grant.h"

#include "base/ed25519_public.h"
#include "base/encode.h"
#include "gate/notify.h"
#include "ledger/paper.h"
#include "policy/world_builder.h"

#define SUITE_LEAVES_DEFAULT 5000
#define SUITE_SAMPLES_DEFAULT 1
#define NOTICE_HOURS_MAX 8760
#define RETENTION_DAYS_MAX 3650
#define OPENINGS_MAX 10 /* percent of a run's leaves */

/* ---- organisation, models, clauses ---- */

static enum err_code read_grant_org(struct access_reading *reading, const json_t *row,
				    json_t *document)
{
	const char *org;
	ERR_TRY(access_get_id(reading, row, "org", &org));
	if (!access_org_known(reading, org))
		return yaml_fail(reading->tree, row, "org", reading->err, ERR_INVALID,
				 "there is no org %s; add it under orgs", org);
	return access_set(reading, document, "org", json_string(org));
}

static bool has_model(const struct config *config, const char *name)
{
	for (size_t i = 0; i < config->model_count; i++) {
		if (strcmp(config->models[i].name, name) == 0)
			return true;
	}
	return false;
}

static enum err_code read_models(struct access_reading *reading, const json_t *row,
				 json_t *document)
{
	json_t *models, *model;
	size_t index;
	ERR_TRY(access_get_set(reading, row, "models", false, &models));
	ERR_TRY(access_set(reading, document, "models", models));
	if (json_array_size(models) == 0 || json_array_size(models) > BINDING_MODELS_MAX)
		return yaml_fail(reading->tree, row, "models", reading->err, ERR_INVALID,
				 "must name 1 to %d models", BINDING_MODELS_MAX);
	json_array_foreach(models, index, model)
	{
		if (!has_model(reading->context->config, json_string_value(model)))
			return yaml_fail(reading->tree, row, "models", reading->err, ERR_INVALID,
					 "there is no model %s in %s", json_string_value(model),
					 reading->context->config->file);
	}
	return ERR_OK;
}

static bool has_clause(const json_t *terms, const char *id)
{
	size_t index;
	json_t *clause;
	json_array_foreach(json_object_get(terms, "clauses"), index, clause)
	{
		if (strcmp(json_string_value(json_object_get(clause, "id")), id) == 0)
			return true;
	}
	return false;
}

static enum err_code read_overrides(struct access_reading *reading, const json_t *row,
				    json_t *document)
{
	json_t *overrides, *clause;
	size_t index;
	ERR_TRY(access_get_set(reading, row, "overrides", true, &overrides));
	if (!overrides)
		return ERR_OK;
	ERR_TRY(access_set(reading, document, "overrides", overrides));
	const json_t *terms = reading->out->terms ? reading->out->terms : reading->context->terms;
	json_array_foreach(overrides, index, clause)
	{
		if (!has_clause(terms, json_string_value(clause)))
			return yaml_fail(reading->tree, row, "overrides", reading->err, ERR_INVALID,
					 "the terms have no clause %s", json_string_value(clause));
	}
	return ERR_OK;
}

/* ---- purposes ---- */

static enum err_code read_purpose(struct access_reading *reading, const json_t *row,
				  const char *name, enum purpose *out)
{
	if (!purpose_find(bytes_from(name), out))
		return yaml_fail(reading->tree, row, "purposes", reading->err, ERR_INVALID,
				 "there is no purpose %s; the list is closed: product, "
				 "capability_benchmark, safety_evaluation, interop_test, "
				 "incident_research",
				 name);
	if (!purpose_bounds(*out).built)
		return yaml_fail(reading->tree, row, "purposes", reading->err, ERR_UNSUPPORTED,
				 "%s is not enforced by this build, so no grant may have it", name);
	return ERR_OK;
}

/* It binds to nothing: beside a purpose that does, it would lift the binding. */
static enum err_code check_incident(struct access_reading *reading, const json_t *row, unsigned set)
{
	unsigned others = set & ~(1u << PURPOSE_INCIDENT_RESEARCH);
	if (others == set || others == 0)
		return ERR_OK;
	return yaml_fail(reading->tree, row, "purposes", reading->err, ERR_INVALID,
			 "incident_research may not be combined with another purpose, for it would "
			 "lift what that one is bound by; make a grant of its own");
}

static enum err_code read_purposes(struct access_reading *reading, const json_t *row,
				   json_t *document, unsigned *out)
{
	json_t *purposes, *name;
	size_t index;
	ERR_TRY(access_get_set(reading, row, "purposes", false, &purposes));
	ERR_TRY(access_set(reading, document, "purposes", purposes));
	if (json_array_size(purposes) == 0)
		return yaml_fail(reading->tree, row, "purposes", reading->err, ERR_INVALID,
				 "must name at least one");
	*out = 0;
	json_array_foreach(purposes, index, name)
	{
		enum purpose purpose = PURPOSE_COUNT;
		ERR_TRY(read_purpose(reading, row, json_string_value(name), &purpose));
		*out |= 1u << purpose;
	}
	if ((*out & 1u << PURPOSE_PRODUCT) && *out != 1u << PURPOSE_PRODUCT)
		return yaml_fail(
			reading->tree, row, "purposes", reading->err, ERR_INVALID,
			"product may not be combined with another purpose; make a grant of "
			"its own");
	return check_incident(reading, row, *out);
}

static const json_t *find_org(const struct access_reading *reading, const char *id)
{
	const json_t *org = json_object_get(reading->out->orgs, id);
	return org ? org : json_object_get(reading->context->orgs, id);
}

static enum err_code check_rival(struct access_reading *reading, const json_t *row,
				 const json_t *document, unsigned purposes)
{
	const char *org = json_string_value(json_object_get(document, "org"));
	if (!(purposes & 1u << PURPOSE_PRODUCT) ||
	    !json_is_true(json_object_get(find_org(reading, org), "rival")))
		return ERR_OK;
	return yaml_fail(reading->tree, row, "purposes", reading->err, ERR_INVALID,
			 "%s is a rival: evaluation grants are its only way in, so product cannot "
			 "be granted",
			 org);
}

/* ---- suites ---- */

static enum err_code read_class(struct access_reading *reading, const json_t *row, const char *name)
{
	enum suite_class class;
	if (!suite_class_find(bytes_from(name), &class))
		return yaml_fail(reading->tree, row, "classes", reading->err, ERR_INVALID,
				 "there is no suite class %s; public, reviewed and private are",
				 name);
	return ERR_OK;
}

static enum err_code read_classes(struct access_reading *reading, const json_t *row,
				  json_t *document)
{
	json_t *classes, *name;
	size_t index;
	ERR_TRY(access_get_set(reading, row, "classes", false, &classes));
	ERR_TRY(access_set(reading, document, "classes", classes));
	if (json_array_size(classes) == 0)
		return yaml_fail(reading->tree, row, "classes", reading->err, ERR_INVALID,
				 "must name at least one");
	json_array_foreach(classes, index, name)
		ERR_TRY(read_class(reading, row, json_string_value(name)));
	return ERR_OK;
}

static enum err_code read_suite_number(struct access_reading *reading, const json_t *row,
				       const char *key, int64_t min, int64_t max, int64_t fallback,
				       json_t *document)
{
	int64_t value;
	ERR_TRY(yaml_get_integer_or(reading->tree, row, key, min, max, fallback, &value,
				    reading->err));
	return access_set(reading, document, key, json_integer(value));
}

/* Only where a purpose binds to suites; elsewhere the key says something that is not so. */
static enum err_code read_suites(struct access_reading *reading, const json_t *row, bool binds,
				 json_t *document)
{
	static const char *const keys[] = {"classes",          "max_leaves",
					   "samples_per_leaf", "new_leaves_per_week",
					   "cooldown_hours",   NULL};
	json_t *suites;
	ERR_TRY(yaml_get_container(reading->tree, row, "suites", JSON_OBJECT, !binds, &suites,
				   reading->err));
	if (!suites)
		return ERR_OK;
	if (!binds)
		return yaml_fail(reading->tree, row, "suites", reading->err, ERR_INVALID,
				 "no purpose of this grant is bound to suites; leave it out");
	json_t *out = json_object();
	ERR_TRY(access_set(reading, document, "suites", out));
	ERR_TRY(yaml_only_keys(reading->tree, suites, keys, reading->err));
	ERR_TRY(read_classes(reading, suites, out));
	ERR_TRY(read_suite_number(reading, suites, "max_leaves", 1, LIMIT_MAX, SUITE_LEAVES_DEFAULT,
				  out));
	ERR_TRY(read_suite_number(reading, suites, "samples_per_leaf", 1, BINDING_SAMPLES_MAX,
				  SUITE_SAMPLES_DEFAULT, out));
	ERR_TRY(access_copy_integer(reading, suites, "new_leaves_per_week", 0, LIMIT_MAX, out));
	return access_copy_integer(reading, suites, "cooldown_hours", 0, NOTICE_HOURS_MAX, out);
}

/* ---- release and limits ---- */

static enum err_code read_release(struct access_reading *reading, const json_t *row,
				  json_t *document)
{
	const char *name;
	enum release release;
	ERR_TRY(yaml_get_string(reading->tree, row, "release", &name, reading->err));
	if (!release_find(bytes_from(name), &release))
		return yaml_fail(reading->tree, row, "release", reading->err, ERR_INVALID,
				 "must be V0, V1, V2 or V3, not %s", name);
	if (!release_built(release))
		return yaml_fail(reading->tree, row, "release", reading->err, ERR_UNSUPPORTED,
				 "%s is not enforced by this build, so no grant may have it", name);
	return access_set(reading, document, "release", json_string(name));
}

/* Only leaves of suites can be judged, and what nobody has looked at is judged only. */
static enum err_code check_release(struct access_reading *reading, const json_t *row,
				   const json_t *document, unsigned purposes)
{
	bool sealed = strcmp(json_string_value(json_object_get(document, "release")), "V0") == 0;
	size_t index;
	json_t *class;
	for (unsigned purpose = 0; sealed && purpose < PURPOSE_COUNT; purpose++) {
		if ((purposes >> purpose & 1) && !purpose_binds((enum purpose)purpose))
			return yaml_fail(reading->tree, row, "release", reading->err, ERR_INVALID,
					 "V0 judges leaves of suites, and %s is bound to none",
					 purpose_id((enum purpose)purpose));
	}
	json_array_foreach(json_object_get(json_object_get(document, "suites"), "classes"), index,
			   class)
	{
		if (!sealed && strcmp(json_string_value(class), "private") == 0)
			return yaml_fail(reading->tree, row, "release", reading->err, ERR_INVALID,
					 "private suites are answered at release V0 only");
	}
	return ERR_OK;
}

/* Money can be counted only where every model has a price. */
static enum err_code check_prices(struct access_reading *reading, const json_t *limits,
				  const json_t *document)
{
	const struct config *config = reading->context->config;
	size_t index;
	json_t *name;
	json_array_foreach(json_object_get(document, "models"), index, name)
	{
		for (size_t i = 0; i < config->model_count; i++)
			if (strcmp(config->models[i].name, json_string_value(name)) == 0 &&
			    !config->models[i].has_price)
				return yaml_fail(reading->tree, limits, "usd_per_month",
						 reading->err, ERR_INVALID,
						 "cannot be counted: model %s has no price in %s",
						 config->models[i].name, config->file);
	}
	return ERR_OK;
}

enum err_code access_read_limits(struct access_reading *reading, const json_t *row,
				 json_t *document)
{
	json_t *limits;
	const char *key;
	json_t *value;
	ERR_TRY(yaml_get_container(reading->tree, row, "limits", JSON_OBJECT, true, &limits,
				   reading->err));
	if (!limits)
		return ERR_OK;
	json_t *out = json_object();
	ERR_TRY(access_set(reading, document, "limits", out));
	json_object_foreach(limits, key, value)
	{
		if (limits_find(bytes_from(key)) == LIMIT_COUNT)
			return yaml_fail(reading->tree, limits, key, reading->err, ERR_INVALID,
					 "there is no such limit");
		ERR_TRY(access_copy_integer(reading, limits, key, 1, LIMIT_MAX, out));
	}
	if (json_object_get(limits, "usd_per_month"))
		return check_prices(reading, limits, document);
	return ERR_OK;
}

/* ---- dates ---- */

static enum err_code read_valid(struct access_reading *reading, const json_t *row,
				unsigned purposes, json_t *document)
{
	static const char *const keys[] = {"from", "to", NULL};
	json_t *valid;
	int64_t from = 0, to = 0;
	ERR_TRY(yaml_get_container(reading->tree, row, "valid", JSON_OBJECT, false, &valid,
				   reading->err));
	ERR_TRY(yaml_only_keys(reading->tree, valid, keys, reading->err));
	json_t *out = json_object();
	ERR_TRY(access_set(reading, document, "valid", out));
	ERR_TRY(access_copy_date(reading, valid, "from", true, out, &from));
	ERR_TRY(access_copy_date(reading, valid, "to", true, out, &to));
	if (to < from)
		return yaml_fail(reading->tree, valid, "to", reading->err, ERR_INVALID,
				 "lies before from");
	int64_t days = (to - from) / WORLD_DAY_MS + 1;
	for (unsigned purpose = 0; purpose < PURPOSE_COUNT; purpose++) {
		int most = purpose_bounds((enum purpose)purpose).days;
		if ((purposes & 1u << purpose) && most && days > most)
			return yaml_fail(reading->tree, valid, "to", reading->err, ERR_INVALID,
					 "the grant lasts %lld days; for %s at most %d are allowed",
					 (long long)days, purpose_id((enum purpose)purpose), most);
	}
	return ERR_OK;
}

/* ---- what is agreed and shown, and enforced by people ---- */

static enum err_code read_share(struct access_reading *reading, const json_t *row, json_t *document)
{
	double share;
	if (!json_object_get(row, "blind_share_max"))
		return ERR_OK;
	ERR_TRY(yaml_get_number_or(reading->tree, row, "blind_share_max", 0, 1, 0, &share,
				   reading->err));
	return access_set(reading, document, "blind_share_max", json_real(share));
}

/* Key ids and teams that may have what is beyond V2 under an evaluation purpose. */
static enum err_code read_staff(struct access_reading *reading, const json_t *row, json_t *document)
{
	json_t *staff;
	ERR_TRY(access_get_set(reading, row, "staff", true, &staff));
	return staff ? access_set(reading, document, "staff", staff) : ERR_OK;
}

/* A thumbprint, or the public key that it is of. */
static enum err_code read_confirmation(struct access_reading *reading, const json_t *row,
				       const char *text, json_t *out)
{
	uint8_t thumbprint[SHA256_SIZE], public_key[ED25519_KEY_SIZE];
	char written[ED25519_THUMBPRINT_SIZE + 1];
	if (!sender_thumbprint_parse(text, thumbprint)) {
		if (ed25519_public_parse(bytes_from(text), "cnf", public_key, NULL) != ERR_OK)
			return yaml_fail(reading->tree, row, "cnf", reading->err, ERR_INVALID,
					 "%s is no thumbprint: write the SHA-256 of a certificate, "
					 "or a signing key's public part or RFC 7638 thumbprint",
					 text);
		ed25519_thumbprint(public_key, thumbprint);
	}
	ed25519_thumbprint_text(thumbprint, written);
	return json_array_append_new(out, json_string(written)) ? access_no_memory(reading)
								: ERR_OK;
}

/* What the grant's keys must be bound to, and to which of them. */
static enum err_code read_key_binding(struct access_reading *reading, const json_t *row,
				      json_t *document)
{
	json_t *confirmations, *text;
	size_t index;
	ERR_TRY(access_copy_text(reading, row, "key_binding", false, document));
	const char *kind = json_string_value(json_object_get(document, "key_binding"));
	if (kind && !sender_demand_kinds(kind))
		return yaml_fail(reading->tree, row, "key_binding", reading->err, ERR_INVALID,
				 "must be signature, certificate or any, not %s", kind);
	ERR_TRY(access_get_set(reading, row, "cnf", true, &confirmations));
	if (!confirmations)
		return ERR_OK;
	json_t *out = json_array();
	enum err_code code = access_set(reading, document, "cnf", out);
	if (code == ERR_OK && (json_array_size(confirmations) == 0 ||
			       json_array_size(confirmations) > SENDER_CONFIRMATIONS_MAX))
		code = yaml_fail(reading->tree, row, "cnf", reading->err, ERR_INVALID,
				 "must name 1 to %d thumbprints", SENDER_CONFIRMATIONS_MAX);
	if (code == ERR_OK && !kind)
		code = yaml_fail(reading->tree, row, "cnf", reading->err, ERR_INVALID,
				 "needs key_binding beside it: signature, certificate or any");
	json_array_foreach(confirmations, index, text)
	{
		if (code == ERR_OK)
			code = read_confirmation(reading, row, json_string_value(text), out);
	}
	json_decref(confirmations);
	return code;
}

/* {gateway, grant, key}: the grant that the other side's gateway gives us for this one. */
static enum err_code read_reciprocal(struct access_reading *reading, const json_t *row,
				     json_t *document)
{
	static const char *const keys[] = {"gateway", "grant", "key", NULL};
	json_t *given, *out;
	struct note_key key;
	const char *gateway, *grant, *text;
	struct err why = ERR_INIT;
	ERR_TRY(yaml_get_container(reading->tree, row, "reciprocal_of", JSON_OBJECT, true, &given,
				   reading->err));
	if (!given)
		return ERR_OK;
	ERR_TRY(yaml_only_keys(reading->tree, given, keys, reading->err));
	ERR_TRY(yaml_get_string(reading->tree, given, "gateway", &gateway, reading->err));
	ERR_TRY(access_get_id(reading, given, "grant", &grant));
	ERR_TRY(yaml_get_string(reading->tree, given, "key", &text, reading->err));
	if (notify_url_check(gateway, &why) != ERR_OK)
		return yaml_fail(reading->tree, given, "gateway", reading->err, ERR_INVALID, "%s",
				 why.message);
	if (note_key_parse(bytes_from(text), &key, &why) != ERR_OK)
		return yaml_fail(reading->tree, given, "key", reading->err, ERR_INVALID,
				 "must be the other gateway's verifier key for grants, as its "
				 "/parley/v1/keys shows it (%s)",
				 why.message);
	out = json_pack("{s:s, s:s, s:s}", "gateway", gateway, "grant", grant, "key", text);
	return access_set(reading, document, "reciprocal_of", out);
}

static enum err_code read_agreements(struct access_reading *reading, const json_t *row,
				     json_t *document)
{
	static const char *const texts[] = {"team", "appeal", "publication", "safeguards", NULL};
	for (const char *const *key = texts; *key; key++)
		ERR_TRY(access_copy_text(reading, row, *key, false, document));
	ERR_TRY(read_staff(reading, row, document));
	ERR_TRY(read_key_binding(reading, row, document));
	ERR_TRY(access_copy_integer(reading, row, "notice_hours", 0, NOTICE_HOURS_MAX, document));
	ERR_TRY(access_copy_integer(reading, row, "retention_days", 0, RETENTION_DAYS_MAX,
				    document));
	ERR_TRY(access_copy_integer(reading, row, "openings", 0, OPENINGS_MAX, document));
	ERR_TRY(read_reciprocal(reading, row, document));
	return read_share(reading, row, document);
}

enum err_code access_read_grant(struct access_reading *reading, const json_t *row, json_t *document,
				const char **id)
{
	static const char *const keys[] = {"id",
					   "org",
					   "team",
					   "purposes",
					   "models",
					   "suites",
					   "release",
					   "limits",
					   "valid",
					   "overrides",
					   "notice_hours",
					   "appeal",
					   "publication",
					   "safeguards",
					   "retention_days",
					   "openings",
					   "blind_share_max",
					   "reciprocal_of",
					   "staff",
					   "key_binding",
					   "cnf",
					   NULL};
	unsigned purposes = 0;
	ERR_TRY(yaml_only_keys(reading->tree, row, keys, reading->err));
	ERR_TRY(access_get_id(reading, row, "id", id));
	ERR_TRY(access_set(reading, document, "id", json_string(*id)));
	ERR_TRY(read_grant_org(reading, row, document));
	ERR_TRY(read_purposes(reading, row, document, &purposes));
	ERR_TRY(check_rival(reading, row, document, purposes));
	ERR_TRY(read_models(reading, row, document));
	bool binds = false;
	for (unsigned purpose = 0; purpose < PURPOSE_COUNT; purpose++)
		binds = binds ||
			((purposes & 1u << purpose) && purpose_binds((enum purpose)purpose));
	ERR_TRY(read_suites(reading, row, binds, document));
	ERR_TRY(read_release(reading, row, document));
	ERR_TRY(check_release(reading, row, document, purposes));
	ERR_TRY(access_read_limits(reading, row, document));
	ERR_TRY(read_valid(reading, row, purposes, document));
	ERR_TRY(read_overrides(reading, row, document));
	return read_agreements(reading, row, document);
}
