/* withheld.json, the openings, and the lines of attempts. The items are in withheld_items.c. */
#include "verify/audit.h"

#include "base/encode.h"
#include "base/json.h"

#include <stdio.h>
#include <stdlib.h>

#define WITHHELD_MAX ((size_t)512 << 20)

struct opening_ref {
	uint8_t commitment[SHA256_SIZE];
	uint64_t offset, line;
	bool used;
};

/* ---- the file of salts ---- */

static enum err_code add_ref(struct withheld *withheld, const struct opening *opening,
			     uint64_t offset, uint64_t line, struct err *err)
{
	if (withheld->count == withheld->capacity) {
		size_t more = withheld->capacity ? 2 * withheld->capacity : 1024;
		struct opening_ref *grown = NULL;
		if (more <= 2 * (size_t)WITHHELD_OPENINGS_MAX)
			grown = reallocarray(withheld->refs, more, sizeof(*grown));
		if (!grown)
			return ERR_SET(err, ERR_NO_MEMORY, "out of memory for the openings");
		withheld->refs = grown;
		withheld->capacity = more;
	}
	struct opening_ref *ref = &withheld->refs[withheld->count++];
	*ref = (struct opening_ref){.offset = offset, .line = line};
	commitment_make(opening->salt, opening->label, opening->value, ref->commitment);
	return ERR_OK;
}

static int compare_refs(const void *left, const void *right)
{
	const struct opening_ref *a = left, *b = right;
	return memcmp(a->commitment, b->commitment, SHA256_SIZE);
}

static enum err_code read_salts(struct audit *audit, struct err *err)
{
	struct withheld *withheld = &audit->withheld;
	struct jsonl_line line = {0};
	struct opening opening;
	bool more = true;
	ERR_TRY(jsonl_open(&withheld->salts, audit->env, audit->options->salts, "--salts",
			   PUBLISHED_LINE_MAX, err));
	while (more) {
		ERR_TRY(jsonl_next(&withheld->salts, &line, &more, err));
		enum err_code code = ERR_OK;
		if (more)
			code = opening_read(line.tree, line.where, &opening, err);
		if (more && code == ERR_OK)
			code = add_ref(withheld, &opening, line.offset, withheld->salts.line, err);
		json_decref(line.tree);
		ERR_TRY(code);
	}
	if (withheld->count)
		qsort(withheld->refs, withheld->count, sizeof(*withheld->refs), compare_refs);
	for (size_t i = 1; i < withheld->count; i++)
		if (compare_refs(&withheld->refs[i - 1], &withheld->refs[i]) == 0)
			return ERR_SET(err, ERR_INVALID,
				       "--salts: lines %llu and %llu are the same",
				       (unsigned long long)withheld->refs[i - 1].line,
				       (unsigned long long)withheld->refs[i].line);
	return ERR_OK;
}

enum err_code withheld_load(struct audit *audit, struct err *err)
{
	struct buf text;
	if (!audit->bundle.published)
		return audit->options->salts
			       ? ERR_SET(err, ERR_USAGE,
					 "--salts: nothing is withheld from this bundle; it opens "
					 "those that `parley bench report --publish` made")
			       : ERR_OK;
	enum err_code code =
		audit_read_json(audit, PUBLISHED_FILE, &text, &audit->withheld.tree, err);
	buf_release(&text);
	if (code == ERR_OK)
		code = published_check(audit->withheld.tree, err);
	if (code != ERR_OK || !audit->options->salts)
		return code;
	if (read_salts(audit, err) == ERR_OK)
		return ERR_OK;
	/* The bundle is not to blame for it. */
	if (err->code != ERR_NO_MEMORY)
		err->code = ERR_USAGE;
	return err->code;
}

void withheld_release(struct withheld *withheld)
{
	json_decref(withheld->tree);
	free(withheld->refs);
	jsonl_close(&withheld->salts);
}

/* ---- openings ---- */

static struct opening_ref *find_ref(const struct withheld *withheld, const char *commitment)
{
	struct opening_ref key = {0};
	if (withheld->count == 0 || !commitment ||
	    !hex_decode(bytes_from(commitment), key.commitment, SHA256_SIZE))
		return NULL;
	return bsearch(&key, withheld->refs, withheld->count, sizeof(key), compare_refs);
}

enum err_code withheld_open(struct audit *audit, const char *commitment, const char *label,
			    json_t **line, struct opening *out, struct err *err)
{
	struct withheld *withheld = &audit->withheld;
	struct opening_ref *ref = find_ref(withheld, commitment);
	*line = NULL;
	if (!ref)
		return ERR_OK;
	ERR_TRY(jsonl_at(&withheld->salts, ref->offset, line, err));
	enum err_code code = opening_read(*line, "--salts", out, err);
	if (code == ERR_OK && label && !bytes_is(out->label, label))
		code = ERR_SET(err, ERR_MISMATCH,
			       "the commitment in the place of %s is of %.*s: they were exchanged",
			       label, BYTES_ARG(out->label));
	if (code != ERR_OK) {
		json_decref(*line);
		*line = NULL;
		return code;
	}
	withheld->opened += !ref->used;
	ref->used = true;
	return ERR_OK;
}

enum err_code withheld_finish(struct audit *audit, struct err *err)
{
	struct withheld *withheld = &audit->withheld;
	for (size_t i = 0; i < withheld->count; i++) {
		struct opening opening;
		json_t *line;
		if (withheld->refs[i].used)
			continue;
		ERR_TRY(jsonl_at(&withheld->salts, withheld->refs[i].offset, &line, err));
		ERR_TRY(opening_read(line, "--salts", &opening, err));
		ERR_SET(err, ERR_MISMATCH,
			"--salts: line %llu: nothing in this bundle commits to this text of %.*s "
			"with this salt",
			(unsigned long long)withheld->refs[i].line, BYTES_ARG(opening.label));
		json_decref(line);
		return err->code;
	}
	return ERR_OK;
}

/* ---- plan and summary ---- */

static enum err_code check_plan_opened(const struct audit *audit, const struct opening *opening,
				       struct bytes shown, struct err *err)
{
	uint8_t digest[SHA256_SIZE];
	json_t *tree = NULL, *stripped = NULL;
	struct buf text = BUF_INIT(AUDIT_JSON_MAX);
	bool any;
	sha256_of(opening->value.data, opening->value.size, digest);
	if (memcmp(digest, audit->plan_digest, SHA256_SIZE) != 0)
		return ERR_SET(err, ERR_MISMATCH,
			       "the plan that was opened has another digest than " PUBLISHED_FILE
			       " states");
	enum err_code code = json_parse(opening->value, "the plan that was opened", &tree, err);
	if (code == ERR_OK && !(stripped = published_plan(tree, &any)))
		code = ERR_SET(err, ERR_NO_MEMORY, "out of memory for the plan");
	if (code == ERR_OK)
		code = json_canonical(stripped, &text, err);
	if (code == ERR_OK && !bytes_equal(buf_bytes(&text), shown))
		code = ERR_SET(err, ERR_MISMATCH,
			       BUNDLE_PLAN ": it is not what is left of the plan that was opened");
	json_decref(tree);
	json_decref(stripped);
	buf_release(&text);
	return code;
}

enum err_code withheld_plan(struct audit *audit, struct bytes shown, struct err *err)
{
	const json_t *plan = json_object_get(audit->withheld.tree, "plan");
	struct opening opening;
	json_t *line;
	if (!plan)
		return ERR_OK;
	hex_decode(bytes_from(json_text(plan, "digest")), audit->plan_digest, SHA256_SIZE);
	ERR_TRY(withheld_open(audit, json_text(plan, "commitment"), PUBLISHED_PLAN, &line, &opening,
			      err));
	if (!line)
		return ERR_OK;
	audit->withheld.plan_opened = true;
	enum err_code code = check_plan_opened(audit, &opening, shown, err);
	json_decref(line);
	return code;
}

enum err_code withheld_summary(struct audit *audit, struct err *err)
{
	const char *commitment =
		json_string_value(json_object_get(audit->withheld.tree, "summary"));
	struct opening opening;
	json_t *line, *tree = NULL, *stripped = NULL;
	bool any;
	ERR_TRY(withheld_open(audit, commitment, PUBLISHED_SUMMARY, &line, &opening, err));
	if (!line)
		return ERR_OK;
	enum err_code code = json_parse(opening.value, "the summary that was opened", &tree, err);
	if (code == ERR_OK && !(stripped = published_summary(tree, &any)))
		code = ERR_SET(err, ERR_NO_MEMORY, "out of memory for the summary");
	if (code == ERR_OK && !json_equal(stripped, audit->summary))
		code = ERR_SET(err, ERR_MISMATCH,
			       BUNDLE_SUMMARY
			       ": it is not what is left of the summary that was opened");
	audit->withheld.summary_opened = code == ERR_OK;
	json_decref(tree);
	json_decref(stripped);
	json_decref(line);
	return code;
}

/* ---- attempts ---- */

/* Puts what was taken out back into the line. */
static enum err_code put_back(json_t *line, const struct opening *opening, struct err *err)
{
	json_t *taken = NULL, *value;
	const char *key;
	ERR_TRY(json_parse(opening->value, "the opening", &taken, err));
	enum err_code code = ERR_OK;
	json_object_foreach(taken, key, value)
	{
		if (json_object_get(line, key))
			code = ERR_SET(err, ERR_MISMATCH, "%s is both shown and withheld", key);
		else if (json_object_set(line, key, value) != 0)
			code = ERR_SET(err, ERR_NO_MEMORY, "out of memory for an attempt");
	}
	if (code == ERR_OK && !json_is_object(taken))
		code = ERR_SET(err, ERR_INVALID, "the opening is no object");
	json_decref(taken);
	return code;
}

static enum err_code check_outcome(const json_t *line, const char *outcome, struct err *err)
{
	if (json_object_get(line, outcome))
		return ERR_OK;
	return ERR_SET(err, ERR_MISMATCH, "its outcome is said to be an %s, and none was opened",
		       outcome);
}

static enum err_code put_placeholders(json_t *line, const char *outcome, struct err *err)
{
	static const char zeros[] =
		"0000000000000000000000000000000000000000000000000000000000000000";
	bool failed = strcmp(outcome, "error") == 0;
	bool set = json_set(line, "words", json_string(zeros));
	if (!json_object_get(line, "verdict"))
		set &= json_set(line, failed ? "error" : "answer",
				json_string(failed ? "withheld" : ""));
	return set ? ERR_OK : ERR_SET(err, ERR_NO_MEMORY, "out of memory for an attempt");
}

static enum err_code read_outcome(const json_t *line, const char **outcome, const char **commitment,
				  struct err *err)
{
	ERR_TRY(json_get_string(line, "outcome", "the line", outcome, err));
	ERR_TRY(json_get_string(line, "withheld", "the line", commitment, err));
	if (strcmp(*outcome, "answer") == 0 || strcmp(*outcome, "error") == 0 ||
	    strcmp(*outcome, "verdict") == 0)
		return ERR_OK;
	return ERR_SET(err, ERR_INVALID, "outcome is answer, error or verdict");
}

/* `label` NULL: the line was read before. */
static enum err_code restore(struct audit *audit, json_t *line, const char *label, bool *hidden,
			     struct err *err)
{
	const char *outcome, *commitment;
	struct opening opening;
	json_t *opened;
	ERR_TRY(read_outcome(line, &outcome, &commitment, err));
	ERR_TRY(withheld_open(audit, commitment, label, &opened, &opening, err));
	*hidden = !opened;
	enum err_code code =
		opened ? put_back(line, &opening, err) : put_placeholders(line, outcome, err);
	if (code == ERR_OK && opened)
		code = check_outcome(line, outcome, err);
	json_decref(opened);
	json_object_del(line, "withheld");
	json_object_del(line, "outcome");
	return code;
}

enum err_code withheld_attempt(struct audit *audit, json_t *line, uint64_t number, bool *hidden,
			       struct err *err)
{
	char label[PUBLISHED_LABEL_MAX];
	const char *suite = json_text(line, "suite");
	*hidden = false;
	if (!withheld_entry(audit, suite))
		return ERR_OK;
	snprintf(label, sizeof(label), "attempt/%.128s/%.100s/%llu", suite, json_text(line, "item"),
		 (unsigned long long)number);
	if (restore(audit, line, label, hidden, err) != ERR_OK)
		return err_prefix(err, "item %.100s: %s:%llu", json_text(line, "item"),
				  BUNDLE_TRANSCRIPTS, (unsigned long long)number);
	return ERR_OK;
}

static enum err_code read_again(struct audit *audit, uint64_t offset, json_t **line, bool *hidden,
				struct err *err)
{
	*hidden = false;
	ERR_TRY(jsonl_at(&audit->transcripts, offset, line, err));
	if (!withheld_entry(audit, json_text(*line, "suite")) ||
	    restore(audit, *line, NULL, hidden, err) == ERR_OK)
		return ERR_OK;
	json_decref(*line);
	*line = NULL;
	return err->code;
}

enum err_code withheld_line(struct audit *audit, uint64_t offset, json_t **line, struct err *err)
{
	bool hidden;
	return read_again(audit, offset, line, &hidden, err);
}

static enum err_code is_known(struct audit *audit, uint64_t offset, bool *known, struct err *err)
{
	json_t *line;
	bool hidden;
	ERR_TRY(read_again(audit, offset, &line, &hidden, err));
	json_decref(line);
	*known &= !hidden;
	return ERR_OK;
}

static enum err_code is_answer_known(struct audit *audit, const struct attempt *attempt,
				     unsigned model, bool *known, struct err *err)
{
	const struct audit_cell *cell = audit_answering(audit, attempt->cell->suite, model);
	const struct audit_slot *slot =
		cell ? &cell->slots[audit_answer_of(audit, attempt->cell, attempt->slot)] : NULL;
	return slot && slot->answered ? is_known(audit, slot->offset, known, err) : ERR_OK;
}

enum err_code withheld_texts_known(struct audit *audit, const struct attempt *attempt, bool *known,
				   struct err *err)
{
	const struct audit_cell *cell = attempt->cell;
	const struct audit_suite *suite = &audit->suites[cell->suite];
	*known = true;
	if (!suite->withheld)
		return ERR_OK;
	*known = !attempt->hidden && suite->facts[audit_item_of(audit, cell, attempt->slot)].opened;
	if (cell->judging) {
		ERR_TRY(is_answer_known(audit, attempt, cell->model, known, err));
		return is_answer_known(audit, attempt, cell->opponent, known, err);
	}
	unsigned count = audit_step_of(cell, attempt->slot);
	for (unsigned step = 0; step < count; step++)
		ERR_TRY(is_known(audit, cell->turns[attempt->slot * cell->turn_count + step] - 1,
				 known, err));
	return ERR_OK;
}
