/*
 * Frames of any content, in pieces of any size: the parser takes something or fails with a code that may be sent, gives
 * data only inside of its input, never a text that is no UTF-8, nothing after a close, and the same whole as in pieces.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/text.h"
#include "http/websocket.h"

static void require(bool held)
{
        if (!held)
                abort();
}

static void note(struct buf *out, const struct ws_event *event, bool *open)
{
        if (event->kind == WS_EVENT_NONE)
                return;
        if (event->kind != WS_EVENT_DATA)
                buf_addf(out, "[%d %u]", event->kind, event->code);
        else if (!*open)
                buf_adds(out, event->text ? "[text]" : "[binary]");
        if (event->len)
                buf_add(out, event->data, event->len);
        if (event->kind == WS_EVENT_DATA)
                *open = !event->end;
        if (event->kind == WS_EVENT_DATA && event->end)
                buf_adds(out, "[end]");
}

/* What the events say, joined; the failing code at its end. */
static void run(const uint8_t *data, size_t size, size_t step, bool masked, uint64_t max, struct buf *out)
{
        struct ws_parser parser = {.masked = masked, .message_max = max};
        struct utf8_state text = {0};
        bool open = false, closed = false;
        _cleanup_free_ uint8_t *copy = xmemdup(data, size);
        for (size_t at = 0; at < size;) {
                struct ws_event event;
                size_t piece = MIN(step, size - at);
                ssize_t taken = ws_parse(&parser, copy + at, piece, &event);
                if (taken < 0) {
                        require(ws_code_valid((unsigned)-taken));
                        buf_addf(out, "!%zd", -taken);
                        return;
                }
                require(taken > 0 && (size_t)taken <= piece);
                require(!closed || event.kind == WS_EVENT_NONE);
                require(event.kind != WS_EVENT_DATA || event.len == 0 ||
                        (event.data >= copy + at && event.data + event.len <= copy + at + piece));
                require(event.kind == WS_EVENT_DATA || event.len <= WS_CONTROL_MAX);
                if (event.kind == WS_EVENT_DATA && event.text) {
                        require(utf8_feed(&text, event.data, event.len));
                        require(!event.end || text.rest == 0);
                }
                closed = event.kind == WS_EVENT_CLOSE;
                note(out, &event, &open);
                at += (size_t)taken;
        }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        _cleanup_buf_ struct buf whole = BUF_NULL, pieces = BUF_NULL;
        if (size < 2 || size > 65536)
                return 0;
        bool masked = data[0] & 1;
        uint64_t max = data[0] & 2 ? 100 : 0;
        run(data + 2, size - 2, size, masked, max, &whole);
        run(data + 2, size - 2, data[1] + 1u, masked, max, &pieces);
        /* a piece of a text that is no UTF-8 is refused as soon as it is seen: what came before may differ in length */
        if (whole.len < 5 || memcmp(whole.data + whole.len - 5, "!1007", 5) != 0)
                require(whole.len == pieces.len && (whole.len == 0 || memcmp(whole.data, pieces.data, whole.len) == 0));
        return 0;
}
