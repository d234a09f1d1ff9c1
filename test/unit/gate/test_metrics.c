#include "gate/metrics.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static struct metrics_names providers, models;

static char *write_all(const struct metrics *const *sets, size_t count)
{
	struct buf out = BUF_INIT(1 << 20);
	struct metrics_view view = {sets, count, &providers, &models};
	metrics_write(&view, &out);
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
	char present[128] = "", *save = NULL, *series[1024];
	size_t count = 0;
	bool histogram = false;
	(void)state;
	char *text = write_all(sets, 1);
	assert_int_equal('\n', text[strlen(text) - 1]);
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		char name[128], kind[16];
		if (sscanf(line, "# TYPE %127s %15s", name, kind) == 2) {
			assert_string_equal(present, name);
			histogram = strcmp(kind, "histogram") == 0;
			assert_true(strcmp(kind, "counter") == 0 || strcmp(kind, "gauge") == 0 ||
				    histogram);
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
		assert_true(strncmp(line, present, strlen(present)) == 0);
		assert_true(size == strlen(present) || (histogram && line[strlen(present)] == '_'));
		char *space = strrchr(line, ' '), *end;
		assert_non_null(space);
		strtod(space + 1, &end);
		assert_true(end > space + 1 && *end == '\0');
		*space = '\0';
		for (size_t i = 0; i < count; i++)
			assert_string_not_equal(series[i], line);
		assert_true(count < 1024);
		series[count++] = line;
	}
	assert_true(count > 20);
	free(text);
	free(one);
}

/* A value stands in the first bucket whose bound is not below it, for every scale there is. */
static void buckets_are_where_their_bounds_say(void **state)
{
	(void)state;
	for (unsigned i = 0; i < METRIC_SCALE_COUNT; i++) {
		const struct tally_scale *scale = &metric_scales[i];
		int64_t bound = scale->first;
		assert_int_equal(0, tally_place(scale, -1));
		assert_int_equal(0, tally_place(scale, 0));
		for (unsigned place = 0; place < scale->count; place++) {
			assert_int_equal(place, tally_place(scale, bound));
			assert_int_equal(place + 1, tally_place(scale, bound + 1));
			bound <<= scale->shift;
		}
		assert_int_equal(scale->count, tally_place(scale, INT64_MAX));
	}
}

static void histograms_add_up_in_base_units(void **state)
{
	struct metrics *one = calloc(1, sizeof(*one)), *two = calloc(1, sizeof(*two));
	const struct metrics *sets[] = {one, two};
	const struct tally_scale *scale = &metric_scales[METRIC_SCALE_REQUEST];
	(void)state;
	tally_add(&one->duration, scale, 250);
	tally_add(&one->duration, scale, 900);
	tally_add(&two->duration, scale, 3000000000);
	char *text = write_all(sets, 2);
	assert_line(text, "# TYPE parley_request_duration_seconds histogram");
	assert_line(text, "parley_request_duration_seconds_bucket{le=\"0.00025\"} 1");
	assert_line(text, "parley_request_duration_seconds_bucket{le=\"0.0005\"} 1");
	assert_line(text, "parley_request_duration_seconds_bucket{le=\"0.001\"} 2");
	assert_line(text, "parley_request_duration_seconds_bucket{le=\"524.288\"} 2");
	assert_line(text, "parley_request_duration_seconds_bucket{le=\"+Inf\"} 3");
	assert_line(text, "parley_request_duration_seconds_sum 3000.00115");
	assert_line(text, "parley_request_duration_seconds_count 3");
	free(text);
	free(one);
	free(two);
}

/* Only names of the configuration become labels; what has no room is counted together. */
static void models_and_providers_have_series(void **state)
{
	struct metrics *one = calloc(1, sizeof(*one));
	const struct metrics *sets[] = {one};
	const struct tally_scale *tokens = &metric_scales[METRIC_SCALE_OTEL_TOKENS];
	char name[32];
	(void)state;
	metrics_names_add(&providers, "north", DIALECT_ANTHROPIC);
	metrics_names_add(&models, "north-1", DIALECT_OPENAI);
	metrics_names_add(&models, "north-1", DIALECT_ANTHROPIC);
	for (unsigned i = 2; i < METRICS_NAMES_MAX + 10; i++) {
		snprintf(name, sizeof(name), "north-%u", i);
		metrics_names_add(&models, name, DIALECT_ANTHROPIC);
	}
	assert_int_equal(0, metrics_names_find(&models, "north-1"));
	assert_int_equal(METRICS_NAMES_MAX - 1, metrics_names_find(&models, "north-128"));
	assert_int_equal(METRICS_NAMES_MAX, metrics_names_find(&models, "north-129"));
	assert_int_equal(METRICS_NAMES_MAX, metrics_names_find(&models, ""));
	tally_add(&one->models[0].input, tokens, 5);
	tally_add(&one->models[METRICS_NAMES_MAX].output, tokens, 7);
	metrics_add(&one->upstream_errors[0][UPSTREAM_ERROR_RESET], 2);
	metrics_add(&one->upstream_errors[METRICS_NAMES_MAX][UPSTREAM_ERROR_TIMEOUT], 3);
	char *text = write_all(sets, 1);
	assert_line(text, "gen_ai_client_token_usage_bucket{gen_ai_operation_name=\"chat\","
			  "gen_ai_provider_name=\"anthropic\",gen_ai_request_model=\"north-1\","
			  "gen_ai_token_type=\"input\",le=\"4\"} 0");
	assert_line(text, "gen_ai_client_token_usage_bucket{gen_ai_operation_name=\"chat\","
			  "gen_ai_provider_name=\"anthropic\",gen_ai_request_model=\"north-1\","
			  "gen_ai_token_type=\"input\",le=\"16\"} 1");
	assert_line(text, "gen_ai_client_token_usage_sum{gen_ai_operation_name=\"chat\","
			  "gen_ai_provider_name=\"_OTHER\",gen_ai_request_model=\"_other\","
			  "gen_ai_token_type=\"output\"} 7");
	assert_null(strstr(text, "north-2\""));
	assert_line(text, "parley_upstream_errors_total{provider=\"north\",kind=\"reset\"} 2");
	assert_line(text, "parley_upstream_errors_total{provider=\"north\",kind=\"timeout\"} 0");
	assert_line(text, "parley_upstream_errors_total{provider=\"_other\",kind=\"timeout\"} 3");
	free(text);
	free(one);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(workers_are_added_up),
		cmocka_unit_test(the_text_is_well_formed),
		cmocka_unit_test(buckets_are_where_their_bounds_say),
		cmocka_unit_test(histograms_add_up_in_base_units),
		cmocka_unit_test(models_and_providers_have_series),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
