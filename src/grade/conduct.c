#include "grade/conduct_internal.h"

#include "base/arena.h"
#include "base/json.h"
#include "grade/compare.h"
#include "grade/statistics.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define CONFIDENCE 0.95
/* Tokens of an average text: 5 to 3 bytes each, 4 in the middle; roles and delimiters beside. */
#define BYTES_A_TOKEN 4.0
#define OVERHEAD_TOKENS 8.0
/* A count that is so many times what bytes suggest, or so many times less, is told. Languages and
 * tokenizers differ by less; programs and tables of numbers come near. */
#define TOKENS_OFF 2.5
#define NAMES_MAX ((size_t)256 << 20) /* of decoys */
#define TOKENS_ANSWERS_MIN 5          /* fewer say nothing */

static enum err_code out_of_memory(struct err *err)
{
	return ERR_SET(err, ERR_NO_MEMORY, "out of memory for how providers behaved");
}

bool conduct_adjust(json_t *rows)
{
	size_t count = json_array_size(rows);
	double *p = calloc(count + 1, sizeof(*p));
	bool done = p != NULL;

	for (size_t i = 0; done && i < count; i++)
		p[i] = json_number_value(json_object_get(json_array_get(rows, i), "p"));
	done = done && statistics_holm(p, count);
	for (size_t i = 0; done && i < count; i++)
		done = json_set(json_array_get(rows, i), "p_holm", json_figure(p[i]));
	free(p);
	return done;
}

void conduct_release(struct conduct *conduct)
{
	free(conduct->times);
	conduct->times = NULL;
	for (unsigned i = 0; i < conduct->suite_count; i++) {
		free(conduct->suites[i].blind);
		conduct->suites[i].blind = NULL;
	}
	conduct->time_count = conduct->time_capacity = 0;
}

/* ---- taking ---- */

bool conduct_wants_times(const struct conduct *conduct)
{
	bool wanted = conduct->same_count > 0 || conduct->blind_share > 0;

	for (unsigned i = 0; i < conduct->suite_count; i++)
		wanted |= conduct->suites[i].decoys ||
			  (conduct->suites[i].suite && suite_twin_count(conduct->suites[i].suite));
	return wanted;
}

static uint64_t known(int64_t tokens)
{
	return tokens > 0 ? (uint64_t)tokens : 0;
}

static void take_tokens(struct conduct_tokens *tokens, uint64_t asked,
			const struct run_transcript *attempt)
{
	const struct run_usage *usage = &attempt->usage;
	uint64_t input = known(usage->input) + known(usage->cache_read) + known(usage->cache_write);

	if (usage->estimated)
		return;
	if (input > 0) {
		tokens->answers++;
		tokens->input += input;
		tokens->asked += asked;
	}
	if (usage->output > 0 && attempt->answer) {
		tokens->outputs++;
		tokens->output += known(usage->output);
		tokens->answered += strlen(attempt->answer);
	}
}

static bool grow_times(struct conduct *conduct)
{
	size_t capacity = conduct->time_capacity ? 2 * conduct->time_capacity : 256;
	struct conduct_time *times =
		capacity <= CONDUCT_TIMES_MAX
			? reallocarray(conduct->times, capacity, sizeof(*times))
			: NULL;

	if (!times)
		return false;
	conduct->times = times;
	conduct->time_capacity = capacity;
	return true;
}

static void measure(const struct run_transcript *attempt, float values[static CONDUCT_MEASURES])
{
	double elapsed = attempt->elapsed_ms >= 0 ? (double)attempt->elapsed_ms : NAN;
	double first = attempt->first_token_ms >= 0 ? (double)attempt->first_token_ms : NAN;
	double output = attempt->usage.output > 0 && !attempt->usage.estimated
				? (double)attempt->usage.output
				: NAN;
	double spent = isnan(first) ? elapsed : elapsed - first;

	values[CONDUCT_FIRST_TOKEN] = (float)first;
	values[CONDUCT_ELAPSED] = (float)elapsed;
	values[CONDUCT_OUTPUT] = (float)output;
	values[CONDUCT_SPEED] = spent > 0 ? (float)(1000 * output / spent) : NAN;
}

static void take_time(struct conduct *conduct, unsigned suite, unsigned model, size_t item,
		      const struct run_transcript *attempt)
{
	if (conduct->time_count == conduct->time_capacity && !grow_times(conduct)) {
		conduct->short_of_times = true;
		return;
	}
	struct conduct_time *time = &conduct->times[conduct->time_count++];
	*time = (struct conduct_time){
		.suite = suite, .model = model, .item = (uint32_t)item, .blind = attempt->blind};
	measure(attempt, time->values);
}

void conduct_take(struct conduct *conduct, unsigned suite, unsigned model, size_t item,
		  uint64_t asked, const struct run_transcript *attempt)
{
	if (conduct->models[model].stored || attempt->error || attempt->cached ||
	    attempt->step >= 0 || attempt->judge_order >= 0)
		return;
	conduct->blind[model] |= attempt->blind;
	take_tokens(&conduct->tokens[model], asked, attempt);
	if (conduct_wants_times(conduct))
		take_time(conduct, suite, model, item, attempt);
}

/* ---- items against their twins ---- */

/* The scores of one model in one suite, with the places of items. */
struct part {
	const struct conduct_suite *suite;
	const struct run_score *scores;
	size_t count;
};

static size_t next_part(const struct conduct *conduct, const struct run_score *scores, size_t count,
			struct part *part)
{
	size_t end = 0;

	while (end < count && strcmp(scores[end].suite, scores->suite) == 0 &&
	       strcmp(scores[end].model, scores->model) == 0)
		end++;
	*part = (struct part){.scores = scores, .count = end};
	for (unsigned i = 0; i < conduct->suite_count; i++)
		if (strcmp(conduct->suites[i].name, scores->suite) == 0)
			part->suite = &conduct->suites[i];
	return end;
}

static bool has_twins(const struct part *part)
{
	return part->suite && part->suite->suite && !part->suite->pairwise &&
	       suite_twin_count(part->suite->suite) > 0 && !run_is_control(part->scores->model);
}

static int by_cluster(const void *left, const void *right)
{
	const struct run_score *a = left, *b = right;
	int order = a->cluster && b->cluster ? strcmp(a->cluster, b->cluster)
					     : (a->cluster != NULL) - (b->cluster != NULL);

	return order ? order : strcmp(a->item, b->item);
}

/* A cluster that holds one pair says nothing more than the pair: without clusters the exact test
 * applies. */
static void drop_lone_clusters(struct run_score *scores, size_t count)
{
	qsort(scores, count, sizeof(*scores), by_cluster);
	for (size_t start = 0, end; start < count; start = end) {
		const char *cluster = scores[start].cluster;
		bool lone = true;
		for (end = start + 1; end < count && cluster && scores[end].cluster &&
				      strcmp(scores[end].cluster, cluster) == 0;
		     end++)
			lone &= strcmp(scores[end].item, scores[start].item) == 0;
		for (size_t i = start; lone && i < end; i++)
			scores[i].cluster = NULL;
	}
}

/* The scores of items that have twins and of the twins, both under the item's id, as those of two
 * models; in *pairs, owned by the caller. */
static bool pair_up(const struct part *part, struct run_score **pairs, size_t *count)
{
	const struct suite *suite = part->suite->suite;

	*count = 0;
	*pairs = calloc(part->count + 1, sizeof(**pairs));
	for (size_t i = 0; *pairs && i < part->count; i++) {
		struct run_score score = part->scores[i];
		size_t place, other;
		if (!suite_find(suite, bytes_from(score.item), &place))
			continue;
		if (suite_original(suite, place, &other)) {
			score.item = suite_id(suite, other);
			score.model = "twins";
		} else if (suite_twin(suite, place, &other)) {
			score.model = "items";
		} else {
			continue;
		}
		(*pairs)[(*count)++] = score;
	}
	if (*pairs)
		drop_lone_clusters(*pairs, *count);
	return *pairs != NULL;
}

/* The comparison of two sides as one row, with `what` it is about and the model's name. */
static enum err_code add_row(const char *what, const char *model, const struct run_score *scores,
			     size_t count, json_t *rows, struct err *err)
{
	struct comparisons comparisons;

	ERR_TRY(compare_scores(scores, count, &comparisons, err));
	/* `a` is what appears first; both sides are to stand in one order. */
	json_t *list = comparisons_encode(&comparisons);
	json_t *row = json_incref(json_array_get(list, 0));
	bool made = list && (!row || (json_set(row, "what", json_string(what)) &&
				      json_set(row, "model", json_string(model)) &&
				      json_array_append(rows, row) == 0));

	comparisons_release(&comparisons);
	json_decref(list);
	json_decref(row);
	return made ? ERR_OK : out_of_memory(err);
}

static int items_first(const void *left, const void *right)
{
	const struct run_score *a = left, *b = right;

	return strcmp(a->model, b->model);
}

static enum err_code add_twins(const struct part *part, json_t *rows, struct err *err)
{
	struct run_score *pairs;
	size_t count;

	if (!pair_up(part, &pairs, &count))
		return out_of_memory(err);
	qsort(pairs, count, sizeof(*pairs), items_first);
	enum err_code code = add_row("twins", part->scores->model, pairs, count, rows, err);
	free(pairs);
	return code;
}

/* ---- the gap of one model against another's ---- */

/* For each pair of the suite: the item's mean less the twin's; NaN where one was not asked. */
static bool gaps_of(const struct part *part, double **out)
{
	const struct suite *suite = part->suite->suite;
	size_t items = suite_count(suite), place, twin;
	double *sums = calloc(2 * items + 1, sizeof(*sums)), *counts = sums + items;
	double *gaps = calloc(items + 1, sizeof(*gaps));

	for (size_t i = 0; sums && gaps && i < part->count; i++) {
		if (!suite_find(suite, bytes_from(part->scores[i].item), &place))
			continue;
		sums[place] += part->scores[i].failed ? 0 : part->scores[i].score;
		counts[place]++;
	}
	for (size_t i = 0; sums && gaps && i < items; i++)
		gaps[i] = suite_twin(suite, i, &twin)
				  ? sums[i] / counts[i] - sums[twin] / counts[twin]
				  : NAN;
	bool done = sums && gaps;
	free(sums);
	*out = gaps;
	return done;
}

static enum err_code add_gap(const struct part *a, const struct part *b, json_t *rows,
			     struct err *err)
{
	double *left = NULL, *right = NULL;
	size_t items = suite_count(a->suite->suite), kept = 0;
	struct paired paired;
	bool done = gaps_of(a, &left) && gaps_of(b, &right);

	for (size_t i = 0; done && i < items; i++) {
		if (isnan(left[i]) || isnan(right[i]))
			continue;
		left[kept] = left[i];
		right[kept++] = right[i];
	}
	done = done && statistics_paired(left, right, NULL, kept, &paired);
	/* Without any spread there is no error to be known: the two never differed. */
	bool known = done && paired.difference.standard_error > 1e-12;
	json_t *row = NULL;
	if (done)
		row = json_pack("{s:s, s:s, s:s, s:I, s:o, s:o, s:o, s:o}", "suite", a->suite->name,
				"a", a->scores->model, "b", b->scores->model, "pairs",
				(json_int_t)kept, "difference", json_figure(paired.difference.mean),
				"low", json_figure(known ? paired.interval.low : NAN), "high",
				json_figure(known ? paired.interval.high : NAN), "p",
				json_figure(known ? paired.p_value : 1));
	free(left);
	free(right);
	return row && json_array_append_new(rows, row) == 0 ? ERR_OK : out_of_memory(err);
}

struct parts {
	struct part *items; /* owned */
	size_t count, capacity;
};

static bool keep_part(struct parts *parts, const struct part *part)
{
	if (parts->count == parts->capacity) {
		size_t capacity = parts->capacity ? 2 * parts->capacity : 16;
		struct part *grown = reallocarray(parts->items, capacity, sizeof(*grown));
		if (!grown)
			return false;
		parts->items = grown;
		parts->capacity = capacity;
	}
	parts->items[parts->count++] = *part;
	return true;
}

static enum err_code add_scores(const struct parts *parts, json_t *rows, json_t *gaps,
				struct err *err)
{
	for (size_t i = 0; i < parts->count; i++)
		ERR_TRY(add_twins(&parts->items[i], rows, err));
	for (size_t i = 0; i < parts->count; i++)
		for (size_t j = i + 1; j < parts->count; j++)
			if (parts->items[i].suite == parts->items[j].suite)
				ERR_TRY(add_gap(&parts->items[i], &parts->items[j], gaps, err));
	return ERR_OK;
}

static enum err_code compare_twins(const struct conduct *conduct, const struct run_score *scores,
				   size_t count, json_t *rows, json_t *gaps, struct err *err)
{
	struct parts parts = {0};
	struct part part;
	enum err_code code = ERR_OK;

	for (size_t at = 0; code == ERR_OK && at < count; at += part.count) {
		next_part(conduct, &scores[at], count - at, &part);
		if (has_twins(&part) && !keep_part(&parts, &part))
			code = out_of_memory(err);
	}
	if (code == ERR_OK)
		code = add_scores(&parts, rows, gaps, err);
	free(parts.items);
	return code;
}

/* ---- a suite against decoys ---- */

bool conduct_beside_decoys(const struct conduct *conduct, unsigned suite, unsigned *decoys)
{
	const struct conduct_suite *own = &conduct->suites[suite];

	for (*decoys = 0; *decoys < conduct->suite_count; ++*decoys)
		if (conduct->suites[*decoys].decoys)
			break;
	return *decoys < conduct->suite_count && *decoys != suite && !own->pairwise && own->suite &&
	       conduct->suites[*decoys].suite &&
	       json_equal(suite_settings(own->suite),
			  suite_settings(conduct->suites[*decoys].suite));
}

/* Both as the scores of two models in one suite; ids of decoys are kept apart, so that nothing is
 * taken for a pair. */
static struct run_score *side_by_side(const struct part *own, const struct part *decoys,
				      struct arena *names)
{
	struct run_score *scores = calloc(own->count + decoys->count + 1, sizeof(*scores));

	for (size_t i = 0; scores && i < own->count; i++) {
		scores[i] = own->scores[i];
		scores[i].model = "suite";
	}
	for (size_t i = 0; scores && i < decoys->count; i++) {
		struct run_score *score = &scores[own->count + i];
		*score = decoys->scores[i];
		score->suite = own->scores->suite;
		score->model = "decoys";
		score->item = arena_printf(names, "decoy %s", decoys->scores[i].item);
	}
	if (!names->failed)
		return scores;
	free(scores);
	return NULL;
}

static enum err_code add_decoys(const struct part *own, const struct part *decoys, json_t *rows,
				struct err *err)
{
	struct arena names;

	arena_init(&names, 16384, NAMES_MAX);
	struct run_score *scores = side_by_side(own, decoys, &names);
	enum err_code code = scores ? add_row("decoys", own->scores->model, scores,
					      own->count + decoys->count, rows, err)
				    : out_of_memory(err);
	free(scores);
	arena_release(&names);
	return code;
}

/* The part of the same model in the suite of decoys. */
static bool find_decoys(const struct conduct *conduct, const struct run_score *scores, size_t count,
			const struct part *own, struct part *out)
{
	unsigned decoys;

	if (!own->suite || own->suite->decoys || run_is_control(own->scores->model) ||
	    !conduct_beside_decoys(conduct, (unsigned)(own->suite - conduct->suites), &decoys))
		return false;
	for (size_t at = 0; at < count; at += out->count) {
		next_part(conduct, &scores[at], count - at, out);
		if (out->suite == &conduct->suites[decoys] &&
		    strcmp(out->scores->model, own->scores->model) == 0)
			return true;
	}
	return false;
}

static enum err_code compare_decoys(const struct conduct *conduct, const struct run_score *scores,
				    size_t count, json_t *rows, struct err *err)
{
	struct part own, decoys;

	for (size_t at = 0; at < count; at += own.count) {
		next_part(conduct, &scores[at], count - at, &own);
		if (find_decoys(conduct, scores, count, &own, &decoys))
			ERR_TRY(add_decoys(&own, &decoys, rows, err));
	}
	return ERR_OK;
}

/* ---- named against blind ---- */

static bool find_model(const struct conduct *conduct, const char *name, unsigned *out)
{
	for (*out = 0; *out < conduct->model_count; ++*out)
		if (strcmp(conduct->models[*out].name, name) == 0)
			return true;
	return false;
}

static enum err_code add_blind(const struct conduct *conduct, const struct part *part, json_t *rows,
			       struct err *err)
{
	unsigned number = (unsigned)(part->suite - conduct->suites);
	struct run_score *scores = calloc(part->count + 1, sizeof(*scores));
	size_t place, count = 0;

	/* The named ones first: they are `a`. */
	for (int blind = 0; scores && blind < 2; blind++) {
		for (size_t i = 0; i < part->count; i++) {
			const struct run_score *score = &part->scores[i];
			if (!suite_find(part->suite->suite, bytes_from(score->item), &place) ||
			    conduct_is_blind(conduct, number, place, score->sample) != blind)
				continue;
			scores[count] = *score;
			scores[count++].model = blind ? "blind" : "named";
		}
	}
	enum err_code code =
		scores ? add_row("blind", part->scores->model, scores, count, rows, err)
		       : out_of_memory(err);
	free(scores);
	return code;
}

static enum err_code compare_blind(const struct conduct *conduct, const struct run_score *scores,
				   size_t count, json_t *rows, struct err *err)
{
	struct part part;
	unsigned model;

	for (size_t at = 0; at < count; at += part.count) {
		next_part(conduct, &scores[at], count - at, &part);
		if (part.suite && part.suite->blind &&
		    find_model(conduct, part.scores->model, &model) && conduct->blind[model])
			ERR_TRY(add_blind(conduct, &part, rows, err));
	}
	return ERR_OK;
}

static bool name_left_out(const struct conduct *conduct, json_t *names)
{
	bool done = true;

	for (unsigned i = 0; i < conduct->model_count; i++)
		if (conduct->left_out[i])
			done &= json_array_append_new(names,
						      json_string(conduct->models[i].name)) == 0;
	return done;
}

/* ---- tokens ---- */

static bool add_tokens(json_t *rows, const char *model, const char *side, uint64_t answers,
		       uint64_t counted, double expected)
{
	double ratio = (double)counted / expected;
	bool off = ratio > TOKENS_OFF || ratio < 1 / TOKENS_OFF;

	if (answers < TOKENS_ANSWERS_MIN)
		return true;
	return json_array_append_new(
		       rows, json_pack("{s:s, s:s, s:I, s:I, s:o, s:o, s:b}", "model", model,
				       "side", side, "answers", (json_int_t)answers, "counted",
				       (json_int_t)counted, "estimated", json_figure(expected),
				       "ratio", json_figure(ratio), "off", (int)off)) == 0;
}

static enum err_code count_tokens(const struct conduct *conduct, json_t *rows, struct err *err)
{
	bool done = true;

	for (unsigned i = 0; i < conduct->model_count; i++) {
		const struct conduct_tokens *tokens = &conduct->tokens[i];
		const char *name = conduct->models[i].name;
		done = done &&
		       add_tokens(rows, name, "input", tokens->answers, tokens->input,
				  (double)tokens->asked / BYTES_A_TOKEN +
					  OVERHEAD_TOKENS * (double)tokens->answers) &&
		       add_tokens(rows, name, "output", tokens->outputs, tokens->output,
				  (double)tokens->answered / BYTES_A_TOKEN +
					  (double)tokens->outputs);
	}
	return done ? ERR_OK : out_of_memory(err);
}

/* ---- all of it ---- */

/* Puts `rows` into `made`, unless there are none. Takes the reference. */
static bool put(json_t *made, const char *key, json_t *rows)
{
	if (json_array_size(rows) > 0)
		return json_set(made, key, rows);
	json_decref(rows);
	return true;
}

enum err_code conduct_make(const struct conduct *conduct, const struct run_score *scores,
			   size_t count, json_t **out, struct err *err)
{
	json_t *made = json_object(), *rows = json_array(), *gaps = json_array();
	json_t *times = json_array(), *tokens = json_array(), *left = json_array();
	json_t *unblind = json_array(), *apart = json_array();
	enum err_code code = made && rows && gaps && times && tokens && left && unblind && apart
				     ? ERR_OK
				     : out_of_memory(err);

	if (code == ERR_OK)
		code = compare_twins(conduct, scores, count, rows, gaps, err);
	if (code == ERR_OK)
		code = compare_decoys(conduct, scores, count, rows, err);
	if (code == ERR_OK)
		code = compare_blind(conduct, scores, count, rows, err);
	if (code == ERR_OK &&
	    !(name_left_out(conduct, left) && conduct_name_not_blind(conduct, unblind)))
		code = out_of_memory(err);
	if (code == ERR_OK && !conduct->short_of_times)
		code = conduct_times(conduct, times, err);
	if (code == ERR_OK && !conduct_name_not_compared(conduct, times, apart))
		code = out_of_memory(err);
	if (code == ERR_OK)
		code = count_tokens(conduct, tokens, err);
	if (code == ERR_OK &&
	    !(conduct_adjust(rows) && conduct_adjust(gaps) && conduct_adjust(times)))
		code = out_of_memory(err);
	bool kept = put(made, "scores", rows);
	kept &= put(made, "gaps", gaps);
	kept &= put(made, "left_out", left);
	kept &= put(made, "not_blind", unblind);
	kept &= put(made, "not_compared", apart);
	kept &= put(made, "times", times);
	kept &= put(made, "tokens", tokens);
	if (code == ERR_OK && !kept)
		code = out_of_memory(err);
	if (code != ERR_OK || json_object_size(made) == 0) {
		json_decref(made);
		made = NULL;
	}
	*out = made;
	return code;
}
