#include "scale_world.h"

#include <stdio.h>
#include <stdlib.h>

static const uint8_t secret[WORLD_SECRET_SIZE] = "a secret of the gateway's own";

#define TODAY ((int64_t)20500 * WORLD_DAY_MS)
#define OVER_IDS 64

static const char *id_of(char out[static OVER_IDS], const char *kind, unsigned number)
{
	snprintf(out, OVER_IDS, "%s-%u", kind, number);
	return out;
}

void scale_words(uint32_t leaf, uint8_t digest[static SHA256_SIZE])
{
	sha256_of(&leaf, sizeof(leaf), digest);
}

bool scale_make_suite(struct scale *scale)
{
	struct hmac_key key;
	uint8_t(*digests)[BINDING_DIGEST_SIZE] = malloc(scale->leaves * sizeof(*digests));
	if (!digests)
		return false;
	hmac_key_init(&key, secret, sizeof(secret));
	for (uint32_t leaf = 0; leaf < scale->leaves; leaf++) {
		uint8_t words[SHA256_SIZE];
		scale_words(leaf, words);
		binding_digest(&key, words, digests[leaf]);
	}
	struct binding_suite_options options = {.id = "suite-0",
						.name = "large",
						.version = "1",
						.purpose = PURPOSE_CAPABILITY_BENCHMARK,
						.settings = {.max_output = 64},
						.samples = 1,
						.leaf_count = scale->leaves,
						.digests = digests[0]};
	struct binding_run_options run = {.id = "run-0", .grant_id = "grant-0", .samples = 1};
	bool good = binding_suite_new(&options, &scale->suite, NULL) == ERR_OK;
	free(digests);
	run.suite = scale->suite;
	return good && binding_run_new(&run, &scale->run, NULL) == ERR_OK;
}

static bool add_orgs(struct world_builder *builder, unsigned count)
{
	char id[OVER_IDS];
	for (unsigned i = 0; i < count; i++) {
		struct world_org_options options = {.id = id_of(id, "org", i),
						    .name = "Organisation"};
		if (world_builder_add_org(builder, &options, NULL) != ERR_OK)
			return false;
	}
	return true;
}

static bool add_grants(struct world_builder *builder, unsigned count)
{
	static const char *const models[] = {"north-1"};
	char id[OVER_IDS], org[OVER_IDS];
	for (unsigned i = 0; i < count; i++) {
		struct world_grant_options options = {.id = id_of(id, "grant", i),
						      .org = id_of(org, "org", i),
						      .state = GRANT_ACTIVE,
						      .from_ms = TODAY,
						      .until_ms = TODAY + WORLD_DAY_MS,
						      .purposes = 1u
								  << PURPOSE_CAPABILITY_BENCHMARK,
						      .classes = 1u << SUITE_CLASS_REVIEWED,
						      .max_leaves = LIMIT_NONE,
						      .release = RELEASE_V2,
						      .limits = limits_unlimited,
						      .models = models,
						      .model_count = 1};
		options.limits.max[LIMIT_RPM] = 600;
		if (world_builder_add_grant(builder, &options, NULL) != ERR_OK)
			return false;
	}
	return true;
}

static bool add_keys(struct world_builder *builder, unsigned count, unsigned grants)
{
	char id[OVER_IDS], grant[OVER_IDS];
	for (unsigned i = 0; i < count; i++) {
		struct world_key_options options = {.id = id_of(id, "key", i),
						    .grant = id_of(grant, "grant", i % grants),
						    .expires_ms = WORLD_ALWAYS};
		sha256_of(id, strlen(id), options.digest);
		if (world_builder_add_key(builder, &options, NULL) != ERR_OK)
			return false;
	}
	return true;
}

static bool fill(struct world_builder *builder, struct scale *scale)
{
	struct world_model_options model = {
		.name = "north-1", .provider = "north", .max_output = 8192};
	return world_builder_add_provider(builder, "north", 0, 1, NULL) == ERR_OK &&
	       world_builder_add_model(builder, &model, NULL) == ERR_OK &&
	       world_builder_add_clause(builder, "D.4a", "prohibition", "No training.",
					UINT64_C(1) << RULE_SUITE_UNBOUND, NULL) == ERR_OK &&
	       add_orgs(builder, scale->orgs) && add_grants(builder, scale->orgs) &&
	       add_keys(builder, scale->keys, scale->orgs) &&
	       world_builder_add_suite(builder, "grant-0", scale->suite, SUITE_CLASS_REVIEWED,
				       NULL) == ERR_OK &&
	       world_builder_add_run(builder, scale->run, NULL) == ERR_OK;
}

bool scale_make_world(struct scale *scale)
{
	struct world_builder *builder = world_builder_new(scale->world, secret);
	struct world *world = NULL;
	bool good = builder && fill(builder, scale) && world_build(builder, &world, NULL) == ERR_OK;
	world_builder_free(builder);
	if (good) {
		world_drop(scale->world);
		scale->world = world;
	}
	return good;
}

void scale_release(struct scale *scale)
{
	world_drop(scale->world);
	binding_run_drop(scale->run);
	binding_suite_drop(scale->suite);
}

struct policy_request scale_request(unsigned key, const uint8_t words[static SHA256_SIZE])
{
	char id[OVER_IDS];
	struct policy_request request = {.has_key = true,
					 .wall_ms = TODAY + 1000,
					 .endpoint = ENDPOINT_USE_GENERATE,
					 .model = BYTES("north-1"),
					 .max_output = 64,
					 .n = 1,
					 .words_digest = words};
	id_of(id, "key", key);
	sha256_of(id, strlen(id), request.key_digest);
	return request;
}
