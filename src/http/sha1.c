/* FIPS 180-4, sections 5 and 6.1, for texts that lie in memory whole. */
#include "http/sha1.h"

#include <endian.h>
#include <string.h>

#define BLOCK 64

static uint32_t rotate(uint32_t word, unsigned bits)
{
        return word << bits | word >> (32 - bits);
}

static uint32_t mix(unsigned round, uint32_t b, uint32_t c, uint32_t d)
{
        if (round < 20)
                return ((b & c) | (~b & d)) + 0x5a827999;
        if (round < 40)
                return (b ^ c ^ d) + 0x6ed9eba1;
        if (round < 60)
                return ((b & c) | (b & d) | (c & d)) + 0x8f1bbcdc;
        return (b ^ c ^ d) + 0xca62c1d6;
}

static void take_block(uint32_t state[5], const uint8_t block[BLOCK])
{
        uint32_t w[80], a = state[0], b = state[1], c = state[2], d = state[3], e = state[4];
        for (unsigned i = 0; i < 16; i++) {
                memcpy(&w[i], block + 4 * i, 4);
                w[i] = be32toh(w[i]);
        }
        for (unsigned i = 16; i < 80; i++)
                w[i] = rotate(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
        for (unsigned i = 0; i < 80; i++) {
                uint32_t next = rotate(a, 5) + mix(i, b, c, d) + e + w[i];
                e = d;
                d = c;
                c = rotate(b, 30);
                b = a;
                a = next;
        }
        state[0] += a;
        state[1] += b;
        state[2] += c;
        state[3] += d;
        state[4] += e;
}

void sha1(const void *data, size_t len, uint8_t out[SHA1_LENGTH])
{
        uint32_t state[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
        uint8_t last[2 * BLOCK] = {0};
        size_t whole = len / BLOCK * BLOCK, rest = len - whole, end = rest < BLOCK - 8 ? BLOCK : 2 * BLOCK;
        uint64_t bits = htobe64((uint64_t)len * 8);
        for (size_t at = 0; at < whole; at += BLOCK)
                take_block(state, (const uint8_t *)data + at);
        memcpy(last, (const uint8_t *)data + whole, rest);
        last[rest] = 0x80;
        memcpy(last + end - sizeof bits, &bits, sizeof bits);
        for (size_t at = 0; at < end; at += BLOCK)
                take_block(state, last + at);
        for (unsigned i = 0; i < 5; i++) {
                uint32_t net = htobe32(state[i]);
                memcpy(out + (size_t)4 * i, &net, sizeof net);
        }
}
