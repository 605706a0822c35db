/* The part of run.c that is on the other side of the fork. */
#pragma once

#include "client/run.h"

/* Starts the child in a session of its own. `in`, `out`: its descriptors 0 and 1, 2. */
int run_spawn(const struct run_spec *spec, int in, int out, pid_t *ret_pid, struct error *error);
