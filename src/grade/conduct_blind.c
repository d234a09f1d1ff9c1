/* The blind arm: which samples are asked without naming the run, and how they compare. */
#include "grade/conduct_internal.h"

#include "base/json.h"
#include "base/prng.h"
#include "base/sha256.h"

#include <stdlib.h>

static void seed_of(const char *id, const char *suite, struct prng *out)
{
	struct sha256 hash;
	uint8_t digest[SHA256_SIZE];

	sha256_start(&hash);
	sha256_add_bytes(&hash, BYTES("parley-blind-1/"));
	sha256_add_bytes(&hash, bytes_from(id));
	sha256_add_bytes(&hash, BYTES("/"));
	sha256_add_bytes(&hash, bytes_from(suite));
	sha256_finish(&hash, digest);
	out->state = 0;
	for (unsigned i = 0; i < 8; i++)
		out->state = out->state << 8 | digest[i];
}

/* `wanted` of `count`, each choice as likely. */
static void draw(struct prng *prng, size_t count, size_t wanted, bool *out)
{
	for (size_t i = 0; i < count && wanted > 0; i++) {
		out[i] = prng_below(prng, count - i) < wanted;
		wanted -= out[i];
	}
}

bool conduct_draw_blind(struct conduct *conduct, const char *id)
{
	for (unsigned i = 0; conduct->blind_share > 0 && i < conduct->suite_count; i++) {
		struct conduct_suite *suite = &conduct->suites[i];
		struct prng prng;
		if (!suite->suite || suite->pairwise || suite->decoys)
			continue;
		size_t count = suite_count(suite->suite) * suite->samples;
		suite->blind_count = (size_t)((double)count * conduct->blind_share + 1e-9);
		suite->blind = calloc(count + 1, sizeof(*suite->blind));
		if (!suite->blind)
			return false;
		seed_of(id, suite->name, &prng);
		draw(&prng, count, suite->blind_count, suite->blind);
	}
	return true;
}

bool conduct_is_blind(const struct conduct *conduct, unsigned suite, size_t item, unsigned sample)
{
	const struct conduct_suite *of = &conduct->suites[suite];

	return of->blind && sample < of->samples && of->blind[item * of->samples + sample];
}

bool conduct_name_not_blind(const struct conduct *conduct, json_t *names)
{
	bool done = true;

	for (unsigned i = 0; conduct->blind_share > 0 && i < conduct->model_count; i++)
		if (!conduct->blind[i] && !run_is_control(conduct->models[i].name))
			done &= json_array_append_new(names,
						      json_string(conduct->models[i].name)) == 0;
	return done;
}
