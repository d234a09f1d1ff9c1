/* anchors.jsonl: what was read is written so that it reads the same again, and no figure of it is
 * out of its range. */
#include "fuzz.h"

#include "base/json.h"
#include "grade/anchors.h"

static void write_again(const struct anchors *anchors)
{
	struct buf once = BUF_INIT(ANCHORS_TEXT_MAX), twice = BUF_INIT(ANCHORS_TEXT_MAX);
	struct anchors again;
	struct err err = ERR_INIT;
	FUZZ_CHECK(anchors_write(anchors, &once, &err) == ERR_OK);
	FUZZ_CHECK(anchors_read(buf_bytes(&once), "again", NULL, &again, &err) == ERR_OK);
	FUZZ_CHECK(again.count == anchors->count);
	FUZZ_CHECK(anchors_write(&again, &twice, &err) == ERR_OK);
	FUZZ_CHECK(bytes_equal(buf_bytes(&once), buf_bytes(&twice)));
	anchors_release(&again);
	buf_release(&once);
	buf_release(&twice);
}

/* A judge who says what the first anchors say. */
static void encode(const struct anchors *anchors)
{
	struct run_score scores[8] = {0};
	size_t count = 0;
	json_t *list, *entry, *judge;
	size_t i, k;
	for (; count < 8 && count < anchors->count; count++) {
		const struct anchor *from = &anchors->items[count];
		scores[count] = (struct run_score){.suite = from->suite,
						   .item = from->item,
						   .sample = from->sample,
						   .model = from->model,
						   .opponent = from->opponent,
						   .judge = "judge",
						   .scorer = "pairwise",
						   .score = from->opponent ? from->rating / 2.0
									   : from->score};
	}
	FUZZ_CHECK(anchors_encode(anchors, scores, count, true, &list, NULL) == ERR_OK);
	json_array_foreach(list, i, entry)
	{
		json_array_foreach(json_object_get(entry, "judges"), k, judge)
		{
			double value = json_number_value(json_object_get(judge, "value"));
			FUZZ_CHECK(value >= 0 && value <= 1);
		}
	}
	json_decref(list);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes text = fuzz_copy(fuzz_input(data, size));
	struct anchors anchors;
	struct err err = ERR_INIT;
	if (anchors_read(text, "people.jsonl", "s", &anchors, &err) == ERR_OK) {
		write_again(&anchors);
		encode(&anchors);
	} else {
		FUZZ_CHECK(err.message[0]);
	}
	anchors_release(&anchors);
	free((char *)text.data);
	return 0;
}
