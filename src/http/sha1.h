/*
 * SHA-1, for the one place where a protocol wants it: Sec-WebSocket-Accept (RFC 6455, 4.2.2), which proves to a client
 * that its peer knows what a WebSocket is and keeps nothing secret. libsodium has none, rightly.
 */
#pragma once

#include "base/mem.h"

#define SHA1_LENGTH 20

void sha1(const void *data, size_t len, uint8_t out[SHA1_LENGTH]);
