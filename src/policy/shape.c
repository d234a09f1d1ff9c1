#include "policy/shape.h"

#include <stdlib.h>

#define STEPS_BYTES_MAX ((size_t)1 << 20)

_Static_assert(STEPS_BYTES_MAX + SHAPE_JUDGES_MAX * sizeof(struct shape_judge) <= SHAPE_BYTES_MAX,
	       "what is stored of a shape has room");
#define JUDGES_BYTES_MAX (SHAPE_JUDGES_MAX * sizeof(struct shape_judge))

_Static_assert(sizeof(struct shape_judge) == 4 * (2 + SCRIPT_SLOTS_MAX + SCRIPT_SLOTS_MAX + 1) +
						     SCRIPT_DIGEST_SIZE * (SCRIPT_SLOTS_MAX + 2),
	       "a judge is stored without padding");

/* ---- making ---- */

void shape_builder_init(struct shape_builder *builder)
{
	builder->needed = false;
	buf_init(&builder->steps, STEPS_BYTES_MAX);
	buf_init(&builder->judges, JUDGES_BYTES_MAX);
}

void shape_builder_release(struct shape_builder *builder)
{
	buf_release(&builder->steps);
	buf_release(&builder->judges);
}

static void key_literal(const struct hmac_key *secret, struct bytes text,
			uint8_t out[static SCRIPT_DIGEST_SIZE])
{
	uint8_t hash[SHA256_SIZE];
	struct script_said said;
	sha256_of(text.data, text.size, hash);
	script_said_key(secret, hash, text.size, &said);
	memcpy(out, said.digest, SCRIPT_DIGEST_SIZE);
}

static void add_judge(struct shape_builder *builder, const struct hmac_key *secret,
		      const struct script_item *item)
{
	struct shape_judge judge = {.leaf = (uint32_t)builder->steps.size,
				    .slot_count = item->slot_count};
	uint8_t whole[SHA256_SIZE];
	for (unsigned i = 0; i < item->slot_count; i++)
		judge.slot_leaf[i] = item->slot_leaf[i];
	for (unsigned i = 0; i <= item->slot_count; i++) {
		judge.literal_size[i] = (uint32_t)item->literals[i].size;
		key_literal(secret, item->literals[i], judge.literal[i]);
	}
	hmac_of(secret, item->frame, SHA256_SIZE, whole);
	memcpy(judge.frame, whole, SCRIPT_DIGEST_SIZE);
	buf_append(&builder->judges, &judge, sizeof(judge));
}

bool shape_builder_add(struct shape_builder *builder, const struct hmac_key *secret,
		       const struct script_item *item)
{
	if (item->kind == SCRIPT_JUDGE)
		add_judge(builder, secret, item);
	builder->needed |= item->kind != SCRIPT_EXACT;
	buf_append_char(&builder->steps, (char)item->steps);
	return !builder->steps.failed && !builder->judges.failed;
}

/* Judges are in the order of their leaves. */
static bool builder_has_judge(const struct shape_judge *judges, size_t count, uint32_t leaf)
{
	size_t low = 0, high = count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (judges[middle].leaf < leaf)
			low = middle + 1;
		else
			high = middle;
	}
	return low < count && judges[low].leaf == leaf;
}

bool shape_builder_wrong_slot(const struct shape_builder *builder, uint32_t *judge, uint32_t *leaf)
{
	const struct shape_judge *judges = (const struct shape_judge *)builder->judges.data;
	size_t count = builder->judges.size / sizeof(*judges);
	for (size_t i = 0; i < count; i++) {
		for (unsigned slot = 0; slot < judges[i].slot_count; slot++) {
			*judge = judges[i].leaf;
			*leaf = judges[i].slot_leaf[slot];
			if (*leaf >= builder->steps.size || builder_has_judge(judges, count, *leaf))
				return true;
		}
	}
	return false;
}

void shape_builder_encode(const struct shape_builder *builder, struct buf *out)
{
	if (!builder->needed)
		return;
	buf_append_bytes(out, buf_bytes(&builder->steps));
	buf_append_bytes(out, buf_bytes(&builder->judges));
}

/* ---- reading ---- */

static enum err_code damaged(struct err *err)
{
	return ERR_SET(err, ERR_CORRUPT,
		       "what is known of its conversations and judges is damaged");
}

void shape_free(struct shape *shape)
{
	if (!shape)
		return;
	free(shape->first_unit);
	free(shape->judges);
	free(shape->table);
	free(shape->prefix_sizes);
	free(shape);
}

static bool read_steps(struct shape *shape, const char *steps)
{
	uint64_t units = 0;
	for (uint32_t leaf = 0; leaf < shape->leaf_count; leaf++) {
		unsigned count = (unsigned char)steps[leaf];
		shape->first_unit[leaf] = (uint32_t)units;
		units += count;
		if (count < 1 || count > SCRIPT_STEPS_MAX)
			return false;
	}
	shape->first_unit[shape->leaf_count] = shape->unit_count = (uint32_t)units;
	return true;
}

const struct shape_judge *shape_judge_of(const struct shape *shape, uint32_t leaf)
{
	uint32_t low = 0, high = shape ? shape->judge_count : 0;
	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		if (shape->judges[middle].leaf < leaf)
			low = middle + 1;
		else
			high = middle;
	}
	return shape && low < shape->judge_count && shape->judges[low].leaf == leaf
		       ? &shape->judges[low]
		       : NULL;
}

static bool judges_are_sound(const struct shape *shape)
{
	for (uint32_t i = 0; i < shape->judge_count; i++) {
		const struct shape_judge *judge = &shape->judges[i];
		if (judge->leaf >= shape->leaf_count || (i && judge->leaf <= judge[-1].leaf) ||
		    judge->slot_count < 1 || judge->slot_count > SCRIPT_SLOTS_MAX ||
		    judge->literal_size[0] == 0 || judge->literal_size[0] > SCRIPT_WORDS_MAX)
			return false;
	}
	for (uint32_t i = 0; i < shape->judge_count; i++) {
		const struct shape_judge *judge = &shape->judges[i];
		for (unsigned slot = 0; slot < judge->slot_count; slot++)
			if (judge->slot_leaf[slot] >= shape->leaf_count ||
			    shape_judge_of(shape, judge->slot_leaf[slot]))
				return false;
	}
	return true;
}

static uint32_t place_of(const struct shape *shape, const uint8_t *frame, const uint8_t *text)
{
	uint32_t a, b;
	memcpy(&a, frame, sizeof(a));
	memcpy(&b, text, sizeof(b));
	return (a ^ b) & shape->table_mask;
}

static int compare_sizes(const void *a, const void *b)
{
	uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;
	return left < right ? -1 : left > right;
}

static void index_judges(struct shape *shape)
{
	for (uint32_t i = 0; i < shape->judge_count; i++) {
		const struct shape_judge *judge = &shape->judges[i];
		uint32_t place = place_of(shape, judge->frame, judge->literal[0]);
		while (shape->table[place])
			place = (place + 1) & shape->table_mask;
		shape->table[place] = i + 1;
		shape->prefix_sizes[i] = judge->literal_size[0];
	}
	qsort(shape->prefix_sizes, shape->judge_count, sizeof(uint32_t), compare_sizes);
	for (uint32_t i = 0; i < shape->judge_count; i++)
		if (i == 0 || shape->prefix_sizes[i] != shape->prefix_sizes[i - 1])
			shape->prefix_sizes[shape->prefix_count++] = shape->prefix_sizes[i];
}

static bool allocate(struct shape *shape)
{
	uint32_t size = 8;
	while (size < 2 * shape->judge_count)
		size *= 2;
	shape->table_mask = size - 1;
	shape->first_unit = calloc((size_t)shape->leaf_count + 1, sizeof(*shape->first_unit));
	shape->judges = calloc((size_t)shape->judge_count + 1, sizeof(*shape->judges));
	shape->table = calloc(size, sizeof(*shape->table));
	shape->prefix_sizes = calloc((size_t)shape->judge_count + 1, sizeof(*shape->prefix_sizes));
	return shape->first_unit && shape->judges && shape->table && shape->prefix_sizes;
}

enum err_code shape_decode(struct bytes stored, uint32_t leaf_count, struct shape **out,
			   struct err *err)
{
	*out = NULL;
	if (stored.size == 0)
		return ERR_OK;
	size_t rest = stored.size - leaf_count;
	if (stored.size < leaf_count || rest % sizeof(struct shape_judge) ||
	    rest > JUDGES_BYTES_MAX)
		return damaged(err);
	struct shape *shape = calloc(1, sizeof(*shape));
	if (shape) {
		shape->leaf_count = leaf_count;
		shape->judge_count = (uint32_t)(rest / sizeof(struct shape_judge));
	}
	if (!shape || !allocate(shape)) {
		shape_free(shape);
		return ERR_SET(err, ERR_NO_MEMORY, "out of memory");
	}
	memcpy(shape->judges, stored.data + leaf_count, rest);
	if (!read_steps(shape, stored.data) || !judges_are_sound(shape)) {
		shape_free(shape);
		return damaged(err);
	}
	index_judges(shape);
	*out = shape;
	return ERR_OK;
}

/* ---- units ---- */

uint32_t shape_unit(const struct shape *shape, uint32_t leaf, unsigned step)
{
	return shape ? shape->first_unit[leaf] + step : leaf;
}

unsigned shape_steps(const struct shape *shape, uint32_t leaf)
{
	return shape ? shape->first_unit[leaf + 1] - shape->first_unit[leaf] : 1;
}

uint32_t shape_leaf(const struct shape *shape, uint32_t unit, unsigned *step)
{
	*step = 0;
	if (!shape)
		return unit;
	uint32_t low = 0, high = shape->leaf_count;
	while (high - low > 1) {
		uint32_t middle = low + (high - low) / 2;
		if (shape->first_unit[middle] <= unit)
			low = middle;
		else
			high = middle;
	}
	*step = unit - shape->first_unit[low];
	return low;
}

const struct shape_judge *shape_next_judge(const struct shape *shape,
					   const uint8_t frame[static SCRIPT_DIGEST_SIZE],
					   const uint8_t text[static SCRIPT_DIGEST_SIZE],
					   uint32_t *place)
{
	for (;;) {
		uint32_t at = (place_of(shape, frame, text) + *place) & shape->table_mask;
		if (!shape->table[at])
			return NULL;
		const struct shape_judge *judge = &shape->judges[shape->table[at] - 1];
		++*place;
		if (memcmp(judge->frame, frame, SCRIPT_DIGEST_SIZE) == 0 &&
		    memcmp(judge->literal[0], text, SCRIPT_DIGEST_SIZE) == 0)
			return judge;
	}
}
