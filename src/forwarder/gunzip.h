/*
 * gzip from outside, unpacked under a limit: a few hundred bytes can stand for gigabytes.
 */
#pragma once

#include "base/buf.h"
#include "base/error.h"

/* Appends what `data` holds, all members of it, to `out`. -EFBIG: that is more than `max` bytes; -EINVAL: damaged or cut
 * off. `out` holds what was read so far then. */
int gunzip(const void *data, size_t len, size_t max, struct buf *out, struct error *error);
