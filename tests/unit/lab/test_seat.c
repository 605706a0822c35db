/*
 * Claims: a class that asks twice at once, one seat a person, who comes first, who is passed over; what a VM sees of
 * it; and release.
 */
#include "rig.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/text.h"

#define CODE "the command"
#define CLASS 40

static int empty_lab(void **state _unused_)
{
        lab_empty(&lab);
        return 0;
}

static void add_vms(int n)
{
        lab_exec(&lab,
                 "insert into vms (hostname, status, created_at)"
                 " select 'vm-' || i, 'running', now() - interval '1 hour' + i * interval '1 second'"
                 " from generate_series(1, %d) i",
                 n);
}

/* The name of the seat, or "" for none. Owned by the caller. */
static char *claim(const char *email, const char *command, const char *pin)
{
        struct seat seat = {0};
        lab_run(&lab, seat_claim(email, command, pin, &seat));
        char *name = xstrdup(seat.hostname);
        if (seat.found) {
                assert_string_equal(seat.email, email);
                assert_string_equal(seat.command, command);
        }
        seat_deinit(&seat);
        return name;
}

static void expect_seat(const char *email, const char *hostname)
{
        _cleanup_free_ char *got = claim(email, CODE, "123456");
        assert_string_equal(got, hostname);
}

/* --- at once ------------------------------------------------------------------------------------------------------- */

struct claimer {
        pthread_t thread;
        struct db *db;
        int first, step;
        char hostname[2 * CLASS][256];
        int failures;
};

static void claim_until_answered(struct claimer *c, int job)
{
        char email[32];
        struct seat seat = {0};
        snprintf(email, sizeof email, "person-%d@example.org", job % CLASS);
        int64_t deadline = clock_ms() + PG_PATIENCE_MS;
        int r;
        do {
                r = db_run(c->db, seat_claim(email, CODE, "123456", &seat), NULL);
        } while (r == 0 && !seat.found && seat.more && clock_ms() < deadline);
        if (r < 0 || !seat.found)
                c->failures++;
        else
                snprintf(c->hostname[job], sizeof c->hostname[job], "%s", seat.hostname);
        seat_deinit(&seat);
}

static void *claimer_main(void *argument)
{
        struct claimer *c = argument;
        for (int job = c->first; job < 2 * CLASS; job += c->step)
                claim_until_answered(c, job);
        return NULL;
}

/* 40 people, each asking twice at the same time, on 20 connections. */
static void a_class_that_asks_twice(void **state _unused_)
{
        enum { THREADS = 20 };
        static struct claimer claimers[THREADS];
        char seats[2 * CLASS][256];
        add_vms(CLASS + 5);
        for (int i = 0; i < THREADS; i++) {
                claimers[i] = (struct claimer){.db = pg_db(&lab.pg), .first = i, .step = THREADS};
                assert_int_equal(pthread_create(&claimers[i].thread, NULL, claimer_main, &claimers[i]), 0);
        }
        for (int i = 0; i < THREADS; i++) {
                assert_int_equal(pthread_join(claimers[i].thread, NULL), 0);
                assert_int_equal(claimers[i].failures, 0);
                for (int job = i; job < 2 * CLASS; job += THREADS)
                        memcpy(seats[job], claimers[i].hostname[job], sizeof seats[job]);
                db_close(claimers[i].db);
        }
        for (int i = 0; i < CLASS; i++)
                assert_string_equal(seats[i], seats[i + CLASS]);
        lab_expect(&lab, "40", "select count(*) from vms where email is not null");
        lab_expect(&lab, "40", "select count(distinct email) from vms");
        lab_expect(&lab, "40", "select count(*) from vms where generation = 1");
}

struct asker {
        struct wish wish;
        char email[32];
        struct seat seat;
};

static int asker_start(struct task *t);

static int asker_answer(struct task *t)
{
        struct asker *a = ((struct wish *)t->state)->argument;
        return !a->seat.found && a->seat.more ? sleep_await(t, 2, asker_start) : wish_done(t);
}

static int asker_start(struct task *t)
{
        struct asker *a = ((struct wish *)t->state)->argument;
        return db_await(t, seat_claim(a->email, CODE, "123456", &a->seat), asker_answer);
}

/* The same on the web process's way: one loop, few connections. */
static void a_class_on_the_loop(void **state _unused_)
{
        static struct asker askers[2 * CLASS];
        _cleanup_error_ struct error error = ERROR_NULL;
        struct db_pool_options options = {
                .conninfo = lab.pg.conninfo, .application = "seats", .connections = 4, .deadline_ms = 60000};
        struct db_pool *pool;
        struct loop loop;
        add_vms(CLASS);
        loop_init(&loop);
        pg_fine(db_pool_new(&loop, &options, &pool, &error), &error);
        for (int i = 0; i < 2 * CLASS; i++) {
                askers[i] = (struct asker){0};
                snprintf(askers[i].email, sizeof askers[i].email, "person-%d@example.org", i % CLASS);
                wish_start(&askers[i].wish, &loop, asker_start, &askers[i]);
        }
        for (int i = 0; i < 2 * CLASS; i++)
                pg_fine(wish_wait(&askers[i].wish), &askers[i].wish.error);
        for (int i = 0; i < CLASS; i++) {
                assert_true(askers[i].seat.found);
                assert_string_equal(askers[i].seat.hostname, askers[i + CLASS].seat.hostname);
        }
        lab_expect(&lab, "40", "select count(distinct email) from vms where email is not null");
        for (int i = 0; i < 2 * CLASS; i++)
                seat_deinit(&askers[i].seat);
        db_pool_free(pool);
        loop_deinit(&loop);
}

/* --- who gets which ------------------------------------------------------------------------------------------------ */

static void the_oldest_first(void **state _unused_)
{
        add_vms(3);
        lab_exec(&lab, "update vms set created_at = now() - interval '1 day' where hostname = 'vm-3'");
        expect_seat("a@example.org", "vm-3");
        expect_seat("b@example.org", "vm-1");
        expect_seat("a@example.org", "vm-3");
        expect_seat("c@example.org", "vm-2");
        expect_seat("d@example.org", "");
        expect_seat("b@example.org", "vm-1");
}

static void who_is_passed_over(void **state _unused_)
{
        static const char *const changes[] = {
                "status = 'initializing'",
                "status = 'error'",
                "status = 'unknown'",
                "status = 'assigned'",
                "healthy = false",
                "needs_reset = true",
                "email = 'x@y', crd_command = 'c', pin = '1'",
        };
        struct count_answer count = {0};
        add_vms(1);
        lab_exec(&lab, "create temp table before as select * from vms");
        for (size_t i = 0; i < ARRAY_SIZE(changes); i++) {
                lab_exec(&lab, "update vms set %s", changes[i]);
                expect_seat("a@example.org", "");
                json_t *items = json_array();
                json_array_append_new(items, json_object());
                assert_int_equal(lab_batch(&lab, claimable_kind.statement, items, &count, sizeof count, NULL), 0);
                assert_int_equal(count.count, 0);
                lab_exec(&lab, "update vms v set status = b.status, healthy = b.healthy, needs_reset = b.needs_reset,"
                               " email = null, crd_command = null, pin = null from before b");
        }
        lab_exec(&lab, "drop table before; update vms set healthy = null");
        expect_seat("a@example.org", "vm-1");
}

/* Silence counts only for a VM that ever sent a heartbeat. */
static void silent_ones(void **state _unused_)
{
        add_vms(2);
        lab_exec(&lab,
                 "insert into vm_presence (vm_id, last_seen, heartbeat_at)"
                 " select id, now() - interval '91 seconds', case when hostname = 'vm-1' then now() end from vms");
        expect_seat("a@example.org", "vm-2");
        expect_seat("b@example.org", "");
        lab_exec(&lab, "update vm_presence set last_seen = now() - interval '80 seconds'");
        expect_seat("b@example.org", "vm-1");
}

/* While others hold every claimable row for a moment, asking again makes sense; when there is none, it does not. */
static void more_is_told(void **state _unused_)
{
        struct seat seat = {0};
        _cleanup_db_ struct db *other = pg_db(&lab.pg);
        add_vms(1);
        assert_int_equal(db_exec(other, "begin; select * from vms for update", NULL), 0);
        lab_run(&lab, seat_claim("a@example.org", CODE, "123456", &seat));
        assert_false(seat.found);
        assert_true(seat.more);
        assert_int_equal(db_exec(other, "rollback", NULL), 0);
        lab_run(&lab, seat_claim("a@example.org", CODE, "123456", &seat));
        assert_true(seat.found);
        lab_run(&lab, seat_claim("b@example.org", CODE, "123456", &seat));
        assert_false(seat.found);
        assert_false(seat.more);
        seat_deinit(&seat);
}

/* A VM's first log lines, while they are written, point at its row; a claim does not wait for them, nor pass it over. */
static void log_lines_do_not_hinder(void **state _unused_)
{
        _cleanup_db_ struct db *other = pg_db(&lab.pg);
        add_vms(1);
        assert_int_equal(db_exec(other, "begin; insert into vm_log_heads (vm_id) select id from vms", NULL), 0);
        expect_seat("a@example.org", "vm-1");
        assert_int_equal(db_exec(other, "commit", NULL), 0);
}

/* --- the seat ------------------------------------------------------------------------------------------------------ */

static void what_a_claim_gives(void **state _unused_)
{
        struct seat seat = {0};
        add_vms(1);
        lab_run(&lab, seat_claim("a@example.org", "one", "111111", &seat));
        assert_true(seat.found && !seat.returning && !seat.unhealthy);
        assert_string_equal(seat.pin, "111111");
        assert_string_equal(seat.status, "assigned");
        assert_int_equal(seat.generation, 1);
        lab_run(&lab, seat_claim("a@example.org", "one", "222222", &seat));
        assert_true(seat.found && seat.returning);
        assert_string_equal(seat.pin, "111111");
        assert_int_equal(seat.generation, 1); /* nothing new: the VM is not woken */
        lab_run(&lab, seat_claim("a@example.org", "two", "222222", &seat));
        assert_string_equal(seat.pin, "111111");
        assert_string_equal(seat.command, "two");
        assert_int_equal(seat.generation, 2);
        seat_deinit(&seat);
}

/* A person's own seat is theirs in any state of its machine. */
static void a_troubled_seat_stays_theirs(void **state _unused_)
{
        static const char *const words[] = {"error", "unknown", "initializing"};
        struct seat seat = {0};
        add_vms(2);
        expect_seat("a@example.org", "vm-1");
        lab_exec(&lab, "update vms set healthy = false where hostname = 'vm-1'");
        for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
                lab_exec(&lab, "update vms set status = '%s' where hostname = 'vm-1'", words[i]);
                lab_run(&lab, seat_claim("a@example.org", CODE, "123456", &seat));
                assert_true(seat.found && seat.returning && seat.unhealthy);
                assert_string_equal(seat.hostname, "vm-1");
                assert_string_equal(seat.status, words[i]);
        }
        seat_deinit(&seat);
}

static void what_a_waiting_vm_sees(void **state _unused_)
{
        struct seat seat = {0};
        struct flag_answer made = {0};
        lab_run(&lab, vm_name("vm-1", "its hash", &made));
        lab_run(&lab, seat_assignment("vm-1", "its hash", &seat));
        assert_true(seat.found);
        assert_null(seat.email);
        lab_run(&lab, seat_assignment("vm-9", "its hash", &seat));
        assert_false(seat.found && strcmp(seat.hostname, "vm-9") == 0);
        lab_exec(&lab, "update vms set status = 'running'");
        expect_seat("a@example.org", "vm-1");
        lab_run(&lab, seat_assignment("vm-1", "its hash", &seat));
        assert_string_equal(seat.email, "a@example.org");
        assert_string_equal(seat.command, CODE);
        assert_string_equal(seat.pin, "123456");
        assert_int_equal(seat.generation, 1);
        seat_deinit(&seat);
        lab_run(&lab, seat_assignment("vm-1", "another hash", &seat));
        assert_false(seat.found);
        lab_run(&lab, seat_assignment("vm-1", NULL, &seat));
        assert_false(seat.found);
        seat_deinit(&seat);
}

/* --- release ------------------------------------------------------------------------------------------------------- */

static enum release_outcome release(const char *hostname, const char *key)
{
        struct release_answer answer = {0};
        lab_run(&lab, seat_release(hostname, "admin", key, &answer));
        return answer.outcome;
}

static void release_takes_it_all_back(void **state _unused_)
{
        add_vms(1);
        assert_int_equal(release("vm-1", NULL), RELEASE_NO_SEAT);
        assert_int_equal(release("vm-9", NULL), RELEASE_UNKNOWN_VM);
        expect_seat("a@example.org", "vm-1");
        assert_int_equal(release("vm-1", NULL), RELEASE_DONE);
        lab_expect(&lab, "2|t|t",
                   "select generation || '|' || left(needs_reset::text, 1) || '|' ||"
                   " left((email is null and crd_command is null and pin is null)::text, 1) from vms");
        expect_seat("b@example.org", ""); /* not before it was made fresh */
        lab_run(&lab, vm_new_token("vm-1", "hash"));
        lab_run(&lab, vm_reset_done("vm-1"));
        expect_seat("b@example.org", ""); /* it boots */
        lab_exec(&lab, "update vms set status = 'running'");
        expect_seat("b@example.org", "vm-1");
        lab_expect(&lab, "3", "select generation from vms");
        lab_expect(&lab, "1", "select count(*) from audit where action = 'release' and who = 'admin'");
}

static void a_key_releases_once(void **state _unused_)
{
        add_vms(2);
        expect_seat("a@example.org", "vm-1");
        expect_seat("b@example.org", "vm-2");
        assert_int_equal(release("vm-1", "key"), RELEASE_DONE);
        assert_int_equal(release("vm-2", "key"), RELEASE_REPEATED);
        lab_expect(&lab, "1", "select count(*) from vms where email is not null");
        assert_int_equal(release("vm-2", "another"), RELEASE_DONE);
}

/* What is announced: a claim and a release, not a second look. */
static void changes_are_announced(void **state _unused_)
{
        _cleanup_db_ struct db *ear = pg_db(&lab.pg);
        int heard = 0;
        add_vms(1);
        assert_int_equal(db_exec(ear, "listen vm_updates", NULL), 0);
        expect_seat("a@example.org", "vm-1");
        expect_seat("a@example.org", "vm-1");
        lab_exec(&lab, "update vms set metrics = '{\"a\": 1}'");
        assert_int_equal(release("vm-1", NULL), RELEASE_DONE);
        assert_int_equal(db_exec(ear, "select 1", NULL), 0);
        for (PGnotify *notify; (notify = PQnotifies(db_raw(ear))); heard++) {
                assert_string_equal(notify->extra, "vm-1");
                PQfreemem(notify);
        }
        assert_int_equal(heard, 2);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup(a_class_that_asks_twice, empty_lab),
                cmocka_unit_test_setup(a_class_on_the_loop, empty_lab),
                cmocka_unit_test_setup(the_oldest_first, empty_lab),
                cmocka_unit_test_setup(who_is_passed_over, empty_lab),
                cmocka_unit_test_setup(silent_ones, empty_lab),
                cmocka_unit_test_setup(more_is_told, empty_lab),
                cmocka_unit_test_setup(log_lines_do_not_hinder, empty_lab),
                cmocka_unit_test_setup(what_a_claim_gives, empty_lab),
                cmocka_unit_test_setup(a_troubled_seat_stays_theirs, empty_lab),
                cmocka_unit_test_setup(what_a_waiting_vm_sees, empty_lab),
                cmocka_unit_test_setup(release_takes_it_all_back, empty_lab),
                cmocka_unit_test_setup(a_key_releases_once, empty_lab),
                cmocka_unit_test_setup(changes_are_announced, empty_lab),
        };
        return cmocka_run_group_tests(tests, lab_set_up, lab_tear_down);
}
