#define JSON_SCAN_SCALAR 1
#define json_value_at scalar_value_at
#define json_scan_root scalar_scan_root
#define json_walk_start scalar_walk_start
#define json_walk_next scalar_walk_next
#define json_scan_find scalar_scan_find
#define json_value_members scalar_value_members
#define json_value_integer scalar_value_integer
#define json_value_plain_string scalar_value_plain_string
#define json_value_decode scalar_value_decode
#include "base/json_value.c"
