/* An amended world equals the one that is built whole of the same documents, after any sequence of
 * random acts, and the worlds before it stay as they were. Worlds are compared as texts in which
 * everything of them is told, links by id; on the way it is checked that what a world's things
 * point at is of that world. */
#include "base/prng.h"
#include "policy/world_builder.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#define ORGS 12
#define GRANTS 24
#define KEYS 80
#define SUITES 16
#define RUNS 60
#define KEPT 8 /* older worlds */
#define HISTORIES 20
#define ACTS 150

static const uint8_t secret[WORLD_SECRET_SIZE] = "a secret of the gateway's own";

/* ---- documents ---- */

struct documents {
	struct prng prng;
	bool linked;
	unsigned orgs, grants, keys, suites, runs;
	struct {
		bool blocked, rival;
		int64_t rpm;
	} org[ORGS];
	struct {
		unsigned org, models, state;
		int64_t rpm;
		bool demands;
	} grant[GRANTS];
	struct {
		unsigned grant, state, expires;
		bool network;
	} key[KEYS];
	struct {
		unsigned grant, class;
		struct binding_suite *suite;
		struct grading_book *book;
	} suite[SUITES];
	struct {
		unsigned suite;
		bool open;
		struct binding_run *run;
	} run[RUNS];
};

static unsigned draw(struct documents *documents, unsigned below)
{
	return (unsigned)prng_below(&documents->prng, below);
}

static const char *name_of(const char *kind, unsigned number, char out[static 32])
{
	snprintf(out, 32, "%s-%u", kind, number);
	return out;
}

static void good(enum err_code code, const struct err *err)
{
	if (code != ERR_OK)
		fail_msg("%s", err->message);
}

static void add_org(struct world_builder *builder, const struct documents *documents, unsigned i)
{
	char id[32];
	struct err err = ERR_INIT;
	struct limits_values limits = limits_unlimited;
	limits.max[LIMIT_RPM] = documents->org[i].rpm;
	struct world_org_options options = {.id = name_of("org", i, id),
					    .name = id,
					    .pseudonym = id,
					    .blocked = documents->org[i].blocked,
					    .block_reason = documents->org[i].blocked ? "why" : "",
					    .rival = documents->org[i].rival,
					    .limits = &limits};
	good(world_builder_add_org(builder, &options, &err), &err);
}

static void add_grant(struct world_builder *builder, const struct documents *documents, unsigned i)
{
	static const char *const models[] = {"m-0", "m-1", "m-2"};
	char id[32], org[32];
	struct err err = ERR_INIT;
	struct world_grant_options options = {.id = name_of("grant", i, id),
					      .org = name_of("org", documents->grant[i].org, org),
					      .team = i % 3 ? "evals" : NULL,
					      .state = (enum grant_state)documents->grant[i].state,
					      .until_ms = WORLD_DAY_MS,
					      .purposes = 1u << PURPOSE_CAPABILITY_BENCHMARK,
					      .classes = 1u << SUITE_CLASS_PUBLIC,
					      .max_leaves = LIMIT_NONE,
					      .release = RELEASE_V2,
					      .limits = limits_unlimited,
					      .appeal = "mailto:a@b.example",
					      .models = models,
					      .model_count = documents->grant[i].models};
	options.limits.max[LIMIT_RPM] = documents->grant[i].rpm;
	if (documents->grant[i].demands)
		options.key_binding.kinds = 1u << SENDER_BINDING_SIGNATURE;
	good(world_builder_add_grant(builder, &options, &err), &err);
}

static void add_key(struct world_builder *builder, const struct documents *documents, unsigned i)
{
	char id[32], grant[32];
	struct err err = ERR_INIT;
	struct sender_network network = {.family = SENDER_IPV4, .bits = 8, .ip = {10}};
	struct world_key_options options = {
		.id = name_of("key", i, id),
		.grant = name_of("grant", documents->key[i].grant, grant),
		.state = (enum world_key_state)documents->key[i].state,
		.expires_ms = documents->key[i].expires,
		.sender = {.networks = &network, .network_count = documents->key[i].network}
        };
	sha256_of(id, strlen(id), options.digest);
	good(world_builder_add_key(builder, &options, &err), &err);
}

static void add_suite(struct world_builder *builder, const struct documents *documents, unsigned i)
{
	char grant[32];
	struct err err = ERR_INIT;
	good(world_builder_add_suite(builder, name_of("grant", documents->suite[i].grant, grant),
				     documents->suite[i].suite,
				     (enum suite_class)documents->suite[i].class, &err),
	     &err);
	if (documents->suite[i].book)
		good(world_builder_set_book(builder, documents->suite[i].suite->id,
					    documents->suite[i].book, &err),
		     &err);
}

static void add_run(struct world_builder *builder, const struct documents *documents, unsigned i)
{
	struct err err = ERR_INIT;
	good(documents->run[i].open
		     ? world_builder_add_run(builder, documents->run[i].run, &err)
		     : world_builder_end_run(builder, documents->run[i].run->id, &err),
	     &err);
}

/* ---- making documents ---- */

static void make_suite(struct documents *documents, unsigned i)
{
	char id[32];
	uint8_t digests[2 * BINDING_DIGEST_SIZE] = {(uint8_t)i, 1};
	struct err err = ERR_INIT;
	struct binding_suite_options options = {.id = name_of("suite", i, id),
						.name = id,
						.version = "1",
						.samples = 1,
						.leaf_count = 2,
						.digests = digests,
						.registered_ms = draw(documents, 5)};
	options.root[0] = (uint8_t)i;
	good(binding_suite_new(&options, &documents->suite[i].suite, &err), &err);
	documents->suite[i].grant = draw(documents, documents->grants);
}

static void make_run(struct documents *documents, unsigned i)
{
	char id[32], grant[32];
	struct err err = ERR_INIT;
	unsigned suite = documents->run[i].suite = draw(documents, documents->suites);
	struct binding_run_options options = {
		.id = name_of("run", i, id),
		.grant_id = name_of("grant", documents->suite[suite].grant, grant),
		.suite = documents->suite[suite].suite,
		.samples = 1,
		.opened_ms = draw(documents, 5)};
	good(binding_run_new(&options, &documents->run[i].run, &err), &err);
	documents->run[i].open = true;
}

/* Of a new document what never changes. */
static void make(struct documents *documents, unsigned kind, unsigned i)
{
	if (kind == 1)
		documents->grant[i].org = draw(documents, documents->orgs);
	else if (kind == 2)
		documents->key[i].grant = draw(documents, documents->grants);
	else if (kind == 3)
		make_suite(documents, i);
	else if (kind == 4)
		make_run(documents, i);
}

static void change_suite(struct documents *documents, unsigned i)
{
	uint8_t seed[GRADING_SEED_SIZE] = {0};
	documents->suite[i].class = draw(documents, 2) ? SUITE_CLASS_REVIEWED : SUITE_CLASS_PRIVATE;
	grading_book_drop(documents->suite[i].book);
	documents->suite[i].book = NULL;
	if (draw(documents, 2))
		assert_int_equal(grading_book_new(BYTES("{}\n{}\n"), 2, seed,
						  &documents->suite[i].book, NULL),
				 ERR_OK);
}

static void change(struct documents *documents, unsigned kind, unsigned i)
{
	switch (kind) {
	case 0:
		documents->org[i].blocked = draw(documents, 2);
		documents->org[i].rival ^= draw(documents, 8) == 0;
		documents->org[i].rpm = draw(documents, 100) + 1;
		break;
	case 1:
		documents->grant[i].state = draw(documents, 2) ? GRANT_ACTIVE : GRANT_SUSPENDED;
		documents->grant[i].models = draw(documents, 4);
		documents->grant[i].rpm = draw(documents, 100) + 1;
		documents->grant[i].demands = draw(documents, 2);
		break;
	case 2:
		documents->key[i].state = draw(documents, 2);
		documents->key[i].expires = draw(documents, 1000);
		documents->key[i].network = draw(documents, 2);
		break;
	case 3:
		change_suite(documents, i);
		break;
	default:
		documents->run[i].open = documents->run[i].open && draw(documents, 3) > 0;
		break;
	}
}

static unsigned *count_of(struct documents *documents, unsigned kind, unsigned *most)
{
	static const unsigned maxima[] = {ORGS, GRANTS, KEYS, SUITES, RUNS};
	unsigned *counts[] = {&documents->orgs, &documents->grants, &documents->keys,
			      &documents->suites, &documents->runs};
	*most = maxima[kind];
	return counts[kind];
}

typedef void add_function(struct world_builder *builder, const struct documents *documents,
			  unsigned i);
static add_function *const adds[] = {add_org, add_grant, add_key, add_suite, add_run};
#define KINDS 5u

/* ---- worlds ---- */

static void add_links(struct world_builder *builder, const struct documents *documents)
{
	struct err err = ERR_INIT;
	for (unsigned i = 0; documents->linked && i + 3 < ORGS; i += 3) {
		char from[32], to[32], third[32];
		struct world_link_options link = {.from = name_of("org", i, from),
						  .to = name_of("org", i + 1, to),
						  .kind = LINK_CONTROLS,
						  .open = true};
		if (i + 2 >= documents->orgs)
			break;
		good(world_builder_add_link(builder, &link, &err), &err);
		link.from = to;
		link.to = name_of("org", i + 2, third);
		good(world_builder_add_link(builder, &link, &err), &err);
	}
}

static struct world *built(struct world_builder *builder)
{
	struct world *world;
	struct err err = ERR_INIT;
	good(world_build(builder, &world, &err), &err);
	world_builder_free(builder);
	return world;
}

static struct world *build_whole(struct documents *documents, struct world *previous)
{
	struct world_builder *builder = world_builder_new(previous, secret);
	struct err err = ERR_INIT;
	assert_non_null(builder);
	good(world_builder_add_provider(builder, "north", 1, 2, &err), &err);
	for (unsigned i = 0; i < 3; i++) {
		char name[32];
		struct world_model_options model = {
			.name = name_of("m", i, name), .provider = "north", .max_output = 8192};
		good(world_builder_add_model(builder, &model, &err), &err);
	}
	for (unsigned kind = 0; kind < KINDS; kind++) {
		unsigned most, count = *count_of(documents, kind, &most);
		for (unsigned i = 0; i < count; i++)
			adds[kind](builder, documents, i);
	}
	add_links(builder, documents);
	return built(builder);
}

/* NULL where the act reaches further than an amendment. */
static struct world *amend(const struct documents *documents, struct world *previous,
			   const unsigned (*acts)[2], unsigned count)
{
	struct world_builder *builder = world_builder_amend(previous, secret);
	if (!builder)
		return NULL;
	for (unsigned kind = 0; kind < KINDS; kind++)
		for (unsigned k = 0; k < count; k++)
			if (acts[k][0] == kind)
				adds[kind](builder, documents, acts[k][1]);
	if (world_builder_fits(builder))
		return built(builder);
	world_builder_free(builder);
	return NULL;
}

/* ---- telling ---- */

static const char *id_or_none(const struct world *world, const struct world_org *org)
{
	if (!org)
		return "none";
	assert_ptr_equal(world_org_at(world, org->number), org);
	return org->id;
}

static void tell_suites(const struct world *world, const struct world_grant *grant, struct buf *out)
{
	for (const struct world_suite *suite = grant->suites; suite; suite = suite->next) {
		assert_ptr_equal(suite->grant, grant);
		assert_ptr_equal(world_find_suite(world, bytes_from(suite->id)), suite);
		buf_printf(out, " suite %s %p %d %p", suite->id, (void *)suite->suite,
			   (int)suite->class, (void *)suite->book);
		for (const struct world_run *run = suite->runs; run; run = run->next) {
			assert_ptr_equal(run->suite, suite);
			assert_ptr_equal(world_find_run(world, bytes_from(run->id)), run);
			buf_printf(out, " run %s %p", run->id, (void *)run->run);
			for (unsigned i = 0; i < grant->model_count; i++)
				buf_printf(out, " %u", run->slots[i]);
		}
	}
}

static void tell_grants(const struct world *world, struct buf *out)
{
	for (size_t i = 0; i < world_grant_count(world); i++) {
		const struct world_grant *grant = world_grant_at(world, i);
		assert_ptr_equal(world_find_grant(world, bytes_from(grant->id)), grant);
		assert_int_equal(grant->number, i);
		buf_printf(out,
			   "grant %s of %s team %s state %d rpm %lld demands %u runs %u cells %p",
			   grant->id, id_or_none(world, grant->org), grant->team, (int)grant->state,
			   (long long)grant->limits.max[LIMIT_RPM], grant->key_binding.kinds,
			   grant->run_count, (void *)grant->cells);
		for (unsigned k = 0; k < grant->model_count; k++)
			buf_printf(out, " model %s", grant->models[k]->id);
		tell_suites(world, grant, out);
		buf_append_char(out, '\n');
	}
}

/* Of the first `runs` runs whether they are open. */
static char *tell(const struct documents *documents, unsigned runs, const struct world *world)
{
	struct buf out = BUF_INIT((size_t)1 << 20);
	for (size_t i = 0; i < world_org_count(world); i++) {
		const struct world_org *org = world_org_at(world, i);
		assert_ptr_equal(world_find_org(world, bytes_from(org->id)), org);
		buf_printf(&out, "org %s %d %s rival %d rpm %lld group %s top %s under %s (%s)\n",
			   org->id, org->blocked, org->block_reason, org->rival,
			   (long long)org->limits.max[LIMIT_RPM], id_or_none(world, org->group),
			   id_or_none(world, org->top), id_or_none(world, org->rival_over),
			   org->rival_path);
	}
	tell_grants(world, &out);
	for (size_t i = 0; i < world_key_count(world); i++) {
		const struct world_key *key = world_key_at(world, i);
		assert_ptr_equal(world_find_key_id(world, bytes_from(key->id)), key);
		assert_ptr_equal(world_find_key(world, key->digest), key);
		assert_ptr_equal(world_grant_at(world, key->grant->number), key->grant);
		assert_int_equal(key->number, i);
		buf_printf(&out, "key %s of %s state %d until %lld networks %u short %d\n", key->id,
			   key->grant->id, (int)key->state, (long long)key->expires_ms,
			   key->sender.network_count, key->falls_short);
	}
	for (unsigned i = 0; i < runs; i++)
		buf_printf(&out, "%d",
			   world_find_run(world, bytes_from(documents->run[i].run->id)) != NULL);
	buf_printf(&out, "\ngraph of %u\n", links_graph_orgs(world_links(world)));
	assert_false(out.failed);
	return out.data;
}

/* ---- histories ---- */

struct history {
	struct documents documents;
	struct world *kept[KEPT];
	char *texts[KEPT];
	unsigned runs[KEPT]; /* that there were */
	unsigned amended, whole;
};

static void keep(struct history *history, struct world *world)
{
	unsigned place = draw(&history->documents, KEPT);
	world_drop(history->kept[place]);
	free(history->texts[place]);
	history->kept[place] = world_hold(world);
	history->runs[place] = history->documents.runs;
	history->texts[place] = tell(&history->documents, history->runs[place], world);
}

static void check_kept(const struct history *history)
{
	for (unsigned i = 0; i < KEPT; i++) {
		if (!history->kept[i])
			continue;
		char *now = tell(&history->documents, history->runs[i], history->kept[i]);
		assert_string_equal(now, history->texts[i]);
		free(now);
	}
}

static void one_act(struct history *history, struct world **world)
{
	struct documents *documents = &history->documents;
	unsigned acts[4][2], count = 1 + draw(documents, 4);
	for (unsigned k = 0; k < count; k++) {
		unsigned kind = draw(documents, KINDS), most;
		unsigned *there = count_of(documents, kind, &most);
		bool fresh = *there == 0 || (*there < most && draw(documents, 3) == 0);
		if (kind == 0 && documents->linked && draw(documents, 4))
			fresh = *there == 0;
		unsigned i = fresh ? *there : draw(documents, *there);
		if (fresh)
			make(documents, kind, (*there)++);
		change(documents, kind, i);
		acts[k][0] = kind;
		acts[k][1] = i;
	}
	struct world *next = amend(documents, *world, acts, count);
	struct world *whole = build_whole(documents, *world);
	if (next) {
		char *one = tell(documents, documents->runs, next);
		char *other = tell(documents, documents->runs, whole);
		if (strcmp(one, other) != 0)
			fail_msg("amended:\n%s\nwhole:\n%s", one, other);
		assert_int_equal(world_version(next), world_version(whole));
		free(one);
		free(other);
		world_drop(whole);
		history->amended++;
	} else {
		next = whole;
		history->whole++;
	}
	world_drop(*world);
	*world = next;
}

static void finish(struct history *history)
{
	struct documents *documents = &history->documents;
	for (unsigned i = 0; i < KEPT; i++) {
		world_drop(history->kept[i]);
		free(history->texts[i]);
	}
	for (unsigned i = 0; i < documents->runs; i++)
		binding_run_drop(documents->run[i].run);
	for (unsigned i = 0; i < documents->suites; i++) {
		binding_suite_drop(documents->suite[i].suite);
		grading_book_drop(documents->suite[i].book);
	}
}

static void an_amended_world_is_the_whole_one(void **state)
{
	(void)state;
	unsigned amended = 0, whole = 0;
	for (unsigned seed = 1; seed <= HISTORIES; seed++) {
		struct history *history = calloc(1, sizeof(*history));
		assert_non_null(history);
		struct documents *documents = &history->documents;
		documents->prng.state = seed;
		documents->linked = seed % 2;
		for (unsigned kind = 0; kind < 4; kind++) {
			unsigned most, *there = count_of(documents, kind, &most);
			for (unsigned i = 0; i < most / 2; i++) {
				make(documents, kind, (*there)++);
				change(documents, kind, i);
			}
		}
		struct world *world = build_whole(documents, NULL);
		for (unsigned act = 0; act < ACTS; act++) {
			one_act(history, &world);
			if (draw(documents, 5) == 0)
				keep(history, world);
			if (draw(documents, 20) == 0)
				check_kept(history);
		}
		check_kept(history);
		world_drop(world);
		finish(history);
		amended += history->amended;
		whole += history->whole;
		free(history);
	}
	print_message("%u worlds amended, %u built whole\n", amended, whole);
	assert_true(amended > whole && whole > 0);
}

/* Replaced things are kept by the worlds that follow, so that there is an end to it. */
static void amending_comes_to_an_end(void **state)
{
	(void)state;
	struct documents documents = {.prng = {1}, .orgs = 2, .grants = 1, .keys = 3};
	for (unsigned i = 0; i < 3; i++)
		change(&documents, 2, i);
	change(&documents, 1, 0);
	struct world *world = build_whole(&documents, NULL);
	unsigned acts[1][2] =
		{
			{2, 1}
        },
		 count = 0;
	struct world *next;
	while (count < 100000 && (next = amend(&documents, world, acts, 1))) {
		world_drop(world);
		world = next;
		count++;
	}
	assert_in_range(count, 1000, 50000);
	world_drop(world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_amended_world_is_the_whole_one),
		cmocka_unit_test(amending_comes_to_an_end),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
