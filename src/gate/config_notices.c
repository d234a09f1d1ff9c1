/* `notices` and `reciprocal` of parley.yaml: how organisations are told something, and how often
 * the other side of a pair of grants is asked. */
#include "gate/config_internal.h"

#include "gate/notify.h"

#define POLL_SECONDS_DEFAULT 30
#define POLL_SECONDS_MIN 1
#define POLL_SECONDS_MAX 3600

static enum err_code read_sendmail(struct reading *reading, const json_t *notices)
{
	struct config_notices *out = &reading->config->notices;
	const char *sendmail, *from;
	ERR_TRY(yaml_get_string_or(reading->tree, notices, "sendmail", NULL, &sendmail,
				   reading->err));
	ERR_TRY(yaml_get_string_or(reading->tree, notices, "from", NULL, &from, reading->err));
	if (sendmail && *sendmail != '/')
		return yaml_fail(reading->tree, notices, "sendmail", reading->err, ERR_INVALID,
				 "must be the absolute path of a program, as /usr/sbin/sendmail");
	if (sendmail && !from)
		return yaml_fail(reading->tree, notices, "sendmail", reading->err, ERR_INVALID,
				 "needs from, the address that mails come from");
	if (from &&
	    (notify_channel_of(from) != NOTIFY_MAIL || notify_address_check(from, NULL) != ERR_OK))
		return yaml_fail(reading->tree, notices, "from", reading->err, ERR_INVALID,
				 "must be a mail address (name@host)");
	if (sendmail)
		ERR_TRY(config_keep(reading, sendmail, &out->sendmail));
	return from ? config_keep(reading, notify_mail_address(from), &out->from) : ERR_OK;
}

enum err_code config_read_notices(struct reading *reading)
{
	static const char *const keys[] = {"sendmail", "from", "ca", NULL};
	json_t *notices;
	ERR_TRY(yaml_get_container(reading->tree, reading->root, "notices", JSON_OBJECT, true,
				   &notices, reading->err));
	if (!notices)
		return ERR_OK;
	ERR_TRY(yaml_only_keys(reading->tree, notices, keys, reading->err));
	ERR_TRY(read_sendmail(reading, notices));
	return config_read_authorities(reading, notices, &reading->config->notices.authorities);
}

enum err_code config_read_reciprocal(struct reading *reading)
{
	static const char *const keys[] = {"poll_seconds", "ca", NULL};
	struct config_reciprocal *out = &reading->config->reciprocal;
	double seconds;
	json_t *reciprocal;
	out->poll_ns = POLL_SECONDS_DEFAULT * UINT64_C(1000000000);
	ERR_TRY(yaml_get_container(reading->tree, reading->root, "reciprocal", JSON_OBJECT, true,
				   &reciprocal, reading->err));
	if (!reciprocal)
		return ERR_OK;
	ERR_TRY(yaml_only_keys(reading->tree, reciprocal, keys, reading->err));
	ERR_TRY(yaml_get_number_or(reading->tree, reciprocal, "poll_seconds", POLL_SECONDS_MIN,
				   POLL_SECONDS_MAX, POLL_SECONDS_DEFAULT, &seconds, reading->err));
	out->poll_ns = (uint64_t)(seconds * 1e9);
	return config_read_authorities(reading, reciprocal, &out->authorities);
}
