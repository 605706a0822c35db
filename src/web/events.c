/* GET /api/events: first every VM as it is, then what changes. */
#include "web/dashboard.h"
#include "web/routes.h"

#define BLANK_MS 20000
#define PENDING_MAX 65536
#define PAGE_ROWS 100

void events_state_free(void *state)
{
        struct events_state *s = state;
        if (s->counted)
                dashboard_leave(s->web->dashboard);
        watch_stop(&s->watch);
        json_decref(s->list.array);
        json_decref(s->counts.value);
}

static int events_look(struct task *t);

static int events_wake(struct task *t)
{
        struct events_state *s = t->state;
        if (!s->watch.fired)
                stream_puts(t, ": still here\n\n");
        return events_look(t);
}

static int events_wait(struct task *t)
{
        struct events_state *s = t->state;
        if (s->position < dashboard_position(web_of(t)->dashboard))
                return events_look(t);
        return watch_await(t, &s->watch, BLANK_MS, events_wake);
}

static int events_look(struct task *t)
{
        struct events_state *s = t->state;
        struct dashboard *dashboard = web_of(t)->dashboard;
        const struct dashboard_event *event;
        bool lost = false;
        watch_start(t->loop, &s->watch, DASHBOARD_CHANNEL, "");
        while (stream_pending(t) < PENDING_MAX && (event = dashboard_event(dashboard, s->position, &lost))) {
                stream_event(t, event->name, NULL, event->data);
                s->position++;
        }
        if (lost)
                return reply_close(t);
        return stream_await(t, PENDING_MAX, events_wait);
}

static int events_counted(struct task *t)
{
        struct events_state *s = t->state;
        _cleanup_free_ char *counts = json_text(s->counts.value);
        stream_event(t, "counts", NULL, counts);
        return stream_await(t, PENDING_MAX, events_look);
}

static int events_next(struct task *t);

static int events_page(struct task *t)
{
        struct events_state *s = t->state;
        size_t index, n = json_array_size(s->list.array);
        json_t *vm;
        if (!stream_begun(t)) {
                request_no_deadline(t);
                stream_begin(t, 200, "text/event-stream");
                stream_puts(t, "retry: 2000\n\n");
        }
        json_array_foreach (s->list.array, index, vm) {
                s->last_id = (int64_t)json_integer_value(json_object_get(vm, "id"));
                _cleanup_free_ char *text = json_text(web_vm_public(vm));
                stream_event(t, "vm", NULL, text);
        }
        json_array_clear(s->list.array);
        if (n == PAGE_ROWS)
                return stream_await(t, PENDING_MAX, events_next);
        return db_await(t, vm_counts(&s->counts), events_counted);
}

/* In pages, each sent before the next is asked for: many dashboards that open at once cost little memory. What changes
 * meanwhile stands behind `position`. */
static int events_next(struct task *t)
{
        struct events_state *s = t->state;
        return db_await(t, vm_page(s->last_id, PAGE_ROWS, &s->list), events_page);
}

int events_stream(struct task *t)
{
        struct events_state *s = t->state;
        s->web = web_of(t);
        s->counted = true;
        dashboard_join(s->web->dashboard);
        s->position = dashboard_position(s->web->dashboard);
        s->list.array = json_array();
        return events_next(t);
}
