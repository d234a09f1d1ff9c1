/* What config.c shares with the files that read parts of it. */
#ifndef GATE_CONFIG_INTERNAL_H
#define GATE_CONFIG_INTERNAL_H

#include "base/yaml.h"
#include "gate/config.h"

/* config_bounds.c: max_body, memory_max and timeouts. */
enum err_code config_read_bounds(const struct yaml_tree *tree, const json_t *root,
				 struct config *config, struct err *err);
/* What every step of reading needs. */
struct reading {
	const struct yaml_tree *tree;
	json_t *root;
	struct config *config;
	config_variable_function *variable;
	struct env *env; /* NULL: the files that are named are not read */
	struct err *err;
};

/* config.c */
enum err_code config_no_memory(struct err *err);
enum err_code config_keep(struct reading *reading, const char *text, const char **out);
bool config_is_base_url(const char *url); /* scheme, host, perhaps port and path prefix */
/* A path of the configuration: absolute, or relative to where the file is. */
enum err_code config_keep_path(struct reading *reading, const char *path, const char **out);

/* config_tls.c */
enum err_code config_read_listener_tls(struct reading *reading);
/* `tls` and `timeouts` of a provider. */
enum err_code config_read_provider_tls(struct reading *reading, const json_t *row,
				       struct config_provider *out);
enum err_code config_read_timeouts(struct reading *reading, const json_t *row,
				   struct config_provider_timeouts *out);
/* The PEM file that `ca` names, if it is there. */
enum err_code config_read_authorities(struct reading *reading, const json_t *row,
				      struct config_pem *out);
/* config_grade.c */
enum err_code config_read_grade(struct reading *reading);

/* Forgets private keys. */
void config_forget_tls(struct config_tls *tls);

/* config_log.c */
enum err_code config_read_log(struct reading *reading);
bool config_same_log(const struct config_log *a, const struct config_log *b);

/* config_notices.c */
enum err_code config_read_notices(struct reading *reading);
enum err_code config_read_reciprocal(struct reading *reading);

#endif
