#include "suite/check.h"

#include "base/json.h"
#include "suite/suite_internal.h"
#include "suite/template.h"
#include "suite/words.h"

#include <assert.h>
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>

#define LEAK_MIN 4 /* bytes of a target: shorter ones stand in prompts by chance */
#define ITEMS_FILE "items.jsonl"

const char *suite_check_name(enum suite_check check)
{
	static const char *const names[] = {
#define X(name, text, help) text,
		SUITE_CHECKS(X)
#undef X
	};
	assert(check < SUITE_CHECK_COUNT);
	return names[check];
}

bool suite_checks(const struct suite_findings *findings, enum suite_check check)
{
	return !(findings->skip & 1u << check);
}

void suite_found(struct suite_findings *findings, enum suite_check check, const char *file,
		 size_t line, const char *format, ...)
{
	struct suite_finding finding = {.check = check, .file = file, .line = line};
	va_list arguments;
	if (!suite_checks(findings, check))
		return;
	va_start(arguments, format);
	vsnprintf(finding.message, sizeof(finding.message), format, arguments);
	va_end(arguments);
	size_t size = strlen(finding.message);
	while (size && !bytes_is_utf8(bytes_of(finding.message, size)))
		finding.message[--size] = '\0';
	findings->count++;
	if (findings->found)
		findings->found(findings->argument, &finding);
}

/* ---- texts ---- */

void suite_normal_words(struct bytes text, struct buf *out)
{
	bool between = false;
	for (size_t i = 0; i < text.size; i++) {
		unsigned char c = (unsigned char)text.data[i];
		if (!isalnum(c) && c < 0x80) {
			between = true;
			continue;
		}
		if (between && out->size)
			buf_append_char(out, ' ');
		between = false;
		buf_append_char(out, (char)tolower(c));
	}
}

struct own_text {
	const json_t *fields;
	struct buf *out;
};

static enum err_code add_own_field(void *argument, struct bytes name, struct err *err)
{
	const struct own_text *own = argument;
	const json_t *value = json_object_getn(own->fields, name.data, name.size);
	if (json_is_string(value))
		buf_append(own->out, json_string_value(value), json_string_length(value));
	else if (value)
		ERR_TRY(json_canonical(value, own->out, err));
	buf_append_char(own->out, '\n');
	return ERR_OK;
}

enum err_code suite_own_text(const struct suite *suite, const struct suite_item *item,
			     struct buf *out, struct err *err)
{
	struct own_text own = {item->fields, out};
	if (suite->words_field)
		words_question(item->words, out);
	if (suite->template)
		ERR_TRY(template_scan(suite->template, add_own_field, &own, err));
	for (size_t i = 0; i < json_array_size(suite->messages); i++) {
		const char *text = json_string_value(
			json_object_get(json_array_get(suite->messages, i), "text"));
		if (text)
			ERR_TRY(template_scan(text, add_own_field, &own, err));
	}
	return out->failed ? ERR_SET(err, ERR_NO_MEMORY, "out of memory checking an item") : ERR_OK;
}

static bool holds(struct bytes text, struct bytes part)
{
	return bytes_find(text, part) != NULL;
}

/* Whole words: both texts are normal, a space on both sides. */
static bool holds_words(struct bytes text, struct bytes part)
{
	const char *at = text.data;
	size_t left = text.size;
	while (part.size && left >= part.size && (at = memmem(at, left, part.data, part.size))) {
		const char *end = at + part.size;
		if ((at == text.data || at[-1] == ' ') &&
		    (end == text.data + text.size || *end == ' '))
			return true;
		left = (size_t)(text.data + text.size - ++at);
	}
	return false;
}

/* ---- licence and canary ---- */

static void check_licence(const struct suite *suite, struct suite_findings *findings)
{
	if (!suite->licence[0])
		suite_found(findings, SUITE_CHECK_LICENCE, "suite.yaml", 1,
			    "no licence is named: nobody else may use the suite; add licence: …");
}

static void check_canary(const struct suite *suite, struct suite_findings *findings)
{
	size_t missing = 0, first = 0;
	if (!suite->canary) {
		suite_found(findings, SUITE_CHECK_CANARY, "suite.yaml", 1,
			    "no canary: nobody can find out whether a model was trained on the "
			    "suite; add canary: a text with a random UUID (uuidgen), and a field "
			    "with it in each item");
		return;
	}
	for (size_t i = 0; i < suite->count; i++)
		if (!holds(suite_item_line(suite, i), bytes_from(suite->canary)) && !missing++)
			first = i + 1;
	if (missing)
		suite_found(findings, SUITE_CHECK_CANARY, ITEMS_FILE, first,
			    "%zu of %zu items do not hold the canary: lines are copied without "
			    "suite.yaml; add a field with it",
			    missing, suite->count);
}

/* ---- leaks ---- */

struct leak_search {
	const struct suite *suite;
	const struct suite_item *item;
	struct suite_findings *findings;
	struct buf prompt; /* normal words of what the item itself asks */
	struct buf part;   /* the same of what is looked for */
};

static bool finds(struct leak_search *search, const char *text, size_t size)
{
	buf_clear(&search->part);
	suite_normal_words(bytes_of(text, size), &search->part);
	return search->part.size >= LEAK_MIN &&
	       holds_words(buf_bytes(&search->prompt), buf_bytes(&search->part));
}

static void report_leak(struct leak_search *search, const char *what)
{
	suite_found(search->findings, SUITE_CHECK_LEAK, ITEMS_FILE, search->item->index + 1,
		    "item %s: the prompt holds %s", search->item->id, what);
}

/* Of the scorers that compare with a text; a choice's target is among what is asked. */
static void find_target(struct leak_search *search)
{
	const json_t *scorer = search->item->scorer, *target = json_object_get(scorer, "target");
	const char *kind = json_text(scorer, "kind");
	if (strcmp(kind, "exact") != 0 && strcmp(kind, "contains") != 0)
		return;
	size_t count = json_is_array(target) ? json_array_size(target) : 1;
	for (size_t i = 0; i < count; i++) {
		const json_t *one = json_is_array(target) ? json_array_get(target, i) : target;
		if (json_is_string(one) &&
		    finds(search, json_string_value(one), json_string_length(one))) {
			report_leak(search, "the target of its scorer");
			return;
		}
	}
}

/* Two lines of the reference, one after the other, are no chance. */
static void find_reference(struct leak_search *search)
{
	struct bytes rest = bytes_from(json_text(search->item->fields, "reference"));
	unsigned in_a_row = 0;
	while (rest.size) {
		struct bytes line = bytes_trim(bytes_split(rest, '\n', &rest));
		if (line.size < LEAK_MIN)
			continue;
		in_a_row = finds(search, line.data, line.size) ? in_a_row + 1 : 0;
		if (in_a_row == 2 && search->part.size >= 2 * LEAK_MIN) {
			report_leak(search, "lines of the reference");
			return;
		}
	}
}

static bool is_shown(const struct suite *suite, const json_t *item_messages)
{
	const json_t *last = json_array_get(item_messages, json_array_size(item_messages) - 1);
	for (size_t i = 0; i < json_array_size(suite->examples); i++)
		if (json_equal(json_array_get(item_messages, 2 * i), last))
			return true;
	return false;
}

static enum err_code find_leaks(const struct suite *suite, const struct suite_item *item,
				struct suite_findings *findings, struct err *err)
{
	struct leak_search search = {suite, item, findings, BUF_INIT(WORDS_MAX),
				     BUF_INIT(WORDS_MAX)};
	struct buf question = BUF_INIT(WORDS_MAX);
	enum err_code code = suite_own_text(suite, item, &question, err);
	suite_normal_words(buf_bytes(&question), &search.prompt);
	find_target(&search);
	find_reference(&search);
	words_question(item->words, &question);
	if (is_shown(suite, json_object_get(item->words, "messages")))
		report_leak(&search, "the item itself as an example, with its answer");
	if (suite->canary && holds(buf_bytes(&question), bytes_from(suite->canary)))
		suite_found(findings, SUITE_CHECK_CANARY, ITEMS_FILE, item->index + 1,
			    "item %s: the canary is in the prompt, where models are shown it",
			    item->id);
	bool failed = question.failed || search.prompt.failed || search.part.failed;
	buf_release(&question);
	buf_release(&search.prompt);
	buf_release(&search.part);
	return failed && code == ERR_OK
		       ? ERR_SET(err, ERR_NO_MEMORY, "out of memory checking item %s", item->id)
		       : code;
}

/* ---- pairs ---- */

static enum err_code expectation(const struct suite *suite, size_t index, char *out, size_t size,
				 struct err *err)
{
	struct suite_item item;
	ERR_TRY(suite_item_render(suite, index, &item, err));
	snprintf(out, size, "%s", json_text(item.scorer, "expect"));
	suite_item_release(&item);
	return ERR_OK;
}

/* A pair is asked twice so that the two can be told apart: each has its own expectation. */
static enum err_code check_pair(const struct suite *suite, const struct suite_item *item,
				struct suite_findings *findings, struct err *err)
{
	const char *pair = json_text(item->fields, "pair"), *id = item->id;
	const char *expect = json_text(item->scorer, "expect");
	char other[32];
	size_t index;
	if (!*pair)
		return ERR_OK;
	if (!suite_find(suite, bytes_from(pair), &index) || index == item->index) {
		suite_found(findings, SUITE_CHECK_PAIR, ITEMS_FILE, item->index + 1,
			    "item %s: its pair %s is %s", id, pair,
			    index == item->index ? "itself" : "no item");
		return ERR_OK;
	}
	ERR_TRY(expectation(suite, index, other, sizeof(other), err));
	if (*expect && strcmp(expect, other) == 0)
		suite_found(findings, SUITE_CHECK_PAIR, ITEMS_FILE, item->index + 1,
			    "item %s: its pair %s expects \"%s\" too: the pair is unbalanced", id,
			    pair, expect);
	return ERR_OK;
}

/* A twin asks the same: what refuses the one and answers the other is right about neither. */
static enum err_code check_twin(const struct suite *suite, const struct suite_item *item,
				struct suite_findings *findings, struct err *err)
{
	const char *expect = json_text(item->scorer, "expect");
	char other[32];
	size_t original;
	if (!suite_original(suite, item->index, &original))
		return ERR_OK;
	ERR_TRY(expectation(suite, original, other, sizeof(other), err));
	if (strcmp(expect, other) != 0)
		suite_found(findings, SUITE_CHECK_TWIN, ITEMS_FILE, item->index + 1,
			    "item %s expects \"%s\", item %s, whose twin it is, \"%s\"", item->id,
			    expect, suite_id(suite, original), other);
	return ERR_OK;
}

/* ---- the whole ---- */

struct duplicates {
	const struct suite *suite;
	struct suite_findings *findings;
};

static void report_duplicate(void *argument, size_t first, size_t duplicate)
{
	const struct duplicates *duplicates = argument;
	suite_found(duplicates->findings, SUITE_CHECK_DUPLICATE, ITEMS_FILE, duplicate + 1,
		    "items %s and %s have the same words", suite_id(duplicates->suite, first),
		    suite_id(duplicates->suite, duplicate));
}

static enum err_code check_items(const struct suite *suite, struct suite_findings *findings,
				 struct err *err)
{
	for (size_t i = 0; i < suite->count; i++) {
		struct suite_item item;
		ERR_TRY(suite_item_render(suite, i, &item, err));
		enum err_code code = find_leaks(suite, &item, findings, err);
		if (code == ERR_OK)
			code = check_pair(suite, &item, findings, err);
		if (code == ERR_OK)
			code = check_twin(suite, &item, findings, err);
		suite_item_release(&item);
		ERR_TRY(code);
	}
	return ERR_OK;
}

enum err_code suite_check(const struct suite *suite, struct suite_findings *findings,
			  struct err *err)
{
	struct duplicates duplicates = {suite, findings};
	size_t ignored;
	check_licence(suite, findings);
	check_canary(suite, findings);
	ERR_TRY(suite_duplicates(suite, report_duplicate, &duplicates, &ignored, err));
	if (suite_checks(findings, SUITE_CHECK_NEAR))
		ERR_TRY(suite_check_near(suite, findings, err));
	return check_items(suite, findings, err);
}
