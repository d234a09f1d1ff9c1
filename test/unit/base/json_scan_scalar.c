#define JSON_SCAN_SCALAR 1
#define json_scan_start scalar_scan_start
#define json_scan_feed scalar_scan_feed
#define json_scan_finish scalar_scan_finish
#define json_scan_rest scalar_scan_rest
#define json_scan_text scalar_scan_text
#define json_scan_problem scalar_scan_problem
#define json_scan_member scalar_scan_member_find
#define json_scan_may_nest scalar_scan_may_nest
#include "base/json_scan.c"
