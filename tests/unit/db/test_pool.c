/*
 * Queries on the loop: what one failure does to its neighbours (nothing), what a killed, stopped or restarted server
 * does to queries in flight, deadlines, retries, and tasks that go away.
 */
#include "pg.h"

#include <errno.h>
#include <signal.h>

#include "base/clock.h"
#include "base/text.h"
#include "db/internal.h"

static struct pg pg;
static struct loop loop;
static struct db_pool *pool;

static int open_pg(void **state _unused_)
{
        pg_open(&pg);
        pg_exec(&pg, "create table done (n int); create table naps as select 1 as n");
        return 0;
}

static int close_pg(void **state _unused_)
{
        pg_close(&pg);
        return 0;
}

static void open_pool(unsigned connections, int64_t deadline_ms)
{
        _cleanup_error_ struct error error = ERROR_NULL;
        struct db_pool_options options = {.conninfo = pg.conninfo,
                                          .application = "pool",
                                          .init_sql = "set statement_timeout = '60s'",
                                          .connections = connections,
                                          .deadline_ms = deadline_ms};
        assert_null(pool); /* a failed test left its own, and what waits in it */
        pg_wait_for(&pg, "select count(*) from pg_stat_activity where application_name = 'pool'", "0");
        loop_init(&loop);
        pg_fine(db_pool_new(&loop, &options, &pool, &error), &error);
        assert_ptr_equal(loop.db, pool);
}

static void close_pool(void)
{
        pool = db_pool_free(pool);
        assert_null(loop.db);
        loop_deinit(&loop);
}

static int decode_int(const struct db_row *row, void *receiver, struct error *error _unused_)
{
        *(int64_t *)receiver = db_int(row, 0);
        return 0;
}

static int decode_sum(const struct db_row *row, void *receiver, struct error *error _unused_)
{
        *(int64_t *)receiver += db_int(row, 0);
        return 0;
}

static const struct db_statement echo = {
        .name = "echo", .sql = "select $1::int8", .rows = DB_ONE, .decode = decode_int, .idempotent = true};
static const struct db_statement divide = {
        .name = "divide", .sql = "select 10 / $1::int8", .rows = DB_ONE, .decode = decode_int};
static const struct db_statement backend = {
        .name = "backend", .sql = "select pg_backend_pid()", .rows = DB_ONE, .decode = decode_int};
static const struct db_statement nap = {
        .name = "nap", .sql = "select $1::int8 from pg_sleep($2::float8)", .rows = DB_ONE, .decode = decode_int};
/* Sleeps as long as `naps` has a row when it begins. */
static const struct db_statement nap_twice = {.name = "nap_twice",
                                              .sql = "select $1::int8 from pg_sleep(60 * (select count(*) from naps))",
                                              .rows = DB_ONE,
                                              .decode = decode_int,
                                              .idempotent = true};
static const struct db_statement write_done = {
        .name = "write_done", .sql = "insert into done values ($1::int)", .rows = DB_NO_ROWS};

/* --- many at once -------------------------------------------------------------------------------------------------- */

struct ask {
        struct wish wish;
        struct db_query query;
        int64_t value;
};

static int start_ask(struct task *t)
{
        struct wish *wish = t->state;
        struct ask *ask = wish->argument;
        return db_await(t, ask->query, wish_done);
}

static void ask(struct ask *a, struct db_query query)
{
        *a = (struct ask){.query = query};
        a->query.receiver = &a->value;
        wish_start(&a->wish, &loop, start_ask, a);
}

static int ask_wait(struct ask *a)
{
        int code = wish_wait(&a->wish);
        return code;
}

static void waits_for_its_connections(void **state _unused_)
{
        _cleanup_error_ struct error error = ERROR_NULL;
        int64_t value = 0;
        open_pool(0, 60000);
        assert_false(db_pool_ready(pool));
        assert_string_not_equal(db_pool_trouble(pool), "");
        pg_fine(loop_query(&loop, db_query(&echo, &value, DB_INT(7)), &error), &error);
        assert_int_equal(value, 7);
        assert_true(db_pool_ready(pool));
        assert_string_equal(db_pool_trouble(pool), "");
        pg_wait_for(&pg, "select count(*) from pg_stat_activity where application_name = 'pool'", "4");
        close_pool();
        pg_wait_for(&pg, "select count(*) from pg_stat_activity where application_name = 'pool'", "0");
}

static void a_failure_spoils_no_neighbour(void **state _unused_)
{
        static struct ask asks[300];
        open_pool(1, 60000);
        for (size_t i = 0; i < ARRAY_SIZE(asks); i++)
                if (i % 3 == 0)
                        ask(&asks[i], db_query(&divide, NULL, DB_INT(i % 2 ? 0 : 5)));
                else
                        ask(&asks[i], db_query(&echo, NULL, DB_INT((int64_t)i)));
        for (size_t i = 0; i < ARRAY_SIZE(asks); i++) {
                int wanted = i % 3 == 0 && i % 2 ? -EINVAL : 0;
                assert_int_equal(ask_wait(&asks[i]), wanted);
                if (wanted == 0)
                        assert_int_equal(asks[i].value, i % 3 ? (int64_t)i : 2);
                else
                        assert_non_null(strstr(error_text(&asks[i].wish.error), "22012"));
                wish_clear(&asks[i].wish);
        }
        close_pool();
}

/* A statement that cannot be prepared fails alone, each time, and is prepared when it can be. */
static void an_unpreparable_statement_fails_alone(void **state _unused_)
{
        static const struct db_statement later = {
                .name = "later", .sql = "select n from not_yet", .rows = DB_ONE, .decode = decode_int};
        struct ask bad[5], good[5];
        open_pool(1, 60000);
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
                ask(&bad[i], (struct db_query){.statement = &later});
                ask(&good[i], db_query(&echo, NULL, DB_INT((int64_t)i)));
        }
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
                assert_int_equal(ask_wait(&bad[i]), -EIO);
                assert_non_null(strstr(error_text(&bad[i].wish.error), "not_yet"));
                assert_int_equal(ask_wait(&good[i]), 0);
                wish_clear(&bad[i].wish);
        }
        pg_exec(&pg, "create table not_yet as select 5 as n");
        ask(&bad[0], (struct db_query){.statement = &later});
        assert_int_equal(ask_wait(&bad[0]), 0);
        assert_int_equal(bad[0].value, 5);
        close_pool();
}

/* Somebody between us and the server (or a changed table) made the prepared statements go. */
static void forgotten_statements_are_prepared_again(void **state _unused_)
{
        static const struct db_statement forget = {.name = "forget", .sql = "deallocate all", .rows = DB_NO_ROWS};
        static const struct db_statement wide = {
                .name = "wide", .sql = "select * from widening", .rows = DB_ONE, .decode = decode_int};
        struct ask asks[20];
        open_pool(1, 60000);
        pg_exec(&pg, "create table widening as select 1 as n");
        for (int round = 0; round < 3; round++) {
                for (size_t i = 0; i < ARRAY_SIZE(asks); i++)
                        ask(&asks[i], i == 3  ? (struct db_query){.statement = &forget}
                                      : i % 2 ? (struct db_query){.statement = &wide}
                                              : db_query(&echo, NULL, DB_INT((int64_t)i)));
                for (size_t i = 0; i < ARRAY_SIZE(asks); i++)
                        pg_fine(ask_wait(&asks[i]), &asks[i].wish.error);
                pg_exec(&pg, "alter table widening add column more text");
                pg_exec(&pg, "alter table widening rename column more to more_and_more");
                ask(&asks[0], (struct db_query){.statement = &wide});
                pg_fine(ask_wait(&asks[0]), &asks[0].wish.error);
                pg_exec(&pg, "alter table widening drop column more_and_more");
        }
        close_pool();
}

/* An error that only COMMIT finds is the query's error: it is answered after its commit, never before. */
static void a_failing_commit_is_told(void **state _unused_)
{
        static const struct db_statement insert = {.name = "insert_deferred",
                                                   .sql = "insert into deferred values (1) returning 1",
                                                   .rows = DB_ONE,
                                                   .decode = decode_int};
        struct ask asks[3];
        pg_exec(&pg, "create table deferred (n int, unique (n) deferrable initially deferred)");
        open_pool(1, 60000);
        ask(&asks[0], (struct db_query){.statement = &insert});
        ask(&asks[1], (struct db_query){.statement = &insert});
        ask(&asks[2], db_query(&echo, NULL, DB_INT(3)));
        assert_int_equal(ask_wait(&asks[0]), 0);
        assert_int_equal(ask_wait(&asks[1]), -EEXIST);
        assert_int_equal(ask_wait(&asks[2]), 0);
        assert_int_equal(pg_number(&pg, "select count(*) from deferred"), 1);
        wish_clear(&asks[1].wish);
        close_pool();
}

static void a_lost_race_is_run_again(void **state _unused_)
{
        static const struct db_statement statement = {.name = "third_time",
                                                      .sql = "select raise_until($1::int)",
                                                      .rows = DB_ONE,
                                                      .decode = decode_int,
                                                      .retry = "23505"};
        struct ask a, b, never;
        pg_exec(&pg, "create sequence tries");
        pg_exec(&pg, "create function raise_until(n int) returns int language plpgsql as $$ begin"
                     " if nextval('tries') < n then raise exception 'not yet' using errcode = '23505'; end if;"
                     " return n; end $$");
        open_pool(1, 60000);
        ask(&a, db_query(&statement, NULL, DB_INT(3)));
        ask(&b, db_query(&echo, NULL, DB_INT(1)));
        pg_fine(ask_wait(&a), &a.wish.error);
        pg_fine(ask_wait(&b), &b.wish.error);
        assert_int_equal(a.value, 3);
        assert_int_equal(pg_number(&pg, "select last_value from tries"), 3);
        ask(&never, db_query(&statement, NULL, DB_INT(1000)));
        assert_int_equal(ask_wait(&never), -EEXIST);
        assert_int_equal(pg_number(&pg, "select last_value from tries"), 13);
        wish_clear(&never.wish);
        close_pool();
}

static void deadlocks_are_run_again(void **state _unused_)
{
        static const struct db_statement cross = {.name = "cross",
                                                  .sql = "select sum(touch(n)) from (values ($1::int), ($2::int)) v(n)",
                                                  .rows = DB_ONE,
                                                  .decode = decode_sum};
        static struct ask asks[200];
        pg_exec(&pg, "create table rows as select n, 0 as hits from generate_series(1, 2) n");
        pg_exec(&pg, "create function touch(r int) returns int language plpgsql as $$ begin"
                     " update rows set hits = hits + 1 where n = r; return 1; end $$");
        /* Each deadlock takes that long to be seen, and most pairs of these make one. */
        pg_admin(&pg, "alter role lablink set deadlock_timeout = '10ms'");
        open_pool(4, 60000);
        for (size_t i = 0; i < ARRAY_SIZE(asks); i++)
                ask(&asks[i], db_query(&cross, NULL, DB_INT(1 + (int64_t)(i % 2)), DB_INT(2 - (int64_t)(i % 2))));
        for (size_t i = 0; i < ARRAY_SIZE(asks); i++)
                pg_fine(ask_wait(&asks[i]), &asks[i].wish.error);
        assert_int_equal(pg_number(&pg, "select sum(hits) from rows"), 2 * ARRAY_SIZE(asks));
        pg_admin(&pg, "alter role lablink reset deadlock_timeout");
        close_pool();
}

/* --- connections that break ---------------------------------------------------------------------------------------- */

static int64_t backend_pid(void)
{
        _cleanup_error_ struct error error = ERROR_NULL;
        int64_t pid = 0;
        pg_fine(loop_query(&loop, (struct db_query){.statement = &backend, .receiver = &pid}, &error), &error);
        assert_true(pid > 1);
        return pid;
}

/* Until the server has begun with it. */
static void until_napping(int64_t n)
{
        const char *sql =
                "select count(*) from pg_stat_activity where application_name = 'pool' and wait_event = 'PgSleep'";
        int64_t deadline = clock_ms() + PG_PATIENCE_MS;
        while (pg_number(&pg, sql) != n) {
                assert_true(clock_ms() < deadline);
                loop_turn_ms(&loop, 10);
        }
}

/* The server says that it ends the connection: the statement was undone, so it is safe to run it again, and what stood
 * behind it too. */
static void a_terminated_backend_costs_nothing(void **state _unused_)
{
        struct ask sleeper, writer[3];
        open_pool(1, 60000);
        int64_t pid = backend_pid();
        pg_exec(&pg, "truncate done");
        ask(&sleeper, db_query(&nap, NULL, DB_INT(4), DB_DOUBLE(0.5)));
        loop_turn_ms(&loop, 0);
        for (size_t i = 0; i < ARRAY_SIZE(writer); i++)
                ask(&writer[i], db_query(&write_done, NULL, DB_INT((int64_t)i)));
        loop_turn_ms(&loop, 20);
        until_napping(1);
        _cleanup_free_ char *sql = xasprintf("select pg_terminate_backend(%lld)", (long long)pid);
        pg_exec(&pg, sql);
        pg_fine(ask_wait(&sleeper), &sleeper.wish.error);
        assert_int_equal(sleeper.value, 4);
        for (size_t i = 0; i < ARRAY_SIZE(writer); i++)
                pg_fine(ask_wait(&writer[i]), &writer[i].wish.error);
        assert_int_equal(pg_number(&pg, "select count(*) from done"), ARRAY_SIZE(writer));
        assert_true(backend_pid() != pid);
        close_pool();
}

static void a_write_finds_the_connection_gone(void **state _unused_)
{
        struct ask sleeper, reader;
        open_pool(1, 60000);
        int64_t pid = backend_pid();
        ask(&sleeper, db_query(&nap, NULL, DB_INT(4), DB_DOUBLE(0.2)));
        until_napping(1);
        _cleanup_free_ char *sql = xasprintf("select pg_terminate_backend(%lld)", (long long)pid);
        pg_exec(&pg, sql);
        ask(&reader, db_query(&echo, NULL, DB_INT(5)));
        int code = ask_wait(&sleeper);
        assert_true(code == 0 || code == -ENOTCONN);
        pg_fine(ask_wait(&reader), &reader.wish.error);
        assert_int_equal(reader.value, 5);
        wish_clear(&sleeper.wish);
        close_pool();
}

/* kill -9: nobody knows what was done. Only what may run twice is sent again; the server recovers meanwhile. */
static void kill_napping(void)
{
        until_napping(1);
        pg_exec(&pg, "delete from naps");
        int64_t pid = pg_number(&pg, "select pid from pg_stat_activity where wait_event = 'PgSleep'");
        assert_true(pid > 1);
        assert_int_equal(kill((pid_t)pid, SIGKILL), 0);
}

static void a_killed_backend_is_not_guessed_about(void **state _unused_)
{
        struct ask once, twice;
        open_pool(1, 60000);
        ask(&once, db_query(&nap, NULL, DB_INT(1), DB_DOUBLE(60)));
        kill_napping();
        assert_int_equal(ask_wait(&once), -ENOTCONN);
        wish_clear(&once.wish);
        backend_pid();
        pg_exec(&pg, "insert into naps values (1)");
        ask(&twice, db_query(&nap_twice, NULL, DB_INT(2)));
        kill_napping();
        pg_fine(ask_wait(&twice), &twice.wish.error);
        assert_int_equal(twice.value, 2);
        close_pool();
}

static void a_restarted_server_is_found_again(void **state _unused_)
{
        _cleanup_error_ struct error error = ERROR_NULL;
        struct ask early, late;
        int64_t value = 0;
        open_pool(3, 60000);
        pg_fine(loop_query(&loop, db_query(&echo, &value, DB_INT(1)), &error), &error);
        pg_fine(cluster_stop(pg.cluster, &error), &error);
        ask(&early, db_query(&echo, NULL, DB_INT(5)));
        loop_turn_ms(&loop, 300);
        assert_false(early.wish.finished);
        assert_false(db_pool_ready(pool));
        assert_string_not_equal(db_pool_trouble(pool), "");
        pg_start(&pg);
        ask(&late, db_query(&echo, NULL, DB_INT(6)));
        pg_fine(ask_wait(&early), &early.wish.error);
        pg_fine(ask_wait(&late), &late.wish.error);
        assert_int_equal(early.value, 5);
        assert_int_equal(late.value, 6);
        close_pool();
}

static void no_server_in_time_is_not_connected(void **state _unused_)
{
        _cleanup_error_ struct error error = ERROR_NULL;
        int64_t value = 0;
        struct db_pool_options options = {
                .conninfo = "host=/nonexistent-directory password=hidden", .application = "pool", .deadline_ms = 200};
        loop_init(&loop);
        pg_fine(db_pool_new(&loop, &options, &pool, &error), &error);
        assert_int_equal(loop_query(&loop, db_query(&echo, &value, DB_INT(1)), &error), -ENOTCONN);
        assert_non_null(strstr(error_text(&error), "nonexistent-directory"));
        assert_null(strstr(error_text(&error), "hidden"));
        close_pool();
        error_clear(&error);
        loop_init(&loop);
        options.conninfo = "host=a passwrod=hidden";
        assert_int_equal(db_pool_new(&loop, &options, &pool, &error), -EINVAL);
        assert_null(strstr(error_text(&error), "hidden"));
        pool = NULL;
        loop_deinit(&loop);
}

/* --- deadlines ----------------------------------------------------------------------------------------------------- */

static void a_stopped_backend_is_left_behind(void **state _unused_)
{
        struct ask stuck, waiting, after;
        open_pool(1, 1000);
        pid_t pid = (pid_t)backend_pid();
        assert_int_equal(kill(pid, SIGSTOP), 0);
        ask(&stuck, db_query(&nap, NULL, DB_INT(1), DB_DOUBLE(0)));
        assert_int_equal(ask_wait(&stuck), -ETIMEDOUT);
        assert_non_null(strstr(error_text(&stuck.wish.error), "nap"));
        ask(&waiting, db_query(&echo, NULL, DB_INT(2)));
        pg_fine(ask_wait(&waiting), &waiting.wish.error);
        assert_int_equal(waiting.value, 2);
        assert_true(backend_pid() != pid);
        assert_int_equal(kill(pid, SIGCONT), 0);
        ask(&after, db_query(&echo, NULL, DB_INT(3)));
        pg_fine(ask_wait(&after), &after.wish.error);
        wish_clear(&stuck.wish);
        close_pool();
}

/* The receiver of a late answer is gone: nothing is written there, and the connection goes on. */
static void a_late_answer_is_dropped(void **state _unused_)
{
        struct ask slow, killed, next;
        open_pool(1, 60000);
        int64_t pid = backend_pid();
        ask(&slow, db_query(&nap, NULL, DB_INT(1), DB_DOUBLE(0.3)));
        ask(&killed, db_query(&echo, NULL, DB_INT(2)));
        ask(&next, db_query(&echo, NULL, DB_INT(3)));
        until_napping(1);
        task_kill(&slow.wish.task);
        task_kill(&killed.wish.task);
        assert_true(slow.wish.finished && killed.wish.finished);
        pg_fine(ask_wait(&next), &next.wish.error);
        assert_int_equal(slow.value, 0);
        assert_int_equal(killed.value, 0);
        assert_int_equal(next.value, 3);
        assert_int_equal(backend_pid(), pid);
        close_pool();
}

static void killed_before_it_was_sent(void **state _unused_)
{
        struct ask a;
        open_pool(1, 60000);
        ask(&a, db_query(&write_done, NULL, DB_INT(77)));
        loop_turn_ms(&loop, 0);
        if (!a.wish.finished)
                task_kill(&a.wish.task);
        backend_pid();
        close_pool();
}

/* Whoever still waits when the pool goes is told. */
static void the_last_ones_are_told(void **state _unused_)
{
        struct ask sent, unsent;
        open_pool(1, 60000);
        backend_pid();
        ask(&sent, db_query(&nap, NULL, DB_INT(1), DB_DOUBLE(30)));
        until_napping(1);
        pg_exec(&pg, "select pg_terminate_backend(pid) from pg_stat_activity where 1 = 0");
        ask(&unsent, db_query(&echo, NULL, DB_INT(2)));
        loop_turn_ms(&loop, 20);
        pool = db_pool_free(pool);
        assert_int_equal(ask_wait(&sent), -ENOTCONN);
        assert_int_equal(ask_wait(&unsent), -ENOTCONN);
        wish_clear(&sent.wish);
        wish_clear(&unsent.wish);
        loop_deinit(&loop);
}

/* Parameters are copied, rows are counted, and many more queries than slots are answered. */
static void thousands(void **state _unused_)
{
        static struct ask asks[5000];
        open_pool(4, 60000);
        for (size_t i = 0; i < ARRAY_SIZE(asks); i++)
                ask(&asks[i], db_query(&echo, NULL, DB_INT((int64_t)i)));
        for (size_t i = 0; i < ARRAY_SIZE(asks); i++) {
                pg_fine(ask_wait(&asks[i]), &asks[i].wish.error);
                assert_int_equal(asks[i].value, (int64_t)i);
        }
        assert_int_equal(loop_query(&loop, (struct db_query){.statement = &echo, .receiver = &asks[0].value}, NULL),
                         -EPROTO);
        close_pool();
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(waits_for_its_connections),
                cmocka_unit_test(a_failure_spoils_no_neighbour),
                cmocka_unit_test(an_unpreparable_statement_fails_alone),
                cmocka_unit_test(forgotten_statements_are_prepared_again),
                cmocka_unit_test(a_failing_commit_is_told),
                cmocka_unit_test(a_lost_race_is_run_again),
                cmocka_unit_test(deadlocks_are_run_again),
                cmocka_unit_test(a_terminated_backend_costs_nothing),
                cmocka_unit_test(a_write_finds_the_connection_gone),
                cmocka_unit_test(a_killed_backend_is_not_guessed_about),
                cmocka_unit_test(a_restarted_server_is_found_again),
                cmocka_unit_test(no_server_in_time_is_not_connected),
                cmocka_unit_test(a_stopped_backend_is_left_behind),
                cmocka_unit_test(a_late_answer_is_dropped),
                cmocka_unit_test(killed_before_it_was_sent),
                cmocka_unit_test(the_last_ones_are_told),
                cmocka_unit_test(thousands),
        };
        return cmocka_run_group_tests(tests, open_pg, close_pg);
}
