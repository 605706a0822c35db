/*
 * A line of a log of any content, with a code and a PIN of any content (the first two lines): what is shipped holds the
 * code nowhere, and is never longer than each byte's replacement allows.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "client/mask.h"

#define CODE_ALPHABET "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_/-"
#define CODE_MIN 10

static void require(bool held)
{
        if (!held)
                abort();
}

static char *take_line(const char **data, size_t *size)
{
        const char *newline = memchr(*data, '\n', *size);
        size_t len = newline ? (size_t)(newline - *data) : *size;
        char *line = xstrndup(*data, len);
        *data += newline ? len + 1 : len;
        *size -= newline ? len + 1 : len;
        return line;
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size)
{
        const char *data = (const char *)input;
        _cleanup_free_ char *code = take_line(&data, &size);
        _cleanup_free_ char *pin = take_line(&data, &size);
        /* A copy of its own size, so that a byte read behind the line is noticed. */
        _cleanup_free_ char *line = xmemdup(data, size);
        _cleanup_buf_ struct buf out = BUF_NULL;
        struct mask mask = {0};
        mask_set(&mask, *code ? code : NULL, *pin ? pin : NULL);
        mask_line(&mask, line, size, &out);
        require(out.len <= size * strlen(MASKED));
        /* As long as codes are: a shorter one stands in the word --code. */
        if (strlen(code) >= CODE_MIN && strspn(code, CODE_ALPHABET) == strlen(code))
                require(!memmem(buf_str(&out), out.len, code, strlen(code)));
        mask_deinit(&mask);
        return 0;
}
