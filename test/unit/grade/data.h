/* The reference data of tests: ../shared/data beside the source, or where PARLEY_DATA says. */
#ifndef TEST_GRADE_DATA_H
#define TEST_GRADE_DATA_H

#include <jansson.h>

/* The records of a file (JSON lines or one JSON array, gzip or not), a new reference; NULL where
 * the file is missing. Anything malformed fails the test. */
json_t *data_load(const char *path);

const char *data_text(const json_t *record, const char *key);

#endif
