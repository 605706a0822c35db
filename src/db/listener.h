/*
 * One LISTEN connection a process, and the watches of everybody who waits for a change. A watch is sticky: a NOTIFY that
 * comes between watch_start and watch_await counts. A notification carries nothing but "look again"; and when the
 * connection was (re)made, every watch fires, because some may have been lost.
 */
#pragma once

#include "base/task.h"

struct watch {
        struct list link;  /* of its key's bucket */
        struct list timed; /* of the awaits that have a deadline, the nearest first */
        char *key;         /* owned copy: "channel:payload", or "channel:" for every payload */
        bool fired;
        struct wait wait;
        int64_t deadline_ms; /* of the present await; 0: none */
        struct db_listener *listener;
};

struct db_listener_options {
        const char *conninfo;
        const char *application;
        const char *const *channels; /* NULL-terminated */
};

int db_listener_new(struct loop *loop, const struct db_listener_options *options, struct db_listener **ret,
                    struct error *error);
struct db_listener *db_listener_free(struct db_listener *listener);
bool db_listener_ready(const struct db_listener *listener);
/* Called for each notification, before the watches; may be NULL. */
void db_listener_on_notify(struct db_listener *listener,
                           void (*call)(void *userdata, const char *channel, const char *payload), void *userdata);

/* Starts to watch (or, for a started one, clears `fired`): call it BEFORE the query that looks. */
void watch_start(struct loop *loop, struct watch *watch, const char *channel, const char *payload);
void watch_stop(struct watch *watch); /* also for a zeroed one */
/* Waits for the watch, at most `timeout_ms` (0: no limit); both go on with `next`, which looks again. */
int watch_await_named(struct task *t, struct watch *watch, int64_t timeout_ms, task_step next, const char *name);
#define watch_await(t, watch, timeout_ms, next) watch_await_named((t), (watch), (timeout_ms), (next), #next)
/* Fires every watch with this key from inside the process. */
void watch_fire(struct loop *loop, const char *channel, const char *payload);
