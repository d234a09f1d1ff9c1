/* parley.yaml: what is written is what is meant, and what cannot be done is refused by line. */
#include "fake_gateway.h"

#include "base/ed25519.h"

#include <sys/stat.h>

static const char *variables(const char *name)
{
	if (strcmp(name, "KEY") == 0)
		return "sk-secret";
	return strcmp(name, "EMPTY") == 0 ? "" : NULL;
}

static enum err_code parse(const char *text, struct config **out, struct err *err)
{
	return config_parse(bytes_from(text), "conf/parley.yaml", variables, out, err);
}

#define HEAD "name: northlab.example/parley\nlisten: 127.0.0.1:8080\n"
#define PROVIDER                                                                                 \
	"providers:\n  - { name: north, dialect: anthropic, url: \"https://api.north.example\" " \
	"}\n"

#define ONE "providers:\n  - name: n\n    dialect: openai\n    url: https://a\n"

static void everything_of_the_example_is_read(void **state)
{
	(void)state;
	struct config *config;
	struct err err = ERR_INIT;
	const char *text =
		"name: northlab.example/parley\n"
		"listen: [ \"127.0.0.1:8080\", \"[::1]:8080\" ]\n"
		"admin: 127.0.0.1:8081\n"
		"data: state\n"
		"workers: 3\n"
		"mode: enforce\n"
		"providers:\n"
		"  - { name: north, dialect: anthropic, url: \"https://a.example\", key: "
		"\"${KEY}\" }\n"
		"  - { name: south, dialect: openai, url: \"http://127.0.0.1:9/x\", key: "
		"\"a$${b${EMPTY}\" "
		"}\n"
		"models:\n"
		"  - { name: north-1, provider: north, upstream: north-1-x, max_output: 8192, "
		"context: "
		"200000, price: { input: 3.00, output: 15.00, cache_read: 0.30, cache_write: 3.75 "
		"} }\n"
		"  - { name: south-1, provider: south, price: { input: 1, output: 2 } }\n"
		"log: { entries: public }\n"
		"max_body: 1048576\n"
		"store: sqlite\n"
		"counters: local\n"
		"memory_max: 8388608\n"
		"timeouts: { head: 0.5, write: 2, body_rate: 0 }\n"
		"ping_seconds: 15\n"
		"durability: relaxed\n";
	if (parse(text, &config, &err) != ERR_OK)
		fail_msg("%s", err.message);
	assert_string_equal(config->name, "northlab.example/parley");
	assert_int_equal(config->listen_count, 2);
	assert_int_equal(config->listen[1].family, ENV_IPV6);
	assert_true(config->has_admin);
	assert_int_equal(config->admin.port, 8081);
	assert_string_equal(config->data, "conf/state");
	assert_int_equal(config->workers, 3);
	assert_int_equal(config->provider_count, 2);
	assert_string_equal(config->providers[0].key, "sk-secret");
	assert_string_equal(config->providers[1].key, "a${b");
	assert_int_equal(config->providers[1].dialect, DIALECT_OPENAI);
	assert_int_equal(config->model_count, 2);
	assert_string_equal(config->models[0].upstream, "north-1-x");
	assert_int_equal(config->models[0].price.cache_read, 300000);
	assert_int_equal(config->models[0].price.cache_write, 3750000);
	assert_int_equal(config->models[1].provider, 1);
	assert_string_equal(config->models[1].upstream, "south-1");
	assert_int_equal(config->models[1].max_output, CONFIG_DEFAULT_MAX_OUTPUT);
	assert_int_equal(config->models[1].price.cache_read, 1000000);
	assert_true(config->log.entries_public);
	assert_int_equal(config->max_body, 1048576);
	assert_int_equal(config->memory_max, 8388608);
	assert_int_equal(config->ping_ns, 15000000000);
	assert_int_equal(config->timeouts.head_ns, 500000000);
	assert_int_equal(config->timeouts.write_ns, 2000000000);
	assert_int_equal(config->timeouts.idle_ns, 75000000000);
	assert_int_equal(config->timeouts.body_rate, 0);
	assert_false(config->strict);
	char path[64];
	assert_int_equal(config_data_path(config, "parley.db", path, sizeof(path), NULL), ERR_OK);
	assert_string_equal(path, "conf/state/parley.db");
	assert_int_equal(config_data_path(config, "parley.db", path, 20, NULL), ERR_TOO_LARGE);
	config_free(config);
}

static void defaults_are_as_documented(void **state)
{
	(void)state;
	struct config *config;
	assert_int_equal(parse(HEAD, &config, NULL), ERR_OK);
	assert_string_equal(config->data, "conf/.");
	assert_int_equal(config->workers, 0);
	assert_int_equal(config->mode, CONFIG_ENFORCE);
	assert_int_equal(config->max_body, 33554432);
	assert_int_equal(config->memory_max, 1 << 30);
	assert_int_equal(config->ping_ns, 0);
	assert_int_equal(config->timeouts.stall_ns, 120000000000);
	assert_int_equal(config->timeouts.body_rate, 8192);
	assert_true(config->strict);
	assert_false(config->log.entries_public);
	assert_false(config->has_admin);
	config_free(config);
}

static void a_provider_has_its_own_tls_and_timeouts(void **state)
{
	(void)state;
	struct config *config;
	struct err err = ERR_INIT;
	const char *text = HEAD "tls: { certificate: c.pem, key: /k.pem, client_ca: ca.pem }\n" ONE
				"    tls: { ca: up/ca.pem, certificate: mine.pem, key: mine.key }\n"
				"    timeouts: { connect: 0.5, stall: 30 }\n"
				"  - { name: m, dialect: openai, url: \"http://b\" }\n";
	if (parse(text, &config, &err) != ERR_OK)
		fail_msg("%s", err.message);
	assert_true(config->has_tls);
	assert_string_equal(config->tls.certificate.path, "conf/c.pem");
	assert_string_equal(config->tls.key.path, "/k.pem");
	assert_string_equal(config->tls.authorities.path, "conf/ca.pem");
	const struct config_provider *own = &config->providers[0], *other = &config->providers[1];
	assert_string_equal(own->tls.authorities.path, "conf/up/ca.pem");
	assert_string_equal(own->tls.certificate.path, "conf/mine.pem");
	assert_string_equal(own->tls.key.path, "conf/mine.key");
	assert_int_equal(own->timeouts.connect_ns, 500000000);
	assert_int_equal(own->timeouts.first_byte_ns, UINT64_C(600000000000));
	assert_int_equal(own->timeouts.stall_ns, UINT64_C(30000000000));
	assert_null(other->tls.authorities.path);
	assert_int_equal(other->timeouts.connect_ns, UINT64_C(3000000000));
	assert_int_equal(other->timeouts.stall_ns, UINT64_C(120000000000));
	config_free(config);
}

static void keys_that_need_a_restart_keep_their_values(void **state)
{
	(void)state;
	struct config *running, *fresh;
	struct err err = ERR_INIT;
	struct buf told = BUF_INIT(1024);
	assert_int_equal(ERR_OK, parse(HEAD "workers: 2\n", &running, &err));
	assert_int_equal(
		ERR_OK,
		parse("name: other/parley\nlisten: 127.0.0.1:9\nadmin: 127.0.0.1:7\n"
		      "workers: 3\ndurability: relaxed\nmax_body: 2048\n"
		      "timeouts: { head: 1, body: 2, write: 3, body_rate: 4, connect: 7 }\n" ONE,
		      &fresh, &err));
	config_keep_fixed(fresh, running, &told);
	assert_true(
		bytes_is(buf_bytes(&told), "name, listen, admin, workers, timeouts, durability"));
	assert_string_equal(fresh->name, "northlab.example/parley");
	assert_int_equal(fresh->listen[0].port, 8080);
	assert_false(fresh->has_admin);
	assert_int_equal(fresh->workers, 2);
	assert_true(fresh->strict);
	assert_int_equal(fresh->max_body, 2048);
	assert_int_equal(fresh->timeouts.head_ns, running->timeouts.head_ns);
	assert_int_equal(fresh->timeouts.body_ns, running->timeouts.body_ns);
	assert_int_equal(fresh->timeouts.write_ns, running->timeouts.write_ns);
	assert_int_equal(fresh->timeouts.body_rate, running->timeouts.body_rate);
	assert_int_equal(fresh->timeouts.connect_ns, UINT64_C(7000000000)); /* a provider's */
	assert_int_equal(fresh->provider_count, 1);
	config_free(fresh);
	buf_clear(&told);
	assert_int_equal(ERR_OK, parse(HEAD "workers: 2\n", &fresh, &err));
	config_keep_fixed(fresh, running, &told);
	assert_int_equal(told.size, 0);
	buf_release(&told);
	config_free(fresh);
	config_free(running);
}

static void faults_are_named_by_file_line_and_key(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		enum err_code code;
		const char *message;
	} rows[] = {
		{"listen: 127.0.0.1:1\n",							 ERR_INVALID,     "parley.yaml:1: name"                 },
		{"name: \"a b\"\nlisten: 127.0.0.1:1\n",                                          ERR_INVALID,     "parley.yaml:1: name"                 },
		{"name: a+b\nlisten: 127.0.0.1:1\n",                                              ERR_INVALID,     "parley.yaml:1: name"                 },
		{"name: https://a\nlisten: 127.0.0.1:1\n",                                        ERR_INVALID,     "parley.yaml:1: name"                 },
		{"name: a\n",								     ERR_INVALID,     "listen"                              },
		{"name: a\nlisten: []\n",							 ERR_INVALID,     "parley.yaml:2: listen"               },
		{"name: a\nlisten: localhost:80\n",                                               ERR_INVALID,     "parley.yaml:2: listen"               },
		{"name: a\nlisten: 8080\n",						       ERR_INVALID,     "parley.yaml:2: listen"               },
		{HEAD "typo: 1\n",								ERR_INVALID,     "parley.yaml:3: typo"                 },
		{HEAD "workers: many\n",							  ERR_INVALID,     "parley.yaml:3: workers"              },
		{HEAD "workers: -1\n",							    ERR_INVALID,     "parley.yaml:3: workers"              },
		{HEAD "workers: 257\n",							   ERR_INVALID,     "parley.yaml:3: workers"              },
		{HEAD "max_body: 10\n",							   ERR_INVALID,     "parley.yaml:3: max_body"             },
		{HEAD "memory_max: 1\n",							  ERR_INVALID,     "parley.yaml:3: memory_max"           },
		{HEAD "memory_max: 100000000\n",						  ERR_INVALID,     "at least four times max_body"        },
		{HEAD "timeouts: { heads: 1 }\n",                                                 ERR_INVALID,     "parley.yaml:3: timeouts.heads"       },
		{HEAD "timeouts: { head: 0 }\n",						  ERR_INVALID,     "parley.yaml:3: timeouts.head"        },
		{HEAD "ping_seconds: 0.01\n",						     ERR_INVALID,     "parley.yaml:3: ping_seconds"         },
		{HEAD "ping_seconds: 3601\n",						     ERR_INVALID,     "parley.yaml:3: ping_seconds"         },
		{HEAD "timeouts: 5\n",							    ERR_INVALID,     "parley.yaml:3: timeouts"             },
		{HEAD "data: \"\"\n",							     ERR_INVALID,     "parley.yaml:3: data"                 },
		{HEAD "mode: other\n",							    ERR_INVALID,     "parley.yaml:3: mode"                 },
		{HEAD "store: postgresql\n",						      ERR_UNSUPPORTED, "parley.yaml:3: store"                },
		{HEAD "counters: redis\n",							ERR_UNSUPPORTED, "parley.yaml:3: counters"             },
		{HEAD "durability: none\n",						       ERR_INVALID,     "parley.yaml:3: durability"           },
		{HEAD "tls: { certificate: a }\n",                                                ERR_INVALID,     "parley.yaml:3: tls"                  },
		{HEAD "tls: { certificate: a, key: b, ciphers: c }\n",                            ERR_INVALID,
		 "parley.yaml:3: tls.ciphers"													    },
		{HEAD "tls: { certificate: a, key: 7 }\n",                                        ERR_INVALID,     "parley.yaml:3: tls.key"              },
		{HEAD "tls: { certificate: a, key: \"\" }\n",                                     ERR_INVALID,
		 "parley.yaml:3: tls.key"														},
		{HEAD ONE "    tls: { certificate: a }\n",                                        ERR_INVALID,
		 "parley.yaml:7: providers[0].tls.certificate"											   },
		{HEAD ONE "    tls: { key: a }\n",                                                ERR_INVALID,
		 "parley.yaml:7: providers[0].tls.key"												   },
		{HEAD ONE "    tls: { verify: false }\n",                                         ERR_INVALID,
		 "parley.yaml:7: providers[0].tls.verify"												},
		{HEAD "providers:\n  - { name: n, dialect: openai, url: \"http://a\", tls: { ca: a "
		      "} }\n",						   ERR_INVALID,     "parley.yaml:4: providers[0].tls"     },
		{HEAD ONE "    timeouts: { connect: 0 }\n",                                       ERR_INVALID,
		 "parley.yaml:7: providers[0].timeouts.connect"											  },
		{HEAD ONE "    timeouts: { first_byte: 90000 }\n",                                ERR_INVALID,
		 "parley.yaml:7: providers[0].timeouts.first_byte"										       },
		{HEAD ONE "    timeouts: { stall: soon }\n",                                      ERR_INVALID,
		 "parley.yaml:7: providers[0].timeouts.stall"											    },
		{HEAD ONE "    timeouts: { read: 1 }\n",                                          ERR_INVALID,
		 "parley.yaml:7: providers[0].timeouts.read"											     },
		{HEAD "log: { entries: all }\n",						  ERR_INVALID,     "parley.yaml:3: log.entries"          },
		{HEAD "log: { other: 1 }\n",						      ERR_INVALID,     "parley.yaml:3: log.other"            },
		{HEAD "data: \"${NOT_SET}\"\n",						   ERR_INVALID,     "parley.yaml:3: data: "               },
		{HEAD "data: \"${NOT_SET}\"\n",						   ERR_INVALID,     "NOT_SET is not set"                  },
		{HEAD "data: \"${\"\n",							   ERR_INVALID,     "parley.yaml:3: data"                 },
		{HEAD "data: \"${A-B}\"\n",						       ERR_INVALID,     "parley.yaml:3: data"                 },
		{HEAD "listen: 127.0.0.1:2\n",						    ERR_INVALID,     "parley.yaml:3"                       },
		{HEAD "providers: [ 1 ]\n",						       ERR_INVALID,     "parley.yaml:3: providers[0]"         },
		{HEAD "providers:\n  - { name: n, dialect: responses, url: \"https://a\" }\n",
		 ERR_INVALID,										      "parley.yaml:4: providers[0].dialect" },
		{HEAD "providers:\n  - { name: n, dialect: gemini, url: \"https://a\" }\n"
		      "models:\n"
		      "  - { name: m, provider: n, upstream: \"a?b\" }\n",       ERR_INVALID,     "parley.yaml:6: models[0].upstream"   },
		{HEAD "providers:\n  - { name: n, dialect: foo, url: \"https://a\" }\n",
		 ERR_INVALID,										      "parley.yaml:4: providers[0].dialect" },
		{HEAD "providers:\n  - { name: n, dialect: openai, url: \"ftp://a\" }\n",
		 ERR_INVALID,										      "parley.yaml:4: providers[0].url"     },
		{HEAD "providers:\n  - { name: n, dialect: openai, url: \"https://u:p@a\" }\n",
		 ERR_INVALID,										      "parley.yaml:4: providers[0].url"     },
		{HEAD "providers:\n  - { name: n, dialect: openai, url: \"https://a\", key: "
		      "\"a\\nb\" }\n",					   ERR_INVALID,     "parley.yaml:4: providers[0].key"     },
		{HEAD PROVIDER "  - { name: north, dialect: openai, url: \"https://a\" }\n",
		 ERR_INVALID,										      "parley.yaml:5: providers[1].name"    },
		{HEAD "models: [ { name: m, provider: none } ]\n",                                ERR_INVALID,
		 "parley.yaml:3: models[0].provider"												     },
		{HEAD PROVIDER "models:\n  - { name: m, provider: north }\n"
			       "  - { name: m, provider: north }\n",             ERR_INVALID,     "parley.yaml:7: models[1].name"       },
		{HEAD PROVIDER "models: [ { name: m, provider: north, max_output: 0 } ]\n",
		 ERR_INVALID,										      "parley.yaml:5: models[0].max_output" },
		{HEAD PROVIDER "models: [ { name: m, provider: north, price: { input: 1 } } ]\n",
		 ERR_INVALID,										      "parley.yaml:5: models[0].price"      },
		{HEAD PROVIDER
		 "models: [ { name: m, provider: north, price: { input: -1, output: 1 } } "
		 "]\n",							  ERR_INVALID,     "parley.yaml:5: models[0].price.input"},
		{"",									      ERR_INVALID,     "parley.yaml"                         },
		{"[]\n",									  ERR_INVALID,     "parley.yaml"                         },
		{"name: [\n",								     ERR_INVALID,     "parley.yaml"                         },
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct config *config = NULL;
		struct err err = ERR_INIT;
		enum err_code code = parse(rows[i].text, &config, &err);
		if (code != rows[i].code || !strstr(err.message, rows[i].message))
			fail_msg("row %zu: %s: %s", i, err_name(code), err.message);
		assert_null(config);
	}
}

static void a_missing_file_tells_how_to_make_one(void **state)
{
	(void)state;
	struct config *config;
	struct err err = ERR_INIT;
	struct env *env = env_os_new(1);
	assert_int_equal(config_load(env, "/nonexistent/parley.yaml", variables, &config, &err),
			 ERR_NOT_FOUND);
	assert_non_null(strstr(err.message, "parley init"));
	env_os_free(env);
}

static void init_makes_what_serve_can_run_on(void **state)
{
	(void)state;
	char directory[] = "/tmp/parley-init-XXXXXX", path[96];
	struct env *env = env_os_new(1);
	struct config *config;
	struct err err = ERR_INIT;
	struct stat status;
	assert_non_null(mkdtemp(directory));
	char inner[64];
	snprintf(inner, sizeof(inner), "%s/gate", directory);
	assert_int_equal(config_init(env, inner, "a b", &err), ERR_USAGE);
	assert_int_not_equal(stat(inner, &status), 0);
	if (config_init(env, inner, "northlab.example/parley", &err) != ERR_OK)
		fail_msg("%s", err.message);
	snprintf(path, sizeof(path), "%s/parley.yaml", inner);
	if (config_load(env, path, variables, &config, &err) != ERR_OK)
		fail_msg("%s", err.message);
	assert_string_equal(config->name, "northlab.example/parley");
	config_free(config);
	snprintf(path, sizeof(path), "%s/signing.key", inner);
	assert_int_equal(stat(path, &status), 0);
	assert_int_equal(status.st_mode & 0777, 0600);
	struct buf pem = BUF_INIT(4096);
	struct ed25519_private *key;
	assert_int_equal(env_read_file(env, path, &pem, NULL), ERR_OK);
	assert_int_equal(ed25519_from_pem(buf_bytes(&pem), &key, NULL), ERR_OK);
	ed25519_free(key);
	assert_int_equal(config_init(env, inner, NULL, &err), ERR_EXISTS);
	struct buf again = BUF_INIT(4096);
	assert_int_equal(env_read_file(env, path, &again, NULL), ERR_OK);
	assert_true(bytes_equal(buf_bytes(&pem), buf_bytes(&again)));
	buf_release(&pem);
	buf_release(&again);
	env_os_free(env);
	char command[96];
	snprintf(command, sizeof(command), "rm -r %s", directory);
	assert_int_equal(system(command), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(everything_of_the_example_is_read),
		cmocka_unit_test(defaults_are_as_documented),
		cmocka_unit_test(a_provider_has_its_own_tls_and_timeouts),
		cmocka_unit_test(keys_that_need_a_restart_keep_their_values),
		cmocka_unit_test(faults_are_named_by_file_line_and_key),
		cmocka_unit_test(a_missing_file_tells_how_to_make_one),
		cmocka_unit_test(init_makes_what_serve_can_run_on),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
