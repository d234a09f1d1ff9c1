#include "suite/transcript.h"

#include "base/encode.h"
#include "base/json.h"
#include "suite/input.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#define LINE_MAX_SIZE ((size_t)64 << 20)
#define TEXTS_MAX ((size_t)8 << 30)
#define ANSWERS_MAX 10000000u
#define TOKENS_MAX 1000000000000

struct answer {
	uint64_t offset; /* in the texts */
	uint64_t size;
	uint32_t next;   /* number + 1 of the next answer to the same prompt, 0: the last */
	uint32_t usage;  /* in the usages; of the line it stands in */
	uint32_t sample; /* of a run */
};

/* What a line says of each of its answers. */
struct line_facts {
	struct transcript_answer usage;     /* with the tokens filled in */
	uint64_t reasoning, reasoning_size; /* in the texts */
};

struct prompt {
	uint8_t digest[SHA256_SIZE];
	uint32_t first, last; /* numbers of answers */
	uint32_t count;
	atomic_uint_fast64_t asked;
};

struct table {
	void *rows;
	size_t count, capacity;
};

struct transcript {
	char *path, *note;
	struct buf texts;
	struct table prompts; /* struct prompt */
	struct table answers; /* struct answer */
	struct table usages;  /* struct line_facts */
	uint32_t *slots;      /* open addressing: prompt number + 1, 0: free */
	size_t mask;
	size_t withheld; /* lines of a published run whose answers are withheld */
	bool run;
};

static enum err_code out_of_memory(const struct transcript *transcript, struct err *err)
{
	return ERR_SET(err, ERR_NO_MEMORY, "out of memory reading %s", transcript->path);
}

/* Room for one more row; NULL when memory is out. The row is not counted yet. */
static void *table_reserve(struct table *table, size_t row_size)
{
	if (table->count == table->capacity) {
		size_t capacity = table->capacity ? table->capacity * 2 : 64;
		void *rows = realloc(table->rows, capacity * row_size);
		if (!rows)
			return NULL;
		table->rows = rows;
		table->capacity = capacity;
	}
	return (char *)table->rows + table->count * row_size;
}

static struct prompt *prompt_at(const struct transcript *transcript, size_t index)
{
	return (struct prompt *)transcript->prompts.rows + index;
}

static struct answer *answer_at(const struct transcript *transcript, size_t index)
{
	return (struct answer *)transcript->answers.rows + index;
}

/* ---- the prompts by digest ---- */

static uint32_t *find_slot(const struct transcript *transcript,
			   const uint8_t digest[static SHA256_SIZE])
{
	uint64_t hash;
	memcpy(&hash, digest, sizeof(hash));
	size_t slot = (size_t)hash & transcript->mask;
	while (transcript->slots[slot] &&
	       memcmp(prompt_at(transcript, transcript->slots[slot] - 1)->digest, digest,
		      SHA256_SIZE) != 0)
		slot = (slot + 1) & transcript->mask;
	return &transcript->slots[slot];
}

static bool grow_slots(struct transcript *transcript)
{
	size_t size = transcript->slots ? (transcript->mask + 1) * 2 : 64;
	uint32_t *slots = calloc(size, sizeof(*slots));
	if (!slots)
		return false;
	free(transcript->slots);
	transcript->slots = slots;
	transcript->mask = size - 1;
	for (size_t i = 0; i < transcript->prompts.count; i++)
		*find_slot(transcript, prompt_at(transcript, i)->digest) = (uint32_t)i + 1;
	return true;
}

static struct prompt *find_prompt(const struct transcript *transcript,
				  const uint8_t digest[static SHA256_SIZE])
{
	uint32_t number = *find_slot(transcript, digest);
	return number ? prompt_at(transcript, number - 1) : NULL;
}

/* The prompt with this digest, made if it is new; NULL when memory is out. */
static struct prompt *take_prompt(struct transcript *transcript,
				  const uint8_t digest[static SHA256_SIZE])
{
	struct prompt *prompt = find_prompt(transcript, digest);
	if (prompt)
		return prompt;
	if (transcript->prompts.count * 2 >= transcript->mask && !grow_slots(transcript))
		return NULL;
	prompt = table_reserve(&transcript->prompts, sizeof(*prompt));
	if (!prompt)
		return NULL;
	*prompt = (struct prompt){.count = 0};
	memcpy(prompt->digest, digest, SHA256_SIZE);
	atomic_init(&prompt->asked, 0);
	*find_slot(transcript, digest) = (uint32_t)++transcript->prompts.count;
	return prompt;
}

/* ---- lines ---- */

static enum err_code add_answer(struct transcript *transcript, struct prompt *prompt,
				const json_t *text, struct err *err)
{
	if (!json_is_string(text))
		return ERR_SET(err, ERR_INVALID, "an answer is not a text");
	if (transcript->answers.count == ANSWERS_MAX)
		return ERR_SET(err, ERR_TOO_LARGE, "more than %u answers", ANSWERS_MAX);
	struct answer *answer = table_reserve(&transcript->answers, sizeof(*answer));
	size_t offset = transcript->texts.size;
	buf_append(&transcript->texts, json_string_value(text), json_string_length(text));
	if (!answer || transcript->texts.failed)
		return out_of_memory(transcript, err);
	*answer = (struct answer){.offset = offset,
				  .size = json_string_length(text),
				  .usage = (uint32_t)transcript->usages.count - 1};
	uint32_t number = (uint32_t)transcript->answers.count++;
	if (prompt->count++ == 0)
		prompt->first = number;
	else
		answer_at(transcript, prompt->last)->next = number + 1;
	prompt->last = number;
	return ERR_OK;
}

static enum err_code add_reasoning(struct transcript *transcript, const json_t *line,
				   struct line_facts *facts, struct err *err)
{
	const char *text;
	ERR_TRY(json_get_string_or(line, "reasoning", "the line", "", &text, err));
	facts->reasoning = transcript->texts.size;
	facts->reasoning_size = strlen(text);
	buf_append_cstr(&transcript->texts, text);
	return transcript->texts.failed ? out_of_memory(transcript, err) : ERR_OK;
}

static enum err_code add_facts(struct transcript *transcript, const json_t *line, struct err *err)
{
	static const char *const keys[] = {"input", "output", "cache_read", "cache_write", NULL};
	struct line_facts *facts = table_reserve(&transcript->usages, sizeof(*facts));
	json_t *usage;
	if (!facts)
		return out_of_memory(transcript, err);
	*facts = (struct line_facts){
		.usage = {.input = -1, .output = -1}
        };
	transcript->usages.count++;
	ERR_TRY(add_reasoning(transcript, line, facts, err));
	struct transcript_answer *row = &facts->usage;
	ERR_TRY(json_get_container(line, "usage", "the line", JSON_OBJECT, true, &usage, err));
	if (!usage)
		return ERR_OK;
	ERR_TRY(json_only_keys(usage, keys, "usage", err));
	ERR_TRY(json_get_integer_or(usage, "input", "usage", 0, TOKENS_MAX, -1, &row->input, err));
	ERR_TRY(json_get_integer_or(usage, "output", "usage", 0, TOKENS_MAX, -1, &row->output,
				    err));
	ERR_TRY(json_get_integer_or(usage, "cache_read", "usage", 0, TOKENS_MAX, 0,
				    &row->cache_read, err));
	return json_get_integer_or(usage, "cache_write", "usage", 0, TOKENS_MAX, 0,
				   &row->cache_write, err);
}

static enum err_code prompt_digest(const json_t *prompt, uint8_t digest[static SHA256_SIZE],
				   struct err *err)
{
	json_t *words;
	ERR_TRY(words_normalise(prompt, &words, err));
	enum err_code code = words_match_digest(words, digest, err);
	json_decref(words);
	return code;
}

static enum err_code add_line(struct transcript *transcript, const json_t *line, struct err *err)
{
	static const char *const keys[] = {"prompt", "answers", "usage", "reasoning", NULL};
	uint8_t digest[SHA256_SIZE];
	json_t *answers;
	if (json_object_get(line, "attempt") && json_object_get(line, "model"))
		return ERR_SET(err, ERR_INVALID,
			       "it is an attempt in a run's transcripts: name the run's folder, or "
			       "its bundle, and not the file");
	ERR_TRY(json_only_keys(line, keys, "the line", err));
	if (!json_object_get(line, "prompt"))
		return ERR_SET(err, ERR_INVALID, "\"prompt\" is missing");
	ERR_TRY(json_get_container(line, "answers", "the line", JSON_ARRAY, false, &answers, err));
	if (json_array_size(answers) == 0)
		return ERR_SET(err, ERR_INVALID, "\"answers\" is empty");
	ERR_TRY(prompt_digest(json_object_get(line, "prompt"), digest, err));
	ERR_TRY(add_facts(transcript, line, err));
	struct prompt *prompt = take_prompt(transcript, digest);
	if (!prompt)
		return out_of_memory(transcript, err);
	for (size_t i = 0; i < json_array_size(answers); i++)
		ERR_TRY(add_answer(transcript, prompt, json_array_get(answers, i), err));
	return ERR_OK;
}

static enum err_code read_line(struct transcript *transcript, struct bytes text, bool first,
			       struct err *err)
{
	json_t *line;
	enum err_code code;
	ERR_TRY(json_parse(text, "the line", &line, err));
	const json_t *note = json_object_get(line, "note");
	if (!json_is_object(line)) {
		code = ERR_SET(err, ERR_INVALID, "the line is not a JSON object");
	} else if (first && json_is_string(note) && !json_object_get(line, "prompt")) {
		transcript->note = strdup(json_string_value(note));
		code = transcript->note ? ERR_OK : out_of_memory(transcript, err);
	} else {
		code = add_line(transcript, line, err);
	}
	json_decref(line);
	return code;
}

static enum err_code read_lines(struct transcript *transcript, struct input *input, struct err *err)
{
	struct bytes line;
	bool end;
	for (;;) {
		ERR_TRY(input_line(input, &line, &end, err));
		if (end)
			break;
		size_t number = input_line_number(input);
		enum err_code code = read_line(transcript, line, number == 1, err);
		if (code != ERR_OK) {
			err_prefix(err, "%s:%zu", transcript->path, number);
			return code;
		}
	}
	return transcript->prompts.count
		       ? ERR_OK
		       : ERR_SET(err, ERR_INVALID, "%s: no prompts", transcript->path);
}

static struct transcript *transcript_new(const char *path)
{
	struct transcript *transcript = calloc(1, sizeof(*transcript));
	if (!transcript)
		return NULL;
	buf_init(&transcript->texts, TEXTS_MAX);
	transcript->path = strdup(path);
	if (transcript->path && buf_reserve(&transcript->texts, 1) && grow_slots(transcript))
		return transcript;
	transcript_free(transcript);
	return NULL;
}

enum err_code transcript_load(struct env *env, const char *path, struct transcript **out,
			      struct err *err)
{
	struct input *input = NULL;
	struct transcript *transcript = transcript_new(path);
	*out = NULL;
	if (!transcript)
		return ERR_SET(err, ERR_NO_MEMORY, "out of memory");
	enum err_code code = input_open(env, path, LINE_MAX_SIZE, &input, err);
	if (code == ERR_OK)
		code = read_lines(transcript, input, err);
	input_close(input);
	if (code == ERR_OK)
		*out = transcript;
	else
		transcript_free(transcript);
	return code;
}

/* ---- answers of a run ---- */

/* One attempt's line: taken where it is an answer of the model asked (a judge's answer is its
 * own). */
static enum err_code take_run_line(struct transcript *transcript, const json_t *line,
				   const char *model, struct err *err)
{
	uint8_t digest[SHA256_SIZE];
	const char *asked, *contestant, *words;
	int64_t sample;
	const json_t *answer = json_object_get(line, "answer");
	ERR_TRY(json_get_string(line, "model", "the line", &contestant, err));
	ERR_TRY(json_get_string_or(line, "judge_model", "the line", contestant, &asked, err));
	if (json_object_get(line, "withheld")) {
		transcript->withheld += strcmp(asked, model) == 0;
		return ERR_OK;
	}
	ERR_TRY(json_get_string(line, "words", "the line", &words, err));
	ERR_TRY(json_get_integer(line, "sample", "the line", 0, UINT32_MAX, &sample, err));
	if (!answer || json_object_get(line, "error") || strcmp(asked, model) != 0)
		return ERR_OK;
	if (!hex_decode(bytes_from(words), digest, sizeof(digest)))
		return ERR_SET(err, ERR_INVALID, "\"words\" is no digest");
	ERR_TRY(add_facts(transcript, line, err));
	struct prompt *prompt = take_prompt(transcript, digest);
	if (!prompt)
		return out_of_memory(transcript, err);
	ERR_TRY(add_answer(transcript, prompt, answer, err));
	answer_at(transcript, prompt->last)->sample = (uint32_t)sample;
	return ERR_OK;
}

static enum err_code take_run_text(struct transcript *transcript, struct bytes text,
				   const char *model, struct err *err)
{
	json_t *line;
	ERR_TRY(json_parse(text, "the line", &line, err));
	enum err_code code = take_run_line(transcript, line, model, err);
	json_decref(line);
	return code;
}

static enum err_code read_run(struct transcript *transcript, struct input *input, const char *model,
			      struct err *err)
{
	struct bytes line;
	bool end;
	for (;;) {
		ERR_TRY(input_line(input, &line, &end, err));
		if (end)
			break;
		if (take_run_text(transcript, line, model, err) != ERR_OK)
			return err_prefix(err, "%s:%zu", transcript->path,
					  input_line_number(input));
	}
	if (!transcript->prompts.count && transcript->withheld)
		return ERR_SET(err, ERR_NOT_FOUND,
			       "%s is of a published bundle, from which all %zu answers of %s are "
			       "withheld: replay the run that it was made of",
			       transcript->path, transcript->withheld, model);
	return transcript->prompts.count ? ERR_OK
					 : ERR_SET(err, ERR_NOT_FOUND,
						   "%s holds no answer of a model named \"%s\": "
						   "name the model as the "
						   "run did (sealed answers are not in it)",
						   transcript->path, model);
}

enum err_code transcript_load_run(struct env *env, const char *path, const char *model,
				  struct transcript **out, struct err *err)
{
	static const char *const places[] = {"bundle/transcripts.jsonl", "transcripts.jsonl"};
	char file[4096] = "";
	struct input *input = NULL;
	*out = NULL;
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		snprintf(file, sizeof(file), "%.4000s/%s", path, places[i]);
		if (env_file_exists(env, file))
			break;
	}
	struct transcript *transcript = transcript_new(file);
	if (!transcript)
		return ERR_SET(err, ERR_NO_MEMORY, "out of memory");
	transcript->run = true;
	enum err_code code = input_open(env, file, LINE_MAX_SIZE, &input, err);
	if (code == ERR_OK)
		code = read_run(transcript, input, model, err);
	input_close(input);
	if (code == ERR_OK)
		*out = transcript;
	else
		transcript_free(transcript);
	return code;
}

bool transcript_is_run(const struct transcript *transcript)
{
	return transcript->run;
}

void transcript_free(struct transcript *transcript)
{
	if (!transcript)
		return;
	buf_release(&transcript->texts);
	free(transcript->prompts.rows);
	free(transcript->answers.rows);
	free(transcript->usages.rows);
	free(transcript->slots);
	free(transcript->path);
	free(transcript->note);
	free(transcript);
}

const char *transcript_note(const struct transcript *transcript)
{
	return transcript->note ? transcript->note : "";
}

size_t transcript_withheld(const struct transcript *transcript)
{
	return transcript->withheld;
}

size_t transcript_prompts(const struct transcript *transcript)
{
	return transcript->prompts.count;
}

size_t transcript_count(const struct transcript *transcript,
			const uint8_t digest[static SHA256_SIZE])
{
	const struct prompt *prompt = find_prompt(transcript, digest);
	return prompt ? prompt->count : 0;
}

/* Of a run, the answer to sample k; false where there is none. */
static bool find_sample(const struct transcript *transcript, const struct prompt *prompt,
			uint64_t k, uint32_t *out)
{
	uint32_t next = prompt->first + 1;
	while (next && answer_at(transcript, next - 1)->sample != k)
		next = answer_at(transcript, next - 1)->next;
	*out = next - 1;
	return next != 0;
}

static bool give(const struct transcript *transcript, const struct prompt *prompt, uint64_t k,
		 struct transcript_answer *out)
{
	uint32_t number = prompt->first;
	if (transcript->run && !find_sample(transcript, prompt, k, &number))
		return false;
	for (uint64_t i = k % prompt->count; i > 0 && !transcript->run; i--)
		number = answer_at(transcript, number)->next - 1;
	const struct answer *answer = answer_at(transcript, number);
	const struct line_facts *facts =
		(const struct line_facts *)transcript->usages.rows + answer->usage;
	*out = facts->usage;
	out->reasoning = bytes_of(transcript->texts.data + facts->reasoning, facts->reasoning_size);
	out->text = bytes_of(transcript->texts.data + answer->offset, answer->size);
	return true;
}

bool transcript_answer(const struct transcript *transcript,
		       const uint8_t digest[static SHA256_SIZE], uint64_t k,
		       struct transcript_answer *out)
{
	const struct prompt *prompt = find_prompt(transcript, digest);
	return prompt && give(transcript, prompt, k, out);
}

bool transcript_next(struct transcript *transcript, const uint8_t digest[static SHA256_SIZE],
		     struct transcript_answer *out)
{
	struct prompt *prompt = find_prompt(transcript, digest);
	return prompt && give(transcript, prompt, atomic_fetch_add(&prompt->asked, 1), out);
}

enum err_code transcript_append_line(struct buf *out, const json_t *prompt, const json_t *answers,
				     struct err *err)
{
	json_t *line = json_pack("{s:O, s:O}", "prompt", prompt, "answers", answers);
	if (!line)
		return ERR_SET(err, ERR_NO_MEMORY, "out of memory");
	enum err_code code = json_canonical(line, out, err);
	json_decref(line);
	buf_append_char(out, '\n');
	return code;
}
