/*
 * The LISTEN connection: a link whose set-up says LISTEN, and a table of watches by key. What can be lost is lost only
 * while the connection is down, and then every watch fires as soon as it stands again. A connection that is silent is
 * asked for a sign of life, because a listener never writes and would not notice that its server is gone.
 */
#include "db/listener.h"

#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"
#include "db/internal.h"

#define BUCKETS 4096
#define PING_MS 15000

struct timer {
        uv_timer_t handle;
        struct db_listener *listener;
};

struct db_listener {
        struct loop *loop;
        struct db_link *link;
        struct timer *deadline, *ping;
        bool asked; /* a ping without an answer yet */
        void (*call)(void *userdata, const char *channel, const char *payload);
        void *userdata;
        struct list timed; /* struct watch.timed, the nearest first */
        struct list buckets[BUCKETS];
};

/* --- watches ------------------------------------------------------------------------------------------------------ */

static struct list *bucket_of(struct db_listener *listener, const char *key)
{
        uint32_t hash = 2166136261U;
        for (; *key; key++)
                hash = (hash ^ (unsigned char)*key) * 16777619U;
        return &listener->buckets[hash % BUCKETS];
}

static void fire(struct watch *watch)
{
        watch->fired = true;
        if (!watch->wait.task)
                return;
        list_remove(&watch->timed);
        task_wake(&watch->wait);
}

static void fire_key(struct db_listener *listener, const char *key)
{
        list_for_each (link, bucket_of(listener, key)) {
                struct watch *watch = list_entry(link, struct watch, link);
                if (strcmp(watch->key, key) == 0)
                        fire(watch);
        }
}

static void fire_all(struct db_listener *listener)
{
        for (size_t i = 0; i < BUCKETS; i++)
                list_for_each (link, &listener->buckets[i])
                        fire(list_entry(link, struct watch, link));
}

void watch_fire(struct loop *loop, const char *channel, const char *payload)
{
        if (!loop->listener)
                return;
        _cleanup_free_ char *one = xasprintf("%s:%s", channel, str_or(payload, ""));
        _cleanup_free_ char *every = xasprintf("%s:", channel);
        fire_key(loop->listener, one);
        if (!str_eq(one, every))
                fire_key(loop->listener, every);
}

void watch_start(struct loop *loop, struct watch *watch, const char *channel, const char *payload)
{
        char *key = xasprintf("%s:%s", channel, str_or(payload, ""));
        if (!str_eq(watch->key, key) || watch->listener != loop->listener || !list_linked(&watch->link)) {
                watch_stop(watch);
                watch->key = STEAL(key);
                watch->listener = loop->listener;
                if (watch->listener)
                        list_append(bucket_of(watch->listener, watch->key), &watch->link);
        }
        free(key);
        watch->fired = false;
}

void watch_stop(struct watch *watch)
{
        list_remove(&watch->link);
        list_remove(&watch->timed);
        free(STEAL(watch->key));
        watch->listener = NULL;
        watch->fired = false;
}

static void cancel(struct wait *wait)
{
        list_remove(&container_of(wait, struct watch, wait)->timed);
}

/* --- deadlines ---------------------------------------------------------------------------------------------------- */

static void on_deadline(uv_timer_t *handle);

static void arm_deadline(struct db_listener *listener)
{
        if (list_empty(&listener->timed)) {
                uv_timer_stop(&listener->deadline->handle);
                return;
        }
        int64_t left = list_entry(listener->timed.next, struct watch, timed)->deadline_ms - clock_ms();
        uv_update_time(&listener->loop->uv);
        uv_timer_start(&listener->deadline->handle, on_deadline, (uint64_t)MAX(left, (int64_t)0), 0);
}

static void on_deadline(uv_timer_t *handle)
{
        struct db_listener *listener = ((struct timer *)handle->data)->listener;
        int64_t now = clock_ms();
        while (!list_empty(&listener->timed)) {
                struct watch *watch = list_entry(listener->timed.next, struct watch, timed);
                if (watch->deadline_ms > now)
                        break;
                list_remove(&watch->timed);
                task_wake(&watch->wait);
        }
        arm_deadline(listener);
}

/* Nearly all waits are equally long, so the place is nearly always the end. */
static void add_deadline(struct db_listener *listener, struct watch *watch, int64_t timeout_ms)
{
        watch->deadline_ms = clock_ms() + timeout_ms;
        struct list *place = &listener->timed;
        while (place->prev != &listener->timed &&
               list_entry(place->prev, struct watch, timed)->deadline_ms > watch->deadline_ms)
                place = place->prev;
        list_append(place, &watch->timed);
        if (listener->timed.next == &watch->timed)
                arm_deadline(listener);
}

int watch_await_named(struct task *t, struct watch *watch, int64_t timeout_ms, task_step next, const char *name)
{
        if (!watch->listener)
                return error_set(&t->error, -ENOTCONN, "database: nobody listens for changes");
        watch->wait.cancel = cancel;
        task_await_named(t, &watch->wait, next, name);
        watch->deadline_ms = 0;
        if (watch->fired)
                task_wake(&watch->wait);
        else if (timeout_ms > 0)
                add_deadline(watch->listener, watch, timeout_ms);
        return 0;
}

/* --- the connection ----------------------------------------------------------------------------------------------- */

static int on_up(struct db_link *link)
{
        struct db_listener *listener = link->owner;
        listener->asked = false;
        fire_all(listener);
        return 0;
}

static void on_down(struct db_link *link _unused_)
{
}

static void take_notification(struct db_listener *listener, const PGnotify *notify)
{
        if (listener->call)
                listener->call(listener->userdata, notify->relname, notify->extra);
        watch_fire(listener->loop, notify->relname, notify->extra);
}

static void on_input(struct db_link *link)
{
        struct db_listener *listener = link->owner;
        while (!PQisBusy(link->pg)) {
                PGresult *result = PQgetResult(link->pg);
                if (!result)
                        break;
                listener->asked = false;
                PQclear(result);
        }
        for (PGnotify *notify; link->state == LINK_UP && (notify = PQnotifies(link->pg));) {
                take_notification(listener, notify);
                PQfreemem(notify);
        }
}

static const struct db_link_class link_class = {.up = on_up, .input = on_input, .down = on_down};

static void on_ping(uv_timer_t *handle)
{
        struct db_listener *listener = ((struct timer *)handle->data)->listener;
        struct db_link *link = listener->link;
        if (link->state != LINK_UP)
                return;
        if (listener->asked || !PQsendQuery(link->pg, "select 1")) {
                db_link_drop(link, "the listening connection gives no sign of life");
                return;
        }
        listener->asked = true;
        db_link_flush(link);
}

bool db_listener_ready(const struct db_listener *listener)
{
        return listener->link->state == LINK_UP;
}

void db_listener_on_notify(struct db_listener *listener,
                           void (*call)(void *userdata, const char *channel, const char *payload), void *userdata)
{
        listener->call = call;
        listener->userdata = userdata;
}

static struct timer *new_timer(struct db_listener *listener)
{
        struct timer *timer = xcalloc(1, sizeof *timer);
        timer->listener = listener;
        timer->handle.data = timer;
        uv_timer_init(&listener->loop->uv, &timer->handle);
        return timer;
}

static void free_timer(uv_handle_t *handle)
{
        free(handle->data);
}

static char *listen_sql(const char *const *channels)
{
        struct buf sql = BUF_NULL;
        for (; *channels; channels++) {
                buf_adds(&sql, "listen \"");
                for (const char *c = *channels; *c; c++)
                        buf_addf(&sql, *c == '"' ? "\"%c" : "%c", *c);
                buf_adds(&sql, "\"; ");
        }
        return buf_steal(&sql);
}

int db_listener_new(struct loop *loop, const struct db_listener_options *options, struct db_listener **ret,
                    struct error *error)
{
        int r = db_check_conninfo(options->conninfo, error);
        if (r < 0)
                return r;
        struct db_listener *listener = xcalloc(1, sizeof *listener);
        listener->loop = loop;
        list_init(&listener->timed);
        for (size_t i = 0; i < BUCKETS; i++)
                list_init(&listener->buckets[i]);
        listener->deadline = new_timer(listener);
        listener->ping = new_timer(listener);
        uv_timer_start(&listener->ping->handle, on_ping, PING_MS, PING_MS);
        _cleanup_free_ char *sql = listen_sql(options->channels);
        listener->link = db_link_new(&loop->uv, &link_class, listener, options->conninfo, options->application, sql);
        db_link_start(listener->link);
        loop->listener = *ret = listener;
        return 0;
}

static void let_go(struct db_listener *listener)
{
        for (size_t i = 0; i < BUCKETS; i++)
                for (struct list *link; (link = list_pop(&listener->buckets[i]));) {
                        struct watch *watch = list_entry(link, struct watch, link);
                        list_remove(&watch->timed);
                        watch->listener = NULL;
                }
}

struct db_listener *db_listener_free(struct db_listener *listener)
{
        if (!listener)
                return NULL;
        if (listener->loop->listener == listener)
                listener->loop->listener = NULL;
        let_go(listener);
        uv_close((uv_handle_t *)&listener->deadline->handle, free_timer);
        uv_close((uv_handle_t *)&listener->ping->handle, free_timer);
        db_link_close(listener->link);
        free(listener);
        return NULL;
}
