#include "grade/suite_check.h"

#include "base/json.h"
#include "grade/code.h"
#include "grade/scorer.h"

#define ITEMS_FILE "items.jsonl"
#define WRONG_MIN 3 /* bad answers that an item brings, where it brings any */

struct trial {
	const struct suite_item *item;
	struct suite_findings *findings;
	struct sandbox_warm *warm; /* NULL: programs start one by one */
};

static enum err_code try_answer(const struct trial *trial, const char *answer, struct score *score,
				struct err *err)
{
	*score = (struct score){0};
	enum err_code code =
		scorer_grade_warm(trial->warm, trial->item->scorer, bytes_from(answer), score, err);
	if (code != ERR_OK)
		err_prefix(err, ITEMS_FILE ":%zu: item %s", trial->item->index + 1,
			   trial->item->id);
	return code;
}

static enum err_code try_reference(const struct trial *trial, struct err *err)
{
	struct score score;
	ERR_TRY(try_answer(trial, json_text(trial->item->fields, "reference"), &score, err));
	if (score.value < 1)
		suite_found(trial->findings, SUITE_CHECK_REFERENCE, ITEMS_FILE,
			    trial->item->index + 1, "item %s: the reference is scored %g: %s",
			    trial->item->id, score.value, score.explanation);
	return ERR_OK;
}

static enum err_code try_wrong(const struct trial *trial, struct err *err)
{
	const json_t *wrong = json_object_get(trial->item->fields, "wrong");
	const struct suite_item *item = trial->item;
	for (size_t i = 0; i < json_array_size(wrong); i++) {
		struct score score;
		const char *answer = json_string_value(json_array_get(wrong, i));
		if (!answer)
			continue;
		ERR_TRY(try_answer(trial, answer, &score, err));
		if (score.value >= 1)
			suite_found(trial->findings, SUITE_CHECK_WRONG, ITEMS_FILE, item->index + 1,
				    "item %s: wrong answer %zu passes: %s", item->id, i + 1,
				    score.explanation);
	}
	if (wrong && json_array_size(wrong) < WRONG_MIN)
		suite_found(trial->findings, SUITE_CHECK_WRONG, ITEMS_FILE, item->index + 1,
			    "item %s: only %zu wrong answers: a test that fails none of %d says "
			    "little",
			    item->id, json_array_size(wrong), WRONG_MIN);
	return ERR_OK;
}

static enum err_code check_item(const struct suite_item *item, struct suite_trial *trial,
				struct sandbox_warm *warm, struct suite_findings *findings,
				struct err *err)
{
	const struct trial trying = {item, findings, warm};
	const struct scorer *scorer;
	struct err problem = ERR_INIT;
	if (scorer_of(item->scorer, "scorer", &scorer, &problem) != ERR_OK) {
		suite_found(findings, SUITE_CHECK_SCORER, ITEMS_FILE, item->index + 1,
			    "item %s: %s", item->id, problem.message);
		return ERR_OK;
	}
	bool has_reference = json_is_string(json_object_get(item->fields, "reference"));
	trial->references += has_reference;
	if (!trial->every || item->index % trial->every || scorer_by_judge(scorer) ||
	    scorer->own_program)
		return ERR_OK;
	if (has_reference && suite_checks(findings, SUITE_CHECK_REFERENCE))
		ERR_TRY(try_reference(&trying, err));
	if (json_is_array(json_object_get(item->fields, "wrong")) &&
	    suite_checks(findings, SUITE_CHECK_WRONG))
		ERR_TRY(try_wrong(&trying, err));
	trial->tried += has_reference;
	return ERR_OK;
}

enum err_code suite_check_answers(const struct suite *suite, struct suite_trial *trial,
				  struct suite_findings *findings, struct err *err)
{
	struct sandbox_warm *warm = code_warm_new();
	enum err_code code = ERR_OK;
	trial->tried = trial->references = 0;
	for (size_t i = 0; i < suite_count(suite) && code == ERR_OK; i++) {
		struct suite_item item;
		code = suite_item_render(suite, i, &item, err);
		if (code != ERR_OK)
			break;
		code = check_item(&item, trial, warm, findings, err);
		suite_item_release(&item);
	}
	sandbox_warm_free(warm);
	return code;
}
