#include "proto/url.h"
#include "proto/http1.h"

static struct bytes after(struct bytes text, size_t count)
{
	return bytes_of(text.data + count, text.size - count);
}

static bool has_bad_byte(struct bytes text)
{
	for (size_t i = 0; i < text.size; i++) {
		unsigned char c = (unsigned char)text.data[i];
		if (c <= 0x20 || c >= 0x7f || strchr("\"<>\\^`{|}", c))
			return true;
	}
	return false;
}

static size_t scheme_size(struct bytes text, bool *tls)
{
	static const struct bytes plain = {"http://", 7}, secure = {"https://", 8};
	*tls = text.size > 8 && bytes_equal_fold(bytes_of(text.data, 8), secure);
	if (*tls)
		return 8;
	return text.size > 7 && bytes_equal_fold(bytes_of(text.data, 7), plain) ? 7 : 0;
}

/* host[:port], already known to be well formed. */
static void split_authority(struct url *url)
{
	struct bytes text = url->authority;
	const char *close = text.data[0] == '[' ? memchr(text.data, ']', text.size) : NULL;
	const char *from = close ? close : text.data;
	const char *colon = memchr(from, ':', text.size - (size_t)(from - text.data));
	size_t host_end = colon ? (size_t)(colon - text.data) : text.size;
	uint64_t port = url->tls ? 443 : 80;
	if (colon)
		bytes_to_u64(after(text, host_end + 1), 65535, &port);
	url->port = (uint16_t)port;
	url->host = close ? bytes_of(text.data + 1, (size_t)(close - text.data) - 1)
			  : bytes_of(text.data, host_end);
}

enum err_code url_parse(struct bytes text, struct url *out, struct err *err)
{
	*out = (struct url){0};
	size_t scheme = scheme_size(text, &out->tls);
	if (scheme == 0)
		return ERR_SET(err, ERR_INVALID, "\"%.*s\" is not a URL with http:// or https://",
			       BYTES_ARG(text));
	if (has_bad_byte(text) || memchr(text.data, '#', text.size))
		return ERR_SET(err, ERR_INVALID,
			       "the URL \"%.*s\" has a space, a fragment or a byte that must be "
			       "written as %%XX",
			       BYTES_ARG(text));
	struct bytes rest = after(text, scheme);
	size_t end = 0;
	while (end < rest.size && rest.data[end] != '/' && rest.data[end] != '?')
		end++;
	out->authority = bytes_of(rest.data, end);
	if (memchr(out->authority.data, '@', end))
		return ERR_SET(err, ERR_INVALID,
			       "a URL carries a user name or password; credentials have fields of "
			       "their own");
	if (!http_is_authority(out->authority))
		return ERR_SET(err, ERR_INVALID, "the URL \"%.*s\" has no valid host and port",
			       BYTES_ARG(text));
	split_authority(out);
	if (out->port == 0)
		return ERR_SET(err, ERR_INVALID, "the URL \"%.*s\" has port 0", BYTES_ARG(text));
	out->path = bytes_split(after(rest, end), '?', &out->query);
	return ERR_OK;
}

void url_join_path(const struct url *base, const char *path, struct buf *out)
{
	struct bytes prefix = base->path, version = BYTES("/v1");
	while (prefix.size && prefix.data[prefix.size - 1] == '/')
		prefix.size--;
	if (bytes_ends_with(prefix, version) && bytes_starts_with(bytes_from(path), BYTES("/v1/")))
		prefix.size -= version.size;
	buf_append_bytes(out, prefix);
	buf_append_cstr(out, path);
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool url_decode(struct bytes text, struct buf *out)
{
	for (size_t i = 0; i < text.size; i++) {
		if (text.data[i] != '%') {
			buf_append_char(out, text.data[i]);
			continue;
		}
		int high = i + 2 < text.size ? hex_value(text.data[i + 1]) : -1;
		int low = i + 2 < text.size ? hex_value(text.data[i + 2]) : -1;
		if (high < 0 || low < 0)
			return false;
		buf_append_char(out, (char)(high << 4 | low));
		i += 2;
	}
	return !out->failed;
}
