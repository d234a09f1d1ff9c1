#include "proto/http1.h"
#include "proto/http1_fields.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

static const struct {
	int status;
	const char *text;
} refusals[] = {
#define X(name, status, text) [HTTP_REFUSAL_##name] = {status, text},
	HTTP_REFUSAL_TABLE(X)
#undef X
};

int http_refusal_status(enum http_refusal refusal)
{
	return refusals[refusal].status;
}

const char *http_refusal_text(enum http_refusal refusal)
{
	return refusals[refusal].text;
}

/* What may stand where: bits of a byte's class. */
enum { TOKEN = 1, TARGET = 2, VALUE = 4 };

/* RFC 9110, 5.6.2 for tokens; a target is any visible ASCII; a value any byte but controls. */
static const uint8_t classes[256] = {
	['\t'] = VALUE, [' '] = VALUE,     ['!'] = 7,         ['"'] = 6,
	['#'] = 7,      ['$'] = 7,         ['%'] = 7,         ['&'] = 7,
	['\''] = 7,     ['('] = 6,         [')'] = 6,         ['*'] = 7,
	['+'] = 7,      [','] = 6,         ['-'] = 7,         ['.'] = 7,
	['/'] = 6,      ['0' ... '9'] = 7, [':' ... '@'] = 6, ['A' ... 'Z'] = 7,
	['['] = 6,      ['\\'] = 6,        [']'] = 6,         ['^'] = 7,
	['_'] = 7,      ['`'] = 7,         ['a' ... 'z'] = 7, ['{'] = 6,
	['|'] = 7,      ['}'] = 6,         ['~'] = 7,         [0x80 ... 0xff] = VALUE,
};

static bool is_class(char c, unsigned class)
{
	return classes[(unsigned char)c] & class;
}

static bool all_of_class(struct bytes text, unsigned class)
{
	for (size_t i = 0; i < text.size; i++)
		if (!is_class(text.data[i], class))
			return false;
	return true;
}

bool http_is_token(struct bytes text)
{
	return text.size && all_of_class(text, TOKEN);
}

bool http_is_field_value(struct bytes text)
{
	return all_of_class(text, VALUE);
}

/* The end of a run of field value bytes: the first control byte but tab, or `end`. */
static const char *value_run(const char *p, const char *end)
{
#if defined(__SSE2__)
	const __m128i highest_control = _mm_set1_epi8(0x1f), delete_byte = _mm_set1_epi8(0x7f);
	const __m128i tab = _mm_set1_epi8('\t');
	while (end - p >= 16) {
		__m128i block = _mm_loadu_si128((const __m128i *)(const void *)p);
		__m128i control = _mm_cmpeq_epi8(_mm_min_epu8(block, highest_control), block);
		control = _mm_andnot_si128(_mm_cmpeq_epi8(block, tab), control);
		control = _mm_or_si128(control, _mm_cmpeq_epi8(block, delete_byte));
		unsigned mask = (unsigned)_mm_movemask_epi8(control);
		if (mask)
			return p + __builtin_ctz(mask);
		p += 16;
	}
#endif
	while (p < end && is_class(*p, VALUE))
		p++;
	return p;
}

#if defined(__SSE2__)
/* Which of 16 bytes are letters, digits or '-': what nearly all names are made of. */
static unsigned common_name_bytes(__m128i block)
{
	const __m128i below_a = _mm_set1_epi8('a' - 1), above_z = _mm_set1_epi8('z' + 1);
	const __m128i below_0 = _mm_set1_epi8('0' - 1), above_9 = _mm_set1_epi8('9' + 1);
	__m128i lower = _mm_or_si128(block, _mm_set1_epi8(0x20));
	__m128i letter =
		_mm_and_si128(_mm_cmpgt_epi8(lower, below_a), _mm_cmplt_epi8(lower, above_z));
	__m128i digit =
		_mm_and_si128(_mm_cmpgt_epi8(block, below_0), _mm_cmplt_epi8(block, above_9));
	__m128i dash = _mm_cmpeq_epi8(block, _mm_set1_epi8('-'));
	return (unsigned)_mm_movemask_epi8(_mm_or_si128(_mm_or_si128(letter, digit), dash));
}
#endif

/* The end of a run of token bytes. */
static const char *token_run(const char *p, const char *end)
{
#if defined(__SSE2__)
	while (end - p >= 16) {
		unsigned rest =
			~common_name_bytes(_mm_loadu_si128((const __m128i *)(const void *)p)) &
			0xffff;
		if (rest == 0) {
			p += 16;
			continue;
		}
		p += __builtin_ctz(rest);
		if (!is_class(*p, TOKEN))
			return p;
		p++;
	}
#endif
	while (p < end && is_class(*p, TOKEN))
		p++;
	return p;
}

/* ---- lines ---- */

/* A head being parsed: `p` is where the present line begins. */
struct input {
	struct http_head *head;
	const char *data, *p, *end;
};

static enum http_parse refuse(struct input *in, enum http_refusal refusal)
{
	in->head->refusal = refusal;
	return HTTP_REFUSED;
}

static struct http_span span_of(const struct input *in, const char *from, const char *to)
{
	return (struct http_span){(uint16_t)(from - in->data), (uint16_t)(to - from)};
}

/* `p` must be a CR LF. COMPLETE moves in->p behind it. */
static enum http_parse line_end(struct input *in, const char *p, enum http_refusal otherwise)
{
	if (p == in->end)
		return HTTP_MORE;
	if (*p == '\n' || (*p == '\r' && p + 1 < in->end && p[1] != '\n'))
		return refuse(in, HTTP_REFUSAL_LINE_END);
	if (*p != '\r')
		return refuse(in, otherwise);
	if (p + 1 == in->end)
		return HTTP_MORE;
	in->p = p + 2;
	in->head->parsed = (uint16_t)(in->p - in->data);
	return HTTP_COMPLETE;
}

static const char *skip_blank(const char *p, const char *end)
{
	while (p < end && (*p == ' ' || *p == '\t'))
		p++;
	return p;
}

static enum http_parse note_field(struct input *in, struct http_field field)
{
	struct http_head *head = in->head;
	if (head->field_count == HTTP_FIELDS_MAX)
		return refuse(in, HTTP_REFUSAL_TOO_MANY_FIELDS);
	int id = http_field_lookup(http_bytes(in->data, field.name));
	head->fields[head->field_count++] = field;
	if (id < 0)
		return HTTP_COMPLETE;
	if (!head->known[id]) {
		head->known[id] = (uint8_t)head->field_count;
		return HTTP_COMPLETE;
	}
	enum http_refusal refusal = http_field_repeated((enum http_field_id)id);
	return refusal == HTTP_REFUSAL_NONE ? HTTP_COMPLETE : refuse(in, refusal);
}

/* One field line (RFC 9112, section 5). in->p moves only when the line is complete. */
static enum http_parse field_line(struct input *in)
{
	if (*in->p == ' ' || *in->p == '\t')
		return refuse(in, HTTP_REFUSAL_FOLDED);
	const char *p = token_run(in->p, in->end);
	if (p == in->end)
		return HTTP_MORE;
	if (*p != ':' || p == in->p)
		return refuse(in, *p == '\n' || *p == '\r' ? HTTP_REFUSAL_LINE_END
							   : HTTP_REFUSAL_FIELD_NAME);
	struct http_field field = {.name = span_of(in, in->p, p)};
	const char *value = skip_blank(p + 1, in->end);
	const char *stop = value_run(value, in->end);
	const char *last = stop;
	while (last > value && (last[-1] == ' ' || last[-1] == '\t'))
		last--;
	field.value = span_of(in, value, last);
	enum http_parse result = line_end(in, stop, HTTP_REFUSAL_FIELD_VALUE);
	return result == HTTP_COMPLETE ? note_field(in, field) : result;
}

static enum http_parse all_fields(struct input *in)
{
	while (in->p < in->end) {
		if (*in->p == '\r' || *in->p == '\n') {
			enum http_parse result = line_end(in, in->p, HTTP_REFUSAL_LINE_END);
			if (result == HTTP_COMPLETE)
				in->head->size = in->head->parsed;
			return result;
		}
		enum http_parse result = field_line(in);
		if (result != HTTP_COMPLETE)
			return result;
	}
	return HTTP_MORE;
}

/* ---- start lines ---- */

/* "HTTP/1.x" at `p`: COMPLETE if it is there, MORE if it may still become one. */
static enum http_parse version(struct input *in, const char *p)
{
	static const char prefix[] = "HTTP/1.";
	size_t left = (size_t)(in->end - p);
	size_t compare = left < 7 ? left : 7;
	if (memcmp(p, prefix, compare) != 0)
		return refuse(in, compare >= 5 && memcmp(p, prefix, 5) == 0
					  ? HTTP_REFUSAL_VERSION
					  : HTTP_REFUSAL_START_LINE);
	if (left < 8)
		return HTTP_MORE;
	if (p[7] != '0' && p[7] != '1')
		return refuse(in, HTTP_REFUSAL_VERSION);
	in->head->minor = (uint8_t)(p[7] - '0');
	return HTTP_COMPLETE;
}

/* The path begins at the first '/', after the authority of an absolute URL (RFC 9112, 3.2.2). */
static enum http_parse absolute_form(struct input *in, struct bytes target, size_t *path_at)
{
	size_t scheme = 0;
	static const struct bytes schemes[] = {
		{"http://",  7},
                {"https://", 8}
        };
	for (size_t i = 0; i < 2; i++)
		if (target.size > schemes[i].size &&
		    bytes_equal_fold(bytes_of(target.data, schemes[i].size), schemes[i]))
			scheme = schemes[i].size;
	if (scheme == 0)
		return refuse(in, HTTP_REFUSAL_TARGET);
	size_t end = scheme;
	while (end < target.size && target.data[end] != '/' && target.data[end] != '?')
		end++;
	if (end == target.size || target.data[end] != '/')
		return refuse(in, HTTP_REFUSAL_TARGET);
	in->head->authority = span_of(in, target.data + scheme, target.data + end);
	if (!http_is_authority(bytes_of(target.data + scheme, end - scheme)))
		return refuse(in, HTTP_REFUSAL_TARGET);
	*path_at = end;
	return HTTP_COMPLETE;
}

static enum http_parse note_target(struct input *in, const char *from, const char *to)
{
	struct http_head *head = in->head;
	struct bytes target = bytes_of(from, (size_t)(to - from));
	struct bytes method = http_bytes(in->data, head->method);
	size_t path_at = 0;
	if (bytes_is(method, "CONNECT") || bytes_is(target, "*"))
		return refuse(in, HTTP_REFUSAL_CONNECT);
	if (target.size == 0 || memchr(from, '#', target.size))
		return refuse(in, HTTP_REFUSAL_TARGET);
	if (*from != '/') {
		enum http_parse result = absolute_form(in, target, &path_at);
		if (result != HTTP_COMPLETE)
			return result;
	}
	const char *path = from + path_at;
	const char *mark = memchr(path, '?', (size_t)(to - path));
	head->target = span_of(in, path, to);
	head->path = span_of(in, path, mark ? mark : to);
	head->query = mark ? span_of(in, mark + 1, to) : span_of(in, to, to);
	return HTTP_COMPLETE;
}

/* method SP target SP version CR LF */
static enum http_parse request_line(struct input *in)
{
	const char *p = token_run(in->p, in->end);
	if (p - in->p > 32)
		return refuse(in, HTTP_REFUSAL_METHOD);
	if (p == in->end)
		return HTTP_MORE;
	if (*p != ' ' || p == in->p)
		return refuse(in, HTTP_REFUSAL_METHOD);
	in->head->method = span_of(in, in->p, p);
	const char *target = ++p;
	while (p < in->end && is_class(*p, TARGET))
		p++;
	if (p - target > HTTP_TARGET_MAX)
		return refuse(in, HTTP_REFUSAL_TARGET_TOO_LONG);
	if (p == in->end)
		return HTTP_MORE;
	if (*p != ' ')
		return refuse(in, *p == '\r' || *p == '\n' ? HTTP_REFUSAL_START_LINE
							   : HTTP_REFUSAL_TARGET);
	const char *target_end = p++;
	enum http_parse result = version(in, p);
	if (result == HTTP_COMPLETE)
		result = line_end(in, p + 8, HTTP_REFUSAL_START_LINE);
	return result == HTTP_COMPLETE ? note_target(in, target, target_end) : result;
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* version SP 3DIGIT [SP reason] CR LF. The space before an empty reason is often missing. */
static enum http_parse status_line(struct input *in)
{
	struct http_head *head = in->head;
	const char *p = in->p;
	enum http_parse result = version(in, p);
	if (result != HTTP_COMPLETE)
		return result;
	p += 8;
	if (p == in->end)
		return HTTP_MORE;
	if (*p++ != ' ')
		return refuse(in, HTTP_REFUSAL_START_LINE);
	for (int i = 0; i < 3; i++) {
		if (p + i == in->end)
			return HTTP_MORE;
		if (!is_digit(p[i]) || (i == 0 && (p[0] < '1' || p[0] > '5')))
			return refuse(in, HTTP_REFUSAL_STATUS);
	}
	if (p + 3 == in->end)
		return HTTP_MORE;
	head->status = (uint16_t)((p[0] - '0') * 100 + (p[1] - '0') * 10 + (p[2] - '0'));
	p += 3;
	if (*p != ' ' && *p != '\r')
		return refuse(in, HTTP_REFUSAL_STATUS);
	if (*p == ' ')
		p++;
	const char *stop = value_run(p, in->end);
	head->reason = span_of(in, p, stop);
	return line_end(in, stop, HTTP_REFUSAL_START_LINE);
}

/* ---- heads ---- */

void http_head_start(struct http_head *head)
{
	memset(head, 0, offsetof(struct http_head, fields));
}

/* An empty line before a request line is skipped, once. */
static enum http_parse skip_empty_line(struct input *in)
{
	if (in->p != in->data || (*in->p != '\r' && *in->p != '\n'))
		return HTTP_COMPLETE;
	return line_end(in, in->p, HTTP_REFUSAL_START_LINE);
}

static enum http_parse parse(struct input *in, bool request)
{
	if (in->p == in->end)
		return HTTP_MORE;
	if (!in->head->started) {
		enum http_parse result = request ? skip_empty_line(in) : HTTP_COMPLETE;
		if (result == HTTP_COMPLETE && in->p == in->end)
			return HTTP_MORE;
		if (result == HTTP_COMPLETE)
			result = request ? request_line(in) : status_line(in);
		if (result != HTTP_COMPLETE)
			return result;
		in->head->started = true;
	}
	return all_fields(in);
}

static enum http_parse parse_head(struct http_head *head, const char *data, size_t size,
				  bool request)
{
	size_t limit = size < HTTP_HEAD_MAX ? size : HTTP_HEAD_MAX;
	struct input in = {head, data, data + head->parsed, data + limit};
	if (head->refusal != HTTP_REFUSAL_NONE)
		return HTTP_REFUSED;
	enum http_parse result = parse(&in, request);
	if (result == HTTP_MORE && size >= HTTP_HEAD_MAX)
		return refuse(&in, head->started ? HTTP_REFUSAL_HEAD_TOO_LARGE
						 : HTTP_REFUSAL_TARGET_TOO_LONG);
	return result;
}

static enum http_parse conclude(struct http_head *head, enum http_refusal refusal)
{
	head->refusal = refusal;
	return refusal == HTTP_REFUSAL_NONE ? HTTP_COMPLETE : HTTP_REFUSED;
}

enum http_parse http_request_parse(struct http_head *head, const char *data, size_t size)
{
	enum http_parse result = parse_head(head, data, size, true);
	return result == HTTP_COMPLETE ? conclude(head, http_request_check(head, data)) : result;
}

enum http_parse http_response_parse(struct http_head *head, const char *data, size_t size,
				    bool head_only)
{
	enum http_parse result = parse_head(head, data, size, false);
	if (result == HTTP_COMPLETE)
		return conclude(head, http_response_check(head, data, head_only));
	return result;
}
