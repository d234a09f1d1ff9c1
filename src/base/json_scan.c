#include "base/json_scan.h"

#include "base/encode.h"
#include "base/utf16.h"

#include <assert.h>

#if defined(__SSE2__) && !defined(JSON_SCAN_SCALAR)
#include <emmintrin.h>
#endif

enum state {
	VALUE,         /* a value must come */
	FIRST_ELEMENT, /* after '[': a value or ']' */
	FIRST_KEY,     /* after '{': a name or '}' */
	KEY,           /* after ',' in an object: a name */
	COLON,         /* after a name */
	AFTER_VALUE,   /* inside a container: ',' or its end */
	DONE,          /* the value is complete: only white space */
	STRING,        /* inside quotes */
	UTF8,          /* inside a multi-byte character */
	ESCAPE,        /* after '\' */
	HEX,           /* inside \uXXXX */
	LOW_BACKSLASH, /* after a high surrogate */
	LOW_U,         /* after that and '\' */
	MINUS,         /* numbers: after '-' */
	ZERO,          /* a leading 0 */
	INTEGER,       /* digits before the point */
	POINT,         /* just after '.' */
	FRACTION,      /* digits after it */
	EXPONENT,      /* just after 'e' */
	EXPONENT_SIGN, /* just after its sign */
	EXPONENT_DIGITS,
	LITERAL, /* inside true, false or null */
};

static const char *const problems[] = {
	[JSON_SCAN_OK] = "",
	[JSON_SCAN_SYNTAX] = "a byte that JSON does not allow there",
	[JSON_SCAN_INCOMPLETE] = "the text ends too early",
	[JSON_SCAN_TRAILING] = "something follows the value",
	[JSON_SCAN_DEPTH] = "more than 64 levels",
	[JSON_SCAN_UTF8] = "not UTF-8 without a byte order mark",
	[JSON_SCAN_CONTROL] = "a control byte inside a string",
	[JSON_SCAN_ESCAPE] = "an escape that JSON does not have",
	[JSON_SCAN_SURROGATE] = "half of a surrogate pair",
	[JSON_SCAN_KEY_CHARACTERS] = "a top-level name with an escape or a byte beyond ASCII",
	[JSON_SCAN_KEY_DUPLICATE] = "a top-level name that stands twice, or twice but for case",
	[JSON_SCAN_KEY_LENGTH] = "a top-level name of more than 256 bytes",
	[JSON_SCAN_TOO_MANY_MEMBERS] = "more than 256 top-level members",
	[JSON_SCAN_TOO_LARGE] = "4 GiB or more",
};

const char *json_scan_problem(enum json_scan_refusal refusal)
{
	return problems[refusal];
}

void json_scan_start(struct json_scan *scan)
{
	memset(scan, 0, offsetof(struct json_scan, members));
	scan->state = VALUE;
}

#if defined(__SSE2__) && !defined(JSON_SCAN_SCALAR)
/* Of sixteen bytes those that end a run are set. The sign takes bytes beyond ASCII for less than a
 * space. */
static inline __m128i special_bytes(const char *p)
{
	__m128i block = _mm_loadu_si128((const __m128i *)(const void *)p);
	__m128i control = _mm_cmplt_epi8(block, _mm_set1_epi8(0x20));
	__m128i quote = _mm_cmpeq_epi8(block, _mm_set1_epi8('"'));
	__m128i backslash = _mm_cmpeq_epi8(block, _mm_set1_epi8('\\'));
	return _mm_or_si128(control, _mm_or_si128(quote, backslash));
}

/* A run that was long so far mostly goes on: by 64 bytes, as long as all of them belong to it. */
static __attribute__((noinline)) const char *skip_plain(const char *p, const char *end)
{
	for (; end - p >= 64; p += 64) {
		__m128i first = _mm_or_si128(special_bytes(p), special_bytes(p + 16));
		__m128i second = _mm_or_si128(special_bytes(p + 32), special_bytes(p + 48));
		if (_mm_movemask_epi8(_mm_or_si128(first, second)))
			break;
	}
	return p;
}
#endif

/* The first byte at or after `p` that ends a run of ordinary ASCII inside a string: a quote, a
 * backslash, a control byte, or one with the high bit set. */
static const char *plain_run(const char *p, const char *end)
{
#if defined(__SSE2__) && !defined(JSON_SCAN_SCALAR)
	for (const char *start = p; end - p >= 16;) {
		unsigned mask = (unsigned)_mm_movemask_epi8(special_bytes(p));
		if (mask)
			return p + __builtin_ctz(mask);
		p += 16;
		if (p - start == 128)
			p = skip_plain(p, end);
	}
#endif
	while (p < end && *p >= 0x20 && *p != '"' && *p != '\\')
		p++; /* plain char is signed here: bytes beyond ASCII are negative */
	return p;
}

_Static_assert((char)-1 < 0, "plain_run relies on signed char");

/* ---- the automaton: every function takes bytes at `p` and returns where it stopped ---- */

/* A piece being fed: offsets in the text are scan->size + (p - data). */
struct piece {
	struct json_scan *scan;
	const char *data, *end;
};

static uint32_t offset_of(const struct piece *in, const char *p)
{
	return in->scan->size + (uint32_t)(p - in->data);
}

static const char *refuse(const struct piece *in, const char *p, enum json_scan_refusal refusal)
{
	in->scan->refusal = refusal;
	in->scan->refused_at = offset_of(in, p);
	return in->end;
}

static bool at_top_member(const struct json_scan *scan)
{
	return scan->depth == 1 && (scan->in_object & 1);
}

static bool inside_object(const struct json_scan *scan)
{
	return (scan->in_object >> (scan->depth - 1)) & 1;
}

static void value_begins(const struct piece *in, const char *p, enum json_scan_type type)
{
	struct json_scan *scan = in->scan;
	if (scan->depth == 0) {
		scan->root = type;
	} else if (at_top_member(scan)) {
		struct json_scan_member *member = &scan->members[scan->member_count - 1];
		member->value = offset_of(in, p);
		member->type = (uint8_t)type;
	}
}

/* `p` is the byte after the value. */
static void value_ends(const struct piece *in, const char *p)
{
	struct json_scan *scan = in->scan;
	if (scan->depth == 0) {
		scan->state = DONE;
		return;
	}
	if (at_top_member(scan)) {
		struct json_scan_member *member = &scan->members[scan->member_count - 1];
		member->value_size = offset_of(in, p) - member->value;
	}
	scan->state = AFTER_VALUE;
}

static const char *open_container(const struct piece *in, const char *p, bool object)
{
	struct json_scan *scan = in->scan;
	if (scan->depth == JSON_SCAN_DEPTH_MAX)
		return refuse(in, p, JSON_SCAN_DEPTH);
	value_begins(in, p, object ? JSON_SCAN_OBJECT : JSON_SCAN_ARRAY);
	uint64_t bit = (uint64_t)1 << scan->depth;
	scan->in_object = object ? scan->in_object | bit : scan->in_object & ~bit;
	scan->depth++;
	scan->state = object ? FIRST_KEY : FIRST_ELEMENT;
	return p + 1;
}

static const char *close_container(const struct piece *in, const char *p)
{
	in->scan->depth--;
	value_ends(in, p + 1);
	return p + 1;
}

static const char *string(const struct piece *in, const char *p);
static const char *number(const struct piece *in, const char *p);

static const char *begin_key(const struct piece *in, const char *p)
{
	struct json_scan *scan = in->scan;
	if (scan->depth == 1) {
		if (scan->member_count == JSON_SCAN_MEMBERS_MAX)
			return refuse(in, p, JSON_SCAN_TOO_MANY_MEMBERS);
		struct json_scan_member *member = &scan->members[scan->member_count++];
		*member = (struct json_scan_member){.key = offset_of(in, p + 1)};
	}
	scan->key_at = offset_of(in, p + 1);
	scan->in_key = true;
	scan->state = STRING;
	return string(in, p + 1);
}

#define ANY_NAME (~(uint64_t)0)

/* Of the names that requests are full of, "content", "text", "type" and the like, none shares a bit
 * with one that is looked for. */
static uint64_t name_bit(uint32_t size, char last)
{
	return (uint64_t)1 << ((size * 26 + (unsigned char)last) & 63);
}

/* A name below the top ends at `p`. What its last byte was is not known if that was in an earlier
 * piece. */
static void note_name(const struct piece *in, const char *p)
{
	uint32_t size = offset_of(in, p) - in->scan->key_at;
	if (size > 0)
		in->scan->nested_names |= p > in->data ? name_bit(size, p[-1]) : ANY_NAME;
}

bool json_scan_may_nest(const struct json_scan *scan, struct bytes name)
{
	return name.size > 0 && name.size <= UINT32_MAX &&
	       scan->nested_names & name_bit((uint32_t)name.size, name.data[name.size - 1]);
}

static const char *begin_literal(const struct piece *in, const char *p, const char *literal,
				 enum json_scan_type type)
{
	size_t size = strlen(literal);
	value_begins(in, p, type);
	if ((size_t)(in->end - p) >= size && memcmp(p, literal, size) == 0) {
		value_ends(in, p + size);
		return p + size;
	}
	in->scan->literal = literal;
	in->scan->progress = 1;
	in->scan->state = LITERAL;
	return p + 1;
}

static const char *begin_value(const struct piece *in, const char *p)
{
	switch (*p) {
	case '"':
		value_begins(in, p, JSON_SCAN_STRING);
		in->scan->in_key = false;
		in->scan->state = STRING;
		return string(in, p + 1);
	case '{':
		return open_container(in, p, true);
	case '[':
		return open_container(in, p, false);
	case 't':
		return begin_literal(in, p, "true", JSON_SCAN_TRUE);
	case 'f':
		return begin_literal(in, p, "false", JSON_SCAN_FALSE);
	case 'n':
		return begin_literal(in, p, "null", JSON_SCAN_NULL);
	default:
		break;
	}
	if (*p != '-' && (*p < '0' || *p > '9')) {
		bool mark = *p == '\xef' && offset_of(in, p) == 0;
		return refuse(in, p, mark ? JSON_SCAN_UTF8 : JSON_SCAN_SYNTAX);
	}
	value_begins(in, p, JSON_SCAN_NUMBER);
	in->scan->state = *p == '-' ? MINUS : *p == '0' ? ZERO : INTEGER;
	return p + 1 < in->end ? number(in, p + 1) : p + 1;
}

/* States between tokens. `p` is not white space. What mostly follows is read at once, so that the
 * state need not be asked for each byte; a piece may end anywhere all the same. */
static const char *structure(const struct piece *in, const char *p)
{
	struct json_scan *scan = in->scan;
	switch ((enum state)scan->state) {
	case FIRST_ELEMENT:
		if (*p == ']')
			return close_container(in, p);
		return begin_value(in, p);
	case FIRST_KEY:
	case KEY:
		if (*p == '}' && scan->state == FIRST_KEY)
			return close_container(in, p);
		return *p == '"' ? begin_key(in, p) : refuse(in, p, JSON_SCAN_SYNTAX);
	case COLON:
		if (*p != ':')
			return refuse(in, p, JSON_SCAN_SYNTAX);
		scan->state = VALUE;
		return p + 1;
	case AFTER_VALUE:
		if (*p == (inside_object(scan) ? '}' : ']'))
			return close_container(in, p);
		if (*p != ',')
			return refuse(in, p, JSON_SCAN_SYNTAX);
		scan->state = inside_object(scan) ? KEY : VALUE;
		p++;
		return scan->state == KEY && p < in->end && *p == '"' ? begin_key(in, p) : p;
	case DONE:
		return refuse(in, p, JSON_SCAN_TRAILING);
	default:
		return begin_value(in, p);
	}
}

static const char *end_string(const struct piece *in, const char *p)
{
	struct json_scan *scan = in->scan;
	if (!scan->in_key) {
		value_ends(in, p + 1);
		return p + 1;
	}
	if (scan->depth == 1) {
		struct json_scan_member *member = &scan->members[scan->member_count - 1];
		member->key_size = offset_of(in, p) - member->key;
		if (member->key_size > JSON_SCAN_NAME_MAX)
			return refuse(in, p, JSON_SCAN_KEY_LENGTH);
	} else {
		note_name(in, p);
	}
	bool colon = p + 1 < in->end && p[1] == ':';
	scan->state = colon ? VALUE : COLON;
	return p + 1 + colon;
}

/* The lead byte of a character of two to four bytes (RFC 3629, section 4). */
static const char *begin_utf8(const struct piece *in, const char *p)
{
	struct json_scan *scan = in->scan;
	unsigned char c = (unsigned char)*p;
	if (scan->in_key && scan->depth == 1)
		return refuse(in, p, JSON_SCAN_KEY_CHARACTERS);
	if (c < 0xc2 || c > 0xf4)
		return refuse(in, p, JSON_SCAN_UTF8);
	scan->utf8_left = c < 0xe0 ? 1 : c < 0xf0 ? 2 : 3;
	scan->utf8_low = c == 0xe0 ? 0xa0 : c == 0xf0 ? 0x90 : 0x80;
	scan->utf8_high = c == 0xed ? 0x9f : c == 0xf4 ? 0x8f : 0xbf;
	scan->state = UTF8;
	return p + 1;
}

static const char *continue_utf8(const struct piece *in, const char *p)
{
	struct json_scan *scan = in->scan;
	for (; p < in->end && scan->utf8_left; p++, scan->utf8_left--) {
		unsigned char c = (unsigned char)*p;
		if (c < scan->utf8_low || c > scan->utf8_high)
			return refuse(in, p, JSON_SCAN_UTF8);
		scan->utf8_low = 0x80;
		scan->utf8_high = 0xbf;
	}
	if (scan->utf8_left == 0)
		scan->state = STRING;
	return p;
}

static const char *begin_escape(const struct piece *in, const char *p)
{
	struct json_scan *scan = in->scan;
	if (scan->depth == 1 && scan->in_key)
		return refuse(in, p, JSON_SCAN_KEY_CHARACTERS);
	if (at_top_member(scan))
		scan->members[scan->member_count - 1].escaped = true;
	if (scan->in_key)
		scan->nested_names = ANY_NAME;
	scan->state = ESCAPE;
	return p + 1;
}

static bool is_escape(char c)
{
	return c == 'n' || c == '"' || c == '\\' || c == '/' || c == 't' || c == 'r' || c == 'b' ||
	       c == 'f';
}

static const char *escape(const struct piece *in, const char *p)
{
	struct json_scan *scan = in->scan;
	if (*p == 'u') {
		scan->state = HEX;
		scan->progress = 0;
		scan->unit = 0;
		return p + 1;
	}
	if (!is_escape(*p))
		return refuse(in, p, JSON_SCAN_ESCAPE);
	scan->state = STRING;
	return p + 1;
}

/* Whole escapes and characters are gone past at once; those that the piece cuts are left to their
 * states. */
static const char *string(const struct piece *in, const char *p)
{
	struct json_scan *scan = in->scan;
	while (scan->state == STRING && (p = plain_run(p, in->end)) < in->end) {
		if (*p == '"')
			return end_string(in, p);
		if (*p == '\\') {
			p = begin_escape(in, p);
			if (scan->state == ESCAPE && p < in->end)
				p = escape(in, p);
		} else if (*p < 0) {
			p = begin_utf8(in, p);
			if (scan->state == UTF8)
				p = continue_utf8(in, p);
		} else {
			return refuse(in, p, JSON_SCAN_CONTROL);
		}
	}
	return p;
}

static const char *hex(const struct piece *in, const char *p)
{
	struct json_scan *scan = in->scan;
	int digit = hex_digit_value(*p);
	if (digit < 0)
		return refuse(in, p, JSON_SCAN_ESCAPE);
	scan->unit = (uint16_t)(scan->unit << 4 | digit);
	if (++scan->progress < 4)
		return p + 1;
	if (scan->after_high != utf16_is_low(scan->unit))
		return refuse(in, p, JSON_SCAN_SURROGATE);
	scan->after_high = utf16_is_high(scan->unit);
	scan->state = scan->after_high ? LOW_BACKSLASH : STRING;
	return p + 1;
}

static const char *low_surrogate(const struct piece *in, const char *p)
{
	struct json_scan *scan = in->scan;
	if (*p != (scan->state == LOW_BACKSLASH ? '\\' : 'u'))
		return refuse(in, p, JSON_SCAN_SURROGATE);
	scan->state = scan->state == LOW_BACKSLASH ? LOW_U : HEX;
	scan->progress = 0;
	scan->unit = 0;
	return p + 1;
}

static const char *literal(const struct piece *in, const char *p)
{
	struct json_scan *scan = in->scan;
	if (*p != scan->literal[scan->progress])
		return refuse(in, p, JSON_SCAN_SYNTAX);
	scan->progress++;
	if (scan->literal[scan->progress] == '\0')
		value_ends(in, p + 1);
	return p + 1;
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* In a state where the number may end. */
static bool number_may_end(unsigned state)
{
	return state == ZERO || state == INTEGER || state == FRACTION || state == EXPONENT_DIGITS;
}

static const char *number(const struct piece *in, const char *p)
{
	struct json_scan *scan = in->scan;
	char c = *p;
	switch ((enum state)scan->state) {
	case MINUS:
		if (!is_digit(c))
			return refuse(in, p, JSON_SCAN_SYNTAX);
		scan->state = c == '0' ? ZERO : INTEGER;
		return p + 1;
	case POINT:
	case EXPONENT_SIGN:
		if (!is_digit(c))
			return refuse(in, p, JSON_SCAN_SYNTAX);
		scan->state = scan->state == POINT ? FRACTION : EXPONENT_DIGITS;
		return p + 1;
	case EXPONENT:
		if (c != '+' && c != '-' && !is_digit(c))
			return refuse(in, p, JSON_SCAN_SYNTAX);
		scan->state = is_digit(c) ? EXPONENT_DIGITS : EXPONENT_SIGN;
		return p + 1;
	default:
		break;
	}
	if (scan->state != ZERO)
		while (p < in->end && is_digit(*p))
			p++;
	if (p == in->end)
		return p;
	if (*p == '.' && (scan->state == ZERO || scan->state == INTEGER))
		scan->state = POINT;
	else if ((*p == 'e' || *p == 'E') && scan->state != EXPONENT_DIGITS)
		scan->state = EXPONENT;
	else if (is_digit(*p))
		return refuse(in, p, JSON_SCAN_SYNTAX); /* 01 */
	else {
		value_ends(in, p);
		return p;
	}
	return p + 1;
}

static const char *skip_space(const char *p, const char *end)
{
	while (p < end && (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t'))
		p++;
	return p;
}

static const char *step(const struct piece *in, const char *p)
{
	switch ((enum state)in->scan->state) {
	case STRING:
		return string(in, p);
	case UTF8:
		return continue_utf8(in, p);
	case ESCAPE:
		return escape(in, p);
	case HEX:
		return hex(in, p);
	case LOW_BACKSLASH:
	case LOW_U:
		return low_surrogate(in, p);
	case LITERAL:
		return literal(in, p);
	case MINUS:
	case ZERO:
	case INTEGER:
	case POINT:
	case FRACTION:
	case EXPONENT:
	case EXPONENT_SIGN:
	case EXPONENT_DIGITS:
		return number(in, p);
	default:
		p = skip_space(p, in->end);
		return p < in->end ? structure(in, p) : p;
	}
}

bool json_scan_feed(struct json_scan *scan, const char *data, size_t size)
{
	if (scan->refusal != JSON_SCAN_OK)
		return false;
	if (size == 0)
		return true;
	if (size >= UINT32_MAX - scan->size) {
		scan->refusal = JSON_SCAN_TOO_LARGE;
		scan->refused_at = scan->size;
		return false;
	}
	struct piece in = {scan, data, data + size};
	for (const char *p = data; p < in.end;)
		p = step(&in, p);
	scan->size += (uint32_t)size;
	return scan->refusal == JSON_SCAN_OK;
}

/* Bytes that differ only in case are the same with the bit 0x20; that others may be, too, a hash
 * need not mind. */
static uint64_t mix_folded(uint64_t hash, const char *from, size_t size)
{
	uint64_t word = 0;
	memcpy(&word, from, size);
	hash = (hash ^ (word | 0x2020202020202020u)) * 0x9e3779b97f4a7c15u;
	return hash ^ hash >> 32;
}

/* The last eight bytes of a longer name are taken whole, whether or not some have been already. */
static uint32_t hash_folded(const char *key, uint32_t size)
{
	uint64_t hash = size;
	if (size < 8)
		return (uint32_t)mix_folded(hash, key, size);
	for (uint32_t i = 0; i + 8 < size; i += 8)
		hash = mix_folded(hash, key + i, 8);
	return (uint32_t)mix_folded(hash, key + size - 8, 8);
}

static struct bytes key_of(struct bytes text, const struct json_scan_member *member)
{
	return bytes_of(text.data + member->key, member->key_size);
}

/* At most 256 members, so comparing every pair of hashes costs at most some ten microseconds, and
 * every pair of names, where somebody has made their hashes agree, some milliseconds. */
static bool names_are_distinct(struct json_scan *scan, struct bytes text)
{
	for (unsigned i = 0; i < scan->member_count; i++) {
		struct json_scan_member *member = &scan->members[i];
		member->key_hash = hash_folded(text.data + member->key, member->key_size);
		for (unsigned k = 0; k < i; k++) {
			const struct json_scan_member *other = &scan->members[k];
			if (other->key_hash == member->key_hash &&
			    bytes_equal_fold(key_of(text, other), key_of(text, member))) {
				scan->refused_at = member->key;
				return false;
			}
		}
	}
	return true;
}

bool json_scan_finish(struct json_scan *scan, struct bytes text)
{
	if (scan->refusal != JSON_SCAN_OK)
		return false;
	assert(text.size == scan->size);
	if (scan->depth == 0 && number_may_end(scan->state))
		scan->state = DONE;
	if (scan->state != DONE) {
		scan->refusal = JSON_SCAN_INCOMPLETE;
		scan->refused_at = scan->size;
	} else if (!names_are_distinct(scan, text)) {
		scan->refusal = JSON_SCAN_KEY_DUPLICATE;
	}
	return scan->refusal == JSON_SCAN_OK;
}

enum err_code json_scan_rest(struct json_scan *scan, struct bytes text, const char *what,
			     struct err *err)
{
	if (scan->size < text.size)
		json_scan_feed(scan, text.data + scan->size, text.size - scan->size);
	if (json_scan_finish(scan, text))
		return ERR_OK;
	return ERR_SET(err, ERR_INVALID, "%s is not acceptable JSON: %s, at byte %u", what,
		       json_scan_problem(scan->refusal), scan->refused_at);
}

enum err_code json_scan_text(struct json_scan *scan, struct bytes text, const char *what,
			     struct err *err)
{
	json_scan_start(scan);
	return json_scan_rest(scan, text, what, err);
}

const struct json_scan_member *json_scan_member(const struct json_scan *scan, struct bytes text,
						struct bytes name)
{
	for (unsigned i = 0; i < scan->member_count; i++)
		if (bytes_equal(key_of(text, &scan->members[i]), name))
			return &scan->members[i];
	return NULL;
}
