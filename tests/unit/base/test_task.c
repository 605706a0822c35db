/* The driver of steps, by its five rules; then its two own waits. */
#include "base/task.h"

#include <stdatomic.h>

#include "base/buf.h"
#include "base/clock.h"
#include "unit.h"

/* A wait that the test ends by hand. */
struct gate {
        struct wait wait;
        int cancelled;
};

struct story {
        struct loop loop;
        struct task task;
        struct gate gate;
        struct buf said;
        int failed, finished, discarded;
        atomic_int worked;
        pid_t thread; /* not of the loop */
        uv_sem_t go;  /* the work waits for it */
        struct turn_hook hook;
        int turns;
};

static void say(struct task *t, const char *word)
{
        struct story *s = t->state;
        buf_addf(&s->said, "%s ", word);
}

static void on_fail(struct task *t, int code)
{
        struct story *s = t->state;
        s->failed = code;
        buf_addf(&s->said, "[%s] ", error_text(&t->error));
        task_finish(t);
}

static void on_finished(struct task *t)
{
        struct story *s = t->state;
        s->finished++;
}

static const struct task_class class = {.name = "test", .fail = on_fail, .finished = on_finished};

static void on_cancel(struct wait *wait)
{
        container_of(wait, struct gate, wait)->cancelled++;
}

static int begin(void **state)
{
        struct story *s = xcalloc(1, sizeof *s);
        loop_init(&s->loop);
        uv_sem_init(&s->go, 0);
        task_init(&s->task, &s->loop, &class, s);
        s->gate.wait.cancel = on_cancel;
        *state = s;
        return 0;
}

static int end(void **state)
{
        struct story *s = *state;
        loop_deinit(&s->loop);
        uv_sem_destroy(&s->go);
        buf_deinit(&s->said);
        error_clear(&s->task.error);
        free(s);
        return 0;
}

static void turn(struct story *s)
{
        uv_run(&s->loop.uv, UV_RUN_NOWAIT);
}

static int last(struct task *t)
{
        say(t, "last");
        task_finish(t);
        return 0;
}

static int wait_at_gate(struct task *t)
{
        struct story *s = t->state;
        say(t, "first");
        return task_await(t, &s->gate.wait, last);
}

static void steps_follow_each_other(void **state)
{
        struct story *s = *state;
        task_start(&s->task, wait_at_gate);
        assert_string_equal(buf_str(&s->said), ""); /* nothing runs before the loop does */
        turn(s);
        assert_string_equal(buf_str(&s->said), "first ");
        assert_string_equal(s->task.step_name, "last");
        task_wake(&s->gate.wait);
        assert_string_equal(buf_str(&s->said), "first "); /* rule 4: waking only queues */
        assert_int_equal(s->finished, 0);
        turn(s);
        assert_string_equal(buf_str(&s->said), "first last ");
        assert_int_equal(s->finished, 1);
        assert_int_equal(s->gate.cancelled, 0);
        task_wake(&s->gate.wait); /* a late word finds nobody */
        turn(s);
        assert_int_equal(s->finished, 1);
}

static int fails(struct task *t)
{
        return error_set(&t->error, -EIO, "the disk is gone");
}

static int fails_without_a_sentence(struct task *t _unused_)
{
        return -EPERM;
}

static int fails_while_waiting(struct task *t)
{
        struct story *s = t->state;
        task_await(t, &s->gate.wait, last);
        return error_set(&t->error, -EIO, "after all");
}

static void failures_reach_the_class(void **state)
{
        struct story *s = *state;
        task_start(&s->task, fails);
        turn(s);
        assert_int_equal(s->failed, -EIO);
        assert_string_equal(buf_str(&s->said), "[the disk is gone] ");
        assert_int_equal(s->finished, 1);
}

static void a_failure_has_always_a_sentence(void **state)
{
        struct story *s = *state;
        task_start(&s->task, fails_without_a_sentence);
        turn(s);
        assert_int_equal(s->failed, -EPERM);
        assert_string_equal(buf_str(&s->said), "[step fails_without_a_sentence failed] ");
}

static void a_failing_step_takes_its_wait_back(void **state)
{
        struct story *s = *state;
        task_start(&s->task, fails_while_waiting);
        turn(s);
        assert_int_equal(s->gate.cancelled, 1);
        assert_int_equal(s->finished, 1);
        assert_string_equal(buf_str(&s->said), "[after all] ");
}

static void a_failed_wait_skips_the_step(void **state)
{
        struct story *s = *state;
        struct error error = ERROR_NULL;
        task_start(&s->task, wait_at_gate);
        turn(s);
        error_set(&error, -ECONNRESET, "the database went away");
        task_wake_failed(&s->gate.wait, &error);
        assert_null(error.text);
        turn(s);
        assert_string_equal(buf_str(&s->said), "first [the database went away] ");
        assert_int_equal(s->failed, -ECONNRESET);
        error_set(&error, -EIO, "told to nobody");
        task_wake_failed(&s->gate.wait, &error);
        assert_null(error.text);
}

static void killed_while_it_waits(void **state)
{
        struct story *s = *state;
        task_start(&s->task, wait_at_gate);
        turn(s);
        task_kill(&s->task);
        assert_int_equal(s->gate.cancelled, 1);
        assert_int_equal(s->finished, 1);
        task_wake(&s->gate.wait); /* rule 5: a late result finds no receiver */
        turn(s);
        assert_string_equal(buf_str(&s->said), "first ");
        assert_int_equal(s->finished, 1);
}

static void killed_while_it_is_queued(void **state)
{
        struct story *s = *state;
        task_start(&s->task, wait_at_gate);
        turn(s);
        task_wake(&s->gate.wait);
        task_kill(&s->task);
        assert_int_equal(s->gate.cancelled, 0); /* the wait was over */
        turn(s);
        assert_string_equal(buf_str(&s->said), "first ");
        assert_int_equal(s->finished, 1);
}

static int kills_itself_and_waits(struct task *t)
{
        struct story *s = t->state;
        task_kill(t);
        assert_int_equal(s->finished, 0); /* not under the step's feet */
        return task_await(t, &s->gate.wait, last);
}

static int kills_itself_and_answers(struct task *t)
{
        task_kill(t);
        task_finish(t);
        return 0;
}

/* A step that writes may be the one that notices that the client has gone. */
static void killed_by_its_own_step(void **state)
{
        struct story *s = *state;
        task_start(&s->task, kills_itself_and_waits);
        turn(s);
        assert_int_equal(s->finished, 1);
        assert_int_equal(s->gate.cancelled, 1);
        assert_null(s->gate.wait.task);
        task_init(&s->task, &s->loop, &class, s);
        task_start(&s->task, kills_itself_and_answers);
        turn(s);
        assert_int_equal(s->finished, 2);
}

static void finished_from_outside(void **state)
{
        struct story *s = *state;
        task_start(&s->task, wait_at_gate);
        turn(s);
        task_finish(&s->task);
        assert_int_equal(s->finished, 1);
        assert_int_equal(s->gate.cancelled, 1);
        task_wake(&s->gate.wait);
        turn(s);
        assert_string_equal(buf_str(&s->said), "first ");
}

static int wait_that_is_over(struct task *t)
{
        struct story *s = t->state;
        say(t, "first");
        task_await(t, &s->gate.wait, last);
        int before = s->finished;
        task_wake(&s->gate.wait); /* as a watch does that has fired already */
        assert_int_equal(s->finished, before);
        return 0;
}

static int wait_that_has_failed(struct task *t)
{
        struct story *s = t->state;
        struct error error = ERROR_NULL;
        task_await(t, &s->gate.wait, last);
        error_set(&error, -EIO, "at once");
        task_wake_failed(&s->gate.wait, &error);
        return 0;
}

static int wait_that_is_over_and_failure(struct task *t)
{
        wait_that_is_over(t);
        return error_set(&t->error, -EIO, "after all");
}

static void a_wait_may_be_over_at_once(void **state)
{
        struct story *s = *state;
        task_start(&s->task, wait_that_is_over);
        loop_run(&s->loop);
        assert_string_equal(buf_str(&s->said), "first last ");
        assert_int_equal(s->finished, 1);
        task_init(&s->task, &s->loop, &class, s);
        task_start(&s->task, wait_that_has_failed);
        loop_run(&s->loop);
        assert_string_equal(buf_str(&s->said), "first last [at once] ");
        assert_int_equal(s->finished, 2);
        task_init(&s->task, &s->loop, &class, s);
        task_start(&s->task, wait_that_is_over_and_failure);
        loop_run(&s->loop);
        assert_string_equal(buf_str(&s->said), "first last [at once] first [after all] ");
        assert_int_equal(s->finished, 3);
}

static void on_turn(struct turn_hook *hook)
{
        container_of(hook, struct story, hook)->turns++;
}

static void hooks_run_once_a_drain(void **state)
{
        struct story *s = *state;
        struct task many[10];
        s->hook.run = on_turn;
        loop_hook(&s->loop, &s->hook);
        for (int i = 0; i < 10; i++) {
                task_init(&many[i], &s->loop, &class, s);
                task_start(&many[i], last);
        }
        turn(s);
        assert_int_equal(s->finished, 10);
        assert_true(s->turns >= 1 && s->turns <= 4); /* a drain before and after the poll, not one a task */
}

static int sleep_first(struct task *t)
{
        say(t, "sleep");
        return sleep_await(t, 30, last);
}

static void sleeps(void **state)
{
        struct story *s = *state;
        int64_t before = clock_ms();
        task_start(&s->task, sleep_first);
        loop_run(&s->loop); /* ends by itself: nothing is left */
        assert_string_equal(buf_str(&s->said), "sleep last ");
        assert_true(clock_ms() - before >= 29);
        assert_int_equal(s->finished, 1);
}

static int sleep_long(struct task *t)
{
        return sleep_await(t, 3600 * 1000, last);
}

static void a_killed_sleeper_keeps_no_loop_alive(void **state)
{
        struct story *s = *state;
        task_start(&s->task, sleep_long);
        turn(s);
        task_kill(&s->task);
        loop_run(&s->loop);
        assert_string_equal(buf_str(&s->said), "");
        assert_int_equal(s->finished, 1);
}

static void do_work(void *argument)
{
        struct story *s = argument;
        uv_sem_wait(&s->go);
        s->thread = gettid();
        atomic_fetch_add(&s->worked, 1);
}

static void on_discard(void *argument)
{
        ((struct story *)argument)->discarded++;
}

static int work_first(struct task *t)
{
        say(t, "work");
        return work_await(t, do_work, t->state, on_discard, last);
}

static void works_elsewhere(void **state)
{
        struct story *s = *state;
        uv_sem_post(&s->go);
        task_start(&s->task, work_first);
        loop_run(&s->loop);
        assert_string_equal(buf_str(&s->said), "work last ");
        assert_int_equal(s->worked, 1);
        assert_int_equal(s->discarded, 0);
        assert_int_not_equal(s->thread, gettid());
}

static void abandoned_work_is_discarded(void **state)
{
        struct story *s = *state;
        task_start(&s->task, work_first);
        turn(s);
        assert_int_equal(s->finished, 0);
        task_kill(&s->task);
        assert_int_equal(s->finished, 1);
        assert_int_equal(s->discarded, 0); /* the thread still has it */
        uv_sem_post(&s->go);
        loop_run(&s->loop);
        assert_int_equal(s->worked, 1);
        assert_int_equal(s->discarded, 1);
        assert_string_equal(buf_str(&s->said), "work ");
}

static int sleep_again(struct task *t)
{
        struct story *s = t->state;
        return ++s->turns < 1000 ? sleep_await(t, 0, sleep_again) : last(t);
}

static void a_thousand_turns(void **state)
{
        struct story *s = *state;
        task_start(&s->task, sleep_again);
        loop_run(&s->loop);
        assert_int_equal(s->turns, 1000);
        assert_int_equal(s->finished, 1);
}

#define with_loop(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(void)
{
        const struct CMUnitTest tests[] = {
                with_loop(steps_follow_each_other),
                with_loop(failures_reach_the_class),
                with_loop(a_failure_has_always_a_sentence),
                with_loop(a_failing_step_takes_its_wait_back),
                with_loop(a_failed_wait_skips_the_step),
                with_loop(killed_while_it_waits),
                with_loop(killed_while_it_is_queued),
                with_loop(killed_by_its_own_step),
                with_loop(finished_from_outside),
                with_loop(a_wait_may_be_over_at_once),
                with_loop(hooks_run_once_a_drain),
                with_loop(sleeps),
                with_loop(a_killed_sleeper_keeps_no_loop_alive),
                with_loop(works_elsewhere),
                with_loop(abandoned_work_is_discarded),
                with_loop(a_thousand_turns),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
