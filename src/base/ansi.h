/*
 * What programs print for a terminal, as text: cursor movements, titles and every other control sequence go, and so do
 * lone control characters. What a stranger's program prints must not move the cursor of whoever reads it. Colours may
 * stay, in one spelling: so whoever shows them (a page, its script, the command line) has little to understand.
 */
#pragma once

#include "base/buf.h"

/* Appends `text` without its control sequences (ECMA-48: CSI, OSC and the other strings, two- and three-character
 * escapes, also in their 8-bit form as UTF-8) and control characters but the tab; a carriage return with text before and
 * behind it becomes a blank. Invalid UTF-8 becomes U+FFFD. */
void ansi_strip(const char *text, size_t len, struct buf *out);

/*
 * The same, but bold (1), underlined (4), the colours (30-37, 90-97) and backgrounds (40-47, 100-107) stay. Each sequence
 * that is left says all: "ESC[0m", or "ESC[0;1;4;31;40m" with what is not so left out, in this order. The text begins and
 * ends without colours, and has at most ANSI_CHANGES_MAX changes: what follows is plain. Doing it twice changes nothing.
 */
#define ANSI_CHANGES_MAX 64
void ansi_colours(const char *text, size_t len, struct buf *out);

/* A part of what ansi_colours() made, in one colour. */
struct ansi_piece {
        const char *codes; /* "1;31" without the leading 0; of `codes_len` bytes, 0: plain */
        size_t codes_len;
        const char *text;
        size_t len;
};
/* The next part behind *at, which moves on. False: there is none. Start with a zeroed piece. */
bool ansi_next(const char **at, struct ansi_piece *piece);
