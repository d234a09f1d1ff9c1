/* `parley verify`: is a published result, a log or a receipt what it says, and who vouches for it
 * (DESIGN.md section 8, docs/verifying.md). Nothing is trusted but the keys that the reader gives;
 * nothing is asked of a network. Sizes are bounded and big files are streamed. */
#ifndef VERIFY_VERIFY_H
#define VERIFY_VERIFY_H

#include "env/env.h"

#include <jansson.h>

struct harness_figure;
struct harness_scores;
/* Is shown the scores of another harness's log, figure by figure (harness.h). */
typedef void verify_take(void *argument, const struct harness_figure *figure,
			 const struct harness_scores *scores);

struct verify_options {
	/* --key: a verifier key (`name+id+base64`) of a log, the base64 public key of an evaluator,
	 * or a file with such keys, one a line. */
	const char *const *keys;
	size_t key_count;
	const char *policy; /* --policy: file of a tlog-policy; NULL: none */
	const char *record; /* --record: file with the record of a lone .tlog-proof; NULL: none */
	verify_take *take;  /* NULL: nobody wants them */
	void *taker;
	const char *salts; /* --salts: file that opens what a published bundle withholds */
	bool rerun;        /* --rerun: programs under test are run again, in the sandbox */
};

enum verify_verdict {
	VERIFY_FALSE, /* something does not hold: the headline names the first such thing */
	VERIFY_SELF_CERTIFIED, /* all is consistent, and no key of the reader's stands behind it */
	VERIFY_VOUCHED,        /* all is consistent, and signed with keys that the reader gave */
};

enum verify_section {
	VERIFY_CHECKED,   /* what was checked, with counts */
	VERIFY_UNCHECKED, /* what could not be, and why */
	VERIFY_TRUSTED,   /* whom the verdict rests on */
};

struct verify_note {
	enum verify_section section;
	char *text; /* owned; one printable line */
};

#define VERIFY_NOTES_MAX 1000u

struct verify_report {
	verify_take *take; /* as in the options */
	void *taker;
	const char *subject; /* "bundle", "log" or "receipt" */
	enum verify_verdict verdict;
	char headline[1200]; /* "VOUCHED by …", "CONSISTENT, SELF-CERTIFIED…", "FALSE: …" */
	struct verify_note *notes; /* owned */
	size_t count, capacity;
	json_t *results; /* owned: what the scores give, as in summary.json; NULL where there are
			    none */
	json_t *grants;  /* owned: what was used under which grant; NULL where nothing is known */
};

/* Checks whatever stands at `path`: a bundle (or the directory of a run that holds bundle/), a
 * log's directory, a .tlog-proof or the JSON of receipts as a gateway serves it. ERR_OK with a
 * verdict, FALSE too. An error where no verdict could be reached: ERR_USAGE for keys that are none
 * and for what is none of these, ERR_UNSUPPORTED for formats of a later version, ERR_NO_MEMORY,
 * ERR_ENVIRONMENT. All text in the report is made printable. `report` is overwritten; release it in
 * any case. */
enum err_code verify_path(struct env *env, const char *path, const struct verify_options *options,
			  struct verify_report *report, struct err *err);
void verify_report_release(struct verify_report *report);

/* "false", "self-certified", "vouched". */
const char *verify_verdict_name(enum verify_verdict verdict);
/* {subject, verdict, headline, checked, unchecked, trusted, results?}, a new reference; NULL:
 * memory. */
json_t *verify_report_json(const struct verify_report *report);
/* The same for people, appended: the headline is the first line. */
void verify_report_text(const struct verify_report *report, struct buf *out);
/* As one page of HTML that opens offline; `path` is what was verified, for its head. */
void verify_report_html(const struct verify_report *report, const char *path, struct buf *out);

#endif
