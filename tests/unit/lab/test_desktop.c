/*
 * Seat cookies, return codes, consent and the agents' connections: what counts, and above all when it stops counting.
 */
#include "rig.h"

#include <stdio.h>
#include <string.h>

#include "lab/desktop.h"

#define ANN "ann@example.org"
#define BOB "bob@example.org"

static int one_vm(void **state _unused_)
{
        lab_empty(&lab);
        lab_add_vm(&lab, "vm-1");
        return 0;
}

static void claim(const char *email, const char *command)
{
        struct seat seat = {0};
        lab_run(&lab, seat_claim(email, command, "123456", &seat));
        assert_true(seat.found);
        seat_deinit(&seat);
}

static void release(void)
{
        struct release_answer answer = {0};
        lab_run(&lab, seat_release("vm-1", "admin", NULL, &answer));
        assert_int_equal(answer.outcome, RELEASE_DONE);
        lab_exec(&lab, "update vms set needs_reset = false");
}

/* Returns the tenancy, or -1 when the seat is not theirs. */
static int64_t enter_as(const char *email, const char *cookie, const char *code, bool alone)
{
        struct desktop_seat seat = {0};
        lab_run(&lab, desktop_enter("vm-1", email, cookie, code, alone, &seat));
        int64_t tenancy = seat.found ? seat.tenancy : -1;
        desktop_seat_deinit(&seat);
        return tenancy;
}

static bool sits(const char *cookie)
{
        struct desktop_seat seat = {0};
        lab_run(&lab, desktop_seat(cookie, &seat));
        bool found = seat.found;
        if (found)
                assert_string_equal(seat.hostname, "vm-1");
        desktop_seat_deinit(&seat);
        return found;
}

static void a_cookie_opens_the_seat_of_its_tenancy(void **state _unused_)
{
        struct desktop_seat seat = {0};
        claim(ANN, "first");
        assert_int_equal(enter_as(ANN, "a1", NULL, false), 1);
        assert_int_equal(enter_as(ANN, "a1", NULL, false), 1);
        lab_run(&lab, desktop_seat("a1", &seat));
        assert_true(seat.found);
        assert_string_equal(seat.email, ANN);
        assert_string_equal(seat.status, "assigned");
        assert_false(seat.assist || seat.has_code || seat.linked);
        assert_false(sits("another"));
        assert_int_equal(enter_as(BOB, "b1", NULL, false), -1);
        assert_false(sits("b1"));
        claim(ANN, "second"); /* another code of the same person: the desktop stays */
        assert_true(sits("a1"));
        lab_expect(&lab, "2", "select generation from vms");
        desktop_seat_deinit(&seat);
}

static void release_claim_and_destroy_end_it(void **state _unused_)
{
        claim(ANN, "code");
        enter_as(ANN, "a1", "hash-of-code", false);
        release();
        assert_false(sits("a1"));
        assert_int_equal(enter_as(ANN, "a2", NULL, false), -1);
        claim(BOB, "code");
        assert_false(sits("a1"));
        assert_int_equal(enter_as(BOB, "b1", NULL, false), 3);
        lab_expect(&lab, "b1", "select string_agg(hash, ' ') from desktop_cookies");
        lab_expect(&lab, "0", "select count(return_hash) from desktop_seats");
        assert_true(sits("b1"));
        release();
        claim(ANN, "code"); /* the same person again: what was before stays closed */
        assert_false(sits("a1"));
        enter_as(ANN, "a3", NULL, false);
        lab_exec(&lab, "delete from vms");
        assert_false(sits("a3"));
        lab_expect(&lab, "0", "select count(*) from desktop_cookies");
}

static void browsers_of_one_seat(void **state _unused_)
{
        struct flag_answer left = {0};
        char cookie[16];
        claim(ANN, "code");
        for (int i = 0; i < DESKTOP_COOKIES_MAX + 4; i++) {
                snprintf(cookie, sizeof cookie, "c%d", i);
                enter_as(ANN, cookie, NULL, false);
        }
        lab_expect(&lab, "16", "select count(*) from desktop_cookies");
        assert_true(sits(cookie));
        assert_false(sits("c0"));
        enter_as(ANN, "only", NULL, true);
        lab_expect(&lab, "only", "select string_agg(hash, ' ') from desktop_cookies");
        lab_run(&lab, desktop_leave("only", &left));
        assert_true(left.yes);
        assert_false(sits("only"));
        lab_run(&lab, desktop_leave("only", &left));
        assert_false(left.yes);
}

static void the_return_code(void **state _unused_)
{
        struct desktop_seat seat = {0};
        lab_run(&lab, desktop_holder(ANN, "a1", &seat));
        assert_false(seat.found);
        claim(ANN, "code");
        enter_as(ANN, "a1", "hash-of-code", false);
        enter_as(ANN, "a2", NULL, false);
        lab_run(&lab, desktop_holder(ANN, "a2", &seat));
        assert_true(seat.found && seat.cookie && seat.has_code);
        assert_string_equal(seat.return_hash, "hash-of-code");
        lab_run(&lab, desktop_holder(ANN, NULL, &seat));
        assert_true(seat.found && !seat.cookie);
        enter_as(ANN, "a1", "another", false);
        lab_expect(&lab, "another", "select return_hash from desktop_seats");
        desktop_seat_deinit(&seat);
}

static void consent(void **state _unused_)
{
        struct flag_answer answer = {0};
        struct desktop_seat seat = {0};
        lab_run(&lab, desktop_assist("a1", 60, &answer));
        assert_false(answer.yes);
        claim(ANN, "code");
        enter_as(ANN, "a1", "hash-of-code", false);
        lab_run(&lab, desktop_assist("a1", 60, &answer));
        assert_true(answer.yes);
        lab_run(&lab, desktop_guard("vm-1", &seat));
        assert_true(seat.found && seat.assist && seat.has_code);
        assert_int_equal(json_array_size(seat.cookies), 1);
        lab_run(&lab, desktop_assist("a1", 0, &answer));
        lab_run(&lab, desktop_guard("vm-1", &seat));
        assert_false(seat.assist);
        lab_run(&lab, desktop_assist("a1", 60, &answer));
        release();
        lab_run(&lab, desktop_guard("vm-1", &seat));
        assert_true(seat.found && !seat.assist && !seat.has_code);
        assert_string_equal(seat.email, "");
        assert_int_equal(json_array_size(seat.cookies), 0);
        desktop_seat_deinit(&seat);
}

static void a_ticket_opens_once(void **state _unused_)
{
        struct flag_answer answer = {0};
        struct desktop_seat seat = {0};
        lab_run(&lab, desktop_ticket_add("a1", "t0", &answer));
        assert_false(answer.yes);
        claim(ANN, "code");
        enter_as(ANN, "a1", NULL, false);
        lab_run(&lab, desktop_ticket_add("a1", "t1", &answer));
        assert_true(answer.yes);
        assert_false(sits("t1"));
        lab_run(&lab, desktop_ticket_take("t1", &seat));
        assert_true(seat.found);
        assert_string_equal(json_string_value(json_array_get(seat.cookies, 0)), "a1");
        desktop_seat_deinit(&seat);
        lab_run(&lab, desktop_ticket_take("t1", &seat));
        assert_false(seat.found);
        lab_run(&lab, desktop_ticket_add("a1", "t2", &answer));
        lab_exec(&lab, "update desktop_cookies set expires_at = now() - interval '1 second' where kind = 'ticket'");
        lab_run(&lab, desktop_ticket_take("t2", &seat));
        assert_false(seat.found);
        lab_run(&lab, desktop_ticket_take("a1", &seat));
        assert_false(seat.found);
        assert_true(sits("a1"));
        lab_run(&lab, desktop_ticket_add("a1", "t3", &answer)); /* a ticket ends with its cookie */
        enter_as(ANN, "a2", NULL, true);
        lab_run(&lab, desktop_ticket_take("t3", &seat));
        assert_false(seat.found);
}

static void where_the_agent_is(void **state _unused_)
{
        struct flag_answer known = {0};
        struct desktop_seat seat = {0};
        lab_run(&lab, agent_link_set("vm-9", "l0", "", &known));
        assert_false(known.yes);
        lab_run(&lab, agent_link_set("vm-1", "l1", "", &known));
        assert_true(known.yes);
        lab_run(&lab, agent_link_set("vm-1", "l2", "https://b.example", &known));
        lab_run(&lab, agent_link_clear("vm-1", "l1"));
        lab_run(&lab, desktop_guard("vm-1", &seat));
        assert_true(seat.linked);
        assert_string_equal(seat.link_url, "https://b.example");
        assert_false(seat.watched || seat.helped);
        lab_run(&lab, agent_link_visitors("vm-1", "l1", 1, 1)); /* an older connection has nothing to say */
        lab_run(&lab, agent_link_visitors("vm-1", "l2", 2, 0));
        lab_run(&lab, desktop_guard("vm-1", &seat));
        assert_true(seat.watched && !seat.helped);
        lab_run(&lab, agent_link_clear("vm-1", "l2"));
        lab_run(&lab, desktop_guard("vm-1", &seat));
        assert_false(seat.linked);
        lab_run(&lab, agent_link_set("vm-1", "l3", "", &known));
        lab_run(&lab, agent_links_forget("l"));
        lab_expect(&lab, "1", "select count(*) from agent_links");
        lab_run(&lab, agent_links_forget("m"));
        lab_expect(&lab, "0", "select count(*) from agent_links");
        lab_run(&lab, desktop_audit("admin", "assist", "vm-1"));
        lab_expect(&lab, "admin assist vm-1", "select who || ' ' || action || ' ' || (detail->>'hostname') from audit");
        desktop_seat_deinit(&seat);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup(a_cookie_opens_the_seat_of_its_tenancy, one_vm),
                cmocka_unit_test_setup(release_claim_and_destroy_end_it, one_vm),
                cmocka_unit_test_setup(browsers_of_one_seat, one_vm),
                cmocka_unit_test_setup(the_return_code, one_vm),
                cmocka_unit_test_setup(consent, one_vm),
                cmocka_unit_test_setup(a_ticket_opens_once, one_vm),
                cmocka_unit_test_setup(where_the_agent_is, one_vm),
        };
        return cmocka_run_group_tests_name("desktop", tests, lab_set_up, lab_tear_down);
}
