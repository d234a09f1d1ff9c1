/* What follows from links when a world is built: rivals, groups, whose limits count, and every
 * combination of blocks by affiliation against a decision made from their definition. */
#include "base/prng.h"
#include "policy/decide.h"
#include "policy/world_builder.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

static const uint8_t secret[WORLD_SECRET_SIZE] = "a secret of the gateway's own";

#define HOUR INT64_C(3600000)
#define NOW (1000 * HOUR)

enum { A, B, X, ORGS };
static const char *const names[ORGS] = {"alpha", "beta", "xray"};

struct block {
	bool there, named;
	int64_t since_ms, now_ms, applied_ms;
};

struct scene {
	struct block blocks[2]; /* of A and of B */
	enum link_kind kind;    /* of both to X */
	bool open;
	int64_t noted_ms[2];
	unsigned purposes;
	int64_t notice_ms;
};

static struct world *build(const struct scene *scene)
{
	static const char *const models[] = {"m"};
	static const char *const grant_name[] = {"g"};
	struct world_builder *builder = world_builder_new(NULL, secret);
	struct err err = ERR_INIT;
	struct world *world;
	assert_non_null(builder);
	for (int i = 0; i < ORGS; i++) {
		const struct block *block = i < 2 ? &scene->blocks[i] : NULL;
		struct world_block_options affiliates = {.grants = grant_name};
		struct world_org_options org = {
			.id = names[i], .name = names[i], .block_reason = "because"};
		if (block && block->there) {
			org.blocked = true;
			affiliates.since_ms = block->since_ms;
			affiliates.now_ms = block->now_ms;
			affiliates.applied_ms = block->applied_ms;
			affiliates.grant_count = block->named;
			org.affiliates = &affiliates;
		}
		assert_int_equal(world_builder_add_org(builder, &org, &err), ERR_OK);
	}
	for (int i = 0; i < 2; i++) {
		struct world_link_options link = {.from = names[i],
						  .to = "xray",
						  .kind = scene->kind,
						  .open = scene->open,
						  .noted_ms = scene->noted_ms[i]};
		assert_int_equal(world_builder_add_link(builder, &link, &err), ERR_OK);
	}
	struct world_model_options model = {.name = "m", .provider = "p", .max_output = 10};
	assert_int_equal(world_builder_add_provider(builder, "p", 0, 1, &err), ERR_OK);
	assert_int_equal(world_builder_add_model(builder, &model, &err), ERR_OK);
	struct world_grant_options grant = {.id = "g",
					    .org = "xray",
					    .state = GRANT_ACTIVE,
					    .until_ms = 2 * NOW,
					    .purposes = scene->purposes,
					    .max_leaves = LIMIT_NONE,
					    .release = RELEASE_V2,
					    .limits = limits_unlimited,
					    .notice_ms = scene->notice_ms,
					    .models = models,
					    .model_count = 1};
	struct world_key_options key = {.id = "k", .grant = "g", .expires_ms = WORLD_ALWAYS};
	sha256_of("plk", 3, key.digest);
	assert_int_equal(world_builder_add_grant(builder, &grant, &err), ERR_OK);
	assert_int_equal(world_builder_add_key(builder, &key, &err), ERR_OK);
	assert_int_equal(world_build(builder, &world, &err), ERR_OK);
	world_builder_free(builder);
	return world;
}

/* From when a block holds for the grant, by its definition; WORLD_ALWAYS: it does not reach it. */
static int64_t begins(const struct scene *scene, int place)
{
	const struct block *block = &scene->blocks[place];
	int64_t noted = scene->noted_ms[place];
	if (!block->there || scene->kind == LINK_RESELLER_OF)
		return WORLD_ALWAYS;
	if (noted <= block->now_ms)
		return block->now_ms;
	return (noted > block->since_ms ? noted : block->since_ms) + scene->notice_ms;
}

static bool refuses(const struct scene *scene, enum purpose purpose)
{
	for (int i = 0; i < 2; i++) {
		int64_t from = begins(scene, i);
		bool spared = purpose == PURPOSE_SAFETY_EVALUATION && !scene->blocks[i].named;
		if (from != WORLD_ALWAYS && from <= scene->blocks[i].applied_ms && !spared)
			return true;
	}
	return false;
}

static void draw(struct prng *prng, struct scene *scene)
{
	static const unsigned purposes[] = {1u << PURPOSE_PRODUCT, 1u << PURPOSE_SAFETY_EVALUATION,
					    1u << PURPOSE_SAFETY_EVALUATION |
						    1u << PURPOSE_CAPABILITY_BENCHMARK};
	*scene = (struct scene){.kind = (enum link_kind)prng_below(prng, LINK_KIND_COUNT),
				.open = prng_below(prng, 2),
				.purposes = purposes[prng_below(prng, 3)],
				.notice_ms = (int64_t)prng_below(prng, 4) * HOUR};
	if (scene->kind == LINK_OWNS) /* without a share that is nothing */
		scene->kind = LINK_CONTROLS;
	for (int i = 0; i < 2; i++) {
		int64_t since = NOW - (int64_t)prng_below(prng, 6) * HOUR;
		scene->noted_ms[i] = NOW - (int64_t)prng_below(prng, 8) * HOUR;
		scene->blocks[i] =
			(struct block){.there = prng_below(prng, 3) > 0,
				       .named = prng_below(prng, 2),
				       .since_ms = since,
				       .now_ms = prng_below(prng, 3) ? 0 : since,
				       .applied_ms = since + (int64_t)prng_below(prng, 6) * HOUR};
	}
}

static void check_due(const struct scene *scene, const struct world *world)
{
	for (int i = 0; i < 2; i++) {
		const struct world_org *org = world_find_org(world, bytes_from(names[i]));
		int64_t from = begins(scene, i);
		bool wholly_spared = scene->purposes == 1u << PURPOSE_SAFETY_EVALUATION &&
				     !scene->blocks[i].named;
		bool waits = from != WORLD_ALWAYS && from > scene->blocks[i].applied_ms &&
			     !wholly_spared;
		assert_int_equal(org->block_due_ms, waits ? from : WORLD_ALWAYS);
	}
}

static void check_head(const struct scene *scene, const struct world *world)
{
	struct policy_request request = {.has_key = true, .wall_ms = NOW};
	struct verdict verdict;
	bool all = true;
	sha256_of("plk", 3, request.key_digest);
	policy_authenticate(world, &request, &verdict);
	for (enum purpose purpose = 0; purpose < PURPOSE_COUNT; purpose++)
		if (scene->purposes >> purpose & 1)
			all = all && refuses(scene, purpose);
	assert_int_equal(verdict.outcome, all ? POLICY_REFUSE : POLICY_ADMIT);
	if (!all)
		return;
	assert_int_equal(verdict.rule, RULE_ORG_BLOCKED);
	bool tells = strstr(verdict.detail, "alpha") || strstr(verdict.detail, "beta") ||
		     strstr(verdict.detail, "because");
	assert_int_equal(tells, scene->open);
}

static void blocks_hold_as_they_are_defined(void **state)
{
	(void)state;
	struct prng prng = {20261126};
	unsigned refused = 0, waiting = 0;
	for (int round = 0; round < 20000; round++) {
		struct scene scene;
		draw(&prng, &scene);
		struct world *world = build(&scene);
		const struct world_grant *grant = world_find_grant(world, BYTES("g"));
		for (enum purpose purpose = 0; purpose < PURPOSE_COUNT; purpose++) {
			if (!(scene.purposes >> purpose & 1))
				continue;
			bool expected = refuses(&scene, purpose);
			assert_int_equal(policy_blocks_affiliate(grant, purpose), expected);
			refused += expected;
		}
		waiting += grant->affiliation && !grant->blocked;
		check_due(&scene, world);
		check_head(&scene, world);
		world_drop(world);
	}
	print_message("%u refused, %u under notice, of 20000\n", refused, waiting);
	assert_true(refused > 1000 && waiting > 1000);
}

static void without_links_everybody_is_alone(void **state)
{
	(void)state;
	struct scene scene = {.kind = LINK_RESELLER_OF, .purposes = 1u << PURPOSE_PRODUCT};
	struct world *world = build(&scene);
	for (int i = 0; i < ORGS; i++) {
		const struct world_org *org = world_find_org(world, bytes_from(names[i]));
		assert_ptr_equal(org->group, org);
		assert_null(org->top);
		assert_null(org->rival_over);
	}
	world_drop(world);
	scene.kind = LINK_CONTROLS;
	world = build(&scene);
	const struct world_org *org = world_find_org(world, BYTES("xray"));
	const struct world_org *first = world_find_org(world, BYTES("alpha"));
	assert_ptr_equal(org->top, first);
	assert_ptr_equal(org->group, first);
	assert_ptr_equal(world_find_org(world, BYTES("beta"))->group, first);
	world_drop(world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(blocks_hold_as_they_are_defined),
		cmocka_unit_test(without_links_everybody_is_alone),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
