/* Log lines: numbering, repeated batches, masking, bytes that no database takes, reading by number, forgetting. */
#include "rig.h"

#include <pthread.h>

#include "base/clock.h"
#include "base/text.h"
#include "lab/logs.h"

static int empty_lab(void **state _unused_)
{
        lab_empty(&lab);
        lab_add_vm(&lab, "vm-1");
        lab_add_vm(&lab, "vm-2");
        return 0;
}

/* Sends lines given as JSON; what was answered. */
static struct log_answer send_lines(const char *hostname, const char *json, const char *batch_id)
{
        _cleanup_error_ struct error error = ERROR_NULL;
        struct log_answer answer = {0};
        json_t *messages = json_loads(json, JSON_ALLOW_NUL, NULL), *items = json_array();
        assert_non_null(messages);
        json_array_append_new(items, logs_item(hostname, messages, batch_id));
        json_decref(messages);
        pg_fine(lab_batch(&lab, logs_kind.statement, items, &answer, sizeof answer, &error), &error);
        return answer;
}

static void expect_after(const char *hostname, int64_t after, int64_t limit, const char *text, int64_t last)
{
        struct log_text got = {.last = after};
        lab_run(&lab, logs_after(hostname, after, limit, &got));
        assert_string_equal(buf_str(&got.text), text);
        assert_int_equal(got.last, last);
        buf_deinit(&got.text);
}

static void expect_tail(const char *hostname, int64_t tail, const char *text, int64_t last)
{
        struct log_text got = {0};
        lab_run(&lab, logs_tail(hostname, tail, &got));
        assert_string_equal(buf_str(&got.text), text);
        assert_int_equal(got.last, last);
        buf_deinit(&got.text);
}

static void lines_are_numbered_by_vm(void **state _unused_)
{
        struct log_answer a = send_lines("vm-1", "[\"one\", \"two\"]", NULL);
        assert_true(a.found);
        assert_int_equal(a.last, 2);
        a = send_lines("vm-2", "[\"other\"]", NULL);
        assert_int_equal(a.last, 1);
        a = send_lines("vm-1", "[\"three\"]", NULL);
        assert_int_equal(a.last, 3);
        a = send_lines("vm-1", "[]", NULL);
        assert_true(a.found);
        assert_int_equal(a.last, 3);
        assert_false(send_lines("vm-9", "[\"x\"]", NULL).found);
        expect_after("vm-1", 0, 100, "one\ntwo\nthree\n", 3);
        expect_after("vm-1", 1, 100, "two\nthree\n", 3);
        expect_after("vm-1", 0, 2, "one\ntwo\n", 2);
        expect_after("vm-1", 3, 100, "", 3);
        expect_after("vm-9", 0, 100, "", 0);
        expect_tail("vm-1", 2, "two\nthree\n", 3);
        expect_tail("vm-1", 0, "", 0);
        expect_tail("vm-1", 1000, "one\ntwo\nthree\n", 3);
}

static void a_batch_with_an_id_is_stored_once(void **state _unused_)
{
        assert_int_equal(send_lines("vm-1", "[\"a\", \"b\"]", "id-1").last, 2);
        struct log_answer again = send_lines("vm-1", "[\"a\", \"b\"]", "id-1");
        assert_true(again.found);
        assert_int_equal(again.last, 2);
        assert_int_equal(send_lines("vm-2", "[\"a\"]", "id-1").last, 1); /* ids are each VM's own */
        assert_int_equal(send_lines("vm-1", "[\"c\"]", "id-2").last, 3);
        assert_int_equal(send_lines("vm-1", "[\"c\"]", NULL).last, 4); /* without an id it is never a repeat */
        assert_int_equal(send_lines("vm-1", "[\"c\"]", NULL).last, 5);
        expect_after("vm-1", 0, 100, "a\nb\nc\nc\nc\n", 5);
}

static void several_vms_in_one_statement(void **state _unused_)
{
        struct log_answer answers[3] = {0};
        json_t *items = json_array();
        const char *const names[] = {"vm-1", "vm-9", "vm-2"};
        for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
                json_t *messages = json_pack("[s, s]", names[i], "x");
                json_array_append_new(items, logs_item(names[i], messages, i ? NULL : "id"));
                json_decref(messages);
        }
        assert_int_equal(lab_batch(&lab, logs_kind.statement, items, answers, sizeof answers[0], NULL), 0);
        assert_true(answers[0].found && !answers[1].found && answers[2].found);
        expect_after("vm-1", 0, 10, "vm-1\nx\n", 2);
        expect_after("vm-2", 0, 10, "vm-2\nx\n", 2);
}

static void secrets_are_masked(void **state _unused_)
{
        lab_exec(&lab, "update vms set email = 'a@b', crd_command = 'c', pin = '481516' where hostname = 'vm-1'");
        send_lines("vm-1", "[\"pin 481516.\", \"x481516 4815162 481516\", \"start-host --code=4/0Abc --pin=481516\"]",
                   NULL);
        send_lines("vm-2", "[\"pin 481516\", \"--code 4/0Abc\"]", NULL);
        send_lines("vm-1", "[\"pin 481\\u001b[1m516, --co\\u001b[0mde=4/0Abc\"]", NULL);
        expect_after("vm-1", 0, 10,
                     "pin ******.\nx481516 4815162 ******\nstart-host --code=****** --pin=******\n"
                     "pin ******, --code=******\n",
                     4);
        expect_after("vm-2", 0, 10, "pin 481516\n--code ******\n", 2);
}

static void bytes_that_no_database_takes(void **state _unused_)
{
        json_t *messages = json_array();
        struct log_answer answer = {0};
        json_array_append_new(messages, json_stringn_nocheck("nul\0bad\xff\xc3(", 10));
        json_array_append_new(messages, json_string("newline at the end\r\n"));
        json_array_append_new(messages, json_string(""));
        json_array_append_new(messages,
                              json_string("\033]0;title\007\033[2J\033[31mred\033[0m\tand\n\033[1mmore\033[0m\n"));
        json_t *items = json_array();
        json_array_append_new(items, logs_item("vm-1", messages, NULL));
        json_decref(messages);
        assert_int_equal(lab_batch(&lab, logs_kind.statement, items, &answer, sizeof answer, NULL), 0);
        expect_after("vm-1", 0, 10,
                     "nul\xef\xbf\xbd"
                     "bad\xef\xbf\xbd\xef\xbf\xbd(\nnewline at the end\n\nred\tand\nmore\n",
                     4);
}

static void a_long_line_is_cut(void **state _unused_)
{
        _cleanup_free_ char *line = xmalloc(LOG_LINE_MAX + 101);
        memset(line, 'a', LOG_LINE_MAX + 100);
        line[LOG_LINE_MAX + 100] = '\0';
        json_t *messages = json_pack("[s]", line);
        json_t *item = logs_item("vm-1", messages, NULL);
        const char *kept = json_string_value(json_array_get(json_object_get(item, "messages"), 0));
        assert_true(strlen(kept) < LOG_LINE_MAX + 40);
        assert_non_null(strstr(kept, "(100 bytes cut)"));
        json_decref(messages);
        json_decref(item);
}

struct writer {
        pthread_t thread;
        struct db *db;
        int failures;
};

static void *writer_main(void *argument)
{
        struct writer *w = argument;
        for (int i = 0; i < 50; i++) {
                const char *text = "[{\"ord\": 0, \"hostname\": \"vm-1\", \"messages\": [\"a\", \"b\", \"c\"],"
                                   "  \"bytes\": 195},"
                                   " {\"ord\": 1, \"hostname\": \"vm-2\", \"messages\": [\"a\"], \"bytes\": 65}]";
                if (db_run(w->db, db_query(logs_kind.statement, NULL, DB_TEXT(text)), NULL) < 0)
                        w->failures++;
        }
        return NULL;
}

/* Many writers of one VM: no number is given twice, none is left out. */
static void writers_at_once(void **state _unused_)
{
        struct writer writers[6] = {0};
        for (size_t i = 0; i < ARRAY_SIZE(writers); i++) {
                writers[i].db = pg_db(&lab.pg);
                assert_int_equal(pthread_create(&writers[i].thread, NULL, writer_main, &writers[i]), 0);
        }
        for (size_t i = 0; i < ARRAY_SIZE(writers); i++) {
                assert_int_equal(pthread_join(writers[i].thread, NULL), 0);
                assert_int_equal(writers[i].failures, 0);
                db_close(writers[i].db);
        }
        lab_expect(&lab, "900|1|900",
                   "select count(*) || '|' || min(line) || '|' || max(line) from vm_log_lines"
                   " where vm_id = (select id from vms where hostname = 'vm-1')");
        lab_expect(&lab, "0", "select deadlocks from pg_stat_database where datname = current_database()");
}

static void *delete_main(void *arg)
{
        assert_int_equal(db_exec(arg, "delete from vms where hostname = 'vm-1'", NULL), 0);
        return NULL;
}

static bool is_waiting(const char *statement)
{
        _cleanup_free_ char *n = lab_value(
                &lab, "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and query like '%s %%'",
                statement);
        return strcmp(n, "0") != 0;
}

/* Lines go with their VM, and so do those that are being written while it is deleted. */
static void lines_go_with_their_vm(void **state _unused_)
{
        _cleanup_db_ struct db *writer = pg_db(&lab.pg), *deleter = pg_db(&lab.pg);
        pthread_t thread;
        send_lines("vm-1", "[\"stored\"]", NULL);
        send_lines("vm-2", "[\"another's\"]", NULL);
        _cleanup_json_ json_t *item = json_pack("[{s:i, s:s, s:[s], s:i}]", "ord", 0, "hostname", "vm-1", "messages",
                                                "being written", "bytes", 80);
        _cleanup_free_ char *text = json_text(item);
        assert_int_equal(db_exec(writer, "begin", NULL), 0);
        assert_int_equal(db_run(writer, db_query(logs_kind.statement, NULL, DB_TEXT(text)), NULL), 0);
        assert_int_equal(pthread_create(&thread, NULL, delete_main, deleter), 0);
        while (!is_waiting("delete"))
                clock_sleep_ms(5);
        assert_int_equal(db_exec(writer, "commit", NULL), 0);
        assert_int_equal(pthread_join(thread, NULL), 0);
        lab_expect(&lab, "another's", "select string_agg(message, ',') from vm_log_lines");
        /* a word that comes late is stored nowhere */
        assert_false(send_lines("vm-1", "[\"late\"]", NULL).found);
        lab_expect(&lab, "1", "select count(*) from vm_log_lines");
}

static void old_lines_are_forgotten(void **state _unused_)
{
        struct count_answer count = {0};
        send_lines("vm-1", "[\"old 1\", \"old 2\", \"old 3\"]", "old");
        lab_exec(&lab, "update vm_log_lines set at = now() - interval '2 days'");
        lab_exec(&lab, "update vm_log_batches set at = now() - interval '2 days'");
        send_lines("vm-1", "[\"new\"]", "new");
        lab_run(&lab, logs_expire(86400, 2, &count));
        assert_int_equal(count.count, 2);
        lab_run(&lab, logs_expire(86400, 2, &count));
        assert_int_equal(count.count, 1);
        lab_run(&lab, logs_expire(86400, 2, &count));
        assert_int_equal(count.count, 0);
        expect_after("vm-1", 0, 10, "new\n", 4);
        assert_int_equal(send_lines("vm-1", "[\"newer\"]", NULL).last, 5); /* numbers are never given again */
        lab_expect(&lab, "1", "select count(*) from vm_log_batches");
}

/* What the heads say that lines take is what they take, whatever comes and goes; a VM within its share loses nothing. */
static void too_many_lines_are_forgotten(void **state _unused_)
{
        static const char same[] = "select count(*) from vm_log_heads h where h.bytes <> (select coalesce(sum("
                                   "octet_length(l.message) + 64), 0) from vm_log_lines l where l.vm_id = h.vm_id)";
        struct count_answer count = {0};
        char message[64];
        send_lines("vm-2", "[\"one\", \"two\"]", NULL);
        for (int i = 0; i < 100; i++) {
                snprintf(message, sizeof message, "[\"line %d\", \"\\u00e4\"]", i);
                send_lines("vm-1", message, NULL);
        }
        lab_expect(&lab, "0", same);
        lab_run(&lab, logs_shrink(1 << 20, 1000, &count));
        assert_int_equal(count.count, 0);
        for (int i = 0; i < 1000; i++) {
                lab_run(&lab, logs_shrink(2000, 1000, &count));
                if (count.count == 0)
                        break;
        }
        assert_int_equal(count.count, 0);
        lab_expect(&lab, "0", same);
        lab_expect(&lab, "t", "select sum(bytes) between 1800 and 2000 from vm_log_heads");
        lab_expect(&lab, "2",
                   "select count(*) from vm_log_lines where vm_id = (select id from vms where hostname = 'vm-2')");
        lab_expect(&lab, "200", "select max(line) from vm_log_lines");
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup(lines_are_numbered_by_vm, empty_lab),
                cmocka_unit_test_setup(a_batch_with_an_id_is_stored_once, empty_lab),
                cmocka_unit_test_setup(several_vms_in_one_statement, empty_lab),
                cmocka_unit_test_setup(secrets_are_masked, empty_lab),
                cmocka_unit_test_setup(bytes_that_no_database_takes, empty_lab),
                cmocka_unit_test_setup(a_long_line_is_cut, empty_lab),
                cmocka_unit_test_setup(writers_at_once, empty_lab),
                cmocka_unit_test_setup(lines_go_with_their_vm, empty_lab),
                cmocka_unit_test_setup(old_lines_are_forgotten, empty_lab),
                cmocka_unit_test_setup(too_many_lines_are_forgotten, empty_lab),
        };
        return cmocka_run_group_tests(tests, lab_set_up, lab_tear_down);
}
