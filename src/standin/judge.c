/* The stand-in judge prefers the answer with more different words among its first fifty, so that
 * length alone does not win, and calls it a tie where they are within two in a hundred. No
 * judgement of quality: a rule that gives the same verdict in both orders, so that a run can be
 * shown without a real judge. */
#include "standin/standin.h"

#define WORDS_COUNTED 50
#define PLACES 256

static bool between(struct bytes text, const char *open, const char *close, struct bytes *out)
{
	const char *from = memmem(text.data, text.size, open, strlen(open));
	if (!from)
		return false;
	from += strlen(open);
	size_t left = (size_t)(text.data + text.size - from);
	const char *to = memmem(from, left, close, strlen(close));
	if (!to)
		return false;
	*out = (struct bytes){from, (size_t)(to - from)};
	return true;
}

static bool is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (unsigned char)c >= 0x80;
}

/* How many different words among the first: each as a 64-bit hash in a small table. */
static size_t different_words(struct bytes text)
{
	uint64_t seen[PLACES] = {0};
	size_t different = 0, words = 0;
	for (size_t i = 0; i < text.size && words < WORDS_COUNTED;) {
		uint64_t hash = 14695981039346656037u;
		size_t start = i;
		for (; i < text.size && is_letter(text.data[i]); i++)
			hash = (hash ^ (uint8_t)(text.data[i] | 0x20)) * 1099511628211u;
		if (i == start) {
			i++;
			continue;
		}
		words++;
		hash |= 1;
		size_t at = hash % PLACES;
		while (seen[at] && seen[at] != hash)
			at = (at + 1) % PLACES;
		different += seen[at] == 0;
		seen[at] = hash;
	}
	return different;
}

bool standin_judge(struct bytes prompt, struct buf *reply)
{
	struct bytes a, b;
	if (!between(prompt, "<answer_a>", "</answer_a>", &a) ||
	    !between(prompt, "<answer_b>", "</answer_b>", &b))
		return false;
	size_t in_a = different_words(a), in_b = different_words(b);
	const char *verdict = in_a * 50 > in_b * 51 ? "A" : in_b * 50 > in_a * 51 ? "B" : "TIE";
	buf_printf(reply, "Different words among the first %d: %zu in A, %zu in B.\n%s",
		   WORDS_COUNTED, in_a, in_b, verdict);
	return true;
}
