/*
 * Is the participant's software running? A process counts when its command line contains the configured name, as
 * deployed clients have it: the name may be that of a script which an interpreter runs.
 */
#pragma once

#include <sys/types.h>

#include "base/mem.h"

/* A process that runs `software` (zombies and the agent's own processes do not count), or 0. `proc` is "/proc" but in
 * tests. */
pid_t in_use_find(const char *proc, const char *software);

/* One command line as /proc gives it: arguments that end with NULs. */
bool in_use_match(const char *cmdline, size_t len, const char *software);
