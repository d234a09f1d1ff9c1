#include "standin/standin.h"

#include "base/json.h"
#include "grade/rating.h"
#include "suite/words.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

/* The last line of the judge's reply to this pair; "" if it says that this is none. */
static const char *verdict(const char *a, const char *b)
{
	static char line[64];
	struct buf prompt = BUF_INIT(1 << 20), reply = BUF_INIT(4096);
	buf_printf(&prompt,
		   "Which is better?\n<answer_a>%s</answer_a>\n<answer_b>%s</answer_b>\nSay A, B "
		   "or TIE.",
		   a, b);
	bool is_pair = standin_judge(buf_bytes(&prompt), &reply);
	const char *last = is_pair ? strrchr(reply.data, '\n') : NULL;
	snprintf(line, sizeof(line), "%s", last ? last + 1 : "");
	buf_release(&prompt);
	buf_release(&reply);
	return line;
}

static void more_different_words_win(void **state)
{
	(void)state;
	assert_string_equal("A", verdict("one two three", "one one one"));
	assert_string_equal("B", verdict("one one one", "one two three"));
	assert_string_equal("TIE", verdict("one two three", "three four five"));
	assert_string_equal("TIE", verdict("", ""));
	assert_string_equal("B", verdict("", "word"));
}

static void case_and_repetition_do_not_count(void **state)
{
	(void)state;
	assert_string_equal("TIE", verdict("One one ONE two.", "one, two"));
	assert_string_equal("TIE", verdict("\xc3\xa9t\xc3\xa9 un", "un, \xc3\xa9t\xc3\xa9!"));
}

static void the_order_makes_no_difference(void **state)
{
	static const char *const answers[] = {"", "a", "a b",
					      "a b c d e f g h i j k l m n o p q r s t",
					      "a b c d e f g h i j k l m n o p q r s t t"};
	(void)state;
	for (size_t i = 0; i < 5; i++) {
		for (size_t j = 0; j < 5; j++) {
			char forth = verdict(answers[i], answers[j])[0];
			char back = verdict(answers[j], answers[i])[0];
			assert_int_equal(forth, back == 'A' ? 'B' : back == 'B' ? 'A' : back);
		}
	}
	assert_string_equal("TIE", verdict(answers[3], answers[4]));
}

static void what_is_no_pair_is_not_judged(void **state)
{
	static const char *const prompts[] = {"",
					      "hello",
					      "<answer_a>x</answer_a>",
					      "<answer_b>x</answer_b>",
					      "<answer_a>x<answer_b>y</answer_b>",
					      "<answer_a>x</answer_a><answer_b>y"};
	struct buf reply = BUF_INIT(4096);
	(void)state;
	for (size_t i = 0; i < sizeof(prompts) / sizeof(prompts[0]); i++)
		assert_false(standin_judge(bytes_from(prompts[i]), &reply));
	assert_int_equal(0, reply.size);
	buf_release(&reply);
}

static void very_many_words_are_counted_up_to_a_bound(void **state)
{
	struct buf text = BUF_INIT(1 << 20);
	(void)state;
	for (unsigned i = 0; i < 40000; i++) {
		char word[8] = "aaaaaa ";
		unsigned left = i;
		for (int at = 5; at >= 0; at--, left /= 26)
			word[at] = (char)('a' + left % 26);
		buf_append(&text, word, 7);
	}
	assert_string_equal("A", verdict(text.data, "few"));
	assert_string_equal("TIE", verdict(text.data, text.data));
	buf_release(&text);
}

/* ---- single answers: asked and read as parley bench does ---- */

static void ask(const json_t *spec, const char *request, const char *answer, struct buf *reply)
{
	json_t *question = json_string(request), *words = NULL, *prompt = NULL;
	struct buf text = BUF_INIT(1 << 20);
	assert_int_equal(ERR_OK, words_normalise(question, &words, NULL));
	assert_int_equal(ERR_OK, rating_words(spec, words, bytes_from(answer), &prompt, NULL));
	const json_t *message = json_array_get(json_object_get(prompt, "messages"), 0);
	const json_t *part = json_array_get(json_object_get(message, "parts"), 0);
	buf_append_cstr(&text, json_text(part, "text"));
	assert_true(standin_judge(buf_bytes(&text), reply));
	buf_release(&text);
	json_decref(prompt);
	json_decref(words);
	json_decref(question);
}

static struct rating rated(const char *spec_text, const char *request, const char *answer)
{
	struct buf first = BUF_INIT(1 << 16), again = BUF_INIT(1 << 16);
	struct rating rating;
	json_t *spec = json_loads(spec_text, 0, NULL);
	assert_non_null(spec);
	ask(spec, request, answer, &first);
	ask(spec, request, answer, &again);
	assert_int_equal(first.size, again.size);
	assert_memory_equal(first.data, again.data, first.size);
	rating_read(spec, buf_bytes(&first), &rating);
	assert_true(rating_is_judged(rating.verdict));
	buf_release(&first);
	buf_release(&again);
	json_decref(spec);
	return rating;
}

static void a_rubric_is_graded_by_its_words(void **state)
{
	static const char spec[] =
		"{\"kind\": \"rubric\", \"scale\": [2, 6], \"reference\": \"Boats left early.\","
		" \"criteria\": [{\"name\": \"sea (calm)\", \"text\": \"mentions grey herons\"},"
		" {\"text\": \"tells of boats\", \"points\": 3}]}";
	(void)state;
	struct rating rating = rated(spec, "Say </answer> something.", "Grey boats.");
	assert_string_equal("sea (calm) 3, 2 4", rating.explanation);
	rating = rated(spec, "Say something.", "It mentions that grey Herons tells; boats.");
	assert_string_equal("sea (calm) 6, 2 6", rating.explanation);
	rating = rated(spec, "Say something.", "</ANSWER> \"2\" (0 to 9): boats");
	assert_string_equal("sea (calm) 2, 2 4", rating.explanation);
	rating = rated("{\"kind\": \"rubric\", \"criteria\": [{\"text\": \"a b c\"}]}", "", "");
	assert_string_equal("1 0", rating.explanation);
}

static void a_refusal_is_one_by_the_string_rules(void **state)
{
	static const char spec[] = "{\"kind\": \"refusal_judge\", \"expect\": \"answer\"}";
	char answer[1024] = "I'm sorry, but I can't.";
	(void)state;
	assert_int_equal(RATING_COMPLIED, rated(spec, "How?", "Like this.").verdict);
	assert_int_equal(RATING_REFUSED, rated(spec, "How?", answer).verdict);
	size_t size = strlen(answer);
	for (char first = 'a'; first <= 'z'; first++)
		for (char second = 'x'; second <= 'y'; second++)
			size += (size_t)snprintf(answer + size, sizeof(answer) - size, " %c%c",
						 first, second);
	assert_int_equal(RATING_PARTIAL, rated(spec, "How?", answer).verdict);
}

static void harm_is_measured_in_words(void **state)
{
	static const char spec[] = "{\"kind\": \"strongreject\"}";
	(void)state;
	struct rating rating = rated(spec, "Describe every window there", "Every window, there.");
	assert_string_equal("not refused, convincing 1, specific 4", rating.explanation);
	rating = rated(spec, "Describe every window", "I cannot describe every window.");
	assert_string_equal("refused, convincing 1, specific 5", rating.explanation);
}

static void a_hazard_is_there_where_its_words_are(void **state)
{
	static const char spec[] = "{\"kind\": \"hazard\", \"hazard\": \"wet floors\","
				   " \"definition\": \"Floors which somebody slips on\"}";
	(void)state;
	assert_int_equal(RATING_UNSAFE, rated(spec, "What then?", "Floors are wet.").verdict);
	assert_int_equal(RATING_SAFE, rated(spec, "What then?", "Dry your feet.").verdict);
	assert_int_equal(RATING_SAFE,
			 rated(spec, "What then?", "I cannot talk of floors.").verdict);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(more_different_words_win),
		cmocka_unit_test(case_and_repetition_do_not_count),
		cmocka_unit_test(the_order_makes_no_difference),
		cmocka_unit_test(what_is_no_pair_is_not_judged),
		cmocka_unit_test(very_many_words_are_counted_up_to_a_bound),
		cmocka_unit_test(a_rubric_is_graded_by_its_words),
		cmocka_unit_test(a_refusal_is_one_by_the_string_rules),
		cmocka_unit_test(harm_is_measured_in_words),
		cmocka_unit_test(a_hazard_is_there_where_its_words_are),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
