/*
 * Percent-encoding as signatures want it (RFC 3986's unreserved characters stay, everything else is %XX in capitals),
 * and query strings made of it: what is signed is byte for byte what is sent.
 */
#pragma once

#include "base/buf.h"

struct aws_pair {
        const char *name, *value;
};

void aws_uri_encode(const char *text, bool keep_slash, struct buf *out);
/* "a=b&c=d", encoded and sorted by name, then value. Owned by the caller; "" for none. */
char *aws_query(const struct aws_pair *pairs, size_t n);
