#include "grade/findings.h"

#include "base/encode.h"
#include "base/json.h"
#include "grade/compare.h"
#include "grade/judging.h"
#include "grade/rating_findings.h"

static enum err_code out_of_memory(struct err *err)
{
	return ERR_SET(err, ERR_NO_MEMORY, "out of memory for the findings");
}

static enum err_code add_comparisons(const struct run_score *scores, size_t count, json_t *found,
				     struct err *err)
{
	struct comparisons comparisons;

	ERR_TRY(compare_scores(scores, count, &comparisons, err));
	bool made = json_set(found, "comparisons", comparisons_encode(&comparisons)) &&
		    json_set(found, "ranks", comparisons_ranks(&comparisons));
	comparisons_release(&comparisons);
	return made ? ERR_OK : out_of_memory(err);
}

static enum err_code add_judging(const struct run_score *scores, size_t count, json_t *found,
				 struct err *err)
{
	struct rating_findings ratings = {.hazards = json_array()};
	enum err_code code = ratings.hazards ? judging_encode(scores, count, &ratings.judging, err)
					     : out_of_memory(err);

	if (code == ERR_OK)
		code = rating_findings_make(scores, count, &ratings, err);
	if (code == ERR_OK && json_array_size(ratings.judging) > 0 &&
	    json_object_set(found, "judging", ratings.judging) != 0)
		code = out_of_memory(err);
	if (code == ERR_OK && json_array_size(ratings.hazards) > 0 &&
	    json_object_set(found, "hazards", ratings.hazards) != 0)
		code = out_of_memory(err);
	json_decref(ratings.judging);
	json_decref(ratings.hazards);
	return code;
}

enum err_code findings_make(const struct run_score *scores, size_t count, json_t **out,
			    struct err *err)
{
	json_t *found = json_object();
	enum err_code code =
		found ? add_comparisons(scores, count, found, err) : out_of_memory(err);

	if (code == ERR_OK)
		code = add_judging(scores, count, found, err);
	if (code != ERR_OK) {
		json_decref(found);
		found = NULL;
	}
	*out = found;
	return code;
}

void findings_own_prompt(json_t *found, const char *suite, const uint8_t root[static SHA256_SIZE])
{
	char hex[2 * SHA256_SIZE + 1];
	json_t *row;
	size_t i;

	hex_encode(root, SHA256_SIZE, hex);
	json_array_foreach(json_object_get(found, "judging"), i, row)
	{
		json_t *prompt = json_object_get(row, "prompt");

		if (strcmp(json_text(row, "suite"), suite) != 0)
			continue;
		json_set(prompt, "version", json_string("suite"));
		json_set(prompt, "sha256", json_string(hex));
	}
}

enum err_code findings_compare(const json_t *found, const json_t *summary, struct err *err)
{
	const char *key;
	json_t *value;
	char where[200];

	json_object_foreach((json_t *)found, key, value)
	{
		const json_t *published = json_object_get(summary, key);

		if (published && !published_agrees(value, published, where, sizeof(where)))
			return ERR_SET(err, ERR_MISMATCH, "%s%s%s is not what the scores give", key,
				       *where && *where != '[' ? "." : "", where);
	}
	return ERR_OK;
}
