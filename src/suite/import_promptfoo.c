/* Configurations of promptfoo (promptfooconfig.yaml or .json): every prompt with every test's vars
 * is an item. All assertions of a test become one PCRE2 pattern, as far as a text alone decides
 * them: equals, contains (-any, -all), icontains (-any, -all), starts-with, regex, and their not-
 * forms. Tests with others (programs, judges, similarity), with weights or thresholds, or with
 * files are left out and counted: what remains asks and passes what promptfoo does. */
#include "suite/import_internal.h"

#include "base/json.h"
#include "base/yaml.h"
#include "suite/template.h"

#include <stdio.h>

#define TEXT_MAX ((size_t)4 << 20)

static bool detect(struct bytes content, const json_t *first)
{
	if (first)
		return json_object_get(first, "prompts") &&
		       (json_object_get(first, "tests") || json_object_get(first, "providers"));
	return bytes_starts_with(content, BYTES("prompts:")) ||
	       (bytes_find(content, BYTES("\nprompts:")) && bytes_find(content, BYTES("\ntests:")));
}

/* ---- assertions ---- */

/* As a literal: what PCRE2 gives a meaning is escaped. */
static void append_literal(struct buf *out, const char *text)
{
	for (; *text; text++) {
		if (strchr("\\^$.[]|()?*+{}#-", *text))
			buf_append_char(out, '\\');
		buf_append_char(out, *text);
	}
}

enum form { FORM_LITERAL, FORM_ANY, FORM_ALL, FORM_PATTERN };

/* How a type is said in a pattern: what stands around the text. */
struct assertion {
	const char *type;
	enum form form;
	const char *before, *after;
};

static const struct assertion assertions[] = {
	{"equals",        FORM_LITERAL, "",              "\\z"},
	{"contains",      FORM_LITERAL, "[\\s\\S]*",     ""   },
	{"contains-any",  FORM_ANY,     "[\\s\\S]*",     ""   },
	{"contains-all",  FORM_ALL,     "[\\s\\S]*",     ""   },
	{"icontains",     FORM_LITERAL, "(?i)[\\s\\S]*", ""   },
	{"icontains-any", FORM_ANY,     "(?i)[\\s\\S]*", ""   },
	{"icontains-all", FORM_ALL,     "(?i)[\\s\\S]*", ""   },
	{"starts-with",   FORM_LITERAL, "",              ""   },
	{"regex",         FORM_PATTERN, "[\\s\\S]*?",    ""   },
};

static const struct assertion *find_assertion(const char *type)
{
	for (size_t i = 0; i < sizeof(assertions) / sizeof(assertions[0]); i++)
		if (strcmp(type, assertions[i].type) == 0)
			return &assertions[i];
	return NULL;
}

/* One lookahead at the beginning of the answer. */
static void append_condition(struct buf *out, const struct assertion *assertion, bool not,
			     const char *text)
{
	buf_printf(out, "(?%c%s(?:", not ? '!' : '=', assertion->before);
	if (assertion->form == FORM_PATTERN)
		buf_append_cstr(out, text);
	else
		append_literal(out, text);
	buf_printf(out, ")%s)", assertion->after);
}

static bool append_any(struct buf *out, const struct assertion *assertion, bool not,
		       const json_t *texts)
{
	buf_printf(out, "(?%c%s(?:", not ? '!' : '=', assertion->before);
	for (size_t i = 0; i < json_array_size(texts); i++) {
		buf_append_cstr(out, i ? "|" : "");
		append_literal(out, json_string_value(json_array_get(texts, i)));
	}
	buf_printf(out, ")%s)", assertion->after);
	return true;
}

/* All of them, or, turned round, not all of them. */
static bool append_all(struct buf *out, const struct assertion *assertion, bool not,
		       const json_t *texts)
{
	buf_append_cstr(out, not ? "(?!" : "");
	for (size_t i = 0; i < json_array_size(texts); i++)
		append_condition(out, assertion, false,
				 json_string_value(json_array_get(texts, i)));
	buf_append_cstr(out, not ? ")" : "");
	return true;
}

static bool are_texts(const json_t *list)
{
	bool texts = json_array_size(list) > 0;
	for (size_t i = 0; i < json_array_size(list); i++)
		texts &= json_is_string(json_array_get(list, i));
	return texts;
}

/* The value with its vars filled in; a new reference, NULL where it cannot be. */
static json_t *value_of(const json_t *assertion, const json_t *vars)
{
	struct err ignored = ERR_INIT;
	const json_t *value = json_object_get(assertion, "value");
	json_t *rendered = NULL;
	char number[32];
	if (json_is_integer(value)) {
		snprintf(number, sizeof(number), "%lld", (long long)json_integer_value(value));
		return json_string(number);
	}
	return value && template_render_json(value, vars, &rendered, &ignored) == ERR_OK ? rendered
											 : NULL;
}

static bool append_assertion(struct buf *out, const json_t *assertion, const json_t *vars)
{
	static const char *const plain[] = {"type", "value", "metric", NULL};
	struct err ignored = ERR_INIT;
	const char *type = json_text(assertion, "type");
	bool not = bytes_starts_with(bytes_from(type), BYTES("not-"));
	const struct assertion *known = find_assertion(type + (not ? 4 : 0));
	if (!known || json_only_keys(assertion, plain, "", &ignored) != ERR_OK)
		return false;
	json_t *value = value_of(assertion, vars);
	bool list = known->form == FORM_ANY || known->form == FORM_ALL;
	const char *text = json_string_value(value);
	bool done = list ? are_texts(value) : text && strncmp(text, "file://", 7) != 0;
	if (done && known->form == FORM_ANY)
		append_any(out, known, not, value);
	else if (done && known->form == FORM_ALL)
		append_all(out, known, not, value);
	else if (done)
		append_condition(out, known, not, text);
	json_decref(value);
	return done;
}

/* ---- tests ---- */

struct config {
	struct import *import;
	const json_t *defaults; /* defaultTest, or NULL */
};

/* The test's own vars over those of all. A new reference. */
static json_t *vars_of(const struct config *config, const json_t *test)
{
	json_t *vars = json_object();
	const json_t *common = json_object_get(config->defaults, "vars");
	const json_t *own = json_object_get(test, "vars");
	if (json_is_object(common))
		json_object_update(vars, (json_t *)common);
	if (json_is_object(own))
		json_object_update(vars, (json_t *)own);
	return vars;
}

/* Lists mean one test for each of their values, and files are not read. */
static bool are_plain(const json_t *vars)
{
	const char *name;
	json_t *value;
	json_object_foreach((json_t *)vars, name, value)
	{
		const char *text = json_string_value(value);
		if (json_is_array(value) || (text && strncmp(text, "file://", 7) == 0))
			return false;
	}
	return true;
}

static bool append_assertions(struct buf *out, const json_t *test, const json_t *vars)
{
	const json_t *list = json_object_get(test, "assert");
	bool known = json_object_get(test, "threshold") == NULL;
	for (size_t i = 0; known && i < json_array_size(list); i++)
		known = append_assertion(out, json_array_get(list, i), vars);
	return known;
}

/* Nunjucks beyond {{name}} is not ours. A new reference, or NULL. */
static json_t *render_prompt(const char *template, const json_t *vars)
{
	struct err ignored = ERR_INIT;
	struct buf text = BUF_INIT(TEXT_MAX);
	json_t *words = NULL;
	if (!strstr(template, "{%") && !strstr(template, "{#") &&
	    template_render(template, vars, &text, &ignored) == ERR_OK && !text.failed) {
		json_error_t error;
		struct bytes trimmed = bytes_trim(buf_bytes(&text));
		json_t *chat = bytes_starts_with(trimmed, BYTES("["))
				       ? json_loadb(trimmed.data, trimmed.size, 0, &error)
				       : NULL;
		words = chat ? import_chat(chat, json_array_size(chat))
			     : json_stringn(text.data ? text.data : "", text.size);
		json_decref(chat);
	}
	buf_release(&text);
	return words;
}

static enum err_code add_rendered(struct import *import, const char *id, const json_t *words,
				  const struct buf *pattern, const json_t *test, struct err *err)
{
	const char *description = json_text(test, "description");
	json_t *target = json_stringn(pattern->data, pattern->size);
	json_t *extra = *description ? json_pack("{s:s}", "description", description) : NULL;
	struct import_example example = {
		.id = id, .prompt = words, .target = target, .extra = extra};
	enum err_code code = target ? import_add_example(import, &example, err)
				    : ERR_SET(err, ERR_NO_MEMORY, "out of memory");
	json_decref(target);
	json_decref(extra);
	return code;
}

static enum err_code add_test(const struct config *config, const char *template, const char *id,
			      const json_t *test, struct err *err)
{
	struct buf pattern = BUF_INIT(TEXT_MAX);
	json_t *vars = vars_of(config, test);
	json_t *words = are_plain(vars) ? render_prompt(template, vars) : NULL;
	enum err_code code = ERR_OK;
	buf_append_cstr(&pattern, "\\A");
	if (!words)
		import_leave_out(
			config->import,
			"test %s has a prompt with more than {{names}}, or vars that are lists "
			"or files",
			id);
	else if (!append_assertions(&pattern, config->defaults, vars) ||
		 !append_assertions(&pattern, test, vars))
		import_leave_out(config->import,
				 "test %s has an assertion that is no matter of the text alone",
				 id);
	else if (pattern.size == 2)
		import_leave_out(config->import, "test %s asserts nothing", id);
	else
		code = add_rendered(config->import, id, words, &pattern, test, err);
	json_decref(words);
	json_decref(vars);
	buf_release(&pattern);
	return code;
}

/* ---- the configuration ---- */

/* A text, or {raw: text}. NULL where it is a file or a program. */
static const char *prompt_text(const json_t *prompt)
{
	const char *text =
		json_is_object(prompt) ? json_text(prompt, "raw") : json_string_value(prompt);
	return text && *text && strncmp(text, "file://", 7) != 0 && strncmp(text, "exec:", 5) != 0
		       ? text
		       : NULL;
}

static enum err_code add_prompt(const struct config *config, size_t number, const json_t *prompt,
				const json_t *tests, struct err *err)
{
	const char *text = prompt_text(prompt);
	if (!text)
		return ERR_SET(err, ERR_INVALID,
			       "%s: prompt %zu is no text: put what the file holds in its place",
			       config->import->input, number);
	for (size_t i = 0; i < json_array_size(tests); i++) {
		const json_t *test = json_array_get(tests, i);
		char id[48];
		snprintf(id, sizeof(id), "%zu-%zu", number, i + 1);
		if (!json_is_object(test))
			return ERR_SET(
				err, ERR_INVALID,
				"%s: test %zu is no mapping: put what the file holds in its place",
				config->import->input, i + 1);
		ERR_TRY(add_test(config, text, id, test, err));
	}
	return ERR_OK;
}

static enum err_code run_config(struct import *import, const json_t *root, struct err *err)
{
	const json_t *prompts = json_object_get(root, "prompts");
	const json_t *tests = json_object_get(root, "tests");
	struct config config = {import, json_object_get(root, "defaultTest")};
	if (!json_is_array(tests))
		return ERR_SET(
			err, ERR_INVALID,
			"%s: \"tests\" must be a list of tests: a file of them is imported as csv "
			"or jsonl",
			import->input);
	import_examples_yaml(import, "promptfoo", NULL, "{ kind: regex, pattern: \"{{target}}\" }");
	if (json_is_string(prompts))
		return add_prompt(&config, 1, prompts, tests, err);
	for (size_t i = 0; i < json_array_size(prompts); i++)
		ERR_TRY(add_prompt(&config, i + 1, json_array_get(prompts, i), tests, err));
	return ERR_OK;
}

static enum err_code run(struct import *import, struct err *err)
{
	struct bytes text = bytes_trim(import->content);
	struct yaml_tree *tree = NULL;
	json_t *json = NULL;
	bool is_json = bytes_starts_with(text, BYTES("{"));
	enum err_code code = is_json ? json_parse(text, import->input, &json, err)
				     : yaml_parse(import->content, import->input, &tree, err);
	if (code == ERR_OK)
		code = run_config(import, is_json ? json : yaml_root(tree), err);
	json_decref(json);
	yaml_tree_free(tree);
	return code;
}

const struct import_format import_promptfoo = {"promptfoo", detect, run};
