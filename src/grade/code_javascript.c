/* JavaScript, by the machine's Node.js: javascript/driver.js calls the candidate. */
#include "grade/code_internal.h"

#include "base/json.h"
#include "grade/javascript_driver.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define NODE_PATH_MAX 4096u
/* Address space that V8 reserves and never fills (0.7 GiB), and its worker threads. */
#define NODE_RESERVED ((uint64_t)2 << 30)
#define NODE_PROCESSES 24u

static bool is_program(char out[static NODE_PATH_MAX], struct bytes directory, const char *name)
{
	int size =
		snprintf(out, NODE_PATH_MAX, "%.*s/%s", (int)directory.size, directory.data, name);

	return size > 0 && size < (int)NODE_PATH_MAX && out[0] == '/' && access(out, X_OK) == 0;
}

/* Debian's, else what PATH has. */
static enum err_code find_node(char out[static NODE_PATH_MAX], struct err *err)
{
	const char *path = getenv("PATH");
	struct bytes rest = bytes_from(path ? path : "");

	if (is_program(out, BYTES("/usr/bin"), "node"))
		return ERR_OK;
	while (rest.size) {
		struct bytes directory = bytes_split(rest, ':', &rest);

		if (is_program(out, directory, "node") || is_program(out, directory, "nodejs"))
			return ERR_OK;
	}
	return ERR_SET(err, ERR_ENVIRONMENT,
		       "node is neither in /usr/bin nor in PATH: JavaScript is graded by Node.js; "
		       "install the package nodejs");
}

static enum err_code ready(struct err *err)
{
	char node[NODE_PATH_MAX];

	return find_node(node, err);
}

static void append_input(struct buf *input, const struct code_spec *spec, struct bytes code)
{
	const json_t *item;
	size_t index;

	buf_append_cstr(input, "{\"name\":");
	json_append_string(input, bytes_from(spec->entry_point));
	buf_append_cstr(input, ",\"code\":");
	json_append_string(input, code);
	buf_append_cstr(input, ",\"cases\":[");
	json_array_foreach((json_t *)spec->cases, index, item)
	{
		char *text = json_dumps(json_object_get(item, "args"), JSON_COMPACT);

		buf_append_cstr(input, index ? "," : "");
		buf_append_cstr(input, text ? text : "");
		input->failed |= !text;
		free(text);
	}
	buf_append_cstr(input, "]}");
}

static enum err_code run_cases(const struct code_spec *spec, struct bytes code,
			       struct sandbox_result *run, struct err *err)
{
	char node[NODE_PATH_MAX], heap[48];
	struct buf input = BUF_INIT(CODE_INPUT_MAX);

	ERR_TRY(find_node(node, err));
	snprintf(heap, sizeof(heap), "--max-old-space-size=%lld", (long long)spec->memory_mb);
	const char *const arguments[] = {
		node, heap, "--v8-pool-size=1", "--stack-size=2000", "-e", javascript_driver, NULL};
	struct sandbox_program program = {.argv = arguments, .limits = code_limits(spec)};
	program.limits.reserved_bytes = NODE_RESERVED;
	program.limits.processes = NODE_PROCESSES;
	append_input(&input, spec, code);
	program.input = buf_bytes(&input);
	enum err_code status =
		input.failed ? ERR_SET(err, ERR_NO_MEMORY, "out of memory for a program's cases")
			     : sandbox_run(&program, run, err);
	buf_release(&input);
	return status;
}

/* A declaration or assignment at the left margin. */
static bool defines(struct bytes line, struct bytes name)
{
	static const char *const before[] = {"function ", "function* ", "async function ",
					     "class ",    "const ",     "let ",
					     "var ",      "exports.",   "module.exports."};
	struct bytes rest = line;

	if (bytes_starts_with(rest, BYTES("export ")))
		rest = bytes_trim(bytes_of(rest.data + 7, rest.size - 7));
	if (bytes_starts_with(rest, BYTES("default ")))
		rest = bytes_trim(bytes_of(rest.data + 8, rest.size - 8));
	for (size_t i = 0; i < sizeof(before) / sizeof(before[0]); i++)
		if (code_name_follows(rest, before[i], name))
			return true;
	if (!code_name_follows(rest, "", name))
		return false;
	struct bytes after = bytes_trim(bytes_of(rest.data + name.size, rest.size - name.size));
	return after.size > 0 && after.data[0] == '=' && !bytes_starts_with(after, BYTES("=="));
}

static const char *const fences[] = {"", "javascript", "js", "node", "mjs", "cjs", NULL};

const struct code_language code_javascript = {
	.name = "javascript",
	.fences = fences,
	.defines = defines,
	.ready = ready,
	.run_cases = run_cases,
};
