/* Published bundles: withheld.json, and the file of salts that opens what it commits to
 * (docs/formats/published.md). What is opened goes through the same checks as in a run's own
 * bundle; what is not is told. */
#ifndef VERIFY_WITHHELD_H
#define VERIFY_WITHHELD_H

#include "grade/jsonl.h"
#include "grade/published.h"
#include "suite/suite.h"

#define WITHHELD_OPENINGS_MAX 8000000u

struct audit;
struct attempt;
struct opening_ref;

struct withheld {
	json_t *tree;             /* owned: withheld.json; NULL: the bundle is not published */
	struct jsonl salts;       /* open where there are openings */
	struct opening_ref *refs; /* owned, sorted by commitment */
	size_t count, capacity;
	size_t opened; /* commitments that were opened, and hold */
	size_t twins;  /* requests under another item's leaf whose words are withheld */
	bool plan_opened, summary_opened;
};

/* Reads withheld.json, and the salts where the reader gave them. ERR_USAGE where there is nothing
 * to be opened, or the salts cannot be read. */
enum err_code withheld_load(struct audit *audit, struct err *err);
void withheld_release(struct withheld *withheld);

/* The opening of a commitment, which has to be for `label` (NULL: whatever its label). *line is
 * NULL where there is none; else the caller's, and *out borrows from it. */
enum err_code withheld_open(struct audit *audit, const char *commitment, const char *label,
			    json_t **line, struct opening *out, struct err *err);

/* The entry of a suite; NULL: it is shown. */
const json_t *withheld_entry(const struct audit *audit, const char *suite);
/* Fills audit->suites[number] from its entry and what is opened of it. */
enum err_code withheld_suite(struct audit *audit, unsigned number, const json_t *entry,
			     struct err *err);
/* An item of a withheld suite that was opened, or what judges are asked over it, as
 * suite_item_render gives it. */
enum err_code withheld_item(struct audit *audit, unsigned suite, size_t item, bool judge,
			    struct suite_item *out, struct err *err);

/* The digest of the plan that was committed to, where the plan is not the whole one. */
enum err_code withheld_plan(struct audit *audit, struct bytes shown, struct err *err);
/* The summary that was opened against the one that is shown. */
enum err_code withheld_summary(struct audit *audit, struct err *err);

/* A line of an attempt: puts back what was opened of it. *hidden: its texts are not known, and
 * placeholders stand in their place. */
enum err_code withheld_attempt(struct audit *audit, json_t *line, uint64_t number, bool *hidden,
			       struct err *err);
/* The same for a line that was read before. */
enum err_code withheld_line(struct audit *audit, uint64_t offset, json_t **line, struct err *err);
/* Whether all texts are known that this attempt's words are made of. */
enum err_code withheld_texts_known(struct audit *audit, const struct attempt *attempt, bool *known,
				   struct err *err);

/* Every opening opened something of this bundle. */
enum err_code withheld_finish(struct audit *audit, struct err *err);
/* What was checked of it, and what could not be. */
void withheld_note(struct audit *audit);

#endif
