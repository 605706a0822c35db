/*
 * `lablink-client ship`: a boot script's output, from its first line on, before any agent runs:
 *
 *   exec > >(lablink-client ship) 2>&1
 *
 * What comes is written aside at once, so that the script never waits for an allocator that is away, and shipped as the
 * agent ships any log. It ends when its input has ended and every line has arrived.
 */
#pragma once

#include "base/error.h"
#include "client/settings.h"

int ship_run(const struct settings *settings, struct error *error);
