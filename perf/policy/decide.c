/* What a decision costs in a large world, given parsed facts and digests: decide [ORGS KEYS LEAVES]
 * (10000 100000 1000000). Prints the least CPU time of five rounds for each kind of request, what
 * building the world again costs (as each administrative act does), and what a leaf takes. Keys and
 * leaves are drawn at random, so that nothing but the world's own tables is in the caches. */
#include "base/prng.h"
#include "scale_world.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define ROUNDS 5
#define REQUESTS 200000u

static double cpu_ns(void)
{
	struct timespec now;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

struct question {
	uint8_t words[SHA256_SIZE];
	struct policy_request request;
};

struct kind {
	const char *name;
	bool own_key; /* the one whose grant has the suite; else any */
	bool leaf;    /* words of a leaf; else of none */
	bool known;   /* a key that there is */
};

static const struct kind kinds[] = {
	{"a leaf, admitted",           true,  true,  true },
	{"no leaf, refused",           true,  false, true },
	{"another's grant, refused",   false, true,  true },
	{"a key that is not, refused", false, true,  false},
};

/* Facts and digests beforehand: they are not the decision's. */
static void ask(const struct scale *scale, const struct kind *kind, struct question *questions)
{
	struct prng prng = {.state = 1};
	for (unsigned i = 0; i < REQUESTS; i++) {
		unsigned key = kind->own_key
				       ? (unsigned)prng_below(&prng, scale->keys / scale->orgs) *
						 scale->orgs
				       : 1 + (unsigned)prng_below(&prng, scale->orgs - 1);
		uint32_t leaf = (uint32_t)prng_below(&prng, scale->leaves);
		scale_words(leaf + (kind->leaf ? 0 : scale->leaves), questions[i].words);
		questions[i].request =
			scale_request(key + (kind->known ? 0 : scale->keys), questions[i].words);
	}
}

static void measure(const struct scale *scale, const struct kind *kind, struct question *questions)
{
	double best = 0;
	unsigned admitted = 0;
	ask(scale, kind, questions);
	for (int round = 0; round < ROUNDS; round++) {
		double started = cpu_ns();
		for (unsigned i = 0; i < REQUESTS; i++) {
			struct verdict verdict;
			policy_decide(scale->world, &questions[i].request, &verdict);
			admitted += verdict.outcome == POLICY_ADMIT;
		}
		double each = (cpu_ns() - started) / REQUESTS;
		best = round == 0 || each < best ? each : best;
	}
	printf("%-28s %7.0f ns   (%u of %u admitted)\n", kind->name, best, admitted / ROUNDS,
	       REQUESTS);
}

static bool measure_worlds(struct scale *scale)
{
	double best = 0;
	for (int round = 0; round < ROUNDS; round++) {
		double started = cpu_ns();
		if (!scale_make_world(scale))
			return false;
		double took = cpu_ns() - started;
		best = round == 0 || took < best ? took : best;
	}
	printf("%-28s %7.1f ms\n", "the world once more", best / 1e6);
	return true;
}

int main(int count, char **arguments)
{
	struct scale scale = {.orgs = 10000, .keys = 100000, .leaves = 1000000};
	if (count == 4) {
		scale.orgs = (unsigned)atoi(arguments[1]);
		scale.keys = (unsigned)atoi(arguments[2]);
		scale.leaves = (uint32_t)atoi(arguments[3]);
	}
	if (scale.orgs < 2 || scale.keys < scale.orgs || scale.leaves < 1) {
		fprintf(stderr, "decide [ORGS KEYS LEAVES]: at least 2 orgs and a key for each\n");
		return 2;
	}
	struct question *questions = malloc(REQUESTS * sizeof(*questions));
	size_t before = mallinfo2().uordblks + mallinfo2().hblkhd;
	double started = cpu_ns();
	if (!questions || !scale_make_suite(&scale))
		return 3;
	double took = cpu_ns() - started;
	size_t after = mallinfo2().uordblks + mallinfo2().hblkhd;
	if (!scale_make_world(&scale))
		return 3;
	printf("%u orgs and grants, %u keys, %u leaves\n", scale.orgs, scale.keys, scale.leaves);
	printf("%-28s %7.1f bytes a leaf, %.0f ms with its digests\n", "the suite",
	       (double)(after - before) / scale.leaves, took / 1e6);
	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++)
		measure(&scale, &kinds[i], questions);
	bool good = measure_worlds(&scale);
	free(questions);
	scale_release(&scale);
	return good ? 0 : 3;
}
