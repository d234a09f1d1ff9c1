/* The real gateway and a real witness of its log in a simulated world: a network that delays, cuts
 * and breaks, a witness that is away, killed or without power, that forgets what it cosigned, or
 * that signs wrongly, and a gateway that is killed or loses power as well. An operator's acts make
 * the log grow.
 *
 * Safety, whatever happens: what readers are given as checkpoint is signed by the log, has the root
 * of the log's own records, and bears no cosignature that is wrong; a cosigned one does not shrink
 * while the gateway runs; and the witness, which keeps what it saw through the gateway's crashes,
 * is never shown a fork. Liveness: when the faults have stopped the newest checkpoint is cosigned.
 * Each seed runs twice and must leave the same trace; and gateways that are wrong on purpose
 * must be caught: that is a proof of the test, and sanitizers add nothing to it. */
#include "seeds.h"
#include "town.h"

#include "ledger/add_checkpoint.h"
#include "ledger/cosignature.h"
#include "witness/witness.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/sanitized.h"

#define SEEDS (SANITIZED ? 6 : 30)
#define REPLAY (SANITIZED ? 3 : 1) /* of how many seeds one runs a second time */
#define ACTS 40
#define LOOKS 160
#define WITNESS_STATE "/state"
#define LIVE_BY (FAULTS_END + 200 * SECOND)

enum wrong {
	NOTHING_WRONG,
	TRUSTS_ANY_ANSWER,  /* puts on the checkpoint what the witness said, unseen */
	SIGNS_ANOTHER_TREE, /* at some sizes */
	WRONGS,
};
static const char forked[] = "the witness was shown a fork";
static const char badly_cosigned[] = "readers were given a cosignature that is wrong";
static const char *const found_by[WRONGS] = {
	[TRUSTS_ANY_ANSWER] = badly_cosigned, [SIGNS_ANOTHER_TREE] = forked};

struct lab {
	struct town town;
	struct note_key log_key;
	/* The witness */
	struct env *witness_node;
	struct env_loop *witness_loop;
	struct witness *witness;
	struct witness_config config;
	char log_text[1024];
	bool following, forgets, lies;
	/* What came of it */
	uint64_t
		given; /* the largest cosigned checkpoint that readers were given since the start */
	unsigned cosigned, refused, lied, forgotten, witness_crashes, looks;
};

/* One world at a time. */
static struct lab *lab;
static enum wrong planted;

/* ---- what is wrong on purpose; the linker gives the calls to these (--wrap) ---- */

enum err_code __real_cosignature_sign(struct bytes body, const struct note_key *key,
				      const struct ed25519_private *private_key, uint64_t time_s,
				      struct buf *out, struct err *err);
enum err_code __wrap_cosignature_sign(struct bytes body, const struct note_key *key,
				      const struct ed25519_private *private_key, uint64_t time_s,
				      struct buf *out, struct err *err);
enum err_code __real_add_checkpoint_take(struct bytes body, struct bytes answer,
					 const struct note_key *witness, struct buf *out,
					 struct err *err);
enum err_code __wrap_add_checkpoint_take(struct bytes body, struct bytes answer,
					 const struct note_key *witness, struct buf *out,
					 struct err *err);
enum err_code __real_checkpoint_sign(const struct checkpoint *checkpoint,
				     const struct note_key *key,
				     const struct ed25519_private *private_key, struct buf *out,
				     struct err *err);
enum err_code __wrap_checkpoint_sign(const struct checkpoint *checkpoint,
				     const struct note_key *key,
				     const struct ed25519_private *private_key, struct buf *out,
				     struct err *err);

enum err_code __wrap_checkpoint_sign(const struct checkpoint *checkpoint,
				     const struct note_key *key,
				     const struct ed25519_private *private_key, struct buf *out,
				     struct err *err)
{
	struct checkpoint other = *checkpoint;
	if (planted == SIGNS_ANOTHER_TREE && checkpoint->size % 5 == 3)
		other.root.bytes[7] ^= 1;
	return __real_checkpoint_sign(&other, key, private_key, out, err);
}

/* A witness that lies signs another tree than it was shown, now and then nothing. */
enum err_code __wrap_cosignature_sign(struct bytes body, const struct note_key *key,
				      const struct ed25519_private *private_key, uint64_t time_s,
				      struct buf *out, struct err *err)
{
	uint64_t way = lab->lies ? prng_below(sim_workload(lab->town.sim), 4) : 0;
	if (way < 2)
		return __real_cosignature_sign(body, key, private_key, time_s, out, err);
	lab->lied++;
	if (way == 3) {
		buf_append_cstr(out, "\xe2\x80\x94 somebody.example AAAA\n");
		return ERR_OK;
	}
	struct buf other = BUF_INIT(NOTE_SIZE_MAX);
	buf_append_cstr(&other, "sim.example/parley\n7\n");
	buf_append_bytes(&other, body);
	enum err_code code =
		__real_cosignature_sign(buf_bytes(&other), key, private_key, time_s, out, err);
	buf_release(&other);
	return code;
}

enum err_code __wrap_add_checkpoint_take(struct bytes body, struct bytes answer,
					 const struct note_key *witness, struct buf *out,
					 struct err *err)
{
	if (planted != TRUSTS_ANY_ANSWER)
		return __real_add_checkpoint_take(body, answer, witness, out, err);
	buf_append_bytes(out, answer);
	return ERR_OK;
}

/* ---- the witness ---- */

static void told(void *argument, const struct witness_event *event)
{
	struct town *town = &lab->town;
	(void)argument;
	lab->cosigned += event->status == 200;
	lab->refused += event->status != 200;
	if (event->status == 422)
		town_violates(town, forked);
	else if (event->status != 200 && event->status != 409 && event->status != 503)
		town_violates(town, "the witness does not understand what it is asked");
	sim_note(town->sim, &event->size, sizeof(event->size));
}

static void witness_begins(void *argument)
{
	struct env_address bound;
	struct err err = ERR_INIT;
	(void)argument;
	if (sim_is_down(lab->witness_node))
		sim_restart(lab->witness_node);
	lab->witness_loop = env_loop_new(lab->witness_node, "witness", true);
	struct witness_options options = {.env = lab->witness_node,
					  .loop = lab->witness_loop,
					  .config = &lab->config,
					  .told = told};
	if (lab->forgets && prng_below(sim_workload(lab->town.sim), 2)) {
		lab->forgotten++;
		env_unlink(lab->witness_node, WITNESS_STATE "/" WITNESS_STATE_FILE, &err);
	}
	if (witness_open(&options, &lab->witness, &bound, &err) != ERR_OK ||
	    env_loop_start(lab->witness_loop, -1, &err) != ERR_OK)
		sim_crash(lab->witness_node, SIM_KILLED); /* the disk fails: once more */
}

static void witness_ends(void)
{
	witness_close(lab->witness);
	env_loop_free(lab->witness_loop);
	lab->witness = NULL;
	lab->witness_loop = NULL;
}

static void witness_crashed(void *argument)
{
	struct sim_world *sim = lab->town.sim;
	(void)argument;
	lab->witness_crashes++;
	witness_ends();
	sim_at(sim, sim_now(sim) + prng_below(sim_workload(sim), 3 * SECOND) + 1, witness_begins,
	       NULL);
}

static void crash_witness(void *argument)
{
	struct prng *draw = sim_workload(lab->town.sim);
	enum sim_crash_kind kind = prng_below(draw, 2) ? SIM_POWER_LOST : SIM_KILLED;
	(void)argument;
	if (!lab->following || sim_is_down(lab->witness_node))
		return;
	if (prng_below(draw, 2))
		sim_crash(lab->witness_node, kind);
	else
		sim_crash_after(lab->witness_node, 1 + prng_below(draw, 20), kind);
}

/* Its key, and what the gateway's configuration says of it. */
static void name_witness(void)
{
	static const uint8_t seed[32] = {9};
	uint8_t public_key[ED25519_KEY_SIZE];
	struct buf text = BUF_INIT(1024);
	struct err err = ERR_INIT;
	lab->config.private_key = ed25519_from_seed(seed);
	ed25519_public(lab->config.private_key, public_key);
	assert_int_equal(ERR_OK,
			 note_cosigner_init(&lab->config.key, "south.example/w", public_key, &err));
	note_key_format(&lab->config.key, &text);
	lab->config.listen = sim_node_address(lab->witness_node, 9100);
	snprintf(lab->config.state, sizeof(lab->config.state), WITNESS_STATE);
	snprintf(lab->log_text, sizeof(lab->log_text),
		 "log: { witnesses: [ { key: \"%.*s\", url: \"http://10.0.0.2:9100\" } ] }\n",
		 BYTES_ARG(buf_bytes(&text)));
	lab->town.log_text = lab->log_text;
	buf_release(&text);
}

/* Once the log's key is known. */
static void follow(void)
{
	struct buf text = BUF_INIT(1024);
	struct err err = ERR_INIT;
	log_append_vkey(gateway_log(lab->town.gateway, CONTROL_EVALUATION), &text);
	assert_int_equal(ERR_OK, note_key_parse(buf_bytes(&text), &lab->log_key, &err));
	buf_release(&text);
	lab->config.logs = &lab->log_key;
	lab->config.log_count = 1;
	lab->following = true;
	witness_begins(NULL);
}

/* ---- the gateway ---- */

static void restart(void *argument)
{
	struct town *town = &lab->town;
	struct err err = ERR_INIT;
	(void)argument;
	if (sim_is_down(town->gateway_node))
		sim_restart(town->gateway_node);
	bool late = sim_now(town->sim) > FAULTS_END;
	lab->given = 0;
	enum err_code code = town_initialise(town, &err);
	if (code == ERR_OK)
		code = town_gateway_begin(town, true, &err);
	if (code == ERR_OK && !lab->following)
		follow();
	if (code != ERR_OK && late)
		town_violates(town, "the gateway does not start although nothing fails any more");
	if (code != ERR_OK)
		sim_at(town->sim, sim_now(town->sim), town_gateway_exits, town);
}

static void crashed(void *argument)
{
	struct town *town = &lab->town;
	(void)argument;
	town->crashes++;
	town_gateway_end(town);
	sim_at(town->sim, sim_now(town->sim) + prng_below(sim_workload(town->sim), SECOND) + 1,
	       restart, NULL);
}

static void crash(void *argument)
{
	struct town *town = &lab->town;
	struct prng *draw = sim_workload(town->sim);
	enum sim_crash_kind kind = prng_below(draw, 4) ? SIM_POWER_LOST : SIM_KILLED;
	(void)argument;
	if (sim_is_down(town->gateway_node))
		return;
	if (prng_below(draw, 2))
		sim_crash(town->gateway_node, kind);
	else
		sim_crash_after(town->gateway_node, 1 + prng_below(draw, 40), kind);
}

/* ---- what readers are given ---- */

static enum err_code add_record(void *argument, uint64_t index, struct bytes text, struct err *err)
{
	struct merkle_hash leaf = merkle_leaf(text.data, text.size);
	(void)index;
	(void)err;
	merkle_append(argument, &leaf);
	return ERR_OK;
}

static void check_root(struct log *log, const struct checkpoint *head)
{
	struct merkle_range range = {0};
	if (log_read_range(log, 0, head->size, add_record, &range, NULL) != ERR_OK)
		return; /* the disk would not say */
	struct merkle_hash root = merkle_root(&range);
	if (!merkle_equal(&root, &head->root))
		town_violates(&lab->town, "readers were given a root that is not the records'");
}

static void check_given(struct log *log, struct bytes text)
{
	struct town *town = &lab->town;
	struct checkpoint head;
	struct note note;
	if (checkpoint_open(text, &lab->log_key, &head, NULL) != ERR_OK ||
	    note_parse(text, &note, NULL) != ERR_OK) {
		town_violates(town, "readers were given what the log has not signed");
		return;
	}
	check_root(log, &head);
	enum err_code code = cosignature_verify(&note, &lab->config.key, NULL, NULL);
	if (code == ERR_MISMATCH || note.count > 1 + (code == ERR_OK))
		town_violates(town, badly_cosigned);
	if (code != ERR_OK)
		return;
	if (head.size < lab->given)
		town_violates(town, "the cosigned checkpoint has shrunk");
	lab->given = head.size;
	lab->looks++;
}

static void look(void *argument)
{
	struct town *town = &lab->town;
	struct buf text = BUF_INIT(NOTE_SIZE_MAX);
	(void)argument;
	if (sim_is_down(town->gateway_node) || !town->gateway || town->violation)
		return;
	struct log *log = gateway_log(town->gateway, CONTROL_EVALUATION);
	if (log_read_checkpoint(log, &text, NULL) == ERR_OK)
		check_given(log, buf_bytes(&text));
	buf_release(&text);
}

/* ---- a whole run ---- */

static bool newest_is_cosigned(void *argument)
{
	struct town *town = &lab->town;
	struct log_stats stats;
	(void)argument;
	if (town->violation)
		return true;
	if (sim_now(town->sim) < FAULTS_END + 2 * SECOND || !town->gateway ||
	    town->errand != NO_ERRAND)
		return false;
	struct log *log = gateway_log(town->gateway, CONTROL_EVALUATION);
	log_get_stats(log, &stats);
	return stats.records > 0 && log_cosigned_size(log) == stats.records;
}

static void calm(void *argument)
{
	struct sim_faults none = sim_faults_none();
	(void)argument;
	sim_set_faults(lab->town.sim, &none);
	sim_crash_after(lab->town.gateway_node, 0, SIM_KILLED);
	sim_crash_after(lab->witness_node, 0, SIM_KILLED);
	lab->lies = lab->forgets = false;
}

static void plan(void)
{
	struct town *town = &lab->town;
	struct prng *draw = sim_workload(town->sim);
	uint64_t gateway = prng_below(draw, 5), witness = prng_below(draw, 5);
	for (uint64_t i = 0; i < gateway; i++)
		sim_at(town->sim, 2 * SECOND + prng_below(draw, FAULTS_END / 2), crash, NULL);
	for (uint64_t i = 0; i < witness; i++)
		sim_at(town->sim, 2 * SECOND + prng_below(draw, FAULTS_END - 5 * SECOND),
		       crash_witness, NULL);
	for (uint64_t i = 0; i < ACTS; i++)
		sim_at(town->sim, SECOND + prng_below(draw, FAULTS_END), town_revoke, town);
	for (uint64_t i = 1; i <= LOOKS; i++)
		sim_at(town->sim, SECOND + i * (FAULTS_END / LOOKS), look, NULL);
	sim_at(town->sim, FAULTS_END, calm, NULL);
}

static void finish(void)
{
	struct town *town = &lab->town;
	struct err err = ERR_INIT;
	if (!sim_run_until(town->sim, LIVE_BY, newest_is_cosigned, NULL))
		town_violates(town, "the newest checkpoint is not cosigned long after the faults");
	look(NULL);
	if (town->violation)
		return;
	uint64_t cosigned = lab->given;
	sim_on_crash(town->gateway_node, NULL, NULL);
	sim_crash(town->gateway_node, SIM_POWER_LOST);
	town_gateway_end(town);
	sim_restart(town->gateway_node);
	lab->given = 0;
	if (town_gateway_begin(town, false, &err) != ERR_OK) {
		town_violates(town, "the gateway cannot be opened again");
		return;
	}
	look(NULL);
	if (lab->given != cosigned)
		town_violates(town, "what was cosigned is gone after a start");
}

static void release(void)
{
	struct town *town = &lab->town;
	sim_on_crash(town->gateway_node, NULL, NULL);
	sim_on_crash(lab->witness_node, NULL, NULL);
	if (!sim_is_down(town->gateway_node))
		sim_crash(town->gateway_node, SIM_KILLED);
	town_gateway_end(town);
	if (!sim_is_down(lab->witness_node))
		sim_crash(lab->witness_node, SIM_KILLED);
	witness_ends();
	sim_world_free(town->sim);
	ed25519_free(lab->config.private_key);
	free(town->suite);
}

struct outcome {
	uint64_t trace;
	const char *violation;
	unsigned crashes, witness_crashes, cosigned, refused, lied, forgotten, looks;
};

static struct outcome simulate(uint64_t seed, enum wrong wrong)
{
	struct sim_faults none = sim_faults_none(), faults = sim_faults_draw(seed, seed % 3 == 0);
	lab = calloc(1, sizeof(*lab));
	assert_non_null(lab);
	struct town *town = &lab->town;
	planted = wrong;
	town->agreed = true;
	agreement_plant(NO_MISTAKE);
	agreement_suite(town);
	lab->lies = seed % 3 == 1;
	lab->forgets = seed % 4 == 2;
	town->sim = sim_world_new(seed, &none);
	town->gateway_node = sim_node_new(town->sim, "gateway");
	lab->witness_node = sim_node_new(town->sim, "witness");
	name_witness();
	sim_on_crash(town->gateway_node, crashed, NULL);
	sim_on_crash(lab->witness_node, witness_crashed, NULL);
	plan();
	restart(NULL);
	sim_set_faults(town->sim, &faults);
	finish();
	struct outcome outcome = {sim_trace(town->sim),
				  town->violation,
				  town->crashes,
				  lab->witness_crashes,
				  lab->cosigned,
				  lab->refused,
				  lab->lied,
				  lab->forgotten,
				  lab->looks};
	release();
	free(lab);
	return outcome;
}

static struct outcome simulate_quietly(uint64_t seed, enum wrong wrong)
{
	seeds_lose();
	struct outcome outcome = simulate(seed, wrong);
	seeds_lost();
	return outcome;
}

static void every_seed_is_safe_and_replays(void **state)
{
	struct outcome all = {0};
	uint64_t seeds = seeds_knob("PARLEY_SIM_SEEDS", SEEDS);
	(void)state;
	for (uint64_t seed = 1; seed <= seeds; seed++) {
		struct outcome first = simulate_quietly(seed, NOTHING_WRONG);
		if (first.violation)
			fail_msg("seed %llu: %s", (unsigned long long)seed, first.violation);
		if (seed % seeds_knob("PARLEY_SIM_REPLAY", REPLAY) == 0 &&
		    simulate_quietly(seed, NOTHING_WRONG).trace != first.trace)
			fail_msg("seed %llu does not replay", (unsigned long long)seed);
		all.crashes += first.crashes;
		all.witness_crashes += first.witness_crashes;
		all.cosigned += first.cosigned;
		all.refused += first.refused;
		all.lied += first.lied;
		all.forgotten += first.forgotten;
		all.looks += first.looks;
	}
	print_message("%u and %u crashes, %u cosigned, %u refused, %u lies, %u times forgotten, %u "
		      "cosigned checkpoints read\n",
		      all.crashes, all.witness_crashes, all.cosigned, all.refused, all.lied,
		      all.forgotten, all.looks);
	/* What this is about has happened. */
	assert_true(all.crashes > seeds / 2 && all.witness_crashes > seeds / 2);
	assert_true(all.cosigned > 10 * seeds && all.looks > 10 * seeds);
	assert_true(all.refused > 0 && all.lied > 0 && all.forgotten > 0);
}

static void every_wrong_gateway_is_found(void **state)
{
	(void)state;
	if (SANITIZED)
		skip();
	for (enum wrong wrong = NOTHING_WRONG + 1; wrong < WRONGS; wrong++) {
		uint64_t seed = 1;
		struct outcome outcome = simulate_quietly(seed, wrong);
		while (outcome.violation != found_by[wrong] && seed < 2 * SEEDS)
			outcome = simulate_quietly(++seed, wrong);
		if (outcome.violation != found_by[wrong])
			fail_msg("never was it found that %s", found_by[wrong]);
		print_message("wrong %d: seed %llu: %s\n", (int)wrong, (unsigned long long)seed,
			      outcome.violation);
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_seed_is_safe_and_replays),
		cmocka_unit_test(every_wrong_gateway_is_found),
	};
	if (argc > 1) { /* one seed, from the command line: SEED [WRONG] */
		struct outcome outcome =
			simulate_quietly(strtoull(argv[1], NULL, 10),
					 argc > 2 ? (enum wrong)atoi(argv[2]) : NOTHING_WRONG);
		printf("%s; trace %016llx, %u and %u crashes, %u cosigned, %u refused, %u lies, %u "
		       "read\n",
		       outcome.violation ? outcome.violation : "good",
		       (unsigned long long)outcome.trace, outcome.crashes, outcome.witness_crashes,
		       outcome.cosigned, outcome.refused, outcome.lied, outcome.looks);
		return outcome.violation != NULL;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
