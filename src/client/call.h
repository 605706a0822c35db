/*
 * Requests to the allocator: libcurl's multi interface on the loop. A call is a wait of a task; it never fails the
 * task: the next step looks at the status, and 0 means that no answer came and `error` says why.
 *
 * Only http, https and unix: sockets; redirects are not followed, TLS is verified, an answer holds 1 MB at most.
 */
#pragma once

#include <curl/curl.h>

#include "base/json.h"
#include "base/task.h"

struct settings;

struct caller {
        struct loop *loop;
        const struct settings *settings;
        CURLM *multi;
        struct curl_slist *headers; /* with the token */
        uv_timer_t timer;           /* libcurl's own */
        uv_timer_t watchdog;        /* for silent calls; runs only while there is one */
        struct list silent;         /* struct call.silent */
        bool lively;                /* the allocator is known to send a blank each 20 s while we wait */
};

struct call {
        struct wait wait;
        struct caller *caller;
        CURL *easy;
        struct list silent;
        struct buf request, body; /* body: without leading blanks */
        long status;
        int64_t retry_after_ms; /* -1: not asked for */
        int64_t idle_ms, heard_ms;
        bool heard; /* at least one byte of this answer */
        struct error error;
};

#define CALL_TOTAL_MS 30000
#define CALL_IDLE_MS 90000
#define CALL_BODY_MAX (1024 * 1024)
#define CALL_LONG_MS (7LL * 24 * 3600 * 1000)

void caller_init(struct caller *caller, struct loop *loop, const struct settings *settings);
void caller_deinit(struct caller *caller); /* before loop_deinit; the struct stays until after it */

/* POSTs `json` (reference stolen) to `path`. Long: up to 7 days, ended when nothing was heard for 90 s by an allocator
 * that is known to send blanks; others are trusted as long as TCP keeps the connection. */
int call_post_named(struct task *t, struct call *call, struct caller *caller, const char *path, json_t *json, bool wait,
                    task_step next, const char *name);
#define call_post(t, call, caller, path, json, next) \
        call_post_named((t), (call), (caller), (path), (json), false, (next), #next)
#define call_wait(t, call, caller, path, json, next) \
        call_post_named((t), (call), (caller), (path), (json), true, (next), #next)

static inline bool call_ok(const struct call *call)
{
        return call->status >= 200 && call->status <= 299;
}
/* Sending the same again will not help: 400, 413, 415, 422. */
static inline bool call_refused(const struct call *call)
{
        return call->status == 400 || call->status == 413 || call->status == 415 || call->status == 422;
}
/* "HTTP 503: the database does not answer", or why there was no answer. Owned by the caller. */
char *call_outcome(const struct call *call);
void call_deinit(struct call *call);
