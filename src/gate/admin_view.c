#include "gate/admin_view.h"

#include "gate/control_deliver.h"
#include "gate/control_grants.h"
#include "gate/control_reciprocal.h"

/* ---- limits ---- */

static json_t *view_limit(const struct limits_scope *scope, enum limit limit,
			  const struct limits_clock *clock)
{
	struct limits_state state = limits_peek(scope, clock, limit);
	return json_pack("{s:s, s:s, s:s, s:I, s:I, s:I}", "limit", limits_name(limit), "of",
			 scope->what, "unit", limits_unit(limit), "max", (json_int_t)state.max,
			 "remaining", (json_int_t)state.remaining, "reset_ms",
			 (json_int_t)state.reset_ms);
}

static bool append_limits(json_t *list, const char *what, struct limits_cells *cells,
			  const struct limits_values *values, const struct limits_clock *clock)
{
	struct limits_scope scope = {.cells = cells, .values = values, .what = what};
	for (int limit = 0; cells && limit < LIMIT_COUNT; limit++) {
		if (values->max[limit] == LIMIT_NONE)
			continue;
		if (json_array_append_new(list, view_limit(&scope, (enum limit)limit, clock)))
			return false;
	}
	return true;
}

json_t *admin_view_limits(struct control *control, const struct world_grant *grant,
			  const struct world_key *key)
{
	struct limits_clock clock = {.now_ns = control->loop->now_ns,
				     .wall_ms = control->loop->wall_ms};
	json_t *list = json_array();
	bool good = list && append_limits(list, "grant", grant->cells, &grant->limits, &clock) &&
		    append_limits(list, "org", grant->org->cells, &grant->org->limits, &clock) &&
		    (!(grant->purposes >> PURPOSE_INTEROP_TEST & 1) ||
		     append_limits(list, "interop_test", grant->interop_cells,
				   &grant->interop_limits, &clock));
	if (good && key)
		good = append_limits(list, "key", key->cells, &key->limits, &clock);
	if (good)
		return list;
	json_decref(list);
	return NULL;
}

/* ---- single documents ---- */

static const char *const shown[] = {"state", "person", "reason", "changed", NULL};
static const char *const hidden[] = {"digest", "position", "new_leaves", NULL};

/* Expired by its dates, whatever the document says. */
const char *admin_grant_state(const struct control *control, const struct world_grant *grant)
{
	if (grant->state == GRANT_ACTIVE && control->loop->wall_ms >= grant->until_ms)
		return grant_state_id(GRANT_EXPIRED);
	return grant_state_id(grant->state);
}

static bool add_org(struct control *control, json_t *view, const char *id)
{
	const json_t *document = control_document(control, STORE_ORG, id);
	bool blocked = strcmp(control_state_of(document), "blocked") == 0;
	json_t *affiliates = json_object_get(document, "affiliates");
	return json_set(view, "blocked", json_boolean(blocked)) &&
	       (!affiliates || json_object_set(view, "affiliates", affiliates) == 0);
}

static bool add_grant(struct control *control, json_t *view, const char *id)
{
	const struct world_grant *grant = world_find_grant(control->world, bytes_from(id));
	const json_t *valid = json_object_get(view, "valid");
	if (!control_grant_view(control, view, id) ||
	    !reciprocator_view(control->reciprocator, view, id))
		return false;
	if (!grant)
		return true;
	return json_set(view, "from", json_string(json_text(valid, "from"))) &&
	       json_set(view, "to", json_string(json_text(valid, "to"))) &&
	       json_set(view, "state", json_string(admin_grant_state(control, grant))) &&
	       json_set(view, "use", admin_view_limits(control, grant, NULL)) &&
	       json_set(view, "open_runs", json_integer(grant->run_count));
}

static bool add_key(struct control *control, json_t *view, const char *id)
{
	const struct world_key *key = world_find_key_id(control->world, bytes_from(id));
	char time[RECORD_TIME_SIZE];
	json_object_del(view, "counters");
	if (!key || key->expires_ms == WORLD_ALWAYS)
		return true;
	json_object_del(view, "expires_ms");
	record_time(key->expires_ms, time);
	if (key->state == WORLD_KEY_ACTIVE && key->expires_ms <= control->loop->wall_ms &&
	    !json_set(view, "state", json_string("expired")))
		return false;
	return json_set(view, "expires", json_string(time));
}

static bool add_suite(struct control *control, json_t *view, const char *id)
{
	const char *class = control_class_of(control, control_document(control, STORE_SUITE, id));
	json_object_del(view, "state");
	return json_set(view, "class", json_string(class));
}

static bool add_run(struct control *control, json_t *view, const char *id)
{
	const struct world_run *run = world_find_run(control->world, bytes_from(id));
	json_t *words = run ? control_words_of(control, id) : NULL;
	if (!run)
		return true;
	if (words && !json_set(view, "words", words))
		return false;
	return json_set(view, "used", json_integer((json_int_t)binding_run_total(run->run))) &&
	       json_set(view, "register", control_register_of(control, id)) &&
	       json_set(view, "last_use_ms", json_integer(atomic_load(&run->run->last_use_ms)));
}

static bool add_notice(struct control *control, json_t *view, const char *id)
{
	return deliverer_view(control->deliverer, view, id);
}

static bool add_case(struct control *control, json_t *view, const char *id)
{
	(void)id;
	return control_view_case(control, view);
}

static bool (*const additions[STORE_KINDS])(struct control *control, json_t *view,
					    const char *id) = {
	[STORE_ORG] = add_org,     [STORE_GRANT] = add_grant, [STORE_KEY] = add_key,
	[STORE_SUITE] = add_suite, [STORE_RUN] = add_run,     [STORE_NOTICE] = add_notice,
	[STORE_CASE] = add_case,
};

json_t *admin_view(struct control *control, enum store_kind kind, const char *id)
{
	const json_t *document = control_document(control, kind, id);
	json_t *view = json_copy((json_t *)control_spec_of(document));
	bool good = view != NULL;
	for (const char *const *key = hidden; good && *key; key++)
		json_object_del(view, *key);
	for (const char *const *key = shown; good && *key; key++) {
		json_t *value = json_object_get(document, *key);
		if (value)
			good = json_object_set(view, *key, value) == 0;
	}
	if (good && additions[kind])
		good = additions[kind](control, view, id);
	if (good)
		return view;
	json_decref(view);
	return NULL;
}

/* ---- lists ---- */

/* A key is looked up, so that those that are not shown need not be read. */
static bool key_passes(struct control *control, const char *id, const struct admin_filter *filter)
{
	const struct world_key *key = world_find_key_id(control->world, bytes_from(id));
	return key && (!*filter->org || strcmp(key->grant->org->id, filter->org) == 0) &&
	       (!*filter->grant || strcmp(key->grant->id, filter->grant) == 0);
}

static bool passes(struct control *control, enum store_kind kind, const char *id,
		   const json_t *document, const struct admin_filter *filter)
{
	const json_t *spec = control_spec_of(document);
	if (kind == STORE_KEY)
		return key_passes(control, id, filter);
	if (*filter->org && strcmp(json_text(spec, "org"), filter->org) != 0)
		return false;
	if (*filter->grant && strcmp(json_text(spec, "grant"), filter->grant) != 0)
		return false;
	if (filter->pending && kind == STORE_SUITE)
		return strcmp(control_class_of(control, document),
			      suite_class_id(SUITE_CLASS_PRIVATE)) == 0 &&
		       strcmp(control_state_of(document), "rejected") != 0;
	return true;
}

json_t *admin_view_list(struct control *control, enum store_kind kind,
			const struct admin_filter *filter)
{
	json_t *rows = json_array();
	const char *id;
	json_t *document;
	bool good = rows != NULL;
	json_object_foreach(control->documents[kind], id, document)
	{
		if (!good || !passes(control, kind, id, document, filter))
			continue;
		json_t *kept = json_incref(document); /* a text that is only shown stays one */
		good = json_array_append_new(rows, admin_view(control, kind, id)) == 0;
		json_object_set_new(control->documents[kind], id, kept);
	}
	json_t *list = good ? json_pack("{s:O}", store_kind_name(kind), rows) : NULL;
	json_decref(rows);
	return list;
}

json_t *admin_view_status(struct control *control)
{
	json_t *counts = json_object();
	bool good = counts != NULL;
	for (int kind = 0; good && kind < STORE_KINDS; kind++) {
		if (kind != STORE_PSEUDONYM && kind != STORE_NOTICE && kind != STORE_USE &&
		    kind != STORE_EXPOSURE && kind != STORE_WATCH)
			good = json_set(counts, store_kind_name((enum store_kind)kind),
					json_integer((json_int_t)json_object_size(
						control->documents[kind])));
	}
	json_t *status = NULL;
	if (good)
		status = json_pack(
			"{s:s, s:s, s:s, s:I, s:b, s:O}", "name", control->config->name, "mode",
			control->config->mode == CONFIG_OBSERVE ? "observe" : "enforce",
			"durability", control->config->strict ? "strict" : "relaxed", "world",
			(json_int_t)world_version(control->world), "store_behind",
			json_array_size(control->unfinished) > 0, "documents", counts);
	json_decref(counts);
	return status;
}

/* ---- the holder of a key ---- */

/* The terms in force, each clause with whether the grant overrides it. */
static json_t *view_terms(struct control *control, const struct world_grant *grant)
{
	json_t *view = json_deep_copy(control_spec(control, STORE_TERMS, CONTROL_TERMS_ID));
	size_t index;
	json_t *clause;
	if (!view)
		return json_object();
	json_array_foreach(json_object_get(view, "clauses"), index, clause)
	{
		bool overridden = index < WORLD_CLAUSES_MAX &&
				  (grant->overrides[index / 64] >> index % 64 & 1);
		if (!json_set(clause, "overridden", json_boolean(overridden))) {
			json_decref(view);
			return NULL;
		}
	}
	return view;
}

/* Whether requests can be admitted at this moment, and if not, by which rule. */
static json_t *view_standing(struct control *control, const struct world_key *key)
{
	struct verdict verdict;
	struct policy_request facts = {.has_key = true,
				       .wall_ms = control->loop->wall_ms,
				       .sender = sender_facts_for(&key->sender)};
	memcpy(facts.key_digest, key->digest, SHA256_SIZE);
	policy_authenticate(control->world, &facts, &verdict);
	if (verdict.outcome == POLICY_ADMIT)
		return json_pack("{s:b}", "admitted", true);
	return json_pack("{s:b, s:s, s:s}", "admitted", false, "rule", rule_id(verdict.rule),
			 "detail", verdict.detail);
}

static json_t *view_traffic(const struct limits_cells *cells)
{
	const struct limits_traffic *traffic = &cells->traffic;
	return json_pack("{s:I, s:I, s:I, s:I, s:I}", "admitted",
			 (json_int_t)atomic_load(&traffic->admitted), "refused",
			 (json_int_t)atomic_load(&traffic->refused), "live",
			 (json_int_t)atomic_load(&traffic->live), "input_tokens",
			 (json_int_t)limits_use_total(&cells->use, LIMITS_INPUT), "output_tokens",
			 (json_int_t)limits_use_total(&cells->use, LIMITS_OUTPUT));
}

static json_t *view_key(struct control *control, const struct world_key *key)
{
	const json_t *document = control_document(control, STORE_KEY, key->id);
	const char *team = json_text(control_spec_of(document), "team");
	json_t *view = json_pack("{s:s, s:s, s:b, s:s}", "id", key->id, "state",
				 control_state_of(document), "staff", key->staff, "binding",
				 sender_binding_id(key->sender.binding));
	if (view && *team)
		json_set(view, "team", json_string(team));
	if (view && key->expires_ms != WORLD_ALWAYS)
		json_set(view, "expires_ms", json_integer(key->expires_ms));
	return view;
}

static json_t *view_org(const struct world_org *org)
{
	return json_pack("{s:s, s:s, s:s}", "id", org->id, "name", org->name, "pseudonym",
			 org->pseudonym);
}

static json_t *inner_list(struct control *control, enum store_kind kind, const char *grant)
{
	struct admin_filter filter = {.org = "", .grant = grant};
	json_t *list = admin_view_list(control, kind, &filter);
	json_t *rows = json_incref(json_object_get(list, store_kind_name(kind)));
	json_decref(list);
	return rows;
}

static json_t *view_models(const struct world_grant *grant)
{
	json_t *rows = json_array();
	bool good = rows != NULL;
	for (unsigned i = 0; good && i < grant->model_count; i++) {
		const struct world_model *model = grant->models[i];
		good = model &&
		       json_array_append_new(rows,
					     json_pack("{s:s, s:I, s:I}", "name", model->id,
						       "max_output", (json_int_t)model->max_output,
						       "context", (json_int_t)model->context)) == 0;
	}
	if (good)
		return rows;
	json_decref(rows);
	return NULL;
}

/* Who acted and why is the operator's, not the holder's, but for the state itself. */
static json_t *view_own_grant(struct control *control, const char *id)
{
	json_t *view = admin_view(control, STORE_GRANT, id);
	json_object_del(view, "person");
	json_object_del(view, "use");
	return view;
}

bool admin_is_own_grant(const struct control *control, const struct world_key *key, const char *id)
{
	const json_t *spec = control_spec(control, STORE_GRANT, id);
	const char *team = key->grant->team;
	return spec && strcmp(json_text(spec, "org"), key->grant->org->id) == 0 &&
	       (!*team || strcmp(json_text(spec, "team"), team) == 0);
}

json_t *admin_view_own_grants(struct control *control, const struct world_key *key)
{
	json_t *rows = json_array();
	const char *id;
	json_t *document;
	bool good = rows != NULL;
	json_object_foreach(control->documents[STORE_GRANT], id, document)
	{
		if (good && admin_is_own_grant(control, key, id))
			good = json_array_append_new(rows, view_own_grant(control, id)) == 0;
	}
	json_t *list = good ? json_pack("{s:O}", "grants", rows) : NULL;
	json_decref(rows);
	return list;
}

json_t *admin_view_self(struct control *control, const struct world_key *key)
{
	const struct world_grant *grant = key->grant;
	json_t *view = json_object();
	bool good = view && json_set(view, "gateway", json_string(control->config->name)) &&
		    json_set(view, "key", view_key(control, key)) &&
		    json_set(view, "org", view_org(grant->org)) &&
		    json_set(view, "grant", view_own_grant(control, grant->id)) &&
		    json_set(view, "models", view_models(grant)) &&
		    json_set(view, "terms", view_terms(control, grant)) &&
		    json_set(view, "standing", view_standing(control, key)) &&
		    json_set(view, "since_start", view_traffic(grant->cells)) &&
		    json_set(view, "limits", admin_view_limits(control, grant, key)) &&
		    json_set(view, "use", admin_view_use(control, grant->cells)) &&
		    json_set(view, "suites", inner_list(control, STORE_SUITE, grant->id)) &&
		    json_set(view, "runs", inner_list(control, STORE_RUN, grant->id));
	if (good)
		return view;
	json_decref(view);
	return NULL;
}
