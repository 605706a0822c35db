/*
 * Allocation that ends the process instead of failing. The one idea: a program whose facts are all committed in the
 * database loses nothing by ending, and its parent starts it again; code that carries ENOMEM everywhere is never
 * tested.
 */
#include "base/mem.h"

#include <stdio.h>
#include <string.h>

static void *checked(void *block)
{
        if (!block) {
                fputs("out of memory\n", stderr);
                abort();
        }
        return block;
}

void *xmalloc(size_t size)
{
        return checked(malloc(size ? size : 1));
}

void *xcalloc(size_t count, size_t size)
{
        return checked(calloc(count ? count : 1, size ? size : 1));
}

void *xreallocarray(void *block, size_t count, size_t size)
{
        return checked(reallocarray(block, count ? count : 1, size ? size : 1));
}

void *xmemdup(const void *block, size_t size)
{
        void *copy = xmalloc(size);
        if (size)
                memcpy(copy, block, size);
        return copy;
}

char *xstrdup(const char *text)
{
        return text ? checked(strdup(text)) : NULL;
}

char *xstrndup(const char *text, size_t length)
{
        return checked(strndup(text, length));
}

char *xvasprintf(const char *format, va_list args)
{
        char *text = NULL;
        if (vasprintf(&text, format, args) < 0)
                checked(NULL);
        return text;
}

char *xasprintf(const char *format, ...)
{
        va_list args;
        va_start(args, format);
        char *text = xvasprintf(format, args);
        va_end(args);
        return text;
}

void str_replace(char **slot, const char *text)
{
        char *copy = xstrdup(text);
        free(*slot);
        *slot = copy;
}

void strv_free(char **list)
{
        for (char **item = list; item && *item; item++)
                free(*item);
        free(list);
}
