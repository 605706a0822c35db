/* Secrets by libsodium. The alphabet of passwords leaves out what people confuse (0/o, 1/l/i). */
#include "base/token.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

void token_init(void)
{
        if (sodium_init() < 0) {
                fputs("libsodium cannot be initialised\n", stderr);
                abort();
        }
}

void token_random(char out[TOKEN_LENGTH + 1])
{
        unsigned char bytes[32];
        randombytes_buf(bytes, sizeof bytes);
        sodium_bin2base64(out, TOKEN_LENGTH + 1, bytes, sizeof bytes, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
        sodium_memzero(bytes, sizeof bytes);
}

void token_hash(const char *token, char out[TOKEN_HASH_LENGTH + 1])
{
        unsigned char hash[crypto_hash_sha256_BYTES];
        crypto_hash_sha256(hash, (const unsigned char *)token, strlen(token));
        sodium_bin2hex(out, TOKEN_HASH_LENGTH + 1, hash, sizeof hash);
}

bool token_equal(const char *a, const char *b)
{
        if (!a || !b)
                return false;
        size_t n = strlen(a);
        return n == strlen(b) && sodium_memcmp(a, b, n) == 0;
}

void token_digits(char *out, size_t digits)
{
        for (size_t i = 0; i < digits; i++)
                out[i] = (char)('0' + randombytes_uniform(10));
        out[digits] = '\0';
}

char *token_password(void)
{
        static const char alphabet[] = "abcdefghjkmnpqrstuvwxyz23456789";
        char *password = xmalloc(20);
        for (int i = 0; i < 19; i++)
                password[i] = i % 5 == 4 ? '-' : alphabet[randombytes_uniform(sizeof alphabet - 1)];
        password[19] = '\0';
        return password;
}
