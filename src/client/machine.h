/* Two facts about the machine (or the sandbox) that the agent lives on. */
#pragma once

#include <stddef.h>

/* The kernel's boot id, "" where /proc has none. */
void machine_boot_id(char *out, size_t size);
/* Seconds since this machine's first process started: of a sandbox or container its own age, not its host's. */
double machine_uptime(void);
