/* The use of scopes, kept durably with the places in the logs up to which it was counted.
 *
 * Once a minute: a cut is made at the next index of each log (gate/use.h); at the next turn, when
 * all before it is durable, the sums are written in one transaction with the places. A cut that a
 * request came between, or that the logs have not reached by the end of the day, is given up: what
 * was counted meanwhile is taken together, and the next cut waits until that is durable. */
#include "gate/control_internal.h"

#include <stdio.h>
#include <stdlib.h>

#define PLACES_ID "places" /* no scope: those have a / in their names */
#define ROW_SIZE 4096

static int64_t today_of(const struct control *control)
{
	return env_wall_ms(control->env) / WORLD_DAY_MS;
}

static uint64_t next_of(const struct control *control, int log)
{
	return control->hooks.log_next(control->hooks.argument, (enum control_log)log);
}

static void set_cut(struct control *control, const uint64_t places[CONTROL_LOGS])
{
	for (int log = 0; log < CONTROL_LOGS; log++)
		gate_use_cut_at(&control->use.cut, (enum control_log)log,
				places ? places[log] : GATE_USE_NOWHERE, control->use.live);
}

/* Whether all records before the places are durable. */
static bool has_reached(const struct control *control)
{
	for (int log = 0; log < CONTROL_LOGS; log++)
		if (control->hooks.log_position(control->hooks.argument, (enum control_log)log) <
		    control->use.places[log])
			return false;
	return true;
}

static void take_all(struct control *control, bool both)
{
	struct limits_table *table = world_limits(control->world);
	unsigned live = control->use.live;
	const char *name;
	for (size_t i = 0; i < limits_table_count(table); i++) {
		struct limits_use *use = &limits_table_at(table, i, &name)->use;
		limits_use_take(use, live, today_of(control));
		if (both)
			limits_use_take(use, !live, today_of(control));
	}
	control->use.day = today_of(control);
}

/* ---- rows ---- */

static void append_amounts(struct buf *out, const struct limits_amounts *amounts)
{
	for (unsigned i = 0; i < LIMITS_AMOUNTS; i++)
		buf_printf(out, "%s%lld", i ? "," : "[", (long long)amounts->of[i]);
	buf_append_char(out, ']');
}

/* {"day":…,"outputs":[[bucket,count],…],"sums":[day's,week's,month's]} */
static void write_row(const struct limits_cells *cells, struct buf *out)
{
	const char *separator = "";
	buf_printf(out, "{\"day\":%lld,\"outputs\":[", (long long)cells->use.day);
	for (unsigned bucket = 0; bucket < LIMITS_OUTPUT_BUCKETS; bucket++) {
		uint32_t count = limits_outputs_in(cells, bucket);
		if (count) {
			buf_printf(out, "%s[%u,%u]", separator, bucket, count);
			separator = ",";
		}
	}
	buf_append_cstr(out, "],\"sums\":");
	for (unsigned period = 0; period < LIMITS_PERIODS; period++) {
		buf_append_char(out, period ? ',' : '[');
		append_amounts(out, &cells->use.sums[period]);
	}
	buf_append_cstr(out, "]}");
}

static enum err_code write_places(const struct control *control, struct buf *out, struct err *err)
{
	for (int log = 0; log < CONTROL_LOGS; log++)
		buf_printf(out, "%s%llu", log ? "," : "{\"places\":[",
			   (unsigned long long)control->use.places[log]);
	buf_append_cstr(out, "]}");
	return out->failed ? ERR_SET(err, ERR_NO_MEMORY, "no memory to keep the use") : ERR_OK;
}

/* The sums that changed and the places, in one transaction. */
static enum err_code keep(struct control *control, struct err *err)
{
	struct limits_table *table = world_limits(control->world);
	size_t all = limits_table_count(table), count = 0;
	struct store_document *rows = calloc(all + 1, sizeof(*rows));
	size_t *ends = calloc(all + 1, sizeof(*ends));
	struct buf text;
	buf_init(&text, (all + 1) * ROW_SIZE);
	enum err_code code =
		rows && ends ? ERR_OK : ERR_SET(err, ERR_NO_MEMORY, "no memory to keep the use");
	for (size_t i = 0; code == ERR_OK && i < all; i++) {
		const char *name;
		struct limits_cells *cells = limits_table_at(table, i, &name);
		if (!cells->use.changed)
			continue;
		write_row(cells, &text);
		rows[count].id = name;
		ends[count++] = text.size;
	}
	bool any = count > 0;
	if (code == ERR_OK && any) {
		code = write_places(control, &text, err);
		rows[count].id = PLACES_ID;
		ends[count++] = text.size;
	}
	for (size_t i = 0; i < count; i++) {
		size_t start = i ? ends[i - 1] : 0;
		rows[i].kind = STORE_USE;
		rows[i].document = bytes_of(text.data + start, ends[i] - start);
	}
	if (code == ERR_OK && any)
		code = store_put(control->store, rows, count, err);
	for (size_t i = 0; code == ERR_OK && i < all; i++) {
		const char *name;
		limits_table_at(table, i, &name)->use.changed = false;
	}
	buf_release(&text);
	free(rows);
	free(ends);
	return code;
}

/* ---- cuts ---- */

/* What lies between one look and the next may have been counted on either side: then there is no
 * cut. */
static void begin(struct control *control)
{
	struct control_use *use = &control->use;
	take_all(control, true);
	for (int log = 0; log < CONTROL_LOGS; log++)
		use->places[log] = next_of(control, log);
	set_cut(control, use->places);
	use->cutting = true;
	for (int log = 0; log < CONTROL_LOGS; log++)
		use->cutting = use->cutting && next_of(control, log) == use->places[log];
	if (use->cutting)
		return;
	set_cut(control, NULL);
	for (int log = 0; log < CONTROL_LOGS; log++)
		use->places[log] = next_of(control, log);
}

static enum err_code finish(struct control *control, struct err *err)
{
	struct control_use *use = &control->use;
	take_all(control, false);
	use->cutting = false;
	use->live = !use->live;
	set_cut(control, NULL);
	return keep(control, err);
}

static void give_up(struct control *control)
{
	take_all(control, true);
	control->use.cutting = false;
	set_cut(control, NULL);
	for (int log = 0; log < CONTROL_LOGS; log++)
		control->use.places[log] = next_of(control, log);
}

enum err_code control_use_turn(struct control *control, struct err *err)
{
	struct control_use *use = &control->use;
	enum err_code code = ERR_OK;
	if (!has_reached(control)) {
		if (use->cutting && use->day != today_of(control))
			give_up(control);
		return ERR_OK;
	}
	if (use->cutting)
		code = finish(control, err);
	begin(control);
	return code;
}

void control_use_sums(const struct control *control, const struct limits_cells *cells,
		      struct limits_amounts sums[static LIMITS_PERIODS])
{
	struct limits_use copy = {.day = cells->use.day};
	memcpy(copy.sums, cells->use.sums, sizeof(copy.sums));
	memcpy(copy.taken, cells->use.taken, sizeof(copy.taken));
	for (unsigned live = 0; live < LIMITS_LIVE; live++) {
		for (unsigned i = 0; i < LIMITS_AMOUNTS; i++)
			atomic_init(&copy.live[live][i], atomic_load(&cells->use.live[live][i]));
		limits_use_take(&copy, live, today_of(control));
	}
	memcpy(sums, copy.sums, sizeof(copy.sums));
}

/* ---- at start ---- */

static void read_amounts(const json_t *array, struct limits_amounts *out)
{
	for (unsigned i = 0; i < LIMITS_AMOUNTS; i++)
		out->of[i] = json_integer_value(json_array_get(array, i));
}

static void read_outputs(const json_t *pairs, struct limits_cells *cells)
{
	size_t index;
	json_t *pair;
	json_array_foreach(pairs, index, pair)
	{
		json_int_t bucket = json_integer_value(json_array_get(pair, 0));
		json_int_t count = json_integer_value(json_array_get(pair, 1));
		if (bucket >= 0 && bucket < LIMITS_OUTPUT_BUCKETS && count > 0 &&
		    count <= UINT32_MAX)
			limits_restore_outputs(cells, (unsigned)bucket, (uint32_t)count);
	}
}

/* Rows of scopes that are no more are left alone. */
static enum err_code read_row(void *argument, const struct store_document *document,
			      struct err *err)
{
	struct control *control = argument;
	struct limits_cells *cells =
		limits_table_find(world_limits(control->world), bytes_from(document->id));
	bool places = strcmp(document->id, PLACES_ID) == 0;
	json_t *row;
	if (!cells && !places)
		return ERR_OK;
	if (json_parse(document->document, document->id, &row, err) != ERR_OK)
		return ERR_SET(err, ERR_CORRUPT,
			       "the stored use of %s is damaged; restore the database from a "
			       "backup",
			       document->id);
	if (places) {
		for (int log = 0; log < CONTROL_LOGS; log++)
			control->use.places[log] = (uint64_t)json_integer_value(
				json_array_get(json_object_get(row, "places"), (size_t)log));
		control->use.kept = true;
	} else {
		cells->use.day = control_integer(row, "day", 0);
		for (unsigned period = 0; period < LIMITS_PERIODS; period++)
			read_amounts(json_array_get(json_object_get(row, "sums"), period),
				     &cells->use.sums[period]);
		read_outputs(json_object_get(row, "outputs"), cells);
	}
	json_decref(row);
	return ERR_OK;
}

enum err_code control_use_read(struct control *control, struct err *err)
{
	control->use.live = 0;
	set_cut(control, NULL);
	return store_each(control->store, STORE_USE, read_row, control, err);
}

/* The logs stand still: the first cut is made and kept at once. */
enum err_code control_use_start(struct control *control, struct err *err)
{
	struct limits_table *table = world_limits(control->world);
	for (size_t i = 0; i < limits_table_count(table); i++) {
		const char *name;
		struct limits_cells *cells = limits_table_at(table, i, &name);
		limits_use_take(&cells->use, 0, today_of(control));
		limits_restore_budgets(cells, env_wall_ms(control->env));
	}
	for (int log = 0; log < CONTROL_LOGS; log++)
		control->use.places[log] = 0;
	ERR_TRY(control_use_turn(control, err));
	return control_use_turn(control, err);
}
