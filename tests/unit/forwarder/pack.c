/* The way there, so that the way back can be tested. */
#include "pack.h"

#include <sodium.h>
#include <string.h>
#include <zlib.h>

void pack_gzip(const void *data, size_t len, struct buf *out)
{
        z_stream z = {.next_in = (Bytef *)(uintptr_t)data, .avail_in = (uInt)len};
        assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
        size_t bound = deflateBound(&z, len);
        buf_reserve(out, bound);
        z.next_out = (Bytef *)out->data + out->len;
        z.avail_out = (uInt)bound;
        assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
        out->len += bound - z.avail_out;
        out->data[out->len] = '\0';
        deflateEnd(&z);
}

char *pack_event(const char *content)
{
        _cleanup_buf_ struct buf packed = BUF_NULL;
        pack_gzip(content, strlen(content), &packed);
        size_t size = sodium_base64_ENCODED_LEN(packed.len, sodium_base64_VARIANT_ORIGINAL);
        _cleanup_free_ char *text = xmalloc(size);
        sodium_bin2base64(text, size, (unsigned char *)packed.data, packed.len, sodium_base64_VARIANT_ORIGINAL);
        return xasprintf("{\"awslogs\": {\"data\": \"%s\"}}", text);
}
