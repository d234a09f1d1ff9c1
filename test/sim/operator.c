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
	"  - { name: m-o, provider: o, upstream: m-o, max_output: 4000, price: { input: 3, output: 9 },\n"
	"      limits: { tokens_per_week: 1000000000 } }\n"
	"  - { name: m-a, provider: a, upstream: m-a, max_output: 4000, price: { input: 3, output: 9 },\n"
	"      limits: { tokens_per_week: 1000000000 } }\n"
	"%s";

static const char access_text[] =
	"orgs: [ { id: team } ]\\n"
	"grants: [ { id: p, org: team, purposes: [ product ], models: [ m-o, m-a ], release: V2,\\n"
	"  limits: { rpm: 600, input_tpm: 100000, output_tpm: 60000, concurrency: 20 },\\n"
	"  valid: { from: 2026-01-01, to: 2099-01-31 } } ]\\n";

static const char agreed_text[] =
	"orgs: [ { id: team, rival: true } ]\\n"
	"public_suites: [ { name: questions, root: '%s' } ]\\n"
	"grants: [ { id: p, org: team, purposes: [ capability_benchmark ], models: [ m-o, m-a ],\\n"
	"  suites: { classes: [ public ], max_leaves: 5000, samples_per_leaf: 64 }, release: V2,\\n"
	"  limits: { rpm: 600, input_tpm: 100000, output_tpm: %u, concurrency: 20,\\n"
	"    tokens_per_day: 10000000, tokens_per_week: 20000000, usd_per_month: 1000 },\\n"
	"  valid: { from: 2026-10-25, to: 2027-01-15 } } ]\\n";

static const char *no_variable(const char *name)
{
	(void)name;
	return NULL;
}

static void act_is_done(struct admin_request *request);

static void act(struct town *town, enum errand errand, const char *target, struct bytes body)
{
	struct control *control = gateway_control(town->gateway);
	town->errand = errand;
	town->act = (struct admin_request){.method = BYTES("POST"),
					   .target = bytes_from(target),
					   .body = body,
					   .person = "tester",
					   .key_digest = town->key_digest,
					   .done = act_is_done,
					   .argument = town};
	if (errand == REGISTERING)
		admin_handle_own(control, &town->act);
	else
		admin_handle(control, &town->act);
}

static void issue_key(struct town *town)
{
	act(town, ISSUING, "/admin/v1/keys", BYTES("{\"org\":\"team\",\"grant\":\"p\"}"));
}

/* The text of a member of an answer. */
static void take_text(const struct buf *answer, const char *member, char *out, size_t size)
{
	const char *found = memmem(answer->data, answer->size, member, strlen(member));
	if (found)
		snprintf(out, size, "%.*s", (int)strcspn(found + strlen(member), "\""),
			 found + strlen(member));
}

static void use_key(struct town *town)
{
	town->errand = NO_ERRAND;
	memcpy(town->key, town->fresh_key, sizeof(town->key));
}

static void key_is_issued(struct town *town, const struct buf *answer)
{
	take_text(answer, "\"key\":\"", town->fresh_key, sizeof(town->fresh_key));
	take_text(answer, "\"id\":\"", town->key_id, sizeof(town->key_id));
	sha256_of(town->fresh_key, strlen(town->fresh_key), town->key_digest);
	if (town->agreed)
		act(town, REGISTERING, "/parley/v1/suites", bytes_from(town->suite));
	else
		use_key(town);
}

/* First the grant, then a key for it, then what the key is for. */
static void act_is_done(struct admin_request *request)
{
	struct town *town = request->argument;
	struct buf answer = request->answer;
	bool good = request->status == 200;
	enum errand errand = town->errand;
	town->errand = NO_ERRAND;
	if (!good && town->agreed && sim_now(town->sim) > FAULTS_END)
		town_violates(town, "the operator is refused although nothing fails any more");
	if (good && errand == REVOKING)
		agreement_revoked(town);
	if (good && (errand == APPLYING || errand == REVOKING))
		issue_key(town);
	else if (good && errand == ISSUING)
		key_is_issued(town, &answer);
	else if (good && errand == REGISTERING)
		use_key(town);
	buf_release(&answer);
}

void town_revoke(void *argument)
{
	struct town *town = argument;
	if (sim_is_down(town->gateway_node) || !town->gateway || !town->key[0] ||
	    town->errand != NO_ERRAND)
		return;
	snprintf(town->target, sizeof(town->target), "/admin/v1/keys/%s/revoke", town->key_id);
	act(town, REVOKING, town->target, BYTES("{\"reason\":\"a test\"}"));
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
	char text[2048];
	struct env *env = town->gateway_node;
	unsigned workers = 1 + (unsigned)(town->crashes % 2);
	snprintf(text, sizeof(text), config_text, workers,
		 town->relaxed || town->mistake == ACKNOWLEDGES_EARLY ? "relaxed" : "strict",
		 town->log_text ? town->log_text : "");
	ERR_TRY(config_parse(bytes_from(text), "/parley.yaml", no_variable, &town->config, err));
	town->admin_loop = env_loop_new(env, "admin", true);
	struct gateway_options options = {.env = env,
					  .config = town->config,
					  .main_loop = town->admin_loop,
					  .grace_ns = 5 * SECOND,
					  .segment_size = town->segment_size ? town->segment_size
									     : (uint64_t)1 << 20,
					  .stopped = gateway_is_stopped,
					  .argument = town};
	ERR_TRY(gateway_open(&options, &town->gateway, err));
	if (!serve)
		return ERR_OK;
	ERR_TRY(gateway_start(town->gateway, err));
	ERR_TRY(env_loop_start(town->admin_loop, -1, err));
	char access[1536];
	if (town->agreed)
		snprintf(access, sizeof(access), agreed_text, town->root,
			 town->tight ? 8000 : 60000);
	else
		snprintf(access, sizeof(access), "%s", access_text);
	int size = snprintf(town->apply, sizeof(town->apply),
			    "{\"file\":\"access.yaml\",\"text\":\"%s\"}", access);
	act(town, APPLYING, "/admin/v1/apply", bytes_of(town->apply, (size_t)size));
	return ERR_OK;
}

void town_gateway_end(struct town *town)
{
	town->key[0] = town->revoked_key[0] = '\0';
	town->keys_ended++;
	town->errand = NO_ERRAND;
	gateway_free(town->gateway);
	town->gateway = NULL;
	env_loop_free(town->admin_loop);
	town->admin_loop = NULL;
	config_free(town->config);
	town->config = NULL;
}
