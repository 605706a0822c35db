/*
 * What a worker may write, whatever its programs do and whatever is sent to them: the collection's own directory, and the
 * file of known host keys. Enforced by the kernel (landlock) where it can be; one-way.
 */
#pragma once

/* `places` ends with NULL; those that do not exist are left out. False: this kernel has no landlock. */
#include <stdbool.h>

bool confine_writes(const char *const *places);
