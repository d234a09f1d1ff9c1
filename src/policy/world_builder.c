#include "policy/world_builder.h"

#include "policy/world_internal.h"

#include <assert.h>
#include <stdlib.h>

#define ARENA_BLOCK ((size_t)64 << 10)
#define ARENA_MAX ((size_t)2 << 30)
#define ID_MAX 200

struct world_builder *world_builder_new(struct world *previous,
					const uint8_t secret[static WORLD_SECRET_SIZE])
{
	struct world_builder *builder = calloc(1, sizeof(*builder));
	struct world *world = calloc(1, sizeof(*world));
	struct limits_table *limits =
		previous ? limits_table_hold(previous->limits) : limits_table_new();
	struct world_memory *memory = world_memory_new(NULL, ARENA_BLOCK, ARENA_MAX);
	if (!builder || !world || !limits || !memory) {
		world_memory_drop(memory);
		limits_table_drop(limits);
		free(world);
		free(builder);
		return NULL;
	}
	atomic_init(&world->references, 1);
	world->memory = memory;
	hmac_key_init(&world->secret, secret, WORLD_SECRET_SIZE);
	world->version = previous ? previous->version + 1 : 1;
	world->limits = limits;
	world->terms_version = "";
	builder->world = world;
	builder->threshold = LINKS_THRESHOLD_DEFAULT;
	return builder;
}

void world_builder_free(struct world_builder *builder)
{
	if (!builder)
		return;
	world_drop(builder->world);
	free(builder->links);
	free(builder->blocks);
	free(builder->fresh_orgs);
	free(builder->fresh_grants);
	free(builder->fresh_keys);
	free(builder);
}

/* ---- steps that all kinds share ---- */

static enum err_code no_memory(struct err *err, const char *kind, const char *id)
{
	return ERR_SET(err, ERR_NO_MEMORY, "%s %s: out of memory", kind, id);
}

static const char *copy(struct world *world, const char *text)
{
	return text && text[0] ? arena_copy(&world->memory->arena, bytes_from(text)) : "";
}

static struct limits_values values_or_none(const struct limits_values *limits)
{
	return limits ? *limits : limits_unlimited;
}

/* A fresh, zeroed thing whose id is not in the table yet. */
static enum err_code new_thing(struct world *world, const struct id_table *table, const char *kind,
			       const char *id, size_t size, void **out, struct err *err)
{
	if (!id || !id[0] || strlen(id) > ID_MAX)
		return ERR_SET(err, ERR_INVALID, "%s: an id has 1 to %d bytes", kind, ID_MAX);
	if (id_table_find(table, bytes_from(id)))
		return ERR_SET(err, ERR_EXISTS, "%s %s: there is one already", kind, id);
	void *thing = arena_alloc_zero(&world->memory->arena, size);
	const char *name = copy(world, id);
	if (!thing || !name)
		return no_memory(err, kind, id);
	*(const char **)thing = name;
	*out = thing;
	return ERR_OK;
}

/* Everything the thing points at was allocated; enters it. */
static enum err_code enter(struct world *world, struct id_table *table, const char *kind,
			   void *thing, struct err *err)
{
	if (world->memory->arena.failed || !id_table_add(table, thing))
		return no_memory(err, kind, *(const char **)thing);
	return ERR_OK;
}

/* The same for what an amended world may have already: *old is then what it takes the place of. */
static enum err_code take_thing(struct world_builder *builder, const struct id_table *table,
				const char *kind, const char *id, size_t size, void **out,
				void **old, struct err *err)
{
	struct world *world = builder->world;
	*old = builder->amends && id ? id_table_find(table, bytes_from(id)) : NULL;
	if (!*old)
		return new_thing(world, table, kind, id, size, out, err);
	*out = arena_alloc_zero(&world->memory->arena, size);
	if (!*out)
		return no_memory(err, kind, id);
	*(const char **)*out = *(const char **)*old;
	return ERR_OK;
}

static enum err_code put(struct world *world, struct id_table *table, const char *kind, void *thing,
			 const void *old, struct err *err)
{
	if (!old)
		return enter(world, table, kind, thing, err);
	if (world->memory->arena.failed || !id_table_replace(table, thing))
		return no_memory(err, kind, *(const char **)thing);
	return ERR_OK;
}

static enum err_code not_found(struct err *err, const char *kind, const char *id, const char *what,
			       const char *name)
{
	return ERR_SET(err, ERR_NOT_FOUND, "%s %s: there is no %s %s", kind, id, what, name);
}

static enum err_code find_cells(struct world *world, const char *kind, const char *id,
				struct limits_cells **out, struct err *err)
{
	*out = limits_table_cells(world->limits, kind, id);
	return *out ? ERR_OK : no_memory(err, kind, id);
}

/* ---- organisations, providers, models ---- */

static enum err_code add_block(struct world_builder *builder, struct world_org *org,
			       const struct world_block_options *options, struct err *err)
{
	struct world *world = builder->world;
	struct world_block *blocks =
		realloc(builder->blocks, (builder->block_count + 1) * sizeof(*blocks));
	if (!blocks)
		return no_memory(err, "org", org->id);
	builder->blocks = blocks;
	struct world_block *block = &blocks[builder->block_count];
	*block = (struct world_block){.org = org,
				      .since_ms = options->since_ms,
				      .now_ms = options->now_ms,
				      .applied_ms = options->applied_ms,
				      .grant_count = options->grant_count};
	block->grants =
		arena_alloc(&world->memory->arena, (options->grant_count + 1) * sizeof(char *));
	if (!block->grants)
		return no_memory(err, "org", org->id);
	for (size_t i = 0; i < options->grant_count; i++)
		block->grants[i] = copy(world, options->grants[i]);
	if (world->memory->arena.failed)
		return no_memory(err, "org", org->id);
	builder->block_count++;
	return ERR_OK;
}

/* What follows from links stays as it was. */
static void amend_org(struct world_builder *builder, struct world_org *org,
		      const struct world_org *old, bool affiliates)
{
	const struct world *world = builder->world;
	builder->orgs_changed = true;
	builder->unfit |= affiliates || world->has_blocks || (!old && world->link_count > 0);
	if (!old)
		return;
	builder->unfit |= old->rival != org->rival;
	org->number = old->number;
	org->group = old->group;
	org->top = old->top;
	org->rival_over = old->rival_over;
	org->rival_path = old->rival_path;
	if (org->number < builder->old_orgs)
		builder->fresh_orgs[org->number] = true;
}

enum err_code world_builder_add_org(struct world_builder *builder,
				    const struct world_org_options *options, struct err *err)
{
	struct world *world = builder->world;
	void *thing = NULL, *old = NULL;
	ERR_TRY(take_thing(builder, &world->orgs, "org", options->id, sizeof(struct world_org),
			   &thing, &old, err));
	struct world_org *org = thing;
	org->name = copy(world, options->name);
	org->blocked = options->blocked;
	org->block_reason = copy(world, options->block_reason);
	org->pseudonym = copy(world, options->pseudonym);
	org->rival = options->rival;
	org->number = (uint32_t)world->orgs.count;
	org->group = org;
	org->rival_path = "";
	org->block_due_ms = WORLD_ALWAYS;
	if (builder->amends)
		amend_org(builder, org, old, options->affiliates != NULL);
	org->limits = values_or_none(options->limits);
	ERR_TRY(find_cells(world, "org", org->id, &org->cells, err));
	ERR_TRY(put(world, &world->orgs, "org", org, old, err));
	return options->affiliates ? add_block(builder, org, options->affiliates, err) : ERR_OK;
}

void world_builder_set_threshold(struct world_builder *builder, uint32_t threshold)
{
	builder->threshold = threshold;
}

static bool grow_links(struct world_builder *builder)
{
	size_t capacity = builder->link_capacity ? 2 * builder->link_capacity : 64;
	if (builder->link_count < builder->link_capacity)
		return true;
	struct links_link *links = realloc(builder->links, capacity * sizeof(*links));
	if (!links)
		return false;
	builder->links = links;
	builder->link_capacity = capacity;
	return true;
}

enum err_code world_builder_add_link(struct world_builder *builder,
				     const struct world_link_options *options, struct err *err)
{
	struct world *world = builder->world;
	const struct world_org *from = world_find_org(world, bytes_from(options->from));
	const struct world_org *to = world_find_org(world, bytes_from(options->to));
	if (!from || !to)
		return not_found(err, "link of", options->from, "org",
				 from ? options->to : options->from);
	if (options->share > LINKS_WHOLE || options->kind >= LINK_KIND_COUNT)
		return ERR_SET(err, ERR_INVALID, "link of %s to %s: no such share or kind",
			       options->from, options->to);
	if (builder->link_count == LINKS_MAX)
		return ERR_SET(err, ERR_TOO_LARGE, "link of %s to %s: more than %u links",
			       options->from, options->to, LINKS_MAX);
	if (!grow_links(builder))
		return no_memory(err, "link of", options->from);
	builder->links[builder->link_count++] = (struct links_link){.from = from->number,
								    .to = to->number,
								    .kind = options->kind,
								    .share = options->share,
								    .open = options->open,
								    .noted_ms = options->noted_ms};
	return ERR_OK;
}

enum err_code world_builder_add_provider(struct world_builder *builder, const char *name,
					 unsigned dialect, unsigned serves, struct err *err)
{
	struct world *world = builder->world;
	void *thing = NULL;
	ERR_TRY(new_thing(world, &world->providers, "provider", name, sizeof(struct world_provider),
			  &thing, err));
	struct world_provider *provider = thing;
	provider->index = (unsigned)world->providers.count;
	provider->dialect = dialect;
	provider->serves = serves;
	return enter(world, &world->providers, "provider", provider, err);
}

enum err_code world_builder_add_model(struct world_builder *builder,
				      const struct world_model_options *options, struct err *err)
{
	struct world *world = builder->world;
	void *thing = NULL;
	ERR_TRY(new_thing(world, &world->models, "model", options->name, sizeof(struct world_model),
			  &thing, err));
	struct world_model *model = thing;
	model->provider = world_find_provider(world, bytes_from(options->provider));
	if (!model->provider)
		return not_found(err, "model", model->id, "provider", options->provider);
	if (options->max_output <= 0)
		return ERR_SET(err, ERR_INVALID, "model %s: max_output must be above 0", model->id);
	model->upstream = options->upstream ? copy(world, options->upstream) : model->id;
	model->max_output = options->max_output;
	model->context = options->context;
	model->price = options->price;
	model->limits = values_or_none(options->limits);
	ERR_TRY(find_cells(world, "model", model->id, &model->cells, err));
	return enter(world, &world->models, "model", model, err);
}

/* ---- terms ---- */

enum err_code world_builder_set_terms(struct world_builder *builder, const char *version,
				      struct err *err)
{
	struct world *world = builder->world;
	if (world->terms_version[0])
		return ERR_SET(err, ERR_EXISTS, "terms %s: terms %s are in force already", version,
			       world->terms_version);
	world->terms_version = copy(world, version);
	return world->terms_version ? ERR_OK : no_memory(err, "terms", version);
}

enum err_code world_builder_add_clause(struct world_builder *builder, const char *id,
				       const char *kind, const char *text, uint64_t rules,
				       struct err *err)
{
	struct world *world = builder->world;
	void *thing = NULL;
	if (world->clauses.count == WORLD_CLAUSES_MAX)
		return ERR_SET(err, ERR_TOO_LARGE, "clause %s: more than %d clauses", id,
			       WORLD_CLAUSES_MAX);
	ERR_TRY(new_thing(world, &world->clauses, "clause", id, sizeof(struct world_clause), &thing,
			  err));
	struct world_clause *clause = thing;
	clause->kind = copy(world, kind);
	clause->text = copy(world, text);
	clause->rules = rules & ~((uint64_t)1 << RULE_NONE);
	return enter(world, &world->clauses, "clause", clause, err);
}

enum err_code world_builder_add_public_root(struct world_builder *builder,
					    const uint8_t root[static SHA256_SIZE], struct err *err)
{
	struct world *world = builder->world;
	if (world_is_public_root(world, root))
		return ERR_OK;
	uint8_t *kept = arena_alloc(&world->memory->arena, SHA256_SIZE);
	if (!kept)
		return no_memory(err, "public suite", "root");
	memcpy(kept, root, SHA256_SIZE);
	return digest_table_add(&world->public_roots, kept, kept)
		       ? ERR_OK
		       : no_memory(err, "public suite", "root");
}

/* ---- grants and keys ---- */

static enum err_code check_grant(const struct world_grant_options *options, struct err *err)
{
	if (options->purposes == 0 || options->purposes >> PURPOSE_COUNT)
		return ERR_SET(err, ERR_INVALID, "grant %s: has no purpose", options->id);
	unsigned product = 1u << PURPOSE_PRODUCT;
	if ((options->purposes & product) && options->purposes != product)
		return ERR_SET(err, ERR_INVALID,
			       "grant %s: purpose product may not be combined with others",
			       options->id);
	if (options->samples_per_leaf > BINDING_SAMPLES_MAX)
		return ERR_SET(err, ERR_INVALID, "grant %s: samples_per_leaf is at most %d",
			       options->id, BINDING_SAMPLES_MAX);
	if (options->until_ms <= options->from_ms)
		return ERR_SET(err, ERR_INVALID, "grant %s: ends before it begins", options->id);
	return ERR_OK;
}

static enum err_code grant_models(struct world *world, struct world_grant *grant,
				  const struct world_grant_options *options, struct err *err)
{
	if (options->model_count > BINDING_MODELS_MAX)
		return ERR_SET(err, ERR_TOO_LARGE, "grant %s: more than %d models", grant->id,
			       BINDING_MODELS_MAX);
	grant->models = arena_alloc(&world->memory->arena,
				    (options->model_count + 1) * sizeof(*grant->models));
	if (!grant->models)
		return no_memory(err, "grant", grant->id);
	for (size_t i = 0; i < options->model_count; i++) {
		const struct world_model *model =
			world_find_model(world, bytes_from(options->models[i]));
		if (model && world_grant_model(grant, model) < 0)
			grant->models[grant->model_count++] = model;
	}
	return ERR_OK;
}

static enum err_code grant_overrides(struct world *world, struct world_grant *grant,
				     const struct world_grant_options *options, struct err *err)
{
	for (size_t i = 0; i < options->override_count; i++) {
		const char *name = options->overrides[i];
		size_t place = 0;
		while (place < world->clauses.count &&
		       strcmp(world_clause_at(world, place)->id, name) != 0)
			place++;
		if (place == world->clauses.count)
			return not_found(err, "grant", grant->id, "clause", name);
		grant->overrides[place / 64] |= (uint64_t)1 << place % 64;
	}
	return ERR_OK;
}

static enum err_code grant_interop(struct world *world, struct world_grant *grant, struct err *err)
{
	struct purpose_bounds bounds = purpose_bounds(PURPOSE_INTEROP_TEST);
	grant->interop_limits = limits_unlimited;
	grant->interop_limits.max[LIMIT_RPM] = bounds.rpm;
	grant->interop_limits.max[LIMIT_TOKENS_PER_DAY] = bounds.tokens_per_day;
	return find_cells(world, "interop", grant->id, &grant->interop_cells, err);
}

static enum err_code grant_key_binding(struct world *world, struct world_grant *grant,
				       const struct sender_demand *demand, struct err *err)
{
	grant->key_binding = *demand;
	if (demand->thumbprint_count > SENDER_CONFIRMATIONS_MAX)
		return ERR_SET(err, ERR_TOO_LARGE, "grant %s: more than %d thumbprints", grant->id,
			       SENDER_CONFIRMATIONS_MAX);
	if (demand->thumbprint_count == 0)
		return ERR_OK;
	size_t size = demand->thumbprint_count * sizeof(*demand->thumbprints);
	void *thumbprints = arena_alloc(&world->memory->arena, size);
	if (!thumbprints)
		return no_memory(err, "grant", grant->id);
	memcpy(thumbprints, demand->thumbprints, size);
	grant->key_binding.thumbprints = thumbprints;
	return ERR_OK;
}

static enum err_code amend_grant(struct world_builder *builder, struct world_grant *grant,
				 const struct world_grant *old, struct err *err)
{
	builder->unfit |= builder->world->has_blocks;
	if (!old)
		return ERR_OK;
	grant->number = old->number;
	if (grant->number < builder->old_grants)
		builder->fresh_grants[grant->number] = true;
	return world_amend_move_suites(builder, old, grant, err);
}

enum err_code world_builder_add_grant(struct world_builder *builder,
				      const struct world_grant_options *options, struct err *err)
{
	struct world *world = builder->world;
	void *thing = NULL, *old = NULL;
	ERR_TRY(take_thing(builder, &world->grants, "grant", options->id,
			   sizeof(struct world_grant), &thing, &old, err));
	struct world_grant *grant = thing;
	grant->number = (uint32_t)world->grants.count;
	ERR_TRY(check_grant(options, err));
	grant->org = id_table_find(&world->orgs, bytes_from(options->org));
	if (!grant->org)
		return not_found(err, "grant", grant->id, "org", options->org);
	grant->team = copy(world, options->team);
	grant->state = options->state;
	grant->from_ms = options->from_ms;
	grant->until_ms = options->until_ms;
	grant->purposes = options->purposes;
	grant->classes = options->classes;
	grant->max_leaves = options->max_leaves;
	grant->samples_per_leaf = options->samples_per_leaf ? options->samples_per_leaf : 1;
	grant->release = options->release;
	grant->limits = options->limits;
	grant->appeal = copy(world, options->appeal);
	grant->notice_ms = options->notice_ms;
	ERR_TRY(grant_key_binding(world, grant, &options->key_binding, err));
	ERR_TRY(find_cells(world, "grant", grant->id, &grant->cells, err));
	ERR_TRY(grant_interop(world, grant, err));
	ERR_TRY(grant_models(world, grant, options, err));
	ERR_TRY(grant_overrides(world, grant, options, err));
	if (builder->amends)
		ERR_TRY(amend_grant(builder, grant, old, err));
	return put(world, &world->grants, "grant", grant, old, err);
}

static enum err_code key_sender(struct world *world, struct world_key *key,
				const struct sender_rule *sender, struct err *err)
{
	key->sender = *sender;
	if (sender->network_count > SENDER_NETWORKS_MAX)
		return ERR_SET(err, ERR_TOO_LARGE, "key %s: more than %d networks", key->id,
			       SENDER_NETWORKS_MAX);
	if (sender->network_count == 0)
		return ERR_OK;
	size_t size = sender->network_count * sizeof(*sender->networks);
	struct sender_network *networks = arena_alloc(&world->memory->arena, size);
	if (!networks)
		return no_memory(err, "key", key->id);
	memcpy(networks, sender->networks, size);
	key->sender.networks = networks;
	return ERR_OK;
}

static bool grow_key_grants(struct world *world)
{
	size_t capacity = world->key_grants_capacity ? 2 * world->key_grants_capacity : 64;
	if (world->keys.count < world->key_grants_capacity)
		return true;
	uint32_t *rows = realloc(world->key_grants, capacity * sizeof(*rows));
	if (!rows)
		return false;
	world->key_grants = rows;
	world->key_grants_capacity = capacity;
	return true;
}

static enum err_code number_key(struct world_builder *builder, struct world_key *key,
				const struct world_key *old, struct err *err)
{
	struct world *world = builder->world;
	key->number = old ? old->number : (uint32_t)world->keys.count;
	if (!old && !grow_key_grants(world))
		return no_memory(err, "key", key->id);
	world->key_grants[key->number] = key->grant->number;
	if (!old)
		return ERR_OK;
	/* Its secret never changes; else the table would keep the old one. */
	builder->unfit |= memcmp(old->digest, key->digest, SHA256_SIZE) != 0;
	if (key->number < builder->old_keys)
		builder->fresh_keys[key->number] = true;
	return ERR_OK;
}

enum err_code world_builder_add_key(struct world_builder *builder,
				    const struct world_key_options *options, struct err *err)
{
	struct world *world = builder->world;
	void *thing = NULL, *old = NULL;
	ERR_TRY(take_thing(builder, &world->keys, "key", options->id, sizeof(struct world_key),
			   &thing, &old, err));
	struct world_key *key = thing;
	key->grant = id_table_find(&world->grants, bytes_from(options->grant));
	if (!key->grant)
		return not_found(err, "key", key->id, "grant", options->grant);
	const struct world_key *same = world_find_key(world, options->digest);
	if (same && same != old)
		return ERR_SET(err, ERR_EXISTS, "key %s: another key has the same secret", key->id);
	memcpy(key->digest, options->digest, SHA256_SIZE);
	key->state = options->state;
	key->expires_ms = options->expires_ms;
	key->watch = options->watch;
	key->staff = options->staff;
	key->limits = values_or_none(options->limits);
	ERR_TRY(key_sender(world, key, &options->sender, err));
	key->falls_short = !sender_meets(&key->grant->key_binding, &key->sender);
	const char *counters = options->counters ? options->counters : key->id;
	if (limits_any(&key->limits))
		ERR_TRY(find_cells(world, "key", counters, &key->cells, err));
	ERR_TRY(number_key(builder, key, old, err));
	bool entered = same ? digest_table_replace(&world->keys_by_digest, key->digest, key)
			    : digest_table_add(&world->keys_by_digest, key->digest, key);
	if (!entered)
		return no_memory(err, "key", key->id);
	return put(world, &world->keys, "key", key, old, err);
}

/* ---- suites and runs ---- */

/* Age decides, and the id between equals: the order of adding does not matter. */
static bool is_older(int64_t a_ms, const char *a, int64_t b_ms, const char *b)
{
	return a_ms < b_ms || (a_ms == b_ms && strcmp(a, b) < 0);
}

static enum suite_class class_of(const struct world *world, const struct binding_suite *suite,
				 enum suite_class class)
{
	if (world_is_public_root(world, suite->root))
		return SUITE_CLASS_PUBLIC;
	return class == SUITE_CLASS_PUBLIC ? SUITE_CLASS_PRIVATE : class;
}

/* Only what review made of it can change, and its scorers. */
static enum err_code amend_suite(struct world_builder *builder, struct world_suite *entry,
				 const struct binding_suite *suite, enum suite_class class,
				 struct err *err)
{
	struct world_grant *grant;
	const char *id = entry->id;
	ERR_TRY(world_amend_own_grant(builder, entry->grant, &grant, err));
	entry = id_table_find(&builder->world->suites, bytes_from(id));
	builder->unfit |= entry->suite != suite;
	entry->class = class_of(builder->world, suite, class);
	grading_book_drop(entry->book);
	entry->book = NULL;
	return ERR_OK;
}

enum err_code world_builder_add_suite(struct world_builder *builder, const char *grant_id,
				      struct binding_suite *suite, enum suite_class class,
				      struct err *err)
{
	struct world *world = builder->world;
	void *thing = NULL;
	struct world_suite *old =
		builder->amends ? id_table_find(&world->suites, bytes_from(suite->id)) : NULL;
	if (old)
		return amend_suite(builder, old, suite, class, err);
	ERR_TRY(new_thing(world, &world->suites, "suite", suite->id, sizeof(struct world_suite),
			  &thing, err));
	struct world_suite *entry = thing;
	struct world_grant *grant = id_table_find(&world->grants, bytes_from(grant_id));
	if (!grant)
		return not_found(err, "suite", entry->id, "grant", grant_id);
	ERR_TRY(world_amend_own_grant(builder, grant, &grant, err));
	ERR_TRY(enter(world, &world->suites, "suite", entry, err));
	entry->suite = binding_suite_hold(suite);
	entry->class = class_of(world, suite, class);
	entry->grant = grant;
	struct world_suite **place = &grant->suites;
	while (*place && is_older((*place)->suite->registered_ms, (*place)->id,
				  suite->registered_ms, entry->id))
		place = &(*place)->next;
	entry->next = *place;
	*place = entry;
	return ERR_OK;
}

const struct world_grant *world_builder_find_grant(const struct world_builder *builder,
						   struct bytes id)
{
	return world_find_grant(builder->world, id);
}

const struct world_suite *world_builder_find_suite(const struct world_builder *builder,
						   struct bytes id)
{
	return world_find_suite(builder->world, id);
}

enum err_code world_builder_set_book(struct world_builder *builder, const char *suite_id,
				     struct grading_book *book, struct err *err)
{
	struct world_suite *entry = id_table_find(&builder->world->suites, bytes_from(suite_id));
	struct world_grant *grant;
	if (!entry)
		return not_found(err, "scorers", suite_id, "suite", suite_id);
	ERR_TRY(world_amend_own_grant(builder, entry->grant, &grant, err));
	entry = id_table_find(&builder->world->suites, bytes_from(suite_id));
	grading_book_drop(entry->book);
	entry->book = grading_book_hold(book);
	return ERR_OK;
}

enum err_code world_run_slots(struct world *world, struct world_run *entry,
			      const struct world_grant *grant, struct err *err)
{
	entry->slots = arena_alloc(&world->memory->arena,
				   (grant->model_count + 1) * sizeof(*entry->slots));
	if (!entry->slots)
		return no_memory(err, "run", entry->id);
	for (unsigned i = 0; i < grant->model_count; i++)
		ERR_TRY(binding_run_add_model(entry->run, grant->models[i]->id, &entry->slots[i],
					      err));
	return ERR_OK;
}

enum err_code world_builder_add_run(struct world_builder *builder, struct binding_run *run,
				    struct err *err)
{
	struct world *world = builder->world;
	struct world_grant *grant;
	void *thing = NULL;
	if (builder->amends && world_find_run(world, bytes_from(run->id)))
		return ERR_OK; /* nothing of an open run changes */
	ERR_TRY(new_thing(world, &world->runs, "run", run->id, sizeof(struct world_run), &thing,
			  err));
	struct world_run *entry = thing;
	struct world_suite *suite = id_table_find(&world->suites, bytes_from(run->suite->id));
	if (!suite || strcmp(suite->grant->id, run->grant_id) != 0)
		return not_found(err, "run", entry->id, "suite of its grant", run->suite->id);
	ERR_TRY(world_amend_own_grant(builder, suite->grant, &grant, err));
	suite = id_table_find(&world->suites, bytes_from(run->suite->id));
	entry->run = run;
	entry->suite = suite;
	ERR_TRY(world_run_slots(world, entry, suite->grant, err));
	ERR_TRY(enter(world, &world->runs, "run", entry, err));
	binding_run_hold(run);
	struct world_run **place = &suite->runs;
	while (*place &&
	       is_older((*place)->run->opened_ms, (*place)->id, run->opened_ms, entry->id))
		place = &(*place)->next;
	entry->next = *place;
	*place = entry;
	suite->grant->run_count++;
	return ERR_OK;
}

enum err_code world_build(struct world_builder *builder, struct world **out, struct err *err)
{
	assert(builder->world);
	*out = NULL;
	builder->world->link_count += builder->link_count;
	builder->world->has_blocks |= builder->block_count > 0;
	ERR_TRY(builder->amends ? world_amend_settle(builder, err)
				: world_settle_links(builder->world, builder->links,
						     builder->link_count, builder->threshold,
						     builder->blocks, builder->block_count, err));
	if (builder->world->memory->arena.failed)
		return ERR_SET(err, ERR_NO_MEMORY, "policy: out of memory");
	*out = builder->world;
	builder->world = NULL;
	return ERR_OK;
}
