/* Base URLs of providers. */
#include "fuzz.h"

#include "proto/http1.h"
#include "proto/url.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes copy = fuzz_copy(fuzz_input(data, size));
	struct url url;
	struct err err = ERR_INIT;
	if (url_parse(copy, &url, &err) == ERR_OK) {
		FUZZ_CHECK(url.host.size > 0 && url.port > 0);
		FUZZ_CHECK(http_is_authority(url.authority));
		FUZZ_CHECK(!memchr(copy.data, '\r', copy.size) &&
			   !memchr(copy.data, ' ', copy.size));
	} else {
		FUZZ_CHECK(err.message[0]);
	}
	free((char *)copy.data);
	return 0;
}
