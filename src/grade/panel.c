#include "grade/panel.h"

#include "base/json.h"

#include <math.h>
#include <stdlib.h>

static json_t *encode_two(const struct panel_ratings *panel, size_t i, size_t j)
{
	size_t lines = panel->lines;
	int *a = calloc(2 * lines + 1, sizeof(*a)), *b = a + lines;

	if (!a)
		return NULL;
	for (size_t k = 0; k < lines; k++) {
		a[k] = panel->ratings[k * panel->judge_count + i];
		b[k] = panel->ratings[k * panel->judge_count + j];
	}
	double cohen = panel->distance == AGREEMENT_NOMINAL
			       ? agreement_cohen(a, b, lines, panel->categories)
			       : NAN;
	json_t *pair = json_pack(
		"{s:s, s:s, s:o, s:o}", "a", panel->judges[i], "b", panel->judges[j], "observed",
		json_figure(agreement_observed(a, b, lines)), "cohen", json_figure(cohen));
	free(a);
	return pair;
}

json_t *panel_agreement(const struct panel_ratings *panel, const char *of)
{
	json_t *pairs = json_array();

	for (size_t i = 0; pairs && i < panel->judge_count; i++)
		for (size_t j = i + 1; j < panel->judge_count; j++)
			if (json_array_append_new(pairs, encode_two(panel, i, j)) != 0) {
				json_decref(pairs);
				return NULL;
			}
	double fleiss = panel->distance == AGREEMENT_NOMINAL
				? agreement_fleiss(panel->ratings, panel->lines, panel->judge_count,
						   panel->categories)
				: NAN;
	double alpha = agreement_alpha(panel->ratings, panel->lines, panel->judge_count,
				       panel->categories, panel->distance);
	return json_pack("{s:I, s:o, s:o, s:o}", of, (json_int_t)panel->lines, "fleiss",
			 json_figure(fleiss), "alpha", json_figure(alpha), "pairs", pairs);
}
