#include "standin/standin.h"

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(more_different_words_win),
		cmocka_unit_test(case_and_repetition_do_not_count),
		cmocka_unit_test(the_order_makes_no_difference),
		cmocka_unit_test(what_is_no_pair_is_not_judged),
		cmocka_unit_test(very_many_words_are_counted_up_to_a_bound),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
