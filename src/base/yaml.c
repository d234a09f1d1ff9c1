#include "base/yaml.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <yaml.h>

#define PATH_MAX_TEXT 256

/* Where a value stands: member `key` or element `index` of `container`. */
struct place {
	const json_t *container; /* NULL for the mapping at the top */
	char *key;               /* NULL for elements and the top */
	size_t index;
	json_t *value; /* a reference, so that its address is not used again */
	int line;      /* of the value */
	int key_line;  /* of the key; the value's for elements */
};

struct yaml_tree {
	char *file;
	struct place *places; /* the first is the top */
	size_t count, capacity;
	uint32_t *by_value, *by_member; /* open addressing; place number + 1, 0: free */
	size_t mask;
};

struct builder {
	struct yaml_tree *tree;
	yaml_parser_t parser;
	struct err *err;
};

/* ---- the side table of places ---- */

static size_t mix(uint64_t hash)
{
	hash ^= hash >> 32;
	hash *= 0x9e3779b97f4a7c15u;
	return (size_t)(hash ^ (hash >> 29));
}

static size_t hash_value(const json_t *value)
{
	return mix((uint64_t)(uintptr_t)value);
}

static size_t hash_member(const json_t *container, const char *key, size_t index)
{
	uint64_t hash = 0xcbf29ce484222325u ^ index;
	for (; key && *key; key++)
		hash = (hash ^ (unsigned char)*key) * 0x100000001b3u;
	return mix(hash ^ (uint64_t)(uintptr_t)container);
}

static bool is_member(const struct place *place, const json_t *container, const char *key,
		      size_t index)
{
	if (place->container != container || !place->key != !key)
		return false;
	return key ? strcmp(place->key, key) == 0 : place->index == index;
}

static const struct place *find_value(const struct yaml_tree *tree, const json_t *value)
{
	for (size_t slot = hash_value(value) & tree->mask; tree->by_value[slot];
	     slot = (slot + 1) & tree->mask) {
		const struct place *place = &tree->places[tree->by_value[slot] - 1];
		if (place->value == value)
			return place;
	}
	return NULL;
}

static const struct place *find_member(const struct yaml_tree *tree, const json_t *container,
				       const char *key, size_t index)
{
	for (size_t slot = hash_member(container, key, index) & tree->mask; tree->by_member[slot];
	     slot = (slot + 1) & tree->mask) {
		const struct place *place = &tree->places[tree->by_member[slot] - 1];
		if (is_member(place, container, key, index))
			return place;
	}
	return NULL;
}

static void insert(uint32_t *table, size_t mask, size_t hash, size_t number)
{
	size_t slot = hash & mask;
	while (table[slot])
		slot = (slot + 1) & mask;
	table[slot] = (uint32_t)number + 1;
}

/* true, false and null are one object each for the whole program. */
static bool is_shared(const json_t *value)
{
	return json_is_boolean(value) || json_is_null(value);
}

static enum err_code index_places(struct yaml_tree *tree, struct err *err)
{
	size_t size = 16;
	while (size < tree->count * 2)
		size *= 2;
	tree->mask = size - 1;
	tree->by_value = calloc(size, sizeof(*tree->by_value));
	tree->by_member = calloc(size, sizeof(*tree->by_member));
	if (!tree->by_value || !tree->by_member)
		return ERR_SET(err, ERR_NO_MEMORY, "out of memory reading %s", tree->file);
	for (size_t i = 0; i < tree->count; i++) {
		const struct place *place = &tree->places[i];
		if (!is_shared(place->value))
			insert(tree->by_value, tree->mask, hash_value(place->value), i);
		insert(tree->by_member, tree->mask,
		       hash_member(place->container, place->key, place->index), i);
	}
	return ERR_OK;
}

/* Takes `key`, also when it fails. */
static enum err_code add_place(struct builder *builder, struct place place)
{
	struct yaml_tree *tree = builder->tree;
	struct place *places = tree->places;
	if (tree->count == YAML_NODES_MAX) {
		free(place.key);
		return ERR_SET(builder->err, ERR_TOO_LARGE, "%s:%d: more than %u values",
			       tree->file, place.line, YAML_NODES_MAX);
	}
	if (tree->count == tree->capacity) {
		size_t capacity = tree->capacity ? tree->capacity * 2 : 64;
		places = realloc(tree->places, capacity * sizeof(*places));
		if (!places) {
			free(place.key);
			return ERR_SET(builder->err, ERR_NO_MEMORY, "out of memory reading %s",
				       tree->file);
		}
		tree->places = places;
		tree->capacity = capacity;
	}
	json_incref(place.value);
	places[tree->count++] = place;
	return ERR_OK;
}

/* ---- events to values ---- */

static int line_of(const yaml_event_t *event)
{
	return (int)event->start_mark.line + 1;
}

static enum err_code refuse(struct builder *builder, const yaml_event_t *event, const char *problem)
{
	return ERR_SET(builder->err, ERR_INVALID, "%s:%d: %s", builder->tree->file, line_of(event),
		       problem);
}

/* The caller deletes the event, also when this fails. */
static enum err_code next_event(struct builder *builder, yaml_event_t *event)
{
	memset(event, 0, sizeof(*event));
	if (yaml_parser_parse(&builder->parser, event))
		return ERR_OK;
	const yaml_parser_t *parser = &builder->parser;
	if (parser->error == YAML_MEMORY_ERROR)
		return ERR_SET(builder->err, ERR_NO_MEMORY, "out of memory reading %s",
			       builder->tree->file);
	return ERR_SET(builder->err, ERR_INVALID, "%s:%zu: %s%s%s", builder->tree->file,
		       parser->problem_mark.line + 1,
		       parser->problem ? parser->problem : "not YAML", parser->context ? " " : "",
		       parser->context ? parser->context : "");
}

static bool is_one_of(struct bytes text, const char *const *words)
{
	for (; *words; words++)
		if (bytes_is(text, *words))
			return true;
	return false;
}

static size_t span(struct bytes text, size_t from, const char *set)
{
	size_t i = from;
	while (i < text.size && strchr(set, text.data[i]))
		i++;
	return i - from;
}

#define DIGITS "0123456789"

/* [-+]? [0-9]+ | 0o [0-7]+ | 0x [0-9a-fA-F]+ : the base, or 0. */
static int integer_base(struct bytes text)
{
	size_t sign = text.size && (text.data[0] == '-' || text.data[0] == '+');
	size_t digits = span(text, sign, DIGITS);
	if (digits && sign + digits == text.size)
		return 10;
	if (bytes_starts_with(text, BYTES("0o")) && text.size > 2 &&
	    span(text, 2, "01234567") == text.size - 2)
		return 8;
	if (bytes_starts_with(text, BYTES("0x")) && text.size > 2 &&
	    span(text, 2, DIGITS "abcdefABCDEF") == text.size - 2)
		return 16;
	return 0;
}

/* [-+]? ( \. [0-9]+ | [0-9]+ ( \. [0-9]* )? ) ( [eE] [-+]? [0-9]+ )? */
static bool is_float(struct bytes text)
{
	size_t at = text.size && (text.data[0] == '-' || text.data[0] == '+');
	size_t whole = span(text, at, DIGITS);
	size_t fraction = 0;
	at += whole;
	if (at < text.size && text.data[at] == '.') {
		fraction = span(text, at + 1, DIGITS);
		at += 1 + fraction;
	}
	if (whole + fraction == 0)
		return false;
	if (at < text.size && (text.data[at] == 'e' || text.data[at] == 'E')) {
		at++;
		if (at < text.size && (text.data[at] == '-' || text.data[at] == '+'))
			at++;
		size_t digits = span(text, at, DIGITS);
		if (!digits)
			return false;
		at += digits;
	}
	return at == text.size;
}

static const char *const null_words[] = {"", "~", "null", "Null", "NULL", NULL};
static const char *const true_words[] = {"true", "True", "TRUE", NULL};
static const char *const false_words[] = {"false", "False", "FALSE", NULL};
static const char *const unbounded_words[] = {".inf",  ".Inf",  ".INF",  "+.inf", "+.Inf",
					      "+.INF", "-.inf", "-.Inf", "-.INF", ".nan",
					      ".NaN",  ".NAN",  NULL};

static enum err_code number_value(struct builder *builder, const yaml_event_t *event, int base,
				  json_t **out)
{
	const char *text = (const char *)event->data.scalar.value;
	if (base) {
		errno = 0;
		long long number = strtoll(base == 10 ? text : text + 2, NULL, base);
		if (errno)
			return refuse(builder, event,
				      "integer beyond 64 bits (put it in quotes if it is text)");
		*out = json_integer(number);
		return ERR_OK;
	}
	double number = strtod(text, NULL);
	if (!isfinite(number))
		return refuse(builder, event, "number too large");
	*out = json_real(number);
	return ERR_OK;
}

static enum err_code plain_value(struct builder *builder, const yaml_event_t *event, json_t **out)
{
	struct bytes text = bytes_of(event->data.scalar.value, event->data.scalar.length);
	int base = integer_base(text);
	if (is_one_of(text, null_words))
		*out = json_null();
	else if (is_one_of(text, true_words))
		*out = json_true();
	else if (is_one_of(text, false_words))
		*out = json_false();
	else if (is_one_of(text, unbounded_words))
		return refuse(builder, event, "infinity and NaN are not allowed");
	else if (base || is_float(text))
		return number_value(builder, event, base, out);
	else
		*out = json_stringn(text.data, text.size);
	return ERR_OK;
}

static enum err_code scalar_value(struct builder *builder, const yaml_event_t *event, json_t **out)
{
	const char *text = (const char *)event->data.scalar.value;
	size_t size = event->data.scalar.length;
	if (memchr(text, '\0', size))
		return refuse(builder, event, "NUL characters are not allowed");
	if (event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE)
		ERR_TRY(plain_value(builder, event, out));
	else
		*out = json_stringn(text, size);
	return *out ? ERR_OK
		    : ERR_SET(builder->err, ERR_NO_MEMORY, "out of memory reading %s",
			      builder->tree->file);
}

/* What of YAML is left out: aliases, anchors and tags. */
static enum err_code check_plain_node(struct builder *builder, const yaml_event_t *event)
{
	const yaml_char_t *anchor = NULL, *tag = NULL;
	switch (event->type) {
	case YAML_ALIAS_EVENT:
		return refuse(builder, event, "aliases (*name) are not allowed");
	case YAML_SCALAR_EVENT:
		anchor = event->data.scalar.anchor;
		tag = event->data.scalar.tag;
		break;
	case YAML_SEQUENCE_START_EVENT:
		anchor = event->data.sequence_start.anchor;
		tag = event->data.sequence_start.tag;
		break;
	case YAML_MAPPING_START_EVENT:
		anchor = event->data.mapping_start.anchor;
		tag = event->data.mapping_start.tag;
		break;
	default:
		break;
	}
	if (anchor)
		return refuse(builder, event, "anchors (&name) are not allowed");
	return tag ? refuse(builder, event, "tags (!name) are not allowed") : ERR_OK;
}

static enum err_code read_value(struct builder *builder, const yaml_event_t *event,
				struct place place, int depth, json_t **out);

/* Reads the key in `event`; *out is a copy. */
static enum err_code read_key(struct builder *builder, const yaml_event_t *event,
			      const json_t *object, char **out)
{
	ERR_TRY(check_plain_node(builder, event));
	if (event->type != YAML_SCALAR_EVENT)
		return refuse(builder, event, "a key must be a plain word or a quoted text");
	const char *text = (const char *)event->data.scalar.value;
	size_t size = event->data.scalar.length;
	if (size == 0 || memchr(text, '\0', size))
		return refuse(builder, event, "a key must not be empty or hold NUL");
	if (event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE && strcmp(text, "<<") == 0)
		return refuse(builder, event, "merge keys (<<) are not allowed");
	if (json_object_get(object, text))
		return ERR_SET(builder->err, ERR_INVALID, "%s:%d: the key %s stands here twice",
			       builder->tree->file, line_of(event), text);
	*out = strdup(text);
	return *out ? ERR_OK : ERR_SET(builder->err, ERR_NO_MEMORY, "out of memory");
}

/* One member after its key; takes `key`. */
static enum err_code read_member(struct builder *builder, json_t *object, char *key, int key_line,
				 int depth)
{
	yaml_event_t event;
	json_t *value = NULL;
	enum err_code code = next_event(builder, &event);
	char *name = code == ERR_OK ? strdup(key) : NULL;
	if (code == ERR_OK && !name)
		code = ERR_SET(builder->err, ERR_NO_MEMORY, "out of memory");
	if (code == ERR_OK)
		code = read_value(
			builder, &event,
			(struct place){.container = object, .key = name, .key_line = key_line},
			depth, &value);
	if (code == ERR_OK && json_object_set(object, key, value) != 0)
		code = ERR_SET(builder->err, ERR_NO_MEMORY, "out of memory");
	json_decref(value);
	free(key);
	yaml_event_delete(&event);
	return code;
}

static enum err_code read_mapping(struct builder *builder, json_t *object, int depth)
{
	for (;;) {
		yaml_event_t event;
		char *key = NULL;
		enum err_code code = next_event(builder, &event);
		bool end = code == ERR_OK && event.type == YAML_MAPPING_END_EVENT;
		int line = line_of(&event);
		if (code == ERR_OK && !end)
			code = read_key(builder, &event, object, &key);
		yaml_event_delete(&event);
		if (code != ERR_OK || end)
			return code;
		ERR_TRY(read_member(builder, object, key, line, depth));
	}
}

static enum err_code read_sequence(struct builder *builder, json_t *array, int depth)
{
	for (;;) {
		yaml_event_t event;
		json_t *value = NULL;
		enum err_code code = next_event(builder, &event);
		bool end = code == ERR_OK && event.type == YAML_SEQUENCE_END_EVENT;
		if (code == ERR_OK && !end)
			code = read_value(builder, &event,
					  (struct place){.container = array,
							 .index = json_array_size(array),
							 .key_line = line_of(&event)},
					  depth, &value);
		yaml_event_delete(&event);
		if (code == ERR_OK && !end && json_array_append(array, value) != 0)
			code = ERR_SET(builder->err, ERR_NO_MEMORY, "out of memory");
		json_decref(value);
		if (code != ERR_OK || end)
			return code;
	}
}

static enum err_code make_value(struct builder *builder, const yaml_event_t *event, json_t **out)
{
	ERR_TRY(check_plain_node(builder, event));
	if (event->type == YAML_SCALAR_EVENT)
		return scalar_value(builder, event, out);
	*out = event->type == YAML_MAPPING_START_EVENT ? json_object() : json_array();
	return *out ? ERR_OK : ERR_SET(builder->err, ERR_NO_MEMORY, "out of memory");
}

/* The value that begins with `event`, a new reference; its place is noted. Takes place.key. */
static enum err_code read_value(struct builder *builder, const yaml_event_t *event,
				struct place place, int depth, json_t **out)
{
	json_t *value = NULL;
	enum err_code code = depth < YAML_DEPTH_MAX
				     ? make_value(builder, event, &value)
				     : refuse(builder, event, "nested too deeply (at most 32)");
	if (code != ERR_OK) {
		free(place.key);
		return code;
	}
	place.line = line_of(event);
	place.value = value;
	*out = value; /* the caller drops it, also when what follows fails */
	ERR_TRY(add_place(builder, place));
	if (json_is_object(value))
		return read_mapping(builder, value, depth + 1);
	if (json_is_array(value))
		return read_sequence(builder, value, depth + 1);
	return ERR_OK;
}

/* ---- the document ---- */

static enum err_code expect(struct builder *builder, yaml_event_type_t type, const char *problem)
{
	yaml_event_t event;
	enum err_code code = next_event(builder, &event);
	if (code == ERR_OK && event.type != type)
		code = refuse(builder, &event, problem);
	if (code == ERR_OK && type == YAML_DOCUMENT_START_EVENT &&
	    event.data.document_start.tag_directives.start !=
		    event.data.document_start.tag_directives.end)
		code = refuse(builder, &event, "%TAG directives are not allowed");
	yaml_event_delete(&event);
	return code;
}

static enum err_code read_top(struct builder *builder)
{
	yaml_event_t event;
	json_t *root = NULL;
	enum err_code code = next_event(builder, &event);
	if (code == ERR_OK && event.type != YAML_MAPPING_START_EVENT)
		code = refuse(builder, &event, "the file must hold `key: value` lines");
	if (code == ERR_OK)
		code = read_value(builder, &event, (struct place){.key_line = line_of(&event)}, 0,
				  &root);
	json_decref(root);
	yaml_event_delete(&event);
	return code;
}

static enum err_code read_document(struct builder *builder)
{
	ERR_TRY(expect(builder, YAML_STREAM_START_EVENT, "not a YAML stream"));
	ERR_TRY(expect(builder, YAML_DOCUMENT_START_EVENT, "the file is empty"));
	ERR_TRY(read_top(builder));
	ERR_TRY(expect(builder, YAML_DOCUMENT_END_EVENT, "unexpected end of the document"));
	return expect(builder, YAML_STREAM_END_EVENT, "only one document is allowed in the file");
}

enum err_code yaml_parse(struct bytes text, const char *file, struct yaml_tree **out,
			 struct err *err)
{
	*out = NULL;
	if (text.size > YAML_TEXT_MAX)
		return ERR_SET(err, ERR_TOO_LARGE, "%s: larger than %zu bytes", file,
			       YAML_TEXT_MAX);
	struct yaml_tree *tree = calloc(1, sizeof(*tree));
	struct builder builder = {.tree = tree, .err = err};
	if (!tree || !(tree->file = strdup(file)) || !yaml_parser_initialize(&builder.parser)) {
		yaml_tree_free(tree);
		return ERR_SET(err, ERR_NO_MEMORY, "out of memory reading %s", file);
	}
	yaml_parser_set_encoding(&builder.parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(
		&builder.parser, (const unsigned char *)(text.data ? text.data : ""), text.size);
	enum err_code code = read_document(&builder);
	yaml_parser_delete(&builder.parser);
	if (code == ERR_OK)
		code = index_places(tree, err);
	if (code != ERR_OK) {
		yaml_tree_free(tree);
		return code;
	}
	*out = tree;
	return ERR_OK;
}

void yaml_tree_free(struct yaml_tree *tree)
{
	if (!tree)
		return;
	for (size_t i = 0; i < tree->count; i++) {
		json_decref(tree->places[i].value);
		free(tree->places[i].key);
	}
	free(tree->places);
	free(tree->by_value);
	free(tree->by_member);
	free(tree->file);
	free(tree);
}

json_t *yaml_root(const struct yaml_tree *tree)
{
	return tree->places[0].value;
}

const char *yaml_file(const struct yaml_tree *tree)
{
	return tree->file;
}

int yaml_line(const struct yaml_tree *tree, const json_t *node)
{
	const struct place *place = find_value(tree, node);
	return place ? place->line : 0;
}

int yaml_line_of(const struct yaml_tree *tree, const json_t *object, const char *key)
{
	const struct place *place = find_member(tree, object, key, 0);
	return place ? place->key_line : yaml_line(tree, object);
}

int yaml_line_at(const struct yaml_tree *tree, const json_t *array, size_t index)
{
	const struct place *place = find_member(tree, array, NULL, index);
	return place ? place->line : yaml_line(tree, array);
}

/* ---- errors that name the place ---- */

/* Writes "a.b[2].c" for the container itself. */
static void append_path(const struct yaml_tree *tree, const json_t *container, struct buf *path)
{
	const struct place *chain[YAML_DEPTH_MAX + 1];
	unsigned depth = 0;
	const struct place *place = find_value(tree, container);
	while (place && place->container && depth <= YAML_DEPTH_MAX) {
		chain[depth++] = place;
		place = find_value(tree, place->container);
	}
	while (depth > 0) {
		place = chain[--depth];
		if (place->key)
			buf_printf(path, "%s%s", path->size ? "." : "", place->key);
		else
			buf_printf(path, "[%zu]", place->index);
	}
}

__attribute__((format(printf, 6, 0))) static enum err_code
fail(const struct yaml_tree *tree, int line, struct buf *path, struct err *err, enum err_code code,
     const char *format, va_list arguments)
{
	char problem[384];
	vsnprintf(problem, sizeof(problem), format, arguments);
	bool named = path->size > 0 && !path->failed;
	ERR_SET(err, code, "%s:%d: %s%s%s", tree->file, line, named ? path->data : "",
		named ? ": " : "", problem);
	buf_release(path);
	return code;
}

enum err_code yaml_fail(const struct yaml_tree *tree, const json_t *object, const char *key,
			struct err *err, enum err_code code, const char *format, ...)
{
	va_list arguments;
	struct buf path = BUF_INIT(PATH_MAX_TEXT);
	append_path(tree, object, &path);
	if (key)
		buf_printf(&path, "%s%s", path.size ? "." : "", key);
	va_start(arguments, format);
	fail(tree, key ? yaml_line_of(tree, object, key) : yaml_line(tree, object), &path, err,
	     code, format, arguments);
	va_end(arguments);
	return code;
}

enum err_code yaml_fail_at(const struct yaml_tree *tree, const json_t *array, size_t index,
			   struct err *err, enum err_code code, const char *format, ...)
{
	va_list arguments;
	struct buf path = BUF_INIT(PATH_MAX_TEXT);
	append_path(tree, array, &path);
	buf_printf(&path, "[%zu]", index);
	va_start(arguments, format);
	fail(tree, yaml_line_at(tree, array, index), &path, err, code, format, arguments);
	va_end(arguments);
	return code;
}
