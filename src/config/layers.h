/*
 * The three layers above the defaults. Each puts its values into the configuration and its complaints into `problems`.
 * Private to src/config/.
 */
#pragma once

#include "config/value.h"

void config_take_file(struct config *config, const struct config_input *input, struct buf *problems);
/* The text of a file that is called `label` in problems. */
void config_take_text(struct config *config, const char *label, const char *text, size_t len, struct buf *problems);
void config_take_environment(struct config *config, const char *const *environment, struct buf *problems);
void config_take_flags(struct config *config, const struct config_input *input, struct buf *problems);

/* The value of a variable in a NULL-terminated environment, or NULL. Empty counts as not given. */
const char *environment_get(const char *const *environment, const char *name);
