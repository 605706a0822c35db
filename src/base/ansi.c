/*
 * One pass over the bytes, by the states of ECMA-48: text, after an escape, in a control sequence (ended by a letter), in a
 * control string (ended by BEL or ST). A sequence that never ends takes the rest of the line with it, and no more. A
 * colour is written when the first character comes that has it, so what has no effect leaves nothing behind.
 */
#include "base/ansi.h"

#include <stdlib.h>
#include <string.h>

#include "base/text.h"

enum state { TEXT, ESCAPE, INTERMEDIATE, SEQUENCE, STRING, STRING_ESCAPE };

#define ESC 0x1b
#define BEL 0x07
#define CAN 0x18
#define SUB 0x1a

struct style { /* numbers of SGR; 0: not so */
        unsigned char bold, underlined, colour, back;
};

struct pass {
        enum state state;
        struct buf *out;
        size_t begin;                 /* of this text in `out` */
        char parameters[64];          /* of the control sequence at hand */
        size_t n;                     /* its bytes, of which the array may hold fewer */
        struct style wanted, written; /* of the next character, of the last one */
        unsigned changes;
        bool colours, returned; /* a carriage return waits for text */
};

/* --- colours -------------------------------------------------------------------------------------------------------- */

static void put_style(struct pass *p, struct style style)
{
        const unsigned char codes[] = {style.bold, style.underlined, style.colour, style.back};
        buf_adds(p->out, "\033[0");
        for (size_t i = 0; i < sizeof codes; i++)
                if (codes[i])
                        buf_addf(p->out, ";%u", codes[i]);
        buf_addc(p->out, 'm');
        p->written = style;
}

static bool is_plain(struct style style)
{
        return !style.bold && !style.underlined && !style.colour && !style.back;
}

static void plain(struct pass *p)
{
        if (!is_plain(p->written))
                put_style(p, (struct style){0});
}

static void change(struct pass *p)
{
        if (!p->colours || memcmp(&p->wanted, &p->written, sizeof p->wanted) == 0)
                return;
        if (p->changes++ < ANSI_CHANGES_MAX) {
                put_style(p, p->wanted);
                return;
        }
        plain(p);
        p->colours = false;
}

static void apply(struct style *style, unsigned long code)
{
        if (code == 0)
                *style = (struct style){0};
        else if (code == 1)
                style->bold = 1;
        else if (code == 4)
                style->underlined = 4;
        else if (code == 22)
                style->bold = 0;
        else if (code == 24)
                style->underlined = 0;
        else if ((code >= 30 && code <= 37) || (code >= 90 && code <= 97))
                style->colour = (unsigned char)code;
        else if ((code >= 40 && code <= 47) || (code >= 100 && code <= 107))
                style->back = (unsigned char)code;
        else if (code == 39)
                style->colour = 0;
        else if (code == 49)
                style->back = 0;
}

/* Behind 38 or 48: "5;N" is one of 256 colours, of which the first 16 are known here, "2;R;G;B" any colour. */
static const char *apply_extended(struct style *style, bool back, const char *at)
{
        char *end;
        unsigned long kind = strtoul(at, &end, 10), number = *end == ';' ? strtoul(end + 1, &end, 10) : ULONG_MAX;
        if (kind == 5 && number < 16)
                apply(style, (number < 8 ? 30 + number : 82 + number) + (back ? 10 : 0));
        for (int more = kind == 2 ? 2 : 0; more > 0 && *end == ';'; more--)
                strtoul(end + 1, &end, 10);
        return end;
}

/* Numbers and ';', else the whole sequence is none of ours. */
static void apply_all(struct pass *p)
{
        if (p->n >= sizeof p->parameters)
                return;
        p->parameters[p->n] = '\0';
        if (strspn(p->parameters, "0123456789;") != p->n)
                return;
        for (const char *at = p->parameters;; at++) {
                char *end;
                unsigned long code = strtoul(at, &end, 10);
                if ((code == 38 || code == 48) && *end == ';')
                        at = apply_extended(&p->wanted, code == 48, end + 1);
                else {
                        apply(&p->wanted, code);
                        at = end;
                }
                if (!*at)
                        return;
        }
}

/* --- states --------------------------------------------------------------------------------------------------------- */

static bool opens_string(unsigned char c)
{
        return c == ']' || c == 'P' || c == 'X' || c == '^' || c == '_'; /* OSC, DCS, SOS, PM, APC */
}

static enum state after_escape(struct pass *p, unsigned char c)
{
        p->n = 0;
        if (c == '[')
                return SEQUENCE;
        if (opens_string(c))
                return STRING;
        if (c >= 0x20 && c <= 0x2f)
                return INTERMEDIATE;
        return c == ESC ? ESCAPE : TEXT;
}

/* The 8-bit form of an escape, U+0080 to U+009F, is two bytes of UTF-8. */
static enum state after_c1(struct pass *p, unsigned char c)
{
        return after_escape(p, (unsigned char)(c - 0x40));
}

static enum state in_text(struct pass *p, unsigned char c)
{
        if (c == ESC)
                return ESCAPE;
        if (c == '\r')
                p->returned = p->out->len > p->begin;
        if (c == 0x7f || (c < 0x20 && c != '\t'))
                return TEXT;
        change(p);
        if (p->returned)
                buf_addc(p->out, ' ');
        p->returned = false;
        buf_addc(p->out, (char)c);
        return TEXT;
}

static enum state in_sequence(struct pass *p, unsigned char c)
{
        if (c == ESC)
                return ESCAPE;
        if (c == 'm')
                apply_all(p);
        if (c == CAN || c == SUB || (c >= 0x40 && c <= 0x7e))
                return TEXT;
        if (p->n < sizeof p->parameters)
                p->parameters[p->n++] = (char)c;
        return SEQUENCE;
}

static enum state in_string(enum state state, unsigned char c)
{
        if (c == BEL || c == CAN || c == SUB)
                return TEXT;
        if (state == STRING_ESCAPE && c == '\\')
                return TEXT;
        return c == ESC ? STRING_ESCAPE : STRING;
}

static enum state next(struct pass *p, unsigned char c)
{
        switch (p->state) {
        case TEXT:
                return in_text(p, c);
        case ESCAPE:
                return c >= 0x80 ? in_text(p, c) : after_escape(p, c); /* no part of an escape */
        case INTERMEDIATE:
                if (c >= 0x80)
                        return in_text(p, c);
                return c == ESC ? ESCAPE : c >= 0x20 && c <= 0x2f ? INTERMEDIATE : TEXT;
        case SEQUENCE:
                return in_sequence(p, c);
        case STRING:
        case STRING_ESCAPE:
                return in_string(p->state, c);
        }
        return TEXT;
}

static void pass(const char *text, size_t len, bool colours, struct buf *out)
{
        _cleanup_buf_ struct buf clean = BUF_NULL;
        struct pass p = {.out = out, .begin = out->len, .colours = colours};
        utf8_scrub(text, len, &clean);
        for (size_t i = 0; i < clean.len; i++) {
                unsigned char c = (unsigned char)clean.data[i];
                unsigned char second = i + 1 < clean.len ? (unsigned char)clean.data[i + 1] : 0;
                if (c != 0xc2 || second < 0x80 || second > 0x9f) {
                        p.state = next(&p, c);
                        continue;
                }
                i++;
                if (p.state == STRING || p.state == STRING_ESCAPE)
                        p.state = second == 0x9c ? TEXT : STRING; /* ST */
                else
                        p.state = after_c1(&p, second);
        }
        plain(&p);
}

void ansi_strip(const char *text, size_t len, struct buf *out)
{
        pass(text, len, false, out);
}

void ansi_colours(const char *text, size_t len, struct buf *out)
{
        pass(text, len, true, out);
}

/* --- pieces --------------------------------------------------------------------------------------------------------- */

bool ansi_next(const char **at, struct ansi_piece *piece)
{
        while (str_starts(*at, "\033[0")) {
                const char *codes = *at + strlen("\033[0");
                codes += *codes == ';';
                size_t len = strspn(codes, "0123456789;");
                if (codes[len] != 'm')
                        break;
                piece->codes = codes;
                piece->codes_len = len;
                *at = codes + len + 1;
        }
        piece->text = *at;
        piece->len = **at ? 1 + strcspn(*at + 1, "\033") : 0;
        *at += piece->len;
        return piece->len > 0;
}
