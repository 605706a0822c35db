/*
 * What a worker may write, whatever it reads: its own place, and the file of the VM's host key. And what its programs may
 * write, whoever speaks to them: of that place only the tree of what is transferred. Enforced by the kernel (landlock)
 * where it can be; one-way, and each time narrower.
 */
#pragma once

#include <stdbool.h>

/* `places` (directories with all below them, or files) ends with NULL; those that do not exist are left out. Only
 * async-signal-safe calls. False: this kernel has no landlock. */
bool confine_writes(const char *const *places);
