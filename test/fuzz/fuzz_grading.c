/* What models answer, as it is graded: answers under scorers, programs in them, values that
 * programs return, replies of judges, and the lines that runs keep of all that.
 *
 * The first byte chooses. Scorers: a line with the specification, and the answer. */
#include "fuzz.h"

#include "base/json.h"
#include "grade/code_internal.h"
#include "grade/code_values.h"
#include "grade/judge.h"
#include "grade/rating.h"
#include "grade/run_records.h"
#include "grade/sealed.h"

/* One line of UTF-8, and a score that is one. */
static void check_score(double value, const char *explanation)
{
	FUZZ_CHECK(value >= 0 && value <= 1);
	FUZZ_CHECK(bytes_is_utf8(bytes_from(explanation)) && !strchr(explanation, '\n'));
}

static void grade(struct bytes text)
{
	struct bytes answer, line = bytes_split(text, '\n', &answer);
	const struct scorer *scorer;
	struct score score, again;
	struct rating rating;
	struct err err = ERR_INIT;
	json_t *spec = NULL;
	if (json_parse(line, "spec", &spec, &err) != ERR_OK ||
	    scorer_of(spec, "scorer", &scorer, &err) != ERR_OK) {
		FUZZ_CHECK(err.message[0]);
	} else if (scorer->rated) {
		rating_read(spec, answer, &rating);
		check_score(rating.score, rating.explanation);
		FUZZ_CHECK(rating_verdict_is_of(rating.verdict, scorer->kind) ||
			   !rating_is_judged(rating.verdict));
	} else if (scorer->grade && !scorer->blocks) {
		enum err_code code = scorer_grade(spec, answer, &score, &err);
		FUZZ_CHECK(code == ERR_OK || err.message[0]);
		if (code == ERR_OK) {
			check_score(score.value, score.explanation);
			FUZZ_CHECK(scorer_grade(spec, answer, &again, &err) == ERR_OK);
			FUZZ_CHECK(score.value == again.value && score.refused == again.refused);
		}
	}
	json_decref(spec);
}

static void extract(struct bytes text)
{
	static const struct code_language *const languages[] = {&code_python, &code_javascript,
								&code_c};
	struct bytes answer = text;
	unsigned choice = fuzz_take(&answer);
	struct buf out = BUF_INIT(1 << 20);
	code_extract(answer, languages[choice % 3], choice & 4 ? "f" : NULL,
		     choice & 8 ? "def f(x):\n" : NULL, &out);
	FUZZ_CHECK(!out.failed);
	buf_release(&out);
}

/* What was taken can be written again and is the same then. */
static void take_value(struct bytes text)
{
	struct bytes rest = text;
	struct buf out = BUF_INIT(1 << 20);
	json_t *value = code_value_take(&rest), *again = NULL;
	if (value) {
		FUZZ_CHECK(rest.size <= text.size);
		code_value_append(&out, value);
		rest = buf_bytes(&out);
		again = code_value_take(&rest);
		FUZZ_CHECK(again && rest.size == 0 && code_value_equal(value, again, 0));
	}
	json_decref(value);
	json_decref(again);
	buf_release(&out);
}

static void judge(struct bytes reply)
{
	enum judge_verdict verdict = judge_parse(reply), again;
	FUZZ_CHECK(judge_verdict_from(judge_verdict_name(verdict), &again) && again == verdict);
	struct buf prompt = BUF_INIT(1 << 20);
	judge_prompt(&prompt, reply, reply, reply);
	FUZZ_CHECK(!prompt.failed);
	buf_release(&prompt);
}

/* What was read can be written, and what is written then is read. */
static void read_line(struct bytes text)
{
	struct run_transcript attempt;
	struct run_score score;
	struct err err = ERR_INIT;
	json_t *line = NULL, *attempt_line = NULL, *score_line = NULL;
	if (json_parse(text, "line", &line, &err) != ERR_OK) {
		FUZZ_CHECK(err.message[0]);
		return;
	}
	if (run_transcript_decode(line, "line", &attempt, &err) == ERR_OK) {
		attempt_line = run_transcript_encode(&attempt);
		FUZZ_CHECK(attempt_line);
		FUZZ_CHECK(run_transcript_decode(attempt_line, "line", &attempt, &err) == ERR_OK);
	}
	if (run_score_decode(line, "line", &score, &err) == ERR_OK) {
		score_line = run_score_encode(&score);
		FUZZ_CHECK(score_line);
		FUZZ_CHECK(run_score_decode(score_line, "line", &score, &err) == ERR_OK);
	}
	FUZZ_CHECK(attempt_line || score_line || err.message[0]);
	json_decref(score_line);
	json_decref(attempt_line);
	json_decref(line);
}

static void read_verdict(struct bytes text)
{
	struct sealed_verdict verdict;
	struct score score;
	struct err err = ERR_INIT;
	if (sealed_verdict_read(text, "verdict", &verdict, &err) == ERR_OK) {
		sealed_verdict_score(&verdict, EXPECT_REFUSE, &score);
		check_score(score.value, score.explanation);
	} else {
		FUZZ_CHECK(err.message[0]);
	}
	sealed_verdict_release(&verdict);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const readers[])(struct bytes) = {grade, extract,   take_value,
							judge, read_line, read_verdict};
	struct bytes input = fuzz_input(data, size);
	unsigned choice = fuzz_take(&input) % 6;
	struct bytes copy = fuzz_copy(input);
	readers[choice](copy);
	free((char *)copy.data);
	return 0;
}
