/*
 * One pass over the bytes, by the states of ECMA-48: text, after an escape, in a control sequence (ended by a letter), in a
 * control string (ended by BEL or ST). A sequence that never ends takes the rest of the line with it, and no more.
 */
#include "base/ansi.h"

#include "base/text.h"

enum state { TEXT, ESCAPE, INTERMEDIATE, SEQUENCE, STRING, STRING_ESCAPE };

#define ESC 0x1b
#define BEL 0x07
#define CAN 0x18
#define SUB 0x1a

static bool opens_string(unsigned char c)
{
        return c == ']' || c == 'P' || c == 'X' || c == '^' || c == '_'; /* OSC, DCS, SOS, PM, APC */
}

static enum state after_escape(unsigned char c)
{
        if (c == '[')
                return SEQUENCE;
        if (opens_string(c))
                return STRING;
        if (c >= 0x20 && c <= 0x2f)
                return INTERMEDIATE;
        return c == ESC ? ESCAPE : TEXT;
}

/* The 8-bit form of an escape, U+0080 to U+009F, is two bytes of UTF-8. */
static enum state after_c1(unsigned char c)
{
        return after_escape((unsigned char)(c - 0x40));
}

static enum state in_text(unsigned char c, struct buf *out)
{
        if (c == ESC)
                return ESCAPE;
        if (c == '\t')
                buf_adds(out, "    ");
        else if (c >= 0x20 && c != 0x7f)
                buf_addc(out, (char)c);
        return TEXT;
}

static enum state in_string(enum state state, unsigned char c)
{
        if (c == BEL || c == CAN || c == SUB)
                return TEXT;
        if (state == STRING_ESCAPE && c == '\\')
                return TEXT;
        return c == ESC ? STRING_ESCAPE : STRING;
}

static enum state next(enum state state, unsigned char c, struct buf *out)
{
        switch (state) {
        case TEXT:
                return in_text(c, out);
        case ESCAPE:
                return c >= 0x80 ? in_text(c, out) : after_escape(c); /* no part of an escape */
        case INTERMEDIATE:
                if (c >= 0x80)
                        return in_text(c, out);
                return c == ESC ? ESCAPE : c >= 0x20 && c <= 0x2f ? INTERMEDIATE : TEXT;
        case SEQUENCE:
                return c == ESC ? ESCAPE : c == CAN || c == SUB || (c >= 0x40 && c <= 0x7e) ? TEXT : SEQUENCE;
        case STRING:
        case STRING_ESCAPE:
                return in_string(state, c);
        }
        return TEXT;
}

void ansi_strip(const char *text, size_t len, struct buf *out)
{
        _cleanup_buf_ struct buf clean = BUF_NULL;
        utf8_scrub(text, len, &clean);
        enum state state = TEXT;
        for (size_t i = 0; i < clean.len; i++) {
                unsigned char c = (unsigned char)clean.data[i];
                unsigned char second = i + 1 < clean.len ? (unsigned char)clean.data[i + 1] : 0;
                if (c != 0xc2 || second < 0x80 || second > 0x9f) {
                        state = next(state, c, out);
                        continue;
                }
                i++;
                if (state == STRING || state == STRING_ESCAPE)
                        state = second == 0x9c ? TEXT : STRING; /* ST */
                else
                        state = after_c1(second);
        }
}
