#include "gate/metrics.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static char *write_all(const struct metrics *const *sets, size_t count)
{
	struct buf out = BUF_INIT(1 << 20);
	metrics_write(sets, count, &out);
	assert_false(out.failed);
	return out.data;
}

static void assert_line(const char *text, const char *line)
{
	char wanted[256];
	snprintf(wanted, sizeof(wanted), "\n%s\n", line);
	if (!strstr(text, wanted))
		fail_msg("no line \"%s\"", line);
}

static void workers_are_added_up(void **state)
{
	struct metrics *one = calloc(1, sizeof(*one)), *two = calloc(1, sizeof(*two));
	const struct metrics *sets[] = {one, two};
	(void)state;
	metrics_add(&one->requests, 3);
	metrics_add(&two->requests, 4);
	metrics_add(&one->in_flight, 2);
	metrics_add(&two->in_flight, -1);
	metrics_add(&one->input_tokens, 10);
	metrics_add(&two->output_tokens, 20);
	metrics_add(&one->refused_by[RULE_KEY_UNKNOWN], 5);
	metrics_add(&two->ended_by[RECORD_ENDING_FINISH], 6);
	char *text = write_all(sets, 2);
	assert_line(text, "# TYPE parley_requests_total counter");
	assert_line(text, "parley_requests_total 7");
	assert_line(text, "# TYPE parley_in_flight gauge");
	assert_line(text, "parley_in_flight 1");
	assert_line(text, "parley_tokens_total{type=\"input\"} 10");
	assert_line(text, "parley_tokens_total{type=\"output\"} 20");
	assert_line(text, "parley_refused_by_rule_total{rule=\"key.unknown\"} 5");
	assert_line(text, "parley_refused_by_rule_total{rule=\"limit.rpm\"} 0");
	assert_line(text, "parley_settled_total{ending=\"finish\"} 6");
	free(text);
	free(one);
	free(two);
}

/* Prometheus' text format 0.0.4: HELP and TYPE once for each name and before its samples, samples
 * of one name together, every series once. */
static void the_text_is_well_formed(void **state)
{
	struct metrics *one = calloc(1, sizeof(*one));
	const struct metrics *sets[] = {one};
	char present[128] = "", *save = NULL, *series[256];
	size_t count = 0;
	(void)state;
	char *text = write_all(sets, 1);
	assert_int_equal('\n', text[strlen(text) - 1]);
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		char name[128], kind[16];
		if (sscanf(line, "# TYPE %127s %15s", name, kind) == 2) {
			assert_string_equal(present, name);
			assert_true(strcmp(kind, "counter") == 0 || strcmp(kind, "gauge") == 0);
			continue;
		}
		if (sscanf(line, "# HELP %127s", name) == 1) {
			for (size_t i = 0; i < count; i++)
				assert_false(strncmp(series[i], name, strlen(name)) == 0 &&
					     strchr("{ ", series[i][strlen(name)]));
			strcpy(present, name);
			continue;
		}
		size_t size = strcspn(line, "{ ");
		assert_true(size == strlen(present) && strncmp(line, present, size) == 0);
		char *space = strrchr(line, ' '), *end;
		assert_non_null(space);
		strtoll(space + 1, &end, 10);
		assert_true(end > space + 1 && *end == '\0');
		*space = '\0';
		for (size_t i = 0; i < count; i++)
			assert_string_not_equal(series[i], line);
		assert_true(count < 256);
		series[count++] = line;
	}
	assert_true(count > 20);
	free(text);
	free(one);
}

static void a_value_of_ones_own(void **state)
{
	struct buf out = BUF_INIT(4096);
	(void)state;
	metrics_write_value(&out, "parley_x", "a=\"b\"", "gauge", "What it is.", -3);
	assert_string_equal(
		"# HELP parley_x What it is.\n# TYPE parley_x gauge\nparley_x{a=\"b\"} -3\n",
		out.data);
	buf_release(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(workers_are_added_up),
		cmocka_unit_test(the_text_is_well_formed),
		cmocka_unit_test(a_value_of_ones_own),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
