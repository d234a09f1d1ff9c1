/* What suite.c (reading) and suite_item.c (rendering) share. */
#ifndef SUITE_SUITE_INTERNAL_H
#define SUITE_SUITE_INTERNAL_H

#include "base/yaml.h"
#include "suite/suite.h"

struct suite_line {
	uint32_t offset, size; /* in the text of items.jsonl */
	uint32_t id_offset;    /* in the ids; ended by NUL */
};

/* Places + 1; 0: none. */
struct suite_pair {
	uint32_t original, twin;
};

struct suite {
	char *directory; /* for errors */
	struct buf yaml_text, items_text;
	struct yaml_tree *yaml;
	/* From suite.yaml; texts and trees are borrowed from `yaml`. */
	const char *name, *licence;
	char version[32];
	enum suite_kind kind;
	int64_t samples;
	const char *template, *system, *words_field, *cluster_field; /* NULL: not given */
	const json_t *messages;
	const json_t *examples; /* few-shot: an array of fields; NULL: none */
	const char *example_answer, *tags_field, *canary; /* NULL: not given */
	const char *twins_field;                          /* NULL: not given */
	unsigned steps;                                   /* of the item with the most */
	const json_t *scorer;
	json_t *settings; /* canonical; owned */
	/* What compares answers, where a gateway is to bind it. */
	const char *judge_template; /* NULL: nothing */
	int64_t judge_verdicts;
	json_t *judge_settings; /* owned */
	uint8_t seed[LEAF_SEED_SIZE];
	json_t *needed; /* {field: true}: what every item must have; owned */
	/* From items.jsonl. */
	struct suite_pair *twins; /* of each item; NULL: no twins */
	size_t twin_count;
	struct suite_line *lines;
	size_t count, capacity;
	struct buf ids;
	uint32_t *by_id; /* open addressing: item number + 1, 0: free */
	size_t by_id_mask;
};

/* "DIR/items.jsonl:LINE: " in front of the message. */
enum err_code suite_item_prefix(const struct suite *suite, size_t index, struct err *err);

/* judge_item.c: the member `judge`, after the scorer. */
enum err_code suite_read_judge(struct suite *suite, const json_t *root, struct err *err);

/* examples.c: the members `examples` (after the prompt), `tags` and `canary`. */
enum err_code suite_read_examples(struct suite *suite, const json_t *root, struct err *err);
enum err_code suite_read_labels(struct suite *suite, const json_t *root, struct err *err);
/* Of an item in a suite that names a field of tags: a list of short texts. */
enum err_code suite_check_tags(const struct suite *suite, const json_t *fields, struct err *err);

/* twins.c: after the items. */
enum err_code suite_read_twins(struct suite *suite, struct err *err);

/* The id of an item's fields as text: a string, or an integer in decimal. */
enum err_code suite_item_id(const json_t *fields, char id[static SUITE_ID_MAX + 1],
			    struct err *err);

#endif
