/* The environment of programs that the agent starts: its own, without its secrets, with a few words replaced. */
#pragma once

#include "client/run.h"

/* `as` (may be NULL) brings HOME, USER, LOGNAME and SHELL; `more` is a NULL-terminated list of "NAME=VALUE" that wins
 * over everything. The caller owns the list (strv_free). */
char **child_env(const struct person *as, const char *const *more);

/* A program by its path, or looked for in PATH. Owned by the caller; NULL when there is none that can be executed. */
char *find_program(const char *name);
