/*
 * What a watching administrator's viewer may say to a desktop: only what a picture needs. The relay reads the client's
 * side of RFB (RFC 6143) message by message and passes those of a list; keys, pointer, clipboard, resizing and switching
 * off are dropped, and what the list does not know ends the connection, because nobody could say where it ends.
 */
#pragma once

#include "base/buf.h"

#define RFB_HEAD_MAX 20

/* Zeroed is the beginning of a connection. */
struct rfb_filter {
        uint8_t phase;
        uint8_t head[RFB_HEAD_MAX]; /* of the present message, as far as it has come */
        uint8_t have;
        uint64_t left; /* bytes of it behind the head */
        bool pass;     /* what is left goes through */
        bool encodings;
};

/* Adds to `out` what may pass, at most RFB_HEAD_MAX bytes more than came. False: end the connection. */
bool rfb_filter_client(struct rfb_filter *filter, const uint8_t *data, size_t len, struct buf *out);
