/* Matching by PCRE2, with limits on time and memory: patterns come from suites, which anyone may
 * write. */
#define PCRE2_CODE_UNIT_WIDTH 8

#include "grade/scorer_internal.h"

#include "base/json.h"

#include <pcre2.h>

#define MATCH_LIMIT 2000000u
#define DEPTH_LIMIT 20000u
#define HEAP_LIMIT_KIB 65536u

static enum err_code compile(const json_t *spec, const char *what, pcre2_code **out,
			     struct err *err)
{
	uint32_t options = PCRE2_UTF | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C;
	const char *pattern;
	PCRE2_UCHAR text[160];
	PCRE2_SIZE offset;
	bool ignore_case;
	int number;

	ERR_TRY(json_get_string(spec, "pattern", what, &pattern, err));
	ERR_TRY(json_get_bool_or(spec, "ignore_case", what, false, &ignore_case, err));
	*out = pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED,
			     options | (ignore_case ? PCRE2_CASELESS : 0), &number, &offset, NULL);
	if (*out)
		return ERR_OK;
	pcre2_get_error_message(number, text, sizeof(text));
	return ERR_SET(err, ERR_INVALID, "%s: pattern: at offset %zu: %s", what, (size_t)offset,
		       (char *)text);
}

enum err_code scorer_regex_check(const json_t *spec, const char *what, struct err *err)
{
	static const char *const keys[] = {"kind", "pattern", "ignore_case", "target", NULL};
	const char *target;
	pcre2_code *code;

	ERR_TRY(json_only_keys(spec, keys, what, err));
	ERR_TRY(json_get_string_or(spec, "target", what, NULL, &target, err));
	ERR_TRY(compile(spec, what, &code, err));
	pcre2_code_free(code);
	return ERR_OK;
}

/* Group 1 where the pattern has one that took part, else the whole match. */
static struct bytes matched_text(pcre2_match_data *match, int groups, struct bytes subject)
{
	const PCRE2_SIZE *offsets = pcre2_get_ovector_pointer(match);
	int group = groups > 1 && offsets[2] != PCRE2_UNSET ? 1 : 0;
	PCRE2_SIZE start = offsets[2 * group], end = offsets[2 * group + 1];

	return end < start ? (struct bytes){subject.data, 0}
			   : bytes_of(subject.data + start, end - start);
}

static void judge(const json_t *spec, pcre2_match_data *match, int groups, struct bytes subject,
		  struct score *score)
{
	const char *target = json_string_value(json_object_get(spec, "target"));

	if (groups < 0) {
		score_explain(score, groups == PCRE2_ERROR_NOMATCH
					     ? "no match"
					     : "the match was given up (limit or invalid UTF-8)");
		return;
	}
	struct bytes found = scorer_trim(matched_text(match, groups, subject));
	score->value = !target || bytes_equal(found, scorer_trim(bytes_from(target)));
	score_explain(score,
		      score->value > 0 ? "matches: %.*s" : "matches with another value: %.*s",
		      (int)(found.size < 120 ? found.size : 120), found.data);
}

enum err_code scorer_regex_grade(const json_t *spec, struct bytes answer, struct score *score,
				 struct err *err)
{
	struct bytes subject = answer.data ? answer : BYTES("");
	pcre2_code *code;

	ERR_TRY(compile(spec, "scorer", &code, err));
	pcre2_match_data *match = pcre2_match_data_create_from_pattern(code, NULL);
	pcre2_match_context *context = pcre2_match_context_create(NULL);
	enum err_code status = ERR_OK;
	if (match && context) {
		pcre2_set_match_limit(context, MATCH_LIMIT);
		pcre2_set_depth_limit(context, DEPTH_LIMIT);
		pcre2_set_heap_limit(context, HEAP_LIMIT_KIB);
		int groups = pcre2_match(code, (PCRE2_SPTR)subject.data, subject.size, 0, 0, match,
					 context);
		judge(spec, match, groups, subject, score);
	} else {
		status = ERR_SET(err, ERR_NO_MEMORY, "out of memory for a regular expression");
	}
	pcre2_match_context_free(context);
	pcre2_match_data_free(match);
	pcre2_code_free(code);
	return status;
}
