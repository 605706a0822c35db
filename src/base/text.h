/*
 * Small questions about strings: comparing, trimming, UTF-8, numbers as people write them. All readers are strict: a
 * value is taken whole or refused, never half.
 */
#pragma once

#include "base/buf.h"

static inline const char *str_or(const char *text, const char *otherwise)
{
        return text ? text : otherwise;
}
bool str_eq(const char *a, const char *b); /* NULL equals only NULL */
bool str_starts(const char *text, const char *prefix);
bool str_ends(const char *text, const char *suffix);
bool str_plain(const char *text, size_t len); /* printable ASCII, every byte */
char *str_trim(char *text);                   /* in place: leading and trailing ASCII blanks */
void str_lower(char *text);                   /* in place, ASCII letters only */

/* Splits at `separator`; empty pieces are kept. The caller owns the list (strv_free). */
char **str_split(const char *text, char separator);

bool utf8_valid(const char *data, size_t len); /* RFC 3629: no surrogates, no overlong forms; NUL is valid */
/* Appends `data` with each invalid byte and each NUL replaced by U+FFFD. */
void utf8_scrub(const char *data, size_t len, struct buf *out);
/* Cuts at most `max` bytes without splitting a character. Returns the length to keep. */
size_t utf8_cut(const char *data, size_t len, size_t max);

/* Decimal integer in [min, max]. 0, -EINVAL (not a number), -ERANGE. */
int parse_int(const char *text, int64_t min, int64_t max, int64_t *ret);
int parse_double(const char *text, double *ret); /* finite only */
int parse_bool(const char *text, bool *ret);     /* true/false, yes/no, on/off, 1/0, any case */
/* "90", "90s", "5m", "2h", "7d", "250ms" -> milliseconds. 0, -EINVAL, -ERANGE. */
int parse_duration(const char *text, int64_t *ret_ms);
/* "512", "64K", "16M", "2G" (powers of 1024, optional "B" or "iB") -> bytes. 0, -EINVAL, -ERANGE. */
int parse_size(const char *text, int64_t *ret_bytes);

/* The entry of a NULL-terminated list that is nearest to `word` by edits, or NULL when none is near. */
const char *text_nearest(const char *word, const char *const *list);
