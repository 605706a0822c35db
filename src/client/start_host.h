/*
 * Chrome Remote Desktop's start-host, run as the participant's user and never through a shell: the code is one
 * argument, the PIN goes in by standard input (argv can be read by everybody), twice, as it is asked for.
 */
#pragma once

#include "client/assignment.h"
#include "client/run.h"
#include "client/settings.h"

#define START_HOST_USUAL "/opt/google/chrome-remote-desktop/start-host"
#define START_HOST_MS 60000

/* Owned by the caller; NULL: this machine has none. */
char *start_host_find(const struct settings *settings);

/* NULL with the reason. `line` gets each line of its output. */
struct run *start_host_run(struct loop *loop, const char *program, const struct settings *settings,
                           const struct assignment *assignment,
                           void (*line)(void *userdata, const char *line, size_t len), void *userdata,
                           struct error *error);
