/* The words of the lab: host names and statuses, checked the same way wherever they come from. */
#pragma once

#include "base/mem.h"

#define HOSTNAME_MAX 255

/* [A-Za-z0-9][A-Za-z0-9._-]{0,254}, case kept. */
bool hostname_valid(const char *name);
/* initializing, running, error, available, assigned, unknown. */
bool status_valid(const char *status);
/* The values of status_valid, for sentences. */
#define STATUS_WORDS "initializing, running, error, available, assigned, unknown"
