#include "witness/judge.h"

static int refuse(int status, enum err_code code, struct err *err)
{
	if (err)
		err->code = code;
	return status;
}

/* One good signature of a followed key is enough; a followed key that signed wrongly is none. */
static int check_signature(const struct note_key *keys, size_t count,
			   const struct witness_request *request, struct err *err)
{
	bool followed = false, signed_by = false;
	for (size_t i = 0; i < count; i++) {
		if (strcmp(keys[i].name, request->head.origin) != 0)
			continue;
		followed = true;
		enum err_code code = note_verify(&request->note, &keys[i], err);
		if (code != ERR_OK && code != ERR_NOT_FOUND)
			return refuse(403, code, err);
		signed_by |= code == ERR_OK;
	}
	if (!followed) {
		ERR_SET(err, ERR_NOT_FOUND, "this witness does not follow the log \"%s\"",
			request->head.origin);
		return 404;
	}
	if (signed_by)
		return 200;
	ERR_SET(err, ERR_DENIED, "the checkpoint is not signed with a key that is followed");
	return 403;
}

int witness_read(const struct note_key *keys, size_t count, struct bytes body,
		 struct witness_request *out, struct err *err)
{
	if (add_checkpoint_parse(body, &out->add, err) != ERR_OK ||
	    note_parse(out->add.checkpoint, &out->note, err) != ERR_OK ||
	    checkpoint_parse(out->note.text, &out->head, err) != ERR_OK)
		return 400;
	return check_signature(keys, count, out, err);
}

int witness_judge(const struct witness_request *request, const struct witness_head *last,
		  struct err *err)
{
	uint64_t old_size = request->add.old_size, last_size = last ? last->size : 0;
	if (old_size > request->head.size) {
		ERR_SET(err, ERR_INVALID, "the old size %llu is above the checkpoint's, %llu",
			(unsigned long long)old_size, (unsigned long long)request->head.size);
		return 400;
	}
	if (old_size != last_size) {
		ERR_SET(err, ERR_CONFLICT, "the old size is %llu, and %llu was cosigned last",
			(unsigned long long)old_size, (unsigned long long)last_size);
		return 409;
	}
	if (last && old_size == request->head.size &&
	    !merkle_equal(&last->root, &request->head.root)) {
		ERR_SET(err, ERR_MISMATCH,
			"FORK: a tree of size %llu with another root was cosigned before",
			(unsigned long long)old_size);
		return 422;
	}
	if (!add_checkpoint_is_consistent(&request->add, last ? &last->root : NULL,
					  &request->head)) {
		ERR_SET(err, ERR_MISMATCH, "the proof from size %llu to %llu does not hold",
			(unsigned long long)old_size, (unsigned long long)request->head.size);
		return 422;
	}
	return 200;
}
