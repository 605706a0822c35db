/*
 * A chain of steps on one loop. A task holds the function that runs next; a step gives its answer (the task is
 * finished) or starts exactly one wait and names its successor. Waits carry no data: whoever is woken looks again.
 *
 * Rules of the driver:
 *  1. A step returns 0 after exactly one finish or one wait, or a negative errno with t->error filled. The driver
 *     asserts it and hands failures to the class's `fail`.
 *  2. One wait at a time.
 *  3. No local survives a step: what must is in the owner's state, zeroed at start.
 *  4. A completion never calls a step: task_wake() queues the task, the loop drains the queue once a turn.
 *  5. task_kill() unlinks the wait and finishes; a result that comes later finds no receiver.
 */
#pragma once

#include <uv.h>

#include "base/error.h"
#include "base/list.h"

struct task;
struct wait;
struct db_pool;
struct db_listener;
struct http_server;

typedef int (*task_step)(struct task *t);

/* One loop of the program with the queue of tasks that can go on. */
struct loop {
        uv_loop_t uv;
        uv_prepare_t prepare;
        uv_check_t check;
        uv_idle_t idle;               /* keeps the loop from sleeping while the queue holds something */
        struct list ready;            /* struct task.ready */
        struct list turn_hooks;       /* struct turn_hook.link: run at the end of each drain */
        struct db_pool *db;           /* set by db/, used by db_await */
        struct db_listener *listener; /* set by db/, used by watches */
        void *user;                   /* the program's own context (struct web * in the web process) */
};

/* Called once after each drain of the queue (coalesces: one resume, one flush, one statement a turn). */
struct turn_hook {
        struct list link;
        void (*run)(struct turn_hook *hook);
};

void loop_init(struct loop *loop);
void loop_run(struct loop *loop);    /* until uv_stop or nothing is left */
void loop_deinit(struct loop *loop); /* closes every handle that is left */
void loop_hook(struct loop *loop, struct turn_hook *hook);
/* For uv_close() of a handle that was allocated for itself: frees it. */
void loop_free_handle(uv_handle_t *handle);

struct task_class {
        const char *name;
        void (*fail)(struct task *t, int code); /* a step failed: t->error holds the sentence; must finish the task */
        void (*finished)(struct task *t);       /* nothing refers to the task any more: free it here */
};

/* Something a task waits for. `cancel` unlinks it: it is called at most once, and never after the wake. */
struct wait {
        void (*cancel)(struct wait *wait);
        struct task *task;
};

struct task {
        struct loop *loop;
        const struct task_class *class;
        task_step next;
        const char *step_name; /* of `next`, for logs */
        struct wait *wait;
        void *state; /* the handler's own */
        struct error error;
        struct list ready;
        int64_t step_started_us;
        uint8_t finished : 1;
        uint8_t running : 1;
        uint8_t dead : 1; /* the client has gone: steps are not run any more */
};

void task_init(struct task *t, struct loop *loop, const struct task_class *class, void *state);
/* Queues the first step. */
#define task_start(t, step) task_start_named((t), (step), #step)
void task_start_named(struct task *t, task_step step, const char *name);

/* The one wait of a step: remembers it and its successor. Returns 0, so that `return x_await(...)` reads well. When the
 * step itself led to task_kill(), the wait is cancelled at once. A wait may be over at once, too: task_wake() queues.
 */
int task_await_named(struct task *t, struct wait *wait, task_step next, const char *name);
#define task_await(t, wait, next) task_await_named((t), (wait), (next), #next)

/* A wait is over: queues the task (or does nothing when wait->task is NULL). The wait is forgotten. */
void task_wake(struct wait *wait);
/* A wait has failed: takes the error over; the next step is not run, `fail` is. */
void task_wake_failed(struct wait *wait, struct error *error);

/* Ends the task: after the present step `finished` is called. From outside any step: unlinks the wait, at once. */
void task_finish(struct task *t);
/* From outside: the receiver has gone. Unlinks the wait and finishes. */
void task_kill(struct task *t);

/* Waits until a point of time passes. The timer is owned by the task's wait; `ms` from now. */
int sleep_await_named(struct task *t, int64_t ms, task_step next, const char *name);
#define sleep_await(t, ms, next) sleep_await_named((t), (ms), (next), #next)

/* Runs `work(argument)` on a helper thread of the loop's pool. `argument` must stay valid until `done` has run: when
 * the task is killed meanwhile, `discard(argument)` is called instead of waking it. `discard` may be NULL. */
int work_await_named(struct task *t, void (*work)(void *argument), void *argument, void (*discard)(void *argument),
                     task_step next, const char *name);
#define work_await(t, work, argument, discard, next) work_await_named((t), (work), (argument), (discard), (next), #next)
