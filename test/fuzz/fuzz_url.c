/* Base URLs of providers, and what clients' paths and queries lead to there. */
#include "fuzz.h"

#include "dialect/dialect.h"
#include "proto/http1.h"
#include "proto/url.h"

/* The target that is asked for holds the model that the path names, and nothing else of it. */
static void ask(struct bytes target, struct bytes base)
{
	static const struct bytes methods[] = {
		{"GET",  3},
                {"POST", 4}
        };
	struct bytes query, path = bytes_split(target, '?', &query);
	for (unsigned i = 0; i < 4; i++) {
		const struct dialect_endpoint *endpoint =
			dialect_endpoint_find(methods[i % 2], path, i / 2);
		if (!endpoint)
			continue;
		const char *problem = dialect_query_problem(endpoint, query);
		FUZZ_CHECK(problem || !dialect_query_has_key(query));
		struct bytes model = dialect_path_model(endpoint, path);
		size_t room = base.size + model.size + DIALECT_TARGET_EXTRA;
		char *out = malloc(room);
		FUZZ_CHECK(out);
		size_t used = (size_t)(dialect_write_target(endpoint, base, model, out) - out);
		FUZZ_CHECK(used > 0 && used <= room);
		free(out);
	}
	dialect_guess(path, false);
}

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
		ask(bytes_of(url.path.data ? url.path.data : "",
			     url.path.size + (url.query.data ? 1 + url.query.size : 0)),
		    BYTES(""));
		ask(BYTES("/v1beta/models/m:generateContent"), url.path);
	} else {
		FUZZ_CHECK(err.message[0]);
	}
	free((char *)copy.data);
	return 0;
}
