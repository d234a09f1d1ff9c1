/* Segment files: a header, then records in frames, then zeros written beforehand. The layout stands
 * in docs/formats/log.md. Frames and headers are pure; struct segment_scan reads a file, of a
 * segment that was sealed (seal.h) too. */
#ifndef LEDGER_SEGMENT_H
#define LEDGER_SEGMENT_H

#include "env/env.h"
#include "ledger/merkle.h"
#include "ledger/record.h"

#define SEGMENT_HEADER_SIZE 4096u
#define SEGMENT_NAME_SIZE 17 /* 12 hex digits, ".seg" and NUL */
#define SEGMENT_SIZE_MAX (UINT64_C(1) << 30)
#define FRAME_HEADER_SIZE 32u
#define FRAME_SIZE_MAX (FRAME_HEADER_SIZE + RECORD_SIZE_MAX)
#define LINK_SIZE 12
/* Of "<directory>/<name>" of a segment. */
#define SEGMENT_PATH_SIZE 1200

/* Of segments and their frames: since 2 records may be packed (packing.h). */
#define SEGMENT_VERSION 2

struct segment_header {
	unsigned version; /* read: 1 or 2; what is written is the newest */
	uint64_t first_index;
	uint64_t oldest_open;      /* no admit record before this one lacks its outcome */
	uint8_t origin[32];        /* SHA-256 of the log's origin */
	uint8_t link[LINK_SIZE];   /* of the record before the first; zeros in the first segment */
	struct merkle_range range; /* the tree before the first record */
};

void segment_header_write(const struct segment_header *header,
			  uint8_t out[static SEGMENT_HEADER_SIZE]);
/* False if it is damaged or of a later format. */
bool segment_header_parse(const uint8_t data[static SEGMENT_HEADER_SIZE],
			  struct segment_header *out);

/* The parts of the above, for headers that hold more: the fields, then magic, version and CRC. */
void segment_page_fields(const struct segment_header *header,
			 uint8_t page[static SEGMENT_HEADER_SIZE]);
void segment_page_finish(uint8_t page[static SEGMENT_HEADER_SIZE], const char magic[static 8],
			 unsigned version);
bool segment_page_check(const uint8_t page[static SEGMENT_HEADER_SIZE], const char magic[static 8],
			unsigned newest);
bool segment_page_parse(const uint8_t page[static SEGMENT_HEADER_SIZE], struct segment_header *out);

void segment_name(uint64_t first_index, char out[static SEGMENT_NAME_SIZE]);
bool segment_name_parse(const char *name, uint64_t *first_index);

struct frame {
	uint64_t index;
	enum record_kind kind;
	uint32_t unsynced;       /* records before this one that were not yet durable */
	uint8_t link[LINK_SIZE]; /* the start of the leaf hash of the record before */
	struct bytes text;
	size_t stored; /* bytes of the whole frame, where it was read from one */
	/* Of a sealed segment: its leaf hash, which led to the seal. NULL from an open one. */
	const struct merkle_hash *leaf;
};

/* The most bytes that the frame of such a text takes. */
static inline size_t frame_size(size_t text_size)
{
	return FRAME_HEADER_SIZE + text_size;
}
/* For a segment of this version; `out` holds frame_size(frame->text.size) bytes. Returns how many
 * it wrote. */
size_t frame_write(const struct frame *frame, unsigned version, uint8_t *out);
/* A whole frame with a right CRC at the start of the data? `out` borrows from it, or from `room`
 * of PACKING_ROOM bytes. */
bool frame_parse(const uint8_t *data, size_t size, char *room, struct frame *out);

struct seal_reader;

/* Reading a segment record by record, in flat memory. */
struct segment_scan {
	struct env_file *file;
	struct seal_reader *seal; /* NULL: not sealed */
	char path[SEGMENT_PATH_SIZE];
	const char *name; /* in `path` */
	uint64_t offset;  /* of the next frame; of the block it stands in, where it is sealed */
	uint64_t file_size;
	uint8_t *buffer;
	char *room; /* behind it: for a text */
	uint64_t buffer_at;
	size_t buffer_size;
};

/* Opens the file and reads its header. ERR_CORRUPT if that is damaged. segment_scan_close is needed
 * in every case. */
enum err_code segment_scan_open(struct segment_scan *scan, struct env *env, const char *path,
				struct segment_header *header, struct err *err);
/* Opens the segment that starts with record `first`, sealed or not, in a folder of segments. */
enum err_code segment_scan_find(struct segment_scan *scan, struct env *env, const char *folder,
				uint64_t first, struct segment_header *header, struct err *err);
void segment_scan_close(struct segment_scan *scan);
/* The next frame, valid until the next call; *found is false, and the offset stays, where there is
 * none. Index and link are for the caller to check; a sealed segment holds no links (zeros), and
 * whatever in it does not lead to the seal is ERR_CORRUPT. */
enum err_code segment_scan_next(struct segment_scan *scan, struct frame *frame, bool *found,
				struct err *err);

/* Of a sealed segment: the next frame is that of record `index`, one of its own. */
enum err_code segment_scan_seek(struct segment_scan *scan, uint64_t index, struct err *err);

/* What lies at scan->offset, where record `index` was expected and no valid frame is. */
enum segment_tail {
	SEGMENT_CLEAN, /* zeros to the end */
	/* Traces of a write that was interrupted and never acknowledged: nothing valid after them,
	 * or only records of the same write, which reached the disk out of order. */
	SEGMENT_TORN,
	SEGMENT_DAMAGED, /* a record that was durable is missing or unreadable */
};
/* *end is the offset behind the last byte that is not zero. */
enum err_code segment_scan_tail(struct segment_scan *scan, uint64_t index, enum segment_tail *tail,
				uint64_t *end, struct err *err);

#endif
