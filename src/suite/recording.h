/* A suite made from requests as they come (`parley bench proxy --record`): each new text of words
 * becomes an item, the settings that were asked with become the suite's. What a right answer is
 * cannot be told from requests: the suite gets a scorer that passes any answer, and says so. */
#ifndef SUITE_RECORDING_H
#define SUITE_RECORDING_H

#include "env/env.h"
#include "base/sha256.h"

struct recording;

/* What was recorded so far. */
struct recording_counts {
	size_t items;
	unsigned samples;     /* the most that one model was asked the same */
	size_t left_out;      /* requests that can be no item of this suite */
	char first_left[256]; /* why the first of them cannot; "" where there is none */
};

/* NULL when memory is out. */
struct recording *recording_new(void);
void recording_free(struct recording *recording);

/* A request: its canonical words and settings (as dialect_words gives them). *number is the item it
 * is, from 1, or 0 where it is left out: its settings contradict those before it, or a suite cannot
 * say them. ERR_NO_MEMORY, ERR_TOO_LARGE. */
enum err_code recording_add(struct recording *recording, struct bytes words, struct bytes settings,
			    size_t *number, struct err *err);
/* The item was asked of a model (and, where models are asked, answered) once more. */
void recording_count(struct recording *recording, size_t number, const char *model);
/* A request that is no item, for another reason. */
void recording_leave_out(struct recording *recording, const char *why);
struct recording_counts recording_counts(const struct recording *recording);

/* The folder that NAME_OR_DIR means: with a slash, or where there is no ./suites, itself; else
 * suites/NAME. ERR_EXISTS where it holds a suite. */
enum err_code recording_folder(struct env *env, const char *text, char *out, size_t size,
			       struct err *err);
/* Makes the folder with suite.yaml and items.jsonl and loads it for a check; with `sealed` it has a
 * seed of its own. ERR_NOT_FOUND where nothing was recorded. */
enum err_code recording_write(const struct recording *recording, struct env *env,
			      const char *folder, bool sealed, struct err *err);

#endif
