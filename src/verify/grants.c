#include "verify/audit.h"

#include "base/json.h"
#include "ledger/paper.h"
#include "policy/day.h"
#include "table/limits.h"

#include <stdio.h>
#include <stdlib.h>

#define PAPER_FILE_MAX (2 * PAPER_SIZE_MAX)
#define MINUTE_MS ((int64_t)60000)
/* Records are written a little after the decision that they are of. */
#define SLACK_MS ((int64_t)2000)

/* ---- the papers ---- */

static struct held_grant *add(struct grants *grants, const char *id, const char *origin,
			      struct err *err)
{
	struct held_grant *grown = NULL;
	if (grants->count == GRANTS_MAX || strlen(id) >= sizeof(grown->id) ||
	    strlen(origin) >= sizeof(grown->origin)) {
		ERR_SET(err, ERR_TOO_LARGE, "more than %u grants, or a name that is too long",
			GRANTS_MAX);
		return NULL;
	}
	grown = reallocarray(grants->items, grants->count + 1, sizeof(*grown));
	if (!grown) {
		ERR_SET(err, ERR_NO_MEMORY, "out of memory for grants");
		return NULL;
	}
	grants->items = grown;
	struct held_grant *grant = &grown[grants->count++];
	*grant = (struct held_grant){0};
	snprintf(grant->id, sizeof(grant->id), "%s", id);
	snprintf(grant->origin, sizeof(grant->origin), "%s", origin);
	return grant;
}

/* Two gateways may call their grants alike. */
static struct held_grant *find(struct grants *grants, const char *id, const char *origin,
			       struct err *err)
{
	for (size_t i = 0; i < grants->count; i++) {
		struct held_grant *grant = &grants->items[i];
		if (strcmp(grant->id, id) == 0 &&
		    (!*grant->origin || strcmp(grant->origin, origin) == 0))
			return grant;
	}
	return add(grants, id, origin, err);
}

/* The log's key vouches for the key that signed. */
static enum err_code check_issuer(const struct paper *paper, const struct verify_keys *keys,
				  enum signer signer, struct held_grant *grant, const char *where,
				  struct err *err)
{
	const char *name = json_text(json_object_get(paper->body, "issuer"), "name");
	struct err first = ERR_INIT;
	const struct note_key *key;
	size_t at = 0;
	while ((key = verify_keys_next(keys, name, &at))) {
		struct err inner = ERR_INIT;
		enum err_code code = paper_check_certificate(paper, key, where, &inner);
		if (code == ERR_OK) {
			grant->signer = signer;
			return ERR_OK;
		}
		if (first.code == ERR_OK && code != ERR_NOT_FOUND)
			first = inner;
	}
	if (first.code == ERR_OK)
		return ERR_OK;
	*err = first;
	return first.code;
}

static enum err_code take_paper(struct audit *audit, struct bytes text, const char *where,
				struct err *err)
{
	struct paper paper;
	ERR_TRY(paper_open(text, where, PAPER_GRANT, NULL, &paper, err));
	json_t *spec = json_object_get(paper.body, "grant");
	const char *origin = json_text(json_object_get(paper.body, "issuer"), "name");
	struct held_grant *grant = find(&audit->grants, json_text(spec, "id"), origin, err);
	enum err_code code = ERR_OK;
	if (!grant)
		code = err->code;
	else if (!*grant->id || grant->spec)
		code = ERR_SET(err, ERR_INVALID,
			       "%s: its grant has no name, or another file has it", where);
	if (code == ERR_OK)
		code = check_issuer(&paper, &audit->reader, SIGNER_READER, grant, where, err);
	if (code == ERR_OK && grant->signer == SIGNER_NONE)
		code = check_issuer(&paper, &audit->own, SIGNER_BUNDLE, grant, where, err);
	if (code == ERR_OK) {
		grant->spec = json_incref(spec);
		snprintf(grant->issuer, sizeof(grant->issuer), "%s", paper.issuer.name);
	}
	paper_release(&paper);
	return code;
}

static enum err_code load_file(struct audit *audit, const char *path, struct err *err)
{
	struct buf text = BUF_INIT(PAPER_FILE_MAX);
	if (!bytes_starts_with(bytes_from(path), BYTES(BUNDLE_GRANTS "/")))
		return ERR_OK;
	const char *whole = audit_path(audit, path);
	if (!whole)
		return ERR_SET(err, ERR_NO_MEMORY, "out of memory for grants");
	enum err_code code = env_read_file(audit->env, whole, &text, err);
	if (code == ERR_OK)
		code = take_paper(audit, buf_bytes(&text), path, err);
	buf_release(&text);
	return code;
}

static enum err_code load_withheld(struct audit *audit, const char *name, const char *commitment,
				   struct err *err)
{
	char label[PUBLISHED_LABEL_MAX];
	struct opening opening;
	json_t *line;
	snprintf(label, sizeof(label), PUBLISHED_GRANT "%.200s", name);
	ERR_TRY(withheld_open(audit, commitment, label, &line, &opening, err));
	if (line) {
		enum err_code code = take_paper(audit, opening.value, label, err);
		json_decref(line);
		return code;
	}
	struct held_grant *grant = add(&audit->grants, name, "", err);
	if (!grant)
		return err->code;
	grant->withheld = true;
	return ERR_OK;
}

enum err_code grants_load(struct audit *audit, struct err *err)
{
	const json_t *files = json_object_get(audit->bundle.manifest, "files"), *entry;
	json_t *commitment;
	const char *id;
	size_t i;
	json_array_foreach((json_t *)files, i, entry)
		ERR_TRY(load_file(audit, json_text(entry, "path"), err));
	json_object_foreach(json_object_get(audit->withheld.tree, "grants"), id, commitment)
		ERR_TRY(load_withheld(audit, id, json_string_value(commitment), err));
	return ERR_OK;
}

void grants_release(struct grants *grants)
{
	for (size_t i = 0; i < grants->count; i++) {
		json_decref(grants->items[i].spec);
		free(grants->items[i].requests);
	}
	free(grants->items);
	*grants = (struct grants){0};
}

/* ---- a request ---- */

/* Two digits. */
static int64_t pair(const char *text)
{
	return 10 * (text[0] - '0') + (text[1] - '0');
}

/* RFC 3339 in UTC with milliseconds, as records have it; -1: it is none. */
static int64_t time_of(const struct receipt *receipt)
{
	static const char form[] = "0000-00-00T00:00:00.000Z";
	const char *text = json_text(receipt->record, "time");
	int64_t day;
	if (strlen(text) != sizeof(form) - 1)
		return -1;
	for (size_t i = 0; form[i]; i++)
		if (form[i] == '0' ? text[i] < '0' || text[i] > '9' : text[i] != form[i])
			return -1;
	if (!world_parse_day(bytes_of(text, 10), &day))
		return -1;
	return day + ((pair(text + 11) * 60 + pair(text + 14)) * 60 + pair(text + 17)) * 1000 +
	       100 * (text[20] - '0') + pair(text + 21);
}

static bool lists(const json_t *list, const char *text)
{
	const json_t *entry;
	size_t i;
	json_array_foreach((json_t *)list, i, entry)
	{
		const char *name = json_string_value(entry);
		if (name && strcmp(name, text) == 0)
			return true;
	}
	return false;
}

static enum err_code outside(const struct held_grant *grant, const struct receipt *admit,
			     const char *what, const char *value, struct err *err)
{
	return ERR_SET(err, ERR_MISMATCH,
		       "the gateway's record %.32s is outside of grant %.64s: %s %.64s", admit->id,
		       grant->id, what, value);
}

static enum err_code check_dates(const struct held_grant *grant, const struct receipt *admit,
				 int64_t time_ms, struct err *err)
{
	const json_t *valid = json_object_get(grant->spec, "valid");
	const char *from = json_text(valid, "from"), *to = json_text(valid, "to");
	int64_t first = INT64_MIN, last = INT64_MAX;
	if ((*from && !world_parse_day(bytes_from(from), &first)) ||
	    (*to && !world_parse_day(bytes_from(to), &last)))
		return ERR_SET(err, ERR_INVALID, "grant %.64s: its dates are none", grant->id);
	if (*to)
		last += WORLD_DAY_MS;
	if (time_ms < 0 || (time_ms >= first && time_ms < last))
		return ERR_OK;
	return outside(grant, admit, "time", json_text(admit->record, "time"), err);
}

/* V0 to V3: how much leaves the gateway. */
static bool releases(const char *granted, const char *given)
{
	return !*granted || !*given || strlen(granted) != 2 || given[1] <= granted[1];
}

static enum err_code check_suite(const struct held_grant *grant, const struct receipt *admit,
				 struct err *err)
{
	const json_t *suites = json_object_get(grant->spec, "suites");
	const json_t *leaves = json_object_get(suites, "max_leaves");
	const json_t *samples = json_object_get(suites, "samples_per_leaf");
	const json_t *leaf = json_object_get(admit->record, "leaf");
	const json_t *sample = json_object_get(admit->record, "sample");
	if (leaf && leaves && json_integer_value(leaf) >= json_integer_value(leaves))
		return outside(grant, admit, "more leaves than", "max_leaves", err);
	if (sample && samples && json_integer_value(sample) >= json_integer_value(samples))
		return outside(grant, admit, "more samples than", "samples_per_leaf", err);
	return ERR_OK;
}

static enum err_code check_request(const struct held_grant *grant, const struct receipt *admit,
				   int64_t time_ms, struct err *err)
{
	const char *model = json_text(admit->record, "model");
	const char *purpose = json_text(admit->record, "purpose");
	const char *release = json_text(admit->record, "release");
	const json_t *models = json_object_get(grant->spec, "models");
	ERR_TRY(check_dates(grant, admit, time_ms, err));
	if (*model && models && !lists(models, model))
		return outside(grant, admit, "model", model, err);
	if (*purpose && !lists(json_object_get(grant->spec, "purposes"), purpose))
		return outside(grant, admit, "purpose", purpose, err);
	if (!releases(json_text(grant->spec, "release"), release))
		return outside(grant, admit, "release", release, err);
	return check_suite(grant, admit, err);
}

static int64_t count_of(const json_t *usage, const char *key)
{
	json_int_t count = json_integer_value(json_object_get(usage, key));
	return count > 0 && count < LIMIT_MAX ? count : 0;
}

static void add_usage(struct held_grant *grant, struct grant_request *request, const json_t *usage)
{
	request->input = count_of(usage, "input") + count_of(usage, "cache_write");
	request->output = count_of(usage, "output");
	grant->input += request->input;
	grant->output += request->output;
	grant->cached += count_of(usage, "cache_read");
	grant->estimated += json_is_true(json_object_get(usage, "estimated"));
	if (request->input > grant->largest_input)
		grant->largest_input = request->input;
	if (request->output > grant->largest_output)
		grant->largest_output = request->output;
}

enum err_code grants_take(struct audit *audit, const struct receipt *admit,
			  const struct receipt *outcome, struct err *err)
{
	const char *id = json_text(admit->record, "grant");
	const char *origin = audit->receipts.logs[admit->log].origin;
	struct held_grant *grant = *id ? find(&audit->grants, id, origin, err) : NULL;
	int64_t time_ms = time_of(admit);
	if (!*id || !grant)
		return *id ? err->code : ERR_OK;
	if (grant->spec)
		ERR_TRY(check_request(grant, admit, time_ms, err));
	if (grant->count == grant->capacity) {
		size_t more = grant->capacity ? 2 * grant->capacity : 256;
		struct grant_request *grown = reallocarray(grant->requests, more, sizeof(*grown));
		if (!grown)
			return ERR_SET(err, ERR_NO_MEMORY, "out of memory for requests");
		grant->requests = grown;
		grant->capacity = more;
	}
	struct grant_request *request = &grant->requests[grant->count++];
	*request = (struct grant_request){.admitted_ms = time_ms, .ended_ms = time_ms};
	if (!outcome)
		return ERR_OK;
	if (time_of(outcome) > time_ms)
		request->ended_ms = time_of(outcome);
	add_usage(grant, request, json_object_get(outcome->record, "usage"));
	return ERR_OK;
}

/* ---- limits ---- */

static int by_time(const void *left, const void *right)
{
	const struct grant_request *a = left, *b = right;
	return (a->admitted_ms > b->admitted_ms) - (a->admitted_ms < b->admitted_ms);
}

static int by_number(const void *left, const void *right)
{
	int64_t a = *(const int64_t *)left, b = *(const int64_t *)right;
	return (a > b) - (a < b);
}

/* How many were under way together, at most. */
static enum err_code count_at_once(struct held_grant *grant, struct err *err)
{
	int64_t *ends = calloc(grant->count ? grant->count : 1, sizeof(*ends));
	size_t ended = 0;
	if (!ends)
		return ERR_SET(err, ERR_NO_MEMORY, "out of memory for requests");
	for (size_t i = 0; i < grant->count; i++)
		ends[i] = grant->requests[i].ended_ms;
	if (grant->count)
		qsort(ends, grant->count, sizeof(*ends), by_number);
	for (size_t i = 0; i < grant->count; i++) {
		while (ends[ended] < grant->requests[i].admitted_ms)
			ended++;
		if (i + 1 - ended > grant->at_once)
			grant->at_once = i + 1 - ended;
	}
	free(ends);
	return ERR_OK;
}

static int64_t limit_of(const struct held_grant *grant, const char *name)
{
	const json_t *limit = json_object_get(json_object_get(grant->spec, "limits"), name);
	return json_is_integer(limit) ? json_integer_value(limit) : LIMIT_NONE;
}

static enum err_code passed(const struct held_grant *grant, const char *limit, int64_t bound,
			    const char *when, struct err *err)
{
	return ERR_SET(err, ERR_MISMATCH, "the run used more than grant %.64s allows: %s %lld%s%s",
		       grant->id, limit, (long long)bound, *when ? ", on " : "", when);
}

enum use { USE_REQUESTS, USE_INPUT, USE_OUTPUT, USE_TOKENS };

static int64_t use_of(const struct grant_request *request, enum use use)
{
	const int64_t uses[] = {[USE_REQUESTS] = 1,
				[USE_INPUT] = request->input,
				[USE_OUTPUT] = request->output,
				[USE_TOKENS] = request->input + request->output};
	return uses[use];
}

/* What is used beyond a reservation is found out when it is: of each of the requests that are under
 * way by then. */
static int64_t overshoot(const struct held_grant *grant, enum use use)
{
	const int64_t largest[] = {[USE_REQUESTS] = 0,
				   [USE_INPUT] = grant->largest_input,
				   [USE_OUTPUT] = grant->largest_output,
				   [USE_TOKENS] = grant->largest_input + grant->largest_output};
	return largest[use] * (int64_t)grant->at_once;
}

/* In any t seconds at most limit * (1 + t / 60): a bucket that drains limit in a minute. */
static enum err_code check_rate(const struct held_grant *grant, const char *name, enum use use,
				struct err *err)
{
	int64_t limit = limit_of(grant, name), last = INT64_MIN;
	double level = 0;
	if (limit == LIMIT_NONE)
		return ERR_OK;
	double most = (double)limit * (1 + (double)SLACK_MS / MINUTE_MS) +
		      (double)overshoot(grant, use) + 1;
	for (size_t i = 0; i < grant->count; i++) {
		const struct grant_request *request = &grant->requests[i];
		if (last != INT64_MIN)
			level -= (double)limit * (double)(request->admitted_ms - last) / MINUTE_MS;
		level = (level > 0 ? level : 0) + (double)use_of(request, use);
		last = request->admitted_ms;
		if (level > most)
			return passed(grant, name, limit, "", err);
	}
	return ERR_OK;
}

/* Periods of so many days; weeks begin on Monday (1970-01-01 was a Thursday). */
static enum err_code check_budget(const struct held_grant *grant, const char *name, int64_t days,
				  int64_t shift, struct err *err)
{
	int64_t limit = limit_of(grant, name), period = INT64_MIN, used = 0;
	if (limit == LIMIT_NONE)
		return ERR_OK;
	for (size_t i = 0; i < grant->count; i++) {
		const struct grant_request *request = &grant->requests[i];
		int64_t now = (request->admitted_ms / WORLD_DAY_MS + shift) / days;
		char day[11];
		used = (now == period ? used : 0) + use_of(request, USE_TOKENS);
		period = now;
		if (used <= limit || used - limit <= overshoot(grant, USE_TOKENS))
			continue;
		world_format_day(request->admitted_ms, day);
		return passed(grant, name, limit, day, err);
	}
	return ERR_OK;
}

static enum err_code check_limits(struct held_grant *grant, struct err *err)
{
	if (grant->count)
		qsort(grant->requests, grant->count, sizeof(*grant->requests), by_time);
	ERR_TRY(count_at_once(grant, err));
	if (!grant->spec)
		return ERR_OK;
	ERR_TRY(check_rate(grant, "rpm", USE_REQUESTS, err));
	ERR_TRY(check_rate(grant, "input_tpm", USE_INPUT, err));
	ERR_TRY(check_rate(grant, "output_tpm", USE_OUTPUT, err));
	ERR_TRY(check_budget(grant, "tokens_per_day", 1, 0, err));
	return check_budget(grant, "tokens_per_week", 7, 3, err);
}

enum err_code grants_check(struct audit *audit, struct err *err)
{
	for (size_t i = 0; i < audit->grants.count; i++)
		ERR_TRY(check_limits(&audit->grants.items[i], err));
	return ERR_OK;
}
