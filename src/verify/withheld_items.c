/* Suites that are withheld: what is shown of their items, and the items that were opened. */
#include "verify/audit.h"

#include "base/encode.h"
#include "base/json.h"
#include "grade/rating.h"

#include <stdio.h>
#include <stdlib.h>

#define WORDS_MAX PUBLISHED_VALUE_MAX

const json_t *withheld_entry(const struct audit *audit, const char *suite)
{
	const json_t *entry;
	size_t i;
	json_array_foreach(json_object_get(audit->withheld.tree, "suites"), i, entry)
	{
		if (strcmp(json_text(entry, "name"), suite) == 0)
			return entry;
	}
	return NULL;
}

static enum err_code no_memory(struct err *err)
{
	return ERR_SET(err, ERR_NO_MEMORY, "out of memory for a withheld suite");
}

/* ---- an item that was opened ---- */

/* The scorer with its target, which stands beside it in the grading. */
static json_t *whole_scorer(const json_t *grading)
{
	json_t *scorer = json_copy(json_object_get(grading, "scorer"));
	json_t *target = json_object_get(grading, "target");
	if (scorer && target && json_object_set(scorer, "target", target) != 0) {
		json_decref(scorer);
		return NULL;
	}
	return scorer;
}

static enum err_code read_steps(struct suite_item *item, struct err *err)
{
	struct script_item script = {.steps = 1};
	item->kind = script_kind_of(item->words);
	if (item->kind != SCRIPT_EXACT)
		ERR_TRY(script_item_read(item->words, &script, err));
	item->steps = script.steps;
	return ERR_OK;
}

/* {grading, salt, words} */
static enum err_code fill(const json_t *parts, struct suite_item *out, struct err *err)
{
	static const char *const keys[] = {"grading", "salt", "words", "judge", NULL};
	const char *id, *cluster;
	json_t *grading, *words, *scorer;
	ERR_TRY(json_only_keys(parts, keys, "the item", err));
	ERR_TRY(json_get_container(parts, "grading", "the item", JSON_OBJECT, false, &grading,
				   err));
	ERR_TRY(json_get_container(parts, "words", "the item", JSON_OBJECT, false, &words, err));
	ERR_TRY(json_get_container(grading, "scorer", "the item", JSON_OBJECT, false, &scorer,
				   err));
	ERR_TRY(json_get_string(grading, "id", "the item", &id, err));
	ERR_TRY(json_get_string_or(grading, "cluster", "the item", NULL, &cluster, err));
	out->id = strdup(id);
	out->cluster = cluster ? strdup(cluster) : NULL;
	out->words = json_incref(words);
	out->scorer = whole_scorer(grading);
	if (!out->id || (cluster && !out->cluster) || !out->scorer)
		return no_memory(err);
	ERR_TRY(read_steps(out, err));
	ERR_TRY(json_canonical(words, &out->text, err));
	return json_canonical(grading, &out->grading, err);
}

static enum err_code read_value(const struct opening *opening, bool judge, size_t index,
				struct suite_item *out, uint8_t salt[static LEAF_SALT_SIZE],
				struct err *err)
{
	json_t *tree = NULL, *parts;
	const char *text = "";
	*out = (struct suite_item){
		.index = index, .text = BUF_INIT(WORDS_MAX), .grading = BUF_INIT(WORDS_MAX)};
	ERR_TRY(json_parse(opening->value, "the item", &tree, err));
	parts = judge ? json_object_get(tree, "judge") : tree;
	enum err_code code = json_is_object(parts)
				     ? fill(parts, out, err)
				     : ERR_SET(err, ERR_INVALID, "the opening is no item");
	if (code == ERR_OK)
		code = json_get_string(parts, "salt", "the item", &text, err);
	if (code == ERR_OK && !hex_decode(bytes_from(text), salt, LEAF_SALT_SIZE))
		code = ERR_SET(err, ERR_INVALID, "the item's salt is no salt");
	json_decref(tree);
	if (code != ERR_OK)
		suite_item_release(out);
	return code;
}

/* The opening of item `index`; *line is NULL where there is none. */
static enum err_code open_item(struct audit *audit, unsigned number, size_t index, json_t **line,
			       struct opening *out, struct err *err)
{
	const struct audit_suite *suite = &audit->suites[number];
	char label[PUBLISHED_LABEL_MAX];
	const json_t *item = json_array_get(json_object_get(suite->withheld, "items"), index);
	snprintf(label, sizeof(label), "item/%.128s/%zu", suite->name, index);
	return withheld_open(audit, json_text(item, "commitment"), label, line, out, err);
}

enum err_code withheld_item(struct audit *audit, unsigned suite, size_t item, bool judge,
			    struct suite_item *out, struct err *err)
{
	struct opening opening;
	uint8_t salt[LEAF_SALT_SIZE];
	json_t *line;
	size_t leaf = judge ? audit->suites[suite].items + item : item;
	ERR_TRY(open_item(audit, suite, item, &line, &opening, err));
	if (!line)
		return ERR_SET(err, ERR_MISMATCH, "item %zu of suite %.64s was not opened", item,
			       audit->suites[suite].name);
	enum err_code code = read_value(&opening, judge, leaf, out, salt, err);
	json_decref(line);
	return code;
}

/* ---- its leaves ---- */

static enum err_code not_in_root(size_t leaf, struct err *err)
{
	return ERR_SET(err, ERR_MISMATCH,
		       "leaf %zu as it was opened is not in the root that was committed to", leaf);
}

static enum err_code check_leaf(const struct audit_suite *suite, const struct suite_item *item,
				const uint8_t salt[static LEAF_SALT_SIZE], const json_t *proof,
				struct err *err)
{
	const json_t *leaves = json_object_get(suite->withheld, "leaves");
	size_t total = suite->judged ? 2 * suite->items : suite->items;
	struct merkle_hash hashes[MERKLE_PROOF_MAX], shown;
	uint8_t data[LEAF_DATA_SIZE];
	size_t count = json_array_size(proof);
	leaf_data(salt, buf_bytes(&item->text), buf_bytes(&item->grading), data);
	if (leaves) {
		struct merkle_hash hash = merkle_leaf(data, sizeof(data));
		const char *text = json_string_value(json_array_get(leaves, item->index));
		hex_decode(bytes_from(text), shown.bytes, SHA256_SIZE);
		return merkle_equal(&hash, &shown) ? ERR_OK : not_in_root(item->index, err);
	}
	if (count > MERKLE_PROOF_MAX)
		return not_in_root(item->index, err);
	for (size_t i = 0; i < count; i++)
		hex_decode(bytes_from(json_string_value(json_array_get(proof, i))), hashes[i].bytes,
			   SHA256_SIZE);
	return leaf_verify(data, item->index, total, hashes, count, suite->root)
		       ? ERR_OK
		       : not_in_root(item->index, err);
}

static enum err_code check_judge(const struct audit_suite *suite, const struct opening *opening,
				 size_t index, struct err *err)
{
	struct suite_item judge;
	uint8_t salt[LEAF_SALT_SIZE];
	if (!suite->judged)
		return ERR_OK;
	ERR_TRY(read_value(opening, true, suite->items + index, &judge, salt, err));
	enum err_code code = check_leaf(suite, &judge, salt, opening->judge_proof, err);
	suite_item_release(&judge);
	return code;
}

/* What is shown of an item is true of it. */
static enum err_code check_shown(const struct audit_suite *suite, const struct audit_item *facts,
				 const struct suite_item *item, struct err *err)
{
	const char *kind = json_text(item->scorer, "kind"), *shown = "";
	if (facts->expect != EXPECT_NONE)
		shown = facts->expect == EXPECT_REFUSE ? "refuse" : "answer";
	if (facts->hazard && (strcmp(json_text(item->scorer, "hazard"), facts->hazard) != 0 ||
			      rating_reference(item->scorer) != facts->reference))
		return ERR_SET(err, ERR_MISMATCH, "hazard or reference is another than is shown");
	if (strcmp(json_text(item->scorer, "expect"), shown) != 0)
		return ERR_SET(err, ERR_MISMATCH, "expect is another than is shown");
	if (strcmp(kind, suite->scorer->kind) != 0)
		return ERR_SET(err, ERR_MISMATCH, "its scorer is %.40s, not %s", kind,
			       suite->scorer->kind);
	if (item->steps != facts->steps)
		return ERR_SET(err, ERR_MISMATCH, "it asks for %u answers, not %u", item->steps,
			       facts->steps);
	if (!item->cluster != !facts->cluster)
		return ERR_SET(err, ERR_MISMATCH, "cluster is another than is shown");
	return ERR_OK;
}

/* One name for one cluster, both ways. `names` has the clusters by name behind "n", the names by
 * cluster behind "c". */
static enum err_code check_cluster(json_t *names, const struct audit_item *facts,
				   const struct suite_item *item, struct err *err)
{
	const char *const pairs[2][2] = {
		{facts->cluster, item->cluster },
                {item->cluster,  facts->cluster}
        };
	if (!item->cluster)
		return ERR_OK;
	for (size_t way = 0; way < 2; way++) {
		struct buf key = BUF_INIT(WORDS_MAX);
		buf_printf(&key, "%c%s", way ? 'c' : 'n', pairs[way][0]);
		const char *known =
			key.failed ? NULL : json_string_value(json_object_get(names, key.data));
		bool same = !known || strcmp(known, pairs[way][1]) == 0;
		bool set = known ||
			   (!key.failed &&
			    json_object_set_new(names, key.data, json_string(pairs[way][1])) == 0);
		buf_release(&key);
		if (!same)
			return ERR_SET(
				err, ERR_MISMATCH,
				"its cluster is another than that of the items shown with it");
		if (!set)
			return no_memory(err);
	}
	return ERR_OK;
}

static enum err_code take_opened(struct audit_suite *suite, const struct opening *opening,
				 size_t index, json_t *names, struct err *err)
{
	struct audit_item *facts = &suite->facts[index];
	struct suite_item item;
	uint8_t salt[LEAF_SALT_SIZE];
	ERR_TRY(read_value(opening, false, index, &item, salt, err));
	enum err_code code = check_shown(suite, facts, &item, err);
	if (code == ERR_OK)
		code = check_cluster(names, facts, &item, err);
	if (code == ERR_OK)
		code = check_leaf(suite, &item, salt, opening->proof, err);
	if (code == ERR_OK)
		code = check_judge(suite, opening, index, err);
	leaf_words_digest(buf_bytes(&item.text), facts->words);
	facts->opened = code == ERR_OK;
	suite->opened += facts->opened;
	suite_item_release(&item);
	return code;
}

/* ---- the suite ---- */

static enum err_code take_shown(struct audit *audit, struct audit_suite *suite, size_t index,
				const json_t *item, struct err *err)
{
	struct audit_item *facts = &suite->facts[index];
	const char *cluster = json_string_value(json_object_get(item, "cluster"));
	const char *expect = json_text(item, "expect");
	const json_t *steps = json_object_get(item, "steps");
	snprintf(facts->number, sizeof(facts->number), "%u", (unsigned)index);
	facts->cluster = cluster ? arena_copy(&audit->arena, bytes_from(cluster)) : NULL;
	if (*expect)
		facts->expect = *expect == 'r' ? EXPECT_REFUSE : EXPECT_ANSWER;
	facts->steps = steps ? (unsigned)json_integer_value(steps) : 1;
	const char *hazard = json_string_value(json_object_get(item, "hazard"));
	const json_t *reference = json_object_get(item, "reference");
	facts->hazard = hazard ? arena_copy(&audit->arena, bytes_from(hazard)) : NULL;
	facts->reference = reference ? json_number_value(reference) : -1;
	if (hazard && !facts->hazard)
		return no_memory(err);
	facts->known = true;
	if (facts->steps > suite->steps)
		suite->steps = facts->steps;
	return !cluster || facts->cluster ? ERR_OK : no_memory(err);
}

static enum err_code check_root(const struct audit_suite *suite, struct err *err)
{
	const json_t *leaves = json_object_get(suite->withheld, "leaves"), *leaf;
	struct merkle_range range = {0};
	size_t i;
	if (!leaves)
		return ERR_OK;
	json_array_foreach((json_t *)leaves, i, leaf)
	{
		struct merkle_hash hash;
		hex_decode(bytes_from(json_string_value(leaf)), hash.bytes, SHA256_SIZE);
		merkle_append(&range, &hash);
	}
	struct merkle_hash root = merkle_root(&range);
	if (memcmp(root.bytes, suite->root, SHA256_SIZE) == 0)
		return ERR_OK;
	return ERR_SET(err, ERR_MISMATCH,
		       PUBLISHED_FILE ": suite %.64s: its leaves give another root than the one "
				      "in " BUNDLE_PLAN,
		       suite->name);
}

static enum err_code read_head(struct audit_suite *suite, const struct plan_suite *planned,
			       unsigned samples, const json_t *entry, struct err *err)
{
	suite->name = planned->name;
	suite->version = json_text(entry, "version");
	suite->settings = json_object_get(entry, "settings");
	suite->judged = json_is_true(json_object_get(entry, "judged"));
	suite->scorer = scorer_find(json_text(entry, "scorer"));
	suite->items = json_array_size(json_object_get(entry, "items"));
	suite->samples =
		samples ? samples : (unsigned)json_integer_value(json_object_get(entry, "samples"));
	suite->steps = 1;
	suite->withheld = entry;
	memcpy(suite->root, planned->root, SHA256_SIZE);
	if (!suite->scorer || strcmp(suite->version, planned->version) != 0)
		return ERR_SET(err, ERR_MISMATCH,
			       PUBLISHED_FILE ": suite %.64s: it is another suite than the plan's",
			       suite->name);
	suite->facts = calloc(suite->items, sizeof(*suite->facts));
	return suite->facts ? ERR_OK : no_memory(err);
}

static enum err_code open_items(struct audit *audit, unsigned number, json_t *names,
				struct err *err)
{
	struct audit_suite *suite = &audit->suites[number];
	for (size_t i = 0; i < suite->items; i++) {
		struct opening opening;
		json_t *line;
		ERR_TRY(open_item(audit, number, i, &line, &opening, err));
		if (!line)
			continue;
		enum err_code code = take_opened(suite, &opening, i, names, err);
		json_decref(line);
		if (code != ERR_OK)
			return err_prefix(err, "item %zu (suite %.64s)", i, suite->name);
	}
	return ERR_OK;
}

enum err_code withheld_suite(struct audit *audit, unsigned number, const json_t *entry,
			     struct err *err)
{
	struct audit_suite *suite = &audit->suites[number];
	const json_t *item;
	size_t i;
	audit->suite_count = number + 1;
	ERR_TRY(read_head(suite, &audit->plan.suites[number], audit->plan.samples, entry, err));
	json_array_foreach(json_object_get(entry, "items"), i, item)
		ERR_TRY(take_shown(audit, suite, i, item, err));
	ERR_TRY(check_root(suite, err));
	json_t *names = json_object();
	enum err_code code = names ? open_items(audit, number, names, err) : no_memory(err);
	json_decref(names);
	return code;
}
