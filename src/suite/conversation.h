/* The words of one step of a conversation: its messages up to the next answer, with those before it
 * as they were given (docs/formats/suite.md). */
#ifndef SUITE_CONVERSATION_H
#define SUITE_CONVERSATION_H

#include "base/err.h"

#include <jansson.h>

/* `words` of an item, in normal form; `answers` to its steps so far, texts in an array (NULL:
 * none). *out is a new tree. ERR_INVALID where there is no such step. */
enum err_code conversation_step(const json_t *words, const json_t *answers, json_t **out,
				struct err *err);

/* The words by which a judge is asked: those of a template with the answers in its slots, in their
 * order. *out is a new tree. ERR_INVALID where there are not as many. */
enum err_code conversation_judged(const json_t *words, const json_t *answers, json_t **out,
				  struct err *err);

#endif
