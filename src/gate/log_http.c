/* A log's resources as C2SP tlog-tiles has them: checkpoint, hash tiles, entry bundles, and the
 * verifier key. Blocking; called in jobs and on the admin loop. */
#include "base/json.h"
#include "gate/gateway_internal.h"
#include "ledger/tile.h"

static int status_of(enum err_code code)
{
	return code == ERR_OK ? 200 : err_http_status(code);
}

/* The record's own `org`: how records name the organisation that they concern. */
static bool is_of(void *argument, struct bytes record)
{
	json_t *tree = NULL;
	const char *org = NULL;
	if (json_parse(record, "record", &tree, NULL) == ERR_OK)
		org = json_string_value(json_object_get(tree, "org"));
	bool same = org && *org && strcmp(org, argument) == 0;
	json_decref(tree);
	return same;
}

static int read_tile(struct log *log, struct bytes path, const char *reader, struct buf *out)
{
	struct tile tile;
	struct log_filter filter = {is_of, (void *)reader};
	if (!tile_parse(path, &tile))
		return 404;
	if (!tile.entries)
		return status_of(
			log_read_tile(log, tile.level, tile.number, tile.width, out, NULL));
	return status_of(log_read_filtered_tile(log, tile.number, tile.width,
						reader ? &filter : NULL, out, NULL));
}

bool gateway_log_is_entries(struct bytes path)
{
	return bytes_starts_with(path, BYTES("tile/entries/"));
}

int gateway_log_resource(struct log *log, struct bytes path, const char *reader, struct buf *out,
			 const char **type)
{
	*type = "text/plain; charset=utf-8";
	if (bytes_is(path, "checkpoint"))
		return status_of(log_read_checkpoint(log, out, NULL));
	if (bytes_is(path, "vkey")) {
		log_append_vkey(log, out);
		buf_append_char(out, '\n');
		return 200;
	}
	if (bytes_is(path, "key-rotations"))
		return status_of(log_read_rotations(log, out, NULL));
	*type = "application/octet-stream";
	return read_tile(log, path, reader, out);
}
