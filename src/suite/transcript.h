/* Transcripts: stored answers by prompt, for `--model NAME=replay@FILE` and `parley sim --persona`
 * (DESIGN.md section 7). JSONL, one prompt a line: {"prompt": text or words, "answers": [texts],
 * "usage": {"input": n, "output": n}, "reasoning": text}; the first line may be a label {"note":
 * …}. Several lines with one prompt add up. Prompts match on system and messages only. Files ending
 * in .gz are unpacked. */
#ifndef SUITE_TRANSCRIPT_H
#define SUITE_TRANSCRIPT_H

#include "env/env.h"
#include "suite/words.h"

struct transcript;

struct transcript_answer {
	struct bytes text;               /* borrowed from the transcript */
	struct bytes reasoning;          /* as is; empty where the line gives none */
	int64_t input, output;           /* tokens, -1 where the line gives none */
	int64_t cache_read, cache_write; /* tokens, 0 where the line gives none */
};

/* Errors read `FILE:LINE: …`. The caller owns *out. */
enum err_code transcript_load(struct env *env, const char *path, struct transcript **out,
			      struct err *err);
/* The answers of `model` in the transcripts of a run (docs/formats/bundle.md): `path` is the run's
 * folder or its bundle. They match on all of the words and on the number of the sample, and
 * transcript_answer wants the words' own digest (leaf_words_digest). */
enum err_code transcript_load_run(struct env *env, const char *path, const char *model,
				  struct transcript **out, struct err *err);
/* Whether it is of that kind. */
bool transcript_is_run(const struct transcript *transcript);
void transcript_free(struct transcript *transcript);

/* The label of the first line, "" without one. */
const char *transcript_note(const struct transcript *transcript);
size_t transcript_prompts(const struct transcript *transcript);
/* How many answers of the model a published run withholds: they are not among the others. */
size_t transcript_withheld(const struct transcript *transcript);

/* How many answers are stored for words with this match digest (words_match_digest); 0: unknown. */
size_t transcript_count(const struct transcript *transcript,
			const uint8_t digest[static SHA256_SIZE]);
/* Answer number k modulo the number of answers, or of a run that of sample k; false where there is
 * none. */
bool transcript_answer(const struct transcript *transcript,
		       const uint8_t digest[static SHA256_SIZE], uint64_t k,
		       struct transcript_answer *out);
/* The next answer in turn, counted for each prompt; threads may call it at once. */
bool transcript_next(struct transcript *transcript, const uint8_t digest[static SHA256_SIZE],
		     struct transcript_answer *out);

/* Appends one line of a transcript: `prompt` a text or words, `answers` a list of texts. */
enum err_code transcript_append_line(struct buf *out, const json_t *prompt, const json_t *answers,
				     struct err *err);

#endif
