/* Words that hold answers: the next turn of a conversation, and judges' prompts. Whatever is looked
 * at is bounded by the suite's texts, SCRIPT_WORDS_MAX and the numbers below. */
#include "policy/decide_internal.h"

#include <stdio.h>

/* Sizes of answers that are tried in one slot, and slots that are tried in one prompt. */
#define SIZES_MAX 64u
#define TRIES_MAX 64u
/* Judges with the same text before their first slot. */
#define ALIKE_MAX 16u

static const struct hmac_key *secret_of(const struct decision *decision)
{
	return world_binding_secret(decision->world);
}

/* ---- conversations ---- */

/* The step whose words these are, with so many turns taken for answers. */
static bool find_step(const struct binding_suite *suite, const uint8_t *digest, unsigned step,
		      struct binding_pick *pick)
{
	if (!binding_suite_find(suite, digest, &pick->unit))
		return false;
	pick->leaf = shape_leaf(suite->shape, pick->unit, &pick->step);
	return pick->step == step && shape_steps(suite->shape, pick->leaf) > 1;
}

/* The samples whose answers all these turns are. */
static void match_turns(const struct binding_run *run, unsigned slot,
			const struct script_said *turns, struct matching_script *out)
{
	struct binding_pick *pick = &out->pick;
	const struct shape *shape = run->suite->shape;
	pick->among = UINT64_MAX;
	for (unsigned turn = 0; turn < pick->step; turn++) {
		uint32_t unit = shape_unit(shape, pick->leaf, turn);
		uint64_t samples = binding_run_said(run, slot, unit, &turns[turn]);
		pick->among &= samples;
		pick->free_bytes += turns[turn].size;
		if (pick->among)
			continue;
		snprintf(out->near, sizeof(out->near),
			 "leaf %u step %u, but the assistant's turn %u is %s", pick->leaf,
			 pick->step, turn + 1,
			 samples ? "the answer to another sample than those before it"
				 : "not the answer that this gateway served");
		return;
	}
	out->matches = true;
}

static bool match_conversation(const struct script_request *script,
			       const struct binding_suite *suite, const struct binding_run *run,
			       unsigned slot, struct matching_script *out)
{
	for (unsigned n = 1; n <= script->turn_count; n++) {
		if (!find_step(suite, script->skeletons[n], n, &out->pick))
			continue;
		if (run)
			match_turns(run, slot, &script->turns[script->turn_count - n], out);
		else
			snprintf(out->near, sizeof(out->near),
				 "leaf %u step %u, but its answers belong to no one open run",
				 out->pick.leaf, n);
		return true;
	}
	return false;
}

/* What was asked before the last turn is a step, and what follows it is not the script's. */
static bool match_before(const struct script_request *script, const struct binding_suite *suite,
			 struct matching_script *out)
{
	for (unsigned n = 0; n < script->turn_count; n++) {
		if (!find_step(suite, script->before[n], n, &out->pick))
			continue;
		snprintf(out->near, sizeof(out->near),
			 "leaf %u, but what follows the answer to step %u is not the turn that is "
			 "registered",
			 out->pick.leaf, n);
		return true;
	}
	return false;
}

/* ---- judges ---- */

struct search {
	const struct hmac_key *secret;
	const struct binding_run *run;
	const struct shape_judge *judge;
	struct bytes text;
	struct binding_pick *pick;
	bool exhausted;          /* answers that have had all their verdicts are taken, too */
	unsigned tries, deepest; /* slots that were filled at most */
};

/* The sizes of answers to the leaf that fit there, each once, ascending; of what stands in the last
 * slot there is one. */
static unsigned fitting_sizes(const struct search *search, uint32_t unit, uint32_t least,
			      uint32_t most, uint32_t sizes[static SIZES_MAX])
{
	const struct binding_run *run = search->run;
	unsigned count = 0;
	for (unsigned slot = 0; slot < run->model_count; slot++) {
		for (unsigned sample = 1; sample <= run->samples; sample++) {
			const struct served *answer = binding_run_answer(run, slot, unit, sample);
			uint32_t size =
				answer ? atomic_load_explicit(&answer->size, memory_order_acquire)
				       : 0;
			unsigned at = 0;
			if (size == 0 || --size < least || size > most)
				continue;
			while (at < count && sizes[at] < size)
				at++;
			if ((at < count && sizes[at] == size) || count == SIZES_MAX)
				continue;
			memmove(sizes + at + 1, sizes + at, (count - at) * sizeof(*sizes));
			sizes[at] = size;
			count++;
		}
	}
	return count;
}

static bool is_judged(const struct binding_pick *pick, const struct binding_judged *judged)
{
	for (unsigned i = 0; i < pick->judged_count; i++) {
		const struct binding_judged *other = &pick->judged[i];
		if (other->slot == judged->slot && other->unit == judged->unit &&
		    other->sample == judged->sample)
			return true;
	}
	return false;
}

/* Of the answers that were this the one with the fewest verdicts; none stands in two slots. */
static bool choose_answer(const struct search *search, uint32_t unit,
			  const struct script_said *said, struct binding_judged *out)
{
	const struct binding_run *run = search->run;
	uint32_t fewest = UINT32_MAX;
	for (unsigned slot = 0; slot < run->model_count; slot++) {
		for (unsigned sample = 1; sample <= run->samples; sample++) {
			const struct served *answer = binding_run_answer(run, slot, unit, sample);
			struct binding_judged judged = {slot, unit, sample};
			if (!answer || !served_is(answer, said) ||
			    (!search->exhausted &&
			     atomic_load(&answer->verdicts) >= run->suite->judging->verdicts) ||
			    atomic_load(&answer->verdicts) >= fewest ||
			    is_judged(search->pick, &judged))
				continue;
			fewest = atomic_load(&answer->verdicts);
			*out = judged;
		}
	}
	return fewest != UINT32_MAX;
}

static bool text_follows(const struct search *search, unsigned index, size_t at)
{
	const struct shape_judge *judge = search->judge;
	uint32_t size = judge->literal_size[index];
	uint8_t hash[SHA256_SIZE];
	struct script_said said;
	if (size > search->text.size - at ||
	    (index == judge->slot_count && at + size != search->text.size))
		return false;
	sha256_of(search->text.data + at, size, hash);
	script_said_key(search->secret, hash, size, &said);
	return memcmp(said.digest, judge->literal[index], SCRIPT_DIGEST_SIZE) == 0;
}

/* Fills the slots from number `index` on; the first begins at `at`. At most SCRIPT_SLOTS_MAX deep.
 */
static bool fill_slots(struct search *search, unsigned index, size_t at)
{
	const struct shape_judge *judge = search->judge;
	const struct shape *shape = search->run->suite->shape;
	uint32_t leaf = judge->slot_leaf[index], sizes[SIZES_MAX], done = 0, least = 0;
	uint32_t unit = shape_unit(shape, leaf, shape_steps(shape, leaf) - 1);
	uint32_t most = (uint32_t)(search->text.size - at);
	struct sha256 hash;
	if (index + 1 == judge->slot_count) {
		if (judge->literal_size[index + 1] > most)
			return false;
		least = most -= judge->literal_size[index + 1];
	}
	unsigned count = fitting_sizes(search, unit, least, most, sizes);
	sha256_start(&hash);
	for (unsigned i = 0; i < count && search->tries < TRIES_MAX; done = sizes[i++]) {
		struct sha256 copy;
		uint8_t digest[SHA256_SIZE];
		struct script_said said;
		struct binding_judged *judged = &search->pick->judged[index];
		sha256_add(&hash, search->text.data + at + done, sizes[i] - done);
		copy = hash;
		sha256_finish(&copy, digest);
		script_said_key(search->secret, digest, sizes[i], &said);
		if (!text_follows(search, index + 1, at + sizes[i]) ||
		    !choose_answer(search, unit, &said, judged))
			continue;
		search->tries++;
		search->pick->judged_count = index + 1;
		if (search->deepest <= index)
			search->deepest = index + 1;
		search->pick->free_bytes += sizes[i];
		if (index + 1 == judge->slot_count ||
		    fill_slots(search, index + 1, at + sizes[i] + judge->literal_size[index + 1]))
			return true;
		search->pick->free_bytes -= sizes[i];
		search->pick->judged_count = index;
	}
	return false;
}

static void match_judge(const struct decision *decision, const struct binding_run *run,
			const struct shape_judge *judge, struct matching_script *out)
{
	out->pick = binding_pick_leaf(judge->leaf);
	if (!run) {
		snprintf(out->near, sizeof(out->near),
			 "leaf %u, but what it judges belongs to no one open run", judge->leaf);
		return;
	}
	struct search search = {.secret = secret_of(decision),
				.run = run,
				.judge = judge,
				.text = decision->request->script->text,
				.pick = &out->pick};
	out->pick.unit = shape_unit(run->suite->shape, judge->leaf, 0);
	out->matches = fill_slots(&search, 0, judge->literal_size[0]);
	/* Nothing else fits: then it is told that their verdicts are used up. */
	search.exhausted = !out->matches;
	search.tries = 0;
	if (search.exhausted)
		out->matches = fill_slots(&search, 0, judge->literal_size[0]);
	if (!out->matches)
		snprintf(out->near, sizeof(out->near),
			 "leaf %u, but what stands in slot %u is not, whole and alone, an answer "
			 "of this run to leaf %u",
			 judge->leaf, search.deepest + 1,
			 judge->slot_leaf[search.deepest < judge->slot_count ? search.deepest : 0]);
}

/* Judges whose first text the prompt begins with. */
static void match_judges(const struct decision *decision, const struct binding_suite *suite,
			 const struct binding_run *run, struct matching_script *out)
{
	const struct script_request *script = decision->request->script;
	const struct shape *shape = suite->shape;
	const struct shape_judge *judge;
	unsigned alike = 0;
	uint32_t done = 0;
	struct sha256 hash;
	sha256_start(&hash);
	for (uint32_t i = 0; i < shape->prefix_count && !out->matches; i++) {
		uint32_t size = shape->prefix_sizes[i], place = 0;
		struct sha256 copy;
		uint8_t digest[SHA256_SIZE];
		struct script_said said;
		if (size > script->text.size)
			return;
		sha256_add(&hash, script->text.data + done, size - done);
		done = size;
		copy = hash;
		sha256_finish(&copy, digest);
		script_said_key(secret_of(decision), digest, size, &said);
		while (!out->matches && alike < ALIKE_MAX &&
		       (judge = shape_next_judge(shape, script->frame, said.digest, &place))) {
			match_judge(decision, run, judge, out);
			alike++;
		}
	}
}

void matching_read_script(const struct decision *decision, const struct binding_suite *suite,
			  const struct binding_run *run, unsigned slot, struct matching_script *out)
{
	const struct script_request *script = decision->request->script;
	memset(out, 0, sizeof(*out));
	if (!match_conversation(script, suite, run, slot, out) &&
	    !match_before(script, suite, out) && script->text.data)
		match_judges(decision, suite, run, out);
	if (!out->matches)
		return;
	out->near[0] = '\0';
	out->pick.registered_bytes = (uint32_t)script->words_size > out->pick.free_bytes
					     ? (uint32_t)script->words_size - out->pick.free_bytes
					     : 0;
}
