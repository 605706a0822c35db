/*
 * Secrets: made by libsodium's generator, compared in constant time, stored only as SHA-256.
 */
#pragma once

#include "base/mem.h"

#define TOKEN_LENGTH 43      /* 256 bits, URL-safe base64 without padding */
#define TOKEN_HASH_LENGTH 64 /* SHA-256, lower-case hexadecimal */

void token_init(void); /* once, in main, before any other call */
void token_random(char out[TOKEN_LENGTH + 1]);
void token_hash(const char *token, char out[TOKEN_HASH_LENGTH + 1]);
bool token_equal(const char *a, const char *b); /* constant time for equal lengths; NULL equals nothing */
void token_digits(char *out, size_t digits);    /* `digits` random decimal digits and a NUL */
/* A password that a person can type: four groups of four letters and digits without look-alikes. Owned by the caller.
 */
char *token_password(void);
