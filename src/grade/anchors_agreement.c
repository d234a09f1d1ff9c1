/* How far judges and people agree, over what both rated. */
#include "grade/agreement.h"
#include "grade/anchors.h"
#include "grade/judging_internal.h"
#include "grade/statistics.h"

#include "base/json.h"

#include <math.h>
#include <stdlib.h>

#define VERDICTS 3u
#define TENTHS 11u
#define INSTRUMENTS_MAX JUDGING_JUDGES_MAX /* judges or scorers of one suite */

/* The cases of one suite and kind, one line of ratings for each. */
struct rated {
	const struct anchor *from; /* the first of its anchors */
	size_t count;              /* anchors */
	bool verdicts;
	unsigned categories, raters;
	size_t cases;
	const struct anchor **first; /* owned: one anchor of each case */
	int *people;                 /* owned: cases x raters */
	int *agreed;                 /* owned: what most people said, AGREEMENT_NONE: a draw */
	const char *names[INSTRUMENTS_MAX];
	unsigned instruments;
	int *found; /* owned: instruments x cases */
	int *both;  /* owned: scratch, cases x 2 */
	struct bench bench;
};

static enum err_code out_of_memory(struct err *err)
{
	return ERR_SET(err, ERR_NO_MEMORY, "out of memory for the anchors");
}

/* ---- people ---- */

/* What most of them said; the rounded mean of scores. */
static int consensus(const struct rated *rated, const int *ratings)
{
	unsigned counts[TENTHS] = {0}, most = 0, said = 0;
	double sum = 0;
	int best = AGREEMENT_NONE;

	for (unsigned r = 0; r < rated->raters; r++) {
		if (ratings[r] < 0)
			continue;
		said++;
		sum += ratings[r];
		counts[ratings[r]]++;
	}
	if (!rated->verdicts)
		return said ? (int)lround(sum / said) : AGREEMENT_NONE;
	for (unsigned c = 0; c < rated->categories; c++) {
		if (counts[c] > most)
			best = (int)c;
		else if (counts[c] == most)
			best = AGREEMENT_NONE;
		most = counts[c] > most ? counts[c] : most;
	}
	return best;
}

static void fill_people(struct rated *rated)
{
	for (size_t i = 0; i < rated->count; i++) {
		const struct anchor *anchor = &rated->from[i];

		if (i == 0 || anchor_compare(anchor, anchor - 1) != 0)
			rated->first[rated->cases++] = anchor;
		rated->people[(rated->cases - 1) * rated->raters + anchor->rater] = anchor->rating;
	}
	for (size_t i = 0; i < rated->cases; i++)
		rated->agreed[i] = consensus(rated, &rated->people[i * rated->raters]);
}

/* ---- the run ---- */

static int compare_case(const void *wanted, const void *place)
{
	return anchor_compare(wanted, *(const struct anchor *const *)place);
}

static int rating_of(const struct rated *rated, const struct run_score *score)
{
	if (score->failed)
		return AGREEMENT_NONE;
	return (int)lround((rated->verdicts ? 2 : 10) * score->score);
}

static enum err_code find_instrument(struct rated *rated, const struct run_score *score,
				     unsigned *out, struct err *err)
{
	const char *name = score->judge ? score->judge : score->scorer;

	for (*out = 0; *out < rated->instruments; ++*out)
		if (strcmp(rated->names[*out], name) == 0)
			return ERR_OK;
	if (rated->instruments == INSTRUMENTS_MAX)
		return ERR_SET(err, ERR_TOO_LARGE, "more than %u judges", INSTRUMENTS_MAX);
	rated->names[rated->instruments++] = name;
	return ERR_OK;
}

static enum err_code take_score(struct rated *rated, const struct run_score *score, struct err *err)
{
	int rating = rating_of(rated, score);
	bool turned = score->opponent && strcmp(score->model, score->opponent) > 0;
	struct anchor wanted = {.item = score->item,
				.sample = score->sample,
				.model = turned ? score->opponent : score->model,
				.opponent = turned ? score->model : score->opponent};
	unsigned instrument;
	const struct anchor **place =
		bsearch(&wanted, rated->first, rated->cases, sizeof(*rated->first), compare_case);

	if (!place)
		return ERR_OK;
	ERR_TRY(find_instrument(rated, score, &instrument, err));
	if (turned && rating != AGREEMENT_NONE)
		rating = 2 - rating;
	rated->found[instrument * rated->cases + (size_t)(place - rated->first)] = rating;
	return ERR_OK;
}

static enum err_code fill_found(struct rated *rated, const struct run_score *scores, size_t count,
				struct err *err)
{
	for (size_t i = 0; i < INSTRUMENTS_MAX * rated->cases; i++)
		rated->found[i] = AGREEMENT_NONE;
	for (size_t i = 0; i < count; i++)
		if (strcmp(scores[i].suite, rated->from->suite) == 0 &&
		    (scores[i].opponent != NULL) == rated->verdicts &&
		    !run_is_control(scores[i].model))
			ERR_TRY(take_score(rated, &scores[i], err));
	return ERR_OK;
}

/* ---- figures ---- */

static enum agreement_distance distance_of(const struct rated *rated)
{
	return rated->verdicts ? AGREEMENT_NOMINAL : AGREEMENT_INTERVAL;
}

/* The share in which both say the same, with its interval, clustered by item. */
static json_t *observed(struct rated *rated, const int *found)
{
	size_t n = 0, cluster = 0;
	const char *item = NULL;

	for (size_t i = 0; i < rated->cases; i++) {
		if (found[i] < 0 || rated->agreed[i] < 0)
			continue;
		cluster += item && strcmp(item, rated->first[i]->item) != 0;
		item = rated->first[i]->item;
		rated->bench.clusters[n] = cluster;
		rated->bench.values[n++] = found[i] == rated->agreed[i];
	}
	return judging_rate(&rated->bench, n);
}

static json_t *encode_instrument(struct rated *rated, unsigned number)
{
	const int *found = &rated->found[number * rated->cases];

	for (size_t i = 0; i < rated->cases; i++) {
		rated->both[2 * i] = rated->agreed[i];
		rated->both[2 * i + 1] = found[i];
	}
	json_t *object = observed(rated, found);
	bool made = json_set(object, "judge", json_string(rated->names[number])) &&
		    json_set(object, "cohen",
			     json_figure(agreement_cohen(rated->agreed, found, rated->cases,
							 rated->categories))) &&
		    json_set(object, "alpha",
			     json_figure(agreement_alpha(rated->both, rated->cases, 2,
							 rated->categories, distance_of(rated))));

	if (made)
		return object;
	json_decref(object);
	return NULL;
}

/* How often two people say the same, over all cases and pairs of them. */
static double people_observed(const struct rated *rated)
{
	double pairs = 0, same = 0;

	for (size_t i = 0; i < rated->cases; i++)
		for (unsigned a = 0; a < rated->raters; a++)
			for (unsigned b = a + 1; b < rated->raters; b++) {
				const int *row = &rated->people[i * rated->raters];

				pairs += row[a] >= 0 && row[b] >= 0;
				same += row[a] >= 0 && row[a] == row[b];
			}
	return pairs > 0 ? same / pairs : NAN;
}

static json_t *encode_people(const struct rated *rated)
{
	size_t draws = 0, unmatched = 0;

	for (size_t i = 0; i < rated->cases; i++) {
		bool met = false;

		draws += rated->agreed[i] < 0;
		for (unsigned k = 0; k < rated->instruments; k++)
			met |= rated->found[k * rated->cases + i] >= 0;
		unmatched += !met;
	}
	return json_pack("{s:I, s:I, s:I, s:I, s:o, s:o, s:o}", "ratings", (json_int_t)rated->count,
			 "cases", (json_int_t)rated->cases, "draws", (json_int_t)draws, "unmatched",
			 (json_int_t)unmatched, "observed", json_figure(people_observed(rated)),
			 "fleiss",
			 json_figure(agreement_fleiss(rated->people, rated->cases, rated->raters,
						      rated->categories)),
			 "alpha",
			 json_figure(agreement_alpha(rated->people, rated->cases, rated->raters,
						     rated->categories, distance_of(rated))));
}

static json_t *encode_rated(struct rated *rated, bool committed)
{
	json_t *judges = json_array();
	bool made = judges;

	for (unsigned i = 0; made && i < rated->instruments; i++)
		made = json_array_append_new(judges, encode_instrument(rated, i)) == 0;
	json_t *object =
		made ? json_pack("{s:s, s:s, s:b, s:i, s:o, s:O}", "suite", rated->from->suite,
				 "of", rated->verdicts ? "verdicts" : "scores", "committed",
				 (int)committed, "raters", (int)rated->raters, "people",
				 encode_people(rated), "judges", judges)
		     : NULL;
	json_decref(judges);
	return object;
}

/* ---- all of them ---- */

static bool rated_open(struct rated *rated)
{
	size_t n = rated->count;

	rated->categories = rated->verdicts ? VERDICTS : TENTHS;
	rated->first = calloc(n, sizeof(*rated->first));
	rated->people = calloc(n * rated->raters, sizeof(*rated->people));
	rated->agreed = calloc(n, sizeof(*rated->agreed));
	rated->found = calloc(n * INSTRUMENTS_MAX, sizeof(*rated->found));
	rated->both = calloc(2 * n, sizeof(*rated->both));
	rated->bench = (struct bench){.values = calloc(n + 1, sizeof(double)),
				      .clusters = calloc(n + 1, sizeof(size_t))};
	for (size_t i = 0; rated->people && i < n * rated->raters; i++)
		rated->people[i] = AGREEMENT_NONE;
	return rated->first && rated->people && rated->agreed && rated->found && rated->both &&
	       rated->bench.values && rated->bench.clusters;
}

static void rated_close(struct rated *rated)
{
	free(rated->first);
	free(rated->people);
	free(rated->agreed);
	free(rated->found);
	free(rated->both);
	free(rated->bench.values);
	free(rated->bench.clusters);
}

static enum err_code add_rated(struct rated *rated, const struct run_score *scores, size_t count,
			       bool committed, json_t *list, struct err *err)
{
	enum err_code code = rated_open(rated) ? ERR_OK : out_of_memory(err);

	if (code == ERR_OK) {
		fill_people(rated);
		code = fill_found(rated, scores, count, err);
	}
	if (code == ERR_OK && json_array_append_new(list, encode_rated(rated, committed)) != 0)
		code = out_of_memory(err);
	rated_close(rated);
	return code;
}

enum err_code anchors_encode(const struct anchors *anchors, const struct run_score *scores,
			     size_t count, bool committed, json_t **out, struct err *err)
{
	json_t *list = json_array();
	enum err_code code = list ? ERR_OK : out_of_memory(err);
	size_t end;

	for (size_t from = 0; code == ERR_OK && from < anchors->count; from = end) {
		const struct anchor *first = &anchors->items[from];

		for (end = from; end < anchors->count &&
				 strcmp(anchors->items[end].suite, first->suite) == 0 &&
				 !anchors->items[end].opponent == !first->opponent;)
			end++;
		struct rated rated = {.from = first,
				      .count = end - from,
				      .verdicts = first->opponent != NULL,
				      .raters = anchors->rater_count};
		code = add_rated(&rated, scores, count, committed, list, err);
	}
	if (code != ERR_OK) {
		json_decref(list);
		list = NULL;
	}
	*out = list;
	return code;
}
