#include "gate/final.h"

#include <stdlib.h>

#define OUT_MAX ((size_t)256 << 20)
/* Bytes: no text has so long tokens from end to end, and a short one may have a long one. */
#define TEXT_PER_TOKEN 16u
#define TEXT_FREE 256u

bool gate_final_start(struct gate_request *request, bool stream)
{
	if (request->terms.release != RELEASE_V1 || request->use != ENDPOINT_USE_GENERATE)
		return true;
	struct gate_final *final = calloc(1, sizeof(*final));
	if (!final)
		return false;
	final->streams = stream;
	if (stream)
		dialect_filter_init(&final->filter, request->dialect);
	buf_init(&final->out, OUT_MAX);
	sha256_start(&final->upstream);
	sha256_add(&final->upstream, request->front->nonce, sizeof(request->front->nonce));
	request->final = final;
	return true;
}

void gate_final_saw(struct gate_request *request, struct bytes piece)
{
	if (request->final)
		sha256_add_bytes(&request->final->upstream, piece);
}

bool gate_final_feed(struct gate_request *request, struct bytes piece, struct bytes *out)
{
	struct gate_final *final = request->final;
	buf_clear(&final->out);
	bool good = dialect_filter_feed(&final->filter, piece, &final->out);
	*out = good ? buf_bytes(&final->out) : bytes_of("", 0);
	return good;
}

const char *gate_final_excess(const struct gate_request *request)
{
	uint64_t most = TEXT_FREE + TEXT_PER_TOKEN * (uint64_t)request->most_output;
	if (!request->final || request->observer.outcome.text_bytes <= most)
		return NULL;
	return "it is longer than what was asked for, and stays here";
}

bool gate_final_body(struct gate_request *request)
{
	struct gate_final *final = request->final;
	buf_clear(&final->out);
	if (!dialect_filter_body(request->dialect, buf_bytes(&request->front->held), &final->out))
		return false;
	buf_clear(&request->front->held);
	buf_append_bytes(&request->front->held, buf_bytes(&final->out));
	return !request->front->held.failed;
}

void gate_final_end(struct gate_request *request)
{
	struct gate_final *final = request->final;
	if (!final || final->whole)
		return;
	sha256_finish(&final->upstream, final->digest);
	final->whole = true;
}

void gate_final_release(struct gate_request *request)
{
	struct gate_final *final = request->final;
	if (!final)
		return;
	if (final->streams)
		dialect_filter_release(&final->filter);
	buf_release(&final->out);
	free(final);
	request->final = NULL;
}
