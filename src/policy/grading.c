#include "policy/grading.h"

#include <stdlib.h>

static enum err_code no_memory(struct err *err)
{
	return ERR_SET(err, ERR_NO_MEMORY, "no memory for the scorers of a suite");
}

static enum err_code find_ends(struct grading_book *book, struct err *err)
{
	size_t at = 0;
	for (uint32_t leaf = 0; leaf < book->count; leaf++) {
		const char *end =
			at < book->size ? memchr(book->text + at, '\n', book->size - at) : NULL;
		if (!end)
			return ERR_SET(err, ERR_INVALID, "there are %u scorers for %u leaves", leaf,
				       book->count);
		book->ends[leaf] = (size_t)(end - book->text);
		at = book->ends[leaf] + 1;
	}
	if (at != book->size)
		return ERR_SET(err, ERR_INVALID, "there are more scorers than the %u leaves",
			       book->count);
	return ERR_OK;
}

enum err_code grading_book_new(struct bytes lines, uint32_t count,
			       const uint8_t seed[static GRADING_SEED_SIZE],
			       struct grading_book **out, struct err *err)
{
	if (lines.size > GRADING_TEXT_MAX)
		return ERR_SET(err, ERR_TOO_LARGE, "the scorers of a suite may have %zu bytes",
			       GRADING_TEXT_MAX);
	struct grading_book *book = calloc(1, sizeof(*book));
	if (!book)
		return no_memory(err);
	atomic_init(&book->references, 1);
	memcpy(book->seed, seed, GRADING_SEED_SIZE);
	book->count = count;
	book->ends = calloc(count ? count : 1, sizeof(*book->ends));
	book->text = malloc(lines.size ? lines.size : 1);
	enum err_code code = book->ends && book->text ? ERR_OK : no_memory(err);
	if (code == ERR_OK && lines.size) {
		memcpy(book->text, lines.data, lines.size);
		book->size = lines.size;
	}
	if (code == ERR_OK)
		code = find_ends(book, err);
	if (code == ERR_OK)
		*out = book;
	else
		grading_book_drop(book);
	return code;
}

struct grading_book *grading_book_hold(struct grading_book *book)
{
	if (book)
		atomic_fetch_add_explicit(&book->references, 1, memory_order_relaxed);
	return book;
}

void grading_book_drop(struct grading_book *book)
{
	if (!book || atomic_fetch_sub_explicit(&book->references, 1, memory_order_acq_rel) != 1)
		return;
	if (book->text)
		explicit_bzero(book->text, book->size);
	explicit_bzero(book->seed, sizeof(book->seed));
	free(book->text);
	free(book->ends);
	free(book);
}

/* A leaf's line in two: canonical JSON has no tab. */
static struct bytes line_of(const struct grading_book *book, uint32_t leaf, struct bytes *grading)
{
	*grading = bytes_of(NULL, 0);
	if (leaf >= book->count)
		return bytes_of("", 0);
	size_t begin = leaf ? book->ends[leaf - 1] + 1 : 0;
	return bytes_split(bytes_of(book->text + begin, book->ends[leaf] - begin), '\t', grading);
}

struct bytes grading_book_scorer(const struct grading_book *book, uint32_t leaf)
{
	struct bytes grading;
	return line_of(book, leaf, &grading);
}

bool grading_book_shows(const struct grading_book *book, uint32_t leaf, struct bytes salt,
			const uint8_t hash[static SHA256_SIZE])
{
	struct bytes grading;
	struct sha256 salted;
	uint8_t found[SHA256_SIZE];
	line_of(book, leaf, &grading);
	if (!grading.data)
		return false;
	sha256_start(&salted);
	sha256_add_bytes(&salted, salt);
	sha256_add_bytes(&salted, grading);
	sha256_finish(&salted, found);
	return memcmp(found, hash, SHA256_SIZE) == 0;
}

void grading_book_commitment(const struct grading_book *book, uint8_t out[static SHA256_SIZE])
{
	sha256_of(book->seed, sizeof(book->seed), out);
}
