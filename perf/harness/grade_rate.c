/* How fast programs are graded: reads items as JSON lines {spec, answer} from a file, grades them
 * in several threads, and prints what that took. perf/harness/grade.py compares.
 *
 *     grade_rate FILE warm|cold THREADS */
#include "grade/code.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#define ITEMS_MAX 100000u
#define THREADS_MAX 16

struct work {
	json_t *items[ITEMS_MAX];
	size_t count, next; /* next: atomic */
	size_t passed, failed, errors;
	struct sandbox_warm *warm;
};

static void *grade(void *argument)
{
	struct work *work = argument;

	for (;;) {
		size_t i = __atomic_fetch_add(&work->next, 1, __ATOMIC_RELAXED);
		struct code_result result;
		struct err err = ERR_INIT;

		if (i >= work->count)
			return NULL;
		const char *answer = json_string_value(json_object_get(work->items[i], "answer"));
		enum err_code code = code_grade(work->warm, json_object_get(work->items[i], "spec"),
						bytes_from(answer), &result, &err);
		if (code != ERR_OK)
			fprintf(stderr, "%s\n", err.message);
		size_t *counted = code != ERR_OK  ? &work->errors
				  : result.passed ? &work->passed
						  : &work->failed;
		__atomic_fetch_add(counted, 1, __ATOMIC_RELAXED);
	}
}

static double seconds(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* Of this process and all it started, in all that it waited for. */
static double cpu_seconds(void)
{
	struct rusage own, children;

	getrusage(RUSAGE_SELF, &own);
	getrusage(RUSAGE_CHILDREN, &children);
	return (double)(own.ru_utime.tv_sec + own.ru_stime.tv_sec + children.ru_utime.tv_sec +
			children.ru_stime.tv_sec) +
	       (double)(own.ru_utime.tv_usec + own.ru_stime.tv_usec + children.ru_utime.tv_usec +
			children.ru_stime.tv_usec) /
		       1e6;
}

static bool load(struct work *work, const char *path)
{
	FILE *file = fopen(path, "r");
	json_t *item;

	while (file && work->count < ITEMS_MAX &&
	       (item = json_loadf(file, JSON_DISABLE_EOF_CHECK, NULL)))
		work->items[work->count++] = item;
	if (file)
		fclose(file);
	return work->count > 0;
}

int main(int count, char **arguments)
{
	static struct work work;
	pthread_t threads[THREADS_MAX];
	int wanted = count == 4 ? atoi(arguments[3]) : 0;

	if (wanted < 1 || wanted > THREADS_MAX || !load(&work, arguments[1])) {
		fprintf(stderr, "grade_rate FILE warm|cold THREADS\n");
		return 2;
	}
	work.warm = strcmp(arguments[2], "warm") == 0 ? code_warm_new() : NULL;
	double start = seconds(CLOCK_MONOTONIC);
	for (int i = 0; i < wanted; i++)
		pthread_create(&threads[i], NULL, grade, &work);
	for (int i = 0; i < wanted; i++)
		pthread_join(threads[i], NULL);
	double wall = seconds(CLOCK_MONOTONIC) - start;
	char why[SANDBOX_WARM_NOTE_SIZE] = "";
	bool off = work.warm && sandbox_warm_is_off(work.warm, why);
	sandbox_warm_free(work.warm);
	printf("{\"samples\":%zu,\"passed\":%zu,\"errors\":%zu,\"seconds\":%.3f,"
	       "\"samples_per_second\":%.1f,\"cpu_ms\":%.2f,\"warm\":%s}\n",
	       work.count, work.passed, work.errors, wall, (double)work.count / wall,
	       cpu_seconds() * 1000 / (double)work.count, work.warm && !off ? "true" : "false");
	for (size_t i = 0; i < work.count; i++)
		json_decref(work.items[i]);
	return work.errors ? 1 : 0;
}
