#include "ledger/tile.h"

#include <assert.h>
#include <stdio.h>

/* The number in groups of three digits, all but the last prefixed with x. */
static size_t number_path(uint64_t number, char *out)
{
	unsigned groups[7], count = 0;
	do {
		groups[count++] = (unsigned)(number % 1000);
		number /= 1000;
	} while (number > 0);
	size_t size = 0;
	while (count-- > 0)
		size += (size_t)sprintf(out + size, count > 0 ? "x%03u/" : "%03u", groups[count]);
	return size;
}

size_t tile_path(const struct tile *tile, char out[static TILE_PATH_SIZE])
{
	assert(tile->width >= 1 && tile->width <= TILE_WIDTH && tile->level <= TILE_LEVEL_MAX);
	size_t size = tile->entries ? (size_t)sprintf(out, "tile/entries/")
				    : (size_t)sprintf(out, "tile/%u/", tile->level);
	size += number_path(tile->number, out + size);
	if (tile->width < TILE_WIDTH)
		size += (size_t)sprintf(out + size, ".p/%u", tile->width);
	return size;
}

/* A decimal number without leading zeros. */
static bool parse_number(struct bytes text, uint64_t max, uint64_t *out)
{
	return (text.size == 1 || (text.size > 1 && text.data[0] != '0')) &&
	       bytes_to_u64(text, max, out);
}

static bool parse_width(struct bytes text, unsigned *out)
{
	uint64_t width;
	if (!parse_number(text, TILE_WIDTH - 1, &width) || width == 0)
		return false;
	*out = (unsigned)width;
	return true;
}

/* Reads the groups; `rest` is what follows ".p/", NULL if there is none. */
static bool parse_groups(struct bytes path, uint64_t *number, struct bytes *rest)
{
	*number = 0;
	for (unsigned i = 0; i < 6; i++) {
		bool more = path.size > 0 && path.data[0] == 'x';
		struct bytes digits = {path.data + more, path.size - more};
		uint64_t group;
		if (digits.size < 3 || !bytes_to_u64((struct bytes){digits.data, 3}, 999, &group))
			return false;
		*number = *number * 1000 + group;
		path = (struct bytes){digits.data + 3, digits.size - 3};
		if (more) {
			if (path.size == 0 || path.data[0] != '/' || *number == 0)
				return false;
			path = (struct bytes){path.data + 1, path.size - 1};
			continue;
		}
		*rest = (struct bytes){NULL, 0};
		if (path.size == 0)
			return true;
		if (!bytes_starts_with(path, BYTES(".p/")))
			return false;
		*rest = (struct bytes){path.data + 3, path.size - 3};
		return true;
	}
	return false;
}

bool tile_parse(struct bytes path, struct tile *out)
{
	struct bytes rest, width;
	uint64_t level = 0;
	memset(out, 0, sizeof(*out));
	if (!bytes_is(bytes_split(path, '/', &rest), "tile"))
		return false;
	struct bytes kind = bytes_split(rest, '/', &rest);
	out->entries = bytes_is(kind, "entries");
	if (!out->entries && !parse_number(kind, TILE_LEVEL_MAX, &level))
		return false;
	out->level = (unsigned)level;
	if (rest.size == 0 || !parse_groups(rest, &out->number, &width))
		return false;
	out->width = TILE_WIDTH;
	return !width.data || parse_width(width, &out->width);
}

unsigned tile_width_at(uint64_t size, unsigned level, uint64_t number)
{
	if (level >= 8)
		return 0;
	uint64_t hashes = size >> (8 * level);
	if (number >= (hashes + TILE_WIDTH - 1) / TILE_WIDTH)
		return 0;
	uint64_t left = hashes - number * TILE_WIDTH;
	return left < TILE_WIDTH ? (unsigned)left : TILE_WIDTH;
}
