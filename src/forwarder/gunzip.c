/*
 * The buffer grows with what really comes out, so that a small input that claims nothing costs nothing.
 */
#include "forwarder/gunzip.h"

#include <errno.h>
#include <string.h>
#include <zlib.h>

#define GZIP_ONLY (15 + 16)
#define PIECE 65536

static void inflate_end(z_stream *z)
{
        inflateEnd(z);
}

/* One call of inflate into the buffer's end. */
static int unpack_piece(z_stream *z, size_t max, struct buf *out)
{
        size_t room = MIN((size_t)PIECE, max - out->len + 1);
        buf_reserve(out, room);
        z->next_out = (Bytef *)out->data + out->len;
        z->avail_out = (uInt)room;
        int r = inflate(z, Z_NO_FLUSH);
        out->len += room - z->avail_out;
        out->data[out->len] = '\0';
        return r;
}

/* After the end of a member: 1 when another follows, 0 at the end (zeros are padding), -EINVAL for anything else. */
static int next_member(z_stream *z)
{
        while (z->avail_in && *z->next_in == 0)
                z->next_in++, z->avail_in--;
        if (!z->avail_in)
                return 0;
        return inflateReset(z) == Z_OK && *z->next_in == 0x1f ? 1 : -EINVAL;
}

static int unpack(z_stream *z, size_t max, struct buf *out, struct error *error)
{
        for (;;) {
                size_t before = out->len;
                int r = unpack_piece(z, max, out);
                if (out->len > max)
                        return error_set(error, -EFBIG, "it unpacks to more than %zu bytes", max);
                if (r == Z_STREAM_END) {
                        int more = next_member(z);
                        if (more < 0)
                                return error_set(error, more, "something that is no gzip follows it");
                        if (more == 0)
                                return 0;
                } else if (r == Z_BUF_ERROR || (r == Z_OK && !z->avail_in && z->avail_out && out->len == before)) {
                        return error_set(error, -EINVAL, "it is cut off");
                } else if (r != Z_OK) {
                        return error_set(error, -EINVAL, "it is damaged: %s", z->msg ? z->msg : zError(r));
                }
        }
}

int gunzip(const void *data, size_t len, size_t max, struct buf *out, struct error *error)
{
        _cleanup_(inflate_end) z_stream z = {.next_in = (Bytef *)(uintptr_t)data, .avail_in = (uInt)len};
        if (len > INT32_MAX)
                return error_set(error, -EFBIG, "it is larger than 2 GB");
        if (inflateInit2(&z, GZIP_ONLY) != Z_OK)
                abort();
        return unpack(&z, max + out->len, out, error);
}
