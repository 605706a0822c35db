/*
 * An allocator that says what a test wants: HTTP on the admin socket of a state directory and on a TCP port, in a child
 * process. Each answer is given once, in the order of the list, to the first request that fits it.
 */
#pragma once

#include "base/buf.h"

struct fake_answer {
        const char *request; /* "GET /admin": how the request line must begin */
        int status;          /* 0: the connection is closed without a word */
        const char *body;    /* JSON, or events when it begins with "event:" or ":" */
        bool forever;        /* may be given again */
};

struct fake_allocator {
        pid_t pid;
        int port;
        char *log; /* file that gets each request's head and body */
};

void fake_start(struct fake_allocator *fake, const char *state_dir, const struct fake_answer *answers);
/* Ends it; what it was asked is added to `requests` (may be NULL). */
void fake_stop(struct fake_allocator *fake, struct buf *requests);
