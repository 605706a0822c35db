/* Group commit: one statement a turn, order per key, bad items alone, tasks that go away, a full queue. */
#include "pg.h"

#include <errno.h>
#include <stdio.h>

#include "base/clock.h"
#include "db/batch.h"

static struct pg pg;
static struct loop loop;
static struct db_pool *pool;
static struct batch *batch;

static int decode_value(const struct db_row *row, void *receiver, struct error *error _unused_)
{
        *(int64_t *)receiver = db_int(row, 1);
        return 0;
}

/* Keeps what each key was set to, in order; statement says which statement it was. An item of the key "missing" has no
 * row, one with a text for a number is refused by the server. */
static const struct db_statement put = {
        .name = "put",
        .sql = "with item as (select * from jsonb_to_recordset($1::jsonb) as i(ord int, key text, value int)),"
               " one as (select nextval('statements') as n),"
               " kept as (insert into kept (statement, key, value) select n, key, value from item, one order by ord)"
               " select ord, value * 10 from item where key <> 'missing'",
        .rows = DB_MANY,
        .decode = decode_value,
};

static const struct batch_kind put_kind = {.statement = &put, .items_max = 100};

static int open_pg(void **state _unused_)
{
        pg_open(&pg);
        pg_exec(&pg, "create table kept (id serial, statement int, key text, value int); create sequence statements");
        return 0;
}

static int close_pg(void **state _unused_)
{
        pg_close(&pg);
        return 0;
}

static void open_batch(int64_t deadline_ms)
{
        _cleanup_error_ struct error error = ERROR_NULL;
        struct db_pool_options options = {.conninfo = pg.conninfo, .application = "batch", .deadline_ms = deadline_ms};
        pg_exec(&pg, "truncate kept; alter sequence statements restart");
        loop_init(&loop);
        pg_fine(db_pool_new(&loop, &options, &pool, &error), &error);
        batch = batch_new(&loop, &put_kind);
}

static void close_batch(void)
{
        batch = batch_free(batch);
        pool = db_pool_free(pool);
        loop_deinit(&loop);
}

struct item {
        struct wish wish;
        const char *key;
        json_t *json;
        int64_t answer;
};

static int start_item(struct task *t)
{
        struct wish *wish = t->state;
        struct item *item = wish->argument;
        return batch_await(t, batch, item->key, item->json, &item->answer, wish_done);
}

static void send_json(struct item *item, const char *key, json_t *json)
{
        *item = (struct item){.key = key, .json = json};
        wish_start(&item->wish, &loop, start_item, item);
}

static void send_item(struct item *item, const char *key, int value)
{
        send_json(item, key, json_pack("{s:s, s:i}", "key", key, "value", value));
}

static void is_fine(struct item *item, int64_t wanted)
{
        pg_fine(wish_wait(&item->wish), &item->wish.error);
        assert_int_equal(item->answer, wanted);
}

static void one_turn_is_one_statement(void **state _unused_)
{
        static struct item items[100];
        static char keys[100][16];
        open_batch(60000);
        for (int i = 0; i < 100; i++) {
                snprintf(keys[i], sizeof keys[i], "key-%d", i);
                send_item(&items[i], keys[i], i);
        }
        for (int i = 0; i < 100; i++)
                is_fine(&items[i], 10 * i);
        assert_int_equal(pg_number(&pg, "select count(distinct statement) from kept"), 1);
        assert_int_equal(pg_number(&pg, "select count(*) from kept"), 100);
        close_batch();
}

static void order_of_a_key_is_kept(void **state _unused_)
{
        static struct item items[60];
        open_batch(60000);
        for (int i = 0; i < 60; i++)
                send_item(&items[i], i % 3 ? "busy" : "calm", i);
        for (int i = 0; i < 60; i++)
                is_fine(&items[i], 10 * i);
        assert_int_equal(pg_number(&pg, "select count(*) from (select statement, key from kept group by 1, 2"
                                        "  having count(*) > 1) twice"),
                         0);
        assert_int_equal(pg_number(&pg, "select count(*) from kept a join kept b on a.key = b.key and a.id < b.id"
                                        "  and a.value > b.value"),
                         0);
        assert_int_equal(pg_number(&pg, "select count(*) from kept"), 60);
        close_batch();
}

static void what_arrives_meanwhile_gathers(void **state _unused_)
{
        struct item first, second, third;
        open_batch(60000);
        send_item(&first, "a", 1);
        is_fine(&first, 10);
        pg_exec(&pg, "create or replace function hold() returns trigger language plpgsql as"
                     " $$ begin perform pg_sleep(0.3); return null; end $$");
        pg_exec(&pg, "create trigger hold before insert on kept for each statement execute function hold()");
        send_item(&first, "a", 1);
        loop_turn_ms(&loop, 50);
        send_item(&second, "b", 2);
        loop_turn_ms(&loop, 10);
        send_item(&third, "c", 3);
        is_fine(&first, 10);
        is_fine(&second, 20);
        is_fine(&third, 30);
        pg_exec(&pg, "drop trigger hold on kept");
        assert_int_equal(pg_number(&pg, "select count(distinct statement) from kept where key in ('b', 'c')"), 1);
        close_batch();
}

static void no_row_is_not_found(void **state _unused_)
{
        struct item known, missing;
        open_batch(60000);
        send_item(&missing, "missing", 1);
        send_item(&known, "known", 2);
        is_fine(&known, 20);
        is_fine(&missing, 0);
        close_batch();
}

static void a_bad_item_fails_alone(void **state _unused_)
{
        struct item good[3], bad, after;
        open_batch(60000);
        send_item(&good[0], "a", 1);
        send_json(&bad, "b", json_pack("{s:s, s:s}", "key", "b", "value", "no number"));
        send_item(&good[1], "c", 3);
        send_item(&good[2], "d", 4);
        send_item(&after, "b", 5);
        assert_int_equal(wish_wait(&bad.wish), -EINVAL);
        is_fine(&good[0], 10);
        is_fine(&good[1], 30);
        is_fine(&good[2], 40);
        is_fine(&after, 50);
        assert_int_equal(pg_number(&pg, "select count(*) from kept"), 4);
        wish_clear(&bad.wish);
        close_batch();
}

static void killed_tasks(void **state _unused_)
{
        struct item unsent, sent, other;
        open_batch(60000);
        send_item(&other, "warm", 1);
        is_fine(&other, 10);
        pg_exec(&pg, "create trigger hold before insert on kept for each statement execute function hold()");
        send_item(&sent, "sent", 1);
        loop_turn_ms(&loop, 50);
        send_item(&unsent, "unsent", 2);
        send_item(&other, "other", 3);
        loop_turn_ms(&loop, 10);
        task_kill(&unsent.wish.task);
        task_kill(&sent.wish.task);
        is_fine(&other, 30);
        pg_exec(&pg, "drop trigger hold on kept");
        assert_int_equal(sent.answer, 0);
        assert_int_equal(pg_number(&pg, "select count(*) from kept where key = 'sent'"), 1);
        assert_int_equal(pg_number(&pg, "select count(*) from kept where key = 'unsent'"), 0);
        close_batch();
}

static void too_many_are_refused(void **state _unused_)
{
        const int n = 20002;
        struct item *items = xcalloc((size_t)n, sizeof *items);
        int refused = 0;
        open_batch(60000);
        pg_exec(&pg, "create trigger hold before insert on kept for each statement execute function hold()");
        for (int i = 0; i < n; i++)
                send_item(&items[i], "same", i);
        loop_turn_ms(&loop, 50);
        for (int i = 0; i < n; i++)
                if (items[i].wish.finished) {
                        assert_int_equal(items[i].wish.code, -EAGAIN);
                        refused++;
                        wish_clear(&items[i].wish);
                } else {
                        task_kill(&items[i].wish.task);
                }
        assert_int_equal(refused, 2);
        close_batch();
        pg_exec(&pg, "drop trigger hold on kept");
        free(items);
}

static void a_lost_database_fails_them_in_time(void **state _unused_)
{
        _cleanup_error_ struct error error = ERROR_NULL;
        struct item first, second;
        open_batch(500);
        send_item(&first, "a", 1);
        is_fine(&first, 10);
        pg_fine(cluster_stop(pg.cluster, &error), &error);
        int64_t start = clock_ms();
        send_item(&first, "a", 1);
        send_item(&second, "a", 2);
        assert_int_equal(wish_wait(&first.wish), -ENOTCONN);
        int code = wish_wait(&second.wish);
        assert_true(code == -ENOTCONN || code == -ETIMEDOUT);
        assert_true(clock_ms() - start < 30000);
        wish_clear(&first.wish);
        wish_clear(&second.wish);
        pg_start(&pg);
        close_batch();
}

/* What arrives while there is no connection, and is refused or forgotten, is not written when there is one again. */
static void the_refused_is_not_written_later(void **state _unused_)
{
        _cleanup_error_ struct error error = ERROR_NULL;
        struct item item, refused, gone, after;
        open_batch(500);
        send_item(&item, "a", 1);
        is_fine(&item, 10);
        pg_fine(cluster_stop(pg.cluster, &error), &error);
        send_item(&item, "first", 1); /* meets the broken connection */
        assert_true(wish_wait(&item.wish) < 0);
        wish_clear(&item.wish);
        send_item(&refused, "refused", 2);
        assert_int_equal(wish_wait(&refused.wish), -ENOTCONN);
        wish_clear(&refused.wish);
        send_item(&gone, "gone", 3);
        loop_turn_ms(&loop, 10);
        task_kill(&gone.wish.task);
        pg_start(&pg);
        do {
                send_item(&after, "after", 4);
                int r = wish_wait(&after.wish);
                if (r < 0)
                        wish_clear(&after.wish);
                else
                        break;
        } while (true);
        assert_int_equal(after.answer, 40);
        assert_int_equal(pg_number(&pg, "select count(*) from kept where key in ('refused', 'gone')"), 0);
        close_batch();
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(the_refused_is_not_written_later),
                cmocka_unit_test(one_turn_is_one_statement),
                cmocka_unit_test(order_of_a_key_is_kept),
                cmocka_unit_test(what_arrives_meanwhile_gathers),
                cmocka_unit_test(no_row_is_not_found),
                cmocka_unit_test(a_bad_item_fails_alone),
                cmocka_unit_test(killed_tasks),
                cmocka_unit_test(too_many_are_refused),
                cmocka_unit_test(a_lost_database_fails_them_in_time),
        };
        return cmocka_run_group_tests(tests, open_pg, close_pg);
}
