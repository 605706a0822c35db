/* The blocking way: rows and their types, row counts, errors by SQLSTATE, statements run again, broken connections. */
#include "pg.h"

#include <errno.h>

#include "base/text.h"

static struct pg pg;

static int open_pg(void **state _unused_)
{
        pg_open(&pg);
        pg_exec(&pg, "create table thing (id int primary key, name text)");
        return 0;
}

static int close_pg(void **state _unused_)
{
        pg_close(&pg);
        return 0;
}

static int decode_object(const struct db_row *row, void *receiver, struct error *error _unused_)
{
        json_t **value = receiver;
        json_decref(*value);
        *value = db_object(row);
        return 0;
}

static int decode_int(const struct db_row *row, void *receiver, struct error *error _unused_)
{
        *(int64_t *)receiver = db_int(row, 0);
        return 0;
}

static void types_of_an_object(void **state _unused_)
{
        static const struct db_statement statement = {
                .name = "types",
                .sql = "select true as yes, 7::int2 as two, 7::int8 as eight, 1.5::numeric as numeric, 'NaN'::float8 "
                       "as nan,"
                       " '{\"a\": [1]}'::jsonb as j, null::text as nothing, 'x'::varchar as text,"
                       " timestamptz '2026-11-25 03:30:22.5+02' as at, timestamptz '2026-01-02 00:00:00Z' as whole",
                .rows = DB_ONE,
                .decode = decode_object,
        };
        _cleanup_db_ struct db *db = pg_db(&pg);
        json_t *value = NULL;
        assert_int_equal(db_run(db, (struct db_query){.statement = &statement, .receiver = &value}, NULL), 0);
        _cleanup_free_ char *text = json_text(value);
        assert_string_equal(text, "{\"yes\":true,\"two\":7,\"eight\":7,\"numeric\":1.5,\"nan\":null,\"j\":{\"a\":[1]},"
                                  "\"nothing\":null,\"text\":\"x\",\"at\":\"2026-11-25T01:30:22.5Z\","
                                  "\"whole\":\"2026-01-02T00:00:00Z\"}");
        json_decref(value);
}

static void parameters_arrive(void **state _unused_)
{
        static const struct db_statement statement = {
                .name = "parameters",
                .sql = "select $1::text as t, $2::int8 as i, $3::float8 as d, $4::bool as b, $5::text as n",
                .rows = DB_ONE,
                .decode = decode_object,
        };
        _cleanup_db_ struct db *db = pg_db(&pg);
        json_t *value = NULL;
        assert_int_equal(db_run(db,
                                db_query(&statement, &value, DB_TEXT("it's \\ \xc3\xa9"), DB_INT(INT64_MIN),
                                         DB_DOUBLE(0.1), DB_BOOL(true), DB_TEXT((const char *)NULL)),
                                NULL),
                         0);
        assert_string_equal(json_get_string(value, "t"), "it's \\ \xc3\xa9");
        assert_true(json_integer_value(json_object_get(value, "i")) == INT64_MIN);
        assert_true(json_real_value(json_object_get(value, "d")) == 0.1);
        assert_true(json_is_true(json_object_get(value, "b")));
        assert_true(json_is_null(json_object_get(value, "n")));
        json_decref(value);
}

static void rows_are_counted(void **state _unused_)
{
        static const struct db_statement one = {
                .name = "one", .sql = "select generate_series(1, $1::int)", .rows = DB_ONE, .decode = decode_int};
        static const struct db_statement maybe = {
                .name = "maybe", .sql = "select generate_series(1, $1::int)", .rows = DB_MAYBE, .decode = decode_int};
        static const struct db_statement many = {
                .name = "many", .sql = "select generate_series(1, $1::int)", .rows = DB_MANY, .decode = decode_int};
        _cleanup_db_ struct db *db = pg_db(&pg);
        int64_t value = 0;
        assert_int_equal(db_run(db, db_query(&one, &value, DB_INT(0)), NULL), -ENOENT);
        assert_int_equal(db_run(db, db_query(&one, &value, DB_INT(1)), NULL), 0);
        assert_int_equal(db_run(db, db_query(&one, &value, DB_INT(2)), NULL), -EPROTO);
        assert_int_equal(db_run(db, db_query(&maybe, &value, DB_INT(0)), NULL), 0);
        assert_int_equal(db_run(db, db_query(&maybe, &value, DB_INT(2)), NULL), -EPROTO);
        assert_int_equal(db_run(db, db_query(&many, &value, DB_INT(3)), NULL), 0);
        assert_int_equal(value, 3);
}

static void sqlstate_decides_the_code(void **state _unused_)
{
        static const struct db_statement insert = {
                .name = "insert_thing", .sql = "insert into thing values (1, 'a')", .rows = DB_NO_ROWS};
        static const struct db_statement number = {
                .name = "number", .sql = "select $1::text::int", .rows = DB_ONE, .decode = decode_int};
        static const struct db_statement nowhere = {
                .name = "nowhere", .sql = "select 1 from nowhere", .rows = DB_ONE, .decode = decode_int};
        _cleanup_error_ struct error error = ERROR_NULL;
        _cleanup_db_ struct db *db = pg_db(&pg);
        int64_t value = 0;
        assert_int_equal(db_run(db, (struct db_query){.statement = &insert}, NULL), 0);
        assert_int_equal(db_run(db, (struct db_query){.statement = &insert}, NULL), -EEXIST);
        assert_int_equal(db_run(db, db_query(&number, &value, DB_TEXT("x")), NULL), -EINVAL);
        assert_int_equal(db_run(db, (struct db_query){.statement = &nowhere, .receiver = &value}, &error), -EIO);
        assert_non_null(strstr(error_text(&error), "42P01"));
        assert_non_null(strstr(error_text(&error), "nowhere"));
        assert_int_equal(db_run(db, db_query(&number, &value, DB_TEXT("5")), NULL), 0);
}

static void a_lost_race_is_run_again(void **state _unused_)
{
        static const struct db_statement statement = {
                .name = "third_time",
                .sql = "select raise_until($1::int)",
                .rows = DB_ONE,
                .decode = decode_int,
                .retry = "23505",
        };
        pg_exec(&pg, "create sequence tries");
        pg_exec(&pg, "create function raise_until(n int) returns int language plpgsql as $$ begin"
                     " if nextval('tries') < n then raise exception 'not yet' using errcode = '23505'; end if;"
                     " return n; end $$");
        _cleanup_db_ struct db *db = pg_db(&pg);
        int64_t value = 0;
        assert_int_equal(db_run(db, db_query(&statement, &value, DB_INT(3)), NULL), 0);
        assert_int_equal(value, 3);
        assert_int_equal(pg_number(&pg, "select last_value from tries"), 3);
        /* not for ever, and not inside a transaction */
        assert_int_equal(db_run(db, db_query(&statement, &value, DB_INT(1000)), NULL), -EEXIST);
        assert_int_equal(pg_number(&pg, "select last_value from tries"), 13);
        assert_int_equal(db_exec(db, "begin", NULL), 0);
        assert_int_equal(db_run(db, db_query(&statement, &value, DB_INT(1000)), NULL), -EEXIST);
        assert_int_equal(db_exec(db, "rollback", NULL), 0);
        assert_int_equal(pg_number(&pg, "select last_value from tries"), 14);
}

static void a_broken_connection_is_told_and_made_again(void **state _unused_)
{
        static const struct db_statement statement = {
                .name = "seven", .sql = "select 7", .rows = DB_ONE, .decode = decode_int};
        _cleanup_db_ struct db *db = pg_db(&pg);
        int64_t value = 0;
        assert_int_equal(db_run(db, (struct db_query){.statement = &statement, .receiver = &value}, NULL), 0);
        pg_exec(&pg, "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'test'");
        assert_int_equal(db_run(db, (struct db_query){.statement = &statement, .receiver = &value}, NULL), -ENOTCONN);
        assert_int_equal(db_run(db, (struct db_query){.statement = &statement, .receiver = &value}, NULL), -ENOTCONN);
        assert_int_equal(db_reopen(db, PG_PATIENCE_MS, NULL), 0);
        value = 0;
        assert_int_equal(db_run(db, (struct db_query){.statement = &statement, .receiver = &value}, NULL), 0);
        assert_int_equal(value, 7);
}

static void scripts_and_locks(void **state _unused_)
{
        _cleanup_db_ struct db *one = pg_db(&pg), *two = pg_db(&pg);
        bool held = false;
        assert_int_equal(db_exec(one, "create table script (n int); insert into script values (1)", NULL), 0);
        assert_int_equal(db_exec(one, "begin; insert into script values (2); select 1/0; commit", NULL), -EINVAL);
        assert_int_equal(pg_number(&pg, "select count(*) from script"), 1);
        assert_int_equal(db_exec(one, "insert into script values (3)", NULL), 0);
        assert_int_equal(pg_number(&pg, "select count(*) from script"), 2);
        assert_int_equal(db_lock(one, 42, &held, NULL), 0);
        assert_true(held);
        assert_int_equal(db_lock(two, 42, &held, NULL), 0);
        assert_false(held);
        one = db_close(one);
        pg_wait_for(&pg, "select count(*) from pg_locks where locktype = 'advisory'", "0");
        assert_int_equal(db_lock(two, 42, &held, NULL), 0);
        assert_true(held);
}

static void a_changed_table_is_prepared_again(void **state _unused_)
{
        static const struct db_statement statement = {
                .name = "all_columns", .sql = "select * from changing", .rows = DB_ONE, .decode = decode_object};
        _cleanup_db_ struct db *db = pg_db(&pg);
        json_t *value = NULL;
        pg_exec(&pg, "create table changing (a int); insert into changing values (1)");
        assert_int_equal(db_run(db, (struct db_query){.statement = &statement, .receiver = &value}, NULL), 0);
        pg_exec(&pg, "alter table changing add b int default 2");
        assert_int_equal(db_run(db, (struct db_query){.statement = &statement, .receiver = &value}, NULL), 0);
        assert_int_equal(json_object_size(value), 2);
        json_decref(value);
}

static void no_server_no_connection(void **state _unused_)
{
        _cleanup_error_ struct error error = ERROR_NULL;
        struct db *db;
        assert_int_equal(db_open("host=/nonexistent-directory password=hidden", "test", &db, &error), -ENOTCONN);
        assert_null(db);
        assert_null(strstr(error_text(&error), "hidden"));
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(types_of_an_object),
                cmocka_unit_test(parameters_arrive),
                cmocka_unit_test(rows_are_counted),
                cmocka_unit_test(sqlstate_decides_the_code),
                cmocka_unit_test(a_lost_race_is_run_again),
                cmocka_unit_test(a_broken_connection_is_told_and_made_again),
                cmocka_unit_test(scripts_and_locks),
                cmocka_unit_test(a_changed_table_is_prepared_again),
                cmocka_unit_test(no_server_no_connection),
        };
        return cmocka_run_group_tests(tests, open_pg, close_pg);
}
