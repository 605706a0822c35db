/*
 * A growing buffer of bytes. `data` is always followed by a NUL once something was added, so a buffer without inner
 * NULs is also a C string (buf_str). Zero-initialised is empty and valid.
 */
#pragma once

#include "base/mem.h"

struct buf {
        char *data;
        size_t len;
        size_t cap;
};

#define BUF_NULL ((struct buf){0})

void buf_reserve(struct buf *buf, size_t more); /* room for `more` bytes and a NUL */
void buf_add(struct buf *buf, const void *data, size_t len);
void buf_adds(struct buf *buf, const char *text);
void buf_addc(struct buf *buf, char c);
void buf_addi(struct buf *buf, int64_t value); /* in decimal */
void buf_addf(struct buf *buf, const char *format, ...) _printf_(2, 3);
void buf_consume(struct buf *buf, size_t len); /* drops `len` bytes at the front */
void buf_truncate(struct buf *buf, size_t len);
const char *buf_str(const struct buf *buf); /* "" when empty; valid until the next change */
char *buf_steal(struct buf *buf);           /* the caller owns the string; the buffer is empty */
void buf_deinit(struct buf *buf);
#define _cleanup_buf_ _cleanup_(buf_deinit)
void buf_wipe(struct buf *buf); /* the same for what held a secret: it is overwritten first */
#define _cleanup_buf_wiped_ _cleanup_(buf_wipe)
