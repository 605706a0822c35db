/*
 * Percent-encoding. A path is split at its raw slashes first and each segment is decoded afterwards, so that nothing
 * that was encoded can become structure: what decodes to a slash, a NUL or ".." is refused instead.
 */
#include <errno.h>
#include <string.h>

#include "base/text.h"
#include "http/internal.h"

static int hex_digit(char c)
{
        if (c >= '0' && c <= '9')
                return c - '0';
        if (c >= 'a' && c <= 'f')
                return c - 'a' + 10;
        if (c >= 'A' && c <= 'F')
                return c - 'A' + 10;
        return -1;
}

static int decode_byte(const char *text, size_t len, enum uri_part part, size_t *i)
{
        char c = text[*i];
        if (c == '+' && part == URI_QUERY)
                return ' ';
        if (c != '%')
                return (unsigned char)c;
        if (len - *i < 3)
                return -EINVAL;
        int high = hex_digit(text[*i + 1]), low = hex_digit(text[*i + 2]);
        if (high < 0 || low < 0)
                return -EINVAL;
        *i += 2;
        return high << 4 | low;
}

int uri_decode(const char *text, size_t len, enum uri_part part, struct buf *out)
{
        size_t start = out->len;
        buf_reserve(out, len);
        for (size_t i = 0; i < len; i++) {
                int byte = decode_byte(text, len, part, &i);
                if (byte <= 0 || (byte == '/' && part == URI_SEGMENT))
                        return -EINVAL;
                buf_addc(out, (char)byte);
        }
        const char *decoded = buf_str(out) + start;
        size_t n = out->len - start;
        if (part == URI_SEGMENT && (str_eq(decoded, "..") || str_eq(decoded, ".")))
                return -EINVAL;
        return utf8_valid(decoded, n) ? 0 : -EINVAL;
}

int segments_split(const char *path, struct segments *segments)
{
        *segments = (struct segments){0};
        if (path[0] != '/')
                return -EINVAL;
        if (path[1] == '\0')
                return 0;
        for (const char *at = path; *at == '/';) {
                size_t len = strcspn(++at, "/");
                if (segments->n == SEGMENTS_MAX)
                        return -EINVAL;
                segments->offset[segments->n++] = segments->text.len;
                if (uri_decode(at, len, URI_SEGMENT, &segments->text) < 0)
                        return -EINVAL;
                buf_addc(&segments->text, '\0');
                at += len;
        }
        return 0;
}

static int add_pair(const char *text, size_t len, struct buf *out)
{
        const char *equals = memchr(text, '=', len);
        size_t name_len = equals ? (size_t)(equals - text) : len;
        if (uri_decode(text, name_len, URI_QUERY, out) < 0)
                return -EINVAL;
        buf_addc(out, '\0');
        if (equals && uri_decode(equals + 1, len - name_len - 1, URI_QUERY, out) < 0)
                return -EINVAL;
        buf_addc(out, '\0');
        return 0;
}

int query_parse(const char *query, struct buf *out)
{
        for (const char *at = query; *at;) {
                size_t len = strcspn(at, "&");
                if (len > 0 && add_pair(at, len, out) < 0)
                        return -EINVAL;
                at += len;
                at += *at == '&';
        }
        return 0;
}
