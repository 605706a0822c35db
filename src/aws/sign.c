/* Canonical request, string to sign, key derived from the date, signature: in the order of AWS's own description. */
#include "aws/sign.h"

#include <ctype.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/text.h"

#define DAY 8 /* the date's part of a date and time */

void aws_hash(const void *data, size_t len, char out[AWS_HASH_SIZE])
{
        unsigned char hash[crypto_hash_sha256_BYTES];
        crypto_hash_sha256(hash, data, len);
        sodium_bin2hex(out, AWS_HASH_SIZE, hash, sizeof hash);
}

void aws_date(double epoch, char out[AWS_DATE_SIZE])
{
        time_t seconds = (time_t)epoch;
        struct tm tm;
        gmtime_r(&seconds, &tm);
        strftime(out, AWS_DATE_SIZE, "%Y%m%dT%H%M%SZ", &tm);
}

/* --- the canonical request ----------------------------------------------------------------------------------------- */

static int compare_names(const void *a, const void *b)
{
        const struct aws_pair *left = *(const struct aws_pair *const *)a, *right = *(const struct aws_pair *const *)b;
        int r = strcasecmp(left->name, right->name);
        return r ? r : (left > right) - (left < right); /* the same name twice: in the order given */
}

/* Without blanks at the ends, and one blank for several. */
static void add_value(struct buf *out, const char *value)
{
        value += strspn(value, " \t\n");
        for (bool blank = false; *value; value++) {
                bool is_blank = strchr(" \t\n", *value) != NULL;
                if (!is_blank) {
                        if (blank)
                                buf_addc(out, ' ');
                        buf_addc(out, *value);
                }
                blank = is_blank;
        }
}

static void add_head(const struct aws_signing *signing, struct buf *out, struct buf *names)
{
        _cleanup_free_ const struct aws_pair **sorted = xcalloc(signing->n_head + 1, sizeof *sorted);
        for (size_t i = 0; i < signing->n_head; i++)
                sorted[i] = &signing->head[i];
        qsort(sorted, signing->n_head, sizeof *sorted, compare_names);
        for (size_t i = 0; i < signing->n_head; i++) {
                if (i && strcasecmp(sorted[i]->name, sorted[i - 1]->name) == 0) {
                        buf_addc(out, ',');
                } else {
                        _cleanup_free_ char *lower = xstrdup(sorted[i]->name);
                        str_lower(lower);
                        buf_addf(out, "%s%s:", i ? "\n" : "", lower);
                        buf_addf(names, "%s%s", names->len ? ";" : "", lower);
                }
                add_value(out, sorted[i]->value);
        }
        buf_addc(out, '\n');
}

char *aws_canonical_request(const struct aws_signing *signing, struct buf *ret_names)
{
        struct buf out = BUF_NULL;
        buf_addf(&out, "%s\n%s\n%s\n", signing->method, signing->path, signing->query);
        add_head(signing, &out, ret_names);
        buf_addf(&out, "\n%s\n%s", buf_str(ret_names), signing->body_hash);
        return buf_steal(&out);
}

/* --- the signature ------------------------------------------------------------------------------------------------- */

static char *scope(const struct aws_signing *signing)
{
        return xasprintf("%.*s/%s/%s/aws4_request", DAY, signing->date, signing->region, signing->service);
}

char *aws_string_to_sign(const struct aws_signing *signing, const char *canonical)
{
        char hash[AWS_HASH_SIZE];
        _cleanup_free_ char *where = scope(signing);
        aws_hash(canonical, strlen(canonical), hash);
        return xasprintf("AWS4-HMAC-SHA256\n%s\n%s\n%s", signing->date, where, hash);
}

static void hmac(const void *key, size_t key_len, const char *text, size_t len, unsigned char *out)
{
        crypto_auth_hmacsha256_state state;
        crypto_auth_hmacsha256_init(&state, key, key_len);
        crypto_auth_hmacsha256_update(&state, (const unsigned char *)text, len);
        crypto_auth_hmacsha256_final(&state, out);
        sodium_memzero(&state, sizeof state);
}

static void derive_key(const struct aws_signing *signing, const char *secret, unsigned char *key)
{
        char first[4 + AWS_SECRET_MAX + 1];
        int len = snprintf(first, sizeof first, "AWS4%s", secret);
        hmac(first, MIN((size_t)len, sizeof first - 1), signing->date, DAY, key);
        sodium_memzero(first, sizeof first);
        hmac(key, crypto_auth_hmacsha256_BYTES, signing->region, strlen(signing->region), key);
        hmac(key, crypto_auth_hmacsha256_BYTES, signing->service, strlen(signing->service), key);
        hmac(key, crypto_auth_hmacsha256_BYTES, "aws4_request", strlen("aws4_request"), key);
}

char *aws_sign(const struct aws_signing *signing, const struct aws_credentials *credentials)
{
        unsigned char key[crypto_auth_hmacsha256_BYTES], mac[crypto_auth_hmacsha256_BYTES];
        char signature[AWS_HASH_SIZE];
        _cleanup_buf_ struct buf names = BUF_NULL;
        _cleanup_free_ char *canonical = aws_canonical_request(signing, &names);
        _cleanup_free_ char *text = aws_string_to_sign(signing, canonical);
        _cleanup_free_ char *where = scope(signing);
        derive_key(signing, credentials->secret_access_key, key);
        hmac(key, sizeof key, text, strlen(text), mac);
        sodium_memzero(key, sizeof key);
        sodium_bin2hex(signature, sizeof signature, mac, sizeof mac);
        return xasprintf("AWS4-HMAC-SHA256 Credential=%s/%s, SignedHeaders=%s, Signature=%s",
                         credentials->access_key_id, where, buf_str(&names), signature);
}
