/* What must hold of the log and of the counters, whatever has happened. */
#include "town.h"

#include <stdio.h>
#include <stdlib.h>

/* A disk that would not say is asked another time. */
static bool is_lost(enum err_code code)
{
	return code == ERR_NOT_FOUND || code == ERR_CORRUPT;
}

/* False if the record is lost, or is not of this kind or does not name the id. */
static bool has_kind(struct log *log, uint64_t index, const char *kind, struct bytes id)
{
	struct buf text = BUF_INIT(RECORD_SIZE_MAX);
	char wanted[64];
	snprintf(wanted, sizeof(wanted), "\"kind\":\"%s\"", kind);
	enum err_code code = log_read_entry(log, index, &text, NULL);
	bool has = !is_lost(code);
	if (code == ERR_OK)
		has = memmem(text.data, text.size, wanted, strlen(wanted)) &&
		      (!id.size || memmem(text.data, text.size, id.data, id.size));
	buf_release(&text);
	return has;
}

static bool has_settle(struct log *log, uint64_t admit, struct bytes id)
{
	uint64_t settle;
	enum err_code code = log_find_settle(log, admit, &settle, NULL);
	return code == ERR_OK ? has_kind(log, settle, "settle", id) : !is_lost(code);
}

static void check_kept(struct town *town, const struct kept *kept)
{
	struct log *log =
		gateway_log(town->gateway, town->agreed ? CONTROL_EVALUATION : CONTROL_USAGE);
	struct bytes id = bytes_of(kept->id, RECORD_ID_SIZE);
	uint64_t index;
	if (!record_id_index(id, &index))
		town_violates(town, "an answer names no record");
	else if (!has_kind(log, index, "admit", id))
		town_violates(town, "an answer was begun whose admit record is not in the log");
	else if (kept->settled && !has_settle(log, index, id))
		town_violates(town, "an answer was ended whose settle record is not in the log");
}

void oracle_check_log(struct town *town)
{
	for (size_t i = 0; i < town->kept_count; i++)
		check_kept(town, &town->kept[i]);
}

/* Every admit record has one outcome. */
uint64_t oracle_count_admits(struct town *town)
{
	struct log *log =
		gateway_log(town->gateway, town->agreed ? CONTROL_EVALUATION : CONTROL_USAGE);
	struct log_stats stats;
	uint64_t count = 0, settle;
	log_get_stats(log, &stats);
	for (uint64_t i = 0; i < stats.records; i++) {
		if (!has_kind(log, i, "admit", BYTES("")))
			continue;
		count++;
		if (log_find_settle(log, i, &settle, NULL) != ERR_OK)
			town_violates(town, "an admit record has no outcome");
	}
	return count;
}

static void check_limits(struct town *town)
{
	struct limits_clock clock = {env_clock_ns(town->gateway_node),
				     env_wall_ms(town->gateway_node)};
	struct world *world = control_world(gateway_control(town->gateway));
	const struct world_grant *grant = world_find_grant(world, BYTES("p"));
	struct limits_scope scope = {grant->cells, &grant->limits, "grant"};
	for (int limit = 0; limit < LIMIT_COUNT; limit++) {
		struct limits_state state = limits_peek(&scope, &clock, (enum limit)limit);
		bool is_budget = limit >= LIMIT_TOKENS_PER_DAY;
		if (!is_budget && state.max != LIMIT_NONE && state.remaining != state.max)
			town_violates(town, "a limit is not full long after all is quiet");
	}
	if (grant->cells->in_flight || grant->cells->traffic.live)
		town_violates(town, "a slot is taken long after all is quiet");
	world_drop(world);
}

void oracle_check_quiet(struct town *town)
{
	for (unsigned i = 0; gateway_worker(town->gateway, i); i++) {
		struct gate_worker *worker = gateway_worker(town->gateway, i);
		if (worker->live_count || worker->own_calls || worker->metrics.in_flight ||
		    worker->metrics.streams)
			town_violates(town, "something is in flight long after all is quiet");
	}
	check_limits(town);
}
