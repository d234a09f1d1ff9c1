/* Scorers that look for the answer's final statement: a number, or the letter of a choice. */
#include "grade/scorer_internal.h"

#include "base/json.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>

#define NUMBER_MAX 64u
#define CHOICES_MAX 26

/* ---- numeric ---- */

static enum err_code check_tolerance(const json_t *spec, const char *key, const char *what,
				     struct err *err)
{
	const json_t *value = json_object_get(spec, key);

	if (value && !(json_is_number(value) && json_number_value(value) >= 0))
		return ERR_SET(err, ERR_INVALID, "%s: %s: must be a number, 0 or more", what, key);
	return ERR_OK;
}

static bool number_parse(struct bytes text, double *out);

/* A number, or a text that is one. */
static bool target_number(const json_t *spec, double *out)
{
	const json_t *target = json_object_get(spec, "target");

	if (json_is_number(target)) {
		*out = json_number_value(target);
		return true;
	}
	return json_is_string(target) &&
	       number_parse(scorer_trim(bytes_from(json_string_value(target))), out);
}

enum err_code scorer_numeric_check(const json_t *spec, const char *what, struct err *err)
{
	static const char *const keys[] = {"kind", "target", "tolerance", "relative_tolerance",
					   NULL};
	double target;

	ERR_TRY(json_only_keys(spec, keys, what, err));
	ERR_TRY(check_tolerance(spec, "tolerance", what, err));
	ERR_TRY(check_tolerance(spec, "relative_tolerance", what, err));
	if (!target_number(spec, &target))
		return ERR_SET(err, ERR_INVALID, "%s: target: must be a number", what);
	return ERR_OK;
}

/* The whole text as a decimal number; commas between digits are separators of thousands. */
static bool number_parse(struct bytes text, double *out)
{
	char digits[NUMBER_MAX + 1], *end;
	size_t size = 0;

	for (size_t i = 0; i < text.size; i++) {
		if (text.data[i] == ',')
			continue;
		if (size == NUMBER_MAX || !strchr("+-.eE0123456789", text.data[i]))
			return false;
		digits[size++] = text.data[i];
	}
	digits[size] = '\0';
	*out = strtod(digits, &end);
	return size > 0 && *end == '\0' && isfinite(*out);
}

/* Length of the number that starts at `at`: [+-] digits [, ddd]* [. digits] [e [+-] digits]. */
static size_t number_length(struct bytes text, size_t at)
{
	size_t i = at, digits = 0;

	if (i < text.size && (text.data[i] == '-' || text.data[i] == '+'))
		i++;
	for (; i < text.size; i++) {
		bool separator = text.data[i] == ',' && digits && i + 3 < text.size &&
				 isdigit((unsigned char)text.data[i + 1]) &&
				 isdigit((unsigned char)text.data[i + 2]) &&
				 isdigit((unsigned char)text.data[i + 3]);
		if (!separator && !isdigit((unsigned char)text.data[i]))
			break;
		digits += !separator;
	}
	if (i + 1 < text.size && text.data[i] == '.' && isdigit((unsigned char)text.data[i + 1]))
		for (i++; i < text.size && isdigit((unsigned char)text.data[i]); i++)
			digits++;
	if (!digits)
		return 0;
	size_t e = i + 1;
	if (i < text.size && (text.data[i] == 'e' || text.data[i] == 'E')) {
		if (e < text.size && (text.data[e] == '-' || text.data[e] == '+'))
			e++;
		if (e < text.size && isdigit((unsigned char)text.data[e]))
			for (i = e; i < text.size && isdigit((unsigned char)text.data[i]);)
				i++;
	}
	return i - at;
}

/* The text after the last mark that announces a final answer, else all of it. */
static struct bytes after_mark(struct bytes text, bool *marked)
{
	static const char *const marks[] = {"####", "\\boxed{"};

	*marked = false;
	for (size_t at = text.size; at-- > 0;) {
		struct bytes rest = bytes_of(text.data + at, text.size - at);

		for (size_t i = 0; i < sizeof(marks) / sizeof(marks[0]); i++) {
			size_t size = strlen(marks[i]);

			if (bytes_starts_with(rest, bytes_of(marks[i], size))) {
				*marked = true;
				return bytes_of(rest.data + size, rest.size - size);
			}
		}
	}
	return text;
}

/* The first number after a mark, else the last of the text. */
static bool final_number(struct bytes answer, double *out)
{
	bool marked, found = false;
	struct bytes text = after_mark(answer, &marked);

	for (size_t at = 0; at < text.size;) {
		size_t size = number_length(text, at);
		bool word = at > 0 && isalnum((unsigned char)text.data[at - 1]);

		/* 3-4 is a range and x2 a name: a sign or digit inside a word starts no number. */
		if (size && word && !isdigit((unsigned char)text.data[at])) {
			at++;
			continue;
		}
		if (size && !word && number_parse(bytes_of(text.data + at, size), out))
			found = true;
		if (found && marked)
			return true;
		at += size ? size : 1;
	}
	return found;
}

enum err_code scorer_numeric_grade(const json_t *spec, struct bytes answer, struct score *score,
				   struct err *err)
{
	double absolute = json_number_value(json_object_get(spec, "tolerance"));
	double relative = json_number_value(json_object_get(spec, "relative_tolerance"));
	double target, value;

	(void)err;
	if (!target_number(spec, &target) || !final_number(answer, &value)) {
		score_explain(score, "no number found");
		return ERR_OK;
	}
	/* Two decimal texts of one number may differ in the last bit. */
	double difference = fabs(value - target), allowed = fmax(absolute, relative * fabs(target));
	score->value = difference <= allowed + 1e-12 * fabs(target);
	score_explain(score, "found %.12g", value);
	return ERR_OK;
}

/* ---- choice ---- */

static int choices_count(const json_t *spec)
{
	const json_t *choices = json_object_get(spec, "choices");

	if (json_is_array(choices))
		return (int)json_array_size(choices);
	return json_is_integer(choices) ? (int)json_integer_value(choices) : CHOICES_MAX;
}

/* 0 for A; -1 if the target is no choice. */
static int target_choice(const json_t *spec)
{
	const json_t *target = json_object_get(spec, "target");
	const char *text = json_string_value(target);

	if (json_is_integer(target))
		return json_integer_value(target) < 0 || json_integer_value(target) >= CHOICES_MAX
			       ? -1
			       : (int)json_integer_value(target);
	if (text && text[0] && !text[1] && isalpha((unsigned char)text[0]))
		return toupper((unsigned char)text[0]) - 'A';
	return -1;
}

enum err_code scorer_choice_check(const json_t *spec, const char *what, struct err *err)
{
	static const char *const keys[] = {"kind", "target", "choices", NULL};
	int count = choices_count(spec), target = target_choice(spec);

	ERR_TRY(json_only_keys(spec, keys, what, err));
	if (count < 2 || count > CHOICES_MAX)
		return ERR_SET(err, ERR_INVALID, "%s: choices: 2 to %d are possible", what,
			       CHOICES_MAX);
	if (target < 0 || target >= count)
		return ERR_SET(
			err, ERR_INVALID,
			"%s: target: must be one of the letters A to %c, or its number from 0",
			what, 'A' + count - 1);
	return ERR_OK;
}

/* The choice that stands alone at `at`: B, (B), B. or B) but no word; -1 if none does. */
static int letter_at(struct bytes text, size_t at, int count)
{
	while (at < text.size && strchr(" \t*_\"'([{$:", text.data[at]))
		at++;
	if (at >= text.size || !isupper((unsigned char)text.data[at]))
		return -1;
	if (at + 1 < text.size && (isalnum((unsigned char)text.data[at + 1]) ||
				   text.data[at + 1] == '\'' || (text.data[at + 1] & 0x80)))
		return -1;
	int choice = text.data[at] - 'A';
	return choice < count ? choice : -1;
}

/* "answer is B", "Answer: (B)", "\boxed{B}": the last such statement. */
static int announced_choice(struct bytes text, int count)
{
	static const char *const marks[] = {"answer is", "answer:",   "\\boxed{",
					    "choice is", "option is", "####"};
	int choice = -1;

	for (size_t at = 0; at < text.size; at++) {
		for (size_t i = 0; i < sizeof(marks) / sizeof(marks[0]); i++) {
			size_t size = strlen(marks[i]);

			if (text.size - at < size ||
			    !bytes_equal_fold(bytes_of(text.data + at, size),
					      bytes_of(marks[i], size)))
				continue;
			int letter = letter_at(text, at + size, count);
			choice = letter >= 0 ? letter : choice;
		}
	}
	return choice;
}

/* An announcement; else a letter alone at the beginning, or alone on the last line. */
static int final_choice(struct bytes answer, int count)
{
	struct bytes text = scorer_trim(answer);
	int choice = announced_choice(text, count);
	size_t start = text.size;

	if (choice >= 0)
		return choice;
	while (start && text.data[start - 1] != '\n')
		start--;
	choice = letter_at(text, start, count);
	if (choice >= 0 && text.size - start <= 4)
		return choice;
	choice = letter_at(text, 0, count);
	/* "A fox jumps" begins with an article, "A" and "A. It jumps" with a choice. */
	if (choice >= 0 && text.size > 1 && isalpha((unsigned char)text.data[0]) &&
	    !strchr(".):,\n\r", text.data[1]))
		return -1;
	return choice;
}

enum err_code scorer_choice_grade(const json_t *spec, struct bytes answer, struct score *score,
				  struct err *err)
{
	int choice = final_choice(answer, choices_count(spec));

	(void)err;
	score->value = choice >= 0 && choice == target_choice(spec);
	if (choice < 0)
		score_explain(score, "no choice found");
	else
		score_explain(score, "chose %c", 'A' + choice);
	return ERR_OK;
}
