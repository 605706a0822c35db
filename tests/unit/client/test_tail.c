/* Lines in order, each once, over everything that happens to a log file. Time is not waited for: it is set back. */
#include "place.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "client/tail.h"

static void add_line(void *userdata, const char *line, size_t len)
{
        buf_add(userdata, line, len);
        buf_adds(userdata, "|");
}

/* Everything that is there now, "line|line|". */
static const char *look(struct tail *tail)
{
        static struct buf out;
        struct tail_sink sink = {.line = add_line, .userdata = &out, .lines = 10000, .bytes = 64 << 20};
        buf_truncate(&out, 0);
        tail_read(tail, &sink);
        return buf_str(&out);
}

/* As if the last look had been long ago. */
static const char *look_later(struct tail *tail)
{
        tail->quiet_ms -= 3600000;
        return look(tail);
}

/* As an agent that was killed and started again sees it. */
static void restart(struct tail *tail)
{
        _cleanup_free_ char *path = xstrdup(tail->path);
        _cleanup_json_ json_t *position = tail_position(tail);
        tail_deinit(tail);
        tail_init(tail, path);
        tail_restore(tail, position);
}

static void test_grows(void **state)
{
        struct tail tail;
        tail_init(&tail, place_path(*state, "log"));
        assert_string_equal(look(&tail), "");
        place_append(*state, "log", "one\ntwo\r\nthr");
        assert_string_equal(look(&tail), "one|two|");
        assert_string_equal(look(&tail), "");
        place_append(*state, "log", "ee\n\n");
        assert_string_equal(look(&tail), "three||");
        restart(&tail);
        assert_string_equal(look(&tail), "");
        place_append(*state, "log", "four\n");
        assert_string_equal(look(&tail), "four|");
        tail_deinit(&tail);
}

static void test_partial(void **state)
{
        struct tail tail;
        tail_init(&tail, place_path(*state, "log"));
        place_append(*state, "log", "no end");
        assert_string_equal(look(&tail), "");
        assert_string_equal(look_later(&tail), "no end|");
        assert_string_equal(look_later(&tail), "");
        place_append(*state, "log", " yet\n");
        assert_string_equal(look(&tail), " yet|");
        tail_deinit(&tail);
}

static void test_rotation(void **state)
{
        struct tail tail;
        tail_init(&tail, place_path(*state, "log"));
        place_append(*state, "log", "one\n");
        assert_string_equal(look(&tail), "one|");
        rename(place_path(*state, "log"), place_path(*state, "log.1"));
        assert_string_equal(look_later(&tail), "");
        place_append(*state, "log", "new\n");
        place_append(*state, "log.1", "late\n");
        assert_string_equal(look(&tail), "late|"); /* its writer may not be done with it */
        place_append(*state, "log.1", "later, without end");
        assert_string_equal(look(&tail), "");
        assert_string_equal(look_later(&tail), "later, without end|new|");
        place_append(*state, "log", "newer\n");
        assert_string_equal(look(&tail), "newer|");
        tail_deinit(&tail);
}

static void test_rotation_while_away(void **state)
{
        struct tail tail;
        tail_init(&tail, place_path(*state, "log"));
        place_append(*state, "log", "one\ntwo\n");
        assert_string_equal(look(&tail), "one|two|");
        place_append(*state, "log", "three\n");
        rename(place_path(*state, "log"), place_path(*state, "log-20260101"));
        place_append(*state, "log", "four\n");
        restart(&tail);
        assert_string_equal(look(&tail), "three|");
        assert_string_equal(look_later(&tail), "four|");
        rename(place_path(*state, "log"), place_path(*state, "log.1"));
        unlink(place_path(*state, "log.1"));
        restart(&tail);
        place_append(*state, "log", "five\n");
        assert_string_equal(look(&tail), "five|");
        tail_deinit(&tail);
}

/* Sets a file's time, in seconds from now. */
static void set_age(const struct place *place, const char *name, int seconds)
{
        struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = time(NULL) + seconds}};
        assert_int_equal(utimensat(AT_FDCWD, place_path(place, name), times, 0), 0);
}

static void test_two_rotations_while_away(void **state)
{
        struct tail tail;
        tail_init(&tail, place_path(*state, "log"));
        place_append(*state, "log.3", "older than anything\n");
        place_append(*state, "log", "one\n");
        assert_string_equal(look(&tail), "one|");
        place_append(*state, "log", "two\n");
        rename(place_path(*state, "log"), place_path(*state, "log.2"));
        place_append(*state, "log.1", "three\n");
        place_append(*state, "log", "four\n");
        place_append(*state, "log.bak", "not of it\n");
        place_append(*state, "log.1.gz", "not of it\n");
        set_age(*state, "log.3", -300);
        set_age(*state, "log.2", -200);
        set_age(*state, "log.1", -100);
        restart(&tail);
        assert_string_equal(look(&tail), "two|");
        assert_string_equal(look_later(&tail), "three|");
        assert_string_equal(look_later(&tail), "four|");
        assert_string_equal(look_later(&tail), "");
        tail_deinit(&tail);
}

static void test_truncation(void **state)
{
        struct tail tail;
        tail_init(&tail, place_path(*state, "log"));
        place_append(*state, "log", "one\ntwo\n");
        assert_string_equal(look(&tail), "one|two|");
        place_write(*state, "log", "3\n", 0644);
        assert_string_equal(look(&tail), "3|");
        place_write(*state, "log", "truncated and grown past the old place\n", 0644);
        assert_string_equal(look(&tail), "truncated and grown past the old place|");
        place_write(*state, "log", "truncated while away, and longer than before\n", 0644);
        restart(&tail);
        assert_string_equal(look(&tail), "truncated while away, and longer than before|");
        tail_deinit(&tail);
}

static void test_limits(void **state)
{
        struct tail tail;
        _cleanup_buf_ struct buf out = BUF_NULL;
        struct tail_sink sink = {.line = add_line, .userdata = &out, .lines = 2, .bytes = 1000};
        tail_init(&tail, place_path(*state, "log"));
        place_append(*state, "log", "1\n2\n3\n4\n");
        tail_read(&tail, &sink);
        assert_string_equal(buf_str(&out), "1|2|");
        assert_int_equal(sink.lines, 0);
        sink.lines = 100;
        sink.bytes = 1;
        tail_read(&tail, &sink);
        assert_string_equal(buf_str(&out), "1|2|3|");
        assert_int_equal(sink.bytes, 0);
        assert_string_equal(look(&tail), "4|");
        tail_deinit(&tail);
}

static void test_long_line(void **state)
{
        struct tail tail;
        _cleanup_free_ char *line = xmalloc(50001);
        memset(line, 'x', 50000);
        line[50000] = '\0';
        tail_init(&tail, place_path(*state, "log"));
        place_append(*state, "log", line);
        place_append(*state, "log", "\nend\n");
        const char *said = look(&tail);
        assert_int_equal(strcspn(said, "|"), TAIL_LINE_MAX);
        assert_int_equal(strlen(said), 50000 + 4 + 4);
        assert_string_equal(said + strlen(said) - 5, "|end|");
        tail_deinit(&tail);
}

static void test_backlog(void **state)
{
        struct tail tail;
        _cleanup_buf_ struct buf block = BUF_NULL;
        unsigned long dropped = 0, kept = 0;
        for (int i = 0; i < 1000; i++)
                buf_addf(&block, "%099d\n", i);
        tail_init(&tail, place_path(*state, "log"));
        for (int i = 0; i < 100; i++)
                place_append(*state, "log", buf_str(&block));
        for (const char *said = look(&tail); *said; said = look(&tail)) {
                if (*said == '[')
                        assert_int_equal(sscanf(said, "[%lu lines dropped", &dropped), 1);
                for (; *said; said++)
                        kept += *said == '|';
        }
        assert_true(dropped > 0);
        assert_int_equal(dropped + kept, 100000 + 1);
        tail_deinit(&tail);
}

static void test_no_regular_file(void **state)
{
        struct tail tail;
        assert_int_equal(mkfifo(place_path(*state, "log"), 0600), 0);
        tail_init(&tail, place_path(*state, "log"));
        assert_string_equal(look(&tail), "");
        tail_deinit(&tail);
        tail_init(&tail, ((struct place *)*state)->directory);
        assert_string_equal(look(&tail), "");
        tail_deinit(&tail);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_grows, place_setup, place_teardown),
                cmocka_unit_test_setup_teardown(test_partial, place_setup, place_teardown),
                cmocka_unit_test_setup_teardown(test_rotation, place_setup, place_teardown),
                cmocka_unit_test_setup_teardown(test_rotation_while_away, place_setup, place_teardown),
                cmocka_unit_test_setup_teardown(test_two_rotations_while_away, place_setup, place_teardown),
                cmocka_unit_test_setup_teardown(test_truncation, place_setup, place_teardown),
                cmocka_unit_test_setup_teardown(test_limits, place_setup, place_teardown),
                cmocka_unit_test_setup_teardown(test_long_line, place_setup, place_teardown),
                cmocka_unit_test_setup_teardown(test_backlog, place_setup, place_teardown),
                cmocka_unit_test_setup_teardown(test_no_regular_file, place_setup, place_teardown),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
