/* A suite that is withheld: what everybody sees of its items, and a commitment to each. */
#include "bench/publish_internal.h"

#include "grade/rating.h"

#include "base/encode.h"
#include "base/json.h"

#include <stdio.h>
#include <stdlib.h>

#define VALUE_MAX PUBLISHED_VALUE_MAX

struct leaves {
	const struct suite *suite;
	struct leaf_salter salter;
	struct leaf_tree *tree; /* owned */
};

/* {grading, salt, words}: what the leaf is made of, and no more of the suite's seed than its salt.
 */
static json_t *leaf_parts(const struct leaves *leaves, const struct suite_item *item)
{
	uint8_t salt[LEAF_SALT_SIZE];
	char hex[2 * LEAF_SALT_SIZE + 1];
	json_t *grading = NULL;
	leaf_salt(&leaves->salter, item->index, salt);
	hex_encode(salt, sizeof(salt), hex);
	if (json_parse(buf_bytes(&item->grading), "grading", &grading, NULL) != ERR_OK)
		return NULL;
	return json_pack("{s:o, s:s, s:O}", "grading", grading, "salt", hex, "words", item->words);
}

static json_t *proof_of(const struct leaves *leaves, uint64_t leaf)
{
	struct merkle_hash proof[MERKLE_PROOF_MAX];
	char hex[2 * SHA256_SIZE + 1];
	size_t count = leaf_tree_prove(leaves->tree, leaf, proof);
	json_t *list = json_array();
	for (size_t i = 0; list && i < count; i++) {
		hex_encode(proof[i].bytes, SHA256_SIZE, hex);
		json_array_append_new(list, json_string(hex));
	}
	return list;
}

static enum err_code add_judge(const struct leaves *leaves, size_t index, json_t *value,
			       json_t *extra, struct err *err)
{
	struct suite_item judge;
	if (!suite_is_judged(leaves->suite))
		return ERR_OK;
	ERR_TRY(suite_judge_render(leaves->suite, index, &judge, err));
	bool set = json_set(value, "judge", leaf_parts(leaves, &judge)) &&
		   json_set(extra, "judge_proof", proof_of(leaves, judge.index));
	suite_item_release(&judge);
	return set ? ERR_OK : publish_no_memory(err);
}

static enum err_code commit_item(struct publish *publish, const struct leaves *leaves,
				 const struct suite_item *item,
				 char commitment[static 2 * SHA256_SIZE + 1], struct err *err)
{
	char label[PUBLISHED_LABEL_MAX];
	struct buf text = BUF_INIT(VALUE_MAX);
	json_t *value = leaf_parts(leaves, item);
	json_t *extra = json_pack("{s:o}", "proof", proof_of(leaves, item->index));
	enum err_code code = value && extra ? add_judge(leaves, item->index, value, extra, err)
					    : publish_no_memory(err);
	snprintf(label, sizeof(label), "item/%s/%zu", suite_name(leaves->suite), item->index);
	if (code == ERR_OK)
		code = json_canonical(value, &text, err);
	json_decref(value);
	if (code == ERR_OK)
		code = publish_commit(publish, label, buf_bytes(&text), extra, commitment, err);
	else
		json_decref(extra);
	buf_release(&text);
	return code;
}

/* Clusters are named after the first of their items. */
static const char *cluster_name(json_t *clusters, const char *cluster, size_t index)
{
	char number[24];
	if (!cluster)
		return NULL;
	const json_t *known = json_object_get(clusters, cluster);
	if (known)
		return json_string_value(known);
	snprintf(number, sizeof(number), "%zu", index);
	json_object_set_new(clusters, cluster, json_string(number));
	return json_string_value(json_object_get(clusters, cluster));
}

/* Results are told hazard by hazard. */
static enum err_code add_hazard(const struct leaves *leaves, const struct suite_item *item,
				json_t *entry, struct err *err)
{
	double reference = rating_reference(item->scorer);
	if (strcmp(suite_scorer_kind(leaves->suite), "hazard") != 0)
		return ERR_OK;
	if (!json_set_text(entry, "hazard", rating_hazard(item->scorer)) ||
	    (reference >= 0 && !json_set(entry, "reference", json_real(reference))))
		return publish_no_memory(err);
	return ERR_OK;
}

static enum err_code add_item(struct publish *publish, const struct leaves *leaves, size_t index,
			      json_t *clusters, json_t *items, struct err *err)
{
	struct suite_item item;
	char commitment[2 * SHA256_SIZE + 1];
	ERR_TRY(suite_item_render(leaves->suite, index, &item, err));
	enum err_code code = commit_item(publish, leaves, &item, commitment, err);
	if (code == ERR_OK) {
		json_t *entry = json_pack("{s:s, s:s*, s:O*}", "commitment", commitment, "cluster",
					  cluster_name(clusters, item.cluster, index), "expect",
					  json_object_get(item.scorer, "expect"));
		if (entry)
			code = add_hazard(leaves, &item, entry, err);
		if (entry && item.steps > 1)
			json_object_set_new(entry, "steps", json_integer(item.steps));
		if (json_array_append_new(items, entry) != 0)
			code = publish_no_memory(err);
	}
	suite_item_release(&item);
	return code;
}

/* The hashes of the leaves, where nobody who guesses a prompt can test the guess on them. */
static enum err_code add_leaves(struct publish *publish, const struct leaves *leaves, json_t *entry,
				struct err *err)
{
	json_t *list;
	struct err ignored = ERR_INIT;
	if (suite_check_seed(leaves->suite, "", &ignored) != ERR_OK) {
		char *names = publish->outcome->seedless;
		size_t size = strlen(names);
		snprintf(names + size, sizeof(publish->outcome->seedless) - size, "%s%.200s",
			 size ? ", " : "", suite_name(leaves->suite));
		return ERR_OK;
	}
	list = json_array();
	for (size_t i = 0; list && i < suite_leaf_count(leaves->suite); i++) {
		struct suite_item item;
		uint8_t salt[LEAF_SALT_SIZE], data[LEAF_DATA_SIZE];
		char hex[2 * SHA256_SIZE + 1];
		if (suite_leaf_render(leaves->suite, i, &item, err) != ERR_OK) {
			json_decref(list);
			return err->code;
		}
		leaf_salt(&leaves->salter, i, salt);
		leaf_data(salt, buf_bytes(&item.text), buf_bytes(&item.grading), data);
		struct merkle_hash hash = merkle_leaf(data, sizeof(data));
		hex_encode(hash.bytes, SHA256_SIZE, hex);
		json_array_append_new(list, json_string(hex));
		suite_item_release(&item);
	}
	return json_set(entry, "leaves", list) ? ERR_OK : publish_no_memory(err);
}

static json_t *entry_of(const struct suite *suite)
{
	json_t *entry = json_pack(
		"{s:s, s:s, s:s, s:s, s:s, s:i, s:O}", "name", suite_name(suite), "version",
		suite_version(suite), "kind", suite_kind_name(suite_kind(suite)), "licence",
		suite_licence(suite), "scorer", suite_scorer_kind(suite), "samples",
		suite_samples(suite), "settings", suite_settings(suite));
	if (entry && suite_is_judged(suite))
		json_object_set_new(entry, "judged", json_true());
	return entry;
}

static enum err_code add_suite(struct publish *publish, const struct leaves *leaves, json_t *entry,
			       struct err *err)
{
	json_t *items = json_array(), *clusters = json_object();
	enum err_code code = items && clusters ? ERR_OK : publish_no_memory(err);
	for (size_t i = 0; code == ERR_OK && i < suite_count(leaves->suite); i++) {
		code = add_item(publish, leaves, i, clusters, items, err);
		publish->outcome->items += code == ERR_OK;
	}
	json_decref(clusters);
	if (code == ERR_OK && json_object_set(entry, "items", items) != 0)
		code = publish_no_memory(err);
	json_decref(items);
	return code == ERR_OK ? add_leaves(publish, leaves, entry, err) : code;
}

enum err_code publish_withhold(struct publish *publish, const struct publish_suite *suite,
			       struct err *err)
{
	struct leaves leaves = {.suite = suite->suite};
	leaf_salter_init(&leaves.salter, suite_seed(suite->suite));
	ERR_TRY(suite_leaves(suite->suite, &leaves.tree, err));
	json_t *entry = entry_of(suite->suite);
	enum err_code code =
		entry ? add_suite(publish, &leaves, entry, err) : publish_no_memory(err);
	leaf_tree_free(leaves.tree);
	if (code == ERR_OK &&
	    json_array_append(json_object_get(publish->withheld, "suites"), entry) != 0)
		code = publish_no_memory(err);
	json_decref(entry);
	return code;
}
