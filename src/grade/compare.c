#include "grade/compare.h"

#include "base/json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONFIDENCE 0.95
#define POWER 0.8

/* A score as one model sees it: a comparison of two answers gives two. */
struct row {
	const char *item, *cluster;
	double value;
	uint32_t suite, model, opponent; /* by first appearance; UINT32_MAX: none */
	bool failed;
};

/* One item of one side: its samples. */
struct unit {
	const char *item, *cluster;
	double sum, squares;
	size_t samples, failed;
};

struct side {
	struct unit *units; /* owned */
	size_t count;
};

struct names {
	const char *texts[COMPARE_MODELS_MAX];
	uint32_t count, last;
};

struct work {
	struct names suites, models;
	const char **metrics; /* of the suites */
	struct row *rows;
	size_t count, capacity; /* capacity: of out->items */
	struct comparisons *out;
	struct err *err;
};

static enum err_code out_of_memory(struct err *err)
{
	return ERR_SET(err, ERR_NO_MEMORY, "out of memory for the comparisons");
}

/* ---- rows ---- */

static bool names_add(struct names *names, const char *text, uint32_t *index)
{
	if (names->count && strcmp(names->texts[names->last], text) == 0) {
		*index = names->last;
		return true;
	}
	for (uint32_t i = 0; i < names->count; i++) {
		if (strcmp(names->texts[i], text) == 0) {
			*index = names->last = i;
			return true;
		}
	}
	if (names->count == COMPARE_MODELS_MAX)
		return false;
	names->texts[names->count] = text;
	*index = names->last = names->count++;
	return true;
}

static int compare_texts(const char *a, const char *b)
{
	if (!a || !b)
		return (a != NULL) - (b != NULL);
	return strcmp(a, b);
}

static int compare_rows(const void *left, const void *right)
{
	const struct row *a = left, *b = right;

	if (a->suite != b->suite)
		return a->suite < b->suite ? -1 : 1;
	if (a->model != b->model)
		return a->model < b->model ? -1 : 1;
	int order = strcmp(a->item, b->item);
	if (order)
		return order;
	/* Sums are compensated nowhere below: a fixed order keeps them the same everywhere. */
	if (a->opponent != b->opponent)
		return a->opponent < b->opponent ? -1 : 1;
	return (a->value > b->value) - (a->value < b->value);
}

static const char *metric_of(const struct run_score *score)
{
	static const struct {
		const char *scorer, *metric;
	} metrics[] = {
		{"code",         "pass@1"      },
                {"pairwise",     "win_rate"    },
		{"rubric",       "rubric_score"},
                {"strongreject", "strongreject"},
		{"hazard",       "safe_rate"   },
	};

	for (size_t i = 0; i < sizeof(metrics) / sizeof(metrics[0]); i++)
		if (strcmp(score->scorer, metrics[i].scorer) == 0)
			return metrics[i].metric;
	return "accuracy";
}

/* Of harm, less is better. */
static bool is_better_low(const char *metric)
{
	return strcmp(metric, "strongreject") == 0;
}

static bool is_control(const struct run_score *score)
{
	return run_is_control(score->model) || (score->opponent && run_is_control(score->opponent));
}

static enum err_code rows_make(struct work *work, const struct run_score *scores, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const struct run_score *score = &scores[i];
		struct row row = {.item = score->item,
				  .cluster = score->cluster,
				  .value = score->failed ? 0 : score->score,
				  .opponent = UINT32_MAX,
				  .failed = score->failed};

		if (is_control(score))
			continue;
		bool known = names_add(&work->suites, score->suite, &row.suite) &&
			     names_add(&work->models, score->model, &row.model);
		if (known && score->opponent)
			known = names_add(&work->models, score->opponent, &row.opponent);
		if (!known)
			return ERR_SET(work->err, ERR_TOO_LARGE,
				       "more than %u models or suites cannot be compared",
				       COMPARE_MODELS_MAX);
		work->metrics[row.suite] = metric_of(score);
		work->rows[work->count++] = row;
		if (!score->opponent)
			continue;
		uint32_t model = row.model;
		row.model = row.opponent;
		row.opponent = model;
		row.value = score->failed ? 0 : 1 - score->score;
		work->rows[work->count++] = row;
	}
	if (work->count)
		qsort(work->rows, work->count, sizeof(*work->rows), compare_rows);
	return ERR_OK;
}

/* ---- sides ---- */

static bool keep_all(const bool *opponents, const struct row *row)
{
	return !opponents || row->opponent == UINT32_MAX || opponents[row->opponent];
}

/* The units of one model in one suite, by item; against some opponents only if `opponents`. */
static bool side_make(const struct row *rows, size_t count, const bool *opponents,
		      struct side *side)
{
	*side = (struct side){.units = calloc(count ? count : 1, sizeof(*side->units))};
	for (size_t i = 0; side->units && i < count; i++) {
		if (!keep_all(opponents, &rows[i]))
			continue;
		struct unit *unit = side->count ? &side->units[side->count - 1] : NULL;
		if (!unit || strcmp(unit->item, rows[i].item) != 0) {
			unit = &side->units[side->count++];
			*unit = (struct unit){.item = rows[i].item, .cluster = rows[i].cluster};
		}
		unit->sum += rows[i].value;
		unit->squares += rows[i].value * rows[i].value;
		unit->samples++;
		unit->failed += rows[i].failed;
	}
	return side->units != NULL;
}

static double unit_value(const struct unit *unit)
{
	return unit->sum / (double)unit->samples;
}

/* The mean variance of an item's samples, 0 where items have one. */
static double within(const struct side *side)
{
	double sum = 0;
	size_t items = 0;

	for (size_t i = 0; i < side->count; i++) {
		const struct unit *unit = &side->units[i];
		double n = (double)unit->samples;

		if (unit->samples < 2)
			continue;
		sum += fmax(0, unit->squares - unit->sum * unit->sum / n) / (n - 1);
		items++;
	}
	return items ? sum / (double)items : 0;
}

/* Keeps in both sides the items that both have. */
static size_t match(struct side *a, struct side *b)
{
	size_t i = 0, j = 0, kept = 0;

	while (i < a->count && j < b->count) {
		int order = strcmp(a->units[i].item, b->units[j].item);

		if (order == 0) {
			a->units[kept] = a->units[i++];
			b->units[kept++] = b->units[j++];
		} else if (order < 0) {
			i++;
		} else {
			j++;
		}
	}
	a->count = b->count = kept;
	return kept;
}

static size_t count_matching(const struct side *a, const struct side *b)
{
	size_t i = 0, j = 0, matching = 0;

	while (i < a->count && j < b->count) {
		int order = strcmp(a->units[i].item, b->units[j].item);

		matching += order == 0;
		i += order <= 0;
		j += order >= 0;
	}
	return matching;
}

/* ---- columns of numbers ---- */

struct columns {
	double *a, *b;
	size_t *cluster; /* NULL: every item for itself */
	size_t count;
	struct by_cluster *order;
};

struct by_cluster {
	const char *cluster;
	size_t index;
};

static int compare_by_cluster(const void *left, const void *right)
{
	const struct by_cluster *a = left, *b = right;
	int order = compare_texts(a->cluster, b->cluster);

	return order ? order : (a->index > b->index) - (a->index < b->index);
}

/* Dense numbers; items without a cluster are clusters of their own. */
static void number_clusters(struct columns *columns, const struct side *side)
{
	bool any = false;
	size_t number = 0;

	for (size_t i = 0; i < side->count; i++) {
		columns->order[i] = (struct by_cluster){side->units[i].cluster, i};
		any |= side->units[i].cluster != NULL;
	}
	if (!any) {
		free(columns->cluster);
		columns->cluster = NULL;
		return;
	}
	qsort(columns->order, side->count, sizeof(*columns->order), compare_by_cluster);
	for (size_t i = 0; i < side->count; i++) {
		const struct by_cluster *at = &columns->order[i];

		if (i && (!at->cluster || compare_texts(at[-1].cluster, at->cluster) != 0))
			number++;
		columns->cluster[at->index] = number;
	}
}

static void columns_release(struct columns *columns)
{
	free(columns->a);
	free(columns->b);
	free(columns->cluster);
	free(columns->order);
}

/* `b` may be another side (its items in the same order) or NULL. */
static bool columns_make(struct columns *columns, const struct side *a, const struct side *b)
{
	size_t room = a->count ? a->count : 1;

	*columns = (struct columns){.a = calloc(room, sizeof(double)),
				    .b = calloc(room, sizeof(double)),
				    .cluster = calloc(room, sizeof(size_t)),
				    .order = calloc(room, sizeof(*columns->order)),
				    .count = a->count};
	if (!columns->a || !columns->b || !columns->cluster || !columns->order) {
		columns_release(columns);
		return false;
	}
	for (size_t i = 0; i < a->count; i++) {
		columns->a[i] = unit_value(&a->units[i]);
		columns->b[i] = b ? unit_value(&b->units[i]) : 0;
	}
	number_clusters(columns, a);
	return true;
}

static bool is_binary(const double *values, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (values[i] != 0 && values[i] != 1)
			return false;
	return true;
}

/* ---- one comparison ---- */

/* What an error of zero leaves open: nobody differed in C clusters. */
static double silent_half(size_t clusters)
{
	return statistics_wilson(0, clusters ? (double)clusters : 1, CONFIDENCE).high;
}

static double detectable_from(double error)
{
	struct power power = {.alpha = 1 - CONFIDENCE,
			      .power = POWER,
			      .omega2 = 1,
			      .samples_a = 1,
			      .samples_b = 1};

	return error * statistics_detectable_difference(&power, 1);
}

/* Interval, p by t, and detectable difference from an estimate of the difference. */
static void conclude(struct compared *compared, const struct estimate *estimate)
{
	double error = estimate->standard_error;
	bool known = error > 1e-12 && estimate->freedom > 0;
	double half = known ? statistics_t_quantile((1 + CONFIDENCE) / 2, estimate->freedom) * error
			    : silent_half(estimate->clusters);

	compared->clusters = estimate->clusters;
	compared->difference = estimate->mean;
	compared->interval =
		(struct interval){fmax(-1, estimate->mean - half), fmin(1, estimate->mean + half)};
	if (known)
		compared->p =
			2 * statistics_t_cdf(-fabs(estimate->mean / error), estimate->freedom);
	else
		compared->p = estimate->mean == 0 || estimate->clusters < 2
				      ? 1
				      : ldexp(1, -(int)fmin(1000, (double)estimate->clusters - 1));
	compared->detectable =
		detectable_from(known ? error : half / statistics_normal_quantile(0.975));
}

static void count_discordant(struct compared *compared, const struct columns *columns)
{
	compared->mcnemar = !columns->cluster && is_binary(columns->a, columns->count) &&
			    is_binary(columns->b, columns->count);
	for (size_t i = 0; compared->mcnemar && i < columns->count; i++) {
		compared->only_a += columns->a[i] > columns->b[i];
		compared->only_b += columns->b[i] > columns->a[i];
	}
	if (!compared->mcnemar)
		return;
	compared->p = statistics_mcnemar(compared->only_a, compared->only_b);
	compared->interval =
		statistics_tango(compared->only_a, compared->only_b, columns->count, CONFIDENCE);
}

static void count_side(const struct side *side, size_t *samples, size_t *failed)
{
	for (size_t i = 0; i < side->count; i++) {
		*samples += side->units[i].samples;
		*failed += side->units[i].failed;
	}
}

/* How much more an item-mean would be had the failures passed (each item weighs the same). */
static double failed_share(const struct side *side)
{
	double sum = 0;

	for (size_t i = 0; i < side->count; i++)
		sum += (double)side->units[i].failed / (double)side->units[i].samples;
	return side->count ? sum / (double)side->count : 0;
}

static void describe_sides(struct compared *compared, const struct side *a, const struct side *b)
{
	count_side(a, &compared->samples_a, &compared->failed_a);
	count_side(b, &compared->samples_b, &compared->failed_b);
	compared->bounds = (struct interval){compared->difference - failed_share(b),
					     compared->difference + failed_share(a)};
	compared->within_a = within(a);
	compared->within_b = within(b);
}

static bool compare_paired(struct compared *compared, const struct side *a, const struct side *b)
{
	struct columns columns;
	struct paired paired;

	if (!columns_make(&columns, a, b))
		return false;
	bool done =
		statistics_paired(columns.a, columns.b, columns.cluster, columns.count, &paired);
	if (done) {
		compared->value_a = statistics_mean(columns.a, columns.count);
		compared->value_b = statistics_mean(columns.b, columns.count);
		compared->correlation = paired.correlation;
		conclude(compared, &paired.difference);
		double error = paired.difference.standard_error;
		compared->variance = isnan(error) ? 0 : error * error * (double)columns.count;
		count_discordant(compared, &columns);
	}
	columns_release(&columns);
	return done;
}

static bool estimate_side(const struct side *side, struct estimate *out)
{
	struct columns columns;

	if (!columns_make(&columns, side, NULL))
		return false;
	bool done = statistics_clustered(columns.a, columns.cluster, columns.count, out);
	columns_release(&columns);
	return done;
}

static bool compare_unpaired(struct compared *compared, const struct side *a, const struct side *b)
{
	struct estimate left, right;

	if (!estimate_side(a, &left) || !estimate_side(b, &right))
		return false;
	double va = isnan(left.standard_error) ? 0 : left.standard_error * left.standard_error;
	double vb = isnan(right.standard_error) ? 0 : right.standard_error * right.standard_error;
	double below = (left.freedom > 0 ? va * va / left.freedom : 0) +
		       (right.freedom > 0 ? vb * vb / right.freedom : 0);
	struct estimate difference = {.n = left.n + right.n,
				      .clusters = left.clusters < right.clusters ? left.clusters
										 : right.clusters,
				      .mean = left.mean - right.mean,
				      .standard_error = sqrt(va + vb),
				      .freedom = below > 0 ? (va + vb) * (va + vb) / below : 0};
	compared->value_a = left.mean;
	compared->value_b = right.mean;
	compared->correlation = NAN;
	compared->variance = va * (double)left.n + vb * (double)right.n;
	conclude(compared, &difference);
	return true;
}

/* ---- all of them ---- */

static struct compared *add_compared(struct work *work)
{
	struct comparisons *out = work->out;

	if (out->count == work->capacity) {
		size_t capacity = work->capacity ? 2 * work->capacity : 16;
		struct compared *items = reallocarray(out->items, capacity, sizeof(*out->items));

		if (!items)
			return NULL;
		out->items = items;
		work->capacity = capacity;
	}
	struct compared *compared = &out->items[out->count++];
	*compared = (struct compared){.correlation = NAN};
	return compared;
}

/* The rows of one model. */
struct span {
	const struct row *rows;
	size_t count;
	uint32_t model;
};

/* Whom the two may be compared over: each other if they met, else the opponents of both. NULL in
 * suites without opponents. */
static bool *common_opponents(const struct work *work, const struct span *a, const struct span *b,
			      bool *direct)
{
	bool *met = calloc(3 * (size_t)work->models.count + 1, sizeof(*met));
	bool *by_a = met + work->models.count, *by_b = by_a + work->models.count;

	*direct = false;
	if (!met)
		return NULL;
	for (size_t i = 0; i < a->count; i++) {
		*direct |= a->rows[i].opponent == b->model;
		if (a->rows[i].opponent != UINT32_MAX)
			by_a[a->rows[i].opponent] = true;
	}
	for (size_t i = 0; i < b->count; i++)
		if (b->rows[i].opponent != UINT32_MAX)
			by_b[b->rows[i].opponent] = true;
	for (uint32_t i = 0; i < work->models.count; i++)
		met[i] = !*direct && by_a[i] && by_b[i];
	return met;
}

static bool compare_spans(struct compared *compared, const struct span *a, const struct span *b,
			  bool *opponents, bool direct)
{
	struct side left, right;
	bool done = false;

	if (direct)
		opponents[b->model] = true;
	bool made = side_make(a->rows, a->count, opponents, &left);
	if (direct) {
		opponents[b->model] = false;
		opponents[a->model] = true;
	}
	made &= side_make(b->rows, b->count, opponents, &right);
	if (made) {
		size_t matching = count_matching(&left, &right);
		size_t fewer = left.count < right.count ? left.count : right.count;

		compared->items_a = left.count;
		compared->items_b = right.count;
		if (matching >= 2 && 2 * matching >= fewer) {
			compared->way = direct ? COMPARE_DIRECT : COMPARE_PAIRED;
			compared->items = match(&left, &right);
			done = compare_paired(compared, &left, &right);
		} else {
			compared->way = COMPARE_UNPAIRED;
			done = compare_unpaired(compared, &left, &right);
		}
		describe_sides(compared, &left, &right);
	}
	free(left.units);
	free(right.units);
	return done;
}

static enum err_code compare_two(struct work *work, const struct span *a, const struct span *b)
{
	bool direct;
	uint32_t suite = a->rows->suite;
	bool *opponents = common_opponents(work, a, b, &direct);
	struct compared *compared = opponents ? add_compared(work) : NULL;

	if (compared) {
		compared->suite = work->suites.texts[suite];
		compared->metric = work->metrics[suite];
		compared->a = work->models.texts[a->model];
		compared->b = work->models.texts[b->model];
	}
	bool done = compared && compare_spans(compared, a, b, opponents, direct);
	free(opponents);
	if (!done)
		return out_of_memory(work->err);
	/* Opponents of two that never met anybody in common give nothing to compare. */
	if (compared->items_a == 0 || compared->items_b == 0)
		work->out->count--;
	return ERR_OK;
}

static enum err_code compare_suite(struct work *work, const struct row *rows, size_t count)
{
	struct span *spans = calloc(work->models.count, sizeof(*spans));
	size_t models = 0;
	enum err_code code = ERR_OK;

	if (!spans)
		return out_of_memory(work->err);
	for (size_t start = 0, end; start < count; start = end) {
		for (end = start; end < count && rows[end].model == rows[start].model; end++)
			;
		spans[models++] = (struct span){&rows[start], end - start, rows[start].model};
	}
	for (size_t i = 0; code == ERR_OK && i < models; i++)
		for (size_t j = i + 1; code == ERR_OK && j < models; j++)
			code = work->out->count < COMPARE_MAX
				       ? compare_two(work, &spans[i], &spans[j])
				       : ERR_SET(work->err, ERR_TOO_LARGE,
						 "more than %u pairs of models", COMPARE_MAX);
	free(spans);
	return code;
}

static enum err_code adjust(struct work *work)
{
	struct comparisons *out = work->out;
	double *p = calloc(out->count ? out->count : 1, sizeof(*p));

	if (!p)
		return out_of_memory(work->err);
	for (size_t i = 0; i < out->count; i++)
		p[i] = out->items[i].p;
	bool done = statistics_holm(p, out->count);
	for (size_t i = 0; i < out->count; i++)
		out->items[i].adjusted = p[i];
	free(p);
	return done ? ERR_OK : out_of_memory(work->err);
}

/* ---- ranks ---- */

static struct ranked_model *rank_of(struct ranked_model *ranks, size_t *count, const char *suite,
				    const char *model, double value)
{
	for (size_t i = 0; i < *count; i++)
		if (strcmp(ranks[i].model, model) == 0)
			return &ranks[i];
	ranks[*count] = (struct ranked_model){
		.suite = suite, .model = model, .value = value, .rank = 1, .low = 1};
	return &ranks[(*count)++];
}

/* From all pairs of one suite: who is above whom, and above whom for certain. */
static size_t rank_suite(const struct compared *items, size_t count, struct ranked_model *ranks)
{
	size_t models = 0;

	for (size_t i = 0; i < count; i++) {
		const struct compared *pair = &items[i];
		struct ranked_model *a =
			rank_of(ranks, &models, pair->suite, pair->a, pair->value_a);
		struct ranked_model *b =
			rank_of(ranks, &models, pair->suite, pair->b, pair->value_b);
		bool more = (pair->difference > 0) != is_better_low(pair->metric);
		struct ranked_model *better = more ? a : b;
		struct ranked_model *worse = better == a ? b : a;

		if (pair->difference == 0)
			continue;
		worse->rank++;
		if (pair->adjusted < 1 - CONFIDENCE) {
			worse->low++;
			better->high++;
		}
	}
	for (size_t i = 0; i < models; i++)
		ranks[i].high = models - ranks[i].high;
	return models;
}

static enum err_code rank(struct work *work)
{
	struct comparisons *out = work->out;

	out->ranks = calloc(out->count + 1, sizeof(*out->ranks));
	if (!out->ranks)
		return out_of_memory(work->err);
	for (size_t start = 0, end; start < out->count; start = end) {
		for (end = start; end < out->count &&
				  strcmp(out->items[end].suite, out->items[start].suite) == 0;
		     end++)
			;
		/* Two models make one pair, three make three. */
		if (end - start >= 3)
			out->rank_count += rank_suite(&out->items[start], end - start,
						      &out->ranks[out->rank_count]);
	}
	return ERR_OK;
}

static enum err_code work_run(struct work *work, const struct run_score *scores, size_t count)
{
	work->rows = malloc((2 * count + 1) * sizeof(*work->rows));
	work->metrics = calloc(COMPARE_MODELS_MAX, sizeof(*work->metrics));
	if (!work->rows || !work->metrics)
		return out_of_memory(work->err);
	ERR_TRY(rows_make(work, scores, count));
	for (size_t start = 0, end; start < work->count; start = end) {
		for (end = start;
		     end < work->count && work->rows[end].suite == work->rows[start].suite; end++)
			;
		ERR_TRY(compare_suite(work, &work->rows[start], end - start));
	}
	ERR_TRY(adjust(work));
	return rank(work);
}

enum err_code compare_scores(const struct run_score *scores, size_t count, struct comparisons *out,
			     struct err *err)
{
	struct work *work = calloc(1, sizeof(*work));

	*out = (struct comparisons){0};
	if (!work)
		return out_of_memory(err);
	work->out = out;
	work->err = err;
	enum err_code code = work_run(work, scores, count);
	free(work->rows);
	free(work->metrics);
	free(work);
	if (code != ERR_OK)
		comparisons_release(out);
	return code;
}

void comparisons_release(struct comparisons *comparisons)
{
	free(comparisons->items);
	free(comparisons->ranks);
	*comparisons = (struct comparisons){0};
}
