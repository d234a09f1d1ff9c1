/* Keys: issued, followed by another (rotation), bound to a sender, limited. The gateway sees a
 * key's secret once, when it draws it, and keeps its SHA-256. */
#include "gate/control_internal.h"

#include "base/ed25519_public.h"
#include "base/encode.h"

#include <stdio.h>

#define SECRET_SIZE 43 /* base62 digits: 256 bits */
#define PREFIX "plk_"
#define OVERLAP_DEFAULT "24h"

static enum err_code no_memory(struct err *err)
{
	return ERR_SET(err, ERR_NO_MEMORY, "no memory to change a key");
}

/* ---- times ---- */

/* "30d", "12h", "45m". */
bool control_parse_span(struct bytes text, int64_t *out_ms)
{
	static const struct {
		char letter;
		int64_t ms;
	} units[] = {
		{'d', WORLD_DAY_MS},
                {'h', 3600000     },
                {'m', 60000       }
        };
	uint64_t number;
	for (size_t i = 0; text.size && i < sizeof(units) / sizeof(units[0]); i++) {
		if (text.data[text.size - 1] != units[i].letter)
			continue;
		if (!bytes_to_u64(bytes_of(text.data, text.size - 1), 100000, &number))
			return false;
		*out_ms = (int64_t)number * units[i].ms;
		return true;
	}
	return false;
}

/* "2026-12-31" (to the end of the day), "2026-12-31T12:00:00Z", or a span from now. */
static bool parse_expiry(const char *text, int64_t now_ms, int64_t *out)
{
	struct bytes bytes = bytes_from(text);
	uint64_t hours, minutes, seconds;
	if (world_parse_day(bytes, out)) {
		*out += WORLD_DAY_MS;
		return true;
	}
	if (control_parse_span(bytes, out)) {
		*out += now_ms;
		return true;
	}
	if (bytes.size != 20 || text[10] != 'T' || text[13] != ':' || text[16] != ':' ||
	    text[19] != 'Z' || !world_parse_day(bytes_of(text, 10), out) ||
	    !bytes_to_u64(bytes_of(text + 11, 2), 23, &hours) ||
	    !bytes_to_u64(bytes_of(text + 14, 2), 59, &minutes) ||
	    !bytes_to_u64(bytes_of(text + 17, 2), 59, &seconds))
		return false;
	*out += (int64_t)((hours * 60 + minutes) * 60 + seconds) * 1000;
	return true;
}

static enum err_code read_expiry(const struct control *control, const json_t *body, int64_t *out,
				 struct err *err)
{
	const char *expires;
	ERR_TRY(json_get_string_or(body, "expires", "key", NULL, &expires, err));
	*out = WORLD_ALWAYS;
	if (!expires)
		return ERR_OK;
	if (!parse_expiry(expires, control->loop->wall_ms, out))
		return ERR_SET(
			err, ERR_INVALID,
			"expires: %s is no time; write 2026-12-31, 2026-12-31T12:00:00Z, 30d "
			"or 12h",
			expires);
	if (*out <= control->loop->wall_ms)
		return ERR_SET(err, ERR_INVALID, "expires: %s lies in the past", expires);
	return ERR_OK;
}

/* ---- who may send ---- */

static enum err_code set(json_t *spec, const char *key, json_t *value, struct err *err)
{
	return value && json_object_set_new(spec, key, value) == 0 ? ERR_OK : no_memory(err);
}

static enum err_code read_networks(const json_t *body, json_t *spec, struct err *err)
{
	json_t *networks;
	ERR_TRY(json_get_container(body, "networks", "key", JSON_ARRAY, true, &networks, err));
	if (!networks)
		return ERR_OK;
	if (json_array_size(networks) > SENDER_NETWORKS_MAX)
		return ERR_SET(err, ERR_TOO_LARGE, "networks: more than %d", SENDER_NETWORKS_MAX);
	for (size_t i = 0; i < json_array_size(networks); i++) {
		const char *text = json_string_value(json_array_get(networks, i));
		struct sender_network network;
		if (!text)
			return ERR_SET(err, ERR_INVALID, "networks: each is a string");
		ERR_TRY(sender_network_parse(bytes_from(text), &network, err));
	}
	return set(spec, "networks", json_deep_copy(networks), err);
}

static json_t *binding_of(enum sender_binding kind, const uint8_t *thumbprint,
			  const uint8_t *public_key)
{
	char text[ED25519_THUMBPRINT_SIZE + 1];
	ed25519_thumbprint_text(thumbprint, text);
	json_t *binding =
		json_pack("{s:s, s:s}", "kind", sender_binding_id(kind), "thumbprint", text);
	if (!binding || !public_key)
		return binding;
	ed25519_thumbprint_text(public_key, text); /* base64url of as many bytes */
	if (json_object_set_new(binding, "public_key", json_string(text)) == 0)
		return binding;
	json_decref(binding);
	return NULL;
}

static enum err_code read_binding(const json_t *body, json_t *spec, bool *given, struct err *err)
{
	uint8_t thumbprint[SHA256_SIZE], public_key[ED25519_KEY_SIZE];
	const char *key, *certificate;
	ERR_TRY(json_get_string_or(body, "public_key", "key", NULL, &key, err));
	ERR_TRY(json_get_string_or(body, "certificate_thumbprint", "key", NULL, &certificate, err));
	*given = key || certificate;
	if (key && certificate)
		return ERR_SET(err, ERR_INVALID,
			       "a key is bound to a public key or to a certificate, not to both");
	if (key) {
		ERR_TRY(ed25519_public_parse(bytes_from(key), "public_key", public_key, err));
		ed25519_thumbprint(public_key, thumbprint);
		return set(spec, "binding",
			   binding_of(SENDER_BINDING_SIGNATURE, thumbprint, public_key), err);
	}
	if (!certificate)
		return ERR_OK;
	if (!sender_thumbprint_parse(certificate, thumbprint))
		return ERR_SET(err, ERR_INVALID,
			       "certificate_thumbprint: not a SHA-256 in base64url or hexadecimal "
			       "(openssl x509 -in CERT -noout -fingerprint -sha256)");
	return set(spec, "binding", binding_of(SENDER_BINDING_CERTIFICATE, thumbprint, NULL), err);
}

/* ---- what the grant demands ---- */

enum err_code control_grant_demand(const char *id, const json_t *spec,
				   uint8_t memory[static SENDER_CONFIRMATIONS_MAX][SHA256_SIZE],
				   struct sender_demand *out, struct err *err)
{
	const char *kind = json_text(spec, "key_binding");
	const json_t *confirmations = json_object_get(spec, "cnf");
	size_t count = json_array_size(confirmations);
	*out = (struct sender_demand){.kinds = sender_demand_kinds(kind),
				      .thumbprint_count = (unsigned)count,
				      .thumbprints = (const uint8_t(*)[SHA256_SIZE])memory};
	bool good = (!*kind || out->kinds) && count <= SENDER_CONFIRMATIONS_MAX;
	for (size_t i = 0; good && i < count; i++) {
		const char *text = json_string_value(json_array_get(confirmations, i));
		good = text && sender_thumbprint_parse(text, memory[i]);
	}
	return good ? ERR_OK : ERR_SET(err, ERR_CORRUPT, "the stored grant %s is damaged", id);
}

/* A key that would be refused whenever it is used is not made. */
static enum err_code check_demand(const struct control *control, const json_t *spec,
				  struct err *err)
{
	const char *grant = json_text(spec, "grant");
	uint8_t thumbprints[SENDER_CONFIRMATIONS_MAX][SHA256_SIZE];
	struct sender_network networks[SENDER_NETWORKS_MAX];
	struct sender_demand demand;
	struct sender_rule rule;
	ERR_TRY(control_grant_demand(grant, control_spec(control, STORE_GRANT, grant), thumbprints,
				     &demand, err));
	ERR_TRY(control_key_sender(grant, spec, networks, &rule, err));
	if (sender_meets(&demand, &rule))
		return ERR_OK;
	if (demand.kinds >> rule.binding & 1)
		return ERR_SET(err, ERR_CONFLICT,
			       "grant %s names what its keys may be bound to (cnf), and this is "
			       "none of them; `parley grant show %s` lists them",
			       grant, grant);
	return ERR_SET(err, ERR_CONFLICT,
		       "grant %s takes only keys that are bound to %s: give --public-key FILE or "
		       "--certificate-thumbprint SHA256",
		       grant, sender_demand_text(demand.kinds));
}

/* ---- limits of a key's own ---- */

static enum err_code not_a_limit(const char *name, const json_t *value, struct err *err)
{
	char number[32] = "it";
	if (json_is_integer(value))
		snprintf(number, sizeof(number), "%lld", (long long)json_integer_value(value));
	const char *text = json_is_string(value) ? json_string_value(value) : number;
	return ERR_SET(err, ERR_INVALID,
		       "limits: %s: \"%.64s\" is no whole number from 1 to %lld; name no limit at "
		       "all to lift every one of the key's own",
		       name, text, (long long)LIMIT_MAX);
}

static enum err_code read_limits(const json_t *body, json_t *spec, struct err *err)
{
	json_t *limits, *value;
	const char *name;
	ERR_TRY(json_get_container(body, "limits", "key", JSON_OBJECT, true, &limits, err));
	json_object_foreach(limits, name, value)
	{
		enum limit limit = 0;
		while (limit < LIMIT_COUNT && strcmp(limits_name(limit), name) != 0)
			limit++;
		if (limit == LIMIT_COUNT)
			return ERR_SET(err, ERR_INVALID, "limits: there is no limit %s", name);
		int64_t max = json_is_integer(value) ? json_integer_value(value) : 0;
		if (max < 1 || max > LIMIT_MAX)
			return not_a_limit(name, value, err);
	}
	return limits ? set(spec, "limits", json_deep_copy(limits), err) : ERR_OK;
}

/* ---- what all acts share ---- */

static enum err_code find_active(const struct control *control, const char *id, const char *advice,
				 json_t **spec, struct err *err)
{
	const json_t *document = control_document(control, STORE_KEY, id);
	if (!document)
		return ERR_SET(err, ERR_NOT_FOUND, "there is no key %s", id);
	if (strcmp(control_state_of(document), "active") != 0)
		return ERR_SET(err, ERR_CONFLICT, "key %s is %s: %s", id,
			       control_state_of(document), advice);
	if (control_integer(control_spec_of(document), "expires_ms", WORLD_ALWAYS) <=
	    control->loop->wall_ms)
		return ERR_SET(err, ERR_CONFLICT, "key %s has expired: %s", id, advice);
	*spec = json_deep_copy(control_spec_of(document));
	return *spec ? ERR_OK : no_memory(err);
}

/* What of a key's spec its record tells, beside the ids. */
static json_t *detail_of(const json_t *spec)
{
	static const char *const told[] = {"binding",    "networks", "limits",
					   "expires_ms", "replaces", "replaced_by"};
	json_t *detail = json_object();
	for (size_t i = 0; detail && i < sizeof(told) / sizeof(told[0]); i++) {
		json_t *value = json_object_get(spec, told[i]);
		if (value && json_object_set(detail, told[i], value)) {
			json_decref(detail);
			return NULL;
		}
	}
	return detail;
}

static enum err_code add_change(struct control_operation *operation, const char *act, json_t *spec,
				const struct control_act_request *request, struct err *err)
{
	json_t *detail = detail_of(spec);
	if (!detail)
		return no_memory(err);
	struct control_telling telling = {.kind = RECORD_ACT,
					  .act = act,
					  .person = request->person,
					  .reason = request->reason,
					  .detail = json_object_size(detail) ? detail : NULL};
	enum err_code code = control_change_add(operation, STORE_KEY, json_text(spec, "id"), spec,
						"active", &telling, NULL, err);
	json_decref(detail);
	return code;
}

/* Each digit uniform: bytes beyond the last multiple of 62 are drawn again. */
static void draw_secret(struct control *control, char out[static sizeof(PREFIX) + SECRET_SIZE])
{
	static const char digits[] =
		"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
	size_t size = sizeof(PREFIX) - 1;
	memcpy(out, PREFIX, size);
	while (size < sizeof(PREFIX) - 1 + SECRET_SIZE) {
		uint8_t random[64];
		env_random(control->env, random, sizeof(random));
		for (size_t i = 0; i < sizeof(random) && size < sizeof(PREFIX) - 1 + SECRET_SIZE;
		     i++) {
			if (random[i] < 4 * 62)
				out[size++] = digits[random[i] % 62];
		}
		explicit_bzero(random, sizeof(random));
	}
	out[size] = '\0';
}

/* Gives the spec an id and a secret, of which the answer tells. */
static enum err_code draw_key(struct control_operation *operation, json_t *spec, struct err *err)
{
	struct control *control = operation->control;
	char secret[sizeof(PREFIX) + SECRET_SIZE], id[CONTROL_ID_SIZE];
	uint8_t digest[SHA256_SIZE];
	char hex[2 * SHA256_SIZE + 1];
	draw_secret(control, secret);
	control_random_id(control, "key_", id);
	sha256_of(secret, strlen(secret), digest);
	hex_encode(digest, sizeof(digest), hex);
	operation->answer =
		json_pack("{s:s, s:s, s:s, s:s}", "id", id, "org", json_text(spec, "org"), "grant",
			  json_text(spec, "grant"), "key", secret);
	explicit_bzero(secret, sizeof(secret));
	operation->log = control_log_of_grant(control, json_text(spec, "grant"));
	if (!operation->answer || json_object_set_new(spec, "id", json_string(id)) ||
	    json_object_set_new(spec, "digest", json_string(hex)))
		return no_memory(err);
	return ERR_OK;
}

/* ---- issuing ---- */

static enum err_code check_key_grant(const struct control *control, const char *org,
				     const char *grant, const char *team, struct err *err)
{
	const json_t *document = control_document(control, STORE_GRANT, grant);
	if (!control_document(control, STORE_ORG, org))
		return ERR_SET(err, ERR_NOT_FOUND, "there is no org %s", org);
	if (!document)
		return ERR_SET(err, ERR_NOT_FOUND, "there is no grant %s", grant);
	const json_t *spec = control_spec_of(document);
	if (strcmp(json_text(spec, "org"), org) != 0)
		return ERR_SET(err, ERR_CONFLICT, "grant %s is not %s's but %s's", grant, org,
			       json_text(spec, "org"));
	if (strcmp(control_state_of(document), "revoked") == 0)
		return ERR_SET(err, ERR_CONFLICT,
			       "grant %s is revoked; no key can be issued under it", grant);
	const char *granted = json_text(spec, "team");
	if (*granted && *team && strcmp(granted, team) != 0)
		return ERR_SET(err, ERR_CONFLICT, "grant %s is for team %s, not %s", grant, granted,
			       team);
	if (!*granted && *team)
		return ERR_SET(err, ERR_CONFLICT,
			       "grant %s is no team's but the whole org's; keys of team %s are "
			       "issued under that team's grants",
			       grant, team);
	return ERR_OK;
}

static enum err_code fill_spec(const struct control *control, const json_t *body, json_t *spec,
			       struct err *err)
{
	const char *org, *grant, *team;
	int64_t expires_ms;
	bool bound;
	ERR_TRY(json_get_string(body, "org", "key", &org, err));
	ERR_TRY(json_get_string(body, "grant", "key", &grant, err));
	ERR_TRY(json_get_string_or(body, "team", "key", "", &team, err));
	ERR_TRY(check_key_grant(control, org, grant, team, err));
	ERR_TRY(read_expiry(control, body, &expires_ms, err));
	if (!*team)
		team = json_text(control_spec(control, STORE_GRANT, grant), "team");
	ERR_TRY(set(spec, "org", json_string(org), err));
	ERR_TRY(set(spec, "grant", json_string(grant), err));
	if (*team)
		ERR_TRY(set(spec, "team", json_string(team), err));
	if (expires_ms != WORLD_ALWAYS)
		ERR_TRY(set(spec, "expires_ms", json_integer(expires_ms), err));
	ERR_TRY(read_networks(body, spec, err));
	ERR_TRY(read_binding(body, spec, &bound, err));
	ERR_TRY(check_demand(control, spec, err));
	return read_limits(body, spec, err);
}

enum err_code control_prepare_key(struct control_operation *operation, const json_t *body,
				  const struct control_act_request *request, struct err *err)
{
	static const char *const keys[] = {
		"org",      "grant",  "team",       "expires",
		"networks", "limits", "public_key", "certificate_thumbprint",
		"reason",   NULL};
	ERR_TRY(json_only_keys(body, keys, "key", err));
	ERR_TRY(control_check_reason(request->reason, err));
	json_t *spec = json_object();
	enum err_code code = spec ? ERR_OK : no_memory(err);
	if (code == ERR_OK)
		code = fill_spec(operation->control, body, spec, err);
	if (code == ERR_OK)
		code = draw_key(operation, spec, err);
	if (code == ERR_OK)
		code = add_change(operation, "key.issue", spec, request, err);
	json_decref(spec);
	return code;
}

/* ---- rotation ---- */

static enum err_code read_overlap(const json_t *body, int64_t *out, struct err *err)
{
	const char *overlap;
	ERR_TRY(json_get_string_or(body, "overlap", "key", OVERLAP_DEFAULT, &overlap, err));
	if (control_parse_span(bytes_from(overlap), out) && *out <= 90 * WORLD_DAY_MS)
		return ERR_OK;
	return ERR_SET(err, ERR_INVALID,
		       "overlap: %s is no span of at most 90 days; write 24h, 7d or 0h", overlap);
}

/* What the new key has of the old one: all but its expiry, unless that is told. */
static enum err_code follow(const struct control *control, const json_t *body, const json_t *old,
			    json_t *fresh, struct err *err)
{
	int64_t expires_ms;
	bool bound;
	const char *counters = json_text(old, "counters");
	ERR_TRY(read_expiry(control, body, &expires_ms, err));
	json_object_del(fresh, "expires_ms");
	json_object_del(fresh, "replaced_by");
	if (expires_ms != WORLD_ALWAYS)
		ERR_TRY(set(fresh, "expires_ms", json_integer(expires_ms), err));
	ERR_TRY(set(fresh, "replaces", json_string(json_text(old, "id")), err));
	if (!*counters)
		counters = json_text(old, "id");
	ERR_TRY(set(fresh, "counters", json_string(counters), err));
	ERR_TRY(read_binding(body, fresh, &bound, err));
	return check_demand(control, fresh, err);
}

static enum err_code rotate(struct control_operation *operation, const json_t *body, json_t *old,
			    json_t *fresh, const struct control_act_request *request,
			    struct err *err)
{
	int64_t overlap_ms = 0;
	ERR_TRY(read_overlap(body, &overlap_ms, err));
	ERR_TRY(follow(operation->control, body, old, fresh, err));
	ERR_TRY(draw_key(operation, fresh, err));
	int64_t end = operation->control->loop->wall_ms + overlap_ms;
	if (end < control_integer(old, "expires_ms", WORLD_ALWAYS))
		ERR_TRY(set(old, "expires_ms", json_integer(end), err));
	ERR_TRY(set(old, "replaced_by", json_string(json_text(fresh, "id")), err));
	ERR_TRY(set(operation->answer, "replaces", json_string(json_text(old, "id")), err));
	ERR_TRY(set(operation->answer, "replaced_expires_ms",
		    json_integer(control_integer(old, "expires_ms", end)), err));
	/* The new one first: a crash between the two leaves the old one as it was. */
	ERR_TRY(add_change(operation, "key.rotate", fresh, request, err));
	return add_change(operation, "key.expire", old, request, err);
}

enum err_code control_prepare_rotate(struct control_operation *operation, const char *id,
				     const json_t *body, const struct control_act_request *request,
				     struct err *err)
{
	static const char *const keys[] = {
		"overlap", "expires", "public_key", "certificate_thumbprint", "reason", NULL};
	json_t *old = NULL, *fresh = NULL;
	ERR_TRY(json_only_keys(body, keys, "key.rotate", err));
	ERR_TRY(control_check_reason(request->reason, err));
	ERR_TRY(find_active(operation->control, id, "issue another one", &old, err));
	enum err_code code = ERR_OK;
	const char *next = json_text(old, "replaced_by");
	if (*next)
		code = ERR_SET(err, ERR_CONFLICT, "key %s was replaced by %s already; rotate that",
			       id, next);
	if (code == ERR_OK && !(fresh = json_deep_copy(old)))
		code = no_memory(err);
	if (code == ERR_OK)
		code = rotate(operation, body, old, fresh, request, err);
	json_decref(old);
	json_decref(fresh);
	return code;
}

/* ---- binding and limiting ---- */

static enum err_code answer_key(struct control_operation *operation, const json_t *spec,
				struct err *err)
{
	operation->answer = json_pack("{s:s}", "key_id", json_text(spec, "id"));
	operation->log = control_log_of_grant(operation->control, json_text(spec, "grant"));
	return operation->answer ? ERR_OK : no_memory(err);
}

static enum err_code bind_spec(const struct control *control, const json_t *body, json_t *spec,
			       struct err *err)
{
	bool bound, unbind;
	ERR_TRY(json_get_bool_or(body, "none", "key.bind", false, &unbind, err));
	ERR_TRY(read_binding(body, spec, &bound, err));
	ERR_TRY(read_networks(body, spec, err));
	if (unbind && bound)
		return ERR_SET(err, ERR_INVALID, "a key is either bound or bound to nothing");
	if (unbind)
		json_object_del(spec, "binding");
	if (json_array_size(json_object_get(spec, "networks")) == 0)
		json_object_del(spec, "networks");
	if (!bound && !unbind && !json_object_get(body, "networks"))
		return ERR_SET(err, ERR_INVALID,
			       "say what the key is bound to: public_key, certificate_thumbprint, "
			       "networks or none");
	/* Networks of a key that falls short already may be changed all the same. */
	return bound || unbind ? check_demand(control, spec, err) : ERR_OK;
}

enum err_code control_prepare_bind(struct control_operation *operation, const char *id,
				   const json_t *body, const struct control_act_request *request,
				   struct err *err)
{
	static const char *const keys[] = {
		"public_key", "certificate_thumbprint", "networks", "none", "reason", NULL};
	json_t *spec = NULL;
	ERR_TRY(json_only_keys(body, keys, "key.bind", err));
	ERR_TRY(control_check_reason(request->reason, err));
	ERR_TRY(find_active(operation->control, id, "it cannot be bound", &spec, err));
	enum err_code code = bind_spec(operation->control, body, spec, err);
	if (code == ERR_OK)
		code = answer_key(operation, spec, err);
	if (code == ERR_OK)
		code = add_change(operation, "key.bind", spec, request, err);
	json_decref(spec);
	return code;
}

enum err_code control_prepare_limit(struct control_operation *operation, const char *id,
				    const json_t *body, const struct control_act_request *request,
				    struct err *err)
{
	static const char *const keys[] = {"limits", "reason", NULL};
	json_t *spec = NULL;
	ERR_TRY(json_only_keys(body, keys, "key.limit", err));
	ERR_TRY(control_check_reason(request->reason, err));
	ERR_TRY(find_active(operation->control, id, "it cannot be limited", &spec, err));
	enum err_code code = read_limits(body, spec, err);
	if (code == ERR_OK && !json_object_get(body, "limits"))
		code = ERR_SET(err, ERR_INVALID, "say which limits: {\"rpm\": 60}; {} lifts all");
	if (code == ERR_OK && json_object_size(json_object_get(spec, "limits")) == 0)
		json_object_del(spec, "limits");
	if (code == ERR_OK)
		code = answer_key(operation, spec, err);
	if (code == ERR_OK)
		code = add_change(operation, "key.limit", spec, request, err);
	json_decref(spec);
	return code;
}

/* ---- reading a key back ---- */

enum err_code control_key_sender(const char *id, const json_t *spec, struct sender_network *memory,
				 struct sender_rule *out, struct err *err)
{
	const json_t *networks = json_object_get(spec, "networks");
	const json_t *binding = json_object_get(spec, "binding");
	const char *kind = json_text(binding, "kind");
	size_t count = json_array_size(networks);
	*out = (struct sender_rule){.networks = memory, .network_count = (unsigned)count};
	bool good = count <= SENDER_NETWORKS_MAX;
	for (size_t i = 0; good && i < count; i++) {
		const char *text = json_string_value(json_array_get(networks, i));
		good = text && sender_network_parse(bytes_from(text), &memory[i], NULL) == ERR_OK;
	}
	if (good && binding) {
		while (out->binding < SENDER_BINDING_COUNT &&
		       strcmp(sender_binding_id(out->binding), kind) != 0)
			out->binding++;
		struct bytes thumbprint = bytes_from(json_text(binding, "thumbprint"));
		good = out->binding < SENDER_BINDING_COUNT &&
		       base64url_decode_exact(thumbprint, out->thumbprint, SHA256_SIZE);
	}
	if (good && out->binding == SENDER_BINDING_SIGNATURE)
		good = base64url_decode_exact(bytes_from(json_text(binding, "public_key")),
					      out->public_key, ED25519_KEY_SIZE);
	return good ? ERR_OK : ERR_SET(err, ERR_CORRUPT, "the stored key %s is damaged", id);
}
