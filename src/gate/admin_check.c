#include "gate/admin_check.h"

#include "gate/admin_view.h"
#include "gate/request.h"
#include "gate/request_limits.h"

#include <stdlib.h>

#define BODY_MAX ((size_t)64 << 20)
#define WORDS_MAX ((size_t)64 << 20)
#define MESSAGE_MAX 4096

/* A request that is only asked about. */
struct check {
	struct control *control;
	const struct config *config;
	const json_t *headers;
	struct bytes method, path;
	struct buf body;
	struct json_scan *scan;
	const struct dialect_endpoint *endpoint;
	enum dialect_id dialect;
	struct dialect_request read;
	struct policy_request facts;
	uint8_t words_digest[SHA256_SIZE];
	struct script_request script;
	json_t *words; /* that it points into; NULL: none */
	struct binding_settings settings;
	struct leaf_claim claim;
	bool claims;
	struct verdict verdict;
	bool decided; /* as far as policy goes; limits may follow */
	bool supposed_network, supposed_binding;
	struct limits_wants wants;
	int64_t retry_after_ms;
};

/* ---- the question ---- */

/* A header's value by its name in any case, or NULL. */
static const char *header(const struct check *check, const char *name)
{
	const char *key;
	json_t *value;
	json_object_foreach((json_t *)check->headers, key, value)
	{
		if (strcasecmp(key, name) == 0)
			return json_string_value(value);
	}
	return NULL;
}

static const char *credential(const struct check *check)
{
	const char *value = header(check, "authorization");
	if (value && strncasecmp(value, "bearer ", 7) == 0)
		return value + 7;
	value = header(check, "x-api-key");
	return value ? value : header(check, "x-goog-api-key");
}

static bool is_usable(const struct world_key *key, int64_t now_ms)
{
	return key->state == WORLD_KEY_ACTIVE && key->expires_ms > now_ms;
}

static const struct world_key *first_key(const struct world *world, const struct world_grant *grant,
					 int64_t now_ms)
{
	for (size_t i = 0; i < world_key_count(world); i++) {
		const struct world_key *key = world_key_at(world, i);
		if (key->grant == grant && is_usable(key, now_ms))
			return key;
	}
	return NULL;
}

static enum err_code find_key(const struct check *check, const json_t *body,
			      const struct world_key **out, struct err *err)
{
	const struct world *world = check->control->world;
	const char *key_id, *grant_id;
	*out = NULL;
	ERR_TRY(json_get_string_or(body, "key", "check", NULL, &key_id, err));
	ERR_TRY(json_get_string_or(body, "grant", "check", NULL, &grant_id, err));
	const struct world_grant *grant =
		grant_id ? world_find_grant(world, bytes_from(grant_id)) : NULL;
	if (grant_id && !grant)
		return ERR_SET(err, ERR_NOT_FOUND, "there is no grant %s", grant_id);
	if (key_id) {
		*out = world_find_key_id(world, bytes_from(key_id));
		if (!*out)
			return ERR_SET(err, ERR_NOT_FOUND, "there is no key %s", key_id);
		if (grant && (*out)->grant != grant)
			return ERR_SET(err, ERR_INVALID, "key %s is not under grant %s", key_id,
				       grant_id);
	} else if (grant) {
		*out = first_key(world, grant, check->facts.wall_ms);
		if (!*out)
			return ERR_SET(err, ERR_NOT_FOUND,
				       "grant %s has no key in force; issue one, or name a key",
				       grant_id);
	}
	return ERR_OK;
}

/* The secret sent counts; else a key that is named stands for its secret. Where it comes from and
 * what else it proves cannot be shown here: it is supposed to be right. */
static enum err_code read_key(struct check *check, const json_t *body, struct err *err)
{
	struct policy_request *facts = &check->facts;
	const struct world_key *key;
	ERR_TRY(find_key(check, body, &key, err));
	const char *secret = credential(check);
	facts->has_key = key || (secret && *secret);
	if (key)
		memcpy(facts->key_digest, key->digest, SHA256_SIZE);
	else if (facts->has_key)
		sha256_of(secret, strlen(secret), facts->key_digest);
	if (!key && facts->has_key)
		key = world_find_key(check->control->world, facts->key_digest);
	if (!key)
		return ERR_OK;
	check->supposed_network = key->sender.network_count > 0;
	check->supposed_binding = key->sender.binding != SENDER_BINDING_NONE;
	facts->sender = sender_facts_for(&key->sender);
	return ERR_OK;
}

static enum err_code read_text(struct check *check, const json_t *value, struct err *err)
{
	buf_init(&check->body, BODY_MAX);
	if (json_is_string(value))
		buf_append(&check->body, json_string_value(value), json_string_length(value));
	else if (value && json_canonical(value, &check->body, err) != ERR_OK)
		return ERR_SET(err, ERR_INVALID, "check: body: cannot be written as JSON");
	return check->body.failed ? ERR_SET(err, ERR_NO_MEMORY, "no memory to read the request")
				  : ERR_OK;
}

static enum err_code read_question(struct check *check, const json_t *body, struct err *err)
{
	static const char *const keys[] = {"path", "method", "headers", "body",
					   "key",  "grant",  "reason",  NULL};
	const char *path, *method;
	ERR_TRY(json_only_keys(body, keys, "check", err));
	ERR_TRY(json_get_string(body, "path", "check", &path, err));
	ERR_TRY(json_get_string_or(body, "method", "check", NULL, &method, err));
	check->headers = json_object_get(body, "headers");
	if (check->headers && !json_is_object(check->headers))
		return ERR_SET(err, ERR_INVALID,
			       "check: headers: must be an object of names and texts");
	struct bytes query;
	check->path = bytes_split(bytes_from(path), '?', &query);
	const json_t *text = json_object_get(body, "body");
	check->method = method ? bytes_from(method) : text ? BYTES("POST") : BYTES("GET");
	check->facts.wall_ms = check->control->loop->wall_ms;
	check->facts.max_output = -1;
	check->facts.n = 1;
	ERR_TRY(read_text(check, text, err));
	return read_key(check, body, err);
}

/* ---- the facts ---- */

static void read_head(struct check *check)
{
	struct policy_request *facts = &check->facts;
	bool versioned = header(check, "anthropic-version") != NULL;
	const char *accept = header(check, "parley-accept"), *run = header(check, "parley-run");
	check->endpoint = dialect_endpoint_find(check->method, check->path, versioned);
	if (header(check, "x-goog-api-key"))
		check->endpoint = dialect_gemini_list(check->endpoint);
	check->dialect =
		check->endpoint ? check->endpoint->dialect : dialect_guess(check->path, versioned);
	facts->dialect = check->dialect;
	facts->endpoint =
		check->endpoint ? gate_endpoint_use(check->endpoint->kind) : ENDPOINT_USE_UNKNOWN;
	facts->wants_verdict = accept && strcmp(accept, "verdict") == 0;
	facts->run = bytes_from(run ? run : "");
}

static void read_words(struct check *check)
{
	struct buf words = BUF_INIT(WORDS_MAX), settings = BUF_INIT(WORDS_MAX);
	json_t *tree = NULL;
	if (dialect_words(check->dialect, buf_bytes(&check->body), &words, &settings, NULL) ==
		    ERR_OK &&
	    json_parse(buf_bytes(&settings), "settings", &tree, NULL) == ERR_OK &&
	    binding_settings_from_json(tree, &check->settings, NULL) == ERR_OK) {
		sha256_of(words.data, words.size, check->words_digest);
		check->facts.words_digest = check->words_digest;
		check->facts.settings = &check->settings;
		if (policy_needs_script(check->verdict.grant) &&
		    json_parse(buf_bytes(&words), "words", &check->words, NULL) == ERR_OK &&
		    script_request_read(world_binding_secret(check->control->world), check->words,
					words.size, &check->script))
			check->facts.script = &check->script;
		if (check->claims) {
			leaf_claim_set_words(&check->claim, buf_bytes(&words));
			check->facts.claim = &check->claim;
		}
	}
	json_decref(tree);
	buf_release(&words);
	buf_release(&settings);
}

static enum err_code read_body_of(struct check *check, struct err *err)
{
	struct bytes body = buf_bytes(&check->body);
	struct dialect_route route = {check->endpoint, check->dialect, check->path};
	ERR_TRY(json_scan_text(check->scan, body, "the body", err));
	ERR_TRY(dialect_request_read(&route, check->scan, body, &check->read, err));
	const struct world_model *model =
		world_find_model(check->control->world, check->read.model);
	if (route.dialect != DIALECT_OPENAI || !model)
		return ERR_OK;
	route.dialect = dialect_variant(route.dialect, model->provider->dialect);
	check->dialect = route.dialect;
	return dialect_request_read(&route, check->scan, body, &check->read, err);
}

/* `parley-leaf`, where the headers have it; NULL, or what is wrong with it. */
static const char *read_claim(struct check *check)
{
	const char *field = header(check, "parley-leaf");
	check->claims = field && *field;
	return check->claims ? leaf_claim_parse(bytes_from(field), &check->claim) : NULL;
}

/* False: refused before anything is decided. */
static bool read_body(struct check *check)
{
	struct err err = ERR_INIT;
	struct bytes type;
	if (check->body.size > check->config->max_body) {
		policy_refuse(&check->verdict, RULE_REQUEST_TOO_LARGE, NULL);
		return false;
	}
	if (read_body_of(check, &err) != ERR_OK) {
		policy_refuse(&check->verdict, RULE_REQUEST_SYNTAX, err.message);
		return false;
	}
	gate_body_facts(&check->read, &check->facts);
	if (policy_needs_words(check->verdict.grant, check->facts.endpoint)) {
		const char *problem = read_claim(check);
		if (problem) {
			policy_refuse(&check->verdict, RULE_REQUEST_SYNTAX, problem);
			return false;
		}
		check->facts.non_text = dialect_request_non_text(&check->read, check->scan,
								 buf_bytes(&check->body), &type);
		read_words(check);
	}
	return true;
}

/* ---- the decision ---- */

/* Whether the limits have room for it; takes nothing. */
static void try_limits(struct check *check)
{
	struct limits_scope scopes[LIMITS_SCOPES_MAX];
	struct limits_refusal refusal;
	struct limits_clock clock = {check->control->loop->now_ns, check->control->loop->wall_ms};
	unsigned count = policy_scopes(&check->verdict, scopes);
	check->wants = gate_limits_wants(&check->facts, &check->verdict, check->read.prompt_bytes);
	if (limits_may_reserve(scopes, count, &clock, check->wants, &refusal))
		return;
	policy_refuse_limit(&check->verdict, &refusal);
	check->retry_after_ms = refusal.retry_after_ms;
}

static bool asks_model(const struct check *check)
{
	return check->facts.endpoint == ENDPOINT_USE_GENERATE ||
	       check->facts.endpoint == ENDPOINT_USE_COUNT_TOKENS;
}

/* In the order of a request: the head, the body, policy, limits. */
static void decide(struct check *check)
{
	policy_authenticate(check->control->world, &check->facts, &check->verdict);
	if (check->verdict.outcome != POLICY_ADMIT)
		return;
	if (asks_model(check) && !read_body(check))
		return;
	policy_decide(check->control->world, &check->facts, &check->verdict);
	check->decided = check->verdict.outcome != POLICY_REFUSE;
	if (check->decided && asks_model(check))
		try_limits(check);
}

/* ---- the answer ---- */

static bool tell_cost(json_t *reserves, const char *key, int64_t nanodollars)
{
	return nanodollars < 0 || json_set(reserves, key, json_real((double)nanodollars / 1e9));
}

static bool tell_reserve(const struct check *check, json_t *answer)
{
	const struct verdict *verdict = &check->verdict;
	if (!check->decided || !verdict->model)
		return true;
	int64_t input = check->wants.input, most = verdict->output_cap * check->facts.n;
	json_t *reserves = json_pack("{s:i, s:I, s:I}", "requests", 1, "input", (json_int_t)input,
				     "output", (json_int_t)check->wants.output);
	bool good = reserves && tell_cost(reserves, "usd", check->wants.cost) &&
		    tell_cost(reserves, "usd_most", gate_limits_cost(verdict->model, input, most)) &&
		    json_object_set(answer, "reserves", reserves) == 0;
	json_decref(reserves);
	return good && json_set(answer, "output_most", json_integer(most));
}

static bool tell_bound(const struct check *check, json_t *answer)
{
	const struct verdict *verdict = &check->verdict;
	bool good = true;
	if (check->decided)
		good = json_set_text(answer, "purpose", purpose_id(verdict->purpose)) &&
		       json_set_text(answer, "release", release_id(verdict->release));
	if (good && verdict->suite)
		good = json_set_text(answer, "suite", verdict->suite->id) &&
		       json_set_text(answer, "suite_name", verdict->suite->suite->name) &&
		       json_set(answer, "leaf", json_integer(verdict->pick.leaf)) &&
		       (!verdict->pick.step ||
			json_set(answer, "step", json_integer(verdict->pick.step)));
	if (good && verdict->run)
		good = json_set_text(answer, "run", verdict->run->id);
	return good &&
	       json_set(answer, "opens_run", json_boolean(verdict->outcome == POLICY_OPEN_RUN));
}

static bool tell_refusal(struct check *check, json_t *answer)
{
	const struct verdict *verdict = &check->verdict;
	struct buf message = BUF_INIT(MESSAGE_MAX);
	policy_message(verdict, &message);
	buf_append_char(&message, '\0');
	bool good = !message.failed && json_set_text(answer, "rule", rule_id(verdict->rule)) &&
		    json_set_text(answer, "message", message.data) &&
		    json_set_text(answer, "detail", verdict->detail) &&
		    json_set_text(answer, "appeal", verdict->appeal);
	buf_release(&message);
	if (good && verdict->clause)
		good = json_set(answer, "clause",
				json_pack("{s:s, s:s, s:s}", "id", verdict->clause->id, "kind",
					  verdict->clause->kind, "text", verdict->clause->text));
	if (good && check->retry_after_ms >= 0 && limits_rule_is(verdict->rule))
		good = json_set(answer, "retry_after_ms", json_integer(check->retry_after_ms));
	if (!good || check->config->mode != CONFIG_OBSERVE || !verdict->grant)
		return good;
	/* This last: it makes an admission of the verdict. */
	bool through = policy_observe(&check->facts, &check->verdict);
	return json_set(answer, "let_through", json_boolean(through));
}

/* What could not be asked here and is taken for granted. */
static json_t *suppositions(const struct check *check)
{
	json_t *list = json_array();
	bool good = list != NULL;
	if (good && check->supposed_network)
		good = json_array_append_new(
			       list, json_string("it comes from a network that the key allows")) ==
		       0;
	if (good && check->supposed_binding)
		good = json_array_append_new(
			       list,
			       json_string("it proves the sender that the key is bound to")) == 0;
	if (good)
		return list;
	json_decref(list);
	return NULL;
}

static enum err_code tell(struct check *check, json_t **answer, struct err *err)
{
	const struct verdict *verdict = &check->verdict;
	bool refused = verdict->outcome == POLICY_REFUSE;
	*answer = json_pack("{s:s, s:i}", "outcome", refused ? "refused" : "admitted", "status",
			    refused ? rule_http_status(verdict->rule) : 200);
	bool good = *answer &&
		    json_set_text(*answer, "key", verdict->key ? verdict->key->id : NULL) &&
		    json_set_text(*answer, "model", verdict->model ? verdict->model->id : NULL) &&
		    tell_bound(check, *answer) && tell_reserve(check, *answer) &&
		    json_set(*answer, "supposed", suppositions(check));
	if (good && verdict->grant)
		good = json_set_text(*answer, "grant", verdict->grant->id) &&
		       json_set_text(*answer, "org", verdict->grant->org->id) &&
		       json_set(*answer, "limits",
				admin_view_limits(check->control, verdict->grant, verdict->key));
	if (good && refused)
		good = tell_refusal(check, *answer);
	return good ? ERR_OK : ERR_SET(err, ERR_NO_MEMORY, "no memory to answer");
}

enum err_code admin_check(struct control *control, const json_t *body, json_t **answer,
			  struct err *err)
{
	struct check check = {.control = control, .config = control->config, .retry_after_ms = -1};
	*answer = NULL;
	buf_init(&check.body, 0);
	check.scan = malloc(sizeof(*check.scan));
	enum err_code code = check.scan ? read_question(&check, body, err)
					: ERR_SET(err, ERR_NO_MEMORY, "no memory to check");
	if (code == ERR_OK) {
		read_head(&check);
		decide(&check);
		code = tell(&check, answer, err);
	}
	free(check.scan);
	json_decref(check.words);
	buf_release(&check.body);
	return code;
}
