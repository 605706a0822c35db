/*
 * A stream of server-sent events (WHATWG HTML 9.2), taken apart as it arrives. Sizes come from outside: an event of
 * more than SSE_EVENT_MAX bytes is an error.
 */
#pragma once

#include "base/buf.h"
#include "base/error.h"

#define SSE_EVENT_MAX (1 << 20)

struct sse {
        struct buf line, data;
        char event[32];
        char id[32];
        bool after_cr;
        /* Each event with data: its name ("message" when it has none), the last id, its data. */
        void (*take)(void *userdata, const char *event, const char *id, const char *data);
        void *userdata;
};

int sse_feed(struct sse *sse, const char *bytes, size_t len, struct error *error); /* 0 or -EFBIG */
void sse_deinit(struct sse *sse);
