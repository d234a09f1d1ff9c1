/* access.yaml: the documents of a file that is taken are in normal form. */
#include "fuzz.h"

#include "base/json.h"
#include "gate/access.h"

static const char configuration[] =
	"name: localhost/parley\n"
	"listen: 127.0.0.1:8080\n"
	"data: d\n"
	"providers: [{name: north, dialect: anthropic, url: \"http://127.0.0.1:1\", key: k}]\n"
	"models: [{name: north-1, provider: north}, {name: north-2, provider: north}]\n";

static const char *no_variable(const char *name)
{
	(void)name;
	return NULL;
}

static void check_documents(const json_t *documents)
{
	struct buf text = BUF_INIT(1 << 24);
	FUZZ_CHECK(json_is_object(documents));
	FUZZ_CHECK(json_canonical(documents, &text, NULL) == ERR_OK);
	buf_release(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes text = fuzz_copy(fuzz_input(data, size));
	struct config *config = NULL;
	struct access access;
	struct err err = ERR_INIT;
	FUZZ_CHECK(config_parse(bytes_from(configuration), "parley.yaml", no_variable, &config,
				&err) == ERR_OK);
	struct access_context context = {.config = config};
	if (access_parse(text, "access.yaml", &context, &access, &err) == ERR_OK) {
		check_documents(access.orgs);
		check_documents(access.links);
		check_documents(access.grants);
		check_documents(access.public_suites);
		access_release(&access);
	} else {
		FUZZ_CHECK(err.message[0]);
	}
	config_free(config);
	free((char *)text.data);
	return 0;
}
