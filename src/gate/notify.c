#include "gate/notify.h"

#include "base/encode.h"
#include "proto/url.h"

#include <string.h>
#include <time.h>

#define ADDRESS_MAX 254 /* RFC 5321, 4.5.3.1.3 */
#define BASE64_LINE 57  /* bytes: 76 characters */

static const struct bytes mailto = {"mailto:", 7};

enum err_code notify_url_check(const char *text, struct err *err)
{
	struct url url;
	ERR_TRY(url_parse(bytes_from(text), &url, err));
	if (url.host.size > 253)
		return ERR_SET(err, ERR_INVALID, "%s: the host is too long", text);
	return ERR_OK;
}

enum notify_channel notify_channel_of(const char *address)
{
	bool url = bytes_starts_with(bytes_from(address), BYTES("http://")) ||
		   bytes_starts_with(bytes_from(address), BYTES("https://"));
	return url ? NOTIFY_WEBHOOK : NOTIFY_MAIL;
}

const char *notify_channel_name(enum notify_channel channel)
{
	return channel == NOTIFY_WEBHOOK ? "webhook" : "mail";
}

const char *notify_mail_address(const char *address)
{
	return bytes_starts_with(bytes_from(address), mailto) ? address + mailto.size : address;
}

/* A dot-atom on each side (RFC 5322, 3.4.1): nothing that a header or a program could misread. */
static bool is_mail_address(const char *text)
{
	const char *at = strchr(text, '@');
	size_t size = strlen(text);
	if (size > ADDRESS_MAX || !at || at == text || !at[1] || strchr(at + 1, '@'))
		return false;
	for (size_t i = 0; i < size; i++) {
		unsigned char c = (unsigned char)text[i];
		bool word =
			(c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
		if (!word && (i == 0 || !strchr("@.+-_=/~", c)))
			return false;
	}
	return true;
}

enum err_code notify_address_check(const char *address, struct err *err)
{
	if (notify_channel_of(address) == NOTIFY_WEBHOOK)
		return notify_url_check(address, err);
	if (!is_mail_address(notify_mail_address(address)))
		return ERR_SET(err, ERR_INVALID,
			       "must be a URL (https://…) or a mail address (name@host)");
	return ERR_OK;
}

/* ---- mail ---- */

static void append_base64_lines(struct buf *out, struct bytes text)
{
	for (size_t at = 0; at < text.size; at += BASE64_LINE) {
		size_t size = text.size - at < BASE64_LINE ? text.size - at : BASE64_LINE;
		base64_append(out, text.data + at, size);
		buf_append_char(out, '\n');
	}
}

/* RFC 5322, 3.3, in UTC. */
static void append_date(struct buf *out, int64_t time_ms)
{
	static const char *const days[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
	static const char *const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
					     "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
	time_t seconds = (time_t)(time_ms / 1000);
	struct tm tm;
	gmtime_r(&seconds, &tm);
	buf_printf(out, "Date: %s, %d %s %d %02d:%02d:%02d +0000\n", days[tm.tm_wday], tm.tm_mday,
		   months[tm.tm_mon], tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec);
}

static void append_part(struct buf *out, const struct notify_mail *mail, const char *type)
{
	buf_printf(out, "--%s\nContent-Type: %s\nContent-Transfer-Encoding: base64\n", mail->id,
		   type);
}

void notify_mail_write(const struct notify_mail *mail, struct buf *out)
{
	const char *host = strchr(mail->from, '@');
	buf_printf(out, "From: %s\nTo: %s\nSubject: %s\n", mail->from, mail->to, mail->subject);
	append_date(out, mail->time_ms);
	buf_printf(out,
		   "Message-ID: <%s%s>\nAuto-Submitted: auto-generated\nMIME-Version: 1.0\n"
		   "Content-Type: multipart/mixed; boundary=\"%s\"\n\n",
		   mail->id, host ? host : "@localhost", mail->id);
	append_part(out, mail, "text/plain; charset=utf-8");
	buf_append_char(out, '\n');
	append_base64_lines(out, mail->text);
	append_part(out, mail, "application/json; name=\"notice.dsse.json\"");
	buf_append_cstr(out, "Content-Disposition: attachment; filename=\"notice.dsse.json\"\n\n");
	append_base64_lines(out, mail->attachment);
	buf_printf(out, "--%s--\n", mail->id);
}
