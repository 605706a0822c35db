/*
 * The second way by which a waiting VM hears of its seat. A notification may be lost though the connection that listens
 * looks alive: a proxy swallows it, a trigger is off. So each second, while somebody waits, one statement asks which
 * seats were given since the last round; who waits for one of those is woken, and looks. What is asked for grows with
 * the changes, not with those who wait.
 */
#include <string.h>

#include "base/log.h"
#include "base/text.h"
#include "lab/seat.h"
#include "web/routes.h"
#include "web/web.h"

#define ROUND_MS 1000

struct overlooked {
        struct task task;
        struct web *web;
        char *since;
        struct vm_list given;
};

static int round_start(struct task *t);

static int round_given(struct task *t)
{
        struct overlooked *o = t->state;
        size_t index;
        json_t *row;
        json_array_foreach (o->given.array, index, row) {
                const char *hostname = json_get_string(row, "hostname");
                str_replace(&o->since, json_get_string(row, "horizon"));
                if (hostname)
                        startup_given(o->web, hostname,
                                      (int64_t)json_integer_value(json_object_get(row, "generation")));
        }
        json_array_clear(o->given.array);
        return sleep_await(t, ROUND_MS, round_start);
}

static int round_start(struct task *t)
{
        struct overlooked *o = t->state;
        if (!o->web->waiters)
                return sleep_await(t, ROUND_MS, round_start);
        return db_await(t, seats_given(o->since, &o->given), round_given);
}

static void round_failed(struct task *t, int code _unused_)
{
        struct overlooked *o = t->state;
        log_debug("overlooked seats: %s", error_text(&t->error));
        error_clear(&t->error);
        json_array_clear(o->given.array);
        sleep_await(t, ROUND_MS, round_start);
}

static void round_finished(struct task *t)
{
        struct overlooked *o = t->state;
        json_decref(o->given.array);
        free(o->since);
        free(o);
}

static const struct task_class overlooked_class = {
        .name = "overlooked", .fail = round_failed, .finished = round_finished};

struct task *overlooked_start(struct web *web)
{
        struct overlooked *o = xcalloc(1, sizeof *o);
        o->web = web;
        o->given.array = json_array();
        task_init(&o->task, &web->loop, &overlooked_class, o);
        task_start(&o->task, round_start);
        return &o->task;
}
