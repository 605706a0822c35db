/* The schema: applied once, found again, refused when it is newer or of another table; and another table's name works.
 */
#include "rig.h"

#include <errno.h>

#include "base/file.h"
#include "config/config.h"
#include "lab/schema.h"
#include "lab/settings.h"

static struct pg pg;

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

static struct config *config_with(const char *table)
{
        _cleanup_buf_ struct buf problems = BUF_NULL;
        _cleanup_free_ char *set = xasprintf("db.table_name=%s", table);
        const char *sets[] = {set, NULL}, *environment[] = {NULL};
        _cleanup_free_ char *file = path_join(pg.directory, "config.yaml");
        assert_int_equal(file_write(file, "", 0, 0600, NULL), 0);
        struct config_input input = {.file = file, .sets = sets, .state_dir = pg.directory, .environment = environment};
        struct config *config;
        if (config_load(&input, &config, &problems) < 0)
                fail_msg("%s", buf_str(&problems));
        return config;
}

static void fresh_database(void)
{
        pg_exec(&pg, "drop schema public cascade");
        pg_exec(&pg, "create schema public");
}

static void is_made_once(void **state _unused_)
{
        struct config *config = config_with("vms");
        _cleanup_error_ struct error error = ERROR_NULL;
        _cleanup_db_ struct db *db = pg_db(&pg);
        pg_fine(schema_migrate(db, config, &error), &error);
        pg_fine(schema_migrate(db, config, &error), &error);
        assert_int_equal(pg_number(&pg, "select max(number) from schema_migrations"), schema_version());
        assert_int_equal(pg_number(&pg, "select count(*) from pg_tables where tablename = 'vms'"), 1);
        config_free(config);
}

static void a_newer_one_is_refused(void **state _unused_)
{
        struct config *config = config_with("vms");
        _cleanup_error_ struct error error = ERROR_NULL;
        _cleanup_db_ struct db *db = pg_db(&pg);
        pg_exec(&pg, "insert into schema_migrations (number, name) values (9999, 'future')");
        assert_int_equal(schema_migrate(db, config, &error), -EPROTO);
        assert_non_null(strstr(error_text(&error), "9999"));
        pg_exec(&pg, "delete from schema_migrations where number = 9999");
        pg_fine(schema_migrate(db, config, &error), &error);
        config_free(config);
}

static void a_changed_table_name_is_refused(void **state _unused_)
{
        struct config *config = config_with("machines");
        _cleanup_error_ struct error error = ERROR_NULL;
        _cleanup_db_ struct db *db = pg_db(&pg);
        assert_int_equal(schema_migrate(db, config, &error), -EINVAL);
        assert_non_null(strstr(error_text(&error), "vms"));
        assert_non_null(strstr(error_text(&error), "machines"));
        config_free(config);
}

/* A launch takes back its own row only: never one that came by its own word under the same name, never a taken seat. */
static void a_launch_takes_back_its_own_rows_only(void **state _unused_)
{
        struct config *config = config_with("vms");
        _cleanup_error_ struct error error = ERROR_NULL;
        struct flag_answer made = {0};
        fresh_database();
        _cleanup_db_ struct db *db = pg_db(&pg);
        pg_fine(schema_migrate(db, config, &error), &error);
        pg_exec(&pg, "insert into vms (hostname, status) values ('vm-1', 'running')");
        pg_fine(db_run(db, vm_name("vm-1", "ours", &made), &error), &error);
        assert_false(made.yes);
        pg_fine(db_run(db, vm_unname("vm-1", "ours"), &error), &error);
        assert_int_equal(pg_number(&pg, "select count(*) from vms"), 1);
        pg_fine(db_run(db, vm_name("vm-2", "ours", &made), &error), &error);
        assert_true(made.yes);
        made.yes = false;
        pg_fine(db_run(db, vm_name("vm-2", "ours", &made), &error), &error); /* its first answer was lost */
        assert_true(made.yes);
        pg_exec(&pg, "update vms set email = 'a@b', crd_command = 'c', pin = '123456' where hostname = 'vm-2'");
        pg_fine(db_run(db, vm_unname("vm-2", NULL), &error), &error);
        assert_int_equal(pg_number(&pg, "select count(*) from vms"), 2);
        pg_exec(&pg, "update vms set email = null, crd_command = null, pin = null");
        pg_fine(db_run(db, vm_unname("vm-2", "ours"), &error), &error);
        assert_int_equal(pg_number(&pg, "select count(*) from vms"), 1);
        config_free(config);
}

/* The statements say vms; a table of another name is reached through a view of that name. */
static void another_table_name_works(void **state _unused_)
{
        struct config *config = config_with("Machines2");
        struct seat seat = {0};
        _cleanup_error_ struct error error = ERROR_NULL;
        struct flag_answer made = {0};
        struct vm_list gone = {.array = json_array()}, rows = {.array = json_array()};
        fresh_database();
        _cleanup_db_ struct db *db = pg_db(&pg);
        pg_fine(schema_migrate(db, config, &error), &error);
        assert_int_equal(pg_number(&pg, "select count(*) from pg_tables where tablename = 'Machines2'"), 1);
        pg_fine(db_run(db, vm_name("vm-1", "hash", &made), &error), &error);
        assert_true(made.yes);
        pg_exec(&pg, "update vms set status = 'running'");
        pg_fine(db_run(db, seat_claim("a@b", "cmd", "123456", &seat), &error), &error);
        assert_true(seat.found);
        assert_string_equal(seat.hostname, "vm-1");
        pg_fine(db_run(db, vm_silence(), &error), &error);
        pg_fine(db_run(db, vm_rows(NULL, &rows), &error), &error);
        assert_int_equal(json_array_size(rows.array), 1);
        struct release_answer released = {.outcome = RELEASE_UNKNOWN_VM};
        pg_fine(db_run(db, seat_release("vm-1", "admin", "key", &released), &error), &error);
        assert_int_equal(released.outcome, RELEASE_DONE);
        pg_fine(db_run(db, seat_release("vm-1", "admin", "key", &released), &error), &error);
        assert_int_equal(released.outcome, RELEASE_REPEATED);
        pg_fine(db_run(db, seat_release("vm-1", "admin", NULL, &released), &error), &error);
        assert_int_equal(released.outcome, RELEASE_NO_SEAT);
        pg_fine(db_run(db, vm_retire(NULL, &gone), &error), &error);
        assert_int_equal(json_array_size(gone.array), 1);
        assert_int_equal(pg_number(&pg, "select count(*) from \"Machines2\""), 0);
        seat_deinit(&seat);
        json_decref(gone.array);
        json_decref(rows.array);
        config_free(config);
}

static void the_channel_is_the_settings(void **state _unused_)
{
        _cleanup_free_ char *body = pg_value(&pg, "select prosrc from pg_proc where proname = 'lablink_vm_notify'");
        assert_non_null(strstr(body, "pg_notify('vm_updates'"));
}

static void settings_are_kept(void **state _unused_)
{
        struct json_answer answer = {0};
        _cleanup_error_ struct error error = ERROR_NULL;
        _cleanup_db_ struct db *db = pg_db(&pg);
        pg_fine(db_run(db, setting_get("provider", &answer), &error), &error);
        assert_null(answer.value);
        pg_fine(db_run(db, setting_put("provider", "{\"a\": 1}"), &error), &error);
        pg_fine(db_run(db, setting_put("provider", "{\"a\": 2}"), &error), &error);
        pg_fine(db_run(db, setting_get("provider", &answer), &error), &error);
        assert_int_equal(json_integer_value(json_object_get(answer.value, "a")), 2);
        json_decref(answer.value);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(is_made_once),
                cmocka_unit_test(a_newer_one_is_refused),
                cmocka_unit_test(a_changed_table_name_is_refused),
                cmocka_unit_test(another_table_name_works),
                cmocka_unit_test(a_launch_takes_back_its_own_rows_only),
                cmocka_unit_test(the_channel_is_the_settings),
                cmocka_unit_test(settings_are_kept),
        };
        return cmocka_run_group_tests(tests, open_pg, close_pg);
}
