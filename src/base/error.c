/*
 * The sentence that grows on the way up. Texts are cut at 4 KB: parts of them come from child processes and strangers.
 */
#include "base/error.h"

#include <errno.h>
#include <string.h>

#include "base/text.h"

#define TEXT_MAX 4096

static void take(struct error *error, int code, char *text)
{
        text[utf8_cut(text, strlen(text), TEXT_MAX)] = '\0';
        free(error->text);
        error->code = code;
        error->text = text;
}

int error_set(struct error *error, int code, const char *format, ...)
{
        if (!error)
                return code;
        va_list args;
        va_start(args, format);
        take(error, code, xvasprintf(format, args));
        va_end(args);
        return code;
}

int error_errno(struct error *error, int number, const char *format, ...)
{
        if (!error)
                return -number;
        va_list args;
        va_start(args, format);
        _cleanup_free_ char *sentence = xvasprintf(format, args);
        va_end(args);
        take(error, -number, xasprintf("%s: %s", sentence, strerror(number)));
        return -number;
}

int error_wrap(struct error *error, const char *format, ...)
{
        if (!error)
                return -EIO;
        va_list args;
        va_start(args, format);
        _cleanup_free_ char *sentence = xvasprintf(format, args);
        va_end(args);
        take(error, error->code, xasprintf("%s: %s", sentence, error_text(error)));
        return error->code;
}

int error_move(struct error *to, struct error *from)
{
        int code = from->code;
        if (to) {
                error_clear(to);
                *to = *from;
                *from = ERROR_NULL;
        } else {
                error_clear(from);
        }
        return code;
}

const char *error_text(const struct error *error)
{
        if (error && error->text)
                return error->text;
        return error && error->code ? strerror(-error->code) : "no error";
}

void error_clear(struct error *error)
{
        if (!error)
                return;
        free(error->text);
        *error = ERROR_NULL;
}
