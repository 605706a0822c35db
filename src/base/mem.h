/*
 * Ownership. LabLink's memory holds nothing that is not also committed elsewhere, so a failed small allocation ends the
 * process (its parent starts it again) instead of travelling up as -ENOMEM. Sizes that come from outside are limited by
 * their reader before anything is allocated for them.
 *
 * Owned resources are released by cleanup attributes; STEAL() hands one over to the caller.
 */
#pragma once

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/param.h> /* MIN, MAX */
#include <unistd.h>

#define _cleanup_(release) __attribute__((cleanup(release)))
#define _printf_(fmt, args) __attribute__((format(printf, fmt, args)))
#define _unused_ __attribute__((unused))

#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))
#define container_of(member_pointer, type, member) ((type *)((char *)(member_pointer)-offsetof(type, member)))

/* Gives the value of a pointer variable away and leaves NULL (or -1 for a descriptor) in it. */
#define STEAL(pointer) \
        ({ \
                __typeof__(pointer) *_from = &(pointer); \
                __typeof__(pointer) _given = *_from; \
                *_from = NULL; \
                _given; \
        })
#define STEAL_FD(fd) \
        ({ \
                int _given = (fd); \
                (fd) = -1; \
                _given; \
        })

/* These never return NULL: they end the process when the machine has no memory left. */
void *xmalloc(size_t size);
void *xcalloc(size_t count, size_t size);
void *xreallocarray(void *block, size_t count, size_t size);
void *xmemdup(const void *block, size_t size);
char *xstrdup(const char *text); /* NULL gives NULL */
char *xstrndup(const char *text, size_t length);
char *xasprintf(const char *format, ...) _printf_(1, 2);
char *xvasprintf(const char *format, va_list args) _printf_(1, 0);

/* Replaces *slot by a copy of `text` (or NULL) and frees what was there. */
void str_replace(char **slot, const char *text);

static inline void freep(void *slot)
{
        free(*(void **)slot);
}

static inline void closep(int *fd)
{
        if (*fd >= 0)
                close(*fd);
}

#define _cleanup_free_ _cleanup_(freep)
#define _cleanup_close_ _cleanup_(closep)

/* A NULL-terminated array of strings, all owned. */
void strv_free(char **list);
static inline void strv_freep(char ***list)
{
        strv_free(*list);
}
#define _cleanup_strv_ _cleanup_(strv_freep)
