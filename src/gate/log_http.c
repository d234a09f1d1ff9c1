/* A log's resources as C2SP tlog-tiles has them: checkpoint, hash tiles, entry bundles, and the
 * verifier key. Blocking; called in jobs and on the admin loop. */
#include "gate/gateway_internal.h"
#include "ledger/tile.h"

static int status_of(enum err_code code)
{
	return code == ERR_OK ? 200 : err_http_status(code);
}

static int read_tile(struct log *log, struct bytes path, bool entries, struct buf *out)
{
	struct tile tile;
	if (!tile_parse(path, &tile))
		return 404;
	if (!tile.entries)
		return status_of(
			log_read_tile(log, tile.level, tile.number, tile.width, out, NULL));
	if (!entries)
		return 403;
	return status_of(log_read_entries_tile(log, tile.number, tile.width, out, NULL));
}

int gateway_log_resource(struct log *log, struct bytes path, bool entries, struct buf *out,
			 const char **type)
{
	*type = "text/plain; charset=utf-8";
	if (bytes_is(path, "checkpoint"))
		return status_of(log_read_checkpoint(log, out, NULL));
	if (bytes_is(path, "vkey")) {
		buf_printf(out, "%s\n", log_vkey(log));
		return 200;
	}
	*type = "application/octet-stream";
	return read_tile(log, path, entries, out);
}
