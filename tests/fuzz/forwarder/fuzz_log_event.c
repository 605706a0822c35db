/*
 * What arrives for the log forwarder: as an event of any content, and as the JSON inside of one. What is read is cut into
 * batches that hold every line once, are of the allocator's size, and are the same when they are made again.
 */
#include <sodium.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <zlib.h>

#include "base/token.h"
#include "forwarder/batch.h"
#include "forwarder/gunzip.h"

static void require(bool held)
{
        if (!held)
                abort();
}

static void check_batches(const struct log_event *event)
{
        size_t all = json_array_size(event->messages), lines = 0;
        require(!event->ids || json_array_size(event->ids) == all);
        for (size_t first = 0, end; first < all; first = end) {
                _cleanup_buf_ struct buf body = BUF_NULL, again = BUF_NULL;
                end = batch_end(event, first);
                require(end > first && end - first <= BATCH_LINES);
                batch_body(event, first, end, "invocation", &body);
                batch_body(event, first, end, "invocation", &again);
                require(body.len == again.len && memcmp(body.data, again.data, body.len) == 0);
                _cleanup_json_ json_t *value = json_read(body.data, body.len, NULL);
                lines += json_array_size(json_object_get(value, "messages"));
                require(strlen(json_get_string(value, "batch_id")) == BATCH_ID_LENGTH);
        }
        require(lines == all);
}

static void check(const char *data, size_t len)
{
        _cleanup_log_event_ struct log_event event = {0};
        _cleanup_error_ struct error error = ERROR_NULL;
        int r = log_event_read(data, len, &event, &error);
        require(r == 0 || (r < 0 && *error_text(&error)));
        if (r == 0 && !event.control)
                check_batches(&event);
}

/* The input as the JSON inside. */
static void check_inner(const uint8_t *data, size_t len)
{
        uLong bound = compressBound(len) + 64;
        _cleanup_free_ unsigned char *packed = xmalloc(bound);
        z_stream z = {.next_in = (Bytef *)(uintptr_t)data,
                      .avail_in = (uInt)len,
                      .next_out = packed,
                      .avail_out = (uInt)bound};
        require(deflateInit2(&z, 1, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) == Z_OK);
        require(deflate(&z, Z_FINISH) == Z_STREAM_END);
        size_t size = sodium_base64_ENCODED_LEN(z.total_out, sodium_base64_VARIANT_ORIGINAL);
        _cleanup_free_ char *text = xmalloc(size);
        sodium_bin2base64(text, size, packed, z.total_out, sodium_base64_VARIANT_ORIGINAL);
        deflateEnd(&z);
        _cleanup_free_ char *whole = xasprintf("{\"awslogs\":{\"data\":\"%s\"}}", text);
        check(whole, strlen(whole));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
        static bool ready;
        _cleanup_buf_ struct buf out = BUF_NULL;
        if (!ready)
                token_init();
        ready = true;
        check((const char *)data, len);
        check_inner(data, len);
        gunzip(data, len, 1 << 20, &out, NULL);
        require(out.len <= (1 << 20) + 1);
        return 0;
}
