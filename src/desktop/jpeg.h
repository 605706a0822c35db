/* A screen, made small, as JPEG. */
#pragma once

#include "base/buf.h"

/* `pixels` are 4 bytes each: blue, green, red, unused. 0 with the picture in `out`, or -EIO. */
int jpeg_thumbnail(const uint8_t *pixels, unsigned width, unsigned height, unsigned to_width, struct buf *out);
