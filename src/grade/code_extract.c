/* Finding the program in an answer. */
#include "grade/code_internal.h"

#include <ctype.h>

/* Markdown fences (CommonMark, section 4.5): up to three spaces, three or more backticks or tildes.
 */
struct fence {
	char mark;
	size_t length;
	struct bytes info; /* what follows the marks */
};

static bool fence_read(struct bytes line, struct fence *fence)
{
	size_t at = 0, start;

	while (at < line.size && at < 3 && line.data[at] == ' ')
		at++;
	if (at >= line.size || (line.data[at] != '`' && line.data[at] != '~'))
		return false;
	fence->mark = line.data[at];
	for (start = at; at < line.size && line.data[at] == fence->mark; at++)
		;
	fence->length = at - start;
	fence->info = bytes_trim(bytes_of(line.data + at, line.size - at));
	if (fence->info.size && fence->info.data[fence->info.size - 1] == '\r')
		fence->info.size--;
	return fence->length >= 3 && !memchr(fence->info.data, '`', fence->info.size);
}

static bool fence_closes(const struct fence *open, struct bytes line)
{
	struct fence fence;

	return fence_read(line, &fence) && fence.mark == open->mark &&
	       fence.length >= open->length && fence.info.size == 0;
}

static bool is_ours(struct bytes info, const struct code_language *language)
{
	size_t size = 0;

	while (size < info.size && !isspace((unsigned char)info.data[size]) &&
	       info.data[size] != '{')
		size++;
	for (const char *const *name = language->fences; *name; name++)
		if (bytes_equal_fold(bytes_of(info.data, size), bytes_from(*name)))
			return true;
	return false;
}

/* The next block of the language in `*rest`, without its fences; false when there is none. A block
 * that isn't closed goes to the end. */
static bool next_block(struct bytes *rest, const struct code_language *language,
		       struct bytes *block)
{
	struct fence open;

	while (rest->data) {
		if (!fence_read(bytes_split(*rest, '\n', rest), &open))
			continue;
		const char *start = rest->data, *end = NULL;
		struct bytes line;
		while (rest->data) {
			line = bytes_split(*rest, '\n', rest);
			end = line.data;
			if (fence_closes(&open, line))
				break;
			end = line.data + line.size;
		}
		if (start && is_ours(open.info, language)) {
			*block = bytes_of(start, (size_t)(end - start));
			return true;
		}
	}
	return false;
}

static bool defines(struct bytes code, const struct code_language *language,
		    const char *entry_point)
{
	struct bytes name = bytes_from(entry_point);

	while (code.data)
		if (language->defines(bytes_split(code, '\n', &code), name))
			return true;
	return false;
}

static struct bytes choose(struct bytes answer, const struct code_language *language,
			   const char *entry_point)
{
	struct bytes rest = answer, block, last = {0}, defining = {0};

	while (next_block(&rest, language, &block)) {
		last = block;
		if (entry_point && defines(block, language, entry_point))
			defining = block;
	}
	if (defining.data)
		return defining;
	return last.data ? last : answer;
}

/* The prompt stands in front even of a whole definition, which then replaces the prompt's: its
 * imports and helpers are what the answer was told it has. */
void code_extract(struct bytes answer, const struct code_language *language,
		  const char *entry_point, const char *prompt, struct buf *out)
{
	struct bytes code = choose(answer, language, entry_point);

	if (prompt && !bytes_starts_with(code, BYTES("from __future__"))) {
		size_t size = strlen(prompt);

		if (bytes_starts_with(code, bytes_of(prompt, size)))
			size = 0; /* repeated word for word */
		buf_append(out, prompt, size);
		if (size && entry_point && defines(code, language, entry_point))
			buf_append_char(out, '\n');
	}
	buf_append_bytes(out, code);
}
