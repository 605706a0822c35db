/* Children on the loop: what they get, what is heard of them, how they end. */
#include "place.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "client/run.h"

struct child {
        struct task task;
        struct run_spec spec;
        struct run *run;
        struct buf said;
        struct error error;
        int status;
        bool ended, timed_out, flooded;
};

static void failed(struct task *t, int code _unused_)
{
        task_finish(t);
}

static void finished(struct task *t _unused_)
{
}

static const struct task_class child_class = {.name = "child", .fail = failed, .finished = finished};

static void hear(void *userdata, const char *line, size_t len)
{
        struct child *c = userdata;
        if (c->said.len < 4096) {
                buf_add(&c->said, line, len);
                buf_adds(&c->said, "|");
        }
}

static int ended(struct task *t)
{
        struct child *c = t->state;
        c->ended = true;
        c->status = run_status(c->run);
        c->timed_out = run_timed_out(c->run);
        c->flooded = run_flooded(c->run);
        run_free(STEAL(c->run));
        task_finish(t);
        uv_stop(&t->loop->uv);
        return 0;
}

static int begin(struct task *t)
{
        struct child *c = t->state;
        c->run = run_start(t->loop, &c->spec, &c->error);
        if (c->run)
                return run_await(t, c->run, ended);
        task_finish(t);
        return 0;
}

static void run_to_end(struct child *c)
{
        struct loop loop;
        loop_init(&loop);
        c->spec.line = hear;
        c->spec.userdata = c;
        task_init(&c->task, &loop, &child_class, c);
        task_start(&c->task, begin);
        loop_run(&loop);
        loop_deinit(&loop);
}

static void child_free(struct child *c)
{
        buf_deinit(&c->said);
        error_clear(&c->error);
}
#define _cleanup_child_ _cleanup_(child_free)
#define SHELL(script) ((const char *const[]){"/bin/sh", "-c", script, NULL})
#define NO_ENV ((const char *const[]){"A=b", NULL})

static void test_input_and_output(void **state _unused_)
{
        _cleanup_child_ struct child c = {
                .spec = {.argv = SHELL("read a; read b; echo $a$b$A; echo err >&2; printf end; exit 3"),
                         .env = NO_ENV,
                         .input = "123\n456\n"}};
        run_to_end(&c);
        assert_string_equal(buf_str(&c.said), "123456b|err|end|");
        assert_int_equal(WEXITSTATUS(c.status), 3);
        assert_false(c.timed_out);
}

/* start-host at the end of its input would ask for ever. */
static void test_input_stays_open(void **state _unused_)
{
        _cleanup_child_ struct child c = {.spec = {.argv = SHELL("read a; read b && echo more || echo closed"),
                                                   .env = NO_ENV,
                                                   .input = "1\n",
                                                   .timeout_ms = 300,
                                                   .tied = true}};
        run_to_end(&c);
        assert_string_equal(buf_str(&c.said), "");
        assert_true(c.timed_out);
        assert_int_equal(WTERMSIG(c.status), SIGKILL);
}

static void test_a_daemon_that_keeps_the_pipe(void **state _unused_)
{
        _cleanup_child_ struct child c = {.spec = {.argv = SHELL("sleep 300 & echo $!; exit 0"), .env = NO_ENV}};
        run_to_end(&c);
        assert_true(c.ended);
        assert_int_equal(c.status, 0);
        assert_int_equal(kill(atoi(buf_str(&c.said)), SIGKILL), 0); /* it lives on */
}

static void test_flood(void **state _unused_)
{
        _cleanup_child_ struct child c = {
                .spec = {.argv = SHELL("while :; do echo 0123456789012345678901234567890123456789; done"),
                         .env = NO_ENV,
                         .timeout_ms = 2000}};
        run_to_end(&c);
        assert_true(c.flooded);
        assert_true(c.timed_out);
}

static void test_cannot_start(void **state)
{
        _cleanup_child_ struct child c = {
                .spec = {.argv = (const char *const[]){"/no/such/program", NULL}, .env = NO_ENV}};
        run_to_end(&c);
        assert_int_equal(c.error.code, -ENOENT);
        place_write(*state, "text", "x", 0644);
        _cleanup_child_ struct child d = {
                .spec = {.argv = (const char *const[]){place_path(*state, "text"), NULL}, .env = NO_ENV}};
        run_to_end(&d);
        assert_int_equal(d.error.code, -EACCES);
}

static void test_nobody_is_found(void **state _unused_)
{
        struct person person;
        assert_int_equal(person_find("no-such-user-here", &person), -ENOENT);
        assert_int_equal(person_find("root", &person), 0);
        assert_int_equal(person.uid, 0);
        person_deinit(&person);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_input_and_output),
                cmocka_unit_test(test_input_stays_open),
                cmocka_unit_test(test_a_daemon_that_keeps_the_pipe),
                cmocka_unit_test(test_flood),
                cmocka_unit_test_setup_teardown(test_cannot_start, place_setup, place_teardown),
                cmocka_unit_test(test_nobody_is_found),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
