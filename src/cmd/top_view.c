#include "cmd/top_view.h"

#include "base/json.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINE_MAX_BYTES 1024
#define BAR 8

/* ---- numbers ---- */

static const json_t *part(const json_t *object, const char *name)
{
	return json_object_get(object, name);
}

static double seconds_between(const json_t *now, const json_t *before)
{
	return before ? (json_number(now, "clock_ns") - json_number(before, "clock_ns")) / 1e9 : 0;
}

/* A counter that fell is of a gateway that was started anew. */
static double rate(const json_t *now, const json_t *before, const char *name, double seconds)
{
	double difference = json_number(now, name) - json_number(before, name);
	return before && seconds > 0 && difference > 0 ? difference / seconds : 0;
}

static const json_t *grant_named(const json_t *snapshot, const char *id)
{
	size_t index;
	json_t *grant;
	json_array_foreach((json_t *)part(snapshot, "grants"), index, grant)
	{
		if (strcmp(json_text(grant, "id"), id) == 0)
			return grant;
	}
	return NULL;
}

void top_add_rates(json_t *now, const json_t *before)
{
	static const char *const names[] = {"requests", "admitted",     "refused",
					    "observed", "input_tokens", "output_tokens"};
	static const char *const of_grants[] = {"admitted", "refused", "observed", "input",
						"output"};
	double seconds = seconds_between(now, before);
	json_t *rates = json_object(), *grant;
	size_t index;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		json_object_set_new(rates, names[i],
				    json_real(rate(part(now, "counters"), part(before, "counters"),
						   names[i], seconds)));
	json_object_set_new(now, "rates", rates);
	json_array_foreach(json_object_get(now, "grants"), index, grant)
	{
		const json_t *old = grant_named(before, json_text(grant, "id"));
		json_t *own = json_object();
		for (size_t i = 0; i < sizeof(of_grants) / sizeof(of_grants[0]); i++)
			json_object_set_new(own, of_grants[i],
					    json_real(rate(grant, old, of_grants[i], seconds)));
		json_object_set_new(grant, "rates", own);
	}
}

/* The upper bound below which a share of what was counted between the snapshots lies; negative:
 * nothing was. Above the last bound, the last bound. */
static double quantile(const json_t *now, const json_t *before, double share)
{
	const json_t *bounds = part(now, "bounds"), *counts = part(now, "counts");
	const json_t *old = part(before, "counts");
	size_t size = json_array_size(counts);
	double total = 0, seen = 0;
	for (size_t i = 0; i < size; i++)
		total += json_number_value(json_array_get(counts, i)) -
			 json_number_value(json_array_get(old, i));
	for (size_t i = 0; total > 0 && i < size; i++) {
		seen += json_number_value(json_array_get(counts, i)) -
			json_number_value(json_array_get(old, i));
		if (seen >= share * total) {
			size_t last = json_array_size(bounds) - 1;
			return json_number_value(json_array_get(bounds, i < last ? i : last));
		}
	}
	return -1;
}

/* ---- lines ---- */

enum colour { PLAIN, BOLD, DIM, RED, YELLOW };

struct screen {
	const struct top_view *view;
	struct buf *out;
	unsigned lines;
};

static void put_line(struct screen *screen, enum colour colour, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static void put_line(struct screen *screen, enum colour colour, const char *format, ...)
{
	static const char *const codes[] = {"", "\033[1m", "\033[2m", "\033[31m", "\033[33m"};
	char line[LINE_MAX_BYTES];
	const struct top_view *view = screen->view;
	va_list arguments;
	if (view->rows && screen->lines >= view->rows)
		return;
	va_start(arguments, format);
	vsnprintf(line, sizeof(line), format, arguments);
	va_end(arguments);
	size_t size = strlen(line);
	if (view->columns && size > view->columns)
		size = view->columns;
	/* Names come from elsewhere: nothing of them moves the cursor. */
	for (size_t i = 0; i < size; i++)
		if (line[i] < ' ' || line[i] > '~')
			line[i] = '?';
	bool coloured = view->colour && colour != PLAIN;
	buf_append_cstr(screen->out, coloured ? codes[colour] : "");
	buf_append(screen->out, line, size);
	buf_append_cstr(screen->out, coloured ? "\033[0m\n" : "\n");
	screen->lines++;
}

static const char *span(double seconds, char out[static 24])
{
	if (seconds < 0)
		return "-";
	if (seconds < 0.001)
		snprintf(out, 24, "%.0f us", seconds * 1e6);
	else if (seconds < 1)
		snprintf(out, 24, "%.3g ms", seconds * 1e3);
	else
		snprintf(out, 24, "%.3g s", seconds);
	return out;
}

/* ---- the parts ---- */

static void write_head(struct screen *screen)
{
	const json_t *now = screen->view->now;
	bool observe = strcmp(json_text(now, "mode"), "observe") == 0;
	long long seconds = (long long)(json_number(now, "time_ms") / 1000) % 86400;
	put_line(screen, BOLD, "parley %s  %s  %02lld:%02lld:%02lldZ  %s  workers %.0f",
		 json_text(now, "version"), json_text(now, "name"), seconds / 3600,
		 seconds / 60 % 60, seconds % 60, json_text(now, "durability"),
		 json_number(now, "workers"));
	if (observe)
		put_line(screen, YELLOW,
			 "mode OBSERVE: nothing is refused by policy, nothing is vouched for");
	else
		put_line(screen, PLAIN, "mode enforce");
	if (screen->view->problem)
		put_line(screen, RED, "NOT FRESH: %s", screen->view->problem);
}

static void write_traffic(struct screen *screen)
{
	const struct top_view *view = screen->view;
	const json_t *counters = part(view->now, "counters"), *rates = part(view->now, "rates");
	const json_t *connections = part(view->now, "connections");
	put_line(screen, PLAIN,
		 "requests %7.1f/s  admitted %7.1f/s  refused %6.1f/s  observed %6.1f/s",
		 json_number(rates, "requests"), json_number(rates, "admitted"),
		 json_number(rates, "refused"), json_number(rates, "observed"));
	put_line(screen, PLAIN,
		 "tokens   %8.0f/s in  %8.0f/s out   in flight %.0f  streams %.0f  clients %.0f",
		 json_number(rates, "input_tokens"), json_number(rates, "output_tokens"),
		 json_number(counters, "in_flight"), json_number(counters, "streams"),
		 json_number(connections, "clients"));
}

static void write_latency(struct screen *screen)
{
	const struct top_view *view = screen->view;
	static const char *const names[] = {"first_byte", "duration"};
	char spans[4][24];
	const char *shown[4];
	for (int i = 0; i < 4; i++)
		shown[i] = span(quantile(part(view->now, names[i / 2]),
					 part(view->before, names[i / 2]), i % 2 ? 0.99 : 0.5),
				spans[i]);
	put_line(screen, PLAIN, "latency  first byte p50 %s p99 %s   whole p50 %s p99 %s", shown[0],
		 shown[1], shown[2], shown[3]);
}

static void write_log(struct screen *screen, const char *name)
{
	const struct top_view *view = screen->view;
	const json_t *now = part(part(view->now, "logs"), name);
	const json_t *before = part(part(view->before, "logs"), name);
	double seconds = seconds_between(view->now, view->before);
	char median[24], high[24];
	bool full = json_is_true(part(now, "no_space"));
	put_line(screen, full ? RED : PLAIN,
		 "log %-10s %7.1f/s  commit p50 %s p99 %s  queue %.0f  unsigned %.0f%s", name,
		 rate(now, before, "records", seconds),
		 span(quantile(part(now, "commit"), part(before, "commit"), 0.5), median),
		 span(quantile(part(now, "commit"), part(before, "commit"), 0.99), high),
		 json_number(now, "waiting"),
		 json_number(now, "records") - json_number(now, "checkpoint"),
		 full ? "  DISK FULL" : "");
}

static void append(char *out, size_t size, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static void append(char *out, size_t size, const char *format, ...)
{
	size_t used = strlen(out);
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(out + used, size - used, format, arguments);
	va_end(arguments);
}

static void write_upstream(struct screen *screen)
{
	const json_t *connections = part(screen->view->now, "connections");
	char line[LINE_MAX_BYTES] = "";
	size_t index;
	json_t *provider;
	bool bad = false;
	json_array_foreach((json_t *)part(screen->view->now, "providers"), index, provider)
	{
		const char *kind;
		json_t *count;
		append(line, sizeof(line), "  %s", json_text(provider, "name"));
		if (json_object_size(part(provider, "errors")) == 0)
			append(line, sizeof(line), " ok");
		json_object_foreach((json_t *)part(provider, "errors"), kind, count)
		{
			append(line, sizeof(line), " %s %lld", kind,
			       (long long)json_integer_value(count));
			bad = true;
		}
	}
	put_line(screen, bad ? YELLOW : PLAIN, "upstream %.0f open, %.0f idle%s",
		 json_number(connections, "upstream_open"),
		 json_number(connections, "upstream_idle"), line);
}

static void write_rules(struct screen *screen, const char *name, const char *label)
{
	const struct top_view *view = screen->view;
	const json_t *now = part(view->now, name), *before = part(view->before, name);
	double seconds = seconds_between(view->now, view->before);
	char line[LINE_MAX_BYTES] = "";
	const char *rule;
	json_t *count;
	json_object_foreach((json_t *)now, rule, count)
	{
		append(line, sizeof(line), "  %s %lld", rule, (long long)json_integer_value(count));
		double per_second = rate(now, before, rule, seconds);
		if (per_second > 0)
			append(line, sizeof(line), " (%.1f/s)", per_second);
	}
	if (line[0])
		put_line(screen, PLAIN, "%s%s", label, line);
}

/* ---- grants ---- */

static double traffic(const json_t *grant)
{
	const json_t *rates = part(grant, "rates");
	return json_number(rates, "admitted") + json_number(rates, "refused");
}

static double count_of(const json_t *grant)
{
	return json_number(grant, "admitted") + json_number(grant, "refused");
}

static int by_traffic(const void *a, const void *b)
{
	const json_t *one = *(const json_t *const *)a, *two = *(const json_t *const *)b;
	double first = traffic(one), second = traffic(two);
	if (first == second) {
		first = count_of(one);
		second = count_of(two);
	}
	if (first != second)
		return first < second ? 1 : -1;
	return strcmp(json_text(one, "id"), json_text(two, "id"));
}

static double used_share(const json_t *limit)
{
	double max = json_number(limit, "max");
	return max > 0 ? (max - json_number(limit, "remaining")) / max : 1;
}

/* "rpm [####....] 50%", the most used first. */
static void append_limits(char *line, size_t size, const json_t *use)
{
	bool shown[64] = {false};
	size_t count = json_array_size(use) < 64 ? json_array_size(use) : 64;
	for (size_t done = 0; done < count; done++) {
		size_t most = count;
		for (size_t i = 0; i < count; i++)
			if (!shown[i] &&
			    (most == count || used_share(json_array_get(use, i)) >
						      used_share(json_array_get(use, most))))
				most = i;
		const json_t *limit = json_array_get(use, most);
		double share = used_share(limit);
		int full = (int)(share * BAR + 0.5);
		shown[most] = true;
		if (share == 0 && strcmp(json_text(limit, "of"), "interop_test") == 0)
			continue; /* every grant has these; most have no use for them */
		append(line, size, " %s%s%s [%.*s%.*s] %.0f%%",
		       strcmp(json_text(limit, "of"), "grant") == 0 ? "" : json_text(limit, "of"),
		       strcmp(json_text(limit, "of"), "grant") == 0 ? "" : ".",
		       json_text(limit, "limit"), full, "########", BAR - full, "........",
		       share * 100);
	}
}

static void write_grant(struct screen *screen, const json_t *grant)
{
	const json_t *rates = part(grant, "rates");
	char line[LINE_MAX_BYTES] = "";
	append(line, sizeof(line), "%-12.12s %-9.9s %-8.8s %6.1f %6.1f %7.0f %4.0f ",
	       json_text(grant, "id"), json_text(grant, "org"), json_text(grant, "state"),
	       json_number(rates, "admitted"),
	       json_number(rates, "refused") + json_number(rates, "observed"),
	       json_number(rates, "input") + json_number(rates, "output"),
	       json_number(grant, "live"));
	append_limits(line, sizeof(line), part(grant, "use"));
	put_line(screen, strcmp(json_text(grant, "state"), "active") == 0 ? PLAIN : DIM, "%s",
		 line);
}

static void write_grants(struct screen *screen)
{
	const json_t *grants = part(screen->view->now, "grants");
	size_t count = json_array_size(grants), shown = 0;
	const json_t **sorted = calloc(count + 1, sizeof(const json_t *));
	unsigned rows = screen->view->rows;
	put_line(screen, BOLD, "%-12s %-9s %-8s %6s %6s %7s %4s  %s", "GRANT", "ORG", "STATE",
		 "REQ/S", "REF/S", "TOKEN/S", "LIVE", "LIMITS USED");
	for (size_t i = 0; sorted && i < count; i++)
		sorted[i] = json_array_get(grants, i);
	if (sorted)
		qsort(sorted, count, sizeof(const json_t *), by_traffic);
	for (; sorted && shown < count && (!rows || screen->lines + 1 < rows); shown++)
		write_grant(screen, sorted[shown]);
	free(sorted);
	double all = json_number(screen->view->now, "grant_count");
	if (all > (double)shown)
		put_line(screen, DIM, "and %.0f grants more", all - (double)shown);
}

void top_view_write(const struct top_view *view, struct buf *out)
{
	struct screen screen = {.view = view, .out = out};
	if (!view->now) {
		put_line(&screen, RED, "%s", view->problem ? view->problem : "");
		return;
	}
	write_head(&screen);
	write_traffic(&screen);
	write_latency(&screen);
	write_log(&screen, "evaluation");
	write_log(&screen, "usage");
	write_upstream(&screen);
	write_rules(&screen, "refused_by", "refused ");
	write_rules(&screen, "observed_by", "observed");
	write_grants(&screen);
}
