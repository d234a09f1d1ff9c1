#include "grade/code_signature.h"

#include <ctype.h>
#include <stdio.h>

/* ---- words ---- */

#define WORD_MAX 64u

struct reader {
	const char *at;
	char word[WORD_MAX]; /* an identifier or one other character; empty at the end */
};

static void next(struct reader *reader)
{
	size_t size = 0;

	while (isspace((unsigned char)*reader->at))
		reader->at++;
	if (isalpha((unsigned char)*reader->at) || *reader->at == '_')
		while ((isalnum((unsigned char)*reader->at) || *reader->at == '_') &&
		       size < WORD_MAX - 1)
			reader->word[size++] = *reader->at++;
	else if (*reader->at)
		reader->word[size++] = *reader->at++;
	reader->word[size] = '\0';
}

static bool is(const struct reader *reader, const char *word)
{
	return strcmp(reader->word, word) == 0;
}

static bool take(struct reader *reader, const char *word)
{
	if (!is(reader, word))
		return false;
	next(reader);
	return true;
}

/* ---- types ---- */

static const struct {
	const char *name;
	enum c_class class;
} types[] = {
	{"void",               C_VOID     },
	{"bool",               C_BOOL     },
	{"_Bool",              C_BOOL     },
	{"char",               C_CHARACTER},
	{"signed char",        C_SIGNED   },
	{"short",              C_SIGNED   },
	{"int",		C_SIGNED   },
	{"long",               C_SIGNED   },
	{"long long",          C_SIGNED   },
	{"int8_t",             C_SIGNED   },
	{"int16_t",            C_SIGNED   },
	{"int32_t",            C_SIGNED   },
	{"int64_t",            C_SIGNED   },
	{"ptrdiff_t",          C_SIGNED   },
	{"ssize_t",            C_SIGNED   },
	{"unsigned",           C_UNSIGNED },
	{"unsigned int",       C_UNSIGNED },
	{"unsigned char",      C_UNSIGNED },
	{"unsigned short",     C_UNSIGNED },
	{"unsigned long",      C_UNSIGNED },
	{"unsigned long long", C_UNSIGNED },
	{"uint8_t",            C_UNSIGNED },
	{"uint16_t",           C_UNSIGNED },
	{"uint32_t",           C_UNSIGNED },
	{"uint64_t",           C_UNSIGNED },
	{"size_t",             C_UNSIGNED },
	{"float",              C_REAL     },
	{"double",             C_REAL     },
};

static bool is_base_word(const struct reader *reader)
{
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		const char *name = types[i].name;

		if (is(reader, name) || (strncmp(name, reader->word, strlen(reader->word)) == 0 &&
					 reader->word[0] && name[strlen(reader->word)] == ' '))
			return true;
	}
	return false;
}

static bool take_base(struct reader *reader, struct c_type *type)
{
	size_t size = 0;

	while (is_base_word(reader) && size + strlen(reader->word) + 2 < sizeof(type->base)) {
		size += (size_t)snprintf(type->base + size, sizeof(type->base) - size, "%s%s",
					 size ? " " : "", reader->word);
		next(reader);
	}
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		if (strcmp(types[i].name, type->base) == 0) {
			type->class = types[i].class;
			return true;
		}
	}
	return false;
}

static bool take_type(struct reader *reader, struct c_type *type)
{
	*type = (struct c_type){0};
	type->constant = take(reader, "const");
	if (!take_base(reader, type))
		return false;
	type->constant |= take(reader, "const");
	for (; take(reader, "*"); take(reader, "const"))
		type->stars++;
	take(reader, "restrict");
	if (type->class == C_VOID)
		return type->stars == 0;
	return type->stars <= (type->class == C_CHARACTER ? 2u : 1u);
}

bool c_type_is_text(const struct c_type *type)
{
	return type->class == C_CHARACTER && type->stars == 1;
}

bool c_type_is_changed(const struct c_type *type)
{
	return type->stars == 1 && !type->constant;
}

/* ---- the signature ---- */

static enum err_code take_parameters(struct reader *reader, const char *what,
				     struct c_signature *out, struct err *err)
{
	struct c_type *type = out->parameters;

	for (;; type++, out->count++) {
		if (out->count == C_PARAMETERS_MAX)
			return ERR_SET(err, ERR_INVALID,
				       "%s: signature: more than %u parameters cannot be passed",
				       what, C_PARAMETERS_MAX);
		if (!take_type(reader, type))
			return ERR_SET(err, ERR_INVALID,
				       "%s: signature: parameter %u has no type that can be passed "
				       "(numbers, bool, char, and pointers to them; char **)",
				       what, out->count + 1);
		if (type->class == C_VOID) /* f(void) */
			break;
		if (isalpha((unsigned char)reader->word[0]) || reader->word[0] == '_')
			next(reader);
		if (take(reader, ","))
			continue;
		out->count++;
		break;
	}
	if (!is(reader, ")"))
		return ERR_SET(err, ERR_INVALID, "%s: signature: '%s' where , or ) is needed", what,
			       reader->word);
	next(reader);
	take(reader, ";");
	if (reader->word[0])
		return ERR_SET(err, ERR_INVALID, "%s: signature: '%s' after its end", what,
			       reader->word);
	return ERR_OK;
}

enum err_code c_signature_read(const char *text, const char *name, const char *what,
			       struct c_signature *out, struct err *err)
{
	struct reader reader = {.at = text};

	*out = (struct c_signature){0};
	next(&reader);
	if (!take_type(&reader, &out->result) ||
	    (out->result.stars && !c_type_is_text(&out->result)))
		return ERR_SET(err, ERR_INVALID,
			       "%s: signature: must begin with a type that can be returned: void, "
			       "bool, a number, char or char *",
			       what);
	if (!take(&reader, name) || !take(&reader, "("))
		return ERR_SET(err, ERR_INVALID, "%s: signature: %s( must follow the first type",
			       what, name);
	return take_parameters(&reader, what, out, err);
}

/* ---- values ---- */

static bool scalar_fits(enum c_class class, const json_t *value)
{
	switch (class) {
	case C_BOOL:
		return json_is_boolean(value);
	case C_CHARACTER:
		return (json_is_string(value) && json_string_length(value) == 1) ||
		       json_is_integer(value);
	case C_SIGNED:
		return json_is_integer(value);
	case C_UNSIGNED:
		return json_is_integer(value) && json_integer_value(value) >= 0;
	case C_REAL:
		return json_is_number(value);
	case C_VOID:
		break;
	}
	return false;
}

static bool fits(const struct c_type *type, const json_t *value)
{
	struct c_type element = *type;

	if (type->stars == 0)
		return scalar_fits(type->class, value);
	if (c_type_is_text(type))
		return json_is_string(value);
	if (!json_is_array(value))
		return false;
	element.stars--;
	for (size_t i = 0; i < json_array_size(value); i++)
		if (!fits(&element, json_array_get(value, i)))
			return false;
	return true;
}

enum err_code c_value_check(const struct c_type *type, const json_t *value, const char *what,
			    struct err *err)
{
	if (fits(type, value))
		return ERR_OK;
	return ERR_SET(err, ERR_INVALID, "%s: this value cannot be passed as %s%s%s", what,
		       type->base, type->stars ? " " : "",
		       type->stars == 2   ? "**"
		       : type->stars == 1 ? "*"
					  : "");
}
