/* C, by gcc inside the sandbox: the candidate is compiled by itself (its main, if it has one, under
 * another name), and linked with a program that calls it by the signature of the item. */
#include "grade/code_internal.h"

#include "base/json.h"
#include "grade/c_driver.h"
#include "grade/code_signature.h"

#include <ctype.h>
#include <stdio.h>
#include <unistd.h>

#define SHELL "/usr/bin/sh"
#define COMPILER "/usr/bin/gcc"
#define SCRIPT_MAX 512u

/* ---- the calls ---- */

static void append_scalar(struct buf *out, enum c_class class, const json_t *value)
{
	long long number = json_integer_value(value);

	if (class == C_BOOL)
		buf_append_cstr(out, json_is_true(value) ? "true" : "false");
	else if (class == C_REAL)
		buf_printf(out, "%.17g", json_number_value(value));
	else if (json_is_string(value))
		buf_printf(out, "(char)%d", (unsigned char)*json_string_value(value));
	else if (number < 0)
		buf_printf(out, "(-%lldLL-1)", -(number + 1)); /* also the smallest */
	else
		buf_printf(out, "%lldLL", number);
}

static void append_text(struct buf *out, const json_t *value)
{
	const char *text = json_string_value(value);

	for (size_t i = 0; i < json_string_length(value); i++)
		buf_printf(out, "(char)%d,", (unsigned char)text[i]);
	buf_append_cstr(out, "0}");
}

/* What lies behind a pointer is an object of its own for each call: v_CASE_PARAMETER. */
static void append_object(struct buf *out, const struct c_type *type, const json_t *value,
			  const char *name)
{
	size_t count = json_array_size(value);
	char element[64];

	if (c_type_is_text(type)) {
		buf_printf(out, "static char %s[] = {", name);
		append_text(out, value);
		buf_append_cstr(out, ";\n");
		return;
	}
	for (size_t i = 0; type->stars == 2 && i < count; i++) {
		snprintf(element, sizeof(element), "%s_%zu", name, i);
		append_object(out, &(struct c_type){.class = C_CHARACTER, .stars = 1},
			      json_array_get(value, i), element);
	}
	buf_printf(out, "static %s %s%s[%zu] = {", type->base, type->stars == 2 ? "*" : "", name,
		   count ? count : 1);
	for (size_t i = 0; i < count; i++) {
		if (type->stars == 2)
			buf_printf(out, "%s_%zu", name, i);
		else
			append_scalar(out, type->class, json_array_get(value, i));
		buf_append_char(out, ',');
	}
	buf_append_cstr(out, count ? "};\n" : "0};\n");
}

static void append_call(struct buf *out, const struct code_spec *spec,
			const struct c_signature *signature, const json_t *arguments, size_t number)
{
	buf_printf(out, "%s(", spec->entry_point);
	for (unsigned i = 0; i < signature->count; i++) {
		const struct c_type *type = &signature->parameters[i];

		buf_append_cstr(out, i ? ", " : "");
		if (type->stars == 2)
			buf_printf(out, "(void *)v_%zu_%u", number, i);
		else if (type->stars == 1)
			buf_printf(out, "v_%zu_%u", number, i);
		else
			append_scalar(out, type->class, json_array_get(arguments, i));
	}
	buf_append_char(out, ')');
}

static const char *const writers[] = {
	[C_BOOL] = "parley_bool",     [C_CHARACTER] = "parley_character",
	[C_SIGNED] = "parley_signed", [C_UNSIGNED] = "parley_unsigned",
	[C_REAL] = "parley_real",
};

static void append_changed(struct buf *out, const struct c_type *type, const json_t *value,
			   const char *name)
{
	if (c_type_is_text(type)) {
		buf_printf(out, "\tparley_text(%s, sizeof(%s));\n", name, name);
		return;
	}
	buf_printf(out, "\tparley_list(%zu);\n", json_array_size(value));
	buf_printf(out, "\tfor (size_t i = 0; i < %zu; i++)\n\t\t%s(%s[i]);\n",
		   json_array_size(value), writers[type->class], name);
}

/* The value: what the function returns, then what it may have changed; alone if it is one. */
static void append_case(struct buf *out, const struct code_spec *spec,
			const struct c_signature *signature, const json_t *arguments, size_t number)
{
	unsigned parts = signature->result.class != C_VOID;
	char name[64];

	for (unsigned i = 0; i < signature->count; i++)
		parts += c_type_is_changed(&signature->parameters[i]);
	buf_append_cstr(out, "{\n\t");
	if (signature->result.class != C_VOID)
		buf_printf(out, "%s%s result = ", signature->result.base,
			   signature->result.stars ? " *" : "");
	append_call(out, spec, signature, arguments, number);
	buf_append_cstr(out, ";\n\tparley_result();\n");
	if (parts == 0)
		buf_append_cstr(out, "\tparley_write(\"N\", 1);\n");
	if (parts > 1)
		buf_printf(out, "\tparley_list(%u);\n", parts);
	if (c_type_is_text(&signature->result))
		buf_append_cstr(out, "\tparley_text(result, SIZE_MAX);\n");
	else if (signature->result.class != C_VOID)
		buf_printf(out, "\t%s(result);\n", writers[signature->result.class]);
	for (unsigned i = 0; i < signature->count; i++) {
		snprintf(name, sizeof(name), "v_%zu_%u", number, i);
		if (c_type_is_changed(&signature->parameters[i]))
			append_changed(out, &signature->parameters[i], json_array_get(arguments, i),
				       name);
	}
	buf_append_cstr(out, "}\n");
}

static void append_driver(struct buf *out, const struct code_spec *spec,
			  const struct c_signature *signature)
{
	struct bytes prototype = bytes_trim(bytes_from(spec->signature));
	const json_t *item;
	size_t index;
	char name[64];

	while (prototype.size && prototype.data[prototype.size - 1] == ';')
		prototype.size--;
	buf_append_cstr(out, c_driver);
	buf_append_bytes(out, prototype);
	buf_append_cstr(out, ";\n");
	json_array_foreach((json_t *)spec->cases, index, item)
	{
		for (unsigned i = 0; i < signature->count; i++) {
			snprintf(name, sizeof(name), "v_%zu_%u", index, i);
			if (signature->parameters[i].stars)
				append_object(out, &signature->parameters[i],
					      json_array_get(json_object_get(item, "args"), i),
					      name);
		}
	}
	buf_append_cstr(out, "int main(void)\n{\nparley_silence();\n");
	json_array_foreach((json_t *)spec->cases, index, item)
		append_case(out, spec, signature, json_object_get(item, "args"), index);
	buf_append_cstr(out, "_exit(0);\n}\n");
}

/* ---- compiling and running ---- */

static enum err_code ready(struct err *err)
{
	if (access(COMPILER, X_OK) == 0 && access(SHELL, X_OK) == 0)
		return ERR_OK;
	return ERR_SET(err, ERR_ENVIRONMENT,
		       COMPILER " is missing: install the packages gcc and libc6-dev");
}

/* The compiler can't write the verdict. */
static const char compile_and_run[] =
	"head -c %zu >candidate.c && cat >driver.c && "
	"gcc -std=gnu17 -O2 -w -Dmain=candidate_main -c candidate.c 3>&- && "
	"gcc -std=gnu17 -O1 -w -o program driver.c candidate.o -lm 3>&- || exit %d\n"
	"exec ./program";

static enum err_code run_cases(const struct code_spec *spec, struct bytes code,
			       struct sandbox_result *run, struct err *err)
{
	struct buf input = BUF_INIT(CODE_INPUT_MAX);
	struct c_signature signature;
	char script[SCRIPT_MAX];

	ERR_TRY(ready(err));
	ERR_TRY(c_signature_read(spec->signature, spec->entry_point, "scorer", &signature, err));
	buf_append_bytes(&input, code);
	append_driver(&input, spec, &signature);
	snprintf(script, sizeof(script), compile_and_run, code.size, CODE_NOT_COMPILED);
	const char *const arguments[] = {SHELL, "-c", script, NULL};
	struct sandbox_program program = {
		.argv = arguments, .input = buf_bytes(&input), .limits = code_limits(spec)};
	enum err_code status =
		input.failed ? ERR_SET(err, ERR_NO_MEMORY, "out of memory for a program's cases")
			     : sandbox_run(&program, run, err);
	buf_release(&input);
	return status;
}

/* ---- the item ---- */

static enum err_code check_arguments(const struct c_signature *signature, const json_t *arguments,
				     const char *what, size_t number, struct err *err)
{
	char place[256];

	if (json_array_size(arguments) != signature->count)
		return ERR_SET(err, ERR_INVALID,
			       "%s: cases[%zu]: args: %zu where the signature has %u parameters",
			       what, number, json_array_size(arguments), signature->count);
	for (unsigned i = 0; i < signature->count; i++) {
		snprintf(place, sizeof(place), "%s: cases[%zu]: args[%u]", what, number, i);
		ERR_TRY(c_value_check(&signature->parameters[i], json_array_get(arguments, i),
				      place, err));
	}
	return ERR_OK;
}

static enum err_code check(const struct code_spec *spec, const char *what, struct err *err)
{
	struct c_signature signature;
	const json_t *item;
	size_t index;

	ERR_TRY(c_signature_read(spec->signature, spec->entry_point, what, &signature, err));
	json_array_foreach((json_t *)spec->cases, index, item) ERR_TRY(
		check_arguments(&signature, json_object_get(item, "args"), what, index, err));
	return ERR_OK;
}

/* A line at the left margin with NAME( after a type, that isn't a declaration only. */
static bool defines(struct bytes line, struct bytes name)
{
	line.size -= line.size && line.data[line.size - 1] == '\r';
	if (!line.size || isspace((unsigned char)*line.data) || strchr("#/*}", *line.data) ||
	    line.data[line.size - 1] == ';')
		return false;
	for (size_t at = 1; at + name.size < line.size; at++) {
		char before = line.data[at - 1];
		struct bytes here = bytes_of(line.data + at, line.size - at);

		if (isalnum((unsigned char)before) || before == '_' ||
		    !bytes_starts_with(here, name))
			continue;
		here = bytes_trim(bytes_of(here.data + name.size, here.size - name.size));
		if (here.size && *here.data == '(')
			return true;
	}
	return false;
}

static const char *const fences[] = {"", "c", "h", NULL};

const struct code_language code_c = {
	.name = "c",
	.fences = fences,
	.needs_signature = true,
	.defines = defines,
	.check = check,
	.ready = ready,
	.run_cases = run_cases,
};
