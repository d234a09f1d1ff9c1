/* Grants as papers: offered, countersigned, in force, and changed only by the same way.
 *
 * A grant's document has in its outer form `paper` (which signed paper its spec is: digest, whose
 * signatures, whether the organisation's is needed) and, while a changed version waits for the
 * organisation's signature, `offer` (the same with the changed spec). What was agreed stays in
 * force until the change is agreed too. The envelopes are the document's blob in the store. */
#ifndef GATE_CONTROL_GRANTS_H
#define GATE_CONTROL_GRANTS_H

#include "gate/control_internal.h"

#define CONTROL_PAPERS_MAX ((size_t)16 << 20)

/* What the outer form says of the paper in force (or first offered), and of the version that waits;
 * NULL: none. */
const json_t *control_grant_paper(const json_t *document);
const json_t *control_grant_pending(const json_t *document);
/* The spec of the newest version: the offer's, else the document's. NULL for NULL. */
const json_t *control_grant_latest(const json_t *document);
/* The spec that both sides agreed on, which is in force or was; NULL where nothing was agreed yet.
 */
const json_t *control_grant_agreed(const json_t *document);

/* The other documents that a grant rests on, as the act under way leaves them. Borrowed. */
struct control_grant_basis {
	const json_t *org;   /* the organisation's spec */
	const json_t *terms; /* NULL: none are in force */
};

/* Adds the change that puts `spec` in force, or offers it where the organisation must sign: signed
 * by the provider either way. `telling` says which act it is; its `before` and `outer` are set
 * here.
 */
enum err_code control_grant_offer(struct control_operation *operation, const char *id, json_t *spec,
				  const struct control_grant_basis *basis,
				  const struct control_telling *telling, struct err *err);
/* Signs a grant that has no paper that fits (it was made by an earlier version, or the organisation
 * has left a key since); does nothing where it has one. */
enum err_code control_prepare_offer(struct control_operation *operation, const char *id,
				    const struct control_act_request *request, struct err *err);
/* Takes back the paper with the organisation's signature. `body` is the DSSE envelope. The
 * signature is what authenticates it, whoever brings it. */
enum err_code control_prepare_countersign(struct control_operation *operation, const char *id,
					  const json_t *body,
					  const struct control_act_request *request,
					  struct err *err);
/* What is handed out: the envelope of the newest version, or of the one that was agreed on
 * (ERR_CONFLICT while there is none), with the terms' envelope as `terms`. */
enum err_code control_grant_envelope(struct control *control, const char *id, bool agreed,
				     json_t **out, struct err *err);
/* The signed status of a grant with `reciprocal_of`, for the other side: an envelope. */
enum err_code control_grant_status(struct control *control, const char *id, json_t **out,
				   struct err *err);

/* The terms' paper; its digest is their address. `envelope` may be NULL. */
enum err_code control_terms_paper(struct control *control, const json_t *terms,
				  struct buf *envelope, uint8_t digest[static SHA256_SIZE],
				  struct err *err);
/* Keeps the terms under their address, beside the change that puts them in force. */
enum err_code control_terms_keep(struct control_operation *operation, json_t *terms,
				 struct err *err);

/* The blob of a grant as JSON, {"paper": envelope, "offer": envelope}; a new object, empty where it
 * has no papers. */
enum err_code control_papers_read(struct control *control, const char *id, json_t **out,
				  struct err *err);
enum err_code control_papers_write(const json_t *papers, struct buf *out, struct err *err);
enum err_code control_papers_set(json_t *papers, const char *name, struct bytes envelope,
				 struct err *err);

/* Adds to the view of a grant what is signed, by whom, and what waits. False when memory is out. */
bool control_grant_view(struct control *control, json_t *view, const char *id);

#endif
