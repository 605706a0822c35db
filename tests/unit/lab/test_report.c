/* What VMs say of themselves, many at once: what each word changes and what it leaves, and metrics as they come. */
#include "rig.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>

#include "base/text.h"
#include "lab/report.h"

static int empty_lab(void **state _unused_)
{
        lab_empty(&lab);
        lab_add_vm(&lab, "vm-1");
        return 0;
}

static void say(json_t *item)
{
        _cleanup_error_ struct error error = ERROR_NULL;
        struct report_answer answer = {0};
        json_t *items = json_array();
        json_array_append_new(items, report_proven(item));
        pg_fine(lab_batch(&lab, report_kind.statement, items, &answer, sizeof answer, &error), &error);
        assert_true(answer.found && answer.allowed);
}

static void each_word_changes_its_own(void **state _unused_)
{
        const char *all =
                "select status || '|' || left(in_use::text, 1) || '|' || coalesce(healthy::text, 'null') from vms";
        lab_expect(&lab, "running|f|null", "%s", all);
        say(report_in_use("vm-1", true));
        lab_expect(&lab, "running|t|null", "%s", all);
        say(report_health("vm-1", HEALTH_UNHEALTHY));
        lab_expect(&lab, "running|t|false", "%s", all);
        say(report_health("vm-1", HEALTH_HEALTHY));
        say(report_status("vm-1", "error"));
        lab_expect(&lab, "error|t|true", "%s", all);
        say(report_health("vm-1", HEALTH_NO_GPU));
        say(report_in_use("vm-1", false));
        lab_expect(&lab, "error|f|null", "%s", all);
        lab_expect(&lab, "error", "select reported_status from vms");
        lab_expect(&lab, "", "select heartbeat_at from vm_presence"); /* none of these is a heartbeat */
}

static void heartbeats_keep_what_they_do_not_say(void **state _unused_)
{
        const char *all = "select concat_ws('|', boot_id, carried_generation, uptime_seconds, heartbeat_at is not null)"
                          " from vm_presence";
        say(report_seen("vm-1"));
        lab_expect(&lab, "f", "%s", all);
        say(report_heartbeat("vm-1", "boot-1", 3, 12.5));
        lab_expect(&lab, "boot-1|3|12.5|t", "%s", all);
        say(report_heartbeat("vm-1", NULL, -1, -1));
        lab_expect(&lab, "boot-1|3|12.5|t", "%s", all);
        say(report_heartbeat("vm-1", "boot-2", 0, 0));
        lab_expect(&lab, "boot-2|0|0|t", "%s", all);
        lab_exec(&lab, "update vm_presence set last_seen = now() - interval '1 hour'");
        say(report_seen("vm-1"));
        lab_expect(&lab, "t", "select last_seen > now() - interval '1 minute' from vm_presence");
}

/* A word that says nothing new leaves the row as it is: no dashboard is told, nobody is woken. */
static void nothing_new_touches_nothing(void **state _unused_)
{
        say(report_status("vm-1", "running"));
        _cleanup_free_ char *before = lab_value(&lab, "select xmin || '|' || changed_xid from vms");
        say(report_status("vm-1", "running"));
        say(report_in_use("vm-1", false));
        say(report_heartbeat("vm-1", "boot", 1, 1));
        lab_expect(&lab, before, "select xmin || '|' || changed_xid from vms");
        say(report_status("vm-1", "available"));
        _cleanup_free_ char *after = lab_value(&lab, "select xmin || '|' || changed_xid from vms");
        assert_string_not_equal(after, before);
}

static void assigned_is_shown_for_a_held_seat(void **state _unused_)
{
        struct vm_brief brief = {0};
        lab_exec(&lab, "update vms set email = 'a@b', crd_command = 'c', pin = '1'");
        static const char *const pairs[][2] = {{"running", "assigned"},
                                               {"available", "assigned"},
                                               {"error", "error"},
                                               {"initializing", "initializing"},
                                               {"unknown", "unknown"}};
        for (size_t i = 0; i < ARRAY_SIZE(pairs); i++) {
                say(report_status("vm-1", pairs[i][0]));
                lab_run(&lab, vm_brief("vm-1", &brief));
                assert_true(brief.found && brief.held);
                assert_string_equal(brief.status, pairs[i][1]);
        }
}

static void many_vms_in_one_statement(void **state _unused_)
{
        enum { N = 250 };
        static struct report_answer answers[N + 1];
        json_t *items = json_array();
        lab_exec(&lab, "insert into vms (hostname) select 'many-' || i from generate_series(1, %d) i", N);
        for (int i = N; i >= 1; i--) {
                _cleanup_free_ char *name = xasprintf("many-%d", i);
                json_array_append_new(items, report_proven(report_status(name, i % 2 ? "running" : "error")));
        }
        json_array_append_new(items, report_status("nobody", "running"));
        assert_int_equal(lab_batch(&lab, report_kind.statement, items, answers, sizeof answers[0], NULL), 0);
        for (int i = 0; i < N; i++)
                assert_true(answers[i].found);
        assert_false(answers[N].found);
        lab_expect(&lab, "125", "select count(*) from vms where hostname like 'many-%%' and status = 'error'");
}

/* --- at once ------------------------------------------------------------------------------------------------------- */

struct reporter {
        pthread_t thread;
        struct db *db;
        int number, failures;
};

/* Overlapping batches in every order, beside log lines and claims. */
static void *reporter_main(void *argument)
{
        struct reporter *r = argument;
        static const struct db_statement lines = {
                .name = "test_lines",
                .sql = "insert into vm_presence (vm_id) select id from vms order by id"
                       " on conflict (vm_id) do update set last_seen = now()",
                .rows = DB_NO_ROWS};
        for (int round = 0; round < 60; round++) {
                json_t *items = json_array();
                for (int i = 0; i < 20; i++) {
                        int vm = r->number % 2 ? i : 19 - i;
                        _cleanup_free_ char *name = xasprintf("vm-%d", vm);
                        json_t *item = r->number ? report_proven(report_in_use(name, round % 2))
                                                 : report_metrics(name, json_pack("{s:i}", "n", round));
                        json_object_set_new(item, "ord", json_integer(i));
                        json_array_append_new(items, item);
                }
                _cleanup_free_ char *text = json_text(items);
                json_decref(items);
                const struct db_statement *statement = r->number == 0 ? metrics_kind.statement : report_kind.statement;
                struct db_query query = r->number == 5 ? (struct db_query){.statement = &lines}
                                                       : db_query(statement, NULL, DB_TEXT(text));
                if (db_run(r->db, query, NULL) < 0)
                        r->failures++;
        }
        return NULL;
}

static void overlapping_batches_do_not_deadlock(void **state _unused_)
{
        struct reporter reporters[6] = {0};
        lab_exec(&lab,
                 "insert into vms (hostname) select 'vm-' || i from generate_series(0, 19) i on conflict do nothing");
        for (int i = 0; i < 6; i++) {
                reporters[i] = (struct reporter){.db = pg_db(&lab.pg), .number = i};
                assert_int_equal(pthread_create(&reporters[i].thread, NULL, reporter_main, &reporters[i]), 0);
        }
        for (int i = 0; i < 6; i++) {
                assert_int_equal(pthread_join(reporters[i].thread, NULL), 0);
                assert_int_equal(reporters[i].failures, 0);
                db_close(reporters[i].db);
        }
        lab_expect(&lab, "0", "select deadlocks from pg_stat_database where datname = current_database()");
}

/* --- metrics ------------------------------------------------------------------------------------------------------- */

static json_t *checked(const char *json)
{
        _cleanup_error_ struct error error = ERROR_NULL;
        _cleanup_json_ json_t *body = json_loads(json, JSON_ALLOW_NUL, NULL);
        json_t *metrics = NULL;
        assert_non_null(body);
        if (metrics_check(body, &metrics, &error) < 0)
                fail_msg("%s: %s", json, error_text(&error));
        return metrics;
}

static void expect_checked(const char *json, const char *wanted)
{
        _cleanup_json_ json_t *metrics = checked(json), *other = json_loads(wanted, 0, NULL);
        if (!json_equal(metrics, other)) {
                _cleanup_free_ char *text = json_text(metrics);
                fail_msg("%s became %s", json, text);
        }
}

static void metrics_as_they_come(void **state _unused_)
{
        expect_checked("{\"cloud_init_start\": 1764041422}", "{\"cloud_init_start\": \"2025-11-25T03:30:22.000Z\"}");
        expect_checked("{\"cloud_init_start\": \"1764041422.5\"}",
                       "{\"cloud_init_start\": \"2025-11-25T03:30:22.500Z\"}");
        expect_checked("{\"cloud_init_start\": \"2025-11-25T04:30:22+01:00\"}",
                       "{\"cloud_init_start\": \"2025-11-25T03:30:22.000Z\"}");
        expect_checked(
                "{\"hostname\": \"x\", \"mine\": {\"deep\": [1, null]}, \"cloud_init_duration_seconds\": \"12.5\"}",
                "{\"mine\": {\"deep\": [1, null]}, \"cloud_init_duration_seconds\": 12.5}");
        expect_checked(
                "{\"container_start\": 1764041422, \"container_ready\": 1764041432}",
                "{\"container_start\": \"2025-11-25T03:30:22.000Z\", \"container_ready\": \"2025-11-25T03:30:32.000Z\","
                " \"container_startup_duration_seconds\": 10.0}");
}

static void nonsense_is_refused(void **state _unused_)
{
        static const char *const bad[] = {
                "{}",
                "{\"cloud_init_start\": true}",
                "{\"cloud_init_start\": \"yesterday\"}",
                "{\"cloud_init_start\": 1764041422000}",
                "{\"cloud_init_start\": -1}",
                "{\"cloud_init_start\": null}",
                "{\"cloud_init_duration_seconds\": -1}",
                "{\"cloud_init_duration_seconds\": \"12 s\"}",
                "{\"cloud_init_duration_seconds\": {}}",
                "{\"mine\": \"a\\u0000b\"}",
                "{\"mine\": [{\"x\": \"a\\u0000\"}]}",
        };
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
                _cleanup_error_ struct error error = ERROR_NULL;
                _cleanup_json_ json_t *body = json_loads(bad[i], JSON_ALLOW_NUL, NULL);
                json_t *metrics = NULL;
                assert_non_null(body);
                if (metrics_check(body, &metrics, &error) != -EINVAL)
                        fail_msg("%s was taken", bad[i]);
                assert_true(strlen(error_text(&error)) > 10);
        }
}

static void measure(const char *json)
{
        struct report_answer answer = {0};
        json_t *items = json_array();
        json_array_append_new(items, report_metrics("vm-1", checked(json)));
        assert_int_equal(lab_batch(&lab, metrics_kind.statement, items, &answer, sizeof answer, NULL), 0);
        assert_true(answer.found);
}

static void metrics_are_merged_and_summed(void **state _unused_)
{
        measure("{\"mine\": 1}");
        lab_expect(&lab, "", "select total_startup_time_seconds from vms");
        measure("{\"cloud_init_duration_seconds\": 20, \"mine\": 2}");
        lab_expect(&lab, "20", "select round(total_startup_time_seconds) from vms");
        lab_run(&lab, vm_made("vm-1", 1000, 1100.25));
        lab_expect(&lab, "100.250|120.25",
                   "select terraform_timing_seconds || '|' || round(total_startup_time_seconds, 2) from vms");
        measure("{\"container_startup_duration_seconds\": 5}");
        lab_expect(&lab, "125.25", "select round(total_startup_time_seconds, 2) from vms");
        lab_expect(&lab, "2", "select metrics->>'mine' from vms");
}

/* The statement looks at the secret itself: a wrong one changes nothing, and holds no right one up beside it. */
static void a_word_is_taken_from_the_vm_alone(void **state _unused_)
{
        static const struct {
                const char *hostname, *proof;
                bool demanded, found, allowed;
        } words[] = {
                {"vm-1", "wrong", true, true, false}, {"vm-1", NULL, true, true, false},
                {"vm-1", NULL, false, true, false},   {"vm-1", "right", true, true, true},
                {"vm-2", NULL, true, true, false},    {"vm-3", "any", true, true, false},
                {"vm-4", NULL, false, true, true},    {"vm-9", "right", true, false, false},
        };
        struct report_answer answers[ARRAY_SIZE(words) + 1] = {0};
        _cleanup_error_ struct error error = ERROR_NULL;
        json_t *items = json_array();
        for (int i = 2; i <= 4; i++)
                lab_add_vm(&lab, (char[]){'v', 'm', '-', (char)('0' + i), '\0'});
        lab_exec(&lab, "update vms set token_hash = 'right', status = 'initializing' where hostname = 'vm-1'");
        for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
                json_t *item = report_status(words[i].hostname, words[i].allowed ? "available" : "error");
                json_array_append_new(items, report_with_proof(item, words[i].proof, words[i].demanded));
        }
        json_array_append_new(items, report_status("vm-2", "error")); /* of whom nothing was said */
        pg_fine(lab_batch(&lab, report_kind.statement, items, answers, sizeof answers[0], &error), &error);
        for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
                assert_int_equal(answers[i].found, words[i].found);
                assert_int_equal(answers[i].allowed, words[i].allowed);
        }
        assert_true(answers[ARRAY_SIZE(words)].found && !answers[ARRAY_SIZE(words)].allowed);
        lab_expect(&lab, "vm-1 available,vm-2 running,vm-3 running,vm-4 available",
                   "select string_agg(hostname || ' ' || status, ',' order by hostname) from vms");
        lab_expect(&lab, "vm-1,vm-4",
                   "select string_agg(hostname, ',' order by hostname)"
                   " from vms v join vm_presence p on p.vm_id = v.id");
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup(each_word_changes_its_own, empty_lab),
                cmocka_unit_test_setup(a_word_is_taken_from_the_vm_alone, empty_lab),
                cmocka_unit_test_setup(heartbeats_keep_what_they_do_not_say, empty_lab),
                cmocka_unit_test_setup(nothing_new_touches_nothing, empty_lab),
                cmocka_unit_test_setup(assigned_is_shown_for_a_held_seat, empty_lab),
                cmocka_unit_test_setup(many_vms_in_one_statement, empty_lab),
                cmocka_unit_test_setup(overlapping_batches_do_not_deadlock, empty_lab),
                cmocka_unit_test_setup(metrics_as_they_come, empty_lab),
                cmocka_unit_test_setup(nonsense_is_refused, empty_lab),
                cmocka_unit_test_setup(metrics_are_merged_and_summed, empty_lab),
        };
        return cmocka_run_group_tests(tests, lab_set_up, lab_tear_down);
}
