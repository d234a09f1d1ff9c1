#include "verify/report.h"

#include "base/json.h"
#include "bench/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define NOTE_TEXT_MAX 2000u

static const char *const verdict_names[] = {"false", "self-certified", "vouched"};
static const char *const section_names[] = {"checked", "unchecked", "trusted"};
static const char *const section_titles[] = {"checked", "not checked", "trusted"};

const char *verify_verdict_name(enum verify_verdict verdict)
{
	return verdict_names[verdict];
}

static void __attribute__((format(printf, 3, 0)))
format_line(char *out, size_t size, const char *format, va_list arguments)
{
	char text[NOTE_TEXT_MAX];
	vsnprintf(text, sizeof(text), format, arguments);
	text_line(out, size, bytes_from(text));
}

static bool make_room(struct verify_report *report)
{
	if (report->count < report->capacity)
		return true;
	if (report->count == VERIFY_NOTES_MAX)
		return false;
	size_t capacity = report->capacity ? 2 * report->capacity : 16;
	struct verify_note *notes = realloc(report->notes, capacity * sizeof(*notes));
	if (!notes)
		return false;
	report->notes = notes;
	report->capacity = capacity;
	return true;
}

void report_note(struct verify_report *report, enum verify_section section, const char *format, ...)
{
	char line[NOTE_TEXT_MAX];
	va_list arguments;
	va_start(arguments, format);
	format_line(line, sizeof(line), format, arguments);
	va_end(arguments);
	if (!make_room(report))
		return;
	char *text = strdup(line);
	if (text)
		report->notes[report->count++] = (struct verify_note){section, text};
}

void report_verdict(struct verify_report *report, enum verify_verdict verdict, const char *format,
		    ...)
{
	va_list arguments;
	va_start(arguments, format);
	format_line(report->headline, sizeof(report->headline), format, arguments);
	va_end(arguments);
	report->verdict = verdict;
}

/* Codes that blame the material. */
static bool is_refutation(enum err_code code)
{
	return code == ERR_MISMATCH || code == ERR_INVALID || code == ERR_CORRUPT ||
	       code == ERR_TOO_LARGE || code == ERR_NOT_FOUND || code == ERR_PROTOCOL;
}

enum err_code report_failure(struct verify_report *report, const struct err *err)
{
	if (!is_refutation(err->code))
		return err->code;
	report_verdict(report, VERIFY_FALSE, "FALSE: %s", err->message);
	return ERR_OK;
}

void verify_report_release(struct verify_report *report)
{
	for (size_t i = 0; i < report->count; i++)
		free(report->notes[i].text);
	free(report->notes);
	json_decref(report->results);
	json_decref(report->grants);
	*report = (struct verify_report){0};
}

/* ---- for machines ---- */

static json_t *section_json(const struct verify_report *report, enum verify_section section)
{
	json_t *list = json_array();
	for (size_t i = 0; list && i < report->count; i++) {
		if (report->notes[i].section != section)
			continue;
		if (json_array_append_new(list, json_string(report->notes[i].text)) != 0) {
			json_decref(list);
			return NULL;
		}
	}
	return list;
}

json_t *verify_report_json(const struct verify_report *report)
{
	json_t *object =
		json_pack("{s:s, s:s, s:s, s:O*, s:O*}", "subject", report->subject, "verdict",
			  verify_verdict_name(report->verdict), "headline", report->headline,
			  "results", report->results, "grants", report->grants);
	for (int section = VERIFY_CHECKED; object && section <= VERIFY_TRUSTED; section++) {
		json_t *list = section_json(report, (enum verify_section)section);
		if (json_object_set_new(object, section_names[section], list) != 0) {
			json_decref(object);
			return NULL;
		}
	}
	return object;
}

/* ---- for people ---- */

static void append_text(struct buf *out, const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));
	text_append_line(out, bytes_from(text), 200);
}

static void append_result(struct buf *out, const json_t *result)
{
	buf_append_cstr(out, "  ");
	append_text(out, result, "suite");
	buf_append_cstr(out, ", ");
	append_text(out, result, "model");
	buf_append_cstr(out, ", ");
	append_text(out, result, "metric");
	buf_printf(out, ": %.4f [%.4f, %.4f], n = %lld", json_number(result, "value"),
		   json_number(result, "low"), json_number(result, "high"),
		   (long long)json_integer_value(json_object_get(result, "n")));
	long long failed = json_integer_value(json_object_get(result, "failed"));
	if (failed > 0)
		buf_printf(out, ", %lld failed", failed);
	if (failed > 0 && json_object_get(result, "if_passed"))
		buf_printf(out, " (had they passed: %.4f)", json_number(result, "if_passed"));
	buf_append_char(out, '\n');
}

static void append_section(struct buf *out, const struct verify_report *report,
			   enum verify_section section)
{
	bool titled = false;
	for (size_t i = 0; i < report->count; i++) {
		if (report->notes[i].section != section)
			continue;
		if (!titled)
			buf_printf(out, "%s:\n", section_titles[section]);
		titled = true;
		buf_printf(out, "  %s\n", report->notes[i].text);
	}
}

void verify_report_text(const struct verify_report *report, struct buf *out)
{
	buf_printf(out, "%s\n", report->headline);
	if (json_array_size(report->results) > 0)
		buf_append_cstr(out, "results, recomputed:\n");
	for (size_t i = 0; i < json_array_size(report->results); i++)
		append_result(out, json_array_get(report->results, i));
	for (int section = VERIFY_CHECKED; section <= VERIFY_TRUSTED; section++)
		append_section(out, report, (enum verify_section)section);
}
