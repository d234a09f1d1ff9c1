/* Items that are nearly the same, in time and memory that grow with their number alone: of each
 * text the smallest hashes of its runs of three words are kept (Broder's bottom-k sketch: the
 * share that two sketches have in common estimates that of the texts, and is exact where a text
 * has no more runs than are kept). Compared are items that share one of the few smallest. */
#include "suite/check.h"

#include "base/json.h"
#include "suite/suite_internal.h"
#include "suite/words.h"

#include <stdlib.h>

#define RUN_WORDS 3
#define RUNS_MAX 65536u
#define SKETCH_MAX 256u
#define INDEXED 8u
#define NEIGHBOURS 64u /* with the same hash: what so many share is a phrase, no duplicate */
#define NEAR_SHARE 0.6

struct sketch {
	size_t offset;
	uint32_t count;
	uint64_t whole; /* of all normal words */
};

struct posting {
	uint64_t hash;
	uint32_t item;
};

struct near {
	const struct suite *suite;
	struct sketch *sketches;
	uint64_t *hashes; /* of all sketches */
	size_t used, capacity;
	uint64_t *runs; /* RUNS_MAX */
	struct posting *postings;
	size_t posted;
	uint32_t *like; /* item + 1 that came first; 0: none */
};

static uint64_t mix(uint64_t x)
{
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
	x = (x ^ x >> 27) * 0x94d049bb133111ebu;
	return x ^ x >> 31;
}

static int compare_hashes(const void *a, const void *b)
{
	const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return (x > y) - (x < y);
}

static int compare_postings(const void *a, const void *b)
{
	const struct posting *x = a, *y = b;
	int order = (x->hash > y->hash) - (x->hash < y->hash);
	return order ? order : (x->item > y->item) - (x->item < y->item);
}

/* The runs of normal words, sorted, each once; a text with fewer words is one run. */
static size_t find_runs(struct bytes words, uint64_t *runs)
{
	uint64_t last[RUN_WORDS] = {0};
	size_t count = 0, seen = 0;
	struct bytes rest = words;
	while (rest.size && count < RUNS_MAX) {
		struct bytes word = bytes_split(rest, ' ', &rest);
		last[seen++ % RUN_WORDS] = bytes_hash(BYTES_HASH_START, word);
		if (seen < RUN_WORDS)
			continue;
		uint64_t run = 0;
		for (size_t i = 0; i < RUN_WORDS; i++)
			run = mix(run + last[(seen + i) % RUN_WORDS]);
		runs[count++] = run;
	}
	if (!count)
		runs[count++] = mix(bytes_hash(BYTES_HASH_START, words));
	qsort(runs, count, sizeof(*runs), compare_hashes);
	size_t kept = 1;
	for (size_t i = 1; i < count; i++)
		if (runs[i] != runs[kept - 1])
			runs[kept++] = runs[i];
	return kept;
}

static bool keep(struct near *near, size_t index, struct bytes words)
{
	struct sketch *sketch = &near->sketches[index];
	size_t count = find_runs(words, near->runs);
	count = count < SKETCH_MAX ? count : SKETCH_MAX;
	if (near->used + count > near->capacity) {
		size_t capacity = 2 * near->capacity + 4 * SKETCH_MAX;
		uint64_t *hashes = realloc(near->hashes, capacity * sizeof(*hashes));
		if (!hashes)
			return false;
		near->hashes = hashes;
		near->capacity = capacity;
	}
	*sketch = (struct sketch){near->used, (uint32_t)count, bytes_hash(BYTES_HASH_START, words)};
	memcpy(near->hashes + near->used, near->runs, count * sizeof(*near->runs));
	near->used += count;
	for (size_t i = 0; i < count && i < INDEXED; i++)
		near->postings[near->posted++] = (struct posting){near->runs[i], (uint32_t)index};
	return true;
}

static enum err_code read_item(struct near *near, size_t index, struct err *err)
{
	struct suite_item item;
	struct buf text = BUF_INIT(WORDS_MAX), words = BUF_INIT(WORDS_MAX);
	ERR_TRY(suite_item_render(near->suite, index, &item, err));
	enum err_code code = suite_own_text(near->suite, &item, &text, err);
	suite_item_release(&item);
	suite_normal_words(buf_bytes(&text), &words);
	if (code == ERR_OK && (words.failed || !keep(near, index, buf_bytes(&words))))
		code = ERR_SET(err, ERR_NO_MEMORY, "out of memory comparing items");
	buf_release(&text);
	buf_release(&words);
	return code;
}

/* The share of the smallest hashes of both together that both have. */
static double share(const struct near *near, const struct sketch *a, const struct sketch *b)
{
	const uint64_t *x = near->hashes + a->offset, *y = near->hashes + b->offset;
	size_t i = 0, j = 0, both = 0, all = 0;
	while (all < SKETCH_MAX && (i < a->count || j < b->count)) {
		bool left = j == b->count || (i < a->count && x[i] <= y[j]);
		bool right = i == a->count || (j < b->count && y[j] <= x[i]);
		i += left;
		j += right;
		both += left && right;
		all++;
	}
	return (double)both / (double)all;
}

static bool is_near(const struct near *near, uint32_t first, uint32_t second)
{
	const struct sketch *a = &near->sketches[first], *b = &near->sketches[second];
	return a->whole == b->whole || share(near, a, b) >= NEAR_SHARE;
}

static void compare_neighbours(struct near *near)
{
	qsort(near->postings, near->posted, sizeof(*near->postings), compare_postings);
	for (size_t i = 0; i < near->posted; i++) {
		const struct posting *first = &near->postings[i];
		for (size_t j = i + 1; j < near->posted && j - i <= NEIGHBOURS; j++) {
			const struct posting *second = &near->postings[j];
			if (second->hash != first->hash)
				break;
			if (!near->like[second->item] && second->item != first->item &&
			    is_near(near, first->item, second->item))
				near->like[second->item] = first->item + 1;
		}
	}
}

/* What is equal to the letter is another check's, and pairs and twins are meant to be alike. */
static bool is_meant(const struct suite *suite, const struct suite_item *first,
		     const struct suite_item *second)
{
	size_t twin;
	return (suite_twin(suite, first->index, &twin) && twin == second->index) ||
	       (suite_twin(suite, second->index, &twin) && twin == first->index) ||
	       bytes_equal(buf_bytes(&first->text), buf_bytes(&second->text)) ||
	       strcmp(json_text(first->fields, "pair"), second->id) == 0 ||
	       strcmp(json_text(second->fields, "pair"), first->id) == 0;
}

static enum err_code report(const struct near *near, struct suite_findings *findings,
			    struct err *err)
{
	for (size_t i = 0; i < near->suite->count; i++) {
		struct suite_item first, second;
		if (!near->like[i])
			continue;
		uint32_t other = near->like[i] - 1;
		ERR_TRY(suite_item_render(near->suite, other, &first, err));
		enum err_code code = suite_item_render(near->suite, i, &second, err);
		if (code == ERR_OK && !is_meant(near->suite, &first, &second))
			suite_found(findings, SUITE_CHECK_NEAR, "items.jsonl", i + 1,
				    "items %s and %s have %.0f %% of their runs of three words in "
				    "common",
				    first.id, second.id,
				    100 * share(near, &near->sketches[other], &near->sketches[i]));
		suite_item_release(&first);
		if (code == ERR_OK)
			suite_item_release(&second);
		ERR_TRY(code);
	}
	return ERR_OK;
}

enum err_code suite_check_near(const struct suite *suite, struct suite_findings *findings,
			       struct err *err)
{
	struct near near = {.suite = suite};
	near.sketches = calloc(suite->count, sizeof(*near.sketches));
	near.postings = calloc(suite->count * INDEXED, sizeof(*near.postings));
	near.like = calloc(suite->count, sizeof(*near.like));
	near.runs = calloc(RUNS_MAX, sizeof(*near.runs));
	enum err_code code = near.sketches && near.postings && near.like && near.runs
				     ? ERR_OK
				     : ERR_SET(err, ERR_NO_MEMORY, "out of memory comparing items");
	for (size_t i = 0; code == ERR_OK && i < suite->count; i++)
		code = read_item(&near, i, err);
	if (code == ERR_OK) {
		compare_neighbours(&near);
		code = report(&near, findings, err);
	}
	free(near.sketches);
	free(near.hashes);
	free(near.postings);
	free(near.like);
	free(near.runs);
	return code;
}
