/* The program's log: one line an event whatever a stranger put into it. Standard error is read back from a file. */
#include "base/log.h"

#include <fcntl.h>

#include "base/file.h"
#include "base/text.h"
#include "unit.h"

static int real_stderr, file;

static void begin(void)
{
        fflush(stderr);
        real_stderr = dup(STDERR_FILENO);
        file = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
        assert_true(file >= 0);
        dup2(file, STDERR_FILENO);
}

static void end(struct buf *out)
{
        dup2(real_stderr, STDERR_FILENO);
        close(real_stderr);
        lseek(file, 0, SEEK_SET);
        assert_int_equal(fd_read_all(file, 1 << 20, out), 0);
        close(file);
}

static void has_time_level_and_program(void **state _unused_)
{
        _cleanup_buf_ struct buf out = BUF_NULL;
        unsetenv("JOURNAL_STREAM");
        log_setup("tester", LOG_LEVEL_INFO);
        begin();
        log_debug("not told");
        log_warning("%d VMs", 3);
        end(&out);
        assert_int_equal(buf_str(&out)[4], '-');
        assert_contains(buf_str(&out), "Z warning tester: 3 VMs\n");
        assert_null(strstr(buf_str(&out), "not told"));
}

static void journal_gets_a_prefix(void **state _unused_)
{
        _cleanup_buf_ struct buf out = BUF_NULL;
        setenv("JOURNAL_STREAM", "8:1", 1);
        log_setup("tester", LOG_LEVEL_DEBUG);
        begin();
        log_debug("a");
        log_info("b");
        log_warning("c");
        log_error("d");
        end(&out);
        unsetenv("JOURNAL_STREAM");
        assert_string_equal(buf_str(&out), "<7>tester: a\n<6>tester: b\n<4>tester: c\n<3>tester: d\n");
}

static void control_characters_are_shown(void **state _unused_)
{
        _cleanup_buf_ struct buf out = BUF_NULL;
        log_setup("tester", LOG_LEVEL_INFO);
        begin();
        log_info("%s", "a\nb\x1b[31m\x7f\xc2\x9b\xff\xc3\xa4\t");
        end(&out);
        assert_contains(buf_str(&out), "a\\x0ab\\x1b[31m\\x7f\\x9b\xef\xbf\xbd\xc3\xa4\\x09\n");
        assert_ptr_equal(strchr(buf_str(&out), '\n'), out.data + out.len - 1);
}

static void long_lines_are_cut(void **state _unused_)
{
        _cleanup_buf_ struct buf out = BUF_NULL, text = BUF_NULL;
        for (int i = 0; i < 5000; i++)
                buf_adds(&text, "\xc3\xa4\x01");
        log_setup("tester", LOG_LEVEL_INFO);
        begin();
        log_info("%s", buf_str(&text));
        end(&out);
        assert_true(out.len <= 2048);
        assert_true(out.len > 2000);
        assert_true(utf8_valid(out.data, out.len));
        assert_true(str_ends(buf_str(&out), "...\n"));
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(has_time_level_and_program),
                cmocka_unit_test(journal_gets_a_prefix),
                cmocka_unit_test(control_characters_are_shown),
                cmocka_unit_test(long_lines_are_cut),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
