/*
 * A form of any content under any content type: it is refused with a sentence, or every field is UTF-8 text. The
 * input's first line is the content type, the rest is the body.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/text.h"
#include "http/form.h"

static void require(bool held)
{
        if (!held)
                abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        _cleanup_error_ struct error error = ERROR_NULL;
        _cleanup_form_ struct form *form = NULL;
        const char *line = (const char *)data, *newline = memchr(data, '\n', size);
        if (!newline)
                return 0;
        _cleanup_free_ char *type = xstrndup(line, (size_t)(newline - line));
        /* A copy of its own size, so that a byte read behind the body is noticed. */
        size_t len = size - (size_t)(newline + 1 - line);
        _cleanup_free_ char *body = xmemdup(newline + 1, len);
        int r = form_parse(type, body, len, &form, &error);
        require((r == 0) == (form != NULL));
        require(r == error.code);
        for (const char *const *name = (const char *const[]){"email", "a", "", "_key", NULL}; form && *name; name++) {
                const char *value = form_get(form, *name);
                require(!value || utf8_valid(value, strlen(value)));
        }
        return 0;
}
