/*
 * Lines are not parsed: start-host's output, a shell's trace and a Python list of arguments all hold the code in their
 * own spelling. So whatever follows "--code" and a separator is a value, whoever wrote it.
 */
#include "client/mask.h"

#include <string.h>

static bool is_digit(char c)
{
        return c >= '0' && c <= '9';
}

static bool at_text(const char *at, const char *end, const char *text)
{
        size_t len = strlen(text);
        return (size_t)(end - at) >= len && memcmp(at, text, len) == 0;
}

/* "--code=X", "--code X", "'--code', 'X'": the length up to X, or 0. */
static size_t code_option(const char *at, const char *end)
{
        static const char separators[] = "= \t\"',:";
        if (!at_text(at, end, "--code"))
                return 0;
        const char *value = at + 6;
        while (value < end && *value && strchr(separators, *value))
                value++;
        return value > at + 6 && value < end ? (size_t)(value - at) : 0;
}

static size_t value_length(const char *at, const char *end)
{
        static const char stops[] = " \t\"',";
        const char *from = at;
        while (at < end && (!*at || !strchr(stops, *at)))
                at++;
        return (size_t)(at - from);
}

static bool at_pin(const struct mask *mask, const char *line, const char *at, const char *end)
{
        if (!mask->pin || !at_text(at, end, mask->pin))
                return false;
        const char *after = at + strlen(mask->pin);
        return (at == line || !is_digit(at[-1])) && (after == end || !is_digit(*after));
}

/* Length of the secret at `at`, with `lead` bytes before it that stay; 0: none. */
static size_t secret_at(const struct mask *mask, const char *line, const char *at, const char *end, size_t *lead)
{
        *lead = code_option(at, end);
        if (*lead)
                return value_length(at + *lead, end);
        if (mask->code && at_text(at, end, mask->code))
                return strlen(mask->code);
        return at_pin(mask, line, at, end) ? strlen(mask->pin) : 0;
}

void mask_line(const struct mask *mask, const char *line, size_t len, struct buf *out)
{
        const char *end = line + len;
        buf_reserve(out, len);
        for (const char *at = line; at < end;) {
                size_t lead, secret = secret_at(mask, line, at, end, &lead);
                if (!secret) {
                        buf_addc(out, *at++);
                        continue;
                }
                buf_add(out, at, lead);
                buf_adds(out, MASKED);
                at += lead + secret;
        }
}

void mask_set(struct mask *mask, const char *code, const char *pin)
{
        str_replace(&mask->code, code);
        str_replace(&mask->pin, pin);
}

void mask_deinit(struct mask *mask)
{
        mask_set(mask, NULL, NULL);
}
