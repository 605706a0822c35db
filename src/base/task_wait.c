/*
 * The two waits that need nothing but the loop: a timer, and work on a helper thread. A timer's handle outlives its
 * wait by one turn, because libuv closes handles late.
 */
#include <errno.h>

#include "base/log.h"
#include "base/task.h"

struct sleeper {
        struct wait wait;
        uv_timer_t timer;
};

static void free_sleeper(uv_handle_t *handle)
{
        free(handle->data);
}

static void end_sleeper(struct sleeper *sleeper)
{
        uv_close((uv_handle_t *)&sleeper->timer, free_sleeper);
}

static void cancel_sleeper(struct wait *wait)
{
        end_sleeper(container_of(wait, struct sleeper, wait));
}

static void on_timer(uv_timer_t *timer)
{
        struct sleeper *sleeper = timer->data;
        task_wake(&sleeper->wait);
        end_sleeper(sleeper);
}

int sleep_await_named(struct task *t, int64_t ms, task_step next, const char *name)
{
        struct sleeper *sleeper = xcalloc(1, sizeof *sleeper);
        sleeper->wait.cancel = cancel_sleeper;
        uv_timer_init(&t->loop->uv, &sleeper->timer);
        sleeper->timer.data = sleeper;
        uv_timer_start(&sleeper->timer, on_timer, (uint64_t)MAX(ms, (int64_t)0), 0);
        return task_await_named(t, &sleeper->wait, next, name);
}

struct worker {
        struct wait wait;
        uv_work_t request;
        void (*work)(void *argument);
        void (*discard)(void *argument);
        void *argument;
        bool abandoned;
};

static void do_work(uv_work_t *request)
{
        struct worker *worker = request->data;
        worker->work(worker->argument);
}

static void work_done(uv_work_t *request, int status _unused_)
{
        struct worker *worker = request->data;
        if (worker->abandoned) {
                if (worker->discard)
                        worker->discard(worker->argument);
        } else {
                task_wake(&worker->wait);
        }
        free(worker);
}

static void cancel_worker(struct wait *wait)
{
        container_of(wait, struct worker, wait)->abandoned = true;
}

int work_await_named(struct task *t, void (*work)(void *argument), void *argument, void (*discard)(void *argument),
                     task_step next, const char *name)
{
        struct worker *worker = xcalloc(1, sizeof *worker);
        *worker = (struct worker){.wait.cancel = cancel_worker, .work = work, .discard = discard, .argument = argument};
        worker->request.data = worker;
        int r = uv_queue_work(&t->loop->uv, &worker->request, do_work, work_done);
        if (r < 0) {
                free(worker);
                return error_errno(&t->error, -r, "cannot start a helper thread");
        }
        return task_await_named(t, &worker->wait, next, name);
}
