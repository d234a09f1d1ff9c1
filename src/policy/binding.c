#include "policy/binding.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- settings ---- */

static enum err_code setting_text(const char *name, const json_t *value,
				  struct binding_setting *out, struct err *err)
{
	if (strlen(name) >= sizeof(out->name))
		return ERR_SET(err, ERR_INVALID, "settings: the name '%.40s…' is too long", name);
	struct buf text = BUF_INIT(sizeof(out->value) - 1);
	enum err_code code = json_canonical(value, &text, err);
	if (code == ERR_NO_MEMORY)
		code = ERR_SET(err, ERR_INVALID, "settings.%s: longer than %zu bytes", name,
			       sizeof(out->value) - 1);
	if (code == ERR_OK) {
		memcpy(out->name, name, strlen(name) + 1);
		memcpy(out->value, text.data, text.size);
		out->value[text.size] = '\0';
	}
	buf_release(&text);
	return code;
}

static enum err_code add_setting(struct binding_settings *out, const char *name,
				 const json_t *value, struct err *err)
{
	if (json_is_null(value))
		return ERR_OK;
	if (strcmp(name, "max_output") == 0) {
		json_int_t tokens = json_integer_value(value);
		if (!json_is_integer(value) || tokens < 0)
			return ERR_SET(err, ERR_INVALID,
				       "settings.max_output: must be a number of tokens");
		out->max_output = tokens;
		return ERR_OK;
	}
	if (out->count == BINDING_SETTINGS_MAX)
		return ERR_SET(err, ERR_INVALID, "settings: more than %d", BINDING_SETTINGS_MAX);
	ERR_TRY(setting_text(name, value, &out->members[out->count], err));
	out->count++;
	return ERR_OK;
}

enum err_code binding_settings_from_json(const json_t *settings, struct binding_settings *out,
					 struct err *err)
{
	out->max_output = -1;
	out->count = 0;
	if (!settings || json_is_null(settings))
		return ERR_OK;
	if (!json_is_object(settings))
		return ERR_SET(err, ERR_INVALID, "settings: must be an object");
	const char *name;
	json_t *value;
	json_object_foreach((json_t *)settings, name, value)
		ERR_TRY(add_setting(out, name, value, err));
	return ERR_OK;
}

static const char *find_setting(const struct binding_settings *settings, const char *name)
{
	for (unsigned i = 0; i < settings->count; i++)
		if (strcmp(settings->members[i].name, name) == 0)
			return settings->members[i].value;
	return NULL;
}

bool binding_settings_match(const struct binding_settings *suite,
			    const struct binding_settings *request, char *why, size_t why_size)
{
	if (suite->max_output >= 0 && request->max_output > suite->max_output) {
		snprintf(why, why_size, "max output %lld > %lld", (long long)request->max_output,
			 (long long)suite->max_output);
		return false;
	}
	for (unsigned i = 0; i < request->count; i++) {
		const struct binding_setting *asked = &request->members[i];
		const char *agreed = find_setting(suite, asked->name);
		if (agreed && strcmp(agreed, asked->value) == 0)
			continue;
		if (agreed)
			snprintf(why, why_size, "%s %s is not %s", asked->name, asked->value,
				 agreed);
		else
			snprintf(why, why_size, "%s %s, which the suite does not set", asked->name,
				 asked->value);
		return false;
	}
	return true;
}

/* ---- suites ---- */

void binding_digest(const struct hmac_key *secret, const uint8_t words_digest[static SHA256_SIZE],
		    uint8_t out[static BINDING_DIGEST_SIZE])
{
	uint8_t whole[SHA256_SIZE];
	hmac_of(secret, words_digest, SHA256_SIZE, whole);
	memcpy(out, whole, BINDING_DIGEST_SIZE);
}

static uint32_t slot_of(const uint8_t *digest)
{
	uint32_t hash;
	memcpy(&hash, digest, sizeof(hash));
	return hash;
}

/* ---- the leaves of sealed suites ---- */

#define CLAIM_LEAF_BITS 20
_Static_assert(BINDING_LEAVES_MAX <= 1u << CLAIM_LEAF_BITS, "a claim has room for every leaf");

/* The digest's part of a claim, never 0. Digests are keyed: nobody can look for two alike. */
static uint64_t claim_of(const uint8_t *digest)
{
	uint64_t part;
	memcpy(&part, digest + sizeof(uint32_t), sizeof(part));
	part >>= CLAIM_LEAF_BITS;
	return (part ? part : 1) << CLAIM_LEAF_BITS;
}

static uint32_t claimed_leaf(uint64_t claim)
{
	return (uint32_t)(claim & ((1u << CLAIM_LEAF_BITS) - 1));
}

static bool find_claimed(const struct binding_suite *suite, const uint8_t *digest, uint32_t *leaf)
{
	uint64_t wanted = claim_of(digest), found;
	uint32_t i = slot_of(digest) & suite->slot_mask;
	for (; (found = atomic_load(&suite->claims[i])) != 0; i = (i + 1) & suite->slot_mask) {
		if (found >> CLAIM_LEAF_BITS == wanted >> CLAIM_LEAF_BITS) {
			*leaf = claimed_leaf(found);
			return true;
		}
	}
	return false;
}

/* There are never more claims than leaves, for a leaf has one text: the table is at most half full.
 */
uint32_t binding_suite_claim(struct binding_suite *suite,
			     const uint8_t digest[static BINDING_DIGEST_SIZE], uint32_t leaf)
{
	assert(suite->sealed && leaf < suite->leaf_count);
	uint64_t claim = claim_of(digest) | leaf;
	uint32_t i = slot_of(digest) & suite->slot_mask;
	for (;; i = (i + 1) & suite->slot_mask) {
		uint64_t found = 0;
		if (atomic_compare_exchange_strong(&suite->claims[i], &found, claim))
			return leaf;
		if (found >> CLAIM_LEAF_BITS == claim >> CLAIM_LEAF_BITS)
			return claimed_leaf(found);
	}
}

bool binding_suite_find(const struct binding_suite *suite,
			const uint8_t digest[static BINDING_DIGEST_SIZE], uint32_t *unit)
{
	if (suite->sealed)
		return find_claimed(suite, digest, unit);
	uint32_t i = slot_of(digest) & suite->slot_mask;
	for (; suite->slots[i]; i = (i + 1) & suite->slot_mask) {
		if (memcmp(suite->digests[suite->slots[i] - 1], digest, BINDING_DIGEST_SIZE) == 0) {
			*unit = suite->slots[i] - 1;
			return true;
		}
	}
	return false;
}

/* In their order, so that of equal words the first unit is found. */
static void index_units(struct binding_suite *suite)
{
	for (uint32_t unit = 0; unit < suite->unit_count; unit++) {
		uint32_t same;
		if (binding_suite_find(suite, suite->digests[unit], &same))
			continue;
		uint32_t i = slot_of(suite->digests[unit]) & suite->slot_mask;
		while (suite->slots[i])
			i = (i + 1) & suite->slot_mask;
		suite->slots[i] = unit + 1;
		suite->distinct_leaves++;
	}
}

const struct binding_settings *binding_suite_settings(const struct binding_suite *suite,
						      uint32_t leaf)
{
	return shape_judge_of(suite->shape, leaf) ? &suite->judging->settings : &suite->settings;
}

static enum err_code check_suite(const struct binding_suite_options *options, struct err *err)
{
	if (!options->id[0] || strlen(options->id) >= BINDING_ID_SIZE)
		return ERR_SET(err, ERR_INVALID, "suite: an id has 1 to %d bytes",
			       BINDING_ID_SIZE - 1);
	if (strlen(options->name) >= BINDING_NAME_SIZE ||
	    strlen(options->version) >= BINDING_NAME_SIZE)
		return ERR_SET(err, ERR_INVALID,
			       "suite %s: name and version have at most %d bytes each", options->id,
			       BINDING_NAME_SIZE - 1);
	if (options->leaf_count == 0)
		return ERR_SET(err, ERR_INVALID, "suite %s: has no leaves", options->id);
	if (options->leaf_count > BINDING_LEAVES_MAX)
		return ERR_SET(err, ERR_TOO_LARGE, "suite %s: %u leaves, at most %u", options->id,
			       options->leaf_count, BINDING_LEAVES_MAX);
	if (options->samples == 0 || options->samples > BINDING_SAMPLES_MAX)
		return ERR_SET(err, ERR_INVALID, "suite %s: samples must be 1 to %d", options->id,
			       BINDING_SAMPLES_MAX);
	return ERR_OK;
}

static bool allocate_leaves(struct binding_suite *suite,
			    const struct binding_suite_options *options, uint32_t slots)
{
	if (suite->shape) {
		suite->judging = calloc(1, sizeof(*suite->judging));
		if (!suite->judging)
			return false;
		suite->judging->settings = options->judge_settings;
		suite->judging->verdicts =
			options->verdicts ? options->verdicts : ANSWERS_VERDICTS_DEFAULT;
	}
	if (!options->digests) {
		suite->claims = calloc(slots, sizeof(*suite->claims));
		return suite->claims != NULL;
	}
	suite->digests = malloc((size_t)suite->unit_count * BINDING_DIGEST_SIZE);
	suite->slots = calloc(slots, sizeof(*suite->slots));
	return suite->digests && suite->slots;
}

static void free_suite(struct binding_suite *suite)
{
	if (!suite)
		return;
	free(suite->digests);
	free(suite->slots);
	free(suite->claims);
	free(suite->judging);
	shape_free(suite->shape);
	free(suite);
}

static enum err_code shape_of(const struct binding_suite_options *options, struct shape **out,
			      struct err *err)
{
	enum err_code code = shape_decode(options->shape, options->leaf_count, out, err);
	if (code == ERR_OK && *out &&
	    (!options->digests || (*out)->unit_count > BINDING_LEAVES_MAX ||
	     options->verdicts > ANSWERS_VERDICTS_MAX)) {
		shape_free(*out);
		*out = NULL;
		code = ERR_SET(err, ERR_TOO_LARGE,
			       "its conversations have at most %u answers in all, and an answer "
			       "has at most %u verdicts",
			       BINDING_LEAVES_MAX, ANSWERS_VERDICTS_MAX);
	}
	return code == ERR_OK ? ERR_OK : err_prefix(err, "suite %s", options->id);
}

enum err_code binding_suite_new(const struct binding_suite_options *options,
				struct binding_suite **out, struct err *err)
{
	*out = NULL;
	ERR_TRY(check_suite(options, err));
	uint32_t slots = 8;
	struct shape *shape;
	ERR_TRY(shape_of(options, &shape, err));
	uint32_t units = shape ? shape->unit_count : options->leaf_count;
	while (slots < 2 * units)
		slots *= 2;
	struct binding_suite *suite = calloc(1, sizeof(*suite));
	if (suite) {
		suite->shape = shape;
		suite->unit_count = units;
	}
	if (!suite || !allocate_leaves(suite, options, slots)) {
		if (!suite)
			shape_free(shape);
		free_suite(suite);
		return ERR_SET(err, ERR_NO_MEMORY, "suite %s: out of memory", options->id);
	}
	atomic_init(&suite->references, 1);
	memcpy(suite->id, options->id, strlen(options->id) + 1);
	memcpy(suite->name, options->name, strlen(options->name) + 1);
	memcpy(suite->version, options->version, strlen(options->version) + 1);
	memcpy(suite->root, options->root, SHA256_SIZE);
	suite->purpose = options->purpose;
	suite->settings = options->settings;
	suite->samples = options->samples;
	suite->leaf_count = options->leaf_count;
	suite->registered_ms = options->registered_ms;
	suite->slot_mask = slots - 1;
	suite->sealed = !options->digests;
	if (suite->sealed) {
		suite->distinct_leaves = suite->leaf_count;
	} else {
		memcpy(suite->digests, options->digests,
		       (size_t)suite->unit_count * BINDING_DIGEST_SIZE);
		index_units(suite);
	}
	*out = suite;
	return ERR_OK;
}

struct binding_suite *binding_suite_hold(struct binding_suite *suite)
{
	atomic_fetch_add(&suite->references, 1);
	return suite;
}

void binding_suite_drop(struct binding_suite *suite)
{
	if (!suite || atomic_fetch_sub(&suite->references, 1) != 1)
		return;
	free_suite(suite);
}
