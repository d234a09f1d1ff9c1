/* Canonical words (`parley-canon-1`, docs/formats/canonical-words.md) made from suite files and
 * transcripts. The words of requests come from dialect/; both give the same bytes. */
#ifndef SUITE_WORDS_H
#define SUITE_WORDS_H

#include "base/buf.h"
#include "base/err.h"
#include "base/sha256.h"

#include <jansson.h>

#define WORDS_MAX ((size_t)32 << 20)

/* A prompt as people write it: a text (one user message), or an object {system, messages, tools,
 * format} in which `system` and a message's `parts` may be a text or a list of text parts, and
 * `text` may stand for `parts`, as may `answer: true` for the marker of a conversation's answer.
 * *out is the normal form, a new tree: every text one text part (an empty one none), null and empty
 * members left out, system texts in `system`. ERR_INVALID says what is wrong. */
enum err_code words_normalise(const json_t *prompt, json_t **out, struct err *err);

/* The canonical text of a prompt: words_normalise, then RFC 8785, appended to `out`. */
enum err_code words_canonical(const json_t *prompt, struct buf *out, struct err *err);

/* The digest by which transcripts are matched: SHA-256 of the RFC 8785 text of {system, messages}
 * of words in normal form; tools and format are left out. */
enum err_code words_match_digest(const json_t *words, uint8_t digest[static SHA256_SIZE],
				 struct err *err);
/* The same from the canonical text of words, as dialect/ gives it. */
enum err_code words_text_match_digest(struct bytes words, uint8_t digest[static SHA256_SIZE],
				      struct err *err);

/* What words ask, as one text: the texts of every message in order, appended. A judge is shown it.
 */
void words_question(const json_t *words, struct buf *out);

/* Bytes of all its texts, the system's too. */
size_t words_text_size(const json_t *words);

/* Unicode characters of a UTF-8 text. */
size_t words_characters(struct bytes text);

#endif
