/* Public data sets through the code grader: solutions pass, blanks fail, and stored answers of real
 * models get the published rates. Several programs run at once, as in the harness. */
#include "grade/code.h"
#include "grade/statistics.h"

#include "data.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define THREADS 2

struct task {
	json_t *spec; /* owned */
	const char *answer;
	const char *name;
	struct code_result result;
	enum err_code code;
	struct err err;
};

struct batch {
	struct task *tasks;
	size_t count;
	size_t next; /* atomic */
	struct sandbox_warm *warm;
};

static void *work(void *argument)
{
	struct batch *batch = argument;

	for (;;) {
		size_t i = __atomic_fetch_add(&batch->next, 1, __ATOMIC_RELAXED);
		if (i >= batch->count)
			return NULL;
		struct task *task = &batch->tasks[i];
		task->code = code_grade(batch->warm, task->spec, bytes_from(task->answer),
					&task->result, &task->err);
	}
}

static unsigned grade_all(struct batch *batch)
{
	pthread_t threads[THREADS];
	unsigned passed = 0;

	batch->next = 0;
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, work, batch), 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	for (size_t i = 0; i < batch->count; i++) {
		if (batch->tasks[i].code != ERR_OK)
			fail_msg("%s: %s", batch->tasks[i].name, batch->tasks[i].err.message);
		passed += batch->tasks[i].result.passed;
	}
	return passed;
}

static void batch_start(struct batch *batch, size_t most)
{
	*batch =
		(struct batch){.tasks = calloc(most, sizeof(struct task)), .warm = code_warm_new()};
	assert_non_null(batch->tasks);
}

static void batch_release(struct batch *batch)
{
	for (size_t i = 0; i < batch->count; i++)
		json_decref(batch->tasks[i].spec);
	free(batch->tasks);
	sandbox_warm_free(batch->warm);
}

static void batch_add(struct batch *batch, json_t *spec, const char *name, const char *answer)
{
	assert_non_null(spec);
	batch->tasks[batch->count++] = (struct task){.spec = spec, .name = name, .answer = answer};
}

static json_t *humaneval_spec(const json_t *task, int seconds)
{
	json_t *program = json_sprintf("%s\ncheck(%s)\n", data_text(task, "test"),
				       data_text(task, "entry_point"));

	return json_pack("{ssssssssso si}", "kind", "code", "language", "python", "entry_point",
			 data_text(task, "entry_point"), "prompt", data_text(task, "prompt"),
			 "program", program, "timeout_seconds", seconds);
}

static json_t *load_or_skip(const char *path)
{
	struct err err = ERR_INIT;
	json_t *data = data_load(path);

	if (!data || sandbox_check(&err) != ERR_OK) {
		print_message("SKIP: no reference data, or no sandbox\n");
		json_decref(data);
		skip();
	}
	return data;
}

static void humaneval(void **state)
{
	(void)state;
	json_t *tasks = load_or_skip("humaneval/HumanEval.jsonl.gz"), *task;
	struct batch right, blank;
	size_t index;

	assert_int_equal(json_array_size(tasks), 164);
	batch_start(&right, 164);
	batch_start(&blank, 164);
	json_array_foreach(tasks, index, task)
	{
		batch_add(&right, humaneval_spec(task, 5), data_text(task, "task_id"),
			  data_text(task, "canonical_solution"));
		batch_add(&blank, humaneval_spec(task, 5), data_text(task, "task_id"),
			  "    pass\n");
	}
	assert_int_equal(grade_all(&right), 164);
	assert_int_equal(grade_all(&blank), 0);
	batch_release(&right);
	batch_release(&blank);
	json_decref(tasks);
}

static json_t *mbpp_spec(const json_t *task)
{
	struct buf program = BUF_INIT(1 << 16);
	static const char *const parts[] = {"test_imports", "test_list"};

	for (size_t part = 0; part < 2; part++) {
		const json_t *lines = json_object_get(task, parts[part]);

		for (size_t i = 0; i < json_array_size(lines); i++)
			buf_printf(&program, "%s\n", json_string_value(json_array_get(lines, i)));
	}
	assert_false(program.failed);
	json_t *spec = json_pack("{ssssss}", "kind", "code", "language", "python", "program",
				 program.data);
	buf_release(&program);
	return spec;
}

static void sanitized_mbpp(void **state)
{
	(void)state;
	json_t *tasks = load_or_skip("mbpp/sanitized-mbpp.json.gz"), *task;
	struct batch batch;
	size_t index;

	assert_int_equal(json_array_size(tasks), 427);
	batch_start(&batch, 427);
	json_array_foreach(tasks, index, task)
		batch_add(&batch, mbpp_spec(task), "mbpp", data_text(task, "code"));
	assert_int_equal(grade_all(&batch), 427);
	batch_release(&batch);
	json_decref(tasks);
}

/* CodeGen-Mono-16B, 100 samples a task: pass@1 22.10, pass@10 50.37, pass@100 73.78 from the
 * verdicts that are stored with them. */
static void pass_at_k(void **state)
{
	(void)state;
	static const struct {
		uint64_t k;
		double percent;
	} published[] = {
		{1,   22.10},
                {10,  50.37},
                {100, 73.78}
        };
	json_t *tasks = data_load("code_completions/codet_codegen16b_humaneval.jsonl.gz");

	if (!tasks) {
		print_message("SKIP: no reference data\n");
		skip();
	}
	assert_int_equal(json_array_size(tasks), 164);
	for (size_t i = 0; i < sizeof(published) / sizeof(published[0]); i++) {
		double sum = 0;
		for (size_t task = 0; task < 164; task++) {
			const json_t *verdicts =
				json_object_get(json_array_get(tasks, task), "rerun");
			uint64_t passed = 0;
			for (size_t j = 0; j < json_array_size(verdicts); j++)
				passed += json_integer_value(json_array_get(verdicts, j)) == 1;
			sum += statistics_pass_at_k(json_array_size(verdicts), passed,
						    published[i].k);
		}
		assert_true(fabs(100 * sum / 164 - published[i].percent) < 0.005);
	}
	json_decref(tasks);
}

static const json_t *task_of(const json_t *tasks, const char *id)
{
	for (size_t i = 0; i < json_array_size(tasks); i++)
		if (strcmp(data_text(json_array_get(tasks, i), "task_id"), id) == 0)
			return json_array_get(tasks, i);
	fail_msg("no task %s", id);
	return NULL;
}

/* GPT-4's HumanEval/129 takes seconds of CPU time: its verdict hangs on the machine and the limit
 * (it failed where the rates were published), so it is left out. */
static void published_rates(void **state)
{
	(void)state;
	static const struct {
		const char *run, *slow;
		unsigned passed;
	} runs[] = {
		{"gpt4_final_500c_long",  "HumanEval/129", 140},
		{"Claude_Plus_custom_md", "",              87 },
		{"Bard_custom",           "",              73 }
        };
	json_t *tasks = load_or_skip("humaneval/HumanEval.jsonl.gz");
	json_t *answers = load_or_skip("code_completions/llm_humaneval_94runs.jsonl.gz"), *answer;
	size_t index;

	for (size_t i = 0; i < sizeof(runs) / sizeof(runs[0]); i++) {
		struct batch batch;

		batch_start(&batch, 164);
		json_array_foreach(answers, index, answer)
		{
			const char *id = data_text(answer, "task_id");

			if (strcmp(data_text(answer, "run"), runs[i].run) == 0 &&
			    strcmp(id, runs[i].slow) != 0)
				batch_add(&batch, humaneval_spec(task_of(tasks, id), 5), id,
					  data_text(answer, "completion"));
		}
		assert_int_equal(batch.count, *runs[i].slow ? 163 : 164);
		assert_int_equal(grade_all(&batch), runs[i].passed);
		batch_release(&batch);
	}
	json_decref(tasks);
	json_decref(answers);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(humaneval),
		cmocka_unit_test(sanitized_mbpp),
		cmocka_unit_test(pass_at_k),
		cmocka_unit_test(published_rates),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
