/* parley.yaml: taken whole or refused with a reason. */
#include "fuzz.h"

#include "gate/config.h"

/* A few variables are set. */
static const char *variable(const char *name)
{
	return !strcmp(name, "KEY") ? "sk-key" : !strcmp(name, "EMPTY") ? "" : NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes text = fuzz_copy(fuzz_input(data, size));
	struct config *config = NULL;
	struct err err = ERR_INIT;
	if (config_parse(text, "d/parley.yaml", variable, &config, &err) == ERR_OK) {
		FUZZ_CHECK(config->name[0] && config->data[0]);
		for (size_t i = 0; i < config->model_count; i++)
			FUZZ_CHECK(config->models[i].provider < config->provider_count);
		config_free(config);
	} else {
		FUZZ_CHECK(err.message[0]);
	}
	free((char *)text.data);
	return 0;
}
