/* An event's data is checked in one pass, which also notes where the members of its outermost
 * object lie: they are read from there instead of being looked for again. */
#include "dialect/ops.h"

static struct json_value nothing(void)
{
	return (struct json_value){.type = JSON_SCAN_NOTHING};
}

bool observer_scan(struct dialect_observer *observer, struct bytes data, struct json_scan *scan,
		   struct json_value *root)
{
	if (json_scan_text(scan, data, "an event", NULL) != ERR_OK) {
		observer->outcome.malformed = true;
		*root = json_value_at(data);
		return false;
	}
	const char *start = data.data, *end = data.data + data.size;
	while (start < end && (*start == ' ' || *start == '\n' || *start == '\r' || *start == '\t'))
		start++;
	*root = (struct json_value){.type = scan->root,
				    .text = bytes_of(start, (size_t)(end - start))};
	observer->reading->scan = scan;
	observer->reading->scanned = data.data;
	return true;
}

void observer_members(const struct dialect_observer *observer, struct json_value root,
		      const struct bytes *names, struct json_value *out, unsigned count)
{
	const struct dialect_reading *reading = observer->reading;
	const struct json_scan *scan = reading ? reading->scan : NULL;
	for (unsigned i = 0; i < count; i++)
		out[i] = nothing();
	if (!scan) {
		struct json_walk walk = json_walk_start(root);
		while (walk.object && json_walk_next(&walk))
			for (unsigned i = 0; i < count; i++)
				if (bytes_equal(walk.key, names[i]))
					out[i] = walk.value;
		return;
	}
	for (unsigned k = 0; k < scan->member_count; k++) {
		const struct json_scan_member *member = &scan->members[k];
		const char *key = reading->scanned + member->key;
		for (unsigned i = 0; i < count; i++)
			if (member->key_size == names[i].size && *key == *names[i].data &&
			    memcmp(key, names[i].data, names[i].size) == 0)
				out[i] = json_scan_value(bytes_of(reading->scanned, scan->size),
							 member);
	}
}

struct json_value observer_member(const struct dialect_observer *observer, struct json_value root,
				  struct bytes name)
{
	struct json_value found;
	observer_members(observer, root, &name, &found, 1);
	return found;
}
