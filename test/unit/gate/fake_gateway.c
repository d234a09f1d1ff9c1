#include "fake_gateway.h"

#include "base/sha256.h"

#define LINE_MAX_BYTES 16384

static const uint8_t secret[32] = {1, 2, 3};

static const char *const config_text =
	"name: northlab.example/parley\n"
	"listen: 127.0.0.1:8080\n"
	"providers:\n"
	"  - { name: north, dialect: anthropic, url: \"http://127.0.0.1:9\" }\n"
	"models:\n"
	"  - { name: north-1, provider: north, upstream: north-1-x, max_output: 8192 }\n"
	"  - { name: north-2, provider: north, max_output: 100 }\n";

/* ---- the logs ---- */

static void log_path(const struct fake_gateway *gateway, int log, char out[static 96])
{
	snprintf(out, 96, "%s/log.%d", gateway->directory, log);
}

static void append_line(struct fake_gateway *gateway, int log, const char *text, size_t size)
{
	char path[96];
	log_path(gateway, log, path);
	FILE *file = fopen(path, "ab");
	assert_non_null(file);
	assert_int_equal(fwrite(text, 1, size, file), size);
	assert_int_equal(fputc('\n', file), '\n');
	assert_int_equal(fclose(file), 0);
	gateway->positions[log]++;
}

struct reply {
	struct env_message message;
	struct control_record *record;
	struct control_publish *publish;
	enum err_code code;
};

static void give_reply(struct env_message *message)
{
	struct reply *reply = (struct reply *)message;
	struct reply copy = *reply;
	free(reply);
	if (copy.record)
		copy.record->done(copy.record, copy.code);
	else
		copy.publish->done(copy.publish);
}

static void post_reply(struct fake_gateway *gateway, struct control_record *record,
		       struct control_publish *publish, enum err_code code)
{
	struct reply *reply = calloc(1, sizeof(*reply));
	assert_non_null(reply);
	reply->message.run = give_reply;
	reply->record = record;
	reply->publish = publish;
	reply->code = code;
	env_post(gateway->loop, &reply->message);
}

static void hook_record(void *argument, struct control_record *record)
{
	struct fake_gateway *gateway = argument;
	if (gateway->crash_before_record)
		_exit(0);
	if (gateway->records_to_fail > 0) {
		gateway->records_to_fail--;
		post_reply(gateway, record, NULL, ERR_NO_SPACE);
		return;
	}
	snprintf(record->id, sizeof(record->id), "%012llx00000000000000000000",
		 (unsigned long long)gateway->positions[record->log]);
	record->record.id = record->id;
	record->record.time_ms = env_wall_ms(gateway->env);
	size_t size = record_format(&record->record, record->text, record->capacity);
	assert_int_not_equal(size, 0);
	append_line(gateway, record->log, record->text, size);
	if (gateway->crash_after_record)
		_exit(0);
	post_reply(gateway, record, NULL, ERR_OK);
}

static void hook_publish(void *argument, struct control_publish *publish)
{
	struct fake_gateway *gateway = argument;
	static const char *const kinds[] = {"key", "grant", "org"};
	size_t size = 0;
	gateway->cuts[0] = '\0';
	for (size_t i = 0; i < publish->cut_count && size < sizeof(gateway->cuts); i++)
		size += (size_t)snprintf(gateway->cuts + size, sizeof(gateway->cuts) - size,
					 "%s:%s(%s)", kinds[publish->cuts[i].kind],
					 publish->cuts[i].id, publish->cuts[i].reason);
	world_drop(gateway->world);
	gateway->world = publish->world;
	gateway->published++;
	post_reply(gateway, NULL, publish, ERR_OK);
}

static uint64_t hook_position(void *argument, enum control_log log)
{
	return ((struct fake_gateway *)argument)->positions[log];
}

static enum err_code hook_scan(void *argument, enum control_log log, uint64_t from,
			       control_scan_function *each, void *each_argument, struct err *err)
{
	struct fake_gateway *gateway = argument;
	char path[96], line[LINE_MAX_BYTES];
	bool stop = false;
	(void)err;
	log_path(gateway, log, path);
	FILE *file = fopen(path, "rb");
	assert_non_null(file);
	for (uint64_t index = 0; !stop && fgets(line, sizeof(line), file); index++) {
		if (index >= from)
			each(each_argument, bytes_of(line, strlen(line) - 1), &stop);
	}
	fclose(file);
	return ERR_OK;
}

static void count_lines(struct fake_gateway *gateway)
{
	for (int log = 0; log < CONTROL_LOGS; log++) {
		char *text = fake_log(gateway, (enum control_log)log);
		gateway->positions[log] = 0;
		for (const char *at = text; (at = strchr(at, '\n')); at++)
			gateway->positions[log]++;
		free(text);
	}
}

char *fake_log(const struct fake_gateway *gateway, enum control_log log)
{
	char path[96];
	struct buf text = BUF_INIT((size_t)64 << 20);
	log_path(gateway, (int)log, path);
	if (env_file_exists(gateway->env, path))
		assert_int_equal(env_read_file(gateway->env, path, &text, NULL), ERR_OK);
	buf_append_cstr(&text, "");
	return text.data ? text.data : calloc(1, 1);
}

/* ---- life ---- */

static const char *no_variable(const char *name)
{
	(void)name;
	return NULL;
}

enum err_code fake_open(struct fake_gateway *gateway, struct err *err)
{
	char path[96];
	snprintf(path, sizeof(path), "%s/parley.db", gateway->directory);
	count_lines(gateway);
	gateway->loop = env_loop_new(gateway->env, "admin", true);
	assert_non_null(gateway->loop);
	struct control_options options = {
		.env = gateway->env,
		.loop = gateway->loop,
		.config = gateway->config,
		.store_path = path,
		.secret = secret,
		.hooks = {.argument = gateway,
			  .record = hook_record,
			  .publish = hook_publish,
			  .log_position = hook_position,
			  .log_next = hook_position,
			  .log_scan = hook_scan},
	};
	enum err_code code = control_open(&options, &gateway->control, err);
	if (code != ERR_OK) {
		env_loop_free(gateway->loop);
		gateway->loop = NULL;
		return code;
	}
	gateway->world = control_world(gateway->control);
	assert_int_equal(env_loop_start(gateway->loop, -1, NULL), ERR_OK);
	return ERR_OK;
}

void fake_reopen(struct fake_gateway *gateway)
{
	struct err err = ERR_INIT;
	if (gateway->control)
		fake_close(gateway);
	if (fake_open(gateway, &err) != ERR_OK)
		fail_msg("%s", err.message);
}

void fake_start(struct fake_gateway *gateway)
{
	*gateway = (struct fake_gateway){.env = env_os_new(1)};
	assert_non_null(gateway->env);
	assert_int_equal(sem_init(&gateway->done, 0, 0), 0);
	snprintf(gateway->directory, sizeof(gateway->directory), "/tmp/parley-gate-XXXXXX");
	assert_non_null(mkdtemp(gateway->directory));
	char path[96];
	snprintf(path, sizeof(path), "%s/parley.yaml", gateway->directory); /* beside its data */
	assert_int_equal(
		config_parse(bytes_from(config_text), path, no_variable, &gateway->config, NULL),
		ERR_OK);
	fake_reopen(gateway);
	/* The first start puts its keys on record, by itself. */
	for (int i = 0; i < 10000 && gateway->positions[CONTROL_EVALUATION] == 0; i++) {
		usleep(1000);
		fake_ask(gateway, NULL, "GET", "/admin/v1/status", "");
	}
	assert_int_equal(gateway->positions[CONTROL_EVALUATION], 1);
	/* What the record brings about comes before the answers to these. */
	for (int i = 0; i < 3; i++)
		fake_ask(gateway, NULL, "GET", "/admin/v1/status", "");
	gateway->published = 0;
}

void fake_close(struct fake_gateway *gateway)
{
	env_loop_stop(gateway->loop);
	env_loop_join(gateway->loop);
	world_drop(gateway->world);
	gateway->world = NULL;
	control_close(gateway->control);
	gateway->control = NULL;
	env_loop_free(gateway->loop);
	gateway->loop = NULL;
}

struct emptied {
	struct env *env;
	const char *directory;
};

static void remove_entry(void *argument, const struct env_directory_entry *entry)
{
	const struct emptied *emptied = argument;
	char path[512];
	snprintf(path, sizeof(path), "%s/%s", emptied->directory, entry->name);
	env_unlink(emptied->env, path, NULL);
}

static void remove_directories(struct fake_gateway *gateway)
{
	static const char *const names[] = {"suites", "sealed"};
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		char path[96];
		snprintf(path, sizeof(path), "%s/%s", gateway->directory, names[i]);
		struct emptied emptied = {gateway->env, path};
		if (!env_file_exists(gateway->env, path))
			continue;
		env_list_directory(gateway->env, path, remove_entry, &emptied, NULL);
		assert_int_equal(rmdir(path), 0);
	}
}

void fake_stop(struct fake_gateway *gateway)
{
	static const char *const files[] = {"parley.db", "parley.db-journal", "log.0",
					    "log.1",     "grant.key",         "verdict.key"};
	if (gateway->control)
		fake_close(gateway);
	remove_directories(gateway);
	json_decref(gateway->answer);
	config_free(gateway->config);
	sem_destroy(&gateway->done);
	env_os_free(gateway->env);
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		char path[128];
		snprintf(path, sizeof(path), "%s/%s", gateway->directory, files[i]);
		unlink(path);
	}
	assert_int_equal(rmdir(gateway->directory), 0);
}

/* ---- asking ---- */

struct calling {
	struct env_message message;
	void (*run)(void *argument);
	void *argument;
};

static void call_on_loop(struct env_message *message)
{
	struct calling *calling = (struct calling *)message;
	calling->run(calling->argument);
}

void fake_call(struct fake_gateway *gateway, void (*run)(void *argument), void *argument)
{
	struct calling calling = {.run = run, .argument = argument};
	calling.message.run = call_on_loop;
	env_post(gateway->loop, &calling.message);
	while (sem_wait(&gateway->done) != 0)
		;
}

void fake_done(struct fake_gateway *gateway)
{
	sem_post(&gateway->done);
}

struct asking {
	struct admin_request request;
	struct fake_gateway *gateway;
	uint8_t digest[SHA256_SIZE];
};

static void ask_done(struct admin_request *request)
{
	struct asking *asking = request->argument;
	struct fake_gateway *gateway = asking->gateway;
	gateway->status = request->status;
	json_decref(gateway->answer);
	gateway->answer = NULL;
	json_parse(buf_bytes(&request->answer), "answer", &gateway->answer, NULL);
	buf_release(&request->answer);
	fake_done(gateway);
}

static void ask_on_loop(void *argument)
{
	struct asking *asking = argument;
	if (asking->request.key_digest)
		admin_handle_own(asking->gateway->control, &asking->request);
	else
		admin_handle(asking->gateway->control, &asking->request);
}

json_t *fake_ask(struct fake_gateway *gateway, const char *key, const char *method,
		 const char *target, const char *body)
{
	struct asking asking = {
		.gateway = gateway,
		.request = {.method = bytes_from(method),
			    .target = bytes_from(target),
			    .body = bytes_from(body ? body : ""),
			    .person = "root",
			    .done = ask_done},
	};
	asking.request.argument = &asking;
	if (key) {
		sha256_of(key, strlen(key), asking.digest);
		asking.request.key_digest = asking.digest;
	}
	fake_call(gateway, ask_on_loop, &asking);
	assert_non_null(gateway->answer);
	return gateway->answer;
}

json_t *fake_ask_json(struct fake_gateway *gateway, const char *key, const char *method,
		      const char *target, json_t *body)
{
	char *text = json_dumps(body, 0);
	assert_non_null(text);
	json_decref(body);
	json_t *answer = fake_ask(gateway, key, method, target, text);
	free(text);
	return answer;
}

json_t *fake_apply(struct fake_gateway *gateway, const char *text, unsigned status)
{
	json_t *answer =
		fake_ask_json(gateway, NULL, "POST", "/admin/v1/apply",
			      json_pack("{s:s, s:s}", "file", "access.yaml", "text", text));
	if (gateway->status != status)
		fail_msg("status %u: %s", gateway->status, json_dumps(answer, 0));
	return answer;
}

const char *fake_access(void)
{
	static char text[2048];
	char from[11], to[11];
	struct env *env = env_os_new(1);
	int64_t now = env_wall_ms(env);
	env_os_free(env);
	world_format_day(now - WORLD_DAY_MS, from);
	world_format_day(now + 60 * WORLD_DAY_MS, to);
	snprintf(
		text, sizeof(text),
		"orgs: [ { id: southlab, name: South Lab, rival: true } ]\n"
		"terms: { version: \"2026-11\", clauses: [ { id: D.4a, kind: prohibition, "
		"text: \"No training.\", enforced_by: [ suite.unbound ] } ] }\n"
		"grants:\n"
		"  - id: south-eval-1\n"
		"    org: southlab\n"
		"    purposes: [ safety_evaluation, capability_benchmark ]\n"
		"    models: [ north-1 ]\n"
		"    suites: { classes: [ public, reviewed ], max_leaves: 10, samples_per_leaf: 2, "
		"new_leaves_per_week: 8 }\n"
		"    release: V2\n"
		"    limits: { rpm: 600, tokens_per_day: 20000000 }\n"
		"    valid: { from: %s, to: %s }\n"
		"    overrides: [ D.4a ]\n"
		"    notice_hours: 72\n"
		"    appeal: \"mailto:access@northlab.example\"\n",
		from, to);
	return text;
}

char *fake_key(struct fake_gateway *gateway, char id[static 64])
{
	fake_ask(gateway, NULL, "POST", "/admin/v1/keys",
		 "{\"org\":\"southlab\",\"grant\":\"south-eval-1\"}");
	assert_int_equal(gateway->status, 200);
	snprintf(id, 64, "%s", fake_text(gateway, "id"));
	return strdup(fake_text(gateway, "key"));
}

const char *fake_text(const struct fake_gateway *gateway, const char *path)
{
	const json_t *value = gateway->answer;
	struct bytes rest = bytes_from(path);
	while (rest.data) {
		char name[64];
		struct bytes part = bytes_split(rest, '.', &rest);
		snprintf(name, sizeof(name), "%.*s", BYTES_ARG(part));
		value = json_object_get(value, name);
	}
	return json_string_value(value);
}
