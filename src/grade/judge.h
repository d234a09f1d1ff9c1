/* Pairwise judging by a model: the words it is asked, the strict reading of its verdict, and what
 * the two orders together mean. Pure. */
#ifndef GRADE_JUDGE_H
#define GRADE_JUDGE_H

#include "base/buf.h"
#include "base/err.h"

#include <jansson.h>

#define JUDGE_PROMPT_VERSION "parley-pairwise-1"

/* Hex SHA-256 of what is asked with an empty request and empty answers: which prompt it is. */
void judge_prompt_digest(char out[static 65]);

enum judge_verdict { JUDGE_A, JUDGE_B, JUDGE_TIE, JUDGE_UNPARSED, JUDGE_REFUSED };

/* Appends the prompt (one user message). Tags that look like our own inside the question or an
 * answer are written &lt;…, so that no answer can end its own block. */
void judge_prompt(struct buf *out, struct bytes question, struct bytes answer_a,
		  struct bytes answer_b);

/* The verdict is the first word of the last line that isn't blank: exactly A, B or TIE (a full
 * stop, colon or asterisks around it are allowed; nothing else). All else is JUDGE_REFUSED where it
 * begins as refusals do (refusal.h), and else JUDGE_UNPARSED. */
enum judge_verdict judge_parse(struct bytes reply);

const char *judge_verdict_name(enum judge_verdict verdict); /* "A", …, "UNPARSED", "REFUSED" */
/* False if `name` is none of them. */
bool judge_verdict_from(const char *name, enum judge_verdict *out);

struct judge_outcome {
	bool judged;  /* false: at least one verdict could not be read; score is 0 */
	bool flipped; /* the two orders named different winners */
	double score; /* of the model: 1 win, 0.5 tie, 0 loss */
};

/* `first`: the model's answer stood as A; `second`: it stood as B. A win needs both orders;
 * anything else that was judged is a tie or a loss (Zheng et al., 2023, section 3.4). */
struct judge_outcome judge_combine(enum judge_verdict first, enum judge_verdict second);

/* ---- shared with rating.h ---- */

/* Appends "<tag>", the text and "</tag>"; what looks like one of `tags` (ended by NULL) inside the
 * text is written &lt;…. */
void judge_append_block(struct buf *out, const char *const *tags, const char *tag,
			struct bytes text);
/* What a judge is asked, as the words of a request (a new reference), and the prompt's memory given
 * back. ERR_TOO_LARGE where it did not fit, ERR_NO_MEMORY. */
enum err_code judge_prompt_words(struct buf *prompt, json_t **out, struct err *err);
/* The last line that isn't blank, without blanks at its ends. */
struct bytes judge_last_line(struct bytes text);
/* The only word of that line without emphasis and closing punctuation; false if it has more. */
bool judge_last_word(struct bytes reply, struct bytes *word);

#endif
