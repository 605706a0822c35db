/* One step a message: so many bytes are awaited, then taken; pixels go to their place as they come. */
#include "desktop/screen.h"

#include <string.h>

enum step {
        STEP_VERSION,
        STEP_SECURITY_COUNT,
        STEP_SECURITY_TYPES,
        STEP_SECURITY_RESULT,
        STEP_INIT,
        STEP_NAME,
        STEP_TYPE,
        STEP_UPDATE,
        STEP_RECT,
        STEP_COLOURS,
        STEP_CUT_TEXT,
};

#define ENCODING_RAW 0
#define ENCODING_DESKTOP_SIZE (-223)
#define ENCODING_LAST_RECT (-224)
#define NAME_MAX_BYTES 65536
#define TEXT_MAX_BYTES (1 << 20)

static unsigned be16(const uint8_t *at)
{
        return (unsigned)at[0] << 8 | at[1];
}

static uint32_t be32(const uint8_t *at)
{
        return (uint32_t)be16(at) << 16 | be16(at + 2);
}

static void await_bytes(struct screen *s, enum step step, size_t want)
{
        s->step = step;
        s->want = want;
        s->have = 0;
}

static bool resize(struct screen *s, unsigned width, unsigned height)
{
        if (width == 0 || height == 0 || width > SCREEN_WIDTH_MAX || height > SCREEN_HEIGHT_MAX)
                return false;
        free(s->data);
        s->data = xcalloc((size_t)width * height, 4);
        s->screen_width = width;
        s->screen_height = height;
        s->asked = false; /* everything is asked for anew */
        s->complete = false;
        return true;
}

/* 32 bits a pixel, little end first, blue lowest; raw pixels and changes of size. */
static void say_hello(struct buf *out)
{
        static const uint8_t format[] = {0, 0, 0, 0, 32, 24, 0, 1, 0, 255, 0, 255, 0, 255, 16, 8, 0, 0, 0, 0};
        static const uint8_t encodings[] = {2, 0, 0, 2, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0x21};
        buf_add(out, format, sizeof format);
        buf_add(out, encodings, sizeof encodings);
}

void screen_ask(struct screen *s, struct buf *out)
{
        uint8_t request[10] = {3, s->asked, 0, 0, 0, 0};
        if (!s->data || (s->asked && !s->complete))
                return;
        request[6] = (uint8_t)(s->screen_width >> 8);
        request[7] = (uint8_t)s->screen_width;
        request[8] = (uint8_t)(s->screen_height >> 8);
        request[9] = (uint8_t)s->screen_height;
        s->asked = true;
        s->complete = false;
        buf_add(out, request, sizeof request);
}

/* --- the handshake ------------------------------------------------------------------------------------------------- */

static bool take_types(struct screen *s, struct buf *out)
{
        static const uint8_t none = 1;
        if (!memchr(s->head, none, s->have))
                return false;
        buf_add(out, &none, 1);
        await_bytes(s, STEP_SECURITY_RESULT, 4);
        return true;
}

static bool take_result(struct screen *s, struct buf *out)
{
        static const uint8_t shared = 1;
        if (be32(s->head) != 0)
                return false;
        buf_add(out, &shared, 1);
        await_bytes(s, STEP_INIT, 24);
        return true;
}

static bool take_init(struct screen *s)
{
        uint32_t name = be32(s->head + 20);
        if (name > NAME_MAX_BYTES || !resize(s, be16(s->head), be16(s->head + 2)))
                return false;
        s->skip = name;
        await_bytes(s, STEP_NAME, 0);
        return true;
}

static bool take_handshake(struct screen *s, struct buf *out)
{
        switch ((enum step)s->step) {
        case STEP_VERSION:
                if (memcmp(s->head, "RFB 003.", 8) != 0)
                        return false;
                buf_adds(out, "RFB 003.008\n");
                await_bytes(s, STEP_SECURITY_COUNT, 1);
                return true;
        case STEP_SECURITY_COUNT:
                if (s->head[0] == 0 || s->head[0] > SCREEN_HEAD_MAX)
                        return false;
                await_bytes(s, STEP_SECURITY_TYPES, s->head[0]);
                return true;
        case STEP_SECURITY_TYPES:
                return take_types(s, out);
        case STEP_SECURITY_RESULT:
                return take_result(s, out);
        case STEP_INIT:
                return take_init(s);
        default:
                say_hello(out);
                await_bytes(s, STEP_TYPE, 1);
                return true;
        }
}

/* --- messages ------------------------------------------------------------------------------------------------------ */

static void next_rect(struct screen *s)
{
        if (s->rects > 0)
                await_bytes(s, STEP_RECT, 12);
        else
                await_bytes(s, STEP_TYPE, 1);
}

static bool take_rect(struct screen *s)
{
        int32_t encoding = (int32_t)be32(s->head + 8);
        s->x = be16(s->head);
        s->y = be16(s->head + 2);
        s->width = be16(s->head + 4);
        s->height = be16(s->head + 6);
        s->rects--;
        if (encoding == ENCODING_DESKTOP_SIZE) {
                if (!resize(s, s->width, s->height))
                        return false;
        } else if (encoding == ENCODING_LAST_RECT) {
                s->rects = 0;
        } else if (encoding != ENCODING_RAW || s->x + s->width > s->screen_width ||
                   s->y + s->height > s->screen_height) {
                return false;
        } else if (s->width && s->height) {
                s->pixels = (uint64_t)s->width * s->height * 4;
                s->pixels_at = 0;
        }
        next_rect(s);
        return true;
}

static bool take_type(struct screen *s)
{
        switch (s->head[0]) {
        case 0:
                await_bytes(s, STEP_UPDATE, 3);
                return true;
        case 1:
                await_bytes(s, STEP_COLOURS, 5);
                return true;
        case 2: /* bell */
                await_bytes(s, STEP_TYPE, 1);
                return true;
        case 3:
                await_bytes(s, STEP_CUT_TEXT, 7);
                return true;
        default:
                return false;
        }
}

static bool take_message(struct screen *s)
{
        uint32_t text;
        switch ((enum step)s->step) {
        case STEP_TYPE:
                return take_type(s);
        case STEP_UPDATE:
                s->rects = be16(s->head + 1);
                next_rect(s);
                return true;
        case STEP_RECT:
                return take_rect(s);
        case STEP_COLOURS:
                s->skip = 6ull * be16(s->head + 3);
                await_bytes(s, STEP_TYPE, 1);
                return true;
        default: /* STEP_CUT_TEXT */
                text = be32(s->head + 3);
                s->skip = text;
                await_bytes(s, STEP_TYPE, 1);
                return text <= TEXT_MAX_BYTES;
        }
}

/* --- bytes --------------------------------------------------------------------------------------------------------- */

static size_t take_pixels(struct screen *s, const uint8_t *data, size_t len)
{
        uint64_t stride = (uint64_t)s->width * 4, column = s->pixels_at % stride, row = s->pixels_at / stride;
        size_t n = (size_t)MIN((uint64_t)len, stride - column);
        memcpy(s->data + ((s->y + row) * s->screen_width + s->x) * 4 + column, data, n);
        s->pixels_at += n;
        if (s->pixels_at == s->pixels) {
                s->pixels = 0;
                s->complete = s->changed = true;
        }
        return n;
}

bool screen_feed(struct screen *s, const uint8_t *data, size_t len, struct buf *out)
{
        if (s->step == STEP_VERSION && s->want == 0)
                s->want = 12;
        while (len > 0 || (s->step == STEP_NAME && s->skip == 0)) {
                size_t n;
                if (s->pixels) {
                        n = take_pixels(s, data, len);
                } else if (s->skip) {
                        n = (size_t)MIN((uint64_t)len, s->skip);
                        s->skip -= n;
                } else {
                        n = MIN(len, s->want - s->have);
                        memcpy(s->head + s->have, data, n);
                        s->have += n;
                        if (s->have == s->want && !(s->step < STEP_TYPE ? take_handshake(s, out) : take_message(s)))
                                return false;
                }
                data += n;
                len -= n;
        }
        return true;
}

void screen_deinit(struct screen *s)
{
        free(s->data);
        *s = (struct screen){0};
}
