/* The real gateway on a disk that is slower than what it is asked for. While its log makes progress
 * nobody is refused: requests wait for room, in their order. When the log comes to a stop those who
 * wait are refused within a bound, before anything is asked upstream; when it goes on again,
 * everybody is served. Nothing is lost, and afterwards nothing is left waiting or in flight. */
#include "town.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define CLIENTS 18
#define HELD_MAX 8
#define MILLISECOND ((uint64_t)1000000)
/* room.c's bound on a log that does nothing, and what else may come to it. */
#define REFUSED_WITHIN (10 * SECOND + 500 * MILLISECOND)

struct harbour;

struct client {
	struct ask ask;
	struct harbour *harbour;
	unsigned left; /* to be asked */
	bool asking;
	uint64_t asked_ns;
};

struct harbour {
	struct town town;
	bool stopped; /* the log's disk does not answer: its jobs are held until it does */
	struct env_job *held[HELD_MAX];
	struct env_loop *held_loop;
	unsigned held_count;
	struct client clients[CLIENTS];
	struct env_timer timer; /* they begin */
	unsigned answered, unavailable, cut, other;
	uint64_t longest_refusal_ns;
};

static void ask_next(struct client *client);

static void answered(struct ask *ask)
{
	struct client *client = CONTAINER(ask, struct client, ask);
	struct harbour *harbour = client->harbour;
	struct town *town = &harbour->town;
	bool ended = ask->err.code == ERR_OK;
	uint64_t took_ns = sim_now(town->sim) - client->asked_ns;
	ask_check(ask, ended);
	if (ended && ask->status == 200) {
		harbour->answered++;
	} else if (ended && ask->status == 503) {
		harbour->unavailable++;
		if (took_ns > harbour->longest_refusal_ns)
			harbour->longest_refusal_ns = took_ns;
	} else if (!ended) {
		harbour->cut++;
	} else {
		harbour->other++;
	}
	ask_release(ask);
	client->asking = false;
	ask_next(client);
}

static void ask_next(struct client *client)
{
	struct town *town = &client->harbour->town;
	if (client->left == 0)
		return;
	client->left--;
	client->asking = true;
	client->asked_ns = sim_now(town->sim);
	/* Few words, at once or as a stream. */
	ask_start(&client->ask, town, client->left % 2 ? 0 : 2, PROPERLY, town->origin, answered);
}

static void begin(struct env_timer *timer)
{
	struct harbour *harbour = CONTAINER(timer, struct harbour, timer);
	for (unsigned i = 0; i < CLIENTS; i++)
		ask_next(&harbour->clients[i]);
}

static void ask_each(struct harbour *harbour, unsigned times)
{
	for (unsigned i = 0; i < CLIENTS; i++)
		harbour->clients[i].left = times;
	harbour->timer.fire = begin;
	env_timer_arm(harbour->town.user_loop, &harbour->timer, sim_now(harbour->town.sim));
}

static bool all_are_through(void *argument)
{
	const struct harbour *harbour = argument;
	for (unsigned i = 0; i < CLIENTS; i++)
		if (harbour->clients[i].asking || harbour->clients[i].left)
			return false;
	return true;
}

static bool key_is_there(void *argument)
{
	return ((struct harbour *)argument)->town.key[0] != '\0';
}

static void set_disk(struct harbour *harbour, uint64_t min_ns, uint64_t max_ns)
{
	struct sim_faults faults = sim_faults_none();
	faults.disk_min_ns = min_ns;
	faults.disk_max_ns = max_ns;
	sim_set_faults(harbour->town.sim, &faults);
}

static void start_or_hold(struct env_loop *loop, struct env_job *job)
{
	struct town *town = CONTAINER(loop->env->ops, struct town, wrong_ops);
	struct harbour *harbour = CONTAINER(town, struct harbour, town);
	if (!harbour->stopped || strcmp(loop->name, "log") != 0) {
		town->right_ops->job_start(loop, job);
		return;
	}
	assert_true(harbour->held_count < HELD_MAX);
	harbour->held_loop = loop;
	harbour->held[harbour->held_count++] = job;
}

static void disk_stops(struct harbour *harbour)
{
	harbour->stopped = true;
}

static void disk_goes_on(struct harbour *harbour)
{
	harbour->stopped = false;
	while (harbour->held_count > 0)
		harbour->town.right_ops->job_start(harbour->held_loop,
						   harbour->held[--harbour->held_count]);
}

static void upstream_start(struct town *town)
{
	struct env_address address = sim_node_address(town->upstream_node, 9000);
	struct standin_options options = {
		.mode = STANDIN_GENERATOR, .seed = 7, .output_tokens = 2000, .key = "secret"};
	town->upstream_loop = env_loop_new(town->upstream_node, "upstream", false);
	town->standin = standin_new(town->upstream_loop, &options);
	assert_int_equal(ERR_OK, standin_listen(town->standin, &address, NULL, NULL));
	options.key = NULL;
	address.port = 9001;
	town->honest = standin_new(town->upstream_loop, &options);
	assert_int_equal(ERR_OK, standin_listen(town->honest, &address, NULL, NULL));
	assert_int_equal(ERR_OK, env_loop_start(town->upstream_loop, -1, NULL));
}

static void gateway_begin(struct harbour *harbour)
{
	struct town *town = &harbour->town;
	struct err err = ERR_INIT;
	assert_int_equal(ERR_OK, town_initialise(town, &err));
	assert_int_equal(ERR_OK, town_gateway_begin(town, true, &err));
	assert_true(
		sim_run_until(town->sim, sim_now(town->sim) + 20 * SECOND, key_is_there, harbour));
	sim_run(town->sim, sim_now(town->sim) + 3 * SECOND); /* what the acts leave to be done */
}

static struct harbour *harbour_new(bool relaxed, uint64_t segment_size)
{
	struct harbour *harbour = calloc(1, sizeof(*harbour));
	struct sim_faults none = sim_faults_none();
	assert_non_null(harbour);
	struct town *town = &harbour->town;
	town->relaxed = relaxed;
	town->segment_size = segment_size;
	town->sim = sim_world_new(11, &none);
	town->gateway_node = sim_node_new(town->sim, "gateway");
	town->right_ops = town->gateway_node->ops;
	town->wrong_ops = *town->right_ops;
	town->wrong_ops.job_start = start_or_hold;
	town->gateway_node->ops = &town->wrong_ops;
	town->upstream_node = sim_node_new(town->sim, "upstream");
	town->user_node = sim_node_new(town->sim, "users");
	upstream_start(town);
	town_users_start(town);
	for (unsigned i = 0; i < USERS; i++) /* ours ask instead */
		env_timer_disarm(town->user_loop, &town->users[i].timer);
	for (unsigned i = 0; i < CLIENTS; i++)
		harbour->clients[i].harbour = harbour;
	gateway_begin(harbour);
	return harbour;
}

static int64_t metric(const struct harbour *harbour, size_t offset)
{
	int64_t sum = 0;
	for (unsigned i = 0; gateway_worker(harbour->town.gateway, i); i++)
		sum += *(_Atomic int64_t *)((char *)&gateway_worker(harbour->town.gateway, i)
						    ->metrics +
					    offset);
	return sum;
}

#define METRIC(harbour, member) metric(harbour, offsetof(struct metrics, member))

static bool gateway_has_stopped(void *argument)
{
	return ((struct harbour *)argument)->town.stopped;
}

/* Quiet, a stop in order, and what is then in the log. */
static void harbour_close(struct harbour *harbour)
{
	struct town *town = &harbour->town;
	struct err err = ERR_INIT;
	sim_run(town->sim, sim_now(town->sim) + 70 * SECOND);
	oracle_check_quiet(town);
	assert_int_equal(METRIC(harbour, log_waiting), 0);
	uint64_t asked = standin_counts(town->standin).requests;
	gateway_stop(town->gateway);
	assert_true(sim_run_until(town->sim, sim_now(town->sim) + 100 * SECOND, gateway_has_stopped,
				  harbour));
	town_gateway_end(town);
	assert_int_equal(ERR_OK, town_gateway_begin(town, false, &err));
	oracle_check_log(town);
	uint64_t admits = oracle_count_admits(town);
	if (town->violation)
		fail_msg("%s", town->violation);
	assert_int_equal(admits, asked); /* who was refused cost nothing */
	town_gateway_end(town);
	sim_crash(town->user_node, SIM_KILLED);
	http_pool_free(town->pool);
	env_loop_free(town->user_loop);
	sim_crash(town->upstream_node, SIM_KILLED);
	standin_free(town->standin);
	standin_free(town->honest);
	env_loop_free(town->upstream_loop);
	for (size_t i = 0; i < QUESTIONS; i++)
		buf_release(&town->texts[i]);
	sim_world_free(town->sim);
	free(harbour);
}

static void run_clients(struct harbour *harbour, unsigned times, uint64_t within_ns)
{
	struct sim_world *sim = harbour->town.sim;
	ask_each(harbour, times);
	assert_true(sim_run_until(sim, sim_now(sim) + 1, all_are_through, harbour) ||
		    sim_run_until(sim, sim_now(sim) + within_ns, all_are_through, harbour));
}

/* Room for three requests or four. */
#define SMALL LOG_SEGMENT_SIZE_MIN

static void check_slow(bool relaxed)
{
	struct harbour *harbour = harbour_new(relaxed, SMALL);
	set_disk(harbour, 100 * MILLISECOND, 300 * MILLISECOND);
	run_clients(harbour, 6, 500 * SECOND);
	print_message("%u answered, of which %d had to wait for room\n", harbour->answered,
		      (int)METRIC(harbour, log_waits));
	assert_int_equal(harbour->answered, 6 * CLIENTS);
	assert_int_equal(harbour->unavailable + harbour->cut + harbour->other, 0);
	assert_true(METRIC(harbour, log_waits) > 2 * CLIENTS);
	set_disk(harbour, 0, 0);
	harbour_close(harbour);
}

static void nobody_is_refused_while_a_relaxed_log_makes_progress(void **state)
{
	(void)state;
	check_slow(true);
}

static void nobody_is_refused_while_a_strict_log_makes_progress(void **state)
{
	(void)state;
	check_slow(false);
}

/* What a relaxed log has not written yet is bounded, too: here long before its room is used up. */
static void records_on_their_way_are_bounded(void **state)
{
	(void)state;
	struct harbour *harbour = harbour_new(true, 0);
	struct gate_worker *worker = gateway_worker(harbour->town.gateway, 0);
	worker->lent_max = 8;
	disk_stops(harbour);
	ask_each(harbour, 4);
	sim_run(harbour->town.sim, sim_now(harbour->town.sim) + 5 * SECOND);
	print_message("%u answered, %u records lent\n", harbour->answered, worker->lent_count);
	assert_true(worker->lent_count >= 8 && worker->lent_count <= 8 + 2 * CLIENTS);
	assert_true(harbour->answered >= 4 && harbour->answered <= CLIENTS);
	assert_true(METRIC(harbour, log_waiting) > 0);
	disk_goes_on(harbour);
	assert_true(sim_run_until(harbour->town.sim, sim_now(harbour->town.sim) + 60 * SECOND,
				  all_are_through, harbour));
	assert_int_equal(harbour->answered, 4 * CLIENTS);
	harbour_close(harbour);
}

/* A client that leaves the queue leaves nothing in it. */
static void one_leaves(void *argument)
{
	struct harbour *harbour = argument;
	struct client *client = &harbour->clients[0];
	int64_t waiting = METRIC(harbour, log_waiting);
	while (client < harbour->clients + CLIENTS && (!client->asking || client->ask.status))
		client++;
	assert_true(client < harbour->clients + CLIENTS && waiting > 1);
	http_call_cancel(&client->ask.call);
	ask_release(&client->ask);
	client->asking = false;
	harbour->cut += 1 + client->left; /* nor does it ask again */
	client->left = 0;
}

static void check_stuck(bool relaxed)
{
	struct harbour *harbour = harbour_new(relaxed, SMALL);
	struct town *town = &harbour->town;
	uint64_t before = standin_counts(town->standin).requests;
	disk_stops(harbour);
	sim_at(town->sim, sim_now(town->sim) + 3 * SECOND, one_leaves, harbour);
	run_clients(harbour, 3, 100 * SECOND);
	print_message("%u answered, %u refused after at most %d ms, %u cut\n", harbour->answered,
		      harbour->unavailable, (int)(harbour->longest_refusal_ns / MILLISECOND),
		      harbour->cut);
	assert_int_equal(harbour->other, 0);
	assert_int_equal(harbour->answered + harbour->unavailable + harbour->cut, 3 * CLIENTS);
	assert_true(harbour->unavailable >= CLIENTS);
	assert_true(harbour->longest_refusal_ns > SECOND); /* it was waited for */
	assert_true(harbour->longest_refusal_ns <= REFUSED_WITHIN);
	assert_true(standin_counts(town->standin).requests - before <=
		    harbour->answered + harbour->cut);
	assert_int_equal(METRIC(harbour, log_waiting), 0);
	/* It goes on again. */
	disk_goes_on(harbour);
	sim_run(town->sim, sim_now(town->sim) + 30 * SECOND);
	harbour->answered = harbour->unavailable = harbour->cut = 0;
	run_clients(harbour, 2, 60 * SECOND);
	assert_int_equal(harbour->answered, 2 * CLIENTS);
	harbour_close(harbour);
}

static void a_relaxed_log_that_stops_refuses_within_a_bound(void **state)
{
	(void)state;
	check_stuck(true);
}

static void a_strict_log_that_stops_refuses_within_a_bound(void **state)
{
	(void)state;
	check_stuck(false);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nobody_is_refused_while_a_relaxed_log_makes_progress),
		cmocka_unit_test(nobody_is_refused_while_a_strict_log_makes_progress),
		cmocka_unit_test(records_on_their_way_are_bounded),
		cmocka_unit_test(a_relaxed_log_that_stops_refuses_within_a_bound),
		cmocka_unit_test(a_strict_log_that_stops_refuses_within_a_bound),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
