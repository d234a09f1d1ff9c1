#include "cmd/cli.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define HELP_COLUMN 26

/* ---- help ---- */

static void print_option(const struct cli_option *option)
{
	char left[128];
	int used = snprintf(left, sizeof(left), "  %c%c%s--%s%s%s", option->letter ? '-' : ' ',
			    option->letter ? option->letter : ' ', option->letter ? ", " : "  ",
			    option->name, option->argument ? " " : "",
			    option->argument ? option->argument : "");
	if (used < HELP_COLUMN)
		printf("%-*s%s\n", HELP_COLUMN, left, option->help);
	else
		printf("%s\n%*s%s\n", left, HELP_COLUMN, "", option->help);
}

static void print_help(const struct cli_command *command)
{
	printf("usage: parley %s %s\n\n%s\n", command->name, command->usage, command->help);
	if (command->options && command->options->name)
		printf("\noptions:\n");
	for (const struct cli_option *option = command->options; option && option->name; option++)
		print_option(option);
	print_option(&(struct cli_option){.name = "help", .letter = 'h', .help = "this text"});
}

/* ---- parsing ---- */

int cli_usage(const char *command, const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	fprintf(stderr, "parley %s: ", command);
	vfprintf(stderr, format, arguments);
	fprintf(stderr, "\nTry `parley %s --help`.\n", command);
	va_end(arguments);
	return 2;
}

static const struct cli_option *find_long(const struct cli_command *command, const char *name,
					  size_t size)
{
	for (const struct cli_option *option = command->options; option && option->name; option++)
		if (strlen(option->name) == size && memcmp(option->name, name, size) == 0)
			return option;
	return NULL;
}

static const struct cli_option *find_letter(const struct cli_command *command, char letter)
{
	for (const struct cli_option *option = command->options; option && option->name; option++)
		if (option->letter == letter && letter)
			return option;
	return NULL;
}

static int set_number(const struct cli_command *command, const struct cli_option *option,
		      const char *text)
{
	char *end;
	double value = strtod(text, &end);
	bool whole = option->type == CLI_INTEGER;
	if (end == text || *end || !isfinite(value) || (whole && value != floor(value)))
		return cli_usage(command->name, "--%s: \"%s\" is not %s", option->name, text,
				 whole ? "an integer" : "a number");
	if (value < option->min || value > option->max)
		return cli_usage(command->name, "--%s: %s is outside %.16g to %.16g", option->name,
				 text, option->min, option->max);
	if (whole)
		*(int64_t *)option->target = (int64_t)value;
	else
		*(double *)option->target = value;
	return -1;
}

static int set_value(const struct cli_command *command, const struct cli_option *option,
		     const char *text)
{
	struct cli_list *list = option->target;
	switch (option->type) {
	case CLI_FLAG:
		*(bool *)option->target = true;
		return -1;
	case CLI_TEXT:
		*(const char **)option->target = text;
		return -1;
	case CLI_LIST:
		if (list->count == CLI_LIST_MAX)
			return cli_usage(command->name, "--%s is given more than %d times",
					 option->name, CLI_LIST_MAX);
		list->items[list->count++] = text;
		return -1;
	case CLI_INTEGER:
	case CLI_NUMBER:
		return set_number(command, option, text);
	}
	return -1;
}

/* Takes the option at argv[*at] and its value, if it has one. */
static int take_option(const struct cli_command *command, int argc, char **argv, int *at)
{
	const char *word = argv[*at];
	bool is_long = word[1] == '-';
	const char *name = word + (is_long ? 2 : 1);
	const char *equals = is_long ? strchr(name, '=') : NULL;
	size_t size = equals ? (size_t)(equals - name) : strlen(name);
	const struct cli_option *option = is_long             ? find_long(command, name, size)
					  : strlen(name) == 1 ? find_letter(command, name[0])
							      : NULL;
	if (!option)
		return cli_usage(command->name, "unknown option %s", word);
	if (option->type == CLI_FLAG) {
		if (equals)
			return cli_usage(command->name, "--%s takes no value", option->name);
		return set_value(command, option, NULL);
	}
	if (equals)
		return set_value(command, option, equals + 1);
	if (*at + 1 >= argc)
		return cli_usage(command->name, "--%s needs a value (%s)", option->name,
				 option->argument);
	(*at)++;
	return set_value(command, option, argv[*at]);
}

static int take_positional(const struct cli_command *command, const char *word,
			   struct cli_arguments *out)
{
	if (out->count == command->positional_max || out->count == CLI_LIST_MAX)
		return cli_usage(command->name, "unexpected argument \"%s\"", word);
	out->positional[out->count++] = word;
	return -1;
}

/* Behind "--" nothing is an option; with `rest` it is none of this command's either. */
static int parse(const struct cli_command *command, int argc, char **argv, bool rest,
		 struct cli_arguments *out)
{
	bool literal = false;
	int status = -1;
	memset(out, 0, sizeof(*out));
	for (int i = 0; i < argc && status < 0; i++) {
		const char *word = argv[i];
		if (literal) {
			status = take_positional(command, word, out);
		} else if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) {
			print_help(command);
			status = 0;
		} else if (strcmp(word, "--") == 0 && rest) {
			out->rest = (const char *const *)argv + i + 1;
			out->rest_count = (size_t)(argc - i - 1);
			break;
		} else if (strcmp(word, "--") == 0) {
			literal = true;
		} else if (word[0] == '-' && word[1]) {
			status = take_option(command, argc, argv, &i);
		} else {
			status = take_positional(command, word, out);
		}
	}
	if (status < 0 && out->count < command->positional_min)
		return cli_usage(command->name, "too few arguments (usage: parley %s %s)",
				 command->name, command->usage);
	return status;
}

int cli_parse(const struct cli_command *command, int argc, char **argv, struct cli_arguments *out)
{
	return parse(command, argc, argv, false, out);
}

int cli_parse_with_rest(const struct cli_command *command, int argc, char **argv,
			struct cli_arguments *out)
{
	return parse(command, argc, argv, true, out);
}

int cli_overview(const char *group, const struct cli_verb *verbs, int argc, char **argv)
{
	bool help = argc > 0 && (strcmp(argv[0], "--help") == 0 || strcmp(argv[0], "-h") == 0);
	FILE *out = help ? stdout : stderr;
	if (argc > 0 && !help)
		fprintf(stderr, "parley %s: unknown command \"%s\"\n", group, argv[0]);
	fprintf(out, "usage: parley %s COMMAND …\n\n", group);
	for (const struct cli_verb *verb = verbs; verb->name; verb++)
		fprintf(out, "  %-12s%.*s\n", verb->name, (int)strcspn(verb->help, ".;\n"),
			verb->help);
	fprintf(out, "\n`parley %s COMMAND --help` tells more.\n", group);
	return help ? 0 : 2;
}

int cli_dispatch(const char *group, const struct cli_verb *verbs, int argc, char **argv)
{
	for (const struct cli_verb *verb = verbs; argc > 0 && verb->name; verb++)
		if (strcmp(verb->name, argv[0]) == 0)
			return verb->run(argc - 1, argv + 1);
	return cli_overview(group, verbs, argc, argv);
}

/* ---- printing ---- */

int cli_fail(const struct err *err)
{
	fprintf(stderr, "parley: %s\n", err->message[0] ? err->message : err_text(err->code));
	return err_exit_status(err->code);
}

int cli_fail_given(struct err *err)
{
	err_to_usage(err);
	return cli_fail(err);
}

void cli_print_json(const json_t *value)
{
	json_dumpf(value, stdout, JSON_INDENT(2) | JSON_SORT_KEYS | JSON_ENCODE_ANY);
	putchar('\n');
}

void cli_print_safe(FILE *out, struct bytes text)
{
	for (size_t i = 0; i < text.size; i++) {
		unsigned char c = (unsigned char)text.data[i];
		if (c < 0x20 || c == 0x7f)
			fprintf(out, "\\x%02x", c);
		else
			putc(c, out);
	}
}

bool cli_is_terminal(void)
{
	return isatty(STDOUT_FILENO);
}
