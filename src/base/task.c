/*
 * The driver of steps. The one idea: whatever completes only queues its task, and the queue is drained once a turn of
 * the loop, so there is no recursion and no list that changes under an iterator.
 */
#include "base/task.h"

#include <assert.h>
#include <errno.h>

#include "base/clock.h"
#include "base/log.h"

#define SLOW_STEP_US 50000

static void on_idle(uv_idle_t *handle _unused_)
{
}

static void enqueue(struct task *t)
{
        if (list_linked(&t->ready))
                return;
        if (list_empty(&t->loop->ready))
                uv_idle_start(&t->loop->idle, on_idle);
        list_append(&t->loop->ready, &t->ready);
}

static void retire(struct task *t)
{
        list_remove(&t->ready);
        error_clear(&t->error);
        t->class->finished(t);
}

static void check_step(const struct task *t, int code)
{
        bool waits = t->wait != NULL || list_linked(&t->ready); /* a wait may be over at once */
        if (t->dead)
                return;
        if (code == 0 && waits + t->finished != 1) {
                log_error("%s: step %s neither answered nor waits", t->class->name, t->step_name);
                abort();
        }
}

/* *now: when the step before this one had ended; the clock is read once a step. */
static int call_step(struct task *t, int64_t *now)
{
        if (t->error.code)
                return t->error.code;
        const char *name = t->step_name;
        int code = t->next(t);
        int64_t took = clock_us() - *now;
        *now += took;
        if (took > SLOW_STEP_US)
                log_debug("%s: step %s took %lld us", t->class->name, name, (long long)took);
        return code;
}

static void unlink_wait(struct task *t)
{
        struct wait *wait = t->wait;
        if (!wait)
                return;
        t->wait = NULL;
        wait->task = NULL;
        wait->cancel(wait);
}

static void run_step(struct task *t, int64_t *now)
{
        t->running = 1;
        int code = call_step(t, now);
        if (code < 0) {
                if (t->error.code == 0)
                        error_set(&t->error, code, "step %s failed", t->step_name);
                unlink_wait(t);
                list_remove(&t->ready);
                if (!t->finished)
                        t->class->fail(t, code);
                assert(t->finished || t->wait);
        } else {
                check_step(t, code);
        }
        t->running = 0;
        if (t->finished)
                retire(t);
}

static void drain(struct loop *loop)
{
        int64_t clock = list_empty(&loop->ready) ? 0 : clock_us();
        for (int round = 0; round < 64 && !list_empty(&loop->ready); round++) {
                struct list now;
                list_init(&now);
                for (struct list *link; (link = list_pop(&loop->ready));)
                        list_append(&now, link);
                for (struct list *link; (link = list_pop(&now));)
                        run_step(list_entry(link, struct task, ready), &clock);
        }
        list_for_each (link, &loop->turn_hooks) {
                struct turn_hook *hook = list_entry(link, struct turn_hook, link);
                hook->run(hook);
        }
        if (list_empty(&loop->ready))
                uv_idle_stop(&loop->idle);
}

static void on_prepare(uv_prepare_t *handle)
{
        drain(handle->data);
}

static void on_check(uv_check_t *handle)
{
        drain(handle->data);
}

void loop_init(struct loop *loop)
{
        *loop = (struct loop){0};
        uv_loop_init(&loop->uv);
        list_init(&loop->ready);
        list_init(&loop->turn_hooks);
        uv_prepare_init(&loop->uv, &loop->prepare);
        uv_check_init(&loop->uv, &loop->check);
        uv_idle_init(&loop->uv, &loop->idle);
        loop->prepare.data = loop->check.data = loop;
        uv_prepare_start(&loop->prepare, on_prepare);
        uv_check_start(&loop->check, on_check);
        uv_unref((uv_handle_t *)&loop->prepare);
        uv_unref((uv_handle_t *)&loop->check);
}

void loop_free_handle(uv_handle_t *handle)
{
        free(handle);
}

void loop_run(struct loop *loop)
{
        uv_run(&loop->uv, UV_RUN_DEFAULT);
}

static void close_handle(uv_handle_t *handle, void *userdata _unused_)
{
        if (!uv_is_closing(handle))
                uv_close(handle, NULL);
}

void loop_deinit(struct loop *loop)
{
        uv_walk(&loop->uv, close_handle, NULL);
        while (uv_run(&loop->uv, UV_RUN_DEFAULT) != 0)
                ;
        uv_loop_close(&loop->uv);
}

void loop_hook(struct loop *loop, struct turn_hook *hook)
{
        list_append(&loop->turn_hooks, &hook->link);
}

void task_init(struct task *t, struct loop *loop, const struct task_class *class, void *state)
{
        *t = (struct task){.loop = loop, .class = class, .state = state};
}

void task_start_named(struct task *t, task_step step, const char *name)
{
        t->next = step;
        t->step_name = name;
        enqueue(t);
}

int task_await_named(struct task *t, struct wait *wait, task_step next, const char *name)
{
        if (t->dead) { /* killed by what this very step did: there is nobody to wake */
                wait->task = NULL;
                wait->cancel(wait);
                return 0;
        }
        assert(!t->wait && !t->finished);
        t->wait = wait;
        t->next = next;
        t->step_name = name;
        wait->task = t;
        return 0;
}

void task_wake(struct wait *wait)
{
        struct task *t = wait->task;
        wait->task = NULL;
        if (!t)
                return;
        t->wait = NULL;
        enqueue(t);
}

void task_wake_failed(struct wait *wait, struct error *error)
{
        struct task *t = wait->task;
        if (t)
                error_move(&t->error, error);
        else
                error_clear(error);
        task_wake(wait);
}

void task_finish(struct task *t)
{
        t->finished = 1;
        if (t->running)
                return;
        unlink_wait(t);
        retire(t);
}

void task_kill(struct task *t)
{
        t->dead = 1;
        unlink_wait(t);
        t->finished = 1;
        if (!t->running)
                retire(t);
}
