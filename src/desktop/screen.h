/*
 * A viewer's side of RFB (RFC 6143) for raw pixels: fed with what the desktop sends, it says what to answer and keeps the
 * screen. It believes nothing: sizes are limited, and whatever it does not expect ends it.
 */
#pragma once

#include "base/buf.h"

#define SCREEN_WIDTH_MAX 4096
#define SCREEN_HEIGHT_MAX 2304
#define SCREEN_HEAD_MAX 64

struct screen {
        uint8_t step;
        uint8_t head[SCREEN_HEAD_MAX]; /* of the present message, as far as it has come */
        size_t have, want;
        uint64_t skip;                /* bytes to be thrown away */
        unsigned rects;               /* of the present update that are still to come */
        unsigned x, y, width, height; /* of the present rectangle */
        uint64_t pixels_at, pixels;   /* bytes of it that have come, and all */
        uint8_t *data;                /* 4 bytes a pixel: blue, green, red, unused */
        unsigned screen_width, screen_height;
        bool complete; /* there were pixels since screen_ask() */
        bool changed, asked;
};

/* Takes what the desktop sent, adds answers to `out`. False: it is not understood. */
bool screen_feed(struct screen *screen, const uint8_t *data, size_t len, struct buf *out);
/* Asks for what has changed (or for everything at first), when no answer is owed. */
void screen_ask(struct screen *screen, struct buf *out);
void screen_deinit(struct screen *screen);
