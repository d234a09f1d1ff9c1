/* What the JSON scanner costs: scan BYTES [dense]. A request body of about that size, of plain
 * sentences or (dense) of short strings full of escapes; the least CPU time of five rounds. */
#include "base/buf.h"
#include "base/json_scan.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define ROUNDS 5
#define BYTES_A_ROUND 80000000u

static void make_body(struct buf *out, size_t size, bool dense)
{
	const char *sentence =
		dense ? "Hi \\\"x\\\"\\n"
		      : "The quick brown fox jumps over the lazy dog, and then some.\\n";
	buf_append_cstr(out, "{\"model\":\"north-1\",\"max_tokens\":256,\"stream\":true,"
			     "\"temperature\":0.7,\"messages\":[");
	for (bool first = true; out->size < size; first = false) {
		buf_append_cstr(out, first ? "" : ",");
		buf_append_cstr(out, "{\"role\":\"user\",\"content\":\"");
		for (int i = 0; i < (dense ? 2 : 20) && out->size < size; i++)
			buf_append_cstr(out, sentence);
		buf_append_cstr(out, "\"}");
	}
	buf_append_cstr(out, "]}");
}

static double cpu_ns(void)
{
	struct timespec now;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

int main(int count, char **arguments)
{
	size_t size = count > 1 ? strtoul(arguments[1], NULL, 10) : 1024;
	struct buf body = BUF_INIT((size_t)1 << 28);
	struct json_scan scan;
	struct err err;
	double best = 0;
	make_body(&body, size, count > 2);
	if (body.failed)
		return 3;
	size_t times = BYTES_A_ROUND / body.size + 1;
	for (int round = 0; round < ROUNDS; round++) {
		double started = cpu_ns();
		for (size_t i = 0; i < times; i++)
			if (json_scan_text(&scan, buf_bytes(&body), "the body", &err) != ERR_OK)
				return 1;
		double each = (cpu_ns() - started) / (double)times;
		best = round == 0 || each < best ? each : best;
	}
	printf("%zu bytes: %.0f ns, %.3f ns a byte\n", body.size, best, best / (double)body.size);
	buf_release(&body);
	return 0;
}
