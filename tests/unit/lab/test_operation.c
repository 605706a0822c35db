/* Operations: one at a time, a key starts one, an epoch fences late writers, cancelling and being interrupted. */
#include "rig.h"

#include <errno.h>
#include <pthread.h>

#include "base/text.h"

static int empty_lab(void **state _unused_)
{
        lab_empty(&lab);
        return 0;
}

static void tried(const char *state, const char *vms, const char *result)
{
        lab_exec(&lab,
                 "insert into operations (kind, state, arguments, result, ended_at)"
                 " values ('reconcile', '%s', '{\"vms\": %s}', %s, now())",
                 state, vms, result);
}

/* The whole pause is looked at from both sides, by moving what was; a slow machine has a minute. */
static void check_pause(int seconds, const char *names, const char *wanted)
{
        for (int late = 0; late < 2; late++) {
                struct json_answer answer = {0};
                lab_exec(&lab, "update operations set ended_at = now() - interval '%d s'", seconds + (late ? 1 : -60));
                lab_run(&lab, reconcile_waits(names, &answer));
                char *waits = json_text(json_object_get(answer.value, "wait"));
                assert_string_equal(waits, late || seconds == 0 ? "[]" : wanted);
                free(waits);
                json_decref(answer.value);
        }
}

static void what_cannot_be_mended_is_tried_more_seldom(void **state _unused_)
{
        static const int pauses[] = {5, 20, 80, 320, 900, 900, 900};
        check_pause(0, "[\"a\"]", "[]");
        for (size_t i = 0; i < ARRAY_SIZE(pauses); i++) {
                tried(i % 2 ? "cancelled" : "failed", "[\"a\"]", "null");
                lab_exec(&lab, "insert into operations (kind, state, ended_at) values ('launch', 'done', now())");
                check_pause(pauses[i], "[\"a\", \"b\"]", "[\"a\"]");
        }
        tried("done", "[\"a\"]", "null");
        check_pause(0, "[\"a\"]", "[]");
}

/* That others are mended meanwhile gives no new attempt to the one that fails, and takes none from those that do not. */
static void one_that_fails_waits_alone(void **state _unused_)
{
        tried("failed", "[\"a\"]", "null");
        tried("failed", "[\"a\", \"b\"]", "'{\"failed\": [\"a\"]}'");
        tried("done", "[\"c\"]", "null");
        check_pause(20, "[\"b\", \"a\", \"c\"]", "[\"a\"]");
}

/* A runner that died says nothing of the machine; one that dies of it again and again does. */
static void what_was_interrupted_is_taken_up_once(void **state _unused_)
{
        tried("interrupted", "[\"a\"]", "null");
        check_pause(0, "[\"a\"]", "[]");
        tried("interrupted", "[\"a\"]", "null");
        check_pause(5, "[\"a\"]", "[\"a\"]");
}

static void old_history_goes(void **state _unused_)
{
        struct count_answer gone = {0};
        lab_exec(
                &lab,
                "insert into operations (kind, state, ended_at, created_at)"
                " select 'launch', 'done', now() - n * interval '1 day', now() - interval '9 days' from generate_series(1, 4) n");
        lab_exec(
                &lab,
                "insert into operations (kind, state, created_at) values ('launch', 'running', now() - interval '9 days'),"
                " ('launch', 'cancelled', now() - interval '9 days')");
        lab_exec(&lab, "insert into operation_lines (operation_id, line, message) select id, 1, 'x' from operations");
        lab_exec(
                &lab,
                "insert into audit (at, who, action) select now() - n * interval '1 day', 'a', 'b' from generate_series(1, 4) n");
        lab_run(&lab, history_expire(2.5 * 86400, 2, &gone));
        assert_int_equal(gone.count, 4); /* two of each */
        lab_run(&lab, history_expire(2.5 * 86400, 2, &gone));
        assert_int_equal(gone.count, 1); /* the cancelled one */
        lab_run(&lab, history_expire(2.5 * 86400, 2, &gone));
        assert_int_equal(gone.count, 0);
        lab_expect(&lab, "3", "select count(*) from operations");
        lab_expect(&lab, "3", "select count(*) from operation_lines");
        lab_expect(&lab, "2", "select count(*) from audit");
}

static enum operation_new_outcome create_on(struct db *db, const char *kind, const char *key, int64_t *ret_id)
{
        _cleanup_error_ struct error error = ERROR_NULL;
        _cleanup_json_ json_t *arguments = json_pack("{s:i}", "num_vms", 3);
        struct operation_new made = {0};
        char *text = NULL;
        int r = db_run(db, operation_create(kind, arguments, &text, key, "admin", &made), &error);
        free(text);
        if (r < 0)
                fail_msg("%s", error_text(&error));
        if (ret_id)
                *ret_id = json_integer_value(json_object_get(made.operation, "id"));
        json_decref(made.operation);
        return made.outcome;
}

static int64_t create(const char *kind, const char *key, enum operation_new_outcome wanted)
{
        int64_t id = 0;
        assert_int_equal(create_on(lab.db, kind, key, &id), wanted);
        return id;
}

static int64_t take(int64_t id)
{
        struct operation_taken taken = {0};
        lab_run(&lab, operation_take(id, &taken));
        int64_t epoch = taken.taken ? taken.epoch : 0;
        operation_taken_clear(&taken);
        return epoch;
}

static bool append(int64_t id, int64_t epoch, const char *lines)
{
        struct flag_answer ours = {0};
        lab_run(&lab, operation_append(id, epoch, lines, &ours));
        return ours.yes;
}

static bool end(int64_t id, int64_t epoch, const char *state)
{
        struct flag_answer ours = {0};
        lab_run(&lab, operation_end(id, epoch, state, NULL, "{\"made\": 3}", &ours));
        return ours.yes;
}

static bool asked_to_stop(int64_t id, int64_t epoch)
{
        struct flag_answer answer = {0};
        lab_run(&lab, operation_asked_to_stop(id, epoch, &answer));
        return answer.yes;
}

static void expect_state(int64_t id, const char *state)
{
        lab_expect(&lab, state, "select state from operations where id = %lld", (long long)id);
}

static void a_whole_life(void **state _unused_)
{
        struct json_answer row = {0};
        struct operation_taken taken = {0};
        struct flag_answer ours = {0};
        struct vm_list lines = {.array = json_array()};
        int64_t id = create("launch", NULL, OPERATION_STARTED);
        lab_run(&lab, operation_take(id, &taken));
        assert_true(taken.taken);
        assert_int_equal(taken.epoch, 1);
        assert_string_equal(taken.kind, "launch");
        assert_string_equal(taken.requested_by, "admin");
        assert_int_equal(json_integer_value(json_object_get(taken.arguments, "num_vms")), 3);
        operation_taken_clear(&taken);
        assert_true(append(id, 1, "[\"one\", \"two\"]"));
        assert_true(append(id, 1, "[\"\\u001b[31mth\\u001b]0;t\\u0007ree\"]"));
        lab_run(&lab, operation_progress(id, 1, 2, 3, &ours));
        assert_true(ours.yes);
        lab_run(&lab, operation_lines(id, 1, 10, &lines));
        assert_int_equal(json_array_size(lines.array), 2);
        assert_string_equal(json_get_string(json_array_get(lines.array, 1), "text"), "three");
        assert_string_equal(json_get_string(json_array_get(lines.array, 1), "ansi"), "\033[0;31mthree\033[0m");
        assert_null(json_object_get(json_array_get(lines.array, 0), "ansi"));
        assert_int_equal(json_integer_value(json_object_get(json_array_get(lines.array, 1), "line")), 3);
        assert_true(str_ends(json_get_string(json_array_get(lines.array, 0), "at"), "Z"));
        lab_run(&lab, operation_current(&row));
        assert_string_equal(json_get_string(row.value, "state"), "running");
        assert_true(end(id, 1, "done"));
        lab_run(&lab, operation_get(id, &row));
        _cleanup_free_ char *url = xasprintf("/api/operations/%lld", (long long)id);
        assert_string_equal(json_get_string(row.value, "url"), url);
        assert_string_equal(json_get_string(row.value, "state"), "done");
        assert_int_equal(json_integer_value(json_object_get(json_object_get(row.value, "progress"), "done")), 2);
        assert_int_equal(json_integer_value(json_object_get(json_object_get(row.value, "result"), "made")), 3);
        assert_int_equal(json_integer_value(json_object_get(row.value, "last_line")), 3);
        assert_non_null(json_get_string(row.value, "ended_at"));
        json_decref(row.value);
        row.value = NULL;
        lab_run(&lab, operation_current(&row));
        assert_null(row.value);
        json_decref(lines.array);
}

static void one_at_a_time(void **state _unused_)
{
        int64_t first = create("launch", NULL, OPERATION_STARTED);
        assert_int_equal(create("destroy", NULL, OPERATION_BUSY), first);
        int64_t epoch = take(first);
        assert_int_equal(create("destroy", NULL, OPERATION_BUSY), first);
        assert_true(end(first, epoch, "failed"));
        assert_true(create("destroy", NULL, OPERATION_STARTED) != first);
}

static void a_key_starts_one(void **state _unused_)
{
        int64_t first = create("launch", "key", OPERATION_STARTED);
        assert_int_equal(create("launch", "key", OPERATION_REPEATED), first);
        end(first, take(first), "done");
        assert_int_equal(create("launch", "key", OPERATION_REPEATED), first);
        int64_t second = create("launch", "other", OPERATION_STARTED);
        assert_int_equal(create("destroy", "key", OPERATION_REPEATED), first); /* also while another runs */
        assert_int_equal(create("destroy", NULL, OPERATION_BUSY), second);
        lab_expect(&lab, "2", "select count(*) from operations");
        struct operation_new found = {0};
        lab_run(&lab, operation_of_key("nobody's", &found));
        assert_null(found.operation);
        lab_run(&lab, operation_of_key("key", &found));
        assert_int_equal(json_integer_value(json_object_get(found.operation, "id")), first);
        json_decref(found.operation);
}

struct starter {
        pthread_t thread;
        struct db *db;
        const char *key;
        int started, repeated, busy;
};

static void *starter_main(void *argument)
{
        struct starter *s = argument;
        for (int i = 0; i < 20; i++) {
                enum operation_new_outcome outcome = create_on(s->db, "launch", s->key, NULL);
                s->started += outcome == OPERATION_STARTED;
                s->repeated += outcome == OPERATION_REPEATED;
                s->busy += outcome == OPERATION_BUSY;
        }
        return NULL;
}

static void many_that_start_at_once(void **state _unused_)
{
        struct starter starters[8] = {0};
        int started = 0;
        for (size_t i = 0; i < ARRAY_SIZE(starters); i++) {
                starters[i].db = pg_db(&lab.pg);
                starters[i].key = i % 2 ? "the same" : NULL;
                assert_int_equal(pthread_create(&starters[i].thread, NULL, starter_main, &starters[i]), 0);
        }
        for (size_t i = 0; i < ARRAY_SIZE(starters); i++) {
                assert_int_equal(pthread_join(starters[i].thread, NULL), 0);
                started += starters[i].started;
                db_close(starters[i].db);
        }
        assert_int_equal(started, 1);
        lab_expect(&lab, "1", "select count(*) from operations");
}

/* It is taken once; and who was fenced off writes nothing any more. */
static void an_epoch_fences_late_writers(void **state _unused_)
{
        struct flag_answer ours = {0};
        int64_t id = create("launch", NULL, OPERATION_STARTED);
        int64_t epoch = take(id);
        assert_int_equal(epoch, 1);
        assert_int_equal(take(id), 0);
        assert_int_equal(take(id + 1), 0);
        lab_exec(&lab, "update operations set state = 'queued'");
        assert_int_equal(take(id), 2);
        assert_false(append(id, epoch, "[\"late\"]"));
        assert_false(end(id, epoch, "done"));
        lab_run(&lab, operation_progress(id, epoch, 1, 1, &ours));
        assert_false(ours.yes);
        assert_true(asked_to_stop(id, epoch));
        assert_false(asked_to_stop(id, 2));
        assert_true(append(id, 2, "[\"mine\"]"));
        assert_true(end(id, 2, "done"));
        assert_false(append(id, 2, "[\"after the end\"]"));
        assert_true(asked_to_stop(id, 2));
        lab_expect(&lab, "mine", "select string_agg(message, ',') from operation_lines");
}

static json_t *cancel(int64_t id)
{
        struct json_answer answer = {0};
        lab_run(&lab, operation_cancel(id, &answer));
        return answer.value;
}

static void cancelling(void **state _unused_)
{
        int64_t queued = create("launch", NULL, OPERATION_STARTED);
        _cleanup_json_ json_t *one = cancel(queued);
        assert_string_equal(json_get_string(one, "state"), "cancelled");
        assert_int_equal(take(queued), 0);

        int64_t running = create("launch", NULL, OPERATION_STARTED);
        int64_t epoch = take(running);
        assert_false(asked_to_stop(running, epoch));
        _cleanup_json_ json_t *two = cancel(running);
        assert_string_equal(json_get_string(two, "state"), "running");
        assert_true(json_is_true(json_object_get(two, "cancel_requested")));
        assert_true(asked_to_stop(running, epoch));
        assert_true(append(running, epoch, "[\"stopping\"]"));
        assert_true(end(running, epoch, "cancelled"));

        int64_t over = create("launch", NULL, OPERATION_STARTED);
        end(over, take(over), "done");
        _cleanup_json_ json_t *three = cancel(over);
        assert_string_equal(json_get_string(three, "state"), "done");
        assert_false(json_is_true(json_object_get(three, "cancel_requested")));
        assert_null(cancel(12345));
}

static void whose_runner_is_gone(void **state _unused_)
{
        struct vm_list ended = {.array = json_array()};
        int64_t id = create("launch", NULL, OPERATION_STARTED);
        lab_run(&lab, operation_interrupt(OPERATION_MACHINES, "hint", 600000, &ended));
        assert_int_equal(json_array_size(ended.array), 0); /* queued a moment ago: its runner is on its way */
        int64_t epoch = take(id);
        lab_run(&lab, operation_interrupt(OPERATION_MACHINES, "start it again", 600000, &ended));
        assert_int_equal(json_array_size(ended.array), 1);
        assert_string_equal(json_get_string(json_array_get(ended.array, 0), "kind"), "launch");
        expect_state(id, "interrupted");
        lab_expect(&lab, "start it again", "select error from operations");
        assert_false(append(id, epoch, "[\"I live\"]"));
        assert_false(end(id, epoch, "done"));
        int64_t second = create("launch", NULL, OPERATION_STARTED);
        lab_exec(&lab, "update operations set created_at = now() - interval '1 hour' where id = %lld",
                 (long long)second);
        json_array_clear(ended.array);
        lab_run(&lab, operation_interrupt(OPERATION_MACHINES, "hint", 600000, &ended));
        assert_int_equal(json_array_size(ended.array), 1);
        expect_state(second, "interrupted");
        json_decref(ended.array);
}

static void those_that_wait_for_a_runner(void **state _unused_)
{
        struct vm_list waiting = {.array = json_array()};
        int64_t id = create("launch", NULL, OPERATION_STARTED);
        lab_run(&lab, operation_waiting(60000, &waiting));
        assert_int_equal(json_array_size(waiting.array), 0);
        lab_exec(&lab, "update operations set created_at = now() - interval '2 minutes'");
        lab_run(&lab, operation_waiting(60000, &waiting));
        assert_int_equal(json_array_size(waiting.array), 1);
        take(id);
        json_array_clear(waiting.array);
        lab_run(&lab, operation_waiting(60000, &waiting));
        assert_int_equal(json_array_size(waiting.array), 0);
        json_decref(waiting.array);
}

static void the_list_begins_with_the_newest(void **state _unused_)
{
        struct vm_list list = {.array = json_array()};
        int64_t last = 0;
        for (int i = 0; i < 5; i++) {
                last = create("launch", NULL, OPERATION_STARTED);
                end(last, take(last), "done");
        }
        lab_run(&lab, operation_list(3, &list));
        assert_int_equal(json_array_size(list.array), 3);
        assert_int_equal(json_integer_value(json_object_get(json_array_get(list.array, 0), "id")), last);
        json_decref(list.array);
}

static void every_change_is_announced(void **state _unused_)
{
        _cleanup_db_ struct db *ear = pg_db(&lab.pg);
        int heard = 0;
        assert_int_equal(db_exec(ear, "listen " OPERATION_CHANNEL, NULL), 0);
        int64_t id = create("launch", NULL, OPERATION_STARTED);
        int64_t epoch = take(id);
        append(id, epoch, "[\"a\"]");
        end(id, epoch, "done");
        _cleanup_free_ char *payload = xasprintf("%lld", (long long)id);
        assert_int_equal(db_exec(ear, "select 1", NULL), 0);
        for (PGnotify *notify; (notify = PQnotifies(db_raw(ear))); heard++) {
                assert_string_equal(notify->extra, payload);
                PQfreemem(notify);
        }
        assert_int_equal(heard, 4);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup(a_whole_life, empty_lab),
                cmocka_unit_test_setup(one_at_a_time, empty_lab),
                cmocka_unit_test_setup(a_key_starts_one, empty_lab),
                cmocka_unit_test_setup(many_that_start_at_once, empty_lab),
                cmocka_unit_test_setup(an_epoch_fences_late_writers, empty_lab),
                cmocka_unit_test_setup(cancelling, empty_lab),
                cmocka_unit_test_setup(whose_runner_is_gone, empty_lab),
                cmocka_unit_test_setup(those_that_wait_for_a_runner, empty_lab),
                cmocka_unit_test_setup(the_list_begins_with_the_newest, empty_lab),
                cmocka_unit_test_setup(every_change_is_announced, empty_lab),
                cmocka_unit_test_setup(what_cannot_be_mended_is_tried_more_seldom, empty_lab),
                cmocka_unit_test_setup(one_that_fails_waits_alone, empty_lab),
                cmocka_unit_test_setup(what_was_interrupted_is_taken_up_once, empty_lab),
                cmocka_unit_test_setup(old_history_goes, empty_lab),
        };
        return cmocka_run_group_tests(tests, lab_set_up, lab_tear_down);
}
