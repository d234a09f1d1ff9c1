/* Timers, messages, jobs, signals. */
#include "contract.h"

#include <signal.h>

/* ---- timers ---- */

struct numbered_timer {
	struct env_timer timer;
	int number;
	struct clockwork *owner;
};

struct clockwork {
	struct env_loop *loop;
	struct numbered_timer timers[5];
	uint64_t due[5];
	int fired[8];
	int count;
};

static void tick(struct env_timer *timer)
{
	struct numbered_timer *numbered = CONTAINER(timer, struct numbered_timer, timer);
	struct clockwork *work = numbered->owner;
	int number = numbered->number;
	assert_true(work->loop->now_ns >= work->due[number]);
	work->fired[work->count++] = number;
	if (number == 4)
		env_loop_stop(work->loop);
}

static void clockwork_init(struct clockwork *work, struct env_loop *loop)
{
	*work = (struct clockwork){.loop = loop};
	for (int i = 0; i < 5; i++) {
		work->timers[i].timer.fire = tick;
		work->timers[i].number = i;
		work->timers[i].owner = work;
	}
}

static void arm(struct clockwork *work, int number, uint64_t at_ns)
{
	work->due[number] = at_ns;
	assert_true(env_timer_arm(work->loop, &work->timers[number].timer, at_ns));
}

static void timers_fire_in_order_of_time(void **state)
{
	struct contract *contract = *state;
	struct env_loop *loop = env_loop_new(contract->env, "loop", false);
	struct clockwork work;
	clockwork_init(&work, loop);
	uint64_t now = env_clock_ns(contract->env);
	arm(&work, 4, now + 9 * MILLISECOND);
	arm(&work, 0, now + 6 * MILLISECOND);
	arm(&work, 1, now + 3 * MILLISECOND);
	arm(&work, 2, now + 1 * MILLISECOND);
	arm(&work, 3, now + 2 * MILLISECOND);
	env_timer_disarm(loop, &work.timers[3].timer);
	arm(&work, 1, now + 7 * MILLISECOND); /* moved behind 0 */
	contract_run(contract, loop);
	assert_int_equal(4, work.count);
	assert_int_equal(2, work.fired[0]);
	assert_int_equal(0, work.fired[1]);
	assert_int_equal(1, work.fired[2]);
	assert_int_equal(4, work.fired[3]);
	env_loop_free(loop);
}

static void timers_of_one_time_fire_in_the_order_armed(void **state)
{
	struct contract *contract = *state;
	struct env_loop *loop = env_loop_new(contract->env, "loop", false);
	struct clockwork work;
	clockwork_init(&work, loop);
	uint64_t at = env_clock_ns(contract->env) + 2 * MILLISECOND;
	static const int order[] = {3, 1, 0, 2, 4};
	for (size_t i = 0; i < COUNT(order); i++)
		arm(&work, order[i], at);
	contract_run(contract, loop);
	assert_memory_equal(order, work.fired, sizeof(order));
	env_loop_free(loop);
}

static void a_timer_in_the_past_fires_and_disarming_twice_is_nothing(void **state)
{
	struct contract *contract = *state;
	struct env_loop *loop = env_loop_new(contract->env, "loop", false);
	struct clockwork work;
	clockwork_init(&work, loop);
	env_timer_disarm(loop, &work.timers[0].timer);
	arm(&work, 0, env_clock_ns(contract->env) + MILLISECOND);
	env_timer_disarm(loop, &work.timers[0].timer);
	env_timer_disarm(loop, &work.timers[0].timer);
	arm(&work, 4, 0);
	contract_run(contract, loop);
	assert_int_equal(1, work.count);
	assert_int_equal(4, work.fired[0]);
	env_loop_free(loop);
}

/* ---- messages ---- */

#define MESSAGES 500

struct numbered {
	struct env_message message;
	struct receiver *receiver;
	int sender, number;
};

struct receiver {
	struct env_loop *loop;
	int next[2]; /* expected of each sender */
	bool inside;
};

struct sender {
	struct env_message begin;
	struct env_loop *loop;
	struct receiver *receiver;
	struct numbered messages[MESSAGES];
};

static void take(struct env_message *message)
{
	struct numbered *numbered = (struct numbered *)message;
	struct receiver *receiver = numbered->receiver;
	assert_false(receiver->inside);
	receiver->inside = true;
	assert_int_equal(receiver->next[numbered->sender], numbered->number);
	receiver->next[numbered->sender]++;
	if (receiver->next[0] == MESSAGES && receiver->next[1] == MESSAGES)
		env_loop_stop(receiver->loop);
	receiver->inside = false;
}

static void send_all(struct env_message *message)
{
	struct sender *sender = (struct sender *)message;
	for (int i = 0; i < MESSAGES; i++)
		env_post(sender->receiver->loop, &sender->messages[i].message);
}

static void sender_init(struct sender *sender, struct env_loop *loop, struct receiver *receiver,
			int number)
{
	*sender = (struct sender){.begin.run = send_all, .loop = loop, .receiver = receiver};
	for (int i = 0; i < MESSAGES; i++)
		sender->messages[i] = (struct numbered){
			.message.run = take, .receiver = receiver, .sender = number, .number = i};
}

static void messages_of_one_sender_keep_their_order(void **state)
{
	static struct sender senders[2];
	struct contract *contract = *state;
	struct err err = ERR_INIT;
	struct env_loop *loop = env_loop_new(contract->env, "receiver", false);
	struct env_loop *others[2];
	struct receiver receiver = {.loop = loop};
	for (int i = 0; i < 2; i++) {
		others[i] = env_loop_new(contract->env, "sender", false);
		sender_init(&senders[i], others[i], &receiver, i);
		assert_int_equal(ERR_OK, env_loop_start(others[i], -1, &err));
		env_post(others[i], &senders[i].begin);
	}
	contract_run(contract, loop);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(MESSAGES, receiver.next[i]);
		env_loop_stop(others[i]);
		env_loop_join(others[i]);
		env_loop_free(others[i]);
	}
	env_loop_free(loop);
}

struct echo {
	struct env_message message;
	struct env_loop *loop;
	int left;
	bool inside;
};

static void post_again(struct env_message *message)
{
	struct echo *echo = (struct echo *)message;
	assert_false(echo->inside);
	echo->inside = true;
	if (--echo->left > 0)
		env_post(echo->loop, &echo->message);
	else
		env_loop_stop(echo->loop);
	echo->inside = false;
}

static void a_message_may_post_itself_and_is_not_called_inside(void **state)
{
	struct contract *contract = *state;
	struct env_loop *loop = env_loop_new(contract->env, "loop", false);
	struct echo echo = {.message.run = post_again, .loop = loop, .left = 100};
	env_post(loop, &echo.message);
	contract_run(contract, loop);
	assert_int_equal(0, echo.left);
	env_loop_free(loop);
}

/* ---- idle ---- */

struct sleeper {
	struct env_loop *loop;
	struct env_timer timer;
	struct env_message message;
	int idle_calls, messages;
};

static void sleeper_idles(void *argument)
{
	struct sleeper *sleeper = argument;
	if (++sleeper->idle_calls == 1)
		env_post(sleeper->loop, &sleeper->message);
}

static void sleeper_hears(struct env_message *message)
{
	struct sleeper *sleeper = CONTAINER(message, struct sleeper, message);
	sleeper->messages++;
	sleeper->loop->idle_wanted = true;
}

static void sleeper_wakes(struct env_timer *timer)
{
	struct sleeper *sleeper = CONTAINER(timer, struct sleeper, timer);
	/* Again after the message it posted, and not where nobody wanted it. */
	assert_int_equal(2, sleeper->idle_calls);
	env_loop_stop(sleeper->loop);
}

static void idle_is_called_before_sleeping_where_wanted_and_may_post(void **state)
{
	struct contract *contract = *state;
	struct env_loop *loop = env_loop_new(contract->env, "loop", false);
	struct sleeper sleeper = {
		.loop = loop, .timer.fire = sleeper_wakes, .message.run = sleeper_hears};
	loop->idle = sleeper_idles;
	loop->idle_argument = &sleeper;
	loop->idle_wanted = true;
	assert_true(env_timer_arm(loop, &sleeper.timer,
				  env_clock_ns(contract->env) + 500 * MILLISECOND));
	contract_run(contract, loop);
	assert_int_equal(1, sleeper.messages);
	env_loop_free(loop);
}

/* A loop that never has nothing to do, and what waits all the same. */
struct restless {
	struct env_message message;
	struct env_loop *loop;
	uint64_t until_ns;
	bool idled;
};

static void restless_idles(void *argument)
{
	struct restless *restless = argument;
	restless->idled = true;
	env_loop_stop(restless->loop);
}

static void restless_hears(struct env_message *message)
{
	struct restless *restless = CONTAINER(message, struct restless, message);
	if (env_clock_ns(restless->loop->env) < restless->until_ns)
		env_post(restless->loop, &restless->message);
	else
		env_loop_stop(restless->loop);
}

static void idle_is_called_although_something_is_always_ready(void **state)
{
	struct contract *contract = *state;
	struct env_loop *loop = env_loop_new(contract->env, "loop", false);
	struct restless restless = {.message.run = restless_hears,
				    .loop = loop,
				    .until_ns = env_clock_ns(contract->env) + 5000 * MILLISECOND};
	loop->idle = restless_idles;
	loop->idle_argument = &restless;
	loop->idle_wanted = true;
	env_post(loop, &restless.message);
	contract_run(contract, loop);
	assert_true(restless.idled);
	env_loop_free(loop);
}

/* ---- jobs ---- */

#define JOBS 20

struct work {
	struct env_loop *loop;
	struct env_timer start;
	struct task {
		struct env_job job;
		struct work *work;
		int runs;
		bool done;
	} tasks[JOBS];
	int done;
	bool starting;
};

static void task_runs(struct env_job *job)
{
	CONTAINER(job, struct task, job)->runs++;
}

static void task_done(struct env_job *job)
{
	struct task *task = CONTAINER(job, struct task, job);
	assert_false(task->work->starting);
	assert_int_equal(1, task->runs);
	assert_false(task->done);
	task->done = true;
	if (++task->work->done == JOBS)
		env_loop_stop(task->work->loop);
}

static void start_tasks(struct env_timer *timer)
{
	struct work *work = CONTAINER(timer, struct work, start);
	work->starting = true;
	for (int i = 0; i < JOBS; i++) {
		work->tasks[i] = (struct task){
			.job = {.run = task_runs, .done = task_done},
                          .work = work
                };
		env_job_start(work->loop, &work->tasks[i].job);
	}
	work->starting = false;
}

static void run_jobs(struct contract *contract, bool may_block)
{
	struct env_loop *loop = env_loop_new(contract->env, "loop", may_block);
	struct work work = {.loop = loop, .start.fire = start_tasks};
	assert_true(env_timer_arm(loop, &work.start, 0));
	contract_run(contract, loop);
	assert_int_equal(JOBS, work.done);
	env_loop_free(loop);
}

static void every_job_runs_once_and_then_is_done(void **state)
{
	run_jobs(*state, false);
}

static void jobs_run_on_a_loop_that_may_block(void **state)
{
	run_jobs(*state, true);
}

/* ---- the rest ---- */

struct signalled {
	struct env_loop *loop;
	int number;
	struct env_timer timer;
	struct contract *contract;
};

static void on_signal(void *argument, int signal_number)
{
	struct signalled *signalled = argument;
	signalled->number = signal_number;
	env_loop_stop(signalled->loop);
}

static void raise_it(struct env_timer *timer)
{
	contract_raise(CONTAINER(timer, struct signalled, timer)->contract, SIGUSR1);
}

static void a_signal_reaches_its_handler_on_the_loop(void **state)
{
	struct contract *contract = *state;
	struct err err = ERR_INIT;
	struct env_loop *loop = env_loop_new(contract->env, "loop", false);
	struct signalled signalled = {.loop = loop, .timer.fire = raise_it, .contract = contract};
	assert_int_equal(ERR_OK, env_on_signal(loop, SIGUSR1, on_signal, &signalled, &err));
	assert_true(env_timer_arm(loop, &signalled.timer, 0));
	contract_run(contract, loop);
	assert_int_equal(SIGUSR1, signalled.number);
	env_loop_free(loop);
}

static void a_loop_can_be_stopped_before_it_runs(void **state)
{
	struct contract *contract = *state;
	struct env_loop *loop = env_loop_new(contract->env, "loop", false);
	env_loop_stop(loop);
	contract_run(contract, loop);
	env_loop_free(loop);
}

static void clocks_go_on_and_random_bytes_differ(void **state)
{
	struct contract *contract = *state;
	uint8_t first[16] = {0}, second[16] = {0};
	uint64_t before = env_clock_ns(contract->env);
	assert_true(env_clock_ns(contract->env) >= before);
	assert_true(env_wall_ms(contract->env) > 1700000000000);
	env_random(contract->env, first, sizeof(first));
	env_random(contract->env, second, sizeof(second));
	assert_memory_not_equal(first, second, sizeof(first));
	env_random(contract->env, second, 3);
	assert_memory_not_equal(first, second, sizeof(first));
}

const struct CMUnitTest contract_loop_tests[] = {
	cmocka_unit_test(timers_fire_in_order_of_time),
	cmocka_unit_test(timers_of_one_time_fire_in_the_order_armed),
	cmocka_unit_test(a_timer_in_the_past_fires_and_disarming_twice_is_nothing),
	cmocka_unit_test(messages_of_one_sender_keep_their_order),
	cmocka_unit_test(a_message_may_post_itself_and_is_not_called_inside),
	cmocka_unit_test(idle_is_called_before_sleeping_where_wanted_and_may_post),
	cmocka_unit_test(idle_is_called_although_something_is_always_ready),
	cmocka_unit_test(every_job_runs_once_and_then_is_done),
	cmocka_unit_test(jobs_run_on_a_loop_that_may_block),
	cmocka_unit_test(a_signal_reaches_its_handler_on_the_loop),
	cmocka_unit_test(a_loop_can_be_stopped_before_it_runs),
	cmocka_unit_test(clocks_go_on_and_random_bytes_differ),
};
const size_t contract_loop_count = COUNT(contract_loop_tests);
