/* Twins: an item that asks in other words what another item asks (docs/formats/suite.md). Who
 * knows the published item by heart does worse on its twin. */
#include "suite/suite_internal.h"

#include "base/json.h"

#include <stdlib.h>

static enum err_code out_of_memory(const struct suite *suite, struct err *err)
{
	return ERR_SET(err, ERR_NO_MEMORY, "out of memory reading %s", suite->directory);
}

static enum err_code fields_of(const struct suite *suite, size_t index, json_t **out,
			       struct err *err)
{
	return json_parse(suite_item_line(suite, index), "the item", out, err);
}

/* The two share a source: where the suite names clusters they stand in one. */
static enum err_code check_cluster(const struct suite *suite, const json_t *fields, size_t original,
				   struct err *err)
{
	json_t *other;
	if (!suite->cluster_field)
		return ERR_OK;
	ERR_TRY(fields_of(suite, original, &other, err));
	bool same = json_equal(json_object_get(fields, suite->cluster_field),
			       json_object_get(other, suite->cluster_field));
	json_decref(other);
	return same ? ERR_OK
		    : ERR_SET(err, ERR_INVALID,
			      "it stands in another cluster (field \"%s\") than item %s, whose "
			      "twin it is: the two are no independent measurements",
			      suite->cluster_field, suite_id(suite, original));
}

static enum err_code take_twin(struct suite *suite, size_t index, const json_t *fields,
			       struct err *err)
{
	const char *field = suite->twins_field;
	const json_t *named = json_object_get(fields, field);
	char id[SUITE_ID_MAX + 1];
	size_t original;
	if (!named)
		return ERR_OK;
	json_t *holder = json_pack("{s:O}", "id", named);
	if (!holder)
		return out_of_memory(suite, err);
	enum err_code code = suite_item_id(holder, id, NULL);
	json_decref(holder);
	if (code != ERR_OK || !suite_find(suite, bytes_from(id), &original))
		return ERR_SET(err, ERR_INVALID,
			       "field \"%s\" must be the id of the item whose twin it is, or be "
			       "left out",
			       field);
	if (original == index)
		return ERR_SET(err, ERR_INVALID, "field \"%s\" names the item itself", field);
	if (suite->twins[original].twin)
		return ERR_SET(err, ERR_INVALID, "item %s has a twin already, item %s", id,
			       suite_id(suite, suite->twins[original].twin - 1));
	ERR_TRY(check_cluster(suite, fields, original, err));
	suite->twins[index].original = (uint32_t)original + 1;
	suite->twins[original].twin = (uint32_t)index + 1;
	suite->twin_count++;
	return ERR_OK;
}

static enum err_code read_twin(struct suite *suite, size_t index, struct err *err)
{
	json_t *fields;
	ERR_TRY(fields_of(suite, index, &fields, err));
	enum err_code code = take_twin(suite, index, fields, err);
	json_decref(fields);
	return code;
}

static enum err_code blame(const struct suite *suite, size_t index, struct err *err)
{
	err_prefix(err, "item %s", suite_id(suite, index));
	return suite_item_prefix(suite, index, err);
}

/* Pairs, no chains: an item is an original or a twin. */
static enum err_code check_chains(const struct suite *suite, struct err *err)
{
	for (size_t i = 0; i < suite->count; i++) {
		if (!suite->twins[i].original || !suite->twins[i].twin)
			continue;
		ERR_SET(err, ERR_INVALID,
			"it is the twin of item %s and has a twin, item %s: name the first one in "
			"both, or leave one out",
			suite_id(suite, suite->twins[i].original - 1),
			suite_id(suite, suite->twins[i].twin - 1));
		return blame(suite, i, err);
	}
	return ERR_OK;
}

enum err_code suite_read_twins(struct suite *suite, struct err *err)
{
	const json_t *root = yaml_root(suite->yaml);
	if (!suite->twins_field)
		return ERR_OK;
	if (strcmp(suite_scorer_kind(suite), "pairwise") == 0)
		return yaml_fail(suite->yaml, root, "twins", err, ERR_INVALID,
				 "need a scorer of single answers; pairwise compares two");
	suite->twins = calloc(suite->count, sizeof(*suite->twins));
	if (!suite->twins)
		return out_of_memory(suite, err);
	for (size_t i = 0; i < suite->count; i++)
		if (read_twin(suite, i, err) != ERR_OK)
			return blame(suite, i, err);
	ERR_TRY(check_chains(suite, err));
	return suite->twin_count ? ERR_OK
				 : yaml_fail(suite->yaml, root, "twins", err, ERR_INVALID,
					     "no item has the field \"%s\"", suite->twins_field);
}

size_t suite_twin_count(const struct suite *suite)
{
	return suite->twin_count;
}

bool suite_original(const struct suite *suite, size_t twin, size_t *original)
{
	uint32_t place = suite->twins ? suite->twins[twin].original : 0;
	*original = place ? place - 1 : 0;
	return place != 0;
}

bool suite_twin(const struct suite *suite, size_t original, size_t *twin)
{
	uint32_t place = suite->twins ? suite->twins[original].twin : 0;
	*twin = place ? place - 1 : 0;
	return place != 0;
}
