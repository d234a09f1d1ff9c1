/* A streaming validator of JSON texts (RFC 8259) for the request path: no tree, no allocation. It
 * is fed the text in pieces of any size as they arrive and notes where the members of the outermost
 * object lie, so that a caller can read single values and splice new ones in without serialising
 * anything again. It is stricter than the RFC where parsers are known to disagree: UTF-8 only and
 * valid, no byte order mark, no lone surrogate escapes, at most 64 levels, at most 256 members at
 * the top, and no two top-level names that are equal or equal but for case; top-level names are
 * plain ASCII without escapes, of 256 bytes at most. */
#ifndef BASE_JSON_SCAN_H
#define BASE_JSON_SCAN_H

#include "base/bytes.h"
#include "base/err.h"

#define JSON_SCAN_DEPTH_MAX 64
#define JSON_SCAN_MEMBERS_MAX 256
/* So that to hold names against each other costs little, whatever their hashes. */
#define JSON_SCAN_NAME_MAX 256
/* Values below the top that are noted, too; what comes after them is looked for in the text. */
#define JSON_SCAN_INNER_MAX 120

enum json_scan_type {
	JSON_SCAN_NOTHING, /* no such value */
	JSON_SCAN_NULL,
	JSON_SCAN_FALSE,
	JSON_SCAN_TRUE,
	JSON_SCAN_NUMBER,
	JSON_SCAN_STRING,
	JSON_SCAN_ARRAY,
	JSON_SCAN_OBJECT,
};

/* Why a text is refused. json_scan_problem gives the words. */
enum json_scan_refusal {
	JSON_SCAN_OK,
	JSON_SCAN_SYNTAX,           /* not the grammar of RFC 8259 */
	JSON_SCAN_INCOMPLETE,       /* the text ends too early (or is empty) */
	JSON_SCAN_TRAILING,         /* bytes after the value */
	JSON_SCAN_DEPTH,            /* more than JSON_SCAN_DEPTH_MAX levels */
	JSON_SCAN_UTF8,             /* not UTF-8, or a byte order mark */
	JSON_SCAN_CONTROL,          /* a control byte inside a string */
	JSON_SCAN_ESCAPE,           /* an escape that does not exist */
	JSON_SCAN_SURROGATE,        /* a lone or reversed surrogate escape */
	JSON_SCAN_KEY_CHARACTERS,   /* a top-level name with an escape or a non-ASCII byte */
	JSON_SCAN_KEY_DUPLICATE,    /* a top-level name given twice, or twice but for case */
	JSON_SCAN_KEY_LENGTH,       /* a top-level name of more than JSON_SCAN_NAME_MAX bytes */
	JSON_SCAN_TOO_MANY_MEMBERS, /* more than JSON_SCAN_MEMBERS_MAX at the top */
	JSON_SCAN_TOO_LARGE,        /* 4 GiB or more */
};

/* A member of an object or an element of an array (without a key), as offsets from the start of the
 * text. The key is without its quotes, a string value with them. */
struct json_scan_member {
	uint32_t key, key_size;
	uint32_t value, value_size;
	/* Private, as distances in the table: the first of a container's own members or elements
	 * (0: they are not noted), the place behind them, and the next of its kind. */
	int16_t first, end, next;
	uint8_t type; /* enum json_scan_type */
	bool escaped; /* a string value with at least one backslash */
};

/* Places of the table: the top-level members; what lies below them, in the order of the text; the
 * whole; and the one for whatever has no place of its own. */
enum {
	JSON_SCAN_INNER_AT = JSON_SCAN_MEMBERS_MAX,
	JSON_SCAN_ROOT_AT = JSON_SCAN_INNER_AT + JSON_SCAN_INNER_MAX,
	JSON_SCAN_SPILL_AT,
	JSON_SCAN_PLACES
};

struct json_scan {
	enum json_scan_refusal refusal;
	uint32_t refused_at;      /* offset of the byte that was refused */
	uint32_t size;            /* bytes fed so far */
	enum json_scan_type root; /* type of the whole, once it has begun */
	uint16_t member_count;
	/* Private from here. */
	uint8_t state;
	uint8_t depth;
	uint8_t after;               /* the state that follows a value at this depth */
	uint8_t progress;            /* in a literal or in four hexadecimal digits */
	uint8_t utf8_left;           /* continuation bytes to come */
	uint8_t utf8_low, utf8_high; /* bounds of the next one */
	bool in_key;
	bool after_high;       /* a high surrogate wants its low one */
	uint16_t unit;         /* of the escape being read */
	uint64_t in_object;    /* bit d: level d + 1 is an object */
	uint64_t nested_names; /* a bit for each name below the top, by size and last byte */
	const char *literal;
	uint16_t inner_count; /* of the places below the top */
	uint16_t place;       /* of the value being read */
	bool spilled;         /* there were more */
	/* Not cleared at the start. */
	uint16_t open[JSON_SCAN_DEPTH_MAX];                /* places of the containers it lies in */
	struct json_scan_member members[JSON_SCAN_PLACES]; /* at the top: the first member_count */
};

/* Starts a text. Only the fixed part is written, not the table. */
void json_scan_start(struct json_scan *scan);

/* The next piece. False once the text is refused; `refusal` and `refused_at` say why and where. */
bool json_scan_feed(struct json_scan *scan, const char *data, size_t size);

/* The text is complete: `text` is all that was fed, in one piece. Checks that it ended where a
 * value ends and that no top-level name stands twice. False if it is refused. */
bool json_scan_finish(struct json_scan *scan, struct bytes text);

/* Feeds what of `text` has not been fed, and finishes. ERR_INVALID naming `what`, the offset and
 * the problem. */
enum err_code json_scan_rest(struct json_scan *scan, struct bytes text, const char *what,
			     struct err *err);

/* The same from the start. */
enum err_code json_scan_text(struct json_scan *scan, struct bytes text, const char *what,
			     struct err *err);

/* "the text ends too early" and the like, without full stop. */
const char *json_scan_problem(enum json_scan_refusal refusal);

/* The top-level member of that exact name, or NULL. */
const struct json_scan_member *json_scan_member(const struct json_scan *scan, struct bytes text,
						struct bytes name);

/* Whether a member below the top may have that name, as it is or behind escapes: of what has been
 * fed so far none has where this is false, so that nobody needs to look for it. */
bool json_scan_may_nest(const struct json_scan *scan, struct bytes name);

/* ---- reading values inside a text that was accepted ---- */

/* One value: its type and its bytes (a string with its quotes). `place`: in the table of the scan
 * that noted it, which must stay; NULL where it was found in the text. */
struct json_value {
	enum json_scan_type type;
	struct bytes text;
	const struct json_scan_member *place;
};

/* The value that `text` starts with, after white space. */
struct json_value json_value_at(struct bytes text);

/* The value that an accepted text (json_scan_finish) is. What lies in it is taken from the table of
 * `scan`, which must stay: nothing is looked at twice to find where it ends. */
struct json_value json_scan_root(const struct json_scan *scan, struct bytes text);

/* The same of a member in the table. */
static inline struct json_value json_scan_value(struct bytes text,
						const struct json_scan_member *member)
{
	return (struct json_value){(enum json_scan_type)member->type,
				   bytes_of(text.data + member->value, member->value_size), member};
}

/* Walks over an object's members or an array's elements:
 *     struct json_walk walk = json_walk_start(value);
 *     while (json_walk_next(&walk)) … walk.key (objects, without quotes, raw), walk.value … */
struct json_walk {
	struct bytes rest; /* by the table: the text that its offsets are of, without a size */
	struct bytes key;
	struct json_value value;
	bool object;
	const struct json_scan_member *next, *last; /* in the table, or NULL */
};
/* A value that is neither object nor array has nothing to walk over. */
struct json_walk json_walk_start(struct json_value value);
bool json_walk_next(struct json_walk *walk);

/* The value at a path of member names joined by dots ("usage.input_tokens") below `value`; type
 * JSON_SCAN_NOTHING where there is none. A name that stands twice gives the last. Names are
 * compared as written, so a name with escapes is never found. */
struct json_value json_scan_find(struct json_value value, const char *path);

/* Several members of an object in one walk: out[i] is the value named names[i]; type
 * JSON_SCAN_NOTHING where there is none, the last where a name stands twice. */
void json_value_members(struct json_value object, const struct bytes *names, struct json_value *out,
			unsigned count);

/* A plain integer (no fraction, exponent or sign but '-') within the range; false otherwise. */
bool json_value_integer(struct json_value value, int64_t min, int64_t max, int64_t *out);

/* A string without escapes, without its quotes; false if it is anything else. */
bool json_value_plain_string(struct json_value value, struct bytes *out);

/* Decodes a string value into `out`, which has room for value.text.size bytes; the size is returned
 * (0 for anything but a string). The result is valid UTF-8. */
size_t json_value_decode(struct json_value value, char *out);

#endif
