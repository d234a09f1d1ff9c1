/* Comparisons as they are published, and whether what was published is what was computed. */
#include "grade/compare.h"

#include "base/json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TOLERANCE 1e-9
#define DEPTH_MAX 16

const char *compare_way_name(enum compare_way way)
{
	static const char *const names[] = {"direct", "paired", "unpaired"};

	return names[way];
}

static json_t *count_of(size_t count)
{
	return json_integer((json_int_t)count);
}

static bool encode_test(json_t *object, const struct compared *compared)
{
	if (!compared->mcnemar)
		return json_set(object, "test", json_string("t"));
	return json_set(object, "test", json_string("mcnemar")) &&
	       json_set(object, "only_a", count_of(compared->only_a)) &&
	       json_set(object, "only_b", count_of(compared->only_b));
}

static bool encode_numbers(json_t *object, const struct compared *compared)
{
	return json_set(object, "value_a", json_figure(compared->value_a)) &&
	       json_set(object, "value_b", json_figure(compared->value_b)) &&
	       json_set(object, "difference", json_figure(compared->difference)) &&
	       json_set(object, "low", json_figure(compared->interval.low)) &&
	       json_set(object, "high", json_figure(compared->interval.high)) &&
	       json_set(object, "p", json_figure(compared->p)) &&
	       json_set(object, "p_holm", json_figure(compared->adjusted)) &&
	       json_set(object, "detectable", json_figure(compared->detectable)) &&
	       json_set(object, "correlation", json_figure(compared->correlation));
}

static bool encode_counts(json_t *object, const struct compared *compared)
{
	bool failed = compared->failed_a + compared->failed_b > 0;

	return json_set(object, "items", count_of(compared->items)) &&
	       json_set(object, "items_a", count_of(compared->items_a)) &&
	       json_set(object, "items_b", count_of(compared->items_b)) &&
	       json_set(object, "clusters", count_of(compared->clusters)) &&
	       json_set(object, "failed_a", count_of(compared->failed_a)) &&
	       json_set(object, "failed_b", count_of(compared->failed_b)) &&
	       (!failed || (json_set(object, "if_b_passed", json_figure(compared->bounds.low)) &&
			    json_set(object, "if_a_passed", json_figure(compared->bounds.high))));
}

static json_t *encode(const struct compared *compared)
{
	json_t *object = json_object();

	if (json_set(object, "suite", json_string(compared->suite)) &&
	    json_set(object, "metric", json_string(compared->metric)) &&
	    json_set(object, "a", json_string(compared->a)) &&
	    json_set(object, "b", json_string(compared->b)) &&
	    json_set(object, "how", json_string(compare_way_name(compared->way))) &&
	    encode_counts(object, compared) && encode_numbers(object, compared) &&
	    encode_test(object, compared))
		return object;
	json_decref(object);
	return NULL;
}

json_t *comparisons_encode(const struct comparisons *comparisons)
{
	json_t *list = json_array();

	for (size_t i = 0; list && i < comparisons->count; i++) {
		if (json_array_append_new(list, encode(&comparisons->items[i])) != 0) {
			json_decref(list);
			return NULL;
		}
	}
	return list;
}

json_t *comparisons_ranks(const struct comparisons *comparisons)
{
	json_t *list = json_array();

	for (size_t i = 0; list && i < comparisons->rank_count; i++) {
		const struct ranked_model *ranked = &comparisons->ranks[i];
		json_t *row =
			json_pack("{s:s, s:s, s:I, s:I, s:I}", "suite", ranked->suite, "model",
				  ranked->model, "rank", (json_int_t)ranked->rank, "low",
				  (json_int_t)ranked->low, "high", (json_int_t)ranked->high);

		if (json_array_append_new(list, row) != 0) {
			json_decref(list);
			return NULL;
		}
	}
	return list;
}

/* ---- what was published ---- */

static bool agrees(const json_t *computed, const json_t *published, char *where, size_t size,
		   size_t at, unsigned depth);

static bool members_agree(const json_t *computed, const json_t *published, char *where, size_t size,
			  size_t at, unsigned depth)
{
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)computed, key, value)
	{
		int wrote = snprintf(where + at, size - at, "%s%.60s", at ? "." : "", key);
		size_t end = at + (size_t)wrote < size ? at + (size_t)wrote : size - 1;

		if (!agrees(value, json_object_get(published, key), where, size, end, depth + 1))
			return false;
	}
	where[at] = '\0';
	return json_object_size(computed) == json_object_size(published);
}

static bool elements_agree(const json_t *computed, const json_t *published, char *where,
			   size_t size, size_t at, unsigned depth)
{
	if (json_array_size(computed) != json_array_size(published))
		return false;
	for (size_t i = 0; i < json_array_size(computed); i++) {
		int wrote = snprintf(where + at, size - at, "[%zu]", i);
		size_t end = at + (size_t)wrote < size ? at + (size_t)wrote : size - 1;

		if (!agrees(json_array_get(computed, i), json_array_get(published, i), where, size,
			    end, depth + 1))
			return false;
	}
	where[at] = '\0';
	return true;
}

static bool agrees(const json_t *computed, const json_t *published, char *where, size_t size,
		   size_t at, unsigned depth)
{
	if (!published || depth > DEPTH_MAX)
		return false;
	if (json_is_number(computed)) {
		double value = json_number_value(computed);

		return json_is_number(published) && fabs(json_number_value(published) - value) <=
							    TOLERANCE * fmax(1, fabs(value));
	}
	if (json_typeof(computed) != json_typeof(published))
		return false;
	if (json_is_object(computed))
		return members_agree(computed, published, where, size, at, depth);
	if (json_is_array(computed))
		return elements_agree(computed, published, where, size, at, depth);
	return json_equal(computed, published);
}

bool published_agrees(const json_t *computed, const json_t *published, char *where, size_t size)
{
	where[0] = '\0';
	return agrees(computed, published, where, size, 0, 0);
}
