/* The languages of programs, and how each shows in an answer that it defines a name. */
#include "grade/code_internal.h"

#include <ctype.h>

static const struct code_language *const languages[] = {&code_python, &code_javascript, &code_c};

const struct code_language *code_language_find(const char *name)
{
	for (size_t i = 0; i < sizeof(languages) / sizeof(languages[0]); i++)
		if (strcmp(languages[i]->name, name) == 0)
			return languages[i];
	return NULL;
}

struct sandbox_limits code_limits(const struct code_spec *spec)
{
	struct sandbox_limits limits = SANDBOX_LIMITS_DEFAULT;

	limits.cpu_seconds = (unsigned)spec->timeout_seconds;
	limits.memory_bytes = (uint64_t)spec->memory_mb << 20;
	return limits;
}

bool code_is_identifier(const char *name)
{
	size_t size = strlen(name);

	return size > 0 && size < 256 &&
	       strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789") ==
		       size &&
	       !(name[0] >= '0' && name[0] <= '9');
}

bool code_name_follows(struct bytes line, const char *keyword, struct bytes name)
{
	size_t size = strlen(keyword);

	if (!bytes_starts_with(line, bytes_of(keyword, size)))
		return false;
	line = bytes_trim(bytes_of(line.data + size, line.size - size));
	if (!bytes_starts_with(line, name))
		return false;
	return line.size == name.size ||
	       (!isalnum((unsigned char)line.data[name.size]) && line.data[name.size] != '_');
}
