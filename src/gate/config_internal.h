/* What config.c leaves to other files. */
#ifndef GATE_CONFIG_INTERNAL_H
#define GATE_CONFIG_INTERNAL_H

#include "base/yaml.h"
#include "gate/config.h"

/* config_bounds.c: max_body, memory_max and timeouts. */
enum err_code config_read_bounds(const struct yaml_tree *tree, const json_t *root,
				 struct config *config, struct err *err);

#endif
