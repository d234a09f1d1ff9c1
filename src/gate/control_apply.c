#include "gate/access.h"
#include "gate/control_grants.h"
#include "gate/control_links.h"
#include "gate/what_if.h"

#include <stdio.h>

#define DIFFERENCE_MAX ((size_t)16 << 20)
#define VALUE_MAX 4096
#define FILE_NAME_MAX 255
#define LEFT_OUT_SHOWN 20 /* of each kind, in the text */

/* One reading of access.yaml against the documents in force. */
struct applying {
	struct control_operation *operation;
	const struct control_act_request *request;
	const struct access *access;
	const char *file;
	bool dry_run;
	int64_t now_ms;
	json_t *rows;     /* [{kind, id, change, members}] */
	json_t *left_out; /* [{kind, id}]: there, and not in the file */
	json_t *stopped;  /* orgs that have no new grants, by control_links_stopped */
	struct buf text;
	size_t added, changed, same;
	struct err *err;
};

static enum err_code no_memory(struct err *err)
{
	return ERR_SET(err, ERR_NO_MEMORY, "no memory to apply the access file");
}

/* ---- the difference ---- */

static void append_value(struct buf *out, const json_t *value)
{
	struct buf text = BUF_INIT(VALUE_MAX);
	if (!value)
		buf_append_cstr(out, "(none)");
	else if (json_is_string(value))
		buf_append_cstr(out, json_string_value(value));
	else if (json_canonical(value, &text, NULL) == ERR_OK && !text.failed)
		buf_append_bytes(out, buf_bytes(&text));
	else
		buf_append_cstr(out, "(long)");
	buf_release(&text);
}

static bool note_member(struct applying *applying, json_t *members, const char *prefix,
			const char *key, json_t *from, json_t *to)
{
	json_t *name = json_sprintf("%s%s%s", prefix, *prefix ? "." : "", key);
	json_t *row = json_object();
	bool good = name && row && json_object_set(row, "member", name) == 0;
	if (good && from)
		good = json_object_set(row, "from", from) == 0;
	if (good && to)
		good = json_object_set(row, "to", to) == 0;
	if (good) {
		buf_printf(&applying->text, "    %s: ", json_string_value(name));
		append_value(&applying->text, from);
		buf_append_cstr(&applying->text, " -> ");
		append_value(&applying->text, to);
		buf_append_char(&applying->text, '\n');
		good = json_array_append(members, row) == 0;
	}
	json_decref(name);
	json_decref(row);
	return good;
}

/* Members of two objects that differ; objects within are entered once (`limits.rpm`). */
static bool note_members(struct applying *applying, json_t *members, const char *prefix,
			 const json_t *from, const json_t *to)
{
	const char *key;
	json_t *value;
	bool good = true;
	json_object_foreach((json_t *)to, key, value)
	{
		json_t *old = json_object_get(from, key);
		if (json_equal(old, value))
			continue;
		if (!*prefix && json_is_object(old) && json_is_object(value))
			good = good && note_members(applying, members, key, old, value);
		else
			good = good && note_member(applying, members, prefix, key, old, value);
	}
	json_object_foreach((json_t *)from, key, value)
	{
		if (!json_object_get(to, key))
			good = good && note_member(applying, members, prefix, key, value, NULL);
	}
	return good;
}

/* "grants" -> "grant": what a row is about. */
static const char *const nouns[STORE_KINDS] = {
	[STORE_ORG] = "org",     [STORE_LINK] = "link",
	[STORE_TERMS] = "terms", [STORE_PUBLIC_SUITE] = "public suite",
	[STORE_GRANT] = "grant",
};

static enum err_code note_row(struct applying *applying, enum store_kind kind, const char *id,
			      const json_t *from, const json_t *to)
{
	json_t *members = json_array();
	json_t *row = json_pack("{s:s, s:s, s:s}", "kind", nouns[kind], "id", id, "change",
				from ? "change" : "add");
	bool good = members && row;
	if (good) {
		buf_printf(&applying->text, "%s %s %s\n", from ? "~" : "+", nouns[kind], id);
		good = !from || note_members(applying, members, "", from, to);
	}
	if (good && from)
		good = json_object_set(row, "members", members) == 0;
	good = good && json_array_append(applying->rows, row) == 0;
	json_decref(members);
	json_decref(row);
	if (from)
		applying->changed++;
	else
		applying->added++;
	return good && !applying->text.failed ? ERR_OK : no_memory(applying->err);
}

/* What the file does not name stays: nothing is ever deleted. The first few are shown by name. */
static bool note_left_out(struct applying *applying, enum store_kind kind, const json_t *named)
{
	size_t count = 0;
	const char *id;
	json_t *document;
	json_object_foreach(applying->operation->control->documents[kind], id, document)
	{
		if (json_object_get(named, id))
			continue;
		if (json_array_append_new(applying->left_out,
					  json_pack("{s:s, s:s}", "kind", nouns[kind], "id", id)))
			return false;
		if (++count <= LEFT_OUT_SHOWN)
			buf_printf(&applying->text, "= %s %s is not in the file and stays\n",
				   nouns[kind], id);
	}
	if (count > LEFT_OUT_SHOWN)
		buf_printf(&applying->text, "= and %zu more of kind %s\n", count - LEFT_OUT_SHOWN,
			   nouns[kind]);
	return !applying->text.failed;
}

static enum err_code note_all_left_out(struct applying *applying, const struct access *access)
{
	bool good = note_left_out(applying, STORE_ORG, access->orgs) &&
		    note_left_out(applying, STORE_LINK, access->links) &&
		    note_left_out(applying, STORE_PUBLIC_SUITE, access->public_suites) &&
		    note_left_out(applying, STORE_GRANT, access->grants);
	return good ? ERR_OK : no_memory(applying->err);
}

/* ---- what may not change ---- */

static bool has_ended(const struct applying *applying, const json_t *spec)
{
	int64_t last = 0;
	world_parse_day(bytes_from(json_text(json_object_get(spec, "valid"), "to")), &last);
	return last + WORLD_DAY_MS <= applying->now_ms;
}

/* A change of the file never gives back what was ended by an act or by time. */
static enum err_code check_grant_change(struct applying *applying, const char *id,
					const json_t *document, const json_t *to)
{
	const json_t *from = control_spec_of(document);
	const char *problem = NULL;
	if (strcmp(json_text(from, "org"), json_text(to, "org")) != 0)
		problem = "it belongs to another org";
	else if (strcmp(control_state_of(document), "revoked") == 0)
		problem = "it is revoked, which is final";
	else if (has_ended(applying, from))
		problem = "it has expired";
	else if (strcmp(json_text(from, "team"), json_text(to, "team")) != 0)
		problem = "it belongs to another team";
	if (!problem)
		return ERR_OK;
	return ERR_SET(applying->err, ERR_CONFLICT,
		       "%s: grant %s cannot be changed: %s; give the new grant a new id",
		       applying->file, id, problem);
}

/* Its days and what it says now put a link in its state, whatever ended it before. */
static enum err_code apply_link(struct applying *applying, const char *id, const json_t *document,
				json_t *to, struct control_telling *telling)
{
	struct control *control = applying->operation->control;
	const char *state = control_link_state(to, applying->now_ms);
	json_t *outer = control_link_outer(control, document, to);
	if (!outer)
		return no_memory(applying->err);
	telling->outer = outer;
	enum err_code code =
		control_link_change(applying->operation, id, to, state, telling, applying->err);
	json_decref(outer);
	if (code == ERR_OK)
		code = control_link_notice(applying->operation, to, state,
					   applying->request->reason, applying->err);
	return code;
}

/* The organisation and the terms as this file leaves them. */
static enum err_code apply_grant(struct applying *applying, const char *id, json_t *to,
				 const struct control_telling *telling)
{
	const struct control *control = applying->operation->control;
	const char *org = json_text(to, "org");
	const json_t *changed = json_object_get(applying->access->orgs, org);
	struct control_grant_basis basis = {
		.org = changed ? changed : control_spec(control, STORE_ORG, org),
		.terms = applying->access->terms
				 ? applying->access->terms
				 : control_spec(control, STORE_TERMS, CONTROL_TERMS_ID)};
	return control_grant_offer(applying->operation, id, to, &basis, telling, applying->err);
}

static enum err_code apply_document(struct applying *applying, enum store_kind kind, const char *id,
				    json_t *to)
{
	struct control *control = applying->operation->control;
	static const char *const acts[STORE_KINDS] = {
		[STORE_ORG] = "org.apply",     [STORE_LINK] = "link.apply",
		[STORE_TERMS] = "terms.apply", [STORE_PUBLIC_SUITE] = "public_suite.apply",
		[STORE_GRANT] = "grant.apply",
	};
	static const char *const first_states[STORE_KINDS] = {[STORE_ORG] = "open"};
	const json_t *document = control_document(control, kind, id);
	const json_t *from =
		kind == STORE_GRANT ? control_grant_latest(document) : control_spec_of(document);
	if (from && json_equal(from, to)) {
		applying->same++;
		return ERR_OK;
	}
	if (document && kind == STORE_GRANT)
		ERR_TRY(check_grant_change(applying, id, document, to));
	if (kind == STORE_GRANT)
		ERR_TRY(control_check_grant_links(control, applying->stopped, applying->file,
						  control_grant_agreed(document), to,
						  applying->err));
	if (document && kind == STORE_LINK)
		ERR_TRY(control_check_link_change(applying->file, id, from, to, applying->err));
	ERR_TRY(note_row(applying, kind, id, from, to));
	struct control_telling telling = {.kind = RECORD_ACT,
					  .act = acts[kind],
					  .person = applying->request->person,
					  .reason = applying->request->reason,
					  .before = document};
	if (kind == STORE_GRANT)
		return apply_grant(applying, id, to, &telling);
	if (kind == STORE_TERMS)
		telling.name = json_text(to, "version");
	const char *state = document ? control_state_of(document) : first_states[kind];
	if (kind == STORE_LINK)
		return apply_link(applying, id, document, to, &telling);
	ERR_TRY(control_change_add(applying->operation, kind, id, to, state, &telling, NULL,
				   applying->err));
	return kind == STORE_TERMS ? control_terms_keep(applying->operation, to, applying->err)
				   : ERR_OK;
}

static enum err_code apply_documents(struct applying *applying, enum store_kind kind,
				     json_t *documents)
{
	const char *id;
	json_t *document;
	json_object_foreach(documents, id, document)
		ERR_TRY(apply_document(applying, kind, id, document));
	return ERR_OK;
}

static enum err_code apply_all(struct applying *applying, const struct access *access)
{
	applying->access = access;
	ERR_TRY(apply_documents(applying, STORE_ORG, access->orgs));
	ERR_TRY(apply_documents(applying, STORE_LINK, access->links));
	if (access->terms)
		ERR_TRY(apply_document(applying, STORE_TERMS, CONTROL_TERMS_ID, access->terms));
	ERR_TRY(apply_documents(applying, STORE_PUBLIC_SUITE, access->public_suites));
	return apply_documents(applying, STORE_GRANT, access->grants);
}

/* ---- reading ---- */

/* The specs of all orgs by id, for the reader of the file. */
static json_t *org_specs(const struct control *control)
{
	json_t *specs = json_object();
	const char *id;
	json_t *document;
	json_object_foreach(control->documents[STORE_ORG], id, document)
	{
		if (specs && json_object_set(specs, id, json_object_get(document, "spec"))) {
			json_decref(specs);
			return NULL;
		}
	}
	return specs;
}

static enum err_code answer(struct applying *applying)
{
	size_t left_out = json_array_size(applying->left_out);
	buf_printf(&applying->text, "%zu added, %zu changed, %zu unchanged", applying->added,
		   applying->changed, applying->same);
	if (left_out)
		buf_printf(&applying->text, ", %zu not in the file", left_out);
	buf_printf(&applying->text, "%s\n",
		   applying->dry_run ? " (dry run: nothing was done)" : "");
	if (applying->text.failed)
		return no_memory(applying->err);
	applying->operation->answer = json_pack(
		"{s:I, s:I, s:I, s:b, s:O, s:O, s:s%}", "added", (json_int_t)applying->added,
		"changed", (json_int_t)applying->changed, "unchanged", (json_int_t)applying->same,
		"dry_run", applying->dry_run, "changes", applying->rows, "left_out",
		applying->left_out, "text", applying->text.data, applying->text.size);
	return applying->operation->answer ? ERR_OK : no_memory(applying->err);
}

/* A dry run goes as far as building the world, so that it finds what the act would find. */
static enum err_code try_out(struct control_operation *operation, struct err *err)
{
	operation->fresh_counters = operation->what_if_span_ms > 0;
	ERR_TRY(control_try_changes(operation, err));
	if (operation->fresh_counters)
		operation->trial = world_hold(operation->world);
	control_undo_changes(operation);
	while (operation->change_count > 0)
		control_change_free(operation->changes[--operation->change_count]);
	return ERR_OK;
}

static enum err_code read_file(struct applying *applying, const json_t *body, struct access *access)
{
	struct control *control = applying->operation->control;
	const char *text;
	ERR_TRY(json_get_string(body, "text", "apply", &text, applying->err));
	json_t *orgs = org_specs(control);
	if (!orgs)
		return no_memory(applying->err);
	struct access_context context = {
		.config = control->config,
		.orgs = orgs,
		.terms = control_spec(control, STORE_TERMS, CONTROL_TERMS_ID)};
	struct bytes bytes = bytes_of(text, json_string_length(json_object_get(body, "text")));
	enum err_code code = access_parse(bytes, applying->file, &context, access, applying->err);
	json_decref(orgs);
	return code;
}

/* `what_if`: a dry run, and how much of the log is decided again. */
static enum err_code read_span(struct applying *applying, const json_t *body)
{
	struct control_operation *operation = applying->operation;
	const char *text;
	ERR_TRY(json_get_string_or(body, "what_if", "apply", NULL, &text, applying->err));
	if (!text)
		return ERR_OK;
	if (!control_parse_span(bytes_from(text), &operation->what_if_span_ms) ||
	    operation->what_if_span_ms <= 0 || operation->what_if_span_ms > WHAT_IF_MAX_MS)
		return ERR_SET(applying->err, ERR_INVALID,
			       "what-if: %.40s is no span of at most 366 days; write 7d or 12h",
			       text);
	applying->dry_run = true;
	return ERR_OK;
}

enum err_code control_prepare_apply(struct control_operation *operation, const json_t *body,
				    const struct control_act_request *request, struct err *err)
{
	static const char *const keys[] = {"file", "text", "dry_run", "what_if", "reason", NULL};
	struct applying applying = {.operation = operation,
				    .request = request,
				    .now_ms = operation->control->loop->wall_ms,
				    .err = err};
	struct access access;
	ERR_TRY(json_only_keys(body, keys, "apply", err));
	ERR_TRY(json_get_string_or(body, "file", "apply", "access.yaml", &applying.file, err));
	ERR_TRY(json_get_bool_or(body, "dry_run", "apply", false, &applying.dry_run, err));
	ERR_TRY(read_span(&applying, body));
	if (strlen(applying.file) > FILE_NAME_MAX)
		return ERR_SET(err, ERR_INVALID, "apply: file: has more than %d bytes",
			       FILE_NAME_MAX);
	ERR_TRY(read_file(&applying, body, &access));
	buf_init(&applying.text, DIFFERENCE_MAX);
	applying.rows = json_array();
	applying.left_out = json_array();
	applying.stopped = control_links_stopped(operation->control);
	bool good = applying.rows && applying.left_out && applying.stopped;
	enum err_code code = good ? apply_all(&applying, &access) : no_memory(err);
	if (code == ERR_OK)
		code = note_all_left_out(&applying, &access);
	if (code == ERR_OK)
		code = answer(&applying);
	if (code == ERR_OK && applying.dry_run)
		code = try_out(operation, err);
	json_decref(applying.rows);
	json_decref(applying.left_out);
	json_decref(applying.stopped);
	buf_release(&applying.text);
	access_release(&access);
	return code;
}
