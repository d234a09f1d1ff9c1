/* The real gateway in a simulated world: a stand-in behind it, users in front of it, a network and
 * disks that fail as the seed says, and a gateway that is killed or loses power again and again.
 *
 * Safety, after every crash: an answer of which a user has seen a byte has its admit record, one of
 * which a user has seen the end has its settle record; what users got is what the stand-in said, or
 * the beginning of it; who must be refused is refused. Liveness: when the faults have stopped,
 * everybody is served; after quiet nothing is left in flight and every limit is full again.
 *
 * Under an agreement (an evaluation grant with a registered suite) keys are revoked while answers
 * are under way, users go away, and both sides read in small pieces: only leaves are admitted,
 * nobody is given more of an answer than had come when the revocation returned, each admission has
 * one outcome, and what is billed is what the stand-in counted, or a flagged estimate within it.
 * Each seed runs twice and must leave the same trace. And gateways that are wrong on
 * purpose must be caught: that is a proof of the test, and sanitizers add nothing to it. */
#include "seeds.h"
#include "town.h"

#include "base/sanitized.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define SEEDS (SANITIZED ? 8 : 40) /* each takes several times as long */
#define REPLAY (SANITIZED ? 4 : 1) /* of how many seeds one runs a second time */

/* ---- crashes ---- */

static void restart(void *argument)
{
	struct town *town = argument;
	struct err err = ERR_INIT;
	uint64_t began_ns = sim_now(town->sim);
	if (sim_is_down(town->gateway_node))
		sim_restart(town->gateway_node);
	enum err_code code = town_initialise(town, &err);
	if (code == ERR_OK)
		code = town_gateway_begin(town, true, &err);
	if (code == ERR_OK)
		oracle_check_log(town);
	else if (began_ns > FAULTS_END)
		town_violates(town, "the gateway does not start although nothing fails any more");
	if (code != ERR_OK) /* the disk fails: it is started again */
		sim_at(town->sim, sim_now(town->sim), town_gateway_exits, town);
}

static void crashed(void *argument)
{
	struct town *town = argument;
	struct prng *draw = sim_workload(town->sim);
	town->crashes++;
	town_gateway_end(town);
	sim_at(town->sim, sim_now(town->sim) + prng_below(draw, SECOND) + 1, restart, town);
}

static void crash(void *argument)
{
	struct town *town = argument;
	struct prng *draw = sim_workload(town->sim);
	enum sim_crash_kind kind = prng_below(draw, 4) ? SIM_POWER_LOST : SIM_KILLED;
	if (sim_is_down(town->gateway_node))
		return;
	if (prng_below(draw, 2))
		sim_crash(town->gateway_node, kind);
	else
		sim_crash_after(town->gateway_node, 1 + prng_below(draw, 40), kind);
}

static void calm(void *argument)
{
	struct town *town = argument;
	struct sim_faults none = sim_faults_none();
	sim_set_faults(town->sim, &none);
	sim_crash_after(town->gateway_node, 0, SIM_KILLED);
}

static void plan_crashes(struct town *town)
{
	struct prng *draw = sim_workload(town->sim);
	uint64_t count = prng_below(draw, 6);
	for (uint64_t i = 0; i < count; i++)
		sim_at(town->sim, 2 * SECOND + prng_below(draw, FAULTS_END / 2), crash, town);
	count = town->agreed ? 1 + prng_below(draw, 6) : 0;
	for (uint64_t i = 0; i < count; i++)
		sim_at(town->sim, 2 * SECOND + prng_below(draw, FAULTS_END), town_revoke, town);
	for (uint64_t i = 0; town->agreed && i < 60; i++)
		sim_at(town->sim, SECOND + prng_below(draw, 2 * FAULTS_END), agreement_keep_use,
		       town);
	sim_at(town->sim, FAULTS_END, calm, town);
}

/* ---- a whole run ---- */

static bool everybody_was_served(void *argument)
{
	struct town *town = argument;
	for (unsigned i = 0; i < USERS; i++)
		if (town->users[i].left > 0 || town->users[i].asking)
			return town->violation != NULL;
	return town->violation || sim_now(town->sim) > FAULTS_END;
}

static bool gateway_has_stopped(void *argument)
{
	return ((struct town *)argument)->stopped;
}

/* Everybody served, everything quiet, a stop in order or a last loss of power, and what is then in
 * the log. */
static void finish(struct town *town, uint64_t seed)
{
	struct err err = ERR_INIT;
	if (!sim_run_until(town->sim, SERVED_BY, everybody_was_served, town))
		town_violates(town, "users still wait long after the faults have stopped");
	if (town->violation)
		return;
	sim_run(town->sim, SERVED_BY + QUIET);
	if (town->violation || !town->gateway)
		return;
	oracle_check_quiet(town);
	if (town->agreed)
		agreement_check_use(town);
	uint64_t asked = standin_counts(town->standin).requests;
	sim_on_crash(town->gateway_node, NULL, NULL);
	if (seed % 2) {
		gateway_stop(town->gateway);
		if (!sim_run_until(town->sim, 2 * (SERVED_BY + QUIET), gateway_has_stopped, town))
			town_violates(town, "the gateway does not stop");
		town_gateway_end(town);
		struct sim_usage usage = sim_node_usage(town->gateway_node);
		if (usage.loops + usage.streams + usage.listeners + usage.files + usage.timers)
			town_violates(town, "a gateway that has stopped leaves something open");
	} else {
		sim_crash(town->gateway_node, SIM_POWER_LOST);
		town_gateway_end(town);
		sim_restart(town->gateway_node);
	}
	if (town_gateway_begin(town, false, &err) != ERR_OK) {
		town_violates(town, "the gateway cannot be opened again");
	} else {
		oracle_check_log(town);
		uint64_t admits = oracle_count_admits(town);
		if (town->agreed) {
			agreement_check_bills(town);
			agreement_check_use(town);
		}
		if (town->crashes == 0 && asked > admits)
			town_violates(town, "the stand-in was asked more than was admitted");
	}
}

static void town_free(struct town *town)
{
	sim_on_crash(town->gateway_node, NULL, NULL);
	if (!sim_is_down(town->gateway_node))
		sim_crash(town->gateway_node, SIM_KILLED);
	town_gateway_end(town);
	sim_crash(town->user_node, SIM_KILLED);
	for (unsigned i = 0; i < USERS; i++) {
		if (town->users[i].asking) {
			http_call_cancel(&town->users[i].ask.call);
			ask_release(&town->users[i].ask);
		}
		env_timer_disarm(town->user_loop, &town->users[i].timer);
		env_timer_disarm(town->user_loop, &town->users[i].leave);
	}
	http_pool_free(town->pool);
	env_loop_free(town->user_loop);
	sim_crash(town->upstream_node, SIM_KILLED);
	standin_free(town->standin);
	standin_free(town->honest);
	env_loop_free(town->upstream_loop);
	for (size_t i = 0; i < QUESTIONS; i++)
		buf_release(&town->texts[i]);
	sim_world_free(town->sim);
	free(town->suite);
}

struct outcome {
	uint64_t trace;
	const char *violation;
	unsigned crashes, answered, refused, revoked, left_early, estimated, kept_uses;
	unsigned endings[ENDINGS];
};

static enum err_code lie(struct env_file *file, struct err *err)
{
	(void)file;
	(void)err;
	return ERR_OK;
}

static enum err_code lie_about_names(struct env *env, const char *path, struct err *err)
{
	(void)env;
	(void)path;
	(void)err;
	return ERR_OK;
}

static void make_mistake(struct town *town)
{
	town->wrong_ops = *town->gateway_node->ops;
	if (town->mistake == SYNCS_NOTHING)
		town->wrong_ops.file_sync = lie;
	if (town->mistake == FORGETS_THE_DIRECTORY)
		town->wrong_ops.sync_directory = lie_about_names;
	town->gateway_node->ops = &town->wrong_ops;
}

/* Both sides of the gateway read slowly, in small pieces, in some worlds. */
static void slow_down(struct sim_faults *faults, uint64_t seed)
{
	if (seed % 4 == 1) {
		faults->one_byte = SIM_CERTAIN / 4;
		faults->cut = SIM_CERTAIN / 2;
	} else if (seed % 4 == 2) {
		faults->delay_max_ns = SECOND / 4;
		faults->stall = SIM_CERTAIN / 50;
		faults->stall_max_ns = 2 * SECOND;
		faults->window = 2048;
	}
}

static struct outcome simulate(uint64_t seed, enum mistake mistake, bool agreed)
{
	struct town *town = calloc(1, sizeof(*town));
	struct sim_faults none = sim_faults_none(), faults = sim_faults_draw(seed, seed % 3 == 0);
	assert_non_null(town);
	town->mistake = mistake;
	town->agreed = agreed;
	town->tight = agreed && seed % 3 == 1;
	agreement_plant(mistake);
	if (agreed) {
		agreement_suite(town);
		slow_down(&faults, seed);
	}
	town->sim = sim_world_new(seed, &none);
	town->gateway_node = sim_node_new(town->sim, "gateway");
	town->upstream_node = sim_node_new(town->sim, "upstream");
	town->user_node = sim_node_new(town->sim, "users");
	make_mistake(town);
	town_upstream_start(town);
	town_users_start(town);
	sim_on_crash(town->gateway_node, crashed, town);
	plan_crashes(town);
	restart(town);
	sim_set_faults(town->sim, &faults);
	finish(town, seed);
	struct outcome outcome = {sim_trace(town->sim), town->violation,
				  town->crashes,        town->answered,
				  town->refused,        town->keys_revoked,
				  town->left_early,     town->estimated,
				  town->kept_uses,      {0}};
	memcpy(outcome.endings, town->endings, sizeof(outcome.endings));
	town_free(town);
	free(town);
	return outcome;
}

static struct outcome simulate_quietly(uint64_t seed, enum mistake mistake, bool agreed)
{
	seeds_lose();
	struct outcome outcome = simulate(seed, mistake, agreed);
	seeds_lost();
	return outcome;
}

static struct outcome check_seed(uint64_t seed, bool agreed)
{
	struct outcome first = simulate_quietly(seed, NO_MISTAKE, agreed);
	if (first.violation)
		fail_msg("seed %llu: %s", (unsigned long long)seed, first.violation);
	if (seed % seeds_knob("PARLEY_SIM_REPLAY", REPLAY) != 0)
		return first;
	struct outcome second = simulate_quietly(seed, NO_MISTAKE, agreed);
	if (first.trace != second.trace)
		fail_msg("seed %llu does not replay", (unsigned long long)seed);
	return first;
}

/* An agreement leaves nothing out of what is there without one, which is searched less. */
static void check_seeds(bool agreed)
{
	struct outcome all = {0};
	uint64_t seeds = seeds_knob("PARLEY_SIM_SEEDS", agreed ? SEEDS : SEEDS / 4),
		 from = seeds_knob("PARLEY_SIM_FIRST", 1);
	for (uint64_t seed = from; seed < from + seeds; seed++) {
		struct outcome first = check_seed(seed, agreed);
		all.crashes += first.crashes;
		all.answered += first.answered;
		all.refused += first.refused;
		all.revoked += first.revoked;
		all.left_early += first.left_early;
		all.estimated += first.estimated;
		all.kept_uses += first.kept_uses;
		for (int i = 0; i < ENDINGS; i++)
			all.endings[i] += first.endings[i];
	}
	print_message("%u crashes, %u answers, %u refusals, %u keys revoked, %u left early\n",
		      all.crashes, all.answered, all.refused, all.revoked, all.left_early);
	for (int i = RECORD_ENDING_FINISH; agreed && i < ENDINGS; i++)
		print_message("%s %u%s", record_ending_text((enum record_ending)i), all.endings[i],
			      i + 1 < ENDINGS ? ", " : "");
	if (agreed)
		print_message("; estimated %u, use kept %u times\n", all.estimated, all.kept_uses);
	assert_true(all.crashes > seeds);
	assert_true(all.answered > 10 * seeds);
	assert_true(all.refused > seeds);
	if (agreed) {
		assert_true(all.revoked > seeds);
		assert_true(all.left_early > seeds);
		/* What this is about has happened. */
		assert_true(all.endings[RECORD_ENDING_CLIENT_GONE] > 0);
		assert_true(all.endings[RECORD_ENDING_UPSTREAM_RESET] > 0);
		assert_true(all.endings[RECORD_ENDING_REVOKED] > 0);
		assert_true(all.endings[RECORD_ENDING_LIMIT] > 0 || seeds < 40);
		assert_true(all.estimated > 0);
		assert_true(all.kept_uses > seeds);
	}
}

static void every_seed_is_safe_and_replays(void **state)
{
	(void)state;
	check_seeds(false);
}

static void every_seed_keeps_what_is_agreed(void **state)
{
	(void)state;
	check_seeds(true);
}

static void every_mistake_is_found(void **state)
{
	(void)state;
	if (SANITIZED)
		skip();
	for (enum mistake mistake = NO_MISTAKE + 1; mistake < MISTAKES; mistake++) {
		bool agreed = mistake >= IGNORES_A_REVOCATION;
		uint64_t seed = 1;
		struct outcome outcome = simulate_quietly(seed, mistake, agreed);
		while (!outcome.violation && seed < SEEDS)
			outcome = simulate_quietly(++seed, mistake, agreed);
		if (!outcome.violation)
			fail_msg("mistake %d was never found", (int)mistake);
		print_message("mistake %d: seed %llu: %s\n", (int)mistake, (unsigned long long)seed,
			      outcome.violation);
	}
}

/* One seed, from the command line: SEED [MISTAKE [agreed]]. */
static int replay(uint64_t seed, enum mistake mistake, bool agreed)
{
	struct outcome outcome = simulate_quietly(seed, mistake, agreed);
	printf("seed %llu: %s; trace %016llx, %u crashes, %u answers, %u refusals, %u keys "
	       "revoked, %u left early\n",
	       (unsigned long long)seed, outcome.violation ? outcome.violation : "good",
	       (unsigned long long)outcome.trace, outcome.crashes, outcome.answered,
	       outcome.refused, outcome.revoked, outcome.left_early);
	return outcome.violation != NULL;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_seed_is_safe_and_replays),
		cmocka_unit_test(every_seed_keeps_what_is_agreed),
		cmocka_unit_test(every_mistake_is_found),
	};
	if (argc > 1)
		return replay(strtoull(argv[1], NULL, 10),
			      argc > 2 ? (enum mistake)atoi(argv[2]) : NO_MISTAKE, argc > 3);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
