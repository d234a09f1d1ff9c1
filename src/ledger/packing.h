/* Records as they stand in the frames of open segments: digits in hexadecimal, which make up most
 * of a record, as the bytes they write. The form stands in docs/formats/log.md. Pure. */
#ifndef LEDGER_PACKING_H
#define LEDGER_PACKING_H

#include "ledger/record.h"

/* What packing_unpack may write. */
#define PACKING_ROOM (RECORD_SIZE_MAX + 1)

/* Writes at most text.size bytes and returns how many; 0 if the text holds a byte below 32, which
 * RFC 8785 leaves none in. */
size_t packing_pack(struct bytes text, uint8_t *out);

/* The text's size; 0 if the bytes are no packed text or that of none of 1 to RECORD_SIZE_MAX bytes.
 */
size_t packing_unpack(struct bytes packed, char out[static PACKING_ROOM]);

#endif
