/* What several verbs send to the admin API: ids in targets, members of bodies. */
#ifndef CMD_ADMIN_BODY_H
#define CMD_ADMIN_BODY_H

#include "cmd/cli.h"

/* Ids go into a target: what would need an escape there is no id. */
bool admin_is_id(const char *text);

/* The text of the file as `public_key`. ERR_INVALID where it is none: what is a private key stays
 * here. */
enum err_code admin_add_public_key(json_t *body, const char *file, struct err *err);
/* Each NAME=N as a member of `limits`, which there may be none of. */
void admin_add_limits(json_t *body, const struct cli_list *list);

#endif
