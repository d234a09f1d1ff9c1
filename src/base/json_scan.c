#include "base/json_scan.h"

#include "base/encode.h"
#include "base/utf16.h"

#include <assert.h>

#if defined(__SSE2__) && !defined(JSON_SCAN_SCALAR)
#include <immintrin.h>
#endif

enum state {
	VALUE,         /* a value must come */
	FIRST_ELEMENT, /* after '[': a value or ']' */
	FIRST_KEY,     /* after '{': a name or '}' */
	KEY,           /* after ',' in an object: a name */
	COLON,         /* after a name */
	AFTER_MEMBER,  /* inside an object: ',' or '}' */
	AFTER_ELEMENT, /* inside an array: ',' or ']' */
	DONE,          /* the value is complete: only white space */
	STRING,        /* inside quotes; from here on within a token */
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
	memset(scan, 0, offsetof(struct json_scan, open));
	scan->state = VALUE;
	scan->after = DONE;
}

/* ---- runs of ordinary bytes ---- */

#if defined(__SSE2__) && !defined(JSON_SCAN_SCALAR)
/* Of sixteen bytes those that end a run are set. A quote less the bit 2 is a space, so that one
 * comparison finds it with the control bytes, and the sign takes bytes beyond ASCII for less. */
static inline __m128i special_bytes(const char *p)
{
	__m128i block = _mm_loadu_si128((const __m128i *)(const void *)p);
	__m128i low = _mm_xor_si128(block, _mm_set1_epi8('"' ^ ' '));
	return _mm_or_si128(_mm_cmplt_epi8(low, _mm_set1_epi8(' ' + 1)),
			    _mm_cmpeq_epi8(block, _mm_set1_epi8('\\')));
}

/* By 64 bytes, as long as all of them belong to the run. */
static const char *skip_plain(const char *p, const char *end)
{
	for (; end - p >= 64; p += 64) {
		__m128i first = _mm_or_si128(special_bytes(p), special_bytes(p + 16));
		__m128i second = _mm_or_si128(special_bytes(p + 32), special_bytes(p + 48));
		if (_mm_movemask_epi8(_mm_or_si128(first, second)))
			break;
	}
	return p;
}

#define WITH_AVX2 __attribute__((target("avx2")))

WITH_AVX2 static inline __m256i load_avx2(const char *p)
{
	return _mm256_loadu_si256((const __m256i *)(const void *)p);
}

/* Of 128 bytes. The least of them less that bit stands for all. */
WITH_AVX2 static inline bool are_plain_avx2(const char *p)
{
	const __m256i bit = _mm256_set1_epi8('"' ^ ' '), slash = _mm256_set1_epi8('\\');
	__m256i a = load_avx2(p), b = load_avx2(p + 32);
	__m256i c = load_avx2(p + 64), d = load_avx2(p + 96);
	__m256i low = _mm256_min_epi8(
		_mm256_min_epi8(_mm256_xor_si256(a, bit), _mm256_xor_si256(b, bit)),
		_mm256_min_epi8(_mm256_xor_si256(c, bit), _mm256_xor_si256(d, bit)));
	__m256i slashes = _mm256_or_si256(
		_mm256_or_si256(_mm256_cmpeq_epi8(a, slash), _mm256_cmpeq_epi8(b, slash)),
		_mm256_or_si256(_mm256_cmpeq_epi8(c, slash), _mm256_cmpeq_epi8(d, slash)));
	__m256i special =
		_mm256_or_si256(slashes, _mm256_cmpgt_epi8(_mm256_set1_epi8(' ' + 1), low));
	return _mm256_testz_si256(special, special);
}

WITH_AVX2 static const char *skip_plain_avx2(const char *p, const char *end)
{
	while (end - p >= 128 && are_plain_avx2(p))
		p += 128;
	return p;
}

/* The bytes before the end, of which there are sixteen at least; those before `p` do not count. */
static inline const char *last_of_run(const char *p, const char *end)
{
	unsigned mask = (unsigned)_mm_movemask_epi8(special_bytes(end - 16));
	mask >>= 16 - (end - p);
	return mask ? p + __builtin_ctz(mask) : end;
}

/* A run that was long so far mostly goes on; in one as short as most between two escapes the wide
 * registers cost more than they gain. */
static __attribute__((noinline)) const char *long_run(const char *p, const char *end)
{
	const char *start = p;
	while (end - p >= 16) {
		unsigned mask = (unsigned)_mm_movemask_epi8(special_bytes(p));
		if (mask)
			return p + __builtin_ctz(mask);
		p += 16;
		if (p - start == 64)
			p = __builtin_cpu_supports("avx2") ? skip_plain_avx2(p, end)
							   : skip_plain(p, end);
	}
	return last_of_run(p, end);
}
#endif

/* A piece being fed. All of it is in registers where it goes by value. */
struct piece {
	struct json_scan *scan;
	const char *data, *end;
	uint32_t shift; /* from an address to an offset in the text, modulo 2^32 */
};

/* The first byte at or after `p` that ends a run of ordinary ASCII inside a string: a quote, a
 * backslash, a control byte, or one with the high bit set. */
static inline const char *plain_run(struct piece in, const char *p)
{
#if defined(__SSE2__) && !defined(JSON_SCAN_SCALAR)
	if (in.end - p >= 16) {
		unsigned mask = (unsigned)_mm_movemask_epi8(special_bytes(p));
		if (mask)
			return p + __builtin_ctz(mask);
		return long_run(p + 16, in.end);
	}
	if (in.end - in.data >= 16)
		return last_of_run(p, in.end);
#endif
	while (p < in.end && *p >= 0x20 && *p != '"' && *p != '\\')
		p++; /* plain char is signed here: bytes beyond ASCII are negative */
	return p;
}

_Static_assert((char)-1 < 0, "plain_run relies on signed char");

/* ---- the automaton: every function takes bytes at `p` and returns where it stopped ---- */

static inline uint32_t offset_of(struct piece in, const char *p)
{
	return (uint32_t)(uintptr_t)p + in.shift;
}

static const char *refuse(struct piece in, const char *p, enum json_scan_refusal refusal)
{
	in.scan->refusal = refusal;
	in.scan->refused_at = offset_of(in, p);
	return in.end;
}

static inline bool inside_object(const struct json_scan *scan)
{
	return scan->after == AFTER_MEMBER;
}

static inline bool root_is_object(const struct json_scan *scan)
{
	return scan->in_object & 1;
}

/* A place in the table for a value that begins; the caller has seen that one more member may come
 * at the top. */
static inline struct json_scan_member *add_place(struct json_scan *scan)
{
	unsigned at = JSON_SCAN_SPILL_AT;
	if (scan->depth == 0)
		at = JSON_SCAN_ROOT_AT;
	else if (scan->depth == 1 && root_is_object(scan))
		at = scan->member_count++;
	else if (scan->inner_count < JSON_SCAN_INNER_MAX)
		at = JSON_SCAN_INNER_AT + scan->inner_count++;
	else
		scan->spilled = true;
	scan->place = (uint16_t)at;
	scan->members[at] = (struct json_scan_member){.next = 1};
	return &scan->members[at];
}

/* Where the next place for what lies in the container at `at` is. */
static inline int inside_at(const struct json_scan *scan, unsigned at)
{
	return at == JSON_SCAN_ROOT_AT && root_is_object(scan)
		       ? scan->member_count
		       : JSON_SCAN_INNER_AT + scan->inner_count;
}

/* `p` is the byte after the value that is at `place`. */
static inline void value_ends(struct piece in, const char *p, struct json_scan_member *place)
{
	place->value_size = offset_of(in, p) - place->value;
	in.scan->state = in.scan->after;
}

static inline const char *open_container(struct piece in, const char *p, bool object)
{
	struct json_scan *scan = in.scan;
	if (scan->depth == JSON_SCAN_DEPTH_MAX)
		return refuse(in, p, JSON_SCAN_DEPTH);
	uint64_t bit = (uint64_t)1 << scan->depth;
	scan->in_object = object ? scan->in_object | bit : scan->in_object & ~bit;
	scan->open[scan->depth++] = scan->place;
	scan->members[scan->place].first = (int16_t)(inside_at(scan, scan->place) - scan->place);
	scan->state = object ? FIRST_KEY : FIRST_ELEMENT;
	scan->after = object ? AFTER_MEMBER : AFTER_ELEMENT;
	return p + 1;
}

static inline const char *close_container(struct piece in, const char *p)
{
	struct json_scan *scan = in.scan;
	unsigned at = scan->open[--scan->depth];
	struct json_scan_member *place = &scan->members[at];
	place->end = (int16_t)(inside_at(scan, at) - (int)at);
	if (at >= JSON_SCAN_INNER_AT)
		place->next = place->end;
	if (scan->spilled && !(at == JSON_SCAN_ROOT_AT && root_is_object(scan)))
		place->first = 0;
	bool object = (scan->in_object << 1 >> scan->depth) & 1;
	scan->after = scan->depth == 0 ? DONE : object ? AFTER_MEMBER : AFTER_ELEMENT;
	value_ends(in, p + 1, place);
	return p + 1;
}

static const char *string(struct piece in, const char *p);
static const char *number(struct piece in, const char *p);

#define ANY_NAME (~(uint64_t)0)

/* Of the names that requests are full of, "content", "text", "type" and the like, none shares a bit
 * with one that is looked for. */
static uint64_t name_bit(uint32_t size, char last)
{
	return (uint64_t)1 << ((size * 26 + (unsigned char)last) & 63);
}

/* A name below the top ends at `p`. What its last byte was is not known if that was in an earlier
 * piece. */
static inline void note_name(struct piece in, const char *p, uint32_t size)
{
	if (size > 0)
		in.scan->nested_names |= p > in.data ? name_bit(size, p[-1]) : ANY_NAME;
}

bool json_scan_may_nest(const struct json_scan *scan, struct bytes name)
{
	return name.size > 0 && name.size <= UINT32_MAX &&
	       scan->nested_names & name_bit((uint32_t)name.size, name.data[name.size - 1]);
}

/* `p` is the quote after a name. */
static inline const char *end_name(struct piece in, const char *p)
{
	struct json_scan *scan = in.scan;
	struct json_scan_member *place = &scan->members[scan->place];
	place->key_size = offset_of(in, p) - place->key;
	if (scan->depth > 1)
		note_name(in, p, place->key_size);
	else if (place->key_size > JSON_SCAN_NAME_MAX)
		return refuse(in, p, JSON_SCAN_KEY_LENGTH);
	bool colon = p + 1 < in.end && p[1] == ':';
	scan->state = colon ? VALUE : COLON;
	return p + 1 + colon;
}

static inline const char *begin_name(struct piece in, const char *p)
{
	struct json_scan *scan = in.scan;
	if (scan->member_count == JSON_SCAN_MEMBERS_MAX && scan->depth == 1)
		return refuse(in, p, JSON_SCAN_TOO_MANY_MEMBERS);
	add_place(scan)->key = offset_of(in, p + 1);
	p = plain_run(in, p + 1);
	if (p < in.end && *p == '"')
		return end_name(in, p);
	scan->in_key = true;
	scan->state = STRING;
	return string(in, p);
}

static inline const char *begin_string(struct piece in, const char *p,
				       struct json_scan_member *place)
{
	p = plain_run(in, p + 1);
	if (p < in.end && *p == '"') {
		value_ends(in, p + 1, place);
		return p + 1;
	}
	in.scan->in_key = false;
	in.scan->state = STRING;
	return string(in, p);
}

static inline bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* Whole numbers are read at once; `number` knows what else there is. */
static inline const char *begin_number(struct piece in, const char *p,
				       struct json_scan_member *place)
{
	char first = *p++;
	if (first > '0')
		while (p < in.end && is_digit(*p))
			p++;
	if (p < in.end && (*p == ',' || *p == '}') && first != '-') {
		value_ends(in, p, place);
		return p;
	}
	in.scan->state = first == '-' ? MINUS : first == '0' ? ZERO : INTEGER;
	return p < in.end ? number(in, p) : p;
}

static const char *begin_literal(struct piece in, const char *p, const char *literal,
				 struct json_scan_member *place)
{
	size_t size = strlen(literal);
	if ((size_t)(in.end - p) >= size && memcmp(p, literal, size) == 0) {
		value_ends(in, p + size, place);
		return p + size;
	}
	in.scan->literal = literal;
	in.scan->progress = 1;
	in.scan->state = LITERAL;
	return p + 1;
}

/* clang-format off */
static const uint8_t type_of_first[256] = {
	['"'] = JSON_SCAN_STRING, ['{'] = JSON_SCAN_OBJECT, ['['] = JSON_SCAN_ARRAY,
	['t'] = JSON_SCAN_TRUE, ['f'] = JSON_SCAN_FALSE, ['n'] = JSON_SCAN_NULL,
	['-'] = JSON_SCAN_NUMBER, ['0' ... '9'] = JSON_SCAN_NUMBER,
};
/* clang-format on */

static inline const char *begin_value(struct piece in, const char *p)
{
	struct json_scan *scan = in.scan;
	uint8_t type = type_of_first[(unsigned char)*p];
	if (type == JSON_SCAN_NOTHING) {
		bool mark = *p == '\xef' && offset_of(in, p) == 0;
		return refuse(in, p, mark ? JSON_SCAN_UTF8 : JSON_SCAN_SYNTAX);
	}
	struct json_scan_member *place =
		inside_object(scan) ? &scan->members[scan->place] : add_place(scan);
	place->value = offset_of(in, p);
	place->type = type;
	if (scan->depth == 0)
		scan->root = (enum json_scan_type)type;
	switch ((enum json_scan_type)type) {
	case JSON_SCAN_STRING:
		return begin_string(in, p, place);
	case JSON_SCAN_OBJECT:
		return open_container(in, p, true);
	case JSON_SCAN_ARRAY:
		return open_container(in, p, false);
	case JSON_SCAN_TRUE:
		return begin_literal(in, p, "true", place);
	case JSON_SCAN_FALSE:
		return begin_literal(in, p, "false", place);
	case JSON_SCAN_NULL:
		return begin_literal(in, p, "null", place);
	default:
		return begin_number(in, p, place);
	}
}

static inline bool is_space(char c)
{
	return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

/* A name, and where it is followed by a colon that. */
static inline const char *name(struct piece in, const char *p)
{
	if (*p == '"')
		return begin_name(in, p);
	if (*p == '}' && in.scan->state == FIRST_KEY)
		return close_container(in, p);
	return refuse(in, p, JSON_SCAN_SYNTAX);
}

/* A comma, and where a name follows that, or the end of the container. */
static inline const char *after_value(struct piece in, const char *p)
{
	bool object = in.scan->state == AFTER_MEMBER;
	if (*p == (object ? '}' : ']'))
		return close_container(in, p);
	if (*p != ',')
		return refuse(in, p, JSON_SCAN_SYNTAX);
	in.scan->state = object ? KEY : VALUE;
	return p + 1;
}

/* From token to token. Of one that is not as most are, some may be left to continue_token. */
static const char *tokens(struct piece in, const char *p)
{
	struct json_scan *scan = in.scan;
	while (p < in.end && scan->state < STRING) {
		if (is_space(*p)) {
			p++;
			continue;
		}
		if (scan->state == AFTER_MEMBER || scan->state == AFTER_ELEMENT) {
			p = after_value(in, p);
			if (p == in.end || *p != '"' || scan->state != KEY)
				continue;
		}
		if (scan->state == KEY || scan->state == FIRST_KEY) {
			p = name(in, p);
			if (p == in.end || is_space(*p) || scan->state != VALUE)
				continue;
		}
		if (scan->state == COLON && *p == ':') {
			scan->state = VALUE;
			p++;
		} else if (scan->state == FIRST_ELEMENT && *p == ']') {
			p = close_container(in, p);
		} else if (scan->state == VALUE || scan->state == FIRST_ELEMENT) {
			p = begin_value(in, p);
		} else {
			bool trailing = scan->state == DONE;
			return refuse(in, p, trailing ? JSON_SCAN_TRAILING : JSON_SCAN_SYNTAX);
		}
	}
	return p;
}

static const char *end_string(struct piece in, const char *p)
{
	if (in.scan->in_key)
		return end_name(in, p);
	value_ends(in, p + 1, &in.scan->members[in.scan->place]);
	return p + 1;
}

/* What the first continuation byte may be (RFC 3629, section 4). */
static inline unsigned char least_after(unsigned char lead)
{
	return lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
}

static inline unsigned char most_after(unsigned char lead)
{
	return lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
}

/* Goes past whole characters of two to four bytes; where one is cut or wrong it is left to
 * begin_utf8. */
static const char *skip_characters(const char *p, const char *end)
{
	while (end - p >= 4 && *p < 0) {
		unsigned char c = (unsigned char)*p, next = (unsigned char)p[1];
		bool third = c < 0xe0 || (p[2] & 0xc0) == 0x80;
		bool fourth = c < 0xf0 || (p[3] & 0xc0) == 0x80;
		if (c < 0xc2 || c > 0xf4 || next < least_after(c) || next > most_after(c) ||
		    !third || !fourth)
			break;
		p += c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
	}
	return p;
}

/* The lead byte of a character of two to four bytes. */
static const char *begin_utf8(struct piece in, const char *p)
{
	struct json_scan *scan = in.scan;
	unsigned char c = (unsigned char)*p;
	if (scan->in_key && scan->depth == 1)
		return refuse(in, p, JSON_SCAN_KEY_CHARACTERS);
	const char *after = skip_characters(p, in.end);
	if (after > p)
		return after;
	if (c < 0xc2 || c > 0xf4)
		return refuse(in, p, JSON_SCAN_UTF8);
	scan->utf8_left = c < 0xe0 ? 1 : c < 0xf0 ? 2 : 3;
	scan->utf8_low = least_after(c);
	scan->utf8_high = most_after(c);
	scan->state = UTF8;
	return p + 1;
}

static const char *continue_utf8(struct piece in, const char *p)
{
	struct json_scan *scan = in.scan;
	for (; p < in.end && scan->utf8_left; p++, scan->utf8_left--) {
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

static const char *begin_escape(struct piece in, const char *p)
{
	struct json_scan *scan = in.scan;
	if (scan->depth == 1 && scan->in_key)
		return refuse(in, p, JSON_SCAN_KEY_CHARACTERS);
	if (scan->in_key)
		scan->nested_names = ANY_NAME;
	else
		scan->members[scan->place].escaped = true;
	scan->state = ESCAPE;
	return p + 1;
}

/* clang-format off */
static const bool escapes[256] = {
	['"'] = true, ['\\'] = true, ['/'] = true, ['b'] = true, ['f'] = true, ['n'] = true,
	['r'] = true, ['t'] = true,
};
/* clang-format on */

static const char *escape(struct piece in, const char *p)
{
	struct json_scan *scan = in.scan;
	if (*p == 'u') {
		scan->state = HEX;
		scan->progress = 0;
		scan->unit = 0;
		return p + 1;
	}
	if (!escapes[(unsigned char)*p])
		return refuse(in, p, JSON_SCAN_ESCAPE);
	scan->state = STRING;
	return p + 1;
}

/* Whole escapes and characters are gone past at once; those that the piece cuts are left to their
 * states. */
static const char *string(struct piece in, const char *p)
{
	struct json_scan *scan = in.scan;
	while (scan->state == STRING && (p = plain_run(in, p)) < in.end) {
		if (*p == '"')
			return end_string(in, p);
		if (*p == '\\') {
			p = begin_escape(in, p);
			if (scan->state == ESCAPE && p < in.end)
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

static const char *hex(struct piece in, const char *p)
{
	struct json_scan *scan = in.scan;
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

static const char *low_surrogate(struct piece in, const char *p)
{
	struct json_scan *scan = in.scan;
	if (*p != (scan->state == LOW_BACKSLASH ? '\\' : 'u'))
		return refuse(in, p, JSON_SCAN_SURROGATE);
	scan->state = scan->state == LOW_BACKSLASH ? LOW_U : HEX;
	scan->progress = 0;
	scan->unit = 0;
	return p + 1;
}

static const char *literal(struct piece in, const char *p)
{
	struct json_scan *scan = in.scan;
	if (*p != scan->literal[scan->progress])
		return refuse(in, p, JSON_SCAN_SYNTAX);
	scan->progress++;
	if (scan->literal[scan->progress] == '\0')
		value_ends(in, p + 1, &scan->members[scan->place]);
	return p + 1;
}

/* In a state where the number may end. */
static bool number_may_end(unsigned state)
{
	return state == ZERO || state == INTEGER || state == FRACTION || state == EXPONENT_DIGITS;
}

static const char *number(struct piece in, const char *p)
{
	struct json_scan *scan = in.scan;
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
		while (p < in.end && is_digit(*p))
			p++;
	if (p == in.end)
		return p;
	if (*p == '.' && (scan->state == ZERO || scan->state == INTEGER))
		scan->state = POINT;
	else if ((*p == 'e' || *p == 'E') && scan->state != EXPONENT_DIGITS)
		scan->state = EXPONENT;
	else if (is_digit(*p))
		return refuse(in, p, JSON_SCAN_SYNTAX); /* 01 */
	else {
		value_ends(in, p, &scan->members[scan->place]);
		return p;
	}
	return p + 1;
}

/* What of a token the pieces before have left. */
static const char *continue_token(struct piece in, const char *p)
{
	switch ((enum state)in.scan->state) {
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
	default:
		return number(in, p);
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
	struct piece in = {scan, data, data + size, scan->size - (uint32_t)(uintptr_t)data};
	for (const char *p = data; p < in.end;)
		p = scan->state < STRING ? tokens(in, p) : continue_token(in, p);
	scan->size += (uint32_t)size;
	return scan->refusal == JSON_SCAN_OK;
}

static inline uint32_t mix(uint64_t a, uint64_t b, uint64_t size)
{
	uint64_t hash = (a ^ size) * 0x9e3779b97f4a7c15u;
	hash = (b ^ hash ^ hash >> 32) * 0x9e3779b97f4a7c15u;
	return (uint32_t)(hash >> 32);
}

/* Of the first sixteen bytes and the last eight; in a shorter name some are taken twice. Bytes that
 * differ only in case are the same with the bit 0x20; that others may be, too, a hash need not
 * mind. */
static uint32_t hash_folded(const char *key, uint32_t size)
{
	const uint64_t fold = 0x2020202020202020u;
	uint64_t a = 0, b = 0, c = 0;
	if (size >= 8) {
		memcpy(&a, key, 8);
		memcpy(&b, key + size - 8, 8);
		memcpy(&c, key + (size >= 16 ? 8 : 0), 8);
	} else if (size >= 4) {
		uint32_t x, y;
		memcpy(&x, key, 4);
		memcpy(&y, key + size - 4, 4);
		a = x;
		b = y;
	} else if (size > 0) {
		a = (unsigned char)key[0];
		b = (unsigned)(unsigned char)key[size / 2] << 8 | (unsigned char)key[size - 1];
	}
	c |= fold;
	return mix((a | fold) ^ (c << 1 | c >> 63), b | fold, size);
}

static struct bytes key_of(struct bytes text, const struct json_scan_member *member)
{
	return bytes_of(text.data + member->key, member->key_size);
}

/* Hashes of the first names, as many as were needed so far. */
struct hashed {
	unsigned count;
	uint32_t hashes[JSON_SCAN_MEMBERS_MAX];
};

/* Whether one of the names before `name` is the same but for case. */
static bool stands_before(const struct json_scan *scan, struct bytes text, unsigned name,
			  struct hashed *hashed)
{
	const uint32_t *hashes = hashed->hashes;
	for (; hashed->count <= name; hashed->count++) {
		struct bytes key = key_of(text, &scan->members[hashed->count]);
		hashed->hashes[hashed->count] = hash_folded(key.data, (uint32_t)key.size);
	}
	for (unsigned k = 0; k < name; k++)
		if (hashes[k] == hashes[name] &&
		    bytes_equal_fold(key_of(text, &scan->members[k]),
				     key_of(text, &scan->members[name])))
			return true;
	return false;
}

/* A name that by its size and by its first and last byte is like none before is not compared with
 * them. At most 256, so comparing every pair of hashes costs at most some ten microseconds, and
 * every pair of names, where somebody has made their hashes agree, some milliseconds. */
static bool names_are_distinct(struct json_scan *scan, struct bytes text)
{
	struct hashed hashed;
	uint64_t marks[4] = {0};
	hashed.count = 0;
	for (unsigned i = 0; i < scan->member_count; i++) {
		const struct json_scan_member *member = &scan->members[i];
		const char *key = text.data + member->key;
		unsigned size = member->key_size, mark = 0;
		if (size > 0)
			mark = size + 5 * (key[0] & 31u) + 7 * (key[size - 1] & 31u);
		uint64_t bit = (uint64_t)1 << (mark & 63), *word = &marks[mark / 64 % 4];
		if (*word & bit && stands_before(scan, text, i, &hashed)) {
			scan->refused_at = member->key;
			return false;
		}
		*word |= bit;
	}
	return true;
}

bool json_scan_finish(struct json_scan *scan, struct bytes text)
{
	if (scan->refusal != JSON_SCAN_OK)
		return false;
	assert(text.size == scan->size);
	if (scan->depth == 0 && number_may_end(scan->state)) {
		struct json_scan_member *root = &scan->members[JSON_SCAN_ROOT_AT];
		root->value_size = scan->size - root->value;
		scan->state = DONE;
	}
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
