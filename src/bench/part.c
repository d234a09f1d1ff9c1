/* A part of a suite: the items with certain tags. It is a suite of its own, with a root of its own:
 * what a gateway is told, the log commits to and a bundle holds are these items, and the plan says
 * of which whole they are a part. */
#include "bench/run.h"

#include "suite/suite.h"

#include <stdlib.h>

enum err_code part_keep(const struct suite *all, const bool *chosen, const char *directory,
			struct suite **out, struct err *err)
{
	struct buf items = BUF_INIT(SUITE_ITEMS_MAX);
	for (size_t i = 0; i < suite_count(all); i++) {
		if (!chosen[i])
			continue;
		buf_append_bytes(&items, suite_item_line(all, i));
		buf_append_char(&items, '\n');
	}
	enum err_code code = items.failed ? ERR_SET(err, ERR_NO_MEMORY, "out of memory")
					  : suite_parse(suite_yaml_text(all), buf_bytes(&items),
							directory, out, err);
	buf_release(&items);
	return code;
}

/* Items and their twins come together: one without the other says nothing of the provider. */
static enum err_code choose(const struct plan *plan, const struct suite *all, bool *chosen,
			    size_t *count, struct err *err)
{
	size_t twin;
	*count = 0;
	for (size_t i = 0; i < suite_count(all); i++)
		ERR_TRY(suite_has_tag(all, i, plan->tags, plan->tag_count, &chosen[i], err));
	for (size_t i = 0; i < suite_count(all); i++)
		if (suite_twin(all, i, &twin))
			chosen[i] = chosen[twin] = chosen[i] || chosen[twin];
	for (size_t i = 0; i < suite_count(all); i++)
		*count += chosen[i];
	return ERR_OK;
}

static enum err_code keep(struct plan_suite *planned, const bool *chosen, size_t count,
			  struct suite **suite, struct err *err)
{
	struct suite *part;
	if (count == 0)
		return ERR_SET(err, ERR_INVALID, "%s: none of its %zu items has one of the tags",
			       planned->directory, suite_count(*suite));
	ERR_TRY(suite_root(*suite, planned->whole, err));
	ERR_TRY(part_keep(*suite, chosen, planned->directory, &part, err));
	planned->whole_items = suite_count(*suite);
	suite_free(*suite);
	*suite = part;
	return ERR_OK;
}

enum err_code part_choose(struct run *run, unsigned number, struct suite **suite, struct err *err)
{
	struct plan_suite *planned = &run->plan.suites[number];
	size_t count;
	if (!suite_names_tags(*suite))
		return ERR_SET(
			err, ERR_INVALID,
			"%s/suite.yaml: its items have no tags to choose by: add `tags: FIELD`",
			planned->directory);
	if (run->plan.sealed)
		return ERR_SET(err, ERR_USAGE,
			       "a sealed suite is registered as a whole: leave out --tag, or "
			       "--sealed");
	bool *chosen = calloc(suite_count(*suite) + 1, sizeof(*chosen));
	if (!chosen)
		return ERR_SET(err, ERR_NO_MEMORY, "out of memory");
	enum err_code code = choose(&run->plan, *suite, chosen, &count, err);
	if (code == ERR_OK)
		code = keep(planned, chosen, count, suite, err);
	free(chosen);
	return code;
}
