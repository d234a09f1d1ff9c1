/* How providers behaved, in plain words: what was done, what was found, what it cannot show. */
#include "grade/conduct.h"

#include "base/json.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>

#define SIGNIFICANT 0.05
#define SENTENCE_MAX 1000
#define ROWS_TOLD 12u /* of each kind; the rest are counted */

struct words {
	json_t *done, *found, *not_shown;
	bool failed;
};

static void say(struct words *words, json_t *list, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static void say(struct words *words, json_t *list, const char *format, ...)
{
	char text[SENTENCE_MAX];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	size_t size = strlen(text);
	while (size && !bytes_is_utf8(bytes_of(text, size)))
		text[--size] = '\0';
	words->failed |= json_array_append_new(list, json_string(text)) != 0;
}

static bool holds(const json_t *row)
{
	return json_number(row, "p_holm") < SIGNIFICANT;
}

static bool is_about(const json_t *row, const char *what)
{
	return strcmp(json_text(row, "what"), what) == 0;
}

static size_t count_about(const json_t *rows, const char *what, bool held)
{
	const json_t *row;
	size_t i, count = 0;

	json_array_foreach((json_t *)rows, i, row) count +=
		is_about(row, what) && (!held || holds(row));
	return count;
}

/* ---- failures ---- */

/* Whether a side of a comparison has no score at all: by how much its mean would be another had its
 * failures passed. */
static bool all_failed(const json_t *row, const char *failed, const char *if_passed)
{
	return json_count(row, failed) > 0 &&
	       fabs(json_number(row, if_passed) - json_number(row, "difference")) > 1 - 1e-9;
}

/* Where one side of a comparison has nothing but failures, it is a comparison with nothing,
 * whatever its figures are. */
static bool tell_all_failed(struct words *words, const json_t *row, const char *a, const char *b)
{
	bool no_a = all_failed(row, "failed_a", "if_a_passed");
	bool no_b = all_failed(row, "failed_b", "if_b_passed");
	const char *model = json_text(row, "model"), *suite = json_text(row, "suite");

	if (no_a && no_b)
		say(words, words->found,
		    "%.64s in %.64s: %s and %s are not compared: all of both failed (%lld and %lld "
		    "samples), so that neither a difference nor its absence is shown",
		    model, suite, a, b, json_count(row, "failed_a"), json_count(row, "failed_b"));
	else if (no_a || no_b)
		say(words, words->found,
		    "%.64s in %.64s: %s and %s are not compared: all %lld samples of %s failed, "
		    "and "
		    "what the figures differ by is that",
		    model, suite, a, b, json_count(row, no_a ? "failed_a" : "failed_b"),
		    no_a ? a : b);
	return no_a || no_b;
}

/* "; 3 and 0 samples failed and count as 0", or nothing. */
static const char *failures(const json_t *row, char out[static 80])
{
	long long a = json_count(row, "failed_a"), b = json_count(row, "failed_b");

	*out = '\0';
	if (a + b > 0)
		snprintf(out, 80, "; %lld and %lld samples failed and count as 0", a, b);
	return out;
}

/* ---- twins ---- */

static void describe_test(const json_t *row, char *out, size_t size)
{
	if (strcmp(json_text(row, "test"), "mcnemar") == 0)
		snprintf(out, size, "exact McNemar %lld:%lld, p %.2g, Holm %.2g",
			 json_count(row, "only_a"), json_count(row, "only_b"),
			 json_number(row, "p"), json_number(row, "p_holm"));
	else
		snprintf(out, size, "t test, p %.2g, Holm %.2g", json_number(row, "p"),
			 json_number(row, "p_holm"));
}

static void tell_twins(struct words *words, const json_t *row)
{
	char test[120], lost[80];
	const char *model = json_text(row, "model"), *suite = json_text(row, "suite");
	double difference = 100 * json_number(row, "difference");
	double low = 100 * json_number(row, "low"), high = 100 * json_number(row, "high");

	if (tell_all_failed(words, row, "items", "twins"))
		return;
	describe_test(row, test, sizeof(test));
	failures(row, lost);
	if (holds(row) && difference > 0)
		say(words, words->found,
		    "%.64s does better on items of %.64s than on their twins, by %.1f points "
		    "[%.1f, "
		    "%.1f] over %lld pairs (%s%s): as one does that has the items by heart",
		    model, suite, difference, low, high, json_count(row, "items"), test, lost);
	else if (holds(row))
		say(words, words->found,
		    "%.64s does worse on items of %.64s than on their twins, by %.1f points [%.1f, "
		    "%.1f] over %lld pairs (%s%s): the twins are easier",
		    model, suite, -difference, -high, -low, json_count(row, "items"), test, lost);
	else
		say(words, words->found,
		    "%.64s: no difference shown between items of %.64s and their twins: %+.1f "
		    "points [%+.1f, %+.1f] over %lld pairs (%s%s); it would take %.1f points to be "
		    "seen",
		    model, suite, difference, low, high, json_count(row, "items"), test, lost,
		    100 * json_number(row, "detectable"));
}

/* Whether a model's twins are compared in a suite with more than failures. */
static bool has_pairs(const json_t *scores, const char *suite, const char *model)
{
	const json_t *row;
	size_t i;

	json_array_foreach((json_t *)scores, i, row)
	{
		if (is_about(row, "twins") && strcmp(json_text(row, "suite"), suite) == 0 &&
		    strcmp(json_text(row, "model"), model) == 0)
			return !all_failed(row, "failed_a", "if_a_passed") &&
			       !all_failed(row, "failed_b", "if_b_passed");
	}
	return false;
}

static bool is_found_gap(const json_t *scores, const json_t *row)
{
	const char *suite = json_text(row, "suite");

	return holds(row) && has_pairs(scores, suite, json_text(row, "a")) &&
	       has_pairs(scores, suite, json_text(row, "b"));
}

static void tell_gap(struct words *words, const json_t *row)
{
	bool a = json_number(row, "difference") > 0;
	const char *more = json_text(row, a ? "a" : "b"), *less = json_text(row, a ? "b" : "a");

	say(words, words->found,
	    "in %.64s the gap of %.64s between items and twins is larger than that of %.64s by "
	    "%.1f points (p %.2g, Holm %.2g): that twins are harder for all does not explain it",
	    json_text(row, "suite"), more, less, 100 * fabs(json_number(row, "difference")),
	    json_number(row, "p"), json_number(row, "p_holm"));
}

static void tell_scores(struct words *words, const json_t *made)
{
	const json_t *rows = json_object_get(made, "scores"), *row;
	size_t i, told = 0;

	if (count_about(rows, "twins", false) == 0)
		return;
	say(words, words->done,
	    "items and their twins, which ask the same in other words, were both asked; the two "
	    "answers of each pair are compared, %zu comparisons corrected for their number (Holm)",
	    json_array_size(rows));
	json_array_foreach((json_t *)rows, i, row)
	{
		if (is_about(row, "twins") && told++ < ROWS_TOLD)
			tell_twins(words, row);
	}
	told = 0;
	json_array_foreach(json_object_get(made, "gaps"), i, row)
	{
		if (is_found_gap(rows, row) && told++ < ROWS_TOLD)
			tell_gap(words, row);
	}
	say(words, words->not_shown,
	    "a gap between items and twins can also come from twins that are harder, or from a "
	    "model "
	    "that was trained on the suite and not served better; no gap does not show that the "
	    "items are unknown to it");
}

/* ---- decoys ---- */

static void tell_decoy(struct words *words, const json_t *row)
{
	const char *model = json_text(row, "model"), *suite = json_text(row, "suite");
	double difference = 100 * json_number(row, "difference");
	double low = 100 * json_number(row, "low"), high = 100 * json_number(row, "high");

	char lost[80];

	if (tell_all_failed(words, row, "items", "decoys"))
		return;
	failures(row, lost);
	if (holds(row))
		say(words, words->found,
		    "%.64s does %s on %.64s than on decoys, by %.1f points [%.1f, %.1f] (%lld "
		    "items, "
		    "%lld decoys, Holm %.2g%s)%s",
		    model, difference > 0 ? "better" : "worse", suite, fabs(difference),
		    difference > 0 ? low : -high, difference > 0 ? high : -low,
		    json_count(row, "items_a"), json_count(row, "items_b"),
		    json_number(row, "p_holm"), lost,
		    difference > 0 ? ": as one does that knows the suite" : "");
	else
		say(words, words->found,
		    "%.64s: no difference shown between %.64s and decoys: %+.1f points [%+.1f, "
		    "%+.1f] (%lld items, %lld decoys, Holm %.2g%s)",
		    model, suite, difference, low, high, json_count(row, "items_a"),
		    json_count(row, "items_b"), json_number(row, "p_holm"), lost);
}

static void tell_decoys(struct words *words, const json_t *made)
{
	const json_t *rows = json_object_get(made, "scores"), *row;
	size_t i, told = 0;

	json_array_foreach(json_object_get(made, "left_out"), i, row)
		say(words, words->done,
		    "%.64s was not asked the decoys: its gateway does not admit them",
		    json_string_value(row));
	if (count_about(rows, "decoys", false) == 0)
		return;
	say(words, words->done,
	    "decoys, items of another suite, were mixed in by chance; they count in no result");
	json_array_foreach((json_t *)rows, i, row)
	{
		if (is_about(row, "decoys") && told++ < ROWS_TOLD)
			tell_decoy(words, row);
	}
	say(words, words->not_shown,
	    "a difference to decoys can come from decoys that are harder or easier than the suite; "
	    "nor is it known whether the provider took them for the suite's own (a gateway is told "
	    "which run a request belongs to)");
}

/* ---- the blind arm ---- */

static void tell_arm(struct words *words, const json_t *row)
{
	const char *model = json_text(row, "model"), *suite = json_text(row, "suite");
	double difference = 100 * json_number(row, "difference");
	char lost[80];

	if (tell_all_failed(words, row, "named samples", "blind ones"))
		return;
	say(words, words->found,
	    "%.64s: %s between answers to %.64s whose run was named and blind ones: %+.1f points "
	    "[%+.1f, "
	    "%+.1f] (%lld and %lld items, Holm %.2g%s)",
	    model, holds(row) ? "a difference" : "no difference shown", suite, difference,
	    100 * json_number(row, "low"), 100 * json_number(row, "high"),
	    json_count(row, "items_a"), json_count(row, "items_b"), json_number(row, "p_holm"),
	    failures(row, lost));
}

static void tell_blind(struct words *words, const json_t *made)
{
	const json_t *rows = json_object_get(made, "scores"), *row;
	size_t i, told = 0;

	json_array_foreach(json_object_get(made, "not_blind"), i, row) say(
		words, words->done,
		"%.64s was not asked blind: no grant agrees to it (blind_share_max), or it is no "
		"gateway's, where there is no run to name",
		json_string_value(row));
	if (count_about(rows, "blind", false) == 0)
		return;
	say(words, words->done,
	    "a share of samples, drawn by the plan's id and agreed to in the grant, was asked "
	    "without "
	    "naming the run (blind), and is compared with the others");
	json_array_foreach((json_t *)rows, i, row)
	{
		if (is_about(row, "blind") && told++ < ROWS_TOLD)
			tell_arm(words, row);
	}
	say(words, words->not_shown,
	    "a gateway knows the words of suites that are registered openly, and so a blind "
	    "request "
	    "as well; only a provider that does not run the gateway itself is kept from it");
}

/* ---- times ---- */

static void tell_time(struct words *words, const json_t *row)
{
	const char *model = json_text(row, "model");

	if (is_about(row, "blind"))
		say(words, words->found,
		    "%.64s: %s of named and of blind answers to %.64s differ, medians %.4g and "
		    "%.4g (%s, "
		    "Holm %.2g)",
		    model, json_text(row, "measure"), json_text(row, "suite"),
		    json_number(row, "median_a"), json_number(row, "median_b"),
		    json_text(row, "test"), json_number(row, "p_holm"));
	else if (is_about(row, "twins"))
		say(words, words->found,
		    "%.64s: %s of items of %.64s and of their twins differ, medians %.4g and %.4g "
		    "(%s, Holm %.2g)",
		    model, json_text(row, "measure"), json_text(row, "suite"),
		    json_number(row, "median_a"), json_number(row, "median_b"),
		    json_text(row, "test"), json_number(row, "p_holm"));
	else if (is_about(row, "decoys"))
		say(words, words->found,
		    "%.64s: %s of answers to %.64s and to decoys differ, medians %.4g and %.4g "
		    "(%s, "
		    "Holm %.2g)",
		    model, json_text(row, "measure"), json_text(row, "suite"),
		    json_number(row, "median_a"), json_number(row, "median_b"),
		    json_text(row, "test"), json_number(row, "p_holm"));
	else
		say(words, words->found,
		    "%.64s and %.64s, said to be one model: %s on %.64s differ, medians %.4g and "
		    "%.4g (%s, Holm %.2g)",
		    json_text(row, "a"), json_text(row, "b"), json_text(row, "measure"),
		    json_text(row, "suite"), json_number(row, "median_a"),
		    json_number(row, "median_b"), json_text(row, "test"),
		    json_number(row, "p_holm"));
}

static void tell_times(struct words *words, const json_t *made)
{
	const json_t *rows = json_object_get(made, "times"), *row;
	size_t i, held = 0;

	json_array_foreach(json_object_get(made, "not_compared"), i, row) say(
		words, words->done,
		"%.64s and %.64s, said to be one model, were not compared: in no suite have five "
		"items answers of both that this run asked for (answers out of a cache or a file, "
		"and failed ones, tell no times)",
		json_text(row, "a"), json_text(row, "b"));
	if (json_array_size(rows) == 0)
		return;
	say(words, words->done,
	    "times and lengths of answers were compared by ranks and by distributions (%zu tests, "
	    "Holm's correction over all)",
	    json_array_size(rows));
	json_array_foreach((json_t *)rows, i, row)
	{
		if (holds(row) && held++ < ROWS_TOLD)
			tell_time(words, row);
	}
	if (held == 0)
		say(words, words->found,
		    "none of the %zu tests of times and lengths shows a "
		    "difference",
		    json_array_size(rows));
	if (held > ROWS_TOLD)
		say(words, words->found, "%zu more tests of times and lengths show a difference",
		    held - ROWS_TOLD);
	say(words, words->not_shown,
	    "times differ by load, place and cache as well, and lengths by what is asked; a "
	    "provider "
	    "that treats all requests of this client alike shows no difference");
}

/* ---- tokens ---- */

static void tell_tokens(struct words *words, const json_t *made)
{
	const json_t *rows = json_object_get(made, "tokens"), *row;
	size_t i, off = 0;

	if (json_array_size(rows) == 0)
		return;
	say(words, words->done,
	    "tokens as providers count them were held against an estimate from bytes, which knows "
	    "no "
	    "provider's tokenizer");
	json_array_foreach((json_t *)rows, i, row)
	{
		if (!json_is_true(json_object_get(row, "off")))
			continue;
		if (off++ < ROWS_TOLD)
			say(words, words->found,
			    "%.64s: %lld %s tokens are counted for %lld %s, %.2g times what their "
			    "bytes suggest%s",
			    json_text(row, "model"), json_count(row, "counted"),
			    json_text(row, "side"), json_count(row, "answers"),
			    strcmp(json_text(row, "side"), "input") == 0 ? "prompts" : "answers",
			    json_number(row, "ratio"),
			    json_number(row, "ratio") < 1 ? ""
			    : strcmp(json_text(row, "side"), "input") == 0
				    ? ": a prompt of the provider's own, or tokens that were not "
				      "there"
				    : ": reasoning that is not shown, or tokens that were not "
				      "given");
	}
	if (off == 0)
		say(words, words->found, "token counts are within what bytes suggest");
	say(words, words->not_shown,
	    "a count that is off by less than a factor of two and a half is not seen, nor one that "
	    "suits another tokenizer");
}

/* ---- all of it ---- */

bool conduct_is_told(const json_t *made)
{
	const json_t *row;
	size_t i;
	bool off = false;

	json_array_foreach(json_object_get(made, "tokens"), i, row) off |=
		json_is_true(json_object_get(row, "off"));
	return off || json_object_get(made, "left_out") || json_object_get(made, "not_blind") ||
	       json_object_get(made, "not_compared") || json_object_get(made, "scores") ||
	       json_object_get(made, "times");
}

json_t *conduct_words(const json_t *made)
{
	struct words words = {json_array(), json_array(), json_array(), false};

	if (words.done && words.found && words.not_shown) {
		tell_scores(&words, made);
		tell_decoys(&words, made);
		tell_blind(&words, made);
		tell_times(&words, made);
		tell_tokens(&words, made);
		say(&words, words.not_shown,
		    "which model answered: a client sees words, counts and times, and a provider "
		    "that serves all evaluations with a better model than everybody else gets "
		    "shows "
		    "none of this");
	}
	json_t *out = json_pack("{s:o, s:o, s:o}", "done", words.done, "found", words.found,
				"not_shown", words.not_shown);
	if (out && !words.failed)
		return out;
	json_decref(out);
	return NULL;
}
