/* Watches: a change is never missed, whether it comes before, during or after the look, or while nobody listened. */
#include "pg.h"

#include <errno.h>
#include <stdio.h>

#include "base/clock.h"
#include "db/listener.h"

static struct pg pg;
static struct loop loop;
static struct db_listener *listener;

static int open_pg(void **state _unused_)
{
        pg_open(&pg);
        return 0;
}

static int close_pg(void **state _unused_)
{
        pg_close(&pg);
        return 0;
}

static void until_ready(void)
{
        int64_t deadline = clock_ms() + PG_PATIENCE_MS;
        while (!db_listener_ready(listener)) {
                assert_true(clock_ms() < deadline);
                loop_turn_ms(&loop, 5);
        }
}

static void open_listener(void)
{
        static const char *const channels[] = {"changes", "Other \"one\"", NULL};
        _cleanup_error_ struct error error = ERROR_NULL;
        struct db_listener_options options = {.conninfo = pg.conninfo, .application = "listener", .channels = channels};
        loop_init(&loop);
        pg_fine(db_listener_new(&loop, &options, &listener, &error), &error);
        assert_false(db_listener_ready(listener));
        until_ready();
}

static void close_listener(void)
{
        listener = db_listener_free(listener);
        assert_null(loop.listener);
        loop_deinit(&loop);
}

struct sleeper {
        struct wish wish;
        struct watch watch;
        int64_t timeout_ms;
};

static int sleeper_start(struct task *t)
{
        struct wish *wish = t->state;
        struct sleeper *s = wish->argument;
        return watch_await(t, &s->watch, s->timeout_ms, wish_done);
}

static void sleeper_begin(struct sleeper *s, int64_t timeout_ms)
{
        s->timeout_ms = timeout_ms;
        wish_start(&s->wish, &loop, sleeper_start, s);
}

static void fired(struct sleeper *s)
{
        pg_fine(wish_wait(&s->wish), &s->wish.error);
        assert_true(s->watch.fired);
}

static void still_sleeps(struct sleeper *s)
{
        assert_false(s->wish.finished);
        assert_false(s->watch.fired);
}

static void a_notification_wakes_its_key_alone(void **state _unused_)
{
        struct sleeper one = {0}, same = {0}, other = {0}, every = {0}, quoted = {0};
        open_listener();
        watch_start(&loop, &one.watch, "changes", "vm-1");
        watch_start(&loop, &same.watch, "changes", "vm-1");
        watch_start(&loop, &other.watch, "changes", "vm-2");
        watch_start(&loop, &every.watch, "changes", NULL);
        watch_start(&loop, &quoted.watch, "Other \"one\"", "");
        sleeper_begin(&one, 0);
        sleeper_begin(&same, 60000);
        sleeper_begin(&other, 60000);
        sleeper_begin(&every, 60000);
        sleeper_begin(&quoted, 60000);
        pg_exec(&pg, "notify changes, 'vm-1'");
        fired(&one);
        fired(&same);
        fired(&every);
        still_sleeps(&other);
        still_sleeps(&quoted);
        pg_exec(&pg, "notify \"Other \"\"one\"\"\", 'x'");
        fired(&quoted);
        pg_exec(&pg, "notify changes, 'vm-2'");
        fired(&other);
        watch_stop(&one.watch);
        watch_stop(&same.watch);
        watch_stop(&other.watch);
        watch_stop(&every.watch);
        watch_stop(&quoted.watch);
        close_listener();
}

static void a_watch_is_sticky(void **state _unused_)
{
        struct sleeper s = {0};
        open_listener();
        watch_start(&loop, &s.watch, "changes", "vm-1");
        pg_exec(&pg, "notify changes, 'vm-1'");
        loop_until(&loop, &s.watch.fired);
        sleeper_begin(&s, 0);
        fired(&s);
        watch_start(&loop, &s.watch, "changes", "vm-1"); /* looks again */
        assert_false(s.watch.fired);
        sleeper_begin(&s, 0);
        loop_turn_ms(&loop, 20);
        still_sleeps(&s);
        watch_fire(&loop, "changes", "vm-1");
        fired(&s);
        watch_stop(&s.watch);
        close_listener();
}

static void a_wait_ends_in_time(void **state _unused_)
{
        struct sleeper s[3] = {0};
        open_listener();
        for (int i = 0; i < 3; i++)
                watch_start(&loop, &s[i].watch, "changes", "vm-1");
        sleeper_begin(&s[0], 60000);
        sleeper_begin(&s[1], 200);
        sleeper_begin(&s[2], 20);
        int64_t start = clock_ms();
        pg_fine(wish_wait(&s[2].wish), &s[2].wish.error);
        assert_false(s[2].watch.fired);
        assert_true(clock_ms() - start >= 15);
        pg_fine(wish_wait(&s[1].wish), &s[1].wish.error);
        assert_true(clock_ms() - start >= 190);
        still_sleeps(&s[0]);
        task_kill(&s[0].wish.task);
        for (int i = 0; i < 3; i++)
                watch_stop(&s[i].watch);
        close_listener();
}

/* A watch moves with its owner: another key, and back. */
static void another_key(void **state _unused_)
{
        struct sleeper s = {0};
        open_listener();
        watch_start(&loop, &s.watch, "changes", "vm-1");
        watch_start(&loop, &s.watch, "changes", "vm-2");
        sleeper_begin(&s, 0);
        loop_turn_ms(&loop, 5);
        watch_fire(&loop, "changes", "vm-1");
        loop_turn_ms(&loop, 5);
        still_sleeps(&s);
        watch_fire(&loop, "changes", "vm-2");
        fired(&s);
        watch_stop(&s.watch);
        watch_stop(&s.watch);
        close_listener();
}

static void a_new_connection_wakes_everybody(void **state _unused_)
{
        enum { N = 500 };
        struct sleeper *s = xcalloc(N, sizeof *s);
        open_listener();
        for (int i = 0; i < N; i++) {
                char name[24];
                snprintf(name, sizeof name, "vm-%d", i);
                watch_start(&loop, &s[i].watch, "changes", name);
                sleeper_begin(&s[i], 0);
        }
        loop_turn_ms(&loop, 5);
        pg_exec(&pg, "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'listener'");
        pg_exec(&pg, "notify changes, 'vm-1'"); /* lost by everybody */
        for (int i = 0; i < N; i++) {
                fired(&s[i]);
                watch_stop(&s[i].watch);
        }
        assert_true(db_listener_ready(listener));
        close_listener();
        free(s);
}

static void a_restarted_server_is_listened_to(void **state _unused_)
{
        _cleanup_error_ struct error error = ERROR_NULL;
        struct sleeper s = {0};
        open_listener();
        watch_start(&loop, &s.watch, "changes", "vm-1");
        pg_fine(cluster_stop(pg.cluster, &error), &error);
        loop_turn_ms(&loop, 50);
        assert_false(db_listener_ready(listener));
        sleeper_begin(&s, 0);
        loop_turn_ms(&loop, 50);
        still_sleeps(&s);
        pg_start(&pg);
        fired(&s);
        watch_start(&loop, &s.watch, "changes", "vm-1");
        sleeper_begin(&s, 0);
        loop_turn_ms(&loop, 5);
        pg_exec(&pg, "notify changes, 'vm-1'");
        fired(&s);
        watch_stop(&s.watch);
        close_listener();
}

static char heard[64];

static void hear(void *userdata, const char *channel, const char *payload)
{
        assert_ptr_equal(userdata, heard);
        snprintf(heard, sizeof heard, "%s %s", channel, payload);
}

static void the_hook_hears_all(void **state _unused_)
{
        struct sleeper s = {0};
        open_listener();
        db_listener_on_notify(listener, hear, heard);
        watch_start(&loop, &s.watch, "changes", "x");
        sleeper_begin(&s, 0);
        pg_exec(&pg, "notify changes, 'x'");
        fired(&s);
        assert_string_equal(heard, "changes x");
        watch_stop(&s.watch);
        close_listener();
}

static void a_watch_outlives_its_listener(void **state _unused_)
{
        struct sleeper s = {0};
        struct watch zeroed = {0};
        open_listener();
        watch_start(&loop, &s.watch, "changes", "x");
        listener = db_listener_free(listener);
        watch_fire(&loop, "changes", "x");
        sleeper_begin(&s, 0);
        assert_int_equal(wish_wait(&s.wish), -ENOTCONN);
        wish_clear(&s.wish);
        watch_stop(&s.watch);
        watch_stop(&zeroed);
        loop_deinit(&loop);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(a_notification_wakes_its_key_alone),
                cmocka_unit_test(a_watch_is_sticky),
                cmocka_unit_test(a_wait_ends_in_time),
                cmocka_unit_test(another_key),
                cmocka_unit_test(a_new_connection_wakes_everybody),
                cmocka_unit_test(a_restarted_server_is_listened_to),
                cmocka_unit_test(the_hook_hears_all),
                cmocka_unit_test(a_watch_outlives_its_listener),
        };
        return cmocka_run_group_tests(tests, open_pg, close_pg);
}
