/*
 * What programs print for a terminal, as plain text: colours, cursor movements, titles and every other control sequence
 * go, and so do lone control characters. What a stranger's program prints must not move the cursor of whoever reads it.
 */
#pragma once

#include "base/buf.h"

/* Appends `text` without its control sequences (ECMA-48: CSI, OSC and the other strings, two- and three-character
 * escapes, also in their 8-bit form as UTF-8) and control characters; a tab becomes blanks. Invalid UTF-8 becomes U+FFFD. */
void ansi_strip(const char *text, size_t len, struct buf *out);
