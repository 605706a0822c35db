/* The one growing buffer of the project: doubling, always followed by a NUL. */
#include "base/buf.h"

#include <stdio.h>
#include <string.h>

void buf_reserve(struct buf *buf, size_t more)
{
        if (more > SIZE_MAX / 4 || buf->len > SIZE_MAX / 4)
                abort();
        size_t needed = buf->len + more + 1;
        if (needed <= buf->cap)
                return;
        size_t cap = MAX(buf->cap * 2, (size_t)64);
        buf->cap = MAX(cap, needed);
        buf->data = xreallocarray(buf->data, buf->cap, 1);
        buf->data[buf->len] = '\0';
}

void buf_add(struct buf *buf, const void *data, size_t len)
{
        buf_reserve(buf, len);
        if (len)
                memcpy(buf->data + buf->len, data, len);
        buf->len += len;
        buf->data[buf->len] = '\0';
}

void buf_adds(struct buf *buf, const char *text)
{
        buf_add(buf, text, strlen(text));
}

void buf_addc(struct buf *buf, char c)
{
        if (buf->len + 2 > buf->cap)
                buf_reserve(buf, 1);
        buf->data[buf->len++] = c;
        buf->data[buf->len] = '\0';
}

void buf_addf(struct buf *buf, const char *format, ...)
{
        va_list args;
        va_start(args, format);
        _cleanup_free_ char *text = xvasprintf(format, args);
        va_end(args);
        buf_adds(buf, text);
}

void buf_addi(struct buf *buf, int64_t value)
{
        char digits[24], *first = digits + sizeof digits;
        uint64_t rest = value < 0 ? -(uint64_t)value : (uint64_t)value;
        do
                *--first = (char)('0' + rest % 10);
        while (rest /= 10);
        if (value < 0)
                *--first = '-';
        buf_add(buf, first, (size_t)(digits + sizeof digits - first));
}

void buf_consume(struct buf *buf, size_t len)
{
        if (!buf->data)
                return;
        len = MIN(len, buf->len);
        memmove(buf->data, buf->data + len, buf->len - len);
        buf_truncate(buf, buf->len - len);
}

void buf_truncate(struct buf *buf, size_t len)
{
        if (!buf->data || len > buf->len)
                return;
        buf->len = len;
        buf->data[len] = '\0';
}

const char *buf_str(const struct buf *buf)
{
        return buf->data ? buf->data : "";
}

char *buf_steal(struct buf *buf)
{
        char *text = buf->data ? buf->data : xstrdup("");
        *buf = BUF_NULL;
        return text;
}

void buf_deinit(struct buf *buf)
{
        free(buf->data);
        *buf = BUF_NULL;
}

void buf_wipe(struct buf *buf)
{
        if (buf->data)
                explicit_bzero(buf->data, buf->len);
        buf_deinit(buf);
}
