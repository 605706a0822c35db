/*
 * The table of the life of a VM and its seat against PostgreSQL: a row in every state, every event by its statement, and
 * what comes out must be what life_after() says. And docs/life.md is what the table prints.
 */
#include "rig.h"

#include <stdio.h>

#include "base/file.h"
#include "base/text.h"
#include "lab/life.h"
#include "lab/report.h"

#define NAME "vm-1"

/* --- states -------------------------------------------------------------------------------------------------------- */

static void put(struct life_state state)
{
        lab_empty(&lab);
        if (state.machine == MACHINE_GONE)
                return;
        bool held = state.seat == SEAT_HELD;
        lab_exec(&lab,
                 "insert into vms (hostname, status, reported_status, email, crd_command, pin, needs_reset, generation)"
                 " values ('" NAME "', '%s', '%s', %s, %s, %s, %s, 5)",
                 machine_name(state.machine), machine_name(state.reported), held ? "'old@example.org'" : "null",
                 held ? "'old command'" : "null", held ? "'111111'" : "null",
                 state.seat == SEAT_USED ? "true" : "false");
        lab_exec(&lab, "insert into vm_presence (vm_id, heartbeat_at) select id, now() from vms");
}

static enum machine machine_of(const char *status)
{
        enum machine machine = MACHINE_GONE;
        while (machine < N_MACHINES && !str_eq(machine_name(machine), status))
                machine++;
        return machine;
}

static struct life_state look(int64_t *generation)
{
        struct life_state state = {MACHINE_GONE, SEAT_FREE, MACHINE_GONE};
        PGresult *result = PQexec(db_raw(lab.db),
                                  "select status, email, needs_reset, generation, crd_command, pin from vms");
        *generation = 5;
        if (PQntuples(result) == 1) {
                state.machine = machine_of(PQgetvalue(result, 0, 0));
                bool held = !PQgetisnull(result, 0, 1), used = PQgetvalue(result, 0, 2)[0] == 't';
                assert_false(held && used);
                assert_true(held != PQgetisnull(result, 0, 4) && held != PQgetisnull(result, 0, 5));
                state.seat = held ? SEAT_HELD : used ? SEAT_USED : SEAT_FREE;
                *generation = strtoll(PQgetvalue(result, 0, 3), NULL, 10);
        } else {
                assert_int_equal(PQntuples(result), 0);
        }
        PQclear(result);
        return state;
}

/* --- events -------------------------------------------------------------------------------------------------------- */

static void report(const struct batch_kind *kind, json_t *item, bool there)
{
        _cleanup_error_ struct error error = ERROR_NULL;
        struct report_answer answer = {0};
        json_t *items = json_array();
        json_array_append_new(items, report_proven(item));
        pg_fine(lab_batch(&lab, kind->statement, items, &answer, sizeof answer, &error), &error);
        assert_int_equal(answer.found, there);
}

static void play_word(int which, bool there)
{
        switch (which) {
        case 0:
                report(&report_kind, report_heartbeat(NAME, "boot", 5, 1), there);
                break;
        case 1:
                report(&report_kind, report_in_use(NAME, true), there);
                break;
        case 2:
                report(&report_kind, report_health(NAME, HEALTH_HEALTHY), there);
                break;
        case 3:
                report(&report_kind, report_seen(NAME), there);
                break;
        default:
                report(&metrics_kind, report_metrics(NAME, json_pack("{s:i}", "x", 1)), there);
        }
}
#define N_WORDS 5

/* As reconcile does: a VM that was released is made anew. */
static void play_reset(void)
{
        struct vm_list rows = {.array = json_array()};
        lab_run(&lab, vm_inventory(&rows));
        json_t *row = json_array_get(rows.array, 0);
        if (json_is_true(json_object_get(row, "needs_reset"))) {
                lab_run(&lab, vm_new_token(NAME, "hash"));
                lab_run(&lab, vm_reset_done(NAME));
        }
        json_decref(rows.array);
}

static void play_claim(void)
{
        struct seat seat = {0};
        lab_run(&lab, seat_claim("new@example.org", "new command", "222222", &seat));
        seat_deinit(&seat);
}

static void play_destroy(void)
{
        struct vm_list gone = {.array = json_array()};
        lab_run(&lab, vm_retire(NAME, &gone));
        json_decref(gone.array);
}

static void play(enum event event, int variant, bool there)
{
        struct flag_answer flag = {0};
        struct release_answer released = {0};
        switch (event) {
        case EVENT_LAUNCH:
                lab_run(&lab, vm_name(NAME, "hash", &flag));
                assert_int_equal(flag.yes, !there);
                break;
        case EVENT_REPORT_INITIALIZING:
        case EVENT_REPORT_RUNNING:
        case EVENT_REPORT_AVAILABLE:
        case EVENT_REPORT_ERROR:
                report(&report_kind, report_status(NAME, machine_name(life_rules[event].machine)), there);
                break;
        case EVENT_WORD:
                play_word(variant, there);
                break;
        case EVENT_CLAIM:
                play_claim();
                break;
        case EVENT_SILENCE:
                lab_exec(&lab, "update vm_presence set last_seen = now() - interval '91 seconds'");
                lab_run(&lab, vm_silence());
                break;
        case EVENT_MISSING:
                lab_run(&lab, vm_missing(NAME));
                break;
        case EVENT_RELEASE:
                lab_run(&lab, seat_release(NAME, "admin", NULL, &released));
                break;
        case EVENT_RESET:
                play_reset();
                break;
        case EVENT_DESTROY:
                play_destroy();
                break;
        case N_EVENTS:
                break;
        }
}

static void check_cell(struct life_state before, enum event event, int variant)
{
        int64_t generation;
        put(before);
        play(event, variant, before.machine != MACHINE_GONE);
        struct life_state wanted = life_after(before, event), after = look(&generation);
        if (after.machine != wanted.machine || after.seat != wanted.seat)
                fail_msg("%s, %s (reported %s): \"%s\" gives %s, %s instead of %s, %s", machine_name(before.machine),
                         seat_name(before.seat), machine_name(before.reported), life_rules[event].name,
                         machine_name(after.machine), seat_name(after.seat), machine_name(wanted.machine),
                         seat_name(wanted.seat));
        bool grows = before.seat != after.seat && (event == EVENT_CLAIM || event == EVENT_RELEASE);
        if (after.machine != MACHINE_GONE && before.machine != MACHINE_GONE)
                assert_int_equal(generation, 5 + grows);
        if (event == EVENT_DESTROY && before.machine != MACHINE_GONE)
                lab_expect(&lab, "1", "select count(*) from retired_hostnames where hostname = '" NAME "'");
}

static void check_state(struct life_state state)
{
        for (enum event event = 0; event < N_EVENTS; event++)
                for (int variant = 0; variant < (event == EVENT_WORD ? N_WORDS : 1); variant++)
                        check_cell(state, event, variant);
}

static void every_event_in_every_state(void **unused _unused_)
{
        static const enum machine reported[] = {MACHINE_INITIALIZING, MACHINE_RUNNING, MACHINE_AVAILABLE, MACHINE_ERROR,
                                                MACHINE_UNKNOWN};
        check_state((struct life_state){MACHINE_GONE, SEAT_FREE, MACHINE_GONE});
        for (enum machine m = MACHINE_INITIALIZING; m < N_MACHINES; m++)
                for (enum seat_state s = 0; s < N_SEATS; s++)
                        for (size_t i = 0; i < ARRAY_SIZE(reported); i++)
                                if (m == MACHINE_UNKNOWN || reported[i] == m)
                                        check_state((struct life_state){m, s, reported[i]});
}

/* A launched machine that sent heartbeats, never a status, and fell silent: its next word brings it back. */
static void never_reported(void **unused _unused_)
{
        struct flag_answer made = {0};
        lab_empty(&lab);
        lab_run(&lab, vm_name(NAME, "hash", &made));
        report(&report_kind, report_heartbeat(NAME, NULL, -1, -1), true);
        lab_exec(&lab, "update vm_presence set last_seen = now() - interval '91 seconds'");
        lab_run(&lab, vm_silence());
        lab_expect(&lab, "unknown", "select status from vms");
        report(&report_kind, report_heartbeat(NAME, NULL, -1, -1), true);
        lab_expect(&lab, "initializing", "select status from vms");
}

static void only_heartbeats_fall_silent(void **unused _unused_)
{
        lab_empty(&lab);
        lab_add_vm(&lab, NAME);
        report(&report_kind, report_status(NAME, "running"), true);
        lab_exec(&lab, "update vm_presence set last_seen = now() - interval '1 day'");
        lab_run(&lab, vm_silence());
        lab_expect(&lab, "running", "select status from vms");
}

static void a_late_word_of_a_destroyed_vm(void **unused _unused_)
{
        struct flag_answer flag = {0};
        lab_empty(&lab);
        lab_add_vm(&lab, NAME);
        play_destroy();
        report(&report_kind, report_status(NAME, "running"), false);
        lab_run(&lab, vm_introduce(NAME, &flag));
        assert_false(flag.yes);
        lab_expect(&lab, "0", "select count(*) from vms");
        lab_run(&lab, vm_introduce("vm-2", &flag));
        assert_true(flag.yes);
        lab_run(&lab, vm_name(NAME, "hash", &flag));
        assert_true(flag.yes);
        lab_run(&lab, vm_introduce(NAME, &flag));
        assert_true(flag.yes);
        lab_expect(&lab, "0", "select count(*) from retired_hostnames");
}

static void page_is_current(void **unused _unused_)
{
        _cleanup_buf_ struct buf printed = BUF_NULL, page = BUF_NULL;
        const char *path = PROJECT_ROOT "/docs/life.md";
        life_reference(&printed);
        if (getenv("LABLINK_WRITE_DOCS"))
                assert_int_equal(file_write(path, printed.data, printed.len, 0644, NULL), 0);
        assert_int_equal(file_read(path, 1000000, &page, NULL), 0);
        if (strcmp(buf_str(&page), buf_str(&printed)) != 0)
                fail_msg("docs/life.md is not what the table prints; LABLINK_WRITE_DOCS=1 writes it");
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(every_event_in_every_state),
                cmocka_unit_test(never_reported),
                cmocka_unit_test(only_heartbeats_fall_silent),
                cmocka_unit_test(a_late_word_of_a_destroyed_vm),
                cmocka_unit_test(page_is_current),
        };
        return cmocka_run_group_tests(tests, lab_set_up, lab_tear_down);
}
