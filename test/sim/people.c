/* Users, and the stand-in they hear in the end. */
#include "town.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

/* ---- users ---- */

static void user_pauses(struct user *user, uint64_t at_most_ns)
{
	struct town *town = user->town;
	uint64_t pause = 1 + prng_below(sim_workload(town->sim), at_most_ns);
	env_timer_arm(town->user_loop, &user->timer, town->user_loop->now_ns + pause);
}

/* What the user has got of an answer is all it gets. */
static void user_is_through(struct user *user)
{
	env_timer_disarm(user->town->user_loop, &user->leave);
	ask_release(&user->ask);
	user->asking = false;
	user_pauses(user, SECOND);
}

static void user_leaves(struct env_timer *timer)
{
	struct user *user = CONTAINER(timer, struct user, leave);
	http_call_cancel(&user->ask.call);
	user->town->left_early++;
	ask_check(&user->ask, false);
	user_is_through(user);
}

static void user_answered(struct ask *ask)
{
	struct user *user = CONTAINER(ask, struct user, ask);
	bool ended = ask->err.code == ERR_OK;
	ask_check(ask, ended);
	/* Until the faults stop anything may be asked in vain; afterwards it must be answered. */
	bool good = ended && (ask->status == 200 || ask->manner != PROPERLY);
	if (user->left > 0 && (good || sim_now(ask->town->sim) < FAULTS_END))
		user->left--;
	user_is_through(user);
}

/* Where output is tight, mostly what needs more than a slice of it: a stream that was let in by its
 * first slice is then ended for want of the next. */
static unsigned chosen(struct town *town, struct prng *draw)
{
	static const unsigned long_streams[] = {3, 6};
	if (town->tight && prng_below(draw, 4))
		return long_streams[prng_below(draw, 2)];
	return (unsigned)prng_below(draw, QUESTIONS);
}

static void user_acts(struct env_timer *timer)
{
	struct user *user = CONTAINER(timer, struct user, timer);
	struct town *town = user->town;
	struct prng *draw = sim_workload(town->sim);
	if (!town->key[0] || user->asking) {
		user_pauses(user, SECOND / 2);
		return;
	}
	if (user->left == 0 && sim_now(town->sim) > FAULTS_END)
		return;
	enum manner manner =
		prng_below(draw, 5)
			? PROPERLY
			: (enum manner)prng_below(draw, town->agreed ? MANNERS : PRODUCT_MANNERS);
	if (manner == WITH_A_REVOKED_KEY && !town->revoked_key[0])
		manner = PROPERLY;
	user->asking = true;
	ask_start(&user->ask, town, chosen(town, draw), manner, town->origin, user_answered);
	if (town->agreed && prng_below(draw, 5) == 0)
		env_timer_arm(town->user_loop, &user->leave,
			      town->user_loop->now_ns + 1 + prng_below(draw, 3 * SECOND));
}

/* ---- what the stand-in says ---- */

static void reference_over(struct ask *ask);

static void ask_reference(struct town *town)
{
	ask_start(&town->reference, town, town->known_texts, PROPERLY, town->honest_origin,
		  reference_over);
}

static void reference_over(struct ask *ask)
{
	struct town *town = ask->town;
	struct dialect_flow flow;
	if (ask->observing) {
		dialect_observer_end(&ask->observer, &flow);
		ask->usage = ask->observer.outcome.usage;
	} else {
		ask_read_plain(ask);
	}
	town->usages[town->known_texts] = ask->usage;
	buf_append_bytes(&town->texts[town->known_texts++], buf_bytes(&ask->text));
	ask_release(ask);
	if (town->known_texts < QUESTIONS)
		ask_reference(town);
}

static bool texts_are_known(void *argument)
{
	return ((struct town *)argument)->known_texts == QUESTIONS;
}

void town_upstream_start(struct town *town)
{
	struct prng *draw = sim_workload(town->sim);
	struct env_address address = sim_node_address(town->upstream_node, 9000);
	struct standin_options options = {
		.mode = STANDIN_GENERATOR, .seed = 7, .output_tokens = 2000, .key = NULL};
	town->upstream_loop = env_loop_new(town->upstream_node, "upstream", false);
	address.port = 9001;
	town->honest = standin_new(town->upstream_loop, &options);
	assert_int_equal(ERR_OK, standin_listen(town->honest, &address, NULL, NULL));
	options.first_token_ns = prng_below(draw, 3) * SECOND / 20;
	options.tokens_per_second = prng_below(draw, 2) ? 2000 : 0;
	options.error_rate = prng_below(draw, 2) ? 0.05 : 0;
	options.cut_rate = prng_below(draw, 2) ? 0.1 : 0;
	if (town->agreed) /* long enough for something to happen meanwhile */
		options.tokens_per_second = prng_below(draw, 2) ? 2000 : 200;
	options.key = "secret";
	address.port = 9000;
	town->standin = standin_new(town->upstream_loop, &options);
	assert_int_equal(ERR_OK, standin_listen(town->standin, &address, NULL, NULL));
	assert_int_equal(ERR_OK, env_loop_start(town->upstream_loop, -1, NULL));
}

void town_users_start(struct town *town)
{
	struct http_pool_options options = {.connections_max = 32,
					    .idle_max = 4,
					    .idle_timeout_ns = 5 * SECOND,
					    .connect_timeout_ns = 3 * SECOND};
	town->user_loop = env_loop_new(town->user_node, "users", false);
	town->pool = http_pool_new(town->user_loop, &options);
	assert_int_equal(ERR_OK, http_pool_origin(town->pool, BYTES("http://10.0.0.1:8080"),
						  &town->origin, NULL));
	assert_int_equal(ERR_OK, http_pool_origin(town->pool, BYTES("http://10.0.0.2:9001"),
						  &town->honest_origin, NULL));
	assert_int_equal(ERR_OK, env_loop_start(town->user_loop, -1, NULL));
	for (size_t i = 0; i < QUESTIONS; i++)
		buf_init(&town->texts[i], (size_t)1 << 20);
	ask_reference(town);
	assert_true(sim_run_until(town->sim, 20 * SECOND, texts_are_known, town));
	for (unsigned i = 0; i < USERS; i++) {
		town->users[i].town = town;
		town->users[i].left = ASKS;
		town->users[i].timer.fire = user_acts;
		town->users[i].leave.fire = user_leaves;
		user_pauses(&town->users[i], SECOND);
	}
}
