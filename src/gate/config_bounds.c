/* The bounds of parley.yaml: how large, how much memory, how long. */
#include "gate/config_internal.h"

#include "policy/links.h"

#include <stddef.h>

#define MEMORY_MAX_DEFAULT ((int64_t)1 << 30)
#define MEMORY_MAX_MIN ((int64_t)1 << 20)
#define SECONDS_MIN 0.05
#define SECONDS_MAX 86400.0
#define PING_SECONDS_MAX 3600.0
#define BODY_RATE_MAX 1000000000
#define BODY_RATE_DEFAULT 8192
#define CONTROL_PERCENT_DEFAULT 50.0
#define CONTROL_PERCENT_MAX 99.9

static const struct {
	const char *key;
	size_t offset;
	double seconds; /* where it is not given */
} timeouts[] = {
	{"head",       offsetof(struct config_timeouts, head_ns),       10 },
	{"body",       offsetof(struct config_timeouts, body_ns),       20 },
	{"idle",       offsetof(struct config_timeouts, idle_ns),       75 },
	{"write",      offsetof(struct config_timeouts, write_ns),      60 },
	{"connect",    offsetof(struct config_timeouts, connect_ns),    3  },
	{"first_byte", offsetof(struct config_timeouts, first_byte_ns), 600},
	{"stall",      offsetof(struct config_timeouts, stall_ns),      120},
};
#define TIMEOUTS (sizeof(timeouts) / sizeof(timeouts[0]))

static enum err_code read_timeouts(const struct yaml_tree *tree, const json_t *root,
				   struct config *config, struct err *err)
{
	const char *keys[TIMEOUTS + 2] = {"body_rate"}; /* NULL at the end */
	json_t *given, *none = json_object();
	int64_t rate = BODY_RATE_DEFAULT;
	for (size_t i = 0; i < TIMEOUTS; i++)
		keys[i + 1] = timeouts[i].key;
	enum err_code code =
		yaml_get_container(tree, root, "timeouts", JSON_OBJECT, true, &given, err);
	if (code == ERR_OK && !none)
		code = ERR_SET(err, ERR_NO_MEMORY, "no memory to read the configuration");
	if (code == ERR_OK && !given)
		given = none;
	if (code == ERR_OK)
		code = yaml_only_keys(tree, given, keys, err);
	for (size_t i = 0; code == ERR_OK && i < TIMEOUTS; i++) {
		double seconds;
		code = yaml_get_number_or(tree, given, timeouts[i].key, SECONDS_MIN, SECONDS_MAX,
					  timeouts[i].seconds, &seconds, err);
		if (code == ERR_OK)
			*(uint64_t *)((char *)&config->timeouts + timeouts[i].offset) =
				(uint64_t)(seconds * 1e9);
	}
	if (code == ERR_OK)
		code = yaml_get_integer_or(tree, given, "body_rate", 0, BODY_RATE_MAX,
					   BODY_RATE_DEFAULT, &rate, err);
	config->timeouts.body_rate = (unsigned)rate;
	json_decref(none);
	return code;
}

enum err_code config_read_bounds(const struct yaml_tree *tree, const json_t *root,
				 struct config *config, struct err *err)
{
	int64_t body, memory;
	ERR_TRY(yaml_get_integer_or(tree, root, "max_body", 1024, CONFIG_BODY_MAX, 33554432, &body,
				    err));
	ERR_TRY(yaml_get_integer_or(tree, root, "memory_max", MEMORY_MAX_MIN, INT64_MAX / 2,
				    MEMORY_MAX_DEFAULT, &memory, err));
	/* A body grows in a buffer that doubles, and a quarter is kept for answers. */
	if (json_object_get(root, "memory_max") && memory / 4 < body)
		return yaml_fail(
			tree, root, "memory_max", err, ERR_INVALID,
			"must be at least four times max_body (%lld), or one large request "
			"could not be read",
			(long long)body);
	config->max_body = (size_t)body;
	config->memory_max = (size_t)(memory / 4 < body ? 4 * body : memory);
	double ping;
	ERR_TRY(yaml_get_number_or(tree, root, "ping_seconds", 0, PING_SECONDS_MAX, 0, &ping, err));
	if (ping > 0 && ping < SECONDS_MIN)
		return yaml_fail(tree, root, "ping_seconds", err, ERR_INVALID,
				 "must be 0 (no pings) or at least %.2f", SECONDS_MIN);
	config->ping_ns = (uint64_t)(ping * 1e9);
	double threshold;
	ERR_TRY(yaml_get_number_or(tree, root, "control_threshold", 0, CONTROL_PERCENT_MAX,
				   CONTROL_PERCENT_DEFAULT, &threshold, err));
	config->control_threshold = (uint32_t)(threshold * LINKS_WHOLE / 100);
	return read_timeouts(tree, root, config, err);
}
