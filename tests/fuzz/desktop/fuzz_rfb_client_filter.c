/*
 * What a watching viewer may send, of any content: nothing but listed messages comes out, the same whole as in pieces,
 * and never more than came in by one head.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "desktop/rfb_filter.h"

static void require(bool held)
{
        if (!held)
                abort();
}

static bool run(const uint8_t *data, size_t size, size_t step, struct buf *out)
{
        struct rfb_filter filter = {0};
        for (size_t at = 0; at < size; at += step) {
                size_t before = out->len, piece = MIN(step, size - at);
                if (!rfb_filter_client(&filter, data + at, piece, out))
                        return false;
                require(out->len - before <= piece + RFB_HEAD_MAX);
        }
        return true;
}

/* Reads what came out as a server would: keys, pointer, clipboard and sizes are not in it. */
static void check(const struct buf *out)
{
        for (size_t at = 14; at < out->len;) {
                const uint8_t *head = (const uint8_t *)out->data + at;
                size_t left = out->len - at, len;
                switch (head[0]) {
                case 0:
                        len = 20;
                        break;
                case 2:
                        len = left < 4 ? left : 4 + 4u * (unsigned)(head[2] << 8 | head[3]);
                        break;
                case 3:
                case 150:
                        len = 10;
                        break;
                case 248:
                        len = left < 9 ? left : 9u + head[8];
                        break;
                default:
                        abort();
                }
                at += MIN(len, left);
        }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        _cleanup_buf_ struct buf whole = BUF_NULL, pieces = BUF_NULL;
        if (size < 2)
                return 0;
        bool good = run(data + 1, size - 1, size, &whole);
        require(run(data + 1, size - 1, data[0] + 1u, &pieces) == good);
        require(whole.len == pieces.len && (!whole.len || memcmp(whole.data, pieces.data, whole.len) == 0));
        check(&whole);
        return 0;
}
