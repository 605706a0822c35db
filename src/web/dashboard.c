/*
 * The one poller. A row that a long transaction keeps inside the horizon comes again with each round; it is sent again
 * only when it differs from what the previous round gave.
 */
#include "web/dashboard.h"

#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/text.h"
#include "lab/vm.h"

#define RING_SIZE 16384
#define ROUND_MS 150

struct dashboard {
        struct task task;
        struct web *web;
        unsigned watchers;
        bool polling;
        struct dashboard_event ring[RING_SIZE];
        uint64_t next;
        struct text_answer horizon;
        char *since;
        struct vm_list changes;
        struct json_answer counts;
        json_t *previous; /* rows of the round before, by host name */
};

static void add_event(struct dashboard *d, const char *name, char *data)
{
        struct dashboard_event *event = &d->ring[d->next++ % RING_SIZE];
        free(event->data);
        snprintf(event->name, sizeof event->name, "%s", name);
        event->data = data;
}

static bool add_changes(struct dashboard *d)
{
        json_t *now = json_object(), *entry;
        size_t index;
        bool any = false;
        json_array_foreach (d->changes.array, index, entry) {
                json_t *row = json_object_get(entry, "row");
                const char *hostname = json_get_string(row, "hostname");
                if (!hostname)
                        continue;
                bool gone = json_is_true(json_object_get(row, "gone"));
                json_object_set(now, hostname, row);
                if (json_equal(json_object_get(d->previous, hostname), row))
                        continue;
                any = true;
                json_object_del(row, "gone");
                add_event(d, gone ? "gone" : "vm", json_text(web_vm_public(row)));
                json_object_set_new(row, "gone", json_boolean(gone));
        }
        json_decref(d->previous);
        d->previous = now;
        return any;
}

static int round_start(struct task *t);

static int round_end(struct task *t)
{
        struct dashboard *d = t->state;
        if (d->counts.value)
                add_event(d, "counts", json_text(d->counts.value));
        watch_fire(t->loop, DASHBOARD_CHANNEL, "");
        return sleep_await(t, ROUND_MS, round_start);
}

static int round_changes(struct task *t)
{
        struct dashboard *d = t->state;
        str_replace(&d->since, d->horizon.text);
        if (!add_changes(d))
                return sleep_await(t, ROUND_MS, round_start);
        return db_await(t, vm_counts(&d->counts), round_end);
}

static int round_horizon(struct task *t)
{
        struct dashboard *d = t->state;
        json_array_clear(d->changes.array);
        if (!d->since)
                str_replace(&d->since, d->horizon.text);
        return db_await(t, vm_changes(d->since, &d->changes), round_changes);
}

static int round_start(struct task *t)
{
        struct dashboard *d = t->state;
        if (d->watchers == 0) {
                task_finish(t);
                return 0;
        }
        return db_await(t, vm_horizon(&d->horizon), round_horizon);
}

static void round_finished(struct task *t)
{
        struct dashboard *d = t->state;
        d->polling = false;
}

static void round_failed(struct task *t, int code _unused_)
{
        log_warning("dashboard: %s", error_text(&t->error));
        error_clear(&t->error);
        sleep_await(t, 1000, round_start);
}

static const struct task_class dashboard_class = {
        .name = "dashboard", .fail = round_failed, .finished = round_finished};

struct dashboard *dashboard_new(struct web *web)
{
        struct dashboard *d = xcalloc(1, sizeof *d);
        d->web = web;
        d->changes.array = json_array();
        d->previous = json_object();
        return d;
}

struct dashboard *dashboard_free(struct dashboard *d)
{
        if (!d)
                return NULL;
        if (d->polling)
                task_kill(&d->task);
        for (size_t i = 0; i < RING_SIZE; i++)
                free(d->ring[i].data);
        free(d->horizon.text);
        free(d->since);
        json_decref(d->changes.array);
        json_decref(d->counts.value);
        json_decref(d->previous);
        free(d);
        return NULL;
}

void dashboard_join(struct dashboard *d)
{
        d->watchers++;
        if (d->polling)
                return;
        d->polling = true;
        free(d->since);
        d->since = NULL;
        task_init(&d->task, &d->web->loop, &dashboard_class, d);
        task_start(&d->task, round_start);
}

/* Nobody reads what stands in the ring: who comes later begins behind it. */
void dashboard_leave(struct dashboard *d)
{
        if (--d->watchers > 0)
                return;
        for (size_t i = 0; i < RING_SIZE; i++)
                free(STEAL(d->ring[i].data));
}

uint64_t dashboard_position(const struct dashboard *d)
{
        return d->next;
}

const struct dashboard_event *dashboard_event(const struct dashboard *d, uint64_t position, bool *ret_lost)
{
        *ret_lost = position + RING_SIZE < d->next;
        if (*ret_lost || position >= d->next)
                return NULL;
        return &d->ring[position % RING_SIZE];
}
