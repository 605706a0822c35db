/*
 * What must happen though nobody asks: silent VMs become unknown, old and too many log lines and old operations go, queued
 * operations that no runner took are announced again, and reconciling is asked for each minute.
 */
#include "base/clock.h"
#include "base/log.h"
#include "lab/logs.h"
#include "lab/operation.h"
#include "lab/vm.h"
#include "web/web.h"

#define ROUND_MS 5000
#define RECONCILE_MS 60000
#define EXPIRE_LINES 20000
#define HISTORY_MS 600000
#define EXPIRE_HISTORY 50 /* operations at once: each may have many lines */

struct housekeeping {
        struct task task;
        struct web *web;
        struct vm_list waiting;
        struct count_answer expired, shrunk, history;
        int64_t reconcile_at, history_at;
        struct task *overlooked;
};

static int round_start(struct task *t);

static int round_end(struct task *t)
{
        struct housekeeping *h = t->state;
        bool more = h->expired.count == EXPIRE_LINES || h->shrunk.count > 0;
        if (h->history.count >= EXPIRE_HISTORY)
                h->history_at = 0;
        return sleep_await(t, more ? 100 : ROUND_MS, round_start);
}

static int round_shrunk(struct task *t)
{
        struct housekeeping *h = t->state;
        h->history.count = 0;
        if (clock_ms() < h->history_at)
                return round_end(t);
        h->history_at = clock_ms() + HISTORY_MS;
        return db_await(t,
                        history_expire((double)h->web->config->logs.keep_history / 1000.0, EXPIRE_HISTORY, &h->history),
                        round_end);
}

static int round_expired(struct task *t)
{
        struct housekeeping *h = t->state;
        return db_await(t, logs_shrink(h->web->config->logs.keep_size, EXPIRE_LINES, &h->shrunk), round_shrunk);
}

static int round_waiting(struct task *t)
{
        struct housekeeping *h = t->state;
        size_t index;
        json_t *operation;
        json_array_foreach (h->waiting.array, index, operation)
                web_kick(h->web, (int64_t)json_integer_value(json_object_get(operation, "id")));
        if (clock_ms() >= h->reconcile_at) {
                h->reconcile_at = clock_ms() + RECONCILE_MS;
                web_kick(h->web, 0);
        }
        return db_await(t, logs_expire((double)h->web->config->logs.keep / 1000.0, EXPIRE_LINES, &h->expired),
                        round_expired);
}

static int round_silence(struct task *t)
{
        struct housekeeping *h = t->state;
        json_array_clear(h->waiting.array);
        return db_await(t, operation_waiting(3000, &h->waiting), round_waiting);
}

static int round_start(struct task *t)
{
        return db_await(t, vm_silence(), round_silence);
}

static void round_failed(struct task *t, int code _unused_)
{
        log_debug("housekeeping: %s", error_text(&t->error));
        error_clear(&t->error);
        sleep_await(t, ROUND_MS, round_start);
}

static void round_finished(struct task *t)
{
        struct housekeeping *h = t->state;
        task_kill(h->overlooked);
        json_decref(h->waiting.array);
        free(h);
}

static const struct task_class housekeeping_class = {
        .name = "housekeeping", .fail = round_failed, .finished = round_finished};

struct task *housekeeping_start(struct web *web)
{
        struct housekeeping *h = xcalloc(1, sizeof *h);
        h->web = web;
        h->waiting.array = json_array();
        task_init(&h->task, &web->loop, &housekeeping_class, h);
        task_start(&h->task, round_start);
        h->overlooked = overlooked_start(web);
        return &h->task;
}
