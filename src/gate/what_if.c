#include "gate/what_if.h"

#include "gate/request_limits.h"

#include <stdio.h>
#include <stdlib.h>

#define BATCH 512       /* records read from a log at a time */
#define A_JOB 8192      /* records decided in one job */
#define ROWS_MAX 10000  /* different refusals that are told apart */
#define ROWS_SHOWN 40   /* in the text */
#define OPEN_MAX 16384u /* requests under way at once, a power of two */
#define TEXT_MAX ((size_t)32 << 20)
#define START_NS UINT64_C(1000000000000)

/* One log, read on. */
struct source {
	enum control_log log;
	uint64_t next, end;
	json_t *batch[BATCH];
	size_t count, at;
};

/* An admitted request whose outcome has not come yet. */
struct open_request {
	uint64_t index; /* of its admit record, plus 1; 0: free */
	enum control_log log;
	struct limits_reservation reservation;
	struct limits_scope scopes[LIMITS_SCOPES_MAX];
	const struct world_model *model;
};

struct what_if {
	struct env_job job;
	struct control *control;
	struct world *trial, *present;
	int64_t from_ms, to_ms;
	struct source sources[CONTROL_LOGS];
	struct open_request *open;
	json_t *rows; /* by grant, rule and clause */
	uint64_t admitted, settled, refused, anyway, crowded;
	bool ready, over;
	enum err_code code;
	struct err err;
	json_t *answer;
	what_if_done *done;
	void *argument;
};

/* ---- reading ---- */

static bool keep_record(struct source *source, struct bytes line)
{
	json_t *record;
	if (json_parse(line, "a record", &record, NULL) == ERR_OK)
		source->batch[source->count++] = record;
	source->next++;
	return source->count < BATCH && source->next < source->end;
}

static void each_line(void *argument, struct bytes line, bool *stop)
{
	*stop = !keep_record(argument, line);
}

static enum err_code fill(struct what_if *what_if, struct source *source)
{
	const struct control_hooks *hooks = &what_if->control->hooks;
	source->count = source->at = 0;
	if (source->next >= source->end)
		return ERR_OK;
	return hooks->log_scan(hooks->argument, source->log, source->next, each_line, source,
			       &what_if->err);
}

/* "2026-12-31T12:34:56.789Z"; 0 for anything else. */
static int64_t time_of(const json_t *record)
{
	const char *text = json_text(record, "time");
	unsigned hours, minutes, seconds, ms;
	int64_t day;
	if (strlen(text) != 24 || !world_parse_day(bytes_of(text, 10), &day) ||
	    sscanf(text + 10, "T%2u:%2u:%2u.%3uZ", &hours, &minutes, &seconds, &ms) != 4)
		return 0;
	return day + ((int64_t)hours * 3600 + minutes * 60 + seconds) * 1000 + ms;
}

/* The first record of the log that is not before from_ms. Clocks step seldom and little: records
 * near the edge may be missed or come too much. */
static enum err_code find_start(struct what_if *what_if, struct source *source)
{
	uint64_t low = 0, high = source->end;
	while (low < high) {
		struct source probe = {.log = source->log, .next = low + (high - low) / 2};
		probe.end = probe.next + 1;
		ERR_TRY(fill(what_if, &probe));
		bool before = probe.count && time_of(probe.batch[0]) < what_if->from_ms;
		if (probe.count)
			json_decref(probe.batch[0]);
		if (before)
			low += (high - low) / 2 + 1;
		else
			high = low + (high - low) / 2;
	}
	source->next = low;
	return ERR_OK;
}

/* The earliest record that was not decided yet, the caller's; NULL: there is none. */
static json_t *next_record(struct what_if *what_if, enum control_log *log)
{
	struct source *best = NULL;
	for (int i = 0; i < CONTROL_LOGS; i++) {
		struct source *source = &what_if->sources[i];
		while (source->at == source->count && source->next < source->end) {
			what_if->code = fill(what_if, source);
			if (what_if->code != ERR_OK)
				return NULL;
		}
		if (source->at < source->count &&
		    (!best || time_of(source->batch[source->at]) < time_of(best->batch[best->at])))
			best = source;
	}
	if (!best)
		return NULL;
	*log = best->log;
	return best->batch[best->at++];
}

/* ---- limits ---- */

static struct limits_clock clock_at(const struct what_if *what_if, int64_t time_ms)
{
	int64_t since = time_ms > what_if->from_ms ? time_ms - what_if->from_ms : 0;
	return (struct limits_clock){START_NS + (uint64_t)since * 1000000u, time_ms};
}

static struct open_request *find_open(const struct what_if *what_if, enum control_log log,
				      uint64_t index, bool make)
{
	uint32_t slot = (uint32_t)(index * 2 + log) & (OPEN_MAX - 1);
	for (unsigned tries = 0; tries < 64; tries++, slot = (slot + 1) & (OPEN_MAX - 1)) {
		struct open_request *open = &what_if->open[slot];
		if (make ? open->index == 0 : open->index == index + 1 && open->log == log)
			return open;
	}
	return NULL;
}

/* A request, a slot, and of tokens as little as there is: what it asked for is not in the log, what
 * it used comes at the end. False: a limit of the file would have refused it. */
static bool take_limits(struct what_if *what_if, struct verdict *verdict, enum control_log log,
			uint64_t index, int64_t time_ms)
{
	struct open_request *open = find_open(what_if, log, index, true);
	struct limits_clock clock = clock_at(what_if, time_ms);
	struct limits_refusal refusal;
	struct limits_wants wants = {.input = 1, .output = 1};
	if (!open || !verdict->model) {
		what_if->crowded += !open;
		return true;
	}
	wants.cost = gate_limits_cost(verdict->model, wants.input, wants.output);
	*open = (struct open_request){.log = log, .model = verdict->model};
	unsigned count = policy_scopes(verdict, open->scopes);
	if (!limits_reserve(open->scopes, count, &clock, wants, &open->reservation, &refusal)) {
		policy_refuse_limit(verdict, &refusal);
		return false;
	}
	open->index = index + 1;
	return true;
}

static void settle(struct what_if *what_if, const json_t *record, enum control_log log)
{
	const json_t *usage = json_object_get(record, "usage");
	uint64_t index;
	if (!record_id_index(bytes_from(json_text(record, "admit")), &index))
		return;
	struct open_request *open = find_open(what_if, log, index, false);
	if (!open)
		return;
	struct limits_tokens tokens = {.input = control_integer(usage, "input", 0),
				       .cache_read = control_integer(usage, "cache_read", 0),
				       .cache_write = control_integer(usage, "cache_write", 0),
				       .output = control_integer(usage, "output", 0)};
	struct limits_clock clock = clock_at(what_if, time_of(record));
	int64_t cost = open->model->price.known ? limits_cost(&open->model->price, &tokens) : 0;
	limits_settle(
		&open->reservation, open->scopes, &clock,
		(struct limits_usage){tokens.input + tokens.cache_write, tokens.output, cost});
	open->index = 0;
	what_if->settled++;
}

/* ---- deciding again ---- */

static enum endpoint_use use_of(const json_t *record)
{
	/* Without a model it was a list. */
	return *json_text(record, "model") ? ENDPOINT_USE_GENERATE : ENDPOINT_USE_MODELS;
}

static void decide(const struct world *world, const json_t *record, struct verdict *verdict)
{
	const struct world_key *key =
		world_find_key_id(world, bytes_from(json_text(record, "key")));
	const struct world_model *model =
		world_find_model(world, bytes_from(json_text(record, "model")));
	struct policy_recorded recorded = {.suite = bytes_from(json_text(record, "suite")),
					   .leaf = (uint32_t)control_integer(record, "leaf", 0)};
	struct policy_request facts = {.has_key = true,
				       .wall_ms = time_of(record),
				       .endpoint = use_of(record),
				       .wants_verdict =
					       strcmp(json_text(record, "release"), "V0") == 0,
				       .model = bytes_from(json_text(record, "model")),
				       .max_output = -1,
				       .n = 1,
				       .recorded = &recorded};
	if (key) {
		memcpy(facts.key_digest, key->digest, SHA256_SIZE);
		memcpy(facts.sender.thumbprint, key->sender.thumbprint, SHA256_SIZE);
		facts.sender.proved = key->sender.binding;
		if (key->sender.network_count) {
			facts.sender.family = key->sender.networks[0].family;
			memcpy(facts.sender.ip, key->sender.networks[0].ip,
			       sizeof(facts.sender.ip));
		}
	}
	if (model)
		facts.dialect = model->provider->dialect;
	policy_decide(world, &facts, verdict);
}

static bool note_row(struct what_if *what_if, const json_t *record, const struct verdict *verdict)
{
	char name[1024];
	const char *grant = verdict->grant ? verdict->grant->id : json_text(record, "grant");
	const char *org = verdict->grant ? verdict->grant->org->id : json_text(record, "org");
	const char *clause = verdict->clause ? verdict->clause->id : "";
	const char *time = json_text(record, "time");
	snprintf(name, sizeof(name), "%s %s %s", grant, rule_id(verdict->rule), clause);
	json_t *row = json_object_get(what_if->rows, name);
	if (!row) {
		if (json_object_size(what_if->rows) >= ROWS_MAX)
			return true;
		row = json_pack("{s:s, s:s, s:s, s:i, s:s, s:s}", "org", org, "grant", grant,
				"rule", rule_id(verdict->rule), "requests", 0, "first", time,
				"detail", verdict->detail);
		if (!row || (*clause && json_object_set_new(row, "clause", json_string(clause))) ||
		    json_object_set_new(what_if->rows, name, row))
			return false;
	}
	return json_object_set_new(row, "requests",
				   json_integer(control_integer(row, "requests", 0) + 1)) == 0 &&
	       json_object_set_new(row, "last", json_string(time)) == 0;
}

static bool replay_admit(struct what_if *what_if, const json_t *record, enum control_log log)
{
	struct verdict verdict, before;
	uint64_t index;
	what_if->admitted++;
	if (!record_id_index(bytes_from(json_text(record, "id")), &index))
		return true;
	decide(what_if->trial, record, &verdict);
	if (verdict.outcome != POLICY_REFUSE &&
	    take_limits(what_if, &verdict, log, index, time_of(record)))
		return true;
	if (!limits_rule_is(verdict.rule)) {
		decide(what_if->present, record, &before);
		if (before.outcome == POLICY_REFUSE) {
			what_if->anyway++;
			return true;
		}
	}
	return note_row(what_if, record, &verdict);
}

static bool replay(struct what_if *what_if, const json_t *record, enum control_log log)
{
	const char *kind = json_text(record, "kind");
	if (strcmp(kind, "admit") == 0)
		return replay_admit(what_if, record, log);
	if (strcmp(kind, "settle") == 0 || strcmp(kind, "unknown") == 0)
		settle(what_if, record, log);
	else if (strcmp(kind, "refuse") == 0)
		what_if->refused += (uint64_t)control_integer(record, "count", 1);
	return true;
}

static void run_job(struct env_job *job)
{
	struct what_if *what_if = (struct what_if *)job;
	for (int i = 0; i < CONTROL_LOGS && !what_if->ready; i++)
		if (what_if->code == ERR_OK)
			what_if->code = find_start(what_if, &what_if->sources[i]);
	what_if->ready = true;
	for (int i = 0; i < A_JOB && what_if->code == ERR_OK; i++) {
		enum control_log log;
		json_t *record = next_record(what_if, &log);
		if (!record) {
			what_if->over = true;
			return;
		}
		if (!replay(what_if, record, log))
			what_if->code = ERR_SET(&what_if->err, ERR_NO_MEMORY,
						"no memory to decide the log again");
		json_decref(record);
	}
	what_if->over = what_if->code != ERR_OK;
}

/* ---- telling ---- */

static const char *const cannot_tell[] = {
	"the log holds no words and no parameters: leaves, settings, samples and runs are taken as "
	"they "
	"were found then",
	"limits are replayed from the times of requests and the usage that was settled: input "
	"counts "
	"when an answer ends, and of the first minute, day, week and month only what the log shows "
	"of "
	"them",
	"a client that is refused may come again, or stop: what followed is as it was",
	"keys are supposed to have come from networks and senders that they allow now",
};

static void append_rows(const struct what_if *what_if, struct buf *out)
{
	size_t shown = 0;
	const char *name;
	json_t *row;
	json_object_foreach(what_if->rows, name, row)
	{
		const char *clause = json_text(row, "clause");
		if (shown++ == ROWS_SHOWN)
			break;
		buf_printf(out, "  org %s, grant %s: %lld refused by %s%s%s (%s)\n",
			   json_text(row, "org"), json_text(row, "grant"),
			   (long long)control_integer(row, "requests", 0), json_text(row, "rule"),
			   *clause ? ", clause " : "", clause, json_text(row, "detail"));
	}
	if (json_object_size(what_if->rows) > ROWS_SHOWN)
		buf_printf(out, "  and %zu more kinds\n",
			   json_object_size(what_if->rows) - ROWS_SHOWN);
}

static void append_text(const struct what_if *what_if, struct buf *out)
{
	char from[RECORD_TIME_SIZE];
	record_time(what_if->from_ms, from);
	buf_printf(out, "what if, since %s: of %llu requests admitted then", from,
		   (unsigned long long)what_if->admitted);
	if (json_object_size(what_if->rows) == 0)
		buf_append_cstr(out, " none would have been refused\n");
	else
		buf_append_cstr(out, " these would have been refused:\n");
	append_rows(what_if, out);
	if (what_if->anyway)
		buf_printf(
			out,
			"  %llu more would be refused now without this file too: keys, grants or "
			"organisations have ended since\n",
			(unsigned long long)what_if->anyway);
	if (what_if->crowded)
		buf_printf(out, "  %llu requests were too many at once to replay their limits\n",
			   (unsigned long long)what_if->crowded);
	buf_printf(out, "%llu requests were refused then; they stay out of this\n",
		   (unsigned long long)what_if->refused);
	buf_append_cstr(out, "what the log cannot tell:\n");
	for (size_t i = 0; i < sizeof(cannot_tell) / sizeof(cannot_tell[0]); i++)
		buf_printf(out, "  %s\n", cannot_tell[i]);
}

static bool tell(struct what_if *what_if)
{
	struct buf text = BUF_INIT(TEXT_MAX);
	json_t *rows = json_array(), *limits = json_array();
	const char *name;
	json_t *row;
	bool good = rows && limits;
	json_object_foreach(what_if->rows, name, row)
	{
		good = good && json_array_append(rows, row) == 0;
	}
	for (size_t i = 0; i < sizeof(cannot_tell) / sizeof(cannot_tell[0]); i++)
		good = good && json_array_append_new(limits, json_string(cannot_tell[i])) == 0;
	json_t *told = json_pack(
		"{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:O?, s:O?}", "from_ms",
		(json_int_t)what_if->from_ms, "to_ms", (json_int_t)what_if->to_ms, "admitted",
		(json_int_t)what_if->admitted, "settled", (json_int_t)what_if->settled, "refused",
		(json_int_t)what_if->refused, "anyway", (json_int_t)what_if->anyway, "crowded",
		(json_int_t)what_if->crowded, "rows", rows, "cannot_tell", limits);
	buf_append_cstr(&text, json_text(what_if->answer, "text"));
	append_text(what_if, &text);
	good = good && told && !text.failed &&
	       json_object_set(what_if->answer, "what_if", told) == 0 &&
	       json_object_set_new(what_if->answer, "text", json_stringn(text.data, text.size)) ==
		       0;
	json_decref(told);
	json_decref(rows);
	json_decref(limits);
	buf_release(&text);
	return good;
}

/* ---- the whole ---- */

static void release(struct what_if *what_if)
{
	for (int i = 0; i < CONTROL_LOGS; i++) {
		struct source *source = &what_if->sources[i];
		while (source->at < source->count)
			json_decref(source->batch[source->at++]);
	}
	world_drop(what_if->trial);
	world_drop(what_if->present);
	json_decref(what_if->rows);
	json_decref(what_if->answer);
	free(what_if->open);
	free(what_if);
}

static void job_done(struct env_job *job)
{
	struct what_if *what_if = (struct what_if *)job;
	struct control *control = what_if->control;
	if (!what_if->over && !control->what_if_cancelled) {
		env_job_start(control->loop, &what_if->job);
		return;
	}
	if (!what_if->over)
		what_if->code =
			ERR_SET(&what_if->err, ERR_INTERRUPTED,
				"the gateway is shutting down: the log was not read to its end");
	else if (what_if->code == ERR_OK && !tell(what_if))
		what_if->code = ERR_SET(&what_if->err, ERR_NO_MEMORY, "no memory to answer");
	control->what_ifs--;
	what_if->done(what_if->argument, what_if->code, &what_if->err);
	release(what_if);
}

enum err_code what_if_start(struct control *control, struct world *trial, int64_t span_ms,
			    json_t *answer, what_if_done *done, void *argument, struct err *err)
{
	struct what_if *what_if = calloc(1, sizeof(*what_if));
	if (!what_if)
		return ERR_SET(err, ERR_NO_MEMORY, "no memory to decide the log again");
	*what_if = (struct what_if){
		.job = {.run = run_job, .done = job_done},
		.control = control,
		.trial = world_hold(trial),
		.present = world_hold(control->world),
		.from_ms = control->loop->wall_ms - span_ms,
		.to_ms = control->loop->wall_ms,
		.rows = json_object(),
		.open = calloc(OPEN_MAX, sizeof(struct open_request)),
		.answer = json_incref(answer),
		.done = done,
		.argument = argument
        };
	for (int i = 0; i < CONTROL_LOGS; i++) {
		what_if->sources[i].log = (enum control_log)i;
		what_if->sources[i].end =
			control->hooks.log_position(control->hooks.argument, (enum control_log)i);
	}
	if (!what_if->rows || !what_if->open) {
		release(what_if);
		return ERR_SET(err, ERR_NO_MEMORY, "no memory to decide the log again");
	}
	control->what_ifs++;
	env_job_start(control->loop, &what_if->job);
	return ERR_OK;
}
