/* Where an organisation is told something: a webhook (http:// or https://) or a mail address
 * (mailto: or bare), and how a mail is written. Pure. */
#ifndef GATE_NOTIFY_H
#define GATE_NOTIFY_H

#include "base/buf.h"
#include "base/err.h"

enum notify_channel { NOTIFY_WEBHOOK, NOTIFY_MAIL };

/* "http://host[:port][/path][?query]" or https. ERR_INVALID says what is wrong. */
enum err_code notify_url_check(const char *url, struct err *err);
/* A URL or a mail address that stands as it is on a command line and in a header. */
enum err_code notify_address_check(const char *address, struct err *err);
enum notify_channel notify_channel_of(const char *address);
const char *notify_channel_name(enum notify_channel channel); /* "webhook", "mail" */
/* Without "mailto:". */
const char *notify_mail_address(const char *address);

struct notify_mail {
	const char *from, *to, *subject; /* addresses were checked; the subject is one line */
	const char *id;                  /* of the notice: Message-ID and boundary */
	int64_t time_ms;
	struct bytes text;       /* for people, UTF-8 */
	struct bytes attachment; /* the signed notice */
};
/* RFC 5322 and MIME, lines ending in LF as sendmail takes them. */
void notify_mail_write(const struct notify_mail *mail, struct buf *out);

#endif
