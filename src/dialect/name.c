/* Names of models that providers tell. Thousands of streams are served by a few models: what was
 * told alike within a workspace is held once. */
#include "dialect/ops.h"

#include <assert.h>
#include <stdlib.h>

/* So many of the newest names are compared with a new one. Where more are told at once, some are
 * held more than once. */
#define COMPARED_MAX 16

struct dialect_name {
	struct dialect_workspace *workspace; /* NULL: nobody shares it */
	struct dialect_name *next,
		*previous; /* among those in use, newest first; or in the stock */
	size_t users;
	char text[DIALECT_SERVED_MAX];
};

static struct dialect_name *find(struct dialect_workspace *workspace, struct bytes text)
{
	struct dialect_name *name = workspace->names;
	for (unsigned i = 0; name && i < COMPARED_MAX; i++, name = name->next)
		if (bytes_is(text, name->text))
			return name;
	return NULL;
}

static struct dialect_name *new_name(struct dialect_workspace *workspace)
{
	struct dialect_name *name = workspace ? workspace->spare_names : NULL;
	if (name) {
		workspace->spare_names = name->next;
		workspace->spare_name_count--;
	} else {
		name = malloc(sizeof(*name));
		if (!name)
			return NULL;
	}
	name->workspace = workspace;
	name->next = name->previous = NULL;
	name->users = 0;
	if (!workspace)
		return name;
	name->next = workspace->names;
	if (name->next)
		name->next->previous = name;
	workspace->names = name;
	return name;
}

struct dialect_name *observer_name(struct dialect_workspace *workspace, struct bytes text)
{
	struct dialect_name *name = workspace ? find(workspace, text) : NULL;
	assert(text.size < sizeof(name->text));
	if (!name) {
		name = new_name(workspace);
		if (!name)
			return NULL;
		memcpy(name->text, text.data, text.size);
		name->text[text.size] = '\0';
	}
	name->users++;
	return name;
}

static void give_back(struct dialect_name *name)
{
	struct dialect_workspace *workspace = name->workspace;
	if (!workspace) {
		free(name);
		return;
	}
	if (name->previous)
		name->previous->next = name->next;
	else
		workspace->names = name->next;
	if (name->next)
		name->next->previous = name->previous;
	if (workspace->spare_name_count >= DIALECT_WORKSPACE_SPARES) {
		free(name);
		return;
	}
	name->next = workspace->spare_names;
	workspace->spare_names = name;
	workspace->spare_name_count++;
}

void observer_names_release(struct dialect_workspace *workspace)
{
	assert(!workspace->names);
	while (workspace->spare_names) {
		struct dialect_name *name = workspace->spare_names;
		workspace->spare_names = name->next;
		free(name);
	}
	workspace->spare_name_count = 0;
}

const char *dialect_served(const struct dialect_outcome *outcome)
{
	return outcome->served ? outcome->served->text : "";
}

struct dialect_outcome dialect_outcome_copy(const struct dialect_outcome *outcome)
{
	if (outcome->served)
		outcome->served->users++;
	return *outcome;
}

void dialect_outcome_release(struct dialect_outcome *outcome)
{
	struct dialect_name *name = outcome->served;
	outcome->served = NULL;
	if (name && --name->users == 0)
		give_back(name);
}
