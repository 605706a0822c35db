/*
 * The archive of a collection as a descriptor that becomes readable: asked of the supervisor (lab/archive_order.h), read
 * here, passed on. Nothing here waits but tasks.
 */
#pragma once

#include "lab/archive_order.h"
#include "web/web.h"

struct archive_pipe {
        struct list link; /* of web.archive_waits */
        struct wait wait;
        int64_t token;
        int fd;     /* -1: none */
        int failed; /* errno of the supervisor */
        bool asked;
};

/* Asks; `next` runs with a descriptor or with `failed`. */
int archive_ask_named(struct task *t, struct archive_pipe *pipe, struct archive_order_message order, task_step next,
                      const char *name);
#define archive_ask(t, pipe, order, next) archive_ask_named((t), (pipe), (order), (next), #next)
/* Waits until it can be read (or has ended). */
int archive_await_named(struct task *t, struct archive_pipe *pipe, task_step next, const char *name);
#define archive_await(t, pipe, next) archive_await_named((t), (pipe), (next), #next)
void archive_pipe_close(struct archive_pipe *pipe); /* also a zeroed one that was never asked for */
