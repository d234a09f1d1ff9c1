/* The scanner's build without SSE2 under names of its own, beside the other one in one program. */
#ifndef TEST_JSON_SCALAR_H
#define TEST_JSON_SCALAR_H

#include "base/json_scan.h"

void scalar_scan_start(struct json_scan *scan);
bool scalar_scan_feed(struct json_scan *scan, const char *data, size_t size);
bool scalar_scan_finish(struct json_scan *scan, struct bytes text);
struct json_value scalar_value_at(struct bytes text);
struct json_walk scalar_walk_start(struct json_value value);
bool scalar_walk_next(struct json_walk *walk);
bool scalar_value_integer(struct json_value value, int64_t min, int64_t max, int64_t *out);
bool scalar_value_plain_string(struct json_value value, struct bytes *out);
size_t scalar_value_decode(struct json_value value, char *out);

#endif
