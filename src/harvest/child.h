/*
 * A program that talks to a VM (ssh, rsync), run by a worker in the worker's own process group: whoever ends the worker
 * ends it too. Its words are bytes, not lines; what it complained of is kept short and made harmless.
 */
#pragma once

#include "base/buf.h"
#include "base/error.h"

struct child_io {
        const char *const *places;                               /* where alone it may write (confine.h) */
        int input;                                               /* its standard input; -1: /dev/null */
        int (*take)(void *userdata, const char *data, size_t n); /* standard output; negative ends it; may be NULL */
        int (*tick)(void *userdata); /* about once a second; negative ends it; may be NULL */
        void *userdata;
};

struct child_end {
        int code;         /* its exit code, or -1: a signal ended it */
        int stopped;      /* what `take` or `tick` returned, 0: it ended by itself */
        struct buf words; /* its last words on standard error, one line */
};
void child_end_clear(struct child_end *end);
#define _cleanup_child_end_ _cleanup_(child_end_clear)

/* 0 when it was started and has ended. */
int child_run(const char *const *argv, const struct child_io *io, struct child_end *ret, struct error *error);
