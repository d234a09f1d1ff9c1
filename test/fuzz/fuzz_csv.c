/* Tables that suites are imported from. */
#include "fuzz.h"

#include "suite/csv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes text = fuzz_copy(fuzz_input(data, size));
	struct csv csv;
	struct err err = ERR_INIT;
	bool end = false;
	if (csv_open(&csv, text, "table.csv", &err) == ERR_OK) {
		size_t line = 0, bytes = 0;
		FUZZ_CHECK(csv.columns > 0 && csv.columns <= CSV_FIELDS_MAX);
		csv_column(&csv, "prompt");
		while (csv_next(&csv, &end, &err) == ERR_OK && !end) {
			FUZZ_CHECK(csv.row_line > line);
			line = csv.row_line;
			for (size_t i = 0; i < csv.columns; i++)
				bytes += csv.fields[i].size;
			FUZZ_CHECK(bytes <= size);
		}
		FUZZ_CHECK(end || err.message[0]);
		csv_close(&csv);
	} else {
		FUZZ_CHECK(err.message[0]);
	}
	free((char *)text.data);
	return 0;
}
