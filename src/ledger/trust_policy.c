#include "ledger/trust_policy.h"

#include "ledger/cosignature.h"

#include <stdlib.h>

struct parsing {
	struct trust_policy *policy;
	bool has_quorum;
	unsigned line;
	struct err *err;
};

/* Words are divided by spaces and tabs; empty at the end of the line. */
static struct bytes next_word(struct bytes *rest)
{
	size_t start = 0, end;
	while (start < rest->size && (rest->data[start] == ' ' || rest->data[start] == '\t'))
		start++;
	end = start;
	while (end < rest->size && rest->data[end] != ' ' && rest->data[end] != '\t')
		end++;
	struct bytes word = bytes_of(rest->data + start, end - start);
	*rest = bytes_of(rest->data + end, rest->size - end);
	return word;
}

static enum err_code wrong(struct parsing *parsing, const char *problem, struct bytes word)
{
	return ERR_SET(parsing->err, ERR_INVALID, "line %u: %s \"%.*s\"", parsing->line, problem,
		       (int)(word.size < 100 ? word.size : 100), word.data ? word.data : "");
}

static uint32_t find(const struct trust_policy *policy, struct bytes name)
{
	for (unsigned i = 0; i < policy->node_count; i++)
		if (bytes_is(name, policy->nodes[i].name))
			return i;
	return TRUST_NOBODY;
}

static enum err_code end_of_line(struct parsing *parsing, struct bytes *rest)
{
	struct bytes word = next_word(rest);
	return word.size == 0 ? ERR_OK : wrong(parsing, "there is too much:", word);
}

/* ---- the kinds of lines ---- */

static enum err_code add_log(struct parsing *parsing, struct bytes rest)
{
	struct trust_policy *policy = parsing->policy;
	struct note_key key;
	struct bytes vkey = next_word(&rest);
	(void)next_word(&rest); /* the URL: for those who call the log */
	if (note_key_parse(vkey, &key, parsing->err) != ERR_OK)
		return err_prefix(parsing->err, "line %u", parsing->line);
	for (unsigned i = 0; i < policy->log_count; i++)
		if (memcmp(policy->logs[i].key.public_key, key.public_key, ED25519_KEY_SIZE) == 0)
			return wrong(parsing, "this log's key stands here twice:", vkey);
	if (policy->log_count == TRUST_LOGS_MAX)
		return ERR_SET(parsing->err, ERR_TOO_LARGE, "there are more than %u logs",
			       TRUST_LOGS_MAX);
	policy->logs[policy->log_count++].key = key;
	return end_of_line(parsing, &rest);
}

static enum err_code new_node(struct parsing *parsing, struct bytes name, struct trust_node **out)
{
	struct trust_policy *policy = parsing->policy;
	if (name.size == 0 || name.size > NOTE_NAME_MAX)
		return wrong(parsing, "a name has 1 to 255 bytes:", name);
	if (bytes_is(name, "none") || find(policy, name) != TRUST_NOBODY)
		return wrong(parsing, "the name is taken:", name);
	if (policy->node_count == TRUST_NODES_MAX)
		return ERR_SET(parsing->err, ERR_TOO_LARGE,
			       "there are more than %u witnesses and groups", TRUST_NODES_MAX);
	*out = &policy->nodes[policy->node_count];
	**out = (struct trust_node){.parent = TRUST_NOBODY};
	memcpy((*out)->name, name.data, name.size);
	return ERR_OK;
}

static enum err_code add_witness(struct parsing *parsing, struct bytes rest)
{
	struct trust_policy *policy = parsing->policy;
	struct trust_node *node;
	ERR_TRY(new_node(parsing, next_word(&rest), &node));
	struct bytes vkey = next_word(&rest);
	(void)next_word(&rest);
	if (note_cosigner_parse(vkey, &node->key, parsing->err) != ERR_OK)
		return err_prefix(parsing->err, "line %u", parsing->line);
	for (unsigned i = 0; i < policy->node_count; i++)
		if (!policy->nodes[i].is_group &&
		    memcmp(policy->nodes[i].key.public_key, node->key.public_key,
			   ED25519_KEY_SIZE) == 0)
			return wrong(parsing, "this witness's key stands here twice:", vkey);
	policy->node_count++;
	return end_of_line(parsing, &rest);
}

static enum err_code add_members(struct parsing *parsing, struct trust_node *group,
				 struct bytes rest)
{
	struct trust_policy *policy = parsing->policy;
	struct bytes word;
	while ((word = next_word(&rest)).size > 0) {
		uint32_t member = find(policy, word);
		if (member == TRUST_NOBODY)
			return wrong(parsing, "no line above defines", word);
		if (policy->nodes[member].parent != TRUST_NOBODY)
			return wrong(parsing, "it is a member of a group already:", word);
		policy->nodes[member].parent = policy->node_count;
		group->members++;
	}
	return group->members > 0 ? ERR_OK : wrong(parsing, "it has no members:", BYTES("group"));
}

static enum err_code add_group(struct parsing *parsing, struct bytes rest)
{
	struct trust_node *group;
	uint64_t threshold = 0;
	ERR_TRY(new_node(parsing, next_word(&rest), &group));
	struct bytes word = next_word(&rest);
	bool all = bytes_is(word, "all");
	if (bytes_is(word, "any"))
		threshold = 1;
	else if (!all && (!bytes_to_u64(word, TRUST_NODES_MAX, &threshold) || word.data[0] == '0'))
		return wrong(parsing, "not \"all\", \"any\" or a number from 1 on:", word);
	group->is_group = true;
	ERR_TRY(add_members(parsing, group, rest));
	group->threshold = all ? group->members : (unsigned)threshold;
	if (group->threshold > group->members)
		return wrong(parsing, "the group has fewer members than", word);
	parsing->policy->node_count++;
	return ERR_OK;
}

static enum err_code set_quorum(struct parsing *parsing, struct bytes rest)
{
	struct trust_policy *policy = parsing->policy;
	struct bytes name = next_word(&rest);
	if (parsing->has_quorum)
		return wrong(parsing, "a second quorum:", name);
	parsing->has_quorum = true;
	policy->quorum = find(policy, name);
	if (policy->quorum == TRUST_NOBODY && !bytes_is(name, "none"))
		return wrong(parsing, "no line above defines", name);
	return end_of_line(parsing, &rest);
}

static const struct {
	const char *word;
	enum err_code (*read)(struct parsing *, struct bytes rest);
} kinds[] = {
	{"log",     add_log    },
	{"witness", add_witness},
	{"group",   add_group  },
	{"quorum",  set_quorum },
};

static enum err_code read_line(struct parsing *parsing, struct bytes line)
{
	struct bytes rest = line;
	struct bytes word = next_word(&rest);
	if (word.size == 0 || word.data[0] == '#')
		return ERR_OK;
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (bytes_is(word, kinds[i].word))
			return kinds[i].read(parsing, rest);
	return wrong(parsing, "neither log, witness, group nor quorum:", word);
}

static enum err_code read_lines(struct parsing *parsing, struct bytes text)
{
	if (text.size > TRUST_TEXT_MAX)
		return ERR_SET(parsing->err, ERR_TOO_LARGE, "a policy has at most %zu bytes",
			       TRUST_TEXT_MAX);
	for (size_t i = 0; i < text.size; i++) {
		unsigned char c = (unsigned char)text.data[i];
		if ((c < 0x20 && c != '\t' && c != '\n') || c == 0x7f)
			return ERR_SET(parsing->err, ERR_INVALID, "byte %zu is a control character",
				       i + 1);
	}
	while (text.size > 0) {
		parsing->line++;
		ERR_TRY(read_line(parsing, bytes_split(text, '\n', &text)));
	}
	if (!parsing->has_quorum)
		return ERR_SET(parsing->err, ERR_INVALID,
			       "there is no line \"quorum NAME\" (or \"quorum none\")");
	return ERR_OK;
}

enum err_code trust_policy_parse(struct bytes text, struct trust_policy **out, struct err *err)
{
	*out = NULL;
	struct trust_policy *policy = calloc(1, sizeof(*policy));
	if (!policy)
		return ERR_SET(err, ERR_NO_MEMORY, "out of memory for a policy");
	struct parsing parsing = {.policy = policy, .err = err};
	policy->quorum = TRUST_NOBODY;
	enum err_code code = read_lines(&parsing, text);
	if (code == ERR_OK)
		*out = policy;
	else
		free(policy);
	return code;
}

/* ---- evaluating ---- */

enum err_code trust_policy_evaluate(const struct trust_policy *policy, const struct note *note,
				    struct trust_finding *out, struct err *err)
{
	unsigned witnessed[TRUST_NODES_MAX] = {0}; /* members of each group that did */
	*out = (struct trust_finding){.quorum = policy->quorum == TRUST_NOBODY};
	for (unsigned i = 0; i < policy->node_count; i++) {
		const struct trust_node *node = &policy->nodes[i];
		bool did = node->is_group && witnessed[i] >= node->threshold;
		if (!node->is_group) {
			enum err_code code =
				cosignature_verify(note, &node->key, &out->time_s[i], err);
			if (code != ERR_OK && code != ERR_NOT_FOUND)
				return code;
			did = code == ERR_OK;
			out->by[i] = did;
			out->cosigned += did;
			out->witnesses++;
		}
		if (did && node->parent != TRUST_NOBODY)
			witnessed[node->parent]++;
		out->quorum |= did && i == policy->quorum;
	}
	return ERR_OK;
}
