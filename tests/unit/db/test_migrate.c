/* Migrations: each once and whole, in order, under a lock; names put in; a newer schema refused. */
#include "pg.h"

#include <errno.h>
#include <sys/wait.h>

#include "db/migrate.h"

static struct pg pg;
static const struct migrate_names names = {.table = "vms", .channel = "vm_updates"};

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

static int fresh(void **state _unused_)
{
        pg_exec(&pg, "set client_min_messages = warning; drop schema public cascade; create schema public");
        return 0;
}

static const struct migration one[] = {{.number = 1, .name = "first", .sql = "create table @table@ (a int);"}, {0}};
static const struct migration two[] = {
        {.number = 1, .name = "first", .sql = "create table @table@ (a int);"},
        {.number = 2, .name = "second", .sql = "insert into @table@ values (1); insert into @table@ values (2) -- end"},
        {0},
};
static const struct migration broken[] = {
        {.number = 1, .name = "first", .sql = "create table @table@ (a int)"},
        {.number = 2, .name = "second", .sql = "insert into @table@ values (1); create table half (b int); select 1/0"},
        {0},
};

static void each_once_in_order(void **state _unused_)
{
        _cleanup_error_ struct error error = ERROR_NULL;
        _cleanup_db_ struct db *db = pg_db(&pg);
        int version = -1;
        pg_fine(migrate(db, one, &names, &version, &error), &error);
        assert_int_equal(version, 1);
        pg_fine(migrate(db, two, &names, &version, &error), &error);
        assert_int_equal(version, 2);
        pg_fine(migrate(db, two, &names, &version, &error), &error);
        assert_int_equal(version, 2);
        assert_int_equal(pg_number(&pg, "select count(*) from vms"), 2);
        _cleanup_free_ char *applied = pg_value(&pg, "select string_agg(number || name, ' ' order by number)"
                                                     " from schema_migrations");
        assert_string_equal(applied, "1first 2second");
}

static void a_failing_one_leaves_nothing(void **state _unused_)
{
        _cleanup_error_ struct error error = ERROR_NULL;
        _cleanup_db_ struct db *db = pg_db(&pg);
        int version = -1;
        assert_true(migrate(db, broken, &names, &version, &error) < 0);
        assert_non_null(strstr(error_text(&error), "0002_second"));
        assert_int_equal(version, 1);
        assert_int_equal(pg_number(&pg, "select count(*) from vms"), 0);
        assert_int_equal(pg_number(&pg, "select count(*) from pg_tables where tablename = 'half'"), 0);
        assert_int_equal(pg_number(&pg, "select count(*) from pg_locks where locktype = 'advisory'"), 0);
        error_clear(&error);
        pg_fine(migrate(db, two, &names, &version, &error), &error);
        assert_int_equal(version, 2);
}

static void a_newer_one_is_refused(void **state _unused_)
{
        _cleanup_error_ struct error error = ERROR_NULL;
        _cleanup_db_ struct db *db = pg_db(&pg);
        int version = -1;
        pg_fine(migrate(db, two, &names, &version, &error), &error);
        assert_int_equal(migrate(db, one, &names, &version, &error), -EPROTO);
        assert_int_equal(version, 2);
        assert_non_null(strstr(error_text(&error), "newer"));
        assert_int_equal(pg_number(&pg, "select count(*) from vms"), 2);
}

static void names_are_put_in(void **state _unused_)
{
        static const struct migration all[] = {
                {.number = 1,
                 .name = "names",
                 .sql = "create table @table@ (t text default @table_name@, c text default @channel_name@);"
                        " insert into @table@ default values; listen @channel@; select '@other@ @table'"},
                {0},
        };
        static const struct migrate_names odd = {.table = "My Table", .channel = "Chan-1"};
        _cleanup_error_ struct error error = ERROR_NULL;
        _cleanup_db_ struct db *db = pg_db(&pg);
        pg_fine(migrate(db, all, &odd, NULL, &error), &error);
        _cleanup_free_ char *value = pg_value(&pg, "select t || '|' || c from \"My Table\"");
        assert_string_equal(value, "My Table|Chan-1");
}

static void dangerous_names_are_refused(void **state _unused_)
{
        static const char *const bad[] = {"",
                                          "a\"b",
                                          "a'b",
                                          "a$$b",
                                          "a\\b",
                                          "\xff",
                                          "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"};
        _cleanup_db_ struct db *db = pg_db(&pg);
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
                struct migrate_names table = {.table = bad[i], .channel = "c"},
                                     channel = {.table = "t", .channel = bad[i]};
                assert_int_equal(migrate(db, one, &table, NULL, NULL), -EINVAL);
                assert_int_equal(migrate(db, one, &channel, NULL, NULL), -EINVAL);
        }
}

static void many_at_once(void **state _unused_)
{
        static const struct migration slow[] = {
                {.number = 1, .name = "slow", .sql = "create table @table@ as select pg_sleep(0.2)::text"}, {0}};
        pid_t pids[4];
        for (size_t i = 0; i < ARRAY_SIZE(pids); i++) {
                pids[i] = fork();
                if (pids[i] == 0) {
                        struct db *db;
                        int r = db_open(pg.conninfo, "test", &db, NULL);
                        _exit(r < 0 || migrate(db, slow, &names, NULL, NULL) < 0);
                }
        }
        for (size_t i = 0; i < ARRAY_SIZE(pids); i++) {
                int status = -1;
                assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
                assert_int_equal(status, 0);
        }
        assert_int_equal(pg_number(&pg, "select count(*) from schema_migrations"), 1);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup(each_once_in_order, fresh),
                cmocka_unit_test_setup(a_failing_one_leaves_nothing, fresh),
                cmocka_unit_test_setup(a_newer_one_is_refused, fresh),
                cmocka_unit_test_setup(names_are_put_in, fresh),
                cmocka_unit_test_setup(dangerous_names_are_refused, fresh),
                cmocka_unit_test_setup(many_at_once, fresh),
        };
        return cmocka_run_group_tests(tests, open_pg, close_pg);
}
