#include "grade/published.h"

#include "base/encode.h"
#include "base/json.h"

#include <stdio.h>

#define FRAME "parley-commitment-1\n"
#define NO_ID "00000000000000000000000000000000"
#define PROOF_MAX 64u

/* ---- commitments ---- */

static void add_framed(struct sha256 *hash, struct bytes text)
{
	uint8_t size[8];
	for (unsigned i = 0; i < sizeof(size); i++)
		size[i] = (uint8_t)((uint64_t)text.size >> (56 - 8 * i));
	sha256_add(hash, size, sizeof(size));
	sha256_add_bytes(hash, text);
}

void commitment_make(const uint8_t salt[static PUBLISHED_SALT_SIZE], struct bytes label,
		     struct bytes value, uint8_t out[static SHA256_SIZE])
{
	struct sha256 hash;
	sha256_start(&hash);
	sha256_add(&hash, FRAME, sizeof(FRAME) - 1);
	sha256_add(&hash, salt, PUBLISHED_SALT_SIZE);
	add_framed(&hash, label);
	add_framed(&hash, value);
	sha256_finish(&hash, out);
}

/* Hexadecimal digits, in the one form that there is of them. */
static bool is_digest(const json_t *value)
{
	uint8_t digest[SHA256_SIZE];
	char again[2 * SHA256_SIZE + 1];
	const char *text = json_string_value(value);
	if (!text || !hex_decode(bytes_from(text), digest, sizeof(digest)))
		return false;
	hex_encode(digest, sizeof(digest), again);
	return strcmp(text, again) == 0;
}

static enum err_code check_digest(const json_t *object, const char *key, const char *where,
				  bool optional, struct err *err)
{
	const json_t *value = json_object_get(object, key);
	if ((!value && optional) || is_digest(value))
		return ERR_OK;
	return ERR_SET(err, ERR_INVALID, "%s: %s must be 64 lower-case hexadecimal digits", where,
		       key);
}

static enum err_code read_proof(const json_t *line, const char *key, const char *where,
				const json_t **out, struct err *err)
{
	json_t *proof, *hash;
	size_t index;
	ERR_TRY(json_get_container(line, key, where, JSON_ARRAY, true, &proof, err));
	if (json_array_size(proof) > PROOF_MAX)
		return ERR_SET(err, ERR_INVALID, "%s: %s is too long", where, key);
	json_array_foreach(proof, index, hash)
	{
		if (!is_digest(hash))
			return ERR_SET(err, ERR_INVALID, "%s: %s[%zu] is no digest", where, key,
				       index);
	}
	*out = proof;
	return ERR_OK;
}

enum err_code opening_read(const json_t *line, const char *where, struct opening *out,
			   struct err *err)
{
	static const char *const keys[] = {"label", "salt", "value", "proof", "judge_proof", NULL};
	const char *label, *salt;
	*out = (struct opening){0};
	if (!json_is_object(line))
		return ERR_SET(err, ERR_INVALID, "%s: must be an object", where);
	ERR_TRY(json_only_keys(line, keys, where, err));
	ERR_TRY(json_get_string(line, "label", where, &label, err));
	ERR_TRY(check_digest(line, "salt", where, false, err));
	ERR_TRY(json_get_string(line, "salt", where, &salt, err));
	hex_decode(bytes_from(salt), out->salt, sizeof(out->salt));
	const json_t *value = json_object_get(line, "value");
	if (!json_is_string(value) || json_string_length(value) > PUBLISHED_VALUE_MAX)
		return ERR_SET(err, ERR_INVALID, "%s: value must be a text", where);
	out->label = bytes_from(label);
	out->value = bytes_of(json_string_value(value), json_string_length(value));
	if (out->label.size > PUBLISHED_LABEL_MAX)
		return ERR_SET(err, ERR_INVALID, "%s: label is too long", where);
	ERR_TRY(read_proof(line, "proof", where, &out->proof, err));
	return read_proof(line, "judge_proof", where, &out->judge_proof, err);
}

/* ---- withheld.json ---- */

static enum err_code check_item(const json_t *item, const char *where, struct err *err)
{
	static const char *const keys[] = {"commitment", "cluster",   "expect", "steps",
					   "hazard",     "reference", NULL};
	const char *cluster, *expect, *hazard;
	const json_t *reference = json_object_get(item, "reference");
	int64_t steps;
	if (!json_is_object(item))
		return ERR_SET(err, ERR_INVALID, "%s: must be an object", where);
	ERR_TRY(json_only_keys(item, keys, where, err));
	ERR_TRY(check_digest(item, "commitment", where, false, err));
	ERR_TRY(json_get_string_or(item, "cluster", where, NULL, &cluster, err));
	ERR_TRY(json_get_string_or(item, "expect", where, NULL, &expect, err));
	ERR_TRY(json_get_integer_or(item, "steps", where, 2, 32, 1, &steps, err));
	ERR_TRY(json_get_string_or(item, "hazard", where, NULL, &hazard, err));
	if (reference && !(hazard && json_is_number(reference) &&
			   json_number_value(reference) >= 0 && json_number_value(reference) < 1))
		return ERR_SET(err, ERR_INVALID,
			       "%s: reference is a number from 0 to below 1, beside a hazard",
			       where);
	if (expect && strcmp(expect, "answer") != 0 && strcmp(expect, "refuse") != 0)
		return ERR_SET(err, ERR_INVALID, "%s: expect is answer or refuse", where);
	return ERR_OK;
}

static enum err_code check_leaves(const json_t *suite, const char *where, size_t count,
				  struct err *err)
{
	json_t *leaves, *leaf;
	size_t index;
	bool judged;
	ERR_TRY(json_get_bool_or(suite, "judged", where, false, &judged, err));
	ERR_TRY(json_get_container(suite, "leaves", where, JSON_ARRAY, true, &leaves, err));
	if (leaves && json_array_size(leaves) != (judged ? 2 * count : count))
		return ERR_SET(err, ERR_INVALID, "%s: it has %zu items and %zu leaves", where,
			       count, json_array_size(leaves));
	json_array_foreach(leaves, index, leaf)
	{
		if (!is_digest(leaf))
			return ERR_SET(err, ERR_INVALID, "%s: leaves[%zu] is no digest", where,
				       index);
	}
	return ERR_OK;
}

static enum err_code check_suite(const json_t *suite, struct err *err)
{
	static const char *const keys[] = {"name",   "version", "kind",   "licence",
					   "scorer", "samples", "judged", "settings",
					   "leaves", "items",   NULL};
	static const char *const texts[] = {"version", "kind", "licence", "scorer", NULL};
	char where[200], place[240];
	const char *name, *text;
	json_t *settings, *items, *item;
	int64_t samples;
	size_t index;
	ERR_TRY(json_get_string(suite, "name", PUBLISHED_FILE ": suites", &name, err));
	snprintf(where, sizeof(where), PUBLISHED_FILE ": suite %.128s", name);
	ERR_TRY(json_only_keys(suite, keys, where, err));
	for (size_t i = 0; texts[i]; i++)
		ERR_TRY(json_get_string(suite, texts[i], where, &text, err));
	ERR_TRY(json_get_integer(suite, "samples", where, 1, 1000, &samples, err));
	ERR_TRY(json_get_container(suite, "settings", where, JSON_OBJECT, false, &settings, err));
	ERR_TRY(json_get_container(suite, "items", where, JSON_ARRAY, false, &items, err));
	if (json_array_size(items) == 0 || json_array_size(items) > PUBLISHED_ITEMS_MAX)
		return ERR_SET(err, ERR_INVALID, "%s: it has no items, or too many", where);
	json_array_foreach(items, index, item)
	{
		snprintf(place, sizeof(place), "%s: items[%zu]", where, index);
		ERR_TRY(check_item(item, place, err));
	}
	return check_leaves(suite, where, json_array_size(items), err);
}

static enum err_code check_plan(const json_t *withheld, struct err *err)
{
	static const char *const keys[] = {"commitment", "digest", NULL};
	json_t *plan;
	ERR_TRY(json_get_container(withheld, "plan", PUBLISHED_FILE, JSON_OBJECT, true, &plan,
				   err));
	if (!plan)
		return ERR_OK;
	ERR_TRY(json_only_keys(plan, keys, PUBLISHED_FILE ": plan", err));
	ERR_TRY(check_digest(plan, "commitment", PUBLISHED_FILE ": plan", false, err));
	return check_digest(plan, "digest", PUBLISHED_FILE ": plan", false, err);
}

static enum err_code check_grants(const json_t *withheld, struct err *err)
{
	json_t *grants, *value;
	const char *key;
	ERR_TRY(json_get_container(withheld, "grants", PUBLISHED_FILE, JSON_OBJECT, true, &grants,
				   err));
	json_object_foreach(grants, key, value)
	{
		if (!is_digest(value))
			return ERR_SET(err, ERR_INVALID,
				       PUBLISHED_FILE ": grants.%.64s is no "
						      "digest",
				       key);
	}
	return ERR_OK;
}

enum err_code published_check(const json_t *withheld, struct err *err)
{
	static const char *const keys[] = {"format", "grants", "plan", "summary", "suites", NULL};
	const char *format;
	json_t *suites, *suite;
	size_t index;
	if (!json_is_object(withheld))
		return ERR_SET(err, ERR_INVALID, PUBLISHED_FILE ": must be an object");
	ERR_TRY(json_get_string(withheld, "format", PUBLISHED_FILE, &format, err));
	if (strcmp(format, PUBLISHED_FORMAT) != 0)
		return ERR_SET(err, ERR_UNSUPPORTED, PUBLISHED_FILE ": format \"%.40s\" is not %s",
			       format, PUBLISHED_FORMAT);
	ERR_TRY(json_only_keys(withheld, keys, PUBLISHED_FILE, err));
	ERR_TRY(check_plan(withheld, err));
	ERR_TRY(check_digest(withheld, "summary", PUBLISHED_FILE, true, err));
	ERR_TRY(check_grants(withheld, err));
	ERR_TRY(json_get_container(withheld, "suites", PUBLISHED_FILE, JSON_ARRAY, false, &suites,
				   err));
	json_array_foreach(suites, index, suite) ERR_TRY(check_suite(suite, err));
	return ERR_OK;
}

/* ---- the plan ---- */

static bool take(json_t *object, const char *key)
{
	return json_object_del(object, key) == 0;
}

static bool strip_model(json_t *model)
{
	bool taken = take(model, "price");
	taken |= take(model, "signing_key");
	if (strchr(json_text(model, "replay"), '/'))
		taken |= json_object_set_new(model, "replay", json_string("withheld")) == 0;
	return taken;
}

static bool strip_budget(json_t *plan)
{
	const json_t *budget = json_object_get(plan, "budget");
	if (json_number_value(json_object_get(budget, "tokens")) == 0 &&
	    json_number_value(json_object_get(budget, "usd")) == 0)
		return false;
	json_object_set_new(plan, "budget", json_pack("{s:i, s:f}", "tokens", 0, "usd", 0.0));
	return true;
}

/* The digest of the plan is in the log: without its random id, a price could be guessed from it. */
json_t *published_plan(const json_t *plan, bool *withheld)
{
	json_t *copy = json_deep_copy(plan), *model;
	size_t index;
	*withheld = false;
	if (!copy)
		return NULL;
	json_array_foreach(json_object_get(copy, "models"), index, model) *withheld |=
		strip_model(model);
	*withheld |= strip_budget(copy);
	if (*withheld && json_object_set_new(copy, "id", json_string(NO_ID)) != 0) {
		json_decref(copy);
		return NULL;
	}
	return copy;
}

/* ---- the summary ---- */

/* "ended by the gateway of M: reason, appeal": the part before the reason. */
static bool cut_reason(json_t *object, const char *key)
{
	const char *text = json_text(object, key), *end = strstr(text, ": ");
	if (!end)
		return false;
	return json_object_set_new(object, key, json_stringn(text, (size_t)(end - text))) == 0;
}

json_t *published_summary(const json_t *summary, bool *withheld)
{
	json_t *copy = json_deep_copy(summary), *model;
	size_t index;
	*withheld = false;
	if (!copy)
		return NULL;
	json_array_foreach(json_object_get(copy, "models"), index, model)
	{
		json_t *ended = json_object_get(model, "ended");
		*withheld |= take(model, "usd");
		*withheld |= take(ended, "appeal");
		*withheld |= take(ended, "reason");
	}
	*withheld |= take(json_object_get(copy, "proxy"), "first_refusal");
	*withheld |= cut_reason(copy, "ending");
	return copy;
}

/* ---- lines ---- */

static int move(json_t *from, json_t *to, const char *key)
{
	json_t *value = json_object_get(from, key);
	if (!value)
		return 0;
	int failed = json_object_set(to, key, value);
	json_object_del(from, key);
	return failed;
}

json_t *published_attempt(json_t *line)
{
	static const char *const texts[] = {"words", "answer",       "error",
					    "nonce", "request_body", "response_body"};
	json_t *taken = json_object();
	const json_t *verdict = json_object_get(line, "verdict");
	bool salted = json_object_get(line, "nonce") != NULL;
	const char *outcome = verdict                           ? "verdict"
			      : json_object_get(line, "answer") ? "answer"
								: "error";
	const char *text = json_string_value(verdict);
	int failed = !taken;
	/* A verdict may come with the answer that it is on. */
	if (!failed && text && strstr(text, "\"opened\""))
		failed |= move(line, taken, "verdict");
	if (!failed && !salted)
		failed |= move(line, taken, "response_digest");
	for (size_t i = 0; !failed && i < sizeof(texts) / sizeof(texts[0]); i++)
		failed |= move(line, taken, texts[i]);
	if (!failed)
		failed |= json_object_set_new(line, "outcome", json_string(outcome));
	if (!failed)
		return taken;
	json_decref(taken);
	return NULL;
}

void published_score(json_t *line)
{
	json_object_del(line, "explanation");
}
