/* The head of an answer as bytes (RFC 9112, section 4). For http_server.c. */
#ifndef NET_ANSWER_HEAD_H
#define NET_ANSWER_HEAD_H

#include "net/http_server.h"

#include <time.h>

#define ANSWER_HEAD_MAX 8192

/* The Date field (RFC 9110, section 6.6.1), made once a second. Start with second -1. */
struct answer_date {
	time_t second;
	char text[40];
};
const char *answer_date_text(struct answer_date *date, int64_t wall_ms);

struct answer_head {
	int status;
	const struct http_header *headers; /* together well below ANSWER_HEAD_MAX */
	size_t header_count;
	const char *date;
	int64_t length; /* of the body; negative: not known */
	bool chunked;   /* with no length */
	bool close;
};
/* Returns the size; 0 where it does not fit, and nothing of it may be sent then. */
size_t answer_head_write(const struct answer_head *head, char out[static ANSWER_HEAD_MAX]);

#endif
