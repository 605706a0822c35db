/*
 * The Lambda runtime API, version 2018-06-01: the function asks for its next invocation, and tells how it went. The
 * answer to "next" may take hours, in which the whole machine is frozen.
 */
#pragma once

#include "forwarder/exchange.h"

struct runtime {
        struct exchange exchange;
        char *base; /* http://HOST:PORT/2018-06-01/runtime */
};

struct invocation {
        char *id;            /* the same when AWS repeats a failed invocation */
        int64_t deadline_ms; /* by clock_ms(): what is not told until then counts as failed */
        struct buf event;
        bool cut; /* the event is larger than EVENT_INVOCATION_MAX, and only its beginning is here */
};

void runtime_init(struct runtime *runtime, const char *address);
void runtime_deinit(struct runtime *runtime);

/* Waits for ever. -EIO: the runtime API does not speak as it should, and the function is to end. */
int runtime_next(struct runtime *runtime, struct invocation *ret, struct error *error);
int runtime_respond(struct runtime *runtime, const struct invocation *invocation, const struct buf *answer,
                    struct error *error);
/* AWS repeats it. `type` is a word for metrics. With `invocation` NULL: the function cannot start at all. */
int runtime_fail(struct runtime *runtime, const struct invocation *invocation, const char *type, const char *sentence,
                 struct error *error);
void invocation_clear(struct invocation *invocation);
#define _cleanup_invocation_ _cleanup_(invocation_clear)
