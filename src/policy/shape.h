/* What the leaves of a suite are asked as, where some of them are conversations or judges: how many
 * steps each has, and the judges' templates as digests under the gateway's key. A *unit* is what is
 * asked and counted: a leaf, or one step of a conversation; without a shape unit i is leaf i.
 * Immutable once made. */
#ifndef POLICY_SHAPE_H
#define POLICY_SHAPE_H

#include "base/buf.h"
#include "policy/script.h"

#define SHAPE_JUDGES_MAX 10000u /* of one suite */
#define SHAPE_BYTES_MAX ((size_t)3 << 20)

/* A judge's template. Kept as it stands: no padding. */
struct shape_judge {
	uint32_t leaf, slot_count;
	uint32_t slot_leaf[SCRIPT_SLOTS_MAX];
	uint32_t literal_size[SCRIPT_SLOTS_MAX + 1];
	uint8_t literal[SCRIPT_SLOTS_MAX + 1][SCRIPT_DIGEST_SIZE];
	uint8_t frame[SCRIPT_DIGEST_SIZE];
};

struct shape {
	uint32_t leaf_count, unit_count, judge_count;
	uint32_t *first_unit;       /* of each leaf; leaf_count + 1 places */
	struct shape_judge *judges; /* by leaf */
	uint32_t *table;            /* open addressing by frame and first text: judge + 1, or 0 */
	uint32_t table_mask;
	uint32_t *prefix_sizes; /* of the first texts, each once, ascending */
	uint32_t prefix_count;
};

/* ---- making: leaf after leaf ---- */

struct shape_builder {
	bool needed; /* some leaf is no exact one */
	struct buf steps, judges;
};
void shape_builder_init(struct shape_builder *builder);
void shape_builder_release(struct shape_builder *builder);
/* False when memory is out or there are too many judges. */
bool shape_builder_add(struct shape_builder *builder, const struct hmac_key *secret,
		       const struct script_item *item);
/* A slot that names a leaf which is not among those added, or is a judge. False: there is none. */
bool shape_builder_wrong_slot(const struct shape_builder *builder, uint32_t *judge, uint32_t *leaf);
/* What is stored of it, appended: nothing where no leaf needs it. */
void shape_builder_encode(const struct shape_builder *builder, struct buf *out);

/* From what was stored, for a suite of so many leaves. ERR_CORRUPT where it is not that: a slot for
 * a leaf that is not there or is a judge itself is refused, too. *out is NULL for empty bytes. */
enum err_code shape_decode(struct bytes stored, uint32_t leaf_count, struct shape **out,
			   struct err *err);
void shape_free(struct shape *shape); /* NULL is fine */

/* `shape` may be NULL in all of these. */
uint32_t shape_unit(const struct shape *shape, uint32_t leaf, unsigned step);
unsigned shape_steps(const struct shape *shape, uint32_t leaf);
uint32_t shape_leaf(const struct shape *shape, uint32_t unit, unsigned *step);
/* The leaf's template; NULL: it is no judge. */
const struct shape_judge *shape_judge_of(const struct shape *shape, uint32_t leaf);

/* The next judge with this frame and first text (its digest): *place is 0 at first. NULL: none. */
const struct shape_judge *shape_next_judge(const struct shape *shape,
					   const uint8_t frame[static SCRIPT_DIGEST_SIZE],
					   const uint8_t text[static SCRIPT_DIGEST_SIZE],
					   uint32_t *place);

#endif
