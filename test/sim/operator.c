/* The gateway and who operates it. */
#include "town.h"

#include <stdio.h>
#include <stdlib.h>

static const char config_text[] =
	"name: sim.example/parley\n"
	"listen: 10.0.0.1:8080\n"
	"data: /data\n"
	"workers: %u\n"
	"durability: %s\n"
	"providers:\n"
	"  - { name: o, dialect: openai, url: \"http://10.0.0.2:9000\", key: secret }\n"
	"  - { name: a, dialect: anthropic, url: \"http://10.0.0.2:9000\", key: secret }\n"
	"models:\n"
	"  - { name: m-o, provider: o, upstream: m-o, max_output: 4000 }\n"
	"  - { name: m-a, provider: a, upstream: m-a, max_output: 4000 }\n";

static const char access_text[] =
	"orgs: [ { id: team } ]\\n"
	"grants: [ { id: p, org: team, purposes: [ product ], models: [ m-o, m-a ], release: V2,\\n"
	"  limits: { rpm: 600, input_tpm: 100000, output_tpm: 60000, concurrency: 20 },\\n"
	"  valid: { from: 2026-01-01, to: 2099-01-31 } } ]\\n";

static const char *no_variable(const char *name)
{
	(void)name;
	return NULL;
}

static void act_is_done(struct admin_request *request);

static void town_act(struct town *town, const char *target, struct bytes body)
{
	town->act = (struct admin_request){.method = BYTES("POST"),
					   .target = bytes_from(target),
					   .body = body,
					   .person = "tester",
					   .done = act_is_done,
					   .argument = town};
	admin_handle(gateway_control(town->gateway), &town->act);
}

/* First the grant, then a key for it. */
static void act_is_done(struct admin_request *request)
{
	struct town *town = request->argument;
	struct buf answer = request->answer;
	const char *key = answer.size ? memmem(answer.data, answer.size, "\"plk_", 5) : NULL;
	if (key && request->status == 200)
		snprintf(town->key, sizeof(town->key), "%.*s", (int)strcspn(key + 1, "\""),
			 key + 1);
	bool applied = !key && request->status == 200;
	buf_release(&answer);
	if (applied)
		town_act(town, "/admin/v1/keys", BYTES("{\"org\":\"team\",\"grant\":\"p\"}"));
}

void town_gateway_exits(void *argument)
{
	struct town *town = argument;
	if (!sim_is_down(town->gateway_node))
		sim_crash(town->gateway_node, SIM_KILLED);
}

/* The log has failed: the process must end. */
static void gateway_is_stopped(void *argument, const struct err *err)
{
	struct town *town = argument;
	town->stopped = err == NULL;
	if (!err)
		env_loop_stop(town->admin_loop);
	else
		sim_at(town->sim, sim_now(town->sim), town_gateway_exits, town);
}

enum err_code town_initialise(struct town *town, struct err *err)
{
	if (town->initialised)
		return ERR_OK;
	enum err_code code = config_init(town->gateway_node, "/data", "sim.example/parley", err);
	if (code == ERR_EXISTS) /* a crash has left it half made */
		code = env_file_exists(town->gateway_node, "/data/parley.yaml") ? ERR_OK : code;
	town->initialised = code == ERR_OK;
	return code;
}

enum err_code town_gateway_begin(struct town *town, bool serve, struct err *err)
{
	char text[1024];
	struct env *env = town->gateway_node;
	unsigned workers = 1 + (unsigned)(town->crashes % 2);
	snprintf(text, sizeof(text), config_text, workers,
		 town->mistake == ACKNOWLEDGES_EARLY ? "relaxed" : "strict");
	ERR_TRY(config_parse(bytes_from(text), "/parley.yaml", no_variable, &town->config, err));
	town->admin_loop = env_loop_new(env, "admin", true);
	struct gateway_options options = {.env = env,
					  .config = town->config,
					  .main_loop = town->admin_loop,
					  .grace_ns = 5 * SECOND,
					  .segment_size = (uint64_t)1 << 20,
					  .stopped = gateway_is_stopped,
					  .argument = town};
	ERR_TRY(gateway_open(&options, &town->gateway, err));
	if (!serve)
		return ERR_OK;
	ERR_TRY(gateway_start(town->gateway, err));
	ERR_TRY(env_loop_start(town->admin_loop, -1, err));
	int size = snprintf(town->apply, sizeof(town->apply),
			    "{\"file\":\"access.yaml\",\"text\":\"%s\"}", access_text);
	town_act(town, "/admin/v1/apply", bytes_of(town->apply, (size_t)size));
	return ERR_OK;
}

void town_gateway_end(struct town *town)
{
	town->key[0] = '\0';
	gateway_free(town->gateway);
	town->gateway = NULL;
	env_loop_free(town->admin_loop);
	town->admin_loop = NULL;
	config_free(town->config);
	town->config = NULL;
}
